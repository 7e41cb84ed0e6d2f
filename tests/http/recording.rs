//! An S3 that does nothing but remember what reached it, behind the real server.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use ninefold::access::acl::{Acl, Grant, Grantee, Group, Ownership, Permission};
use ninefold::access::{
    BucketRules, Directory, Identity, ObjectRules, PublicAccessBlock, Resources, RootCredentials, Secret, UploadRules,
};
use ninefold::audit::Audit;
use ninefold::clock::Stopwatch;
use ninefold::limits::{Limiter, Rules};
use ninefold::metadata::{self, BucketUsage};
use ninefold::objects::{self, CorsRules, Website};
use ninefold::oidc::Oidc;
use ninefold::s3::guard::s3_error;
use ninefold::s3::host::Domains;
use ninefold::s3::post::VerifiedForm;
use ninefold::server::{
    BodyFault, Buckets, ClientCertificate, ClusterState, Drive, ErrorDetails, Gateway, GatewayConfig, Health, Limits,
    Listener, OverTls, Readiness, RequestId, Spare, StatusOverride, Tls, Usage, run,
};
use s3s::dto::*;
use s3s::service::S3ServiceBuilder;
use s3s::stream::{ByteStream, RemainingLength};
use s3s::{S3, S3Request, S3Response, S3Result, s3_error};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use crate::signing::Signer;

pub const ACCESS_KEY: &str = "AKIDROOT";
pub const SECRET: &str = "a secret that nobody knows";
pub const REGION: &str = "eu-test-1";
pub const DOMAIN: &str = "s3.test";
pub const WEBSITES: &str = "web.s3.test";
/// The bucket whose website anybody may read.
pub const PUBLIC: &str = "site";

/// An operation that was reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reached {
    pub operation: &'static str,
    pub bucket: String,
    pub key: String,
    pub body: Bytes,
}

#[derive(Default)]
pub struct Recording {
    reached: Mutex<Vec<Reached>>,
    pub released: tokio::sync::Notify,
    pub entered: tokio::sync::Notify,
}

impl Recording {
    fn note(&self, operation: &'static str, bucket: &str, key: &str, body: Bytes) {
        let reached = Reached { operation, bucket: bucket.into(), key: key.into(), body };
        self.reached.lock().unwrap().push(reached);
    }

    pub fn take(&self) -> Vec<Reached> {
        std::mem::take(&mut self.reached.lock().unwrap())
    }
}

/// The operations; all but a few only remember that they were called.
struct Operations(Arc<Recording>);

async fn read(body: Option<StreamingBlob>) -> S3Result<Bytes> {
    let mut all = Vec::new();
    if let Some(mut body) = body {
        while let Some(piece) = body.next().await {
            all.extend_from_slice(&piece.map_err(|error| match BodyFault::of(&*error) {
                Some(fault) => s3_error(&fault.refusal()),
                None => s3_error!(InternalError),
            })?);
        }
    }
    Ok(all.into())
}

#[async_trait::async_trait]
impl S3 for Operations {
    async fn list_buckets(&self, req: S3Request<ListBucketsInput>) -> S3Result<S3Response<ListBucketsOutput>> {
        let identity = req.extensions.get::<Identity>().unwrap();
        self.0.note("ListBuckets", "", &identity.access_key, Bytes::new());
        let owner = Owner { id: Some(identity.account.canonical_id.to_string()), display_name: None };
        Ok(S3Response::new(ListBucketsOutput { owner: Some(owner), ..Default::default() }))
    }

    async fn create_bucket(&self, req: S3Request<CreateBucketInput>) -> S3Result<S3Response<CreateBucketOutput>> {
        self.0.note("CreateBucket", &req.input.bucket, "", Bytes::new());
        Ok(S3Response::new(CreateBucketOutput::default()))
    }

    async fn delete_bucket(&self, req: S3Request<DeleteBucketInput>) -> S3Result<S3Response<DeleteBucketOutput>> {
        self.0.note("DeleteBucket", &req.input.bucket, "", Bytes::new());
        Ok(S3Response::new(DeleteBucketOutput::default()))
    }

    async fn list_objects(&self, req: S3Request<ListObjectsInput>) -> S3Result<S3Response<ListObjectsOutput>> {
        self.0.note("ListObjects", &req.input.bucket, &req.input.prefix.unwrap_or_default(), Bytes::new());
        Ok(S3Response::new(ListObjectsOutput::default()))
    }

