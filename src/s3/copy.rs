//! CopyObject and UploadPartCopy.

use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result};

use super::authorize::authority;
use super::error::{from_objects, invalid_argument, not_implemented};
use super::locking::lock_fields;
use super::multipart::part_number;
use super::values::{
    algorithm, check_key, etag, etag_list, header_fields, millis, put_checksum, timestamp, version, version_id,
    write_condition,
};
use super::{Api, acl, identity, noted, tagging, values};
use crate::metadata::{UploadId, VersionId, WriteCondition};
use crate::objects::{CopyPartRequest, CopyRequest, Directive, ReadConditions};
use crate::server::{Descriptions, Noted, NotedSource};

/// The source of a copy: bucket, key and version.
fn source(source: &CopySource) -> S3Result<(String, String, Option<VersionId>)> {
    let CopySource::Bucket { bucket, key, version_id } = source else {
        return Err(not_implemented("x-amz-copy-source"));
    };
    check_key(key)?;
    Ok((bucket.to_string(), key.to_string(), version(version_id.as_deref())?))
}

/// Tells the log what was copied.
fn note_source(noted: Option<Noted>, source: &CopySource) {
    if let (Some(noted), CopySource::Bucket { bucket, key, version_id }) = (noted, source) {
        let version = version_id.as_deref().map(str::to_owned);
        noted.source(NotedSource { bucket: bucket.to_string(), key: key.to_string(), version });
    }
}

/// The conditions of a copy's source.
macro_rules! source_conditions {
    ($headers:expr, $input:expr) => {
        ReadConditions {
            matches: etag_list($headers, "x-amz-copy-source-if-match", $input.copy_source_if_match.as_ref()),
            none_match: etag_list(
                $headers,
                "x-amz-copy-source-if-none-match",
                $input.copy_source_if_none_match.as_ref(),
            ),
            modified_since: $input.copy_source_if_modified_since.as_ref().map(millis),
            unmodified_since: $input.copy_source_if_unmodified_since.as_ref().map(millis),
        }
    };
}

pub(super) async fn copy_object(
    api: &Api,
    request: S3Request<CopyObjectInput>,
) -> S3Result<S3Response<CopyObjectOutput>> {
    let who = identity(&request)?;
    let noted = noted(&request);
    let bucket_owner = authority(&request.extensions)?.bucket_owner();
    let S3Request { mut input, headers, .. } = request;
    check_key(&input.key)?;
    let (source_bucket, source_key, source_version) = source(&input.copy_source)?;
    let lock = lock_fields!(input, api.store.clock().now())?;
    let conditions = source_conditions!(&headers, input);
    let metadata_directive = input.metadata_directive.as_ref().map_or("COPY", MetadataDirective::as_str);
    let tagging_directive = input.tagging_directive.as_ref().map_or("COPY", TaggingDirective::as_str);
    let website_redirect = input.website_redirect_location.clone();
    let stored = header_fields!(input).into_headers()?;
    let storage_class = values::storage_class(input.storage_class.as_ref())?;
    let (owner, acl) = acl::of_new_object(api, &who, &input.bucket, &headers).await?;
    let copy = CopyRequest {
        source_bucket,
        source_key,
        source_version,
        conditions,
        bucket: input.bucket,
        key: input.key,
        headers: match metadata_directive {
            "COPY" => Directive::Copy,
            "REPLACE" => Directive::Replace(stored),
            other => return Err(invalid_argument("x-amz-metadata-directive", other, "Unknown metadata directive.")),
        },
        website_redirect,
        tags: match tagging_directive {
            "COPY" => Directive::Copy,
            "REPLACE" => Directive::Replace(tagging::from_header(input.tagging.as_ref())?),
            other => return Err(invalid_argument("x-amz-tagging-directive", other, "Unknown tagging directive.")),
        },
        owner,
        lock,
        acl,
        storage_class,
        checksum: algorithm(input.checksum_algorithm.as_ref().map(ChecksumAlgorithm::as_str))?,
        condition: WriteCondition { bucket_owner, ..write_condition(&headers, None, None)? },
    };
    let copied = api.store.copy(copy).await.map_err(from_objects)?;
    note_source(noted, &input.copy_source);
    let mut result = CopyObjectResult {
        e_tag: Some(etag(&copied.etag)),
        last_modified: Some(timestamp(copied.modified)),
        checksum_type: copied.checksum.as_ref().map(|c| c.kind.name().to_owned().into()),
        ..Default::default()
    };
    let more = copied.checksum.map(|checksum| put_checksum!(result, checksum.algorithm, checksum.value));
    let mut response = S3Response::new(CopyObjectOutput {
        copy_object_result: Some(result),
        copy_source_version_id: version_id(copied.source_version.as_ref()),
        version_id: version_id(copied.version.as_ref()),
        ..Default::default()
    });
    Descriptions::default().and("CopyObjectResult", more.into_iter().collect()).put(&mut response.extensions);
    Ok(response)
}

/// `bytes=first-last`, both given, as S3 wants it here.
fn source_range(text: &str) -> S3Result<(u64, u64)> {
    let number = |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse::<u64>().ok()).flatten();
    let ends = text.strip_prefix("bytes=").and_then(|range| range.split_once('-'));
    match ends.map(|(first, last)| (number(first), number(last))) {
        Some((Some(first), Some(last))) if first <= last => Ok((first, last)),
        _ => Err(invalid_argument(
            "x-amz-copy-source-range",
            text,
            "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the \
             zero-based offsets of the first and last bytes to copy",
        )),
    }
}

pub(super) async fn upload_part_copy(
    api: &Api,
    request: S3Request<UploadPartCopyInput>,
) -> S3Result<S3Response<UploadPartCopyOutput>> {
    let noted = noted(&request);
    let S3Request { input, headers, .. } = request;
    check_key(&input.key)?;
    let (source_bucket, source_key, source_version) = source(&input.copy_source)?;
    let copy = CopyPartRequest {
        source_bucket,
        source_key,
        source_version,
        source_range: input.copy_source_range.as_deref().map(source_range).transpose()?,
        conditions: source_conditions!(&headers, input),
        bucket: input.bucket,
        key: input.key,
        upload: UploadId(input.upload_id),
        number: part_number(input.part_number)?,
    };
    let (part, source_version) = api.store.copy_part(copy).await.map_err(from_objects)?;
    note_source(noted, &input.copy_source);
    let mut result = CopyPartResult {
        e_tag: Some(etag(&part.etag)),
        last_modified: Some(timestamp(part.modified)),
        ..Default::default()
    };
    let more = part.checksum.map(|checksum| put_checksum!(result, checksum.algorithm, checksum.value));
    let mut response = S3Response::new(UploadPartCopyOutput {
        copy_part_result: Some(result),
        copy_source_version_id: version_id(source_version.as_ref()),
        ..Default::default()
    });
    Descriptions::default().and("CopyPartResult", more.into_iter().collect()).put(&mut response.extensions);
    Ok(response)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::source_range;

    #[test]
    fn only_closed_ranges_name_a_source() {
        assert_eq!(source_range("bytes=0-0").unwrap(), (0, 0));
        for bad in ["bytes=1-0", "bytes=0-", "bytes=-5", "0-5", "bytes=+1-2", "bytes=0-1,3-4", ""] {
            assert!(source_range(bad).is_err(), "{bad}");
        }
    }
}
