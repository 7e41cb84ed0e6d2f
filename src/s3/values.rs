//! Values between S3's wire form, as s3s gives it, and ours.

use std::collections::BTreeMap;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::{HeaderMap, HeaderValue};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use s3s::dto::{ETag, ETagCondition, Timestamp, TimestampFormat};
use s3s::{S3Error, S3Result};
use time::OffsetDateTime;

use super::error::{invalid_argument, invalid_request, not_implemented, s3_error};
use crate::clock::Millis;
use crate::metadata::{Checksum, ChecksumAlgorithm, ChecksumType, Headers, StorageClass, VersionId, WriteCondition};
use crate::objects::ETagList;

/// Bytes of user metadata, names and values together (S3: 2 KB).
const MAX_USER_METADATA: usize = 2048;

/// A time as s3s writes it; whole seconds, as S3 has them.
pub(super) fn timestamp(at: Millis) -> Timestamp {
    let at = OffsetDateTime::from_unix_timestamp(at.div_euclid(1000)).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    Timestamp::from(at)
}

/// A time as s3s read it.
pub(super) fn millis(at: &Timestamp) -> Millis {
    let at: OffsetDateTime = at.clone().into();
    (at.unix_timestamp_nanos() / 1_000_000) as Millis
}

/// A time as HTTP headers have it.
pub(super) fn http_date(at: Millis) -> String {
    let mut text = Vec::new();
    // Writing to memory; a date that cannot be written is left out by whoever reads an empty one.
    _ = timestamp(at).format(TimestampFormat::HttpDate, &mut text);
    String::from_utf8(text).unwrap_or_default()
}

/// An ETag as s3s writes it.
pub(super) fn etag(value: &str) -> ETag {
    ETag::Strong(value.to_owned())
}

/// The ETags of a conditional read, from the header itself: s3s reads lists as one odd tag.
pub(super) fn etag_list(headers: &HeaderMap, name: &str, parsed: Option<&ETagCondition>) -> Option<ETagList> {
    let raw = headers.get(name).and_then(|value| value.to_str().ok());
    match (raw, parsed) {
        (Some(raw), _) => Some(ETagList::parse(raw)),
        (None, Some(ETagCondition::Any)) => Some(ETagList::Any),
        (None, Some(ETagCondition::ETag(tag))) => Some(ETagList::Of(vec![tag.value().to_owned()])),
        (None, None) => None,
    }
}

/// The conditions of a write. S3 itself has only `*` for `If-None-Match` there; ETags are what MinIO and Ceph take.
pub(super) fn write_condition(
    headers: &HeaderMap,
    matches: Option<&ETagCondition>,
    none_match: Option<&ETagCondition>,
) -> S3Result<WriteCondition> {
    let named = |list| match list {
        ETagList::Any => vec!["*".to_owned()],
        ETagList::Of(tags) => tags,
    };
    let none_of = etag_list(headers, "if-none-match", none_match).map(named);
    let etags = etag_list(headers, "if-match", matches).map(named);
    if none_of.is_some() && etags.is_some() {
        return Err(not_implemented("If-Match"));
    }
    Ok(WriteCondition { none_of, etags, ..WriteCondition::default() })
}

/// `Content-MD5`, from the header itself: to s3s an empty one is none.
pub(super) fn content_md5(headers: &HeaderMap) -> S3Result<Option<[u8; 16]>> {
    let Some(value) = headers.get("content-md5") else { return Ok(None) };
    let decoded = value.to_str().ok().and_then(|text| BASE64_STANDARD.decode(text).ok());
    match decoded.and_then(|bytes| bytes.try_into().ok()) {
        Some(md5) => Ok(Some(md5)),
        None => {
            Err(s3_error("InvalidDigest", http::StatusCode::BAD_REQUEST, "The Content-MD5 you specified was invalid."))
        }
    }
}

