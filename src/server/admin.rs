//! The requests that administer: how they are told from S3's, read, verified, and answered.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode, header};
use http_body::Body;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::answer::{self, Asked};
use super::body::{BodyFault, BodyWatch, Watching, next_data};
use super::document::Announced;
use super::health::{PATIENCE, Readiness};
use super::{ErrorCode, Inner, Noted, OverTls, Peer, Refusal};
use crate::access::claims::{ClaimError, Claims};
use crate::access::policy::Context;
use crate::access::query::Query;
use crate::access::sigv4::{self, SignatureError};
use crate::access::{Identity, Key, Secret};
use crate::admin::view::{self, BucketUsage};
use crate::admin::{Call, Params, Problem, iam, json, minio, sts};
use crate::layout::{PARITY_SHARDS, SHARDS};
use crate::limits::{Over, Passage};
use crate::s3::add_general;

/// Bytes of a body at most.
const BODY: usize = 1 << 20;
/// How long one may take to arrive: whoever dawdles does not keep a place from others.
const ARRIVAL: Duration = Duration::from_secs(30);
/// Bodies that may be kept at the same time: whoever sends them is known only once they are there.
static PLACES: Semaphore = Semaphore::const_new(64);
/// The region that AWS's tools sign for IAM with, wherever they are.
const GLOBAL: &str = "us-east-1";
/// Where MinIO's administrative API is, by its versions.
const MINIO: [&str; 2] = ["/minio/admin/v3/", "/minio/admin/v4/"];

/// Where our own is, by its versions: no bucket can be called so.
const OURS: &str = "/_ninefold/";

/// One of these requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ask {
    /// IAM's and STS's: the action is a parameter.
    Query,
    /// MinIO's: what is behind the version in the path.
    Minio(String),
    /// Ours, in JSON: what is behind the version in the path; empty if there is no such version.
    Json(String),
}

/// Which of the APIs it is, for how errors are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dialect {
    Iam,
    Sts,
    Minio,
    Json,
}

impl Ask {
    /// What is asked for, if it is one of these; S3 has no POST to `/`, and no parameter `Action`.
    pub(super) fn of(parts: &Parts) -> Option<Self> {
        let path = parts.uri.path();
        if let Some(action) = MINIO.iter().find_map(|prefix| path.strip_prefix(prefix)) {
            return Some(Self::Minio(action.to_owned()));
        }
        if path.starts_with(OURS) {
            return Some(Self::Json(path.strip_prefix(json::PREFIX).unwrap_or_default().to_owned()));
        }
        let text = |name| parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let has_action =
            || parts.uri.query().is_some_and(|query| query.split('&').any(|one| one.starts_with("Action=")));
        let is_for = |service: &str| text(header::AUTHORIZATION).contains(&format!("/{service}/aws4_request"));
        let is_form = || text(header::CONTENT_TYPE).starts_with("application/x-www-form-urlencoded");
        let asks = match parts.method {
            Method::POST => is_form() || is_for("iam") || is_for("sts") || has_action(),
            Method::GET => has_action(),
            _ => false,
        };
        (path == "/" && asks).then_some(Self::Query)
    }
}

impl Inner {
    /// Answers one of these requests; errors are answers, too, in the words of the API that was asked.
    pub(super) async fn administer<B>(
        &self,
        ask: &Ask,
        parts: &Parts,
        body: B,
        asked: &Asked,
        watch: &BodyWatch,
    ) -> Result<Response<s3s::Body>, Refusal>
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
    {
        let place = PLACES.try_acquire().map_err(|_| Refusal::slow_down(1))?;
        let slow = |_| Err(watch.broken(BodyFault::TimedOut).0.refusal());
        let body = tokio::time::timeout(ARRIVAL, self.read(body, watch)).await.unwrap_or_else(slow)?;
        let answer = match ask {
            Ask::Query => self.query_protocol(parts, &body, asked).await,
            Ask::Minio(action) => {
                let answered = self.minio_protocol(action, parts, body, asked).await;
                answered.unwrap_or_else(|refused| refused.answer(Dialect::Minio, asked))
            }
            Ask::Json(path) => {
                let answered = self.json_protocol(path, parts, &body).await;
                let mut answer = answered.unwrap_or_else(|refused| refused.answer(Dialect::Json, asked));
                if answer.status() == StatusCode::METHOD_NOT_ALLOWED
                    && let Ok(methods) = HeaderValue::try_from(json::allowed(path).join(", "))
                {
                    answer.headers_mut().insert(header::ALLOW, methods);
                }
                answer
            }
        };
        drop(place);
        Ok(answer)
    }

