//! What exists: buckets, objects, uploads, chunks and the rest as rows in PostgreSQL or SQLite.
//!
//! Every method of [`Metadata`] is a whole transaction. SQL appears in this room alone.

mod append;
mod buckets;
mod changes;
mod check;
mod connect;
mod dialect;
mod dump;
mod heal;
mod identities;
mod instances;
mod jobs;
mod listing;
mod lock;
mod objects;
mod packed;
mod ranges;
mod reclaim;
mod rename;
mod resolve;
mod restore;
mod rows;
mod snapshots;
mod types;
mod uploads;
mod usage;
mod version_id;
mod versions;
mod volumes;
mod write;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::clock::Millis;

pub use crate::layout::IdRange;
pub use append::{AppendBase, AppendCommit, AppendCopy};
pub use changes::{Change, ChangeFeed, read_changes};
pub use dialect::ChangeRecord;
pub use dump::{Cell, Dump, DumpPage, Kind, SCHEMA, TABLES, Table};
pub use heal::{ChunkCounts, ChunkRow, ChunkState};
pub use identities::*;
pub use jobs::{JobRow, JobState, Progress};
pub use lock::{BucketLock, DefaultRetention, ObjectLock, Period, Retention, RetentionMode, VersionChange};
pub use packed::{Appended, PackedCommit, PackedEntry, PackedOwner, PackedWrite};
pub use rename::{Rename, RenameCommit, RenameCondition, RenameToken, Renamed};
pub use restore::{FoundVolume, Restoration, RestoredChunk};
pub use snapshots::{SnapshotRow, SnapshotState};
pub use types::*;
pub use usage::BucketUsage;
pub use version_id::{VersionId, Versioning};

