//! Small writes: many in one transaction, their bytes in one packed chunk.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::append::{self, AppendCommit, Appending};
use super::buckets::HeldBucket;
use super::dialect::{Column, Tx, fresh_batch, retrying, values};
use super::quotas::{Amount, Counters};
use super::rows::int;
use super::uploads::ReplacedPart;
use super::write::{self, Held, Put, Replacing};
use super::{
    Answer, BatchId, BucketId, Content, DataId, Error, Metadata, NewObject, PartCommit, PartSource, Result, VersionId,
    WriteCondition, objects, rows, uploads, versions,
};
use crate::clock::Millis;
use crate::layout::{ChunkId, Extent, PlacedExtent, Placement, ShardSet};

/// Small writes whose bytes were appended to one packed chunk, to be made visible together.
#[derive(Debug, Clone)]
pub struct PackedCommit {
    /// Unique id of this commit.
    pub batch: BatchId,
    /// What was appended; `None` if none of the writes has bytes.
    pub appended: Option<Appended>,
    /// The writes: of each key, and each part, one at most.
    pub writes: Vec<PackedWrite>,
    /// Now.
    pub now: Millis,
}

/// Stripes that were appended to a packed chunk, and synced.
#[derive(Debug, Clone)]
pub struct Appended {
    /// The chunk.
    pub chunk: ChunkId,
    /// Where its shards are.
    pub placement: Placement,
    /// Shards that are missing by now; they are not written to any more.
    pub missing: ShardSet,
    /// Where the blocks of the commit before this one end in every shard file; `None` if this is the chunk's first.
    pub from: Option<u64>,
    /// Where the blocks of this one end.
    pub end: u64,
    /// Bytes of the stripes.
    pub len: u64,
}

/// A small write.
#[derive(Debug, Clone)]
pub enum PackedWrite {
    /// An object.
    Put {
        /// Name of the bucket.
        bucket: String,
        /// What it is.
        object: Box<NewObject>,
        /// Its bytes; `None` for an empty object.
        extent: Option<Extent>,
        /// What must hold.
        condition: WriteCondition,
    },
    /// A part; its source is new data without chunks of its own.
    Part(PartCommit),
    /// The end of an object; its data has no chunks of its own.
    Append(Box<AppendCommit>),
    /// Compaction: the same bytes are elsewhere, too.
    Move {
        /// Whose.
        owner: PackedOwner,
        /// Where they are now. If they are not any more, the answer is [`Error::SourceChanged`].
        from: Extent,
        /// Where they are to be.
        to: Extent,
        /// When they were written first.
        modified: Millis,
    },
}

impl PackedWrite {
    fn extents(&self) -> &[Extent] {
        match self {
            Self::Put { extent, .. } => extent.as_slice(),
            Self::Part(PartCommit { source: PartSource::New(data), .. }) => &data.extents,
            Self::Part(_) => &[],
            Self::Append(append) => &append.data.extents,
            Self::Move { to, .. } => std::slice::from_ref(to),
        }
    }

    /// Its bytes.
    fn len(&self) -> u64 {
        self.extents().iter().map(|extent| extent.len).sum()
    }
}

/// The row that refers to bytes in a packed chunk.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PackedOwner {
    /// An object's, or a version's.
    Object {
        /// The bucket.
        bucket: BucketId,
        /// The key.
        key: String,
        /// Its place among the key's versions.
        seq: i64,
    },
    /// An extent's.
    Extent {
        /// The data.
        data: DataId,
        /// Offset in it.
        start: u64,
    },
}

/// Bytes in a packed chunk that somebody refers to.
#[derive(Debug, Clone)]
pub struct PackedEntry {
    /// The row.
    pub owner: PackedOwner,
    /// The bytes.
    pub placed: PlacedExtent,
    /// Name of the bucket, of the object that they are of, as far as they are of an object.
    pub bucket: String,
    /// Its key.
    pub key: String,
    /// When it was written.
    pub modified: Millis,
}

