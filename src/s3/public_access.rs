//! PutPublicAccessBlock, GetPublicAccessBlock, DeletePublicAccessBlock.
//!
//! Source: "Blocking public access to your Amazon S3 storage" in the Amazon S3 user guide.

use http::StatusCode;
use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result};

use super::Api;
use super::error::{from_objects, s3_error, with_detail};
use crate::access::PublicAccessBlock;

fn from_configuration(configuration: &PublicAccessBlockConfiguration) -> PublicAccessBlock {
    PublicAccessBlock {
        block_public_acls: configuration.block_public_acls == Some(true),
        ignore_public_acls: configuration.ignore_public_acls == Some(true),
        block_public_policy: configuration.block_public_policy == Some(true),
        restrict_public_buckets: configuration.restrict_public_buckets == Some(true),
    }
}

fn to_configuration(block: PublicAccessBlock) -> PublicAccessBlockConfiguration {
    PublicAccessBlockConfiguration {
        block_public_acls: Some(block.block_public_acls),
        block_public_policy: Some(block.block_public_policy),
        ignore_public_acls: Some(block.ignore_public_acls),
        restrict_public_buckets: Some(block.restrict_public_buckets),
    }
}

pub(super) async fn get_public_access_block(
    api: &Api,
    request: S3Request<GetPublicAccessBlockInput>,
) -> S3Result<S3Response<GetPublicAccessBlockOutput>> {
    let bucket = request.input.bucket;
    let Some(block) = api.store.bucket_access(&bucket).await.map_err(from_objects)?.block else {
        let message = "The public access block configuration was not found";
        let error = s3_error("NoSuchPublicAccessBlockConfiguration", StatusCode::NOT_FOUND, message);
        return Err(with_detail(error, "BucketName", bucket));
    };
    let public_access_block_configuration = Some(to_configuration(block));
    Ok(S3Response::new(GetPublicAccessBlockOutput { public_access_block_configuration }))
}

pub(super) async fn put_public_access_block(
    api: &Api,
    request: S3Request<PutPublicAccessBlockInput>,
) -> S3Result<S3Response<PutPublicAccessBlockOutput>> {
    let PutPublicAccessBlockInput { bucket, public_access_block_configuration, .. } = request.input;
    let block = from_configuration(&public_access_block_configuration);
    api.store.set_public_access_block(bucket, Some(block)).await.map_err(from_objects)?;
    Ok(S3Response::new(PutPublicAccessBlockOutput {}))
}

pub(super) async fn delete_public_access_block(
    api: &Api,
    request: S3Request<DeletePublicAccessBlockInput>,
) -> S3Result<S3Response<DeletePublicAccessBlockOutput>> {
    api.store.set_public_access_block(request.input.bucket, None).await.map_err(from_objects)?;
    Ok(S3Response::with_status(DeletePublicAccessBlockOutput {}, StatusCode::NO_CONTENT))
}
