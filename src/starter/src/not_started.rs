//! The command was not started, and why.
//!
//! Invariant: the message is one line, and the number is the system's for what failed.

use duj_protocol::Outcome;
use nix::errno::Errno;

/// Exit code when the starter itself failed, as Docker's for its daemon.
pub(crate) const EXIT_STARTER: i32 = 125;

/// Why a command does not run.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NotStarted {
    /// The system's number of the error.
    pub(crate) errno: Errno,
    /// One line.
    pub(crate) message: String,
    /// For the starter.
    pub(crate) exit_code: i32,
}

impl NotStarted {
    /// The command's surroundings could not be made.
    pub(crate) fn surroundings(errno: Errno, message: String) -> Self {
        Self { errno, message, exit_code: EXIT_STARTER }
    }

    /// The same for the record.
    pub(crate) fn into_outcome(self) -> Outcome {
        Outcome::NotStarted { errno: self.errno as i32, message: self.message }
    }
}
