//! SelectObjectContent: the events in which a query over an object is answered.
//!
//! What is wrong before the first event is an ordinary error, later it is an event. Each step of a query takes a place for as long as it
//! works, so that queries take turns on the processors and leave some of them to everybody else.
//!
//! Source: SelectObjectContent and "Appendix: SelectObjectContent Response" in the Amazon S3 API reference.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use bytes::{Buf as _, Bytes};
use futures_util::{StreamExt as _, stream};
use s3s::dto::*;
use s3s::{S3Error, S3Request, S3Response, S3Result};
use sync_wrapper::SyncStream;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use super::Api;
use super::error::{from_objects, from_select, s3_error};
use super::values::{check_key, document_limit, signed};
use crate::chunks::ReadStream;
use crate::metadata::ReadRange;
use crate::objects::{ETagList, GetRequest, ReadConditions, Store};
use crate::select::{
    self, Counters, CsvInput, CsvOutput, Input, Output, Prepared, SelectError, Source, Step, StorageFault,
};

/// Bytes of the document at most: an expression may have 256 KiB, and each of its characters be written as a reference.
const DOCUMENT: u64 = 2 << 20;
/// How long an answer says nothing at most.
const SILENCE: Duration = Duration::from_secs(1);
/// How often progress is told, to those who asked.
const PROGRESS: Duration = Duration::from_secs(1);

/// Steps of queries that work at the same time.
static PLACES: LazyLock<Semaphore> =
    LazyLock::new(|| Semaphore::new(std::thread::available_parallelism().map_or(1, |cores| cores.get().div_ceil(2))));

fn missing(name: &str) -> S3Error {
    let message =
        format!("The SelectRequest entity is missing a required parameter: {name}. Check the service documentation.");
    s3_error("MissingRequiredParameter", http::StatusCode::BAD_REQUEST, message)
}

fn conflict() -> S3Error {
    s3_error(
        "ObjectSerializationConflict",
        http::StatusCode::BAD_REQUEST,
        "InputSerialization specifies more than one format (CSV, JSON, or Parquet), or OutputSerialization specifies more \
         than one format (CSV or JSON). You can specify only one format for each.",
    )
}

fn input(asked: InputSerialization) -> S3Result<(Input, select::Compression)> {
    let compression = asked.compression_type.as_ref().map(CompressionType::as_str);
    let compression = select::compression(compression).map_err(from_select)?;
    let input = match (asked.csv, asked.json, asked.parquet) {
        (Some(csv), None, None) => {
            let default = CsvInput::default();
            // An empty delimiter is none that was given; without a quote or a comment character there is none.
            let given = |text: Option<String>, default: String| text.filter(|text| !text.is_empty()).unwrap_or(default);
            let header = csv.file_header_info.as_ref().map(FileHeaderInfo::as_str);
            let quote = csv.quote_character.unwrap_or(default.quote);
            Input::Csv(CsvInput {
                header: select::file_header(header).map_err(from_select)?,
                comment: csv.comments.unwrap_or(default.comment),
                field_delimiter: given(csv.field_delimiter, default.field_delimiter),
                record_delimiter: given(csv.record_delimiter, default.record_delimiter),
                escape: given(csv.quote_escape_character, quote.clone()),
                quote,
                quoted_delimiters: csv.allow_quoted_record_delimiter == Some(true),
            })
        }
        (None, Some(json), None) => {
            let lines = select::json_lines(json.type_.as_ref().map(JSONType::as_str)).map_err(from_select)?;
            Input::Json { lines }
        }
        (None, None, Some(_)) => Input::Parquet,
        (None, None, None) => return Err(missing("InputSerialization")),
        _ => return Err(conflict()),
    };
    Ok((input, compression))
}

