//! Bodies on their way in: lengths, chunks, hashes.

use bytes::Bytes;
use http::{HeaderValue, Method, Request};
use http_body::Frame;
use http_body_util::{Full, StreamBody};

use crate::recording::Server;
use crate::signing::{Call, sha256, unsigned_chunks};

const NOTHING: [&str; 0] = [];

fn put(server: &Server) -> Call {
    Call::new(Method::PUT, "/bkt/key").header("host", &server.address.to_string())
}

/// Sends a body without a length: `Transfer-Encoding: chunked`.
fn uncounted(
    request: Request<Full<Bytes>>,
    pieces: Vec<Bytes>,
) -> Request<impl http_body::Body<Data = Bytes, Error = std::io::Error> + Send + Unpin> {
    let frames = futures_util::stream::iter(pieces.into_iter().map(|piece| Ok(Frame::data(piece))));
    request.map(|_| StreamBody::new(frames))
}

#[tokio::test]
async fn a_body_arrives_as_it_was_sent() {
    let server = Server::start().await;
    let signer = server.signer();
    let body = Bytes::from(vec![7; 3_000_000]);
    for payload in [None, Some("UNSIGNED-PAYLOAD")] {
        let answer = server.send(signer.header(put(&server).body(body.clone()), payload)).await;
        assert_eq!(answer.status, 200);
        assert!(server.recording.take()[0].body == body);
        let answer = server.send_h2(signer.header(put(&server).body(body.clone()), payload)).await;
        assert_eq!(answer.status, 200);
        assert!(server.recording.take()[0].body == body);
    }
    let empty = server.send_h2(signer.header(put(&server), None)).await;
    assert_eq!((empty.status, server.reached()), (200, vec!["PutObject"]));
}

#[tokio::test]
async fn a_connection_ends_with_an_answer_that_left_a_body_unread() {
    let server = Server::start().await;
    let signer = server.signer();
    let body = Bytes::from(vec![7; 100]);
    let read = server.send(signer.header(put(&server).body(body.clone()), None)).await;
    assert_eq!((read.status, read.headers.get("connection")), (200, None));
    let refused = server.send(signer.header(put(&server).body(body), Some("nonsense"))).await;
    assert_eq!(refused.status, 400);
    assert_eq!(refused.headers.get("connection").unwrap(), "close");
    let nothing = server.send(signer.header(put(&server).header("x-amz-storage-class", "NONE"), None)).await;
    assert_eq!(nothing.headers.get("connection"), None, "there was nothing to read");
}

#[tokio::test]
async fn a_body_with_another_hash_is_refused() {
    let server = Server::start().await;
    let signer = server.signer();
    let mut request = signer.header(put(&server).body("what was signed"), None);
    *request.body_mut() = Full::new(Bytes::from_static(b"something other"));
    let answer = server.send(request).await;
    assert_eq!((answer.status, answer.code()), (400, "XAmzContentSHA256Mismatch"));
    let answer = server.send(signer.header(put(&server).body("x"), Some("nonsense"))).await;
    assert_eq!((answer.status, answer.code()), (400, "InvalidArgument"));
    assert_eq!(server.reached(), NOTHING);
}

#[tokio::test]
async fn documents_with_another_hash_or_too_large_are_the_client_s_fault() {
    let server = Server::start().await;
    let signer = server.signer();
    let xml = "<Delete><Object><Key>aa</Key></Object></Delete>";
    let host = server.address.to_string();
    let bare = || Call::new(Method::POST, "/bkt").query("delete", "").header("host", &host).body(xml);
    let delete = || bare().header("content-md5", "X9CctwXGFmgS5EnSLTQmzg==");
    let answer = server.send(signer.header(delete(), None)).await;
    assert_eq!((answer.status, server.reached()), (200, vec!["DeleteObjects"]));
    let mut request = signer.header(delete(), None);
    *request.body_mut() = Full::new(xml.replace("aa", "bb").into());
    let answer = server.send(request).await;
    assert_eq!((answer.status, answer.code()), (400, "XAmzContentSHA256Mismatch"));
    // A body whose hash is what was signed need not be what its sender wanted to send.
    let other = Call { body: xml.replace("aa", "bb").into(), ..delete() };
    let answer = server.send(signer.header(other.clone(), None)).await;
    assert_eq!((answer.status, answer.code()), (400, "BadDigest"));
    let answer = server.send_h2(signer.header(other, Some("UNSIGNED-PAYLOAD"))).await;
    assert_eq!((answer.status, answer.code()), (400, "BadDigest"));
    let answer = server.send(signer.header(bare().header("x-amz-checksum-crc32", "AAAAAA=="), None)).await;
    assert_eq!((answer.status, answer.code()), (400, "BadDigest"));
    let answer = server.send(signer.header(bare(), None)).await;
    assert_eq!((answer.status, answer.code()), (400, "InvalidRequest"), "a deletion needs a digest");
    let hidden = Call { body: xml.replace("aa", "a<![CDATA[b]]>a").into(), ..bare() };
    let answer = server.send(signer.header(hidden.header("content-md5", "gFwED3ZV5AK/iH5WBK7dSQ=="), None)).await;
    assert_eq!((answer.status, answer.code()), (400, "MalformedXML"), "another key than its sender meant");
    let mut request = signer.header(delete(), None);
    request.headers_mut().insert("content-length", HeaderValue::from_static("20971521"));
    let head = request.map(|_| StreamBody::new(futures_util::stream::pending::<std::io::Result<Frame<Bytes>>>()));
    let answer = server.send_body(head).await;
    assert_eq!((answer.status, answer.code()), (400, "MaxMessageLengthExceeded"));
    assert_eq!(server.reached(), NOTHING);
}

