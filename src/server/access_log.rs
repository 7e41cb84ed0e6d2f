//! One line in the log for each request, and its place in the metrics, once its answer is over.

use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use http::{Method, StatusCode};
use http_body::{Body, Frame, SizeHint};
use tracing::Span;

use super::audit::AuditDraft;
use super::body::BodyWatch;
use super::bucket_log::Draft;
use super::minio::Counting;
use super::{ClientCertificate, RequestId};

/// The log's name for filters.
pub const TARGET: &str = "ninefold::access";

/// What is logged of a request. Never the query or a header: they hold signatures and keys.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) id: RequestId,
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) peer: SocketAddr,
    pub(super) started: Instant,
    pub(super) watch: BodyWatch,
    /// What the client proved to be, if it was asked.
    pub(super) client: Option<ClientCertificate>,
    /// What goes into the log of its bucket.
    pub(super) draft: Option<Draft>,
    /// What goes into the audit log.
    pub(super) audit: Option<AuditDraft>,
    /// Where it is counted, if it is.
    pub(super) counting: Option<Counting>,
}

/// An answer's body that writes the log entry when it has been sent or given up.
pub struct LoggedBody {
    inner: s3s::Body,
    entry: Entry,
    status: StatusCode,
    sent: u64,
    /// Whether it ended as it should.
    whole: bool,
    span: Span,
}

impl LoggedBody {
    pub(super) fn new(inner: s3s::Body, entry: Entry, status: StatusCode, span: Span) -> Self {
        let whole = inner.is_end_stream();
        Self { inner, entry, status, sent: 0, whole, span }
    }
}

impl Body for LoggedBody {
    type Data = Bytes;
    type Error = s3s::StdError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, s3s::StdError>>> {
        let this = self.get_mut();
        let _inside = this.span.enter();
        let polled = Pin::new(&mut this.inner).poll_frame(cx);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                let sent = frame.data_ref().map_or(0, Bytes::len) as u64;
                this.sent += sent;
                this.entry.watch.sent(sent);
                this.whole = this.inner.is_end_stream();
            }
            Poll::Ready(Some(Err(error))) => tracing::error!(%error, "an answer broke off"),
            Poll::Ready(None) => this.whole = true,
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Drop for LoggedBody {
    fn drop(&mut self) {
        // It leaves what was noted for the log of the bucket.
        if let Some(audit) = self.entry.audit.take() {
            audit.sent(self.sent, self.whole);
        }
        if let Some(draft) = self.entry.draft.take() {
            draft.sent(self.sent);
        }
        let received = self.entry.watch.received();
        if let Some(counting) = &mut self.entry.counting {
            counting.over(received, self.sent, self.whole);
        }
        let entry = &self.entry;
        tracing::info!(
            target: TARGET,
            request_id = %entry.id,
            method = %entry.method,
            path = %entry.path,
            status = self.status.as_u16(),
            received,
            sent = self.sent,
            whole = self.whole,
            duration_us = entry.started.elapsed().as_micros() as u64,
            peer = %entry.peer,
            client_certificate = entry.client.as_ref().map(|client| &*client.fingerprint),
            // Escaped: the authority signs what is in it, but not for terminals.
            client_name = entry.client.as_ref().and_then(|client| Some(client.common_name.as_ref()?.escape_debug().to_string())),
        );
    }
}
