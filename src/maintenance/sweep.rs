//! Sweeping: what the writes of ended instances left behind, without listing a directory.
//!
//! An instance reserves ranges of chunk ids before it uses them. Once a range is closed in SQL nothing of it can be committed any
//! more, so that an id without a row then has none for ever, and its files, asked for by name, are moved to `quarantine/`. A
//! volume that is not there is swept when it is. After all volumes were, the range waits for a day, is swept once more (for
//! what a stuck disk did late), and goes. Quarantine is emptied of what has been there for days.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;

use super::{Job, JobError, renew};
use crate::crash;
use crate::layout::{ChunkId, IdRange, Placement, SHARDS, ShardName, VolumeSlot};
use crate::metadata::{ClosedRange, Lease, Retired};
use crate::objects::Store;
use crate::volumes::Member;

/// Ids whose files are asked for in one hop to a volume.
const IDS_AT_ONCE: u64 = 64;
/// Generations asked for: the first, and what healers that crashed may have left of chunks that are gone.
const GENERATIONS: u32 = 3;
/// Ranges swept in one round: few enough for the lease to last.
const RANGES_AT_ONCE: u32 = 4;
/// Files purged from a volume in one round.
const PURGED_AT_ONCE: usize = 500;

/// How what crashed writes left behind is swept away.
#[derive(Debug, Clone)]
pub struct SweepConfig {
    /// Chunks without a row that one range may hold: more cannot have been under way when its instance ended, so that the database
    /// must be older than the volumes. The range then is left alone, with an alarm.
    pub limit: usize,
    /// How long after the first sweep of a range the second is.
    pub again: Duration,
    /// How long files stay in quarantine.
    pub quarantine: Duration,
}

impl Default for SweepConfig {
    fn default() -> Self {
        Self { limit: 512, again: Duration::from_secs(24 * 3600), quarantine: Duration::from_secs(7 * 24 * 3600) }
    }
}

/// Moves the files of closed ranges that no row names to quarantine, and purges that.
#[derive(Debug)]
pub struct Sweep {
    store: Store,
    config: SweepConfig,
    /// The last range looked at: one that cannot be swept does not keep those after it waiting.
    after: Mutex<u64>,
}

impl Sweep {
    /// The job over `store`.
    pub fn new(store: Store, config: SweepConfig) -> Self {
        Self { store, config, after: Mutex::new(0) }
    }

    async fn sweep(&self, lease: &Lease, closed: &ClosedRange) -> Result<(), JobError> {
        let metadata = self.store.metadata();
        let range = closed.range;
        let volumes = self.store.chunks().volumes();
        let members = volumes.members();
        let waiting: Vec<Arc<Member>> =
            members.values().filter(|member| !closed.done.contains(&member.slot())).cloned().collect();
        let found = self.find(lease, range, &waiting).await?;
        if found.chunks.len() > self.config.limit {
            let why = format!(
                "more than {} chunks of its ids have files and no row, which is more than can have been under way: the database \
                 may be older than the volumes",
                self.config.limit
            );
            tracing::error!(first = range.first, last = range.last, why, "an id range is not swept");
            return Ok(metadata.raise_alarm(lease, range.first, &why).await?);
        }
        crash::point("sweep.found");
        let moves = found.files.iter().map(|(slot, files)| async move {
            let member = volumes.get(*slot)?;
            for &file in files {
                match member.quarantine(file).await {
                    Ok(()) | Err(crate::volumes::VolumeError::Absent { .. }) => {}
                    Err(error) => {
                        tracing::warn!(%error, "a file without a row could not be moved to quarantine");
                        return None;
                    }
                }
            }
            Some(*slot)
        });
        let swept: Vec<VolumeSlot> = join_all(moves).await.into_iter().flatten().collect();
        crash::point("sweep.moved");
        let files: usize = found.files.values().map(Vec::len).sum();
        if files > 0 {
            let chunks = found.chunks.len();
            tracing::info!(first = range.first, chunks, files, "files of writes that were cut are in quarantine");
        }
        let retired = metadata.range_swept(lease, range.first, &swept).await?;
        crash::point("sweep.noted");
        match retired {
            Retired::Waiting => {
                tracing::debug!(first = range.first, "an id range waits for volumes that are not there")
            }
            Retired::Once => tracing::debug!(first = range.first, "an id range was swept"),
            Retired::Gone => tracing::debug!(first = range.first, "an id range was swept twice and is gone"),
        }
        Ok(())
    }

