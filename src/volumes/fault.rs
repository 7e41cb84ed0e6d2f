//! A test instrument: a volume that fails as it is told.
//!
//! [`FaultVolume`] wraps any volume; [`Faults`], a handle on it, says what goes wrong while it is in use, and counts calls.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::watch;

use super::directory::lock;
use super::{Quarantined, Result, Usage, Volume, VolumeError};
use crate::clock::Millis;
use crate::layout::{ShardName, VolumeSlot};

/// The kinds of operations, one for each method of [`Volume`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// [`Volume::create`]
    Create,
    /// [`Volume::write`]
    Write,
    /// [`Volume::sync`]
    Sync,
    /// [`Volume::read`]
    Read,
    /// [`Volume::remove`]
    Remove,
    /// [`Volume::quarantine`]
    Quarantine,
    /// [`Volume::list`]
    List,
    /// [`Volume::present`]
    Present,
    /// [`Volume::quarantined`]
    Quarantined,
    /// [`Volume::purge`]
    Purge,
    /// [`Volume::put_document`]
    PutDocument,
    /// [`Volume::documents`]
    Documents,
    /// [`Volume::document`]
    Document,
    /// [`Volume::remove_document`]
    RemoveDocument,
    /// [`Volume::usage`]
    Usage,
    /// [`Volume::probe`]
    Probe,
}

const OPERATIONS: usize = Operation::Probe as usize + 1;

/// What goes wrong with an operation.
#[derive(Debug, Clone)]
pub enum Fault {
    /// Nothing: to let some operations pass before the next fault of a script.
    None,
    /// The system's error with this number (`EIO` is 5), nothing done. For an operation without a file: unavailable.
    Io(i32),
    /// No space left, nothing done.
    Full,
    /// The volume is unavailable, nothing done.
    Unavailable,
    /// There is no such file. For an operation without a file: unavailable.
    Absent,
    /// Of a write only this many bytes are written, then `EIO`. Other operations fail with `EIO`.
    Short(usize),
    /// Of what is read or written, be it a header, the bits in this mask are flipped in the byte at this offset (modulo the
    /// length), and nobody is told. Nothing else is affected.
    Flip {
        /// Which byte.
        offset: usize,
        /// Which bits; 0 flips none.
        mask: u8,
    },
    /// What is read ends before its last byte.
    Truncated,
    /// Of a write only this many bytes are written, and it succeeds. Nothing else is affected.
    Torn(usize),
    /// What is read or written is so many bytes behind where it should be, and nobody is told. Nothing else is affected.
    Misplaced(u64),
    /// The operation is done after this time (of tokio's clock), if that is not over the volume's limit.
    Delay(Duration),
    /// The operation is done when the gate opens, if that is within the volume's limit.
    Hang(Gate),
    /// The operation is done, and then answers `EIO`: what the caller knows and what is differ.
    DoneButFailed,
}

/// Holds back operations until it is opened. Clones are the same gate.
#[derive(Debug, Clone)]
pub struct Gate(Arc<watch::Sender<bool>>);

impl Default for Gate {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }
}

impl Gate {
    /// Lets all pass from now on.
    pub fn open(&self) {
        self.0.send_replace(true);
    }

    async fn passed(&self) {
        // The sender is alive, it is ours.
        let _ = self.0.subscribe().wait_for(|open| *open).await;
    }
}

/// Programs a [`FaultVolume`]. Clones program the same one.
#[derive(Debug, Clone, Default)]
pub struct Faults(Arc<Mutex<Plan>>);

#[derive(Debug, Default)]
struct Plan {
    vanished: bool,
    operations: [Script; OPERATIONS],
}

#[derive(Debug, Default)]
struct Script {
    calls: u64,
    next: VecDeque<Fault>,
    always: Option<Fault>,
}

impl Faults {
    /// From now on every call of `operation` meets `fault`, once what [`Faults::next`] says is used up.
    pub fn always(&self, operation: Operation, fault: Fault) {
        lock(&self.0).operations[operation as usize].always = Some(fault);
    }

    /// The next calls of `operation` meet these, in order, after those queued before.
    pub fn next(&self, operation: Operation, faults: impl IntoIterator<Item = Fault>) {
        lock(&self.0).operations[operation as usize].next.extend(faults);
    }

    /// The volume is gone, or back: every operation answers unavailable, probes too.
    pub fn vanish(&self, vanished: bool) {
        lock(&self.0).vanished = vanished;
    }

