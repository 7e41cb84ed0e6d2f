//! A snapshot's manifest: what is needed to read it without a database. Small, and on every volume.
//!
//! A line with a magic, the format's version and the XXH3-64 of all that follows, then JSON.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::layout::{ChunkId, Extent, NewChunk, NewData};
use crate::metadata::SnapshotRow;

const MAGIC: &str = "ninefold-snapshot";
const VERSION: u32 = 1;
/// Before a manifest's name, which is the snapshot's.
const PREFIX: &str = "snapshot.";

/// Why a manifest cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// It is none, or of a version that this program does not know.
    #[error("it is no manifest that this program knows")]
    Unknown,
    /// Its checksum does not match, or its text cannot be read.
    #[error("it is damaged")]
    Damaged,
}

/// Where a snapshot is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The deployment's id.
    pub deployment: String,
    /// The snapshot's name.
    pub snapshot: String,
    /// When it began, in milliseconds since 1970, by the database's clock.
    pub began: i64,
    /// When its data were there, by the same clock.
    pub written: i64,
    /// Rows in it.
    pub rows: u64,
    /// Bytes of it.
    pub bytes: u64,
    chunks: Vec<ChunkText>,
}

/// A chunk of the snapshot, and the extent in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct ChunkText {
    id: String,
    len: u64,
    end: u64,
    /// Where its shards were written.
    slots: String,
    missing: u16,
    start: u64,
    position: u64,
    stripe_len: u32,
    skip: u32,
}

impl Manifest {
    /// The manifest of a snapshot whose data are these.
    pub fn new(deployment: &str, row: &SnapshotRow, written: i64, data: &NewData) -> Self {
        let chunks = data.chunks.iter().zip(&data.extents).map(|(chunk, extent)| ChunkText {
            id: chunk.id.to_string(),
            len: chunk.len,
            end: chunk.end,
            slots: chunk.placement.to_string(),
            missing: chunk.missing.0,
            start: extent.start,
            position: extent.position,
            stripe_len: extent.stripe_len,
            skip: extent.skip,
        });
        Self {
            deployment: deployment.to_owned(),
            snapshot: row.id.clone(),
            began: row.began,
            written,
            rows: row.rows,
            bytes: row.bytes,
            chunks: chunks.collect(),
        }
    }

    /// The name of a snapshot's manifest.
    pub fn file_name(snapshot: &str) -> String {
        format!("{PREFIX}{snapshot}")
    }

    /// Whether a document of this name is a manifest.
    pub fn is_file_name(name: &str) -> bool {
        name.starts_with(PREFIX)
    }

    /// The manifest as it is written.
    pub fn encode(&self) -> Bytes {
        // Texts and numbers: there is nothing in it that JSON cannot say.
        let json = serde_json::to_string_pretty(self).unwrap_or_default();
        format!("{MAGIC} {VERSION} {:016x}\n{json}\n", xxh3_64(json.as_bytes())).into()
    }

    /// Reads a manifest back.
    ///
    /// # Errors
    /// [`ManifestError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, ManifestError> {
        let text = std::str::from_utf8(bytes).map_err(|_| ManifestError::Damaged)?;
        let (line, json) = text.split_once('\n').ok_or(ManifestError::Damaged)?;
        let mut words = line.split(' ');
        if words.next() != Some(MAGIC) || words.next() != Some(&VERSION.to_string()) {
            return Err(ManifestError::Unknown);
        }
        let json = json.strip_suffix('\n').ok_or(ManifestError::Damaged)?;
        if words.next() != Some(&format!("{:016x}", xxh3_64(json.as_bytes()))) {
            return Err(ManifestError::Damaged);
        }
        let manifest: Self = serde_json::from_str(json).map_err(|_| ManifestError::Damaged)?;
        manifest.data().map(|_| manifest)
    }

    /// The chunks that hold the snapshot, and the extents in them.
    ///
    /// # Errors
    /// [`ManifestError::Damaged`] if there is something else where a chunk's id or its places should be.
    pub fn data(&self) -> Result<NewData, ManifestError> {
        let mut data = NewData { len: self.bytes, ..NewData::default() };
        for text in &self.chunks {
            let id: ChunkId = text.id.parse().map_err(|_| ManifestError::Damaged)?;
            data.chunks.push(NewChunk {
                id,
                len: text.len,
                end: text.end,
                placement: text.slots.parse().map_err(|_| ManifestError::Damaged)?,
                missing: crate::layout::ShardSet(text.missing),
            });
            let ChunkText { start, position, stripe_len, skip, len, .. } = *text;
            data.extents.push(Extent { start, chunk: id, position, stripe_len, skip, len });
        }
        Ok(data)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::layout::{Placement, ShardSet, Slot, VolumeSlot};
    use crate::metadata::SnapshotState;

    fn manifest() -> Manifest {
        let id = ChunkId { seq: 7, nonce: 9 };
        let slot = |i| Some(Slot { volume: VolumeSlot(i as u16 + 1), generation: 0 });
        let placement = Placement(std::array::from_fn(slot));
        let chunk = NewChunk { id, len: 100, end: 4145, placement, missing: ShardSet(4) };
        let extent = Extent { start: 0, chunk: id, position: 4096, stripe_len: 1 << 20, skip: 0, len: 100 };
        let row = SnapshotRow {
            id: "1700000000000-0badcafe".into(),
            state: SnapshotState::Written,
            began: 1_700_000_000_000,
            completed: None,
            rows: 3,
            bytes: 100,
        };
        Manifest::new(
            "deployment",
            &row,
            1_700_000_000_500,
            &NewData { len: 100, chunks: vec![chunk], extents: vec![extent] },
        )
    }

    #[test]
    fn manifests_survive_and_damage_is_noticed() {
        let manifest = manifest();
        let bytes = manifest.encode();
        assert_eq!(Manifest::decode(&bytes), Ok(manifest));
        for at in 0..bytes.len() {
            let mut damaged = bytes.to_vec();
            damaged[at] ^= 1;
            assert!(Manifest::decode(&damaged).is_err(), "{at}");
        }
        assert!(Manifest::decode(&bytes[..bytes.len() - 1]).is_err());
    }

    #[test]
    fn the_format_is_pinned() {
        let pinned =
            std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/snapshot_v1.manifest")).unwrap();
        assert_eq!(Manifest::decode(&pinned), Ok(manifest()));
    }
}
