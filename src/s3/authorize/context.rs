//! The condition keys of a request.
//!
//! Source: "AWS global condition context keys" in the IAM user guide and "Actions, resources, and condition keys for Amazon S3" in the
//! service authorization reference.

use http::{HeaderMap, header};
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

use super::Lines;
use crate::access::claims::Mechanism;
use crate::access::policy::Context;
use crate::clock::Millis;
use crate::server::Peer;

/// Headers that are condition keys of the same name, behind `s3:`.
const HEADERS: [&str; 18] = [
    "x-amz-acl",
    "x-amz-content-sha256",
    "x-amz-copy-source",
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
    if let Some(Peer(address)) = lines.peer {
        context.add("aws:SourceIp", address.ip().to_canonical().to_string());
    }
    context.add("aws:SecureTransport", lines.tls.is_some().to_string());
    if let Some(tls) = lines.tls {
        context.add("s3:TlsVersion", tls.version.trim_start_matches("TLSv"));
    }
    add_time(&mut context, lines.now);
    for (key, name) in [("aws:UserAgent", header::USER_AGENT), ("aws:Referer", header::REFERER)] {
        if let Some(value) = text(lines.headers, name.as_str()) {
            context.add(key, value);
        }
    }
    add_signature(&mut context, lines);
    for name in HEADERS {
        if let Some(value) = text(lines.headers, name) {
            context.add(&format!("s3:{name}"), value);
        }
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
    if lines.form {
        context.add("s3:authType", "POST");
        return;
    }
    let Some(claims) = lines.claims else { return };
    let in_query = claims.mechanism == Mechanism::Query;
    context.add("s3:authType", if in_query { "REST-QUERY-STRING" } else { "REST-HEADER" });
    context.add("s3:signatureversion", if claims.version2 { "AWS" } else { "AWS4-HMAC-SHA256" });
    if !claims.version2 {
        context.add("aws:RequestedRegion", claims.region.as_str());
    }
    let date = if in_query { lines.query.get("X-Amz-Date") } else { text(lines.headers, "x-amz-date") };
    let format = time::macros::format_description!("[year][month][day]T[hour][minute][second]Z");
    if let Some(signed) = date.and_then(|date| time::PrimitiveDateTime::parse(date, format).ok()) {
        let age = lines.now - signed.assume_utc().unix_timestamp() * 1000;
        context.add("s3:signatureAge", age.max(0).to_string());
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
