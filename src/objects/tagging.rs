//! Tags of buckets and objects.

use super::{Result, Store};
use crate::metadata::{ConfigKind, ReadRange, Tags};

impl Store {
    /// An object's tags.
    ///
    /// # Errors
    /// No such bucket or key.
    pub async fn object_tags(&self, bucket: &str, key: &str) -> Result<Tags> {
        Ok(self.metadata.resolve(bucket, key, ReadRange::Nothing).await?.object.tags)
    }

    /// Gives an object these tags in place of those it has.
    ///
    /// # Errors
    /// No such bucket or key.
    pub async fn set_object_tags(&self, bucket: String, key: String, tags: Tags) -> Result<()> {
        let store = self.clone();
        Self::to_the_end(async move { Ok(store.metadata.set_tags(&bucket, &key, &tags).await?) }).await
    }

    /// A bucket's tags; `None` if it was never given any.
    ///
    /// # Errors
    /// No such bucket.
    pub async fn bucket_tags(&self, bucket: &str) -> Result<Option<Tags>> {
        self.config(bucket, ConfigKind::Tagging).await
    }

    /// Gives a bucket these tags in place of those it has, or takes them away.
    ///
    /// # Errors
    /// No such bucket.
    pub async fn set_bucket_tags(&self, bucket: String, tags: Option<Tags>) -> Result<()> {
        self.set_config(bucket, ConfigKind::Tagging, tags.as_ref()).await
    }
}
