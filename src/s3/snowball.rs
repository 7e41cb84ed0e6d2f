//! PutObject of an archive whose files become objects (`x-amz-meta-snowball-auto-extract: true`).
//!
//! AWS has it for its Snow devices ("Batching small files" in the AWS Snowball Edge developer guide), MinIO for all buckets; the further headers, and
//! headers of single files (`minio.metadata.`), are MinIO's (`PutObjectExtractHandler` and `untar` in minio/minio's `cmd/`). The archive itself is not
//! kept. Files are stored as they come: of an archive that breaks off, or turns out not to be what its digests say, those before stay.

use std::collections::HashSet;

use bytes::Bytes;
use futures_util::stream;
use s3s::dto::*;
use s3s::{S3Error, S3Request, S3Response, S3Result};
use tokio::task::JoinSet;

use super::authorize::{Authority, authority, denied};
use super::body::{expected, incoming};
use super::error::{from_objects, invalid_argument, not_implemented, s3_error};
use super::locking::lock_fields;
use super::post::VerifiedForm;
use super::values::{HeaderFields, check_key, etag, put_checksum_header, storage_class, write_condition};
use super::{Api, acl, identity, noted};
use crate::access::acl::Acl;
use crate::metadata::{ChecksumAlgorithm, Headers, ObjectLock, StorageClass, Tags, WriteCondition};
use crate::objects::{self, Archive, Archived, Expected, PutRequest};

/// Bytes of a file that is stored beside others.
const SMALL: u64 = 64 << 10;
/// Files that are stored at a time.
const TOGETHER: usize = 16;

const ASKS: &str = "snowball-auto-extract";
const PREFIX: &str = "minio-snowball-prefix";
const IGNORE_DIRECTORIES: &str = "minio-snowball-ignore-dirs";
const IGNORE_ERRORS: &str = "minio-snowball-ignore-errors";

/// Whether a PutObject brings an archive to be extracted.
pub(super) fn is_asked(input: &PutObjectInput) -> bool {
    is_true(input.metadata.as_ref(), ASKS)
}

fn is_true(metadata: Option<&Metadata>, name: &str) -> bool {
    metadata.and_then(|metadata| metadata.get(name)).is_some_and(|value| value.eq_ignore_ascii_case("true"))
}

/// Where files go, and whose they are.
struct Destination {
    bucket: String,
    /// Before each key: nothing, or names with slashes behind them.
    prefix: String,
    owner: String,
    acl: Option<Acl>,
    storage_class: StorageClass,
    lock: ObjectLock,
    /// Who asks: each key is asked for by itself.
    authority: Authority,
}

impl Destination {
    /// Whether a file may be stored under this key, as a PutObject with the same headers might be.
    fn may(&self, key: &str) -> bool {
        let lock = [
            (self.lock.retention.is_some(), "s3:PutObjectRetention"),
            (self.lock.legal_hold.is_some(), "s3:PutObjectLegalHold"),
            (self.acl.is_some(), "s3:PutObjectAcl"),
        ];
        let needed = lock.into_iter().filter(|(needed, _)| *needed).map(|(_, action)| action);
        std::iter::once("s3:PutObject").chain(needed).all(|action| self.authority.may(action, key, None))
    }
}

/// Files that are being stored.
struct Storing {
    api: Api,
    tasks: JoinSet<(String, objects::Result<()>)>,
    keys: HashSet<String>,
    ignore_errors: bool,
}

