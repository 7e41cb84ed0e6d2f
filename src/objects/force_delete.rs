//! Deleting without leaving anything: every version of a key and of all keys below it, or a bucket with all that it holds.
//!
//! MinIO's, which asks for it with `x-minio-force-delete`. There it is a directory's removal, so it is of a key and of what begins with it and a
//! slash, and of no key that only begins alike; neither delete markers nor versions stay; a bucket that locks its objects has none of it
//! (`DeleteObjectHandler`, `DeleteBucketHandler` and `deletePrefix` in minio/minio's `cmd/`).

use super::{Result, Store};
use crate::metadata::{DeleteKey, Error, ListQuery, VersionId};

/// Versions that are listed and deleted at a time.
const PAGE: u32 = 1000;
/// How often a bucket is emptied again because something was written into it meanwhile.
const RETRIES: usize = 4;

impl Store {
    /// Deletes all versions of `key`, and of every key that begins with it and a slash. A client that does not wait for the end, or an error,
    /// leaves some of them deleted. What is written meanwhile may stay.
    ///
    /// # Errors
    /// No such bucket; [`Error::BucketState`]: it locks its objects.
    pub async fn force_delete(&self, bucket: String, key: String) -> Result<()> {
        let store = self.clone();
        Self::to_the_end(async move {
            if store.metadata.bucket(&bucket).await?.lock.is_some() {
                return Err(Error::BucketState(bucket).into());
            }
            if !key.ends_with('/') {
                store.delete_all(&bucket, &key, Some(&key)).await?;
            }
            let below = if key.ends_with('/') { key } else { format!("{key}/") };
            store.delete_all(&bucket, &below, None).await
        })
        .await
    }

    /// Deletes a bucket with all that it holds.
    ///
    /// # Errors
    /// No such bucket; [`Error::BucketState`]: it locks its objects, or they are replicated; [`Error::BucketNotEmpty`]: it is written to
    /// again and again.
    pub async fn force_delete_bucket(&self, name: String) -> Result<()> {
        let store = self.clone();
        Self::to_the_end(async move {
            let locks = store.metadata.bucket(&name).await?.lock.is_some();
            let replication = store.bucket_replication(&name).await?;
            if locks || replication.is_some_and(|replication| replication.rules.iter().any(|rule| rule.enabled)) {
                return Err(Error::BucketState(name).into());
            }
            for _ in 0..RETRIES {
                store.delete_all(&name, "", None).await?;
                match store.metadata.delete_bucket(&name, store.clock.now()).await {
                    Err(Error::BucketNotEmpty(_)) => {}
                    outcome => return Ok(outcome?),
                }
            }
            Err(Error::BucketNotEmpty(name).into())
        })
        .await
    }

    /// Deletes every version of the keys that begin with `prefix`, or of those only the key `only`, which is the first of them.
    async fn delete_all(&self, bucket: &str, prefix: &str, only: Option<&str>) -> Result<()> {
        let mut list =
            ListQuery { bucket: bucket.to_owned(), prefix: prefix.to_owned(), limit: PAGE, ..ListQuery::default() };
        let mut after_version = None;
        loop {
            let page = self.metadata.list_versions(&list, after_version.as_ref()).await?;
            let listed = page.entries.len();
            let wanted = page.entries.into_iter().filter(|listed| only.is_none_or(|key| listed.object.key == key));
            let mut keys: Vec<_> = wanted
                .map(|listed| DeleteKey {
                    key: listed.object.key,
                    version: Some(listed.version),
                    ..DeleteKey::default()
                })
                .collect();
            let is_end = !page.truncated || keys.len() < listed;
            // The oldest first: none becomes the object only to be deleted next.
            keys.reverse();
            for outcome in self.metadata.delete(bucket, &keys, "", self.clock.now()).await? {
                outcome?;
            }
            let Some(next) = page.next.filter(|_| !is_end) else { return Ok(()) };
            list.after = next;
            after_version = page.next_of_key.as_deref().and_then(VersionId::parse);
        }
    }
}
