//! The root user's credentials: given by the operator, or made at the first start and kept in a file.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::Secret;
use super::private_file::{self, PrivateFileError};
use crate::clock::random_bytes;

/// The file in the data directory that keeps generated credentials.
const FILE: &str = "credentials";

/// Pairs that come with other servers or with tutorials, and that everyone tries first.
const KNOWN: [(&str, &str); 12] = [
    ("minioadmin", "minioadmin"),
    ("minio", "minio123"),
    ("minio", "miniostorage"),
    ("rustfsadmin", "rustfsadmin"),
    ("admin", "admin"),
    ("admin", "password"),
    ("root", "password"),
    ("root", "rootroot"),
    ("ninefold", "ninefold"),
    ("ninefoldadmin", "ninefoldadmin"),
    ("accesskey", "secretkey"),
    ("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
];

/// Passwords that are refused whoever the user is.
const COMMON: [&str; 12] = [
    "password",
    "password1",
    "changeme",
    "change-me",
    "changeit",
    "12345678",
    "123456789",
    "secretkey",
    "minioadmin",
    "minio123",
    "rustfsadmin",
    "letmein1",
];

/// Why root credentials cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RootError {
    /// Only one of the two is there.
    #[error("a root user needs a root password and the other way round: set both or neither")]
    Half,
    /// The user is too short or holds what a signature cannot.
    #[error("the root user must have 3 to 128 printable characters, without blanks, '/', '=' and ','")]
    User,
    /// The password is too short.
    #[error("the root password must have at least 8 characters")]
    Password,
    /// Everyone knows it.
    #[error("the root credentials of user {0} are a well-known default or trivial; choose others")]
    Known(String),
    /// The file is not what was written there.
    #[error("{} does not hold credentials: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong, without its content.
        reason: &'static str,
    },
    /// The file cannot be used.
    #[error(transparent)]
    File(#[from] PrivateFileError),
}

/// The root user's key.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RootCredentials {
    /// Its name in requests.
    pub access_key: String,
    /// Its secret.
    pub secret_key: Secret,
}

/// Where root credentials came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RootSource {
    /// The operator's configuration.
    Configured,
    /// The file, written at an earlier start.
    File(PathBuf),
    /// Made just now, and written to the file.
    Generated(PathBuf),
}

impl RootCredentials {
    /// Takes what the operator configured, else the data directory's file, else makes new ones and writes the file.
    /// Blocking.
    ///
    /// # Errors
    /// [`RootError`]: weak or half credentials, or a file that cannot be used.
    pub fn load(user: Option<String>, password: Option<Secret>, data: &Path) -> Result<(Self, RootSource), RootError> {
        match (user, password) {
            (Some(access_key), Some(secret_key)) => {
                let given = Self { access_key, secret_key };
                given.check()?;
                Ok((given, RootSource::Configured))
            }
            (None, None) => {
                let path = data.join(FILE);
                match read(&path)? {
                    Some(kept) => Ok((kept, RootSource::File(path))),
                    None => {
                        let fresh = Self::generate();
                        fresh.write(&path)?;
                        Ok((fresh, RootSource::Generated(path)))
                    }
                }
            }
            _ => Err(RootError::Half),
        }
    }

    /// That user and password are long enough to be safe, can be signed with, and are not what everyone tries first.
    pub(super) fn check(&self) -> Result<(), RootError> {
        let (user, password) = (self.access_key.as_str(), self.secret_key.expose());
        let legible = |b: u8| b.is_ascii_graphic() && !matches!(b, b'/' | b'=' | b',');
        if !(3..=128).contains(&user.len()) || !user.bytes().all(legible) {
            return Err(RootError::User);
        }
        let known = KNOWN.iter().any(|(u, p)| u.eq_ignore_ascii_case(user) && p.eq_ignore_ascii_case(password));
        let common = COMMON.iter().any(|p| p.eq_ignore_ascii_case(password));
        if known || common || user.eq_ignore_ascii_case(password) {
            return Err(RootError::Known(user.to_owned()));
        }
        if password.chars().count() < 8 { Err(RootError::Password) } else { Ok(()) }
    }

