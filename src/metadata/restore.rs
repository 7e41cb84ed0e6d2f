//! A database made anew from a snapshot: one transaction, so that whatever cuts it short leaves nothing.

use super::dialect::{Column, Tx, values};
use super::rows::int;
use super::write::insert_data;
use super::{Answer, Cell, Error, Metadata, Result, SnapshotRow, Table, dump, quotas};
use crate::clock::random_bytes;
use crate::layout::{ChunkId, NewData, Placement, ShardSet, VolumeSlot};

/// A chunk as the snapshot has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoredChunk {
    /// Its name.
    pub id: ChunkId,
    /// Whether nothing refers to it.
    pub dead: bool,
    /// Where its shards were.
    pub placement: Placement,
    /// Shards that were not there.
    pub missing: ShardSet,
    /// Whether small objects share it.
    pub packed: bool,
    /// Object bytes in it.
    pub len: u64,
    /// Where its last committed block ends in each shard file.
    pub end: u64,
}

/// A volume as it is found: what its row is to say.
#[derive(Debug, Clone, PartialEq)]
pub struct FoundVolume {
    /// Its number.
    pub slot: VolumeSlot,
    /// What its operator says of it.
    pub spec: super::VolumeSpec,
    /// How often its disk was replaced by an empty one.
    pub epoch: u32,
}

/// A database that is being made.
pub struct Restoration {
    pub(super) tx: Tx,
}

impl std::fmt::Debug for Restoration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Restoration")
    }
}

impl Metadata {
    /// Begins to fill an empty database. Until that has ended no server starts on it, and nobody else begins to fill it.
    ///
    /// # Errors
    /// [`Error::Unusable`] if anything is in it.
    pub fn begin_restore(&self) -> Answer<'_, Restoration> {
        Box::pin(async move {
            let mut tx = self.db.begin(None).await?;
            match empty(&mut tx).await {
                Ok(()) => Ok(Restoration { tx }),
                Err(error) => tx.end(Err(error)).await,
            }
        })
    }

    /// Objects and parts that have bytes in a chunk, at most `limit`: bucket, key and part (0: the object itself).
    pub fn named_in_chunk(&self, chunk: ChunkId, limit: u32) -> Answer<'_, Vec<(String, String, u32)>> {
        Box::pin(async move {
            let sql = "SELECT b.name, o.key, CAST(0 AS BIGINT) AS part FROM objects o \
                           JOIN buckets b ON b.bucket_id = o.bucket_id WHERE o.chunk_id = $1 \
                       UNION ALL SELECT b.name, o.key, CAST(0 AS BIGINT) FROM extents e JOIN objects o ON o.data_id = e.data_id \
                           JOIN buckets b ON b.bucket_id = o.bucket_id WHERE e.chunk_id = $1 \
                       UNION ALL SELECT b.name, v.key, CAST(0 AS BIGINT) FROM versions v \
                           JOIN buckets b ON b.bucket_id = v.bucket_id WHERE v.chunk_id = $1 \
                       UNION ALL SELECT b.name, v.key, CAST(0 AS BIGINT) FROM extents e JOIN versions v ON v.data_id = e.data_id \
                           JOIN buckets b ON b.bucket_id = v.bucket_id WHERE e.chunk_id = $1 \
                       UNION ALL SELECT b.name, u.key, p.number FROM extents e JOIN parts p ON p.data_id = e.data_id \
                           JOIN uploads u ON u.upload_id = p.upload_id JOIN buckets b ON b.bucket_id = u.bucket_id \
                           WHERE e.chunk_id = $1 LIMIT $2";
            let rows = self.db.query(sql, values![&chunk.to_bytes(), i64::from(limit)]).await?;
            rows.iter().map(|row| Ok((row.text("name")?, row.key("key")?, row.number("part")?))).collect()
        })
    }
}

