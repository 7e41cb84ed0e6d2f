//! The way in: a stream of bytes becomes synced shards.
//!
//! Three stages overlap: while stripe n is written to the nine volumes, n + 1 is hashed and encoded, and n + 2 received. An upload
//! therefore holds at most one stripe as received (1 MiB), one being coded (1 MiB and its 1.5 MiB of blocks) and one being
//! written (1.5 MiB), whatever the object's size. Complete chunks are sealed and synced beside the next chunk's writes.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use tokio::task::JoinHandle;

use super::fan::{Outcome, Step, fan};
use super::format::{EncodedStripe, Header, Owner, Trailer, block_size, encode_stripe, stripe_position};
use super::{ChunkError, ChunkStore};
use crate::clock::random_bytes;
use crate::layout::{
    ChunkId, DATA_SHARDS, Extent, NewChunk, NewData, Placement, SHARDS, STRIPE_LEN, ShardSet, Slot, VolumeSlot,
};
use crate::volumes::VolumeError;

/// Below this, hashing and coding is done where it stands: a hop to the blocking threads would cost more.
pub(super) const INLINE_LEN: usize = 32 << 10;
/// Pieces shorter than this are gathered by copying, so that a body of many tiny frames costs no more memory than its bytes.
const SMALL_PIECE: usize = 4 << 10;
/// Chunks that may be syncing beside the one being written.
const SEALING: usize = 2;
/// How often a chunk's failed shards are placed anew before they are left to healing.
const REPLACEMENTS: usize = 2;

/// Why a body ended before its end; the layer that made the stream knows what to make of it.
#[derive(Debug)]
pub struct BodyError(pub Box<dyn std::error::Error + Send + Sync>);

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl std::error::Error for BodyError {}

/// The bytes of an object or part, as they come.
pub type Body = Pin<Box<dyn Stream<Item = Result<Bytes, BodyError>> + Send>>;

/// What sees all bytes of a body, in order, on their way: MD5 and checksums.
pub trait Digest: Send + 'static {
    /// The next bytes.
    fn update(&mut self, bytes: &[u8]);
}

impl ChunkStore {
    /// Writes a body to chunks of its own. When this returns, all its shards (at least six of every chunk's nine) are synced; no
    /// one knows of them until the caller commits, and [`ChunkStore::discard`] removes them. After an error nothing is left,
    /// as far as the volumes still obey.
    ///
    /// Run it to its end (in a task): if the future is dropped half-way, its files stay until the sweep of the id range.
    ///
    /// # Errors
    /// The body's own error; [`ChunkError::TooFewWritten`] if a fourth shard of a chunk fails; the ledger's.
    pub async fn write<D: Digest>(&self, owner: Owner, body: Body, digest: D) -> Result<(NewData, D), ChunkError> {
        let mut writer = Writer::new(self.clone(), owner);
        match writer.run(body, digest).await {
            Ok(digest) => Ok((std::mem::take(&mut writer.data), digest)),
            Err(error) => {
                writer.undo().await;
                Err(error)
            }
        }
    }
}

/// Where a stripe goes.
struct Plan {
    chunk: ChunkId,
    /// Its number in the chunk.
    index: u64,
    /// Whether it fills its chunk up.
    fills: bool,
}

struct Writer {
    store: ChunkStore,
    owner: Owner,
    /// The chunk being written.
    open: Option<OpenChunk>,
    /// Full chunks being synced, in order.
    sealing: VecDeque<JoinHandle<(NewChunk, Result<(), ChunkError>)>>,
    /// Chunks whose sealing failed, to be removed with the rest.
    failed: Vec<NewChunk>,
    /// Volumes that failed this upload: the next chunks go elsewhere.
    avoid: Vec<VolumeSlot>,
    data: NewData,
}

/// A chunk whose files are being written.
#[derive(Debug)]
pub(super) struct OpenChunk {
    pub(super) id: ChunkId,
    pub(super) placement: Placement,
    pub(super) missing: ShardSet,
    pub(super) len: u64,
    pub(super) stripes: u32,
    pub(super) end: u64,
    last_error: Option<VolumeError>,
}

impl Writer {
    fn new(store: ChunkStore, owner: Owner) -> Self {
        Self {
            store,
            owner,
            open: None,
            sealing: VecDeque::new(),
            failed: Vec::new(),
            avoid: Vec::new(),
            data: NewData::default(),
        }
    }

