//! Shards that are missing or bad, and the moving of shards.
//!
//! A shard that is written anew has a file of its own, of a new generation. Before that file is created its name is among the pending
//! deletes, due at a time when its writer must have given up; the transaction that switches the shard to it takes the name
//! off again, and only before that time. So whatever is cut short where, the file is either the shard or removed, never both.

use std::time::Duration;

use super::dialect::{Column, Row, Tx, fresh_batch, retrying, values};
use super::{Answer, Error, HealTask, Metadata, Result, reclaim};
use crate::clock::Millis;
use crate::layout::{ChunkId, Placement, SHARDS, ShardName, Slot, StoredChunk, VolumeSlot};

/// Characters of a reason that are kept.
const REASON_LEN: usize = 200;

/// A chunk as those who look after its shards need to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChunkRow {
    /// What it is.
    pub state: ChunkState,
    /// What its files hold, and where they are.
    pub stored: StoredChunk,
}

/// What a chunk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChunkState {
    /// Still written to.
    Open,
    /// Complete.
    Sealed,
    /// Complete, and with too few good shards when it was last looked at.
    Damaged,
    /// Without a live byte.
    Dead,
}

/// How many chunks there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ChunkCounts {
    /// Still written to.
    pub open: u64,
    /// Complete.
    pub sealed: u64,
    /// With too few good shards.
    pub damaged: u64,
    /// Whose files are to be removed.
    pub dead: u64,
}

const CHUNK: &str = "chunk_id, state, packed, slots, missing, len, file_end";

impl Metadata {
    /// Notes that a shard is missing or bad. Noting it twice is noting it once; of a chunk that is gone or dead, never.
    pub fn queue_heal<'a>(&'a self, chunk: ChunkId, shard: u8, reason: &'a str, now: Millis) -> Answer<'a, ()> {
        Box::pin(async move { self.queue_heals(&[(chunk, shard)], reason, now).await })
    }

