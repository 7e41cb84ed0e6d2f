//! A connection that neither side may hold open by doing nothing.
//!
//! hyper times a request's head and we its body (`body.rs`); what is left is here: the first bytes, by which HTTP/1 and
//! HTTP/2 are told apart, and a client that does not take what it asked for.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// What an HTTP/2 connection starts with. A connection that so far agrees with it has not shown yet what it is.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A stream with limits to its silences.
pub(super) struct Timed<S> {
    inner: S,
    /// Bytes of the preface seen; `None` once it is clear which HTTP is spoken.
    preface: Option<usize>,
    opening: Pin<Box<Sleep>>,
    /// How long nothing may be taken off our hands.
    stall: Duration,
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S> Timed<S> {
    pub(super) fn new(inner: S, opening: Duration, stall: Duration) -> Self {
        Self { inner, preface: Some(0), opening: Box::pin(sleep(opening)), stall, stalled: None }
    }

    fn note_opening(&mut self, bytes: &[u8]) {
        if let Some(seen) = self.preface {
            let expected = PREFACE.get(seen..).unwrap_or_default();
            let agreeing = bytes.iter().zip(expected).take_while(|(a, b)| a == b).count();
            let undecided = agreeing == bytes.len() && seen + agreeing < PREFACE.len();
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

impl<S: AsyncWrite + Unpin> AsyncWrite for Timed<S> {
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
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    const OPENING: Duration = Duration::from_millis(20);
    const STALL: Duration = Duration::from_millis(20);

    #[tokio::test]
    async fn a_connection_that_does_not_begin_is_ended() {
        for sent in [&b""[..], b"PRI * HTTP/2.0\r\n"] {
            let (mut client, server) = duplex(1024);
            client.write_all(sent).await.unwrap();
            let mut server = Timed::new(server, OPENING, STALL);
            let error = server.read_to_end(&mut Vec::new()).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        }
    }

    #[tokio::test]
    async fn one_that_has_begun_may_be_silent_here() {
        for sent in [&b"GET / HTTP/1.1\r\n"[..], b"PUT", PREFACE] {
            let (mut client, server) = duplex(1024);
            let mut server = Timed::new(server, OPENING, STALL);
            for byte in sent.chunks(5) {
                client.write_all(byte).await.unwrap();
                server.read_exact(&mut vec![0; byte.len()]).await.unwrap();
            }
            let read = tokio::time::timeout(OPENING * 10, server.read_u8()).await;
            assert!(read.is_err(), "still waiting");
        }
    }

    #[tokio::test]
    async fn a_client_that_does_not_read_is_given_up() {
        let (client, server) = duplex(10);
        let mut server = Timed::new(server, OPENING, STALL);
        let error = server.write_all(&[0; 11]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        drop(client);
    }
}
