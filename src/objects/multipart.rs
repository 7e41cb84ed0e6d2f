//! Multipart uploads: started, filled part by part, completed or aborted. Completing moves no byte.

use super::digest::{PartSum, default_type, multipart_checksum, multipart_etag, type_exists};
use super::put::DEFAULT_CHECKSUM;
use super::tell::Facts;
use super::{Error, Expected, MAX_OBJECT_LEN, MIN_PART_LEN, Received, Result, Store, batch};
use crate::chunks::{Body, Owner};
use crate::clock::{Millis, random_bytes};
use crate::crash;
use crate::events::EventName;
use crate::layout::NewData;
use crate::metadata::{
    self, Checksum, ChecksumAlgorithm, ChecksumType, Coming, CompleteCommit, Completion, NewObject, NewUpload,
    PackedWrite, Part, PartCommit, PartQuery, PartSource, Upload, UploadId, UploadTemplate, VersionId, WriteCondition,
};

/// A CreateMultipartUpload.
#[derive(Debug, Clone)]
pub struct StartUpload {
    /// Name of the bucket.
    pub bucket: String,
    /// What the object is to be; `checksum` is set from the two fields below.
    pub template: UploadTemplate,
    /// `x-amz-checksum-algorithm`
    pub algorithm: Option<ChecksumAlgorithm>,
    /// `x-amz-checksum-type`
    pub kind: Option<ChecksumType>,
}

/// An UploadPart.
pub struct PartRequest {
    /// Name of the bucket.
    pub bucket: String,
    /// The key.
    pub key: String,
    /// The upload.
    pub upload: UploadId,
    /// 1 to 10,000.
    pub number: u32,
    /// What is said of the body.
    pub expected: Expected,
    /// The bytes.
    pub body: Body,
}

/// A part as stored.
#[derive(Debug, Clone)]
pub struct UploadedPart {
    /// Hexadecimal MD5.
    pub etag: String,
    /// Its checksum.
    pub checksum: Option<Checksum>,
    /// When.
    pub modified: Millis,
}

/// A part as named in a completion.
#[derive(Debug, Clone)]
pub struct CompletePart {
    /// Its number.
    pub number: u32,
    /// Without quotes.
    pub etag: String,
    /// Checksums named with it.
    pub checksums: Vec<(ChecksumAlgorithm, String)>,
}

/// A CompleteMultipartUpload.
#[derive(Debug, Clone)]
pub struct CompleteRequest {
    /// Name of the bucket.
    pub bucket: String,
    /// The key.
    pub key: String,
    /// The upload.
    pub upload: UploadId,
    /// The parts.
    pub parts: Vec<CompletePart>,
    /// The checksum of the whole, as the client knows it.
    pub checksum: Option<(ChecksumAlgorithm, String)>,
    /// `x-amz-checksum-type`
    pub kind: Option<ChecksumType>,
    /// `x-amz-mp-object-size`
    pub size: Option<u64>,
    /// What must hold of the current object.
    pub condition: WriteCondition,
}

/// A completed object.
#[derive(Debug, Clone)]
pub struct CompletedUpload {
    /// Without quotes.
    pub etag: String,
    /// Its checksum.
    pub checksum: Option<Checksum>,
    /// Length in bytes.
    pub size: u64,
    /// The version that it is, if the bucket keeps any.
    pub version: Option<VersionId>,
}

impl Store {
    /// Starts an upload.
    ///
    /// # Errors
    /// No such bucket; a checksum type that its algorithm does not have.
    pub async fn start_upload(&self, request: StartUpload) -> Result<Upload> {
        let checksum = match (request.algorithm, request.kind) {
            (None, None) => None,
            (None, Some(_)) => {
                return Err(Error::InvalidRequest(
                    "The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header.".into(),
                ));
            }
            (Some(algorithm), kind) => {
                let kind = kind.unwrap_or_else(|| default_type(algorithm));
                if !type_exists(algorithm, kind) {
                    return Err(Error::InvalidRequest(format!(
                        "The {} checksum type cannot be used with the {} checksum algorithm.",
                        kind.name(),
                        algorithm.name().to_ascii_lowercase()
                    )));
                }
                Some((algorithm, kind))
            }
        };
        let started = self.clock.now();
        let id = UploadId(format!("{started:012x}{}", hex::encode(random_bytes::<10>())));
        let template = UploadTemplate { checksum, ..request.template };
        let upload = NewUpload { id, bucket: request.bucket, template, started };
        let store = self.clone();
        Self::to_the_end(async move {
            store.metadata.create_upload(&upload).await?;
            Ok(Upload { id: upload.id, template: upload.template, started })
        })
        .await
    }

    /// Stores a part; one of the same number is replaced.
    ///
    /// # Errors
    /// No such upload; a body that is not what was announced; a checksum by another algorithm than the upload's.
    pub async fn put_part(&self, request: PartRequest) -> Result<UploadedPart> {
        let store = self.clone();
        Self::to_the_end(async move { store.put_part_now(request).await }).await
    }

