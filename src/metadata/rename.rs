//! Renaming: an object's row gets another key, in place of what that key held. Its bytes stay where they are.

use super::dialect::{Tx, retrying, values};
use super::quotas::{self, Amount};
use super::write::{self, Current};
use super::{Answer, BatchId, BucketId, Error, Metadata, Result, Versioning, buckets, versions};
use crate::clock::Millis;

/// What must be true of one of the two objects of a rename; tested under both keys' locks. Default: nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RenameCondition {
    /// `If-Match`: its ETag is one of these (no quotes; `*` is any).
    pub etags: Option<Vec<String>>,
    /// `If-None-Match`: its ETag is none of these (no quotes; `*` is any).
    pub none_of: Option<Vec<String>>,
    /// `If-Modified-Since`
    pub modified_since: Option<Millis>,
    /// `If-Unmodified-Since`
    pub unmodified_since: Option<Millis>,
}

/// A client's name for a rename, by which one that is asked for again is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenameToken {
    /// The name, 64 bytes at most.
    pub name: String,
    /// A digest of all that was asked for.
    pub request: [u8; 32],
}

/// What is to be renamed.
#[derive(Debug, Clone)]
pub struct Rename {
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
    /// The client's name for it.
    pub token: Option<RenameToken>,
}

/// A rename.
#[derive(Debug, Clone)]
pub struct RenameCommit {
    /// Unique id of this commit.
    pub batch: BatchId,
    /// What is to be renamed.
    pub rename: Rename,
    /// Now.
    pub now: Millis,
}

/// An object that was renamed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Renamed {
    /// Its length in bytes.
    pub size: u64,
    /// Its ETag, without quotes.
    pub etag: String,
}

impl RenameCondition {
    /// The header that does not hold, in RFC 9110's order; dates compare by whole seconds, and one in the future says nothing. Where there is
    /// no object, conditions on one fail.
    fn failed(&self, current: Option<&Current>, now: Millis) -> Option<&'static str> {
        let Some(current) = current else {
            return match (&self.etags, self.modified_since) {
                (Some(_), _) => Some("If-Match"),
                (None, Some(_)) => Some("If-Modified-Since"),
                (None, None) => None,
            };
        };
        let seconds = |at: Millis| at.div_euclid(1000);
        let among = |etags: &Vec<String>| etags.iter().any(|named| named == "*" || *named == current.etag);
        match (&self.etags, self.unmodified_since) {
            (Some(etags), _) if !among(etags) => return Some("If-Match"),
            (None, Some(since)) if seconds(current.modified) > seconds(since) => return Some("If-Unmodified-Since"),
            _ => {}
        }
        match (&self.none_of, self.modified_since) {
            (Some(etags), _) if among(etags) => Some("If-None-Match"),
            (None, Some(since)) if since <= now && seconds(current.modified) <= seconds(since) => {
                Some("If-Modified-Since")
            }
            _ => None,
        }
    }
}

impl Metadata {
    /// Gives an object another key. One that is asked for again by the same token, within a day, succeeds once more and does nothing:
    /// `None`.
    ///
    /// # Errors
    /// [`Error::NoSuchBucket`], [`Error::NoSuchKey`], [`Error::PreconditionFailed`], [`Error::KeepsVersions`], [`Error::ObjectLocked`],
    /// [`Error::TokenReused`].
    pub fn rename<'a>(&'a self, commit: &'a RenameCommit) -> Answer<'a, Option<Renamed>> {
        Box::pin(async move {
            retrying(|| async {
                let mut tx = self.db.begin(Some(commit.batch)).await?;
                let result = rename(&mut tx, commit).await;
                tx.end(result).await
            })
            .await
        })
    }
}

