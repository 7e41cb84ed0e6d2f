//! Certificates that clients show.

use ninefold::server::{ClientAuth, ClientCertificates, TlsConfig};
use sha2::{Digest as _, Sha256};

use super::made::{Authority, Files, Shown, asking, watched};
use super::{Client, eventually, load, over_http1};
use crate::recording::Server;

/// What a request comes to with this certificate; `None` if there is no connection for it. With TLS 1.3 a client learns that only when it
/// reads.
async fn asked(server: &Server, shown: Option<&Shown>) -> Option<String> {
    let mut client = Client::credulous();
    if let Some(shown) = shown {
        client = client.showing(shown);
    }
    let stream = client.connect(server.address).await.ok()?;
    super::try_send(stream, super::get(server, "/bkt/client")).await.map(|answer| answer.body)
}

fn expected(shown: &Shown, name: &str) -> Option<String> {
    Some(format!("{} {name:?}", hex::encode(Sha256::digest(&shown.chain[0]))))
}

#[tokio::test]
async fn who_must_show_a_certificate_is_nobody_without_one() {
    let (files, authority) = (Files::new(), Authority::new("ours"));
    let ca = files.write("ca.pem", authority.pem());
    let config = |certificates| TlsConfig {
        clients: Some(asking(ca.clone(), certificates)),
        ..TlsConfig::from(files.pair("server", &["127.0.0.1"]))
    };
    let required = load(config(ClientCertificates::Required)).await;
    let optional = load(config(ClientCertificates::Optional)).await;
    let (good, expired) = (authority.client("some \u{1b}one", 1), authority.client("late", -1));
    let foreign = Authority::new("ours").client("stranger", 1);
    for server in [&required, &optional] {
        assert_eq!(asked(server, Some(&good)).await, expected(&good, "some \u{1b}one"));
        assert_eq!(asked(server, Some(&expired)).await, None, "it has expired");
        assert_eq!(asked(server, Some(&foreign)).await, None, "another authority of that name signed it");
    }
    assert_eq!(asked(&required, None).await, None);
    assert_eq!(asked(&optional, None).await.as_deref(), Some("nobody"));
    // One of the server's own is none of a client's.
    let without = load(TlsConfig::from(files.pair("server", &["127.0.0.1"]))).await;
    assert_eq!(asked(&without, Some(&good)).await.as_deref(), Some("nobody"), "it was not asked for");
}

#[tokio::test]
async fn revoked_certificates_are_refused_as_soon_as_the_list_says_so() {
    let (files, authority) = (Files::new(), Authority::new("ours"));
    let (good, bad) = (authority.client("good", 1), authority.client("bad", 1));
    let ca = files.write("ca.pem", authority.pem());
    let list = files.write("crl.pem", authority.revoking(&[], 1));
    let clients = ClientAuth { revocations: Some(list), ..asking(ca, ClientCertificates::Required) };
    let config = TlsConfig { clients: Some(clients), ..TlsConfig::from(files.pair("server", &["127.0.0.1"])) };
    let server = load(watched(config)).await;
    assert_eq!(asked(&server, Some(&bad)).await, expected(&bad, "bad"));

    files.write("crl.pem", authority.revoking(&[&bad], 1));
    eventually(async || asked(&server, Some(&bad)).await.is_none()).await;
    assert_eq!(asked(&server, Some(&good)).await, expected(&good, "good"));
    // What cannot be used changes nothing.
    files.write("crl.pem", "nothing of the kind");
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    assert_eq!(asked(&server, Some(&bad)).await, None);
    assert_eq!(asked(&server, Some(&good)).await, expected(&good, "good"));
    // Of one that is out of date nobody knows what it would say by now.
    files.write("crl.pem", authority.revoking(&[], -1));
    eventually(async || asked(&server, Some(&good)).await.is_none()).await;
    files.write("crl.pem", authority.revoking(&[], 1));
    eventually(async || asked(&server, Some(&bad)).await.is_some()).await;
}

#[tokio::test]
async fn another_authority_counts_from_when_it_is_there() {
    let (files, old, new) = (Files::new(), Authority::new("old"), Authority::new("new"));
    let ca = files.write("ca.pem", old.pem());
    let config = TlsConfig {
        clients: Some(asking(ca, ClientCertificates::Required)),
        ..TlsConfig::from(files.pair("server", &["127.0.0.1"]))
    };
    let server = load(watched(config)).await;
    let (of_old, of_new) = (old.client("old", 1), new.client("new", 1));
    let before = Client::credulous().showing(&of_old).connect(server.address).await.unwrap();
    assert_eq!(asked(&server, Some(&of_new)).await, None);
    files.write("ca.pem", old.pem() + &new.pem());
    eventually(async || asked(&server, Some(&of_new)).await.is_some()).await;
    assert!(asked(&server, Some(&of_old)).await.is_some());
    files.write("ca.pem", new.pem());
    eventually(async || asked(&server, Some(&of_old)).await.is_none()).await;
    assert_eq!(over_http1(&server, before, "/bkt/key").await.status, 200, "who is connected stays");
}

#[tokio::test]
async fn who_shows_certificates_is_verified_each_time() {
    let (files, authority) = (Files::new(), Authority::new("ours"));
    let ca = files.write("ca.pem", authority.pem());
    let pair = files.pair("server", &["127.0.0.1"]);
    let clients = Some(asking(ca, ClientCertificates::Optional));
    let shown = authority.client("someone", 1);
    for (config, resumes) in
        [(TlsConfig::from(pair.clone()), true), (TlsConfig { clients, ..TlsConfig::from(pair) }, false)]
    {
        let server = load(config).await;
        for versions in [&tokio_rustls::rustls::version::TLS13, &tokio_rustls::rustls::version::TLS12] {
            let client = Client::credulous().showing(&shown).speaking(versions);
            let mut kinds = Vec::new();
            for _ in 0..2 {
                let (answer, kind) = super::send_and_tell(&client, &server, "/bkt/key").await;
                assert_eq!(answer.status, 200);
                kinds.push(kind);
            }
            use tokio_rustls::rustls::HandshakeKind::{Full, Resumed};
            assert_eq!(kinds, [Full, if resumes { Resumed } else { Full }], "{versions:?}");
        }
    }
}
