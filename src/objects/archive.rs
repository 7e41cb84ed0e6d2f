//! Archives on their way in: a tar, plain or compressed by gzip, read file by file as it streams.
//!
//! Held in memory are a piece of the body, what a little of it is decompressed to, and of a file's headers [`MAX_HEADERS`] at most.

use std::io::{self, Write as _};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes, BytesMut};
use flate2::write::MultiGzDecoder;
use futures_util::{Stream, StreamExt as _, stream};
use tokio::io::{AsyncRead, AsyncReadExt as _, ReadBuf};
use tokio_tar::{Entries, Entry, EntryType};
use tokio_util::io::StreamReader;

use super::digest::{Hashes, Sums};
use super::{Error, Result};
use crate::chunks::{Body, BodyError, ChunkError, Digest as _};

/// Bytes of headers before a file: its own, and those for long names and other attributes.
const MAX_HEADERS: u64 = 64 << 10;
/// Bytes of a compressed archive that are decompressed at a time; gzip makes a thousand times as many of them at most.
const COMPRESSED_PIECE: usize = 4 << 10;
/// Bytes of a file that are read at a time.
const PIECE: usize = 256 << 10;
/// Characters of what is said of an archive that cannot be read.
const MAX_REASON: usize = 200;
/// Bytes that tell how an archive is compressed.
const MAGIC: usize = 4;

/// An archive that is being read.
pub struct Archive {
    entries: Entries<Bounded>,
    shared: Arc<Shared>,
    /// For what follows the last file.
    rest: tokio_tar::Archive<Bounded>,
}

/// A file or directory of an archive.
pub struct Archived {
    entry: Entry<tokio_tar::Archive<Bounded>>,
    shared: Arc<Shared>,
    /// Its path as it is written.
    pub path: String,
    /// Whether it is a directory, which has no bytes.
    pub is_directory: bool,
    /// How many bytes it has.
    pub size: u64,
    /// What its extended header says besides, by the names that it has there.
    pub attributes: Vec<(String, String)>,
}

/// What a reader, and whoever waits for its end, both see.
#[derive(Default)]
struct Shared {
    /// How far the tar may be read.
    limit: AtomicU64,
    /// Why it cannot be read on. Errors of readers pass through hands that keep no more than their text.
    failure: Mutex<Option<Error>>,
    /// Of the whole body, once it has ended.
    sums: Mutex<Option<Sums>>,
}

impl Shared {
    /// Notes the first error, and answers what stands for it.
    fn fail(&self, error: Error) -> io::Error {
        let text = error.to_string();
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        io::Error::other(text)
    }

    fn failed(&self) -> Option<Error> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// The error that is the reason of one that a reader had.
    fn reason(&self, error: &io::Error) -> Error {
        self.failed().unwrap_or_else(|| {
            // It may quote what is no text.
            let text: String = error.to_string().chars().filter(|c| !c.is_control()).take(MAX_REASON).collect();
            Error::InvalidRequest(format!("The archive cannot be read: {text}"))
        })
    }
}

impl Archive {
    /// Begins to read an archive. `hashes` are of the body as it comes.
    ///
    /// # Errors
    /// [`Error::InvalidRequest`]: there is nothing to be read.
    pub fn open(body: Body, hashes: Hashes) -> Result<Self> {
        let shared = Arc::new(Shared { limit: MAX_HEADERS.into(), ..Shared::default() });
        let reader = StreamReader::new(unpacked(body, hashes, Arc::clone(&shared)));
        let bounded = Bounded { reader, read: 0, shared: Arc::clone(&shared) };
        let mut rest = tokio_tar::Archive::new(bounded);
        let entries = rest.entries().map_err(|error| shared.reason(&error))?;
        Ok(Self { entries, shared, rest })
    }

