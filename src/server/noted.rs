//! What a request's logs cannot see from outside: operations note it on their way.

use std::sync::{Arc, Mutex, PoisonError};

use http::StatusCode;

use crate::access::Identity;
use crate::audit::{Decided, Decisions};

/// What those who serve a request tell its logs. In the extensions of every request that is logged for its bucket or for the audit log;
/// clones share it.
#[derive(Debug, Clone, Default)]
pub struct Noted {
    notes: Arc<Mutex<Notes>>,
    is_audited: bool,
}

#[derive(Debug, Default)]
pub(super) struct Notes {
    pub(super) requester: Option<Identity>,
    pub(super) operation: Option<String>,
    pub(super) key: Option<String>,
    pub(super) size: Option<u64>,
    pub(super) deleted: Vec<NotedDelete>,
    pub(super) source: Option<NotedSource>,
    pub(super) decisions: Decisions,
}

/// One key of a DeleteObjects.
#[derive(Debug, Clone)]
pub struct NotedDelete {
    /// The key.
    pub key: String,
    /// The version that was asked for.
    pub version: Option<String>,
    /// S3's name of what went wrong, and its status.
    pub error: Option<(String, StatusCode)>,
}

/// What was copied.
#[derive(Debug, Clone)]
pub struct NotedSource {
    /// Its bucket.
    pub bucket: String,
    /// Its key.
    pub key: String,
    /// The version that was asked for.
    pub version: Option<String>,
}

impl Noted {
    /// For a request that is in the audit log, or only in its bucket's.
    pub(super) fn new(is_audited: bool) -> Self {
        Self { notes: Arc::default(), is_audited }
    }

    pub(super) fn with<T>(&self, change: impl FnOnce(&mut Notes) -> T) -> T {
        change(&mut self.notes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Who was found to have asked, be it nobody in particular.
    pub fn requester(&self, who: &Identity) {
        self.with(|notes| notes.requester = Some(who.clone()));
    }

    /// What is asked for, in the words of the API that is asked.
    pub fn operation(&self, name: &str) {
        if self.is_audited {
            self.with(|notes| notes.operation = Some(name.to_owned()));
        }
    }

    /// What was decided about it. It is put together only if somebody wants to know.
    pub fn decided(&self, decided: impl FnOnce() -> Decided) {
        if self.is_audited {
            let decided = decided();
            self.with(|notes| notes.decisions.add(decided));
        }
    }

    /// The object that was written, and its length.
    pub fn object(&self, key: &str, size: u64) {
        self.with(|notes| (notes.key, notes.size) = (Some(key.to_owned()), Some(size)));
    }

    /// What was deleted, one by one.
    pub fn deleted(&self, key: NotedDelete) {
        self.with(|notes| notes.deleted.push(key));
    }

    /// What was copied.
    pub fn source(&self, source: NotedSource) {
        self.with(|notes| notes.source = Some(source));
    }
}
