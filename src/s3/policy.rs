//! PutBucketPolicy, GetBucketPolicy, DeleteBucketPolicy, GetBucketPolicyStatus.
//!
//! Source: these operations in the Amazon S3 API reference, and "Blocking public access to your Amazon S3 storage" in the Amazon S3 user guide.

use http::StatusCode;
use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result};

use super::Api;
use super::acl::public_access_block;
use super::authorize::authority;
use super::error::{access_denied, from_metadata, from_objects, missing_body, s3_error, with_detail};
use crate::access::Resources as _;
use crate::access::policy::{Policy, PolicyKind};
use crate::metadata;

fn parse(bucket: &str, text: &str) -> S3Result<Policy> {
    if text.trim().is_empty() {
        return Err(missing_body());
    }
    let parsed = Policy::parse(text, PolicyKind::Bucket(bucket));
    parsed.map_err(|error| s3_error("MalformedPolicy", StatusCode::BAD_REQUEST, error.to_string()))
}

/// The policy that a bucket has.
async fn stored(api: &Api, bucket: &str) -> S3Result<String> {
    api.store.bucket_access(bucket).await.map_err(from_objects)?.policy.ok_or_else(|| {
        let error = s3_error("NoSuchBucketPolicy", StatusCode::NOT_FOUND, "The bucket policy does not exist");
        with_detail(error, "BucketName", bucket)
    })
}

pub(super) async fn get_bucket_policy(
    api: &Api,
    request: S3Request<GetBucketPolicyInput>,
) -> S3Result<S3Response<GetBucketPolicyOutput>> {
    let policy = stored(api, &request.input.bucket).await?;
    let mut response = S3Response::new(GetBucketPolicyOutput { policy: Some(policy) });
    response.headers.insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    Ok(response)
}

pub(super) async fn put_bucket_policy(
    api: &Api,
    request: S3Request<PutBucketPolicyInput>,
) -> S3Result<S3Response<PutBucketPolicyOutput>> {
    let PutBucketPolicyInput { bucket, policy: text, confirm_remove_self_bucket_access, .. } = request.input;
    let policy = parse(&bucket, &text)?;
    let rules = api.store.bucket_rules(&bucket).await.map_err(from_objects)?;
    if policy.is_public() && public_access_block(&api.directory, &rules).block_public_policy {
        return Err(access_denied("Access Denied: public policies are blocked by the BlockPublicPolicy setting."));
    }
    // The bucket's owner himself can always change it again.
    let locked_out = !authority(&request.extensions)?.may_under(&policy, "s3:PutBucketPolicy");
    if locked_out && confirm_remove_self_bucket_access != Some(true) {
        let message = "Access Denied: with this policy you could not change it again; confirm it by \
                       x-amz-confirm-remove-self-bucket-access.";
        return Err(access_denied(message));
    }
    api.store.set_bucket_policy(bucket, Some(text)).await.map_err(from_objects)?;
    Ok(S3Response::with_status(PutBucketPolicyOutput {}, StatusCode::NO_CONTENT))
}

pub(super) async fn delete_bucket_policy(
    api: &Api,
    request: S3Request<DeleteBucketPolicyInput>,
) -> S3Result<S3Response<DeleteBucketPolicyOutput>> {
    api.store.set_bucket_policy(request.input.bucket, None).await.map_err(from_objects)?;
    Ok(S3Response::with_status(DeleteBucketPolicyOutput {}, StatusCode::NO_CONTENT))
}

pub(super) async fn get_bucket_policy_status(
    api: &Api,
    request: S3Request<GetBucketPolicyStatusInput>,
) -> S3Result<S3Response<GetBucketPolicyStatusOutput>> {
    let bucket = request.input.bucket;
    let text = stored(api, &bucket).await?;
    let policy = Policy::parse(&text, PolicyKind::Bucket(&bucket))
        .map_err(|error| from_metadata(metadata::Error::Corrupt(format!("the policy of bucket {bucket}: {error}"))))?;
    let policy_status = Some(PolicyStatus { is_public: Some(policy.is_public()) });
    Ok(S3Response::new(GetBucketPolicyStatusOutput { policy_status }))
}
