//! Buckets.

use super::super::{BucketLock, Versioning};
use super::BucketId;
use crate::access::PublicAccessBlock;
use crate::access::acl::{Acl, Ownership};
use crate::clock::Millis;

/// A bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bucket {
    /// Its number.
    pub id: BucketId,
    /// Its name.
    pub name: String,
    /// When it was created.
    pub created: Millis,
    /// The region it was created in.
    pub region: String,
    /// Canonical id of its owner.
    pub owner: String,
    /// Whether it keeps versions.
    pub versioning: Versioning,
    /// How it locks them, if it does.
    pub lock: Option<BucketLock>,
}

/// A bucket to be created.
#[derive(Debug, Clone)]
pub struct NewBucket {
    /// Its name.
    pub name: String,
    /// The region asked for.
    pub region: String,
    /// Canonical id of its owner.
    pub owner: String,
    /// Whether it is to keep versions and lock them.
    pub lock: bool,
    /// What it is configured to from the start, each kind once.
    pub configs: Vec<(ConfigKind, String)>,
    /// Now.
    pub created: Millis,
}

/// What can be changed of a bucket's own row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BucketChange {
    /// Whether it keeps versions; never [`Versioning::Never`].
    Versioning(Versioning),
    /// How it locks them.
    Lock(BucketLock),
}

/// The configurations that a bucket may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ConfigKind {
    /// Its tags, as a JSON object.
    Tagging,
    /// Its rules for pages of other origins, as JSON.
    Cors,
    /// How it is a website, as JSON.
    Website,
    /// How its objects are encrypted, as JSON.
    Encryption,
    /// What becomes of its objects with time, as JSON.
    Lifecycle,
    /// Where its objects are copied to, as JSON. Only while it keeps versions.
    Replication,
    /// The lists that are made of its objects, as a JSON object.
    Inventory,
    /// Where its requests are written down, as JSON.
    Logging,
    /// Its policy, as it was sent.
    Policy,
    /// Its ACL, as JSON; none: it is its owner's alone.
    Acl,
    /// Who owns what others write into it, as JSON.
    Ownership,
    /// What of public access is blocked, as JSON.
    PublicAccessBlock,
}

/// A bucket that has a configuration of some kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketConfig {
    /// The bucket's name.
    pub name: String,
    /// Canonical id of its owner.
    pub owner: String,
    /// The configuration.
    pub body: String,
}

impl ConfigKind {
    /// S3's name of the sub-resource.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tagging => "tagging",
            Self::Cors => "cors",
            Self::Website => "website",
            Self::Encryption => "encryption",
            Self::Lifecycle => "lifecycle",
            Self::Replication => "replication",
            Self::Inventory => "inventory",
            Self::Logging => "logging",
            Self::Policy => "policy",
            Self::Acl => "acl",
            Self::Ownership => "ownershipControls",
            Self::PublicAccessBlock => "publicAccessBlock",
        }
    }

    /// Whether it is about who may do what.
    pub(in crate::metadata) fn is_of_access(self) -> bool {
        matches!(self, Self::Policy | Self::Acl | Self::Ownership | Self::PublicAccessBlock)
    }
}

/// What decides who may do what with a bucket and what is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketAccess {
    /// Its number.
    pub id: BucketId,
    /// Canonical id of its owner.
    pub owner: String,
    /// The region it was created in.
    pub region: String,
    /// Its policy, as it was sent.
    pub policy: Option<String>,
    /// Its ACL; `None`: [`Acl::private`].
    pub acl: Option<Acl>,
    /// Who owns what others write into it, if that was said.
    pub ownership: Option<Ownership>,
    /// What of public access is blocked, if that was said.
    pub block: Option<PublicAccessBlock>,
    /// Whether a quota counts what is in it.
    pub counted: bool,
    /// How often anything of this had changed, of any bucket, at the moment that this shows ([`super::Metadata::access_generation`]).
    pub generation: i64,
}

/// A page of the list of buckets, ordered by name.
#[derive(Debug, Clone, Default)]
pub struct BucketQuery {
    /// Only names that start so.
    pub prefix: String,
    /// Only names after this one.
    pub after: String,
    /// Only buckets of this owner.
    pub owner: String,
    /// Only buckets of this region.
    pub region: Option<String>,
    /// At most so many.
    pub limit: u32,
}
