//! Configuration: a file, under the environment, under the command line's flags.

mod audit;
mod environment;
mod machine;
pub mod oidc;
pub mod rates;
mod tls;
pub mod values;
pub mod volumes;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::access::acl::Ownership;
use crate::access::claims::is_region;
use crate::access::seal::Place;
use crate::access::{PublicAccessBlock, Secret};
use crate::audit::{AuditConfig, Target};
use crate::limits::Rules;
use crate::maintenance::{MaintenanceConfig, MoverConfig, SweepConfig};
use crate::metadata::{DatabaseConfig, VolumeSpec};
use crate::objects::BucketDefaults;
use crate::oidc::ProviderConfig;
use crate::s3::host::{is_bucket_name, is_domain, is_reserved};
use crate::server::{ClientCertificates, Limits, TlsConfig, TlsVersion};
use crate::snapshots::{ChangeLogging, SnapshotConfig};
use crate::telemetry::LogFormat;
use environment::Variables;
use oidc::OidcEntry;
use rates::RateLimit;
use values::{Size, Span};
use volumes::VolumeEntry;

/// Heartbeats in the time after which an instance without one is taken for dead.
const HEARTBEATS: u32 = 12;

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The configuration file is not as it should be.
    #[error("{}: {reason}", path.display())]
    Toml {
        /// The file.
        path: PathBuf,
        /// Where and what, without the line itself.
        reason: String,
    },
    /// A setting has a value that it cannot have.
    #[error("{setting}: {reason}")]
    Value {
        /// Its name, as the operator wrote it.
        setting: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A volume cannot be as it is given.
    #[error("volume {volume}: {reason}")]
    Volume {
        /// Its path.
        volume: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Chunks could not be placed.
    #[error("{0} volumes are too few: an object's shards need 6 at least, and 9 to survive the loss of any three")]
    TooFewVolumes(usize),
}

/// Settings of one source; what is `None` or empty is left to the next one.
#[derive(Debug, Clone, Default, Deserialize, clap::Args)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Directory for credentials, lock, and by default database and volumes [default: ./data]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// File that holds the master key, which secrets in the database are sealed under [default: made in the data directory]
    #[arg(long, value_name = "FILE")]
    pub master_key_file: Option<PathBuf>,
    /// Address that S3 is served at; port 0 takes any free one [default: 127.0.0.1:9000]
    #[arg(long, value_name = "ADDR:PORT")]
    pub listen: Option<String>,
    /// Certificate to serve HTTPS with, PEM, followed by its chain; read again when it changes. Repeatable: clients get the one with
    /// the name that they ask for, else the first [default: plain HTTP]
    #[arg(long, value_name = "FILE")]
    #[serde(deserialize_with = "values::one_or_many")]
    pub tls_cert: Vec<PathBuf>,
    /// The certificate's private key, PEM. Repeatable, in the order of the certificates
    #[arg(long, value_name = "FILE")]
    #[serde(deserialize_with = "values::one_or_many")]
    pub tls_key: Vec<PathBuf>,
    /// Directory of certificates, as MinIO has it: public.crt and private.key in it, and in directories below it
    #[arg(long, value_name = "DIR")]
    pub tls_dir: Option<PathBuf>,
    /// Oldest version of TLS that is spoken, 1.2 or 1.3 [default: 1.2]
    #[arg(long, value_name = "VERSION")]
    pub tls_min_version: Option<TlsVersion>,
    /// Authorities, PEM, that sign the certificates of clients [default: clients are not asked for any]
    #[arg(long, value_name = "FILE")]
    pub tls_client_ca: Option<PathBuf>,
    /// Whether clients must show certificates that one of these authorities has signed: required or optional [default: required]
    #[arg(long, value_name = "WHEN")]
    pub tls_client_auth: Option<ClientCertificates>,
    /// Lists of revoked certificates of clients, PEM, one of each authority; an outdated one lets nobody in
    #[arg(long, value_name = "FILE")]
    pub tls_client_crl: Option<PathBuf>,
    /// Name to have a certificate for from an ACME authority, whose terms you agree to. It must lead to this server's port 443. Repeatable
    #[arg(long, value_name = "NAME")]
    pub acme_domain: Vec<String>,
    /// Address that the ACME authority may write to
    #[arg(long, value_name = "EMAIL")]
    pub acme_email: Option<String>,
    /// Directory of the ACME authority [default: Let's Encrypt's]
    #[arg(long, value_name = "URL")]
    pub acme_directory: Option<String>,
    /// Authorities, PEM, that sign the certificate of the ACME directory's own server [default: those that this machine trusts]
    #[arg(long, value_name = "FILE")]
    pub acme_directory_ca: Option<PathBuf>,
    /// Directory for what the ACME authority gives [default: acme, in the data directory]
    #[arg(long, value_name = "DIR")]
    pub acme_cache: Option<PathBuf>,
    /// postgres://... or sqlite:PATH [default: sqlite, in the data directory]
    #[arg(long, value_name = "URL")]
    pub database_url: Option<Secret>,
    /// File that holds the database's URL
    #[arg(long, value_name = "FILE", conflicts_with = "database_url")]
    pub database_url_file: Option<PathBuf>,
    /// Connections to the database at most [default: 16]
    #[arg(long, value_name = "NUMBER")]
    pub database_connections: Option<u32>,
    /// How long to wait for a connection to the database [default: 10s]
    #[arg(long, value_name = "TIME")]
    pub database_connect_timeout: Option<Span>,
    /// How long a statement may run [default: 30s]
    #[arg(long, value_name = "TIME")]
    pub database_statement_timeout: Option<Span>,
    /// A volume: PATH, or path=...,id=...,node=...,zone=...,region=...,weight=...,capacity=...; {1...9} counts.
    /// Repeatable [default: nine, in the data directory]
    #[arg(long, value_name = "VOLUME")]
    pub volume: Vec<VolumeEntry>,
    /// Bucket to create at the start. Repeatable
    #[arg(long, value_name = "NAME")]
    pub bucket: Vec<String>,
    /// Region that requests are signed for [default: us-east-1]
    #[arg(long, value_name = "NAME")]
    pub region: Option<String>,
    /// Take signatures for any region, and buckets in any [default: false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub any_region: Option<bool>,
    /// Domain whose sub-domains are buckets. Repeatable
    #[arg(long, value_name = "DOMAIN")]
    pub domain: Vec<String>,
    /// Domain whose sub-domains are buckets as websites. Repeatable
    #[arg(long, value_name = "DOMAIN")]
    pub website_domain: Vec<String>,
    /// Address that nothing but websites is served at; hosts outside --website-domain are names of buckets there
    #[arg(long, value_name = "ADDR:PORT")]
    pub website_listen: Option<String>,
    /// Accept signature version 2, which is weak [default: false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub allow_sigv2: Option<bool>,
    /// Who owns what others write into new buckets: BucketOwnerEnforced (ACLs count for nothing), BucketOwnerPreferred or
    /// ObjectWriter, unless who makes one says it [default: BucketOwnerEnforced]
    #[arg(long, value_name = "OWNERSHIP")]
    pub default_object_ownership: Option<Ownership>,
    /// Block all public access to new buckets, until their owners say otherwise [default: true]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub default_public_access_block: Option<bool>,
    /// Connections of clients at most, at each address that is listened at; further ones are answered 503 SlowDown [default: 4096]
    #[arg(long, value_name = "NUMBER")]
    pub max_connections: Option<usize>,
    /// Connections of one client's address at most, of IPv6 of its /64; 0: as many as there may be [default: 0]
    #[arg(long, value_name = "NUMBER")]
    pub max_connections_per_client: Option<usize>,
    /// Requests at the same time at most; further ones are answered 503 SlowDown [default: 10000]
    #[arg(long, value_name = "NUMBER")]
    pub max_requests: Option<usize>,
    /// Memory that requests may take at most, by what is known of them; further ones are answered 503 SlowDown
    /// [default: half of the machine's]
    #[arg(long, value_name = "SIZE")]
    pub max_request_memory: Option<Size>,
    /// How fast each access key, bucket or client address may go: key:, bucket: or address:, and
    /// requests=PER_SECOND,burst=NUMBER,in=SIZE,out=SIZE, the sizes bytes per second. Who goes faster is answered
    /// 503 SlowDown. Repeatable [default: no limits]
    #[arg(long, value_name = "LIMIT")]
    pub rate_limit: Vec<RateLimit>,
    /// How long a TLS handshake and a request's head may take, each, and a connection be without a request [default: 30s]
    #[arg(long, value_name = "TIME")]
    pub head_timeout: Option<Span>,
    /// How long a client may neither send nor take anything [default: 60s]
    #[arg(long, value_name = "TIME")]
    pub idle_timeout: Option<Span>,
    /// How long requests may go on after the order to stop [default: 30s]
    #[arg(long, value_name = "TIME")]
    pub drain_timeout: Option<Span>,
    /// How long the files of deleted data are kept at least; reads that have begun are waited for anyway [default: 60s]
    #[arg(long, value_name = "TIME")]
    pub gc_grace: Option<Span>,
    /// How long a read is waited for before the files of data that was deleted meanwhile go [default: 1h]
    #[arg(long, value_name = "TIME")]
    pub read_limit: Option<Span>,
    /// How long an instance may be silent before others take it for dead [default: 60s]
    #[arg(long, value_name = "TIME")]
    pub instance_timeout: Option<Span>,
    /// How often each maintenance job looks for work [default: 10s]
    #[arg(long, value_name = "TIME")]
    pub maintenance_interval: Option<Span>,
    /// Chunks of one id range without a row that are swept away after a crash; more are an alarm [default: 512]
    #[arg(long, value_name = "NUMBER")]
    pub sweep_limit: Option<usize>,
    /// How long after the first sweep of what a crash left the second is [default: 24h]
    #[arg(long, value_name = "TIME")]
    pub sweep_again: Option<Span>,
    /// How long files stay in quarantine [default: 7d]
    #[arg(long, value_name = "TIME")]
    pub quarantine_keep: Option<Span>,
    /// Bytes per second that healing and moving shards may read and write; 0: no limit [default: 128MiB]
    #[arg(long, value_name = "SIZE")]
    pub heal_rate: Option<Size>,
    /// Bytes per second that scrubbing may read; 0: no limit [default: 32MiB]
    #[arg(long, value_name = "SIZE")]
    pub scrub_rate: Option<Size>,
    /// How long after a scrub the next one begins [default: 30d]
    #[arg(long, value_name = "TIME")]
    pub scrub_interval: Option<Span>,
    /// How often the metadata are written to the volumes, too; 0s: never. What is deleted gives its space back after the next
    /// time [default: 1h]
    #[arg(long, value_name = "TIME")]
    pub snapshot_interval: Option<Span>,
    /// How many snapshots of the metadata are kept [default: 3]
    #[arg(long, value_name = "NUMBER")]
    pub snapshot_keep: Option<u32>,
    /// When what SQLite commits is on the volumes, too: second (at most a second later) or answer (before anybody is told)
    /// [default: second]
    #[arg(long, value_name = "WHEN")]
    pub change_log: Option<ChangeLogging>,
    /// How often the access logs of buckets are delivered [default: 5m]
    #[arg(long, value_name = "TIME")]
    pub access_log_interval: Option<Span>,
    /// Where every request is written down: file:PATH, stdout, or an https:// address. Repeatable [default: nowhere]
    #[arg(long, value_name = "TARGET")]
    pub audit_log: Vec<Target>,
    /// Records that may wait for each target of the audit log; further ones are dropped, and that is told there [default: 10000]
    #[arg(long, value_name = "NUMBER")]
    pub audit_queue: Option<usize>,
    /// Bytes of records that may wait for each target of the audit log [default: 16MiB]
    #[arg(long, value_name = "SIZE")]
    pub audit_queue_bytes: Option<Size>,
    /// Size from which a file of the audit log is put aside and another begun; 0: never, but SIGHUP opens it anew [default: 0]
    #[arg(long, value_name = "SIZE")]
    pub audit_file_size: Option<Size>,
    /// File that holds the token that webhooks of the audit log are sent
    #[arg(long, value_name = "FILE")]
    pub audit_webhook_token_file: Option<PathBuf>,
    /// Send the audit log to webhooks of other machines without TLS, too [default: false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub audit_webhook_plain_http: Option<bool>,
    /// Days without a part after which a multipart upload is aborted [default: 7]
    #[arg(long, value_name = "DAYS")]
    pub upload_expiry_days: Option<u32>,
    /// Where an OpenID Connect provider says how it is: https://ISSUER/.well-known/openid-configuration. Whom it knows gets sessions by
    /// AssumeRoleWithWebIdentity. Several providers: [[oidc]] in the file, with config_url, client_id, claim_name, role_policy, ca
    #[arg(long, value_name = "URL")]
    pub oidc_config_url: Option<String>,
    /// Client (audience) whose tokens are taken. Repeatable
    #[arg(long, value_name = "ID")]
    pub oidc_client_id: Vec<String>,
    /// Claim that names the policies of whoever takes no role: a text or a list, with commas [default: policy]
    #[arg(long, value_name = "NAME")]
    pub oidc_claim_name: Option<String>,
    /// Policy of everybody whom the provider knows and who takes no role, instead of what the claim says. Repeatable
    #[arg(long, value_name = "POLICY")]
    pub oidc_role_policy: Vec<String>,
    /// Certificates to trust of the provider, PEM [default: those that the machine trusts]
    #[arg(long, value_name = "FILE")]
    pub oidc_ca: Option<PathBuf>,
    /// More providers.
    #[arg(skip)]
    pub oidc: Vec<OidcEntry>,
    /// text or json [default: text on a terminal, json elsewhere]
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
    /// What to log, as in RUST_LOG [default: info]
    #[arg(long, value_name = "FILTER")]
    pub log: Option<String>,
}

