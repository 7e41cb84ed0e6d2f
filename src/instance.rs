//! One running instance: a store opened over its database and volumes, looked after, and closed again.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::chunks::codec::CodecError;
use crate::chunks::{ChunkConfig, ChunkStore};
use crate::clock::{Clock, random_bytes};
use crate::crash;
use crate::layout::VolumeSlot;
use crate::maintenance::{self, Heartbeat, MaintenanceConfig, Roster, VolumeOpenError};
use crate::metadata::{self, ChangeFeed, DatabaseConfig, Metadata, VolumeRow, VolumeSpec};
use crate::objects::{self, CorsRules, Lifeline, MetadataLedger, PackConfig, Store, Website};
use crate::server::Buckets;
use crate::snapshots::LogWriter;
use crate::volumes::prober;
use crate::volumes::{IoConfig, VolumeSet};

/// What an instance needs to start.
#[derive(Debug, Clone)]
pub struct InstanceConfig {
    /// The database.
    pub database: DatabaseConfig,
    /// The volumes its operator names. One that was registered before and is not named any more is forgotten if nothing is on
    /// it; else it is read from, but takes no new shards.
    pub volumes: Vec<VolumeSpec>,
    /// How volumes do their I/O.
    pub io: IoConfig,
    /// How chunks are written and read.
    pub chunks: ChunkConfig,
    /// How small objects are packed.
    pub pack: PackConfig,
    /// Whether no other instance can be running on the database, by a lock that this process holds: those that are not closed have
    /// crashed, and are closed without waiting for their time-out.
    pub alone: bool,
    /// When maintenance does what.
    pub maintenance: MaintenanceConfig,
    /// Where time comes from.
    pub clock: Clock,
}

