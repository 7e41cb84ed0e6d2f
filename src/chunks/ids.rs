//! Chunk ids, reserved in the database before they are used: the write intent, one row for a thousand chunks.

use tokio::sync::Mutex;

use super::{Ledger, LedgerError};
use crate::crash;
use crate::layout::{ChunkId, IdRange};

/// Hands out the ids of reserved ranges, each once.
#[derive(Debug)]
pub(super) struct IdSource {
    per_range: u32,
    /// The range in use, and the next sequence number of it.
    current: Mutex<Option<(IdRange, u64)>>,
}

impl IdSource {
    pub(super) fn new(per_range: u32) -> Self {
        Self { per_range: per_range.max(1), current: Mutex::new(None) }
    }

    pub(super) async fn forget(&self) {
        *self.current.lock().await = None;
    }

    /// The next id. Waits for the database only when a range is used up.
    pub(super) async fn next(&self, ledger: &dyn Ledger) -> Result<ChunkId, LedgerError> {
        ledger.check_alive()?;
        let mut current = self.current.lock().await;
        let (range, seq) = match current.take() {
            Some((range, seq)) if seq <= range.last => (range, seq),
            _ => {
                let range = ledger.reserve(self.per_range).await?;
                crash::point("ids.reserved");
                (range, range.first)
            }
        };
        *current = Some((range, seq + 1));
        Ok(ChunkId { seq, nonce: range.nonce })
    }
}
