//! What is written of a request into the log of its bucket ([`crate::bucket_logs`]).

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use http::request::Parts;
use http::{HeaderMap, HeaderName, Method, Response, StatusCode, header};
use percent_encoding::percent_decode_str;

use super::body::BodyWatch;
use super::noted::{Noted, NotedDelete};
use super::target::{self, Target};
use super::{ErrorCode, OverTls, RequestId};
use crate::access::query::Query;
use crate::bucket_logs::{BucketLogs, Record, without_secrets};
use crate::objects::LoggedBucket;

/// A request of which something may have to be written down.
#[derive(Debug)]
pub(super) struct Draft {
    logs: BucketLogs,
    /// The bucket, if it is logged itself; its copies' sources may be without it.
    bucket: Option<Arc<LoggedBucket>>,
    noted: Noted,
    record: Record,
    /// Whether it may change what is logged.
    changes: bool,
    /// Whether it says how long the object is that it is about.
    reads: bool,
    writes: bool,
    /// The length of what an aws-chunked body holds.
    decoded: Option<u64>,
    started: Instant,
}

impl Draft {
    /// Whether a request is worth a look: as long as no bucket is logged, only one that may change that.
    pub(super) fn may_be_of(logs: &BucketLogs, parts: &Parts) -> bool {
        logs.any() || (parts.method == Method::PUT && parts.uri.query().is_some_and(|query| query.contains("logging")))
    }

    /// Looks at a request; `None` if nothing is to be written of it.
    pub(super) fn of(
        logs: &BucketLogs,
        parts: &Parts,
        target: &Target,
        is_site: bool,
        peer: SocketAddr,
        (id, started): (RequestId, Instant),
        noted: &Noted,
    ) -> Option<Self> {
        let raw = parts.uri.query().unwrap_or_default();
        let has = |name: &str| raw.split('&').any(|piece| piece.split('=').next() == Some(name));
        let bucket = target.bucket.as_deref().and_then(|name| logs.bucket(name));
        let copies = parts.headers.contains_key("x-amz-copy-source");
        let changes = match parts.method {
            Method::PUT => has("logging"),
            Method::DELETE => bucket.is_some() && !target.of_object,
            _ => false,
        };
        if bucket.is_none() && !copies && !changes {
            return None;
        }
        // A query that cannot be read is refused, and that is written down.
        let query = Query::parse(parts.uri.query()).unwrap_or_default();
        let form = parts.method == Method::POST && raw.is_empty();
        let operation = operation(&parts.method, target.of_object || form, is_site, &query, copies);
        let header = |name: HeaderName| text(&parts.headers, &name);
        let (signature, auth) = signature(&parts.headers, &query);
        let tls = parts.extensions.get::<OverTls>();
        let target_text = parts.uri.path_and_query().map_or("/", |target| target.as_str());
        let record = Record {
            at: crate::clock::Clock::system().now(),
            peer: peer.ip().to_string(),
            request_id: id.to_string(),
            key: key(parts, target),
            request: format!("{} {} {:?}", parts.method, without_secrets(target_text), parts.version),
            referer: header(header::REFERER),
            agent: header(header::USER_AGENT),
            version: query.get("versionId").map(str::to_owned),
            signature,
            auth,
            host: target::host(parts).map(str::to_owned),
            cipher: tls.map(|tls| tls.cipher.clone()),
            tls: tls.map(|tls| tls.version),
            ..Record::default()
        };
        let of_object = operation.ends_with(".OBJECT");
        let reads = of_object && matches!(parts.method, Method::GET | Method::HEAD);
        let writes = matches!(parts.method, Method::PUT) && (of_object || operation.ends_with(".PART")) && !copies;
        let decoded = header(HeaderName::from_static("x-amz-decoded-content-length")).and_then(|len| len.parse().ok());
        let record = Record { operation, ..record };
        let (logs, noted) = (logs.clone(), noted.clone());
        Some(Self { logs, bucket, noted, record, changes, reads, writes, decoded, started })
    }

    /// The answer is there, and about to be sent.
    pub(super) async fn answered<B>(mut self, response: &Response<B>, watch: &BodyWatch) -> Self {
        let status = response.status();
        if self.changes && status.is_success() {
            self.logs.refresh().await;
        }
        let record = &mut self.record;
        record.status = status.as_u16();
        // A 304 is an error to us alone.
        let error = response.extensions().get::<ErrorCode>().filter(|_| status != StatusCode::NOT_MODIFIED);
        record.error = error.map(|ErrorCode(code)| code.clone().into_owned());
        record.host_id = text(response.headers(), &HeaderName::from_static("x-amz-id-2")).unwrap_or_default();
        let request_ended = watch.ended().unwrap_or(self.started);
        record.turnaround_ms = millis_since(request_ended);
        if self.reads && status.is_success() {
            let range = text(response.headers(), &header::CONTENT_RANGE);
            let whole = range.and_then(|range| range.rsplit_once('/').map(|(_, whole)| whole.to_owned()));
            let whole = whole.or_else(|| text(response.headers(), &header::CONTENT_LENGTH));
            record.size = whole.and_then(|whole| whole.parse().ok());
        }
        if self.writes && status.is_success() {
            record.size = Some(self.decoded.unwrap_or_else(|| watch.received()));
        }
        self
    }

