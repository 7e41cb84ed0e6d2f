//! Bodies that are read on although nobody wants them.
//!
//! A connection that is closed while its client still sends is reset, and with it goes the answer that the client has not read yet. SDKs
//! ask first (`Expect: 100-continue`) where that matters; browsers do not, and would show a network error instead of what was wrong.
//! Every connection takes what still comes for a few seconds (`connection`); what browsers send, forms, often takes longer.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::runtime::Handle;

use super::body::next_data;

/// Bytes that are read at most.
const BYTES: usize = 64 << 20;

/// How long they are read at most.
const TIME: Duration = Duration::from_secs(30);

/// A body that, dropped before its end, is read on for a while in a task of its own. The answer does not wait for that.
pub(super) struct Lingering<B>(Option<B>)
where
    B: Body<Data = Bytes> + Send + Unpin + 'static;

impl<B: Body<Data = Bytes> + Send + Unpin + 'static> Lingering<B> {
    pub(super) fn new(body: B) -> Self {
        Self(Some(body))
    }
}

impl<B: Body<Data = Bytes> + Send + Unpin + 'static> Body for Lingering<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.get_mut();
        let Some(body) = &mut this.0 else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(body).poll_frame(cx));
        if !matches!(frame, Some(Ok(_))) {
            this.0 = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.0.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl<B: Body<Data = Bytes> + Send + Unpin + 'static> Drop for Lingering<B> {
    fn drop(&mut self) {
        let Some(mut body) = self.0.take().filter(|body| !body.is_end_stream()) else { return };
        let Ok(runtime) = Handle::try_current() else { return };
        runtime.spawn(tokio::time::timeout(TIME, async move {
            let mut read = 0;
            while let Some(Ok(piece)) = next_data(&mut body).await {
                read += piece.len();
                if read > BYTES {
                    break;
                }
            }
        }));
    }
}
