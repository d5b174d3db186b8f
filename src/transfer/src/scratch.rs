//! Files that land in the scratch directory.
//!
//! Invariant: a file has its name only when it is whole; nothing is written outside the directory; what all files have
//! in bytes is checked before it is written.

use std::{
    fs::File,
    io,
    os::unix::fs::{FileExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use cap_std::{
    ambient_authority,
    fs::{Dir, OpenOptions, OpenOptionsExt},
};

use crate::{
    fault::{Fault, INPUT},
    names,
};

const MIB: u64 = 1 << 20;

/// A directory that files land in.
#[derive(Clone, Debug)]
pub(crate) struct Scratch {
    dir: Arc<Dir>,
    bytes: Arc<AtomicU64>,
    /// Bytes that all files may have.
    max: Option<u64>,
    /// Bytes of the volume.
    disk: Option<u64>,
}

impl Scratch {
    /// The directory is there.
    pub(crate) fn open(path: &Path, max: Option<u64>, disk: Option<u64>) -> io::Result<Self> {
        let dir = Arc::new(Dir::open_ambient_dir(path, ambient_authority())?);
        Ok(Self { dir, bytes: Arc::default(), max, disk })
    }

    /// The same directory without limits of its own.
    pub(crate) fn unlimited(&self) -> Self {
        Self { dir: Arc::clone(&self.dir), bytes: Arc::default(), max: None, disk: self.disk }
    }

    /// Makes a directory and those above it.
    pub(crate) fn make_directory(&self, path: &Path) -> Result<(), Fault> {
        if path.as_os_str().is_empty() {
            return Ok(());
        }
        let failed =
            |error| self.fault(&error, &format!("making directory {}", names::shown(path)));
        self.dir.create_dir_all(path).map_err(failed)
    }

    /// Begins a file, beside where it will be.
    pub(crate) fn begin(&self, path: &Path) -> Result<Unfinished, Fault> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        self.make_directory(path.parent().unwrap_or(Path::new("")))?;
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let beside = path.with_file_name(format!(".transfer-{}-{number}", std::process::id()));
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o644);
        let file = self.dir.open_with(&beside, &options);
        let file = file.map_err(|error| self.fault(&error, &writing(path)))?;
        let file = Arc::new(file.into_std());
        Ok(Unfinished {
            scratch: self.clone(),
            path: path.into(),
            beside,
            file,
            charged: 0,
            whole: false,
        })
    }

    /// A full disk is told with what helps.
    fn fault(&self, error: &io::Error, doing: &str) -> Fault {
        let fault = Fault::io(error, doing);
        if !matches!(fault.subcode, 28 | 122) {
            return fault;
        }
        Fault { detail: self.full(&fault.detail), ..fault.with_code(INPUT) }
    }

    fn full(&self, detail: &str) -> String {
        let limit = self
            .disk
            .map_or_else(String::new, |disk| format!(" (it has {} MB)", disk.div_ceil(MIB)));
        format!("{detail}; the scratch directory is full{limit}: raise requestDisk")
    }

    /// More bytes are about to be written.
    fn charge(&self, path: &Path, more: u64, file: u64) -> Result<(), Fault> {
        let all = self.bytes.fetch_add(more, Ordering::Relaxed) + more;
        if let Some(max) = self.max.filter(|max| all > *max) {
            let (max, file) = (max / MIB, file.div_ceil(MIB));
            let detail = format!(
                "{}: max total upload bytes exceeded (max={max} MB, this file={file} MB)",
                names::shown(path)
            );
            return Err(Fault::permanent(0, detail).with_code(32));
        }
        if self.disk.is_some_and(|disk| all > disk) {
            let detail = format!("{}: (errno 28) No space left on device", writing(path));
            return Err(Fault::permanent(28, self.full(&detail)).with_code(INPUT));
        }
        Ok(())
    }
}

fn writing(path: &Path) -> String {
    format!("writing to file {}", names::shown(path))
}

/// A file that has not its name yet; without [`finish`](Self::finish) it goes away.
#[derive(Debug)]
pub(crate) struct Unfinished {
    scratch: Scratch,
    path: PathBuf,
    beside: PathBuf,
    file: Arc<File>,
    charged: u64,
    whole: bool,
}

impl Unfinished {
    /// Its name to be.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// It is going to have so many bytes in all, or has.
    pub(crate) fn reserve(&mut self, size: u64) -> Result<(), Fault> {
        let more = size.saturating_sub(self.charged);
        self.charged += more;
        self.scratch.charge(&self.path, more, size)
    }

    /// Writes at `offset` what has been [reserved](Self::reserve), off the threads that speak to servers.
    pub(crate) async fn write(&self, bytes: Vec<Bytes>, offset: u64) -> Result<(), Fault> {
        let file = Arc::clone(&self.file);
        let written = tokio::task::spawn_blocking(move || {
            bytes.iter().try_fold(offset, |offset, bytes| {
                file.write_all_at(bytes, offset).map(|()| offset + bytes.len() as u64)
            })
        });
        self.done(written.await.unwrap_or_else(|error| Err(io::Error::other(error))).map(drop))
    }

    /// Begins anew.
    pub(crate) fn clear(&self) -> Result<(), Fault> {
        self.done(self.file.set_len(0))
    }

    /// The file itself, for a copy that the kernel makes.
    pub(crate) fn file(&self) -> &Arc<File> {
        &self.file
    }

    /// What the system said to a write, in this file's words.
    pub(crate) fn done(&self, result: io::Result<()>) -> Result<(), Fault> {
        result.map_err(|error| self.scratch.fault(&error, &writing(&self.path)))
    }

    /// Gives it its name, and these permissions beside reading and writing for its owner.
    pub(crate) fn finish(mut self, mode: Option<u32>) -> Result<u64, Fault> {
        if let Some(mode) = mode {
            let mode = std::fs::Permissions::from_mode(mode & 0o777 | 0o600);
            self.done(self.file.set_permissions(mode))?;
        }
        let dir = &self.scratch.dir;
        self.done(dir.rename(&self.beside, dir, &self.path))?;
        self.whole = true;
        self.file
            .metadata()
            .map(|data| data.len())
            .map_err(|error| Fault::io(&error, "looking at a file"))
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.whole {
            let _ = self.scratch.dir.remove_file(&self.beside);
        }
    }
}
