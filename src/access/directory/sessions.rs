//! Sessions: access keys for a while, which no row says anything of.
//!
//! The access key is random, its secret is made of it and the master key, and the token is a [`Ticket`], sealed under the master key for
//! that access key alone. So a session is known to every server at once, survives a restart, and costs the database nothing; it ends with
//! its time, with whoever it is of (ids are never given again), and, if it is of a user or an account itself, with the access key that
//! asked for it. What it may do is what whoever it is of may do at that time, within the session's own policies. What an identity provider says
//! of somebody is said once, and part of the ticket.

use std::sync::{Arc, PoisonError};

use serde::{Deserialize, Serialize};

use super::{Directory, Key, KeyError, Millis, Policy, Secret, policy_name};
use crate::access::policy::{PolicyKind, builtin};
use crate::access::root::random_text;
use crate::access::seal::SealError;
use crate::access::{Account, Federation, Identity, Kind};

/// What the access keys of sessions begin with, as AWS's do.
const PREFIX: &str = "ASIA";
/// How many characters follow.
const RANDOM: usize = 16;
/// What tokens are sealed for, before the access key: no access key has a slash, so that no secret is a token.
const OF_TOKENS: &str = "session/";
/// Policies of sessions that are kept as they were read.
const KEPT: usize = 1024;

/// Policies that may be named for one session: <https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html>.
pub const SESSION_POLICIES: usize = 10;

/// Whose a session is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Holder {
    /// An account itself, by its id, as long as the access key that asked is good.
    Account {
        /// Its id.
        id: String,
        /// The access key.
        by: String,
    },
    /// A user, by its id, as long as the access key that asked is good.
    User {
        /// Its id.
        id: String,
        /// The access key.
        by: String,
    },
    /// A role, by its id.
    Role {
        /// Its id.
        id: String,
        /// What the session is called.
        session: String,
    },
    /// Somebody whom an identity provider knows, with policies of an account.
    Federated {
        /// The account's id.
        account: String,
        /// [`Kind::Federated`]'s.
        name: String,
        /// The policies, by their names: what those say when something is asked. One that is no more says nothing.
        policies: Vec<String>,
    },
}

/// What a session is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSession {
    /// Whose it is.
    pub holder: Holder,
    /// What it may do at most: a document, which was found to be a policy.
    pub policy: Option<String>,
    /// What it may do at most: policies, by their ids.
    pub policies: Vec<String>,
    /// Who it is of to the identity provider that let him in, if one did.
    pub federation: Option<Federation>,
    /// When it ends.
    pub expires: Millis,
}

/// A session, as it is told to whoever asked for it, once.
#[derive(Debug, Clone)]
pub struct Session {
    /// Its access key.
    pub access_key: String,
    /// Its secret.
    pub secret: Secret,
    /// Its token.
    pub token: Secret,
    /// When it ends.
    pub expires: Millis,
}

/// What a token says.
#[derive(Serialize, Deserialize)]
struct Ticket {
    of: Holder,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    policy: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    policies: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    federation: Option<Federation>,
    expires: Millis,
}

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// There is nothing to seal it with.
    #[error("there is no master key")]
    NoKey,
    /// It cannot be sealed.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// It cannot be written down.
    #[error("a session cannot be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
}

fn is_of_session(access_key: &str) -> bool {
    access_key.strip_prefix(PREFIX).is_some_and(|rest| rest.len() == RANDOM)
}

