//! The database goes away under load: crashed, or its wires cut, before a COMMIT or behind it. What was acknowledged stays, and what
//! was not is there whole or not at all.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use aws_sdk_s3::primitives::ByteStream;
use ninefold::clock::random_bytes;
use ninefold::maintenance::{Reclaim, Sweep, SweepConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use crate::fixture::{BUCKET, Fixture, bytes};
use crate::postgres::Cluster;

/// Longer than everything here may take.
const NOTHING_HANGS: Duration = Duration::from_secs(300);

/// What a key may hold, by its length: what was acknowledged last, or what was asked for since without an answer.
#[derive(Default, Debug)]
struct Known {
    sure: Option<usize>,
    maybe: Vec<Option<usize>>,
}

/// Writers, each with keys of its own, until they are told to stop.
struct Writers {
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicU64>,
    tasks: JoinSet<BTreeMap<String, Known>>,
}

impl Writers {
    fn start(f: &Fixture) -> Self {
        let (stop, acknowledged) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let mut tasks = JoinSet::new();
        for writer in 0..6usize {
            let (s3, stop, acknowledged) = (f.s3.clone(), Arc::clone(&stop), Arc::clone(&acknowledged));
            tasks.spawn(async move {
                let mut keys: BTreeMap<String, Known> = BTreeMap::new();
                let mut turn = 0;
                while !stop.load(Ordering::Relaxed) {
                    turn += 1;
                    let key = format!("{writer}/{}", turn % 5);
                    // No two writes of a key are of one length. Some are packed, some are not.
                    let len = if turn % 7 == 0 { 100_000 + turn } else { turn };
                    let wanted = (turn % 4 > 0).then_some(len);
                    let done = match wanted {
                        Some(len) => {
                            let put = s3.put_object().bucket(BUCKET).key(&key).body(ByteStream::from(bytes(len)));
                            put.send().await.is_ok()
                        }
                        None => s3.delete_object().bucket(BUCKET).key(&key).send().await.is_ok(),
                    };
                    let known = keys.entry(key).or_default();
                    if done {
                        *known = Known { sure: wanted, maybe: Vec::new() };
                        acknowledged.fetch_add(1, Ordering::Relaxed);
                    } else {
                        known.maybe.push(wanted);
                    }
                }
                keys
            });
        }
        Self { stop, acknowledged, tasks }
    }

    /// Waits until so many more writes were acknowledged.
    async fn progress(&self, more: u64) {
        let enough = self.acknowledged.load(Ordering::Relaxed) + more;
        while self.acknowledged.load(Ordering::Relaxed) < enough {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Stops them, and holds what is there against what they know.
    async fn verify(mut self, f: &Fixture) {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(keys) = self.tasks.join_next().await {
            for (key, known) in keys.unwrap() {
                let got = f.s3.get_object().bucket(BUCKET).key(&key).send().await;
                let found = match got {
                    Ok(got) => Some(got.body.collect().await.unwrap().to_vec()),
                    Err(error) => {
                        assert_eq!(crate::fixture::error(Err::<(), _>(error)).0, 404, "{key}");
                        None
                    }
                };
                let mut allowed = std::iter::once(&known.sure).chain(&known.maybe);
                assert!(
                    allowed.any(|allowed| allowed.map(bytes) == found),
                    "{key} holds {:?} bytes: {known:?}",
                    found.map(|found| found.len())
                );
            }
        }
        // What was left of failed writes goes with the instance, and what was deleted goes, too.
        f.close_in_sql().await;
        f.instance.heartbeat().beat().await;
        f.run(&Sweep::new(f.store().clone(), SweepConfig { again: Duration::ZERO, ..SweepConfig::default() })).await;
        f.run(&Reclaim::new(f.store().clone(), Duration::ZERO)).await;
        f.run(&Reclaim::new(f.store().clone(), Duration::ZERO)).await;
        let summary = f.assert_well().await;
        assert_eq!(summary.files, f.files().len() as u64, "no file is left that no row names: {summary:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_crashes_under_load_loses_nothing() {
    let test = async {
        let cluster = Arc::new(tokio::task::spawn_blocking(|| Cluster::start(&[])).await.unwrap());
        let f = Fixture::at(cluster.create_database().await).await;
        let writers = Writers::start(&f);
        for _ in 0..3 {
            writers.progress(60).await;
            let cluster = Arc::clone(&cluster);
            let crash = move || {
                cluster.crash();
                cluster.start_again();
            };
            tokio::task::spawn_blocking(crash).await.unwrap();
        }
        writers.progress(60).await;
        writers.verify(&f).await;
    };
    tokio::time::timeout(NOTHING_HANGS, test).await.expect("nothing hangs");
}

/// Carries bytes to the server and back, and cuts wires: one COMMIT in so many, before the server has it or with its answer, and
/// all wires when told to.
struct Cutter {
    port: u16,
    /// One COMMIT in so many is cut; 0: none.
    one_in: Arc<AtomicU32>,
    cut: Arc<[AtomicU64; 2]>,
    all: Arc<tokio::sync::Notify>,
    task: JoinHandle<()>,
}

impl Drop for Cutter {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Cutter {
    async fn new(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (one_in, cut) = (Arc::new(AtomicU32::new(0)), Arc::new([AtomicU64::new(0), AtomicU64::new(0)]));
        let all = Arc::new(tokio::sync::Notify::new());
        let task = tokio::spawn({
            let (one_in, cut, all) = (Arc::clone(&one_in), Arc::clone(&cut), Arc::clone(&all));
            async move {
                let mut wires = JoinSet::new();
                while let Ok((client, _)) = listener.accept().await {
                    let Ok(server) = TcpStream::connect(("127.0.0.1", server)).await else { continue };
                    let (one_in, cut, all) = (Arc::clone(&one_in), Arc::clone(&cut), Arc::clone(&all));
                    wires.spawn(async move {
                        tokio::select! {
                            () = carry(client, server, &one_in, &cut) => {}
                            () = all.notified() => {}
                        }
                    });
                }
            }
        });
        Self { port, one_in, cut, all, task }
    }
}

async fn carry(mut client: TcpStream, mut server: TcpStream, one_in: &AtomicU32, cut: &[AtomicU64; 2]) {
    let (mut from_client, mut from_server) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    loop {
        tokio::select! {
            read = client.read(&mut from_client) => {
                let Ok(len @ 1..) = read else { return };
                let bytes = &from_client[..len];
                let one_in = one_in.load(Ordering::Relaxed);
                let unlucky = one_in > 0 && u32::from_le_bytes(random_bytes()) % one_in == 0;
                if unlucky && bytes.windows(7).any(|window| window == b"COMMIT\0") {
                    if random_bytes::<1>() < [128] {
                        cut[0].fetch_add(1, Ordering::Relaxed);
                    } else {
                        cut[1].fetch_add(1, Ordering::Relaxed);
                        server.write_all(bytes).await.unwrap();
                        _ = server.read(&mut from_server).await;
                    }
                    return;
                }
                if server.write_all(bytes).await.is_err() {
                    return;
                }
            }
            read = server.read(&mut from_server) => {
                let Ok(len @ 1..) = read else { return };
                if client.write_all(&from_server[..len]).await.is_err() {
                    return;
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wires_cut_around_commits_lose_nothing() {
    let test = async {
        let cluster = tokio::task::spawn_blocking(|| Cluster::start(&[])).await.unwrap();
        let cutter = Cutter::new(cluster.port()).await;
        let url = cluster.create_database().await;
        let f = Fixture::at(url.replace(&format!(":{}/", cluster.port()), &format!(":{}/", cutter.port))).await;
        let writers = Writers::start(&f);
        cutter.one_in.store(15, Ordering::Relaxed);
        let cuts = || [&cutter.cut[0], &cutter.cut[1]].map(|cut| cut.load(Ordering::Relaxed));
        for _ in 0..6 {
            writers.progress(40).await;
            // Wherever they are: within a transaction, a statement, or nothing at all.
            cutter.all.notify_waiters();
        }
        while cuts().iter().any(|&cuts| cuts < 5) {
            writers.progress(1).await;
        }
        cutter.one_in.store(0, Ordering::Relaxed);
        writers.progress(40).await;
        writers.verify(&f).await;
    };
    tokio::time::timeout(NOTHING_HANGS, test).await.expect("nothing hangs");
}