/// What a transaction may answer instead of doing what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// There is no such bucket.
    #[error("there is no bucket {0}")]
    NoSuchBucket(String),
    /// The name is taken; here is by whom.
    #[error("the bucket {} exists already", .0.name)]
    BucketExists(Box<Bucket>),
    /// The bucket holds objects.
    #[error("the bucket {0} is not empty")]
    BucketNotEmpty(String),
    /// There is no such object.
    #[error("there is no object {key} in bucket {bucket}")]
    NoSuchKey {
        /// The bucket.
        bucket: String,
        /// The key.
        key: String,
    },
    /// The key has no such version.
    #[error("there is no version {version} of {key} in bucket {bucket}")]
    NoSuchVersion {
        /// The bucket.
        bucket: String,
        /// The key.
        key: String,
        /// The version.
        version: VersionId,
    },
    /// What was asked for is a delete marker.
    #[error("version {version} of {key} in bucket {bucket} is a delete marker")]
    DeleteMarker {
        /// The bucket.
        bucket: String,
        /// The key.
        key: String,
        /// The marker.
        version: VersionId,
        /// Whether the version was asked for; otherwise the marker is the newest of its key.
        named: bool,
        /// When it was made.
        modified: Millis,
    },
    /// The version is locked against this.
    #[error("version {version} of {key} in bucket {bucket} is locked")]
    ObjectLocked {
        /// The bucket.
        bucket: String,
        /// The key.
        key: String,
        /// The version.
        version: VersionId,
    },
    /// The bucket does not lock its objects.
    #[error("bucket {0} has no Object Lock configuration")]
    NoObjectLock(String),
    /// The bucket's versioning does not allow this: it must stay enabled where objects are locked, and be enabled before they can be.
    #[error("the state of bucket {0} does not allow this")]
    BucketState(String),
    /// The bucket does not keep versions, without which it cannot be replicated.
    #[error("bucket {0} does not keep versions")]
    NotVersioned(String),
    /// The bucket is replicated, so it must go on keeping versions.
    #[error("bucket {0} is replicated")]
    Replicated(String),
    /// There is no such upload (any more).
    #[error("there is no upload {upload} of {key} in bucket {bucket}")]
    NoSuchUpload {
        /// The bucket.
        bucket: String,
        /// The key.
        key: String,
        /// The upload.
        upload: UploadId,
    },
    /// A part is not there, or no longer the one that was validated.
    #[error("part {number} of upload {upload} is not the one that was uploaded")]
    InvalidPart {
        /// The upload.
        upload: UploadId,
        /// The part.
        number: u32,
    },
    /// A condition of a write does not hold.
    #[error("the object {key} in bucket {bucket} does not meet {header}")]
    PreconditionFailed {
        /// The bucket.
        bucket: String,
        /// The key.
        key: String,
        /// The header that stated the condition, e.g. `If-None-Match`.
        header: &'static str,
    },
    /// The data that was to be referred to has been released meanwhile: resolve again and retry.
    #[error("the source changed while it was read")]
    SourceChanged,
    /// Others refer to the data that was to be changed: it must be copied first.
    #[error("others refer to the same data")]
    DataShared,
    /// A second reference to bytes in a packed chunk was asked for: they must be copied.
    #[error("bytes in packed chunks have one owner")]
    DataPacked,
    /// The object has as many parts as there can be.
    #[error("the object {key} in bucket {bucket} cannot have more parts")]
    TooManyParts {
        /// The bucket.
        bucket: String,
        /// The key.
        key: String,
    },
    /// A client's name for a request was another request's before.
    #[error("the token {0} was another request's")]
    TokenReused(String),
    /// The bucket keeps versions, or did, which this does not go with.
    #[error("bucket {0} keeps versions")]
    KeepsVersions(String),
    /// The instance's reserved ids have been closed: it has been judged dead and must not commit.
    #[error("the chunk ids of this write are no longer reserved")]
    RangeClosed,
    /// The job's lease is somebody else's now.
    #[error("the lease of job {0} was lost")]
    LeaseLost(String),
    /// Something still refers to the volume.
    #[error("volume {0} still holds shards")]
    VolumeInUse(String),
    /// Only what was deleted still refers to the volume.
    #[error(
        "volume {0} still holds shards of what was deleted: they go after the next snapshot of the metadata (`ninefold snapshot`)"
    )]
    VolumeHoldsDead(String),
    /// A volume's name or path is not what was registered.
    #[error("volume {id}: {reason}")]
    VolumeMismatch {
        /// Its name.
        id: String,
        /// What differs.
        reason: String,
    },
    /// There is no such identity.
    #[error("there is no {kind} {name}")]
    NoSuchIdentity {
        /// What it would be.
        kind: IdentityKind,
        /// Its name or id.
        name: String,
    },
    /// There is one already.
    #[error("there is a{} {kind} {name} already", if kind.to_string().starts_with(['a', 'e', 'i', 'o']) { "n" } else { "" })]
    IdentityExists {
        /// What it is.
        kind: IdentityKind,
        /// Its name or id.
        name: String,
    },
    /// It cannot go, or there can be no more of it.
    #[error("the {kind} {name} is in use: {why}")]
    IdentityInUse {
        /// What it is.
        kind: IdentityKind,
        /// Its name or id.
        name: String,
        /// By what.
        why: &'static str,
    },
    /// Secrets are sealed under another master key by now.
    #[error("secrets are sealed under another master key by now")]
    SealedOtherwise,
    /// The database cannot be used: it was not started as we need it, or its schema is newer than this program.
    #[error("the database cannot be used: {0}")]
    Unusable(String),
    /// The database did not answer, or not in time; nothing was changed.
    #[error("the database is unavailable: {0}")]
    Unavailable(String),
    /// COMMIT was sent and no one can say what became of it: nothing may be concluded, nothing removed.
    #[error("the outcome of a commit is unknown: {0}")]
    Ambiguous(String),
    /// A row that cannot be.
    #[error("the database holds what it should not: {0}")]
    Corrupt(String),
    /// The database refused a statement.
    #[error("the database refused a statement: {0}")]
    Sql(#[source] Arc<sqlx::Error>),
}

/// Result of a transaction.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The answer of a transaction, to be awaited.
///
/// Boxed, because the body of an `async fn` is compiled over and over, wherever somebody awaits it; these are compiled
/// here, once.
pub type Answer<'a, T> = BoxFuture<'a, Result<T>>;

/// How to reach the database.
#[derive(Debug, Clone)]
pub struct DatabaseConfig {
    /// `postgres://…` or `sqlite:PATH`.
    pub url: String,
    /// Connections at most.
    pub max_connections: u32,
    /// How long to wait for a connection.
    pub connect_timeout: Duration,
    /// How long one statement may run.
    pub statement_timeout: Duration,
}

/// The metadata of a deployment. Cheap to clone; clones share the connections.
#[derive(Debug, Clone)]
pub struct Metadata {
    db: dialect::Db,
}
