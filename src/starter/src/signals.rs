//! Signals that reach the starter, and what each asks of it.
//!
//! Invariant: all signals are blocked and read from one descriptor, so none interrupts anything and none is
//! lost between two looks. Only a signal from outside the pod counts as a request to stop.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
    time::Duration,
};

use nix::{
    errno::Errno,
    libc::{SI_TKILL, SI_USER},
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        signal::{SigSet, Signal},
        signalfd::{SfdFlags, SignalFd, siginfo},
    },
};

use crate::processes::is_init;

/// The kernel's own signals, such as those of a terminal; nix has no name for the code.
const SI_KERNEL: i32 = nix::libc::SI_KERNEL;

/// Where a signal came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sender {
    /// A process that has no pid in this pid namespace: the container runtime, or an administrator of the node.
    Outside,
    /// A process of this pod: the job, or what was started in its container with `kubectl exec`.
    Inside,
    /// The kernel, e.g. for Ctrl-C on the container's terminal.
    Kernel,
}

/// What a signal asks of the starter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// End the job: soft-kill signal now, SIGKILL later. With the number of the signal that asked for it.
    Stop(i32),
    /// Pass it on to the user's process.
    Forward(Signal),
    /// Nothing to do.
    Nothing,
}

/// All signals of this process, from now on.
#[derive(Debug)]
pub(crate) struct Signals(SignalFd);

impl Signals {
    /// Blocks all signals. Those that were sent to PID 1 earlier were ignored or are pending.
    pub(crate) fn block() -> io::Result<Self> {
        let all = SigSet::all();
        all.thread_block()?;
        Ok(Self(SignalFd::with_flags(&all, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?))
    }

    /// The answer to the next signal that is waiting, if one is.
    pub(crate) fn next(&self) -> Option<Answer> {
        let info = self.0.read_signal().ok().flatten()?;
        let number = i32::try_from(info.ssi_signo).unwrap_or(0);
        Some(answer(number, sender(&info, is_init())))
    }

    /// Waits until a signal arrives or one of the logs can take more, at most for `time`.
    pub(crate) fn wait<'a>(&self, time: Duration, logs: impl Iterator<Item = BorrowedFd<'a>>) {
        // A fraction of a millisecond must not become zero, or the loop would spin until it is over.
        let milliseconds = i32::try_from(time.as_millis() + 1).unwrap_or(i32::MAX);
        let timeout = PollTimeout::try_from(milliseconds).unwrap_or(PollTimeout::MAX);
        let mut awaited = vec![PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
        awaited.extend(logs.map(|log| PollFd::new(log, PollFlags::POLLOUT)));
        match poll(&mut awaited, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => {
                // Only for lack of kernel memory; polling at a human pace is better than ending the job.
                eprintln!("starter: could not wait for signals: {error}");
                std::thread::sleep(Duration::from_secs(1).min(time));
            }
        }
    }
}

/// The kernel sets the pid of a sender that has none here to 0. Only the codes of `kill` and `tgkill` are
/// trusted: with `sigqueue` a process writes what it likes. Outside of a pid namespace everybody has a pid,
/// so a starter that is not PID 1 takes every sender for one from outside, except itself: a write to a log that
/// nobody reads any more is a SIGPIPE.
fn sender(info: &siginfo, is_init: bool) -> Sender {
    match info.ssi_code {
        SI_KERNEL => Sender::Kernel,
        _ if info.ssi_pid == std::process::id() => Sender::Inside,
        SI_USER | SI_TKILL if info.ssi_pid == 0 || !is_init => Sender::Outside,
        _ => Sender::Inside,
    }
}

/// The runtime asks a container to end with the signal that its *image* names (`STOPSIGNAL`): SIGTERM for
/// most, SIGQUIT for nginx's, SIGINT for PostgreSQL's, SIGWINCH for Apache's, a real-time signal for
/// systemd's. Nobody else outside the pod sends signals, so each of them is a request to stop, and the job
/// gets its own soft-kill signal whatever image it uses. Signals that stop and continue processes are no
/// such request and are passed on, as are those of a terminal.
pub(crate) fn answer(number: i32, sender: Sender) -> Answer {
    use Signal::{SIGCHLD, SIGCONT, SIGTSTP, SIGTTIN, SIGTTOU, SIGURG};
    let signal = Signal::try_from(number).ok();
    match (signal, sender) {
        (Some(SIGCHLD | SIGURG), _) | (_, Sender::Inside) | (None, Sender::Kernel) => {
            Answer::Nothing
        }
        (Some(signal), Sender::Kernel) => Answer::Forward(signal),
        (Some(signal @ (SIGCONT | SIGTSTP | SIGTTIN | SIGTTOU)), Sender::Outside) => {
            Answer::Forward(signal)
        }
        (_, Sender::Outside) => Answer::Stop(number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_stop_signal_of_an_image_stops_the_job() {
        for number in [1, 2, 3, 10, 12, 15, 28, 37] {
            assert_eq!(answer(number, Sender::Outside), Answer::Stop(number));
        }
    }

    #[test]
    fn what_the_job_sends_to_its_own_starter_is_not_heeded() {
        for number in 1..65 {
            assert_eq!(answer(number, Sender::Inside), Answer::Nothing);
        }
    }

    #[test]
    fn signals_of_a_terminal_and_of_job_control_are_passed_on() {
        assert_eq!(answer(2, Sender::Kernel), Answer::Forward(Signal::SIGINT));
        assert_eq!(answer(18, Sender::Outside), Answer::Forward(Signal::SIGCONT));
        assert_eq!(answer(17, Sender::Outside), Answer::Nothing);
        assert_eq!(answer(17, Sender::Kernel), Answer::Nothing);
    }
}
