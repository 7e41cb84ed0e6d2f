//! Files and standard output, written by a thread that may wait for them.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use time::OffsetDateTime;
use time::macros::format_description;
use tokio::runtime::Handle;

use super::queue::{Next, Queue};
use super::{PAUSE, TRIED};

/// Where lines are written.
pub(super) enum Output {
    File(Rotated),
    Stdout,
}

impl Output {
    /// Writes until the queue ends. Blocking.
    pub(super) fn run(&mut self, queue: &Queue, runtime: &Handle) {
        loop {
            match runtime.block_on(queue.next()) {
                Next::End => return,
                Next::Reopen => self.reopen(queue),
                Next::Write(batch) => {
                    if self.write(&batch.text(), queue) {
                        queue.written(&batch);
                    } else {
                        queue.lost(&batch);
                        // Nothing more can be told where nothing is taken.
                        if queue.is_closed() {
                            return;
                        }
                    }
                }
            }
        }
    }

    fn reopen(&mut self, queue: &Queue) {
        let Self::File(file) = self else { return };
        match file.reopen() {
            Ok(()) => tracing::info!(target_id = queue.target(), "the audit log was opened anew"),
            Err(error) => {
                tracing::error!(target_id = queue.target(), %error, "the audit log cannot be opened anew; it goes on where it was");
            }
        }
    }

    /// Writes all of it, or says that it cannot be done for so long that it is given up.
    fn write(&mut self, text: &[u8], queue: &Queue) -> bool {
        if let Self::File(file) = self
            && let Err(error) = file.rotate(text.len() as u64)
        {
            tracing::error!(target_id = queue.target(), %error, "the audit log cannot be put aside; it goes on where it was");
        }
        let (began, mut pause) = (Instant::now(), PAUSE.0);
        let mut done = 0;
        while let Err(error) = self.go_on(text, &mut done) {
            tracing::error!(target_id = queue.target(), %error, "the audit log cannot be written");
            if queue.is_closed() || began.elapsed() + pause > TRIED {
                return false;
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(PAUSE.1);
        }
        true
    }

    /// Writes what is left behind the first `done` bytes: a disk that was full has a part of a line, and gets the rest of it.
    fn go_on(&mut self, text: &[u8], done: &mut usize) -> io::Result<()> {
        while let Some(rest) = text.get(*done..).filter(|rest| !rest.is_empty()) {
            let written = match self {
                Self::File(file) => file.write(rest),
                Self::Stdout => io::stdout().lock().write(rest),
            };
            match written {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => *done += written,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        match self {
            Self::File(_) => Ok(()),
            Self::Stdout => io::stdout().lock().flush(),
        }
    }
}

/// A file that is appended to, and put aside when it is long.
pub(super) struct Rotated {
    path: PathBuf,
    file: File,
    len: u64,
    /// Bytes from which it is put aside; 0: never.
    most: u64,
}

impl Rotated {
    pub(super) fn open(path: &Path, most: u64) -> io::Result<Self> {
        let (file, len) = append(path)?;
        Ok(Self { path: path.to_owned(), file, len, most })
    }

    /// Opens the file of this name, which may be another by now.
    fn reopen(&mut self) -> io::Result<()> {
        (self.file, self.len) = append(&self.path)?;
        Ok(())
    }

    /// Puts the file aside, if it would become too long by so much more, and begins another.
    fn rotate(&mut self, more: u64) -> io::Result<()> {
        if self.most == 0 || self.len == 0 || self.len + more <= self.most {
            return Ok(());
        }
        match std::fs::rename(&self.path, aside(&self.path)) {
            // Somebody else has put it aside.
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => self.reopen(),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.len += written as u64;
        Ok(written)
    }
}

/// A file to be appended to, readable by its owner alone if it is made now, and its length.
fn append(path: &Path) -> io::Result<(File, u64)> {
    let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
    let len = file.metadata()?.len();
    Ok((file, len))
}

/// A name that nothing has, for a file that is put aside now: with the time behind it.
fn aside(path: &Path) -> PathBuf {
    let form = format_description!("[year][month][day]T[hour][minute][second].[subsecond digits:3]Z");
    let now = OffsetDateTime::now_utc().format(form).unwrap_or_default();
    let name = |number: u32| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{now}"));
        if number > 0 {
            name.push(format!("-{number}"));
        }
        PathBuf::from(name)
    };
    // Nobody else puts files there; it may have been twice in a millisecond.
    (0..).map(name).find(|name| name.symlink_metadata().is_err()).unwrap_or_else(|| name(0))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn files(directory: &Path) -> Vec<(String, String)> {
        let mut files: Vec<_> = std::fs::read_dir(directory)
            .unwrap()
            .map(|entry| {
                let path = entry.unwrap().path();
                let name = path.file_name().unwrap().to_str().unwrap().to_owned();
                (name, std::fs::read_to_string(path).unwrap())
            })
            .collect();
        files.sort();
        files
    }

    fn write(output: &mut Output, text: &str) {
        let Output::File(file) = output else { return };
        file.rotate(text.len() as u64).unwrap();
        output.go_on(text.as_bytes(), &mut 0).unwrap();
    }

    #[test]
    fn a_long_file_is_put_aside_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit");
        let mut output = Output::File(Rotated::open(&path, 10).unwrap());
        for text in ["12345\n", "123\n", "a line that is longer than a file may be\n", "12\n", "34\n"] {
            write(&mut output, text);
        }
        let files = files(directory.path());
        let texts: Vec<&str> = files.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(texts, ["12\n34\n", "12345\n123\n", "a line that is longer than a file may be\n"]);
        assert_eq!(files[0].0, "audit");
        assert!(files[1..].iter().all(|(name, _)| name.starts_with("audit.2") && name.contains("Z")), "{files:?}");
        for (name, _) in &files {
            let mode = directory.path().join(name).metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
        // What is there is gone on with.
        write(&mut Output::File(Rotated::open(&path, 10).unwrap()), "5\n");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "12\n34\n5\n");
    }

    #[test]
    fn a_file_that_somebody_put_aside_is_left_there() {
        let directory = tempfile::tempdir().unwrap();
        let (path, other) = (directory.path().join("audit"), directory.path().join("audit.1"));
        let mut output = Output::File(Rotated::open(&path, 0).unwrap());
        write(&mut output, "one\n");
        std::fs::rename(&path, &other).unwrap();
        write(&mut output, "two\n");
        let Output::File(file) = &mut output else { return };
        file.reopen().unwrap();
        write(&mut output, "three\n");
        let texts: Vec<String> = files(directory.path()).into_iter().map(|(_, text)| text).collect();
        assert_eq!(texts, ["three\n", "one\ntwo\n"]);
        let mut output = Output::File(Rotated::open(&path, 1).unwrap());
        std::fs::remove_file(&path).unwrap();
        write(&mut output, "four\n");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "four\n");
    }
}
