//! Forms (`multipart/form-data`), taken apart as they stream.
//!
//! ```text
//! form     = [CRLF] "--" boundary part-end  field* file  field*  "--" blank*       fields behind the file are ignored
//! field    = headers CRLF CRLF value  delimiter part-end
//! file     = the same; its Content-Disposition has the name "file"
//! delimiter = CRLF "--" boundary            part-end = blanks CRLF
//! ```
//!
//! What comes before the file's bytes is held in memory, 20 KB at most as S3 has it; of the file nothing but the piece that is passed on.
//!
//! Sources: RFC 2046 section 5.1 and RFC 7578; "HTML Form Fields" in the Amazon S3 API reference.

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use http_body::{Body, Frame};
use memchr::memmem;

use super::Refusal;
use super::body::{BrokenBody, next_data};
use crate::access::form::Fields;

/// Bytes of a form before its file's: fields, their headers, boundaries.
pub(super) const MAX_FIELDS: usize = 20 << 10;

/// Bytes of the headers of one part behind the file.
const MAX_HEADERS: usize = 8 << 10;

/// Bytes of a boundary (RFC 2046).
const MAX_BOUNDARY: usize = 70;

/// Blanks between a boundary and the end of its line.
const MAX_PADDING: usize = 64;

/// What may be wrong with a form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum FormFault {
    /// It is not a form, or does not end as one.
    #[error("the body is not a well-formed form")]
    Malformed,
    /// Its fields are longer than [`MAX_FIELDS`].
    #[error("the fields before the file are too long")]
    FieldsTooLong,
    /// There is no file in it.
    #[error("the form has no file")]
    NoFile,
    /// There is more than one file in it.
    #[error("the form has more than one file")]
    SeveralFiles,
    /// The file is longer than it may be.
    #[error("the file is longer than it may be")]
    FileTooLarge {
        /// Bytes seen when it was known; there may be more.
        size: u64,
        /// Bytes allowed.
        max: u64,
    },
    /// The file is shorter than it must be.
    #[error("the file is shorter than it must be")]
    FileTooSmall {
        /// Its length.
        size: u64,
        /// Bytes wanted.
        min: u64,
    },
    /// The connection did not bring it to its end.
    #[error(transparent)]
    Body(#[from] BrokenBody),
}

impl FormFault {
    /// How S3 answers it.
    pub(super) fn refusal(&self) -> Refusal {
        let bad = |code| Refusal::new(StatusCode::BAD_REQUEST, code);
        match self {
            Self::Malformed => bad("MalformedPOSTRequest"),
            Self::FieldsTooLong => {
                bad("MaxPostPreDataLengthExceeded").with("MaxPostPreDataLengthBytes", MAX_FIELDS.to_string())
            }
            Self::NoFile => {
                bad("InvalidArgument").saying(ONE_FILE).with("ArgumentName", "file").with("ArgumentValue", "0")
            }
            Self::SeveralFiles => bad("IncorrectNumberOfFilesInPostRequest").saying(ONE_FILE),
            Self::FileTooLarge { size, max } => {
                bad("EntityTooLarge").with("ProposedSize", size.to_string()).with("MaxSizeAllowed", max.to_string())
            }
            Self::FileTooSmall { size, min } => {
                bad("EntityTooSmall").with("ProposedSize", size.to_string()).with("MinSizeAllowed", min.to_string())
            }
            Self::Body(BrokenBody(fault)) => fault.refusal(),
        }
    }
}

const ONE_FILE: &str = "POST requires exactly one file upload per request.";

/// Whether a `Content-Type` is a form's.
pub(super) fn is_form(content_type: Option<&HeaderValue>) -> bool {
    let form = b"multipart/form-data";
    content_type
        .map(|value| value.as_bytes().trim_ascii_start())
        .and_then(|value| value.get(..form.len()))
        .is_some_and(|start| start.eq_ignore_ascii_case(form))
}

/// What separates the parts of a form: CR, LF, two hyphens, the boundary. The CR is its only one, on which the search for it relies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Delimiter(Bytes);

impl Delimiter {
    /// The delimiter that a `Content-Type` announces.
    pub(super) fn of(content_type: Option<&HeaderValue>) -> Result<Self, FormFault> {
        let text = content_type.and_then(|value| value.to_str().ok()).ok_or(FormFault::Malformed)?;
        let (kind, parameters) = parameters(text).ok_or(FormFault::Malformed)?;
        let mut boundaries = parameters.iter().filter(|(name, _)| name == "boundary").map(|(_, value)| value);
        let (Some(boundary), None) = (boundaries.next(), boundaries.next()) else { return Err(FormFault::Malformed) };
        let legal = |b: u8| b.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&b);
        if !kind.eq_ignore_ascii_case("multipart/form-data")
            || !(1..=MAX_BOUNDARY).contains(&boundary.len())
            || !boundary.bytes().all(legal)
            || boundary.ends_with(' ')
        {
            return Err(FormFault::Malformed);
        }
        Ok(Self(Bytes::from(format!("\r\n--{boundary}"))))
    }

    /// How many of the last bytes may be the beginning of a delimiter.
    fn begun_at_the_end(&self, bytes: &[u8]) -> usize {
        let from = bytes.len().saturating_sub(self.0.len() - 1);
        let tail = bytes.get(from..).unwrap_or_default();
        let begun = tail.iter().rposition(|&b| b == b'\r').and_then(|at| tail.get(at..)).unwrap_or_default();
        if self.0.starts_with(begun) { begun.len() } else { 0 }
    }
}

