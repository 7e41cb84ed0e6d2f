//! The bytes of a snapshot: a dump of tables that either database can be filled from.
//!
//! ```text
//! dump  = magic (8 bytes) · frame · frame · …
//! frame = length (4) · stored length (4) · XXH3-64 of what is stored, seeded by the lengths (8) · LZ4 block
//! what is in a frame begins with a byte that says what it is:
//!   1  the head, as JSON: once, first        2  a table, as JSON: its name and columns
//!   3  rows: how many, then their values     4  the end, as JSON: how many rows there were
//! ```
//!
//! Integers of the framing are little-endian. A value is a byte for its kind and then: nothing for null (0); for a whole number (1) its
//! zigzag LEB128; for a number (2) its 8 bytes; for text (3) and bytes (4) their length as LEB128, and they themselves. A dump
//! without its end is none. The format is pinned by `tests/fixtures/`.

use bytes::{Buf as _, Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::metadata::{Cell, Table};

const MAGIC: &[u8; 8] = b"NFDUMP\x01\n";
const FRAME_HEADER: usize = 16;
/// A frame is far smaller; a length above this is damage.
const FRAME_MAX: usize = 256 << 20;

/// What a dump says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Version of the tables.
    pub schema: u32,
    /// The deployment's id.
    pub deployment: String,
    /// The snapshot's name.
    pub snapshot: String,
    /// When it began, by the database's clock.
    pub began: i64,
}

/// A piece of a dump.
#[derive(Debug, Clone, PartialEq)]
pub enum Frame {
    /// The head.
    Head(Head),
    /// The rows that follow are of this table.
    Table {
        /// Its name.
        name: String,
        /// Its columns' names.
        columns: Vec<String>,
    },
    /// Rows.
    Rows(Vec<Vec<Cell>>),
    /// The end: so many rows there were.
    End(u64),
}

/// Why bytes are no dump.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DumpError {
    /// The first bytes are not ours, or of another version.
    #[error("it is no dump that this program knows")]
    Magic,
    /// A checksum does not match.
    #[error("checksum mismatch")]
    Checksum,
    /// It cannot be read.
    #[error("it is damaged: {0}")]
    Damaged(&'static str),
    /// It ends before its end.
    #[error("it is cut short")]
    Cut,
}

#[derive(Serialize, Deserialize)]
struct TableText {
    name: String,
    columns: Vec<String>,
}

/// The first bytes of a dump.
pub fn begin(head: &Head) -> Bytes {
    let mut out = MAGIC.to_vec();
    frame(&mut out, 1, &json(head));
    out.into()
}

/// A table, and rows of it.
pub fn table(table: &Table) -> Bytes {
    let columns = table.columns.iter().map(|(name, _)| (*name).to_owned()).collect();
    let mut out = Vec::new();
    frame(&mut out, 2, &json(&TableText { name: table.name.to_owned(), columns }));
    out.into()
}

/// Rows of the table that was named last.
pub fn rows(rows: &[Vec<Cell>]) -> Bytes {
    let mut body = Vec::with_capacity(rows.len() * 128);
    number(&mut body, rows.len() as u64);
    for row in rows {
        number(&mut body, row.len() as u64);
        for cell in row {
            encode(&mut body, cell);
        }
    }
    let mut out = Vec::new();
    frame(&mut out, 3, &body);
    out.into()
}

/// The end, after so many rows.
pub fn end(rows: u64) -> Bytes {
    let mut out = Vec::new();
    frame(&mut out, 4, &json(&rows));
    out.into()
}

fn json(what: &impl Serialize) -> Vec<u8> {
    // Plain structs of texts and numbers: there is nothing in them that JSON cannot say.
    serde_json::to_vec(what).unwrap_or_default()
}

fn frame(out: &mut Vec<u8>, kind: u8, body: &[u8]) {
    let mut whole = Vec::with_capacity(body.len() + 1);
    whole.push(kind);
    whole.extend_from_slice(body);
    let stored = lz4_flex::block::compress(&whole);
    out.extend_from_slice(&(whole.len() as u32).to_le_bytes());
    out.extend_from_slice(&(stored.len() as u32).to_le_bytes());
    out.extend_from_slice(&sum(whole.len(), &stored).to_le_bytes());
    out.extend_from_slice(&stored);
}