async fn empty(tx: &mut Tx) -> Result<()> {
    // Its pages come from volumes, which may take their time.
    tx.may_pause().await?;
    // Held until all is there: another restore, or a server that starts meanwhile, waits here for its end, and then finds what was
    // restored. Neither sees rows that are not committed.
    tx.first("SELECT one FROM deployment {update}", &[]).await?;
    for table in [
        "buckets",
        "chunks",
        "data",
        "uploads",
        "snapshots",
        "instances",
        "id_ranges",
        "access_keys",
        "principals",
        "policies",
    ] {
        let sql = format!("SELECT 1 AS one FROM {table} LIMIT 1");
        if tx.first(&sql, &[]).await?.is_some() {
            return Err(Error::Unusable(format!(
                "something is in it already (in the table {table}): a snapshot is only restored into an empty database"
            )));
        }
    }
    let others = tx.first("SELECT 1 AS one FROM accounts WHERE own = 0 LIMIT 1", &[]).await?;
    if others.is_some() {
        return Err(Error::Unusable(
            "there are accounts in it: a snapshot is only restored into an empty database".into(),
        ));
    }
    // The own account of a server that was started on it and never used.
    for table in ["accounts", "volumes", "quotas"] {
        tx.execute(&format!("DELETE FROM {table}"), &[]).await?;
    }
    Ok(())
}

