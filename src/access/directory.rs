//! The identities of the deployment, in memory: no request asks the database for them.

mod load;
mod sessions;

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use http::StatusCode;
use sha2::{Digest as _, Sha256};
use tokio::sync::{Mutex, watch};
use tokio::time::MissedTickBehavior;

use super::policy::Policy;
use super::seal::{Keyring, SealError};
use super::{Account, Identity, PublicAccessBlock, RootCredentials, Secret};
use crate::clock::{Clock, Millis};
use crate::metadata::{self, AccountRow, Identities, Metadata};
use load::Loaded;
pub use sessions::{Holder, NewSession, SESSION_POLICIES, Session, SessionError};

/// How often the database is asked whether anybody has changed identities.
const POLL: Duration = Duration::from_millis(250);
/// How often it is said when keys were used.
const NOTE_USES: Duration = Duration::from_secs(60);
/// How long saying it for the last time may take.
const LAST_NOTE: Duration = Duration::from_secs(5);

/// An access key, and whose it is.
#[derive(Debug, Clone)]
pub struct Key {
    /// Who signs with it.
    pub identity: Identity,
    /// What it is signed with.
    pub secret: Secret,
    /// Whether it is a session's.
    pub temporary: bool,
    /// Whether it is switched on.
    pub active: bool,
    /// When it ends, in milliseconds since 1970.
    pub expires: Option<i64>,
    /// When it was used last.
    pub used: LastUse,
}

impl Key {
    /// A key that is switched on and never ends.
    pub fn new(identity: Identity, secret: Secret) -> Self {
        Self { identity, secret, temporary: false, active: true, expires: None, used: LastUse::default() }
    }

    /// Whether anybody may sign with it now.
    ///
    /// # Errors
    /// [`KeyError`]
    fn check(&self, now: Millis) -> Result<(), KeyError> {
        match self.expires {
            _ if !self.active => Err(KeyError::Unknown),
            Some(end) if end <= now && self.temporary => Err(KeyError::Expired),
            Some(end) if end <= now => Err(KeyError::Unknown),
            _ => Ok(()),
        }
    }
}

/// When a key was used last, in milliseconds since 1970, and whether that was noted. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct LastUse(Arc<[AtomicI64; 2]>);

impl LastUse {
    fn note(&self, now: Millis) {
        self.0[0].fetch_max(now, Ordering::Relaxed);
    }

    /// The last use, if it is later than the one that was asked for before.
    fn take(&self) -> Option<Millis> {
        let used = self.0[0].load(Ordering::Relaxed);
        (self.0[1].swap(used, Ordering::Relaxed) < used).then_some(used)
    }

    /// It could not be noted.
    fn put_back(&self) {
        self.0[1].store(0, Ordering::Relaxed);
    }
}

/// Why nobody may sign with a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Nobody has it, or it is switched off, or one that was to end has.
    #[error("The AWS Access Key Id you provided does not exist in our records.")]
    Unknown,
    /// It is a session's, which is over.
    #[error("The provided token has expired.")]
    Expired,
    /// The token is not the session's, or it is no session's key, or whoever the session was of is no more.
    #[error("The provided token is malformed or otherwise invalid.")]
    Token,
}

impl KeyError {
    /// S3's name of the error.
    pub fn code(self) -> &'static str {
        match self {
            Self::Unknown => "InvalidAccessKeyId",
            Self::Expired => "ExpiredToken",
            Self::Token => "InvalidToken",
        }
    }

    /// The status that S3 answers it with.
    pub fn status(self) -> StatusCode {
        match self {
            Self::Unknown => StatusCode::FORBIDDEN,
            Self::Expired | Self::Token => StatusCode::BAD_REQUEST,
        }
    }
}

/// All accounts and access keys at one moment.
#[derive(Debug, Default)]
pub struct Known {
    keys: HashMap<Arc<str>, Arc<Key>>,
    /// By canonical id: every request asks for its bucket's owner.
    accounts: HashMap<Arc<str>, Arc<Account>>,
    own: Option<Arc<Account>>,
    /// Users and roles by their ids, without access keys; the names of roles' sessions are empty.
    principals: HashMap<Arc<str>, Identity>,
    /// Policies by their ids.
    policies: HashMap<Arc<str>, Arc<Policy>>,
    /// The ids of policies, by [`policy_name`].
    named: HashMap<String, Arc<str>>,
    rows: Arc<Identities>,
}

