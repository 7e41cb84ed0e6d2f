//! Where the requests to a bucket are written down.
//!
//! Source: "Logging requests with server access logging" in the Amazon S3 user guide.

use serde::{Deserialize, Serialize};

use super::{Result, Store};
use crate::metadata::{self, ConfigKind};

/// Where the log of a bucket goes.
///
/// `LoggingEnabled` in the Amazon S3 API reference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Logging {
    /// Name of the bucket that it is written to.
    pub to: String,
    /// How its keys begin there.
    pub prefix: String,
    /// How they go on, if that was said; otherwise they are simple.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys: Option<LogKeys>,
}

/// How the keys of log objects go on behind their prefix.
///
/// `TargetObjectKeyFormat` in the Amazon S3 API reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogKeys {
    /// With the time of delivery.
    Simple,
    /// With owner, region, bucket and day of the requests, and the time of delivery.
    PartitionedByEvent,
    /// With owner, region, bucket and day of delivery, and the time of delivery.
    PartitionedByDelivery,
}

/// A bucket whose requests are written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedBucket {
    /// Its name.
    pub name: String,
    /// Canonical id of its owner.
    pub owner: String,
    /// Where its log goes.
    pub logging: Logging,
}

impl Store {
    /// Where a bucket's log goes; `None` if there is none.
    ///
    /// # Errors
    /// No such bucket.
    pub async fn bucket_logging(&self, bucket: &str) -> Result<Option<Logging>> {
        self.config(bucket, ConfigKind::Logging).await
    }

    /// Has a bucket's requests written down there, or nowhere.
    ///
    /// # Errors
    /// No such bucket.
    pub async fn set_bucket_logging(&self, bucket: String, logging: Option<Logging>) -> Result<()> {
        self.set_config(bucket, ConfigKind::Logging, logging.as_ref()).await
    }

    /// All buckets whose requests are written down. One that holds what cannot be read is left out, and said.
    ///
    /// # Errors
    /// The database's.
    pub async fn logged_buckets(&self) -> Result<Vec<LoggedBucket>> {
        let found = self.metadata.buckets_with_config(ConfigKind::Logging).await?;
        let read = |metadata::BucketConfig { name, owner, body }| match serde_json::from_str(&body) {
            Ok(logging) => Some(LoggedBucket { name, owner, logging }),
            Err(error) => {
                tracing::error!(bucket = name, %error, "a bucket's logging cannot be read");
                None
            }
        };
        Ok(found.into_iter().filter_map(read).collect())
    }
}
