//! Answers: ids, errors as XML, and bodies that must not be there.

use http::Method;

use crate::audit::{audited, records};
use crate::recording::{ACCESS_KEY, Server};
use crate::signing::Call;

fn call(server: &Server, method: Method, path: &str) -> Call {
    Call::new(method, path).header("host", &server.address.to_string())
}

#[tokio::test]
async fn every_answer_has_its_ids() {
    let server = Server::start().await;
    let signer = server.signer();
    let answer = server.send(signer.header(call(&server, Method::GET, "/bkt/id"), None)).await;
    assert_eq!(answer.header("x-amz-request-id"), Some(answer.body.as_str()), "the operation sees the same id");
    assert_eq!(answer.header("server"), Some("Ninefold"));
    let host_id = answer.header("x-amz-id-2").unwrap().to_owned();
    let error = server.send(signer.header(call(&server, Method::GET, "/bkt/absent"), None)).await;
    assert_eq!(error.element("RequestId"), error.header("x-amz-request-id"));
    assert_eq!((error.element("HostId"), error.header("x-amz-id-2")), (Some(&*host_id), Some(&*host_id)));
    assert_ne!(error.header("x-amz-request-id"), answer.header("x-amz-request-id"));
}

#[tokio::test]
async fn errors_are_whole() {
    let server = Server::start().await;
    let signer = server.signer();
    let error = server.send(signer.header(call(&server, Method::GET, "/bkt/absent"), None)).await;
    assert_eq!((error.status, error.code()), (404, "NoSuchKey"));
    assert_eq!(error.element("Message"), Some("The specified key does not exist."));
    assert_eq!(error.element("Key"), Some("a&lt;b&gt;\u{fffd}"), "escaped, control characters replaced");
    assert_eq!(error.element("Resource"), Some("/bkt/absent"));
    assert_eq!(error.header("content-type"), Some("application/xml"));
    assert!(error.headers.keys().all(|name| !name.as_str().starts_with("x-ninefold")), "{:?}", error.headers);
    let error = server.send(signer.header(call(&server, Method::GET, "/Not_A_Bucket"), None)).await;
    assert_eq!((error.status, error.code()), (400, "InvalidBucketName"));
    assert_eq!(error.element("Message"), Some("The specified bucket is not valid."));
}

#[tokio::test]
async fn answers_that_have_no_body_have_none() {
    let server = Server::start().await;
    let signer = server.signer();
    for (method, path, status) in
        [(Method::HEAD, "/bkt/absent", 404), (Method::GET, "/bkt/unmodified", 304), (Method::HEAD, "/bkt/key", 200)]
    {
        let request = || signer.header(call(&server, method.clone(), path), None);
        for answer in [server.send(request()).await, server.send_h2(request()).await] {
            assert_eq!((answer.status, answer.body.as_str()), (status, ""), "{path}");
            assert!(answer.header("x-amz-request-id").is_some());
            let length = (status == 200).then_some("5");
            assert_eq!(answer.header("content-length"), length, "{path}");
            assert_eq!(answer.header("etag"), (status == 304).then_some("\"abc\""));
        }
    }
    // A refusal by the server itself, before any operation.
    let mut request = signer.header(call(&server, Method::HEAD, "/bkt/key"), None);
    request.headers_mut().remove("authorization");
    let answer = server.send(request).await;
    assert_eq!((answer.status, answer.body.as_str()), (403, ""));
}

#[tokio::test]
async fn a_panic_is_an_answer() {
    let server = Server::start().await;
    let signer = server.signer();
    let answer = server.send(signer.header(call(&server, Method::GET, "/bkt/panic"), None)).await;
    assert_eq!((answer.status, answer.code()), (500, "InternalError"));
    assert_eq!(answer.element("RequestId"), answer.header("x-amz-request-id"));
    assert_eq!(server.send(signer.header(call(&server, Method::GET, "/bkt/key"), None)).await.status, 200);
}

#[tokio::test]
async fn attributes_have_a_bare_etag() {
    let server = Server::start().await;
    let get = call(&server, Method::GET, "/bkt/key").query("attributes", "").header("x-amz-object-attributes", "ETag");
    let answer = server.send(server.signer().header(get, None)).await;
    assert_eq!((answer.status, answer.element("ETag")), (200, Some("abc-2")), "{}", answer.body);
}

#[tokio::test]
async fn an_operation_can_set_the_status() {
    let server = Server::start().await;
    let answer = server.send(server.signer().header(call(&server, Method::GET, "/bkt/accepted"), None)).await;
    assert_eq!(answer.status, 202);
}

/// Gathers what the process logs, at every level that can be turned on.
#[derive(Clone, Default)]
struct Log(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn requests_are_logged_once_and_without_secrets() {
    let log = Log::default();
    let writer = log.clone();
    // For the whole process, so that no other test's thread can have switched a log off; paths tell the requests apart.
    let subscriber = tracing_subscriber::fmt()
        .json()
        .with_env_filter(ninefold::telemetry::filter(Some("trace")).unwrap())
        .with_writer(move || writer.clone())
        .finish();
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit");
    let (server, audit) = audited(&path).await;
    let signer = server.signer();
    let customer_key = "x-amz-server-side-encryption-customer-key";
    let get = call(&server, Method::GET, "/logged/key").header("x-amz-meta-token", "hush-hush");
    let get = get.header(customer_key, "hush-hush").header("referer", "http://a/?X-Amz-Signature=hush-hush");
    let answer = server.send(signer.header(get, None)).await;
    let id = answer.header("x-amz-request-id").unwrap();
    let presigned = signer.presign(&call(&server, Method::GET, "/logged/absent"), "60");
    let signature = presigned.uri().query().unwrap().rsplit_once("X-Amz-Signature=").unwrap().1[..64].to_owned();
    server.send(presigned).await;
    let call = call(&server, Method::GET, "/elsewhere").query("X-Amz-Security-Token", "hush-hush");
    server.send(signer.presign(&call.query(customer_key, "hush-hush"), "60")).await;
    let unsigned = "/elsewhere?signature=hush-hush&WebIdentityToken=hush-hush&LDAPPassword=hush-hush&x=%26Signature=";
    server.send(http::Request::get(unsigned).body(http_body_util::Full::default()).unwrap()).await;
    // An entry is written when the server is done with the answer, which may be after the client is.
    assert_eq!(records(server, &audit, &path).await.len(), 4);
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let entries: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .filter(|entry| entry["target"] == ninefold::server::ACCESS_LOG)
        .map(|mut entry| entry["fields"].take())
        .filter(|fields| fields["path"].as_str().is_some_and(|path| path.starts_with("/logged/")))
        .collect();
    assert_eq!(entries.len(), 2, "{text}");
    let fields = &entries[0];
    assert_eq!((&fields["request_id"], &fields["status"]), (&id.into(), &200.into()));
    assert_eq!(
        (&fields["method"], &fields["path"], &fields["sent"]),
        (&"GET".into(), &"/logged/key".into(), &5.into())
    );
    assert_eq!(entries[1]["status"], 404);
    for secret in ["hush-hush", &signature, ACCESS_KEY, crate::recording::SECRET] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
    // Whose key it was is what it is for.
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(ACCESS_KEY));
    for secret in ["hush-hush", &signature, crate::recording::SECRET, "SignedHeaders=", "Credential="] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
}
