//! What happens beside requests: the heartbeat, reclaiming what nobody refers to, expiring idle uploads, healing, scrubbing, and the
//! moving of shards.
//!
//! Every [`Job`] holds a lease in the database while it works, so that one instance of many runs it, and does its work in rounds
//! that can be stopped between any two.

mod check;
mod compact;
mod heal;
mod heartbeat;
pub mod orders;
mod pass;
mod reclaim;
mod relocate;
mod roster;
mod scrub;
mod shards;
mod sweep;
mod uploads;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::chunks::ChunkError;
use crate::metadata::{self, InstanceId, Lease, Metadata};
use crate::objects::Store;
use crate::snapshots::{Snapshot, SnapshotConfig};

pub use check::{CheckOptions, Summary, check};
pub use compact::Compact;
pub use heal::{HEAL, Heal};
pub use heartbeat::Heartbeat;
pub use orders::OrderError;
pub use reclaim::Reclaim;
pub use relocate::{REBALANCE, Relocate, drain_job, refill_job};
pub use roster::{Roster, VolumeOpenError, make};
pub use scrub::{SCRUB, Scrub};
pub use shards::{Moved, Mover, MoverConfig};
pub use sweep::{Sweep, SweepConfig};
pub use uploads::ExpireUploads;

/// How long a job's lease lasts without being renewed; a round must be shorter.
const LEASE: Duration = Duration::from_secs(120);

/// When maintenance does what.
#[derive(Debug, Clone)]
pub struct MaintenanceConfig {
    /// How often this instance says that it lives.
    pub heartbeat: Duration,
    /// After how long without a heartbeat other instances may judge this one dead. It stops writing after half of it.
    pub instance_timeout: Duration,
    /// How long the files of a dead chunk stay at least. Reads that had begun when it died are waited for anyway.
    pub grace: Duration,
    /// How what crashed writes left behind is swept away.
    pub sweep: SweepConfig,
    /// How long an upload may go without a new part.
    pub upload_expiry: Duration,
    /// How often each job looks for work.
    pub interval: Duration,
    /// How shards are healed and moved.
    pub mover: MoverConfig,
    /// Bytes that scrubbing reads per second; 0: as fast as can be.
    pub scrub_bytes_per_second: u64,
    /// How long after one scrub the next begins.
    pub scrub_interval: Duration,
    /// When snapshots of the metadata are made.
    pub snapshots: SnapshotConfig,
}

impl Default for MaintenanceConfig {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_secs(5),
            instance_timeout: Duration::from_secs(60),
            grace: Duration::from_secs(60),
            sweep: SweepConfig::default(),
            upload_expiry: Duration::from_secs(7 * 24 * 3600),
            interval: Duration::from_secs(10),
            mover: MoverConfig::default(),
            scrub_bytes_per_second: 32 << 20,
            scrub_interval: Duration::from_secs(30 * 24 * 3600),
            snapshots: SnapshotConfig::default(),
        }
    }
}

/// Why a job's round ended early.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// The database's answer.
    #[error(transparent)]
    Metadata(#[from] metadata::Error),
    /// The chunk store's.
    #[error(transparent)]
    Chunks(#[from] ChunkError),
}

/// Work done in rounds, under a lease.
#[async_trait]
pub trait Job: Send + Sync + 'static {
    /// The lease's name.
    fn name(&self) -> &'static str;

    /// Does a bounded piece of work; answers whether there is more to do at once.
    async fn round(&self, lease: &Lease) -> Result<bool, JobError>;
}

/// Runs a job's rounds until there is nothing to do, if its lease can be had; answers whether it could.
///
/// # Errors
/// The database's or the job's own.
pub async fn run_once(metadata: &Metadata, instance: InstanceId, job: &dyn Job) -> Result<bool, JobError> {
    loop {
        // Acquiring a lease one holds renews it.
        let Some(lease) = metadata.acquire_lease(job.name(), instance, LEASE).await? else { return Ok(false) };
        let more = job.round(&lease).await;
        if !matches!(more, Ok(true)) {
            metadata.release_lease(&lease, instance).await?;
            return more.map(|_| true);
        }
    }
}

/// Prolongs the lease of a job in the middle of a round.
pub(crate) async fn renew(metadata: &Metadata, lease: &Lease) -> Result<(), JobError> {
    match metadata.acquire_lease(&lease.job, lease.holder, LEASE).await? {
        Some(renewed) if renewed == *lease => Ok(()),
        _ => Err(metadata::Error::LeaseLost(lease.job.clone()).into()),
    }
}

/// Runs all maintenance of this instance until `shutdown` says stop.
pub async fn run(
    store: Store,
    heartbeat: Heartbeat,
    roster: Arc<Roster>,
    config: MaintenanceConfig,
    shutdown: watch::Receiver<bool>,
) {
    let mover = Mover::new(store.clone(), config.mover.clone());
    let mut reclaim = Reclaim::new(store.clone(), config.grace);
    if !config.snapshots.interval.is_zero() {
        reclaim = reclaim.behind_snapshots();
    }
    let jobs: [Arc<dyn Job>; 8] = [
        Arc::new(Heal::new(store.clone(), mover.clone())),
        Arc::new(Scrub::new(store.clone(), config.scrub_bytes_per_second, config.scrub_interval)),
        Arc::new(Relocate::new(store.clone(), mover, Arc::clone(&roster))),
        Arc::new(reclaim),
        Arc::new(Sweep::new(store.clone(), config.sweep)),
        Arc::new(Compact::new(store.clone())),
        Arc::new(ExpireUploads::new(store.clone(), config.upload_expiry)),
        Arc::new(Snapshot::new(store.clone(), config.snapshots)),
    ];
    let mut tasks = JoinSet::new();
    for job in jobs {
        let (metadata, heartbeat, stop) = (store.metadata().clone(), heartbeat.clone(), shutdown.clone());
        tasks.spawn(async move {
            while pause(config.interval, stop.clone()).await {
                if let Err(error) = run_once(&metadata, heartbeat.instance(), &*job).await {
                    tracing::warn!(job = job.name(), %error, "maintenance goes on later");
                }
            }
        });
    }
    let (reporter, stop) = (heartbeat.clone(), shutdown.clone());
    tasks.spawn(async move {
        loop {
            // Not with the heartbeat: nothing may hold that up.
            let outcome = async {
                roster.refresh().await?;
                roster.report(reporter.instance()).await
            };
            if let Err(error) = outcome.await {
                tracing::debug!(%error, "the volumes could not be looked after");
            }
            if !pause(config.heartbeat, stop.clone()).await {
                return;
            }
        }
    });
    tasks.spawn(async move {
        while pause(config.heartbeat, shutdown.clone()).await {
            heartbeat.beat().await;
        }
    });
    while tasks.join_next().await.is_some() {}
}

/// Waits; answers whether to go on.
async fn pause(time: Duration, mut shutdown: watch::Receiver<bool>) -> bool {
    tokio::select! {
        () = tokio::time::sleep(time) => true,
        // The sender's end counts as the signal.
        _ = shutdown.wait_for(|stop| *stop) => false,
    }
}
