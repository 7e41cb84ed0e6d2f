//! This instance's heartbeat, and its judgement of the others'.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::chunks::ChunkStore;
use crate::metadata::{Error, InstanceId, Metadata};
use crate::objects::Lifeline;

/// Says that this instance lives, and closes instances that no longer do. Clones are the same.
#[derive(Debug, Clone)]
pub struct Heartbeat(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    metadata: Metadata,
    chunks: ChunkStore,
    instance: Arc<AtomicI64>,
    lifeline: Lifeline,
    timeout: Duration,
    /// Since when every heartbeat of ours was answered: nobody is judged before the judge has seen the database up for a whole
    /// time-out.
    up_since: Mutex<Option<Instant>>,
    /// One at a time: two that find themselves judged dead would start again as two.
    turn: tokio::sync::Mutex<()>,
}

impl Heartbeat {
    /// The heartbeat of the instance whose number is in `instance`, and stays there when it becomes another one.
    pub fn new(
        metadata: Metadata,
        chunks: ChunkStore,
        instance: Arc<AtomicI64>,
        lifeline: Lifeline,
        timeout: Duration,
    ) -> Self {
        let (up_since, turn) = (Mutex::new(None), tokio::sync::Mutex::new(()));
        Self(Arc::new(Inner { metadata, chunks, instance, lifeline, timeout, up_since, turn }))
    }

    /// The instance that this process is now.
    pub fn instance(&self) -> InstanceId {
        InstanceId(self.0.instance.load(Ordering::SeqCst))
    }

    /// One heartbeat, and a look at the others'.
    pub async fn beat(&self) {
        let _turn = self.0.turn.lock().await;
        let sent = Instant::now();
        let reads = self.0.chunks.reads();
        let outcome = self.0.metadata.heartbeat(self.instance(), reads.since()).await;
        match outcome {
            Ok(now) => {
                reads.set_clock(now, Instant::now());
                self.0.lifeline.renew(sent);
                let up_since = *self.up_since().get_or_insert(sent);
                if up_since.elapsed() >= self.0.timeout {
                    self.judge().await;
                }
            }
            Err(Error::RangeClosed) => self.start_again(sent).await,
            Err(error) => {
                *self.up_since() = None;
                tracing::warn!(%error, "the heartbeat was not heard");
            }
        }
    }

    fn up_since(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.0.up_since.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Others judged this instance dead and closed its ranges: whatever it has under way will fail to commit. It goes on as a
    /// new instance, with new ids.
    async fn start_again(&self, sent: Instant) {
        match self.0.metadata.register_instance().await {
            Ok(instance) => {
                tracing::error!(
                    was = self.instance().0,
                    is = instance.0,
                    "judged dead by another instance; starting again"
                );
                self.0.instance.store(instance.0, Ordering::SeqCst);
                self.0.chunks.forget_ids().await;
                self.0.lifeline.renew(sent);
            }
            Err(error) => tracing::error!(%error, "judged dead by another instance, and could not start again"),
        }
    }

    /// Closes the id ranges of instances that have been silent for a whole time-out, so that nothing of theirs commits any more.
    async fn judge(&self) {
        let silent = match self.0.metadata.silent_instances(self.instance(), self.0.timeout).await {
            Ok(silent) => silent,
            Err(error) => return tracing::warn!(%error, "silent instances could not be looked for"),
        };
        for instance in silent {
            // Asked once more under its lock: it may have been heard meanwhile.
            match self.0.metadata.close_silent(self.instance(), instance, self.0.timeout).await {
                Ok(false) => {}
                Ok(true) => tracing::warn!(instance = instance.0, "a silent instance was closed"),
                Err(error) => {
                    tracing::warn!(instance = instance.0, %error, "a silent instance could not be closed");
                    // The next heartbeat must not wait for several of them.
                    break;
                }
            }
        }
    }
}
