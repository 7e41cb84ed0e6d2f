//! Object bytes in chunks: coded, placed, written, verified and read back.
//!
//! [`ChunkStore::write`] takes a stream of bytes through three stages that overlap (receive, hash and encode, write) and answers
//! with chunks that are synced but known to nobody: the caller's metadata commit makes them visible, or [`ChunkStore::discard`]
//! removes them. [`ChunkStore::read`] gives the bytes of extents back, verified, rebuilding what is missing, wrong or late.
//!
//! What the chunks need from the database (fresh ids, placements that changed, notes for healing) comes through [`Ledger`].

pub mod codec;
mod entries;
mod fan;
pub mod format;
mod heal;
mod ids;
mod pace;
mod pack;
pub mod placement;
mod read;
pub mod reads;
#[cfg(test)]
mod tests;
mod verify;
mod walk;
mod write;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::layout::{ChunkId, DATA_SHARDS, IdRange, NewChunk, Placement, VolumeSlot};
use crate::volumes::{VolumeError, VolumeSet};

use codec::{Codec, CodecError};
use format::FormatError;
pub use format::{EntryHeader, Owner};
pub use heal::{Rewritten, Source, Target};
use ids::IdSource;
pub use pace::Pace;
pub use pack::{Entry, Pack};
use placement::{PlacementError, Placer};
pub use read::{ByteRange, ReadStream};
pub use reads::{Hold, Reads};
pub use verify::Examination;
pub use walk::Finding;
pub use write::{Body, BodyError, Digest};

/// What the chunk store needs of the database.
#[async_trait]
pub trait Ledger: Send + Sync + fmt::Debug + 'static {
    /// Reserves `count` chunk ids for this instance, durably, before any of them is used.
    async fn reserve(&self, count: u32) -> Result<IdRange, LedgerError>;

    /// Fails once this instance has gone without a heartbeat for so long that others may soon judge it dead: from then on it
    /// must issue no I/O.
    fn check_alive(&self) -> Result<(), LedgerError>;

    /// Where a chunk's shards are by now; `None` if the chunk is gone.
    async fn placement(&self, chunk: ChunkId) -> Result<Option<Placement>, LedgerError>;

    /// Notes, without waiting, that a shard was found missing or bad.
    fn note_bad_shard(&self, chunk: ChunkId, shard: u8, reason: &str);
}

/// The database could not say, or said no.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct LedgerError(pub String);

/// Why bytes could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum ChunkError {
    /// The body ended with an error; nothing remains of it.
    #[error(transparent)]
    Body(BodyError),
    /// Fewer than six of a chunk's shards could be written, or fewer than six volumes can be used at all.
    #[error("chunk {chunk}: only {written} of nine shards could be written: {last}")]
    TooFewWritten {
        /// The chunk.
        chunk: ChunkId,
        /// How many were written.
        written: usize,
        /// The last volume's answer.
        last: String,
    },
    /// There are not enough usable volumes.
    #[error(transparent)]
    Placement(#[from] PlacementError),
    /// Fewer than six of a stripe's blocks are there and right.
    #[error("chunk {chunk}: only {found} good blocks of the stripe at {position}: {reasons}")]
    TooFewRead {
        /// The chunk.
        chunk: ChunkId,
        /// Byte offset of the stripe in the shard files.
        position: u64,
        /// Good blocks.
        found: usize,
        /// What was wrong with the others.
        reasons: String,
    },
    /// The chunk died under a read that had lasted longer than reads are waited for.
    #[error("chunk {chunk}: the read lasted too long, and its bytes were deleted meanwhile")]
    ReadCut {
        /// The chunk.
        chunk: ChunkId,
    },
    /// An extent, as stored, cannot be: it names a place that its chunk does not have.
    #[error("chunk {chunk}: an extent at {position} does not lie in it")]
    BadExtent {
        /// The chunk.
        chunk: ChunkId,
        /// The extent's position.
        position: u64,
    },
    /// The database did not give what was needed.
    #[error("the chunk ledger: {0}")]
    Ledger(#[from] LedgerError),
    /// A stripe could not be coded.
    #[error("chunk {chunk}: {source}")]
    Code {
        /// The chunk.
        chunk: ChunkId,
        /// Why.
        source: CodecError,
    },
    /// A stripe could not be laid out.
    #[error("chunk {chunk}: {source}")]
    Format {
        /// The chunk.
        chunk: ChunkId,
        /// Why.
        source: FormatError,
    },
    /// A task of ours ended early: the program is shutting down or has a defect.
    #[error("a worker ended before its work was done")]
    Worker,
}

impl ChunkError {
    /// The same error, for another of those whom it concerns. What a body ended with concerns nobody else.
    pub fn shared(&self) -> Self {
        match self {
            Self::TooFewWritten { chunk, written, last } => {
                Self::TooFewWritten { chunk: *chunk, written: *written, last: last.clone() }
            }
            Self::Placement(error) => Self::Placement(error.clone()),
            Self::TooFewRead { chunk, position, found, reasons } => {
                Self::TooFewRead { chunk: *chunk, position: *position, found: *found, reasons: reasons.clone() }
            }
            Self::ReadCut { chunk } => Self::ReadCut { chunk: *chunk },
            Self::BadExtent { chunk, position } => Self::BadExtent { chunk: *chunk, position: *position },
            Self::Ledger(error) => Self::Ledger(error.clone()),
            Self::Code { chunk, source } => Self::Code { chunk: *chunk, source: source.clone() },
            Self::Format { chunk, source } => Self::Format { chunk: *chunk, source: *source },
            Self::Body(_) | Self::Worker => Self::Worker,
        }
    }
}

impl From<tokio::task::JoinError> for ChunkError {
    fn from(_: tokio::task::JoinError) -> Self {
        Self::Worker
    }
}

/// How the chunk store behaves.
#[derive(Debug, Clone)]
pub struct ChunkConfig {
    /// Object bytes in one chunk at most.
    pub chunk_len: u64,
    /// Bytes of one stripe of a packed chunk at most, entry headers included; an entry that is longer has one to itself.
    pub packed_stripe_len: u32,
    /// Chunk ids reserved at once, once an instance has used up smaller ranges.
    pub ids_per_range: u32,
    /// How long a read is waited for before the files of dead chunks go; a longer one is cut when its chunk has died.
    pub read_limit: Duration,
    /// Stripes that a read fetches ahead of the one being sent.
    pub read_ahead: usize,
    /// A block is late, and its stripe read from other volumes, after this multiple of its volume's usual latency ...
    pub hedge_multiple: u32,
    /// ... but not before this.
    pub hedge_floor: Duration,
    /// A write or sync is given up after `hedge_multiple` times what the sixth of nine took, but not before this.
    pub write_hedge_floor: Duration,
}

impl Default for ChunkConfig {
    fn default() -> Self {
        Self {
            chunk_len: crate::layout::CHUNK_LEN,
            packed_stripe_len: 256 << 10,
            ids_per_range: 1024,
            read_limit: Duration::from_secs(3600),
            read_ahead: 2,
            hedge_multiple: 8,
            hedge_floor: Duration::from_millis(50),
            write_hedge_floor: Duration::from_secs(1),
        }
    }
}

/// Writes, reads and removes chunks. Cheap to clone; clones are the same store.
#[derive(Debug, Clone)]
pub struct ChunkStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    volumes: VolumeSet,
    ledger: Arc<dyn Ledger>,
    ids: IdSource,
    codec: Codec,
    config: ChunkConfig,
    placer: Placer,
    reads: Reads,
}

