//! How long a request's body is, how it is framed, and whether that can be accepted.

use http::request::Parts;
use http::{HeaderValue, StatusCode, Version, header};

use super::document::{Announced, is_document};
use super::form::MAX_FIELDS;
use super::{LengthUnknown, Refusal};
use crate::access::claims::{Claims, Mechanism};
use crate::access::query::Query;

/// The largest body of a request: what S3 takes as one object or part.
pub(super) const MAX_UPLOAD: u64 = 5 << 30;

/// The largest XML document, as `s3s` limits it.
pub(super) const MAX_XML: u64 = 20 << 20;

static DECODED: &str = "x-amz-decoded-content-length";

/// Memory that an upload takes at most while it goes through: three stripes of 1 MiB, coded, and what the connection has of it.
pub(super) const UPLOAD: u64 = 6 << 20;

/// A document in memory takes so many times its length: its bytes, what was read of it, and what becomes of that.
const DOCUMENT: u64 = 3;

/// How a body has to be treated on its way in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    /// How it is framed.
    pub(super) framing: Framing,
    /// Bytes it may have at most.
    pub(super) limit: u64,
    /// Bytes announced.
    pub(super) len: u64,
    /// Whether it is a document.
    pub(super) document: bool,
    /// What the digests of a document must be; of no document, none.
    pub(super) announced: Announced,
}

impl Plan {
    /// Bytes of memory that so much of a body takes on its way.
    pub(super) fn memory(&self, len: u64) -> u64 {
        if self.document { len.saturating_mul(DOCUMENT) } else { len.min(UPLOAD) }
    }
}

/// How a body is framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// Bytes whose number is known.
    Plain,
    /// Bytes that have to be counted first.
    Uncounted,
    /// aws-chunked.
    AwsChunked {
        /// Whether its chunks are signed.
        signed: bool,
        /// The bytes in it, as announced.
        decoded: u64,
    },
}

/// Decides; `exact` is the length that the connection knows. Completes the headers where a length is known by other means.
pub(super) fn plan(
    parts: &mut Parts,
    of_object: bool,
    query: &Query,
    claims: Option<&Claims>,
    exact: Option<u64>,
) -> Result<Plan, Refusal> {
    let xml = is_document(&parts.method, of_object, query);
    let limit = if xml { MAX_XML } else { MAX_UPLOAD };
    let payload = Payload::of(parts, claims)?;
    let announced = match parts.headers.get(header::CONTENT_LENGTH) {
        Some(value) => Some(number(value).ok_or_else(|| invalid("The Content-Length header is not a number"))?),
        None => None,
    };
    let framing = if let Payload::Chunked { signed } = payload {
        let decoded = parts
            .headers
            .get(DECODED)
            .ok_or_else(|| Refusal::new(StatusCode::LENGTH_REQUIRED, "MissingContentLength"))?;
        let decoded =
            number(decoded).ok_or_else(|| invalid("The x-amz-decoded-content-length header is not a number"))?;
        if announced.is_none() {
            // `s3s` puts the decoded length in place of a length that is there.
            parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(decoded));
        }
        Framing::AwsChunked { signed, decoded }
    } else {
        match (announced, exact) {
            (Some(announced), Some(exact)) if announced == exact => Framing::Plain,
            // Two lengths, or a length and chunks: whoever believed the other one would see another request.
            (Some(_), _) => return Err(invalid("The request's length is given in more than one way")),
            (None, Some(len)) if parts.version >= Version::HTTP_2 => {
                parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(len));
                Framing::Plain
            }
            (None, Some(_)) => {
                // HTTP/1.1 says that such a request has no body; S3 wants to be told for an upload.
                parts.extensions.insert(LengthUnknown);
                Framing::Plain
            }
            (None, None) => Framing::Uncounted,
        }
    };
    let len = match framing {
        Framing::AwsChunked { decoded, .. } => decoded,
        Framing::Plain | Framing::Uncounted => announced.unwrap_or(0),
    };
    if len > limit {
        return Err(if xml {
            Refusal::new(StatusCode::BAD_REQUEST, "MaxMessageLengthExceeded")
                .with("MaxMessageLengthBytes", limit.to_string())
        } else {
            Refusal::new(StatusCode::BAD_REQUEST, "EntityTooLarge")
                .with("ProposedSize", len.to_string())
                .with("MaxSizeAllowed", limit.to_string())
        });
    }
    let announced = match framing {
        // The digests of chunked bodies are of what is in the chunks.
        Framing::Plain | Framing::Uncounted if xml => Announced::of(&parts.headers, query, payload.hash())?,
        _ => Announced::default(),
    };
    Ok(Plan { framing, limit, len, document: xml, announced })
}

