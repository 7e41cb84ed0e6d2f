//! What health and metrics depend on, and `/health/live` and `/health/ready`: for load balancers and containers, unsigned.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::{Method, Response, StatusCode};

use super::json;
use crate::layout::DATA_SHARDS;
use crate::metadata::BucketUsage;

/// How long finding out may take before the answer is no.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// What readiness depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Readiness {
    /// Whether the database answers.
    pub database: bool,
    /// Volumes that can be read and written now.
    pub usable_volumes: usize,
    /// Volumes that can be read now.
    pub readable_volumes: usize,
}

impl Readiness {
    /// What is found within this time.
    pub(super) async fn within(time: Duration, health: &dyn Health) -> Self {
        let found = tokio::time::timeout(time, health.ready()).await;
        found.unwrap_or(Self { database: false, usable_volumes: 0, readable_volumes: 0 })
    }

    /// Whether objects can be read and written.
    pub(super) fn is_ready(self) -> bool {
        self.database && self.usable_volumes >= DATA_SHARDS
    }
}

/// What would be left without the one server that is asked, and without the one node whose volumes would be missed most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spare {
    /// Other servers that live.
    pub servers: usize,
    /// Volumes that can be read and written.
    pub usable_volumes: usize,
}

/// A volume, for metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drive {
    /// Its name.
    pub name: String,
    /// Whether it can be read.
    pub online: bool,
    /// Bytes that it may hold in all.
    pub capacity: u64,
    /// Bytes that are in use.
    pub used: u64,
    /// How long a read takes on average of late.
    pub read_latency: Option<Duration>,
}

impl Drive {
    pub(super) fn free(&self) -> u64 {
        self.capacity.saturating_sub(self.used)
    }
}

/// What the database knows of the deployment, for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClusterState {
    /// Servers that were heard of in time.
    pub servers_online: u64,
    /// Servers that were not, and are not closed yet.
    pub servers_silent: u64,
    /// Buckets.
    pub buckets: u64,
    /// Shards that wait for healing.
    pub heal_queue: u64,
    /// Those of them that could not be healed before.
    pub heal_failed: u64,
}

/// What all buckets held when they were counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage {
    /// By name.
    pub buckets: Arc<[BucketUsage]>,
    /// How long ago that was.
    pub age: Duration,
}

/// Finds out how the store is.
#[async_trait]
pub trait Health: Send + Sync + 'static {
    /// Where this server is, as the label of its metrics.
    fn server(&self) -> &str;

    /// Asks the database (one round trip) and the volumes.
    async fn ready(&self) -> Readiness;

    /// Whether a node can be spared.
    async fn without_a_node(&self) -> Spare;

    /// The volumes, as this server finds them. Asks nobody.
    fn drives(&self) -> Vec<Drive>;

    /// Asks the database; `None` if it does not answer.
    async fn cluster(&self) -> Option<ClusterState>;

    /// What was counted last, which may have been minutes ago; `None` if it is not known.
    async fn usage(&self) -> Option<Usage>;
}

/// A health request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    Live,
    Ready,
}

impl Ask {
    /// What is asked for, if it is one; `signed`: it is signed as requests to S3 are.
    pub(super) fn of(method: &Method, path: &str, query: Option<&str>, signed: bool) -> Option<Self> {
        // With a signature or a query it is a request for the key `live` in a bucket `health`.
        if signed || query.is_some() || !matches!(*method, Method::GET | Method::HEAD) {
            return None;
        }
        match path {
            "/health/live" => Some(Self::Live),
            "/health/ready" => Some(Self::Ready),
            _ => None,
        }
    }
}

/// The answer. Being live needs nothing but this process.
pub(super) async fn answer(ask: Ask, health: &dyn Health) -> Response<s3s::Body> {
    match ask {
        Ask::Live => json(StatusCode::OK, &serde_json::json!({ "status": "live" })),
        Ask::Ready => {
            let found = Readiness::within(PATIENCE, health).await;
            let ready = found.is_ready();
            let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
            let body = serde_json::json!({
                "status": if ready { "ready" } else { "not ready" },
                "database": if found.database { "up" } else { "down" },
                "volumes": { "usable": found.usable_volumes, "needed": DATA_SHARDS },
            });
            json(status, &body)
        }
    }
}
