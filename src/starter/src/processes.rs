//! The processes of the container: signalling them and reaping them.
//!
//! Invariant: signal -1, which reaches every process in sight, is sent only by PID 1, whose sight ends at
//! the container. A starter that is not PID 1 (a test, a developer's machine) reaches the command's process
//! group and nothing else.

use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, getpid},
};
use rustix::process::{WaitOptions, wait};

/// Who a signal for "the job" reaches.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Reach {
    /// All processes of the container: what `setsid` and `timeout` start has left the command's group.
    Container,
    /// The command's process group.
    Group(Pid),
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Exited(i32),
    Signalled(i32),
}

/// Whether this process is the first of its pid namespace.
pub(crate) fn is_init() -> bool {
    getpid().as_raw() == 1
}

impl Reach {
    /// The reach for a command that was started as `main`, the leader of its group.
    pub(crate) fn of(main: Pid) -> Self {
        if is_init() { Self::Container } else { Self::Group(main) }
    }

    /// Sends `signal`. That nobody is left to receive it is no error.
    pub(crate) fn send(self, signal: Signal) {
        let target = match self {
            Self::Container if is_init() => -1,
            // The negative of a group's number is the group; of 1 it would be everybody.
            Self::Group(main) if main.as_raw() > 1 => -main.as_raw(),
            Self::Container | Self::Group(_) => return,
        };
        let _ = kill(Pid::from_raw(target), signal);
    }
}

/// One process that has ended, and was a zombie until now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reaped {
    pub(crate) pid: Pid,
    pub(crate) end: End,
}

/// What [`reap`] found.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Reaping {
    One(Reaped),
    /// Children are left, and all of them run.
    Running,
    /// There are no children.
    None,
}

/// Reaps one process if one has ended. Every orphan of the container is a child of PID 1.
pub(crate) fn reap() -> Reaping {
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) => {
                let pid = Pid::from_raw(pid.as_raw_nonzero().get());
                // Numbers, because a process can die of a real-time signal, which has no name.
                let end = match (status.exit_status(), status.terminating_signal()) {
                    (Some(code), _) => End::Exited(code),
                    (None, Some(signal)) => End::Signalled(signal),
                    (None, None) => continue, // stopped or continued: not asked for
                };
                return Reaping::One(Reaped { pid, end });
            }
            Ok(None) => return Reaping::Running,
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return Reaping::None,
        }
    }
}
