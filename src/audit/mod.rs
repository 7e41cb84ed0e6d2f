//! The audit log: one line of JSON a request, to files, standard output or webhooks.
//!
//! It knows nothing of S3: the server says what a request was and what came of it ([`Record`]), and each target has a queue of its own that
//! blocks nobody. What there is no room for is dropped, counted, and told in the log itself once there is room again. What waits in a queue is
//! lost with the process; a stop in order writes it, for [`LAST`] at most.

mod file;
mod queue;
mod record;
mod target;
mod webhook;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::access::Secret;
use file::{Output, Rotated};
use queue::Queue;
use webhook::Webhook;

pub use queue::{Bounds, Counts};
pub use record::{Decided, Decisions, Principal, Record, Refused, SignedBy, cut};
pub use target::{Target, TargetError};
pub use webhook::WebhookError;

/// How long writing what waits may take at the end.
pub const LAST: Duration = Duration::from_secs(10);
/// How long a batch that is not taken is tried again before it is given up.
const TRIED: Duration = Duration::from_secs(60);
/// The pause before a batch is tried again; the next is twice as long, and so on, up to the longest.
const PAUSE: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));

/// Where records go, and within which bounds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditConfig {
    /// The targets; without any there is no audit log.
    pub targets: Vec<Target>,
    /// What may wait for each of them.
    pub bounds: Bounds,
    /// Bytes from which a file is put aside and another begun; 0: never.
    pub rotate: u64,
    /// What webhooks are told to know us by.
    pub token: Option<Secret>,
}

/// Why records cannot be written where they are wanted.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// A file cannot be written.
    #[error("cannot open {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// A webhook cannot be called.
    #[error("{webhook}: {source}")]
    Webhook {
        /// Its address, without what may be secret.
        webhook: String,
        /// Why.
        source: WebhookError,
    },
    /// There are no threads left.
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
}

/// Targets that are open, and get nothing yet.
pub struct Opened {
    bounds: Bounds,
    outlets: Vec<(String, Outlet)>,
}

enum Outlet {
    Output(Output),
    Webhook(Box<Webhook>),
}

/// The audit log. Cheap to clone; clones are the same.
#[derive(Debug, Clone)]
pub struct Audit(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    deployment: Arc<str>,
    queues: Vec<Arc<Queue>>,
    /// Each is closed when its target has written all.
    writers: Mutex<Vec<oneshot::Receiver<()>>>,
}

impl Opened {
    /// Opens the targets; `None` if there are none. Blocking.
    ///
    /// # Errors
    /// [`AuditError`] names the target.
    pub fn open(config: &AuditConfig) -> Result<Option<Self>, AuditError> {
        let mut outlets = Vec::with_capacity(config.targets.len());
        for target in &config.targets {
            let outlet = match target {
                Target::File(path) => Outlet::Output(Output::File(open(path, config.rotate)?)),
                Target::Stdout => Outlet::Output(Output::Stdout),
                Target::Webhook(url) => {
                    let hook = Webhook::new(url, config.token.as_ref());
                    Outlet::Webhook(Box::new(
                        hook.map_err(|source| AuditError::Webhook { webhook: target.to_string(), source })?,
                    ))
                }
            };
            outlets.push((target.to_string(), outlet));
        }
        Ok((!outlets.is_empty()).then_some(Self { bounds: config.bounds, outlets }))
    }

    /// Begins to write what is pushed; `deployment` is the id that records say.
    ///
    /// # Errors
    /// [`AuditError::Thread`]
    pub fn start(self, deployment: &str) -> Result<Audit, AuditError> {
        let deployment: Arc<str> = deployment.into();
        let (mut queues, mut writers) = (Vec::new(), Vec::new());
        for (name, outlet) in self.outlets {
            let of = Arc::clone(&deployment);
            let queue = Arc::new(Queue::new(name, self.bounds, move |dropped| record::dropped(dropped, &of)));
            let (end, ended) = oneshot::channel();
            let its = Arc::clone(&queue);
            match outlet {
                // A thread of its own: whoever reads our standard output may stop doing so, and no task may wait for that.
                Outlet::Output(mut output) => {
                    let runtime = Handle::current();
                    let run = move || {
                        output.run(&its, &runtime);
                        drop(end);
                    };
                    std::thread::Builder::new().name("audit".into()).spawn(run).map_err(AuditError::Thread)?;
                }
                Outlet::Webhook(hook) => {
                    tokio::spawn(async move {
                        hook.run(&its).await;
                        drop(end);
                    });
                }
            }
            queues.push(queue);
            writers.push(ended);
        }
        Ok(Audit(Arc::new(Inner { deployment, queues, writers: Mutex::new(writers) })))
    }
}

impl Audit {
    /// Adds a request to the log. Waits for nothing.
    pub fn push(&self, record: &Record) {
        let line = Bytes::from(record.line(&self.0.deployment));
        for queue in &self.0.queues {
            queue.push(line.clone());
        }
    }

    /// What became of records so far, for each target.
    pub fn counts(&self) -> Vec<Counts> {
        self.0.queues.iter().map(|queue| queue.counts()).collect()
    }

    /// Opens files anew: somebody has put them aside.
    pub fn reopen(&self) {
        self.0.queues.iter().for_each(|queue| queue.reopen());
    }

    /// Writes what waits, and no more after that. Requests must have ended before.
    pub async fn close(&self) {
        self.0.queues.iter().for_each(|queue| queue.close());
        let writers = std::mem::take(&mut *self.0.writers.lock().unwrap_or_else(PoisonError::into_inner));
        // All of them at once: they began to end together.
        let ended = async {
            for writer in writers {
                // It is told by being dropped.
                let _ = writer.await;
            }
        };
        let _ = tokio::time::timeout(LAST, ended).await;
        for Counts { target, queued, .. } in self.counts() {
            if queued > 0 {
                tracing::warn!(target_id = target, records = queued, "the audit log could not be written to its end");
            }
        }
    }
}

fn open(path: &Path, rotate: u64) -> Result<Rotated, AuditError> {
    Rotated::open(path, rotate).map_err(|source| AuditError::File { path: path.to_owned(), source })
}
