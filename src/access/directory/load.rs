//! From rows to identities.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use super::super::policy::{Policy, PolicyError, PolicyKind};
use super::super::seal::{Keyring, SealError};
use super::super::{Account, Identity, Kind, PublicAccessBlock, Secret};
use super::{Key, Known, LastUse, policy_name};
use crate::clock::Millis;
use crate::metadata::{AccessKeyRow, AccountRow, Identities, PrincipalKind, PrincipalRow, SealRow};

/// What stands in for a policy that cannot be read.
static DENY_ALL: LazyLock<Result<Arc<Policy>, PolicyError>> = LazyLock::new(|| {
    let text = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"*","Resource":"*"}]}"#;
    Policy::parse(text, PolicyKind::Identity).map(Arc::new)
});

/// What was read last, with the policies that need not be read again where they are the same.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    generation: Option<i64>,
    /// The master key that secrets are sealed under, if it was not there.
    wanted: Option<SealRow>,
    policies: Policies,
    /// The secrets of access keys, with when those were made: the secret of a key never changes.
    secrets: HashMap<String, (Millis, Secret)>,
}

impl Loaded {
    pub(super) fn generation(&self) -> Option<i64> {
        self.generation
    }

    pub(super) fn wanted(&self) -> Option<&SealRow> {
        self.wanted.as_ref()
    }

    /// What is known from now on. `before` is what was: the last uses of its keys go on. `wanted`: the master key that is not there.
    pub(super) fn next(
        &self,
        rows: Identities,
        wanted: Option<SealRow>,
        keyring: &Keyring,
        before: &(Arc<Key>, Arc<Known>),
    ) -> (Self, Known) {
        let (mut policies, mut secrets) = (Policies::default(), HashMap::new());
        let mut known = Known::default();
        let mut accounts = HashMap::new();
        for row in &rows.accounts {
            let account = Arc::new(account(row));
            accounts.insert(row.id.as_str(), Arc::clone(&account));
            if row.own { known.set_own(account) } else { known.add_account(account) }
        }
        let of_principals = Owned::new(&rows);
        let mut reader = Reader { from: &self.policies, to: &mut policies };
        for row in rows.principals.iter().filter(|row| row.kind != PrincipalKind::Group) {
            let account = accounts.get(row.account.as_str());
            if let Some(identity) = account.and_then(|account| principal(account, row, &of_principals, &mut reader)) {
                known.principals.insert(row.id.as_str().into(), identity);
            }
        }
        for row in &rows.policies {
            known.named.insert(policy_name(&row.account, &row.name), row.id.as_str().into());
        }
        for (id, (what, text)) in &of_principals.policies {
            if let Some(policy) = reader.read(text, what) {
                known.policies.insert((*id).into(), policy);
            }
        }
        for row in &rows.keys {
            let Some(account) = accounts.get(row.account.as_str()) else { continue };
            let identity = match row.user.as_deref() {
                None => Some(Identity::root(Arc::clone(account), row.access_key.as_str())),
                Some(id) => {
                    let user = known.principals.get(id).filter(|who| matches!(who.kind, Kind::User { .. })).cloned();
                    user.map(|user| Identity { access_key: row.access_key.as_str().into(), ..user })
                }
            };
            let secret = self.secret(row, keyring);
            let key = identity.zip(secret).and_then(|(identity, secret)| key(row, identity, secret, &mut reader));
            let Some(mut key) = key else { continue };
            secrets.insert(row.access_key.clone(), (row.created, key.secret.clone()));
            if let Some(old) = before.1.keys.get(row.access_key.as_str()) {
                key.used = LastUse::clone(&old.used);
            }
            if row.access_key == *before.0.identity.access_key {
                tracing::error!(access_key = row.access_key, "this access key is root's, and cannot be another's");
            }
            known.add_key(key);
        }
        let generation = Some(rows.generation);
        known.rows = Arc::new(rows);
        (Self { generation, wanted, policies, secrets }, known)
    }

    /// The secret of an access key, opened, or as it was known before if that cannot be done now.
    fn secret(&self, row: &AccessKeyRow, keyring: &Keyring) -> Option<Secret> {
        match keyring.unseal(&row.secret, &row.access_key) {
            Ok(secret) => Some(secret),
            Err(error) => {
                let before = self.secrets.get(&row.access_key).filter(|(created, _)| *created == row.created);
                let kept = matches!(error, SealError::Other { .. }).then_some(before).flatten();
                if kept.is_none() {
                    tracing::error!(access_key = row.access_key, %error, "this access key cannot be used");
                }
                kept.map(|(_, secret)| secret.clone())
            }
        }
    }
}

fn account(row: &AccountRow) -> Account {
    let block = serde_json::from_str(&row.public_access_block).unwrap_or_else(|error| {
        tracing::error!(account = row.id, %error, "what this account blocks cannot be read: all of public access is blocked");
        PublicAccessBlock::ALL
    });
    Account {
        id: row.id.as_str().into(),
        canonical_id: row.canonical_id.as_str().into(),
        name: row.name.as_str().into(),
        email: row.email.as_deref().map(Into::into),
        public_access_block: block,
    }
}

/// Policies by their text, and by the names that decisions know them by: of one text all share what it says.
#[derive(Debug, Default)]
struct Policies(HashMap<String, HashMap<String, Arc<Policy>>>);

