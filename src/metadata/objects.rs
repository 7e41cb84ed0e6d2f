//! Writing and deleting objects.

use super::dialect::{Tx, fresh_batch, retrying, values};
use super::rows::to_json;
use super::write::{self, Put};
use super::{Answer, BatchId, Content, CopyCommit, DeleteKey, Error, Metadata, PutCommit, Result, Tags, buckets};
use crate::clock::Millis;
use crate::layout::NewData;

/// Keys deleted in one transaction at most: each holds a lock.
const DELETE_BATCH: usize = 100;

impl Metadata {
    /// Makes an object and its freshly written bytes visible, in place of what the key held.
    ///
    /// A caller that drops this future before it answered knows as little as after [`Error::Ambiguous`]: run it to its end.
    ///
    /// # Errors
    /// [`Error::NoSuchBucket`], [`Error::RangeClosed`], [`Error::PreconditionFailed`], [`Error::NoSuchKey`] (a condition on
    /// an object that is not there).
    pub fn commit_put<'a>(&'a self, commit: &'a PutCommit) -> Answer<'a, ()> {
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
    pub fn commit_copy<'a>(&'a self, commit: &'a CopyCommit) -> Answer<'a, ()> {
        Box::pin(async move {
            retrying(|| async {
                let mut tx = self.db.begin(Some(commit.batch)).await?;
                let result = copy(&mut tx, commit).await;
                tx.end(result).await
            })
            .await
        })
    }

    /// Gives an object other tags, and changes nothing else of it.
    ///
    /// # Errors
    /// [`Error::NoSuchBucket`], [`Error::NoSuchKey`].
    pub fn set_tags<'a>(&'a self, bucket: &'a str, key: &'a str, tags: &'a Tags) -> Answer<'a, ()> {
        Box::pin(async move {
            let batch = fresh_batch();
            retrying(|| async {
                let mut tx = self.db.begin(Some(batch)).await?;
                let result = set_tags(&mut tx, bucket, key, tags).await;
                tx.end(result).await
            })
            .await
        })
    }

    /// Deletes keys, one after the other: one result for each, in order. Deleting what is not there succeeds, unless
    /// an ETag is expected ([`Error::NoSuchKey`]). Keys are deleted a hundred at a time; if the database goes
    /// away between, the rest have that error.
    ///
    /// # Errors
    /// [`Error::NoSuchBucket`], or whatever kept all of them from being deleted.
    pub fn delete<'a>(&'a self, bucket: &'a str, keys: &'a [DeleteKey], now: Millis) -> Answer<'a, Vec<Result<()>>> {
        Box::pin(async move {
            let mut results: Vec<Result<()>> = Vec::with_capacity(keys.len());
            for keys in keys.chunks(DELETE_BATCH) {
                let batch = fresh_batch();
                let deleted = retrying(|| async {
                    let mut tx = self.db.begin(Some(batch)).await?;
                    let result = delete(&mut tx, bucket, keys, now).await;
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

async fn put(tx: &mut Tx, commit: &PutCommit) -> Result<()> {
    let PutCommit { batch: BatchId(_), bucket: name, object, data, condition } = commit;
    check_data(name, &object.key, data)?;
    let bucket = buckets::hold(tx, name).await?;
    write::hold_ranges(tx, data.chunks.iter().map(|chunk| chunk.id)).await?;
    tx.lock_names(vec![write::key_name(bucket, &object.key)]).await?;
    let current = write::current(tx, &[(bucket, &object.key)]).await?.pop().flatten();
    write::check(condition, name, &object.key, current.as_ref())?;
    let content = write::insert_data(tx, data, object.modified).await?.map_or(Content::Empty, Content::Data);
    let put = Put { bucket, object, size: data.len, parts: None, content };
    write::put(tx, put, current.as_ref()).await
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

async fn copy(tx: &mut Tx, commit: &CopyCommit) -> Result<()> {
    let CopyCommit { batch: BatchId(_), bucket: name, object, data, size, parts, condition } = commit;
    let bucket = buckets::hold(tx, name).await?;
    tx.lock_names(vec![write::key_name(bucket, &object.key)]).await?;
    let current = write::current(tx, &[(bucket, &object.key)]).await?.pop().flatten();
    write::check(condition, name, &object.key, current.as_ref())?;
    // Data that still has a reference, were it one that waits to be folded, has live chunks; more references keep them so.
    let row = tx.first("SELECT refs, len FROM data WHERE data_id = $1 {update}", values![data.0]).await?;
    let row = row.ok_or(Error::SourceChanged)?;
    if row.int("refs")? < 1 || row.number::<u64>("len")? != *size {
        return Err(Error::SourceChanged);
    }
    tx.execute("UPDATE data SET refs = refs + 1 WHERE data_id = $1", values![data.0]).await?;
    let put = Put { bucket, object, size: *size, parts: *parts, content: Content::Data(*data) };
    write::put(tx, put, current.as_ref()).await
}

async fn set_tags(tx: &mut Tx, name: &str, key: &str, tags: &Tags) -> Result<()> {
    let bucket = buckets::hold(tx, name).await?;
    tx.lock_names(vec![write::key_name(bucket, key)]).await?;
    let sql = "UPDATE objects SET tags = $3 WHERE bucket_id = $1 AND key = $2";
    match tx.execute(sql, values![bucket.0, key.as_bytes(), &to_json(tags)?]).await? {
        0 => Err(Error::NoSuchKey { bucket: name.into(), key: key.into() }),
        _ => Ok(()),
    }
}

async fn delete(tx: &mut Tx, name: &str, keys: &[DeleteKey], now: Millis) -> Result<Vec<Result<()>>> {
    let bucket = buckets::hold(tx, name).await?;
    tx.lock_names(keys.iter().map(|key| write::key_name(bucket, &key.key)).collect()).await?;
    let mut distinct: Vec<&str> = keys.iter().map(|key| key.key.as_str()).collect();
    distinct.sort_unstable();
    distinct.dedup();
    let wanted: Vec<_> = distinct.iter().map(|key| (bucket, *key)).collect();
    let mut current = write::current(tx, &wanted).await?;

    let mut results = Vec::with_capacity(keys.len());
    let mut gone = Vec::new();
    let mut dropped = Vec::new();
    for DeleteKey { key, condition } in keys {
        let found = distinct.binary_search(&key.as_str()).ok().and_then(|place| current.get_mut(place));
        let object = found.as_ref().and_then(|found| found.as_ref());
        // S3's If-Match wants an object; its conditions on size and date are on what would be lost, if there is any.
        let nothing_to_lose = object.is_none() && condition.etags.is_none();
        let result = if nothing_to_lose { Ok(()) } else { write::check(condition, name, key, object) };
        if result.is_ok()
            && let Some(object) = found.and_then(Option::take)
        {
            gone.push(key.as_bytes());
            dropped.push(object);
        }
        results.push(result);
    }
    if !gone.is_empty() {
        let sql = "DELETE FROM objects WHERE bucket_id = $1 AND key IN (SELECT input.key FROM {input:key})";
        tx.execute_many(sql, values![bucket.0], &[super::dialect::Column::Bytes(gone)]).await?;
        write::release(tx, &dropped, now).await?;
    }
    Ok(results)
}
