//! CreateMultipartUpload, UploadPart, AbortMultipartUpload, ListParts.

use http::StatusCode;
use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result};

use super::body::{expected, incoming};
use super::error::{from_objects, invalid_argument};
use super::locking::lock_fields;
use super::values::{
    algorithm, check_key, checksum_type, etag, header_fields, page_limit, put_checksum, put_checksum_header, signed,
    signed32, storage_class, timestamp,
};
use super::{Api, acl, display_name, identity, tagging};
use crate::metadata::{PartQuery, UploadId, UploadTemplate};
use crate::objects::{PartRequest, StartUpload};
use crate::server::Descriptions;

/// 1 to 10,000.
pub(super) fn part_number(number: i32) -> S3Result<u32> {
    match u32::try_from(number) {
        Ok(number @ 1..=10_000) => Ok(number),
        _ => Err(invalid_argument(
            "partNumber",
            &number.to_string(),
            "Part number must be an integer between 1 and 10000, inclusive",
        )),
    }
}

pub(super) async fn create_multipart_upload(
    api: &Api,
    request: S3Request<CreateMultipartUploadInput>,
) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
    let who = identity(&request)?;
    let S3Request { mut input, headers, .. } = request;
    check_key(&input.key)?;
    let storage_class = storage_class(input.storage_class.as_ref())?.unwrap_or_default();
    let (owner, acl) = acl::of_new_object(api, &who, &input.bucket, &headers).await?;
    let start = StartUpload {
        bucket: input.bucket.clone(),
        template: UploadTemplate {
            key: input.key.clone(),
            headers: header_fields!(input).into_headers()?,
            tags: tagging::from_header(input.tagging.as_ref())?,
            owner,
            initiator: who.id,
            lock: lock_fields!(input, api.store.clock().now())?,
            acl,
            storage_class,
            checksum: None,
        },
        algorithm: algorithm(input.checksum_algorithm.as_ref().map(ChecksumAlgorithm::as_str))?,
        kind: checksum_type(input.checksum_type.as_ref().map(ChecksumType::as_str))?,
    };
    let upload = api.store.start_upload(start).await.map_err(from_objects)?;
    Ok(S3Response::new(CreateMultipartUploadOutput {
        bucket: Some(input.bucket),
        key: Some(input.key),
        upload_id: Some(upload.id.0),
        checksum_algorithm: upload.template.checksum.map(|(a, _)| a.name().to_owned().into()),
        checksum_type: upload.template.checksum.map(|(_, k)| k.name().to_owned().into()),
        ..Default::default()
    }))
}

pub(super) async fn upload_part(
    api: &Api,
    request: S3Request<UploadPartInput>,
) -> S3Result<S3Response<UploadPartOutput>> {
    let S3Request { input, headers, trailing_headers, .. } = request;
    check_key(&input.key)?;
    let part = PartRequest {
        bucket: input.bucket,
        key: input.key,
        upload: UploadId(input.upload_id),
        number: part_number(input.part_number)?,
        expected: expected(&headers, input.content_length, trailing_headers)?,
        body: incoming(input.body),
    };
    let part = api.store.put_part(part).await.map_err(from_objects)?;
    let output = UploadPartOutput { e_tag: Some(etag(&part.etag)), ..Default::default() };
    let mut response = S3Response::new(output);
    put_checksum_header(&mut response.headers, part.checksum.as_ref());
    Ok(response)
}

pub(super) async fn abort_multipart_upload(
    api: &Api,
    request: S3Request<AbortMultipartUploadInput>,
) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
    let input = request.input;
    check_key(&input.key)?;
    super::values::refuse_unbuilt(&[("x-amz-if-match-initiated-time", input.if_match_initiated_time.is_some())])?;
    let upload = UploadId(input.upload_id);
    api.store.abort_upload(input.bucket, input.key, upload).await.map_err(from_objects)?;
    Ok(S3Response::with_status(AbortMultipartUploadOutput::default(), StatusCode::NO_CONTENT))
}

pub(super) async fn list_parts(api: &Api, request: S3Request<ListPartsInput>) -> S3Result<S3Response<ListPartsOutput>> {
    let input = request.input;
    check_key(&input.key)?;
    let limit = page_limit("max-parts", input.max_parts)?;
    let after = match input.part_number_marker {
        None => 0,
        Some(marker) => u32::try_from(marker).map_err(|_| {
            invalid_argument(
                "part-number-marker",
                &marker.to_string(),
                "Argument part-number-marker must be an integer between 0 and 2147483647",
            )
        })?,
    };
    let id = UploadId(input.upload_id);
    let query = PartQuery { after, limit };
    let (upload, parts, truncated) =
        api.store.parts(&input.bucket, &input.key, &id, query).await.map_err(from_objects)?;
    let (owner, initiator) = (upload.template.owner, upload.template.initiator);
    let name = |id: &str| display_name(&api.directory, id);
    let next = parts.last().map(|part| signed32(part.number));
    let algorithm = upload.template.checksum.map(|(algorithm, _)| algorithm);
    let parts = parts.into_iter().map(|part| {
        let mut entry = Part {
            e_tag: Some(etag(&part.etag)),
            last_modified: Some(timestamp(part.modified)),
            part_number: Some(signed32(part.number)),
            size: Some(signed(part.size)),
            ..Default::default()
        };
        // Only what the upload was announced with is the client's business.
        let shown = part.checksum.filter(|checksum| Some(checksum.algorithm) == algorithm);
        let more = shown.map(|checksum| put_checksum!(entry, checksum.algorithm, checksum.value)).unwrap_or_default();
        (entry, more)
    });
    let (parts, more): (Vec<_>, Vec<_>) = parts.unzip();
    let output = ListPartsOutput {
        bucket: Some(input.bucket),
        key: Some(input.key),
        upload_id: Some(id.0),
        checksum_algorithm: algorithm.map(|a| a.name().to_owned().into()),
        checksum_type: upload.template.checksum.map(|(_, k)| k.name().to_owned().into()),
        initiator: Some(Initiator { display_name: name(&initiator), id: Some(initiator) }),
        owner: Some(Owner { display_name: name(&owner), id: Some(owner) }),
        is_truncated: Some(truncated),
        max_parts: Some(signed32(limit)),
        part_number_marker: Some(signed32(after)),
        next_part_number_marker: next,
        parts: Some(parts),
        storage_class: Some(StorageClass::from_static(upload.template.storage_class.name())),
        ..Default::default()
    };
    let mut response = S3Response::new(output);
    Descriptions::default().and("Part", more).put(&mut response.extensions);
    Ok(response)
}
