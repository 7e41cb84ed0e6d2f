//! Uploads by form: how they are framed, signed, judged and answered.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{Method, Request};
use http_body::Frame;
use http_body_util::{Full, StreamBody};

use crate::recording::{ACCESS_KEY, Answer, DOMAIN, REGION, SECRET, Server};
use crate::signing::{Call, Signer};

const NOTHING: [&str; 0] = [];

/// A form to be posted to the bucket `bkt`, of which every part may be changed.
#[derive(Clone)]
pub struct Form {
    signer: Signer,
    conditions: Vec<String>,
    /// In the order they are sent; the file is behind them.
    fields: Vec<(String, String)>,
    /// Its name and its bytes.
    file: (String, Vec<u8>),
}

/// A form of one field, `key`, that is signed as it should be.
pub fn form(server: &Server) -> Form {
    Form {
        signer: server.signer(),
        conditions: vec![r#"{"bucket": "bkt"}"#.to_owned()],
        fields: Vec::new(),
        file: ("a.txt".to_owned(), b"content".to_vec()),
    }
    .with("key", "k")
}

impl Form {
    /// A field, and the condition that it may be anything.
    fn with(mut self, name: &str, value: &str) -> Self {
        self.conditions.push(format!("[\"starts-with\", \"${name}\", \"\"]"));
        self.field(name, value)
    }

    fn field(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.to_owned(), value.to_owned()));
        self
    }

    fn condition(mut self, condition: &str) -> Self {
        self.conditions.push(condition.to_owned());
        self
    }

    fn without(mut self, name: &str) -> Self {
        self.fields.retain(|(known, _)| known != name);
        self
    }

    fn content(mut self, content: &[u8]) -> Self {
        self.file.1 = content.to_vec();
        self
    }

    /// Adds the policy, which ends in so many seconds, and nothing else.
    fn policy(self, seconds: i64) -> Self {
        let ends = time::OffsetDateTime::now_utc() + time::Duration::seconds(seconds);
        let format = time::macros::format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].000Z");
        let ends = ends.format(format).unwrap();
        let policy = format!("{{\"expiration\": \"{ends}\", \"conditions\": [{}]}}", self.conditions.join(", "));
        self.field("policy", &BASE64_STANDARD.encode(policy))
    }

    /// Adds the policy and the fields of a version 4 signature.
    pub fn signed(self) -> Self {
        self.signed_for(600)
    }

    fn signed_for(self, seconds: i64) -> Self {
        let signer = self.signer.clone();
        let form = self
            .with("x-amz-algorithm", "AWS4-HMAC-SHA256")
            .with("x-amz-credential", &format!("{}/{}", signer.access_key, signer.scope()))
            .with("x-amz-date", &signer.date())
            .policy(seconds);
        let signature = signer.sign(&form.fields.last().unwrap().1);
        form.field("x-amz-signature", &signature)
    }

    /// The same of version 2.
    fn signed2(self) -> Self {
        let form = self.field("AWSAccessKeyId", ACCESS_KEY).policy(600);
        let mut mac = Hmac::<sha1::Sha1>::new_from_slice(SECRET.as_bytes()).unwrap();
        mac.update(form.fields.last().unwrap().1.as_bytes());
        let signature = BASE64_STANDARD.encode(mac.finalize().into_bytes());
        form.field("signature", &signature)
    }

    pub fn body(&self) -> Vec<u8> {
        let mut body = Vec::new();
        for (name, value) in &self.fields {
            let part = format!("--XX\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
            body.extend_from_slice(part.as_bytes());
        }
        let (name, content) = &self.file;
        let head = format!("--XX\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\r\n");
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n--XX--\r\n");
        body
    }

    pub async fn send(&self, server: &Server) -> Answer {
        server.send(post("/bkt", self.body())).await
    }
}

pub fn post(path: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    Request::post(path).header("content-type", "multipart/form-data; boundary=XX").body(Full::new(body.into())).unwrap()
}

