//! The seal on secrets in the database: AES-256-GCM under a master key that the database never sees.
//!
//! A sealed secret is `1:KEY:TEXT`: the format, the master key's id, and in Base64 a nonce of 12 bytes, the secret enciphered, and a
//! tag of 16 bytes. The access key is authenticated with it, so that one secret cannot be put in another's place. The database has the id of
//! the one master key that is in use, and a text that only that key opens: a server with another one does not start.
//!
//! A file of master keys has one in each line. Which of them is in use says the database, so that a change of the key is cut short
//! nowhere: the file has the new key beside the old one, all secrets are sealed anew in one transaction, the file has the new key alone.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hmac;
use rustix::fs::{FlockOperation, flock};
use sha2::{Digest as _, Sha256};

use super::Secret;
use super::private_file::{self, PrivateFileError};
use crate::clock::random_bytes;
use crate::crash;
use crate::metadata::{self, AccessKeyRow, Metadata, SealRow};

/// The file in the data directory that keeps a generated master key.
const FILE: &str = "master.key";
/// What the text that tells the master key is authenticated with; no access key is like it.
const CHECK: &str = "ninefold master key check/";
/// What the secret keys of sessions are made of, before the access key; no other text is derived.
const OF_SESSIONS: &str = "ninefold session secret/";
/// The format of what is sealed.
const FORMAT: &str = "1";

/// Why nothing can be sealed or opened.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The file cannot be used.
    #[error(transparent)]
    File(#[from] PrivateFileError),
    /// A configured file is not there.
    #[error("there is no file of master keys at {}", .0.display())]
    NoFile(PathBuf),
    /// What is given is no master key.
    #[error(
        "{place} does not hold master keys: each is 32 bytes, as 64 hexadecimal digits or in Base64, in a line of its own"
    )]
    Malformed {
        /// Where it was found.
        place: String,
    },
    /// Nothing was ever sealed, and there is nothing to seal with.
    #[error("there is no master key yet: the first start of a server makes it")]
    None,
    /// Secrets are sealed under another key than there is.
    #[error(
        "the secrets of access keys are sealed under the master key {wanted}, which is not in {place}: bring it from where the \
         deployment's other servers, or its backups, have it. If it is lost, `ninefold key rotate-master --lost` gives up all \
         access keys but root's"
    )]
    Other {
        /// The id of the key that is wanted.
        wanted: String,
        /// Where it was looked for.
        place: String,
    },
    /// What was sealed was changed, or sealed for something else.
    #[error("the secret of access key {0} in the database is not what was sealed")]
    Broken(String),
    /// The key is not in a file that could be written.
    #[error(
        "the master key is given in the environment: put the new one behind the old one there, for all servers, and try again"
    )]
    Fixed,
    /// It is not lost.
    #[error("the master key is there, in {0}: it is not lost")]
    NotLost(String),
    /// The database's answer.
    #[error(transparent)]
    Metadata(#[from] metadata::Error),
}

/// Where master keys are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In the configuration.
    Given(Secret),
    /// In a file that the operator named.
    File(PathBuf),
    /// In the data directory; made there if need be.
    Data(PathBuf),
}

impl Place {
    /// What the operator said, else a file in the data directory.
    pub fn of(given: Option<Secret>, file: Option<PathBuf>, data: &Path) -> Self {
        match (given, file) {
            (Some(keys), _) => Self::Given(keys),
            (None, Some(file)) => Self::File(file),
            (None, None) => Self::Data(data.join(FILE)),
        }
    }

    fn path(&self) -> Option<&Path> {
        match self {
            Self::Given(_) => None,
            Self::File(path) | Self::Data(path) => Some(path),
        }
    }

    fn name(&self) -> String {
        self.path().map_or_else(|| "the environment".to_owned(), |path| path.display().to_string())
    }