    /// 20 and 40 characters, more than 100 and 230 bits.
    fn generate() -> Self {
        Self {
            access_key: random_text::<20>(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"),
            secret_key: Secret::new(random_text::<40>(
                b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789",
            )),
        }
    }

    fn write(&self, path: &Path) -> Result<(), RootError> {
        let text = format!(
            "# The root credentials of this deployment, made at its first start. Keep this file private.\n\
             access_key = \"{}\"\nsecret_key = \"{}\"\n",
            self.access_key,
            self.secret_key.expose()
        );
        Ok(private_file::create(path, &text)?)
    }
}

fn read(path: &Path) -> Result<Option<RootCredentials>, RootError> {
    let Some(text) = private_file::read(path)? else { return Ok(None) };
    let malformed = |reason| RootError::Malformed { path: path.to_owned(), reason };
    // The parser's message would quote the line, secret and all.
    let kept: RootCredentials =
        toml::from_str(&text).map_err(|_| malformed("it needs access_key and secret_key, as TOML"))?;
    kept.check().map_err(|_| malformed("its credentials are too short or well known"))?;
    Ok(Some(kept))
}

/// `N` letters of an alphabet, at random.
pub(super) fn random_text<const N: usize>(alphabet: &[u8]) -> String {
    let mut text = String::with_capacity(N);
    // Bytes beyond the largest multiple are thrown away: taking the remainder of all would favour some letters.
    let fair = 256 - 256 % alphabet.len();
    while text.len() < N {
        for byte in random_bytes::<64>() {
            let index = usize::from(byte);
            if index < fair
                && text.len() < N
                && let Some(&letter) = alphabet.get(index % alphabet.len())
            {
                text.push(char::from(letter));
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn given(user: &str, password: &str) -> Result<(RootCredentials, RootSource), RootError> {
        RootCredentials::load(Some(user.to_owned()), Some(Secret::new(password)), Path::new("unused"))
    }

    #[test]
    fn generated_once_and_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let (first, source) = RootCredentials::load(None, None, dir.path()).unwrap();
        assert_eq!(source, RootSource::Generated(dir.path().join("credentials")));
        assert_eq!((first.access_key.len(), first.secret_key.expose().len()), (20, 40));
        let mode = fs::metadata(dir.path().join("credentials")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no draft is left");
        let (again, source) = RootCredentials::load(None, None, dir.path()).unwrap();
        assert_eq!(source, RootSource::File(dir.path().join("credentials")));
        assert_eq!(again, first);
        let elsewhere = tempfile::tempdir().unwrap();
        assert_ne!(RootCredentials::load(None, None, elsewhere.path()).unwrap().0, first);
    }

    #[test]
    fn what_everyone_knows_is_refused() {
        for (user, password) in [
            ("minioadmin", "minioadmin"),
            ("MinioAdmin", "minioadmin"),
            ("admin", "admin"),
            ("somebody", "password"),
            ("somebody", "ChangeMe"),
            ("alexandra", "alexandra"),
            ("root", "rustfsadmin"),
        ] {
            assert!(matches!(given(user, password), Err(RootError::Known(_))), "{user}");
        }
        assert!(matches!(given("me", "long enough"), Err(RootError::User)));
        assert!(matches!(given("me/you", "long enough"), Err(RootError::User)));
        assert!(matches!(given("somebody", "short"), Err(RootError::Password)));
        let half = RootCredentials::load(Some("somebody".into()), None, Path::new("unused"));
        assert!(matches!(half, Err(RootError::Half)));
        assert_eq!(given("somebody", "long enough").unwrap().1, RootSource::Configured);
    }

    #[test]
    fn a_file_that_others_read_or_that_is_broken_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("credentials");
        RootCredentials::load(None, None, dir.path()).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(
            RootCredentials::load(None, None, dir.path()),
            Err(RootError::File(PrivateFileError::Exposed(_)))
        ));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "access_key = \"AAAA\"\nsecret_key = 7-not-toml-but-secret\n").unwrap();
        let error = RootCredentials::load(None, None, dir.path()).unwrap_err();
        assert!(matches!(error, RootError::Malformed { .. }));
        assert!(!format!("{error} {error:?}").contains("7-not-toml"));
    }
}
