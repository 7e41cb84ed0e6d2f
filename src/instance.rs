//! One running instance: a store opened over its database and volumes, looked after, and closed again.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::chunks::codec::CodecError;
use crate::chunks::{ChunkConfig, ChunkStore};
use crate::clock::{Clock, random_bytes};
use crate::maintenance::{self, Heartbeat, MaintenanceConfig};
use crate::metadata::{self, DatabaseConfig, Metadata, VolumeRow, VolumeSpec};
use crate::objects::{Lifeline, MetadataLedger, PackConfig, Store};
use crate::server::{Health, Readiness};
use crate::volumes::prober;
use crate::volumes::{FormatError, Identity, IdentityError, IoConfig, LocalVolume, Location, Member, VolumeSet};

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
    /// A volume's directory could not be made.
    #[error("volume {volume}: {source}")]
    Format {
        /// The volume's name.
        volume: String,
        /// Why.
        source: FormatError,
    },
    /// A new volume's path is a volume already: of another deployment, or another one of this.
    #[error("volume {volume}: {path} already is volume {found} of deployment {deployment}")]
    Foreign {
        /// The volume's name.
        volume: String,
        /// Where.
        path: PathBuf,
        /// What it is.
        found: String,
        /// Whose.
        deployment: String,
    },
    /// A new volume's path could not be looked at.
    #[error("volume {volume}: {source}")]
    Identify {
        /// The volume's name.
        volume: String,
        /// Why.
        source: IdentityError,
    },
    /// A volume's threads could not be started.
    #[error("volume {volume}: its threads could not be started: {source}")]
    Threads {
        /// The volume's name.
        volume: String,
        /// Why.
        source: io::Error,
    },
    /// The codec could not be set up.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// A blocking task ended early.
    #[error("a worker ended before its work was done")]
    Worker,
}

/// A running instance.
#[derive(Debug)]
pub struct Instance {
    store: Store,
    deployment: String,
    heartbeat: Heartbeat,
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
        let deployment = metadata.deployment(&hex::encode(random_bytes::<16>())).await?;
        let rows = metadata.register_volumes(&config.volumes).await?;
        let rows = retire_unnamed(&metadata, rows, &config.volumes).await?;
        let volumes = open_volumes(&metadata, &deployment, rows, &config.io).await?;
        volumes.check_all().await;

        let lifeline = Lifeline::new(config.maintenance.instance_timeout / 2);
        let registered = metadata.register_instance().await?;
        if config.alone {
            for dead in metadata.close_others(registered).await? {
                tracing::info!(instance = dead.0, "an instance that did not end in order was closed");
            }
        }
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
        tasks.spawn(maintenance::run(store.clone(), heartbeat.clone(), config.maintenance, stop));
        Ok(Self { store, deployment, heartbeat, shutdown, tasks })
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
        self.store.metadata().close().await;
    }
}

/// Whether a store can serve: its database answers and enough volumes take writes.
#[derive(Debug, Clone)]
pub struct StoreHealth(pub Store);

#[async_trait]
impl Health for StoreHealth {
    async fn ready(&self) -> Readiness {
        let database = self.0.metadata().ping().await.is_ok();
        let members = self.0.chunks().volumes().members();
        let usable_volumes = members.values().filter(|member| member.takes_writes()).count();
        Readiness { database, usable_volumes }
    }
}

/// Leaves out the volumes that are not named any more and that nothing is on, and has the others of them drained.
async fn retire_unnamed(
    metadata: &Metadata,
    rows: Vec<VolumeRow>,
    named: &[VolumeSpec],
) -> Result<Vec<VolumeRow>, OpenError> {
    let mut kept = Vec::with_capacity(rows.len());
    for mut row in rows {
        if named.iter().all(|spec| spec.id != row.spec.id) {
            match metadata.remove_volume(&row.spec.id).await {
                Ok(()) => {
                    tracing::info!(volume = row.spec.id, "a volume that is not named any more was forgotten");
                    continue;
                }
                Err(metadata::Error::VolumeInUse(_)) => {
                    tracing::warn!(
                        volume = row.spec.id,
                        "this volume is not named any more but holds shards: it takes no new ones"
                    );
                    row.draining = true;
                }
                Err(error) => return Err(error.into()),
            }
        }
        kept.push(row);
    }
    Ok(kept)
}

async fn open_volumes(
    metadata: &Metadata,
    deployment: &str,
    rows: Vec<VolumeRow>,
    io: &IoConfig,
) -> Result<VolumeSet, OpenError> {
    let mut members = Vec::with_capacity(rows.len());
    for row in rows {
        if !row.formatted {
            let path = PathBuf::from(&row.spec.path);
            let identity = Identity { deployment: deployment.to_owned(), volume: row.spec.id.clone(), slot: row.slot };
            tokio::task::spawn_blocking(move || make(&path, &identity)).await.map_err(|_| OpenError::Worker)??;
            metadata.set_formatted(row.slot).await?;
        }
        members.push(open_volume(deployment, row, io)?);
    }
    Ok(VolumeSet::new(members))
}

/// Opens a deployment's database and volumes to look at them, beside its servers: no instance is made, and no directory.
///
/// # Errors
/// The database cannot be used.
pub async fn look(database: &DatabaseConfig, io: &IoConfig) -> Result<(Metadata, VolumeSet), OpenError> {
    let metadata = Metadata::connect(database).await?;
    let mut members = Vec::new();
    // Without an id nothing was ever stored.
    if let Some(deployment) = metadata.deployment_id().await? {
        for row in metadata.volumes().await?.into_iter().filter(|row| row.formatted) {
            members.push(open_volume(&deployment, row, io)?);
        }
    }
    Ok((metadata, VolumeSet::new(members)))
}

fn open_volume(deployment: &str, row: VolumeRow, io: &IoConfig) -> Result<Member, OpenError> {
    let VolumeRow { slot, spec, draining, .. } = row;
    let identity = Identity { deployment: deployment.to_owned(), volume: spec.id.clone(), slot };
    let io = IoConfig { capacity: spec.capacity, ..io.clone() };
    let volume = LocalVolume::open(PathBuf::from(spec.path), identity, io)
        .map_err(|source| OpenError::Threads { volume: spec.id, source })?;
    let location =
        Location { node: spec.node.into(), zone: spec.zone.into(), region: spec.region.into(), weight: spec.weight };
    let member = Member::new(Arc::new(volume), location);
    member.set_draining(draining);
    Ok(member)
}

/// Makes a new volume's directory. One that was made by an earlier start, which then stopped short of saying so, is the same.
fn make(path: &Path, identity: &Identity) -> Result<(), OpenError> {
    let volume = identity.volume.clone();
    match LocalVolume::identify(path) {
        Ok(None) => LocalVolume::format(path, identity).map_err(|source| OpenError::Format { volume, source }),
        Ok(Some(found)) if found == *identity => Ok(()),
        Ok(Some(found)) => {
            Err(OpenError::Foreign { volume, path: path.to_owned(), found: found.volume, deployment: found.deployment })
        }
        Err(source) => Err(OpenError::Identify { volume, source }),
    }
}