    /// The keys that are there; none if there is no file where one would be made. Blocking.
    fn load(&self) -> Result<Vec<MasterKey>, SealError> {
        let text = match self {
            Self::Given(keys) => Some(keys.expose().to_owned()),
            Self::File(path) => Some(private_file::read(path)?.ok_or_else(|| SealError::NoFile(path.clone()))?),
            Self::Data(path) => private_file::read(path)?,
        };
        let Some(text) = text else { return Ok(Vec::new()) };
        let malformed = || SealError::Malformed { place: self.name() };
        let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
        let words = lines.flat_map(|line| line.split([' ', '\t', ',', '\r'])).filter(|word| !word.is_empty());
        let keys = words.map(|word| MasterKey::parse(word).ok_or_else(malformed)).collect::<Result<Vec<_>, _>>()?;
        if keys.is_empty() { Err(malformed()) } else { Ok(keys) }
    }
}

/// A master key.
#[derive(Clone)]
struct MasterKey {
    /// 16 hexadecimal digits, which tell nothing of the key.
    id: String,
    /// In Base64.
    text: Secret,
    key: LessSafeKey,
}

impl MasterKey {
    fn new(bytes: [u8; 32]) -> Option<Self> {
        let mut hash = Sha256::new();
        hash.update(b"ninefold master key id\0");
        hash.update(bytes);
        let id = hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        // It can only fail for a key of another length.
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &bytes).ok()?);
        Some(Self { id, text: Secret::new(BASE64_STANDARD.encode(bytes)), key })
    }

    fn parse(word: &str) -> Option<Self> {
        let bytes = hex::decode(word).ok().or_else(|| BASE64_STANDARD.decode(word).ok())?;
        Self::new(bytes.try_into().ok()?)
    }

    fn seal(&self, text: &str, about: &str) -> Result<String, SealError> {
        let nonce = random_bytes::<NONCE_LEN>();
        let mut sealed = text.as_bytes().to_vec();
        self.key
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(about.as_bytes()), &mut sealed)
            .map_err(|_| SealError::Broken(about.to_owned()))?;
        Ok(format!("{FORMAT}:{}:{}", self.id, BASE64_STANDARD.encode([&nonce[..], &sealed].concat())))
    }

    fn unseal(&self, sealed: &str, about: &str) -> Result<Secret, SealError> {
        let broken = || SealError::Broken(about.to_owned());
        let (_, text) = sealed.rsplit_once(':').ok_or_else(broken)?;
        let mut bytes = BASE64_STANDARD.decode(text).map_err(|_| broken())?;
        let (nonce, sealed) = bytes.split_at_mut_checked(NONCE_LEN).ok_or_else(broken)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| broken())?;
        let opened = self.key.open_in_place(nonce, Aad::from(about.as_bytes()), sealed).map_err(|_| broken())?;
        Ok(Secret::new(std::str::from_utf8(opened).map_err(|_| broken())?))
    }

    /// What nobody can know who has not got the key, about something.
    fn derive(&self, about: &str) -> Secret {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.text.expose().as_bytes());
        Secret::new(BASE64_STANDARD_NO_PAD.encode(hmac::sign(&key, about.as_bytes())))
    }

    fn row(&self) -> Result<SealRow, SealError> {
        Ok(SealRow { key: self.id.clone(), check: self.seal(&self.id, CHECK)? })
    }
}

/// The id of the key that something is sealed under.
fn sealed_under(sealed: &str) -> Option<&str> {
    let (format, rest) = sealed.split_once(':')?;
    (format == FORMAT).then(|| rest.split_once(':'))?.map(|(key, _)| key)
}

/// The master keys that there are, of which the database says one is in use. Cheap to clone; clones share them.
#[derive(Clone)]
pub struct Keyring(Arc<Ring>);

struct Ring {
    place: Place,
    state: RwLock<State>,
}

#[derive(Clone)]
struct State {
    keys: Arc<[MasterKey]>,
    /// The id of the one in use.
    current: String,
}

impl std::fmt::Debug for Keyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keyring").field("place", &self.0.place).finish_non_exhaustive()
    }
}

/// A secret as the database has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// The sealed secret.
    pub text: String,
    /// The id of the master key that it is sealed under.
    pub key: String,
}

