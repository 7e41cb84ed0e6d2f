//! Buckets.

use super::dialect::{Tx, fresh_batch, retrying, values};
use super::{Answer, Bucket, BucketId, BucketQuery, ConfigKind, Error, Metadata, NewBucket, Result, rows};
use crate::clock::Millis;

const BUCKET: &str = "SELECT bucket_id, name, created, region, owner FROM buckets WHERE name = $1";

impl Metadata {
    /// Creates a bucket.
    ///
    /// # Errors
    /// [`Error::BucketExists`] if the name is taken.
    pub fn create_bucket<'a>(&'a self, bucket: &'a NewBucket) -> Answer<'a, Bucket> {
        Box::pin(async move {
            let sql = "INSERT INTO buckets (name, created, region, owner) VALUES ($1, $2, $3, $4) \
                   ON CONFLICT (name) DO NOTHING RETURNING bucket_id, name, created, region, owner";
            let batch = fresh_batch();
            retrying(|| async {
                let mut tx = self.db.begin(Some(batch)).await?;
                let values = values![&bucket.name, bucket.created, &bucket.region, &bucket.owner];
                let result = tx.first(sql, values).await;
                // Whoever holds the name may give it up between the two statements: then the name is free to be tried again.
                let result = match result {
                    Ok(None) => tx.first(BUCKET, values![&bucket.name]).await.map(|row| (false, row)),
                    other => other.map(|row| (true, row)),
                };
                match tx.end(result).await? {
                    (true, Some(row)) => rows::bucket(&row),
                    (false, Some(row)) => Err(Error::BucketExists(Box::new(rows::bucket(&row)?))),
                    (_, None) => Err(Error::Unavailable(format!("bucket {} is being deleted", bucket.name))),
                }
            })
            .await
        })
    }

    /// A bucket by its name.
    ///
    /// # Errors
    /// [`Error::NoSuchBucket`].
    pub fn bucket<'a>(&'a self, name: &'a str) -> Answer<'a, Bucket> {
        Box::pin(async move {
            let row = self.db.first(BUCKET, values![name]).await?;
            rows::bucket(&row.ok_or_else(|| Error::NoSuchBucket(name.into()))?)
        })
    }

    /// Deletes a bucket without objects. Its open uploads are aborted and their parts released.
    ///
    /// # Errors
    /// [`Error::NoSuchBucket`], [`Error::BucketNotEmpty`].
    pub fn delete_bucket<'a>(&'a self, name: &'a str, now: Millis) -> Answer<'a, ()> {
        Box::pin(async move {
            let batch = fresh_batch();
            retrying(|| async {
                let mut tx = self.db.begin(Some(batch)).await?;
                let result = delete(&mut tx, name, now).await;
                tx.end(result).await
            })
            .await
        })
    }

    /// One of a bucket's configurations.
    ///
    /// # Errors
    /// [`Error::NoSuchBucket`].
    pub fn bucket_config<'a>(&'a self, name: &'a str, kind: ConfigKind) -> Answer<'a, Option<String>> {
        Box::pin(async move {
            let sql = "SELECT c.body FROM buckets b LEFT JOIN bucket_configs c ON c.bucket_id = b.bucket_id AND c.kind = $2 \
                   WHERE b.name = $1";
            let row = self.db.first(sql, values![name, kind.name()]).await?;
            row.ok_or_else(|| Error::NoSuchBucket(name.into()))?.opt_text("body")
        })
    }

    /// Gives a bucket a configuration in place of the one of that kind that it has, or takes it away.
    ///
    /// # Errors
    /// [`Error::NoSuchBucket`].
    pub fn set_bucket_config<'a>(&'a self, name: &'a str, kind: ConfigKind, body: Option<&'a str>) -> Answer<'a, ()> {
        Box::pin(async move {
            let batch = fresh_batch();
            retrying(|| async {
                let mut tx = self.db.begin(Some(batch)).await?;
                let result = set_config(&mut tx, name, kind, body).await;
                tx.end(result).await
            })
            .await
        })
    }

    /// A page of buckets, ordered by name.
    pub fn list_buckets<'a>(&'a self, query: &'a BucketQuery) -> Answer<'a, Vec<Bucket>> {
        Box::pin(async move {
            let sql = "SELECT bucket_id, name, created, region, owner FROM buckets \
                   WHERE owner = $1 AND name > $2 AND ($3 = '' OR substr(name, 1, length($3)) = $3) \
                   AND ($4 IS NULL OR region = $4) ORDER BY name LIMIT $5";
            let region = query.region.as_deref();
            let values = values![&query.owner, &query.after, &query.prefix, region, i64::from(query.limit)];
            self.db.query(sql, values).await?.iter().map(rows::bucket).collect()
        })
    }
}

async fn delete(tx: &mut Tx, name: &str, now: Millis) -> Result<()> {
    // FOR UPDATE waits for all who hold the bucket to write into it; what they left is seen by the statements after it.
    let row = tx.first("SELECT bucket_id FROM buckets WHERE name = $1 {update}", values![name]).await?;
    let bucket = row.ok_or_else(|| Error::NoSuchBucket(name.into()))?.int("bucket_id")?;
    if tx.first("SELECT seq FROM objects WHERE bucket_id = $1 LIMIT 1", values![bucket]).await?.is_some() {
        return Err(Error::BucketNotEmpty(name.into()));
    }
    let sql = "SELECT upload_id FROM uploads WHERE bucket_id = $1 ORDER BY upload_id {update}";
    if !tx.query(sql, values![bucket]).await?.is_empty() {
        let open = "SELECT upload_id FROM uploads WHERE bucket_id = $1";
        let sql = format!(
            "INSERT INTO released (data_id, at) SELECT data_id, $2 FROM parts \
             WHERE data_id IS NOT NULL AND upload_id IN ({open})"
        );
        tx.execute(&sql, values![bucket, now]).await?;
        tx.execute(&format!("DELETE FROM parts WHERE upload_id IN ({open})"), values![bucket]).await?;
        tx.execute("DELETE FROM uploads WHERE bucket_id = $1", values![bucket]).await?;
    }
    for table in ["bucket_configs", "completions", "buckets"] {
        tx.execute(&format!("DELETE FROM {table} WHERE bucket_id = $1"), values![bucket]).await?;
    }
    Ok(())
}

async fn set_config(tx: &mut Tx, name: &str, kind: ConfigKind, body: Option<&str>) -> Result<()> {
    let bucket = hold(tx, name).await?.0;
    match body {
        Some(body) => {
            let sql = "INSERT INTO bucket_configs (bucket_id, kind, body) VALUES ($1, $2, $3) \
                       ON CONFLICT (bucket_id, kind) DO UPDATE SET body = excluded.body";
            tx.execute(sql, values![bucket, kind.name(), body]).await?;
        }
        None => {
            let sql = "DELETE FROM bucket_configs WHERE bucket_id = $1 AND kind = $2";
            tx.execute(sql, values![bucket, kind.name()]).await?;
        }
    }
    Ok(())
}

/// Holds a bucket against deletion (and against changes of what writes depend on) until the transaction ends.
pub(super) async fn hold(tx: &mut Tx, name: &str) -> Result<BucketId> {
    let row = tx.first("SELECT bucket_id FROM buckets WHERE name = $1 {share}", values![name]).await?;
    Ok(BucketId(row.ok_or_else(|| Error::NoSuchBucket(name.into()))?.int("bucket_id")?))
}
