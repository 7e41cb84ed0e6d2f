//! What a request must not do, each refused before the operation is reached.

use std::time::Duration;

use http::{HeaderValue, Method};

use crate::recording::{ACCESS_KEY, DOMAIN, REGION, Server};
use crate::signing::Call;

const NOTHING: [&str; 0] = [];

fn call(server: &Server, method: Method, path: &str) -> Call {
    Call::new(method, path).header("host", &server.address.to_string())
}

#[tokio::test]
async fn signed_requests_are_let_through() {
    let server = Server::start().await;
    let signer = server.signer();
    let answer = server.send(signer.header(call(&server, Method::GET, "/"), None)).await;
    assert_eq!((answer.status, server.reached()), (200, vec!["ListBuckets"]));
    assert_eq!(answer.element("ID").map(str::len), Some(64), "{}", answer.body);
    let answer = server.send(signer.presign(&call(&server, Method::GET, "/bkt/key"), "604800")).await;
    assert_eq!((answer.status, answer.body.as_str(), server.reached()), (200, "hello", vec!["GetObject"]));
    let answer = server.send_h2(signer.header(call(&server, Method::GET, "/bkt/key"), None)).await;
    assert_eq!((answer.status, answer.body.as_str(), server.reached()), (200, "hello", vec!["GetObject"]));
}

#[tokio::test]
async fn unsigned_and_wrongly_signed_requests_are_refused() {
    let server = Server::start().await;
    let signer = server.signer();
    let anonymous = |method| {
        let mut request = signer.header(call(&server, method, "/bkt/key"), None);
        request.headers_mut().clear();
        request
    };
    for method in [Method::GET, Method::PUT, Method::DELETE] {
        let answer = server.send(anonymous(method)).await;
        assert_eq!((answer.status, answer.code()), (403, "AccessDenied"));
    }
    let get = || call(&server, Method::GET, "/bkt/key");
    let mut stranger = signer.clone();
    stranger.access_key = "AKIDSTRANGER".into();
    let answer = server.send(stranger.header(get(), None)).await;
    assert_eq!((answer.status, answer.code()), (403, "InvalidAccessKeyId"));
    assert_eq!(answer.element("AWSAccessKeyId"), Some("AKIDSTRANGER"));
    let mut forger = signer.clone();
    forger.secret = "guessed".into();
    let answer = server.send(forger.header(get(), None)).await;
    assert_eq!((answer.status, answer.code()), (403, "SignatureDoesNotMatch"));
    let answer = server.send(signer.earlier(Duration::from_secs(1000)).header(get(), None)).await;
    assert_eq!((answer.status, answer.code()), (403, "RequestTimeTooSkewed"));
    assert_eq!(server.reached(), NOTHING);
}

#[tokio::test]
async fn the_scope_must_be_this_region_and_service() {
    let server = Server::start().await;
    let get = || call(&server, Method::GET, "/bkt/key");
    for region in ["us-east-1", "", "EU-TEST-1"] {
        let mut signer = server.signer();
        signer.region = region.into();
        let answer = server.send(signer.header(get(), None)).await;
        assert_eq!((answer.status, answer.code()), (400, "AuthorizationHeaderMalformed"), "{region:?}");
        assert_eq!(answer.element("Region"), Some(REGION));
        let answer = server.send(signer.presign(&get(), "60")).await;
        assert_eq!((answer.status, answer.code()), (400, "AuthorizationQueryParametersError"), "{region:?}");
        assert_eq!(answer.element("Region"), Some(REGION));
    }
    let mut signer = server.signer();
    signer.service = "sts".into();
    let answer = server.send(signer.header(get(), None)).await;
    assert_eq!((answer.status, answer.code()), (400, "AuthorizationHeaderMalformed"));
    assert_eq!(server.reached(), NOTHING);
}

