//! What exists: buckets, objects, uploads, chunks and the rest as rows in PostgreSQL or SQLite.
//!
//! Every method of [`Metadata`] is a whole transaction. SQL appears in this room alone.

mod types;

use std::ops::Range;
use std::time::Duration;

use crate::clock::Millis;
use crate::layout::{ChunkId, PlacedExtent, Placement, Slot, VolumeSlot};

pub use crate::layout::IdRange;
pub use types::*;

/// What a transaction may answer instead of doing what it was asked.
#[derive(Debug, thiserror::Error)]
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
    /// The instance's reserved ids have been closed: it has been judged dead and must not commit.
    #[error("the chunk ids of this write are no longer reserved")]
    RangeClosed,
    /// The job's lease is somebody else's now.
    #[error("the lease of job {0} was lost")]
    LeaseLost(String),
    /// Something still refers to the volume.
    #[error("volume {0} still holds shards")]
    VolumeInUse(String),
    /// A volume's name or path is not what was registered.
    #[error("volume {id}: {reason}")]
    VolumeMismatch {
        /// Its name.
        id: String,
        /// What differs.
        reason: String,
    },
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
    Sql(#[source] sqlx::Error),
}

/// Result of a transaction.
pub type Result<T, E = Error> = std::result::Result<T, E>;

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

/// The metadata of a deployment. Cheap to clone; clones share the pool.
#[derive(Debug, Clone)]
pub struct Metadata {}

#[expect(unused_variables, clippy::unused_async, missing_docs, reason = "the outline; bodies follow")]
impl Metadata {
    // --- life: connect.rs
    pub async fn connect(config: &DatabaseConfig) -> Result<Self> {
        stub()
    }
    /// One round trip, for readiness.
    pub async fn ping(&self) -> Result<()> {
        stub()
    }
    pub async fn close(&self) {}
    /// The deployment's id: `fresh` if there was none yet.
    pub async fn deployment(&self, fresh: &str) -> Result<String> {
        stub()
    }

    // --- volumes: volumes.rs
    /// Registers volumes that are not yet, updates node, zone, region, weight, capacity and path of those that are; answers all rows.
    pub async fn register_volumes(&self, specs: &[VolumeSpec]) -> Result<Vec<VolumeRow>> {
        stub()
    }
    pub async fn volumes(&self) -> Result<Vec<VolumeRow>> {
        stub()
    }
    pub async fn set_draining(&self, slot: VolumeSlot, draining: bool) -> Result<()> {
        stub()
    }
    /// Forgets a volume to which no chunk refers.
    pub async fn remove_volume(&self, id: &str) -> Result<()> {
        stub()
    }

    // --- instances, ranges, leases: instances.rs
    pub async fn register_instance(&self) -> Result<InstanceId> {
        stub()
    }
    /// Says that the instance lives. [`Error::RangeClosed`] if it was judged dead.
    pub async fn heartbeat(&self, instance: InstanceId) -> Result<()> {
        stub()
    }
    pub async fn reserve_range(&self, instance: InstanceId, count: u32, nonce: u64) -> Result<IdRange> {
        stub()
    }
    /// Ends an instance and closes its ranges, so that a late commit of its fails.
    pub async fn close_instance(&self, instance: InstanceId) -> Result<()> {
        stub()
    }
    /// Instances (not `judge`) whose last heartbeat is older than `timeout` by the database's clock.
    pub async fn silent_instances(&self, judge: InstanceId, timeout: Duration) -> Result<Vec<InstanceId>> {
        stub()
    }
    pub async fn acquire_lease(&self, job: &str, holder: InstanceId, ttl: Duration) -> Result<Option<Lease>> {
        stub()
    }
    pub async fn release_lease(&self, lease: &Lease, holder: InstanceId) -> Result<()> {
        stub()
    }

    // --- buckets: buckets.rs
    pub async fn create_bucket(&self, bucket: &NewBucket) -> Result<Bucket> {
        stub()
    }
    pub async fn bucket(&self, name: &str) -> Result<Bucket> {
        stub()
    }
    pub async fn delete_bucket(&self, name: &str, now: Millis) -> Result<()> {
        stub()
    }
    pub async fn list_buckets(&self, query: &BucketQuery) -> Result<Vec<Bucket>> {
        stub()
    }

