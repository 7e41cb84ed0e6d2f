//! What `metadata` takes and gives: rows as the rest of the store sees them, and the transactions' inputs.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{BucketLock, Error, ObjectLock, VersionId, Versioning};
use crate::access::PublicAccessBlock;
use crate::access::acl::{Acl, Ownership};
use crate::clock::Millis;
use crate::layout::{ChunkId, Extent, IdRange, NewData, PlacedExtent, Placement, ShardSet, VolumeSlot};

/// A bucket's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BucketId(pub i64);

/// The number of a run of immutable bytes that objects refer to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DataId(pub i64);

/// One start of one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceId(pub i64);

/// A multipart upload's name: 32 hexadecimal digits, the first 12 its start in milliseconds, so that ids sort by age.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UploadId(pub String);

impl fmt::Display for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bucket {
    /// Its number.
    pub id: BucketId,
    /// Its name.
    pub name: String,
    /// When it was created.
    pub created: Millis,
    /// The region it was created in.
    pub region: String,
    /// Canonical id of its owner.
    pub owner: String,
    /// Whether it keeps versions.
    pub versioning: Versioning,
    /// How it locks them, if it does.
    pub lock: Option<BucketLock>,
}

/// A bucket to be created.
#[derive(Debug, Clone)]
pub struct NewBucket {
    /// Its name.
    pub name: String,
    /// The region asked for.
    pub region: String,
    /// Canonical id of its owner.
    pub owner: String,
    /// Whether it is to keep versions and lock them.
    pub lock: bool,
    /// What it is configured to from the start, each kind once.
    pub configs: Vec<(ConfigKind, String)>,
    /// Now.
    pub created: Millis,
}

/// What can be changed of a bucket's own row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BucketChange {
    /// Whether it keeps versions; never [`Versioning::Never`].
    Versioning(Versioning),
    /// How it locks them.
    Lock(BucketLock),
}

/// The configurations that a bucket may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ConfigKind {
    /// Its tags, as a JSON object.
    Tagging,
    /// Its rules for pages of other origins, as JSON.
    Cors,
    /// How it is a website, as JSON.
    Website,
    /// How its objects are encrypted, as JSON.
    Encryption,
    /// What becomes of its objects with time, as JSON.
    Lifecycle,
    /// Where its objects are copied to, as JSON. Only while it keeps versions.
    Replication,
    /// The lists that are made of its objects, as a JSON object.
    Inventory,
    /// Where its requests are written down, as JSON.
    Logging,
    /// Its policy, as it was sent.
    Policy,
    /// Its ACL, as JSON; none: it is its owner's alone.
    Acl,
    /// Who owns what others write into it, as JSON.
    Ownership,
    /// What of public access is blocked, as JSON.
    PublicAccessBlock,
}

/// A bucket that has a configuration of some kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketConfig {
    /// The bucket's name.
    pub name: String,
    /// Canonical id of its owner.
    pub owner: String,
    /// The configuration.
    pub body: String,
}

impl ConfigKind {
    /// S3's name of the sub-resource.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tagging => "tagging",
            Self::Cors => "cors",
            Self::Website => "website",
            Self::Encryption => "encryption",
            Self::Lifecycle => "lifecycle",
            Self::Replication => "replication",
            Self::Inventory => "inventory",
            Self::Logging => "logging",
            Self::Policy => "policy",
            Self::Acl => "acl",
            Self::Ownership => "ownershipControls",
            Self::PublicAccessBlock => "publicAccessBlock",
        }
    }

    /// Whether it is about who may do what.
    pub(super) fn is_of_access(self) -> bool {
        matches!(self, Self::Policy | Self::Acl | Self::Ownership | Self::PublicAccessBlock)
    }
}

