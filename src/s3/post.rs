//! POST Object: what the fields of a form mean, and how its upload is answered.
//!
//! A form that is signed, and is as its policy says, becomes a PutObject: each field that says something of the object becomes the header
//! that says it. So there is one way to write an object, and whatever PutObject refuses is refused here.
//!
//! Source: "POST Object" in the Amazon S3 API reference (`RESTObjectPOST`), and "HTML Form Fields".

use std::ops::RangeInclusive;

use bytes::Bytes;
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Uri, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use s3s::Body;
use s3s::dto::Tagging;
use s3s::xml::{Deserialize as _, Deserializer};
use url::Url;
use url::form_urlencoded;

use crate::access::Identity;
use crate::access::form::{Fields, FormAccess, FormError};
use crate::clock::Millis;
use crate::server::{OverTls, Refusal};

/// In the extensions of the PutObject that a form became. No request from outside can have it.
#[derive(Debug, Clone)]
pub struct VerifiedForm {
    /// Who signed the form, if anybody did.
    pub who: Identity,
    /// Whether the signature is one of version 2.
    pub version2: bool,
    /// When it was signed, as its policy says too; `None` if it is of version 2, or nobody's.
    pub signed: Option<Millis>,
}

/// Fields that are headers of the same name.
const HEADERS: [&str; 11] = [
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-md5",
    "content-type",
    "expires",
    "x-amz-acl",
    "x-amz-storage-class",
    "x-amz-tagging",
    "x-amz-website-redirect-location",
];

/// Beginnings of such names. PutObject refuses what is not built of them.
const HEADER_PREFIXES: [&str; 5] =
    ["x-amz-checksum-", "x-amz-grant-", "x-amz-meta-", "x-amz-object-lock-", "x-amz-server-side-encryption"];

/// Fields that are headers of another name.
const RENAMED: [(&str, &str); 2] = [("acl", "x-amz-acl"), ("x-amz-checksum-algorithm", "x-amz-sdk-checksum-algorithm")];

/// `x-amz-` fields that are about the form itself.
const OF_THE_FORM: [&str; 5] =
    ["x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-security-token", "x-amz-signature"];

/// As S3 writes keys in the addresses that it answers: everything else is escaped, `/` too.
const KEY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// What a successful upload is answered with.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Success {
    /// The client is sent on.
    Redirect(Url),
    /// 201, with a document.
    Created,
    /// 200 or 204, with nothing.
    Empty(StatusCode),
}

/// A form that was let through.
#[derive(Debug)]
pub struct Upload {
    form: VerifiedForm,
    bucket: String,
    key: String,
    /// Whether the bucket is part of the host's name.
    virtual_host: bool,
    headers: HeaderMap,
    success: Success,
    /// How many bytes the file may have.
    pub length: RangeInclusive<u64>,
}

/// `20260131T235959Z`
pub(super) fn signing_time(text: &str) -> Option<Millis> {
    let format = time::macros::format_description!("[year][month][day]T[hour][minute][second]Z");
    let signed = time::PrimitiveDateTime::parse(text, format).ok()?;
    Some(signed.assume_utc().unix_timestamp() * 1000)
}

impl Upload {
    /// Finds out who sent a form to `bucket`, and whether and how its file is to be stored.
    ///
    /// # Errors
    /// As S3 answers it: the key first, then the signature, then the policy, then the fields.
    pub fn accept(
        access: &FormAccess,
        now: Millis,
        bucket: String,
        virtual_host: bool,
        mut fields: Fields,
        file_name: Option<&str>,
    ) -> Result<Self, Refusal> {
        if fields.get("key").is_none() {
            return Err(FormError::Missing("key").into());
        }
        let (who, policy) = access.verify(now, &fields)?;
        let signed = fields.get("x-amz-date").and_then(signing_time).filter(|_| !who.is_anonymous());
        let form = VerifiedForm { who, version2: fields.get("awsaccesskeyid").is_some(), signed };
        fields.name_the_file(file_name);
        let length = match policy {
            Some(policy) => policy.check(now, &bucket, &fields).map_err(FormError::from)?,
            None => 0..=u64::MAX,
        };
        let key = fields.get("key").unwrap_or_default().to_owned();
        if key.is_empty() {
            return Err(invalid_argument("key", "", "User key must have a length greater than 0."));
        }
        let headers = headers(&fields)?;
        let success = Success::of(&fields);
        Ok(Self { form, bucket, key, virtual_host, headers, success, length })
    }