#[tokio::test]
async fn more_than_five_gibibytes_are_refused_unread() {
    let server = Server::start().await;
    let signer = server.signer();
    let mut request = signer.header(put(&server), Some("UNSIGNED-PAYLOAD"));
    request.headers_mut().insert("content-length", HeaderValue::from_static("5368709121"));
    let head = request.map(|_| StreamBody::new(futures_util::stream::pending::<std::io::Result<Frame<Bytes>>>()));
    let answer = server.send_body(head).await;
    assert_eq!((answer.status, answer.code()), (400, "EntityTooLarge"));
    assert_eq!(answer.element("MaxSizeAllowed"), Some("5368709120"));
    let chunked =
        signer.chunked_unsigned(put(&server), &[b"x"], &[("x-amz-checksum-crc32", "AAAAAA==")], 5_368_709_121);
    assert_eq!(server.send(chunked).await.code(), "EntityTooLarge");
    assert_eq!(server.reached(), NOTHING);
}

#[tokio::test]
async fn an_upload_without_a_length_is_asked_for_one() {
    let server = Server::start().await;
    let request = server.signer().header(put(&server), Some("UNSIGNED-PAYLOAD"));
    let mut head = "PUT /bkt/key HTTP/1.1\r\nConnection: close\r\n".to_owned();
    for (name, value) in request.headers() {
        head += &format!("{name}: {}\r\n", value.to_str().unwrap());
    }
    let raw = server.raw(format!("{head}\r\n").as_bytes()).await;
    assert!(raw.starts_with("HTTP/1.1 411") && raw.contains("MissingContentLength"), "{raw}");
    assert_eq!(server.reached(), NOTHING);
    let raw = server.raw(format!("{head}Content-Length: 0\r\n\r\n").as_bytes()).await;
    assert!(raw.starts_with("HTTP/1.1 200"), "{raw}");
}

#[tokio::test]
async fn a_length_and_chunks_together_are_refused() {
    let server = Server::start().await;
    let request = server.signer().header(put(&server).header("content-length", "3"), Some("UNSIGNED-PAYLOAD"));
    let mut head = "PUT /bkt/key HTTP/1.1\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n".to_owned();
    for (name, value) in request.headers() {
        head += &format!("{name}: {}\r\n", value.to_str().unwrap());
    }
    let raw = server.raw(format!("{head}\r\n5\r\nhello\r\n0\r\n\r\n").as_bytes()).await;
    assert!(!raw.starts_with("HTTP/1.1 200"), "{raw}");
    assert_eq!(server.reached(), NOTHING);
}

