//! What buckets and objects say of who may do what with them, for the guard.
//!
//! The rules of buckets are kept in memory: every request needs them. An instance asks several times a second whether any bucket's have
//! changed anywhere ([`watch_rules`]), and believes what it has for no longer than a second after it last knew that none had.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::sync::watch;

use super::{Error, Result, Store};
use crate::access::acl::Acl;
use crate::access::policy::{Policy, PolicyKind};
use crate::access::{BucketRules, ObjectRules, Resources, Seen, UploadRules};
use crate::metadata::{self, Object, ReadRange, Upload, UploadId, UploadTemplate, VersionId};

/// How often it is asked whether anything has changed.
const INTERVAL: Duration = Duration::from_millis(300);
/// How long what was asked for is believed after it was last known to be so.
const BELIEVED: Duration = Duration::from_millis(900);
/// Buckets whose rules are kept at most.
const KEPT: usize = 10_000;

/// The rules of buckets, as they were when they were last needed.
#[derive(Debug, Default)]
pub(super) struct RulesCache(RwLock<Kept>);

#[derive(Debug, Default)]
struct Kept {
    buckets: HashMap<String, Arc<BucketRules>>,
    /// Grows with every change: what was asked for before one is not kept after it.
    changes: u64,
    /// The database's number of changes, as far as it is known.
    generation: i64,
    /// Until when it is believed; `None` if nobody watches.
    until: Option<Instant>,
}

impl RulesCache {
    /// What is kept of a bucket; else the number of changes so far.
    fn get(&self, bucket: &str) -> std::result::Result<Arc<BucketRules>, u64> {
        let kept = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let believed = kept.until.is_some_and(|until| Instant::now() < until);
        kept.buckets.get(bucket).filter(|_| believed).cloned().ok_or(kept.changes)
    }

    /// Keeps what was read of a bucket after so many changes, and at this one of the database's.
    fn put(&self, bucket: &str, rules: &Arc<BucketRules>, changes: u64, generation: i64) {
        let mut kept = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let first = kept.changes == changes;
        // Whoever reads something newer need not wait to be told that there is.
        kept.learn(generation);
        if first && kept.until.is_some() {
            if kept.buckets.len() >= KEPT {
                kept.buckets.clear();
            }
            kept.buckets.insert(bucket.to_owned(), Arc::clone(rules));
        }
    }

    /// Something has changed.
    pub(super) fn changed(&self) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).forget();
    }

    /// So many changes there were in the database; until then no others are believed.
    fn believe(&self, generation: i64, until: Instant) {
        let mut kept = self.0.write().unwrap_or_else(PoisonError::into_inner);
        kept.learn(generation);
        kept.until = Some(until);
    }
}

impl Kept {
    fn forget(&mut self) {
        self.changes += 1;
        self.buckets.clear();
    }

    fn learn(&mut self, generation: i64) {
        if generation > self.generation {
            self.generation = generation;
            self.forget();
        }
    }
}

impl Store {
    /// The same store, for a request that was let in because of these objects' rules: it reads none that has others by then.
    #[must_use]
    pub fn having_seen(&self, seen: Arc<[Seen]>) -> Self {
        Self { seen, ..self.clone() }
    }

    /// That an object which is about to be read is what was decided about.
    pub(super) fn check_seen(
        &self,
        bucket: &str,
        key: &str,
        version: Option<&VersionId>,
        object: &Object,
    ) -> Result<()> {
        let is_it = |seen: &&Seen| {
            seen.bucket == bucket && seen.key == key && seen.version.as_deref() == version.map(VersionId::as_str)
        };
        match self.seen.iter().find(is_it) {
            Some(seen) if seen.rules.as_deref() != Some(&ObjectRules::of(object)) => {
                Err(Error::Replaced { bucket: bucket.to_owned(), key: key.to_owned() })
            }
            _ => Ok(()),
        }
    }
}

#[async_trait]
impl Resources for Store {
    async fn bucket_rules(&self, bucket: &str) -> Result<Arc<BucketRules>> {
        let changes = match self.rules.get(bucket) {
            Ok(rules) => return Ok(rules),
            Err(changes) => changes,
        };
        let found = self.metadata.bucket_access(bucket).await?;
        let policy = match found.policy {
            // One that was taken once and cannot be read now might forbid what is asked for.
            Some(text) => match Policy::parse(&text, PolicyKind::Bucket(bucket)) {
                Ok(policy) => Some(Arc::new(policy)),
                Err(error) => {
                    let message = format!("the policy of bucket {bucket} cannot be read: {error}");
                    return Err(metadata::Error::Corrupt(message).into());
                }
            },
            None => None,
        };
        let rules = Arc::new(BucketRules {
            policy,
            acl: found.acl.unwrap_or_else(|| Acl::private(&found.owner)),
            ownership: found.ownership.unwrap_or_default(),
            block: found.block.unwrap_or_default(),
            owner: found.owner,
        });
        self.rules.put(bucket, &rules, changes, found.generation);
        Ok(rules)
    }

    async fn object_rules(&self, bucket: &str, key: &str, version: Option<&str>) -> Result<Option<ObjectRules>> {
        // The operation itself says what is wrong with a name that is none.
        let version = match version.map(VersionId::parse) {
            Some(None) => return Ok(None),
            named => named.flatten(),
        };
        match self.metadata.resolve(bucket, key, version.as_ref(), ReadRange::Nothing).await {
            Ok(found) => Ok(Some(ObjectRules::of(&found.object))),
            Err(
                metadata::Error::NoSuchKey { .. }
                | metadata::Error::NoSuchVersion { .. }
                | metadata::Error::DeleteMarker { .. },
            ) => Ok(None),
            Err(error) => Err(Error::Metadata(error)),
        }
    }

    async fn upload_rules(&self, bucket: &str, key: &str, upload: &str) -> Result<Option<UploadRules>> {
        match self.metadata.upload(bucket, key, &UploadId(upload.to_owned())).await {
            Ok(Upload { template: UploadTemplate { owner, initiator, .. }, .. }) => {
                Ok(Some(UploadRules { owner, initiator }))
            }
            Err(metadata::Error::NoSuchUpload { .. }) => Ok(None),
            Err(error) => Err(Error::Metadata(error)),
        }
    }
}

/// Keeps a store's rules of buckets as the database has them, until it is to stop.
pub async fn watch_rules(store: Store, mut stop: watch::Receiver<bool>) {
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            _ = ticks.tick() => {}
        }
        let asked = Instant::now();
        // Without an answer what is kept is not believed for long, and requests ask for themselves.
        if let Ok(generation) = store.metadata.access_generation().await {
            store.rules.believe(generation, asked + BELIEVED);
        }
    }
}
