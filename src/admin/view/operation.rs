//! How the store is.

use schemars::JsonSchema;
use serde::Serialize;

use crate::clock::Millis;
use crate::metadata::{
    self, ChunkCounts, InstanceId, InstanceRow, JobRow, Metadata, SnapshotRow, SnapshotState, VolumeReport, VolumeRow,
};

/// A volume.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Volume {
    /// Its name.
    pub id: String,
    /// Its number.
    pub slot: u16,
    /// Its directory.
    pub path: String,
    /// The node that carries it.
    pub node: String,
    /// The node's zone.
    pub zone: String,
    /// The zone's region.
    pub region: String,
    /// Its share of the data, relative to others.
    pub weight: f64,
    /// How often its disk was replaced.
    pub disk: u32,
    /// Whether it is to be emptied.
    pub draining: bool,
    /// Whether its directory was made.
    pub formatted: bool,
    /// Whether a command added or moved it.
    pub by_command: bool,
    /// The worst that an instance says of it: `healthy`, `draining`, `degraded`, `failed`; `no disk` where its directory was not made, and
    /// `?` (or `draining?`) where nobody runs who could say.
    pub status: String,
    /// Chunks that have a shard on it.
    pub shards: u64,
    /// How each instance finds it.
    pub reports: Vec<Report>,
}

/// How an instance finds a volume.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Report {
    /// The instance's number.
    pub instance: i64,
    /// `healthy`, `degraded`, `failed` or `draining`.
    pub status: String,
    /// Whether it has no room for more shards.
    pub full: bool,
    /// Bytes in use.
    pub used: u64,
    /// Bytes it may hold.
    pub capacity: u64,
    /// What went wrong last, if anything did.
    pub error: Option<String>,
}

impl Volume {
    /// All volumes, by their numbers.
    ///
    /// # Errors
    /// The database's.
    pub async fn all(metadata: &Metadata) -> metadata::Result<Vec<Self>> {
        let reports = metadata.volume_reports().await?;
        let mut volumes = Vec::new();
        for row in metadata.volumes().await? {
            let shards = metadata.chunks_on(row.slot).await?;
            let reports = reports.iter().filter(|(_, report)| report.slot == row.slot);
            let reports = reports.map(Report::from).collect();
            volumes.push(Self::of(row, shards, reports));
        }
        Ok(volumes)
    }

    fn of(row: VolumeRow, shards: u64, reports: Vec<Report>) -> Self {
        let rank = |status: &str| ["healthy", "draining", "degraded", "failed"].iter().position(|&s| s == status);
        let worst = reports.iter().map(|report| report.status.as_str()).max_by_key(|status| rank(status));
        let status = match worst {
            _ if !row.formatted => "no disk",
            Some(status) => status,
            None if row.draining => "draining?",
            None => "?",
        };
        Self {
            status: status.to_owned(),
            id: row.spec.id,
            slot: row.slot.0,
            path: row.spec.path,
            node: row.spec.node,
            zone: row.spec.zone,
            region: row.spec.region,
            weight: row.spec.weight,
            disk: row.epoch,
            draining: row.draining,
            formatted: row.formatted,
            by_command: row.by_command,
            shards,
            reports,
        }
    }

    /// Bytes in use, and bytes that it may hold, if anybody says.
    pub fn space(&self) -> Option<(u64, u64)> {
        self.reports.iter().map(|report| (report.used, report.capacity)).find(|space| space.1 > 0)
    }

    /// What went wrong with it last.
    pub fn error(&self) -> Option<&str> {
        self.reports.iter().find_map(|report| report.error.as_deref())
    }
}

impl From<&(InstanceId, VolumeReport)> for Report {
    fn from((instance, report): &(InstanceId, VolumeReport)) -> Self {
        Self {
            instance: instance.0,
            status: report.status.clone(),
            full: report.full,
            used: report.used,
            capacity: report.capacity,
            error: report.error.clone(),
        }
    }
}

/// A running server.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Instance {
    /// Its number.
    pub id: i64,
    /// When it started.
    pub started: Millis,
    /// When it was heard of last.
    pub heartbeat: Millis,
    /// How long ago that is, in milliseconds.
    pub silent_ms: i64,
}

impl From<&InstanceRow> for Instance {
    fn from(row: &InstanceRow) -> Self {
        Self { id: row.id.0, started: row.started, heartbeat: row.heartbeat, silent_ms: row.silent }
    }
}

