//! The XML documents that some requests bring, and the digests that their headers announce: `s3s` compares none of them but the
//! SHA-256 of the signature, and calls that an internal error.
//!
//! Source: "Checking object integrity" in the Amazon S3 user guide; `Content-MD5` is RFC 1864's.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::{HeaderMap, Method, StatusCode};

use super::{BodyFault, Refusal};
use crate::access::query::Query;
use crate::chunks::Digest as _;
use crate::metadata::ChecksumAlgorithm;
use crate::objects::digest::{Hashes, checksum_len};

/// Sub-resources of objects that are put as XML.
const XML_OF_OBJECTS: [&str; 4] = ["acl", "legal-hold", "retention", "tagging"];

/// Whether the body is a document rather than an object's bytes.
pub(super) fn is_document(method: &Method, of_object: bool, query: &Query) -> bool {
    *method == Method::POST
        || (*method == Method::PUT && (!of_object || XML_OF_OBJECTS.iter().any(|name| query.has(name))))
}

/// What begins a CDATA section: `s3s` leaves its text out, and would delete `ac` for `a<![CDATA[b]]>c`.
const CDATA: &[u8] = b"<![CDATA[";

/// MinIO's `ExcludedPrefixes` and `ExcludeFolders` in a bucket's versioning, which `s3s` leaves out: versions would be kept of what they name.
const EXCLUSION: &[u8] = b"Exclude";

/// Bytes that are looked for, of which the first is nowhere else in them.
#[derive(Debug)]
struct Needle {
    bytes: &'static [u8],
    /// How many of them the last ones read agree with.
    agreed: usize,
}

impl Needle {
    fn new(bytes: &'static [u8]) -> Self {
        Self { bytes, agreed: 0 }
    }

    fn update(&mut self, seen: &[u8]) {
        for &byte in seen {
            match self.bytes.get(self.agreed) {
                None => return,
                Some(&next) if next == byte => self.agreed += 1,
                Some(_) => self.agreed = usize::from(self.bytes.first() == Some(&byte)),
            }
        }
    }

    fn is_found(&self) -> bool {
        self.agreed == self.bytes.len()
    }
}

/// What a document's digests must be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Announced {
    /// Whether there is a document at all.
    document: bool,
    /// Whether it is a bucket's versioning.
    versioning: bool,
    md5: Option<[u8; 16]>,
    checksum: Option<(ChecksumAlgorithm, String)>,
    /// What was signed.
    sha256: Option<[u8; 32]>,
}

impl Announced {
    /// Reads the headers of a request whose body is a document. Of a completion, `x-amz-checksum-*` are the object's.
    pub(super) fn of(headers: &HeaderMap, query: &Query, sha256: Option<[u8; 32]>) -> Result<Self, Refusal> {
        let bad = |code| Refusal::new(StatusCode::BAD_REQUEST, code);
        // Which of two counts would be anyone's guess.
        let only = |name: &str| match headers.get_all(name).iter().count() {
            0 | 1 => Ok(headers.get(name)),
            _ => Err(bad("InvalidRequest").saying(format!("There is more than one {name} header"))),
        };
        let md5 = match only("content-md5")? {
            None => None,
            Some(value) => {
                let decoded = BASE64_STANDARD.decode(value).ok().and_then(|bytes| bytes.try_into().ok());
                Some(decoded.ok_or_else(|| bad("InvalidDigest"))?)
            }
        };
        let mut checksum = None;
        if !query.has("uploadId") {
            for algorithm in ChecksumAlgorithm::ALL {
                let name = format!("x-amz-checksum-{}", algorithm.name().to_ascii_lowercase());
                let Some(value) = only(&name)? else { continue };
                let len = BASE64_STANDARD.decode(value).map_or(0, |bytes| bytes.len());
                if len != checksum_len(algorithm) {
                    return Err(bad("InvalidRequest").saying(format!("Value for {name} header is invalid.")));
                }
                if checksum.is_some() {
                    return Err(bad("InvalidRequest").saying(
                        "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.",
                    ));
                }
                checksum = Some((algorithm, String::from_utf8_lossy(value.as_bytes()).into_owned()));
            }
        }
        // A body that is read here has no trailer, whatever `x-amz-trailer` says.
        if query.has("delete") && md5.is_none() && checksum.is_none() {
            return Err(bad("InvalidRequest")
                .saying("Missing required header for this request: Content-MD5 OR x-amz-checksum-*"));
        }
        Ok(Self { document: true, versioning: query.has("versioning"), md5, checksum, sha256 })
    }

    /// Begins to look at the document, if there is one.
    pub(super) fn begin(self) -> Option<Computing> {
        if !self.document {
            return None;
        }
        let signed = self.sha256.map(|_| ChecksumAlgorithm::Sha256);
        let algorithms = signed.into_iter().chain(self.checksum.iter().map(|(algorithm, _)| *algorithm));
        Some(Computing {
            hashes: Hashes::new(algorithms),
            announced: self,
            cdata: Needle::new(CDATA),
            exclusion: Needle::new(EXCLUSION),
        })
    }
}

