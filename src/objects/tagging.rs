//! Tags of buckets and objects.

use super::{Error, Result, Store};
use crate::metadata::{self, ConfigKind, ReadRange, Tags};

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
        let Some(body) = self.metadata.bucket_config(bucket, ConfigKind::Tagging).await? else { return Ok(None) };
        let corrupt = |error| metadata::Error::Corrupt(format!("the tags of bucket {bucket}: {error}"));
        Ok(Some(serde_json::from_str(&body).map_err(corrupt)?))
    }

    /// Gives a bucket these tags in place of those it has, or takes them away.
    ///
    /// # Errors
    /// No such bucket.
    pub async fn set_bucket_tags(&self, bucket: String, tags: Option<Tags>) -> Result<()> {
        let body = tags.map(|tags| serde_json::to_string(&tags)).transpose();
        let body = body.map_err(|error| Error::InvalidRequest(error.to_string()))?;
        let store = self.clone();
        Self::to_the_end(async move {
            Ok(store.metadata.set_bucket_config(&bucket, ConfigKind::Tagging, body.as_deref()).await?)
        })
        .await
    }
}
