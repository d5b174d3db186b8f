//! The order that readers of a log rely on (`check_events.cpp`): each proc is submitted once,
//! before anything else, and ends once, after everything else. A lost end hangs `DAGMan`.
//!
//! Beyond `HTCondor`'s own checks, a proc's events must fit its states: what runs is not started
//! again, what is held does not run, only what is held is released. So a log shows two pods that
//! ran at a time. A cluster whose procs materialize late ends after all of them, and has none while it is paused.

use std::{collections::BTreeMap, fmt};

use super::{Body, Cluster, Event, JobId};

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
    /// Its cluster's materialization was paused.
    SubmittedPaused,
    /// The cluster's materialization was paused already.
    PausedTwice,
    /// It was not paused.
    ResumedNotPaused,
    /// Some proc of the cluster had not ended.
    LeftBehind,
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
            Self::SubmittedPaused => "submits though materialization is paused",
            Self::PausedTwice => "pauses what was paused",
            Self::ResumedNotPaused => "resumes what was not paused",
            Self::LeftBehind => "removes the cluster before the last of its procs",
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

/// Where the log has brought a proc so far. A cluster is Idle while procs may come, and Held while it is paused.
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
            (Self::Ended, Body::JobAdInformation { .. })
            | (Self::Unknown, Body::Submit { .. } | Body::Cluster(Cluster::Submitted { .. })) => {
                None
            }
            (Self::Ended, _) => Some(Fault::AfterEnd),
            (Self::Unknown, _) => Some(Fault::NotSubmitted),
            (_, Body::Submit { .. } | Body::Cluster(Cluster::Submitted { .. })) => {
                Some(Fault::SubmittedTwice)
            }
            (Self::Held, Body::Cluster(Cluster::Paused { .. })) => Some(Fault::PausedTwice),
            (Self::Idle, Body::Cluster(Cluster::Resumed { .. })) => Some(Fault::ResumedNotPaused),
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
            Body::Terminated(_) | Body::Aborted { .. } | Body::Cluster(Cluster::Removed { .. }) => {
                Self::Ended
            }
            Body::Submit { .. } | Body::Cluster(Cluster::Submitted { .. })
                if self == Self::Unknown =>
            {
                Self::Idle
            }
            // One missing submission is one fault, whatever follows.
            _ if self == Self::Unknown => Self::Unknown,
            Body::Execute { .. } => Self::Running,
            // A hold on exit is written without an eviction before it.
            Body::Held { .. } | Body::Cluster(Cluster::Paused { .. }) => Self::Held,
            Body::Released { .. } | Body::Cluster(Cluster::Resumed { .. }) => Self::Idle,
            Body::Evicted(_) | Body::ReconnectFailed { .. } if self == Self::Running => Self::Idle,
            _ => self,
        }
    }
}

/// What is wrong between a proc and its cluster.
fn between(procs: &BTreeMap<JobId, (Phase, Violation)>, job: JobId, body: &Body) -> Option<Fault> {
    let at = |proc| JobId { proc, ..job };
    match body {
        Body::Submit { .. } => match procs.get(&at(-1))?.0 {
            Phase::Held => Some(Fault::SubmittedPaused),
            Phase::Ended => Some(Fault::AfterEnd),
            _ => None,
        },
        Body::Cluster(Cluster::Removed { .. }) => {
            let mut own = procs.range(at(0)..=at(i32::MAX));
            own.any(|(_, (phase, _))| *phase != Phase::Ended).then_some(Fault::LeftBehind)
        }
        _ => None,
    }
}

/// All breaches of the order, in the order of the events; what is missing comes last.
pub fn check<'a>(events: impl IntoIterator<Item = &'a Event>, expect: Expect) -> Vec<Violation> {
    let mut procs: BTreeMap<JobId, (Phase, Violation)> = BTreeMap::new();
    let mut violations = Vec::new();
    for (index, Event { job, body, .. }) in events.into_iter().enumerate() {
        let no_end = Violation { job: *job, index, number: body.number(), fault: Fault::NoEnd };
        let between = between(&procs, *job, body);
        violations.extend(between.map(|fault| Violation { fault, ..no_end }));
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