/// A job: what was asked for, and how far it is.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Job {
    /// Its name: `heal`, `scrub`, `rebalance`, `snapshot`, `drain:VOLUME`, `refill:VOLUME`.
    pub name: String,
    /// `waiting`, `running`, `done`, or `failed` where not all of it could be done.
    pub state: String,
    /// When it was asked for last.
    pub requested: Millis,
    /// When that was begun.
    pub started: Option<Millis>,
    /// When anything of this changed last.
    pub updated: Millis,
    /// Steps done.
    pub done: u64,
    /// Steps there were at its start.
    pub total: u64,
    /// Bytes read and written.
    pub bytes: u64,
    /// What it found wrong.
    pub found: u64,
    /// Bytes a second since it began.
    pub bytes_per_second: Option<u64>,
    /// Seconds that are left, if it goes on as it did.
    pub seconds_left: Option<u64>,
    /// What it has to say.
    pub message: String,
}

impl From<&JobRow> for Job {
    fn from(row: &JobRow) -> Self {
        Self {
            name: row.name.clone(),
            state: row.state.name().to_owned(),
            requested: row.requested,
            started: row.started,
            updated: row.updated,
            done: row.done,
            total: row.total,
            bytes: row.bytes,
            found: row.found,
            bytes_per_second: row.rate(),
            seconds_left: row.seconds_left(),
            message: row.message.clone(),
        }
    }
}

/// A snapshot of the metadata.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Snapshot {
    /// Its name.
    pub id: String,
    /// `written`, `complete` or `released`.
    pub state: String,
    /// When it began.
    pub began: Millis,
    /// When it was complete.
    pub completed: Option<Millis>,
    /// Rows in it.
    pub rows: u64,
    /// Bytes of it, as they are stored.
    pub bytes: u64,
}

impl From<&SnapshotRow> for Snapshot {
    fn from(row: &SnapshotRow) -> Self {
        let state = match row.state {
            SnapshotState::Written => "written",
            SnapshotState::Complete => "complete",
            SnapshotState::Released => "released",
        };
        Self {
            id: row.id.clone(),
            state: state.to_owned(),
            began: row.began,
            completed: row.completed,
            rows: row.rows,
            bytes: row.bytes,
        }
    }
}

/// Chunks, by their state.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Chunks {
    /// Still written to.
    pub open: u64,
    /// Complete.
    pub sealed: u64,
    /// With too few good shards.
    pub damaged: u64,
    /// Whose files are to be removed.
    pub dead: u64,
}

/// Shards that are missing or bad.
#[derive(Debug, Serialize, JsonSchema)]
pub struct HealQueue {
    /// How many there are.
    pub waiting: u64,
    /// Those of them that could not be healed so far.
    pub failed_before: u64,
}

/// How the store is.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Status {
    /// The newest complete snapshot of the metadata.
    pub snapshot: Option<Snapshot>,
    /// Dead chunks that keep their files until the next snapshot.
    pub dead_chunks_held_for_snapshots: u64,
    /// The servers that run.
    pub instances: Vec<Instance>,
    /// The volumes, by their numbers.
    pub volumes: Vec<Volume>,
    /// The chunks.
    pub chunks: Chunks,
    /// What waits for healing.
    pub heal_queue: HealQueue,
    /// All jobs that ever were asked for, by name.
    pub jobs: Vec<Job>,
}

impl Status {
    /// As of now.
    ///
    /// # Errors
    /// The database's.
    pub async fn read(metadata: &Metadata) -> metadata::Result<Self> {
        let (instances, jobs) = (metadata.instances().await?, metadata.jobs().await?);
        let ChunkCounts { open, sealed, damaged, dead } = metadata.chunk_counts().await?;
        let snapshots = metadata.snapshots().await?;
        let newest = snapshots.iter().find(|row| row.state == SnapshotState::Complete);
        Ok(Self {
            snapshot: newest.map(Snapshot::from),
            dead_chunks_held_for_snapshots: metadata.held_by_snapshots().await?,
            instances: instances.iter().map(Instance::from).collect(),
            volumes: Volume::all(metadata).await?,
            chunks: Chunks { open, sealed, damaged, dead },
            heal_queue: HealQueue {
                waiting: metadata.heal_queue_len().await?,
                failed_before: metadata.heal_queue_failed().await?,
            },
            jobs: jobs.iter().map(Job::from).collect(),
        })
    }
}

/// What all buckets held when they were counted, which is once a minute at most.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Usage {
    /// How long ago that was, in milliseconds.
    pub age_ms: u64,
    /// By name.
    pub buckets: Vec<BucketUsage>,
}

/// What a bucket holds.
#[derive(Debug, Serialize, JsonSchema)]
pub struct BucketUsage {
    /// Its name.
    pub name: String,
    /// Objects.
    pub objects: u64,
    /// Objects, their versions that others came after, and delete markers.
    pub versions: u64,
    /// Delete markers.
    pub markers: u64,
    /// Bytes of all versions.
    pub bytes: u64,
}

impl From<&metadata::BucketUsage> for BucketUsage {
    fn from(usage: &metadata::BucketUsage) -> Self {
        let metadata::BucketUsage { name, objects, versions, markers, bytes } = usage.clone();
        Self { name, objects, versions, markers, bytes }
    }
}
