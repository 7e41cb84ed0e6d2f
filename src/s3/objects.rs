//! PutObject, GetObject, HeadObject, DeleteObject, DeleteObjects, GetObjectAttributes.

use http::{HeaderMap, HeaderValue, StatusCode};
use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result};

use super::authorize::{self, Authority};
use super::body::{expected, incoming, outgoing};
use super::error::{from_metadata, from_objects, invalid_argument, invalid_request, malformed_xml, s3_error};
use super::locking::{lock_fields, put_lock};
use super::rename::{Renames, rename_object};
use super::values::{
    self, check_key, etag, etag_list, header_fields, millis, page_limit, put_checksum, put_checksum_header, signed,
    signed32, timestamp, version, version_id, write_condition,
};
use super::{Api, acl, identity, noted, snowball, tagging};
use crate::events::EventName;
use crate::metadata::{
    self, ChecksumType as Kind, DeleteKey, Deleted, PartQuery, ReadRange, VersionId, WriteCondition,
};
use crate::objects::{self, Attributes, DeleteRequest, GetRequest, Got, PutRequest, ReadConditions};
use crate::server::{Descriptions, NotedDelete};

/// Keys that one DeleteObjects may name.
const MAX_DELETE: usize = 1000;
/// What S3 calls bytes of no particular kind.
const DEFAULT_TYPE: &str = "binary/octet-stream";

pub(super) async fn put_object(api: &Api, request: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
    if request.extensions.get::<Renames>().is_some() {
        return rename_object(api, request).await;
    }
    if snowball::is_asked(&request.input) {
        return snowball::extract(api, request).await;
    }
    let who = identity(&request)?;
    let noted = noted(&request);
    let bucket_owner = authorize::authority(&request.extensions)?.bucket_owner();
    let S3Request { mut input, headers, trailing_headers, .. } = request;
    check_key(&input.key)?;
    let storage_class = values::storage_class(input.storage_class.as_ref())?.unwrap_or_default();
    let lock = lock_fields!(input, api.store.clock().now())?;
    let condition = write_condition(&headers, input.if_match.as_ref(), input.if_none_match.as_ref())?;
    let (owner, acl) = acl::of_new_object(api, &who, &input.bucket, &headers).await?;
    let offset = input.write_offset_bytes.map(write_offset).transpose()?;
    let put = PutRequest {
        bucket: input.bucket,
        key: input.key.clone(),
        condition: WriteCondition { bucket_owner, ..condition },
        headers: header_fields!(input).into_headers()?,
        tags: tagging::from_header(input.tagging.as_ref())?,
        owner,
        lock,
        acl,
        storage_class,
        expected: expected(&headers, input.content_length, trailing_headers)?,
        body: incoming(input.body),
    };
    let stored = match offset {
        Some(offset) => api.store.append(put, offset).await,
        None => api.store.put(put).await,
    };
    let stored = stored.map_err(from_objects)?;
    if let Some(noted) = noted {
        noted.object(&input.key, stored.size);
    }
    let mut response = S3Response::new(PutObjectOutput {
        e_tag: Some(etag(&stored.etag)),
        size: offset.map(|_| signed(stored.size)),
        version_id: version_id(stored.version.as_ref()),
        checksum_type: stored.checksum.as_ref().map(|c| c.kind.name().to_owned().into()),
        ..Default::default()
    });
    put_checksum_header(&mut response.headers, stored.checksum.as_ref());
    Ok(response)
}

/// `x-amz-write-offset-bytes`
fn write_offset(offset: i64) -> S3Result<u64> {
    u64::try_from(offset).map_err(|_| {
        invalid_argument("x-amz-write-offset-bytes", &offset.to_string(), "The write offset must not be negative.")
    })
}

/// `Range` and `partNumber`, which exclude each other.
fn read_range(range: Option<Range>, part: Option<i32>, whole: ReadRange) -> S3Result<ReadRange> {
    match (range, part) {
        (Some(_), Some(_)) => Err(invalid_request("Cannot specify both Range header and partNumber query parameter")),
        (None, Some(part)) => match u32::try_from(part) {
            Ok(number @ 1..=10_000) => Ok(ReadRange::Part(number)),
            _ => Err(invalid_argument(
                "partNumber",
                &part.to_string(),
                "Part number must be an integer between 1 and 10000, inclusive",
            )),
        },
        (Some(Range::Int { first, last }), None) => Ok(ReadRange::From(first, last)),
        (Some(Range::Suffix { length }), None) => Ok(ReadRange::Suffix(length)),
        (None, None) => Ok(whole),
    }
}

