//! GetBucketVersioning, PutBucketVersioning.
//!
//! Source: "Retaining multiple versions of objects with S3 Versioning" in the Amazon S3 user guide.

use http::StatusCode;
use s3s::dto::*;
use s3s::{S3Error, S3Request, S3Response, S3Result};

use super::Api;
use super::error::{from_objects, malformed_xml, not_implemented, s3_error};
use crate::metadata::{self, BucketChange, Versioning};
use crate::objects;

pub(super) async fn get_bucket_versioning(
    api: &Api,
    request: S3Request<GetBucketVersioningInput>,
) -> S3Result<S3Response<GetBucketVersioningOutput>> {
    let bucket = api.store.bucket(&request.input.bucket).await.map_err(from_objects)?;
    let status = match bucket.versioning {
        Versioning::Never => None,
        Versioning::Enabled => Some(BucketVersioningStatus::from_static(BucketVersioningStatus::ENABLED)),
        Versioning::Suspended => Some(BucketVersioningStatus::from_static(BucketVersioningStatus::SUSPENDED)),
    };
    Ok(S3Response::new(GetBucketVersioningOutput { status, ..Default::default() }))
}

pub(super) async fn put_bucket_versioning(
    api: &Api,
    request: S3Request<PutBucketVersioningInput>,
) -> S3Result<S3Response<PutBucketVersioningOutput>> {
    let PutBucketVersioningInput { bucket, versioning_configuration, .. } = request.input;
    let illegal = || {
        s3_error(
            "IllegalVersioningConfigurationException",
            StatusCode::BAD_REQUEST,
            "The Versioning configuration specified in the request is invalid",
        )
    };
    match versioning_configuration.mfa_delete.as_ref().map(MFADelete::as_str) {
        None | Some(MFADelete::DISABLED) => {}
        Some(MFADelete::ENABLED) => return Err(not_implemented("MfaDelete")),
        Some(_) => return Err(malformed_xml()),
    }
    let versioning = match versioning_configuration.status.as_ref().map(BucketVersioningStatus::as_str) {
        Some(BucketVersioningStatus::ENABLED) => Versioning::Enabled,
        Some(BucketVersioningStatus::SUSPENDED) => Versioning::Suspended,
        Some(_) => return Err(malformed_xml()),
        None => return Err(illegal()),
    };
    api.store.change_bucket(bucket, BucketChange::Versioning(versioning)).await.map_err(|error| {
        let message =
            "An Object Lock configuration is present on this bucket, so the versioning state cannot be changed.";
        bucket_state(error, message)
    })?;
    Ok(S3Response::new(PutBucketVersioningOutput::default()))
}

/// 409 `InvalidBucketState`, if that is the error.
pub(super) fn bucket_state(error: objects::Error, message: &str) -> S3Error {
    match error {
        objects::Error::Metadata(metadata::Error::BucketState(_)) => {
            s3_error("InvalidBucketState", StatusCode::CONFLICT, message)
        }
        error => from_objects(error),
    }
}
