//! `ninefold check`: whether the rows agree with one another, and the shard files with the rows.
//!
//! It changes nothing, needs no lease and works page by page, so that its memory does not grow with the store. Beside a running
//! server rows and files change while it looks: what does not agree is looked at again after a pause, and only what still does
//! not is reported.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use serde::Serialize;

use crate::chunks::format::{HEADER_LEN, Header, TRAILER_LEN, Trailer, block_size, stripe_position, verify_block};
use crate::layout::{ChunkId, SHARDS, STRIPE_LEN, ShardName, VolumeSlot};
use crate::metadata::{self, Discrepancy, Metadata, RangeState, StoredChunk};
use crate::volumes::{Member, VolumeError, VolumeSet};

/// Chunks whose files are looked for at once.
const CHUNKS_AT_ONCE: u32 = 500;
/// Files whose chunks are looked up at once.
const FILES_AT_ONCE: usize = 500;
/// How often what does not agree is looked at again.
const LOOKS: u32 = 3;

/// How to check.
#[derive(Debug, Clone)]
pub struct CheckOptions {
    /// Whether to read and verify every block, and not only to look for files and their lengths.
    pub deep: bool,
    /// How long to wait before what does not agree is looked at again.
    pub pause: Duration,
}

impl Default for CheckOptions {
    fn default() -> Self {
        Self { deep: false, pause: Duration::from_millis(500) }
    }
}

/// What was looked at, and what of it is on its way to be put right.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Rows of data.
    pub data: u64,
    /// Chunks that are not dead.
    pub chunks: u64,
    /// Shard files found that a row names.
    pub files: u64,
    /// Bytes read and verified.
    pub verified: u64,
    /// Shards that wait for healing.
    pub unhealed: u64,
    /// Files of dead chunks.
    pub dead: u64,
    /// Files to be removed, once their volume is there.
    pub pending: u64,
    /// Files of writes that are under way.
    pub under_way: u64,
    /// Files of writes that were cut, to be swept away.
    pub cut: u64,
    /// What is wrong.
    pub discrepancies: u64,
}

/// Checks everything; hands what is wrong to `report`, one by one.
///
/// # Errors
/// The database's: then it could not be checked.
pub async fn check(
    metadata: &Metadata,
    volumes: &VolumeSet,
    options: &CheckOptions,
    report: &mut (dyn FnMut(Discrepancy) + Send),
) -> Result<Summary, metadata::Error> {
    let mut check = Check { metadata, members: volumes.members(), options, report, summary: Summary::default() };
    check.rows().await?;
    let usable = check.volumes().await;
    check.shards(&usable).await?;
    check.strays(&usable).await?;
    Ok(check.summary)
}

struct Check<'a> {
    metadata: &'a Metadata,
    members: Arc<BTreeMap<VolumeSlot, Arc<Member>>>,
    options: &'a CheckOptions,
    report: &'a mut (dyn FnMut(Discrepancy) + Send),
    summary: Summary,
}

