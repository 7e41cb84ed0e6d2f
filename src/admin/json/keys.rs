//! Access keys.

use std::collections::HashMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::page::Page;
use super::{Desk, Document, Done, Fresh, Shown, none, some};
use crate::access::{Secret, names};
use crate::admin::documents::{check_description, check_policy};
use crate::admin::view::{Credentials, Key};
use crate::admin::{Problem, Register, Result};
use crate::clock::Millis;
use crate::metadata::{AccessKeyChange, AccessKeyRow, IdentityKind, PrincipalKind, PrincipalRow};

/// Characters of a key's policy at most, white space aside: what a session's may have.
const POLICY: usize = 2048;

/// An access key that is to be made.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NewKey {
    /// The user that it is for; left out: the account itself, which may do everything in it, and alone may make such a key.
    user: Option<String>,
    /// The access key; left out: a fresh one.
    access_key: Option<String>,
    /// Its secret; left out: a fresh one, which is shown.
    #[schemars(with = "Option<String>")]
    secret_key: Option<Secret>,
    /// What it may do at most; left out: what its user may.
    policy: Option<Document>,
    /// When it ends; left out: never.
    expires: Option<Millis>,
    /// What it is for.
    description: String,
}

/// What is to be different about an access key.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct KeyUpdate {
    /// Whether it is on.
    active: Option<bool>,
    /// What it may do at most; `null`: what its user may.
    #[serde(deserialize_with = "some")]
    policy: Option<Option<Document>>,
    /// When it ends; `null`: never.
    #[serde(deserialize_with = "some")]
    expires: Option<Option<Millis>>,
    /// What it is for.
    description: Option<String>,
}

fn checked(policy: &Document) -> Result<String> {
    check_policy(policy.text(), POLICY)?;
    Ok(policy.text().to_owned())
}

