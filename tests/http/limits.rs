//! Who goes too fast, and what is too much: 503 SlowDown, when to come again, and that then there is an answer.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use http_body::Frame;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper_util::rt::{TokioExecutor, TokioIo};
use ninefold::limits::allowance::Pace;
use ninefold::limits::{Rate, Rules};
use ninefold::objects::{Pages, Website};
use ninefold::server::Limits;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::recording::{Answer, PUBLIC, Server, WEBSITES};
use crate::signing::{Call, Signer};

const NOTHING: [&str; 0] = [];

fn pace(per_second: u64) -> Option<Pace> {
    NonZeroU64::new(per_second).map(Pace::even)
}

fn requests(per_second: u64) -> Option<Rate> {
    Some(Rate { requests: pace(per_second), ..Rate::default() })
}

fn call(server: &Server, method: Method, path: &str) -> Call {
    Call::new(method, path).header("host", &server.address.to_string())
}

async fn get(server: &Server, path: &str) -> Answer {
    server.send(server.signer().header(call(server, Method::GET, path), None)).await
}

async fn plain(server: &Server, method: Method, path: &str) -> Answer {
    server.send(Request::builder().method(method).uri(path).body(Full::default()).unwrap()).await
}

fn forger(server: &Server) -> Signer {
    Signer { secret: "guessed".into(), ..server.signer() }
}

/// That this is what S3 says, and after so many seconds.
#[track_caller]
fn refused(answer: &Answer, retry_after: &str) {
    assert_eq!((answer.status, answer.code()), (503, "SlowDown"), "{}", answer.body);
    assert_eq!(answer.element("Message"), Some("Please reduce your request rate."));
    assert_eq!(answer.header("retry-after"), Some(retry_after));
    assert!(answer.element("RequestId").is_some() && answer.header("x-amz-request-id").is_some());
}

#[tokio::test]
async fn an_address_has_its_rate_whoever_asks() {
    let burst = NonZeroU64::new(3).unwrap();
    let rate = Rate { requests: Some(Pace { burst, per_second: NonZeroU64::MIN }), ..Rate::default() };
    let server = Server::with_rules(Rules { address: Some(rate), ..Rules::default() }).await;
    assert_eq!(get(&server, "/bkt/key").await.status, 200);
    assert_eq!(plain(&server, Method::GET, "/bkt/key").await.status, 403);
    let forged = forger(&server).header(call(&server, Method::GET, "/bkt/key"), None);
    assert_eq!(server.send(forged).await.status, 403);
    server.reached();
    refused(&get(&server, "/bkt/key").await, "1");
    let head = server.send(server.signer().header(call(&server, Method::HEAD, "/bkt/key"), None)).await;
    assert_eq!((head.status, head.header("retry-after"), head.body.as_str()), (503, Some("1"), ""));
    refused(&server.send_h2(server.signer().header(call(&server, Method::GET, "/bkt/key"), None)).await, "1");
    assert_eq!(server.reached(), NOTHING);
    // Who looks after the server is told how it is.
    for path in ["/health/live", "/health/ready", "/minio/health/live"] {
        assert_eq!(plain(&server, Method::GET, path).await.status, 200, "{path}");
    }
    server.time.advance(Duration::from_millis(999));
    refused(&get(&server, "/bkt/key").await, "1");
    server.time.advance(Duration::from_millis(1));
    assert_eq!(get(&server, "/bkt/key").await.status, 200);
    refused(&get(&server, "/bkt/key").await, "1");
}

