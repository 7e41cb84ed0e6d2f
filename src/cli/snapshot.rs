//! `ninefold snapshot`: makes a snapshot of the metadata now, or lists those there are.

use indicatif::HumanBytes;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::operate::{OperateError, Operator, Reach, on_store, say};
use crate::clock::Millis;
use crate::metadata::{SnapshotRow, SnapshotState};
use crate::snapshots::SNAPSHOT;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// List the snapshots there are instead
    #[arg(long)]
    list: bool,
    /// List them as JSON
    #[arg(long, requires = "list")]
    json: bool,
    /// Do not wait for it
    #[arg(long, conflicts_with = "list")]
    detach: bool,
    #[command(flatten)]
    reach: Reach,
}

pub(super) fn run(arguments: Arguments) -> Result<(), OperateError> {
    let Arguments { list: only_list, json, detach, reach } = arguments;
    on_store(reach, async move |store| {
        if only_list {
            return list(&store, json).await;
        }
        if detach {
            store.metadata.request_job(SNAPSHOT).await?;
            return store.announce(SNAPSHOT).await;
        }
        take(&store).await
    })
}

/// Has a snapshot made that has all of now in it: one that is being made began before, so that another follows it.
async fn take(store: &Operator) -> Result<(), OperateError> {
    let asked = store.metadata.now().await?;
    loop {
        store.metadata.request_job(SNAPSHOT).await?;
        store.watch(SNAPSHOT).await?;
        let rows = store.metadata.snapshots().await?;
        if rows.iter().any(|row| row.state == SnapshotState::Complete && row.began >= asked) {
            return Ok(());
        }
    }
}

async fn list(store: &Operator, json: bool) -> Result<(), OperateError> {
    let rows = store.metadata.snapshots().await?;
    if json {
        say(format_args!("{:#}", Value::from(rows.iter().map(snapshot_json).collect::<Vec<_>>())));
        return Ok(());
    }
    let mut newest = true;
    for row in rows.iter().filter(|row| row.state == SnapshotState::Complete) {
        // Of what was deleted between an older one and the newest, the bytes may be gone.
        let whole = if newest { "whole" } else { "may lack what was deleted since" };
        newest = false;
        let (began, bytes) = (moment(row.began), HumanBytes(row.bytes));
        say(format_args!("{}  {began}  {:>10} rows  {bytes:>10}  {whole}", row.id, row.rows));
    }
    Ok(())
}

/// A moment, as people write it.
pub(super) fn moment(millis: Millis) -> String {
    let moment = OffsetDateTime::from_unix_timestamp_nanos(i128::from(millis) * 1_000_000).ok();
    moment.and_then(|moment| moment.format(&Rfc3339).ok()).unwrap_or_else(|| millis.to_string())
}

/// A snapshot for programs.
pub(super) fn snapshot_json(row: &SnapshotRow) -> Value {
    let state = match row.state {
        SnapshotState::Written => "written",
        SnapshotState::Complete => "complete",
        SnapshotState::Released => "released",
    };
    json!({
        "id": row.id, "state": state, "began": row.began, "completed": row.completed, "rows": row.rows,
        "bytes": row.bytes,
    })
}
