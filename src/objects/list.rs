//! Listings of objects and uploads.

use super::{Result, Store};
use crate::metadata::{ListQuery, ListedObject, ListedVersion, Page, Upload, UploadId, VersionId};

impl Store {
    /// A page of a bucket's objects.
    ///
    /// # Errors
    /// No such bucket.
    pub async fn list(&self, query: &ListQuery) -> Result<Page<ListedObject>> {
        Ok(self.metadata.list_objects(query).await?)
    }

    /// A page of a bucket's versions and delete markers. With `after_version`: of the key `query.after`, only versions after that one.
    ///
    /// # Errors
    /// No such bucket.
    pub async fn list_versions(
        &self,
        query: &ListQuery,
        after_version: Option<&VersionId>,
    ) -> Result<Page<ListedVersion>> {
        Ok(self.metadata.list_versions(query, after_version).await?)
    }

    /// A page of a bucket's running uploads. With `after_upload`: of the key `query.after`, only uploads after that one.
    ///
    /// # Errors
    /// No such bucket.
    pub async fn list_uploads(&self, query: &ListQuery, after_upload: Option<&UploadId>) -> Result<Page<Upload>> {
        Ok(self.metadata.list_uploads(query, after_upload).await?)
    }
}
