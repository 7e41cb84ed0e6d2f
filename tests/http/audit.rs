//! The audit log over sockets: what is written down of which request, and webhooks that are slow, wrong or away.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use ninefold::access::Secret;
use ninefold::audit::{Audit, AuditConfig, Bounds, Counts, Opened};
use ninefold::objects::{Pages, Website};
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::forms::form;
use crate::minio::metrics;
use crate::recording::{ACCESS_KEY, PUBLIC, Server, WEBSITES};
use crate::signing::{Call, Signer};

const ENOUGH: Bounds = Bounds { records: 1000, bytes: 1 << 20 };

fn audit(target: &str, bounds: Bounds) -> Audit {
    let token = Some(Secret::new("webhook-token"));
    let config = AuditConfig { targets: vec![target.parse().unwrap()], bounds, rotate: 0, token };
    Opened::open(&config).unwrap().unwrap().start("dep").unwrap()
}

/// A server whose requests go into a file.
pub async fn audited(path: &Path) -> (Server, Audit) {
    let audit = audit(&format!("file:{}", path.display()), ENOUGH);
    (Server::audited(audit.clone()).await, audit)
}

/// The records in the file, once the server has ended and all is written.
pub async fn records(mut server: Server, audit: &Audit, path: &Path) -> Vec<Value> {
    server.stop.take().unwrap().send(()).unwrap();
    (&mut server.running).await.unwrap();
    audit.close().await;
    lines(&std::fs::read_to_string(path).unwrap())
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn get(server: &Server, path: &str) -> Call {
    Call::new(Method::GET, path).header("host", &server.address.to_string())
}

/// The names of what was done.
fn names(records: &[Value]) -> Vec<&str> {
    records.iter().map(|record| record["api"]["name"].as_str().unwrap()).collect()
}

/// Until this is so.
async fn until(holds: impl Fn() -> bool) {
    tokio::time::timeout(Duration::from_secs(60), async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .unwrap();
}

fn counts(audit: &Audit) -> (usize, u64, u64) {
    let Counts { queued, written, lost, .. } = audit.counts().remove(0);
    (queued, written, lost)
}

/// Takes what is posted.
struct Collector {
    address: SocketAddr,
    posted: Arc<Mutex<Vec<(HeaderMap, String)>>>,
    /// An answer needs one.
    permits: Arc<Semaphore>,
    /// So many are answered with an error first.
    failing: Arc<AtomicUsize>,
}

impl Collector {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let collector = Self {
            address: listener.local_addr().unwrap(),
            posted: Arc::default(),
            permits: Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)),
            failing: Arc::default(),
        };
        let (posted, permits) = (Arc::clone(&collector.posted), Arc::clone(&collector.permits));
        let failing = Arc::clone(&collector.failing);
        let service = service_fn(move |request: Request<Incoming>| {
            let (posted, permits, failing) = (Arc::clone(&posted), Arc::clone(&permits), Arc::clone(&failing));
            async move {
                let (head, body) = request.into_parts();
                let body = body.collect().await.unwrap().to_bytes();
                permits.acquire().await.unwrap().forget();
                let fails =
                    failing.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |number| number.checked_sub(1)).is_ok();
                let mut response = Response::new(Full::<Bytes>::default());
                if fails {
                    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
                } else {
                    posted.lock().unwrap().push((head.headers, String::from_utf8(body.to_vec()).unwrap()));
                }
                Ok::<_, Infallible>(response)
            }
        });
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let connection = hyper::server::conn::http1::Builder::new();
                tokio::spawn(connection.serve_connection(TokioIo::new(stream), service.clone()));
            }
        });
        collector
    }

    fn audit(&self, bounds: Bounds) -> Audit {
        audit(&format!("http://{}/in", self.address), bounds)
    }

    fn records(&self) -> Vec<Value> {
        self.posted.lock().unwrap().iter().flat_map(|(_, body)| lines(body)).collect()
    }
}

