//! Appending: bytes added behind those of an object, whose row then says more.
//!
//! Data that one object alone refers to grows in place: whoever reads it reads what it was when he asked, and whoever wants a reference
//! finds its length to be another. What lies in a packed chunk by the object's row becomes an extent there, so that it still has one
//! owner. No byte moves, and nothing is done per extent.

use super::buckets::{self, HeldBucket};
use super::dialect::{Column, Tx, retrying, values};
use super::quotas::{self, Amount};
use super::rows::{self, int};
use super::write::{self, Current, Held};
use super::{
    Answer, BatchId, BucketId, Checksum, ChecksumType, DataId, Error, Metadata, Result, Versioning, WriteCondition,
    objects,
};
use crate::clock::Millis;
use crate::layout::{Extent, NewData};

/// Parts that an object has at most: what it was completed from, and a part for each append.
const MAX_PARTS: u32 = 10_000;

/// The object that an append was computed from. If it is another by now, the answer is [`Error::SourceChanged`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppendBase {
    /// Its ETag, without quotes.
    pub etag: String,
    /// Its length in bytes.
    pub size: u64,
    /// Canonical id of its owner.
    pub owner: String,
    /// Its checksum.
    pub checksum: Option<Checksum>,
    /// How many parts it has; `None` if it was put at once.
    pub parts: Option<u32>,
}

impl AppendBase {
    /// How many parts it counts as: what was put at once is one, if it is anything.
    pub fn count(&self) -> u32 {
        self.parts.unwrap_or(u32::from(self.size > 0))
    }
}

/// The bytes that an object has, written once more.
#[derive(Debug, Clone)]
pub struct AppendCopy {
    /// The bytes.
    pub data: NewData,
    /// Their checksum by the object's algorithm, in base64, as a part has one.
    pub checksum: Option<String>,
}

/// An append: freshly written bytes, made the end of an object.
#[derive(Debug, Clone)]
pub struct AppendCommit {
    /// Unique id of this commit.
    pub batch: BatchId,
    /// Name of the bucket.
    pub bucket: String,
    /// The key.
    pub key: String,
    /// What the object is.
    pub base: AppendBase,
    /// Its bytes once more, if others refer to its data: they count as one part then.
    pub copy: Option<AppendCopy>,
    /// The new bytes.
    pub data: NewData,
    /// Their checksum by the object's algorithm, in base64.
    pub part_checksum: Option<String>,
    /// The object's ETag from now on, without quotes.
    pub etag: String,
    /// Its checksum from now on.
    pub checksum: Option<Checksum>,
    /// Now.
    pub modified: Millis,
    /// What must hold.
    pub condition: WriteCondition,
}

impl Metadata {
    /// Makes bytes the end of an object.
    ///
    /// A caller that drops this future before it answered knows as little as after [`Error::Ambiguous`]: run it to its end.
    ///
    /// # Errors
    /// [`Error::NoSuchBucket`], [`Error::RangeClosed`], [`Error::PreconditionFailed`], [`Error::SourceChanged`] (the object is another
    /// by now, or gone), [`Error::KeepsVersions`], [`Error::ObjectLocked`], [`Error::TooManyParts`], [`Error::DataShared`] (and the
    /// commit has no copy), [`Error::QuotaExceeded`].
    pub fn commit_append<'a>(&'a self, commit: &'a AppendCommit) -> Answer<'a, ()> {
        Box::pin(async move {
            retrying(|| async {
                let mut tx = self.db.begin(Some(commit.batch)).await?;
                let result = append(&mut tx, commit).await;
                tx.end(result).await
            })
            .await
        })
    }
}

async fn append(tx: &mut Tx, commit: &AppendCommit) -> Result<()> {
    check(commit)?;
    let bucket = buckets::hold(tx, &commit.bucket).await?;
    write::hold_ranges(tx, commit.chunks().chain(commit.data.chunks.iter().map(|chunk| chunk.id))).await?;
    tx.lock_names(vec![write::key_name(bucket.id, &commit.key)]).await?;
    let held = write::held(tx, &[(&bucket, &commit.key)]).await?.pop().unwrap_or_default();
    admit(&bucket, commit, &held)?;
    quotas::charge(tx, &bucket, commit.amount()).await?;
    let appending = Appending::new(tx, &bucket, commit, &held).await?;
    appending.write(tx).await
}

