//! HTTP/2: what a connection may not do to a server. Frames are made here, since no client makes such ones.

use ninefold::server::Limits;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::frames::{CONTINUATION, END_HEADERS, END_STREAM, GOAWAY, HEADERS, RST_STREAM, SETTINGS, frame, opening};
use crate::recording::Server;

/// `ENHANCE_YOUR_CALM`
const CALM: u32 = 11;

/// `GET / HTTP/2`, from HPACK's static table, and a host.
fn head(host: &str) -> Vec<u8> {
    [&[0x82, 0x86, 0x84, 0x41, host.len() as u8][..], host.as_bytes()].concat()
}

/// What the server says to this up to the first frame of a kind: kind and payload of each.
async fn said(server: &Server, frames: Vec<u8>, until: u8) -> Vec<(u8, Vec<u8>)> {
    let (mut reader, mut writer) = TcpStream::connect(server.address).await.unwrap().into_split();
    let sending = tokio::spawn(async move {
        // The server may have left before all is sent.
        let _ = async {
            writer.write_all(&opening()).await?;
            writer.write_all(&frames).await
        }
        .await;
        writer
    });
    let mut all = Vec::new();
    let mut head = [0; 9];
    while reader.read_exact(&mut head).await.is_ok() {
        let len = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let mut payload = vec![0; len];
        if reader.read_exact(&mut payload).await.is_err() {
            break;
        }
        all.push((head[3], payload));
        if head[3] == until {
            break;
        }
    }
    drop(sending.await);
    all
}

/// Why the server ended the connection.
fn reason(said: &[(u8, Vec<u8>)]) -> Option<u32> {
    let (_, payload) = said.iter().find(|(kind, _)| *kind == GOAWAY)?;
    Some(u32::from_be_bytes(payload[4..8].try_into().unwrap()))
}

#[tokio::test]
async fn who_opens_streams_only_to_reset_them_is_sent_away() {
    let server = Server::start().await;
    let mut frames = Vec::new();
    for stream in (1..400).step_by(2) {
        frames.extend(frame(HEADERS, END_STREAM | END_HEADERS, stream, &head("a.test")));
        frames.extend(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
    }
    assert_eq!(reason(&said(&server, frames, GOAWAY).await), Some(CALM));
}

#[tokio::test]
async fn headers_without_an_end_are_not_waited_for() {
    let server = Server::start().await;
    let mut frames = frame(HEADERS, END_STREAM, 1, &head("a.test"));
    for _ in 0..1000 {
        // A field of the same name again and again.
        frames.extend(frame(CONTINUATION, 0, 1, &[0x00, 0x01, b'a', 0x01, b'b']));
    }
    assert_eq!(reason(&said(&server, frames, GOAWAY).await), Some(CALM));
}

#[tokio::test]
async fn a_connection_is_told_its_limits() {
    let limits = Limits { streams: 7, ..Limits::default() };
    let server = Server::with(limits).await;
    let said = said(&server, Vec::new(), SETTINGS).await;
    let (_, settings) = said.iter().find(|(kind, _)| *kind == SETTINGS).unwrap();
    let of = |id: u16| {
        let pair = settings.chunks(6).find(|pair| pair[..2] == id.to_be_bytes())?;
        Some(u32::from_be_bytes(pair[2..6].try_into().unwrap()))
    };
    assert_eq!((of(3), of(6)), (Some(7), Some(64 << 10)), "streams, and bytes of headers");
}

#[tokio::test]
async fn more_headers_than_may_be_are_refused() {
    let server = Server::start().await;
    let request = http::Request::get("/bkt/key").header("host", "a.test").header("x-amz-meta-a", "a".repeat(70_000));
    let answer = server.send_h2(request.body(http_body_util::Full::default()).unwrap()).await;
    assert_eq!(answer.status, 431);
}

#[tokio::test]
async fn one_request_has_one_host() {
    let server = Server::start().await;
    for (host, status) in [("a.test", "403"), ("A.TEST", "403"), ("b.test", "400")] {
        let sent = format!("GET http://a.test/bkt/key HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        let answer = server.raw(sent.as_bytes()).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{host}: {answer}");
    }
    // The same, where the target of a request has a place of its own. 400 is in the static table, at 12.
    let host = |name: &str| [&[0x00, 4][..], b"host", &[name.len() as u8], name.as_bytes()].concat();
    for (name, refused) in [("a.test", false), ("b.test", true)] {
        let request = frame(HEADERS, END_STREAM | END_HEADERS, 1, &[head("a.test"), host(name)].concat());
        let said = said(&server, request, HEADERS).await;
        let (_, answer) = said.iter().find(|(kind, _)| *kind == HEADERS).unwrap();
        assert_eq!(answer.first() == Some(&0x8c), refused, "{name}");
    }
}
