//! Writing and deleting objects.

use std::collections::HashSet;

use super::buckets::{self, HeldBucket};
use super::dialect::{Tx, fresh_batch, retrying, values};
use super::quotas::{Amount, Counters};
use super::write::{self, Current, Put, Replacing};
use super::{
    Answer, BatchId, Content, CopyCommit, DeleteKey, Deleted, Error, Metadata, PutCommit, Result, VersionId, versions,
};
use crate::clock::Millis;
use crate::layout::NewData;

/// Keys deleted in one transaction at most: each holds a lock.
const DELETE_BATCH: usize = 100;

impl Metadata {
    /// Makes an object and its freshly written bytes visible, in place of what the key held. Answers the version that it became; `None`
    /// in a bucket that never kept any.
    ///
    /// A caller that drops this future before it answered knows as little as after [`Error::Ambiguous`]: run it to its end.
    ///
    /// # Errors
    /// [`Error::NoSuchBucket`], [`Error::RangeClosed`], [`Error::PreconditionFailed`], [`Error::NoSuchKey`] (a condition on
    /// an object that is not there), [`Error::QuotaExceeded`].
    pub fn commit_put<'a>(&'a self, commit: &'a PutCommit) -> Answer<'a, Option<VersionId>> {
        Box::pin(async move {
            retrying(|| async {
                let mut tx = self.db.begin(Some(commit.batch)).await?;
                let result = put(&mut tx, commit).await;
                tx.end(result).await
            })
            .await
        })
    }

    /// Makes an object that refers to another's data. No byte moves, and nothing is done per extent.
    ///
    /// # Errors
    /// As [`Self::commit_put`], and [`Error::SourceChanged`] if the data is gone.
    pub fn commit_copy<'a>(&'a self, commit: &'a CopyCommit) -> Answer<'a, Option<VersionId>> {
        Box::pin(async move {
            retrying(|| async {
                let mut tx = self.db.begin(Some(commit.batch)).await?;
                let result = copy(&mut tx, commit).await;
                tx.end(result).await
            })
            .await
        })
    }

    /// Deletes keys, or versions of them, one after the other: one result for each, in order. In a bucket that keeps versions a
    /// key is hidden by a delete marker, of `owner`'s. Deleting what is not there succeeds, unless an ETag is expected
    /// ([`Error::NoSuchKey`]); what is locked stays ([`Error::ObjectLocked`]). Keys are deleted a hundred at a time; if the database
    /// goes away between, the rest have that error.
    ///
    /// # Errors
    /// [`Error::NoSuchBucket`], or whatever kept all of them from being deleted.
    pub fn delete<'a>(
        &'a self,
        bucket: &'a str,
        keys: &'a [DeleteKey],
        owner: &'a str,
        now: Millis,
    ) -> Answer<'a, Vec<Result<Deleted>>> {
        Box::pin(async move {
            let mut results: Vec<Result<Deleted>> = Vec::with_capacity(keys.len());
            for keys in keys.chunks(DELETE_BATCH) {
                let batch = fresh_batch();
                let deleted = retrying(|| async {
                    let mut tx = self.db.begin(Some(batch)).await?;
                    let result = delete(&mut tx, bucket, keys, owner, now).await;
                    tx.end(result).await
                })
                .await;
                match deleted {
                    Ok(deleted) => results.extend(deleted),
                    Err(error) if results.is_empty() => return Err(error),
                    Err(Error::Ambiguous(why)) => {
                        results.extend(keys.iter().map(|_| Err(Error::Ambiguous(why.clone()))));
                    }
                    Err(error) => results.extend(keys.iter().map(|_| Err(Error::Unavailable(error.to_string())))),
                }
            }
            Ok(results)
        })
    }
}

async fn put(tx: &mut Tx, commit: &PutCommit) -> Result<Option<VersionId>> {
    let PutCommit { batch: BatchId(_), bucket: name, object, data, condition } = commit;
    check_data(name, &object.key, data)?;
    let bucket = buckets::hold(tx, name).await?;
    write::hold_ranges(tx, data.chunks.iter().map(|chunk| chunk.id)).await?;
    write::lock_of(&bucket, name, object)?;
    tx.lock_names(vec![write::key_name(bucket.id, &object.key)]).await?;
    let held = write::held(tx, &[(&bucket, &object.key)]).await?.pop().unwrap_or_default();
    write::check(condition, &bucket, &object.key, held.current.as_ref())?;
    write::charge(tx, &bucket, &object.key, &held, Amount::object(data.len)).await?;
    let content = write::insert_data(tx, data, object.modified).await?.map_or(Content::Empty, Content::Data);
    let put = Put { bucket: &bucket, object, size: data.len, parts: None, content };
    write::put(tx, put, &held).await
}

