//! `ninefold restore`: a store brought back from its volumes when the database is gone.

use std::ffi::OsString;
use std::io::{self, IsTerminal as _};
use std::path::PathBuf;

use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::data::{DataDirectory, DataError};
use super::operate::say;
use super::snapshot::moment;
use crate::config::volumes::VolumeEntry;
use crate::config::{Config, ConfigError, Settings};
use crate::metadata::{self, Metadata};
use crate::snapshots::{Found, Named, RestoreError, Restored, Source, restore};
use crate::telemetry;
use crate::volumes::IoConfig;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// TOML file with the server's settings [environment: NINEFOLD_CONFIG]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Restore this snapshot instead of the newest that can be read
    #[arg(long, value_name = "ID")]
    snapshot: Option<String>,
    /// List the snapshots that the volumes have, and restore nothing
    #[arg(long)]
    list: bool,
    /// Read everything and say what would be restored, without a database
    #[arg(long)]
    dry_run: bool,
    /// Say it in JSON
    #[arg(long)]
    json: bool,
    /// The deployment's volumes, any six of them or more, as with --volume
    #[arg(value_name = "VOLUME")]
    volumes: Vec<VolumeEntry>,
    #[command(flatten)]
    settings: Settings,
}

/// Why nothing was restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreCommandError {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The log filter cannot be read.
    #[error("log: {0}")]
    Log(Box<dyn std::error::Error + Send + Sync>),
    /// The data directory cannot be used.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The database's answer.
    #[error(transparent)]
    Metadata(#[from] metadata::Error),
    /// The volumes', or the snapshots'.
    #[error(transparent)]
    Restore(#[from] RestoreError),
    /// The system refused something.
    #[error("cannot {operation}: {source}")]
    System {
        /// What was tried.
        operation: &'static str,
        /// The system's error.
        source: io::Error,
    },
}

pub(super) fn run(arguments: Arguments) -> Result<(), RestoreCommandError> {
    let Arguments { config, snapshot, list, dry_run, json, volumes, mut settings } = arguments;
    settings.volume.extend(volumes);
    let environment = |name: &str| -> Option<OsString> { std::env::var_os(name) };
    let config = Config::load(config.as_deref(), &environment, settings)?;
    let filter = config.log.as_deref().unwrap_or("warn");
    telemetry::start(config.log_format, Some(filter)).map_err(RestoreCommandError::Log)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("ninefold")
        .build()
        .map_err(|source| RestoreCommandError::System { operation: "start threads", source })?;
    runtime.block_on(async {
        let source = Source::open(&config.volumes, &IoConfig::default()).await?;
        if list {
            tell_found(&source.snapshots().await, json);
            return Ok(());
        }
        if dry_run {
            let restored = with_bar(&source, None, snapshot.as_deref()).await?;
            tell(&restored, true, json);
            return Ok(());
        }
        // Held so that no server starts on it meanwhile.
        let _lock = match config.sqlite_path() {
            Some(_) => Some(DataDirectory::open(&config.data)?),
            None => None,
        };
        let metadata = Metadata::connect(&config.database()).await?;
        let outcome = with_bar(&source, Some(&metadata), snapshot.as_deref()).await;
        metadata.close().await;
        tell(&outcome?, false, json);
        Ok(())
    })
}

async fn with_bar(source: &Source, into: Option<&Metadata>, wanted: Option<&str>) -> Result<Restored, RestoreError> {
    let bar = if io::stderr().is_terminal() { ProgressBar::new(0) } else { ProgressBar::hidden() };
    let style = ProgressStyle::with_template("{prefix} {wide_bar} {pos}/{len} rows {eta}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.set_prefix("restore");
    let mut progress = |rows, of| {
        bar.set_length(of);
        bar.set_position(rows);
    };
    let outcome = restore(source, into, wanted, &mut progress).await;
    bar.finish_and_clear();
    outcome
}

fn tell_found(found: &Found, json: bool) {
    if json {
        let snapshots: Vec<Value> = found
            .snapshots
            .iter()
            .map(|files| {
                let manifest = &files.manifest;
                json!({
                    "id": manifest.snapshot, "began": manifest.began, "rows": manifest.rows,
                    "bytes": manifest.bytes, "volumes": files.on,
                })
            })
            .collect();
        say(format_args!("{:#}", json!({ "snapshots": snapshots, "damaged": found.damaged })));
        return;
    }
    for (at, files) in found.snapshots.iter().enumerate() {
        let manifest = &files.manifest;
        let (began, bytes) = (moment(manifest.began), HumanBytes(manifest.bytes));
        let whole = if at == 0 { "whole" } else { "may lack what was deleted since" };
        say(format_args!(
            "{}  {began}  {:>10} rows  {bytes:>10}  on {} volumes  {whole}",
            manifest.snapshot, manifest.rows, files.on
        ));
    }
    for damaged in &found.damaged {
        say(format_args!("cannot be read: {damaged}"));
    }
}

fn tell(restored: &Restored, dry: bool, json: bool) {
    let Restored { snapshot, replayed, gap, report } = restored;
    if json {
        let value = json!({
            "restored": !dry, "snapshot": snapshot.snapshot, "began": snapshot.began, "rows": snapshot.rows,
            "replayed": replayed, "gap": gap, "report": report,
        });
        say(format_args!("{value:#}"));
        return;
    }
    let did = if dry { "can be restored" } else { "restored" };
    let began = moment(snapshot.began);
    say(format_args!("{did}: snapshot {}, begun {began}, {} rows", snapshot.snapshot, snapshot.rows));
    if *replayed > 0 {
        say(format_args!("and {replayed} transactions after it, from the log"));
    }
    if *gap {
        say(format_args!("the log goes on after a gap, which was not crossed"));
    }
    for skipped in &report.skipped {
        say(format_args!("passed over: {skipped}"));
    }
    if report.missing_shards > 0 {
        say(format_args!("{} shards are missing and wait for healing", report.missing_shards));
    }
    tell_names(
        "on the volumes, and not in what was restored (written after the snapshot, or never acknowledged)",
        &report.newer,
    );
    tell_names("restored, and too little is left to read", &report.lost);
    for chunk in &report.unnamed {
        say(format_args!("chunk {chunk} is in no row and cannot be named"));
    }
    if report.other_snapshots > 0 {
        say(format_args!("{} chunks are of other snapshots", report.other_snapshots));
    }
    let unknown = report.newer.len() + report.unnamed.len();
    if unknown == 0 && report.lost.is_empty() {
        say(format_args!("nothing on the volumes is newer, and nothing is lost"));
    } else if unknown > 0 {
        say(format_args!("files that no row names stay where they are until a scrub moves them to quarantine"));
    }
}

fn tell_names(what: &str, names: &[Named]) {
    if names.is_empty() {
        return;
    }
    say(format_args!("{}: {what}:", names.len()));
    for named in names {
        let Named { bucket, key, part, bytes, modified, .. } = named;
        let part = if *part > 0 { format!(", part {part}") } else { String::new() };
        let bytes = bytes.map_or(String::new(), |bytes| format!(", {bytes} bytes"));
        let modified = modified.map_or(String::new(), |at| format!(", written {}", moment(at)));
        let readable = if named.readable { "" } else { ", not readable" };
        say(format_args!("  {bucket}/{key}{part}{bytes}{modified}{readable}"));
    }
}