/// `kind; name=value; name="value"`. Only `\"` is an escape: browsers send paths with backslashes as they are.
fn parameters(text: &str) -> Option<(&str, Vec<(String, String)>)> {
    let (kind, mut rest) = text.split_once(';').unwrap_or((text, ""));
    let mut found = Vec::new();
    loop {
        rest = rest.trim_start_matches([' ', '\t', ';']);
        if rest.is_empty() {
            return Some((kind.trim(), found));
        }
        let (name, after) = rest.split_once('=')?;
        let name = name.trim().to_ascii_lowercase();
        let value = match after.trim_start().strip_prefix('"') {
            None => {
                let (value, behind) = after.split_once(';').unwrap_or((after, ""));
                rest = behind;
                value.trim().to_owned()
            }
            Some(quoted) => {
                let mut value = String::new();
                let mut chars = quoted.chars();
                loop {
                    match chars.next()? {
                        '"' => break,
                        '\\' if chars.as_str().starts_with('"') => {
                            chars.next();
                            value.push('"');
                        }
                        c => value.push(c),
                    }
                }
                rest = chars.as_str();
                value
            }
        };
        found.push((name, value));
    }
}

/// What the headers of a part say.
#[derive(Debug, PartialEq, Eq)]
struct PartHead {
    name: String,
    file_name: Option<String>,
}

impl PartHead {
    /// Reads headers, without the empty line behind them.
    fn parse(block: &[u8]) -> Result<Self, FormFault> {
        let text = std::str::from_utf8(block).map_err(|_| FormFault::Malformed)?;
        let mut disposition = None;
        for line in text.split("\r\n").filter(|line| !line.is_empty()) {
            let (name, value) = line.split_once(':').ok_or(FormFault::Malformed)?;
            if name.trim().eq_ignore_ascii_case("content-disposition") && disposition.replace(value).is_some() {
                return Err(FormFault::Malformed);
            }
        }
        let (kind, parameters) = disposition.and_then(parameters).ok_or(FormFault::Malformed)?;
        if !kind.eq_ignore_ascii_case("form-data") {
            return Err(FormFault::Malformed);
        }
        let (mut name, mut file_name) = (None, None);
        for (parameter, value) in parameters {
            let place = match parameter.as_str() {
                "name" => &mut name,
                "filename" => &mut file_name,
                _ => continue,
            };
            if place.replace(value).is_some() {
                return Err(FormFault::Malformed);
            }
        }
        // What has no name is neither a field nor the file.
        let name = name.filter(|name| !name.is_empty()).ok_or(FormFault::Malformed)?;
        Ok(Self { name, file_name })
    }

    fn is_file(&self) -> bool {
        self.name.eq_ignore_ascii_case("file")
    }
}

/// The fields of a form, as far as its file; the file is still to be read.
pub(super) struct Form<B> {
    /// The fields before the file.
    pub(super) fields: Fields,
    /// What the file is called, if it has a name.
    pub(super) file_name: Option<String>,
    body: B,
    delimiter: Delimiter,
    /// What of the file has come already.
    first: VecDeque<Bytes>,
}

/// What may follow at a place of the head.
#[derive(Clone, Copy)]
enum Expecting {
    /// The first boundary.
    Start,
    /// What follows a boundary.
    PartEnd,
    /// A part's headers.
    Headers,
}

/// The bytes before the file, and how far they have been understood.
struct Head {
    bytes: Vec<u8>,
    at: usize,
    expecting: Expecting,
    fields: Fields,
    /// Of the field whose value is being waited for.
    name: Option<String>,
}

