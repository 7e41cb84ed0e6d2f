//! The operator's commands, beside a running server and without one.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

#[path = "support/commands.rs"]
mod commands;
#[path = "support/requests.rs"]
mod requests;
#[path = "support/server.rs"]
mod server;
#[path = "support/signing.rs"]
#[allow(dead_code, reason = "this suite needs the plainest of it")]
mod signing;

use std::time::{Duration, Instant};

use http::StatusCode;
use rustix::process::Signal;
use serde_json::Value;

use commands::{fails, json, succeeds};
use requests::{content, get, put};
use server::Server;

const OBJECTS: u32 = 12;

fn len(seed: u32) -> usize {
    [100, 20_000, 300_000, 2 << 20][seed as usize % 4] + seed as usize
}

async fn put_all(server: &Server) {
    for seed in 0..OBJECTS {
        put(server, &format!("{seed}"), content(seed, len(seed))).await;
    }
}

async fn get_all(server: &Server) {
    for seed in 0..OBJECTS {
        let (status, body) = get(server, &format!("{seed}")).await;
        assert_eq!(status, StatusCode::OK);
        assert!(body == content(seed, len(seed)), "object {seed} came back with {} bytes", body.len());
    }
}

fn volume<'a>(status: &'a Value, id: &str) -> &'a Value {
    status["volumes"].as_array().unwrap().iter().find(|volume| volume["id"] == id).expect("it is registered")
}

