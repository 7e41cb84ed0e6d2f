//! Signature version 4 of requests that are small and whole: those to IAM, STS and MinIO's administration, which `s3s` knows nothing of.
//!
//! Source: "Create a signed AWS API request" in the IAM user guide. `s3s` keeps its own to itself, and the crate `aws-sigv4` signs: it
//! chooses which headers it signs and how it writes them, where a verifier has to take what the client chose.

use std::sync::Arc;

use hmac::{Hmac, KeyInit as _, Mac as _};
use http::request::Parts;
use http::{HeaderValue, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use time::PrimitiveDateTime;
use time::macros::format_description;

use super::claims::{self, ALGORITHM, Claims, Mechanism};
use super::query::Query;
use super::{Directory, Key, KeyError, Secret};
use crate::clock::Millis;

/// Milliseconds that a client's clock may be off.
const SKEW: Millis = 15 * 60 * 1000;
/// What is not escaped.
const LITERAL: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
/// The same in paths.
const LITERAL_IN_PATHS: &AsciiSet = &LITERAL.remove(b'/');
/// Instead of a hash: the body is not signed.
const UNSIGNED: &str = "UNSIGNED-PAYLOAD";

/// Why a signature is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// Nobody may sign with the access key.
    #[error("{0}")]
    Key(KeyError),
    /// The time of signing is none, or not the scope's day.
    #[error("Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP")]
    Date,
    /// The client's clock is off, or the request is old.
    #[error("Signature expired: the request was signed more than 15 minutes ago, or is from the future")]
    Skewed,
    /// The presigned URL is too old.
    #[error("Signature expired: the presigned URL is too old")]
    Expired,
    /// Headers that count are not signed.
    #[error("'{0}' must be a 'SignedHeader' in the AWS Authorization.")]
    NotSigned(String),
    /// The body is not the one that was signed.
    #[error("The provided 'x-amz-content-sha256' header does not match what was computed.")]
    Body,
    /// It is another's.
    #[error(
        "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing \
         method. Consult the service documentation for details."
    )]
    Mismatch,
}

/// Verifies the signature of a request, whose service and region were checked; answers the key that made it.
///
/// # Errors
/// [`SignatureError`]
pub fn verify(
    parts: &Parts,
    query: &Query,
    claims: &Claims,
    body: &[u8],
    directory: &Directory,
) -> Result<Arc<Key>, SignatureError> {
    let now = directory.now();
    let in_query = claims.mechanism == Mechanism::Query;
    let authorization = text(parts.headers.get(header::AUTHORIZATION));
    let field = |name: &str, parameter: &str| {
        let fields = authorization.split([',', ' ']).filter_map(|field| field.trim().split_once('='));
        if in_query {
            query.get(parameter)
        } else {
            fields.into_iter().find(|(n, _)| *n == name).map(|(_, value)| value)
        }
    };
    let date =
        if in_query { query.get("X-Amz-Date").unwrap_or_default() } else { text(parts.headers.get("x-amz-date")) };
    let credential = field("Credential", "X-Amz-Credential").unwrap_or_default();
    let day = credential.split('/').nth(1).unwrap_or_default();
    let signed_at = PrimitiveDateTime::parse(date, format_description!("[year][month][day]T[hour][minute][second]Z"));
    let signed_at = signed_at.map_err(|_| SignatureError::Date)?.assume_utc().unix_timestamp() * 1000;
    if date.get(..8) != Some(day) {
        return Err(SignatureError::Date);
    }
    check_headers(parts, claims)?;
    let hash = payload(parts, body)?;
    let secret = directory.secret(&claims.access_key).map_err(SignatureError::Key)?;

    let sent = hex::decode(field("Signature", "X-Amz-Signature").unwrap_or_default()).unwrap_or_default();
    // `verify_slice` takes as long whatever the bytes are.
    let mac = signature(parts, query, claims, &hash, (date, day), &secret);
    if mac.is_none_or(|mac| mac.verify_slice(&sent).is_err()) {
        return Err(SignatureError::Mismatch);
    }

    if in_query {
        let expires = query.get("X-Amz-Expires").and_then(|seconds| seconds.parse().ok()).unwrap_or(0_i64);
        if signed_at - SKEW > now || signed_at + expires * 1000 < now {
            return Err(SignatureError::Expired);
        }
    } else if (now - signed_at).abs() > SKEW {
        return Err(SignatureError::Skewed);
    }
    directory.signer(&claims.access_key, claims::token(&parts.headers, query)).map_err(SignatureError::Key)
}

