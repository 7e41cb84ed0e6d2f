//! HTTPS: both versions of HTTP, handshakes that nobody waits for, and certificates that are replaced while it runs.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;
use hyper_util::rt::{TokioExecutor, TokioIo};
use ninefold::objects::Website;
use ninefold::server::{Limits, Tls, TlsError, TlsFiles};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::forms::{form, post};
use crate::recording::{Answer, PUBLIC, Server, WEBSITES};
use crate::signing::Call;

/// A directory with a certificate for 127.0.0.1 and its key.
struct Certificate {
    directory: tempfile::TempDir,
}

impl Certificate {
    fn new() -> Self {
        let certificate = Self { directory: tempfile::tempdir().unwrap() };
        certificate.renew();
        certificate
    }

    fn files(&self) -> TlsFiles {
        let at = |name: &str| self.directory.path().join(name);
        TlsFiles { recheck: Duration::from_millis(5), ..TlsFiles::new(at("cert.pem"), at("key.pem")) }
    }

    /// Another certificate in the place of the one there.
    fn renew(&self) {
        let (certificate, key) = made();
        fs::write(self.files().key, key).unwrap();
        fs::write(self.files().certificate, certificate).unwrap();
    }

    fn der(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_file(self.files().certificate).unwrap()
    }
}

fn made() -> (String, String) {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

async fn secured(limits: Limits, certificate: &Certificate) -> Server {
    Server::over_tls(limits, Tls::load(certificate.files()).unwrap()).await
}

/// A connection by a client that trusts this certificate and offers these protocols.
async fn connect(
    server: &Server,
    trusted: &CertificateDer<'static>,
    protocols: &[&str],
) -> std::io::Result<TlsStream<TcpStream>> {
    connect_to(server.address, trusted, protocols).await
}

async fn connect_to(
    address: SocketAddr,
    trusted: &CertificateDer<'static>,
    protocols: &[&str],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::from(address.ip());
    tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

fn get(server: &Server, path: &str) -> Request<Full<Bytes>> {
    server.signer().header(Call::new(Method::GET, path).header("host", &server.address.to_string()), None)
}

async fn over_http1(server: &Server, stream: TlsStream<TcpStream>, path: &str) -> Answer {
    send(stream, get(server, path)).await
}

async fn send(stream: TlsStream<TcpStream>, request: Request<Full<Bytes>>) -> Answer {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let answer = Answer::of(sender.send_request(request).await.unwrap()).await;
    connection.abort();
    answer
}

#[tokio::test]
async fn both_versions_of_http_are_agreed_on_by_alpn() {
    let certificate = Certificate::new();
    let server = secured(Limits::default(), &certificate).await;
    for protocols in [&["http/1.1"][..], &[]] {
        let stream = connect(&server, &certificate.der(), protocols).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), protocols.first().map(|name| name.as_bytes()));
        assert_eq!(over_http1(&server, stream, "/bkt/secure").await.body, "over TLS");
    }
    let stream = connect(&server, &certificate.der(), &["h2", "http/1.1"]).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.unwrap();
    let connection = tokio::spawn(connection);
    let mut request = get(&server, "/bkt/secure");
    request.headers_mut().remove("host");
    *request.uri_mut() = format!("https://{}/bkt/secure", server.address).parse().unwrap();
    let answer = Answer::of(sender.send_request(request).await.unwrap()).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "over TLS"));
    connection.abort();
    let nothing_in_common = connect(&server, &certificate.der(), &["spdy/1"]).await;
    assert!(nothing_in_common.is_err());
}

#[tokio::test]
async fn websites_and_addresses_are_https_too() {
    let certificate = Certificate::new();
    let server = secured(Limits::default(), &certificate).await;
    let elsewhere = Website::RedirectAll { host: "other.test".into(), protocol: None };
    server.configured.websites.lock().unwrap().insert(PUBLIC.to_owned(), Some(elsewhere));
    let (host, plain) = (format!("{PUBLIC}.{WEBSITES}"), ("x-forwarded-proto", "http"));
    for address in [server.address, server.websites] {
        // What a proxy says of how its client came counts more.
        for (headers, location) in [(&[][..], "https://other.test/a"), (&[plain], "http://other.test/a")] {
            let stream = connect_to(address, &certificate.der(), &["http/1.1"]).await.unwrap();
            let mut request = Request::get("/a").header("host", &host);
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            let answer = send(stream, request.body(Full::default()).unwrap()).await;
            assert_eq!((answer.status, answer.header("location")), (301, Some(location)));
        }
    }
    let stream = connect(&server, &certificate.der(), &["http/1.1"]).await.unwrap();
    let mut form = post("/bkt", form(&server).signed().body());
    form.headers_mut().insert("host", "a.test".parse().unwrap());
    let answer = send(stream, form).await;
    assert_eq!((answer.status, answer.header("location")), (204, Some("https://a.test/bkt/k")));
}