    async fn run<D: Digest>(&mut self, mut body: Body, digest: D) -> Result<D, ChunkError> {
        let mut gather = Gather::default();
        let mut digest = Some(digest);
        let mut current: Option<(ChunkId, u64)> = None;
        let mut ended = false;
        let mut received: Option<Vec<Bytes>> = None;
        let mut encoded: Option<(Plan, EncodedStripe)> = None;
        loop {
            let coding = match received.take() {
                Some(pieces) => {
                    let plan = self.plan(&mut current).await?;
                    let hasher = digest.take().ok_or(ChunkError::Worker)?;
                    Some(code(self.store.clone(), plan, pieces, hasher))
                }
                None => None,
            };
            let writing = encoded.take();
            if ended && coding.is_none() && writing.is_none() {
                break;
            }
            let receive = async { if ended { Ok(None) } else { gather.stripe(&mut body).await } };
            let code = async {
                match coding {
                    Some(coding) => coding.await.map(Some),
                    None => Ok(None),
                }
            };
            let write = async {
                match writing {
                    Some((plan, stripe)) => self.write_stripe(&plan, &stripe).await,
                    None => Ok(()),
                }
            };
            let (next, coded, written) = tokio::join!(receive, code, write);
            written?;
            if let Some((plan, stripe, hasher)) = coded? {
                digest = Some(hasher);
                encoded = Some((plan, stripe));
            }
            received = next?;
            ended |= received.is_none();
        }
        self.seal_open().await?;
        while !self.sealing.is_empty() {
            self.sealed().await?;
        }
        digest.ok_or(ChunkError::Worker)
    }

    /// The place of the next stripe: every stripe before the last is full, so that its number is enough.
    async fn plan(&self, current: &mut Option<(ChunkId, u64)>) -> Result<Plan, ChunkError> {
        let inner = &self.store.inner;
        let per_chunk = (inner.config.chunk_len / u64::from(STRIPE_LEN)).max(1);
        let (chunk, index) = match *current {
            Some((chunk, index)) => (chunk, index),
            None => (inner.ids.next(&*inner.ledger).await?, 0),
        };
        let fills = index + 1 == per_chunk;
        *current = if fills { None } else { Some((chunk, index + 1)) };
        Ok(Plan { chunk, index, fills })
    }

    async fn write_stripe(&mut self, plan: &Plan, stripe: &EncodedStripe) -> Result<(), ChunkError> {
        self.store.inner.ledger.check_alive()?;
        if plan.index == 0 {
            let chunk = self.store.begin_chunk(plan.chunk, &mut self.avoid, STRIPE_LEN, &self.owner, Some(stripe));
            self.open = Some(chunk.await?);
        } else if let Some(open) = &mut self.open {
            let targets = (0..SHARDS).filter(|&shard| !open.missing.contains(shard));
            for (shard, outcome) in self.store.put_blocks(open, Some(stripe), targets, None).await {
                if let Err(error) = outcome {
                    open.lose(shard, error, &mut self.avoid);
                }
            }
        }
        let open = self.open.as_mut().ok_or(ChunkError::Worker)?;
        open.grow(stripe);
        open.check()?;
        if plan.fills {
            self.seal_open().await?;
        }
        Ok(())
    }

    /// Starts sealing the open chunk beside what follows.
    async fn seal_open(&mut self) -> Result<(), ChunkError> {
        let Some(open) = self.open.take() else { return Ok(()) };
        while self.sealing.len() >= SEALING {
            if let Err(error) = self.sealed().await {
                self.open = Some(open);
                return Err(error);
            }
        }
        let store = self.store.clone();
        self.sealing.push_back(tokio::spawn(async move { store.seal(open).await }));
        Ok(())
    }

    /// Waits for the oldest chunk being sealed.
    async fn sealed(&mut self) -> Result<(), ChunkError> {
        let Some(task) = self.sealing.pop_front() else { return Ok(()) };
        let (chunk, outcome) = task.await?;
        if let Err(error) = outcome {
            self.failed.push(chunk);
            return Err(error);
        }
        self.data.extents.push(Extent {
            start: self.data.len,
            chunk: chunk.id,
            position: stripe_position(0, STRIPE_LEN),
            stripe_len: STRIPE_LEN,
            skip: 0,
            len: chunk.len,
        });
        self.data.len += chunk.len;
        self.data.chunks.push(chunk);
        Ok(())
    }

    /// Removes every file of this upload.
    async fn undo(&mut self) {
        let mut chunks = std::mem::take(&mut self.data.chunks);
        chunks.append(&mut self.failed);
        for task in self.sealing.drain(..) {
            if let Ok((chunk, _)) = task.await {
                chunks.push(chunk);
            }
        }
        chunks.extend(self.open.take().map(OpenChunk::into_chunk));
        self.store.discard(&chunks).await;
    }
}

