//! What the audit log is told of a request ([`crate::audit`]): all of it but health and metrics, whatever becomes of it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use http::request::Parts;
use http::{HeaderName, Response, StatusCode, header};

use super::body::BodyWatch;
use super::bucket_log::{key, operation, signature, text};
use super::noted::{Noted, NotedDelete};
use super::{ErrorCode, OverTls, RequestId, Way, form, target};
use crate::access::Directory;
use crate::access::claims::Claims;
use crate::access::query::{Query, is_secret};
use crate::audit::{Audit, Principal, Record, Refused, SignedBy, cut};
use crate::clock::Clock;

/// Bytes of a path at most: a key has 1,024, each of which may be written as three.
const PATH: usize = 4 << 10;
/// Bytes of any other text that a client chose.
const TEXT: usize = 1 << 10;
/// Parameters of a query at most.
const PARAMETERS: usize = 64;
/// Characters of an access key at most, as IAM has it.
const MADE: usize = 128;
/// What names access keys in a query, in lower case; see [`is_known`].
const CLAIMS: [&str; 2] = ["x-amz-credential", "awsaccesskeyid"];

/// A request that is to be written down: when its answer has been sent, or when it is dropped without one.
#[derive(Debug)]
pub(super) struct AuditDraft {
    audit: Audit,
    /// `None` once it was written down.
    record: Option<Box<Record>>,
    noted: Noted,
    directory: Directory,
    watch: BodyWatch,
    started: Instant,
}

impl AuditDraft {
    /// Looks at a request; `None` if it is one that is not written down.
    pub(super) fn of(
        (audit, directory): (&Audit, &Directory),
        parts: &Parts,
        way: &Way,
        peer: SocketAddr,
        (id, started): (RequestId, Instant),
        (noted, watch): (&Noted, &BodyWatch),
    ) -> Option<Self> {
        let kind = match way {
            Way::Health(_) | Way::Minio(_) => return None,
            Way::Admin(_) => "admin",
            Way::Website(..) => "website",
            Way::S3(_) => "s3",
        };
        let of_client = |name: HeaderName| text(&parts.headers, &name).map(|value| cut(&value, TEXT).into_owned());
        // A query that cannot be read is refused, and that is written down.
        let query = Query::parse(parts.uri.query()).unwrap_or_default();
        let is_form = kind == "s3"
            && query.iter().next().is_none()
            && parts.method == http::Method::POST
            && form::is_form(parts.headers.get(header::CONTENT_TYPE));
        let (version, place) = signature(&parts.headers, &query);
        let place = match place {
            _ if is_form => "form",
            Some("AuthHeader") => "header",
            Some(_) => "query",
            None => "anonymous",
        };
        let claims = Claims::parse(&parts.headers, &query).ok().flatten();
        let operation = match way.target() {
            Some(target) => {
                let copies = parts.headers.contains_key("x-amz-copy-source");
                operation(&parts.method, target.of_object || is_form, kind == "website", &query, copies)
            }
            None => format!("ADMIN.{}", parts.method),
        };
        let bucket = way.target().and_then(|target| target.bucket.as_deref());
        let record = Record {
            at: Clock::system().now(),
            kind,
            request_id: id.to_string(),
            operation,
            bucket: bucket.map(|name| cut(name, TEXT).into_owned()),
            key: way.target().and_then(|target| key(parts, target)).map(|key| cut(&key, PATH).into_owned()),
            version: query.get("versionId").map(|version| cut(version, TEXT).into_owned()),
            peer: peer.ip().to_canonical().to_string(),
            agent: of_client(header::USER_AGENT),
            method: parts.method.to_string(),
            host: target::host(parts).map(|host| cut(host, TEXT).into_owned()),
            path: cut(parts.uri.path(), PATH).into_owned(),
            query: shown(parts.uri.query().unwrap_or_default()),
            tls: parts.extensions.get::<OverTls>().map(|tls| (tls.version, tls.cipher.clone())),
            signature: Some(SignedBy { place, version }),
            claimed_key: claims.map(|claims| claims.access_key),
            ..Record::default()
        };
        let (audit, noted, directory) = (audit.clone(), noted.clone(), directory.clone());
        Some(Self { audit, record: Some(Box::new(record)), noted, directory, watch: watch.clone(), started })
    }

