//! HTTP: connections, and what `s3s` leaves to the server around it.
//!
//! The way of a request through [`Gateway::call`]:
//!
//! ```text
//! connection   accept, TLS, limits, time-outs                         serve, tls, connection, streams
//!  └ id, log   an id for log and client; one line at the end, one in
//!              the log of the bucket, and one in the audit log        request_id, access_log, bucket_log, audit, noted
//!     └ way      whose answer it is; S3's and pages' are counted      minio::count, target
//!        ├ limits   503 for who goes too fast, and where too much runs   crate::limits
//!        ├ health   /health, /minio/health, /minio/v2/metrics         health, minio
//!        ├ admin    IAM and STS at /, /minio/admin, /_ninefold        admin, access::sigv4
//!        └ cors     preflights; headers for pages of other origins    cors, target, buckets
//!           ├ website   under hosts of websites: pages for anybody,
//!           │           which it reads from s3s                      website
//!           └ screen   method, host, path, query, scope               screen, access::claims
//!              ├ mend      headers that cannot be read are ignored    mend, access::sigv4
//!              ├ form      an upload by form becomes a PutObject    post, form, access::form, s3::post
//!              └ lengths   how the body is framed; too large          lengths
//!                 └ body   silence, digests, chunks, spool            body, document, aws_chunked, spool
//!                    └ s3s   signature → s3::guard → operation
//!                 answer   the error's XML, the status                answer, refusal
//!        └ panic   is an InternalError
//! ```

mod access_log;
mod admin;
mod answer;
mod audit;
mod aws_chunked;
mod body;
mod bucket_log;
mod buckets;
mod connection;
mod cors;
mod described;
mod document;
mod form;
mod health;
mod lengths;
mod mend;
mod minio;
mod noted;
mod post;
mod refusal;
mod request_id;
mod screen;
mod serve;
mod spool;
mod streams;
mod target;
mod tls;
mod version_order;
mod website;

use std::borrow::Cow;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use base64::Engine as _;
use bytes::Bytes;
use futures_util::FutureExt as _;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version, header};
use http_body::Body;
use percent_encoding::percent_decode_str;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{S3Error, S3ErrorCode};
use tracing::Instrument as _;

use crate::access::claims::Region;
use crate::access::form::FormAccess;
use crate::access::version2;
use crate::access::{Directory, Resources};
use crate::admin::Admin;
use crate::audit::Audit;
use crate::bucket_logs::BucketLogs;
use crate::clock::{Clock, random_bytes};
use crate::limits::{Limit, Limiter, Over, Passage};
use crate::oidc::Oidc;
use crate::s3::auth::Auth;
use crate::s3::guard::Guard;
use crate::s3::host::Domains;
use access_log::Entry;
use answer::Asked;
use audit::AuditDraft;
use aws_chunked::Reframed;
use body::Watching;
use bucket_log::Draft;
use cors::CrossOrigin;
use lengths::Framing;
use minio::{Api, Counters, Counting, Scope};
use request_id::RequestIds;
use spool::Spool;
use target::Target;

pub use access_log::{LoggedBody, TARGET as ACCESS_LOG};
pub use body::{BodyFault, BodyWatch, BrokenBody};
pub use buckets::Buckets;
pub use described::Descriptions;
pub use health::{ClusterState, Drive, Health, Readiness, Spare, Usage};
pub use noted::{Noted, NotedDelete, NotedSource};
pub use refusal::{ErrorDetails, Refusal, StatusOverride, element};
pub use request_id::RequestId;
pub use serve::{Limits, Listener, run};
pub use tls::{
    AcmeConfig, ClientAuth, ClientCertificate, ClientCertificates, LETS_ENCRYPT, PinnedCertificate, Tls, TlsConfig,
    TlsError, TlsFiles, TlsVersion,
};
pub use version_order::VersionOrder;
pub use website::WebsiteRead;

/// Memory that a GET takes at most: stripes of 1 MiB that are read ahead, and the one that is sent.
const READ_AHEAD: u64 = 4 << 20;

/// Memory that a query takes, but for records with very many values.
const QUERY: u64 = 4 << 20;

/// Where a request comes from. In the extensions of every request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer(pub SocketAddr);

