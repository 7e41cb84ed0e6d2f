//! `/health/live` and `/health/ready`: for load balancers and containers, unsigned.

use std::time::Duration;

use async_trait::async_trait;
use http::{HeaderMap, Method, Response, StatusCode, header};

use super::json;
use crate::layout::DATA_SHARDS;

/// How long readiness may take to find out before the answer is no.
const PATIENCE: Duration = Duration::from_secs(5);

/// What readiness depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Readiness {
    /// Whether the database answers.
    pub database: bool,
    /// Volumes that can be read and written now.
    pub usable_volumes: usize,
}

/// Finds out whether requests can be served.
#[async_trait]
pub trait Health: Send + Sync + 'static {
    /// Asks the database (one round trip) and the volumes.
    async fn ready(&self) -> Readiness;
}

/// Answers a health request; `None` if it is none. Being live needs nothing but this process.
pub(super) async fn answer(
    method: &Method,
    path: &str,
    query: Option<&str>,
    headers: &HeaderMap,
    health: &dyn Health,
) -> Option<Response<s3s::Body>> {
    // With a signature or a query it is a request for the key `live` in a bucket `health`.
    let plain = query.is_none() && !headers.contains_key(header::AUTHORIZATION);
    if !plain || !matches!(*method, Method::GET | Method::HEAD) {
        return None;
    }
    match path {
        "/health/live" => Some(json(StatusCode::OK, &serde_json::json!({ "status": "live" }))),
        "/health/ready" => {
            let found = tokio::time::timeout(PATIENCE, health.ready()).await;
            let found = found.unwrap_or(Readiness { database: false, usable_volumes: 0 });
            let ready = found.database && found.usable_volumes >= DATA_SHARDS;
            let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
            let body = serde_json::json!({
                "status": if ready { "ready" } else { "not ready" },
                "database": if found.database { "up" } else { "down" },
                "volumes": { "usable": found.usable_volumes, "needed": DATA_SHARDS },
            });
            Some(json(status, &body))
        }
        _ => None,
    }
}
