//! `ninefold check`: whether everything is as it should be, said on standard output and by the exit status.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;

use crate::config::volumes::VolumeEntry;
use crate::config::{Config, ConfigError, Settings};
use crate::instance::{self, OpenError};
use crate::maintenance::{self, CheckOptions, Summary};
use crate::metadata::{self, Discrepancy};
use crate::volumes::IoConfig;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// TOML file with the settings of the server [environment: NINEFOLD_CONFIG]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Read and verify every block, too
    #[arg(long)]
    deep: bool,
    /// Say it in JSON, one object a line, the summary last
    #[arg(long)]
    json: bool,
    /// Volumes, as with --volume
    #[arg(value_name = "VOLUME")]
    volumes: Vec<VolumeEntry>,
    #[command(flatten)]
    settings: Settings,
}

/// Why nothing can be said.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// There is no database where it should be.
    #[error("there is no database at {}", .0.display())]
    NoDatabase(PathBuf),
    /// The store cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The database's answer.
    #[error(transparent)]
    Metadata(#[from] metadata::Error),
    /// The system refused.
    #[error("cannot {operation}: {source}")]
    System {
        /// What was tried.
        operation: &'static str,
        /// The system's error.
        source: io::Error,
    },
}

/// Checks; answers whether all is well.
pub(super) fn run(arguments: Arguments) -> Result<bool, CheckError> {
    let mut settings = arguments.settings;
    settings.volume.extend(arguments.volumes);
    let environment = |name: &str| -> Option<OsString> { std::env::var_os(name) };
    let config = Config::load(arguments.config.as_deref(), &environment, settings)?;
    // To check is not to make.
    if let Some(path) = config.sqlite_path()
        && !path.exists()
    {
        return Err(CheckError::NoDatabase(path.to_owned()));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|source| CheckError::System { operation: "start threads", source })?;
    let options = CheckOptions { deep: arguments.deep, ..CheckOptions::default() };
    runtime.block_on(check(&config, &options, arguments.json))
}

async fn check(config: &Config, options: &CheckOptions, json: bool) -> Result<bool, CheckError> {
    let (metadata, volumes) = instance::look(&config.database(), &IoConfig::default()).await?;
    let mut said = Ok(());
    let mut report = |found: Discrepancy| {
        let line = if json { to_json(&found) } else { human(&found) };
        if said.is_ok() {
            said = say(&line);
        }
    };
    let checked = maintenance::check(&metadata, &volumes, options, &mut report).await;
    metadata.close().await;
    let summary = checked?;
    said.and_then(|()| say(&if json { to_json(&summary) } else { sum_up(&summary, options.deep) }))
        .map_err(|source| CheckError::System { operation: "write the report", source })?;
    Ok(summary.discrepancies == 0)
}

fn say(line: &str) -> io::Result<()> {
    let mut out = io::stdout();
    writeln!(out, "{line}").and_then(|()| out.flush())
}

fn to_json(what: &impl serde::Serialize) -> String {
    serde_json::to_string(what).unwrap_or_else(|error| format!("{{\"error\":\"{error}\"}}"))
}

fn human(found: &Discrepancy) -> String {
    if found.detail.is_empty() {
        format!("{}: {}", found.what, found.subject)
    } else {
        format!("{}: {} ({})", found.what, found.subject, found.detail)
    }
}

fn sum_up(summary: &Summary, deep: bool) -> String {
    let Summary { data, chunks, files, verified, unhealed, dead, pending, under_way, cut, discrepancies } = summary;
    let verified = if deep { format!(", {verified} bytes verified") } else { String::new() };
    let verdict = match discrepancies {
        0 => "All is well".to_owned(),
        1 => "1 discrepancy".to_owned(),
        n => format!("{n} discrepancies"),
    };
    format!(
        "{chunks} chunks, {files} shard files, {data} rows of data{verified}; {unhealed} shards wait for healing; files that go by \
         themselves: {dead} of dead chunks, {pending} to be removed, {cut} of writes that were cut, {under_way} of writes under \
         way. {verdict}"
    )
}
