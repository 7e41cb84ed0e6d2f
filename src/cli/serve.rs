//! `ninefold serve`: the order in which a server starts and stops.

use std::ffi::OsString;
use std::future::Future;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use futures_util::FutureExt as _;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use s3s::service::S3ServiceBuilder;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::data::{DataDirectory, DataError};
use super::welcome::Welcome;
use crate::access::claims::Region;
use crate::access::seal::Keyring;
use crate::access::{Directory, DirectoryError, Identity, RootCredentials, RootError, RootSource};
use crate::audit::{Audit, AuditError, Opened, Target};
use crate::bucket_logs::BucketLogs;
use crate::chunks::ChunkConfig;
use crate::clock::{Clock, Stopwatch};
use crate::config::volumes::VolumeEntry;
use crate::config::{Config, ConfigError, Settings};
use crate::instance::{Instance, InstanceConfig, OpenError};
use crate::layout::SHARDS;
use crate::limits::Limiter;
use crate::metadata;
use crate::objects::{self, CreateBucket, PackConfig, Store};
use crate::oidc::{Oidc, ProviderError};
use crate::s3::Api;
use crate::s3::guard::Guard;
use crate::s3::host::Domains;
use crate::s3::routes::Routes;
use crate::server::{self, Gateway, GatewayConfig, Listener, Tls, TlsError};
use crate::telemetry;
use crate::vitals::Vitals;
use crate::volumes::IoConfig;

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
    /// Certificate and key cannot be used.
    #[error("TLS: {0}")]
    Tls(#[from] TlsError),
    /// There are no usable root credentials.
    #[error(transparent)]
    Root(#[from] RootError),
    /// The master key cannot be used, or the identities not be read.
    #[error(transparent)]
    Identities(#[from] DirectoryError),
    /// The audit log cannot be written.
    #[error("audit_log: {0}")]
    Audit(#[from] AuditError),
    /// An identity provider cannot be one.
    #[error("oidc: {0}")]
    Oidc(#[from] ProviderError),
    /// The log filter cannot be read.
    #[error("log: {0}")]
    Log(Box<dyn std::error::Error + Send + Sync>),
    /// The store cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A bucket cannot be created.
    #[error("bucket {bucket}: {source}")]
    Bucket {
        /// Its name.
        bucket: String,
        /// The store's reason.
        source: objects::Error,
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

/// What is settled before anything that waits.
struct Ground {
    data: DataDirectory,
    root: RootCredentials,
    source: RootSource,
    spool: PathBuf,
    tls: Option<Tls>,
    audit: Option<Opened>,
    oidc: Oidc,
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
    raise_open_files();
    let data = DataDirectory::open(&config.data)?;
    let (root, source) = RootCredentials::load(config.root_user.clone(), config.root_password.clone(), data.path())?;
    let tls = config.tls.clone().map(Tls::load).transpose()?;
    let audit = Opened::open(&config.audit)?;
    let oidc = Oidc::new(config.oidc.clone(), Clock::system())?;
    let ground = Ground { spool: data.spool()?, data, root, source, tls, audit, oidc };
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
    let (listener, address) = listen(&config.listen).await?;
    let websites = match &config.website_listen {
        Some(address) => Some(listen(address).await?),
        None => None,
    };

    let instance = Instance::open(InstanceConfig {
        database: config.database(),
        volumes: config.volumes.clone(),
        io: IoConfig::default(),
        chunks: ChunkConfig { read_limit: config.read_limit, ..ChunkConfig::default() },
        pack: PackConfig::default(),
        maintenance: config.maintenance.clone(),
        alone: config.database_is_within_data(),
        clock: Clock::system(),
    })
    .await?;
    let deployment = instance.deployment().to_owned();
    let directory = match identities(config, &ground.root, &instance).await {
        Ok(directory) => directory,
        Err(error) => {
            instance.close().await;
            return Err(error);
        }
    };
    if let Err(error) = create_buckets(config, instance.store(), &directory.root()).await {
        instance.close().await;
        return Err(error);
    }
    let (end, ended) = watch::channel(false);
    let following = tokio::spawn({
        let (directory, oidc) = (directory.clone(), ground.oidc.clone());
        async move { tokio::join!(directory.run(ended.clone()), oidc.run(ended)) }
    });

    let audit = match ground.audit.map(|opened| start_audit(opened, &deployment)).transpose() {
        Ok(audit) => audit,
        Err(error) => {
            instance.close().await;
            return Err(error);
        }
    };
    let region = Region::from(&config.region).or_any(config.any_region);
    let gateway_config = GatewayConfig {
        region: region.clone(),
        domains: Domains::new(config.domains.iter().cloned()),
        websites: Domains::new(config.website_domains.iter().cloned()),
        spool: ground.spool,
        silence: config.limits.silence,
        allow_sigv2: config.allow_sigv2,
        limiter: Limiter::new(&config.rules, Stopwatch::system()),
        audit: audit.clone(),
        oidc: ground.oidc,
    };
    let api = Api::new(instance.store().clone(), region.clone(), directory.clone());
    let api = api.with_bucket_defaults(config.bucket_defaults);
    let guard = Guard::new(directory.clone(), region, Arc::new(instance.store().clone()));
    let mut operations = S3ServiceBuilder::new(api.clone());
    operations.set_route(Routes::new(api, guard, gateway_config.domains.clone()));
    let timeout = config.maintenance.instance_timeout;
    let health = Arc::new(Vitals::new(instance.store().clone(), address.to_string(), timeout));
    let buckets = Arc::new(instance.store().clone());
    let logs = BucketLogs::start(instance.store().clone(), config.region.clone(), config.access_log_interval).await;
    let mut gateway = Gateway::new(operations, directory, health, buckets, gateway_config).logging_to(logs.clone());
    let tls = ground.tls.map(Arc::new);
    if let Some(tls) = &tls {
        gateway = gateway.telling_of(Arc::clone(tls));
    }
    tracing::info!(%address, %deployment, data = %ground.data.path().display(), "serving");
    let bucket = config.buckets.first().map(String::as_str);
    let (root, source) = (&ground.root, &ground.source);
    let website_address = websites.as_ref().map(|(_, address)| *address);
    if let Some(address) = website_address {
        tracing::info!(%address, "serving websites");
    }
    let secure = tls.is_some();
    let welcome =
        Welcome { address, websites: website_address, secure, region: &config.region, root, source, bucket }.text();
    // Where standard output has records, they are all it has. That it is closed is no reason not to serve.
    let mut out: Box<dyn io::Write + Send> =
        if config.audit.targets.contains(&Target::Stdout) { Box::new(io::stderr()) } else { Box::new(io::stdout()) };
    let _ = out.write_all(welcome.as_bytes()).and_then(|()| out.flush());
    drop(out);

    let stop = stop.shared();
    let run = |listener, gateway| {
        let listener = match &tls {
            Some(tls) => Listener::encrypted(listener, Arc::clone(tls)),
            None => Listener::from(listener),
        };
        server::run(listener, gateway, stop.clone(), config.limits.clone())
    };
    let for_websites = async {
        match websites {
            Some((listener, _)) => run(listener, gateway.websites()).await,
            None => 0,
        }
    };
    // Who listens to events would never be done.
    let hush = async {
        stop.clone().await;
        instance.store().events().close();
    };
    let (cut, websites_cut, ()) = tokio::join!(run(listener, gateway.clone()), for_websites, hush);
    let end_audit = async {
        if let Some(audit) = &audit {
            audit.close().await;
        }
    };
    tokio::join!(logs.close(), end_audit);
    end.send_replace(true);
    if let Err(error) = following.await {
        tracing::warn!(%error, "identities were not followed to the end");
    }
    instance.close().await;
    tracing::info!(connections_cut = cut + websites_cut, "stopped");
    Ok(())
}

/// Who there is, by the database.
async fn identities(config: &Config, root: &RootCredentials, instance: &Instance) -> Result<Directory, StartError> {
    let metadata = instance.store().metadata().clone();
    let keyring = Keyring::open(&metadata, config.master_key.clone(), true).await.map_err(DirectoryError::from)?;
    Ok(Directory::open(root, instance.deployment(), metadata, keyring, Clock::system()).await?)
}

/// Lets this process have as many open files as it may: each connection is one, and what programs usually begin with is far fewer. Without
/// them a connection could not even be answered that there are too many.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })
    {
        tracing::warn!(%error, current = ?limit.current, "the limit of open files could not be raised");
    }
}

/// Begins to write the audit log; files are opened anew at each SIGHUP.
fn start_audit(opened: Opened, deployment: &str) -> Result<Audit, StartError> {
    let audit = opened.start(deployment)?;
    let mut hangup =
        signal(SignalKind::hangup()).map_err(|source| StartError::System { operation: "catch signals", source })?;
    let follower = audit.clone();
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            follower.reopen();
        }
    });
    Ok(audit)
}

async fn listen(address: &str) -> Result<(TcpListener, SocketAddr), StartError> {
    let refused = |source| StartError::Listen { address: address.to_owned(), source };
    let listener = TcpListener::bind(address).await.map_err(refused)?;
    let address = listener.local_addr().map_err(refused)?;
    Ok((listener, address))
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

async fn create_buckets(config: &Config, store: &Store, root: &Identity) -> Result<(), StartError> {
    for name in &config.buckets {
        let owner = &*root.account.canonical_id;
        match store.create_bucket(CreateBucket::new(name, &config.region, owner, config.bucket_defaults)).await {
            Ok(_) | Err(objects::Error::Metadata(metadata::Error::BucketExists(_))) => {}
            Err(source) => return Err(StartError::Bucket { bucket: name.clone(), source }),
        }
    }
    Ok(())
}
