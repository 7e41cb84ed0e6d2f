//! The crash test: the program dies, again and again, at random instants and at every named point of the commit protocol. After
//! each start all that was acknowledged is there, byte for byte, nothing that was deleted is, `ninefold check` finds
//! nothing, and in the end no file is left that no row names.
//!
//! Of the points some are taken, by chance; `NINEFOLD_CRASH_KILLS=N` kills N times at random instants, and at every point, on
//! each database.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, missing_docs)]

#[path = "support/postgres.rs"]
mod postgres;
#[path = "support/server.rs"]
mod server;
#[path = "support/signing.rs"]
#[allow(dead_code, reason = "this suite needs the plainest of it")]
mod signing;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client as Http;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustix::process::Signal;

use server::Server;
use signing::{Call, Signer};

const MIB: usize = 1 << 20;
/// Clients that write at once, each to keys of its own.
const CLIENTS: u64 = 4;
/// Keys of each.
const KEYS: u64 = 8;
/// Lengths of objects: nothing, packed ones, a chunk of its own, one of several stripes.
const LENGTHS: [usize; 8] = [0, 1, 700, 5000, 20_000, 64 << 10, 100 << 10, 3 * MIB];
/// Points that one run dies at on SQLite, unless more was asked for.
const POINTS_A_RUN: usize = 10;
/// How long the settings below may take to have everything tidied up: after many kills there are as many ranges to sweep, twice.
const TIDY_WITHIN: Duration = Duration::from_secs(300);

/// The bytes of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Content {
    seed: u64,
    len: usize,
}

impl Content {
    fn bytes(self) -> Bytes {
        let words = (0..self.len as u64).map(|n| (n ^ self.seed).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        words.flat_map(u64::to_le_bytes).take(self.len).collect()
    }
}

/// What a key may hold: what was acknowledged last, or what was asked for since without an answer.
#[derive(Debug, Clone, Default)]
struct Known {
    /// A multipart object is several contents.
    sure: Option<Vec<Content>>,
    maybe: Vec<Option<Vec<Content>>>,
}

struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

#[derive(Clone)]
struct Client {
    http: Http<HttpConnector, Full<Bytes>>,
    address: SocketAddr,
}

impl Client {
    fn new(address: SocketAddr) -> Self {
        Self { http: Http::builder(TokioExecutor::new()).build_http(), address }
    }

