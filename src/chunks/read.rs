//! The way out: the bytes of extents, verified, whatever up to three volumes do.
//!
//! Only the data blocks that are needed are read. A block that is missing, late or wrong is rebuilt from any six others of its
//! stripe, and what was found is noted for healing. If fewer than six are left the stream ends with an error: never with a
//! wrong byte, never padded.

use std::collections::BTreeMap;
use std::ops::Range;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, FuturesUnordered};
use futures_util::{Stream, StreamExt, TryStreamExt};

use super::format::{Block, HEADER_LEN, block_size, verify_block};
use super::{ChunkError, ChunkStore, Hold};
use crate::layout::{ChunkId, DATA_SHARDS, PlacedExtent, Placement, SHARDS, STRIPE_LEN, ShardSet, block_len};
use crate::volumes::{Status, VolumeError};

/// A range of bytes: first, and one past the last.
pub type ByteRange = Range<u64>;

/// Verified bytes, in order.
pub type ReadStream = Pin<Box<dyn Stream<Item = Result<Bytes, ChunkError>> + Send>>;

impl ChunkStore {
    /// The bytes `range` of an object whose overlapping extents `extents` gives, in order.
    ///
    /// Holds at most `read_ahead + 1` stripes in memory. `hold` was begun before the first extent was asked for.
    pub fn read<S>(&self, extents: S, range: ByteRange, hold: Hold) -> ReadStream
    where
        S: Stream<Item = Result<PlacedExtent, ChunkError>> + Send + 'static,
    {
        let store = self.clone();
        let stripes = extents
            .map_ok(move |extent| stream::iter(stripes_of(extent, &range).map_or_else(|e| vec![Err(e)], wrap)))
            .try_flatten();
        let ahead = self.inner.config.read_ahead.max(1);
        let pieces = stripes
            .map(move |stripe| {
                let (store, hold) = (store.clone(), hold.clone());
                // A task of its own, so that reading goes on while the client takes what is there.
                async move { tokio::spawn(async move { store.read_stripe(stripe?, &hold).await }).await? }
            })
            .buffered(ahead)
            .map_ok(|pieces| stream::iter(pieces.into_iter().map(Ok)))
            .try_flatten();
        Box::pin(pieces)
    }

    async fn read_stripe(&self, mut stripe: Stripe, hold: &Hold) -> Result<Vec<Bytes>, ChunkError> {
        // Nobody waits for a read that lasts too long; if its chunk lives now, it does so until this stripe is read.
        let mut again = None;
        if hold.over() {
            again = Some(self.inner.reads.begin());
            let chunk = stripe.chunk;
            stripe.placement = self.inner.ledger.placement(chunk).await?.ok_or(ChunkError::ReadCut { chunk })?;
        }
        let block = u64::from(block_len(stripe.len));
        let first = (stripe.wanted.start / block) as usize;
        let last = ((stripe.wanted.end - 1) / block) as usize;
        let blocks = self.blocks(&stripe, first..last + 1).await?;
        let mut pieces = Vec::with_capacity(blocks.len());
        for (shard, bytes) in (first..).zip(blocks) {
            let start = stripe.wanted.start.saturating_sub(shard as u64 * block).min(block) as usize;
            let end = (stripe.wanted.end - shard as u64 * block).min(block) as usize;
            pieces.push(bytes.slice(start..end));
        }
        drop(again);
        Ok(pieces)
    }

    /// The data blocks `wanted` of a stripe: read, or else rebuilt.
    async fn blocks(&self, stripe: &Stripe, wanted: Range<usize>) -> Result<Vec<Bytes>, ChunkError> {
        let first = Attempt::new(self, stripe, stripe.placement, stripe.missing).run(&wanted).await;
        let found = match first {
            Ok(found) => found,
            // Shards may have moved since the extent was resolved: look once more before giving up.
            Err(failure) => match self.inner.ledger.placement(stripe.chunk).await? {
                Some(placement) if placement != stripe.placement => {
                    Attempt::new(self, stripe, placement, ShardSet::default()).run(&wanted).await?
                }
                _ => return Err(failure),
            },
        };
        let lost: Vec<usize> = wanted.clone().filter(|&shard| found[shard].is_none()).collect();
        let mut rebuilt = if lost.is_empty() { Vec::new() } else { self.rebuild(stripe, &found, &lost).await? };
        let mut blocks = Vec::with_capacity(wanted.len());
        for (shard, bytes) in wanted.clone().zip(found[wanted].iter()) {
            let bytes = match bytes {
                Some(bytes) => bytes.clone(),
                None => {
                    let at = lost.iter().position(|&l| l == shard).ok_or(ChunkError::Worker)?;
                    std::mem::take(rebuilt.get_mut(at).ok_or(ChunkError::Worker)?).into()
                }
            };
            blocks.push(bytes);
        }
        Ok(blocks)
    }

