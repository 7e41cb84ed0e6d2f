//! The commands about who there is. They change rows, which running servers see within half a second.

pub(super) mod account;
pub(super) mod key;
pub(super) mod policy;
pub(super) mod principal;

use std::future::Future;
use std::io::{self, Read as _};
use std::path::Path;

use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::operate::{OperateError, Operator, Reach, on_store, say};
use crate::access::Secret;
use crate::access::policy::{Policy, PolicyKind, builtin};
use crate::clock::{Clock, Millis};
use crate::metadata::{AccountRow, Error, Identities, IdentityKind, Metadata, PolicyRow, PrincipalKind, PrincipalRow};
use crate::snapshots::SNAPSHOT;

/// Bytes of a policy's document at most.
const DOCUMENT_MAX: usize = 20_480;

#[derive(Debug, clap::Args)]
pub(super) struct Common {
    /// As JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    reach: Reach,
}

#[derive(Debug, clap::Args)]
struct WithinAccount {
    /// Name or id of the account [default: the deployment's own]
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
    #[command(flatten)]
    common: Common,
}

/// The store, and who there is in it.
pub(super) struct Desk {
    store: Operator,
    rows: Identities,
    pub(super) json: bool,
}

/// Runs a command on the identities.
pub(super) fn at_desk<F>(common: Common, work: impl FnOnce(Desk) -> F) -> Result<(), OperateError>
where
    F: Future<Output = Result<(), OperateError>>,
{
    let Common { json, reach } = common;
    on_store(reach, async move |store| {
        let rows = store.metadata.identities().await?;
        // The first start of a server makes the deployment's own.
        if rows.accounts.is_empty() {
            return Err(OperateError::NeverStarted);
        }
        work(Desk { store, rows, json }).await
    })
}

impl Desk {
    pub(super) fn metadata(&self) -> &Metadata {
        &self.store.metadata
    }

    /// An account by its name, id, canonical id or address; the deployment's own without.
    pub(super) fn account(&self, name: Option<&str>) -> Result<&AccountRow, OperateError> {
        let is = |row: &&AccountRow| match name {
            None => row.own,
            Some(name) => {
                row.name.eq_ignore_ascii_case(name)
                    || row.id == name
                    || row.canonical_id == name
                    || row.email.as_deref().is_some_and(|email| email.eq_ignore_ascii_case(name))
            }
        };
        self.rows.accounts.iter().find(is).ok_or_else(|| none(IdentityKind::Account, name.unwrap_or("root")))
    }

    /// A user, group or role by its name.
    fn principal(&self, account: &AccountRow, kind: PrincipalKind, name: &str) -> Result<&PrincipalRow, OperateError> {
        let is =
            |row: &&PrincipalRow| row.account == account.id && row.kind == kind && row.name.eq_ignore_ascii_case(name);
        self.rows.principals.iter().find(is).ok_or_else(|| none(IdentityKind::Principal(kind), name))
    }

    /// A policy by its name or Amazon Resource Name.
    fn policy(&self, account: &AccountRow, name: &str) -> Result<&PolicyRow, OperateError> {
        let is =
            |row: &&PolicyRow| row.account == account.id && (row.name.eq_ignore_ascii_case(name) || row.arn() == name);
        self.rows.policies.iter().find(is).ok_or_else(|| none(IdentityKind::Policy, name))
    }

    /// The same; a policy that every deployment has is made in the account when it is first wanted.
    async fn policy_or_builtin(&self, account: &AccountRow, name: &str) -> Result<PolicyRow, OperateError> {
        match (self.policy(account, name), builtin(name)) {
            (Ok(row), _) => Ok(row.clone()),
            (Err(error), None) => Err(error),
            (Err(_), Some((name, document))) => {
                let row = policy::row(account, name.to_owned(), "/".to_owned(), "built in".to_owned());
                self.metadata().create_policy(&row, document).await?;
                Ok(row)
            }
        }
    }

    /// The names of what is attached to somebody.
    fn attached(&self, principal: &str) -> Vec<&str> {
        let of = self.rows.attachments.iter().filter(|(who, _)| who == principal);
        of.filter_map(|(_, id)| self.rows.policies.iter().find(|row| row.id == *id)).map(|row| &*row.name).collect()
    }

    /// The name of a user, group or role, by its id.
    fn name_of(&self, principal: &str) -> Option<&str> {
        self.rows.principals.iter().find(|row| row.id == principal).map(|row| &*row.name)
    }

    /// Says what was done. What a command commits in SQLite is in no log of changes, so that a snapshot is asked for.
    pub(super) async fn done(&self, line: std::fmt::Arguments<'_>, json: Value) -> Result<(), OperateError> {
        // First of all: a secret is not shown again.
        self.print(line, json);
        if self.store.config.sqlite_path().is_some() && !self.store.config.maintenance.snapshots.interval.is_zero() {
            self.metadata().request_job(SNAPSHOT).await?;
        }
        Ok(())
    }

    pub(super) fn print(&self, line: std::fmt::Arguments<'_>, json: Value) {
        if self.json { say(format_args!("{json:#}")) } else { say(line) }
    }
}

fn none(kind: IdentityKind, name: &str) -> OperateError {
    Error::NoSuchIdentity { kind, name: name.to_owned() }.into()
}

fn now() -> Millis {
    Clock::system().now()
}

/// A moment, or how long from now it is.
fn until(text: &str) -> Result<Millis, String> {
    if let Ok(moment) = OffsetDateTime::parse(text, &Rfc3339) {
        return i64::try_from(moment.unix_timestamp_nanos() / 1_000_000).map_err(|error| error.to_string());
    }
    let span: crate::config::values::Span =
        text.parse().map_err(|_| "it is neither a time, as 2030-01-31T00:00:00Z, nor a span, as 30d".to_owned())?;
    Ok(now().saturating_add(i64::try_from(span.0.as_millis()).unwrap_or(i64::MAX)))
}

/// The text of a file, or of standard input if it is called `-`.
fn read(path: &Path) -> Result<String, OperateError> {
    let mut text = String::new();
    let read = if path == Path::new("-") {
        io::stdin().lock().read_to_string(&mut text).map(|_| ())
    } else {
        std::fs::read_to_string(path).map(|read| text = read)
    };
    read.map_err(|source| OperateError::File { path: path.to_owned(), source })?;
    Ok(text)
}

/// A secret in a file, without the line's end that editors put there.
fn read_secret(path: &Path) -> Result<Secret, OperateError> {
    Ok(Secret::new(read(path)?.trim_end_matches(['\r', '\n'])))
}

/// A policy in a file, which was found to be one.
fn read_policy(path: &Path) -> Result<String, OperateError> {
    let text = read(path)?;
    let refused = |reason: String| OperateError::Policy { path: path.to_owned(), reason };
    if text.len() > DOCUMENT_MAX {
        return Err(refused(format!("it is longer than {DOCUMENT_MAX} bytes")));
    }
    Policy::parse(&text, PolicyKind::Identity).map_err(|error| refused(error.to_string()))?;
    Ok(text)
}

/// A document as JSON, or as the text that it is.
fn document(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| text.into())
}
