//! Packed chunks: shared by many small objects, appended to batch by batch.
//!
//! A batch goes out as one or more stripes, encoded at once; each volume gets its blocks of all of them in one write and one
//! sync. One batch is under way at a time, so that committed blocks follow one another without a hole. Positions are
//! never used again, whatever became of a batch; a pack of which one was not committed is given up.

use bytes::Bytes;
use futures_util::future::join_all;

use super::fan::{Step, fan};
use super::format::{EncodedStripe, EntryHeader, Owner, block_size, encode_stripe};
use super::write::{INLINE_LEN, OpenChunk};
use super::{ChunkError, ChunkStore};
use crate::clock::random_bytes;
use crate::crash;
use crate::layout::{ChunkId, Extent, Placement, SHARDS, STRIPE_LEN, ShardSet, VolumeSlot};
use crate::volumes::Status;

/// A small object's bytes.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Whose they are.
    pub header: EntryHeader,
    /// The bytes themselves.
    pub pieces: Vec<Bytes>,
}

impl Entry {
    /// The longest entry that has its place in a stripe, in bytes of the object.
    pub const MAX_LEN: usize = STRIPE_LEN as usize - super::format::ENTRY_HEADER_MAX;

    fn stored_len(&self) -> u32 {
        self.header.encoded_len() + self.header.len
    }
}

/// An open packed chunk of this instance.
#[derive(Debug)]
pub struct Pack {
    store: ChunkStore,
    chunk: OpenChunk,
    /// Shards that were missing when it was opened: none of its batches lost them.
    opened_without: ShardSet,
    /// Where the committed blocks end; `None` before the first commit.
    committed: Option<u64>,
}

impl ChunkStore {
    /// Begins a packed chunk: an id, a placement, and nine files with their headers. Shards that fail go to other volumes,
    /// while there are any.
    ///
    /// # Errors
    /// Fewer than six volumes; the ledger's.
    pub async fn open_pack(&self) -> Result<Pack, ChunkError> {
        let id = self.inner.ids.next(&*self.inner.ledger).await?;
        let mut avoid = Vec::new();
        let chunk = self.begin_chunk(id, &mut avoid, 0, &Owner::default(), None).await?;
        let opened_without = chunk.missing;
        let pack = Pack { store: self.clone(), chunk, opened_without, committed: None };
        match pack.chunk.check() {
            Ok(()) => Ok(pack),
            Err(error) => {
                pack.give_up().await;
                Err(error)
            }
        }
    }
}

impl Pack {
    /// Its chunk.
    pub fn id(&self) -> ChunkId {
        self.chunk.id
    }

    /// Where its shards are.
    pub fn placement(&self) -> Placement {
        self.chunk.placement
    }

    /// Shards that are not there.
    pub fn missing(&self) -> ShardSet {
        self.chunk.missing
    }

    /// Where the committed blocks end in every shard file; `None` before the first commit.
    pub fn committed(&self) -> Option<u64> {
        self.committed
    }

    /// Where all blocks end in every shard file.
    pub fn end(&self) -> u64 {
        self.chunk.end
    }

    /// Bytes of all its stripes.
    pub fn len(&self) -> u64 {
        self.chunk.len
    }

    /// Whether nothing was appended yet.
    pub fn is_empty(&self) -> bool {
        self.chunk.len == 0
    }

    /// Whether it can take no more, or should not: it is full, has lost a shard since it was opened (rule 9), or is on a volume that
    /// is to be emptied, which must not wait for it.
    pub fn is_done(&self) -> bool {
        let leaving = |slot: VolumeSlot| {
            self.store.inner.volumes.get(slot).is_none_or(|member| member.status() == Status::Draining)
        };
        self.chunk.len >= self.store.inner.config.chunk_len
            || self.chunk.missing != self.opened_without
            || self.chunk.placement.0.iter().flatten().any(|slot| leaving(slot.volume))
    }

    /// Whether so many more bytes have their place in it.
    pub fn has_room(&self, bytes: u64) -> bool {
        self.chunk.len == 0 || self.chunk.len + bytes <= self.store.inner.config.chunk_len
    }

    /// Notes that all that was appended is committed.
    pub fn set_committed(&mut self) {
        self.committed = Some(self.chunk.end);
    }

