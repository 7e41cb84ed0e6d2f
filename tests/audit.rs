//! The audit log of the real program: which statement decided, files that others put aside, webhooks over TLS.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

#[path = "support/commands.rs"]
#[allow(dead_code, reason = "no command of this suite must fail")]
mod commands;
#[path = "support/requests.rs"]
mod requests;
#[path = "support/server.rs"]
mod server;
#[path = "support/signing.rs"]
#[allow(dead_code, reason = "this suite needs the plainest of it")]
mod signing;

use std::convert::Infallible;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client as Http;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustix::process::Signal;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use commands::{json, succeeds};
use requests::{Client, content, put};
use server::Server;
use signing::{Call, Signer};

/// How long something may take, on a machine that does other things.
const WITHIN: Duration = Duration::from_secs(30);

/// A server whose audit log is the file `audit` beside its data.
fn audited(more: &[&str]) -> (Server, PathBuf) {
    let server = Server::new(&[&["--bucket", "demo", "--audit-log", "file:audit"], more].concat());
    let path = server.home().join("audit");
    (server, path)
}

fn records(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The record of the request with this id.
async fn record(path: &Path, id: &str) -> Value {
    let deadline = Instant::now() + WITHIN;
    loop {
        if let Some(found) = records(path).into_iter().find(|record| record["requestID"] == id) {
            return found;
        }
        assert!(Instant::now() < deadline, "there is no record of {id}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Sends a request; the answer's status and its record.
async fn sent(server: &Server, path: &Path, who: &Signer, call: Call) -> (StatusCode, Value) {
    let (status, headers, _) = Client::new(server.address()).send_as(who, call).await.unwrap();
    (status, record(path, headers["x-amz-request-id"].to_str().unwrap()).await)
}

/// The same without a signature.
async fn unsigned(server: &Server, path: &Path, key: &str) -> (StatusCode, Value) {
    let uri = format!("http://{}{key}", server.address());
    let client = Http::builder(TokioExecutor::new()).build_http();
    let answer = client.request(Request::get(uri).body(Full::<Bytes>::default()).unwrap()).await.unwrap();
    let id = answer.headers()["x-amz-request-id"].to_str().unwrap().to_owned();
    (answer.status(), record(path, &id).await)
}

async fn configure(server: &Server, what: &str, body: String) {
    let call = Call::new(Method::PUT, "/demo").query(what, "").body(body);
    let (status, _, answer) = requests::send(server, call).await;
    assert!(status.is_success(), "{answer:?}");
}

/// The decision about this action.
fn decision<'a>(record: &'a Value, action: &str) -> &'a Value {
    let decisions = record["decisions"].as_array().unwrap();
    decisions.iter().find(|decided| decided["action"] == action).unwrap_or_else(|| panic!("{record:#}"))
}

#[track_caller]
fn decided_by(record: &Value, action: &str, allowed: bool, by: &str, statement: Option<&str>) {
    let decided = decision(record, action);
    let found =
        (decided["allowed"].as_bool(), decided["by"].as_str(), decided.get("statement").and_then(Value::as_str));
    assert_eq!(found, (Some(allowed), Some(by), statement), "{record:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_statement_that_decided_is_named() {
    let (mut server, path) = audited(&[]);
    server.start();
    let root = requests::root();
    put(&server, "k", content(1, 10)).await;
    put(&server, "secret", content(1, 10)).await;
    let get = |key: &str| Call::new(Method::GET, &format!("/demo/{key}"));

    let (_, record) = sent(&server, &path, &root, get("k")).await;
    decided_by(&record, "s3:GetObject", true, "ownersRoot", None);
    assert_eq!((&record["allowed"], &record["accessKey"]), (&true.into(), &Server::ACCESS_KEY.into()));

    // A user whose policy has a name.
    succeeds(&server, &["user", "create", "alice"]);
    let made = json(&server, &["key", "create", "--user", "alice", "--json"]);
    let field = |name: &str| made[name].as_str().unwrap().to_owned();
    let alice = Signer { access_key: field("access_key"), secret: field("secret_key"), ..requests::root() };
    let document = server.home().join("policy.json");
    let text = r#"{"Version":"2012-10-17","Statement":[
        {"Sid":"Read","Effect":"Allow","Action":["s3:GetObject","s3:DeleteObject"],"Resource":"arn:aws:s3:::demo/*"},
        {"Sid":"NotThese","Effect":"Deny","Action":"s3:DeleteObject","Resource":"arn:aws:s3:::demo/kept*"}]}"#;
    std::fs::write(&document, text).unwrap();
    succeeds(&server, &["policy", "create", "reader", "--document", document.to_str().unwrap()]);
    succeeds(&server, &["user", "attach", "alice", "reader"]);
    let deadline = Instant::now() + WITHIN;
    let record = loop {
        let (status, record) = sent(&server, &path, &alice, get("k")).await;
        if status == StatusCode::OK {
            break record;
        }
        assert!(Instant::now() < deadline, "{record:#}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    decided_by(&record, "s3:GetObject", true, "identityPolicy", Some("Read"));
    let policy = decision(&record, "s3:GetObject")["policy"].as_str().unwrap();
    assert!(policy.starts_with("arn:aws:iam::") && policy.ends_with(":policy/reader"), "{policy}");
    let who = &record["principal"];
    assert!(who["type"] == "User" && who["arn"].as_str().unwrap().ends_with(":user/alice"), "{who}");
    let (status, record) = sent(&server, &path, &alice, Call { method: Method::PUT, ..get("new") }.body("x")).await;
    assert_eq!(
        (status, &record["error"], &record["allowed"]),
        (StatusCode::FORBIDDEN, &"AccessDenied".into(), &false.into())
    );
    decided_by(&record, "s3:PutObject", false, "nothing", None);

    // Many keys at once, of which some are refused.
    let keys: String = (0..150).map(|n| format!("<Object><Key>kept{n}</Key></Object>")).collect();
    let delete = format!("<Delete><Object><Key>gone</Key></Object>{keys}</Delete>");
    let md5 =
        base64::Engine::encode(&base64::engine::general_purpose::STANDARD, <md5::Md5 as md5::Digest>::digest(&delete));
    let call = Call::new(Method::POST, "/demo").query("delete", "").header("content-md5", &md5).body(delete);
    let (status, record) = sent(&server, &path, &alice, call).await;
    assert_eq!(
        (status, &record["allowed"], &record["api"]["name"]),
        (StatusCode::OK, &false.into(), &"DeleteObjects".into())
    );
    let refused = record["refused"].as_array().unwrap();
    assert_eq!((refused.len(), &record["refusedMore"]), (100, &50.into()));
    assert_eq!((&refused[0]["key"], &refused[0]["error"]), (&"kept0".into(), &"AccessDenied".into()));
    let denied = record["decisions"].as_array().unwrap().iter().find(|one| one["allowed"] == false).unwrap();
    assert_eq!((&denied["statement"], &denied["resource"]), (&"NotThese".into(), &"arn:aws:s3:::demo/kept0".into()));

    // Nobody in particular, by the bucket's policy; and what that denies to all.
    let (status, record) = unsigned(&server, &path, "/demo/k").await;
    assert_eq!((status, &record["principal"]["type"]), (StatusCode::FORBIDDEN, &"Anonymous".into()));
    decided_by(&record, "s3:GetObject", false, "nothing", None);
    requests::send(&server, Call::new(Method::DELETE, "/demo").query("publicAccessBlock", "")).await;
    let policy = r#"{"Version":"2012-10-17","Statement":[
        {"Sid":"Anybody","Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::demo/*"},
        {"Sid":"But not this","Effect":"Deny","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::demo/secret"}]}"#;
    configure(&server, "policy", policy.to_owned()).await;
    let (status, record) = unsigned(&server, &path, "/demo/k").await;
    assert_eq!((status, &record["allowed"], record.get("accessKey")), (StatusCode::OK, &true.into(), None));
    decided_by(&record, "s3:GetObject", true, "bucketPolicy", Some("Anybody"));
    let (status, record) = sent(&server, &path, &root, get("secret")).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    decided_by(&record, "s3:GetObject", false, "bucketPolicy", Some("But not this"));

    // By an ACL, once such count.
    requests::send(&server, Call::new(Method::DELETE, "/demo").query("policy", "")).await;
    let rule = "<OwnershipControls><Rule><ObjectOwnership>ObjectWriter</ObjectOwnership></Rule></OwnershipControls>";
    configure(&server, "ownershipControls", rule.to_owned()).await;
    let public = Call::new(Method::PUT, "/demo/public").header("x-amz-acl", "public-read").body("x");
    let (status, record) = sent(&server, &path, &root, public).await;
    assert_eq!(status, StatusCode::OK);
    decided_by(&record, "s3:PutObjectAcl", true, "ownersRoot", None);
    let (status, record) = unsigned(&server, &path, "/demo/public").await;
    assert_eq!(status, StatusCode::OK);
    decided_by(&record, "s3:GetObject", true, "acl", None);

    // Both sides of a copy.
    let copy = Call::new(Method::PUT, "/demo/copied").header("x-amz-copy-source", "/demo/k");
    let (_, record) = sent(&server, &path, &root, copy).await;
    assert_eq!((&record["api"]["name"], record["decisions"].as_array().unwrap().len()), (&"CopyObject".into(), 2));
    assert_eq!(decision(&record, "s3:GetObject")["resource"], "arn:aws:s3:::demo/k");
    let expected = get("k").header("x-amz-expected-bucket-owner", "111122223333");
    decided_by(&sent(&server, &path, &root, expected).await.1, "s3:GetObject", false, "expectedBucketOwner", None);
    let text = std::fs::read_to_string(&path).unwrap();
    for secret in [Server::SECRET_KEY, &alice.secret] {
        assert!(!text.contains(secret), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_are_put_aside_are_left_there_and_none_is_cut_at_the_end() {
    let (mut server, path) = audited(&[]);
    server.start();
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    put(&server, "before", content(1, 10)).await;
    let deadline = Instant::now() + WITHIN;
    while records(&path).is_empty() {
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let aside = server.home().join("audit.1");
    std::fs::rename(&path, &aside).unwrap();
    server.signal(Signal::HUP);
    while !path.exists() {
        assert!(Instant::now() < deadline, "{}", server.output());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    for number in 0..20 {
        put(&server, &format!("{number}"), content(1, 10)).await;
    }
    assert!(server.end(Signal::TERM).success());
    let keys = |path: &Path| -> Vec<String> {
        records(path).iter().map(|record| record["api"]["object"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(keys(&aside), ["before"]);
    assert_eq!(keys(&path), (0..20).map(|number| number.to_string()).collect::<Vec<_>>());
    server.set_env("NINEFOLD_AUDIT_FILE_SIZE", Some("2KiB"));
    server.start();
    for number in 20..23 {
        put(&server, &format!("{number}"), content(1, 10)).await;
    }
    assert!(server.end(Signal::TERM).success());
    let files = std::fs::read_dir(server.home()).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = files.filter(|path| path.to_str().unwrap().contains("/audit.2")).collect();
    files.sort();
    assert!(!files.is_empty());
    let all: Vec<String> = files.iter().chain([&path]).flat_map(|path| keys(path)).collect();
    assert_eq!(all, (0..23).map(|number| number.to_string()).collect::<Vec<_>>());
}

#[test]
fn where_it_cannot_be_written_nothing_is_served() {
    for target in ["file:nowhere/audit", "http://siem.example/", "audit"] {
        let mut server = Server::new(&["--audit-log", target]);
        assert!(!server.start_or_die().unwrap().success(), "{target}");
        assert!(server.output().contains("audit"), "{}", server.output());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_is_called_only_where_its_certificate_is_trusted() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let (acceptor, listener) = (TlsAcceptor::from(Arc::new(config)), TcpListener::bind("127.0.0.1:0").await.unwrap());
    let port = listener.local_addr().unwrap().port();
    let taken: Arc<Mutex<Vec<(String, String)>>> = Arc::default();
    let taking = Arc::clone(&taken);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, taking) = (acceptor.clone(), Arc::clone(&taking));
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let service = service_fn(move |request: Request<Incoming>| {
                    let taking = Arc::clone(&taking);
                    async move {
                        let path = request.uri().path().to_owned();
                        let body = request.into_body().collect().await.unwrap().to_bytes();
                        taking.lock().unwrap().push((path, String::from_utf8(body.to_vec()).unwrap()));
                        Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
                    }
                });
                let _ =
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    // The certificate is another host's.
    let targets = [format!("https://localhost:{port}/in"), format!("https://127.0.0.1:{port}/other")];
    let mut server = Server::new(&[
        "--bucket",
        "demo",
        "--audit-log",
        &targets[0],
        "--audit-log",
        &targets[1],
        "--audit-log",
        "stdout",
    ]);
    let trusted = server.home().join("trusted.pem");
    std::fs::write(&trusted, made.cert.pem()).unwrap();
    let empty = server.home().join("empty");
    std::fs::create_dir(&empty).unwrap();
    server.set_env("SSL_CERT_DIR", empty.to_str());
    server.set_env("SSL_CERT_FILE", trusted.to_str());
    server.start();
    put(&server, "k", content(1, 10)).await;
    let deadline = Instant::now() + WITHIN;
    while taken.lock().unwrap().is_empty()
        || !["certificate", "\"deploymentid\""].iter().all(|it| server.output().contains(it))
    {
        assert!(Instant::now() < deadline, "{}", server.output());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    server.kill();
    let taken = taken.lock().unwrap();
    assert!(taken.iter().all(|(path, body)| path == "/in" && body.contains("\"PutObject\"")), "{taken:?}");
    let output = server.output();
    let record = output.lines().find(|line| line.contains("\"deploymentid\"")).unwrap();
    assert_eq!(serde_json::from_str::<Value>(record).unwrap()["api"]["object"], "k");
    // Nobody is trusted.
    server.set_env("SSL_CERT_FILE", Some("/dev/null"));
    assert!(!server.start_or_die().unwrap().success());
    assert!(server.output().contains("trusts no certificates"), "{}", server.output());
}
