//! `ninefold heal` and `ninefold scrub`.

use super::operate::{OperateError, Reach, on_store};
use crate::maintenance::{HEAL, SCRUB};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Wait until it is done, showing how far it is; fails unless all of it could be done. Where no server runs, this command
    /// does the work
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    reach: Reach,
}

/// Tries all shards that wait for healing, those that could not be healed before as well.
pub(super) fn heal(arguments: Arguments) -> Result<(), OperateError> {
    on_store(arguments.reach, async move |store| {
        store.metadata.heal_all_due().await?;
        store.metadata.request_job(HEAL).await?;
        if arguments.wait { store.watch(HEAL).await } else { store.announce(HEAL).await }
    })
}

/// Reads and verifies everything.
pub(super) fn scrub(arguments: Arguments) -> Result<(), OperateError> {
    on_store(arguments.reach, async move |store| {
        store.metadata.request_job(SCRUB).await?;
        if arguments.wait { store.watch(SCRUB).await } else { store.announce(SCRUB).await }
    })
}
