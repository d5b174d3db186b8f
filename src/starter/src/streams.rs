//! The files of the command's standard streams.
//!
//! Invariant: a file with a relative name is in the scratch directory, whatever links the job's input has brought; and
//! opening one never waits for anybody.

use std::{
    fs::File,
    io,
    os::fd::{OwnedFd, RawFd},
    path::{Component, Path, PathBuf},
};

use nix::errno::Errno;
use rustix::fs::{
    CWD, FileType, Mode, OFlags, ResolveFlags, Stat, fcntl_setfl, fstat, mkdirat, open, openat,
    openat2,
};

use crate::{arguments::StreamSettings, executable::errno_of, not_started::NotStarted};

/// Modes of what is made, less the umask.
const FILE_MODE: Mode = Mode::from_raw_mode(0o644);
const DIRECTORY_MODE: Mode = Mode::from_raw_mode(0o755);

/// Which of the starter's own streams a file is followed into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Channel {
    /// Its standard output.
    Output,
    /// Its standard error.
    Error,
}

impl Channel {
    /// The number of that stream.
    pub(crate) fn descriptor(self) -> RawFd {
        match self {
            Self::Output => 1,
            Self::Error => 2,
        }
    }
}

/// What becomes of what a file has already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Begin {
    /// The command's first start: it is dropped.
    Empty,
    /// A start after a checkpoint: it stays.
    Append,
}

/// A file that the command writes, open to be read.
#[derive(Debug)]
pub(crate) struct Followed {
    /// Where it goes.
    pub(crate) channel: Channel,
    /// As the user named it.
    pub(crate) name: PathBuf,
    /// The very file that the command has, whatever is done with its name.
    pub(crate) file: File,
    /// Its bytes before the command started.
    pub(crate) size: u64,
}

/// Everything that is open for a command that is about to start.
#[derive(Debug, Default)]
pub(crate) struct Opened {
    /// Each file and the descriptors of the command that it becomes.
    pub(crate) files: Vec<(OwnedFd, &'static [RawFd])>,
    /// What is to be followed.
    pub(crate) followed: Vec<Followed>,
}

/// The files' names, and the directory in which they are.
#[derive(Debug)]
pub(crate) struct Streams {
    settings: StreamSettings,
    scratch: OwnedFd,
}

impl Streams {
    /// Streams in the scratch directory, which is there.
    pub(crate) fn new(settings: StreamSettings, scratch: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self { settings, scratch: openat(CWD, scratch, flags, Mode::empty())? })
    }

    /// Opens them all for one start of the command.
    pub(crate) fn open(&self, begin: Begin) -> Result<Opened, NotStarted> {
        let input = self.settings.input.as_deref().unwrap_or(Path::new("/dev/null"));
        let stdin = self.input(input).map_err(|errno| told(input, "input", errno))?;
        let mut opened = Opened { files: vec![(stdin, &[0])], followed: Vec::new() };
        let mut first: Option<Stat> = None;
        for (name, channel, words, becomes) in [
            (&self.settings.output, Channel::Output, "output", &[1][..]),
            (&self.settings.error, Channel::Error, "error", &[2][..]),
        ] {
            let Some(name) = name else { continue };
            let (written, file, stat) =
                self.written(name, begin).map_err(|errno| told(name, words, errno))?;
            let is_same = |other: &Stat| (other.st_dev, other.st_ino) == (stat.st_dev, stat.st_ino);
            if let Some((_, both)) =
                opened.files.last_mut().filter(|_| first.as_ref().is_some_and(is_same))
            {
                *both = &[1, 2];
                continue;
            }
            first = Some(stat);
            opened.files.push((written, becomes));
            opened.followed.push(Followed {
                channel,
                name: name.clone(),
                file,
                size: u64::try_from(stat.st_size).unwrap_or(0),
            });
        }
        Ok(opened)
    }

