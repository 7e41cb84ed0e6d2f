//! `mc admin accesskey`, and `mc admin user svcacct`.

use std::collections::BTreeMap;

use http::StatusCode;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{Answer, Desk, changed, denied, done, none};
use crate::access::policy::{Policy, PolicyKind};
use crate::access::{Secret, names};
use crate::admin::{Problem, Result};
use crate::clock::Millis;
use crate::metadata::{AccessKeyChange, AccessKeyRow, IdentityKind, PrincipalKind};

/// `AddServiceAccountReq`
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct NewKey {
    policy: Option<Box<RawValue>>,
    target_user: String,
    access_key: String,
    secret_key: String,
    name: String,
    description: String,
    expiration: Option<String>,
}

/// `UpdateServiceAccountReq`
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct Update {
    new_policy: Option<Box<RawValue>>,
    new_secret_key: String,
    new_status: String,
    new_name: String,
    new_description: String,
    new_expiration: Option<String>,
}

/// A policy that was sent; `None` if none was, or an empty one, which limits nothing.
fn policy_of(sent: Option<&RawValue>) -> Result<Option<String>> {
    let Some(text) = sent.map(RawValue::get).filter(|text| !matches!(*text, "null" | "{}" | "\"\"")) else {
        return Ok(None);
    };
    Policy::parse(text, PolicyKind::Identity).map_err(|error| Problem::document("XMinioMalformedIAMPolicy", error))?;
    Ok(Some(text.to_owned()))
}

/// When a key is to end; the beginning of Unix time, and of Go's, is never.
fn end_of(sent: Option<&str>, now: Millis) -> Result<Option<Millis>> {
    let Some(sent) = sent.filter(|sent| !sent.is_empty()) else { return Ok(None) };
    let at = OffsetDateTime::parse(sent, &Rfc3339)
        .map_err(|_| Problem::bad("InvalidArgument", "the expiration is no time"))?
        .unix_timestamp()
        .saturating_mul(1000);
    match at {
        ..=0 => Ok(None),
        at if at <= now => Err(Problem::bad("InvalidArgument", "the expiration time should be in the future")),
        at => Ok(Some(at)),
    }
}

fn described(name: &str, description: &str) -> Result<String> {
    let legible = |text: &str| !text.contains(|c: char| c.is_control());
    if name.len() > 32 || description.len() > 256 || !legible(name) || !legible(description) {
        return Err(Problem::bad("InvalidArgument", "a name has at most 32 bytes, a description 256, in one line"));
    }
    Ok(if name.is_empty() { description.to_owned() } else { format!("{name}\n{description}") })
}

/// Name and description of a key.
fn description(key: &AccessKeyRow) -> (&str, &str) {
    key.description.split_once('\n').unwrap_or(("", &key.description))
}

