//! A throw-away PostgreSQL for tests: one cluster for each test process, a database in it for each test.
//!
//! A shell outside the process's group runs the server and reads commands from a pipe that the test process holds.
//! However the process ends, the pipe ends with it; the shell then stops the server and removes its directory.
//!
//! `NINEFOLD_TEST_POSTGRES_URL` (of a role that may create databases) is used instead if it is set.

#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use sqlx::{ConnectOptions, Connection, Executor};

const OVERRIDE: &str = "NINEFOLD_TEST_POSTGRES_URL";
const STARTS_WITHIN: Duration = Duration::from_secs(120);

/// A database of a test's own, empty.
pub struct Database {
    /// Where it is.
    pub url: String,
    /// If it is in a server that outlives the tests: where to drop it, and its name.
    drop_at: Option<(String, String)>,
}

impl Database {
    /// A new one, in the server that the tests of this process share.
    pub async fn new() -> Self {
        match std::env::var(OVERRIDE) {
            Ok(admin) => {
                let name = create_database(&admin).await;
                Self { url: with_database(&admin, &name), drop_at: Some((admin, name)) }
            }
            Err(_) => {
                static SHARED: OnceLock<Cluster> = OnceLock::new();
                // Starting takes seconds, and other tests wait for it.
                let cluster = tokio::task::spawn_blocking(|| SHARED.get_or_init(|| Cluster::start(&[]))).await.unwrap();
                Self { url: cluster.create_database().await, drop_at: None }
            }
        }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let Some((admin, name)) = self.drop_at.take() else { return };
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let mut connection = connect(&admin).await;
                connection.execute(format!("DROP DATABASE {name} WITH (FORCE)").as_str()).await.unwrap();
            });
        })
        .join();
        if dropped.is_err() && !std::thread::panicking() {
            panic!("a test database could not be dropped");
        }
    }
}

async fn connect(url: &str) -> sqlx::PgConnection {
    let options: sqlx::postgres::PgConnectOptions = url.parse().unwrap();
    options.disable_statement_logging().connect().await.expect("a connection to the test PostgreSQL")
}

async fn create_database(admin: &str) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let salt: u32 = u32::from_be_bytes(ninefold::clock::random_bytes());
    let name = format!("ninefold_test_{}_{number}_{salt:08x}", std::process::id());
    let mut connection = connect(admin).await;
    connection.execute(format!("CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'").as_str()).await.unwrap();
    connection.close().await.unwrap();
    name
}

/// A URL with another database's name.
fn with_database(url: &str, name: &str) -> String {
    let (url, query) = url.split_once('?').map_or((url, None), |(url, query)| (url, Some(query)));
    let scheme = url.find("://").map_or(0, |at| at + 3);
    let end = url[scheme..].find('/').map_or(url.len(), |at| scheme + at);
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    format!("{}/{name}{query}", &url[..end])
}

/// A PostgreSQL server that can be stopped and started again. Dropped, it is gone.
pub struct Cluster {
    port: u16,
    directory: PathBuf,
    shell: Mutex<Shell>,
}

struct Shell {
    child: Child,
    /// Taken to end it.
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

/// `$1` directory, `$2` port, the rest the command that starts the server.
const SCRIPT: &str = r#"
directory=$1 port=$2
shift 2
pid=
start() {
    "$@" -D "$directory/data" -p "$port" -h 127.0.0.1 </dev/null >>"$directory/log" 2>&1 &
    pid=$!
}
stop() {
    [ -n "$pid" ] || return 0
    # Before its file is there the server cannot be told to stop, and after its end it need not be.
    while kill -0 "$pid" 2>/dev/null; do
        server=$(head -n 1 "$directory/data/postmaster.pid" 2>/dev/null)
        [ -n "$server" ] && kill "-$1" "$server" 2>/dev/null && break
        sleep 0.1
    done
    wait "$pid"
    pid=
}
while read -r word; do
    case $word in
        start) start "$@" ;;
        stop) stop INT ;;
        crash) stop QUIT ;;
    esac
    echo "$word"
done
stop QUIT
rm -rf "$directory"
"#;

impl Cluster {
    /// Starts a server of its own, with more settings (`name=value`).
    pub fn start(settings: &[&str]) -> Self {
        let Some(programs) = programs() else {
            panic!(
                "the tests need PostgreSQL's initdb and postgres, which are neither on PATH nor in \
                 /usr/lib/postgresql; install them with\n    apt-get install postgresql\nor name a server with {OVERRIDE}"
            );
        };
        let user = unprivileged();
        let directory = tempfile::Builder::new().prefix("ninefold-postgres-").tempdir_in(home()).unwrap().keep();
        if let Some((uid, gid, _)) = user {
            std::os::unix::fs::chown(&directory, Some(uid), Some(gid)).unwrap();
        }
        let mut initdb = as_user(user, &programs.join("initdb"));
        initdb.extend(
            ["--no-sync", "--username=ninefold", "--auth=trust", "--encoding=UTF8", "--locale=C", "-D"]
                .map(OsString::from),
        );
        initdb.push(directory.join("data").into());
        let output = command(&initdb).current_dir(&directory).output().unwrap();
        if !output.status.success() {
            std::fs::remove_dir_all(&directory).unwrap();
            panic!(
                "initdb failed: {}{}",
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            );
        }
        let mut server = as_user(user, &programs.join("postgres"));
        let fixed = ["unix_socket_directories=", "shared_buffers=16MB", "max_connections=300", "max_wal_size=128MB"];
        for setting in fixed.iter().chain(settings) {
            server.extend(["-c".into(), setting.into()]);
        }
        for _ in 0..5 {
            let cluster = Self::launch(directory.clone(), &server);
            if cluster.begin() {
                return cluster;
            }
            // The port was taken before the server had it; the directory must outlive this attempt.
            cluster.abandon();
        }
        panic!("no port for PostgreSQL");
    }

