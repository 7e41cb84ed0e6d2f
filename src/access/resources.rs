//! What buckets and objects say of who may do what with them.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;

use super::PublicAccessBlock;
use super::acl::{Acl, Ownership};
use super::policy::Policy;
use crate::metadata::Object;
use crate::objects;

/// A bucket's own rules.
#[derive(Debug, Clone, PartialEq)]
pub struct BucketRules {
    /// Canonical id of its owner.
    pub owner: String,
    /// Its policy.
    pub policy: Option<Arc<Policy>>,
    /// Its ACL.
    pub acl: Acl,
    /// Whose the objects are, and whether ACLs count.
    pub ownership: Ownership,
    /// What of public access is blocked.
    pub block: PublicAccessBlock,
}

/// An object's own rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectRules {
    /// Canonical id of its owner.
    pub owner: String,
    /// Its ACL.
    pub acl: Acl,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

impl ObjectRules {
    /// Those of an object.
    pub fn of(object: &Object) -> Self {
        Self {
            owner: object.owner.clone(),
            acl: object.acl.clone().unwrap_or_else(|| Acl::private(&object.owner)),
            tags: object.tags.clone(),
        }
    }
}

/// An object whose own rules had a say in what a request may do, as it was then.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Its bucket.
    pub bucket: String,
    /// Its key.
    pub key: String,
    /// The version that the request names.
    pub version: Option<String>,
    /// Its rules; `None`: there was none.
    pub rules: Option<Arc<ObjectRules>>,
}

/// Whose a multipart upload is.
#[derive(Debug, Clone)]
pub struct UploadRules {
    /// Canonical id of who will own the object.
    pub owner: String,
    /// Canonical id of who started it.
    pub initiator: String,
}

/// Knows what is there.
#[async_trait]
pub trait Resources: Send + Sync + 'static {
    /// A bucket's rules, at most a second old.
    ///
    /// # Errors
    /// There is no such bucket; the database's.
    async fn bucket_rules(&self, bucket: &str) -> objects::Result<Arc<BucketRules>>;

    /// The rules of an object, or of one of its versions by name; `None` if there is none, or a delete marker.
    ///
    /// # Errors
    /// There is no such bucket; the database's.
    async fn object_rules(
        &self,
        bucket: &str,
        key: &str,
        version: Option<&str>,
    ) -> objects::Result<Option<ObjectRules>>;

    /// Whose a multipart upload is; `None` if there is none of this name.
    ///
    /// # Errors
    /// There is no such bucket; the database's.
    async fn upload_rules(&self, bucket: &str, key: &str, upload: &str) -> objects::Result<Option<UploadRules>>;
}
