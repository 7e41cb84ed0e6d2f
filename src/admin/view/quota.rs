//! How much may be where, and is.

use schemars::JsonSchema;
use serde::Serialize;

use crate::metadata::{self, AccountRow, QuotaOf};

/// A quota: of a bucket, or of all buckets of an account.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Quota {
    /// The bucket's name, if it is a bucket's.
    pub bucket: Option<String>,
    /// The account, if it is an account's.
    pub account: Option<QuotaAccount>,
    /// How many bytes there may be, of all versions and of parts of uploads that are not completed; any number if nothing is said.
    pub max_bytes: Option<u64>,
    /// How many versions there may be, without delete markers; any number if nothing is said.
    pub max_objects: Option<u64>,
    /// How many bytes there are; not known while that is counted for the first time.
    pub bytes: Option<u64>,
    /// How many versions there are.
    pub objects: Option<u64>,
}

/// Whose a quota is.
#[derive(Debug, Serialize, JsonSchema)]
pub struct QuotaAccount {
    /// 64 hexadecimal digits.
    pub canonical_id: String,
    /// 12 digits; nothing if the account is no more.
    pub id: Option<String>,
    /// Its name.
    pub name: Option<String>,
}

impl Quota {
    /// A quota, with its account if it is one's and that is there.
    pub fn new(quota: &metadata::Quota, account: Option<&AccountRow>) -> Self {
        let (bucket, canonical_id) = match &quota.of {
            QuotaOf::Bucket(name) => (Some(name.clone()), None),
            QuotaOf::Account(id) => (None, Some(id.clone())),
        };
        let account = canonical_id.map(|canonical_id| QuotaAccount {
            canonical_id,
            id: account.map(|row| row.id.clone()),
            name: account.map(|row| row.name.clone()),
        });
        Self {
            bucket,
            account,
            max_bytes: quota.limits.bytes,
            max_objects: quota.limits.objects,
            bytes: quota.used.map(|used| used.bytes),
            objects: quota.used.map(|used| used.objects),
        }
    }
}
