//! Whether the rows agree with one another, recomputed from what they count. Page by page, and each check of a page is one
//! statement, so that it holds beside a running server, too: a statement sees the rows of one moment.

use super::dialect::{Row, Value, values};
use super::rows::int;
use super::{Answer, Checked, Discrepancy, Error, Metadata, RangeState, Result, StoredChunk, versions};
use crate::layout::{
    BLOCK_HEADER_LEN, ChunkId, HEADER_LEN, IdRange, STRIPE_LEN, ShardName, ShardSet, VolumeSlot, block_len,
};

/// Rows of data, or of chunks, checked at once.
const PAGE: u32 = 1000;
/// Chunks looked up in one statement.
const AMONG: usize = 100;

/// What is wrong, and a statement that finds it among the data rows above `$1` up to `$2`, with what was found and expected.
const DATA: &[(&str, &str)] = &[
    (
        "references of data",
        "SELECT d.data_id, d.refs AS found, \
             (SELECT COUNT(*) FROM objects o WHERE o.data_id = d.data_id) \
             + (SELECT COUNT(*) FROM versions v WHERE v.data_id = d.data_id) \
             + (SELECT COUNT(*) FROM parts p WHERE p.data_id = d.data_id) \
             + (SELECT COUNT(*) FROM snapshots s WHERE s.data_id = d.data_id) \
             + (SELECT COUNT(*) FROM released r WHERE r.data_id = d.data_id) AS expected \
         FROM data d WHERE d.data_id > $1 AND d.data_id <= $2",
    ),
    (
        "length of data",
        "SELECT d.data_id, d.len AS found, \
             CAST(COALESCE((SELECT SUM(e.len) FROM extents e WHERE e.data_id = d.data_id), 0) AS BIGINT) AS expected \
         FROM data d WHERE d.data_id > $1 AND d.data_id <= $2",
    ),
    (
        "data that nobody refers to",
        "SELECT d.data_id, d.refs AS found, CAST(1 AS BIGINT) AS expected FROM data d \
         WHERE d.data_id > $1 AND d.data_id <= $2 AND d.refs = 0",
    ),
    (
        "gap between extents",
        "SELECT e.data_id, e.start AS found, CAST(-1 AS BIGINT) AS expected FROM extents e \
         WHERE e.data_id > $1 AND e.data_id <= $2 AND e.start > 0 \
         AND NOT EXISTS (SELECT 1 FROM extents f WHERE f.data_id = e.data_id AND f.start + f.len = e.start)",
    ),
    (
        "gap between parts",
        "SELECT p.data_id, p.start AS found, CAST(-1 AS BIGINT) AS expected FROM data_parts p \
         WHERE p.data_id > $1 AND p.data_id <= $2 AND p.start > 0 \
         AND NOT EXISTS (SELECT 1 FROM data_parts q WHERE q.data_id = p.data_id AND q.start + q.size = p.start)",
    ),
    (
        "length of parts",
        "SELECT p.data_id, CAST(SUM(p.size) AS BIGINT) AS found, MAX(d.len) AS expected \
         FROM data_parts p JOIN data d ON d.data_id = p.data_id \
         WHERE d.data_id > $1 AND d.data_id <= $2 GROUP BY p.data_id",
    ),
    (
        "size of an object",
        "SELECT o.data_id, o.size AS found, d.len AS expected FROM objects o JOIN data d ON d.data_id = o.data_id \
         WHERE d.data_id > $1 AND d.data_id <= $2",
    ),
    (
        "size of a version",
        "SELECT v.data_id, v.size AS found, d.len AS expected FROM versions v JOIN data d ON d.data_id = v.data_id \
         WHERE d.data_id > $1 AND d.data_id <= $2",
    ),
    (
        "size of a part",
        "SELECT p.data_id, p.size AS found, d.len AS expected FROM parts p JOIN data d ON d.data_id = p.data_id \
         WHERE d.data_id > $1 AND d.data_id <= $2",
    ),
];