/// What decides who may do what with a bucket and what is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketAccess {
    /// Its number.
    pub id: BucketId,
    /// Canonical id of its owner.
    pub owner: String,
    /// The region it was created in.
    pub region: String,
    /// Its policy, as it was sent.
    pub policy: Option<String>,
    /// Its ACL; `None`: [`Acl::private`].
    pub acl: Option<Acl>,
    /// Who owns what others write into it, if that was said.
    pub ownership: Option<Ownership>,
    /// What of public access is blocked, if that was said.
    pub block: Option<PublicAccessBlock>,
    /// How often anything of this had changed, of any bucket, at the moment that this shows ([`super::Metadata::access_generation`]).
    pub generation: i64,
}

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
    pub(super) fn column(self) -> Option<&'static str> {
        (self != Self::Standard).then(|| self.name())
    }
}

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

/// A page of the list of buckets, ordered by name.
#[derive(Debug, Clone, Default)]
pub struct BucketQuery {
    /// Only names that start so.
    pub prefix: String,
    /// Only names after this one.
    pub after: String,
    /// Only buckets of this owner.
    pub owner: String,
    /// Only buckets of this region.
    pub region: Option<String>,
    /// At most so many.
    pub limit: u32,
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
    /// SHA-1.
    #[serde(rename = "SHA1")]
    Sha1,
    /// SHA-256.
    #[serde(rename = "SHA256")]
    Sha256,
}

impl ChecksumAlgorithm {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Crc32, Self::Crc32c, Self::Crc64Nvme, Self::Sha1, Self::Sha256];

    /// S3's name, as in `x-amz-checksum-algorithm` and in SQL.
    pub fn name(self) -> &'static str {
        match self {
            Self::Crc32 => "CRC32",
            Self::Crc32c => "CRC32C",
            Self::Crc64Nvme => "CRC64NVME",
            Self::Sha1 => "SHA1",
            Self::Sha256 => "SHA256",
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
    pub(super) fn data(self) -> Option<DataId> {
        match self {
            Self::Data(data) => Some(data),
            Self::Empty | Self::Packed(_) => None,
        }
    }

    pub(super) fn packed(self) -> Option<Extent> {
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

/// The unique id of a commit: inserted first in its transaction and, if COMMIT's outcome is unclear, once more after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BatchId(pub [u8; 16]);

/// Which bytes of an object a read wants, before its size is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadRange {
    /// None: HEAD.
    Nothing,
    /// All.
    Whole,
    /// From a first byte to a last one (inclusive), or to the end.
    From(u64, Option<u64>),
    /// The last so many.
    Suffix(u64),
    /// Those of one part; part 1 of an object put at once is the whole.
    Part(u32),
}

/// An object and the first extents of what was asked of it, from one statement.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// The bucket's number.
    pub bucket: BucketId,
    /// Which version this is; `None` if nobody asked and the bucket never kept any.
    pub version: Option<VersionId>,
    /// The row.
    pub object: Object,
    /// The bytes wanted, clipped to the object: first, and one past the last. Equal if empty, unsatisfiable or nothing.
    pub range: std::ops::Range<u64>,
    /// The first extents (at most [`EXTENT_PAGE`]) that overlap `range`, in order, with their chunks' placements.
    pub extents: Vec<PlacedExtent>,
    /// For [`ReadRange::Part`]: the part, or `None` if the object has no such part (S3: 416 `InvalidPartNumber`).
    pub part: Option<ObjectPart>,
}

/// Extents that come with one statement; a reader asks for the next ones as it goes.
pub const EXTENT_PAGE: u32 = 64;

/// A part of a completed multipart object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectPart {
    /// Its number, as uploaded.
    pub number: u32,
    /// Offset in the object.
    pub start: u64,
    /// Length in bytes.
    pub size: u64,
    /// Base64 checksum of the part, by the object's algorithm.
    pub checksum: Option<String>,
}

/// A listing of objects: keys in byte order.
#[derive(Debug, Clone, Default)]
pub struct ListQuery {
    /// Name of the bucket.
    pub bucket: String,
    /// Only keys that start so.
    pub prefix: String,
    /// Fold keys that have this behind the prefix into one common prefix. Empty: none.
    pub delimiter: String,
    /// Only keys that sort after this. If this is a common prefix of the listing, all keys in it are skipped; if it lies
    /// within one, that one is shown if keys after this remain in it. See [`ListQuery::after_marker`] and
    /// [`ListQuery::after_key`] for what clients say.
    pub after: String,
    /// Keys and common prefixes together, at most; 0 gives an empty page that is not truncated.
    pub limit: u32,
    /// Whether objects are wanted with their description.
    pub described: bool,
}

