//! One line of the audit log.
//!
//! Names are those of MinIO's audit log (`Entry` of minio/pkg's `logger/message/audit`) where they mean the same: `version`, `deploymentid`,
//! `time`, `type`, `api` with `name`, `bucket`, `object`, `status`, `statusCode`, `rx` and `tx`, `remotehost`, `requestID`, `userAgent`,
//! `requestPath`, `requestHost`, `requestQuery`, `accessKey`, `error`. Others are our own: MinIO writes times as text with units and all headers,
//! and has no decisions.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use time::OffsetDateTime;
use time::macros::format_description;

use crate::access::policy::{Decision, Layer, Reason};
use crate::access::{Identity, Kind};
use crate::clock::{Clock, Millis};

/// Of the lines' form.
const VERSION: &str = "1";
/// Decisions of each kind that a line has at most.
const ALLOWED: usize = 8;
const DENIED: usize = 16;
/// Refused keys of a DeleteObjects that a line names at most.
const REFUSED: usize = 100;

/// What a request was and what came of it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Record {
    /// When it came.
    pub at: Millis,
    /// Of which kind it is: `s3`, `website`, `admin`.
    pub kind: &'static str,
    /// The id that client and log know it by.
    pub request_id: String,
    /// What was asked for: `PutObject`; in the words of server access logs (`REST.PUT.OBJECT`) if it was refused before that was known.
    pub operation: String,
    /// The bucket.
    pub bucket: Option<String>,
    /// The key, decoded.
    pub key: Option<String>,
    /// The version that was asked for, or made.
    pub version: Option<String>,
    /// The answer's status.
    pub status: u16,
    /// S3's name of what went wrong.
    pub error: Option<String>,
    /// Bytes of the request's body.
    pub received: u64,
    /// Bytes of the answer's body.
    pub sent: u64,
    /// Whether all of the answer was sent.
    pub complete: bool,
    /// Milliseconds from the request's coming until its answer's beginning, and until its end.
    pub first_byte_ms: f64,
    /// The same until its end.
    pub total_ms: f64,
    /// The address that it came from, without a port.
    pub peer: String,
    /// `User-Agent`
    pub agent: Option<String>,
    /// `GET`
    pub method: String,
    /// The host that it was sent to.
    pub host: Option<String>,
    /// The path as it was sent.
    pub path: String,
    /// The query's parameters, decoded; without secrets.
    pub query: BTreeMap<String, String>,
    /// The version of TLS, and its cipher.
    pub tls: Option<(&'static str, Arc<str>)>,
    /// How it was signed, whether or not that was right.
    pub signature: Option<SignedBy>,
    /// The access key that its signature claims, if that was not found to be right. Never one that may be a secret by mistake.
    pub claimed_key: Option<String>,
    /// Who asked.
    pub principal: Principal,
    /// Who may do what, as it was decided.
    pub decisions: Decisions,
    /// What of it was refused, of those that are about many keys.
    pub refused: Vec<Refused>,
    /// What more was refused.
    pub refused_more: usize,
}

/// How a request is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct SignedBy {
    /// Where the signature is: `header`, `query`, `form`, or `anonymous`: there is none.
    #[serde(rename = "type")]
    pub place: &'static str,
    /// `SigV2` or `SigV4`, if that can be seen from outside.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<&'static str>,
}

/// Who asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Principal {
    /// It was refused before that was known.
    #[default]
    Unknown,
    /// Nobody signed.
    Anonymous,
    /// Somebody whose signature was verified.
    Known {
        /// `Root`, `User` or `AssumedRole`, as `aws:PrincipalType` has it but for root, which is `Account` there.
        kind: &'static str,
        /// The account's id, 12 digits.
        account: Arc<str>,
        /// Its Amazon Resource Name.
        arn: String,
        /// The access key that it signed with.
        access_key: Arc<str>,
    },
}

impl From<&Identity> for Principal {
    fn from(who: &Identity) -> Self {
        let kind = match &who.kind {
            Kind::Anonymous => return Self::Anonymous,
            Kind::Root => "Root",
            Kind::User { .. } => "User",
            Kind::Role { .. } => "AssumedRole",
            Kind::Federated { .. } => "WebIdentityUser",
        };
        let (account, access_key) = (Arc::clone(&who.account.id), Arc::clone(&who.access_key));
        Self::Known { kind, account, arn: who.arn(), access_key }
    }
}

/// Whether an action was allowed, and by what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Decided {
    action: String,
    resource: String,
    allowed: bool,
    /// The layer of the policy, or the rule.
    by: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    statement: Option<Arc<str>>,
}

