//! What can be refused by looking at a request's first lines, before any signature.

use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use percent_encoding::percent_decode_str;

use super::{HoistedHeaders, Refusal};
use crate::access::claims::{ClaimError, Claims, Mechanism, Region};
use crate::access::query::{Query, QueryError};

/// Query parameters of presigned URLs that stand for no header: all that are about the signature, and the SDKs' note on what they
/// computed a checksum with.
const NO_HEADERS: [&str; 9] = [
    "x-amz-algorithm",
    "x-amz-content-sha256",
    "x-amz-credential",
    "x-amz-date",
    "x-amz-expires",
    "x-amz-sdk-checksum-algorithm",
    "x-amz-security-token",
    "x-amz-signature",
    "x-amz-signedheaders",
];

/// Checks method, host, path, query and what the request claims about its signature; answers query and claims.
///
/// `version2`: whether signatures of version 2 count.
pub(super) fn screen(parts: &Parts, region: &Region, version2: bool) -> Result<(Query, Option<Claims>), Refusal> {
    let bad = |code, message: &'static str| Refusal::new(StatusCode::BAD_REQUEST, code).saying(message);
    if !matches!(parts.method, Method::GET | Method::HEAD | Method::PUT | Method::POST | Method::DELETE) {
        return Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed")
            .with("Method", parts.method.as_str())
            .with("ResourceType", "SERVICE"));
    }
    if parts.headers.get_all(header::HOST).iter().count() > 1 {
        return Err(bad("InvalidRequest", "There is more than one Host header"));
    }
    let path: Vec<u8> = percent_decode_str(parts.uri.path()).collect();
    if std::str::from_utf8(&path).is_err() || path.contains(&0) || has_nul(parts.headers.get("x-amz-copy-source")) {
        return Err(Refusal::new(StatusCode::BAD_REQUEST, "InvalidURI"));
    }
    let query = Query::parse(parts.uri.query()).map_err(|error| match error {
        QueryError::NotUtf8 => Refusal::new(StatusCode::BAD_REQUEST, "InvalidURI"),
        QueryError::Nul => bad("InvalidArgument", "A query parameter holds a NUL"),
        // MinIO's clients listen to several kinds of events so.
        QueryError::Duplicate if names_events(&parts.uri) => {
            Refusal::new(StatusCode::NOT_IMPLEMENTED, "NotImplemented").saying("events is not implemented")
        }
        QueryError::Duplicate => bad("InvalidArgument", "A query parameter occurs more than once"),
    })?;
    let claims = Claims::parse(&parts.headers, &query)?;
    if let Some(claims) = &claims {
        if claims.version2 && !version2 {
            return Err(ClaimError::Version2.into());
        }
        claims.check_scope(region)?;
    }
    Ok((query, claims))
}

fn names_events(uri: &Uri) -> bool {
    uri.query().unwrap_or_default().split('&').any(|piece| piece.starts_with("events="))
}

/// Gives a request another path, and the query that it has.
///
/// # Errors
/// It can be none.
pub(super) fn set_path(parts: &mut Parts, path: &str) -> Result<(), Refusal> {
    if parts.uri.path() == path {
        return Ok(());
    }
    let all = parts.uri.query().map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"));
    let mut uri = std::mem::take(&mut parts.uri).into_parts();
    let invalid = |_| Refusal::new(StatusCode::BAD_REQUEST, "InvalidURI");
    uri.path_and_query = Some(all.parse().map_err(invalid)?);
    parts.uri = Uri::from_parts(uri).map_err(|_| Refusal::new(StatusCode::BAD_REQUEST, "InvalidURI"))?;
    Ok(())
}

/// Whether a parameter is the checksum of a body. S3 does not look at it, and the SDKs rely on that: who signs a URL does not have the
/// body that others will send to it, so that the SDK for JavaScript signs the checksum of nothing, into each of them.
fn is_checksum(name: &str) -> bool {
    name.strip_prefix("x-amz-checksum-").is_some_and(|kind| !matches!(kind, "algorithm" | "mode" | "type"))
}

/// Gives a presigned URL's `x-amz-*` parameters, which are signed with it, their effect as headers; and makes one header of several that
/// list content encodings.
///
/// # Errors
/// A parameter that cannot be a header: without it, the request would do something else.
pub(super) fn hoist(parts: &mut Parts, query: &Query, claims: Option<&Claims>) -> Result<(), Refusal> {
    join_encodings(&mut parts.headers);
    let mut hoisted = HoistedHeaders::default();
    if claims.is_some_and(|claims| claims.mechanism == Mechanism::Query && !claims.version2) {
        for (name, value) in query.iter() {
            let name = name.to_ascii_lowercase();
            if !name.starts_with("x-amz-") || NO_HEADERS.contains(&name.as_str()) || is_checksum(&name) {
                continue;
            }
            let (Ok(header), Ok(value)) = (HeaderName::try_from(&name), HeaderValue::from_bytes(value.as_bytes()))
            else {
                return Err(Refusal::new(StatusCode::BAD_REQUEST, "InvalidArgument")
                    .saying("A parameter that stands for a header cannot be one")
                    .with("ArgumentName", name));
            };
            if hoisted.0.contains(&header) {
                return Err(Refusal::new(StatusCode::BAD_REQUEST, "InvalidArgument")
                    .saying("A query parameter occurs more than once")
                    .with("ArgumentName", name));
            }
            // A header that is there as well must be signed itself, or be refused.
            if !parts.headers.contains_key(&header) {
                parts.headers.insert(header.clone(), value);
                hoisted.0.push(header);
            }
        }
    }
    parts.extensions.insert(hoisted);
    Ok(())
}

/// Makes one header of several `Content-Encoding`: the SDKs for Java and Go add one with `aws-chunked` to that of their caller, and s3s
/// takes no header twice. A signature covers the values joined like this, so that it holds as before.
fn join_encodings(headers: &mut HeaderMap) {
    let values: Vec<_> =
        headers.get_all(header::CONTENT_ENCODING).iter().map(|value| value.as_bytes().trim_ascii()).collect();
    if values.len() > 1
        && let Ok(joined) = HeaderValue::from_bytes(&values.join(&b','))
    {
        headers.insert(header::CONTENT_ENCODING, joined);
    }
}

fn has_nul(copy_source: Option<&HeaderValue>) -> bool {
    copy_source.is_some_and(|value| percent_encoding::percent_decode(value.as_bytes()).any(|b| b == 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_encodings_become_one_header() {
        for (sent, joined) in
            [(&["zstd", " aws-chunked "][..], "zstd,aws-chunked"), (&["aws-chunked, zstd"], "aws-chunked, zstd")]
        {
            let mut headers = HeaderMap::new();
            for value in sent {
                headers.append(header::CONTENT_ENCODING, HeaderValue::from_static(value));
            }
            join_encodings(&mut headers);
            let values: Vec<_> = headers.get_all(header::CONTENT_ENCODING).iter().collect();
            assert_eq!(values, [joined]);
        }
        let mut headers = HeaderMap::new();
        join_encodings(&mut headers);
        assert!(headers.is_empty());
    }
}
