//! Suspending and continuing a job, which keeps its memory meanwhile.
//!
//! Signals do it: in a pod nobody may freeze a control group, which is what `HTCondor` has Docker do.
//! Invariant: the time that counts begins with the signal that stops the job and ends with the one that
//! continues it.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::processes::Reach;

/// Time until the first look whether all stand still; each further one comes after twice the time.
const FIRST_PAUSE: Duration = Duration::from_millis(2);
/// The longest time between two looks; who runs after that cannot be stopped.
const LAST_PAUSE: Duration = Duration::from_secs(2);

/// Whether the job is suspended, and for how long it was.
#[derive(Debug)]
pub(crate) struct Suspension {
    reach: Reach,
    /// When it began, since the node was started.
    since: Option<Duration>,
    /// All that are over.
    past: Duration,
    count: u64,
    check: Option<Check>,
}

/// The next look whether all stand still.
#[derive(Clone, Copy, Debug)]
struct Check {
    at: Instant,
    pause: Duration,
}

impl Suspension {
    /// For a job that runs.
    pub(crate) fn new(reach: Reach) -> Self {
        Self { reach, since: None, past: Duration::ZERO, count: 0, check: None }
    }

    /// The job's command was started again.
    pub(crate) fn reach(&mut self, reach: Reach) {
        self.reach = reach;
    }

    /// Whether the job is suspended.
    pub(crate) fn is_on(&self) -> bool {
        self.since.is_some()
    }

    /// How often it was suspended.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// Milliseconds for which it was suspended, up to now.
    pub(crate) fn milliseconds(&self, since_boot: Duration) -> u64 {
        let current = self.since.map_or(Duration::ZERO, |since| since_boot.saturating_sub(since));
        u64::try_from((self.past + current).as_millis()).unwrap_or(u64::MAX)
    }

    /// Suspends the job.
    pub(crate) fn begin(&mut self, now: Instant, since_boot: Duration) {
        if self.since.is_none() {
            self.since = Some(since_boot);
            self.count += 1;
            self.reach.send(Signal::SIGSTOP);
            self.check = Some(Check { at: now + FIRST_PAUSE, pause: FIRST_PAUSE });
        }
    }

    /// Continues the job. Once is enough: the signal takes back a stop that has not reached its process yet.
    pub(crate) fn end(&mut self, since_boot: Duration) {
        if let Some(since) = self.since.take() {
            self.past += since_boot.saturating_sub(since);
            self.check = None;
            self.reach.send(Signal::SIGCONT);
        }
    }

    /// When [`Suspension::tick`] is due, if ever.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.check.map(|check| check.at)
    }

    /// Stops those that run still. A process takes notice of the signal only when the scheduler lets it run,
    /// and on kernels before 4.19 one that is born in the very moment escapes it.
    pub(crate) fn tick(&mut self, now: Instant) {
        let Some(check) = self.check.filter(|check| now >= check.at) else { return };
        if !self.reach.runs() {
            self.check = None;
            return;
        }
        self.reach.send(Signal::SIGSTOP);
        let pause = check.pause * 2;
        self.check = (pause <= LAST_PAUSE).then_some(Check { at: now + pause, pause });
        if self.check.is_none() {
            eprintln!("starter: could not stop every process of the suspended job");
        }
    }
}
