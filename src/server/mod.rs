//! HTTP: connections, and what `s3s` leaves to the server around it.
//!
//! The way of a request through [`Gateway::call`]:
//!
//! ```text
//! connection   accept, TLS, limits, time-outs                   serve, tls, connection
//!  └ id, log   an id for log and client; one line at the end    request_id, access_log
//!     └ health   /health, /minio/health, /minio/v2/metrics      health, minio (which counts the others, too)
//!        └ screen   method, host, path, query, scope            screen, access::claims
//!           └ lengths   how the body is framed; too large       lengths
//!              └ body   silence, digests, chunks, spool         body, document, aws_chunked, spool
//!                 └ s3s   signature → s3::guard → operation
//!              answer   the error's XML, the status             answer, refusal
//!     └ panic   is an InternalError
//! ```

mod access_log;
mod answer;
mod aws_chunked;
mod body;
mod connection;
mod document;
mod health;
mod lengths;
mod minio;
mod refusal;
mod request_id;
mod screen;
mod serve;
mod spool;
mod tls;

use std::borrow::Cow;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use bytes::Bytes;
use futures_util::FutureExt as _;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header};
use http_body::Body;
use percent_encoding::percent_decode_str;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{S3Error, S3ErrorCode};
use tracing::Instrument as _;

use crate::access::Credentials;
use crate::clock::random_bytes;
use crate::s3::auth::Auth;
use crate::s3::guard::Guard;
use crate::s3::host::Domains;
use access_log::Entry;
use answer::Asked;
use aws_chunked::Reframed;
use body::Watching;
use lengths::Framing;
use minio::{Api, Counters, Counting, Scope};
use request_id::RequestIds;
use spool::Spool;

pub use access_log::{LoggedBody, TARGET as ACCESS_LOG};
pub use body::{BodyFault, BodyWatch, BrokenBody};
pub use health::{ClusterState, Drive, Health, Readiness, Spare, Usage};
pub use refusal::{ErrorDetails, Refusal, StatusOverride};
pub use request_id::RequestId;
pub use serve::{Limits, Listener, run};
pub use tls::{PinnedCertificate, Tls, TlsError, TlsFiles};

/// Where a request comes from. In the extensions of every request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer(pub SocketAddr);

/// In the extensions of a request that came over TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OverTls;

/// Headers that a presigned URL's signed parameters stand for. In the extensions of every request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HoistedHeaders(pub Vec<HeaderName>);

/// In the extensions of a request that said nothing about a body's length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LengthUnknown;

/// In the extensions of a request that is only to be checked: [`Guard`] answers it with [`Preflight::passed`] where it
/// would have let it through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Preflight;

static PASSED: HeaderName = HeaderName::from_static("x-ninefold-preflight");

impl Preflight {
    /// What says that a request would have been let through.
    pub fn passed() -> S3Error {
        let mut error = S3Error::new(S3ErrorCode::InternalError);
        let mut headers = HeaderMap::new();
        headers.insert(PASSED.clone(), HeaderValue::from_static("passed"));
        error.set_headers(headers);
        error
    }
}

/// What the gateway needs to know.
#[derive(Debug, Clone)]
pub struct GatewayConfig {
    /// The region that requests must be signed for.
    pub region: String,
    /// The domains whose sub-domains are buckets.
    pub domains: Domains,
    /// An existing directory for bodies of unknown length.
    pub spool: PathBuf,
    /// How long a client may send nothing of a body.
    pub silence: Duration,
}

/// All of S3 over HTTP, less the connections. Cheap to clone.
#[derive(Clone)]
pub struct Gateway(Arc<Inner>);

struct Inner {
    s3: S3Service,
    health: Arc<dyn Health>,
    credentials: Credentials,
    counters: Arc<Counters>,
    region: String,
    domains: Domains,
    spool: Spool,
    silence: Duration,
    ids: RequestIds,
    /// `x-amz-id-2`: which process answered.
    host_id: HeaderValue,
}