    async fn list_objects_v2(&self, req: S3Request<ListObjectsV2Input>) -> S3Result<S3Response<ListObjectsV2Output>> {
        self.0.note("ListObjectsV2", &req.input.bucket, &req.input.prefix.unwrap_or_default(), Bytes::new());
        Ok(S3Response::new(ListObjectsV2Output::default()))
    }

    async fn put_object(&self, req: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        let announced = req.input.content_length;
        // A form says how long it is, not how long its file is.
        let of_form = req.extensions.get::<VerifiedForm>().is_some();
        let body = read(req.input.body).await?;
        let len = (!of_form).then_some(body.len() as i64);
        assert_eq!(announced, len, "the length is always known, and right");
        self.0.note("PutObject", &req.input.bucket, &req.input.key, body);
        let checksum = req.trailing_headers.and_then(|trailers| trailers.take());
        let checksum_crc32 =
            checksum.and_then(|trailers| Some(trailers.get("x-amz-checksum-crc32")?.to_str().ok()?.to_owned()));
        let checksum_crc32 = checksum_crc32.or(req.input.checksum_crc32);
        let e_tag = Some(ETag::Strong("abc".into()));
        Ok(S3Response::new(PutObjectOutput { checksum_crc32, e_tag, ..Default::default() }))
    }

    async fn copy_object(&self, req: S3Request<CopyObjectInput>) -> S3Result<S3Response<CopyObjectOutput>> {
        self.0.note("CopyObject", &req.input.bucket, &req.input.key, Bytes::new());
        Ok(S3Response::new(CopyObjectOutput::default()))
    }

    async fn get_object(&self, req: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        self.0.note("GetObject", &req.input.bucket, &req.input.key, Bytes::new());
        match req.input.key.as_str() {
            "panic" => panic!("asked to"),
            key if key == "absent" || key.contains("missing") => {
                let mut error = s3_error!(NoSuchKey);
                let mut headers = HeaderMap::new();
                ErrorDetails(vec![("Key".into(), "a<b>\u{1}".into())]).put(&mut headers);
                error.set_headers(headers);
                return Err(error);
            }
            "unmodified" => {
                let mut error = s3_error!(NotModified);
                let mut headers = HeaderMap::new();
                headers.insert("etag", "\"abc\"".parse().unwrap());
                error.set_headers(headers);
                return Err(error);
            }
            "slow" => {
                self.0.entered.notify_one();
                self.0.released.notified().await;
            }
            "large" => {
                let (body, len) = (StreamingBlob::new(Mebibytes(64)), 64 << 20);
                return Ok(S3Response::new(GetObjectOutput {
                    body: Some(body),
                    content_length: Some(len),
                    ..Default::default()
                }));
            }
            "moved" => {
                let website_redirect_location = Some("/elsewhere?a=b".to_owned());
                return Ok(S3Response::new(GetObjectOutput { website_redirect_location, ..Default::default() }));
            }
            "ranged" => {
                let range = format!("{:?}", req.input.range);
                return Ok(S3Response::new(GetObjectOutput { body: Some(blob(range)), ..Default::default() }));
            }
            "accepted" => {
                let mut response = S3Response::new(GetObjectOutput::default());
                response.extensions.insert(StatusOverride(StatusCode::ACCEPTED));
                return Ok(response);
            }
            "secure" => {
                let text = if req.extensions.get::<OverTls>().is_some() { "over TLS" } else { "in the clear" };
                return Ok(S3Response::new(GetObjectOutput { body: Some(blob(text)), ..Default::default() }));
            }
            "client" => {
                let text = req.extensions.get::<ClientCertificate>().map_or("nobody".to_owned(), |client| {
                    format!("{} {:?}", client.fingerprint, client.common_name.as_deref().unwrap_or_default())
                });
                return Ok(S3Response::new(GetObjectOutput { body: Some(blob(text)), ..Default::default() }));
            }
            "id" => {
                let id = req.extensions.get::<RequestId>().unwrap().to_string();
                return Ok(S3Response::new(GetObjectOutput { body: Some(blob(id)), ..Default::default() }));
            }
            _ => {}
        }
        Ok(S3Response::new(GetObjectOutput {
            body: Some(blob("hello")),
            content_length: Some(5),
            ..Default::default()
        }))
    }

    async fn head_object(&self, req: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        self.0.note("HeadObject", &req.input.bucket, &req.input.key, Bytes::new());
        if req.input.key == "absent" || req.input.key.contains("missing") {
            return Err(s3_error!(NoSuchKey));
        }
        Ok(S3Response::new(HeadObjectOutput { content_length: Some(5), ..Default::default() }))
    }

