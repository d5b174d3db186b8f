//! Looks at files below a directory whose links may lead anywhere.
//!
//! Invariant: nothing outside the directory is looked at or opened, whatever links say and whoever changes them meanwhile.
//! (A path is resolved by the kernel, not by looking at its parts.) Opening never waits for the other end of a FIFO.

use std::{
    ffi::OsStr,
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use cap_std::{
    ambient_authority,
    fs::{Dir, Metadata, MetadataExt, OpenOptions, OpenOptionsExt},
};
use rustix::fs::{FileType, OFlags};

use crate::{fault::Fault, names};

/// Deeper directories are refused: nobody has them but by mistake.
const DEPTH: usize = 100;
/// Links that are followed one after the other.
const LINKS: usize = 8;
const ELOOP: i32 = 40;

/// A directory whose files are looked at.
#[derive(Clone, Debug)]
pub(crate) struct Tree {
    dir: Arc<Dir>,
    /// Where it is: a link may name it absolutely.
    root: PathBuf,
    /// How messages name it (`ConfigMap 'x'`), where it is not the scratch directory.
    what: Option<String>,
}

/// What is there, links followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A socket, a FIFO or a device.
    Special,
}

/// An entry of the tree.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// As it is named.
    pub(crate) path: PathBuf,
    /// Where it is when links by an absolute path are followed.
    real: PathBuf,
    /// What it is.
    pub(crate) kind: Kind,
    /// Bytes of a file.
    pub(crate) size: u64,
    /// Last change, nanoseconds since the epoch.
    pub(crate) modified: i64,
    /// Permissions.
    pub(crate) mode: u32,
    identity: (u64, u64),
}

impl Tree {
    /// A volume mounted at `root`, which messages name `what`.
    pub(crate) fn volume(root: &Path, what: &str) -> Result<Self, Fault> {
        let opened = Self::open(root, Some(what.to_owned()));
        opened.map_err(|error| Fault::io(&error, &format!("opening {what}")))
    }

    /// The scratch directory.
    pub(crate) fn scratch(root: &str) -> Result<Self, Fault> {
        // The job could have put a link in its place.
        let opened = crate::handshake::directory(Path::new(root)).map(|dir| {
            let dir = Arc::new(Dir::from_std_file(dir));
            Self { dir, root: root.into(), what: None }
        });
        opened.map_err(|error| Fault::io(&error, &format!("opening {root}")))
    }

    fn open(root: &Path, what: Option<String>) -> io::Result<Self> {
        let dir = Arc::new(Dir::open_ambient_dir(root, ambient_authority())?);
        Ok(Self { dir, root: root.into(), what })
    }

    /// What is at `path`; empty is the directory itself.
    pub(crate) fn look(&self, path: &Path) -> Result<Found, Fault> {
        self.find(path).map_err(|error| self.fault(&error, path))
    }

    /// The same, as the system says it; a link that leads out has no `errno`.
    pub(crate) fn find(&self, path: &Path) -> io::Result<Found> {
        let mut real = path.to_owned();
        for _ in 0..LINKS {
            let error = match self.dir.metadata(or_dot(&real)) {
                Ok(data) => return Ok(found(path, real, &data)),
                Err(error) => error,
            };
            // An absolute link into this very directory is none that leads out.
            let inside = is_outside(&error)
                .then(|| self.dir.read_link_contents(&real).ok())
                .flatten()
                .and_then(|link| link.strip_prefix(&self.root).map(Path::to_owned).ok());
            real = inside.ok_or(error)?;
        }
        Err(io::Error::from_raw_os_error(ELOOP))
    }

    /// Opens a file for reading, which is still one.
    pub(crate) fn open_file(&self, found: &Found) -> Result<File, Fault> {
        let mut options = OpenOptions::new();
        let flags = OFlags::NONBLOCK.bits().cast_signed();
        options.read(true).custom_flags(flags);
        let file = self.dir.open_with(&found.real, &options);
        let file = file.map_err(|error| self.fault(&error, &found.path))?.into_std();
        let is_file = file.metadata().is_ok_and(|data| data.is_file());
        if is_file { Ok(file) } else { Err(self.special(&found.path)) }
    }

