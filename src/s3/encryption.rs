//! PutBucketEncryption, GetBucketEncryption, DeleteBucketEncryption.
//!
//! Source: these operations, and ServerSideEncryptionByDefault, in the Amazon S3 API reference.

use http::StatusCode;
use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result};

use super::Api;
use super::error::{from_objects, invalid_argument, malformed_xml, not_implemented, s3_error, with_detail};
use crate::objects::Encryption;

fn from_configuration(configuration: ServerSideEncryptionConfiguration) -> S3Result<Encryption> {
    let mut rules = configuration.rules.into_iter();
    // A bucket has one rule.
    let (Some(rule), None) = (rules.next(), rules.next()) else { return Err(malformed_xml()) };
    let Some(default) = rule.apply_server_side_encryption_by_default else { return Err(malformed_xml()) };
    match default.sse_algorithm.as_str() {
        ServerSideEncryption::AES256 => {}
        ServerSideEncryption::AWS_KMS | ServerSideEncryption::AWS_KMS_DSSE => {
            return Err(not_implemented("SSEAlgorithm"));
        }
        _ => return Err(malformed_xml()),
    }
    if let Some(key) = &default.kms_master_key_id {
        let message = "a KMSMasterKeyID is not applicable if the default sse algorithm is not aws:kms";
        return Err(invalid_argument("KMSMasterKeyID", key, message));
    }
    Ok(Encryption { bucket_key: rule.bucket_key_enabled })
}

fn to_configuration(encryption: &Encryption) -> ServerSideEncryptionConfiguration {
    let default = ServerSideEncryptionByDefault {
        kms_master_key_id: None,
        sse_algorithm: ServerSideEncryption::from_static(ServerSideEncryption::AES256),
    };
    // S3 shows it whether it was said or not.
    let bucket_key_enabled = Some(encryption.bucket_key.unwrap_or(false));
    let rule = ServerSideEncryptionRule { apply_server_side_encryption_by_default: Some(default), bucket_key_enabled };
    ServerSideEncryptionConfiguration { rules: vec![rule] }
}

pub(super) async fn get_bucket_encryption(
    api: &Api,
    request: S3Request<GetBucketEncryptionInput>,
) -> S3Result<S3Response<GetBucketEncryptionOutput>> {
    match api.store.bucket_encryption(&request.input.bucket).await.map_err(from_objects)? {
        Some(encryption) => Ok(S3Response::new(GetBucketEncryptionOutput {
            server_side_encryption_configuration: Some(to_configuration(&encryption)),
        })),
        None => {
            let message = "The server side encryption configuration was not found";
            let code = "ServerSideEncryptionConfigurationNotFoundError";
            Err(with_detail(s3_error(code, StatusCode::NOT_FOUND, message), "BucketName", &request.input.bucket))
        }
    }
}

pub(super) async fn put_bucket_encryption(
    api: &Api,
    request: S3Request<PutBucketEncryptionInput>,
) -> S3Result<S3Response<PutBucketEncryptionOutput>> {
    let encryption = from_configuration(request.input.server_side_encryption_configuration)?;
    api.store.set_bucket_encryption(request.input.bucket, Some(encryption)).await.map_err(from_objects)?;
    Ok(S3Response::new(PutBucketEncryptionOutput::default()))
}

pub(super) async fn delete_bucket_encryption(
    api: &Api,
    request: S3Request<DeleteBucketEncryptionInput>,
) -> S3Result<S3Response<DeleteBucketEncryptionOutput>> {
    api.store.set_bucket_encryption(request.input.bucket, None).await.map_err(from_objects)?;
    Ok(S3Response::with_status(DeleteBucketEncryptionOutput::default(), StatusCode::NO_CONTENT))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn rule(algorithm: &str, key: Option<&str>, bucket_key: Option<bool>) -> ServerSideEncryptionRule {
        ServerSideEncryptionRule {
            apply_server_side_encryption_by_default: Some(ServerSideEncryptionByDefault {
                kms_master_key_id: key.map(str::to_owned),
                sse_algorithm: algorithm.to_owned().into(),
            }),
            bucket_key_enabled: bucket_key,
        }
    }

    #[test]
    fn keys_of_the_store_are_the_only_ones() {
        for bucket_key in [None, Some(false), Some(true)] {
            let stored =
                from_configuration(ServerSideEncryptionConfiguration { rules: vec![rule("AES256", None, bucket_key)] });
            let json = serde_json::to_string(&stored.unwrap()).unwrap();
            let shown = to_configuration(&serde_json::from_str(&json).unwrap());
            assert_eq!(shown.rules, [rule("AES256", None, bucket_key.or(Some(false)))]);
        }
        let empty =
            ServerSideEncryptionRule { apply_server_side_encryption_by_default: None, bucket_key_enabled: Some(true) };
        for (rules, code) in [
            (vec![rule("aws:kms", Some("k"), None)], "NotImplemented"),
            (vec![rule("aws:kms:dsse", None, None)], "NotImplemented"),
            (vec![rule("aes256", None, None)], "MalformedXML"),
            (vec![rule("AES256", Some("k"), None)], "InvalidArgument"),
            (vec![rule("AES256", None, None), rule("AES256", None, None)], "MalformedXML"),
            (vec![empty], "MalformedXML"),
            (Vec::new(), "MalformedXML"),
        ] {
            let refused = from_configuration(ServerSideEncryptionConfiguration { rules }).unwrap_err();
            assert_eq!(refused.code().as_str(), code);
        }
    }
}
