//! `mc admin user`.

use std::collections::BTreeMap;

use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, Desk, changed, denied, done, shown};
use crate::access::{Secret, names};
use crate::admin::{Problem, Result};
use crate::metadata::{AccessKeyChange, AccessKeyRow, PrincipalKind, PrincipalRow};

/// `AddOrUpdateUserReq`
#[derive(Deserialize)]
struct NewUser {
    #[serde(rename = "secretKey", default)]
    secret: String,
    #[serde(default)]
    policy: String,
    #[serde(default)]
    status: String,
}

impl Desk<'_> {
    /// The access key that is the user itself.
    fn own_key<'a>(&'a self, user: &'a PrincipalRow) -> Option<&'a AccessKeyRow> {
        self.register.keys(Some(&user.id)).find(|key| key.access_key == user.name)
    }

    /// A user is on if it can sign: with the access key of its name, or, if it has none, with any.
    fn status_of(&self, user: &PrincipalRow) -> &'static str {
        let is_on = match self.own_key(user) {
            Some(key) => key.active,
            None => self.register.keys(Some(&user.id)).any(|key| key.active),
        };
        if is_on { "enabled" } else { "disabled" }
    }

    fn info_of(&self, user: &PrincipalRow) -> Value {
        let mut info = json!({"status": self.status_of(user), "updatedAt": changed(user.created)});
        let policies = self.policy_names(&user.id);
        if !policies.is_empty() {
            info["policyName"] = policies.into();
        }
        let groups: Vec<&str> = self.register.groups(&user.id).iter().map(|group| &*group.name).collect();
        if !groups.is_empty() {
            info["memberOf"] = groups.into();
        }
        info
    }

    pub(super) async fn add_user(&self) -> Result<Answer> {
        let name = self.parameter("accessKey")?;
        self.may_with_own("admin:CreateUser", self.is_own(name))?;
        self.must_be_lasting()?;
        let new: NewUser = self.secret_body().await?;
        if !new.policy.is_empty() {
            return Err(Problem::not_built("A policy with a new user"));
        }
        // Whoever may only say what his own password is does not switch himself on.
        let active = self.may("admin:CreateUser").is_ok().then_some(new.status != "disabled");
        self.put_user(name, &Secret::new(new.secret), active).await
    }

    pub(super) async fn change_my_password(&self) -> Result<Answer> {
        let name = self.own_name().ok_or_else(denied)?.to_owned();
        self.may_with_own("admin:CreateUser", true)?;
        self.must_be_lasting()?;
        let new: NewUser = self.secret_body().await?;
        self.put_user(&name, &Secret::new(new.secret), None).await
    }

    /// `active`: whether it is on from now on; `None`: as it was.
    async fn put_user(&self, name: &str, secret: &Secret, active: Option<bool>) -> Result<Answer> {
        let user = self.register.principal(PrincipalKind::User, name);
        // Names are the same in whatever case; access keys, and what is sealed for one, are not.
        let (key, seal) = self.sealed(user.map_or(name, |user| &user.name), secret)?;
        let (metadata, _) = self.admin.store()?;
        match user {
            Some(user) => {
                let before = self.own_key(user);
                let active = active.unwrap_or(before.is_some_and(|key| key.active));
                let new = AccessKeyRow { user: Some(user.id.clone()), active, ..key };
                match before {
                    Some(before) => {
                        let new = AccessKeyRow {
                            policy: before.policy.clone(),
                            description: before.description.clone(),
                            expires: before.expires,
                            ..new
                        };
                        metadata.replace_access_key(&new, &seal).await?;
                    }
                    None => metadata.create_access_key(&new, &seal).await?,
                }
            }
            None => {
                let user = names::fresh_principal(PrincipalKind::User, &self.register.account, name, self.now())
                    .map_err(|error| Problem::bad("XMinioAdminInvalidAccessKey", error.to_string()))?;
                self.may("admin:CreateUser")?;
                let key = AccessKeyRow { user: Some(user.id.clone()), active: active.unwrap_or(true), ..key };
                metadata.create_user_with_key(&user, &key, &seal).await?;
            }
        }
        self.admin.changed().await?;
        done(StatusCode::OK)
    }

    pub(super) async fn list_users(&self) -> Result<Answer> {
        self.may("admin:ListUsers")?;
        if self.request.query.has("bucket") {
            return Err(Problem::not_built("Listing the users of a bucket"));
        }
        let users = self.register.all(PrincipalKind::User);
        let users: BTreeMap<&str, Value> = users.into_iter().map(|user| (&*user.name, self.info_of(user))).collect();
        self.secretly(&users).await
    }

    pub(super) fn user_info(&self) -> Result<Answer> {
        let name = self.parameter("accessKey")?;
        self.may_with_own("admin:GetUser", self.is_own(name))?;
        shown(&self.info_of(self.user(name)?))
    }

    pub(super) async fn remove_user(&self) -> Result<Answer> {
        let name = self.parameter("accessKey")?;
        self.may("admin:DeleteUser")?;
        let (metadata, _) = self.admin.store()?;
        metadata.remove_principal(&self.user(name)?.id, true).await?;
        self.admin.changed().await?;
        done(StatusCode::OK)
    }

    /// Off goes every access key of the user; on goes that of its name alone, or all if it has none: others may have been off before.
    pub(super) async fn set_user_status(&self) -> Result<Answer> {
        let (name, status) = (self.parameter("accessKey")?, self.parameter("status")?);
        let (action, active) = match status {
            "enabled" => ("admin:EnableUser", true),
            "disabled" => ("admin:DisableUser", false),
            _ => return Err(Problem::bad("InvalidArgument", "a status is enabled or disabled")),
        };
        self.may(action)?;
        let user = self.user(name)?;
        let own = self.own_key(user).filter(|_| active);
        let (metadata, _) = self.admin.store()?;
        let change = AccessKeyChange { active: Some(active), ..AccessKeyChange::default() };
        let keys = self.register.keys(Some(&user.id));
        for key in keys.filter(|key| own.is_none_or(|own| own.access_key == key.access_key)) {
            metadata.change_access_key(&key.access_key, &change).await?;
        }
        self.admin.changed().await?;
        done(StatusCode::OK)
    }
}