impl Gateway {
    /// Puts the guards around the operations in `s3`, whose authentication, access check and hosts are set here.
    pub fn new(
        mut s3: S3ServiceBuilder,
        credentials: Credentials,
        health: Arc<dyn Health>,
        config: GatewayConfig,
    ) -> Self {
        s3.set_auth(Auth(credentials.clone()));
        s3.set_access(Guard::new(credentials.clone(), config.region.clone()));
        s3.set_host(config.domains.clone());
        let host_id = base64::engine::general_purpose::STANDARD.encode(random_bytes::<42>());
        Self(Arc::new(Inner {
            s3: s3.build(),
            health,
            credentials,
            counters: Arc::default(),
            region: config.region,
            domains: config.domains,
            spool: Spool::new(config.spool),
            silence: config.silence,
            ids: RequestIds::new(),
            host_id: HeaderValue::try_from(host_id).unwrap_or_else(|_| HeaderValue::from_static("ninefold")),
        }))
    }

    /// Answers one request.
    pub async fn call<B>(&self, request: Request<B>, peer: SocketAddr) -> Response<LoggedBody>
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
    {
        let started = Instant::now();
        let inner = &*self.0;
        let id = inner.ids.next();
        let watch = BodyWatch::default();
        let (mut parts, body) = request.into_parts();
        let asked = Asked {
            method: parts.method.clone(),
            resource: percent_decode_str(parts.uri.path()).decode_utf8_lossy().into_owned(),
            attributes: parts
                .uri
                .query()
                .is_some_and(|query| query.split('&').any(|piece| piece.split('=').next() == Some("attributes"))),
            id,
        };
        let path = parts.uri.path().to_owned();
        let aside = inner.aside(&parts);
        // Who asks how we are is not one of those whom we serve.
        let counting = aside.is_none().then(|| Counting::begin(&inner.counters, inner.api(&parts)));
        let entry = Entry { id, method: parts.method.clone(), path, peer, started, watch: watch.clone(), counting };
        parts.extensions.insert(id);
        parts.extensions.insert(Peer(peer));
        parts.extensions.insert(watch.clone());
        let span = tracing::info_span!("request", request_id = %id);
        let answering = async {
            match aside {
                Some(Aside::Health(ask)) => Ok(health::answer(ask, &*inner.health).await),
                Some(Aside::Minio(ask)) => {
                    minio::answer(ask, &parts.headers, &*inner.health, &inner.credentials, &inner.counters).await
                }
                None => inner.answer(parts, body, &asked, &watch).await,
            }
        };
        let answered = AssertUnwindSafe(answering).catch_unwind();
        let response = match answered.instrument(span.clone()).await {
            Ok(Ok(response)) => response,
            Ok(Err(refusal)) => answer::refuse(&refusal, &asked, &inner.host_id),
            Err(_) => {
                // The panic's own message has gone to standard error by the panic hook.
                tracing::error!(parent: &span, "an operation panicked");
                let refusal = Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalError");
                answer::refuse(&refusal, &asked, &inner.host_id)
            }
        };
        let mut response = answer::seal(response, &asked, &inner.host_id);
        let status = response.status();
        if let Some(counting) = &entry.counting {
            let code = response.extensions_mut().remove::<ErrorCode>();
            counting.answered(status, code.as_ref().map(|code| &*code.0), started.elapsed());
        }
        response.map(|body| LoggedBody::new(body, entry, status, span))
    }
}

