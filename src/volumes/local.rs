//! A volume that is a directory of this machine, with threads of its own for its I/O.

use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use std::{fmt, io, thread};

use async_trait::async_trait;
use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender};
use rustix::io::Errno;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::{Instant, timeout_at};

use super::directory::Directory;
use super::identity::{self, FormatError, Identity, IdentityError};
use super::{Quarantined, Result, Usage, Volume, VolumeError};
use crate::clock::Millis;
use crate::layout::{ShardName, VolumeSlot};

/// How a volume does its I/O.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IoConfig {
    /// Threads, and so the operations that run at a time; at least 1.
    pub threads: usize,
    /// Operations that may run and wait at a time; at least one a thread.
    pub queue: usize,
    /// How long an operation waits for a place in the queue.
    pub queue_wait: Duration,
    /// After how long, waiting included, the caller gets [`VolumeError::Unavailable`] instead of an answer.
    pub time_limit: Duration,
    /// Files kept open for reading at most.
    pub open_files: usize,
    /// How long a file is kept open for reading: the space of a file that another instance removed is free no sooner.
    pub open_for: Duration,
    /// Bytes the volume may hold, if less than what its file system has.
    pub capacity: Option<u64>,
}

impl Default for IoConfig {
    fn default() -> Self {
        Self {
            threads: 4,
            queue: 128,
            queue_wait: Duration::from_secs(5),
            time_limit: Duration::from_secs(30),
            open_files: 64,
            open_for: Duration::from_secs(60),
            capacity: None,
        }
    }
}

/// A directory of this machine.
///
/// It is opened by [`Volume::probe`], never by another operation. From then on all I/O goes through the handle of the directory
/// whose `volume.json` was checked: should the directory be moved away or its file system unmounted, whatever is then found
/// at its path is never touched. The next probe notices and lets the handle go.
pub struct LocalVolume {
    shared: Arc<Shared>,
    jobs: Sender<Job>,
    places: Arc<Semaphore>,
}

/// What the volume's threads know of it. They end when the volume, which holds the sending end of their queue, is dropped.
struct Shared {
    identity: Identity,
    name: Arc<str>,
    path: PathBuf,
    config: IoConfig,
    /// The open directory, or why there is none.
    directory: RwLock<Result<Arc<Directory>, String>>,
    probing: AtomicBool,
}

type Job = Box<dyn FnOnce(&Shared) + Send>;

impl LocalVolume {
    /// Makes the directory at `path`, which must be absent or empty, a volume. Blocks.
    ///
    /// # Errors
    /// [`FormatError::NotEmpty`] if there is anything in the directory, which then is unchanged.
    pub fn format(path: &Path, identity: &Identity) -> Result<(), FormatError> {
        identity::format(path, identity)
    }

    /// The identity of the volume at `path`, `None` if there is no directory or no `volume.json` in it. Blocks.
    ///
    /// # Errors
    /// [`IdentityError`], never `Missing` or `Foreign`.
    pub fn identify(path: &Path) -> Result<Option<Identity>, IdentityError> {
        let root = match identity::open_directory(rustix::fs::CWD, path) {
            Ok(root) => root,
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(IdentityError::Io(errno.into())),
        };
        match Identity::read(root.as_fd()) {
            Ok(identity) => Ok(Some(identity)),
            Err(IdentityError::Missing) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The volume `identity`, expected at `path`, which is not looked at before the first [`Volume::probe`]: until one
    /// succeeds, every operation answers [`VolumeError::Unavailable`].
    ///
    /// # Errors
    /// Only if threads cannot be started.
    pub fn open(path: impl Into<PathBuf>, identity: Identity, config: IoConfig) -> io::Result<Self> {
        let threads = config.threads.max(1);
        let places = config.queue.max(threads);
        let name: Arc<str> = identity.volume.as_str().into();
        let shared = Arc::new(Shared {
            identity,
            path: path.into(),
            config,
            directory: RwLock::new(Err("it has not been probed".into())),
            probing: AtomicBool::new(false),
            name,
        });
        // Unbounded: places in the queue are what is bounded, and a job has one before it is sent.
        let (jobs, queue) = crossbeam_channel::unbounded();
        for _ in 0..threads {
            let (shared, queue) = (Arc::clone(&shared), queue.clone());
            // A thread's name must not hold a NUL, which a configuration file may.
            let name = format!("io-{}", shared.name.replace('\0', ""));
            thread::Builder::new().name(name).spawn(move || work(&shared, &queue))?;
        }
        Ok(Self { shared, jobs, places: Arc::new(Semaphore::new(places)) })
    }

    /// The path it was opened with.
    pub fn path(&self) -> &Path {
        &self.shared.path
    }

    async fn run<T: Send + 'static>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&Shared) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.run_or_undo(operation, false, work, |_| ()).await
    }

    /// Runs `work` on a thread of the volume. If nobody waits for the answer any more, the work is left undone (if `skip`), or
    /// undone (by `undo`) after it succeeded.
    async fn run_or_undo<T: Send + 'static>(
        &self,
        operation: &'static str,
        skip: bool,
        work: impl FnOnce(&Shared) -> Result<T> + Send + 'static,
        undo: impl FnOnce(&Shared) + Send + 'static,
    ) -> Result<T> {
        let config = &self.shared.config;
        let started = Instant::now();
        let deadline = started + config.time_limit;
        let place = timeout_at(deadline.min(started + config.queue_wait), Arc::clone(&self.places).acquire_owned());
        let place = match place.await {
            Ok(Ok(place)) => place,
            Ok(Err(_)) | Err(_) => return Err(self.shared.unavailable(format!("{operation}: its queue is full"))),
        };
        let (answer, mut answered) = oneshot::channel();
        let job = move |shared: &Shared, place: OwnedSemaphorePermit| {
            if !(skip && answer.is_closed()) {
                let outcome = work(shared);
                // Before the answer, so that who has it finds the place free.
                drop(place);
                if let Err(Ok(_)) = answer.send(outcome) {
                    undo(shared);
                }
            }
        };
        let lost = || self.shared.unavailable(format!("{operation}: the operation was lost"));
        self.jobs.send(Box::new(move |shared| job(shared, place))).map_err(|_| lost())?;
        match timeout_at(deadline, &mut answered).await {
            Ok(outcome) => outcome.map_err(|_| lost())?,
            Err(_) => {
                // From here on an answer cannot be sent any more; one that was just being sent counts.
                answered.close();
                let slow = || self.shared.unavailable(format!("{operation}: no answer in {:?}", config.time_limit));
                answered.try_recv().unwrap_or_else(|_| Err(slow()))
            }
        }
    }
}