/// The configuration of a server.
#[derive(Debug, Clone)]
pub struct Config {
    /// The data directory, absolute.
    pub data: PathBuf,
    /// Address to listen at.
    pub listen: String,
    /// How HTTPS is served, where it is.
    pub tls: Option<TlsConfig>,
    /// The database's URL.
    pub database_url: Secret,
    /// Connections to the database at most.
    pub database_connections: u32,
    /// How long to wait for a connection to the database.
    pub database_connect_timeout: Duration,
    /// How long a statement may run.
    pub database_statement_timeout: Duration,
    /// The volumes, at least six.
    pub volumes: Vec<VolumeSpec>,
    /// Buckets to create at the start.
    pub buckets: Vec<String>,
    /// Region that requests are signed for.
    pub region: String,
    /// Whether they may be signed for any other, and buckets be in any.
    pub any_region: bool,
    /// Domains whose sub-domains are buckets.
    pub domains: Vec<String>,
    /// Domains whose sub-domains are buckets as websites.
    pub website_domains: Vec<String>,
    /// Address to listen at for websites alone.
    pub website_listen: Option<String>,
    /// Whether signature version 2 is accepted.
    pub allow_sigv2: bool,
    /// What new buckets are, unless who makes one says it.
    pub bucket_defaults: BucketDefaults,
    /// What connections may take.
    pub limits: Limits,
    /// What requests may take.
    pub rules: Rules,
    /// How long a read is waited for before the files of data that was deleted meanwhile go.
    pub read_limit: Duration,
    /// When maintenance does what.
    pub maintenance: MaintenanceConfig,
    /// How often the access logs of buckets are delivered.
    pub access_log_interval: Duration,
    /// Where requests are written down.
    pub audit: AuditConfig,
    /// The identity providers.
    pub oidc: Vec<ProviderConfig>,
    /// How logs are written.
    pub log_format: LogFormat,
    /// What is logged.
    pub log: Option<String>,
    /// The root user, if configured.
    pub root_user: Option<String>,
    /// The root user's password, if configured.
    pub root_password: Option<Secret>,
    /// Where the master key is.
    pub master_key: Place,
}

