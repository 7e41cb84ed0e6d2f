//! `ninefold key`.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;

use serde_json::json;

use super::{Desk, WithinAccount, at_desk, now, principal, read_policy, read_secret, until};
use crate::access::seal::Keyring;
use crate::access::{Secret, names};
use crate::admin::view::{Credentials, Key};
use crate::cli::operate::{Common, OperateError, say};
use crate::cli::snapshot::moment;
use crate::clock::Millis;
use crate::metadata::{AccessKeyChange, AccessKeyRow, PrincipalKind};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Make an access key; its secret is shown once
    Create {
        /// User that it is for [default: the account itself, which may do everything in it]
        #[arg(long, value_name = "NAME")]
        user: Option<String>,
        /// File that holds a policy: what the key may do at most; - is standard input
        #[arg(long, value_name = "FILE")]
        policy: Option<PathBuf>,
        /// When it ends: a time, or how long from now [default: never]
        #[arg(long, value_name = "TIME", value_parser = until)]
        expires: Option<Millis>,
        /// What it is for
        #[arg(long, value_name = "TEXT", default_value = "")]
        description: String,
        #[command(flatten)]
        pair: Pair,
        #[command(flatten)]
        within: WithinAccount,
    },
    /// Show an account's access keys
    List {
        /// Those of one user
        #[arg(long, value_name = "NAME")]
        user: Option<String>,
        #[command(flatten)]
        within: WithinAccount,
    },
    /// Switch an access key on
    Enable {
        #[command(flatten)]
        one: One,
    },
    /// Switch an access key off
    Disable {
        #[command(flatten)]
        one: One,
    },
    /// Remove an access key
    Remove {
        #[command(flatten)]
        one: One,
    },
    /// Seal all secrets anew, under another master key
    RotateMaster {
        /// The master key is lost: give up all access keys but root's
        #[arg(long)]
        lost: bool,
        #[command(flatten)]
        common: Common,
    },
}

#[derive(Debug, clap::Args)]
struct One {
    #[arg(value_name = "ACCESS_KEY")]
    access_key: String,
    #[command(flatten)]
    common: Common,
}

/// An access key that is chosen, or not.
#[derive(Debug, clap::Args)]
pub(super) struct Pair {
    /// The access key [default: a fresh one]
    #[arg(long, value_name = "KEY")]
    access_key: Option<String>,
    /// File that holds its secret key; - is standard input [default: a fresh one, which is shown]
    #[arg(long, value_name = "FILE")]
    secret_key_file: Option<PathBuf>,
}

/// An access key that is about to be made.
pub(super) struct NewKey {
    pub(super) row: AccessKeyRow,
    pub(super) seal_key: String,
    /// What is to be shown.
    fresh: Option<Secret>,
}

impl NewKey {
    /// A key of an account itself.
    pub(super) async fn make(desk: &Desk, account: &str, pair: Pair) -> Result<Self, OperateError> {
        let access_key = pair.access_key.unwrap_or_else(names::fresh_access_key);
        let given = pair.secret_key_file.as_deref().map(read_secret).transpose()?;
        let fresh = given.is_none().then(names::fresh_secret_key);
        let secret = given.or_else(|| fresh.clone()).unwrap_or_else(names::fresh_secret_key);
        names::key_pair(&access_key, &secret)?;
        if desk.store.config.root_user.as_deref() == Some(&*access_key) {
            return Err(OperateError::RootKey(access_key));
        }
        let keyring = Keyring::open(desk.metadata(), desk.store.config.master_key.clone(), false).await?;
        let sealed = keyring.seal(&secret, &access_key)?;
        let row = AccessKeyRow::new(&access_key, account, sealed.text, now());
        Ok(Self { row, seal_key: sealed.key, fresh })
    }

    pub(super) fn shown(&self) -> Credentials {
        Credentials { access_key: self.row.access_key.clone(), secret_key: self.fresh.clone() }
    }
}