#[tokio::test]
async fn every_request_is_written_down_but_health() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit");
    let (server, audit) = audited(&path).await;
    let signer = server.signer();
    let put = Call { method: Method::PUT, ..get(&server, "/bkt/a%20b") }
        .header("content-length", "5")
        .header("user-agent", "test/1")
        .body("hello");
    let answer = server.send(signer.header(put, None)).await;
    assert_eq!(answer.status, 200);
    for path in ["/health/live", "/minio/health/live", "/minio/v2/metrics/node"] {
        server.send(Request::get(path).body(Full::default()).unwrap()).await;
    }
    server.send(signer.presign(&get(&server, "/bkt/absent").query("versionId", "v7"), "60")).await;
    assert_eq!(form(&server).signed().send(&server).await.status, 204);
    let options =
        Request::options("/bkt/k").header("origin", "http://a").header("access-control-request-method", "GET");
    server.send(options.body(Full::default()).unwrap()).await;
    let pages = Pages { index: "index.html".into(), error: None, rules: Vec::new() };
    server.configured.websites.lock().unwrap().insert(PUBLIC.into(), Some(Website::Pages(pages)));
    let page = Request::get("/page").header("host", format!("{PUBLIC}.{WEBSITES}"));
    assert_eq!(server.send(page.body(Full::default()).unwrap()).await.status, 200);
    // Refused before it is known who asks, or what for.
    let stranger = Signer { secret: "another".into(), ..server.signer() };
    assert_eq!(server.send(stranger.header(get(&server, "/bkt/k"), None)).await.code(), "SignatureDoesNotMatch");
    // Who sends the secret in the key's place.
    let confused = Signer { access_key: "swappedSecret".into(), ..server.signer() };
    assert_eq!(server.send(confused.header(get(&server, "/bkt/k"), None)).await.code(), "InvalidAccessKeyId");
    assert_eq!(server.send(confused.presign(&get(&server, "/bkt/k"), "60")).await.code(), "InvalidAccessKeyId");
    server
        .send(Request::get("/bkt/k").header("authorization", "AWS4-HMAC-SHA256 x").body(Full::default()).unwrap())
        .await;
    server.send(Request::get("/bkt/k?a=1&a=%ff").body(Full::default()).unwrap()).await;
    server.raw(b"GET /bkt HTTP/1.1\r\nhost: a\r\nhost: b\r\nconnection: close\r\n\r\n").await;
    let info = get(&server, "/minio/admin/v3/info");
    assert_eq!(server.send(signer.header(info, None)).await.status, 200);
    let id = answer.header("x-amz-request-id").unwrap().to_owned();
    let records = records(server, &audit, &path).await;

    let all = [
        "PutObject",
        "GetObject",
        "PutObject",
        "REST.OPTIONS.PREFLIGHT",
        "WEBSITE.GET.OBJECT",
        "REST.GET.OBJECT",
        "REST.GET.OBJECT",
        "REST.GET.OBJECT",
        "REST.GET.OBJECT",
        "REST.GET.OBJECT",
        "REST.GET.BUCKET",
        "info",
    ];
    assert_eq!(names(&records), all, "{records:#?}");
    let put = &records[0];
    assert_eq!((&put["requestID"], &put["deploymentid"], &put["type"]), (&id.into(), &"dep".into(), &"s3".into()));
    let api = &put["api"];
    assert_eq!((&api["bucket"], &api["object"], &api["statusCode"]), (&"bkt".into(), &"a b".into(), &200.into()));
    assert_eq!((&api["rx"], &api["tx"], &api["complete"]), (&5.into(), &0.into(), &true.into()));
    assert!(api["timeToFirstByteMs"].as_f64().unwrap() > 0.0 && api["timeToResponseMs"].as_f64().unwrap() > 0.0);
    assert_eq!((&put["remotehost"], &put["requestPath"]), (&"127.0.0.1".into(), &"/bkt/a%20b".into()));
    assert_eq!((&put["userAgent"], &put["accessKey"]), (&"test/1".into(), &ACCESS_KEY.into()));
    assert_eq!((&put["signature"]["type"], &put["principal"]["type"]), (&"header".into(), &"Root".into()));
    let arn = format!("arn:aws:iam::{}:root", put["principal"]["account"].as_str().unwrap());
    assert_eq!(put["principal"]["arn"], arn);
    assert_eq!((&put["allowed"], &put["decisions"][0]["by"]), (&true.into(), &"ownersRoot".into()));
    let decided = &put["decisions"][0];
    assert_eq!((&decided["action"], &decided["resource"]), (&"s3:PutObject".into(), &"arn:aws:s3:::bkt/a b".into()));

    let absent = &records[1];
    assert_eq!((&absent["error"], &absent["api"]["status"]), (&"NoSuchKey".into(), &"Not Found".into()));
    assert_eq!((&absent["signature"]["type"], &absent["api"]["versionId"]), (&"query".into(), &"v7".into()));
    assert_eq!(absent["requestQuery"]["X-Amz-Signature"], "REDACTED");
    assert_eq!(absent["requestQuery"]["X-Amz-Expires"], "60");
    let form = &records[2];
    assert_eq!((&form["signature"]["type"], &form["principal"]["type"]), (&"form".into(), &"Root".into()));
    assert_eq!((&records[3]["api"]["statusCode"], &records[3]["allowed"]), (&403.into(), &Value::Null));
    let page = &records[4];
    assert_eq!((&page["type"], &page["principal"]["type"]), (&"website".into(), &"Anonymous".into()));
    assert_eq!((&page["api"]["bucket"], &page["decisions"][0]["by"]), (&PUBLIC.into(), &"acl".into()));
    let forged = &records[5];
    assert_eq!((&forged["principal"]["type"], &forged["error"]), (&"Unknown".into(), &"SignatureDoesNotMatch".into()));
    assert_eq!((&forged["claimedAccessKey"], forged.get("accessKey")), (&ACCESS_KEY.into(), None));
    for confused in &records[6..8] {
        assert_eq!(confused["error"], "InvalidAccessKeyId");
        assert!(!confused.to_string().contains("swappedSecret"), "{confused}");
    }
    assert_eq!(records[8]["error"], "AuthorizationHeaderMalformed");
    for unknown in &records[6..11] {
        assert_eq!((&unknown["principal"]["type"], &unknown["allowed"]), (&"Unknown".into(), &Value::Null));
    }
    let info = &records[11];
    assert_eq!((&info["type"], &info["decisions"][0]["action"]), (&"admin".into(), &"admin:ServerInfo".into()));
}