#[tokio::test]
async fn amazon_headers_that_are_not_signed_are_refused() {
    let server = Server::start().await;
    let signer = server.signer();
    let put = || call(&server, Method::PUT, "/bkt/key");
    for (name, value) in
        [("x-amz-copy-source", "/other/secret"), ("x-amz-acl", "public-read"), ("x-amz-tagging", "a=b")]
    {
        for presigned in [true, false] {
            let mut request =
                if presigned { signer.presign(&put(), "60") } else { signer.header(put(), Some("UNSIGNED-PAYLOAD")) };
            request.headers_mut().insert(name, HeaderValue::from_static(value));
            let answer = server.send(request).await;
            assert_eq!((answer.status, answer.code()), (403, "AccessDenied"), "{name} {presigned}");
            assert_eq!(answer.element("HeadersNotSigned"), Some(name));
            let message = "There were headers present in the request which were not signed";
            assert_eq!(answer.element("Message"), Some(message));
        }
    }
    assert_eq!(server.reached(), NOTHING);
    // The payload's hash may come with a presigned URL, unsigned, as S3 has it.
    let mut request = signer.presign(&put(), "60");
    request.headers_mut().insert("x-amz-content-sha256", HeaderValue::from_static("UNSIGNED-PAYLOAD"));
    request.headers_mut().insert("content-length", HeaderValue::from_static("0"));
    assert_eq!(server.send(request).await.status, 200);
    // But it is that which the signature was made over.
    let mut request = signer.presign(&put(), "60");
    request.headers_mut().insert("x-amz-content-sha256", HeaderValue::from_static("no hash"));
    request.headers_mut().insert("content-length", HeaderValue::from_static("0"));
    let answer = server.send(request).await;
    assert_eq!((answer.status, answer.code()), (403, "SignatureDoesNotMatch"));
    // Signed, they do what they say.
    let copy = put().header("x-amz-copy-source", "/other/secret");
    assert_eq!(server.send(signer.header(copy, None)).await.status, 200);
    assert_eq!(server.reached(), ["PutObject", "CopyObject"]);
}

#[tokio::test]
async fn the_host_must_be_signed() {
    let server = Server::start().await;
    let request = server.signer().header(Call::new(Method::GET, "/bkt/key"), None);
    let answer = server.send(request).await;
    assert_eq!((answer.status, answer.code()), (403, "AccessDenied"));
    assert_eq!(answer.element("HeadersNotSigned"), Some("host"));
    assert_eq!(server.reached(), NOTHING);
}

#[tokio::test]
async fn parameters_of_a_presigned_url_count_as_headers() {
    let server = Server::start().await;
    let signer = server.signer();
    let put = call(&server, Method::PUT, "/bkt/key").header("content-length", "0");
    let put = put.query("x-amz-copy-source", "/bkt/source");
    let answer = server.send(signer.presign(&put, "60")).await;
    assert_eq!((answer.status, server.reached()), (200, vec!["CopyObject"]));
    // What cannot be a header, or is there twice, is not left out: a copy would become an empty object.
    let plain = || call(&server, Method::PUT, "/bkt/key").header("content-length", "0");
    for bad in [
        plain().query("x-amz-copy-source", "/bkt/source\n"),
        plain().query("x-amz-meta-a", "1").query("X-Amz-Meta-A", "2"),
    ] {
        let answer = server.send(signer.presign(&bad, "60")).await;
        assert_eq!((answer.status, answer.code()), (400, "InvalidArgument"));
    }
    assert_eq!(server.reached(), NOTHING);
    // In a request signed by header they would mean nothing, so they are not taken.
    let answer = server.send(signer.header(put, None)).await;
    assert_eq!((answer.status, answer.code()), (501, "NotImplemented"));
    assert_eq!(server.reached(), NOTHING);
}

#[tokio::test]
async fn session_tokens_belong_to_no_key() {
    let server = Server::start().await;
    let signer = server.signer();
    let get = || call(&server, Method::GET, "/bkt/key");
    let answer = server.send(signer.header(get().header("x-amz-security-token", "token"), None)).await;
    assert_eq!((answer.status, answer.code()), (400, "InvalidToken"));
    let answer = server.send(signer.presign(&get().query("X-Amz-Security-Token", "token"), "60")).await;
    assert_eq!((answer.status, answer.code()), (400, "InvalidToken"));
    assert_eq!(server.reached(), NOTHING);
}

