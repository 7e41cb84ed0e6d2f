//! Connecting, and what there is one of in a deployment.

use futures_util::future::BoxFuture;

use super::dialect::{Db, retrying, values};
use super::{Answer, DatabaseConfig, Error, Metadata};

impl Metadata {
    /// Connects, checks that the database is one to trust data to, and brings its tables up to date under a lock.
    ///
    /// # Errors
    /// [`Error::Unusable`] if trying again cannot help: an older or careless server, newer tables, a wrong password.
    /// [`Error::Unavailable`] if it may.
    pub fn connect(config: &DatabaseConfig) -> Answer<'_, Self> {
        Box::pin(async move { Ok(Self { db: Db::open(config).await? }) })
    }

    /// One round trip, for readiness.
    pub fn ping(&self) -> Answer<'_, ()> {
        Box::pin(async move { self.db.query("SELECT one FROM deployment", &[]).await.map(|_| ()) })
    }

    /// Closes all connections, once running transactions have ended.
    pub fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.db.close().await;
        })
    }

    /// The deployment's id: `fresh` if there was none yet.
    pub fn deployment<'a>(&'a self, fresh: &'a str) -> Answer<'a, String> {
        Box::pin(async move {
            retrying(|| async {
                let mut tx = self.db.begin(None).await?;
                let sql = "UPDATE deployment SET id = COALESCE(id, $1) RETURNING id";
                let result = tx.first(sql, values![fresh]).await;
                let row = tx.end(result).await?;
                row.ok_or_else(|| Error::Corrupt("the table deployment is empty".into()))?.text("id")
            })
            .await
        })
    }
}
