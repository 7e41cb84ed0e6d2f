//! From stripe to stripe through a chunk's shard files, in memory that does not grow with the chunk.
//!
//! The files are read in windows: the same range of each. Where a file cannot be read the window holds zeros, in which no block
//! verifies. A stripe is what blocks of one nonce and length agree on.

use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::future::join_all;

use super::format::{HEADER_LEN, Header, StoredBlock, TRAILER_LEN, Trailer, block_size, take_block};
use super::{ChunkError, ChunkStore, Pace};
use crate::layout::{SHARDS, STRIPE_LEN, ShardName, ShardSet, StoredChunk};
use crate::volumes::{Member, Status, VolumeError};

/// Blocks of full stripes in one window.
const WINDOW_BLOCKS: u64 = 4;
/// Where a window cannot be read as a whole, it is read in pieces of so many bytes.
const PIECE: usize = 16 << 10;

/// What a shard is found to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// All that was looked at is right.
    Good,
    /// Something is missing or wrong.
    Bad(String),
    /// Its volume could not say.
    Away(String),
}

/// One shard's file, if it has one.
#[derive(Debug, Clone)]
pub(super) struct ShardFile {
    pub(super) shard: usize,
    pub(super) name: ShardName,
    pub(super) member: Arc<Member>,
}

/// A window of all files.
#[derive(Debug, Clone, Default)]
pub(super) struct Window {
    pub(super) start: u64,
    pub(super) bytes: [Option<Bytes>; SHARDS],
}

/// A stripe that enough blocks agree on.
#[derive(Debug, Clone)]
pub(super) struct FoundStripe {
    pub(super) position: u64,
    pub(super) len: u32,
    pub(super) nonce: u64,
    pub(super) blocks: [Option<StoredBlock>; SHARDS],
}

impl FoundStripe {
    pub(super) fn good(&self) -> usize {
        self.blocks.iter().flatten().count()
    }

    /// Where the next one begins.
    pub(super) fn end(&self) -> u64 {
        self.position + block_size(self.len)
    }
}

/// A walk through a chunk.
#[derive(Debug)]
pub(super) struct Walk<'a> {
    store: &'a ChunkStore,
    chunk: StoredChunk,
    pace: &'a Pace,
    pub(super) files: [Option<ShardFile>; SHARDS],
    /// What is known of each shard so far.
    pub(super) findings: [Finding; SHARDS],
    /// Bytes read.
    pub(super) read: u64,
}

impl<'a> Walk<'a> {
    pub(super) fn new(store: &'a ChunkStore, chunk: &StoredChunk, pace: &'a Pace) -> Self {
        let mut files = [const { None }; SHARDS];
        let mut findings = [const { Finding::Good }; SHARDS];
        for shard in 0..SHARDS {
            let Some((slot, name)) = chunk.placement.file(chunk.id, shard).filter(|_| !chunk.missing.contains(shard))
            else {
                findings[shard] = Finding::Bad("it was never written".into());
                continue;
            };
            match store.inner.volumes.get(slot) {
                Some(member) => files[shard] = Some(ShardFile { shard, name, member }),
                None => findings[shard] = Finding::Bad(format!("volume {slot} was removed")),
            }
        }
        Self { store, chunk: *chunk, pace, files, findings, read: 0 }
    }

    /// The shards that have files which may be read.
    pub(super) fn readable(&self) -> ShardSet {
        let mut set = ShardSet::default();
        for file in self.files.iter().flatten() {
            if !matches!(self.findings[file.shard], Finding::Away(_)) {
                set.insert(file.shard);
            }
        }
        set
    }

    /// Asks nothing of volumes that are failed: each answer would be waited for in vain.
    pub(super) fn leave_failed(&mut self) {
        for file in self.files.clone().iter().flatten() {
            if file.member.status() == Status::Failed {
                self.find(file.shard, Finding::Away(format!("volume {} is failed", file.member.name())));
            }
        }
    }

    /// The first byte behind the window that begins at `start`.
    pub(super) fn window_end(&self, start: u64) -> u64 {
        (start + WINDOW_BLOCKS * block_size(STRIPE_LEN)).min(self.chunk.end)
    }

