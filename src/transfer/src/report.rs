//! Tells where the transfer is: a line on standard output for each change, the last also as the termination message.
//!
//! Invariant: whatever is told fits into the termination message and has no credentials in it.

use std::{
    fs,
    io::{self, Write as _},
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use duj_protocol::transfer::{Failure, Report, State};

use crate::fault::Fault;

/// Checkpoints of which the time is told.
const CHECKPOINTS: usize = 10;

/// Collects and tells.
#[derive(Debug)]
pub(crate) struct Reporter {
    report: Mutex<Report>,
    record: PathBuf,
    /// The hold code of what fails by default.
    direction: i32,
}

impl Reporter {
    /// The last report goes to `record`.
    pub(crate) fn new(record: PathBuf, direction: i32) -> Self {
        let report = Report { version: Report::VERSION, ..Report::default() };
        Self { report: Mutex::new(report), record, direction }
    }

    /// Tells another state.
    pub(crate) fn tell(&self, state: State, fault: Option<&Fault>) {
        let failure = fault.map(|fault| fault.failure(self.direction));
        self.change(|report| {
            report.state = state;
            report.failure = failure;
        });
    }

    /// Something is about to move.
    pub(crate) fn begin(&self) {
        self.change(|report| {
            report.state = State::Active;
            report.failure = None;
            report.started.get_or_insert_with(now);
        });
    }

    /// Another round of sending begins: what an earlier one moved does not count.
    pub(crate) fn begin_round(&self, round: u64) {
        {
            let mut report = self.lock();
            (report.files, report.bytes, report.round) = (0, 0, round);
        }
        self.begin();
    }

    /// A transient fault is about to be tried again.
    pub(crate) fn retrying(&self, fault: &Fault) {
        self.tell(State::Retrying, Some(fault));
    }

    /// What was being tried again goes on.
    pub(crate) fn goes_on(&self) {
        if self.lock().state == State::Retrying {
            self.tell(State::Active, None);
        }
    }

    /// A file of so many bytes is where it belongs.
    pub(crate) fn moved(&self, bytes: u64) {
        let mut report = self.lock();
        report.files += 1;
        report.bytes += bytes;
        report.finished = Some(now());
    }

    /// A checkpoint is whole.
    pub(crate) fn checkpoint(&self) {
        self.change(|report| {
            report.checkpoint_count += 1;
            report.checkpoints.push(now());
            let old = report.checkpoints.len().saturating_sub(CHECKPOINTS);
            report.checkpoints.drain(..old);
        });
    }

    /// Tells that nothing has happened yet.
    pub(crate) fn print_now(&self) {
        print(&self.lock());
    }

    /// Tells what `change` makes of the report.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Report)) {
        let mut report = self.lock();
        let before = report.clone();
        change(&mut report);
        if *report != before {
            print(&report);
        }
    }

    /// Tells for the last time.
    pub(crate) fn conclude(&self, state: State, failure: Option<Failure>) {
        let mut report = self.lock();
        report.state = state;
        report.failure = failure;
        print(&report);
        if let Err(error) = fs::write(&self.record, report.to_message()) {
            eprintln!("transfer: cannot write '{}': {error}", self.record.display());
        }
    }

    /// The hold code of what fails by default.
    pub(crate) fn direction(&self) -> i32 {
        self.direction
    }

    fn lock(&self) -> MutexGuard<'_, Report> {
        self.report.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Nobody may read it: then that is no reason to stop.
fn print(report: &Report) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{}", report.to_message());
    let _ = out.flush();
}

/// Milliseconds since the epoch.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