/// The environment, as a function so that tests need not change the process's.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// What is not among the settings, so that no file or list of processes shows it.
struct Secrets {
    root_user: Option<String>,
    root_password: Option<Secret>,
    master_key: Option<Secret>,
    audit_token: Option<Secret>,
}

impl Config {
    /// Puts the configuration together. `file` names the configuration file where the environment
    /// (`NINEFOLD_CONFIG`) does not matter. Reads files, so it blocks.
    ///
    /// # Errors
    /// [`ConfigError`] names the setting that is wrong.
    pub fn load(file: Option<&Path>, environment: Environment<'_>, flags: Settings) -> Result<Self, ConfigError> {
        let environment = Variables(environment);
        let file = match file {
            Some(path) => Some(path.to_owned()),
            None => environment.text("NINEFOLD_CONFIG")?.map(PathBuf::from),
        };
        let from_file = match file {
            Some(path) => read_toml(&path)?,
            None => Settings::default(),
        };
        let settings = flags.over(environment.settings()?).over(from_file);
        let user = environment.secret(&["NINEFOLD_ROOT_USER", "MINIO_ROOT_USER"])?;
        let password = environment.secret(&["NINEFOLD_ROOT_PASSWORD", "MINIO_ROOT_PASSWORD"])?;
        let master_key = environment.text("NINEFOLD_MASTER_KEY")?.map(Secret::new);
        let token = environment.text("NINEFOLD_AUDIT_WEBHOOK_TOKEN")?.map(Secret::new);
        let user = user.map(|user| user.expose().to_owned());
        Self::resolve(settings, Secrets { root_user: user, root_password: password, master_key, audit_token: token })
    }