fn conditions(
    headers: &HeaderMap,
    matches: Option<&ETagCondition>,
    none_match: Option<&ETagCondition>,
    modified_since: Option<&Timestamp>,
    unmodified_since: Option<&Timestamp>,
) -> ReadConditions {
    ReadConditions {
        matches: etag_list(headers, "if-match", matches),
        none_match: etag_list(headers, "if-none-match", none_match),
        modified_since: modified_since.map(millis),
        unmodified_since: unmodified_since.map(millis),
    }
}

/// The checksum to show with what was read: the object's with all of it, the part's with a part, none with a range.
fn shown_checksum(got: &Got, mode: Option<&ChecksumMode>) -> Option<metadata::Checksum> {
    let checksum = got.object.checksum.clone().filter(|_| mode.is_some_and(|mode| mode.as_str() == "ENABLED"))?;
    match &got.part {
        Some(part) if got.object.parts.is_some() => {
            Some(metadata::Checksum { value: part.checksum.clone()?, ..checksum })
        }
        None if got.partial => None,
        _ => Some(checksum),
    }
}

/// S3 shows every storage class but the usual one.
fn shown_class(class: metadata::StorageClass) -> Option<StorageClass> {
    (class != metadata::StorageClass::Standard).then(|| StorageClass::from_static(class.name()))
}

fn content_range(got: &Got) -> Option<String> {
    let Got { range, object, .. } = got;
    got.partial.then(|| format!("bytes {}-{}/{}", range.start, range.end.saturating_sub(1), object.size))
}

/// The fields that GetObject's and HeadObject's answers share.
macro_rules! describe {
    ($output:ident, $got:expr, $input:expr, $checksum:expr) => {{
        let (got, input) = (&$got, &$input);
        let checksum: Option<&metadata::Checksum> = $checksum;
        let headers = &got.object.headers;
        let over = |asked: &Option<String>, stored: &Option<String>| asked.clone().or_else(|| stored.clone());
        let default_type = || Some(DEFAULT_TYPE.to_owned());
        let mut output = $output {
            accept_ranges: Some("bytes".into()),
            cache_control: over(&input.response_cache_control, &headers.cache_control),
            checksum_type: checksum.map(|c| c.kind.name().to_owned().into()),
            content_disposition: over(&input.response_content_disposition, &headers.content_disposition),
            content_encoding: over(&input.response_content_encoding, &headers.content_encoding),
            content_language: over(&input.response_content_language, &headers.content_language),
            content_length: Some(signed(got.range.end - got.range.start)),
            content_range: content_range(got),
            content_type: over(&input.response_content_type, &headers.content_type).or_else(default_type),
            e_tag: Some(etag(&got.object.etag)),
            expires: input.response_expires.clone().or_else(|| values::expires(headers.expires.as_ref())),
            last_modified: Some(timestamp(got.object.modified)),
            metadata: Some(headers.user.clone().into_iter().collect()),
            parts_count: got.parts.map(signed32),
            storage_class: shown_class(got.object.storage_class),
            version_id: version_id(got.version.as_ref()),
            website_redirect_location: headers.website_redirect.clone(),
            ..Default::default()
        };
        put_lock!(output, got.object.lock);
        output
    }};
}

/// Takes from what was read what its reader may not know: how many tags there are, and how it is locked. Source: "GetObject" in the Amazon S3
/// API reference, of these headers.
fn veil(authority: &Authority, got: &mut Got) {
    let may = |action| authority.may_to(action, &got.object);
    let tags = got.object.tags.is_empty() || may("s3:GetObjectTagging");
    let retention = got.object.lock.retention.is_none() || may("s3:GetObjectRetention");
    let hold = got.object.lock.legal_hold.is_none() || may("s3:GetObjectLegalHold");
    if !tags {
        got.object.tags.clear();
    }
    got.object.lock.retention = got.object.lock.retention.filter(|_| retention);
    got.object.lock.legal_hold = got.object.lock.legal_hold.filter(|_| hold);
}