    /// Appends entries. When this returns, they are synced on at least six volumes; the answer is where each is. A shard that
    /// fails is missing from then on.
    ///
    /// # Errors
    /// [`ChunkError::TooFewWritten`]: the pack is of no use any more.
    pub async fn append(&mut self, entries: &[Entry]) -> Result<Vec<Extent>, ChunkError> {
        self.store.inner.ledger.check_alive()?;
        let (inputs, extents) = self.lay_out(entries);
        let stripes = self.encode(inputs).await?;
        let Some(first) = stripes.first() else { return Ok(extents) };
        let position = first.position;
        let chunk = &self.chunk;
        let steps = (0..SHARDS).filter(|&shard| !chunk.missing.contains(shard)).filter_map(|shard| {
            let (slot, file) = chunk.placement.file(chunk.id, shard)?;
            Some(Step { shard, slot, file, creates: false })
        });
        let inner = &self.store.inner;
        let outcomes = fan(&inner.volumes, &inner.config, steps, |member, step| {
            let (name, shard) = (step.file, step.shard);
            let blocks: Vec<Bytes> = stripes.iter().filter_map(|stripe| stripe.blocks.get(shard).cloned()).collect();
            async move { member.write_through(name, position, blocks).await }
        })
        .await;
        for stripe in &stripes {
            self.chunk.grow(stripe);
        }
        for (shard, outcome) in outcomes {
            if let Err(error) = outcome {
                self.chunk.lose(shard, error, &mut Vec::new());
            }
        }
        self.chunk.check()?;
        crash::point("pack.appended");
        Ok(extents)
    }

    /// What goes into which stripe at which position, and where each entry will be.
    fn lay_out(&self, entries: &[Entry]) -> (Vec<(u64, Vec<Bytes>)>, Vec<Extent>) {
        let limit = self.store.inner.config.packed_stripe_len.min(STRIPE_LEN);
        let mut stripes: Vec<(u32, Vec<&Entry>)> = Vec::new();
        for entry in entries {
            let len = entry.stored_len();
            match stripes.last_mut() {
                Some((filled, group)) if *filled + len <= limit => {
                    *filled += len;
                    group.push(entry);
                }
                _ => stripes.push((len, vec![entry])),
            }
        }
        let mut position = self.chunk.end;
        let mut extents = Vec::with_capacity(entries.len());
        let mut inputs = Vec::with_capacity(stripes.len());
        for (stripe_len, group) in stripes {
            let mut pieces = Vec::with_capacity(2 * group.len());
            let mut skip = 0;
            for entry in group {
                skip += entry.header.encoded_len();
                let len = u64::from(entry.header.len);
                extents.push(Extent { start: 0, chunk: self.chunk.id, position, stripe_len, skip, len });
                skip += entry.header.len;
                pieces.push(entry.header.encode());
                pieces.extend(entry.pieces.iter().cloned());
            }
            inputs.push((position, pieces));
            position += block_size(stripe_len);
        }
        (inputs, extents)
    }

    async fn encode(&self, inputs: Vec<(u64, Vec<Bytes>)>) -> Result<Vec<EncodedStripe>, ChunkError> {
        let (inner, chunk) = (self.store.inner.clone(), self.chunk.id);
        let total: usize = inputs.iter().flat_map(|(_, pieces)| pieces).map(Bytes::len).sum();
        let encode = move || {
            let stripe = |(position, pieces): (u64, Vec<Bytes>)| {
                encode_stripe(&inner.codec, chunk, position, u64::from_le_bytes(random_bytes()), &pieces)
            };
            inputs.into_iter().map(stripe).collect::<Result<Vec<_>, _>>()
        };
        let stripes = if total <= INLINE_LEN { encode() } else { tokio::task::spawn_blocking(encode).await? };
        stripes.map_err(|source| ChunkError::Format { chunk, source })
    }

    /// Ends its files with their trailers and closes them, all having been committed. The blocks are synced already: where a
    /// trailer cannot be written, only that is noted.
    pub async fn seal(self) {
        for (shard, outcome) in self.store.end_files(&self.chunk, 0).await {
            if let Err(error) = outcome {
                let reason = format!("its end was not written: {error}");
                self.store.inner.ledger.note_bad_shard(self.chunk.id, shard as u8, &reason);
            }
        }
        crash::point("pack.ended");
    }

    /// Leaves its files as they are, without trailers: something in them was not committed, or may not have been.
    pub async fn abandon(&self) {
        let chunk = &self.chunk;
        let closings =
            (0..SHARDS).filter_map(|shard| chunk.placement.file(chunk.id, shard)).filter_map(|(slot, name)| {
                let member = self.store.inner.volumes.get(slot)?;
                // What cannot be closed now is closed by its volume in time.
                Some(async move { _ = member.close(name).await })
            });
        join_all(closings).await;
    }

    /// Removes its files: nothing of it was ever committed, nor can be.
    pub async fn give_up(self) {
        self.store.remove(self.chunk.id, &self.chunk.placement).await;
    }
}
