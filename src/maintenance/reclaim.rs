//! Garbage collection: references that were dropped are folded into the chunks' accounts, and the files of chunks in which
//! nothing lives go once their grace has passed.

use std::time::{Duration, Instant};

use async_trait::async_trait;

use super::{Job, JobError};
use crate::crash;
use crate::layout::{ShardName, VolumeSlot};
use crate::metadata::Lease;
use crate::objects::Store;

/// Rows of `released` folded in one transaction.
const FOLDED_AT_ONCE: u32 = 200;
/// Chunks whose files are removed in one round.
const REMOVED_AT_ONCE: u32 = 100;
/// Files that were waiting for an absent volume, removed in one round.
const PENDING_AT_ONCE: u32 = 500;

/// Ids of commits forgotten in one round.
const PRUNED_AT_ONCE: u32 = 5000;
/// How long the id of a commit is kept: far longer than anybody tries to settle an unclear one.
const COMMITS_KEPT: Duration = Duration::from_secs(24 * 3600);

/// Folds releases, removes the files of dead chunks, and drains what waits for volumes that came back.
#[derive(Debug)]
pub struct Reclaim {
    store: Store,
    grace: Duration,
    gated: bool,
}

impl Reclaim {
    /// The job over `store`; files stay for `grace` after their chunk died, and as long as a read may be at them.
    pub fn new(store: Store, grace: Duration) -> Self {
        Self { store, grace, gated: false }
    }

    /// The same, but files also stay as long as the newest snapshot of the metadata may need them.
    pub fn behind_snapshots(self) -> Self {
        Self { gated: true, ..self }
    }

    /// Removes files first and forgets the chunk then: a crash between leaves a dead chunk whose files are removed once more. The
    /// directories are not synced: after a power failure a file may be back whose chunk is forgotten. Nothing refers to it, so that
    /// it costs space and no more, until a scrub moves it to quarantine; nine syncs a chunk would cost every deletion.
    async fn remove_dead(&self, lease: &Lease) -> Result<bool, JobError> {
        let metadata = self.store.metadata();
        let reads = self.store.chunks().reads();
        let now = metadata.now().await?;
        reads.set_clock(now, Instant::now());
        let dead = metadata.dead_chunks(lease, reads.since(), self.grace, self.gated, REMOVED_AT_ONCE).await?;
        for chunk in &dead {
            crash::point("reclaim.chosen");
            let absent = self.store.chunks().remove(chunk.id, &chunk.placement).await;
            crash::point("reclaim.removed");
            metadata.forget_chunk(lease, chunk, &absent).await?;
            crash::point("reclaim.forgotten");
        }
        Ok(dead.len() >= REMOVED_AT_ONCE as usize)
    }

    /// Removes what a volume missed while it was away; answers whether it is worth trying at once again.
    async fn drain(&self, volume: VolumeSlot) -> Result<bool, JobError> {
        let waiting = self.store.metadata().pending_deletes(volume, PENDING_AT_ONCE).await?;
        let mut gone: Vec<ShardName> = Vec::with_capacity(waiting.len());
        for shard in &waiting {
            let Some(member) = self.store.chunks().volumes().get(volume) else { break };
            // The list may be one that others have worked off since: a name on it can be a shard's again.
            if self.store.chunks().check_alive().is_err() {
                break;
            }
            match member.remove(*shard).await {
                Ok(()) => gone.push(*shard),
                Err(error) => {
                    tracing::debug!(%error, "removal still waits for the volume");
                    break;
                }
            }
        }
        self.store.metadata().deleted(volume, &gone).await?;
        Ok(gone.len() >= PENDING_AT_ONCE as usize)
    }
}

#[async_trait]
impl Job for Reclaim {
    fn name(&self) -> &'static str {
        "reclaim"
    }

    async fn round(&self, lease: &Lease) -> Result<bool, JobError> {
        let folded = self.store.metadata().fold_released(lease, FOLDED_AT_ONCE).await?;
        if folded.chunks > 0 {
            crash::point("reclaim.folded");
            // A read that began in the millisecond of a chunk's death counts as one that may have seen it.
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let mut more = folded.rows >= u64::from(FOLDED_AT_ONCE);
        let pruned = self.store.metadata().prune_commits(lease, COMMITS_KEPT, PRUNED_AT_ONCE).await?;
        more |= pruned >= u64::from(PRUNED_AT_ONCE);
        more |= self.remove_dead(lease).await?;
        let volumes: Vec<VolumeSlot> = self.store.chunks().volumes().members().keys().copied().collect();
        for volume in volumes {
            more |= self.drain(volume).await?;
        }
        Ok(more)
    }
}
