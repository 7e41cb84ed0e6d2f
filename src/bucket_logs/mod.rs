//! Server access logging: requests to buckets whose owners want it so, written down and delivered as objects.
//!
//! Source: "Logging requests with server access logging" in the Amazon S3 user guide.
//!
//! It is done as well as can be, and no better, as at S3: a record waits in memory for its delivery, every so often, at [`DELIVER`]
//! bytes, and at the end. What a crash takes with it is lost; what there is no room for is dropped, counted and said. Which buckets are
//! logged is known to every instance for [`REFRESH`] without asking; the instance that changes it knows at once. A delivery is no request:
//! it is not logged itself, so that a bucket may hold its own log.

mod keys;
mod queue;
mod record;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use crate::chunks::Body;
use crate::clock::Millis;
use crate::metadata::{self, Headers, ObjectLock, StorageClass, Tags, WriteCondition};
use crate::objects::{self, Expected, LoggedBucket, PutRequest, Store};
use queue::{Batch, Bounds, Queue};

pub use record::{Record, without_secrets};

/// How long what is known of the buckets that are logged holds.
pub const REFRESH: Duration = Duration::from_secs(30);
/// Bytes of one bucket's records from which they are delivered at once.
pub const DELIVER: usize = 4 << 20;
/// Bytes of one bucket's records that may wait; more are dropped.
const BUCKET: usize = 16 << 20;
/// Bytes of all buckets' records that may wait or be on their way.
const ALL: usize = 64 << 20;
/// How long delivering at the end may take.
const LAST: Duration = Duration::from_secs(10);

type Logged = HashMap<String, Arc<LoggedBucket>>;