    /// The files of a range's ids that no row names, on the volumes that answer; ends early when there are too many.
    async fn find(&self, lease: &Lease, range: IdRange, volumes: &[Arc<Member>]) -> Result<Found, JobError> {
        let mut found = Found { files: BTreeMap::new(), chunks: BTreeSet::new() };
        found.files.extend(volumes.iter().map(|member| (member.slot(), Vec::new())));
        let mut first = range.first;
        while first <= range.last {
            let page = IdRange { first, last: range.last.min(first + (IDS_AT_ONCE - 1)), nonce: range.nonce };
            let known: BTreeMap<ChunkId, Placement> =
                self.store.metadata().chunks_of_range(page).await?.into_iter().collect();
            let looks = volumes.iter().filter(|member| found.files.contains_key(&member.slot())).map(|member| {
                let names = unnamed(page, &known, member.slot());
                async move { (member.slot(), member.present(names).await) }
            });
            for (slot, present) in join_all(looks).await {
                match present {
                    Ok(present) => {
                        let files = present.into_iter().map(|(file, _)| file);
                        let Some(kept) = found.files.get_mut(&slot) else { continue };
                        for file in files {
                            if !known.contains_key(&file.chunk) {
                                found.chunks.insert(file.chunk);
                            }
                            kept.push(file);
                        }
                    }
                    Err(error) => {
                        tracing::debug!(%error, "a volume is swept later");
                        found.files.remove(&slot);
                    }
                }
            }
            if found.chunks.len() > self.config.limit {
                break;
            }
            first = page.last + 1;
            // Names that are not there are looked for on the disk itself, which may take its time.
            renew(self.store.metadata(), lease).await?;
        }
        Ok(found)
    }

    async fn purge(&self) -> bool {
        let before = self.store.clock().now().saturating_sub(self.config.quarantine.as_millis() as i64);
        let members = self.store.chunks().volumes().members();
        let purges = members.values().map(|member| member.purge(before, PURGED_AT_ONCE));
        let mut more = false;
        for purged in join_all(purges).await {
            match purged {
                Ok(files) => more |= files >= PURGED_AT_ONCE,
                Err(error) => tracing::debug!(%error, "quarantine is purged later"),
            }
        }
        more
    }
}

struct Found {
    /// By volume; one that did not answer is not in it.
    files: BTreeMap<VolumeSlot, Vec<ShardName>>,
    /// Of ids without a row.
    chunks: BTreeSet<ChunkId>,
}

/// The names that files of these ids may have on a volume without a row that names them there. Of a chunk that has a row these are
/// only the first generation's: what a placement chosen anew left behind. Later ones may be a healer's, who is at work.
fn unnamed(ids: IdRange, known: &BTreeMap<ChunkId, Placement>, volume: VolumeSlot) -> Vec<ShardName> {
    let mut names = Vec::new();
    for seq in ids.first..=ids.last {
        let chunk = ChunkId { seq, nonce: ids.nonce };
        let placement = known.get(&chunk);
        for shard in 0..SHARDS {
            let generations = if placement.is_some() { 1 } else { GENERATIONS };
            for generation in 0..generations {
                let name = ShardName { chunk, shard: shard as u8, generation };
                if placement.and_then(|placement| placement.file(chunk, shard)) != Some((volume, name)) {
                    names.push(name);
                }
            }
        }
    }
    names
}

#[async_trait]
impl Job for Sweep {
    fn name(&self) -> &'static str {
        "sweep"
    }

    async fn round(&self, lease: &Lease) -> Result<bool, JobError> {
        let after = *self.after.lock().unwrap_or_else(PoisonError::into_inner);
        let ranges = self.store.metadata().ranges_to_sweep(self.config.again, after, RANGES_AT_ONCE).await?;
        for range in &ranges {
            self.sweep(lease, range).await?;
        }
        let more = ranges.len() >= RANGES_AT_ONCE as usize;
        let last = ranges.last().map_or(0, |range| range.range.first);
        *self.after.lock().unwrap_or_else(PoisonError::into_inner) = if more { last } else { 0 };
        self.store.metadata().forget_instances(lease).await?;
        Ok(self.purge().await || more)
    }
}