    /// All of a body.
    async fn read<B>(&self, body: B, watch: &BodyWatch) -> Result<Bytes, Refusal>
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
    {
        let mut body = Watching::new(body, watch.clone(), self.silence, Announced::default());
        let mut gathered = BytesMut::new();
        while let Some(data) = next_data(&mut body).await {
            gathered.extend_from_slice(&data.map_err(|broken| broken.0.refusal())?);
            if gathered.len() > BODY {
                return Err(watch.broken(BodyFault::TooLarge).0.refusal());
            }
        }
        Ok(gathered.freeze())
    }

    async fn query_protocol(&self, parts: &Parts, body: &[u8], asked: &Asked) -> Response<s3s::Body> {
        let mut params = Params::default();
        let added = params.add(parts.uri.query().unwrap_or_default().as_bytes());
        let added = added.and_then(|()| if is_form(parts) { params.add(body) } else { Ok(()) });
        let version = params.get("Version").unwrap_or_default();
        let dialect = if version == iam::VERSION { Dialect::Iam } else { Dialect::Sts };
        let answered = async {
            added?;
            let query = Query::parse(parts.uri.query()).map_err(|_| unreadable("the query string cannot be read"))?;
            let claims = Claims::parse(&parts.headers, &query)?;
            let action = params.get("Action").unwrap_or_default();
            note(parts, |noted| noted.operation(action));
            let service = if dialect == Dialect::Iam { "iam" } else { "sts" };
            let call = match claims {
                Some(claims) => self.call(parts, &query, &claims, body, service)?,
                None => {
                    sts::unsigned(&params)?;
                    self.call_of(parts, Arc::new(Key::new(Identity::anonymous(), Secret::new(""))))
                }
            };
            match dialect {
                _ if ![iam::VERSION, sts::VERSION].contains(&version) => {
                    Err(Refused::from(iam::unknown(action, version)))
                }
                Dialect::Iam => Ok(self.admin.iam(&call, &params, asked.id.as_str()).await?),
                _ => Ok(self.admin.sts(&call, &params, asked.id.as_str()).await?),
            }
        };
        match answered.await {
            Ok(xml) => response(StatusCode::OK, "text/xml", xml.into()),
            Err(refused) => refused.answer(dialect, asked),
        }
    }

    async fn minio_protocol(
        &self,
        action: &str,
        parts: &Parts,
        body: Bytes,
        asked: &Asked,
    ) -> Result<Response<s3s::Body>, Refused> {
        let query = Query::parse_lists(parts.uri.query()).map_err(|_| unreadable("the query string cannot be read"))?;
        let claims = Claims::parse(&parts.headers, &query)?.ok_or(Refused::Anonymous)?;
        note(parts, |noted| noted.operation(action));
        let call = self.call(parts, &query, &claims, &body, "s3")?;
        if parts.method == Method::GET && action == "info" {
            self.admin.may_read_info(&call)?;
            let info = self.info(parts).await.to_string();
            return Ok(response(StatusCode::OK, "application/json", info.into()));
        }
        tracing::debug!(action, request_id = %asked.id, "administration");
        let request = minio::Request { method: &parts.method, action, query: &query, body: body.into() };
        let answer = self.admin.minio(&call, request).await?;
        Ok(response(answer.status, "application/json", answer.body.into()))
    }

    async fn json_protocol(&self, path: &str, parts: &Parts, body: &[u8]) -> Result<Response<s3s::Body>, Refused> {
        if path == "openapi.json" && matches!(parts.method, Method::GET | Method::HEAD) {
            return Ok(response(StatusCode::OK, "application/json", json::document().into()));
        }
        let query = Query::parse(parts.uri.query()).map_err(|_| unreadable("the query string cannot be read"))?;
        let claims = Claims::parse(&parts.headers, &query)?.ok_or(Refused::Anonymous)?;
        let call = self.call(parts, &query, &claims, body, "s3")?;
        let content_type = parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let request = json::Request { method: &parts.method, path, query: &query, content_type, body, counts: self };
        let answer = self.admin.json(&call, request).await?;
        Ok(response(answer.status, "application/json", answer.body.into()))
    }

    /// Who asks.
    fn call(
        &self,
        parts: &Parts,
        query: &Query,
        claims: &Claims,
        body: &[u8],
        service: &'static str,
    ) -> Result<Call, Refused> {
        if claims.version2 {
            return Err(ClaimError::Version2.into());
        }
        // MinIO's clients sign for no region at all.
        let is_region = claims.region.is_empty() || claims.region == GLOBAL || self.region.accepts(&claims.region);
        if claims.service != service || !is_region {
            return Err(Refused::Scope(service));
        }
        let key = sigv4::verify(parts, query, claims, body, &self.directory)?;
        if let Some(passage) = parts.extensions.get::<Passage>() {
            passage.charge_key(&claims.access_key)?;
        }
        if !key.temporary {
            self.directory.note_use(&claims.access_key);
        }
        Ok(self.call_of(parts, key))
    }

