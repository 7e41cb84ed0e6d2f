//! Tags of buckets; those of objects are a property of their versions.

use super::{Result, Store};
use crate::metadata::{ConfigKind, Tags};

impl Store {
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
