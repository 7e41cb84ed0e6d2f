//! Versions: what a key held before, delete markers, and changes of one version.
//!
//! `objects` has what a plain GET sees, and nothing else; `versions` has the rest: versions that others came after, and all delete
//! markers. Within a key they are ordered by `seq`, which only grows while any of them is there; a row of `objects` is the newest of
//! its key.

use std::ops::Range;

use super::buckets::{self, HeldBucket};
use super::dialect::{Tx, fresh_batch, retrying, values};
use super::rows::{acl_column, lock_column, to_json};
use super::write::{self, Current};
use super::{Answer, DeleteKey, Deleted, Error, Metadata, Result, VersionChange, VersionId};
use crate::clock::Millis;

/// What `objects` and `versions` both have, but for bucket and key.
pub(super) const COLUMNS: &str = "version_id, seq, size, etag, modified, checksum_algorithm, checksum_type, checksum, owner, headers, \
     tags, parts, data_id, chunk_id, position, stripe_len, skip, object_lock, acl, storage_class";

/// The same, of a table.
pub(super) fn columns_of(table: &str) -> String {
    COLUMNS.split(", ").map(|column| format!("{table}.{column}")).collect::<Vec<_>>().join(", ")
}

/// Bits of a `seq` in one byte of an entry.
const BITS: u32 = 6;

/// A version's place in the order of versions: by key, and within a key the newest first. Behind the key and a zero byte, which no
/// key holds, come bytes that begin no character, so that no delimiter is ever found in them.
pub(super) fn entry(key: &str, seq: i64) -> Vec<u8> {
    let age = (i64::MAX - seq).unsigned_abs();
    let mut entry = Vec::with_capacity(key.len() + 12);
    entry.extend_from_slice(key.as_bytes());
    entry.push(0);
    for digit in (0..u64::BITS.div_ceil(BITS)).rev() {
        entry.push(0x80 | ((age >> (digit * BITS)) & 0x3f) as u8);
    }
    entry
}

/// The entries of all versions of a key.
pub(super) fn entries_of(key: &str) -> Range<Vec<u8>> {
    [key.as_bytes(), &[0]].concat()..[key.as_bytes(), &[1]].concat()
}

/// A version that was looked for.
struct Found {
    current: Current,
    /// Its place in `versions`; `None`: it is in `objects`.
    entry: Option<Vec<u8>>,
}

impl Metadata {
    /// Changes tags, ACL or lock of a version, or of the object as a plain GET sees it. Answers which version that was; `None` if nobody asked
    /// and the bucket never kept versions.
    ///
    /// # Errors
    /// [`Error::NoSuchBucket`], [`Error::NoSuchKey`], [`Error::NoSuchVersion`], [`Error::DeleteMarker`], [`Error::NoObjectLock`],
    /// [`Error::ObjectLocked`].
    pub fn change_version<'a>(
        &'a self,
        bucket: &'a str,
        key: &'a str,
        version: Option<&'a VersionId>,
        change: &'a VersionChange,
        now: Millis,
    ) -> Answer<'a, Option<VersionId>> {
        Box::pin(async move {
            let batch = fresh_batch();
            retrying(|| async {
                let mut tx = self.db.begin(Some(batch)).await?;
                let result = change_one(&mut tx, bucket, key, version, change, now).await;
                tx.end(result).await
            })
            .await
        })
    }
}

