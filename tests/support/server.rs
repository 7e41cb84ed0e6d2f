//! The real program as a child process, for tests that need its sockets, its signals or its death.

#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

const STARTS_WITHIN: Duration = Duration::from_secs(120);
const ENDS_WITHIN: Duration = Duration::from_secs(60);

/// A server on a directory of its own. It can be stopped, killed and started again on the same data and port.
/// Dropped, it is killed and its directory removed.
pub struct Server {
    home: TempDir,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    address: Option<SocketAddr>,
    child: Option<Child>,
}

impl Server {
    /// The root user.
    pub const ACCESS_KEY: &str = "integration-tests";
    /// Its secret.
    pub const SECRET_KEY: &str = "integration-tests-secret-0123456789";

    /// A server that has not been started, with arguments beside those that say where it listens.
    pub fn new(arguments: &[&str]) -> Self {
        Self {
            home: tempfile::Builder::new().prefix("ninefold-server-").tempdir().unwrap(),
            arguments: arguments.iter().map(ToString::to_string).collect(),
            environment: vec![
                ("NINEFOLD_ROOT_USER".into(), Self::ACCESS_KEY.into()),
                ("NINEFOLD_ROOT_PASSWORD".into(), Self::SECRET_KEY.into()),
            ],
            address: None,
            child: None,
        }
    }

    /// Sets a variable of its environment.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Sets a variable of its environment from its next start on, or takes it out again.
    pub fn set_env(&mut self, name: &str, value: Option<&str>) {
        self.environment.retain(|(known, _)| known != name);
        self.environment.extend(value.map(|value| (name.into(), value.into())));
    }

    /// Another command of the program, with the environment and in the directory of the server.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ninefold"));
        for (name, _) in std::env::vars_os() {
            // Nothing of the machine's own settings.
            if name.to_str().is_some_and(|name| name.starts_with("NINEFOLD_") || name.starts_with("MINIO_")) {
                command.env_remove(name);
            }
        }
        command
            .args(arguments)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(self.home.path())
            .stdin(Stdio::null());
        command
    }

    /// Starts the program without waiting for anything.
    pub fn spawn(&mut self) {
        assert!(self.child.is_none(), "it runs already");
        let log = File::create(self.log()).unwrap();
        let listen = self.address.map_or_else(|| "127.0.0.1:0".into(), |address| address.to_string());
        let child = self
            .command(&["serve", "--listen", &listen])
            .args(&self.arguments)
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
    }

    /// Starts the program and returns once it is ready.
    pub fn start(&mut self) {
        if let Some(status) = self.start_or_die() {
            panic!("the server ended at start with {status}:\n{}", self.output());
        }
    }

    /// Starts the program and returns once it is ready, or has ended: then with what.
    pub fn start_or_die(&mut self) -> Option<ExitStatus> {
        self.spawn();
        let deadline = Instant::now() + STARTS_WITHIN;
        loop {
            if let Some(status) = self.ended() {
                return Some(status);
            }
            self.address = self.address.or_else(|| printed_address(&self.output()));
            if self.health("ready") == Some(200) {
                return None;
            }
            assert!(Instant::now() < deadline, "the server is not ready:\n{}", self.output());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// How the program ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        let status = self.child.as_mut()?.try_wait().unwrap();
        if status.is_some() {
            self.child = None;
        }
        status
    }

    /// Asks the program to end with `signal` and waits for its end.
    pub fn end(&mut self, signal: Signal) -> ExitStatus {
        self.signal(signal);
        self.wait()
    }

    /// Sends the program a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(self.child.as_ref().expect("it runs")), signal).unwrap();
    }

    /// Whether it was sent a SIGSTOP and has obeyed.
    pub fn is_stopped(&self) -> bool {
        is_stopped(self.child.as_ref().expect("it runs"))
    }

    /// Waits for the program's end.
    pub fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + ENDS_WITHIN;
        loop {
            if let Some(status) = self.child.as_mut().expect("it runs").try_wait().unwrap() {
                self.child = None;
                return status;
            }
            assert!(Instant::now() < deadline, "the server does not end:\n{}", self.output());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends the program without its knowing, as a crash does.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Processor time that it has used, by `/proc`, in hundredths of a second.
    pub fn processor_time(&self) -> u64 {
        let pid = self.child.as_ref().expect("it runs").id();
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    }

    /// Where it listens.
    ///
    /// # Panics
    /// If it was never ready.
    pub fn address(&self) -> SocketAddr {
        self.address.expect("it was started")
    }

    /// Says where it is to listen.
    pub fn set_address(&mut self, address: SocketAddr) {
        self.address = Some(address);
    }

    /// The directory that it was started in: its data are in `data`.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// What it has printed since its last start.
    pub fn output(&self) -> String {
        fs::read(self.log()).map_or_else(|_| String::new(), |output| String::from_utf8_lossy(&output).into_owned())
    }

    /// The status of `/health/<which>`; `None` if nobody answers.
    pub fn health(&self, which: &str) -> Option<u16> {
        let mut stream = TcpStream::connect(self.address?).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(30))).ok()?;
        let request = format!("GET /health/{which} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        answer.split(' ').nth(1)?.parse().ok()
    }

    fn log(&self) -> PathBuf {
        self.home.path().join("log")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Whether a process was sent a SIGSTOP and has obeyed.
pub fn is_stopped(child: &Child) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
    stat.rsplit(") ").next().unwrap().starts_with('T')
}

/// The first address of 127.0.0.1 with a port in a text.
fn printed_address(output: &str) -> Option<SocketAddr> {
    output.split("127.0.0.1:").skip(1).find_map(|rest| {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let port: u16 = rest[..digits].parse().ok().filter(|&port| port != 0)?;
        Some(SocketAddr::from(([127, 0, 0, 1], port)))
    })
}
