//! Buckets.

use std::sync::LazyLock;

use super::dialect::{Row, Tx, fresh_batch, retrying, values};
use super::identities;
use super::quotas::{self, Amount};
use super::rows::{self, to_json};
use super::{
    Answer, Bucket, BucketAccess, BucketChange, BucketConfig, BucketId, BucketLock, BucketQuery, ConfigKind, Error,
    Metadata, NewBucket, Result, Versioning,
};
use crate::clock::Millis;

fn by_name() -> String {
    format!("SELECT {} FROM buckets WHERE name = $1", rows::BUCKET)
}

static ACCESS_SQL: LazyLock<String> = LazyLock::new(|| {
    let body = |kind: ConfigKind, column: &str| {
        let kind = kind.name();
        format!("(SELECT body FROM bucket_configs c WHERE c.bucket_id = b.bucket_id AND c.kind = '{kind}') AS {column}")
    };
    format!(
        "SELECT b.bucket_id, b.owner, b.region, {}, {}, {}, {}, \
         CASE WHEN b.bucket_quota IS NULL AND b.account_quota IS NULL THEN CAST(0 AS BIGINT) ELSE 1 END AS counted, (SELECT generation FROM access_generation) AS generation \
         FROM buckets b WHERE b.name = $1",
        body(ConfigKind::Policy, "policy"),
        body(ConfigKind::Acl, "acl"),
        body(ConfigKind::Ownership, "ownership"),
        body(ConfigKind::PublicAccessBlock, "block"),
    )
});

/// A bucket that is held against deletion, and against changes of what writes into it depend on.
#[derive(Debug, Clone)]
pub(super) struct HeldBucket {
    pub(super) id: BucketId,
    pub(super) name: String,
    pub(super) owner: String,
    pub(super) versioning: Versioning,
    pub(super) lock: Option<BucketLock>,
    /// The quotas that count what is in it.
    quotas: [Option<i64>; 2],
}

impl HeldBucket {
    /// The columns that it is read from.
    pub(super) const COLUMNS: &str = "bucket_id, name, owner, versioning, object_lock, bucket_quota, account_quota";

    pub(super) fn of(row: &Row) -> Result<Self> {
        Ok(Self {
            id: BucketId(row.int("bucket_id")?),
            name: row.text("name")?,
            owner: row.text("owner")?,
            versioning: rows::versioning(row)?,
            lock: rows::bucket_lock(row)?,
            quotas: [row.opt_int("bucket_quota")?, row.opt_int("account_quota")?],
        })
    }

    /// The quotas that count what is in it.
    pub(super) fn quotas(&self) -> impl Iterator<Item = i64> + use<> {
        self.quotas.into_iter().flatten()
    }

    /// Whether there are any.
    pub(super) fn is_counted(&self) -> bool {
        self.quotas().next().is_some()
    }
}

