//! Appending to an object: PutObject with a write offset, as S3 has it in directory buckets.
//!
//! Source: "Appending data to objects in directory buckets" in the Amazon S3 user guide.

use super::copy::{Source, SourceName};
use super::digest::{PartSum, Sums, appended_etag, combines, multipart_checksum};
use super::put::DEFAULT_CHECKSUM;
use super::{
    Error, Expected, MAX_OBJECT_LEN, MAX_PARTS, PutRequest, ReadConditions, Received, Result, Store, Stored, batch,
    digest::Hashes,
};
use crate::access::acl::Acl;
use crate::chunks::{Body, Owner};
use crate::crash;
use crate::events::EventName;
use crate::layout::NewData;
use crate::metadata::{
    self, AppendBase, AppendCommit, AppendCopy, Checksum, ChecksumAlgorithm, ChecksumType, Coming, Content, Headers,
    NewObject, Object, ObjectLock, PackedWrite, PartQuery, PutCommit, ReadRange, StorageClass, Tags, WriteCondition,
};

/// How often an append is computed anew because its object was replaced meanwhile by another of the same size.
const RETRIES: usize = 4;

/// What is said of an append, apart from its bytes.
struct Target {
    bucket: String,
    key: String,
    offset: u64,
    /// Length of the new bytes, as far as it was announced.
    len: Option<u64>,
    condition: WriteCondition,
    /// Of an object that is made; one that is there keeps its own.
    headers: Headers,
    tags: Tags,
    owner: String,
    acl: Option<Acl>,
    storage_class: StorageClass,
    lock: ObjectLock,
}

/// What is appended.
struct Piece {
    received: Received,
    sums: Sums,
}

impl Target {
    fn name(&self) -> Owner {
        Owner { bucket: self.bucket.clone(), key: self.key.clone(), part: 0 }
    }
}

impl Store {
    /// Adds bytes to an object, which must end at `offset`; none is there at 0, or an empty one. Of the request, what describes an
    /// object counts only if it is new, and must not be said of one that is there. Answers the object as it is now, and the checksum of what was sent.
    ///
    /// # Errors
    /// [`Error::InvalidWriteOffset`], also if somebody else was faster; no such key, at another offset than 0; a bucket that keeps versions;
    /// more parts than there can be; [`Error::ForeignObject`]; a checksum by another algorithm than the object's; as [`Self::put`].
    pub async fn append(&self, request: PutRequest, offset: u64) -> Result<Stored> {
        let PutRequest { bucket, key, headers, tags, owner, acl, storage_class, lock, condition, expected, body } =
            request;
        let len = expected.len;
        let target = Target { bucket, key, offset, len, condition, headers, tags, owner, acl, storage_class, lock };
        let store = self.clone();
        Self::to_the_end(async move { store.append_now(target, expected, body).await }).await
    }

    async fn append_now(&self, target: Target, expected: Expected, body: Body) -> Result<Stored> {
        expected.check_ahead()?;
        let base = self.appendable(&target).await?;
        let base_algorithm = base.as_ref().and_then(|object| object.checksum.as_ref()).map(|sum| sum.algorithm);
        if let (Some(has), Some(sent)) = (base_algorithm, expected.algorithm())
            && has != sent
            // What S3 computes of objects whose writers ask for nothing: it goes on being computed beside.
            && has != DEFAULT_CHECKSUM
        {
            return Err(Error::InvalidRequest(format!(
                "Checksum Type mismatch occurred, expected checksum Type: {}, actual checksum Type: {}",
                has.name().to_ascii_lowercase(),
                sent.name().to_ascii_lowercase()
            )));
        }
        if target.len.is_none_or(|len| len > self.pack_max as u64) {
            self.check_room(&target.bucket, Coming::Append, target.len).await?;
        }
        let kept = base_algorithm.or(expected.algorithm()).unwrap_or(DEFAULT_CHECKSUM);
        let (hashes, body) = (expected.hashes(Some(kept)), expected.hold(body));
        let (received, hashes) = self.receive(target.name(), body, target.len, hashes).await?;
        let sums = hashes.finish();
        let shown = match expected.verify(&sums, kept) {
            Ok(_) if sums.len == 0 => Err(empty()),
            outcome => outcome,
        };
        let shown = match shown {
            Ok(shown) => shown,
            Err(error) => {
                self.forget(&received).await;
                return Err(error);
            }
        };
        let telling = self.telling(EventName::CreatedPut, &target.bucket, &target.key);
        crash::point("append.received");
        let piece = Piece { received, sums };
        let outcome = self.append_received(&target, base, &piece).await;
        let stored = match &piece.received {
            Received::Small(_) => outcome,
            Received::Large(data) => self.undo(outcome, &data.chunks).await,
        }?;
        crash::point("append.committed");
        self.tell(telling, stored.facts());
        Ok(Stored { checksum: shown, ..stored })
    }