fn outcome(answer: &Answer) -> (u16, &str, &str) {
    (answer.status, answer.code(), answer.element("Message").unwrap_or_default())
}

#[tokio::test]
async fn a_file_is_stored_under_its_key() {
    let server = Server::start().await;
    let content = vec![7; 3_000_000];
    let signed = form(&server).content(&content).signed();
    for h2 in [false, true] {
        let request = post("/bkt", signed.body());
        let answer = if h2 { server.send_h2(request).await } else { server.send(request).await };
        assert_eq!((answer.status, answer.body.as_str()), (204, ""));
        assert_eq!(answer.header("etag"), Some("\"abc\""));
        assert_eq!(answer.header("location"), Some(format!("http://{}/bkt/k", server.address).as_str()));
        let reached = server.recording.take();
        assert_eq!(
            (reached[0].operation, reached[0].bucket.as_str(), reached[0].key.as_str()),
            ("PutObject", "bkt", "k")
        );
        assert!(reached[0].body == content);
    }
}

#[tokio::test]
async fn buckets_are_named_by_path_or_host() {
    let server = Server::start().await;
    for key in ["k", "/a//b/../c d+e%2F?&#", "ü/\u{1F600}", "${filename}", "x/${filename}", &"k".repeat(1024)] {
        let body = form(&server).without("key").with("key", key).signed().body();
        let wanted = key.replace("${filename}", "a.txt");
        for host in [None, Some(format!("bkt.{DOMAIN}"))] {
            for h2 in [false, true] {
                let mut request = post(if host.is_some() { "/" } else { "/bkt/" }, body.clone());
                if let Some(host) = &host {
                    request.headers_mut().insert("host", host.parse().unwrap());
                }
                let answer = if h2 { server.send_h2(request).await } else { server.send(request).await };
                assert_eq!(answer.status, 204, "{key} {}", answer.body);
                let location = answer.header("location").unwrap();
                let start =
                    host.as_ref().map_or(format!("http://{}/bkt/", server.address), |host| format!("http://{host}/"));
                assert_eq!(location.strip_prefix(&start).map(|key| key.contains('/')), Some(false), "{location}");
                let reached = server.recording.take();
                assert_eq!((reached[0].bucket.as_str(), reached[0].key.as_str()), ("bkt", wanted.as_str()));
            }
        }
    }
    let long = form(&server).without("key").with("key", &"k".repeat(1025)).signed().send(&server).await;
    assert_eq!((long.status, long.code()), (400, "KeyTooLongError"));
    let empty = form(&server).without("key").with("key", "").signed().send(&server).await;
    assert_eq!(outcome(&empty), (400, "InvalidArgument", "User key must have a length greater than 0."));
    assert_eq!(server.reached(), NOTHING);
}

#[tokio::test]
async fn success_is_answered_as_the_form_asks() {
    let server = Server::start().await;
    for (asked, status) in [("200", 200), ("204", 204), ("404", 204)] {
        let answer = form(&server).with("success_action_status", asked).signed().send(&server).await;
        assert_eq!((answer.status, answer.body.as_str(), answer.header("content-type")), (status, "", None), "{asked}");
        assert!(answer.header("location").is_some() && answer.header("etag").is_some());
    }
    let created = form(&server).without("key").with("key", "a/b&c").with("success_action_status", "201");
    let created = created.signed().send(&server).await;
    assert_eq!((created.status, created.header("content-type")), (201, Some("application/xml")));
    let location = format!("http://{}/bkt/a%2Fb%26c", server.address);
    let document = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<PostResponse><Location>{location}</Location><Bucket>bkt</Bucket>\
         <Key>a/b&amp;c</Key><ETag>&quot;abc&quot;</ETag></PostResponse>"
    );
    assert_eq!((created.body.as_str(), created.header("location")), (document.as_str(), Some(location.as_str())));
    for name in ["success_action_redirect", "redirect"] {
        let answer = form(&server).without("key").with("key", "a/b c").with(name, "http://a.test/x?y=z#part");
        let answer = answer.with("success_action_status", "201").signed().send(&server).await;
        assert_eq!((answer.status, answer.body.as_str()), (303, ""));
        let url = "http://a.test/x?y=z&bucket=bkt&key=a%2Fb+c&etag=%22abc%22#part";
        assert_eq!(answer.header("location"), Some(url));
    }
    let relative = form(&server).with("success_action_redirect", "/relative").signed().send(&server).await;
    assert_eq!(relative.status, 204);
}