/// Signs a request again whose signature in the header [`verify`] has found good and whose signed headers were changed since, because `s3s`
/// verifies what it sees. `claims` names the headers that are signed now. It must have no body.
///
/// # Errors
/// [`SignatureError`]
pub fn sign_again(
    parts: &mut Parts,
    query: &Query,
    claims: &Claims,
    directory: &Directory,
) -> Result<(), SignatureError> {
    let date = text(parts.headers.get("x-amz-date")).to_owned();
    let day = date.get(..8).ok_or(SignatureError::Date)?;
    let secret = directory.secret(&claims.access_key).map_err(SignatureError::Key)?;
    let hash = payload(parts, b"")?;
    let mac = signature(parts, query, claims, &hash, (&date, day), &secret).ok_or(SignatureError::Mismatch)?;
    let Claims { access_key, region, service, signed_headers, .. } = claims;
    let value = format!(
        "{ALGORITHM} Credential={access_key}/{day}/{region}/{service}/aws4_request, SignedHeaders={}, Signature={}",
        signed_headers.join(";"),
        hex::encode(mac.finalize().into_bytes())
    );
    let value = HeaderValue::try_from(value).map_err(|_| SignatureError::Mismatch)?;
    parts.headers.insert(header::AUTHORIZATION, value);
    Ok(())
}

/// The signature that a request must have; `None` only if a key could not be one, and any can.
fn signature(
    parts: &Parts,
    query: &Query,
    claims: &Claims,
    hash: &str,
    (date, day): (&str, &str),
    secret: &Secret,
) -> Option<Hmac<Sha256>> {
    let scope = [day, &claims.region, &claims.service];
    let canonical = canonical(parts, query, claims, hash);
    let to_sign = format!(
        "{ALGORITHM}\n{date}\n{}/aws4_request\n{}",
        scope.join("/"),
        hex::encode(Sha256::digest(canonical.as_bytes()))
    );
    signing_key(secret, scope).and_then(|key| hmac_sha256(&key, &to_sign))
}