    /// Reads a window of these shards into `window`, all at a time.
    pub(super) async fn load(&mut self, window: &mut Window, shards: ShardSet) {
        let (start, end) = (window.start, self.window_end(window.start));
        let len = end.saturating_sub(start) as usize;
        self.pace.take(len as u64 * shards.len() as u64).await;
        let reads = shards.iter().filter_map(|shard| self.files[shard].clone()).map(async |file| {
            let outcome = read_window(&file, start, len).await;
            (file.shard, outcome)
        });
        for (shard, (bytes, finding)) in join_all(reads).await {
            self.read += bytes.as_ref().map_or(0, |bytes| bytes.len() as u64);
            window.bytes[shard] = bytes;
            self.find(shard, finding);
        }
    }

    /// Notes what was found of a shard; the first thing that is wrong with it stays.
    pub(super) fn find(&mut self, shard: usize, finding: Finding) {
        if self.findings[shard] == Finding::Good {
            self.findings[shard] = finding;
        }
    }

    /// The stripes from `position` on that lie in the window, each with at least `enough` blocks; and where it stopped, which is the
    /// window's end, or where there were not enough.
    pub(super) async fn stripes(
        &self,
        window: &Window,
        position: u64,
        enough: usize,
    ) -> Result<(Vec<FoundStripe>, Stop), ChunkError> {
        let (chunk, window, end) = (self.chunk, window.clone(), self.window_end(window.start));
        let find = move || {
            let mut stripes: Vec<FoundStripe> = Vec::new();
            let mut position = position;
            while position < end {
                let expected = expected_len(&chunk, position);
                let blocks = blocks_at(&chunk, &window, expected, position..end);
                match agreed(&blocks, position) {
                    Some(stripe) if stripe.good() >= enough => {
                        position = stripe.end();
                        stripes.push(stripe);
                    }
                    // Its blocks do not end in this window: it is the next one's first.
                    None if position + block_size(STRIPE_LEN) > end && end < chunk.end && position > window.start => {
                        return (stripes, Stop::WindowEnd(position));
                    }
                    found => {
                        let mut wrong = ShardSet::default();
                        let read = (0..SHARDS).filter(|&shard| window.bytes[shard].is_some());
                        read.filter(|&shard| blocks[shard].is_none()).for_each(|shard| wrong.insert(shard));
                        let next = match (&found, expected) {
                            (Some(stripe), _) => Some(stripe.end()),
                            (None, Some(len)) if len > 0 => Some(position + block_size(len)),
                            (None, _) => None,
                        };
                        let good = found.map_or(0, |stripe| stripe.good());
                        return (stripes, Stop::TooFew { position, good, wrong, next });
                    }
                }
            }
            (stripes, Stop::WindowEnd(position))
        };
        Ok(tokio::task::spawn_blocking(find).await?)
    }

    /// Reads and checks a shard's header. The file must have its name: one that is only open still is lost already.
    pub(super) async fn header(&mut self, shard: usize) -> Option<Header> {
        let file = self.files[shard].clone()?;
        let outcome = match file.member.present(vec![file.name]).await {
            Ok(found) if found.is_empty() => Err(Finding::Bad("its file is not there".into())),
            Ok(_) => match file.member.read(file.name, 0, HEADER_LEN as usize).await {
                Ok(bytes) => match Header::decode(&bytes) {
                    Ok(header) if header.name == file.name => Ok(header),
                    Ok(_) => Err(Finding::Bad("its header is another shard's".into())),
                    Err(error) => Err(Finding::Bad(format!("its header: {error}"))),
                },
                Err(error) => Err(finding(&error)),
            },
            Err(error) => Err(finding(&error)),
        };
        outcome.map_err(|finding| self.find(shard, finding)).ok()
    }

    /// Reads and checks a shard's trailer. A packed chunk's shards need none.
    pub(super) async fn trailer(&mut self, shard: usize) {
        if self.chunk.packed {
            return;
        }
        let Some(file) = self.files[shard].clone() else { return };
        let finding = match file.member.read(file.name, self.chunk.end, TRAILER_LEN as usize).await {
            Ok(bytes) => match Trailer::decode(&bytes) {
                Ok(t) if t.name == file.name && t.position == self.chunk.end && t.chunk_len == self.chunk.len => {
                    Finding::Good
                }
                Ok(_) => Finding::Bad("its trailer is another shard's".into()),
                Err(error) => Finding::Bad(format!("its trailer: {error}")),
            },
            Err(error) => finding(&error),
        };
        self.find(shard, finding);
    }

    pub(super) fn check_alive(&self) -> Result<(), ChunkError> {
        Ok(self.store.inner.ledger.check_alive()?)
    }
}

