//! The rows that say which snapshots there are.

use super::dialect::{Row, Tx, fresh_batch, retrying, values};
use super::rows::int;
use super::write::{hold_ranges, insert_data, release_data};
use super::{Answer, Error, Lease, Metadata, Result, instances};
use crate::clock::Millis;
use crate::layout::NewData;

/// What a snapshot is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SnapshotState {
    /// Its data are there, its manifest is not yet on enough volumes.
    Written,
    /// It can be restored from.
    Complete,
    /// Its data are given up, its manifests are still to be removed.
    Released,
}

/// A snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotRow {
    /// Its name; later ones sort behind.
    pub id: String,
    /// What it is.
    pub state: SnapshotState,
    /// When it began, by the database's clock. What died before is not needed by it.
    pub began: Millis,
    /// When it was complete.
    pub completed: Option<Millis>,
    /// Rows in it.
    pub rows: u64,
    /// Bytes of it, as they are stored.
    pub bytes: u64,
}

impl Metadata {
    /// All snapshots that have not been forgotten, the newest first.
    pub fn snapshots(&self) -> Answer<'_, Vec<SnapshotRow>> {
        Box::pin(async move {
            let sql =
                "SELECT snapshot_id, state, began, completed, row_count, bytes FROM snapshots ORDER BY began DESC";
            self.db.query(sql, &[]).await?.iter().map(snapshot).collect()
        })
    }

    /// Makes a snapshot's data known. It does not count before [`Self::complete_snapshot`].
    ///
    /// # Errors
    /// [`Error::LeaseLost`]; [`Error::RangeClosed`].
    pub fn commit_snapshot<'a>(&'a self, lease: &'a Lease, new: &'a SnapshotRow, data: &'a NewData) -> Answer<'a, ()> {
        Box::pin(async move {
            let batch = fresh_batch();
            retrying(|| async {
                let mut tx = self.db.begin(Some(batch)).await?;
                let result = async {
                    instances::hold_lease(&mut tx, lease).await?;
                    hold_ranges(&mut tx, data.chunks.iter().map(|chunk| chunk.id)).await?;
                    let id = insert_data(&mut tx, data, new.began).await?;
                    let id = id.ok_or_else(|| Error::Corrupt("a snapshot has no bytes".into()))?;
                    let sql = "INSERT INTO snapshots (snapshot_id, state, began, row_count, bytes, data_id) \
                               VALUES ($1, 'written', $2, $3, $4, $5)";
                    tx.execute(sql, values![&new.id, new.began, int(new.rows), int(new.bytes), id.0]).await
                };
                let result = result.await;
                tx.end(result).await.map(|_| ())
            })
            .await
        })
    }

    /// Has a snapshot count: its manifests are there.
    ///
    /// # Errors
    /// [`Error::LeaseLost`].
    pub fn complete_snapshot<'a>(&'a self, lease: &'a Lease, id: &'a str) -> Answer<'a, ()> {
        let sql =
            "UPDATE snapshots SET state = 'complete', completed = {now} WHERE snapshot_id = $1 AND state = 'written'";
        Box::pin(async move { self.change_snapshot(lease, sql, id).await })
    }

    /// Gives a snapshot's data up.
    ///
    /// # Errors
    /// [`Error::LeaseLost`].
    pub fn release_snapshot<'a>(&'a self, lease: &'a Lease, id: &'a str) -> Answer<'a, ()> {
        Box::pin(async move {
            retrying(|| async {
                let mut tx = self.db.begin(None).await?;
                let result = release(&mut tx, lease, id).await;
                tx.end(result).await
            })
            .await
        })
    }

    /// Forgets a snapshot whose manifests are gone.
    ///
    /// # Errors
    /// [`Error::LeaseLost`].
    pub fn forget_snapshot<'a>(&'a self, lease: &'a Lease, id: &'a str) -> Answer<'a, ()> {
        let sql = "DELETE FROM snapshots WHERE snapshot_id = $1 AND state = 'released'";
        Box::pin(async move { self.change_snapshot(lease, sql, id).await })
    }

    async fn change_snapshot(&self, lease: &Lease, sql: &str, id: &str) -> Result<()> {
        retrying(|| async {
            let mut tx = self.db.begin(None).await?;
            let result = match instances::hold_lease(&mut tx, lease).await {
                Ok(()) => tx.execute(sql, values![id]).await,
                Err(error) => Err(error),
            };
            tx.end(result).await.map(|_| ())
        })
        .await
    }

    /// How many dead chunks keep their files only because no snapshot began since they died.
    pub fn held_by_snapshots(&self) -> Answer<'_, u64> {
        Box::pin(async move {
            let sql = "SELECT COUNT(*) AS held FROM chunks WHERE state = 'dead' AND died_at >= \
                       COALESCE((SELECT MAX(s.began) FROM snapshots s WHERE s.state = 'complete'), 0)";
            let row = self.db.first(sql, &[]).await?;
            row.ok_or_else(|| Error::Corrupt("a count has no row".into()))?.number("held")
        })
    }
}

async fn release(tx: &mut Tx, lease: &Lease, id: &str) -> Result<()> {
    instances::hold_lease(tx, lease).await?;
    let sql = "SELECT data_id FROM snapshots WHERE snapshot_id = $1 {update}";
    let Some(data) = tx.first(sql, values![id]).await?.map(|row| row.opt_int("data_id")).transpose()?.flatten() else {
        return Ok(());
    };
    let row = tx.first("SELECT {now} AS shown", &[]).await?;
    let now = row.map_or(Ok(0), |row| row.int("shown"))?;
    release_data(tx, vec![data], now).await?;
    let sql = "UPDATE snapshots SET state = 'released', data_id = NULL WHERE snapshot_id = $1";
    tx.execute(sql, values![id]).await.map(|_| ())
}

fn snapshot(row: &Row) -> Result<SnapshotRow> {
    let state = row.text("state")?;
    Ok(SnapshotRow {
        id: row.text("snapshot_id")?,
        state: match state.as_str() {
            "written" => SnapshotState::Written,
            "complete" => SnapshotState::Complete,
            "released" => SnapshotState::Released,
            _ => return Err(Error::Corrupt(format!("a snapshot cannot be {state:?}"))),
        },
        began: row.int("began")?,
        completed: row.opt_int("completed")?,
        rows: row.number("row_count")?,
        bytes: row.number("bytes")?,
    })
}
