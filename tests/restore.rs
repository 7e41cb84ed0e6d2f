//! The database is gone: a store comes back from its volumes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[path = "support/commands.rs"]
mod commands;
#[path = "support/postgres.rs"]
mod postgres;
#[path = "support/requests.rs"]
mod requests;
#[path = "support/server.rs"]
mod server;
#[path = "support/signing.rs"]
#[allow(dead_code, reason = "this suite needs the plainest of it")]
mod signing;

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Output, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, StatusCode};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use sqlx::Connection;

use commands::{fails, json, succeeds};
use postgres::Database;
use requests::{content, get, put, send};
use server::Server;
use signing::Call;

const OBJECTS: u32 = 12;

fn len(seed: u32) -> usize {
    [0, 700, 20_000, 300_000, 2 << 20][seed as usize % 5] + (seed as usize * 7) % 13
}

async fn put_all(server: &Server) {
    for seed in 0..OBJECTS {
        put(server, &format!("{seed}"), content(seed, len(seed))).await;
    }
}

async fn assert_all(server: &Server) {
    for seed in 0..OBJECTS {
        let (status, body) = get(server, &format!("{seed}")).await;
        assert_eq!(status, StatusCode::OK, "object {seed}: {body:?}");
        assert!(body == content(seed, len(seed)), "object {seed} came back with {} bytes", body.len());
    }
}

async fn listed(server: &Server) -> String {
    let (status, _, body) = send(server, Call::new(Method::GET, "/demo").query("list-type", "2")).await;
    assert_eq!(status, StatusCode::OK);
    String::from_utf8(body.to_vec()).unwrap()
}

fn volume(server: &Server, number: u32) -> PathBuf {
    server.home().join(format!("data/volumes/v{number}"))
}

fn names(report: &Value, what: &str) -> BTreeSet<String> {
    let list = report["report"][what].as_array().unwrap();
    list.iter().map(|named| named["key"].as_str().unwrap().to_owned()).collect()
}

/// Removes the SQLite database, with all that SQLite has beside it.
fn lose_database(server: &Server) {
    for file in std::fs::read_dir(server.home().join("data")).unwrap() {
        let path = file.unwrap().path();
        if path.file_name().unwrap().to_str().unwrap().starts_with("metadata.sqlite") {
            std::fs::remove_file(path).unwrap();
        }
    }
}