/// The same for chunks.
const CHUNKS: &[(&str, &str)] = &[
    (
        "live bytes of a chunk",
        "SELECT c.chunk_id, c.live AS found, CAST( \
             COALESCE((SELECT SUM(e.len) FROM extents e WHERE e.chunk_id = c.chunk_id), 0) \
             + COALESCE((SELECT SUM(o.size) FROM objects o WHERE o.chunk_id = c.chunk_id), 0) \
             + COALESCE((SELECT SUM(v.size) FROM versions v WHERE v.chunk_id = c.chunk_id), 0) \
             + COALESCE((SELECT SUM(r.bytes) FROM released r WHERE r.chunk_id = c.chunk_id), 0) AS BIGINT) AS expected \
         FROM chunks c WHERE c.chunk_id > $1 AND c.chunk_id <= $2",
    ),
    (
        "chunk without a live byte that is not dead",
        "SELECT c.chunk_id, c.live AS found, CAST(1 AS BIGINT) AS expected FROM chunks c \
         WHERE c.chunk_id > $1 AND c.chunk_id <= $2 AND c.live = 0 AND c.state IN ('sealed', 'damaged')",
    ),
    (
        "packed chunk that is fuller than it is long",
        "SELECT c.chunk_id, c.live AS found, c.len AS expected FROM chunks c \
         WHERE c.chunk_id > $1 AND c.chunk_id <= $2 AND c.packed = 1 AND c.live > c.len",
    ),
    (
        "dead chunk that waits for healing",
        "SELECT c.chunk_id, CAST(h.shard AS BIGINT) AS found, CAST(-1 AS BIGINT) AS expected FROM chunks c \
         JOIN heal_queue h ON h.chunk_id = c.chunk_id \
         WHERE c.chunk_id > $1 AND c.chunk_id <= $2 AND c.state = 'dead'",
    ),
];

/// What refers to bytes of the chunks above `$1` up to `$2`.
const REFERENCES: &str = "\
    SELECT c.chunk_id, c.packed, c.len AS chunk_len, c.file_end, e.position, e.stripe_len, e.skip, e.len \
    FROM chunks c JOIN extents e ON e.chunk_id = c.chunk_id WHERE c.chunk_id > $1 AND c.chunk_id <= $2 \
    UNION ALL \
    SELECT c.chunk_id, c.packed, c.len, c.file_end, o.position, o.stripe_len, o.skip, o.size \
    FROM chunks c JOIN objects o ON o.chunk_id = c.chunk_id WHERE c.chunk_id > $1 AND c.chunk_id <= $2 \
    UNION ALL \
    SELECT c.chunk_id, c.packed, c.len, c.file_end, v.position, v.stripe_len, v.skip, v.size \
    FROM chunks c JOIN versions v ON v.chunk_id = c.chunk_id WHERE c.chunk_id > $1 AND c.chunk_id <= $2";

const STORED: &str = "c.chunk_id, c.state, c.packed, c.slots, c.missing, c.len, c.file_end";

fn stored(row: &Row) -> Result<StoredChunk> {
    Ok(StoredChunk {
        id: row.chunk_id("chunk_id")?,
        dead: row.text("state")? == "dead",
        open: row.text("state")? == "open",
        packed: row.int("packed")? != 0,
        placement: row.parse("slots")?,
        missing: row.shard_set("missing")?,
        len: row.number("len")?,
        end: row.number("file_end")?,
    })
}

fn discrepancy(what: &'static str, subject: impl ToString, detail: impl Into<String>) -> Discrepancy {
    Discrepancy { what, subject: subject.to_string(), detail: detail.into() }
}

