//! Deleting objects, one or many.

use super::{Result, Store};
use crate::crash;
use crate::metadata::{DeleteKey, Error};

/// A DeleteObject or DeleteObjects.
#[derive(Debug, Clone)]
pub struct DeleteRequest {
    /// Name of the bucket.
    pub bucket: String,
    /// The keys, each with its conditions.
    pub keys: Vec<DeleteKey>,
}

/// What became of one key.
pub type DeleteOutcome = Result<(), Error>;

impl Store {
    /// Deletes objects; answers one outcome a key, in their order. A key that is not there counts as deleted.
    ///
    /// # Errors
    /// No such bucket; the database.
    pub async fn delete(&self, request: DeleteRequest) -> Result<Vec<DeleteOutcome>> {
        let store = self.clone();
        Self::to_the_end(async move {
            let outcomes = store.metadata.delete(&request.bucket, &request.keys, store.clock.now()).await?;
            crash::point("delete.committed");
            Ok(outcomes)
        })
        .await
    }
}