#[tokio::test]
async fn who_only_claims_a_key_uses_nothing_of_it_up() {
    let server = Server::with_rules(Rules { key: requests(2), ..Rules::default() }).await;
    for _ in 0..5 {
        let forged = forger(&server).header(call(&server, Method::GET, "/bkt/key"), None);
        assert_eq!(server.send(forged).await.code(), "SignatureDoesNotMatch");
        let presigned = forger(&server).presign(&call(&server, Method::GET, "/bkt/key"), "60");
        assert_eq!(server.send(presigned).await.code(), "SignatureDoesNotMatch");
    }
    assert_eq!(get(&server, "/bkt/key").await.status, 200);
    let presigned = server.signer().presign(&call(&server, Method::GET, "/bkt/key"), "60");
    assert_eq!(server.send(presigned).await.status, 200);
    refused(&get(&server, "/bkt/key").await, "1");
    refused(&get(&server, "/other/key").await, "1");
    assert_eq!(plain(&server, Method::GET, "/bkt/key").await.status, 403, "nobody has a rate");
    server.time.advance(Duration::from_secs(1));
    assert_eq!(get(&server, "/bkt/key").await.status, 200);
}

#[tokio::test]
async fn who_is_not_let_in_uses_nothing_of_a_bucket_up() {
    let server = Server::with_rules(Rules { bucket: requests(1), ..Rules::default() }).await;
    for _ in 0..5 {
        assert_eq!(plain(&server, Method::GET, "/bkt/key").await.status, 403);
    }
    assert_eq!(get(&server, "/bkt/key").await.status, 200);
    refused(&get(&server, "/bkt/other").await, "1");
    assert_eq!(get(&server, "/other/key").await.status, 200);
}

#[tokio::test]
async fn a_website_is_its_bucket_and_charged_once_a_page() {
    let server = Server::with_rules(Rules { bucket: requests(1), address: requests(2), ..Rules::default() }).await;
    let pages = Pages { index: "index.html".into(), error: Some("missing-too".into()), ..Pages::default() };
    server.configured.websites.lock().unwrap().insert(PUBLIC.into(), Some(Website::Pages(pages)));
    let page = async |path: &str| {
        let request = Request::get(path).header("host", format!("{PUBLIC}.{WEBSITES}"));
        server.send(request.body(Full::<Bytes>::default()).unwrap()).await
    };
    // The page, what might be a directory, the error's page: three reads.
    assert_eq!(page("/missing").await.status, 404);
    assert_eq!(server.reached().len(), 3);
    // The bucket's own, then the address's.
    for _ in 0..2 {
        let answer = page("/").await;
        assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")), "{}", answer.body);
        assert!(answer.body.contains("<li>Code: SlowDown</li>"), "{}", answer.body);
    }
    assert_eq!(server.reached(), NOTHING);
}

#[tokio::test]
async fn bytes_are_owed_and_come_off() {
    let rate = Rate { received: pace(10), sent: pace(2), requests: None };
    let server = Server::with_rules(Rules { key: Some(rate), ..Rules::default() }).await;
    // Five bytes, of which two were there: three are owed.
    assert_eq!(get(&server, "/bkt/key").await.body, "hello");
    refused(&get(&server, "/bkt/key").await, "2");
    server.time.advance(Duration::from_millis(1500));
    let put = call(&server, Method::PUT, "/bkt/key").body(vec![7; 100]);
    assert_eq!(server.send(server.signer().header(put, None)).await.status, 200, "what has begun is not broken off");
    refused(&get(&server, "/bkt/key").await, "9");
    server.time.advance(Duration::from_secs(9));
    assert_eq!(get(&server, "/bkt/key").await.status, 200);
}

#[tokio::test]
async fn a_refused_upload_is_not_asked_for_and_its_sender_reads_why() {
    let server = Server::with_rules(Rules { address: requests(1), ..Rules::default() }).await;
    assert_eq!(get(&server, "/bkt/key").await.status, 200);
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(b"PUT /bkt/key HTTP/1.1\r\nHost: x\r\nContent-Length: 20000000\r\n\r\n").await.unwrap();
    stream.write_all(&vec![0; 20_000_000]).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("<Code>SlowDown</Code>"), "{answer}");
    assert!(answer.contains("retry-after: 1\r\n") && answer.contains("connection: close\r\n"), "{answer}");
    let polite = b"PUT /bkt/key HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\nExpect: 100-continue\r\n\r\n";
    assert!(server.raw(polite).await.starts_with("HTTP/1.1 503"), "no 100 Continue");
    // Without a body the connection is kept.
    assert_eq!(get(&server, "/bkt/key").await.header("connection"), None);
}