impl Inner {
    async fn answer<B>(
        &self,
        mut parts: Parts,
        body: B,
        asked: &Asked,
        watch: &BodyWatch,
    ) -> Result<Response<s3s::Body>, Refusal>
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
    {
        let (query, claims) = screen::screen(&parts, &self.region)?;
        screen::hoist(&mut parts, &query, claims.as_ref())?;
        let exact = body.size_hint().exact();
        let of_object = self.is_of_object(&parts);
        let plan = lengths::plan(&mut parts, of_object, &query, claims.as_ref(), exact)?;
        let body = Watching::new(body, watch.clone(), self.silence, plan.announced);
        let body = match plan.framing {
            Framing::AwsChunked { signed, decoded } => {
                s3s::Body::http_body_unsync(Reframed::new(body, watch.clone(), signed, decoded))
            }
            // Nobody's body is kept before it is known that the request would be let through.
            Framing::Uncounted => match self.refused(&parts).await {
                Some(response) => return Ok(answer::complete(response, asked, watch, &self.host_id)),
                None => {
                    let (body, len) = self.spool.keep(body, plan.limit, watch).await?;
                    parts.headers.remove(header::TRANSFER_ENCODING);
                    parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(len));
                    body
                }
            },
            Framing::Plain => s3s::Body::http_body_unsync(body),
        };
        let response = self.call_s3(Request::from_parts(parts, body)).await;
        Ok(answer::complete(response, asked, watch, &self.host_id))
    }

    /// The answer to a request that would not get as far as its operation.
    async fn refused(&self, parts: &Parts) -> Option<Response<s3s::Body>> {
        let mut request = Request::from_parts(parts.clone(), s3s::Body::empty());
        request.headers_mut().remove(header::TRANSFER_ENCODING);
        request.extensions_mut().insert(Preflight);
        let response = self.call_s3(request).await;
        (!response.headers().contains_key(&PASSED)).then_some(response)
    }

    async fn call_s3(&self, request: Request<s3s::Body>) -> Response<s3s::Body> {
        self.s3.call(request).await.unwrap_or_else(|error| {
            tracing::error!(?error, "s3s could not write an answer");
            // An error without a code becomes an InternalError.
            let mut response = Response::new(s3s::Body::from(Bytes::from_static(b"<?xml?><Error/>")));
            *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            response
        })
    }

    /// Whether the request is for an object, rather than a bucket or all of them.
    fn is_of_object(&self, parts: &Parts) -> bool {
        let path = parts.uri.path();
        if self.host_names_bucket(parts) { !matches!(path, "" | "/") } else { asked_key(path) }
    }

    fn host_names_bucket(&self, parts: &Parts) -> bool {
        let host = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let host = host.or_else(|| parts.uri.authority().map(http::uri::Authority::as_str));
        host.and_then(|host| self.domains.bucket(host)).is_some()
    }

    /// What is asked beside S3, if it is that.
    fn aside(&self, parts: &Parts) -> Option<Aside> {
        let (method, path, query) = (&parts.method, parts.uri.path(), parts.uri.query());
        if !path.starts_with("/health/") && !path.starts_with("/minio/") || self.host_names_bucket(parts) {
            return None;
        }
        let signed = is_signed_for_s3(&parts.headers, query);
        let health = health::Ask::of(method, path, query, signed).map(Aside::Health);
        health.or_else(|| minio::Ask::of(method, path, query, signed).map(Aside::Minio))
    }

    /// The operation that is asked for, for the metrics.
    fn api(&self, parts: &Parts) -> Option<Api> {
        let scope = match parts.uri.path() {
            _ if self.is_of_object(parts) => Scope::Object,
            "" | "/" if !self.host_names_bucket(parts) => Scope::Service,
            _ => Scope::Bucket,
        };
        Api::of(&parts.method, scope, parts.uri.query().unwrap_or_default(), &parts.headers)
    }
}

/// A request that is answered without S3.
#[derive(Debug, Clone, Copy)]
enum Aside {
    Health(health::Ask),
    Minio(minio::Ask),
}

/// The code of an error, in the extensions of its answer until it is counted.
#[derive(Debug, Clone)]
struct ErrorCode(Cow<'static, str>);

/// Whether a request has a signature of S3, of either version, whatever it is worth.
fn is_signed_for_s3(headers: &HeaderMap, query: Option<&str>) -> bool {
    let header = headers.get(header::AUTHORIZATION).is_some_and(|value| value.as_bytes().starts_with(b"AWS"));
    let names = || query.unwrap_or_default().split('&').map(|piece| piece.split('=').next().unwrap_or_default());
    header || names().any(|name| matches!(name, "X-Amz-Signature" | "X-Amz-Credential" | "Signature"))
}

/// Whether a path-style path has a key behind the bucket. `%2F` counts as the slash it is decoded to.
fn asked_key(path: &str) -> bool {
    let path = percent_decode_str(path).decode_utf8_lossy();
    let path = path.strip_prefix('/').unwrap_or(&path);
    path.split_once('/').is_some_and(|(_, key)| !key.is_empty())
}

/// A small JSON answer.
fn json(status: StatusCode, value: &serde_json::Value) -> Response<s3s::Body> {
    let mut response = Response::new(s3s::Body::from(value.to_string()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
