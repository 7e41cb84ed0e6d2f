//! Small objects, durably: puts per second when they are packed, when each has a chunk of its own, and of a plain loop that writes
//! nine files, syncs them and inserts a row, which is what packing is there to beat. All in one run, on both databases.
//!
//! `cargo bench --bench small [-- --quick | SIZE CLIENTS]`; `NINEFOLD_BENCH_DIR` says on which disk, `NINEFOLD_BENCH_PACK` may hold
//! `lanes=2 pack_max=65536 batch_writes=256 stripe=262144` to try other settings.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

#[path = "../tests/support/postgres.rs"]
mod postgres;
#[path = "../tests/support/specs.rs"]
mod specs;

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::stream;
use ninefold::chunks::ChunkConfig;
use ninefold::clock::Clock;
use ninefold::instance::{Instance, InstanceConfig};
use ninefold::maintenance::MaintenanceConfig;
use ninefold::metadata::{DatabaseConfig, Headers, ReadRange, Tags, WriteCondition};
use ninefold::objects::{Expected, GetRequest, PackConfig, PutRequest, ReadConditions, Store};
use ninefold::volumes::IoConfig;
use specs::nine;
use sqlx::{Connection, Executor};
use tokio::task::JoinSet;

const SIZES: [usize; 3] = [1 << 10, 16 << 10, 64 << 10];
const CLIENTS: [usize; 3] = [1, 16, 64];

#[derive(Clone)]
struct Settings {
    pack: PackConfig,
    stripe: u32,
}

impl Settings {
    fn from_environment() -> Self {
        let mut settings = Self { pack: PackConfig::default(), stripe: ChunkConfig::default().packed_stripe_len };
        for setting in std::env::var("NINEFOLD_BENCH_PACK").unwrap_or_default().split_whitespace() {
            let (name, value) = setting.split_once('=').expect("NAME=NUMBER");
            let value: u32 = value.parse().expect("NAME=NUMBER");
            match name {
                "lanes" => settings.pack.lanes = value as usize,
                "pack_max" => settings.pack.pack_max = value,
                "batch_writes" => settings.pack.batch_writes = value as usize,
                "stripe" => settings.stripe = value,
                _ => panic!("no setting {name}"),
            }
        }
        settings
    }
}

async fn open(dir: &Path, url: &str, settings: &Settings) -> Instance {
    let config = InstanceConfig {
        database: DatabaseConfig {
            url: url.into(),
            max_connections: 16,
            connect_timeout: Duration::from_secs(10),
            statement_timeout: Duration::from_secs(30),
        },
        volumes: nine(dir),
        io: IoConfig::default(),
        chunks: ChunkConfig { packed_stripe_len: settings.stripe, ..ChunkConfig::default() },
        pack: settings.pack.clone(),
        maintenance: MaintenanceConfig::default(),
        alone: false,
        clock: Clock::system(),
    };
    let instance = Instance::open(config).await.unwrap();
    let bucket = ninefold::objects::CreateBucket::new("bench", "us-east-1", "owner", Default::default());
    instance.store().create_bucket(bucket).await.unwrap();
    instance
}

async fn put(store: &Store, key: String, content: Bytes) {
    let request = PutRequest {
        bucket: "bench".into(),
        key,
        headers: Headers::default(),
        tags: Tags::new(),
        owner: "owner".into(),
        lock: ninefold::metadata::ObjectLock::default(),
        acl: None,
        storage_class: ninefold::metadata::StorageClass::Standard,
        condition: WriteCondition::default(),
        expected: Expected { len: Some(content.len() as u64), ..Expected::default() },
        body: Box::pin(stream::iter([Ok(content)])),
    };
    store.put(request).await.unwrap();
}

async fn get(store: &Store, key: String) {
    use futures_util::TryStreamExt;
    let (bucket, conditions) = ("bench".into(), ReadConditions::default());
    let request = GetRequest { bucket, key, version: None, range: ReadRange::Whole, conditions, with_body: true };
    store.get(&request).await.unwrap().body.try_for_each(|_| async { Ok(()) }).await.unwrap();
}

