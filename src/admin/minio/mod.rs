//! The part of MinIO's administrative API that is about identities, as `mc admin user`, `group`, `policy` and `accesskey` call it:
//! `/minio/admin/v3/…`.
//!
//! Source: MinIO's `cmd/admin-handlers-users.go` and the types in madmin-go. It administers the deployment's own account. A user here is its
//! access key, as MinIO has it: a user whose name is its first access key's; users made by IAM or the command line are shown, too. A
//! service account is a further access key of a user, or one of the account itself.
//!
//! | MinIO | here |
//! |---|---|
//! | user | user with an access key of the same name, which is switched off and on |
//! | group | group |
//! | canned policy | policy; those that MinIO brings along are there, and become rows once attached |
//! | service account, access key | access key with a policy, description and end; its name is the first line of the description |

mod cipher;
mod groups;
mod keys;
mod policies;
mod users;

use http::{Method, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::problem::Named;
use super::register::Register;
use super::{Admin, Call, Problem, Result};
use crate::access::query::Query;
use crate::access::{Kind, Secret, names};
use crate::clock::Millis;
use crate::metadata::{AccessKeyRow, Error, IdentityKind, PrincipalKind, PrincipalRow};

/// What is asked.
#[derive(Debug)]
pub struct Request<'a> {
    /// How.
    pub method: &'a Method,
    /// What is behind the version in the path.
    pub action: &'a str,
    /// With which parameters.
    pub query: &'a Query,
    /// With which body.
    pub body: Vec<u8>,
}

/// What is answered.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// JSON, or encrypted JSON.
    pub body: Vec<u8>,
}

/// What everything that is done here needs.
struct Desk<'a> {
    admin: &'a Admin,
    call: &'a Call,
    register: Register,
    request: Request<'a>,
}

/// Names MinIO's administrative clients have for what is wrong.
pub fn named(problem: &Problem) -> (StatusCode, std::borrow::Cow<'static, str>) {
    problem.named(|error| -> Option<Named> {
        Some(match error {
            Error::NoSuchIdentity { kind, .. } => {
                let code = match kind {
                    IdentityKind::Principal(PrincipalKind::Group) => "XMinioAdminNoSuchGroup",
                    IdentityKind::Policy => "XMinioAdminNoSuchPolicy",
                    IdentityKind::AccessKey => "XMinioAdminNoSuchAccessKey",
                    _ => "XMinioAdminNoSuchUser",
                };
                (StatusCode::NOT_FOUND, code.into())
            }
            Error::IdentityExists { .. } => (StatusCode::CONFLICT, "XMinioInvalidIAMCredentials".into()),
            Error::IdentityInUse { .. } => (StatusCode::BAD_REQUEST, "XMinioIAMServiceUsedElsewhere".into()),
            Error::SealedOtherwise => (StatusCode::SERVICE_UNAVAILABLE, "XMinioServerNotInitialized".into()),
            _ => return None,
        })
    })
}

/// The resource of all that is done here: MinIO asks for none, and whoever writes such a policy writes `*` or this.
const RESOURCE: &str = "arn:aws:s3:::*";

impl Admin {
    /// Answers a request.
    ///
    /// # Errors
    /// [`Problem`]
    pub async fn minio(&self, call: &Call, request: Request<'_>) -> Result<Answer> {
        let own = self.directory.root().account;
        if own.id != call.who().account.id {
            return Err(Problem::denied("Access Denied. Only the deployment's own account administers it."));
        }
        self.store()?;
        let register = self.register(&own.id).await?;
        let desk = Desk { admin: self, call, register, request };
        match (desk.request.method, desk.request.action) {
            (&Method::PUT, "add-user") => desk.add_user().await,
            (&Method::GET, "list-users") => desk.list_users().await,
            (&Method::DELETE, "remove-user") => desk.remove_user().await,
            (&Method::GET, "user-info") => desk.user_info(),
            (&Method::PUT, "set-user-status") => desk.set_user_status().await,
            (&Method::POST, "change-my-password") => desk.change_my_password().await,
            (&Method::PUT, "update-group-members") => desk.update_group_members().await,
            (&Method::GET, "group") => desk.group(),
            (&Method::GET, "groups") => desk.groups(),
            (&Method::PUT, "set-group-status") => desk.set_group_status().await,
            (&Method::PUT, "add-canned-policy") => desk.add_policy().await,
            (&Method::GET, "list-canned-policies") => desk.list_policies(),
            (&Method::GET, "info-canned-policy") => desk.policy_info(),
            (&Method::DELETE, "remove-canned-policy") => desk.remove_policy().await,
            (&Method::PUT, "set-user-or-group-policy") => desk.set_policies().await,
            (&Method::POST, "idp/builtin/policy/attach") => desk.attach(true).await,
            (&Method::POST, "idp/builtin/policy/detach") => desk.attach(false).await,
            (&Method::GET, "idp/builtin/policy-entities") => desk.policy_entities().await,
            (&Method::PUT, "add-service-account") => desk.add_key().await,
            (&Method::GET, "list-service-accounts") => desk.list_keys().await,
            (&Method::GET, "info-service-account") => desk.key_info(false).await,
            (&Method::GET, "info-access-key") => desk.key_info(true).await,
            (&Method::POST, "update-service-account") => desk.update_key().await,
            (&Method::DELETE, "delete-service-account") => desk.delete_key().await,
            (&Method::GET, "list-access-keys-bulk") => desk.list_all_keys().await,
            (_, action) => Err(Problem::not_built(action)),
        }
    }

