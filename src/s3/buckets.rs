//! ListBuckets, CreateBucket, HeadBucket, DeleteBucket, GetBucketLocation.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::StatusCode;
use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result};

use super::authorize::{authority, denied};
use super::error::{from_objects, invalid_argument, s3_error, with_detail};
use super::host::is_reserved;
use super::values::{force_delete, timestamp};
use super::{Api, acl, identity, ownership};
use crate::access::claims::is_region;
use crate::metadata::{self, BucketQuery};
use crate::objects::{BucketDefaults, CreateBucket, Error};

/// The region that S3 began with.
const FIRST_REGION: &str = "us-east-1";

const MAX_BUCKETS: i32 = 10_000;

pub(super) async fn list_buckets(
    api: &Api,
    request: S3Request<ListBucketsInput>,
) -> S3Result<S3Response<ListBucketsOutput>> {
    let who = identity(&request)?;
    let input = request.input;
    let limit = input.max_buckets.unwrap_or(MAX_BUCKETS);
    if !(1..=MAX_BUCKETS).contains(&limit) {
        let message = format!("Argument max-buckets must be an integer between 1 and {MAX_BUCKETS}");
        return Err(invalid_argument("max-buckets", &limit.to_string(), message));
    }
    let after = match &input.continuation_token {
        None => String::new(),
        Some(token) => {
            let decoded = BASE64_URL_SAFE_NO_PAD.decode(token).ok().and_then(|bytes| String::from_utf8(bytes).ok());
            decoded.ok_or_else(|| {
                invalid_argument("continuation-token", token, "The continuation token provided is incorrect")
            })?
        }
    };
    let query = BucketQuery {
        prefix: input.prefix.clone().unwrap_or_default(),
        after,
        owner: who.id.clone(),
        region: input.bucket_region,
        limit: limit.unsigned_abs(),
    };
    let (buckets, more) = api.store.list_buckets(query).await.map_err(from_objects)?;
    let token = buckets.last().filter(|_| more).map(|last| BASE64_URL_SAFE_NO_PAD.encode(&last.name));
    let buckets = buckets
        .into_iter()
        .map(|bucket| Bucket {
            bucket_region: Some(bucket.region),
            creation_date: Some(timestamp(bucket.created)),
            name: Some(bucket.name),
        })
        .collect();
    Ok(S3Response::new(ListBucketsOutput {
        buckets: Some(buckets),
        continuation_token: token,
        owner: Some(Owner { display_name: Some(who.display_name), id: Some(who.id) }),
        prefix: input.prefix,
    }))
}

pub(super) async fn create_bucket(
    api: &Api,
    request: S3Request<CreateBucketInput>,
) -> S3Result<S3Response<CreateBucketOutput>> {
    let owner = identity(&request)?.id;
    let S3Request { input, headers, .. } = request;
    let said = ownership::from_header(input.object_ownership.as_ref())?;
    let settings = BucketDefaults { ownership: said.unwrap_or(api.defaults.ownership), ..api.defaults };
    let acl = acl::of_new_bucket(api, &owner, &headers, settings)?;
    let lock = input.object_lock_enabled_for_bucket == Some(true);
    let constraint = input.create_bucket_configuration.and_then(|configuration| configuration.location_constraint);
    let region = match constraint.as_ref().map(BucketLocationConstraint::as_str) {
        None | Some("") => api.region.name(),
        Some(constraint) => checked_location(constraint, api)?,
    };
    let name = input.bucket;
    if is_reserved(&name) {
        let error = s3_error("InvalidBucketName", StatusCode::BAD_REQUEST, "The specified bucket is not valid.");
        return Err(with_detail(error, "BucketName", name));
    }
    let location = format!("/{name}");
    let bucket = CreateBucket { lock, acl, ..CreateBucket::new(name, region, &owner, settings) };
    match api.store.create_bucket(bucket).await {
        // In S3's first region who has a bucket may create it once more, as clients of old do.
        Err(Error::Metadata(metadata::Error::BucketExists(bucket)))
            if bucket.owner == owner && bucket.region == FIRST_REGION && region == FIRST_REGION => {}
        Err(Error::Metadata(metadata::Error::BucketExists(bucket))) if bucket.owner != owner => {
            let message = "The requested bucket name is not available. The bucket namespace is shared by all users of the \
                           system. Please select a different name and try again.";
            let error = s3_error("BucketAlreadyExists", StatusCode::CONFLICT, message);
            return Err(with_detail(error, "BucketName", bucket.name));
        }
        other => _ = other.map_err(from_objects)?,
    }
    Ok(S3Response::new(CreateBucketOutput { location: Some(location) }))
}

/// The region that a bucket is to be in.
fn checked_location<'a>(constraint: &'a str, api: &Api) -> S3Result<&'a str> {
    let refused = |code, message: String| {
        with_detail(s3_error(code, StatusCode::BAD_REQUEST, message), "LocationConstraint", constraint)
    };
    if !api.region.accepts(constraint) {
        let message = format!(
            "The {constraint} location constraint is incompatible for the region specific endpoint this request was sent to."
        );
        return Err(refused("IllegalLocationConstraintException", message));
    }
    if !is_region(constraint) {
        return Err(refused("InvalidLocationConstraint", "The specified location-constraint is not valid".into()));
    }
    Ok(constraint)
}

pub(super) async fn head_bucket(
    api: &Api,
    request: S3Request<HeadBucketInput>,
) -> S3Result<S3Response<HeadBucketOutput>> {
    let bucket = api.store.bucket(&request.input.bucket).await.map_err(from_objects)?;
    Ok(S3Response::new(HeadBucketOutput { bucket_region: Some(bucket.region), ..Default::default() }))
}

pub(super) async fn delete_bucket(
    api: &Api,
    request: S3Request<DeleteBucketInput>,
) -> S3Result<S3Response<DeleteBucketOutput>> {
    let bucket = request.input.bucket;
    if force_delete(&request.headers)? {
        if !authority(&request.extensions)?.owns_all() {
            return Err(denied());
        }
        api.store.force_delete_bucket(bucket).await.map_err(|error| match error {
            Error::Metadata(metadata::Error::BucketState(_)) => {
                let message = "A bucket that locks or replicates its objects is not deleted with them.";
                s3_error("MethodNotAllowed", StatusCode::METHOD_NOT_ALLOWED, message)
            }
            error => from_objects(error),
        })?;
    } else {
        api.store.delete_bucket(bucket).await.map_err(from_objects)?;
    }
    Ok(S3Response::with_status(DeleteBucketOutput::default(), StatusCode::NO_CONTENT))
}

pub(super) async fn get_bucket_location(
    api: &Api,
    request: S3Request<GetBucketLocationInput>,
) -> S3Result<S3Response<GetBucketLocationOutput>> {
    let bucket = api.store.bucket(&request.input.bucket).await.map_err(from_objects)?;
    // S3's first region has no name here.
    let constraint = if bucket.region == FIRST_REGION { String::new() } else { bucket.region };
    Ok(S3Response::new(GetBucketLocationOutput { location_constraint: Some(constraint.into()) }))
}
