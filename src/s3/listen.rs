//! ListenBucketNotification and ListenNotification: events as they happen, a line of JSON each, for as long as the client listens.
//!
//! Source: MinIO, whose extension of S3 it is (`cmd/listen-notification-handlers.go`), and its clients. s3s has no such operation: this is a
//! route of its own, which the guard looks at like at any other.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::{Extensions, HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use http_body::Frame;
use http_body_util::StreamBody;
use s3s::path::S3Path;
use s3s::route::S3Route;
use s3s::{Body, S3Request, S3Response, S3Result, StdError};
use tokio::time::{Interval, MissedTickBehavior};

use super::Api;
use super::authorize::denied;
use super::error::{from_objects, invalid_argument, not_implemented, s3_error};
use super::guard::{self, Guard};
use super::host::Domains;
use crate::access::query::Query;
use crate::access::{BucketRules, Directory, Identity, Resources as _};
use crate::audit::Decided;
use crate::events::{EventNames, Filter, Listener, NameError, message};
use crate::metadata;
use crate::objects::{self, Store};
use crate::server::{Noted, Refusal};

/// A blank is sent this often, if the client asks for nothing else: it finds out who has left.
const BLANK: Duration = Duration::from_millis(500);
/// It is looked up this often whether somebody may still listen.
const LOOKED_UP: Duration = Duration::from_secs(1);
/// Seconds between two signs of life that a client may ask for at most.
const MAX_PING: u64 = 24 * 60 * 60;

/// The route.
#[derive(Debug, Clone)]
pub struct Listen {
    api: Api,
    guard: Guard,
    domains: Domains,
}

/// The bucket to be listened to, in the extensions of the request; `None`: all.
#[derive(Debug, Clone)]
struct Listened(Option<String>);

impl Listen {
    /// Events of the store behind `api`, for those whom `guard` lets through.
    pub fn new(api: Api, guard: Guard, domains: Domains) -> Self {
        Self { api, guard, domains }
    }

    /// The bucket that a request names, if it names no object.
    fn target(&self, uri: &Uri, headers: &HeaderMap) -> Option<Listened> {
        let path = percent_encoding::percent_decode_str(uri.path()).decode_utf8().ok()?;
        let path = path.strip_prefix('/').unwrap_or(&path);
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let host = host.or_else(|| uri.authority().map(http::uri::Authority::as_str));
        if let Some(bucket) = host.and_then(|host| self.domains.bucket(host)) {
            return path.is_empty().then_some(Listened(Some(bucket)));
        }
        let bucket = path.strip_suffix('/').unwrap_or(path);
        (!bucket.contains('/')).then(|| Listened(Some(bucket.to_owned()).filter(|bucket| !bucket.is_empty())))
    }
}

#[async_trait::async_trait]
impl S3Route for Listen {
    fn is_match(&self, method: &Method, uri: &Uri, headers: &HeaderMap, extensions: &mut Extensions) -> bool {
        let asks = |query: &str| query.split('&').any(|piece| piece.split('=').next() == Some("events"));
        if *method != Method::GET || !uri.query().is_some_and(asks) {
            return false;
        }
        let target = self.target(uri, headers);
        target.map(|target| extensions.insert(target)).is_some()
    }

    async fn check_access(&self, request: &mut S3Request<Body>) -> S3Result<()> {
        match request.extensions.get::<Listened>().cloned() {
            Some(Listened(Some(bucket))) => {
                self.guard.check_route("ListenBucketNotification", S3Path::bucket(&bucket), request).await
            }
            _ => {
                self.guard.check_route("ListenNotification", S3Path::root(), request).await?;
                // Whoever hears of all buckets hears of those of all accounts.
                let own = Arc::clone(&self.api.directory.root().account.id);
                match request.extensions.get::<Identity>() {
                    Some(who) if who.account.id == own => Ok(()),
                    _ => {
                        if let Some(noted) = request.extensions.get::<Noted>() {
                            noted.decided(|| {
                                Decided::refused("s3:ListenNotification", "arn:aws:s3:::*", "deploymentsOwnAccount")
                            });
                        }
                        Err(denied())
                    }
                }
            }
        }
    }

