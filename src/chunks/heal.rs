//! Writing shards anew: lost ones from six others, moved ones from themselves.
//!
//! A shard is written to a new file of a new generation, synced, and read back before anybody is told of it. The caller announces
//! the file's name in SQL before, and switches the shard's row to it afterwards; the file that is there is never touched.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::join_all;

use super::format::{HEADER_LEN, Header, Trailer, block_of};
use super::placement::Ring;
use super::verify::StripeDigest;
use super::walk::{Finding, FoundStripe, Stop, Walk, Window};
use super::{ChunkError, ChunkStore, Pace};
use crate::layout::{DATA_SHARDS, SHARDS, STRIPE_LEN, ShardName, ShardSet, Slot, StoredChunk, VolumeSlot};
use crate::volumes::{Member, Status};

/// What a shard is written from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The other shards.
    Others,
    /// Its own file, as far as that is good.
    Itself,
}

/// A shard to be written anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// Which.
    pub shard: usize,
    /// Where to, as it was announced.
    pub to: Slot,
    /// What from.
    pub source: Source,
}

/// What became of shards that were to be written anew.
#[derive(Debug, Clone, Default)]
pub struct Rewritten {
    /// Targets that are written, synced and verified.
    pub written: Vec<Target>,
    /// Those that are not, and why: their files are removed as far as their volumes obey.
    pub failed: Vec<(Target, String)>,
    /// Bytes read and written.
    pub bytes: u64,
}

/// A target that is being written.
struct Writing {
    target: Target,
    name: ShardName,
    member: Arc<Member>,
    error: Option<String>,
}

impl ChunkStore {
    /// Where the shards `lost` of a chunk should go: back to their own volumes if those take writes, else to volumes that the ring
    /// chooses and the chunk has no shard on. `None`: there is no such volume.
    pub fn homes(&self, chunk: &StoredChunk, lost: ShardSet) -> [Option<VolumeSlot>; SHARDS] {
        let mut homes = [None; SHARDS];
        let mut homeless = lost;
        for shard in lost.iter() {
            let own = chunk.placement.0[shard].and_then(|slot| self.inner.volumes.get(slot.volume));
            if let Some(own) = own.filter(|own| own.takes_writes()) {
                homes[shard] = Some(own.slot());
                homeless.remove(shard);
            }
        }
        if !homeless.is_empty() {
            let found = self.inner.placer.ring().replace(chunk.id, &chunk.placement, homeless, &[]);
            for shard in homeless.iter() {
                homes[shard] = found[shard];
            }
        }
        homes
    }

    /// The ring by which [`Self::misplaced`] is told.
    pub fn ring_of_staying(&self) -> Ring {
        Ring::of_staying(&self.inner.volumes)
    }

    /// The shards of a chunk that are not where this ring wants them, each with a volume that should have one, has none, and takes
    /// it; and how many could not be given one, because those volumes take no writes now. No volume is named twice, nor one that has a
    /// shard of the chunk.
    pub fn misplaced(&self, chunk: &StoredChunk, ring: &Ring) -> (Vec<(usize, VolumeSlot)>, usize) {
        let Ok(wanted) = ring.place(chunk.id, &[]) else { return (Vec::new(), 0) };
        let wanted: Vec<VolumeSlot> = wanted.0.iter().flatten().map(|slot| slot.volume).collect();
        let has = |volume: VolumeSlot| chunk.placement.0.iter().flatten().any(|slot| slot.volume == volume);
        let takes = |volume: VolumeSlot| self.inner.volumes.get(volume).is_some_and(|member| member.takes_writes());
        let (free, closed): (Vec<_>, Vec<_>) =
            wanted.iter().copied().filter(|&volume| !has(volume)).partition(|&volume| takes(volume));
        let surplus: Vec<usize> = (0..SHARDS)
            .filter(|&shard| {
                !chunk.missing.contains(shard)
                    && chunk.placement.0[shard].is_some_and(|slot| !wanted.contains(&slot.volume))
            })
            .collect();
        let stuck = surplus.len().saturating_sub(free.len()).min(closed.len());
        (surplus.into_iter().zip(free).collect(), stuck)
    }

