//! The aws-chunked encoding, checked and re-framed as it streams.
//!
//! ```text
//! body    = chunk* last trailer
//! chunk   = size [";chunk-signature=" 64 hex] CRLF  bytes CRLF        size in hexadecimal, not 0
//! last    = "0" [";chunk-signature=" 64 hex] CRLF
//! trailer = (name ":" value CRLF)* CRLF
//! ```
//!
//! `s3s` decodes it, but holds each chunk whole in memory whatever its size, and counts neither the bytes nor the chunks:
//! a body that ends early passes for a short one. So unsigned chunks, whose framing no signature covers, are cut into small
//! ones here; signed ones, which cannot be, are refused above [`MAX_SIGNED_CHUNK`] before their bytes are read; and the
//! length must be the one announced.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame};

use super::body::{BodyFault, BodyWatch, BrokenBody};

/// The largest signed chunk: `s3s` must hold it whole to verify it.
pub(super) const MAX_SIGNED_CHUNK: u64 = 16 << 20;

/// Unsigned chunks are cut to this size at most.
const PIECE: usize = 256 << 10;

/// A chunk's size line; a signed one has 96 bytes.
const MAX_LINE: usize = 256;

/// All trailers together.
const MAX_TRAILER: usize = 16 << 10;

/// A chunk's number of hexadecimal digits; `s3s` reads no more and ignores what follows.
const MAX_DIGITS: usize = 8;

enum State {
    /// Within a size line.
    Line,
    /// So many bytes of a chunk are still to come.
    Data(u64),
    /// Behind a chunk's bytes; whether the CR has been seen.
    End(bool),
    /// Behind the last chunk.
    Trailer,
}

/// The encoded body, to be read by `s3s`.
pub(super) struct Reframed<B> {
    inner: B,
    watch: BodyWatch,
    signed: bool,
    /// Object bytes announced and not yet seen.
    left: u64,
    state: State,
    line: Vec<u8>,
    trailer: usize,
    ready: VecDeque<Bytes>,
    over: bool,
    /// The largest signed chunk so far, which memory is counted for.
    held: u64,
}

impl<B> Reframed<B> {
    /// `decoded` is the announced number of object bytes (`x-amz-decoded-content-length`).
    pub(super) fn new(inner: B, watch: BodyWatch, signed: bool, decoded: u64) -> Self {
        Self {
            inner,
            watch,
            signed,
            left: decoded,
            state: State::Line,
            line: Vec::new(),
            trailer: 0,
            ready: VecDeque::new(),
            over: false,
            held: 0,
        }
    }

    fn take(&mut self, mut bytes: Bytes) -> Result<(), BodyFault> {
        while !bytes.is_empty() {
            match self.state {
                State::Line => {
                    let end = bytes.iter().position(|&b| b == b'\n').map(|at| at + 1);
                    let part = bytes.split_to(end.unwrap_or(bytes.len()));
                    if self.line.len() + part.len() > MAX_LINE {
                        return Err(BodyFault::Malformed);
                    }
                    self.line.extend_from_slice(&part);
                    if end.is_some() {
                        self.begin_chunk()?;
                    }
                }
                State::Data(left) => {
                    let len = bytes.len().min(PIECE).min(usize::try_from(left).unwrap_or(usize::MAX));
                    let piece = bytes.split_to(len);
                    if self.signed {
                        self.ready.push_back(piece);
                    } else {
                        self.ready.push_back(Bytes::from(format!("{len:x}\r\n")));
                        self.ready.push_back(piece);
                        self.ready.push_back(Bytes::from_static(b"\r\n"));
                    }
                    let left = left - len as u64;
                    self.state = if left == 0 { State::End(false) } else { State::Data(left) };
                }
                State::End(cr) => {
                    let byte = bytes.split_to(1);
                    if byte[..] != *(if cr { b"\n" } else { b"\r" }) {
                        return Err(BodyFault::Malformed);
                    }
                    self.state = if cr { State::Line } else { State::End(true) };
                    if self.signed {
                        self.ready.push_back(byte);
                    }
                }
                State::Trailer => {
                    self.trailer += bytes.len();
                    if self.trailer > MAX_TRAILER {
                        return Err(BodyFault::Malformed);
                    }
                    self.ready.push_back(std::mem::take(&mut bytes));
                }
            }
        }
        Ok(())
    }

    /// A size line is complete.
    fn begin_chunk(&mut self) -> Result<(), BodyFault> {
        let line = std::mem::take(&mut self.line);
        let size = chunk_size(&line).ok_or(BodyFault::Malformed)?;
        if self.signed {
            if size > MAX_SIGNED_CHUNK {
                return Err(BodyFault::ChunkTooLarge);
            }
            if let more @ 1.. = size.saturating_sub(self.held) {
                self.watch.hold(more).map_err(|_| BodyFault::Memory)?;
                self.held = size;
            }
            self.ready.push_back(Bytes::from(line));
        }
        self.left = self.left.checked_sub(size).ok_or(BodyFault::Incomplete)?;
        if size > 0 {
            self.state = State::Data(size);
            return Ok(());
        }
        if self.left > 0 {
            return Err(BodyFault::Incomplete);
        }
        if !self.signed {
            self.ready.push_back(Bytes::from_static(b"0\r\n"));
        }
        self.state = State::Trailer;
        Ok(())
    }
}

