//! What is counted of requests. All of it are relaxed additions to numbers of fixed places: nobody waits for a lock, and nothing is
//! looked up.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use http::StatusCode;

use super::api::{Api, NAMES};
use crate::limits::Limiter;

/// Upper ends, in seconds, of the spans that times to first byte are sorted into; those of MinIO.
pub(super) const SPANS: [f64; 8] = [0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Numbers since the process began to serve.
#[derive(Debug)]
pub(in crate::server) struct Counters {
    /// Which knows how often it refused.
    pub(super) limiter: Limiter,
    pub(super) began: SystemTime,
    pub(in crate::server) since: Instant,
    /// Requests under way.
    pub(super) running: AtomicU64,
    /// Bytes of bodies.
    pub(super) received: AtomicU64,
    pub(super) sent: AtomicU64,
    /// Requests refused because of their signature, when they were signed, and how they are made.
    pub(super) rejected_auth: AtomicU64,
    pub(super) rejected_time: AtomicU64,
    pub(super) rejected_invalid: AtomicU64,
    pub(super) apis: [OfApi; NAMES.len()],
}

/// Numbers of one operation.
#[derive(Debug, Default)]
pub(super) struct OfApi {
    pub(super) total: AtomicU64,
    pub(super) running: AtomicU64,
    pub(super) client_errors: AtomicU64,
    pub(super) server_errors: AtomicU64,
    /// The client went away before it had its answer.
    pub(super) canceled: AtomicU64,
    /// Times to first byte, each in the one span it belongs to; the last is beyond all.
    pub(super) first_byte: [AtomicU64; SPANS.len() + 1],
}

pub(super) fn read(number: &AtomicU64) -> u64 {
    number.load(Ordering::Relaxed)
}

fn add(number: &AtomicU64, by: u64) {
    number.fetch_add(by, Ordering::Relaxed);
}

impl Counters {
    pub(in crate::server) fn new(limiter: Limiter) -> Self {
        Self {
            limiter,
            began: SystemTime::now(),
            since: Instant::now(),
            running: AtomicU64::default(),
            received: AtomicU64::default(),
            sent: AtomicU64::default(),
            rejected_auth: AtomicU64::default(),
            rejected_time: AtomicU64::default(),
            rejected_invalid: AtomicU64::default(),
            apis: std::array::from_fn(|_| OfApi::default()),
        }
    }

    fn of(&self, api: Option<Api>) -> Option<&OfApi> {
        self.apis.get(api?.0)
    }
}

/// A request that is being counted, until it is dropped.
#[derive(Debug)]
pub(in crate::server) struct Counting {
    counters: Arc<Counters>,
    api: Option<Api>,
    finished: bool,
}

impl Counting {
    pub(in crate::server) fn begin(counters: &Arc<Counters>, api: Option<Api>) -> Self {
        let this = Self { counters: Arc::clone(counters), api, finished: false };
        add(&this.counters.running, 1);
        if let Some(of) = this.counters.of(api) {
            add(&of.total, 1);
            add(&of.running, 1);
        }
        this
    }

    /// The answer is there, with this status and error, so long after the request.
    pub(in crate::server) fn answered(&self, status: StatusCode, code: Option<&str>, took: Duration) {
        match code {
            // The names of S3's errors ("Error responses", Amazon S3 API reference).
            Some(
                "AuthorizationHeaderMalformed"
                | "AuthorizationQueryParametersError"
                | "InvalidAccessKeyId"
                | "InvalidToken"
                | "SignatureDoesNotMatch",
            ) => add(&self.counters.rejected_auth, 1),
            Some("RequestTimeTooSkewed") => add(&self.counters.rejected_time, 1),
            Some("InvalidRequest" | "InvalidURI" | "InvalidBucketName" | "MethodNotAllowed") => {
                add(&self.counters.rejected_invalid, 1);
            }
            _ => {}
        }
        let Some(of) = self.counters.of(self.api) else { return };
        let seconds = took.as_secs_f64();
        let span = SPANS.iter().position(|&end| seconds <= end).unwrap_or(SPANS.len());
        if let Some(number) = of.first_byte.get(span) {
            add(number, 1);
        }
        if status.is_client_error() {
            add(&of.client_errors, 1);
        } else if status.is_server_error() {
            add(&of.server_errors, 1);
        }
    }

    /// So much went over the connection, and whether the client took all of its answer.
    pub(in crate::server) fn over(&mut self, received: u64, sent: u64, whole: bool) {
        add(&self.counters.received, received);
        add(&self.counters.sent, sent);
        self.finished = whole;
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        self.counters.running.fetch_sub(1, Ordering::Relaxed);
        if let Some(of) = self.counters.of(self.api) {
            of.running.fetch_sub(1, Ordering::Relaxed);
            if !self.finished {
                add(&of.canceled, 1);
            }
        }
    }
}