pub(super) async fn get_object(api: &Api, request: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
    let input = request.input;
    check_key(&input.key)?;
    let get = GetRequest {
        bucket: input.bucket.clone(),
        key: input.key.clone(),
        version: version(input.version_id.as_deref())?,
        range: read_range(input.range, input.part_number, ReadRange::Whole)?,
        conditions: conditions(
            &request.headers,
            input.if_match.as_ref(),
            input.if_none_match.as_ref(),
            input.if_modified_since.as_ref(),
            input.if_unmodified_since.as_ref(),
        ),
        with_body: true,
    };
    let mut got = api.store.get(&get).await.map_err(from_objects)?;
    let size = got.object.size;
    api.store.tell_of_read(EventName::AccessedGet, &input.bucket, &input.key, size, got.version.as_ref());
    veil(authorize::authority(&request.extensions)?, &mut got);
    let checksum = shown_checksum(&got, input.checksum_mode.as_ref());
    let mut output = describe!(GetObjectOutput, got, input, checksum.as_ref());
    output.tag_count = Some(signed32(got.object.tags.len())).filter(|count| *count > 0);
    output.body = Some(outgoing(got.body, got.range.end - got.range.start));
    let mut response = S3Response::new(output);
    put_checksum_header(&mut response.headers, checksum.as_ref());
    Ok(response)
}

pub(super) async fn head_object(
    api: &Api,
    request: S3Request<HeadObjectInput>,
) -> S3Result<S3Response<HeadObjectOutput>> {
    let input = request.input;
    check_key(&input.key)?;
    let get = GetRequest {
        bucket: input.bucket.clone(),
        key: input.key.clone(),
        version: version(input.version_id.as_deref())?,
        range: read_range(input.range, input.part_number, ReadRange::Nothing)?,
        conditions: conditions(
            &request.headers,
            input.if_match.as_ref(),
            input.if_none_match.as_ref(),
            input.if_modified_since.as_ref(),
            input.if_unmodified_since.as_ref(),
        ),
        with_body: false,
    };
    let mut got = api.store.get(&get).await.map_err(from_objects)?;
    let size = got.object.size;
    api.store.tell_of_read(EventName::AccessedHead, &input.bucket, &input.key, size, got.version.as_ref());
    veil(authorize::authority(&request.extensions)?, &mut got);
    let checksum = shown_checksum(&got, input.checksum_mode.as_ref());
    let output = describe!(HeadObjectOutput, got, input, checksum.as_ref());
    let partial = got.partial;
    let mut response = S3Response::new(output);
    put_checksum_header(&mut response.headers, checksum.as_ref());
    if !got.object.tags.is_empty() {
        response.headers.insert("x-amz-tagging-count", HeaderValue::from(got.object.tags.len()));
    }
    if partial {
        response.extensions.insert(crate::server::StatusOverride(StatusCode::PARTIAL_CONTENT));
    }
    Ok(response)
}

pub(super) async fn delete_object(
    api: &Api,
    request: S3Request<DeleteObjectInput>,
) -> S3Result<S3Response<DeleteObjectOutput>> {
    let owner = identity(&request)?.id;
    let owns_all = authorize::authority(&request.extensions)?.owns_all();
    let S3Request { input, headers, .. } = request;
    check_key(&input.key)?;
    if values::force_delete(&headers)? {
        if !owns_all {
            return Err(authorize::denied());
        }
        return force_delete(api, input, &headers).await;
    }
    let condition = write_condition(&headers, input.if_match.as_ref(), None)?;
    let condition = WriteCondition {
        size: input.if_match_size.map(|size| size.max(0).unsigned_abs()),
        modified: input.if_match_last_modified_time.as_ref().map(millis),
        ..condition
    };
    let keys = vec![DeleteKey {
        key: input.key,
        version: version(input.version_id.as_deref())?,
        bypass: input.bypass_governance_retention == Some(true),
        condition,
    }];
    let delete = DeleteRequest { bucket: input.bucket, keys, owner };
    let mut output = DeleteObjectOutput::default();
    for outcome in api.store.delete(delete).await.map_err(from_objects)? {
        let Deleted { version, marker } = outcome.map_err(from_metadata)?;
        output.version_id = version_id(version.as_ref());
        output.delete_marker = marker.then_some(true);
    }
    Ok(S3Response::with_status(output, StatusCode::NO_CONTENT))
}

