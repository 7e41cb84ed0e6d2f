//! The `ninefold` command as a process of its own.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use http::Method;
use ninefold::cli::DataDirectory;

use crate::recording::Server;
use crate::signing::{Call, Signer};

fn ninefold(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ninefold"));
    command.env_clear().args(arguments).stdin(Stdio::null());
    command
}

fn serve(data: &Path) -> Command {
    ninefold(&["serve", "--data", data.to_str().unwrap(), "--listen", "127.0.0.1:0"])
}

/// Its one line on standard error, after the log.
fn refused(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("ninefold: ")).collect();
    assert_eq!(lines.len(), 1, "{text}");
    lines[0].to_owned()
}

#[test]
fn it_says_its_version_and_its_usage() {
    let version = ninefold(&["--version"]).output().unwrap();
    assert_eq!(String::from_utf8(version.stdout).unwrap(), format!("ninefold {}\n", env!("CARGO_PKG_VERSION")));
    let wrong = ninefold(&["serve", "--no-such-flag"]).output().unwrap();
    assert_eq!(wrong.status.code(), Some(2));
}

#[test]
fn a_data_directory_has_one_server() {
    let data = tempfile::tempdir().unwrap();
    let _first = DataDirectory::open(data.path()).unwrap();
    let line = refused(&serve(data.path()).output().unwrap());
    assert!(line.contains("in use by another server") && line.contains(data.path().to_str().unwrap()), "{line}");
}

#[test]
fn bad_settings_are_one_clear_line() {
    let data = tempfile::tempdir().unwrap();
    let start = || serve(data.path());
    let known = start().env("MINIO_ROOT_USER", "minioadmin").env("MINIO_ROOT_PASSWORD", "minioadmin").output();
    assert!(refused(&known.unwrap()).contains("well-known"));
    let half = start().env("NINEFOLD_ROOT_USER", "somebody").output();
    assert!(refused(&half.unwrap()).contains("root password"));
    let few = start().arg(data.path().join("disk{1...5}")).output();
    assert!(refused(&few.unwrap()).contains("5 volumes are too few"));
    let file = data.path().join("ninefold.toml");
    std::fs::write(&file, "colour = 1").unwrap();
    let unknown = start().arg("--config").arg(&file).output();
    assert!(refused(&unknown.unwrap()).contains("colour"));
    let unknown = start().env("NINEFOLD_CONFIG", &file).output();
    assert!(refused(&unknown.unwrap()).contains("colour"));
    let log = start().args(["--log", "no=such=thing"]).output();
    assert!(refused(&log.unwrap()).contains("log"));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let listen = ninefold(&["serve", "--data", data.path().to_str().unwrap(), "--listen", &address]).output();
    assert!(refused(&listen.unwrap()).contains(&address));
}

#[tokio::test]
async fn health_is_asked_over_http() {
    let server = Server::start().await;
    let address = server.address.to_string();
    let ask = async |arguments: &'static [&'static str]| {
        let mut command = ninefold(&["health", "--listen", &address]);
        command.args(arguments);
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
    };
    assert!(ask(&[]).await.status.success());
    assert!(ask(&["--ready"]).await.status.success());
    server.vitals.volumes.store(5, std::sync::atomic::Ordering::SeqCst);
    assert!(ask(&[]).await.status.success());
    assert!(refused(&ask(&["--ready"]).await).contains("503"));
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    assert!(refused(&ninefold(&["health", "--listen", &nobody]).output().unwrap()).contains(&nobody));
}

/// A server process and what it printed until it was ready; killed when dropped.
struct Running {
    child: Child,
    printed: String,
}

impl Running {
    fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut printed = String::new();
        while !printed.contains("s3 cp ") {
            if out.read_line(&mut printed).unwrap() == 0 {
                let mut error = String::new();
                child.stderr.take().unwrap().read_to_string(&mut error).unwrap();
                panic!("it ended: {printed}{error}");
            }
        }
        Self { child, printed }
    }

    fn setting(&self, name: &str) -> String {
        let line = self.printed.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_once(" = ").unwrap().1.to_owned()
    }

    /// Sends SIGTERM; answers the exit status and the log.
    fn stop(mut self) -> (Option<i32>, String) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let mut log = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        (self.child.wait().unwrap().code(), log)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn it_starts_serves_stops_and_starts_again() {
    let data = tempfile::tempdir().unwrap();
    let running = Running::start(serve(data.path()).args(["--bucket", "first"]));
    let secret = running.setting("aws_secret_access_key");
    let endpoint = running.setting("endpoint_url");
    let signer = Signer {
        access_key: running.setting("aws_access_key_id"),
        secret: secret.clone(),
        region: "us-east-1".into(),
        service: "s3".into(),
        time: std::time::SystemTime::now(),
    };
    let host = endpoint.strip_prefix("http://").unwrap();
    let request = signer.header(Call::new(Method::HEAD, "/first").header("host", host), None);
    let stream = tokio::net::TcpStream::connect(host).await.unwrap();
    let io = hyper_util::rt::TokioIo::new(stream);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
    let connection = tokio::spawn(connection);
    let answer = sender.send_request(request).await.unwrap();
    assert!(answer.headers().contains_key("x-amz-request-id"));
    assert_eq!(answer.status(), 200);
    drop(sender);
    connection.await.unwrap().unwrap();
    let (status, log) = running.stop();
    assert_eq!(status, Some(0), "{log}");
    assert!(log.contains("\"stopped\"") && !log.contains(&secret), "{log}");

    let again = Running::start(&mut serve(data.path()));
    assert_eq!(again.setting("aws_access_key_id"), signer.access_key);
    assert!(!again.printed.contains(&secret), "{}", again.printed);
    assert_eq!(again.stop().0, Some(0));
}
