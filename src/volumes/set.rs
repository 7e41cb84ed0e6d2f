//! The volumes of a deployment: each with where it is and how it is doing.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::join_all;

use super::directory::lock;
use super::status::{Event, Record, Status, next};
use super::{Quarantined, Result, Usage, Volume, VolumeError};
use crate::clock::Millis;
use crate::layout::{ShardName, VolumeSlot};

/// A volume with less space left is full: about what is written at a time by many streams.
const RESERVE: u64 = 128 << 20;

/// Where a volume is and how much of the data it should hold.
#[derive(Debug, Clone, PartialEq)]
pub struct Location {
    /// The node that carries it.
    pub node: Arc<str>,
    /// The node's zone.
    pub zone: Arc<str>,
    /// The zone's region.
    pub region: Arc<str>,
    /// Share of the data relative to other volumes; above 0.
    pub weight: f64,
}

/// A volume of the deployment. Its methods are those of [`Volume`]; what they come to decides on its status.
#[derive(Debug)]
pub struct Member {
    volume: Arc<dyn Volume>,
    location: Location,
    status: AtomicU8,
    /// What its operator wants; kept while it is failed.
    drain: AtomicBool,
    full: AtomicBool,
    usage: Mutex<Usage>,
    record: Mutex<Record>,
    /// What went wrong last.
    error: Mutex<Option<String>>,
    /// Held while it is being checked.
    checking: AtomicBool,
    /// The set's count of changes, once it is in one.
    changes: Mutex<Arc<AtomicU64>>,
}

impl Member {
    /// A volume, healthy until something else is known: [`VolumeSet::check_all`] at start, then its operations.
    pub fn new(volume: Arc<dyn Volume>, location: Location) -> Self {
        Self {
            volume,
            location,
            status: AtomicU8::new(Status::Healthy as u8),
            drain: AtomicBool::new(false),
            full: AtomicBool::new(false),
            usage: Mutex::default(),
            record: Mutex::default(),
            error: Mutex::default(),
            checking: AtomicBool::new(false),
            changes: Mutex::default(),
        }
    }

    /// Its number.
    pub fn slot(&self) -> VolumeSlot {
        self.volume.slot()
    }

    /// The name its operator gave it.
    pub fn name(&self) -> &Arc<str> {
        self.volume.name()
    }

    /// Where it is.
    pub fn location(&self) -> &Location {
        &self.location
    }

    /// How it is doing.
    pub fn status(&self) -> Status {
        Status::from_u8(self.status.load(Ordering::Acquire))
    }

    /// Whether it has no room for more shards.
    pub fn is_full(&self) -> bool {
        self.full.load(Ordering::Acquire)
    }

    /// Whether new shards may go there.
    pub fn takes_writes(&self) -> bool {
        self.status().takes_writes() && !self.is_full()
    }

    /// Its space when it was last checked; zeros before.
    pub fn usage(&self) -> Usage {
        *lock(&self.usage)
    }

    /// Whether its operator wants it emptied, however it is doing.
    pub fn is_draining(&self) -> bool {
        self.drain.load(Ordering::Acquire)
    }

    /// What went wrong with it last; `None` if nothing ever did, or all is well again.
    pub fn last_error(&self) -> Option<String> {
        lock(&self.error).clone().filter(|_| self.status() != Status::Healthy)
    }

    /// How long a read takes on average of late; `None` before the first.
    pub fn read_latency(&self) -> Option<Duration> {
        lock(&self.record).latency()
    }

    /// Says whether its operator wants it emptied. Takes effect when it is not failed (any more).
    pub fn set_draining(&self, drain: bool) {
        self.drain.store(drain, Ordering::Release);
        self.happened(if drain { Event::Drain } else { Event::Undrain }, "its operator says so");
    }

    /// [`Volume::create`].
    ///
    /// # Errors
    /// Those of the volume, here and below.
    pub async fn create(&self, shard: ShardName, header: Bytes) -> Result<()> {
        self.observe(self.volume.create(shard, header)).await
    }

    /// [`Volume::write`].
    pub async fn write(&self, shard: ShardName, position: u64, pieces: Vec<Bytes>) -> Result<()> {
        self.observe(self.volume.write(shard, position, pieces)).await
    }

    /// [`Volume::sync`]. After a failure the volume is suspect at once.
    pub async fn sync(&self, shard: ShardName) -> Result<()> {
        let outcome = self.volume.sync(shard).await;
        self.learn(&outcome, None, true);
        outcome
    }

