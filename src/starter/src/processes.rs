//! The processes of the container: signalling them, reaping them, and seeing whether they stand still.
//!
//! Invariant: signal -1, which reaches every process in sight, is sent only by PID 1, whose sight ends at
//! the container. A starter that is not PID 1 (a test, a developer's machine) reaches the command's process
//! group and nothing else.

use std::{ffi::OsStr, fs};

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

impl End {
    /// The shells' exit code for it.
    pub(crate) fn exit_code(self) -> i32 {
        match self {
            Self::Exited(code) => code,
            Self::Signalled(signal) => 128 + signal,
        }
    }
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

    /// Whether a process within reach runs, or sleeps where a signal would wake it up. One that is stopped or
    /// dead does not, nor does one that the kernel holds: the signal waits at its way out.
    pub(crate) fn runs(self) -> bool {
        let Ok(entries) = fs::read_dir("/proc") else { return false };
        entries.flatten().any(|entry| {
            is_pid(&entry.file_name())
                && fs::read(entry.path().join("stat"))
                    .ok()
                    .and_then(|stat| State::parse(&stat))
                    .is_some_and(|state| self.includes(&state) && matches!(state.code, b'R' | b'S'))
        })
    }

    fn includes(self, state: &State) -> bool {
        match self {
            Self::Container => state.pid != 1,
            Self::Group(main) => state.group == main.as_raw(),
        }
    }
}

fn is_pid(name: &OsStr) -> bool {
    name.as_encoded_bytes().iter().all(u8::is_ascii_digit)
}

/// What `/proc/<pid>/stat` tells of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct State {
    pid: i32,
    /// One letter, as `ps` shows it.
    code: u8,
    group: i32,
}

impl State {
    /// The second field, in parentheses, is a name in which anything may stand.
    fn parse(stat: &[u8]) -> Option<Self> {
        let name_begins = stat.iter().position(|byte| *byte == b'(')?;
        let name_ends = stat.iter().rposition(|byte| *byte == b')')?;
        let (pid, rest) = (stat.get(..name_begins)?, stat.get(name_ends + 1..)?);
        let mut fields = str::from_utf8(rest).ok()?.split_ascii_whitespace();
        let code = *fields.next()?.as_bytes().first()?;
        let group = fields.nth(1)?.parse().ok()?;
        Some(Self { pid: str::from_utf8(pid).ok()?.trim().parse().ok()?, code, group })
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

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_name_cannot_feign_a_state() {
        let stat = b"42 (a) R 1 (\xff\n) T 7 40 40 0 -1 4194304 95 0 0 0\n";
        assert_eq!(State::parse(stat), Some(State { pid: 42, code: b'T', group: 40 }));
        for stat in [&b""[..], b"42", b"42 (a", b"42 )a(", b"42 (a)", b"42 (a) T 7", b"x (a) T 7 4"]
        {
            assert_eq!(State::parse(stat), None, "{stat:?}");
        }
    }

    #[test]
    fn the_whole_machine_is_never_the_group() {
        let own = fs::read("/proc/self/stat").unwrap();
        let state = State::parse(&own).unwrap();
        assert_eq!(state.pid, getpid().as_raw());
        assert!(Reach::Group(Pid::from_raw(state.group)).includes(&state));
        assert!(!Reach::Group(Pid::from_raw(state.group + 1)).includes(&state));
    }

    #[test]
    fn who_is_stopped_does_not_run() {
        use std::os::unix::process::CommandExt;
        let mut child =
            Command::new("sleep").arg("60").process_group(0).stdin(Stdio::null()).spawn().unwrap();
        let group = Reach::Group(Pid::from_raw(i32::try_from(child.id()).unwrap()));
        let becomes = |running| {
            (0..500).any(|_| {
                std::thread::sleep(std::time::Duration::from_millis(10));
                group.runs() == running
            })
        };
        let mut seen = vec![becomes(true)];
        for (signal, running) in [(Signal::SIGSTOP, false), (Signal::SIGCONT, true)] {
            group.send(signal);
            seen.push(becomes(running));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(seen, [true, true, true]);
        assert!(!group.runs());
    }
}
