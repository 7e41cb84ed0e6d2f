//! Quotas: how much a bucket, or all buckets of an account, may hold, exact whoever writes at the same time.
//!
//! A bucket's row names the quotas that count what is in it, so that a transaction learns from the row that it holds anyway whether there are any. Where
//! there are, it holds their rows, in order, once it has its keys and before it touches data: what is counted there is what is there, and nobody
//! else adds to it before the commit.
//!
//! A quota that is set first counts only what comes from then on, and limits nothing. Within one view of the rows what is there, less what came since,
//! is what was there before; added to the counter it makes it exact, however long the count took, and no writer waited for it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::iter::Sum;
use std::ops::{Add, Sub};

use super::buckets::{HeldBucket, access_changed};
use super::dialect::{Column, Row, Tx, fresh_batch, retrying, values};
use super::rows::int;
use super::{Answer, Discrepancy, Error, IdentityKind, Metadata, Result, UploadId, Versioning, usage};

/// What a quota is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QuotaOf {
    /// A bucket, by its name.
    Bucket(String),
    /// All buckets of an account, by its canonical id.
    Account(String),
}

impl fmt::Display for QuotaOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bucket(name) => write!(f, "bucket {name}"),
            Self::Account(id) => write!(f, "account {id}"),
        }
    }
}

/// How much may be there; `None`: any number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QuotaLimits {
    /// Bytes of all versions, and of parts of uploads that are not completed.
    pub bytes: Option<u64>,
    /// Versions, without delete markers.
    pub objects: Option<u64>,
}

/// How much is there, counted as in [`QuotaLimits`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QuotaUse {
    /// Bytes.
    pub bytes: u64,
    /// Versions.
    pub objects: u64,
}

/// A quota.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quota {
    /// What it is of.
    pub of: QuotaOf,
    /// What may be there.
    pub limits: QuotaLimits,
    /// What is there; `None`: that is still being counted, and nothing is limited yet. Setting the quota once more ends a count that was cut short.
    pub used: Option<QuotaUse>,
}

/// What is about to be written, of which only the length is known.
#[derive(Debug, Clone, Copy)]
pub enum Coming<'a> {
    /// An object, in place of what the key holds.
    Object(&'a str),
    /// A part, in place of the one of this number.
    Part(&'a UploadId, u32),
    /// The end of an object.
    Append,
}

/// So much more, or less.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Amount {
    bytes: i64,
    objects: i64,
}

impl Amount {
    /// A version that is no delete marker.
    pub(super) fn object(size: u64) -> Self {
        Self { bytes: int(size), objects: 1 }
    }

    pub(super) fn bytes(bytes: u64) -> Self {
        Self { bytes: int(bytes), objects: 0 }
    }

    fn of(row: &Row) -> Result<Self> {
        Ok(Self { bytes: row.int("bytes")?, objects: row.int("objects")? })
    }
}

impl Add for Amount {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { bytes: self.bytes.saturating_add(other.bytes), objects: self.objects.saturating_add(other.objects) }
    }
}

impl Sub for Amount {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self { bytes: self.bytes.saturating_sub(other.bytes), objects: self.objects.saturating_sub(other.objects) }
    }
}

impl Sum for Amount {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), Add::add)
    }
}

const COLUMNS: &str = "quota_id, bucket_id, canonical_id, max_bytes, max_objects, bytes, objects, counting";

/// A quota as a transaction finds it, and what the transaction adds to it.
#[derive(Debug)]
struct Counter {
    of_bucket: bool,
    limits: QuotaLimits,
    counting: bool,
    used: Amount,
    change: Amount,
}

impl Counter {
    fn of(row: &Row) -> Result<Self> {
        Ok(Self {
            of_bucket: row.opt_int("bucket_id")?.is_some(),
            limits: QuotaLimits { bytes: row.opt_number("max_bytes")?, objects: row.opt_number("max_objects")? },
            counting: row.int("counting")? != 0,
            used: Amount::of(row)?,
            change: Amount::default(),
        })
    }