    /// Nothing goes wrong any more. What hangs goes on hanging until its gate is opened.
    pub fn clear(&self) {
        let mut plan = lock(&self.0);
        plan.vanished = false;
        for script in &mut plan.operations {
            script.next.clear();
            script.always = None;
        }
    }

    /// How often `operation` was called, whatever came of it.
    pub fn calls(&self, operation: Operation) -> u64 {
        lock(&self.0).operations[operation as usize].calls
    }

    fn called(&self, operation: Operation) -> Fault {
        let mut plan = lock(&self.0);
        let vanished = plan.vanished;
        let script = &mut plan.operations[operation as usize];
        script.calls += 1;
        if vanished {
            return Fault::Unavailable;
        }
        script.next.pop_front().or_else(|| script.always.clone()).unwrap_or(Fault::None)
    }
}

/// A volume that does what the one in it does, but for what its [`Faults`] say.
#[derive(Debug)]
pub struct FaultVolume<V> {
    inner: V,
    faults: Faults,
    /// How long an operation may be held back; then it is left undone and answered as unavailable.
    limit: Option<Duration>,
}

/// The number of `EIO`.
const EIO: i32 = 5;

impl<V: Volume> FaultVolume<V> {
    /// Wraps `inner`; nothing goes wrong before it is told to.
    pub fn new(inner: V) -> Self {
        Self { inner, faults: Faults::default(), limit: None }
    }

    /// The same, with a limit to how long an operation may be held back, as real ones have.
    pub fn with_limit(inner: V, limit: Duration) -> Self {
        Self { limit: Some(limit), ..Self::new(inner) }
    }

    /// The handle that says what goes wrong.
    pub fn faults(&self) -> Faults {
        self.faults.clone()
    }

    fn io(&self, shard: Option<ShardName>, operation: Operation, number: i32) -> VolumeError {
        let volume = Arc::clone(self.inner.name());
        let source = io::Error::from_raw_os_error(number);
        let operation = match operation {
            Operation::Create => "create",
            Operation::Write => "write",
            Operation::Sync => "sync",
            Operation::Read => "read",
            Operation::Remove => "remove",
            Operation::Quarantine => "quarantine",
            Operation::List => "list",
            Operation::Present => "look",
            Operation::Quarantined => "list quarantine",
            Operation::Purge => "purge",
            Operation::PutDocument => "write a document",
            Operation::Documents => "list documents",
            Operation::Document => "read a document",
            Operation::RemoveDocument => "remove a document",
            Operation::Usage => "usage",
            Operation::Probe => "probe",
        };
        match shard {
            Some(shard) => VolumeError::Io { volume, shard, operation, source: Arc::new(source) },
            None => VolumeError::Unavailable { volume, reason: format!("{operation}: {source}") },
        }
    }

    /// Counts the call and waits or fails as told; answers what is left for the operation itself to do wrong.
    async fn meet(&self, operation: Operation, shard: Option<ShardName>) -> Result<Fault> {
        let volume = || Arc::clone(self.inner.name());
        let fault = self.faults.called(operation);
        match &fault {
            Fault::None | Fault::Flip { .. } | Fault::Truncated | Fault::DoneButFailed => {}
            Fault::Torn(_) | Fault::Misplaced(_) => {}
            Fault::Short(_) if operation == Operation::Write => {}
            Fault::Short(_) => return Err(self.io(shard, operation, EIO)),
            Fault::Io(number) => return Err(self.io(shard, operation, *number)),
            Fault::Full => return Err(VolumeError::Full { volume: volume() }),
            Fault::Unavailable => {
                return Err(VolumeError::Unavailable { volume: volume(), reason: "a fault was asked for".into() });
            }
            Fault::Absent => {
                return Err(match shard {
                    Some(shard) => VolumeError::Absent { volume: volume(), shard },
                    None => self.io(None, operation, EIO),
                });
            }
            Fault::Delay(time) => self.held_back(tokio::time::sleep(*time)).await?,
            Fault::Hang(gate) => self.held_back(gate.passed()).await?,
        }
        Ok(fault)
    }

    async fn held_back(&self, until: impl Future<Output = ()>) -> Result<()> {
        let Some(limit) = self.limit else {
            until.await;
            return Ok(());
        };
        tokio::time::timeout(limit, until).await.map_err(|_| VolumeError::Unavailable {
            volume: Arc::clone(self.inner.name()),
            reason: format!("no answer in {limit:?}"),
        })
    }

