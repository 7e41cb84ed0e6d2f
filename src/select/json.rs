//! Rows of JSON documents: the values to which the path behind `S3Object` leads, one after the other, without more of a document in memory
//! than a row.

use std::sync::Arc;

use memchr::memchr2;

use super::MAX_RECORD;
use super::error::{Result, invalid_encoding, over_max_record, refused};
use super::options::Compression;
use super::row::Row;
use super::syntax::{Name, Step};
use super::value::{Number, Value};
use super::window::{Counters, Source, Window};

/// How deep values may be nested.
const MAX_DEPTH: usize = 128;

/// Where a path has gone into a document and not come out yet.
#[derive(Debug, Clone, Copy)]
enum Open {
    /// Behind a member of an object, or an element of an array, that was named: the rest counts for nothing.
    Rest,
    /// Among the elements of an array, each of which goes on with this step.
    Elements(usize),
}

/// The values of a JSON file that the steps lead to.
pub(super) struct Reader {
    window: Window,
    steps: Vec<Step>,
    open: Vec<Open>,
    /// The last byte at which a document may begin.
    last: Option<u64>,
    /// Where the record that is being read began.
    record: u64,
}

fn malformed(what: &str) -> super::SelectError {
    refused(
        "JSONParsingError",
        format!("Encountered an error parsing the JSON file: {what}. Check the file and try again."),
    )
}

impl Reader {
    /// Opens the file; `range` are the first and the last byte at which lines may begin.
    pub(super) fn open(
        source: &dyn Source,
        compression: Compression,
        steps: Vec<Step>,
        range: Option<(u64, u64)>,
        counters: &Arc<Counters>,
    ) -> Result<Self> {
        let start = range.map_or(0, |(start, _)| start);
        let window = Window::open(source, compression, start.saturating_sub(1), counters)?;
        let last = range.map(|(_, last)| last);
        let mut reader = Self { window, steps, open: Vec::new(), last, record: 0 };
        // A byte order mark is none of JSON's, but editors write it.
        if start == 0 && reader.window.peek()? == Some(0xef) {
            reader.expect(b"\xef\xbb\xbf")?;
        }
        while start > 0
            && let Some(byte) = reader.window.peek()?
        {
            reader.window.consume(1);
            if byte == b'\n' {
                break;
            }
        }
        Ok(reader)
    }

    /// Reads the next row; `false` if there is none.
    pub(super) fn next(&mut self, row: &mut Row) -> Result<bool> {
        loop {
            let step = match self.open.last().copied() {
                None => {
                    self.skip_space()?;
                    let ended = self.window.peek()?.is_none();
                    if ended || self.last.is_some_and(|last| self.window.offset() > last) {
                        return Ok(false);
                    }
                    0
                }
                Some(Open::Rest) => {
                    self.skip_rest()?;
                    self.open.pop();
                    continue;
                }
                Some(Open::Elements(step)) => {
                    if !self.another(b']')? {
                        self.open.pop();
                        continue;
                    }
                    step
                }
            };
            if let Some(value) = self.descend(step)? {
                *row = Row::Json(value);
                return Ok(true);
            }
        }
    }

    /// Follows the steps from `step` into the next value; `None` if there are more rows in it, which are still to be read.
    fn descend(&mut self, mut step: usize) -> Result<Option<Value>> {
        loop {
            self.skip_space()?;
            let next = self.window.peek()?;
            match (self.steps.get(step).cloned(), next) {
                (None, _) => {
                    self.record = self.window.offset();
                    return self.value(0).map(Some);
                }
                (Some(Step::Each), Some(b'[')) => {
                    self.window.consume(1);
                    self.open.push(Open::Elements(step + 1));
                    return Ok(None);
                }
                // What is no array is one of a single element.
                (Some(Step::Each), _) => {}
                (Some(Step::Key(name)), Some(b'{')) => {
                    self.window.consume(1);
                    if !self.find_member(&name)? {
                        return Ok(Some(Value::Missing));
                    }
                    self.open.push(Open::Rest);
                }
                (Some(Step::Index(index)), Some(b'[')) => {
                    self.window.consume(1);
                    for _ in 0..index {
                        if !self.another(b']')? {
                            return Ok(Some(Value::Missing));
                        }
                        self.skip_value()?;
                    }
                    if !self.another(b']')? {
                        return Ok(Some(Value::Missing));
                    }
                    self.open.push(Open::Rest);
                }
                _ => {
                    self.skip_value()?;
                    return Ok(Some(Value::Missing));
                }
            }
            step += 1;
        }
    }