/// The headers to be kept with an object.
#[derive(Default)]
pub(super) struct HeaderFields {
    pub(super) content_type: Option<String>,
    pub(super) content_encoding: Option<String>,
    pub(super) content_language: Option<String>,
    pub(super) content_disposition: Option<String>,
    pub(super) cache_control: Option<String>,
    pub(super) expires: Option<Timestamp>,
    pub(super) website_redirect: Option<String>,
    pub(super) user: Option<s3s::dto::Metadata>,
}

impl HeaderFields {
    /// Checks and gathers them. `aws-chunked` is a transfer coding of S3's own and is not kept.
    pub(super) fn into_headers(self) -> S3Result<Headers> {
        let content_encoding = self.content_encoding.map(|encoding| {
            let is_ours = |token: &&str| token.eq_ignore_ascii_case("aws-chunked");
            let tokens = || encoding.split(',').map(str::trim);
            if tokens().any(|token| is_ours(&token)) {
                tokens().filter(|token| !is_ours(token)).collect::<Vec<_>>().join(", ")
            } else {
                encoding
            }
        });
        let mut user = BTreeMap::new();
        for (name, value) in self.user.into_iter().flatten() {
            user.insert(name.to_ascii_lowercase(), value);
        }
        let size: usize = user.iter().map(|(name, value)| name.len() + value.len()).sum();
        if size > MAX_USER_METADATA {
            let error = s3_error(
                "MetadataTooLarge",
                http::StatusCode::BAD_REQUEST,
                "Your metadata headers exceed the maximum allowed metadata size",
            );
            let error = super::error::with_detail(error, "Size", size.to_string());
            return Err(super::error::with_detail(error, "MaxSizeAllowed", MAX_USER_METADATA.to_string()));
        }
        if let Some(redirect) = &self.website_redirect
            && !["/", "http://", "https://"].iter().any(|start| redirect.starts_with(start))
        {
            return Err(s3_error(
                "InvalidRedirectLocation",
                http::StatusCode::BAD_REQUEST,
                "The website redirect location must have a prefix of 'http://' or 'https://' or '/'.",
            ));
        }
        Ok(Headers {
            content_type: self.content_type,
            content_encoding: content_encoding.filter(|encoding| !encoding.is_empty()),
            content_language: self.content_language,
            content_disposition: self.content_disposition,
            cache_control: self.cache_control,
            expires: self.expires.map(|at| http_date(millis(&at))),
            website_redirect: self.website_redirect,
            user,
        })
    }
}

/// `Expires` as it was stored.
pub(super) fn expires(text: Option<&String>) -> Option<Timestamp> {
    text.and_then(|text| Timestamp::parse(TimestampFormat::HttpDate, text).ok())
}

/// What we do not build so far must not be silently dropped: each of these headers asks for something.
pub(super) fn refuse_unbuilt(asked: &[(&str, bool)]) -> S3Result<()> {
    match asked.iter().find(|(_, asked)| *asked) {
        Some((header, _)) => Err(not_implemented(header)),
        None => Ok(()),
    }
}

/// The headers that no operation of ours obeys, wherever they appear, and those that `operation` does not.
pub(super) fn refuse_unbuilt_headers(headers: &HeaderMap, operation: &str) -> S3Result<()> {
    const UNBUILT: [&str; 8] = [
        "x-amz-server-side-encryption",
        "x-amz-server-side-encryption-aws-kms-key-id",
        "x-amz-server-side-encryption-context",
        "x-amz-server-side-encryption-bucket-key-enabled",
        "x-amz-server-side-encryption-customer-algorithm",
        "x-amz-server-side-encryption-customer-key",
        "x-amz-server-side-encryption-customer-key-md5",
        "x-amz-copy-source-server-side-encryption-customer-algorithm",
    ];
    if operation != "put_object" && headers.contains_key("x-amz-write-offset-bytes") {
        return Err(not_implemented("x-amz-write-offset-bytes"));
    }
    if let Some(header) = UNBUILT.iter().find(|name| headers.contains_key(**name)) {
        return Err(not_implemented(header));
    }
    // A checksum that nobody compares is worse than none.
    let known =
        |name: &str| matches!(name, "algorithm" | "mode" | "type") || ChecksumAlgorithm::from_name(name).is_some();
    let trailer =
        headers.get("x-amz-trailer").and_then(|name| name.to_str().ok()).map(|name| name.trim().to_ascii_lowercase());
    let names = headers.keys().map(|name| name.as_str()).chain(trailer.as_deref());
    if names.filter_map(|name| name.strip_prefix("x-amz-checksum-")).any(|name| !known(name)) {
        return Err(invalid_request("The algorithm type you specified in x-amz-checksum- header is invalid."));
    }
    Ok(())
}

