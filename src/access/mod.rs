//! Who may do what: credentials, and what a request claims about who sent it.

pub mod claims;
pub mod form;
pub mod query;
mod root;
mod secret;
pub mod version2;

use std::sync::Arc;

use sha2::{Digest as _, Sha256};

pub use root::{RootCredentials, RootError, RootSource};
pub use secret::Secret;

/// Who a verified request comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// 64 hexadecimal digits: what S3 calls the canonical user id, stable for the life of the deployment.
    pub canonical_id: Arc<str>,
    /// What S3 prints as the owner's name.
    pub display_name: Arc<str>,
    /// The access key the request was signed with.
    pub access_key: Arc<str>,
}

/// All access keys of the deployment. Cheap to clone; clones share them.
#[derive(Debug, Clone)]
pub struct Credentials(Arc<Root>);

#[derive(Debug)]
struct Root {
    identity: Identity,
    secret: Secret,
}

impl Credentials {
    /// The root user's key. The canonical id comes from the deployment's id and not from the key, so that what root owns
    /// stays root's when its key is changed.
    pub fn new(root: &RootCredentials, deployment: &str) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"ninefold canonical user id\0root\0");
        hash.update(deployment.as_bytes());
        let identity = Identity {
            canonical_id: hex::encode(hash.finalize()).into(),
            display_name: root.access_key.as_str().into(),
            access_key: root.access_key.as_str().into(),
        };
        Self(Arc::new(Root { identity, secret: root.secret_key.clone() }))
    }

    /// Who owns an access key, and its secret; `None` if nobody does.
    pub fn find(&self, access_key: &str) -> Option<(&Identity, &Secret)> {
        (*access_key == *self.0.identity.access_key).then_some((&self.0.identity, &self.0.secret))
    }

    /// The root user.
    pub fn root(&self) -> &Identity {
        &self.0.identity
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owner_outlives_the_key() {
        let key = |name: &str| RootCredentials { access_key: name.to_owned(), secret_key: Secret::new("s3cr3t-k3y") };
        let before = Credentials::new(&key("first"), "deployment");
        let after = Credentials::new(&key("second"), "deployment");
        let elsewhere = Credentials::new(&key("first"), "another");
        assert_eq!(before.root().canonical_id, after.root().canonical_id);
        assert_ne!(before.root().canonical_id, elsewhere.root().canonical_id);
        assert_eq!(before.root().canonical_id.len(), 64);
        assert!(before.find("first").is_some() && before.find("second").is_none() && before.find("").is_none());
    }
}
