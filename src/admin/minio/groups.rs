//! `mc admin group`.

use http::StatusCode;
use serde::Deserialize;
use serde_json::json;

use super::{Answer, Desk, changed, done, json_of, shown};
use crate::access::names;
use crate::admin::{Problem, Result};
use crate::metadata::{PrincipalKind, PrincipalRow};

/// `GroupAddRemove`
#[derive(Deserialize)]
struct Members {
    group: String,
    #[serde(default)]
    members: Option<Vec<String>>,
    #[serde(rename = "groupStatus", default)]
    status: String,
    #[serde(rename = "isRemove", default)]
    remove: bool,
}

impl Desk<'_> {
    /// Takes users into a group, which is made if need be, or out of it; a group that nobody is taken out of is removed.
    pub(super) async fn update_group_members(&self) -> Result<Answer> {
        let Members { group: name, members, status, remove } = json_of(&self.request.body)?;
        let members = members.unwrap_or_default();
        self.may(if remove { "admin:RemoveUserFromGroup" } else { "admin:AddUserToGroup" })?;
        let to_be_off = status == "disabled" && !remove;
        if to_be_off {
            self.may("admin:DisableGroup")?;
        }
        let members: Vec<&PrincipalRow> = members.iter().map(|name| self.user(name)).collect::<Result<_>>()?;
        let (metadata, _) = self.admin.store()?;
        let group = match self.register.principal(PrincipalKind::Group, &name) {
            Some(group) if remove && members.is_empty() => {
                if !self.register.members(&group.id).is_empty() {
                    return Err(Problem::bad(
                        "XMinioAdminGroupNotEmpty",
                        "The specified group is not empty - cannot remove it.",
                    ));
                }
                metadata.remove_principal(&group.id, true).await?;
                self.admin.changed().await?;
                return done(StatusCode::OK);
            }
            Some(group) => group.id.clone(),
            None if remove => return Err(self.one_group(&name).err().unwrap_or(Problem::Answer("the group is there"))),
            None => {
                let group = names::fresh_principal(PrincipalKind::Group, &self.register.account, &name, self.now())
                    .map_err(|error| Problem::bad("XMinioAdminInvalidGroupName", error.to_string()))?;
                metadata.create_principal(&group).await?;
                group.id
            }
        };
        let already = self.register.members(&group);
        for user in members.into_iter().filter(|user| remove == already.iter().any(|member| member.id == user.id)) {
            metadata.set_membership(&group, &user.id, !remove).await?;
        }
        if to_be_off {
            metadata.set_group_status(&group, false).await?;
        }
        self.admin.changed().await?;
        done(StatusCode::OK)
    }

    pub(super) fn group(&self) -> Result<Answer> {
        self.may("admin:GetGroup")?;
        let group = self.one_group(self.parameter("group")?)?;
        let members: Vec<&str> = self.register.members(&group.id).iter().map(|user| &*user.name).collect();
        let status = if self.register.is_on(&group.id) { "enabled" } else { "disabled" };
        shown(&json!({
            "name": group.name, "status": status, "members": members, "policy": self.policy_names(&group.id),
            "updatedAt": changed(group.created),
        }))
    }

    pub(super) fn groups(&self) -> Result<Answer> {
        self.may("admin:ListGroups")?;
        let groups = self.register.all(PrincipalKind::Group);
        shown(&groups.iter().map(|group| &*group.name).collect::<Vec<_>>())
    }

    pub(super) async fn set_group_status(&self) -> Result<Answer> {
        let (action, enabled) = match self.parameter("status")? {
            "enabled" => ("admin:EnableGroup", true),
            "disabled" => ("admin:DisableGroup", false),
            _ => return Err(Problem::bad("InvalidArgument", "a status is enabled or disabled")),
        };
        self.may(action)?;
        let group = self.one_group(self.parameter("group")?)?;
        let (metadata, _) = self.admin.store()?;
        metadata.set_group_status(&group.id, enabled).await?;
        self.admin.changed().await?;
        done(StatusCode::OK)
    }
}