#[tokio::test]
async fn a_body_that_is_counted_first_is_charged_once() {
    let server = Server::with_rules(Rules { key: requests(1), bucket: requests(1), ..Rules::default() }).await;
    let put = || {
        let request = server.signer().header(call(&server, Method::PUT, "/bkt/key"), Some("UNSIGNED-PAYLOAD"));
        let frames = [Ok::<_, std::io::Error>(Frame::data(Bytes::from_static(b"hello")))];
        request.map(|_| StreamBody::new(futures_util::stream::iter(frames)))
    };
    assert_eq!(server.send_body(put()).await.status, 200);
    refused(&server.send_body(put()).await, "1");
    assert_eq!(server.reached(), ["PutObject"]);
}

#[tokio::test]
async fn only_so_many_requests_run_at_once() {
    let server = Server::with_rules(Rules { requests: 1, ..Rules::default() }).await;
    let slow = get(&server, "/bkt/slow");
    let others = async {
        server.recording.entered.notified().await;
        refused(&get(&server, "/bkt/key").await, "1");
        assert_eq!(plain(&server, Method::GET, "/health/ready").await.status, 200);
        server.recording.released.notify_one();
    };
    let (slow, ()) = tokio::join!(slow, others);
    assert_eq!((slow.status, slow.body.as_str()), (200, "hello"));
    // A place is free once the server knows that the answer is over, which may be later than the client does.
    while get(&server, "/bkt/key").await.status == 503 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn what_would_take_too_much_memory_is_refused_unread() {
    let server = Server::with_rules(Rules { memory: 1 << 20, ..Rules::default() }).await;
    let put = call(&server, Method::PUT, "/bkt/key").header("content-length", "100000000");
    let head = server.signer().header(put, Some("UNSIGNED-PAYLOAD"));
    let head = head.map(|_| StreamBody::new(futures_util::stream::pending::<std::io::Result<Frame<Bytes>>>()));
    refused(&server.send_body(head).await, "1");
    // A signed chunk has to be held to be verified.
    let put = call(&server, Method::PUT, "/bkt/key")
        .header("x-amz-decoded-content-length", "600000")
        .header("content-length", "600170");
    let request = server.signer().header(put, Some("STREAMING-AWS4-HMAC-SHA256-PAYLOAD"));
    let line = format!("927c0;chunk-signature={}\r\n", "0".repeat(64));
    let first = futures_util::stream::iter([Ok::<_, std::io::Error>(Frame::data(Bytes::from(line)))]);
    let body = futures_util::StreamExt::chain(first, futures_util::stream::pending());
    refused(&server.send_body(request.map(|_| StreamBody::new(body))).await, "1");
    // An answer is read ahead of the client.
    refused(&get(&server, "/bkt/large").await, "1");
    server.reached();
    let put = call(&server, Method::PUT, "/bkt/key").body(vec![7; 100_000]);
    assert_eq!(server.send(server.signer().header(put, None)).await.status, 200);
    assert_eq!(get(&server, "/bkt/key").await.status, 200);
}

/// A connection that is let in and keeps its place: it has had an answer.
async fn kept(server: &Server) -> TcpStream {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut answer = [0; 15];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200 OK");
    stream
}

#[tokio::test]
async fn a_connection_too_many_is_answered_and_closed() {
    let server = Server::with(Limits { connections: 2, ..Limits::default() }).await;
    let first = kept(&server).await;
    let _second = kept(&server).await;
    for path in ["/bkt/key", "/health/live"] {
        let answer = get(&server, path).await;
        refused(&answer, "1");
        assert_eq!(answer.header("connection"), Some("close"));
    }
    let raw = server.raw(b"PUT /bkt/key HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello").await;
    assert!(raw.starts_with("HTTP/1.1 503"), "{raw}");
    let over_h2 = server.send_h2(server.signer().header(call(&server, Method::GET, "/bkt/key"), None)).await;
    refused(&over_h2, "1");
    assert_eq!(server.reached(), NOTHING);
    drop(first);
    // The place is free once the server has noticed.
    while plain(&server, Method::GET, "/health/live").await.status == 503 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn an_http2_connection_too_many_is_told_to_go() {
    let server = Server::with(Limits { connections: 1, ..Limits::default() }).await;
    let _first = kept(&server).await;
    let stream = TcpStream::connect(server.address).await.unwrap();
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.unwrap();
    let connection = tokio::spawn(connection);
    let request = Request::get(format!("http://{}/bkt/key", server.address)).body(Full::<Bytes>::default()).unwrap();
    assert_eq!(sender.send_request(request).await.unwrap().status(), 503);
    connection.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_client_has_so_many_connections() {
    let server = Server::with(Limits { connections_per_client: 2, ..Limits::default() }).await;
    let first = kept(&server).await;
    let second = kept(&server).await;
    refused(&get(&server, "/bkt/key").await, "1");
    drop((first, second));
    while plain(&server, Method::GET, "/health/live").await.status == 503 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn thousands_too_many_are_each_answered() {
    // Both ends of each are files of this process, of which it has few on some machines; and the system's own queue is short.
    let may = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX);
    let (waves, wave) = (4, may.saturating_sub(300).min(1000) / 2);
    let limits = Limits { connections: 4, head: Duration::from_secs(600), ..Limits::default() };
    let server = Arc::new(Server::with(limits).await);
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(kept(&server).await);
    }
    for _ in 0..waves {
        let mut clients = JoinSet::new();
        for _ in 0..wave {
            let server = Arc::clone(&server);
            clients.spawn(async move { server.raw(b"GET /bkt/key HTTP/1.1\r\nHost: x\r\n\r\n").await });
        }
        while let Some(answer) = clients.join_next().await {
            let answer = answer.unwrap();
            assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("<Code>SlowDown</Code>"), "{answer}");
        }
    }
}

#[tokio::test]
async fn what_was_refused_is_counted() {
    let rules = Rules { address: requests(1), ..Rules::default() };
    let server = Server::with_rules(rules).await;
    assert_eq!(get(&server, "/bkt/key").await.status, 200);
    refused(&get(&server, "/bkt/key").await, "1");
    refused(&get(&server, "/bkt/key").await, "1");
    let node = crate::minio::metrics(&server, "node").await;
    assert_eq!(node["ninefold_limited_total{limit=\"address\"}"], 2.0);
    assert_eq!(node["ninefold_limited_total{limit=\"key\"}"], 0.0);
    assert_eq!(node["minio_s3_requests_5xx_errors_total{api=\"getobject\"}"], 2.0);
    assert!(node.contains_key("ninefold_request_memory_bytes"));
}

#[tokio::test]
async fn other_streams_of_a_connection_go_on() {
    let server = Server::with_rules(Rules { address: requests(1), ..Rules::default() }).await;
    let stream = TcpStream::connect(server.address).await.unwrap();
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.unwrap();
    tokio::spawn(connection);
    let mut ask = async || {
        let mut request = server.signer().header(call(&server, Method::GET, "/bkt/key"), None);
        request.headers_mut().remove("host");
        *request.uri_mut() = format!("http://{}/bkt/key", server.address).parse().unwrap();
        let response = sender.send_request(request).await.unwrap();
        let status = response.status();
        (status, response.into_body().collect().await.unwrap().to_bytes())
    };
    assert_eq!(ask().await.0, 200);
    assert_eq!(ask().await.0, 503);
    server.time.advance(Duration::from_secs(1));
    assert_eq!(ask().await.0, 200);
}
