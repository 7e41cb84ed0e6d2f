//! What the operator's commands share: reaching the store beside a running server, asking for a job, watching it.

use std::ffi::OsString;
use std::future::Future;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use serde::Serialize;

use super::data::{DataDirectory, DataError};
use crate::access::Secret;
use crate::access::names::NameError;
use crate::access::seal::SealError;
use crate::admin::view::Job;
use crate::chunks::ChunkConfig;
use crate::clock::Clock;
use crate::config::{Config, ConfigError, Settings};
use crate::instance::{Instance, InstanceConfig, OpenError};
use crate::maintenance::{MaintenanceConfig, OrderError, VolumeOpenError};
use crate::metadata::{self, JobRow, JobState, Metadata};
use crate::objects::PackConfig;
use crate::telemetry;
use crate::volumes::IoConfig;

/// How often a job that is waited for is looked at.
const LOOK: Duration = Duration::from_millis(300);
/// An instance that has not been heard of for so long does no jobs.
const SILENT: i64 = 30_000;

/// Where the store is: the same settings, from the same sources, as those of `serve`.
#[derive(Debug, clap::Args)]
pub(super) struct Reach {
    /// TOML file with the server's settings [environment: NINEFOLD_CONFIG]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The server's data directory [default: ./data]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// postgres://... or sqlite:PATH [default: sqlite, in the data directory]
    #[arg(long, value_name = "URL")]
    database_url: Option<Secret>,
    /// File that holds the database's URL
    #[arg(long, value_name = "FILE", conflicts_with = "database_url")]
    database_url_file: Option<PathBuf>,
    /// File that holds the master key [default: in the data directory]
    #[arg(long, value_name = "FILE")]
    master_key_file: Option<PathBuf>,
}

/// Where the store is, and how answers are wanted.
#[derive(Debug, clap::Args)]
pub(super) struct Common {
    /// As JSON
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) reach: Reach,
}