impl Check<'_> {
    fn found(&mut self, discrepancy: Discrepancy) {
        self.summary.discrepancies += 1;
        (self.report)(discrepancy);
    }

    async fn rows(&mut self) -> Result<(), metadata::Error> {
        let mut after = i64::MIN;
        loop {
            let page = self.metadata.check_data(after).await?;
            self.summary.data += page.rows;
            page.found.into_iter().for_each(|found| self.found(found));
            let Some(next) = page.next else { break };
            after = next;
        }
        let mut after = ChunkId { seq: 0, nonce: 0 };
        loop {
            let page = self.metadata.check_chunks(after).await?;
            page.found.into_iter().for_each(|found| self.found(found));
            let Some(next) = page.next else { break };
            after = next;
        }
        let mut after = (i64::MIN, Vec::new());
        loop {
            let page = self.metadata.check_versions(&after).await?;
            page.found.into_iter().for_each(|found| self.found(found));
            let Some(next) = page.next else { break };
            after = next;
        }
        self.metadata.check_quotas().await?.into_iter().for_each(|found| self.found(found));
        self.metadata.check_ranges().await?.into_iter().for_each(|found| self.found(found));
        Ok(())
    }

    /// The volumes that can be looked at; of those that cannot only that is known.
    async fn volumes(&mut self) -> BTreeMap<VolumeSlot, Arc<Member>> {
        let members = Arc::clone(&self.members);
        let checks = members.values().map(|member| async move { (member, member.check().await) });
        let mut usable = BTreeMap::new();
        for (member, outcome) in join_all(checks).await {
            match outcome {
                Ok(()) => _ = usable.insert(member.slot(), Arc::clone(member)),
                Err(error) => self.found(Discrepancy {
                    what: "volume that cannot be checked",
                    subject: member.name().to_string(),
                    detail: error.to_string(),
                }),
            }
        }
        usable
    }

    /// Whether what rows name is there.
    async fn shards(&mut self, usable: &BTreeMap<VolumeSlot, Arc<Member>>) -> Result<(), metadata::Error> {
        let mut after = ChunkId { seq: 0, nonce: 0 };
        loop {
            let chunks = self.metadata.stored_chunks(after, CHUNKS_AT_ONCE).await?;
            let Some(last) = chunks.last() else { return Ok(()) };
            after = last.id;
            let mut doubtful = Vec::new();
            for (chunk, wrong) in chunks.iter().zip(self.wrong(&chunks, usable).await) {
                if chunk.dead {
                    continue;
                }
                self.summary.chunks += 1;
                self.summary.files += (SHARDS - chunk.missing.len() - wrong.len()) as u64;
                if !wrong.is_empty() {
                    doubtful.push(chunk.id);
                } else if self.options.deep {
                    self.verify(chunk.id, usable).await?;
                }
            }
            for look in 1..=LOOKS {
                if doubtful.is_empty() {
                    break;
                }
                tokio::time::sleep(self.options.pause).await;
                let mut chunks = self.metadata.stored_among(&doubtful).await?;
                chunks.retain(|chunk| !chunk.dead);
                let wrong = self.wrong(&chunks, usable).await;
                doubtful.clear();
                for (chunk, wrong) in chunks.iter().zip(wrong) {
                    if wrong.is_empty() {
                        continue;
                    }
                    doubtful.push(chunk.id);
                    if look == LOOKS {
                        let queued = self.metadata.queued_shards(chunk.id).await?;
                        for (shard, found) in wrong {
                            if queued.contains(shard) {
                                self.summary.unhealed += 1;
                            } else {
                                self.found(found);
                            }
                        }
                    }
                }
            }
        }
    }

    /// What is wrong with each chunk's files, shard by shard: absent, of another length, or on a volume that there is not.
    async fn wrong(
        &self,
        chunks: &[StoredChunk],
        usable: &BTreeMap<VolumeSlot, Arc<Member>>,
    ) -> Vec<Vec<(usize, Discrepancy)>> {
        let mut wanted: BTreeMap<VolumeSlot, Vec<ShardName>> = BTreeMap::new();
        let mut wrong: Vec<Vec<(usize, Discrepancy)>> = chunks.iter().map(|_| Vec::new()).collect();
        for (chunk, wrong) in chunks.iter().zip(&mut wrong).filter(|(chunk, _)| !chunk.dead) {
            for shard in (0..SHARDS).filter(|&shard| !chunk.missing.contains(shard)) {
                let Some((slot, file)) = chunk.placement.file(chunk.id, shard) else { continue };
                if usable.contains_key(&slot) {
                    wanted.entry(slot).or_default().push(file);
                } else if !self.members.contains_key(&slot) {
                    wrong.push((shard, about("shard on a volume that is not there", file, format!("slot {slot}"))));
                }
            }
        }
        let looks = wanted.into_iter().filter_map(|(slot, files)| {
            let member = usable.get(&slot)?;
            Some(async move { (slot, member.present(files).await) })
        });
        let mut there: HashMap<(VolumeSlot, ShardName), u64> = HashMap::new();
        let mut silent: BTreeMap<VolumeSlot, VolumeError> = BTreeMap::new();
        for (slot, present) in join_all(looks).await {
            match present {
                Ok(files) => there.extend(files.into_iter().map(|(file, len)| ((slot, file), len))),
                Err(error) => _ = silent.insert(slot, error),
            }
        }
        for (chunk, wrong) in chunks.iter().zip(&mut wrong).filter(|(chunk, _)| !chunk.dead) {
            for shard in (0..SHARDS).filter(|&shard| !chunk.missing.contains(shard)) {
                let Some((slot, file)) = chunk.placement.file(chunk.id, shard) else { continue };
                let Some(member) = usable.get(&slot) else { continue };
                let on = || format!("volume {}", member.name());
                let found = match (there.get(&(slot, file)), silent.get(&slot)) {
                    (_, Some(error)) => about("shard that cannot be looked for", file, error.to_string()),
                    (None, None) => about("shard that is not there", file, on()),
                    // Behind what is committed of a packed chunk there may be its trailer, or what was not committed.
                    (Some(&len), None) if chunk.packed && len >= chunk.end => continue,
                    (Some(&len), None) if !chunk.packed && len == chunk.end + TRAILER_LEN => continue,
                    (Some(&len), None) => {
                        let ought = if chunk.packed { chunk.end } else { chunk.end + TRAILER_LEN };
                        about("shard of the wrong length", file, format!("{}: is {len}, ought to be {ought}", on()))
                    }
                };
                wrong.push((shard, found));
            }
        }
        wrong
    }

    /// Reads all shards of a chunk, and verifies what is referred to.
    async fn verify(&mut self, id: ChunkId, usable: &BTreeMap<VolumeSlot, Arc<Member>>) -> Result<(), metadata::Error> {
        for look in 1..=LOOKS {
            let Some(chunk) = self.metadata.stored_chunk(id).await?.filter(|chunk| !chunk.dead) else { return Ok(()) };
            let stripes = if chunk.packed { self.metadata.referred_stripes(id).await? } else { own_stripes(chunk.len) };
            let reads = (0..SHARDS).filter(|&shard| !chunk.missing.contains(shard)).filter_map(|shard| {
                let (slot, file) = chunk.placement.file(id, shard)?;
                let member = usable.get(&slot)?;
                let (chunk, stripes) = (&chunk, &stripes);
                Some(async move { (shard, file, verify_shard(member, file, chunk, stripes).await) })
            });
            let mut bad = Vec::new();
            let mut nonces: Vec<Option<u64>> = vec![None; stripes.len()];
            let mut verified = 0;
            for (shard, file, outcome) in join_all(reads).await {
                match outcome {
                    Ok((bytes, seen)) => {
                        verified += bytes;
                        for (known, seen) in nonces.iter_mut().zip(seen) {
                            if *known.get_or_insert(seen) != seen {
                                bad.push((
                                    shard,
                                    about("blocks of different writes in one stripe", file, String::new()),
                                ));
                                break;
                            }
                        }
                    }
                    Err(damage) => bad.push((shard, about("damaged shard", file, damage))),
                }
            }
            if bad.is_empty() {
                self.summary.verified += verified;
                return Ok(());
            }
            if look < LOOKS {
                tokio::time::sleep(self.options.pause).await;
                continue;
            }
            let queued = self.metadata.queued_shards(id).await?;
            for (shard, found) in bad {
                if queued.contains(shard) {
                    self.summary.unhealed += 1;
                } else {
                    self.found(found);
                }
            }
        }
        Ok(())
    }

    /// Whether what is there is named by a row, or on its way to be gone.
    async fn strays(&mut self, usable: &BTreeMap<VolumeSlot, Arc<Member>>) -> Result<(), metadata::Error> {
        for member in usable.values() {
            for fan_out in 0..=u8::MAX {
                let mut files = match member.list(fan_out).await {
                    Ok(files) => files,
                    Err(error) => {
                        self.found(Discrepancy {
                            what: "volume that cannot be checked",
                            subject: member.name().to_string(),
                            detail: error.to_string(),
                        });
                        break;
                    }
                };
                files.sort_unstable();
                for files in files.chunks(FILES_AT_ONCE) {
                    let mut strays = self.unnamed(member.slot(), files).await?;
                    for _ in 0..LOOKS {
                        if strays.is_empty() {
                            break;
                        }
                        tokio::time::sleep(self.options.pause).await;
                        let names = strays.iter().map(|(file, _)| *file).collect();
                        let Ok(there) = member.present(names).await else { break };
                        let there: Vec<ShardName> = there.into_iter().map(|(file, _)| file).collect();
                        strays = self.unnamed(member.slot(), &there).await?;
                    }
                    for (file, detail) in strays {
                        let on = format!("volume {}: {detail}", member.name());
                        self.found(about("file that no row names", file, on));
                    }
                }
            }
        }
        Ok(())
    }

    /// Those of a volume's files that no row names and that do not go by themselves.
    async fn unnamed(
        &mut self,
        volume: VolumeSlot,
        files: &[ShardName],
    ) -> Result<Vec<(ShardName, &'static str)>, metadata::Error> {
        let mut ids: Vec<ChunkId> = files.iter().map(|file| file.chunk).collect();
        ids.dedup();
        let known: HashMap<ChunkId, StoredChunk> =
            self.metadata.stored_among(&ids).await?.into_iter().map(|chunk| (chunk.id, chunk)).collect();
        let mut unnamed = Vec::new();
        for &file in files {
            let chunk = known.get(&file.chunk);
            let named =
                |chunk: &StoredChunk| chunk.placement.file(chunk.id, usize::from(file.shard)) == Some((volume, file));
            if chunk.is_none_or(|chunk| !named(chunk)) {
                unnamed.push(file);
            } else if chunk.is_some_and(|chunk| chunk.dead) {
                self.summary.dead += 1;
            }
        }
        let pending = self.metadata.pending_among(volume, &unnamed).await?;
        let mut strays = Vec::new();
        for file in unnamed {
            if pending.contains(&file) {
                self.summary.pending += 1;
                continue;
            }
            let range = self.metadata.range_of(file.chunk).await?;
            match (known.contains_key(&file.chunk), range) {
                (false, Some(RangeState::Open)) => self.summary.under_way += 1,
                (false, Some(RangeState::Closed)) => self.summary.cut += 1,
                // Where its chunk had no place in the end. An open range is swept when its instance has ended.
                (true, Some(_)) if file.generation == 0 => self.summary.cut += 1,
                (true, _) => strays.push((file, "its chunk has that shard elsewhere")),
                (false, None) => strays.push((file, "there is no such chunk")),
            }
        }
        Ok(strays)
    }
}

