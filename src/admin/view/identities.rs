//! Who there is.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::document;
use crate::access::{PublicAccessBlock, Secret};
use crate::admin::Register;
use crate::clock::Millis;
use crate::metadata::{self, AccessKeyRow, AccountRow, PolicyRow, PrincipalKind, PrincipalRow, Tags};

/// An account.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Account {
    /// 12 digits.
    pub id: String,
    /// 64 hexadecimal digits, as S3 names the owner of what it has.
    pub canonical_id: String,
    /// Its name, unique without regard to case.
    pub name: String,
    /// Its e-mail address.
    pub email: Option<String>,
    /// Whether it is the deployment's own.
    pub own: bool,
    /// What of public access is blocked in all its buckets.
    pub public_access_block: PublicAccessBlock,
    /// When it was made.
    pub created: Millis,
}

impl From<&AccountRow> for Account {
    fn from(row: &AccountRow) -> Self {
        Self {
            id: row.id.clone(),
            canonical_id: row.canonical_id.clone(),
            name: row.name.clone(),
            email: row.email.clone(),
            own: row.own,
            // What cannot be read is taken for the strictest, as where it counts.
            public_access_block: serde_json::from_str(&row.public_access_block).unwrap_or(PublicAccessBlock::ALL),
            created: row.created,
        }
    }
}

/// An account, and who is in it.
#[derive(Debug, Serialize, JsonSchema)]
pub struct AccountDetails {
    /// The account.
    #[serde(flatten)]
    pub account: Account,
    /// The names of its users, groups and roles.
    pub principals: Vec<String>,
    /// The access keys of the account itself.
    pub keys: Vec<String>,
}

impl AccountDetails {
    /// Of an account and who is in it.
    pub fn of(row: &AccountRow, register: &Register) -> Self {
        let kinds = [PrincipalKind::User, PrincipalKind::Group, PrincipalKind::Role];
        let principals = kinds.into_iter().flat_map(|kind| register.all(kind));
        Self {
            account: row.into(),
            principals: principals.map(|row| row.name.clone()).collect(),
            keys: register.keys(None).map(|key| key.access_key.clone()).collect(),
        }
    }
}

/// An account that was made, with an access key that may do everything in it.
#[derive(Debug, Serialize, JsonSchema)]
pub struct NewAccount {
    /// The account.
    #[serde(flatten)]
    pub account: Account,
    /// Its access key.
    pub key: Credentials,
}

/// An access key that was made.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Credentials {
    /// The access key.
    pub access_key: String,
    /// Its secret, if it was made up here. It is shown this once.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "exposed")]
    #[schemars(with = "Option<String>")]
    pub secret_key: Option<Secret>,
}

fn exposed<S: serde::Serializer>(secret: &Option<Secret>, serializer: S) -> Result<S::Ok, S::Error> {
    secret.as_ref().map(Secret::expose).serialize(serializer)
}

/// A user, group or role.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Principal {
    /// `AIDA...`, `AGPA...` or `AROA...`, never given again.
    pub id: String,
    /// Its Amazon Resource Name.
    pub arn: String,
    /// Its name, unique among those of its kind in its account.
    pub name: String,
    /// `/`, or `/a/path/`.
    pub path: String,
    /// What it is for.
    pub description: String,
    /// When it was made.
    pub created: Millis,
}

impl From<&PrincipalRow> for Principal {
    fn from(row: &PrincipalRow) -> Self {
        Self {
            id: row.id.clone(),
            arn: row.arn(),
            name: row.name.clone(),
            path: row.path.clone(),
            description: row.description.clone(),
            created: row.created,
        }
    }
}

/// A user, group or role with all that belongs to it.
#[derive(Debug, Serialize, JsonSchema)]
pub struct PrincipalDetails {
    /// The user, group or role.
    #[serde(flatten)]
    pub principal: Principal,
    /// Its tags.
    pub tags: Tags,
    /// The policy that says what it may do at most, by its Amazon Resource Name.
    pub boundary: Option<String>,
    /// The names of the policies that are attached to it.
    pub attached: Vec<String>,
    /// The policies of its own, by name.
    pub policies: BTreeMap<String, Value>,
    /// Of a user: the groups that it is in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub groups: Option<Vec<String>>,
    /// Of a user: its access keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keys: Option<Vec<String>>,
    /// Of a group: its users.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub users: Option<Vec<String>>,
    /// Of a group: whether it is on. While it is off its policies count for nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Of a role: who may take it, as a policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trust: Option<Value>,
    /// Of a role: seconds that one may have it for, at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_session: Option<i64>,
}

fn names<'a>(rows: impl IntoIterator<Item = &'a PrincipalRow>) -> Vec<String> {
    rows.into_iter().map(|row| row.name.clone()).collect()
}

