//! Bodies are held to what was announced of them before anything is committed.

use std::fmt;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use futures_util::StreamExt;

use super::digest::{Hashes, Sums, checksum_len};
use super::{BodyProblem, Error, MAX_PUT_LEN, Result};
use crate::chunks::{Body, BodyError};
use crate::metadata::{Checksum, ChecksumAlgorithm};

/// A checksum that comes behind the body, in a trailer: to be asked for once the body has ended.
pub type LateChecksum = Box<dyn FnOnce() -> Result<String, BodyProblem> + Send>;

/// What a client says of a body.
#[derive(Default)]
pub struct Expected {
    /// Its length.
    pub len: Option<u64>,
    /// `Content-MD5`.
    pub md5: Option<[u8; 16]>,
    /// `x-amz-checksum-*`, base64, said ahead.
    pub checksum: Option<(ChecksumAlgorithm, String)>,
    /// The same in a trailer.
    pub late: Option<(ChecksumAlgorithm, LateChecksum)>,
    /// `x-amz-sdk-checksum-algorithm` and the like without a value: only computed.
    pub algorithm: Option<ChecksumAlgorithm>,
}

impl fmt::Debug for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Expected").field("len", &self.len).field("checksum", &self.checksum).finish_non_exhaustive()
    }
}

impl Expected {
    /// The algorithm that the client uses, if any.
    pub fn algorithm(&self) -> Option<ChecksumAlgorithm> {
        self.checksum
            .as_ref()
            .map(|(algorithm, _)| *algorithm)
            .or_else(|| self.late.as_ref().map(|(algorithm, _)| *algorithm))
            .or(self.algorithm)
    }

    /// Tests what can be before the body is read.
    ///
    /// # Errors
    /// [`Error::EntityTooLarge`]; [`Error::InvalidRequest`] for a malformed checksum.
    pub fn check_ahead(&self) -> Result<()> {
        if let Some(size) = self.len.filter(|&len| len > MAX_PUT_LEN) {
            return Err(Error::EntityTooLarge { size, max: MAX_PUT_LEN });
        }
        if let Some((algorithm, value)) = &self.checksum {
            check_form(*algorithm, value)?;
        }
        Ok(())
    }

    /// The hashes to compute: the client's, and those of `also`.
    pub fn hashes(&self, also: Option<ChecksumAlgorithm>) -> Hashes {
        Hashes::new(self.algorithm().into_iter().chain(also))
    }

    /// Ends `body` with an error as soon as it is longer than announced, or when it ends too short.
    pub fn hold(&self, body: Body) -> Body {
        let announced = self.len;
        let limit = announced.unwrap_or(MAX_PUT_LEN);
        let state = Some((body, 0u64));
        Box::pin(futures_util::stream::unfold(state, move |state| async move {
            let (mut body, mut seen) = state?;
            let problem = match body.next().await {
                Some(Ok(piece)) => {
                    seen += piece.len() as u64;
                    if seen <= limit {
                        return Some((Ok(piece), Some((body, seen))));
                    }
                    BodyProblem::Incomplete
                }
                Some(Err(error)) => return Some((Err(error), None)),
                None if announced.is_none_or(|len| len == seen) => return None,
                None => BodyProblem::Incomplete,
            };
            Some((Err(BodyError::from(problem)), None))
        }))
    }

    /// Compares what arrived with what was said, trailer included; answers the checksum to keep: the client's, or else
    /// that of `default`.
    ///
    /// # Errors
    /// [`Error::BadDigest`], [`Error::BadChecksum`], a [`BodyProblem::Trailer`].
    pub fn verify(self, sums: &Sums, default: ChecksumAlgorithm) -> Result<Option<Checksum>> {
        let keep = self.algorithm().unwrap_or(default);
        if let Some(md5) = self.md5.filter(|md5| *md5 != sums.md5) {
            return Err(Error::BadDigest {
                expected: BASE64_STANDARD.encode(md5),
                calculated: BASE64_STANDARD.encode(sums.md5),
            });
        }
        let late = match self.late {
            Some((algorithm, late)) => {
                let value = late()?;
                check_form(algorithm, &value)?;
                Some((algorithm, value))
            }
            None => None,
        };
        for (algorithm, value) in self.checksum.into_iter().chain(late) {
            if sums.checksum(algorithm).as_deref() != Some(value.as_str()) {
                return Err(Error::BadChecksum { algorithm: algorithm.name() });
            }
        }
        Ok(sums.full_object(keep))
    }
}

fn check_form(algorithm: ChecksumAlgorithm, value: &str) -> Result<()> {
    match BASE64_STANDARD.decode(value) {
        Ok(bytes) if bytes.len() == checksum_len(algorithm) => Ok(()),
        _ => Err(Error::InvalidRequest(format!(
            "Value for x-amz-checksum-{} header is invalid.",
            algorithm.name().to_ascii_lowercase()
        ))),
    }
}
