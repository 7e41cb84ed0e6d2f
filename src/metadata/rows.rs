//! Rows as values of the rest of the store, and back.

use super::dialect::Row;
use super::{
    Bucket, BucketId, BucketLock, Checksum, ChecksumAlgorithm, ChecksumType, Content, DataId, Error, Headers, Object,
    ObjectLock, Part, Result, StorageClass, Tags, Upload, UploadId, UploadTemplate, Versioning,
};
use crate::access::acl::Acl;
use crate::layout::{ChunkId, Extent, PlacedExtent, ShardSet};

/// A length or offset as SQL has it. What does not fit is beyond all that can be.
pub(super) fn int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn to_json(what: &impl serde::Serialize) -> Result<String> {
    serde_json::to_string(what).map_err(|error| Error::Corrupt(error.to_string()))
}

pub(super) fn from_json<T: serde::de::DeserializeOwned>(row: &Row, column: &str) -> Result<T> {
    serde_json::from_str(&row.text(column)?).map_err(|error| Error::Corrupt(format!("column {column}: {error}")))
}

/// The same of a column that may be NULL.
pub(super) fn opt_json<T: serde::de::DeserializeOwned>(row: &Row, column: &str) -> Result<Option<T>> {
    row.opt_text(column)?.map(|_| from_json(row, column)).transpose()
}

impl Row {
    pub(super) fn chunk_id(&self, column: &str) -> Result<ChunkId> {
        let bytes = self.bytes(column)?;
        let bytes = bytes.try_into().map_err(|_| Error::Corrupt(format!("column {column} is no chunk id")))?;
        Ok(ChunkId::from_bytes(bytes))
    }

    pub(super) fn shard_set(&self, column: &str) -> Result<ShardSet> {
        Ok(ShardSet(self.number(column)?))
    }
}

/// The columns of [`bucket`].
pub(super) const BUCKET: &str = "bucket_id, name, created, region, owner, versioning, object_lock";

pub(super) fn bucket(row: &Row) -> Result<Bucket> {
    Ok(Bucket {
        id: BucketId(row.int("bucket_id")?),
        name: row.text("name")?,
        created: row.int("created")?,
        region: row.text("region")?,
        owner: row.text("owner")?,
        versioning: versioning(row)?,
        lock: bucket_lock(row)?,
    })
}

/// The column `versioning` of a bucket.
pub(super) fn versioning(row: &Row) -> Result<Versioning> {
    let name = row.text("versioning")?;
    Versioning::from_name(&name).ok_or_else(|| Error::Corrupt(format!("a bucket's versioning is {name}")))
}

/// The column `object_lock` of a bucket.
pub(super) fn bucket_lock(row: &Row) -> Result<Option<BucketLock>> {
    opt_json(row, "object_lock")
}

/// The column `object_lock` of an object, a version or an upload.
pub(super) fn object_lock(row: &Row) -> Result<ObjectLock> {
    Ok(opt_json(row, "object_lock")?.unwrap_or_default())
}

/// The inverse of [`object_lock`].
pub(super) fn lock_column(lock: &ObjectLock) -> Result<Option<String>> {
    (!lock.is_none()).then(|| to_json(lock)).transpose()
}

/// The column `acl` of an object, a version, an upload or a bucket.
pub(super) fn acl(row: &Row) -> Result<Option<Acl>> {
    opt_json(row, "acl")
}

/// The inverse of [`acl`].
pub(super) fn acl_column(acl: Option<&Acl>) -> Result<Option<String>> {
    acl.map(to_json).transpose()
}

/// The column `storage_class`.
pub(super) fn storage_class(row: &Row) -> Result<StorageClass> {
    match row.opt_text("storage_class")? {
        None => Ok(StorageClass::Standard),
        Some(name) => {
            StorageClass::from_name(&name).ok_or_else(|| Error::Corrupt(format!("there is no storage class {name}")))
        }
    }
}

/// The columns `checksum_algorithm` and `checksum_type`.
pub(super) fn checksum_kind(row: &Row) -> Result<Option<(ChecksumAlgorithm, ChecksumType)>> {
    let (Some(algorithm), Some(kind)) = (row.opt_text("checksum_algorithm")?, row.opt_text("checksum_type")?) else {
        return Ok(None);
    };
    match (ChecksumAlgorithm::from_name(&algorithm), ChecksumType::from_name(&kind)) {
        (Some(algorithm), Some(kind)) => Ok(Some((algorithm, kind))),
        _ => Err(Error::Corrupt(format!("there is no checksum {algorithm} {kind}"))),
    }
}