pub(super) async fn extract(api: &Api, request: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
    // A form's policy is about its one key.
    if request.extensions.get::<VerifiedForm>().is_some() {
        return Err(not_implemented("x-amz-meta-snowball-auto-extract"));
    }
    let who = identity(&request)?;
    let authority = authority(&request.extensions)?.clone();
    let noted = noted(&request);
    let S3Request { mut input, headers, trailing_headers, .. } = request;
    let metadata = input.metadata.take();
    // What is said of the archive is not said of its files.
    let known = [ASKS, PREFIX, IGNORE_DIRECTORIES, IGNORE_ERRORS];
    if let Some(other) = metadata.iter().flatten().find(|(name, _)| !known.contains(&name.as_str())) {
        return Err(not_implemented(&format!("x-amz-meta-{}", other.0)));
    }
    if input.tagging.is_some() {
        return Err(not_implemented("x-amz-tagging"));
    }
    if write_condition(&headers, input.if_match.as_ref(), input.if_none_match.as_ref())? != WriteCondition::default() {
        return Err(not_implemented("If-Match"));
    }
    let prefix = metadata.as_ref().and_then(|metadata| metadata.get(PREFIX));
    let (owner, acl) = acl::of_new_object(api, &who, &input.bucket, &headers).await?;
    let destination = Destination {
        authority,
        acl,
        storage_class: storage_class(input.storage_class.as_ref())?.unwrap_or_default(),
        prefix: prefix.map(|prefix| name_of(prefix, true)).transpose()?.unwrap_or_default(),
        owner,
        lock: lock_fields!(input, api.store.clock().now())?,
        bucket: input.bucket,
    };
    api.store.bucket(&destination.bucket).await.map_err(from_objects)?;
    let expected = expected(&headers, input.content_length, trailing_headers)?;
    expected.check_ahead().map_err(from_objects)?;
    let archive = Archive::open(expected.hold(incoming(input.body)), expected.hashes(None)).map_err(from_objects)?;
    let storing = Storing {
        api: api.clone(),
        tasks: JoinSet::new(),
        keys: HashSet::new(),
        ignore_errors: is_true(metadata.as_ref(), IGNORE_ERRORS),
    };
    let ignore_directories = is_true(metadata.as_ref(), IGNORE_DIRECTORIES);
    let archive = storing.all(archive, &destination, ignore_directories).await?;
    let sums = archive.finish().await.map_err(from_objects)?;
    let checksum = expected.verify(&sums, ChecksumAlgorithm::Crc64Nvme).map_err(from_objects)?;
    if let Some(noted) = noted {
        noted.object(&input.key, sums.len);
    }
    let output = PutObjectOutput { e_tag: Some(etag(&sums.etag())), ..Default::default() };
    let mut response = S3Response::new(output);
    put_checksum_header(&mut response.headers, checksum.as_ref());
    Ok(response)
}

impl Storing {
    /// Stores all files of an archive; answers it, to be read to its end.
    async fn all(
        mut self,
        mut archive: Archive,
        destination: &Destination,
        ignore_directories: bool,
    ) -> S3Result<Archive> {
        while let Some(file) = archive.next().await.map_err(from_objects)? {
            if file.is_directory && ignore_directories {
                continue;
            }
            match put_of(&file, destination) {
                Ok(Some(put)) => self.one(file, put, &archive).await?,
                Ok(None) => {}
                Err(error) if self.ignore_errors => pass_over(&file.path, &error),
                Err(error) => return Err(error),
            }
        }
        self.settle(0).await?;
        Ok(archive)
    }

    async fn one(&mut self, file: Archived, put: PutRequest, archive: &Archive) -> S3Result<()> {
        // Of two files of one name the second counts.
        let room = if self.keys.contains(&put.key) || file.size > SMALL { 0 } else { TOGETHER - 1 };
        self.settle(room).await?;
        let (store, key) = (self.api.store.clone(), put.key.clone());
        if file.size <= SMALL {
            let bytes = file.read().await.map_err(from_objects)?;
            let put = PutRequest { body: Box::pin(stream::iter([Ok(bytes)])), ..put };
            self.keys.insert(key.clone());
            self.tasks.spawn(async move { (key, store.put(put).await.map(drop)) });
            return Ok(());
        }
        let outcome = store.put(PutRequest { body: file.into_body(), ..put }).await.map(drop);
        match archive.failed() {
            Some(reason) => Err(from_objects(reason)),
            None => self.judge(&key, outcome),
        }
    }

    /// Waits until no more than so many are being stored.
    async fn settle(&mut self, running: usize) -> S3Result<()> {
        while self.tasks.len() > running {
            let Some(done) = self.tasks.join_next().await else { return Ok(()) };
            let (key, outcome) = done.map_err(|_| from_objects(objects::Error::Worker))?;
            self.keys.remove(&key);
            self.judge(&key, outcome)?;
        }
        Ok(())
    }