/// `x-amz-storage-class`. What is kept elsewhere than the rest, or would have to be restored, is not built.
pub(super) fn storage_class(class: Option<&s3s::dto::StorageClass>) -> S3Result<Option<StorageClass>> {
    const UNBUILT: [&str; 10] = [
        "GLACIER",
        "STANDARD_IA",
        "ONEZONE_IA",
        "INTELLIGENT_TIERING",
        "DEEP_ARCHIVE",
        "OUTPOSTS",
        "GLACIER_IR",
        "SNOW",
        "EXPRESS_ONEZONE",
        "FSX_OPENZFS",
    ];
    let Some(name) = class.map(s3s::dto::StorageClass::as_str) else { return Ok(None) };
    match StorageClass::from_name(name) {
        Some(class) => Ok(Some(class)),
        None if UNBUILT.contains(&name) => Err(not_implemented("x-amz-storage-class")),
        None => Err(s3_error(
            "InvalidStorageClass",
            http::StatusCode::BAD_REQUEST,
            "The storage class you specified is not valid",
        )),
    }
}

/// `versionId`
pub(super) fn version(id: Option<&str>) -> S3Result<Option<VersionId>> {
    match id {
        None => Ok(None),
        Some("") => Err(invalid_argument("versionId", "", "Version id cannot be the empty string")),
        Some(id) => match VersionId::parse(id) {
            Some(version) => Ok(Some(version)),
            None => Err(invalid_argument("versionId", id, "Invalid version id specified")),
        },
    }
}

/// A version as answers show it.
pub(super) fn version_id(version: Option<&VersionId>) -> Option<String> {
    version.map(|version| version.as_str().to_owned())
}

/// `x-minio-force-delete`: whether nothing of what is deleted is to stay; in the words that Go has for a boolean.
pub(super) fn force_delete(headers: &HeaderMap) -> S3Result<bool> {
    let Some(value) = headers.get("x-minio-force-delete") else { return Ok(false) };
    match value.to_str().unwrap_or_default() {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "" | "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        other => Err(invalid_argument("x-minio-force-delete", other, "The value is no boolean")),
    }
}

/// `x-amz-checksum-algorithm` and its kin.
pub(super) fn algorithm(name: Option<&str>) -> S3Result<Option<ChecksumAlgorithm>> {
    let Some(name) = name else { return Ok(None) };
    ChecksumAlgorithm::from_name(name).map(Some).ok_or_else(|| {
        invalid_request("Checksum algorithm provided is unsupported. Please try again with any of the valid types: [CRC32, CRC32C, CRC64NVME, MD5, SHA1, SHA256, SHA512, XXHASH128, XXHASH3, XXHASH64]")
    })
}

/// `x-amz-checksum-type`
pub(super) fn checksum_type(name: Option<&str>) -> S3Result<Option<ChecksumType>> {
    let Some(name) = name else { return Ok(None) };
    ChecksumType::from_name(name)
        .map(Some)
        .ok_or_else(|| invalid_request("Value for x-amz-checksum-type header is invalid."))
}

