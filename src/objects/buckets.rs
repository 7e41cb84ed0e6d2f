//! Buckets.

use super::tell::Facts;
use super::{Result, Store};
use crate::events::EventName;
use crate::metadata::{Bucket, BucketChange, BucketQuery, NewBucket};

impl Store {
    /// Creates a bucket; one that is to `lock` its objects keeps versions from the start.
    ///
    /// # Errors
    /// [`crate::metadata::Error::BucketExists`], with the bucket that has the name.
    pub async fn create_bucket(&self, name: String, region: String, owner: String, lock: bool) -> Result<Bucket> {
        let bucket = NewBucket { name, region, owner, lock, created: self.clock.now() };
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
            store.metadata.delete_bucket(&name, store.clock.now()).await?;
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