    /// Whether so much more may come into a bucket. What does not grow may always be: it is how one gets below a quota.
    fn check(&self, bucket: &HeldBucket, more: Amount) -> Result<()> {
        if self.counting {
            return Ok(());
        }
        let then = self.used + self.change + more;
        for (max, what, more, then) in [
            (self.limits.bytes, "bytes", more.bytes, then.bytes),
            (self.limits.objects, "objects", more.objects, then.objects),
        ] {
            if let Some(max) = max.filter(|max| more > 0 && then > int(*max)) {
                let of = match self.of_bucket {
                    true => QuotaOf::Bucket(bucket.name.clone()),
                    false => QuotaOf::Account(bucket.owner.clone()),
                };
                return Err(Error::QuotaExceeded { of, max, what });
            }
        }
        Ok(())
    }
}

/// The quotas that a transaction holds.
#[derive(Debug, Default)]
pub(super) struct Counters(BTreeMap<i64, Counter>);

impl Counters {
    /// Holds the quotas that count what is in these buckets, which are held.
    pub(super) async fn hold(tx: &mut Tx, buckets: &[&HeldBucket]) -> Result<Self> {
        let ids: BTreeSet<i64> = buckets.iter().flat_map(|bucket| bucket.quotas()).collect();
        if ids.is_empty() {
            return Ok(Self::default());
        }
        let sql = format!(
            "SELECT {COLUMNS} FROM quotas WHERE quota_id IN (SELECT input.id FROM {{input:id}}) ORDER BY quota_id {{change}}"
        );
        let rows = tx.query_many(&sql, &[], &[Column::Ints(ids.into_iter().collect())]).await?;
        let counters = rows.iter().map(|row| Ok((row.int("quota_id")?, Counter::of(row)?)));
        Ok(Self(counters.collect::<Result<_>>()?))
    }

    /// Counts what a write, or a deletion, changes in a bucket, if that may be.
    ///
    /// # Errors
    /// [`Error::QuotaExceeded`]: then it is not counted.
    pub(super) fn admit(&mut self, bucket: &HeldBucket, change: Amount) -> Result<()> {
        for id in bucket.quotas() {
            let counter = self.0.get(&id).ok_or_else(|| no_row(id, bucket))?;
            counter.check(bucket, change)?;
        }
        for id in bucket.quotas() {
            if let Some(counter) = self.0.get_mut(&id) {
                counter.change = counter.change + change;
            }
        }
        Ok(())
    }

    /// Writes down what was counted.
    pub(super) async fn write(self, tx: &mut Tx) -> Result<()> {
        let changed: Vec<_> = self.0.iter().filter(|(_, counter)| counter.change != Amount::default()).collect();
        if changed.is_empty() {
            return Ok(());
        }
        let sql = "UPDATE quotas SET bytes = quotas.bytes + input.more_bytes, objects = quotas.objects + input.more_objects \
                   FROM {input:id,more_bytes,more_objects} WHERE quotas.quota_id = input.id";
        let columns = [
            Column::Ints(changed.iter().map(|(id, _)| **id).collect()),
            Column::Ints(changed.iter().map(|(_, counter)| counter.change.bytes).collect()),
            Column::Ints(changed.iter().map(|(_, counter)| counter.change.objects).collect()),
        ];
        tx.execute_many(sql, &[], &columns).await.map(|_| ())
    }
}

fn no_row(id: i64, bucket: &HeldBucket) -> Error {
    Error::Corrupt(format!("there is no quota {id}, which bucket {} names", bucket.name))
}

/// Counts the one thing that a transaction changes in a bucket, which it holds, if that may be.
///
/// # Errors
/// [`Error::QuotaExceeded`].
pub(super) async fn charge(tx: &mut Tx, bucket: &HeldBucket, change: Amount) -> Result<()> {
    if !bucket.is_counted() {
        return Ok(());
    }
    let mut counters = Counters::hold(tx, &[bucket]).await?;
    counters.admit(bucket, change)?;
    counters.write(tx).await
}

impl Metadata {
    /// Limits what a bucket, or all buckets of an account, may hold, in place of what limited it before. When this returns, what is there is counted.
    ///
    /// # Errors
    /// [`Error::NoSuchBucket`], [`Error::NoSuchIdentity`].
    pub fn set_quota<'a>(&'a self, of: &'a QuotaOf, limits: QuotaLimits) -> Answer<'a, ()> {
        Box::pin(async move {
            let batch = fresh_batch();
            let id = retrying(|| async {
                let mut tx = self.db.begin(Some(batch)).await?;
                let result = set(&mut tx, of, limits).await;
                tx.end(result).await
            })
            .await?;
            self.count_quota(id).await
        })
    }