    /// The whole answer; `None` if it did not come.
    async fn send(&self, call: Call) -> Option<(StatusCode, HeaderMap, Bytes)> {
        let signer = Signer {
            access_key: Server::ACCESS_KEY.into(),
            secret: Server::SECRET_KEY.into(),
            region: "us-east-1".into(),
            service: "s3".into(),
            time: SystemTime::now(),
        };
        let host = self.address.to_string();
        let (len, sends) = (call.body.len(), call.method == Method::PUT || call.method == Method::POST);
        let mut request = signer.header(call.header("host", &host), None);
        if sends {
            request.headers_mut().insert(http::header::CONTENT_LENGTH, len.into());
        }
        *request.uri_mut() = format!("http://{host}{}", request.uri()).parse().unwrap();
        let answer = self.http.request(request).await.ok()?;
        let (head, body) = answer.into_parts();
        Some((head.status, head.headers, body.collect().await.ok()?.to_bytes()))
    }
}

fn path(key: &str) -> String {
    format!("/demo/{key}")
}

/// What became of a request.
enum Outcome {
    Acknowledged,
    /// Refused, or the server has gone before it answered.
    Unknown,
}

/// Takes an answer apart. The server never has a reason to blame the client.
fn outcome(answer: Option<(StatusCode, HeaderMap, Bytes)>) -> Outcome {
    match answer {
        Some((status, _, _)) if status.is_success() => Outcome::Acknowledged,
        Some((status, _, body)) => {
            assert!(status.is_server_error(), "{status}: {}", String::from_utf8_lossy(&body));
            Outcome::Unknown
        }
        None => Outcome::Unknown,
    }
}

/// Writes to this client's keys until the server is gone, or `until`; keeps account.
async fn write(
    client: Client,
    number: u64,
    mut known: BTreeMap<String, Known>,
    seed: u64,
    until: Instant,
) -> BTreeMap<String, Known> {
    let mut dice = Dice(seed | 1);
    for _ in 0..8 {
        dice.roll(2);
    }
    while Instant::now() < until {
        let key = format!("{number}/{}", dice.roll(KEYS));
        let content = Content { seed: dice.roll(u64::MAX), len: LENGTHS[dice.roll(LENGTHS.len() as u64) as usize] };
        let (wanted, done) = match dice.roll(20) {
            0..=11 => {
                let put = Call::new(Method::PUT, &path(&key)).body(content.bytes());
                (Some(vec![content]), outcome(client.send(put).await))
            }
            12..=15 => (None, outcome(client.send(Call::new(Method::DELETE, &path(&key))).await)),
            16 | 17 => {
                let other = format!("{number}/{}", dice.roll(KEYS));
                let source = known.get(&other).cloned().unwrap_or_default();
                let (Some(content), true, true) = (source.sure, source.maybe.is_empty(), other != key) else {
                    continue;
                };
                let copy = Call::new(Method::PUT, &path(&key)).header("x-amz-copy-source", &path(&other));
                (Some(content), outcome(client.send(copy).await))
            }
            _ => {
                let parts = [Content { len: 5 * MIB, ..content }, Content { seed: !content.seed, len: 700 }];
                let complete = dice.roll(4) > 0;
                match multipart(&client, &key, &parts, complete).await {
                    // Without the completion having been asked for nothing can have changed.
                    None => continue,
                    Some(done) => (Some(parts.to_vec()), done),
                }
            }
        };
        let known = known.entry(key).or_default();
        match done {
            Outcome::Acknowledged => *known = Known { sure: wanted, maybe: Vec::new() },
            Outcome::Unknown => {
                known.maybe.push(wanted);
                // Gone, or not well; either way not worth asking on and on.
                tokio::time::sleep(Duration::from_millis(20)).await;
                if client.send(Call::new(Method::HEAD, "/demo")).await.is_none() {
                    break;
                }
            }
        }
    }
    known
}

/// Uploads in parts; answers what became of the completion, if it came to that.
async fn multipart(client: &Client, key: &str, parts: &[Content], complete: bool) -> Option<Outcome> {
    let (status, _, body) = client.send(Call::new(Method::POST, &path(key)).query("uploads", "")).await?;
    if !status.is_success() {
        return None;
    }
    let body = String::from_utf8(body.to_vec()).unwrap();
    let upload = body.split("<UploadId>").nth(1)?.split('<').next()?.to_owned();
    let mut list = String::new();
    for (number, content) in (1..).zip(parts) {
        let call =
            Call::new(Method::PUT, &path(key)).query("partNumber", &number.to_string()).query("uploadId", &upload);
        let (status, headers, _) = client.send(call.body(content.bytes())).await?;
        if !status.is_success() {
            return None;
        }
        let etag = headers.get("etag")?.to_str().unwrap().to_owned();
        list += &format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>");
    }
    if !complete {
        client.send(Call::new(Method::DELETE, &path(key)).query("uploadId", &upload)).await;
        return None;
    }
    let body = format!("<CompleteMultipartUpload>{list}</CompleteMultipartUpload>");
    let call = Call::new(Method::POST, &path(key)).query("uploadId", &upload).body(body);
    let answer = client.send(call).await;
    // An error may come in the body of a 200.
    if let Some((status, _, body)) = &answer
        && status.is_success()
        && !String::from_utf8_lossy(body).contains("<CompleteMultipartUploadResult")
    {
        return Some(Outcome::Unknown);
    }
    Some(outcome(answer))
}

struct Run {
    server: Server,
    keys: Vec<BTreeMap<String, Known>>,
    dice: Dice,
    kills: u32,
    _database: Option<postgres::Database>,
}

impl Run {
    fn new(database: Option<postgres::Database>) -> Self {
        let mut server = Server::new(&["--bucket", "demo"]);
        let settings = [
            ("GC_GRACE", "0s"),
            ("INSTANCE_TIMEOUT", "1s"),
            ("MAINTENANCE_INTERVAL", "150ms"),
            ("SWEEP_AGAIN", "500ms"),
            ("QUARANTINE_KEEP", "0s"),
            ("SNAPSHOT_INTERVAL", "1s"),
            ("SNAPSHOT_KEEP", "1"),
            ("LOG", "warn"),
        ];
        for (name, value) in settings {
            server.set_env(&format!("NINEFOLD_{name}"), Some(value));
        }
        if let Some(database) = &database {
            server.set_env("NINEFOLD_DATABASE_URL", Some(&database.url));
        }
        let seed = u64::from_le_bytes(ninefold::clock::random_bytes());
        println!("seed {seed}");
        let keys = (0..CLIENTS).map(|_| BTreeMap::new()).collect();
        Self { server, keys, dice: Dice(seed | 1), kills: 0, _database: database }
    }

