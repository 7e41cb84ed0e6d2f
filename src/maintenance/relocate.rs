//! Shards that go elsewhere because an operator says so: draining a volume, refilling one whose disk was replaced, rebalancing.
//!
//! Which of these there is to do is in `jobs`; how far each is, in its row. Every step is a shard that was written, verified and
//! switched, so that stopping anywhere costs what was half done, and doing a page again does nothing.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::{StreamExt, TryStreamExt, stream};

use super::pass::{self, Position};
use super::roster::Roster;
use super::shards::Mover;
use super::{Job, JobError};
use crate::chunks::Source;
use crate::layout::{ShardSet, StoredChunk, VolumeSlot};
use crate::metadata::{ChunkRow, ChunkState, JobState, Lease, Progress, VolumeRow};
use crate::objects::Store;

/// The row of the job that puts all shards where the ring wants them.
pub const REBALANCE: &str = "rebalance";

/// The row of the job that empties a volume.
pub fn drain_job(volume: &str) -> String {
    format!("drain:{volume}")
}

/// The row of the job that refills a volume whose disk was replaced.
pub fn refill_job(volume: &str) -> String {
    format!("refill:{volume}")
}

/// Drains, refills and rebalances, as asked for.
#[derive(Debug)]
pub struct Relocate {
    store: Store,
    mover: Mover,
    roster: Arc<Roster>,
}

/// What became of a page.
#[derive(Debug, Default, Clone, Copy)]
struct Page {
    moved: u64,
    failed: u64,
    bytes: u64,
}

impl Relocate {
    /// The job over `store`.
    pub fn new(store: Store, mover: Mover, roster: Arc<Roster>) -> Self {
        Self { store, mover, roster }
    }

    /// Moves shards of a page's chunks to where `wanted` says.
    async fn put(
        &self,
        rows: Vec<ChunkRow>,
        wanted: impl Fn(&StoredChunk) -> (Vec<(usize, VolumeSlot)>, u64),
    ) -> Result<Page, JobError> {
        let moves = rows.into_iter().filter(|row| row.state != ChunkState::Open).map(|row| {
            let (moves, homeless) = wanted(&row.stored);
            async move {
                let mut page = Page { failed: homeless, ..Page::default() };
                if !moves.is_empty() {
                    let moved = self.mover.put(&row.stored, &moves, Source::Itself).await?;
                    page.moved += moved.moved.len() as u64;
                    page.bytes += moved.bytes;
                    for (shard, reason) in moved.failed {
                        tracing::warn!(chunk = %row.stored.id, shard, reason, "a shard could not be moved");
                        page.failed += 1;
                    }
                }
                Ok::<Page, JobError>(page)
            }
        });
        let pages: Vec<Page> = stream::iter(moves).buffer_unordered(self.mover.at_once()).try_collect().await?;
        Ok(pages.iter().fold(Page::default(), |sum, one| Page {
            moved: sum.moved + one.moved,
            failed: sum.failed + one.failed,
            bytes: sum.bytes + one.bytes,
        }))
    }

    /// A page of a drain; answers whether there is more to do at once.
    async fn drain(&self, lease: &Lease, volume: &VolumeRow) -> Result<bool, JobError> {
        let (db, name, slot) = (self.store.metadata(), drain_job(&volume.spec.id), volume.slot);
        if volume.draining {
            self.drain_again(&name, slot).await?;
        }
        let Some(cursor) = pass::resume(db, lease, &name, db.chunks_on(slot)).await? else { return Ok(false) };
        if !volume.draining {
            db.finish_job(lease, &name, JobState::Failed, "called off").await?;
            return Ok(false);
        }
        let mut position: Position = cursor.parse().unwrap_or_default();
        let rows = pass::page(db, &position, Some(slot)).await?;
        let Some(last) = rows.last().map(|row| row.stored.id) else {
            let left = db.chunks_on(slot).await?;
            return self.drained(lease, &name, left, position).await;
        };
        let done = rows.len() as u64;
        let page = self.put(rows, |chunk| {
            let mut leaving = ShardSet::default();
            for (shard, _) in chunk.placement.0.iter().enumerate().filter(|(_, p)| p.is_some_and(|p| p.volume == slot))
            {
                leaving.insert(shard);
            }
            let homes = self.store.chunks().homes(chunk, leaving);
            let moves: Vec<_> = leaving.iter().filter_map(|shard| Some((shard, homes[shard]?))).collect();
            let homeless = (leaving.len() - moves.len()) as u64;
            (moves, homeless)
        });
        let page = page.await?;
        position.after = Some(last);
        position.failed += page.failed;
        let progress = Progress {
            cursor: position.to_string(),
            done: done.saturating_sub(page.failed),
            bytes: page.bytes,
            found: page.failed,
            message: String::new(),
        };
        db.advance_job(lease, &name, &progress).await?;
        Ok(true)
    }