    /// Writes shards of a chunk that is not open to where `targets` says, syncs them, and reads them back. All of them in one pass
    /// over the chunk, in memory that does not grow with it.
    ///
    /// # Errors
    /// [`ChunkError::TooFewRead`] if a stripe has fewer than six good blocks: nothing is left of any target then. What goes wrong
    /// with a single target is in the answer.
    pub async fn rewrite(&self, chunk: &StoredChunk, targets: &[Target], pace: &Pace) -> Result<Rewritten, ChunkError> {
        let mut walk = Walk::new(self, chunk, pace);
        let mut writing = self.create(&mut walk, chunk, targets).await;
        let outcome = self.copy(&mut walk, chunk, &mut writing, pace).await;
        let outcome = match outcome {
            Ok(digest) => {
                self.finish(chunk, &mut writing, digest, pace).await;
                Ok(())
            }
            Err(error) => {
                let reason = error.to_string();
                writing.iter_mut().for_each(|one| one.error = Some(reason.clone()));
                Err(error)
            }
        };
        let mut rebuilt = Rewritten { bytes: walk.read, ..Rewritten::default() };
        let gone = targets.iter().filter(|&target| writing.iter().all(|one| one.target != *target));
        rebuilt.failed = gone.map(|target| (*target, format!("volume {} was removed", target.to.volume))).collect();
        for one in writing {
            match one.error {
                None => {
                    rebuilt.bytes += 2 * chunk.end;
                    rebuilt.written.push(one.target);
                }
                Some(reason) => {
                    // What cannot be removed now is announced, and removed when that is due.
                    if let Err(error) = one.member.remove(one.name).await {
                        tracing::debug!(%error, "a shard that was not finished could not be removed");
                    }
                    rebuilt.failed.push((one.target, reason));
                }
            }
        }
        outcome.map(|()| rebuilt)
    }

    /// Creates the targets' files, with the header that the others have.
    async fn create(&self, walk: &mut Walk<'_>, chunk: &StoredChunk, targets: &[Target]) -> Vec<Writing> {
        let mut owner = None;
        for shard in in_order(walk, ShardSet::default()) {
            owner = walk.header(shard).await.map(|header| header.owner);
            if owner.is_some() {
                break;
            }
        }
        let (owner, stripe_len) = (owner.unwrap_or_default(), if chunk.packed { 0 } else { STRIPE_LEN });
        let mut writing = Vec::with_capacity(targets.len());
        for &target in targets {
            let name = ShardName { chunk: chunk.id, shard: target.shard as u8, generation: target.to.generation };
            let Some(member) = self.inner.volumes.get(target.to.volume) else { continue };
            let header = Header { name, stripe_len, owner: owner.clone() }.encode();
            let error = member.create(name, header).await.err().map(|error| error.to_string());
            writing.push(Writing { target, name, member, error });
        }
        writing
    }

    /// Writes the blocks of all stripes. Answers which stripes those are.
    async fn copy(
        &self,
        walk: &mut Walk<'_>,
        chunk: &StoredChunk,
        writing: &mut [Writing],
        pace: &Pace,
    ) -> Result<StripeDigest, ChunkError> {
        let mut digest = StripeDigest::default();
        let mut lost = ShardSet::default();
        let mut itself = ShardSet::default();
        for one in writing.iter() {
            match one.target.source {
                Source::Others => lost.insert(one.target.shard),
                Source::Itself => itself.insert(one.target.shard),
            }
        }
        let mut position = HEADER_LEN;
        while position < chunk.end && writing.iter().any(|one| one.error.is_none()) {
            walk.check_alive()?;
            let mut window = Window { start: position, ..Window::default() };
            // One block of a stripe is enough where that is all that is written, and its volume answers.
            let alone = lost.is_empty() && itself.len() == 1 && itself.iter().all(|one| walk.readable().contains(one));
            let mut enough = if alone { 1 } else { DATA_SHARDS };
            let mut ask = if alone { itself } else { first_six(walk, lost) };
            let mut unasked = walk.readable();
            loop {
                for shard in ask.iter() {
                    unasked.remove(shard);
                }
                walk.load(&mut window, ask).await;
                let (stripes, stop) = walk.stripes(&window, position, enough).await?;
                position = self.write_stripes(chunk, stripes, writing, &mut digest, position, pace).await?;
                let Stop::TooFew { position: at, good, .. } = stop else { break };
                if unasked.is_empty() {
                    return Err(self.too_few(chunk, walk, at, good));
                }
                // What one more cannot settle the next will.
                enough = DATA_SHARDS;
                ask = ShardSet::default();
                let more = DATA_SHARDS.saturating_sub(good).max(1);
                unasked.iter().take(more).for_each(|shard| ask.insert(shard));
            }
        }
        Ok(digest)
    }

    fn too_few(&self, chunk: &StoredChunk, walk: &Walk<'_>, position: u64, found: usize) -> ChunkError {
        let wrong = walk.findings.iter().enumerate().filter_map(|(shard, finding)| match finding {
            Finding::Good => None,
            Finding::Bad(reason) | Finding::Away(reason) => Some(format!("shard {shard}: {reason}")),
        });
        let reasons = wrong.collect::<Vec<_>>().join("; ");
        ChunkError::TooFewRead { chunk: chunk.id, position, found, reasons }
    }