/// Where a search for stripes ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// Behind the window's last whole stripe.
    WindowEnd(u64),
    /// Before a stripe of which not enough blocks are there.
    TooFew {
        /// Where it begins.
        position: u64,
        /// The most that agree there.
        good: usize,
        /// Shards that were read there and have no block of this place.
        wrong: ShardSet,
        /// Where the next stripe begins, as far as that can be known.
        next: Option<u64>,
    },
}

/// What an error says of the shard.
pub(super) fn finding(error: &VolumeError) -> Finding {
    match error {
        VolumeError::Absent { .. } | VolumeError::Truncated { .. } => Finding::Bad(error.to_string()),
        // A disk that cannot read one file may well read the others: the shard is bad, whatever becomes of the disk.
        VolumeError::Io { .. } => Finding::Bad(error.to_string()),
        VolumeError::Exists { .. } | VolumeError::Full { .. } | VolumeError::Unavailable { .. } => {
            Finding::Away(error.to_string())
        }
    }
}

async fn read_window(file: &ShardFile, start: u64, len: usize) -> (Option<Bytes>, Finding) {
    let first = match file.member.read(file.name, start, len).await {
        Ok(bytes) => return (Some(bytes), Finding::Good),
        Err(error @ (VolumeError::Truncated { .. } | VolumeError::Io { .. })) => finding(&error),
        Err(error) => return (None, finding(&error)),
    };
    let mut bytes = BytesMut::zeroed(len);
    for (i, piece) in bytes.chunks_mut(PIECE).enumerate() {
        let at = start + (i * PIECE) as u64;
        match file.member.read(file.name, at, piece.len()).await {
            Ok(read) => piece.copy_from_slice(&read),
            Err(VolumeError::Io { .. }) => {}
            // Behind the end there is nothing, but the last piece may begin before it.
            Err(VolumeError::Truncated { .. }) => {
                read_to_the_end(file, at, piece).await;
                break;
            }
            Err(error) => return (None, finding(&error)),
        }
    }
    (Some(bytes.freeze()), first)
}

/// Fills `piece` with what the file has from `at` on.
async fn read_to_the_end(file: &ShardFile, at: u64, piece: &mut [u8]) {
    let (mut filled, mut step) = (0, piece.len().next_power_of_two() / 2);
    while step > 0 {
        if filled + step <= piece.len()
            && let Ok(read) = file.member.read(file.name, at + filled as u64, step).await
        {
            piece[filled..filled + step].copy_from_slice(&read);
            filled += step;
        }
        step /= 2;
    }
}

/// How long the stripe at `position` must be; `None` in a packed chunk, whose stripes differ.
fn expected_len(chunk: &StoredChunk, position: u64) -> Option<u32> {
    let index = (position - HEADER_LEN) / block_size(STRIPE_LEN);
    let rest = chunk.len.saturating_sub(index * u64::from(STRIPE_LEN));
    (!chunk.packed).then_some(rest.min(u64::from(STRIPE_LEN)) as u32)
}

/// The blocks of a stripe that begins where `place` does and ends in it, and has the length that it must have: those that are whole
/// and of their shard and place.
fn blocks_at(
    chunk: &StoredChunk,
    window: &Window,
    expected: Option<u32>,
    place: Range<u64>,
) -> [Option<StoredBlock>; SHARDS] {
    let (position, end) = (place.start, place.end);
    let offset = usize::try_from(position.saturating_sub(window.start)).unwrap_or(usize::MAX);
    let mut blocks: [Option<StoredBlock>; SHARDS] = [const { None }; SHARDS];
    for (shard, (place, bytes)) in blocks.iter_mut().zip(&window.bytes).enumerate() {
        let Some(bytes) = bytes else { continue };
        let rest = bytes.slice(offset.min(bytes.len())..);
        let possible = |block: &StoredBlock| {
            expected.is_none_or(|len| block.stripe_len == len) && position + block_size(block.stripe_len) <= end
        };
        *place = take_block(chunk.id, shard as u8, position, &rest).ok().filter(possible);
    }
    blocks
}

/// The stripe that most of these blocks agree on; `None` if there is no block.
fn agreed(blocks: &[Option<StoredBlock>; SHARDS], position: u64) -> Option<FoundStripe> {
    let kind = |block: &StoredBlock| (block.stripe_len, block.nonce);
    let (len, nonce) = blocks
        .iter()
        .flatten()
        .map(kind)
        .max_by_key(|&one| blocks.iter().flatten().filter(|block| kind(block) == one).count())?;
    let blocks = blocks.clone().map(|block| block.filter(|block| kind(block) == (len, nonce)));
    Some(FoundStripe { position, len, nonce, blocks })
}
