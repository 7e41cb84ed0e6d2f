//! A connection that neither side may hold open by doing nothing.
//!
//! hyper times the head of an HTTP/1 request, and the time between two, and we its body (`body.rs`); what is left is here: the first bytes,
//! by which HTTP/1 and HTTP/2 are told apart, a client that does not take what it asked for (`streams.rs` has that for one of several streams),
//! and an HTTP/2 connection without requests. And the end of one that is still sending what was refused
//! long ago: closed at once, it would see a broken connection instead of its answer (RFC 9112, section 9.6).

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// What an HTTP/2 connection starts with. A connection that so far agrees with it has not shown yet what it is.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How long what nobody wants is taken from a client that has not noticed its answer yet. Browsers read no answer before all of a form is
/// sent.
const LINGER: Duration = Duration::from_secs(30);
/// Bytes that are so taken at most.
const LINGER_BYTES: usize = 64 << 20;

/// What those who serve a connection tell each other about it. Clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct About(Arc<Known>);

#[derive(Debug, Default)]
struct Known {
    /// Whether a request's body was left unread.
    abandoned: AtomicBool,
    /// Whether HTTP/2 is spoken.
    http2: AtomicBool,
    /// Requests whose answers are not over.
    running: AtomicUsize,
    /// Requests since somebody last asked.
    begun: AtomicUsize,
}

impl About {
    fn is_abandoned(&self) -> bool {
        self.0.abandoned.load(Ordering::Relaxed)
    }

    /// A request begins, and lasts until what is answered is dropped.
    pub(super) fn begin(&self) -> Running {
        self.0.running.fetch_add(1, Ordering::Relaxed);
        self.0.begun.fetch_add(1, Ordering::Relaxed);
        Running(self.clone())
    }

    /// Whether HTTP/2 is spoken and there was no request since this was last asked. HTTP/1 has hyper's own timer.
    pub(super) fn was_idle(&self) -> bool {
        let begun = self.0.begun.swap(0, Ordering::Relaxed);
        self.0.http2.load(Ordering::Relaxed) && begun == 0 && self.0.running.load(Ordering::Relaxed) == 0
    }
}

/// A request that is under way.
#[derive(Debug)]
pub(super) struct Running(About);

