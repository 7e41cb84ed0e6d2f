//! GetBucketRequestPayment, PutBucketRequestPayment: nobody pays for requests, least of all who sends them.
//!
//! Source: "Using Requester Pays buckets for storage transfers and usage" in the Amazon S3 user guide.

use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result};

use super::Api;
use super::error::{from_objects, malformed_xml, not_implemented};

pub(super) async fn get_bucket_request_payment(
    api: &Api,
    request: S3Request<GetBucketRequestPaymentInput>,
) -> S3Result<S3Response<GetBucketRequestPaymentOutput>> {
    api.store.bucket(&request.input.bucket).await.map_err(from_objects)?;
    let payer = Some(Payer::from_static(Payer::BUCKET_OWNER));
    Ok(S3Response::new(GetBucketRequestPaymentOutput { payer }))
}

pub(super) async fn put_bucket_request_payment(
    api: &Api,
    request: S3Request<PutBucketRequestPaymentInput>,
) -> S3Result<S3Response<PutBucketRequestPaymentOutput>> {
    let PutBucketRequestPaymentInput { bucket, request_payment_configuration, .. } = request.input;
    match request_payment_configuration.payer.as_str() {
        Payer::BUCKET_OWNER => {}
        Payer::REQUESTER => return Err(not_implemented("Payer")),
        _ => return Err(malformed_xml()),
    }
    api.store.bucket(&bucket).await.map_err(from_objects)?;
    Ok(S3Response::new(PutBucketRequestPaymentOutput {}))
}
