//! STS: access keys for a while. Source: the "AWS Security Token Service API Reference".
//!
//! Who takes a role is let in by the role's trust policy; a session of oneself (`GetSessionToken`) needs no permission. As MinIO has it,
//! `AssumeRole` without a role is a session of whoever asks, within the session's policy. Who has no key here may ask with what an identity
//! provider gave him (`web_identity`).

mod web_identity;

use http::StatusCode;

use super::problem::{Named, as_iam};
use super::xml::{self, Xml};
use super::{Admin, Call, Params, Problem, Result};
use crate::access::policy::{AclGrant, Asked, Layers, Policy, PolicyKind};
use crate::access::{Holder, Identity, Kind, NewSession, SESSION_POLICIES, Session};
use crate::clock::Millis;
use crate::metadata::{Identities, PrincipalKind, PrincipalRow, Trust};

/// The version of the API.
pub const VERSION: &str = "2011-06-15";
const NAMESPACE: &str = "https://sts.amazonaws.com/doc/2011-06-15/";

/// Seconds that a session may last, at least and at most; a role may allow less.
const LEAST: i64 = 900;
const MOST: i64 = 43_200;
/// Seconds that a session of oneself may last at most, and does if nothing is said.
const MOST_OF_ONESELF: i64 = 129_600;
const OF_ONESELF: i64 = 43_200;
/// The same of the account itself.
const OF_ROOT: i64 = 3_600;
/// Seconds that a session of a role lasts if nothing is said, and that one lasts at most which was asked for in a session.
const OF_ROLE: i64 = 3_600;
/// Characters of a session's policy at most.
const POLICY: usize = 2048;

/// What nobody signs: it brings its own proof of who asks.
const WITH_WEB_IDENTITY: &str = "AssumeRoleWithWebIdentity";

/// Actions that are known and not built.
const UNBUILT: [&str; 6] = [
    "AssumeRoleWithCertificate",
    "AssumeRoleWithLDAPIdentity",
    "AssumeRoleWithSAML",
    "AssumeRoot",
    "DecodeAuthorizationMessage",
    "GetFederationToken",
];

/// An error as STS answers it.
pub fn error(status: StatusCode, code: &str, message: &str, request_id: &str) -> String {
    let at_fault = if status.is_server_error() { "Receiver" } else { "Sender" };
    xml::error(NAMESPACE, at_fault, code, message, request_id)
}

/// Whether a request without a signature may be one for [`Admin::sts`]; if not, what it comes to.
///
/// # Errors
/// [`Problem`]
pub fn unsigned(params: &Params) -> Result<()> {
    match params.get("Action").filter(|_| params.get("Version") == Some(VERSION)) {
        Some(WITH_WEB_IDENTITY) => Ok(()),
        Some(action) if UNBUILT.contains(&action) => Err(Problem::not_built(action)),
        _ => Err(Problem::new(
            StatusCode::FORBIDDEN,
            "MissingAuthenticationToken",
            "Request is missing Authentication Token",
        )),
    }
}

pub(super) fn named(problem: &Problem) -> Named {
    problem.named(as_iam)
}

impl Admin {
    /// Answers a request: XML.
    ///
    /// # Errors
    /// [`Problem`]
    pub async fn sts(&self, call: &Call, params: &Params, request_id: &str) -> Result<String> {
        let action = params.get("Action").unwrap_or_default();
        let mut xml = Xml::default();
        match action {
            "GetCallerIdentity" => {
                let who = call.who();
                xml.text("Arn", who.arn());
                xml.text("UserId", who.user_id());
                xml.text("Account", &who.account.id);
            }
            "GetAccessKeyInfo" => self.key_info(params, &mut xml).await?,
            "GetSessionToken" => {
                let policy = None;
                let session = self.of_oneself(call, params, policy)?;
                credentials(&mut xml, &session);
            }
            "AssumeRole" => self.assume_role(call, params, &mut xml).await?,
            WITH_WEB_IDENTITY => self.assume_role_with_web_identity(call, params, &mut xml).await?,
            action if UNBUILT.contains(&action) => return Err(Problem::not_built(action)),
            action => return Err(super::iam::unknown(action, VERSION)),
        }
        Ok(xml.answer(NAMESPACE, action, true, request_id))
    }

