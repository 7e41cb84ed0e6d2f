//! Buckets as websites: which hosts, for whom, and what is sent.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;
use ninefold::objects::{CorsRule, CorsRules, Pages, Replace, RoutingRule, WebProtocol, Website};

use crate::recording::{Answer, DOMAIN, PUBLIC, Server, WEBSITES};
use crate::signing::Call;

fn pages() -> Pages {
    Pages { index: "index.html".into(), ..Pages::default() }
}

async fn server(pages: Pages) -> Server {
    let server = Server::start().await;
    set(&server, PUBLIC, Some(Website::Pages(pages)));
    server
}

fn set(server: &Server, bucket: &str, website: Option<Website>) {
    server.configured.websites.lock().unwrap().insert(bucket.to_owned(), website);
}

fn request(method: Method, host: &str, uri: &str, headers: &[(&str, &str)]) -> Request<Full<Bytes>> {
    let mut request = Request::builder().method(method).uri(uri).header("host", host);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Full::default()).unwrap()
}

fn host() -> String {
    format!("{PUBLIC}.{WEBSITES}")
}

async fn get(server: &Server, path: &str) -> Answer {
    server.send(request(Method::GET, &host(), path, &[])).await
}

/// The keys that were read, with `HEAD ` where it was only asked whether they are there.
fn read(server: &Server) -> Vec<String> {
    let all = server.recording.take().into_iter();
    all.map(|reached| {
        assert_eq!(reached.bucket, PUBLIC);
        let head = if reached.operation == "HeadObject" { "HEAD " } else { "" };
        format!("{head}{}", reached.key)
    })
    .collect()
}

/// The lists of an error's page, without what is new in each.
fn said(answer: &Answer) -> Vec<&str> {
    let lines = answer.body.lines().filter_map(|line| line.strip_prefix("<li>")?.strip_suffix("</li>"));
    lines.filter(|line| !line.starts_with("RequestId: ") && !line.starts_with("HostId: ")).collect()
}

#[tokio::test]
async fn a_page_is_an_object_and_a_directory_its_index() {
    let server = server(pages()).await;
    for (path, key) in [
        ("/", "index.html"),
        ("/a%20b/%C3%BC", "a b/ü"),
        ("/a+b", "a+b"),
        ("/dir/", "dir/index.html"),
        ("/..//x", "..//x"),
        ("//x", "/x"),
        ("/key?X-Amz-Signature=0&versionId=x&acl&response-content-type=a", "key"),
        ("/health/live", "health/live"),
    ] {
        for h2 in [false, true] {
            let request = request(Method::GET, &host(), path, &[]);
            let answer = if h2 { server.send_h2(request).await } else { server.send(request).await };
            assert_eq!((answer.status, answer.body.as_str()), (200, "hello"), "{path}");
            assert!(answer.header("x-amz-request-id").is_some());
            assert_eq!(read(&server), [key], "{path}");
        }
    }
    let answer = server.send(request(Method::HEAD, &host(), "/key", &[])).await;
    assert_eq!((answer.status, answer.header("content-length"), answer.body.as_str()), (200, Some("5"), ""));
    assert_eq!(read(&server), ["HEAD key"]);
    let answer = get(&server, "/unmodified").await;
    assert_eq!((answer.status, answer.header("etag"), answer.body.as_str()), (304, Some("\"abc\""), ""));
}

