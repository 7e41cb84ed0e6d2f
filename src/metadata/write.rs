//! The pieces that commit transactions are made of.
//!
//! Every transaction locks in this order, each kind sorted and in a statement of its own: lease → bucket → id ranges →
//! upload → keys → quotas → data → chunks. A statement that both locked and read would read what was there before it had to wait.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::buckets::HeldBucket;
use super::dialect::{Column, Row, Tx, values};
use super::quotas::{self, Amount};
use super::rows::{self, int, to_json};
use super::{
    BucketId, Checksum, Content, DataId, Error, NewObject, ObjectLock, Result, UploadId, VersionId, Versioning,
    WriteCondition, versions,
};
use crate::clock::Millis;
use crate::layout::{ChunkId, Extent, NewChunk, NewData};

/// The name under which a key that may have no row is locked. Two keys that share one only wait for each other.
pub(super) fn key_name(bucket: BucketId, key: &str) -> i64 {
    xxh3_64_with_seed(key.as_bytes(), bucket.0 as u64) as i64
}

/// The name under which a part that may have no row is locked.
pub(super) fn part_name(upload: &UploadId, number: u32) -> i64 {
    xxh3_64_with_seed(upload.0.as_bytes(), !u64::from(number)) as i64
}

/// Holds the id ranges that the chunks' names come from; they must be open, or the instance was judged dead.
pub(super) async fn hold_ranges(tx: &mut Tx, chunks: impl IntoIterator<Item = ChunkId>) -> Result<()> {
    let sql = "SELECT last, nonce, state FROM id_ranges WHERE first <= $1 ORDER BY first DESC LIMIT 1 {share}";
    let mut ids: Vec<ChunkId> = chunks.into_iter().collect();
    ids.sort_unstable();
    let mut held: Option<(u64, u64)> = None;
    for id in ids {
        let (last, nonce) = match held {
            Some(range) if id.seq <= range.0 => range,
            _ => {
                let row = tx.first(sql, values![int(id.seq)]).await?.ok_or(Error::RangeClosed)?;
                if row.text("state")? != "open" {
                    return Err(Error::RangeClosed);
                }
                (row.number("last")?, row.int("nonce")? as u64)
            }
        };
        if id.seq > last || id.nonce != nonce {
            return Err(Error::RangeClosed);
        }
        held = Some((last, nonce));
    }
    Ok(())
}

/// What a write needs to know of a version that is there.
#[derive(Debug, Clone)]
pub(super) struct Current {
    pub(super) version: VersionId,
    pub(super) size: u64,
    pub(super) etag: String,
    pub(super) modified: Millis,
    pub(super) lock: ObjectLock,
    pub(super) data: Option<i64>,
    pub(super) packed: Option<Vec<u8>>,
    pub(super) marker: bool,
}

impl Current {
    /// The columns that it is read from, where `o` is the table `objects`.
    pub(super) const OF_OBJECT: &str = "o.version_id, o.seq, o.size, o.etag, o.modified, o.object_lock, o.data_id, o.chunk_id, CAST(0 AS BIGINT) AS marker";
    /// The same, where it is `versions`.
    pub(super) const OF_VERSION: &str =
        "o.version_id, o.seq, o.size, o.etag, o.modified, o.object_lock, o.data_id, o.chunk_id, o.marker";

    pub(super) fn of(row: &Row) -> Result<Self> {
        Ok(Self {
            version: VersionId::of_column(row.opt_text("version_id")?),
            size: row.number("size")?,
            etag: row.text("etag")?,
            modified: row.int("modified")?,
            lock: rows::object_lock(row)?,
            data: row.opt_int("data_id")?,
            packed: row.opt_bytes("chunk_id")?,
            marker: row.int("marker")? != 0,
        })
    }

    /// What quotas count of it.
    pub(super) fn amount(&self) -> Amount {
        if self.marker { Amount::default() } else { Amount::object(self.size) }
    }
}

/// What a locked key holds.
#[derive(Debug, Clone, Default)]
pub(super) struct Held {
    /// What a plain GET sees.
    pub(super) current: Option<Current>,
    /// The place of the newest of its versions and delete markers in their order; 0 if there is none.
    newest: i64,
    /// The null version, or the null delete marker, if it is not the current one: its place in `versions`.
    null: Option<(Vec<u8>, Current)>,
}

