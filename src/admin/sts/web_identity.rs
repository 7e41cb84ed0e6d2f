//! Sessions for whoever an identity provider knows.
//!
//! With a role, as AWS has it: its trust policy says which provider's users, of which clients and subjects. Without one, as MinIO has it: a claim
//! of the token, or the provider's configuration, names policies of the deployment's own account, and the session may do what those say
//! whenever it asks.

use std::sync::Arc;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::{
    LEAST, MOST, assumed, credentials, packed, role_called, seconds_of, session_name, session_policies, session_policy,
};
use crate::access::policy::{AclGrant, Asked, Layers, Policy, PolicyKind};
use crate::access::{Federation, Holder, Identity, Key, Kind, NewSession, Secret, Session};
use crate::admin::xml::Xml;
use crate::admin::{Admin, Call, Params, Problem, Result};
use crate::clock::Millis;
use crate::oidc::{TokenError, WebIdentity};

/// What is left of a subject as it is in an Amazon Resource Name; a slash is none of it, so that no two are written alike.
const LITERAL: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'@').remove(b'+').remove(b'=').remove(b',');

impl From<TokenError> for Problem {
    /// As "AssumeRoleWithWebIdentity" in the API's reference names them.
    fn from(error: TokenError) -> Self {
        let code = match error {
            TokenError::Expired => "ExpiredTokenException",
            TokenError::Unreachable => "IDPCommunicationError",
            TokenError::TooMuch(_) => "PackedPolicyTooLarge",
            TokenError::Malformed(_)
            | TokenError::Provider(_)
            | TokenError::Audience
            | TokenError::Early
            | TokenError::Algorithm
            | TokenError::Key
            | TokenError::Signature
            | TokenError::Claim(_) => "InvalidIdentityToken",
        };
        Self::bad(code, error.to_string())
    }
}

impl Admin {
    pub(super) async fn assume_role_with_web_identity(
        &self,
        call: &Call,
        params: &Params,
        xml: &mut Xml,
    ) -> Result<()> {
        // Tokens of OAuth 2.0, of providers that AWS knows.
        if params.get("ProviderId").is_some() {
            return Err(Problem::not_built("ProviderId"));
        }
        let role = match params.get("RoleArn") {
            Some(arn) => Some((arn, session_name(params)?)),
            None => None,
        };
        let policy = session_policy(params)?;
        let packed = packed(policy.as_deref());
        let who = self.oidc.verify(params.need("WebIdentityToken")?).await?;
        let (identity, session) = match role {
            Some((arn, name)) => self.of_role(call, params, &who, (arn, name), policy).await?,
            None => self.of_claims(params, &who, policy).await?,
        };
        xml.text("SubjectFromWebIdentityToken", &who.subject);
        xml.text("Audience", &who.audience);
        assumed(xml, &identity);
        credentials(xml, &session);
        xml.text("Provider", &who.issuer);
        xml.some("PackedPolicySize", packed);
        Ok(())
    }

    /// A session of a role that trusts the provider.
    async fn of_role(
        &self,
        call: &Call,
        params: &Params,
        who: &WebIdentity,
        (arn, name): (&str, &str),
        policy: Option<String>,
    ) -> Result<(Identity, Session)> {
        let refused = || Problem::denied("Not authorized to perform sts:AssumeRoleWithWebIdentity");
        let rows = self.directory.rows().await?;
        let (role, trust) = role_called(&rows, arn).ok_or_else(refused)?;
        let account = self.directory.account_by_id(&role.account).ok_or_else(refused)?;
        // A provider is configured for the deployment: each account's roles may trust it, as one of the account's own.
        let federation = who.federation(&account.id);
        let caller = Identity {
            account,
            kind: Kind::Federated { name: name_of(who).into() },
            federation: Some(Arc::new(federation.clone())),
            ..Identity::anonymous()
        };
        let mut call = Call {
            key: Arc::new(Key::new(caller, Secret::new(""))),
            context: call.context.clone(),
            noted: call.noted.clone(),
        };
        call.context.add("sts:RoleSessionName", name);
        let Ok(trusted) = Policy::parse(&trust.document, PolicyKind::Trust) else { return Err(refused()) };
        let action = "sts:AssumeRoleWithWebIdentity";
        let asked = Asked { who: call.who(), action, resource: arn, context: &call.context };
        let layers = Layers { resource: Some(&trusted), acl: AclGrant::Nobody, owner: Some(&role.account) };
        if !call.decide(&asked, &layers) {
            return Err(refused());
        }
        let expires = self.end(seconds_of(params, trust)?);
        let policies = session_policies(params, &rows, &role.account)?;
        let holder = Holder::Role { id: role.id.clone(), session: name.to_owned() };
        let session = self.open(NewSession { holder, policy, policies, federation: Some(federation), expires })?;
        Ok((self.in_role(role, name).ok_or_else(refused)?, session))
    }

    /// A session with the policies that somebody's claims name.
    async fn of_claims(
        &self,
        params: &Params,
        who: &WebIdentity,
        policy: Option<String>,
    ) -> Result<(Identity, Session)> {
        let expires = self.end_within(params, who.ends)?;
        let rows = self.directory.rows().await?;
        let account = self.directory.root().account;
        let mut names = who.policies.clone();
        names.retain(|name| self.directory.policy_called(&account.id, name).is_some());
        if names.is_empty() {
            return Err(Problem::bad(
                "InvalidParameterValue",
                "The token names no policy that there is, and the request no role: there is nothing that the session could do",
            ));
        }
        let limits = session_policies(params, &rows, &account.id)?;
        let name = name_of(who);
        let federation: Federation = who.federation(&account.id);
        let holder = Holder::Federated { account: account.id.to_string(), name: name.clone(), policies: names };
        let (policies, federation) = (limits, Some(federation));
        let session = self.open(NewSession { holder, policy, policies, federation, expires })?;
        let identity = Identity { account, kind: Kind::Federated { name: name.into() }, ..Identity::anonymous() };
        Ok((identity, session))
    }

    /// When a session ends that no role says anything of: as long as the request wants it, else with the token, as MinIO has it.
    fn end_within(&self, params: &Params, ends: Millis) -> Result<Millis> {
        match params.number("DurationSeconds", LEAST, MOST)? {
            Some(seconds) => Ok(self.end(seconds)),
            None if ends <= self.directory.now() => Err(TokenError::Expired.into()),
            None => Ok(ends.min(self.end(MOST))),
        }
    }
}

/// Somebody's name in an account.
fn name_of(who: &WebIdentity) -> String {
    format!("{}/{}", who.provider, utf8_percent_encode(&who.subject, LITERAL))
}
