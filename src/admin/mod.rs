//! What administers over HTTP: IAM and STS as AWS has them, the part of MinIO's administration that is about identities, and an API of our
//! own, in JSON.
//!
//! Beside the way of S3's requests: the server verifies who asks (`access::sigv4`), reads the body, and answers with what comes of it. All
//! of them change the same rows, which every server follows. Who may what is asked of the policies of whoever asks, about the account
//! that he is of: nobody reaches into another account, but the deployment's own into all through `json`.

mod documents;
pub mod iam;
pub mod json;
pub mod minio;
mod params;
mod problem;
mod register;
pub mod sts;
pub mod view;
mod xml;

use std::sync::Arc;

use serde_json::json;

pub use documents::{MAX_SESSION, SESSIONS};
pub use params::Params;
pub use problem::Problem;
pub use register::Register;

use crate::access::policy::{self, AclGrant, Asked, Context, Layers, Policy, PolicyKind};
use crate::access::seal::Keyring;
use crate::access::{Directory, Identity, Key, Secret};
use crate::audit::Decided;
use crate::metadata::{AccessKeyRow, Metadata};
use crate::oidc::Oidc;
use crate::server::Noted;

/// What it comes to.
pub type Result<T> = std::result::Result<T, Problem>;

/// Administers identities. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Admin {
    directory: Directory,
    oidc: Oidc,
}

/// A request whose signature was verified, or that needs none.
#[derive(Debug)]
pub struct Call {
    /// The key that signed; nobody's if none did.
    pub key: Arc<Key>,
    /// What conditions are about.
    pub context: Context,
    /// Where what is decided is noted.
    pub noted: Option<Noted>,
}

impl Admin {
    /// Administers the identities that `directory` knows, and lets in whoever the providers of `oidc` do.
    pub fn new(directory: Directory, oidc: Oidc) -> Self {
        Self { directory, oidc }
    }

    /// Where identities are kept.
    fn store(&self) -> Result<(&Metadata, &Keyring)> {
        self.directory.store().ok_or_else(|| Problem::not_built("Administration without a database"))
    }

    /// Everybody of an account, as of now.
    async fn register(&self, account: &str) -> Result<Register> {
        Ok(Register::new(self.directory.rows().await?, account))
    }

    /// A new access key of an account itself, with its secret sealed, and the id of the master key that it is sealed under.
    fn sealed(&self, account: &str, access_key: &str, secret: &Secret) -> Result<(AccessKeyRow, String)> {
        let (_, keyring) = self.store()?;
        let sealed = keyring.seal(secret, access_key)?;
        Ok((AccessKeyRow::new(access_key, account, sealed.text, self.directory.now()), sealed.key))
    }

    /// What was changed is known to this server before it is answered.
    async fn changed(&self) -> Result<()> {
        Ok(self.directory.refresh().await?)
    }
}

impl Call {
    fn who(&self) -> &Identity {
        &self.key.identity
    }

    /// Whether the policies of whoever asks let him do this; `owner`: the account that it is done to.
    fn is_allowed(&self, action: &str, resource: &str, owner: &str) -> bool {
        self.is_allowed_within(&self.context, action, resource, owner)
    }

    /// The same where conditions are about more.
    fn is_allowed_within(&self, context: &Context, action: &str, resource: &str, owner: &str) -> bool {
        self.allows(self.who(), context, action, resource, owner)
    }

    fn allows(&self, who: &Identity, context: &Context, action: &str, resource: &str, owner: &str) -> bool {
        let layers = Layers { resource: None, acl: AclGrant::Nobody, owner: Some(owner) };
        self.decide(&Asked { who, action, resource, context }, &layers)
    }

    /// Decides something, and has it noted.
    fn decide(&self, asked: &Asked<'_>, layers: &Layers<'_>) -> bool {
        let decision = policy::decide(asked, layers);
        if let Some(noted) = &self.noted {
            noted.decided(|| Decided::new(asked.action, asked.resource, &decision));
        }
        decision.allowed
    }

    /// The same of what everybody may do with what is his own, if nothing denies it.
    fn is_not_denied(&self, action: &str, resource: &str, owner: &str) -> bool {
        let who = self.who();
        let statement = json!({"Effect": "Allow", "Action": action, "Resource": "*"});
        let own = json!({"Version": "2012-10-17", "Statement": [statement]}).to_string();
        let Ok(own) = Policy::parse(&own, PolicyKind::Identity) else { return false };
        let own = own.named("what is one's own");
        let policies = who.policies.iter().cloned().chain([Arc::new(own)]).collect();
        self.allows(&Identity { policies, ..who.clone() }, &self.context, action, resource, owner)
    }
}