#[tokio::test]
async fn hosts_of_websites_are_theirs_and_no_others() {
    let server = server(pages()).await;
    set(&server, "www.example.test", Some(Website::Pages(pages())));
    let ask = |host: &str| request(Method::GET, host, "/key", &[]);
    for host in [host(), format!("{}:9000", host().to_ascii_uppercase()), format!("{}.", host())] {
        assert_eq!(server.send(ask(&host)).await.status, 200, "{host}");
    }
    assert_eq!(server.send(ask(&format!("www.example.test.{WEBSITES}"))).await.status, 200);
    // Nothing of S3's is a website, nor the other way round.
    for host in [format!("{PUBLIC}.{DOMAIN}"), "www.example.test".into(), server.address.to_string()] {
        let answer = server.send(request(Method::GET, &host, "/", &[])).await;
        assert_eq!((answer.status, answer.code()), (403, "AccessDenied"), "{host}");
        assert_eq!(answer.header("content-type"), Some("application/xml"));
    }
    server.recording.take();
    let signed = Call::new(Method::GET, "/").header("host", &host());
    let answer = server.send(server.signer().header(signed, None)).await;
    assert_eq!((answer.status, read(&server)), (200, vec!["index.html".to_owned()]), "no list of objects");
    // At the address of websites every host is a bucket, and there is no S3.
    for host in [host(), "www.example.test".into(), "WWW.example.test:80".into()] {
        assert_eq!(server.send_to_websites(ask(&host)).await.status, 200, "{host}");
    }
    for host in [format!("{PUBLIC}.{DOMAIN}"), server.websites.to_string(), WEBSITES.into()] {
        let answer = server.send_to_websites(ask(&host)).await;
        assert_eq!((answer.status, said(&answer)[0]), (404, "Code: NoSuchBucket"), "{host}");
    }
}

#[tokio::test]
async fn pages_are_read_as_nobody_in_particular() {
    let server = server(pages()).await;
    set(&server, "private", Some(Website::Pages(pages())));
    for path in ["/", "/key", "/missing"] {
        let answer = server.send(request(Method::GET, &format!("private.{WEBSITES}"), path, &[])).await;
        assert_eq!(answer.status, 403, "{path}");
        assert_eq!(said(&answer), ["Code: AccessDenied", "Message: Access Denied"]);
        assert_eq!(answer.header("x-amz-error-code"), Some("AccessDenied"));
        for bucket in ["absent", "Not_A_Bucket"] {
            let answer = server.send(request(Method::GET, &format!("{bucket}.{WEBSITES}"), path, &[])).await;
            assert_eq!((answer.status, answer.header("x-amz-error-code")), (404, Some("NoSuchBucket")), "{bucket}");
        }
    }
    assert!(read(&server).is_empty());
}

#[tokio::test]
async fn errors_are_pages() {
    let server = server(pages()).await;
    let answer = get(&server, "/dir/missing").await;
    assert_eq!((answer.status, answer.header("content-type")), (404, Some("text/html; charset=utf-8")));
    let (id, host_id) = (answer.header("x-amz-request-id").unwrap(), answer.header("x-amz-id-2").unwrap());
    let expected = format!(
        "<html>\n<head><title>404 Not Found</title></head>\n<body>\n<h1>404 Not Found</h1>\n<ul>\n<li>Code: NoSuchKey</li>\n\
         <li>Message: The specified key does not exist.</li>\n<li>Key: a&lt;b&gt;\u{1}</li>\n<li>RequestId: {id}</li>\n\
         <li>HostId: {host_id}</li>\n</ul>\n<hr/>\n</body>\n</html>\n"
    );
    assert_eq!(answer.body, expected);
    assert_eq!(answer.header("x-amz-error-message"), Some("The specified key does not exist."));
    assert_eq!(read(&server), ["dir/missing", "HEAD dir/missing/index.html"]);

    for method in [Method::PUT, Method::POST, Method::DELETE, Method::PATCH] {
        let answer = server.send(request(method.clone(), &host(), "/key", &[])).await;
        let method = format!("Method: {method}");
        let message = "Message: The specified method is not allowed against this resource.";
        assert_eq!(said(&answer), ["Code: MethodNotAllowed", message, &method, "ResourceType: OBJECT"]);
        assert_eq!(answer.status, 405);
    }
    for path in ["/%ff", "/a%00b"] {
        let answer = get(&server, path).await;
        assert_eq!((answer.status, said(&answer)[0]), (400, "Code: InvalidURI"), "{path}");
    }
    let answer = get(&server, &format!("/{}", "k".repeat(1100))).await;
    assert_eq!((answer.status, said(&answer)[0]), (400, "Code: KeyTooLongError"));
    assert!(read(&server).is_empty());
    let answer = get(&server, "/panic").await;
    assert_eq!((answer.status, said(&answer)[0]), (500, "Code: InternalError"));
    let answer = server.send(request(Method::HEAD, &host(), "/missing", &[])).await;
    assert_eq!((answer.status, answer.body.as_str(), answer.header("content-length")), (404, "", None));
    assert_eq!(answer.header("x-amz-error-code"), Some("NoSuchKey"));

    set(&server, PUBLIC, None);
    let answer = get(&server, "/key").await;
    let message = "Message: The specified bucket does not have a website configuration";
    assert_eq!(said(&answer), ["Code: NoSuchWebsiteConfiguration", message, "BucketName: site"]);
    assert_eq!((answer.status, answer.header("x-amz-error-detail-bucketname")), (404, Some(PUBLIC)));
    server.configured.websites.lock().unwrap().clear();
    let answer = get(&server, "/key").await;
    let expected = ["Code: NoSuchBucket", "Message: The specified bucket does not exist", "BucketName: site"];
    assert_eq!((answer.status, said(&answer)), (404, expected.to_vec()));
    server.configured.away.store(true, Ordering::SeqCst);
    let answer = get(&server, "/key").await;
    assert_eq!((answer.status, said(&answer)[0]), (503, "Code: ServiceUnavailable"));
}

