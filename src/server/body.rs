//! Request bodies on their way in: watched for silence, breaks and wrong hashes.

use std::error::Error as StdError;
use std::fmt;
use std::future::Future as _;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep};

use super::Refusal;
use super::document::{Announced, Computing};
use crate::limits::{Over, Passage};

/// What may be wrong with a body that was being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum BodyFault {
    /// It ended early, or is longer or shorter than announced.
    Incomplete = 1,
    /// The client sent nothing for too long.
    TimedOut = 2,
    /// It is longer than it may be.
    TooLarge = 3,
    /// Its aws-chunked framing is broken.
    Malformed = 4,
    /// A signed chunk is larger than one may be held in memory.
    ChunkTooLarge = 5,
    /// It does not have the hash in `x-amz-content-sha256`.
    Sha256Mismatch = 6,
    /// A chunk's or the trailer's signature is wrong.
    SignatureMismatch = 7,
    /// It could not be kept until its length was known.
    Storage = 8,
    /// A document does not have the MD5 in `Content-MD5`.
    Md5Mismatch = 9,
    /// A document does not have the checksum in its `x-amz-checksum-*`.
    ChecksumMismatch = 10,
    /// A document has a CDATA section, whose text would be left out.
    CharacterData = 11,
    /// A bucket's versioning is to leave out some of its objects.
    Exclusion = 12,
    /// There is no memory left for what must be held of it.
    Memory = 13,
}

impl BodyFault {
    const ALL: [Self; 13] = [
        Self::Incomplete,
        Self::TimedOut,
        Self::TooLarge,
        Self::Malformed,
        Self::ChunkTooLarge,
        Self::Sha256Mismatch,
        Self::SignatureMismatch,
        Self::Storage,
        Self::Md5Mismatch,
        Self::ChecksumMismatch,
        Self::CharacterData,
        Self::Exclusion,
        Self::Memory,
    ];

    /// What an error of a request's body stream means; `None` if it is no fault of the body.
    ///
    /// The errors that `s3s` wraps bodies in are private to it and keep no source, so their text decides.
    pub fn of(error: &(dyn StdError + 'static)) -> Option<Self> {
        let mut link = Some(error);
        while let Some(error) = link {
            if let Some(broken) = error.downcast_ref::<BrokenBody>() {
                return Some(broken.0);
            }
            link = error.source();
        }
        let text = error.to_string();
        if let Some(fault) = Self::ALL.into_iter().find(|fault| text.contains(&BrokenBody(*fault).to_string())) {
            return Some(fault);
        }
        let table = [
            ("Sha256Mismatch", Self::Sha256Mismatch),
            ("SignatureMismatch", Self::SignatureMismatch),
            ("LengthMismatch", Self::Incomplete),
            ("Incomplete", Self::Incomplete),
            ("FormatError", Self::Malformed),
            ("ChunkMetaTooLarge", Self::Malformed),
            ("TrailersTooLarge", Self::Malformed),
            ("TooManyTrailerHeaders", Self::Malformed),
        ];
        table.into_iter().find(|(word, _)| text.contains(word)).map(|(_, fault)| fault)
    }

    /// How S3 answers it.
    pub fn refusal(self) -> Refusal {
        let bad = |code| Refusal::new(StatusCode::BAD_REQUEST, code);
        match self {
            Self::Incomplete => bad("IncompleteBody"),
            Self::TimedOut => bad("RequestTimeout"),
            Self::TooLarge => bad("EntityTooLarge"),
            Self::Malformed => bad("InvalidRequest").saying("The body is not well-formed aws-chunked data"),
            Self::ChunkTooLarge => bad("InvalidRequest").saying("Signed chunks may have 16 MiB at most"),
            Self::Sha256Mismatch => bad("XAmzContentSHA256Mismatch"),
            Self::SignatureMismatch => Refusal::new(StatusCode::FORBIDDEN, "SignatureDoesNotMatch"),
            Self::Md5Mismatch => {
                bad("BadDigest").saying("The Content-MD5 you specified did not match what we received.")
            }
            Self::ChecksumMismatch => {
                bad("BadDigest").saying("The checksum you specified did not match the calculated checksum.")
            }
            Self::CharacterData => bad("MalformedXML").saying("CDATA sections are not understood here"),
            Self::Exclusion => Refusal::new(StatusCode::NOT_IMPLEMENTED, "NotImplemented")
                .saying("ExcludedPrefixes and ExcludeFolders are not implemented: a bucket keeps versions of all its objects or none"),
            Self::Memory => Refusal::slow_down(1),
            Self::Storage => Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalError"),
        }
    }
}

/// The error that a faulty body ends in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BrokenBody(pub BodyFault);

impl fmt::Display for BrokenBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "broken request body: {:?}", self.0)
    }
}

