//! What administers identities over HTTP: IAM and STS as AWS has them, and the part of MinIO's administration that is about identities.
//!
//! Beside the way of S3's requests: the server verifies who asks (`access::sigv4`), reads the body, and answers with what comes of it. All
//! three change the same rows, which every server follows. Who may what is asked of the policies of whoever asks, about the account
//! that he is of: nobody reaches into another account.

pub mod iam;
pub mod minio;
mod params;
mod problem;
mod register;
pub mod sts;
mod xml;

use std::sync::Arc;

use serde_json::json;

pub use params::Params;
pub use problem::Problem;

use crate::access::policy::{self, AclGrant, Asked, Context, Layers, Policy, PolicyKind};
use crate::access::seal::Keyring;
use crate::access::{Directory, Identity, Key};
use crate::metadata::Metadata;
use crate::oidc::Oidc;
use register::Register;

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
        Self::allows(self.who(), context, action, resource, owner)
    }

    fn allows(who: &Identity, context: &Context, action: &str, resource: &str, owner: &str) -> bool {
        let asked = Asked { who, action, resource, context };
        policy::decide(&asked, &Layers { resource: None, acl: AclGrant::Nobody, owner: Some(owner) }).allowed
    }

    /// The same of what everybody may do with what is his own, if nothing denies it.
    fn is_not_denied(&self, action: &str, resource: &str, owner: &str) -> bool {
        let who = self.who();
        let statement = json!({"Effect": "Allow", "Action": action, "Resource": "*"});
        let own = json!({"Version": "2012-10-17", "Statement": [statement]}).to_string();
        let Ok(own) = Policy::parse(&own, PolicyKind::Identity) else { return false };
        let policies = who.policies.iter().cloned().chain([Arc::new(own)]).collect();
        Self::allows(&Identity { policies, ..who.clone() }, &self.context, action, resource, owner)
    }
}