/// What keys hold, which are locked, in their order.
pub(super) async fn held(tx: &mut Tx, keys: &[(&HeldBucket, &str)]) -> Result<Vec<Held>> {
    let sql = format!(
        "SELECT input.number, {} FROM {{input:number,bucket_id,key}} \
         JOIN objects o ON o.bucket_id = input.bucket_id AND o.key = input.key",
        Current::OF_OBJECT
    );
    let columns = [
        Column::Ints((0..keys.len() as i64).collect()),
        Column::Ints(keys.iter().map(|(bucket, _)| bucket.id.0).collect()),
        Column::Bytes(keys.iter().map(|(_, key)| key.as_bytes()).collect()),
    ];
    let mut found = vec![Held::default(); keys.len()];
    for row in tx.query_many(&sql, &[], &columns).await? {
        let number: usize = row.number("number")?;
        if let Some(place) = found.get_mut(number) {
            place.current = Some(Current::of(&row)?);
            place.newest = row.int("seq")?;
        }
    }
    // Where no versions were ever kept there is nothing else.
    let versioned: Vec<_> =
        keys.iter().enumerate().filter(|(_, (bucket, _))| bucket.versioning != Versioning::Never).collect();
    if versioned.is_empty() {
        return Ok(found);
    }
    let sql = format!(
        "SELECT input.number, o.entry, {}, \
         (SELECT v.seq FROM versions v WHERE v.bucket_id = input.bucket_id AND v.entry >= input.first \
             AND v.entry < input.last ORDER BY v.entry LIMIT 1) AS newest \
         FROM {{input:number,bucket_id,key,first,last}} LEFT JOIN versions o ON o.bucket_id = input.bucket_id \
         AND o.key = input.key AND COALESCE(o.version_id, 'null') = 'null'",
        Current::OF_VERSION
    );
    let ends: Vec<_> = versioned.iter().map(|(_, (_, key))| versions::entries_of(key)).collect();
    let columns = [
        Column::Ints(versioned.iter().map(|(number, _)| *number as i64).collect()),
        Column::Ints(versioned.iter().map(|(_, (bucket, _))| bucket.id.0).collect()),
        Column::Bytes(versioned.iter().map(|(_, (_, key))| key.as_bytes()).collect()),
        Column::Bytes(ends.iter().map(|ends| ends.start.as_slice()).collect()),
        Column::Bytes(ends.iter().map(|ends| ends.end.as_slice()).collect()),
    ];
    for row in tx.query_many(&sql, &[], &columns).await? {
        let number: usize = row.number("number")?;
        if let Some(place) = found.get_mut(number) {
            place.newest = place.newest.max(row.opt_int("newest")?.unwrap_or_default());
            if let Some(entry) = row.opt_bytes("entry")? {
                place.null = Some((entry, Current::of(&row)?));
            }
        }
    }
    Ok(found)
}

/// Whether a condition holds of the bucket, which is held, and of the object that is there, whose key is locked.
pub(super) fn check(
    condition: &WriteCondition,
    bucket: &HeldBucket,
    key: &str,
    current: Option<&Current>,
) -> Result<()> {
    if condition.bucket_owner.as_ref().is_some_and(|owner| *owner != bucket.owner) {
        return Err(Error::NoSuchBucket(bucket.name.clone()));
    }
    condition.check(&bucket.name, key, current.map(|object| (object.etag.as_str(), object.size, object.modified)))
}

/// Notes that references were dropped. What they referred to is counted down later, by `fold_released`.
pub(super) async fn release<'a>(
    tx: &mut Tx,
    dropped: impl IntoIterator<Item = &'a Current>,
    now: Millis,
) -> Result<()> {
    let (mut data, mut packed) = (Vec::new(), Vec::new());
    for current in dropped {
        if let Some(id) = current.data {
            data.push(id);
        } else if let Some(chunk) = &current.packed {
            packed.push((chunk.as_slice(), int(current.size)));
        }
    }
    release_data(tx, data, now).await?;
    release_packed(tx, packed, now).await
}

/// Notes that so many bytes of each of these packed chunks are referred to no more.
pub(super) async fn release_packed(tx: &mut Tx, mut packed: Vec<(&[u8], i64)>, now: Millis) -> Result<()> {
    if packed.is_empty() {
        return Ok(());
    }
    packed.sort_unstable();
    let sql = "INSERT INTO released (chunk_id, bytes, at) SELECT input.chunk_id, input.bytes, $1 \
               FROM {input:chunk_id,bytes}";
    let (chunks, bytes) = packed.into_iter().unzip();
    tx.execute_many(sql, values![now], &[Column::Bytes(chunks), Column::Ints(bytes)]).await.map(|_| ())
}

