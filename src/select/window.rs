//! The object's bytes on their way in: decompressed, counted, and a window of them in memory.

use std::io::{self, Read};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::error::Result;
use super::options::Compression;

/// Bytes read at once.
const PIECE: usize = 64 << 10;

/// An object that can be read from any place; every read gives the same bytes.
pub trait Source: Send + Sync {
    /// Bytes in the object.
    fn size(&self) -> u64;

    /// Reads the bytes `range`. What fails in the store is marked as a [`super::StorageFault`].
    ///
    /// # Errors
    /// The object is not there any more, or cannot be read.
    fn open(&self, range: Range<u64>) -> io::Result<Box<dyn Read + Send>>;
}

/// How far a query is; may be read while it works.
#[derive(Debug, Default)]
pub struct Counters {
    /// Bytes of the object that were read.
    pub scanned: AtomicU64,
    /// The same, decompressed.
    pub processed: AtomicU64,
    /// Bytes of the answer.
    pub returned: AtomicU64,
}

struct Counted {
    inner: Box<dyn Read + Send>,
    counters: Arc<Counters>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.counters.scanned.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

/// Bytes of an object that were read and not consumed.
pub(super) struct Window {
    input: Box<dyn Read + Send>,
    counters: Arc<Counters>,
    bytes: Vec<u8>,
    /// Where in `bytes` the unread ones begin.
    start: usize,
    /// Where in the object that is.
    offset: u64,
    ended: bool,
}

impl Window {
    pub(super) fn open(
        source: &dyn Source,
        compression: Compression,
        from: u64,
        counters: &Arc<Counters>,
    ) -> Result<Self> {
        let raw = Counted { inner: source.open(from..source.size())?, counters: counters.clone() };
        let input: Box<dyn Read + Send> = match compression {
            Compression::None => Box::new(raw),
            Compression::Gzip => {
                Box::new(flate2::bufread::MultiGzDecoder::new(io::BufReader::with_capacity(PIECE, raw)))
            }
            Compression::Bzip2 => {
                Box::new(bzip2::bufread::MultiBzDecoder::new(io::BufReader::with_capacity(PIECE, raw)))
            }
        };
        Ok(Self { input, counters: counters.clone(), bytes: Vec::new(), start: 0, offset: from, ended: false })
    }

    /// What is here and was not consumed.
    pub(super) fn unread(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }

    /// Where in the object the unread bytes begin.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    pub(super) fn consume(&mut self, count: usize) {
        let count = count.min(self.bytes.len() - self.start);
        self.start += count;
        self.offset += count as u64;
    }

    /// Brings more behind what is here; `false` at the end.
    pub(super) fn fill(&mut self) -> Result<bool> {
        if self.ended {
            return Ok(false);
        }
        self.bytes.drain(..self.start);
        self.start = 0;
        let before = self.bytes.len();
        self.bytes.resize(before + PIECE, 0);
        let read = loop {
            match self.input.read(self.bytes.get_mut(before..).unwrap_or_default()) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        let count = *read.as_ref().unwrap_or(&0);
        self.bytes.truncate(before + count);
        self.counters.processed.fetch_add(count as u64, Ordering::Relaxed);
        read?;
        self.ended = count == 0;
        Ok(count > 0)
    }

    /// The next byte, if there is one.
    pub(super) fn peek(&mut self) -> Result<Option<u8>> {
        loop {
            if let Some(byte) = self.bytes.get(self.start) {
                return Ok(Some(*byte));
            }
            if !self.fill()? {
                return Ok(None);
            }
        }
    }
}
