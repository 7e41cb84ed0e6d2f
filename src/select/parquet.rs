//! Rows of Parquet files, read in ranges as their pages are needed.
//!
//! The `parquet` crate without arrow reads rows of any nesting. What it cannot read it may panic about; that ends the query, not the thread.

use std::io::{self, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use ::parquet::data_type::Decimal as Digits;
use ::parquet::errors::ParquetError;
use ::parquet::file::reader::{ChunkReader, FileReader as _, Length};
use ::parquet::file::serialized_reader::{ReadOptionsBuilder, SerializedFileReader};
use ::parquet::record::Field;
use ::parquet::record::reader::RowIter;
use ::parquet::schema::types::Type;
use bytes::Bytes;
use rust_decimal::Decimal;

use super::error::{Result, StorageFault, fail, over_max_record, refused};
use super::row::{Header, Row};
use super::syntax::Query;
use super::timestamp::Timestamp;
use super::value::Value;
use super::window::{Counters, Source};
use super::{MAX_RECORD, SelectError};

/// Bytes of a row group at most, uncompressed, as S3 has it.
const MAX_ROW_GROUP: i64 = 512 << 20;
/// Bytes that are read at once at most: a page, or what the file says of itself.
const MAX_READ: usize = 64 << 20;
/// Bytes read at once where nobody knows how many it takes.
const PIECE: u64 = 64 << 10;

/// The object in ranges.
struct Ranges {
    source: Arc<dyn Source>,
    counters: Arc<Counters>,
}

/// From a place on, piece by piece.
struct Pieces {
    source: Arc<dyn Source>,
    counters: Arc<Counters>,
    at: u64,
    piece: io::Take<Box<dyn Read + Send>>,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        if self.piece.limit() == 0 {
            let end = self.at.saturating_add(PIECE).min(self.source.size());
            if self.at >= end {
                return Ok(0);
            }
            self.piece = self.source.open(self.at..end)?.take(end - self.at);
        }
        let count = self.piece.read(buffer)?;
        self.at += count as u64;
        self.counters.scanned.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

impl Length for Ranges {
    fn len(&self) -> u64 {
        self.source.size()
    }
}

impl ChunkReader for Ranges {
    type T = Pieces;

    fn get_read(&self, start: u64) -> ::parquet::errors::Result<Self::T> {
        let nothing: Box<dyn Read + Send> = Box::new(io::empty());
        let (source, counters) = (self.source.clone(), self.counters.clone());
        Ok(Pieces { source, counters, at: start, piece: nothing.take(0) })
    }

    fn get_bytes(&self, start: u64, length: usize) -> ::parquet::errors::Result<Bytes> {
        let end = start.checked_add(length as u64).filter(|end| *end <= self.source.size());
        let Some(end) = end.filter(|_| length <= MAX_READ) else {
            return Err(ParquetError::EOF(format!("{length} bytes at {start}")));
        };
        let mut bytes = Vec::with_capacity(length);
        self.source.open(start..end)?.read_to_end(&mut bytes)?;
        if bytes.len() != length {
            return Err(ParquetError::EOF(format!("{length} bytes at {start}")));
        }
        self.counters.scanned.fetch_add(length as u64, Ordering::Relaxed);
        Ok(bytes.into())
    }
}

fn unreadable(error: ParquetError) -> SelectError {
    match error {
        ParquetError::External(inner) => match inner.downcast::<io::Error>() {
            Ok(error) if error.get_ref().is_some_and(|inner| inner.is::<StorageFault>()) => {
                SelectError::Storage(*error)
            }
            Ok(error) => malformed(&*error),
            Err(inner) => malformed(&*inner),
        },
        error => malformed(&error),
    }
}

fn malformed(error: &dyn std::fmt::Display) -> SelectError {
    refused("ParquetParsingError", format!("Error parsing Parquet file. Please check the file and try again: {error}"))
}

/// Does what may panic over a file that is not as it should be.
fn guarded<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(malformed(&"its contents contradict each other")))
}

/// A Parquet file, row by row.
pub(super) struct Reader {
    rows: RowIter<'static>,
    counters: Arc<Counters>,
}

impl Reader {
    /// Opens the file; within a range the row groups that begin there count.
    pub(super) fn open(
        source: Arc<dyn Source>,
        query: &Query,
        range: Option<(u64, u64)>,
        counters: &Arc<Counters>,
    ) -> Result<(Self, Row)> {
        let ranges = Ranges { source, counters: counters.clone() };
        guarded(|| {
            let mut options = ReadOptionsBuilder::new();
            if let Some((first, last)) = range {
                options = options.with_predicate(Box::new(move |group, _| {
                    let start = group.columns().iter().map(|column| column.byte_range().0).min();
                    start.is_some_and(|start| (first..=last).contains(&start))
                }));
            }
            let file = SerializedFileReader::new_with_options(ranges, options.build()).map_err(unreadable)?;
            let metadata = file.metadata();
            if metadata.row_groups().iter().any(|group| group.total_byte_size() > MAX_ROW_GROUP) {
                let message = "Parquet file is above the max row group size: 512 MB.";
                return fail("OverMaxParquetBlockSize", message);
            }
            let schema = metadata.file_metadata().schema();
            let names: Vec<String> = schema.get_fields().iter().map(|field| field.name().to_owned()).collect();
            Header::new(names.clone()).check(&query.columns)?;
            let wanted = projection(query, schema)?;
            let names = match &wanted {
                Some(wanted) => wanted.get_fields().iter().map(|field| field.name().to_owned()).collect(),
                None => names,
            };
            let rows = RowIter::from_file_into(Box::new(file)).project(wanted).map_err(unreadable)?;
            let row = Row::Table { header: Arc::new(Header::new(names)), fields: Vec::new() };
            Ok((Self { rows, counters: counters.clone() }, row))
        })
    }