#[tokio::test]
async fn an_error_has_the_bucket_s_own_page() {
    let server = server(Pages { error: Some("error.html".into()), ..pages() }).await;
    let conditional = [("if-none-match", "*"), ("range", "bytes=0-1")];
    let answer = server.send(request(Method::GET, &host(), "/missing/", &conditional)).await;
    assert_eq!((answer.status, answer.body.as_str()), (404, "hello"));
    assert_eq!(answer.header("x-amz-error-code"), Some("NoSuchKey"));
    assert_eq!(read(&server), ["missing/index.html", "error.html"]);
    let answer = server.send(request(Method::HEAD, &host(), "/missing/", &[])).await;
    assert_eq!((answer.status, answer.body.as_str()), (404, ""));
    assert_eq!(read(&server), ["HEAD missing/index.html", "HEAD error.html"]);
    // It is for mistakes of the client's.
    let answer = get(&server, "/panic").await;
    assert_eq!((answer.status, read(&server)), (500, vec!["panic".to_owned()]));

    set(&server, PUBLIC, Some(Website::Pages(Pages { error: Some("missing.html".into()), ..pages() })));
    let answer = get(&server, "/missing/").await;
    assert_eq!(answer.status, 404);
    let title = "<h3>An Error Occurred While Attempting to Retrieve a Custom Error Document</h3>";
    assert!(answer.body.contains(title), "{}", answer.body);
    assert_eq!(said(&answer).iter().filter(|line| **line == "Code: NoSuchKey").count(), 2);
    set(&server, PUBLIC, Some(Website::Pages(Pages { error: Some("moved".into()), ..pages() })));
    let answer = get(&server, "/missing/").await;
    assert_eq!((answer.status, answer.header("location")), (301, Some("/elsewhere?a=b")));
}

#[tokio::test]
async fn a_path_without_its_slash_leads_to_the_directory() {
    let server = server(Pages { error: Some("error.html".into()), ..pages() }).await;
    let answer = get(&server, "/absent?a=b").await;
    assert_eq!((answer.status, answer.header("location")), (302, Some("/absent/")));
    assert_eq!(said(&answer), ["Code: Found", "Message: Resource Found"]);
    assert_eq!(read(&server), ["absent", "HEAD absent/index.html"]);
    let answer = server.send(request(Method::HEAD, &host(), "/absent", &[])).await;
    assert_eq!((answer.status, answer.header("location"), answer.body.as_str()), (302, Some("/absent/"), ""));
}

#[tokio::test]
async fn an_object_may_say_that_it_is_elsewhere() {
    let server = server(pages()).await;
    let answer = get(&server, "/moved").await;
    assert_eq!((answer.status, answer.header("location"), answer.body.as_str()), (301, Some("/elsewhere?a=b"), ""));
    assert_eq!(answer.header("content-length"), Some("0"));
    assert!(answer.header("x-amz-website-redirect-location").is_none());
}