/// Waits until the log on the volumes has all that the SQLite database has.
async fn until_logged(server: &Server) {
    let url = format!("sqlite:{}?mode=ro", server.home().join("data/metadata.sqlite").display());
    let database = sqlx::SqlitePool::connect(&url).await.unwrap();
    let wanted: i64 = sqlx::query_scalar("SELECT log_seq FROM deployment").fetch_one(&database).await.unwrap();
    database.close().await;
    let last =
        |name: &str| name.strip_prefix("log.")?.split('.').nth(2).map(|last| i64::from_str_radix(last, 16).unwrap());
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let names = std::fs::read_dir(volume(server, 1).join("snapshots")).unwrap();
        let names = names.map(|file| file.unwrap().file_name().into_string().unwrap());
        if names.filter_map(|name| last(&name)).max() >= Some(wanted) {
            return;
        }
        assert!(Instant::now() < deadline, "the log does not get to {wanted}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Loses the database and three volumes, and has everything back: from a store on one database, into another. On SQLite that is all,
/// as the log goes on after the snapshot; on PostgreSQL what is newer is named.
async fn comes_back(from: Option<Database>, into: Option<Database>) {
    let logged = from.is_none();
    let mut server = Server::new(&["--bucket", "demo"]);
    server.set_env("NINEFOLD_SNAPSHOT_INTERVAL", Some("1h"));
    server.set_env("NINEFOLD_DATABASE_URL", from.as_ref().map(|database| database.url.as_str()));
    server.start();
    put_all(&server).await;
    // An upload that goes on afterwards.
    let call = Call::new(Method::POST, "/demo/parts").query("uploads", "");
    let (_, _, body) = send(&server, call).await;
    let body = String::from_utf8(body.to_vec()).unwrap();
    let upload = body.split("<UploadId>").nth(1).unwrap().split('<').next().unwrap().to_owned();
    let part = |number: &str, body: Bytes| {
        Call::new(Method::PUT, "/demo/parts").query("partNumber", number).query("uploadId", &upload).body(body)
    };
    let (status, headers, _) = send(&server, part("1", content(77, 5 << 20))).await;
    assert_eq!(status, StatusCode::OK);
    let first = headers["etag"].to_str().unwrap().to_owned();
    let before = listed(&server).await;

    succeeds(&server, &["snapshot"]);
    let status = json(&server, &["status", "--json"]);
    let id = status["snapshot"]["id"].as_str().unwrap().to_owned();
    put(&server, "newer-small", content(1, 900)).await;
    put(&server, "newer-large", content(2, 200_000)).await;
    if logged {
        put(&server, "newer-gone", content(4, 300_000)).await;
        let (status, _, _) = send(&server, Call::new(Method::DELETE, "/demo/newer-gone")).await;
        assert_eq!(status, StatusCode::NO_CONTENT);
        until_logged(&server).await;
    }
    server.kill();
    if from.is_none() {
        lose_database(&server);
    }
    let away = server.home().join("away");
    std::fs::create_dir(&away).unwrap();
    for number in [2, 5, 9] {
        std::fs::rename(volume(&server, number), away.join(format!("v{number}"))).unwrap();
    }

    server.set_env("NINEFOLD_DATABASE_URL", into.as_ref().map(|database| database.url.as_str()));
    let list = json(&server, &["restore", "--list", "--json"]);
    assert_eq!(list["snapshots"][0]["id"], id.as_str());
    let dry = json(&server, &["restore", "--dry-run", "--json"]);
    assert_eq!(dry["restored"], false);
    let newer: BTreeSet<String> = ["newer-small", "newer-large"].map(str::to_owned).into();
    let newer = if logged { BTreeSet::new() } else { newer };
    assert_eq!(names(&dry, "newer"), newer, "{dry:#}");
    let restored = json(&server, &["restore", "--json"]);
    assert_eq!((restored["snapshot"].as_str(), &restored["restored"]), (Some(id.as_str()), &Value::Bool(true)));
    assert_eq!(names(&restored, "newer"), newer, "{restored:#}");
    assert_eq!(names(&restored, "lost"), BTreeSet::new());
    let sizes: BTreeSet<u64> =
        restored["report"]["newer"].as_array().unwrap().iter().map(|named| named["bytes"].as_u64().unwrap()).collect();
    assert_eq!(sizes, if logged { BTreeSet::new() } else { [900, 200_000].into() });
    assert_eq!((restored["replayed"].as_u64().unwrap() > 3, &restored["gap"]), (logged, &Value::Bool(false)));
    assert!(fails(&server, &["restore"]).contains("empty database"));

    server.start();
    assert_all(&server).await;
    if logged {
        assert!(get(&server, "newer-small").await.1 == content(1, 900));
        assert!(get(&server, "newer-large").await.1 == content(2, 200_000));
        assert_eq!(get(&server, "newer-gone").await.0, StatusCode::NOT_FOUND);
    } else {
        assert_eq!(listed(&server).await, before);
        assert_eq!(get(&server, "newer-large").await.0, StatusCode::NOT_FOUND);
    }
    // The upload goes on where it was.
    let (status, headers, _) = send(&server, part("2", content(78, 1000))).await;
    assert_eq!(status, StatusCode::OK);
    let second = headers["etag"].to_str().unwrap().to_owned();
    let parts: String = [(1, first), (2, second)]
        .map(|(number, etag)| format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>"))
        .concat();
    let body = format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>");
    let complete = Call::new(Method::POST, "/demo/parts").query("uploadId", &upload).body(body);
    let (status, _, answer) = send(&server, complete).await;
    assert!(status == StatusCode::OK && answer.windows(6).any(|w| w == b"Result"), "{answer:?}");
    assert!(get(&server, "parts").await.1 == [content(77, 5 << 20), content(78, 1000)].concat());
    put(&server, "after", content(3, 400_000)).await;
    let (status, _, _) = send(&server, Call::new(Method::DELETE, "/demo/3")).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    put(&server, "3", content(3, len(3))).await;

    // The volumes come back; all is healed, and what nobody knows is put aside.
    server.end(Signal::TERM);
    for number in [2, 5, 9] {
        std::fs::rename(away.join(format!("v{number}")), volume(&server, number)).unwrap();
    }
    server.start();
    succeeds(&server, &["heal", "--wait"]);
    succeeds(&server, &["scrub", "--wait"]);
    succeeds(&server, &["snapshot"]);
    server.end(Signal::TERM);
    let said = succeeds(&server, &["check", "--deep"]);
    assert!(said.contains("All is well"), "{said}");
    server.start();
    assert_all(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn from_sqlite_into_sqlite() {
    comes_back(None, None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn from_postgres_into_postgres() {
    comes_back(Some(Database::new().await), Some(Database::new().await)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn from_sqlite_into_postgres() {
    comes_back(None, Some(Database::new().await)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn from_postgres_into_sqlite() {
    comes_back(Some(Database::new().await), None).await;
}

/// The shard files that hold a snapshot.
fn shards_of(server: &Server, snapshot: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for number in 1..=9 {
        for fan_out in std::fs::read_dir(volume(server, number).join("shards")).unwrap() {
            for file in std::fs::read_dir(fan_out.unwrap().path()).unwrap() {
                let path = file.unwrap().path();
                let head = std::fs::read(&path).unwrap();
                let head = &head[..head.len().min(4096)];
                if head.windows(snapshot.len()).any(|window| window == snapshot.as_bytes()) {
                    found.push(path);
                }
            }
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_cannot_be_read_is_passed_over() {
    let mut server = Server::new(&["--bucket", "demo", "--snapshot-keep", "2"]);
    server.set_env("NINEFOLD_SNAPSHOT_INTERVAL", Some("0s"));
    server.start();
    let newest = |server: &Server| -> String {
        succeeds(server, &["snapshot"]);
        json(server, &["snapshot", "--list", "--json"])[0]["id"].as_str().unwrap().to_owned()
    };
    put_all(&server).await;
    let ids: Vec<String> = (0..3).map(|_| newest(&server)).collect();
    // The oldest goes after the newest is complete.
    let deadline = Instant::now() + Duration::from_secs(60);
    while (1..=9).any(|number| std::fs::read_dir(volume(&server, number).join("snapshots")).unwrap().count() > 2) {
        assert!(Instant::now() < deadline, "the oldest snapshot is still there");
        std::thread::sleep(Duration::from_millis(50));
    }
    server.kill();
    lose_database(&server);
    let restored = |server: &Server| -> Value { json(server, &["restore", "--dry-run", "--json"]) };
    assert_eq!(restored(&server)["snapshot"], ids[2].as_str());
    // Three shards are not missed, a fourth is.
    let shards = shards_of(&server, &ids[2]);
    assert_eq!(shards.len(), 9);
    for shard in &shards[..3] {
        std::fs::remove_file(shard).unwrap();
    }
    assert_eq!(restored(&server)["snapshot"], ids[2].as_str());
    let mut damaged = std::fs::read(&shards[3]).unwrap();
    damaged[4200] ^= 1;
    std::fs::write(&shards[3], damaged).unwrap();
    let said = restored(&server);
    assert_eq!(said["snapshot"], ids[1].as_str());
    assert!(said["report"]["skipped"][0].as_str().unwrap().contains(&ids[2]), "{said:#}");
    assert!(fails(&server, &["restore", "--snapshot", &ids[2]]).contains("good blocks"));
    assert!(
        !server.home().join("data/metadata.sqlite").exists() || {
            lose_database(&server);
            true
        }
    );
    // Of the last good one all manifests but one are damaged.
    for number in 1..=8 {
        std::fs::write(volume(&server, number).join(format!("snapshots/snapshot.{}", ids[1])), "nothing").unwrap();
    }
    assert_eq!(restored(&server)["snapshot"], ids[1].as_str());
    // The first is not kept any more.
    assert!(fails(&server, &["restore", "--snapshot", &ids[0]]).contains("there is no snapshot"));
    succeeds(&server, &["restore", "--snapshot", &ids[1]]);
    server.start();
    assert_all(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn volumes_of_two_deployments_are_refused() {
    let [mut one, mut other] = [Server::new(&["--bucket", "demo"]), Server::new(&["--bucket", "demo"])];
    for server in [&mut one, &mut other] {
        server.start();
        server.end(Signal::TERM);
    }
    lose_database(&one);
    let mixed = |path: &Path| format!("path={}/data/volumes/v{{1...4}},id=x{{1...4}}", path.display());
    let second = mixed(other.home()).replace("id=x", "id=y");
    assert!(fails(&one, &["restore", &mixed(one.home()), &second]).contains("one deployment"));
    let few = format!("path={}/data/volumes/v{{1...6}},id=x{{1...6}}", one.home().display());
    std::fs::remove_dir_all(volume(&one, 6)).unwrap();
    assert!(fails(&one, &["restore", &few]).contains("six are needed"));
}

/// The files of the log on a volume, in order.
fn log_files(server: &Server, number: u32) -> Vec<PathBuf> {
    let files = std::fs::read_dir(volume(server, number).join("snapshots")).unwrap();
    let mut files: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    files.retain(|file| file.file_name().unwrap().to_str().unwrap().starts_with("log."));
    files.sort();
    files
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_followed_as_far_as_it_has_no_gap() {
    let mut server = Server::new(&["--bucket", "demo"]);
    server.set_env("NINEFOLD_SNAPSHOT_INTERVAL", Some("1h"));
    server.start();
    succeeds(&server, &["snapshot"]);
    for seed in 0..3 {
        put(&server, &seed.to_string(), content(seed, len(seed))).await;
        until_logged(&server).await;
    }
    server.kill();
    lose_database(&server);
    let restored = |server: &Server| -> Value { json(server, &["restore", "--dry-run", "--json"]) };
    let whole = restored(&server);
    assert_eq!((names(&whole, "newer"), &whole["gap"]), (BTreeSet::new(), &Value::Bool(false)), "{whole:#}");
    // One copy of nine is enough.
    for number in 1..=8 {
        for file in log_files(&server, number) {
            std::fs::write(file, "nothing").unwrap();
        }
    }
    assert_eq!(restored(&server)["replayed"], whole["replayed"]);
    // Without the last but one, what is behind it cannot be done again either: it is named.
    let files = log_files(&server, 9);
    std::fs::remove_file(&files[files.len() - 2]).unwrap();
    let cut = restored(&server);
    assert_eq!(cut["gap"], true);
    assert!(cut["replayed"].as_u64() < whole["replayed"].as_u64(), "{cut:#}");
    assert!(names(&cut, "newer").contains("2"), "{cut:#}");
    succeeds(&server, &["restore"]);
    server.start();
    assert!(get(&server, "0").await.1 == content(0, len(0)));
    assert_eq!(get(&server, "2").await.0, StatusCode::NOT_FOUND);
    // The new life's log is its own: nothing of the old one's is taken for it.
    put(&server, "2", content(9, len(2))).await;
    until_logged(&server).await;
    succeeds(&server, &["snapshot"]);
    put(&server, "3", content(3, len(3))).await;
    server.end(Signal::TERM);
    lose_database(&server);
    let again = json(&server, &["restore", "--json"]);
    assert_eq!(again["gap"], false, "{again:#}");
    server.start();
    assert!(get(&server, "2").await.1 == content(9, len(2)));
    assert!(get(&server, "3").await.1 == content(3, len(3)), "an orderly end leaves nothing out of the log");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_log_before_the_answer_nothing_acknowledged_is_lost() {
    let mut server = Server::new(&["--bucket", "demo", "--change-log", "answer"]);
    server.set_env("NINEFOLD_SNAPSHOT_INTERVAL", Some("1h"));
    server.start();
    succeeds(&server, &["snapshot"]);
    for round in 0..3 {
        put_all(&server).await;
        put(&server, "last", content(round, 1000 + round as usize)).await;
        server.kill();
        lose_database(&server);
        let restored = json(&server, &["restore", "--json"]);
        assert_eq!((names(&restored, "newer"), &restored["gap"]), (BTreeSet::new(), &Value::Bool(false)));
        server.start();
        assert_all(&server).await;
        assert!(get(&server, "last").await.1 == content(round, 1000 + round as usize));
        // A restored store's log goes on from a snapshot of its own.
        succeeds(&server, &["snapshot"]);
    }
}

/// A store with objects, a snapshot, and objects after it, whose database is lost.
async fn lost(from: Option<&Database>) -> Server {
    let mut server = Server::new(&["--bucket", "demo"]);
    server.set_env("NINEFOLD_SNAPSHOT_INTERVAL", Some("1h"));
    server.set_env("NINEFOLD_DATABASE_URL", from.map(|database| database.url.as_str()));
    server.start();
    put_all(&server).await;
    succeeds(&server, &["snapshot"]);
    if from.is_none() {
        put(&server, "late", content(7, 70_000)).await;
        until_logged(&server).await;
    }
    server.kill();
    if from.is_none() {
        lose_database(&server);
    }
    server
}

/// A restore dies at every step. What it leaves is empty, whatever is tried with it meanwhile, until all is there.
async fn is_cut_and_done_again(from: Option<Database>, into: Option<Database>) {
    let mut server = lost(from.as_ref()).await;
    server.set_env("NINEFOLD_DATABASE_URL", into.as_ref().map(|database| database.url.as_str()));
    let dies_at = |server: &Server, point: &str| {
        let mut restore = server.command(&["restore"]);
        let output = restore.env("NINEFOLD_CRASH_AT", point).output().unwrap();
        assert_eq!(output.status.signal(), Some(9), "{point}: {}", String::from_utf8_lossy(&output.stderr));
    };
    // The fifth page is in the midst of the rows.
    for point in ["restore.begun", "restore.page", "restore.page:5", "restore.replayed", "restore.filled"] {
        dies_at(&server, point);
        // Somebody who starts a server on what is left is told whose the volumes are, and spoils nothing.
        let status = server.start_or_die().expect("there is nothing to start on");
        assert!(!status.success());
        assert!(server.output().contains("of deployment"), "{point}: {}", server.output());
    }
    dies_at(&server, "restore.committed");
    assert!(fails(&server, &["restore"]).contains("empty database"), "it was restored already");
    server.start();
    assert_all(&server).await;
    if from.is_none() {
        assert!(get(&server, "late").await.1 == content(7, 70_000));
    }
    put(&server, "after", content(8, 300_000)).await;
    // An open packed chunk has no trailers.
    server.end(Signal::TERM);
    let said = succeeds(&server, &["check", "--deep"]);
    assert!(said.contains("All is well"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_into_sqlite_that_is_cut_can_be_done_again() {
    is_cut_and_done_again(None, None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_into_postgres_that_is_cut_can_be_done_again() {
    is_cut_and_done_again(None, Some(Database::new().await)).await;
}

/// Waits, for what another process does.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while !holds().await {
        assert!(Instant::now() < deadline, "not so yet: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Begins a restore that stops at a point; answers once it has.
async fn stopped_at(server: &Server, point: &str) -> Child {
    let mut restore = server.command(&["restore"]);
    restore.env("NINEFOLD_STOP_AT", point).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = restore.spawn().unwrap();
    until("the restore has stopped", async || server::is_stopped(&child)).await;
    child
}

fn goes_on(child: Child) -> Output {
    kill_process(Pid::from_child(&child), Signal::CONT).unwrap();
    child.wait_with_output().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_else_gets_at_an_sqlite_that_is_being_restored() {
    let mut server = lost(None).await;
    for point in ["restore.begun", "restore.filled"] {
        let restore = stopped_at(&server, point).await;
        assert!(!server.start_or_die().expect("it cannot start").success());
        assert!(server.output().contains("in use"), "{}", server.output());
        assert!(fails(&server, &["restore"]).contains("in use"));
        let output = goes_on(restore);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        server.start();
        assert_all(&server).await;
        server.kill();
        lose_database(&server);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_else_gets_at_a_postgres_that_is_being_restored() {
    let mut server = lost(None).await;
    // So short that those who wait give up before the restore goes on, and that it is idle for longer than others may be.
    server.set_env("NINEFOLD_DATABASE_STATEMENT_TIMEOUT", Some("6s"));
    for point in ["restore.begun", "restore.page:5", "restore.filled"] {
        let database = Database::new().await;
        server.set_env("NINEFOLD_DATABASE_URL", Some(&database.url));
        let restore = stopped_at(&server, point).await;
        let mut second = server.command(&["restore"]);
        let second = second.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let status = server.start_or_die().expect("it does not start while it waits");
        assert!(!status.success());
        let second = second.wait_with_output().unwrap();
        assert!(!second.status.success(), "{point}: it would be restored twice");
        // One that waits longer finds what was restored.
        let mut patient = server.command(&["restore"]);
        patient.env("NINEFOLD_DATABASE_STATEMENT_TIMEOUT", "5m").stdout(Stdio::piped()).stderr(Stdio::piped());
        let patient = patient.spawn().unwrap();
        let mut look = sqlx::PgConnection::connect(&database.url).await.unwrap();
        let waiting =
            "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
        until("the other restore waits", async || {
            sqlx::query_scalar::<_, i64>(waiting).fetch_one(&mut look).await.unwrap() == 1
        })
        .await;
        look.close().await.unwrap();
        let output = goes_on(restore);
        assert!(output.status.success(), "{point}: {}", String::from_utf8_lossy(&output.stderr));
        let patient = patient.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&patient.stderr);
        assert!(!patient.status.success() && said.contains("empty database"), "{point}: {said}");
        server.start();
        assert_all(&server).await;
        server.kill();
        drop(database);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_began_to_start_before_a_restore_serves_what_was_restored() {
    let mut server = lost(None).await;
    let database = Database::new().await;
    server.set_env("NINEFOLD_DATABASE_URL", Some(&database.url));
    // It has given the empty database a name, and goes no further.
    server.set_env("NINEFOLD_STOP_AT", Some("start.named"));
    server.spawn();
    until("the start has stopped", async || server.is_stopped()).await;
    server.set_env("NINEFOLD_STOP_AT", None);
    succeeds(&server, &["restore"]);
    server.signal(Signal::CONT);
    until("it is ready", async || server.health("ready") == Some(200)).await;
    assert_all(&server).await;
}