    /// Reads the next row; `false` if there is none.
    pub(super) fn next(&mut self, row: &mut Row) -> Result<bool> {
        let Row::Table { fields, .. } = row else { return Ok(false) };
        let next = guarded(|| self.rows.next().transpose().map_err(unreadable))?;
        let Some(next) = next else { return Ok(false) };
        fields.clear();
        let mut size = 0;
        for (_, field) in next.into_columns() {
            fields.push(value(field, &mut size)?);
        }
        self.counters.processed.fetch_add(size as u64, Ordering::Relaxed);
        Ok(true)
    }
}

/// The columns that a query names, if it names any and all by name: the others are not read.
fn projection(query: &Query, schema: &Type) -> Result<Option<Type>> {
    if query.whole || query.columns.is_empty() || query.columns.iter().any(|name| name.position().is_some()) {
        return Ok(None);
    }
    let named = |field: &&Arc<Type>| query.columns.iter().any(|name| name.is(field.name()));
    let fields = schema.get_fields().iter().filter(named).cloned().collect();
    Type::group_type_builder(schema.name()).with_fields(fields).build().map(Some).map_err(unreadable)
}

fn decimal(digits: &Digits) -> Option<Decimal> {
    let bytes = digits.data();
    let negative = bytes.first().is_some_and(|byte| byte & 0x80 != 0);
    let mut number = if negative { -1_i128 } else { 0 };
    if bytes.len() > 16 {
        return None;
    }
    for byte in bytes {
        number = (number << 8) | i128::from(*byte);
    }
    Decimal::try_from_i128_with_scale(number, u32::try_from(digits.scale()).ok()?).ok()
}

fn value(field: Field, size: &mut usize) -> Result<Value> {
    *size += match &field {
        Field::Str(text) => text.len(),
        Field::Bytes(bytes) => bytes.len(),
        _ => 8,
    };
    if *size > MAX_RECORD {
        return Err(over_max_record());
    }
    let unsupported = || refused("UnsupportedParquetType", "Unsupported Parquet type: a value of it cannot be shown.");
    let time = |nanos: i128, digits: u8| {
        Timestamp::from_nanos(nanos, digits).map(|at| Value::Timestamp(Box::new(at))).ok_or_else(unsupported)
    };
    Ok(match field {
        Field::Null => Value::Null,
        Field::Bool(value) => Value::Bool(value),
        Field::Byte(value) => Value::Int(value.into()),
        Field::Short(value) => Value::Int(value.into()),
        Field::Int(value) => Value::Int(value.into()),
        Field::Long(value) => Value::Int(value),
        Field::UByte(value) => Value::Int(value.into()),
        Field::UShort(value) => Value::Int(value.into()),
        Field::UInt(value) => Value::Int(value.into()),
        Field::ULong(value) => i64::try_from(value).map_or_else(|_| Value::Decimal(value.into()), Value::Int),
        Field::Float16(value) => Value::Float(value.to_f64()),
        // As short as the float is: 0.1 and not 0.10000000149011612.
        Field::Float(value) => Value::Float(value.to_string().parse().unwrap_or(f64::NAN)),
        Field::Double(value) => Value::Float(value),
        Field::Decimal(digits) => Value::Decimal(decimal(&digits).ok_or_else(unsupported)?),
        Field::Str(text) => Value::String(text),
        Field::Bytes(bytes) => Value::String(match std::str::from_utf8(bytes.data()) {
            Ok(text) => text.to_owned(),
            Err(_) => return Err(unsupported()),
        }),
        Field::Date(day) => Value::Timestamp(Box::new(Timestamp::from_day(day).ok_or_else(unsupported)?)),
        Field::TimeMillis(millis) => Value::Int(millis.into()),
        Field::TimeMicros(micros) => Value::Int(micros),
        Field::TimestampMillis(millis) => time(i128::from(millis) * 1_000_000, 3)?,
        Field::TimestampMicros(micros) => time(i128::from(micros) * 1000, 6)?,
        Field::Group(row) => {
            let mut members = Vec::new();
            for (name, field) in row.into_columns() {
                members.push((name, value(field, size)?));
            }
            Value::Struct(members)
        }
        Field::ListInternal(list) => {
            let items = list.elements().iter().map(|item| value(item.clone(), size));
            Value::List(items.collect::<Result<_>>()?)
        }
        Field::MapInternal(map) => {
            let mut members = Vec::new();
            for (key, field) in map.entries() {
                let key = value(key.clone(), size)?.text().unwrap_or_default();
                members.push((key, value(field.clone(), size)?));
            }
            Value::Struct(members)
        }
    })
}