impl StdError for BrokenBody {}

/// What is known of a request's body while and after it is read. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct BodyWatch(Arc<Watched>);

#[derive(Debug, Default)]
struct Watched {
    fault: AtomicU8,
    received: AtomicU64,
    ended: OnceLock<std::time::Instant>,
    passage: Option<Passage>,
}

impl BodyWatch {
    /// Of a request that is charged for its bytes.
    pub(super) fn charging(passage: Option<Passage>) -> Self {
        Self(Arc::new(Watched { passage, ..Watched::default() }))
    }

    /// Bytes of the answer have gone.
    pub(super) fn sent(&self, bytes: u64) {
        if let Some(passage) = &self.0.passage {
            passage.sent(bytes);
        }
    }

    /// Counts so many more bytes of memory to the request.
    pub(super) fn hold(&self, bytes: u64) -> Result<(), Over> {
        self.0.passage.as_ref().map_or(Ok(()), |passage| passage.hold(bytes))
    }

    /// The answer is there, and as a `whole` or to be made as it goes.
    pub(super) fn answered(&self, whole: bool) {
        if let Some(passage) = &self.0.passage {
            passage.answered(whole);
        }
    }

    fn receive(&self, bytes: u64) {
        self.0.received.fetch_add(bytes, Ordering::Relaxed);
        if let Some(passage) = &self.0.passage {
            passage.received(bytes);
        }
    }

    /// The first fault found, if any.
    pub fn fault(&self) -> Option<BodyFault> {
        let found = self.0.fault.load(Ordering::Relaxed);
        BodyFault::ALL.into_iter().find(|fault| *fault as u8 == found)
    }

    /// Bytes received so far.
    pub fn received(&self) -> u64 {
        self.0.received.load(Ordering::Relaxed)
    }

    /// Whether the body was read to its end.
    pub(super) fn has_ended(&self) -> bool {
        self.ended().is_some()
    }

    /// When that was.
    pub(super) fn ended(&self) -> Option<std::time::Instant> {
        self.0.ended.get().copied()
    }

    /// Notes a fault and answers the error to end the body with. The first fault counts.
    pub(super) fn broken(&self, fault: BodyFault) -> BrokenBody {
        let _ = self.0.fault.compare_exchange(0, fault as u8, Ordering::Relaxed, Ordering::Relaxed);
        BrokenBody(fault)
    }
}

/// A body as it comes from the connection, ended by an error if the client falls silent or, where digests were announced,
/// sends something else.
pub(super) struct Watching<B> {
    inner: B,
    watch: BodyWatch,
    silence: Duration,
    /// Runs while nothing comes.
    timer: Option<Pin<Box<Sleep>>>,
    /// The digests so far and what they should be.
    digests: Option<Computing>,
}

impl<B> Watching<B> {
    pub(super) fn new(inner: B, watch: BodyWatch, silence: Duration, announced: Announced) -> Self {
        Self { inner, watch, silence, timer: None, digests: announced.begin() }
    }

    /// What is wrong with all of it; asked once, at the end.
    fn wrong(&mut self) -> Option<BrokenBody> {
        let fault = self.digests.take()?.finish()?;
        Some(self.watch.broken(fault))
    }

    fn silent(&mut self, cx: &mut Context<'_>) -> bool {
        let deadline = Instant::now() + self.silence;
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        timer.as_mut().poll(cx).is_ready()
    }
}