#[tokio::test]
async fn unknown_sub_resources_never_reach_the_bare_verb() {
    let server = Server::start().await;
    let signer = server.signer();
    for (method, path, parameter, status) in [
        (Method::POST, "/bkt/key", "renameObject", 405),
        (Method::PUT, "/bkt/key", "encryption", 501),
        (Method::PUT, "/bkt/key", "uploadId", 501),
        (Method::PUT, "/bkt/key", "foo", 501),
        (Method::PUT, "/bkt/key", "torrent", 405),
        (Method::DELETE, "/bkt/key", "acl", 405),
        (Method::DELETE, "/bkt/key", "retention", 405),
        (Method::DELETE, "/bkt", "versioning", 405),
        (Method::DELETE, "/bkt", "notification", 405),
        (Method::DELETE, "/bkt", "acl", 405),
        (Method::DELETE, "/bkt", "logging", 405),
        (Method::DELETE, "/bkt", "foo", 501),
        (Method::PUT, "/bkt", "foo", 501),
        (Method::GET, "/bkt", "foo", 501),
        (Method::GET, "/bkt", "abac", 501),
        (Method::GET, "/bkt", "accelerate", 501),
        (Method::GET, "/bkt/key", "annotation", 501),
        (Method::GET, "/", "usage", 501),
    ] {
        let answer = server.send(signer.header(call(&server, method.clone(), path).query(parameter, ""), None)).await;
        assert_eq!(answer.status, status, "{method} {path}?{parameter}: {}", answer.body);
        assert_eq!(answer.code(), if status == 405 { "MethodNotAllowed" } else { "NotImplemented" });
    }
    assert_eq!(server.reached(), NOTHING);
}

#[tokio::test]
async fn presigned_urls_last_a_week_at_most() {
    let server = Server::start().await;
    let signer = server.signer();
    let get = call(&server, Method::GET, "/bkt/key");
    for expires in ["604801", "-1", "soon", "", "4294967297"] {
        let answer = server.send(signer.presign(&get, expires)).await;
        assert_eq!((answer.status, answer.code()), (400, "AuthorizationQueryParametersError"), "{expires}");
    }
    let answer = server.send(signer.earlier(Duration::from_secs(3)).presign(&get, "1")).await;
    assert_eq!((answer.status, answer.code()), (403, "AccessDenied"));
    assert_eq!(server.reached(), NOTHING);
}

#[tokio::test]
async fn other_ways_to_sign_are_refused() {
    let server = Server::start().await;
    let signer = server.signer();
    for (authorization, status, code) in [
        ("AWS AKIDROOT:c2lnbmF0dXJl", 400, "InvalidRequest"),
        ("Basic YTpi", 400, "InvalidArgument"),
        ("", 403, "AccessDenied"),
        ("AWS4-HMAC-SHA256 nonsense", 400, "AuthorizationHeaderMalformed"),
    ] {
        let mut request = signer.header(call(&server, Method::GET, "/bkt/key"), None);
        request.headers_mut().insert("authorization", HeaderValue::from_static(authorization));
        let answer = server.send(request).await;
        assert_eq!((answer.status, answer.code()), (status, code), "{authorization}");
    }
    let version2 = call(&server, Method::GET, "/bkt/key").query("AWSAccessKeyId", ACCESS_KEY).query("Signature", "x");
    let mut request = signer.header(version2.query("Expires", "4000000000"), None);
    request.headers_mut().remove("authorization");
    let answer = server.send(request).await;
    assert_eq!((answer.status, answer.code()), (400, "InvalidRequest"));
    assert!(answer.body.contains("Please use AWS4-HMAC-SHA256."), "{}", answer.body);
    let mut both = signer.presign(&call(&server, Method::GET, "/bkt/key"), "60");
    let header = signer.header(call(&server, Method::GET, "/bkt/key"), None);
    both.headers_mut().insert("authorization", header.headers()["authorization"].clone());
    let answer = server.send(both).await;
    assert_eq!((answer.status, answer.code()), (400, "InvalidArgument"));
    assert_eq!(server.reached(), NOTHING);
}

