//! A database made anew from the volumes alone.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::future::join_all;
use futures_util::{StreamExt, stream};

use super::format::{DumpError, Frame, Reader};
use super::log::Log;
use super::manifest::Manifest;
use super::newer::{self, Report};
use crate::chunks::codec::CodecError;
use crate::chunks::format::{HEADER_LEN, Header, TRAILER_LEN, Trailer};
use crate::chunks::{ChunkConfig, ChunkError, ChunkStore, Ledger, LedgerError};
use crate::crash;
use crate::layout::{
    ChunkId, IdRange, NewData, PlacedExtent, Placement, SHARDS, ShardName, ShardSet, Slot, VolumeSlot,
};
use crate::metadata::{
    self, Cell, Change, FoundVolume, Metadata, Restoration, RestoredChunk, SCHEMA, SnapshotRow, SnapshotState, Table,
    VolumeSpec,
};
use crate::volumes::{Identity, IoConfig, LocalVolume, Location, Member, VolumeSet};

/// Chunks whose places are written at once.
const SETTLED_AT_ONCE: u32 = 1000;
/// Volumes without which nothing can be read.
const VOLUMES_AT_LEAST: usize = crate::layout::DATA_SHARDS;
/// Numbers of chunks left out behind the largest that is found: ranges that were reserved, and of which nothing is left.
const SEQ_MARGIN: u64 = 1 << 24;

/// Why nothing was restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The volumes are not of one deployment.
    #[error(
        "volume {first} is of deployment {deployment}, volume {second} of {other}: name the volumes of one deployment"
    )]
    Foreign {
        /// A volume's directory.
        first: PathBuf,
        /// Whose it is.
        deployment: String,
        /// Another volume's directory.
        second: PathBuf,
        /// Whose that is.
        other: String,
    },
    /// There are not enough of them.
    #[error("only {0} of the directories are volumes that can be read: six are needed")]
    TooFewVolumes(usize),
    /// A volume's threads could not be started.
    #[error("volume {volume}: its threads could not be started: {source}")]
    Threads {
        /// The volume's name.
        volume: String,
        /// Why.
        source: std::io::Error,
    },
    /// There is no snapshot on the volumes, or not the one that was asked for.
    #[error("there is no snapshot {0}on these volumes")]
    NoSnapshot(String),
    /// Every snapshot there is has something wrong with it.
    #[error("no snapshot can be read: {0}")]
    Unreadable(String),
    /// The database's answer.
    #[error(transparent)]
    Metadata(#[from] metadata::Error),
    /// The codec could not be set up.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// A blocking task ended early.
    #[error("a worker ended before its work was done")]
    Worker,
}