    fn judge(&self, key: &str, outcome: objects::Result<()>) -> S3Result<()> {
        match outcome.map_err(from_objects) {
            Err(error) if self.ignore_errors => pass_over(key, &error),
            outcome => outcome?,
        }
        Ok(())
    }
}

fn pass_over(name: &str, error: &S3Error) {
    tracing::debug!(name, %error, "a file of an archive was not stored, and its client wants that to be passed over");
}

/// The PutObject of a file; `None` of what has no name of its own, as `./`.
fn put_of(file: &Archived, destination: &Destination) -> S3Result<Option<PutRequest>> {
    let name = name_of(&file.path, file.is_directory)?;
    if name.is_empty() {
        return Ok(None);
    }
    let key = format!("{}{name}", destination.prefix);
    check_key(&key)?;
    if !destination.may(&key) {
        return Err(denied());
    }
    Ok(Some(PutRequest {
        bucket: destination.bucket.clone(),
        key,
        headers: headers_of(file)?,
        tags: Tags::default(),
        owner: destination.owner.clone(),
        acl: destination.acl.clone(),
        storage_class: destination.storage_class,
        lock: destination.lock,
        condition: WriteCondition::default(),
        expected: Expected { len: Some(file.size), ..Expected::default() },
        body: Box::pin(stream::empty::<Result<Bytes, _>>()),
    }))
}

/// A path as a key: without what is no name in it, and without a way out of where it is.
fn name_of(path: &str, is_directory: bool) -> S3Result<String> {
    let mut names = path.split('/').filter(|name| !matches!(*name, "" | "."));
    if names.clone().any(|name| name == "..") {
        return Err(invalid_argument("key", path, "A path of an archive must not lead out of it"));
    }
    let mut key = names.next().unwrap_or_default().to_owned();
    for name in names {
        key.push('/');
        key.push_str(name);
    }
    if is_directory && !key.is_empty() {
        key.push('/');
    }
    Ok(key)
}

/// The headers that a file's extended header has for it.
fn headers_of(file: &Archived) -> S3Result<Headers> {
    let mut fields = HeaderFields::default();
    for (name, value) in &file.attributes {
        if name == "minio.versionId" {
            return Err(not_implemented(name));
        }
        let Some(header) = name.strip_prefix("minio.metadata.") else { continue };
        let header = header.to_ascii_lowercase();
        let place = match header.as_str() {
            "content-type" => &mut fields.content_type,
            "content-encoding" => &mut fields.content_encoding,
            "content-language" => &mut fields.content_language,
            "content-disposition" => &mut fields.content_disposition,
            "cache-control" => &mut fields.cache_control,
            header => match header.strip_prefix("x-amz-meta-") {
                Some(user) => {
                    fields.user.get_or_insert_default().insert(user.to_owned(), value.clone());
                    continue;
                }
                None => return Err(not_implemented(name)),
            },
        };
        *place = Some(value.clone());
    }
    let is_header = |value: &String| http::HeaderValue::from_str(value).is_ok();
    let user = fields.user.iter().flatten().map(|(_, value)| value);
    let own = [&fields.content_type, &fields.content_encoding, &fields.content_language];
    let own = own.into_iter().chain([&fields.content_disposition, &fields.cache_control]).flatten();
    if !user.chain(own).all(is_header) {
        let message = "A header in the archive has characters that no header has";
        return Err(s3_error("InvalidRequest", http::StatusCode::BAD_REQUEST, message));
    }
    fields.into_headers()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn paths_become_keys() {
        for (path, is_directory, key) in [
            ("a/b", false, "a/b"),
            ("./a//b/.", false, "a/b"),
            ("/a", false, "a"),
            ("dir", true, "dir/"),
            ("dir/", true, "dir/"),
            ("./", true, ""),
            ("a..b/..c", false, "a..b/..c"),
        ] {
            assert_eq!(name_of(path, is_directory).unwrap(), key, "{path}");
        }
        for path in ["..", "../a", "a/../../b", "a/.."] {
            assert!(name_of(path, false).is_err(), "{path}");
        }
    }
}