fn chunk_size(line: &[u8]) -> Option<u64> {
    let line = line.strip_suffix(b"\r\n")?;
    let digits = line.split(|&b| b == b';').next()?;
    if digits.is_empty() || digits.len() > MAX_DIGITS || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

impl<B> Body for Reframed<B>
where
    B: Body<Data = Bytes, Error = BrokenBody> + Unpin,
{
    type Data = Bytes;
    type Error = BrokenBody;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BrokenBody>>> {
        let this = self.get_mut();
        loop {
            if let Some(bytes) = this.ready.pop_front() {
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            if this.over {
                return Poll::Ready(None);
            }
            let fault = match ready!(Pin::new(&mut this.inner).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => this.take(data).err(),
                    Err(_) => None,
                },
                Some(Err(BrokenBody(fault))) => Some(fault),
                None => {
                    this.over = true;
                    (!matches!(this.state, State::Trailer)).then_some(BodyFault::Incomplete)
                }
            };
            if let Some(fault) = fault {
                this.over = true;
                // What is ready before the fault may be a chunk without its end: better nothing than that.
                this.ready.clear();
                return Poll::Ready(Some(Err(this.watch.broken(fault))));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use http_body_util::{BodyExt as _, StreamBody};

    /// Passes `body` through in pieces of `step` bytes.
    async fn reframe(body: &[u8], step: usize, signed: bool, decoded: u64) -> Result<Vec<u8>, BodyFault> {
        let frames: Vec<_> = body.chunks(step).map(|piece| Ok(Frame::data(Bytes::copy_from_slice(piece)))).collect();
        let inner = StreamBody::new(futures_util::stream::iter(frames));
        let body = Reframed::new(inner, BodyWatch::default(), signed, decoded);
        body.collect().await.map(|all| all.to_bytes().to_vec()).map_err(|broken| broken.0)
    }

    #[tokio::test]
    async fn unsigned_chunks_are_cut_and_keep_their_bytes() {
        let data: Vec<u8> = (0..700_000_u32).map(|i| i as u8).collect();
        let mut body = format!("{:x}\r\n", data.len()).into_bytes();
        body.extend_from_slice(&data);
        body.extend_from_slice(b"\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n");
        for step in [1000, 300_000, body.len()] {
            let out = reframe(&body, step, false, data.len() as u64).await.unwrap();
            let (mut rest, mut seen) = (out.as_slice(), Vec::new());
            loop {
                let end = rest.windows(2).position(|w| w == b"\r\n").unwrap();
                let size = usize::from_str_radix(std::str::from_utf8(&rest[..end]).unwrap(), 16).unwrap();
                rest = &rest[end + 2..];
                if size == 0 {
                    break;
                }
                assert!(size <= PIECE);
                seen.extend_from_slice(&rest[..size]);
                rest = rest[size..].strip_prefix(b"\r\n").unwrap();
            }
            assert!(seen == data);
            assert_eq!(rest, b"x-amz-checksum-crc32:AAAAAA==\r\n\r\n");
        }
    }

    #[tokio::test]
    async fn signed_chunks_pass_unchanged() {
        let signature = "a".repeat(64);
        let body = format!("5;chunk-signature={signature}\r\nhello\r\n0;chunk-signature={signature}\r\n\r\n");
        for step in 1..body.len() {
            assert_eq!(reframe(body.as_bytes(), step, true, 5).await.unwrap(), body.as_bytes());
        }
    }

    #[tokio::test]
    async fn what_is_wrong_is_named() {
        for (body, signed, decoded, fault) in [
            ("5\r\nhello\r\n", false, 5, BodyFault::Incomplete),
            ("5\r\nhel", false, 5, BodyFault::Incomplete),
            ("", false, 0, BodyFault::Incomplete),
            ("5\r\nhello\r\n0\r\n\r\n", false, 6, BodyFault::Incomplete),
            ("5\r\nhello\r\n0\r\n\r\n", false, 4, BodyFault::Incomplete),
            ("5\r\nhelloXX0\r\n\r\n", false, 5, BodyFault::Malformed),
            ("5\nhello\r\n0\r\n\r\n", false, 5, BodyFault::Malformed),
            ("5 \r\nhello\r\n0\r\n\r\n", false, 5, BodyFault::Malformed),
            ("+5\r\nhello\r\n0\r\n\r\n", false, 5, BodyFault::Malformed),
            ("000000005\r\nhello\r\n0\r\n\r\n", false, 5, BodyFault::Malformed),
            ("\r\n", false, 5, BodyFault::Malformed),
            ("1000001;chunk-signature=x\r\n", true, 1 << 30, BodyFault::ChunkTooLarge),
        ] {
            for step in [1, 100] {
                assert_eq!(reframe(body.as_bytes(), step, signed, decoded).await, Err(fault), "{body:?}");
            }
        }
        assert_eq!(reframe(&[b'5'; 300], 1, false, 5).await, Err(BodyFault::Malformed));
        let endless = format!("0\r\n{}", "a:b\r\n".repeat(5000));
        assert_eq!(reframe(endless.as_bytes(), 4096, false, 0).await, Err(BodyFault::Malformed));
    }
}