/// The same of a key and all below it, with all versions.
async fn force_delete(
    api: &Api,
    input: DeleteObjectInput,
    headers: &HeaderMap,
) -> S3Result<S3Response<DeleteObjectOutput>> {
    let refused = |message: &str| invalid_argument("x-minio-force-delete", "true", message);
    // Who names one version, or says when it is to be deleted, does not mean all of them.
    let is_narrower = input.version_id.is_some()
        || input.if_match_size.is_some()
        || input.if_match_last_modified_time.is_some()
        || headers.contains_key("if-match");
    if is_narrower {
        return Err(refused("force-delete takes neither a version nor a condition"));
    }
    match api.store.force_delete(input.bucket, input.key).await {
        Err(objects::Error::Metadata(metadata::Error::BucketState(_))) => {
            Err(refused("force-delete is forbidden on Object Locking enabled buckets"))
        }
        outcome => {
            outcome.map_err(from_objects)?;
            Ok(S3Response::with_status(DeleteObjectOutput::default(), StatusCode::NO_CONTENT))
        }
    }
}

pub(super) async fn delete_objects(
    api: &Api,
    request: S3Request<DeleteObjectsInput>,
) -> S3Result<S3Response<DeleteObjectsOutput>> {
    let owner = identity(&request)?.id;
    let noted = noted(&request);
    let authority = authorize::authority(&request.extensions)?;
    let bypass = request.input.bypass_governance_retention == Some(true);
    let Delete { objects, quiet } = request.input.delete;
    if objects.is_empty() || objects.len() > MAX_DELETE {
        return Err(malformed_xml());
    }
    let mut keys = Vec::with_capacity(objects.len());
    let mut outcomes: Vec<(String, Option<String>, Result<(), s3s::S3Error>)> = Vec::with_capacity(objects.len());
    for object in objects {
        let named = version(object.version_id.as_deref());
        let valid = named.and_then(|named| check_key(&object.key).map(|()| named)).and_then(|named| {
            let version = named.as_ref().map(VersionId::as_str);
            let action = if version.is_some() { "s3:DeleteObjectVersion" } else { "s3:DeleteObject" };
            let may = |action| authority.may(action, &object.key, version);
            // Whether a condition holds is an answer about the object.
            let compared = object.e_tag.is_some() || object.size.is_some() || object.last_modified_time.is_some();
            let allowed =
                may(action) && (!bypass || may("s3:BypassGovernanceRetention")) && (!compared || may("s3:GetObject"));
            if allowed { Ok(named) } else { Err(authorize::denied()) }
        });
        if let Ok(version) = &valid {
            let etags = object.e_tag.map(|tag| vec![tag.into_value()]);
            let condition = WriteCondition {
                none_of: None,
                etags,
                size: object.size.map(|size| size.max(0).unsigned_abs()),
                modified: object.last_modified_time.as_ref().map(millis),
                ..WriteCondition::default()
            };
            keys.push(DeleteKey { key: object.key.clone(), version: version.clone(), bypass, condition });
        }
        outcomes.push((object.key, object.version_id, valid.map(|_| ())));
    }
    let bucket = request.input.bucket;
    let mut deleted = api.store.delete(DeleteRequest { bucket, keys, owner }).await.map_err(from_objects)?.into_iter();
    let mut output = DeleteObjectsOutput::default();
    for (key, version_id, valid) in outcomes {
        let outcome = valid.and_then(|()| match deleted.next() {
            Some(outcome) => outcome.map_err(from_metadata),
            None => {
                Err(s3_error("InternalError", StatusCode::INTERNAL_SERVER_ERROR, "We encountered an internal error."))
            }
        });
        if let Some(noted) = &noted {
            let error = outcome.as_ref().err().map(|error| {
                let status = error.status_code().unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                (error.code().as_str().to_owned(), status)
            });
            noted.deleted(NotedDelete { key: key.clone(), version: version_id.clone(), error });
        }
        match outcome {
            Ok(_) if quiet == Some(true) => {}
            Ok(Deleted { version, marker }) => {
                let entry = DeletedObject {
                    key: Some(key),
                    version_id,
                    delete_marker: marker.then_some(true),
                    delete_marker_version_id: version.filter(|_| marker).map(|version| version.as_str().to_owned()),
                };
                output.deleted.get_or_insert_default().push(entry);
            }
            Err(error) => {
                let entry = s3s::dto::Error {
                    code: Some(error.code().as_str().to_owned()),
                    key: Some(key),
                    message: error.message().map(str::to_owned),
                    version_id,
                };
                output.errors.get_or_insert_default().push(entry);
            }
        }
    }
    Ok(S3Response::new(output))
}

