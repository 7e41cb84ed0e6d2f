//! The file operations of a volume, all through one handle on its directory. Everything here blocks.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, IoSlice, Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use super::identity::{QUARANTINE_DIRECTORY, SHARDS_DIRECTORY, SNAPSHOTS_DIRECTORY, fan_out_path, open_directory};
use super::{Quarantined, Result, Usage, VolumeError};
use crate::clock::Millis;
use crate::layout::ShardName;

/// Pieces given to one `pwritev`; the system takes at most 1,024.
const PIECES: usize = 256;
/// A file that was created and then neither written nor synced for this long has lost its writer.
const WRITER_IDLE: Duration = Duration::from_secs(3600);
/// Fan-out directories that one call of [`Directory::usage`] measures.
const MEASURED_AT_A_TIME: usize = 4;
/// A document is smaller; what is larger under such a name is not read to its end.
const DOCUMENT_MAX: u64 = 64 << 20;
/// Behind the name of a document that is being written.
const TEMPORARY: &str = ".new";

/// An open volume directory whose `volume.json` has been checked.
#[derive(Debug)]
pub(super) struct Directory {
    volume: Arc<str>,
    root: OwnedFd,
    device: u64,
    inode: u64,
    writers: Mutex<HashMap<ShardName, Writer>>,
    readers: Mutex<Readers>,
    measured: Measured,
    /// Set by an error of the system, until a trial write went well.
    suspect: AtomicBool,
}

#[derive(Debug)]
struct Writer {
    file: Arc<OwnedFd>,
    used: Instant,
    /// Whether the file's name is on stable storage.
    named: bool,
}

impl Directory {
    /// Takes over the handle of a directory that is known to be the volume; keeps up to `readers` files open for reading,
    /// each for `expiry` at most.
    pub(super) fn new(volume: Arc<str>, root: OwnedFd, readers: usize, expiry: Duration) -> io::Result<Self> {
        let stat = rustix::fs::fstat(&root)?;
        for name in [SHARDS_DIRECTORY, QUARANTINE_DIRECTORY] {
            open_directory(root.as_fd(), name)?;
        }
        Ok(Self {
            volume,
            root,
            device: stat.st_dev,
            inode: stat.st_ino,
            writers: Mutex::default(),
            readers: Mutex::new(Readers { files: HashMap::new(), limit: readers, expiry, uses: 0 }),
            measured: Measured::default(),
            suspect: AtomicBool::new(false),
        })
    }

    /// Whether `other` is the same directory.
    pub(super) fn is(&self, other: BorrowedFd<'_>) -> io::Result<bool> {
        let stat = rustix::fs::fstat(other)?;
        Ok((stat.st_dev, stat.st_ino) == (self.device, self.inode))
    }