    /// The PutObject that the form becomes; `parts` are those of the form's request, of which only host and extensions count.
    ///
    /// # Errors
    /// The key is longer than any address.
    pub fn request(&self, parts: &Parts) -> Result<Parts, Refusal> {
        let key = utf8_percent_encode(&self.key, KEY);
        let path = if self.virtual_host { format!("/{key}") } else { format!("/{}/{key}", self.bucket) };
        let mut uri = parts.uri.clone().into_parts();
        let path = PathAndQuery::try_from(path);
        uri.path_and_query = Some(path.map_err(|_| Refusal::new(StatusCode::BAD_REQUEST, "KeyTooLongError"))?);
        let uri = Uri::from_parts(uri).map_err(|_| Refusal::new(StatusCode::BAD_REQUEST, "InvalidURI"))?;
        let (mut put, ()) = http::Request::new(()).into_parts();
        put.method = Method::PUT;
        put.uri = uri;
        put.version = parts.version;
        put.headers = self.headers.clone();
        put.headers.extend(parts.headers.get(header::HOST).map(|host| (header::HOST, host.clone())));
        put.extensions = parts.extensions.clone();
        put.extensions.insert(self.form.clone());
        Ok(put)
    }

    /// Makes the answer to the form of the answer to its PutObject, which succeeded.
    pub fn answer(&self, request: &Parts, mut response: Response<Body>) -> Response<Body> {
        let etag =
            response.headers().get(header::ETAG).and_then(|etag| etag.to_str().ok()).unwrap_or_default().to_owned();
        let location = self.location(request);
        let (status, location, body) = match &self.success {
            Success::Redirect(url) => {
                let mut url = url.clone();
                url.query_pairs_mut()
                    .append_pair("bucket", &self.bucket)
                    .append_pair("key", &self.key)
                    .append_pair("etag", &etag);
                (StatusCode::SEE_OTHER, String::from(url), Body::empty())
            }
            Success::Created => {
                let document = document(&location, &self.bucket, &self.key, &etag);
                (StatusCode::CREATED, location, Body::from(Bytes::from(document)))
            }
            Success::Empty(status) => (*status, location, Body::empty()),
        };
        *response.status_mut() = status;
        *response.body_mut() = body;
        let headers = response.headers_mut();
        headers.remove(header::CONTENT_LENGTH);
        headers.remove(header::CONTENT_TYPE);
        if self.success == Success::Created {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/xml"));
        }
        if let Ok(location) = HeaderValue::try_from(location) {
            headers.insert(header::LOCATION, location);
        }
        response
    }

    /// Where the object is, by the name under which the client reached us.
    fn location(&self, request: &Parts) -> String {
        let host = request.headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let host = host.or_else(|| request.uri.authority().map(http::uri::Authority::as_str)).unwrap_or("localhost");
        let key = utf8_percent_encode(&self.key, KEY);
        let root = format!("{}://{host}", OverTls::scheme(&request.extensions));
        if self.virtual_host { format!("{root}/{key}") } else { format!("{root}/{}/{key}", self.bucket) }
    }
}

impl Success {
    fn of(fields: &Fields) -> Self {
        let redirect = fields.get("success_action_redirect").or_else(|| fields.get("redirect"));
        // What is no address of a page counts as not being there.
        let url = redirect.and_then(|text| Url::parse(text).ok());
        if let Some(url) = url.filter(|url| matches!(url.scheme(), "http" | "https")) {
            return Self::Redirect(url);
        }
        match fields.get("success_action_status") {
            Some("200") => Self::Empty(StatusCode::OK),
            Some("201") => Self::Created,
            _ => Self::Empty(StatusCode::NO_CONTENT),
        }
    }
}

/// The headers of the PutObject. A field of S3's that stands for none would have an effect that it has not here.
fn headers(fields: &Fields) -> Result<HeaderMap, Refusal> {
    let mut headers = HeaderMap::new();
    for field in fields.iter() {
        let name = field.name.as_str();
        let renamed = RENAMED.iter().find(|(from, _)| *from == name).map(|(_, to)| *to);
        let (name, value) = if let Some(to) = renamed {
            (to, field.value.clone())
        } else if name == "tagging" {
            ("x-amz-tagging", tags(&field.value)?)
        } else if HEADERS.contains(&name) || HEADER_PREFIXES.iter().any(|prefix| name.starts_with(prefix)) {
            (name, field.value.clone())
        } else if name.starts_with("x-amz-") && !OF_THE_FORM.contains(&name) {
            let message = "A header or parameter you provided implies functionality that is not implemented.";
            return Err(Refusal::new(StatusCode::NOT_IMPLEMENTED, "NotImplemented")
                .saying(message)
                .with("Header", name));
        } else {
            continue;
        };
        let (Ok(header), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) else {
            let message = "A field that stands for a header cannot be one";
            return Err(invalid_argument(&field.sent_name, &field.value, message));
        };
        // Twice, as `acl` and `x-amz-acl`, it is refused like any header that is there twice.
        headers.append(header, value);
    }
    Ok(headers)
}