/// In the extensions of a request that came over TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OverTls {
    /// `TLSv1.2` or `TLSv1.3`
    pub version: &'static str,
    /// The cipher suite, as OpenSSL calls it.
    pub cipher: Arc<str>,
}

impl OverTls {
    /// The scheme of the address that a request with these extensions was sent to.
    pub fn scheme(extensions: &http::Extensions) -> &'static str {
        if extensions.get::<Self>().is_some() { "https" } else { "http" }
    }
}

/// Headers that a presigned URL's signed parameters stand for. In the extensions of every request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HoistedHeaders(pub Vec<HeaderName>);

/// In the extensions of a request whose signature of version 2 was verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version2Verified;

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
    pub region: Region,
    /// The domains whose sub-domains are buckets.
    pub domains: Domains,
    /// The domains whose sub-domains are buckets as websites.
    pub websites: Domains,
    /// An existing directory for bodies of unknown length.
    pub spool: PathBuf,
    /// How long a client may send nothing of a body.
    pub silence: Duration,
    /// Whether signature version 2 counts.
    pub allow_sigv2: bool,
    /// What lets requests in.
    pub limiter: Limiter,
    /// Where every request is written down, if it is.
    pub audit: Option<Audit>,
    /// The identity providers.
    pub oidc: Oidc,
}

/// All of S3 over HTTP, less the connections. Cheap to clone.
#[derive(Clone)]
pub struct Gateway {
    inner: Arc<Inner>,
    websites_only: bool,
    logs: Option<BucketLogs>,
}

struct Inner {
    s3: S3Service,
    health: Arc<dyn Health>,
    buckets: Arc<dyn Buckets>,
    directory: Directory,
    admin: Admin,
    counters: Arc<Counters>,
    limiter: Limiter,
    region: Region,
    domains: Domains,
    websites: Domains,
    forms: FormAccess,
    spool: Spool,
    silence: Duration,
    audit: Option<Audit>,
    ids: RequestIds,
    /// Whose certificates are told of in metrics.
    tls: OnceLock<Arc<Tls>>,
    /// `x-amz-id-2`: which process answered.
    host_id: HeaderValue,
}

impl Gateway {
    /// Puts the guards around the operations in `s3`, whose authentication, access check and hosts are set here.
    pub fn new(
        mut s3: S3ServiceBuilder,
        directory: Directory,
        health: Arc<dyn Health>,
        buckets: Arc<dyn Buckets>,
        config: GatewayConfig,
    ) -> Self {
        s3.set_auth(Auth(directory.clone()));
        s3.set_access(Guard::new(directory.clone(), config.region.clone(), Arc::clone(&buckets) as Arc<dyn Resources>));
        s3.set_host(config.domains.clone());
        let host_id = base64::engine::general_purpose::STANDARD.encode(random_bytes::<42>());
        let inner = Arc::new(Inner {
            s3: s3.build(),
            health,
            buckets,
            directory: directory.clone(),
            admin: Admin::new(directory.clone(), config.oidc),
            counters: Arc::new(Counters::new(config.limiter.clone())),
            limiter: config.limiter,
            forms: FormAccess { directory, region: config.region.clone(), version2: config.allow_sigv2 },
            region: config.region,
            domains: config.domains,
            websites: config.websites,
            spool: Spool::new(config.spool),
            silence: config.silence,
            audit: config.audit,
            ids: RequestIds::new(),
            tls: OnceLock::new(),
            host_id: HeaderValue::try_from(host_id).unwrap_or_else(|_| HeaderValue::from_static("ninefold")),
        });
        Self { inner, websites_only: false, logs: None }
    }

    /// The same, where every request is for the website of the bucket that its host names.
    pub fn websites(&self) -> Self {
        Self { websites_only: true, ..self.clone() }
    }

    /// The same, where requests are written into the logs of their buckets.
    pub fn logging_to(self, logs: BucketLogs) -> Self {
        Self { logs: Some(logs), ..self }
    }

    /// Has metrics tell until when these certificates hold; those that are told first stay.
    pub fn telling_of(self, tls: Arc<Tls>) -> Self {
        self.inner.tls.get_or_init(|| tls);
        self
    }