    /// A pipe is opened without waiting for its other side, and read like any file then.
    fn input(&self, name: &Path) -> Result<OwnedFd, Errno> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = if name.is_absolute() {
            open(name, flags, Mode::empty())
        } else {
            open_beneath(&self.scratch, name, flags, Mode::empty())
        };
        let file = file.map_err(number)?;
        let stat = fstat(&file).map_err(number)?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            return Err(Errno::EISDIR);
        }
        fcntl_setfl(&file, OFlags::empty()).map_err(number)?;
        Ok(file)
    }

    /// The file for the command, the same file to be read, and which it is.
    fn written(&self, name: &Path, begin: Begin) -> Result<(OwnedFd, File, Stat), Errno> {
        make_parents(&self.scratch, name).map_err(number)?;
        let common = OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let mut flags = common | OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE;
        flags.set(OFlags::TRUNC, begin == Begin::Empty);
        let written = open_beneath(&self.scratch, name, flags, FILE_MODE).map_err(number)?;
        let stat = fstat(&written).map_err(number)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(Errno::EINVAL);
        }
        fcntl_setfl(&written, OFlags::APPEND).map_err(number)?;
        let read = open_beneath(&self.scratch, name, common | OFlags::RDONLY, Mode::empty())
            .map_err(number)?;
        Ok((written, read.into(), stat))
    }
}

/// `HTCondor`'s words for it (§3.1, codes 7 and 8).
fn told(name: &Path, stream: &str, errno: Errno) -> NotStarted {
    let name: String =
        name.to_string_lossy().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let mut message = format!(
        "failed to open '{name}' as standard {stream}: {} (errno {})",
        errno.desc(),
        errno as i32
    );
    match errno {
        Errno::EXDEV | Errno::ELOOP => {
            message.push_str(": a link leads out of the scratch directory");
        }
        Errno::EINVAL | Errno::ENXIO => message.push_str(": it is not a regular file"),
        _ => {}
    }
    NotStarted::surroundings(errno, message)
}

fn number(error: rustix::io::Errno) -> Errno {
    errno_of(&error.into())
}

/// Opens what is below `root`. Where the kernel or the runtime does not know of a confined way (`openat2`, Linux 5.6),
/// no link is followed at all.
fn open_beneath(
    root: &OwnedFd,
    path: &Path,
    flags: OFlags,
    mode: Mode,
) -> rustix::io::Result<OwnedFd> {
    let confined = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    match openat2(root, path, flags, mode, confined) {
        Err(rustix::io::Errno::NOSYS | rustix::io::Errno::PERM) => {
            open_unlinked(root, path, flags, mode)
        }
        result => result,
    }
}

fn open_unlinked(
    root: &OwnedFd,
    path: &Path,
    flags: OFlags,
    mode: Mode,
) -> rustix::io::Result<OwnedFd> {
    let through = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut directory = openat(root, c".", through, Mode::empty())?;
    let mut parts = normal_parts(path).peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return openat(&directory, part, flags | OFlags::NOFOLLOW, mode);
        }
        directory = openat(&directory, part, through, Mode::empty())?;
    }
    Err(rustix::io::Errno::ISDIR)
}

/// Makes the directories in which the file is to be, where they are missing.
fn make_parents(root: &OwnedFd, path: &Path) -> rustix::io::Result<()> {
    let Some(parent) = path.parent() else { return Ok(()) };
    let through = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let (mut above, mut prefix) = (None, PathBuf::new());
    for part in normal_parts(parent) {
        prefix.push(part);
        match mkdirat(above.as_ref().unwrap_or(root), part, DIRECTORY_MODE) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => {}
            Err(error) => return Err(error),
        }
        above = Some(open_beneath(root, &prefix, through, Mode::empty())?);
    }
    Ok(())
}

/// Without `.`; a `..` is refused where flags are read.
fn normal_parts(path: &Path) -> impl Iterator<Item = &std::ffi::OsStr> {
    path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    #[test]
    fn both_ways_of_opening_stay_below() {
        let base = std::env::temp_dir().join(format!("starter-streams-{}", std::process::id()));
        let scratch = base.join("scratch");
        fs::create_dir_all(scratch.join("in/side")).unwrap();
        fs::write(base.join("outside"), "secret").unwrap();
        fs::write(scratch.join("in/side/file"), "").unwrap();
        symlink("../outside", scratch.join("up")).unwrap();
        symlink(base.join("outside"), scratch.join("away")).unwrap();
        symlink("..", scratch.join("parent")).unwrap();
        let root = openat(CWD, &scratch, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).unwrap();
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        for (path, is_there) in [
            ("in/side/file", true),
            ("./in/./side/file", true),
            ("up", false),
            ("away", false),
            ("parent/outside", false),
            ("in/missing", false),
        ] {
            for open in [open_beneath, open_unlinked] {
                let result = open(&root, Path::new(path), flags, Mode::empty());
                assert_eq!(result.is_ok(), is_there, "{path}: {result:?}");
            }
        }
        fs::remove_dir_all(base).unwrap();
    }
}
