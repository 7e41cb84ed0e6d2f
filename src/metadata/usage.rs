//! How much there is, for metrics. Counted page by page: each statement is short, however many objects there are, and what changes
//! meanwhile is counted or not.

use super::dialect::values;
use super::{Answer, Error, Metadata, Result};

/// What a bucket holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketUsage {
    /// Its name.
    pub name: String,
    /// Objects.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Objects that one statement counts.
const PAGE: i64 = 50_000;

impl Metadata {
    /// How many buckets there are.
    pub fn bucket_count(&self) -> Answer<'_, u64> {
        Box::pin(async move {
            let row = self.db.first("SELECT COUNT(*) AS buckets FROM buckets", &[]).await?;
            row.ok_or_else(|| Error::Corrupt("a count has no row".into()))?.number("buckets")
        })
    }

    /// What each bucket holds, by name. Reads a row for each object.
    pub fn bucket_usage(&self) -> Answer<'_, Vec<BucketUsage>> {
        Box::pin(async move {
            let mut usage = Vec::new();
            for row in self.db.query("SELECT bucket_id, name FROM buckets ORDER BY name", &[]).await? {
                let (objects, bytes) = self.count(row.int("bucket_id")?).await?;
                usage.push(BucketUsage { name: row.text("name")?, objects, bytes });
            }
            Ok(usage)
        })
    }

    async fn count(&self, bucket: i64) -> Result<(u64, u64)> {
        let sql = "WITH page AS (SELECT key, size FROM objects WHERE bucket_id = $1 AND key > $2 ORDER BY key LIMIT $3) \
                   SELECT COUNT(*) AS objects, CAST(COALESCE(SUM(size), 0) AS BIGINT) AS bytes, \
                   (SELECT key FROM page ORDER BY key DESC LIMIT 1) AS last FROM page";
        let (mut objects, mut bytes, mut after) = (0_u64, 0_u64, Vec::new());
        loop {
            let row = self.db.first(sql, values![bucket, &after, PAGE]).await?;
            let row = row.ok_or_else(|| Error::Corrupt("a count has no row".into()))?;
            objects = objects.saturating_add(row.number("objects")?);
            bytes = bytes.saturating_add(row.number("bytes")?);
            match row.opt_bytes("last")? {
                Some(last) => after = last,
                None => return Ok((objects, bytes)),
            }
        }
    }
}
