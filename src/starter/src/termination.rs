//! The termination message: a file that the kubelet reads when the container has ended.
//!
//! Invariant: from the first write on, the file begins with a whole record. Every record is written by one
//! `pwrite` of the same length, padded with blanks, so that a SIGKILL in between leaves the old or the new
//! one; and the file keeps its blocks, so that a node with a full disk can still take the final record.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::Path,
};

use duj_protocol::Record;

/// Where the kubelet mounts it unless the pod says otherwise (`terminationMessagePath`).
pub(crate) const DEFAULT_PATH: &str = "/dev/termination-log";

/// The open termination message.
#[derive(Debug)]
pub(crate) struct Termination {
    file: File,
    /// A failed write is told once, not every few seconds.
    complained: bool,
}

impl Termination {
    /// Opens `path`, made if need be, or without one the kubelet's default, which the kubelet has made.
    pub(crate) fn open(path: Option<&Path>) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.write(true).truncate(false).create(path.is_some());
        let file = options.open(path.unwrap_or(Path::new(DEFAULT_PATH)))?;
        Ok(Self { file, complained: false })
    }

    /// Writes a record that later ones replace.
    pub(crate) fn provisional(&mut self, record: &Record) {
        self.write(&record.to_message());
    }

    /// Writes the last record. The padding is cut off after it is written: people read this with `kubectl`.
    pub(crate) fn conclude(&mut self, record: &Record) {
        let text = record.to_message();
        if self.write(&text) {
            // The blanks do no harm should this fail.
            let _ = self.file.set_len(text.len() as u64);
        }
    }

    fn write(&mut self, text: &str) -> bool {
        let padded = format!("{text:<width$}", width = Record::MAX_BYTES);
        let result = self.file.write_all_at(padded.as_bytes(), 0);
        if let Err(error) = &result
            && !self.complained
        {
            self.complained = true;
            eprintln!("starter: could not write the termination message: {error}");
        }
        result.is_ok()
    }
}
