//! The job as it runs: its command's process, what is followed of it, and its starts after checkpoints.
//!
//! Invariant: while a checkpoint is saved there is no process of the command, and its number, which another process may have
//! by then, is not used.

use duj_protocol::transfer::handshake;
use std::time::Instant;

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{
    arguments::Settings, checkpoint::Checkpoints, command::Command, follow::Follow,
    not_started::NotStarted, processes::Reach, streams::Begin,
};

/// How a command is started again.
#[derive(Debug)]
pub(crate) struct Again {
    /// The same command.
    command: Command,
    /// Its checkpoints.
    pub(crate) checkpoints: Checkpoints,
}

/// The job.
#[derive(Debug)]
pub(crate) struct Job {
    /// The process of the command, while there is one.
    main: Option<Pid>,
    /// Who its signals reach.
    pub(crate) reach: Reach,
    /// What it writes into files.
    pub(crate) follow: Follow,
    /// For a job that makes checkpoints.
    pub(crate) again: Option<Again>,
}

impl Job {
    /// Starts the command for the first time.
    pub(crate) fn start(command: Command, settings: &Settings) -> Result<Self, NotStarted> {
        // A checkpoint of another attempt brought what they had by then.
        let restored = settings.handshake.as_ref();
        let restored = restored.is_some_and(|place| place.join(handshake::RESTORED).exists());
        let begin = if restored { Begin::Append } else { Begin::Empty };
        let (main, files) = command.start(begin)?;
        let mut follow = Follow::new();
        follow.take(files, Instant::now());
        let checkpoints = settings
            .checkpoint_exit_code
            .zip(settings.handshake.as_deref())
            .map(|(code, directory)| Checkpoints::new(code, directory));
        let again = checkpoints.map(|checkpoints| Again { command, checkpoints });
        Ok(Self { main: Some(main), reach: Reach::of(main), follow, again })
    }

    /// Starts it once more.
    pub(crate) fn start_again(&mut self) -> Result<(), NotStarted> {
        let Some(again) = &mut self.again else { return Ok(()) };
        let (main, files) = again.command.start(Begin::Append)?;
        again.checkpoints.done();
        self.follow.take(files, Instant::now());
        (self.main, self.reach) = (Some(main), Reach::of(main));
        Ok(())
    }

    /// Whether this is the command's process.
    pub(crate) fn is_main(&self, pid: Pid) -> bool {
        self.main == Some(pid)
    }

    /// The command's process has ended.
    pub(crate) fn has_ended(&mut self) {
        self.main = None;
    }

    /// Passes a signal on to the command's own process. It is not reaped yet, so the number is still the command's.
    pub(crate) fn forward(&self, signal: Signal) {
        if let Some(main) = self.main {
            let _ = kill(main, signal);
        }
    }

    /// Whether there is a command to be asked or killed.
    pub(crate) fn runs(&self) -> bool {
        self.main.is_some()
    }
}
