//! The secret keys that signatures are verified with.

use s3s::S3Result;
use s3s::auth::{S3Auth, SecretKey};

use super::guard::s3_error;
use crate::access::Directory;
use crate::server::Refusal;

/// Looks secret keys up for `s3s`.
#[derive(Debug, Clone)]
pub struct Auth(pub Directory);

#[async_trait::async_trait]
impl S3Auth for Auth {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        match self.0.secret(access_key) {
            Ok(secret) => Ok(SecretKey::from(secret.expose())),
            Err(error) => Err(s3_error(&Refusal::of_key(error, access_key))),
        }
    }
}