/// Notes that one reference of each of these was dropped.
pub(super) async fn release_data(tx: &mut Tx, mut data: Vec<i64>, now: Millis) -> Result<()> {
    if !data.is_empty() {
        // The foreign key holds their rows, in this order: the one in which they are locked everywhere.
        data.sort_unstable();
        let sql = "INSERT INTO released (data_id, at) SELECT input.data_id, $1 FROM {input:data_id}";
        tx.execute_many(sql, values![now], &[Column::Ints(data)]).await?;
    }
    Ok(())
}

/// Makes freshly written bytes known: chunks, a data row with one reference, extents, and the shards that need healing.
/// `None` if there are no bytes.
pub(super) async fn insert_data(tx: &mut Tx, data: &NewData, now: Millis) -> Result<Option<DataId>> {
    if data.len == 0 && data.chunks.is_empty() {
        return Ok(None);
    }
    insert_chunks(tx, data, now).await?;
    let id = insert_data_row(tx, data.len).await?;
    insert_extents(tx, id, &data.extents).await?;
    Ok(Some(id))
}

/// The chunks of freshly written bytes, and the shards of them that need healing.
pub(super) async fn insert_chunks(tx: &mut Tx, data: &NewData, now: Millis) -> Result<()> {
    if data.chunks.is_empty() {
        return Ok(());
    }
    let chunks: Vec<_> = data.chunks.iter().map(|chunk| (chunk.id.to_bytes(), chunk.placement.to_string())).collect();
    let live = |chunk: &NewChunk| {
        let extents = data.extents.iter().filter(|extent| extent.chunk == chunk.id);
        int(extents.map(|extent| extent.len).sum())
    };
    let sql = "INSERT INTO chunks (chunk_id, state, slots, missing, len, file_end, live) \
               SELECT input.id, 'sealed', input.slots, input.missing, input.len, input.file_end, input.live \
               FROM {input:id,slots,missing,len,file_end,live}";
    let columns = [
        Column::Bytes(chunks.iter().map(|(id, _)| id.as_slice()).collect()),
        Column::Texts(chunks.iter().map(|(_, slots)| slots.as_str()).collect()),
        Column::Ints(data.chunks.iter().map(|chunk| i64::from(chunk.missing.0)).collect()),
        Column::Ints(data.chunks.iter().map(|chunk| int(chunk.len)).collect()),
        Column::Ints(data.chunks.iter().map(|chunk| int(chunk.end)).collect()),
        Column::Ints(data.chunks.iter().map(live).collect()),
    ];
    tx.execute_many(sql, &[], &columns).await?;

    let mut missing_of = Vec::new();
    let mut missing = Vec::new();
    for (chunk, (id, _)) in data.chunks.iter().zip(&chunks) {
        for shard in chunk.missing.iter() {
            missing_of.push(id.as_slice());
            missing.push(shard as i64);
        }
    }
    if !missing.is_empty() {
        let sql = "INSERT INTO heal_queue (chunk_id, shard, reason, queued_at) \
                   SELECT input.chunk_id, input.shard, 'not written', $1 FROM {input:chunk_id,shard}";
        tx.execute_many(sql, values![now], &[Column::Bytes(missing_of), Column::Ints(missing)]).await?;
    }
    Ok(())
}

/// The extents of new data.
pub(super) async fn insert_extents(tx: &mut Tx, data: DataId, extents: &[Extent]) -> Result<()> {
    let extent_chunks: Vec<_> = extents.iter().map(|extent| extent.chunk.to_bytes()).collect();
    let sql = "INSERT INTO extents (data_id, start, chunk_id, position, stripe_len, skip, len) \
               SELECT $1, input.start, input.chunk_id, input.position, input.stripe_len, input.skip, input.len \
               FROM {input:start,chunk_id,position,stripe_len,skip,len}";
    let columns = [
        Column::Ints(extents.iter().map(|extent| int(extent.start)).collect()),
        Column::Bytes(extent_chunks.iter().map(<[u8; 16]>::as_slice).collect()),
        Column::Ints(extents.iter().map(|extent| int(extent.position)).collect()),
        Column::Ints(extents.iter().map(|extent| i64::from(extent.stripe_len)).collect()),
        Column::Ints(extents.iter().map(|extent| i64::from(extent.skip)).collect()),
        Column::Ints(extents.iter().map(|extent| int(extent.len)).collect()),
    ];
    tx.execute_many(sql, values![data.0], &columns).await.map(|_| ())
}

