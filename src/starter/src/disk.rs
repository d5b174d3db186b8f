//! How much the job has in its scratch directories, found by walking them.
//!
//! Allocated blocks are counted, as `du` does, not the sizes that files claim. `statvfs` would be cheaper
//! and tells nothing: the volume is a directory of the node's own file system.
//! Invariant: a walk never leaves the file systems it begins in, never follows a link, and runs at most 5 % of the time.

use std::{
    ffi::CString,
    io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    rc::Rc,
    time::{Duration, Instant},
};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, fstat, openat, statat};

/// Longest uninterrupted piece of a walk: signals wait that long.
const SLICE: Duration = Duration::from_millis(10);
/// A piece that took some time is followed by this many times as long without any.
const REST: u32 = 19;
/// Time from one walk's end to the next one's start, at least; with a limit to watch and without.
const WATCHED_INTERVAL: Duration = Duration::from_secs(1);
const UNWATCHED_INTERVAL: Duration = Duration::from_secs(30);
/// Directories waiting for their turn, at most: memory is the job's. What is beyond goes uncounted; the
/// volume's own limit stands behind this one.
const MOST_PENDING: usize = 50_000;
/// Entries between two looks at the clock.
const ENTRIES_PER_LOOK: u32 = 64;

/// What a walk found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Allocated bytes of files and directories.
    pub(crate) bytes: u64,
    /// Files of any kind other than directories.
    pub(crate) files: u64,
}

/// A walk in progress. It holds one descriptor per level of depth.
#[derive(Debug)]
struct Walk {
    devices: Vec<u64>,
    pending: Vec<(Rc<OwnedFd>, CString)>,
    current: Option<(Rc<OwnedFd>, Dir)>,
    tally: Tally,
}

impl Walk {
    fn begin(roots: &[Rc<OwnedFd>]) -> io::Result<Self> {
        let device = |root: &Rc<OwnedFd>| Ok(fstat(root)?.st_dev);
        let devices = roots.iter().map(device).collect::<io::Result<_>>()?;
        let pending = roots.iter().map(|root| (Rc::clone(root), c".".to_owned())).collect();
        Ok(Self { devices, pending, current: None, tally: Tally::default() })
    }

    /// Goes on until `deadline`. True when the walk is complete. What vanishes or may not be read meanwhile
    /// is passed over.
    fn step(&mut self, deadline: Instant) -> bool {
        let mut looked = 0u32;
        loop {
            looked += 1;
            if looked.is_multiple_of(ENTRIES_PER_LOOK) && Instant::now() >= deadline {
                return false;
            }
            let Some((directory, entries)) = &mut self.current else {
                let Some((parent, name)) = self.pending.pop() else { return true };
                self.current = enter(&parent, &name);
                continue;
            };
            let Some(Ok(entry)) = entries.next() else {
                self.current = None;
                continue;
            };
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
            let Ok(stat) = statat(&*directory, name, flags) else { continue };
            if !self.devices.contains(&stat.st_dev) {
                continue; // a volume of its own, with a limit of its own
            }
            let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
            self.tally.bytes += share(&stat, is_directory);
            if !is_directory {
                self.tally.files += 1;
            } else if self.pending.len() < MOST_PENDING {
                self.pending.push((Rc::clone(directory), name.to_owned()));
            }
        }
    }
}

/// A file with several names is met several times: each time its share counts, which makes it whole once
/// without remembering any.
fn share(stat: &Stat, is_directory: bool) -> u64 {
    let bytes = u64::try_from(stat.st_blocks).unwrap_or(0) * 512;
    if is_directory { bytes } else { bytes / stat.st_nlink.max(1) }
}

fn open_root(root: &Path) -> io::Result<Rc<OwnedFd>> {
    let flags = directory_flags().difference(OFlags::NOFOLLOW);
    Ok(Rc::new(openat(CWD, root, flags, Mode::empty())?))
}

fn directory_flags() -> OFlags {
    OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC
}

fn enter(parent: &OwnedFd, name: &CString) -> Option<(Rc<OwnedFd>, Dir)> {
    let directory = openat(parent, name, directory_flags(), Mode::empty()).ok()?;
    let entries = Dir::read_from(&directory).ok()?;
    Some((Rc::new(directory), entries))
}

/// Walks again and again, a piece at a time.
#[derive(Debug)]
pub(crate) struct DiskWatch {
    roots: Vec<Rc<OwnedFd>>,
    limit: Option<u64>,
    walk: Option<Walk>,
    last: Tally,
    over: bool,
    next: Instant,
}

impl DiskWatch {
    /// Watches everything below `root` and `others`. Fails where one cannot be read: a limit that nobody watches is
    /// none.
    pub(crate) fn new(
        root: &Path,
        others: &[PathBuf],
        limit: Option<u64>,
        now: Instant,
    ) -> Result<Self, (PathBuf, io::Error)> {
        let next = now + WATCHED_INTERVAL;
        let roots = std::iter::once(root).chain(others.iter().map(PathBuf::as_path));
        let open = |root: &Path| open_root(root).map_err(|error| (root.to_owned(), error));
        Ok(Self {
            roots: roots.map(open).collect::<Result<_, _>>()?,
            limit,
            walk: None,
            last: Tally::default(),
            over: false,
            next,
        })
    }

    /// When [`DiskWatch::tick`] is due.
    pub(crate) fn next(&self) -> Instant {
        self.next
    }

    /// What the last complete walk found.
    pub(crate) fn last(&self) -> Tally {
        self.last
    }