impl fmt::Display for NewKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "access key {}", self.row.access_key)?;
        match &self.fresh {
            Some(secret) => write!(f, "\nsecret key {}   (it is shown this once)", secret.expose()),
            None => Ok(()),
        }
    }
}

pub(in crate::cli) fn run(arguments: Arguments) -> Result<(), OperateError> {
    match arguments.action {
        Action::Create { user, policy, expires, description, pair, within } => {
            at_desk(within.common, async move |desk| {
                let register = desk.register(within.account.as_deref())?;
                let user = user.map(|name| principal(&register, PrincipalKind::User, &name)).transpose()?;
                let policy = policy.as_deref().map(read_policy).transpose()?;
                let mut key = NewKey::make(&desk, &register.account, pair).await?;
                let user = user.map(|row| row.id);
                key.row = AccessKeyRow { user, policy, expires, description, ..key.row };
                desk.metadata().create_access_key(&key.row, &key.seal_key).await?;
                desk.done(format_args!("{key}"), &key.shown()).await
            })
        }
        Action::List { user, within } => at_desk(within.common, async move |desk| {
            let register = desk.register(within.account.as_deref())?;
            let user = user.map(|name| principal(&register, PrincipalKind::User, &name)).transpose()?;
            let uses: HashMap<String, Millis> = desk.metadata().key_uses().await?.into_iter().collect();
            let keys =
                register.all_keys().filter(|key| user.as_ref().is_none_or(|user| key.user.as_ref() == Some(&user.id)));
            let keys: Vec<Key> = keys.map(|key| Key::of(key, &register, uses.get(&key.access_key).copied())).collect();
            desk.store.tell(&keys, || keys.iter().for_each(list))
        }),
        Action::Enable { one } => switch(one, true),
        Action::Disable { one } => switch(one, false),
        Action::Remove { one } => at_desk(one.common, async move |desk| {
            desk.metadata().remove_access_key(&one.access_key).await?;
            let shown = json!({"removed": one.access_key});
            desk.done(format_args!("access key {} was removed", one.access_key), &shown).await
        }),
        Action::RotateMaster { lost, common } => {
            at_desk(common, async move |desk| if lost { replace_lost(&desk).await } else { rotate(&desk).await })
        }
    }
}

fn switch(one: One, on: bool) -> Result<(), OperateError> {
    at_desk(one.common, async move |desk| {
        let change = AccessKeyChange { active: Some(on), ..AccessKeyChange::default() };
        desk.metadata().change_access_key(&one.access_key, &change).await?;
        let state = if on { "on" } else { "off" };
        let shown = json!({"access_key": one.access_key, "active": on});
        desk.done(format_args!("access key {} is {state}", one.access_key), &shown).await
    })
}

fn list(key: &Key) {
    let state = if key.active { "on" } else { "off" };
    let used = key.last_used.map_or_else(|| "never used".to_owned(), |at| format!("used {}", moment(at)));
    let ends = key.expires.map_or(String::new(), |end| format!("  ends {}", moment(end)));
    let user = key.user.as_deref().unwrap_or("(the account)");
    say(format_args!("{}  {user:<20}  {state:<3}  {used}{ends}  {}", key.access_key, key.description));
}

async fn rotate(desk: &Desk) -> Result<(), OperateError> {
    let (key, count) = Keyring::rotate(desk.metadata(), desk.store.config.master_key.clone()).await?;
    let line = format!("{count} secrets are sealed under the master key {key}; keep a copy of it elsewhere");
    desk.done(format_args!("{line}"), &json!({"master_key": key, "secrets": count})).await
}

async fn replace_lost(desk: &Desk) -> Result<(), OperateError> {
    let (key, gone) = Keyring::replace_lost(desk.metadata(), desk.store.config.master_key.clone()).await?;
    let gone: Vec<&str> = gone.iter().map(|key| &*key.access_key).collect();
    let line = format!(
        "secrets will be sealed under the master key {key}; {} access keys are no more: {}",
        gone.len(),
        gone.join(", ")
    );
    desk.done(format_args!("{line}"), &json!({"master_key": key, "gone": gone})).await
}
