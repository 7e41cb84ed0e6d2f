//! From dropped references to dead chunks, and from those to nothing.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use super::dialect::{Column, Tx, retrying, values};
use super::{Answer, DeadChunk, Error, Folded, Lease, Metadata, Result, instances};
use crate::clock::Millis;
use crate::layout::{ShardName, VolumeSlot};

/// Data whose references are counted down in one transaction, in bytes: with it goes an extent for each 64 MiB or less.
const FOLD_BYTES: u64 = 1 << 40;

impl Metadata {
    /// Subtracts what at most `limit` rows of `released` hold; data that nobody refers to any more goes, and chunks
    /// without a live byte die. Dead is final.
    ///
    /// # Errors
    /// [`Error::LeaseLost`].
    pub fn fold_released<'a>(&'a self, lease: &'a Lease, limit: u32) -> Answer<'a, Folded> {
        Box::pin(async move {
            retrying(|| async {
                let mut tx = self.db.begin(None).await?;
                let result = fold(&mut tx, lease, limit).await;
                tx.end(result).await
            })
            .await
        })
    }

    /// What the database's clock shows.
    pub fn now(&self) -> Answer<'_, Millis> {
        Box::pin(async move {
            let row = self.db.first("SELECT {now} AS shown", &[]).await?;
            row.ok_or_else(|| Error::Corrupt("the clock has no row".into()))?.int("shown")
        })
    }

    /// Chunks that died at least `grace` ago, and before any read of any instance began, those that died first first. The holder
    /// of the lease knows of its own reads more than it published: `reads_since` (see [`Self::heartbeat`]). If
    /// `gated`, only those that died before the newest complete snapshot began: it, too, may be read.
    pub fn dead_chunks<'a>(
        &'a self,
        lease: &'a Lease,
        reads_since: Millis,
        grace: Duration,
        gated: bool,
        limit: u32,
    ) -> Answer<'a, Vec<DeadChunk>> {
        Box::pin(async move {
            // A chunk dies after its last reference was dropped: whoever can still read it had begun by then.
            let sql = "SELECT chunk_id, slots, missing FROM chunks WHERE state = 'dead' AND died_at <= {now} - $1 \
                   AND died_at < (SELECT MIN(CASE WHEN i.instance_id = $2 THEN $3 ELSE i.reads_since END) \
                       FROM instances i WHERE i.state = 'live') \
                   AND ($4 = 0 OR died_at < (SELECT MAX(s.began) FROM snapshots s WHERE s.state = 'complete')) \
                   ORDER BY died_at, chunk_id LIMIT $5";
            let values =
                values![instances::millis(grace), lease.holder.0, reads_since, i64::from(gated), i64::from(limit)];
            let rows = self.db.query(sql, values).await?;
            rows.iter()
                .map(|row| {
                    Ok(DeadChunk {
                        id: row.chunk_id("chunk_id")?,
                        placement: row.parse("slots")?,
                        missing: row.shard_set("missing")?,
                    })
                })
                .collect()
        })
    }

    /// Forgets a dead chunk of which the files on all volumes but `absent` are gone; those become pending deletes.
    /// A chunk that is forgotten already is no error.
    ///
    /// # Errors
    /// [`Error::LeaseLost`]; [`Error::Corrupt`] if the chunk is not dead or its shards are elsewhere.
    pub fn forget_chunk<'a>(
        &'a self,
        lease: &'a Lease,
        chunk: &'a DeadChunk,
        absent: &'a [VolumeSlot],
    ) -> Answer<'a, ()> {
        Box::pin(async move {
            retrying(|| async {
                let mut tx = self.db.begin(None).await?;
                let result = forget(&mut tx, lease, chunk, absent).await;
                tx.end(result).await
            })
            .await
        })
    }

    /// Files that are to be removed from a volume now.
    pub fn pending_deletes(&self, volume: VolumeSlot, limit: u32) -> Answer<'_, Vec<ShardName>> {
        Box::pin(async move {
            let sql = "SELECT chunk_id, shard, generation FROM pending_deletes WHERE slot = $1 AND due <= {now} \
                   ORDER BY chunk_id, shard, generation LIMIT $2";
            let rows = self.db.query(sql, values![i64::from(volume.0), i64::from(limit)]).await?;
            rows.iter()
                .map(|row| {
                    Ok(ShardName {
                        chunk: row.chunk_id("chunk_id")?,
                        shard: row.number("shard")?,
                        generation: row.number("generation")?,
                    })
                })
                .collect()
        })
    }

    /// Notes that files are gone from a volume.
    pub fn deleted<'a>(&'a self, volume: VolumeSlot, shards: &'a [ShardName]) -> Answer<'a, ()> {
        Box::pin(async move {
            let chunks: Vec<_> = shards.iter().map(|shard| shard.chunk.to_bytes()).collect();
            let columns = [
                Column::Bytes(chunks.iter().map(<[u8; 16]>::as_slice).collect()),
                Column::Ints(shards.iter().map(|shard| i64::from(shard.shard)).collect()),
                Column::Ints(shards.iter().map(|shard| i64::from(shard.generation)).collect()),
            ];
            let sql = "DELETE FROM pending_deletes WHERE slot = $1 AND EXISTS \
                   (SELECT 1 FROM {input:chunk,shard_index,file_generation} WHERE input.chunk = pending_deletes.chunk_id \
                   AND input.shard_index = pending_deletes.shard \
                   AND input.file_generation = pending_deletes.generation)";
            retrying(|| async {
                let mut tx = self.db.begin(None).await?;
                let result = tx.execute_many(sql, values![i64::from(volume.0)], &columns).await;
                tx.end(result).await.map(|_| ())
            })
            .await
        })
    }

    /// Forgets at most `limit` commit ids older than `age`: by then every unclear outcome has been settled. Answers how many. Completions
    /// of uploads and tokens of renames that are as old go with them.
    ///
    /// # Errors
    /// [`Error::LeaseLost`].
    pub fn prune_commits<'a>(&'a self, lease: &'a Lease, age: Duration, limit: u32) -> Answer<'a, u64> {
        Box::pin(async move {
            let age = i64::try_from(age.as_millis()).unwrap_or(i64::MAX / 4);
            let sql = "DELETE FROM commits WHERE batch_id IN \
                   (SELECT batch_id FROM commits WHERE at < {now} - $1 ORDER BY at LIMIT $2)";
            retrying(|| async {
                let mut tx = self.db.begin(None).await?;
                let result = async {
                    instances::hold_lease(&mut tx, lease).await?;
                    let completions = "DELETE FROM completions WHERE upload_id IN \
                        (SELECT upload_id FROM completions WHERE at < {now} - $1 ORDER BY at LIMIT $2)";
                    tx.execute(completions, values![age, i64::from(limit)]).await?;
                    let renames = "DELETE FROM renames WHERE (bucket_id, token) IN \
                        (SELECT bucket_id, token FROM renames WHERE at < {now} - $1 ORDER BY at LIMIT $2)";
                    tx.execute(renames, values![age, i64::from(limit)]).await?;
                    tx.execute(sql, values![age, i64::from(limit)]).await
                };
                let result = result.await;
                tx.end(result).await
            })
            .await
        })
    }
}