    /// The names in a directory, in order.
    pub(crate) fn names(&self, found: &Found) -> Result<Vec<std::ffi::OsString>, Fault> {
        let entries = self.dir.read_dir(or_dot(&found.real));
        let names = entries.and_then(|entries| {
            entries
                .map(|entry| entry.map(|entry| entry.file_name()))
                .collect::<io::Result<Vec<_>>>()
        });
        let mut names = names.map_err(|error| self.fault(&error, &found.path))?;
        names.sort();
        Ok(names)
    }

    /// Everything in a directory and below but what `skip` names: directories, then what is in them, and files. What is
    /// neither, and a link that leads out, is refused by its name.
    pub(crate) fn walk(&self, top: &Found, skip: fn(&OsStr) -> bool) -> Result<Vec<Found>, Fault> {
        let mut all = Vec::new();
        self.walk_into(top, &mut vec![top.identity], skip, &mut all)?;
        Ok(all)
    }

    fn walk_into(
        &self,
        top: &Found,
        above: &mut Vec<(u64, u64)>,
        skip: fn(&OsStr) -> bool,
        all: &mut Vec<Found>,
    ) -> Result<(), Fault> {
        for name in self.names(top)?.into_iter().filter(|name| !skip(name)) {
            let path = top.path.join(&name);
            let mut entry = self.find(&top.real.join(&name)).map_err(|e| self.fault(&e, &path))?;
            entry.path = path;
            match entry.kind {
                Kind::File => all.push(entry),
                Kind::Special => return Err(self.special(&entry.path)),
                Kind::Directory => {
                    if above.contains(&entry.identity) || above.len() > DEPTH {
                        return Err(self.fault(&io::Error::from_raw_os_error(ELOOP), &entry.path));
                    }
                    all.push(entry.clone());
                    above.push(entry.identity);
                    self.walk_into(&entry, above, skip, all)?;
                    above.pop();
                }
            }
        }
        Ok(())
    }

    /// What the system said about a path.
    pub(crate) fn fault(&self, error: &io::Error, path: &Path) -> Fault {
        let reading = self.reading(path);
        if is_outside(error) {
            let what = self.what.as_deref().unwrap_or("the scratch directory");
            let detail = format!("{reading}: (errno {ELOOP}) a symbolic link leads out of {what}");
            return Fault::permanent(ELOOP, detail);
        }
        Fault::io(error, &reading)
    }

    /// What is no file and no directory.
    pub(crate) fn special(&self, path: &Path) -> Fault {
        let reading = self.reading(path);
        Fault::permanent(95, format!("{reading}: (errno 95) it is a socket, a FIFO or a device"))
    }

    /// "reading from file x".
    pub(crate) fn reading(&self, path: &Path) -> String {
        match &self.what {
            Some(what) => format!("reading from file '{}' of {what}", names::shown(path)),
            None => format!("reading from file {}", names::shown(&self.root.join(path))),
        }
    }
}

/// Whether a link led out: that has no `errno` of its own.
fn is_outside(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::PermissionDenied && error.raw_os_error().is_none()
}

fn or_dot(path: &Path) -> &Path {
    if path.as_os_str().is_empty() { Path::new(".") } else { path }
}

fn found(path: &Path, real: PathBuf, data: &Metadata) -> Found {
    let kind = match FileType::from_raw_mode(data.mode()) {
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Directory,
        _ => Kind::Special,
    };
    let modified = data.mtime().saturating_mul(1_000_000_000).saturating_add(data.mtime_nsec());
    Found {
        path: path.into(),
        real,
        kind,
        size: data.size(),
        modified,
        mode: data.mode() & 0o7777,
        identity: (data.dev(), data.ino()),
    }
}
