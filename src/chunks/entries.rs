//! Naming what lies in a packed chunk without asking the database.

use super::format::EntryHeader;
use super::walk::{FoundStripe, Stop, Walk, Window};
use super::{ChunkError, ChunkStore, Pace};
use crate::layout::{DATA_SHARDS, SHARDS, StoredChunk};

impl ChunkStore {
    /// The headers of the entries in a packed chunk from byte `from` of its shard files on, where a stripe begins, as far as whole
    /// stripes follow one another. `chunk.end` is where the longest of its files ends.
    ///
    /// # Errors
    /// A stripe could not be rebuilt.
    pub async fn entries_from(&self, chunk: &StoredChunk, from: u64) -> Result<Vec<EntryHeader>, ChunkError> {
        let pace = Pace::new(0);
        let mut walk = Walk::new(self, chunk, &pace);
        walk.leave_failed();
        let (mut entries, mut start) = (Vec::new(), from);
        while start < chunk.end {
            let mut window = Window { start, ..Window::default() };
            let shards = walk.readable();
            walk.load(&mut window, shards).await;
            let (stripes, stop) = walk.stripes(&window, start, DATA_SHARDS).await?;
            for stripe in &stripes {
                entries.extend(self.entries_of(chunk, stripe)?);
            }
            match stop {
                Stop::WindowEnd(next) if next > start => start = next,
                Stop::WindowEnd(_) | Stop::TooFew { .. } => break,
            }
        }
        Ok(entries)
    }

    fn entries_of(&self, chunk: &StoredChunk, stripe: &FoundStripe) -> Result<Vec<EntryHeader>, ChunkError> {
        let blocks: [Option<&[u8]>; SHARDS] =
            std::array::from_fn(|shard| stripe.blocks.get(shard).and_then(Option::as_ref).map(|block| block.content()));
        let lost: Vec<usize> = (0..DATA_SHARDS).filter(|&shard| blocks[shard].is_none()).collect();
        let rebuilt = self.inner.codec.rebuild(&blocks, &lost);
        let rebuilt = rebuilt.map_err(|source| ChunkError::Code { chunk: chunk.id, source })?;
        let mut rebuilt = rebuilt.iter();
        let mut bytes = Vec::with_capacity(stripe.len as usize);
        for block in &blocks[..DATA_SHARDS] {
            let block = match block {
                Some(block) => block,
                None => rebuilt.next().map(Vec::as_slice).unwrap_or_default(),
            };
            bytes.extend_from_slice(block);
        }
        bytes.truncate(stripe.len as usize);
        let (mut entries, mut at) = (Vec::new(), 0);
        while let Some((entry, header)) = bytes.get(at..).and_then(|rest| EntryHeader::decode(rest).ok()) {
            at += header + entry.len as usize;
            entries.push(entry);
        }
        Ok(entries)
    }
}
