//! The secret keys that signatures are verified with.

use http::HeaderMap;
use s3s::auth::{S3Auth, SecretKey};
use s3s::{S3Error, S3ErrorCode, S3Result};

use crate::access::Directory;
use crate::server::ErrorDetails;

/// Looks secret keys up for `s3s`.
#[derive(Debug, Clone)]
pub struct Auth(pub Directory);

#[async_trait::async_trait]
impl S3Auth for Auth {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        if let Some(key) = self.0.find(access_key) {
            return Ok(SecretKey::from(key.secret.expose()));
        }
        let mut error = S3Error::new(S3ErrorCode::InvalidAccessKeyId);
        let mut headers = HeaderMap::new();
        ErrorDetails(vec![("AWSAccessKeyId".into(), access_key.to_owned())]).put(&mut headers);
        error.set_headers(headers);
        Err(error)
    }
}