/// Waits, for what the server does by itself.
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(300);
    while !holds() {
        assert!(Instant::now() < deadline, "not so yet: {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn volumes_come_and_go_beside_a_running_server() {
    let mut server = Server::new(&["--bucket", "demo", "--heal-rate", "0", "--scrub-rate", "0"]);
    server.start();
    put_all(&server).await;
    // Small objects are in chunks that are still open; a new start seals them.
    server.end(Signal::TERM);
    server.start();
    // And then there is an open one again, whose end nobody who drains or replaces a volume must wait for.
    put(&server, "late", content(99, 100)).await;

    succeeds(&server, &["volume", "add", "path=data/volumes/v10,id=v10"]);
    assert!(fails(&server, &["volume", "add", "path=data/volumes/v10,id=v10"]).contains("v10"));
    succeeds(&server, &["volume", "rebalance"]);
    let status = json(&server, &["status", "--json"]);
    assert!(volume(&status, "v10")["shards"].as_u64().unwrap() > 0);
    assert_eq!(status["instances"].as_array().unwrap().len(), 1);
    get_all(&server).await;

    assert!(fails(&server, &["volume", "remove", "v2"]).contains("drain"));
    assert!(fails(&server, &["volume", "drain", "v77"]).contains("v77"));
    succeeds(&server, &["volume", "drain", "v2"]);
    assert_eq!(volume(&json(&server, &["status", "--json"]), "v2")["shards"], 0);
    succeeds(&server, &["volume", "remove", "v2"]);
    get_all(&server).await;

    // A working volume is not replaced.
    assert!(fails(&server, &["volume", "replace", "v3"]).contains("drain"));
    let lost = server.home().join("data/volumes/v3");
    std::fs::remove_dir_all(&lost).unwrap();
    until("the loss of v3 is known", || volume(&json(&server, &["status", "--json"]), "v3")["status"] == "failed");
    std::fs::create_dir(&lost).unwrap();
    let said = succeeds(&server, &["volume", "replace", "v3"]);
    assert!(said.contains("heal: done"), "{said}");
    succeeds(&server, &["scrub", "--wait"]);
    get_all(&server).await;
    let table = succeeds(&server, &["volume", "list"]);
    assert!(table.contains("v10") && table.contains("healthy") && !table.contains("v2 "), "{table}");
    let table = succeeds(&server, &["status"]);
    assert!(table.contains("0 damaged") && table.contains("scrub: done"), "{table}");

    // Where no server runs the command does the work itself.
    server.end(Signal::TERM);
    let shards = server.home().join("data/volumes/v4/shards");
    let hurt = std::fs::read_dir(shards).unwrap().find_map(|fan_out| {
        std::fs::read_dir(fan_out.unwrap().path()).unwrap().next().map(|file| file.unwrap().path())
    });
    std::fs::remove_file(hurt.unwrap()).unwrap();
    let said = succeeds(&server, &["scrub", "--wait"]);
    assert!(said.contains("1 found"), "{said}");
    succeeds(&server, &["heal", "--wait"]);
    assert!(succeeds(&server, &["scrub", "--wait"]).contains("scrub: done"));
    assert!(!succeeds(&server, &["scrub"]).is_empty());
    server.start();
    get_all(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebalance_goes_on_after_a_kill() {
    // A snapshot would be one more chunk than there were when it began.
    let arguments = ["--bucket", "demo", "--scrub-rate", "0", "--snapshot-interval", "0s"];
    let mut server = Server::new(&arguments).env("NINEFOLD_HEAL_RATE", "1MiB");
    server.start();
    for seed in 0..60 {
        put(&server, &format!("{seed}"), content(seed, 400_000)).await;
    }
    succeeds(&server, &["volume", "add", "path=data/volumes/v10,id=v10"]);
    succeeds(&server, &["volume", "rebalance", "--detach"]);
    let rebalance = |server: &Server| -> Value {
        let status = json(server, &["status", "--json"]);
        let jobs = status["jobs"].as_array().unwrap();
        jobs.iter().find(|job| job["name"] == "rebalance").unwrap().clone()
    };
    until("it has begun", || rebalance(&server)["done"].as_u64().unwrap() > 0);
    server.kill();
    let before = rebalance(&server);
    assert_eq!(before["state"], "running");
    let mut server = server.env("NINEFOLD_HEAL_RATE", "0");
    server.start();
    // The dead instance's leases are free once it is judged dead.
    succeeds(&server, &["volume", "rebalance"]);
    let after = rebalance(&server);
    assert_eq!((after["state"].as_str(), &after["started"]), (Some("done"), &before["started"]));
    assert_eq!(after["done"], after["total"], "it went on where it stopped");
    succeeds(&server, &["scrub", "--wait"]);
    for seed in 0..60 {
        let (status, body) = get(&server, &format!("{seed}")).await;
        assert!(status == StatusCode::OK && body == content(seed, 400_000), "object {seed}");
    }
}

#[test]
fn what_is_no_store_is_told() {
    let server = Server::new(&[]);
    assert!(fails(&server, &["status"]).contains("no database"));
    assert!(!server.home().join("data").exists(), "nothing is made");
}

/// One that is being made when a snapshot is asked for has not all in it that was there by then.
#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_is_asked_for_begins_afterwards() {
    let mut server = Server::new(&["--bucket", "demo"]);
    server.set_env("NINEFOLD_SNAPSHOT_INTERVAL", Some("1h"));
    // The first, which nobody asks for, has looked at all tables and goes no further.
    server.set_env("NINEFOLD_STOP_AT", Some("snapshot.synced"));
    server.spawn();
    let deadline = Instant::now() + Duration::from_secs(60);
    while !server.is_stopped() {
        assert!(Instant::now() < deadline, "it has not stopped: {}", server.output());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let asked = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as i64;
    let mut command = server.command(&["snapshot"]).spawn().unwrap();
    // Long enough for it to have asked; one that is slower asks for a new one in any case.
    tokio::time::sleep(Duration::from_secs(4)).await;
    server.signal(Signal::CONT);
    assert!(tokio::task::spawn_blocking(move || command.wait()).await.unwrap().unwrap().success());
    let status = json(&server, &["status", "--json"]);
    assert!(status["snapshot"]["began"].as_i64().unwrap() >= asked, "{status:#}");
}