    /// [`Volume::write_through`]. After a failure the volume is suspect at once: it may have been the sync's.
    pub async fn write_through(&self, shard: ShardName, position: u64, pieces: Vec<Bytes>) -> Result<()> {
        let outcome = self.volume.write_through(shard, position, pieces).await;
        self.learn(&outcome, None, true);
        outcome
    }

    /// [`Volume::close`].
    pub async fn close(&self, shard: ShardName) -> Result<()> {
        self.observe(self.volume.close(shard)).await
    }

    /// [`Volume::read`]; its time goes into [`Member::read_latency`].
    pub async fn read(&self, shard: ShardName, position: u64, len: usize) -> Result<Bytes> {
        let started = Instant::now();
        let outcome = self.volume.read(shard, position, len).await;
        self.learn(&outcome, Some(started.elapsed()), false);
        outcome
    }

    /// [`Volume::remove`].
    pub async fn remove(&self, shard: ShardName) -> Result<()> {
        self.observe(self.volume.remove(shard)).await
    }

    /// [`Volume::quarantine`].
    pub async fn quarantine(&self, shard: ShardName) -> Result<()> {
        self.observe(self.volume.quarantine(shard)).await
    }

    /// [`Volume::list`].
    pub async fn list(&self, fan_out: u8) -> Result<Vec<ShardName>> {
        self.observe(self.volume.list(fan_out)).await
    }

    /// Nobody waits for an operation any more that others had long done: it counts as failed until a probe brings it back.
    pub fn is_late(&self, error: &VolumeError) {
        lock(&self.record).restart();
        self.happened(Event::Broken, error);
    }

    /// [`Volume::present`].
    pub async fn present(&self, shards: Vec<ShardName>) -> Result<Vec<(ShardName, u64)>> {
        self.observe(self.volume.present(shards)).await
    }

    /// [`Volume::quarantined`].
    pub async fn quarantined(&self, limit: usize) -> Result<Vec<Quarantined>> {
        self.observe(self.volume.quarantined(limit)).await
    }

    /// [`Volume::purge`].
    pub async fn purge(&self, before: Millis, limit: usize) -> Result<usize> {
        self.observe(self.volume.purge(before, limit)).await
    }

    /// [`Volume::put_document`]. After a failure the volume is suspect at once: it may have been the sync's.
    pub async fn put_document(&self, name: &str, content: Bytes) -> Result<()> {
        let outcome = self.volume.put_document(name, content).await;
        self.learn(&outcome, None, true);
        outcome
    }

    /// [`Volume::documents`].
    pub async fn documents(&self) -> Result<Vec<String>> {
        self.observe(self.volume.documents()).await
    }

    /// [`Volume::document`].
    pub async fn document(&self, name: &str) -> Result<Option<Bytes>> {
        self.observe(self.volume.document(name)).await
    }

    /// [`Volume::remove_document`].
    pub async fn remove_document(&self, name: &str) -> Result<()> {
        self.observe(self.volume.remove_document(name)).await
    }

    /// Probes the volume and asks for its space. Does nothing while another check of it runs.
    ///
    /// # Errors
    /// That of the probe: the volume then is failed.
    pub async fn check(&self) -> Result<()> {
        if self.checking.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        let _checking = Checking(&self.checking);
        let started = Instant::now();
        if let Err(error) = self.volume.probe().await {
            *lock(&self.error) = Some(error.to_string());
            // It has to prove itself from the start.
            lock(&self.record).restart();
            self.happened(Event::Broken, &error);
            return Err(error);
        }
        let event = lock(&self.record).probed(started.elapsed());
        self.happened(Event::Probed, "a probe found it whole");
        if let Some(event) = event {
            self.happened(event, "probes go well");
        }
        match self.volume.usage().await {
            Ok(usage) => self.set_usage(usage),
            Err(error) => self.learn(&Err::<(), _>(error), None, false),
        }
        Ok(())
    }

    async fn observe<T>(&self, operation: impl Future<Output = Result<T>>) -> Result<T> {
        let outcome = operation.await;
        self.learn(&outcome, None, false);
        outcome
    }

    /// Draws conclusions from what an operation came to.
    fn learn<T>(&self, outcome: &Result<T>, read: Option<Duration>, sync: bool) {
        let event = match outcome {
            Ok(_) => match read {
                Some(took) => lock(&self.record).read(took),
                None => lock(&self.record).succeeded(),
            },
            // The volume answered, and what it said is about a file.
            Err(VolumeError::Absent { .. } | VolumeError::Exists { .. } | VolumeError::Truncated { .. }) => {
                lock(&self.record).succeeded()
            }
            Err(VolumeError::Full { .. }) => {
                self.set_full(true);
                None
            }
            // Not the system's error but ours: the file is not open for writing any more.
            Err(VolumeError::Io { source, .. }) if source.raw_os_error().is_none() => None,
            Err(error @ (VolumeError::Unavailable { .. } | VolumeError::Io { .. })) => {
                *lock(&self.error) = Some(error.to_string());
                lock(&self.record).failed(sync)
            }
        };
        if let Some(event) = event {
            match outcome {
                Ok(_) => self.happened(event, "of how long operations take"),
                Err(error) => self.happened(event, error),
            }
        }
    }