    async fn call(&self, request: S3Request<Body>) -> S3Result<S3Response<Body>> {
        let Api { store, region, .. } = &self.api;
        // The guard has read it already.
        let query = Query::parse(request.uri.query())
            .map_err(|error| s3_error("InvalidURI", StatusCode::BAD_REQUEST, error.to_string()))?;
        let bucket = request.extensions.get::<Listened>().and_then(|listened| listened.0.clone());
        let (filter, every) = (filter(&query, bucket)?, ping(&query)?);
        let bucket = match &filter.bucket {
            Some(name) => Some((name.clone(), store.bucket_rules(name).await.map_err(from_objects)?)),
            None => None,
        };
        let who = request.extensions.get::<Identity>().ok_or_else(denied)?.clone();
        let leave = Leave { store: store.clone(), directory: self.api.directory.clone(), who, bucket };
        let Some(listener) = store.events().listen(filter) else {
            return Err(guard::s3_error(&Refusal::slow_down(1)));
        };
        let life = match every {
            Some(every) => Life { ticks: ticks(every), sign: Bytes::from_static(b"{\"Records\":null}\n") },
            None => Life { ticks: ticks(BLANK), sign: Bytes::from_static(b" ") },
        };
        let mut response = S3Response::new(body(listener, life, leave, region.name().to_owned()));
        let headers = &mut response.headers;
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        // Proxies that gather answers would keep this one for ever.
        headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
        Ok(response)
    }
}

/// What is sent while nothing happens, and when.
struct Life {
    ticks: Interval,
    sign: Bytes,
}

fn ticks(every: Duration) -> Interval {
    let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + every, every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// By what somebody was let in to listen. Whoever may do what can change while he does, and the bucket become another's.
struct Leave {
    store: Store,
    directory: Directory,
    who: Identity,
    bucket: Option<(String, Arc<BucketRules>)>,
}

impl Leave {
    /// Whether it is still as it was; whoever is sent away asks again, and is judged by what is so then.
    async fn holds(&self) -> bool {
        let who = &self.who;
        let is_known = who.is_anonymous()
            || self.directory.find(&who.access_key).is_ok_and(|key| {
                let now = &key.identity;
                now.policies == who.policies && now.session == who.session && now.boundary == who.boundary
            });
        let Some((name, rules)) = self.bucket.as_ref().filter(|_| is_known) else { return is_known };
        match self.store.bucket_rules(name).await {
            Ok(now) => now == *rules,
            Err(objects::Error::Metadata(metadata::Error::NoSuchBucket(_))) => false,
            // Nothing happens while the database is away.
            Err(_) => true,
        }
    }
}

fn body(listener: Listener, life: Life, leave: Leave, region: String) -> Body {
    let state = (listener, life, leave, ticks(LOOKED_UP), region);
    let lines = stream::unfold(state, async |(mut listener, mut life, leave, mut look, region)| {
        let line = loop {
            tokio::select! {
                biased;
                _ = look.tick() => if !leave.holds().await { return None },
                event = listener.next() => break Bytes::from(message(&*event?, &region)),
                _ = life.ticks.tick() => break life.sign.clone(),
            }
        };
        Some((Ok::<_, StdError>(Frame::data(line)), (listener, life, leave, look, region)))
    });
    Body::http_body_unsync(StreamBody::new(Box::pin(lines)))
}

fn filter(query: &Query, bucket: Option<String>) -> S3Result<Filter> {
    let mut names = EventNames::default();
    for name in query.all("events") {
        match EventNames::parse(name) {
            Ok(more) => names = names.and(more),
            Err(NameError::Unknown) => {
                let message = "A specified event is not supported for notifications.";
                return Err(invalid_argument("events", name, message));
            }
            Err(NameError::NotBuilt) => return Err(not_implemented(name)),
        }
    }
    let text = |name: &str| query.get(name).unwrap_or_default().to_owned();
    Ok(Filter { bucket, prefix: text("prefix"), suffix: text("suffix"), names })
}

/// `ping`: so often, in seconds, the client wants an empty message instead of blanks.
fn ping(query: &Query) -> S3Result<Option<Duration>> {
    match query.get("ping") {
        None | Some("") => Ok(None),
        Some(text) => match text.parse() {
            Ok(seconds @ 1..=MAX_PING) => Ok(Some(Duration::from_secs(seconds))),
            _ => Err(invalid_argument("ping", text, "The interval must be a number of seconds, 1 or more.")),
        },
    }
}
