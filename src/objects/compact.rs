//! Compaction: what still lives of a packed chunk is packed again elsewhere, so that the chunk can go.

use futures_util::{StreamExt, TryStreamExt, stream};

use super::{Error, Result, Store};
use crate::chunks::Owner;
use crate::crash;
use crate::layout::{ChunkId, Extent};
use crate::metadata::{self, PackedEntry, PackedWrite};

/// Entries looked up at once.
const PAGE: u32 = 512;
/// Entries on their way at once; each holds its bytes.
const AT_ONCE: usize = 16;

/// What a compaction moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Compacted {
    /// Entries.
    pub entries: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Store {
    /// Moves everything that is referred to in a sealed packed chunk to open ones. Rows are switched only if they still say what
    /// was read; what changed meanwhile is not there any more, or is found the next time.
    ///
    /// # Errors
    /// Bytes that cannot be read; the database. What was moved by then stays moved.
    pub async fn compact(&self, chunk: ChunkId) -> Result<Compacted> {
        let mut all = Compacted::default();
        loop {
            let entries = self.metadata.packed_entries(chunk, PAGE).await?;
            let mut moves = stream::iter(entries).map(|entry| self.repack(entry)).buffer_unordered(AT_ONCE);
            let mut moved = Compacted::default();
            while let Some(bytes) = moves.try_next().await? {
                moved.entries += u64::from(bytes > 0);
                moved.bytes += bytes;
            }
            all.entries += moved.entries;
            all.bytes += moved.bytes;
            // Nothing left, or nothing that can be moved just now.
            if moved.entries == 0 {
                return Ok(all);
            }
        }
    }

    /// Moves one entry; answers how many bytes that were, 0 if somebody else was faster.
    async fn repack(&self, entry: PackedEntry) -> Result<u64> {
        let from = entry.placed.extent;
        let range = from.start..from.start + from.len;
        // Should the chunk die meanwhile, its bytes are not needed any more, and the switch of rows fails.
        let hold = self.chunks.reads().begin();
        let bytes = self.chunks.read(stream::iter([Ok(entry.placed)]), range, hold).try_collect().await?;
        let owner = Owner { bucket: entry.bucket, key: entry.key, part: 0 };
        // Where to is known once it is there; an extent keeps its place in its data.
        let to = Extent { len: from.len, ..from };
        let write = PackedWrite::Move { owner: entry.owner, from, to, modified: entry.modified };
        match self.lanes.write(write, owner, bytes).await {
            Ok(_) => {
                crash::point("compact.moved");
                Ok(from.len)
            }
            Err(Error::Metadata(metadata::Error::SourceChanged)) => Ok(0),
            Err(error) => Err(error),
        }
    }
}
