//! Pages of other origins: preflights, and what other answers say to browsers.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;
use ninefold::objects::{CorsRule, CorsRules};

use crate::recording::{Answer, DOMAIN, Server};
use crate::signing::Call;

const VARY: &str = "Origin, Access-Control-Request-Headers, Access-Control-Request-Method";
const NOT_ALLOWED: &str = "CORSResponse: This CORS request is not allowed. This is usually because the evalution of Origin, \
                           request method / Access-Control-Request-Method or Access-Control-Request-Headers are not \
                           whitelisted by the resource's CORS spec.";

fn rule(origins: &[&str], methods: &[&str], headers: &[&str]) -> CorsRule {
    let strings = |all: &[&str]| all.iter().map(|&text| text.to_owned()).collect();
    CorsRule { origins: strings(origins), methods: strings(methods), headers: strings(headers), ..CorsRule::default() }
}

async fn server() -> Server {
    let server = Server::start().await;
    let first = rule(&["http://*.a.test"], &["GET", "PUT"], &["x-amz-*", "Content-Type"]);
    let first = CorsRule { expose: vec!["ETag".into(), "x-amz-id-2".into()], max_age: Some(3000), ..first };
    server.configure("bkt", Some(CorsRules(vec![first, rule(&["*"], &["GET"], &[])])));
    server.configure("bare", None);
    server
}

fn unsigned(method: Method, uri: &str, headers: &[(&str, &str)]) -> Request<Full<Bytes>> {
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Full::default()).unwrap()
}

fn granted(answer: &Answer) -> Vec<(&str, &str)> {
    let of_cors = |name: &str| name.starts_with("access-control") || name == "vary";
    let all = answer.headers.iter().filter(|(name, _)| of_cors(name.as_str()));
    let mut all: Vec<_> = all.map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
    all.sort_unstable();
    all
}

#[tokio::test]
async fn a_preflight_is_answered_with_what_its_rule_grants() {
    let server = server().await;
    let asked = [
        ("origin", "http://x.a.test"),
        ("access-control-request-method", "PUT"),
        ("access-control-request-headers", "X-Amz-Date,Content-Type,  x-amz-acl"),
    ];
    let expected = [
        ("access-control-allow-credentials", "true"),
        ("access-control-allow-headers", "x-amz-date, content-type, x-amz-acl"),
        ("access-control-allow-methods", "GET, PUT"),
        ("access-control-allow-origin", "http://x.a.test"),
        ("access-control-expose-headers", "ETag, x-amz-id-2"),
        ("access-control-max-age", "3000"),
        ("vary", VARY),
    ];
    let virtual_hosted = format!("bkt.{DOMAIN}");
    for (uri, host) in [("/bkt/key", None), ("/bkt", None), ("/key", Some(virtual_hosted.as_str()))] {
        let headers: Vec<_> = asked.into_iter().chain(host.map(|host| ("host", host))).collect();
        for h2 in [false, true] {
            let request = unsigned(Method::OPTIONS, uri, &headers);
            let answer = if h2 { server.send_h2(request).await } else { server.send(request).await };
            assert_eq!((answer.status, answer.body.as_str(), granted(&answer)), (200, "", expected.to_vec()), "{uri}");
            assert_eq!(answer.header("content-length"), Some("0"));
            assert!(answer.header("x-amz-request-id").is_some() && answer.header("content-type").is_none());
        }
    }
    let anybody = [("origin", "null"), ("access-control-request-method", "GET")];
    let answer = server.send(unsigned(Method::OPTIONS, "/bkt/key", &anybody)).await;
    let expected = [("access-control-allow-methods", "GET"), ("access-control-allow-origin", "*"), ("vary", VARY)];
    assert_eq!((answer.status, granted(&answer)), (200, expected.to_vec()));
    assert!(server.reached().is_empty());
}