    /// Has all clients write until the server is gone, or for this time.
    async fn load(&mut self, time: Duration) {
        let client = Client::new(self.server.address());
        let until = Instant::now() + time;
        let mut tasks = Vec::new();
        for (number, keys) in std::mem::take(&mut self.keys).into_iter().enumerate() {
            let seed = self.dice.roll(u64::MAX);
            tasks.push(tokio::spawn(write(client.clone(), number as u64, keys, seed, until)));
        }
        for task in tasks {
            self.keys.push(task.await.unwrap());
        }
    }

    /// Kills the server at some instant while clients write.
    async fn kill_at_random(&mut self) {
        self.start();
        self.verify().await;
        let time = Duration::from_millis(20 + self.dice.roll(1200));
        let server = std::mem::replace(&mut self.server, Server::new(&[]));
        let address = server.address();
        let killer = tokio::task::spawn_blocking(move || {
            let mut server = server;
            std::thread::sleep(time);
            server.kill();
            server
        });
        self.server.set_address(address);
        self.load(Duration::from_secs(60)).await;
        self.server = killer.await.unwrap();
        self.kills += 1;
    }

    /// Has the server die at a point; answers whether it got there.
    async fn die_at(&mut self, point: &str) -> bool {
        // What happens seldom happens once.
        let seldom =
            ["ids.", "abort.", "pack.ended", "compact.", "sweep."].iter().any(|seldom| point.starts_with(seldom));
        let nth = if seldom { 1 } else { 1 + self.dice.roll(3) };
        self.server.set_env("NINEFOLD_CRASH_AT", Some(&format!("{point}:{nth}")));
        let mut died = self.server.start_or_die().is_some();
        if !died {
            self.load(Duration::from_secs(12)).await;
            died = self.server.ended().is_some();
        }
        // Some steps are only made at the end.
        if !died && point == "pack.ended" {
            died = !self.server.end(Signal::TERM).success();
        }
        self.server.kill();
        self.server.set_env("NINEFOLD_CRASH_AT", None);
        self.kills += 1;
        self.start();
        self.verify().await;
        self.server.kill();
        died
    }

    fn start(&mut self) {
        self.server.start();
    }

    /// Reads everything back, and has the store checked.
    async fn verify(&mut self) {
        let client = Client::new(self.server.address());
        let mut there = BTreeSet::new();
        for known in self.keys.iter_mut().flatten() {
            let (key, known) = known;
            let (status, _, body) = client.send(Call::new(Method::GET, &path(key))).await.expect("an answer");
            let allowed: Vec<_> = std::iter::once(&known.sure).chain(&known.maybe).collect();
            let found = match status {
                StatusCode::NOT_FOUND => None,
                StatusCode::OK => Some(body),
                status => panic!("{key}: {status}: {}", String::from_utf8_lossy(&body)),
            };
            let matching = allowed.iter().find(|allowed| match (allowed, &found) {
                (Some(parts), Some(body)) => {
                    *parts.iter().map(|part| part.bytes()).collect::<Vec<_>>().concat() == **body
                }
                (None, None) => true,
                _ => false,
            });
            let Some(matching) = matching else {
                panic!(
                    "{key} holds {:?} bytes, which is none of {allowed:?} (kill {})",
                    found.map(|body| body.len()),
                    self.kills
                );
            };
            let now = (*matching).clone();
            there.extend(now.is_some().then(|| key.clone()));
            *known = Known { sure: now, maybe: Vec::new() };
        }
        let (status, _, body) = client.send(Call::new(Method::GET, "/demo").query("list-type", "2")).await.unwrap();
        assert_eq!(status, StatusCode::OK);
        let body = String::from_utf8(body.to_vec()).unwrap();
        let listed: BTreeSet<String> =
            body.split("<Key>").skip(1).map(|rest| rest.split('<').next().unwrap().to_owned()).collect();
        assert_eq!(listed, there);
        self.check(&[]);
    }

