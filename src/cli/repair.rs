//! `ninefold heal` and `ninefold scrub`.

use super::operate::{Common, OperateError, on_store};
use crate::maintenance::{HEAL, SCRUB, orders};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Wait until it is done, showing how far it is; fails unless all of it could be done. Where no server runs, this command
    /// does the work
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    common: Common,
}

/// Tries all shards that wait for healing, those that could not be healed before as well.
pub(super) fn heal(arguments: Arguments) -> Result<(), OperateError> {
    start(HEAL, arguments)
}

/// Reads and verifies everything.
pub(super) fn scrub(arguments: Arguments) -> Result<(), OperateError> {
    start(SCRUB, arguments)
}

fn start(job: &'static str, arguments: Arguments) -> Result<(), OperateError> {
    on_store(arguments.common, async move |store| {
        orders::start(&store.metadata, job).await?;
        if arguments.wait { store.watch(job).await } else { store.announce(job).await }
    })
}
