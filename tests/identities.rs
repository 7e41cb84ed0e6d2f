//! Accounts, access keys and the master key, by command, beside a running server and without one.
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

use std::io::Write as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use http::{Method, StatusCode};
use rustix::process::Signal;
use serde_json::Value;

use commands::{fails, json, succeeds};
use requests::{Client, content, put};
use server::Server;
use signing::{Call, Signer};

const SECRET: &str = "acme-secret-of-forty-characters-01234567";
/// How long a change may take to be known, on a machine that does other things.
const KNOWN_WITHIN: Duration = Duration::from_secs(20);

fn signer(access_key: &str, secret: &str) -> Signer {
    Signer { access_key: access_key.into(), secret: secret.into(), ..requests::root() }
}

/// ListBuckets: the status, and the body.
async fn buckets(server: &Server, who: &Signer) -> (StatusCode, String) {
    let (status, _, body) = Client::new(server.address()).send_as(who, Call::new(Method::GET, "/")).await.unwrap();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

async fn until(server: &Server, who: &Signer, status: StatusCode) -> String {
    let deadline = Instant::now() + KNOWN_WITHIN;
    loop {
        let (now, body) = buckets(server, who).await;
        if now == status {
            return body;
        }
        assert!(Instant::now() < deadline, "{now} {body}\n{}", server.output());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn master_key(server: &Server) -> PathBuf {
    server.home().join("data/master.key")
}

/// Makes an account with the key `acme-key`, whose secret comes by standard input.
fn make_account(server: &Server) -> Value {
    let arguments = ["account", "create", "acme", "--access-key", "acme-key", "--secret-key-file", "-", "--json"];
    let mut child =
        server.command(&arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(format!("{SECRET}\n").as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Whether any file below has these bytes.
fn holds(path: &Path, bytes: &[u8]) -> bool {
    if path.is_dir() {
        return std::fs::read_dir(path).unwrap().any(|entry| holds(&entry.unwrap().path(), bytes));
    }
    path.is_file() && std::fs::read(path).unwrap().windows(bytes.len()).any(|window| window == bytes)
}

async fn keys_come_and_go(server: &mut Server) {
    server.set_env("NINEFOLD_LOG", Some("trace"));
    server.start();
    let account = make_account(server);
    assert_eq!((&account["key"]["access_key"], account["key"].get("secret_key")), (&Value::from("acme-key"), None));
    let acme = signer("acme-key", SECRET);
    let body = until(server, &acme, StatusCode::OK).await;
    assert!(body.contains(account["canonical_id"].as_str().unwrap()) && !body.contains("<Name>demo"), "{body}");
    let (status, _) = buckets(server, &signer("acme-key", "another-secret")).await;
    assert_eq!(status, StatusCode::FORBIDDEN);

    // What is theirs is not root's, and holds the account.
    let client = Client::new(server.address());
    let (status, ..) = client.send_as(&acme, Call::new(Method::PUT, "/theirs")).await.unwrap();
    assert_eq!(status, StatusCode::OK);
    assert!(buckets(server, &acme).await.1.contains("<Name>theirs"));
    assert!(!buckets(server, &requests::root()).await.1.contains("<Name>theirs"));
    assert!(fails(server, &["account", "remove", "acme"]).contains("it has buckets"));

    succeeds(server, &["key", "disable", "acme-key"]);
    assert!(until(server, &acme, StatusCode::FORBIDDEN).await.contains("InvalidAccessKeyId"));
    succeeds(server, &["key", "enable", "acme-key"]);
    until(server, &acme, StatusCode::OK).await;

    succeeds(server, &["user", "create", "alice", "--account", "acme"]);
    let made = json(server, &["key", "create", "--user", "alice", "--account", "acme", "--json"]);
    let field = |name: &str| made[name].as_str().unwrap().to_owned();
    // A user may nothing that nobody allowed.
    let alice = signer(&field("access_key"), &field("secret_key"));
    until(server, &alice, StatusCode::FORBIDDEN).await;
    let document = server.home().join("all.json");
    let all = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:*","Resource":"*"}}"#;
    std::fs::write(&document, all).unwrap();
    let document = document.to_str().unwrap();
    succeeds(server, &["user", "put-policy", "alice", "all", "--document", document, "--account", "acme"]);
    until(server, &alice, StatusCode::OK).await;
    succeeds(server, &["user", "remove-policy", "alice", "all", "--account", "acme"]);
    until(server, &alice, StatusCode::FORBIDDEN).await;
    // One that every deployment has needs no document, and is a policy like any other from then on.
    for _ in 0..2 {
        succeeds(server, &["user", "attach", "alice", "readwrite", "--account", "acme"]);
    }
    assert!(fails(server, &["user", "attach", "alice", "readnothing", "--account", "acme"]).contains("no policy"));
    until(server, &alice, StatusCode::OK).await;
    let keys = json(server, &["key", "list", "--account", "acme", "--json"]);
    assert_eq!(keys.as_array().unwrap().len(), 2);
    assert!(fails(server, &["user", "remove", "alice", "--account", "acme"]).contains("access keys"));
    succeeds(server, &["user", "remove", "alice", "--whole", "--account", "acme"]);
    until(server, &signer(&field("access_key"), &field("secret_key")), StatusCode::FORBIDDEN).await;

    let (status, ..) = client.send_as(&acme, Call::new(Method::DELETE, "/theirs")).await.unwrap();
    assert_eq!(status, StatusCode::NO_CONTENT);
    succeeds(server, &["snapshot"]);
    for secret in [SECRET, &field("secret_key")] {
        assert!(!holds(server.home(), secret.as_bytes()), "a file or the log has a secret");
    }
    assert!(fails(server, &["account", "remove", "acme"]).contains("policies"));
    succeeds(server, &["policy", "remove", "readwrite", "--account", "acme"]);
    succeeds(server, &["account", "remove", "acme"]);
    until(server, &acme, StatusCode::FORBIDDEN).await;
    for wrong in [
        ["account", "create", "a b"].as_slice(),
        &["account", "show", "acme"],
        &["account", "remove", "root"],
        &["key", "remove", "acme-key"],
        &["key", "create", "--user", "nobody"],
        &["key", "create", "--access-key", Server::ACCESS_KEY],
    ] {
        fails(server, wrong);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_come_and_go_beside_a_running_server_on_sqlite() {
    keys_come_and_go(&mut Server::new(&["--bucket", "demo"])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_come_and_go_beside_a_running_server_on_postgres() {
    let database = postgres::Database::new().await;
    let mut server = Server::new(&["--bucket", "demo"]);
    let volumes = format!("{}/volumes/v{{1...9}}", server.home().display());
    server.set_env("NINEFOLD_DATABASE_URL", Some(&database.url));
    server.set_env("NINEFOLD_VOLUMES", Some(&volumes));
    assert!(fails(&server, &["account", "list"]).contains("no server was ever started"));
    keys_come_and_go(&mut server).await;

    // A second server needs the first one's master key.
    let mut second = Server::new(&[]);
    second.set_env("NINEFOLD_DATABASE_URL", Some(&database.url));
    second.set_env("NINEFOLD_VOLUMES", Some(&volumes));
    assert!(!second.start_or_die().unwrap().success());
    assert!(second.output().contains("master key"), "{}", second.output());
    assert!(!master_key(&second).exists());
    second.set_env("NINEFOLD_MASTER_KEY_FILE", Some(master_key(&server).to_str().unwrap()));
    second.start();
    make_account(&server);
    until(&second, &signer("acme-key", SECRET), StatusCode::OK).await;
}

#[test]
fn roles_are_made_by_command_and_everything_is_said_in_json() {
    let mut server = Server::new(&["--bucket", "demo"]);
    server.start();
    let file = |name: &str, text: &str| {
        let path = server.home().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let trusts = |who: &str| {
        let principal = format!(r#"{{"AWS":"arn:aws:iam::{who}:root"}}"#);
        format!(
            r#"{{"Version":"2012-10-17","Statement":{{"Effect":"Allow","Principal":{principal},"Action":"sts:AssumeRole"}}}}"#
        )
    };
    let (trust, other) = (file("trust.json", &trusts("111122223333")), file("other.json", &trusts("444455556666")));
    let all =
        file("all.json", r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}"#);

    let made = json(&server, &["role", "create", "reader", "--trust", &trust, "--max-session", "2h", "--json"]);
    assert!(made["arn"].as_str().unwrap().ends_with(":role/reader"), "{made}");
    assert!(fails(&server, &["role", "create", "reader", "--trust", &trust]).contains("reader"));
    assert!(fails(&server, &["role", "create", "other", "--trust", &all]).contains("is no policy"));
    assert!(fails(&server, &["role", "create", "other", "--trust", &trust, "--max-session", "1m"]).contains("3600s"));
    json(&server, &["role", "attach", "reader", "readonly", "--json"]);
    json(&server, &["role", "put-policy", "reader", "all", "--document", &all, "--json"]);
    json(&server, &["role", "bound", "reader", "readwrite", "--json"]);
    json(&server, &["role", "trust", "reader", "--document", &other, "--json"]);
    let shown = json(&server, &["role", "show", "reader", "--json"]);
    assert_eq!((&shown["max_session"], &shown["attached"][0]), (&7200.into(), &"readonly".into()));
    assert_eq!(shown["trust"]["Statement"]["Principal"]["AWS"], "arn:aws:iam::444455556666:root");
    assert!(shown["boundary"].as_str().unwrap().ends_with("readwrite") && shown["policies"]["all"].is_object());
    assert!(succeeds(&server, &["role", "show", "reader"]).contains("taken for 7200 s at most"));
    assert_eq!(json(&server, &["role", "list", "--json"]).as_array().unwrap().len(), 1);
    assert!(fails(&server, &["role", "remove", "reader"]).contains("policies"));
    json(&server, &["role", "detach", "reader", "readonly", "--json"]);
    json(&server, &["role", "remove-policy", "reader", "all", "--json"]);
    json(&server, &["role", "remove", "reader", "--json"]);

    for arguments in [
        ["account", "show", "root", "--json"].as_slice(),
        &["user", "create", "bob", "--json"],
        &["user", "show", "bob", "--json"],
        &["group", "create", "all", "--json"],
        &["group", "add", "all", "bob", "--json"],
        &["group", "disable", "all", "--json"],
        &["group", "show", "all", "--json"],
        &["group", "enable", "all", "--json"],
        &["policy", "create", "all", "--document", &all, "--json"],
        &["policy", "show", "all", "--json"],
        &["policy", "list", "--json"],
        &["key", "create", "--user", "bob", "--json"],
        &["key", "list", "--json"],
        &["heal", "--json"],
        &["scrub", "--wait", "--json"],
        &["snapshot", "--json"],
        &["snapshot", "--list", "--json"],
        &["volume", "list", "--json"],
        &["volume", "drain", "v9", "--detach", "--json"],
        &["volume", "undrain", "v9", "--json"],
        &["volume", "rebalance", "--detach", "--json"],
        &["health", "--ready", "--listen", &server.address().to_string(), "--json"],
    ] {
        json(&server, arguments);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_the_master_key_is_cut_short_nowhere() {
    let mut server = Server::new(&[]);
    server.start();
    make_account(&server);
    let acme = signer("acme-key", SECRET);
    until(&server, &acme, StatusCode::OK).await;
    let mut seen = vec![std::fs::read_to_string(master_key(&server)).unwrap()];
    for point in ["seal.announced", "seal.committed", "seal.replaced"] {
        let output = server.command(&["key", "rotate-master"]).env("NINEFOLD_CRASH_AT", point).output().unwrap();
        assert_eq!(output.status.signal(), Some(Signal::KILL.as_raw()), "{point}: {output:?}");
        // The running server goes on, one that starts takes what there is, and a change is made in order.
        succeeds(&server, &["key", "disable", "acme-key"]);
        until(&server, &acme, StatusCode::FORBIDDEN).await;
        succeeds(&server, &["key", "enable", "acme-key"]);
        until(&server, &acme, StatusCode::OK).await;
        server.kill();
        server.start();
        assert_eq!(buckets(&server, &acme).await.0, StatusCode::OK, "{point}");
        succeeds(&server, &["key", "rotate-master"]);
        server.kill();
        server.start();
        assert_eq!(buckets(&server, &acme).await.0, StatusCode::OK, "{point}");
        let now = std::fs::read_to_string(master_key(&server)).unwrap();
        assert_eq!(now.lines().count(), 2, "{point}: one key, and what it is");
        assert!(!seen.contains(&now));
        seen.push(now);
    }
    // An old one opens nothing.
    server.kill();
    std::fs::write(master_key(&server), &seen[0]).unwrap();
    assert!(!server.start_or_die().unwrap().success());
    assert!(server.output().contains("sealed under the master key"), "{}", server.output());
    let gone = json(&server, &["key", "rotate-master", "--lost", "--json"]);
    assert_eq!(gone["gone"], Value::from(vec!["acme-key"]));
    server.start();
    assert_eq!(buckets(&server, &acme).await.0, StatusCode::FORBIDDEN);
    assert_eq!(buckets(&server, &requests::root()).await.0, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_store_knows_its_keys_if_it_has_the_master_key() {
    let mut server = Server::new(&["--bucket", "demo"]);
    server.start();
    make_account(&server);
    let acme = signer("acme-key", SECRET);
    until(&server, &acme, StatusCode::OK).await;
    put(&server, "one", content(1, 1000)).await;
    succeeds(&server, &["snapshot"]);
    server.kill();
    let away = server.home().join("master.key.away");
    std::fs::rename(master_key(&server), &away).unwrap();
    for file in std::fs::read_dir(server.home().join("data")).unwrap() {
        let path = file.unwrap().path();
        if path.file_name().unwrap().to_str().unwrap().starts_with("metadata.sqlite") {
            std::fs::remove_file(path).unwrap();
        }
    }
    succeeds(&server, &["restore"]);
    assert!(!server.start_or_die().unwrap().success());
    assert!(server.output().contains("sealed under the master key"), "{}", server.output());
    std::fs::rename(&away, master_key(&server)).unwrap();
    server.start();
    assert_eq!(buckets(&server, &acme).await.0, StatusCode::OK);
}