#[tokio::test]
async fn signatures_are_verified() {
    let server = Server::start().await;
    let mut forger = form(&server);
    forger.signer.secret = "guessed".into();
    let answer = forger.signed().send(&server).await;
    assert_eq!((answer.status, answer.code()), (403, "SignatureDoesNotMatch"));
    assert_eq!(answer.element("AWSAccessKeyId"), Some(ACCESS_KEY));
    let mut stranger = form(&server);
    stranger.signer.access_key = "AKIDOTHER".into();
    let answer = stranger.signed().send(&server).await;
    assert_eq!((answer.status, answer.code()), (403, "InvalidAccessKeyId"));
    assert_eq!(answer.element("AWSAccessKeyId"), Some("AKIDOTHER"));
    for (change, message) in [
        (0, "the region 'us-east-1' is wrong; expecting 'eu-test-1'"),
        (1, "incorrect service \"sts\". This endpoint belongs to \"s3\"."),
    ] {
        let mut other = form(&server);
        *[&mut other.signer.region, &mut other.signer.service][change] = ["us-east-1", "sts"][change].to_owned();
        let answer = other.signed().send(&server).await;
        assert_eq!(outcome(&answer), (400, "InvalidArgument", message));
        assert_eq!(answer.element("Region"), (change == 0).then_some(REGION));
    }
    let mut old = form(&server);
    old.signer = old.signer.earlier(Duration::from_secs(8 * 86_400));
    assert_eq!(outcome(&old.signed().send(&server).await), (403, "AccessDenied", "Request has expired"));
    let signed = form(&server).signed();
    for name in ["x-amz-signature", "x-amz-credential", "x-amz-date", "x-amz-algorithm", "policy", "key"] {
        let answer = signed.clone().without(name).send(&server).await;
        assert_eq!((answer.status, answer.code()), (400, "InvalidArgument"), "{name}");
        assert_eq!(answer.element("ArgumentName").unwrap().to_lowercase(), name);
        let lacks =
            format!("Bucket POST must contain a field named '{}'.  If it", answer.element("ArgumentName").unwrap());
        assert!(answer.body.contains(&lacks), "{}", answer.body);
    }
    assert_eq!(outcome(&form(&server).send(&server).await), (403, "AccessDenied", "Access Denied"));
    assert_eq!(outcome(&form(&server).policy(600).send(&server).await), (403, "AccessDenied", "Access Denied"));
    let token = form(&server).with("x-amz-security-token", "token").signed().send(&server).await;
    assert_eq!((token.status, token.code()), (400, "InvalidToken"));
    assert_eq!(server.reached(), NOTHING);
}

#[tokio::test]
async fn version_2_signs_forms_where_it_is_allowed() {
    let server = Server::start().await;
    let answer = form(&server).signed2().send(&server).await;
    assert_eq!((answer.status, answer.code()), (400, "InvalidRequest"));
    assert!(answer.body.contains("Please use AWS4-HMAC-SHA256."), "{}", answer.body);
    let lenient = Server::with_sigv2().await;
    assert_eq!(form(&lenient).signed2().send(&lenient).await.status, 204);
    assert_eq!(form(&lenient).signed().send(&lenient).await.status, 204);
    assert_eq!(lenient.reached(), ["PutObject", "PutObject"]);
    let both = form(&lenient).signed2().field("x-amz-signature", "00").send(&lenient).await;
    assert_eq!((both.status, both.code()), (400, "InvalidArgument"));
    let forged = form(&lenient).signed2().without("signature").field("signature", "AAAA").send(&lenient).await;
    assert_eq!((forged.status, forged.code()), (403, "SignatureDoesNotMatch"));
    assert_eq!((server.reached(), lenient.reached()), (vec![], vec![]));
}

