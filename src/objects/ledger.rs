//! What the chunk store needs of the database, given by the metadata of one instance.

use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;

use crate::chunks::{Ledger, LedgerError};
use crate::clock::{Clock, random_bytes};
use crate::layout::{ChunkId, IdRange, Placement};
use crate::metadata::{InstanceId, Metadata};

/// Notes of bad shards on their way to the database at once, at most; what comes on top is noted when it is read again.
const NOTES: usize = 64;

/// Whether this instance may still act, by its own monotonic clock, counted from before its last heartbeat was sent.
#[derive(Debug, Clone)]
pub struct Lifeline {
    last: Arc<Mutex<Instant>>,
    allowance: Duration,
}

impl Lifeline {
    /// A lifeline that has just been renewed and lasts for `allowance`.
    pub fn new(allowance: Duration) -> Self {
        Self { last: Arc::new(Mutex::new(Instant::now())), allowance }
    }

    /// A heartbeat that was sent at `sent` was accepted.
    pub fn renew(&self, sent: Instant) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = sent;
    }

    /// Whether the instance may act.
    pub fn holds(&self) -> bool {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).elapsed() < self.allowance
    }
}

/// [`Ledger`] over [`Metadata`].
#[derive(Debug)]
pub struct MetadataLedger {
    metadata: Metadata,
    instance: Arc<AtomicI64>,
    lifeline: Lifeline,
    clock: Clock,
    notes: Arc<AtomicUsize>,
}

impl MetadataLedger {
    /// The ledger of the instance whose number is in `instance`.
    pub fn new(metadata: Metadata, instance: Arc<AtomicI64>, lifeline: Lifeline, clock: Clock) -> Self {
        Self { metadata, instance, lifeline, clock, notes: Arc::default() }
    }
}

#[async_trait]
impl Ledger for MetadataLedger {
    async fn reserve(&self, count: u32) -> Result<IdRange, LedgerError> {
        let nonce = u64::from_le_bytes(random_bytes());
        let instance = InstanceId(self.instance.load(Ordering::SeqCst));
        self.metadata.reserve_range(instance, count, nonce).await.map_err(|e| LedgerError(e.to_string()))
    }

    fn check_alive(&self) -> Result<(), LedgerError> {
        if self.lifeline.holds() {
            Ok(())
        } else {
            Err(LedgerError("this instance could not renew its heartbeat in time".into()))
        }
    }

    async fn placement(&self, chunk: ChunkId) -> Result<Option<Placement>, LedgerError> {
        self.metadata.placement(chunk).await.map_err(|e| LedgerError(e.to_string()))
    }

    fn note_bad_shard(&self, chunk: ChunkId, shard: u8, reason: &str) {
        let notes = Arc::clone(&self.notes);
        if notes.fetch_add(1, Ordering::Relaxed) >= NOTES {
            notes.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        let (metadata, reason, now) = (self.metadata.clone(), reason.to_owned(), self.clock.now());
        tokio::spawn(async move {
            if let Err(error) = metadata.queue_heal(chunk, shard, &reason, now).await {
                tracing::warn!(%chunk, shard, %error, "a bad shard could not be noted for healing");
            }
            notes.fetch_sub(1, Ordering::Relaxed);
        });
    }
}
