//! Records of CSV files.
//!
//! Our own, as delimiters may be longer than the byte that CSV crates take, quotes may be any character, and a record is bounded.

use std::sync::Arc;

use memchr::memmem;

use super::MAX_RECORD;
use super::error::{Result, invalid_encoding, over_max_record};
use super::options::{Compression, CsvInput, FileHeader};
use super::row::{Header, Row};
use super::syntax::Name;
use super::value::Value;
use super::window::{Counters, Source, Window};

const BOM: &[u8] = b"\xef\xbb\xbf";

/// A CSV file, record by record.
pub(super) struct Reader {
    window: Window,
    options: CsvInput,
    /// The last byte at which a record may begin.
    last: Option<u64>,
}

/// Whether a record was found, and where it is at the window's beginning.
struct Found {
    len: usize,
    delimiter: usize,
}

impl Reader {
    /// Opens the file and reads its header; `range` are the first and the last byte at which records may begin.
    pub(super) fn open(
        source: &dyn Source,
        compression: Compression,
        options: CsvInput,
        range: Option<(u64, u64)>,
        columns: &[Name],
        counters: &Arc<Counters>,
    ) -> Result<(Self, Row)> {
        let start = range.map_or(0, |(start, _)| start);
        // A record begins at `start` if a delimiter ends there.
        let before = start.saturating_sub(options.record_delimiter.len() as u64);
        let named = options.header == FileHeader::Use;
        let at = |from| Window::open(source, compression, from, counters);
        let mut reader = Self { window: at(if named { 0 } else { before })?, options, last: None };
        let mut header = Header::default();
        // Within a range the header is still the file's first line.
        if start == 0 || named {
            reader.skip_mark()?;
        }
        if named || (start == 0 && reader.options.header == FileHeader::Ignore) {
            let mut row = Row::Table { header: Arc::default(), fields: Vec::new() };
            reader.next(&mut row)?;
            if let (Row::Table { fields, .. }, true) = (&row, named) {
                let names = fields.iter().map(|name| name.text().unwrap_or_default().trim().to_owned());
                header = Header::new(names.collect());
            }
        }
        if named && start > reader.window.offset() {
            reader.window = at(before)?;
            reader.skip_record()?;
        } else if !named && start > 0 {
            reader.skip_record()?;
        }
        reader.last = range.map(|(_, last)| last);
        header.check(columns)?;
        Ok((reader, Row::Table { header: Arc::new(header), fields: Vec::new() }))
    }

    fn skip_mark(&mut self) -> Result<()> {
        while self.window.unread().len() < BOM.len() {
            if !self.window.fill()? {
                return Ok(());
            }
        }
        if self.window.unread().starts_with(BOM) {
            self.window.consume(BOM.len());
        }
        Ok(())
    }

    /// Leaves out everything up to the next delimiter, however far that is.
    fn skip_record(&mut self) -> Result<()> {
        let delimiter = self.options.record_delimiter.as_bytes();
        loop {
            if let Some(at) = memmem::find(self.window.unread(), delimiter) {
                self.window.consume(at + delimiter.len());
                return Ok(());
            }
            // The delimiter may have begun already.
            let keep = delimiter.len() - 1;
            self.window.consume(self.window.unread().len().saturating_sub(keep));
            if !self.window.fill()? {
                self.window.consume(usize::MAX);
                return Ok(());
            }
        }
    }

    /// Finds the end of the record at the window's beginning; `None` if there is none.
    fn find(&mut self) -> Result<Option<Found>> {
        let delimiter = self.options.record_delimiter.len();
        // Where to look on: what was looked at has no end in it.
        let mut from = 0;
        loop {
            let unread = self.window.unread();
            let end = if self.options.quoted_delimiters && !self.options.quote.is_empty() {
                end_of_quoted(unread, &self.options)
            } else {
                let rest = unread.get(from..).unwrap_or_default();
                memmem::find(rest, self.options.record_delimiter.as_bytes()).map(|at| from + at)
            };
            let len = unread.len();
            if end.unwrap_or(len) > MAX_RECORD {
                return Err(over_max_record());
            }
            if let Some(end) = end {
                return Ok(Some(Found { len: end, delimiter }));
            }
            from = (len + 1).saturating_sub(delimiter);
            if !self.window.fill()? {
                return Ok((len > 0).then_some(Found { len, delimiter: 0 }));
            }
        }
    }

