//! Cross-origin requests: preflights are answered here, without a signature; other requests that a rule fits get the headers by
//! which a browser lets the page have the answer.
//!
//! Source: "Using cross-origin resource sharing (CORS)" and "Troubleshooting CORS" in the Amazon S3 user guide, and OPTIONS object in
//! the Amazon S3 API reference. The order of the checks and the headers are as S3's answers have them.

use http::request::Parts;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use s3s::Body;

use super::Refusal;
use super::buckets::{Buckets, is_absent, unknown};
use super::target::Target;
use crate::objects::{CORS_METHODS, CorsGrant, CorsRequest};
use crate::s3::cors::is_header_name;
use crate::s3::host::is_bucket_name;

/// What S3's answers depend on, once a rule fits.
static VARY: HeaderValue =
    HeaderValue::from_static("Origin, Access-Control-Request-Headers, Access-Control-Request-Method");

/// A request with an `Origin`, as far as rules are about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CrossOrigin {
    /// To be echoed.
    origin: HeaderValue,
    /// The method of the request that is to follow, if this is a preflight. S3 takes the header for the method of any request.
    asked_method: Option<String>,
    /// The method of this request.
    method: String,
    /// `None` if they cannot be names of headers.
    headers: Result<Vec<String>, String>,
}

impl CrossOrigin {
    /// `None` if there is no origin.
    pub(super) fn of(parts: &Parts) -> Option<Self> {
        let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let origin = parts.headers.get(header::ORIGIN).filter(|origin| !origin.is_empty())?.clone();
        let asked_method = parts.headers.get(header::ACCESS_CONTROL_REQUEST_METHOD).map(text);
        let lines = parts.headers.get_all(header::ACCESS_CONTROL_REQUEST_HEADERS).iter().map(text);
        let names = lines.flat_map(|line| line.split(',').map(|name| name.trim().to_owned()).collect::<Vec<_>>());
        let names = names.filter(|name| !name.is_empty());
        let headers = names.map(|name| if is_header_name(&name) { Ok(name) } else { Err(name) }).collect();
        Some(Self { origin, asked_method, method: parts.method.as_str().to_owned(), headers })
    }

    fn request(&self) -> Option<CorsRequest> {
        Some(CorsRequest {
            origin: String::from_utf8_lossy(self.origin.as_bytes()).into_owned(),
            method: self.asked_method.as_ref().unwrap_or(&self.method).clone(),
            headers: self.headers.clone().ok()?,
        })
    }
}

/// The headers that a rule grants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Granted(HeaderMap);

impl Granted {
    fn new(grant: &CorsGrant, origin: &HeaderValue) -> Self {
        let mut headers = HeaderMap::new();
        let list = |values: &[String]| HeaderValue::try_from(values.join(", ")).ok().filter(|value| !value.is_empty());
        if grant.any_origin {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        } else {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
        for (name, value) in [
            (header::ACCESS_CONTROL_ALLOW_METHODS, list(&grant.methods)),
            (header::ACCESS_CONTROL_ALLOW_HEADERS, list(&grant.headers)),
            (header::ACCESS_CONTROL_EXPOSE_HEADERS, list(&grant.expose)),
            (header::ACCESS_CONTROL_MAX_AGE, grant.max_age.map(HeaderValue::from)),
            (header::VARY, Some(VARY.clone())),
        ] {
            if let Some(value) = value {
                headers.insert(name, value);
            }
        }
        Self(headers)
    }

    /// Adds them to an answer, whatever it says.
    pub(super) fn put(self, headers: &mut HeaderMap) {
        headers.extend(self.0);
    }
}

/// What is granted to a request that is no preflight. What cannot be found out is granted to nobody, and prevents no answer.
pub(super) async fn granted(asks: &CrossOrigin, bucket: Option<&str>, buckets: &dyn Buckets) -> Option<Granted> {
    let bucket = bucket.filter(|name| is_bucket_name(name))?;
    match buckets.cors(bucket).await {
        Ok(rules) => {
            let grant = rules?.evaluate(&asks.request()?)?;
            Some(Granted::new(&grant, &asks.origin))
        }
        Err(error) => {
            if !is_absent(&error) {
                tracing::warn!(%error, bucket, "the bucket's rules for other origins are not known");
            }
            None
        }
    }
}

/// Answers a preflight.
///
/// # Errors
/// The browser is not allowed what it asks for, or did not ask as it must.
pub(super) async fn preflight(
    parts: &Parts,
    target: &Target,
    buckets: &dyn Buckets,
) -> Result<Response<Body>, Refusal> {
    let bad = |message: String| Refusal::new(StatusCode::BAD_REQUEST, "BadRequest").saying(message);
    let Some(asks) = CrossOrigin::of(parts) else {
        return Err(bad("Insufficient information. Origin request header needed.".to_owned()));
    };
    let forbidden = |message: &'static str, of: &'static str| {
        Refusal::new(StatusCode::FORBIDDEN, "AccessForbidden")
            .saying(message)
            .with("Method", asks.asked_method.as_deref().unwrap_or("OPTIONS"))
            .with("ResourceType", of)
    };
    let absent = || forbidden("CORSResponse: Bucket not found", "BUCKET");
    let bucket = target.bucket.as_deref().filter(|name| is_bucket_name(name)).ok_or_else(absent)?;
    let rules = match buckets.cors(bucket).await {
        Ok(Some(rules)) => rules,
        Ok(None) => return Err(forbidden("CORSResponse: CORS is not enabled for this bucket.", "BUCKET")),
        Err(error) if is_absent(&error) => return Err(absent()),
        Err(error) => return Err(unknown(&error)),
    };
    match asks.asked_method.as_deref() {
        Some(method) if CORS_METHODS.contains(&method) => {}
        method => return Err(bad(format!("Invalid Access-Control-Request-Method: {}", method.unwrap_or("null")))),
    }
    if let Err(name) = &asks.headers {
        return Err(bad(format!("Access-Control-Request-Headers \"{name}\" contains invalid character.")));
    }
    let Some(grant) = asks.request().and_then(|request| rules.evaluate(&request)) else {
        let message = "CORSResponse: This CORS request is not allowed. This is usually because the evalution of Origin, \
                       request method / Access-Control-Request-Method or Access-Control-Request-Headers are not \
                       whitelisted by the resource's CORS spec.";
        return Err(forbidden(message, if target.of_object { "OBJECT" } else { "BUCKET" }));
    };
    let mut response = Response::new(Body::empty());
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(0));
    Granted::new(&grant, &asks.origin).put(response.headers_mut());
    Ok(response)
}