    // --- objects: objects.rs
    pub async fn resolve(&self, bucket: &str, key: &str, range: ReadRange) -> Result<Resolved> {
        stub()
    }
    pub async fn extents(&self, query: ExtentQuery) -> Result<Vec<PlacedExtent>> {
        stub()
    }
    /// Where a chunk's shards are now; `None` if the chunk is gone or dead.
    pub async fn placement(&self, chunk: ChunkId) -> Result<Option<Placement>> {
        stub()
    }
    pub async fn object_parts(&self, data: DataId, query: PartQuery) -> Result<Vec<ObjectPart>> {
        stub()
    }
    pub async fn commit_put(&self, commit: &PutCommit) -> Result<()> {
        stub()
    }
    pub async fn commit_copy(&self, commit: &CopyCommit) -> Result<()> {
        stub()
    }
    /// One result for each key, in order. Deleting what is not there succeeds; a condition on it does not.
    pub async fn delete(&self, bucket: &str, keys: &[DeleteKey], now: Millis) -> Result<Vec<Result<()>>> {
        stub()
    }

    // --- listing: listing.rs
    pub async fn list_objects(&self, query: &ListQuery) -> Result<Page<ListedObject>> {
        stub()
    }
    /// Uploads by key, then by age. `after_upload`: with `after` a key, only its uploads after this one and later keys.
    pub async fn list_uploads(&self, query: &ListQuery, after_upload: Option<&UploadId>) -> Result<Page<Upload>> {
        stub()
    }

    // --- uploads: uploads.rs
    pub async fn create_upload(&self, upload: &NewUpload) -> Result<()> {
        stub()
    }
    pub async fn upload(&self, bucket: &str, key: &str, id: &UploadId) -> Result<Upload> {
        stub()
    }
    pub async fn parts(&self, bucket: &str, key: &str, id: &UploadId, query: PartQuery) -> Result<Vec<Part>> {
        stub()
    }
    /// Answers the part's size.
    pub async fn commit_part(&self, commit: &PartCommit) -> Result<u64> {
        stub()
    }
    pub async fn complete_upload(&self, commit: &CompleteCommit) -> Result<()> {
        stub()
    }
    pub async fn abort_upload(&self, bucket: &str, key: &str, id: &UploadId, now: Millis) -> Result<()> {
        stub()
    }
    /// Aborts at most `limit` uploads whose newest part (or start) is older than `idle_since`; answers how many.
    pub async fn expire_uploads(&self, lease: &Lease, idle_since: Millis, now: Millis, limit: u32) -> Result<u64> {
        stub()
    }

    // --- reclaim: reclaim.rs
    pub async fn fold_released(&self, lease: &Lease, now: Millis, limit: u32) -> Result<Folded> {
        stub()
    }
    /// Chunks that died at or before `died_before`.
    pub async fn dead_chunks(&self, died_before: Millis, limit: u32) -> Result<Vec<DeadChunk>> {
        stub()
    }
    /// Forgets a dead chunk of which the files on all volumes but `absent` are gone; those become pending deletes.
    pub async fn forget_chunk(&self, lease: &Lease, chunk: &DeadChunk, absent: &[VolumeSlot]) -> Result<()> {
        stub()
    }
    pub async fn pending_deletes(&self, volume: VolumeSlot, limit: u32) -> Result<Vec<crate::layout::ShardName>> {
        stub()
    }
    pub async fn deleted(&self, volume: VolumeSlot, shards: &[crate::layout::ShardName]) -> Result<()> {
        stub()
    }

    // --- heal: heal.rs
    /// Notes that a shard is missing or bad. Noting it twice is noting it once.
    pub async fn queue_heal(&self, chunk: ChunkId, shard: u8, reason: &str, now: Millis) -> Result<()> {
        stub()
    }
    /// How many shards wait for healing.
    pub async fn heal_queue_len(&self) -> Result<u64> {
        stub()
    }
    /// Moves a shard's place if it still is `from` (`None`: never placed); answers whether it was.
    pub async fn switch_slot(&self, chunk: ChunkId, shard: u8, from: Option<Slot>, to: Slot) -> Result<bool> {
        stub()
    }
}

fn stub<T>() -> Result<T> {
    Err(Error::Unusable("not built".into()))
}

#[allow(unused)]
type Bytes = Range<u64>;
