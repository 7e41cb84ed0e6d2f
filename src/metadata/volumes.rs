//! Volumes, and the nodes that carry them.

use std::collections::{HashMap, HashSet};

use super::dialect::{Row, Tx, retrying, values};
use super::rows::int;
use super::{Answer, Error, Metadata, Result, VolumeRow, VolumeSpec};
use crate::layout::VolumeSlot;

const VOLUMES: &str =
    "SELECT slot, id, path, node, zone, region, weight, capacity, draining, formatted FROM volumes ORDER BY slot";

impl Metadata {
    /// Registers volumes that are not yet, updates node, zone, region, weight, capacity and path of those that are; answers
    /// all rows, by slot. Slots are never given twice.
    ///
    /// # Errors
    /// [`Error::VolumeMismatch`] if two volumes have one name, or one path on one node, or a weight is no share.
    pub fn register_volumes<'a>(&'a self, specs: &'a [VolumeSpec]) -> Answer<'a, Vec<VolumeRow>> {
        Box::pin(async move {
            let mut names = HashSet::new();
            for spec in specs {
                if !names.insert(&spec.id) {
                    return Err(mismatch(&spec.id, "is named twice"));
                }
                if !(spec.weight.is_finite() && spec.weight > 0.0) {
                    return Err(mismatch(&spec.id, format!("weight {} is not above 0", spec.weight)));
                }
            }
            retrying(|| async {
                let mut tx = self.db.begin(None).await?;
                let result = register(&mut tx, specs).await;
                tx.end(result).await
            })
            .await
        })
    }

    /// All volumes, by slot.
    pub fn volumes(&self) -> Answer<'_, Vec<VolumeRow>> {
        Box::pin(async move { self.db.query(VOLUMES, &[]).await?.iter().map(volume).collect() })
    }

    /// Says whether a volume is to be emptied.
    ///
    /// # Errors
    /// [`Error::VolumeMismatch`] if there is no such volume.
    pub fn set_draining(&self, slot: VolumeSlot, draining: bool) -> Answer<'_, ()> {
        Box::pin(async move {
            let sql = "UPDATE volumes SET draining = $2 WHERE slot = $1";
            retrying(|| async {
                let mut tx = self.db.begin(None).await?;
                let result = match tx.execute(sql, values![i64::from(slot.0), i64::from(draining)]).await {
                    Ok(0) => Err(mismatch(&slot.to_string(), "is not registered")),
                    other => other.map(|_| ()),
                };
                tx.end(result).await
            })
            .await
        })
    }

    /// Remembers that the volume's directory was made: it is never made again, however empty its path is found.
    ///
    /// # Errors
    /// [`Error::VolumeMismatch`] if there is no such volume.
    pub fn set_formatted(&self, slot: VolumeSlot) -> Answer<'_, ()> {
        Box::pin(async move {
            let sql = "UPDATE volumes SET formatted = 1 WHERE slot = $1";
            retrying(|| async {
                let mut tx = self.db.begin(None).await?;
                let result = match tx.execute(sql, values![i64::from(slot.0)]).await {
                    Ok(0) => Err(mismatch(&slot.to_string(), "is not registered")),
                    other => other.map(|_| ()),
                };
                tx.end(result).await
            })
            .await
        })
    }

    /// Forgets a volume to which no chunk refers, and what was still to be removed from it. It should have been draining
    /// for longer than a write takes: a write that had chosen it before is not held up, and its shard there is then lost.
    ///
    /// # Errors
    /// [`Error::VolumeInUse`], [`Error::VolumeMismatch`] if there is no such volume.
    pub fn remove_volume<'a>(&'a self, id: &'a str) -> Answer<'a, ()> {
        Box::pin(async move {
            retrying(|| async {
                let mut tx = self.db.begin(None).await?;
                let result = remove(&mut tx, id).await;
                tx.end(result).await
            })
            .await
        })
    }
}

fn mismatch(id: &str, reason: impl Into<String>) -> Error {
    Error::VolumeMismatch { id: id.into(), reason: reason.into() }
}

fn volume(row: &Row) -> Result<VolumeRow> {
    Ok(VolumeRow {
        slot: VolumeSlot(row.number("slot")?),
        spec: VolumeSpec {
            id: row.text("id")?,
            path: row.text("path")?,
            node: row.text("node")?,
            zone: row.text("zone")?,
            region: row.text("region")?,
            weight: row.float("weight")?,
            capacity: row.opt_number("capacity")?,
        },
        draining: row.int("draining")? != 0,
        formatted: row.int("formatted")? != 0,
    })
}

async fn register(tx: &mut Tx, specs: &[VolumeSpec]) -> Result<Vec<VolumeRow>> {
    // One registration at a time.
    let row = tx.first("SELECT last_slot FROM deployment {update}", &[]).await?;
    let row = row.ok_or_else(|| Error::Corrupt("the table deployment is empty".into()))?;
    let mut last_slot = row.int("last_slot")?;
    for spec in specs {
        let VolumeSpec { id, path, node, zone, region, weight, capacity } = spec;
        let capacity = capacity.map(int);
        let sql = "UPDATE volumes SET path = $2, node = $3, zone = $4, region = $5, weight = $6, capacity = $7 \
                   WHERE id = $1";
        if tx.execute(sql, values![id, path, node, zone, region, *weight, capacity]).await? == 0 {
            last_slot += 1;
            if u16::try_from(last_slot).is_err() {
                return Err(mismatch(id, "has no number left to be given"));
            }
            let sql = "INSERT INTO volumes (slot, id, path, node, zone, region, weight, capacity) \
                       VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
            tx.execute(sql, values![last_slot, id, path, node, zone, region, *weight, capacity]).await?;
        }
    }
    tx.execute("UPDATE deployment SET last_slot = $1", values![last_slot]).await?;
    let volumes = tx.query(VOLUMES, &[]).await?.iter().map(volume).collect::<Result<Vec<_>>>()?;
    let mut paths = HashMap::new();
    for VolumeRow { spec, .. } in &volumes {
        if let Some(other) = paths.insert((&spec.node, &spec.path), &spec.id) {
            return Err(mismatch(&spec.id, format!("has the path of {other}, {}", spec.path)));
        }
    }
    Ok(volumes)
}

async fn remove(tx: &mut Tx, id: &str) -> Result<()> {
    let row = tx.first("SELECT slot FROM volumes WHERE id = $1 {update}", values![id]).await?;
    let slot = row.ok_or_else(|| mismatch(id, "is not registered"))?.int("slot")?;
    let pattern = format!("% {slot}.%");
    let sql = "SELECT chunk_id FROM chunks WHERE ' ' || slots LIKE $1 LIMIT 1";
    if tx.first(sql, values![&pattern]).await?.is_some() {
        return Err(Error::VolumeInUse(id.into()));
    }
    tx.execute("DELETE FROM pending_deletes WHERE slot = $1", values![slot]).await?;
    tx.execute("DELETE FROM volumes WHERE slot = $1", values![slot]).await?;
    Ok(())
}
