//! Who there is in one account, and what belongs to whom.

use std::sync::Arc;

use crate::access::names;
use crate::access::policy::builtin;
use crate::clock::Millis;
use crate::metadata::{
    self, AccessKeyRow, Error, Identities, IdentityKind, InlinePolicy, Metadata, PolicyRow, PolicyVersion,
    PrincipalKind, PrincipalRow,
};

/// Everybody of an account.
#[derive(Debug, Clone)]
pub struct Register {
    rows: Arc<Identities>,
    /// The account's id.
    pub account: String,
}

impl Register {
    /// Of an account, by its id.
    pub fn new(rows: Arc<Identities>, account: &str) -> Self {
        Self { rows, account: account.to_owned() }
    }

    /// The same of another account.
    #[must_use]
    pub fn of(&self, account: &str) -> Self {
        Self { rows: Arc::clone(&self.rows), account: account.to_owned() }
    }

    /// All of a kind, by name.
    pub fn all(&self, kind: PrincipalKind) -> Vec<&PrincipalRow> {
        let mut all: Vec<&PrincipalRow> =
            self.rows.principals.iter().filter(|row| row.kind == kind && row.account == self.account).collect();
        all.sort_unstable_by_key(|row| row.name.to_ascii_lowercase());
        all
    }

    /// One by its name.
    pub fn principal(&self, kind: PrincipalKind, name: &str) -> Option<&PrincipalRow> {
        let of = |row: &&PrincipalRow| row.account == self.account && row.kind == kind;
        self.rows.principals.iter().filter(of).find(|row| row.name.eq_ignore_ascii_case(name))
    }

    /// One by its id.
    pub fn by_id(&self, id: &str) -> Option<&PrincipalRow> {
        self.rows.principals.iter().find(|row| row.id == id && row.account == self.account)
    }

    /// All policies, by name.
    pub fn policies(&self) -> Vec<&PolicyRow> {
        let mut all: Vec<&PolicyRow> = self.rows.policies.iter().filter(|row| row.account == self.account).collect();
        all.sort_unstable_by_key(|row| row.name.to_ascii_lowercase());
        all
    }

    /// A policy by its name or Amazon Resource Name.
    pub fn policy(&self, name: &str) -> Option<&PolicyRow> {
        let is = |row: &&PolicyRow| row.name.eq_ignore_ascii_case(name) || row.arn() == name;
        self.rows.policies.iter().filter(|row| row.account == self.account).find(is)
    }

    /// The same; a policy that every deployment has is made in the account when it is first wanted.
    ///
    /// # Errors
    /// [`Error::NoSuchIdentity`]
    pub async fn policy_or_builtin(&self, metadata: &Metadata, name: &str, now: Millis) -> metadata::Result<PolicyRow> {
        let none = || Error::NoSuchIdentity { kind: IdentityKind::Policy, name: name.to_owned() };
        if let Some(row) = self.policy(name) {
            return Ok(row.clone());
        }
        let (name, document) = builtin(name).ok_or_else(none)?;
        let row = names::fresh_policy(&self.account, name, now).map_err(|_| none())?;
        let row = PolicyRow { description: "built in".to_owned(), ..row };
        match metadata.create_policy(&row, document).await {
            Ok(()) => Ok(row),
            // Somebody else was faster.
            Err(Error::IdentityExists { .. }) => {
                let register = Self::new(Arc::new(metadata.identities().await?), &self.account);
                register.policy(name).cloned().ok_or_else(none)
            }
            Err(error) => Err(error),
        }
    }

    /// A policy by its id.
    pub fn policy_by_id(&self, id: &str) -> Option<&PolicyRow> {
        self.rows.policies.iter().find(|row| row.id == id && row.account == self.account)
    }

    /// The versions of a policy, the oldest first.
    pub fn versions<'a>(&'a self, policy: &'a PolicyRow) -> impl DoubleEndedIterator<Item = &'a PolicyVersion> {
        self.rows.versions.iter().filter(move |version| version.policy == policy.id)
    }

    /// What a policy says.
    pub fn document<'a>(&'a self, policy: &'a PolicyRow) -> &'a str {
        let version = self.versions(policy).find(|version| version.version == policy.default_version);
        version.map_or("", |version| &version.document)
    }

    /// The policies that are attached to somebody, by name.
    pub fn attached(&self, principal: &str) -> Vec<&PolicyRow> {
        let of = self.rows.attachments.iter().filter(|(who, _)| who == principal);
        let mut all: Vec<&PolicyRow> = of.filter_map(|(_, policy)| self.policy_by_id(policy)).collect();
        all.sort_unstable_by_key(|row| row.name.to_ascii_lowercase());
        all
    }

    /// All that a policy is attached to, by name.
    pub fn holders(&self, policy: &str, kind: PrincipalKind) -> Vec<&PrincipalRow> {
        let of = |row: &&PrincipalRow| self.rows.attachments.iter().any(|(who, what)| *who == row.id && what == policy);
        self.all(kind).into_iter().filter(of).collect()
    }

    /// The policies of its own that somebody has, by name.
    pub fn inline<'a>(&'a self, principal: &'a str) -> impl Iterator<Item = &'a InlinePolicy> {
        self.rows.inline.iter().filter(move |policy| policy.principal == principal)
    }

    /// The groups that a user is in, by name.
    pub fn groups(&self, user: &str) -> Vec<&PrincipalRow> {
        let of = |row: &&PrincipalRow| self.rows.memberships.iter().any(|(group, who)| *group == row.id && who == user);
        self.all(PrincipalKind::Group).into_iter().filter(of).collect()
    }

    /// Whether a group is on.
    pub fn is_on(&self, group: &str) -> bool {
        !self.rows.disabled.iter().any(|off| off == group)
    }

    /// The users in a group, by name.
    pub fn members(&self, group: &str) -> Vec<&PrincipalRow> {
        let of = |row: &&PrincipalRow| self.rows.memberships.iter().any(|(of, who)| of == group && *who == row.id);
        self.all(PrincipalKind::User).into_iter().filter(of).collect()
    }

    /// The access keys of a user, or of the account itself.
    pub fn keys<'a>(&'a self, user: Option<&'a str>) -> impl Iterator<Item = &'a AccessKeyRow> {
        self.rows.keys.iter().filter(move |key| key.account == self.account && key.user.as_deref() == user)
    }

    /// All access keys, by their names.
    pub fn all_keys(&self) -> impl Iterator<Item = &AccessKeyRow> {
        self.rows.keys.iter().filter(|key| key.account == self.account)
    }

    /// An access key.
    pub fn key(&self, access_key: &str) -> Option<&AccessKeyRow> {
        self.rows.keys.iter().find(|key| key.access_key == access_key && key.account == self.account)
    }

    /// Everything, of all accounts.
    pub fn rows(&self) -> &Identities {
        &self.rows
    }
}
