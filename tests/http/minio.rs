//! Health and metrics where MinIO has them.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{Method, Request};
use http_body_util::Full;
use ninefold::objects::{Pages, Website};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::forms::form;
use crate::recording::{ACCESS_KEY, Answer, DOMAIN, PUBLIC, SECRET, Server, WEBSITES};
use crate::signing::Call;

async fn ask(server: &Server, method: Method, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    server.send(request.body(Full::default()).unwrap()).await
}

async fn get(server: &Server, path: &str) -> Answer {
    ask(server, Method::GET, path, &[]).await
}

fn signed(server: &Server, path: &str) -> Request<Full<bytes::Bytes>> {
    server.signer().header(Call::new(Method::GET, path).header("host", &server.address.to_string()), None)
}

/// What `mc admin prometheus generate` makes.
fn token(access_key: &str, secret: &str) -> String {
    let end = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() + 60;
    let claims = serde_json::json!({ "exp": end, "sub": access_key, "iss": "prometheus" }).to_string();
    let header = BASE64_URL_SAFE_NO_PAD.encode(r#"{"alg":"HS512","typ":"JWT"}"#);
    let signed = format!("{header}.{}", BASE64_URL_SAFE_NO_PAD.encode(claims));
    let mut mac = Hmac::<sha2::Sha512>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(signed.as_bytes());
    format!("Bearer {signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
}

/// A page of metrics, by name and labels. Every line must be one that Prometheus reads.
pub async fn metrics(server: &Server, page: &str) -> BTreeMap<String, f64> {
    let path = format!("/minio/v2/metrics/{page}");
    let answer = ask(server, Method::GET, &path, &[("authorization", &token(ACCESS_KEY, SECRET))]).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let mut samples = BTreeMap::new();
    let mut typed = Vec::new();
    for line in answer.body.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(["gauge", "counter"].contains(&kind) && !typed.contains(&name.to_owned()), "{line}");
            typed.push(name.to_owned());
        } else if !line.starts_with("# HELP ") {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let (name, labels) = series.split_once('{').unwrap();
            assert_eq!(typed.last().map(String::as_str), Some(name), "{line}");
            assert!(labels.contains("server=\"test:1\""), "{line}");
            let series = series.replace(",server=\"test:1\"", "").replace("{server=\"test:1\"}", "");
            assert!(samples.insert(series, value.parse().unwrap()).is_none(), "{line}");
        }
    }
    samples
}

