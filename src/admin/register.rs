//! Who there is in one account, and what belongs to whom.

use std::sync::Arc;

use crate::access::policy::BUILTIN;
use crate::metadata::{AccessKeyRow, Identities, InlinePolicy, PolicyRow, PolicyVersion, PrincipalKind, PrincipalRow};

/// Everybody of an account.
#[derive(Debug, Clone)]
pub(super) struct Register {
    rows: Arc<Identities>,
    /// The account's id.
    pub(super) account: String,
}

/// `arn:aws:iam::ACCOUNT:user/path/name`
pub(super) fn arn_of(row: &PrincipalRow) -> String {
    format!("arn:aws:iam::{}:{}{}{}", row.account, row.kind, row.path, row.name)
}

impl Register {
    pub(super) fn new(rows: Arc<Identities>, account: &str) -> Self {
        Self { rows, account: account.to_owned() }
    }

    /// All of a kind, by name.
    pub(super) fn all(&self, kind: PrincipalKind) -> Vec<&PrincipalRow> {
        let mut all: Vec<&PrincipalRow> =
            self.rows.principals.iter().filter(|row| row.kind == kind && row.account == self.account).collect();
        all.sort_unstable_by_key(|row| row.name.to_ascii_lowercase());
        all
    }

    /// One by its name.
    pub(super) fn principal(&self, kind: PrincipalKind, name: &str) -> Option<&PrincipalRow> {
        let of = |row: &&PrincipalRow| row.account == self.account && row.kind == kind;
        self.rows.principals.iter().filter(of).find(|row| row.name.eq_ignore_ascii_case(name))
    }

    /// One by its id.
    pub(super) fn by_id(&self, id: &str) -> Option<&PrincipalRow> {
        self.rows.principals.iter().find(|row| row.id == id && row.account == self.account)
    }

    /// All policies, by name.
    pub(super) fn policies(&self) -> Vec<&PolicyRow> {
        let mut all: Vec<&PolicyRow> = self.rows.policies.iter().filter(|row| row.account == self.account).collect();
        all.sort_unstable_by_key(|row| row.name.to_ascii_lowercase());
        all
    }

    /// A policy by its name.
    pub(super) fn policy(&self, name: &str) -> Option<&PolicyRow> {
        let of = |row: &&PolicyRow| row.account == self.account && row.name.eq_ignore_ascii_case(name);
        self.rows.policies.iter().find(of)
    }

    /// A policy by its id.
    pub(super) fn policy_by_id(&self, id: &str) -> Option<&PolicyRow> {
        self.rows.policies.iter().find(|row| row.id == id && row.account == self.account)
    }

    /// The versions of a policy, the oldest first.
    pub(super) fn versions<'a>(&'a self, policy: &'a PolicyRow) -> impl DoubleEndedIterator<Item = &'a PolicyVersion> {
        self.rows.versions.iter().filter(move |version| version.policy == policy.id)
    }

    /// What a policy says.
    pub(super) fn document<'a>(&'a self, policy: &'a PolicyRow) -> &'a str {
        let version = self.versions(policy).find(|version| version.version == policy.default_version);
        version.map_or("", |version| &version.document)
    }

    /// The policies that are attached to somebody, by name.
    pub(super) fn attached(&self, principal: &str) -> Vec<&PolicyRow> {
        let of = self.rows.attachments.iter().filter(|(who, _)| who == principal);
        let mut all: Vec<&PolicyRow> = of.filter_map(|(_, policy)| self.policy_by_id(policy)).collect();
        all.sort_unstable_by_key(|row| row.name.to_ascii_lowercase());
        all
    }

    /// All that a policy is attached to, by name.
    pub(super) fn holders(&self, policy: &str, kind: PrincipalKind) -> Vec<&PrincipalRow> {
        let of = |row: &&PrincipalRow| self.rows.attachments.iter().any(|(who, what)| *who == row.id && what == policy);
        self.all(kind).into_iter().filter(of).collect()
    }

    /// The policies of its own that somebody has, by name.
    pub(super) fn inline<'a>(&'a self, principal: &'a str) -> impl Iterator<Item = &'a InlinePolicy> {
        self.rows.inline.iter().filter(move |policy| policy.principal == principal)
    }

    /// The groups that a user is in, by name.
    pub(super) fn groups(&self, user: &str) -> Vec<&PrincipalRow> {
        let of = |row: &&PrincipalRow| self.rows.memberships.iter().any(|(group, who)| *group == row.id && who == user);
        self.all(PrincipalKind::Group).into_iter().filter(of).collect()
    }

    /// The users in a group, by name.
    pub(super) fn members(&self, group: &str) -> Vec<&PrincipalRow> {
        let of = |row: &&PrincipalRow| self.rows.memberships.iter().any(|(of, who)| of == group && *who == row.id);
        self.all(PrincipalKind::User).into_iter().filter(of).collect()
    }

    /// The access keys of a user, or of the account itself.
    pub(super) fn keys<'a>(&'a self, user: Option<&'a str>) -> impl Iterator<Item = &'a AccessKeyRow> {
        self.rows.keys.iter().filter(move |key| key.account == self.account && key.user.as_deref() == user)
    }

    /// An access key.
    pub(super) fn key(&self, access_key: &str) -> Option<&AccessKeyRow> {
        self.rows.keys.iter().find(|key| key.access_key == access_key && key.account == self.account)
    }

    /// Everything, of all accounts.
    pub(super) fn rows(&self) -> &Identities {
        &self.rows
    }
}

/// The document of a policy that every deployment has, by its name.
pub(super) fn builtin(name: &str) -> Option<&'static str> {
    BUILTIN.iter().find(|(known, _)| *known == name).map(|(_, document)| *document)
}