    /// Takes a quota away; answers whether there was one.
    ///
    /// # Errors
    /// [`Error::NoSuchBucket`], [`Error::NoSuchIdentity`].
    pub fn remove_quota<'a>(&'a self, of: &'a QuotaOf) -> Answer<'a, bool> {
        Box::pin(async move {
            let batch = fresh_batch();
            retrying(|| async {
                let mut tx = self.db.begin(Some(batch)).await?;
                let result = remove(&mut tx, of).await;
                tx.end(result).await
            })
            .await
        })
    }

    /// All quotas, and what of them is used.
    pub fn quotas(&self) -> Answer<'_, Vec<Quota>> {
        Box::pin(async move {
            let sql = "SELECT q.canonical_id, q.max_bytes, q.max_objects, q.bytes, q.objects, q.counting, b.name \
                       FROM quotas q LEFT JOIN buckets b ON b.bucket_id = q.bucket_id ORDER BY b.name, q.canonical_id";
            let mut quotas = Vec::new();
            for row in self.db.query(sql, &[]).await? {
                let of = match (row.opt_text("name")?, row.opt_text("canonical_id")?) {
                    (Some(name), _) => QuotaOf::Bucket(name),
                    (None, Some(id)) => QuotaOf::Account(id),
                    (None, None) => return Err(Error::Corrupt("a quota is of a bucket that is not there".into())),
                };
                let limits =
                    QuotaLimits { bytes: row.opt_number("max_bytes")?, objects: row.opt_number("max_objects")? };
                let used = match row.int("counting")? {
                    0 => Some(QuotaUse { bytes: row.number("bytes")?, objects: row.number("objects")? }),
                    _ => None,
                };
                quotas.push(Quota { of, limits, used });
            }
            Ok(quotas)
        })
    }

    /// Whether something of this length may come into a bucket, as far as can be told without a lock. The commit decides.
    ///
    /// # Errors
    /// [`Error::NoSuchBucket`], [`Error::QuotaExceeded`].
    pub fn check_room<'a>(&'a self, name: &'a str, coming: Coming<'a>, len: u64) -> Answer<'a, ()> {
        Box::pin(async move {
            let sql = format!("SELECT {} FROM buckets WHERE name = $1", HeldBucket::COLUMNS);
            let row = self.db.first(&sql, values![name]).await?;
            let bucket = HeldBucket::of(&row.ok_or_else(|| Error::NoSuchBucket(name.into()))?)?;
            let size = |row: Option<Row>| row.map(|row| row.number::<u64>("size")).transpose();
            let change = match coming {
                Coming::Object(key) => match bucket.versioning {
                    Versioning::Enabled => Amount::object(len),
                    Versioning::Never => {
                        let sql = "SELECT size FROM objects WHERE bucket_id = $1 AND key = $2";
                        let there = size(self.db.first(sql, values![bucket.id.0, key.as_bytes()]).await?)?;
                        Amount::object(len) - there.map_or_else(Amount::default, Amount::object)
                    }
                    // What goes for it may be a version, and not worth the search.
                    Versioning::Suspended => return Ok(()),
                },
                Coming::Part(upload, number) => {
                    let sql = "SELECT size FROM parts WHERE upload_id = $1 AND number = $2";
                    let there = size(self.db.first(sql, values![&upload.0, i64::from(number)]).await?)?;
                    Amount::bytes(len) - Amount::bytes(there.unwrap_or_default())
                }
                Coming::Append => Amount::bytes(len),
            };
            for id in bucket.quotas() {
                let sql = format!("SELECT {COLUMNS} FROM quotas WHERE quota_id = $1");
                // One that was taken away meanwhile limits nothing.
                if let Some(row) = self.db.first(&sql, values![id]).await? {
                    Counter::of(&row)?.check(&bucket, change)?;
                }
            }
            Ok(())
        })
    }

    /// Counts what was there before a quota was set, if that was not done yet.
    async fn count_quota(&self, id: i64) -> Result<()> {
        let mut view = self.db.begin_view().await?;
        let before = async {
            let sql = format!("SELECT {COLUMNS} FROM quotas WHERE quota_id = $1 AND counting = 1");
            match view.first(&sql, values![id]).await? {
                // Both are as one moment shows them: their difference is what was there when it began to be counted.
                Some(row) => Ok(Some(count(&mut view, &row).await? - Amount::of(&row)?)),
                None => Ok(None),
            }
        };
        let before: Result<Option<Amount>> = before.await;
        view.end_view().await;
        let Some(before) = before? else { return Ok(()) };
        let batch = fresh_batch();
        retrying(|| async {
            let mut tx = self.db.begin(Some(batch)).await?;
            // Whoever set the quota at the same time has counted the same.
            let sql = "UPDATE quotas SET bytes = bytes + $2, objects = objects + $3, counting = 0 \
                       WHERE quota_id = $1 AND counting = 1";
            let result = tx.execute(sql, values![id, before.bytes, before.objects]).await;
            tx.end(result).await.map(|_| ())
        })
        .await
    }

    /// Whether quotas say what is there, and buckets name theirs, as one moment shows them.
    pub fn check_quotas(&self) -> Answer<'_, Vec<Discrepancy>> {
        Box::pin(async move {
            let mut view = self.db.begin_view().await?;
            let found = check(&mut view).await;
            view.end_view().await;
            found
        })
    }
}