    /// The same of many at once.
    pub fn queue_heals<'a>(&'a self, shards: &'a [(ChunkId, u8)], reason: &'a str, now: Millis) -> Answer<'a, ()> {
        Box::pin(async move {
            let reason: String = reason.chars().take(REASON_LEN).collect();
            retrying(|| async {
                let mut tx = self.db.begin(None).await?;
                let result = queue(&mut tx, shards, &reason, now).await;
                tx.end(result).await
            })
            .await
        })
    }

    /// How many shards wait for healing.
    pub fn heal_queue_len(&self) -> Answer<'_, u64> {
        Box::pin(async move {
            let row = self.db.first("SELECT COUNT(*) AS waiting FROM heal_queue", &[]).await?;
            row.ok_or_else(|| Error::Corrupt("a count has no row".into()))?.number("waiting")
        })
    }

    /// How many shards wait for healing that could not be healed before.
    pub fn heal_queue_failed(&self) -> Answer<'_, u64> {
        Box::pin(async move {
            let sql = "SELECT COUNT(*) AS waiting FROM heal_queue WHERE attempts > 0";
            let row = self.db.first(sql, &[]).await?;
            row.ok_or_else(|| Error::Corrupt("a count has no row".into()))?.number("waiting")
        })
    }

    /// Shards that wait for healing and may be tried at `now`, those that wait longest first.
    pub fn heal_tasks(&self, now: Millis, limit: u32) -> Answer<'_, Vec<HealTask>> {
        Box::pin(async move {
            let sql = "SELECT chunk_id, shard, reason, queued_at, noted, attempts FROM heal_queue \
                   WHERE due <= $1 ORDER BY queued_at, chunk_id, shard LIMIT $2";
            self.db.query(sql, values![now, i64::from(limit)]).await?.iter().map(task).collect()
        })
    }

    /// The shards of one chunk that wait for healing.
    pub fn heal_tasks_of(&self, chunk: ChunkId) -> Answer<'_, Vec<HealTask>> {
        Box::pin(async move {
            let sql = "SELECT chunk_id, shard, reason, queued_at, noted, attempts FROM heal_queue \
                   WHERE chunk_id = $1 ORDER BY shard";
            self.db.query(sql, values![&chunk.to_bytes()]).await?.iter().map(task).collect()
        })
    }

    /// Takes a task off the queue whose shard was found to be well, unless it was noted again since the task was read.
    /// ([`Self::switch_slot`] takes off the one that it heals.)
    pub fn heal_done<'a>(&'a self, task: &'a HealTask) -> Answer<'a, ()> {
        Box::pin(async move {
            let sql = "DELETE FROM heal_queue WHERE chunk_id = $1 AND shard = $2 AND noted = $3";
            retrying(|| async {
                let mut tx = self.db.begin(None).await?;
                let chunk = task.chunk.to_bytes();
                let result = tx.execute(sql, values![&chunk, i64::from(task.shard), task.noted]).await;
                tx.end(result).await.map(|_| ())
            })
            .await
        })
    }

    /// Notes that a shard is not to be tried before `due`, and if it could not be healed (`failed`) why.
    pub fn heal_later<'a>(&'a self, task: &'a HealTask, failed: Option<&'a str>, due: Millis) -> Answer<'a, ()> {
        Box::pin(async move {
            let reason = failed.map(|reason| reason.chars().take(REASON_LEN).collect::<String>());
            let sql = "UPDATE heal_queue SET due = $3, reason = COALESCE($4, reason), \
                       attempts = attempts + CASE WHEN $4 IS NULL THEN 0 ELSE 1 END \
                       WHERE chunk_id = $1 AND shard = $2";
            retrying(|| async {
                let mut tx = self.db.begin(None).await?;
                let chunk = task.chunk.to_bytes();
                let result = tx.execute(sql, values![&chunk, i64::from(task.shard), due, reason.as_deref()]).await;
                tx.end(result).await.map(|_| ())
            })
            .await
        })
    }

    /// Lets all shards that wait for healing be tried at once, however often they could not be healed.
    pub fn heal_all_due(&self) -> Answer<'_, ()> {
        Box::pin(async move {
            retrying(|| async {
                let mut tx = self.db.begin(None).await?;
                let result = tx.execute("UPDATE heal_queue SET due = 0, attempts = 0 WHERE attempts > 0", &[]).await;
                tx.end(result).await.map(|_| ())
            })
            .await
        })
    }

    /// A chunk; `None` if it is gone.
    pub fn chunk(&self, chunk: ChunkId) -> Answer<'_, Option<ChunkRow>> {
        Box::pin(async move {
            let sql = format!("SELECT {CHUNK} FROM chunks WHERE chunk_id = $1");
            self.db.first(&sql, values![&chunk.to_bytes()]).await?.as_ref().map(chunk_row).transpose()
        })
    }

    /// Chunks that are not dead, by id, from behind `after` on (`None`: from the first); with `volume`, only those with a shard
    /// there.
    pub fn chunks_after(
        &self,
        after: Option<ChunkId>,
        volume: Option<VolumeSlot>,
        limit: u32,
    ) -> Answer<'_, Vec<ChunkRow>> {
        Box::pin(async move {
            let after = after.map(|chunk| chunk.to_bytes().to_vec()).unwrap_or_default();
            let pattern = volume.map_or_else(|| "%".to_owned(), on_volume);
            let sql = format!(
                "SELECT {CHUNK} FROM chunks WHERE chunk_id > $1 AND state <> 'dead' AND ' ' || slots LIKE $2 \
                 ORDER BY chunk_id LIMIT $3"
            );
            self.db.query(&sql, values![&after, &pattern, i64::from(limit)]).await?.iter().map(chunk_row).collect()
        })
    }

    /// How many chunks there are in each state.
    pub fn chunk_counts(&self) -> Answer<'_, ChunkCounts> {
        Box::pin(async move {
            let mut counts = ChunkCounts::default();
            for row in self.db.query("SELECT state, COUNT(*) AS chunks FROM chunks GROUP BY state", &[]).await? {
                let chunks = row.number("chunks")?;
                match chunk_state(&row)? {
                    ChunkState::Open => counts.open = chunks,
                    ChunkState::Sealed => counts.sealed = chunks,
                    ChunkState::Damaged => counts.damaged = chunks,
                    ChunkState::Dead => counts.dead = chunks,
                }
            }
            Ok(counts)
        })
    }

    /// How many living chunks have a shard on the volume.
    pub fn chunks_on(&self, volume: VolumeSlot) -> Answer<'_, u64> {
        Box::pin(async move {
            let sql = "SELECT COUNT(*) AS chunks FROM chunks WHERE state <> 'dead' AND ' ' || slots LIKE $1";
            let row = self.db.first(sql, values![&on_volume(volume)]).await?;
            row.ok_or_else(|| Error::Corrupt("a count has no row".into()))?.number("chunks")
        })
    }

    /// Of these files on a volume, those of which no row knows: they are neither a shard nor waiting to be removed, and their
    /// ids are of a range that nobody writes to any more.
    pub fn unknown_files<'a>(&'a self, volume: VolumeSlot, files: &'a [ShardName]) -> Answer<'a, Vec<ShardName>> {
        Box::pin(async move {
            let mut unknown = Vec::new();
            for file in files {
                let id = file.chunk.to_bytes();
                // One statement, so that a file is not between two rows while it is asked for.
                let sql = "SELECT \
                    (SELECT slots FROM chunks WHERE chunk_id = $1) AS slots, \
                    (SELECT COUNT(*) FROM pending_deletes \
                        WHERE slot = $2 AND chunk_id = $1 AND shard = $3 AND generation = $4) AS pending, \
                    (SELECT COUNT(*) FROM id_ranges \
                        WHERE first <= $5 AND last >= $5 AND nonce = $6 AND state = 'open') AS written";
                let given = values![
                    &id,
                    i64::from(volume.0),
                    i64::from(file.shard),
                    i64::from(file.generation),
                    super::rows::int(file.chunk.seq),
                    file.chunk.nonce as i64
                ];
                let Some(row) = self.db.first(sql, given).await? else { continue };
                let placed = match row.opt_text("slots")? {
                    Some(slots) => {
                        let placement: Placement =
                            slots.parse().map_err(|_| Error::Corrupt(format!("column slots holds {slots:?}")))?;
                        placement.file(file.chunk, usize::from(file.shard)) == Some((volume, *file))
                    }
                    None => false,
                };
                if !placed && row.int("pending")? == 0 && row.int("written")? == 0 {
                    unknown.push(*file);
                }
            }
            Ok(unknown)
        })
    }

    /// Says whether a chunk has too few good shards. One that is still written to, or dead, stays what it is.
    pub fn set_damaged(&self, chunk: ChunkId, damaged: bool) -> Answer<'_, ()> {
        Box::pin(async move {
            let (from, to) = if damaged { ("sealed", "damaged") } else { ("damaged", "sealed") };
            let sql = "UPDATE chunks SET state = $3 WHERE chunk_id = $1 AND state = $2";
            retrying(|| async {
                let mut tx = self.db.begin(None).await?;
                let result = tx.execute(sql, values![&chunk.to_bytes(), from, to]).await;
                tx.end(result).await.map(|_| ())
            })
            .await
        })
    }

    /// Announces the file that is to become a shard, on `volume`, if the shard still is at `from`: its generation is one
    /// that no file of this shard ever had. From now on the file is removed after `patience`, unless
    /// [`Self::switch_slot`] makes it the shard before. `None`: the shard is elsewhere, or the chunk open, dead or gone.
    pub fn announce_shard(
        &self,
        chunk: ChunkId,
        shard: u8,
        from: Option<Slot>,
        volume: VolumeSlot,
        patience: Duration,
    ) -> Answer<'_, Option<Slot>> {
        Box::pin(async move {
            retrying(|| async {
                let mut tx = self.db.begin(None).await?;
                let result = announce(&mut tx, chunk, shard, from, volume, patience).await;
                tx.end(result).await
            })
            .await
        })
    }

    /// Gives up a file that was announced: it may be removed at once.
    pub fn withdraw_shard(&self, volume: VolumeSlot, file: ShardName) -> Answer<'_, ()> {
        Box::pin(async move {
            let sql = "UPDATE pending_deletes SET due = 0 \
                       WHERE slot = $1 AND chunk_id = $2 AND shard = $3 AND generation = $4";
            let chunk = file.chunk.to_bytes();
            retrying(|| async {
                let mut tx = self.db.begin(None).await?;
                let given = values![i64::from(volume.0), &chunk, i64::from(file.shard), i64::from(file.generation)];
                let result = tx.execute(sql, given).await;
                tx.end(result).await.map(|_| ())
            })
            .await
        })
    }

    /// Moves a shard's place if it still is `from` (`None`: never placed) and the file at `to` was announced and is not due for
    /// removal; answers whether it was moved.
    ///
    /// The shard is then neither missing nor waiting for healing. The file that it was before is to be removed after `grace`,
    /// for readers that still look for it there.
    pub fn switch_slot(
        &self,
        chunk: ChunkId,
        shard: u8,
        from: Option<Slot>,
        to: Slot,
        grace: Duration,
    ) -> Answer<'_, bool> {
        Box::pin(async move {
            let batch = fresh_batch();
            retrying(|| async {
                let mut tx = self.db.begin(Some(batch)).await?;
                let result = switch(&mut tx, chunk, shard, from, to, grace).await;
                tx.end(result).await
            })
            .await
        })
    }
}

