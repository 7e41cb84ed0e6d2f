//! Files of secrets, which nobody else can read, and which are whole whatever cuts their writing short.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::clock::random_bytes;

/// Why a file of secrets cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PrivateFileError {
    /// The file is readable by others.
    #[error("{} may be read by others; make it private (chmod 600)", .0.display())]
    Exposed(PathBuf),
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

fn io(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> PrivateFileError {
    let path = path.to_owned();
    move |source| PrivateFileError::Io { operation, path, source }
}

/// What is in a file; `None` if there is none. Blocking.
///
/// # Errors
/// [`PrivateFileError`]
pub(crate) fn read(path: &Path) -> Result<Option<String>, PrivateFileError> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io("read", path)(error)),
    };
    if file.metadata().map_err(io("read", path))?.permissions().mode() & 0o077 != 0 {
        return Err(PrivateFileError::Exposed(path.to_owned()));
    }
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(io("read", path))?;
    Ok(Some(text))
}

/// Makes a file, which must not be there yet. Blocking.
///
/// # Errors
/// [`PrivateFileError::Io`]
pub(crate) fn create(path: &Path, text: &str) -> Result<(), PrivateFileError> {
    // A hard link fails if the name is taken, where a rename would replace it.
    write(path, text, |draft| fs::hard_link(draft, path).and(fs::remove_file(draft)))
}

/// Makes a file, or has it hold something else at once: the old text or the new, never anything between. Blocking.
///
/// # Errors
/// [`PrivateFileError::Io`]
pub(crate) fn replace(path: &Path, text: &str) -> Result<(), PrivateFileError> {
    write(path, text, |draft| fs::rename(draft, path))
}

/// Writes a file under another name first, so that a crash leaves the whole file or none, and has it `placed`.
fn write(path: &Path, text: &str, placed: impl FnOnce(&Path) -> io::Result<()>) -> Result<(), PrivateFileError> {
    let directory = directory(path);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let draft = directory.join(format!("{name}.{}", hex::encode(random_bytes::<8>())));
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft).map_err(io("create", &draft))?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).and_then(|()| placed(&draft));
    if let Err(error) = written {
        // What is said is why it could not be written; that the draft stays, too, helps nobody.
        let _ = fs::remove_file(&draft);
        return Err(io("write", path)(error));
    }
    File::open(directory).and_then(|dir| dir.sync_all()).map_err(io("sync", directory))
}

/// The directory that a file is in.
pub(crate) fn directory(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