pub(super) async fn get_object_attributes(
    api: &Api,
    request: S3Request<GetObjectAttributesInput>,
) -> S3Result<S3Response<GetObjectAttributesOutput>> {
    let input = request.input;
    check_key(&input.key)?;
    // s3s gives a comma-separated header as one item.
    let wanted: Vec<String> = input
        .object_attributes
        .iter()
        .flat_map(|item| item.as_str().split(','))
        .map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty())
        .collect();
    const KNOWN: [&str; 5] = ["ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"];
    if wanted.is_empty() || wanted.iter().any(|name| !KNOWN.contains(&name.as_str())) {
        return Err(invalid_argument(
            "x-amz-object-attributes",
            &wanted.join(","),
            "Invalid attribute name specified.",
        ));
    }
    let wants = |name: &str| wanted.iter().any(|wanted| wanted == name);
    let limit = page_limit("max-parts", input.max_parts)?;
    let after = match input.part_number_marker {
        Some(marker) => u32::try_from(marker).map_err(|_| {
            invalid_argument(
                "part-number-marker",
                &marker.to_string(),
                "Argument part-number-marker must be an integer between 0 and 2147483647",
            )
        })?,
        None => 0,
    };
    let query = wants("ObjectParts").then_some(PartQuery { after, limit });
    let asked = version(input.version_id.as_deref())?;
    let Attributes { version, object, parts } =
        api.store.attributes(&input.bucket, &input.key, asked.as_ref(), query).await.map_err(from_objects)?;
    let (name, size) = (EventName::AccessedAttributes, object.size);
    api.store.tell_of_read(name, &input.bucket, &input.key, size, version.as_ref());
    let mut output = GetObjectAttributesOutput {
        last_modified: Some(timestamp(object.modified)),
        version_id: version_id(version.as_ref()),
        ..Default::default()
    };
    output.e_tag = wants("ETag").then(|| etag(&object.etag));
    output.object_size = wants("ObjectSize").then(|| signed(object.size));
    output.storage_class = wants("StorageClass").then(|| StorageClass::from_static(object.storage_class.name()));
    let mut descriptions = Descriptions::default();
    if let Some(checksum) = object.checksum.as_ref().filter(|_| wants("Checksum")) {
        let mut shown = Checksum { checksum_type: Some(checksum.kind.name().to_owned().into()), ..Default::default() };
        // S3 leaves out of how many parts it is, which it shows everywhere else.
        let value = checksum.value.split('-').next().unwrap_or_default().to_owned();
        let more = put_checksum!(shown, checksum.algorithm, value);
        descriptions = descriptions.and("Checksum", vec![more]);
        output.checksum = Some(shown);
    }
    if let Some(page) = parts {
        let mut shown =
            GetObjectAttributesParts { total_parts_count: Some(signed32(page.total)), ..Default::default() };
        // S3 lists the parts themselves only where each has a checksum of its own.
        if object
            .checksum
            .as_ref()
            .is_some_and(|c| c.kind == Kind::Composite || page.parts.iter().all(|p| p.checksum.is_some()))
        {
            shown.is_truncated = Some(page.truncated);
            shown.max_parts = Some(signed32(limit));
            shown.part_number_marker = Some(signed32(after));
            shown.next_part_number_marker = page.parts.last().map(|part| signed32(part.number));
            let algorithm = object.checksum.as_ref().map(|c| c.algorithm);
            let parts = page.parts.into_iter().map(|part| {
                let mut more = String::new();
                let mut entry = ObjectPart {
                    part_number: Some(signed32(part.number)),
                    size: Some(signed(part.size)),
                    ..Default::default()
                };
                if let (Some(algorithm), Some(value)) = (algorithm, part.checksum) {
                    more = put_checksum!(entry, algorithm, value);
                }
                (entry, more)
            });
            let (parts, more) = parts.unzip();
            descriptions = descriptions.and("Part", more);
            shown.parts = Some(parts);
        }
        output.object_parts = Some(shown);
    }
    let mut response = S3Response::new(output);
    descriptions.put(&mut response.extensions);
    Ok(response)
}
