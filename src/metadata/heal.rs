//! Shards that are missing or bad, and the moving of shards.

use super::dialect::{Tx, fresh_batch, retrying, values};
use super::{Answer, Error, HealTask, Metadata, Result, reclaim};
use crate::clock::Millis;
use crate::layout::{ChunkId, Placement, SHARDS, Slot};

/// Characters of a reason that are kept.
const REASON_LEN: usize = 200;

impl Metadata {
    /// Notes that a shard is missing or bad. Noting it twice is noting it once; of a chunk that is gone or dead, never.
    pub fn queue_heal<'a>(&'a self, chunk: ChunkId, shard: u8, reason: &'a str, now: Millis) -> Answer<'a, ()> {
        Box::pin(async move {
            let reason: String = reason.chars().take(REASON_LEN).collect();
            retrying(|| async {
                let mut tx = self.db.begin(None).await?;
                let result = queue(&mut tx, chunk, shard, &reason, now).await;
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

    /// Shards that wait for healing, those that wait longest first.
    pub fn heal_tasks(&self, limit: u32) -> Answer<'_, Vec<HealTask>> {
        Box::pin(async move {
            let sql = "SELECT chunk_id, shard, reason, queued_at, noted FROM heal_queue \
                   ORDER BY queued_at, chunk_id, shard LIMIT $1";
            let rows = self.db.query(sql, values![i64::from(limit)]).await?;
            rows.iter()
                .map(|row| {
                    Ok(HealTask {
                        chunk: row.chunk_id("chunk_id")?,
                        shard: row.number("shard")?,
                        reason: row.text("reason")?,
                        queued: row.int("queued_at")?,
                        noted: row.int("noted")?,
                    })
                })
                .collect()
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

    /// Moves a shard's place if it still is `from` (`None`: never placed); answers whether it was.
    ///
    /// The shard is then neither missing nor waiting for healing, and the file that it was before is a pending delete.
    pub fn switch_slot(&self, chunk: ChunkId, shard: u8, from: Option<Slot>, to: Slot) -> Answer<'_, bool> {
        Box::pin(async move {
            let batch = fresh_batch();
            retrying(|| async {
                let mut tx = self.db.begin(Some(batch)).await?;
                let result = switch(&mut tx, chunk, shard, from, to).await;
                tx.end(result).await
            })
            .await
        })
    }
}

async fn queue(tx: &mut Tx, chunk: ChunkId, shard: u8, reason: &str, now: Millis) -> Result<()> {
    let id = chunk.to_bytes();
    // The row is held, so that a switch of the shard's place comes before the note or after it, and the chunk cannot die.
    let sql = "SELECT state FROM chunks WHERE chunk_id = $1 {share}";
    let Some(row) = tx.first(sql, values![&id]).await? else { return Ok(()) };
    if row.text("state")? == "dead" || usize::from(shard) >= SHARDS {
        return Ok(());
    }
    let sql = "INSERT INTO heal_queue (chunk_id, shard, reason, queued_at) VALUES ($1, $2, $3, $4) \
               ON CONFLICT (chunk_id, shard) DO UPDATE SET noted = heal_queue.noted + 1, reason = excluded.reason";
    tx.execute(sql, values![&id, i64::from(shard), reason, now]).await.map(|_| ())
}

async fn switch(tx: &mut Tx, chunk: ChunkId, shard: u8, from: Option<Slot>, to: Slot) -> Result<bool> {
    let id = chunk.to_bytes();
    let sql = "SELECT state, slots, missing FROM chunks WHERE chunk_id = $1 {update}";
    let Some(row) = tx.first(sql, values![&id]).await? else { return Ok(false) };
    let mut placement: Placement = row.parse("slots")?;
    let mut missing = row.shard_set("missing")?;
    let Some(slot) = placement.0.get_mut(usize::from(shard)) else { return Ok(false) };
    if row.text("state")? == "dead" || *slot != from {
        return Ok(false);
    }
    *slot = Some(to);
    missing.remove(usize::from(shard));
    let sql = "UPDATE chunks SET slots = $2, missing = $3 WHERE chunk_id = $1";
    tx.execute(sql, values![&id, &placement.to_string(), i64::from(missing.0)]).await?;
    tx.execute("DELETE FROM heal_queue WHERE chunk_id = $1 AND shard = $2", values![&id, i64::from(shard)]).await?;
    if let Some(from) = from {
        let file = crate::layout::ShardName { chunk, shard, generation: from.generation };
        reclaim::insert_pending(tx, from.volume, file).await?;
    }
    Ok(true)
}