    fn resolve(
        settings: Settings,
        Secrets { root_user, root_password, master_key, audit_token }: Secrets,
    ) -> Result<Self, ConfigError> {
        let audit = audit::resolve(&settings, audit_token)?;
        let data = settings.data.clone().unwrap_or_else(|| PathBuf::from("data"));
        let data = std::path::absolute(&data).map_err(|error| wrong("data", error))?;
        let tls = tls::resolve(&settings, &data)?;
        let listen = address("listen", settings.listen.unwrap_or_else(|| "127.0.0.1:9000".to_owned()))?;
        let website_listen = settings.website_listen.map(|listen| address("website_listen", listen)).transpose()?;
        let database_url = match (settings.database_url, settings.database_url_file) {
            (Some(url), _) => url,
            (None, Some(file)) => Secret::new(read_text(&file)?),
            (None, None) => Secret::new(format!("sqlite:{}", data.join("metadata.sqlite").display())),
        };
        if !["postgres://", "postgresql://", "sqlite:"].iter().any(|scheme| database_url.expose().starts_with(scheme)) {
            return Err(wrong("database_url", "it must start with postgres:// or sqlite:"));
        }
        let region = settings.region.unwrap_or_else(|| "us-east-1".to_owned());
        if !is_region(&region) {
            return Err(wrong("region", format!("{region:?} is not a region: lower-case letters, digits and '-'")));
        }
        if let Some(name) = settings.bucket.iter().find(|name| !is_bucket_name(name) || is_reserved(name)) {
            return Err(wrong("bucket", format!("{name:?} is not a bucket name")));
        }
        if let Some(name) = settings.domain.iter().find(|name| !is_domain(name)) {
            return Err(wrong("domain", format!("{name:?} is not a domain")));
        }
        website_domains(&settings.website_domain, &settings.domain)?;
        let entries = if settings.volume.is_empty() { volumes::defaults(&data) } else { settings.volume };
        let volumes = volumes::resolve(&entries, &region)?;
        let usual = Limits::default();
        let limits = Limits {
            connections: positive("max_connections", settings.max_connections, usual.connections)?,
            head: lasting("head_timeout", settings.head_timeout, usual.head)?,
            silence: lasting("idle_timeout", settings.idle_timeout, usual.silence)?,
            connections_per_client: settings.max_connections_per_client.unwrap_or(usual.connections_per_client),
            drain: settings.drain_timeout.map_or(usual.drain, |span| span.0),
            ..usual
        };
        let rules = rates::resolve(settings.max_requests, settings.max_request_memory, &settings.rate_limit)?;
        let days = positive("upload_expiry_days", settings.upload_expiry_days.map(|days| days as usize), 7)?;
        let connections =
            positive("database_connections", settings.database_connections.map(|number| number as usize), 16)?;
        let usual = MaintenanceConfig::default();
        let instance_timeout = lasting("instance_timeout", settings.instance_timeout, usual.instance_timeout)?;
        let maintenance = MaintenanceConfig {
            heartbeat: instance_timeout / HEARTBEATS,
            instance_timeout,
            grace: settings.gc_grace.map_or(usual.grace, |span| span.0),
            upload_expiry: Duration::from_secs(days as u64 * 24 * 60 * 60),
            interval: lasting("maintenance_interval", settings.maintenance_interval, usual.interval)?,
            sweep: SweepConfig {
                limit: settings.sweep_limit.unwrap_or(usual.sweep.limit),
                again: settings.sweep_again.map_or(usual.sweep.again, |span| span.0),
                quarantine: settings.quarantine_keep.map_or(usual.sweep.quarantine, |span| span.0),
            },
            mover: MoverConfig {
                bytes_per_second: settings.heal_rate.map_or(usual.mover.bytes_per_second, |size| size.0),
                ..usual.mover
            },
            scrub_bytes_per_second: settings.scrub_rate.map_or(usual.scrub_bytes_per_second, |size| size.0),
            scrub_interval: lasting("scrub_interval", settings.scrub_interval, usual.scrub_interval)?,
            snapshots: SnapshotConfig {
                interval: settings.snapshot_interval.map_or(usual.snapshots.interval, |span| span.0),
                keep: positive(
                    "snapshot_keep",
                    settings.snapshot_keep.map(|number| number as usize),
                    usual.snapshots.keep,
                )?,
                change_log: settings.change_log.unwrap_or(usual.snapshots.change_log),
            },
        };
        let of_flags = OidcEntry {
            config_url: settings.oidc_config_url.unwrap_or_default(),
            client_id: settings.oidc_client_id,
            claim_name: settings.oidc_claim_name,
            role_policy: settings.oidc_role_policy,
            ca: settings.oidc_ca,
        };
        let oidc = oidc::resolve(of_flags, settings.oidc)?;
        if master_key.is_some() && settings.master_key_file.is_some() {
            return Err(wrong("NINEFOLD_MASTER_KEY", "master_key_file is set as well"));
        }
        Ok(Self {
            master_key: Place::of(master_key, settings.master_key_file, &data),
            data,
            listen,
            tls,
            database_url,
            database_connections: u32::try_from(connections).unwrap_or(u32::MAX),
            database_connect_timeout: lasting(
                "database_connect_timeout",
                settings.database_connect_timeout,
                Duration::from_secs(10),
            )?,
            database_statement_timeout: lasting(
                "database_statement_timeout",
                settings.database_statement_timeout,
                Duration::from_secs(30),
            )?,
            volumes,
            buckets: settings.bucket,
            region,
            any_region: settings.any_region.unwrap_or(false),
            domains: settings.domain,
            website_domains: settings.website_domain,
            website_listen,
            allow_sigv2: settings.allow_sigv2.unwrap_or(false),
            bucket_defaults: BucketDefaults {
                ownership: settings.default_object_ownership.unwrap_or_default(),
                block: settings.default_public_access_block.unwrap_or(true).then_some(PublicAccessBlock::ALL),
            },
            limits,
            rules,
            read_limit: settings.read_limit.map_or(Duration::from_secs(60 * 60), |span| span.0),
            maintenance,
            access_log_interval: lasting(
                "access_log_interval",
                settings.access_log_interval,
                Duration::from_secs(300),
            )?,
            audit,
            oidc,
            log_format: settings.log_format.unwrap_or_else(LogFormat::suited),
            log: settings.log,
            root_user,
            root_password,
        })
    }