/// The logs of all buckets. Cheap to clone; clones are the same.
#[derive(Debug, Clone)]
pub struct BucketLogs(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Store,
    region: String,
    logged: RwLock<Arc<Logged>>,
    queue: Mutex<Queue>,
    full: Notify,
    stop: watch::Sender<bool>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl BucketLogs {
    /// Begins to deliver what is pushed, every `interval`. If which buckets are logged cannot be learnt now, it is tried again.
    pub async fn start(store: Store, region: impl Into<String>, interval: Duration) -> Self {
        let queue = Queue::new(Bounds { bucket: BUCKET, all: ALL, deliver: DELIVER });
        let (stop, stopped) = watch::channel(false);
        let logs = Self(Arc::new(Inner {
            store,
            region: region.into(),
            logged: RwLock::default(),
            queue: Mutex::new(queue),
            full: Notify::new(),
            stop,
            task: Mutex::new(None),
        }));
        logs.refresh().await;
        let task = tokio::spawn(logs.clone().run(interval, stopped));
        *logs.0.task.lock().unwrap_or_else(PoisonError::into_inner) = Some(task);
        logs
    }

    /// Whether any bucket is logged.
    pub fn any(&self) -> bool {
        !self.0.logged.read().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// A bucket that is logged, and where to.
    pub fn bucket(&self, name: &str) -> Option<Arc<LoggedBucket>> {
        self.logged().get(name).cloned()
    }

    fn logged(&self) -> Arc<Logged> {
        Arc::clone(&self.0.logged.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn queue(&self) -> std::sync::MutexGuard<'_, Queue> {
        self.0.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Learns anew which buckets are logged.
    pub async fn refresh(&self) {
        match self.0.store.logged_buckets().await {
            Ok(all) => {
                let all = all.into_iter().map(|bucket| (bucket.name.clone(), Arc::new(bucket))).collect();
                *self.0.logged.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(all);
            }
            Err(error) => tracing::debug!(%error, "which buckets are logged is not known anew"),
        }
    }

    /// Adds a record to a bucket's log.
    pub fn push(&self, bucket: &Arc<LoggedBucket>, record: &Record) {
        if self.queue().push(bucket, record.at, record.line()) {
            self.0.full.notify_one();
        }
    }

    /// Delivers what there is, and no more after that. Requests must have ended before.
    pub async fn close(&self) {
        self.0.stop.send_replace(true);
        let task = self.0.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        let ended = async {
            if let Some(task) = task
                && let Err(error) = task.await
            {
                tracing::error!(%error, "the delivery of access logs ended early");
            }
        };
        if tokio::time::timeout(LAST, ended).await.is_err() {
            tracing::warn!("access logs could not be delivered in time; what is left of them is lost");
        }
    }

    async fn run(self, interval: Duration, mut stopped: watch::Receiver<bool>) {
        let ticks = |every: Duration| {
            let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + every, every);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks
        };
        let (mut refresh, mut due) = (ticks(REFRESH), ticks(interval));
        // After a delivery that failed nobody is in a hurry: a full queue would try again with every request.
        let mut failing = false;
        loop {
            let stop = async { _ = stopped.wait_for(|stop| *stop).await };
            tokio::select! {
                () = stop => break,
                _ = due.tick() => failing = !self.deliver(false).await,
                _ = refresh.tick() => {
                    self.refresh().await;
                    if failing {
                        failing = !self.deliver(false).await;
                    }
                }
                () = self.0.full.notified(), if !failing => failing = !self.deliver(true).await,
            }
        }
        self.deliver(false).await;
        let lost: usize = self.queue().take(false).iter().map(|batch| batch.lines.len()).sum();
        if lost > 0 {
            tracing::warn!(records = lost, "access logs could not be delivered and are lost");
        }
    }

    /// Delivers what waits, or of it what is full; answers whether nothing has to be tried again.
    async fn deliver(&self, only_full: bool) -> bool {
        let mut delivered = true;
        let batches = self.queue().take(only_full);
        for Batch { bucket, lines, dropped, .. } in batches {
            if dropped > 0 {
                tracing::warn!(
                    bucket = bucket.name,
                    records = dropped,
                    "there was no room for records of an access log"
                );
            }
            let mut days: BTreeMap<Option<i64>, Vec<(Millis, Bytes)>> = BTreeMap::new();
            for (at, line) in lines {
                days.entry(keys::day(&bucket, at)).or_default().push((at, line));
            }
            for (day, lines) in days {
                delivered &= self.deliver_day(&bucket, day, lines).await;
            }
        }
        delivered
    }

    async fn deliver_day(&self, bucket: &Arc<LoggedBucket>, day: Option<i64>, lines: Vec<(Millis, Bytes)>) -> bool {
        let (name, to, records) = (&bucket.name, &bucket.logging.to, lines.len());
        match self.put(bucket, day, &lines).await {
            Ok(()) => {}
            Err(Undelivered::Never(why)) => tracing::warn!(bucket = name, to, records, why, "an access log is lost"),
            Err(Undelivered::Later(error)) => {
                tracing::warn!(bucket = name, to, records, %error, "an access log is delivered later");
                self.queue().put_back(bucket, lines);
                return false;
            }
        }
        self.queue().done(queue::cost(&lines));
        true
    }

    async fn put(&self, bucket: &LoggedBucket, day: Option<i64>, lines: &[(Millis, Bytes)]) -> Result<(), Undelivered> {
        let store = &self.0.store;
        let target = store.bucket(&bucket.logging.to).await?;
        // The bucket may have been deleted, and made by somebody else.
        if target.owner != bucket.owner {
            return Err(Undelivered::Never("the target belongs to somebody else"));
        }
        let len = lines.iter().map(|(_, line)| line.len() as u64).sum();
        let pieces: Vec<_> = lines.iter().map(|(_, line)| Ok(line.clone())).collect();
        let body: Body = Box::pin(stream::iter(pieces));
        let put = PutRequest {
            bucket: target.name,
            key: keys::key(bucket, &self.0.region, day, store.clock().now()),
            headers: Headers { content_type: Some("text/plain".to_owned()), ..Headers::default() },
            tags: Tags::new(),
            owner: target.owner,
            lock: ObjectLock::default(),
            acl: None,
            storage_class: StorageClass::Standard,
            condition: WriteCondition::default(),
            expected: Expected { len: Some(len), ..Expected::default() },
            body,
        };
        store.put(put).await?;
        Ok(())
    }
}

/// Why a delivery was none.
enum Undelivered {
    /// It will not be one later either.
    Never(&'static str),
    /// It may be one later.
    Later(objects::Error),
}

impl From<objects::Error> for Undelivered {
    fn from(error: objects::Error) -> Self {
        match error {
            objects::Error::Metadata(metadata::Error::NoSuchBucket(_)) => Self::Never("the target is not there"),
            // It may have been delivered: once is better than twice, as at S3.
            objects::Error::Metadata(metadata::Error::Ambiguous(_)) => Self::Never("nobody knows what came of it"),
            error => Self::Later(error),
        }
    }
}
