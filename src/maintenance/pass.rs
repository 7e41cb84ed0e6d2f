//! One pass over all chunks, a page at a time, from where the last holder of the lease stopped.

use std::fmt;
use std::str::FromStr;

use crate::layout::{ChunkId, VolumeSlot};
use crate::metadata::{self, ChunkRow, JobState, Lease, Metadata};

/// Chunks in a page: what may be done again after a crash.
const PAGE: u32 = 16;

/// How far a pass has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Position {
    /// The last chunk that was done.
    pub(super) after: Option<ChunkId>,
    /// Shards of this pass for which it could not be done.
    pub(super) failed: u64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.after {
            Some(chunk) => write!(f, "{chunk} {}", self.failed),
            None => write!(f, "- {}", self.failed),
        }
    }
}

impl FromStr for Position {
    type Err = ();

    /// What cannot be read is the start: a pass that is repeated does no harm.
    fn from_str(text: &str) -> Result<Self, ()> {
        let (after, failed) = text.split_once(' ').ok_or(())?;
        let after = if after == "-" { None } else { Some(after.parse().map_err(|_| ())?) };
        Ok(Self { after, failed: failed.parse().map_err(|_| ())? })
    }
}

/// The position of the job if there is work in it, which is begun (with `total` steps, which are only counted then) if it waits.
pub(super) async fn resume(
    db: &Metadata,
    lease: &Lease,
    name: &str,
    total: impl Future<Output = Result<u64, metadata::Error>>,
) -> Result<Option<String>, metadata::Error> {
    match db.job(name).await? {
        Some(job) if job.state == JobState::Waiting => {
            let total = total.await?;
            db.start_job(lease, name, total).await?;
            tracing::info!(job = name, steps = total, "begun");
            Ok(Some(String::new()))
        }
        Some(job) if job.state == JobState::Running => Ok(Some(job.cursor)),
        _ => Ok(None),
    }
}

/// The page behind a position.
pub(super) async fn page(
    db: &Metadata,
    position: &Position,
    volume: Option<VolumeSlot>,
) -> Result<Vec<ChunkRow>, metadata::Error> {
    db.chunks_after(position.after, volume, PAGE).await
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn positions_survive_their_text() {
        let chunk = ChunkId { seq: 7, nonce: 9 };
        for position in [Position::default(), Position { after: Some(chunk), failed: 3 }] {
            assert_eq!(position.to_string().parse(), Ok(position));
        }
        assert!("".parse::<Position>().is_err());
    }
}
