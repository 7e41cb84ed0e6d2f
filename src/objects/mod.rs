//! What S3 means: the operations on buckets, objects and uploads, in our own terms.
//!
//! Every operation that changes something runs in a task of its own, so that a client that goes away cannot stop it between two
//! steps: it either commits or cleans up after itself.

mod access;
mod append;
mod archive;
mod body;
mod buckets;
mod compact;
mod conditions;
mod configs;
mod copy;
mod cors;
mod delete;
pub mod digest;
mod encryption;
mod error;
mod force_delete;
mod get;
mod inventory;
mod lanes;
mod ledger;
mod lifecycle;
mod list;
mod logging;
mod multipart;
mod notification;
mod put;
mod rename;
mod replication;
mod rules;
mod tagging;
mod tell;
mod versions;
mod website;

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};

use crate::access::Seen;
use crate::chunks::{Body, BodyError, ChunkError, ChunkStore, Digest, Entry, Hold, LedgerError, Owner};
use crate::clock::{Clock, random_bytes};
use crate::events::{Bus, Origin};
use crate::layout::NewData;
use crate::metadata::{self, BatchId, Content, ExtentQuery, Metadata};
use lanes::Lanes;
use rules::RulesCache;

pub use access::ObjectAccess;
pub use archive::{Archive, Archived};
pub use body::{Expected, LateChecksum};
pub use buckets::{BucketDefaults, CreateBucket};
pub use compact::Compacted;
pub use conditions::{ETagList, ReadConditions};
pub use configs::{Filter, Scope};
pub use copy::{Copied, CopyPartRequest, CopyRequest, Directive};
pub use cors::{CORS_METHODS, CorsGrant, CorsRequest, CorsRule, CorsRules};
pub use delete::{DeleteOutcome, DeleteRequest};
pub use encryption::Encryption;
pub use error::{BodyProblem, Error, Result};
pub use get::{Attributes, GetRequest, Got, PartsPage};
pub use inventory::{Inventories, Inventory, InventoryFormat};
pub use lanes::PackConfig;
pub use ledger::{Lifeline, MetadataLedger};
pub use lifecycle::{Expire, Lifecycle, LifecycleRule, NoncurrentExpire};
pub use logging::{LogKeys, LoggedBucket, Logging};
pub use multipart::{CompletePart, CompleteRequest, CompletedUpload, PartRequest, StartUpload, UploadedPart};
pub use notification::Notification;
pub use put::{PutRequest, Stored};
pub use replication::{Replication, ReplicationRule};
pub use rules::watch_rules;
pub use versions::VersionName;
pub use website::{Came, Pages, Replace, RoutingRule, WebProtocol, Website, directory};

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
    lanes: Lanes,
    pack_max: usize,
    rules: Arc<RulesCache>,
    events: Bus,
    /// Whom it works for, if that is known.
    origin: Arc<Origin>,
    /// What had a say in whether it may do what it does.
    seen: Arc<[Seen]>,
}

impl Store {
    /// A store over its two halves; `pack` says which objects are packed, and how. Needs a running tokio.
    pub fn new(metadata: Metadata, chunks: ChunkStore, clock: Clock, pack: &PackConfig) -> Self {
        let lanes = Lanes::new(&metadata, &chunks, &clock, pack);
        let pack_max = (pack.pack_max as usize).min(Entry::MAX_LEN);
        let (events, origin, seen) = (Bus::default(), Arc::default(), Arc::default());
        Self { metadata, chunks, clock, lanes, pack_max, rules: Arc::default(), events, origin, seen }
    }

    /// Ends the open packed chunks of this instance; further small writes open new ones.
    pub async fn close_packs(&self) {
        self.lanes.close().await;
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
    async fn undo<T>(&self, outcome: Result<T>, chunks: &[crate::layout::NewChunk]) -> Result<T> {
        if let Err(error) = &outcome {
            if matches!(error, Error::Metadata(metadata::Error::Ambiguous(_))) {
                tracing::error!(%error, "a commit's outcome is unknown: its shards are left for the sweep to judge");
            } else {
                self.chunks.discard(chunks).await;
            }
        }
        outcome
    }

    /// The bytes `range` of some content, of which `first` are the first extents.
    fn bytes(
        &self,
        content: Content,
        range: std::ops::Range<u64>,
        first: Vec<crate::layout::PlacedExtent>,
        hold: Hold,
    ) -> crate::chunks::ReadStream {
        let data = match content {
            _ if range.is_empty() => return Box::pin(stream::empty()),
            Content::Empty => return Box::pin(stream::empty()),
            // One extent is all there is.
            Content::Packed(extent) if first.is_empty() => {
                let error = ChunkError::BadExtent { chunk: extent.chunk, position: extent.position };
                return Box::pin(stream::once(async { Err(error) }));
            }
            Content::Packed(_) => return self.chunks.read(stream::iter(first.into_iter().map(Ok)), range, hold),
            Content::Data(data) => data,
        };
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
        self.chunks.read(pages.try_flatten(), range, hold)
    }

    /// The same, as a body to be written again.
    fn body_of(stream: crate::chunks::ReadStream) -> crate::chunks::Body {
        Box::pin(stream.map(|piece| piece.map_err(|error| BodyError(Box::new(error)))))
    }
}

/// The bytes of an object or part, received and digested.
enum Received {
    /// All of them, few enough to be packed.
    Small(Vec<Bytes>),
    /// In chunks of their own, synced.
    Large(NewData),
}

impl Store {
    /// Receives a body: keeps a small one, writes a large one to chunks of its own. `announced` is its length, if that is known.
    async fn receive<D: Digest>(
        &self,
        owner: Owner,
        mut body: Body,
        announced: Option<u64>,
        mut digest: D,
    ) -> Result<(Received, D)> {
        let mut pieces: Vec<Bytes> = Vec::new();
        let mut len = 0;
        let mut small = announced.is_none_or(|len| len <= self.pack_max as u64);
        while small {
            let Some(piece) = body.next().await.transpose().map_err(ChunkError::Body)? else {
                if len <= DIGESTED_INLINE {
                    pieces.iter().for_each(|piece| digest.update(piece));
                    return Ok((Received::Small(pieces), digest));
                }
                let digested = tokio::task::spawn_blocking(move || {
                    pieces.iter().for_each(|piece| digest.update(piece));
                    (Received::Small(pieces), digest)
                });
                return digested.await.map_err(|_| Error::Worker);
            };
            len += piece.len();
            small = len <= self.pack_max;
            // A body of many tiny frames is not to cost more memory than its bytes.
            match pieces.last_mut() {
                Some(last) if last.len() + piece.len() <= GATHERED => *last = [last.as_ref(), &piece].concat().into(),
                _ => pieces.push(piece),
            }
        }
        let body: Body = Box::pin(stream::iter(pieces.into_iter().map(Ok)).chain(body));
        let (data, digest) = self.chunks.write(owner, body, digest).await?;
        Ok((Received::Large(data), digest))
    }

    /// Removes what was received and will not be committed.
    async fn forget(&self, received: &Received) {
        if let Received::Large(data) = received {
            self.chunks.discard(&data.chunks).await;
        }
    }
}

/// Bodies up to this length in bytes are digested where they stand: a hop to the blocking threads would cost more.
const DIGESTED_INLINE: usize = 16 << 10;
/// Pieces are joined by copying up to this length in bytes.
const GATHERED: usize = 4 << 10;

/// A fresh id for a commit.
fn batch() -> BatchId {
    BatchId(random_bytes())
}
