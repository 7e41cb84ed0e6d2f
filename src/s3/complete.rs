//! CompleteMultipartUpload, as a route of our own: the checksums that a document names its parts with are of ten algorithms, of which s3s
//! knows five, and to it a document with another is malformed.
//!
//! Source: "CompleteMultipartUpload" and "CompletedPart" in the Amazon S3 API reference.

use http::{Extensions, HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use quick_xml::Reader;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::Event;
use s3s::path::{S3Path, parse_path_style, parse_virtual_hosted_style};
use s3s::route::S3Route;
use s3s::{Body, S3Request, S3Response, S3Result};

use super::Api;
use super::error::{from_objects, invalid_request, malformed_xml, s3_error};
use super::guard::{self, Guard};
use super::host::Domains;
use super::multipart::part_number;
use super::noted;
use super::values::{
    check_key, checksum_element, checksum_header, checksum_type, refuse_unbuilt_headers, url_encode, write_condition,
};
use crate::access::query::Query;
use crate::metadata::{ChecksumAlgorithm, UploadId};
use crate::objects::{CompletePart, CompleteRequest, CompletedUpload};
use crate::server::{BodyFault, OverTls, element};

/// Bytes that a document may have; the server takes no larger ones.
const MAX_DOCUMENT: usize = 20 << 20;

/// The route.
#[derive(Debug, Clone)]
pub struct Complete {
    api: Api,
    guard: Guard,
    domains: Domains,
}

/// The object that is to be made, in the extensions of the request.
#[derive(Debug, Clone)]
struct Completed {
    bucket: String,
    key: String,
}

impl Complete {
    /// Completions for the store behind `api`, by those whom `guard` lets through.
    pub fn new(api: Api, guard: Guard, domains: Domains) -> Self {
        Self { api, guard, domains }
    }

    /// The object that a request names.
    fn target(&self, uri: &Uri, headers: &HeaderMap) -> Option<Completed> {
        let path = percent_encoding::percent_decode_str(uri.path()).decode_utf8().ok()?;
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let host = host.or_else(|| uri.authority().map(http::uri::Authority::as_str));
        let path = match host.and_then(|host| self.domains.bucket(host)) {
            Some(bucket) => parse_virtual_hosted_style(Some(&bucket), &path),
            None => parse_path_style(&path),
        };
        let path = path.ok()?;
        path.as_object().map(|(bucket, key)| Completed { bucket: bucket.to_owned(), key: key.to_owned() })
    }
}

#[async_trait::async_trait]
impl S3Route for Complete {
    fn is_match(&self, method: &Method, uri: &Uri, headers: &HeaderMap, extensions: &mut Extensions) -> bool {
        let asks = |query: &str| query.split('&').any(|piece| piece.split('=').next() == Some("uploadId"));
        if *method != Method::POST || !uri.query().is_some_and(asks) {
            return false;
        }
        let target = self.target(uri, headers);
        target.map(|target| extensions.insert(target)).is_some()
    }

    async fn check_access(&self, request: &mut S3Request<Body>) -> S3Result<()> {
        let Completed { bucket, key } = completed(&request.extensions)?;
        self.guard.check_route("CompleteMultipartUpload", S3Path::object(&bucket, &key), request).await
    }

    async fn call(&self, request: S3Request<Body>) -> S3Result<S3Response<Body>> {
        refuse_unbuilt_headers(&request.headers, "complete_multipart_upload")?;
        let api = self.api.of(&request);
        complete(api.as_ref().unwrap_or(&self.api), request).await
    }
}

/// What was found when the request was seen to be one of these.
fn completed(extensions: &Extensions) -> S3Result<Completed> {
    let missing = || s3_error("InternalError", StatusCode::INTERNAL_SERVER_ERROR, "We encountered an internal error.");
    extensions.get().cloned().ok_or_else(missing)
}

async fn complete(api: &Api, request: S3Request<Body>) -> S3Result<S3Response<Body>> {
    let noted = noted(&request);
    let S3Request { input: body, headers, extensions, uri, .. } = request;
    let Completed { bucket, key } = completed(&extensions)?;
    check_key(&key)?;
    // The guard has read it already.
    let query = Query::parse(uri.query())
        .map_err(|error| s3_error("InvalidURI", StatusCode::BAD_REQUEST, error.to_string()))?;
    let document = read(body).await?;
    let mut parts = Vec::new();
    for part in named_parts(&document).filter(|parts| !parts.is_empty()).ok_or_else(malformed_xml)? {
        let (Some(etag), Some(number)) = (part.etag, part.number) else { return Err(malformed_xml()) };
        parts.push(CompletePart { number: part_number(number)?, etag, checksums: part.checksums });
    }
    // Which of two counts would be anyone's guess.
    for name in ["x-amz-checksum-type", "x-amz-mp-object-size", "if-match", "if-none-match"] {
        if headers.get_all(name).iter().count() > 1 {
            return Err(invalid_request(format!("There is more than one {name} header")));
        }
    }
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let size = text("x-amz-mp-object-size").map(|size| {
        size.parse()
            .map_err(|_| invalid_request("Value for x-amz-mp-object-size header is less than zero or is not valid."))
    });
    let complete = CompleteRequest {
        bucket: bucket.clone(),
        key: key.clone(),
        upload: UploadId(query.get("uploadId").unwrap_or_default().to_owned()),
        parts,
        checksum: checksum_header(&headers)?,
        kind: checksum_type(text("x-amz-checksum-type"))?,
        size: size.transpose()?,
        condition: write_condition(&headers, None, None)?,
    };
    let done = api.store.complete_upload(complete).await.map_err(from_objects)?;
    if let Some(noted) = noted {
        noted.object(&key, done.size);
    }
    let location = location(OverTls::scheme(&extensions), &headers, &bucket, &key);
    let mut response = S3Response::new(Body::from(answer(&location, &bucket, &key, &done)));
    response.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    if let Some(version) = done.version.as_ref().and_then(|version| HeaderValue::from_str(version.as_str()).ok()) {
        response.headers.insert("x-amz-version-id", version);
    }
    Ok(response)
}

/// The document, whose digests the server compares as it comes.
async fn read(mut body: Body) -> S3Result<String> {
    let bytes = body.store_all_limited(MAX_DOCUMENT).await.map_err(|error| match BodyFault::of(&*error) {
        Some(fault) => guard::s3_error(&fault.refusal()),
        None => s3_error("MaxMessageLengthExceeded", StatusCode::BAD_REQUEST, "Your request was too big."),
    })?;
    String::from_utf8(bytes.into()).map_err(|_| malformed_xml())
}

/// What a document says of a part.
#[derive(Debug, Default, PartialEq, Eq)]
struct NamedPart {
    number: Option<i32>,
    /// Without quotes.
    etag: Option<String>,
    checksums: Vec<(ChecksumAlgorithm, String)>,
}

impl NamedPart {
    /// Takes what an element says; each comes once.
    fn take(&mut self, name: &str, text: String) -> Option<()> {
        match name {
            "PartNumber" => self.number.replace(text.trim().parse().ok()?).is_none().then_some(()),
            "ETag" => self.etag.replace(unquoted(&text).to_owned()).is_none().then_some(()),
            _ => {
                let algorithm = ChecksumAlgorithm::ALL.into_iter().find(|a| checksum_element(*a) == name)?;
                if self.checksums.iter().any(|(a, _)| *a == algorithm) {
                    return None;
                }
                self.checksums.push((algorithm, text));
                Some(())
            }
        }
    }
}

fn unquoted(etag: &str) -> &str {
    let etag = etag.trim();
    etag.strip_prefix('"').and_then(|etag| etag.strip_suffix('"')).unwrap_or(etag)
}

/// The parts that a document names; `None` if it is not what it should be. Elements beside the parts are left alone, others in them are not.
fn named_parts(document: &str) -> Option<Vec<NamedPart>> {
    let mut reader = Reader::from_str(document.trim_start_matches('\u{feff}'));
    reader.config_mut().expand_empty_elements = true;
    let root = loop {
        match next_element(&mut reader)? {
            Next::Element(name) => break name,
            Next::End => return None,
            Next::Other => {}
        }
    };
    if root != "CompleteMultipartUpload" {
        return None;
    }
    let mut parts = Vec::new();
    loop {
        match next_element(&mut reader)? {
            Next::Element(name) if name == "Part" => parts.push(part(&mut reader)?),
            Next::Element(name) => {
                reader.read_to_end(quick_xml::name::QName(name.as_bytes())).ok()?;
            }
            Next::End => break,
            Next::Other => {}
        }
    }
    Some(parts)
}

fn part(reader: &mut Reader<&[u8]>) -> Option<NamedPart> {
    let mut part = NamedPart::default();
    loop {
        match next_element(reader)? {
            Next::Element(name) => part.take(&name, text(reader)?)?,
            Next::End => return Some(part),
            Next::Other => {}
        }
    }
}

enum Next {
    Element(String),
    End,
    Other,
}

/// What comes next where elements do; `None` if it may not.
fn next_element(reader: &mut Reader<&[u8]>) -> Option<Next> {
    match reader.read_event().ok()? {
        Event::Start(start) => Some(Next::Element(std::str::from_utf8(start.name().as_ref()).ok()?.to_owned())),
        Event::End(_) => Some(Next::End),
        Event::DocType(_) | Event::CData(_) | Event::Eof => None,
        _ => Some(Next::Other),
    }
}

/// The text of an element that has no others.
fn text(reader: &mut Reader<&[u8]>) -> Option<String> {
    let mut text = String::new();
    loop {
        match reader.read_event().ok()? {
            Event::Text(piece) => text.push_str(&piece.decode().ok()?),
            Event::GeneralRef(reference) => match reference.resolve_char_ref().ok()? {
                Some(character) => text.push(character),
                None => text.push_str(resolve_predefined_entity(&reference.decode().ok()?)?),
            },
            Event::Comment(_) => {}
            Event::End(_) => return Some(text),
            _ => return None,
        }
    }
}

/// The document that answers a completion.
fn answer(location: &str, bucket: &str, key: &str, done: &CompletedUpload) -> String {
    let mut xml = String::from(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\
         <CompleteMultipartUploadResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">",
    );
    element(&mut xml, "Location", location);
    element(&mut xml, "Bucket", bucket);
    element(&mut xml, "Key", key);
    element(&mut xml, "ETag", &format!("\"{}\"", done.etag));
    if let Some(checksum) = &done.checksum {
        element(&mut xml, &checksum_element(checksum.algorithm), &checksum.value);
        element(&mut xml, "ChecksumType", checksum.kind.name());
    }
    xml.push_str("</CompleteMultipartUploadResult>");
    xml
}

/// Where the completed object is, by the name under which the client reached us.
fn location(scheme: &str, headers: &HeaderMap, bucket: &str, key: &str) -> String {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost");
    let key = url_encode(key);
    if host.starts_with(&format!("{bucket}.")) {
        format!("{scheme}://{host}/{key}")
    } else {
        format!("{scheme}://{host}/{bucket}/{key}")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn document(parts: &str) -> String {
        format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>")
    }

    #[test]
    fn parts_are_named_with_checksums_of_all_algorithms() {
        let mut part = String::from("<PartNumber> 7 </PartNumber><ETag>&quot;ab&#34;</ETag>");
        for algorithm in ChecksumAlgorithm::ALL {
            let name = checksum_element(algorithm);
            part.push_str(&format!("<{name}>{}</{name}>", algorithm.name()));
        }
        let xml = format!(
            "\u{feff}<?xml version=\"1.0\"?>\n<!-- c --><CompleteMultipartUpload xmlns=\"x\">\n <New><Part/></New>\n <Part>\n{part}</Part>\
             <Part><ETag>cd</ETag></Part></CompleteMultipartUpload>"
        );
        let parts = named_parts(&xml).unwrap();
        assert_eq!((parts[0].number, parts[0].etag.as_deref()), (Some(7), Some("ab")));
        let all = ChecksumAlgorithm::ALL.map(|algorithm| (algorithm, algorithm.name().to_owned()));
        assert_eq!(parts[0].checksums, all);
        assert_eq!(parts[1], NamedPart { etag: Some("cd".into()), ..NamedPart::default() });
        assert_eq!(parts.len(), 2);
        assert_eq!(named_parts("<CompleteMultipartUpload/>").unwrap(), []);
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for xml in [
            String::new(),
            "no xml".into(),
            "<Complete/>".into(),
            "<CompleteMultipartUpload>".into(),
            "<CompleteMultipartUpload></Complete>".into(),
            "<!DOCTYPE x [<!ENTITY e \"1\">]><CompleteMultipartUpload/>".into(),
            document("<Part><PartNumber>1"),
            document("<Part><PartNumber>one</PartNumber></Part>"),
            document("<Part><PartNumber>1</PartNumber><PartNumber>1</PartNumber></Part>"),
            document("<Part><ETag>a</ETag><ETag>a</ETag></Part>"),
            document("<Part><ETag>a<b/></ETag></Part>"),
            document("<Part><ETag>&e;</ETag></Part>"),
            document("<Part><ETag><![CDATA[a]]></ETag></Part>"),
            document("<Part><ChecksumMD5>a</ChecksumMD5><ChecksumMD5>a</ChecksumMD5></Part>"),
            document("<Part><ChecksumMD4>a</ChecksumMD4></Part>"),
            document("<Part><checksummd5>a</checksummd5></Part>"),
            document("<x:Part><ETag>a</ETag></x:Part><Part><x:ETag>a</x:ETag></Part>"),
        ] {
            assert_eq!(named_parts(&xml), None, "{xml}");
        }
    }

    #[test]
    fn an_answer_is_xml() {
        let done = CompletedUpload {
            etag: "ab-1".into(),
            checksum: Some(crate::metadata::Checksum {
                algorithm: ChecksumAlgorithm::Xxh3,
                kind: crate::metadata::ChecksumType::Composite,
                value: "x-1".into(),
            }),
            size: 1,
            version: None,
        };
        let xml = answer("http://h/b/k", "b", "a<&>b\u{1}", &done);
        assert!(
            xml.contains(
                "<Key>a&lt;&amp;&gt;b\u{fffd}</Key><ETag>\"ab-1\"</ETag><ChecksumXXHASH3>x-1</ChecksumXXHASH3>"
            ),
            "{xml}"
        );
        assert!(xml.ends_with("<ChecksumType>COMPOSITE</ChecksumType></CompleteMultipartUploadResult>"));
    }
}