    /// The same with the key known.
    fn call_of(&self, parts: &Parts, key: Arc<Key>) -> Call {
        let mut context = Context::default();
        let (peer, tls) = (parts.extensions.get::<Peer>().copied(), parts.extensions.get::<OverTls>());
        add_general(&mut context, &parts.headers, peer, tls, self.directory.now());
        note(parts, |noted| noted.requester(&key.identity));
        let noted = parts.extensions.get::<Noted>().cloned();
        Call { key, context, noted }
    }

    /// `InfoMessage` of madmin-go's `info-commands.go`: what is known of it here.
    async fn info(&self, parts: &Parts) -> Value {
        let (drives, usage) = (self.health.drives(), tokio::time::timeout(PATIENCE, self.health.usage()).await);
        let is_ready = Readiness::within(PATIENCE, &*self.health).await.is_ready();
        let online = drives.iter().filter(|drive| drive.online).count();
        let server = self.health.server();
        let disks = drives.iter().enumerate().map(|(number, drive)| {
            json!({
                "endpoint": drive.name, "path": drive.name, "state": if drive.online { "ok" } else { "offline" },
                "totalspace": drive.capacity, "usedspace": drive.used, "availspace": drive.free(),
                "pool_index": 0, "set_index": 0, "disk_index": number,
            })
        });
        let mut info = json!({
            "mode": if is_ready { "online" } else { "offline" },
            "region": self.region.name(),
            "backend": {
                "backendType": "Erasure", "onlineDisks": online, "offlineDisks": drives.len() - online,
                "standardSCParity": PARITY_SHARDS, "rrSCParity": PARITY_SHARDS,
                "totalSets": [1], "totalDrivesPerSet": [drives.len().max(SHARDS)],
            },
            "servers": [{
                "state": "online", "endpoint": server, "scheme": OverTls::scheme(&parts.extensions),
                "uptime": self.counters.since.elapsed().as_secs(), "version": concat!("ninefold ", env!("CARGO_PKG_VERSION")),
                "network": {server: "online"}, "drives": disks.collect::<Vec<_>>(),
                "poolNumber": 1, "poolNumbers": [1],
            }],
        });
        if let Ok(Some(usage)) = usage {
            let sum = |of: fn(&crate::metadata::BucketUsage) -> u64| {
                usage.buckets.iter().map(of).fold(0, u64::saturating_add)
            };
            let (objects, versions) = (sum(|bucket| bucket.objects), sum(|bucket| bucket.versions));
            let (markers, bytes) = (sum(|bucket| bucket.markers), sum(|bucket| bucket.bytes));
            let capacity = |of: fn(&super::Drive) -> u64| drives.iter().map(of).fold(0, u64::saturating_add);
            info["buckets"] = json!({"count": usage.buckets.len()});
            info["objects"] = json!({"count": objects});
            info["versions"] = json!({"count": versions});
            info["deletemarkers"] = json!({"count": markers});
            info["usage"] = json!({"size": bytes});
            info["pools"] = json!({"0": {"0": {
                "id": 0, "rawUsage": capacity(|drive| drive.used), "rawCapacity": capacity(|drive| drive.capacity),
                "usage": bytes, "objectsCount": objects, "versionsCount": versions, "deleteMarkersCount": markers,
                "healDisks": 0, "onlineDisks": online, "offlineDisks": drives.len() - online,
            }}});
        }
        info
    }
}

/// Has something noted of a request, if it is written down.
fn note(parts: &Parts, note: impl FnOnce(&Noted)) {
    if let Some(noted) = parts.extensions.get::<Noted>() {
        note(noted);
    }
}

impl json::Counts for Inner {
    fn usage(&self) -> BoxFuture<'_, Option<view::Usage>> {
        let counted = async {
            let usage = tokio::time::timeout(PATIENCE, self.health.usage()).await.ok()??;
            let buckets = usage.buckets.iter().map(BucketUsage::from).collect();
            Some(view::Usage { age_ms: u64::try_from(usage.age.as_millis()).unwrap_or(u64::MAX), buckets })
        };
        counted.boxed()
    }
}

fn is_form(parts: &Parts) -> bool {
    let kind = parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    kind.is_none_or(|kind| kind.starts_with("application/x-www-form-urlencoded"))
}

fn unreadable(what: &'static str) -> Refused {
    Refused::Unreadable(what)
}

