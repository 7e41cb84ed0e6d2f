//! HTTPS: both versions of HTTP, handshakes that nobody waits for, and certificates that are replaced while it runs.

mod acme;
mod clients;
mod made;
mod names;

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
use ninefold::server::{ClientAuth, ClientCertificates, Limits, Tls, TlsConfig, TlsError, TlsFiles, TlsVersion};
use rcgen::{CertificateParams, KeyPair};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{ring, verify_tls12_signature, verify_tls13_signature};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{
    ClientConfig, DigitallySignedStruct, Error, HandshakeKind, RootCertStore, SignatureScheme, SupportedProtocolVersion,
};

use crate::forms::{form, post};
use crate::recording::{Answer, PUBLIC, Server, WEBSITES};
use crate::signing::Call;
use made::{Authority, Files, Shown, watched};

/// A directory with a certificate for 127.0.0.1 and its key.
struct Certificate {
    directory: Files,
}

impl Certificate {
    fn new() -> Self {
        let certificate = Self { directory: Files::new() };
        certificate.renew();
        certificate
    }

    fn files(&self) -> TlsFiles {
        TlsFiles::new(self.directory.at("cert.pem"), self.directory.at("cert.key"))
    }

    /// Another certificate in the place of the one there.
    fn renew(&self) {
        self.directory.pair("cert", &["127.0.0.1"]);
    }

    fn der(&self) -> CertificateDer<'static> {
        made::der(&self.files().certificate)
    }
}

async fn secured(limits: Limits, certificate: &Certificate) -> Server {
    Server::over_tls(limits, Tls::load(watched(certificate.files())).unwrap()).await
}

async fn load(config: TlsConfig) -> Server {
    Server::over_tls(Limits::default(), Tls::load(config).unwrap()).await
}

/// A client, which keeps the tickets that it is given.
struct Client(ClientConfig);

impl Client {
    fn with(verifier: Arc<dyn ServerCertVerifier>) -> Self {
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        Self(builder.with_no_client_auth()).offering(&["http/1.1"])
    }

    /// Trusts this certificate alone.
    fn trusting(trusted: &CertificateDer<'static>) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(trusted.clone()).unwrap();
        let provider = Arc::new(ring::default_provider());
        Self::with(WebPkiServerVerifier::builder_with_provider(roots.into(), provider).build().unwrap())
    }

    /// Trusts whoever it meets.
    fn credulous() -> Self {
        Self::verifying(ring::default_provider().signature_verification_algorithms.supported_schemes())
    }

    /// The same, if it can verify these signatures alone.
    fn verifying(schemes: Vec<SignatureScheme>) -> Self {
        Self::with(Arc::new(Credulous(schemes)))
    }

    fn offering(mut self, protocols: &[&str]) -> Self {
        self.0.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        self
    }

    fn showing(mut self, shown: &Shown) -> Self {
        let key = ring::sign::any_supported_type(&shown.key).unwrap();
        let key = CertifiedKey::new(shown.chain.clone(), key);
        self.0.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(key));
        self
    }

    fn speaking(self, version: &'static SupportedProtocolVersion) -> Self {
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[version])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Credulous(
                ring::default_provider().signature_verification_algorithms.supported_schemes(),
            )));
        let mut config = builder.with_no_client_auth();
        config.client_auth_cert_resolver = self.0.client_auth_cert_resolver;
        config.alpn_protocols = self.0.alpn_protocols;
        Self(config)
    }

    async fn connect(&self, address: SocketAddr) -> std::io::Result<TlsStream<TcpStream>> {
        self.connect_as(address, ServerName::from(address.ip())).await
    }

    async fn connect_as(
        &self,
        address: SocketAddr,
        name: ServerName<'static>,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(address).await?;
        TlsConnector::from(Arc::new(self.0.clone())).connect(name, stream).await
    }
}

#[derive(Debug)]
struct Credulous(Vec<SignatureScheme>);

