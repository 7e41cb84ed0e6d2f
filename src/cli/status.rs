//! `ninefold status` and `ninefold volume list`: how the store is.

use indicatif::HumanBytes;

use super::operate::{Common, OperateError, Operator, on_store, say, summary};
use crate::admin::view::{Chunks, HealQueue, Status, Volume};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    common: Common,
}

pub(super) fn run(arguments: Arguments) -> Result<(), OperateError> {
    on_store(arguments.common, async move |store| status(&store).await)
}

/// All volumes.
pub(super) async fn volumes(store: &Operator) -> Result<(), OperateError> {
    let volumes = Volume::all(&store.metadata).await?;
    store.tell(&volumes, || table(&volumes))
}

fn table(volumes: &[Volume]) {
    let line = |columns: [&str; 7]| {
        let [id, status, used, capacity, shards, place, path] = columns;
        say(format_args!("{id:<16} {status:<10} {used:>11} {capacity:>11} {shards:>9}  {place:<20} {path}"));
    };
    line(["VOLUME", "STATUS", "USED", "CAPACITY", "SHARDS", "NODE/ZONE", "PATH"]);
    for volume in volumes {
        let (used, capacity) = match volume.space() {
            Some((used, capacity)) => (HumanBytes(used).to_string(), HumanBytes(capacity).to_string()),
            None => ("-".to_owned(), "-".to_owned()),
        };
        let (shards, place) = (volume.shards.to_string(), format!("{}/{}", volume.node, volume.zone));
        line([&volume.id, &volume.status, &used, &capacity, &shards, &place, &volume.path]);
        if let Some(error) = volume.error() {
            say(format_args!("{:<16} {error}", ""));
        }
    }
}

async fn status(store: &Operator) -> Result<(), OperateError> {
    let (status, now) = (Status::read(&store.metadata).await?, store.metadata.now().await?);
    store.tell(&status, || {
        if status.instances.is_empty() {
            say(format_args!("no server runs"));
        }
        for instance in &status.instances {
            say(format_args!("instance {}: heard of {:.1} s ago", instance.id, instance.silent_ms as f64 / 1000.0));
        }
        say(format_args!(""));
        table(&status.volumes);
        let Chunks { open, sealed, damaged, dead } = status.chunks;
        say(format_args!("\nchunks: {sealed} sealed, {open} open, {damaged} damaged, {dead} dead"));
        let HealQueue { waiting, failed_before } = status.heal_queue;
        say(format_args!("shards to heal: {waiting}, of which {failed_before} could not be healed so far"));
        match &status.snapshot {
            Some(row) => {
                let age = now.saturating_sub(row.began) / 1000;
                say(format_args!("newest snapshot of the metadata: {}, begun {age} s ago, {} rows", row.id, row.rows));
            }
            None => say(format_args!("there is no snapshot of the metadata")),
        }
        if status.dead_chunks_held_for_snapshots > 0 {
            say(format_args!(
                "dead chunks that keep their files until the next snapshot, where snapshots are made: {}",
                status.dead_chunks_held_for_snapshots
            ));
        }
        for job in &status.jobs {
            say(format_args!("{}", summary(job)));
        }
    })
}
