//! What identities may be called: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html>.

use super::root::{RootError, random_text};
use super::{RootCredentials, Secret};
use crate::clock::{Millis, random_bytes};
use crate::metadata::{AccountRow, PolicyRow, PrincipalKind, PrincipalRow, Tags};

/// Letters and digits of ids.
const OF_IDS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
/// Letters and digits of secrets.
const OF_SECRETS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// Why something cannot be called so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// A name that cannot be one.
    #[error("{0:?} is no name: it must have 1 to {1} letters, digits and characters of _+=,.@-")]
    Name(String, usize),
    /// A path that cannot be one.
    #[error("{0:?} is no path: it must begin and end with a slash, and have at most 512 printable characters")]
    Path(String),
    /// An address that cannot be one.
    #[error("{0:?} is no e-mail address")]
    Email(String),
    /// An access key that cannot be one.
    #[error("{0:?} is no access key: it must have 3 to 128 printable characters, without blanks, '/', '=' and ','")]
    AccessKey(String),
    /// A secret key that is too short.
    #[error("a secret key must have 8 to 128 characters")]
    SecretKey,
    /// Everyone knows it.
    #[error("the pair of access key {0} is a well-known default or trivial; choose another")]
    Known(String),
}

/// That a name can be an account's, user's, group's, role's or policy's, with so many characters at most.
fn name(text: &str, most: usize) -> Result<(), NameError> {
    let legible = |b: u8| b.is_ascii_alphanumeric() || b"_+=,.@-".contains(&b);
    let good = (1..=most).contains(&text.len()) && text.bytes().all(legible);
    if good { Ok(()) } else { Err(NameError::Name(text.to_owned(), most)) }
}

/// That an account can be called so. Names of digits alone are ids.
///
/// # Errors
/// [`NameError::Name`]
pub fn account(text: &str) -> Result<(), NameError> {
    let is_id = text.bytes().all(|b| b.is_ascii_digit());
    if is_id { Err(NameError::Name(text.to_owned(), 64)) } else { name(text, 64) }
}

/// That a user, group or role can be called so.
///
/// # Errors
/// [`NameError::Name`]
pub fn principal(kind: PrincipalKind, text: &str) -> Result<(), NameError> {
    name(text, if kind == PrincipalKind::Group { 128 } else { 64 })
}

/// That a policy can be called so.
///
/// # Errors
/// [`NameError::Name`]
pub fn policy(text: &str) -> Result<(), NameError> {
    name(text, 128)
}

/// That this is a path.
///
/// # Errors
/// [`NameError::Path`]
pub fn path(text: &str) -> Result<(), NameError> {
    let good = (1..=512).contains(&text.len())
        && text.starts_with('/')
        && text.ends_with('/')
        && text.bytes().all(|b| b.is_ascii_graphic());
    if good { Ok(()) } else { Err(NameError::Path(text.to_owned())) }
}

/// That this may be an e-mail address.
///
/// # Errors
/// [`NameError::Email`]
pub fn email(text: &str) -> Result<(), NameError> {
    let parts = text.split_once('@').is_some_and(|(who, at)| !who.is_empty() && !at.is_empty() && !at.contains('@'));
    let good = parts && text.len() <= 254 && text.bytes().all(|b| b.is_ascii_graphic());
    if good { Ok(()) } else { Err(NameError::Email(text.to_owned())) }
}

/// That an access key and its secret are long enough to be safe, can be signed with, and are not what everyone tries first.
///
/// # Errors
/// [`NameError`]
pub fn key_pair(access_key: &str, secret_key: &Secret) -> Result<(), NameError> {
    let pair = RootCredentials { access_key: access_key.to_owned(), secret_key: secret_key.clone() };
    match pair.check() {
        Ok(()) if secret_key.expose().len() <= 128 => Ok(()),
        Err(RootError::User) => Err(NameError::AccessKey(access_key.to_owned())),
        Err(RootError::Known(_)) => Err(NameError::Known(access_key.to_owned())),
        _ => Err(NameError::SecretKey),
    }
}

/// A fresh id of 12 digits.
pub fn fresh_account_id() -> String {
    (100_000_000_000 + u64::from_be_bytes(random_bytes()) % 900_000_000_000).to_string()
}