/// A header as text; what is none is empty, which nothing is signed with.
fn text(value: Option<&HeaderValue>) -> &str {
    value.and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// The host and every `x-amz-*` and `x-minio-*` header must be signed, but for the hash, which is, and the token, which is good for one access key only.
fn check_headers(parts: &Parts, claims: &Claims) -> Result<(), SignatureError> {
    let is_signed = |name: &str| claims.signed_headers.iter().any(|signed| signed == name);
    let amazon = parts.headers.keys().map(|name| name.as_str()).filter(|name| {
        (name.starts_with("x-amz-") || name.starts_with("x-minio-"))
            && !matches!(*name, "x-amz-content-sha256" | "x-amz-security-token")
    });
    match std::iter::once("host").chain(amazon).find(|name| !is_signed(name)) {
        Some(name) => Err(SignatureError::NotSigned(name.to_owned())),
        None => Ok(()),
    }
}

/// What was signed of the body.
fn payload(parts: &Parts, body: &[u8]) -> Result<String, SignatureError> {
    let hash = hex::encode(Sha256::digest(body));
    match parts.headers.get("x-amz-content-sha256").map(|value| text(Some(value))) {
        None => Ok(hash),
        Some(UNSIGNED) => Ok(UNSIGNED.to_owned()),
        Some(sent) if bool::from(sent.as_bytes().ct_eq(hash.as_bytes())) => Ok(hash),
        Some(_) => Err(SignatureError::Body),
    }
}

fn escaped(text: &str) -> String {
    utf8_percent_encode(text, LITERAL).to_string()
}

/// What the hash that is signed is of.
fn canonical(parts: &Parts, query: &Query, claims: &Claims, payload: &str) -> String {
    // A slash within a segment is escaped, as the client has it.
    let segments = parts.uri.path().split('/').map(|segment| escaped(&percent_decode_str(segment).decode_utf8_lossy()));
    let mut path = segments.collect::<Vec<_>>().join("/");
    if claims.service != "s3" {
        // Every other service has paths escaped twice.
        path = utf8_percent_encode(&path, LITERAL_IN_PATHS).to_string();
    }
    let parameters = query.iter().filter(|(name, _)| *name != "X-Amz-Signature");
    let mut parameters: Vec<String> =
        parameters.map(|(name, value)| format!("{}={}", escaped(name), escaped(value))).collect();
    parameters.sort_unstable();
    let mut lines = format!("{}\n{path}\n{}\n", parts.method, parameters.join("&"));
    for name in &claims.signed_headers {
        lines += name;
        lines += ":";
        let values = parts.headers.get_all(name.as_str()).iter().map(|value| single_spaced(text(Some(value))));
        let mut values = values.collect::<Vec<_>>().join(",");
        if name == "host" && values.is_empty() {
            // HTTP/2 has it elsewhere.
            values = parts.uri.authority().map(ToString::to_string).unwrap_or_default();
        }
        lines += &values;
        lines += "\n";
    }
    lines + "\n" + &claims.signed_headers.join(";") + "\n" + payload
}

fn single_spaced(text: &str) -> String {
    text.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// The key that a scope's signatures are made with.
pub(super) fn signing_key(secret: &Secret, scope: [&str; 3]) -> Option<Vec<u8>> {
    let first = format!("AWS4{}", secret.expose()).into_bytes();
    let mut steps = scope.into_iter().chain(["aws4_request"]);
    steps.try_fold(first, |key, step| Some(hmac_sha256(&key, step)?.finalize().into_bytes().to_vec()))
}

/// The HMAC of a text; `None` only if a key could not be one, and any can.
pub(super) fn hmac_sha256(key: &[u8], text: &str) -> Option<Hmac<Sha256>> {
    Some(Hmac::<Sha256>::new_from_slice(key).ok()?.chain_update(text.as_bytes()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use http::Request;

    use super::*;
    use crate::access::RootCredentials;
    use crate::clock::Clock;

    /// 20150830T123600Z.
    const SIGNED_AT: Millis = 1_440_938_160_000;

    fn directory(now: Millis) -> Directory {
        let secret_key = Secret::new("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY");
        let root = RootCredentials { access_key: "AKIDEXAMPLE".into(), secret_key };
        Directory::at(&root, "deployment", Clock::fixed(now))
    }

    /// The example of "Create a signed AWS API request", and the `get-vanilla` family of AWS's test suite for signers.
    fn list_users() -> http::request::Builder {
        Request::get("https://iam.amazonaws.com/?Action=ListUsers&Version=2010-05-08")
            .header("host", "iam.amazonaws.com")
            .header("content-type", "application/x-www-form-urlencoded; charset=utf-8")
            .header("x-amz-date", "20150830T123600Z")
            .header(
                "authorization",
                "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request, \
                 SignedHeaders=content-type;host;x-amz-date, \
                 Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7",
            )
    }

    fn check(request: http::request::Builder, body: &str, now: Millis) -> Result<String, SignatureError> {
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let query = Query::parse(parts.uri.query()).unwrap();
        let claims = Claims::parse(&parts.headers, &query).unwrap().unwrap();
        let key = verify(&parts, &query, &claims, body.as_bytes(), &directory(now))?;
        Ok(key.identity.access_key.to_string())
    }

    #[test]
    fn amazon_s_example() {
        assert_eq!(check(list_users(), "", SIGNED_AT), Ok("AKIDEXAMPLE".to_owned()));
        assert_eq!(check(list_users(), "", SIGNED_AT + SKEW), Ok("AKIDEXAMPLE".to_owned()));
    }

    #[test]
    fn whatever_else_was_signed_is_refused() {
        assert_eq!(check(list_users(), "", SIGNED_AT + SKEW + 1), Err(SignatureError::Skewed));
        assert_eq!(check(list_users(), "", SIGNED_AT - SKEW - 1), Err(SignatureError::Skewed));
        assert_eq!(check(list_users(), "x", SIGNED_AT), Err(SignatureError::Mismatch));
        assert_eq!(check(list_users().method("POST"), "", SIGNED_AT), Err(SignatureError::Mismatch));
        assert_eq!(
            check(list_users().uri("/?Action=ListRoles&Version=2010-05-08"), "", SIGNED_AT),
            Err(SignatureError::Mismatch)
        );
        let hash = list_users().header("x-amz-content-sha256", "0".repeat(64));
        assert_eq!(check(hash, "", SIGNED_AT), Err(SignatureError::Body));
        let unsigned = list_users().header("x-amz-content-sha256", "UNSIGNED-PAYLOAD");
        assert_eq!(check(unsigned, "", SIGNED_AT), Err(SignatureError::Mismatch));
        let added = list_users().header("x-amz-acl", "private");
        assert_eq!(check(added, "", SIGNED_AT), Err(SignatureError::NotSigned("x-amz-acl".to_owned())));
        let token = list_users().header("x-amz-security-token", "token");
        assert_eq!(check(token, "", SIGNED_AT), Err(SignatureError::Key(KeyError::Token)));
    }
}
