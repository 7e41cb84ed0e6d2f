//! RenameObject.

use super::tell::Facts;
use super::{Error, Result, Store, batch};
use crate::crash;
use crate::events::EventName;
use crate::metadata::{RenameCommit, RenameCondition, RenameToken, Renamed};

/// A RenameObject.
#[derive(Debug, Clone)]
pub struct RenameRequest {
    /// Name of the bucket.
    pub bucket: String,
    /// The key that the object has.
    pub from: String,
    /// The key that it is to have.
    pub to: String,
    /// What must hold of the object.
    pub source: RenameCondition,
    /// What must hold of what it takes the place of.
    pub destination: RenameCondition,
    /// The client's name for the request.
    pub token: Option<RenameToken>,
}

impl Store {
    /// Gives an object another key, with all that it has; what that key held is gone. Nobody ever finds both, or neither.
    ///
    /// # Errors
    /// No such bucket or key; a condition; a bucket that keeps versions; a token that was another request's.
    pub async fn rename(&self, request: RenameRequest) -> Result<()> {
        let RenameRequest { bucket, from, to, source, destination, token } = request;
        if from == to {
            return Err(Error::InvalidRequest("An object cannot be renamed to the name that it has.".into()));
        }
        let now = self.clock.now();
        let commit = RenameCommit { batch: batch(), bucket, from, to, source, destination, token, now };
        let store = self.clone();
        Self::to_the_end(async move {
            let renamed = store.metadata.rename(&commit).await?;
            crash::point("rename.committed");
            // One that is asked for again happens once.
            if let Some(Renamed { size, etag }) = renamed {
                let telling = store.telling(EventName::CreatedCopy, &commit.bucket, &commit.to);
                store.tell(telling, Facts { size: Some(size), etag: Some(&etag), ..Facts::default() });
                let telling = store.telling(EventName::RemovedDelete, &commit.bucket, &commit.from);
                store.tell(telling, Facts::default());
            }
            Ok(())
        })
        .await
    }
}