impl Known {
    /// Adds an account.
    pub fn add_account(&mut self, account: Arc<Account>) {
        self.accounts.insert(Arc::clone(&account.canonical_id), account);
    }

    /// Adds an access key.
    pub fn add_key(&mut self, key: Key) {
        self.keys.insert(Arc::clone(&key.identity.access_key), Arc::new(key));
    }

    /// Says how the deployment's own account is.
    pub fn set_own(&mut self, account: Arc<Account>) {
        self.own = Some(account);
    }
}

/// A policy's name in all of the deployment: no other's of its account differs from it by case alone.
fn policy_name(account: &str, name: &str) -> String {
    format!("{account}/{}", name.to_ascii_lowercase())
}

/// All accounts and access keys of the deployment. Cheap to clone; clones share them.
#[derive(Debug, Clone)]
pub struct Directory(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// Root's key, of the account as it is now, and all others.
    known: RwLock<(Arc<Key>, Arc<Known>)>,
    clock: Clock,
    source: Option<Source>,
    /// Policies of sessions that were read lately, by their texts.
    of_sessions: std::sync::Mutex<HashMap<String, Arc<Policy>>>,
}

/// Where identities come from.
#[derive(Debug)]
struct Source {
    metadata: Metadata,
    keyring: Keyring,
    loaded: Mutex<Loaded>,
}

