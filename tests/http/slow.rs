//! Clients that take their time, or ask for more of the server's than they give: none keeps what it holds.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use http_body::Frame;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper_util::rt::{TokioExecutor, TokioIo};
use ninefold::limits::Rules;
use ninefold::server::Limits;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use crate::frames::{
    CONTINUATION, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, PREFACE, RST_STREAM, SETTINGS, frame, opening,
};
use crate::recording::Server;
use crate::signing::Call;

const SHORT: Duration = Duration::from_millis(50);

/// `GET / http` of the static table (RFC 7541), and an authority.
const REQUEST: &[u8] = b"\x82\x84\x86\x41\x01x";

async fn http2(server: &Server) -> TcpStream {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(&opening()).await.unwrap();
    stream
}

/// The types of the frames in what was read; the last may be cut.
fn kinds(mut bytes: &[u8]) -> Vec<u8> {
    let mut kinds = Vec::new();
    while let [a, b, c, kind, _, _, _, _, _, rest @ ..] = bytes {
        kinds.push(*kind);
        let len = u32::from_be_bytes([0, *a, *b, *c]) as usize;
        bytes = rest.get(len..).unwrap_or_default();
    }
    kinds
}

/// The same with small buffers, so that little is on its way.
async fn http2_with_little_room(server: &Server) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.set_send_buffer_size(4096).unwrap();
    let mut stream = socket.connect(server.address).await.unwrap();
    stream.write_all(&opening()).await.unwrap();
    stream
}

/// All that a server sends until it ends the connection, in whatever way.
async fn until_ended(stream: &mut TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    let mut buffer = vec![0; 64 << 10];
    while let Ok(read @ 1..) = stream.read(&mut buffer).await {
        all.extend_from_slice(&buffer[..read]);
    }
    all
}

/// Sends the same again and again, up to this many bytes in all, and reads nothing meanwhile; answers whether the server put an end to it.
async fn flood(stream: &mut TcpStream, frames: &[u8], most: usize) -> bool {
    let batch = frames.repeat((64 << 10) / frames.len());
    for _ in 0..most / batch.len() {
        if stream.write_all(&batch).await.is_err() {
            return true;
        }
    }
    false
}

fn get(server: &Server, path: &str) -> Request<Full<Bytes>> {
    let call = Call::new(Method::GET, path).header("host", &server.address.to_string());
    server.signer().header(call, None)
}

