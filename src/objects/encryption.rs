//! How a bucket's objects are encrypted if their writers do not say.
//!
//! Source: "Setting default server-side encryption behavior for Amazon S3 buckets" in the Amazon S3 user guide.

use serde::{Deserialize, Serialize};

use super::{Result, Store};
use crate::metadata::ConfigKind;

/// A bucket's default encryption: with keys of the store's own (SSE-S3), which is the only one there is.
///
/// `ServerSideEncryptionRule` in the Amazon S3 API reference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Encryption {
    /// What was said of bucket keys, which only keys of others have; kept to be shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bucket_key: Option<bool>,
}

impl Store {
    /// A bucket's default encryption; `None` if it has none.
    ///
    /// # Errors
    /// No such bucket.
    pub async fn bucket_encryption(&self, bucket: &str) -> Result<Option<Encryption>> {
        self.config(bucket, ConfigKind::Encryption).await
    }

    /// Gives a bucket this default in place of the one it has, or takes it away.
    ///
    /// # Errors
    /// No such bucket.
    pub async fn set_bucket_encryption(&self, bucket: String, encryption: Option<Encryption>) -> Result<()> {
        self.set_config(bucket, ConfigKind::Encryption, encryption.as_ref()).await
    }
}