fn output(asked: OutputSerialization) -> S3Result<Output> {
    let given = |text: Option<String>, default: String| text.filter(|text| !text.is_empty()).unwrap_or(default);
    match (asked.csv, asked.json) {
        (Some(csv), None) => {
            let default = CsvOutput::default();
            let quote_fields = csv.quote_fields.as_ref().map(QuoteFields::as_str);
            let quote = csv.quote_character.unwrap_or(default.quote);
            Ok(Output::Csv(CsvOutput {
                field_delimiter: given(csv.field_delimiter, default.field_delimiter),
                record_delimiter: given(csv.record_delimiter, default.record_delimiter),
                escape: given(csv.quote_escape_character, quote.clone()),
                quote,
                quote_always: select::quote_fields(quote_fields).map_err(from_select)?,
            }))
        }
        (None, Some(json)) => Ok(Output::Json { record_delimiter: given(json.record_delimiter, "\n".into()) }),
        (None, None) => Err(missing("OutputSerialization")),
        (Some(_), Some(_)) => Err(conflict()),
    }
}

fn scan_range(asked: ScanRange) -> S3Result<select::ScanRange> {
    let place = |at: Option<i64>| at.map(u64::try_from).transpose();
    match (place(asked.start), place(asked.end)) {
        (Ok(start), Ok(end)) => Ok(select::ScanRange { start, end }),
        _ => Err(s3_error("InvalidScanRange", http::StatusCode::BAD_REQUEST, "The provided scan range is not valid.")),
    }
}

pub(super) async fn select_object_content(
    api: &Api,
    request: S3Request<SelectObjectContentInput>,
) -> S3Result<S3Response<SelectObjectContentOutput>> {
    document_limit(&request.headers, DOCUMENT)?;
    let SelectObjectContentInput { bucket, key, request: asked, .. } = request.input;
    check_key(&key)?;
    if !asked.expression_type.as_str().eq_ignore_ascii_case("SQL") {
        return Err(s3_error(
            "InvalidExpressionType",
            http::StatusCode::BAD_REQUEST,
            "The ExpressionType is not valid. Only SQL expressions are supported.",
        ));
    }
    let (input, compression) = input(asked.input_serialization)?;
    let prepared = Prepared::new(select::Request {
        expression: asked.expression,
        input,
        compression,
        output: output(asked.output_serialization)?,
        range: asked.scan_range.map(scan_range).transpose()?,
        now: api.store.clock().now(),
    })
    .map_err(from_select)?;
    let get = GetRequest {
        bucket,
        key,
        version: None,
        range: ReadRange::Nothing,
        conditions: ReadConditions::default(),
        with_body: false,
    };
    let got = api.store.get(&get).await.map_err(from_objects)?;
    let source = ObjectSource {
        store: api.store.clone(),
        // What is read later must be what is here now.
        get: GetRequest {
            version: got.version,
            conditions: ReadConditions {
                matches: Some(ETagList::Of(vec![got.object.etag])),
                ..ReadConditions::default()
            },
            with_body: true,
            ..get
        },
        size: got.object.size,
        runtime: Handle::current(),
    };
    let select = prepared.over(Arc::new(source));
    let progress = asked.request_progress.is_some_and(|progress| progress.enabled == Some(true));
    let mut answer = Answer {
        counters: select.counters(),
        select: Some(select),
        told: Instant::now(),
        progress: progress.then(Instant::now),
        events: VecDeque::new(),
    };
    answer.advance().await?;
    let events = stream::unfold(answer, |mut answer| async move {
        let event = answer.next().await?;
        Some((event, answer))
    });
    let payload = SelectObjectContentEventStream::new(SyncStream::new(events.boxed()));
    Ok(S3Response::new(SelectObjectContentOutput { payload: Some(payload) }))
}

/// The events of an answer. Whoever drops it ends the query.
struct Answer {
    /// `None`: there is nothing more to come.
    select: Option<select::Select>,
    counters: Arc<Counters>,
    /// When there was an event last.
    told: Instant,
    /// When progress was told last, if it is wanted.
    progress: Option<Instant>,
    events: VecDeque<SelectObjectContentEvent>,
}

