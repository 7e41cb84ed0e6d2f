//! `volume.json`: what a directory must hold to be taken for a volume, and the making of a new one.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::layout::VolumeSlot;

/// The file that makes a directory a volume.
pub(super) const IDENTITY_FILE: &str = "volume.json";
/// Under which it is written before it gets its name.
const IDENTITY_TEMPORARY: &str = "volume.json.new";
/// Where shard files are, in 256 directories `00` to `ff`.
pub(super) const SHARDS_DIRECTORY: &str = "shards";
/// Where files go that nobody may read any more.
pub(super) const QUARANTINE_DIRECTORY: &str = "quarantine";
/// Where small files about the whole deployment are; made with the first of them.
pub(super) const SNAPSHOTS_DIRECTORY: &str = "snapshots";
/// The only layout of a volume there is.
const FORMAT: u32 = 1;
/// `volume.json` is about 150 bytes; a file of another kind under its name is not read to its end.
const IDENTITY_MAX: u64 = 64 << 10;

/// Which volume of which deployment a directory is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The deployment's id.
    pub deployment: String,
    /// The name its operator gave the volume, unique in the deployment.
    pub volume: String,
    /// Its number in SQL.
    pub slot: VolumeSlot,
    /// How often its disk was replaced by an empty one: a disk that was taken out is the volume no more.
    pub epoch: u32,
}

/// The text of `volume.json`.
#[derive(Serialize, Deserialize)]
struct IdentityText {
    format: u32,
    deployment: String,
    volume: String,
    slot: u16,
    /// Not there as long as the disk is the first.
    #[serde(default, skip_serializing_if = "is_zero")]
    epoch: u32,
}

fn is_zero(epoch: &u32) -> bool {
    *epoch == 0
}

/// Why a directory is not the volume it should be.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// There is no directory, or it holds no `volume.json`.
    #[error("there is no {IDENTITY_FILE}")]
    Missing,
    /// `volume.json` is not what this program writes.
    #[error("{IDENTITY_FILE} is damaged: {0}")]
    Damaged(String),
    /// A newer program wrote it.
    #[error("{IDENTITY_FILE} has format {0}, this program knows {FORMAT}")]
    UnknownFormat(u32),
    /// It is another volume.
    #[error("it is volume {:?}, slot {}, disk {}, of deployment {:?}", .0.volume, .0.slot, .0.epoch, .0.deployment)]
    Foreign(Identity),
    /// The operating system refused.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// Why a directory was not made a volume.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// It holds something already: formatting never overwrites.
    #[error("{path} is not empty (it holds {entry:?}): a volume is only made in an absent or empty directory")]
    NotEmpty {
        /// The directory.
        path: PathBuf,
        /// Something that is in it.
        entry: String,
    },
    /// The operating system refused.
    #[error("{path}: {operation}: {source}")]
    Io {
        /// The directory.
        path: PathBuf,
        /// What was tried.
        operation: &'static str,
        /// The system's error.
        source: io::Error,
    },
}

impl Identity {
    /// Reads the identity of the directory behind `directory`.
    ///
    /// # Errors
    /// [`IdentityError`], but never `Foreign`.
    pub(super) fn read(directory: BorrowedFd<'_>) -> Result<Self, IdentityError> {
        // NONBLOCK: a FIFO of that name is no identity, and nothing to wait for.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let file = match rustix::fs::openat(directory, IDENTITY_FILE, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(Errno::NOENT) => return Err(IdentityError::Missing),
            Err(errno) => return Err(IdentityError::Io(errno.into())),
        };
        let mut text = String::new();
        file.take(IDENTITY_MAX).read_to_string(&mut text)?;
        let text: IdentityText =
            serde_json::from_str(&text).map_err(|error| IdentityError::Damaged(error.to_string()))?;
        if text.format != FORMAT {
            return Err(IdentityError::UnknownFormat(text.format));
        }
        Ok(Self { deployment: text.deployment, volume: text.volume, slot: VolumeSlot(text.slot), epoch: text.epoch })
    }

    /// Reads the identity of the directory and compares it with this one.
    ///
    /// # Errors
    /// [`IdentityError`].
    pub(super) fn check(&self, directory: BorrowedFd<'_>) -> Result<(), IdentityError> {
        let found = Self::read(directory)?;
        if found == *self { Ok(()) } else { Err(IdentityError::Foreign(found)) }
    }
}

/// Makes the directory at `path`, which is absent or empty, the volume `identity`. Blocks.
///
/// `volume.json` comes last, after all else is on stable storage: a directory that has it is whole. Where an earlier call was
/// interrupted, what it left (empty directories) counts as empty.
///
/// # Errors
/// [`FormatError::NotEmpty`] if there is anything in the directory, which then is unchanged.
pub(super) fn format(path: &Path, identity: &Identity) -> Result<(), FormatError> {
    let failed = |operation| move |errno: Errno| FormatError::Io { path: path.into(), operation, source: errno.into() };
    std::fs::create_dir_all(path).map_err(|source| FormatError::Io {
        path: path.into(),
        operation: "create",
        source,
    })?;
    let root = open_directory(rustix::fs::CWD, path).map_err(failed("open"))?;
    if let Some(entry) = content(root.as_fd()).map_err(failed("list"))? {
        return Err(FormatError::NotEmpty { path: path.into(), entry });
    }

    let make = |name: &str| match rustix::fs::mkdirat(&root, name, Mode::from_raw_mode(0o750)) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(errno) => Err(errno),
    };
    make(SHARDS_DIRECTORY).and_then(|()| make(QUARANTINE_DIRECTORY)).map_err(failed("create directories"))?;
    for fan_out in 0..=255 {
        make(&fan_out_path(fan_out)).map_err(failed("create directories"))?;
    }
    let shards = open_directory(root.as_fd(), SHARDS_DIRECTORY).map_err(failed("open shards"))?;
    rustix::fs::fsync(&shards).map_err(failed("sync shards"))?;

    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let write = || -> io::Result<()> {
        let text = IdentityText {
            format: FORMAT,
            deployment: identity.deployment.clone(),
            volume: identity.volume.clone(),
            slot: identity.slot.0,
            epoch: identity.epoch,
        };
        let mut file = File::from(rustix::fs::openat(&root, IDENTITY_TEMPORARY, flags, Mode::from_raw_mode(0o640))?);
        serde_json::to_writer_pretty(&mut file, &text)?;
        io::Write::write_all(&mut file, b"\n")?;
        file.sync_all()?;
        rustix::fs::renameat(&root, IDENTITY_TEMPORARY, &root, IDENTITY_FILE)?;
        rustix::fs::fsync(&root)?;
        Ok(())
    };
    write().map_err(|source| FormatError::Io { path: path.into(), operation: "write volume.json", source })?;
    // The directory's own name: its parent may be new as well, but that is for who made it to know.
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let parent = open_directory(rustix::fs::CWD, parent).map_err(failed("open the parent directory"))?;
    rustix::fs::fsync(&parent).map_err(failed("sync the parent directory"))
}

