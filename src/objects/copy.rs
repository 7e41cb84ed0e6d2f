//! Copying: CopyObject and UploadPartCopy.
//!
//! A copy takes a reference to the source's data and moves no byte. Bytes are read where S3 promises a digest that is not known
//! yet (an MD5 of a range, another checksum, or one of the whole that had one of its parts'), and written again only for small ranges, which
//! would otherwise keep whole chunks alive for little, and where parts have checksums by another algorithm than the copy is to have.

use std::ops::Range;

use futures_util::TryStreamExt;

use super::digest::{Hashes, PartSum, Sums, combines, multipart_checksum};
use super::put::DEFAULT_CHECKSUM;
use super::tell::Facts;
use super::{Error, MAX_PARTS, MAX_PUT_LEN, ReadConditions, Received, Result, Store, UploadedPart, batch};
use crate::access::acl::Acl;
use crate::chunks::{Digest, Hold, Owner};
use crate::clock::Millis;
use crate::crash;
use crate::events::EventName;
use crate::layout::{CHUNK_LEN, NewData, PlacedExtent};
use crate::metadata::{
    self, Checksum, ChecksumAlgorithm, ChecksumType, Content, CopyCommit, Headers, NewObject, Object, ObjectLock,
    PartCommit, PartQuery, PartSource, ReadRange, StorageClass, Tags, UploadId, VersionId, WriteCondition,
};

/// How often a copy starts again because its source was replaced meanwhile.
const RETRIES: usize = 4;
/// Ranges shorter than this are copied byte by byte (design: a quarter of a chunk).
const SHARED_MIN: u64 = CHUNK_LEN / 4;

/// Where a property of a copy comes from (`x-amz-metadata-directive`, `x-amz-tagging-directive`).
#[derive(Debug, Clone)]
pub enum Directive<T> {
    /// COPY: the source's.
    Copy,
    /// REPLACE: this.
    Replace(T),
}

impl<T: Clone> Directive<T> {
    fn resolve(&self, source: &T) -> T {
        match self {
            Self::Copy => source.clone(),
            Self::Replace(value) => value.clone(),
        }
    }
}

/// A CopyObject.
#[derive(Debug, Clone)]
pub struct CopyRequest {
    /// The source's bucket.
    pub source_bucket: String,
    /// The source's key.
    pub source_key: String,
    /// The source's version; `None`: the current one.
    pub source_version: Option<VersionId>,
    /// What must hold of the source.
    pub conditions: ReadConditions,
    /// The destination's bucket.
    pub bucket: String,
    /// The destination's key.
    pub key: String,
    /// Headers and user metadata.
    pub headers: Directive<Headers>,
    /// Sent apart from the other metadata, and never copied from the source (as S3 has it).
    pub website_redirect: Option<String>,
    /// Tags.
    pub tags: Directive<Tags>,
    /// Canonical id of the copy's owner.
    pub owner: String,
    /// What keeps the copy from being deleted; the source's lock does not.
    pub lock: ObjectLock,
    /// What others may do with the copy; `None`: nothing. The source's ACL is not copied.
    pub acl: Option<Acl>,
    /// How the copy is said to be kept, whatever is said of the source; `None`: as usual.
    pub storage_class: Option<StorageClass>,
    /// The algorithm of the copy's checksum, which is of all its bytes; `None`: the source's.
    pub checksum: Option<ChecksumAlgorithm>,
    /// What must hold of the destination.
    pub condition: WriteCondition,
}

/// What a copy came to.
#[derive(Debug, Clone)]
pub struct Copied {
    /// Without quotes.
    pub etag: String,
    /// When.
    pub modified: Millis,
    /// Its checksum.
    pub checksum: Option<Checksum>,
    /// The version that it is, if its bucket keeps any.
    pub version: Option<VersionId>,
    /// The version that it was copied from, if that one's bucket keeps any.
    pub source_version: Option<VersionId>,
}

