//! Files of mounted volumes.
//!
//! Invariant: a file appears in a volume whole or not at all; holes stay holes.

use std::{
    fs::File,
    io::{self, Read as _},
    os::unix::fs::FileExt,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use cap_std::{
    ambient_authority,
    fs::{Dir, OpenOptions, OpenOptionsExt},
};
use rustix::{fs::SeekFrom, io::Errno};

use super::{Context, Outgoing};
use crate::{
    fault::Fault,
    names,
    retry::persist,
    scratch::Unfinished,
    tree::{Found, Tree},
};

const BLOCK: usize = 256 << 10;

/// Brings a file of a volume.
pub(crate) async fn get(
    context: &Context,
    tree: &Tree,
    found: &Found,
    mut into: Unfinished,
    mode: Option<u32>,
) -> Result<u64, Fault> {
    into.reserve(found.size)?;
    let _turn = context.turn().await?;
    persist(context.retry(), async || {
        let file = tree.open_file(found)?;
        let (to, size) = (Arc::clone(into.file()), found.size);
        let (reading, writing) = blocking(move || Ok(copy(&file, &to, size))).await?;
        reading.map_err(|error| tree.fault(&error, &found.path))?;
        into.done(writing)
    })
    .await?;
    into.finish(Some(mode.unwrap_or(found.mode)))
}

/// Puts a file into a volume.
pub(super) async fn put(
    context: &Context,
    root: &Path,
    path: &Path,
    what: &str,
    file: &Outgoing,
) -> Result<(), Fault> {
    persist(context.retry(), async || {
        let (root, path, owned) = (root.to_owned(), path.to_owned(), file.clone());
        let writing = format!("writing to file '{}' of {what}", names::shown(&path));
        let put = blocking(move || put_now(&root, &path, &owned)).await;
        put.map_err(|fault| match fault {
            Failed::Reading(error) => file.fault(&error),
            Failed::Writing(error) => Fault::io(&error, &writing),
        })
    })
    .await
}

enum Failed {
    Reading(io::Error),
    Writing(io::Error),
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        Self::Writing(error)
    }
}

impl From<Failed> for Fault {
    fn from(failed: Failed) -> Self {
        let (Failed::Reading(error) | Failed::Writing(error)) = failed;
        Self::io(&error, "copying a file")
    }
}

/// Runs what waits for disks off the threads that speak to servers.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failed> + Send + 'static,
) -> Result<T, Failed> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(io::Error::other(error).into()))
}

fn put_now(root: &Path, path: &Path, file: &Outgoing) -> Result<(), Failed> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let root = Dir::open_ambient_dir(root, ambient_authority())?;
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput).map_err(io::Error::from)?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let directory = match parent {
        Some(parent) => {
            root.create_dir_all(parent)?;
            root.open_dir(parent)?
        }
        None => root,
    };
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let beside = format!(".transfer-{}-{number}-{}", std::process::id(), unique());
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o644 | (file.mode & 0o111));
    let target = directory.open_with(&beside, &options)?.into_std();
    fill(&target, file)
        .and_then(|()| Ok(directory.rename(&beside, &directory, name)?))
        .inspect_err(|_| drop(directory.remove_file(&beside)))?;
    // The name is on the disk too; a file system that cannot say so is none that loses it.
    let _ = directory.into_std_file().sync_all();
    Ok(())
}

fn fill(target: &File, file: &Outgoing) -> Result<(), Failed> {
    let (reading, writing) = copy(&file.file, target, file.size);
    reading.map_err(Failed::Reading)?;
    writing?;
    Ok(target.sync_all()?)
}

/// Two pods may write to one directory, with one and the same process id.
fn unique() -> u128 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.unwrap_or_default().as_nanos()
}

/// Copies the first `size` bytes but holes: what reading said, and what writing said.
fn copy(from: &File, to: &File, size: u64) -> (io::Result<()>, io::Result<()>) {
    if let Err(error) = to.set_len(0).and_then(|()| to.set_len(size)) {
        return (Ok(()), Err(error));
    }
    let mut block = vec![0; BLOCK];
    let mut at = 0;
    while at < size {
        let (start, end) = extent(from, at, size);
        at = start;
        while at < end {
            let wanted = usize::try_from(end - at).unwrap_or(BLOCK).min(BLOCK);
            let read = match from.read_at(&mut block[..wanted], at) {
                Ok(0) => return (Err(io::ErrorKind::UnexpectedEof.into()), Ok(())),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return (Err(error), Ok(())),
            };
            if let Err(error) = to.write_all_at(&block[..read], at) {
                return (Ok(()), Err(error));
            }
            at += read as u64;
        }
    }
    (check_size(from, size), Ok(()))
}

/// A file that ended in a hole may have become shorter too.
fn check_size(from: &File, size: u64) -> io::Result<()> {
    if from.metadata()?.len() < size { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
}

/// The next bytes that are no hole.
fn extent(file: &File, at: u64, size: u64) -> (u64, u64) {
    match rustix::fs::seek(file, SeekFrom::Data(at)) {
        Ok(start) => {
            let end = rustix::fs::seek(file, SeekFrom::Hole(start)).unwrap_or(size);
            (start.min(size), end.min(size))
        }
        Err(Errno::NXIO) => (size, size), // nothing but a hole is left
        Err(_) => (at, size),             // this file system tells no holes
    }
}

/// The bytes of a small file.
pub(crate) fn read_small(tree: &Tree, found: &Found) -> Result<Vec<u8>, Fault> {
    let mut bytes = Vec::new();
    let read = tree.open_file(found)?.take(found.size).read_to_end(&mut bytes);
    read.map_err(|error| tree.fault(&error, &found.path))?;
    Ok(bytes)
}

/// Removes a directory and all in it.
pub(crate) fn remove(root: &Path, path: &Path) -> Result<(), Fault> {
    let root = Dir::open_ambient_dir(root, ambient_authority());
    let removed = root.and_then(|root| root.remove_dir_all(path));
    removed.map_err(|error| Fault::io(&error, &format!("removing {}", names::shown(path))))
}