#[tokio::test]
async fn a_preflight_needs_no_signature_and_looks_at_none() {
    let server = server().await;
    let asked = [("origin", "http://x.a.test"), ("access-control-request-method", "PUT")];
    for query in
        ["?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=0", "?AWSAccessKeyId=a&Signature=b&Expires=1", "?uploads"]
    {
        let answer = server.send(unsigned(Method::OPTIONS, &format!("/bkt/key{query}"), &asked)).await;
        assert_eq!(answer.status, 200, "{query}");
    }
}

#[tokio::test]
async fn a_preflight_that_is_not_allowed_is_told_why() {
    let server = server().await;
    let (origin, method) = (("origin", "http://x.a.test"), |method| ("access-control-request-method", method));
    let headers = |names| ("access-control-request-headers", names);
    let not_enabled = "CORSResponse: CORS is not enabled for this bucket.";
    let not_found = "CORSResponse: Bucket not found";
    for (uri, asked, message, of) in [
        ("/bare/key", vec![origin, method("GET")], not_enabled, ("GET", "BUCKET")),
        ("/bare/key", vec![origin], not_enabled, ("OPTIONS", "BUCKET")),
        ("/absent/key", vec![origin, method("PUT")], not_found, ("PUT", "BUCKET")),
        ("/absent", vec![origin], not_found, ("OPTIONS", "BUCKET")),
        ("/Not_A_Bucket/key", vec![origin, method("PUT")], not_found, ("PUT", "BUCKET")),
        ("/", vec![origin, method("GET")], not_found, ("GET", "BUCKET")),
        ("/bkt/key", vec![origin, method("DELETE")], NOT_ALLOWED, ("DELETE", "OBJECT")),
        ("/bkt", vec![("origin", "http://b.test"), method("PUT")], NOT_ALLOWED, ("PUT", "BUCKET")),
        ("/bkt/key", vec![origin, method("PUT"), headers("range")], NOT_ALLOWED, ("PUT", "OBJECT")),
    ] {
        let answer = server.send(unsigned(Method::OPTIONS, uri, &asked)).await;
        assert_eq!((answer.status, answer.code()), (403, "AccessForbidden"), "{uri} {asked:?}");
        assert_eq!(answer.element("Message"), Some(message), "{uri} {asked:?}");
        assert_eq!((answer.element("Method"), answer.element("ResourceType")), (Some(of.0), Some(of.1)), "{uri}");
        assert_eq!(granted(&answer), []);
    }
    for (uri, asked, message) in [
        ("/bkt/key", vec![], "Insufficient information. Origin request header needed."),
        ("/absent/key", vec![method("GET")], "Insufficient information. Origin request header needed."),
        ("/bkt/key", vec![("origin", ""), method("GET")], "Insufficient information. Origin request header needed."),
        ("/bkt/key", vec![origin], "Invalid Access-Control-Request-Method: null"),
        ("/bkt/key", vec![origin, method("PATCH")], "Invalid Access-Control-Request-Method: PATCH"),
        ("/bkt/key", vec![origin, method("get")], "Invalid Access-Control-Request-Method: get"),
        (
            "/bkt/key",
            vec![origin, method("GET"), headers("a b")],
            "Access-Control-Request-Headers \"a b\" contains invalid character.",
        ),
    ] {
        let answer = server.send(unsigned(Method::OPTIONS, uri, &asked)).await;
        assert_eq!((answer.status, answer.code()), (400, "BadRequest"), "{uri} {asked:?}");
        assert_eq!(answer.element("Message"), Some(message), "{uri} {asked:?}");
    }
    server.configured.away.store(true, Ordering::SeqCst);
    let answer = server.send(unsigned(Method::OPTIONS, "/bkt/key", &[origin, method("GET")])).await;
    assert_eq!((answer.status, answer.code()), (503, "ServiceUnavailable"));
}

