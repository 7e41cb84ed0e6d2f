//! Signature version 2, for clients that know no better and servers that are told to put up with them.
//!
//! It rests on HMAC-SHA1, covers neither the body nor most parameters, and `s3s` looks at no date and compares without care: dates are
//! checked and signatures compared here, before it sees the request.
//!
//! Source: "Signing and authenticating REST requests (AWS signature version 2)" in the Amazon S3 user guide.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use http::request::Parts;
use http::{HeaderValue, StatusCode, header};
use sha1::Sha1;
use time::format_description::well_known::Rfc2822;
use time::macros::format_description;
use time::{OffsetDateTime, PrimitiveDateTime};

use super::claims::{ClaimError, Claims, Mechanism};
use super::query::Query;
use super::{Directory, KeyError};
use crate::clock::Millis;

/// How far a client's clock may be off, in milliseconds.
const SKEW: Millis = 15 * 60 * 1000;

/// The parameters that a signature covers, in order.
const COVERED: [&str; 35] = [
    "accelerate",
    "acl",
    "analytics",
    "cors",
    "defaultObjectAcl",
    "delete",
    "inventory",
    "lifecycle",
    "location",
    "logging",
    "metrics",
    "notification",
    "object-lock",
    "partNumber",
    "policy",
    "replication",
    "requestPayment",
    "response-cache-control",
    "response-content-disposition",
    "response-content-encoding",
    "response-content-language",
    "response-content-type",
    "response-expires",
    "restore",
    "select",
    "select-type",
    "storageClass",
    "tagging",
    "torrent",
    "uploadId",
    "uploads",
    "versionId",
    "versioning",
    "versions",
    "website",
];

/// Parameters that it does not cover, and that do no more than choose what of a listing is shown.
const OF_LISTINGS: [&str; 17] = [
    "bucket-region",
    "continuation-token",
    "delimiter",
    "encoding-type",
    "fetch-owner",
    "key-marker",
    "list-type",
    "marker",
    "max-buckets",
    "max-keys",
    "max-parts",
    "max-uploads",
    "part-number-marker",
    "prefix",
    "start-after",
    "upload-id-marker",
    "version-id-marker",
];

/// The parameters of the signature itself, and what SDKs call the operation.
pub const OF_THE_SIGNATURE: [&str; 4] = ["AWSAccessKeyId", "Expires", "Signature", "x-id"];

/// Why a request signed with version 2 is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Version2Error {
    /// It is not a claim at all.
    #[error(transparent)]
    Claim(#[from] ClaimError),
    /// The header is not what it should be.
    #[error("AWS authorization header is invalid.  Expected AwsAccessKeyId:signature")]
    BadHeader,
    /// A presigned URL that lacks something.
    #[error("Query-string authentication requires the Signature, Expires and AWSAccessKeyId parameters")]
    BadQuery,
    /// Nobody may sign with the access key.
    #[error("{0}")]
    Key(KeyError, String),
    /// Its date is too far from ours.
    #[error("The difference between the request time and the current time is too large.")]
    Skewed,
    /// A presigned URL whose end is not a number of seconds.
    #[error("Invalid date (should be seconds since epoch): {0}")]
    BadExpires(String),
    /// A presigned URL that is over.
    #[error("Request has expired")]
    Expired,
    /// A parameter or header that changes what is done and that the signature does not cover.
    #[error("Signature version 2 does not cover {0}")]
    NotCovered(String),
    /// Another key, or another request.
    #[error(
        "The request signature we calculated does not match the signature you provided. Check your key and signing method."
    )]
    Mismatch {
        /// Whose key it should be.
        access_key: String,
        /// What should have been signed.
        string_to_sign: String,
        /// The signature.
        signature: String,
    },
}

