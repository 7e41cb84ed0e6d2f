//! Buckets as websites: pages for whoever asks, under hosts of their own.
//!
//! Source: "Hosting a static website using Amazon S3" in the Amazon S3 user guide, above all "Key differences between a website
//! endpoint and a REST API endpoint". Error pages and headers are as S3's website endpoints send them.

use std::borrow::Cow;
use std::fmt::Write as _;

use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version, header};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use s3s::Body;
use s3s::dto::{Timestamp, TimestampFormat};

use super::answer::{self, Asked};
use super::body::BodyWatch;
use super::buckets::{is_absent, unknown};
use super::{ErrorCode, Inner, OverTls, Refusal, target};
use crate::objects::{Came, Pages, RoutingRule, WebProtocol, Website, directory};
use crate::s3::host::Domains;

/// In the extensions of a request that a website makes, to read an object as nobody in particular. No client can put it there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WebsiteRead;

/// Headers that a page is asked for with and that mean something.
const PASSED_ON: [HeaderName; 5] =
    [header::RANGE, header::IF_MATCH, header::IF_NONE_MATCH, header::IF_MODIFIED_SINCE, header::IF_UNMODIFIED_SINCE];

/// Headers that a bucket's policy may be about.
const JUDGED: [HeaderName; 2] = [header::REFERER, header::USER_AGENT];

static REDIRECT: &str = "x-amz-website-redirect-location";

/// Why there is an error page instead of what was asked for.
struct Failed {
    refusal: Refusal,
    /// Where a range ends that cannot be had.
    content_range: Option<HeaderValue>,
}

impl From<Refusal> for Failed {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, content_range: None }
    }
}

impl Inner {
    /// Answers a request for the website of `bucket`.
    ///
    /// # Errors
    /// What an error page is to say, where no page of the bucket's own is in its place.
    pub(super) async fn website(
        &self,
        parts: &Parts,
        bucket: &str,
        asked: &Asked,
        watch: &BodyWatch,
    ) -> Result<Response<Body>, Refusal> {
        if !matches!(parts.method, Method::GET | Method::HEAD) {
            return Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed")
                .with("Method", parts.method.as_str())
                .with("ResourceType", "OBJECT"));
        }
        let path: Vec<u8> = percent_decode_str(parts.uri.path()).collect();
        let path = String::from_utf8(path).ok().filter(|path| !path.contains('\0'));
        let path = path.ok_or_else(|| Refusal::new(StatusCode::BAD_REQUEST, "InvalidURI"))?;
        let path = path.strip_prefix('/').unwrap_or(&path);
        let site = Site { inner: self, parts, bucket, watch };
        match self.buckets.website(bucket).await {
            Ok(Some(Website::Pages(pages))) => site.page(&pages, path, asked).await,
            Ok(Some(Website::RedirectAll { host, protocol })) => {
                let protocol = protocol.unwrap_or(site.came().protocol);
                let rest = parts.uri.path_and_query().map_or("/", |rest| rest.as_str());
                Ok(redirect(StatusCode::MOVED_PERMANENTLY, &format!("{}://{host}{rest}", protocol.name())))
            }
            Ok(None) => {
                Err(Refusal::new(StatusCode::NOT_FOUND, "NoSuchWebsiteConfiguration").with("BucketName", bucket))
            }
            Err(error) if is_absent(&error) => {
                Err(Refusal::new(StatusCode::NOT_FOUND, "NoSuchBucket").with("BucketName", bucket))
            }
            Err(error) => Err(unknown(&error)),
        }
    }

    /// The bucket whose website a request is for, if it is for one.
    pub(super) fn site(&self, parts: &Parts, nothing_else: bool) -> Option<String> {
        let host = target::host(parts).unwrap_or_default();
        let domains = &self.websites;
        // A host that is in no domain is its own bucket's name, as S3 has it for a site's own domain.
        domains.bucket(host).or_else(|| (nothing_else || domains.contains(host)).then(|| Domains::name(host)))
    }

    /// The page of an error.
    pub(super) fn error_page(&self, refusal: &Refusal, asked: &Asked) -> Response<Body> {
        page(&Failed::from(refusal.clone()), None, asked, &self.host_id)
    }
}

/// One request for one website.
struct Site<'a> {
    inner: &'a Inner,
    parts: &'a Parts,
    bucket: &'a str,
    watch: &'a BodyWatch,
}