/// Why one snapshot cannot be restored from.
#[derive(Debug, thiserror::Error)]
enum LoadError {
    #[error(transparent)]
    Chunks(#[from] ChunkError),
    #[error(transparent)]
    Dump(#[from] DumpError),
    #[error("it is of version {0} of the tables, newer than this program, which knows {SCHEMA}")]
    Newer(u32),
    #[error("it holds what this program does not know: {0}")]
    Unknown(String),
    #[error("it is not the one that its manifest names")]
    Other,
    #[error("its manifest is damaged")]
    Manifest,
    #[error(transparent)]
    Metadata(#[from] metadata::Error),
}

/// The volumes that a store is brought back from.
#[derive(Debug)]
pub struct Source {
    deployment: String,
    pub(super) store: ChunkStore,
    volumes: Vec<FoundVolume>,
}

/// A snapshot that the volumes tell of.
#[derive(Debug, Clone)]
pub struct SnapshotFiles {
    /// What it is.
    pub manifest: Manifest,
    /// How many volumes have its manifest.
    pub on: usize,
}

/// All that is on the volumes.
#[derive(Debug)]
pub struct Found {
    /// The snapshots, the newest first.
    pub snapshots: Vec<SnapshotFiles>,
    /// Manifests that cannot be read: where, and why.
    pub damaged: Vec<String>,
}

/// What became of a restoration.
#[derive(Debug)]
pub struct Restored {
    /// What was restored.
    pub snapshot: Manifest,
    /// Transactions after it that were done again, from the log.
    pub replayed: u64,
    /// Whether the log goes on after a gap, and so was not followed to its end.
    pub gap: bool,
    /// What is there and was not restored, and the other way round.
    pub report: Report,
}

/// There is no database to ask.
#[derive(Debug)]
struct NoLedger;

#[async_trait]
impl Ledger for NoLedger {
    async fn reserve(&self, _: u32) -> Result<IdRange, LedgerError> {
        Err(LedgerError("nothing is written while the metadata are restored".into()))
    }

    fn check_alive(&self) -> Result<(), LedgerError> {
        Ok(())
    }

    async fn placement(&self, _: ChunkId) -> Result<Option<Placement>, LedgerError> {
        Ok(None)
    }

    fn note_bad_shard(&self, chunk: ChunkId, shard: u8, reason: &str) {
        tracing::debug!(%chunk, shard, reason, "a shard is bad");
    }
}

/// The shard files that there are.
#[derive(Debug, Default)]
pub(super) struct Index {
    pub(super) files: HashMap<ChunkId, Vec<(u8, Slot)>>,
}

impl Index {
    /// Where the shards of a chunk are: of several files the one that `told` names, else the newest.
    pub(super) fn placement(&self, chunk: ChunkId, told: &Placement) -> Placement {
        let mut placement = Placement::default();
        for &(shard, slot) in self.files.get(&chunk).into_iter().flatten() {
            let Some(place) = placement.0.get_mut(usize::from(shard)) else { continue };
            let is_told = |slot: Slot| told.0.get(usize::from(shard)) == Some(&Some(slot));
            let better =
                place.is_none_or(|held| !is_told(held) && (is_told(slot) || slot.generation > held.generation));
            if better {
                *place = Some(slot);
            }
        }
        placement
    }
}

impl Source {
    /// Opens the volumes at these places, those there are.
    ///
    /// # Errors
    /// They are of several deployments, or fewer than six.
    pub async fn open(specs: &[VolumeSpec], io: &IoConfig) -> Result<Self, RestoreError> {
        let mut found: BTreeMap<VolumeSlot, (Identity, VolumeSpec)> = BTreeMap::new();
        let mut first: Option<(String, PathBuf)> = None;
        for spec in specs {
            let path = PathBuf::from(&spec.path);
            let identified = tokio::task::spawn_blocking(move || LocalVolume::identify(&path));
            let identity = match identified.await.map_err(|_| RestoreError::Worker)? {
                Ok(Some(identity)) => identity,
                Ok(None) => continue,
                Err(error) => {
                    tracing::warn!(path = spec.path, %error, "this is no volume that can be read");
                    continue;
                }
            };
            let path = Path::new(&spec.path);
            match &first {
                Some((deployment, first)) if *deployment != identity.deployment => {
                    return Err(RestoreError::Foreign {
                        first: first.clone(),
                        deployment: deployment.clone(),
                        second: path.to_owned(),
                        other: identity.deployment,
                    });
                }
                Some(_) => {}
                None => first = Some((identity.deployment.clone(), path.to_owned())),
            }
            // Of a volume and the disk that was taken out of it, the volume.
            let newer = found.get(&identity.slot).is_none_or(|(held, _)| held.epoch < identity.epoch);
            if newer {
                found.insert(identity.slot, (identity, spec.clone()));
            }
        }
        let set = VolumeSet::default();
        let mut volumes = Vec::new();
        for (slot, (identity, spec)) in found {
            let (name, epoch) = (identity.volume.clone(), identity.epoch);
            let volume = LocalVolume::open(&spec.path, identity, io.clone())
                .map_err(|source| RestoreError::Threads { volume: name.clone(), source })?;
            let location = Location {
                node: spec.node.as_str().into(),
                zone: spec.zone.as_str().into(),
                region: spec.region.as_str().into(),
                weight: spec.weight,
            };
            set.insert(Member::new(Arc::new(volume), location));
            volumes.push(FoundVolume { slot, spec: VolumeSpec { id: name, ..spec }, epoch });
        }
        set.check_all().await;
        let usable = set.members().values().filter(|member| member.status().takes_writes()).count();
        let (Some((deployment, _)), true) = (first, usable >= VOLUMES_AT_LEAST) else {
            return Err(RestoreError::TooFewVolumes(usable));
        };
        let store = ChunkStore::new(set, Arc::new(NoLedger), ChunkConfig::default())?;
        Ok(Self { deployment, store, volumes })
    }

    /// Whose volumes these are.
    pub fn deployment(&self) -> &str {
        &self.deployment
    }

    /// Looks for snapshots.
    pub async fn snapshots(&self) -> Found {
        let mut snapshots: BTreeMap<(i64, String), SnapshotFiles> = BTreeMap::new();
        let mut damaged = Vec::new();
        for member in self.store.volumes().members().values() {
            let names = match member.documents().await {
                Ok(names) => names,
                Err(error) => {
                    damaged.push(error.to_string());
                    continue;
                }
            };
            for name in names.into_iter().filter(|name| Manifest::is_file_name(name)) {
                let manifest = match member.document(&name).await {
                    Ok(Some(bytes)) => Manifest::decode(&bytes).map_err(|error| error.to_string()),
                    Ok(None) => continue,
                    Err(error) => Err(error.to_string()),
                };
                match manifest {
                    Ok(manifest) if manifest.deployment == self.deployment => {
                        let key = (manifest.began, manifest.snapshot.clone());
                        snapshots.entry(key).or_insert_with(|| SnapshotFiles { manifest, on: 0 }).on += 1;
                    }
                    Ok(_) => damaged.push(format!("{name} on volume {}: it is of another deployment", member.name())),
                    Err(error) => damaged.push(format!("{name} on volume {}: {error}", member.name())),
                }
            }
        }
        Found { snapshots: snapshots.into_values().rev().collect(), damaged }
    }

    async fn index(&self) -> Index {
        let mut index = Index::default();
        let members = self.store.volumes().members();
        let lists = members.values().map(async |member| {
            let mut files: Vec<(ShardName, VolumeSlot)> = Vec::new();
            for fan_out in 0..=u8::MAX {
                match member.list(fan_out).await {
                    Ok(found) => files.extend(found.into_iter().map(|file| (file, member.slot()))),
                    Err(error) => tracing::warn!(%error, "a directory of shards could not be listed"),
                }
            }
            files
        });
        for (file, volume) in join_all(lists).await.into_iter().flatten() {
            let slot = Slot { volume, generation: file.generation };
            index.files.entry(file.chunk).or_default().push((file.shard, slot));
        }
        index
    }

    /// Whether a file is a whole shard of the chunk, as far as its ends tell.
    async fn is_whole(&self, chunk: &RestoredChunk, shard: u8, slot: Slot) -> bool {
        let Some(member) = self.store.volumes().get(slot.volume) else { return false };
        let name = ShardName { chunk: chunk.id, shard, generation: slot.generation };
        let header = member.read(name, 0, HEADER_LEN as usize).await.ok().and_then(|bytes| Header::decode(&bytes).ok());
        if header.is_none_or(|header| header.name != name) {
            return false;
        }
        if chunk.packed {
            let found = member.present(vec![name]).await.unwrap_or_default();
            return found.iter().any(|&(_, len)| len >= chunk.end);
        }
        let trailer = member.read(name, chunk.end, TRAILER_LEN as usize).await.ok();
        trailer.and_then(|bytes| Trailer::decode(&bytes).ok()).is_some_and(|trailer| trailer.name == name)
    }

    /// Puts what is found of a chunk's shards in place of what the snapshot says; answers whether anything is another.
    async fn settle(&self, index: &Index, chunk: &mut RestoredChunk) -> bool {
        let before = (chunk.placement, chunk.missing);
        let files: &[(u8, Slot)] = index.files.get(&chunk.id).map_or(&[], Vec::as_slice);
        for shard in 0..SHARDS {
            let told = chunk.placement.0[shard];
            let is_there = told.is_some_and(|slot| files.contains(&(shard as u8, slot)));
            if is_there && !chunk.missing.contains(shard) {
                continue;
            }
            // Healed or moved since, or lost.
            let mut others: Vec<Slot> = files
                .iter()
                .filter(|(of, slot)| usize::from(*of) == shard && Some(*slot) != told)
                .map(|f| f.1)
                .collect();
            others.sort_by_key(|slot| std::cmp::Reverse(slot.generation));
            chunk.missing.insert(shard);
            for slot in others {
                if self.is_whole(chunk, shard as u8, slot).await {
                    chunk.placement.0[shard] = Some(slot);
                    chunk.missing.remove(shard);
                    break;
                }
            }
        }
        // What is lost leaves its volume to what is there.
        let held: Vec<VolumeSlot> = (0..SHARDS)
            .filter(|&shard| !chunk.missing.contains(shard))
            .filter_map(|shard| Some(chunk.placement.0[shard]?.volume))
            .collect();
        for shard in chunk.missing.iter() {
            if chunk.placement.0[shard].is_some_and(|slot| held.contains(&slot.volume)) {
                chunk.placement.0[shard] = None;
            }
        }
        before != (chunk.placement, chunk.missing)
    }
}

/// What is known of chunks from the rows.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// All of them.
    pub(super) chunks: BTreeSet<ChunkId>,
    /// Those that were still written to when the snapshot was made, and where their last committed block ended.
    pub(super) open: BTreeMap<ChunkId, u64>,
    /// Those of which too little is there.
    pub(super) lost: Vec<ChunkId>,
    /// Shards that are not there.
    pub(super) missing: u64,
    /// The last transaction that the rows show, by its number in the log, and the life that the log is of.
    logged: (u64, String),
}

impl Known {
    fn note(&mut self, table: &Table, columns: &[&str], rows: &[Vec<Cell>]) {
        let at = |name: &str| columns.iter().position(|column| *column == name);
        if let ("deployment", Some(row), Some(seq), Some(life)) =
            (table.name, rows.last(), at("log_seq"), at("log_life"))
            && let (Some(Cell::Int(seq)), Some(Cell::Text(life))) = (row.get(seq), row.get(life))
        {
            self.logged = (seq.unsigned_abs(), life.clone());
        }
        let (Some(id), Some(state), Some(end)) = (at("chunk_id"), at("state"), at("file_end")) else { return };
        if table.name != "chunks" {
            return;
        }
        for row in rows {
            let (Some(Cell::Bytes(bytes)), Some(Cell::Text(state)), Some(Cell::Int(end))) =
                (row.get(id), row.get(state), row.get(end))
            else {
                continue;
            };
            let Ok(bytes) = <[u8; 16]>::try_from(bytes.as_slice()) else { continue };
            let id = ChunkId::from_bytes(bytes);
            self.chunks.insert(id);
            if state == "open" {
                self.open.insert(id, u64::try_from(*end).unwrap_or(0));
            } else {
                self.open.remove(&id);
            }
        }
    }

    fn note_changes(&mut self, changes: &[Change]) {
        for Change { table, row, key } in changes {
            match (row, key.first()) {
                (Some(row), _) => {
                    let columns: Vec<&str> = table.columns.iter().map(|(name, _)| *name).collect();
                    self.note(table, &columns, std::slice::from_ref(row));
                }
                (None, Some(Cell::Bytes(bytes))) if table.name == "chunks" => {
                    if let Ok(bytes) = <[u8; 16]>::try_from(bytes.as_slice()) {
                        let id = ChunkId::from_bytes(bytes);
                        self.chunks.remove(&id);
                        self.open.remove(&id);
                    }
                }
                (None, _) => {}
            }
        }
    }
}

/// Restores the snapshot `wanted`, or the newest that can be read, into `into`; without a database only says what would be.
/// `progress` hears how many rows have been read, and of how many.
///
/// All of it is one transaction: what is cut short leaves an empty database, and can be run again.
///
/// # Errors
/// [`RestoreError`].
pub async fn restore(
    source: &Source,
    into: Option<&Metadata>,
    wanted: Option<&str>,
    progress: &mut (dyn FnMut(u64, u64) + Send),
) -> Result<Restored, RestoreError> {
    let Found { snapshots, damaged } = source.snapshots().await;
    let candidates: Vec<SnapshotFiles> =
        snapshots.iter().filter(|files| wanted.is_none_or(|id| files.manifest.snapshot == id)).cloned().collect();
    if candidates.is_empty() {
        return Err(match wanted {
            None if !damaged.is_empty() => RestoreError::Unreadable(damaged.join("; ")),
            _ => RestoreError::NoSnapshot(wanted.map_or_else(String::new, |id| format!("{id} "))),
        });
    }
    let index = source.index().await;
    let mut skipped = damaged;
    for SnapshotFiles { manifest, .. } in candidates {
        let mut known = Known::default();
        let mut restoration = match into {
            Some(metadata) => Some(metadata.begin_restore().await?),
            None => None,
        };
        crash::point("restore.begun");
        match load(source, &index, &manifest, restoration.as_mut(), &mut known, progress).await {
            Ok(data) => {
                let (replayed, gap) = replay(source, restoration.as_mut(), &mut known).await?;
                crash::point("restore.replayed");
                if let Some(mut restoration) = restoration {
                    finish(source, &index, &manifest, &data, &mut restoration, &mut known).await?;
                    crash::point("restore.filled");
                    restoration.commit().await?;
                    crash::point("restore.committed");
                }
                let report = newer::report(source, &index, &known, into, skipped).await?;
                return Ok(Restored { snapshot: manifest, replayed, gap, report });
            }
            Err(LoadError::Metadata(error)) => return Err(error.into()),
            Err(error) => {
                tracing::warn!(snapshot = manifest.snapshot, %error, "this snapshot cannot be restored");
                skipped.push(format!("snapshot {}: {error}", manifest.snapshot));
                if let Some(restoration) = restoration {
                    restoration.abandon().await?;
                }
            }
        }
    }
    Err(RestoreError::Unreadable(skipped.join("; ")))
}

/// Reads a snapshot, and writes its rows.
async fn load(
    source: &Source,
    index: &Index,
    manifest: &Manifest,
    mut restoration: Option<&mut Restoration>,
    known: &mut Known,
    progress: &mut (dyn FnMut(u64, u64) + Send),
) -> Result<NewData, LoadError> {
    let data = manifest.data().map_err(|_| LoadError::Manifest)?;
    let extents: Vec<Result<PlacedExtent, ChunkError>> = data
        .chunks
        .iter()
        .zip(&data.extents)
        .map(|(chunk, extent)| {
            let placement = index.placement(chunk.id, &chunk.placement);
            let mut missing = ShardSet::default();
            (0..SHARDS).filter(|&shard| placement.0[shard].is_none()).for_each(|shard| missing.insert(shard));
            Ok(PlacedExtent { extent: *extent, packed: false, chunk_len: chunk.len, placement, missing })
        })
        .collect();
    let hold = source.store.reads().begin();
    let mut bytes = source.store.read(stream::iter(extents), 0..data.len, hold);
    let (mut reader, mut rows) = (Reader::default(), 0u64);
    let mut table: Option<(&'static Table, Vec<String>)> = None;
    while let Some(piece) = bytes.next().await {
        reader.push(&piece?);
        while let Some(frame) = reader.frame()? {
            match frame {
                Frame::Head(head) if head.schema > SCHEMA => return Err(LoadError::Newer(head.schema)),
                Frame::Head(head) => {
                    if head.snapshot != manifest.snapshot || head.deployment != source.deployment {
                        return Err(LoadError::Other);
                    }
                }
                Frame::Table { name, columns } => {
                    let found = Table::of(&name).ok_or_else(|| LoadError::Unknown(format!("the table {name}")))?;
                    table = Some((found, columns));
                }
                Frame::Rows(page) => {
                    let (table, columns) = table.as_ref().ok_or(DumpError::Damaged("rows of no table"))?;
                    rows += page.len() as u64;
                    let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
                    known.note(table, &columns, &page);
                    if let Some(restoration) = restoration.as_deref_mut() {
                        restoration.write(table, &columns, &page).await?;
                        crash::point("restore.page");
                    }
                    progress(rows, manifest.rows);
                }
                Frame::End(_) => {}
            }
        }
    }
    reader.finish()?;
    Ok(data)
}

/// Does again what was committed after the snapshot, as far as the log goes without a gap; answers how many transactions that were, and
/// whether there is more behind a gap.
async fn replay(
    source: &Source,
    mut restoration: Option<&mut Restoration>,
    known: &mut Known,
) -> Result<(u64, bool), metadata::Error> {
    let (mut at, life) = known.logged.clone();
    let log = Log::open(source.store.volumes(), &source.deployment, &life).await;
    let files = log.behind(at);
    let end = files.iter().map(|&(_, last)| last).max().unwrap_or(at);
    let mut replayed = 0;
    for file in files {
        if file.0 > at + 1 {
            break;
        }
        // What cannot be read may be in another file, too: one that was written again.
        let Some(records) = log.read(file).await else { continue };
        for (seq, changes) in records {
            if seq != at + 1 {
                continue;
            }
            known.note_changes(&changes);
            if let Some(restoration) = restoration.as_deref_mut() {
                restoration.replay(&changes).await?;
            }
            (at, replayed) = (seq, replayed + 1);
        }
    }
    Ok((replayed, at < end))
}

/// What the snapshot cannot know: where everything is now.
async fn finish(
    source: &Source,
    index: &Index,
    manifest: &Manifest,
    data: &NewData,
    restoration: &mut Restoration,
    known: &mut Known,
) -> Result<(), metadata::Error> {
    let row = SnapshotRow {
        id: manifest.snapshot.clone(),
        state: SnapshotState::Complete,
        began: manifest.began,
        completed: None,
        rows: manifest.rows,
        bytes: manifest.bytes,
    };
    let last_seq = index.files.keys().map(|chunk| chunk.seq).max().unwrap_or(0).saturating_add(SEQ_MARGIN);
    restoration.close_old_life().await?;
    restoration.register(&row, data, &source.volumes, last_seq).await?;
    known.chunks.extend(data.chunks.iter().map(|chunk| chunk.id));
    let mut after = ChunkId { seq: 0, nonce: 0 };
    loop {
        let page = restoration.chunks_after(after, SETTLED_AT_ONCE).await?;
        let Some(last) = page.last() else { return Ok(()) };
        after = last.id;
        let mut changed = Vec::new();
        for mut chunk in page {
            if source.settle(index, &mut chunk).await {
                changed.push(chunk.clone());
            } else if !chunk.missing.is_empty() {
                // Whoever noted it is no more: it waits for healing again.
                changed.push(chunk.clone());
            }
            if !chunk.dead {
                known.missing += chunk.missing.len() as u64;
                if chunk.missing.len() > crate::layout::PARITY_SHARDS {
                    known.lost.push(chunk.id);
                }
            }
        }
        if !changed.is_empty() {
            restoration.settle_chunks(&changed).await?;
        }
    }
}