impl Metadata {
    /// Creates a bucket.
    ///
    /// # Errors
    /// [`Error::BucketExists`] if the name is taken; [`Error::NoSuchIdentity`] if the owner's account was removed.
    pub fn create_bucket<'a>(&'a self, bucket: &'a NewBucket) -> Answer<'a, Bucket> {
        Box::pin(async move {
            let sql = format!(
                "INSERT INTO buckets (name, created, region, owner, versioning, object_lock, account_quota) \
                 VALUES ($1, $2, $3, $4, $5, $6, (SELECT quota_id FROM quotas WHERE canonical_id = $4)) ON CONFLICT (name) DO NOTHING RETURNING {}",
                rows::BUCKET
            );
            let versioning = if bucket.lock { Versioning::Enabled } else { Versioning::Never };
            let lock = bucket.lock.then(|| to_json(&BucketLock::default())).transpose()?;
            let batch = fresh_batch();
            retrying(|| async {
                let mut tx = self.db.begin(Some(batch)).await?;
                let values = values![
                    &bucket.name,
                    bucket.created,
                    &bucket.region,
                    &bucket.owner,
                    versioning.name(),
                    lock.as_deref()
                ];
                let result = async {
                    identities::hold_owner(&mut tx, &bucket.owner).await?;
                    let row = tx.first(&sql, values).await?;
                    if let Some(row) = &row {
                        configure(&mut tx, row.int("bucket_id")?, &bucket.configs).await?;
                    }
                    Ok(row)
                };
                let result = result.await;
                // Whoever holds the name may give it up between the two statements: then the name is free to be tried again.
                let result = match result {
                    Ok(None) => tx.first(&by_name(), values![&bucket.name]).await.map(|row| (false, row)),
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
            let row = self.db.first(&by_name(), values![name]).await?;
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

    /// What decides who may do what with a bucket.
    ///
    /// # Errors
    /// [`Error::NoSuchBucket`].
    pub fn bucket_access<'a>(&'a self, name: &'a str) -> Answer<'a, BucketAccess> {
        Box::pin(async move {
            let row = self.db.first(&ACCESS_SQL, values![name]).await?;
            let row = row.ok_or_else(|| Error::NoSuchBucket(name.into()))?;
            Ok(BucketAccess {
                id: BucketId(row.int("bucket_id")?),
                owner: row.text("owner")?,
                region: row.text("region")?,
                policy: row.opt_text("policy")?,
                acl: rows::acl(&row)?,
                ownership: rows::opt_json(&row, "ownership")?,
                block: rows::opt_json(&row, "block")?,
                counted: row.int("counted")? != 0,
                generation: row.int("generation")?,
            })
        })
    }

    /// How often it changed who may do what with a bucket, or which buckets there are. While it is the same, so is all that
    /// [`Self::bucket_access`] answers.
    pub fn access_generation(&self) -> Answer<'_, i64> {
        Box::pin(async move {
            let row = self.db.first("SELECT generation FROM access_generation", &[]).await?;
            row.ok_or_else(|| Error::Corrupt("the table access_generation is empty".into()))?.int("generation")
        })
    }

    /// All buckets that have a configuration of this kind.
    pub fn buckets_with_config(&self, kind: ConfigKind) -> Answer<'_, Vec<BucketConfig>> {
        Box::pin(async move {
            let sql = "SELECT b.name, b.owner, c.body FROM bucket_configs c JOIN buckets b ON b.bucket_id = c.bucket_id \
                       WHERE c.kind = $1";
            let read = |row: &Row| {
                Ok(BucketConfig { name: row.text("name")?, owner: row.text("owner")?, body: row.text("body")? })
            };
            self.db.query(sql, values![kind.name()]).await?.iter().map(read).collect()
        })
    }

    /// Gives a bucket a configuration in place of the one of that kind that it has, or takes it away.
    ///
    /// # Errors
    /// [`Error::NoSuchBucket`]; [`Error::NotVersioned`] of a replication.
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

    /// The same, if the configuration still is `old`; answers whether it was.
    ///
    /// # Errors
    /// [`Error::NoSuchBucket`].
    pub fn swap_bucket_config<'a>(
        &'a self,
        name: &'a str,
        kind: ConfigKind,
        old: Option<&'a str>,
        new: Option<&'a str>,
    ) -> Answer<'a, bool> {
        Box::pin(async move {
            let batch = fresh_batch();
            retrying(|| async {
                let mut tx = self.db.begin(Some(batch)).await?;
                let result = swap_config(&mut tx, name, kind, old, new).await;
                tx.end(result).await
            })
            .await
        })
    }

    /// Changes whether a bucket keeps versions, or how it locks them. Writes that are under way are committed before, or see it.
    ///
    /// # Errors
    /// [`Error::NoSuchBucket`]; [`Error::BucketState`]: versioning stays enabled where objects are locked, and must be where they are
    /// to be; [`Error::Replicated`]: it stays enabled there, too.
    pub fn change_bucket<'a>(&'a self, name: &'a str, to: &'a BucketChange) -> Answer<'a, ()> {
        Box::pin(async move {
            let batch = fresh_batch();
            retrying(|| async {
                let mut tx = self.db.begin(Some(batch)).await?;
                let result = change(&mut tx, name, to).await;
                tx.end(result).await
            })
            .await
        })
    }

