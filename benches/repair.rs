//! How fast shards are healed and verified, and what that costs a client that reads meanwhile.
//!
//! `cargo bench --bench repair`. In process: metadata in SQLite, nine volumes in one directory of `NINEFOLD_BENCH_DIR` or of the system's
//! temporary one. `NINEFOLD_BENCH_MIB` (512) is what large objects hold, `NINEFOLD_BENCH_SMALL` (20,000) how many of 4 KiB there are.

#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout)]

#[path = "../tests/support/specs.rs"]
mod specs;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use ninefold::chunks::ChunkConfig;
use ninefold::clock::Clock;
use ninefold::instance::{Instance, InstanceConfig};
use ninefold::maintenance::{
    HEAL, Heal, Job, MaintenanceConfig, Mover, MoverConfig, Relocate, SCRUB, Scrub, make, run_once,
};
use ninefold::metadata::{DatabaseConfig, Headers, ReadRange, Tags, WriteCondition};
use ninefold::objects::{Expected, GetRequest, PackConfig, PutRequest, ReadConditions, Store};
use ninefold::volumes::IoConfig;
use specs::nine;

const LARGE: usize = 16 << 20;
const SMALL: usize = 4 << 10;

async fn open(dir: &Path) -> Instance {
    let config = InstanceConfig {
        database: DatabaseConfig {
            url: format!("sqlite:{}", dir.join("metadata.sqlite").display()),
            max_connections: 8,
            connect_timeout: Duration::from_secs(10),
            statement_timeout: Duration::from_secs(10),
        },
        volumes: nine(dir),
        io: IoConfig::default(),
        chunks: ChunkConfig::default(),
        pack: PackConfig::default(),
        // Nothing happens but what is measured.
        maintenance: MaintenanceConfig { interval: Duration::from_secs(1 << 30), ..MaintenanceConfig::default() },
        alone: true,
        clock: Clock::system(),
    };
    Instance::open(config).await.unwrap()
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

async fn get(store: &Store, key: String) -> u64 {
    let request = GetRequest {
        bucket: "bench".into(),
        key,
        version: None,
        range: ReadRange::Whole,
        conditions: ReadConditions::default(),
        with_body: true,
    };
    let body = store.get(&request).await.unwrap().body;
    body.try_fold(0, async |sum, piece| Ok(sum + piece.len() as u64)).await.unwrap()
}

/// Reads small objects one after the other, and writes one in ten, until told to stop; answers how long each took.
async fn client(store: Store, small: usize, stop: &AtomicBool) -> Vec<Duration> {
    let (mut times, mut number) = (Vec::new(), 0usize);
    while !stop.load(Ordering::Relaxed) {
        number = (number + 7919) % small;
        let started = Instant::now();
        if number.is_multiple_of(10) {
            put(&store, format!("client-{number}"), Bytes::from(vec![7; SMALL])).await;
        } else {
            get(&store, format!("small-{number}")).await;
        }
        times.push(started.elapsed());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    times
}

fn percentiles(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let at = |share: f64| times.get((times.len() as f64 * share) as usize).copied().unwrap_or_default();
    format!("{} requests, p50 {:.2?}, p99 {:.2?}", times.len(), at(0.5), at(0.99))
}

/// Runs a job beside a client; says how fast it was and what the client noticed.
async fn measure(instance: &Instance, name: &str, job: &dyn Job, row: &str, small: usize, objects: usize) {
    let store = instance.store();
    let stop = AtomicBool::new(false);
    let work = async {
        let started = Instant::now();
        run_once(store.metadata(), instance.heartbeat().instance(), job).await.unwrap();
        stop.store(true, Ordering::Relaxed);
        started.elapsed()
    };
    let (took, times) = tokio::join!(work, client(store.clone(), small, &stop));
    let row = store.metadata().job(row).await.unwrap().unwrap();
    let rate = row.bytes as f64 / took.as_secs_f64();
    println!(
        "{name}: {} in {took:.2?}, {:.3} GB read and written at {:.3} GB/s, {:.0} objects/s; client: {}",
        row.state,
        row.bytes as f64 / 1e9,
        rate / 1e9,
        objects as f64 / took.as_secs_f64(),
        percentiles(times)
    );
}

async fn replace(instance: &Instance, relocate: &Relocate, n: u16) {
    let db = instance.store().metadata();
    let id = format!("v{n}");
    let path = db.volumes().await.unwrap().iter().find(|row| row.spec.id == id).unwrap().spec.path.clone();
    std::fs::remove_dir_all(path).unwrap();
    let row = db.replace_volume(&id, None).await.unwrap();
    make(&row, instance.deployment()).await.unwrap();
    db.set_formatted(row.slot).await.unwrap();
    run_once(db, instance.heartbeat().instance(), relocate).await.unwrap();
}

async fn bench(dir: &Path) {
    let number = |name: &str, usual: usize| std::env::var(name).ok().map_or(usual, |text| text.parse().unwrap());
    let large = (number("NINEFOLD_BENCH_MIB", 512) << 20) / LARGE;
    let small = number("NINEFOLD_BENCH_SMALL", 20_000);
    let instance = open(dir).await;
    let bucket = ninefold::objects::CreateBucket::new("bench", "us-east-1", "owner", Default::default());
    instance.store().create_bucket(bucket).await.unwrap();
    let store = instance.store().clone();
    stream::iter(0..small)
        .map(|n| put(&store, format!("small-{n}"), Bytes::from(vec![n as u8; SMALL])))
        .buffer_unordered(64)
        .collect::<()>()
        .await;
    for n in 0..large {
        let content: Vec<u8> = (0..LARGE).map(|i| (i * (n + 3) % 251) as u8).collect();
        put(&store, format!("large-{n}"), content.into()).await;
    }
    // A new start seals the packed chunks.
    instance.close().await;
    let instance = open(dir).await;
    let store = instance.store().clone();
    println!("{large} objects of {} MiB, {small} of {} KiB", LARGE >> 20, SMALL >> 10);

    let stop = AtomicBool::new(false);
    let wait = async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        stop.store(true, Ordering::Relaxed);
    };
    let ((), times) = tokio::join!(wait, client(store.clone(), small, &stop));
    println!("nothing beside it; client: {}", percentiles(times));

    let mover = |bytes_per_second| {
        let config = MoverConfig { bytes_per_second, grace: Duration::ZERO, ..MoverConfig::default() };
        Mover::new(store.clone(), config)
    };
    let relocate = Relocate::new(store.clone(), mover(0), instance.roster().clone());
    let usual = MaintenanceConfig::default();
    for (n, rate) in [(1, 0), (2, usual.mover.bytes_per_second)] {
        replace(&instance, &relocate, n).await;
        let name = format!("heal of a volume, {} MiB/s allowed (0: all)", rate >> 20);
        measure(&instance, &name, &Heal::new(store.clone(), mover(rate)), HEAL, small, large + small).await;
    }
    for rate in [0, usual.scrub_bytes_per_second * 4] {
        store.metadata().request_job(SCRUB).await.unwrap();
        let scrub = Scrub::new(store.clone(), rate, Duration::from_secs(1 << 40));
        let name = format!("scrub, {} MiB/s allowed (0: all)", rate >> 20);
        measure(&instance, &name, &scrub, SCRUB, small, large + small).await;
    }
    instance.close().await;
}

fn main() {
    // Asked by `cargo test --benches` whether it runs at all.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let base = std::env::var_os("NINEFOLD_BENCH_DIR").map_or_else(std::env::temp_dir, Into::into);
    let dir = tempfile::tempdir_in(base).unwrap();
    tokio::runtime::Runtime::new().unwrap().block_on(bench(dir.path()));
}
