//! The `ninefold` command. `run` only reads the arguments; each sub-command has its own file.

mod check;
mod data;
mod health;
mod identities;
mod operate;
mod quota;
mod repair;
mod restore;
mod serve;
mod snapshot;
mod status;
mod volume;
mod welcome;

use std::io::Write as _;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub use check::CheckError;
pub use data::{DataDirectory, DataError};
pub use operate::OperateError;
pub use restore::RestoreCommandError;
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
    /// Check rows and shard files, beside a running server or without one: status 1 if anything is wrong, 2 if it cannot be told
    Check(Box<check::Arguments>),
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
    /// Make, show, change and remove accounts, which own buckets and objects
    Account(Box<identities::account::Arguments>),
    /// Make, show and remove users of an account, and their policies
    User(Box<identities::principal::UserArguments>),
    /// Make, show and remove groups of users, and their policies
    Group(Box<identities::principal::GroupArguments>),
    /// Make, show and remove roles, which users and others take for a while, and their policies
    Role(Box<identities::principal::RoleArguments>),
    /// Make, show, change and remove policies that can be attached to users, groups and roles
    Policy(Box<identities::policy::Arguments>),
    /// Make, show, switch and remove access keys; change the master key that their secrets are sealed under
    Key(Box<identities::key::Arguments>),
    /// Set, show and remove quotas, which limit what buckets and accounts may hold
    Quota(quota::Arguments),
    /// Write the metadata to the volumes now, too
    Snapshot(snapshot::Arguments),
    /// Bring a store back from its volumes when the database is gone
    Restore(Box<restore::Arguments>),
}

/// Runs the command line. A failure is one line on standard error and status 1; wrong usage is status 2.
pub fn run() -> ExitCode {
    let success = |()| ExitCode::SUCCESS;
    let failure = |error: &dyn std::fmt::Display, code| (error.to_string(), code);
    let done = match Arguments::parse().command {
        Command::Serve(arguments) => {
            serve::run(*arguments).map(success).map_err(|error| failure(&error, ExitCode::FAILURE))
        }
        Command::Check(arguments) => match check::run(*arguments) {
            Ok(true) => Ok(ExitCode::SUCCESS),
            Ok(false) => Ok(ExitCode::FAILURE),
            Err(error) => Err(failure(&error, ExitCode::from(2))),
        },
        Command::Health(arguments) => {
            health::run(&arguments).map(success).map_err(|error| failure(&error, ExitCode::FAILURE))
        }
        Command::Status(arguments) => {
            status::run(arguments).map(success).map_err(|error| failure(&error, ExitCode::FAILURE))
        }
        Command::Volume(arguments) => {
            volume::run(*arguments).map(success).map_err(|error| failure(&error, ExitCode::FAILURE))
        }
        Command::Heal(arguments) => {
            repair::heal(arguments).map(success).map_err(|error| failure(&error, ExitCode::FAILURE))
        }
        Command::Scrub(arguments) => {
            repair::scrub(arguments).map(success).map_err(|error| failure(&error, ExitCode::FAILURE))
        }
        Command::Account(arguments) => {
            identities::account::run(*arguments).map(success).map_err(|error| failure(&error, ExitCode::FAILURE))
        }
        Command::User(arguments) => {
            identities::principal::user(*arguments).map(success).map_err(|error| failure(&error, ExitCode::FAILURE))
        }
        Command::Group(arguments) => {
            identities::principal::group(*arguments).map(success).map_err(|error| failure(&error, ExitCode::FAILURE))
        }
        Command::Role(arguments) => {
            identities::principal::role(*arguments).map(success).map_err(|error| failure(&error, ExitCode::FAILURE))
        }
        Command::Policy(arguments) => {
            identities::policy::run(*arguments).map(success).map_err(|error| failure(&error, ExitCode::FAILURE))
        }
        Command::Key(arguments) => {
            identities::key::run(*arguments).map(success).map_err(|error| failure(&error, ExitCode::FAILURE))
        }
        Command::Quota(arguments) => {
            quota::run(arguments).map(success).map_err(|error| failure(&error, ExitCode::FAILURE))
        }
        Command::Snapshot(arguments) => {
            snapshot::run(arguments).map(success).map_err(|error| failure(&error, ExitCode::FAILURE))
        }
        Command::Restore(arguments) => {
            restore::run(*arguments).map(success).map_err(|error| failure(&error, ExitCode::FAILURE))
        }
    };
    match done {
        Ok(code) => code,
        Err((error, code)) => {
            // One line whatever the error holds; if standard error is gone there is nobody to tell.
            let line: Vec<&str> = error.lines().map(str::trim).collect();
            let _ = writeln!(std::io::stderr(), "ninefold: {}", line.join(" "));
            code
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::Arguments;

    #[test]
    fn every_command_can_be_read() {
        Arguments::command().debug_assert();
    }
}