impl Metadata {
    /// The deployment's id; `None` if it never had one: nothing was ever stored.
    pub fn deployment_id(&self) -> Answer<'_, Option<String>> {
        Box::pin(async move {
            let row = self.db.first("SELECT id FROM deployment", &[]).await?;
            row.ok_or_else(|| Error::Corrupt("the table deployment is empty".into()))?.opt_text("id")
        })
    }

    /// Checks a page of the data rows above `after`, with their extents, parts and objects.
    pub fn check_data(&self, after: i64) -> Answer<'_, Checked<i64>> {
        Box::pin(async move {
            let sql = "SELECT MAX(data_id) AS last, COUNT(*) AS rows FROM \
                       (SELECT data_id FROM data WHERE data_id > $1 ORDER BY data_id LIMIT $2) AS page";
            let page = self.db.first(sql, values![after, i64::from(PAGE)]).await?;
            let page = page.ok_or_else(|| Error::Corrupt("a count has no row".into()))?;
            let Some(last) = page.opt_int("last")? else { return Ok(Checked::default()) };
            let mut found = Vec::new();
            for (what, sql) in DATA {
                let sql = format!("SELECT * FROM ({sql}) AS checked WHERE found <> expected ORDER BY data_id");
                for row in self.db.query(&sql, values![after, last]).await? {
                    found.push(discrepancy(
                        what,
                        format_args!("data {}", row.int("data_id")?),
                        found_and_expected(&row)?,
                    ));
                }
            }
            Ok(Checked { found, rows: page.number("rows")?, next: Some(last) })
        })
    }

    /// Checks a page of the chunks above `after`, with what refers to them.
    pub fn check_chunks(&self, after: ChunkId) -> Answer<'_, Checked<ChunkId>> {
        Box::pin(async move {
            // One row tells the page's end: the largest of bytes is not for MAX, which PostgreSQL does not have for them.
            let sql = "SELECT chunk_id FROM chunks WHERE chunk_id > $1 ORDER BY chunk_id LIMIT $2";
            let rows = self.db.query(sql, values![&after.to_bytes(), i64::from(PAGE)]).await?;
            let Some(last) = rows.last() else { return Ok(Checked::default()) };
            let last = last.chunk_id("chunk_id")?;
            let (first_bytes, last_bytes) = (after.to_bytes(), last.to_bytes());
            let mut found = Vec::new();
            for (what, sql) in CHUNKS {
                let sql = format!("SELECT * FROM ({sql}) AS checked WHERE found <> expected ORDER BY chunk_id");
                for row in self.db.query(&sql, values![&first_bytes, &last_bytes]).await? {
                    found.push(discrepancy(
                        what,
                        format_args!("chunk {}", row.chunk_id("chunk_id")?),
                        found_and_expected(&row)?,
                    ));
                }
            }
            for row in self.db.query(REFERENCES, values![&first_bytes, &last_bytes]).await? {
                found.extend(misplaced(&row)?);
            }
            self.check_slots(&first_bytes, &last_bytes, &mut found).await?;
            Ok(Checked { found, rows: rows.len() as u64, next: Some(last) })
        })
    }

    /// Checks a page of the versions behind the one at `after`: that they are older than their key's object, and that only a delete
    /// marker is the newest where there is none.
    pub fn check_versions<'a>(&'a self, after: &'a (i64, Vec<u8>)) -> Answer<'a, Checked<(i64, Vec<u8>)>> {
        Box::pin(async move {
            let page = "SELECT v.bucket_id, v.entry, v.key, v.seq, v.marker FROM versions v \
                        WHERE (v.bucket_id, v.entry) > ($1, $2) ORDER BY v.bucket_id, v.entry LIMIT $3";
            let values = values![after.0, &after.1, i64::from(PAGE)];
            let rows = self.db.query(page, values).await?;
            let Some(last) = rows.last() else { return Ok(Checked::default()) };
            let next = Some((last.int("bucket_id")?, last.bytes("entry")?));
            let mut found = Vec::new();
            let subject = |row: &Row| -> Result<String> {
                Ok(format!(
                    "version {} of {} in bucket number {}",
                    row.int("seq")?,
                    row.key("key")?,
                    row.int("bucket_id")?
                ))
            };
            let sql = format!(
                "SELECT p.bucket_id, p.key, p.seq AS found, p.seq, o.seq AS expected FROM ({page}) AS p \
                 JOIN objects o ON o.bucket_id = p.bucket_id AND o.key = p.key WHERE o.seq <= p.seq"
            );
            for row in self.db.query(&sql, values).await? {
                found.push(discrepancy(
                    "version that is newer than the object",
                    subject(&row)?,
                    found_and_expected(&row)?,
                ));
            }
            let sql = format!(
                "SELECT p.bucket_id, p.key, p.seq FROM ({page}) AS p WHERE p.marker = 0 \
                 AND NOT EXISTS (SELECT 1 FROM objects o WHERE o.bucket_id = p.bucket_id AND o.key = p.key) \
                 AND (SELECT n.seq FROM versions n WHERE n.bucket_id = p.bucket_id AND n.entry > p.key \
                     AND n.entry < p.entry ORDER BY n.entry LIMIT 1) IS NULL"
            );
            for row in self.db.query(&sql, values).await? {
                found.push(discrepancy("newest version that is not the object", subject(&row)?, String::new()));
            }
            for row in &rows {
                if row.bytes("entry")? != versions::entry(&row.key("key")?, row.int("seq")?) {
                    found.push(discrepancy("version out of its place", subject(row)?, String::new()));
                }
            }
            Ok(Checked { found, rows: rows.len() as u64, next })
        })
    }

    async fn check_slots(&self, first: &[u8; 16], last: &[u8; 16], found: &mut Vec<Discrepancy>) -> Result<()> {
        let sql = format!(
            "SELECT {STORED}, h.shard AS queued FROM chunks c LEFT JOIN heal_queue h ON h.chunk_id = c.chunk_id \
             WHERE c.chunk_id > $1 AND c.chunk_id <= $2 ORDER BY c.chunk_id"
        );
        let mut chunks: Vec<(StoredChunk, ShardSet)> = Vec::new();
        for row in self.db.query(&sql, values![first, last]).await? {
            let chunk = stored(&row)?;
            if chunks.last().is_none_or(|(before, _)| before.id != chunk.id) {
                chunks.push((chunk, ShardSet::default()));
            }
            if let (Some((_, queued)), Some(shard)) = (chunks.last_mut(), row.opt_number("queued")?) {
                queued.insert(shard);
            }
        }
        for (chunk, queued) in &chunks {
            let name = format!("chunk {}", chunk.id);
            let mut volumes: Vec<u16> = chunk.placement.0.iter().flatten().map(|slot| slot.volume.0).collect();
            volumes.sort_unstable();
            if volumes.windows(2).any(|pair| pair[0] == pair[1]) {
                found.push(discrepancy("two shards on one volume", &name, chunk.placement.to_string()));
            }
            for (shard, slot) in chunk.placement.0.iter().enumerate() {
                if slot.is_none() && !chunk.missing.contains(shard) {
                    found.push(discrepancy(
                        "shard without a place that is not missing",
                        &name,
                        format!("shard {shard}"),
                    ));
                }
                if chunk.missing.contains(shard) && !queued.contains(shard) && !chunk.dead {
                    found.push(discrepancy(
                        "missing shard that does not wait for healing",
                        &name,
                        format!("shard {shard}"),
                    ));
                }
            }
        }
        // What is to be removed must not be what is read.
        let sql = "SELECT c.chunk_id, c.slots, p.slot, p.shard, p.generation FROM pending_deletes p \
                   JOIN chunks c ON c.chunk_id = p.chunk_id \
                   WHERE c.chunk_id > $1 AND c.chunk_id <= $2 AND c.state <> 'dead'";
        for row in self.db.query(sql, values![first, last]).await? {
            let chunk = row.chunk_id("chunk_id")?;
            let placement: crate::layout::Placement = row.parse("slots")?;
            let file = ShardName { chunk, shard: row.number("shard")?, generation: row.number("generation")? };
            if placement.file(chunk, usize::from(file.shard)) == Some((VolumeSlot(row.number("slot")?), file)) {
                found.push(discrepancy("file that is referred to and to be removed", file, String::new()));
            }
        }
        Ok(())
    }

    /// Checks the id ranges, and the chunks that are open or have the newest ids, against them.
    pub fn check_ranges(&self) -> Answer<'_, Vec<Discrepancy>> {
        Box::pin(async move {
            let mut found = Vec::new();
            let sql = "SELECT r.first, r.last AS found, d.last_seq AS expected FROM id_ranges r, deployment d \
                       WHERE r.last > d.last_seq";
            for row in self.db.query(sql, &[]).await? {
                found.push(discrepancy("range that was never given", row.int("first")?, found_and_expected(&row)?));
            }
            let sql = "SELECT r.first, r.last AS found, (SELECT MIN(n.first) FROM id_ranges n WHERE n.first > r.first) AS expected \
                       FROM id_ranges r";
            let sql = format!("SELECT * FROM ({sql}) AS checked WHERE found >= expected");
            for row in self.db.query(&sql, &[]).await? {
                found.push(discrepancy("overlapping ranges", row.int("first")?, found_and_expected(&row)?));
            }
            let sql = "SELECT r.first, i.instance_id FROM id_ranges r JOIN instances i ON i.instance_id = r.instance_id \
                       WHERE r.state = 'open' AND i.state <> 'live'";
            for row in self.db.query(sql, &[]).await? {
                let instance = row.int("instance_id")?;
                let detail = format!("instance {instance} has ended");
                found.push(discrepancy("open range of an ended instance", row.int("first")?, detail));
            }
            for row in self.db.query("SELECT first, alarm FROM id_ranges WHERE alarm IS NOT NULL", &[]).await? {
                let detail = row.opt_text("alarm")?.unwrap_or_default();
                found.push(discrepancy("range that is not swept", row.int("first")?, detail));
            }
            let sql = "SELECT c.chunk_id FROM chunks c ORDER BY c.chunk_id DESC LIMIT 1";
            if let Some(row) = self.db.first(sql, &[]).await? {
                let newest = row.chunk_id("chunk_id")?;
                // Read after it, so that it can only have grown.
                let row = self.db.first("SELECT last_seq FROM deployment", &[]).await?;
                let last: u64 = row.map_or(Ok(0), |row| row.number("last_seq"))?;
                if newest.seq > last {
                    let detail = format!("the last number given is {last}");
                    found.push(discrepancy("chunk whose id was never given", newest, detail));
                }
            }
            Ok(found)
        })
    }

    /// Chunks above `after`, in order.
    pub fn stored_chunks(&self, after: ChunkId, limit: u32) -> Answer<'_, Vec<StoredChunk>> {
        Box::pin(async move {
            let sql = format!("SELECT {STORED} FROM chunks c WHERE c.chunk_id > $1 ORDER BY c.chunk_id LIMIT $2");
            let rows = self.db.query(&sql, values![&after.to_bytes(), i64::from(limit)]).await?;
            rows.iter().map(stored).collect()
        })
    }

    /// One chunk.
    pub fn stored_chunk(&self, id: ChunkId) -> Answer<'_, Option<StoredChunk>> {
        Box::pin(async move {
            let sql = format!("SELECT {STORED} FROM chunks c WHERE c.chunk_id = $1");
            self.db.first(&sql, values![&id.to_bytes()]).await?.as_ref().map(stored).transpose()
        })
    }

    /// The shards of a chunk that wait for healing.
    pub fn queued_shards(&self, id: ChunkId) -> Answer<'_, ShardSet> {
        Box::pin(async move {
            let sql = "SELECT shard FROM heal_queue WHERE chunk_id = $1";
            let mut queued = ShardSet::default();
            for row in self.db.query(sql, values![&id.to_bytes()]).await? {
                queued.insert(row.number("shard")?);
            }
            Ok(queued)
        })
    }

    /// The stripes of a packed chunk that anything refers to: position and length, in order.
    pub fn referred_stripes(&self, id: ChunkId) -> Answer<'_, Vec<(u64, u32)>> {
        Box::pin(async move {
            let sql = "SELECT position, stripe_len FROM objects WHERE chunk_id = $1 \
                       UNION SELECT position, stripe_len FROM versions WHERE chunk_id = $1 \
                       UNION SELECT position, stripe_len FROM extents WHERE chunk_id = $1 ORDER BY position";
            let rows = self.db.query(sql, values![&id.to_bytes()]).await?;
            rows.iter().map(|row| Ok((row.number("position")?, row.number("stripe_len")?))).collect()
        })
    }

    /// Which of these files are to be removed from a volume.
    pub fn pending_among<'a>(&'a self, volume: VolumeSlot, files: &'a [ShardName]) -> Answer<'a, Vec<ShardName>> {
        Box::pin(async move {
            let mut pending = Vec::new();
            for file in files {
                let sql = "SELECT slot FROM pending_deletes \
                           WHERE slot = $1 AND chunk_id = $2 AND shard = $3 AND generation = $4";
                let chunk = file.chunk.to_bytes();
                let values = values![i64::from(volume.0), &chunk, i64::from(file.shard), i64::from(file.generation)];
                if self.db.first(sql, values).await?.is_some() {
                    pending.push(*file);
                }
            }
            Ok(pending)
        })
    }

    /// The state of the range that an id is of; `None` if there is none (any more).
    pub fn range_of(&self, id: ChunkId) -> Answer<'_, Option<RangeState>> {
        Box::pin(async move {
            let sql = "SELECT first, last, nonce, state FROM id_ranges WHERE first <= $1 ORDER BY first DESC LIMIT 1";
            let Some(row) = self.db.first(sql, values![int(id.seq)]).await? else { return Ok(None) };
            let range =
                IdRange { first: row.number("first")?, last: row.number("last")?, nonce: row.int("nonce")? as u64 };
            if id.seq > range.last || id.nonce != range.nonce {
                return Ok(None);
            }
            Ok(Some(if row.text("state")? == "open" { RangeState::Open } else { RangeState::Closed }))
        })
    }
}