/// What rows of `released` hold in sum.
#[derive(Default)]
struct Released {
    rows: Vec<i64>,
    data: BTreeMap<i64, i64>,
    chunks: BTreeMap<Vec<u8>, i64>,
}

async fn fold(tx: &mut Tx, lease: &Lease, limit: u32) -> Result<Folded> {
    instances::hold_lease(tx, lease).await?;
    let released = take(tx, limit).await?;
    if released.rows.is_empty() {
        return Ok(Folded::default());
    }
    let rows = released.rows.len() as u64;
    let (data, counts): (Vec<i64>, Vec<i64>) = released.data.iter().unzip();
    let sql = "UPDATE data SET refs = refs - input.dropped FROM {input:id,dropped} WHERE data.data_id = input.id";
    tx.execute_many(sql, &[], &[Column::Ints(data.clone()), Column::Ints(counts)]).await?;
    let sql = "DELETE FROM released WHERE released_id IN (SELECT input.id FROM {input:id})";
    tx.execute_many(sql, &[], &[Column::Ints(released.rows)]).await?;

    let sql = "SELECT data_id FROM data WHERE refs = 0 AND data_id IN (SELECT input.id FROM {input:id})";
    let gone = tx.query_many(sql, &[], &[Column::Ints(data)]).await?;
    let gone = gone.iter().map(|row| row.int("data_id")).collect::<Result<Vec<_>>>()?;
    let mut chunks = released.chunks;
    let sql = "SELECT chunk_id, CAST(SUM(len) AS BIGINT) AS bytes FROM extents \
               WHERE data_id IN (SELECT input.id FROM {input:id}) GROUP BY chunk_id";
    for row in tx.query_many(sql, &[], &[Column::Ints(gone.clone())]).await? {
        *chunks.entry(row.bytes("chunk_id")?).or_default() += row.int("bytes")?;
    }
    let ids = || Column::Bytes(chunks.keys().map(Vec::as_slice).collect());
    // Rows that refer to these chunks may be added meanwhile, by whoever counted them in before or will after this.
    let sql =
        "SELECT chunk_id FROM chunks WHERE chunk_id IN (SELECT input.id FROM {input:id}) ORDER BY chunk_id {change}";
    tx.query_many(sql, &[], &[ids()]).await?;
    for table in ["extents", "data_parts", "data"] {
        let sql = format!("DELETE FROM {table} WHERE data_id IN (SELECT input.id FROM {{input:id}})");
        tx.execute_many(&sql, &[], &[Column::Ints(gone.clone())]).await?;
    }
    let sql = "UPDATE chunks SET live = live - input.bytes FROM {input:id,bytes} WHERE chunks.chunk_id = input.id";
    tx.execute_many(sql, &[], &[ids(), Column::Ints(chunks.values().copied().collect())]).await?;

    let sql = "UPDATE chunks SET state = 'dead', died_at = {now} WHERE live = 0 AND state IN ('sealed', 'damaged') \
               AND chunk_id IN (SELECT input.id FROM {input:id}) RETURNING chunk_id";
    let dead = tx.query_many(sql, &[], &[ids()]).await?;
    let dead = dead.iter().map(|row| row.bytes("chunk_id")).collect::<Result<Vec<_>>>()?;
    let sql = "DELETE FROM heal_queue WHERE chunk_id IN (SELECT input.id FROM {input:id})";
    tx.execute_many(sql, &[], &[Column::Bytes(dead.iter().map(Vec::as_slice).collect())]).await?;
    Ok(Folded { rows, data: gone.len() as u64, chunks: dead.len() as u64 })
}