    /// The object to be appended to; `None`: there is none, and one is to be made.
    async fn appendable(&self, target: &Target) -> Result<Option<Object>> {
        let Target { bucket, key, offset, len, condition, .. } = target;
        let offset = *offset;
        if *len == Some(0) {
            return Err(empty());
        }
        if self.metadata.bucket(bucket).await?.versioning != metadata::Versioning::Never {
            return Err(metadata::Error::KeepsVersions(bucket.clone()).into());
        }
        let object = match self.metadata.resolve(bucket, key, None, ReadRange::Nothing).await {
            Ok(found) => found.object,
            Err(error @ metadata::Error::NoSuchKey { .. }) => {
                condition.check(bucket, key, None)?;
                return if offset == 0 { Ok(None) } else { Err(error.into()) };
            }
            Err(error) => return Err(error.into()),
        };
        condition.check(bucket, key, Some((&object.etag, object.size, object.modified)))?;
        if object.size != offset {
            return Err(Error::InvalidWriteOffset { offset, size: object.size });
        }
        let size = offset.saturating_add(len.unwrap_or_default());
        if size > MAX_OBJECT_LEN {
            return Err(Error::EntityTooLarge { size, max: MAX_OBJECT_LEN });
        }
        let says_more = !target.headers.user.is_empty()
            || !target.tags.is_empty()
            || !target.lock.is_none()
            || target.acl.is_some()
            || target.storage_class != StorageClass::default();
        if says_more {
            return Err(Error::InvalidRequest(
                "Cannot specify both a write offset value and user-defined object metadata for existing objects."
                    .into(),
            ));
        }
        // Nobody is made the owner of what another wrote.
        if object.owner != target.owner {
            return Err(Error::ForeignObject { bucket: bucket.clone(), key: key.clone() });
        }
        Ok(Some(object))
    }

    /// Commits what was received, computed anew for as long as the object is replaced by others that are as long.
    async fn append_received(&self, target: &Target, mut base: Option<Object>, piece: &Piece) -> Result<Stored> {
        for _ in 0..RETRIES {
            let outcome = match &base {
                Some(object) => self.extend(target, object, piece).await,
                None => self.create(target, piece).await,
            };
            match outcome {
                Err(Error::Metadata(metadata::Error::SourceChanged)) => base = self.appendable(target).await?,
                outcome => return outcome,
            }
        }
        Err(metadata::Error::SourceChanged.into())
    }

    /// Makes a new object of what was received, if there still is none.
    async fn create(&self, target: &Target, piece: &Piece) -> Result<Stored> {
        let Piece { received, sums } = piece;
        let checksum = sums.algorithms().next().and_then(|algorithm| sums.full_object(algorithm));
        let object = NewObject {
            key: target.key.clone(),
            etag: sums.etag(),
            modified: self.clock.now(),
            checksum: checksum.clone(),
            headers: target.headers.clone(),
            tags: target.tags.clone(),
            owner: target.owner.clone(),
            acl: target.acl.clone(),
            storage_class: target.storage_class,
            lock: target.lock,
        };
        let condition = WriteCondition { none_of: Some(vec!["*".into()]), ..target.condition.clone() };
        let bucket = target.bucket.clone();
        let outcome = match received {
            Received::Small(bytes) => {
                let write = PackedWrite::Put { bucket, object: Box::new(object), extent: None, condition };
                self.lanes.write(write, target.name(), bytes.clone()).await
            }
            Received::Large(data) => {
                let commit = PutCommit { batch: batch(), bucket, object, data: data.clone(), condition };
                self.metadata.commit_put(&commit).await.map_err(Error::from)
            }
        };
        match outcome {
            // Somebody was faster; whether the client's own condition holds is asked once more with it.
            Err(Error::Metadata(metadata::Error::PreconditionFailed { header: "If-None-Match", .. })) => {
                Err(metadata::Error::SourceChanged.into())
            }
            outcome => Ok(Stored { etag: sums.etag(), checksum, size: sums.len, version: outcome? }),
        }
    }

    /// Makes what was received the end of an object.
    async fn extend(&self, target: &Target, object: &Object, piece: &Piece) -> Result<Stored> {
        let size = object.size.saturating_add(piece.sums.len);
        if size > MAX_OBJECT_LEN {
            return Err(Error::EntityTooLarge { size, max: MAX_OBJECT_LEN });
        }
        match self.commit_append(target, object, piece, None).await {
            Err(Error::Metadata(metadata::Error::DataShared)) => {}
            outcome => return outcome,
        }
        // Those who refer to the same data are to keep it as it is.
        let copy = self.copy_base(target, object).await?;
        crash::point("append.copied");
        let chunks = copy.data.chunks.clone();
        let outcome = self.commit_append(target, object, piece, Some(copy)).await;
        self.undo(outcome, &chunks).await
    }