impl Directory {
    /// Makes a session.
    ///
    /// # Errors
    /// [`SessionError`]
    pub fn open_session(&self, new: NewSession) -> Result<Session, SessionError> {
        let (_, keyring) = self.store().ok_or(SessionError::NoKey)?;
        let access_key = PREFIX.to_owned() + &random_text::<RANDOM>(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567");
        let NewSession { holder, policy, policies, federation, expires } = new;
        let ticket = serde_json::to_string(&Ticket { of: holder, policy, policies, federation, expires })?;
        let token = keyring.seal(&Secret::new(ticket), &format!("{OF_TOKENS}{access_key}"))?.text;
        let secret = keyring.session_secret(&access_key)?;
        Ok(Session { access_key, secret, token: Secret::new(token), expires })
    }

    pub(super) fn session_secret(&self, access_key: &str) -> Result<Secret, KeyError> {
        let (_, keyring) = self.store().filter(|_| is_of_session(access_key)).ok_or(KeyError::Unknown)?;
        keyring.session_secret(access_key).map_err(|error| {
            tracing::error!(%error, "sessions cannot be used");
            KeyError::Unknown
        })
    }

    /// The access key of a session, by its token.
    pub(super) fn session(&self, access_key: &str, token: &str) -> Result<Key, KeyError> {
        let (_, keyring) = self.store().filter(|_| is_of_session(access_key)).ok_or(KeyError::Unknown)?;
        let ticket = keyring.unseal(token, &format!("{OF_TOKENS}{access_key}")).map_err(|_| KeyError::Token)?;
        let ticket: Ticket = serde_json::from_str(ticket.expose()).map_err(|_| KeyError::Token)?;
        if ticket.expires <= self.now() {
            return Err(KeyError::Expired);
        }
        let holder = self.holder(&ticket.of).ok_or(KeyError::Token)?;
        let limits = self.limits(&ticket, holder.session.as_deref()).ok_or(KeyError::Token)?;
        let federation = ticket.federation.map(Arc::new);
        let identity = Identity { access_key: access_key.into(), session: limits, federation, ..holder };
        let secret = self.session_secret(access_key)?;
        Ok(Key { temporary: true, expires: Some(ticket.expires), ..Key::new(identity, secret) })
    }

    /// As whom a session asks; `None` if there is no such any more.
    fn holder(&self, of: &Holder) -> Option<Identity> {
        let (_, known) = self.known();
        match of {
            Holder::Account { id, by } => {
                let key = self.find(by).ok()?;
                (key.identity.is_root() && *key.identity.account.id == **id).then(|| key.identity.clone())
            }
            Holder::User { id, by } => {
                let key = self.find(by).ok()?;
                matches!(&key.identity.kind, Kind::User { id: own, .. } if **own == **id).then(|| key.identity.clone())
            }
            Holder::Role { id, session } => {
                let mut role = known.principals.get(id.as_str())?.clone();
                let Kind::Role { session: name, .. } = &mut role.kind else { return None };
                *name = session.as_str().into();
                Some(role)
            }
            Holder::Federated { account, name, policies } => Some(Identity {
                account: self.account_by_id(account)?,
                kind: Kind::Federated { name: name.as_str().into() },
                policies: policies.iter().filter_map(|policy| self.policy_called(account, policy)).collect(),
                ..Identity::anonymous()
            }),
        }
    }

    /// What a session may do at most; `inherited`: what the key that asked for it may.
    ///
    /// The policies of a session add up, and so would those of its key, which must limit it as well. There is one place for limits, so that
    /// only one of the two can be: whoever has a limited key gets sessions that are limited like it, and no others.
    fn limits(&self, ticket: &Ticket, inherited: Option<&[Arc<Policy>]>) -> Option<Option<Arc<[Arc<Policy>]>>> {
        let (_, known) = self.known();
        let named = ticket.policies.iter().map(|id| known.policies.get(id.as_str()).cloned());
        let own = ticket.policy.as_deref().map(|text| self.session_policy(text));
        let limits: Vec<Arc<Policy>> = own.into_iter().chain(named).collect::<Option<_>>()?;
        match (limits.is_empty(), inherited) {
            (true, None) => Some(None),
            (true, Some(inherited)) => Some(Some(inherited.into())),
            (false, None) => Some(Some(limits.into())),
            (false, Some(_)) => None,
        }
    }

    fn session_policy(&self, text: &str) -> Option<Arc<Policy>> {
        let mut kept = self.0.of_sessions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(policy) = kept.get(text) {
            return Some(Arc::clone(policy));
        }
        let policy = Arc::new(Policy::parse(text, PolicyKind::Identity).ok()?);
        if kept.len() >= KEPT {
            kept.clear();
        }
        kept.insert(text.to_owned(), Arc::clone(&policy));
        Some(policy)
    }

    /// A policy of an account, or one that every deployment has, by its name in any case.
    pub fn policy_called(&self, account: &str, name: &str) -> Option<Arc<Policy>> {
        let (_, known) = self.known();
        match known.named.get(&policy_name(account, name)) {
            Some(id) => known.policies.get(id).cloned(),
            None => builtin(name).and_then(|(_, text)| self.session_policy(text)),
        }
    }

    /// An account by its id.
    pub fn account_by_id(&self, id: &str) -> Option<Arc<Account>> {
        self.account_with(|account| *account.id == *id)
    }
}
