//! What a request says of the object's form and the answer's.
//!
//! Source: InputSerialization, OutputSerialization and ScanRange in the Amazon S3 API reference.

use super::error::{Result, fail};

/// Bytes of a delimiter at most.
const MAX_DELIMITER: usize = 16;

/// How the object is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// GZIP, of one or more members.
    Gzip,
    /// BZIP2, of one or more streams.
    Bzip2,
}

/// What the first line of a CSV file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FileHeader {
    /// A record as any other.
    #[default]
    None,
    /// Names that nobody uses.
    Ignore,
    /// The columns' names.
    Use,
}

/// `CSVInput`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CsvInput {
    /// What the first line is.
    pub header: FileHeader,
    /// What a line begins with that is none; empty: nothing.
    pub comment: String,
    /// What stands between fields.
    pub field_delimiter: String,
    /// What ends a record.
    pub record_delimiter: String,
    /// What stands around a field; empty: nothing.
    pub quote: String,
    /// What takes the meaning from a quote.
    pub escape: String,
    /// Whether records may go on behind a delimiter in quotes.
    pub quoted_delimiters: bool,
}

impl Default for CsvInput {
    fn default() -> Self {
        Self {
            header: FileHeader::None,
            comment: "#".into(),
            field_delimiter: ",".into(),
            record_delimiter: "\n".into(),
            quote: "\"".into(),
            escape: "\"".into(),
            quoted_delimiters: false,
        }
    }
}

/// The form of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// CSV.
    Csv(CsvInput),
    /// JSON values, one behind the other; `lines`: each on a line of its own.
    Json {
        /// Whether a record ends where its line does.
        lines: bool,
    },
    /// Apache Parquet.
    Parquet,
}

/// `CSVOutput`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CsvOutput {
    /// What stands between fields.
    pub field_delimiter: String,
    /// What ends a record.
    pub record_delimiter: String,
    /// What stands around a field.
    pub quote: String,
    /// What stands before a quote in one.
    pub escape: String,
    /// Whether all fields are in quotes, or only those that must.
    pub quote_always: bool,
}

impl Default for CsvOutput {
    fn default() -> Self {
        Self {
            field_delimiter: ",".into(),
            record_delimiter: "\n".into(),
            quote: "\"".into(),
            escape: "\"".into(),
            quote_always: false,
        }
    }
}

/// The form of the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// CSV.
    Csv(CsvOutput),
    /// JSON objects.
    Json {
        /// What stands behind each.
        record_delimiter: String,
    },
}

/// Which part of the object is looked at: the records that begin there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScanRange {
    /// First byte; without one, `end` counts from the object's end.
    pub start: Option<u64>,
    /// Last byte.
    pub end: Option<u64>,
}

impl ScanRange {
    /// First and last byte in an object of `size` bytes.
    pub(super) fn within(self, size: u64) -> Result<(u64, u64)> {
        let last = size.saturating_sub(1);
        match (self.start, self.end) {
            (Some(start), end) if start <= last && end.is_none_or(|end| start <= end) => {
                Ok((start, end.unwrap_or(last).min(last)))
            }
            (None, Some(count)) if count > 0 => Ok((size.saturating_sub(count), last)),
            (None, None) => Ok((0, last)),
            _ => fail("InvalidScanRange", "The provided scan range is not valid."),
        }
    }
}

/// Reads `CompressionType`.
///
/// # Errors
/// `InvalidCompressionFormat`.
pub fn compression(name: Option<&str>) -> Result<Compression> {
    match name.map(str::to_ascii_uppercase).as_deref() {
        None | Some("" | "NONE") => Ok(Compression::None),
        Some("GZIP") => Ok(Compression::Gzip),
        Some("BZIP2") => Ok(Compression::Bzip2),
        Some(_) => fail(
            "InvalidCompressionFormat",
            "The file is not in a supported compression format. Only GZIP and BZIP2 are supported.",
        ),
    }
}

/// Reads `FileHeaderInfo`.
///
/// # Errors
/// `InvalidFileHeaderInfo`.
pub fn file_header(name: Option<&str>) -> Result<FileHeader> {
    match name.map(str::to_ascii_uppercase).as_deref() {
        None | Some("" | "NONE") => Ok(FileHeader::None),
        Some("IGNORE") => Ok(FileHeader::Ignore),
        Some("USE") => Ok(FileHeader::Use),
        Some(_) => {
            fail("InvalidFileHeaderInfo", "The FileHeaderInfo is not valid. Only NONE, USE, and IGNORE are supported.")
        }
    }
}

/// Reads `QuoteFields`: whether all fields are in quotes.
///
/// # Errors
/// `InvalidQuoteFields`.
pub fn quote_fields(name: Option<&str>) -> Result<bool> {
    match name.map(str::to_ascii_uppercase).as_deref() {
        None | Some("" | "ASNEEDED") => Ok(false),
        Some("ALWAYS") => Ok(true),
        Some(_) => fail("InvalidQuoteFields", "The QuoteFields is not valid. Only ALWAYS and ASNEEDED are supported."),
    }
}

/// Reads the `Type` of `JSONInput`: whether each value is on a line of its own.
///
/// # Errors
/// `InvalidJsonType`.
pub fn json_lines(name: Option<&str>) -> Result<bool> {
    match name.map(str::to_ascii_uppercase).as_deref() {
        Some("LINES") => Ok(true),
        Some("DOCUMENT") => Ok(false),
        _ => fail("InvalidJsonType", "The JsonType is not valid. Only DOCUMENT and LINES are supported."),
    }
}

fn invalid<T>() -> Result<T> {
    fail(
        "InvalidRequestParameter",
        "The value of a parameter in SelectRequest element is invalid. Check the service API documentation and try again.",
    )
}

/// At most a single character.
fn character(text: &str) -> Result<()> {
    if text.chars().nth(1).is_some() { invalid() } else { Ok(()) }
}

fn delimiters(field: &str, record: &str, quote: &str) -> Result<()> {
    let fits = |text: &str| !text.is_empty() && text.len() <= MAX_DELIMITER && text != quote;
    if !fits(field) || !fits(record) || field == record {
        return invalid();
    }
    character(quote)
}

impl CsvInput {
    /// Whether these can be told from each other.
    ///
    /// # Errors
    /// `InvalidRequestParameter`.
    pub fn check(&self) -> Result<()> {
        delimiters(&self.field_delimiter, &self.record_delimiter, &self.quote)?;
        character(&self.escape)?;
        character(&self.comment)
    }
}

impl CsvOutput {
    /// Whether these can be told from each other.
    ///
    /// # Errors
    /// `InvalidRequestParameter`.
    pub fn check(&self) -> Result<()> {
        delimiters(&self.field_delimiter, &self.record_delimiter, &self.quote)?;
        character(&self.escape)
    }
}