impl Metadata {
    /// These chunks, those there are.
    pub fn stored_among<'a>(&'a self, ids: &'a [ChunkId]) -> Answer<'a, Vec<StoredChunk>> {
        Box::pin(async move {
            let mut chunks = Vec::new();
            for ids in ids.chunks(AMONG) {
                let mut bytes: Vec<_> = ids.iter().map(|id| id.to_bytes()).collect();
                // One statement for all lengths.
                bytes.resize(AMONG, ids.last().map_or([0; 16], |id| id.to_bytes()));
                let places: Vec<_> = (1..=AMONG).map(|place| format!("${place}")).collect();
                let sql = format!("SELECT {STORED} FROM chunks c WHERE c.chunk_id IN ({})", places.join(", "));
                let values: Vec<_> = bytes.iter().map(Value::from).collect();
                for row in self.db.query(&sql, &values).await? {
                    chunks.push(stored(&row)?);
                }
            }
            Ok(chunks)
        })
    }
}

fn found_and_expected(row: &Row) -> Result<String> {
    Ok(match (row.int("found")?, row.int("expected")?) {
        (found, -1) => format!("at {found}"),
        (found, expected) => format!("is {found}, ought to be {expected}"),
    })
}

/// Whether a reference lies in its chunk's committed blocks.
fn misplaced(row: &Row) -> Result<Option<Discrepancy>> {
    let (position, stripe_len, skip): (u64, u32, u64) =
        (row.number("position")?, row.number("stripe_len")?, row.number("skip")?);
    let (len, chunk_len, end): (u64, u64, u64) =
        (row.number("len")?, row.number("chunk_len")?, row.number("file_end")?);
    let size = |stripe: u32| BLOCK_HEADER_LEN + u64::from(block_len(stripe));
    let fits = if row.int("packed")? != 0 {
        position >= HEADER_LEN && skip + len <= u64::from(stripe_len) && position + size(stripe_len) <= end
    } else {
        position >= HEADER_LEN
            && stripe_len == STRIPE_LEN
            && (position - HEADER_LEN).is_multiple_of(size(stripe_len))
            && (position - HEADER_LEN) / size(stripe_len) * u64::from(stripe_len) + skip + len <= chunk_len
    };
    if fits {
        return Ok(None);
    }
    let subject = format!("chunk {}", row.chunk_id("chunk_id")?);
    let detail = format!("{len} bytes at {position}, {skip} into a stripe of {stripe_len}");
    Ok(Some(discrepancy("reference to bytes that are not in the chunk", subject, detail)))
}
