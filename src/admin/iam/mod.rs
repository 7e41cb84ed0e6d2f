//! IAM: users, groups, roles, policies and access keys of the caller's own account. Source: the "IAM API Reference", and "IAM and AWS STS
//! quotas" in the user guide.

mod groups;
mod inline;
mod keys;
mod managed;
mod page;
mod principals;
mod roles;
mod summary;
mod users;

use std::borrow::Cow;

use http::StatusCode;

use super::register::Register;
use super::xml::{self, Xml};
use super::{Admin, Call, Params, Problem, Result};
use crate::access::policy::Context;
use crate::access::{Kind, names};
use crate::clock::Millis;
use crate::metadata::{Error, IdentityKind, Metadata, PrincipalKind, PrincipalRow};

/// The version of the API.
pub const VERSION: &str = "2010-05-08";
const NAMESPACE: &str = "https://iam.amazonaws.com/doc/2010-05-08/";

/// Actions that IAM has and that are not built.
const UNBUILT: [&str; 41] = [
    "AddClientIDToOpenIDConnectProvider",
    "AddRoleToInstanceProfile",
    "ChangePassword",
    "CreateAccountAlias",
    "CreateInstanceProfile",
    "CreateLoginProfile",
    "CreateOpenIDConnectProvider",
    "CreateSAMLProvider",
    "CreateServiceLinkedRole",
    "CreateServiceSpecificCredential",
    "CreateVirtualMFADevice",
    "DeactivateMFADevice",
    "DeleteAccountAlias",
    "DeleteAccountPasswordPolicy",
    "DeleteInstanceProfile",
    "DeleteLoginProfile",
    "DeleteOpenIDConnectProvider",
    "DeleteSAMLProvider",
    "DeleteServerCertificate",
    "EnableMFADevice",
    "GenerateCredentialReport",
    "GetAccountAuthorizationDetails",
    "GetAccountPasswordPolicy",
    "GetContextKeysForCustomPolicy",
    "GetContextKeysForPrincipalPolicy",
    "GetCredentialReport",
    "GetInstanceProfile",
    "GetLoginProfile",
    "GetSAMLProvider",
    "ListAccountAliases",
    "ListInstanceProfiles",
    "ListInstanceProfilesForRole",
    "ListMFADevices",
    "ListPoliciesGrantingServiceAccess",
    "ListPolicyTags",
    "ListSAMLProviders",
    "ListServerCertificates",
    "SimulateCustomPolicy",
    "SimulatePrincipalPolicy",
    "TagPolicy",
    "UntagPolicy",
];

/// The condition key of what bounds somebody.
const BOUNDARY: &str = "iam:PermissionsBoundary";

/// The condition keys of a request: "Actions, resources, and condition keys for AWS Identity and Access Management".
fn conditions(call: &Call, params: &Params) -> Context {
    let mut context = call.context.clone();
    for (key, name) in [("iam:PolicyARN", "PolicyArn"), (BOUNDARY, "PermissionsBoundary")] {
        if let Some(value) = params.get(name) {
            context.add(key, value);
        }
    }
    // What is no list of tags the action itself refuses.
    for (key, value) in params.tags().unwrap_or_default() {
        context.add(&format!("aws:RequestTag/{key}"), value);
        context.add("aws:TagKeys", key);
    }
    for key in params.members("TagKeys", "") {
        context.add("aws:TagKeys", key);
    }
    context
}

/// Status and code of what is wrong, for IAM and STS.
pub fn named(problem: &Problem) -> (StatusCode, Cow<'static, str>) {
    super::sts::named(problem)
}

/// An error as IAM answers it.
pub fn error(status: StatusCode, code: &str, message: &str, request_id: &str) -> String {
    let at_fault = if status.is_server_error() { "Receiver" } else { "Sender" };
    xml::error(NAMESPACE, at_fault, code, message, request_id)
}

/// There is no such action.
pub fn unknown(action: &str, version: &str) -> Problem {
    let version = if version.is_empty() { "NO_VERSION_SPECIFIED" } else { version };
    Problem::bad("InvalidAction", format!("Could not find operation {action} for version {version}"))
}

/// What everything that is done here needs.
struct Desk<'a> {
    admin: &'a Admin,
    call: &'a Call,
    params: &'a Params,
    register: Register,
    /// `iam:CreateUser`
    action: String,
    /// What conditions are about.
    context: Context,
    xml: Xml,
}