#[tokio::test]
async fn a_kept_connection_without_a_request_is_ended() {
    let server = Server::with(Limits { head: SHORT, ..Limits::default() }).await;
    let answer = server.raw(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200") && !answer.contains("connection: close"), "{answer}");
}

#[tokio::test]
async fn an_http2_connection_without_a_request_is_ended_whatever_else_it_sends() {
    let server = Server::with(Limits { head: SHORT, ..Limits::default() }).await;
    let mut silent = http2(&server).await;
    assert!(kinds(&until_ended(&mut silent).await).contains(&GOAWAY));
    let mut pinging = http2(&server).await;
    let ended = async {
        while pinging.write_all(&frame(PING, 0, 0, b"are you?")).await.is_ok() {
            tokio::time::sleep(SHORT / 10).await;
        }
    };
    ended.await;
    // The beginning of a request is none.
    let mut beginning = http2(&server).await;
    beginning.write_all(&frame(HEADERS, END_STREAM, 1, REQUEST)).await.unwrap();
    until_ended(&mut beginning).await;
    let mut preface = TcpStream::connect(server.address).await.unwrap();
    preface.write_all(PREFACE).await.unwrap();
    until_ended(&mut preface).await;
}

#[tokio::test]
async fn an_http2_connection_with_a_request_is_not_idle() {
    let server = Server::with(Limits { head: SHORT, ..Limits::default() }).await;
    let slow = server.send_h2(get(&server, "/bkt/slow"));
    let release = async {
        server.recording.entered.notified().await;
        tokio::time::sleep(SHORT * 5).await;
        server.recording.released.notify_one();
    };
    let (answer, ()) = tokio::join!(slow, release);
    assert_eq!((answer.status, answer.body.as_str()), (200, "hello"));
}

#[tokio::test]
async fn a_stream_whose_answer_is_not_taken_is_reset_and_the_others_go_on() {
    let server = Server::with(Limits { silence: SHORT, ..Limits::default() }).await;
    let stream = TcpStream::connect(server.address).await.unwrap();
    let mut builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    // Nothing may be sent on any stream: only answers without a body come through.
    builder.initial_stream_window_size(0);
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let mut send = async |method: Method, path: &str| {
        let call = Call::new(method, path).header("host", &server.address.to_string());
        let mut request = server.signer().header(call, None);
        request.headers_mut().remove("host");
        *request.uri_mut() = format!("http://{}{path}", server.address).parse().unwrap();
        sender.send_request(request).await.unwrap()
    };
    for path in ["/bkt/key", "/bkt/large"] {
        let answer = send(Method::GET, path).await;
        assert_eq!(answer.status(), 200);
        let error = answer.into_body().collect().await.unwrap_err();
        assert!(!error.is_timeout(), "{error:?}");
        assert_eq!(send(Method::HEAD, "/bkt/key").await.status(), 200);
    }
}

#[tokio::test]
async fn who_takes_no_refusal_keeps_nobody_out() {
    let server = Server::with_rules(Rules { requests: 2, memory: 8 << 20, ..Rules::default() }).await;
    let stream = TcpStream::connect(server.address).await.unwrap();
    let mut builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    builder.initial_stream_window_size(0);
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let mut untaken = Vec::new();
    for _ in 0..10 {
        let uri = format!("http://{}/bkt/key", server.address);
        let put = Request::put(uri).header("content-length", "100000000");
        let endless = futures_util::stream::pending::<std::io::Result<Frame<Bytes>>>();
        let answer = sender.send_request(put.body(StreamBody::new(endless)).unwrap()).await.unwrap();
        assert_eq!(answer.status(), 403);
        untaken.push(answer);
    }
    assert_eq!(server.send(get(&server, "/bkt/key")).await.status, 200);
}

#[tokio::test]
async fn an_http1_answer_that_is_not_taken_is_given_up() {
    let server = Server::with(Limits { silence: SHORT, ..Limits::default() }).await;
    let request = get(&server, "/bkt/large");
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let mut head = "GET /bkt/large HTTP/1.1\r\n".to_owned();
    for (name, value) in request.headers() {
        head += &format!("{name}: {}\r\n", value.to_str().unwrap());
    }
    stream.write_all(format!("{head}\r\n").as_bytes()).await.unwrap();
    let canceled = "minio_s3_requests_canceled_total{api=\"getobject\"}";
    while crate::minio::metrics(&server, "node").await.get(canceled) != Some(&1.0) {
        tokio::task::yield_now().await;
    }
    assert!(until_ended(&mut stream).await.len() < 64 << 20, "what was on its way, and no more");
}

#[tokio::test]
async fn floods_are_ended_or_held_off() {
    let server = Server::with(Limits { silence: SHORT, ..Limits::default() }).await;
    let most = 256 << 20;
    // Headers without an end.
    let mut stream = http2(&server).await;
    stream.write_all(&frame(HEADERS, END_STREAM, 1, REQUEST)).await.unwrap();
    assert!(flood(&mut stream, &frame(CONTINUATION, 0, 1, b""), most).await, "CONTINUATION");
    // Their answers are not taken, so no more of them are.
    let mut stream = http2_with_little_room(&server).await;
    assert!(flood(&mut stream, &frame(PING, 0, 0, b"answer!!"), most).await, "PING");
    let mut stream = http2_with_little_room(&server).await;
    assert!(flood(&mut stream, &frame(SETTINGS, 0, 0, b""), most).await, "SETTINGS");
    // Requests that are taken back at once.
    let mut stream = http2(&server).await;
    let mut ended = false;
    for id in (1..20_000).step_by(2) {
        let mut both = frame(HEADERS, END_STREAM | END_HEADERS, id, REQUEST);
        both.extend(frame(RST_STREAM, 0, id, &[0, 0, 0, 8]));
        if stream.write_all(&both).await.is_err() {
            ended = true;
            break;
        }
    }
    assert!(ended || kinds(&until_ended(&mut stream).await).contains(&GOAWAY), "RST_STREAM");
    // And nobody else has noticed.
    assert_eq!(server.send(get(&server, "/bkt/key")).await.body, "hello");
}
