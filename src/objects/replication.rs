//! Which of a bucket's objects are copied to which other buckets.
//!
//! Source: "Replicating objects within and across Regions" in the Amazon S3 user guide.

use serde::{Deserialize, Serialize};

use super::configs::Scope;
use super::{Result, Store};
use crate::metadata::ConfigKind;

/// How a bucket is replicated.
///
/// `ReplicationConfiguration` in the Amazon S3 API reference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replication {
    /// In whose name copies are made.
    pub role: String,
    /// What is copied where.
    pub rules: Vec<ReplicationRule>,
}

/// What is copied where.
///
/// `ReplicationRule` in the Amazon S3 API reference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicationRule {
    /// Its name, which no other rule of the bucket has.
    pub id: String,
    /// Whether it counts.
    pub enabled: bool,
    /// Of two that fit an object the one with the higher number counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<u32>,
    /// Which objects; `None`: all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<Scope>,
    /// Name of the bucket that they are copied to.
    pub to: String,
    /// Whether their class was said; it is the only one there is.
    #[serde(default)]
    pub standard: bool,
    /// Whether delete markers are copied, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delete_markers: Option<bool>,
    /// Whether objects are copied that are older than the rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub existing: Option<bool>,
    /// Whether changes of what is a copy itself are copied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replica_changes: Option<bool>,
}

impl Store {
    /// How a bucket is replicated; `None` if it is not.
    ///
    /// # Errors
    /// No such bucket.
    pub async fn bucket_replication(&self, bucket: &str) -> Result<Option<Replication>> {
        self.config(bucket, ConfigKind::Replication).await
    }

    /// Replicates a bucket so and no longer as it is now, or not at all.
    ///
    /// # Errors
    /// No such bucket; one that does not keep versions.
    pub async fn set_bucket_replication(&self, bucket: String, replication: Option<Replication>) -> Result<()> {
        self.set_config(bucket, ConfigKind::Replication, replication.as_ref()).await
    }
}
