//! Which lists are made of a bucket's objects.
//!
//! Source: "Cataloging and analyzing your data with S3 Inventory" in the Amazon S3 user guide.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Error, Result, Store};
use crate::metadata::ConfigKind;

/// Lists of one bucket at most.
const MOST: usize = 1000;

/// The lists that are made of a bucket, by their names.
pub type Inventories = BTreeMap<String, Inventory>;

/// One list that is made again and again.
///
/// `InventoryConfiguration` in the Amazon S3 API reference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inventory {
    /// Whether it is made at all.
    pub enabled: bool,
    /// Name of the bucket that it is written to.
    pub to: String,
    /// What was said of that bucket's owner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// How its keys begin there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_prefix: Option<String>,
    /// How it is written.
    pub format: InventoryFormat,
    /// Whether it is to be encrypted (SSE-S3).
    #[serde(default)]
    pub encrypted: bool,
    /// Made every week; otherwise every day.
    pub weekly: bool,
    /// Lists all versions; otherwise the current ones.
    pub all_versions: bool,
    /// Lists only keys that begin so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// S3's names of what it says of each object besides bucket and key.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<String>,
}

/// How a list is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum InventoryFormat {
    /// Lines of values between commas.
    #[serde(rename = "CSV")]
    Csv,
    /// Apache ORC.
    #[serde(rename = "ORC")]
    Orc,
    /// Apache Parquet.
    Parquet,
}

impl Store {
    /// The lists that are made of a bucket.
    ///
    /// # Errors
    /// No such bucket.
    pub async fn bucket_inventories(&self, bucket: &str) -> Result<Inventories> {
        Ok(self.config(bucket, ConfigKind::Inventory).await?.unwrap_or_default())
    }

    /// Has this list made of a bucket, in place of the one that has its name.
    ///
    /// # Errors
    /// No such bucket; [`Error::TooManyConfigurations`].
    pub async fn put_bucket_inventory(&self, bucket: String, id: String, inventory: Inventory) -> Result<()> {
        self.edit_config(bucket, ConfigKind::Inventory, move |all: &mut Inventories| {
            if all.len() >= MOST && !all.contains_key(&id) {
                return Err(Error::TooManyConfigurations);
            }
            all.insert(id.clone(), inventory.clone());
            Ok(())
        })
        .await
    }

    /// Makes a list of a bucket no more.
    ///
    /// # Errors
    /// No such bucket; [`Error::NoSuchConfiguration`].
    pub async fn delete_bucket_inventory(&self, bucket: String, id: String) -> Result<()> {
        self.edit_config(bucket, ConfigKind::Inventory, move |all: &mut Inventories| {
            all.remove(&id).map(|_| ()).ok_or(Error::NoSuchConfiguration)
        })
        .await
    }
}
