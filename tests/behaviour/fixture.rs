//! An instance over a throw-away database and nine volumes, and an SDK client in front of it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{BehaviorVersion, Credentials as SdkCredentials, Region};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use ninefold::access::{Directory, Known, RootCredentials, Secret};
use ninefold::chunks::ChunkConfig;
use ninefold::clock::Clock;
use ninefold::instance::{Instance, InstanceConfig};
use ninefold::maintenance::{self, Job, MaintenanceConfig};
use ninefold::metadata::DatabaseConfig;
use ninefold::objects::{PackConfig, Store};
use ninefold::s3::Api;
use ninefold::s3::auth::Auth;
use ninefold::s3::guard::Guard;
use ninefold::s3::host::Domains;
use ninefold::s3::routes::Routes;
use ninefold::volumes::IoConfig;
use s3s::service::{S3Service, S3ServiceBuilder};
use tempfile::TempDir;

use crate::postgres::Database;
use crate::specs::nine;
pub use crate::specs::spec;

pub const BUCKET: &str = "bucket";
pub const MIB: usize = 1 << 20;

/// Runs a test on SQLite and on PostgreSQL.
macro_rules! on_both {
    ($($(#[$meta:meta])* async fn $name:ident($fixture:ident: Fixture) $body:block)*) => {
        $(
            $(#[$meta])*
            mod $name {
                use super::*;

                async fn test($fixture: Fixture) $body

                #[tokio::test(flavor = "multi_thread")]
                async fn sqlite() {
                    test(Fixture::sqlite().await).await;
                }

                #[tokio::test(flavor = "multi_thread")]
                async fn postgres() {
                    test(Fixture::postgres().await).await;
                }
            }
        )*
    };
}
pub(crate) use on_both;

pub struct Fixture {
    pub s3: Client,
    pub instance: Instance,
    pub clock: Clock,
    pub config: InstanceConfig,
    pub dir: TempDir,
    _database: Option<Database>,
}

impl Fixture {
    pub async fn sqlite() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", dir.path().join("metadata.sqlite").display());
        Self::new(dir, url, None).await
    }

    pub async fn postgres() -> Self {
        let database = Database::new().await;
        Self::new(tempfile::tempdir().unwrap(), database.url.clone(), Some(database)).await
    }

    /// Over a PostgreSQL database that the test looks after.
    pub async fn at(url: String) -> Self {
        Self::new(tempfile::tempdir().unwrap(), url, None).await
    }

    async fn new(dir: TempDir, url: String, database: Option<Database>) -> Self {
        let clock = Clock::fixed(1_700_000_000_000);
        let config = InstanceConfig {
            database: DatabaseConfig {
                url,
                max_connections: 8,
                connect_timeout: Duration::from_secs(5),
                statement_timeout: Duration::from_secs(30),
            },
            volumes: nine(dir.path()),
            io: IoConfig { threads: 1, ..IoConfig::default() },
            chunks: ChunkConfig { chunk_len: 4 * MIB as u64, ..ChunkConfig::default() },
            pack: PackConfig::default(),
            // Nothing happens beside the tests but what they ask for.
            maintenance: MaintenanceConfig { interval: Duration::from_secs(3600), ..MaintenanceConfig::default() },
            alone: false,
            clock: clock.clone(),
        };
        let instance = Instance::open(config.clone()).await.unwrap();
        let s3 = client(instance.store(), instance.deployment());
        let fixture = Self { s3, instance, clock, config, dir, _database: database };
        fixture.s3.create_bucket().bucket(BUCKET).send().await.unwrap();
        fixture
    }

    /// Stops the instance and starts another on the same data.
    pub async fn restart(self) -> Self {
        self.restart_with(|_| {}).await
    }

    /// The same, configured otherwise.
    pub async fn restart_with(self, change: impl FnOnce(&mut InstanceConfig)) -> Self {
        let Self { instance, clock, mut config, dir, _database, .. } = self;
        instance.close().await;
        change(&mut config);
        let instance = Instance::open(config.clone()).await.unwrap();
        let s3 = client(instance.store(), instance.deployment());
        Self { s3, instance, clock, config, dir, _database }
    }

    pub fn store(&self) -> &Store {
        self.instance.store()
    }

    pub async fn put(&self, key: &str, body: impl Into<Vec<u8>>) -> String {
        let body = ByteStream::from(body.into());
        let put = self.s3.put_object().bucket(BUCKET).key(key).body(body).send().await.unwrap();
        put.e_tag().unwrap().to_owned()
    }

    pub async fn get(&self, key: &str) -> Vec<u8> {
        let got = self.s3.get_object().bucket(BUCKET).key(key).send().await.unwrap();
        got.body.collect().await.unwrap().to_vec()
    }

    pub async fn run(&self, job: &dyn Job) {
        let instance = self.instance.heartbeat().instance();
        assert!(maintenance::run_once(self.store().metadata(), instance, job).await.unwrap());
    }

    /// Every shard file there is.
    pub fn files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        for n in 1..=9 {
            let shards = self.dir.path().join(format!("v{n}")).join("shards");
            for fan_out in std::fs::read_dir(shards).unwrap() {
                files.extend(std::fs::read_dir(fan_out.unwrap().path()).unwrap().map(|f| f.unwrap().path()));
            }
        }
        files
    }
}

pub fn client(store: &Store, deployment: &str) -> Client {
    Door::new(store, deployment, Known::default()).client(Some("ROOTUSER"))
}

/// The S3 surface over a store, without a server.
pub struct Door(S3Service, Directory);

impl Door {
    /// Whom it knows besides root: all of them sign with [`SECRET`].
    pub fn new(store: &Store, deployment: &str, known: Known) -> Self {
        let root = RootCredentials { access_key: "ROOTUSER".into(), secret_key: Secret::new(SECRET) };
        let directory = Directory::new(&root, deployment);
        directory.replace(known);
        let api = Api::new(store.clone(), "us-east-1", directory.clone());
        let guard = Guard::new(directory.clone(), "us-east-1", Arc::new(store.clone()));
        let mut builder = S3ServiceBuilder::new(api.clone());
        builder.set_auth(Auth(directory.clone()));
        builder.set_access(guard.clone());
        builder.set_route(Routes::new(api, guard, Domains::default()));
        Self(builder.build(), directory)
    }

    /// Whom it knows.
    pub fn directory(&self) -> &Directory {
        &self.1
    }

    /// What answers requests.
    pub fn service(&self) -> &S3Service {
        &self.0
    }

    /// A client that signs with this access key, or not at all.
    pub fn client(&self, access_key: Option<&str>) -> Client {
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .endpoint_url("http://127.0.0.1:9")
            .force_path_style(true)
            .retry_config(aws_sdk_s3::config::retry::RetryConfig::disabled())
            // A server that is slow to say no is not a stalled one.
            .stalled_stream_protection(aws_sdk_s3::config::StalledStreamProtectionConfig::disabled())
            .http_client(s3s_aws::Client::from(self.0.clone()));
        let config = match access_key {
            Some(key) => config.credentials_provider(SdkCredentials::new(key, SECRET, None, None, "test")),
            None => config.allow_no_auth(),
        };
        Client::from_conf(config.build())
    }
}

pub const SECRET: &str = "not a secret at all";

/// An error's status and code.
pub fn error<T: std::fmt::Debug, E: ProvideErrorMetadata + std::fmt::Debug>(
    outcome: Result<T, SdkError<E>>,
) -> (u16, String) {
    let error = outcome.expect_err("must fail");
    let status = error.raw_response().map_or(0, |response| response.status().as_u16());
    let code = error.as_service_error().and_then(ProvideErrorMetadata::code).unwrap_or_default();
    (status, code.to_owned())
}

/// Bytes that look like nothing, the same for the same length.
pub fn bytes(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64 ^ len as u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    std::iter::repeat_with(next).take(len).collect()
}
