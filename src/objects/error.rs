//! What can go wrong with a request, in S3's terms but without S3's wire format.

use crate::chunks::{BodyError, ChunkError};
use crate::clock::Millis;
use crate::metadata;

/// Why a request was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A transaction's answer.
    #[error(transparent)]
    Metadata(#[from] metadata::Error),
    /// Bytes could not be written or read.
    #[error(transparent)]
    Chunks(ChunkError),
    /// The object had other rules when its reader was let in.
    #[error("{bucket}/{key} was replaced, or given other tags, owner or ACL, while it was decided who may read it")]
    Replaced {
        /// Its bucket.
        bucket: String,
        /// Its key.
        key: String,
    },
    /// The body ended otherwise than announced.
    #[error(transparent)]
    Body(#[from] BodyProblem),
    /// The range lies wholly behind the object's end.
    #[error("the requested range is not satisfiable")]
    InvalidRange {
        /// The object's size.
        size: u64,
    },
    /// The object has no such part.
    #[error("the requested partnumber is not satisfiable")]
    InvalidPartNumber {
        /// The part asked for.
        number: u32,
        /// The object's size.
        size: u64,
    },
    /// A read's condition does not hold.
    #[error("the condition specified using {header} does not hold")]
    PreconditionFailed {
        /// The header that stated it.
        header: &'static str,
    },
    /// The client has the current object already.
    #[error("not modified")]
    NotModified {
        /// The object's ETag, without quotes.
        etag: String,
        /// When it was written.
        modified: Millis,
    },
    /// `Content-MD5` is not what arrived.
    #[error("the Content-MD5 specified did not match what was received")]
    BadDigest {
        /// What the client said, base64.
        expected: String,
        /// What was computed, base64.
        calculated: String,
    },
    /// An `x-amz-checksum-*` is not what arrived.
    #[error("the {algorithm} specified did not match the calculated checksum")]
    BadChecksum {
        /// S3's name of the algorithm.
        algorithm: &'static str,
    },
    /// The object would be larger than S3 allows.
    #[error("the proposed upload of {size} bytes exceeds the maximum of {max}")]
    EntityTooLarge {
        /// Proposed.
        size: u64,
        /// Allowed.
        max: u64,
    },
    /// A part that is not the last is too small.
    #[error("part {number} of {size} bytes is smaller than the minimum of {min}")]
    EntityTooSmall {
        /// The part.
        number: u32,
        /// Its size.
        size: u64,
        /// The minimum.
        min: u64,
        /// Its ETag.
        etag: String,
    },
    /// A part named in a completion was not uploaded, or is another.
    #[error("part {number} could not be found or does not match")]
    InvalidPart {
        /// The part.
        number: u32,
        /// The upload.
        upload: String,
        /// The ETag named.
        etag: String,
    },
    /// The parts named in a completion are not in ascending order.
    #[error("the list of parts was not in ascending order")]
    InvalidPartOrder,
    /// The object is another account's, which must not become the owner of what it did not write.
    #[error("object {key} of bucket {bucket} is another account's")]
    ForeignObject {
        /// The bucket.
        bucket: String,
        /// The key.
        key: String,
    },
    /// The request contradicts itself or the state of things.
    #[error("{0}")]
    InvalidRequest(String),
    /// An argument's value is not allowed.
    #[error("{message}")]
    InvalidArgument {
        /// S3's name of the argument.
        name: String,
        /// Its value.
        value: String,
        /// What is wrong.
        message: String,
    },
    /// It would have to be understood, and is not.
    #[error("{0} are not implemented")]
    NotBuilt(&'static str),
    /// An append that does not begin where the object ends.
    #[error("the write offset {offset} is not the object's size of {size} bytes")]
    InvalidWriteOffset {
        /// Where it was to begin.
        offset: u64,
        /// Where the object ends.
        size: u64,
    },
    /// The bucket has no configuration of that name.
    #[error("the specified configuration does not exist")]
    NoSuchConfiguration,
    /// The bucket has as many configurations of this kind as it may have.
    #[error("there are too many configurations")]
    TooManyConfigurations,
    /// A task of ours ended early.
    #[error("a worker ended before its work was done")]
    Worker,
}

/// What can be wrong with a body while it arrives.
#[derive(Debug, thiserror::Error)]
pub enum BodyProblem {
    /// Fewer bytes, or more, than announced.
    #[error("you did not provide the number of bytes specified by the Content-Length HTTP header")]
    Incomplete,
    /// A checksum that was to come in a trailer did not come.
    #[error("the trailer {0} did not come")]
    NoTrailer(String),
    /// Its stream ended with an error; whoever made the stream knows what to make of it.
    #[error("the body could not be read to its end: {0}")]
    Source(Box<dyn std::error::Error + Send + Sync>),
}

impl From<ChunkError> for Error {
    fn from(error: ChunkError) -> Self {
        match error {
            ChunkError::Body(BodyError(inner)) => match inner.downcast::<BodyProblem>() {
                Ok(problem) => Self::Body(*problem),
                Err(other) => Self::Body(BodyProblem::Source(other)),
            },
            ChunkError::Worker => Self::Worker,
            other => Self::Chunks(other),
        }
    }
}

impl From<BodyProblem> for BodyError {
    fn from(problem: BodyProblem) -> Self {
        Self(Box::new(problem))
    }
}

/// Result of an operation on objects.
pub type Result<T, E = Error> = std::result::Result<T, E>;