impl ChunkStore {
    /// A store over `volumes`.
    ///
    /// # Errors
    /// If the codec cannot be set up.
    pub fn new(volumes: VolumeSet, ledger: Arc<dyn Ledger>, config: ChunkConfig) -> Result<Self, CodecError> {
        let ids = IdSource::new(config.ids_per_range);
        let codec = Codec::new()?;
        let placer = Placer::new(volumes.clone());
        let reads = Reads::new(config.read_limit);
        Ok(Self { inner: Arc::new(Inner { volumes, ledger, ids, codec, config, placer, reads }) })
    }

    /// The volumes.
    pub fn volumes(&self) -> &VolumeSet {
        &self.inner.volumes
    }

    /// The reads that are under way.
    pub fn reads(&self) -> &Reads {
        &self.inner.reads
    }

    /// Forgets the ids reserved so far: they belong to an instance that this process no longer is.
    pub async fn forget_ids(&self) {
        self.inner.ids.forget().await;
    }

    /// Fails once this instance has not been heard of for so long that others may have gone on without it.
    ///
    /// # Errors
    /// Then.
    pub fn check_alive(&self) -> Result<(), LedgerError> {
        self.inner.ledger.check_alive()
    }

    /// Whether enough volumes can be used for a write to succeed.
    pub fn writable(&self) -> bool {
        self.inner.placer.ring().usable() >= DATA_SHARDS
    }

    /// Removes the files of chunks that no commit will ever make known. What cannot be removed stays behind, unreferenced, for the
    /// sweep of this instance's id ranges.
    pub async fn discard(&self, chunks: &[NewChunk]) {
        for chunk in chunks {
            self.remove(chunk.id, &chunk.placement).await;
        }
    }

    /// Removes a chunk's files; answers the volumes on which that could not be done.
    pub async fn remove(&self, chunk: ChunkId, placement: &Placement) -> Vec<VolumeSlot> {
        let removals = (0..crate::layout::SHARDS).filter_map(|shard| placement.file(chunk, shard)).map(
            async |(slot, file)| -> Result<(), (VolumeSlot, Option<VolumeError>)> {
                let member = self.inner.volumes.get(slot).ok_or((slot, None))?;
                member.remove(file).await.map_err(|error| (slot, Some(error)))
            },
        );
        let mut failed = Vec::new();
        for outcome in futures_util::future::join_all(removals).await {
            if let Err((slot, error)) = outcome {
                tracing::warn!(%chunk, volume = %slot, error = error.map(|e| e.to_string()), "a shard file could not be removed");
                failed.push(slot);
            }
        }
        failed
    }
}