/// `x-amz-checksum-*` of a request, base64, from the headers themselves: s3s knows those of five algorithms, and to it an empty one is none.
/// More than one is an error.
pub(super) fn checksum_header(headers: &HeaderMap) -> S3Result<Option<(ChecksumAlgorithm, String)>> {
    let mut found = None;
    for algorithm in ChecksumAlgorithm::ALL {
        for value in headers.get_all(checksum_name(algorithm)) {
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            if found.replace((algorithm, value)).is_some() {
                return Err(several_checksums());
            }
        }
    }
    Ok(found)
}

/// What is wrong with a request that has more than one checksum.
pub(super) fn several_checksums() -> S3Error {
    invalid_request("Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.")
}

/// Shows a checksum in an answer's header.
pub(super) fn put_checksum_header(headers: &mut HeaderMap, checksum: Option<&Checksum>) {
    if let Some(checksum) = checksum
        && let Ok(value) = HeaderValue::from_str(&checksum.value)
    {
        headers.insert(checksum_name(checksum.algorithm), value);
    }
}

fn checksum_name(algorithm: ChecksumAlgorithm) -> &'static str {
    match algorithm {
        ChecksumAlgorithm::Crc32 => "x-amz-checksum-crc32",
        ChecksumAlgorithm::Crc32c => "x-amz-checksum-crc32c",
        ChecksumAlgorithm::Crc64Nvme => "x-amz-checksum-crc64nvme",
        ChecksumAlgorithm::Md5 => "x-amz-checksum-md5",
        ChecksumAlgorithm::Sha1 => "x-amz-checksum-sha1",
        ChecksumAlgorithm::Sha256 => "x-amz-checksum-sha256",
        ChecksumAlgorithm::Sha512 => "x-amz-checksum-sha512",
        ChecksumAlgorithm::Xxh128 => "x-amz-checksum-xxhash128",
        ChecksumAlgorithm::Xxh3 => "x-amz-checksum-xxhash3",
        ChecksumAlgorithm::Xxh64 => "x-amz-checksum-xxhash64",
    }
}

/// The name of a checksum's element.
pub(super) fn checksum_element(algorithm: ChecksumAlgorithm) -> String {
    format!("Checksum{}", algorithm.name())
}

/// Puts the value of a checksum into any of s3s's structures that are elements; answers XML for what they have no field for, or nothing.
macro_rules! put_checksum {
    ($into:expr, $algorithm:expr, $value:expr) => {{
        use $crate::metadata::ChecksumAlgorithm as Algorithm;
        let (algorithm, value): (Algorithm, String) = ($algorithm, $value);
        let field = match algorithm {
            Algorithm::Crc32 => Some(&mut $into.checksum_crc32),
            Algorithm::Crc32c => Some(&mut $into.checksum_crc32c),
            Algorithm::Crc64Nvme => Some(&mut $into.checksum_crc64nvme),
            Algorithm::Sha1 => Some(&mut $into.checksum_sha1),
            Algorithm::Sha256 => Some(&mut $into.checksum_sha256),
            Algorithm::Md5 | Algorithm::Sha512 | Algorithm::Xxh128 | Algorithm::Xxh3 | Algorithm::Xxh64 => None,
        };
        let mut xml = String::new();
        match field {
            Some(field) => *field = Some(value),
            None => $crate::server::element(&mut xml, &$crate::s3::values::checksum_element(algorithm), &value),
        }
        xml
    }};
}

/// Moves the fields of [`HeaderFields`] out of any of s3s's structures that have them.
macro_rules! header_fields {
    ($from:expr) => {
        $crate::s3::values::HeaderFields {
            content_type: $from.content_type.take(),
            content_encoding: $from.content_encoding.take(),
            content_language: $from.content_language.take(),
            content_disposition: $from.content_disposition.take(),
            cache_control: $from.cache_control.take(),
            expires: $from.expires.take(),
            website_redirect: $from.website_redirect_location.take(),
            user: $from.metadata.take(),
        }
    };
}

pub(super) use {header_fields, put_checksum};

/// Keys and prefixes as `encoding-type=url` has them: percent-encoded, but not `/`.
pub(super) fn url_encode(text: &str) -> String {
    const KEPT: &AsciiSet =
        &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/').remove(b'*');
    utf8_percent_encode(text, KEPT).to_string()
}