impl ServerCertVerifier for Credulous {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = ring::default_provider().signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, &algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = ring::default_provider().signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.clone()
    }
}

/// Waits until it is so.
async fn eventually(so: impl AsyncFn() -> bool) {
    let waiting = async {
        while !so().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waiting).await.expect("it comes to be so");
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
    Client::trusting(trusted).offering(protocols).connect(address).await
}

fn get(server: &Server, path: &str) -> Request<Full<Bytes>> {
    server.signer().header(Call::new(Method::GET, path).header("host", &server.address.to_string()), None)
}

async fn over_http1(server: &Server, stream: TlsStream<TcpStream>, path: &str) -> Answer {
    send(stream, get(server, path)).await
}

async fn send(stream: TlsStream<TcpStream>, request: Request<Full<Bytes>>) -> Answer {
    try_send(stream, request).await.expect("an answer")
}

/// `None` if the connection ends before there is an answer.
async fn try_send(stream: TlsStream<TcpStream>, request: Request<Full<Bytes>>) -> Option<Answer> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.ok()?;
    let connection = tokio::spawn(connection);
    let answer = Answer::of(sender.send_request(request).await.ok()?).await;
    connection.abort();
    Some(answer)
}

/// Answers how the handshake went, too.
async fn send_and_tell(client: &Client, server: &Server, path: &str) -> (Answer, HandshakeKind) {
    let stream = client.connect(server.address).await.unwrap();
    let kind = stream.get_ref().1.handshake_kind().unwrap();
    (over_http1(server, stream, path).await, kind)
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
    eventually(async || connect(server, trusted, &["http/1.1"]).await.is_ok()).await;
    connect(server, trusted, &["http/1.1"]).await.unwrap()
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
    let other = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap().cert.pem();
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

/// A DER structure in PEM's clothes.
fn pem(label: &str, der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
}

#[tokio::test]
async fn keys_of_all_kinds_and_forms_are_served() {
    let rsa = include_str!("../../fixtures/rsa_2048.key.pem");
    let of = |kind| KeyPair::generate_for(kind).unwrap();
    let (p256, p384, ed25519) =
        (of(&rcgen::PKCS_ECDSA_P256_SHA256), of(&rcgen::PKCS_ECDSA_P384_SHA384), of(&rcgen::PKCS_ED25519));
    let rsa = KeyPair::from_pem(rsa).unwrap();
    // What is in PKCS #8, behind what says which kind it is.
    let pkcs1 = pem("RSA PRIVATE KEY", &rsa.serialize_der()[26..]);
    let sec1 = pem("EC PRIVATE KEY", &p256.serialize_der()[29..]);
    let files = Files::new();
    for (key, text) in [
        (&rsa, rsa.serialize_pem()),
        (&rsa, pkcs1),
        (&p256, p256.serialize_pem()),
        (&p256, sec1),
        (&p384, p384.serialize_pem()),
        (&ed25519, ed25519.serialize_pem()),
    ] {
        let certificate = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap().self_signed(key).unwrap();
        let server = load(files.placed("pair", &certificate.pem(), &text).into()).await;
        let stream = Client::trusting(certificate.der()).connect(server.address).await.unwrap();
        assert_eq!(over_http1(&server, stream, "/bkt/secure").await.body, "over TLS");
    }
}

#[tokio::test]
async fn versions_of_tls_are_those_that_are_wanted() {
    let certificate = Certificate::new();
    for (oldest, takes_12) in [(TlsVersion::Tls12, true), (TlsVersion::Tls13, false)] {
        let server = load(TlsConfig { oldest, ..certificate.files().into() }).await;
        for (version, taken) in [(&TLS12, takes_12), (&TLS13, true)] {
            let stream = Client::credulous().speaking(version).connect(server.address).await;
            assert_eq!(stream.is_ok(), taken, "{oldest:?} {version:?}");
        }
    }
}

#[tokio::test]
async fn names_of_tls_and_of_http_need_not_be_the_same() {
    let certificate = Certificate::new();
    let server = secured(Limits::default(), &certificate).await;
    let name = ServerName::try_from("other.test").unwrap();
    let stream = Client::credulous().connect_as(server.address, name).await.unwrap();
    assert_eq!(over_http1(&server, stream, "/bkt/secure").await.body, "over TLS");
}

#[test]
fn what_cannot_be_served_says_why() {
    let certificate = Certificate::new();
    let files = certificate.files();
    let refused = |files: TlsFiles| Tls::load(files.into()).err().unwrap();
    let absent = TlsFiles { key: "/nowhere/key.pem".into(), ..files.clone() };
    let error = refused(absent);
    assert!(matches!(error, TlsError::File { .. }) && error.to_string().contains("/nowhere/key.pem"), "{error}");
    let directory = TlsFiles { key: certificate.directory.path().to_owned(), ..files.clone() };
    assert!(matches!(refused(directory), TlsError::File { .. }));
    let swapped = TlsFiles { certificate: files.key.clone(), key: files.certificate.clone() };
    assert!(matches!(refused(swapped), TlsError::NoCertificate(path) if path == files.key));
    let no_key = TlsFiles { key: files.certificate.clone(), ..files.clone() };
    assert!(matches!(refused(no_key), TlsError::NoKey(path) if path == files.certificate));
    let other = Certificate::new();
    let error = refused(TlsFiles { key: other.files().key, ..files.clone() });
    assert!(matches!(error, TlsError::Mismatch { .. }), "{error}");
    for sealed in
        ["-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n", "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n"]
    {
        let key = certificate.directory.write("sealed.key", sealed);
        let error = refused(TlsFiles { key: key.clone(), ..files.clone() });
        assert!(matches!(&error, TlsError::EncryptedKey(path) if *path == key), "{error}");
        assert!(error.to_string().contains("is encrypted"), "{error}");
    }
    let empty = TlsConfig { directory: Some(certificate.directory.path().to_owned()), ..TlsConfig::default() };
    assert!(matches!(Tls::load(empty).err().unwrap(), TlsError::NoPair(_)));
    let asking = |authorities: &Path, revocations| TlsConfig {
        clients: Some(ClientAuth { revocations, ..made::asking(authorities.to_owned(), ClientCertificates::Required) }),
        ..TlsConfig::from(files.clone())
    };
    let error = Tls::load(asking(&files.key, None)).err().unwrap();
    assert!(matches!(error, TlsError::NoCertificate(path) if path == files.key));
    let error = Tls::load(asking(&files.certificate, Some(files.key.clone()))).err().unwrap();
    assert!(matches!(error, TlsError::NoRevocations(path) if path == files.key));
    fs::write(&files.certificate, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
    assert!(matches!(refused(files.clone()), TlsError::Unusable { .. } | TlsError::NoCertificate(_)));
    let fifo = certificate.directory.at("fifo");
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

#[tokio::test]
async fn health_shows_a_certificate_where_it_must() {
    let (files, authority) = (Files::new(), Authority::new("ours"));
    let ca = files.write("ca.pem", authority.pem());
    let own = files.placed_in("certs", &["127.0.0.1"]);
    let clients = Some(made::asking(ca, ClientCertificates::Required));
    let server = load(TlsConfig { clients, ..own.into() }).await;
    let shown = authority.client("health", 1);
    let shown = files.placed("health", &shown.pem, &shown.key_pem);
    let mut command = Command::new(env!("CARGO_BIN_EXE_ninefold"));
    command.env_clear().args(["health", "--listen", &server.address.to_string(), "--tls-dir"]).arg(files.at("certs"));
    let (refused, welcome) = tokio::task::spawn_blocking(move || {
        let refused = command.output().unwrap();
        command.arg("--client-cert").arg(shown.certificate).arg("--client-key").arg(shown.key);
        (refused, command.output().unwrap())
    })
    .await
    .unwrap();
    assert_eq!((refused.status.code(), welcome.status.code()), (Some(1), Some(0)), "{welcome:?}");
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
