//! The identities of the deployment, in memory: no request asks the database for them.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use sha2::{Digest as _, Sha256};

use super::{Account, Identity, PublicAccessBlock, RootCredentials, Secret};

/// An access key, and whose it is.
#[derive(Debug, Clone)]
pub struct Key {
    /// Who signs with it.
    pub identity: Identity,
    /// What it is signed with.
    pub secret: Secret,
    /// The token that must come with it: it is one of a session.
    pub token: Option<Secret>,
    /// When it ends, in milliseconds since 1970.
    pub expires: Option<i64>,
}

/// All accounts and access keys at one moment.
#[derive(Debug, Default)]
pub struct Known {
    keys: HashMap<Arc<str>, Arc<Key>>,
    accounts: Vec<Arc<Account>>,
}

impl Known {
    /// Adds an account.
    pub fn add_account(&mut self, account: Arc<Account>) {
        self.accounts.push(account);
    }

    /// Adds an access key.
    pub fn add_key(&mut self, key: Key) {
        self.keys.insert(Arc::clone(&key.identity.access_key), Arc::new(key));
    }
}

/// All accounts and access keys of the deployment. Cheap to clone; clones share them.
#[derive(Debug, Clone)]
pub struct Directory(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    root: Key,
    known: RwLock<Arc<Known>>,
}

impl Directory {
    /// The root user alone, as whom the deployment's own account asks. Its canonical id comes from the deployment's id and not from the
    /// key, so that what root owns stays root's when its key is changed.
    pub fn new(root: &RootCredentials, deployment: &str) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"ninefold canonical user id\0root\0");
        hash.update(deployment.as_bytes());
        let account = Account {
            id: "000000000000".into(),
            canonical_id: hex::encode(hash.finalize()).into(),
            name: root.access_key.as_str().into(),
            email: None,
            public_access_block: PublicAccessBlock::default(),
        };
        let identity = Identity::root(Arc::new(account), root.access_key.as_str());
        let root = Key { identity, secret: root.secret_key.clone(), token: None, expires: None };
        Self(Arc::new(Shared { root, known: RwLock::default() }))
    }

    fn known(&self) -> Arc<Known> {
        Arc::clone(&self.0.known.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// From now on these are known, besides root.
    pub fn replace(&self, known: Known) {
        *self.0.known.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(known);
    }

    /// An access key; `None` if nobody has it.
    pub fn find(&self, access_key: &str) -> Option<Arc<Key>> {
        if *access_key == *self.0.root.identity.access_key {
            return Some(Arc::new(self.0.root.clone()));
        }
        self.known().keys.get(access_key).cloned()
    }

    /// The root user.
    pub fn root(&self) -> &Identity {
        &self.0.root.identity
    }

    /// The account that `is` it.
    pub fn account(&self, is: impl Fn(&Account) -> bool) -> Option<Arc<Account>> {
        let root = &self.0.root.identity.account;
        if is(root) {
            return Some(Arc::clone(root));
        }
        self.known().accounts.iter().find(|account| is(account)).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owner_outlives_the_key() {
        let key = |name: &str| RootCredentials { access_key: name.to_owned(), secret_key: Secret::new("s3cr3t-k3y") };
        let before = Directory::new(&key("first"), "deployment");
        let after = Directory::new(&key("second"), "deployment");
        let elsewhere = Directory::new(&key("first"), "another");
        assert_eq!(before.root().account.canonical_id, after.root().account.canonical_id);
        assert_ne!(before.root().account.canonical_id, elsewhere.root().account.canonical_id);
        assert_eq!(before.root().account.canonical_id.len(), 64);
        assert!(before.find("first").is_some() && before.find("second").is_none() && before.find("").is_none());
    }
}
