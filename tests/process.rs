//! The program as a process: what holds across its death, and what it tells another one.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

#[path = "support/requests.rs"]
mod requests;
#[path = "support/server.rs"]
mod server;
#[path = "support/signing.rs"]
#[allow(dead_code, reason = "this suite needs the plainest of it")]
mod signing;

use std::process::Command;

use http::StatusCode;
use rustix::process::Signal;

use requests::{content, get, put};
use server::Server;

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_a_kill() {
    let mut server = Server::new(&["--bucket", "demo"]);
    server.start();
    let lens = [0, 1, 70_000, 1 << 20, (3 << 20) + 17];
    for (seed, len) in lens.into_iter().enumerate() {
        put(&server, &format!("{seed}"), content(seed as u32, len)).await;
    }
    server.kill();
    server.start();
    for (seed, len) in lens.into_iter().enumerate() {
        let (status, body) = get(&server, &format!("{seed}")).await;
        assert_eq!(status, StatusCode::OK);
        assert!(body == content(seed as u32, len), "object {seed} of {len} bytes came back with {}", body.len());
    }
}

#[test]
fn an_order_to_stop_is_obeyed_with_success() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut server = Server::new(&[]);
        server.start();
        let status = server.end(signal);
        assert!(status.success(), "{status}: {}", server.output());
    }
}

#[test]
fn a_data_directory_has_one_server() {
    let mut server = Server::new(&[]);
    server.start();
    let data = server.home().join("data");
    let second = Command::new(env!("CARGO_BIN_EXE_ninefold"))
        .args(["serve", "--listen", "127.0.0.1:0", "--data"])
        .arg(&data)
        .env("NINEFOLD_ROOT_USER", Server::ACCESS_KEY)
        .env("NINEFOLD_ROOT_PASSWORD", Server::SECRET_KEY)
        .output()
        .unwrap();
    assert!(!second.status.success());
    let told = String::from_utf8_lossy(&second.stderr);
    assert!(told.contains(data.to_str().unwrap()), "{told}");
    assert_eq!(server.health("ready"), Some(200));
}

#[tokio::test(flavor = "multi_thread")]
async fn check_tells_by_its_status_how_things_are() {
    let mut server = Server::new(&["--bucket", "demo"]);
    let status = |server: &Server, arguments: &[&str]| {
        let output = server.command(&[&["check"], arguments].concat()).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    assert_eq!(status(&server, &[]).0, Some(2), "there is nothing to check");
    assert!(!server.home().join("data").exists(), "and nothing was made");
    server.start();
    put(&server, "k", content(1, 100_000)).await;
    let (code, said) = status(&server, &["--deep"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("All is well") && said.contains("9 shard files"), "{said}");
    server.kill();
    assert_eq!(status(&server, &[]).0, Some(0), "without a server, too");
    std::fs::remove_dir_all(server.home().join("data/volumes/v4")).unwrap();
    let (code, said) = status(&server, &["--json"]);
    assert_eq!(code, Some(1));
    let lines: Vec<serde_json::Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&lines[0]["subject"], &lines[1]["discrepancies"]), (&"v4".into(), &1.into()), "{said}");
}
