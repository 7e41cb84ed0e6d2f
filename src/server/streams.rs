//! Streams of an HTTP/2 connection, none of which a client may leave without taking its answer.
//!
//! On HTTP/1 who takes nothing stops the connection, which `connection.rs` sees. On HTTP/2 the client may take other answers, or answer pings,
//! and leave one alone with a window of nothing: hyper then waits without asking its body for more, and for ever. So each stream's task has
//! a watch of its own. Dropping the task resets the stream, and leaves the others.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::rt::Executor;

use super::connection::Running;

/// Bytes that a client must take of one answer within the time that it may take nothing: what a stream is given at once.
const PIECE: usize = 64 << 10;

tokio::task_local! {
    /// How far the answer of the stream is that this task is about.
    static TAKEN: Arc<Taken>;
}

#[derive(Debug, Default)]
struct Taken {
    /// Whether it is the client's turn.
    offered: AtomicBool,
    /// Pieces offered.
    pieces: AtomicU64,
}

/// Runs the tasks of streams, and ends those whose clients take nothing for this long at least, and twice as long at most.
#[derive(Debug, Clone, Copy)]
pub(super) struct Streams(pub(super) Duration);

impl<F> Executor<F> for Streams
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, stream: F) {
        let patience = self.0;
        tokio::spawn(async move {
            let taken = Arc::new(Taken::default());
            tokio::select! {
                _ = TAKEN.scope(Arc::clone(&taken), stream) => {}
                () = left(&taken, patience) => tracing::debug!("an answer was not taken; its stream is reset"),
            }
        });
    }
}

/// Waits until nothing was taken of what was offered for a whole span of patience.
async fn left(taken: &Taken, patience: Duration) {
    loop {
        let before = (taken.offered.load(Ordering::Relaxed), taken.pieces.load(Ordering::Relaxed));
        tokio::time::sleep(patience).await;
        if before == (true, taken.pieces.load(Ordering::Relaxed)) && taken.offered.load(Ordering::Relaxed) {
            return;
        }
    }
}

/// An answer's body, in pieces where it goes over a stream.
pub(super) struct Answer<B> {
    inner: B,
    taken: Option<Arc<Taken>>,
    /// What is left of a frame that was larger than a piece.
    rest: Bytes,
    _running: Running,
}

impl<B> Answer<B> {
    pub(super) fn new(inner: B, running: Running) -> Self {
        // Where there is no such task it is HTTP/1.
        Self { inner, taken: TAKEN.try_with(Arc::clone).ok(), rest: Bytes::new(), _running: running }
    }
}

impl<B> Body for Answer<B>
where
    B: Body<Data = Bytes> + Unpin,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.get_mut();
        let Some(taken) = &this.taken else { return Pin::new(&mut this.inner).poll_frame(cx) };
        if this.rest.is_empty() {
            match Pin::new(&mut this.inner).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => this.rest = data,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                other => {
                    taken.offered.store(false, Ordering::Relaxed);
                    return other;
                }
            }
        }
        taken.pieces.fetch_add(1, Ordering::Relaxed);
        taken.offered.store(true, Ordering::Relaxed);
        let piece = this.rest.split_to(this.rest.len().min(PIECE));
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let inner = self.inner.size_hint();
        let rest = self.rest.len() as u64;
        let mut hint = SizeHint::new();
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper.saturating_add(rest));
        }
        hint.set_lower(inner.lower().saturating_add(rest));
        hint
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use http_body_util::{BodyExt as _, Full};

    use super::super::connection::About;
    use super::*;

    fn answer(len: usize) -> Answer<Full<Bytes>> {
        Answer::new(Full::new(Bytes::from(vec![7; len])), About::default().begin())
    }

    #[tokio::test]
    async fn a_stream_has_pieces_and_a_connection_whole_frames() {
        let len = 2 * PIECE + 5;
        let mut whole = answer(len);
        assert_eq!(whole.frame().await.unwrap().unwrap().into_data().unwrap().len(), len);
        let pieces = TAKEN.scope(Arc::default(), async move {
            let mut body = answer(len);
            let mut pieces = Vec::new();
            assert_eq!(body.size_hint().exact(), Some(len as u64));
            while let Some(frame) = body.frame().await {
                pieces.push(frame.unwrap().into_data().unwrap().len());
                assert_eq!(body.size_hint().exact(), Some((len - pieces.iter().sum::<usize>()) as u64));
            }
            assert!(body.is_end_stream());
            pieces
        });
        assert_eq!(pieces.await, [PIECE, PIECE, 5]);
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_nothing_is_left() {
        let patience = Duration::from_secs(60);
        let taken = Taken::default();
        let ended = tokio::time::timeout(patience * 100, left(&taken, patience)).await;
        assert!(ended.is_err(), "nothing was offered: it is our turn");
        taken.offered.store(true, Ordering::Relaxed);
        let taking = async {
            for _ in 0..100 {
                tokio::time::sleep(patience / 2).await;
                taken.pieces.fetch_add(1, Ordering::Relaxed);
            }
            std::future::pending::<()>().await;
        };
        let began = tokio::time::Instant::now();
        tokio::select! {
            () = left(&taken, patience) => {}
            () = taking => {}
        }
        assert!(began.elapsed() > patience * 50 && began.elapsed() <= patience * 53, "while it takes, it may");
    }
}