impl Version2Error {
    /// S3's name of the error, and its status.
    pub fn code(&self) -> (&'static str, StatusCode) {
        match self {
            Self::Claim(error) => (error.code(), error.status()),
            Self::BadHeader => ("InvalidArgument", StatusCode::BAD_REQUEST),
            Self::BadQuery => ("AccessDenied", StatusCode::FORBIDDEN),
            Self::Key(error, _) => (error.code(), error.status()),
            Self::Skewed => ("RequestTimeTooSkewed", StatusCode::FORBIDDEN),
            Self::BadExpires(_) | Self::Expired | Self::NotCovered(_) => ("AccessDenied", StatusCode::FORBIDDEN),
            Self::Mismatch { .. } => ("SignatureDoesNotMatch", StatusCode::FORBIDDEN),
        }
    }
}

/// Verifies a request that claims to be signed with version 2. `bucket`: the bucket that its host names. Answers the path that was signed:
/// some clients sign a bucket's with the slash that they do not send.
///
/// # Errors
/// [`Version2Error`]
pub fn verify(
    parts: &Parts,
    query: &Query,
    claims: &Claims,
    bucket: Option<&str>,
    directory: &Directory,
    now: Millis,
) -> Result<String, Version2Error> {
    let known = |name: &str| COVERED.contains(&name) || OF_LISTINGS.contains(&name) || OF_THE_SIGNATURE.contains(&name);
    if let Some((name, _)) = query.iter().find(|(name, _)| !known(name)) {
        return Err(Version2Error::NotCovered(name.to_owned()));
    }
    let is_text = |value: &HeaderValue| std::str::from_utf8(value.as_bytes()).is_ok();
    let uncovered = |name: &str, value| name.starts_with("x-minio-") || (name.starts_with("x-amz-") && !is_text(value));
    if let Some((name, _)) = parts.headers.iter().find(|(name, value)| uncovered(name.as_str(), value)) {
        return Err(Version2Error::NotCovered(name.to_string()));
    }
    if claims.access_key.is_empty()
        || (claims.mechanism == Mechanism::Query && !OF_THE_SIGNATURE[..3].iter().all(|n| query.has(n)))
    {
        return Err(if claims.mechanism == Mechanism::Header {
            Version2Error::BadHeader
        } else {
            Version2Error::BadQuery
        });
    }
    let date = match claims.mechanism {
        Mechanism::Header => {
            let signed_at = signed_at(parts).ok_or(ClaimError::NoDate)?;
            if (now - signed_at).abs() > SKEW {
                return Err(Version2Error::Skewed);
            }
            // An x-amz-date is signed as the header that it is.
            if parts.headers.contains_key("x-amz-date") { "" } else { text(parts, header::DATE.as_str()) }
        }
        Mechanism::Query => {
            let expires = query.get("Expires").unwrap_or_default();
            let end: Millis = expires.parse().map_err(|_| Version2Error::BadExpires(expires.to_owned()))?;
            if end.saturating_mul(1000) <= now {
                return Err(Version2Error::Expired);
            }
            expires
        }
    };
    let secret =
        directory.secret(&claims.access_key).map_err(|error| Version2Error::Key(error, claims.access_key.clone()))?;
    let signature = match claims.mechanism {
        Mechanism::Header => text(parts, header::AUTHORIZATION.as_str()).rsplit_once(':').map_or("", |(_, sent)| sent),
        Mechanism::Query => query.get("Signature").unwrap_or_default(),
    };
    let sent = BASE64_STANDARD.decode(signature).unwrap_or_default();
    let is_signed = |text: &str| {
        let mac = Hmac::<Sha1>::new_from_slice(secret.expose().as_bytes()).ok();
        // `verify_slice` takes as long whatever the bytes are.
        mac.is_some_and(|mac| mac.chain_update(text.as_bytes()).verify_slice(&sent).is_ok())
    };
    let path = parts.uri.path();
    let string_to_sign_as_sent = string_to_sign(parts, query, date, bucket, path);
    if is_signed(&string_to_sign_as_sent) {
        return Ok(path.to_owned());
    }
    let is_of_bucket = bucket.is_none() && !path.trim_start_matches('/').contains('/');
    if is_of_bucket {
        let path = format!("{path}/");
        if is_signed(&string_to_sign(parts, query, date, bucket, &path)) {
            return Ok(path);
        }
    }
    let (access_key, signature) = (claims.access_key.clone(), signature.to_owned());
    Err(Version2Error::Mismatch { access_key, string_to_sign: string_to_sign_as_sent, signature })
}

