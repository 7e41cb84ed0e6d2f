//! The program as a process: what holds across its death, and what it tells another one.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

#[path = "support/server.rs"]
mod server;
#[path = "support/signing.rs"]
#[allow(dead_code, reason = "this suite needs the plainest of it")]
mod signing;

use std::process::Command;
use std::time::SystemTime;

use bytes::Bytes;
use http::{Method, StatusCode};
use http_body_util::BodyExt;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use rustix::process::Signal;

use server::Server;
use signing::{Call, Signer};

async fn call(server: &Server, method: Method, path: &str, body: Bytes) -> (StatusCode, Bytes) {
    let signer = Signer {
        access_key: Server::ACCESS_KEY.into(),
        secret: Server::SECRET_KEY.into(),
        region: "us-east-1".into(),
        service: "s3".into(),
        time: SystemTime::now(),
    };
    let host = server.address().to_string();
    let len = body.len();
    let put = method == Method::PUT;
    let mut request = signer.header(Call::new(method, path).header("host", &host).body(body), None);
    if put {
        // The client leaves it out where there is nothing to send, and S3 wants it of every upload.
        request.headers_mut().insert(http::header::CONTENT_LENGTH, len.into());
    }
    *request.uri_mut() = format!("http://{host}{path}").parse().unwrap();
    let client = Client::builder(TokioExecutor::new()).build_http();
    let answer = client.request(request).await.unwrap();
    (answer.status(), answer.into_body().collect().await.unwrap().to_bytes())
}

/// Bytes that differ along the object and between objects.
fn content(seed: u32, len: usize) -> Bytes {
    (0..len as u32).flat_map(|n| (n ^ seed.wrapping_mul(0x9e37_79b9)).to_le_bytes()).take(len).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_a_kill() {
    let mut server = Server::new(&["--bucket", "demo"]);
    server.start();
    let lens = [0, 1, 70_000, 1 << 20, (3 << 20) + 17];
    for (seed, len) in lens.into_iter().enumerate() {
        let (status, answer) = call(&server, Method::PUT, &format!("/demo/{seed}"), content(seed as u32, len)).await;
        assert_eq!(status, StatusCode::OK, "{answer:?}");
    }
    server.kill();
    server.start();
    for (seed, len) in lens.into_iter().enumerate() {
        let (status, body) = call(&server, Method::GET, &format!("/demo/{seed}"), Bytes::new()).await;
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
    let (put, _) = call(&server, Method::PUT, "/demo/k", content(1, 100_000)).await;
    assert_eq!(put, StatusCode::OK);
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
