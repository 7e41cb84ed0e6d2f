//! `ninefold serve`: the order in which a server starts and stops.

use std::ffi::OsString;
use std::future::Future;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use s3s::service::S3ServiceBuilder;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use super::data::{DataDirectory, DataError};
use super::welcome::Welcome;
use crate::access::{Credentials, Identity, RootCredentials, RootError, RootSource};
use crate::clock::{Clock, random_bytes};
use crate::config::volumes::VolumeEntry;
use crate::config::{Config, ConfigError, Settings};
use crate::layout::SHARDS;
use crate::metadata::{self, Metadata, NewBucket, VolumeRow};
use crate::s3::host::Domains;
use crate::server::{self, Gateway, GatewayConfig, Health, Readiness};
use crate::telemetry;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// TOML file with the same settings [environment: NINEFOLD_CONFIG]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Volumes, as with --volume
    #[arg(value_name = "VOLUME")]
    volumes: Vec<VolumeEntry>,
    #[command(flatten)]
    settings: Settings,
}

/// Why a server does not start, or did not stop in order.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The data directory cannot be used.
    #[error(transparent)]
    Data(#[from] DataError),
    /// There are no usable root credentials.
    #[error(transparent)]
    Root(#[from] RootError),
    /// The log filter cannot be read.
    #[error("log: {0}")]
    Log(Box<dyn std::error::Error + Send + Sync>),
    /// The database cannot be used.
    #[error("the database: {0}")]
    Database(#[from] metadata::Error),
    /// A bucket cannot be created.
    #[error("bucket {bucket}: {source}")]
    Bucket {
        /// Its name.
        bucket: String,
        /// The database's reason.
        source: metadata::Error,
    },
    /// The address cannot be listened at.
    #[error("cannot listen at {address}: {source}")]
    Listen {
        /// The address.
        address: String,
        /// The system's error.
        source: io::Error,
    },
    /// The system refused something else.
    #[error("cannot {operation}: {source}")]
    System {
        /// What was tried.
        operation: &'static str,
        /// The system's error.
        source: io::Error,
    },
}

/// What is behind the gateway.
pub struct Store {
    /// The operations.
    pub operations: S3ServiceBuilder,
    /// What readiness depends on.
    pub health: Arc<dyn Health>,
    /// Ends the store once no request runs any more: flushes, closes the instance, then the database.
    pub close: BoxFuture<'static, ()>,
}

/// What is settled before anything that waits.
struct Ground {
    data: DataDirectory,
    root: RootCredentials,
    source: RootSource,
    spool: PathBuf,
}

pub(super) fn run(arguments: Arguments) -> Result<(), StartError> {
    let mut settings = arguments.settings;
    settings.volume.extend(arguments.volumes);
    let environment = |name: &str| -> Option<OsString> { std::env::var_os(name) };
    let config = Config::load(arguments.config.as_deref(), &environment, settings)?;
    telemetry::start(config.log_format, config.log.as_deref()).map_err(StartError::Log)?;
    if config.volumes.len() < SHARDS {
        tracing::warn!(
            volumes = config.volumes.len(),
            "with fewer than {SHARDS} volumes every object is written degraded, and fewer losses are survived"
        );
    }
    let data = DataDirectory::open(&config.data)?;
    let (root, source) = RootCredentials::load(config.root_user.clone(), config.root_password.clone(), data.path())?;
    let ground = Ground { spool: data.spool()?, data, root, source };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("ninefold")
        .build()
        .map_err(|source| StartError::System { operation: "start threads", source })?;
    runtime.block_on(serve(&config, ground))
}

async fn serve(config: &Config, ground: Ground) -> Result<(), StartError> {
    // Before anything is opened that must be closed: an order to stop is obeyed from here on.
    let stop = stop_signal()?;
    // A taken port is the likeliest failure, so it comes before the database is touched; clients wait in the queue.
    let listen = |source| StartError::Listen { address: config.listen.clone(), source };
    let listener = TcpListener::bind(&config.listen).await.map_err(listen)?;
    let address = listener.local_addr().map_err(listen)?;

    let metadata = Metadata::connect(&config.database()).await?;
    let deployment = metadata.deployment(&hex::encode(random_bytes::<16>())).await?;
    let rows = metadata.register_volumes(&config.volumes).await?;
    let credentials = Credentials::new(&ground.root, &deployment);
    let store = start_store(config, &metadata, &deployment, rows).await?;
    if let Err(error) = create_buckets(config, &metadata, credentials.root()).await {
        store.close.await;
        return Err(error);
    }

    let gateway_config = GatewayConfig {
        region: config.region.clone(),
        domains: Domains::new(config.domains.iter().cloned()),
        spool: ground.spool,
        silence: config.limits.silence,
    };
    let gateway = Gateway::new(store.operations, credentials, store.health, gateway_config);
    tracing::info!(%address, %deployment, data = %ground.data.path().display(), "serving");
    let bucket = config.buckets.first().map(String::as_str);
    let (root, source) = (&ground.root, &ground.source);
    let welcome = Welcome { address, region: &config.region, root, source, bucket }.text();
    let mut out = io::stdout();
    // A closed standard output is no reason not to serve.
    let _ = out.write_all(welcome.as_bytes()).and_then(|()| out.flush());

    let cut = server::run(listener, gateway, stop, config.limits.clone()).await;
    store.close.await;
    tracing::info!(connections_cut = cut, "stopped");
    Ok(())
}

/// Completes at the first SIGINT or SIGTERM; the second ends the process at once.
fn stop_signal() -> Result<impl Future<Output = ()>, StartError> {
    let catch = |kind| signal(kind).map_err(|source| StartError::System { operation: "catch signals", source });
    let (mut interrupt, mut terminate) = (catch(SignalKind::interrupt())?, catch(SignalKind::terminate())?);
    let (order, ordered) = tokio::sync::oneshot::channel();
    tokio::spawn(async move {
        let mut next = async || tokio::select! { _ = interrupt.recv() => (), _ = terminate.recv() => () };
        next().await;
        tracing::info!("stopping: running requests are finished; a second signal ends them");
        let _ = order.send(());
        next().await;
        tracing::warn!("ended at once by a second signal");
        std::process::exit(1);
    });
    Ok(async move {
        let _ = ordered.await;
    })
}

async fn create_buckets(config: &Config, metadata: &Metadata, root: &Identity) -> Result<(), StartError> {
    for name in &config.buckets {
        let bucket = NewBucket {
            name: name.clone(),
            region: config.region.clone(),
            owner: root.canonical_id.to_string(),
            created: Clock::system().now(),
        };
        match metadata.create_bucket(&bucket).await {
            Ok(_) | Err(metadata::Error::BucketExists(_)) => {}
            Err(source) => return Err(StartError::Bucket { bucket: name.clone(), source }),
        }
    }
    Ok(())
}

/// Opens the volumes in `rows` (formats those that are empty and new), registers this process as an instance, and puts
/// chunks, objects and operations on top.
async fn start_store(
    config: &Config,
    metadata: &Metadata,
    deployment: &str,
    rows: Vec<VolumeRow>,
) -> Result<Store, StartError> {
    let _ = (config, deployment);
    let instance = metadata.register_instance().await?;
    let health = Arc::new(Vitals { metadata: metadata.clone(), volumes: rows.len() });
    let closing = metadata.clone();
    let close = async move {
        if let Err(error) = closing.close_instance(instance).await {
            tracing::warn!(%error, "the instance could not be closed; its ids are swept later");
        }
        closing.close().await;
    };
    Ok(Store { operations: S3ServiceBuilder::new(Operations), health, close: Box::pin(close) })
}

/// The operations.
struct Operations;

impl s3s::S3 for Operations {}

/// Readiness: the database answers, and enough volumes do.
struct Vitals {
    metadata: Metadata,
    volumes: usize,
}

#[async_trait::async_trait]
impl Health for Vitals {
    async fn ready(&self) -> Readiness {
        Readiness { database: self.metadata.ping().await.is_ok(), usable_volumes: self.volumes }
    }
}