    /// The answer was sent, or given up.
    pub(super) fn sent(self, bytes: u64) {
        let Self { logs, bucket, noted, mut record, started, .. } = self;
        record.sent = bytes;
        record.total_ms = millis_since(started);
        let (deleted, source) = noted.with(|notes| {
            let who = notes.requester.take().filter(|who| !who.is_anonymous());
            record.requester = who.map(|who| who.account.canonical_id.to_string());
            record.key = notes.key.take().or(record.key.take());
            record.size = notes.size.or(record.size);
            (std::mem::take(&mut notes.deleted), notes.source.take())
        });
        if let Some(bucket) = &bucket {
            let record = Record { owner: bucket.owner.clone(), bucket: bucket.name.clone(), ..record.clone() };
            logs.push(bucket, &record);
            for NotedDelete { key, version, error } in deleted {
                let (error, status) = match error {
                    Some((code, status)) => (Some(code), status),
                    None => (None, StatusCode::NO_CONTENT),
                };
                logs.push(
                    bucket,
                    &Record {
                        operation: "BATCH.DELETE.OBJECT".to_owned(),
                        key: Some(key),
                        version,
                        status: status.as_u16(),
                        error,
                        sent: 0,
                        ..record.clone()
                    },
                );
            }
        }
        if let Some(source) = source
            && let Some(bucket) = logs.bucket(&source.bucket)
        {
            let operation = format!("{}_GET", record.operation);
            let (owner, name) = (bucket.owner.clone(), bucket.name.clone());
            let key = Some(source.key);
            let of_source = Record { owner, bucket: name, operation, key, version: source.version, sent: 0, ..record };
            logs.push(&bucket, &of_source);
        }
    }
}