/// Placements with a shard on the volume, for LIKE behind a space.
pub(super) fn on_volume(volume: VolumeSlot) -> String {
    format!("% {volume}.%")
}

fn task(row: &Row) -> Result<HealTask> {
    Ok(HealTask {
        chunk: row.chunk_id("chunk_id")?,
        shard: row.number("shard")?,
        reason: row.text("reason")?,
        queued: row.int("queued_at")?,
        noted: row.int("noted")?,
        attempts: row.number("attempts")?,
    })
}

fn chunk_state(row: &Row) -> Result<ChunkState> {
    match row.text("state")?.as_str() {
        "open" => Ok(ChunkState::Open),
        "sealed" => Ok(ChunkState::Sealed),
        "damaged" => Ok(ChunkState::Damaged),
        "dead" => Ok(ChunkState::Dead),
        other => Err(Error::Corrupt(format!("a chunk cannot be {other:?}"))),
    }
}

fn chunk_row(row: &Row) -> Result<ChunkRow> {
    Ok(ChunkRow {
        state: chunk_state(row)?,
        stored: StoredChunk {
            id: row.chunk_id("chunk_id")?,
            packed: row.int("packed")? != 0,
            placement: row.parse("slots")?,
            missing: row.shard_set("missing")?,
            len: row.number("len")?,
            end: row.number("file_end")?,
        },
    })
}

