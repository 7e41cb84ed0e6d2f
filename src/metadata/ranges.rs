//! What becomes of reserved chunk ids after their instance: closed, swept, swept again, gone.

use std::time::Duration;

use super::dialect::{Column, Tx, retrying, values};
use super::rows::int;
use super::{Answer, ClosedRange, Error, Lease, Metadata, Result, Retired, instances};
use crate::layout::{ChunkId, IdRange, Placement, VolumeSlot};

impl Metadata {
    /// Closed ranges, and those that were swept once at least `again` ago: the first `limit` whose first number is above
    /// `after`, in order. Whoever asks does so in a later transaction than the closing, so that what has no row now has none ever.
    pub fn ranges_to_sweep(&self, again: Duration, after: u64, limit: u32) -> Answer<'_, Vec<ClosedRange>> {
        Box::pin(async move {
            let sql = "SELECT first, last, nonce, alarm FROM id_ranges WHERE first > $2 \
                       AND (state = 'closed' OR (state = 'swept' AND changed_at <= {now} - $1)) ORDER BY first LIMIT $3";
            let rows = self.db.query(sql, values![instances::millis(again), int(after), i64::from(limit)]).await?;
            let mut ranges = Vec::with_capacity(rows.len());
            for row in &rows {
                let first = row.int("first")?;
                let sql = "SELECT slot FROM range_sweeps WHERE first = $1";
                let done = self.db.query(sql, values![first]).await?;
                ranges.push(ClosedRange {
                    range: IdRange {
                        first: row.number("first")?,
                        last: row.number("last")?,
                        nonce: row.int("nonce")? as u64,
                    },
                    done: done.iter().map(|row| row.number("slot").map(VolumeSlot)).collect::<Result<_>>()?,
                    alarm: row.opt_text("alarm")?,
                });
            }
            Ok(ranges)
        })
    }

    /// The chunks that there are of a range's ids, dead ones too, in order.
    pub fn chunks_of_range(&self, range: IdRange) -> Answer<'_, Vec<(ChunkId, Placement)>> {
        Box::pin(async move {
            let sql = "SELECT chunk_id, slots FROM chunks WHERE chunk_id >= $1 AND chunk_id <= $2 ORDER BY chunk_id";
            let first = ChunkId { seq: range.first, nonce: 0 }.to_bytes();
            let last = ChunkId { seq: range.last, nonce: u64::MAX }.to_bytes();
            let rows = self.db.query(sql, values![&first, &last]).await?;
            rows.iter().map(|row| Ok((row.chunk_id("chunk_id")?, row.parse("slots")?))).collect()
        })
    }

    /// Notes that a range is swept on these volumes. Once it is on all there are, it waits to be swept again; after that it goes.
    ///
    /// # Errors
    /// [`Error::LeaseLost`].
    pub fn range_swept<'a>(&'a self, lease: &'a Lease, first: u64, volumes: &'a [VolumeSlot]) -> Answer<'a, Retired> {
        Box::pin(async move {
            retrying(|| async {
                let mut tx = self.db.begin(None).await?;
                let result = swept(&mut tx, lease, int(first), volumes).await;
                tx.end(result).await
            })
            .await
        })
    }

    /// Writes down why a range is not swept.
    ///
    /// # Errors
    /// [`Error::LeaseLost`].
    pub fn raise_alarm<'a>(&'a self, lease: &'a Lease, first: u64, why: &'a str) -> Answer<'a, ()> {
        Box::pin(async move {
            retrying(|| async {
                let mut tx = self.db.begin(None).await?;
                let result = match instances::hold_lease(&mut tx, lease).await {
                    Ok(()) => {
                        tx.execute("UPDATE id_ranges SET alarm = $2 WHERE first = $1", values![int(first), why]).await
                    }
                    Err(error) => Err(error),
                };
                tx.end(result).await.map(|_| ())
            })
            .await
        })
    }

    /// Forgets closed instances of which nothing is left: neither a range nor a lease that they had last.
    ///
    /// # Errors
    /// [`Error::LeaseLost`].
    pub fn forget_instances<'a>(&'a self, lease: &'a Lease) -> Answer<'a, u64> {
        Box::pin(async move {
            let sql = "DELETE FROM instances WHERE state = 'closed' \
                       AND NOT EXISTS (SELECT 1 FROM id_ranges r WHERE r.instance_id = instances.instance_id) \
                       AND NOT EXISTS (SELECT 1 FROM leases l WHERE l.holder = instances.instance_id)";
            retrying(|| async {
                let mut tx = self.db.begin(None).await?;
                let result = match instances::hold_lease(&mut tx, lease).await {
                    Ok(()) => tx.execute(sql, &[]).await,
                    Err(error) => Err(error),
                };
                tx.end(result).await
            })
            .await
        })
    }
}

async fn swept(tx: &mut Tx, lease: &Lease, first: i64, volumes: &[VolumeSlot]) -> Result<Retired> {
    instances::hold_lease(tx, lease).await?;
    let sql = "SELECT state FROM id_ranges WHERE first = $1 {update}";
    let Some(row) = tx.first(sql, values![first]).await? else { return Ok(Retired::Gone) };
    let state = row.text("state")?;
    if state == "open" {
        return Err(Error::Corrupt(format!("the open id range from {first} was swept")));
    }
    let sql = "INSERT INTO range_sweeps (first, slot) SELECT $1, input.slot FROM {input:slot} WHERE 0 = 0 \
               ON CONFLICT (first, slot) DO NOTHING";
    let slots = Column::Ints(volumes.iter().map(|slot| i64::from(slot.0)).collect());
    tx.execute_many(sql, values![first], &[slots]).await?;
    let sql = "SELECT v.slot FROM volumes v WHERE NOT EXISTS \
               (SELECT 1 FROM range_sweeps s WHERE s.first = $1 AND s.slot = v.slot) LIMIT 1";
    if tx.first(sql, values![first]).await?.is_some() {
        tx.execute("UPDATE id_ranges SET alarm = NULL WHERE first = $1", values![first]).await?;
        return Ok(Retired::Waiting);
    }
    tx.execute("DELETE FROM range_sweeps WHERE first = $1", values![first]).await?;
    if state == "closed" {
        let sql = "UPDATE id_ranges SET state = 'swept', changed_at = {now}, alarm = NULL WHERE first = $1";
        tx.execute(sql, values![first]).await?;
        return Ok(Retired::Once);
    }
    tx.execute("DELETE FROM id_ranges WHERE first = $1", values![first]).await?;
    Ok(Retired::Gone)
}