/// Operations per second of so many clients that each do one after the other for `time`.
async fn rate<F>(clients: usize, time: Duration, work: impl Fn(u64) -> F + Send + Sync + 'static) -> f64
where
    F: Future<Output = ()> + Send + 'static,
{
    let (work, number, done) = (Arc::new(work), Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let started = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..clients {
        let (work, number, done) = (Arc::clone(&work), Arc::clone(&number), Arc::clone(&done));
        tasks.spawn(async move {
            while started.elapsed() < time {
                work(number.fetch_add(1, Ordering::Relaxed)).await;
                done.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    while let Some(task) = tasks.join_next().await {
        task.unwrap();
    }
    done.load(Ordering::Relaxed) as f64 / started.elapsed().as_secs_f64()
}

fn content(size: usize) -> Bytes {
    (0..size).map(|i| (i * 31 % 251) as u8).collect::<Vec<_>>().into()
}

/// Puts and gets per second, and files and bytes that the objects take on disk each.
async fn store(
    url: &str,
    base: &Path,
    settings: &Settings,
    size: usize,
    clients: usize,
    time: Duration,
) -> (f64, f64, f64, f64) {
    let dir = tempfile::tempdir_in(base).unwrap();
    let url = if url.is_empty() {
        format!("sqlite:{}", dir.path().join("metadata.sqlite").display())
    } else {
        url.to_owned()
    };
    let instance = open(dir.path(), &url, settings).await;
    let before = disk(dir.path());
    let content = content(size);
    let target = instance.store().clone();
    let count = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&count);
    let puts = rate(clients, time, move |n| {
        let (store, content) = (target.clone(), content.clone());
        counted.fetch_max(n + 1, Ordering::Relaxed);
        async move { put(&store, format!("{:x}/{n}", n % 256), content).await }
    })
    .await;
    let objects = count.load(Ordering::Relaxed);
    let source = instance.store().clone();
    let gets = rate(clients, time / 2, move |n| {
        let store = source.clone();
        let n = n.wrapping_mul(7919) % objects;
        async move { get(&store, format!("{:x}/{n}", n % 256)).await }
    })
    .await;
    instance.close().await;
    let after = disk(dir.path());
    let each = |after: u64, before: u64| after.saturating_sub(before) as f64 / objects as f64;
    (puts, gets, each(after.0, before.0), each(after.1, before.1))
}

/// Files in the volumes' shard directories, and the bytes that they take.
fn disk(dir: &Path) -> (u64, u64) {
    let mut pending: Vec<PathBuf> = (1..=9).map(|n| dir.join(format!("v{n}/shards"))).collect();
    let (mut files, mut bytes) = (0, 0);
    while let Some(dir) = pending.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let entry = entry.unwrap();
            let meta = entry.metadata().unwrap();
            if meta.is_dir() {
                pending.push(entry.path());
            } else {
                (files, bytes) = (files + 1, bytes + meta.blocks() * 512);
            }
        }
    }
    (files, bytes)
}

/// Nine files, each created, written and synced with its directory, nine at a time; then one row.
async fn plain(url: &str, base: &Path, size: usize, clients: usize, time: Duration) -> f64 {
    let dir = tempfile::tempdir_in(base).unwrap();
    for n in 0..9 {
        std::fs::create_dir(dir.path().join(n.to_string())).unwrap();
    }
    let table = "CREATE TABLE plain (key BIGINT PRIMARY KEY, etag TEXT NOT NULL, size BIGINT NOT NULL)";
    let sqlite = dir.path().join("plain.sqlite");
    if url.is_empty() {
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&sqlite).create_if_missing(true);
        let mut connection =
            sqlx::SqliteConnection::connect_with(&options.journal_mode(sqlx::sqlite::SqliteJournalMode::Wal))
                .await
                .unwrap();
        connection.execute(table).await.unwrap();
    } else {
        sqlx::PgConnection::connect(url).await.unwrap().execute(table).await.unwrap();
    }
    let insert = "INSERT INTO plain (key, etag, size) VALUES ($1, $2, $3)";
    let sqlite = sqlx::sqlite::SqlitePoolOptions::new().max_connections(1).connect_lazy_with(
        sqlx::sqlite::SqliteConnectOptions::new().filename(&sqlite).synchronous(sqlx::sqlite::SqliteSynchronous::Full),
    );
    let server = if url.is_empty() {
        None
    } else {
        Some(sqlx::postgres::PgPoolOptions::new().max_connections(16).connect(url).await.unwrap())
    };
    let path = dir.path().to_owned();
    let content = content(size);
    rate(clients, time, move |n| {
        let (path, content, sqlite, server) = (path.clone(), content.clone(), sqlite.clone(), server.clone());
        async move {
            let mut files = JoinSet::new();
            for shard in 0..9 {
                let (dir, content) = (path.join(shard.to_string()), content.clone());
                files.spawn_blocking(move || {
                    let mut file = std::fs::File::create_new(dir.join(n.to_string())).unwrap();
                    std::io::Write::write_all(&mut file, &content[..content.len().div_ceil(6)]).unwrap();
                    file.sync_data().unwrap();
                    std::fs::File::open(&dir).unwrap().sync_all().unwrap();
                });
            }
            while let Some(file) = files.join_next().await {
                file.unwrap();
            }
            let (key, etag, size) = (n as i64, "0123456789abcdef0123456789abcdef", content.len() as i64);
            match server {
                Some(server) => {
                    sqlx::query(insert).bind(key).bind(etag).bind(size).execute(&server).await.unwrap();
                }
                None => {
                    sqlx::query(insert).bind(key).bind(etag).bind(size).execute(&sqlite).await.unwrap();
                }
            }
        }
    })
    .await
}

async fn measure() {
    let base: PathBuf = std::env::var_os("NINEFOLD_BENCH_DIR").map_or_else(std::env::temp_dir, Into::into);
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let quick = arguments.iter().any(|a| a == "--quick");
    let only: Vec<usize> = arguments.iter().filter_map(|a| a.parse().ok()).collect();
    let time = Duration::from_secs(if quick { 1 } else { 4 });
    let packed = Settings::from_environment();
    let alone = Settings { pack: PackConfig { pack_max: 0, ..packed.pack.clone() }, ..packed.clone() };
    println!(
        "{:10} {:>6} {:>7} | {:>10} {:>10} {:>10} | {:>10} {:>10} | files and MiB of a million, packed",
        "database", "size", "clients", "packed/s", "alone/s", "plain/s", "gets/s", "alone"
    );
    for database in ["SQLite", "PostgreSQL"] {
        for size in only.first().map_or(SIZES.to_vec(), |&size| vec![size]) {
            for clients in only.get(1).map_or(CLIENTS.to_vec(), |&clients| vec![clients]) {
                let url = async || match database {
                    "SQLite" => (String::new(), None),
                    _ => {
                        let database = postgres::Database::new().await;
                        (database.url.clone(), Some(database))
                    }
                };
                let (a, _a) = url().await;
                let (puts, gets, files, bytes) = store(&a, &base, &packed, size, clients, time).await;
                let (b, _b) = url().await;
                let (puts_alone, gets_alone, ..) = store(&b, &base, &alone, size, clients, time).await;
                let (c, _c) = url().await;
                let plain = plain(&c, &base, size, clients, time).await;
                println!(
                    "{database:10} {size:6} {clients:7} | {puts:10.0} {puts_alone:10.0} {plain:10.0} | {gets:10.0} {gets_alone:10.0} | {:.0} files, {:.0} MiB",
                    files * 1e6,
                    bytes * 1e6 / f64::from(1 << 20),
                );
            }
        }
    }
}

fn main() {
    tokio::runtime::Runtime::new().unwrap().block_on(measure());
}