/// The server's metrics once it knows that all requests are over, which may be later than their clients know.
async fn once_idle(server: &Server) -> BTreeMap<String, f64> {
    loop {
        let node = metrics(server, "node").await;
        if node["minio_s3_requests_incoming_total"] == 0.0 {
            return node;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn health_is_where_minio_has_it() {
    let server = Server::start().await;
    let cluster = "/minio/health/cluster";
    for path in ["/minio/health/live", "/minio/health/ready", cluster, "/minio/health/cluster/read"] {
        for method in [Method::GET, Method::HEAD] {
            let answer = ask(&server, method, path, &[]).await;
            assert_eq!((answer.status, answer.body.as_str()), (200, ""), "{path}");
        }
    }
    assert_eq!(get(&server, cluster).await.header("x-minio-write-quorum"), Some("6"));
    // Enough to read, not to write.
    server.vitals.volumes.store(5, Ordering::SeqCst);
    for (path, status) in
        [("/minio/health/live", 200), ("/minio/health/ready", 503), (cluster, 503), ("/minio/health/cluster/read", 200)]
    {
        assert_eq!(get(&server, path).await.status, status, "{path}");
    }
    assert_eq!(get(&server, "/minio/health/ready").await.header("x-minio-server-status"), Some("offline"));
    server.vitals.volumes.store(4, Ordering::SeqCst);
    assert_eq!(get(&server, "/minio/health/cluster/read").await.status, 503);
    server.vitals.volumes.store(9, Ordering::SeqCst);
    server.vitals.database.store(false, Ordering::SeqCst);
    for (path, status) in
        [("/minio/health/live", 200), ("/minio/health/ready", 503), (cluster, 503), ("/minio/health/cluster/read", 503)]
    {
        assert_eq!(get(&server, path).await.status, status, "{path}");
    }
}

#[tokio::test]
async fn maintenance_needs_another_server_and_enough_other_volumes() {
    let server = Server::start().await;
    for (others, spare, volumes, status) in [(0, 6, 9, 412), (1, 5, 9, 412), (1, 6, 5, 412), (1, 6, 9, 200)] {
        server.vitals.others.store(others, Ordering::SeqCst);
        server.vitals.spare.store(spare, Ordering::SeqCst);
        server.vitals.volumes.store(volumes, Ordering::SeqCst);
        let answer = get(&server, "/minio/health/cluster?maintenance=true").await;
        assert_eq!((answer.status, answer.header("x-minio-write-quorum")), (status, Some("6")));
    }
}

#[tokio::test]
async fn requests_to_s3_are_never_taken_for_these() {
    let server = Server::start().await;
    for path in ["/minio/health/live", "/minio/v2/metrics/cluster"] {
        assert_eq!(server.send(signed(&server, path)).await.body, "hello");
        assert_eq!(server.recording.take()[0].bucket, "minio");
        assert_eq!(ask(&server, Method::PUT, path, &[("content-length", "0")]).await.code(), "AccessDenied");
        let presigned = format!("{path}?X-Amz-Signature=00");
        assert!(get(&server, &presigned).await.code().starts_with("Authorization"));
        // An object of a bucket that the host names.
        let host = format!("bkt.{DOMAIN}");
        assert_eq!(ask(&server, Method::GET, path, &[("host", &host)]).await.code(), "AccessDenied");
    }
    assert_eq!(ask(&server, Method::GET, "/health/live", &[("host", &format!("bkt.{DOMAIN}"))]).await.status, 403);
    assert_eq!(get(&server, "/minio/health/other").await.code(), "AccessDenied");
}

#[tokio::test]
async fn metrics_are_for_who_has_the_secret_key() {
    let server = Server::start().await;
    let path = "/minio/v2/metrics/node";
    assert_eq!(get(&server, path).await.code(), "AccessDenied");
    for authorization in [token(ACCESS_KEY, "another secret"), token("AKIDOTHER", SECRET), "Bearer x.y.z".to_owned()] {
        let answer = ask(&server, Method::GET, path, &[("authorization", &authorization)]).await;
        assert_eq!((answer.status, answer.code()), (403, "AccessDenied"), "{authorization}");
    }
    for page in ["cluster", "node", "bucket", "resource"] {
        assert!(!metrics(&server, page).await.is_empty());
        let path = format!("/minio/v2/metrics/{page}");
        let head = ask(&server, Method::HEAD, &path, &[("authorization", &token(ACCESS_KEY, SECRET))]).await;
        assert_eq!((head.status, head.body.as_str()), (200, ""));
    }
    let unknown =
        ask(&server, Method::GET, "/minio/v2/metrics/x", &[("authorization", &token(ACCESS_KEY, SECRET))]).await;
    assert_eq!(unknown.status, 400);
}

#[tokio::test]
async fn requests_are_counted_by_operation_and_status() {
    let server = Server::start().await;
    for path in ["/bkt/key", "/bkt/key", "/bkt/absent", "/bkt/panic", "/bkt", "/"] {
        server.send(signed(&server, path)).await;
    }
    let list = Call::new(Method::GET, "/bkt").query("list-type", "2").header("host", &server.address.to_string());
    assert_eq!(server.send(server.signer().header(list, None)).await.status, 200);
    let put = Call::new(Method::PUT, "/bkt/key").header("host", &server.address.to_string());
    let put = put.header("content-length", "3").body("abc");
    assert_eq!(server.send(server.signer().header(put, None)).await.status, 200);
    let mut bad = server.signer();
    bad.secret = "wrong".into();
    let call = Call::new(Method::GET, "/bkt/key").header("host", &server.address.to_string());
    assert_eq!(server.send(bad.header(call, None)).await.status, 403);
    get(&server, "/minio/health/live").await;
    get(&server, "/health/live").await;

    // Who asks for metrics is not counted.
    let node = once_idle(&server).await;
    let of = |name: &str, api: &str| node.get(&format!("minio_s3_requests_{name}{{api=\"{api}\"}}")).copied();
    assert_eq!((of("total", "getobject"), of("total", "putobject")), (Some(5.0), Some(1.0)));
    assert_eq!((of("4xx_errors_total", "getobject"), of("5xx_errors_total", "getobject")), (Some(2.0), Some(1.0)));
    assert_eq!((of("errors_total", "getobject"), of("errors_total", "putobject")), (Some(3.0), Some(0.0)));
    assert_eq!((of("total", "listobjectsv1"), of("total", "listobjectsv2")), (Some(1.0), Some(1.0)));
    assert_eq!((of("total", "listbuckets"), of("total", "deletebucket")), (Some(1.0), None));
    assert_eq!(of("inflight_total", "getobject"), Some(0.0));
    let span =
        |end: &str| node[&format!("minio_s3_requests_ttfb_seconds_distribution{{api=\"getobject\",le=\"{end}\"}}")];
    assert_eq!(span("+Inf"), 5.0);
    assert!(span("0.05") <= span("10"));
    assert_eq!(node["minio_s3_requests_rejected_auth_total"], 1.0);
    assert_eq!(node["minio_s3_traffic_received_bytes"], 3.0);
    assert!(node["minio_s3_traffic_sent_bytes"] > 10.0);
}

#[tokio::test]
async fn forms_pages_and_preflights_are_counted() {
    let server = Server::start().await;
    assert_eq!(form(&server).signed().send(&server).await.status, 204);
    assert_eq!(form(&server).send(&server).await.status, 403);
    let pages = Website::Pages(Pages { index: "index.html".into(), ..Pages::default() });
    server.configured.websites.lock().unwrap().insert(PUBLIC.to_owned(), Some(pages));
    let host = format!("{PUBLIC}.{WEBSITES}");
    for (method, path, status) in [
        (Method::GET, "/", 200),
        (Method::GET, "/missing?uploads", 404),
        (Method::HEAD, "/key", 200),
        (Method::PUT, "/key", 405),
        // Neither health nor metrics.
        (Method::GET, "/minio/health/cluster", 200),
        (Method::GET, "/minio/v2/metrics/node", 200),
    ] {
        let answer = ask(&server, method, path, &[("host", &host), ("content-length", "0")]).await;
        assert_eq!(answer.status, status, "{path}");
    }
    let keys = server.recording.take().into_iter().map(|reached| reached.key).collect::<Vec<_>>();
    assert!(keys.ends_with(&["minio/health/cluster".to_owned(), "minio/v2/metrics/node".to_owned()]), "{keys:?}");
    assert_eq!(ask(&server, Method::OPTIONS, "/bkt/key", &[("origin", "http://a.test")]).await.status, 403);

    let node = once_idle(&server).await;
    let of = |name: &str, api: &str| node.get(&format!("minio_s3_requests_{name}{{api=\"{api}\"}}")).copied();
    assert_eq!((of("total", "postpolicybucket"), of("4xx_errors_total", "postpolicybucket")), (Some(2.0), Some(1.0)));
    assert_eq!((of("total", "getobject"), of("4xx_errors_total", "getobject")), (Some(4.0), Some(1.0)));
    assert_eq!((of("total", "headobject"), of("total", "putobject")), (Some(1.0), None));
    assert_eq!((of("total", "listmultipartuploads"), of("total", "listobjectsv1")), (None, None));
    assert_eq!(node["minio_s3_requests_rejected_invalid_total"], 1.0);
    assert!(node["minio_s3_traffic_received_bytes"] > 1000.0);
}

#[tokio::test]
async fn a_client_that_leaves_is_counted_as_that() {
    let server = Server::start().await;
    let request = signed(&server, "/bkt/slow");
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let mut head = format!("GET {} HTTP/1.1\r\n", request.uri());
    for (name, value) in request.headers() {
        head += &format!("{name}: {}\r\n", value.to_str().unwrap());
    }
    stream.write_all(format!("{head}\r\n").as_bytes()).await.unwrap();
    server.recording.entered.notified().await;
    let node = metrics(&server, "node").await;
    assert_eq!(node["minio_s3_requests_inflight_total{api=\"getobject\"}"], 1.0);
    assert_eq!(node["minio_s3_requests_incoming_total"], 1.0);
    drop(stream);
    let node = once_idle(&server).await;
    assert_eq!(node["minio_s3_requests_inflight_total{api=\"getobject\"}"], 0.0);
    assert_eq!(node["minio_s3_requests_canceled_total{api=\"getobject\"}"], 1.0);
}

#[tokio::test]
async fn what_is_known_is_told_and_nothing_else() {
    let server = Server::start().await;
    let cluster = metrics(&server, "cluster").await;
    for (name, value) in [
        ("minio_cluster_capacity_raw_total_bytes", 7200.0),
        ("minio_cluster_capacity_raw_free_bytes", 4800.0),
        ("minio_cluster_capacity_usable_total_bytes", 4800.0),
        ("minio_cluster_capacity_usable_free_bytes", 3200.0),
        ("minio_cluster_drive_total", 9.0),
        ("minio_cluster_drive_online_total", 8.0),
        ("minio_cluster_drive_offline_total", 1.0),
        ("minio_cluster_health_status", 1.0),
        ("minio_cluster_write_quorum", 6.0),
        ("minio_cluster_nodes_online_total", 2.0),
        ("minio_cluster_nodes_offline_total", 1.0),
        ("minio_cluster_buckets_total", 3.0),
        ("minio_cluster_usage_object_total", 2.0),
        ("minio_cluster_usage_version_total", 5.0),
        ("minio_cluster_usage_deletemarker_total", 1.0),
        ("minio_cluster_usage_total_bytes", 20.0),
        ("ninefold_heal_queue_shards", 5.0),
        ("ninefold_heal_queue_failed_shards", 4.0),
        ("minio_usage_last_activity_nano_seconds", 3e9),
        ("minio_node_drive_free_bytes{drive=\"v1\"}", 600.0),
        ("minio_node_drive_latency_us{api=\"read\",drive=\"v1\"}", 2000.0),
    ] {
        assert_eq!(cluster.get(name), Some(&value), "{name}");
    }
    assert!(
        !cluster.contains_key("minio_node_drive_free_bytes{drive=\"v9\"}"),
        "nobody knows the space of what is gone"
    );
    assert!(cluster.contains_key("minio_node_process_uptime_seconds"));
    let bucket = metrics(&server, "bucket").await;
    assert_eq!(bucket["minio_bucket_usage_object_total{bucket=\"first\"}"], 2.0);
    assert_eq!(bucket["minio_bucket_usage_version_total{bucket=\"first\"}"], 5.0);
    assert_eq!(bucket["minio_bucket_usage_total_bytes{bucket=\"second\"}"], 0.0);
    let resource = metrics(&server, "resource").await;
    assert_eq!(resource["minio_node_drive_total_bytes{drive=\"v1\"}"], 900.0);

    server.vitals.database.store(false, Ordering::SeqCst);
    let cluster = metrics(&server, "cluster").await;
    assert_eq!(cluster["minio_cluster_health_status"], 0.0);
    assert!(!cluster.contains_key("minio_cluster_usage_object_total"));
    assert!(!cluster.contains_key("ninefold_heal_queue_shards"));
}
