//! Time and space of a snapshot of the metadata, and time of a restore from it, with many small objects. On both databases.
//!
//! `cargo bench --bench snapshot [-- OBJECTS]` (1,000,000); `NINEFOLD_BENCH_DIR` says on which disk. The rows are made up: their packed
//! chunks have no files.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

#[path = "../tests/support/postgres.rs"]
mod postgres;
#[path = "../tests/support/specs.rs"]
mod specs;

use std::path::Path;
use std::time::{Duration, Instant};

use ninefold::chunks::ChunkConfig;
use ninefold::clock::Clock;
use ninefold::instance::{Instance, InstanceConfig};
use ninefold::layout::ChunkId;
use ninefold::maintenance::{MaintenanceConfig, run_once};
use ninefold::metadata::{Cell, DatabaseConfig, Metadata, Table};
use ninefold::objects::PackConfig;
use ninefold::snapshots::{SNAPSHOT, Snapshot, SnapshotConfig, Source, restore};
use ninefold::volumes::IoConfig;
use specs::nine;

/// Bytes of each object.
const SIZE: i64 = 4096;
/// Objects in one packed chunk.
const PER_CHUNK: u64 = 15_000;

fn database(url: &str) -> DatabaseConfig {
    DatabaseConfig {
        url: url.into(),
        max_connections: 8,
        connect_timeout: Duration::from_secs(10),
        statement_timeout: Duration::from_secs(30),
    }
}

fn text(value: &str) -> Cell {
    Cell::Text(value.into())
}

/// Fills an empty database with rows of so many objects.
async fn fill(metadata: &Metadata, objects: u64) {
    let mut filling = metadata.begin_restore().await.unwrap();
    let columns = |table: &Table| -> Vec<&'static str> { table.columns.iter().map(|(name, _)| *name).collect() };
    let [buckets, chunks, rows] = ["buckets", "chunks", "objects"].map(|name| Table::of(name).unwrap());
    let bucket = vec![Cell::Int(1), text("bench"), Cell::Int(0), text("us-east-1"), text("owner")];
    filling.write(buckets, &columns(buckets), &[bucket]).await.unwrap();
    let id = |number: u64| Cell::Bytes(ChunkId { seq: 1 + number / PER_CHUNK, nonce: 7 }.to_bytes().to_vec());
    let of_chunks: Vec<Vec<Cell>> = (0..objects)
        .step_by(PER_CHUNK as usize)
        .map(|first| {
            let live = (objects - first).min(PER_CHUNK) as i64 * SIZE;
            vec![
                id(first),
                text("sealed"),
                text("1.0 2.0 3.0 4.0 5.0 6.0 7.0 8.0 9.0"),
                Cell::Int(0),
                Cell::Int(live),
                Cell::Int(live),
                Cell::Null,
                Cell::Int(1),
                Cell::Int(12 << 20),
            ]
        })
        .collect();
    filling.write(chunks, &columns(chunks), &of_chunks).await.unwrap();
    for first in (0..objects).step_by(5000) {
        let page: Vec<Vec<Cell>> = (first..objects.min(first + 5000))
            .map(|number| {
                // As a hash looks that is not a constant.
                let etag = format!("{:016x}{:016x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15), !number);
                vec![
                    Cell::Int(1),
                    Cell::Bytes(format!("photos/2026/{:03}/image-{number:09}.jpg", number % 365).into_bytes()),
                    Cell::Null,
                    Cell::Int(1),
                    Cell::Int(SIZE),
                    Cell::Text(etag.clone()),
                    Cell::Int(1_700_000_000_000 + number as i64),
                    text("CRC64NVME"),
                    text("FULL_OBJECT"),
                    text(&etag[..12]),
                    text("owner"),
                    text(r#"{"content_type":"image/jpeg"}"#),
                    text("{}"),
                    Cell::Null,
                    Cell::Null,
                    id(number),
                    Cell::Int(4096 + (number % PER_CHUNK) as i64 * 800),
                    Cell::Int(256 << 10),
                    Cell::Int((number % 60) as i64 * 4200),
                ]
            })
            .collect();
        filling.write(rows, &columns(rows), &page).await.unwrap();
    }
    filling.close_old_life().await.unwrap();
    filling.commit().await.unwrap();
}

async fn measure(name: &str, dir: &Path, from: &str, into: &str, objects: u64) {
    let metadata = Metadata::connect(&database(from)).await.unwrap();
    let started = Instant::now();
    fill(&metadata, objects).await;
    metadata.close().await;
    println!("{name}: {objects} objects were written in {:.1} s", started.elapsed().as_secs_f64());
    let quiet = Duration::from_secs(1 << 30);
    let instance = Instance::open(InstanceConfig {
        database: database(from),
        volumes: nine(dir),
        io: IoConfig::default(),
        chunks: ChunkConfig::default(),
        pack: PackConfig::default(),
        maintenance: MaintenanceConfig { interval: quiet, ..MaintenanceConfig::default() },
        alone: false,
        clock: Clock::system(),
    })
    .await
    .unwrap();
    let store = instance.store().clone();
    store.metadata().request_job(SNAPSHOT).await.unwrap();
    let job =
        Snapshot::new(store.clone(), SnapshotConfig { interval: Duration::ZERO, keep: 1, ..SnapshotConfig::default() });
    let started = Instant::now();
    assert!(run_once(store.metadata(), instance.heartbeat().instance(), &job).await.unwrap());
    let took = started.elapsed().as_secs_f64();
    let row = store.metadata().snapshots().await.unwrap().remove(0);
    let each = row.bytes as f64 / objects as f64;
    println!("{name}: snapshot {took:.1} s, {:.1} MB ({each:.0} bytes an object)", row.bytes as f64 / 1e6);
    instance.close().await;

    let source = Source::open(&nine(dir), &IoConfig::default()).await.unwrap();
    let target = Metadata::connect(&database(into)).await.unwrap();
    let started = Instant::now();
    let restored = restore(&source, Some(&target), None, &mut |_, _| ()).await.unwrap();
    assert_eq!(restored.snapshot.rows, row.rows);
    println!("{name}: restore {:.1} s", started.elapsed().as_secs_f64());
    target.close().await;
}

#[tokio::main]
async fn main() {
    let objects = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(1_000_000);
    let dir = || match std::env::var_os("NINEFOLD_BENCH_DIR") {
        Some(dir) => tempfile::tempdir_in(dir).unwrap(),
        None => tempfile::tempdir().unwrap(),
    };
    let here = dir();
    let url = |name: &str| format!("sqlite:{}", here.path().join(name).display());
    measure("SQLite", here.path(), &url("from.sqlite"), &url("into.sqlite"), objects).await;
    let (from, into, here) = (postgres::Database::new().await, postgres::Database::new().await, dir());
    measure("PostgreSQL", here.path(), &from.url, &into.url, objects).await;
}