/// The checksum of a frame's stored bytes, seeded by both lengths.
fn sum(len: usize, stored: &[u8]) -> u64 {
    xxh3_64_with_seed(stored, (len as u64) << 32 | stored.len() as u64)
}

fn number(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn encode(out: &mut Vec<u8>, cell: &Cell) {
    match cell {
        Cell::Null => out.push(0),
        Cell::Int(value) => {
            out.push(1);
            number(out, ((value << 1) ^ (value >> 63)) as u64);
        }
        Cell::Float(value) => {
            out.push(2);
            out.extend_from_slice(&value.to_le_bytes());
        }
        Cell::Text(value) => {
            out.push(3);
            number(out, value.len() as u64);
            out.extend_from_slice(value.as_bytes());
        }
        Cell::Bytes(value) => {
            out.push(4);
            number(out, value.len() as u64);
            out.extend_from_slice(value);
        }
    }
}

/// Takes a dump apart as its bytes come.
#[derive(Debug, Default)]
pub struct Reader {
    pending: BytesMut,
    begun: bool,
    rows: u64,
    ended: bool,
}

impl Reader {
    /// The next bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
    }

    /// The next frame, if all of it has come.
    ///
    /// # Errors
    /// [`DumpError`]: what has come is no dump.
    pub fn frame(&mut self) -> Result<Option<Frame>, DumpError> {
        if !self.begun {
            let Some(magic) = self.pending.get(..MAGIC.len()) else { return Ok(None) };
            if magic != MAGIC {
                return Err(DumpError::Magic);
            }
            self.pending.advance(MAGIC.len());
            self.begun = true;
        }
        let Some(header) = self.pending.get(..FRAME_HEADER) else { return Ok(None) };
        let (mut lens, mut told) = (header, [0; 8]);
        let (len, stored) = (lens.get_u32_le() as usize, lens.get_u32_le() as usize);
        told.copy_from_slice(&header[8..16]);
        if len > FRAME_MAX || stored > FRAME_MAX {
            return Err(DumpError::Damaged("a frame's length"));
        }
        let Some(body) = self.pending.get(FRAME_HEADER..FRAME_HEADER + stored) else { return Ok(None) };
        if sum(len, body) != u64::from_le_bytes(told) {
            return Err(DumpError::Checksum);
        }
        let whole = lz4_flex::block::decompress(body, len).map_err(|_| DumpError::Damaged("a frame's content"))?;
        self.pending.advance(FRAME_HEADER + stored);
        if self.ended {
            return Err(DumpError::Damaged("something behind the end"));
        }
        let frame = decode(&whole)?;
        match &frame {
            Frame::Rows(rows) => self.rows += rows.len() as u64,
            Frame::End(rows) if *rows != self.rows => return Err(DumpError::Damaged("the number of rows")),
            Frame::End(_) => self.ended = true,
            Frame::Head(_) | Frame::Table { .. } => {}
        }
        Ok(Some(frame))
    }

    /// Says that there are no more bytes.
    ///
    /// # Errors
    /// [`DumpError::Cut`] if the end was not among them.
    pub fn finish(&self) -> Result<(), DumpError> {
        if self.ended && self.pending.is_empty() { Ok(()) } else { Err(DumpError::Cut) }
    }
}

fn decode(whole: &[u8]) -> Result<Frame, DumpError> {
    const WRONG: DumpError = DumpError::Damaged("a frame");
    let (kind, mut body) = whole.split_first().ok_or(WRONG)?;
    match kind {
        1 => Ok(Frame::Head(serde_json::from_slice(body).map_err(|_| WRONG)?)),
        2 => {
            let TableText { name, columns } = serde_json::from_slice(body).map_err(|_| WRONG)?;
            Ok(Frame::Table { name, columns })
        }
        3 => {
            let count = take_number(&mut body)?;
            let mut rows = Vec::new();
            for _ in 0..count {
                let cells = take_number(&mut body)?;
                rows.push((0..cells).map(|_| take_cell(&mut body)).collect::<Result<Vec<_>, _>>()?);
            }
            if body.is_empty() { Ok(Frame::Rows(rows)) } else { Err(WRONG) }
        }
        4 => Ok(Frame::End(serde_json::from_slice(body).map_err(|_| WRONG)?)),
        _ => Err(WRONG),
    }
}