    /// Goes to the value of a member; `false`, behind the object, if it has none of this name.
    fn find_member(&mut self, name: &Name) -> Result<bool> {
        while self.another(b'}')? {
            self.record = self.window.offset();
            let member = self.string()?;
            self.skip_space()?;
            self.expect(b":")?;
            if name.is(&member) {
                return Ok(true);
            }
            self.skip_value()?;
        }
        Ok(false)
    }

    /// Goes to the next element or member of what `close` ends, behind a comma if need be; `false`, behind `close`, if there is none.
    fn another(&mut self, close: u8) -> Result<bool> {
        self.skip_space()?;
        match self.window.peek()? {
            Some(byte) if byte == close => {
                self.window.consume(1);
                Ok(false)
            }
            Some(b',') => {
                self.window.consume(1);
                self.skip_space()?;
                match self.window.peek()? {
                    Some(byte) if byte == close || byte == b',' => Err(malformed("a comma without a value")),
                    _ => Ok(true),
                }
            }
            Some(_) => Ok(true),
            None => Err(malformed("its end is missing")),
        }
    }

    fn skip_space(&mut self) -> Result<()> {
        while let Some(b' ' | b'\t' | b'\r' | b'\n') = self.window.peek()? {
            self.window.consume(1);
        }
        Ok(())
    }

    fn expect(&mut self, text: &[u8]) -> Result<()> {
        for wanted in text {
            if self.window.peek()? != Some(*wanted) {
                return Err(malformed("an unexpected character"));
            }
            self.window.consume(1);
        }
        Ok(())
    }

    fn check_length(&self, more: usize) -> Result<()> {
        let len = self.window.offset() - self.record + more as u64;
        if len > MAX_RECORD as u64 { Err(over_max_record()) } else { Ok(()) }
    }

    /// Reads a value.
    fn value(&mut self, depth: usize) -> Result<Value> {
        if depth > MAX_DEPTH {
            return Err(malformed("it is nested too deeply"));
        }
        self.skip_space()?;
        self.check_length(0)?;
        match self.window.peek()? {
            Some(b'"') => self.string().map(Value::String),
            Some(b'{') => {
                self.window.consume(1);
                let mut members = Vec::new();
                while self.separated(b'}', members.is_empty())? {
                    let name = self.string()?;
                    self.skip_space()?;
                    self.expect(b":")?;
                    members.push((name, self.value(depth + 1)?));
                }
                Ok(Value::Struct(members))
            }
            Some(b'[') => {
                self.window.consume(1);
                let mut items = Vec::new();
                while self.separated(b']', items.is_empty())? {
                    items.push(self.value(depth + 1)?);
                }
                Ok(Value::List(items))
            }
            Some(b't') => self.expect(b"true").map(|()| Value::Bool(true)),
            Some(b'f') => self.expect(b"false").map(|()| Value::Bool(false)),
            Some(b'n') => self.expect(b"null").map(|()| Value::Null),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(_) => Err(malformed("an unexpected character")),
            None => Err(malformed("its end is missing")),
        }
    }

    /// As `another`, and the comma must be there, or must not.
    fn separated(&mut self, close: u8, first: bool) -> Result<bool> {
        self.skip_space()?;
        let comma = self.window.peek()? == Some(b',');
        if !self.another(close)? {
            return Ok(false);
        }
        if comma == first { Err(malformed("an unexpected character")) } else { Ok(true) }
    }