/// Locks rows of `released` and the data that they refer to. Those who only drop references to the data, or keep them elsewhere, do not
/// wait for this, nor this for them: theirs are counted still.
async fn take(tx: &mut Tx, limit: u32) -> Result<Released> {
    let sql = "SELECT released_id, data_id, chunk_id, bytes FROM released ORDER BY released_id LIMIT $1 {skip}";
    let rows = tx.query(sql, values![i64::from(limit)]).await?;
    let mut wanted = Vec::new();
    for row in &rows {
        wanted.extend(row.opt_int("data_id")?);
    }
    let sql =
        "SELECT data_id, len FROM data WHERE data_id IN (SELECT input.id FROM {input:id}) ORDER BY data_id {change}";
    let mut lens = HashMap::new();
    for row in tx.query_many(sql, &[], &[Column::Ints(wanted)]).await? {
        lens.insert(row.int("data_id")?, row.number::<u64>("len")?);
    }
    let mut released = Released::default();
    let mut bytes = 0u64;
    for row in &rows {
        if let Some(data) = row.opt_int("data_id")? {
            let len = lens.get(&data).copied().ok_or_else(|| Error::Corrupt(format!("there is no data {data}")))?;
            bytes = bytes.saturating_add(len);
            if bytes > FOLD_BYTES && !released.rows.is_empty() {
                break;
            }
            *released.data.entry(data).or_default() += 1;
        } else {
            *released.chunks.entry(row.bytes("chunk_id")?).or_default() += row.int("bytes")?;
        }
        released.rows.push(row.int("released_id")?);
    }
    Ok(released)
}

async fn forget(tx: &mut Tx, lease: &Lease, chunk: &DeadChunk, absent: &[VolumeSlot]) -> Result<()> {
    instances::hold_lease(tx, lease).await?;
    let id = chunk.id.to_bytes();
    let Some(row) = tx.first("SELECT state, slots FROM chunks WHERE chunk_id = $1 {update}", values![&id]).await?
    else {
        return Ok(());
    };
    if row.text("state")? != "dead" {
        return Err(Error::Corrupt(format!("chunk {} is not dead", chunk.id)));
    }
    if row.text("slots")? != chunk.placement.to_string() {
        return Err(Error::Corrupt(format!("the shards of chunk {} moved after its death", chunk.id)));
    }
    for shard in 0..crate::layout::SHARDS {
        if let Some((volume, file)) = chunk.placement.file(chunk.id, shard)
            && absent.contains(&volume)
        {
            insert_pending(tx, volume, file, Duration::ZERO).await?;
        }
    }
    tx.execute("DELETE FROM chunks WHERE chunk_id = $1", values![&id]).await?;
    Ok(())
}

/// Notes that a file is to be removed after `grace`.
pub(super) async fn insert_pending(tx: &mut Tx, volume: VolumeSlot, file: ShardName, grace: Duration) -> Result<()> {
    let sql = "INSERT INTO pending_deletes (slot, chunk_id, shard, generation, due) VALUES ($1, $2, $3, $4, {now} + $5) \
               ON CONFLICT (slot, chunk_id, shard, generation) DO NOTHING";
    let chunk = file.chunk.to_bytes();
    let grace = i64::try_from(grace.as_millis()).unwrap_or(i64::MAX / 4);
    let values = values![i64::from(volume.0), &chunk, i64::from(file.shard), i64::from(file.generation), grace];
    tx.execute(sql, values).await.map(|_| ())
}