async fn rename(tx: &mut Tx, commit: &RenameCommit) -> Result<Option<Renamed>> {
    let RenameCommit { rename, now, .. } = commit;
    let Rename { bucket: name, from, to, source: of_source, destination: of_destination, token } = rename;
    let bucket = buckets::hold(tx, name).await?;
    if bucket.versioning != Versioning::Never {
        return Err(Error::KeepsVersions(name.clone()));
    }
    tx.lock_names(vec![write::key_name(bucket.id, from), write::key_name(bucket.id, to)]).await?;
    // Whoever asks for the same again waits for the same keys.
    if let Some(token) = token
        && is_done(tx, bucket.id, token).await?
    {
        return Ok(None);
    }
    let mut held = write::held(tx, &[(&bucket, from), (&bucket, to)]).await?.into_iter();
    let source = held.next().and_then(|held| held.current).ok_or_else(|| versions::no_such_key(name, from))?;
    let replaced = held.next().and_then(|held| held.current);
    let failed = |key: &str, header| Error::PreconditionFailed { bucket: name.clone(), key: key.to_owned(), header };
    if let Some(header) = of_source.failed(Some(&source), *now) {
        return Err(failed(from, source_header(header)));
    }
    if let Some(header) = of_destination.failed(replaced.as_ref(), *now) {
        return Err(failed(to, header));
    }
    for (key, current) in [(from, Some(&source)), (to, replaced.as_ref())] {
        if let Some(current) = current.filter(|current| current.lock.holds(*now, false)) {
            let version = current.version.clone();
            return Err(Error::ObjectLocked { bucket: name.clone(), key: key.clone(), version });
        }
    }
    let amount = replaced.as_ref().map_or_else(Amount::default, Current::amount);
    quotas::charge(tx, &bucket, Amount::default() - amount).await?;
    tx.execute("DELETE FROM objects WHERE bucket_id = $1 AND key = $2", values![bucket.id.0, to.as_bytes()]).await?;
    let sql = "UPDATE objects SET key = $3 WHERE bucket_id = $1 AND key = $2";
    tx.execute(sql, values![bucket.id.0, from.as_bytes(), to.as_bytes()]).await?;
    write::release(tx, &replaced, *now).await?;
    if let Some(token) = token {
        let sql = "INSERT INTO renames (bucket_id, token, request, at) VALUES ($1, $2, $3, {now}) \
                   ON CONFLICT (bucket_id, token) DO NOTHING";
        if tx.execute(sql, values![bucket.id.0, &token.name, &token.request]).await? == 0 {
            return Err(Error::TokenReused(token.name.clone()));
        }
    }
    Ok(Some(Renamed { size: source.size, etag: source.etag }))
}

/// The header of the same condition on the source.
fn source_header(header: &'static str) -> &'static str {
    match header {
        "If-Match" => "x-amz-rename-source-if-match",
        "If-None-Match" => "x-amz-rename-source-if-none-match",
        "If-Modified-Since" => "x-amz-rename-source-if-modified-since",
        _ => "x-amz-rename-source-if-unmodified-since",
    }
}

/// Whether a token's rename was committed.
///
/// # Errors
/// [`Error::TokenReused`] if that was another.
async fn is_done(tx: &mut Tx, bucket: BucketId, token: &RenameToken) -> Result<bool> {
    let sql = "SELECT request FROM renames WHERE bucket_id = $1 AND token = $2";
    match tx.first(sql, values![bucket.0, &token.name]).await? {
        None => Ok(false),
        Some(row) if row.bytes("request")? == token.request => Ok(true),
        Some(_) => Err(Error::TokenReused(token.name.clone())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::{ObjectLock, VersionId};

    #[test]
    fn conditions_are_tested_in_the_order_of_rfc_9110() {
        let current = Current {
            version: VersionId::null(),
            size: 1,
            etag: "aa".into(),
            modified: 5_700,
            lock: ObjectLock::default(),
            data: None,
            packed: None,
            marker: false,
        };
        let none = RenameCondition::default;
        let tags = |tag: &str| Some(vec![tag.to_owned()]);
        for (condition, there, absent) in [
            (none(), None, None),
            (RenameCondition { etags: tags("aa"), ..none() }, None, Some("If-Match")),
            (RenameCondition { etags: tags("*"), unmodified_since: Some(1_000), ..none() }, None, Some("If-Match")),
            (RenameCondition { etags: tags("bb"), ..none() }, Some("If-Match"), Some("If-Match")),
            (RenameCondition { none_of: tags("*"), ..none() }, Some("If-None-Match"), None),
            (
                RenameCondition { none_of: tags("bb"), modified_since: Some(9_000), ..none() },
                None,
                Some("If-Modified-Since"),
            ),
            (RenameCondition { unmodified_since: Some(4_000), ..none() }, Some("If-Unmodified-Since"), None),
            (RenameCondition { unmodified_since: Some(5_000), ..none() }, None, None),
            (
                RenameCondition { modified_since: Some(5_000), ..none() },
                Some("If-Modified-Since"),
                Some("If-Modified-Since"),
            ),
            (RenameCondition { modified_since: Some(200_000), ..none() }, None, Some("If-Modified-Since")),
        ] {
            assert_eq!(condition.failed(Some(&current), 100_000), there, "{condition:?}");
            assert_eq!(condition.failed(None, 100_000), absent, "{condition:?}");
        }
    }
}