    fn number(&mut self) -> Result<Value> {
        let mut text = String::new();
        while let Some(byte @ (b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9')) = self.window.peek()? {
            text.push(char::from(byte));
            self.window.consume(1);
            self.check_length(0)?;
        }
        let bytes = text.as_bytes();
        let digits = bytes.strip_prefix(b"-").unwrap_or(bytes);
        let zeros = digits.first() == Some(&b'0') && digits.get(1).is_some_and(u8::is_ascii_digit);
        let point = |at: Option<&u8>| at.is_none_or(|byte| !byte.is_ascii_digit());
        let points = digits.iter().position(|byte| *byte == b'.').is_some_and(|at| point(digits.get(at + 1)));
        if !digits.first().is_some_and(u8::is_ascii_digit) || zeros || points {
            return Err(malformed("an invalid number"));
        }
        Number::parse(&text).map(Number::value).ok_or_else(|| malformed("an invalid number"))
    }

    /// A string. Control characters need not be escaped in it, as Ion has it.
    fn string(&mut self) -> Result<String> {
        self.expect(b"\"")?;
        let mut bytes = Vec::new();
        loop {
            let unread = self.window.unread();
            let plain = memchr2(b'"', b'\\', unread).unwrap_or(unread.len());
            let piece = unread.get(..plain).unwrap_or_default();
            self.check_length(plain)?;
            bytes.extend_from_slice(piece);
            self.window.consume(plain);
            match self.window.peek()? {
                Some(b'"') => {
                    self.window.consume(1);
                    return String::from_utf8(bytes).map_err(|_| invalid_encoding());
                }
                Some(b'\\') => {
                    self.window.consume(1);
                    let char = self.escaped()?;
                    bytes.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
                }
                // More of the string was brought in.
                Some(_) => {}
                None => return Err(malformed("a string without an end")),
            }
        }
    }

    fn escaped(&mut self) -> Result<char> {
        let Some(byte) = self.window.peek()? else { return Err(malformed("a string without an end")) };
        self.window.consume(1);
        Ok(match byte {
            b'"' | b'\\' | b'/' => char::from(byte),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let first = self.hex()?;
                let code = match first {
                    0xd800..0xdc00 => {
                        self.expect(b"\\u")?;
                        match self.hex()? {
                            second @ 0xdc00..0xe000 => 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00),
                            _ => return Err(malformed("half a character")),
                        }
                    }
                    code => code,
                };
                char::from_u32(code).ok_or_else(|| malformed("half a character"))?
            }
            _ => return Err(malformed("an unknown escape sequence")),
        })
    }

    fn hex(&mut self) -> Result<u32> {
        let mut code = 0;
        for _ in 0..4 {
            let digit = self.window.peek()?.and_then(|byte| char::from(byte).to_digit(16));
            code = code * 16 + digit.ok_or_else(|| malformed("an unknown escape sequence"))?;
            self.window.consume(1);
        }
        Ok(code)
    }

    /// Goes behind a value that nobody wants, of whatever length, and does not look at it closely.
    fn skip_value(&mut self) -> Result<()> {
        self.skip_space()?;
        match self.window.peek()? {
            Some(b'"') => self.skip_string(),
            Some(b'{' | b'[') => {
                self.window.consume(1);
                self.skip_rest()
            }
            Some(b'-' | b'a'..=b'z' | b'0'..=b'9') => {
                while let Some(b'-' | b'+' | b'.' | b'E' | b'a'..=b'z' | b'0'..=b'9') = self.window.peek()? {
                    self.window.consume(1);
                }
                Ok(())
            }
            Some(_) => Err(malformed("an unexpected character")),
            None => Err(malformed("its end is missing")),
        }
    }

    /// Goes behind the end of the object or array that we are in.
    fn skip_rest(&mut self) -> Result<()> {
        let mut open = 1_u64;
        while open > 0 {
            match self.window.peek()? {
                Some(b'"') => {
                    self.skip_string()?;
                    continue;
                }
                Some(b'{' | b'[') => open += 1,
                Some(b'}' | b']') => open -= 1,
                Some(_) => {}
                None => return Err(malformed("its end is missing")),
            }
            self.window.consume(1);
        }
        Ok(())
    }

    fn skip_string(&mut self) -> Result<()> {
        self.expect(b"\"")?;
        loop {
            let unread = self.window.unread();
            let plain = memchr2(b'"', b'\\', unread).unwrap_or(unread.len());
            self.window.consume(plain);
            let Some(byte) = self.window.peek()? else { return Err(malformed("a string without an end")) };
            match byte {
                b'"' => {
                    self.window.consume(1);
                    return Ok(());
                }
                b'\\' => {
                    self.window.consume(1);
                    // Whatever it is, it does not end the string.
                    if self.window.peek()?.is_some() {
                        self.window.consume(1);
                    }
                }
                _ => {}
            }
        }
    }
}
