//! Compaction of packed chunks of which less than half lives.

use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;

use super::{Job, JobError};
use crate::layout::ChunkId;
use crate::metadata::Lease;
use crate::objects::Store;

/// Chunks compacted in one round: few enough for the lease to last.
const CHUNKS_AT_ONCE: u32 = 4;

/// Before all chunks.
const FIRST: ChunkId = ChunkId { seq: 0, nonce: 0 };

/// Moves what lives out of packed chunks that are mostly dead.
#[derive(Debug)]
pub struct Compact {
    store: Store,
    /// The last chunk looked at: one that cannot be compacted does not keep those after it waiting.
    after: Mutex<ChunkId>,
}

impl Compact {
    /// The job over `store`.
    pub fn new(store: Store) -> Self {
        Self { store, after: Mutex::new(FIRST) }
    }
}

#[async_trait]
impl Job for Compact {
    fn name(&self) -> &'static str {
        "compact"
    }

    // Moving what was moved before does nothing: a holder that has lost its lease does no harm.
    async fn round(&self, _lease: &Lease) -> Result<bool, JobError> {
        let after = *self.after.lock().unwrap_or_else(PoisonError::into_inner);
        let sparse = self.store.metadata().sparse_chunks(after, CHUNKS_AT_ONCE).await?;
        *self.after.lock().unwrap_or_else(PoisonError::into_inner) = sparse.last().copied().unwrap_or(FIRST);
        for chunk in &sparse {
            match self.store.compact(*chunk).await {
                Ok(done) => {
                    tracing::debug!(%chunk, entries = done.entries, bytes = done.bytes, "compacted");
                }
                Err(error) => tracing::warn!(%chunk, %error, "a chunk could not be compacted"),
            }
        }
        Ok(sparse.len() >= CHUNKS_AT_ONCE as usize)
    }
}