impl AppendCommit {
    /// What quotas count of it.
    pub(super) fn amount(&self) -> Amount {
        Amount::bytes(self.data.len)
    }

    /// The chunks of the copy.
    pub(super) fn chunks(&self) -> impl Iterator<Item = crate::layout::ChunkId> + '_ {
        self.copy.iter().flat_map(|copy| copy.data.chunks.iter().map(|chunk| chunk.id))
    }
}

/// Extents must be the bytes that they are said to be.
pub(super) fn check(commit: &AppendCommit) -> Result<()> {
    objects::check_data(&commit.bucket, &commit.key, &commit.data)?;
    if let Some(AppendCopy { data, .. }) = &commit.copy {
        objects::check_data(&commit.bucket, &commit.key, data)?;
        if data.len != commit.base.size {
            let (len, size) = (data.len, commit.base.size);
            return Err(Error::Corrupt(format!("a copy of {} has {len} bytes, not {size}", commit.key)));
        }
    }
    Ok(())
}

/// Whether a locked key still holds what was read, and may be appended to.
pub(super) fn admit(bucket: &HeldBucket, commit: &AppendCommit, held: &Held) -> Result<()> {
    if bucket.versioning != Versioning::Never {
        return Err(Error::KeepsVersions(bucket.name.clone()));
    }
    write::check(&commit.condition, bucket, &commit.key, held.current.as_ref())?;
    match &held.current {
        Some(current) if current.lock.holds(commit.modified, false) => Err(Error::ObjectLocked {
            bucket: bucket.name.clone(),
            key: commit.key.clone(),
            version: current.version.clone(),
        }),
        Some(current) if current.etag == commit.base.etag && current.size == commit.base.size => Ok(()),
        _ => Err(Error::SourceChanged),
    }
}

/// Where the bytes that are there come from.
#[derive(Debug, Clone, Copy)]
enum Before {
    /// There are none.
    Nothing,
    /// The object's row has them in a packed chunk.
    Packed,
    /// Data that nobody else refers to.
    Data(DataId),
    /// The copy.
    Copy,
}

/// An append that is known to be possible.
pub(super) struct Appending<'a> {
    commit: &'a AppendCommit,
    bucket: BucketId,
    current: &'a Current,
    before: Before,
    /// The number of the new part.
    number: u32,
}

impl<'a> Appending<'a> {
    /// Looks at what [`admit`] let pass, which stays as it is for the rest of the transaction.
    pub(super) async fn new(
        tx: &mut Tx,
        bucket: &HeldBucket,
        commit: &'a AppendCommit,
        held: &'a Held,
    ) -> Result<Self> {
        let current = held.current.as_ref().ok_or(Error::SourceChanged)?;
        let base = &commit.base;
        let sql = "SELECT owner, checksum_algorithm, checksum_type, checksum, parts FROM objects WHERE bucket_id = $1 AND key = $2";
        let row = tx.first(sql, values![bucket.id.0, commit.key.as_bytes()]).await?.ok_or(Error::SourceChanged)?;
        let is_same = row.text("owner")? == base.owner && rows::checksum(&row)? == base.checksum;
        if !is_same || row.opt_number("parts")? != base.parts {
            return Err(Error::SourceChanged);
        }
        let mut last = base.count();
        let before = match (&commit.copy, current.data, &current.packed) {
            (Some(_), ..) => {
                last = 1;
                Before::Copy
            }
            (None, Some(data), _) => {
                let sql = "SELECT refs, len, (SELECT MAX(p.number) FROM data_parts p WHERE p.data_id = data.data_id) AS last \
                           FROM data WHERE data_id = $1 {change}";
                let row = tx.first(sql, values![data]).await?;
                let row = row.ok_or_else(|| Error::Corrupt(format!("there is no data {data}")))?;
                // One that waits to be folded away still counts, and there is no telling it from one that is meant.
                if row.int("refs")? != 1 {
                    return Err(Error::DataShared);
                }
                if row.number::<u64>("len")? != base.size {
                    return Err(Error::Corrupt(format!("data {data} is not as long as its object {}", commit.key)));
                }
                last = row.opt_number("last")?.unwrap_or(last);
                Before::Data(DataId(data))
            }
            (None, None, Some(_)) => Before::Packed,
            (None, None, None) => Before::Nothing,
        };
        if last >= MAX_PARTS {
            return Err(Error::TooManyParts { bucket: bucket.name.clone(), key: commit.key.clone() });
        }
        Ok(Self { commit, bucket: bucket.id, current, before, number: last + 1 })
    }