async fn queue(tx: &mut Tx, shards: &[(ChunkId, u8)], reason: &str, now: Millis) -> Result<()> {
    let mut sorted: Vec<_> = shards.iter().filter(|(_, shard)| usize::from(*shard) < SHARDS).copied().collect();
    sorted.sort_unstable();
    sorted.dedup();
    let ids: Vec<_> = sorted.iter().map(|(chunk, _)| chunk.to_bytes()).collect();
    let chunks = Column::Bytes(ids.iter().map(<[u8; 16]>::as_slice).collect());
    // The rows are held, so that a switch of a shard's place comes before the note or after it, and no chunk can die.
    let sql = "SELECT chunk_id FROM chunks WHERE chunk_id IN (SELECT input.id FROM {input:id}) \
               ORDER BY chunk_id {share}";
    tx.query_many(sql, &[], std::slice::from_ref(&chunks)).await?;
    let sql = "INSERT INTO heal_queue (chunk_id, shard, reason, queued_at) \
               SELECT c.chunk_id, input.shard, $1, $2 FROM {input:id,shard} \
               JOIN chunks c ON c.chunk_id = input.id WHERE c.state <> 'dead' \
               ON CONFLICT (chunk_id, shard) DO UPDATE SET noted = heal_queue.noted + 1, reason = excluded.reason";
    let indexes = Column::Ints(sorted.iter().map(|(_, shard)| i64::from(*shard)).collect());
    tx.execute_many(sql, values![reason, now], &[chunks, indexes]).await.map(|_| ())
}