impl Answer {
    async fn next(&mut self) -> Option<S3Result<SelectObjectContentEvent>> {
        while self.events.is_empty() {
            self.select.as_ref()?;
            if let Err(error) = self.advance().await {
                return Some(Err(error));
            }
        }
        self.events.pop_front().map(Ok)
    }

    /// Works until there are events.
    async fn advance(&mut self) -> S3Result<()> {
        while self.events.is_empty()
            && let Some(mut select) = self.select.take()
        {
            // Never closed.
            let place = PLACES.acquire().await.ok();
            let work = tokio::task::spawn_blocking(move || {
                let step = select.step();
                (select, step)
            });
            let (select, step) = work.await.map_err(|error| {
                from_select(SelectError::Storage(io::Error::other(format!("the query's thread ended: {error}"))))
            })?;
            drop(place);
            let step = step.map_err(from_select)?;
            if step != Step::End {
                self.select = Some(select);
            }
            self.tell(step);
        }
        Ok(())
    }

    /// Makes the events of a step.
    fn tell(&mut self, step: Step) {
        let ended = step == Step::End;
        let read = |counter: &AtomicU64| Some(signed(counter.load(Ordering::Relaxed)));
        let (bytes_scanned, bytes_processed, bytes_returned) =
            (read(&self.counters.scanned), read(&self.counters.processed), read(&self.counters.returned));
        match step {
            Step::Records(records) => {
                self.events.push_back(SelectObjectContentEvent::Records(RecordsEvent { payload: Some(records) }));
            }
            Step::Idle if self.told.elapsed() >= SILENCE => {
                self.events.push_back(SelectObjectContentEvent::Cont(ContinuationEvent {}));
            }
            Step::Idle | Step::End => {}
        }
        if self.progress.is_some_and(|told| ended || told.elapsed() >= PROGRESS) {
            self.progress = Some(Instant::now());
            let details = Progress { bytes_processed, bytes_returned, bytes_scanned };
            self.events.push_back(SelectObjectContentEvent::Progress(ProgressEvent { details: Some(details) }));
        }
        if ended {
            let details = Stats { bytes_processed, bytes_returned, bytes_scanned };
            self.events.push_back(SelectObjectContentEvent::Stats(StatsEvent { details: Some(details) }));
            self.events.push_back(SelectObjectContentEvent::End(EndEvent {}));
        }
        if !self.events.is_empty() {
            self.told = Instant::now();
        }
    }
}

/// The object, read on a thread that may block.
struct ObjectSource {
    store: Store,
    get: GetRequest,
    size: u64,
    runtime: Handle,
}

fn fault(error: impl std::fmt::Display) -> io::Error {
    io::Error::other(StorageFault(error.to_string()))
}

impl Source for ObjectSource {
    fn size(&self) -> u64 {
        self.size
    }

    fn open(&self, range: std::ops::Range<u64>) -> io::Result<Box<dyn Read + Send>> {
        let range = range.start..range.end.min(self.size);
        if range.is_empty() {
            return Ok(Box::new(io::empty()));
        }
        let get = GetRequest { range: ReadRange::From(range.start, Some(range.end - 1)), ..self.get.clone() };
        let got = self.runtime.block_on(self.store.get(&get)).map_err(fault)?;
        Ok(Box::new(Blocking { body: got.body, piece: Bytes::new(), runtime: self.runtime.clone() }))
    }
}

struct Blocking {
    body: ReadStream,
    piece: Bytes,
    runtime: Handle,
}

impl Read for Blocking {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.runtime.block_on(self.body.next()) {
                Some(piece) => self.piece = piece.map_err(fault)?,
                None => return Ok(0),
            }
        }
        let count = buffer.len().min(self.piece.len());
        let (to, from) = (buffer.get_mut(..count).unwrap_or_default(), self.piece.get(..count).unwrap_or_default());
        to.copy_from_slice(from);
        self.piece.advance(count);
        Ok(count)
    }
}
