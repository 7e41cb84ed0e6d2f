//! What becomes of a bucket's objects with time.
//!
//! Source: "Managing the lifecycle of objects" in the Amazon S3 user guide.

use serde::{Deserialize, Serialize};

use super::configs::Scope;
use super::{Result, Store};
use crate::clock::Millis;
use crate::metadata::ConfigKind;

/// A bucket's rules.
///
/// `LifecycleConfiguration` in the Amazon S3 API reference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lifecycle {
    /// All of them.
    pub rules: Vec<LifecycleRule>,
    /// Whether the size from which objects change their class depends on the class
    /// (`x-amz-transition-default-minimum-object-size: varies_by_storage_class`).
    #[serde(default)]
    pub minimum_by_class: bool,
}

/// What is done to which objects.
///
/// `LifecycleRule` in the Amazon S3 API reference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LifecycleRule {
    /// Its name, which no other rule of the bucket has.
    pub id: String,
    /// Whether it counts.
    pub enabled: bool,
    /// Which objects.
    pub scope: Scope,
    /// When the current version goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expire: Option<Expire>,
    /// When versions go that others came after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub noncurrent: Option<NoncurrentExpire>,
    /// After how many days an upload that was not completed is given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub abort_days: Option<u32>,
}

/// When current versions go.
///
/// `LifecycleExpiration` in the Amazon S3 API reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Expire {
    /// So many days after they were written.
    Days(u32),
    /// From this midnight on.
    Date(Millis),
    /// They stay; whether a delete marker goes that is the last version of its key.
    LoneMarker(bool),
}

/// When versions go that others came after.
///
/// `NoncurrentVersionExpiration` in the Amazon S3 API reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoncurrentExpire {
    /// So many days after that.
    pub days: u32,
    /// How many of them stay nevertheless.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep: Option<u32>,
}

impl Store {
    /// A bucket's rules; `None` if it has none.
    ///
    /// # Errors
    /// No such bucket.
    pub async fn bucket_lifecycle(&self, bucket: &str) -> Result<Option<Lifecycle>> {
        self.config(bucket, ConfigKind::Lifecycle).await
    }

    /// Gives a bucket these rules in place of those it has, or takes them away.
    ///
    /// # Errors
    /// No such bucket.
    pub async fn set_bucket_lifecycle(&self, bucket: String, lifecycle: Option<Lifecycle>) -> Result<()> {
        self.set_config(bucket, ConfigKind::Lifecycle, lifecycle.as_ref()).await
    }
}
