//! S3 Select: an SQL expression over the records of one CSV, JSON or Parquet object.
//!
//! A [`Select`] is a machine that is driven in steps, each on a thread that may block: it reads as much of the object as it takes to fill a
//! message, or as a moment allows. Between two steps it holds no thread, so that a client that reads slowly costs none, and one that leaves
//! stops it.
//!
//! What one needs of memory: 1 MiB of a record and 64 KiB read ahead, the values of that record (32 MiB if it is nothing but commas), and
//! 128 KiB and a record of the answer; a bzip2 file 4 MiB more. Of JSON documents only the values that the path behind `S3Object` leads to
//! are in memory. Of Parquet files it is a page of each column.
//!
//! Source: SelectObjectContent in the Amazon S3 API reference; the SQL reference for S3 Select in the Amazon S3 user guide.

mod aggregate;
mod csv;
mod error;
mod eval;
mod json;
mod lexer;
mod like;
mod options;
mod output;
#[cfg(feature = "select-parquet")]
mod parquet;
mod parser;
mod row;
mod syntax;
#[cfg(test)]
mod tests;
mod timestamp;
mod value;
mod window;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;

pub use error::{Result, SelectError, StorageFault};
pub use options::{
    Compression, CsvInput, CsvOutput, FileHeader, Input, Output, ScanRange, compression, file_header, json_lines,
    quote_fields,
};
pub use timestamp::Timestamp;
pub use value::Value;
pub use window::{Counters, Source};

use aggregate::Accumulator;
use error::fail;
use eval::{Scope, evaluate, passes};
use output::Writer;
use row::Row;
use syntax::{Projection, Query};

/// Bytes of a record at most, of the object or of the answer.
pub const MAX_RECORD: usize = 1 << 20;
/// Bytes of the answer that are sent at once.
const MESSAGE: usize = 128 << 10;
/// How long a step works if the answer does not fill: others wait as long for their turn.
const SLICE: Duration = Duration::from_millis(250);
/// Rows between two looks at the clock.
const ROWS_A_LOOK: u32 = 64;

/// What is asked of which object.
#[derive(Debug, Clone)]
pub struct Request {
    /// The SQL expression.
    pub expression: String,
    /// The object's form.
    pub input: Input,
    /// How it is compressed.
    pub compression: Compression,
    /// The answer's form.
    pub output: Output,
    /// Which records count.
    pub range: Option<ScanRange>,
    /// The time that `UTCNOW()` is, in milliseconds since 1970.
    pub now: i64,
}

/// What came of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A part of the answer: whole records.
    Records(Bytes),
    /// Nothing so far.
    Idle,
    /// That was all.
    End,
}

/// A query that was read and found to be one.
#[derive(Debug)]
pub struct Prepared {
    query: Query,
    request: Request,
    now: Timestamp,
}

impl Prepared {
    /// Reads the expression and looks at the options, before anything is read of the object.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn new(request: Request) -> Result<Self> {
        let query = parser::parse(&request.expression)?;
        match &request.input {
            Input::Csv(options) => options.check()?,
            Input::Json { .. } => {}
            Input::Parquet if !cfg!(feature = "select-parquet") => {
                return Err(SelectError::NotBuilt("This server was built without support for Parquet."));
            }
            Input::Parquet if request.compression != Compression::None => {
                return fail(
                    "InvalidCompressionFormat",
                    "Whole-object compression is not supported for Parquet objects.",
                );
            }
            Input::Parquet => {}
        }
        if let Output::Csv(options) = &request.output {
            options.check()?;
        }
        if !matches!(request.input, Input::Json { .. }) && !query.from.is_empty() {
            return fail(
                "InvalidKeyPath",
                "Key path in the SQL expression is not valid: only JSON has any behind S3Object.",
            );
        }
        if request.range.is_some() {
            let plain = match &request.input {
                Input::Csv(options) => !options.quoted_delimiters,
                Input::Json { lines } => *lines,
                Input::Parquet => true,
            };
            if !plain || request.compression != Compression::None {
                return fail(
                    "UnsupportedScanRangeInput",
                    "Scan range queries are not supported on this type of object.",
                );
            }
        }
        let now = Timestamp::from_millis(request.now).unwrap_or(Timestamp::EPOCH);
        Ok(Self { query, request, now })
    }

    /// The query over an object. It reads nothing before its first step.
    pub fn over(self, source: Arc<dyn Source>) -> Select {
        let counters = Arc::new(Counters::default());
        let Self { query, request, now } = self;
        let sums = query.aggregates.iter().map(|aggregate| Accumulator::new(aggregate.kind)).collect();
        Select {
            left: query.limit.unwrap_or(u64::MAX),
            query,
            counters,
            writer: Writer::new(request.output.clone()),
            rows: Rows::Unopened(source, request),
            row: Row::nothing(),
            scope: Scope { now, aggregates: Vec::new() },
            sums,
            ended: false,
        }
    }
}

enum Rows {
    Unopened(Arc<dyn Source>, Request),
    Csv(csv::Reader),
    Json(json::Reader),
    #[cfg(feature = "select-parquet")]
    Parquet(parquet::Reader),
}