#[tokio::test]
async fn bodies_of_unknown_length_are_counted_first() {
    let server = Server::start().await;
    let signer = server.signer();
    let pieces: Vec<Bytes> = (0..30).map(|i| Bytes::from(vec![i; 100_000])).collect();
    let whole = pieces.concat();
    for payload in [Some(sha256(&whole)), Some("UNSIGNED-PAYLOAD".to_owned())] {
        let request = signer.header(put(&server), payload.as_deref());
        let answer = server.send_body(uncounted(request, pieces.clone())).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert!(server.recording.take()[0].body == whole);
    }
    let answer = server.send_body(uncounted(signer.presign(&put(&server), "60"), pieces[..2].to_vec())).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(server.recording.take()[0].body.len(), 200_000);
    let request = signer.header(put(&server), Some(&sha256("other")));
    let answer = server.send_body(uncounted(request, pieces)).await;
    assert_eq!((answer.status, answer.code()), (400, "XAmzContentSHA256Mismatch"));
    assert_eq!(server.reached(), NOTHING);
    assert_eq!(std::fs::read_dir(server.spool.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn nobody_s_body_is_kept_for_a_stranger() {
    let server = Server::start().await;
    let mut forger = server.signer();
    forger.secret = "guessed".into();
    let requests = [
        (forger.header(put(&server), Some("UNSIGNED-PAYLOAD")), "SignatureDoesNotMatch"),
        (forger.presign(&put(&server), "60"), "SignatureDoesNotMatch"),
        (server.signer().header(put(&server).query("foo", ""), Some("UNSIGNED-PAYLOAD")), "NotImplemented"),
    ];
    for (request, code) in requests {
        // The body never ends: an answer can come only if nobody waits for it.
        let request =
            request.map(|_| StreamBody::new(futures_util::stream::pending::<std::io::Result<Frame<Bytes>>>()));
        let answer = server.send_body(request).await;
        assert_eq!(answer.code(), code);
    }
    assert_eq!(server.reached(), NOTHING);
}

#[tokio::test]
async fn chunks_signed_and_unsigned_are_taken_apart() {
    let server = Server::start().await;
    let signer = server.signer();
    let (a, b) = (vec![1; 70_000], vec![2; 600_000]);
    let whole = [a.as_slice(), &b].concat();
    let trailer = [("x-amz-checksum-crc32", "AAAAAA==")];
    for trailers in [&trailer[..], &[]] {
        let answer = server.send(signer.chunked(put(&server), &[&a, &b], trailers)).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert_eq!(answer.header("x-amz-checksum-crc32"), trailers.first().map(|(_, value)| *value));
        assert!(server.recording.take()[0].body == whole);
    }
    let answer = server.send(signer.chunked_unsigned(put(&server), &[&a, &b], &trailer, whole.len())).await;
    assert_eq!((answer.status, answer.header("x-amz-checksum-crc32")), (200, Some("AAAAAA==")));
    assert!(server.recording.take()[0].body == whole);
    // The same without a Content-Length.
    let request = signer.chunked_unsigned(put(&server), &[], &trailer, whole.len());
    let answer = server.send_body(uncounted(request, vec![unsigned_chunks(&[&a, &b], &trailer)])).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert!(server.recording.take()[0].body == whole);
}

#[tokio::test]
async fn chunked_bodies_must_be_as_announced() {
    let server = Server::start().await;
    let signer = server.signer();
    let trailer = [("x-amz-checksum-crc32", "AAAAAA==")];
    for decoded in [4, 6] {
        let answer = server.send(signer.chunked_unsigned(put(&server), &[b"hello"], &trailer, decoded)).await;
        assert_eq!((answer.status, answer.code()), (400, "IncompleteBody"), "{decoded}");
    }
    // No last chunk.
    let mut request = signer.chunked_unsigned(put(&server), &[b"hello"], &trailer, 5);
    *request.body_mut() = Full::new(Bytes::from_static(b"5\r\nhello\r\n"));
    let answer = server.send(request).await;
    assert_eq!((answer.status, answer.code()), (400, "IncompleteBody"));
    let mut request = signer.chunked_unsigned(put(&server), &[b"hello"], &trailer, 5);
    *request.body_mut() = Full::new(Bytes::from_static(b"five\r\nhello\r\n0\r\n\r\n"));
    let answer = server.send(request).await;
    assert_eq!((answer.status, answer.code()), (400, "InvalidRequest"));
    // A chunk that somebody changed.
    let request = signer.chunked(put(&server), &[b"hello"], &[]);
    let bytes = http_body_util::BodyExt::collect(request.body().clone()).await.unwrap().to_bytes();
    let changed = String::from_utf8(bytes.to_vec()).unwrap().replace("hello", "jello");
    let answer = server.send(request.map(|_| Full::new(changed.into()))).await;
    assert_eq!((answer.status, answer.code()), (403, "SignatureDoesNotMatch"));
    // The length is not announced, or is none.
    let none = signer.header(put(&server).header("x-amz-trailer", "x"), Some("STREAMING-UNSIGNED-PAYLOAD-TRAILER"));
    let answer = server.send(none).await;
    assert_eq!((answer.status, answer.code()), (411, "MissingContentLength"));
    let bad = put(&server).header("x-amz-trailer", "x").header("x-amz-decoded-content-length", "5x");
    let answer = server.send(signer.header(bad, Some("STREAMING-UNSIGNED-PAYLOAD-TRAILER"))).await;
    assert_eq!((answer.status, answer.code()), (400, "InvalidRequest"));
    assert_eq!(server.reached(), NOTHING);
}

#[tokio::test]
async fn large_signed_chunks_are_refused_before_they_are_read() {
    let server = Server::start().await;
    let signer = server.signer();
    let call = put(&server).header("x-amz-decoded-content-length", "33554432").header("content-length", "33554600");
    let request = signer.header(call, Some("STREAMING-AWS4-HMAC-SHA256-PAYLOAD"));
    let line = format!("2000000;chunk-signature={}\r\n", "0".repeat(64));
    let first = futures_util::stream::iter([Ok::<_, std::io::Error>(Frame::data(Bytes::from(line)))]);
    let body = futures_util::StreamExt::chain(first, futures_util::stream::pending());
    let answer = server.send_body(request.map(|_| StreamBody::new(body))).await;
    assert_eq!((answer.status, answer.code()), (400, "InvalidRequest"));
    assert!(answer.body.contains("16 MiB"), "{}", answer.body);
    assert_eq!(server.reached(), NOTHING);
}