/// A data row with one reference.
pub(super) async fn insert_data_row(tx: &mut Tx, len: u64) -> Result<DataId> {
    let sql = "INSERT INTO data (refs, len) VALUES (1, $1) RETURNING data_id";
    let row = tx.first(sql, values![int(len)]).await?;
    Ok(DataId(row.ok_or_else(|| Error::Corrupt("no data row was made".into()))?.int("data_id")?))
}

/// The object that a key is to hold from now on; the key is locked.
pub(super) struct Put<'a> {
    pub(super) bucket: &'a HeldBucket,
    pub(super) object: &'a NewObject,
    pub(super) size: u64,
    pub(super) parts: Option<u32>,
    pub(super) content: Content,
}

/// What a write to a key that holds something comes to: what is kept as a version, and what is gone.
#[derive(Debug)]
pub(super) struct Replacing<'a> {
    bucket: &'a HeldBucket,
    key: &'a str,
    /// The place of what is written in the order of the key's versions.
    seq: i64,
    /// Its name; `None` where no versions are kept.
    pub(super) version: Option<VersionId>,
    /// The current object, where it stays as a version.
    kept: Option<Vec<u8>>,
    /// Whether the current object is in the way of a delete marker: its row goes.
    row_goes: bool,
    /// The place of a null version, or marker, that goes.
    null_goes: Option<&'a [u8]>,
    /// What is referred to no more.
    pub(super) dropped: Vec<&'a Current>,
}

impl<'a> Replacing<'a> {
    /// What a new version of a key, or a new delete marker, replaces.
    pub(super) fn new(bucket: &'a HeldBucket, key: &'a str, held: &'a Held) -> Self {
        let seq = held.newest.saturating_add(1);
        let mut replacing = Self {
            bucket,
            key,
            seq,
            version: match bucket.versioning {
                Versioning::Never => None,
                Versioning::Enabled => Some(VersionId::new(seq)),
                Versioning::Suspended => Some(VersionId::null()),
            },
            kept: None,
            row_goes: false,
            null_goes: None,
            dropped: Vec::new(),
        };
        let Some(current) = &held.current else {
            replacing.drop_null(held);
            return replacing;
        };
        replacing.row_goes = true;
        match bucket.versioning {
            Versioning::Never => replacing.dropped.push(current),
            Versioning::Suspended if current.version.is_null() => replacing.dropped.push(current),
            Versioning::Enabled | Versioning::Suspended => {
                replacing.kept = Some(versions::entry(key, held.newest));
            }
        }
        replacing.drop_null(held);
        replacing
    }

    /// What quotas count of what is referred to no more.
    pub(super) fn dropped_amount(&self) -> Amount {
        self.dropped.iter().map(|current| current.amount()).sum()
    }

    /// There is one null version: a new one takes the place of the old.
    fn drop_null(&mut self, held: &'a Held) {
        if self.bucket.versioning == Versioning::Suspended
            && let Some((entry, null)) = &held.null
        {
            self.null_goes = Some(entry);
            self.dropped.push(null);
        }
    }
}