async fn change_one(
    tx: &mut Tx,
    name: &str,
    key: &str,
    version: Option<&VersionId>,
    change: &VersionChange,
    now: Millis,
) -> Result<Option<VersionId>> {
    let bucket = buckets::hold(tx, name).await?;
    if change.is_of_lock() && bucket.lock.is_none() {
        return Err(Error::NoObjectLock(name.into()));
    }
    tx.lock_names(vec![write::key_name(bucket.id, key)]).await?;
    let found = match version {
        Some(version) => find(tx, &bucket, key, version).await?.ok_or_else(|| no_such_version(name, key, version))?,
        None => newest(tx, &bucket, key).await?.ok_or_else(|| no_such_key(name, key))?,
    };
    let (bucket_name, key_name) = (name.to_owned(), key.to_owned());
    if found.current.marker {
        let (version, modified) = (found.current.version, found.current.modified);
        let named = true;
        return Err(Error::DeleteMarker { bucket: bucket_name, key: key_name, version, named, modified });
    }
    let (column, value) = match change.lock(found.current.lock, now, name, key, &found.current.version)? {
        Some(lock) => ("object_lock", lock_column(&lock)?),
        None => match change {
            VersionChange::Tags(tags) => ("tags", Some(to_json(tags)?)),
            VersionChange::Acl(acl) => ("acl", acl_column(acl.as_ref())?),
            VersionChange::Retention { .. } | VersionChange::LegalHold(_) => return Ok(None),
        },
    };
    let value = value.as_deref();
    match &found.entry {
        Some(entry) => {
            let sql = format!("UPDATE versions SET {column} = $3 WHERE bucket_id = $1 AND entry = $2");
            tx.execute(&sql, values![bucket.id.0, entry, value]).await?;
        }
        None => {
            let sql = format!("UPDATE objects SET {column} = $3 WHERE bucket_id = $1 AND key = $2");
            tx.execute(&sql, values![bucket.id.0, key.as_bytes(), value]).await?;
        }
    }
    Ok(shown(&bucket, version, found.current.version))
}

/// A version as answers name it: not at all where none were ever kept, unless it was asked for.
fn shown(bucket: &HeldBucket, asked: Option<&VersionId>, version: VersionId) -> Option<VersionId> {
    (asked.is_some() || bucket.versioning != super::Versioning::Never).then_some(version)
}

pub(super) fn no_such_key(bucket: &str, key: &str) -> Error {
    Error::NoSuchKey { bucket: bucket.into(), key: key.into() }
}

pub(super) fn no_such_version(bucket: &str, key: &str, version: &VersionId) -> Error {
    Error::NoSuchVersion { bucket: bucket.into(), key: key.into(), version: version.clone() }
}

/// A version of a locked key.
async fn find(tx: &mut Tx, bucket: &HeldBucket, key: &str, version: &VersionId) -> Result<Option<Found>> {
    let sql = format!(
        "SELECT {} FROM objects o WHERE o.bucket_id = $1 AND o.key = $2 AND COALESCE(o.version_id, 'null') = $3",
        Current::OF_OBJECT
    );
    if let Some(row) = tx.first(&sql, values![bucket.id.0, key.as_bytes(), version.as_str()]).await? {
        return Ok(Some(Found { current: Current::of(&row)?, entry: None }));
    }
    let sql = format!(
        "SELECT {}, o.entry FROM versions o \
         WHERE o.bucket_id = $1 AND o.key = $2 AND COALESCE(o.version_id, 'null') = $3",
        Current::OF_VERSION
    );
    let row = tx.first(&sql, values![bucket.id.0, key.as_bytes(), version.as_str()]).await?;
    row.map(|row| Ok(Found { current: Current::of(&row)?, entry: Some(row.bytes("entry")?) })).transpose()
}

/// The newest version, or delete marker, of a locked key.
async fn newest(tx: &mut Tx, bucket: &HeldBucket, key: &str) -> Result<Option<Found>> {
    let sql = format!("SELECT {} FROM objects o WHERE o.bucket_id = $1 AND o.key = $2", Current::OF_OBJECT);
    if let Some(row) = tx.first(&sql, values![bucket.id.0, key.as_bytes()]).await? {
        return Ok(Some(Found { current: Current::of(&row)?, entry: None }));
    }
    newest_kept(tx, bucket, key).await
}

async fn newest_kept(tx: &mut Tx, bucket: &HeldBucket, key: &str) -> Result<Option<Found>> {
    let sql = format!(
        "SELECT {}, o.entry FROM versions o \
         WHERE o.bucket_id = $1 AND o.entry >= $2 AND o.entry < $3 ORDER BY o.entry LIMIT 1",
        Current::OF_VERSION
    );
    let ends = entries_of(key);
    let row = tx.first(&sql, values![bucket.id.0, &ends.start, &ends.end]).await?;
    row.map(|row| Ok(Found { current: Current::of(&row)?, entry: Some(row.bytes("entry")?) })).transpose()
}

