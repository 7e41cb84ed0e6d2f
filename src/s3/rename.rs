//! RenameObject, which s3s takes for a PutObject: the guard knows it by its parameter, and marks it.
//!
//! Source: "RenameObject" in the Amazon S3 API reference.

use http::{HeaderMap, StatusCode};
use s3s::dto::{CopySource, PutObjectInput, PutObjectOutput, Timestamp, TimestampFormat};
use s3s::{S3Request, S3Response, S3Result};
use sha2::{Digest as _, Sha256};

use super::error::{from_objects, invalid_argument, invalid_request, not_implemented, s3_error};
use super::values::{check_key, etag_list, millis};
use super::{Api, noted};
use crate::clock::Millis;
use crate::metadata::{Rename, RenameCondition, RenameToken};
use crate::objects::ETagList;
use crate::server::NotedSource;

/// In the extensions of what is no PutObject but a RenameObject. Put there by the guard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Renames;

const SOURCE: &str = "x-amz-rename-source";
const TOKEN: &str = "x-amz-client-token";
/// Length of a token in bytes at most.
const MAX_TOKEN: usize = 64;

pub(super) async fn rename_object(
    api: &Api,
    request: S3Request<PutObjectInput>,
) -> S3Result<S3Response<PutObjectOutput>> {
    let noted = noted(&request);
    let S3Request { input, headers, .. } = request;
    check_key(&input.key)?;
    if headers.contains_key("x-amz-write-offset-bytes") {
        return Err(not_implemented("x-amz-write-offset-bytes"));
    }
    let from = source(&headers, &input.bucket)?;
    let rename = Rename {
        source: condition(&headers, "x-amz-rename-source-")?,
        destination: condition(&headers, "")?,
        token: token(&headers, &input.key)?,
        bucket: input.bucket.clone(),
        from: from.clone(),
        to: input.key,
    };
    api.store.rename(rename).await.map_err(from_objects)?;
    if let Some(noted) = noted {
        noted.source(NotedSource { bucket: input.bucket, key: from, version: None });
    }
    Ok(S3Response::new(PutObjectOutput::default()))
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> S3Result<Option<&'a str>> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    match value.to_str() {
        Ok(text) => Ok(Some(text)),
        Err(_) => Err(invalid_argument(name, &String::from_utf8_lossy(value.as_bytes()), "The value is not text.")),
    }
}

/// The key to be renamed, written as a copy's source is: in the same bucket, and without a version.
fn source(headers: &HeaderMap, bucket: &str) -> S3Result<String> {
    let value = text(headers, SOURCE)?.ok_or_else(|| invalid_request("Missing required header x-amz-rename-source"))?;
    match CopySource::parse(value) {
        Ok(CopySource::Bucket { bucket: named, key, version_id: None }) if *named == *bucket => {
            check_key(&key)?;
            Ok(key.into())
        }
        Ok(CopySource::Bucket { version_id: None, .. }) => {
            Err(invalid_argument(SOURCE, value, "An object is renamed within its bucket."))
        }
        _ => Err(invalid_argument(SOURCE, value, "The source must be of the form bucket/key, URL encoded.")),
    }
}

/// The conditions whose headers begin so.
fn condition(headers: &HeaderMap, prefix: &str) -> S3Result<RenameCondition> {
    let etags = |name: &str| {
        etag_list(headers, &format!("{prefix}{name}"), None).map(|list| match list {
            ETagList::Any => vec!["*".to_owned()],
            ETagList::Of(tags) => tags,
        })
    };
    let date = |name: &str| -> S3Result<Option<Millis>> {
        let name = format!("{prefix}{name}");
        let Some(value) = text(headers, &name)? else { return Ok(None) };
        match Timestamp::parse(TimestampFormat::HttpDate, value) {
            Ok(at) => Ok(Some(millis(&at))),
            Err(_) => Err(invalid_argument(&name, value, "The value is not a date of HTTP.")),
        }
    };
    Ok(RenameCondition {
        etags: etags("if-match"),
        none_of: etags("if-none-match"),
        modified_since: date("if-modified-since")?,
        unmodified_since: date("if-unmodified-since")?,
    })
}

/// The client's name for the request, with a digest of what else it says.
fn token(headers: &HeaderMap, to: &str) -> S3Result<Option<RenameToken>> {
    let Some(name) = text(headers, TOKEN)? else { return Ok(None) };
    if name.is_empty() || name.len() > MAX_TOKEN || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(invalid_argument(TOKEN, name, "A token has 1 to 64 characters of ASCII between 33 and 126."));
    }
    const SAID: [&str; 9] = [
        SOURCE,
        "if-match",
        "if-none-match",
        "if-modified-since",
        "if-unmodified-since",
        "x-amz-rename-source-if-match",
        "x-amz-rename-source-if-none-match",
        "x-amz-rename-source-if-modified-since",
        "x-amz-rename-source-if-unmodified-since",
    ];
    let mut digest = Sha256::new();
    let values = SAID.iter().map(|name| headers.get(*name).map_or(&b""[..], |value| value.as_bytes()));
    for value in std::iter::once(to.as_bytes()).chain(values) {
        digest.update((value.len() as u64).to_be_bytes());
        digest.update(value);
    }
    Ok(Some(RenameToken { name: name.to_owned(), request: digest.finalize().into() }))
}

/// 400 `IdempotencyParameterMismatch`.
pub(super) fn token_reused() -> s3s::S3Error {
    s3_error(
        "IdempotencyParameterMismatch",
        StatusCode::BAD_REQUEST,
        "Parameters on this idempotent request are inconsistent with parameters used in previous request(s).",
    )
}