    /// Answers one request.
    pub async fn call<B>(&self, request: Request<B>, peer: SocketAddr) -> Response<LoggedBody>
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
    {
        self.call_unless(None, request, peer).await
    }

    /// Answers a request that came over a connection for which there is no room.
    async fn turn_away<B>(&self, limit: Limit, request: Request<B>, peer: SocketAddr) -> Response<LoggedBody>
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
    {
        let over = self.inner.limiter.refuse(limit, Duration::from_secs(1));
        let version = request.version();
        let mut response = self.call_unless(Some(over), request, peer).await;
        if version < Version::HTTP_2 {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    /// Answers one request; where there is something `over` its limit already, with that.
    async fn call_unless<B>(&self, over: Option<Over>, request: Request<B>, peer: SocketAddr) -> Response<LoggedBody>
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
    {
        let started = Instant::now();
        let inner = &*self.inner;
        let id = inner.ids.next();
        let (mut parts, body) = request.into_parts();
        let has_body = !body.is_end_stream();
        let version = parts.version;
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
        let way = inner.way(&parts, self.websites_only);
        let counting = way.count(&parts, &inner.counters);
        // Who asks how we are is told so, however much there is to do.
        let admitted = match (over, &way) {
            (Some(over), _) => Err(over),
            (None, Way::Health(_) | Way::Minio(_)) => Ok(None),
            (None, Way::Admin(_) | Way::Website(..) | Way::S3(_)) => inner.limiter.admit(peer.ip()).map(Some),
        };
        let watch = BodyWatch::charging(admitted.as_ref().ok().cloned().flatten());
        let (audit, logs) = (inner.audit.as_ref(), self.logs.as_ref().filter(|logs| Draft::may_be_of(logs, &parts)));
        let noted = (audit.is_some() || logs.is_some()).then(|| Noted::new(audit.is_some()));
        let draft = logs.zip(noted.as_ref()).and_then(|(logs, noted)| {
            let is_site = matches!(way, Way::Website(..));
            Draft::of(logs, &parts, way.target()?, is_site, peer, (id, started), noted)
        });
        let audit = audit.zip(noted.as_ref());
        let audit = audit.and_then(|(audit, noted)| {
            let to = (audit, &inner.directory);
            AuditDraft::of(to, &parts, &way, peer, (id, started), (noted, &watch))
        });
        let mut entry = Entry {
            id,
            method: parts.method.clone(),
            path,
            peer,
            started,
            watch: watch.clone(),
            client: parts.extensions.get().cloned(),
            draft: None,
            audit,
            counting,
        };
        parts.extensions.insert(id);
        parts.extensions.insert(Peer(peer));
        parts.extensions.insert(watch.clone());
        let span = tracing::info_span!("request", request_id = %id);
        if let Some(noted) = noted.filter(|_| draft.is_some() || entry.audit.is_some()) {
            parts.extensions.insert(noted);
        }
        let response = inner.respond(&way, admitted, parts, body, &asked, &watch).instrument(span.clone()).await;
        let mut response = answer::seal(response, &asked, &inner.host_id);
        // What is left of a body that nobody wanted lies in the way of the next request: a client that does not know would send that
        // in vain.
        if has_body && !watch.has_ended() && version < Version::HTTP_2 {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if let Some(draft) = draft {
            entry.draft = Some(draft.answered(&response, &watch).await);
        }
        if let Some(audit) = &mut entry.audit {
            audit.answered(&response);
        }
        let status = response.status();
        if let Some(counting) = &entry.counting {
            let code = response.extensions_mut().remove::<ErrorCode>();
            counting.answered(status, code.as_ref().map(|code| &*code.0), started.elapsed());
        }
        response.map(|body| LoggedBody::new(body, entry, status, span))
    }
}

impl Inner {
    /// Whatever comes of the request, with the headers for pages of other origins.
    async fn respond<B>(
        &self,
        way: &Way,
        admitted: Result<Option<Passage>, Over>,
        mut parts: Parts,
        body: B,
        asked: &Asked,
        watch: &BodyWatch,
    ) -> Response<s3s::Body>
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
    {
        let refuse = |refusal: &Refusal| match way {
            Way::Website(..) => self.error_page(refusal, asked),
            Way::Admin(ask) => admin::refuse(ask, refusal, asked, &self.host_id),
            _ => answer::refuse(refusal, asked, &self.host_id),
        };
        match admitted {
            // Nobody is asked about it.
            Err(over) => return refuse(&over.into()),
            Ok(passage) => passage.map(|passage| parts.extensions.insert(passage)),
        };
        let is_preflight = parts.method == Method::OPTIONS;
        let (reads, queries) = (parts.method == Method::GET, is_query(&parts));
        // A preflight's headers are part of its answer.
        let cross_origin = CrossOrigin::of(&parts).filter(|_| !is_preflight);
        let granted = async {
            let bucket = way.target()?.bucket.as_deref();
            cors::granted(cross_origin.as_ref()?, bucket, &*self.buckets).await
        };
        let answered = async {
            target::check_host(&parts)?;
            match way {
                Way::Health(ask) => Ok(health::answer(*ask, &*self.health).await),
                Way::Minio(ask) => {
                    let expiries = self.tls.get().map(|tls| tls.expiries()).unwrap_or_default();
                    let also =
                        minio::Also { counters: &self.counters, audit: self.audit.as_ref(), expiries: &expiries };
                    minio::answer(*ask, &parts.headers, &*self.health, &self.directory, &also).await
                }
                Way::Admin(ask) => self.administer(ask, &parts, body, asked, watch).await,
                Way::Website(_, target) | Way::S3(target) if is_preflight => {
                    cors::preflight(&parts, target, &*self.buckets).await
                }
                Way::Website(bucket, _) => self.website(&parts, bucket, asked, watch).await,
                Way::S3(target) => self.answer(parts, body, target, asked, watch).await,
            }
        };
        let answered = AssertUnwindSafe(answered).catch_unwind();
        let (answered, granted) = tokio::join!(answered, granted);
        let mut response = match answered {
            Ok(Ok(response)) => {
                let (size, whole) = (response.body().size_hint(), is_whole(response.body()));
                watch.answered(whole);
                let ahead = if whole {
                    Ok(())
                } else if reads {
                    watch.hold(size.lower().min(READ_AHEAD))
                } else if queries {
                    watch.hold(QUERY)
                } else {
                    // What has been done is said.
                    Ok(())
                };
                match ahead {
                    Ok(()) => response,
                    // It was only to be read, and can be asked for again.
                    Err(over) => refuse(&over.into()),
                }
            }
            Ok(Err(refusal)) => {
                watch.answered(true);
                refuse(&refusal)
            }
            Err(_) => {
                watch.answered(true);
                // The panic's own message has gone to standard error by the panic hook.
                tracing::error!("an operation panicked");
                refuse(&Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalError"))
            }
        };
        if let Some(granted) = granted {
            granted.put(response.headers_mut());
        }
        response
    }

    async fn answer<B>(
        &self,
        mut parts: Parts,
        body: B,
        target: &Target,
        asked: &Asked,
        watch: &BodyWatch,
    ) -> Result<Response<s3s::Body>, Refusal>
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
    {
        let (query, claims) = screen::screen(&parts, &self.region, self.forms.version2)?;
        if let Some(claims) = claims.as_ref().filter(|claims| claims.version2) {
            let bucket = target.bucket.as_deref().filter(|_| target.by_host);
            let now = Clock::system().now();
            let path = version2::verify(&parts, &query, claims, bucket, &self.forms.directory, now)?;
            // s3s knows one way to sign a path: the one that it sees.
            screen::set_path(&mut parts, &path)?;
            parts.extensions.insert(Version2Verified);
        }
        mend::mend(&mut parts, &query, claims.as_ref(), &self.forms.directory);
        if let Some(bucket) = Self::form_target(&parts, target, &query, claims.as_ref())? {
            return self.post((bucket, target.by_host), parts, body, asked, watch).await;
        }
        screen::hoist(&mut parts, &query, claims.as_ref())?;
        let exact = body.size_hint().exact();
        let plan = lengths::plan(&mut parts, target.of_object, &query, claims.as_ref(), exact)?;
        // A copy that is written anew takes what an upload does.
        let copied = if parts.headers.contains_key("x-amz-copy-source") { lengths::UPLOAD } else { 0 };
        watch.hold(plan.memory(plan.len).saturating_add(copied))?;
        let body = Watching::new(body, watch.clone(), self.silence, plan.announced.clone());
        let body = match plan.framing {
            Framing::AwsChunked { signed, decoded } => {
                s3s::Body::http_body_unsync(Reframed::new(body, watch.clone(), signed, decoded))
            }
            // Nobody's body is kept before it is known that the request would be let through.
            Framing::Uncounted => match self.refused(&parts).await {
                Some(response) => return Ok(answer::complete(response, asked, watch, &self.host_id)),
                None => {
                    watch.hold(spool::IN_MEMORY as u64)?;
                    let (body, len) = self.spool.keep(body, plan.limit, watch).await?;
                    watch.hold(plan.memory(len))?;
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

    /// Whose answer a request gets; `websites_only` where there are no others.
    fn way(&self, parts: &Parts, websites_only: bool) -> Way {
        if let Some(bucket) = self.site(parts, websites_only) {
            let target = Target::of_site(parts, &bucket);
            return Way::Website(bucket, target);
        }
        let target = Target::of(parts, &self.domains);
        let path = parts.uri.path();
        if !target.by_host && (path.starts_with("/health/") || path.starts_with("/minio/")) {
            let (method, query) = (&parts.method, parts.uri.query());
            let signed = is_signed_for_s3(&parts.headers, query);
            if let Some(ask) = health::Ask::of(method, path, query, signed) {
                return Way::Health(ask);
            }
            if let Some(ask) = minio::Ask::of(method, path, query, signed) {
                return Way::Minio(ask);
            }
        }
        match admin::Ask::of(parts).filter(|_| !target.by_host) {
            Some(ask) => Way::Admin(ask),
            None => Way::S3(target),
        }
    }
}

/// Whose answer a request gets.
#[derive(Debug)]
enum Way {
    Health(health::Ask),
    Minio(minio::Ask),
    Admin(admin::Ask),
    /// The website's of this bucket.
    Website(String, Target),
    S3(Target),
}

impl Way {
    /// What it is about, for S3 and websites.
    fn target(&self) -> Option<&Target> {
        match self {
            Self::Health(_) | Self::Minio(_) | Self::Admin(_) => None,
            Self::Website(_, target) | Self::S3(target) => Some(target),
        }
    }

    /// Begins to count the request. Who asks how we are is not one of those whom we serve.
    fn count(&self, parts: &Parts, counters: &Arc<Counters>) -> Option<Counting> {
        let api = match self {
            Self::Health(_) | Self::Minio(_) | Self::Admin(_) => return None,
            Self::Website(..) => Api::of_page(&parts.method),
            Self::S3(target) => {
                let query = parts.uri.query().unwrap_or_default();
                Api::of(&parts.method, Scope::of(target), query, &parts.headers)
            }
        };
        Some(Counting::begin(counters, api))
    }
}

/// The code of an error, in the extensions of its answer until it is counted and written down.
#[derive(Debug, Clone)]
struct ErrorCode(Cow<'static, str>);

/// Whether a request is for a query's answer, which is made as it goes.
fn is_query(parts: &Parts) -> bool {
    let mut pieces = parts.uri.query().unwrap_or_default().split('&');
    parts.method == Method::POST && pieces.any(|piece| piece.split('=').next() == Some("select"))
}

/// Whether all of an answer is there.
fn is_whole(body: &s3s::Body) -> bool {
    body.is_end_stream() || body.bytes().is_some()
}

/// Whether a request has a signature of S3, of either version, whatever it is worth.
fn is_signed_for_s3(headers: &HeaderMap, query: Option<&str>) -> bool {
    let header = headers.get(header::AUTHORIZATION).is_some_and(|value| value.as_bytes().starts_with(b"AWS"));
    let names = || query.unwrap_or_default().split('&').map(|piece| piece.split('=').next().unwrap_or_default());
    header || names().any(|name| matches!(name, "X-Amz-Signature" | "X-Amz-Credential" | "Signature"))
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