    /// Whether the database is SQLite in the data directory, so that whoever holds the directory's lock is alone on it.
    pub fn database_is_within_data(&self) -> bool {
        self.sqlite_path().is_some_and(|path| path.parent() == Some(&*self.data))
    }

    /// The database's file, if it is SQLite.
    pub fn sqlite_path(&self) -> Option<&Path> {
        let path = self.database_url.expose().strip_prefix("sqlite:")?;
        Some(Path::new(path.strip_prefix("//").unwrap_or(path)))
    }

    /// How to reach the database.
    pub fn database(&self) -> DatabaseConfig {
        DatabaseConfig {
            url: self.database_url.expose().to_owned(),
            max_connections: self.database_connections,
            connect_timeout: self.database_connect_timeout,
            statement_timeout: self.database_statement_timeout,
        }
    }
}

impl Settings {
    /// These settings, and where they say nothing, `others`.
    fn over(self, others: Self) -> Self {
        fn list<T>(first: Vec<T>, second: Vec<T>) -> Vec<T> {
            if first.is_empty() { second } else { first }
        }
        let url_given = self.database_url.is_some() || self.database_url_file.is_some();
        let (database_url, database_url_file) = if url_given {
            (self.database_url, self.database_url_file)
        } else {
            (others.database_url, others.database_url_file)
        };
        Self {
            data: self.data.or(others.data),
            master_key_file: self.master_key_file.or(others.master_key_file),
            listen: self.listen.or(others.listen),
            tls_cert: list(self.tls_cert, others.tls_cert),
            tls_key: list(self.tls_key, others.tls_key),
            tls_dir: self.tls_dir.or(others.tls_dir),
            tls_min_version: self.tls_min_version.or(others.tls_min_version),
            tls_client_ca: self.tls_client_ca.or(others.tls_client_ca),
            tls_client_auth: self.tls_client_auth.or(others.tls_client_auth),
            tls_client_crl: self.tls_client_crl.or(others.tls_client_crl),
            acme_domain: list(self.acme_domain, others.acme_domain),
            acme_email: self.acme_email.or(others.acme_email),
            acme_directory: self.acme_directory.or(others.acme_directory),
            acme_directory_ca: self.acme_directory_ca.or(others.acme_directory_ca),
            acme_cache: self.acme_cache.or(others.acme_cache),
            database_url,
            database_url_file,
            database_connections: self.database_connections.or(others.database_connections),
            database_connect_timeout: self.database_connect_timeout.or(others.database_connect_timeout),
            database_statement_timeout: self.database_statement_timeout.or(others.database_statement_timeout),
            volume: list(self.volume, others.volume),
            bucket: list(self.bucket, others.bucket),
            region: self.region.or(others.region),
            any_region: self.any_region.or(others.any_region),
            domain: list(self.domain, others.domain),
            website_domain: list(self.website_domain, others.website_domain),
            website_listen: self.website_listen.or(others.website_listen),
            allow_sigv2: self.allow_sigv2.or(others.allow_sigv2),
            default_object_ownership: self.default_object_ownership.or(others.default_object_ownership),
            default_public_access_block: self.default_public_access_block.or(others.default_public_access_block),
            max_connections: self.max_connections.or(others.max_connections),
            max_connections_per_client: self.max_connections_per_client.or(others.max_connections_per_client),
            max_requests: self.max_requests.or(others.max_requests),
            max_request_memory: self.max_request_memory.or(others.max_request_memory),
            rate_limit: list(self.rate_limit, others.rate_limit),
            head_timeout: self.head_timeout.or(others.head_timeout),
            idle_timeout: self.idle_timeout.or(others.idle_timeout),
            drain_timeout: self.drain_timeout.or(others.drain_timeout),
            gc_grace: self.gc_grace.or(others.gc_grace),
            read_limit: self.read_limit.or(others.read_limit),
            instance_timeout: self.instance_timeout.or(others.instance_timeout),
            maintenance_interval: self.maintenance_interval.or(others.maintenance_interval),
            sweep_limit: self.sweep_limit.or(others.sweep_limit),
            sweep_again: self.sweep_again.or(others.sweep_again),
            quarantine_keep: self.quarantine_keep.or(others.quarantine_keep),
            heal_rate: self.heal_rate.or(others.heal_rate),
            scrub_rate: self.scrub_rate.or(others.scrub_rate),
            scrub_interval: self.scrub_interval.or(others.scrub_interval),
            snapshot_interval: self.snapshot_interval.or(others.snapshot_interval),
            snapshot_keep: self.snapshot_keep.or(others.snapshot_keep),
            change_log: self.change_log.or(others.change_log),
            access_log_interval: self.access_log_interval.or(others.access_log_interval),
            audit_log: list(self.audit_log, others.audit_log),
            audit_queue: self.audit_queue.or(others.audit_queue),
            audit_queue_bytes: self.audit_queue_bytes.or(others.audit_queue_bytes),
            audit_file_size: self.audit_file_size.or(others.audit_file_size),
            audit_webhook_token_file: self.audit_webhook_token_file.or(others.audit_webhook_token_file),
            audit_webhook_plain_http: self.audit_webhook_plain_http.or(others.audit_webhook_plain_http),
            upload_expiry_days: self.upload_expiry_days.or(others.upload_expiry_days),
            oidc_config_url: self.oidc_config_url.or(others.oidc_config_url),
            oidc_client_id: list(self.oidc_client_id, others.oidc_client_id),
            oidc_claim_name: self.oidc_claim_name.or(others.oidc_claim_name),
            oidc_role_policy: list(self.oidc_role_policy, others.oidc_role_policy),
            oidc_ca: self.oidc_ca.or(others.oidc_ca),
            oidc: list(self.oidc, others.oidc),
            log_format: self.log_format.or(others.log_format),
            log: self.log.or(others.log),
        }
    }
}