/// Why identities could not be read.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// The database's answer.
    #[error(transparent)]
    Metadata(#[from] metadata::Error),
    /// Secrets cannot be opened.
    #[error(transparent)]
    Seal(#[from] SealError),
}

/// The deployment's own account as it is before anybody has changed it. Its ids come from the deployment's and not from root's key, so that
/// what root owns stays root's when its key is changed.
fn own_account(deployment: &str) -> Account {
    let hash = |what: &[u8]| {
        let mut hash = Sha256::new();
        hash.update(what);
        hash.update(deployment.as_bytes());
        hash.finalize()
    };
    let number =
        hash(b"ninefold account id\0root\0").iter().take(8).fold(0u64, |sum, &byte| sum << 8 | u64::from(byte));
    Account {
        // Twelve digits, the first of them no zero, which spreadsheets and people lose.
        id: (100_000_000_000 + number % 900_000_000_000).to_string().into(),
        canonical_id: hex::encode(hash(b"ninefold canonical user id\0root\0")).into(),
        name: "root".into(),
        email: None,
        public_access_block: PublicAccessBlock::default(),
    }
}

impl Directory {
    /// The root user alone, as whom the deployment's own account asks.
    pub fn new(root: &RootCredentials, deployment: &str) -> Self {
        Self::with(root, deployment, Clock::system(), None)
    }

    /// The root user, and whoever the database knows, whose secrets `keyring` opens. The deployment's own account has a row there, too.
    ///
    /// # Errors
    /// [`DirectoryError`]
    pub async fn open(
        root: &RootCredentials,
        deployment: &str,
        metadata: Metadata,
        keyring: Keyring,
        clock: Clock,
    ) -> Result<Self, DirectoryError> {
        let own = own_account(deployment);
        let fresh = AccountRow {
            id: own.id.to_string(),
            canonical_id: own.canonical_id.to_string(),
            name: own.name.to_string(),
            email: None,
            public_access_block: "{}".to_owned(),
            own: true,
            created: clock.now(),
        };
        metadata.own_account(&fresh).await?;
        let source = Source { metadata, keyring, loaded: Mutex::default() };
        let directory = Self::with(root, deployment, clock, Some(source));
        directory.refresh().await?;
        Ok(directory)
    }

    /// The root user alone, at a time of its own.
    #[cfg(test)]
    pub(crate) fn at(root: &RootCredentials, deployment: &str, clock: Clock) -> Self {
        Self::with(root, deployment, clock, None)
    }

    fn with(root: &RootCredentials, deployment: &str, clock: Clock, source: Option<Source>) -> Self {
        let identity = Identity::root(Arc::new(own_account(deployment)), root.access_key.as_str());
        let root = Arc::new(Key::new(identity, root.secret_key.clone()));
        let known = RwLock::new((root, Arc::default()));
        Self(Arc::new(Shared { known, clock, source, of_sessions: std::sync::Mutex::default() }))
    }

    fn known(&self) -> (Arc<Key>, Arc<Known>) {
        self.0.known.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From now on these are known, besides root.
    pub fn replace(&self, known: Known) {
        let mut state = self.0.known.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = &known.own
            && *own != state.0.identity.account
        {
            let mut root = Key::clone(&state.0);
            root.identity.account = Arc::clone(own);
            state.0 = Arc::new(root);
        }
        state.1 = Arc::new(known);
    }

    /// An access key that may be signed with.
    ///
    /// # Errors
    /// [`KeyError`]
    pub fn find(&self, access_key: &str) -> Result<Arc<Key>, KeyError> {
        let (root, known) = self.known();
        if *access_key == *root.identity.access_key {
            return Ok(root);
        }
        let key = known.keys.get(access_key).ok_or(KeyError::Unknown)?;
        key.check(self.0.clock.now())?;
        Ok(Arc::clone(key))
    }

    /// The secret that a key signs with, be it a session's. What it signs counts once [`Self::signer`] has seen the token, too.
    ///
    /// # Errors
    /// [`KeyError`]
    pub fn secret(&self, access_key: &str) -> Result<Secret, KeyError> {
        match self.find(access_key) {
            Err(KeyError::Unknown) => self.session_secret(access_key),
            found => Ok(found?.secret.clone()),
        }
    }

    /// The access key that signed a request, with the session's token that came with it.
    ///
    /// # Errors
    /// [`KeyError`]
    pub fn signer(&self, access_key: &str, token: Option<&str>) -> Result<Arc<Key>, KeyError> {
        match (self.find(access_key), token) {
            (Ok(_), Some(_)) => Err(KeyError::Token),
            (Err(KeyError::Unknown), Some(token)) => self.session(access_key, token).map(Arc::new),
            (found, None) => found,
            (Err(error), Some(_)) => Err(error),
        }
    }

    /// The rows that what is known was read from.
    ///
    /// # Errors
    /// [`DirectoryError`]: they could not be read anew.
    pub async fn rows(&self) -> Result<Arc<Identities>, DirectoryError> {
        self.refresh().await?;
        Ok(Arc::clone(&self.known().1.rows))
    }

    /// Where identities are kept, and what their secrets are sealed with; `None` where there is root alone.
    pub fn store(&self) -> Option<(&Metadata, &Keyring)> {
        self.0.source.as_ref().map(|source| (&source.metadata, &source.keyring))
    }

    /// The present, as the ends of keys are judged by.
    pub fn now(&self) -> Millis {
        self.0.clock.now()
    }

    /// The root user.
    pub fn root(&self) -> Identity {
        self.known().0.identity.clone()
    }

    /// The account with this canonical id.
    pub fn account(&self, canonical_id: &str) -> Option<Arc<Account>> {
        let (root, known) = self.known();
        if *root.identity.account.canonical_id == *canonical_id {
            return Some(Arc::clone(&root.identity.account));
        }
        known.accounts.get(canonical_id).cloned()
    }

    /// The account with this e-mail address, in any case.
    pub fn account_by_email(&self, email: &str) -> Option<Arc<Account>> {
        self.account_with(|account| account.email.as_ref().is_some_and(|own| own.eq_ignore_ascii_case(email)))
    }

    fn account_with(&self, is_it: impl Fn(&Account) -> bool) -> Option<Arc<Account>> {
        let (root, known) = self.known();
        std::iter::once(&root.identity.account).chain(known.accounts.values()).find(|account| is_it(account)).cloned()
    }

    /// Notes that somebody has signed with a key; the database learns of it within minutes.
    pub fn note_use(&self, access_key: &str) {
        if let Some(key) = self.known().1.keys.get(access_key) {
            key.used.note(self.0.clock.now());
        }
    }

    /// Reads what was changed. Whoever changes identities calls it, so that this process knows them when the change is answered.
    ///
    /// # Errors
    /// [`DirectoryError`], and what was known is still known.
    pub async fn refresh(&self) -> Result<(), DirectoryError> {
        let Some(source) = &self.0.source else { return Ok(()) };
        // One at a time, so that nothing older takes the place of something newer.
        let mut loaded = source.loaded.lock().await;
        let is_current = loaded.generation() == Some(source.metadata.identity_generation().await?);
        let has_found = match loaded.wanted() {
            Some(seal) => source.keyring.follow(seal).await.is_ok(),
            None => false,
        };
        if is_current && !has_found {
            return Ok(());
        }
        let identities = source.metadata.identities().await?;
        // What was switched off or removed meanwhile is, whether or not new secrets can be opened.
        let mut wanted = None;
        if let Some(seal) = &identities.seal
            && let Err(error) = source.keyring.follow(seal).await
        {
            tracing::error!(%error, "the master key is another one now; access keys that are not known already cannot be used here");
            wanted = Some(seal.clone());
        }
        let (next, known) = loaded.next(identities, wanted, &source.keyring, &self.known());
        self.replace(known);
        *loaded = next;
        Ok(())
    }

    /// Follows the database until it is told to stop, and tells it when keys were used.
    pub async fn run(&self, mut stop: watch::Receiver<bool>) {
        let Some(source) = &self.0.source else { return };
        // A database that is away holds up no stop.
        tokio::select! {
            () = async { _ = stop.wait_for(|stop| *stop).await } => {}
            () = self.follow(source) => {}
        }
        if tokio::time::timeout(LAST_NOTE, self.note_uses(source)).await.is_err() {
            tracing::debug!("when keys were used last could not be noted in time");
        }
    }

    async fn follow(&self, source: &Source) {
        let (mut poll, mut note) = (tokio::time::interval(POLL), tokio::time::interval(NOTE_USES));
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut failing = false;
        loop {
            tokio::select! {
                _ = poll.tick() => {
                    let outcome = self.refresh().await;
                    match &outcome {
                        Err(error) if !failing => {
                            tracing::warn!(%error, "identities cannot be read; those known before still are");
                        }
                        Ok(()) if failing => tracing::info!("identities are read again"),
                        _ => {}
                    }
                    failing = outcome.is_err();
                }
                _ = note.tick() => self.note_uses(source).await,
            }
        }
    }

    async fn note_uses(&self, source: &Source) {
        let (_, known) = self.known();
        let used: Vec<(&Arc<Key>, Millis)> =
            known.keys.values().filter_map(|key| Some((key, key.used.take()?))).collect();
        if used.is_empty() {
            return;
        }
        let rows: Vec<(String, Millis)> =
            used.iter().map(|(key, at)| (key.identity.access_key.to_string(), *at)).collect();
        if let Err(error) = source.metadata.note_key_uses(&rows).await {
            tracing::debug!(%error, "when keys were used could not be noted");
            used.iter().for_each(|(key, _)| key.used.put_back());
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn credentials(name: &str) -> RootCredentials {
        RootCredentials { access_key: name.to_owned(), secret_key: Secret::new("s3cr3t-k3y") }
    }

    #[test]
    fn the_owner_outlives_the_key() {
        let before = Directory::new(&credentials("first"), "deployment");
        let after = Directory::new(&credentials("second"), "deployment");
        let elsewhere = Directory::new(&credentials("first"), "another");
        assert_eq!(before.root().account, after.root().account);
        assert_ne!(before.root().account.canonical_id, elsewhere.root().account.canonical_id);
        assert_ne!(before.root().account.id, elsewhere.root().account.id);
        assert_eq!(before.root().account.canonical_id.len(), 64);
        assert_eq!(before.root().account.id.len(), 12);
        assert!(before.find("first").is_ok() && before.find("second").is_err() && before.find("").is_err());
    }

    #[test]
    fn keys_that_are_off_or_over_are_none() {
        let clock = Clock::fixed(1000);
        let directory = Directory::with(&credentials("root"), "deployment", clock.clone(), None);
        let account = directory.root().account;
        let mut known = Known::default();
        let key = |name: &str| Key::new(Identity::root(Arc::clone(&account), name), Secret::new("secret"));
        known.add_key(key("on"));
        known.add_key(Key { active: false, ..key("off") });
        known.add_key(Key { expires: Some(2000), ..key("ending") });
        known.add_key(Key { expires: Some(2000), temporary: true, ..key("session") });
        directory.replace(known);
        assert_eq!(directory.find("off").unwrap_err(), KeyError::Unknown);
        for name in ["on", "ending", "session"] {
            assert_eq!(&*directory.find(name).unwrap().identity.access_key, name);
        }
        clock.advance(Duration::from_secs(1));
        assert_eq!(directory.find("ending").unwrap_err(), KeyError::Unknown);
        assert_eq!(directory.find("session").unwrap_err(), KeyError::Expired);
        directory.find("on").unwrap();
    }

    #[test]
    fn a_use_is_noted_once() {
        let used = LastUse::default();
        assert_eq!(used.take(), None);
        used.note(5);
        used.note(4);
        assert_eq!((used.take(), used.take()), (Some(5), None));
        used.put_back();
        assert_eq!(used.take(), Some(5));
    }
}