impl ListQuery {
    /// Goes on after a ListObjects `marker` (or a `key-marker` of the other listings): as S3 has it, a common prefix that
    /// the marker lies within is not shown.
    pub fn after_marker(mut self, marker: &str) -> Self {
        let within = marker.strip_prefix(&self.prefix).filter(|_| !self.delimiter.is_empty());
        let end =
            within.and_then(|rest| rest.find(&self.delimiter)).map(|at| self.prefix.len() + at + self.delimiter.len());
        self.after = marker.get(..end.unwrap_or(marker.len())).unwrap_or(marker).to_owned();
        self
    }

    /// Starts after a ListObjectsV2 `start-after`: as S3 has it, keys count alone, so that a common prefix is shown if any key
    /// in it is after this, were this the common prefix itself.
    pub fn after_key(mut self, key: &str) -> Self {
        // No key holds a zero byte: the same keys are after this as after the key, and no common prefix is equal to it.
        self.after = if key.is_empty() { String::new() } else { format!("{key}\0") };
        self
    }
}

/// What a listing prints of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedObject {
    /// Key.
    pub key: String,
    /// Bytes.
    pub size: u64,
    /// Without quotes.
    pub etag: String,
    /// When it was written.
    pub modified: Millis,
    /// Algorithm and type of its checksum.
    pub checksum: Option<(ChecksumAlgorithm, ChecksumType)>,
    /// Canonical id of the owner.
    pub owner: String,
    /// How it is said to be kept.
    pub storage_class: StorageClass,
    /// Headers, user metadata and tags, where they were asked for.
    pub description: Option<Box<(Headers, Tags)>>,
}

/// What a listing of versions prints of one, or of a delete marker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedVersion {
    /// Its name.
    pub version: VersionId,
    /// Whether it is the newest of its key.
    pub latest: bool,
    /// Whether it is a delete marker.
    pub marker: bool,
    /// The rest; a delete marker has no size, ETag or checksum.
    pub object: ListedObject,
}

/// A page of anything listed with prefix and delimiter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// The entries, in order.
    pub entries: Vec<T>,
    /// The common prefixes, in order.
    pub common_prefixes: Vec<String>,
    /// Whether there is more.
    pub truncated: bool,
    /// If there is more: the last key or common prefix of this page, whichever sorts later. Pass it as `after` to go on; for
    /// uploads and versions together with `next_of_key`.
    pub next: Option<String>,
    /// Uploads and versions only: the id of the last, if there is more and `next` is a key.
    pub next_of_key: Option<String>,
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

/// A job's lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The job.
    pub job: String,
    /// Fencing token: larger than every earlier holder's.
    pub token: i64,
    /// Who has it.
    pub holder: InstanceId,
}

/// A range of chunk ids of which nothing commits any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClosedRange {
    /// The ids.
    pub range: IdRange,
    /// The volumes on which it is swept already.
    pub done: Vec<VolumeSlot>,
    /// Why it was not swept the last time, if that was for a reason.
    pub alarm: Option<String>,
}

/// What became of a range that was swept on some volumes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retired {
    /// There are volumes on which it still has to be.
    Waiting,
    /// It is swept everywhere, and will be once more.
    Once,
    /// It is no more.
    Gone,
}

/// Something that cannot be as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Discrepancy {
    /// The rule that is broken.
    pub what: &'static str,
    /// Of what.
    pub subject: String,
    /// How.
    pub detail: String,
}

/// A page of rows that were checked.
#[derive(Debug, Clone)]
pub struct Checked<T> {
    /// What is wrong with them.
    pub found: Vec<Discrepancy>,
    /// How many they are.
    pub rows: u64,
    /// The last of them; `None`: there were none, and nothing is left to check.
    pub next: Option<T>,
}

