//! `ninefold snapshot`: makes a snapshot of the metadata now, or lists those there are.

use indicatif::HumanBytes;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::operate::{Common, OperateError, Operator, on_store, say};
use crate::admin::view::Snapshot;
use crate::clock::Millis;
use crate::metadata::SnapshotState;
use crate::snapshots::SNAPSHOT;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// List the snapshots there are instead
    #[arg(long)]
    list: bool,
    /// Do not wait for it
    #[arg(long, conflicts_with = "list")]
    detach: bool,
    #[command(flatten)]
    common: Common,
}

pub(super) fn run(arguments: Arguments) -> Result<(), OperateError> {
    let Arguments { list: only_list, detach, common } = arguments;
    on_store(common, async move |store| {
        if only_list {
            return list(&store).await;
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
        store.watch_first(SNAPSHOT).await?;
        let rows = store.metadata.snapshots().await?;
        if let Some(row) = rows.iter().find(|row| row.state == SnapshotState::Complete && row.began >= asked) {
            return store.tell(&Snapshot::from(row), || ());
        }
    }
}

async fn list(store: &Operator) -> Result<(), OperateError> {
    let rows = store.metadata.snapshots().await?;
    store.tell(&rows.iter().map(Snapshot::from).collect::<Vec<_>>(), || {
        let mut newest = true;
        for row in rows.iter().filter(|row| row.state == SnapshotState::Complete) {
            // Of what was deleted between an older one and the newest, the bytes may be gone.
            let whole = if newest { "whole" } else { "may lack what was deleted since" };
            newest = false;
            let (began, bytes) = (moment(row.began), HumanBytes(row.bytes));
            say(format_args!("{}  {began}  {:>10} rows  {bytes:>10}  {whole}", row.id, row.rows));
        }
    })
}

/// A moment, as people write it.
pub(super) fn moment(millis: Millis) -> String {
    let moment = OffsetDateTime::from_unix_timestamp_nanos(i128::from(millis) * 1_000_000).ok();
    moment.and_then(|moment| moment.format(&Rfc3339).ok()).unwrap_or_else(|| millis.to_string())
}