/// A `Tagging` document as the header that says the same.
fn tags(xml: &str) -> Result<String, Refusal> {
    let malformed = || Refusal::new(StatusCode::BAD_REQUEST, "MalformedXML");
    // s3s leaves the text of such sections out.
    if xml.contains("<![CDATA[") {
        return Err(malformed());
    }
    let mut document = Deserializer::new(xml.as_bytes());
    let tagging = Tagging::deserialize(&mut document).map_err(|_| malformed())?;
    document.expect_eof().map_err(|_| malformed())?;
    let mut header = form_urlencoded::Serializer::new(String::new());
    for tag in tagging.tag_set {
        header.append_pair(&tag.key.unwrap_or_default(), &tag.value.unwrap_or_default());
    }
    Ok(header.finish())
}

fn invalid_argument(name: &str, value: &str, message: &'static str) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, "InvalidArgument")
        .saying(message)
        .with("ArgumentName", name)
        .with("ArgumentValue", value)
}

fn document(location: &str, bucket: &str, key: &str, etag: &str) -> String {
    // XML 1.0 has no way to write control characters; the key is in the location as well, where they are escaped.
    let key: String = key.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    let element = |name: &str, text: &str| format!("<{name}>{}</{name}>", quick_xml::escape::escape(text));
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<PostResponse>{}{}{}{}</PostResponse>",
        element("Location", location),
        element("Bucket", bucket),
        element("Key", &key),
        element("ETag", etag),
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn fields(pairs: &[(&str, &str)]) -> Fields {
        let mut fields = Fields::default();
        for (name, value) in pairs {
            fields.add(name, value);
        }
        fields
    }

    #[test]
    fn fields_become_the_headers_that_say_the_same() {
        let headers = headers(&fields(&[
            ("key", "k"),
            ("acl", "private"),
            ("Content-Type", "text/plain"),
            ("X-Amz-Meta-Colour", "grün"),
            ("x-amz-checksum-algorithm", "CRC32"),
            ("x-amz-checksum-crc32", "AAAAAA=="),
            ("tagging", "<Tagging><TagSet><Tag><Key>a b</Key><Value>1&amp;2</Value></Tag></TagSet></Tagging>"),
            ("x-amz-date", "20151229T000000Z"),
            ("x-amz-security-token", "x"),
            ("submit", "x"),
            ("Authorization", "x"),
            ("x-ignore-this", "x"),
        ]))
        .unwrap();
        let mut all: Vec<(&str, &[u8])> =
            headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        all.sort_unstable();
        assert_eq!(
            all,
            [
                ("content-type", &b"text/plain"[..]),
                ("x-amz-acl", b"private"),
                ("x-amz-checksum-crc32", b"AAAAAA=="),
                ("x-amz-meta-colour", "grün".as_bytes()),
                ("x-amz-sdk-checksum-algorithm", b"CRC32"),
                ("x-amz-tagging", b"a+b=1%262"),
            ]
        );
    }

    #[test]
    fn what_cannot_be_or_would_do_nothing_is_refused() {
        for (name, value, code) in [
            ("x-amz-copy-source", "/a/b", "NotImplemented"),
            ("x-amz-meta-a", "line\nline", "InvalidArgument"),
            ("x-amz-meta-a b", "x", "InvalidArgument"),
            ("tagging", "not xml", "MalformedXML"),
            ("tagging", "<Other/>", "MalformedXML"),
            ("tagging", "<Tagging><TagSet/></Tagging><more/>", "MalformedXML"),
            (
                "tagging",
                "<Tagging><TagSet><Tag><Key>a<![CDATA[b]]></Key><Value/></Tag></TagSet></Tagging>",
                "MalformedXML",
            ),
        ] {
            assert_eq!(headers(&fields(&[(name, value)])).unwrap_err().code, code, "{name}={value}");
        }
    }

    #[test]
    fn success_is_answered_as_asked() {
        let of = |pairs: &[(&str, &str)]| Success::of(&fields(pairs));
        let no_content = Success::Empty(StatusCode::NO_CONTENT);
        assert_eq!(of(&[]), no_content);
        for (asked, answer) in [
            ("200", Success::Empty(StatusCode::OK)),
            ("201", Success::Created),
            ("204", no_content.clone()),
            ("404", no_content.clone()),
            ("", no_content.clone()),
        ] {
            assert_eq!(of(&[("success_action_status", asked)]), answer);
        }
        let redirect = Success::Redirect(Url::parse("http://a.test/b?c=d").unwrap());
        assert_eq!(
            of(&[("success_action_redirect", "http://a.test/b?c=d"), ("success_action_status", "201")]),
            redirect
        );
        assert_eq!(of(&[("redirect", "http://a.test/b?c=d")]), redirect);
        for bad in ["/relative", "javascript:alert(1)", "ftp://a.test/", "http://", ""] {
            assert_eq!(of(&[("success_action_redirect", bad)]), no_content, "{bad}");
        }
    }

    #[test]
    fn the_document_is_well_formed() {
        let text = document("http://a/b%01", "bkt", "a<&\u{1}", "\"e\"");
        assert!(text.contains("<Key>a&lt;&amp;\u{fffd}</Key><ETag>&quot;e&quot;</ETag>"), "{text}");
    }
}
