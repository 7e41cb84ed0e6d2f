//! Multipart uploads.

use super::super::{ObjectLock, VersionId};
use super::{
    BatchId, Checksum, ChecksumAlgorithm, ChecksumType, DataId, Headers, NewObject, StorageClass, Tags, UploadId,
    WriteCondition,
};
use crate::access::acl::Acl;
use crate::clock::Millis;
use crate::layout::NewData;

/// What an upload was completed to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Completion {
    /// The object's ETag, without quotes.
    pub etag: String,
    /// Its length in bytes.
    pub size: u64,
    /// Its checksum.
    pub checksum: Option<Checksum>,
    /// The version it became, if the bucket kept versions.
    pub version: Option<VersionId>,
}

/// A multipart upload to be started.
#[derive(Debug, Clone)]
pub struct NewUpload {
    /// Its id.
    pub id: UploadId,
    /// Name of the bucket.
    pub bucket: String,
    /// What the completed object is to be, as the client said at the start.
    pub template: UploadTemplate,
    /// Now.
    pub started: Millis,
}

/// What an upload remembers for the object it will become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadTemplate {
    /// The key.
    pub key: String,
    /// Headers and user metadata.
    pub headers: Headers,
    /// Tags.
    pub tags: Tags,
    /// Canonical id of the owner of what it will be.
    pub owner: String,
    /// Canonical id of who started it.
    pub initiator: String,
    /// What is said of the object's lock.
    pub lock: ObjectLock,
    /// What others may do with the object; `None`: nothing.
    pub acl: Option<Acl>,
    /// How the object is said to be kept.
    pub storage_class: StorageClass,
    /// The checksum announced for parts and object.
    pub checksum: Option<(ChecksumAlgorithm, ChecksumType)>,
}

/// A running upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    /// Its id.
    pub id: UploadId,
    /// What the object will be.
    pub template: UploadTemplate,
    /// When it was started.
    pub started: Millis,
}

/// A part to be made part of an upload. A part of the same number is replaced and its data released.
#[derive(Debug, Clone)]
pub struct PartCommit {
    /// Unique id of this commit.
    pub batch: BatchId,
    /// Name of the bucket.
    pub bucket: String,
    /// The upload's key.
    pub key: String,
    /// The upload.
    pub upload: UploadId,
    /// 1 to 10,000.
    pub number: u32,
    /// Hexadecimal MD5.
    pub etag: String,
    /// Its additional checksum.
    pub checksum: Option<Checksum>,
    /// Now.
    pub modified: Millis,
    /// Where its bytes come from.
    pub source: PartSource,
}

/// Where a part's bytes come from.
#[derive(Debug, Clone)]
pub enum PartSource {
    /// Bytes that were just written.
    New(NewData),
    /// A range of another object's bytes: references to the same chunks, which must still be what was resolved.
    Range {
        /// The data referred to.
        data: DataId,
        /// First byte, and one past the last.
        range: std::ops::Range<u64>,
    },
}

/// A part of a running upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its number.
    pub number: u32,
    /// Bytes.
    pub size: u64,
    /// Hexadecimal MD5.
    pub etag: String,
    /// Its additional checksum.
    pub checksum: Option<Checksum>,
    /// When it was uploaded.
    pub modified: Millis,
}

/// The completion of an upload: no byte moves, its parts' extents become the object's.
#[derive(Debug, Clone)]
pub struct CompleteCommit {
    /// Unique id of this commit.
    pub batch: BatchId,
    /// Name of the bucket.
    pub bucket: String,
    /// The upload's key.
    pub key: String,
    /// The upload.
    pub upload: UploadId,
    /// The parts as they were when validated, ascending; if one is another now, the answer is [`super::Error::InvalidPart`].
    pub parts: Vec<Part>,
    /// The object; key, headers, tags and owner as the upload's template says.
    pub object: NewObject,
    /// What must hold.
    pub condition: WriteCondition,
}