impl Head {
    /// Goes on as far as the bytes reach; answers the file's head once its bytes begin.
    fn go_on(&mut self, delimiter: &Delimiter) -> Result<Option<PartHead>, FormFault> {
        loop {
            let rest = self.bytes.get(self.at..).unwrap_or_default();
            if let Some(name) = &self.name {
                let Some(end) = memmem::find(rest, &delimiter.0) else { return Ok(None) };
                let value = rest.get(..end).and_then(|value| std::str::from_utf8(value).ok());
                self.fields.add(name, value.ok_or(FormFault::Malformed)?);
                self.name = None;
                self.at += end + delimiter.0.len();
                self.expecting = Expecting::PartEnd;
                continue;
            }
            match self.expecting {
                Expecting::Start => {
                    let whole = &delimiter.0[..];
                    // The line's end before it may be there or not.
                    let bare = whole.get(2..).unwrap_or_default();
                    let found = [whole, bare].into_iter().find(|start| rest.starts_with(start));
                    let Some(found) = found else {
                        let begun = [whole, bare].into_iter().any(|start| start.starts_with(rest));
                        return if begun { Ok(None) } else { Err(FormFault::Malformed) };
                    };
                    self.at = found.len();
                    self.expecting = Expecting::PartEnd;
                }
                Expecting::PartEnd => match part_end(rest)? {
                    None => return Ok(None),
                    Some(PartEnd::Last) => return Err(FormFault::NoFile),
                    Some(PartEnd::Another(len)) => {
                        self.at += len;
                        self.expecting = Expecting::Headers;
                    }
                },
                Expecting::Headers => {
                    let Some(end) = memmem::find(rest, b"\r\n\r\n") else { return Ok(None) };
                    let head = PartHead::parse(rest.get(..end).unwrap_or_default())?;
                    self.at += end + 4;
                    if head.is_file() {
                        return Ok(Some(head));
                    }
                    // A value may be empty: then the delimiter begins where it would.
                    self.name = Some(head.name);
                }
            }
        }
    }
}

enum PartEnd {
    /// The form ends here.
    Last,
    /// Another part follows so many bytes later.
    Another(usize),
}

/// What follows a boundary; `None` if that cannot be told yet.
fn part_end(rest: &[u8]) -> Result<Option<PartEnd>, FormFault> {
    if rest.starts_with(b"--") {
        return Ok(Some(PartEnd::Last));
    }
    let blanks = rest.iter().take_while(|&&b| b == b' ' || b == b'\t').count();
    match rest.get(blanks..) {
        _ if blanks > MAX_PADDING => Err(FormFault::Malformed),
        Some([b'\r', b'\n', ..]) => Ok(Some(PartEnd::Another(blanks + 2))),
        None | Some([] | [b'\r']) => Ok(None),
        Some([b'-']) if blanks == 0 => Ok(None),
        Some(_) => Err(FormFault::Malformed),
    }
}

/// Reads a form as far as its file's first byte.
pub(super) async fn read<B>(mut body: B, delimiter: Delimiter) -> Result<Form<B>, FormFault>
where
    B: Body<Data = Bytes, Error = BrokenBody> + Unpin,
{
    let mut head =
        Head { bytes: Vec::new(), at: 0, expecting: Expecting::Start, fields: Fields::default(), name: None };
    loop {
        let mut piece = match next_data(&mut body).await {
            Some(piece) => piece?,
            // A form that ends before its file is one that was cut off.
            None => return Err(FormFault::Malformed),
        };
        // No more of a piece than may belong to the fields is copied; one byte over tells that they are too long.
        let room = MAX_FIELDS + 1 - head.bytes.len().min(MAX_FIELDS + 1);
        head.bytes.extend_from_slice(&piece.split_to(piece.len().min(room)));
        if let Some(file) = head.go_on(&delimiter)?
            && head.at <= MAX_FIELDS
        {
            let begun = Bytes::copy_from_slice(head.bytes.get(head.at..).unwrap_or_default());
            let first = [begun, piece].into_iter().filter(|piece| !piece.is_empty()).collect();
            return Ok(Form { fields: head.fields, file_name: file.file_name, body, delimiter, first });
        }
        if head.bytes.len() > MAX_FIELDS {
            return Err(FormFault::FieldsTooLong);
        }
    }
}

impl<B> Form<B> {
    /// The file's bytes, which must be as many as `allowed` says, and what was wrong with them if they end in an error.
    pub(super) fn file(self, allowed: RangeInclusive<u64>) -> (File<B>, Arc<OnceLock<FormFault>>) {
        let verdict = Arc::new(OnceLock::new());
        let file = File {
            body: self.body,
            finder: memmem::Finder::new(&self.delimiter.0).into_owned(),
            delimiter: self.delimiter,
            waiting: self.first,
            ready: VecDeque::new(),
            state: State::Content { kept: true, matched: 0 },
            size: 0,
            allowed,
            over: false,
            verdict: Arc::clone(&verdict),
        };
        (file, verdict)
    }
}

enum State {
    /// Within the file, or within a field behind it, which is not kept. `matched`: so many bytes of a delimiter have been seen.
    Content { kept: bool, matched: usize },
    /// Behind a delimiter.
    PartEnd(Vec<u8>),
    /// Within the headers of a field behind the file.
    Headers(Vec<u8>),
    /// Behind the last delimiter.
    Closed,
}