    fn launch(directory: PathBuf, server: &[OsString]) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut child = Command::new("/bin/sh")
            .arg("-c")
            .arg(SCRIPT)
            .arg("sh")
            .arg(&directory)
            .arg(port.to_string())
            .args(server)
            .current_dir(&directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // A Ctrl-C is for the tests, and ends this through them.
            .process_group(0)
            .spawn()
            .unwrap();
        let commands = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().unwrap());
        Self { port, directory, shell: Mutex::new(Shell { child, commands, answers }) }
    }

    fn say(&self, word: &str) {
        let mut shell = self.shell.lock().unwrap();
        writeln!(shell.commands.as_mut().unwrap(), "{word}").unwrap();
        let mut answer = String::new();
        shell.answers.read_line(&mut answer).unwrap();
        assert_eq!(answer.trim(), word);
    }

    /// Starts the server; false if its port is somebody else's.
    fn begin(&self) -> bool {
        let log = self.directory.join("log");
        let before = std::fs::read_to_string(&log).map_or(0, |log| log.len());
        self.say("start");
        let deadline = Instant::now() + STARTS_WITHIN;
        loop {
            let log = std::fs::read_to_string(&log).unwrap_or_default();
            let log = log.get(before..).unwrap_or_default();
            if log.contains("ready to accept connections") {
                return true;
            }
            if log.contains("could not bind") {
                return false;
            }
            assert!(Instant::now() < deadline, "PostgreSQL did not start: {log}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends the shell without what it does at its end.
    fn abandon(self) {
        let mut shell = self.shell.lock().unwrap();
        shell.child.kill().unwrap();
        shell.child.wait().unwrap();
        shell.commands = None;
    }

    /// Stops the server, as an operator would: open connections are ended.
    pub fn stop(&self) {
        self.say("stop");
    }

    /// Ends the server as a crash does: nothing is finished, and it recovers when it starts.
    pub fn crash(&self) {
        self.say("crash");
    }

    /// Starts the server again, on the same port.
    pub fn start_again(&self) {
        assert!(self.begin(), "the port of the test PostgreSQL was taken while it was stopped");
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Makes an empty database; answers its URL.
    pub async fn create_database(&self) -> String {
        let admin = format!("postgres://ninefold@127.0.0.1:{}/postgres", self.port);
        let name = create_database(&admin).await;
        with_database(&admin, &name)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let shell = self.shell.get_mut().unwrap();
        if shell.commands.take().is_some() {
            let _ = shell.child.wait();
        }
    }
}

/// Where databases' files go: into memory if there is plenty, for there syncing costs nothing.
pub fn home() -> PathBuf {
    let memory = Path::new("/dev/shm");
    match rustix::fs::statvfs(memory) {
        Ok(space) if space.f_bavail * space.f_frsize > 4 << 30 => memory.to_owned(),
        _ => std::env::temp_dir(),
    }
}

/// The directory of PostgreSQL's programs, of the newest version if there are several.
fn programs() -> Option<PathBuf> {
    let has_both = |directory: &Path| directory.join("initdb").is_file() && directory.join("postgres").is_file();
    let path = std::env::var_os("PATH").unwrap_or_default();
    if let Some(found) = std::env::split_paths(&path).find(|directory| has_both(directory)) {
        return Some(found);
    }
    let mut versions: Vec<(u32, PathBuf)> = std::fs::read_dir("/usr/lib/postgresql")
        .ok()?
        .filter_map(|entry| {
            let entry = entry.ok()?;
            Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin")))
        })
        .filter(|(_, directory)| has_both(directory))
        .collect();
    versions.sort();
    versions.pop().map(|(_, directory)| directory)
}

/// Whom to run PostgreSQL as, for it refuses root: user, group, name. `None` if we are not root.
fn unprivileged() -> Option<(u32, u32, &'static str)> {
    let number = |args: &[&str]| {
        let output = Command::new("id").args(args).stderr(Stdio::null()).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().parse::<u32>().ok()
    };
    if number(&["-u"]) != Some(0) {
        return None;
    }
    let found = ["postgres", "nobody"]
        .into_iter()
        .find_map(|name| Some((number(&["-u", name])?, number(&["-g", name])?, name)));
    Some(found.expect("we are root, and there is neither a user postgres nor a user nobody to run PostgreSQL as"))
}

fn as_user(user: Option<(u32, u32, &'static str)>, program: &Path) -> Vec<OsString> {
    let mut words: Vec<OsString> = Vec::new();
    if let Some((uid, gid, _)) = user {
        words.push("setpriv".into());
        words.extend([format!("--reuid={uid}"), format!("--regid={gid}")].map(OsString::from));
        words.extend(["--clear-groups", "--"].map(OsString::from));
    }
    words.push(program.into());
    words
}

fn command(words: &[OsString]) -> Command {
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).stdin(Stdio::null());
    command
}
