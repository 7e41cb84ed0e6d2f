//! Scrubbing: every byte of every shard is read and verified, and every file is known.
//!
//! First all chunks, by id: what is missing or wrong is noted for healing. Then all volumes, directory by directory: a file of which no row
//! knows is moved to quarantine, where it is kept; after a restore of an older database it may be good data.

use std::time::Duration;

use async_trait::async_trait;
use futures_util::{StreamExt, TryStreamExt, stream};

use super::pass::{self, Position};
use super::{Job, JobError};
use crate::chunks::{Examination, Finding, Pace};
use crate::layout::VolumeSlot;
use crate::metadata::{ChunkRow, ChunkState, JobState, Lease, Progress};
use crate::objects::Store;

/// The job's name: of its lease, and of its row.
pub const SCRUB: &str = "scrub";

/// Directories of each volume.
const FAN_OUTS: u64 = 256;
/// Directories looked at in one round.
const FAN_OUTS_AT_ONCE: u64 = 16;
/// Files moved to quarantine by one scrub at most. More than that is not what crashes leave: somebody should look.
const QUARANTINED_AT_MOST: u64 = 10_000;
/// Chunks examined at a time.
const AT_ONCE: usize = 2;

/// Reads and verifies everything.
#[derive(Debug)]
pub struct Scrub {
    store: Store,
    pace: Pace,
    interval: Duration,
}

/// What a page of chunks was found to be.
#[derive(Debug, Default)]
struct Found {
    bytes: u64,
    bad: u64,
    away: u64,
}

impl Scrub {
    /// The job over `store`: so many bytes per second (0: as fast as can be), and again so long after its last end.
    pub fn new(store: Store, bytes_per_second: u64, interval: Duration) -> Self {
        Self { store, pace: Pace::new(bytes_per_second), interval }
    }

    /// Asks for a scrub if the last one is too long ago.
    async fn schedule(&self) -> Result<(), JobError> {
        let db = self.store.metadata();
        let interval = self.interval.as_millis() as i64;
        let due = match db.job(SCRUB).await? {
            Some(job) => !job.state.is_open() && self.store.clock().now().saturating_sub(job.updated) > interval,
            None => true,
        };
        if due {
            db.request_job(SCRUB).await?;
        }
        Ok(())
    }

    async fn chunk(&self, row: ChunkRow) -> Result<Found, JobError> {
        // What is still written to is verified in the next scrub.
        if row.state == ChunkState::Open {
            return Ok(Found::default());
        }
        let chunk = row.stored;
        let mut examined = self.store.chunks().examine(&chunk, &self.pace).await?;
        if !examined.bad().is_empty() {
            // Healed, moved or dead meanwhile: then what was found is of files that nobody reads any more.
            let now = self.store.metadata().chunk(chunk.id).await?;
            if now.as_ref().is_none_or(|now| now.stored.placement != chunk.placement || now.state == ChunkState::Dead) {
                examined = match now.filter(|now| now.state != ChunkState::Dead) {
                    Some(now) => self.store.chunks().examine(&now.stored, &self.pace).await?,
                    None => return Ok(Found { bytes: examined.bytes, ..Found::default() }),
                };
            }
        }
        self.note(&row, &examined).await?;
        Ok(Found { bytes: examined.bytes, bad: examined.bad().len() as u64, away: examined.away().len() as u64 })
    }

    async fn note(&self, row: &ChunkRow, examined: &Examination) -> Result<(), JobError> {
        let (db, id, now) = (self.store.metadata(), row.stored.id, self.store.clock().now());
        for (shard, finding) in examined.findings.iter().enumerate() {
            if let Finding::Bad(reason) = finding {
                tracing::warn!(chunk = %id, shard, reason, "scrubbing found a shard missing or bad");
                db.queue_heal(id, shard as u8, reason, now).await?;
            }
        }
        if let Some((position, good)) = examined.lost {
            tracing::error!(chunk = %id, position, good, "a stripe has fewer than six good blocks");
            if examined.away().is_empty() {
                db.set_damaged(id, true).await?;
            }
        }
        Ok(())
    }

    /// A page of chunks; answers the next position's cursor.
    async fn chunks(&self, lease: &Lease, mut position: Position) -> Result<(), JobError> {
        let db = self.store.metadata();
        let rows = pass::page(db, &position, None).await?;
        let Some(last) = rows.last().map(|row| row.stored.id) else {
            let files = Files { volume: VolumeSlot(0), fan_out: 0, away: position.failed, moved: 0 };
            let progress = Progress { cursor: files.to_cursor(), ..Progress::default() };
            return Ok(db.advance_job(lease, SCRUB, &progress).await?);
        };
        let done = rows.len() as u64;
        let found: Vec<Found> =
            stream::iter(rows).map(|row| self.chunk(row)).buffer_unordered(AT_ONCE).try_collect().await?;
        position.after = Some(last);
        position.failed += found.iter().map(|found| found.away).sum::<u64>();
        let progress = Progress {
            cursor: position.to_string(),
            done,
            bytes: found.iter().map(|found| found.bytes).sum(),
            found: found.iter().map(|found| found.bad).sum(),
            message: String::new(),
        };
        Ok(db.advance_job(lease, SCRUB, &progress).await?)
    }