/// The bytes of a form's file. They end without an error only if the form ended as it should.
pub(super) struct File<B> {
    body: B,
    delimiter: Delimiter,
    finder: memmem::Finder<'static>,
    /// Pieces of the form not looked at yet.
    waiting: VecDeque<Bytes>,
    /// Pieces of the file to be passed on.
    ready: VecDeque<Bytes>,
    state: State,
    size: u64,
    allowed: RangeInclusive<u64>,
    over: bool,
    verdict: Arc<OnceLock<FormFault>>,
}

impl<B> File<B> {
    fn pass_on(&mut self, piece: Bytes, kept: bool) -> Result<(), FormFault> {
        if !kept || piece.is_empty() {
            return Ok(());
        }
        self.size += piece.len() as u64;
        if self.size > *self.allowed.end() {
            return Err(FormFault::FileTooLarge { size: self.size, max: *self.allowed.end() });
        }
        self.ready.push_back(piece);
        Ok(())
    }

    fn take(&mut self, mut bytes: Bytes) -> Result<(), FormFault> {
        while !bytes.is_empty() {
            match &mut self.state {
                State::Content { kept, matched: 0 } => {
                    let kept = *kept;
                    if let Some(at) = self.finder.find(&bytes) {
                        let piece = bytes.split_to(at);
                        bytes = bytes.slice(self.delimiter.0.len()..);
                        self.pass_on(piece, kept)?;
                        self.state = State::PartEnd(Vec::new());
                    } else {
                        let begun = self.delimiter.begun_at_the_end(&bytes);
                        let piece = bytes.split_to(bytes.len() - begun);
                        bytes.clear();
                        self.state = State::Content { kept, matched: begun };
                        self.pass_on(piece, kept)?;
                    }
                }
                State::Content { kept, matched } => {
                    let (kept, seen) = (*kept, *matched);
                    let missing = self.delimiter.0.slice(seen..);
                    let len = missing.len().min(bytes.len());
                    if bytes.get(..len) == missing.get(..len) {
                        bytes = bytes.slice(len..);
                        self.state = if len == missing.len() {
                            State::PartEnd(Vec::new())
                        } else {
                            State::Content { kept, matched: seen + len }
                        };
                    } else {
                        // It was none; another cannot have begun within it, since only its first byte is a CR.
                        self.state = State::Content { kept, matched: 0 };
                        self.pass_on(self.delimiter.0.slice(..seen), kept)?;
                    }
                }
                State::PartEnd(line) => {
                    line.extend_from_slice(&bytes.split_to(1));
                    match part_end(line)? {
                        None => {}
                        Some(PartEnd::Last) => self.state = State::Closed,
                        Some(PartEnd::Another(_)) => self.state = State::Headers(Vec::new()),
                    }
                }
                State::Headers(block) => {
                    block.extend_from_slice(&bytes.split_to(1));
                    if let Some(block) = block.strip_suffix(b"\r\n\r\n") {
                        if PartHead::parse(block)?.is_file() {
                            return Err(FormFault::SeveralFiles);
                        }
                        self.state = State::Content { kept: false, matched: 0 };
                    } else if block.len() > MAX_HEADERS {
                        return Err(FormFault::Malformed);
                    }
                }
                State::Closed => {
                    if !bytes.iter().all(u8::is_ascii_whitespace) {
                        return Err(FormFault::Malformed);
                    }
                    bytes.clear();
                }
            }
        }
        Ok(())
    }

    fn end(&self) -> Result<(), FormFault> {
        match self.state {
            State::Closed if self.size < *self.allowed.start() => {
                Err(FormFault::FileTooSmall { size: self.size, min: *self.allowed.start() })
            }
            State::Closed => Ok(()),
            _ => Err(FormFault::Malformed),
        }
    }
}

impl<B> Body for File<B>
where
    B: Body<Data = Bytes, Error = BrokenBody> + Unpin,
{
    type Data = Bytes;
    type Error = FormFault;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, FormFault>>> {
        let this = self.get_mut();
        loop {
            if let Some(piece) = this.ready.pop_front() {
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
            if this.over {
                return Poll::Ready(None);
            }
            let outcome = if let Some(piece) = this.waiting.pop_front() {
                this.take(piece)
            } else {
                match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
                    Some(Ok(frame)) => frame.into_data().map_or(Ok(()), |piece| this.take(piece)),
                    Some(Err(broken)) => Err(broken.into()),
                    None => {
                        this.over = true;
                        this.end()
                    }
                }
            };
            if let Err(fault) = outcome {
                this.over = true;
                this.ready.clear();
                let _ = this.verdict.set(fault.clone());
                return Poll::Ready(Some(Err(fault)));
            }
        }
    }
}

#[cfg(test)]
mod tests;