/// How keys are shown in a listing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Encoding {
    url: bool,
}

impl Encoding {
    /// `encoding-type`: nothing, or `url`.
    pub(super) fn parse(kind: Option<&str>) -> S3Result<Self> {
        match kind {
            None => Ok(Self { url: false }),
            Some("url") => Ok(Self { url: true }),
            Some(other) => {
                Err(invalid_argument("encoding-type", other, "Invalid Encoding Method specified in Request"))
            }
        }
    }

    /// A key, prefix or marker.
    pub(super) fn apply(self, text: &str) -> String {
        if self.url { url_encode(text) } else { text.to_owned() }
    }
}

/// `max-keys`, `max-uploads`, `max-parts`: 1,000 unless fewer are asked for.
pub(super) fn page_limit(name: &str, asked: Option<i32>) -> S3Result<u32> {
    match asked {
        None => Ok(1000),
        Some(n) => u32::try_from(n).map(|n| n.min(1000)).map_err(|_| {
            invalid_argument(
                name,
                &n.to_string(),
                format!("Argument {name} must be an integer between 0 and 2147483647"),
            )
        }),
    }
}

/// A number of ours in one of S3's signed fields.
pub(super) fn signed<T: TryInto<i64>>(value: T) -> i64 {
    value.try_into().unwrap_or(i64::MAX)
}

/// The same for 32-bit fields.
pub(super) fn signed32<T: TryInto<i32>>(value: T) -> i32 {
    value.try_into().unwrap_or(i32::MAX)
}

/// Documents that S3 limits more narrowly than others.
pub(super) fn document_limit(headers: &HeaderMap, max: u64) -> S3Result<()> {
    let length = headers.get("x-amz-decoded-content-length").or_else(|| headers.get(http::header::CONTENT_LENGTH));
    let length = length.and_then(|value| value.to_str().ok()).and_then(|text| text.parse::<u64>().ok());
    if length.is_none_or(|length| length <= max) {
        return Ok(());
    }
    let error = s3_error("MaxMessageLengthExceeded", http::StatusCode::BAD_REQUEST, "Your request was too big.");
    Err(super::error::with_detail(error, "MaxMessageLengthBytes", max.to_string()))
}

/// Keys: 1 to 1,024 bytes, without NUL, which PostgreSQL has no text for.
pub(super) fn check_key(key: &str) -> Result<(), S3Error> {
    if key.len() > 1024 {
        let error = s3_error("KeyTooLongError", http::StatusCode::BAD_REQUEST, "Your key is too long");
        let error = super::error::with_detail(error, "Size", key.len().to_string());
        return Err(super::error::with_detail(error, "MaxSizeAllowed", "1024"));
    }
    if key.is_empty() || key.contains('\0') {
        return Err(invalid_argument("key", key, "Object keys must not be empty or contain NUL."));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn keys_are_encoded_as_s3_lists_them() {
        assert_eq!(url_encode("foo+1/bär baz"), "foo%2B1/b%C3%A4r%20baz");
        assert_eq!(url_encode("a\u{1}%*"), "a%01%25*");
    }

    #[test]
    fn aws_chunked_is_no_content_encoding() {
        let fields =
            |encoding: &str| HeaderFields { content_encoding: Some(encoding.into()), ..HeaderFields::default() };
        assert_eq!(fields("aws-chunked").into_headers().unwrap().content_encoding, None);
        for (sent, kept) in [("gzip, aws-chunked", "gzip"), ("aws-chunked,br,gzip", "br, gzip"), ("br,gzip", "br,gzip")]
        {
            assert_eq!(fields(sent).into_headers().unwrap().content_encoding.unwrap(), kept);
        }
    }

    #[test]
    fn dates_are_whole_seconds() {
        assert_eq!(http_date(1_700_000_000_999), "Tue, 14 Nov 2023 22:13:20 GMT");
    }
}
