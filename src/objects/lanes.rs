//! Small writes go in lanes: whatever waits in one goes out together, in one append to the lane's packed chunk and one transaction.
//!
//! A write that finds its lane idle goes at once, alone; those that come while a batch is under way are the next batch. No timer is
//! involved. All writes of one key go through the same lane, one of them per batch.

use std::collections::{HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use super::{Error, Result, batch};
use crate::chunks::{ChunkStore, Entry, EntryHeader, Owner, Pack};
use crate::clock::Clock;
use crate::layout::{ChunkId, Extent, NewData};
use crate::metadata::{self, Appended, Metadata, PackedCommit, PackedOwner, PackedWrite, PartSource, VersionId};

/// How small writes are gathered. The defaults are from the measurements in ARCHITECTURE.md.
#[derive(Debug, Clone)]
pub struct PackConfig {
    /// Bodies up to this length in bytes are packed; 0: none.
    pub pack_max: u32,
    /// Lanes, each with an open chunk of its own.
    pub lanes: usize,
    /// Writes in one batch at most.
    pub batch_writes: usize,
    /// Bytes in one batch at most (a single write always goes).
    pub batch_bytes: u64,
}

impl Default for PackConfig {
    fn default() -> Self {
        Self { pack_max: 64 << 10, lanes: 1, batch_writes: 256, batch_bytes: 4 << 20 }
    }
}

/// A chunk that was opened without all its shards is ended after this time, so that it can be healed.
const DEGRADED_LIFE: Duration = Duration::from_secs(30);
/// A chunk to which nothing was added for this long is ended.
const IDLE_LIFE: Duration = Duration::from_secs(20 * 60);
/// How often it is asked about a chunk to which nothing is added whether somebody waits for its end.
const LOOK: Duration = Duration::from_secs(5);
/// The first pause before the end of a chunk is written down again, when the database did not take it; it doubles ...
const SEAL_PAUSE: Duration = Duration::from_millis(500);
/// ... so often.
const SEAL_TRIES: u32 = 8;

/// A small write on its way.
#[derive(Debug)]
struct Job {
    /// What is to be committed; where its bytes are is filled in once they are somewhere.
    write: PackedWrite,
    entry: Option<Entry>,
    answer: oneshot::Sender<Result<Option<VersionId>>>,
}

#[derive(Debug)]
enum Message {
    Write(Box<Job>),
    /// End the open chunk.
    Close(oneshot::Sender<()>),
}

/// The ways in to the lanes. Cheap to clone; when the last clone goes, the lanes end.
#[derive(Debug, Clone)]
pub(super) struct Lanes {
    lanes: Vec<mpsc::Sender<Message>>,
}

impl Lanes {
    pub(super) fn new(metadata: &Metadata, chunks: &ChunkStore, clock: &Clock, config: &PackConfig) -> Self {
        let lanes = (0..config.lanes.max(1)).map(|_| {
            let (sender, receiver) = mpsc::channel(config.batch_writes.max(1));
            let lane = Lane {
                metadata: metadata.clone(),
                chunks: chunks.clone(),
                clock: clock.clone(),
                config: config.clone(),
                receiver,
                waiting: VecDeque::new(),
                pack: None,
                ending: JoinSet::new(),
            };
            tokio::spawn(lane.run());
            sender
        });
        Self { lanes: lanes.collect() }
    }

    /// Writes something small. Returns once it is synced and committed, with the version that an object became, if its bucket keeps
    /// any.
    ///
    /// Dropped before that, the write may happen or not.
    pub(super) async fn write(&self, write: PackedWrite, owner: Owner, bytes: Vec<Bytes>) -> Result<Option<VersionId>> {
        let len: usize = bytes.iter().map(Bytes::len).sum();
        let lane = self.lane(&write).ok_or(Error::Worker)?;
        let entry = if len == 0 {
            None
        } else {
            let modified = match &write {
                PackedWrite::Put { object, .. } => object.modified,
                PackedWrite::Part(part) => part.modified,
                PackedWrite::Append(append) => append.modified,
                PackedWrite::Move { modified, .. } => *modified,
            };
            let len = u32::try_from(len).ok().filter(|&len| len as usize <= Entry::MAX_LEN).ok_or(Error::Worker)?;
            Some(Entry { header: EntryHeader { owner, modified, len }, pieces: bytes })
        };
        let (answer, answered) = oneshot::channel();
        let job = Message::Write(Box::new(Job { write, entry, answer }));
        lane.send(job).await.map_err(|_| Error::Worker)?;
        answered.await.map_err(|_| Error::Worker)?
    }

    /// Ends all open chunks.
    pub(super) async fn close(&self) {
        for lane in &self.lanes {
            let (done, closed) = oneshot::channel();
            if lane.send(Message::Close(done)).await.is_ok() {
                _ = closed.await;
            }
        }
    }

    fn lane(&self, write: &PackedWrite) -> Option<&mpsc::Sender<Message>> {
        let mut hasher = DefaultHasher::new();
        Name::of(write).hash(&mut hasher);
        self.lanes.get((hasher.finish() % self.lanes.len() as u64) as usize)
    }
}

/// What a write is to: two writes to the same never go in one batch.
#[derive(PartialEq, Eq, Hash, Clone)]
enum Name {
    Key(String, String),
    Part(String, u32),
    Row(PackedOwner),
}

impl Name {
    fn of(write: &PackedWrite) -> Self {
        match write {
            PackedWrite::Put { bucket, object, .. } => Self::Key(bucket.clone(), object.key.clone()),
            PackedWrite::Append(append) => Self::Key(append.bucket.clone(), append.key.clone()),
            PackedWrite::Part(part) => Self::Part(part.upload.0.clone(), part.number),
            PackedWrite::Move { owner, .. } => Self::Row(owner.clone()),
        }
    }
}

/// Why a batch did not come to its end.
enum Failure {
    Chunks(crate::chunks::ChunkError),
    Metadata(metadata::Error),
}

impl Failure {
    fn error(&self) -> Error {
        match self {
            Self::Chunks(error) => error.shared().into(),
            Self::Metadata(error) => error.clone().into(),
        }
    }

    /// Whether the same batch may well succeed with another chunk: this one's volumes failed, or it was closed by others.
    fn is_of_the_chunk(&self) -> bool {
        use crate::chunks::ChunkError;
        matches!(self, Self::Chunks(ChunkError::TooFewWritten { .. }) | Self::Metadata(metadata::Error::RangeClosed))
    }

    /// Whether the database refused a statement, so that one of several writes may be to blame.
    fn is_refusal(&self) -> bool {
        matches!(self, Self::Metadata(metadata::Error::Sql(_) | metadata::Error::Corrupt(_)))
    }
}

struct Lane {
    metadata: Metadata,
    chunks: ChunkStore,
    clock: Clock,
    config: PackConfig,
    receiver: mpsc::Receiver<Message>,
    /// Writes taken from the channel that found no place in the last batch.
    waiting: VecDeque<Job>,
    pack: Option<(Pack, Instant)>,
    /// Chunks on their way to their end.
    ending: JoinSet<()>,
}

impl Lane {
    async fn run(mut self) {
        let mut closing: Option<oneshot::Sender<()>> = None;
        loop {
            if self.waiting.is_empty() {
                if let Some(done) = closing.take() {
                    self.end().await;
                    _ = done.send(());
                }
                match self.next().await {
                    Some(Message::Write(job)) => self.waiting.push_back(*job),
                    Some(Message::Close(done)) => closing = Some(done),
                    None => break,
                }
            }
            while closing.is_none() && self.waiting.len() < self.config.batch_writes {
                match self.receiver.try_recv() {
                    Ok(Message::Write(job)) => self.waiting.push_back(*job),
                    Ok(Message::Close(done)) => closing = Some(done),
                    Err(_) => break,
                }
            }
            let jobs = self.gather();
            if !jobs.is_empty() {
                self.settle(jobs).await;
            }
        }
        self.end().await;
    }

    /// Ends the open chunk, and waits until all that were ended before are.
    async fn end(&mut self) {
        self.end_pack();
        while self.ending.join_next().await.is_some() {}
    }

    /// The next message. A chunk does not stay open for ever while nothing happens, one without all its shards not for long, and
    /// one that others wait for no longer than until the next look.
    async fn next(&mut self) -> Option<Message> {
        let idle = Instant::now();
        loop {
            let life = match &self.pack {
                Some((pack, opened)) if !pack.missing().is_empty() => DEGRADED_LIFE.saturating_sub(opened.elapsed()),
                Some(_) => IDLE_LIFE.saturating_sub(idle.elapsed()),
                None => return self.receiver.recv().await,
            };
            match tokio::time::timeout(life.min(LOOK), self.receiver.recv()).await {
                Ok(message) => return message,
                Err(_) if life <= LOOK || self.is_waited_for().await => self.end_pack(),
                Err(_) => {}
            }
        }
    }

    /// Whether the open chunk is on a volume that is to be emptied, or has a shard to be healed: neither is done before its end.
    async fn is_waited_for(&self) -> bool {
        let Some((pack, _)) = &self.pack else { return false };
        pack.is_done()
            || (pack.missing().is_empty()
                && self.metadata.heal_tasks_of(pack.id()).await.is_ok_and(|tasks| !tasks.is_empty()))
    }

    /// Takes from those that wait what may go together.
    fn gather(&mut self) -> Vec<Job> {
        let mut names = HashSet::new();
        let mut jobs = Vec::new();
        let mut later = VecDeque::new();
        let mut bytes = 0;
        while let Some(job) = self.waiting.pop_front() {
            let len = job.entry.as_ref().map_or(0, |entry| u64::from(entry.header.len));
            let fits =
                jobs.is_empty() || (jobs.len() < self.config.batch_writes && bytes + len <= self.config.batch_bytes);
            if fits && names.insert(Name::of(&job.write)) {
                bytes += len;
                jobs.push(job);
            } else {
                later.push_back(job);
            }
        }
        self.waiting = later;
        jobs
    }

    /// Brings a batch to its end: every one of it is answered.
    async fn settle(&mut self, mut jobs: Vec<Job>) {
        let mut outcome = self.attempt(&mut jobs).await;
        if outcome.as_ref().is_err_and(Failure::is_of_the_chunk) {
            outcome = self.attempt(&mut jobs).await;
        }
        match outcome {
            Ok(results) => {
                for (job, result) in jobs.into_iter().zip(results) {
                    _ = job.answer.send(result.map_err(Error::from));
                }
            }
            Err(failure) if failure.is_refusal() && jobs.len() > 1 => {
                tracing::warn!(writes = jobs.len(), error = %failure.error(), "a batch was refused; its writes go alone");
                for job in jobs {
                    let mut alone = vec![job];
                    let outcome = self.attempt(&mut alone).await;
                    for job in alone {
                        _ = job.answer.send(match &outcome {
                            Ok(results) => results.first().cloned().unwrap_or(Ok(None)).map_err(Error::from),
                            Err(failure) => Err(failure.error()),
                        });
                    }
                }
            }
            Err(failure) => {
                tracing::warn!(writes = jobs.len(), error = %failure.error(), "a batch of small writes failed");
                for job in jobs {
                    _ = job.answer.send(Err(failure.error()));
                }
            }
        }
    }

    /// Appends the bytes of a batch and commits it.
    async fn attempt(&mut self, jobs: &mut [Job]) -> Result<Vec<metadata::Result<Option<VersionId>>>, Failure> {
        let entries: Vec<Entry> = jobs.iter().filter_map(|job| job.entry.clone()).collect();
        let appended = self.append(&entries, jobs).await?;
        let commit = PackedCommit {
            batch: batch(),
            appended,
            writes: jobs.iter().map(|job| job.write.clone()).collect(),
            now: self.clock.now(),
        };
        let outcome = self.metadata.commit_packed(&commit).await;
        match &outcome {
            Ok(_) if commit.appended.is_some() => {
                if let Some((pack, opened)) = &mut self.pack {
                    pack.set_committed();
                    if pack.is_done() || (!pack.missing().is_empty() && opened.elapsed() > DEGRADED_LIFE) {
                        self.end_pack();
                    }
                }
            }
            Ok(_) => {}
            Err(error) => {
                if matches!(error, metadata::Error::Ambiguous(_)) {
                    tracing::error!(%error, "what became of a batch of small writes is unknown: nothing of it is removed");
                }
                if commit.appended.is_some() {
                    self.drop_pack(matches!(error, metadata::Error::Ambiguous(_))).await;
                }
            }
        }
        outcome.map_err(Failure::Metadata)
    }

    async fn append(&mut self, entries: &[Entry], jobs: &mut [Job]) -> Result<Option<Appended>, Failure> {
        if entries.is_empty() {
            return Ok(None);
        }
        let bytes = entries.iter().map(|entry| u64::from(entry.header.len)).sum();
        if self.pack.as_ref().is_some_and(|(pack, _)| !pack.has_room(bytes)) {
            self.end_pack();
        }
        let (pack, _) = match &mut self.pack {
            Some(pack) => pack,
            none => none.insert((self.chunks.open_pack().await.map_err(Failure::Chunks)?, Instant::now())),
        };
        let (before, from) = (pack.len(), pack.committed());
        let extents = match pack.append(entries).await {
            Ok(extents) => extents,
            Err(error) => {
                self.drop_pack(false).await;
                return Err(Failure::Chunks(error));
            }
        };
        let appended = Appended {
            chunk: pack.id(),
            placement: pack.placement(),
            missing: pack.missing(),
            from,
            end: pack.end(),
            len: pack.len() - before,
        };
        let with_bytes = jobs.iter_mut().filter(|job| job.entry.is_some());
        for (job, extent) in with_bytes.zip(extents) {
            set_extent(&mut job.write, extent);
        }
        Ok(Some(appended))
    }

    /// Ends the open chunk, all of which is committed, beside what follows.
    fn end_pack(&mut self) {
        let Some((pack, _)) = self.pack.take() else { return };
        while self.ending.try_join_next().is_some() {}
        let (metadata, id) = (self.metadata.clone(), pack.id());
        self.ending.spawn(async move {
            if pack.committed().is_none() {
                pack.give_up().await;
            } else {
                pack.seal().await;
                seal(metadata, id).await;
            }
        });
    }

    /// Parts with a chunk of which something was not committed, or may not have been.
    async fn drop_pack(&mut self, ambiguous: bool) {
        let Some((pack, _)) = self.pack.take() else { return };
        match (pack.committed(), ambiguous) {
            (None, false) => pack.give_up().await,
            _ => {
                pack.abandon().await;
                self.ending.spawn(seal(self.metadata.clone(), pack.id()));
            }
        }
    }
}

/// Writes down that a chunk has ended. If the database does not take it, the chunk stays open for it until this instance's
/// ranges are closed.
async fn seal(metadata: Metadata, chunk: ChunkId) {
    let mut pause = SEAL_PAUSE;
    for _ in 0..SEAL_TRIES {
        match metadata.seal_packed(chunk).await {
            Ok(()) => return,
            Err(error) => tracing::warn!(%chunk, %error, "the end of a packed chunk could not be written down"),
        }
        tokio::time::sleep(pause).await;
        pause *= 2;
    }
}

fn set_extent(write: &mut PackedWrite, at: Extent) {
    match write {
        PackedWrite::Put { extent, .. } => *extent = Some(at),
        PackedWrite::Part(part) => {
            part.source = PartSource::New(NewData { len: at.len, chunks: Vec::new(), extents: vec![at] });
        }
        PackedWrite::Append(append) => append.data = NewData { len: at.len, chunks: Vec::new(), extents: vec![at] },
        PackedWrite::Move { to, .. } => *to = at,
    }
}