/// Deletes one version of a locked key; the next one takes its place, if it was what a plain GET saw, or hid that. What is referred to no more
/// goes to `dropped`.
pub(super) async fn delete_version(
    tx: &mut Tx,
    bucket: &HeldBucket,
    wanted: &DeleteKey,
    version: &VersionId,
    now: Millis,
    dropped: &mut Vec<Current>,
) -> Result<Deleted> {
    let DeleteKey { key, condition, bypass, .. } = wanted;
    let found = find(tx, bucket, key, version).await?;
    let object = found.as_ref().filter(|found| !found.current.marker).map(|found| &found.current);
    let nothing_to_lose = object.is_none() && condition.etags.is_none();
    if !nothing_to_lose {
        write::check(condition, bucket, key, object)?;
    }
    let deleted =
        Deleted { version: Some(version.clone()), marker: found.as_ref().is_some_and(|found| found.current.marker) };
    let Some(found) = found else { return Ok(deleted) };
    if found.current.lock.holds(now, *bypass) {
        let (bucket, key) = (bucket.name.clone(), key.clone());
        return Err(Error::ObjectLocked { bucket, key, version: version.clone() });
    }
    match &found.entry {
        Some(entry) => {
            let sql = "DELETE FROM versions WHERE bucket_id = $1 AND entry = $2";
            tx.execute(sql, values![bucket.id.0, entry]).await?;
        }
        None => {
            let sql = "DELETE FROM objects WHERE bucket_id = $1 AND key = $2";
            tx.execute(sql, values![bucket.id.0, key.as_bytes()]).await?;
        }
    }
    promote(tx, bucket, key).await?;
    dropped.push(found.current);
    Ok(deleted)
}

/// If a key has no object but its newest version is one, that is what a plain GET sees from now on.
async fn promote(tx: &mut Tx, bucket: &HeldBucket, key: &str) -> Result<()> {
    let Some(Found { entry: Some(entry), current: Current { marker: false, .. } }) = newest(tx, bucket, key).await?
    else {
        return Ok(());
    };
    let sql = format!(
        "INSERT INTO objects (bucket_id, key, {COLUMNS}) \
         SELECT v.bucket_id, v.key, {} FROM versions v WHERE v.bucket_id = $1 AND v.entry = $2",
        columns_of("v")
    );
    tx.execute(&sql, values![bucket.id.0, &entry]).await?;
    let sql = "DELETE FROM versions WHERE bucket_id = $1 AND entry = $2";
    tx.execute(sql, values![bucket.id.0, &entry]).await.map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_in_the_order_of_listings() {
        let order = [
            b"a".to_vec(),
            entry("a", i64::MAX),
            entry("a", 1 << 40),
            entry("a", 65),
            entry("a", 64),
            entry("a", 2),
            entry("a", 1),
            b"a\x01".to_vec(),
            entry("a\x01", 9),
            b"a!".to_vec(),
            entry("aa", 3),
        ];
        assert!(order.is_sorted(), "{order:?}");
        let all = entries_of("a");
        assert!(order[1..7].iter().all(|entry| all.contains(entry)));
        assert!(!all.contains(&order[0]) && !all.contains(&order[7]));
    }

    #[test]
    fn no_delimiter_is_found_behind_a_key() {
        for seq in [1, 47, 12_345, i64::MAX - 1, i64::MAX - i64::from(b'/')] {
            let entry = entry("k", seq);
            assert_eq!(entry.len(), 13);
            assert!(entry[2..].iter().all(|byte| (0x80..0xc0).contains(byte)), "{entry:?}");
        }
    }

    #[test]
    fn a_version_tells_its_place() {
        let id = VersionId::new(77);
        assert_eq!(id.seq(), Some(77));
        assert_eq!(VersionId::parse(id.as_str()), Some(id.clone()));
        assert_ne!(VersionId::new(77), id);
        assert_eq!(VersionId::null().seq(), None);
        assert_eq!(VersionId::parse("null"), Some(VersionId::null()));
        for bad in ["", "NULL", "3HL4kqtJlcpXroDTDmJ+rmSpXd3dIbrHY", "0000000000000001A3f00000000000ab"] {
            assert_eq!(VersionId::parse(bad), None, "{bad}");
        }
    }
}