    async fn key_info(&self, params: &Params, xml: &mut Xml) -> Result<()> {
        let access_key = params.need("AccessKeyId")?;
        let rows = self.directory.rows().await?;
        let found = rows.keys.iter().find(|key| key.access_key == access_key).map(|key| key.account.clone());
        let root = self.directory.root();
        let found = found.or_else(|| (*root.access_key == *access_key).then(|| root.account.id.to_string()));
        let account = found.ok_or_else(|| Problem::bad("ValidationError", "There is no such access key"))?;
        xml.text("Account", account);
        Ok(())
    }

    /// A session of whoever asks.
    fn of_oneself(&self, call: &Call, params: &Params, policy: Option<String>) -> Result<Session> {
        if call.key.temporary {
            return Err(Problem::denied("Cannot call GetSessionToken with session credentials"));
        }
        let who = call.who();
        let (most, usual) = if who.is_root() { (OF_ROOT, OF_ROOT) } else { (MOST_OF_ONESELF, OF_ONESELF) };
        // What is too long for root is cut, as AWS does it.
        let seconds = params.number("DurationSeconds", LEAST, MOST_OF_ONESELF)?.unwrap_or(usual).min(most);
        let by = who.access_key.to_string();
        let holder = match &who.kind {
            Kind::Root => Holder::Account { id: who.account.id.to_string(), by },
            Kind::User { id, .. } => Holder::User { id: id.to_string(), by },
            Kind::Role { .. } | Kind::Federated { .. } | Kind::Anonymous => {
                return Err(Problem::denied("There is nobody to be"));
            }
        };
        if policy.is_some() && who.session.is_some() {
            return Err(Problem::denied("An access key with a policy of its own has no sessions with other policies"));
        }
        let (policies, federation, expires) = (Vec::new(), None, self.end(seconds));
        self.open(NewSession { holder, policy, policies, federation, expires })
    }

    fn open(&self, new: NewSession) -> Result<Session> {
        Ok(self.directory.open_session(new)?)
    }

    fn end(&self, seconds: i64) -> Millis {
        self.directory.now().saturating_add(seconds.saturating_mul(1000))
    }

    async fn assume_role(&self, call: &Call, params: &Params, xml: &mut Xml) -> Result<()> {
        let policy = session_policy(params)?;
        let Some(arn) = params.get("RoleArn") else {
            let session = self.of_oneself(call, params, policy)?;
            credentials(xml, &session);
            return Ok(());
        };
        let name = session_name(params)?;
        for unbuilt in
            ["SerialNumber", "TokenCode", "Tags.member.1.Key", "TransitiveTagKeys.member.1", "SourceIdentity"]
        {
            if params.get(unbuilt).is_some() {
                return Err(Problem::not_built(unbuilt));
            }
        }
        let mut call = Call { key: call.key.clone(), context: call.context.clone(), noted: call.noted.clone() };
        call.context.add("sts:RoleSessionName", name);
        if let Some(id) = params.get("ExternalId") {
            call.context.add("sts:ExternalId", id);
        }
        let refused = || {
            Problem::denied(format!(
                "User: {} is not authorized to perform: sts:AssumeRole on resource: {arn}",
                call.who().arn()
            ))
        };
        let rows = self.directory.rows().await?;
        // Who is known to a provider alone is asked for his token each time.
        if matches!(call.who().kind, Kind::Federated { .. }) {
            return Err(refused());
        }
        let (role, trust) = role_called(&rows, arn).ok_or_else(refused)?;
        let seconds = seconds_of(params, trust)?;
        if call.key.temporary && matches!(call.who().kind, Kind::Role { .. }) && seconds > OF_ROLE {
            return Err(Problem::bad(
                "ValidationError",
                "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining",
            ));
        }
        let Ok(trusted) = Policy::parse(&trust.document, PolicyKind::Trust) else { return Err(refused()) };
        let asked = Asked { who: call.who(), action: "sts:AssumeRole", resource: arn, context: &call.context };
        let layers = Layers { resource: Some(&trusted), acl: AclGrant::Nobody, owner: Some(&role.account) };
        if !call.decide(&asked, &layers) {
            return Err(refused());
        }
        let policies = session_policies(params, &rows, &role.account)?;
        let holder = Holder::Role { id: role.id.clone(), session: name.to_owned() };
        let packed = packed(policy.as_deref());
        let (federation, expires) = (None, self.end(seconds));
        let session = self.open(NewSession { holder, policy, policies, federation, expires })?;
        assumed(xml, &self.in_role(role, name).ok_or_else(refused)?);
        credentials(xml, &session);
        xml.some("PackedPolicySize", packed);
        Ok(())
    }