/// What is in the buckets that a quota counts.
async fn count(tx: &mut Tx, quota: &Row) -> Result<Amount> {
    let buckets = match quota.opt_int("bucket_id")? {
        Some(bucket) => vec![bucket],
        None => {
            let owner = quota.text("canonical_id")?;
            let rows = tx.query("SELECT bucket_id FROM buckets WHERE owner = $1", values![&owner]).await?;
            rows.iter().map(|row| row.int("bucket_id")).collect::<Result<_>>()?
        }
    };
    let mut all = Amount::default();
    for bucket in buckets {
        let held = usage::held(tx, bucket).await?;
        let sql = "SELECT CAST(COALESCE(SUM(p.size), 0) AS BIGINT) AS size FROM parts p \
                   JOIN uploads u ON u.upload_id = p.upload_id WHERE u.bucket_id = $1";
        let parts = tx.first(sql, values![bucket]).await?.map_or(Ok(0), |row| row.number("size"))?;
        all = all + Amount { bytes: int(held.bytes), objects: int(held.objects) } + Amount::bytes(parts);
    }
    Ok(all)
}

async fn check(view: &mut Tx) -> Result<Vec<Discrepancy>> {
    let mut found = Vec::new();
    let rows = view.query(&format!("SELECT {COLUMNS} FROM quotas ORDER BY quota_id"), &[]).await?;
    for row in &rows {
        if row.int("counting")? != 0 {
            continue;
        }
        let (is, ought) = (Amount::of(row)?, count(view, row).await?);
        if is != ought {
            found.push(Discrepancy {
                what: "quota that does not say what is there",
                subject: format!("quota {}", row.int("quota_id")?),
                detail: format!(
                    "is {} bytes and {} objects, ought to be {} and {}",
                    is.bytes, is.objects, ought.bytes, ought.objects
                ),
            });
        }
    }
    let sql = "SELECT b.name FROM buckets b WHERE \
                   COALESCE(b.bucket_quota, 0) <> COALESCE((SELECT SUM(q.quota_id) FROM quotas q WHERE q.bucket_id = b.bucket_id), 0) \
                   OR COALESCE(b.account_quota, 0) <> COALESCE((SELECT SUM(q.quota_id) FROM quotas q WHERE q.canonical_id = b.owner), 0) \
               ORDER BY b.name";
    for row in view.query(sql, &[]).await? {
        let subject = format!("bucket {}", row.text("name")?);
        found.push(Discrepancy { what: "bucket that does not name its quotas", subject, detail: String::new() });
    }
    Ok(found)
}

/// Whose a quota is, held so that nobody writes into its buckets, or makes one.
struct Subject {
    /// The column that has it, and the one by which buckets name the quota ...
    columns: [&'static str; 2],
    /// ... if they have this in that column.
    buckets: &'static str,
    bucket: Option<i64>,
    account: Option<String>,
}

impl Subject {
    async fn hold(tx: &mut Tx, of: &QuotaOf) -> Result<Self> {
        match of {
            QuotaOf::Bucket(name) => {
                let row = tx.first("SELECT bucket_id FROM buckets WHERE name = $1 {change}", values![name]).await?;
                let bucket = row.ok_or_else(|| Error::NoSuchBucket(name.clone()))?.int("bucket_id")?;
                let columns = ["bucket_id", "bucket_quota"];
                Ok(Self { columns, buckets: "bucket_id", bucket: Some(bucket), account: None })
            }
            QuotaOf::Account(id) => {
                let sql = "SELECT account_id FROM accounts WHERE canonical_id = $1 {change}";
                if tx.first(sql, values![id]).await?.is_none() {
                    return Err(Error::NoSuchIdentity { kind: IdentityKind::Account, name: id.clone() });
                }
                let sql = "SELECT bucket_id FROM buckets WHERE owner = $1 ORDER BY bucket_id {change}";
                tx.query(sql, values![id]).await?;
                let columns = ["canonical_id", "account_quota"];
                Ok(Self { columns, buckets: "owner", bucket: None, account: Some(id.clone()) })
            }
        }
    }

