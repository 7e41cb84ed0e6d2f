//! Whether a bucket keeps versions, and what each is called.

use std::fmt;

/// Whether writes keep what a key held before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Versioning {
    /// They never did: S3 calls such a bucket unversioned.
    Never,
    /// Every write makes a version.
    Enabled,
    /// They did once; now each takes the place of the null version.
    Suspended,
}

impl Versioning {
    /// As SQL has it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::Enabled => "enabled",
            Self::Suspended => "suspended",
        }
    }

    pub(super) fn from_name(name: &str) -> Option<Self> {
        [Self::Never, Self::Enabled, Self::Suspended].into_iter().find(|versioning| versioning.name() == name)
    }
}

/// A version's name among those of its key: `null`, or 32 hexadecimal digits, of which the first 16 are its place in the order of
/// the key's versions and the others random.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VersionId(String);

impl VersionId {
    const NULL: &str = "null";

    /// The version written where versions are not kept.
    pub fn null() -> Self {
        Self(Self::NULL.into())
    }

    /// A new version's name.
    pub(super) fn new(seq: i64) -> Self {
        Self(format!("{seq:016x}{}", hex::encode(crate::clock::random_bytes::<8>())))
    }

    /// What a client says; `None` if no version was ever called so.
    pub fn parse(text: &str) -> Option<Self> {
        let named = text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        (named || text == Self::NULL).then(|| Self(text.to_owned()))
    }

    /// As a column has it.
    pub(super) fn of_column(column: Option<String>) -> Self {
        column.map_or_else(Self::null, Self)
    }

    /// For a column.
    pub(super) fn column(&self) -> Option<&str> {
        (!self.is_null()).then_some(self.0.as_str())
    }

    /// Whether this is the null version.
    pub fn is_null(&self) -> bool {
        self.0 == Self::NULL
    }

    /// As S3 shows it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its place among the key's versions, which its name tells; not so the null version's.
    pub(super) fn seq(&self) -> Option<i64> {
        i64::from_str_radix(self.0.get(..16)?, 16).ok()
    }
}

impl fmt::Display for VersionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