    /// The next file or directory; `None` at the end. The one before is passed over, as far as it was not read. Links and devices are, too.
    ///
    /// # Errors
    /// The archive is none; [`Error::NotBuilt`]: it is compressed otherwise, or a file in it is sparse; the body's.
    pub async fn next(&mut self) -> Result<Option<Archived>> {
        loop {
            let Some(entry) = self.entries.next().await else { return Ok(None) };
            let mut entry = entry.map_err(|error| self.shared.reason(&error))?;
            let size = entry.effective_size();
            // Its bytes, what fills their last block, and the headers behind.
            let end = entry.raw_file_position().saturating_add(size.div_ceil(512).saturating_mul(512));
            self.shared.limit.store(end.saturating_add(MAX_HEADERS), Ordering::Relaxed);
            let kind = entry.header().entry_type();
            match kind {
                EntryType::Regular | EntryType::Continuous | EntryType::Directory => {}
                EntryType::GNUSparse => return Err(Error::NotBuilt("Sparse files in archives")),
                _ => continue,
            }
            let path = entry.path_bytes().map_err(|error| self.shared.reason(&error))?.into_owned();
            let path = String::from_utf8(path)
                .map_err(|_| Error::InvalidRequest("A path in the archive is not UTF-8".to_owned()))?;
            let is_directory = kind == EntryType::Directory || path.ends_with('/');
            let attributes = attributes(&mut entry).await.map_err(|error| self.shared.reason(&error))?;
            let (shared, size) = (Arc::clone(&self.shared), if is_directory { 0 } else { size });
            return Ok(Some(Archived { entry, shared, path, is_directory, size, attributes }));
        }
    }

    /// Reads what follows the last file; answers the digests of the whole body.
    ///
    /// # Errors
    /// The body's.
    pub async fn finish(self) -> Result<Sums> {
        let Self { entries, shared, rest } = self;
        drop(entries);
        shared.limit.store(u64::MAX, Ordering::Relaxed);
        let Ok(mut bounded) = rest.into_inner() else { return Err(Error::Worker) };
        let read = tokio::io::copy(&mut bounded, &mut tokio::io::sink()).await;
        read.map_err(|error| shared.reason(&error))?;
        let sums = shared.sums.lock().unwrap_or_else(PoisonError::into_inner).take();
        sums.ok_or(Error::Worker)
    }

    /// Why the archive cannot be read on, if it cannot: whatever was made of a file that broke off with it, this is the reason.
    pub fn failed(&self) -> Option<Error> {
        self.shared.failed()
    }
}

impl Archived {
    /// The whole file, where it is small.
    ///
    /// # Errors
    /// The archive ends before it.
    pub async fn read(mut self) -> Result<Bytes> {
        let mut bytes = Vec::new();
        if !self.is_directory {
            self.entry.read_to_end(&mut bytes).await.map_err(|error| self.shared.reason(&error))?;
        }
        Ok(bytes.into())
    }

    /// The same as a body. Nothing else of the archive can be read before its end.
    pub fn into_body(self) -> Body {
        let Self { entry, shared, .. } = self;
        Box::pin(stream::try_unfold(entry, move |mut entry| {
            let shared = Arc::clone(&shared);
            async move {
                let mut piece = BytesMut::with_capacity(PIECE);
                match entry.read_buf(&mut piece).await {
                    Ok(0) => Ok(None),
                    Ok(_) => Ok(Some((piece.freeze(), entry))),
                    Err(error) => {
                        let reason = shared.reason(&error);
                        Err(BodyError(Box::new(shared.fail(reason))))
                    }
                }
            }
        }))
    }
}

async fn attributes(entry: &mut Entry<tokio_tar::Archive<Bounded>>) -> io::Result<Vec<(String, String)>> {
    let Some(extensions) = entry.pax_extensions().await? else { return Ok(Vec::new()) };
    let text = |error: std::str::Utf8Error| io::Error::other(error);
    extensions
        .map(|extension| {
            let extension = extension?;
            Ok((extension.key().map_err(text)?.to_owned(), extension.value().map_err(text)?.to_owned()))
        })
        .collect()
}

type Unpacked = Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>;

/// A tar that ends in an error where it is longer than it may be.
struct Bounded {
    reader: StreamReader<Unpacked, Bytes>,
    read: u64,
    shared: Arc<Shared>,
}

impl AsyncRead for Bounded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let left = self.shared.limit.load(Ordering::Relaxed).saturating_sub(self.read);
        let wanted = buffer.remaining().min(usize::try_from(left).unwrap_or(usize::MAX));
        if wanted == 0 && buffer.remaining() > 0 {
            let message = format!("A file in the archive has headers of more than {MAX_HEADERS} bytes");
            return Poll::Ready(Err(self.shared.fail(Error::InvalidRequest(message))));
        }
        let mut part = ReadBuf::new(buffer.initialize_unfilled_to(wanted));
        ready!(Pin::new(&mut self.reader).poll_read(context, &mut part))?;
        let read = part.filled().len();
        buffer.advance(read);
        self.read += read as u64;
        Poll::Ready(Ok(()))
    }
}