impl Keyring {
    /// Finds the master key that the database's secrets are sealed under. Where none ever was, one is taken from where keys are, or, if
    /// there is none either and it `may_make` one, made and kept in the data directory.
    ///
    /// # Errors
    /// [`SealError`]
    pub async fn open(metadata: &Metadata, place: Place, may_make: bool) -> Result<Self, SealError> {
        let found = on_disk(&place, Place::load).await?;
        if let Some(seal) = metadata.seal().await? {
            return Self::new(place, found, &seal);
        }
        let made = found.is_empty();
        let keys = match made {
            true if may_make => on_disk(&place, make).await?,
            true => return Err(SealError::None),
            false => found,
        };
        let first = keys.first().ok_or(SealError::None)?;
        let seal = metadata.seal_under(&first.row()?).await?;
        let opened = Self::new(place.clone(), keys, &seal);
        if made && opened.is_err() {
            // Another server was faster, so that nothing is sealed under this one, and nothing ever will.
            on_disk(&place, unmake).await?;
        }
        opened
    }

    fn new(place: Place, keys: Vec<MasterKey>, seal: &SealRow) -> Result<Self, SealError> {
        let ring =
            Self(Arc::new(Ring { place, state: RwLock::new(State { keys: keys.into(), current: seal.key.clone() }) }));
        ring.check(seal)?;
        Ok(ring)
    }

    fn state(&self) -> State {
        self.0.state.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn other(&self, wanted: &str) -> SealError {
        SealError::Other { wanted: wanted.to_owned(), place: self.0.place.name() }
    }

    fn key(&self, id: &str) -> Result<MasterKey, SealError> {
        self.state().keys.iter().find(|key| key.id == id).cloned().ok_or_else(|| self.other(id))
    }

    /// That the key that the database names is there, and is the one that it names.
    fn check(&self, seal: &SealRow) -> Result<(), SealError> {
        match self.key(&seal.key)?.unseal(&seal.check, CHECK) {
            Ok(id) if id.expose() == seal.key => Ok(()),
            _ => Err(self.other(&seal.key)),
        }
    }

    /// Follows the database, which may name another key by now: then they are read again.
    ///
    /// # Errors
    /// [`SealError`], and all is as it was.
    pub(super) async fn follow(&self, seal: &SealRow) -> Result<(), SealError> {
        if self.state().current == seal.key {
            return Ok(());
        }
        let keys = on_disk(&self.0.place, Place::load).await?;
        let next = Self::new(self.0.place.clone(), keys, seal)?.state();
        *self.0.state.write().unwrap_or_else(PoisonError::into_inner) = next;
        tracing::info!(key = seal.key, "the master key is another one");
        Ok(())
    }

    /// Seals the secret of an access key.
    ///
    /// # Errors
    /// [`SealError::Other`] if the key in use is not there.
    pub fn seal(&self, secret: &Secret, access_key: &str) -> Result<Sealed, SealError> {
        let key = self.key(&self.state().current)?;
        Ok(Sealed { text: key.seal(secret.expose(), access_key)?, key: key.id })
    }

    /// The secret key of a session's access key. It is made of the master key in use, so that every server knows it and none has to be
    /// told; with another master key all sessions are over.
    ///
    /// # Errors
    /// [`SealError::Other`] if the key in use is not there.
    pub(super) fn session_secret(&self, access_key: &str) -> Result<Secret, SealError> {
        Ok(self.key(&self.state().current)?.derive(&format!("{OF_SESSIONS}{access_key}")))
    }

    /// Opens the sealed secret of an access key.
    ///
    /// # Errors
    /// [`SealError::Other`]; [`SealError::Broken`].
    pub fn unseal(&self, sealed: &str, access_key: &str) -> Result<Secret, SealError> {
        let key = sealed_under(sealed).ok_or_else(|| SealError::Broken(access_key.to_owned()))?;
        self.key(key)?.unseal(sealed, access_key)
    }

    /// Seals all secrets anew, under a further key that is behind the one in use, or else one that is made and kept there; then has the
    /// file hold that one alone. Cut short anywhere, it is done again. Answers the new key's id and how many secrets there were.
    ///
    /// # Errors
    /// [`SealError`]
    pub async fn rotate(metadata: &Metadata, place: Place) -> Result<(String, usize), SealError> {
        // Two at a time would each forget the other's key.
        let _lock = on_disk(&place, lock).await?;
        let ring = Self::open(metadata, place.clone(), false).await?;
        let State { keys, current } = ring.state();
        let old = ring.key(&current)?;
        let behind = keys.iter().skip_while(|key| key.id != current).nth(1).cloned();
        let next = match behind {
            Some(next) => next,
            None => {
                let next = MasterKey::new(random_bytes()).ok_or(SealError::None)?;
                let both = [old.clone(), next.clone()];
                on_disk(&place, move |place| keep(place, &both)).await?;
                next
            }
        };
        crash::point("seal.announced");
        let reseal = |access_key: &str, sealed: &str| {
            let secret = ring.unseal(sealed, access_key);
            let fresh = secret.and_then(|secret| next.seal(secret.expose(), access_key));
            fresh.map_err(|error| metadata::Error::Corrupt(error.to_string()))
        };
        let count = metadata.reseal(&old.id, &next.row()?, &reseal).await?;
        crash::point("seal.committed");
        let id = next.id.clone();
        if place.path().is_some() {
            on_disk(&place, move |place| keep(place, &[next])).await?;
        }
        crash::point("seal.replaced");
        Ok((id, count))
    }

    /// Gives up all access keys, because the master key that they are sealed under is lost; another one takes its place. Answers its id
    /// and the access keys that are no more.
    ///
    /// # Errors
    /// [`SealError`]
    pub async fn replace_lost(metadata: &Metadata, place: Place) -> Result<(String, Vec<AccessKeyRow>), SealError> {
        let _lock = on_disk(&place, lock).await?;
        match Self::open(metadata, place.clone(), false).await {
            Err(SealError::Other { .. }) => {}
            Ok(_) => return Err(SealError::NotLost(place.name())),
            Err(error) => return Err(error),
        }
        let mut keys = on_disk(&place, Place::load).await?;
        if keys.is_empty() {
            keys = on_disk(&place, make).await?;
        }
        let first = keys.first().ok_or(SealError::None)?;
        let gone = metadata.forget_secrets(&first.row()?).await?;
        Ok((first.id.clone(), gone))
    }
}

/// Does something to the files, on a thread that may wait for them.
async fn on_disk<T: Send + 'static>(
    place: &Place,
    work: impl FnOnce(&Place) -> Result<T, SealError> + Send + 'static,
) -> Result<T, SealError> {
    let owned = place.clone();
    let done = tokio::task::spawn_blocking(move || work(&owned)).await;
    done.unwrap_or_else(|error| {
        let source = std::io::Error::other(error);
        let path = place.path().unwrap_or(Path::new("")).to_owned();
        Err(PrivateFileError::Io { operation: "work on", path, source }.into())
    })
}