    /// Goes on with the walk. Returns the bytes in use when they are over the limit.
    ///
    /// Two walks in a row must say so: a file that is renamed while a walk passes can be met twice.
    pub(crate) fn tick(&mut self, now: Instant) -> Option<u64> {
        if self.walk.is_none() {
            self.walk = Walk::begin(&self.roots).ok();
        }
        let complete = self.walk.as_mut().is_none_or(|walk| walk.step(now + SLICE));
        let rest = now.elapsed() * REST;
        if !complete {
            self.next = Instant::now() + rest;
            return None;
        }
        if let Some(walk) = self.walk.take() {
            self.last = walk.tally;
        }
        let was_over = self.over;
        self.over = self.limit.is_some_and(|limit| self.last.bytes > limit);
        let interval = match self.limit {
            Some(_) if self.over => Duration::ZERO,
            Some(_) => WATCHED_INTERVAL,
            None => UNWATCHED_INTERVAL,
        };
        self.next = Instant::now() + rest.max(interval);
        (self.over && was_over).then_some(self.last.bytes)
    }

    /// One last walk, for at most `time`. A tree too large for that keeps the larger of what the last
    /// complete walk and this one found.
    pub(crate) fn conclude(&mut self, time: Duration) -> Tally {
        if let Ok(mut walk) = Walk::begin(&self.roots)
            && (walk.step(Instant::now() + time) || walk.tally.bytes > self.last.bytes)
        {
            self.last = walk.tally;
        }
        self.last
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{self, File},
        os::unix::fs::{FileExt, MetadataExt, symlink},
    };

    use super::*;

    const LONG: Duration = Duration::from_mins(10);

    fn fresh(name: &str) -> PathBuf {
        let root = std::env::temp_dir().join(format!("starter-disk-{}-{name}", std::process::id()));
        fs::create_dir_all(root.join("work/deep/deeper")).unwrap();
        root
    }

    fn walked(root: &Path) -> Tally {
        DiskWatch::new(root, &[], None, Instant::now()).unwrap().conclude(LONG)
    }

    #[test]
    fn blocks_count_and_holes_and_links_do_not() {
        let root = fresh("blocks");
        let empty = walked(&root);
        assert_eq!(empty.files, 0);
        let file = root.join("work/deep/deeper/file");
        fs::write(&file, vec![1; 100_000]).unwrap();
        let blocks = fs::metadata(&file).unwrap().blocks() * 512;
        let one = walked(&root);
        assert_eq!(one, Tally { bytes: empty.bytes + blocks, files: 1 });

        fs::hard_link(&file, root.join("work/twin")).unwrap();
        symlink("/", root.join("work/link")).unwrap();
        let hole = File::create(root.join("work/hole")).unwrap();
        hole.write_all_at(b"x", 50_000_000).unwrap();
        let all = walked(&root);
        assert_eq!(all.files, 4);
        assert!(all.bytes < one.bytes + 100_000, "{all:?} after {one:?}");
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn what_is_elsewhere_counts_too() {
        let (root, other) = (fresh("here"), fresh("elsewhere"));
        for place in [&root, &other] {
            fs::write(place.join("work/file"), vec![1; 100_000]).unwrap();
        }
        let both = std::slice::from_ref(&other);
        let both = DiskWatch::new(&root, both, None, Instant::now()).unwrap().conclude(LONG);
        let (one, two) = (walked(&root), walked(&other));
        assert_eq!(both, Tally { bytes: one.bytes + two.bytes, files: 2 });
        let missing = [root.join("missing")];
        let (path, _) = DiskWatch::new(&root, &missing, None, Instant::now()).unwrap_err();
        assert_eq!(path, missing[0]);
        for place in [root, other] {
            fs::remove_dir_all(place).unwrap();
        }
    }

    #[test]
    fn another_file_system_is_not_entered() {
        // /proc is a file system below the root directory on every machine that runs this.
        let mut walk = Walk::begin(&[open_root(Path::new("/proc")).unwrap()]).unwrap();
        walk.devices[0] += 1;
        assert!(walk.step(Instant::now() + LONG));
        assert_eq!(walk.tally, Tally::default());
    }

    #[test]
    fn a_walk_goes_on_where_it_was_interrupted() {
        let root = fresh("pieces");
        for number in 0..500 {
            fs::write(root.join(format!("work/{number}")), "x").unwrap();
        }
        let mut walk = Walk::begin(&[open_root(&root).unwrap()]).unwrap();
        let mut pieces = 1;
        while !walk.step(Instant::now()) {
            pieces += 1;
        }
        assert!(pieces > 3, "{pieces}");
        assert_eq!(walk.tally, walked(&root));
        assert_eq!(walk.tally.files, 500);
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn two_walks_in_a_row_must_be_over_the_limit() {
        let root = fresh("limit");
        let file = root.join("work/file");
        fs::write(&file, vec![1; 300_000]).unwrap();
        let mut watch = DiskWatch::new(&root, &[], Some(100_000), Instant::now()).unwrap();
        assert_eq!(watch.tick(Instant::now()), None);
        fs::remove_file(&file).unwrap();
        assert_eq!(watch.tick(Instant::now()), None);
        fs::write(&file, vec![1; 300_000]).unwrap();
        assert_eq!(watch.tick(Instant::now()), None);
        assert!(watch.tick(Instant::now()).is_some_and(|bytes| bytes > 300_000));
        fs::remove_dir_all(root).unwrap();
    }
}
