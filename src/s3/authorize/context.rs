//! The condition keys of a request.
//!
//! Source: "AWS global condition context keys" in the IAM user guide and "Actions, resources, and condition keys for Amazon S3" in the
//! service authorization reference.

use http::{HeaderMap, header};
use s3s::dto::CopySource;
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

use super::Lines;
use crate::access::claims::Mechanism;
use crate::access::policy::Context;
use crate::clock::Millis;
use crate::s3::post::signing_time;
use crate::server::{OverTls, Peer};

/// Headers that are condition keys of the same name, behind `s3:`.
const HEADERS: [&str; 16] = [
    "x-amz-acl",
    "x-amz-grant-full-control",
    "x-amz-grant-read",
    "x-amz-grant-read-acp",
    "x-amz-grant-write",
    "x-amz-grant-write-acp",
    "x-amz-metadata-directive",
    "x-amz-object-ownership",
    "x-amz-server-side-encryption",
    "x-amz-server-side-encryption-aws-kms-key-id",
    "x-amz-server-side-encryption-customer-algorithm",
    "x-amz-storage-class",
    "x-amz-website-redirect-location",
    "if-match",
    "if-none-match",
    "x-amz-bypass-governance-retention",
];

/// The condition keys of a request, but for those of its principal, which the evaluator knows, and of its body.
pub(super) fn of(lines: &Lines<'_>) -> Context {
    let mut context = Context::default();
    add_general(&mut context, lines.headers, lines.peer, lines.tls, lines.now);
    if let Some(tls) = lines.tls {
        context.add("s3:TlsVersion", tls.version.trim_start_matches("TLSv"));
    }
    add_signature(&mut context, lines);
    for name in HEADERS {
        if let Some(value) = text(lines.headers, name) {
            context.add(&format!("s3:{name}"), value);
        }
    }
    if let Some(source) = text(lines.headers, "x-amz-copy-source") {
        context.add("s3:x-amz-copy-source", copy_source(source));
    }
    if let Some(creates) = creates_object(lines.operation) {
        context.add("s3:ObjectCreationOperation", creates.to_string());
    }
    add_lock(&mut context, lines);
    if let Some(tags) = text(lines.headers, "x-amz-tagging") {
        for (key, value) in url::form_urlencoded::parse(tags.as_bytes()) {
            add_request_tag(&mut context, &key, &value);
        }
    }
    if lines.operation.starts_with("List") {
        for (key, name) in [("s3:prefix", "prefix"), ("s3:delimiter", "delimiter"), ("s3:max-keys", "max-keys")] {
            if let Some(value) = lines.query.get(name) {
                context.add(key, value);
            }
        }
    }
    if let Some(version) = lines.query.get("versionId") {
        context.add("s3:VersionId", version);
    }
    context
}

/// The keys that requests to whatever service have.
pub(crate) fn add_general(
    context: &mut Context,
    headers: &HeaderMap,
    peer: Option<Peer>,
    tls: Option<&OverTls>,
    now: Millis,
) {
    if let Some(Peer(address)) = peer {
        context.add("aws:SourceIp", address.ip().to_canonical().to_string());
    }
    context.add("aws:SecureTransport", tls.is_some().to_string());
    add_time(context, now);
    for (key, name) in [("aws:UserAgent", header::USER_AGENT), ("aws:Referer", header::REFERER)] {
        if let Some(value) = text(headers, name.as_str()) {
            context.add(key, value);
        }
    }
}

/// A tag that the request sets.
pub(super) fn add_request_tag(context: &mut Context, key: &str, value: &str) {
    context.add(&format!("s3:RequestObjectTag/{key}"), value);
    context.add("s3:RequestObjectTagKeys", key);
}

/// A tag that the object has.
pub(super) fn add_existing_tag(context: &mut Context, key: &str, value: &str) {
    context.add(&format!("s3:ExistingObjectTag/{key}"), value);
}

/// Until when a request wants an object to be retained.
pub(super) fn add_retention(context: &mut Context, until: OffsetDateTime, now: Millis) {
    if let Ok(text) = until.format(&Rfc3339) {
        context.add("s3:object-lock-retain-until-date", text);
    }
    let now = OffsetDateTime::UNIX_EPOCH + Duration::milliseconds(now);
    context.add("s3:object-lock-remaining-retention-days", (until - now).whole_days().to_string());
}

/// A copy's source as policies name it, `bucket/key`, however it was written: else another spelling would be another source.
fn copy_source(source: &str) -> String {
    match CopySource::parse(source) {
        Ok(CopySource::Bucket { bucket, key, .. }) => format!("{bucket}/{key}"),
        // The operation refuses it.
        _ => source.to_owned(),
    }
}

