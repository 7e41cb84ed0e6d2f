//! Accounts, users, groups, roles, policies and access keys as rows.

use std::fmt;
use std::str::FromStr;

use crate::clock::Millis;
use crate::metadata::{Error, Tags};

/// An account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountRow {
    /// 12 digits.
    pub id: String,
    /// 64 hexadecimal digits.
    pub canonical_id: String,
    /// Its name; no other's differs from it by case alone.
    pub name: String,
    /// In lower case.
    pub email: Option<String>,
    /// What of public access is blocked, as JSON.
    pub public_access_block: String,
    /// Whether it is the deployment's own.
    pub own: bool,
    /// When it was made.
    pub created: Millis,
}

/// What is to be different about an account.
#[derive(Debug, Clone, Default)]
pub struct AccountChange {
    /// Its name.
    pub name: Option<String>,
    /// Its address; `Some(None)`: none.
    pub email: Option<Option<String>>,
    /// What of public access is blocked, as JSON.
    pub public_access_block: Option<String>,
}

/// What has policies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PrincipalKind {
    /// Who has access keys.
    User,
    /// Users, who all have its policies.
    Group,
    /// What others may become for a while.
    Role,
}

impl PrincipalKind {
    /// Its name in the database and in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Group => "group",
            Self::Role => "role",
        }
    }
}

impl fmt::Display for PrincipalKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for PrincipalKind {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        [Self::User, Self::Group, Self::Role].into_iter().find(|kind| kind.name() == text).ok_or(())
    }
}

/// A user, group or role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrincipalRow {
    /// `AIDA…`, `AGPA…`, `AROA…`: never given again.
    pub id: String,
    /// The id of its account.
    pub account: String,
    /// Which of the three.
    pub kind: PrincipalKind,
    /// Its name; no other's of its kind and account differs from it by case alone.
    pub name: String,
    /// `/`, or `/a/path/`.
    pub path: String,
    /// The id of the policy that bounds it.
    pub boundary: Option<String>,
    /// Its tags.
    pub tags: Tags,
    /// Who may become a role, and for how long.
    pub trust: Option<Trust>,
    /// What it is for.
    pub description: String,
    /// When it was made.
    pub created: Millis,
}

impl PrincipalRow {
    /// Its Amazon Resource Name.
    pub fn arn(&self) -> String {
        format!("arn:aws:iam::{}:{}{}{}", self.account, self.kind, self.path, self.name)
    }
}

/// Who may become a role, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trust {
    /// The document.
    pub document: String,
    /// Seconds at most.
    pub max_session: i64,
}

/// What is to be different about a user, group or role.
#[derive(Debug, Clone, Default)]
pub struct PrincipalChange {
    /// Its name.
    pub name: Option<String>,
    /// Its path.
    pub path: Option<String>,
    /// The policy that bounds it, by id; `Some(None)`: none.
    pub boundary: Option<Option<String>>,
    /// Its tags, all of them.
    pub tags: Option<Tags>,
    /// Who may become a role, and for how long.
    pub trust: Option<Trust>,
    /// What it is for.
    pub description: Option<String>,
}

/// A policy that may be attached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyRow {
    /// `ANPA…`
    pub id: String,
    /// The id of its account.
    pub account: String,
    /// Its name; no other's of its account differs from it by case alone.
    pub name: String,
    /// `/`, or `/a/path/`.
    pub path: String,
    /// What it is for.
    pub description: String,
    /// The number of the version that counts.
    pub default_version: i64,
    /// When it was made.
    pub created: Millis,
}

/// The path of policies that are AWS's own, which have no account in their names.
pub const OF_AWS: &str = "/aws-managed/";

impl PolicyRow {
    /// Its Amazon Resource Name.
    pub fn arn(&self) -> String {
        if self.path == OF_AWS {
            return format!("arn:aws:iam::aws:policy/{}", self.name);
        }
        format!("arn:aws:iam::{}:policy{}{}", self.account, self.path, self.name)
    }
}

/// A version of a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyVersion {
    /// The policy's id.
    pub policy: String,
    /// 1 and up; never given again.
    pub version: i64,
    /// The document.
    pub document: String,
    /// When it was made.
    pub created: Millis,
}

/// A policy that belongs to one user, group or role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InlinePolicy {
    /// Whose, by id.
    pub principal: String,
    /// Its name.
    pub name: String,
    /// The document.
    pub document: String,
}