/// A new key, where keys are made. Blocking.
fn make(place: &Place) -> Result<Vec<MasterKey>, SealError> {
    let Place::Data(path) = place else { return Err(SealError::None) };
    let key = MasterKey::new(random_bytes()).ok_or(SealError::None)?;
    private_file::create(path, &text(std::slice::from_ref(&key)))?;
    Ok(vec![key])
}

/// Takes back what was made just now. Blocking.
fn unmake(place: &Place) -> Result<(), SealError> {
    let Place::Data(path) = place else { return Ok(()) };
    let removed = std::fs::remove_file(path);
    removed.map_err(|source| PrivateFileError::Io { operation: "remove", path: path.clone(), source }.into())
}

/// From now on these keys are there, in this order. Blocking.
fn keep(place: &Place, keys: &[MasterKey]) -> Result<(), SealError> {
    let path = place.path().ok_or(SealError::Fixed)?;
    Ok(private_file::replace(path, &text(keys))?)
}

fn text(keys: &[MasterKey]) -> String {
    let mut text = "# The master key of this deployment: what secrets in the database are sealed under. Keep this file private, and a \
                    copy of it elsewhere.\n"
        .to_owned();
    for key in keys {
        text.push_str(key.text.expose());
        text.push('\n');
    }
    text
}