    /// A page of buckets, ordered by name.
    pub fn list_buckets<'a>(&'a self, query: &'a BucketQuery) -> Answer<'a, Vec<Bucket>> {
        Box::pin(async move {
            let sql = format!(
                "SELECT {} FROM buckets \
                 WHERE owner = $1 AND name > $2 AND ($3 = '' OR substr(name, 1, length($3)) = $3) \
                 AND ($4 IS NULL OR region = $4) ORDER BY name LIMIT $5",
                rows::BUCKET
            );
            let region = query.region.as_deref();
            let values = values![&query.owner, &query.after, &query.prefix, region, i64::from(query.limit)];
            self.db.query(&sql, values).await?.iter().map(rows::bucket).collect()
        })
    }
}

async fn delete(tx: &mut Tx, name: &str, now: Millis) -> Result<()> {
    // FOR UPDATE waits for all who hold the bucket to write into it; what they left is seen by the statements after it.
    let sql = format!("SELECT {} FROM buckets WHERE name = $1 {{update}}", HeldBucket::COLUMNS);
    let row = tx.first(&sql, values![name]).await?;
    let bucket = HeldBucket::of(&row.ok_or_else(|| Error::NoSuchBucket(name.into()))?)?;
    for table in ["objects", "versions"] {
        let sql = format!("SELECT seq FROM {table} WHERE bucket_id = $1 LIMIT 1");
        if tx.first(&sql, values![bucket.id.0]).await?.is_some() {
            return Err(Error::BucketNotEmpty(name.into()));
        }
    }
    let sql = "SELECT upload_id FROM uploads WHERE bucket_id = $1 ORDER BY upload_id {update}";
    if !tx.query(sql, values![bucket.id.0]).await?.is_empty() {
        let open = "SELECT upload_id FROM uploads WHERE bucket_id = $1";
        let sql =
            format!("SELECT CAST(COALESCE(SUM(size), 0) AS BIGINT) AS size FROM parts WHERE upload_id IN ({open})");
        if bucket.is_counted()
            && let Some(row) = tx.first(&sql, values![bucket.id.0]).await?
        {
            let parts = Amount::bytes(row.number("size")?);
            quotas::charge(tx, &bucket, Amount::default() - parts).await?;
        }
        let sql = format!(
            "INSERT INTO released (data_id, at) SELECT data_id, $2 FROM parts \
             WHERE data_id IS NOT NULL AND upload_id IN ({open})"
        );
        tx.execute(&sql, values![bucket.id.0, now]).await?;
        tx.execute(&format!("DELETE FROM parts WHERE upload_id IN ({open})"), values![bucket.id.0]).await?;
        tx.execute("DELETE FROM uploads WHERE bucket_id = $1", values![bucket.id.0]).await?;
    }
    for table in ["bucket_configs", "completions", "renames", "quotas", "buckets"] {
        tx.execute(&format!("DELETE FROM {table} WHERE bucket_id = $1"), values![bucket.id.0]).await?;
    }
    access_changed(tx).await
}

/// Counts that who may do what with a bucket, or whether it has a quota, changed: the last statement of a transaction, so that its row, which is one for all, is held no
/// longer than a COMMIT takes.
pub(super) async fn access_changed(tx: &mut Tx) -> Result<()> {
    tx.execute("UPDATE access_generation SET generation = generation + 1", &[]).await.map(|_| ())
}

/// Configures a bucket that was just made.
async fn configure(tx: &mut Tx, bucket: i64, configs: &[(ConfigKind, String)]) -> Result<()> {
    let sql = "INSERT INTO bucket_configs (bucket_id, kind, body) VALUES ($1, $2, $3)";
    for (kind, body) in configs {
        tx.execute(sql, values![bucket, kind.name(), body]).await?;
    }
    access_changed(tx).await
}