#[tokio::test]
async fn other_answers_get_the_headers_where_a_rule_fits() {
    let server = server().await;
    let signer = server.signer();
    let with = |method, path, headers: &[(&str, &str)]| {
        let mut request = signer.header(Call::new(method, path).header("host", &server.address.to_string()), None);
        for (name, value) in headers {
            request.headers_mut().insert(
                http::HeaderName::from_bytes(name.as_bytes()).unwrap(),
                http::HeaderValue::from_str(value).unwrap(),
            );
        }
        request
    };
    let origin = ("origin", "http://x.a.test");
    let first = [
        ("access-control-allow-credentials", "true"),
        ("access-control-allow-methods", "GET, PUT"),
        ("access-control-allow-origin", "http://x.a.test"),
        ("access-control-expose-headers", "ETag, x-amz-id-2"),
        ("access-control-max-age", "3000"),
        ("vary", VARY),
    ];
    for (method, path, status) in [
        (Method::GET, "/bkt/key", 200),
        (Method::GET, "/bkt/absent", 404),
        (Method::GET, "/bkt/unmodified", 304),
        (Method::GET, "/bkt/panic", 500),
        (Method::GET, "/bkt?acl", 501),
    ] {
        let answer = server.send(with(method, path, &[origin])).await;
        // The signature does not cover the query that is in the path.
        let status = if path.contains('?') { 403 } else { status };
        assert_eq!((answer.status, granted(&answer)), (status, first.to_vec()), "{path}");
    }
    let unsigned_put = unsigned(Method::PUT, "/bkt/key", &[origin, ("content-length", "0")]);
    let answer = server.send(unsigned_put).await;
    assert_eq!((answer.status, granted(&answer)), (403, first.to_vec()), "a refusal, too");
    // The header that belongs to a preflight is taken for the method of any request.
    let other_method = [origin, ("content-length", "0"), ("access-control-request-method", "DELETE")];
    let answer = server.send(unsigned(Method::PUT, "/bkt/key", &other_method)).await;
    assert_eq!((answer.status, granted(&answer)), (403, vec![]));
    let answer = server.send(with(Method::GET, "/bkt/key", &[("origin", "http://b.test")])).await;
    assert!(granted(&answer).contains(&("access-control-allow-origin", "*")), "{answer:?}");

    for (method, path, headers) in [
        (Method::HEAD, "/bkt/key", vec![origin]),
        (Method::GET, "/bare/key", vec![origin]),
        (Method::GET, "/unknown/key", vec![origin]),
        (Method::GET, "/", vec![origin]),
        (Method::GET, "/bkt/key", vec![origin, ("access-control-request-headers", "range")]),
        (Method::GET, "/bkt/key", vec![origin, ("access-control-request-headers", "a b")]),
    ] {
        let answer = server.send(with(method, path, &headers)).await;
        assert_eq!((answer.status, granted(&answer)), (200, vec![]), "{path} {headers:?}");
    }
}

#[tokio::test]
async fn only_requests_with_an_origin_ask_and_none_depends_on_the_answer() {
    let server = server().await;
    let get = || {
        let call = Call::new(Method::GET, "/bkt/key").header("host", &server.address.to_string());
        server.signer().header(call, None)
    };
    let answer = server.send(get()).await;
    assert_eq!((answer.status, granted(&answer)), (200, vec![]));
    let origin = [("origin", "http://x.a.test")];
    for uri in ["/health/live", "/health/ready"] {
        assert_eq!(server.send(unsigned(Method::GET, uri, &origin)).await.status, 200);
    }
    assert_eq!(server.configured.asked.load(Ordering::SeqCst), 0);
    server.configured.away.store(true, Ordering::SeqCst);
    let mut request = get();
    request.headers_mut().insert("origin", "http://x.a.test".parse().unwrap());
    let answer = server.send(request).await;
    assert_eq!((answer.status, answer.body.as_str(), granted(&answer)), (200, "hello", vec![]));
    assert_eq!(server.configured.asked.load(Ordering::SeqCst), 1);
}
