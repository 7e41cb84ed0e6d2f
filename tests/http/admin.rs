//! How the requests that administer identities are told from S3's, verified, and refused. What they do the clients' tests say.

use std::num::NonZeroU64;

use http::{Method, Request};
use http_body_util::Full;
use ninefold::limits::allowance::Pace;
use ninefold::limits::{Rate, Rules};

use crate::forms::post;
use crate::recording::{Answer, SECRET, Server};
use crate::signing::{Call, Signer};

const IDENTITY: &str = "Action=GetCallerIdentity&Version=2011-06-15";

fn query(server: &Server, body: &str) -> Call {
    Call::new(Method::POST, "/")
        .header("host", &server.address.to_string())
        .header("content-type", "application/x-www-form-urlencoded")
        .body(body.to_owned())
}

fn signer(server: &Server, service: &str) -> Signer {
    Signer { service: service.to_owned(), ..server.signer() }
}

async fn sts(server: &Server, signer: &Signer, body: &str) -> Answer {
    server.send(signer.header(query(server, body), None)).await
}

async fn minio(server: &Server, method: Method, action: &str) -> Answer {
    let path = format!("/minio/admin/v3/{action}");
    let call = Call::new(method, &path).header("host", &server.address.to_string());
    server.send(server.signer().header(call, None)).await
}

#[tokio::test]
async fn whoever_signed_is_told_who_he_is() {
    let server = Server::start().await;
    let answer = sts(&server, &signer(&server, "sts"), IDENTITY).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.header("content-type"), Some("text/xml"));
    let account = answer.element("Account").unwrap();
    assert_eq!(answer.element("Arn").unwrap(), format!("arn:aws:iam::{account}:root"));
    assert!(answer.element("RequestId").is_some());
}

#[tokio::test]
async fn nobody_else_is() {
    let server = Server::start().await;
    let unsigned = Request::post("/").header("content-type", "application/x-www-form-urlencoded");
    let answer = server.send(unsigned.body(Full::from(IDENTITY)).unwrap()).await;
    assert_eq!((answer.status, answer.code()), (403, "MissingAuthenticationToken"));
    let right = signer(&server, "sts");
    let wrong = [
        (Signer { secret: format!("{SECRET}x"), ..signer(&server, "sts") }, "SignatureDoesNotMatch"),
        (Signer { access_key: "nobody".into(), ..signer(&server, "sts") }, "InvalidClientTokenId"),
        (Signer { region: "mars-north-1".into(), ..signer(&server, "sts") }, "SignatureDoesNotMatch"),
        (signer(&server, "s3"), "SignatureDoesNotMatch"),
        (signer(&server, "iam"), "SignatureDoesNotMatch"),
        (right.earlier(std::time::Duration::from_secs(1000)), "SignatureDoesNotMatch"),
    ];
    for (signer, code) in wrong {
        let answer = sts(&server, &signer, IDENTITY).await;
        assert_eq!((answer.status, answer.code()), (403, code));
    }
    let mut changed = right.header(query(&server, IDENTITY), None);
    *changed.body_mut() = Full::from("Action=GetSessionToken&Version=2011-06-15");
    changed.headers_mut().remove("content-length");
    assert_eq!(server.send(changed).await.code(), "SignatureDoesNotMatch");
    let call = query(&server, IDENTITY).header("x-amz-security-token", "token");
    let answer = server.send(right.header(call, None)).await;
    assert_eq!((answer.status, answer.code()), (403, "InvalidClientTokenId"));
}

#[tokio::test]
async fn what_is_no_action_is_said_so() {
    let server = Server::start().await;
    for (body, status, code) in [
        ("Action=Nothing&Version=2011-06-15", 400, "InvalidAction"),
        ("Action=GetCallerIdentity&Version=2000-01-01", 400, "InvalidAction"),
        ("Action=GetCallerIdentity", 400, "InvalidAction"),
        ("Action=GetFederationToken&Version=2011-06-15", 501, "NotImplemented"),
        ("Action=GetCallerIdentity&Version=2011-06-15&Action=x", 400, "MalformedInput"),
    ] {
        let answer = sts(&server, &signer(&server, "sts"), body).await;
        assert_eq!((answer.status, answer.code()), (status, code), "{body}");
    }
    let large = format!("{IDENTITY}&Padding={}", "x".repeat(1 << 20));
    assert_eq!(sts(&server, &signer(&server, "sts"), &large).await.code(), "EntityTooLarge");
}

#[tokio::test]
async fn minio_s_administration_is_root_s() {
    let server = Server::start().await;
    let info = minio(&server, Method::GET, "info").await;
    assert_eq!(info.status, 200, "{}", info.body);
    let info: serde_json::Value = serde_json::from_str(&info.body).unwrap();
    assert_eq!(info["backend"]["standardSCParity"], 3);
    let answer = minio(&server, Method::POST, "service").await;
    assert_eq!(answer.status, 501);
    let error: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(error["Code"], "NotImplemented");
    let unsigned = Request::get("/minio/admin/v3/info").body(Full::default()).unwrap();
    let answer = server.send(unsigned).await;
    let error: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!((answer.status, &error["Code"]), (403.try_into().unwrap(), &"AccessDenied".into()));
}

#[tokio::test]
async fn other_posts_to_the_root_are_s3_s() {
    let server = Server::start().await;
    let answer = server.send(post("/", "x")).await;
    assert!(!answer.body.contains("ErrorResponse"), "{}", answer.body);
}

