//! Tags of buckets; those of objects are a property of their versions.

use super::{Error, Result, Store};
use crate::metadata::{self, ConfigKind, Tags};

impl Store {
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
