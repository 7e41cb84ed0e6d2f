//! Bodies between s3s and us.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use http::HeaderMap;
use s3s::dto::StreamingBlob;
use s3s::stream::{ByteStream, RemainingLength};
use s3s::{S3Result, StdError, TrailingHeaders};
use sync_wrapper::SyncStream;

use super::error::invalid_request;
use super::values::{algorithm, checksum_header, content_md5, several_checksums};
use crate::chunks::{Body, BodyError, ReadStream};
use crate::metadata::ChecksumAlgorithm;
use crate::objects::{BodyProblem, Expected, LateChecksum};

/// A request's body.
pub(super) fn incoming(body: Option<StreamingBlob>) -> Body {
    match body {
        None => Box::pin(futures_util::stream::empty()),
        Some(body) => Box::pin(body.map(|piece| piece.map_err(BodyError))),
    }
}

/// What the headers say of a body.
pub(super) fn expected(headers: &HeaderMap, len: Option<i64>, trailers: Option<TrailingHeaders>) -> S3Result<Expected> {
    let checksum = checksum_header(headers)?;
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let late = match text("x-amz-trailer").map(|name| name.trim().to_ascii_lowercase()) {
        None => None,
        Some(name) => {
            let algorithm = name.strip_prefix("x-amz-checksum-").and_then(ChecksumAlgorithm::from_name);
            let (Some(algorithm), Some(trailers)) = (algorithm, trailers) else {
                return Err(invalid_request("The value specified in the x-amz-trailer header is not supported"));
            };
            let late: LateChecksum = Box::new(move || {
                let value = trailers.take().and_then(|t| t.get(&name)?.to_str().ok().map(str::to_owned));
                value.ok_or(BodyProblem::NoTrailer(name))
            });
            Some((algorithm, late))
        }
    };
    let sdk = algorithm(text("x-amz-sdk-checksum-algorithm"))?;
    let sent = checksum.as_ref().map(|(a, _)| *a).or(late.as_ref().map(|(a, _)| *a));
    if checksum.is_some() && late.is_some() {
        return Err(several_checksums());
    }
    match (sdk, sent) {
        (Some(_), None) => {
            return Err(invalid_request(
                "x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer headers \
                 were found.",
            ));
        }
        (Some(sdk), Some(sent)) if sdk != sent => {
            return Err(invalid_request("Value for x-amz-sdk-checksum-algorithm header is invalid."));
        }
        _ => {}
    }
    let len = match len {
        None => None,
        Some(len) => Some(u64::try_from(len).map_err(|_| invalid_request("Content-Length must not be negative."))?),
    };
    Ok(Expected { len, md5: content_md5(headers)?, checksum, late, algorithm: None })
}

/// An answer's body, with its exact length.
pub(super) fn outgoing(body: ReadStream, len: u64) -> StreamingBlob {
    StreamingBlob::new(Outgoing { inner: SyncStream::new(body), remaining: len })
}

struct Outgoing {
    inner: SyncStream<ReadStream>,
    remaining: u64,
}

impl Stream for Outgoing {
    type Item = Result<Bytes, StdError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = std::task::ready!(Pin::new(&mut self.inner).poll_next(context));
        Poll::Ready(match next {
            Some(Ok(piece)) => {
                self.remaining = self.remaining.saturating_sub(piece.len() as u64);
                Some(Ok(piece))
            }
            Some(Err(error)) => {
                tracing::error!(%error, "an object could not be read to its end; the connection is cut");
                Some(Err(Box::new(BodyError(Box::new(error)))))
            }
            None => None,
        })
    }
}

impl ByteStream for Outgoing {
    fn remaining_length(&self) -> RemainingLength {
        usize::try_from(self.remaining).map_or_else(|_| RemainingLength::unknown(), RemainingLength::new_exact)
    }
}