    async fn put_part_now(&self, request: PartRequest) -> Result<UploadedPart> {
        request.expected.check_ahead()?;
        let upload = self.metadata.upload(&request.bucket, &request.key, &request.upload).await?;
        let announced = upload.template.checksum.map(|(algorithm, _)| algorithm);
        if let (Some(announced), Some(sent)) = (announced, request.expected.algorithm())
            && announced != sent
        {
            return Err(Error::InvalidRequest(format!(
                "Checksum Type mismatch occurred, expected checksum Type: {}, actual checksum Type: {}",
                announced.name().to_ascii_lowercase(),
                sent.name().to_ascii_lowercase()
            )));
        }
        if request.expected.len.is_none_or(|len| len > self.pack_max as u64) {
            let coming = Coming::Part(&request.upload, request.number);
            self.check_room(&request.bucket, coming, request.expected.len).await?;
        }
        // What the whole's checksum will be made of, whatever the client verifies this part by.
        let kept = announced.unwrap_or(DEFAULT_CHECKSUM);
        let owner = Owner { bucket: request.bucket.clone(), key: request.key.clone(), part: request.number };
        let hashes = request.expected.hashes(Some(kept));
        let body = request.expected.hold(request.body);
        let announced = request.expected.len;
        let (received, hashes) = self.receive(owner, body, announced, hashes).await?;
        let sums = hashes.finish();
        let shown = match request.expected.verify(&sums, kept) {
            Ok(checksum) => checksum,
            Err(error) => {
                self.forget(&received).await;
                return Err(error);
            }
        };
        let commit = PartCommit {
            batch: batch(),
            bucket: request.bucket,
            key: request.key,
            upload: request.upload,
            number: request.number,
            etag: sums.etag(),
            checksum: sums.full_object(kept),
            modified: self.clock.now(),
            source: PartSource::New(NewData::default()),
        };
        let part = self.commit_new_part(commit, received).await?;
        crash::point("part.committed");
        Ok(UploadedPart { checksum: shown, ..part })
    }

    /// Makes a part of freshly received bytes visible, or removes them.
    pub(super) async fn commit_new_part(&self, part: PartCommit, received: Received) -> Result<UploadedPart> {
        let uploaded =
            UploadedPart { etag: part.etag.clone(), checksum: part.checksum.clone(), modified: part.modified };
        match received {
            Received::Small(bytes) => {
                let owner = Owner { bucket: part.bucket.clone(), key: part.key.clone(), part: part.number };
                self.lanes.write(PackedWrite::Part(part), owner, bytes).await?;
            }
            Received::Large(data) => {
                let chunks = data.chunks.clone();
                let commit = PartCommit { source: PartSource::New(data), ..part };
                let outcome = self.metadata.commit_part(&commit).await;
                self.undo(outcome.map_err(Into::into), &chunks).await?;
            }
        }
        Ok(uploaded)
    }

    /// An upload, and a page of its parts with whether there are more.
    ///
    /// # Errors
    /// No such upload.
    pub async fn parts(
        &self,
        bucket: &str,
        key: &str,
        upload: &UploadId,
        query: PartQuery,
    ) -> Result<(Upload, Vec<Part>, bool)> {
        let running = self.metadata.upload(bucket, key, upload).await?;
        let more = PartQuery { limit: query.limit.saturating_add(1), ..query };
        let mut parts = self.metadata.parts(bucket, key, upload, more).await?;
        let truncated = parts.len() > query.limit as usize;
        parts.truncate(query.limit as usize);
        Ok((running, parts, truncated))
    }

    /// Aborts an upload and releases its parts.
    ///
    /// # Errors
    /// No such upload.
    pub async fn abort_upload(&self, bucket: String, key: String, upload: UploadId) -> Result<()> {
        let store = self.clone();
        Self::to_the_end(async move {
            store.metadata.abort_upload(&bucket, &key, &upload, store.clock.now()).await?;
            crash::point("abort.committed");
            Ok(())
        })
        .await
    }

    /// Makes an object of an upload's parts. Asked again within a day, for the same parts, it answers the same: the first answer may have
    /// been lost on its way.
    ///
    /// # Errors
    /// No such upload; [`Error::InvalidPart`], [`Error::InvalidPartOrder`], [`Error::EntityTooSmall`]; a size or checksum that
    /// the client knows otherwise; a condition.
    pub async fn complete_upload(&self, request: CompleteRequest) -> Result<CompletedUpload> {
        let store = self.clone();
        Self::to_the_end(async move {
            let (bucket, key, upload) = (request.bucket.clone(), request.key.clone(), request.upload.clone());
            let named = multipart_etag(request.parts.iter().map(|part| part.etag.as_str()));
            match store.complete_now(request).await {
                Err(Error::Metadata(error @ metadata::Error::NoSuchUpload { .. })) => {
                    let completion = store.metadata.completion(&bucket, &key, &upload).await?;
                    match completion.filter(|completion| Some(&completion.etag) == named.as_ref()) {
                        Some(Completion { etag, size, checksum, version }) => {
                            Ok(CompletedUpload { etag, checksum, size, version })
                        }
                        None => Err(error.into()),
                    }
                }
                other => other,
            }
        })
        .await
    }