fn take<'a>(body: &mut &'a [u8], len: usize) -> Result<&'a [u8], DumpError> {
    let (taken, rest) = body.split_at_checked(len).ok_or(DumpError::Damaged("a value"))?;
    *body = rest;
    Ok(taken)
}

fn take_number(body: &mut &[u8]) -> Result<u64, DumpError> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = take(body, 1)?[0];
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(DumpError::Damaged("a number"))
}

fn take_cell(body: &mut &[u8]) -> Result<Cell, DumpError> {
    let kind = take(body, 1)?[0];
    let sized = |body: &mut &[u8]| -> Result<Vec<u8>, DumpError> {
        let len = usize::try_from(take_number(body)?).map_err(|_| DumpError::Damaged("a value"))?;
        Ok(take(body, len)?.to_vec())
    };
    Ok(match kind {
        0 => Cell::Null,
        1 => {
            let value = take_number(body)?;
            Cell::Int((value >> 1) as i64 ^ -((value & 1) as i64))
        }
        2 => {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(take(body, 8)?);
            Cell::Float(f64::from_le_bytes(bytes))
        }
        3 => Cell::Text(String::from_utf8(sized(body)?).map_err(|_| DumpError::Damaged("a text"))?),
        4 => Cell::Bytes(sized(body)?),
        _ => return Err(DumpError::Damaged("a value's kind")),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;
    use crate::metadata::TABLES;

    fn cell() -> impl Strategy<Value = Cell> {
        prop_oneof![
            Just(Cell::Null),
            any::<i64>().prop_map(Cell::Int),
            (-1e300..1e300f64).prop_map(Cell::Float),
            ".{0,40}".prop_map(Cell::Text),
            prop::collection::vec(any::<u8>(), 0..300).prop_map(Cell::Bytes),
        ]
    }

    fn head() -> Head {
        Head { schema: 5, deployment: "d".into(), snapshot: "s".into(), began: 1_700_000_000_000 }
    }

    fn whole(given: &[Vec<Cell>]) -> Vec<u8> {
        [begin(&head()), table(&TABLES[3]), rows(given), end(given.len() as u64)].concat()
    }

    fn read(bytes: &[u8], step: usize) -> Result<Vec<Frame>, DumpError> {
        let (mut reader, mut frames) = (Reader::default(), Vec::new());
        for piece in bytes.chunks(step) {
            reader.push(piece);
            while let Some(frame) = reader.frame()? {
                frames.push(frame);
            }
        }
        reader.finish().map(|()| frames)
    }

    proptest! {
        #[test]
        fn rows_survive(given in prop::collection::vec(prop::collection::vec(cell(), 0..6), 0..20), step in 1usize..5000) {
            let frames = read(&whole(&given), step).unwrap();
            prop_assert_eq!(&frames[0], &Frame::Head(head()));
            prop_assert_eq!(&frames[2], &Frame::Rows(given));
        }

        #[test]
        fn damage_is_noticed(at in 0usize..10_000, mask in 1u8..) {
            let mut bytes = whole(&[vec![Cell::Int(7), Cell::Text("text".into()), Cell::Bytes(vec![1; 40])]]);
            let at = at % bytes.len();
            bytes[at] ^= mask;
            prop_assert!(read(&bytes, 4096).is_err());
        }
    }

    #[test]
    fn what_is_cut_is_no_dump() {
        let bytes = whole(&[vec![Cell::Int(1)]]);
        for len in 0..bytes.len() {
            assert_eq!(read(&bytes[..len], 4096), Err(DumpError::Cut), "{len}");
        }
    }

    #[test]
    fn the_format_is_pinned() {
        let row =
            vec![Cell::Int(-3), Cell::Text("bucket".into()), Cell::Null, Cell::Float(1.5), Cell::Bytes(vec![0, 255])];
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/dump_v1.bin");
        let pinned = std::fs::read(path).unwrap();
        // What was written once is read for ever; how well it is packed may change, and what columns the table has.
        let mut expected = read(&whole(&[row]), 4096).unwrap();
        let columns = ["bucket_id", "name", "created", "region", "owner"].map(str::to_owned).into();
        expected[1] = Frame::Table { name: "buckets".into(), columns };
        assert_eq!(read(&pinned, 4096).unwrap(), expected);
    }
}