impl OpenChunk {
    /// Notes that a stripe was written.
    pub(super) fn grow(&mut self, stripe: &EncodedStripe) {
        self.len += u64::from(stripe.len);
        self.stripes += 1;
        self.end = stripe.position + block_size(stripe.len);
    }

    pub(super) fn lose(&mut self, shard: usize, error: VolumeError, avoid: &mut Vec<VolumeSlot>) {
        tracing::warn!(chunk = %self.id, shard, %error, "a shard could not be written");
        self.missing.insert(shard);
        if let Some(slot) = self.placement.0[shard]
            && !avoid.contains(&slot.volume)
        {
            avoid.push(slot.volume);
        }
        self.last_error = Some(error);
    }

    /// Fails once more than three shards are missing.
    pub(super) fn check(&self) -> Result<(), ChunkError> {
        let written = SHARDS - self.missing.len();
        if written >= DATA_SHARDS {
            return Ok(());
        }
        let last = self.last_error.as_ref().map_or_else(|| "no volume".into(), ToString::to_string);
        Err(ChunkError::TooFewWritten { chunk: self.id, written, last })
    }

    fn into_chunk(self) -> NewChunk {
        NewChunk { id: self.id, len: self.len, end: self.end, placement: self.placement, missing: self.missing }
    }
}

impl ChunkStore {
    /// Creates a chunk's files, and writes their first block if it has one already. Shards that fail go to other volumes, while
    /// there are any; volumes that failed are added to `avoid`.
    pub(super) async fn begin_chunk(
        &self,
        chunk: ChunkId,
        avoid: &mut Vec<VolumeSlot>,
        stripe_len: u32,
        owner: &Owner,
        first: Option<&EncodedStripe>,
    ) -> Result<OpenChunk, ChunkError> {
        let ring = self.inner.placer.ring();
        let placement = match ring.place(chunk, avoid) {
            Ok(placement) => placement,
            // Better on a volume that failed once than nowhere.
            Err(_) if !avoid.is_empty() => ring.place(chunk, &[])?,
            Err(error) => return Err(error.into()),
        };
        let mut open = OpenChunk {
            id: chunk,
            placement,
            missing: ShardSet::default(),
            len: 0,
            stripes: 0,
            end: stripe_position(0, STRIPE_LEN),
            last_error: None,
        };
        let mut targets: Vec<usize> = (0..SHARDS).filter(|&shard| open.placement.0[shard].is_some()).collect();
        for shard in (0..SHARDS).filter(|&shard| open.placement.0[shard].is_none()) {
            open.missing.insert(shard);
        }
        for round in 0..=REPLACEMENTS {
            let mut lost = ShardSet::default();
            let create = Some((stripe_len, owner));
            for (shard, outcome) in self.put_blocks(&open, first, targets.iter().copied(), create).await {
                match outcome {
                    Ok(()) => open.missing.remove(shard),
                    Err(error) => {
                        open.lose(shard, error, avoid);
                        lost.insert(shard);
                    }
                }
            }
            if lost.is_empty() || round == REPLACEMENTS {
                break;
            }
            let better = ring.replace(chunk, &open.placement, lost, avoid);
            targets.clear();
            for shard in lost.iter() {
                let Some(volume) = better[shard] else { continue };
                if let Some((before, file)) = open.placement.file(chunk, shard) {
                    let member = self.inner.volumes.get(before);
                    // What a failed creation may have left is of no use; the volume may well refuse this, too.
                    tokio::spawn(async move {
                        if let Some(member) = member {
                            _ = member.remove(file).await;
                        }
                    });
                }
                open.placement.0[shard] = Some(Slot { volume, generation: 0 });
                targets.push(shard);
            }
            if targets.is_empty() {
                break;
            }
        }
        Ok(open)
    }

