//! What the command writes to its files goes into the container's log, while it is written.
//!
//! The files are looked at again and again; `inotify` has too few instances for all jobs of a node.
//! Invariant: nothing here waits for the log, except [`Follow::finish`], which has an end.

use std::{
    io,
    os::fd::BorrowedFd,
    time::{Duration, Instant},
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::fs::fstat;

use crate::{
    log::{Log, Written},
    streams::Followed,
};

/// Time to the next look while something is written; each look that finds nothing doubles it, up to the longest.
const PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// Longest uninterrupted piece of copying: signals wait that long.
const SLICE: Duration = Duration::from_millis(10);
/// Bytes of one stream that go into the log, at most: a node keeps logs of 10 MiB or so, and each byte costs it.
const MOST: u64 = 64 << 20;
/// How long the rest of a file may take that the command has no more, when it is started again.
const CHANGE: Duration = Duration::from_secs(1);
/// Bytes of one write.
const CHUNK: usize = 16 << 10;

/// Where a follower is after a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Everything that is there is in the log.
    Idle,
    /// The log can take more, and there is more.
    More,
    /// The log takes nothing now.
    Blocked,
    /// No more of this stream goes into the log.
    Over,
}

/// One file on its way into one log.
#[derive(Debug)]
struct Follower {
    source: Followed,
    log: Log,
    /// Where in the file it is.
    offset: u64,
    /// Bytes that went into the log so far.
    followed: u64,
    /// Whether the log is at the beginning of a line.
    at_line_start: bool,
    /// What is left of the last line to write.
    notice: Option<Vec<u8>>,
    step: Step,
}

impl Follower {
    fn new(source: Followed) -> io::Result<Self> {
        let log = Log::open(source.channel)?;
        let step = Step::Idle;
        let (offset, followed) = (0, 0);
        Ok(Self { source, log, offset, followed, at_line_start: true, notice: None, step })
    }

    /// Goes on with the file that the command has now, which may be the same.
    fn change(&mut self, source: Followed) {
        let (Ok(old), Ok(new)) = (fstat(&self.source.file), fstat(&source.file)) else { return };
        if (old.st_dev, old.st_ino) != (new.st_dev, new.st_ino) {
            self.finish(Instant::now() + CHANGE);
            // The command appends to it, and what it had was not written to this stream.
            self.offset = source.size;
        }
        self.source = source;
    }

    /// Copies until all is copied, the log is full or the time is over.
    fn advance(&mut self, deadline: Instant) -> Step {
        while self.step != Step::Over {
            self.step = self.copy().unwrap_or(Step::Over);
            if self.step != Step::More || Instant::now() >= deadline {
                break;
            }
        }
        self.step
    }

    /// Copies one piece. An error is the end: nobody reads the log any more, or nobody can read the file.
    fn copy(&mut self) -> io::Result<Step> {
        if self.notice.is_some() {
            return self.give_notice();
        }
        let size = u64::try_from(fstat(&self.source.file)?.st_size).unwrap_or(0);
        if size < self.offset {
            self.offset = 0; // the job has cut it, and writes it anew
        }
        if size == self.offset {
            return Ok(Step::Idle);
        }
        if self.followed >= MOST {
            let begin = if self.at_line_start { "" } else { "\n" };
            let name = self.source.name.display();
            let words = format!("{begin}starter: the rest is in the file '{name}' only\n");
            self.notice = Some(words.into_bytes());
            return Ok(Step::More);
        }
        let mut buffer = [0; CHUNK];
        let most =
            usize::try_from(MOST - self.followed).unwrap_or(CHUNK).min(self.log.chunk(CHUNK));
        let buffer = buffer.get_mut(..most).unwrap_or_default();
        let read = rustix::io::pread(&self.source.file, &mut *buffer, self.offset)?;
        let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else {
            return Ok(Step::Idle); // cut in this moment
        };
        let Written::Bytes(written) = self.log.write(bytes)? else { return Ok(Step::Blocked) };
        self.offset += written as u64;
        self.followed += written as u64;
        self.at_line_start =
            written.checked_sub(1).and_then(|last| bytes.get(last)) == Some(&b'\n');
        Ok(Step::More)
    }

    fn give_notice(&mut self) -> io::Result<Step> {
        let notice = self.notice.get_or_insert_default();
        let Written::Bytes(written) = self.log.write(notice)? else { return Ok(Step::Blocked) };
        notice.drain(..written.min(notice.len()));
        Ok(if notice.is_empty() { Step::Over } else { Step::More })
    }

    fn finish(&mut self, deadline: Instant) {
        while matches!(self.advance(deadline), Step::More | Step::Blocked) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            if self.step == Step::Blocked {
                let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO);
                let _ = poll(&mut [PollFd::new(self.log.as_fd(), PollFlags::POLLOUT)], timeout);
            }
        }
    }
}

/// All files that are followed.
#[derive(Debug)]
pub(crate) struct Follow {
    followers: Vec<Follower>,
    pause: Duration,
    next: Option<Instant>,
}

impl Follow {
    /// Nothing yet.
    pub(crate) fn new() -> Self {
        Self { followers: Vec::new(), pause: PAUSE, next: None }
    }

    /// Follows the files of a command that was started, or started again.
    pub(crate) fn take(&mut self, files: Vec<Followed>, now: Instant) {
        for file in files {
            let of_channel = |follower: &&mut Follower| follower.source.channel == file.channel;
            match self.followers.iter_mut().find(of_channel) {
                Some(follower) => follower.change(file),
                None => match Follower::new(file) {
                    Ok(follower) => self.followers.push(follower),
                    Err(error) => eprintln!("starter: could not open its own log: {error}"),
                },
            }
        }
        self.pause = PAUSE;
        self.next = (!self.followers.is_empty()).then(|| now + PAUSE);
    }

    /// When [`Follow::tick`] is due, if ever.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.next
    }

    /// The logs that are waited for.
    pub(crate) fn full_logs(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let blocked = self.followers.iter().filter(|follower| follower.step == Step::Blocked);
        blocked.map(|follower| follower.log.as_fd())
    }

    /// Copies what is there and fits.
    pub(crate) fn tick(&mut self, now: Instant) {
        let is_blocked = self.full_logs().next().is_some();
        if !is_blocked && self.next.is_none_or(|next| now < next) {
            return;
        }
        let before: u64 = self.followers.iter().map(|follower| follower.followed).sum();
        for follower in &mut self.followers {
            follower.advance(Instant::now() + SLICE);
        }
        let after: u64 = self.followers.iter().map(|follower| follower.followed).sum();
        let is_at = |step| self.followers.iter().any(|follower| follower.step == step);
        self.pause = if after == before { (self.pause * 2).min(LONGEST_PAUSE) } else { PAUSE };
        self.next = if is_at(Step::More) {
            Some(now)
        } else if is_at(Step::Idle) || is_at(Step::Blocked) {
            Some(now + self.pause)
        } else {
            None
        };
    }

    /// Copies what is left, for at most `time`.
    pub(crate) fn finish(&mut self, time: Duration) {
        let deadline = Instant::now() + time;
        // The one does not wait for the other's log.
        for follower in &mut self.followers {
            follower.advance(deadline);
        }
        for follower in &mut self.followers {
            follower.finish(deadline);
        }
    }
}