    async fn rebuild(
        &self,
        stripe: &Stripe,
        found: &[Option<Bytes>; SHARDS],
        lost: &[usize],
    ) -> Result<Vec<Vec<u8>>, ChunkError> {
        let (inner, found, lost, chunk) = (self.inner.clone(), found.clone(), lost.to_vec(), stripe.chunk);
        tokio::task::spawn_blocking(move || {
            let shards: [Option<&[u8]>; SHARDS] = std::array::from_fn(|i| found[i].as_deref());
            inner.codec.rebuild(&shards, &lost)
        })
        .await?
        .map_err(|source| ChunkError::Code { chunk, source })
    }
}

fn wrap(stripes: Vec<Stripe>) -> Vec<Result<Stripe, ChunkError>> {
    stripes.into_iter().map(Ok).collect()
}

/// A stripe to be read, and which of its bytes are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stripe {
    chunk: ChunkId,
    placement: Placement,
    missing: ShardSet,
    position: u64,
    len: u32,
    wanted: Range<u64>,
}

/// The stripes of `extent` that overlap the object's bytes `range`.
fn stripes_of(placed: PlacedExtent, range: &Range<u64>) -> Result<Vec<Stripe>, ChunkError> {
    let extent = placed.extent;
    let bad = || ChunkError::BadExtent { chunk: extent.chunk, position: extent.position };
    if placed.packed {
        let start = range.start.max(extent.start);
        let end = range.end.min(extent.start + extent.len);
        let last = u64::from(extent.skip) + extent.len;
        if extent.position < HEADER_LEN || extent.stripe_len > STRIPE_LEN || last > u64::from(extent.stripe_len) {
            return Err(bad());
        }
        let before = u64::from(extent.skip);
        let stripe = Stripe {
            chunk: extent.chunk,
            placement: placed.placement,
            missing: placed.missing,
            position: extent.position,
            len: extent.stripe_len,
            wanted: before + start.saturating_sub(extent.start)..before + end.saturating_sub(extent.start),
        };
        return Ok(if start < end { vec![stripe] } else { Vec::new() });
    }
    let stripe_len = u64::from(extent.stripe_len);
    let size = block_size(extent.stripe_len);
    if stripe_len == 0 || extent.position < HEADER_LEN || !(extent.position - HEADER_LEN).is_multiple_of(size) {
        return Err(bad());
    }
    // The number in its chunk of the extent's first stripe.
    let first_index = (extent.position - HEADER_LEN) / size;
    let start = range.start.max(extent.start);
    let end = range.end.min(extent.start + extent.len);
    let mut stripes = Vec::new();
    let mut at = start;
    while at < end {
        let offset = at - extent.start + u64::from(extent.skip);
        let number = offset / stripe_len;
        let inside = offset % stripe_len;
        let before = (first_index + number) * stripe_len;
        let len = stripe_len.min(placed.chunk_len.checked_sub(before).ok_or_else(bad)?);
        let take = (end - at).min(len.checked_sub(inside).ok_or_else(bad)?);
        if take == 0 {
            return Err(bad());
        }
        stripes.push(Stripe {
            chunk: extent.chunk,
            placement: placed.placement,
            missing: placed.missing,
            position: extent.position + number * size,
            len: len as u32,
            wanted: inside..inside + take,
        });
        at += take;
    }
    Ok(stripes)
}

/// One try to get the blocks of a stripe, by one placement.
struct Attempt<'a> {
    store: &'a ChunkStore,
    stripe: &'a Stripe,
    placement: Placement,
    /// Shards not asked so far.
    candidates: Vec<usize>,
    /// Shards that were given up, but may hold the block all the same: it may have been written before. Its checksum tells.
    given_up: ShardSet,
    good: BTreeMap<usize, Block>,
    reasons: Vec<String>,
}

impl<'a> Attempt<'a> {
    fn new(store: &'a ChunkStore, stripe: &'a Stripe, placement: Placement, missing: ShardSet) -> Self {
        let candidates = (0..SHARDS).filter(|&s| !missing.contains(s) && placement.0[s].is_some()).collect();
        Self { store, stripe, placement, candidates, given_up: missing, good: BTreeMap::new(), reasons: Vec::new() }
    }

