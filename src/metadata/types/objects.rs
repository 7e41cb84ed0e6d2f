//! Objects and their versions, and what writes them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::super::{Error, ObjectLock, VersionId};
use super::{BatchId, DataId};
use crate::access::acl::Acl;
use crate::clock::Millis;
use crate::layout::{Extent, NewData};

/// How an object is said to be kept. All of them are kept alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum StorageClass {
    /// What S3 does unless it is told otherwise.
    #[default]
    Standard,
    /// With fewer copies, were there copies.
    ReducedRedundancy,
}

impl StorageClass {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Standard, Self::ReducedRedundancy];

    /// S3's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Standard => "STANDARD",
            Self::ReducedRedundancy => "REDUCED_REDUNDANCY",
        }
    }

    /// The inverse of [`Self::name`].
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.name() == name)
    }

    /// For a column.
    pub(in crate::metadata) fn column(self) -> Option<&'static str> {
        (self != Self::Standard).then(|| self.name())
    }
}

/// The additional checksums of S3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ChecksumAlgorithm {
    /// CRC-32 (ISO-HDLC).
    #[serde(rename = "CRC32")]
    Crc32,
    /// CRC-32C (Castagnoli).
    #[serde(rename = "CRC32C")]
    Crc32c,
    /// CRC-64/NVME.
    #[serde(rename = "CRC64NVME")]
    Crc64Nvme,
    /// MD5.
    #[serde(rename = "MD5")]
    Md5,
    /// SHA-1.
    #[serde(rename = "SHA1")]
    Sha1,
    /// SHA-256.
    #[serde(rename = "SHA256")]
    Sha256,
    /// SHA-512.
    #[serde(rename = "SHA512")]
    Sha512,
    /// XXH3, 128 bits.
    #[serde(rename = "XXHASH128")]
    Xxh128,
    /// XXH3, 64 bits.
    #[serde(rename = "XXHASH3")]
    Xxh3,
    /// XXH64.
    #[serde(rename = "XXHASH64")]
    Xxh64,
}

impl ChecksumAlgorithm {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Crc32,
        Self::Crc32c,
        Self::Crc64Nvme,
        Self::Md5,
        Self::Sha1,
        Self::Sha256,
        Self::Sha512,
        Self::Xxh128,
        Self::Xxh3,
        Self::Xxh64,
    ];

    /// S3's name, as in `x-amz-checksum-algorithm` and in SQL.
    pub fn name(self) -> &'static str {
        match self {
            Self::Crc32 => "CRC32",
            Self::Crc32c => "CRC32C",
            Self::Crc64Nvme => "CRC64NVME",
            Self::Md5 => "MD5",
            Self::Sha1 => "SHA1",
            Self::Sha256 => "SHA256",
            Self::Sha512 => "SHA512",
            Self::Xxh128 => "XXHASH128",
            Self::Xxh3 => "XXHASH3",
            Self::Xxh64 => "XXHASH64",
        }
    }

    /// The inverse of [`Self::name`], case-insensitive as S3 takes it.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|a| a.name().eq_ignore_ascii_case(name))
    }
}

/// What a checksum is of (`x-amz-checksum-type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ChecksumType {
    /// Of all the object's bytes.
    #[serde(rename = "FULL_OBJECT")]
    FullObject,
    /// Of the parts' checksums.
    #[serde(rename = "COMPOSITE")]
    Composite,
}

impl ChecksumType {
    /// S3's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::FullObject => "FULL_OBJECT",
            Self::Composite => "COMPOSITE",
        }
    }

    /// The inverse of [`Self::name`].
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::FullObject, Self::Composite].into_iter().find(|t| t.name() == name)
    }
}

/// A checksum as S3 shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checksum {
    /// How it was computed.
    pub algorithm: ChecksumAlgorithm,
    /// Over what.
    pub kind: ChecksumType,
    /// Base64; a composite one ends in `-N`.
    pub value: String,
}

/// The headers a client stores with an object and gets back with it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Headers {
    /// `Content-Type`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// `Content-Encoding`, without `aws-chunked`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_encoding: Option<String>,
    /// `Content-Language`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_language: Option<String>,
    /// `Content-Disposition`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_disposition: Option<String>,
    /// `Cache-Control`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_control: Option<String>,
    /// `Expires`, as text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
    /// `x-amz-website-redirect-location`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub website_redirect: Option<String>,
    /// `x-amz-meta-*`, names in lower case without the prefix.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub user: BTreeMap<String, String>,
}

/// An object's tags.
pub type Tags = BTreeMap<String, String>;

/// Where an object's bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// Nowhere: it has none. (An object completed from empty parts has data without extents, which knows the parts.)
    Empty,
    /// In extents under this id.
    Data(DataId),
    /// In one stripe of a packed chunk.
    Packed(Extent),
}

impl Content {
    pub(in crate::metadata) fn data(self) -> Option<DataId> {
        match self {
            Self::Data(data) => Some(data),
            Self::Empty | Self::Packed(_) => None,
        }
    }

    pub(in crate::metadata) fn packed(self) -> Option<Extent> {
        match self {
            Self::Packed(extent) => Some(extent),
            Self::Empty | Self::Data(_) => None,
        }
    }
}