    fn set_usage(&self, usage: Usage) {
        *lock(&self.usage) = usage;
        // A volume smaller than twice the reserve has a reserve of its own size. What was full stays so until there is twice
        // the reserve, so that it does not change with every file.
        let reserve = RESERVE.min(usage.capacity / 16);
        let free = usage.capacity.saturating_sub(usage.used);
        if free <= reserve {
            self.set_full(true);
        } else if free > reserve.saturating_mul(2) {
            self.set_full(false);
        }
    }

    fn set_full(&self, full: bool) {
        if self.full.swap(full, Ordering::AcqRel) != full {
            tracing::warn!(volume = %self.name(), full, "a volume became full, or has room again");
            self.changed();
        }
    }

    /// Moves the status along a legal edge.
    fn happened(&self, event: Event, why: impl std::fmt::Display) {
        let step = |status| Some(next(Status::from_u8(status), event) as u8);
        let Ok(before) = self.status.fetch_update(Ordering::AcqRel, Ordering::Acquire, step) else { return };
        let (before, after) = (Status::from_u8(before), next(Status::from_u8(before), event));
        if before == after {
            return;
        }
        tracing::warn!(volume = %self.name(), %before, %after, because = %why, "a volume's status changed");
        if before.takes_writes() != after.takes_writes() {
            self.changed();
        }
        // It was draining when it failed, or its operator decided so meanwhile.
        if before == Status::Failed && self.is_draining() {
            self.happened(Event::Drain, "its operator says so");
        }
    }

    fn changed(&self) {
        lock(&self.changes).fetch_add(1, Ordering::AcqRel);
    }
}

/// Held while a member is checked, also when the check is abandoned.
struct Checking<'a>(&'a AtomicBool);

impl Drop for Checking<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// The members, by slot. Cheap to clone; clones share it.
#[derive(Debug, Clone, Default)]
pub struct VolumeSet(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    members: RwLock<Arc<BTreeMap<VolumeSlot, Arc<Member>>>>,
    changes: Arc<AtomicU64>,
}

impl VolumeSet {
    /// A set of these members; of two with the same slot the later stays.
    pub fn new(members: impl IntoIterator<Item = Member>) -> Self {
        let set = Self::default();
        for member in members {
            set.insert(member);
        }
        set
    }

    /// The member with this slot.
    pub fn get(&self, slot: VolumeSlot) -> Option<Arc<Member>> {
        self.members().get(&slot).cloned()
    }

    /// All members as they are now, by slot.
    pub fn members(&self) -> Arc<BTreeMap<VolumeSlot, Arc<Member>>> {
        Arc::clone(&self.0.members.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Adds a member, in place of the one with its slot if there is one, and answers it.
    pub fn insert(&self, member: Member) -> Arc<Member> {
        *lock(&member.changes) = Arc::clone(&self.0.changes);
        let member = Arc::new(member);
        self.edit(|members| members.insert(member.slot(), Arc::clone(&member)));
        member
    }

    /// Takes a member out of the set.
    pub fn remove(&self, slot: VolumeSlot) -> Option<Arc<Member>> {
        self.edit(|members| members.remove(&slot))
    }

    fn edit<T>(&self, change: impl FnOnce(&mut BTreeMap<VolumeSlot, Arc<Member>>) -> T) -> T {
        let mut members = self.0.members.write().unwrap_or_else(PoisonError::into_inner);
        let outcome = change(Arc::make_mut(&mut members));
        self.0.changes.fetch_add(1, Ordering::AcqRel);
        outcome
    }

    /// How often anything changed that placement depends on: members, and which of them take writes. Who builds
    /// something from the members asks for this first.
    pub fn changes(&self) -> u64 {
        self.0.changes.load(Ordering::Acquire)
    }

    /// Checks all members at a time, as at start: those that cannot be used are failed then.
    pub async fn check_all(&self) {
        let members = self.members();
        let checks = members.values().map(|member| async move {
            if let Err(error) = member.check().await {
                tracing::warn!(volume = %member.name(), %error, "a volume cannot be used");
            }
        });
        join_all(checks).await;
    }
}

#[cfg(test)]
mod tests;