/// Checks what is said of the length of a form, of which `exact` is what the connection knows.
pub(super) fn check_form(parts: &Parts, exact: Option<u64>) -> Result<(), Refusal> {
    let limit = MAX_UPLOAD + 2 * MAX_FIELDS as u64;
    let announced = match parts.headers.get(header::CONTENT_LENGTH) {
        Some(value) => Some(number(value).ok_or_else(|| invalid("The Content-Length header is not a number"))?),
        None => None,
    };
    match (announced, exact) {
        (Some(announced), _) if Some(announced) != exact => {
            Err(invalid("The request's length is given in more than one way"))
        }
        (Some(len), _) if len > limit => Err(Refusal::new(StatusCode::BAD_REQUEST, "EntityTooLarge")
            .with("ProposedSize", len.to_string())
            .with("MaxSizeAllowed", MAX_UPLOAD.to_string())),
        (None, Some(_)) if parts.version < Version::HTTP_2 => {
            Err(Refusal::new(StatusCode::LENGTH_REQUIRED, "MissingContentLength"))
        }
        // What has no length is counted as it comes.
        _ => Ok(()),
    }
}

/// What `x-amz-content-sha256` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Payload {
    Hash([u8; 32]),
    Chunked { signed: bool },
    Other,
}

impl Payload {
    fn of(parts: &Parts, claims: Option<&Claims>) -> Result<Self, Refusal> {
        let Some(claims) = claims else { return Ok(Self::Other) };
        if claims.version2 {
            // It knows of no hash; chunks would be signed with version 4.
            return match parts.headers.get("x-amz-content-sha256") {
                Some(value) if value.as_bytes().starts_with(b"STREAMING-") => {
                    Err(invalid("Signature version 2 has no signed chunks"))
                }
                _ => Ok(Self::Other),
            };
        }
        let in_header = claims.mechanism == Mechanism::Header;
        let Some(value) = parts.headers.get("x-amz-content-sha256") else {
            let missing = "Missing required header for this request: x-amz-content-sha256";
            return if in_header { Err(invalid(missing)) } else { Ok(Self::Other) };
        };
        match value.as_bytes() {
            b"UNSIGNED-PAYLOAD" => Ok(Self::Other),
            b"STREAMING-UNSIGNED-PAYLOAD-TRAILER" if in_header => Ok(Self::Chunked { signed: false }),
            b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD" | b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER" if in_header => {
                Ok(Self::Chunked { signed: true })
            }
            // `s3s` answers these: asymmetric signatures, and chunks under a presigned URL.
            text if text.starts_with(b"STREAMING-") => Ok(Self::Other),
            text => {
                let mut hash = [0; 32];
                hex::decode_to_slice(text, &mut hash).map_err(|_| {
                    if !in_header {
                        // A URL is signed with UNSIGNED-PAYLOAD, or with what it says itself.
                        return Refusal::new(StatusCode::FORBIDDEN, "SignatureDoesNotMatch");
                    }
                    Refusal::new(StatusCode::BAD_REQUEST, "InvalidArgument")
                        .saying(
                            "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-UNSIGNED-PAYLOAD-TRAILER, \
                             STREAMING-AWS4-HMAC-SHA256-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER or a valid \
                             sha256 value.",
                        )
                        .with("ArgumentName", "x-amz-content-sha256")
                        .with("ArgumentValue", String::from_utf8_lossy(text))
                })?;
                Ok(Self::Hash(hash))
            }
        }
    }

    fn hash(self) -> Option<[u8; 32]> {
        match self {
            Self::Hash(hash) => Some(hash),
            _ => None,
        }
    }
}

fn number(value: &HeaderValue) -> Option<u64> {
    let text = value.to_str().ok()?;
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?
}

fn invalid(message: &'static str) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, "InvalidRequest").saying(message)
}
