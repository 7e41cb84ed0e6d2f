//! The configurations of buckets, kept as JSON.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Error, Result, Store};
use crate::metadata::{self, ConfigKind};

impl Store {
    /// A bucket's configuration of this kind; `None` if it was never given one.
    pub(super) async fn config<T: DeserializeOwned>(&self, bucket: &str, kind: ConfigKind) -> Result<Option<T>> {
        let Some(body) = self.metadata.bucket_config(bucket, kind).await? else { return Ok(None) };
        let corrupt = |error| metadata::Error::Corrupt(format!("{} of bucket {bucket}: {error}", kind.name()));
        Ok(Some(serde_json::from_str(&body).map_err(corrupt)?))
    }

    /// Gives a bucket a configuration in place of the one of that kind that it has, or takes it away.
    pub(super) async fn set_config<T: Serialize>(
        &self,
        bucket: String,
        kind: ConfigKind,
        value: Option<&T>,
    ) -> Result<()> {
        let body = value.map(serde_json::to_string).transpose();
        let body = body.map_err(|error| Error::InvalidRequest(error.to_string()))?;
        let store = self.clone();
        Self::to_the_end(async move { Ok(store.metadata.set_bucket_config(&bucket, kind, body.as_deref()).await?) })
            .await
    }
}