/// Extents must be the object's bytes, without a gap: rows that say otherwise would be read as other bytes.
pub(super) fn check_data(bucket: &str, key: &str, data: &NewData) -> Result<()> {
    let mut end = 0;
    for extent in &data.extents {
        if extent.start != end || extent.len == 0 {
            return Err(Error::Corrupt(format!("extents of {key} in bucket {bucket} leave a gap at byte {end}")));
        }
        end = extent.start.saturating_add(extent.len);
    }
    if end != data.len {
        return Err(Error::Corrupt(format!("extents of {key} in bucket {bucket} end at byte {end}, not {}", data.len)));
    }
    Ok(())
}

async fn copy(tx: &mut Tx, commit: &CopyCommit) -> Result<Option<VersionId>> {
    let CopyCommit { batch: BatchId(_), bucket: name, object, data, size, parts, condition } = commit;
    let bucket = buckets::hold(tx, name).await?;
    write::lock_of(&bucket, name, object)?;
    tx.lock_names(vec![write::key_name(bucket.id, &object.key)]).await?;
    let held = write::held(tx, &[(&bucket, &object.key)]).await?.pop().unwrap_or_default();
    write::check(condition, &bucket, &object.key, held.current.as_ref())?;
    write::charge(tx, &bucket, &object.key, &held, Amount::object(*size)).await?;
    // Data that still has a reference, were it one that waits to be folded, has live chunks; more references keep them so.
    let row = tx.first("SELECT refs, len FROM data WHERE data_id = $1 {change}", values![data.0]).await?;
    let row = row.ok_or(Error::SourceChanged)?;
    if row.int("refs")? < 1 || row.number::<u64>("len")? != *size {
        return Err(Error::SourceChanged);
    }
    tx.execute("UPDATE data SET refs = refs + 1 WHERE data_id = $1", values![data.0]).await?;
    let put = Put { bucket: &bucket, object, size: *size, parts: *parts, content: Content::Data(*data) };
    write::put(tx, put, &held).await
}

async fn delete(tx: &mut Tx, name: &str, keys: &[DeleteKey], owner: &str, now: Millis) -> Result<Vec<Result<Deleted>>> {
    let bucket = buckets::hold(tx, name).await?;
    tx.lock_names(keys.iter().map(|key| write::key_name(bucket.id, &key.key)).collect()).await?;
    let mut counters = Counters::hold(tx, &[&bucket]).await?;
    // What goes together goes in few statements: runs of keys, each named once. Versions go one by one, each seeing what the one before left.
    let mut results = Vec::with_capacity(keys.len());
    let mut rest = keys;
    while let Some(first) = rest.first() {
        let mut named = HashSet::new();
        let run = match &first.version {
            None => rest.iter().take_while(|key| key.version.is_none() && named.insert(key.key.as_str())).count(),
            Some(_) => 1,
        };
        let (run, behind) = rest.split_at(run);
        match &first.version {
            None => results.extend(hide(tx, &bucket, run, owner, now, &mut counters).await?),
            Some(version) => {
                let mut dropped = Vec::new();
                match versions::delete_version(tx, &bucket, first, version, now, &mut dropped).await {
                    Err(
                        error @ (Error::NoSuchKey { .. }
                        | Error::PreconditionFailed { .. }
                        | Error::ObjectLocked { .. }),
                    ) => results.push(Err(error)),
                    other => results.push(Ok(other?)),
                }
                counters.admit(&bucket, Amount::default() - dropped.iter().map(Current::amount).sum())?;
                write::release(tx, &dropped, now).await?;
            }
        }
        rest = behind;
    }
    counters.write(tx).await?;
    Ok(results)
}

/// Deletes keys, each named once, as a plain DELETE does.
async fn hide(
    tx: &mut Tx,
    bucket: &HeldBucket,
    keys: &[DeleteKey],
    owner: &str,
    now: Millis,
    counters: &mut Counters,
) -> Result<Vec<Result<Deleted>>> {
    let wanted: Vec<_> = keys.iter().map(|key| (bucket, key.key.as_str())).collect();
    let held = write::held(tx, &wanted).await?;
    let mut results = Vec::with_capacity(keys.len());
    let mut replacing = Vec::with_capacity(keys.len());
    for (DeleteKey { key, condition, .. }, held) in keys.iter().zip(&held) {
        let object = held.current.as_ref();
        // S3's If-Match wants an object; its conditions on size and date are on what would be lost, if there is any.
        let nothing_to_lose = object.is_none() && condition.etags.is_none();
        if !nothing_to_lose && let Err(error) = write::check(condition, bucket, key, object) {
            results.push(Err(error));
            continue;
        }
        let one = Replacing::new(bucket, key, held);
        results.push(Ok(Deleted { version: one.version.clone(), marker: one.version.is_some() }));
        replacing.push(one);
    }
    counters.admit(bucket, Amount::default() - replacing.iter().map(Replacing::dropped_amount).sum())?;
    write::keep_versions(tx, &replacing).await?;
    write::mark_deleted(tx, &replacing, owner, now).await?;
    let dropped: Vec<&Current> = replacing.iter().flat_map(|one| one.dropped.iter()).copied().collect();
    write::release(tx, dropped, now).await?;
    Ok(results)
}
