//! What a request is about, before `s3s` reads it.

use http::request::Parts;
use http::{StatusCode, header};
use percent_encoding::percent_decode_str;

use super::Refusal;
use crate::s3::host::Domains;

/// The bucket that a request names, in its host or in its path, and whether it names an object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Target {
    /// As it is written; it may be none that can exist.
    pub(super) bucket: Option<String>,
    pub(super) of_object: bool,
    /// Whether the host's name has the bucket.
    pub(super) by_host: bool,
}

impl Target {
    pub(super) fn of(parts: &Parts, domains: &Domains) -> Self {
        let path = percent_decode_str(parts.uri.path()).decode_utf8_lossy();
        // `%2F` counts as the slash it is decoded to.
        let path = path.strip_prefix('/').unwrap_or(&path);
        match host(parts).and_then(|host| domains.bucket(host)) {
            Some(bucket) => Self { bucket: Some(bucket), of_object: !path.is_empty(), by_host: true },
            None => {
                let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
                let bucket = Some(bucket.to_owned()).filter(|name| !name.is_empty());
                Self { bucket, of_object: !key.is_empty(), by_host: false }
            }
        }
    }
}

impl Target {
    /// The same of a website.
    pub(super) fn of_site(parts: &Parts, bucket: &str) -> Self {
        let of_object = !matches!(parts.uri.path(), "" | "/");
        Self { bucket: Some(bucket.to_owned()), of_object, by_host: true }
    }
}

/// The host that a request is sent to, with its port: the header, or what HTTP/2 has in its place.
pub(super) fn host(parts: &Parts) -> Option<&str> {
    let host = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    host.or_else(|| parts.uri.authority().map(http::uri::Authority::as_str))
}

/// Refuses a request that names one host in its target (`:authority` of HTTP/2, or the target of a proxy) and another in its header: whoever
/// looked at it before may have seen the other one (RFC 9113, section 8.3.1).
///
/// # Errors
/// The refusal.
pub(super) fn check_host(parts: &Parts) -> Result<(), Refusal> {
    let header = parts.headers.get(header::HOST).map(http::HeaderValue::as_bytes);
    let target = parts.uri.authority().map(|authority| authority.as_str().as_bytes());
    match header.zip(target) {
        Some((header, target)) if !header.eq_ignore_ascii_case(target) => {
            Err(Refusal::new(StatusCode::BAD_REQUEST, "InvalidRequest")
                .saying("The Host header is not the host that the request is sent to"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn buckets_and_objects_are_told_from_hosts_and_paths() {
        let domains = Domains::new(["s3.test".to_owned()]);
        for (host, uri, bucket, of_object) in [
            ("localhost:9000", "/", None, false),
            ("localhost:9000", "/bkt", Some("bkt"), false),
            ("localhost:9000", "/bkt/", Some("bkt"), false),
            ("localhost:9000", "/bkt/a/b?x", Some("bkt"), true),
            ("localhost:9000", "/bkt%2Fa", Some("bkt"), true),
            ("localhost:9000", "//a", None, true),
            ("bkt.s3.test", "/", Some("bkt"), false),
            ("bkt.s3.test", "/a", Some("bkt"), true),
            ("s3.test", "/bkt/a", Some("bkt"), true),
        ] {
            let (parts, ()) = http::Request::get(uri).header("host", host).body(()).unwrap().into_parts();
            let expected = Target { bucket: bucket.map(str::to_owned), of_object, by_host: host == "bkt.s3.test" };
            assert_eq!(Target::of(&parts, &domains), expected, "{host} {uri}");
        }
        let (parts, ()) = http::Request::get("http://bkt.s3.test/a").body(()).unwrap().into_parts();
        assert_eq!(Target::of(&parts, &domains), Target { bucket: Some("bkt".into()), of_object: true, by_host: true });
    }
}