impl<B> Body for Watching<B>
where
    B: Body<Data = Bytes> + Unpin,
{
    type Data = Bytes;
    type Error = BrokenBody;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BrokenBody>>> {
        let this = self.get_mut();
        let next = match Pin::new(&mut this.inner).poll_frame(cx) {
            Poll::Ready(next) => next,
            Poll::Pending if this.silent(cx) => return Poll::Ready(Some(Err(this.watch.broken(BodyFault::TimedOut)))),
            Poll::Pending => return Poll::Pending,
        };
        this.timer = None;
        if next.is_none() || this.inner.is_end_stream() {
            this.watch.0.ended.get_or_init(std::time::Instant::now);
        }
        Poll::Ready(match next {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    this.watch.receive(data.len() as u64);
                    if let Some(digests) = &mut this.digests {
                        digests.update(data);
                    }
                }
                // Before the last bytes are passed on: who reads them may find them wrong itself, and ask no further.
                let wrong = if this.inner.is_end_stream() { this.wrong() } else { None };
                Some(wrong.map_or(Ok(frame), Err))
            }
            // The connection broke, or the framing of HTTP itself: the client did not send what it announced.
            Some(Err(_)) => Some(Err(this.watch.broken(BodyFault::Incomplete))),
            None => this.wrong().map(Err),
        })
    }

    fn is_end_stream(&self) -> bool {
        // Digests are compared at the end, so the end must be asked for.
        self.digests.is_none() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// The next piece of a body, trailers left out.
pub(super) async fn next_data<B>(body: &mut B) -> Option<Result<Bytes, B::Error>>
where
    B: Body<Data = Bytes> + Unpin,
{
    std::future::poll_fn(|cx| {
        loop {
            match ready!(Pin::new(&mut *body).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Poll::Ready(Some(Ok(data)));
                    }
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use http::HeaderMap;
    use http_body_util::{BodyExt as _, Full};
    use sha2::{Digest as _, Sha256};

    use super::*;
    use crate::access::query::Query;

    #[test]
    fn faults_are_known_by_type_and_by_text() {
        assert_eq!(BodyFault::of(&BrokenBody(BodyFault::TimedOut)), Some(BodyFault::TimedOut));
        for fault in BodyFault::ALL {
            let wrapped = std::io::Error::other(format!("UploadStreamError: Underlying: {}", BrokenBody(fault)));
            assert_eq!(BodyFault::of(&wrapped), Some(fault));
        }
        let text = |text: &str| BodyFault::of(&std::io::Error::other(text.to_owned()));
        assert_eq!(text("UploadStreamError: Sha256Mismatch"), Some(BodyFault::Sha256Mismatch));
        assert_eq!(text("AwsChunkedStreamError: SignatureMismatch"), Some(BodyFault::SignatureMismatch));
        assert_eq!(text("AwsChunkedStreamError: Incomplete"), Some(BodyFault::Incomplete));
        assert_eq!(text("disk full"), None);
    }

    #[tokio::test]
    async fn a_wrong_hash_is_an_error_at_the_end() {
        for (sent, faulty) in [("right", false), ("wrong", true)] {
            let wanted = Some(Sha256::digest("right").into());
            let announced = Announced::of(&HeaderMap::new(), &Query::default(), wanted).unwrap();
            let watch = BodyWatch::default();
            let body = Watching::new(Full::new(Bytes::from(sent)), watch.clone(), Duration::from_secs(60), announced);
            assert_eq!(body.collect().await.is_err(), faulty);
            assert_eq!(watch.fault(), faulty.then_some(BodyFault::Sha256Mismatch));
            assert_eq!(watch.received(), 5);
        }
    }

    #[tokio::test]
    async fn a_silent_client_is_given_up() {
        struct Silent;
        impl Body for Silent {
            type Data = Bytes;
            type Error = std::convert::Infallible;
            fn poll_frame(
                self: Pin<&mut Self>,
                _: &mut Context<'_>,
            ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
                Poll::Pending
            }
        }
        let watch = BodyWatch::default();
        let body = Watching::new(Silent, watch.clone(), Duration::from_millis(1), Announced::default());
        assert_eq!(body.collect().await.unwrap_err(), BrokenBody(BodyFault::TimedOut));
        assert_eq!(watch.fault(), Some(BodyFault::TimedOut));
    }
}