fn response(status: StatusCode, kind: &'static str, body: Bytes) -> Response<s3s::Body> {
    let mut response = Response::new(s3s::Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// What is wrong, as our own API says it.
fn details(status: StatusCode, code: &str, message: &str, asked: &Asked) -> Response<s3s::Body> {
    let details = json::Details {
        title: status.canonical_reason().unwrap_or_default(),
        status: status.as_u16(),
        detail: message,
        instance: &asked.resource,
        code,
        request_id: asked.id.as_str(),
    };
    response(status, json::PROBLEM, serde_json::to_vec(&details).unwrap_or_default().into())
}

/// The answer to one of these requests that never came to be asked for anything.
pub(super) fn refuse(ask: &Ask, refusal: &Refusal, asked: &Asked, host_id: &HeaderValue) -> Response<s3s::Body> {
    if !matches!(ask, Ask::Json(_)) {
        return answer::refuse(refusal, asked, host_id);
    }
    let mut response = details(refusal.status, &refusal.code, refusal.message(), asked);
    refusal.put_headers(response.headers_mut());
    response.extensions_mut().insert(ErrorCode(refusal.code.clone()));
    response
}

/// Why one of these requests was refused.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("Request is missing Authentication Token")]
    Anonymous,
    #[error("{0}")]
    Unreadable(&'static str),
    #[error(transparent)]
    Claim(#[from] ClaimError),
    #[error("Credential should be scoped to a valid region and to the service '{0}'.")]
    Scope(&'static str),
    #[error(transparent)]
    Signature(#[from] SignatureError),
    #[error("Please reduce your request rate.")]
    TooFast(#[from] Over),
    #[error(transparent)]
    Problem(#[from] Problem),
}

impl Refused {
    /// Status and code, as AWS's "Common Errors" of IAM and STS have them, and as S3 and MinIO do.
    fn named(&self, dialect: Dialect) -> (StatusCode, Cow<'static, str>) {
        let of_aws = matches!(dialect, Dialect::Iam | Dialect::Sts);
        let forbidden = StatusCode::FORBIDDEN;
        match self {
            Self::Anonymous if of_aws => (forbidden, "MissingAuthenticationToken".into()),
            Self::Anonymous => (forbidden, "AccessDenied".into()),
            Self::Unreadable(_) => (StatusCode::BAD_REQUEST, "InvalidQueryParameter".into()),
            Self::Claim(_) if of_aws => (StatusCode::BAD_REQUEST, "IncompleteSignature".into()),
            Self::Claim(error) => (error.status(), error.code().into()),
            Self::Scope(_) => (forbidden, "SignatureDoesNotMatch".into()),
            Self::TooFast(_) => (StatusCode::SERVICE_UNAVAILABLE, "SlowDown".into()),
            Self::Signature(error) => {
                use crate::access::KeyError;
                match error {
                    SignatureError::Key(KeyError::Unknown | KeyError::Token) if of_aws => {
                        (forbidden, "InvalidClientTokenId".into())
                    }
                    SignatureError::Key(KeyError::Expired) if of_aws => (forbidden, "ExpiredToken".into()),
                    SignatureError::Key(error) => (error.status(), error.code().into()),
                    SignatureError::Skewed if !of_aws => (forbidden, "RequestTimeTooSkewed".into()),
                    SignatureError::NotSigned(_) if !of_aws => (forbidden, "AccessDenied".into()),
                    SignatureError::Body if !of_aws => (StatusCode::BAD_REQUEST, "XAmzContentSHA256Mismatch".into()),
                    _ => (forbidden, "SignatureDoesNotMatch".into()),
                }
            }
            Self::Problem(problem) if of_aws => iam::named(problem),
            Self::Problem(problem) if dialect == Dialect::Json => json::named(problem),
            Self::Problem(problem) => minio::named(problem),
        }
    }

    fn answer(&self, dialect: Dialect, asked: &Asked) -> Response<s3s::Body> {
        let (status, code) = self.named(dialect);
        let message = match self {
            Self::Signature(SignatureError::Key(_)) if matches!(dialect, Dialect::Iam | Dialect::Sts) => {
                "The security token included in the request is invalid or expired".to_owned()
            }
            _ if status == StatusCode::INTERNAL_SERVER_ERROR => {
                "We encountered an internal error. Please try again.".to_owned()
            }
            other => other.to_string(),
        };
        let id = asked.id.as_str();
        let mut response = match dialect {
            Dialect::Iam => response(status, "text/xml", iam::error(status, &code, &message, id).into()),
            Dialect::Sts => response(status, "text/xml", sts::error(status, &code, &message, id).into()),
            Dialect::Minio => {
                let error = json!({
                    "Code": code, "Message": message, "Resource": asked.resource, "RequestId": id, "HostId": "",
                });
                response(status, "application/json", error.to_string().into())
            }
            Dialect::Json => details(status, &code, &message, asked),
        };
        if let Self::TooFast(over) = self {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(over.retry_after()));
        }
        response.extensions_mut().insert(ErrorCode(code));
        response
    }
}