    pub(super) fn create(&self, shard: ShardName, header: &Bytes) -> Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let path = path(shard);
        let file = self
            .with_spare_descriptors(|| rustix::fs::openat(&self.root, &path, flags, Mode::from_raw_mode(0o640)))
            .map_err(|errno| self.error(shard, "create", errno))?;
        if let Err(error) = self.write_all(&file, shard, 0, std::slice::from_ref(header)) {
            // What is left of it would be swept away in time; the error that matters is the first.
            let _ = rustix::fs::unlinkat(&self.root, &path, AtFlags::empty());
            return Err(error);
        }
        self.measured.add(shard.chunk.fan_out(), header.len());
        lock(&self.writers).insert(shard, Writer { file: Arc::new(file), used: Instant::now(), named: false });
        Ok(())
    }

    pub(super) fn write(&self, shard: ShardName, position: u64, pieces: &[Bytes]) -> Result<()> {
        let file = match lock(&self.writers).get_mut(&shard) {
            Some(writer) => {
                writer.used = Instant::now();
                Arc::clone(&writer.file)
            }
            None => return Err(self.not_open(shard, "write")),
        };
        self.write_all(&file, shard, position, pieces)?;
        self.measured.add(shard.chunk.fan_out(), pieces.iter().map(Bytes::len).sum());
        Ok(())
    }

    fn write_all(&self, file: &OwnedFd, shard: ShardName, mut position: u64, pieces: &[Bytes]) -> Result<()> {
        for pieces in pieces.chunks(PIECES) {
            let mut slices: Vec<IoSlice<'_>> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
            let mut slices = &mut slices[..];
            // Also drops empty slices at the front, so that only a real refusal writes nothing.
            IoSlice::advance_slices(&mut slices, 0);
            while !slices.is_empty() {
                match rustix::io::pwritev(file, slices, position) {
                    Ok(0) => return Err(self.error(shard, "write", Errno::IO)),
                    Ok(written) => {
                        position += written as u64;
                        IoSlice::advance_slices(&mut slices, written);
                    }
                    Err(Errno::INTR) => {}
                    Err(errno) => return Err(self.error(shard, "write", errno)),
                }
            }
        }
        Ok(())
    }

    pub(super) fn write_through(&self, shard: ShardName, position: u64, pieces: &[Bytes]) -> Result<()> {
        // Out of the map before the attempt, and back only after a success: nobody can try a second time.
        let Some(writer) = lock(&self.writers).remove(&shard) else { return Err(self.not_open(shard, "write")) };
        self.write_all(&writer.file, shard, position, pieces)?;
        self.measured.add(shard.chunk.fan_out(), pieces.iter().map(Bytes::len).sum());
        self.settle(shard, &writer)?;
        lock(&self.writers).insert(shard, Writer { used: Instant::now(), named: true, ..writer });
        Ok(())
    }

    pub(super) fn sync(&self, shard: ShardName) -> Result<()> {
        // Out of the map before the attempt: whatever comes of it, nobody can try a second time.
        let Some(writer) = lock(&self.writers).remove(&shard) else { return Err(self.not_open(shard, "sync")) };
        self.settle(shard, &writer)
    }

    /// Brings a file's bytes, and its name if that is new, to stable storage.
    fn settle(&self, shard: ShardName, writer: &Writer) -> Result<()> {
        rustix::fs::fdatasync(&writer.file).map_err(|errno| self.error(shard, "sync", errno))?;
        if writer.named {
            return Ok(());
        }
        let directory = self
            .with_spare_descriptors(|| open_directory(self.root.as_fd(), fan_out_path(shard.chunk.fan_out())))
            .map_err(|errno| self.error(shard, "sync the directory", errno))?;
        rustix::fs::fsync(directory).map_err(|errno| self.error(shard, "sync the directory", errno))
    }

    pub(super) fn close(&self, shard: ShardName) {
        let closed = lock(&self.writers).remove(&shard);
        drop(closed);
    }

    pub(super) fn read(&self, shard: ShardName, position: u64, len: usize) -> Result<Bytes> {
        let truncated = || VolumeError::Truncated {
            volume: Arc::clone(&self.volume),
            shard,
            end: position.saturating_add(len as u64),
        };
        let file = self.reader(shard)?;
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(len).map_err(|_| self.error(shard, "read", Errno::NOMEM))?;
        while bytes.len() < len {
            let position = position.checked_add(bytes.len() as u64).ok_or_else(truncated)?;
            match rustix::io::pread(&file, rustix::buffer::spare_capacity(&mut bytes), position) {
                Ok(0) => return Err(truncated()),
                Ok(_) | Err(Errno::INTR) => {}
                // Beyond what a file can be.
                Err(Errno::INVAL | Errno::OVERFLOW) if position > i64::MAX as u64 - len as u64 => {
                    return Err(truncated());
                }
                Err(errno) => {
                    lock(&self.readers).files.remove(&shard);
                    return Err(self.error(shard, "read", errno));
                }
            }
        }
        // An allocator may have given more room than was asked for.
        bytes.truncate(len);
        Ok(Bytes::from(bytes))
    }

    fn reader(&self, shard: ShardName) -> Result<Arc<OwnedFd>> {
        if let Some(file) = lock(&self.readers).get(shard) {
            return Ok(file);
        }
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = self
            .with_spare_descriptors(|| rustix::fs::openat(&self.root, path(shard), flags, Mode::empty()))
            .map_err(|errno| self.error(shard, "open", errno))?;
        let file = Arc::new(file);
        let closed = lock(&self.readers).insert(shard, Arc::clone(&file));
        drop(closed);
        Ok(file)
    }

    pub(super) fn remove(&self, shard: ShardName) -> Result<()> {
        self.forget(shard);
        match rustix::fs::unlinkat(&self.root, path(shard), AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(self.error(shard, "remove", errno)),
        }
    }

    pub(super) fn quarantine(&self, shard: ShardName) -> Result<()> {
        self.forget(shard);
        let from = path(shard);
        // Nothing in quarantine is overwritten, not even by a file of the same name.
        for copy in 0..1000 {
            let to = match copy {
                0 => format!("{QUARANTINE_DIRECTORY}/{shard}"),
                copy => format!("{QUARANTINE_DIRECTORY}/{shard}.{copy}"),
            };
            match rustix::fs::renameat_with(&self.root, &from, &self.root, &to, RenameFlags::NOREPLACE) {
                Ok(()) => return Ok(()),
                Err(Errno::EXIST) => {}
                // File systems that cannot do it in one step: other instances do not quarantine the same file.
                Err(Errno::INVAL | Errno::NOSYS) => {
                    match rustix::fs::statat(&self.root, &to, AtFlags::SYMLINK_NOFOLLOW) {
                        Ok(_) => {}
                        Err(Errno::NOENT) => {
                            return rustix::fs::renameat(&self.root, &from, &self.root, &to)
                                .map_err(|errno| self.error(shard, "quarantine", errno));
                        }
                        Err(errno) => return Err(self.error(shard, "quarantine", errno)),
                    }
                }
                Err(errno) => return Err(self.error(shard, "quarantine", errno)),
            }
        }
        Err(self.error(shard, "quarantine", Errno::EXIST))
    }

    pub(super) fn present(&self, shards: &[ShardName]) -> Result<Vec<(ShardName, u64)>> {
        let mut found = Vec::new();
        for &shard in shards {
            match rustix::fs::statat(&self.root, path(shard), AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => {
                    self.keep_reader_of(shard, Some(stat.st_ino));
                    found.push((shard, u64::try_from(stat.st_size).unwrap_or(0)));
                }
                Err(Errno::NOENT) => self.keep_reader_of(shard, None),
                Err(errno) => return Err(self.error(shard, "look for", errno)),
            }
        }
        Ok(found)
    }

    /// Closes the file that is open for reading under this name, unless it is the one that the directory has.
    fn keep_reader_of(&self, shard: ShardName, inode: Option<u64>) {
        let Some(file) = lock(&self.readers).get(shard) else { return };
        let open = rustix::fs::fstat(&file).ok().map(|stat| stat.st_ino);
        if open.is_none() || open != inode {
            let reader = lock(&self.readers).files.remove(&shard);
            drop(reader);
        }
    }

    pub(super) fn quarantined(&self, limit: usize) -> Result<Vec<Quarantined>> {
        let mut files = Vec::new();
        self.each_quarantined(|file| {
            files.push(file);
            files.len() < limit
        })?;
        files.truncate(limit);
        Ok(files)
    }

    pub(super) fn purge(&self, before: Millis, limit: usize) -> Result<usize> {
        let mut old = Vec::new();
        self.each_quarantined(|file| {
            if file.since < before {
                old.push(file.file);
            }
            old.len() < limit
        })?;
        old.truncate(limit);
        for file in &old {
            match rustix::fs::unlinkat(&self.root, format!("{QUARANTINE_DIRECTORY}/{file}"), AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(errno) => return Err(self.refused(format_args!("purge {file}"), errno)),
            }
        }
        Ok(old.len())
    }

    /// Calls `visit` for each file in quarantine until it answers that it has enough.
    fn each_quarantined(&self, mut visit: impl FnMut(Quarantined) -> bool) -> Result<()> {
        let mut visit_all = || -> Result<(), Errno> {
            let directory = self.with_spare_descriptors(|| open_directory(self.root.as_fd(), QUARANTINE_DIRECTORY))?;
            for entry in Dir::read_from(&directory)? {
                let entry = entry?;
                let Ok(file) = entry.file_name().to_str() else { continue };
                if !is_quarantined_name(file) {
                    continue;
                }
                let stat = match rustix::fs::statat(&directory, file, AtFlags::SYMLINK_NOFOLLOW) {
                    Ok(stat) => stat,
                    Err(Errno::NOENT) => continue,
                    Err(errno) => return Err(errno),
                };
                // The change of its name is the last that happened to it.
                let since = stat.st_ctime.saturating_mul(1000).saturating_add(stat.st_ctime_nsec as i64 / 1_000_000);
                let len = u64::try_from(stat.st_size).unwrap_or(0);
                if !visit(Quarantined { file: file.to_owned(), since, len }) {
                    break;
                }
            }
            Ok(())
        };
        visit_all().map_err(|errno| self.refused(format_args!("list {QUARANTINE_DIRECTORY}"), errno))
    }

    pub(super) fn list(&self, fan_out: u8) -> Result<Vec<ShardName>> {
        let mut shards = Vec::new();
        self.each_file(fan_out, |_, shard| {
            shards.push(shard);
            Ok(())
        })
        .map_err(|errno| self.refused(format_args!("list {}", fan_out_path(fan_out)), errno))?;
        Ok(shards)
    }

    /// Calls `visit` with the directory and the name of each shard file that belongs in it.
    fn each_file(
        &self,
        fan_out: u8,
        mut visit: impl FnMut(BorrowedFd<'_>, ShardName) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        let directory = self.with_spare_descriptors(|| open_directory(self.root.as_fd(), fan_out_path(fan_out)))?;
        for entry in Dir::read_from(&directory)? {
            let entry = entry?;
            if !matches!(entry.file_type(), FileType::RegularFile | FileType::Unknown) {
                continue;
            }
            let shard = entry.file_name().to_str().ok().and_then(|name| name.parse::<ShardName>().ok());
            if let Some(shard) = shard.filter(|shard| shard.chunk.fan_out() == fan_out) {
                visit(directory.as_fd(), shard)?;
            }
        }
        Ok(())
    }

    pub(super) fn put_document(&self, name: &str, content: &Bytes) -> Result<()> {
        let put = || -> io::Result<()> {
            check_document_name(name)?;
            match rustix::fs::mkdirat(&self.root, SNAPSHOTS_DIRECTORY, Mode::from_raw_mode(0o750)) {
                Ok(()) => rustix::fs::fsync(&self.root)?,
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno.into()),
            }
            let directory = self.with_spare_descriptors(|| open_directory(self.root.as_fd(), SNAPSHOTS_DIRECTORY))?;
            let temporary = format!("{name}{TEMPORARY}");
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC | OFlags::NOFOLLOW;
            let mode = Mode::from_raw_mode(0o640);
            let file = self.with_spare_descriptors(|| rustix::fs::openat(&directory, &temporary, flags, mode))?;
            let mut file = File::from(file);
            file.write_all(content)?;
            file.sync_all()?;
            rustix::fs::renameat(&directory, &temporary, &directory, name)?;
            Ok(rustix::fs::fsync(&directory)?)
        };
        put().map_err(|error| self.document_refused("write", name, &error))
    }

    pub(super) fn documents(&self) -> Result<Vec<String>> {
        let list = || -> Result<Vec<String>, Errno> {
            let directory = match self.with_spare_descriptors(|| open_directory(self.root.as_fd(), SNAPSHOTS_DIRECTORY))
            {
                Ok(directory) => directory,
                // It is made with the first document.
                Err(Errno::NOENT) => return Ok(Vec::new()),
                Err(errno) => return Err(errno),
            };
            let mut names = Vec::new();
            for entry in Dir::read_from(&directory)? {
                let entry = entry?;
                if let Ok(name) = entry.file_name().to_str()
                    && check_document_name(name).is_ok()
                    && !name.ends_with(TEMPORARY)
                {
                    names.push(name.to_owned());
                }
            }
            Ok(names)
        };
        list().map_err(|errno| self.refused(format_args!("list {SNAPSHOTS_DIRECTORY}"), errno))
    }

    pub(super) fn document(&self, name: &str) -> Result<Option<Bytes>> {
        let read = || -> io::Result<Option<Bytes>> {
            check_document_name(name)?;
            let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
            let path = format!("{SNAPSHOTS_DIRECTORY}/{name}");
            let file = match self.with_spare_descriptors(|| rustix::fs::openat(&self.root, &path, flags, Mode::empty()))
            {
                Ok(file) => File::from(file),
                Err(Errno::NOENT) => return Ok(None),
                Err(errno) => return Err(errno.into()),
            };
            let mut content = Vec::new();
            file.take(DOCUMENT_MAX).read_to_end(&mut content)?;
            Ok(Some(content.into()))
        };
        read().map_err(|error| self.document_refused("read", name, &error))
    }

    pub(super) fn remove_document(&self, name: &str) -> Result<()> {
        let remove = || -> io::Result<()> {
            check_document_name(name)?;
            match rustix::fs::unlinkat(&self.root, format!("{SNAPSHOTS_DIRECTORY}/{name}"), AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => Ok(()),
                Err(errno) => Err(errno.into()),
            }
        };
        remove().map_err(|error| self.document_refused("remove", name, &error))
    }

    fn document_refused(&self, operation: &str, name: &str, error: &io::Error) -> VolumeError {
        let volume = Arc::clone(&self.volume);
        if error.kind() == io::ErrorKind::StorageFull || error.kind() == io::ErrorKind::QuotaExceeded {
            return VolumeError::Full { volume };
        }
        self.suspect.store(true, Ordering::Relaxed);
        VolumeError::Unavailable { volume, reason: format!("{operation} {SNAPSHOTS_DIRECTORY}/{name}: {error}") }
    }

    /// Space by the file system; with a configured capacity, by the sizes of the volume's own files, of which each call
    /// measures a few directories and takes the rest from earlier calls, or by estimate.
    pub(super) fn usage(&self, configured: Option<u64>) -> Result<Usage> {
        let space = rustix::fs::fstatvfs(&self.root).map_err(|errno| self.refused(format_args!("statvfs"), errno))?;
        let total = space.f_blocks.saturating_mul(space.f_frsize);
        let inodes_gone = space.f_files > 0 && space.f_favail == 0;
        let available = if inodes_gone { 0 } else { space.f_bavail.saturating_mul(space.f_frsize) };
        let Some(configured) = configured else {
            return Ok(Usage { capacity: total, used: total.saturating_sub(available) });
        };
        for _ in 0..MEASURED_AT_A_TIME {
            let fan_out = self.measured.next();
            let mut bytes = 0;
            self.each_file(fan_out, |directory, shard| {
                match rustix::fs::statat(directory, shard.to_string(), AtFlags::SYMLINK_NOFOLLOW) {
                    Ok(stat) => bytes += u64::try_from(stat.st_size).unwrap_or(0),
                    Err(Errno::NOENT) => {}
                    Err(errno) => return Err(errno),
                }
                Ok(())
            })
            .map_err(|errno| self.refused(format_args!("measure {}", fan_out_path(fan_out)), errno))?;
            self.measured.set(fan_out, bytes);
        }
        let used = self.measured.estimate();
        Ok(Usage { capacity: configured.min(used.saturating_add(available)), used })
    }

    /// Closes what has been open for too long; after an error of the system, tries whether the volume takes writes again.
    pub(super) fn tend(&self) -> io::Result<()> {
        let closed: Vec<_> = lock(&self.writers).extract_if(|_, writer| writer.used.elapsed() > WRITER_IDLE).collect();
        drop(closed);
        let closed = lock(&self.readers).expire();
        drop(closed);
        if self.suspect.load(Ordering::Relaxed) {
            self.trial()?;
            self.suspect.store(false, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Writes and syncs a file that never gets a name.
    pub(super) fn trial(&self) -> io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::TMPFILE | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(&self.root, ".", flags, Mode::from_raw_mode(0o600)) {
            Ok(file) => file,
            // No nameless files here; a full volume is not a broken one.
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL | Errno::NOSPC | Errno::DQUOT) => return Ok(()),
            Err(errno) => return Err(errno.into()),
        };
        let outcome = rustix::io::pwrite(&file, &[0x9f; 4096], 0).and_then(|_| rustix::fs::fdatasync(&file));
        match outcome {
            Ok(()) | Err(Errno::NOSPC | Errno::DQUOT) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Runs `open`; where the process has no descriptor left, gives up the cached ones and runs it again.
    fn with_spare_descriptors<T>(&self, open: impl Fn() -> Result<T, Errno>) -> Result<T, Errno> {
        match open() {
            Err(Errno::MFILE | Errno::NFILE) => {
                let closed = std::mem::take(&mut lock(&self.readers).files);
                drop(closed);
                open()
            }
            outcome => outcome,
        }
    }

    fn forget(&self, shard: ShardName) {
        let writer = lock(&self.writers).remove(&shard);
        let reader = lock(&self.readers).files.remove(&shard);
        // Closed here, outside the locks.
        drop((writer, reader));
    }

    fn error(&self, shard: ShardName, operation: &'static str, errno: Errno) -> VolumeError {
        let volume = Arc::clone(&self.volume);
        match errno {
            Errno::NOSPC | Errno::DQUOT => VolumeError::Full { volume },
            Errno::EXIST if operation == "create" => VolumeError::Exists { volume, shard },
            Errno::NOENT if matches!(operation, "open" | "quarantine") => VolumeError::Absent { volume, shard },
            errno => {
                self.suspect.store(true, Ordering::Relaxed);
                VolumeError::Io { volume, shard, operation, source: Arc::new(errno.into()) }
            }
        }
    }

    fn refused(&self, what: std::fmt::Arguments<'_>, errno: Errno) -> VolumeError {
        self.suspect.store(true, Ordering::Relaxed);
        VolumeError::Unavailable { volume: Arc::clone(&self.volume), reason: format!("{what}: {errno}") }
    }

    fn not_open(&self, shard: ShardName, operation: &'static str) -> VolumeError {
        let source = io::Error::new(
            io::ErrorKind::InvalidInput,
            "the file is not open for writing: it was not created through this handle, or is synced or removed",
        );
        VolumeError::Io { volume: Arc::clone(&self.volume), shard, operation, source: Arc::new(source) }
    }
}

/// Refuses names that are not those of a file in this directory.
fn check_document_name(name: &str) -> io::Result<()> {
    let legible = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    if name.is_empty() || name.len() > 200 || name.starts_with('.') || !name.bytes().all(legible) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no name of a document"));
    }
    Ok(())
}

/// Whether [`Directory::quarantine`] gives such names: a shard's, or one with a number behind it.
fn is_quarantined_name(file: &str) -> bool {
    file.parse::<ShardName>().is_ok()
        || file.rsplit_once('.').is_some_and(|(shard, copy)| {
            shard.parse::<ShardName>().is_ok() && copy.bytes().all(|digit| digit.is_ascii_digit())
        })
}

/// The file of a shard, relative to the volume.
fn path(shard: ShardName) -> String {
    format!("{SHARDS_DIRECTORY}/{:02x}/{shard}", shard.chunk.fan_out())
}

/// A lock whose holder panicked is as good as any: each change under it is a single step.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Files open for reading, the least recently used given up first.
#[derive(Debug)]
struct Readers {
    files: HashMap<ShardName, Reader>,
    limit: usize,
    expiry: Duration,
    uses: u64,
}

#[derive(Debug)]
struct Reader {
    file: Arc<OwnedFd>,
    opened: Instant,
    used: u64,
}

impl Readers {
    fn get(&mut self, shard: ShardName) -> Option<Arc<OwnedFd>> {
        let reader = self.files.get_mut(&shard)?;
        if reader.opened.elapsed() >= self.expiry {
            self.files.remove(&shard);
            return None;
        }
        self.uses += 1;
        reader.used = self.uses;
        Some(Arc::clone(&reader.file))
    }

    /// Answers what is to be closed, outside the lock.
    fn insert(&mut self, shard: ShardName, file: Arc<OwnedFd>) -> Vec<Reader> {
        if self.limit == 0 {
            return Vec::new();
        }
        let mut closed = Vec::new();
        if self.files.len() >= self.limit {
            closed = self.expire();
        }
        if self.files.len() >= self.limit {
            // A quarter at a time, so that a scan of the map is paid for by many insertions.
            let mut used: Vec<u64> = self.files.values().map(|reader| reader.used).collect();
            let (_, &mut last, _) = used.select_nth_unstable(self.limit / 4);
            closed.extend(self.files.extract_if(|_, reader| reader.used <= last).map(|(_, reader)| reader));
        }
        self.uses += 1;
        closed.extend(self.files.insert(shard, Reader { file, opened: Instant::now(), used: self.uses }));
        closed
    }

    fn expire(&mut self) -> Vec<Reader> {
        let expiry = self.expiry;
        self.files.extract_if(|_, reader| reader.opened.elapsed() >= expiry).map(|(_, reader)| reader).collect()
    }
}

/// What the volume's own files hold, by fan-out directory. All directories get about the same number of files.
#[derive(Debug)]
struct Measured {
    bytes: [AtomicU64; 256],
    next: AtomicU64,
}

impl Default for Measured {
    fn default() -> Self {
        Self { bytes: std::array::from_fn(|_| AtomicU64::new(Self::UNKNOWN)), next: AtomicU64::new(0) }
    }
}

impl Measured {
    const UNKNOWN: u64 = u64::MAX;

    fn next(&self) -> u8 {
        self.next.fetch_add(1, Ordering::Relaxed) as u8
    }

    fn set(&self, fan_out: u8, bytes: u64) {
        self.bytes[usize::from(fan_out)].store(bytes, Ordering::Relaxed);
    }

    /// Counts what was just written, until the directory is measured again.
    fn add(&self, fan_out: u8, written: usize) {
        let bytes = &self.bytes[usize::from(fan_out)];
        let known = bytes.load(Ordering::Relaxed);
        if known != Self::UNKNOWN {
            bytes.fetch_add(written as u64, Ordering::Relaxed);
        }
    }

    fn estimate(&self) -> u64 {
        let known = self.bytes.iter().map(|bytes| bytes.load(Ordering::Relaxed)).filter(|&b| b != Self::UNKNOWN);
        let (count, sum) = known.fold((0u64, 0u64), |(count, sum), bytes| (count + 1, sum.saturating_add(bytes)));
        (u128::from(sum) * 256).checked_div(u128::from(count)).map_or(0, |all| u64::try_from(all).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::layout::{ChunkId, VolumeSlot};
    use crate::volumes::{Identity, LocalVolume};

    #[test]
    fn without_space_a_volume_is_full_and_otherwise_suspect() {
        let temporary = tempfile::tempdir().unwrap();
        let identity = Identity { deployment: "d".into(), volume: "v".into(), slot: VolumeSlot(1), epoch: 0 };
        LocalVolume::format(temporary.path(), &identity).unwrap();
        let root = open_directory(rustix::fs::CWD, temporary.path()).unwrap();
        let directory = Directory::new("v".into(), root, 1, Duration::ZERO).unwrap();
        let shard = ShardName { chunk: ChunkId { seq: 1, nonce: 2 }, shard: 0, generation: 0 };
        for errno in [Errno::NOSPC, Errno::DQUOT] {
            assert!(matches!(directory.error(shard, "write", errno), VolumeError::Full { .. }));
        }
        assert!(!directory.suspect.load(Ordering::Relaxed));
        assert!(matches!(directory.error(shard, "write", Errno::IO), VolumeError::Io { .. }));
        assert!(directory.suspect.load(Ordering::Relaxed));
    }
}