    async fn get_object_attributes(
        &self,
        _: S3Request<GetObjectAttributesInput>,
    ) -> S3Result<S3Response<GetObjectAttributesOutput>> {
        let e_tag = Some(ETag::Strong("abc-2".into()));
        Ok(S3Response::new(GetObjectAttributesOutput { e_tag, ..Default::default() }))
    }

    async fn delete_object(&self, req: S3Request<DeleteObjectInput>) -> S3Result<S3Response<DeleteObjectOutput>> {
        self.0.note("DeleteObject", &req.input.bucket, &req.input.key, Bytes::new());
        Ok(S3Response::new(DeleteObjectOutput::default()))
    }

    async fn delete_objects(&self, req: S3Request<DeleteObjectsInput>) -> S3Result<S3Response<DeleteObjectsOutput>> {
        for object in req.input.delete.objects {
            self.0.note("DeleteObjects", &req.input.bucket, &object.key, Bytes::new());
        }
        Ok(S3Response::new(DeleteObjectsOutput::default()))
    }

    async fn upload_part(&self, req: S3Request<UploadPartInput>) -> S3Result<S3Response<UploadPartOutput>> {
        let body = read(req.input.body).await?;
        self.0.note("UploadPart", &req.input.bucket, &req.input.key, body);
        Ok(S3Response::new(UploadPartOutput::default()))
    }
}

fn blob(text: impl Into<Bytes>) -> StreamingBlob {
    StreamingBlob::from(s3s::Body::from(text.into()))
}

/// A body of so many pieces of 1 MiB.
struct Mebibytes(usize);

impl Stream for Mebibytes {
    type Item = Result<Bytes, s3s::StdError>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(left) = self.0.checked_sub(1) else { return Poll::Ready(None) };
        self.0 = left;
        Poll::Ready(Some(Ok(Bytes::from(vec![7; 1 << 20]))))
    }
}

impl ByteStream for Mebibytes {
    fn remaining_length(&self) -> RemainingLength {
        RemainingLength::new_exact(self.0 << 20)
    }
}

/// What readiness is to find.
pub struct Vitals {
    pub database: AtomicBool,
    pub volumes: AtomicUsize,
    pub asked: AtomicUsize,
    /// Other servers, and volumes without a node.
    pub others: AtomicUsize,
    pub spare: AtomicUsize,
}

#[async_trait::async_trait]
impl Health for Vitals {
    async fn ready(&self) -> Readiness {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let usable_volumes = self.volumes.load(Ordering::SeqCst);
        Readiness {
            database: self.database.load(Ordering::SeqCst),
            usable_volumes,
            // One can be read and not written.
            readable_volumes: usable_volumes + 1,
        }
    }

    fn server(&self) -> &str {
        "test:1"
    }

    async fn without_a_node(&self) -> Spare {
        Spare { servers: self.others.load(Ordering::SeqCst), usable_volumes: self.spare.load(Ordering::SeqCst) }
    }

    fn drives(&self) -> Vec<Drive> {
        let drive = |number| Drive {
            name: format!("v{number}"),
            online: number < 9,
            capacity: 900,
            used: 300,
            read_latency: (number == 1).then_some(Duration::from_millis(2)),
        };
        (1..=9).map(drive).collect()
    }

    async fn cluster(&self) -> Option<ClusterState> {
        let state = ClusterState { servers_online: 2, servers_silent: 1, buckets: 3, heal_queue: 5, heal_failed: 4 };
        self.database.load(Ordering::SeqCst).then_some(state)
    }

    async fn usage(&self) -> Option<Usage> {
        let bucket = |name: &str, objects, versions, markers, bytes| {
            let name = name.into();
            BucketUsage { name, objects, versions, markers, bytes }
        };
        let buckets = vec![bucket("first", 2, 5, 1, 20), bucket("second", 0, 0, 0, 0)].into();
        self.database.load(Ordering::SeqCst).then_some(Usage { buckets, age: Duration::from_secs(3) })
    }
}

/// The buckets that there are, each with the rules that it has.
#[derive(Default)]
pub struct Configured {
    pub cors: Mutex<BTreeMap<String, Option<CorsRules>>>,
    pub websites: Mutex<BTreeMap<String, Option<Website>>>,
    pub away: AtomicBool,
    pub asked: AtomicUsize,
}