#[tokio::test]
async fn rules_lead_elsewhere_before_and_after() {
    let before = RoutingRule {
        prefix: Some("docs/".into()),
        replace: Some(Replace::Prefix("documents/".into())),
        ..RoutingRule::default()
    };
    let after = RoutingRule {
        error: Some(404),
        host: Some("other.test".into()),
        protocol: Some(WebProtocol::Https),
        code: Some(307),
        ..RoutingRule::default()
    };
    let server = server(Pages { error: Some("error.html".into()), rules: vec![after, before], ..pages() }).await;
    let answer = get(&server, "/docs/a%20b?x=y").await;
    let location = format!("http://{}/documents/a%20b", host());
    assert_eq!((answer.status, answer.header("location"), answer.body.as_str()), (301, Some(&*location), ""));
    assert!(read(&server).is_empty(), "without a look at any object");
    let forwarded = request(Method::GET, &host(), "/docs/", &[("x-forwarded-proto", "https")]);
    let location = format!("https://{}/documents/", host());
    assert_eq!(server.send(forwarded).await.header("location"), Some(&*location));
    let answer = get(&server, "/a/missing").await;
    assert_eq!((answer.status, answer.header("location")), (307, Some("https://other.test/a/missing")));
    assert_eq!(get(&server, "/a/key").await.status, 200);
}

#[tokio::test]
async fn a_bucket_may_be_elsewhere_altogether() {
    let server = server(pages()).await;
    for (protocol, path, location) in [
        (None, "/", "http://other.test/"),
        (None, "/a%20b/c?x=y", "http://other.test/a%20b/c?x=y"),
        (Some(WebProtocol::Https), "/a", "https://other.test/a"),
    ] {
        set(&server, PUBLIC, Some(Website::RedirectAll { host: "other.test".into(), protocol }));
        let answer = get(&server, path).await;
        assert_eq!((answer.status, answer.header("location"), answer.body.as_str()), (301, Some(location), ""));
    }
    assert!(read(&server).is_empty());
}

#[tokio::test]
async fn only_what_is_about_the_page_is_passed_on() {
    let server = server(pages()).await;
    for (range, seen) in [("bytes=0-1", "Some"), ("bytes=0-1,3-4", "None"), ("bytes=9-1", "None"), ("x", "None")] {
        let answer = server.send(request(Method::GET, &host(), "/ranged", &[("range", range)])).await;
        assert!(answer.body.starts_with(seen), "{range} {}", answer.body);
    }
    for (name, value) in [
        ("authorization", "AWS AKID:nonsense"),
        ("x-amz-expected-bucket-owner", "nobody"),
        ("x-amz-server-side-encryption-customer-algorithm", "AES256"),
        ("x-amz-security-token", "token"),
        ("if-modified-since", "yesterday"),
        ("x-ninefold-error-detail", "a=b"),
    ] {
        let answer = server.send(request(Method::GET, &host(), "/key", &[(name, value)])).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, "hello"), "{name}");
    }
}

#[tokio::test]
async fn pages_of_other_origins_see_what_the_rules_grant() {
    let server = server(pages()).await;
    let rule = CorsRule { origins: vec!["http://*.a.test".into()], methods: vec!["GET".into()], ..CorsRule::default() };
    server.configure(PUBLIC, Some(CorsRules(vec![rule])));
    let origin = ("origin", "http://x.a.test");
    for path in ["/key", "/dir/missing"] {
        let answer = server.send(request(Method::GET, &host(), path, &[origin])).await;
        assert_eq!(answer.header("access-control-allow-origin"), Some("http://x.a.test"), "{path}");
    }
    let asked = [origin, ("access-control-request-method", "GET")];
    let answer = server.send(request(Method::OPTIONS, &host(), "/key", &asked)).await;
    assert_eq!((answer.status, answer.header("access-control-allow-methods")), (200, Some("GET")));
    let asked = [origin, ("access-control-request-method", "PUT")];
    let answer = server.send(request(Method::OPTIONS, &host(), "/key", &asked)).await;
    assert_eq!((answer.status, said(&answer)[0]), (403, "Code: AccessForbidden"));
}