#[tokio::test]
async fn without_tls_it_is_plain() {
    let server = Server::start().await;
    assert_eq!(server.send(get(&server, "/bkt/secure")).await.body, "in the clear");
}

#[tokio::test]
async fn who_connects_and_says_nothing_is_cut_off_and_delays_nobody() {
    let certificate = Certificate::new();
    let limits = Limits { head: Duration::from_secs(2), ..Limits::default() };
    let server = secured(limits, &certificate).await;
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(TcpStream::connect(server.address).await.unwrap());
    }
    // One that begins a handshake and leaves it there.
    silent[0].write_all(b"\x16\x03\x01\x02\x00").await.unwrap();
    let stream = connect(&server, &certificate.der(), &["http/1.1"]).await.unwrap();
    assert_eq!(over_http1(&server, stream, "/bkt/key").await.status, 200);
    for mut stream in silent {
        assert_eq!(stream.read_to_end(&mut Vec::new()).await.unwrap_or(0), 0);
    }
    // The time for a head begins after the handshake's.
    let mut shaken = connect(&server, &certificate.der(), &["http/1.1"]).await.unwrap();
    assert_eq!(shaken.read_to_end(&mut Vec::new()).await.unwrap_or(0), 0);
}

#[tokio::test]
async fn who_is_one_too_many_is_told_so_in_confidence() {
    let certificate = Certificate::new();
    let server = secured(Limits { connections: 1, ..Limits::default() }, &certificate).await;
    let _first = connect(&server, &certificate.der(), &["http/1.1"]).await.unwrap();
    let second = connect(&server, &certificate.der(), &["http/1.1"]).await.unwrap();
    let answer = over_http1(&server, second, "/bkt/key").await;
    assert_eq!((answer.status, answer.code(), answer.header("retry-after")), (503, "SlowDown", Some("1")));
}

#[tokio::test]
async fn who_is_refused_while_sending_reads_why_afterwards() {
    let certificate = Certificate::new();
    let server = secured(Limits::default(), &certificate).await;
    let mut stream = connect(&server, &certificate.der(), &["http/1.1"]).await.unwrap();
    stream.write_all(b"PUT /bkt/key HTTP/1.1\r\nHost: x\r\nContent-Length: 20000000\r\n\r\n").await.unwrap();
    stream.write_all(&vec![0; 20_000_000]).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 403") && answer.contains("AccessDenied"), "{answer}");
}

#[tokio::test]
async fn plain_http_is_refused_and_ends_nothing_else() {
    let certificate = Certificate::new();
    let server = secured(Limits::default(), &certificate).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP/"), "{answer:?}");
    let stream = connect(&server, &certificate.der(), &["http/1.1"]).await.unwrap();
    assert_eq!(over_http1(&server, stream, "/bkt/key").await.status, 200);
}

#[tokio::test]
async fn an_unfinished_handshake_does_not_hold_up_the_end() {
    let certificate = Certificate::new();
    let mut server = secured(Limits::default(), &certificate).await;
    let mut silent = TcpStream::connect(server.address).await.unwrap();
    // Connections are accepted in order: when this one is served, the silent one was accepted.
    let stream = connect(&server, &certificate.der(), &["http/1.1"]).await.unwrap();
    assert_eq!(over_http1(&server, stream, "/bkt/key").await.status, 200);
    server.stop.take().unwrap().send(()).unwrap();
    assert_eq!((&mut server.running).await.unwrap(), 0);
    assert_eq!(silent.read_to_end(&mut Vec::new()).await.unwrap_or(0), 0);
}