    /// Writes the rows. The chunks of packed bytes are there already.
    pub(super) async fn write(&self, tx: &mut Tx) -> Result<()> {
        let Self { commit, current, .. } = self;
        let AppendCommit { base, data: new, .. } = commit;
        let key = commit.key.as_bytes();
        let size = base.size.saturating_add(new.len);
        let data = match self.before {
            Before::Nothing => write::insert_data_row(tx, size).await?,
            Before::Packed => {
                let data = write::insert_data_row(tx, size).await?;
                let sql = "INSERT INTO extents (data_id, start, chunk_id, position, stripe_len, skip, len) \
                           SELECT $1, 0, o.chunk_id, o.position, o.stripe_len, o.skip, o.size FROM objects o \
                           WHERE o.bucket_id = $2 AND o.key = $3";
                tx.execute(sql, values![data.0, self.bucket.0, key]).await?;
                data
            }
            Before::Data(data) => {
                tx.execute("UPDATE data SET len = $2 WHERE data_id = $1", values![data.0, int(size)]).await?;
                data
            }
            Before::Copy => {
                write::release(tx, [*current], commit.modified).await?;
                let data = write::insert_data_row(tx, size).await?;
                if let Some(copy) = &commit.copy {
                    write::insert_chunks(tx, &copy.data, commit.modified).await?;
                    write::insert_extents(tx, data, &copy.data.extents).await?;
                }
                data
            }
        };
        write::insert_chunks(tx, new, commit.modified).await?;
        let behind = |extent: &Extent| Extent { start: extent.start.saturating_add(base.size), ..*extent };
        write::insert_extents(tx, data, &new.extents.iter().map(behind).collect::<Vec<_>>()).await?;
        self.write_parts(tx, data).await?;

        let sql = "UPDATE objects SET size = $3, etag = $4, modified = $5, checksum_algorithm = $6, checksum_type = $7, \
                   checksum = $8, parts = $9, data_id = $10, chunk_id = NULL, position = NULL, stripe_len = NULL, skip = NULL \
                   WHERE bucket_id = $1 AND key = $2";
        let checksum = commit.checksum.as_ref();
        let parts = if commit.copy.is_some() { 2 } else { base.count() + 1 };
        let values = values![
            self.bucket.0,
            key,
            int(size),
            &commit.etag,
            commit.modified,
            checksum.map(|checksum| checksum.algorithm.name()),
            checksum.map(|checksum| checksum.kind.name()),
            checksum.map(|checksum| checksum.value.as_str()),
            i64::from(parts),
            data.0,
        ];
        tx.execute(sql, values).await.map(|_| ())
    }

    /// The new part, behind the one that all that was there is if it was put at once, or copied.
    async fn write_parts(&self, tx: &mut Tx, data: DataId) -> Result<()> {
        let AppendCommit { base, data: new, copy, .. } = self.commit;
        let mut parts = Vec::with_capacity(2);
        match copy {
            Some(copy) => parts.push((1, 0, base.size, copy.checksum.as_deref())),
            None if base.parts.is_none() && base.size > 0 => {
                let whole = base.checksum.as_ref().filter(|checksum| checksum.kind == ChecksumType::FullObject);
                parts.push((1, 0, base.size, whole.map(|checksum| checksum.value.as_str())));
            }
            None => {}
        }
        parts.push((self.number, base.size, new.len, self.commit.part_checksum.as_deref()));
        let sql = "INSERT INTO data_parts (data_id, number, start, size, checksum) \
                   SELECT $1, input.number, input.start, input.size, input.checksum FROM {input:number,start,size,checksum}";
        let columns = [
            Column::Ints(parts.iter().map(|(number, ..)| i64::from(*number)).collect()),
            Column::Ints(parts.iter().map(|(_, start, ..)| int(*start)).collect()),
            Column::Ints(parts.iter().map(|(_, _, size, _)| int(*size)).collect()),
            Column::OptTexts(parts.iter().map(|(.., checksum)| *checksum).collect()),
        ];
        tx.execute_many(sql, values![data.0], &columns).await.map(|_| ())
    }
}
