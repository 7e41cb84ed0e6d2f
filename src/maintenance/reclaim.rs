//! Garbage collection: references that were dropped are folded into the chunks' accounts, and the files of chunks in which
//! nothing lives go once their grace has passed.

use std::time::Duration;

use async_trait::async_trait;

use super::{Job, JobError};
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
}

impl Reclaim {
    /// The job over `store`; files stay for `grace` after their chunk died.
    pub fn new(store: Store, grace: Duration) -> Self {
        Self { store, grace }
    }

    async fn remove_dead(&self, lease: &Lease, now: i64) -> Result<bool, JobError> {
        let metadata = self.store.metadata();
        let died_before = now.saturating_sub(self.grace.as_millis() as i64);
        let dead = metadata.dead_chunks(died_before, REMOVED_AT_ONCE).await?;
        for chunk in &dead {
            let absent = self.store.chunks().remove(chunk.id, &chunk.placement).await;
            metadata.forget_chunk(lease, chunk, &absent).await?;
        }
        Ok(dead.len() >= REMOVED_AT_ONCE as usize)
    }

    /// Removes what a volume missed while it was away; answers whether it is worth trying at once again.
    async fn drain(&self, volume: VolumeSlot) -> Result<bool, JobError> {
        let waiting = self.store.metadata().pending_deletes(volume, PENDING_AT_ONCE).await?;
        let mut gone: Vec<ShardName> = Vec::with_capacity(waiting.len());
        for shard in &waiting {
            let Some(member) = self.store.chunks().volumes().get(volume) else { break };
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
        let now = self.store.clock().now();
        let folded = self.store.metadata().fold_released(lease, now, FOLDED_AT_ONCE).await?;
        let mut more = folded.rows >= u64::from(FOLDED_AT_ONCE);
        let pruned = self.store.metadata().prune_commits(lease, COMMITS_KEPT, PRUNED_AT_ONCE).await?;
        more |= pruned >= u64::from(PRUNED_AT_ONCE);
        more |= self.remove_dead(lease, now).await?;
        let volumes: Vec<VolumeSlot> = self.store.chunks().volumes().members().keys().copied().collect();
        for volume in volumes {
            more |= self.drain(volume).await?;
        }
        Ok(more)
    }
}