#[tokio::test]
async fn policies_are_kept() {
    let server = Server::start().await;
    let failed = "Invalid according to Policy: Policy Condition failed: ";
    let expired = form(&server).signed_for(-1).send(&server).await;
    assert_eq!(outcome(&expired), (403, "AccessDenied", "Invalid according to Policy: Policy expired."));
    let uncovered = form(&server).field("StorageClass", "x").signed().send(&server).await;
    assert_eq!(
        outcome(&uncovered),
        (403, "AccessDenied", "Invalid according to Policy: Extra input fields: StorageClass")
    );
    let ignored = form(&server).field("x-ignore-me", "x").signed().send(&server).await;
    assert_eq!((ignored.status, server.reached()), (204, vec!["PutObject"]));
    let other = form(&server).condition(r#"["eq", "$key", "other"]"#).signed().send(&server).await;
    assert_eq!((other.status, other.code()), (403, "AccessDenied"));
    assert!(other.body.contains(&format!("{failed}[\"eq\", \"$key\", \"other\"]")), "{}", other.body);
    // The bucket of a form is where it is posted.
    let elsewhere = server.send(post("/bkt2", form(&server).with("bucket", "bkt").signed().body())).await;
    assert_eq!((elsewhere.status, elsewhere.code()), (403, "AccessDenied"));
    let broken = form(&server).condition("[]").signed().send(&server).await;
    let message = "Invalid Policy: Invalid Condition: missing operation identifier.";
    assert_eq!(outcome(&broken), (400, "InvalidPolicyDocument", message));
    assert_eq!(server.reached(), NOTHING);
}

#[tokio::test]
async fn lengths_are_kept() {
    let server = Server::start().await;
    let bounded =
        |len: usize| form(&server).condition(r#"["content-length-range", 5, 10]"#).content(&vec![1; len]).signed();
    for len in [5, 10] {
        assert_eq!(bounded(len).send(&server).await.status, 204);
    }
    assert_eq!(server.reached(), ["PutObject", "PutObject"]);
    let large = bounded(12).send(&server).await;
    assert_eq!(outcome(&large), (400, "EntityTooLarge", "Your proposed upload exceeds the maximum allowed size"));
    assert_eq!((large.element("ProposedSize"), large.element("MaxSizeAllowed")), (Some("12"), Some("10")));
    let small = bounded(1).send(&server).await;
    assert_eq!(
        outcome(&small),
        (400, "EntityTooSmall", "Your proposed upload is smaller than the minimum allowed size")
    );
    assert_eq!((small.element("ProposedSize"), small.element("MinSizeAllowed")), (Some("1"), Some("5")));
    // A file that never ends is refused once it is too large.
    let body = bounded(11).body();
    let begun = body[..body.len() - 10].to_vec();
    let first = futures_util::stream::iter([Ok::<_, std::io::Error>(Frame::data(Bytes::from(begun)))]);
    let endless = futures_util::StreamExt::chain(first, futures_util::stream::pending());
    let answer = server.send_body(post("/bkt", "").map(|_| StreamBody::new(endless))).await;
    assert_eq!(answer.code(), "EntityTooLarge");
    assert_eq!(server.reached(), NOTHING);
}

#[tokio::test]
async fn strangers_are_refused_before_their_file_is_read() {
    let server = Server::start().await;
    let body = form(&server).body();
    let begun = body[..body.len() - 15].to_vec();
    let first = futures_util::stream::iter([Ok::<_, std::io::Error>(Frame::data(Bytes::from(begun)))]);
    let endless = futures_util::StreamExt::chain(first, futures_util::stream::pending());
    let answer = server.send_body(post("/bkt", "").map(|_| StreamBody::new(endless))).await;
    assert_eq!((answer.status, answer.code()), (403, "AccessDenied"));
    let mut huge = post("/bkt", "");
    huge.headers_mut().insert("content-length", "5368750081".parse().unwrap());
    let pending = futures_util::stream::pending::<std::io::Result<Frame<Bytes>>>();
    let answer = server.send_body(huge.map(|_| StreamBody::new(pending))).await;
    assert_eq!((answer.status, answer.code()), (400, "EntityTooLarge"));
    assert_eq!(server.reached(), NOTHING);
}

#[tokio::test]
async fn broken_forms_store_nothing() {
    let server = Server::start().await;
    let whole = form(&server).signed().body();
    let end = whole.len();
    let malformed = "The body of your POST request is not well-formed multipart/form-data.";
    let garbage = [whole.as_slice(), b"--XX garbage"].concat();
    for body in [&whole[..end - 4], &whole[..end - 20], &whole[..40], &b"no form"[..], &garbage] {
        let answer = server.send(post("/bkt", body.to_vec())).await;
        assert_eq!(outcome(&answer), (400, "MalformedPOSTRequest", malformed), "{:?}", String::from_utf8_lossy(body));
    }
    for content_type in
        ["multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; boundary=\"a\tb\""]
    {
        let mut request = post("/bkt", whole.clone());
        request.headers_mut().insert("content-type", content_type.parse().unwrap());
        assert_eq!(outcome(&server.send(request).await), (400, "MalformedPOSTRequest", malformed), "{content_type}");
    }
    let one = "POST requires exactly one file upload per request.";
    let named = String::from_utf8(whole.clone()).unwrap().replace("name=\"file\"", "name=\"upload\"");
    let answer = server.send(post("/bkt", named)).await;
    assert_eq!(outcome(&answer), (400, "InvalidArgument", one));
    assert_eq!((answer.element("ArgumentName"), answer.element("ArgumentValue")), (Some("file"), Some("0")));
    let second = "\r\n--XX\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\nb\r\n--XX--\r\n";
    let two = String::from_utf8(whole.clone()).unwrap().replace("\r\n--XX--\r\n", second);
    assert_eq!(outcome(&server.send(post("/bkt", two)).await), (400, "IncorrectNumberOfFilesInPostRequest", one));
    let long = form(&server).with("x-amz-meta-a", &"a".repeat(20_480)).signed().send(&server).await;
    assert_eq!((long.status, long.code()), (400, "MaxPostPreDataLengthExceeded"));
    assert_eq!(long.element("MaxPostPreDataLengthBytes"), Some("20480"));
    assert_eq!(server.reached(), NOTHING);
    // What is behind the file is not looked at.
    let more = "\r\n--XX\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\nother\r\n--XX--\r\n";
    let more = String::from_utf8(whole.clone()).unwrap().replace("\r\n--XX--\r\n", more);
    assert_eq!(server.send(post("/bkt", more)).await.status, 204);
    assert_eq!(server.recording.take()[0].key, "k");
}

#[tokio::test]
async fn a_client_that_leaves_stores_nothing() {
    use tokio::io::AsyncWriteExt as _;
    let server = Server::start().await;
    let body = form(&server).content(&[1; 100_000]).signed().body();
    let head = format!(
        "POST /bkt HTTP/1.1\r\nHost: {}\r\nContent-Type: multipart/form-data; boundary=XX\r\nContent-Length: {}\r\n\r\n",
        server.address,
        body.len()
    );
    for sent in [body.len() - 1, body.len() - 50_000, 10] {
        let mut stream = tokio::net::TcpStream::connect(server.address).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&body[..sent]).await.unwrap();
        drop(stream);
    }
    // Requests behind it, on another connection, are served; nothing of the three has come through.
    assert_eq!(form(&server).signed().send(&server).await.status, 204);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(server.reached(), ["PutObject"]);
    // A length that is none: neither a form without one, nor one with two.
    let raw = server.raw(b"POST /bkt HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Type: multipart/form-data; boundary=XX\r\n\r\n").await;
    assert!(raw.starts_with("HTTP/1.1 411") && raw.contains("MissingContentLength"), "{raw}");
}

#[tokio::test]
async fn who_sends_all_before_he_listens_hears_why_he_was_refused() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let server = Server::start().await;
    let large = vec![1; 20_000_000];
    for (form, code) in [
        (form(&server).signed_for(-1), "AccessDenied"),
        (form(&server).condition(r#"["content-length-range", 0, 10]"#).signed(), "EntityTooLarge"),
        (form(&server).with("tagging", "no xml").signed(), "MalformedXML"),
    ] {
        let body = form.content(&large).body();
        let head = format!(
            "POST /bkt HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Type: multipart/form-data; boundary=XX\r\nContent-Length: {}\r\n\r\n",
            server.address,
            body.len()
        );
        let mut stream = tokio::net::TcpStream::connect(server.address).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&body).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.contains(&format!("<Code>{code}</Code>")), "{answer}");
    }
    assert_eq!(server.reached(), NOTHING);
}

