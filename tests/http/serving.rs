//! Connections and health: limits, time-outs, an orderly end.

use std::sync::atomic::Ordering;
use std::time::Duration;

use http::Method;
use ninefold::server::Limits;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::recording::{Answer, Server};
use crate::signing::Call;

fn get(server: &Server, path: &str) -> http::Request<http_body_util::Full<bytes::Bytes>> {
    server.signer().header(Call::new(Method::GET, path).header("host", &server.address.to_string()), None)
}

async fn plain(server: &Server, method: Method, path: &str) -> Answer {
    let request = http::Request::builder().method(method).uri(path).body(http_body_util::Full::default()).unwrap();
    server.send(request).await
}

#[tokio::test]
async fn live_asks_nobody_and_ready_asks_database_and_volumes() {
    let server = Server::start().await;
    server.vitals.database.store(false, Ordering::SeqCst);
    let live = plain(&server, Method::GET, "/health/live").await;
    assert_eq!((live.status, server.vitals.asked.load(Ordering::SeqCst)), (200, 0));
    for (database, volumes, status) in [(true, 9, 200), (true, 6, 200), (true, 5, 503), (false, 9, 503)] {
        server.vitals.database.store(database, Ordering::SeqCst);
        server.vitals.volumes.store(volumes, Ordering::SeqCst);
        let ready = plain(&server, Method::GET, "/health/ready").await;
        assert_eq!(ready.status, status, "{}", ready.body);
        let body: serde_json::Value = serde_json::from_str(&ready.body).unwrap();
        assert_eq!(
            (&body["volumes"]["usable"], &body["database"]),
            (&volumes.into(), &(if database { "up" } else { "down" }).into())
        );
        let head = plain(&server, Method::HEAD, "/health/ready").await;
        assert_eq!((head.status, head.body.as_str()), (status, ""));
    }
}

#[tokio::test]
async fn a_bucket_called_health_is_still_a_bucket() {
    let server = Server::start().await;
    assert_eq!(server.send(get(&server, "/health/live")).await.body, "hello");
    assert_eq!(server.reached(), ["GetObject"]);
    assert_eq!(plain(&server, Method::PUT, "/health/live").await.status, 403);
    assert_eq!(plain(&server, Method::GET, "/health/live/").await.status, 403);
    assert_eq!(plain(&server, Method::GET, "/health/other").await.status, 403);
}

#[tokio::test]
async fn a_running_request_is_finished_and_nothing_more_is_accepted() {
    let mut server = Server::start().await;
    let request = get(&server, "/bkt/slow");
    let stop = server.stop.take().unwrap();
    let recording = std::sync::Arc::clone(&server.recording);
    let address = server.address;
    let order = async move {
        recording.entered.notified().await;
        stop.send(()).unwrap();
        // Refused once the order has been carried out.
        while TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
        recording.released.notify_one();
    };
    let (answer, ()) = tokio::join!(server.send(request), order);
    assert_eq!((answer.status, answer.body.as_str()), (200, "hello"));
    assert_eq!((&mut server.running).await.unwrap(), 0);
}

#[tokio::test]
async fn what_does_not_finish_is_cut() {
    let limits = Limits { drain: Duration::from_millis(1), ..Limits::default() };
    let mut server = Server::with(limits).await;
    let request = get(&server, "/bkt/slow");
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let mut head = format!("GET {} HTTP/1.1\r\n", request.uri());
    for (name, value) in request.headers() {
        head += &format!("{name}: {}\r\n", value.to_str().unwrap());
    }
    stream.write_all(format!("{head}\r\n").as_bytes()).await.unwrap();
    server.recording.entered.notified().await;
    server.stop.take().unwrap().send(()).unwrap();
    assert_eq!((&mut server.running).await.unwrap(), 1);
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    assert!(rest.is_empty(), "no answer is made up");
}

#[tokio::test]
async fn idle_connections_do_not_hold_up_the_end() {
    let mut server = Server::start().await;
    let mut idle = TcpStream::connect(server.address).await.unwrap();
    let mut kept = TcpStream::connect(server.address).await.unwrap();
    kept.write_all(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut answer = [0; 15];
    kept.read_exact(&mut answer).await.unwrap();
    server.stop.take().unwrap().send(()).unwrap();
    assert_eq!((&mut server.running).await.unwrap(), 0);
    assert_eq!(idle.read(&mut answer).await.unwrap_or(0), 0);
}

#[tokio::test]
async fn a_head_that_does_not_end_is_given_up() {
    let limits = Limits { head: Duration::from_millis(50), ..Limits::default() };
    let server = Server::with(limits).await;
    let answer = server.raw(b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ").await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{answer}");
}

#[tokio::test]
async fn a_body_that_does_not_go_on_is_given_up() {
    let limits = Limits { silence: Duration::from_millis(50), ..Limits::default() };
    let server = Server::with(limits).await;
    let put = Call::new(Method::PUT, "/bkt/key").header("host", &server.address.to_string());
    let request = server.signer().header(put.header("content-length", "10"), Some("UNSIGNED-PAYLOAD"));
    let mut head = "PUT /bkt/key HTTP/1.1\r\nConnection: close\r\n".to_owned();
    for (name, value) in request.headers() {
        head += &format!("{name}: {}\r\n", value.to_str().unwrap());
    }
    let answer = server.raw(format!("{head}\r\nhalf").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("RequestTimeout"), "{answer}");
}

#[tokio::test]
async fn a_denial_costs_no_upload() {
    let server = Server::start().await;
    let request = b"PUT /bkt/key HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 1000000\r\nExpect: 100-continue\r\n\r\n";
    let answer = server.raw(request).await;
    assert!(answer.starts_with("HTTP/1.1 403"), "no 100 Continue: {answer}");
}

#[tokio::test]
async fn who_is_refused_while_sending_reads_why_afterwards() {
    let server = Server::start().await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(b"PUT /bkt/key HTTP/1.1\r\nHost: x\r\nContent-Length: 20000000\r\n\r\n").await.unwrap();
    stream.write_all(&vec![0; 20_000_000]).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 403") && answer.contains("AccessDenied"), "{answer}");
}