#[tokio::test]
async fn who_signs_too_much_is_told_to_slow_down_in_the_words_of_each() {
    let rate = Rate { requests: NonZeroU64::new(1).map(Pace::even), ..Rate::default() };
    let server = Server::with_rules(Rules { key: Some(rate), ..Rules::default() }).await;
    let forger = Signer { secret: format!("{SECRET}x"), ..signer(&server, "sts") };
    for _ in 0..3 {
        assert_eq!(sts(&server, &forger, IDENTITY).await.code(), "SignatureDoesNotMatch");
    }
    assert_eq!(sts(&server, &signer(&server, "sts"), IDENTITY).await.status, 200);
    let answer = sts(&server, &signer(&server, "sts"), IDENTITY).await;
    assert_eq!((answer.status, answer.code(), answer.header("retry-after")), (503, "SlowDown", Some("1")));
    let answer = minio(&server, Method::GET, "info").await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
    let error: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!((&error["Code"], &error["Message"]), (&"SlowDown".into(), &"Please reduce your request rate.".into()));
    let answer = json(&server, Method::GET, "users", None, "").await;
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert_eq!(problem(&answer), (503, "SlowDown".into()));
    server.time.advance(std::time::Duration::from_secs(1));
    assert_eq!(minio(&server, Method::GET, "info").await.status, 200);
}

/// A request to the API in JSON.
async fn json(server: &Server, method: Method, path: &str, kind: Option<&str>, body: &str) -> Answer {
    let mut call = Call::new(method, &format!("/_ninefold/v1/{path}")).header("host", &server.address.to_string());
    if let Some(kind) = kind {
        call = call.header("content-type", kind);
    }
    server.send(server.signer().header(call.body(body.to_owned()), None)).await
}

/// What is wrong, as RFC 9457 has it.
fn problem(answer: &Answer) -> (u16, String) {
    assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{}", answer.body);
    let details: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(details["status"], answer.status);
    assert!(details["request_id"].is_string() && details["detail"].is_string(), "{details}");
    (answer.status, details["code"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn the_api_in_json_is_for_those_who_sign() {
    let server = Server::start().await;
    let unsigned = Request::get("/_ninefold/v1/users").body(Full::default()).unwrap();
    assert_eq!(problem(&server.send(unsigned).await), (403, "AccessDenied".into()));
    for (signer, code) in [
        (Signer { secret: format!("{SECRET}x"), ..server.signer() }, "SignatureDoesNotMatch"),
        (Signer { access_key: "nobody".into(), ..server.signer() }, "InvalidAccessKeyId"),
        (signer(&server, "iam"), "SignatureDoesNotMatch"),
        (server.signer().earlier(std::time::Duration::from_secs(1000)), "RequestTimeTooSkewed"),
    ] {
        let call = Call::new(Method::GET, "/_ninefold/v1/users").header("host", &server.address.to_string());
        assert_eq!(problem(&server.send(signer.header(call, None)).await), (403, code.into()));
    }
    // Without a database there is nothing to administer, and whoever signed is told so.
    for path in ["users", "users/a%2Fb%20c%40d"] {
        assert_eq!(problem(&json(&server, Method::GET, path, None, "").await), (501, "NotImplemented".into()));
    }
    assert!(server.reached().is_empty(), "S3 has nothing to do with it");
}

#[tokio::test]
async fn the_api_in_json_refuses_what_nobody_would_read() {
    let server = Server::start().await;
    for (method, path, kind, body, status, code) in [
        (Method::GET, "nothing", None, "", 404, "NoSuchResource"),
        (Method::GET, "users/a/b", None, "", 404, "NoSuchResource"),
        (Method::POST, "users", None, "", 405, "MethodNotAllowed"),
        (Method::PUT, "users/bob", None, "{}", 415, "UnsupportedMediaType"),
        (Method::PUT, "users/bob", Some("text/xml"), "{}", 415, "UnsupportedMediaType"),
        (Method::DELETE, "users/bob", Some("application/json"), "{}", 400, "ValidationError"),
    ] {
        let answer = json(&server, method.clone(), path, kind, body).await;
        assert_eq!(problem(&answer), (status, code.into()), "{method} {path}");
        assert_eq!(answer.header("allow"), (status == 405).then_some("GET"));
    }
    let call = Call::new(Method::GET, "/_ninefold/v2/users").header("host", &server.address.to_string());
    assert_eq!(problem(&server.send(server.signer().header(call, None)).await), (404, "NoSuchResource".into()));
    let call = Call::new(Method::GET, "/_ninefold/v1/users").query("colour", "red");
    let answer = server.send(server.signer().header(call.header("host", &server.address.to_string()), None)).await;
    assert_eq!(problem(&answer), (400, "ValidationError".into()));
    let large = format!("{{\"description\":\"{}\"}}", "x".repeat(1 << 20));
    let answer = json(&server, Method::PUT, "users/bob", Some("application/json"), &large).await;
    assert_eq!(problem(&answer), (400, "EntityTooLarge".into()));
}

#[tokio::test]
async fn anybody_may_read_how_the_api_in_json_is_called() {
    let server = Server::start().await;
    let answer = server.send(Request::get("/_ninefold/v1/openapi.json").body(Full::default()).unwrap()).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    let document: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(document["paths"]["/users/{user}"]["put"]["x-ninefold-action"], "ninefold:CreateUser");
    assert!(document["paths"].as_object().unwrap().values().all(serde_json::Value::is_object));
}
