//! Putting an object: bytes first, then the row that makes them visible.

use super::tell::Facts;
use super::{Expected, Received, Result, Store, batch};
use crate::access::Resources as _;
use crate::access::acl::Acl;
use crate::chunks::{Body, Owner};
use crate::crash;
use crate::events::EventName;
use crate::metadata::{
    Checksum, ChecksumAlgorithm, Coming, Headers, NewObject, ObjectLock, PackedWrite, PutCommit, StorageClass, Tags,
    VersionId, WriteCondition,
};

/// A PutObject.
pub struct PutRequest {
    /// Name of the bucket.
    pub bucket: String,
    /// The key.
    pub key: String,
    /// Headers and user metadata.
    pub headers: Headers,
    /// Tags.
    pub tags: Tags,
    /// Canonical id of the owner.
    pub owner: String,
    /// What keeps it from being deleted.
    pub lock: ObjectLock,
    /// What others may do with it; `None`: nothing.
    pub acl: Option<Acl>,
    /// How it is said to be kept.
    pub storage_class: StorageClass,
    /// What must hold of the current object.
    pub condition: WriteCondition,
    /// What is said of the body.
    pub expected: Expected,
    /// The bytes.
    pub body: Body,
}

/// What was stored.
#[derive(Debug, Clone)]
pub struct Stored {
    /// Without quotes.
    pub etag: String,
    /// The checksum that is kept.
    pub checksum: Option<Checksum>,
    /// Length in bytes.
    pub size: u64,
    /// The version that it is, if the bucket keeps any.
    pub version: Option<VersionId>,
}

impl Stored {
    pub(super) fn facts(&self) -> Facts<'_> {
        Facts { size: Some(self.size), etag: Some(&self.etag), version: self.version.as_ref() }
    }
}

/// What S3 computes of objects whose writer asks for nothing else.
pub(super) const DEFAULT_CHECKSUM: ChecksumAlgorithm = ChecksumAlgorithm::Crc64Nvme;

impl Store {
    /// Stores an object. When this returns, its shards are synced and its row is committed.
    ///
    /// # Errors
    /// No such bucket; a condition that does not hold; a body that is not what was announced; too few volumes; the database.
    /// After any error but one of which nobody knows ([`crate::metadata::Error::Ambiguous`]), the key is as it was.
    pub async fn put(&self, request: PutRequest) -> Result<Stored> {
        let store = self.clone();
        Self::to_the_end(async move { store.put_now(request).await }).await
    }

    async fn put_now(&self, request: PutRequest) -> Result<Stored> {
        request.expected.check_ahead()?;
        let announced = request.expected.len;
        if announced.is_none_or(|len| len > self.pack_max as u64) {
            self.admit(&request.bucket, &request.key, &request.condition, &request.lock).await?;
            self.check_room(&request.bucket, Coming::Object(&request.key), announced).await?;
        }
        let owner = Owner { bucket: request.bucket.clone(), key: request.key.clone(), part: 0 };
        let default = if request.expected.algorithm().is_none() { Some(DEFAULT_CHECKSUM) } else { None };
        let hashes = request.expected.hashes(default);
        let body = request.expected.hold(request.body);
        let (received, hashes) = self.receive(owner, body, announced, hashes).await?;
        let sums = hashes.finish();
        let checksum = match request.expected.verify(&sums, DEFAULT_CHECKSUM) {
            Ok(checksum) => checksum,
            Err(error) => {
                self.forget(&received).await;
                return Err(error);
            }
        };
        let object = NewObject {
            key: request.key,
            etag: sums.etag(),
            modified: self.clock.now(),
            checksum,
            headers: request.headers,
            tags: request.tags,
            owner: request.owner,
            lock: request.lock,
            acl: request.acl,
            storage_class: request.storage_class,
        };
        let name = if self.origin.form { EventName::CreatedPost } else { EventName::CreatedPut };
        let telling = self.telling(name, &request.bucket, &object.key);
        crash::point("put.received");
        let stored = self.commit_new(request.bucket, object, received, request.condition).await;
        crash::point("put.committed");
        let stored = stored?;
        self.tell(telling, stored.facts());
        Ok(stored)
    }

    /// Makes an object of freshly received bytes visible, or removes them.
    pub(super) async fn commit_new(
        &self,
        bucket: String,
        object: NewObject,
        received: Received,
        condition: WriteCondition,
    ) -> Result<Stored> {
        let (etag, checksum) = (object.etag.clone(), object.checksum.clone());
        let (size, version) = match received {
            Received::Small(bytes) => {
                let size = bytes.iter().map(|piece| piece.len() as u64).sum();
                let owner = Owner { bucket: bucket.clone(), key: object.key.clone(), part: 0 };
                let write = PackedWrite::Put { bucket, object: Box::new(object), extent: None, condition };
                (size, self.lanes.write(write, owner, bytes).await?)
            }
            Received::Large(data) => {
                let commit = PutCommit { batch: batch(), bucket, object, data, condition };
                let outcome = self.metadata.commit_put(&commit).await;
                let version = self.undo(outcome.map_err(Into::into), &commit.data.chunks).await?;
                (commit.data.len, version)
            }
        };
        Ok(Stored { etag, checksum, size, version })
    }

    /// Refuses what, as it is announced, a quota does not allow, before its body is read. The commit decides.
    pub(super) async fn check_room(&self, bucket: &str, coming: Coming<'_>, announced: Option<u64>) -> Result<()> {
        match announced {
            Some(len) if self.bucket_rules(bucket).await?.counted => {
                Ok(self.metadata.check_room(bucket, coming, len).await?)
            }
            _ => Ok(()),
        }
    }

    /// Refuses a write that cannot succeed before its body is read. The commit tests everything once more, under locks.
    pub(super) async fn admit(
        &self,
        bucket: &str,
        key: &str,
        condition: &WriteCondition,
        lock: &ObjectLock,
    ) -> Result<()> {
        use crate::metadata::{Error, ReadRange};
        if !condition.is_of_object() || !lock.is_none() {
            let bucket = self.metadata.bucket(bucket).await?;
            if bucket.lock.is_none() && !lock.is_none() {
                return Err(Error::NoObjectLock(bucket.name).into());
            }
        }
        if !condition.is_of_object() {
            return Ok(());
        }
        match self.metadata.resolve(bucket, key, None, ReadRange::Nothing).await {
            Ok(found) => Ok(condition.check(
                bucket,
                key,
                Some((&found.object.etag, found.object.size, found.object.modified)),
            )?),
            Err(Error::NoSuchKey { .. } | Error::DeleteMarker { .. }) => Ok(condition.check(bucket, key, None)?),
            Err(error) => Err(error.into()),
        }
    }
}