impl Decided {
    /// What the policies said, with ACLs and ownership.
    pub fn new(action: &str, resource: impl Into<String>, decision: &Decision) -> Self {
        let layer = |layer: Layer| match layer {
            Layer::Identity => "identityPolicy",
            Layer::Bucket => "bucketPolicy",
            Layer::Trust => "trustPolicy",
            Layer::Boundary => "permissionsBoundary",
            Layer::Session => "sessionPolicy",
        };
        let (by, policy, statement) = match &decision.because {
            Reason::Statement { layer: of, policy, statement } => {
                (layer(*of), policy.clone(), Some(Arc::clone(statement)))
            }
            Reason::OwnersRoot => ("ownersRoot", None, None),
            Reason::Acl => ("acl", None, None),
            Reason::PublicAccessBlock => ("publicAccessBlock", None, None),
            Reason::Limit(of) => (layer(*of), None, None),
            Reason::Nothing => ("nothing", None, None),
        };
        Self { action: action.to_owned(), resource: resource.into(), allowed: decision.allowed, by, policy, statement }
    }

    /// A rule that is no policy's, and refuses.
    pub fn refused(action: &str, resource: impl Into<String>, by: &'static str) -> Self {
        let (action, resource) = (action.to_owned(), resource.into());
        Self { action, resource, allowed: false, by, policy: None, statement: None }
    }
}

/// The decisions about one request. Their number is bounded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Decisions {
    list: Vec<Decided>,
    more: usize,
    more_denied: bool,
}

impl Decisions {
    /// Adds one; what is decided again takes the place of what was.
    pub fn add(&mut self, decided: Decided) {
        let same = |one: &&mut Decided| one.action == decided.action && one.resource == decided.resource;
        if let Some(before) = self.list.iter_mut().find(same) {
            *before = decided;
            return;
        }
        let alike = self.list.iter().filter(|one| one.allowed == decided.allowed).count();
        if alike < if decided.allowed { ALLOWED } else { DENIED } {
            self.list.push(decided);
        } else {
            self.more += 1;
            self.more_denied |= !decided.allowed;
        }
    }

    /// Whether all that was asked was allowed; `None` if nothing was.
    fn allowed(&self) -> Option<bool> {
        (!self.list.is_empty()).then(|| !self.more_denied && self.list.iter().all(|one| one.allowed))
    }
}

/// A key of a request that is about many, and was refused for this one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refused {
    /// The key.
    pub key: String,
    /// The version that was asked for.
    #[serde(rename = "versionId", skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// S3's name of what went wrong.
    pub error: String,
}

#[derive(Serialize)]
struct Line<'a> {
    version: &'static str,
    deploymentid: &'a str,
    time: String,
    r#type: &'static str,
    #[serde(rename = "requestID")]
    request_id: &'a str,
    api: Api<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    remotehost: &'a str,
    #[serde(rename = "userAgent", skip_serializing_if = "Option::is_none")]
    agent: Option<&'a str>,
    #[serde(rename = "requestMethod")]
    method: &'a str,
    #[serde(rename = "requestHost", skip_serializing_if = "Option::is_none")]
    host: Option<&'a str>,
    #[serde(rename = "requestPath")]
    path: &'a str,
    #[serde(rename = "requestQuery", skip_serializing_if = "BTreeMap::is_empty")]
    query: &'a BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls: Option<Tls<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signature: Option<SignedBy>,
    #[serde(rename = "accessKey", skip_serializing_if = "Option::is_none")]
    access_key: Option<&'a str>,
    #[serde(rename = "claimedAccessKey", skip_serializing_if = "Option::is_none")]
    claimed_key: Option<&'a str>,
    principal: Who<'a>,
    allowed: Option<bool>,
    decisions: &'a [Decided],
    #[serde(rename = "decisionsMore", skip_serializing_if = "is_zero")]
    decisions_more: usize,
    #[serde(skip_serializing_if = "<[Refused]>::is_empty")]
    refused: &'a [Refused],
    #[serde(rename = "refusedMore", skip_serializing_if = "is_zero")]
    refused_more: usize,
}

#[derive(Serialize)]
struct Api<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    bucket: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    object: Option<&'a str>,
    #[serde(rename = "versionId", skip_serializing_if = "Option::is_none")]
    version: Option<&'a str>,
    status: &'a str,
    #[serde(rename = "statusCode")]
    status_code: u16,
    rx: u64,
    tx: u64,
    complete: bool,
    #[serde(rename = "timeToFirstByteMs")]
    first_byte_ms: f64,
    #[serde(rename = "timeToResponseMs")]
    total_ms: f64,
}

#[derive(Serialize)]
struct Tls<'a> {
    version: &'a str,
    cipher: &'a str,
}