    /// As [`FaultVolume::meet`], for a write: it may fall short, and what is written, and where, may be something else.
    async fn meet_write(&self, shard: ShardName, position: &mut u64, pieces: &mut Vec<Bytes>) -> Result<Fault> {
        let fault = self.meet(Operation::Write, Some(shard)).await?;
        match fault {
            Fault::Short(written) => {
                cut(pieces, written);
                self.inner.write(shard, *position, std::mem::take(pieces)).await?;
                return Err(self.io(Some(shard), Operation::Write, EIO));
            }
            Fault::Torn(written) => cut(pieces, written),
            Fault::Misplaced(by) => *position += by,
            Fault::Flip { offset, mask } => *pieces = vec![flipped(&pieces.concat(), offset, mask)],
            _ => {}
        }
        Ok(fault)
    }

    fn done<T>(&self, outcome: Result<T>, fault: &Fault, operation: Operation, shard: Option<ShardName>) -> Result<T> {
        match fault {
            Fault::DoneButFailed => outcome.and(Err(self.io(shard, operation, EIO))),
            _ => outcome,
        }
    }
}

fn cut(pieces: &mut [Bytes], mut left: usize) {
    for piece in pieces {
        piece.truncate(left);
        left -= piece.len();
    }
}

fn flipped(bytes: &[u8], offset: usize, mask: u8) -> Bytes {
    let mut bytes = bytes.to_vec();
    let offset = offset % bytes.len().max(1);
    if let Some(byte) = bytes.get_mut(offset) {
        *byte ^= mask;
    }
    bytes.into()
}

#[async_trait]
impl<V: Volume> Volume for FaultVolume<V> {
    fn slot(&self) -> VolumeSlot {
        self.inner.slot()
    }

    fn name(&self) -> &Arc<str> {
        self.inner.name()
    }

    async fn create(&self, shard: ShardName, header: Bytes) -> Result<()> {
        let fault = self.meet(Operation::Create, Some(shard)).await?;
        let header = match fault {
            Fault::Flip { offset, mask } => flipped(&header, offset, mask),
            _ => header,
        };
        self.done(self.inner.create(shard, header).await, &fault, Operation::Create, Some(shard))
    }

    async fn write(&self, shard: ShardName, mut position: u64, mut pieces: Vec<Bytes>) -> Result<()> {
        let fault = self.meet_write(shard, &mut position, &mut pieces).await?;
        self.done(self.inner.write(shard, position, pieces).await, &fault, Operation::Write, Some(shard))
    }

    /// Meets the faults of a write, then those of a sync.
    async fn write_through(&self, shard: ShardName, mut position: u64, mut pieces: Vec<Bytes>) -> Result<()> {
        let outcome = async {
            let write = self.meet_write(shard, &mut position, &mut pieces).await?;
            let sync = self.meet(Operation::Sync, Some(shard)).await?;
            let outcome = self.inner.write_through(shard, position, pieces).await;
            let outcome = self.done(outcome, &write, Operation::Write, Some(shard));
            self.done(outcome, &sync, Operation::Sync, Some(shard))
        };
        let outcome = outcome.await;
        if outcome.is_err() {
            // As the real one: whatever went wrong, the file takes no more.
            self.inner.close(shard).await?;
        }
        outcome
    }

    async fn close(&self, shard: ShardName) -> Result<()> {
        self.inner.close(shard).await
    }

    async fn sync(&self, shard: ShardName) -> Result<()> {
        let fault = self.meet(Operation::Sync, Some(shard)).await?;
        self.done(self.inner.sync(shard).await, &fault, Operation::Sync, Some(shard))
    }

    async fn read(&self, shard: ShardName, position: u64, len: usize) -> Result<Bytes> {
        let fault = self.meet(Operation::Read, Some(shard)).await?;
        let position = match fault {
            Fault::Misplaced(by) => position + by,
            _ => position,
        };
        let bytes = self.done(self.inner.read(shard, position, len).await, &fault, Operation::Read, Some(shard))?;
        match fault {
            Fault::Flip { offset, mask } => Ok(flipped(&bytes, offset, mask)),
            Fault::Truncated => {
                let volume = Arc::clone(self.inner.name());
                Err(VolumeError::Truncated { volume, shard, end: position.saturating_add(len as u64) })
            }
            _ => Ok(bytes),
        }
    }

