//! Storing and reading objects through the whole engine, in process: metadata in SQLite, nine volumes in one directory.
//!
//! `cargo bench --bench engine`. The directory is made in `NINEFOLD_BENCH_DIR` or the system's temporary directory; where that is
//! decides what a sync costs.

#![allow(missing_docs, clippy::unwrap_used)]

#[path = "../tests/support/specs.rs"]
mod specs;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use futures_util::{TryStreamExt, stream};
use ninefold::chunks::ChunkConfig;
use ninefold::clock::Clock;
use ninefold::instance::{Instance, InstanceConfig};
use ninefold::maintenance::MaintenanceConfig;
use ninefold::metadata::{DatabaseConfig, Headers, ReadRange, Tags, WriteCondition};
use ninefold::objects::{Expected, GetRequest, PackConfig, PutRequest, ReadConditions, Store};
use ninefold::volumes::IoConfig;
use specs::nine;

const SIZES: [(&str, usize); 4] = [("1KiB", 1 << 10), ("64KiB", 64 << 10), ("1MiB", 1 << 20), ("64MiB", 64 << 20)];

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
    // Pieces as they come from a socket.
    let pieces: Vec<_> = (0..content.len())
        .step_by(256 << 10)
        .map(|at| content.slice(at..content.len().min(at + (256 << 10))))
        .collect();
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
        body: Box::pin(stream::iter(pieces.into_iter().map(Ok))),
    };
    store.put(request).await.unwrap();
}

async fn get(store: &Store, key: &str) -> u64 {
    let request = GetRequest {
        bucket: "bench".into(),
        key: key.into(),
        version: None,
        range: ReadRange::Whole,
        conditions: ReadConditions::default(),
        with_body: true,
    };
    let body = store.get(&request).await.unwrap().body;
    body.try_fold(0, async |sum, piece| Ok(sum + piece.len() as u64)).await.unwrap()
}

fn engine(c: &mut Criterion) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let base = std::env::var_os("NINEFOLD_BENCH_DIR").map_or_else(std::env::temp_dir, Into::into);
    let dir = tempfile::tempdir_in(base).unwrap();
    let instance = runtime.block_on(open(dir.path()));
    let store = instance.store();
    let number = AtomicU64::new(0);
    for (name, size) in SIZES {
        let content = Bytes::from((0..size).map(|i| (i * 31 % 251) as u8).collect::<Vec<_>>());
        runtime.block_on(put(store, format!("read-{name}"), content.clone()));
        let mut group = c.benchmark_group("engine");
        group.throughput(Throughput::Bytes(size as u64)).sample_size(10);
        group.bench_with_input(BenchmarkId::new("put", name), &content, |b, content| {
            b.to_async(&runtime).iter(|| {
                // A few keys over and over, so that the directory does not fill up with what is dead.
                let key = format!("put-{}", number.fetch_add(1, Ordering::Relaxed) % 16);
                put(store, key, content.clone())
            });
        });
        group.bench_function(BenchmarkId::new("get", name), |b| {
            let key = format!("read-{name}");
            b.to_async(&runtime).iter(|| get(store, &key));
        });
        group.finish();
    }
    runtime.block_on(instance.close());
}

criterion_group!(benches, engine);
criterion_main!(benches);