async fn announce(
    tx: &mut Tx,
    chunk: ChunkId,
    shard: u8,
    from: Option<Slot>,
    volume: VolumeSlot,
    patience: Duration,
) -> Result<Option<Slot>> {
    let id = chunk.to_bytes();
    let sql = format!("SELECT {CHUNK} FROM chunks WHERE chunk_id = $1 {{change}}");
    let Some(row) = tx.first(&sql, values![&id]).await?.as_ref().map(chunk_row).transpose()? else { return Ok(None) };
    let sealed = matches!(row.state, ChunkState::Sealed | ChunkState::Damaged);
    if !sealed || row.stored.placement.0.get(usize::from(shard)) != Some(&from) {
        return Ok(None);
    }
    let sql = "SELECT MAX(generation) AS latest FROM pending_deletes WHERE chunk_id = $1 AND shard = $2";
    let latest =
        tx.first(sql, values![&id, i64::from(shard)]).await?.map(|row| row.opt_number("latest")).transpose()?;
    let latest: u32 = latest.flatten().unwrap_or(0);
    let generation = latest.max(from.map_or(0, |slot| slot.generation)).saturating_add(1);
    let sql = "INSERT INTO pending_deletes (slot, chunk_id, shard, generation, due) \
               VALUES ($1, $2, $3, $4, {now} + $5)";
    let patience = i64::try_from(patience.as_millis()).unwrap_or(i64::MAX / 4);
    let given = values![i64::from(volume.0), &id, i64::from(shard), i64::from(generation), patience];
    tx.execute(sql, given).await?;
    Ok(Some(Slot { volume, generation }))
}

async fn switch(tx: &mut Tx, chunk: ChunkId, shard: u8, from: Option<Slot>, to: Slot, grace: Duration) -> Result<bool> {
    let id = chunk.to_bytes();
    let sql = "SELECT state, slots, missing FROM chunks WHERE chunk_id = $1 {change}";
    let Some(row) = tx.first(sql, values![&id]).await? else { return Ok(false) };
    let mut placement: Placement = row.parse("slots")?;
    let mut missing = row.shard_set("missing")?;
    let Some(slot) = placement.0.get_mut(usize::from(shard)) else { return Ok(false) };
    if !matches!(chunk_state(&row)?, ChunkState::Sealed | ChunkState::Damaged) || *slot != from {
        return Ok(false);
    }
    // Once it is due somebody may be about to remove the file: it can be the shard only before that.
    let sql = "DELETE FROM pending_deletes WHERE slot = $1 AND chunk_id = $2 AND shard = $3 AND generation = $4 \
               AND due > {now}";
    let given = values![i64::from(to.volume.0), &id, i64::from(shard), i64::from(to.generation)];
    if tx.execute(sql, given).await? == 0 {
        return Ok(false);
    }
    *slot = Some(to);
    missing.remove(usize::from(shard));
    let sql = "UPDATE chunks SET slots = $2, missing = $3 WHERE chunk_id = $1";
    tx.execute(sql, values![&id, &placement.to_string(), i64::from(missing.0)]).await?;
    tx.execute("DELETE FROM heal_queue WHERE chunk_id = $1 AND shard = $2", values![&id, i64::from(shard)]).await?;
    if let Some(from) = from {
        let file = ShardName { chunk, shard, generation: from.generation };
        reclaim::insert_pending(tx, from.volume, file, grace).await?;
    }
    Ok(true)
}