/// An access key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessKeyRow {
    /// The key.
    pub access_key: String,
    /// The id of its account.
    pub account: String,
    /// The id of the user; `None`: it is the account's own.
    pub user: Option<String>,
    /// Its secret, sealed.
    pub secret: String,
    /// Whether it can be used.
    pub active: bool,
    /// What it may do at most: a document.
    pub policy: Option<String>,
    /// What it is for.
    pub description: String,
    /// When it ends.
    pub expires: Option<Millis>,
    /// When it was made.
    pub created: Millis,
}

impl AccessKeyRow {
    /// A key of an account itself, with a sealed secret, which nothing limits.
    pub fn new(access_key: &str, account: &str, secret: String, created: Millis) -> Self {
        Self {
            access_key: access_key.to_owned(),
            account: account.to_owned(),
            user: None,
            secret,
            active: true,
            policy: None,
            description: String::new(),
            expires: None,
            created,
        }
    }
}

/// What is to be different about an access key.
#[derive(Debug, Clone, Default)]
pub struct AccessKeyChange {
    /// Whether it can be used.
    pub active: Option<bool>,
    /// What it may do at most; `Some(None)`: what its user may.
    pub policy: Option<Option<String>>,
    /// What it is for.
    pub description: Option<String>,
    /// When it ends; `Some(None)`: never.
    pub expires: Option<Option<Millis>>,
}

/// Which master key secrets are sealed under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealRow {
    /// The master key's id.
    pub key: String,
    /// Something that only it opens.
    pub check: String,
}

/// All of it, at one moment.
#[derive(Debug, Clone, Default)]
pub struct Identities {
    /// How often it was changed.
    pub generation: i64,
    /// Under which key secrets are sealed; `None` if none ever was.
    pub seal: Option<SealRow>,
    /// By id, like all that follows.
    pub accounts: Vec<AccountRow>,
    /// Users, groups and roles.
    pub principals: Vec<PrincipalRow>,
    /// Groups with their users, by ids.
    pub memberships: Vec<(String, String)>,
    /// Groups that are switched off, by id.
    pub disabled: Vec<String>,
    /// Policies.
    pub policies: Vec<PolicyRow>,
    /// Their versions.
    pub versions: Vec<PolicyVersion>,
    /// Users, groups and roles with the policies attached to them, by ids.
    pub attachments: Vec<(String, String)>,
    /// Policies of one each.
    pub inline: Vec<InlinePolicy>,
    /// Access keys.
    pub keys: Vec<AccessKeyRow>,
}

impl Identities {
    /// An account by its name, id, canonical id or address; the deployment's own without.
    pub fn account(&self, name: Option<&str>) -> Option<&AccountRow> {
        let is = |row: &&AccountRow| match name {
            None => row.own,
            Some(name) => {
                row.name.eq_ignore_ascii_case(name)
                    || row.id == name
                    || row.canonical_id == name
                    || row.email.as_deref().is_some_and(|email| email.eq_ignore_ascii_case(name))
            }
        };
        self.accounts.iter().find(is)
    }
}

/// What an identity is, where one is not there, there already, or in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdentityKind {
    /// An account.
    Account,
    /// The e-mail address of an account.
    Email,
    /// A user, group or role.
    Principal(PrincipalKind),
    /// A policy that may be attached.
    Policy,
    /// A version of one.
    PolicyVersion,
    /// A policy of one user, group or role.
    InlinePolicy,
    /// An access key.
    AccessKey,
}

impl fmt::Display for IdentityKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Account => "account",
            Self::Email => "account with the e-mail address",
            Self::Principal(kind) => kind.name(),
            Self::Policy => "policy",
            Self::PolicyVersion => "version of the policy:",
            Self::InlinePolicy => "inline policy",
            Self::AccessKey => "access key",
        })
    }
}

/// A name by which no two differ.
pub(super) fn folded(name: &str) -> String {
    name.to_ascii_lowercase()
}

pub(super) fn none(kind: IdentityKind, name: impl Into<String>) -> Error {
    Error::NoSuchIdentity { kind, name: name.into() }
}

pub(super) fn in_use(kind: IdentityKind, name: impl Into<String>, why: &'static str) -> Error {
    Error::IdentityInUse { kind, name: name.into(), why }
}