impl<T> Default for Checked<T> {
    fn default() -> Self {
        Self { found: Vec::new(), rows: 0, next: None }
    }
}

/// A chunk as its row has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredChunk {
    /// Its name.
    pub id: ChunkId,
    /// Whether nothing refers to it: its files go, or are gone.
    pub dead: bool,
    /// Whether more is appended to it.
    pub open: bool,
    /// Whether small objects share it.
    pub packed: bool,
    /// Where its shards are.
    pub placement: Placement,
    /// Shards known not to be there.
    pub missing: ShardSet,
    /// Object bytes in it.
    pub len: u64,
    /// Where its last committed block ends in every shard file.
    pub end: u64,
}

/// Whether ids of a range may still come to be chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RangeState {
    /// They may.
    Open,
    /// They may not, and what they left is swept away.
    Closed,
}

/// What an operator says of a volume.
#[derive(Debug, Clone, PartialEq)]
pub struct VolumeSpec {
    /// Its name, unique in the deployment.
    pub id: String,
    /// Directory.
    pub path: String,
    /// The node that carries it.
    pub node: String,
    /// The node's zone.
    pub zone: String,
    /// The zone's region.
    pub region: String,
    /// Share of the data relative to other volumes; above 0.
    pub weight: f64,
    /// Bytes it may hold; `None`: what the file system has.
    pub capacity: Option<u64>,
}

/// A registered volume.
#[derive(Debug, Clone, PartialEq)]
pub struct VolumeRow {
    /// Its number.
    pub slot: VolumeSlot,
    /// What the operator says.
    pub spec: VolumeSpec,
    /// Whether its operator wants it emptied.
    pub draining: bool,
    /// Whether its directory was made once.
    pub formatted: bool,
    /// How often its disk was replaced by an empty one.
    pub epoch: u32,
    /// Whether a command added or moved it: the volumes named at a server's start have no say in it.
    pub by_command: bool,
}

/// How an instance finds a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeReport {
    /// The volume.
    pub slot: VolumeSlot,
    /// `healthy`, `degraded`, `failed` or `draining`.
    pub status: String,
    /// Whether it has no room for more shards.
    pub full: bool,
    /// Bytes in use.
    pub used: u64,
    /// Bytes it may hold.
    pub capacity: u64,
    /// What went wrong last, if anything did.
    pub error: Option<String>,
}

/// A living instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceRow {
    /// Its number.
    pub id: InstanceId,
    /// When it started.
    pub started: Millis,
    /// When it was last heard of.
    pub heartbeat: Millis,
    /// How long ago that is, in milliseconds.
    pub silent: i64,
}

/// A chunk whose files are due for removal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadChunk {
    /// The chunk.
    pub id: ChunkId,
    /// Where its shards are.
    pub placement: Placement,
    /// Shards that never were there.
    pub missing: ShardSet,
}

/// A shard that waits for healing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealTask {
    /// Its chunk.
    pub chunk: ChunkId,
    /// Its index.
    pub shard: u8,
    /// What was found.
    pub reason: String,
    /// When it was noted first.
    pub queued: Millis,
    /// How often it was noted.
    pub noted: i64,
    /// How often it could not be healed.
    pub attempts: u32,
}

/// What a round of folding `released` did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Folded {
    /// Rows of `released` taken.
    pub rows: u64,
    /// Data that nobody refers to any more, now gone.
    pub data: u64,
    /// Chunks found without a live byte.
    pub chunks: u64,
}

/// Extents for a reader that is past its first page.
#[derive(Debug, Clone, Copy)]
pub struct ExtentQuery {
    /// The data.
    pub data: DataId,
    /// Bytes wanted.
    pub from: u64,
    /// One past the last byte wanted.
    pub to: u64,
}

/// An upload's parts, or a completed object's, from a number on.
#[derive(Debug, Clone, Copy)]
pub struct PartQuery {
    /// Only numbers above this.
    pub after: u32,
    /// At most so many.
    pub limit: u32,
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