fn wrong(setting: &str, reason: impl std::fmt::Display) -> ConfigError {
    ConfigError::Value { setting: setting.to_owned(), reason: reason.to_string() }
}

fn address(setting: &str, text: String) -> Result<String, ConfigError> {
    // `:9000` is what other servers call "at every address".
    let text = if text.starts_with(':') { format!("[::]{text}") } else { text };
    match text.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => Ok(text),
        _ => Err(wrong(setting, format!("{text:?} is not ADDR:PORT"))),
    }
}

/// Hosts below a domain of websites are websites, so no domain of S3's may be one of them.
fn website_domains(websites: &[String], domains: &[String]) -> Result<(), ConfigError> {
    if let Some(name) = websites.iter().find(|name| !is_domain(name)) {
        return Err(wrong("website_domain", format!("{name:?} is not a domain")));
    }
    for (website, domain) in websites.iter().flat_map(|website| domains.iter().map(move |domain| (website, domain))) {
        let below = format!(".{}", website.to_ascii_lowercase());
        if format!(".{}", domain.to_ascii_lowercase()).ends_with(&below) {
            let reason = format!("{website:?} is, or holds, the domain {domain:?} that S3 is served under");
            return Err(wrong("website_domain", reason));
        }
    }
    Ok(())
}

