//! Healing: shards that were noted as missing or bad are written anew from the others.

use std::collections::BTreeSet;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::{StreamExt, TryStreamExt, stream};

use super::shards::Mover;
use super::{Job, JobError};
use crate::chunks::{Finding, Source};
use crate::layout::{ChunkId, SHARDS, ShardSet, StoredChunk};
use crate::metadata::{ChunkState, HealTask, JobState, Lease, Progress};
use crate::objects::Store;

/// The job's name: of its lease, and of its row.
pub const HEAL: &str = "heal";

/// Chunks looked at in one round: few enough for the lease to last.
const CHUNKS_AT_ONCE: usize = 16;
/// Shards that are asked for in one round.
const TASKS_AT_ONCE: u32 = 128;
/// The pause after which a shard that could not be healed is tried again; it doubles with each attempt ...
const PAUSE: Duration = Duration::from_secs(30);
/// ... up to this.
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);

/// Heals what is in the queue.
#[derive(Debug)]
pub struct Heal {
    store: Store,
    mover: Mover,
}

/// What became of a chunk's shards.
#[derive(Debug, Default, Clone, Copy)]
struct Healed {
    settled: u64,
    bytes: u64,
    failed: u64,
}

impl Heal {
    /// The job over `store`.
    pub fn new(store: Store, mover: Mover) -> Self {
        Self { store, mover }
    }

    /// Heals all shards of one chunk that need it, in one pass.
    async fn chunk(&self, id: ChunkId) -> Result<Healed, JobError> {
        let db = self.store.metadata();
        let now = self.store.clock().now();
        let Some(row) = db.chunk(id).await? else { return Ok(Healed::default()) };
        let mut tasks = db.heal_tasks_of(id).await?;
        match row.state {
            ChunkState::Dead => return Ok(Healed::default()),
            ChunkState::Open => {
                // It will be sealed; until then the file's end moves.
                for task in &tasks {
                    db.heal_later(task, None, now + PAUSE.as_millis() as i64).await?;
                }
                return Ok(Healed::default());
            }
            ChunkState::Sealed | ChunkState::Damaged => {}
        }
        let chunk = row.stored;
        let mut healed = Healed::default();
        let bad = self.find_bad(&chunk, &tasks, &mut healed).await?;
        let unknown: Vec<_> = bad.iter().filter(|&s| tasks.iter().all(|t| usize::from(t.shard) != s)).collect();
        if !unknown.is_empty() {
            let found: Vec<_> = unknown.iter().map(|&shard| (id, shard as u8)).collect();
            db.queue_heals(&found, "found while others of its chunk were healed", now).await?;
            tasks = db.heal_tasks_of(id).await?;
        }
        for task in tasks.iter().filter(|task| !bad.contains(usize::from(task.shard))) {
            db.heal_done(task).await?;
            healed.settled += 1;
        }
        let homes = self.store.chunks().homes(&chunk, bad);
        let wanted: Vec<_> = (0..SHARDS).filter_map(|shard| Some((shard, homes[shard]?))).collect();
        let homeless = bad.iter().filter(|&shard| homes[shard].is_none());
        let mut failed: Vec<_> = homeless.map(|shard| (shard, "no volume can take it".to_owned())).collect();
        let mut damaged = false;
        if !wanted.is_empty() {
            let moved = self.mover.put(&chunk, &wanted, Source::Others).await?;
            healed.bytes += moved.bytes;
            healed.settled += moved.moved.len() as u64;
            damaged = moved.damaged;
            failed.extend(moved.failed);
            if !moved.moved.is_empty() {
                tracing::info!(chunk = %id, shards = moved.moved.len(), "healed");
            }
        }
        if damaged {
            tracing::error!(chunk = %id, "a chunk has fewer than six good shards: its data cannot be read");
        }
        if damaged != (row.state == ChunkState::Damaged) && (damaged || failed.is_empty()) {
            db.set_damaged(id, damaged).await?;
        }
        for (shard, reason) in failed {
            tracing::warn!(chunk = %id, shard, reason, "a shard could not be healed");
            if let Some(task) = tasks.iter().find(|task| usize::from(task.shard) == shard) {
                let pause = PAUSE.saturating_mul(1 << task.attempts.min(20)).min(LONGEST_PAUSE);
                db.heal_later(task, Some(&reason), now + pause.as_millis() as i64).await?;
                healed.failed += 1;
            }
        }
        Ok(healed)
    }

    /// Which shards are in need of healing. If all that were noted are plainly not there, no more is looked at; if one of them
    /// looks well, all of the chunk is.
    async fn find_bad(
        &self,
        chunk: &StoredChunk,
        tasks: &[HealTask],
        healed: &mut Healed,
    ) -> Result<ShardSet, JobError> {
        let mut bad = chunk.missing;
        let mut looks_well = false;
        for task in tasks {
            let shard = usize::from(task.shard);
            match self.store.chunks().glance(chunk, shard).await {
                Finding::Good => looks_well = true,
                Finding::Bad(_) | Finding::Away(_) => bad.insert(shard),
            }
        }
        if looks_well {
            let examined = self.store.chunks().examine(chunk, self.mover.pace()).await?;
            healed.bytes += examined.bytes;
            examined.bad().iter().for_each(|shard| bad.insert(shard));
            if examined.lost.is_some() {
                // What is noted stays so: healing will say what is the matter.
                tasks.iter().for_each(|task| bad.insert(usize::from(task.shard)));
            }
        }
        Ok(bad)
    }
}

#[async_trait]
impl Job for Heal {
    fn name(&self) -> &'static str {
        HEAL
    }

    async fn round(&self, lease: &Lease) -> Result<bool, JobError> {
        let db = self.store.metadata();
        let tasks = db.heal_tasks(self.store.clock().now(), TASKS_AT_ONCE).await?;
        let chunks: BTreeSet<ChunkId> = tasks.iter().map(|task| task.chunk).collect();
        if !chunks.is_empty() {
            db.request_job(HEAL).await?;
        }
        match db.job(HEAL).await? {
            Some(job) if job.state == JobState::Waiting => {
                db.start_job(lease, HEAL, db.heal_queue_len().await?).await?;
            }
            Some(job) if job.state == JobState::Running => {}
            _ => return Ok(false),
        }
        let outcomes: Vec<Healed> = stream::iter(chunks.into_iter().take(CHUNKS_AT_ONCE))
            .map(|chunk| self.chunk(chunk))
            .buffer_unordered(self.mover.at_once())
            .try_collect()
            .await?;
        let sum = outcomes.iter().fold(Healed::default(), |sum, one| Healed {
            settled: sum.settled + one.settled,
            bytes: sum.bytes + one.bytes,
            failed: sum.failed + one.failed,
        });
        let progress = Progress { done: sum.settled, bytes: sum.bytes, found: sum.failed, ..Progress::default() };
        db.advance_job(lease, HEAL, &progress).await?;
        if !tasks.is_empty() {
            return Ok(true);
        }
        match db.heal_queue_failed().await? {
            // Of chunks that are still written to: they are ended before long, and healed then.
            0 if db.heal_queue_len().await? > 0 => {}
            0 => db.finish_job(lease, HEAL, JobState::Done, "").await?,
            left => {
                let message = format!("{left} shards could not be healed; they are tried again");
                db.finish_job(lease, HEAL, JobState::Failed, &message).await?;
            }
        }
        Ok(false)
    }
}