    /// Writes a stripe's blocks to the given shards, in parallel; with `create` (the chunk's stripe length and its owner), their
    /// files first.
    async fn put_blocks(
        &self,
        open: &OpenChunk,
        stripe: Option<&EncodedStripe>,
        shards: impl Iterator<Item = usize>,
        create: Option<(u32, &Owner)>,
    ) -> Vec<Outcome> {
        let steps = shards.filter_map(|shard| {
            let (slot, file) = open.placement.file(open.id, shard)?;
            Some(Step { shard, slot, file, creates: create.is_some() })
        });
        fan(&self.inner.volumes, &self.inner.config, steps, |member, step| {
            let block = stripe.and_then(|stripe| Some((stripe.position, stripe.blocks.get(step.shard)?.clone())));
            let name = step.file;
            let header = create.map(|(stripe_len, owner)| Header { name, stripe_len, owner: owner.clone() }.encode());
            async move {
                if let Some(header) = header {
                    member.create(name, header).await?;
                }
                match block {
                    Some((position, block)) => member.write(name, position, vec![block]).await,
                    None => Ok(()),
                }
            }
        })
        .await
    }

    /// Ends a chunk's files with their trailers and syncs them, in parallel.
    async fn seal(&self, mut open: OpenChunk) -> (NewChunk, Result<(), ChunkError>) {
        let mut avoid = Vec::new();
        for (shard, outcome) in self.end_files(&open, STRIPE_LEN).await {
            if let Err(error) = outcome {
                open.lose(shard, error, &mut avoid);
            }
        }
        let outcome = open.check();
        (open.into_chunk(), outcome)
    }

    /// Writes the trailers of the files that are there, syncs and closes them.
    pub(super) async fn end_files(&self, open: &OpenChunk, stripe_len: u32) -> Vec<Outcome> {
        let steps = (0..SHARDS).filter(|&shard| !open.missing.contains(shard)).filter_map(|shard| {
            let (slot, file) = open.placement.file(open.id, shard)?;
            Some(Step { shard, slot, file, creates: false })
        });
        let (chunk_len, blocks, position) = (open.len, open.stripes, open.end);
        fan(&self.inner.volumes, &self.inner.config, steps, |member, step| {
            let name = step.file;
            let trailer = Trailer { name, chunk_len, blocks, stripe_len, position };
            async move {
                member.write(name, position, vec![trailer.encode()]).await?;
                member.sync(name).await
            }
        })
        .await
    }
}

/// Hashes and encodes a stripe, both at once, on the blocking threads.
async fn code<D: Digest>(
    store: ChunkStore,
    plan: Plan,
    pieces: Vec<Bytes>,
    mut digest: D,
) -> Result<(Plan, EncodedStripe, D), ChunkError> {
    let chunk = plan.chunk;
    let position = stripe_position(plan.index, STRIPE_LEN);
    let nonce = u64::from_le_bytes(random_bytes());
    let len: usize = pieces.iter().map(Bytes::len).sum();
    let encode = {
        let (inner, pieces) = (store.inner.clone(), pieces.clone());
        move || encode_stripe(&inner.codec, chunk, position, nonce, &pieces)
    };
    let hash = move || {
        for piece in &pieces {
            digest.update(piece);
        }
        digest
    };
    let (stripe, digest) = if len <= INLINE_LEN {
        (encode(), hash())
    } else {
        tokio::try_join!(tokio::task::spawn_blocking(encode), tokio::task::spawn_blocking(hash))?
    };
    let stripe = stripe.map_err(|source| ChunkError::Format { chunk, source })?;
    Ok((plan, stripe, digest))
}

/// Regroups a body's pieces into stripes, without copying any but the tiny ones.
#[derive(Default)]
struct Gather {
    /// What came with the last stripe's last piece but belongs to the next.
    rest: Bytes,
    /// A stream must not be asked again once it has ended.
    ended: bool,
}

impl Gather {
    /// The next stripe: full, or the body's last; `None` at its end.
    async fn stripe(&mut self, body: &mut Body) -> Result<Option<Vec<Bytes>>, ChunkError> {
        let mut pieces = Vec::new();
        let mut tiny = BytesMut::new();
        let mut room = STRIPE_LEN as usize;
        while room > 0 && !(self.ended && self.rest.is_empty()) {
            let mut piece = std::mem::take(&mut self.rest);
            if piece.is_empty() {
                match body.next().await {
                    Some(next) => piece = next.map_err(ChunkError::Body)?,
                    None => {
                        self.ended = true;
                        break;
                    }
                }
            }
            if piece.len() > room {
                self.rest = piece.split_off(room);
            }
            room -= piece.len();
            if piece.len() < SMALL_PIECE {
                tiny.extend_from_slice(&piece);
            } else {
                if !tiny.is_empty() {
                    pieces.push(tiny.split().freeze());
                }
                pieces.push(piece);
            }
        }
        if !tiny.is_empty() {
            pieces.push(tiny.freeze());
        }
        Ok(if pieces.is_empty() { None } else { Some(pieces) })
    }
}