    /// `ninefold check`; answers its summary.
    fn check(&self, more: &[&str]) -> serde_json::Value {
        let output = self.server.command(&[&["check", "--json"], more].concat()).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(
            output.status.success(),
            "check after {} kills: {}\n{said}{}\n{}",
            self.kills,
            output.status,
            String::from_utf8_lossy(&output.stderr),
            self.server.output()
        );
        serde_json::from_str(said.lines().last().unwrap()).unwrap()
    }

    /// Once everything had time to be tidied up, no file is left that no row names, and every block is whole.
    fn assert_no_leak(&mut self) {
        // Each new snapshot leaves an old one to be removed: with one that comes when it is asked for there is an end to it.
        self.server.set_env("NINEFOLD_SNAPSHOT_INTERVAL", Some("0s"));
        self.server.start();
        let deadline = Instant::now() + TIDY_WITHIN;
        loop {
            let summary = self.check(&[]);
            let on_disk = files(&self.server.home().join("data/volumes"));
            if summary["files"] == on_disk && quarantined(&self.server) == 0 {
                break;
            }
            assert!(Instant::now() < deadline, "{on_disk} files are there: {summary}\n{}", self.server.output());
            std::thread::sleep(Duration::from_millis(200));
        }
        self.server.kill();
        let summary = self.check(&["--deep"]);
        assert!(summary["verified"].as_u64().unwrap() > 0, "{summary}");
    }
}

/// The shard files below a directory of volumes.
fn files(volumes: &Path) -> u64 {
    let mut count = 0;
    for volume in std::fs::read_dir(volumes).unwrap() {
        for fan_out in std::fs::read_dir(volume.unwrap().path().join("shards")).unwrap() {
            count += std::fs::read_dir(fan_out.unwrap().path()).unwrap().count() as u64;
        }
    }
    count
}

fn quarantined(server: &Server) -> usize {
    let volumes = std::fs::read_dir(server.home().join("data/volumes")).unwrap();
    volumes.map(|volume| std::fs::read_dir(volume.unwrap().path().join("quarantine")).unwrap().count()).sum()
}

/// What was asked for: kills at random instants, if it was.
fn asked() -> Option<u32> {
    std::env::var("NINEFOLD_CRASH_KILLS").ok().map(|kills| kills.parse().expect("NINEFOLD_CRASH_KILLS is a number"))
}

async fn run(database: Option<postgres::Database>, points: &[&'static str], kills: u32) {
    let mut run = Run::new(database);
    // Something to be there first.
    run.start();
    run.load(Duration::from_secs(1)).await;
    run.server.kill();
    let mut unreached = Vec::new();
    for point in points {
        let started = Instant::now();
        if !run.die_at(point).await {
            unreached.push(*point);
        }
        println!("{point}: {:.1} s", started.elapsed().as_secs_f32());
    }
    for _ in 0..kills {
        run.kill_at_random().await;
    }
    run.assert_no_leak();
    println!("{} kills", run.kills);
    assert!(unreached.is_empty(), "no process got to {unreached:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite() {
    let mut points = ninefold::crash::POINTS.to_vec();
    if asked().is_none() {
        // Each run has its turn at others.
        let mut dice = Dice(u64::from_le_bytes(ninefold::clock::random_bytes()) | 1);
        while points.len() > POINTS_A_RUN {
            points.swap_remove(dice.roll(points.len() as u64) as usize);
        }
    }
    run(None, &points, asked().unwrap_or(3)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres() {
    let database = postgres::Database::new().await;
    // The steps are the same; those whose outcome is the database's business are worth their time.
    let points: Vec<_> = ninefold::crash::POINTS.iter().filter(|point| point.starts_with("commit.")).copied().collect();
    let points = if asked().is_some() { ninefold::crash::POINTS } else { &points };
    run(Some(database), points, asked().unwrap_or(3)).await;
}