impl Site<'_> {
    /// The page at a path, or what is in its place.
    async fn page(&self, pages: &Pages, path: &str, asked: &Asked) -> Result<Response<Body>, Refusal> {
        if let Some(rule) = pages.rule(path, None) {
            return Ok(self.follow(rule, path));
        }
        let failed = match self.read(self.parts.method.clone(), &pages.page(path), true).await {
            Ok(response) => return Ok(response),
            Err(failed) => failed,
        };
        let status = failed.refusal.status;
        // Who may not list the bucket is not told that there is no such object.
        let perhaps_missing = matches!(&*failed.refusal.code, "NoSuchKey" | "AccessDenied");
        if perhaps_missing && !path.is_empty() && !path.ends_with('/') {
            let index = pages.page(&format!("{path}/")).into_owned();
            if self.read(Method::HEAD, &index, false).await.is_ok() {
                return Ok(found(&directory(path), asked, &self.inner.host_id));
            }
        }
        if let Some(rule) = pages.rule(path, Some(status.as_u16())) {
            return Ok(self.follow(rule, path));
        }
        let document = match &pages.error {
            Some(key) if status.is_client_error() => self.read(self.parts.method.clone(), key, false).await,
            _ => return Ok(page(&failed, None, asked, &self.inner.host_id)),
        };
        match document {
            Ok(mut response) if response.status() == StatusCode::OK => {
                *response.status_mut() = status;
                describe(&mut response, &failed);
                Ok(response)
            }
            // It is a redirection.
            Ok(response) => Ok(response),
            Err(of_document) => Ok(page(&failed, Some(&of_document.refusal), asked, &self.inner.host_id)),
        }
    }

    /// Reads an object as GetObject and HeadObject would, without a signature; one that is a redirection is followed.
    async fn read(&self, method: Method, key: &str, as_asked: bool) -> Result<Response<Body>, Failed> {
        let path = format!("/{}/{}", self.bucket, utf8_percent_encode(key, NON_ALPHANUMERIC));
        let mut request = Request::new(Body::empty());
        *request.method_mut() = method;
        *request.version_mut() = Version::HTTP_11;
        *request.uri_mut() =
            path.parse().map_err(|_| Failed::from(Refusal::new(StatusCode::BAD_REQUEST, "InvalidURI")))?;
        *request.extensions_mut() = self.parts.extensions.clone();
        request.extensions_mut().insert(WebsiteRead);
        for (name, value) in JUDGED.iter().filter_map(|name| Some((name, self.parts.headers.get(name)?))) {
            request.headers_mut().insert(name, value.clone());
        }
        let passed_on = PASSED_ON.iter().filter(|_| as_asked);
        for (name, value) in passed_on.filter_map(|name| Some((name, self.parts.headers.get(name)?))) {
            if means_something(name, value) {
                request.headers_mut().insert(name, value.clone());
            }
        }
        let mut response = self.inner.call_s3(request).await;
        if let Some(refusal) = answer::refusal(&mut response, self.watch)
            && refusal.status != StatusCode::NOT_MODIFIED
        {
            return Err(Failed { refusal, content_range: response.headers_mut().remove(header::CONTENT_RANGE) });
        }
        // How many tags there are is for those who may read them.
        response.headers_mut().remove("x-amz-tagging-count");
        match response.headers_mut().remove(REDIRECT) {
            Some(location) => Ok(redirect_to(StatusCode::MOVED_PERMANENTLY, location)),
            None => Ok(response),
        }
    }

    fn follow(&self, rule: &RoutingRule, path: &str) -> Response<Body> {
        let status = StatusCode::from_u16(rule.status()).unwrap_or(StatusCode::MOVED_PERMANENTLY);
        redirect(status, &rule.location(path, self.came()))
    }

    /// By which protocol the client came, and to which host. What a proxy in front says of it counts more than how the proxy came.
    fn came(&self) -> Came<'_> {
        let forwarded = self.parts.headers.get("x-forwarded-proto").map(HeaderValue::as_bytes);
        let scheme = forwarded.unwrap_or(OverTls::scheme(&self.parts.extensions).as_bytes());
        let secure = scheme.eq_ignore_ascii_case(b"https");
        let protocol = if secure { WebProtocol::Https } else { WebProtocol::Http };
        Came { protocol, host: target::host(self.parts).unwrap_or_default() }
    }
}

/// S3 ignores a range or a date that it cannot read; `s3s` refuses the request.
fn means_something(name: &HeaderName, value: &HeaderValue) -> bool {
    let Ok(text) = value.to_str() else { return false };
    match *name {
        header::RANGE => {
            let ends = text.strip_prefix("bytes=").and_then(|range| range.split_once('-'));
            let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            let number = |text: &str| text.parse::<u64>().ok().filter(|_| is_number(text));
            ends.is_some_and(|(first, last)| match (number(first), number(last)) {
                (Some(first), Some(last)) => first <= last,
                (Some(_), None) => last.is_empty(),
                (None, Some(_)) => first.is_empty(),
                (None, None) => false,
            })
        }
        header::IF_MODIFIED_SINCE | header::IF_UNMODIFIED_SINCE => {
            Timestamp::parse(TimestampFormat::HttpDate, text).is_ok()
        }
        _ => true,
    }
}

fn redirect(status: StatusCode, location: &str) -> Response<Body> {
    match HeaderValue::try_from(location) {
        Ok(location) => redirect_to(status, location),
        // What goes there was encoded, or is a header already.
        Err(_) => redirect_to(status, HeaderValue::from_static("/")),
    }
}

