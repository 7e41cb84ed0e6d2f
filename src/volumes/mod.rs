//! Volumes: directories that hold shard files. The one place where the store does file I/O.
//!
//! [`Volume`] is the seam: a local directory, a fault-injecting wrapper for tests, later a volume of another node.

mod directory;
pub mod fault;
mod identity;
mod local;
pub mod power;
pub mod prober;
mod set;
pub mod status;

pub use identity::{FormatError, Identity, IdentityError};
pub use local::{IoConfig, LocalVolume};
pub use set::{Location, Member, VolumeSet};
pub use status::Status;

use std::fmt;
use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::clock::Millis;
use crate::layout::{ShardName, VolumeSlot};

/// What a volume may answer instead of doing what it was asked. Each names the volume.
#[derive(Debug, Clone, thiserror::Error)]
pub enum VolumeError {
    /// There is no such file.
    #[error("volume {volume}: {shard} is not there")]
    Absent {
        /// The volume's name.
        volume: Arc<str>,
        /// The file asked for.
        shard: ShardName,
    },
    /// The file exists already; files are created once.
    #[error("volume {volume}: {shard} exists already")]
    Exists {
        /// The volume's name.
        volume: Arc<str>,
        /// The file.
        shard: ShardName,
    },
    /// The file ends before the range asked for.
    #[error("volume {volume}: {shard} ends before byte {end}")]
    Truncated {
        /// The volume's name.
        volume: Arc<str>,
        /// The file.
        shard: ShardName,
        /// End of the range asked for.
        end: u64,
    },
    /// No space, or no inodes, left.
    #[error("volume {volume} is full")]
    Full {
        /// The volume's name.
        volume: Arc<str>,
    },
    /// The volume as a whole cannot be used: gone, foreign, failed, too slow or its queue full.
    #[error("volume {volume} is unavailable: {reason}")]
    Unavailable {
        /// The volume's name.
        volume: Arc<str>,
        /// Why.
        reason: String,
    },
    /// The operating system refused.
    #[error("volume {volume}: {operation} of {shard}: {source}")]
    Io {
        /// The volume's name.
        volume: Arc<str>,
        /// The file.
        shard: ShardName,
        /// What was tried: "create", "write", "sync", ...
        operation: &'static str,
        /// The system's error.
        source: Arc<io::Error>,
    },
}

/// Result of an operation on a volume.
pub type Result<T, E = VolumeError> = std::result::Result<T, E>;

/// Space of a volume, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// What the volume may hold in all.
    pub capacity: u64,
    /// What is in use.
    pub used: u64,
}

/// A file in quarantine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantined {
    /// Its name there: the shard's, with a number behind it if there was one of that name.
    pub file: String,
    /// Since when it is there, by the volume's clock.
    pub since: Millis,
    /// Its length in bytes.
    pub len: u64,
}

/// One filesystem directory of shard files.
///
/// Every call is one hop to the volume's own I/O threads, through a bounded queue, so that a stuck disk holds up nobody
/// else; dropping the future abandons the answer, not necessarily the operation. Nothing retries.
#[async_trait]
pub trait Volume: Send + Sync + fmt::Debug {
    /// Its number.
    fn slot(&self) -> VolumeSlot;

    /// The name its operator gave it.
    fn name(&self) -> &Arc<str>;

    /// Creates the file (`O_EXCL`) and writes `header` at its start. On error no file that this call created is left, as
    /// far as the volume still obeys.
    async fn create(&self, shard: ShardName, header: Bytes) -> Result<()>;

    /// Writes `pieces`, one after the other, from byte `position` on (`pwritev`, never append). All or an error; after an
    /// error the content of that range is unknown and must not be used.
    async fn write(&self, shard: ShardName, position: u64, pieces: Vec<Bytes>) -> Result<()>;

    /// Returns once all that was written to the file, and the file's name, are on stable storage (`fdatasync`, and `fsync` of
    /// its directory if the name is new). An error is final: the shard is lost, and a later success would mean nothing.
    /// Closes the file for writing.
    async fn sync(&self, shard: ShardName) -> Result<()>;

    /// Writes `pieces` as [`Volume::write`] does and returns once they, and the file's name, are on stable storage: one hop for
    /// both, and the file stays open for writing. After an error, be it of the write or of the sync, the file takes no more.
    async fn write_through(&self, shard: ShardName, position: u64, pieces: Vec<Bytes>) -> Result<()>;

    /// Closes the file for writing, as it is. One that is not open is no error.
    async fn close(&self, shard: ShardName) -> Result<()>;

    /// Reads exactly `len` bytes from `position` on.
    async fn read(&self, shard: ShardName, position: u64, len: usize) -> Result<Bytes>;

    /// Removes the file. A file that is not there counts as removed.
    async fn remove(&self, shard: ShardName) -> Result<()>;

    /// Moves the file to `quarantine/`, where nobody reads it.
    async fn quarantine(&self, shard: ShardName) -> Result<()>;

    /// The names in one of the 256 directories, unordered. Files with other names are left out.
    async fn list(&self, fan_out: u8) -> Result<Vec<ShardName>>;

    /// Which of these files are there, and how long each is, in bytes. One hop for all of them, and no directory is listed. It is the
    /// names that are asked: a file that is only open still, its name being gone or another's by now, is not read from any more.
    async fn present(&self, shards: Vec<ShardName>) -> Result<Vec<(ShardName, u64)>>;

    /// What is in quarantine, at most `limit` files, in no order.
    async fn quarantined(&self, limit: usize) -> Result<Vec<Quarantined>>;

    /// Removes at most `limit` of the files that came to quarantine before this time of the volume's clock; answers how many.
    async fn purge(&self, before: Millis, limit: usize) -> Result<usize>;

    /// Writes a small file of this name beside the shards, in place of the one there is: whole or not at all, and on stable storage
    /// when this returns.
    async fn put_document(&self, name: &str, content: Bytes) -> Result<()>;

    /// The names of the small files beside the shards, in no order.
    async fn documents(&self) -> Result<Vec<String>>;

    /// The content of one of them; `None` if there is none of this name.
    async fn document(&self, name: &str) -> Result<Option<Bytes>>;

    /// Removes one of them. One that is not there counts as removed.
    async fn remove_document(&self, name: &str) -> Result<()>;

    /// Space, by the file system (and the configured capacity, where there is one).
    async fn usage(&self) -> Result<Usage>;

    /// Checks that the directory at the volume's path still is this volume (`volume.json`), and opens it again if it came
    /// back. Until then every other operation answers [`VolumeError::Unavailable`].
    async fn probe(&self) -> Result<()>;
}
