//! `ninefold quota`: how much buckets and accounts may hold. Servers obey a quota from when its command has ended.

use serde_json::json;

use super::identities::{Desk, at_desk};
use super::operate::{Common, OperateError, say};
use crate::admin::view;
use crate::config::values::Size;
use crate::metadata::{Quota, QuotaLimits, QuotaOf};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Limit what a bucket, or all buckets of an account, may hold, in place of what limited it before
    Set {
        #[command(flatten)]
        subject: Subject,
        /// Bytes, such as 10GiB: of all versions, and of parts of uploads that are not completed [default: any number]
        #[arg(long, value_name = "SIZE", required_unless_present = "objects")]
        bytes: Option<Size>,
        /// Objects: all versions, without delete markers [default: any number]
        #[arg(long, value_name = "NUMBER")]
        objects: Option<u64>,
        #[command(flatten)]
        common: Common,
    },
    /// Show a quota, and how much is there
    Get {
        #[command(flatten)]
        subject: Subject,
        #[command(flatten)]
        common: Common,
    },
    /// Show all quotas, and how much is there
    List {
        #[command(flatten)]
        common: Common,
    },
    /// Take a quota away
    Remove {
        #[command(flatten)]
        subject: Subject,
        #[command(flatten)]
        common: Common,
    },
}

/// What a quota is of.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Subject {
    /// A bucket, by its name
    #[arg(long, value_name = "NAME")]
    bucket: Option<String>,
    /// All buckets of an account, by its name, id, canonical id or address
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
}

impl Subject {
    fn of(&self, desk: &Desk) -> Result<QuotaOf, OperateError> {
        Ok(match &self.bucket {
            Some(name) => QuotaOf::Bucket(name.clone()),
            None => QuotaOf::Account(desk.account(self.account.as_deref())?.canonical_id.clone()),
        })
    }
}

pub(super) fn run(arguments: Arguments) -> Result<(), OperateError> {
    match arguments.action {
        Action::Set { subject, bytes, objects, common } => at_desk(common, async move |desk| {
            let of = subject.of(&desk)?;
            let limits = QuotaLimits { bytes: bytes.map(|bytes| bytes.0), objects };
            desk.metadata().set_quota(&of, limits).await?;
            let quota = find(&desk, &of).await?;
            desk.done(format_args!("{}", line(&desk, &quota)), &shown(&desk, &quota)).await
        }),
        Action::Get { subject, common } => at_desk(common, async move |desk| {
            let quota = find(&desk, &subject.of(&desk)?).await?;
            desk.store.print(format_args!("{}", line(&desk, &quota)), &shown(&desk, &quota))
        }),
        Action::List { common } => at_desk(common, async move |desk| {
            let quotas = desk.metadata().quotas().await?;
            let all: Vec<view::Quota> = quotas.iter().map(|quota| shown(&desk, quota)).collect();
            desk.store.tell(&all, || quotas.iter().for_each(|quota| say(format_args!("{}", line(&desk, quota)))))
        }),
        Action::Remove { subject, common } => at_desk(common, async move |desk| {
            let of = subject.of(&desk)?;
            if !desk.metadata().remove_quota(&of).await? {
                return Err(OperateError::NoQuota(name(&desk, &of)));
            }
            let name = name(&desk, &of);
            desk.done(format_args!("the quota of {name} was removed"), &json!({"removed": name})).await
        }),
    }
}

async fn find(desk: &Desk, of: &QuotaOf) -> Result<Quota, OperateError> {
    if let QuotaOf::Bucket(name) = of {
        desk.metadata().bucket(name).await?;
    }
    let quotas = desk.metadata().quotas().await?;
    quotas.into_iter().find(|quota| quota.of == *of).ok_or_else(|| OperateError::NoQuota(name(desk, of)))
}

/// What a quota is of, with an account's name instead of its canonical id.
fn name(desk: &Desk, of: &QuotaOf) -> String {
    match of {
        QuotaOf::Account(id) => match desk.account(Some(id)) {
            Ok(account) => format!("account {}", account.name),
            Err(_) => of.to_string(),
        },
        QuotaOf::Bucket(_) => of.to_string(),
    }
}

fn line(desk: &Desk, quota: &Quota) -> String {
    let name = name(desk, &quota.of);
    let part = |used: Option<u64>, max: Option<u64>, what: &str| {
        let used = used.map_or_else(|| "?".to_owned(), |used| used.to_string());
        match max {
            Some(max) => format!("{used} of {max} {what}"),
            None => format!("{used} {what}"),
        }
    };
    let bytes = part(quota.used.map(|used| used.bytes), quota.limits.bytes, "bytes");
    let objects = part(quota.used.map(|used| used.objects), quota.limits.objects, "objects");
    let state = if quota.used.is_some() { "" } else { "  not counted yet, and not in force: set it again" };
    format!("{name}  {bytes}  {objects}{state}")
}

fn shown(desk: &Desk, quota: &Quota) -> view::Quota {
    let account = match &quota.of {
        QuotaOf::Account(id) => desk.account(Some(id)).ok(),
        QuotaOf::Bucket(_) => None,
    };
    view::Quota::new(quota, account)
}
