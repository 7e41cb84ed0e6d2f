//! `ninefold user`, `ninefold group` and `ninefold role`.

use std::path::PathBuf;

use serde_json::json;

use super::{Desk, WithinAccount, at_desk, now, policy_of, principal, read_document, read_policy};
use crate::access::names;
use crate::access::policy::PolicyKind;
use crate::admin::view::{Principal, PrincipalDetails};
use crate::admin::{MAX_SESSION, Register, SESSIONS};
use crate::cli::operate::{OperateError, say};
use crate::cli::snapshot::moment;
use crate::config::values::Span;
use crate::metadata::{InlinePolicy, PrincipalChange, PrincipalKind, PrincipalRow, Trust};

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

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct RoleArguments {
    #[command(subcommand)]
    action: RoleAction,
}

#[derive(Debug, clap::Subcommand)]
enum UserAction {
    /// Make a user, who may do nothing yet
    Create {
        #[command(flatten)]
        new: New,
    },
    #[command(flatten)]
    Any(Action),
    /// Say what a user may do at most, whatever its policies allow
    Bound {
        #[command(flatten)]
        limit: Limit,
    },
}

#[derive(Debug, clap::Subcommand)]
enum GroupAction {
    /// Make a group, which may do nothing yet
    Create {
        #[command(flatten)]
        new: New,
    },
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
    /// Switch a group on
    Enable {
        #[command(flatten)]
        one: One,
    },
    /// Switch a group off: until it is on again its policies count for nothing
    Disable {
        #[command(flatten)]
        one: One,
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
enum RoleAction {
    /// Make a role, which may do nothing yet
    Create {
        /// File that says who may take it, as a policy; - is standard input
        #[arg(long, value_name = "FILE")]
        trust: PathBuf,
        #[command(flatten)]
        lasting: Lasting,
        /// What it is for
        #[arg(long, value_name = "TEXT", default_value = "")]
        description: String,
        #[command(flatten)]
        new: New,
    },
    #[command(flatten)]
    Any(Action),
    /// Say anew who may take a role
    Trust {
        /// File that says it, as a policy; - is standard input
        #[arg(long, value_name = "FILE")]
        document: PathBuf,
        #[command(flatten)]
        lasting: Lasting,
        #[command(flatten)]
        one: One,
    },
    /// Say what a role may do at most, whatever its policies allow
    Bound {
        #[command(flatten)]
        limit: Limit,
    },
}

#[derive(Debug, clap::Args)]
struct New {
    #[command(flatten)]
    one: One,
    /// Its path
    #[arg(long, default_value = "/")]
    path: String,
}

#[derive(Debug, clap::Args)]
struct Limit {
    #[command(flatten)]
    one: One,
    /// Name or ARN of a policy [default: no bound]
    #[arg(value_name = "POLICY")]
    policy: Option<String>,
}

#[derive(Debug, clap::Args)]
struct Lasting {
    /// How long one may have it at most, 1h to 12h [default: as it was, or 1h]
    #[arg(long, value_name = "TIME", value_parser = max_session)]
    max_session: Option<i64>,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
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
        work: impl FnOnce(Desk, Register, PrincipalRow) -> F,
    ) -> Result<(), OperateError>
    where
        F: Future<Output = Result<(), OperateError>>,
    {
        let Self { name, within } = self;
        at_desk(within.common, async move |desk| {
            let register = desk.register(within.account.as_deref())?;
            let row = principal(&register, kind, &name)?;
            work(desk, register, row).await
        })
    }
}

/// Seconds that a role may be had for.
fn max_session(text: &str) -> Result<i64, String> {
    let span: Span = text.parse().map_err(|_| "it is no span, as 2h".to_owned())?;
    let (least, most) = SESSIONS;
    let seconds = i64::try_from(span.0.as_secs()).ok().filter(|seconds| (least..=most).contains(seconds));
    seconds.ok_or_else(|| format!("it must be {least}s to {most}s"))
}

pub(in crate::cli) fn user(arguments: UserArguments) -> Result<(), OperateError> {
    match arguments.action {
        UserAction::Create { new } => create(new, PrincipalKind::User, Ok),
        UserAction::Any(action) => run(action, PrincipalKind::User),
        UserAction::Bound { limit } => bind(limit, PrincipalKind::User),
    }
}

pub(in crate::cli) fn group(arguments: GroupArguments) -> Result<(), OperateError> {
    match arguments.action {
        GroupAction::Create { new } => create(new, PrincipalKind::Group, Ok),
        GroupAction::Any(action) => run(action, PrincipalKind::Group),
        GroupAction::Add { one, user } => member(one, user, true),
        GroupAction::Drop { one, user } => member(one, user, false),
        GroupAction::Enable { one } => switch(one, true),
        GroupAction::Disable { one } => switch(one, false),
    }
}

fn switch(one: One, on: bool) -> Result<(), OperateError> {
    one.with(PrincipalKind::Group, async move |desk, _, group| {
        desk.metadata().set_group_status(&group.id, on).await?;
        let state = if on { "on" } else { "off" };
        let shown = json!({"group": group.name, "enabled": on});
        desk.done(format_args!("group {} is {state}", group.name), &shown).await
    })
}

pub(in crate::cli) fn role(arguments: RoleArguments) -> Result<(), OperateError> {
    match arguments.action {
        RoleAction::Create { trust, lasting, description, new } => create(new, PrincipalKind::Role, |row| {
            let document = read_document(&trust, PolicyKind::Trust)?;
            let max_session = lasting.max_session.unwrap_or(MAX_SESSION);
            Ok(PrincipalRow { trust: Some(Trust { document, max_session }), description, ..row })
        }),
        RoleAction::Any(action) => run(action, PrincipalKind::Role),
        RoleAction::Trust { document, lasting, one } => one.with(PrincipalKind::Role, async move |desk, _, row| {
            let document = read_document(&document, PolicyKind::Trust)?;
            let before = row.trust.as_ref().map_or(MAX_SESSION, |trust| trust.max_session);
            let max_session = lasting.max_session.unwrap_or(before);
            let trust = Some(Trust { document, max_session });
            let change = PrincipalChange { trust: trust.clone(), ..PrincipalChange::default() };
            desk.metadata().change_principal(&row.id, &change).await?;
            let shown = Principal::from(&PrincipalRow { trust, ..row });
            desk.done(format_args!("role {} trusts whom the document says", shown.name), &shown).await
        }),
        RoleAction::Bound { limit } => bind(limit, PrincipalKind::Role),
    }
}

fn bind(limit: Limit, kind: PrincipalKind) -> Result<(), OperateError> {
    let Limit { one, policy } = limit;
    one.with(kind, async move |desk, register, row| {
        let policy = match policy {
            Some(name) => Some(register.policy_or_builtin(desk.metadata(), &name, now()).await?),
            None => None,
        };
        let boundary = Some(policy.as_ref().map(|policy| policy.id.clone()));
        let change = PrincipalChange { boundary, ..PrincipalChange::default() };
        desk.metadata().change_principal(&row.id, &change).await?;
        let by = policy.map_or_else(|| "nothing".to_owned(), |policy| policy.arn());
        let shown = json!({kind.name(): row.name, "boundary": by});
        desk.done(format_args!("{kind} {} is bound by {by}", row.name), &shown).await
    })
}

fn member(one: One, user: String, member: bool) -> Result<(), OperateError> {
    one.with(PrincipalKind::Group, async move |desk, register, group| {
        let user = principal(&register, PrincipalKind::User, &user)?;
        desk.metadata().set_membership(&group.id, &user.id, member).await?;
        let is = if member { "is" } else { "is no more" };
        let shown = json!({"group": group.name, "user": user.name, "member": member});
        desk.done(format_args!("user {} {is} in group {}", user.name, group.name), &shown).await
    })
}

/// Makes one, with what `complete` adds to it.
fn create(
    new: New,
    kind: PrincipalKind,
    complete: impl FnOnce(PrincipalRow) -> Result<PrincipalRow, OperateError>,
) -> Result<(), OperateError> {
    let New { one: One { name, within }, path } = new;
    at_desk(within.common, async move |desk| {
        let account = &desk.account(within.account.as_deref())?.id;
        let row = names::fresh_principal(kind, account, &name, now())?;
        names::path(&path)?;
        let row = complete(PrincipalRow { path, ..row })?;
        desk.metadata().create_principal(&row).await?;
        desk.done(format_args!("{kind} {} was made", row.name), &Principal::from(&row)).await
    })
}

fn run(action: Action, kind: PrincipalKind) -> Result<(), OperateError> {
    match action {
        Action::List { within } => at_desk(within.common, async move |desk| {
            let register = desk.register(within.account.as_deref())?;
            let rows = register.all(kind);
            desk.store.tell(&rows.iter().copied().map(Principal::from).collect::<Vec<_>>(), || {
                for row in rows {
                    let policies: Vec<&str> = register.attached(&row.id).iter().map(|policy| &*policy.name).collect();
                    let (made, policies) = (moment(row.created), policies.join(", "));
                    say(format_args!("{}  {:<24}  {made}  {policies}", row.id, row.name));
                }
            })
        }),
        Action::Show { one } => one.with(kind, async move |desk, register, row| show(&desk, &register, &row)),
        Action::Remove { one, whole } => one.with(kind, async move |desk, _, row| {
            desk.metadata().remove_principal(&row.id, whole).await?;
            desk.done(format_args!("{kind} {} was removed", row.name), &json!({"removed": row.id})).await
        }),
        Action::Attach { one, policy } => attach(one, kind, policy, true),
        Action::Detach { one, policy } => attach(one, kind, policy, false),
        Action::PutPolicy { one, policy, document } => one.with(kind, async move |desk, _, row| {
            names::policy(&policy)?;
            let new = InlinePolicy { principal: row.id, name: policy, document: read_policy(&document)? };
            desk.metadata().put_inline_policy(&new).await?;
            let shown = json!({"name": row.name, "policy": new.name});
            desk.done(format_args!("{kind} {} has the policy {}", row.name, new.name), &shown).await
        }),
        Action::RemovePolicy { one, policy } => one.with(kind, async move |desk, _, row| {
            desk.metadata().remove_inline_policy(&row.id, &policy).await?;
            let shown = json!({"name": row.name, "removed": policy});
            desk.done(format_args!("{kind} {} has the policy {policy} no more", row.name), &shown).await
        }),
    }
}

fn attach(one: One, kind: PrincipalKind, policy: String, attached: bool) -> Result<(), OperateError> {
    one.with(kind, async move |desk, register, row| {
        let policy = if attached {
            register.policy_or_builtin(desk.metadata(), &policy, now()).await?
        } else {
            policy_of(&register, &policy)?
        };
        desk.metadata().set_attachment(&row.id, &policy.id, attached).await?;
        let is = if attached { "is" } else { "is no more" };
        let shown = json!({"name": row.name, "policy": policy.arn(), "attached": attached});
        desk.done(format_args!("{} {is} attached to {kind} {}", policy.arn(), row.name), &shown).await
    })
}

fn show(desk: &Desk, register: &Register, row: &PrincipalRow) -> Result<(), OperateError> {
    let shown = PrincipalDetails::of(row, register);
    let mut text = format!("{} {}{}\nid {}\n", row.kind, row.path, row.name, row.id);
    for (what, names) in [("users", &shown.users), ("groups", &shown.groups), ("keys", &shown.keys)] {
        if let Some(names) = names {
            text += &format!("{what}: {}\n", names.join(", "));
        }
    }
    if shown.enabled == Some(false) {
        text += "off: its policies count for nothing\n";
    }
    text += &format!(
        "attached policies: {}\nbound by: {}\npolicies of its own: {:#}",
        shown.attached.join(", "),
        shown.boundary.as_deref().unwrap_or("-"),
        json!(shown.policies)
    );
    if let (Some(trust), Some(seconds)) = (&shown.trust, shown.max_session) {
        text += &format!("\ntaken for {seconds} s at most, by whom this says: {trust:#}");
    }
    desk.store.print(format_args!("{text}"), &shown)
}
