//! Tags of buckets and objects: PutObjectTagging, GetBucketTagging and the like, and the rules that all tags follow.
//!
//! Source: "Categorizing your storage using tags" and "Using cost allocation S3 bucket tags" in the Amazon S3 user guide.

use std::borrow::Cow;

use http::StatusCode;
use percent_encoding::percent_decode_str;
use s3s::dto::*;
use s3s::{S3Error, S3Request, S3Response, S3Result};

use super::Api;
use super::error::{from_objects, invalid_argument, s3_error, with_detail};
use super::values::{check_key, version, version_id};
use crate::metadata::{Tags, VersionChange};
use crate::objects::VersionName;

/// Tags of an object at most.
const OBJECT_TAGS: usize = 10;
/// Tags of a bucket at most.
const BUCKET_TAGS: usize = 50;

fn invalid(message: &str, key: &str) -> S3Error {
    with_detail(s3_error("InvalidTag", StatusCode::BAD_REQUEST, message), "TagKey", key)
}

fn is_allowed(c: char) -> bool {
    c.is_alphanumeric() || c.is_whitespace() || "+-=._:/@".contains(c)
}

/// Adds a tag, if it may be one.
pub(super) fn add(tags: &mut Tags, key: String, value: String) -> S3Result<()> {
    if key.is_empty() || key.chars().count() > 128 || !key.chars().all(is_allowed) {
        return Err(invalid("The TagKey you have provided is invalid", &key));
    }
    if value.chars().count() > 256 || !value.chars().all(is_allowed) {
        return Err(invalid("The TagValue you have provided is invalid", &key));
    }
    if key.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("aws:")) {
        return Err(invalid("System tags cannot be added/updated by requester", &key));
    }
    if tags.contains_key(&key) {
        return Err(invalid("Cannot provide multiple Tags with the same key", &key));
    }
    tags.insert(key, value);
    Ok(())
}

fn too_many(tags: &Tags, limit: usize, of: &str) -> S3Result<()> {
    if tags.len() <= limit {
        return Ok(());
    }
    Err(s3_error("BadRequest", StatusCode::BAD_REQUEST, format!("{of} tags cannot be greater than {limit}")))
}

/// `x-amz-tagging`: an object's tags as a URL query.
pub(super) fn from_header(header: Option<&String>) -> S3Result<Tags> {
    let mut tags = Tags::new();
    let Some(header) = header else { return Ok(tags) };
    let malformed = || {
        invalid_argument(
            "x-amz-tagging",
            header,
            "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters without tag name \
             duplicates.",
        )
    };
    let decode = |text: &str| -> S3Result<String> {
        let text = text.replace('+', " ");
        percent_decode_str(&text).decode_utf8().map(Cow::into_owned).map_err(|_| malformed())
    };
    for pair in header.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (key, value) = (decode(key)?, decode(value)?);
        if tags.contains_key(&key) {
            return Err(malformed());
        }
        add(&mut tags, key, value)?;
    }
    too_many(&tags, OBJECT_TAGS, "Object")?;
    Ok(tags)
}

/// The tags of a document.
fn from_set(set: TagSet, limit: usize, of: &str) -> S3Result<Tags> {
    let mut tags = Tags::new();
    for Tag { key, value } in set {
        add(&mut tags, key.unwrap_or_default(), value.unwrap_or_default())?;
    }
    too_many(&tags, limit, of)?;
    Ok(tags)
}

fn to_set(tags: Tags) -> TagSet {
    tags.into_iter().map(|(key, value)| Tag { key: Some(key), value: Some(value) }).collect()
}

pub(super) async fn get_object_tagging(
    api: &Api,
    request: S3Request<GetObjectTaggingInput>,
) -> S3Result<S3Response<GetObjectTaggingOutput>> {
    let input = request.input;
    check_key(&input.key)?;
    let name = VersionName { bucket: input.bucket, key: input.key, version: version(input.version_id.as_deref())? };
    let (tags, found) = api.store.object_tags(&name).await.map_err(from_objects)?;
    Ok(S3Response::new(GetObjectTaggingOutput { tag_set: to_set(tags), version_id: version_id(found.as_ref()) }))
}

pub(super) async fn put_object_tagging(
    api: &Api,
    request: S3Request<PutObjectTaggingInput>,
) -> S3Result<S3Response<PutObjectTaggingOutput>> {
    let input = request.input;
    check_key(&input.key)?;
    let name = VersionName { bucket: input.bucket, key: input.key, version: version(input.version_id.as_deref())? };
    let tags = from_set(input.tagging.tag_set, OBJECT_TAGS, "Object")?;
    let found = api.store.change_version(name, VersionChange::Tags(tags)).await.map_err(from_objects)?;
    Ok(S3Response::new(PutObjectTaggingOutput { version_id: version_id(found.as_ref()) }))
}

pub(super) async fn delete_object_tagging(
    api: &Api,
    request: S3Request<DeleteObjectTaggingInput>,
) -> S3Result<S3Response<DeleteObjectTaggingOutput>> {
    let input = request.input;
    check_key(&input.key)?;
    let name = VersionName { bucket: input.bucket, key: input.key, version: version(input.version_id.as_deref())? };
    let found = api.store.change_version(name, VersionChange::Tags(Tags::new())).await.map_err(from_objects)?;
    Ok(S3Response::with_status(
        DeleteObjectTaggingOutput { version_id: version_id(found.as_ref()) },
        StatusCode::NO_CONTENT,
    ))
}

pub(super) async fn get_bucket_tagging(
    api: &Api,
    request: S3Request<GetBucketTaggingInput>,
) -> S3Result<S3Response<GetBucketTaggingOutput>> {
    match api.store.bucket_tags(&request.input.bucket).await.map_err(from_objects)? {
        Some(tags) => Ok(S3Response::new(GetBucketTaggingOutput { tag_set: to_set(tags) })),
        None => {
            let error = s3_error("NoSuchTagSet", StatusCode::NOT_FOUND, "The TagSet does not exist");
            Err(with_detail(error, "BucketName", &request.input.bucket))
        }
    }
}

pub(super) async fn put_bucket_tagging(
    api: &Api,
    request: S3Request<PutBucketTaggingInput>,
) -> S3Result<S3Response<PutBucketTaggingOutput>> {
    let tags = from_set(request.input.tagging.tag_set, BUCKET_TAGS, "Bucket")?;
    api.store.set_bucket_tags(request.input.bucket, Some(tags)).await.map_err(from_objects)?;
    Ok(S3Response::new(PutBucketTaggingOutput::default()))
}

pub(super) async fn delete_bucket_tagging(
    api: &Api,
    request: S3Request<DeleteBucketTaggingInput>,
) -> S3Result<S3Response<DeleteBucketTaggingOutput>> {
    api.store.set_bucket_tags(request.input.bucket, None).await.map_err(from_objects)?;
    Ok(S3Response::new(DeleteBucketTaggingOutput::default()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn tagging_headers() {
        let ok = from_header(Some(&"a=1&b%20c=d+e&f".to_owned())).unwrap();
        let pairs: Vec<_> = ok.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(pairs, [("a", "1"), ("b c", "d e"), ("f", "")]);
        assert!(from_header(Some(&"a=1&a=2".to_owned())).is_err());
        assert!(from_header(Some(&"=1".to_owned())).is_err());
        let eleven: Vec<String> = (0..11).map(|i| format!("k{i}=v")).collect();
        assert!(from_header(Some(&eleven.join("&"))).is_err());
    }
}
