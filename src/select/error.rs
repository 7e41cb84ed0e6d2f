//! What can be wrong with a query or with the object that it reads, by S3's own names.
//!
//! Source: "List of SELECT Object Content Error Codes" in "Error responses", Amazon S3 API reference.

use std::io;

/// Why a query has no answer, or no further one.
#[derive(Debug, thiserror::Error)]
pub enum SelectError {
    /// What S3 has a code of its own for: the query's, the object's or the serialization's fault.
    #[error("{message}")]
    Refused {
        /// S3's code; its status is always 400.
        code: &'static str,
        /// What it says to a person.
        message: String,
    },
    /// This build cannot read such objects.
    #[error("{0}")]
    NotBuilt(&'static str),
    /// The object itself could not be read: our fault.
    #[error("the object could not be read: {0}")]
    Storage(#[source] io::Error),
}

/// Short for [`SelectError`]'s results.
pub type Result<T, E = SelectError> = std::result::Result<T, E>;

/// Marks an error of an [`io::Read`] as the store's, not that of the bytes it gave.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct StorageFault(pub String);

/// Characters of a message at most: the query is quoted in it, and a header of an event must hold it.
const MAX_MESSAGE: usize = 500;

/// A code with its message.
pub(super) fn refused(code: &'static str, message: impl Into<String>) -> SelectError {
    let shown = |char: char| if char.is_control() { ' ' } else { char };
    SelectError::Refused { code, message: message.into().chars().take(MAX_MESSAGE).map(shown).collect() }
}

/// As [`refused`], as a result.
pub(super) fn fail<T>(code: &'static str, message: impl Into<String>) -> Result<T> {
    Err(refused(code, message))
}

/// A record, of the object or of the answer, is longer than S3 takes.
pub(super) fn over_max_record() -> SelectError {
    refused(
        "OverMaxRecordSize",
        "The length of a record in the input or result is greater than the maxCharsPerRecord limit of 1 MB.",
    )
}

/// Text that is no UTF-8.
pub(super) fn invalid_encoding() -> SelectError {
    refused("InvalidTextEncoding", "Invalid encoding type. Only UTF-8 encoding is supported.")
}

impl From<io::Error> for SelectError {
    /// Reading fails in the store, or because the bytes are not compressed as the query says.
    fn from(error: io::Error) -> Self {
        if error.get_ref().is_some_and(|inner| inner.is::<StorageFault>()) {
            return Self::Storage(error);
        }
        match error.kind() {
            io::ErrorKind::UnexpectedEof => refused(
                "TruncatedInput",
                "Object decompression failed. Check that the object is properly compressed using the format specified in \
                 the request.",
            ),
            _ => refused(
                "InvalidCompressionFormat",
                "The file is not in a supported compression format. Only GZIP and BZIP2 are supported.",
            ),
        }
    }
}