/// The directory of shard files whose chunk's fan-out is this, relative to the volume.
pub(super) fn fan_out_path(fan_out: u8) -> String {
    format!("{SHARDS_DIRECTORY}/{fan_out:02x}")
}

/// Opens a directory, following links in `path`: a volume may be a link to where its disk is mounted.
pub(super) fn open_directory(at: BorrowedFd<'_>, path: impl rustix::path::Arg) -> Result<OwnedFd, Errno> {
    rustix::fs::openat(at, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// Something in the directory that neither an empty file system nor an interrupted format left there.
fn content(root: BorrowedFd<'_>) -> Result<Option<String>, Errno> {
    for entry in entries(root, ".")? {
        let allowed = match entry.as_str() {
            "lost+found" | IDENTITY_TEMPORARY => true,
            QUARANTINE_DIRECTORY => is_directory(root, &entry)? && entries(root, &entry)?.is_empty(),
            SHARDS_DIRECTORY => is_directory(root, &entry)? && only_empty_directories(root)?,
            _ => false,
        };
        if !allowed {
            return Ok(Some(entry));
        }
    }
    Ok(None)
}

fn only_empty_directories(root: BorrowedFd<'_>) -> Result<bool, Errno> {
    for name in entries(root, SHARDS_DIRECTORY)? {
        let path = format!("{SHARDS_DIRECTORY}/{name}");
        if !is_directory(root, &path)? || !entries(root, &path)?.is_empty() {
            return Ok(false);
        }
    }
    Ok(true)
}

fn is_directory(root: BorrowedFd<'_>, path: &str) -> Result<bool, Errno> {
    let stat = rustix::fs::statat(root, path, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
}

fn entries(root: BorrowedFd<'_>, path: &str) -> Result<Vec<String>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::new(open_directory(root, path)?)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name != "." && name != ".." {
            names.push(name);
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    fn identity() -> Identity {
        Identity { deployment: "d-1".into(), volume: "v1".into(), slot: VolumeSlot(3), epoch: 0 }
    }

    fn check(path: &Path) -> Result<(), IdentityError> {
        identity().check(open_directory(rustix::fs::CWD, path).unwrap().as_fd())
    }

    #[test]
    fn a_formatted_directory_is_the_volume_and_is_never_formatted_again() {
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path().join("a/b");
        format(&path, &identity()).unwrap();
        check(&path).unwrap();
        assert_eq!(std::fs::read_dir(path.join(SHARDS_DIRECTORY)).unwrap().count(), 256);
        let text = std::fs::read_to_string(path.join(IDENTITY_FILE)).unwrap();
        let other = Identity { slot: VolumeSlot(4), ..identity() };
        assert!(matches!(format(&path, &other), Err(FormatError::NotEmpty { .. })));
        assert_eq!(std::fs::read_to_string(path.join(IDENTITY_FILE)).unwrap(), text);
    }

    #[test]
    fn only_what_an_interrupted_format_left_counts_as_empty() {
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path();
        std::fs::create_dir_all(path.join("shards/07")).unwrap();
        std::fs::create_dir(path.join("lost+found")).unwrap();
        std::fs::write(path.join(IDENTITY_TEMPORARY), "{").unwrap();
        format(path, &identity()).unwrap();
        check(path).unwrap();

        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path();
        std::fs::create_dir_all(path.join("shards/07")).unwrap();
        std::fs::write(path.join("shards/07/somebody's"), "data").unwrap();
        assert!(matches!(format(path, &identity()), Err(FormatError::NotEmpty { entry, .. }) if entry == "shards"));
        assert!(matches!(check(path), Err(IdentityError::Missing)));
    }

    #[test]
    fn damaged_newer_and_foreign_identities_are_told_apart() {
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path();
        let write = |text: &str| std::fs::write(path.join(IDENTITY_FILE), text).unwrap();
        write("{}");
        assert!(matches!(check(path), Err(IdentityError::Damaged(_))));
        write(r#"{"format": 2, "deployment": "d-1", "volume": "v1", "slot": 3}"#);
        assert!(matches!(check(path), Err(IdentityError::UnknownFormat(2))));
        write(r#"{"format": 1, "deployment": "d-2", "volume": "v1", "slot": 3}"#);
        assert!(matches!(check(path), Err(IdentityError::Foreign(found)) if found.deployment == "d-2"));
        write(r#"{"format": 1, "deployment": "d-1", "volume": "v1", "slot": 3}"#);
        check(path).unwrap();
    }
}