#[tokio::test]
async fn a_client_that_leaves_is_written_down_too() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit");
    let (server, audit) = audited(&path).await;
    let request = server.signer().header(get(&server, "/bkt/slow"), None);
    let mut head = format!("GET {} HTTP/1.1\r\n", request.uri());
    for (name, value) in request.headers() {
        head += &format!("{name}: {}\r\n", value.to_str().unwrap());
    }
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(format!("{head}\r\n").as_bytes()).await.unwrap();
    server.recording.entered.notified().await;
    drop(stream);
    until(|| counts(&audit).1 == 1).await;
    let records = records(server, &audit, &path).await;
    let api = &records[0]["api"];
    // There was no answer.
    assert_eq!((&api["name"], &api["statusCode"], &api["complete"]), (&"GetObject".into(), &0.into(), &false.into()));
    assert_eq!(records[0]["allowed"], true);
}

#[tokio::test]
async fn a_webhook_gets_lines_with_its_token() {
    let collector = Collector::start().await;
    // Once is no time.
    collector.failing.store(1, Ordering::SeqCst);
    let audit = collector.audit(ENOUGH);
    let server = Server::audited(audit.clone()).await;
    for number in 0..5 {
        server.send(server.signer().header(get(&server, &format!("/bkt/{number}")), None)).await;
    }
    until(|| counts(&audit) == (0, 5, 0)).await;
    let records = collector.records();
    let objects: Vec<&str> = records.iter().map(|record| record["api"]["object"].as_str().unwrap()).collect();
    assert_eq!(objects, ["0", "1", "2", "3", "4"]);
    let posted = collector.posted.lock().unwrap();
    for (headers, body) in &*posted {
        assert_eq!(headers["authorization"], "Bearer webhook-token");
        assert_eq!(headers["content-type"], "application/x-ndjson");
        assert!(body.ends_with('\n'));
    }
}

#[tokio::test]
async fn a_slow_webhook_holds_up_no_request_and_is_told_what_it_missed() {
    let collector = Collector::start().await;
    collector.permits.forget_permits(Semaphore::MAX_PERMITS);
    let audit = collector.audit(Bounds { records: 2, ..ENOUGH });
    let server = Server::audited(audit.clone()).await;
    for number in 0..6 {
        let answer = server.send(server.signer().header(get(&server, &format!("/bkt/{number}")), None)).await;
        assert_eq!(answer.status, 200);
    }
    until(|| counts(&audit) == (2, 0, 4)).await;
    let seen = metrics(&server, "node").await;
    let of_target = |name: &str| seen[&format!("{name}{{target_id=\"http://{}/in\"}}", collector.address)];
    assert_eq!(of_target("minio_audit_failed_messages"), 4.0);
    assert_eq!(of_target("minio_audit_target_queue_length"), 2.0);
    assert_eq!(of_target("minio_audit_total_messages"), 0.0);
    collector.permits.add_permits(1000);
    until(|| counts(&audit) == (0, 2, 4)).await;
    server.send(server.signer().header(get(&server, "/bkt/later"), None)).await;
    until(|| counts(&audit) == (0, 3, 4)).await;
    audit.close().await;
    let told: Vec<Value> = collector
        .records()
        .iter()
        .map(|record| if record["type"] == "dropped" { &record["dropped"] } else { &record["api"]["object"] }.clone())
        .collect();
    assert_eq!(told, [Value::from("0"), "1".into(), 4.into(), "later".into()]);
}

#[tokio::test]
async fn what_waits_is_sent_at_the_end_and_no_more_after_it() {
    let collector = Collector::start().await;
    collector.permits.forget_permits(Semaphore::MAX_PERMITS);
    let audit = collector.audit(ENOUGH);
    let server = Server::audited(audit.clone()).await;
    for _ in 0..3 {
        server.send(server.signer().header(get(&server, "/bkt/k"), None)).await;
    }
    until(|| counts(&audit).0 == 3).await;
    let closing = tokio::spawn({
        let audit = audit.clone();
        async move { audit.close().await }
    });
    collector.permits.add_permits(1000);
    closing.await.unwrap();
    assert_eq!(counts(&audit), (0, 3, 0));
    assert_eq!(collector.records().len(), 3);
    server.send(server.signer().header(get(&server, "/bkt/k"), None)).await;
    until(|| counts(&audit) == (0, 3, 1)).await;
}
