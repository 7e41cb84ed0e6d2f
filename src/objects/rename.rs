//! RenameObject.

use super::tell::Facts;
use super::{Error, Result, Store, batch};
use crate::crash;
use crate::events::EventName;
use crate::metadata::{Rename, RenameCommit, Renamed};

impl Store {
    /// Gives an object another key, with all that it has; what that key held is gone. Nobody ever finds both, or neither.
    ///
    /// # Errors
    /// No such bucket or key; a condition; a bucket that keeps versions; a token that was another request's.
    pub async fn rename(&self, rename: Rename) -> Result<()> {
        if rename.from == rename.to {
            return Err(Error::InvalidRequest("An object cannot be renamed to the name that it has.".into()));
        }
        let commit = RenameCommit { batch: batch(), rename, now: self.clock.now() };
        let store = self.clone();
        Self::to_the_end(async move {
            let renamed = store.metadata.rename(&commit).await?;
            crash::point("rename.committed");
            // One that is asked for again happens once.
            if let Some(Renamed { size, etag }) = renamed {
                let telling = store.telling(EventName::CreatedCopy, &commit.rename.bucket, &commit.rename.to);
                store.tell(telling, Facts { size: Some(size), etag: Some(&etag), ..Facts::default() });
                let telling = store.telling(EventName::RemovedDelete, &commit.rename.bucket, &commit.rename.from);
                store.tell(telling, Facts::default());
            }
            Ok(())
        })
        .await
    }
}
