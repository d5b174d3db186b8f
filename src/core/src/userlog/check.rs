//! The order that readers of a log rely on (`check_events.cpp`): each proc is submitted once,
//! before anything else, and ends once, after everything else. A lost end hangs `DAGMan`.
//!
//! Beyond `HTCondor`'s own checks, a proc's events must fit its states: what runs is not started
//! again, what is held does not run, only what is held is released. So a log shows two pods that
//! ran at a time.

use std::{collections::BTreeMap, fmt};

use super::{Body, Event, JobId};

/// Whether the log is of jobs that may still be about, or of jobs that have all ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// Ends may be missing.
    Running,
    /// Each proc must have ended.
    Finished,
}

/// What is wrong with one event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The proc was not submitted before.
    NotSubmitted,
    /// It was.
    SubmittedTwice,
    /// The proc had ended before.
    AfterEnd,
    /// No end follows; told of the proc's last event.
    NoEnd,
    /// It was running already.
    ExecutesTwice,
    /// It runs, though it is held.
    ExecutesHeld,
    /// It was held already.
    HeldTwice,
    /// It was not held.
    ReleasedNotHeld,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotSubmitted => "comes before the submission",
            Self::SubmittedTwice => "submits for a second time",
            Self::AfterEnd => "comes after the end",
            Self::NoEnd => "is the last one, but no end",
            Self::ExecutesTwice => "starts what was running",
            Self::ExecutesHeld => "starts what was held",
            Self::HeldTwice => "holds what was held",
            Self::ReleasedNotHeld => "releases what was not held",
        })
    }
}

/// One breach of the order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Violation {
    /// The proc.
    pub job: JobId,
    /// Which of the events, counted from 0.
    pub index: usize,
    /// The event's number.
    pub number: u16,
    /// What is wrong with it.
    pub fault: Fault,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { job, index, number, fault } = self;
        write!(f, "job {job}: event {number:03} at position {index} {fault}")
    }
}

/// Where the log has brought a proc so far.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Unknown,
    Idle,
    Running,
    Held,
    Ended,
}

impl Phase {
    fn fault(self, body: &Body) -> Option<Fault> {
        match (self, body) {
            // 028 follows each event, the last one too.
            (Self::Ended, Body::JobAdInformation { .. }) | (Self::Unknown, Body::Submit { .. }) => {
                None
            }
            (Self::Ended, _) => Some(Fault::AfterEnd),
            (Self::Unknown, _) => Some(Fault::NotSubmitted),
            (_, Body::Submit { .. }) => Some(Fault::SubmittedTwice),
            (Self::Held, Body::Execute { .. }) => Some(Fault::ExecutesHeld),
            (Self::Running, Body::Execute { .. }) => Some(Fault::ExecutesTwice),
            (Self::Held, Body::Held { .. }) => Some(Fault::HeldTwice),
            (Self::Idle | Self::Running, Body::Released { .. }) => Some(Fault::ReleasedNotHeld),
            _ => None,
        }
    }

    fn after(self, body: &Body) -> Self {
        match body {
            _ if self == Self::Ended => Self::Ended,
            Body::Terminated(_) | Body::Aborted { .. } => Self::Ended,
            Body::Submit { .. } if self == Self::Unknown => Self::Idle,
            // One missing submission is one fault, whatever follows.
            _ if self == Self::Unknown => Self::Unknown,
            Body::Execute { .. } => Self::Running,
            // A hold on exit is written without an eviction before it.
            Body::Held { .. } => Self::Held,
            Body::Released { .. } => Self::Idle,
            Body::Evicted(_) | Body::ReconnectFailed { .. } if self == Self::Running => Self::Idle,
            _ => self,
        }
    }
}

/// All breaches of the order, in the order of the events; what is missing comes last.
pub fn check<'a>(events: impl IntoIterator<Item = &'a Event>, expect: Expect) -> Vec<Violation> {
    let mut procs: BTreeMap<JobId, (Phase, Violation)> = BTreeMap::new();
    let mut violations = Vec::new();
    for (index, Event { job, body, .. }) in events.into_iter().enumerate() {
        let no_end = Violation { job: *job, index, number: body.number(), fault: Fault::NoEnd };
        let (phase, last) = procs.entry(*job).or_insert((Phase::Unknown, no_end));
        violations.extend(phase.fault(body).map(|fault| Violation { fault, ..no_end }));
        (*phase, *last) = (phase.after(body), no_end);
    }
    if expect == Expect::Finished {
        let unfinished = procs.values().filter(|(phase, _)| *phase != Phase::Ended);
        violations.extend(unfinished.map(|(_, no_end)| *no_end));
    }
    violations
}