impl Desk<'_> {
    /// What keys of the account itself are about.
    fn root_arn(&self) -> String {
        format!("arn:aws:iam::{}:root", self.register.account)
    }

    fn holder(&self, key: &AccessKeyRow) -> Option<&PrincipalRow> {
        key.user.as_deref().and_then(|id| self.register.by_id(id))
    }

    /// The key in the path, if whoever asks may do this to a key of its user.
    fn key(&self) -> Result<&AccessKeyRow> {
        let name = self.name("key");
        let Some(key) = self.register.key(name) else {
            self.may(&self.arn("user", "/", "*"))?;
            return Err(none(IdentityKind::AccessKey, name));
        };
        match self.holder(key) {
            Some(user) => self.may(&user.arn())?,
            None => self.may(&self.root_arn())?,
        }
        Ok(key)
    }

    /// The same of one that is to be changed: one of the account itself may do more than any user is allowed.
    fn key_to_change(&self) -> Result<&AccessKeyRow> {
        let key = self.key()?;
        if key.user.is_none() {
            self.must_be_root()?
        }
        Ok(key)
    }

    fn must_be_root(&self) -> Result<()> {
        if self.call.who().is_root() {
            return Ok(());
        }
        Err(Problem::denied("keys of an account itself are changed by an account itself alone"))
    }

    /// What limits whoever asks: whatever key he makes may not do more.
    pub(super) fn limit(&self) -> Result<Option<String>> {
        let who = self.call.who();
        if who.session.is_none() {
            return Ok(None);
        }
        let own = self.register.rows().keys.iter().find(|key| key.access_key == *who.access_key);
        let policy = own.and_then(|key| key.policy.clone());
        policy.map(Some).ok_or_else(|| Problem::denied("sessions that are limited make no access keys"))
    }

    /// A new key of an account itself, the id of the master key that it is sealed under, and what is to be shown of it.
    pub(super) fn fresh_key(
        &self,
        account: &str,
        access_key: Option<String>,
        secret_key: Option<Secret>,
    ) -> Result<(AccessKeyRow, String, Credentials)> {
        let access_key = access_key.unwrap_or_else(names::fresh_access_key);
        let shown = secret_key.is_none().then(names::fresh_secret_key);
        let secret = secret_key.or_else(|| shown.clone()).unwrap_or_else(names::fresh_secret_key);
        names::key_pair(&access_key, &secret)?;
        if *self.admin.directory.root().access_key == *access_key {
            return Err(Problem::bad("ValidationError", "the access key is root's, and cannot be another's"));
        }
        let (row, seal) = self.admin.sealed(account, &access_key, &secret)?;
        Ok((row, seal, Credentials { access_key, secret_key: shown }))
    }

    pub(super) async fn list_keys(&self) -> Result<Shown<Page<Key>>> {
        let user = match self.parameter("user") {
            Some(name) => Some(self.principal_called(PrincipalKind::User, name, &self.call.context)?),
            None => None,
        };
        if user.is_none() {
            self.may(&self.root_arn())?;
        }
        let uses: HashMap<String, Millis> = self.metadata()?.key_uses().await?.into_iter().collect();
        let of = |key: &&AccessKeyRow| user.is_none_or(|user| key.user.as_deref() == Some(&*user.id));
        let keys = self.register.all_keys().filter(of);
        let show = |key: &AccessKeyRow| Key::of(key, &self.register, uses.get(&key.access_key).copied());
        Ok(Shown(self.page(keys, |key| &key.access_key, show)?))
    }

    async fn shown(&self, access_key: &str, register: &Register) -> Result<Key> {
        let uses = self.metadata()?.key_uses().await?;
        let used = uses.into_iter().find(|(key, _)| key == access_key).map(|(_, at)| at);
        let key = register.key(access_key).ok_or_else(|| none(IdentityKind::AccessKey, access_key))?;
        Ok(Key::of(key, register, used))
    }

    pub(super) async fn get_key(&self) -> Result<Shown<Key>> {
        let key = self.key()?;
        Ok(Shown(self.shown(&key.access_key, &self.register).await?))
    }

    pub(super) async fn create_key(&self, new: NewKey) -> Result<Fresh<Credentials>> {
        let NewKey { user, access_key, secret_key, policy, expires, description } = new;
        let user = match &user {
            Some(name) => Some(self.principal_called(PrincipalKind::User, name, &self.call.context)?),
            None => None,
        };
        if user.is_none() {
            self.may(&self.root_arn())?;
            self.must_be_root()?;
        }
        check_description(&description)?;
        if expires.is_some_and(|at| at <= self.now()) {
            return Err(Problem::bad("ValidationError", "a key ends in the future"));
        }
        let policy = match (policy.as_ref().map(checked).transpose()?, self.limit()?) {
            // One key has one policy.
            (Some(_), Some(_)) => return Err(Problem::denied("a limited access key makes none with another policy")),
            (own, limit) => own.or(limit),
        };
        let (row, seal, shown) = self.fresh_key(&self.register.account, access_key, secret_key)?;
        // To MinIO's tools a key of a user's name is the user.
        let of_another = self.register.principal(PrincipalKind::User, &row.access_key);
        if of_another.is_some_and(|other| user.is_none_or(|user| user.id != other.id)) {
            return Err(Problem::bad("ValidationError", "the access key is the name of another user"));
        }
        let user = user.map(|user| user.id.clone());
        let row = AccessKeyRow { user, policy, expires, description, ..row };
        self.metadata()?.create_access_key(&row, &seal).await?;
        self.changed().await?;
        Ok(Fresh(shown))
    }

    pub(super) async fn update_key(&self, new: KeyUpdate) -> Result<Shown<Key>> {
        let key = self.key_to_change()?;
        let KeyUpdate { active, policy, expires, description } = new;
        // What limits a key is lifted by nobody who is limited.
        if self.call.who().session.is_some() && (policy.is_some() || expires.is_some()) {
            return Err(Problem::denied("whoever is limited does not change what limits a key"));
        }
        description.as_deref().map_or(Ok(()), check_description)?;
        let policy = match policy {
            Some(policy) => Some(policy.as_ref().map(checked).transpose()?),
            None => None,
        };
        let change = AccessKeyChange { active, policy, description, expires };
        self.metadata()?.change_access_key(&key.access_key, &change).await?;
        Ok(Shown(self.shown(&key.access_key, &self.changed().await?).await?))
    }

    pub(super) async fn delete_key(&self) -> Result<Done> {
        let key = self.key_to_change()?;
        self.metadata()?.remove_access_key(&key.access_key).await?;
        self.changed().await?;
        Ok(Done)
    }
}