/// An object's row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Its key.
    pub key: String,
    /// Length in bytes.
    pub size: u64,
    /// Without quotes: hexadecimal MD5, or MD5 of the parts' MD5s with `-N`.
    pub etag: String,
    /// When it was written.
    pub modified: Millis,
    /// Its additional checksum.
    pub checksum: Option<Checksum>,
    /// Headers and user metadata.
    pub headers: Headers,
    /// Tags.
    pub tags: Tags,
    /// Canonical id of its owner.
    pub owner: String,
    /// How many parts it was completed from; `None` if it was put at once.
    pub parts: Option<u32>,
    /// What keeps it from being deleted.
    pub lock: ObjectLock,
    /// What others may do with it; `None`: nothing.
    pub acl: Option<Acl>,
    /// How it is said to be kept.
    pub storage_class: StorageClass,
    /// Where its bytes are.
    pub content: Content,
}

/// What an object is to be, apart from where its bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewObject {
    /// Its key.
    pub key: String,
    /// Without quotes.
    pub etag: String,
    /// Now.
    pub modified: Millis,
    /// Its additional checksum.
    pub checksum: Option<Checksum>,
    /// Headers and user metadata.
    pub headers: Headers,
    /// Tags.
    pub tags: Tags,
    /// Canonical id of its owner.
    pub owner: String,
    /// What its writer says of its lock; the bucket may add to it.
    pub lock: ObjectLock,
    /// What others may do with it; `None`: nothing.
    pub acl: Option<Acl>,
    /// How it is said to be kept.
    pub storage_class: StorageClass,
}

/// What must be true of the bucket and the current object for a write to happen; tested under the key's lock. Default: nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WriteCondition {
    /// `If-None-Match`: no object with one of these ETags (no quotes; `*` is any) may be there.
    pub none_of: Option<Vec<String>>,
    /// `If-Match`: an object with one of these ETags (no quotes; `*` is any) must be there.
    pub etags: Option<Vec<String>>,
    /// `x-amz-if-match-size` (DeleteObject).
    pub size: Option<u64>,
    /// `x-amz-if-match-last-modified-time` (DeleteObject): equal to the second.
    pub modified: Option<Millis>,
    /// Canonical id of whoever must own the bucket: who owned it when the write was allowed. Another's of the same name is none.
    pub bucket_owner: Option<String>,
}

/// A put: an object and its freshly written bytes, made visible together.
#[derive(Debug, Clone)]
pub struct PutCommit {
    /// Unique id of this commit, by which an unclear outcome is settled (see [`BatchId`]).
    pub batch: BatchId,
    /// Name of the bucket.
    pub bucket: String,
    /// What it is.
    pub object: NewObject,
    /// Its bytes, synced on the volumes. No extents for an empty object.
    pub data: NewData,
    /// What must hold.
    pub condition: WriteCondition,
}

/// A delete of one key, or of one of its versions.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeleteKey {
    /// The key.
    pub key: String,
    /// The version; `None`: the object, which in a bucket that keeps versions is only hidden by a delete marker.
    pub version: Option<VersionId>,
    /// Whether who asks may bypass governance, and says so.
    pub bypass: bool,
    /// What must hold.
    pub condition: WriteCondition,
}

/// What became of a [`DeleteKey`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Deleted {
    /// The version that is gone, if one was named, or the delete marker that was made.
    pub version: Option<VersionId>,
    /// Whether that is a delete marker.
    pub marker: bool,
}

/// A copy that refers to the source's data.
#[derive(Debug, Clone)]
pub struct CopyCommit {
    /// Unique id of this commit.
    pub batch: BatchId,
    /// Name of the destination bucket.
    pub bucket: String,
    /// The destination.
    pub object: NewObject,
    /// The source's data; must still be alive.
    pub data: DataId,
    /// The source's size, to be the copy's.
    pub size: u64,
    /// The source's number of parts, to be the copy's.
    pub parts: Option<u32>,
    /// What must hold of the destination.
    pub condition: WriteCondition,
}

impl WriteCondition {
    /// Whether it says anything of the object that is there.
    pub fn is_of_object(&self) -> bool {
        self.none_of.is_some() || self.etags.is_some() || self.size.is_some() || self.modified.is_some()
    }

    /// Tests the condition against the current object of a key: its ETag, size and time.
    ///
    /// # Errors
    /// [`Error::PreconditionFailed`]; [`Error::NoSuchKey`] if it asks for an object and there is none.
    pub fn check(&self, bucket: &str, key: &str, current: Option<(&str, u64, Millis)>) -> Result<(), Error> {
        let failed = |header| Err(Error::PreconditionFailed { bucket: bucket.to_owned(), key: key.to_owned(), header });
        let Some((etag, size, modified)) = current else {
            if self.etags.is_some() || self.size.is_some() || self.modified.is_some() {
                return Err(Error::NoSuchKey { bucket: bucket.to_owned(), key: key.to_owned() });
            }
            return Ok(());
        };
        let among = |etags: &Vec<String>| etags.iter().any(|named| named == "*" || named == etag);
        if self.none_of.as_ref().is_some_and(among) {
            return failed("If-None-Match");
        }
        if self.etags.as_ref().is_some_and(|etags| !among(etags)) {
            return failed("If-Match");
        }
        if self.size.is_some_and(|wanted| wanted != size) {
            return failed("x-amz-if-match-size");
        }
        if self.modified.is_some_and(|at| at.div_euclid(1000) != modified.div_euclid(1000)) {
            return failed("x-amz-if-match-last-modified-time");
        }
        Ok(())
    }
}