    /// As whom a session of a role asks.
    fn in_role(&self, role: &PrincipalRow, session: &str) -> Option<Identity> {
        let (id, name, path) = (role.id.as_str().into(), role.name.as_str().into(), role.path.as_str().into());
        let account = self.directory.account_by_id(&role.account)?;
        let kind = Kind::Role { id, name, path, session: session.into() };
        Some(Identity { kind, account, ..Identity::anonymous() })
    }
}

/// What a session of a role is to be called.
fn session_name(params: &Params) -> Result<&str> {
    let name = params.need("RoleSessionName")?;
    let legible = |b: u8| b.is_ascii_alphanumeric() || b"_+=,.@-".contains(&b);
    if !(2..=64).contains(&name.len()) || !name.bytes().all(legible) {
        return Err(Problem::bad(
            "ValidationError",
            format!(
                "Value '{name}' at 'roleSessionName' failed to satisfy constraint: 2 to 64 letters, digits and _+=,.@-"
            ),
        ));
    }
    Ok(name)
}

/// A role, and who may take it.
fn role_called<'a>(rows: &'a Identities, arn: &str) -> Option<(&'a PrincipalRow, &'a Trust)> {
    let is_it = |row: &&PrincipalRow| row.kind == PrincipalKind::Role && row.arn() == arn;
    let role = rows.principals.iter().find(is_it)?;
    Some((role, role.trust.as_ref()?))
}

/// Seconds that a session of a role is to last.
fn seconds_of(params: &Params, trust: &Trust) -> Result<i64> {
    let seconds = params.number("DurationSeconds", LEAST, MOST)?.unwrap_or(OF_ROLE.min(trust.max_session));
    if seconds > trust.max_session {
        return Err(Problem::bad(
            "ValidationError",
            "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.",
        ));
    }
    Ok(seconds)
}

/// The policies of an account that a session is to be limited by, by their ids.
fn session_policies(params: &Params, rows: &Identities, account: &str) -> Result<Vec<String>> {
    let mut policies = Vec::new();
    for arn in params.members("PolicyArns", ".arn") {
        let found = rows.policies.iter().find(|row| row.account == account && row.arn() == arn);
        let found = found.ok_or_else(|| Problem::bad("PackedPolicyTooLarge", format!("There is no policy {arn}")))?;
        policies.push(found.id.clone());
    }
    if policies.len() > SESSION_POLICIES {
        let message = format!("A session has {SESSION_POLICIES} policies at most");
        return Err(Problem::bad("PackedPolicyTooLarge", message));
    }
    Ok(policies)
}

/// How much of what a session's policy may have it has, in percent.
fn packed(policy: Option<&str>) -> Option<String> {
    let percent = policy.map_or(0, |policy| policy.chars().count() * 100 / POLICY);
    (percent > 0).then(|| percent.to_string())
}

/// Whose a session is.
fn assumed(xml: &mut Xml, who: &Identity) {
    xml.within("AssumedRoleUser", |xml| {
        xml.text("Arn", who.arn());
        xml.text("AssumedRoleId", who.user_id());
    });
}

/// The policy that was sent for a session.
fn session_policy(params: &Params) -> Result<Option<String>> {
    let Some(text) = params.get("Policy") else { return Ok(None) };
    if text.chars().count() > POLICY {
        return Err(Problem::bad(
            "PackedPolicyTooLarge",
            format!("A session's policy has {POLICY} characters at most"),
        ));
    }
    Policy::parse(text, PolicyKind::Identity).map_err(|error| Problem::document("MalformedPolicyDocument", error))?;
    Ok(Some(text.to_owned()))
}

fn credentials(xml: &mut Xml, session: &Session) {
    xml.within("Credentials", |xml| {
        xml.text("AccessKeyId", &session.access_key);
        xml.text("SecretAccessKey", session.secret.expose());
        xml.text("SessionToken", session.token.expose());
        xml.moment("Expiration", session.expires);
    });
}