fn millis_since(then: Instant) -> u64 {
    u64::try_from(then.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// A header's text. What is not UTF-8 is shown as far as it is.
pub(super) fn text(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
}

/// The key that a request names.
pub(super) fn key(parts: &Parts, target: &Target) -> Option<String> {
    let path = percent_decode_str(parts.uri.path()).decode_utf8_lossy();
    let path = path.strip_prefix('/').unwrap_or(&path);
    let key = if target.by_host { path } else { path.split_once('/').map_or("", |(_, key)| key) };
    Some(key.to_owned()).filter(|key| !key.is_empty())
}

/// Which version of signatures a request has, and where. Whether it is right is another matter.
pub(super) fn signature(headers: &HeaderMap, query: &Query) -> (Option<&'static str>, Option<&'static str>) {
    let authorization = headers.get(header::AUTHORIZATION).map(|value| value.as_bytes());
    match authorization {
        Some(value) if value.starts_with(b"AWS4-") => (Some("SigV4"), Some("AuthHeader")),
        Some(value) if value.starts_with(b"AWS ") => (Some("SigV2"), Some("AuthHeader")),
        _ if query.has("X-Amz-Signature") => (Some("SigV4"), Some("QueryString")),
        _ if query.has("Signature") => (Some("SigV2"), Some("QueryString")),
        _ => (None, None),
    }
}

/// What S3's logs call what was asked for.
pub(super) fn operation(method: &Method, of_object: bool, is_site: bool, query: &Query, copies: bool) -> String {
    if is_site {
        return format!("WEBSITE.{method}.OBJECT");
    }
    if *method == Method::OPTIONS {
        return "REST.OPTIONS.PREFLIGHT".to_owned();
    }
    if of_object && copies && *method == Method::PUT {
        return if query.has("uploadId") { "REST.COPY.PART" } else { "REST.COPY.OBJECT" }.to_owned();
    }
    // Where S3 renames it keeps no such logs: a name after the same pattern.
    if of_object && *method == Method::PUT && query.has("renameObject") {
        return "REST.RENAME.OBJECT".to_owned();
    }
    const OF_BUCKETS: [(&str, &str); 8] = [
        ("versions", "BUCKETVERSIONS"),
        ("delete", "MULTI_OBJECT_DELETE"),
        ("logging", "LOGGING_STATUS"),
        ("policy", "BUCKETPOLICY"),
        ("object-lock", "OBJECT_LOCK_CONFIGURATION"),
        ("publicAccessBlock", "PUBLIC_ACCESS_BLOCK"),
        ("ownershipControls", "OWNERSHIP_CONTROLS"),
        ("requestPayment", "REQUEST_PAYMENT"),
    ];
    const OF_OBJECTS: [(&str, &str); 4] = [
        ("tagging", "OBJECT_TAGGING"),
        ("attributes", "OBJECT_ATTRIBUTES"),
        ("retention", "OBJECT_LOCK_RETENTION"),
        ("legal-hold", "OBJECT_LOCK_LEGALHOLD"),
    ];
    /// Named as they are.
    const PLAIN: [&str; 17] = [
        "abac",
        "accelerate",
        "acl",
        "analytics",
        "cors",
        "encryption",
        "intelligent-tiering",
        "inventory",
        "lifecycle",
        "location",
        "metrics",
        "notification",
        "replication",
        "restore",
        "tagging",
        "versioning",
        "website",
    ];
    let named = if of_object { &OF_OBJECTS[..] } else { &OF_BUCKETS[..] };
    let resource: Cow<'static, str> = if query.has("uploads") {
        "UPLOADS".into()
    } else if of_object && query.has("uploadId") {
        if *method == Method::PUT { "PART".into() } else { "UPLOAD".into() }
    } else if let Some((_, resource)) = named.iter().find(|(name, _)| query.has(name)) {
        (*resource).into()
    } else if let Some(name) = PLAIN.iter().find(|name| query.has(name)) {
        name.to_ascii_uppercase().replace('-', "_").into()
    } else if of_object {
        "OBJECT".into()
    } else {
        "BUCKET".into()
    };
    format!("REST.{method}.{resource}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn operations_are_called_as_s3_calls_them() {
        for (method, of_object, query, expected) in [
            (Method::GET, false, "list-type=2&prefix=a", "REST.GET.BUCKET"),
            (Method::HEAD, false, "", "REST.HEAD.BUCKET"),
            (Method::PUT, false, "", "REST.PUT.BUCKET"),
            (Method::GET, false, "versions", "REST.GET.BUCKETVERSIONS"),
            (Method::GET, false, "versioning", "REST.GET.VERSIONING"),
            (Method::GET, false, "location", "REST.GET.LOCATION"),
            (Method::PUT, false, "logging", "REST.PUT.LOGGING_STATUS"),
            (Method::GET, false, "tagging", "REST.GET.TAGGING"),
            (Method::GET, false, "uploads", "REST.GET.UPLOADS"),
            (Method::GET, false, "intelligent-tiering&id=a", "REST.GET.INTELLIGENT_TIERING"),
            (Method::POST, false, "delete", "REST.POST.MULTI_OBJECT_DELETE"),
            (Method::GET, true, "versionId=1", "REST.GET.OBJECT"),
            (Method::DELETE, true, "", "REST.DELETE.OBJECT"),
            (Method::GET, true, "tagging", "REST.GET.OBJECT_TAGGING"),
            (Method::GET, true, "acl", "REST.GET.ACL"),
            (Method::POST, true, "uploads", "REST.POST.UPLOADS"),
            (Method::PUT, true, "uploadId=u&partNumber=1", "REST.PUT.PART"),
            (Method::PUT, true, "renameObject", "REST.RENAME.OBJECT"),
            (Method::POST, true, "uploadId=u", "REST.POST.UPLOAD"),
            (Method::DELETE, true, "uploadId=u", "REST.DELETE.UPLOAD"),
            (Method::OPTIONS, true, "", "REST.OPTIONS.PREFLIGHT"),
        ] {
            let query = Query::parse(Some(query)).unwrap();
            assert_eq!(operation(&method, of_object, false, &query, false), expected);
        }
        let (none, part) = (Query::default(), Query::parse(Some("uploadId=u&partNumber=1")).unwrap());
        assert_eq!(operation(&Method::PUT, true, false, &none, true), "REST.COPY.OBJECT");
        assert_eq!(operation(&Method::PUT, true, false, &part, true), "REST.COPY.PART");
        assert_eq!(operation(&Method::GET, true, true, &none, false), "WEBSITE.GET.OBJECT");
    }

    #[test]
    fn keys_are_behind_the_bucket() {
        for (path, by_host, expected) in [
            ("/bkt/a%20b/c", false, Some("a b/c")),
            ("/bkt/", false, None),
            ("/bkt", false, None),
            ("/", false, None),
            ("/a/b", true, Some("a/b")),
            ("/", true, None),
        ] {
            let (parts, ()) = http::Request::get(path).body(()).unwrap().into_parts();
            let target = Target { by_host, ..Target::default() };
            assert_eq!(key(&parts, &target).as_deref(), expected, "{path}");
        }
    }
}
