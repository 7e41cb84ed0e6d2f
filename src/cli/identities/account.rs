//! `ninefold account`.

use serde_json::json;

use super::key::{NewKey, Pair};
use super::{Desk, at_desk, now};
use crate::access::{PublicAccessBlock, names};
use crate::admin::view::{Account, AccountDetails, NewAccount};
use crate::cli::operate::{Common, OperateError, say};
use crate::cli::snapshot::moment;
use crate::metadata::AccountChange;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Make an account with an access key of its own, which may do everything in it; its secret is shown once
    Create {
        /// Its name, which is unique
        #[arg(value_name = "NAME")]
        name: String,
        /// Its e-mail address, by which grants may name it
        #[arg(long)]
        email: Option<String>,
        #[command(flatten)]
        pair: Pair,
        #[command(flatten)]
        common: Common,
    },
    /// Show all accounts
    List {
        #[command(flatten)]
        common: Common,
    },
    /// Show an account, its users and its own access keys
    Show {
        /// Its name, id, canonical id or address
        #[arg(value_name = "NAME")]
        name: String,
        #[command(flatten)]
        common: Common,
    },
    /// Change an account
    Set {
        /// Its name, id, canonical id or address
        #[arg(value_name = "NAME")]
        name: String,
        /// Its new name
        #[arg(long, value_name = "NAME")]
        rename: Option<String>,
        /// Its new e-mail address; empty for none
        #[arg(long)]
        email: Option<String>,
        /// What of public access is blocked in all its buckets: all, none, or some of block-public-acls, ignore-public-acls,
        /// block-public-policy, restrict-public-buckets
        #[arg(long, value_name = "WHAT,...", value_delimiter = ',')]
        public_access_block: Option<Vec<Blocked>>,
        #[command(flatten)]
        common: Common,
    },
    /// Remove an account that has neither buckets nor users, with its own access keys
    Remove {
        /// Its name, id, canonical id or address
        #[arg(value_name = "NAME")]
        name: String,
        #[command(flatten)]
        common: Common,
    },
}

/// A word of `--public-access-block`.
#[derive(Debug, Clone, Copy)]
struct Blocked(PublicAccessBlock);

impl std::str::FromStr for Blocked {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let none = PublicAccessBlock::default();
        Ok(Self(match text {
            "all" => PublicAccessBlock::ALL,
            "none" => none,
            "block-public-acls" => PublicAccessBlock { block_public_acls: true, ..none },
            "ignore-public-acls" => PublicAccessBlock { ignore_public_acls: true, ..none },
            "block-public-policy" => PublicAccessBlock { block_public_policy: true, ..none },
            "restrict-public-buckets" => PublicAccessBlock { restrict_public_buckets: true, ..none },
            _ => return Err("it is none of what can be blocked".to_owned()),
        }))
    }
}

pub(in crate::cli) fn run(arguments: Arguments) -> Result<(), OperateError> {
    match arguments.action {
        Action::Create { name, email, pair, common } => {
            at_desk(common, async move |desk| create(&desk, name, email, pair).await)
        }
        Action::List { common } => at_desk(common, async move |desk| list(&desk)),
        Action::Show { name, common } => at_desk(common, async move |desk| show(&desk, &name)),
        Action::Set { name, rename, email, public_access_block, common } => {
            at_desk(common, async move |desk| set(&desk, &name, rename, email, public_access_block).await)
        }
        Action::Remove { name, common } => at_desk(common, async move |desk| {
            let row = desk.account(Some(&name))?;
            desk.metadata().remove_account(&row.id).await?;
            desk.done(format_args!("account {} was removed", row.name), &json!({"removed": row.id})).await
        }),
    }
}

async fn create(desk: &Desk, name: String, email: Option<String>, pair: Pair) -> Result<(), OperateError> {
    let row = names::fresh_account(&name, email.as_deref(), now())?;
    let key = NewKey::make(desk, &row.id, pair).await?;
    desk.metadata().create_account(&row, Some(&key.row), &key.seal_key).await?;
    let line = format!("account {} was made, with the id {}\n{key}", row.name, row.id);
    desk.done(format_args!("{line}"), &NewAccount { account: Account::from(&row), key: key.shown() }).await
}

fn list(desk: &Desk) -> Result<(), OperateError> {
    desk.store.tell(&desk.rows.accounts.iter().map(Account::from).collect::<Vec<_>>(), || {
        for row in &desk.rows.accounts {
            let own = if row.own { "  the deployment's own" } else { "" };
            let (email, made) = (row.email.as_deref().unwrap_or("-"), moment(row.created));
            say(format_args!("{}  {:<20}  {email:<24}  {made}{own}", row.id, row.name));
        }
    })
}

fn show(desk: &Desk, name: &str) -> Result<(), OperateError> {
    let row = desk.account(Some(name))?;
    let shown = AccountDetails::of(row, &desk.register(Some(name))?);
    let text = format!(
        "account {}\nid {}\ncanonical id {}\ne-mail {}\nmade {}\nblocks {}\nusers, groups, roles: {}\nkeys of its own: {}",
        row.name,
        row.id,
        row.canonical_id,
        row.email.as_deref().unwrap_or("-"),
        moment(row.created),
        row.public_access_block,
        shown.principals.join(", "),
        shown.keys.join(", ")
    );
    desk.store.print(format_args!("{text}"), &shown)
}

async fn set(
    desk: &Desk,
    name: &str,
    rename: Option<String>,
    email: Option<String>,
    blocked: Option<Vec<Blocked>>,
) -> Result<(), OperateError> {
    let row = desk.account(Some(name))?;
    rename.as_deref().map_or(Ok(()), names::account)?;
    let email = email.map(|email| Some(email).filter(|email| !email.is_empty()));
    email.as_ref().and_then(Option::as_deref).map_or(Ok(()), names::email)?;
    let block = blocked.map(|all| all.into_iter().fold(PublicAccessBlock::default(), |sum, one| sum.with(one.0)));
    let public_access_block = block.map(|block| serde_json::to_string(&block)).transpose();
    let public_access_block =
        public_access_block.map_err(|error| OperateError::System { operation: "write JSON", source: error.into() })?;
    let change = AccountChange { name: rename, email, public_access_block };
    let row = desk.metadata().change_account(&row.id, &change).await?;
    desk.done(format_args!("account {} was changed", row.name), &Account::from(&row)).await
}