/// Digests of a document that is being read.
#[derive(Debug)]
pub(super) struct Computing {
    hashes: Hashes,
    announced: Announced,
    cdata: Needle,
    exclusion: Needle,
}

impl Computing {
    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.hashes.update(bytes);
        self.cdata.update(bytes);
        if self.announced.versioning {
            self.exclusion.update(bytes);
        }
    }

    /// What is wrong with the document, all of which was seen.
    pub(super) fn finish(self) -> Option<BodyFault> {
        let Self { hashes, announced, cdata, exclusion } = self;
        let sums = hashes.finish();
        let signed = announced.sha256.map(|hash| BASE64_STANDARD.encode(hash));
        if signed.is_some() && signed != sums.checksum(ChecksumAlgorithm::Sha256) {
            return Some(BodyFault::Sha256Mismatch);
        }
        if announced.md5.is_some_and(|md5| md5 != sums.md5) {
            return Some(BodyFault::Md5Mismatch);
        }
        if let Some((algorithm, value)) = announced.checksum
            && sums.checksum(algorithm).as_ref() != Some(&value)
        {
            return Some(BodyFault::ChecksumMismatch);
        }
        if exclusion.is_found() {
            return Some(BodyFault::Exclusion);
        }
        cdata.is_found().then_some(BodyFault::CharacterData)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn announced(query: &str, headers: &[(&'static str, &str)]) -> Result<Announced, String> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        Announced::of(&map, &Query::parse(Some(query)).unwrap(), None).map_err(|refusal| refusal.code.into_owned())
    }

    #[test]
    fn versioning_has_no_exclusions() {
        let document = b"<VersioningConfiguration><ExcludeFolders>true</ExcludeFolders></VersioningConfiguration>";
        assert_eq!(fault(announced("versioning", &[]).unwrap(), document), Some(BodyFault::Exclusion));
        assert_eq!(fault(announced("cors", &[]).unwrap(), document), None);
        assert_eq!(fault(announced("versioning", &[]).unwrap(), b"<VersioningConfiguration/>"), None);
    }

    fn fault(announced: Announced, bytes: &[u8]) -> Option<BodyFault> {
        let mut computing = announced.begin().unwrap();
        bytes.chunks(3).for_each(|piece| computing.update(piece));
        computing.finish()
    }

    #[test]
    fn a_document_must_be_what_its_headers_say() {
        for (name, value, wrong) in [
            ("content-md5", "XrY7u+Ae7tCTyyK7j1rNww==", BodyFault::Md5Mismatch),
            ("x-amz-checksum-crc32", "DUoRhQ==", BodyFault::ChecksumMismatch),
            ("x-amz-checksum-sha256", "uU0nuZNNPgilLlLX2n2r+sSE7+N6U4DukIj3rOLvzek=", BodyFault::ChecksumMismatch),
        ] {
            let announced = || announced("tagging", &[(name, value)]).unwrap();
            assert_eq!(fault(announced(), b"hello world"), None, "{name}");
            assert_eq!(fault(announced(), b"hello warld"), Some(wrong), "{name}");
        }
    }

    #[test]
    fn what_cannot_be_a_digest_is_refused_and_a_deletion_needs_one() {
        let none = Announced { document: true, ..Announced::default() };
        assert_eq!(announced("tagging", &[]), Ok(none.clone()));
        assert!(Announced::default().begin().is_none());
        assert_eq!(announced("delete", &[]), Err("InvalidRequest".into()));
        assert!(announced("delete", &[("content-md5", "XrY7u+Ae7tCTyyK7j1rNww==")]).is_ok());
        assert_eq!(announced("cors", &[("content-md5", "")]), Err("InvalidDigest".into()));
        assert_eq!(announced("cors", &[("content-md5", "DUoRhQ==")]), Err("InvalidDigest".into()));
        assert_eq!(
            announced("cors", &[("x-amz-checksum-crc32", "XrY7u+Ae7tCTyyK7j1rNww==")]),
            Err("InvalidRequest".into())
        );
        let two = [("x-amz-checksum-crc32", "DUoRhQ=="), ("x-amz-checksum-crc32c", "DUoRhQ==")];
        assert_eq!(announced("cors", &two), Err("InvalidRequest".into()));
        for (name, value) in [("content-md5", "XrY7u+Ae7tCTyyK7j1rNww=="), ("x-amz-checksum-crc32", "DUoRhQ==")] {
            assert_eq!(announced("delete", &[(name, value), (name, value)]), Err("InvalidRequest".into()), "{name}");
        }
        assert_eq!(announced("delete", &[("x-amz-trailer", "x-amz-checksum-crc32")]), Err("InvalidRequest".into()));
        // The object's, not the list's.
        assert_eq!(announced("uploadId=u", &[("x-amz-checksum-crc32", "DUoRhQ==")]), Ok(none));
    }

    #[test]
    fn text_that_would_be_left_out_is_refused() {
        let none = || announced("tagging", &[]).unwrap();
        assert_eq!(fault(none(), b"<Key>a<<![CDATA[b]]>c</Key>"), Some(BodyFault::CharacterData));
        assert_eq!(fault(none(), b"<Key>a<![CDATA</Key><![CDAT"), None);
    }
}