impl Restoration {
    /// Writes rows of a table. Rows that they refer to were written before.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if they cannot be rows of it.
    pub fn write<'a>(&'a mut self, table: &'a Table, columns: &'a [&'a str], rows: &'a [Vec<Cell>]) -> Answer<'a, ()> {
        Box::pin(async move { dump::upsert(&mut self.tx, table, columns, rows).await })
    }

    /// Ends what the old life had open: open chunks are sealed where their last committed batch ends, and numbers go on after the
    /// largest that there are. Quotas count what is there.
    pub fn close_old_life(&mut self) -> Answer<'_, ()> {
        Box::pin(async move {
            let sql = "UPDATE chunks SET state = CASE WHEN live = 0 THEN 'dead' ELSE 'sealed' END, \
                       died_at = CASE WHEN live = 0 THEN {now} END WHERE state IN ('open', 'damaged')";
            self.tx.execute(sql, &[]).await?;
            // Of what was dead the new life's readers know nothing; the grace begins again.
            self.tx.execute("UPDATE chunks SET died_at = {now} WHERE state = 'dead'", &[]).await?;
            // Where nothing is sealed any master key will do, and the old one may be lost.
            let sql = "UPDATE identity_state SET seal_key = NULL, seal_check = NULL \
                       WHERE NOT EXISTS (SELECT 1 FROM access_keys)";
            self.tx.execute(sql, &[]).await?;
            quotas::settle(&mut self.tx).await?;
            for (table, column) in
                [("buckets", "bucket_id"), ("quotas", "quota_id"), ("data", "data_id"), ("released", "released_id")]
            {
                self.tx.go_on_numbering(table, column).await?;
            }
            Ok(())
        })
    }

    /// Chunks above `after`, in order.
    pub fn chunks_after(&mut self, after: ChunkId, limit: u32) -> Answer<'_, Vec<RestoredChunk>> {
        Box::pin(async move {
            let sql = "SELECT chunk_id, state, slots, missing, packed, len, file_end FROM chunks WHERE chunk_id > $1 \
                       ORDER BY chunk_id LIMIT $2";
            let rows = self.tx.query(sql, values![&after.to_bytes(), i64::from(limit)]).await?;
            rows.iter()
                .map(|row| {
                    Ok(RestoredChunk {
                        id: row.chunk_id("chunk_id")?,
                        dead: row.text("state")? == "dead",
                        placement: row.parse("slots")?,
                        missing: row.shard_set("missing")?,
                        packed: row.int("packed")? != 0,
                        len: row.number("len")?,
                        end: row.number("file_end")?,
                    })
                })
                .collect()
        })
    }

    /// Says where the shards of chunks are now; those that are missing wait for healing.
    pub fn settle_chunks<'a>(&'a mut self, chunks: &'a [RestoredChunk]) -> Answer<'a, ()> {
        Box::pin(async move {
            let ids: Vec<[u8; 16]> = chunks.iter().map(|chunk| chunk.id.to_bytes()).collect();
            let slots: Vec<String> = chunks.iter().map(|chunk| chunk.placement.to_string()).collect();
            let lost = |chunk: &RestoredChunk| !chunk.dead && chunk.missing.len() > crate::layout::PARITY_SHARDS;
            let sql = "UPDATE chunks SET slots = input.new_slots, missing = input.new_missing, \
                       state = CASE WHEN input.lost = 1 THEN 'damaged' ELSE state END \
                       FROM {input:id,new_slots,new_missing,lost} WHERE chunks.chunk_id = input.id";
            let columns = [
                Column::Bytes(ids.iter().map(<[u8; 16]>::as_slice).collect()),
                Column::Texts(slots.iter().map(String::as_str).collect()),
                Column::Ints(chunks.iter().map(|chunk| i64::from(chunk.missing.0)).collect()),
                Column::Ints(chunks.iter().map(|chunk| i64::from(lost(chunk))).collect()),
            ];
            self.tx.execute_many(sql, &[], &columns).await?;
            let (mut of, mut shards) = (Vec::new(), Vec::new());
            for (chunk, id) in chunks.iter().zip(&ids).filter(|(chunk, _)| !chunk.dead) {
                for shard in chunk.missing.iter() {
                    of.push(id.as_slice());
                    shards.push(shard as i64);
                }
            }
            let sql = "INSERT INTO heal_queue (chunk_id, shard, reason, queued_at) \
                       SELECT input.chunk_id, input.shard, 'not found when the metadata were restored', {now} \
                       FROM {input:chunk_id,shard} WHERE 0 = 0 ON CONFLICT (chunk_id, shard) DO NOTHING";
            self.tx.execute_many(sql, &[], &[Column::Bytes(of), Column::Ints(shards)]).await.map(|_| ())
        })
    }

    /// Registers the snapshot that all this is from, unless it is in itself, and says where the volumes are. Ids of chunks go on
    /// above `last_seq`.
    pub fn register<'a>(
        &'a mut self,
        snapshot: &'a SnapshotRow,
        data: &'a NewData,
        volumes: &'a [FoundVolume],
        last_seq: u64,
    ) -> Answer<'a, ()> {
        Box::pin(async move {
            let tx = &mut self.tx;
            let known = "SELECT 1 AS one FROM snapshots WHERE snapshot_id = $1";
            if tx.first(known, values![&snapshot.id]).await?.is_none() {
                let id = insert_data(tx, data, snapshot.began).await?;
                let id = id.ok_or_else(|| Error::Corrupt("a snapshot has no bytes".into()))?;
                let sql = "INSERT INTO snapshots (snapshot_id, state, began, completed, row_count, bytes, data_id) \
                           VALUES ($1, 'complete', $2, {now}, $3, $4, $5)";
                let row = values![&snapshot.id, snapshot.began, int(snapshot.rows), int(snapshot.bytes), id.0];
                tx.execute(sql, row).await?;
            }
            for volume in volumes {
                let spec = &volume.spec;
                let capacity = spec.capacity.map(int);
                let sql = "INSERT INTO volumes (slot, id, path, node, zone, region, weight, capacity, formatted, epoch) \
                           VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 1, $9) \
                           ON CONFLICT (slot) DO UPDATE SET path = excluded.path, formatted = 1, epoch = excluded.epoch";
                let row = values![
                    i64::from(volume.slot.0),
                    &spec.id,
                    &spec.path,
                    &spec.node,
                    &spec.zone,
                    &spec.region,
                    super::dialect::Value::Float(spec.weight),
                    capacity,
                    i64::from(volume.epoch)
                ];
                tx.execute(sql, row).await?;
                tx.execute("DELETE FROM removed_volumes WHERE id = $1", values![&spec.id]).await?;
            }
            // Whatever the old life has left of its log is none of the new one's.
            let life = hex::encode(random_bytes::<8>());
            let sql = "UPDATE deployment SET log_life = $2, last_seq = CASE WHEN last_seq < $1 THEN $1 ELSE last_seq END, \
                       last_slot = COALESCE((SELECT MAX(v.slot) FROM volumes v WHERE v.slot > deployment.last_slot), last_slot)";
            tx.execute(sql, values![int(last_seq), &life]).await.map(|_| ())
        })
    }

    /// Commits all of it.
    pub fn commit(self) -> Answer<'static, ()> {
        Box::pin(async move { self.tx.end(Ok(())).await })
    }

    /// Gives all of it up.
    pub fn abandon(self) -> Answer<'static, ()> {
        Box::pin(async move {
            let given_up: Result<()> = self.tx.end(Err(Error::Unavailable("it was given up".into()))).await;
            drop(given_up);
            Ok(())
        })
    }
}