impl Metadata {
    /// Makes small writes visible, in one transaction: one answer for each, in order: the version that an object became, if the bucket
    /// keeps any. One whose bucket or upload is not there,
    /// whose condition does not hold, or which a quota does not allow, has that error and leaves its bytes dead; the others do not notice.
    ///
    /// # Errors
    /// What kept all of them from being committed: [`Error::RangeClosed`] if the chunk was closed by somebody else.
    pub fn commit_packed<'a>(&'a self, commit: &'a PackedCommit) -> Answer<'a, Vec<Result<Option<VersionId>>>> {
        Box::pin(async move {
            retrying(|| async {
                let mut tx = self.db.begin(Some(commit.batch)).await?;
                let result = Batch::new(commit).run(&mut tx).await;
                tx.end(result).await
            })
            .await
        })
    }

    /// Ends an open packed chunk: nothing is appended to it any more. One that is not open is left as it is.
    pub fn seal_packed(&self, chunk: ChunkId) -> Answer<'_, ()> {
        Box::pin(async move {
            // A chunk without a live byte has nobody left who would count it down to its death.
            let sql = "UPDATE chunks SET state = CASE WHEN live = 0 THEN 'dead' ELSE 'sealed' END, \
                       died_at = CASE WHEN live = 0 THEN {now} END WHERE chunk_id = $1 AND state = 'open' RETURNING state";
            let id = chunk.to_bytes();
            let batch = fresh_batch();
            retrying(|| async {
                let mut tx = self.db.begin(Some(batch)).await?;
                let result = async {
                    if let Some(row) = tx.first(sql, values![&id]).await?
                        && row.text("state")? == "dead"
                    {
                        tx.execute("DELETE FROM heal_queue WHERE chunk_id = $1", values![&id]).await?;
                    }
                    Ok(())
                };
                let result = result.await;
                tx.end(result).await
            })
            .await
        })
    }

    /// Sealed packed chunks of which less than half lives: the first `limit` after `after`.
    pub fn sparse_chunks(&self, after: ChunkId, limit: u32) -> Answer<'_, Vec<ChunkId>> {
        Box::pin(async move {
            let sql = "SELECT chunk_id FROM chunks WHERE packed = 1 AND state = 'sealed' AND live * 2 < len \
                       AND chunk_id > $1 ORDER BY chunk_id LIMIT $2";
            let rows = self.db.query(sql, values![&after.to_bytes(), i64::from(limit)]).await?;
            rows.iter().map(|row| row.chunk_id("chunk_id")).collect()
        })
    }

    /// What is referred to in a packed chunk, at most `limit` entries of objects and as many of extents, in no order.
    pub fn packed_entries(&self, chunk: ChunkId, limit: u32) -> Answer<'_, Vec<PackedEntry>> {
        Box::pin(async move {
            let id = chunk.to_bytes();
            let chunk_columns = "c.packed AS chunk_packed, c.len AS chunk_len, c.slots AS chunk_slots, \
                                 c.missing AS chunk_missing";
            let of = |table: &str| {
                format!(
                    "SELECT o.bucket_id, b.name, o.key, o.seq, o.modified, o.chunk_id AS extent_chunk, \
                     o.position AS extent_position, o.stripe_len AS extent_stripe_len, o.skip AS extent_skip, \
                     o.size AS extent_len, {chunk_columns} \
                     FROM {table} o JOIN chunks c ON c.chunk_id = o.chunk_id JOIN buckets b ON b.bucket_id = o.bucket_id \
                     WHERE o.chunk_id = $1"
                )
            };
            let sql = format!("{} UNION ALL {} LIMIT $2", of("objects"), of("versions"));
            let mut entries = Vec::new();
            for row in self.db.query(&sql, values![&id, i64::from(limit)]).await? {
                let extent = Extent {
                    start: 0,
                    chunk: row.chunk_id("extent_chunk")?,
                    position: row.number("extent_position")?,
                    stripe_len: row.number("extent_stripe_len")?,
                    skip: row.number("extent_skip")?,
                    len: row.number("extent_len")?,
                };
                let (key, seq) = (row.key("key")?, row.int("seq")?);
                entries.push(PackedEntry {
                    owner: PackedOwner::Object { bucket: BucketId(row.int("bucket_id")?), key: key.clone(), seq },
                    placed: rows::placed(&row, extent)?,
                    bucket: row.text("name")?,
                    key,
                    modified: row.int("modified")?,
                });
            }
            let sql = format!(
                "SELECT e.data_id, {} FROM extents e JOIN chunks c ON c.chunk_id = e.chunk_id \
                 WHERE e.chunk_id = $1 LIMIT $2",
                rows::PLACED_EXTENT
            );
            for row in self.db.query(&sql, values![&id, i64::from(limit)]).await? {
                let placed = rows::placed_extent(&row)?;
                let data = DataId(row.int("data_id")?);
                let name = self.name_of(data).await?;
                let (bucket, key, modified) = name.unwrap_or_default();
                let owner = PackedOwner::Extent { data, start: placed.extent.start };
                entries.push(PackedEntry { owner, placed, bucket, key, modified });
            }
            Ok(entries)
        })
    }

    /// An object or upload that data is of, for people to read.
    async fn name_of(&self, data: DataId) -> Result<Option<(String, String, Millis)>> {
        let queries = [
            "SELECT b.name, o.key, o.modified FROM objects o JOIN buckets b ON b.bucket_id = o.bucket_id \
             WHERE o.data_id = $1 LIMIT 1",
            "SELECT b.name, v.key, v.modified FROM versions v JOIN buckets b ON b.bucket_id = v.bucket_id \
             WHERE v.data_id = $1 LIMIT 1",
            "SELECT b.name, u.key, p.modified FROM parts p JOIN uploads u ON u.upload_id = p.upload_id \
             JOIN buckets b ON b.bucket_id = u.bucket_id WHERE p.data_id = $1 LIMIT 1",
        ];
        for sql in queries {
            if let Some(row) = self.db.first(sql, values![data.0]).await? {
                return Ok(Some((row.text("name")?, row.key("key")?, row.int("modified")?)));
            }
        }
        Ok(None)
    }
}