    async fn remove(&self, shard: ShardName) -> Result<()> {
        let fault = self.meet(Operation::Remove, Some(shard)).await?;
        self.done(self.inner.remove(shard).await, &fault, Operation::Remove, Some(shard))
    }

    async fn quarantine(&self, shard: ShardName) -> Result<()> {
        let fault = self.meet(Operation::Quarantine, Some(shard)).await?;
        self.done(self.inner.quarantine(shard).await, &fault, Operation::Quarantine, Some(shard))
    }

    async fn list(&self, fan_out: u8) -> Result<Vec<ShardName>> {
        let fault = self.meet(Operation::List, None).await?;
        self.done(self.inner.list(fan_out).await, &fault, Operation::List, None)
    }

    async fn present(&self, shards: Vec<ShardName>) -> Result<Vec<(ShardName, u64)>> {
        let fault = self.meet(Operation::Present, None).await?;
        self.done(self.inner.present(shards).await, &fault, Operation::Present, None)
    }

    async fn quarantined(&self, limit: usize) -> Result<Vec<Quarantined>> {
        let fault = self.meet(Operation::Quarantined, None).await?;
        self.done(self.inner.quarantined(limit).await, &fault, Operation::Quarantined, None)
    }

    async fn purge(&self, before: Millis, limit: usize) -> Result<usize> {
        let fault = self.meet(Operation::Purge, None).await?;
        self.done(self.inner.purge(before, limit).await, &fault, Operation::Purge, None)
    }

    async fn put_document(&self, name: &str, content: Bytes) -> Result<()> {
        let fault = self.meet(Operation::PutDocument, None).await?;
        self.done(self.inner.put_document(name, content).await, &fault, Operation::PutDocument, None)
    }

    async fn documents(&self) -> Result<Vec<String>> {
        let fault = self.meet(Operation::Documents, None).await?;
        self.done(self.inner.documents().await, &fault, Operation::Documents, None)
    }

    async fn document(&self, name: &str) -> Result<Option<Bytes>> {
        let fault = self.meet(Operation::Document, None).await?;
        self.done(self.inner.document(name).await, &fault, Operation::Document, None)
    }

    async fn remove_document(&self, name: &str) -> Result<()> {
        let fault = self.meet(Operation::RemoveDocument, None).await?;
        self.done(self.inner.remove_document(name).await, &fault, Operation::RemoveDocument, None)
    }

    async fn usage(&self) -> Result<Usage> {
        let fault = self.meet(Operation::Usage, None).await?;
        self.done(self.inner.usage().await, &fault, Operation::Usage, None)
    }

