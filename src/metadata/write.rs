//! The pieces that commit transactions are made of.
//!
//! Every transaction locks in this order, each kind sorted and in a statement of its own: lease → bucket → id ranges →
//! upload → keys → data → chunks. A statement that both locked and read would read what was there before it had to wait.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::dialect::{Column, Tx, values};
use super::rows::{int, to_json};
use super::{BucketId, Checksum, Content, DataId, Error, NewObject, Result, UploadId, WriteCondition};
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

/// What a write needs to know of the object that it replaces.
#[derive(Debug, Clone)]
pub(super) struct Current {
    pub(super) seq: i64,
    pub(super) size: u64,
    etag: String,
    modified: Millis,
    pub(super) data: Option<i64>,
    pub(super) packed: Option<Vec<u8>>,
}

/// The objects of keys that are locked, in the keys' order.
pub(super) async fn current(tx: &mut Tx, keys: &[(BucketId, &str)]) -> Result<Vec<Option<Current>>> {
    let sql = "SELECT input.number, o.seq, o.size, o.etag, o.modified, o.data_id, o.chunk_id \
               FROM {input:number,bucket_id,key} \
               JOIN objects o ON o.bucket_id = input.bucket_id AND o.key = input.key";
    let columns = [
        Column::Ints((0..keys.len() as i64).collect()),
        Column::Ints(keys.iter().map(|(bucket, _)| bucket.0).collect()),
        Column::Bytes(keys.iter().map(|(_, key)| key.as_bytes()).collect()),
    ];
    let mut found = vec![None; keys.len()];
    for row in tx.query_many(sql, &[], &columns).await? {
        let number: usize = row.number("number")?;
        if let Some(place) = found.get_mut(number) {
            *place = Some(Current {
                seq: row.int("seq")?,
                size: row.number("size")?,
                etag: row.text("etag")?,
                modified: row.int("modified")?,
                data: row.opt_int("data_id")?,
                packed: row.opt_bytes("chunk_id")?,
            });
        }
    }
    Ok(found)
}

/// Whether a condition holds of the object that is there, whose key is locked.
pub(super) fn check(condition: &WriteCondition, bucket: &str, key: &str, current: Option<&Current>) -> Result<()> {
    condition.check(bucket, key, current.map(|object| (object.etag.as_str(), object.size, object.modified)))
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
    if !chunks.is_empty() {
        tx.execute_many(sql, &[], &columns).await?;
    }

    let id = insert_data_row(tx, data.len).await?;
    insert_extents(tx, id, &data.extents).await?;

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
    Ok(Some(id))
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

/// The object that a key is to hold from now on; the key is locked and held `current`.
pub(super) struct Put<'a> {
    pub(super) bucket: BucketId,
    pub(super) object: &'a NewObject,
    pub(super) size: u64,
    pub(super) parts: Option<u32>,
    pub(super) content: Content,
}

/// Writes the object's row, and releases what it replaces.
pub(super) async fn put(tx: &mut Tx, put: Put<'_>, current: Option<&Current>) -> Result<()> {
    let now = put.object.modified;
    upsert(tx, &[(put, current)]).await?;
    release(tx, current, now).await
}

/// Writes objects' rows, each of another key.
pub(super) async fn upsert(tx: &mut Tx, puts: &[(Put<'_>, Option<&Current>)]) -> Result<()> {
    if puts.is_empty() {
        return Ok(());
    }
    // `WHERE true`: without it SQLite takes ON for a join's.
    let sql = "INSERT INTO objects (bucket_id, key, seq, size, etag, modified, checksum_algorithm, checksum_type, checksum, \
               owner, headers, tags, parts, data_id, chunk_id, position, stripe_len, skip) \
               SELECT input.* FROM {input:bucket_id,key,seq,size,etag,modified,checksum_algorithm,checksum_type,checksum,\
               owner,headers,tags,parts,data_id,chunk_id,position,stripe_len,skip} WHERE true \
               ON CONFLICT (bucket_id, key) DO UPDATE SET seq = excluded.seq, size = excluded.size, \
               etag = excluded.etag, modified = excluded.modified, checksum_algorithm = excluded.checksum_algorithm, \
               checksum_type = excluded.checksum_type, checksum = excluded.checksum, owner = excluded.owner, \
               headers = excluded.headers, tags = excluded.tags, parts = excluded.parts, data_id = excluded.data_id, \
               version_id = NULL, chunk_id = excluded.chunk_id, position = excluded.position, \
               stripe_len = excluded.stripe_len, skip = excluded.skip";
    let headers = puts.iter().map(|(put, _)| to_json(&put.object.headers)).collect::<Result<Vec<_>>>()?;
    let tags = puts.iter().map(|(put, _)| to_json(&put.object.tags)).collect::<Result<Vec<_>>>()?;
    let chunks: Vec<_> =
        puts.iter().map(|(put, _)| put.content.packed().map(|extent| extent.chunk.to_bytes())).collect();
    let each = || puts.iter().map(|(put, _)| put);
    let checksum = |get: fn(&Checksum) -> &str| {
        Column::OptTexts(each().map(|put| put.object.checksum.as_ref().map(get)).collect())
    };
    let packed = |get: fn(Extent) -> i64| Column::OptInts(each().map(|put| put.content.packed().map(get)).collect());
    let columns = [
        Column::Ints(each().map(|put| put.bucket.0).collect()),
        Column::Bytes(each().map(|put| put.object.key.as_bytes()).collect()),
        Column::Ints(puts.iter().map(|(_, now)| now.map_or(1, |now| now.seq.saturating_add(1))).collect()),
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
    ];
    tx.execute_many(sql, &[], &columns).await.map(|_| ())
}