impl Policies {
    fn find(&self, text: &str, name: &str) -> Option<&Arc<Policy>> {
        self.0.get(text)?.get(name)
    }

    fn of_text(&self, text: &str) -> Option<&Policy> {
        Some(self.0.get(text)?.values().next()?)
    }

    fn add(&mut self, text: &str, name: String, policy: &Arc<Policy>) {
        self.0.entry(text.to_owned()).or_default().insert(name, Arc::clone(policy));
    }
}

/// Reads policies, but for those that were read before.
struct Reader<'a> {
    from: &'a Policies,
    to: &'a mut Policies,
}

impl Reader<'_> {
    /// A policy; one that cannot be read denies everything. `None` if not even that can be said.
    fn read(&mut self, text: &str, what: &dyn std::fmt::Display) -> Option<Arc<Policy>> {
        let name = what.to_string();
        if let Some(policy) = self.to.find(text, &name).or_else(|| self.from.find(text, &name)) {
            let policy = Arc::clone(policy);
            self.to.add(text, name, &policy);
            return Some(policy);
        }
        let known = self.to.of_text(text).or_else(|| self.from.of_text(text));
        match known.map_or_else(|| Policy::parse(text, PolicyKind::Identity), |known| Ok(known.clone())) {
            Ok(policy) => {
                let policy = Arc::new(policy.named(name.as_str()));
                self.to.add(text, name, &policy);
                Some(policy)
            }
            Err(error) => {
                tracing::error!(%what, %error, "this policy cannot be read and denies everything");
                Some(Arc::new(DENY_ALL.as_ref().ok()?.named(name)))
            }
        }
    }
}

/// The documents of users, groups and roles, and the groups of users.
struct Owned<'a> {
    documents: HashMap<&'a str, Vec<(String, &'a str)>>,
    groups: HashMap<&'a str, Vec<&'a str>>,
    /// The versions that count, by the policies' ids, with their names.
    policies: HashMap<&'a str, (String, &'a str)>,
}

impl<'a> Owned<'a> {
    fn new(rows: &'a Identities) -> Self {
        let versions: HashMap<(&str, i64), &str> = rows
            .versions
            .iter()
            .map(|version| ((version.policy.as_str(), version.version), version.document.as_str()))
            .collect();
        let policies: HashMap<&str, (String, &str)> = rows
            .policies
            .iter()
            // Without a version that counts it says nothing, and is none that can be read.
            .map(|row| {
                let document = versions.get(&(row.id.as_str(), row.default_version)).copied().unwrap_or_default();
                (row.id.as_str(), (row.arn(), document))
            })
            .collect();
        let mut documents: HashMap<&str, Vec<(String, &str)>> = HashMap::new();
        for row in &rows.inline {
            let what = format!("{} of {}", row.name, row.principal);
            documents.entry(&row.principal).or_default().push((what, &row.document));
        }
        for (principal, policy) in &rows.attachments {
            documents.entry(principal).or_default().extend(policies.get(policy.as_str()).cloned());
        }
        let mut groups: HashMap<&str, Vec<&str>> = HashMap::new();
        // What a group says that is switched off counts for nothing, be it to deny.
        let is_on = |group: &String| !rows.disabled.contains(group);
        for (group, user) in rows.memberships.iter().filter(|(group, _)| is_on(group)) {
            groups.entry(user).or_default().push(group);
        }
        Self { documents, groups, policies }
    }
}

/// A user or role, without an access key; `None` if it cannot be said what it may do.
fn principal(account: &Arc<Account>, row: &PrincipalRow, all: &Owned<'_>, reader: &mut Reader<'_>) -> Option<Identity> {
    let (id, name, path): (Arc<str>, Arc<str>, Arc<str>) =
        (row.id.as_str().into(), row.name.as_str().into(), row.path.as_str().into());
    let kind = match row.kind {
        PrincipalKind::User => Kind::User { id, name, path },
        PrincipalKind::Role => Kind::Role { id, name, path, session: "".into() },
        PrincipalKind::Group => return None,
    };
    let groups = all.groups.get(row.id.as_str()).into_iter().flatten().copied();
    let documents = std::iter::once(row.id.as_str()).chain(groups).filter_map(|id| all.documents.get(id)).flatten();
    let policies = documents.map(|(what, text)| reader.read(text, what)).collect::<Option<Vec<_>>>()?;
    let boundary = match &row.boundary {
        Some(id) => {
            let (what, text) = all.policies.get(id.as_str())?;
            Some(reader.read(text, what)?)
        }
        None => None,
    };
    Some(Identity {
        account: Arc::clone(account),
        kind,
        access_key: "".into(),
        policies: policies.into(),
        boundary,
        session: None,
        federation: None,
    })
}

/// An access key; `None` if it cannot be said what it may do.
fn key(row: &AccessKeyRow, mut identity: Identity, secret: Secret, reader: &mut Reader<'_>) -> Option<Key> {
    if let Some(text) = &row.policy {
        let what = format!("that of access key {}", row.access_key);
        identity.session = Some(vec![reader.read(text, &what)?].into());
    }
    Some(Key { active: row.active, expires: row.expires, ..Key::new(identity, secret) })
}