    /// Asks for a drain again that has ended, if there is anything on the volume: it is to be emptied until somebody says otherwise.
    async fn drain_again(&self, name: &str, slot: VolumeSlot) -> Result<(), JobError> {
        let db = self.store.metadata();
        let Some(job) = db.job(name).await? else { return Ok(()) };
        let again = match job.state {
            JobState::Waiting | JobState::Running => false,
            // A write that had chosen the volume before, here or in another instance, has been committed since.
            JobState::Done => true,
            // Other volumes may do well by now.
            JobState::Failed => {
                let pause = self.mover.again().as_millis() as i64;
                db.now().await?.saturating_sub(job.updated) >= pause
            }
        };
        if again && db.chunks_on(slot).await? > 0 {
            db.request_job(name).await?;
        }
        Ok(())
    }

    /// A drain has looked at all chunks.
    async fn drained(&self, lease: &Lease, name: &str, left: u64, position: Position) -> Result<bool, JobError> {
        let db = self.store.metadata();
        if left == 0 {
            db.finish_job(lease, name, JobState::Done, "").await?;
        } else if position.failed > 0 {
            let message = format!("{left} shards are still on it: they could be moved to no other volume");
            tracing::warn!(job = name, left, "a volume could not be emptied");
            db.finish_job(lease, name, JobState::Failed, &message).await?;
        } else {
            // Chunks that are still written to, or were written while the pass went on.
            let message = format!("{left} shards are still on it");
            let progress = Progress { cursor: Position::default().to_string(), message, ..Progress::default() };
            db.advance_job(lease, name, &progress).await?;
        }
        Ok(false)
    }

    /// A page of noting the shards that were on a disk that is gone; answers whether there is more to do at once.
    async fn refill(&self, lease: &Lease, volume: &VolumeRow) -> Result<bool, JobError> {
        let (db, name, slot) = (self.store.metadata(), refill_job(&volume.spec.id), volume.slot);
        if !volume.formatted {
            return Ok(false);
        }
        let Some(cursor) = pass::resume(db, lease, &name, db.chunks_on(slot)).await? else { return Ok(false) };
        let mut position: Position = cursor.parse().unwrap_or_default();
        let rows = pass::page(db, &position, Some(slot)).await?;
        let Some(last) = rows.last().map(|row| row.stored.id) else {
            db.finish_job(lease, &name, JobState::Done, "all its shards are noted for healing").await?;
            return Ok(false);
        };
        let shards: Vec<_> = rows
            .iter()
            .flat_map(|row| {
                let places = row.stored.placement.0.into_iter().enumerate();
                let lost = places.filter(|(_, place)| place.is_some_and(|place| place.volume == slot));
                lost.map(|(shard, _)| (row.stored.id, shard as u8))
            })
            .collect();
        db.queue_heals(&shards, "its volume's disk was replaced", self.store.clock().now()).await?;
        position.after = Some(last);
        let progress = Progress { cursor: position.to_string(), done: shards.len() as u64, ..Progress::default() };
        db.advance_job(lease, &name, &progress).await?;
        Ok(true)
    }

    /// A page of a rebalance; answers whether there is more to do at once.
    async fn rebalance(&self, lease: &Lease) -> Result<bool, JobError> {
        let db = self.store.metadata();
        let total = async {
            let counts = db.chunk_counts().await?;
            Ok(counts.open + counts.sealed + counts.damaged)
        };
        let Some(cursor) = pass::resume(db, lease, REBALANCE, total).await? else { return Ok(false) };
        // After the job was found: a volume that was added before it was asked for is one to fill.
        self.roster.refresh().await?;
        let mut position: Position = cursor.parse().unwrap_or_default();
        let rows = pass::page(db, &position, None).await?;
        let Some(last) = rows.last().map(|row| row.stored.id) else {
            let (state, message) = match position.failed {
                0 => (JobState::Done, String::new()),
                failed => (JobState::Failed, format!("{failed} shards could not be moved")),
            };
            db.finish_job(lease, REBALANCE, state, &message).await?;
            return Ok(false);
        };
        let done = rows.len() as u64;
        let chunks = self.store.chunks();
        // By the volumes as they are at this page.
        let ring = chunks.ring_of_staying();
        let misplaced = |chunk: &StoredChunk| {
            let (moves, stuck) = chunks.misplaced(chunk, &ring);
            (moves, stuck as u64)
        };
        let page = self.put(rows, misplaced).await?;
        position.after = Some(last);
        position.failed += page.failed;
        let progress = Progress {
            cursor: position.to_string(),
            done,
            bytes: page.bytes,
            found: page.moved,
            message: String::new(),
        };
        db.advance_job(lease, REBALANCE, &progress).await?;
        Ok(true)
    }
}

#[async_trait]
impl Job for Relocate {
    fn name(&self) -> &'static str {
        "relocate"
    }

    async fn round(&self, lease: &Lease) -> Result<bool, JobError> {
        // By what is so now: a volume that was just added is one to fill, one that drains takes nothing.
        self.roster.refresh().await?;
        let mut more = false;
        for volume in self.store.metadata().volumes().await? {
            more |= self.refill(lease, &volume).await?;
            more |= self.drain(lease, &volume).await?;
        }
        more |= self.rebalance(lease).await?;
        Ok(more)
    }
}
