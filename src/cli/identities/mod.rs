//! The commands about who there is. They change rows, which running servers see within half a second.

pub(super) mod account;
pub(super) mod key;
pub(super) mod policy;
pub(super) mod principal;

use std::future::Future;
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::operate::{Common, OperateError, Operator, on_store};
use crate::access::Secret;
use crate::access::policy::{Policy, PolicyKind};
use crate::admin::Register;
use crate::clock::{Clock, Millis};
use crate::metadata::{AccountRow, Error, Identities, IdentityKind, Metadata, PolicyRow, PrincipalKind, PrincipalRow};
use crate::snapshots::SNAPSHOT;

/// Bytes of a policy's document at most.
const DOCUMENT_MAX: usize = 20_480;

#[derive(Debug, clap::Args)]
struct WithinAccount {
    /// Name or id of the account [default: the deployment's own]
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
    #[command(flatten)]
    common: Common,
}

/// The store, and who there is in it.
struct Desk {
    store: Operator,
    rows: Arc<Identities>,
}

/// Runs a command on the identities.
fn at_desk<F>(common: Common, work: impl FnOnce(Desk) -> F) -> Result<(), OperateError>
where
    F: Future<Output = Result<(), OperateError>>,
{
    on_store(common, async move |store| {
        let rows = Arc::new(store.metadata.identities().await?);
        // The first start of a server makes the deployment's own.
        if rows.accounts.is_empty() {
            return Err(OperateError::NeverStarted);
        }
        work(Desk { store, rows }).await
    })
}

impl Desk {
    fn metadata(&self) -> &Metadata {
        &self.store.metadata
    }

    /// An account by its name, id, canonical id or address; the deployment's own without.
    fn account(&self, name: Option<&str>) -> Result<&AccountRow, OperateError> {
        self.rows.account(name).ok_or_else(|| none(IdentityKind::Account, name.unwrap_or("root")))
    }

    /// Who there is in an account.
    fn register(&self, account: Option<&str>) -> Result<Register, OperateError> {
        Ok(Register::new(Arc::clone(&self.rows), &self.account(account)?.id))
    }

    /// Says what was done. What a command commits in SQLite is in no log of changes, so that a snapshot is asked for.
    async fn done(&self, line: std::fmt::Arguments<'_>, shown: &impl Serialize) -> Result<(), OperateError> {
        // First of all: a secret is not shown again.
        self.store.print(line, shown)?;
        if self.store.config.sqlite_path().is_some() && !self.store.config.maintenance.snapshots.interval.is_zero() {
            self.metadata().request_job(SNAPSHOT).await?;
        }
        Ok(())
    }
}

/// A user, group or role by its name.
fn principal(register: &Register, kind: PrincipalKind, name: &str) -> Result<PrincipalRow, OperateError> {
    register.principal(kind, name).cloned().ok_or_else(|| none(IdentityKind::Principal(kind), name))
}

/// A policy by its name or Amazon Resource Name.
fn policy_of(register: &Register, name: &str) -> Result<PolicyRow, OperateError> {
    register.policy(name).cloned().ok_or_else(|| none(IdentityKind::Policy, name))
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
    read_document(path, PolicyKind::Identity)
}

/// The same of any kind.
fn read_document(path: &Path, kind: PolicyKind<'_>) -> Result<String, OperateError> {
    let text = read(path)?;
    let refused = |reason: String| OperateError::Policy { path: path.to_owned(), reason };
    if text.len() > DOCUMENT_MAX {
        return Err(refused(format!("it is longer than {DOCUMENT_MAX} bytes")));
    }
    Policy::parse(&text, kind).map_err(|error| refused(error.to_string()))?;
    Ok(text)
}