#[tokio::test]
async fn a_form_may_come_in_chunks() {
    let server = Server::start().await;
    let pieces: Vec<_> =
        form(&server).content(&[3; 300_000]).signed().body().chunks(70_000).map(Bytes::copy_from_slice).collect();
    let frames =
        futures_util::stream::iter(pieces.into_iter().map(|piece| Ok::<_, std::io::Error>(Frame::data(piece))));
    let answer = server.send_body(post("/bkt", "").map(|_| StreamBody::new(frames))).await;
    assert_eq!(answer.status, 204, "{}", answer.body);
    assert!(server.recording.take()[0].body == vec![3; 300_000]);
}

#[tokio::test]
async fn only_buckets_take_forms_and_only_forms() {
    let server = Server::start().await;
    let body = form(&server).signed().body();
    for (path, status, code) in [
        ("/", 405, "MethodNotAllowed"),
        ("/bkt/key", 405, "MethodNotAllowed"),
        ("/bkt?delete", 501, "NotImplemented"),
        ("/bkt/key?uploads", 501, "NotImplemented"),
        ("/Bad_Bucket", 400, "InvalidBucketName"),
    ] {
        let answer = server.send(post(path, body.clone())).await;
        assert_eq!((answer.status, answer.code()), (status, code), "{path}");
    }
    let mut other = post("/bkt", body.clone());
    other.headers_mut().insert("content-type", "application/x-www-form-urlencoded".parse().unwrap());
    let answer = server.send(other).await;
    assert_eq!((answer.status, answer.code()), (412, "PreconditionFailed"));
    assert_eq!(answer.element("Condition"), Some("Bucket POST must be of the enclosure-type multipart/form-data"));
    let signed = Call::new(Method::POST, "/bkt").header("host", &server.address.to_string());
    let signed = signed.header("content-type", "multipart/form-data; boundary=XX").body(body);
    let answer = server.send(server.signer().header(signed, None)).await;
    assert_eq!((answer.status, answer.code()), (400, "InvalidRequest"));
    assert_eq!(server.reached(), NOTHING);
}

#[tokio::test]
async fn a_form_copies_nothing_and_its_request_s_headers_say_nothing() {
    let server = Server::start().await;
    let answer = form(&server).with("x-amz-copy-source", "/other/secret").signed().send(&server).await;
    assert_eq!((answer.status, answer.code()), (501, "NotImplemented"));
    assert_eq!(server.reached(), NOTHING);
    let mut request = post("/bkt", form(&server).signed().body());
    for (name, value) in [("x-amz-copy-source", "/other/secret"), ("x-amz-acl", "public-read"), ("range", "bytes=0-1")]
    {
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    assert_eq!(server.send(request).await.status, 204);
    assert_eq!(server.reached(), ["PutObject"]);
    // A document that has the bucket to itself is not hidden behind a form.
    let broken = form(&server).with("tagging", "no xml").signed().send(&server).await;
    assert_eq!((broken.status, broken.code()), (400, "MalformedXML"));
    assert_eq!(server.reached(), NOTHING);
}