/// All buckets are root's; those of websites may be read by everybody.
#[async_trait::async_trait]
impl Resources for Configured {
    async fn bucket_rules(&self, bucket: &str) -> objects::Result<Arc<BucketRules>> {
        let public = [PUBLIC, "www.example.test"].contains(&bucket);
        Ok(Arc::new(BucketRules {
            owner: root().root().account.canonical_id.to_string(),
            policy: None,
            acl: Acl::default(),
            ownership: if public { Ownership::ObjectWriter } else { Ownership::BucketOwnerEnforced },
            block: PublicAccessBlock::default(),
            counted: false,
        }))
    }

    async fn object_rules(&self, _: &str, _: &str, _: Option<&str>) -> objects::Result<Option<ObjectRules>> {
        let grant = Grant { to: Grantee::Group(Group::AllUsers), may: Permission::Read };
        let owner = root().root().account.canonical_id.to_string();
        Ok(Some(ObjectRules { owner, acl: Acl(vec![grant]), tags: BTreeMap::new() }))
    }

    async fn upload_rules(&self, _: &str, _: &str, _: &str) -> objects::Result<Option<UploadRules>> {
        Ok(None)
    }
}

/// Root alone.
fn root() -> Directory {
    let root = RootCredentials { access_key: ACCESS_KEY.into(), secret_key: Secret::new(SECRET) };
    Directory::new(&root, "test")
}

#[async_trait::async_trait]
impl Buckets for Configured {
    async fn cors(&self, bucket: &str) -> objects::Result<Option<CorsRules>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if self.away.load(Ordering::SeqCst) {
            return Err(metadata::Error::Unavailable("away".into()).into());
        }
        let found = self.cors.lock().unwrap().get(bucket).cloned();
        Ok(found.ok_or_else(|| metadata::Error::NoSuchBucket(bucket.into()))?)
    }

    async fn website(&self, bucket: &str) -> objects::Result<Option<Website>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if self.away.load(Ordering::SeqCst) {
            return Err(metadata::Error::Unavailable("away".into()).into());
        }
        let found = self.websites.lock().unwrap().get(bucket).cloned();
        Ok(found.ok_or_else(|| metadata::Error::NoSuchBucket(bucket.into()))?)
    }
}

/// A running server with a recording behind it; stops when dropped.
pub struct Server {
    pub address: SocketAddr,
    /// Where nothing but websites is served.
    pub websites: SocketAddr,
    pub recording: Arc<Recording>,
    pub vitals: Arc<Vitals>,
    pub configured: Arc<Configured>,
    pub spool: tempfile::TempDir,
    /// What the rates of requests go by.
    pub time: Stopwatch,
    pub stop: Option<oneshot::Sender<()>>,
    pub running: tokio::task::JoinHandle<usize>,
    serving_websites: tokio::task::JoinHandle<usize>,
}

/// What not every server has.
#[derive(Default)]
struct Extra {
    allow_sigv2: bool,
    rules: Rules,
    audit: Option<Audit>,
    tls: Option<Arc<Tls>>,
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: String,
}

impl Answer {
    /// The text of an element, still escaped.
    pub fn element(&self, name: &str) -> Option<&str> {
        let (_, rest) = self.body.split_once(&format!("<{name}>"))?;
        Some(rest.split_once(&format!("</{name}>"))?.0)
    }

    pub fn code(&self) -> &str {
        self.element("Code").unwrap_or("none")
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    pub async fn of<B>(response: Response<B>) -> Self
    where
        B: http_body::Body,
        B::Error: std::fmt::Debug,
    {
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let body = String::from_utf8(body.to_vec()).unwrap();
        Self { status: parts.status.as_u16(), headers: parts.headers, body }
    }
}

impl Server {
    /// Makes a bucket with these rules.
    pub fn configure(&self, bucket: &str, rules: Option<CorsRules>) {
        self.configured.cors.lock().unwrap().insert(bucket.to_owned(), rules);
    }

    pub async fn start() -> Self {
        Self::with(Limits::default()).await
    }

    pub async fn with(limits: Limits) -> Self {
        Self::listening(limits, Extra::default()).await
    }

    /// One that limits what requests may take. Its time stands still.
    pub async fn with_rules(rules: Rules) -> Self {
        Self::listening(Limits::default(), Extra { rules, ..Extra::default() }).await
    }

    /// One whose requests are written down.
    pub async fn audited(audit: Audit) -> Self {
        Self::listening(Limits::default(), Extra { audit: Some(audit), ..Extra::default() }).await
    }

    /// One that accepts signature version 2.
    pub async fn with_sigv2() -> Self {
        Self::listening(Limits::default(), Extra { allow_sigv2: true, ..Extra::default() }).await
    }