fn text<'a>(parts: &'a Parts, name: &str) -> &'a str {
    parts.headers.get(name).map(utf8).unwrap_or_default()
}

/// A header as it was signed.
fn utf8(value: &HeaderValue) -> &str {
    std::str::from_utf8(value.as_bytes()).unwrap_or_default()
}

/// When the request was signed: `x-amz-date`, or else `Date`, as HTTP or as Amazon writes dates.
fn signed_at(parts: &Parts) -> Option<Millis> {
    let name = if parts.headers.contains_key("x-amz-date") { "x-amz-date" } else { header::DATE.as_str() };
    let date = text(parts, name);
    let amazon = format_description!("[year][month][day]T[hour][minute][second]Z");
    let parsed = OffsetDateTime::parse(date, &Rfc2822).ok();
    let parsed = parsed.or_else(|| PrimitiveDateTime::parse(date, amazon).ok().map(PrimitiveDateTime::assume_utc))?;
    Some(parsed.unix_timestamp().saturating_mul(1000))
}

fn string_to_sign(parts: &Parts, query: &Query, date: &str, bucket: Option<&str>, path: &str) -> String {
    let (md5, kind) = (text(parts, "content-md5"), text(parts, "content-type"));
    let mut lines = format!("{}\n{md5}\n{kind}\n{date}\n", parts.method);
    let mut names: Vec<&str> = parts.headers.keys().map(|name| name.as_str()).collect();
    names.retain(|name| name.starts_with("x-amz-"));
    names.sort_unstable();
    for name in names {
        let values = parts.headers.get_all(name).iter().map(|value| utf8(value).trim());
        lines += &format!("{name}:{}\n", values.collect::<Vec<_>>().join(","));
    }
    if let Some(bucket) = bucket {
        lines += "/";
        lines += bucket;
    }
    lines += path;
    let covered = COVERED.iter().filter_map(|name| Some((name, query.get(name)?)));
    for (number, (name, value)) in covered.enumerate() {
        lines += if number == 0 { "?" } else { "&" };
        lines += name;
        if !value.is_empty() {
            lines += "=";
            lines += value;
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use http::Request;

    use super::*;
    use crate::access::{RootCredentials, Secret};

    /// The examples' key, of the page named above.
    fn directory() -> Directory {
        let secret_key = Secret::new("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY");
        Directory::new(&RootCredentials { access_key: "AKIAIOSFODNN7EXAMPLE".into(), secret_key }, "deployment")
    }

    const SIGNED: Millis = 1_175_024_202_000;

    fn verify_at(request: http::request::Builder, bucket: Option<&str>, now: Millis) -> Result<String, Version2Error> {
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let query = Query::parse(parts.uri.query()).unwrap();
        let claims = Claims::parse(&parts.headers, &query)?.unwrap();
        assert!(claims.version2);
        verify(&parts, &query, &claims, bucket, &directory(), now)
    }

    fn get(signature: &str) -> http::request::Builder {
        Request::get("/photos/puppy.jpg")
            .header("date", "Tue, 27 Mar 2007 19:36:42 +0000")
            .header("authorization", format!("AWS AKIAIOSFODNN7EXAMPLE:{signature}"))
    }

    #[test]
    fn amazon_s_examples() {
        let bucket = Some("awsexamplebucket1");
        verify_at(get("qgk2+6Sv9/oM7G3qLEjTH1a1l1g="), bucket, SIGNED).unwrap();
        let put = Request::put("/photos/puppy.jpg")
            .header("content-type", "image/jpeg")
            .header("content-length", "94328")
            .header("date", "Tue, 27 Mar 2007 21:15:45 +0000")
            .header("authorization", "AWS AKIAIOSFODNN7EXAMPLE:iqRzw+ileNPu1fhspnRs8nOjjIA=");
        verify_at(put, bucket, SIGNED + 6_000_000).unwrap();
        let list = Request::get("/?prefix=photos&max-keys=50&marker=puppy")
            .header("date", "Tue, 27 Mar 2007 19:42:41 +0000")
            .header("authorization", "AWS AKIAIOSFODNN7EXAMPLE:m0WP8eCtspQl5Ahe6L1SozdX9YA=");
        verify_at(list, bucket, SIGNED).unwrap();
        let fetch = Request::get("/?acl")
            .header("date", "Tue, 27 Mar 2007 19:44:46 +0000")
            .header("authorization", "AWS AKIAIOSFODNN7EXAMPLE:82ZHiFIjc+WbcwFKGUVEQspPn+0=");
        verify_at(fetch, bucket, SIGNED).unwrap();
    }

    #[test]
    fn what_is_wrong_is_refused() {
        let good = "qgk2+6Sv9/oM7G3qLEjTH1a1l1g=";
        let bucket = Some("awsexamplebucket1");
        let code = |request, bucket, now| verify_at(request, bucket, now).unwrap_err().code().0;
        assert_eq!(code(get("qgk2+6Sv9/oM7G3qLEjTH1a1l1h="), bucket, SIGNED), "SignatureDoesNotMatch");
        assert_eq!(code(get(""), bucket, SIGNED), "SignatureDoesNotMatch");
        assert_eq!(code(get(good), Some("another"), SIGNED), "SignatureDoesNotMatch");
        assert_eq!(code(get(good).header("x-amz-acl", "private"), bucket, SIGNED), "SignatureDoesNotMatch");
        for now in [SIGNED - SKEW - 1000, SIGNED + SKEW + 1000] {
            assert_eq!(code(get(good), bucket, now), "RequestTimeTooSkewed");
        }
        let unsigned = Request::get("/k").header("authorization", "AWS AKIAIOSFODNN7EXAMPLE");
        assert_eq!(code(unsigned, bucket, SIGNED), "InvalidArgument");
        let incomplete = Request::get("/k?AWSAccessKeyId=AKIAIOSFODNN7EXAMPLE&Signature=x");
        assert_eq!(verify_at(incomplete, bucket, SIGNED), Err(Version2Error::BadQuery));
        let undated = Request::get("/k").header("authorization", "AWS AKIAIOSFODNN7EXAMPLE:x");
        assert_eq!(code(undated, bucket, SIGNED), "AccessDenied");
        let stranger = get("x").header("x", "y").uri("/k").header("authorization", "AWS AKIAIOSFODNN7EXAMPLE:x");
        assert!(verify_at(stranger, bucket, SIGNED).is_err(), "there are two of them");
        let url = |expires: &str, more: &str| {
            Request::get(format!("/k?AWSAccessKeyId=AKIAIOSFODNN7EXAMPLE&Signature=x&Expires={expires}{more}"))
        };
        assert_eq!(code(url("1", ""), bucket, SIGNED), "AccessDenied");
        assert_eq!(code(url("soon", ""), bucket, SIGNED), "AccessDenied");
        assert_eq!(code(url("99999999999", ""), bucket, SIGNED), "SignatureDoesNotMatch");
        // What the signature does not cover is not taken, whatever it is.
        assert_eq!(code(url("99999999999", "&retention"), bucket, SIGNED), "AccessDenied");
        assert_eq!(code(get(good).header("x-minio-force-delete", "true"), bucket, SIGNED), "AccessDenied");
        assert_eq!(code(get(good).header("x-amz-meta-m", &b"\xfc"[..]), bucket, SIGNED), "AccessDenied");
        let signed = |value: &str| match verify_at(get("x").header("x-amz-meta-m", value), bucket, SIGNED) {
            Err(Version2Error::Mismatch { string_to_sign, .. }) => string_to_sign,
            other => panic!("{other:?}"),
        };
        assert!(signed("\u{fc}").contains("x-amz-meta-m:\u{fc}\n"));
    }
}