/// An UploadPartCopy.
#[derive(Debug, Clone)]
pub struct CopyPartRequest {
    /// The source's bucket.
    pub source_bucket: String,
    /// The source's key.
    pub source_key: String,
    /// The source's version; `None`: the current one.
    pub source_version: Option<VersionId>,
    /// Which bytes of it, inclusive; `None`: all.
    pub source_range: Option<(u64, u64)>,
    /// What must hold of the source.
    pub conditions: ReadConditions,
    /// The upload's bucket.
    pub bucket: String,
    /// The upload's key.
    pub key: String,
    /// The upload.
    pub upload: UploadId,
    /// The part's number.
    pub number: u32,
}

/// What is copied: one version of one object.
pub(super) struct SourceName<'a> {
    pub(super) bucket: &'a str,
    pub(super) key: &'a str,
    pub(super) version: Option<&'a VersionId>,
}

pub(super) struct Source {
    pub(super) object: Object,
    version: Option<VersionId>,
    pub(super) range: Range<u64>,
    pub(super) extents: Vec<PlacedExtent>,
    pub(super) hold: Hold,
}

impl Store {
    /// Copies an object.
    ///
    /// # Errors
    /// No such source or bucket, a condition, a copy onto itself that changes nothing, a source over 5 GiB.
    pub async fn copy(&self, request: CopyRequest) -> Result<Copied> {
        let store = self.clone();
        Self::to_the_end(async move {
            for _ in 0..RETRIES {
                match store.copy_once(&request).await {
                    Err(Error::Metadata(metadata::Error::SourceChanged)) => {}
                    outcome => return outcome,
                }
            }
            Err(metadata::Error::SourceChanged.into())
        })
        .await
    }

    async fn copy_once(&self, request: &CopyRequest) -> Result<Copied> {
        let from = SourceName {
            bucket: &request.source_bucket,
            key: &request.source_key,
            version: request.source_version.as_ref(),
        };
        let Source { object: source, version: source_version, range, extents, hold } =
            self.source(from, None, &request.conditions).await?;
        if source.size > MAX_PUT_LEN {
            return Err(Error::InvalidRequest(format!(
                "The specified copy source is larger than the maximum allowable size for a copy source: {MAX_PUT_LEN}"
            )));
        }
        self.admit(&request.bucket, &request.key, &request.condition, &request.lock).await?;
        // A version is copied onto its own key to make it the current one again.
        let onto_itself = request.source_version.is_none()
            && (&request.source_bucket, &request.source_key) == (&request.bucket, &request.key);
        let mut headers = request.headers.resolve(&source.headers);
        headers.website_redirect.clone_from(&request.website_redirect);
        let tags = request.tags.resolve(&source.tags);
        if onto_itself
            && matches!(request.headers, Directive::Copy)
            && matches!(request.tags, Directive::Copy)
            && request.website_redirect == source.headers.website_redirect
            && request.storage_class.is_none()
            && request.checksum.is_none()
        {
            return Err(Error::InvalidRequest(
                "This copy request is illegal because it is trying to copy an object to itself without changing the \
                 object's metadata, storage class, website redirect location or encryption attributes."
                    .into(),
            ));
        }
        let has = source.checksum.as_ref().map(|checksum| checksum.algorithm);
        // What its parts have would be taken for checksums by the copy's algorithm: it gets bytes of its own, and has no parts.
        let anew = request.checksum.filter(|wanted| source.parts.is_some() && has != Some(*wanted));
        let checksum = match request.checksum.or(has) {
            Some(wanted) if anew.is_none() => match self.checksum_of_whole(&source, wanted).await? {
                Some(checksum) => Some(checksum),
                None => {
                    let sums = self.sums(&source, range.clone(), extents.clone(), hold.clone(), Some(wanted)).await?;
                    sums.full_object(wanted)
                }
            },
            _ => None,
        };
        let modified = self.clock.now();
        let mut object = NewObject {
            key: request.key.clone(),
            etag: source.etag.clone(),
            modified,
            checksum,
            headers,
            tags,
            owner: request.owner.clone(),
            lock: request.lock,
            acl: request.acl.clone(),
            storage_class: request.storage_class.unwrap_or_default(),
        };
        let etag = object.etag.clone();
        let received = match anew {
            Some(algorithm) => {
                let owner = Owner { bucket: request.bucket.clone(), key: request.key.clone(), part: 0 };
                let body = Self::body_of(self.bytes(source.content, range.clone(), extents.clone(), hold.clone()));
                let (received, hashes) = self.receive(owner, body, Some(source.size), Hashes::new([algorithm])).await?;
                object.checksum = hashes.finish().full_object(algorithm);
                Some(received)
            }
            None => None,
        };
        let checksum = object.checksum.clone();
        let version = match (received, source.content) {
            (Some(received), _) => {
                let (bucket, condition) = (request.bucket.clone(), request.condition.clone());
                self.commit_new(bucket, object, received, condition).await?.version
            }
            // What lies in a packed chunk has one owner: a copy has bytes of its own.
            (None, Content::Empty | Content::Packed(_)) => {
                let bytes = self.bytes(source.content, range, extents, hold).try_collect().await?;
                let (bucket, condition) = (request.bucket.clone(), request.condition.clone());
                self.commit_new(bucket, object, Received::Small(bytes), condition).await?.version
            }
            (None, Content::Data(data)) => {
                let commit = CopyCommit {
                    batch: batch(),
                    bucket: request.bucket.clone(),
                    object,
                    data,
                    size: source.size,
                    parts: source.parts,
                    condition: request.condition.clone(),
                };
                self.metadata.commit_copy(&commit).await?
            }
        };
        crash::point("copy.committed");
        let telling = self.telling(EventName::CreatedCopy, &request.bucket, &request.key);
        self.tell(telling, Facts { size: Some(source.size), etag: Some(&etag), version: version.as_ref() });
        Ok(Copied { etag, modified, checksum, version, source_version })
    }

