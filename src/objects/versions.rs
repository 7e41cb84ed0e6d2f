//! What can be read and changed of one version: its tags, and its lock.

use super::tell::Facts;
use super::{Result, Store};
use crate::events::EventName;
use crate::metadata::{Error, ObjectLock, ReadRange, Resolved, Tags, VersionChange, VersionId};

/// An object, or one of its versions.
#[derive(Debug, Clone)]
pub struct VersionName {
    /// Name of the bucket.
    pub bucket: String,
    /// The key.
    pub key: String,
    /// The version; `None`: the current one.
    pub version: Option<VersionId>,
}

impl Store {
    /// The tags of an object, and which version that is, if the bucket keeps any.
    ///
    /// # Errors
    /// No such bucket, key or version.
    pub async fn object_tags(&self, name: &VersionName) -> Result<(Tags, Option<VersionId>)> {
        let Resolved { object, version, .. } = self.describe(name).await?;
        Ok((object.tags, version))
    }

    /// What locks an object.
    ///
    /// # Errors
    /// No such bucket, key or version; [`Error::NoObjectLock`].
    pub async fn object_lock(&self, name: &VersionName) -> Result<ObjectLock> {
        if self.metadata.bucket(&name.bucket).await?.lock.is_none() {
            return Err(Error::NoObjectLock(name.bucket.clone()).into());
        }
        Ok(self.describe(name).await?.object.lock)
    }

    pub(super) async fn describe(&self, name: &VersionName) -> Result<Resolved> {
        let version = name.version.as_ref();
        let found = self.metadata.resolve(&name.bucket, &name.key, version, ReadRange::Nothing).await?;
        self.check_seen(&name.bucket, &name.key, version, &found.object)?;
        Ok(found)
    }

    /// Changes tags or lock of an object. Answers which version that is, if the bucket keeps any.
    ///
    /// # Errors
    /// No such bucket, key or version; a lock that does not allow it; a bucket that does not lock.
    pub async fn change_version(&self, name: VersionName, change: VersionChange) -> Result<Option<VersionId>> {
        let store = self.clone();
        Self::to_the_end(async move {
            let VersionName { bucket, key, version } = &name;
            let now = store.clock.now();
            let found = store.metadata.change_version(bucket, key, version.as_ref(), &change, now).await?;
            let event = match &change {
                VersionChange::Tags(tags) if tags.is_empty() => EventName::TaggingDelete,
                VersionChange::Tags(_) => EventName::TaggingPut,
                VersionChange::Acl(_) => EventName::AclPut,
                VersionChange::Retention { .. } => EventName::CreatedPutRetention,
                VersionChange::LegalHold(_) => EventName::CreatedPutLegalHold,
            };
            let telling = store.telling(event, bucket, key);
            store.tell(telling, Facts { version: found.as_ref(), ..Facts::default() });
            Ok(found)
        })
        .await
    }
}