    /// Reads the next record into `row`; `false` if there is none.
    pub(super) fn next(&mut self, row: &mut Row) -> Result<bool> {
        let Row::Table { fields, .. } = row else { return Ok(false) };
        loop {
            if self.last.is_some_and(|last| self.window.offset() > last) {
                return Ok(false);
            }
            let Some(Found { len, delimiter }) = self.find()? else { return Ok(false) };
            let record = self.window.unread().get(..len).unwrap_or_default();
            let comment = self.options.comment.as_bytes();
            let mut record = std::str::from_utf8(record).map_err(|_| invalid_encoding())?;
            if self.options.record_delimiter == "\n" {
                record = record.strip_suffix('\r').unwrap_or(record);
            }
            let counts = !record.is_empty() && (comment.is_empty() || !record.as_bytes().starts_with(comment));
            if counts {
                split(record, &self.options, fields);
            }
            self.window.consume(len + delimiter);
            if counts {
                return Ok(true);
            }
        }
    }
}

/// Where the record that `bytes` begin with ends, not counting delimiters in quotes. Looks at all of it each time: only records longer
/// than what is read at once are seen more than once.
fn end_of_quoted(bytes: &[u8], options: &CsvInput) -> Option<usize> {
    let (quote, escape) = (options.quote.as_bytes(), options.escape.as_bytes());
    let (mut at, mut quoted, mut field_start) = (0, false, true);
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        if quoted {
            let escapes = !escape.is_empty()
                && rest.starts_with(escape)
                && (escape != quote || rest.get(escape.len()..).is_some_and(|next| next.starts_with(quote)));
            if escapes {
                at += escape.len() + if escape == quote { quote.len() } else { 1 };
            } else if rest.starts_with(quote) {
                quoted = false;
                at += quote.len();
            } else {
                at += 1;
            }
        } else if field_start && rest.starts_with(quote) {
            (quoted, field_start) = (true, false);
            at += quote.len();
        } else if rest.starts_with(options.record_delimiter.as_bytes()) {
            return Some(at);
        } else if rest.starts_with(options.field_delimiter.as_bytes()) {
            field_start = true;
            at += options.field_delimiter.len();
        } else {
            field_start = false;
            at += 1;
        }
    }
    None
}

/// Cuts a record into its fields.
fn split(record: &str, options: &CsvInput, fields: &mut Vec<Value>) {
    let mut count = 0;
    // The strings of the last record are used again.
    let mut put = |piece: &str| {
        match fields.get_mut(count) {
            Some(Value::String(field)) => {
                field.clear();
                field.push_str(piece);
            }
            _ => fields.push(Value::String(piece.to_owned())),
        }
        count += 1;
    };
    let delimiter = options.field_delimiter.as_str();
    if options.quote.is_empty() || !record.contains(options.quote.as_str()) {
        let mut rest = record;
        while let Some(at) = memmem::find(rest.as_bytes(), delimiter.as_bytes()) {
            put(rest.get(..at).unwrap_or_default());
            rest = rest.get(at + delimiter.len()..).unwrap_or_default();
        }
        put(rest);
        fields.truncate(count);
        return;
    }
    let mut rest = record;
    let mut field = String::new();
    loop {
        field.clear();
        if let Some(after) = rest.strip_prefix(options.quote.as_str()) {
            rest = unquote(after, options, &mut field);
        }
        // What is behind the closing quote belongs to the field as it is.
        let more = memmem::find(rest.as_bytes(), delimiter.as_bytes());
        field.push_str(rest.get(..more.unwrap_or(rest.len())).unwrap_or_default());
        put(&field);
        match more {
            Some(at) => rest = rest.get(at + delimiter.len()..).unwrap_or_default(),
            None => break,
        }
    }
    fields.truncate(count);
}

/// Appends what is in quotes to `field`; answers what follows.
fn unquote<'a>(mut rest: &'a str, options: &CsvInput, field: &mut String) -> &'a str {
    let (quote, escape) = (options.quote.as_str(), options.escape.as_str());
    loop {
        if !escape.is_empty()
            && let Some(after) = rest.strip_prefix(escape)
        {
            if escape != quote {
                let mut chars = after.chars();
                match chars.next() {
                    Some(char) => field.push(char),
                    None => field.push_str(escape),
                }
                rest = chars.as_str();
                continue;
            }
            if let Some(after) = after.strip_prefix(quote) {
                field.push_str(quote);
                rest = after;
                continue;
            }
        }
        if let Some(after) = rest.strip_prefix(quote) {
            return after;
        }
        let mut chars = rest.chars();
        match chars.next() {
            Some(char) => field.push(char),
            None => return rest,
        }
        rest = chars.as_str();
    }
}