/// Why an operator's command did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum OperateError {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The log filter cannot be read.
    #[error("log: {0}")]
    Log(Box<dyn std::error::Error + Send + Sync>),
    /// There is no store here.
    #[error("there is no database at {}: is this the server's data directory?", .0.display())]
    NoStore(PathBuf),
    /// The data directory cannot be used.
    #[error(transparent)]
    Data(DataError),
    /// The database's answer.
    #[error(transparent)]
    Metadata(#[from] metadata::Error),
    /// A volume's directory could not be made.
    #[error(transparent)]
    Volume(#[from] VolumeOpenError),
    /// The store cannot be opened to do the job here.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// No server has made what commands need.
    #[error("no server was ever started on this database: start one first")]
    NeverStarted,
    /// Something cannot be called so.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Secrets can be neither sealed nor opened.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A file holds no policy.
    #[error("{} is no policy: {reason}", path.display())]
    Policy {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// An access key is root's.
    #[error("the access key {0} is root's, and cannot be another's")]
    RootKey(String),
    /// What was ordered cannot be done.
    #[error(transparent)]
    Order(#[from] OrderError),
    /// The command would lose something.
    #[error("volume {volume}: {reason}")]
    Refused {
        /// The volume's name.
        volume: String,
        /// Why not.
        reason: String,
    },
    /// The job ended, and not all of it was done.
    #[error("{job}: {message}")]
    Unfinished {
        /// Its name.
        job: String,
        /// What is left.
        message: String,
    },
    /// The system refused something.
    #[error("cannot {operation}: {source}")]
    System {
        /// What was tried.
        operation: &'static str,
        /// The system's error.
        source: io::Error,
    },
}

/// A store that a command works on.
pub(super) struct Operator {
    pub(super) config: Config,
    pub(super) metadata: Metadata,
    json: bool,
}

/// Reaches the store and runs a command on it.
pub(super) fn on_store<F, W>(common: Common, work: W) -> Result<(), OperateError>
where
    W: FnOnce(Operator) -> F,
    F: Future<Output = Result<(), OperateError>>,
{
    let Common { json, reach } = common;
    let Reach { config, data, database_url, database_url_file, master_key_file } = reach;
    let settings = Settings { data, database_url, database_url_file, master_key_file, ..Settings::default() };
    let environment = |name: &str| -> Option<OsString> { std::env::var_os(name) };
    let config = Config::load(config.as_deref(), &environment, settings)?;
    // What goes well is on the screen already.
    let filter = config.log.as_deref().unwrap_or("warn");
    telemetry::start(config.log_format, Some(filter)).map_err(OperateError::Log)?;
    if let Some(path) = sqlite_path(&config)
        && !path.exists()
    {
        return Err(OperateError::NoStore(path));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("ninefold")
        .build()
        .map_err(|source| OperateError::System { operation: "start threads", source })?;
    runtime.block_on(async {
        let metadata = Metadata::connect(&config.database()).await?;
        let closing = metadata.clone();
        let outcome = work(Operator { config, metadata, json }).await;
        closing.close().await;
        outcome
    })
}

fn sqlite_path(config: &Config) -> Option<PathBuf> {
    let path = config.database_url.expose().strip_prefix("sqlite:")?;
    Some(PathBuf::from(path.strip_prefix("//").unwrap_or(path)))
}

/// An instance of this command's own, for where no server does its jobs.
struct Worker {
    instance: Instance,
    _lock: Option<DataDirectory>,
}

impl Operator {
    /// Says something to people, or the same to programs. The lines are made only for those who read them.
    pub(super) fn tell(&self, shown: &impl Serialize, lines: impl FnOnce()) -> Result<(), OperateError> {
        if !self.json {
            lines();
            return Ok(());
        }
        let text = serde_json::to_string_pretty(shown)
            .map_err(|error| OperateError::System { operation: "write JSON", source: error.into() })?;
        say(format_args!("{text}"));
        Ok(())
    }

    /// The same of one line.
    pub(super) fn print(&self, line: std::fmt::Arguments<'_>, shown: &impl Serialize) -> Result<(), OperateError> {
        self.tell(shown, || say(line))
    }

    /// Says something by the way, to people alone: to programs the last thing that is done is told.
    pub(super) fn remark(&self, line: std::fmt::Arguments<'_>) {
        if !self.json {
            say(line);
        }
    }

    /// Waits for a job that was asked for, and says what came of it.
    pub(super) async fn watch(&self, job: &str) -> Result<(), OperateError> {
        let ended = self.done(job).await?;
        let shown = Job::from(&ended);
        self.print(format_args!("{}", summary(&shown)), &shown)?;
        succeeded(ended)
    }

    /// The same where something else is said in the end.
    pub(super) async fn watch_first(&self, job: &str) -> Result<(), OperateError> {
        let ended = self.done(job).await?;
        self.remark(format_args!("{}", summary(&Job::from(&ended))));
        succeeded(ended)
    }

    /// A job that was asked for, once it has ended, showing how far it is. Where no server runs, this process does it.
    async fn done(&self, job: &str) -> Result<JobRow, OperateError> {
        let bar = bar(job);
        let mut worker = None;
        let mut looks = 0u32;
        let row = loop {
            let row = self.metadata.job(job).await?;
            let Some(row) = row else {
                break Err(OperateError::Unfinished { job: job.to_owned(), message: "it was never asked for".into() });
            };
            show(&bar, &row);
            if !row.state.is_open() {
                break Ok(row);
            }
            if worker.is_none() && looks.is_multiple_of(10) {
                worker = self.worker().await?;
            }
            looks = looks.wrapping_add(1);
            tokio::time::sleep(LOOK).await;
        };
        bar.finish_and_clear();
        if let Some(worker) = worker {
            worker.instance.close().await;
        }
        row
    }

    /// Says that a job was asked for, and by whom it is done.
    pub(super) async fn announce(&self, job: &str) -> Result<(), OperateError> {
        let row = self.metadata.job(job).await?;
        let then = match self.served().await? {
            true => "`ninefold status` shows how far it is",
            false => "no server runs, it begins when one does",
        };
        self.print(format_args!("{job} was asked for; {then}"), &row.as_ref().map(Job::from))
    }

    async fn served(&self) -> Result<bool, OperateError> {
        if sqlite_path(&self.config).is_some() {
            return match DataDirectory::open(&self.config.data) {
                Ok(_) => Ok(false),
                Err(DataError::InUse(_)) => Ok(true),
                Err(error) => Err(OperateError::Data(error)),
            };
        }
        Ok(self.metadata.instances().await?.iter().any(|instance| instance.silent < SILENT))
    }

    /// An instance that does jobs, if nobody else is there to.
    async fn worker(&self) -> Result<Option<Worker>, OperateError> {
        let lock = if sqlite_path(&self.config).is_some() {
            match DataDirectory::open(&self.config.data) {
                Ok(lock) => Some(lock),
                Err(DataError::InUse(_)) => return Ok(None),
                Err(error) => return Err(OperateError::Data(error)),
            }
        } else if self.served().await? {
            return Ok(None);
        } else {
            None
        };
        let config = InstanceConfig {
            database: self.config.database(),
            volumes: Vec::new(),
            io: IoConfig::default(),
            chunks: ChunkConfig::default(),
            pack: PackConfig::default(),
            maintenance: MaintenanceConfig { interval: Duration::from_secs(1), ..self.config.maintenance.clone() },
            // With SQLite the lock says so.
            alone: lock.is_some(),
            clock: Clock::system(),
        };
        Ok(Some(Worker { instance: Instance::open_registered(config).await?, _lock: lock }))
    }
}

fn succeeded(row: JobRow) -> Result<(), OperateError> {
    match row.state {
        JobState::Done => Ok(()),
        _ => Err(OperateError::Unfinished { job: row.name, message: row.message }),
    }
}

fn bar(job: &str) -> ProgressBar {
    let bar = if io::stderr().is_terminal() { ProgressBar::new(0) } else { ProgressBar::hidden() };
    let style = ProgressStyle::with_template("{prefix} {wide_bar} {pos}/{len} {msg} {eta}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.set_prefix(job.to_owned());
    bar
}

fn show(bar: &ProgressBar, row: &JobRow) {
    bar.set_length(row.total.max(row.done));
    bar.set_position(row.done);
    let rate = row.rate().map_or(String::new(), |rate| format!("{}/s", HumanBytes(rate)));
    bar.set_message(if row.state == JobState::Waiting { "waiting".to_owned() } else { rate });
}

/// A job in a line.
pub(super) fn summary(job: &Job) -> String {
    let mut line = format!("{}: {}, {} of {}", job.name, job.state, job.done, job.total.max(job.done));
    if job.bytes > 0 {
        line += &format!(", {}", HumanBytes(job.bytes));
    }
    if let Some(rate) = job.bytes_per_second.filter(|&rate| rate > 0) {
        line += &format!(" at {}/s", HumanBytes(rate));
    }
    if let Some(left) = job.seconds_left {
        line += &format!(", {left} s left");
    }
    if job.found > 0 {
        line += &format!(", {} found", job.found);
    }
    if !job.message.is_empty() {
        line += &format!(" ({})", job.message);
    }
    line
}

/// A line on standard output, which may be closed: then there is nobody to tell.
pub(super) fn say(line: std::fmt::Arguments<'_>) {
    let _ = writeln!(io::stdout(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_and_time_left_are_those_since_it_began() {
        let mut row = JobRow {
            name: "scrub".into(),
            state: JobState::Running,
            requested: 0,
            started: Some(1000),
            updated: 5000,
            cursor: String::new(),
            done: 10,
            total: 40,
            bytes: 4 << 20,
            found: 2,
            message: String::new(),
        };
        assert_eq!((row.rate(), row.seconds_left()), (Some(1 << 20), Some(12)));
        assert_eq!(summary(&Job::from(&row)), "scrub: running, 10 of 40, 4.00 MiB at 1.00 MiB/s, 12 s left, 2 found");
        row.started = None;
        assert_eq!((row.rate(), row.seconds_left()), (None, None));
    }
}