async fn set_config(tx: &mut Tx, name: &str, kind: ConfigKind, body: Option<&str>) -> Result<()> {
    let held = hold(tx, name).await?;
    // Versioning cannot change while the bucket is held.
    if kind == ConfigKind::Replication && body.is_some() && held.versioning != Versioning::Enabled {
        return Err(Error::NotVersioned(held.name));
    }
    let bucket = held.id.0;
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
    if kind.is_of_access() { access_changed(tx).await } else { Ok(()) }
}

async fn swap_config(tx: &mut Tx, name: &str, kind: ConfigKind, old: Option<&str>, new: Option<&str>) -> Result<bool> {
    let bucket = hold(tx, name).await?.id.0;
    let changed = match (old, new) {
        (None, None) => return Ok(true),
        (None, Some(new)) => {
            let sql = "INSERT INTO bucket_configs (bucket_id, kind, body) VALUES ($1, $2, $3) \
                       ON CONFLICT (bucket_id, kind) DO NOTHING";
            tx.execute(sql, values![bucket, kind.name(), new]).await?
        }
        (Some(old), Some(new)) => {
            let sql = "UPDATE bucket_configs SET body = $4 WHERE bucket_id = $1 AND kind = $2 AND body = $3";
            tx.execute(sql, values![bucket, kind.name(), old, new]).await?
        }
        (Some(old), None) => {
            let sql = "DELETE FROM bucket_configs WHERE bucket_id = $1 AND kind = $2 AND body = $3";
            tx.execute(sql, values![bucket, kind.name(), old]).await?
        }
    };
    if changed > 0 && kind.is_of_access() {
        access_changed(tx).await?;
    }
    Ok(changed > 0)
}

/// Holds a bucket against deletion (and against changes of what writes depend on) until the transaction ends.
pub(super) async fn hold(tx: &mut Tx, name: &str) -> Result<HeldBucket> {
    let sql = format!("SELECT {} FROM buckets WHERE name = $1 {{share}}", HeldBucket::COLUMNS);
    let row = tx.first(&sql, values![name]).await?;
    HeldBucket::of(&row.ok_or_else(|| Error::NoSuchBucket(name.into()))?)
}

/// Changes a bucket's versioning or lock, which waits for the writes that are under way.
async fn change(tx: &mut Tx, name: &str, change: &BucketChange) -> Result<()> {
    let sql = format!("SELECT {} FROM buckets WHERE name = $1 {{change}}", HeldBucket::COLUMNS);
    let row = tx.first(&sql, values![name]).await?;
    let bucket = HeldBucket::of(&row.ok_or_else(|| Error::NoSuchBucket(name.into()))?)?;
    match change {
        BucketChange::Versioning(versioning) => {
            if bucket.lock.is_some() && *versioning != Versioning::Enabled {
                return Err(Error::BucketState(name.into()));
            }
            let replicated = "SELECT kind FROM bucket_configs WHERE bucket_id = $1 AND kind = $2";
            if *versioning != Versioning::Enabled
                && tx.first(replicated, values![bucket.id.0, ConfigKind::Replication.name()]).await?.is_some()
            {
                return Err(Error::Replicated(name.into()));
            }
            let sql = "UPDATE buckets SET versioning = $2 WHERE bucket_id = $1";
            tx.execute(sql, values![bucket.id.0, versioning.name()]).await?;
        }
        BucketChange::Lock(lock) => {
            if bucket.versioning != Versioning::Enabled {
                return Err(Error::BucketState(name.into()));
            }
            let sql = "UPDATE buckets SET object_lock = $2 WHERE bucket_id = $1";
            tx.execute(sql, values![bucket.id.0, &to_json(lock)?]).await?;
        }
    }
    Ok(())
}
