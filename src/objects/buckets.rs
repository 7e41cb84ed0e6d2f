//! Buckets.

use super::configs::to_json;
use super::tell::Facts;
use super::{Result, Store};
use crate::access::PublicAccessBlock;
use crate::access::acl::{Acl, Ownership};
use crate::events::EventName;
use crate::metadata::{Bucket, BucketChange, BucketQuery, ConfigKind, NewBucket};

/// A CreateBucket.
#[derive(Debug, Clone)]
pub struct CreateBucket {
    /// Its name.
    pub name: String,
    /// Its region.
    pub region: String,
    /// Canonical id of its owner.
    pub owner: String,
    /// Whether it is to lock its objects: it keeps versions from the start.
    pub lock: bool,
    /// What others may do with it; `None`: nothing.
    pub acl: Option<Acl>,
    /// Who owns what others write into it.
    pub ownership: Ownership,
    /// What of public access is blocked.
    pub block: Option<PublicAccessBlock>,
}

impl CreateBucket {
    /// A bucket as `defaults` have it.
    pub fn new(
        name: impl Into<String>,
        region: impl Into<String>,
        owner: impl Into<String>,
        defaults: BucketDefaults,
    ) -> Self {
        Self {
            name: name.into(),
            region: region.into(),
            owner: owner.into(),
            lock: false,
            acl: None,
            ownership: defaults.ownership,
            block: defaults.block,
        }
    }
}

/// What a new bucket is to be where nobody says it. Default: as at Amazon since April 2023, where nothing of it is public.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BucketDefaults {
    /// Who owns what others write into it.
    pub ownership: Ownership,
    /// What of public access is blocked.
    pub block: Option<PublicAccessBlock>,
}

impl Default for BucketDefaults {
    fn default() -> Self {
        Self { ownership: Ownership::default(), block: Some(PublicAccessBlock::ALL) }
    }
}

impl Store {
    /// Creates a bucket.
    ///
    /// # Errors
    /// [`crate::metadata::Error::BucketExists`], with the bucket that has the name.
    pub async fn create_bucket(&self, bucket: CreateBucket) -> Result<Bucket> {
        let CreateBucket { name, region, owner, lock, acl, ownership, block } = bucket;
        let mut configs = vec![(ConfigKind::Ownership, to_json(&ownership)?)];
        configs.extend(acl.as_ref().map(to_json).transpose()?.map(|body| (ConfigKind::Acl, body)));
        configs.extend(block.as_ref().map(to_json).transpose()?.map(|body| (ConfigKind::PublicAccessBlock, body)));
        let bucket = NewBucket { name, region, owner, lock, configs, created: self.clock.now() };
        let store = self.clone();
        Self::to_the_end(async move {
            let created = store.metadata.create_bucket(&bucket).await?;
            let telling = store.telling(EventName::BucketCreated, &bucket.name, "");
            store.tell(telling, Facts::default());
            Ok(created)
        })
        .await
    }

    /// The bucket of that name.
    ///
    /// # Errors
    /// [`crate::metadata::Error::NoSuchBucket`].
    pub async fn bucket(&self, name: &str) -> Result<Bucket> {
        Ok(self.metadata.bucket(name).await?)
    }

    /// Changes whether a bucket keeps versions, or how it locks them.
    ///
    /// # Errors
    /// [`crate::metadata::Error::NoSuchBucket`], [`crate::metadata::Error::BucketState`].
    pub async fn change_bucket(&self, name: String, change: BucketChange) -> Result<()> {
        let store = self.clone();
        Self::to_the_end(async move { Ok(store.metadata.change_bucket(&name, &change).await?) }).await
    }

    /// Deletes an empty bucket, and aborts the uploads that run in it.
    ///
    /// # Errors
    /// [`crate::metadata::Error::NoSuchBucket`], [`crate::metadata::Error::BucketNotEmpty`].
    pub async fn delete_bucket(&self, name: String) -> Result<()> {
        let store = self.clone();
        Self::to_the_end(async move {
            let deleted = store.metadata.delete_bucket(&name, store.clock.now()).await;
            store.rules.changed();
            deleted?;
            let telling = store.telling(EventName::BucketRemoved, &name, "");
            store.tell(telling, Facts::default());
            Ok(())
        })
        .await
    }

    /// A page of buckets, and whether there are more.
    ///
    /// # Errors
    /// The database's.
    pub async fn list_buckets(&self, mut query: BucketQuery) -> Result<(Vec<Bucket>, bool)> {
        let limit = query.limit as usize;
        query.limit += 1;
        let mut buckets = self.metadata.list_buckets(&query).await?;
        let more = buckets.len() > limit;
        buckets.truncate(limit);
        Ok((buckets, more))
    }
}
