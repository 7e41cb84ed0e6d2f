//! The data directory, held by one server at a time.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// Another process has it.
    #[error("the data directory {} is in use by another server", .0.display())]
    InUse(PathBuf),
    /// The system refused.
    #[error("cannot {operation} {}: {source}", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

/// A data directory, locked until this is dropped or the process ends, however it ends.
#[derive(Debug)]
pub struct DataDirectory {
    path: PathBuf,
    _lock: File,
}

impl DataDirectory {
    /// Creates the directory (private to its owner) if need be, and locks it. Blocking.
    ///
    /// # Errors
    /// [`DataError::InUse`] if another server has it.
    pub fn open(path: &Path) -> Result<Self, DataError> {
        let io = |operation, path: &Path| {
            let path = path.to_owned();
            move |source| DataError::Io { operation, path, source }
        };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(io("create", path))?;
        let file = path.join("lock");
        let lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&file)
            .map_err(io("open", &file))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(DataError::InUse(path.to_owned())),
            Err(error) => Err(io("lock", &file)(error.into())),
        }
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// An empty directory for bodies that wait for their length. What an earlier process left there is removed. Blocking.
    ///
    /// # Errors
    /// [`DataError::Io`]
    pub fn spool(&self) -> Result<PathBuf, DataError> {
        let path = self.path.join("spool");
        let io = |operation| {
            let path = path.clone();
            move |source| DataError::Io { operation, path, source }
        };
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io("empty")(error)),
            _ => {}
        }
        DirBuilder::new().mode(0o700).create(&path).map_err(io("create"))?;
        Ok(path)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn one_server_at_a_time() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("a/data");
        let first = DataDirectory::open(&path).unwrap();
        let error = DataDirectory::open(&path).unwrap_err();
        assert!(matches!(error, DataError::InUse(_)) && error.to_string().contains("a/data"), "{error}");
        drop(first);
        DataDirectory::open(&path).unwrap();
    }

    #[test]
    fn the_spool_starts_empty() {
        let parent = tempfile::tempdir().unwrap();
        let data = DataDirectory::open(parent.path()).unwrap();
        let spool = data.spool().unwrap();
        fs::write(spool.join("left"), "behind").unwrap();
        assert_eq!(fs::read_dir(data.spool().unwrap()).unwrap().count(), 0);
    }

    #[test]
    fn what_is_no_directory_is_named() {
        let parent = tempfile::tempdir().unwrap();
        let file = parent.path().join("file");
        fs::write(&file, "").unwrap();
        let error = DataDirectory::open(&file.join("data")).unwrap_err();
        assert!(error.to_string().contains("file/data"), "{error}");
    }
}