    /// Reads until the wanted blocks, or any six, are there.
    async fn run(mut self, wanted: &Range<usize>) -> Result<[Option<Bytes>; SHARDS], ChunkError> {
        let mut running = FuturesUnordered::new();
        let (ours, others): (Vec<_>, Vec<_>) = self.candidates.iter().partition(|&&s| wanted.contains(&s));
        let mut enough = ours.len() == wanted.len();
        // Volumes in doubt are asked last, and at once only if there is no other way.
        let (rest, last): (Vec<usize>, Vec<usize>) = others.into_iter().partition(|&shard| !self.doubtful(shard));
        self.candidates = [rest, last].concat();
        let (sure, doubtful): (Vec<usize>, Vec<usize>) = ours.into_iter().partition(|&shard| !self.doubtful(shard));
        enough &= doubtful.is_empty();
        self.candidates.extend(doubtful);
        // Nobody waits for these unless there is nothing else.
        self.candidates.extend(self.given_up.iter().filter(|&shard| self.placement.0[shard].is_some()));
        for shard in sure {
            running.push(self.fetch(shard));
        }
        let hedge = tokio::time::sleep(self.hedge_delay(wanted));
        tokio::pin!(hedge);
        // How many blocks were still on their way when the hedge ran out.
        let (mut hedged, mut late) = (false, 0);
        loop {
            if let Some(found) = self.decodable(wanted) {
                return Ok(found);
            }
            // Once the wanted blocks alone will not do, six of the stripe are needed. Late ones are no longer counted on.
            let expected = self.good.len() + running.len().saturating_sub(late);
            let target = if self.split_nonces() { SHARDS } else { DATA_SHARDS };
            if !enough || hedged {
                for shard in self.next_candidates(target.saturating_sub(expected)) {
                    running.push(self.fetch(shard));
                }
            }
            tokio::select! {
                answer = running.next() => match answer {
                    Some((shard, Ok(block))) => {
                        self.good.insert(shard, block);
                        enough &= !self.split_nonces();
                    }
                    Some((shard, Err(reason))) => {
                        enough = false;
                        self.reasons.push(format!("shard {shard}: {reason}"));
                    }
                    None if self.candidates.is_empty() => return Err(self.too_few()),
                    // Two nonces among good blocks: ask for the rest.
                    None => enough = false,
                },
                () = &mut hedge, if !hedged => (hedged, late) = (true, running.len()),
            }
        }
    }

    fn next_candidates(&mut self, n: usize) -> Vec<usize> {
        let n = n.min(self.candidates.len());
        self.candidates.drain(..n).collect()
    }

    fn split_nonces(&self) -> bool {
        let mut nonces = self.good.values().map(|b| b.nonce);
        let first = nonces.next();
        nonces.any(|nonce| Some(nonce) != first)
    }

    /// The blocks, if all wanted ones are there or enough to rebuild them: of one stripe, by its nonce.
    fn decodable(&self, wanted: &Range<usize>) -> Option<[Option<Bytes>; SHARDS]> {
        let split = self.split_nonces();
        let all_wanted = !split && wanted.clone().all(|shard| self.good.contains_key(&shard));
        let nonce = self
            .good
            .values()
            .map(|b| b.nonce)
            .find(|&nonce| all_wanted || self.good.values().filter(|b| b.nonce == nonce).count() >= DATA_SHARDS)?;
        Some(std::array::from_fn(|i| self.good.get(&i).filter(|b| b.nonce == nonce).map(|b| b.bytes.clone())))
    }

    fn doubtful(&self, shard: usize) -> bool {
        let slot = self.placement.0.get(shard).copied().flatten();
        slot.and_then(|slot| self.store.inner.volumes.get(slot.volume))
            .is_none_or(|member| member.status() == Status::Failed || member.status() == Status::Degraded)
    }

    fn hedge_delay(&self, wanted: &Range<usize>) -> Duration {
        let config = &self.store.inner.config;
        let usual = wanted
            .clone()
            .filter_map(|shard| self.placement.0.get(shard).copied().flatten())
            .filter_map(|slot| self.store.inner.volumes.get(slot.volume))
            .filter_map(|member| member.read_latency())
            .max()
            .unwrap_or_default();
        (usual * config.hedge_multiple).max(config.hedge_floor)
    }

    /// Reads and verifies one block.
    fn fetch(&self, shard: usize) -> impl Future<Output = (usize, Result<Block, String>)> + Send + 'static {
        let store = self.store.clone();
        let (chunk, position, len) = (self.stripe.chunk, self.stripe.position, self.stripe.len);
        let place = self.placement.file(chunk, shard);
        let given_up = self.given_up.contains(shard);
        async move {
            let Some((slot, name)) = place else { return (shard, Err("it has no place".into())) };
            let Some(member) = store.inner.volumes.get(slot) else {
                return (shard, Err(format!("volume {slot} was removed")));
            };
            let damage = match member.read(name, position, block_size(len) as usize).await {
                Ok(read) => match verify_block(chunk, shard as u8, position, len, read) {
                    Ok(block) => return (shard, Ok(block)),
                    Err(error) => format!("volume {}: block at {position}: {error}", member.name()),
                },
                Err(error @ (VolumeError::Absent { .. } | VolumeError::Truncated { .. })) => error.to_string(),
                // A disk that cannot read one file may well read the others. Whoever heals looks again.
                Err(error @ VolumeError::Io { .. }) => error.to_string(),
                // The volume's trouble, not the shard's: its status tells.
                Err(error) => return (shard, Err(error.to_string())),
            };
            if !given_up {
                tracing::warn!(%chunk, shard, damage, "a shard is missing or bad");
                store.inner.ledger.note_bad_shard(chunk, shard as u8, &damage);
            }
            (shard, Err(damage))
        }
    }

    fn too_few(self) -> ChunkError {
        ChunkError::TooFewRead {
            chunk: self.stripe.chunk,
            position: self.stripe.position,
            found: self.good.len(),
            reasons: self.reasons.join("; "),
        }
    }
}
