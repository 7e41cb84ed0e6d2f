//! Looking at every byte of a chunk's shards.

use super::format::HEADER_LEN;
use super::walk::{Finding, Stop, Walk, Window, finding};
use super::{ChunkError, ChunkStore, Pace};
use crate::layout::{DATA_SHARDS, SHARDS, ShardName, ShardSet, Slot, StoredChunk, VolumeSlot};

/// What a chunk's shards were found to be.
#[derive(Debug, Clone)]
pub struct Examination {
    /// By shard.
    pub findings: [Finding; SHARDS],
    /// Where the first stripe begins of which fewer than six good blocks were found, and how many were.
    pub lost: Option<(u64, usize)>,
    /// Bytes read.
    pub bytes: u64,
}

impl Examination {
    /// The shards that are missing or wrong.
    pub fn bad(&self) -> ShardSet {
        self.set(|finding| matches!(finding, Finding::Bad(_)))
    }

    /// The shards that could not be looked at.
    pub fn away(&self) -> ShardSet {
        self.set(|finding| matches!(finding, Finding::Away(_)))
    }

    fn set(&self, is: impl Fn(&Finding) -> bool) -> ShardSet {
        let mut set = ShardSet::default();
        for (shard, _) in self.findings.iter().enumerate().filter(|(_, finding)| is(finding)) {
            set.insert(shard);
        }
        set
    }
}

impl ChunkStore {
    /// Reads and verifies all of a chunk's shards up to its committed end: headers, every block, the agreement of each stripe's
    /// blocks, and the trailers of a chunk that must have them. The chunk must not be open.
    ///
    /// # Errors
    /// Only a program that shuts down: what is wrong with shards is the answer.
    pub async fn examine(&self, chunk: &StoredChunk, pace: &Pace) -> Result<Examination, ChunkError> {
        let mut walk = Walk::new(self, chunk, pace);
        walk.leave_failed();
        for shard in walk.readable().iter() {
            walk.header(shard).await;
        }
        let mut position = HEADER_LEN;
        let mut lost = None;
        while position < chunk.end {
            let mut window = Window { start: position, ..Window::default() };
            let shards = walk.readable();
            walk.load(&mut window, shards).await;
            let (stripes, stop) = walk.stripes(&window, position, DATA_SHARDS).await?;
            for stripe in &stripes {
                for shard in shards.iter().filter(|&shard| stripe.blocks[shard].is_none()) {
                    walk.find(shard, Finding::Bad(format!("its block at {} is wrong", stripe.position)));
                }
            }
            match stop {
                Stop::WindowEnd(next) => position = next,
                Stop::TooFew { position: at, good, wrong, next } => {
                    lost = lost.or(Some((at, good)));
                    // A block that does not verify is wrong, however many others there are to say so.
                    for shard in wrong.iter() {
                        walk.find(shard, Finding::Bad(format!("its block at {at} is wrong")));
                    }
                    let Some(next) = next else { break };
                    position = next;
                }
            }
        }
        for shard in walk.readable().iter() {
            walk.trailer(shard).await;
        }
        Ok(Examination { findings: walk.findings, lost, bytes: walk.read })
    }

    /// Whether a shard's file is there and begins as it should: what can be known of it at once.
    pub async fn glance(&self, chunk: &StoredChunk, shard: usize) -> Finding {
        let pace = Pace::new(0);
        let mut walk = Walk::new(self, chunk, &pace);
        walk.header(shard).await;
        walk.findings.get(shard).cloned().unwrap_or(Finding::Good)
    }

    /// Reads a shard that has just been written back from where it is to be, all of it. The digest is that of its stripes, as
    /// whoever wrote it counted them.
    pub(super) async fn verify_shard(
        &self,
        chunk: &StoredChunk,
        (shard, slot): (usize, Slot),
        written: StripeDigest,
        pace: &Pace,
    ) -> Result<u64, String> {
        // Alone, as if the chunk had no other shard; its trailer is looked at even if a packed chunk's needs none.
        let mut alone = *chunk;
        alone.placement = Default::default();
        alone.placement.0[shard] = Some(slot);
        alone.missing.remove(shard);
        let mut walk = Walk::new(self, &alone, pace);
        let mut only = ShardSet::default();
        only.insert(shard);
        walk.header(shard).await;
        let mut found = StripeDigest::default();
        let mut position = HEADER_LEN;
        while position < chunk.end && walk.findings[shard] == Finding::Good {
            let mut window = Window { start: position, ..Window::default() };
            walk.load(&mut window, only).await;
            let (stripes, stop) = walk.stripes(&window, position, 1).await.map_err(|error| error.to_string())?;
            for stripe in &stripes {
                found.add(stripe.position, stripe.len, stripe.nonce);
            }
            match stop {
                Stop::WindowEnd(next) => position = next,
                Stop::TooFew { position, .. } => return Err(format!("its block at {position} is wrong")),
            }
        }
        walk.trailer(shard).await;
        match walk.findings[shard].clone() {
            Finding::Good if found == written => Ok(walk.read),
            Finding::Good => Err("its stripes are not those that were written".into()),
            Finding::Bad(reason) | Finding::Away(reason) => Err(reason),
        }
    }

    /// Whether a file could be moved to quarantine.
    ///
    /// # Errors
    /// What its volume says.
    pub async fn quarantine(&self, volume: VolumeSlot, file: ShardName) -> Result<(), Finding> {
        let Some(member) = self.inner.volumes.get(volume) else {
            return Err(Finding::Away(format!("volume {volume} was removed")));
        };
        member.quarantine(file).await.map_err(|error| finding(&error))
    }
}

/// Which stripes a shard has: where, how long, of which write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct StripeDigest {
    /// How many there are.
    pub(super) stripes: u32,
    sum: u64,
}

impl StripeDigest {
    pub(super) fn add(&mut self, position: u64, len: u32, nonce: u64) {
        let mut bytes = [0; 28];
        bytes[..8].copy_from_slice(&self.sum.to_le_bytes());
        bytes[8..16].copy_from_slice(&position.to_le_bytes());
        bytes[16..24].copy_from_slice(&nonce.to_le_bytes());
        bytes[24..].copy_from_slice(&len.to_le_bytes());
        self.sum = xxhash_rust::xxh3::xxh3_64(&bytes);
        self.stripes += 1;
    }
}