fn positive(setting: &str, given: Option<usize>, usual: usize) -> Result<usize, ConfigError> {
    match given {
        Some(0) => Err(wrong(setting, "it must be above 0")),
        _ => Ok(given.unwrap_or(usual)),
    }
}

fn lasting(setting: &str, given: Option<Span>, usual: Duration) -> Result<Duration, ConfigError> {
    match given {
        Some(Span(Duration::ZERO)) => Err(wrong(setting, "it must be above 0")),
        _ => Ok(given.map_or(usual, |span| span.0)),
    }
}

/// A file's text without the line's end that editors put there.
fn read_text(path: &Path) -> Result<String, ConfigError> {
    let text = std::fs::read_to_string(path);
    let text = text.map_err(|source| ConfigError::File { path: path.to_owned(), source })?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

fn read_toml(path: &Path) -> Result<Settings, ConfigError> {
    let text = read_text(path)?;
    toml::from_str(&text).map_err(|error| {
        // Without the line itself, which may hold the database's password.
        let line = error.span().map(|span| text.get(..span.start).unwrap_or_default().lines().count().max(1));
        let place = line.map_or(String::new(), |line| format!("line {line}: "));
        ConfigError::Toml { path: path.to_owned(), reason: format!("{place}{}", error.message()) }
    })
}

#[cfg(test)]
mod tests;
