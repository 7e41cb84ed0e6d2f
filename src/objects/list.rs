//! Listings of objects and uploads.

use super::{Result, Store};
use crate::metadata::{ListQuery, ListedObject, Page, Upload, UploadId};

/// The most that one page shows.
const MAX_KEYS: u32 = 1_000;

/// A listing of objects.
#[derive(Debug, Clone, Default)]
pub struct ListRequest {
    /// Name of the bucket.
    pub bucket: String,
    /// Only keys that start so.
    pub prefix: String,
    /// Empty: none.
    pub delimiter: String,
    /// Only what sorts after this.
    pub after: String,
    /// Entries and common prefixes at most; more than 1,000 are taken as 1,000.
    pub limit: u32,
}

/// A page of objects.
pub type Listing = Page<ListedObject>;

/// A listing of uploads.
#[derive(Debug, Clone, Default)]
pub struct UploadListRequest {
    /// What is asked of the keys.
    pub keys: ListRequest,
    /// With `after`: of that key, only uploads after this one.
    pub after_upload: Option<UploadId>,
}

/// A page of uploads.
pub type UploadListing = Page<Upload>;

impl From<&ListRequest> for ListQuery {
    fn from(request: &ListRequest) -> Self {
        Self {
            bucket: request.bucket.clone(),
            prefix: request.prefix.clone(),
            delimiter: request.delimiter.clone(),
            after: request.after.clone(),
            limit: request.limit.min(MAX_KEYS),
        }
    }
}

impl Store {
    /// A page of a bucket's objects.
    ///
    /// # Errors
    /// No such bucket.
    pub async fn list(&self, request: &ListRequest) -> Result<Listing> {
        Ok(self.metadata.list_objects(&request.into()).await?)
    }

    /// A page of a bucket's running uploads.
    ///
    /// # Errors
    /// No such bucket.
    pub async fn list_uploads(&self, request: &UploadListRequest) -> Result<UploadListing> {
        Ok(self.metadata.list_uploads(&(&request.keys).into(), request.after_upload.as_ref()).await?)
    }
}
