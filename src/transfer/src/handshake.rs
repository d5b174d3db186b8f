//! The files through which `prepare`, the starter and `transfer` find each other.
//!
//! Invariant: a file appears whole or not at all. The job runs as the same user and may put anything there: no link is
//! followed, nothing but a regular file of a bounded length is read, and no open waits.

use std::{
    fs::File,
    io::{self, Read as _, Write as _},
    os::fd::AsFd,
    path::Path,
};

use duj_protocol::transfer::{Brought, handshake};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, fstat, open, openat, renameat, unlinkat};

/// What a file has beyond this is not read.
const LONGEST: u64 = 16 << 20;

/// Opens a directory of a volume, which may be where the job could put a link in its place: what is above it may not.
pub(crate) fn directory(path: &Path) -> io::Result<File> {
    let (Some(above), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
    let above = open(above, flags | OFlags::PATH, Mode::empty())?;
    Ok(File::from(openat(above, name, flags | OFlags::RDONLY | OFlags::NOFOLLOW, Mode::empty())?))
}

/// Opens a regular file of the directory.
pub(crate) fn open_file(directory: &Path, name: &str) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = openat(self::directory(directory)?, name, flags, Mode::empty())?;
    if FileType::from_raw_mode(fstat(file.as_fd())?.st_mode) != FileType::RegularFile {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    Ok(File::from(file))
}

/// The text of a file that is there.
pub(crate) fn read(directory: &Path, name: &str) -> Option<String> {
    let mut text = String::new();
    open_file(directory, name).ok()?.take(LONGEST).read_to_string(&mut text).ok()?;
    Some(text)
}

/// Writes the file `name` by a rename.
pub(crate) fn write(directory: &Path, name: &str, content: &str) -> io::Result<()> {
    let directory = self::directory(directory)?;
    let unfinished = format!(".{name}.unfinished");
    match unlinkat(&directory, &unfinished, AtFlags::empty()) {
        Err(error) if error != rustix::io::Errno::NOENT => return Err(error.into()),
        _ => {}
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = openat(&directory, &unfinished, flags, Mode::from_raw_mode(0o600))?;
    let written = File::from(file).write_all(content.as_bytes());
    let renamed = written.and_then(|()| Ok(renameat(&directory, &unfinished, &directory, name)?));
    renamed.inspect_err(|_| {
        // Best effort: what is left is replaced by the next one.
        let _ = unlinkat(&directory, &unfinished, AtFlags::empty());
    })
}

/// What `prepare` brought; nothing where it has not run.
pub(crate) fn brought(directory: &Path) -> Brought {
    let text = read(directory, handshake::BROUGHT).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_default()
}

/// The checkpoint that the starter asks for.
pub(crate) fn checkpoint_wanted(directory: &Path) -> Option<u64> {
    read(directory, handshake::CHECKPOINT_WANTED)?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    #[test]
    fn what_the_job_plants_is_neither_read_nor_written_through() {
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join(name);
        let ours = at("handshake");
        fs::create_dir(&ours).unwrap();
        fs::write(at("secret"), "secret").unwrap();
        symlink(at("secret"), ours.join("brought")).unwrap();
        assert_eq!(read(&ours, "brought"), None);
        rustix::fs::mkfifoat(rustix::fs::CWD, ours.join("outcome"), Mode::RUSR).unwrap();
        assert_eq!(read(&ours, "outcome"), None);
        symlink(at("secret"), ours.join(".saved.unfinished")).unwrap();
        symlink(at("secret"), ours.join("saved")).unwrap();
        write(&ours, "saved", "1").unwrap();
        assert_eq!(fs::read_to_string(at("secret")).unwrap(), "secret");
        assert_eq!(read(&ours, "saved").as_deref(), Some("1"));
        symlink(&ours, at("elsewhere")).unwrap();
        assert!(directory(&at("elsewhere")).is_err(), "a link in the directory's place");
    }
}