impl Drop for Running {
    fn drop(&mut self) {
        // The time without a request begins.
        self.0.0.begun.fetch_add(1, Ordering::Relaxed);
        self.0.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A body that tells whether it was read to its end.
pub(super) struct Noticed<B: Body + Unpin> {
    inner: B,
    about: About,
    ended: bool,
}

impl<B: Body + Unpin> Noticed<B> {
    pub(super) fn new(inner: B, about: About) -> Self {
        let ended = inner.is_end_stream();
        Self { inner, about, ended }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Noticed<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.inner).poll_frame(cx);
        this.ended = matches!(polled, Poll::Ready(None | Some(Err(_)))) || this.inner.is_end_stream();
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl<B: Body + Unpin> Drop for Noticed<B> {
    fn drop(&mut self) {
        if !self.ended {
            self.about.0.abandoned.store(true, Ordering::Relaxed);
        }
    }
}

/// A stream with limits to its silences.
pub(super) struct Timed<S> {
    inner: S,
    about: About,
    /// Set once our side is closed: until when, and how much of what is left of a request is still taken.
    lingering: Option<(Pin<Box<Sleep>>, usize)>,
    /// Bytes of the preface seen; `None` once it is clear which HTTP is spoken.
    preface: Option<usize>,
    opening: Pin<Box<Sleep>>,
    /// How long nothing may be taken off our hands.
    stall: Duration,
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S> Timed<S> {
    pub(super) fn new(inner: S, opening: Duration, stall: Duration, about: About) -> Self {
        let opening = Box::pin(sleep(opening));
        Self { inner, about, lingering: None, preface: Some(0), opening, stall, stalled: None }
    }

    fn note_opening(&mut self, bytes: &[u8]) {
        if let Some(seen) = self.preface {
            let expected = PREFACE.get(seen..).unwrap_or_default();
            let agreeing = bytes.iter().zip(expected).take_while(|(a, b)| a == b).count();
            let undecided = agreeing == bytes.len() && seen + agreeing < PREFACE.len();
            if seen + agreeing == PREFACE.len() {
                self.about.0.http2.store(true, Ordering::Relaxed);
            }
            self.preface = undecided.then_some(seen + agreeing);
        }
    }

    /// The result of a write, or the end of patience.
    fn timed_write<T>(&mut self, result: Poll<io::Result<T>>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        if result.is_ready() {
            self.stalled = None;
            return result;
        }
        let stall = self.stall;
        ready!(self.stalled.get_or_insert_with(|| Box::pin(sleep(stall))).as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Timed<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let result = Pin::new(&mut this.inner).poll_read(cx, buffer);
        if result.is_ready() {
            this.note_opening(buffer.filled().get(before..).unwrap_or_default());
        } else if this.preface.is_some() {
            ready!(this.opening.as_mut().poll(cx));
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        result
    }
}

impl<S: AsyncRead + Unpin> Timed<S> {
    /// Takes what still comes, until the client ends, for [`LINGER`] and up to [`LINGER_BYTES`] at most.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let (timer, left) = self.lingering.get_or_insert_with(|| (Box::pin(sleep(LINGER)), LINGER_BYTES));
        // First: a client that sends without a pause leaves nothing of a task's turn for it.
        if timer.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let mut scratch = [0; 16 << 10];
        while *left > 0 {
            let mut buffer = ReadBuf::new(&mut scratch);
            match ready!(Pin::new(&mut self.inner).poll_read(cx, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => *left = left.saturating_sub(buffer.filled().len()),
                _ => break,
            }
        }
        Poll::Ready(())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Timed<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.inner).poll_write(cx, bytes);
        this.timed_write(result, cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.inner).poll_write_vectored(cx, bytes);
        this.timed_write(result, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.inner).poll_flush(cx);
        this.timed_write(result, cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.lingering.is_none() {
            let result = Pin::new(&mut this.inner).poll_shutdown(cx);
            // TLS has something to say at the end, too.
            ready!(this.timed_write(result, cx))?;
            if !this.about.is_abandoned() {
                return Poll::Ready(Ok(()));
            }
        }
        ready!(this.poll_linger(cx));
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    const OPENING: Duration = Duration::from_millis(20);
    const STALL: Duration = Duration::from_millis(20);

    fn timed<S>(stream: S) -> Timed<S> {
        Timed::new(stream, OPENING, STALL, About::default())
    }

    #[tokio::test]
    async fn a_connection_that_does_not_begin_is_ended() {
        for sent in [&b""[..], b"PRI * HTTP/2.0\r\n"] {
            let (mut client, server) = duplex(1024);
            client.write_all(sent).await.unwrap();
            let mut server = timed(server);
            let error = server.read_to_end(&mut Vec::new()).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        }
    }

    #[tokio::test]
    async fn one_that_has_begun_may_be_silent_here() {
        for sent in [&b"GET / HTTP/1.1\r\n"[..], b"PUT", PREFACE] {
            let (mut client, server) = duplex(1024);
            let mut server = timed(server);
            for byte in sent.chunks(5) {
                client.write_all(byte).await.unwrap();
                server.read_exact(&mut vec![0; byte.len()]).await.unwrap();
            }
            let read = tokio::time::timeout(OPENING * 10, server.read_u8()).await;
            assert!(read.is_err(), "still waiting");
        }
    }

    #[tokio::test]
    async fn who_never_stops_sending_is_left() {
        let about = About::default();
        about.0.abandoned.store(true, Ordering::Relaxed);
        let endless = tokio::io::join(tokio::io::repeat(1), tokio::io::sink());
        let mut server = Timed::new(endless, OPENING, STALL, about);
        tokio::time::timeout(LINGER / 2, server.shutdown()).await.expect("there is an end").unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_still_sent_after_a_refusal_is_taken_for_a_while() {
        let about = About::default();
        let body = http_body_util::Full::new(Bytes::from_static(b"refused"));
        drop(Noticed::new(body, about.clone()));
        assert!(about.is_abandoned());
        // It sends more than fits, and then wants its answer.
        let (mut client, server) = duplex(10);
        let mut server = Timed::new(server, OPENING, STALL * 1000, about.clone());
        let ending = async {
            server.write_all(b"answer").await.unwrap();
            server.shutdown().await.unwrap();
        };
        let sending = async {
            client.write_all(&[0; 100_000]).await.unwrap();
            let mut answer = Vec::new();
            client.read_to_end(&mut answer).await.unwrap();
            assert_eq!(answer, b"answer");
            client.shutdown().await.unwrap();
        };
        tokio::join!(ending, sending);
        // One that never ends is left.
        let (_client, server) = duplex(10);
        Timed::new(server, OPENING, STALL, about).shutdown().await.unwrap();
    }

    #[tokio::test]
    async fn a_body_that_was_read_is_not_abandoned() {
        let about = About::default();
        let body = http_body_util::Full::new(Bytes::from_static(b"read"));
        http_body_util::BodyExt::collect(Noticed::new(body, about.clone())).await.unwrap();
        drop(Noticed::new(http_body_util::Empty::<Bytes>::new(), about.clone()));
        assert!(!about.is_abandoned());
    }

    /// A stream whose end is never taken.
    struct Endless;

    impl AsyncRead for Endless {
        fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    impl AsyncWrite for Endless {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    #[tokio::test]
    async fn an_end_that_nobody_takes_is_given_up() {
        let error = timed(Endless).shutdown().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_client_that_does_not_read_is_given_up() {
        let (client, server) = duplex(10);
        let mut server = timed(server);
        let error = server.write_all(&[0; 11]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        drop(client);
    }

    #[tokio::test]
    async fn only_http2_without_requests_is_idle() {
        let about = About::default();
        assert!(!about.was_idle(), "it is not known yet what is spoken");
        let (mut client, server) = duplex(1024);
        let mut server = Timed::new(server, OPENING, STALL, about.clone());
        client.write_all(PREFACE).await.unwrap();
        server.read_exact(&mut [0; PREFACE.len()]).await.unwrap();
        assert!(about.was_idle());
        let running = about.begin();
        assert!(!about.was_idle());
        assert!(!about.was_idle(), "it is under way");
        drop(running);
        assert!(!about.was_idle(), "it was until now");
        assert!(about.was_idle());
    }
}