/// Keeps as versions what is to be kept, and takes away the null versions that are replaced.
pub(super) async fn keep_versions(tx: &mut Tx, replacing: &[Replacing<'_>]) -> Result<()> {
    let gone: Vec<_> = replacing.iter().filter_map(|one| Some((one.bucket.id.0, one.null_goes?))).collect();
    if !gone.is_empty() {
        let sql = "DELETE FROM versions WHERE (bucket_id, entry) IN \
                   (SELECT input.bucket_id, input.entry FROM {input:bucket_id,entry})";
        let (buckets, entries) = gone.into_iter().unzip();
        tx.execute_many(sql, &[], &[Column::Ints(buckets), Column::Bytes(entries)]).await?;
    }
    let kept: Vec<_> = replacing.iter().filter_map(|one| Some((one, one.kept.as_deref()?))).collect();
    if !kept.is_empty() {
        // In the order in which data and chunks are locked everywhere: the foreign keys hold them.
        let columns = versions::COLUMNS;
        let sql = format!(
            "INSERT INTO versions (bucket_id, key, {columns}, entry, marker) \
             SELECT o.bucket_id, o.key, {}, input.entry, 0 FROM {{input:bucket_id,key,entry}} \
             JOIN objects o ON o.bucket_id = input.bucket_id AND o.key = input.key \
             ORDER BY o.data_id, o.chunk_id",
            versions::columns_of("o")
        );
        let given = [
            Column::Ints(kept.iter().map(|(one, _)| one.bucket.id.0).collect()),
            Column::Bytes(kept.iter().map(|(one, _)| one.key.as_bytes()).collect()),
            Column::Bytes(kept.iter().map(|(_, entry)| *entry).collect()),
        ];
        tx.execute_many(&sql, &[], &given).await?;
    }
    Ok(())
}

/// Hides keys behind delete markers. What they held was kept by [`keep_versions`], or is dropped.
pub(super) async fn mark_deleted(tx: &mut Tx, replacing: &[Replacing<'_>], owner: &str, now: Millis) -> Result<()> {
    let in_the_way: Vec<_> = replacing.iter().filter(|one| one.row_goes).collect();
    if !in_the_way.is_empty() {
        let sql = "DELETE FROM objects WHERE (bucket_id, key) IN \
                   (SELECT input.bucket_id, input.key FROM {input:bucket_id,key})";
        let given = [
            Column::Ints(in_the_way.iter().map(|one| one.bucket.id.0).collect()),
            Column::Bytes(in_the_way.iter().map(|one| one.key.as_bytes()).collect()),
        ];
        tx.execute_many(sql, &[], &given).await?;
    }
    let marked: Vec<_> = replacing.iter().filter_map(|one| Some((one, one.version.as_ref()?))).collect();
    if marked.is_empty() {
        return Ok(());
    }
    let entries: Vec<_> = marked.iter().map(|(one, _)| versions::entry(one.key, one.seq)).collect();
    let sql = "INSERT INTO versions (bucket_id, entry, key, version_id, seq, marker, size, etag, modified, owner, headers, tags) \
               SELECT input.bucket_id, input.entry, input.key, input.version_id, input.seq, 1, 0, '', $1, $2, $3, $3 \
               FROM {input:bucket_id,entry,key,version_id,seq}";
    let given = [
        Column::Ints(marked.iter().map(|(one, _)| one.bucket.id.0).collect()),
        Column::Bytes(entries.iter().map(Vec::as_slice).collect()),
        Column::Bytes(marked.iter().map(|(one, _)| one.key.as_bytes()).collect()),
        Column::OptTexts(marked.iter().map(|(_, version)| version.column()).collect()),
        Column::Ints(marked.iter().map(|(one, _)| one.seq).collect()),
    ];
    // Braces in a statement stand for something.
    let nothing = "{}";
    tx.execute_many(sql, values![now, owner, nothing], &given).await.map(|_| ())
}

/// Counts an object that is to take a key in place of what it holds, if quotas allow it: before data is locked.
///
/// # Errors
/// [`Error::QuotaExceeded`].
pub(super) async fn charge(tx: &mut Tx, bucket: &HeldBucket, key: &str, held: &Held, new: Amount) -> Result<()> {
    if !bucket.is_counted() {
        return Ok(());
    }
    let replaced = Replacing::new(bucket, key, held).dropped_amount();
    quotas::charge(tx, bucket, new - replaced).await
}

/// Writes the object's row, and releases what it replaces. Answers the version that it became.
pub(super) async fn put(tx: &mut Tx, put: Put<'_>, held: &Held) -> Result<Option<VersionId>> {
    let now = put.object.modified;
    let replacing = [Replacing::new(put.bucket, &put.object.key, held)];
    keep_versions(tx, &replacing).await?;
    upsert(tx, &[(put, &replacing[0])]).await?;
    let [Replacing { version, dropped, .. }] = replacing;
    release(tx, dropped, now).await?;
    Ok(version)
}

/// The lock that an object is to have.
///
/// # Errors
/// [`Error::NoObjectLock`] if its writer asks for one and the bucket does not lock.
pub(super) fn lock_of(bucket: &HeldBucket, name: &str, object: &NewObject) -> Result<ObjectLock> {
    match &bucket.lock {
        Some(lock) => Ok(lock.apply(object.lock, object.modified)),
        None if object.lock.is_none() => Ok(ObjectLock::default()),
        None => Err(Error::NoObjectLock(name.to_owned())),
    }
}

/// Writes objects' rows, each of another key.
pub(super) async fn upsert(tx: &mut Tx, puts: &[(Put<'_>, &Replacing<'_>)]) -> Result<()> {
    if puts.is_empty() {
        return Ok(());
    }
    // `WHERE true`: without it SQLite takes ON for a join's.
    let sql = "INSERT INTO objects (bucket_id, key, version_id, seq, size, etag, modified, checksum_algorithm, checksum_type, \
               checksum, owner, headers, tags, parts, data_id, chunk_id, position, stripe_len, skip, object_lock, \
               acl, storage_class) \
               SELECT input.* FROM {input:bucket_id,key,version_id,seq,size,etag,modified,checksum_algorithm,checksum_type,\
               checksum,owner,headers,tags,parts,data_id,chunk_id,position,stripe_len,skip,object_lock,acl,storage_class} WHERE true \
               ON CONFLICT (bucket_id, key) DO UPDATE SET version_id = excluded.version_id, seq = excluded.seq, \
               size = excluded.size, etag = excluded.etag, modified = excluded.modified, \
               checksum_algorithm = excluded.checksum_algorithm, checksum_type = excluded.checksum_type, \
               checksum = excluded.checksum, owner = excluded.owner, headers = excluded.headers, tags = excluded.tags, \
               parts = excluded.parts, data_id = excluded.data_id, chunk_id = excluded.chunk_id, \
               position = excluded.position, stripe_len = excluded.stripe_len, skip = excluded.skip, \
               object_lock = excluded.object_lock, acl = excluded.acl, storage_class = excluded.storage_class";
    let headers = puts.iter().map(|(put, _)| to_json(&put.object.headers)).collect::<Result<Vec<_>>>()?;
    let tags = puts.iter().map(|(put, _)| to_json(&put.object.tags)).collect::<Result<Vec<_>>>()?;
    let acls = puts.iter().map(|(put, _)| rows::acl_column(put.object.acl.as_ref())).collect::<Result<Vec<_>>>()?;
    let mut locks = Vec::with_capacity(puts.len());
    for (put, _) in puts {
        locks.push(rows::lock_column(&lock_of(put.bucket, &put.bucket.name, put.object)?)?);
    }
    let chunks: Vec<_> =
        puts.iter().map(|(put, _)| put.content.packed().map(|extent| extent.chunk.to_bytes())).collect();
    let each = || puts.iter().map(|(put, _)| put);
    let checksum = |get: fn(&Checksum) -> &str| {
        Column::OptTexts(each().map(|put| put.object.checksum.as_ref().map(get)).collect())
    };
    let packed = |get: fn(Extent) -> i64| Column::OptInts(each().map(|put| put.content.packed().map(get)).collect());
    let columns = [
        Column::Ints(each().map(|put| put.bucket.id.0).collect()),
        Column::Bytes(each().map(|put| put.object.key.as_bytes()).collect()),
        Column::OptTexts(puts.iter().map(|(_, new)| new.version.as_ref().and_then(VersionId::column)).collect()),
        Column::Ints(puts.iter().map(|(_, new)| new.seq).collect()),
        Column::Ints(each().map(|put| int(put.size)).collect()),
        Column::Texts(each().map(|put| put.object.etag.as_str()).collect()),
        Column::Ints(each().map(|put| put.object.modified).collect()),
        checksum(|checksum| checksum.algorithm.name()),
        checksum(|checksum| checksum.kind.name()),
        checksum(|checksum| &checksum.value),
        Column::Texts(each().map(|put| put.object.owner.as_str()).collect()),
        Column::Texts(headers.iter().map(String::as_str).collect()),
        Column::Texts(tags.iter().map(String::as_str).collect()),
        Column::OptInts(each().map(|put| put.parts.map(i64::from)).collect()),
        Column::OptInts(each().map(|put| put.content.data().map(|data| data.0)).collect()),
        Column::OptBytes(chunks.iter().map(|chunk| chunk.as_ref().map(<[u8; 16]>::as_slice)).collect()),
        packed(|extent| int(extent.position)),
        packed(|extent| i64::from(extent.stripe_len)),
        packed(|extent| i64::from(extent.skip)),
        Column::OptTexts(locks.iter().map(Option::as_deref).collect()),
        Column::OptTexts(acls.iter().map(Option::as_deref).collect()),
        Column::OptTexts(each().map(|put| put.object.storage_class.column()).collect()),
    ];
    tx.execute_many(sql, &[], &columns).await.map(|_| ())
}