    async fn commit_append(
        &self,
        target: &Target,
        object: &Object,
        piece: &Piece,
        copy: Option<AppendCopy>,
    ) -> Result<Stored> {
        let Piece { received, sums } = piece;
        let base = AppendBase {
            etag: object.etag.clone(),
            size: object.size,
            owner: object.owner.clone(),
            checksum: object.checksum.clone(),
            parts: object.parts,
        };
        let part_checksum = match &object.checksum {
            // The object has come to another checksum since the body was digested.
            Some(kept) if sums.checksum(kept.algorithm).is_none() => {
                return Err(metadata::Error::SourceChanged.into());
            }
            Some(kept) => sums.checksum(kept.algorithm),
            None => None,
        };
        let checksum = self.appended_checksum(object, sums, copy.as_ref()).await?;
        let count = if copy.is_some() { 2 } else { base.count().saturating_add(1) };
        let etag = appended_etag(&object.etag, sums, count);
        let size = object.size.saturating_add(sums.len);
        let mut commit = AppendCommit {
            batch: batch(),
            bucket: target.bucket.clone(),
            key: target.key.clone(),
            base,
            copy,
            data: NewData::default(),
            part_checksum,
            etag: etag.clone(),
            checksum: checksum.clone(),
            modified: self.clock.now(),
            condition: target.condition.clone(),
        };
        match received {
            Received::Small(bytes) => {
                self.lanes.write(PackedWrite::Append(Box::new(commit)), target.name(), bytes.clone()).await?;
            }
            Received::Large(data) => {
                commit.data = data.clone();
                self.metadata.commit_append(&commit).await?;
            }
        }
        Ok(Stored { etag, checksum, size, version: None })
    }

    /// The checksum of an object with a piece more: of all its bytes where that can be computed, or else of its parts' checksums.
    async fn appended_checksum(
        &self,
        object: &Object,
        sums: &Sums,
        copy: Option<&AppendCopy>,
    ) -> Result<Option<Checksum>> {
        let Some(Checksum { algorithm, kind, value }) = &object.checksum else { return Ok(None) };
        let of_piece = sums.checksum(*algorithm);
        let last = PartSum { size: sums.len, checksum: of_piece.as_deref() };
        if *kind == ChecksumType::FullObject && combines(*algorithm) {
            let whole = [PartSum { size: object.size, checksum: Some(value) }, last];
            return Ok(multipart_checksum(*algorithm, *kind, whole.into_iter()));
        }
        let before: Vec<(u64, Option<String>)> = match (copy, object.parts, object.content) {
            (Some(copy), ..) => vec![(object.size, copy.checksum.clone())],
            (None, None, _) if object.size == 0 => Vec::new(),
            (None, Some(_), Content::Data(data)) => {
                let all = self.metadata.object_parts(data, PartQuery { after: 0, limit: MAX_PARTS }).await?;
                all.into_iter().map(|part| (part.size, part.checksum)).collect()
            }
            (None, ..) => vec![(object.size, Some(value.clone()))],
        };
        let before = before.iter().map(|(size, checksum)| PartSum { size: *size, checksum: checksum.as_deref() });
        let parts: Vec<_> = before.chain([last]).collect();
        Ok(multipart_checksum(*algorithm, ChecksumType::Composite, parts.into_iter()))
    }

    /// Writes the bytes of an object once more.
    async fn copy_base(&self, target: &Target, object: &Object) -> Result<AppendCopy> {
        let (bucket, key) = (&target.bucket, &target.key);
        let source = SourceName { bucket, key, version: None };
        let Source { object: found, range, extents, hold, .. } =
            self.source(source, None, &ReadConditions::default()).await?;
        if (&found.etag, found.size) != (&object.etag, object.size) {
            return Err(metadata::Error::SourceChanged.into());
        }
        let algorithm: Option<ChecksumAlgorithm> = object.checksum.as_ref().map(|checksum| checksum.algorithm);
        let body: Body = Self::body_of(self.bytes(found.content, range, extents, hold));
        let (data, hashes) = self.chunks.write(target.name(), body, Hashes::new(algorithm)).await?;
        let sums = hashes.finish();
        Ok(AppendCopy { data, checksum: algorithm.and_then(|algorithm| sums.checksum(algorithm)) })
    }
}

fn empty() -> Error {
    Error::InvalidRequest("Request body cannot be empty when 'write offset' is specified.".into())
}