/// A fresh canonical id.
pub fn fresh_canonical_id() -> String {
    hex::encode(random_bytes::<32>())
}

/// A fresh id of a user, group or role.
pub fn fresh_principal_id(kind: PrincipalKind) -> String {
    let prefix = match kind {
        PrincipalKind::User => "AIDA",
        PrincipalKind::Group => "AGPA",
        PrincipalKind::Role => "AROA",
    };
    prefix.to_owned() + &random_text::<17>(OF_IDS)
}

/// A fresh id of a policy.
pub fn fresh_policy_id() -> String {
    "ANPA".to_owned() + &random_text::<17>(OF_IDS)
}

/// An account that is to be made.
///
/// # Errors
/// [`NameError::Name`], [`NameError::Email`]
pub fn fresh_account(name: &str, email: Option<&str>, created: Millis) -> Result<AccountRow, NameError> {
    account(name)?;
    email.map_or(Ok(()), self::email)?;
    Ok(AccountRow {
        id: fresh_account_id(),
        canonical_id: fresh_canonical_id(),
        name: name.to_owned(),
        email: email.map(str::to_ascii_lowercase),
        public_access_block: "{}".to_owned(),
        own: false,
        created,
    })
}

/// A user, group or role that is to be made, at the path `/`. A role still lacks whom it trusts.
///
/// # Errors
/// [`NameError::Name`]
pub fn fresh_principal(
    kind: PrincipalKind,
    account: &str,
    name: &str,
    created: Millis,
) -> Result<PrincipalRow, NameError> {
    principal(kind, name)?;
    Ok(PrincipalRow {
        id: fresh_principal_id(kind),
        account: account.to_owned(),
        kind,
        name: name.to_owned(),
        path: "/".to_owned(),
        boundary: None,
        tags: Tags::new(),
        trust: None,
        description: String::new(),
        created,
    })
}

/// A policy that is to be made, at the path `/`.
///
/// # Errors
/// [`NameError::Name`]
pub fn fresh_policy(account: &str, name: &str, created: Millis) -> Result<PolicyRow, NameError> {
    policy(name)?;
    Ok(PolicyRow {
        id: fresh_policy_id(),
        account: account.to_owned(),
        name: name.to_owned(),
        path: "/".to_owned(),
        description: String::new(),
        default_version: 1,
        created,
    })
}

/// A fresh access key.
pub fn fresh_access_key() -> String {
    "AKIA".to_owned() + &random_text::<16>(OF_IDS)
}

/// A fresh secret: 40 characters, more than 230 bits.
pub fn fresh_secret_key() -> Secret {
    Secret::new(random_text::<40>(OF_SECRETS))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_is_fresh_may_be_called_so() {
        key_pair(&fresh_access_key(), &fresh_secret_key()).unwrap();
        assert_eq!((fresh_account_id().len(), fresh_canonical_id().len()), (12, 64));
        assert_eq!(fresh_principal_id(PrincipalKind::User).len(), 21);
        assert_ne!(fresh_principal_id(PrincipalKind::Role), fresh_principal_id(PrincipalKind::Role));
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for good in ["a", "Some.One+else@home_1-2,3=4"] {
            principal(PrincipalKind::User, good).unwrap();
        }
        for bad in ["", "a b", "ä", "a/b", "a:b", "a*", &"x".repeat(65)] {
            assert!(principal(PrincipalKind::User, bad).is_err(), "{bad}");
        }
        policy(&"x".repeat(128)).unwrap();
        assert!(account("123456789012").is_err() && account("12b").is_ok());
        for (text, good) in [("/", true), ("/a/b/", true), ("", false), ("/a", false), ("a/", false), ("/ /", false)] {
            assert_eq!(path(text).is_ok(), good, "{text}");
        }
        for (text, good) in
            [("a@b", true), ("a", false), ("@b", false), ("a@", false), ("a@b@c", false), ("a b@c", false)]
        {
            assert_eq!(email(text).is_ok(), good, "{text}");
        }
        let secret = Secret::new("long enough");
        assert!(matches!(key_pair("a/b", &secret), Err(NameError::AccessKey(_))));
        assert!(matches!(key_pair("abc", &Secret::new("short")), Err(NameError::SecretKey)));
        assert!(matches!(key_pair("minioadmin", &Secret::new("minioadmin")), Err(NameError::Known(_))));
    }
}
