//! What is asked for, and found.

use super::super::VersionId;
use super::{BucketId, ChecksumAlgorithm, ChecksumType, DataId, Headers, Object, StorageClass, Tags};
use crate::clock::Millis;
use crate::layout::PlacedExtent;

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