/// Holds the directory of the file until this is dropped. Blocking.
fn lock(place: &Place) -> Result<Option<File>, SealError> {
    let Some(path) = place.path() else { return Ok(None) };
    let directory = private_file::directory(path);
    let io = |source| PrivateFileError::Io { operation: "lock", path: directory.to_owned(), source };
    let held = File::open(directory).map_err(io)?;
    flock(&held, FlockOperation::LockExclusive).map_err(|error| io(error.into()))?;
    Ok(Some(held))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn ring(keys: &[[u8; 32]]) -> Keyring {
        let keys: Vec<MasterKey> = keys.iter().map(|bytes| MasterKey::new(*bytes).unwrap()).collect();
        let seal = keys[0].row().unwrap();
        Keyring::new(Place::Given(Secret::new("")), keys, &seal).unwrap()
    }

    #[test]
    fn what_is_sealed_opens_for_its_access_key_and_its_master_key_alone() {
        let one = ring(&[[1; 32]]);
        let secret = Secret::new("s3cr3t");
        let sealed = one.seal(&secret, "AK").unwrap();
        assert!(!sealed.text.contains("s3cr3t"));
        assert_ne!(one.seal(&secret, "AK").unwrap(), sealed, "no nonce comes twice");
        assert_eq!(one.unseal(&sealed.text, "AK").unwrap(), secret);
        assert_eq!(ring(&[[2; 32], [1; 32]]).unseal(&sealed.text, "AK").unwrap(), secret);
        assert!(matches!(one.unseal(&sealed.text, "AKI"), Err(SealError::Broken(_))));
        match ring(&[[2; 32]]).unseal(&sealed.text, "AK") {
            Err(SealError::Other { wanted, .. }) => assert_eq!(wanted, sealed.key),
            other => panic!("{other:?}"),
        }
        let (head, text) = sealed.text.rsplit_once(':').unwrap();
        let mut bytes = BASE64_STANDARD.decode(text).unwrap();
        bytes[NONCE_LEN] ^= 1;
        let changed = format!("{head}:{}", BASE64_STANDARD.encode(bytes));
        for broken in ["", "1:", "1:key:", "2:key:AAAA", head, &sealed.text.replacen("1:", "2:", 1), &changed] {
            assert!(one.unseal(broken, "AK").is_err(), "{broken}");
        }
    }

    #[test]
    fn the_check_tells_a_key_of_the_same_name() {
        let good = MasterKey::new([1; 32]).unwrap().row().unwrap();
        let keys = || vec![MasterKey::new([1; 32]).unwrap()];
        let place = || Place::Given(Secret::new(""));
        Keyring::new(place(), keys(), &good).unwrap();
        let other = MasterKey::new([2; 32]).unwrap().row().unwrap();
        assert!(matches!(Keyring::new(place(), keys(), &other), Err(SealError::Other { .. })));
        let mixed = SealRow { key: good.key, check: other.check };
        assert!(matches!(Keyring::new(place(), keys(), &mixed), Err(SealError::Other { .. })));
    }

    #[test]
    fn keys_are_read_in_either_spelling_and_never_shown() {
        let hex = hex::encode([7; 32]);
        let base64 = BASE64_STANDARD.encode([8; 32]);
        let place = Place::Given(Secret::new(format!("# two of them\n{hex}\n\n {base64}\n")));
        let keys = place.load().unwrap();
        let ids: Vec<&str> = keys.iter().map(|key| key.id.as_str()).collect();
        assert_eq!(ids, [MasterKey::new([7; 32]).unwrap().id, MasterKey::new([8; 32]).unwrap().id]);
        for wrong in ["", "# nothing", "abc", &hex[..62], &format!("{hex}\n{hex}00")] {
            assert!(matches!(Place::Given(Secret::new(wrong)).load(), Err(SealError::Malformed { .. })), "{wrong}");
        }
        let shown = format!("{:?} {place:?}", ring(&[[7; 32]]));
        assert!(!shown.contains(&hex) && !shown.contains(&BASE64_STANDARD.encode([7; 32])), "{shown}");
    }
}