/// A query at work.
pub struct Select {
    query: Query,
    rows: Rows,
    row: Row,
    scope: Scope,
    sums: Vec<Accumulator>,
    writer: Writer,
    counters: Arc<Counters>,
    /// Records that the limit still allows.
    left: u64,
    ended: bool,
}

impl std::fmt::Debug for Select {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Select").field("query", &self.query).field("ended", &self.ended).finish_non_exhaustive()
    }
}

impl Select {
    /// How far it is.
    pub fn counters(&self) -> Arc<Counters> {
        self.counters.clone()
    }

    /// Works on: until a message is full, its time is over, or all is done. Reads the object, so it may block.
    ///
    /// # Errors
    /// What is wrong with the object, or with the query now that it meets the object. There is nothing behind an error.
    pub fn step(&mut self) -> Result<Step> {
        let step = self.work();
        self.ended |= step.is_err();
        if let Ok(Step::Records(records)) = &step {
            self.counters.returned.fetch_add(records.len() as u64, Ordering::Relaxed);
        }
        step
    }

    fn work(&mut self) -> Result<Step> {
        let until = Instant::now() + SLICE;
        self.open()?;
        let mut looks = 0_u32;
        while !self.ended {
            if self.left == 0 || !self.next_row()? {
                self.finish()?;
                self.ended = true;
                break;
            }
            self.take_row()?;
            looks = looks.wrapping_add(1);
            // A record may take a while, so the clock is looked at often enough.
            if self.writer.len() >= MESSAGE || (looks.is_multiple_of(ROWS_A_LOOK) && Instant::now() >= until) {
                break;
            }
        }
        Ok(match (self.writer.len(), self.ended) {
            (0, true) => Step::End,
            (0, false) => Step::Idle,
            _ => Step::Records(self.writer.take().into()),
        })
    }

    fn open(&mut self) -> Result<()> {
        let Rows::Unopened(source, request) = &self.rows else { return Ok(()) };
        let (source, size) = (source.clone(), source.size());
        let range = request.range.map(|range| range.within(size)).transpose()?;
        let compression = request.compression;
        self.rows = match &request.input {
            Input::Csv(options) => {
                let (columns, counters) = (&self.query.columns, &self.counters);
                let (reader, row) =
                    csv::Reader::open(&*source, compression, options.clone(), range, columns, counters)?;
                self.row = row;
                Rows::Csv(reader)
            }
            Input::Json { .. } => {
                let steps = self.query.from.clone();
                Rows::Json(json::Reader::open(&*source, compression, steps, range, &self.counters)?)
            }
            #[cfg(feature = "select-parquet")]
            Input::Parquet => {
                let (reader, row) = parquet::Reader::open(source, &self.query, range, &self.counters)?;
                self.row = row;
                Rows::Parquet(reader)
            }
            #[cfg(not(feature = "select-parquet"))]
            Input::Parquet => return Err(SelectError::NotBuilt("This server was built without support for Parquet.")),
        };
        Ok(())
    }

    fn next_row(&mut self) -> Result<bool> {
        match &mut self.rows {
            Rows::Unopened(..) => Ok(false),
            Rows::Csv(reader) => reader.next(&mut self.row),
            Rows::Json(reader) => reader.next(&mut self.row),
            #[cfg(feature = "select-parquet")]
            Rows::Parquet(reader) => reader.next(&mut self.row),
        }
    }

    /// What the row that is here does to the answer.
    fn take_row(&mut self) -> Result<()> {
        let Self { query, row, scope, sums, writer, .. } = self;
        if let Some(filter) = &query.filter
            && !passes(filter, row, scope)?
        {
            return Ok(());
        }
        if !query.aggregates.is_empty() {
            for (sum, aggregate) in sums.iter_mut().zip(&query.aggregates) {
                match &aggregate.of {
                    None => sum.count_row(),
                    Some(of) => sum.add(&*evaluate(of, row, scope)?)?,
                }
            }
            return Ok(());
        }
        write(query, row, scope, writer)?;
        self.left -= 1;
        Ok(())
    }

    /// The one record of the aggregates.
    fn finish(&mut self) -> Result<()> {
        if self.query.aggregates.is_empty() || self.left == 0 {
            return Ok(());
        }
        self.scope.aggregates = self.sums.drain(..).map(Accumulator::finish).collect::<Result<_>>()?;
        write(&self.query, &Row::nothing(), &self.scope, &mut self.writer)
    }
}

/// Writes a record. Each field is written before the next is evaluated, so that many of a long one are not in memory at once.
fn write(query: &Query, row: &Row, scope: &Scope, writer: &mut Writer) -> Result<()> {
    writer.begin();
    match &query.projection {
        Projection::All => row.each(|name, value| writer.field(name, value))?,
        Projection::Columns(columns) => {
            for column in columns {
                writer.field(&column.name, &*evaluate(&column.expr, row, scope)?)?;
            }
        }
    }
    writer.end();
    Ok(())
}
