//! `ninefold status` and `ninefold volume list`: how the store is.

use indicatif::HumanBytes;
use serde_json::{Value, json};

use super::operate::{OperateError, Operator, Reach, on_store, rate, say, seconds_left, summary};
use super::snapshot::snapshot_json;
use crate::metadata::{ChunkCounts, InstanceId, InstanceRow, JobRow, SnapshotState, VolumeReport, VolumeRow};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// As JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    reach: Reach,
}

/// What is known of a volume.
struct Volume {
    row: VolumeRow,
    shards: u64,
    reports: Vec<(InstanceId, VolumeReport)>,
}

impl Volume {
    /// The worst that an instance says of it.
    fn status(&self) -> &str {
        let rank = |status: &str| ["healthy", "draining", "degraded", "failed"].iter().position(|&s| s == status);
        let worst = self.reports.iter().map(|(_, report)| report.status.as_str()).max_by_key(|status| rank(status));
        match worst {
            _ if !self.row.formatted => "no disk",
            Some(status) => status,
            // Nobody runs who could say.
            None if self.row.draining => "draining?",
            None => "?",
        }
    }

    fn space(&self) -> Option<(u64, u64)> {
        self.reports.iter().map(|(_, report)| (report.used, report.capacity)).find(|space| space.1 > 0)
    }

    fn error(&self) -> Option<&str> {
        self.reports.iter().find_map(|(_, report)| report.error.as_deref())
    }

    fn json(&self) -> Value {
        let spec = &self.row.spec;
        let report = |(instance, report): &(InstanceId, VolumeReport)| {
            json!({
                "instance": instance.0, "status": report.status, "full": report.full, "used": report.used,
                "capacity": report.capacity, "error": report.error,
            })
        };
        let reports: Vec<Value> = self.reports.iter().map(report).collect();
        json!({
            "id": spec.id, "slot": self.row.slot.0, "path": spec.path, "node": spec.node, "zone": spec.zone,
            "region": spec.region, "weight": spec.weight, "disk": self.row.epoch, "draining": self.row.draining,
            "formatted": self.row.formatted, "by_command": self.row.by_command, "status": self.status(),
            "shards": self.shards, "reports": reports,
        })
    }
}

pub(super) fn run(arguments: Arguments) -> Result<(), OperateError> {
    on_store(arguments.reach, async move |store| status(&store, arguments.json).await)
}

/// All volumes, as a table or as JSON.
pub(super) async fn volumes(store: &Operator, json: bool) -> Result<(), OperateError> {
    let volumes = all_volumes(store).await?;
    if json {
        say(format_args!("{:#}", Value::from(volumes.iter().map(Volume::json).collect::<Vec<_>>())));
    } else {
        table(&volumes);
    }
    Ok(())
}

async fn all_volumes(store: &Operator) -> Result<Vec<Volume>, OperateError> {
    let reports = store.metadata.volume_reports().await?;
    let mut volumes = Vec::new();
    for row in store.metadata.volumes().await? {
        let shards = store.metadata.chunks_on(row.slot).await?;
        let reports = reports.iter().filter(|(_, report)| report.slot == row.slot).cloned().collect();
        volumes.push(Volume { row, shards, reports });
    }
    Ok(volumes)
}

fn table(volumes: &[Volume]) {
    let line = |columns: [&str; 7]| {
        let [id, status, used, capacity, shards, place, path] = columns;
        say(format_args!("{id:<16} {status:<10} {used:>11} {capacity:>11} {shards:>9}  {place:<20} {path}"));
    };
    line(["VOLUME", "STATUS", "USED", "CAPACITY", "SHARDS", "NODE/ZONE", "PATH"]);
    for volume in volumes {
        let spec = &volume.row.spec;
        let (used, capacity) = match volume.space() {
            Some((used, capacity)) => (HumanBytes(used).to_string(), HumanBytes(capacity).to_string()),
            None => ("-".to_owned(), "-".to_owned()),
        };
        let (shards, place) = (volume.shards.to_string(), format!("{}/{}", spec.node, spec.zone));
        line([&spec.id, volume.status(), &used, &capacity, &shards, &place, &spec.path]);
        if let Some(error) = volume.error() {
            say(format_args!("{:<16} {error}", ""));
        }
    }
}

async fn status(store: &Operator, json: bool) -> Result<(), OperateError> {
    let db = &store.metadata;
    let (instances, volumes, jobs) = (db.instances().await?, all_volumes(store).await?, db.jobs().await?);
    let (counts, waiting, failed) =
        (db.chunk_counts().await?, db.heal_queue_len().await?, db.heal_queue_failed().await?);
    let snapshots = db.snapshots().await?;
    let newest = snapshots.iter().find(|row| row.state == SnapshotState::Complete);
    let (held, now) = (db.held_by_snapshots().await?, db.now().await?);
    if json {
        let value = json!({
            "snapshot": newest.map(snapshot_json),
            "dead_chunks_held_for_snapshots": held,
            "instances": instances.iter().map(instance_json).collect::<Vec<_>>(),
            "volumes": volumes.iter().map(Volume::json).collect::<Vec<_>>(),
            "chunks": chunks_json(counts),
            "heal_queue": { "waiting": waiting, "failed_before": failed },
            "jobs": jobs.iter().map(job_json).collect::<Vec<_>>(),
        });
        say(format_args!("{value:#}"));
        return Ok(());
    }
    if instances.is_empty() {
        say(format_args!("no server runs"));
    }
    for instance in &instances {
        say(format_args!("instance {}: heard of {:.1} s ago", instance.id.0, instance.silent as f64 / 1000.0));
    }
    say(format_args!(""));
    table(&volumes);
    let ChunkCounts { open, sealed, damaged, dead } = counts;
    say(format_args!("\nchunks: {sealed} sealed, {open} open, {damaged} damaged, {dead} dead"));
    say(format_args!("shards to heal: {waiting}, of which {failed} could not be healed so far"));
    match newest {
        Some(row) => {
            let age = now.saturating_sub(row.began) / 1000;
            say(format_args!("newest snapshot of the metadata: {}, begun {age} s ago, {} rows", row.id, row.rows));
        }
        None => say(format_args!("there is no snapshot of the metadata")),
    }
    if held > 0 {
        say(format_args!(
            "dead chunks that keep their files until the next snapshot, where snapshots are made: {held}"
        ));
    }
    for job in &jobs {
        say(format_args!("{}", summary(job)));
    }
    Ok(())
}

fn instance_json(instance: &InstanceRow) -> Value {
    json!({
        "id": instance.id.0, "started": instance.started, "heartbeat": instance.heartbeat,
        "silent_ms": instance.silent,
    })
}

fn chunks_json(counts: ChunkCounts) -> Value {
    json!({ "open": counts.open, "sealed": counts.sealed, "damaged": counts.damaged, "dead": counts.dead })
}

fn job_json(job: &JobRow) -> Value {
    json!({
        "name": job.name, "state": job.state.name(), "requested": job.requested, "started": job.started,
        "updated": job.updated, "done": job.done, "total": job.total, "bytes": job.bytes, "found": job.found,
        "bytes_per_second": rate(job), "seconds_left": seconds_left(job), "message": job.message,
    })
}
