//! Answers on their way out: errors get S3's full XML, and every answer its ids.

use std::borrow::Cow;

use bytes::Bytes;
use http::{HeaderValue, Method, Response, StatusCode, header};
use s3s::Body;

use super::body::BodyWatch;
use super::{Descriptions, ErrorCode, ErrorDetails, Refusal, RequestId, StatusOverride, VersionOrder};

/// What of the request is needed to answer it.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) method: Method,
    /// The path, decoded.
    pub(super) resource: String,
    /// Whether it asks for an object's attributes.
    pub(super) attributes: bool,
    pub(super) id: RequestId,
}

/// The answer to a request that was refused.
pub(super) fn refuse(refusal: &Refusal, asked: &Asked, host_id: &HeaderValue) -> Response<Body> {
    let xml = refusal.xml(&asked.resource, asked.id.as_str(), host_id.to_str().unwrap_or_default());
    let mut response = Response::new(Body::from(xml));
    *response.status_mut() = refusal.status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    refusal.put_headers(response.headers_mut());
    response.extensions_mut().insert(ErrorCode(refusal.code.clone()));
    response
}

/// Turns what `s3s` answered into what S3 would.
pub(super) fn complete(
    mut response: Response<Body>,
    asked: &Asked,
    watch: &BodyWatch,
    host_id: &HeaderValue,
) -> Response<Body> {
    let descriptions: Option<Descriptions> = response.extensions_mut().remove();
    let order: Option<VersionOrder> = response.extensions_mut().remove();
    if let Some(refusal) = refusal(&mut response, watch) {
        let xml = refusal.xml(&asked.resource, asked.id.as_str(), host_id.to_str().unwrap_or_default());
        *response.status_mut() = refusal.status;
        *response.body_mut() = Body::from(xml);
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/xml"));
        refusal.put_headers(response.headers_mut());
        response.extensions_mut().insert(ErrorCode(refusal.code));
    } else if (asked.attributes || descriptions.is_some() || order.is_some())
        && let Some(xml) = xml(&response)
    {
        let xml = String::from_utf8_lossy(&xml);
        let described = descriptions.map_or(Cow::Borrowed(&*xml), |descriptions| descriptions.apply(&xml));
        let ordered = order.map_or(Cow::Borrowed(&*described), |order| order.apply(&described));
        let bare = if asked.attributes { bare_etag(&ordered) } else { Cow::Borrowed(&*ordered) }.into_owned();
        *response.body_mut() = Body::from(bare);
    }
    response
}

/// The error that `s3s` answered, if it did, with what the operation said besides; the answer gets the status that was meant.
pub(super) fn refusal(response: &mut Response<Body>, watch: &BodyWatch) -> Option<Refusal> {
    if let Some(StatusOverride(status)) = response.extensions_mut().remove() {
        *response.status_mut() = status;
    }
    let details = ErrorDetails::take(response.headers_mut());
    if response.status().as_u16() < 300 {
        return None;
    }
    let xml = xml(response)?;
    Some(error(response, &String::from_utf8_lossy(&xml), details, watch))
}

/// The XML in an answer. It is known by its content: the headers that an error brings take the place of all others, its content
/// type's too.
fn xml(response: &Response<Body>) -> Option<Bytes> {
    response.body().bytes().filter(|bytes| bytes.starts_with(b"<?xml"))
}

/// What every answer has, and what some may not have.
pub(super) fn seal(mut response: Response<Body>, asked: &Asked, host_id: &HeaderValue) -> Response<Body> {
    let status = response.status();
    let failed = status.as_u16() >= 300;
    let empty = matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) || status.is_informational();
    let head = asked.method == Method::HEAD;
    if empty || head {
        *response.body_mut() = Body::empty();
    }
    let headers = response.headers_mut();
    if empty || (head && failed) {
        headers.remove(header::CONTENT_LENGTH);
    }
    if empty {
        headers.remove(header::CONTENT_TYPE);
    }
    // How the body is framed is the connection's business.
    headers.remove(header::TRANSFER_ENCODING);
    headers.insert(header::SERVER, HeaderValue::from_static("Ninefold"));
    headers.insert("x-amz-request-id", asked.id.header());
    headers.insert("x-amz-id-2", host_id.clone());
    response
}

fn error(response: &Response<Body>, xml: &str, details: ErrorDetails, watch: &BodyWatch) -> Refusal {
    // Whatever an operation made of a body that broke, that it broke is the reason.
    if let Some(fault) = watch.fault() {
        return fault.refusal();
    }
    let code = text_of(xml, "Code").unwrap_or(Cow::Borrowed("InternalError")).into_owned();
    let message = text_of(xml, "Message").unwrap_or_default().into_owned();
    if code == "NotImplemented" && message == "Unknown operation" {
        return Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed");
    }
    let retry_after = response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    Refusal { status: response.status(), code: code.into(), message: message.into(), details, retry_after }
}

/// The text of an element in an error as `s3s` writes it: without attributes, each name once.
fn text_of<'a>(xml: &'a str, name: &str) -> Option<Cow<'a, str>> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    quick_xml::escape::unescape(text).ok()
}

/// The attributes of an object without the quotes around its ETag, which S3 leaves out there.
fn bare_etag(xml: &str) -> Cow<'_, str> {
    let parts = xml.split_once("<ETag>").and_then(|(before, rest)| Some((before, rest.split_once("</ETag>")?)));
    let Some((before, (etag, after))) = parts else { return Cow::Borrowed(xml) };
    let etag = etag.replace("&quot;", "").replace("&#34;", "").replace('"', "");
    Cow::Owned(format!("{before}<ETag>{etag}</ETag>{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_and_etags_are_found() {
        let xml = "<Error><Code>NoSuchKey</Code><Message>a &lt;b&gt;</Message></Error>";
        assert_eq!(text_of(xml, "Code").as_deref(), Some("NoSuchKey"));
        assert_eq!(text_of(xml, "Message").as_deref(), Some("a <b>"));
        assert_eq!(text_of(xml, "RequestId"), None);
        for quoted in ["\"ab\"", "&quot;ab&quot;", "ab"] {
            assert_eq!(bare_etag(&format!("<R><ETag>{quoted}</ETag><x>\"</x></R>")), "<R><ETag>ab</ETag><x>\"</x></R>");
        }
        assert_eq!(bare_etag("<R/>"), "<R/>");
    }
}
