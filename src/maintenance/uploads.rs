//! Aborting multipart uploads that nobody has added to for long.

use std::time::Duration;

use async_trait::async_trait;

use super::{Job, JobError};
use crate::metadata::Lease;
use crate::objects::Store;

/// Uploads aborted in one round.
const PER_ROUND: u32 = 20;

/// Aborts uploads whose newest part, or start, is older than the expiry.
#[derive(Debug)]
pub struct ExpireUploads {
    store: Store,
    expiry: Duration,
}

impl ExpireUploads {
    /// The job over `store`.
    pub fn new(store: Store, expiry: Duration) -> Self {
        Self { store, expiry }
    }
}

#[async_trait]
impl Job for ExpireUploads {
    fn name(&self) -> &'static str {
        "expire-uploads"
    }

    async fn round(&self, lease: &Lease) -> Result<bool, JobError> {
        let now = self.store.clock().now();
        let idle_since = now.saturating_sub(self.expiry.as_millis() as i64);
        let expired = self.store.metadata().expire_uploads(lease, idle_since, now, PER_ROUND).await?;
        if expired > 0 {
            tracing::info!(expired, "idle uploads were aborted");
        }
        Ok(expired >= u64::from(PER_ROUND))
    }
}