    /// Whether whoever asks may look at the server.
    ///
    /// # Errors
    /// 403 `AccessDenied`
    pub fn may_read_info(&self, call: &Call) -> Result<()> {
        let own = self.directory.root().account;
        let allowed = call.is_allowed("admin:ServerInfo", RESOURCE, &own.id);
        if allowed { Ok(()) } else { Err(denied()) }
    }
}

fn denied() -> Problem {
    Problem::denied("Access Denied.")
}

fn done(status: StatusCode) -> Result<Answer> {
    Ok(Answer { status, body: Vec::new() })
}

fn shown(value: &impl Serialize) -> Result<Answer> {
    let body = serde_json::to_vec(value).map_err(|_| Problem::Answer("it cannot be JSON"))?;
    Ok(Answer { status: StatusCode::OK, body })
}

fn none(kind: IdentityKind, name: &str) -> Problem {
    Error::NoSuchIdentity { kind, name: name.to_owned() }.into()
}

fn json_of<T: DeserializeOwned>(body: &[u8]) -> Result<T> {
    let error = |error: serde_json::Error| {
        Problem::bad("XMinioAdminConfigBadJSON", format!("JSON configuration provided is of incorrect format: {error}"))
    };
    serde_json::from_slice(body).map_err(error)
}

impl Desk<'_> {
    fn may(&self, action: &str) -> Result<()> {
        let allowed = self.call.is_allowed(action, RESOURCE, &self.register.account);
        if allowed { Ok(()) } else { Err(denied()) }
    }

    /// The same where it is his own that whoever asks is about.
    fn may_with_own(&self, action: &str, is_own: bool) -> Result<()> {
        let allowed = is_own && self.call.is_not_denied(action, RESOURCE, &self.register.account);
        if allowed { Ok(()) } else { self.may(action) }
    }

    fn parameter(&self, name: &'static str) -> Result<&str> {
        let value = self.request.query.get(name).filter(|value| !value.is_empty());
        value.ok_or_else(|| Problem::bad("InvalidArgument", format!("{name} is missing")))
    }

    /// The body, decrypted.
    async fn secret_body<T: DeserializeOwned>(&self) -> Result<T> {
        let secret = self.call.key.secret.clone();
        json_of(&cipher::decrypt(&secret, self.request.body.clone()).await?)
    }

    /// An answer for the caller's eyes.
    async fn secretly(&self, value: &impl Serialize) -> Result<Answer> {
        let Answer { status, body } = shown(value)?;
        Ok(Answer { status, body: cipher::encrypt(&self.call.key.secret, body).await? })
    }

    fn user(&self, name: &str) -> Result<&PrincipalRow> {
        let kind = PrincipalKind::User;
        self.register.principal(kind, name).ok_or_else(|| none(IdentityKind::Principal(kind), name))
    }

    fn one_group(&self, name: &str) -> Result<&PrincipalRow> {
        let kind = PrincipalKind::Group;
        self.register.principal(kind, name).ok_or_else(|| none(IdentityKind::Principal(kind), name))
    }

    /// What MinIO calls root: its access key.
    fn is_root_key(&self, name: &str) -> bool {
        *self.admin.directory.root().access_key == *name
    }

    /// The name of the user that asks; `None`: the account itself.
    fn own_name(&self) -> Option<&str> {
        match &self.call.who().kind {
            Kind::User { name, .. } => Some(name),
            _ => None,
        }
    }

    fn is_own(&self, name: &str) -> bool {
        self.own_name().is_some_and(|own| own.eq_ignore_ascii_case(name))
    }

    /// A new access key's row, sealed, and the master key it is sealed under.
    fn sealed(&self, access_key: &str, secret: &Secret) -> Result<(AccessKeyRow, String)> {
        if self.is_root_key(access_key) {
            return Err(Problem::new(
                StatusCode::FORBIDDEN,
                "XMinioInvalidIAMCredentials",
                "Credential is not allowed to be same as admin access key",
            ));
        }
        names::key_pair(access_key, secret).map_err(|error| {
            let code = match error {
                names::NameError::AccessKey(_) => "XMinioAdminInvalidAccessKey",
                _ => "XMinioAdminInvalidSecretKey",
            };
            Problem::bad(code, error.to_string())
        })?;
        self.admin.sealed(&self.register.account, access_key, secret)
    }

    fn now(&self) -> Millis {
        self.admin.directory.now()
    }

    /// Sessions make no access keys: those would outlive them.
    fn must_be_lasting(&self) -> Result<()> {
        if self.call.key.temporary { Err(denied()) } else { Ok(()) }
    }

    /// The names of what is attached to somebody, as MinIO writes them.
    fn policy_names(&self, principal: &str) -> String {
        self.register.attached(principal).iter().map(|policy| &*policy.name).collect::<Vec<_>>().join(",")
    }
}

/// When nothing is said of when something was changed: MinIO's clients need a time.
fn changed(at: Millis) -> serde_json::Value {
    json!(super::xml::moment(at))
}