    /// Some directories of a volume; answers whether there is more.
    async fn files(&self, lease: &Lease, mut at: Files) -> Result<bool, JobError> {
        let db = self.store.metadata();
        let members = self.store.chunks().volumes().members();
        let Some((&slot, member)) = members.range(at.volume..).next() else {
            let (state, message) = at.verdict();
            db.finish_job(lease, SCRUB, state, &message).await?;
            tracing::info!(state = %state, message, "scrubbing ended");
            return Ok(false);
        };
        if slot != at.volume {
            (at.volume, at.fan_out) = (slot, 0);
        }
        let mut found = 0;
        let last = (at.fan_out + FAN_OUTS_AT_ONCE).min(FAN_OUTS);
        let first = at.fan_out;
        for fan_out in first..last {
            let Ok(files) = member.list(fan_out as u8).await else {
                at.away += 1;
                continue;
            };
            for file in db.unknown_files(slot, &files).await? {
                found += 1;
                if at.moved >= QUARANTINED_AT_MOST {
                    continue;
                }
                match self.store.chunks().quarantine(slot, file).await {
                    Ok(()) => {
                        at.moved += 1;
                        tracing::warn!(volume = %member.name(), %file, "a file that nobody knows is in quarantine now");
                    }
                    // It was about to be removed, and is.
                    Err(Finding::Bad(_) | Finding::Good) => found -= 1,
                    Err(Finding::Away(_)) => at.away += 1,
                }
            }
        }
        (at.volume, at.fan_out) = if last >= FAN_OUTS { (VolumeSlot(slot.0 + 1), 0) } else { (slot, last) };
        let progress = Progress { cursor: at.to_cursor(), done: last - first, found, ..Progress::default() };
        db.advance_job(lease, SCRUB, &progress).await?;
        Ok(true)
    }
}

/// Where the second half of a scrub is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Files {
    volume: VolumeSlot,
    fan_out: u64,
    /// Shards and directories that could not be looked at.
    away: u64,
    /// Files in quarantine.
    moved: u64,
}

impl Files {
    fn to_cursor(self) -> String {
        format!("files {} {} {} {}", self.volume, self.fan_out, self.away, self.moved)
    }

    fn from_cursor(text: &str) -> Option<Self> {
        let mut fields = text.strip_prefix("files ")?.split(' ');
        let mut next = || fields.next()?.parse::<u64>().ok();
        let volume = VolumeSlot(u16::try_from(next()?).ok()?);
        Some(Self { volume, fan_out: next()?, away: next()?, moved: next()? })
    }

    /// What the scrub came to. Done is only what was verified.
    fn verdict(self) -> (JobState, String) {
        let mut said = Vec::new();
        if self.away > 0 {
            said.push(format!("{} shards or directories could not be read: their volumes are away", self.away));
        }
        if self.moved >= QUARANTINED_AT_MOST {
            said.push(format!(
                "more than {QUARANTINED_AT_MOST} files are unknown: the others were left where they are"
            ));
        } else if self.moved > 0 {
            said.push(format!("{} unknown files are in quarantine", self.moved));
        }
        let failed = self.away > 0 || self.moved >= QUARANTINED_AT_MOST;
        (if failed { JobState::Failed } else { JobState::Done }, said.join("; "))
    }
}

#[async_trait]
impl Job for Scrub {
    fn name(&self) -> &'static str {
        SCRUB
    }

    async fn round(&self, lease: &Lease) -> Result<bool, JobError> {
        self.schedule().await?;
        let db = self.store.metadata();
        let total = async {
            let counts = db.chunk_counts().await?;
            let directories = self.store.chunks().volumes().members().len() as u64 * FAN_OUTS;
            Ok(counts.open + counts.sealed + counts.damaged + directories)
        };
        let Some(cursor) = pass::resume(db, lease, SCRUB, total).await? else { return Ok(false) };
        match Files::from_cursor(&cursor) {
            Some(files) => self.files(lease, files).await,
            None => self.chunks(lease, cursor.parse().unwrap_or_default()).await.map(|()| true),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_second_half_survives_its_text() {
        let files = Files { volume: VolumeSlot(3), fan_out: 16, away: 1, moved: 2 };
        assert_eq!(Files::from_cursor(&files.to_cursor()), Some(files));
        assert_eq!(Files::from_cursor("- 0"), None);
        assert_eq!(files.verdict().0, JobState::Failed);
        assert_eq!(Files { away: 0, ..files }.verdict().0, JobState::Done);
    }
}