/// How an archive is compressed.
enum Packing {
    /// Nobody knows yet; its first bytes.
    Unknown(BytesMut),
    Plain,
    Gzip(Box<MultiGzDecoder<Vec<u8>>>),
}

/// A body that is digested and decompressed.
struct Unpacking {
    /// `None` once it has ended.
    body: Option<Body>,
    /// What has come of it, and is to be decompressed.
    rest: Bytes,
    work: Option<(Hashes, Packing)>,
    shared: Arc<Shared>,
}

fn unpacked(body: Body, hashes: Hashes, shared: Arc<Shared>) -> Unpacked {
    let work = Some((hashes, Packing::Unknown(BytesMut::new())));
    let unpacking = Unpacking { body: Some(body), rest: Bytes::new(), work, shared };
    Box::pin(stream::try_unfold(unpacking, |mut unpacking| async move {
        match unpacking.next().await {
            Ok(piece) => Ok(piece.map(|piece| (piece, unpacking))),
            Err(error) => Err(unpacking.shared.fail(error)),
        }
    }))
}

impl Unpacking {
    /// The next bytes of the tar; `None` at its end.
    async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            // Decompressing and digesting take too long for where others wait.
            let Some((mut hashes, mut packing)) = self.work.take() else { return Ok(None) };
            let mut piece = self.rest.split_to(self.rest.len().min(COMPRESSED_PIECE));
            let mut fresh = Bytes::new();
            if piece.is_empty() {
                match &mut self.body {
                    Some(body) => match body.next().await {
                        Some(came) => fresh = came.map_err(ChunkError::Body)?,
                        None => self.body = None,
                    },
                    None => {
                        *self.shared.sums.lock().unwrap_or_else(PoisonError::into_inner) = Some(hashes.finish());
                        return Ok(None);
                    }
                }
                piece = fresh.clone();
                if matches!(packing, Packing::Gzip(_)) {
                    self.rest = piece.split_off(piece.len().min(COMPRESSED_PIECE));
                }
            }
            let is_end = self.body.is_none() && self.rest.is_empty();
            let worked = tokio::task::spawn_blocking(move || {
                hashes.update(&fresh);
                let unpacked = unpack(&mut packing, piece, is_end);
                (unpacked, hashes, packing)
            });
            let (unpacked, hashes, packing) = worked.await.map_err(|_| Error::Worker)?;
            self.work = Some((hashes, packing));
            let (unpacked, left) = unpacked?;
            if !left.is_empty() {
                self.rest = left;
            }
            if !unpacked.is_empty() {
                return Ok(Some(unpacked));
            }
        }
    }
}

/// What a piece comes to, and what is left of it for later.
fn unpack(packing: &mut Packing, piece: Bytes, is_end: bool) -> Result<(Bytes, Bytes)> {
    let bad = |error: io::Error| Error::InvalidRequest(format!("The archive cannot be decompressed: {error}"));
    match packing {
        Packing::Unknown(first) => {
            first.extend_from_slice(&piece);
            if first.len() < MAGIC && !is_end {
                return Ok(Default::default());
            }
            let first = first.split().freeze();
            match first.chunk() {
                [0x1f, 0x8b, 0x08, ..] => {
                    *packing = Packing::Gzip(Box::new(MultiGzDecoder::new(Vec::new())));
                    Ok((Bytes::new(), first))
                }
                [0x28, 0xb5, 0x2f, 0xfd, ..] => Err(Error::NotBuilt("Archives compressed by Zstandard")),
                [0x04, 0x22, 0x4d, 0x18, ..] => Err(Error::NotBuilt("Archives compressed by LZ4")),
                [0xff, 0x06, 0x00, 0x00, ..] => Err(Error::NotBuilt("Archives compressed by Snappy or S2")),
                [b'B', b'Z', b'h', ..] => Err(Error::NotBuilt("Archives compressed by bzip2")),
                _ => {
                    *packing = Packing::Plain;
                    Ok((first, Bytes::new()))
                }
            }
        }
        Packing::Plain => Ok((piece, Bytes::new())),
        Packing::Gzip(decoder) => {
            decoder.write_all(&piece).map_err(bad)?;
            if is_end {
                decoder.try_finish().map_err(bad)?;
            }
            Ok((std::mem::take(decoder.get_mut()).into(), Bytes::new()))
        }
    }
}