/// Connects until a client that trusts `trusted` alone is satisfied.
async fn until_served(server: &Server, trusted: &CertificateDer<'static>) -> TlsStream<TcpStream> {
    let tries = async {
        loop {
            match connect(server, trusted, &["http/1.1"]).await {
                Ok(stream) => return stream,
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), tries).await.expect("the new certificate is served")
}

#[tokio::test]
async fn a_renewed_certificate_is_served_and_a_bad_one_is_not() {
    let certificate = Certificate::new();
    let server = secured(Limits::default(), &certificate).await;
    let first = certificate.der();
    let old = connect(&server, &first, &["http/1.1"]).await.unwrap();
    certificate.renew();
    let second = certificate.der();
    let stream = until_served(&server, &second).await;
    assert_eq!(over_http1(&server, stream, "/bkt/key").await.status, 200);
    assert!(connect(&server, &first, &["http/1.1"]).await.is_err(), "new connections get the new one");
    assert_eq!(over_http1(&server, old, "/bkt/key").await.status, 200, "old ones stay");

    // A key without its certificate, no certificate at all, no file: what was served is served on.
    let (other, _) = made();
    let changes: [&dyn Fn(&Path); 3] =
        [&|path| fs::write(path, &other).unwrap(), &|path| fs::write(path, "nothing of the kind").unwrap(), &|path| {
            fs::remove_file(path).unwrap()
        }];
    for change in changes {
        change(&certificate.files().certificate);
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(connect(&server, &second, &["http/1.1"]).await.is_ok());
    }
    certificate.renew();
    until_served(&server, &certificate.der()).await;
}

#[test]
fn what_cannot_be_served_says_why() {
    let certificate = Certificate::new();
    let files = certificate.files();
    let refused = |files: TlsFiles| Tls::load(files).err().unwrap();
    let absent = TlsFiles { key: "/nowhere/key.pem".into(), ..files.clone() };
    let error = refused(absent);
    assert!(matches!(error, TlsError::File { .. }) && error.to_string().contains("/nowhere/key.pem"), "{error}");
    let directory = TlsFiles { key: certificate.directory.path().to_owned(), ..files.clone() };
    assert!(matches!(refused(directory), TlsError::File { .. }));
    let swapped = TlsFiles { certificate: files.key.clone(), key: files.certificate.clone(), ..files.clone() };
    assert!(matches!(refused(swapped), TlsError::NoCertificate(path) if path == files.key));
    let no_key = TlsFiles { key: files.certificate.clone(), ..files.clone() };
    assert!(matches!(refused(no_key), TlsError::NoKey(path) if path == files.certificate));
    let other = Certificate::new();
    let error = refused(TlsFiles { key: other.files().key, ..files.clone() });
    assert!(matches!(error, TlsError::Mismatch { .. }), "{error}");
    fs::write(&files.certificate, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
    assert!(matches!(refused(files.clone()), TlsError::Unusable { .. } | TlsError::NoCertificate(_)));
    let fifo = certificate.directory.path().join("fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).unwrap();
    assert!(matches!(refused(TlsFiles { certificate: fifo, ..files }), TlsError::File { .. }));
}

#[tokio::test]
async fn health_is_asked_over_https() {
    let certificate = Certificate::new();
    let server = secured(Limits::default(), &certificate).await;
    let ask = async |trusted: &Path| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ninefold"));
        command.env_clear().args(["health", "--ready", "--listen", &server.address.to_string()]);
        command.env("NINEFOLD_TLS_CERT", trusted);
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
    };
    let answer = ask(&certificate.files().certificate).await;
    assert!(answer.status.success(), "{answer:?}");
    assert!(!ask(Path::new("")).await.status.success(), "plain HTTP is no HTTPS");
    let other = Certificate::new();
    assert_eq!(ask(&other.files().certificate).await.status.code(), Some(1), "only this certificate will do");
}

#[test]
fn a_server_starts_only_with_what_it_can_serve() {
    let certificate = Certificate::new();
    let data = tempfile::tempdir().unwrap();
    let other = Certificate::new();
    let serve = |arguments: &[&std::ffi::OsStr]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ninefold"));
        command.env_clear().args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(data.path()).args(arguments);
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    };
    let (files, others) = (certificate.files(), other.files());
    let (cert, key) = ("--tls-cert".as_ref(), "--tls-key".as_ref());
    let error = serve(&[cert, files.certificate.as_os_str(), key, others.key.as_os_str()]);
    assert!(error.contains("TLS: ") && error.contains("is not the key of the certificate"), "{error}");
    assert!(serve(&[cert, files.certificate.as_os_str()]).contains("tls_cert: it needs tls_key"));
}