/// Why an instance could not start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The database's answer.
    #[error(transparent)]
    Metadata(#[from] metadata::Error),
    /// A volume cannot be opened.
    #[error(transparent)]
    Volume(#[from] VolumeOpenError),
    /// The codec could not be set up.
    #[error(transparent)]
    Codec(#[from] CodecError),
}

/// A running instance.
#[derive(Debug)]
pub struct Instance {
    store: Store,
    deployment: String,
    heartbeat: Heartbeat,
    roster: Arc<Roster>,
    /// The log of changes, where the database keeps none of its own.
    log: Option<Arc<LogWriter>>,
    shutdown: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl Instance {
    /// Opens the database and the volumes, and starts what looks after them. A volume that is missing does not prevent it: it is
    /// failed until its directory comes back.
    ///
    /// # Errors
    /// The database cannot be used; a new volume's directory cannot be made.
    pub async fn open(config: InstanceConfig) -> Result<Self, OpenError> {
        let metadata = Metadata::connect(&config.database).await?;
        let feed = log_changes(&metadata, &config.maintenance).await?;
        let (deployment, rows) = named(&metadata, async || metadata.register_volumes(&config.volumes).await).await?;
        let (rows, retired) = retire_unnamed(&metadata, rows, &config.volumes).await?;
        Self::start(metadata, feed, deployment, (rows, retired), config).await
    }

    /// The same over the volumes that are registered, whatever `config` names: for commands, which are not asked.
    ///
    /// # Errors
    /// As [`Instance::open`].
    pub async fn open_registered(config: InstanceConfig) -> Result<Self, OpenError> {
        let metadata = Metadata::connect(&config.database).await?;
        let feed = log_changes(&metadata, &config.maintenance).await?;
        let (deployment, rows) = named(&metadata, async || metadata.volumes().await).await?;
        Self::start(metadata, feed, deployment, (rows, BTreeSet::new()), config).await
    }

    async fn start(
        metadata: Metadata,
        feed: Option<ChangeFeed>,
        deployment: String,
        (rows, retired): (Vec<VolumeRow>, BTreeSet<VolumeSlot>),
        config: InstanceConfig,
    ) -> Result<Self, OpenError> {
        let roster = Roster::open(metadata.clone(), deployment.clone(), rows, retired, config.io).await?;
        let (volumes, roster) = (roster.set().clone(), Arc::new(roster));

        let lifeline = Lifeline::new(config.maintenance.instance_timeout / 2);
        let registered = metadata.register_instance().await?;
        // Where others may be running it cannot be known whether one was cut short.
        let mut cut_short = !config.alone;
        if config.alone {
            for dead in metadata.close_others(registered).await? {
                tracing::info!(instance = dead.0, "an instance that did not end in order was closed");
                cut_short = true;
            }
        }
        let log = match feed {
            Some(feed) => {
                let when = config.maintenance.snapshots.change_log;
                Some(Arc::new(LogWriter::new(feed, &metadata, &volumes, &deployment, when, cut_short).await?))
            }
            None => None,
        };
        let instance = Arc::new(AtomicI64::new(registered.0));
        let ledger =
            MetadataLedger::new(metadata.clone(), Arc::clone(&instance), lifeline.clone(), config.clock.clone());
        let chunks = ChunkStore::new(volumes.clone(), Arc::new(ledger), config.chunks)?;
        let heartbeat =
            Heartbeat::new(metadata.clone(), chunks.clone(), instance, lifeline, config.maintenance.instance_timeout);
        let store = Store::new(metadata, chunks, config.clock, &config.pack);

        // From here on reads know the database's clock.
        heartbeat.beat().await;
        let (shutdown, stop) = watch::channel(false);
        let mut tasks = JoinSet::new();
        let mut probes = stop.clone();
        tasks.spawn(async move {
            let stop = async move { _ = probes.wait_for(|stop| *stop).await };
            prober::run(volumes, prober::PROBE_INTERVAL, stop).await;
        });
        if let Some(log) = log.clone() {
            let stop = stop.clone();
            tasks.spawn(async move { log.run(stop).await });
        }
        tasks.spawn(objects::watch_rules(store.clone(), stop.clone()));
        tasks.spawn(maintenance::run(store.clone(), heartbeat.clone(), Arc::clone(&roster), config.maintenance, stop));
        Ok(Self { store, deployment, heartbeat, roster, log, shutdown, tasks })
    }

    /// The store.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The deployment's id.
    pub fn deployment(&self) -> &str {
        &self.deployment
    }

    /// The instance's heartbeat.
    pub fn heartbeat(&self) -> &Heartbeat {
        &self.heartbeat
    }

    /// What keeps the open volumes as the table has them.
    pub fn roster(&self) -> &Arc<Roster> {
        &self.roster
    }

    /// Ends maintenance, says that this instance is no more, and closes the database. Requests must have ended before.
    pub async fn close(mut self) {
        self.shutdown.send_replace(true);
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(Duration::from_secs(10), ended).await.is_err() {
            tracing::warn!("maintenance did not end in time");
        }
        self.store.close_packs().await;
        if let Err(error) = self.store.metadata().close_instance(self.heartbeat.instance()).await {
            tracing::warn!(%error, "this instance could not be signed off; others will find it silent");
        }
        if let Some(log) = &self.log {
            log.close().await;
        }
        self.store.metadata().close().await;
    }
}

/// The deployment's id, which it gets if it has none, and its volumes.
async fn named(
    metadata: &Metadata,
    volumes: impl AsyncFn() -> metadata::Result<Vec<VolumeRow>>,
) -> metadata::Result<(String, Vec<VolumeRow>)> {
    loop {
        let deployment = metadata.deployment(&hex::encode(random_bytes::<16>())).await?;
        crash::point("start.named");
        let rows = volumes().await?;
        // A restore into the empty database, which came between the two, has given it another name, and volumes to go with it.
        if metadata.deployment_id().await?.as_ref() == Some(&deployment) {
            return Ok((deployment, rows));
        }
    }
}

/// From now on what is committed is logged, if snapshots are made that a log can go on from.
async fn log_changes(metadata: &Metadata, config: &MaintenanceConfig) -> metadata::Result<Option<ChangeFeed>> {
    if config.snapshots.interval.is_zero() { Ok(None) } else { metadata.log_changes().await }
}

#[async_trait]
impl Buckets for Store {
    async fn cors(&self, bucket: &str) -> objects::Result<Option<CorsRules>> {
        self.bucket_cors(bucket).await
    }

    async fn website(&self, bucket: &str) -> objects::Result<Option<Website>> {
        self.bucket_website(bucket).await
    }
}

/// Leaves out the volumes that are not named any more and that nothing is on; answers which of the others are to take no more.
/// Those that a command added are not for this to judge.
async fn retire_unnamed(
    metadata: &Metadata,
    rows: Vec<VolumeRow>,
    named: &[VolumeSpec],
) -> Result<(Vec<VolumeRow>, BTreeSet<VolumeSlot>), OpenError> {
    let mut kept = Vec::with_capacity(rows.len());
    let mut retired = BTreeSet::new();
    for row in rows {
        if !row.by_command && named.iter().all(|spec| spec.id != row.spec.id) {
            match metadata.remove_volume(&row.spec.id).await {
                Ok(()) => {
                    tracing::info!(volume = row.spec.id, "a volume that is not named any more was forgotten");
                    continue;
                }
                Err(metadata::Error::VolumeInUse(_) | metadata::Error::VolumeHoldsDead(_)) => {
                    tracing::warn!(
                        volume = row.spec.id,
                        "this volume is not named any more but holds shards: it takes no new ones"
                    );
                    retired.insert(row.slot);
                }
                Err(error) => return Err(error.into()),
            }
        }
        kept.push(row);
    }
    Ok((kept, retired))
}

/// Opens a deployment's database and volumes to look at them, beside its servers: no instance is made, and no directory.
///
/// # Errors
/// The database cannot be used.
pub async fn look(database: &DatabaseConfig, io: &IoConfig) -> Result<(Metadata, VolumeSet), OpenError> {
    let metadata = Metadata::connect(database).await?;
    // Without an id nothing was ever stored.
    let Some(deployment) = metadata.deployment_id().await? else { return Ok((metadata, VolumeSet::default())) };
    let rows = metadata.volumes().await?.into_iter().filter(|row| row.formatted).collect();
    let roster = Roster::open(metadata.clone(), deployment, rows, BTreeSet::new(), io.clone()).await?;
    Ok((metadata, roster.set().clone()))
}