    async fn quota(&self, tx: &mut Tx) -> Result<Option<i64>> {
        let sql = format!("SELECT quota_id FROM quotas WHERE {} = $1", self.columns[0]);
        let row = match (self.bucket, &self.account) {
            (Some(bucket), _) => tx.first(&sql, values![bucket]).await?,
            (None, account) => tx.first(&sql, values![account.as_deref()]).await?,
        };
        row.map(|row| row.int("quota_id")).transpose()
    }

    /// Has the buckets name a quota, or none.
    async fn name(&self, tx: &mut Tx, quota: Option<i64>) -> Result<()> {
        let sql = format!("UPDATE buckets SET {} = $1 WHERE {} = $2", self.columns[1], self.buckets);
        match (self.bucket, &self.account) {
            (Some(bucket), _) => tx.execute(&sql, values![quota, bucket]).await?,
            (None, account) => tx.execute(&sql, values![quota, account.as_deref()]).await?,
        };
        access_changed(tx).await
    }
}

async fn set(tx: &mut Tx, of: &QuotaOf, limits: QuotaLimits) -> Result<i64> {
    let subject = Subject::hold(tx, of).await?;
    let (bytes, objects) = (limits.bytes.map(int), limits.objects.map(int));
    if let Some(id) = subject.quota(tx).await? {
        let sql = "UPDATE quotas SET max_bytes = $2, max_objects = $3 WHERE quota_id = $1";
        tx.execute(sql, values![id, bytes, objects]).await?;
        return Ok(id);
    }
    let sql = "INSERT INTO quotas (bucket_id, canonical_id, max_bytes, max_objects, bytes, objects, counting) \
               VALUES ($1, $2, $3, $4, 0, 0, 1) RETURNING quota_id";
    let row = tx.first(sql, values![subject.bucket, subject.account.as_deref(), bytes, objects]).await?;
    let id = row.ok_or_else(|| Error::Corrupt("no quota was made".into()))?.int("quota_id")?;
    subject.name(tx, Some(id)).await?;
    Ok(id)
}

async fn remove(tx: &mut Tx, of: &QuotaOf) -> Result<bool> {
    let subject = Subject::hold(tx, of).await?;
    let Some(id) = subject.quota(tx).await? else { return Ok(false) };
    subject.name(tx, None).await?;
    tx.execute("DELETE FROM quotas WHERE quota_id = $1", values![id]).await?;
    Ok(true)
}

/// Makes quotas say what was restored. Those that commands set or took away beside a server are in no log of changes: of two of the same bucket or account
/// the newer counts.
pub(super) async fn settle(tx: &mut Tx) -> Result<()> {
    let sql = "DELETE FROM quotas WHERE (bucket_id IS NOT NULL AND bucket_id NOT IN (SELECT b.bucket_id FROM buckets b)) \
               OR EXISTS (SELECT 1 FROM quotas n WHERE n.quota_id > quotas.quota_id \
                   AND (n.bucket_id = quotas.bucket_id OR n.canonical_id = quotas.canonical_id))";
    tx.execute(sql, &[]).await?;
    let sql = "UPDATE buckets SET \
               bucket_quota = (SELECT q.quota_id FROM quotas q WHERE q.bucket_id = buckets.bucket_id), \
               account_quota = (SELECT q.quota_id FROM quotas q WHERE q.canonical_id = buckets.owner)";
    tx.execute(sql, &[]).await?;
    for row in tx.query(&format!("SELECT {COLUMNS} FROM quotas"), &[]).await? {
        let there = count(tx, &row).await?;
        let sql = "UPDATE quotas SET bytes = $2, objects = $3, counting = 0 WHERE quota_id = $1";
        tx.execute(sql, values![row.int("quota_id")?, there.bytes, there.objects]).await?;
    }
    Ok(())
}
