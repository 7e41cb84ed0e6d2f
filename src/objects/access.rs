//! Who may do what with buckets and objects, as far as these say it themselves: ACLs, ownership, public access block and policy. Who is
//! allowed what because of it is decided elsewhere.
//!
//! Source: "Access control in Amazon S3" in the Amazon S3 user guide.

use super::{Result, Store, VersionName};
use crate::access::PublicAccessBlock;
use crate::access::acl::{Acl, Ownership};
use crate::metadata::{BucketAccess, ConfigKind, VersionId};

/// Whose an object is, and what others may do with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectAccess {
    /// Canonical id of its owner.
    pub owner: String,
    /// Its ACL; `None`: it is its owner's alone.
    pub acl: Option<Acl>,
    /// Which version that is, if the bucket keeps any.
    pub version: Option<VersionId>,
}

impl Store {
    /// What decides who may do what with a bucket.
    ///
    /// # Errors
    /// No such bucket.
    pub async fn bucket_access(&self, bucket: &str) -> Result<BucketAccess> {
        Ok(self.metadata.bucket_access(bucket).await?)
    }

    /// Gives a bucket this ACL; `None`: it is its owner's alone.
    ///
    /// # Errors
    /// No such bucket.
    pub async fn set_bucket_acl(&self, bucket: String, acl: Option<Acl>) -> Result<()> {
        self.set_config(bucket, ConfigKind::Acl, acl.as_ref()).await
    }

    /// Says who owns what others write into a bucket, or no more.
    ///
    /// # Errors
    /// No such bucket.
    pub async fn set_bucket_ownership(&self, bucket: String, ownership: Option<Ownership>) -> Result<()> {
        self.set_config(bucket, ConfigKind::Ownership, ownership.as_ref()).await
    }

    /// Says what of public access to a bucket is blocked, or no more.
    ///
    /// # Errors
    /// No such bucket.
    pub async fn set_public_access_block(&self, bucket: String, block: Option<PublicAccessBlock>) -> Result<()> {
        self.set_config(bucket, ConfigKind::PublicAccessBlock, block.as_ref()).await
    }

    /// Gives a bucket this policy, which is kept as it is, or takes it away.
    ///
    /// # Errors
    /// No such bucket.
    pub async fn set_bucket_policy(&self, bucket: String, policy: Option<String>) -> Result<()> {
        let store = self.clone();
        Self::to_the_end(async move {
            let set = store.metadata.set_bucket_config(&bucket, ConfigKind::Policy, policy.as_deref()).await;
            store.rules.changed();
            Ok(set?)
        })
        .await
    }

    /// Whose an object is, and its ACL.
    ///
    /// # Errors
    /// No such bucket, key or version.
    pub async fn object_access(&self, name: &VersionName) -> Result<ObjectAccess> {
        let found = self.describe(name).await?;
        Ok(ObjectAccess { owner: found.object.owner, acl: found.object.acl, version: found.version })
    }
}
