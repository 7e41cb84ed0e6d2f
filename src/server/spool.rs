//! Bodies of unknown length, kept until it is known.
//!
//! `s3s` takes no signed body without a length, yet S3 clients send them (`Transfer-Encoding: chunked`). Small ones are kept
//! in memory, others in a file that has no name, so that nothing is left of it whatever happens.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use http_body_util::StreamBody;
use tokio::sync::Semaphore;

use super::Refusal;
use super::body::{BodyFault, BodyWatch, BrokenBody, next_data};
use crate::clock::random_bytes;

/// Bytes of a body kept in memory.
pub(super) const IN_MEMORY: usize = 1 << 20;

/// Bytes read back from the file at once.
const READ: usize = 256 << 10;

/// Bodies that may be kept at the same time.
const AT_ONCE: usize = 32;

/// Where bodies are kept.
#[derive(Debug, Clone)]
pub(super) struct Spool {
    directory: Arc<PathBuf>,
    places: Arc<Semaphore>,
}

impl Spool {
    /// Keeps files in `directory`, which must exist.
    pub(super) fn new(directory: PathBuf) -> Self {
        Self { directory: Arc::new(directory), places: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// Reads a body to its end; answers it with its length. More than `limit` bytes are refused.
    pub(super) async fn keep<B>(&self, mut body: B, limit: u64, watch: &BodyWatch) -> Result<(s3s::Body, u64), Refusal>
    where
        B: Body<Data = Bytes, Error = BrokenBody> + Unpin,
    {
        let place = Arc::clone(&self.places).try_acquire_owned();
        let place = place.map_err(|_| Refusal::slow_down(1))?;
        let mut gathered = BytesMut::new();
        let mut file = None;
        let mut len = 0_u64;
        while let Some(data) = next_data(&mut body).await {
            let data = data.map_err(|broken| broken.0.refusal())?;
            len += data.len() as u64;
            if len > limit {
                return Err(watch.broken(BodyFault::TooLarge).0.refusal());
            }
            gathered.extend_from_slice(&data);
            if gathered.len() > IN_MEMORY {
                file = Some(self.append(file, gathered.split().freeze()).await.map_err(|error| failed(&error, watch))?);
            }
        }
        let Some(file) = file else {
            return Ok((s3s::Body::from(gathered.freeze()), len));
        };
        let file = self.append(Some(file), gathered.freeze()).await.map_err(|error| failed(&error, watch))?;
        let kept = Kept { file: Arc::new(file), position: 0, len, watch: watch.clone(), _place: place };
        let body = Sized { inner: StreamBody::new(Box::pin(futures_util::stream::try_unfold(kept, Kept::next))), len };
        Ok((s3s::Body::http_body_unsync(body), len))
    }

    async fn append(&self, file: Option<File>, bytes: Bytes) -> io::Result<File> {
        let directory = Arc::clone(&self.directory);
        blocking(move || {
            let mut file = match file {
                Some(file) => file,
                None => nameless(&directory)?,
            };
            file.write_all(&bytes)?;
            Ok(file)
        })
        .await
    }
}

fn failed(error: &io::Error, watch: &BodyWatch) -> Refusal {
    tracing::error!(%error, "a body of unknown length could not be kept");
    watch.broken(BodyFault::Storage).0.refusal()
}

/// A file without a name: it is gone with the last descriptor, the process's death included.
fn nameless(directory: &Path) -> io::Result<File> {
    let path = directory.join(format!("body-{}", hex::encode(random_bytes::<16>())));
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
    fs::remove_file(&path)?;
    Ok(file)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

/// A kept body that is being read back.
struct Kept {
    file: Arc<File>,
    position: u64,
    len: u64,
    watch: BodyWatch,
    _place: tokio::sync::OwnedSemaphorePermit,
}

impl Kept {
    async fn next(mut self) -> Result<Option<(Frame<Bytes>, Self)>, BrokenBody> {
        let left = self.len - self.position;
        if left == 0 {
            return Ok(None);
        }
        let (file, position) = (Arc::clone(&self.file), self.position);
        let size = usize::try_from(left).map_or(READ, |left| left.min(READ));
        let read = blocking(move || {
            let mut buffer = vec![0; size];
            file.read_exact_at(&mut buffer, position)?;
            Ok(Bytes::from(buffer))
        });
        match read.await {
            Ok(bytes) => {
                self.position += bytes.len() as u64;
                Ok(Some((Frame::data(bytes), self)))
            }
            Err(error) => {
                tracing::error!(%error, "a kept body could not be read back");
                Err(self.watch.broken(BodyFault::Storage))
            }
        }
    }
}

/// A stream whose length is known.
struct Sized<B> {
    inner: B,
    len: u64,
}

impl<B: Body<Data = Bytes> + Unpin> Body for Sized<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.get_mut();
        let frame = std::task::ready!(std::pin::Pin::new(&mut this.inner).poll_frame(cx));
        if let Some(Ok(data)) = frame.as_ref().map(|frame| frame.as_ref().map(|f| f.data_ref().map_or(0, Bytes::len))) {
            this.len = this.len.saturating_sub(data as u64);
        }
        std::task::Poll::Ready(frame)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.len)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use http_body_util::BodyExt as _;

    async fn keep(pieces: usize, limit: u64) -> Result<(usize, u64), Refusal> {
        let directory = tempfile::tempdir().unwrap();
        let spool = Spool::new(directory.path().to_owned());
        let frames = (0..pieces).map(|i| Ok(Frame::data(Bytes::from(vec![i as u8; 100_000]))));
        let watch = BodyWatch::default();
        let (body, len) = spool.keep(StreamBody::new(futures_util::stream::iter(frames)), limit, &watch).await?;
        assert_eq!(body.size_hint().exact(), Some(len));
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0, "no name is left");
        let bytes = body.collect().await.unwrap().to_bytes();
        for (i, piece) in bytes.chunks(100_000).enumerate() {
            assert!(piece.iter().all(|&b| b == i as u8));
        }
        assert_eq!(spool.places.available_permits(), AT_ONCE);
        Ok((bytes.len(), len))
    }

    #[tokio::test]
    async fn small_and_large_bodies_come_back_whole() {
        for pieces in [0, 1, 10, 11, 57] {
            assert_eq!(keep(pieces, u64::MAX).await, Ok((pieces * 100_000, pieces as u64 * 100_000)));
        }
    }

    #[tokio::test]
    async fn too_large_a_body_is_refused() {
        assert_eq!(keep(12, 1_200_000).await, Ok((1_200_000, 1_200_000)));
        assert_eq!(keep(12, 1_199_999).await.unwrap_err().code, "EntityTooLarge");
    }

    #[tokio::test]
    async fn only_so_many_are_kept_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let spool = Spool::new(directory.path().to_owned());
        let all = spool.places.acquire_many(AT_ONCE as u32).await.unwrap();
        let body = || StreamBody::new(futures_util::stream::empty::<Result<Frame<Bytes>, BrokenBody>>());
        let watch = BodyWatch::default();
        assert_eq!(spool.keep(body(), 10, &watch).await.unwrap_err().code, "SlowDown");
        drop(all);
        assert!(spool.keep(body(), 10, &watch).await.is_ok());
    }
}
