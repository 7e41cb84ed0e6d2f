//! Chunk ids, reserved in the database before they are used: the write intent, one row for a thousand chunks. The first ranges
//! of an instance are smaller: whatever was reserved is looked for, name by name, when the instance has ended.

use tokio::sync::Mutex;

use super::{Ledger, LedgerError};
use crate::crash;
use crate::layout::{ChunkId, IdRange};

/// Ids of an instance's first range at most; each further one is twice as long as the one before, up to the full length.
const FIRST_RANGE: u32 = 32;

/// Hands out the ids of reserved ranges, each once.
#[derive(Debug)]
pub(super) struct IdSource {
    per_range: u32,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// The range in use, and the next sequence number of it.
    current: Option<(IdRange, u64)>,
    /// How many ids the next range will have.
    count: u32,
}

impl IdSource {
    pub(super) fn new(per_range: u32) -> Self {
        let per_range = per_range.max(1);
        Self { per_range, state: Mutex::new(State { current: None, count: FIRST_RANGE.min(per_range) }) }
    }

    pub(super) async fn forget(&self) {
        self.state.lock().await.current = None;
    }

    /// The next id. Waits for the database only when a range is used up.
    pub(super) async fn next(&self, ledger: &dyn Ledger) -> Result<ChunkId, LedgerError> {
        ledger.check_alive()?;
        let mut state = self.state.lock().await;
        let (range, seq) = match state.current.take() {
            Some((range, seq)) if seq <= range.last => (range, seq),
            _ => {
                let range = ledger.reserve(state.count).await?;
                state.count = state.count.saturating_mul(2).min(self.per_range);
                crash::point("ids.reserved");
                (range, range.first)
            }
        };
        state.current = Some((range, seq + 1));
        Ok(ChunkId { seq, nonce: range.nonce })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::Mutex;

    use async_trait::async_trait;

    use super::*;
    use crate::layout::Placement;

    /// The lengths of the ranges that were reserved.
    #[derive(Debug, Default)]
    struct Lengths(Mutex<Vec<u32>>);

    #[async_trait]
    impl Ledger for Lengths {
        async fn reserve(&self, count: u32) -> Result<IdRange, LedgerError> {
            let mut lengths = self.0.lock().unwrap();
            let first = 1 + lengths.iter().copied().map(u64::from).sum::<u64>();
            lengths.push(count);
            Ok(IdRange { first, last: first + u64::from(count) - 1, nonce: 7 })
        }
        fn check_alive(&self) -> Result<(), LedgerError> {
            Ok(())
        }
        async fn placement(&self, _: ChunkId) -> Result<Option<Placement>, LedgerError> {
            Ok(None)
        }
        fn note_bad_shard(&self, _: ChunkId, _: u8, _: &str) {}
    }

    #[tokio::test]
    async fn ranges_grow_and_no_id_is_handed_out_twice() {
        let (ids, ledger) = (IdSource::new(100), Lengths::default());
        for seq in 1..=32 + 64 + 100 + 1 {
            assert_eq!(ids.next(&ledger).await.unwrap(), ChunkId { seq, nonce: 7 });
        }
        assert_eq!(*ledger.0.lock().unwrap(), [32, 64, 100, 100]);
        ids.forget().await;
        assert_eq!(ids.next(&ledger).await.unwrap().seq, 297);
    }
}
