//! Headers that a recipient has to ignore where they cannot be read, as S3 does, and that `s3s` refuses: ranges, and dates of conditions. Dates
//! in the forms that HTTP once had are written in today's.
//!
//! Source: RFC 9110, sections 5.6.7, 13.1.3, 13.1.4 and 14.2.

use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, header};
use s3s::dto::{Range, Timestamp, TimestampFormat};

use crate::access::Directory;
use crate::access::claims::{Claims, Mechanism};
use crate::access::query::Query;
use crate::access::sigv4;

/// Dates in conditions.
const DATES: [HeaderName; 4] = [
    header::IF_MODIFIED_SINCE,
    header::IF_UNMODIFIED_SINCE,
    HeaderName::from_static("x-amz-copy-source-if-modified-since"),
    HeaderName::from_static("x-amz-copy-source-if-unmodified-since"),
];

/// Takes away what cannot be read, and rewrites dates. Headers that are signed are signed again, of a request whose signature is good; where it
/// is not, or covers more than first lines, all stays as it is, for `s3s` to refuse.
pub(super) fn mend(parts: &mut Parts, query: &Query, claims: Option<&Claims>, directory: &Directory) {
    let changes = changes(parts);
    if changes.is_empty() {
        return;
    }
    let is_signed = |name: &HeaderName| match claims {
        None => false,
        Some(claims) if claims.version2 => name.as_str().starts_with("x-amz-"),
        Some(claims) => claims.signed_headers.iter().any(|signed| signed == name.as_str()),
    };
    let Some(claims) = claims.filter(|_| changes.iter().any(|(name, _)| is_signed(name))) else {
        return apply(parts, changes);
    };
    let covers_more = claims.version2 || claims.mechanism != Mechanism::Header;
    if covers_more || sigv4::verify(parts, query, claims, b"", directory).is_err() {
        return;
    }
    apply(parts, changes);
    let mut left = claims.clone();
    // Some are there without a value of their own, as `host` is in HTTP/2.
    left.signed_headers.retain(|name| {
        parts.headers.contains_key(name) || !DATES.iter().chain([&header::RANGE]).any(|one| one.as_str() == name)
    });
    if let Err(error) = sigv4::sign_again(parts, query, &left, directory) {
        tracing::debug!(%error, "a request cannot be signed again");
    }
}

/// What is to become of which header; `None`: it goes.
fn changes(parts: &Parts) -> Vec<(HeaderName, Option<HeaderValue>)> {
    let single = |name: &HeaderName| {
        let mut values = parts.headers.get_all(name).iter();
        let value = values.next()?.to_str().ok()?;
        values.next().is_none().then_some(value)
    };
    let reads = matches!(parts.method, Method::GET | Method::HEAD);
    let range = single(&header::RANGE).filter(|range| reads && Range::parse(range).is_err());
    let dates = DATES.into_iter().filter_map(|name| {
        let date = single(&name).filter(|date| Timestamp::parse(TimestampFormat::HttpDate, date).is_err())?;
        let known = httpdate::parse_http_date(date).ok();
        let written = known.and_then(|date| HeaderValue::try_from(httpdate::fmt_http_date(date)).ok());
        Some((name, written))
    });
    range.map(|_| (header::RANGE, None)).into_iter().chain(dates).collect()
}

fn apply(parts: &mut Parts, changes: Vec<(HeaderName, Option<HeaderValue>)>) {
    for (name, value) in changes {
        match value {
            Some(value) => drop(parts.headers.insert(name, value)),
            None => drop(parts.headers.remove(name)),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use http::Request;

    use super::*;

    fn changed(method: &str, name: &str, value: &str) -> Option<Option<String>> {
        let (parts, ()) = Request::builder().method(method).header(name, value).body(()).unwrap().into_parts();
        let (_, value) = changes(&parts).pop()?;
        Some(value.map(|value| value.to_str().unwrap().to_owned()))
    }

    #[test]
    fn what_cannot_be_read_goes_and_old_dates_become_new_ones() {
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        for (method, name, value, expected) in [
            ("GET", "range", "bytes=0-1", None),
            ("GET", "range", "bytes=-1", None),
            ("GET", "range", "bytes=2-1", Some(None)),
            ("HEAD", "range", "bytes=0-1,3-4", Some(None)),
            ("GET", "range", "lines=1-2", Some(None)),
            ("PUT", "range", "lines=1-2", None),
            ("GET", "if-modified-since", date, None),
            ("GET", "if-modified-since", "Sunday, 06-Nov-94 08:49:37 GMT", Some(Some(date.to_owned()))),
            ("GET", "if-unmodified-since", "Sun Nov  6 08:49:37 1994", Some(Some(date.to_owned()))),
            ("GET", "if-unmodified-since", "yesterday", Some(None)),
            ("PUT", "x-amz-copy-source-if-unmodified-since", "Invalid Date", Some(None)),
            ("PUT", "expires", "never", None),
        ] {
            assert_eq!(changed(method, name, value), expected, "{method} {name}: {value}");
        }
    }
}
