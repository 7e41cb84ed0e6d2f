//! PutBucketPolicy, GetBucketPolicy, DeleteBucketPolicy, GetBucketPolicyStatus.
//!
//! Source: these operations in the Amazon S3 API reference, and "Blocking public access to your Amazon S3 storage" in the Amazon S3 user guide.

use http::StatusCode;
use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result};

use super::acl::public_access_block;
use super::error::{access_denied, from_metadata, from_objects, missing_body, s3_error, with_detail};
use super::{Api, check_owner};
use crate::access::policy::{AclGrant, Asked, Context, Layers, Policy, PolicyKind, decide};
use crate::access::{Directory, Identity};
use crate::metadata::{self, BucketAccess};

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

/// Whether who asks could not change the policy any more once the bucket has it. A bucket's owner himself always can.
fn locks_out(
    directory: &Directory,
    who: &Identity,
    context: &Context,
    name: &str,
    access: &BucketAccess,
    policy: &Policy,
) -> bool {
    let owner = directory.account(|account| *account.canonical_id == *access.owner);
    if who.is_root() && *who.account.canonical_id == *access.owner {
        return false;
    }
    let resource = format!("arn:aws:s3:::{name}");
    let asked = Asked { who, action: "s3:PutBucketPolicy", resource: &resource, context };
    let layers =
        Layers { resource: Some(policy), acl: AclGrant::Nobody, owner: owner.as_ref().map(|owner| &*owner.id) };
    !decide(&asked, &layers).allowed
}

pub(super) async fn get_bucket_policy(
    api: &Api,
    request: S3Request<GetBucketPolicyInput>,
) -> S3Result<S3Response<GetBucketPolicyOutput>> {
    check_owner(&request, request.input.expected_bucket_owner.as_ref())?;
    let policy = stored(api, &request.input.bucket).await?;
    let mut response = S3Response::new(GetBucketPolicyOutput { policy: Some(policy) });
    response.headers.insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    Ok(response)
}

pub(super) async fn put_bucket_policy(
    api: &Api,
    request: S3Request<PutBucketPolicyInput>,
) -> S3Result<S3Response<PutBucketPolicyOutput>> {
    check_owner(&request, request.input.expected_bucket_owner.as_ref())?;
    let PutBucketPolicyInput { bucket, policy: text, confirm_remove_self_bucket_access, .. } = request.input;
    let policy = parse(&bucket, &text)?;
    let access = api.store.bucket_access(&bucket).await.map_err(from_objects)?;
    if policy.is_public() && public_access_block(&api.directory, &access).block_public_policy {
        return Err(access_denied("Access Denied: public policies are blocked by the BlockPublicPolicy setting."));
    }
    let who = request.extensions.get::<Identity>().cloned().unwrap_or_else(Identity::anonymous);
    let context = request.extensions.get::<Context>().cloned().unwrap_or_default();
    if confirm_remove_self_bucket_access != Some(true)
        && locks_out(&api.directory, &who, &context, &bucket, &access, &policy)
    {
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
    check_owner(&request, request.input.expected_bucket_owner.as_ref())?;
    api.store.set_bucket_policy(request.input.bucket, None).await.map_err(from_objects)?;
    Ok(S3Response::with_status(DeleteBucketPolicyOutput {}, StatusCode::NO_CONTENT))
}

pub(super) async fn get_bucket_policy_status(
    api: &Api,
    request: S3Request<GetBucketPolicyStatusInput>,
) -> S3Result<S3Response<GetBucketPolicyStatusOutput>> {
    check_owner(&request, request.input.expected_bucket_owner.as_ref())?;
    let bucket = request.input.bucket;
    let text = stored(api, &bucket).await?;
    let policy = Policy::parse(&text, PolicyKind::Bucket(&bucket))
        .map_err(|error| from_metadata(metadata::Error::Corrupt(format!("the policy of bucket {bucket}: {error}"))))?;
    let policy_status = Some(PolicyStatus { is_public: Some(policy.is_public()) });
    Ok(S3Response::new(GetBucketPolicyStatusOutput { policy_status }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::Arc;

    use super::*;
    use crate::access::{Kind, RootCredentials, Secret};
    use crate::metadata::BucketId;

    #[test]
    fn who_would_lock_himself_out_is_told_so() {
        let secret_key = Secret::new("s3cr3t-k3y");
        let directory = Directory::new(&RootCredentials { access_key: "root".into(), secret_key }, "deployment");
        let root = directory.root().clone();
        let named = |name: &str| Kind::User { id: "AIDAX".into(), name: name.into(), path: "/".into() };
        let all = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:*","Resource":"*"}}"#;
        let all = Arc::new(Policy::parse(all, PolicyKind::Identity).unwrap());
        let user = |name: &str, may| Identity { kind: named(name), policies: may, ..root.clone() };
        let access = BucketAccess {
            id: BucketId(1),
            owner: root.account.canonical_id.to_string(),
            region: "us-east-1".into(),
            policy: None,
            acl: None,
            ownership: None,
            block: None,
            generation: 0,
        };
        let statement = |effect: &str, principal: &str| {
            let text = format!(
                r#"{{"Version":"2012-10-17","Statement":{{"Effect":"{effect}","Principal":{{"AWS":"{principal}"}},
                "Action":"s3:PutBucketPolicy","Resource":"arn:aws:s3:::bkt"}}}}"#
            );
            Policy::parse(&text, PolicyKind::Bucket("bkt")).unwrap()
        };
        let locked =
            |who: &Identity, policy: &Policy| locks_out(&directory, who, &Context::default(), "bkt", &access, policy);
        let admin = user("admin", Arc::new([all]));
        let bob = user("bob", Arc::new([]));
        let (nobody, of_bob) = (statement("Deny", "*"), statement("Allow", &bob.arn()));
        assert!(locked(&admin, &nobody) && locked(&bob, &nobody));
        assert!(!locked(&root, &nobody), "the owner himself always can");
        assert!(!locked(&admin, &of_bob) && !locked(&bob, &of_bob));
        assert!(locked(&bob, &statement("Allow", &admin.arn())), "what let him do it is gone");
    }
}