    /// Writes the targets' blocks of these stripes, which follow one another; answers where they end.
    async fn write_stripes(
        &self,
        chunk: &StoredChunk,
        stripes: Vec<FoundStripe>,
        writing: &mut [Writing],
        digest: &mut StripeDigest,
        position: u64,
        pace: &Pace,
    ) -> Result<u64, ChunkError> {
        let Some(end) = stripes.last().map(FoundStripe::end) else { return Ok(position) };
        for stripe in &stripes {
            digest.add(stripe.position, stripe.len, stripe.nonce);
        }
        let targets: Vec<Target> = writing.iter().filter(|w| w.error.is_none()).map(|w| w.target).collect();
        pace.take((end - position) * targets.len() as u64).await;
        let (inner, id) = (Arc::clone(&self.inner), chunk.id);
        let blocks = move || -> Result<Vec<Vec<Bytes>>, ChunkError> {
            let mut blocks: Vec<Vec<Bytes>> = targets.iter().map(|_| Vec::with_capacity(stripes.len())).collect();
            for stripe in &stripes {
                let own =
                    |target: &Target| stripe.blocks[target.shard].as_ref().filter(|_| target.source == Source::Itself);
                let lost: Vec<usize> = targets.iter().filter(|t| own(t).is_none()).map(|t| t.shard).collect();
                let mut rebuilt = if lost.is_empty() {
                    Vec::new()
                } else {
                    let shards: [Option<&[u8]>; SHARDS] =
                        std::array::from_fn(|i| stripe.blocks[i].as_ref().map(|block| block.content()));
                    inner.codec.rebuild(&shards, &lost).map_err(|source| ChunkError::Code { chunk: id, source })?
                }
                .into_iter();
                for (target, blocks) in targets.iter().zip(&mut blocks) {
                    blocks.push(match own(target) {
                        Some(block) => block.bytes.clone(),
                        None => {
                            let block = rebuilt.next().ok_or(ChunkError::Worker)?;
                            let kind = (stripe.len, stripe.nonce);
                            block_of(id, target.shard as u8, stripe.position, kind, &block)
                        }
                    });
                }
            }
            Ok(blocks)
        };
        let blocks = tokio::task::spawn_blocking(blocks).await??;
        let writes = writing.iter_mut().filter(|one| one.error.is_none()).zip(blocks).map(async |(one, blocks)| {
            if let Err(error) = one.member.write(one.name, position, blocks).await {
                one.error = Some(error.to_string());
            }
        });
        join_all(writes).await;
        Ok(end)
    }

    /// Ends the targets' files, syncs them and reads them back.
    async fn finish(&self, chunk: &StoredChunk, writing: &mut [Writing], digest: StripeDigest, pace: &Pace) {
        let stripe_len = if chunk.packed { 0 } else { STRIPE_LEN };
        let ends = writing.iter_mut().filter(|one| one.error.is_none()).map(async |one| {
            let trailer = Trailer {
                name: one.name,
                chunk_len: chunk.len,
                blocks: digest.stripes,
                stripe_len,
                position: chunk.end,
            };
            let outcome = async {
                one.member.write(one.name, chunk.end, vec![trailer.encode()]).await.map_err(|e| e.to_string())?;
                one.member.sync(one.name).await.map_err(|error| error.to_string())?;
                self.verify_shard(chunk, (one.target.shard, one.target.to), digest, pace).await
            };
            one.error = outcome.await.err();
        });
        join_all(ends).await;
    }
}

/// Shards to read, best first: not the lost ones, if there are others, and those on volumes that do well before those that do not.
fn in_order(walk: &Walk<'_>, lost: ShardSet) -> Vec<usize> {
    let mut shards: Vec<usize> = walk.readable().iter().collect();
    shards.sort_by_key(|&shard| {
        let status = walk.files[shard].as_ref().map(|file| match file.member.status() {
            Status::Healthy => 0,
            Status::Draining => 1,
            Status::Degraded => 2,
            Status::Failed => 3,
        });
        (lost.contains(shard), walk.findings[shard] != Finding::Good, status)
    });
    shards
}

fn first_six(walk: &Walk<'_>, lost: ShardSet) -> ShardSet {
    let mut six = ShardSet::default();
    in_order(walk, lost).into_iter().take(DATA_SHARDS).for_each(|shard| six.insert(shard));
    six
}
