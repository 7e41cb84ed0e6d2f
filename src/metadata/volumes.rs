//! Volumes, and the nodes that carry them.

use std::collections::{HashMap, HashSet};

use super::dialect::{Column, Row, Tx, retrying, values};
use super::heal::on_volume;
use super::rows::int;
use super::{Answer, Error, InstanceId, Metadata, Result, VolumeReport, VolumeRow, VolumeSpec, jobs};
use crate::layout::VolumeSlot;

const VOLUMES: &str = "SELECT slot, id, path, node, zone, region, weight, capacity, draining, formatted, epoch, by_command \
                       FROM volumes ORDER BY slot";

impl Metadata {
    /// Registers volumes that are not yet, updates node, zone, region, weight, capacity and path of those that are; answers
    /// all rows, by slot. Slots are never given twice. What a command added or moved stays where the command said, and what a
    /// command took away stays away.
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
                check_weight(spec)?;
            }
            retrying(|| async {
                let mut tx = self.db.begin(None).await?;
                let result = register(&mut tx, specs).await;
                tx.end(result).await
            })
            .await
        })
    }

    /// Registers a volume by an operator's command, which alone can then take it away again; answers its row.
    ///
    /// # Errors
    /// [`Error::VolumeMismatch`] if its name is taken, or its path on its node, or its weight is no share.
    pub fn add_volume<'a>(&'a self, spec: &'a VolumeSpec) -> Answer<'a, VolumeRow> {
        Box::pin(async move {
            check_weight(spec)?;
            retrying(|| async {
                let mut tx = self.db.begin(None).await?;
                let result = add(&mut tx, spec).await;
                tx.end(result).await
            })
            .await
        })
    }

    /// Gives a volume an empty disk, at `path` if it is another one: all its shards are lost and the job `refill:ID` is asked
    /// for, which notes that. Its directory is still to be made. Answers its row.
    ///
    /// # Errors
    /// [`Error::VolumeMismatch`] if there is no such volume, or another has the path.
    pub fn replace_volume<'a>(&'a self, id: &'a str, path: Option<&'a str>) -> Answer<'a, VolumeRow> {
        Box::pin(async move {
            retrying(|| async {
                let mut tx = self.db.begin(None).await?;
                let result = replace(&mut tx, id, path).await;
                tx.end(result).await
            })
            .await
        })
    }

    /// Says how an instance finds the volumes, all of them. One that lives no more has no say.
    pub fn report_volumes<'a>(&'a self, instance: InstanceId, reports: &'a [VolumeReport]) -> Answer<'a, ()> {
        Box::pin(async move {
            let columns = [
                Column::Ints(reports.iter().map(|report| i64::from(report.slot.0)).collect()),
                Column::Texts(reports.iter().map(|report| report.status.as_str()).collect()),
                Column::Ints(reports.iter().map(|report| i64::from(report.full)).collect()),
                Column::Ints(reports.iter().map(|report| int(report.used)).collect()),
                Column::Ints(reports.iter().map(|report| int(report.capacity)).collect()),
                Column::OptTexts(reports.iter().map(|report| report.error.as_deref()).collect()),
            ];
            let sql = "INSERT INTO volume_reports (instance_id, slot, status, is_full, used, capacity, error, at) \
                       SELECT $1, input.slot, input.status, input.is_full, input.used, input.capacity, input.error, \
                       {now} FROM {input:slot,status,is_full,used,capacity,error}";
            // Held, so that whoever closes the instance meanwhile finds the reports that are to go with it.
            let held = "SELECT instance_id FROM instances WHERE instance_id = $1 AND state = 'live' {share}";
            retrying(|| async {
                let mut tx = self.db.begin(None).await?;
                let result = async {
                    if tx.first(held, values![instance.0]).await?.is_none() {
                        return Ok(());
                    }
                    tx.execute("DELETE FROM volume_reports WHERE instance_id = $1", values![instance.0]).await?;
                    tx.execute_many(sql, values![instance.0], &columns).await.map(|_| ())
                };
                let result = result.await;
                tx.end(result).await
            })
            .await
        })
    }

    /// How the living instances find the volumes, by instance and slot.
    pub fn volume_reports(&self) -> Answer<'_, Vec<(InstanceId, VolumeReport)>> {
        Box::pin(async move {
            let sql = "SELECT instance_id, slot, status, is_full, used, capacity, error FROM volume_reports \
                       ORDER BY instance_id, slot";
            let rows = self.db.query(sql, &[]).await?;
            rows.iter()
                .map(|row| {
                    let report = VolumeReport {
                        slot: VolumeSlot(row.number("slot")?),
                        status: row.text("status")?,
                        full: row.int("is_full")? != 0,
                        used: row.number("used")?,
                        capacity: row.number("capacity")?,
                        error: row.opt_text("error")?,
                    };
                    Ok((InstanceId(row.int("instance_id")?), report))
                })
                .collect()
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

    /// Says that a volume is to be emptied, and asks for the job that does it: both or neither, however who asks is cut short.
    ///
    /// # Errors
    /// [`Error::VolumeMismatch`] if there is no such volume.
    pub fn drain_volume<'a>(&'a self, slot: VolumeSlot, job: &'a str) -> Answer<'a, ()> {
        Box::pin(async move {
            let sql = "UPDATE volumes SET draining = 1 WHERE slot = $1";
            retrying(|| async {
                let mut tx = self.db.begin(None).await?;
                let result = match tx.execute(sql, values![i64::from(slot.0)]).await {
                    Ok(0) => Err(mismatch(&slot.to_string(), "is not registered")),
                    Ok(_) => jobs::request(&mut tx, job).await.map(|_| ()),
                    Err(error) => Err(error),
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

    /// [`Self::remove_volume`] by an operator's command: a list of volumes that names it does not bring it back.
    ///
    /// # Errors
    /// As [`Self::remove_volume`].
    pub fn dismiss_volume<'a>(&'a self, id: &'a str) -> Answer<'a, ()> {
        Box::pin(async move {
            let sql = "INSERT INTO removed_volumes (id) VALUES ($1) ON CONFLICT (id) DO NOTHING";
            retrying(|| async {
                let mut tx = self.db.begin(None).await?;
                let result = match remove(&mut tx, id).await {
                    Ok(()) => tx.execute(sql, values![id]).await.map(|_| ()),
                    Err(error) => Err(error),
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
    /// [`Error::VolumeInUse`], [`Error::VolumeHoldsDead`]; [`Error::VolumeMismatch`] if there is no such volume.
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
        epoch: row.number("epoch")?,
        by_command: row.int("by_command")? != 0,
    })
}

fn check_weight(spec: &VolumeSpec) -> Result<()> {
    if spec.weight.is_finite() && spec.weight > 0.0 {
        Ok(())
    } else {
        Err(mismatch(&spec.id, format!("weight {} is not above 0", spec.weight)))
    }
}

/// Locks what keeps registrations apart; answers the last number given.
async fn hold_slots(tx: &mut Tx) -> Result<i64> {
    let row = tx.first("SELECT last_slot FROM deployment {update}", &[]).await?;
    row.ok_or_else(|| Error::Corrupt("the table deployment is empty".into()))?.int("last_slot")
}

/// All volumes; fails if two of them are in one place.
async fn all_apart(tx: &mut Tx) -> Result<Vec<VolumeRow>> {
    let volumes = tx.query(VOLUMES, &[]).await?.iter().map(volume).collect::<Result<Vec<_>>>()?;
    let mut paths = HashMap::new();
    for VolumeRow { spec, .. } in &volumes {
        if let Some(other) = paths.insert((&spec.node, &spec.path), &spec.id) {
            return Err(mismatch(&spec.id, format!("has the path of {other}, {}", spec.path)));
        }
    }
    Ok(volumes)
}

fn named(volumes: Vec<VolumeRow>, id: &str) -> Result<VolumeRow> {
    volumes.into_iter().find(|row| row.spec.id == id).ok_or_else(|| mismatch(id, "is not registered"))
}

async fn insert(tx: &mut Tx, slot: i64, spec: &VolumeSpec, by_command: bool) -> Result<()> {
    let VolumeSpec { id, path, node, zone, region, weight, capacity } = spec;
    if u16::try_from(slot).is_err() {
        return Err(mismatch(id, "has no number left to be given"));
    }
    let sql = "INSERT INTO volumes (slot, id, path, node, zone, region, weight, capacity, by_command) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    let given = values![slot, id, path, node, zone, region, *weight, capacity.map(int), i64::from(by_command)];
    tx.execute(sql, given).await?;
    tx.execute("UPDATE deployment SET last_slot = $1", values![slot]).await.map(|_| ())
}

async fn add(tx: &mut Tx, spec: &VolumeSpec) -> Result<VolumeRow> {
    let last_slot = hold_slots(tx).await?;
    if tx.first("SELECT slot FROM volumes WHERE id = $1", values![&spec.id]).await?.is_some() {
        return Err(mismatch(&spec.id, "is registered already"));
    }
    tx.execute("DELETE FROM removed_volumes WHERE id = $1", values![&spec.id]).await?;
    insert(tx, last_slot + 1, spec, true).await?;
    named(all_apart(tx).await?, &spec.id)
}

async fn replace(tx: &mut Tx, id: &str, path: Option<&str>) -> Result<VolumeRow> {
    hold_slots(tx).await?;
    let row = tx.first("SELECT slot FROM volumes WHERE id = $1 {update}", values![id]).await?;
    let slot = row.ok_or_else(|| mismatch(id, "is not registered"))?.int("slot")?;
    tx.execute("UPDATE volumes SET epoch = epoch + 1, formatted = 0 WHERE slot = $1", values![slot]).await?;
    if let Some(path) = path {
        let sql = "UPDATE volumes SET path = $2, by_command = 1 WHERE slot = $1";
        tx.execute(sql, values![slot, path]).await?;
    }
    // Of what was to be removed, or was being written, nothing is there any more.
    tx.execute("DELETE FROM pending_deletes WHERE slot = $1", values![slot]).await?;
    let job = format!("refill:{id}");
    if !jobs::request(tx, &job).await? {
        // It is being refilled already; what was put there so far is lost as well.
        tx.execute("UPDATE jobs SET state = 'waiting' WHERE name = $1", values![&job]).await?;
    }
    named(all_apart(tx).await?, id)
}

async fn register(tx: &mut Tx, specs: &[VolumeSpec]) -> Result<Vec<VolumeRow>> {
    // One registration at a time.
    let mut last_slot = hold_slots(tx).await?;
    for spec in specs {
        let VolumeSpec { id, path, node, zone, region, weight, capacity } = spec;
        let capacity = capacity.map(int);
        let sql = "UPDATE volumes SET path = CASE WHEN by_command = 1 THEN path ELSE $2 END, \
                   node = $3, zone = $4, region = $5, weight = $6, capacity = $7 WHERE id = $1";
        if tx.execute(sql, values![id, path, node, zone, region, *weight, capacity]).await? == 0 {
            if tx.first("SELECT id FROM removed_volumes WHERE id = $1", values![id]).await?.is_some() {
                tracing::warn!(volume = id, "this volume was removed by a command and is left out, though it is named");
                continue;
            }
            last_slot += 1;
            insert(tx, last_slot, spec, false).await?;
        }
    }
    all_apart(tx).await
}

async fn remove(tx: &mut Tx, id: &str) -> Result<()> {
    let row = tx.first("SELECT slot FROM volumes WHERE id = $1 {update}", values![id]).await?;
    let slot = row.ok_or_else(|| mismatch(id, "is not registered"))?.int("slot")?;
    let pattern = on_volume(VolumeSlot(u16::try_from(slot).unwrap_or(u16::MAX)));
    let sql = "SELECT CAST(COALESCE(MIN(CASE WHEN state = 'dead' THEN 1 ELSE 0 END), 2) AS BIGINT) AS dead FROM chunks WHERE ' ' || slots LIKE $1";
    let found = tx.first(sql, values![&pattern]).await?.map(|row| row.int("dead")).transpose()?;
    match found {
        Some(0) => return Err(Error::VolumeInUse(id.into())),
        Some(1) => return Err(Error::VolumeHoldsDead(id.into())),
        _ => {}
    }
    tx.execute("DELETE FROM pending_deletes WHERE slot = $1", values![slot]).await?;
    tx.execute("DELETE FROM volumes WHERE slot = $1", values![slot]).await?;
    Ok(())
}
