//! The container's log: the starter's own standard output and error, written without waiting for who reads them.
//!
//! Invariant: the open file that a command may have inherited keeps its flags: a command does not expect that its own output
//! refuses to wait.

use std::{
    fs::File,
    io::{self, Write},
    os::fd::{AsFd, BorrowedFd},
};

use nix::{
    libc::PIPE_BUF,
    poll::{PollFd, PollFlags, PollTimeout, poll},
};
use rustix::fs::{FileType, Mode, OFlags, fstat, open};

use crate::streams::Channel;

/// What came of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    /// So many bytes.
    Bytes(usize),
    /// Nothing: it is full.
    Full,
}

/// One of the two.
#[derive(Debug)]
pub(crate) struct Log {
    file: File,
    /// Whether a write to it never waits.
    refuses: bool,
}

impl Log {
    /// Opens the pipe or terminal behind the stream once more, so that it may have a flag of its own. Where that is not
    /// allowed (another user has made it), the stream itself serves.
    pub(crate) fn open(channel: Channel) -> io::Result<Self> {
        let own = match channel {
            Channel::Output => io::stdout().as_fd().try_clone_to_owned()?,
            Channel::Error => io::stderr().as_fd().try_clone_to_owned()?,
        };
        let kind = FileType::from_raw_mode(fstat(&own)?.st_mode);
        if matches!(kind, FileType::Fifo | FileType::CharacterDevice) {
            let path = format!("/proc/self/fd/{}", channel.descriptor());
            let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
            if let Ok(file) = open(path, flags, Mode::empty()) {
                return Ok(Self { file: file.into(), refuses: true });
            }
        }
        Ok(Self { file: own.into(), refuses: false })
    }

    /// Bytes that one write may have, of so many that there are. A pipe that is ready takes `PIPE_BUF` without waiting.
    pub(crate) fn chunk(&self, bytes: usize) -> usize {
        if self.refuses { bytes } else { bytes.min(PIPE_BUF) }
    }

    /// Writes what fits of at most [`Log::chunk`] bytes.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<Written> {
        if !self.refuses {
            let mut ready = [PollFd::new(self.file.as_fd(), PollFlags::POLLOUT)];
            if poll(&mut ready, PollTimeout::ZERO)? == 0 {
                return Ok(Written::Full);
            }
        }
        match self.file.write(bytes) {
            Ok(0) => Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => Ok(Written::Bytes(written)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Written::Full),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(Written::Full),
            Err(error) => Err(error),
        }
    }

    /// To wait for.
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn a_pipe_that_cannot_be_opened_again_is_never_waited_for_either() {
        let (mut reader, writer) = io::pipe().unwrap();
        let mut log = Log { file: std::os::fd::OwnedFd::from(writer).into(), refuses: false };
        let bytes = vec![b'x'; log.chunk(1 << 20)];
        let mut write_all = || {
            let mut written = 0;
            while let Written::Bytes(bytes) = log.write(&bytes).unwrap() {
                written += bytes;
            }
            written
        };
        let full = write_all();
        assert!(full >= 4096, "{full}");
        assert_eq!(write_all(), 0);
        reader.read_exact(&mut vec![0; full]).unwrap();
        assert_eq!(write_all(), full);
        drop(reader);
        // A process that another test starts has the reader too, until it is another program.
        let error = loop {
            match log.write(b"x") {
                Ok(_) => std::thread::yield_now(),
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }
}
