//! `ninefold user` and `ninefold group`.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::{Desk, WithinAccount, at_desk, document, now, read_policy};
use crate::access::names;
use crate::cli::operate::{OperateError, say};
use crate::cli::snapshot::moment;
use crate::metadata::{AccountRow, InlinePolicy, PrincipalChange, PrincipalKind, PrincipalRow, Tags};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct UserArguments {
    #[command(subcommand)]
    action: UserAction,
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct GroupArguments {
    #[command(subcommand)]
    action: GroupAction,
}

#[derive(Debug, clap::Subcommand)]
enum UserAction {
    #[command(flatten)]
    Any(Action),
    /// Say what a user may do at most, whatever its policies allow
    Bound {
        #[command(flatten)]
        one: One,
        /// Name or ARN of a policy [default: no bound]
        #[arg(value_name = "POLICY")]
        policy: Option<String>,
    },
}

#[derive(Debug, clap::Subcommand)]
enum GroupAction {
    #[command(flatten)]
    Any(Action),
    /// Take a user into a group
    Add {
        #[command(flatten)]
        one: One,
        /// Name of the user
        #[arg(value_name = "USER")]
        user: String,
    },
    /// Take a user out of a group
    Drop {
        #[command(flatten)]
        one: One,
        /// Name of the user
        #[arg(value_name = "USER")]
        user: String,
    },
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Make one, which may do nothing yet
    Create {
        #[command(flatten)]
        one: One,
        /// Its path
        #[arg(long, default_value = "/")]
        path: String,
    },
    /// Show all of an account
    List {
        #[command(flatten)]
        within: WithinAccount,
    },
    /// Show one, its policies, and who is in which group
    Show {
        #[command(flatten)]
        one: One,
    },
    /// Remove one that has neither keys nor policies nor groups nor users
    Remove {
        #[command(flatten)]
        one: One,
        /// Remove its keys and its own policies as well, and take it out of groups
        #[arg(long)]
        whole: bool,
    },
    /// Attach a policy
    Attach {
        #[command(flatten)]
        one: One,
        /// Name or ARN of the policy
        #[arg(value_name = "POLICY")]
        policy: String,
    },
    /// Detach a policy
    Detach {
        #[command(flatten)]
        one: One,
        /// Name or ARN of the policy
        #[arg(value_name = "POLICY")]
        policy: String,
    },
    /// Give it a policy of its own, in place of one of that name
    PutPolicy {
        #[command(flatten)]
        one: One,
        /// Name of the policy
        #[arg(value_name = "POLICY")]
        policy: String,
        /// File that holds it, as JSON; - is standard input
        #[arg(long, value_name = "FILE")]
        document: PathBuf,
    },
    /// Take a policy of its own away
    RemovePolicy {
        #[command(flatten)]
        one: One,
        /// Name of the policy
        #[arg(value_name = "POLICY")]
        policy: String,
    },
}

#[derive(Debug, clap::Args)]
struct One {
    /// Its name, unique in its account
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    within: WithinAccount,
}

impl One {
    /// Does something to it.
    fn with<F>(
        self,
        kind: PrincipalKind,
        work: impl FnOnce(Desk, AccountRow, PrincipalRow) -> F,
    ) -> Result<(), OperateError>
    where
        F: Future<Output = Result<(), OperateError>>,
    {
        let Self { name, within } = self;
        at_desk(within.common, async move |desk| {
            let account = desk.account(within.account.as_deref())?.clone();
            let row = desk.principal(&account, kind, &name)?.clone();
            work(desk, account, row).await
        })
    }
}

pub(in crate::cli) fn user(arguments: UserArguments) -> Result<(), OperateError> {
    match arguments.action {
        UserAction::Any(action) => run(action, PrincipalKind::User),
        UserAction::Bound { one, policy } => one.with(PrincipalKind::User, async move |desk, account, row| {
            let policy = match policy {
                Some(name) => Some(desk.policy_or_builtin(&account, &name).await?),
                None => None,
            };
            let boundary = Some(policy.as_ref().map(|policy| policy.id.clone()));
            desk.metadata()
                .change_principal(&row.id, &PrincipalChange { boundary, ..PrincipalChange::default() })
                .await?;
            let by = policy.map_or_else(|| "nothing".to_owned(), |policy| policy.arn());
            desk.done(format_args!("user {} is bound by {by}", row.name), json!({"user": row.name, "boundary": by}))
                .await
        }),
    }
}

pub(in crate::cli) fn group(arguments: GroupArguments) -> Result<(), OperateError> {
    match arguments.action {
        GroupAction::Any(action) => run(action, PrincipalKind::Group),
        GroupAction::Add { one, user } => member(one, user, true),
        GroupAction::Drop { one, user } => member(one, user, false),
    }
}

fn member(one: One, user: String, member: bool) -> Result<(), OperateError> {
    one.with(PrincipalKind::Group, async move |desk, account, group| {
        let user = desk.principal(&account, PrincipalKind::User, &user)?;
        desk.metadata().set_membership(&group.id, &user.id, member).await?;
        let is = if member { "is" } else { "is no more" };
        let json = json!({"group": group.name, "user": user.name, "member": member});
        desk.done(format_args!("user {} {is} in group {}", user.name, group.name), json).await
    })
}

fn run(action: Action, kind: PrincipalKind) -> Result<(), OperateError> {
    match action {
        Action::Create { one, path } => at_desk(one.within.common, async move |desk| {
            names::principal(kind, &one.name)?;
            names::path(&path)?;
            let row = PrincipalRow {
                id: names::fresh_principal_id(kind),
                account: desk.account(one.within.account.as_deref())?.id.clone(),
                kind,
                name: one.name,
                path,
                boundary: None,
                tags: Tags::new(),
                trust: None,
                description: String::new(),
                created: now(),
            };
            desk.metadata().create_principal(&row).await?;
            desk.done(format_args!("{kind} {} was made", row.name), row_json(&row)).await
        }),
        Action::List { within } => at_desk(within.common, async move |desk| {
            let account = desk.account(within.account.as_deref())?;
            let rows = desk.rows.principals.iter().filter(|row| row.account == account.id && row.kind == kind);
            if desk.json {
                say(format_args!("{:#}", Value::from(rows.map(row_json).collect::<Vec<_>>())));
                return Ok(());
            }
            for row in rows {
                let policies = desk.attached(&row.id).join(", ");
                say(format_args!("{}  {:<24}  {}  {policies}", row.id, row.name, moment(row.created)));
            }
            Ok(())
        }),
        Action::Show { one } => one.with(kind, async move |desk, _, row| {
            show(&desk, &row);
            Ok(())
        }),
        Action::Remove { one, whole } => one.with(kind, async move |desk, _, row| {
            desk.metadata().remove_principal(&row.id, whole).await?;
            desk.done(format_args!("{kind} {} was removed", row.name), json!({"removed": row.id})).await
        }),
        Action::Attach { one, policy } => attach(one, kind, policy, true),
        Action::Detach { one, policy } => attach(one, kind, policy, false),
        Action::PutPolicy { one, policy, document } => one.with(kind, async move |desk, _, row| {
            names::policy(&policy)?;
            let new = InlinePolicy { principal: row.id, name: policy, document: read_policy(&document)? };
            desk.metadata().put_inline_policy(&new).await?;
            let json = json!({"name": row.name, "policy": new.name});
            desk.done(format_args!("{kind} {} has the policy {}", row.name, new.name), json).await
        }),
        Action::RemovePolicy { one, policy } => one.with(kind, async move |desk, _, row| {
            desk.metadata().remove_inline_policy(&row.id, &policy).await?;
            let json = json!({"name": row.name, "removed": policy});
            desk.done(format_args!("{kind} {} has the policy {policy} no more", row.name), json).await
        }),
    }
}

fn attach(one: One, kind: PrincipalKind, policy: String, attached: bool) -> Result<(), OperateError> {
    one.with(kind, async move |desk, account, row| {
        let policy = if attached {
            desk.policy_or_builtin(&account, &policy).await?
        } else {
            desk.policy(&account, &policy)?.clone()
        };
        desk.metadata().set_attachment(&row.id, &policy.id, attached).await?;
        let is = if attached { "is" } else { "is no more" };
        let json = json!({"name": row.name, "policy": policy.arn(), "attached": attached});
        desk.done(format_args!("{} {is} attached to {kind} {}", policy.arn(), row.name), json).await
    })
}

fn show(desk: &Desk, row: &PrincipalRow) {
    let attached = desk.attached(&row.id);
    let inline = desk.rows.inline.iter().filter(|policy| policy.principal == row.id);
    let inline: serde_json::Map<String, Value> =
        inline.map(|policy| (policy.name.clone(), document(&policy.document))).collect();
    // Of a user the groups, of a group the users.
    let others = desk.rows.memberships.iter().filter_map(|(group, user)| match row.kind {
        PrincipalKind::Group if *group == row.id => desk.name_of(user),
        PrincipalKind::User if *user == row.id => desk.name_of(group),
        _ => None,
    });
    let others: Vec<&str> = others.collect();
    let keys = desk.rows.keys.iter().filter(|key| key.user.as_deref() == Some(&*row.id));
    let keys: Vec<&str> = keys.map(|key| &*key.access_key).collect();
    let bound = row.boundary.as_deref().and_then(|id| desk.rows.policies.iter().find(|policy| policy.id == id));
    let bound = bound.map(crate::metadata::PolicyRow::arn);
    let other = if row.kind == PrincipalKind::Group { "users" } else { "groups" };
    let mut text = format!("{} {}{}\nid {}\n{other}: {}\n", row.kind, row.path, row.name, row.id, others.join(", "));
    text += &format!("keys: {}\nattached policies: {}\n", keys.join(", "), attached.join(", "));
    text += &format!(
        "bound by: {}\npolicies of its own: {:#}",
        bound.as_deref().unwrap_or("-"),
        Value::from(inline.clone())
    );
    let mut json = row_json(row);
    json[other] = others.into();
    json["keys"] = keys.into();
    json["attached"] = attached.into();
    json["boundary"] = bound.into();
    json["policies"] = inline.into();
    desk.print(format_args!("{text}"), json);
}

fn row_json(row: &PrincipalRow) -> Value {
    let arn = format!("arn:aws:iam::{}:{}{}{}", row.account, row.kind, row.path, row.name);
    json!({"id": row.id, "arn": arn, "name": row.name, "path": row.path, "created": row.created})
}
