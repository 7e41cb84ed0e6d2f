//! `ninefold policy`.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::{Desk, WithinAccount, at_desk, document, now, read_policy};
use crate::access::names;
use crate::cli::operate::{OperateError, say};
use crate::cli::snapshot::moment;
use crate::metadata::{AccountRow, PolicyRow};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Make a policy that can be attached to users and groups
    Create {
        /// Its name, unique in its account
        #[arg(value_name = "NAME")]
        name: String,
        /// File that holds it, as JSON; - is standard input
        #[arg(long, value_name = "FILE")]
        document: PathBuf,
        /// Its path
        #[arg(long, default_value = "/")]
        path: String,
        /// What it is for
        #[arg(long, value_name = "TEXT", default_value = "")]
        description: String,
        #[command(flatten)]
        within: WithinAccount,
    },
    /// Have a policy say something else; what it said is kept as an older version, of five
    Set {
        /// Its name or ARN
        #[arg(value_name = "NAME")]
        name: String,
        /// File that holds it, as JSON; - is standard input
        #[arg(long, value_name = "FILE")]
        document: PathBuf,
        #[command(flatten)]
        within: WithinAccount,
    },
    /// Show an account's policies
    List {
        #[command(flatten)]
        within: WithinAccount,
    },
    /// Show what a policy says, and whom it is attached to
    Show {
        /// Its name or ARN
        #[arg(value_name = "NAME")]
        name: String,
        #[command(flatten)]
        within: WithinAccount,
    },
    /// Remove a policy that is attached to nobody
    Remove {
        /// Its name or ARN
        #[arg(value_name = "NAME")]
        name: String,
        /// Detach it first
        #[arg(long)]
        detach: bool,
        #[command(flatten)]
        within: WithinAccount,
    },
}

pub(in crate::cli) fn run(arguments: Arguments) -> Result<(), OperateError> {
    match arguments.action {
        Action::Create { name, document, path, description, within } => at_desk(within.common, async move |desk| {
            names::policy(&name)?;
            names::path(&path)?;
            let text = read_policy(&document)?;
            let row = row(desk.account(within.account.as_deref())?, name, path, description);
            desk.metadata().create_policy(&row, &text).await?;
            desk.done(format_args!("{} was made", row.arn()), policy_json(&row)).await
        }),
        Action::Set { name, document, within } => at_desk(within.common, async move |desk| {
            let text = read_policy(&document)?;
            let row = desk.policy(desk.account(within.account.as_deref())?, &name)?;
            let version = desk.metadata().add_policy_version(&row.id, &text, true, true, now()).await?;
            let json = json!({"arn": row.arn(), "version": format!("v{version}")});
            desk.done(format_args!("{} has the version v{version} now", row.arn()), json).await
        }),
        Action::List { within } => at_desk(within.common, async move |desk| {
            let account = desk.account(within.account.as_deref())?;
            let rows: Vec<&PolicyRow> = desk.rows.policies.iter().filter(|row| row.account == account.id).collect();
            if desk.json {
                say(format_args!("{:#}", Value::from(rows.into_iter().map(policy_json).collect::<Vec<_>>())));
                return Ok(());
            }
            for row in rows {
                say(format_args!(
                    "{:<24}  v{:<3}  {}  {}",
                    row.name,
                    row.default_version,
                    moment(row.created),
                    row.arn()
                ));
            }
            Ok(())
        }),
        Action::Show { name, within } => at_desk(within.common, async move |desk| {
            let row = desk.policy(desk.account(within.account.as_deref())?, &name)?;
            show(&desk, row);
            Ok(())
        }),
        Action::Remove { name, detach, within } => at_desk(within.common, async move |desk| {
            let row = desk.policy(desk.account(within.account.as_deref())?, &name)?;
            desk.metadata().remove_policy(&row.id, detach).await?;
            desk.done(format_args!("{} was removed", row.arn()), json!({"removed": row.arn()})).await
        }),
    }
}

/// A policy to be made.
pub(super) fn row(account: &AccountRow, name: String, path: String, description: String) -> PolicyRow {
    let (id, account) = (names::fresh_policy_id(), account.id.clone());
    PolicyRow { id, account, name, path, description, default_version: 1, created: now() }
}

fn show(desk: &Desk, row: &PolicyRow) {
    let versions = desk.rows.versions.iter().filter(|version| version.policy == row.id);
    let text = versions.clone().find(|version| version.version == row.default_version);
    let text = text.map_or(Value::Null, |version| document(&version.document));
    let attached = desk.rows.attachments.iter().filter(|(_, policy)| *policy == row.id);
    let attached: Vec<String> = attached
        .filter_map(|(who, _)| desk.rows.principals.iter().find(|row| row.id == *who))
        .map(|row| format!("{}/{}", row.kind, row.name))
        .collect();
    let mut json = policy_json(row);
    json["document"] = text.clone();
    json["versions"] = versions.map(|version| format!("v{}", version.version)).collect::<Vec<_>>().into();
    json["attached"] = attached.clone().into();
    let line =
        format!("{}, version v{}\nattached to: {}\n{text:#}", row.arn(), row.default_version, attached.join(", "));
    desk.print(format_args!("{line}"), json);
}

fn policy_json(row: &PolicyRow) -> Value {
    json!({
        "id": row.id, "arn": row.arn(), "name": row.name, "path": row.path, "description": row.description,
        "default_version": format!("v{}", row.default_version), "created": row.created,
    })
}
