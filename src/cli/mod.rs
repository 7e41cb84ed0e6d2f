//! The `ninefold` command. `run` only reads the arguments; each sub-command has its own file.

mod data;
mod health;
mod operate;
mod repair;
mod serve;
mod status;
mod volume;
mod welcome;

use std::io::Write as _;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub use data::{DataDirectory, DataError};
pub use operate::OperateError;
pub use serve::StartError;

/// An S3-compatible object store: metadata in SQL, bytes erasure-coded over nine volumes.
#[derive(Debug, Parser)]
#[command(name = "ninefold", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve S3
    Serve(Box<serve::Arguments>),
    /// Ask a running server how it is; fails unless all is well
    Health(health::Arguments),
    /// Show instances, volumes, chunks, jobs, and what waits for healing
    Status(status::Arguments),
    /// List, add, drain, remove and replace volumes
    Volume(Box<volume::Arguments>),
    /// Heal what waits for healing, now
    Heal(repair::Arguments),
    /// Read and verify every shard
    Scrub(repair::Arguments),
}

/// Runs the command line. A failure is one line on standard error and status 1; wrong usage is status 2.
pub fn run() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Serve(arguments) => serve::run(*arguments).map_err(|error| error.to_string()),
        Command::Health(arguments) => health::run(&arguments).map_err(|error| error.to_string()),
        Command::Status(arguments) => status::run(arguments).map_err(|error| error.to_string()),
        Command::Volume(arguments) => volume::run(*arguments).map_err(|error| error.to_string()),
        Command::Heal(arguments) => repair::heal(arguments).map_err(|error| error.to_string()),
        Command::Scrub(arguments) => repair::scrub(arguments).map_err(|error| error.to_string()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // One line whatever the error holds; if standard error is gone there is nobody to tell.
            let line: Vec<&str> = error.lines().map(str::trim).collect();
            let _ = writeln!(std::io::stderr(), "ninefold: {}", line.join(" "));
            ExitCode::FAILURE
        }
    }
}
