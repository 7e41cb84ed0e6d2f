//! What S3 means: the operations on buckets, objects and uploads, in our own terms.
//!
//! Every operation that changes something runs in a task of its own, so that a client that goes away cannot stop it between two
//! steps: it either commits or cleans up after itself.

mod body;
mod buckets;
mod conditions;
mod copy;
mod delete;
pub mod digest;
mod error;
mod get;
mod ledger;
mod list;
mod multipart;
mod put;

use std::future::Future;

use futures_util::{StreamExt, TryStreamExt, stream};

use crate::chunks::{BodyError, ChunkError, ChunkStore, LedgerError};
use crate::clock::{Clock, random_bytes};
use crate::metadata::{self, BatchId, DataId, ExtentQuery, Metadata};

pub use body::{Expected, LateChecksum};
pub use conditions::{ETagList, ReadConditions};
pub use copy::{Copied, CopyPartRequest, CopyRequest, Directive};
pub use delete::{DeleteOutcome, DeleteRequest};
pub use error::{BodyProblem, Error, Result};
pub use get::{Attributes, GetRequest, Got, PartsPage};
pub use ledger::{Lifeline, MetadataLedger};
pub use multipart::{CompletePart, CompleteRequest, CompletedUpload, PartRequest, StartUpload, UploadedPart};
pub use put::{PutRequest, Stored};

/// The largest object: 50 TiB would be today's limit at AWS; ours is the 5 TiB that its clients know.
pub const MAX_OBJECT_LEN: u64 = 5 << 40;
/// The most that one PUT or one part may bring, and CopyObject may copy.
pub const MAX_PUT_LEN: u64 = 5 << 30;
/// The least that a part but the last must have.
pub const MIN_PART_LEN: u64 = 5 << 20;
/// The highest part number.
pub const MAX_PARTS: u32 = 10_000;

/// The object store: metadata and chunks together. Cheap to clone; clones are the same store.
#[derive(Debug, Clone)]
pub struct Store {
    metadata: Metadata,
    chunks: ChunkStore,
    clock: Clock,
}

impl Store {
    /// A store over its two halves.
    pub fn new(metadata: Metadata, chunks: ChunkStore, clock: Clock) -> Self {
        Self { metadata, chunks, clock }
    }

    /// The metadata half.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The bytes half.
    pub fn chunks(&self) -> &ChunkStore {
        &self.chunks
    }

    /// Where time comes from.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Runs `work` to its end whether or not somebody still waits for it.
    async fn to_the_end<T: Send + 'static>(work: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
        tokio::spawn(work).await.map_err(|_| Error::Worker)?
    }

    /// Removes freshly written chunks after a commit that failed; after one whose outcome is unknown, nothing.
    async fn undo<T>(&self, outcome: metadata::Result<T>, chunks: &[crate::layout::NewChunk]) -> Result<T> {
        if let Err(error) = &outcome {
            if matches!(error, metadata::Error::Ambiguous(_)) {
                tracing::error!(%error, "a commit's outcome is unknown: its shards are left for the sweep to judge");
            } else {
                self.chunks.discard(chunks).await;
            }
        }
        Ok(outcome?)
    }

    /// The bytes `range` of some data, of which `first` are the first extents.
    fn bytes(
        &self,
        data: Option<DataId>,
        range: std::ops::Range<u64>,
        first: Vec<crate::layout::PlacedExtent>,
    ) -> crate::chunks::ReadStream {
        let Some(data) = data.filter(|_| !range.is_empty()) else { return Box::pin(stream::empty()) };
        let metadata = self.metadata.clone();
        let end = range.end;
        let state = (first, range.start);
        let pages = stream::try_unfold(state, move |(page, at)| {
            let metadata = metadata.clone();
            async move {
                if at >= end {
                    return Ok(None);
                }
                let page = if page.is_empty() {
                    let query = ExtentQuery { data, from: at, to: end };
                    metadata.extents(query).await.map_err(|e| ChunkError::Ledger(LedgerError(e.to_string())))?
                } else {
                    page
                };
                // Extents follow one another without a gap; anything else is a store that must not be read on.
                let mut next = at;
                for placed in &page {
                    let extent = placed.extent;
                    if extent.start > next || extent.start + extent.len <= next {
                        let (chunk, position) = (extent.chunk, extent.position);
                        return Err(ChunkError::BadExtent { chunk, position });
                    }
                    next = extent.start + extent.len;
                }
                if next == at {
                    let message = format!("data {} has no extent at byte {at}", data.0);
                    return Err(ChunkError::Ledger(LedgerError(message)));
                }
                let page = stream::iter(page.into_iter().map(Ok::<_, ChunkError>));
                Ok(Some((page, (Vec::new(), next))))
            }
        });
        self.chunks.read(pages.try_flatten(), range)
    }

    /// The same, as a body to be written again.
    fn body_of(stream: crate::chunks::ReadStream) -> crate::chunks::Body {
        Box::pin(stream.map(|piece| piece.map_err(|error| BodyError(Box::new(error)))))
    }
}

/// A fresh id for a commit.
fn batch() -> BatchId {
    BatchId(random_bytes())
}
