//! The files by which the program that transfers learns of the job's end.
//!
//! Invariant: the lock is held from before `started` is there until this process is gone, and by no other process: a lock
//! belongs to the open file, which no command inherits. The outcome is there, whole, before the lock is dropped. The job may
//! write to the directory too: nothing that it puts there keeps the starter waiting.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use duj_protocol::{Record, transfer::handshake};
use nix::libc::{O_NOFOLLOW, O_NONBLOCK};
use rustix::fs::{FlockOperation, flock};

use crate::{executable::errno_of, not_started::NotStarted, scratch};

/// What a file's name has behind it until the file is whole.
const UNFINISHED: &str = ".new";

/// The directory with the lock.
#[derive(Debug)]
pub(crate) struct Handshake {
    directory: PathBuf,
    /// Made beforehand and as long as any record: a full disk must not keep the outcome.
    outcome: File,
    _lock: File,
}

impl Handshake {
    /// Takes the lock and says that it is taken. The directory is made where it is missing.
    pub(crate) fn begin(directory: &Path) -> Result<Self, NotStarted> {
        Self::take(directory).map_err(|error| {
            let errno = errno_of(&error);
            let message = format!(
                "could not take the lock in the handshake directory '{}': {}",
                directory.display(),
                errno.desc()
            );
            NotStarted::surroundings(errno, message)
        })
    }

    fn take(directory: &Path) -> io::Result<Self> {
        scratch::make(directory, 0o700)?;
        let mut options = File::options();
        options.write(true).create(true).truncate(false);
        let lock = options.open(directory.join(handshake::LOCK))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
        let outcome = options.open(unfinished(directory, handshake::OUTCOME))?;
        outcome.write_all_at(&[b' '; Record::MAX_BYTES], 0)?;
        File::create(directory.join(handshake::STARTED))?;
        Ok(Self { directory: directory.to_owned(), outcome, _lock: lock })
    }

    /// Writes the last record.
    pub(crate) fn conclude(&self, record: &Record) {
        let text = record.to_message();
        let written = self
            .outcome
            .write_all_at(text.as_bytes(), 0)
            .and_then(|()| self.outcome.set_len(text.len() as u64))
            .and_then(|()| finish(&self.directory, handshake::OUTCOME));
        if let Err(error) = written {
            eprintln!("starter: could not write the outcome for the transfer: {error}");
        }
    }
}

/// Puts a file into the directory, whole or not at all.
pub(crate) fn put(directory: &Path, name: &str, content: &str) -> io::Result<()> {
    let new = unfinished(directory, name);
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => File::options()
            .write(true)
            .create_new(true)
            .open(&new)?
            .write_all(content.as_bytes())?,
    }
    finish(directory, name)
}

/// Reads a file of the directory, at most so many bytes.
pub(crate) fn read(directory: &Path, name: &str, most: u64) -> io::Result<Vec<u8>> {
    let mut options = File::options();
    // A pipe would be waited for.
    let file =
        options.read(true).custom_flags(O_NONBLOCK | O_NOFOLLOW).open(directory.join(name))?;
    let mut content = Vec::new();
    file.take(most).read_to_end(&mut content)?;
    Ok(content)
}

fn finish(directory: &Path, name: &str) -> io::Result<()> {
    fs::rename(unfinished(directory, name), directory.join(name))
}

fn unfinished(directory: &Path, name: &str) -> PathBuf {
    directory.join(format!("{name}{UNFINISHED}"))
}