    /// Makes a part of an upload from a range of an object. Answers the source's version, too, if its bucket keeps any.
    ///
    /// # Errors
    /// No such source or upload, a condition, a range that the source does not have.
    pub async fn copy_part(&self, request: CopyPartRequest) -> Result<(UploadedPart, Option<VersionId>)> {
        let store = self.clone();
        Self::to_the_end(async move {
            for _ in 0..RETRIES {
                match store.copy_part_once(&request).await {
                    Err(Error::Metadata(metadata::Error::SourceChanged)) => {}
                    outcome => return outcome,
                }
            }
            Err(metadata::Error::SourceChanged.into())
        })
        .await
    }

    async fn copy_part_once(&self, request: &CopyPartRequest) -> Result<(UploadedPart, Option<VersionId>)> {
        let upload = self.metadata.upload(&request.bucket, &request.key, &request.upload).await?;
        let algorithm = upload.template.checksum.map_or(DEFAULT_CHECKSUM, |(algorithm, _)| algorithm);
        let from = SourceName {
            bucket: &request.source_bucket,
            key: &request.source_key,
            version: request.source_version.as_ref(),
        };
        let Source { object: source, version, range, extents, hold } =
            self.source(from, request.source_range, &request.conditions).await?;
        let len = range.end - range.start;
        if len > MAX_PUT_LEN {
            return Err(Error::InvalidRequest(format!(
                "The specified copy source is larger than the maximum allowable size for a copy source: {MAX_PUT_LEN}"
            )));
        }
        let whole = len == source.size;
        if let Content::Data(data) = source.content
            && (whole || len >= SHARED_MIN)
        {
            let sums = self.sums(&source, range.clone(), extents.clone(), hold.clone(), Some(algorithm)).await?;
            let shared = PartSource::Range { data, range: range.clone() };
            let commit = self.part_commit(request, &sums, algorithm, shared);
            match self.metadata.commit_part(&commit).await {
                // Appended to bit by bit, or the last part of an upload: it is copied byte by byte, as what is packed always is.
                Err(metadata::Error::DataPacked) => {}
                outcome => {
                    outcome?;
                    let part = UploadedPart { etag: commit.etag, checksum: commit.checksum, modified: commit.modified };
                    return Ok((part, version));
                }
            }
        }
        let owner = Owner { bucket: request.bucket.clone(), key: request.key.clone(), part: request.number };
        let body = Self::body_of(self.bytes(source.content, range, extents, hold));
        let (received, hashes) = self.receive(owner, body, Some(len), Hashes::new([algorithm])).await?;
        let source = PartSource::New(NewData::default());
        let commit = self.part_commit(request, &hashes.finish(), algorithm, source);
        Ok((self.commit_new_part(commit, received).await?, version))
    }

