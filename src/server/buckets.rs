//! What the layers in front of `s3s` ask about buckets.

use async_trait::async_trait;
use http::StatusCode;

use super::Refusal;
use crate::access::Resources;
use crate::metadata;
use crate::objects::{self, CorsRules, Website};

/// Knows the configurations of buckets.
#[async_trait]
pub trait Buckets: Resources {
    /// A bucket's rules for pages of other origins, if it has any. One round trip.
    ///
    /// # Errors
    /// There is no such bucket; the database's.
    async fn cors(&self, bucket: &str) -> objects::Result<Option<CorsRules>>;

    /// How a bucket is a website, if it is one. One round trip.
    ///
    /// # Errors
    /// There is no such bucket; the database's.
    async fn website(&self, bucket: &str) -> objects::Result<Option<Website>>;
}

/// Whether what could not be found out is that there is no such bucket.
pub(super) fn is_absent(error: &objects::Error) -> bool {
    matches!(error, objects::Error::Metadata(metadata::Error::NoSuchBucket(_)))
}

/// The answer where a configuration had to be known and is not.
pub(super) fn unknown(error: &objects::Error) -> Refusal {
    match error {
        objects::Error::Metadata(metadata::Error::Unavailable(_)) => {
            tracing::warn!(%error, "a bucket's configuration could not be asked for");
            Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable")
        }
        _ => {
            tracing::error!(%error, "a bucket's configuration could not be read");
            Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalError")
        }
    }
}