#[derive(Default, Serialize)]
struct Who<'a> {
    r#type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    arn: Option<&'a str>,
}

fn is_zero(number: &usize) -> bool {
    *number == 0
}

impl Record {
    /// Adds a key that was refused; how many are named is bounded.
    pub fn refuse(&mut self, refused: Refused) {
        if self.refused.len() < REFUSED {
            self.refused.push(refused);
        } else {
            self.refused_more += 1;
        }
    }

    /// The line, with its end.
    pub fn line(&self, deployment: &str) -> Vec<u8> {
        let status = http::StatusCode::from_u16(self.status).ok();
        let (principal, access_key) = match &self.principal {
            Principal::Unknown => (Who { r#type: "Unknown", ..Who::default() }, None),
            Principal::Anonymous => (Who { r#type: "Anonymous", ..Who::default() }, None),
            Principal::Known { kind, account, arn, access_key } => {
                let known = Who { r#type: kind, account: Some(account), arn: Some(arn) };
                // A form without a signature, and what is done for nobody's key, have none.
                (known, Some(&**access_key).filter(|key| !key.is_empty()))
            }
        };
        line(&Line {
            version: VERSION,
            deploymentid: deployment,
            time: rfc3339(self.at),
            r#type: self.kind,
            request_id: &self.request_id,
            api: Api {
                name: &self.operation,
                bucket: self.bucket.as_deref(),
                object: self.key.as_deref(),
                version: self.version.as_deref(),
                status: status.and_then(|status| status.canonical_reason()).unwrap_or_default(),
                status_code: self.status,
                rx: self.received,
                tx: self.sent,
                complete: self.complete,
                first_byte_ms: self.first_byte_ms,
                total_ms: self.total_ms,
            },
            error: self.error.as_deref(),
            remotehost: &self.peer,
            agent: self.agent.as_deref(),
            method: &self.method,
            host: self.host.as_deref(),
            path: &self.path,
            query: &self.query,
            tls: self.tls.as_ref().map(|(version, cipher)| Tls { version, cipher }),
            signature: self.signature,
            access_key,
            claimed_key: self.claimed_key.as_deref(),
            principal,
            allowed: self.decisions.allowed(),
            decisions: &self.decisions.list,
            decisions_more: self.decisions.more,
            refused: &self.refused,
            refused_more: self.refused_more,
        })
    }
}

/// The line that tells how many records were lost since the one before it.
pub(super) fn dropped(number: u64, deployment: &str) -> Vec<u8> {
    #[derive(Serialize)]
    struct Dropped<'a> {
        version: &'static str,
        deploymentid: &'a str,
        time: String,
        r#type: &'static str,
        dropped: u64,
    }
    let time = rfc3339(Clock::system().now());
    line(&Dropped { version: VERSION, deploymentid: deployment, time, r#type: "dropped", dropped: number })
}

/// JSON has an escape for every end of a line, so that whatever is in it, a line is one.
fn line(value: &impl Serialize) -> Vec<u8> {
    let mut line = Vec::with_capacity(1024);
    // Writing to memory cannot fail, and none of its maps have keys but text.
    let _ = serde_json::to_writer(&mut line, value);
    line.push(b'\n');
    line
}

fn rfc3339(at: Millis) -> String {
    const FORM: &[time::format_description::BorrowedFormatItem<'_>] =
        format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(at) * 1_000_000);
    at.unwrap_or(OffsetDateTime::UNIX_EPOCH).format(FORM).unwrap_or_default()
}

/// A text's beginning, of `most` bytes at most; that it goes on is told.
pub fn cut(text: &str, most: usize) -> Cow<'_, str> {
    if text.len() <= most {
        return Cow::Borrowed(text);
    }
    let end = (0..=most).rev().find(|&end| text.is_char_boundary(end)).unwrap_or_default();
    Cow::Owned(format!("{}…", text.get(..end).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::{Value, json};

    use super::*;

    fn decision(allowed: bool, because: Reason) -> Decision {
        Decision { allowed, because }
    }

    fn read(record: &Record) -> Value {
        let line = record.line("dep");
        assert_eq!(line.iter().filter(|&&byte| byte == b'\n').count(), 1);
        serde_json::from_slice(&line).unwrap()
    }

    #[test]
    fn a_line_has_every_field_and_one_end() {
        let mut decisions = Decisions::default();
        let because = Reason::Statement { layer: Layer::Identity, policy: Some("p".into()), statement: "Sid".into() };
        decisions.add(Decided::new("s3:PutObject", "arn:aws:s3:::b/k", &decision(true, because)));
        let mut record = Record {
            at: 1_549_411_238_007,
            kind: "s3",
            request_id: "3E57".into(),
            operation: "PutObject".into(),
            bucket: Some("b".into()),
            key: Some("a\nb\u{2028}".into()),
            version: Some("v".into()),
            status: 403,
            error: Some("AccessDenied".into()),
            received: 5,
            sent: 7,
            complete: true,
            first_byte_ms: 1.25,
            total_ms: 2.0,
            peer: "192.0.2.3".into(),
            agent: Some("a\"\r\n".into()),
            method: "PUT".into(),
            host: Some("h:1".into()),
            path: "/b/a%0Ab".into(),
            query: BTreeMap::from([("a".into(), "b".into())]),
            tls: Some(("TLSv1.3", "TLS_AES_256_GCM_SHA384".into())),
            signature: Some(SignedBy { place: "header", version: Some("SigV4") }),
            claimed_key: None,
            principal: Principal::Known {
                kind: "User",
                account: "111122223333".into(),
                arn: "arn:aws:iam::111122223333:user/u".into(),
                access_key: "AK".into(),
            },
            decisions,
            ..Record::default()
        };
        record.refuse(Refused { key: "k".into(), version: None, error: "AccessDenied".into() });
        assert_eq!(
            read(&record),
            json!({
                "version": "1", "deploymentid": "dep", "time": "2019-02-06T00:00:38.007Z", "type": "s3", "requestID": "3E57",
                "api": {
                    "name": "PutObject", "bucket": "b", "object": "a\nb\u{2028}", "versionId": "v", "status": "Forbidden",
                    "statusCode": 403, "rx": 5, "tx": 7, "complete": true, "timeToFirstByteMs": 1.25, "timeToResponseMs": 2.0,
                },
                "error": "AccessDenied", "remotehost": "192.0.2.3", "userAgent": "a\"\r\n", "requestMethod": "PUT",
                "requestHost": "h:1", "requestPath": "/b/a%0Ab", "requestQuery": {"a": "b"},
                "tls": {"version": "TLSv1.3", "cipher": "TLS_AES_256_GCM_SHA384"},
                "signature": {"type": "header", "version": "SigV4"}, "accessKey": "AK",
                "principal": {"type": "User", "account": "111122223333", "arn": "arn:aws:iam::111122223333:user/u"},
                "allowed": true,
                "decisions": [{
                    "action": "s3:PutObject", "resource": "arn:aws:s3:::b/k", "allowed": true, "by": "identityPolicy",
                    "policy": "p", "statement": "Sid",
                }],
                "refused": [{"key": "k", "error": "AccessDenied"}],
            })
        );
        let bare = read(&Record { kind: "s3", ..Record::default() });
        assert_eq!((&bare["principal"], &bare["allowed"]), (&json!({"type": "Unknown"}), &Value::Null));
        assert_eq!(bare.get("error"), None);
        let told: Value = serde_json::from_slice(&dropped(3, "dep")).unwrap();
        assert_eq!((&told["type"], &told["dropped"]), (&"dropped".into(), &3.into()));
    }

    #[test]
    fn a_line_is_bounded_whatever_was_asked() {
        let mut record = Record::default();
        for number in 0..1000 {
            record.refuse(Refused { key: format!("{number}"), version: None, error: "AccessDenied".into() });
            for allowed in [true, false] {
                let decided = Decided::new("a", format!("{allowed}{number}"), &decision(allowed, Reason::Nothing));
                record.decisions.add(decided);
            }
        }
        let read = read(&record);
        assert_eq!((read["refused"].as_array().unwrap().len(), &read["refusedMore"]), (REFUSED, &900.into()));
        let decisions = read["decisions"].as_array().unwrap();
        assert_eq!((decisions.len(), &read["decisionsMore"]), (ALLOWED + DENIED, &(2000 - ALLOWED - DENIED).into()));
        assert_eq!(read["allowed"], false);
        assert_eq!((&*cut("abc", 3), &*cut("äöü", 3)), ("abc", "ä…"));
    }

    #[test]
    fn the_last_decision_counts() {
        let mut decisions = Decisions::default();
        decisions.add(Decided::new("a", "r", &decision(true, Reason::OwnersRoot)));
        assert_eq!(decisions.allowed(), Some(true));
        decisions.add(Decided::refused("a", "r", "expectedBucketOwner"));
        assert_eq!((decisions.list.len(), decisions.allowed()), (1, Some(false)));
        decisions.add(Decided::new("a", "r", &decision(true, Reason::Acl)));
        assert_eq!((decisions.list.len(), decisions.allowed()), (1, Some(true)));
    }
}