impl Admin {
    /// Answers a request: XML.
    ///
    /// # Errors
    /// [`Problem`]
    pub async fn iam(&self, call: &Call, params: &Params, request_id: &str) -> Result<String> {
        let name = params.get("Action").unwrap_or_default();
        if call.key.temporary && !matches!(call.who().kind, Kind::Role { .. }) {
            // They may be stolen more easily, and must not be made to last.
            return Err(Problem::denied("IAM cannot be called with the credentials of GetSessionToken"));
        }
        self.store()?;
        let account = call.who().account.id.to_string();
        let register = self.register(&account).await?;
        let (action, context) = (format!("iam:{name}"), conditions(call, params));
        let mut desk = Desk { admin: self, call, params, register, action, context, xml: Xml::default() };
        desk.act(name).await?;
        // Its answer has a result with nothing in it.
        let has_result = !desk.xml.is_empty() || name == "UpdateRole";
        Ok(desk.xml.answer(NAMESPACE, name, has_result, request_id))
    }
}

impl Desk<'_> {
    async fn act(&mut self, action: &str) -> Result<()> {
        use PrincipalKind::{Group, Role, User};
        match action {
            "CreateUser" => self.create(User).await,
            "GetUser" => self.get_user(),
            "ListUsers" => self.list(User),
            "UpdateUser" => self.rename(User).await,
            "DeleteUser" => self.delete(User).await,
            "TagUser" => self.tag(User).await,
            "UntagUser" => self.untag(User).await,
            "ListUserTags" => self.list_tags(User),
            "PutUserPermissionsBoundary" => self.bound(User, true).await,
            "DeleteUserPermissionsBoundary" => self.bound(User, false).await,

            "CreateGroup" => self.create(Group).await,
            "GetGroup" => self.get_group(),
            "ListGroups" => self.list(Group),
            "UpdateGroup" => self.rename(Group).await,
            "DeleteGroup" => self.delete(Group).await,
            "AddUserToGroup" => self.set_membership(true).await,
            "RemoveUserFromGroup" => self.set_membership(false).await,
            "ListGroupsForUser" => self.groups_of_user(),

            "CreateRole" => self.create_role().await,
            "GetRole" => self.get_role(),
            "ListRoles" => self.list(Role),
            "UpdateRole" => self.update_role(true).await,
            "UpdateRoleDescription" => self.update_role(false).await,
            "UpdateAssumeRolePolicy" => self.update_trust().await,
            "DeleteRole" => self.delete(Role).await,
            "TagRole" => self.tag(Role).await,
            "UntagRole" => self.untag(Role).await,
            "ListRoleTags" => self.list_tags(Role),
            "PutRolePermissionsBoundary" => self.bound(Role, true).await,
            "DeleteRolePermissionsBoundary" => self.bound(Role, false).await,

            "PutUserPolicy" => self.put_inline(User).await,
            "GetUserPolicy" => self.get_inline(User),
            "ListUserPolicies" => self.list_inline(User),
            "DeleteUserPolicy" => self.delete_inline(User).await,
            "PutGroupPolicy" => self.put_inline(Group).await,
            "GetGroupPolicy" => self.get_inline(Group),
            "ListGroupPolicies" => self.list_inline(Group),
            "DeleteGroupPolicy" => self.delete_inline(Group).await,
            "PutRolePolicy" => self.put_inline(Role).await,
            "GetRolePolicy" => self.get_inline(Role),
            "ListRolePolicies" => self.list_inline(Role),
            "DeleteRolePolicy" => self.delete_inline(Role).await,

            "AttachUserPolicy" => self.attach(User, true).await,
            "DetachUserPolicy" => self.attach(User, false).await,
            "ListAttachedUserPolicies" => self.list_attached(User),
            "AttachGroupPolicy" => self.attach(Group, true).await,
            "DetachGroupPolicy" => self.attach(Group, false).await,
            "ListAttachedGroupPolicies" => self.list_attached(Group),
            "AttachRolePolicy" => self.attach(Role, true).await,
            "DetachRolePolicy" => self.attach(Role, false).await,
            "ListAttachedRolePolicies" => self.list_attached(Role),

            "CreatePolicy" => self.create_policy().await,
            "GetPolicy" => self.get_policy(),
            "ListPolicies" => self.list_policies(),
            "DeletePolicy" => self.delete_policy().await,
            "CreatePolicyVersion" => self.create_version().await,
            "GetPolicyVersion" => self.get_version(),
            "ListPolicyVersions" => self.list_versions(),
            "DeletePolicyVersion" => self.delete_version().await,
            "SetDefaultPolicyVersion" => self.set_default_version().await,
            "ListEntitiesForPolicy" => self.entities(),

            "CreateAccessKey" => self.create_key().await,
            "ListAccessKeys" => self.list_keys(),
            "UpdateAccessKey" => self.update_key().await,
            "DeleteAccessKey" => self.delete_key().await,
            "GetAccessKeyLastUsed" => self.key_last_used().await,

            "GetAccountSummary" => self.summary(),
            "GetOpenIDConnectProvider" => self.provider(),
            "ListOpenIDConnectProviders" => self.providers(),
            action if UNBUILT.contains(&action) => Err(Problem::not_built(action)),
            action => Err(unknown(action, VERSION)),
        }
    }

    fn metadata(&self) -> Result<&Metadata> {
        Ok(self.admin.store()?.0)
    }

    fn now(&self) -> Millis {
        self.admin.directory.now()
    }

    /// That whoever asks may do what he asks to something.
    fn may(&self, resource: &str) -> Result<()> {
        self.may_within(resource, &self.context)
    }

    fn may_within(&self, resource: &str, context: &Context) -> Result<()> {
        if self.call.is_allowed_within(context, &self.action, resource, &self.register.account) {
            return Ok(());
        }
        let (who, action) = (self.call.who().arn(), &self.action);
        Err(Problem::denied(format!("User: {who} is not authorized to perform: {action} on resource: {resource}")))
    }

    /// What would be the name of a user, group or role.
    fn arn(&self, kind: PrincipalKind, path: &str, name: &str) -> String {
        format!("arn:aws:iam::{}:{kind}{path}{name}", self.register.account)
    }

    /// The user, group or role that the request names, if whoever asks may do this to it.
    fn principal(&self, kind: PrincipalKind) -> Result<PrincipalRow> {
        let name = self.params.need(parameter(kind))?;
        self.principal_called(kind, name)
    }

    fn principal_called(&self, kind: PrincipalKind, name: &str) -> Result<PrincipalRow> {
        match self.register.principal(kind, name) {
            Some(row) => {
                let mut context = self.context.clone();
                let boundary = row.boundary.as_deref().and_then(|id| self.register.policy_by_id(id));
                // What is to bound it counts, if that is what is asked for.
                if let Some(policy) = boundary.filter(|_| context.get(BOUNDARY).is_none()) {
                    context.add(BOUNDARY, policy.arn());
                }
                for (key, value) in &row.tags {
                    context.add(&format!("aws:ResourceTag/{key}"), value);
                    context.add(&format!("iam:ResourceTag/{key}"), value);
                }
                self.may_within(&row.arn(), &context).map(|()| row.clone())
            }
            None => {
                // Who is there is told to those alone who may ask.
                self.may(&self.arn(kind, "/", name))?;
                Err(nobody(kind, name))
            }
        }
    }

    /// The path in the request.
    fn path(&self) -> Result<&str> {
        let path = self.params.get("Path").unwrap_or("/");
        names::path(path)?;
        Ok(path)
    }

    /// The name of somebody new.
    fn fresh_name(&self, kind: PrincipalKind, parameter: &str) -> Result<&str> {
        let name = self.params.need(parameter)?;
        names::principal(kind, name)?;
        Ok(name)
    }

    /// What was changed counts here before it is answered.
    async fn changed(&self) -> Result<()> {
        self.admin.changed().await
    }
}

/// The name of the parameter that names one.
fn parameter(kind: PrincipalKind) -> &'static str {
    match kind {
        PrincipalKind::User => "UserName",
        PrincipalKind::Group => "GroupName",
        PrincipalKind::Role => "RoleName",
    }
}

fn nobody(kind: PrincipalKind, name: &str) -> Problem {
    Problem::missing("NoSuchEntity", format!("The {kind} with name {name} cannot be found."))
}

fn no_identity(kind: IdentityKind, name: &str) -> Problem {
    Error::NoSuchIdentity { kind, name: name.to_owned() }.into()
}

/// A document as IAM answers it.
fn escaped(document: &str) -> String {
    use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
    const LITERAL: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
    utf8_percent_encode(document, LITERAL).to_string()
}
