//! PutBucketOwnershipControls, GetBucketOwnershipControls, DeleteBucketOwnershipControls.
//!
//! Source: "Controlling ownership of objects and disabling ACLs for your bucket" in the Amazon S3 user guide.

use http::StatusCode;
use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result};

use super::Api;
use super::acl::acl_with_ownership;
use super::error::{from_objects, invalid_argument, malformed_xml, s3_error, with_detail};
use crate::access::acl::{Grantee, Ownership};
use crate::metadata::BucketAccess;

/// `x-amz-object-ownership`
pub(super) fn from_header(ownership: Option<&ObjectOwnership>) -> S3Result<Option<Ownership>> {
    let Some(name) = ownership.map(ObjectOwnership::as_str) else { return Ok(None) };
    let ownership = Ownership::from_name(name);
    ownership.map(Some).ok_or_else(|| invalid_argument("x-amz-object-ownership", name, "Invalid object ownership."))
}

fn from_controls(controls: &OwnershipControls) -> S3Result<Ownership> {
    match controls.rules.as_slice() {
        [rule] => Ownership::from_name(rule.object_ownership.as_str()).ok_or_else(malformed_xml),
        _ => Err(malformed_xml()),
    }
}

/// Whether a bucket's ACL says something to somebody, who would not have it where ACLs count for nothing.
fn grants_others(access: &BucketAccess) -> bool {
    let is_other = |to: &Grantee| *to != Grantee::Account(access.owner.clone());
    access.acl.as_ref().is_some_and(|acl| acl.0.iter().any(|grant| is_other(&grant.to)))
}

pub(super) async fn get_bucket_ownership_controls(
    api: &Api,
    request: S3Request<GetBucketOwnershipControlsInput>,
) -> S3Result<S3Response<GetBucketOwnershipControlsOutput>> {
    let bucket = request.input.bucket;
    let Some(ownership) = api.store.bucket_access(&bucket).await.map_err(from_objects)?.ownership else {
        let message = "The bucket ownership controls were not found";
        let error = s3_error("OwnershipControlsNotFoundError", StatusCode::NOT_FOUND, message);
        return Err(with_detail(error, "BucketName", bucket));
    };
    let rules = vec![OwnershipControlsRule { object_ownership: ObjectOwnership::from_static(ownership.name()) }];
    Ok(S3Response::new(GetBucketOwnershipControlsOutput { ownership_controls: Some(OwnershipControls { rules }) }))
}

pub(super) async fn put_bucket_ownership_controls(
    api: &Api,
    request: S3Request<PutBucketOwnershipControlsInput>,
) -> S3Result<S3Response<PutBucketOwnershipControlsOutput>> {
    let PutBucketOwnershipControlsInput { bucket, ownership_controls, .. } = request.input;
    let ownership = from_controls(&ownership_controls)?;
    if ownership == Ownership::BucketOwnerEnforced
        && grants_others(&api.store.bucket_access(&bucket).await.map_err(from_objects)?)
    {
        return Err(acl_with_ownership());
    }
    api.store.set_bucket_ownership(bucket, Some(ownership)).await.map_err(from_objects)?;
    Ok(S3Response::new(PutBucketOwnershipControlsOutput {}))
}

pub(super) async fn delete_bucket_ownership_controls(
    api: &Api,
    request: S3Request<DeleteBucketOwnershipControlsInput>,
) -> S3Result<S3Response<DeleteBucketOwnershipControlsOutput>> {
    api.store.set_bucket_ownership(request.input.bucket, None).await.map_err(from_objects)?;
    Ok(S3Response::with_status(DeleteBucketOwnershipControlsOutput {}, StatusCode::NO_CONTENT))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn there_is_one_rule() {
        let controls = |names: &[&str]| OwnershipControls {
            rules: names
                .iter()
                .map(|name| OwnershipControlsRule { object_ownership: (*name).to_owned().into() })
                .collect(),
        };
        for ownership in Ownership::ALL {
            assert_eq!(from_controls(&controls(&[ownership.name()])).unwrap(), ownership);
        }
        for bad in [&[][..], &["ObjectWriter", "ObjectWriter"], &["Nobody"]] {
            assert_eq!(from_controls(&controls(bad)).unwrap_err().code().as_str(), "MalformedXML");
        }
        let bad = from_header(Some(&"Nobody".to_owned().into())).unwrap_err();
        assert_eq!(bad.code().as_str(), "InvalidArgument");
    }
}