    pub async fn over_tls(limits: Limits, tls: Tls) -> Self {
        Self::listening(limits, Extra { tls: Some(Arc::new(tls)), ..Extra::default() }).await
    }

    async fn listening(limits: Limits, extra: Extra) -> Self {
        let Extra { allow_sigv2, rules, audit, tls } = extra;
        let time = Stopwatch::fixed();
        let recording = Arc::new(Recording::default());
        let vitals = Arc::new(Vitals {
            database: true.into(),
            volumes: 9.into(),
            asked: 0.into(),
            others: 0.into(),
            spare: 0.into(),
        });
        let configured = Arc::new(Configured::default());
        let spool = tempfile::tempdir().unwrap();
        let config = GatewayConfig {
            region: REGION.into(),
            domains: Domains::new([DOMAIN.to_owned()]),
            websites: Domains::new([WEBSITES.to_owned()]),
            spool: spool.path().to_owned(),
            silence: limits.silence,
            allow_sigv2,
            limiter: Limiter::new(&rules, time.clone()),
            audit,
            oidc: Oidc::default(),
        };
        let gateway = Gateway::new(
            S3ServiceBuilder::new(Operations(Arc::clone(&recording))),
            root(),
            Arc::clone(&vitals) as Arc<dyn Health>,
            Arc::clone(&configured) as Arc<dyn Buckets>,
            config,
        );
        let gateway = match &tls {
            Some(tls) => gateway.telling_of(Arc::clone(tls)),
            None => gateway,
        };
        let how = |listener| match &tls {
            Some(tls) => Listener::encrypted(listener, Arc::clone(tls)),
            None => Listener::from(listener),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let shutdown = async move {
            let _ = stopped.await;
        };
        let listener_of_websites = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let websites = listener_of_websites.local_addr().unwrap();
        let serving = run(how(listener_of_websites), gateway.websites(), std::future::pending(), limits.clone());
        let serving_websites = tokio::spawn(serving);
        let running = tokio::spawn(run(how(listener), gateway, shutdown, limits));
        let stop = Some(stop);
        Self { address, websites, recording, vitals, configured, spool, time, stop, running, serving_websites }
    }

    pub fn signer(&self) -> Signer {
        Signer {
            access_key: ACCESS_KEY.into(),
            secret: SECRET.into(),
            region: REGION.into(),
            service: "s3".into(),
            time: SystemTime::now(),
        }
    }

    /// Sends one request over a connection of its own, HTTP/1.1.
    pub async fn send(&self, request: Request<Full<Bytes>>) -> Answer {
        self.send_body(request).await
    }

    /// The same to where nothing but websites is served.
    pub async fn send_to_websites(&self, request: Request<Full<Bytes>>) -> Answer {
        Self::send_to(self.websites, request).await
    }

    pub async fn send_body<B>(&self, request: Request<B>) -> Answer
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        Self::send_to(self.address, request).await
    }

    async fn send_to<B>(address: SocketAddr, mut request: Request<B>) -> Answer
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let host = address.to_string();
        request.headers_mut().entry("host").or_insert(host.parse().unwrap());
        let stream = TcpStream::connect(address).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        let connection = tokio::spawn(connection);
        let answer = Answer::of(sender.send_request(request).await.unwrap()).await;
        connection.abort();
        answer
    }

    /// Sends one request over HTTP/2, prior knowledge.
    pub async fn send_h2(&self, mut request: Request<Full<Bytes>>) -> Answer {
        let host = request.headers_mut().remove("host");
        let host = host.map_or_else(|| self.address.to_string(), |host| host.to_str().unwrap().to_owned());
        *request.uri_mut() = format!("http://{host}{}", request.uri()).parse().unwrap();
        *request.version_mut() = http::Version::HTTP_2;
        let stream = TcpStream::connect(self.address).await.unwrap();
        let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
        let (mut sender, connection) = handshake.await.unwrap();
        let connection = tokio::spawn(connection);
        let answer = Answer::of(sender.send_request(request).await.unwrap()).await;
        connection.abort();
        answer
    }

    /// Sends bytes as they are; reads until the server closes.
    pub async fn raw(&self, bytes: &[u8]) -> String {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        tokio::time::timeout(Duration::from_secs(60), stream.read_to_end(&mut answer)).await.unwrap().unwrap();
        String::from_utf8(answer).unwrap()
    }

    /// What was reached since the last time.
    pub fn reached(&self) -> Vec<&'static str> {
        self.recording.take().into_iter().map(|reached| reached.operation).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.serving_websites.abort();
    }
}