#[tokio::test]
async fn hosts_name_buckets_only_under_the_configured_domain() {
    let server = Server::start().await;
    let signer = server.signer();
    for (host, path, bucket, key) in [
        (format!("vhost.{DOMAIN}"), "/key", "vhost", "key"),
        (format!("VHost.{DOMAIN}:9000"), "/a/b", "vhost", "a/b"),
        (DOMAIN.to_owned(), "/bkt/key", "bkt", "key"),
        ("localhost:9000".to_owned(), "/bkt/key", "bkt", "key"),
        ("bkt.elsewhere.test".to_owned(), "/bkt/key", "bkt", "key"),
    ] {
        for h2 in [false, true] {
            let request = signer.header(Call::new(Method::GET, path).header("host", &host), None);
            let answer = if h2 { server.send_h2(request).await } else { server.send(request).await };
            assert_eq!(answer.status, 200, "{host} {}", answer.body);
            let reached = server.recording.take();
            assert_eq!((reached[0].bucket.as_str(), reached[0].key.as_str()), (bucket, key), "{host}");
        }
    }
}

#[tokio::test]
async fn paths_and_queries_that_cannot_be_are_refused() {
    let server = Server::start().await;
    let signer = server.signer();
    for path in ["/bkt/a%00b", "/bkt/%ff"] {
        let answer = server.send(signer.header(call(&server, Method::GET, path), None)).await;
        assert_eq!((answer.status, answer.code()), (400, "InvalidURI"), "{path}");
    }
    let answer = server.send(signer.header(call(&server, Method::GET, "/bkt").query("prefix", "a\0"), None)).await;
    assert_eq!((answer.status, answer.code()), (400, "InvalidArgument"));
    let copy = call(&server, Method::PUT, "/bkt/key").header("x-amz-copy-source", "/bkt/a%00");
    let answer = server.send(signer.header(copy, None)).await;
    assert_eq!((answer.status, answer.code()), (400, "InvalidURI"));
    let twice = call(&server, Method::GET, "/bkt").query("list-type", "2").query("list-type", "2");
    let answer = server.send(signer.header(twice, None)).await;
    assert_eq!((answer.status, answer.code()), (400, "InvalidArgument"));
    let listening = call(&server, Method::GET, "/bkt").query("events", "a").query("events", "b");
    let answer = server.send(signer.header(listening, None)).await;
    assert_eq!((answer.status, answer.code()), (501, "NotImplemented"));
    assert_eq!(server.reached(), NOTHING);
    let raw = server.raw(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\nConnection: close\r\n\r\n").await;
    assert!(raw.starts_with("HTTP/1.1 400") && raw.contains("InvalidRequest"), "{raw}");
}

#[tokio::test]
async fn methods_that_s3_does_not_have() {
    let server = Server::start().await;
    let signer = server.signer();
    let answer = server.send(signer.header(call(&server, Method::PATCH, "/bkt/key"), None)).await;
    assert_eq!((answer.status, answer.code()), (405, "MethodNotAllowed"));
    let answer = server.send(signer.header(call(&server, Method::POST, "/bkt/key"), None)).await;
    assert_eq!((answer.status, answer.code()), (405, "MethodNotAllowed"));
    let options = call(&server, Method::OPTIONS, "/bkt/key");
    let answer = server.send(signer.header(options.clone(), None)).await;
    assert_eq!((answer.status, answer.code()), (400, "BadRequest"));
    let asked = options.header("origin", "http://a.test").header("access-control-request-method", "PUT");
    let answer = server.send(signer.header(asked, None)).await;
    assert_eq!((answer.status, answer.code(), answer.element("Method")), (403, "AccessForbidden", Some("PUT")));
    assert_eq!(server.reached(), NOTHING);
}