/// Held while a probe runs.
struct Probing<'a>(&'a AtomicBool);

impl Drop for Probing<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// What each of a volume's threads does.
fn work(shared: &Shared, queue: &Receiver<Job>) {
    for job in queue {
        // The caller sees that its answer was dropped; the thread is still needed.
        if catch_unwind(AssertUnwindSafe(|| job(shared))).is_err() {
            tracing::error!(volume = %shared.name, "an I/O operation panicked");
        }
    }
}

impl Shared {
    fn directory(&self) -> Result<Arc<Directory>> {
        let directory = self.directory.read().unwrap_or_else(PoisonError::into_inner).clone();
        directory.map_err(|reason| self.unavailable(reason))
    }

    fn unavailable(&self, reason: String) -> VolumeError {
        VolumeError::Unavailable { volume: Arc::clone(&self.name), reason }
    }

    /// Replaces the directory; the old one is closed when the operations that run on it have ended.
    fn set_directory(&self, directory: Result<Arc<Directory>, String>) {
        let old = std::mem::replace(&mut *self.directory.write().unwrap_or_else(PoisonError::into_inner), directory);
        drop(old);
    }

    fn probe(&self) -> Result<()> {
        // Probes of a disk that hangs must not take all its threads.
        if self.probing.swap(true, Ordering::Acquire) {
            return Err(self.unavailable("an earlier probe is still waiting for it".into()));
        }
        let _probing = Probing(&self.probing);
        self.look()
    }

    fn look(&self) -> Result<()> {
        let path = self.path.display();
        match self.find() {
            Ok(root) => self.settle(root).map_err(|error| self.unavailable(format!("{path}: {error}"))),
            Err(error) => {
                let reason = format!("{path}: {error}");
                // Short of descriptors or of memory, say, nothing has been learnt of the directory.
                if !matches!(error, IdentityError::Io(_)) {
                    self.set_directory(Err(reason.clone()));
                }
                Err(self.unavailable(reason))
            }
        }
    }

    /// Opens what is at the path, if it is this volume.
    fn find(&self) -> Result<OwnedFd, IdentityError> {
        let root = match identity::open_directory(rustix::fs::CWD, &self.path) {
            Ok(root) => root,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Err(IdentityError::Missing),
            Err(errno) => return Err(IdentityError::Io(errno.into())),
        };
        self.identity.check(root.as_fd())?;
        Ok(root)
    }