/// The columns `checksum_algorithm`, `checksum_type` and `checksum`.
pub(super) fn checksum(row: &Row) -> Result<Option<Checksum>> {
    let value = row.opt_text("checksum")?;
    Ok(match (checksum_kind(row)?, value) {
        (Some((algorithm, kind)), Some(value)) => Some(Checksum { algorithm, kind, value }),
        _ => None,
    })
}

/// The columns of [`object`], of a table `o`.
pub(super) const OBJECT: &str = "o.key, o.size, o.etag, o.modified, o.checksum_algorithm, o.checksum_type, o.checksum, \
     o.owner, o.headers, o.tags, o.parts, o.data_id, o.chunk_id AS packed, o.position AS packed_position, \
     o.stripe_len AS packed_stripe_len, o.skip AS packed_skip, o.object_lock, o.acl, o.storage_class, o.version_id";

pub(super) fn object(row: &Row) -> Result<Object> {
    let key = row.key("key")?;
    let size = row.number("size")?;
    let content = match (row.opt_int("data_id")?, row.opt_bytes("packed")?) {
        (Some(data), None) => Content::Data(DataId(data)),
        (None, None) => Content::Empty,
        (None, Some(_)) => Content::Packed(Extent {
            start: 0,
            chunk: row.chunk_id("packed")?,
            position: row.number("packed_position")?,
            stripe_len: row.number("packed_stripe_len")?,
            skip: row.number("packed_skip")?,
            len: size,
        }),
        (Some(_), Some(_)) => return Err(Error::Corrupt(format!("object {key} is packed and is not"))),
    };
    Ok(Object {
        size,
        etag: row.text("etag")?,
        modified: row.int("modified")?,
        checksum: checksum(row)?,
        headers: from_json::<Headers>(row, "headers")?,
        tags: from_json::<Tags>(row, "tags")?,
        owner: row.text("owner")?,
        parts: row.opt_number("parts")?,
        lock: object_lock(row)?,
        acl: acl(row)?,
        storage_class: storage_class(row)?,
        content,
        key,
    })
}

/// The columns of [`placed_extent`], of tables `e` and `c`.
pub(super) const PLACED_EXTENT: &str = "e.start AS extent_start, e.chunk_id AS extent_chunk, e.position AS extent_position, \
     e.stripe_len AS extent_stripe_len, e.skip AS extent_skip, e.len AS extent_len, \
     c.packed AS chunk_packed, c.len AS chunk_len, c.slots AS chunk_slots, c.missing AS chunk_missing";

pub(super) fn placed_extent(row: &Row) -> Result<PlacedExtent> {
    let extent = Extent {
        start: row.number("extent_start")?,
        chunk: row.chunk_id("extent_chunk")?,
        position: row.number("extent_position")?,
        stripe_len: row.number("extent_stripe_len")?,
        skip: row.number("extent_skip")?,
        len: row.number("extent_len")?,
    };
    placed(row, extent)
}

/// An extent with what the row says of its chunk.
pub(super) fn placed(row: &Row, extent: Extent) -> Result<PlacedExtent> {
    Ok(PlacedExtent {
        extent,
        packed: row.int("chunk_packed")? != 0,
        chunk_len: row.number("chunk_len")?,
        placement: row.parse("chunk_slots")?,
        missing: row.shard_set("chunk_missing")?,
    })
}

/// The columns of [`upload`], of a table `u`.
pub(super) const UPLOAD: &str = "u.upload_id, u.key, u.owner, u.headers, u.tags, u.checksum_algorithm, u.checksum_type, \
     u.started, u.object_lock, u.initiator, u.acl, u.storage_class";

pub(super) fn upload(row: &Row) -> Result<Upload> {
    let owner = row.text("owner")?;
    Ok(Upload {
        id: UploadId(row.text("upload_id")?),
        template: UploadTemplate {
            key: row.key("key")?,
            headers: from_json(row, "headers")?,
            tags: from_json(row, "tags")?,
            initiator: row.opt_text("initiator")?.unwrap_or_else(|| owner.clone()),
            owner,
            checksum: checksum_kind(row)?,
            lock: object_lock(row)?,
            acl: acl(row)?,
            storage_class: storage_class(row)?,
        },
        started: row.int("started")?,
    })
}

pub(super) fn part(row: &Row) -> Result<Part> {
    Ok(Part {
        number: row.number("number")?,
        size: row.number("size")?,
        etag: row.text("etag")?,
        checksum: checksum(row)?,
        modified: row.int("modified")?,
    })
}
