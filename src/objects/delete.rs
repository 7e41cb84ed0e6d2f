//! Deleting objects, one or many.

use super::tell::Facts;
use super::{Result, Store};
use crate::crash;
use crate::events::EventName;
use crate::metadata::{DeleteKey, Deleted, Error};

/// A DeleteObject or DeleteObjects.
#[derive(Debug, Clone)]
pub struct DeleteRequest {
    /// Name of the bucket.
    pub bucket: String,
    /// The keys, each with its conditions.
    pub keys: Vec<DeleteKey>,
    /// Canonical id of who deletes: the owner of delete markers.
    pub owner: String,
}

/// What became of one key.
pub type DeleteOutcome = Result<Deleted, Error>;

impl Store {
    /// Deletes objects, or versions; answers one outcome a key, in their order. What is not there counts as deleted.
    ///
    /// # Errors
    /// No such bucket; the database.
    pub async fn delete(&self, request: DeleteRequest) -> Result<Vec<DeleteOutcome>> {
        let store = self.clone();
        Self::to_the_end(async move {
            let DeleteRequest { bucket, keys, owner } = &request;
            let outcomes = store.metadata.delete(bucket, keys, owner, store.clock.now()).await?;
            crash::point("delete.committed");
            for (key, outcome) in keys.iter().zip(&outcomes) {
                let Ok(Deleted { version, marker }) = outcome else { continue };
                // A delete marker that was deleted by its name is a version like others.
                let hidden = *marker && key.version.is_none();
                let name = if hidden { EventName::RemovedDeleteMarkerCreated } else { EventName::RemovedDelete };
                let telling = store.telling(name, bucket, &key.key);
                store.tell(telling, Facts { version: version.as_ref(), ..Facts::default() });
            }
            Ok(outcomes)
        })
        .await
    }
}