    async fn probe(&self) -> Result<()> {
        let fault = self.meet(Operation::Probe, None).await?;
        self.done(self.inner.probe().await, &fault, Operation::Probe, None)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;
    use crate::layout::ChunkId;
    use crate::volumes::{Identity, IoConfig, LocalVolume};

    const SHARD: ShardName = ShardName { chunk: ChunkId { seq: 1, nonce: 2 }, shard: 0, generation: 0 };

    async fn volume() -> (tempfile::TempDir, FaultVolume<LocalVolume>) {
        let temporary = tempfile::tempdir().unwrap();
        let identity = Identity { deployment: "d".into(), volume: "v".into(), slot: VolumeSlot(1), epoch: 0 };
        LocalVolume::format(temporary.path(), &identity).unwrap();
        let volume = FaultVolume::new(LocalVolume::open(temporary.path(), identity, IoConfig::default()).unwrap());
        volume.probe().await.unwrap();
        volume.create(SHARD, Bytes::from_static(b"0123456789")).await.unwrap();
        (temporary, volume)
    }

    #[tokio::test]
    async fn scripts_run_first_then_what_is_always_and_calls_are_counted() {
        let (_temporary, volume) = volume().await;
        let faults = volume.faults();
        faults.next(Operation::Read, [Fault::None, Fault::Io(5), Fault::Absent]);
        faults.always(Operation::Read, Fault::Flip { offset: 13, mask: 1 });
        assert_eq!(volume.read(SHARD, 0, 10).await.unwrap(), "0123456789");
        assert!(
            matches!(volume.read(SHARD, 0, 10).await, Err(VolumeError::Io { source, .. }) if source.raw_os_error() == Some(5))
        );
        assert!(matches!(volume.read(SHARD, 0, 10).await, Err(VolumeError::Absent { .. })));
        assert_eq!(volume.read(SHARD, 0, 10).await.unwrap(), "0122456789");
        assert_eq!(faults.calls(Operation::Read), 4);
        assert_eq!(faults.calls(Operation::Create), 1);
        faults.vanish(true);
        assert!(matches!(volume.probe().await, Err(VolumeError::Unavailable { .. })));
        faults.clear();
        volume.probe().await.unwrap();
        assert_eq!(volume.read(SHARD, 0, 10).await.unwrap(), "0123456789");
    }

    #[tokio::test]
    async fn writes_fall_short_or_are_done_and_fail() {
        let (_temporary, volume) = volume().await;
        let faults = volume.faults();
        faults.next(Operation::Write, [Fault::Short(3), Fault::Full, Fault::DoneButFailed]);
        let pieces = || vec![Bytes::from_static(b"ab"), Bytes::from_static(b"cd")];
        assert!(matches!(volume.write(SHARD, 0, pieces()).await, Err(VolumeError::Io { .. })));
        assert_eq!(volume.read(SHARD, 0, 10).await.unwrap(), "abc3456789");
        assert!(matches!(volume.write(SHARD, 4, pieces()).await, Err(VolumeError::Full { .. })));
        assert_eq!(volume.read(SHARD, 0, 10).await.unwrap(), "abc3456789");
        assert!(matches!(volume.write(SHARD, 4, pieces()).await, Err(VolumeError::Io { .. })));
        assert_eq!(volume.read(SHARD, 0, 10).await.unwrap(), "abc3abcd89");
    }

    #[tokio::test]
    async fn what_is_written_is_torn_misplaced_or_flipped_and_nobody_is_told() {
        let (_temporary, volume) = volume().await;
        let faults = volume.faults();
        let flip = Fault::Flip { offset: 2, mask: 1 };
        faults.next(Operation::Write, [Fault::Torn(3), Fault::Misplaced(2), flip.clone()]);
        let pieces = || vec![Bytes::from_static(b"ab"), Bytes::from_static(b"cd")];
        volume.write(SHARD, 0, pieces()).await.unwrap();
        assert_eq!(volume.read(SHARD, 0, 10).await.unwrap(), "abc3456789");
        volume.write(SHARD, 4, pieces()).await.unwrap();
        assert_eq!(volume.read(SHARD, 0, 10).await.unwrap(), "abc345abcd");
        volume.write(SHARD, 0, pieces()).await.unwrap();
        assert_eq!(volume.read(SHARD, 0, 10).await.unwrap(), "abbd45abcd");
        faults.next(Operation::Read, [Fault::Misplaced(6)]);
        assert_eq!(volume.read(SHARD, 0, 4).await.unwrap(), "abcd");
        faults.next(Operation::Create, [flip]);
        let other = ShardName { shard: 1, ..SHARD };
        volume.create(other, Bytes::from_static(b"abcd")).await.unwrap();
        assert_eq!(volume.read(other, 0, 4).await.unwrap(), "abbd");
    }

    #[tokio::test]
    async fn what_is_held_back_beyond_the_limit_is_unavailable_and_never_done() {
        let (_temporary, volume) = volume().await;
        let volume = FaultVolume::with_limit(volume, Duration::from_millis(1));
        let gate = Gate::default();
        volume.faults().next(Operation::Remove, [Fault::Hang(gate.clone())]);
        assert!(matches!(volume.remove(SHARD).await, Err(VolumeError::Unavailable { .. })));
        gate.open();
        assert_eq!(volume.read(SHARD, 0, 1).await.unwrap(), "0");
    }

    #[tokio::test]
    async fn a_gate_holds_operations_until_it_opens() {
        let (_temporary, volume) = volume().await;
        let gate = Gate::default();
        volume.faults().next(Operation::Read, [Fault::Hang(gate.clone())]);
        let mut read = volume.read(SHARD, 0, 1);
        assert!(futures_util::poll!(&mut read).is_pending());
        assert_eq!(volume.read(SHARD, 1, 1).await.unwrap(), "1");
        assert!(futures_util::poll!(&mut read).is_pending());
        gate.open();
        assert_eq!(read.await.unwrap(), "0");
    }
}
