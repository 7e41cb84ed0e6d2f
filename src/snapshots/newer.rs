//! What is on the volumes and was not restored, by name; and what was restored and cannot be read.

use serde::Serialize;

use super::restore::{Index, Known, Source};
use crate::chunks::format::{HEADER_LEN, Header, TRAILER_LEN, Trailer};
use crate::clock::Millis;
use crate::layout::{ChunkId, DATA_SHARDS, Placement, SHARDS, ShardSet, StoredChunk};
use crate::metadata::{self, Metadata};

/// Names told of one chunk at most.
const NAMES: u32 = 10_000;

/// An object, or a part of one, of which bytes are on the volumes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Named {
    /// The bucket.
    pub bucket: String,
    /// The key.
    pub key: String,
    /// The part's number; 0 for an object put at once.
    pub part: u32,
    /// How many bytes of it are in this chunk; `None` if that cannot be told.
    pub bytes: Option<u64>,
    /// When they were written, in milliseconds since 1970; known of small ones alone.
    pub modified: Option<Millis>,
    /// The chunk that they are in.
    pub chunk: String,
    /// Whether enough of the chunk is there to read them.
    pub readable: bool,
}

/// What differs between what was restored and what is there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Bytes that no restored row refers to: written after the snapshot, or never committed.
    pub newer: Vec<Named>,
    /// Objects and parts that were restored and cannot be read any more.
    pub lost: Vec<Named>,
    /// Chunks that no row knows and that cannot be named, because no header of theirs can be read.
    pub unnamed: Vec<String>,
    /// Chunks of other snapshots.
    pub other_snapshots: u64,
    /// Shards that are missing and wait for healing.
    pub missing_shards: u64,
    /// Snapshots and manifests that were passed over, and why.
    pub skipped: Vec<String>,
}

/// Compares what is there with what is known.
pub(super) async fn report(
    source: &Source,
    index: &Index,
    known: &Known,
    metadata: Option<&Metadata>,
    skipped: Vec<String>,
) -> Result<Report, metadata::Error> {
    let mut report = Report { skipped, missing_shards: known.missing, ..Report::default() };
    let mut unknown: Vec<ChunkId> = index.files.keys().copied().filter(|id| !known.chunks.contains(id)).collect();
    unknown.sort_unstable();
    for chunk in unknown {
        let placement = index.placement(chunk, &Placement::default());
        let readable = placement.0.iter().flatten().count() >= DATA_SHARDS;
        let Some((header, bytes)) = header(source, chunk, &placement).await else {
            report.unnamed.push(chunk.to_string());
            continue;
        };
        if header.stripe_len == 0 {
            entries(source, chunk, placement, HEADER_LEN, &mut report).await;
        } else if header.owner.bucket.is_empty() {
            report.other_snapshots += 1;
        } else {
            let owner = header.owner;
            let chunk = chunk.to_string();
            let (bucket, key, part) = (owner.bucket, owner.key, owner.part);
            report.newer.push(Named { bucket, key, part, bytes, modified: None, chunk, readable });
        }
    }
    for (&chunk, &end) in &known.open {
        let placement = index.placement(chunk, &Placement::default());
        entries(source, chunk, placement, end.max(HEADER_LEN), &mut report).await;
    }
    if let Some(metadata) = metadata {
        for &chunk in &known.lost {
            for (bucket, key, part) in metadata.named_in_chunk(chunk, NAMES).await? {
                let chunk = chunk.to_string();
                report.lost.push(Named { bucket, key, part, bytes: None, modified: None, chunk, readable: false });
            }
        }
    }
    Ok(report)
}

/// The header of any of a chunk's shards, and the chunk's length if a trailer tells it.
async fn header(source: &Source, chunk: ChunkId, placement: &Placement) -> Option<(Header, Option<u64>)> {
    let mut header = None;
    for shard in 0..SHARDS {
        let Some((slot, name)) = placement.file(chunk, shard) else { continue };
        let Some(member) = source.store.volumes().get(slot) else { continue };
        let Ok(bytes) = member.read(name, 0, HEADER_LEN as usize).await else { continue };
        let Some(found) = Header::decode(&bytes).ok().filter(|header| header.name == name) else { continue };
        let len = member.present(vec![name]).await.ok().and_then(|found| Some(found.first()?.1)).unwrap_or(0);
        let trailer = match len.checked_sub(TRAILER_LEN) {
            Some(at) => member.read(name, at, TRAILER_LEN as usize).await.ok(),
            None => None,
        };
        let trailer = trailer.and_then(|bytes| Trailer::decode(&bytes).ok()).filter(|trailer| trailer.name == name);
        if let Some(trailer) = trailer {
            return Some((found, Some(trailer.chunk_len)));
        }
        header.get_or_insert(found);
    }
    header.map(|header| (header, None))
}

/// Notes the entries of a packed chunk from a position on.
async fn entries(source: &Source, chunk: ChunkId, placement: Placement, from: u64, report: &mut Report) {
    let mut missing = ShardSet::default();
    let mut end = 0;
    for shard in 0..SHARDS {
        let file = placement.file(chunk, shard);
        let member = file.and_then(|(slot, name)| Some((source.store.volumes().get(slot)?, name)));
        let len = match member {
            Some((member, name)) => member.present(vec![name]).await.ok().and_then(|found| Some(found.first()?.1)),
            None => None,
        };
        match len {
            Some(len) => end = end.max(len),
            None => missing.insert(shard),
        }
    }
    let stored = StoredChunk { id: chunk, packed: true, placement, missing, len: 0, end };
    match source.store.entries_from(&stored, from).await {
        Ok(entries) => {
            for entry in entries {
                let (bucket, key, part) = (entry.owner.bucket, entry.owner.key, entry.owner.part);
                report.newer.push(Named {
                    bucket,
                    key,
                    part,
                    bytes: Some(u64::from(entry.len)),
                    modified: Some(entry.modified),
                    chunk: chunk.to_string(),
                    readable: true,
                });
            }
        }
        Err(error) => {
            tracing::warn!(%chunk, %error, "the entries of a chunk cannot be read");
            report.unnamed.push(chunk.to_string());
        }
    }
}