impl Desk<'_> {
    /// Who a key is of, as MinIO calls him.
    fn parent(&self, key: &AccessKeyRow) -> String {
        let user = key.user.as_deref().and_then(|id| self.register.by_id(id));
        user.map_or_else(|| self.admin.directory.root().access_key.to_string(), |user| user.name.clone())
    }

    /// Whether a key is a user itself.
    fn is_user(&self, key: &AccessKeyRow) -> bool {
        key.user.is_some() && self.parent(key) == key.access_key
    }

    fn is_of_caller(&self, key: &AccessKeyRow) -> bool {
        match key.user {
            Some(_) => self.is_own(&self.parent(key)),
            None => self.call.who().is_root() && self.call.who().session.is_none(),
        }
    }

    fn service_key(&self, access_key: &str) -> Result<&AccessKeyRow> {
        let key = self.register.key(access_key).filter(|key| !self.is_user(key));
        key.ok_or_else(|| none(IdentityKind::AccessKey, access_key))
    }

    fn brief(&self, key: &AccessKeyRow) -> Value {
        let (name, text) = description(key);
        // The beginning of Unix time is never; without any time `mc` crashes.
        json!({
            "parentUser": self.parent(key), "accountStatus": if key.active { "on" } else { "off" },
            "impliedPolicy": key.policy.is_none(), "accessKey": key.access_key, "name": name, "description": text,
            "expiration": changed(key.expires.unwrap_or(0)),
        })
    }

    pub(super) async fn add_key(&self) -> Result<Answer> {
        self.must_be_lasting()?;
        let new: NewKey = self.secret_body().await?;
        let target = if new.target_user.is_empty() { self.own_name() } else { Some(&*new.target_user) };
        let target = target.filter(|name| !self.is_root_key(name));
        let user = target.map(|name| self.user(name)).transpose()?;
        let is_own = match target {
            Some(name) => self.is_own(name),
            None => self.call.who().is_root(),
        };
        self.may_with_own("admin:CreateServiceAccount", is_own)?;
        // A key of the account itself may do everything in it, which is more than whoever asks may be allowed.
        if user.is_none() && !self.call.who().is_root() {
            return Err(denied());
        }
        let fresh = |given: String, make: fn() -> String| if given.is_empty() { make() } else { given };
        let access_key = fresh(new.access_key, names::fresh_access_key);
        let secret = Secret::new(fresh(new.secret_key, || names::fresh_secret_key().expose().to_owned()));
        let (row, seal) = self.sealed(&access_key, &secret)?;
        let policy = policy_of(new.policy.as_deref())?;
        // What limits whoever asks limits what he makes, and one key has one policy.
        if policy.is_some() && self.call.who().session.is_some() {
            return Err(denied());
        }
        // Else it would be the user, whose key it would take.
        if self.register.principal(PrincipalKind::User, &access_key).is_some() {
            return Err(Problem::bad("XMinioAdminInvalidAccessKey", "The access key is a user's name."));
        }
        let row = AccessKeyRow {
            user: user.map(|user| user.id.clone()),
            policy: policy.or_else(|| self.inherited()),
            description: described(&new.name, &new.description)?,
            expires: end_of(new.expiration.as_deref(), self.now())?,
            ..row
        };
        let (metadata, _) = self.admin.store()?;
        metadata.create_access_key(&row, &seal).await?;
        self.admin.changed().await?;
        let mut credentials = json!({"accessKey": access_key, "secretKey": secret.expose()});
        credentials["expiration"] = changed(row.expires.unwrap_or(0));
        self.secretly(&json!({"credentials": credentials})).await
    }

    /// What the caller's own key may do at most: a key that it makes without a policy may not do more.
    fn inherited(&self) -> Option<String> {
        self.register.key(&self.call.who().access_key).and_then(|key| key.policy.clone())
    }

    pub(super) async fn update_key(&self) -> Result<Answer> {
        let key = self.service_key(self.parameter("accessKey")?)?;
        // What limits a key is lifted by nobody who is limited by it.
        let is_own = self.is_of_caller(key) && self.call.who().session.is_none();
        self.may_with_own("admin:UpdateServiceAccount", is_own)?;
        self.must_be_lasting()?;
        if key.user.is_none() && !self.call.who().is_root() {
            return Err(denied());
        }
        let new: Update = self.secret_body().await?;
        let active = match new.new_status.as_str() {
            "" => None,
            "on" | "enabled" => Some(true),
            "off" | "disabled" => Some(false),
            _ => return Err(Problem::bad("InvalidArgument", "a status is on or off")),
        };
        let (name, text) = description(key);
        let name = if new.new_name.is_empty() { name } else { &new.new_name };
        let text = if new.new_description.is_empty() { text } else { &new.new_description };
        if new.new_policy.is_some() && self.call.who().session.is_some() {
            return Err(denied());
        }
        let policy = match new.new_policy.as_deref() {
            Some(sent) => Some(policy_of(Some(sent))?),
            None => None,
        };
        let expires = match new.new_expiration.as_deref() {
            Some(sent) => Some(end_of(Some(sent), self.now())?),
            None => None,
        };
        let change = AccessKeyChange { active, policy, description: Some(described(name, text)?), expires };
        let (metadata, _) = self.admin.store()?;
        if !new.new_secret_key.is_empty() {
            let (sealed, seal) = self.sealed(&key.access_key, &Secret::new(new.new_secret_key))?;
            let row = AccessKeyRow { secret: sealed.secret, created: sealed.created, ..key.clone() };
            metadata.replace_access_key(&row, &seal).await?;
        }
        metadata.change_access_key(&key.access_key, &change).await?;
        self.admin.changed().await?;
        done(StatusCode::NO_CONTENT)
    }

    pub(super) async fn delete_key(&self) -> Result<Answer> {
        let key = self.service_key(self.parameter("accessKey")?)?;
        self.may_with_own("admin:RemoveServiceAccount", self.is_of_caller(key))?;
        if key.user.is_none() && !self.call.who().is_root() {
            return Err(denied());
        }
        let (metadata, _) = self.admin.store()?;
        metadata.remove_access_key(&key.access_key).await?;
        self.admin.changed().await?;
        done(StatusCode::NO_CONTENT)
    }

    /// `whole`: as `mc admin accesskey info` asks, of users' own keys, too.
    pub(super) async fn key_info(&self, whole: bool) -> Result<Answer> {
        let access_key = match self.request.query.get("accessKey").filter(|key| !key.is_empty()) {
            Some(access_key) => access_key,
            None => &self.call.who().access_key,
        };
        let key = self.register.key(access_key).filter(|key| whole || !self.is_user(key));
        let key = key.ok_or_else(|| none(IdentityKind::AccessKey, access_key))?;
        self.may_with_own("admin:ListServiceAccounts", self.is_of_caller(key))?;
        let mut info = self.brief(key);
        let documents: Vec<&str> = match &key.policy {
            Some(policy) => vec![policy],
            None => {
                let user = key.user.as_deref().unwrap_or_default();
                self.register.attached(user).into_iter().map(|policy| self.register.document(policy)).collect()
            }
        };
        info["policy"] = merged(&documents).into();
        if whole {
            info["userType"] = if self.is_user(key) { "User" } else { "Service Account" }.into();
            info["userProvider"] = "builtin".into();
        }
        self.secretly(&info).await
    }

    pub(super) async fn list_keys(&self) -> Result<Answer> {
        let user = self.request.query.get("user").filter(|user| !user.is_empty()).or(self.own_name());
        let user = user.filter(|name| !self.is_root_key(name));
        let is_own = user.map_or(self.call.who().is_root(), |name| self.is_own(name));
        self.may_with_own("admin:ListServiceAccounts", is_own)?;
        let user = user.map(|name| self.user(name)).transpose()?;
        let keys = self.register.keys(user.map(|user| &*user.id)).filter(|key| !self.is_user(key));
        self.secretly(&json!({"accounts": keys.map(|key| self.brief(key)).collect::<Vec<_>>()})).await
    }

    pub(super) async fn list_all_keys(&self) -> Result<Answer> {
        let kind = self.parameter("listType")?;
        let all = self.request.query.get("all") == Some("true");
        let named: Vec<&str> = self.request.query.all("users").filter(|user| !user.is_empty()).collect();
        let with_keys = match kind {
            "users-only" | "sts-only" => false,
            "svcacc-only" | "all" => true,
            _ => return Err(Problem::bad("InvalidRequest", "invalid list type")),
        };
        let root = self.admin.directory.root().access_key;
        let own = self.own_name().unwrap_or(&root);
        let only_own = !all && (named.is_empty() || named == [own]);
        if all {
            self.may("admin:ListUsers")?;
        }
        self.may_with_own("admin:ListServiceAccounts", only_own)?;
        let users: Vec<&str> = if all {
            self.register.all(PrincipalKind::User).iter().map(|user| &*user.name).chain([&*root]).collect()
        } else if named.is_empty() {
            vec![own]
        } else {
            named
        };
        let mut answer = BTreeMap::new();
        // Sessions are nowhere listed: no row says anything of them.
        for name in users.into_iter().filter(|_| kind != "sts-only") {
            let user = self.register.principal(PrincipalKind::User, name);
            if user.is_none() && !self.is_root_key(name) {
                continue;
            }
            let keys = self.register.keys(user.map(|user| &*user.id)).filter(|key| with_keys && !self.is_user(key));
            let keys: Vec<Value> = keys.map(|key| self.brief(key)).collect();
            if kind != "svcacc-only" || !keys.is_empty() {
                answer.insert(name, json!({"serviceAccounts": keys, "stsKeys": []}));
            }
        }
        self.secretly(&answer).await
    }
}

/// One policy of several.
fn merged(documents: &[&str]) -> String {
    let mut statements = Vec::new();
    for document in documents {
        let Ok(Value::Object(mut policy)) = serde_json::from_str(document) else { continue };
        match policy.remove("Statement") {
            Some(Value::Array(several)) => statements.extend(several),
            Some(one) => statements.push(one),
            None => {}
        }
    }
    json!({"Version": "2012-10-17", "Statement": statements}).to_string()
}
