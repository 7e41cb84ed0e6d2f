//! Several certificates: which a client gets, and what becomes of changes.

use std::fs;

use ninefold::server::{Limits, TlsConfig};
use rcgen::{PKCS_ECDSA_P256_SHA256, PKCS_ED25519};
use tokio_rustls::rustls::SignatureScheme;
use tokio_rustls::rustls::pki_types::ServerName;

use super::made::{Files, der, watched};
use super::{Client, eventually, load};
use crate::recording::Server;

/// The certificate that a client gets which asks for this name; without one, for the address.
async fn given(server: &Server, name: Option<&str>) -> Vec<u8> {
    let name =
        name.map_or(ServerName::from(server.address.ip()), |name| ServerName::try_from(name.to_owned()).unwrap());
    let stream = Client::credulous().connect_as(server.address, name).await.unwrap();
    stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

#[tokio::test]
async fn clients_get_the_certificate_with_the_name_that_they_ask_for() {
    let files = Files::new();
    let first = files.pair("first", &["first.test", "127.0.0.1"]);
    let second = files.pair("second", &["Second.test", "*.buckets.test"]);
    let third = files.pair("third", &["a.buckets.test"]);
    let pairs = vec![first.clone(), second.clone(), third.clone()];
    let server = load(TlsConfig { pairs, ..TlsConfig::default() }).await;
    for (name, expected) in [
        (Some("first.test"), &first),
        (Some("second.test"), &second),
        (Some("SECOND.test"), &second),
        (Some("b.buckets.test"), &second),
        // Its own name comes before a wildcard.
        (Some("a.buckets.test"), &third),
        // A wildcard is one label, and not none.
        (Some("c.b.buckets.test"), &first),
        (Some("buckets.test"), &first),
        (Some("unknown.test"), &first),
        (Some("localhost"), &first),
        (None, &first),
    ] {
        assert_eq!(given(&server, name).await, der(&expected.certificate).to_vec(), "{name:?}");
    }
}

#[tokio::test]
async fn a_client_gets_a_key_that_it_can_verify() {
    let files = Files::new();
    let pairs = vec![
        files.pair_of(&PKCS_ED25519, "ed25519", &["a.test"]),
        files.pair_of(&PKCS_ECDSA_P256_SHA256, "ecdsa", &["a.test"]),
    ];
    let expected: Vec<_> = pairs.iter().map(|pair| der(&pair.certificate)).collect();
    let server = load(TlsConfig { pairs, ..TlsConfig::default() }).await;
    let name = || ServerName::try_from("a.test").unwrap();
    for (schemes, expected) in [
        (vec![SignatureScheme::ED25519, SignatureScheme::ECDSA_NISTP256_SHA256], &expected[0]),
        (vec![SignatureScheme::ECDSA_NISTP256_SHA256], &expected[1]),
    ] {
        let stream = Client::verifying(schemes).connect_as(server.address, name()).await.unwrap();
        assert_eq!(&stream.get_ref().1.peer_certificates().unwrap()[0], expected);
    }
}

#[tokio::test]
async fn a_directory_of_certificates_is_followed() {
    let files = Files::new();
    let own = files.placed_in("certs", &["own.test"]);
    let below = files.placed_in("certs/a.test", &["a.test"]);
    // Others that are there: authorities, what Kubernetes keeps, an empty one, a file.
    files.placed_in("certs/CAs", &["authority.test"]);
    files.placed_in("certs/..data", &["hidden.test"]);
    fs::create_dir(files.at("certs/empty")).unwrap();
    files.write("certs/README", "");
    let config = watched(TlsConfig { directory: Some(files.at("certs")), ..TlsConfig::default() });
    let server = load(config).await;
    let of = |path: &std::path::Path| der(path).to_vec();
    for (name, expected) in [("own.test", &own), ("a.test", &below), ("authority.test", &own), ("hidden.test", &own)] {
        assert_eq!(given(&server, Some(name)).await, of(&expected.certificate), "{name}");
    }

    // One more.
    let more = files.placed_in("certs/b.test", &["b.test"]);
    eventually(async || given(&server, Some("b.test")).await == of(&more.certificate)).await;
    // One that cannot be used is not served, and what it replaces is; others are renewed nevertheless.
    let before = of(&below.certificate);
    files.write("certs/a.test/private.key", "nothing of the kind");
    files.placed_in("certs/b.test", &["b.test"]);
    eventually(async || given(&server, Some("b.test")).await == of(&more.certificate)).await;
    assert_eq!(given(&server, Some("a.test")).await, before);
    files.write("certs/c.test/public.crt", "nothing of the kind");
    let renewed = files.placed_in("certs/a.test", &["a.test"]);
    eventually(async || given(&server, Some("a.test")).await == of(&renewed.certificate)).await;
    // One less.
    fs::remove_dir_all(files.at("certs/b.test")).unwrap();
    eventually(async || given(&server, Some("b.test")).await == of(&own.certificate)).await;
    // Nothing is left: what was there is served on.
    let served = given(&server, Some("a.test")).await;
    fs::rename(files.at("certs"), files.at("elsewhere")).unwrap();
    fs::create_dir(files.at("certs")).unwrap();
    let unrelated = files.placed_in("certs/d.test", &["d.test"]);
    eventually(async || given(&server, Some("d.test")).await == of(&unrelated.certificate)).await;
    let last = of(&unrelated.certificate);
    fs::remove_dir_all(files.at("certs")).unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    assert_eq!(given(&server, Some("d.test")).await, last);
    assert_ne!(given(&server, Some("a.test")).await, served);
}

#[tokio::test]
async fn certificates_are_renewed_under_load_without_a_failed_request() {
    let files = Files::new();
    files.placed_in("certs", &["127.0.0.1"]);
    let config = watched(TlsConfig { directory: Some(files.at("certs")), ..TlsConfig::default() });
    let server = std::sync::Arc::new(load(config).await);
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let server = std::sync::Arc::clone(&server);
            tokio::spawn(async move {
                // Tickets of before a renewal are offered after it.
                let client = Client::credulous();
                for _ in 0..40 {
                    let stream = client.connect(server.address).await.unwrap();
                    assert_eq!(super::over_http1(&server, stream, "/bkt/secure").await.body, "over TLS");
                }
            })
        })
        .collect();
    let renewing = async {
        loop {
            // The two files are not replaced in one instant: what does not fit together is not served.
            files.placed_in("certs", &["127.0.0.1"]);
            tokio::time::sleep(std::time::Duration::from_millis(15)).await;
        }
    };
    tokio::select! {
        () = renewing => {}
        done = futures_util::future::try_join_all(clients) => drop(done.unwrap()),
    }
}

#[tokio::test]
async fn metrics_tell_until_when_certificates_hold() {
    let files = Files::new();
    let pairs = vec![files.pair("first", &["a.test", "b.test"])];
    let file = pairs[0].certificate.display().to_string();
    let tls = ninefold::server::Tls::load(TlsConfig { pairs, ..TlsConfig::default() }).unwrap();
    let server = Server::over_tls(Limits::default(), tls).await;
    let stream = Client::credulous().connect(server.address).await.unwrap();
    let page = super::send(stream, crate::minio::metrics_request("node")).await;
    let sample = format!("ninefold_tls_expires_timestamp_seconds{{file=\"{file}\",names=\"a.test,b.test\",server=");
    let line = page.body.lines().find(|line| line.starts_with(&sample)).expect(&page.body);
    // The year 4096, as rcgen has it.
    assert_eq!(line.split(' ').next_back(), Some("67090118400"));
}