    async fn complete_now(&self, request: CompleteRequest) -> Result<CompletedUpload> {
        let CompleteRequest { bucket, key, upload, .. } = &request;
        let running = self.metadata.upload(bucket, key, upload).await?;
        if !request.parts.is_sorted_by(|a, b| a.number < b.number) {
            return Err(Error::InvalidPartOrder);
        }
        let all = PartQuery { after: 0, limit: super::MAX_PARTS };
        let uploaded = self.metadata.parts(bucket, key, upload, all).await?;
        let announced = running.template.checksum;
        let mut parts = Vec::with_capacity(request.parts.len());
        for named in &request.parts {
            let invalid =
                || Error::InvalidPart { number: named.number, upload: upload.to_string(), etag: named.etag.clone() };
            let at = uploaded.binary_search_by_key(&named.number, |part| part.number).map_err(|_| invalid())?;
            let part = uploaded.get(at).ok_or_else(invalid)?;
            let same_sums = named.checksums.iter().all(|(algorithm, value)| {
                part.checksum.as_ref().is_none_or(|kept| kept.algorithm != *algorithm || kept.value == *value)
            });
            if part.etag != named.etag || !same_sums {
                return Err(invalid());
            }
            if let Some((algorithm, ChecksumType::Composite)) = announced
                && named.checksums.iter().all(|(named, _)| *named != algorithm)
            {
                return Err(Error::InvalidRequest(format!(
                    "The upload was created using a {} checksum. The complete request must include the checksum for each \
                     part. It was missing for part {} in the request.",
                    algorithm.name().to_ascii_lowercase(),
                    named.number
                )));
            }
            parts.push(part.clone());
        }
        if let Some((_, before_last)) = parts.split_last()
            && let Some(small) = before_last.iter().find(|part| part.size < MIN_PART_LEN)
        {
            return Err(Error::EntityTooSmall {
                number: small.number,
                size: small.size,
                min: MIN_PART_LEN,
                etag: small.etag.clone(),
            });
        }
        let size = parts.iter().map(|part| part.size).sum();
        if size > MAX_OBJECT_LEN {
            return Err(Error::EntityTooLarge { size, max: MAX_OBJECT_LEN });
        }
        if let Some(said) = request.size.filter(|said| *said != size) {
            return Err(Error::InvalidRequest(format!(
                "The provided 'x-amz-mp-object-size' header value {said} does not match what was computed: {size}"
            )));
        }
        let checksum = checksum_of(&request, announced, &parts)?;
        let etag = multipart_etag(parts.iter().map(|part| part.etag.as_str()))
            .ok_or_else(|| metadata::Error::Corrupt(format!("a part of upload {upload} has an ETag that is no MD5")))?;
        let template = running.template;
        let commit = CompleteCommit {
            batch: batch(),
            object: NewObject {
                key: template.key,
                etag,
                modified: self.clock.now(),
                checksum,
                headers: template.headers,
                tags: template.tags,
                owner: template.owner,
                lock: template.lock,
                acl: template.acl,
                storage_class: template.storage_class,
            },
            bucket: request.bucket,
            key: request.key,
            upload: request.upload,
            parts,
            condition: request.condition,
        };
        let version = self.metadata.complete_upload(&commit).await?;
        crash::point("complete.committed");
        let telling = self.telling(EventName::CreatedCompleteMultipartUpload, &commit.bucket, &commit.key);
        self.tell(telling, Facts { size: Some(size), etag: Some(&commit.object.etag), version: version.as_ref() });
        Ok(CompletedUpload { etag: commit.object.etag, checksum: commit.object.checksum, size, version })
    }
}

/// The completed object's checksum, held against what the client says it is.
fn checksum_of(
    request: &CompleteRequest,
    announced: Option<(ChecksumAlgorithm, ChecksumType)>,
    parts: &[Part],
) -> Result<Option<Checksum>> {
    let (algorithm, kind) = announced.unwrap_or((DEFAULT_CHECKSUM, ChecksumType::FullObject));
    if let Some(said) = request.kind.filter(|said| *said != kind) {
        return Err(Error::InvalidRequest(format!(
            "The upload was created using the {} checksum mode. The complete request must use the same checksum mode, not {}.",
            kind.name(),
            said.name()
        )));
    }
    let sums = parts.iter().map(|part| PartSum {
        size: part.size,
        checksum: part.checksum.as_ref().filter(|c| c.algorithm == algorithm).map(|c| c.value.as_str()),
    });
    let checksum = multipart_checksum(algorithm, kind, sums);
    if let Some((said_algorithm, said)) = &request.checksum {
        let matches = checksum.as_ref().is_some_and(|c| {
            // Clients send a composite checksum with or without its `-N`.
            c.algorithm == *said_algorithm && (c.value == *said || c.value.split('-').next() == Some(said))
        });
        if !matches {
            return Err(Error::BadChecksum { algorithm: said_algorithm.name() });
        }
    }
    Ok(checksum)
}
