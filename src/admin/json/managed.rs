//! Policies that can be attached, and to whom they are.

use schemars::JsonSchema;
use serde::Deserialize;

use super::page::Page;
use super::{Desk, Document, Done, Fresh, Made, Shown, exists, none};
use crate::access::names;
use crate::admin::documents::{POLICY, check_attached, check_description, check_policy};
use crate::admin::view::{Policy, PolicyDetails, PolicyVersion};
use crate::admin::{Problem, Result};
use crate::metadata::{self, IdentityKind, OF_AWS, PolicyRow, PrincipalKind};

/// A policy that is to be made.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewPolicy {
    /// What it says.
    document: Document,
    /// `/`, or `/a/path/`.
    #[serde(default)]
    path: Option<String>,
    /// What it is for.
    #[serde(default)]
    description: String,
}

/// A version of a policy that is to be made.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewVersion {
    /// What it says.
    document: Document,
    /// Whether it is to count from now on.
    #[serde(default)]
    is_default: bool,
}

fn number(version: &str) -> Result<i64> {
    let number = version.strip_prefix('v').and_then(|digits| digits.parse().ok());
    number.ok_or_else(|| Problem::bad("ValidationError", format!("{version:?} is no version, as v1 is")))
}

impl Desk<'_> {
    pub(super) async fn list_policies(&self) -> Result<Shown<Page<Policy>>> {
        self.may(&self.arn("policy", "/", ""))?;
        Ok(Shown(self.page(self.register.policies(), |row| &row.name, Policy::from)?))
    }

    /// The policy in the path.
    fn policy(&self) -> Result<&PolicyRow> {
        let name = self.name("policy");
        self.may(&self.policy_arn(name))?;
        self.register.policy(name).ok_or_else(|| none(IdentityKind::Policy, name))
    }

    /// The same, which is not AWS's.
    fn own_policy(&self) -> Result<&PolicyRow> {
        match self.policy()? {
            row if row.path == OF_AWS => Err(Problem::denied("AWS's own policies cannot be changed")),
            row => Ok(row),
        }
    }

    pub(super) async fn get_policy(&self) -> Result<Shown<PolicyDetails>> {
        Ok(Shown(PolicyDetails::of(self.policy()?, &self.register)))
    }

    pub(super) async fn create_policy(&self, new: NewPolicy) -> Result<Made<PolicyDetails>> {
        let NewPolicy { document, path, description } = new;
        let (name, path) = (self.name("policy"), path.unwrap_or_else(|| "/".to_owned()));
        let row = names::fresh_policy(&self.register.account, name, self.now())?;
        names::path(&path)?;
        check_description(&description)?;
        check_policy(document.text(), POLICY)?;
        self.may(&self.arn("policy", &path, name))?;
        if path == OF_AWS {
            return Err(Problem::bad("ValidationError", format!("the path {OF_AWS} is that of AWS's own policies")));
        }
        if let Some(there) = self.register.policy(name) {
            let said = (&*there.name, &there.path, &there.description) == (name, &path, &description);
            if !said || !document.says(self.register.document(there)) {
                return Err(exists(IdentityKind::Policy, &there.name));
            }
            return Ok(Made { anew: false, what: PolicyDetails::of(there, &self.register) });
        }
        let row = PolicyRow { path, description, ..row };
        self.metadata()?.create_policy(&row, document.text()).await?;
        Ok(Made { anew: true, what: PolicyDetails::of(&row, &self.changed().await?) })
    }

    pub(super) async fn delete_policy(&self) -> Result<Done> {
        let (row, detach) = (self.policy()?, self.flag("detach")?);
        self.metadata()?.remove_policy(&row.id, detach).await?;
        self.changed().await?;
        Ok(Done)
    }

    pub(super) async fn create_version(&self, new: NewVersion) -> Result<Fresh<PolicyVersion>> {
        let row = self.own_policy()?;
        let (text, created) = (new.document.text(), self.now());
        check_policy(text, POLICY)?;
        let version = self.metadata()?.add_policy_version(&row.id, text, new.is_default, false, created).await?;
        self.changed().await?;
        let made = metadata::PolicyVersion { policy: row.id.clone(), version, document: text.to_owned(), created };
        Ok(Fresh(PolicyVersion::of(&made, if new.is_default { version } else { row.default_version })))
    }

    pub(super) async fn get_version(&self) -> Result<Shown<PolicyVersion>> {
        let (row, name) = (self.policy()?, self.name("version"));
        let number = number(name)?;
        let version = self.register.versions(row).find(|version| version.version == number);
        let version = version.ok_or_else(|| none(IdentityKind::PolicyVersion, name))?;
        Ok(Shown(PolicyVersion::of(version, row.default_version)))
    }

    pub(super) async fn set_default_version(&self) -> Result<Done> {
        let row = self.own_policy()?;
        self.metadata()?.set_default_policy_version(&row.id, number(self.name("version"))?).await?;
        self.changed().await?;
        Ok(Done)
    }

    pub(super) async fn delete_version(&self) -> Result<Done> {
        let row = self.own_policy()?;
        self.metadata()?.remove_policy_version(&row.id, number(self.name("version"))?).await?;
        self.changed().await?;
        Ok(Done)
    }

    /// Conditions may be about which policy it is, as IAM has it.
    pub(super) async fn attach(&self, kind: PrincipalKind, attached: bool) -> Result<Done> {
        let name = self.name("policy");
        let mut context = self.call.context.clone();
        context.add("iam:PolicyARN", self.policy_arn(name));
        let row = self.principal_called(kind, self.name(kind.name()), &context)?;
        let already = self.register.attached(&row.id);
        let policy = match attached {
            true => self.policy_row(name).await?,
            false => self.register.policy(name).cloned().ok_or_else(|| none(IdentityKind::Policy, name))?,
        };
        if attached && !already.iter().any(|other| other.id == policy.id) {
            check_attached(kind, already.len())?;
        }
        self.metadata()?.set_attachment(&row.id, &policy.id, attached).await?;
        self.changed().await?;
        Ok(Done)
    }
}
