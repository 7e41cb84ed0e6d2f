//! `ninefold policy`.

use std::path::PathBuf;

use serde_json::json;

use super::{WithinAccount, at_desk, now, policy_of, read_policy};
use crate::access::names;
use crate::admin::view::{Policy, PolicyDetails};
use crate::cli::operate::{OperateError, say};
use crate::cli::snapshot::moment;
use crate::metadata::PolicyRow;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Make a policy that can be attached to users, groups and roles
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
            names::path(&path)?;
            let text = read_policy(&document)?;
            let row = names::fresh_policy(&desk.account(within.account.as_deref())?.id, &name, now())?;
            let row = PolicyRow { path, description, ..row };
            desk.metadata().create_policy(&row, &text).await?;
            desk.done(format_args!("{} was made", row.arn()), &Policy::from(&row)).await
        }),
        Action::Set { name, document, within } => at_desk(within.common, async move |desk| {
            let text = read_policy(&document)?;
            let row = policy_of(&desk.register(within.account.as_deref())?, &name)?;
            let version = desk.metadata().add_policy_version(&row.id, &text, true, true, now()).await?;
            let shown = json!({"arn": row.arn(), "version": format!("v{version}")});
            desk.done(format_args!("{} has the version v{version} now", row.arn()), &shown).await
        }),
        Action::List { within } => at_desk(within.common, async move |desk| {
            let register = desk.register(within.account.as_deref())?;
            let policies: Vec<Policy> = register.policies().into_iter().map(Policy::from).collect();
            desk.store.tell(&policies, || {
                for row in &policies {
                    let made = moment(row.created);
                    say(format_args!("{:<24}  {:<4}  {made}  {}", row.name, row.default_version, row.arn));
                }
            })
        }),
        Action::Show { name, within } => at_desk(within.common, async move |desk| {
            let register = desk.register(within.account.as_deref())?;
            let shown = PolicyDetails::of(&policy_of(&register, &name)?, &register);
            let PolicyDetails { policy, document, attached, .. } = &shown;
            let (arn, version, attached) = (&policy.arn, &policy.default_version, attached.join(", "));
            let text = format!("{arn}, version {version}\nattached to: {attached}\n{document:#}");
            desk.store.print(format_args!("{text}"), &shown)
        }),
        Action::Remove { name, detach, within } => at_desk(within.common, async move |desk| {
            let row = policy_of(&desk.register(within.account.as_deref())?, &name)?;
            desk.metadata().remove_policy(&row.id, detach).await?;
            desk.done(format_args!("{} was removed", row.arn()), &json!({"removed": row.arn()})).await
        }),
    }
}