fn redirect_to(status: StatusCode, location: HeaderValue) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response.headers_mut().insert(header::LOCATION, location);
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(0));
    response
}

/// The way to a directory, which S3 sends like an error.
fn found(location: &str, asked: &Asked, host_id: &HeaderValue) -> Response<Body> {
    let mut response = page(&Refusal::new(StatusCode::FOUND, "Found").into(), None, asked, host_id);
    if let Ok(location) = HeaderValue::try_from(location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

/// Says what is wrong, whatever page is shown: to the client in headers.
fn describe(response: &mut Response<Body>, failed: &Failed) {
    response.extensions_mut().insert(ErrorCode(failed.refusal.code.clone()));
    let headers = response.headers_mut();
    let mut put = |name: &str, value: &str| {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            headers.insert(name, value);
        }
    };
    put("x-amz-error-code", &failed.refusal.code);
    put("x-amz-error-message", failed.refusal.message());
    for (name, value) in &failed.refusal.details.0 {
        put(&format!("x-amz-error-detail-{name}"), value);
    }
    failed.refusal.put_headers(headers);
    if let Some(range) = &failed.content_range {
        headers.insert(header::CONTENT_RANGE, range.clone());
    }
}

/// An error's page. `of_document` is why the bucket's own page is not in its place.
fn page(failed: &Failed, of_document: Option<&Refusal>, asked: &Asked, host_id: &HeaderValue) -> Response<Body> {
    let status = failed.refusal.status;
    let title = format!("{} {}", status.as_str(), status.canonical_reason().unwrap_or_default());
    let title = title.trim_end();
    let mut html = format!("<html>\n<head><title>{title}</title></head>\n<body>\n<h1>{title}</h1>\n<ul>\n");
    list(&mut html, &failed.refusal);
    item(&mut html, "RequestId", asked.id.as_str());
    item(&mut html, "HostId", host_id.to_str().unwrap_or_default());
    html.push_str("</ul>\n");
    if let Some(refusal) = of_document {
        html.push_str("<h3>An Error Occurred While Attempting to Retrieve a Custom Error Document</h3>\n<ul>\n");
        list(&mut html, refusal);
        html.push_str("</ul>\n");
    }
    html.push_str("<hr/>\n</body>\n</html>\n");
    let length = html.len();
    let mut response = Response::new(Body::from(html));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    describe(&mut response, failed);
    response
}

fn list(html: &mut String, refusal: &Refusal) {
    item(html, "Code", &refusal.code);
    item(html, "Message", refusal.message());
    for (name, value) in &refusal.details.0 {
        item(html, name, value);
    }
}

fn item(html: &mut String, name: &str, value: &str) {
    let text: Cow<'_, str> = quick_xml::escape::escape(value);
    // Writing to a String cannot fail.
    let _ = writeln!(html, "<li>{name}: {text}</li>");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_is_as_if_it_were_not_there() {
        for (name, value, expected) in [
            (header::RANGE, "bytes=0-4", true),
            (header::RANGE, "bytes=5-", true),
            (header::RANGE, "bytes=-5", true),
            (header::RANGE, "bytes=-", false),
            (header::RANGE, "bytes=5-4", false),
            (header::RANGE, "bytes=+1-4", false),
            (header::RANGE, "bytes=0-1,3-4", false),
            (header::RANGE, "bytes=a-b", false),
            (header::RANGE, "lines=0-4", false),
            (header::IF_MODIFIED_SINCE, "Wed, 21 Oct 2015 07:28:00 GMT", true),
            (header::IF_MODIFIED_SINCE, "yesterday", false),
            (header::IF_UNMODIFIED_SINCE, "2015-10-21", false),
            (header::IF_NONE_MATCH, "\"a\", \"b\"", true),
        ] {
            assert_eq!(means_something(&name, &HeaderValue::from_static(value)), expected, "{name}: {value}");
        }
    }

    #[test]
    fn nothing_that_is_said_becomes_markup() {
        let refusal = Refusal::new(StatusCode::NOT_FOUND, "NoSuchKey").with("Key", "<script>&\r\n\"");
        let asked = Asked {
            method: Method::GET,
            resource: "/".into(),
            attributes: false,
            id: super::super::request_id::RequestIds::new().next(),
        };
        let failed = Failed::from(refusal.clone());
        let response = page(&failed, Some(&refusal), &asked, &HeaderValue::from_static("host"));
        let html = response.body().bytes().unwrap_or_default();
        let html = String::from_utf8_lossy(&html).into_owned();
        assert!(!html.contains("<script>") && html.contains("&lt;script&gt;&amp;"), "{html}");
        assert_eq!(html.matches("<li>Code: NoSuchKey</li>").count(), 2);
        assert!(!response.headers().contains_key("x-amz-error-detail-key"));
        assert_eq!(response.headers()["x-amz-error-code"], "NoSuchKey");
    }
}