/// A commit on its way through its transaction.
struct Batch<'a> {
    commit: &'a PackedCommit,
    /// What each write came to so far.
    results: Vec<Result<Option<VersionId>>>,
}

impl<'a> Batch<'a> {
    fn new(commit: &'a PackedCommit) -> Self {
        Self { commit, results: commit.writes.iter().map(|_| Ok(None)).collect() }
    }

    /// The writes that have not failed.
    fn alive(&self) -> impl Iterator<Item = (usize, &'a PackedWrite)> + use<'a> {
        let commit = self.commit;
        let failed: HashSet<usize> =
            self.results.iter().enumerate().filter(|(_, result)| result.is_err()).map(|(at, _)| at).collect();
        commit.writes.iter().enumerate().filter(move |(at, _)| !failed.contains(at))
    }

    fn fail(&mut self, at: usize, error: Error) {
        if let Some(result) = self.results.get_mut(at) {
            *result = Err(error);
        }
    }

    async fn run(mut self, tx: &mut Tx) -> Result<Vec<Result<Option<VersionId>>>> {
        self.check()?;
        let buckets = self.hold_buckets(tx).await?;
        let mut chunks: Vec<ChunkId> = self.commit.appended.iter().map(|appended| appended.chunk).collect();
        for (_, write) in self.alive() {
            if let PackedWrite::Append(append) = write {
                chunks.extend(append.chunks());
            }
        }
        write::hold_ranges(tx, chunks).await?;
        self.hold_uploads(tx, &buckets).await?;
        let names = self.alive().filter_map(|(_, write)| match write {
            PackedWrite::Put { bucket, object, .. } => {
                buckets.get(bucket.as_str()).map(|bucket| write::key_name(bucket.id, &object.key))
            }
            PackedWrite::Append(append) => {
                buckets.get(&append.bucket).map(|bucket| write::key_name(bucket.id, &append.key))
            }
            PackedWrite::Part(part) => Some(write::part_name(&part.upload, part.number)),
            PackedWrite::Move { owner: PackedOwner::Object { bucket, key, .. }, .. } => {
                Some(write::key_name(*bucket, key))
            }
            PackedWrite::Move { owner: PackedOwner::Extent { .. }, .. } => None,
        });
        let names: Vec<i64> = names.collect();
        if !names.is_empty() {
            tx.lock_names(names).await?;
        }
        let held = self.held_keys(tx, &buckets).await?;
        let mut counters = Counters::hold(tx, &buckets.values().collect::<Vec<_>>()).await?;
        let mut replaced_parts = self.current_parts(tx).await?;
        let moved_data = self.lock_data(tx, &held).await?;
        let mut appending = self.appending(tx, &buckets, &held).await?;
        // Only what is known to be possible otherwise is counted, so that nothing is refused for the sake of what fails.
        let mut replacing = BTreeMap::new();
        for (at, write) in self.alive() {
            let (bucket, change) = match write {
                PackedWrite::Put { bucket, object, .. } => {
                    let (Some(bucket), Some(held)) = (buckets.get(bucket), held.get(&at)) else { continue };
                    let one = Replacing::new(bucket, &object.key, held);
                    let change = Amount::object(write.len()) - one.dropped_amount();
                    replacing.insert(at, one);
                    (bucket, change)
                }
                PackedWrite::Append(append) => {
                    let Some(bucket) = buckets.get(&append.bucket) else { continue };
                    (bucket, append.amount())
                }
                PackedWrite::Part(part) => {
                    let Some(bucket) = buckets.get(&part.bucket) else { continue };
                    let replaced = replaced_parts.get(&at).map_or_else(Amount::default, ReplacedPart::amount);
                    (bucket, Amount::bytes(write.len()) - replaced)
                }
                PackedWrite::Move { .. } => continue,
            };
            match counters.admit(bucket, change) {
                Err(error @ Error::QuotaExceeded { .. }) => {
                    replacing.remove(&at);
                    replaced_parts.remove(&at);
                    appending.remove(&at);
                    self.fail(at, error);
                }
                other => other?,
            }
        }
        counters.write(tx).await?;

        // What is referred to no more, or as a version from now on: data before chunks, as everywhere.
        let dropped = || replacing.values().flat_map(|one| one.dropped.iter());
        let data =
            dropped().filter_map(|current| current.data).chain(replaced_parts.values().filter_map(|part| part.data));
        write::release_data(tx, data.collect(), self.commit.now).await?;
        let (writes, replacing): (Vec<usize>, Vec<Replacing<'_>>) = replacing.into_iter().unzip();
        write::keep_versions(tx, &replacing).await?;
        let live = self
            .alive()
            .filter(|(_, write)| !matches!(write, PackedWrite::Move { .. }))
            .map(|(_, write)| write.len())
            .sum();
        self.write_chunk(tx, live).await?;
        self.write_objects(tx, &buckets, &writes, &replacing).await?;
        self.write_parts(tx).await?;
        for appending in appending.values() {
            appending.write(tx).await?;
        }
        let mut released: Vec<(Vec<u8>, i64)> = replacing
            .iter()
            .flat_map(|one| one.dropped.iter())
            .filter_map(|current| current.packed.clone().map(|chunk| (chunk, int(current.size))))
            .collect();
        released.extend(self.write_moves(tx, &moved_data).await?);
        let released = released.iter().map(|(chunk, bytes)| (chunk.as_slice(), *bytes)).collect();
        write::release_packed(tx, released, self.commit.now).await?;
        for (at, one) in writes.into_iter().zip(replacing) {
            if let Some(result) = self.results.get_mut(at) {
                *result = Ok(one.version);
            }
        }
        Ok(self.results)
    }

    /// What its maker must have seen to, or else rows would be read as other bytes.
    fn check(&self) -> Result<()> {
        let chunk = self.commit.appended.as_ref().map(|appended| appended.chunk);
        for write in &self.commit.writes {
            if let Some(extent) = write.extents().iter().find(|extent| Some(extent.chunk) != chunk) {
                return Err(Error::Corrupt(format!(
                    "a packed write is in chunk {}, which is not its batch's",
                    extent.chunk
                )));
            }
            match write {
                PackedWrite::Part(part) => match &part.source {
                    PartSource::New(data) if data.chunks.is_empty() => {
                        objects::check_data(&part.bucket, &part.key, data)?
                    }
                    _ => return Err(Error::Corrupt(format!("part {} of {} is not packed", part.number, part.upload))),
                },
                PackedWrite::Append(commit) if commit.data.chunks.is_empty() => append::check(commit)?,
                PackedWrite::Append(commit) => {
                    return Err(Error::Corrupt(format!("the end of {} is not packed", commit.key)));
                }
                PackedWrite::Move { from, to, .. } if from.len != to.len => {
                    return Err(Error::Corrupt(format!(
                        "{} bytes of chunk {} were moved as {}",
                        from.len, from.chunk, to.len
                    )));
                }
                PackedWrite::Put { .. } | PackedWrite::Move { .. } => {}
            }
        }
        Ok(())
    }

    async fn hold_buckets(&mut self, tx: &mut Tx) -> Result<BTreeMap<String, HeldBucket>> {
        let name = |write: &'a PackedWrite| match write {
            PackedWrite::Put { bucket, .. } => Some(bucket.as_str()),
            PackedWrite::Part(part) => Some(part.bucket.as_str()),
            PackedWrite::Append(append) => Some(append.bucket.as_str()),
            PackedWrite::Move { .. } => None,
        };
        let names: BTreeSet<&str> = self.alive().filter_map(|(_, write)| name(write)).collect();
        if names.is_empty() {
            return Ok(BTreeMap::new());
        }
        let sql = format!(
            "SELECT {} FROM buckets WHERE name IN (SELECT input.name FROM {{input:name}}) ORDER BY bucket_id {{share}}",
            HeldBucket::COLUMNS
        );
        let mut buckets = BTreeMap::new();
        for row in tx.query_many(&sql, &[], &[Column::Texts(names.into_iter().collect())]).await? {
            let bucket = HeldBucket::of(&row)?;
            buckets.insert(bucket.name.clone(), bucket);
        }
        for (at, write) in self.alive() {
            let Some(name) = name(write) else { continue };
            match (buckets.get(name), write) {
                (None, _) => self.fail(at, Error::NoSuchBucket(name.into())),
                (Some(bucket), PackedWrite::Put { object, .. }) => {
                    if let Err(error) = write::lock_of(bucket, name, object) {
                        self.fail(at, error);
                    }
                }
                (Some(_), _) => {}
            }
        }
        Ok(buckets)
    }

    async fn hold_uploads(&mut self, tx: &mut Tx, buckets: &BTreeMap<String, HeldBucket>) -> Result<()> {
        let mut parts: Vec<(usize, &PartCommit)> = Vec::new();
        for (at, write) in self.alive() {
            if let PackedWrite::Part(part) = write {
                parts.push((at, part));
            }
        }
        parts.sort_unstable_by(|(_, a), (_, b)| a.upload.0.cmp(&b.upload.0));
        for (at, part) in parts {
            let Some(bucket) = buckets.get(&part.bucket) else { continue };
            match uploads::hold(tx, bucket.id, &part.bucket, &part.key, &part.upload).await {
                Err(error @ Error::NoSuchUpload { .. }) => self.fail(at, error),
                other => other?,
            }
        }
        Ok(())
    }

    /// What the keys to be written hold, by number of the write; conditions are tested.
    async fn held_keys(
        &mut self,
        tx: &mut Tx,
        buckets: &BTreeMap<String, HeldBucket>,
    ) -> Result<BTreeMap<usize, Held>> {
        let mut keys = Vec::new();
        let mut wanted = Vec::new();
        for (at, write) in self.alive() {
            let (bucket, key) = match write {
                PackedWrite::Put { bucket, object, .. } => (bucket, &object.key),
                PackedWrite::Append(append) => (&append.bucket, &append.key),
                PackedWrite::Part(_) | PackedWrite::Move { .. } => continue,
            };
            if let Some(bucket) = buckets.get(bucket) {
                keys.push((bucket, key.as_str()));
                wanted.push((at, bucket, write));
            }
        }
        if keys.is_empty() {
            return Ok(BTreeMap::new());
        }
        let found = write::held(tx, &keys).await?;
        let mut held = BTreeMap::new();
        for ((at, bucket, write), found) in wanted.into_iter().zip(found) {
            let allowed = match write {
                PackedWrite::Put { object, condition, .. } => {
                    write::check(condition, bucket, &object.key, found.current.as_ref())
                }
                PackedWrite::Append(append) => append::admit(bucket, append, &found),
                PackedWrite::Part(_) | PackedWrite::Move { .. } => Ok(()),
            };
            match allowed {
                Ok(()) => _ = held.insert(at, found),
                Err(error) => self.fail(at, error),
            }
        }
        Ok(held)
    }

    /// The appends that are possible.
    async fn appending<'h>(
        &mut self,
        tx: &mut Tx,
        buckets: &BTreeMap<String, HeldBucket>,
        held: &'h BTreeMap<usize, Held>,
    ) -> Result<BTreeMap<usize, Appending<'h>>>
    where
        'a: 'h,
    {
        let mut appending = BTreeMap::new();
        for (at, write) in self.alive() {
            if let (PackedWrite::Append(commit), Some(held)) = (write, held.get(&at))
                && let Some(bucket) = buckets.get(&commit.bucket)
            {
                match Appending::new(tx, bucket, commit, held).await {
                    Ok(one) => _ = appending.insert(at, one),
                    Err(error @ (Error::SourceChanged | Error::DataShared | Error::TooManyParts { .. })) => {
                        self.fail(at, error);
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(appending)
    }

    /// The parts to be replaced.
    async fn current_parts(&self, tx: &mut Tx) -> Result<BTreeMap<usize, ReplacedPart>> {
        let mut replaced = BTreeMap::new();
        for (at, write) in self.alive() {
            if let PackedWrite::Part(part) = write {
                replaced.insert(at, uploads::current_part(tx, &part.upload, part.number).await?);
            }
        }
        Ok(replaced)
    }

    /// Locks the data of extents to be moved, and of objects to be appended to, against everyone who refers to it or folds it away.
    async fn lock_data(&self, tx: &mut Tx, held: &BTreeMap<usize, Held>) -> Result<HashSet<i64>> {
        let wanted: BTreeSet<i64> = self
            .alive()
            .filter_map(|(at, write)| match write {
                PackedWrite::Move { owner: PackedOwner::Extent { data, .. }, .. } => Some(data.0),
                PackedWrite::Append(_) => held.get(&at)?.current.as_ref()?.data,
                _ => None,
            })
            .collect();
        if wanted.is_empty() {
            return Ok(HashSet::new());
        }
        let sql =
            "SELECT data_id FROM data WHERE data_id IN (SELECT input.id FROM {input:id}) ORDER BY data_id {change}";
        let rows = tx.query_many(sql, &[], &[Column::Ints(wanted.into_iter().collect())]).await?;
        rows.iter().map(|row| row.int("data_id")).collect()
    }

    async fn write_chunk(&self, tx: &mut Tx, live: u64) -> Result<()> {
        let Some(appended) = &self.commit.appended else { return Ok(()) };
        let id = appended.chunk.to_bytes();
        let missing = i64::from(appended.missing.0);
        let known = match appended.from {
            None => {
                let sql = "INSERT INTO chunks (chunk_id, state, packed, slots, missing, len, file_end, live) \
                           VALUES ($1, 'open', 1, $2, $3, $4, $5, $6)";
                let slots = appended.placement.to_string();
                let values = values![&id, &slots, missing, int(appended.len), int(appended.end), int(live)];
                tx.execute(sql, values).await?;
                ShardSet::default()
            }
            Some(from) => {
                // Whoever closes the chunk, and whoever counts in it, does so before or after this.
                let sql =
                    "SELECT missing FROM chunks WHERE chunk_id = $1 AND state = 'open' AND file_end = $2 {change}";
                let row = tx.first(sql, values![&id, int(from)]).await?.ok_or(Error::RangeClosed)?;
                let sql = "UPDATE chunks SET missing = $2, len = len + $3, file_end = $4, live = live + $5 \
                           WHERE chunk_id = $1";
                tx.execute(sql, values![&id, missing, int(appended.len), int(appended.end), int(live)]).await?;
                row.shard_set("missing")?
            }
        };
        queue_missing(tx, appended.chunk, appended.missing, known, self.commit.now).await
    }

    async fn write_objects(
        &self,
        tx: &mut Tx,
        buckets: &BTreeMap<String, HeldBucket>,
        writes: &[usize],
        replacing: &[Replacing<'_>],
    ) -> Result<()> {
        let mut puts = Vec::with_capacity(writes.len());
        for (at, replacing) in writes.iter().zip(replacing) {
            if let Some(PackedWrite::Put { bucket, object, extent, .. }) = self.commit.writes.get(*at)
                && let Some(bucket) = buckets.get(bucket)
            {
                let content = extent.map_or(Content::Empty, Content::Packed);
                let size = extent.map_or(0, |extent| extent.len);
                puts.push((Put { bucket, object, size, parts: None, content }, replacing));
            }
        }
        write::upsert(tx, &puts).await
    }

    async fn write_parts(&self, tx: &mut Tx) -> Result<()> {
        for (_, write) in self.alive() {
            if let PackedWrite::Part(part) = write
                && let PartSource::New(data) = &part.source
            {
                let id = write::insert_data(tx, data, part.modified).await?;
                uploads::upsert_part(tx, part, data.len, id).await?;
            }
        }
        Ok(())
    }

    /// Switches rows that are still what compaction read; answers what of old chunks is released by it.
    async fn write_moves(&mut self, tx: &mut Tx, data: &HashSet<i64>) -> Result<Vec<(Vec<u8>, i64)>> {
        let mut released = Vec::new();
        let mut bytes = 0;
        for (at, write) in self.alive() {
            let PackedWrite::Move { owner, from, to, .. } = write else { continue };
            let (old, new) = (from.chunk.to_bytes(), to.chunk.to_bytes());
            let (position, stripe_len, skip) = (int(to.position), i64::from(to.stripe_len), i64::from(to.skip));
            let (old_position, old_skip) = (int(from.position), i64::from(from.skip));
            let switched = match owner {
                PackedOwner::Object { bucket, key, seq } => {
                    let mut switched = 0;
                    // What was the object when it was read may be a version by now, and the other way round. A version is found by its
                    // place: a key may have any number of them.
                    let entry = versions::entry(key, *seq);
                    for (table, name, named) in [("objects", "key", key.as_bytes()), ("versions", "entry", &entry)] {
                        let sql = format!(
                            "UPDATE {table} SET chunk_id = $1, position = $2, stripe_len = $3, skip = $4 \
                             WHERE bucket_id = $5 AND {name} = $6 AND chunk_id = $7 AND position = $8 AND skip = $9 \
                             AND size = $10"
                        );
                        let values = values![
                            &new,
                            position,
                            stripe_len,
                            skip,
                            bucket.0,
                            named,
                            &old,
                            old_position,
                            old_skip,
                            int(from.len)
                        ];
                        if switched == 0 {
                            switched = tx.execute(&sql, values).await?;
                        }
                    }
                    switched
                }
                PackedOwner::Extent { data: id, start } if data.contains(&id.0) => {
                    let sql = "UPDATE extents SET chunk_id = $1, position = $2, stripe_len = $3, skip = $4 \
                               WHERE data_id = $5 AND start = $6 AND chunk_id = $7 AND position = $8 AND skip = $9 \
                               AND len = $10";
                    let start = int(*start);
                    let values = values![
                        &new,
                        position,
                        stripe_len,
                        skip,
                        id.0,
                        start,
                        &old,
                        old_position,
                        old_skip,
                        int(from.len)
                    ];
                    tx.execute(sql, values).await?
                }
                PackedOwner::Extent { .. } => 0,
            };
            if switched == 0 {
                self.fail(at, Error::SourceChanged);
            } else {
                bytes += to.len;
                released.push((old.to_vec(), int(from.len)));
            }
        }
        if let Some(appended) = self.commit.appended.as_ref().filter(|_| bytes > 0) {
            let sql = "UPDATE chunks SET live = live + $2 WHERE chunk_id = $1";
            tx.execute(sql, values![&appended.chunk.to_bytes(), int(bytes)]).await?;
        }
        Ok(released)
    }
}

/// Queues the shards of `missing` that were not `known` to be.
async fn queue_missing(tx: &mut Tx, chunk: ChunkId, missing: ShardSet, known: ShardSet, now: Millis) -> Result<()> {
    let id = chunk.to_bytes();
    let sql = "INSERT INTO heal_queue (chunk_id, shard, reason, queued_at) VALUES ($1, $2, 'not written', $3) \
               ON CONFLICT (chunk_id, shard) DO UPDATE SET noted = heal_queue.noted + 1";
    for shard in missing.iter().filter(|&shard| !known.contains(shard)) {
        tx.execute(sql, values![&id, shard as i64, now]).await?;
    }
    Ok(())
}
