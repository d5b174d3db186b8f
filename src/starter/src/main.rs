//! The starter: PID 1 of a job's container and the parent of the user's command.
//!
//! It starts the command without a shell, passes signals on, reaps zombies, measures, and tells the
//! operator what became of the command in one [`duj_protocol::Record`]. It knows nothing of Kubernetes.
//!
//! Invariant: whatever happens to the command, a record that says so is in the termination message before
//! the starter ends; and until it ends, a provisional one is there.

// One function of `launch` is excepted.
#![deny(unsafe_code)]

mod arguments;
mod binary_format;
mod cgroup;
mod checkpoint;
mod clock;
mod command;
mod control;
mod disk;
mod environment;
mod executable;
mod follow;
mod handshake;
mod install;
mod job;
mod launch;
mod left;
mod log;
mod meter;
mod network;
mod not_started;
mod processes;
mod run;
mod scratch;
mod signals;
mod streams;
mod suspension;
mod termination;
mod watch;

use arguments::{Invocation, USAGE, UsageError};
use duj_protocol::{Outcome, Record};
use nix::errno::Errno;
use termination::Termination;

/// Exit code for an invocation that makes no sense, as with most programs.
const EXIT_USAGE: i32 = 2;

fn main() {
    let code = match arguments::parse(std::env::args_os().skip(1)) {
        Ok(Invocation::Run(settings)) => run::run(&settings),
        Ok(Invocation::Install(target)) => match install::install(&target) {
            Ok(()) => 0,
            Err(error) => {
                eprintln!("starter: could not install itself as '{}': {error}", target.display());
                1
            }
        },
        Ok(Invocation::Help) => {
            println!("{USAGE}");
            0
        }
        Ok(Invocation::Version) => {
            println!("starter {}", env!("CARGO_PKG_VERSION"));
            0
        }
        Err(error) => refuse(&error),
    };
    std::process::exit(code);
}

/// Says on stderr and, where there is a termination message, in a record that the invocation was refused.
fn refuse(error: &UsageError) -> i32 {
    eprintln!("starter: {}\n{USAGE}", error.message);
    if let Ok(mut termination) = Termination::open(error.record.as_deref()) {
        let record = Record {
            version: Record::VERSION,
            outcome: Some(Outcome::NotStarted {
                errno: Errno::EINVAL as i32,
                message: format!("the starter was called wrongly: {}", error.message),
            }),
            ..Record::default()
        };
        termination.conclude(&record);
    }
    EXIT_USAGE
}
