//! How much there is, for metrics. Counted page by page: each statement is short, however many objects there are, and what changes
//! meanwhile is counted or not.

use super::dialect::{Row, Tx, values};
use super::{Answer, Error, Metadata, QuotaUse, Result};

/// What a bucket holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketUsage {
    /// Its name.
    pub name: String,
    /// Objects.
    pub objects: u64,
    /// Objects, their versions that others came after, and delete markers.
    pub versions: u64,
    /// Delete markers.
    pub markers: u64,
    /// Bytes of all versions.
    pub bytes: u64,
}

/// Rows that one statement counts.
const PAGE: i64 = 50_000;

/// What a plain GET sees of a bucket, in the order that it is counted in.
const CURRENT: &str =
    "SELECT key AS place, size, 0 AS marker FROM objects WHERE bucket_id = $1 AND key > $2 ORDER BY key";

/// And what it does not see.
const OTHERS: &str =
    "SELECT entry AS place, size, marker FROM versions WHERE bucket_id = $1 AND entry > $2 ORDER BY entry";

#[derive(Default)]
struct Count {
    rows: u64,
    markers: u64,
    bytes: u64,
}

impl Count {
    /// The statement that counts a page of one of the two.
    fn page(of: &str) -> String {
        format!(
            "WITH page AS ({of} LIMIT $3) SELECT COUNT(*) AS found, CAST(COALESCE(SUM(marker), 0) AS BIGINT) AS markers, \
             CAST(COALESCE(SUM(size), 0) AS BIGINT) AS bytes, (SELECT place FROM page ORDER BY place DESC LIMIT 1) AS last \
             FROM page"
        )
    }

    /// Adds what a page came to; answers behind what the next one is.
    fn add(&mut self, row: Option<Row>) -> Result<Option<Vec<u8>>> {
        let row = row.ok_or_else(|| Error::Corrupt("a count has no row".into()))?;
        self.rows = self.rows.saturating_add(row.number("found")?);
        self.markers = self.markers.saturating_add(row.number("markers")?);
        self.bytes = self.bytes.saturating_add(row.number("bytes")?);
        row.opt_bytes("last")
    }
}

/// What a bucket holds, delete markers aside, as a transaction sees it.
pub(super) async fn held(tx: &mut Tx, bucket: i64) -> Result<QuotaUse> {
    let mut count = Count::default();
    for of in [CURRENT, OTHERS] {
        let (sql, mut after) = (Count::page(of), Vec::new());
        while let Some(last) = count.add(tx.first(&sql, values![bucket, &after, PAGE]).await?)? {
            after = last;
        }
    }
    Ok(QuotaUse { bytes: count.bytes, objects: count.rows.saturating_sub(count.markers) })
}

impl Metadata {
    /// How many buckets there are.
    pub fn bucket_count(&self) -> Answer<'_, u64> {
        Box::pin(async move {
            let row = self.db.first("SELECT COUNT(*) AS buckets FROM buckets", &[]).await?;
            row.ok_or_else(|| Error::Corrupt("a count has no row".into()))?.number("buckets")
        })
    }

    /// What each bucket holds, by name. Reads a row for each version.
    pub fn bucket_usage(&self) -> Answer<'_, Vec<BucketUsage>> {
        Box::pin(async move {
            let mut usage = Vec::new();
            for row in self.db.query("SELECT bucket_id, name FROM buckets ORDER BY name", &[]).await? {
                let (bucket, name) = (row.int("bucket_id")?, row.text("name")?);
                let current = self.count(bucket, CURRENT).await?;
                let others = self.count(bucket, OTHERS).await?;
                usage.push(BucketUsage {
                    name,
                    objects: current.rows,
                    versions: current.rows.saturating_add(others.rows),
                    markers: others.markers,
                    bytes: current.bytes.saturating_add(others.bytes),
                });
            }
            Ok(usage)
        })
    }

    async fn count(&self, bucket: i64, of: &str) -> Result<Count> {
        let (sql, mut count, mut after) = (Count::page(of), Count::default(), Vec::new());
        while let Some(last) = count.add(self.db.first(&sql, values![bucket, &after, PAGE]).await?)? {
            after = last;
        }
        Ok(count)
    }
}
