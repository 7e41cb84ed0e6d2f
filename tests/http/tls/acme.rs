//! A certificate by ACME, from Pebble, Let's Encrypt's server for tests, if there is one: `PEBBLE_BIN`.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use tokio_rustls::rustls::pki_types::ServerName;

use super::made::Files;
use super::{Client, eventually};

/// A process that ends with its test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[tokio::test]
async fn an_authority_gives_a_certificate() {
    let Some(pebble) = std::env::var_os("PEBBLE_BIN") else {
        eprintln!("SKIPPED: PEBBLE_BIN names no Pebble, so that no certificate is ordered by ACME");
        return;
    };
    let files = Files::new();
    let directory = files.pair("directory", &["localhost", "127.0.0.1"]);
    let (port, directory_port, management_port) = (free_port(), free_port(), free_port());
    let config = serde_json::json!({ "pebble": {
        "listenAddress": format!("127.0.0.1:{directory_port}"),
        "managementListenAddress": format!("127.0.0.1:{management_port}"),
        "certificate": directory.certificate,
        "privateKey": directory.key,
        "httpPort": 1,
        "tlsPort": port,
        "profiles": { "default": { "description": "short", "validityPeriod": 7_776_000 } },
    } });
    let config = files.write("pebble.json", config.to_string());
    let _pebble = Running(
        Command::new(pebble)
            .arg("-config")
            .arg(config)
            .env("PEBBLE_VA_NOSLEEP", "1")
            .env("PEBBLE_AUTHZREUSE", "0")
            .stdout(std::fs::File::create(files.at("pebble.log")).unwrap())
            .spawn()
            .unwrap(),
    );
    let answers = async || tokio::net::TcpStream::connect(("127.0.0.1", directory_port)).await.is_ok();
    eventually(answers).await;

    let start = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ninefold"));
        command.env_clear().args(["serve", "--listen", &format!("[::]:{port}"), "--data"]).arg(files.at("data"));
        command.args(["--acme-domain", "localhost", "--acme-email", "a@example.com"]);
        command.args(["--acme-directory", &format!("https://127.0.0.1:{directory_port}/dir"), "--acme-directory-ca"]);
        let log = std::fs::OpenOptions::new().create(true).append(true).open(files.at("server.log")).unwrap();
        Running(command.arg(&directory.certificate).stdout(Stdio::null()).stderr(log).spawn().unwrap())
    };
    let issued = async || {
        let address = ([127, 0, 0, 1], port).into();
        let stream = Client::credulous().connect_as(address, ServerName::try_from("localhost").unwrap()).await.ok()?;
        Some(stream.get_ref().1.peer_certificates()?.to_vec())
    };
    let server = start();
    eventually(async || issued().await.is_some()).await;
    let first = issued().await.unwrap();
    assert_eq!(first.len(), 2, "it comes with its authority's");
    drop(server);

    // What was given is kept, privately.
    use std::os::unix::fs::PermissionsExt as _;
    let place = files.at(&format!("data/acme/127.0.0.1_{directory_port}_dir"));
    for (name, mode) in [("", 0o700), ("account.json", 0o600), ("certificate.pem", 0o600)] {
        assert_eq!(std::fs::metadata(place.join(name)).unwrap().permissions().mode() & 0o777, mode, "{name}");
    }
    let server = start();
    eventually(async || issued().await.is_some()).await;
    assert_eq!(issued().await.unwrap(), first);
    // And `health` can be told of it.
    let mut health = Command::new(env!("CARGO_BIN_EXE_ninefold"));
    health.env_clear().args(["health", "--listen", &format!("127.0.0.1:{port}"), "--tls-cert"]);
    health.arg(place.join("certificate.pem"));
    assert!(tokio::task::spawn_blocking(move || health.status().unwrap()).await.unwrap().success());
    drop(server);

    // One that is lost is ordered anew, by the same account.
    let account = std::fs::read(place.join("account.json")).unwrap();
    std::fs::remove_file(place.join("certificate.pem")).unwrap();
    let _server = start();
    eventually(async || issued().await.is_some_and(|second| second != first)).await;
    assert_eq!(std::fs::read(place.join("account.json")).unwrap(), account);
}