    /// The answer is there, and about to be sent.
    pub(super) fn answered<B>(&mut self, response: &Response<B>) {
        let Some(record) = &mut self.record else { return };
        record.status = response.status().as_u16();
        record.first_byte_ms = millis(self.started.elapsed());
        let error = response.extensions().get::<ErrorCode>();
        record.error = error
            .filter(|_| response.status() != StatusCode::NOT_MODIFIED)
            .map(|ErrorCode(code)| code.clone().into_owned());
        let version = text(response.headers(), &HeaderName::from_static("x-amz-version-id"));
        record.version = version.or(record.version.take());
    }

    /// The answer was sent, or given up.
    pub(super) fn sent(mut self, bytes: u64, complete: bool) {
        if let Some(record) = &mut self.record {
            (record.sent, record.complete) = (bytes, complete);
        }
    }
}

impl Drop for AuditDraft {
    fn drop(&mut self) {
        let Some(mut record) = self.record.take() else { return };
        record.received = self.watch.received();
        record.total_ms = millis(self.started.elapsed());
        self.noted.with(|notes| {
            match &notes.requester {
                Some(who) => (record.principal, record.claimed_key) = (Principal::from(who), None),
                None => record.claimed_key = record.claimed_key.take().filter(|key| is_known(key, &self.directory)),
            }
            if let Some(operation) = notes.operation.take().filter(|_| record.kind != "website") {
                record.operation = cut(&operation, TEXT).into_owned();
            }
            // The key of a form is one of its fields.
            record.key = record.key.take().or_else(|| notes.key.clone());
            record.decisions = std::mem::take(&mut notes.decisions);
            for NotedDelete { key, version, error } in &notes.deleted {
                if let Some((error, _)) = error {
                    record.refuse(Refused { key: key.clone(), version: version.clone(), error: error.clone() });
                }
            }
        });
        self.audit.push(&record);
    }
}

/// Whether an access key may be shown that nobody has proved to have: it is somebody's, or looks like those that are made here and at AWS. Who mixes
/// up his keys sends the secret one in its place.
fn is_known(key: &str, directory: &Directory) -> bool {
    let is_made = key.starts_with('A') && key.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
    directory.find(key).is_ok() || (is_made && key.len() <= MADE)
}

/// Milliseconds, and thousandths of them.
fn millis(span: Duration) -> f64 {
    u32::try_from(span.as_micros()).map_or(span.as_secs_f64() * 1e3, |micros| f64::from(micros) / 1e3)
}

/// The parameters of a query, decoded. What is there more than once is joined.
fn shown(query: &str) -> BTreeMap<String, String> {
    let mut shown: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()).take(PARAMETERS) {
        let is_hidden = is_secret(&name) || CLAIMS.iter().any(|claim| claim.eq_ignore_ascii_case(&name));
        let value = if is_hidden { "REDACTED".into() } else { cut(&value, TEXT) };
        match shown.get_mut(&*name) {
            Some(before) => {
                before.push(',');
                before.push_str(&value);
            }
            None => {
                shown.insert(cut(&name, TEXT).into_owned(), value.into_owned());
            }
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_shown_without_what_could_be_used_again() {
        let query = "X-Amz-Signature=hush&x-amz-security-token=hush&Signature=hush&a=b+c&a=d&versionId=1&X%2DAmz-Signature=hush\
                     &WebIdentityToken=hush&LDAPPassword=hush&X-Amz-Credential=hush&continuation-token=page&x-amz-server-side-encryption-customer-key=hush";
        let shown = shown(query);
        assert!(!format!("{shown:?}").contains("hush"), "{shown:?}");
        let value = |name: &str| shown.get(name).map(String::as_str);
        assert_eq!(
            (value("a"), value("continuation-token"), value("versionId")),
            (Some("b c,d"), Some("page"), Some("1"))
        );
        assert_eq!(value("X-Amz-Signature"), Some("REDACTED,REDACTED"));
    }

    #[test]
    fn times_have_thousandths() {
        assert_eq!(millis(Duration::from_nanos(1_234_567)), 1.234);
        assert_eq!(millis(Duration::from_secs(10_000)), 10_000_000.0);
    }
}