    fn part_commit(
        &self,
        request: &CopyPartRequest,
        sums: &Sums,
        algorithm: ChecksumAlgorithm,
        source: PartSource,
    ) -> PartCommit {
        PartCommit {
            batch: batch(),
            bucket: request.bucket.clone(),
            key: request.key.clone(),
            upload: request.upload.clone(),
            number: request.number,
            etag: sums.etag(),
            checksum: sums.full_object(algorithm),
            modified: self.clock.now(),
            source,
        }
    }

    pub(super) async fn source(
        &self,
        name: SourceName<'_>,
        range: Option<(u64, u64)>,
        conditions: &ReadConditions,
    ) -> Result<Source> {
        let hold = self.chunks.reads().begin();
        let asked = range.map_or(ReadRange::Whole, |(first, last)| ReadRange::From(first, Some(last)));
        let found =
            self.metadata.resolve(name.bucket, name.key, name.version, asked).await.map_err(|error| match error {
                metadata::Error::DeleteMarker { named: true, .. } => Error::InvalidRequest(
                    "The source of a copy request may not specifically refer to a delete marker by version id.".into(),
                ),
                metadata::Error::DeleteMarker { bucket, key, .. } => metadata::Error::NoSuchKey { bucket, key }.into(),
                error => error.into(),
            })?;
        self.check_seen(name.bucket, name.key, name.version, &found.object)?;
        conditions.check_source(&found.object, self.clock.now())?;
        if let Some((first, last)) = range
            && last >= found.object.size
        {
            return Err(Error::InvalidArgument {
                name: "x-amz-copy-source-range".into(),
                value: format!("bytes={first}-{last}"),
                message: format!("Range specified is not valid for source object of size: {}", found.object.size),
            });
        }
        Ok(Source { object: found.object, version: found.version, range: found.range, extents: found.extents, hold })
    }

    /// The checksum of all of an object's bytes, as a copy has it, as far as it is known without reading them: it is the object's, or comes of its parts'.
    async fn checksum_of_whole(&self, object: &Object, algorithm: ChecksumAlgorithm) -> Result<Option<Checksum>> {
        let has = object.checksum.as_ref().filter(|has| has.algorithm == algorithm);
        match (has, object.content) {
            (Some(has), _) if has.kind == ChecksumType::FullObject => Ok(Some(has.clone())),
            (Some(_), Content::Data(data)) if combines(algorithm) => {
                let all = PartQuery { after: 0, limit: MAX_PARTS };
                let parts = self.metadata.object_parts(data, all).await?;
                let sums = parts.iter().map(|part| PartSum { size: part.size, checksum: part.checksum.as_deref() });
                let whole = multipart_checksum(algorithm, ChecksumType::FullObject, sums);
                // More may have been appended meanwhile.
                Ok(whole.filter(|_| parts.iter().map(|part| part.size).sum::<u64>() == object.size))
            }
            _ => Ok(None),
        }
    }

    /// Reads bytes only to digest them.
    async fn sums(
        &self,
        source: &Object,
        range: Range<u64>,
        extents: Vec<PlacedExtent>,
        hold: Hold,
        algorithm: Option<ChecksumAlgorithm>,
    ) -> Result<Sums> {
        let mut bytes = self.bytes(source.content, range, extents, hold);
        let mut hashes = Hashes::new(algorithm);
        while let Some(piece) = bytes.try_next().await? {
            hashes = tokio::task::spawn_blocking(move || {
                hashes.update(&piece);
                hashes
            })
            .await
            .map_err(|_| Error::Worker)?;
        }
        Ok(hashes.finish())
    }
}
