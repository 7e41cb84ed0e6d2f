//! `mc admin policy`.

use std::collections::BTreeMap;

use http::StatusCode;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::{Answer, Desk, changed, done, none, shown};
use crate::access::names;
use crate::access::policy::{BUILTIN, Policy, PolicyKind, builtin};
use crate::admin::{Problem, Result};
use crate::metadata::{IdentityKind, PolicyRow, PrincipalKind, PrincipalRow};

/// `PolicyAssociationReq`
#[derive(Deserialize)]
struct Association {
    #[serde(default)]
    policies: Vec<String>,
    #[serde(default)]
    user: String,
    #[serde(default)]
    group: String,
}

/// A document as JSON; it was read as a policy before.
fn raw(document: &str) -> Result<&RawValue> {
    serde_json::from_str(document).map_err(|_| Problem::Answer("a policy is no JSON"))
}

impl Desk<'_> {
    /// What a policy says, and when it was made.
    fn canned(&self, name: &str) -> Result<(&str, i64)> {
        match self.register.policy(name) {
            Some(row) => Ok((self.register.document(row), row.created)),
            None => {
                let (_, document) = builtin(name).ok_or_else(|| none(IdentityKind::Policy, name))?;
                Ok((document, 0))
            }
        }
    }

    /// The id of a policy; one that every deployment has becomes a row.
    async fn policy_id(&self, name: &str) -> Result<String> {
        let (metadata, _) = self.admin.store()?;
        Ok(self.register.policy_or_builtin(metadata, name, self.now()).await?.id)
    }

    pub(super) async fn add_policy(&self) -> Result<Answer> {
        self.may("admin:CreatePolicy")?;
        let name = self.parameter("name")?;
        let row = names::fresh_policy(&self.register.account, name, self.now())
            .map_err(|error| Problem::bad("XMinioInvalidResource", error.to_string()))?;
        let document = std::str::from_utf8(&self.request.body)
            .map_err(|_| Problem::bad("XMinioMalformedIAMPolicy", "the policy is no text"))?;
        Policy::parse(document, PolicyKind::Identity)
            .map_err(|error| Problem::document("XMinioMalformedIAMPolicy", error))?;
        let (metadata, _) = self.admin.store()?;
        match self.register.policy(name) {
            Some(row) => {
                metadata.add_policy_version(&row.id, document, true, true, self.now()).await?;
            }
            None => {
                metadata.create_policy(&row, document).await?;
            }
        }
        self.admin.changed().await?;
        done(StatusCode::OK)
    }

    pub(super) fn list_policies(&self) -> Result<Answer> {
        self.may("admin:ListUserPolicies")?;
        if self.request.query.has("bucket") {
            return Err(Problem::not_built("Listing the policies of a bucket"));
        }
        let mut all: BTreeMap<&str, &str> = BUILTIN.into_iter().collect();
        all.extend(self.register.policies().into_iter().map(|row| (&*row.name, self.register.document(row))));
        let all: BTreeMap<&str, &RawValue> =
            all.into_iter().map(|(name, document)| Ok((name, raw(document)?))).collect::<Result<_>>()?;
        shown(&all)
    }

    pub(super) fn policy_info(&self) -> Result<Answer> {
        self.may("admin:GetPolicy")?;
        let name = self.parameter("name")?;
        let (document, created) = self.canned(name)?;
        let document = raw(document)?;
        if self.request.query.get("v") != Some("2") {
            return shown(&document);
        }
        let mut info = BTreeMap::new();
        info.insert("Policy", document.to_owned());
        for (key, value) in
            [("PolicyName", json!(name)), ("CreateDate", changed(created)), ("UpdateDate", changed(created))]
        {
            let value = serde_json::value::to_raw_value(&value).map_err(|_| Problem::Answer("it cannot be JSON"))?;
            info.insert(key, value);
        }
        shown(&info)
    }

    pub(super) async fn remove_policy(&self) -> Result<Answer> {
        self.may("admin:DeletePolicy")?;
        let name = self.parameter("name")?;
        let Some(row) = self.register.policy(name) else {
            self.canned(name)?;
            return Err(Problem::bad("XMinioInvalidResource", "the policy is one that every deployment has"));
        };
        let (metadata, _) = self.admin.store()?;
        metadata.remove_policy(&row.id, false).await?;
        self.admin.changed().await?;
        done(StatusCode::OK)
    }

    fn holder(&self, user: &str, group: &str) -> Result<&PrincipalRow> {
        match (user, group) {
            ("", "") => Err(Problem::bad("InvalidArgument", "a user or a group is needed")),
            (user, "") => self.user(user),
            ("", group) => self.one_group(group),
            _ => Err(Problem::bad("InvalidArgument", "a user or a group is needed, not both")),
        }
    }

    /// From now on exactly these policies are attached to somebody.
    pub(super) async fn set_policies(&self) -> Result<Answer> {
        self.may("admin:AttachUserOrGroupPolicy")?;
        let name = self.parameter("userOrGroup")?;
        let is_group = self.request.query.get("isGroup") == Some("true");
        let holder = if is_group { self.holder("", name)? } else { self.holder(name, "")? };
        let mut ids = Vec::new();
        let policies = self.request.query.get("policyName").unwrap_or_default();
        for policy in policies.split(',').map(str::trim).filter(|policy| !policy.is_empty()) {
            ids.push(self.policy_id(policy).await?);
        }
        let (metadata, _) = self.admin.store()?;
        metadata.set_attachments(&holder.id, &ids).await?;
        self.admin.changed().await?;
        done(StatusCode::OK)
    }

    pub(super) async fn attach(&self, attached: bool) -> Result<Answer> {
        self.may(if attached { "admin:AttachUserOrGroupPolicy" } else { "admin:UpdatePolicyAssociation" })?;
        let Association { policies, user, group } = self.secret_body().await?;
        let holder = self.holder(&user, &group)?;
        let already = self.register.attached(&holder.id);
        let is_attached = |name: &str| already.iter().any(|policy| policy.name.eq_ignore_ascii_case(name));
        for name in &policies {
            self.canned(name)?;
        }
        let changes: Vec<&String> = policies.iter().filter(|name| is_attached(name) != attached).collect();
        if changes.is_empty() {
            return Err(Problem::bad(
                "XMinioAdminPolicyChangeAlreadyApplied",
                "The specified policy change is already in effect.",
            ));
        }
        let (metadata, _) = self.admin.store()?;
        for name in &changes {
            let policy = self.policy_id(name).await?;
            metadata.set_attachment(&holder.id, &policy, attached).await?;
        }
        self.admin.changed().await?;
        let what = if attached { "policiesAttached" } else { "policiesDetached" };
        self.secretly(&json!({what: changes, "updatedAt": changed(self.now())})).await
    }

    pub(super) async fn policy_entities(&self) -> Result<Answer> {
        for action in ["admin:ListGroups", "admin:ListUsers", "admin:ListUserPolicies"] {
            self.may(action)?;
        }
        let of = |name: &str| self.request.query.all(name).map(str::to_owned).collect::<Vec<_>>();
        let (users, groups, policies) = (of("user"), of("group"), of("policy"));
        let all = users.is_empty() && groups.is_empty() && policies.is_empty();
        let wanted = |names: &[String], name: &str| all || names.iter().any(|wanted| wanted.eq_ignore_ascii_case(name));
        let names = |principal: &str| -> Vec<&str> {
            self.register.attached(principal).iter().map(|policy| &*policy.name).collect()
        };
        let group = |row: &PrincipalRow| json!({"group": row.name, "policies": names(&row.id)});
        let user = |row: &PrincipalRow| {
            let groups: Vec<Value> = self.register.groups(&row.id).into_iter().map(group).collect();
            json!({"user": row.name, "policies": names(&row.id), "memberOfMappings": groups})
        };
        let holders = |policy: &PolicyRow, kind| -> Vec<&str> {
            self.register.holders(&policy.id, kind).iter().map(|row| &*row.name).collect()
        };
        let policy = |row: &PolicyRow| {
            json!({
                "policy": row.name, "users": holders(row, PrincipalKind::User),
                "groups": holders(row, PrincipalKind::Group),
            })
        };
        let has_any = |row: &&PrincipalRow| !all || !self.register.attached(&row.id).is_empty();
        let of_kind = |kind, named: &[String]| {
            let rows = self.register.all(kind).into_iter().filter(|row| wanted(named, &row.name)).filter(has_any);
            rows.collect::<Vec<_>>()
        };
        let policies = self.register.policies().into_iter().filter(|row| wanted(&policies, &row.name));
        let answer = json!({
            "timestamp": changed(self.now()),
            "userMappings": of_kind(PrincipalKind::User, &users).into_iter().map(user).collect::<Vec<_>>(),
            "groupMappings": of_kind(PrincipalKind::Group, &groups).into_iter().map(group).collect::<Vec<_>>(),
            "policyMappings": policies.map(policy).collect::<Vec<_>>(),
        });
        self.secretly(&answer).await
    }
}