fn about(what: &'static str, file: ShardName, detail: String) -> Discrepancy {
    Discrepancy { what, subject: format!("shard {file}"), detail }
}

/// Position and length of the stripes of a chunk that nobody shares.
fn own_stripes(len: u64) -> Vec<(u64, u32)> {
    let whole = u64::from(STRIPE_LEN);
    (0..len.div_ceil(whole))
        .map(|index| (stripe_position(index, STRIPE_LEN), (len - index * whole).min(whole) as u32))
        .collect()
}

/// Verifies a shard's header, blocks and trailer; answers how many bytes that were, and the nonces of its stripes.
async fn verify_shard(
    member: &Member,
    file: ShardName,
    chunk: &StoredChunk,
    stripes: &[(u64, u32)],
) -> Result<(u64, Vec<u64>), String> {
    let read = async |position: u64, len: u64| -> Result<Bytes, String> {
        member.read(file, position, len as usize).await.map_err(|error| error.to_string())
    };
    let header = Header::decode(&read(0, HEADER_LEN).await?).map_err(|error| format!("its header: {error}"))?;
    if header.name != file {
        return Err(format!("its header says that it is {}", header.name));
    }
    let mut bytes = HEADER_LEN;
    let mut nonces = Vec::with_capacity(stripes.len());
    for &(position, len) in stripes {
        let block = read(position, block_size(len)).await?;
        let block = verify_block(file.chunk, file.shard, position, len, block);
        nonces.push(block.map_err(|error| format!("the block at {position}: {error}"))?.nonce);
        bytes += block_size(len);
    }
    if !chunk.packed {
        let trailer = read(chunk.end, TRAILER_LEN).await?;
        let trailer = Trailer::decode(&trailer).map_err(|error| format!("its trailer: {error}"))?;
        if (trailer.name, trailer.chunk_len, trailer.position) != (file, chunk.len, chunk.end) {
            return Err("its trailer is another's".into());
        }
        bytes += TRAILER_LEN;
    }
    Ok((bytes, nonces))
}