/// Whether an operation that needs `s3:PutObject` makes an object, and takes conditions therefore: "Enforce conditional writes on Amazon S3
/// buckets" in the Amazon S3 user guide.
fn creates_object(operation: &str) -> Option<bool> {
    match operation {
        "PutObject" | "CopyObject" | "CompleteMultipartUpload" => Some(true),
        "CreateMultipartUpload" | "UploadPart" | "UploadPartCopy" => Some(false),
        _ => None,
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn add_time(context: &mut Context, now: Millis) {
    let seconds = now.div_euclid(1000);
    context.add("aws:EpochTime", seconds.to_string());
    let formatted = OffsetDateTime::from_unix_timestamp(seconds).ok().and_then(|now| now.format(&Rfc3339).ok());
    if let Some(formatted) = formatted {
        context.add("aws:CurrentTime", formatted);
    }
}

fn add_signature(context: &mut Context, lines: &Lines<'_>) {
    let version = |version2| if version2 { "AWS" } else { "AWS4-HMAC-SHA256" };
    if let Some(form) = lines.form {
        context.add("s3:authType", "POST");
        if !form.who.is_anonymous() {
            context.add("s3:signatureversion", version(form.version2));
        }
        if let Some(signed) = form.signed {
            context.add("s3:signatureAge", (lines.now - signed).max(0).to_string());
        }
        return;
    }
    let Some(claims) = lines.claims else { return };
    let in_query = claims.mechanism == Mechanism::Query;
    context.add("s3:authType", if in_query { "REST-QUERY-STRING" } else { "REST-HEADER" });
    context.add("s3:signatureversion", version(claims.version2));
    if !claims.version2 {
        context.add("aws:RequestedRegion", claims.region.as_str());
        // A URL is signed for any payload, whatever a header says that everybody can add.
        let payload = if in_query { Some("UNSIGNED-PAYLOAD") } else { text(lines.headers, "x-amz-content-sha256") };
        if let Some(payload) = payload {
            context.add("s3:x-amz-content-sha256", payload);
        }
    }
    let date = if in_query { lines.query.get("X-Amz-Date") } else { text(lines.headers, "x-amz-date") };
    if let Some(signed) = date.and_then(signing_time) {
        context.add("s3:signatureAge", (lines.now - signed).max(0).to_string());
    }
}

fn add_lock(context: &mut Context, lines: &Lines<'_>) {
    for (key, name) in [
        ("s3:object-lock-mode", "x-amz-object-lock-mode"),
        ("s3:object-lock-legal-hold", "x-amz-object-lock-legal-hold"),
    ] {
        if let Some(value) = text(lines.headers, name) {
            context.add(key, value);
        }
    }
    let until = text(lines.headers, "x-amz-object-lock-retain-until-date");
    if let Some(until) = until.and_then(|until| OffsetDateTime::parse(until, &Rfc3339).ok()) {
        add_retention(context, until, lines.now);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use s3s::path::S3Path;

    use super::*;
    use crate::access::Identity;
    use crate::access::claims::Claims;
    use crate::access::query::Query;
    use crate::s3::post::VerifiedForm;

    fn values(
        operation: &str,
        headers: &[(&str, &str)],
        claims: Option<Claims>,
        form: Option<VerifiedForm>,
    ) -> Context {
        let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        of(&Lines {
            operation,
            path: &S3Path::Root,
            headers: &HeaderMap::from_iter(headers),
            query: &Query::default(),
            claims: claims.as_ref(),
            form: form.as_ref(),
            peer: None,
            tls: None,
            now: 10_000,
            noted: None,
        })
    }

    #[test]
    fn what_nobody_signed_says_nothing_of_the_payload() {
        let sent = [("x-amz-content-sha256", "abc")];
        let claims = |mechanism, version2| {
            let (access_key, region, service) = ("AK".into(), "r".into(), "s3".into());
            Some(Claims { mechanism, version2, access_key, region, service, signed_headers: Vec::new() })
        };
        for (claims, expected) in [
            (claims(Mechanism::Header, false), Some("abc")),
            (claims(Mechanism::Query, false), Some("UNSIGNED-PAYLOAD")),
            (claims(Mechanism::Header, true), None),
            (None, None),
        ] {
            let context = values("PutObject", &sent, claims, None);
            let payload = context.get("s3:x-amz-content-sha256").map(|values| &*values[0]);
            assert_eq!(payload, expected);
        }
    }

    #[test]
    fn a_form_s_signature_has_an_age_too() {
        let root = crate::access::Account {
            id: "1".into(),
            canonical_id: "1".into(),
            name: "root".into(),
            email: None,
            public_access_block: crate::access::PublicAccessBlock::default(),
        };
        let form = |who, version2, signed| Some(VerifiedForm { who, version2, signed });
        let signer = Identity::root(std::sync::Arc::new(root), "AK");
        for (form, version, age) in [
            (form(signer.clone(), false, Some(4_000)), Some("AWS4-HMAC-SHA256"), Some("6000")),
            (form(signer, true, None), Some("AWS"), None),
            (form(Identity::anonymous(), false, None), None, None),
        ] {
            let context = values("PutObject", &[], None, form);
            let value = |key| context.get(key).map(|values| &*values[0]);
            assert_eq!(value("s3:authType"), Some("POST"));
            assert_eq!((value("s3:signatureversion"), value("s3:signatureAge")), (version, age));
        }
    }

    #[test]
    fn parts_make_no_object_and_sources_have_one_name() {
        for (operation, expected) in [("PutObject", Some("true")), ("UploadPart", Some("false")), ("GetObject", None)] {
            let context = values(operation, &[], None, None);
            assert_eq!(context.get("s3:ObjectCreationOperation").map(|values| &*values[0]), expected);
        }
        for source in ["b-1/a/k", "/b-1/a/k", "b-1%2Fa%2fk", "/b-1/%61/k?versionId=null"] {
            let context = values("CopyObject", &[("x-amz-copy-source", source)], None, None);
            assert_eq!(context.get("s3:x-amz-copy-source").unwrap(), ["b-1/a/k"], "{source}");
        }
    }
}