    /// Goes on with the directory at the path: with the handle there is if it is of the same one, else with the new handle.
    fn settle(&self, root: OwnedFd) -> io::Result<()> {
        if let Ok(directory) = self.directory()
            && directory.is(root.as_fd())?
        {
            return directory.tend();
        }
        let IoConfig { open_files, open_for, .. } = self.config;
        // Another directory than the one held: what is held is not at the path any more, whatever comes next.
        self.set_directory(Err("it is being opened again".into()));
        let opened = Directory::new(Arc::clone(&self.name), root, open_files, open_for)
            .and_then(|directory| directory.trial().map(|()| directory));
        match opened {
            Ok(directory) => {
                self.set_directory(Ok(Arc::new(directory)));
                Ok(())
            }
            Err(error) => {
                self.set_directory(Err(error.to_string()));
                Err(error)
            }
        }
    }
}

#[async_trait]
impl Volume for LocalVolume {
    fn slot(&self) -> VolumeSlot {
        self.shared.identity.slot
    }

    fn name(&self) -> &Arc<str> {
        &self.shared.name
    }

    async fn create(&self, shard: ShardName, header: Bytes) -> Result<()> {
        let work = move |shared: &Shared| shared.directory()?.create(shard, &header);
        // A file that nobody knows was created is one that nobody removes.
        let undo = move |shared: &Shared| {
            let removed = shared.directory().and_then(|directory| directory.remove(shard));
            if let Err(error) = removed {
                tracing::warn!(%shard, %error, "a file whose creator had gone could not be removed");
            }
        };
        self.run_or_undo("create", true, work, undo).await
    }

    async fn write(&self, shard: ShardName, position: u64, pieces: Vec<Bytes>) -> Result<()> {
        let work = move |shared: &Shared| shared.directory()?.write(shard, position, &pieces);
        self.run_or_undo("write", true, work, |_| ()).await
    }

    async fn write_through(&self, shard: ShardName, position: u64, pieces: Vec<Bytes>) -> Result<()> {
        let work = move |shared: &Shared| shared.directory()?.write_through(shard, position, &pieces);
        self.run_or_undo("write", true, work, |_| ()).await
    }

    async fn sync(&self, shard: ShardName) -> Result<()> {
        self.run("sync", move |shared| shared.directory()?.sync(shard)).await
    }

    async fn close(&self, shard: ShardName) -> Result<()> {
        let close = move |shared: &Shared| {
            shared.directory()?.close(shard);
            Ok(())
        };
        self.run("close", close).await
    }

    async fn read(&self, shard: ShardName, position: u64, len: usize) -> Result<Bytes> {
        let work = move |shared: &Shared| shared.directory()?.read(shard, position, len);
        self.run_or_undo("read", true, work, |_| ()).await
    }

    async fn remove(&self, shard: ShardName) -> Result<()> {
        self.run("remove", move |shared| shared.directory()?.remove(shard)).await
    }

    async fn quarantine(&self, shard: ShardName) -> Result<()> {
        self.run("quarantine", move |shared| shared.directory()?.quarantine(shard)).await
    }

    async fn list(&self, fan_out: u8) -> Result<Vec<ShardName>> {
        self.run_or_undo("list", true, move |shared| shared.directory()?.list(fan_out), |_| ()).await
    }

    async fn present(&self, shards: Vec<ShardName>) -> Result<Vec<(ShardName, u64)>> {
        self.run_or_undo("look", true, move |shared| shared.directory()?.present(&shards), |_| ()).await
    }

    async fn quarantined(&self, limit: usize) -> Result<Vec<Quarantined>> {
        self.run_or_undo("list", true, move |shared| shared.directory()?.quarantined(limit), |_| ()).await
    }

    async fn purge(&self, before: Millis, limit: usize) -> Result<usize> {
        self.run("purge", move |shared| shared.directory()?.purge(before, limit)).await
    }

    async fn put_document(&self, name: &str, content: Bytes) -> Result<()> {
        let name = name.to_owned();
        self.run("write", move |shared| shared.directory()?.put_document(&name, &content)).await
    }

    async fn documents(&self) -> Result<Vec<String>> {
        self.run_or_undo("list", true, move |shared| shared.directory()?.documents(), |_| ()).await
    }

    async fn document(&self, name: &str) -> Result<Option<Bytes>> {
        let name = name.to_owned();
        self.run_or_undo("read", true, move |shared| shared.directory()?.document(&name), |_| ()).await
    }

    async fn remove_document(&self, name: &str) -> Result<()> {
        let name = name.to_owned();
        self.run("remove", move |shared| shared.directory()?.remove_document(&name)).await
    }

    async fn usage(&self) -> Result<Usage> {
        let work = |shared: &Shared| shared.directory()?.usage(shared.config.capacity);
        self.run_or_undo("usage", true, work, |_| ()).await
    }

    async fn probe(&self) -> Result<()> {
        self.run_or_undo("probe", true, Shared::probe, |_| ()).await
    }
}

impl fmt::Debug for LocalVolume {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LocalVolume({} at {})", self.shared.name, self.shared.path.display())
    }
}

#[cfg(test)]
mod tests;