impl PrincipalDetails {
    /// Of somebody in an account.
    pub fn of(row: &PrincipalRow, register: &Register) -> Self {
        let (is_user, is_group) = (row.kind == PrincipalKind::User, row.kind == PrincipalKind::Group);
        let boundary = row.boundary.as_deref().and_then(|id| register.policy_by_id(id));
        Self {
            principal: row.into(),
            tags: row.tags.clone(),
            boundary: boundary.map(PolicyRow::arn),
            attached: register.attached(&row.id).into_iter().map(|policy| policy.name.clone()).collect(),
            policies: register
                .inline(&row.id)
                .map(|policy| (policy.name.clone(), document(&policy.document)))
                .collect(),
            groups: is_user.then(|| names(register.groups(&row.id))),
            keys: is_user.then(|| register.keys(Some(&row.id)).map(|key| key.access_key.clone()).collect()),
            users: is_group.then(|| names(register.members(&row.id))),
            enabled: is_group.then(|| register.is_on(&row.id)),
            trust: row.trust.as_ref().map(|trust| document(&trust.document)),
            max_session: row.trust.as_ref().map(|trust| trust.max_session),
        }
    }
}

/// A policy that can be attached.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Policy {
    /// `ANPA...`
    pub id: String,
    /// Its Amazon Resource Name.
    pub arn: String,
    /// Its name, unique in its account.
    pub name: String,
    /// `/`, or `/a/path/`.
    pub path: String,
    /// What it is for.
    pub description: String,
    /// The version that counts: `v1`.
    pub default_version: String,
    /// When it was made.
    pub created: Millis,
}

impl From<&PolicyRow> for Policy {
    fn from(row: &PolicyRow) -> Self {
        Self {
            id: row.id.clone(),
            arn: row.arn(),
            name: row.name.clone(),
            path: row.path.clone(),
            description: row.description.clone(),
            default_version: format!("v{}", row.default_version),
            created: row.created,
        }
    }
}

/// A policy, what it says, and whom it is attached to.
#[derive(Debug, Serialize, JsonSchema)]
pub struct PolicyDetails {
    /// The policy.
    #[serde(flatten)]
    pub policy: Policy,
    /// What the version that counts says.
    pub document: Value,
    /// Its versions, the oldest first.
    pub versions: Vec<String>,
    /// Whom it is attached to: `user/name`, `group/name`, `role/name`.
    pub attached: Vec<String>,
}

impl PolicyDetails {
    /// Of a policy in an account.
    pub fn of(row: &PolicyRow, register: &Register) -> Self {
        let kinds = [PrincipalKind::User, PrincipalKind::Group, PrincipalKind::Role];
        let holders = kinds.into_iter().flat_map(|kind| register.holders(&row.id, kind));
        Self {
            policy: row.into(),
            document: document(register.document(row)),
            versions: register.versions(row).map(|version| format!("v{}", version.version)).collect(),
            attached: holders.map(|row| format!("{}/{}", row.kind, row.name)).collect(),
        }
    }
}

/// A version of a policy.
#[derive(Debug, Serialize, JsonSchema)]
pub struct PolicyVersion {
    /// `v1`
    pub version: String,
    /// Whether it is the one that counts.
    pub is_default: bool,
    /// What it says.
    pub document: Value,
    /// When it was made.
    pub created: Millis,
}

impl PolicyVersion {
    /// Of a policy of which the version `default` counts.
    pub fn of(row: &metadata::PolicyVersion, default: i64) -> Self {
        Self {
            version: format!("v{}", row.version),
            is_default: row.version == default,
            document: document(&row.document),
            created: row.created,
        }
    }
}

/// An access key. Its secret is shown to nobody.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Key {
    /// The access key.
    pub access_key: String,
    /// The user that it is of; none: the account itself.
    pub user: Option<String>,
    /// Whether it is on.
    pub active: bool,
    /// When it was made.
    pub created: Millis,
    /// When it ends.
    pub expires: Option<Millis>,
    /// When it was used last, to the minute.
    pub last_used: Option<Millis>,
    /// What it is for.
    pub description: String,
    /// What it may do at most, as a policy.
    pub policy: Option<Value>,
}

impl Key {
    /// Of a key in an account, and when it was used last.
    pub fn of(row: &AccessKeyRow, register: &Register, last_used: Option<Millis>) -> Self {
        let user = row.user.as_deref().and_then(|id| register.by_id(id));
        Self {
            access_key: row.access_key.clone(),
            user: user.map(|user| user.name.clone()),
            active: row.active,
            created: row.created,
            expires: row.expires,
            last_used,
            description: row.description.clone(),
            policy: row.policy.as_deref().map(document),
        }
    }
}
