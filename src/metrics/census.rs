//! How many jobs and procs there are in which state.
//!
//! Invariant: a change of a job costs the same however many there are: what it counted for is taken off, what it counts for
//! now is added. A list of all jobs that comes anew ends with exactly the jobs that it told of.

use super::labels::{Because, Condition, JobState, OTHER, OfJob, OfProc, ProcState, known};
use duj_api::{
    DockerUniverseJob,
    condition::{self, Reason},
    status::Counts,
};
use kube::{ResourceExt, runtime::watcher};
use prometheus_client::metrics::{family::Family, gauge::Gauge};
use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// Conditions of jobs.
pub(super) const CONDITIONS: [&str; 6] = [
    condition::FINISHED,
    condition::COMPLETE,
    condition::FAILED,
    condition::HELD,
    condition::RECONCILING,
    condition::STALLED,
];

/// Reasons of jobs that have not ended, with what stands for all others.
pub(super) const REASONS: [&str; 20] = [
    Reason::Submitted.as_str(),
    Reason::WaitingForScheduler.as_str(),
    Reason::Unschedulable.as_str(),
    Reason::LimitReached.as_str(),
    Reason::QuotaExceeded.as_str(),
    Reason::PodNotCreated.as_str(),
    Reason::NamespaceTerminating.as_str(),
    Reason::Starting.as_str(),
    Reason::PullingImage.as_str(),
    Reason::StarterImageUnavailable.as_str(),
    Reason::WaitingForConfiguration.as_str(),
    Reason::Evicted.as_str(),
    Reason::TransferringInput.as_str(),
    Reason::Running.as_str(),
    Reason::TransferringOutput.as_str(),
    Reason::Suspended.as_str(),
    Reason::NodeNotAnswering.as_str(),
    Reason::Stopping.as_str(),
    Reason::Held.as_str(),
    OTHER,
];

/// What one job counts for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Share {
    state: JobState,
    /// Those of [`CONDITIONS`] that are true, a bit for each.
    conditions: u8,
    /// Why it is where it is, while it has not ended.
    reason: Option<&'static str>,
    procs: Counts,
}

#[derive(Debug)]
struct Known {
    share: Share,
    /// When the watch first told of it; absent where it was there before us.
    told: Option<Instant>,
}

#[derive(Debug, Default)]
struct State {
    jobs: HashMap<String, Known>,
    /// Seen since a list of all began.
    listed: Option<HashSet<String>>,
}

/// The census.
#[derive(Debug)]
pub(super) struct Census {
    state: Mutex<State>,
    pub(super) jobs: Family<OfJob, Gauge>,
    pub(super) procs: Family<OfProc, Gauge>,
    pub(super) conditions: Family<Condition, Gauge>,
    pub(super) reasons: Family<Because, Gauge>,
}

impl Default for Census {
    fn default() -> Self {
        let census = Self {
            state: Mutex::default(),
            jobs: Family::default(),
            procs: Family::default(),
            conditions: Family::default(),
            reasons: Family::default(),
        };
        for state in JobState::ALL.iter().copied() {
            drop(census.jobs.get_or_create(&OfJob { state }));
        }
        for state in ProcState::ALL.iter().copied() {
            drop(census.procs.get_or_create(&OfProc { state }));
        }
        for condition in CONDITIONS {
            drop(census.conditions.get_or_create(&Condition { condition }));
        }
        for reason in REASONS {
            drop(census.reasons.get_or_create(&Because { reason }));
        }
        census
    }
}

impl Census {
    /// What the watch of jobs tells.
    pub(super) fn event(&self, event: &watcher::Event<DockerUniverseJob>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            watcher::Event::Init => state.listed = Some(HashSet::new()),
            watcher::Event::InitApply(job) | watcher::Event::Apply(job) => {
                let uid = job.uid().unwrap_or_default();
                if let Some(listed) = &mut state.listed {
                    listed.insert(uid.clone());
                }
                let share = share(job);
                self.count(&share, 1);
                let told = state.listed.is_none().then(Instant::now);
                let before = state.jobs.remove(&uid);
                if let Some(before) = &before {
                    self.count(&before.share, -1);
                }
                let told = before.map_or(told, |before| before.told);
                state.jobs.insert(uid, Known { share, told });
            }
            watcher::Event::Delete(job) => {
                if let Some(before) = state.jobs.remove(&job.uid().unwrap_or_default()) {
                    self.count(&before.share, -1);
                }
            }
            watcher::Event::InitDone => {
                let Some(listed) = state.listed.take() else { return };
                state.jobs.retain(|uid, known| {
                    let is_there = listed.contains(uid);
                    if !is_there {
                        self.count(&known.share, -1);
                    }
                    is_there
                });
            }
        }
    }

    /// How long ago the watch first told of a job; absent where it was there before us.
    pub(super) fn told(&self, uid: &str) -> Option<Duration> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        Some(state.jobs.get(uid)?.told?.elapsed())
    }

    /// Adds what a job counts for, so many times.
    fn count(&self, share: &Share, times: i64) {
        self.jobs.get_or_create(&OfJob { state: share.state }).inc_by(times);
        for (bit, condition) in CONDITIONS.into_iter().enumerate() {
            if share.conditions & (1 << bit) != 0 {
                self.conditions.get_or_create(&Condition { condition }).inc_by(times);
            }
        }
        if let Some(reason) = share.reason {
            self.reasons.get_or_create(&Because { reason }).inc_by(times);
        }
        for state in ProcState::ALL.iter().copied() {
            let number = procs(&share.procs, state);
            if number != 0 {
                self.procs.get_or_create(&OfProc { state }).inc_by(number.saturating_mul(times));
            }
        }
    }
}

fn procs(counts: &Counts, state: ProcState) -> i64 {
    match state {
        ProcState::Idle => counts.idle,
        ProcState::Running => counts.running,
        ProcState::Held => counts.held,
        ProcState::Suspended => counts.suspended,
        ProcState::Completed => counts.completed,
        ProcState::Removed => counts.removed,
        ProcState::Unmaterialized => counts.unmaterialized,
    }
}

fn share(job: &DockerUniverseJob) -> Share {
    let status = job.status.as_ref();
    let holds = |type_: &str| {
        let conditions = status.iter().flat_map(|status| &status.conditions);
        conditions.into_iter().any(|it| it.type_ == type_ && it.status == "True")
    };
    let conditions = (0..).zip(CONDITIONS).filter(|(_, type_)| holds(type_));
    let conditions = conditions.fold(0u8, |bits, (bit, _)| bits | 1 << bit);
    let counts = status.and_then(|status| status.counts);
    let finished = holds(condition::FINISHED);
    let because = status.and_then(|status| status.because.as_ref());
    let reason = because.filter(|_| !finished).map(|because| known(&REASONS, &because.reason));
    let procs = counts.unwrap_or_default();
    let state = match counts {
        None => JobState::New,
        Some(_) if holds(condition::COMPLETE) => JobState::Complete,
        Some(_) if finished => JobState::Failed,
        Some(counts) if counts.running > 0 => JobState::Running,
        Some(counts) if counts.suspended > 0 => JobState::Suspended,
        Some(counts) if counts.idle + counts.unmaterialized == 0 && counts.held > 0 => {
            JobState::Held
        }
        Some(_) => JobState::Idle,
    };
    Share { state, conditions, reason, procs }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use watcher::Event::{Apply, Delete, Init, InitApply, InitDone};

    fn job(name: &str, running: i64, held: i64, completed: i64) -> DockerUniverseJob {
        let finished = running + held == 0;
        let is = |type_: &str, is: bool| {
            json!({ "type": type_, "status": if is { "True" } else { "False" }, "reason": "x",
                "message": "", "lastTransitionTime": "2026-03-01T12:00:00Z" })
        };
        serde_json::from_value(json!({
            "apiVersion": "dockeruniverse.io/v1alpha1", "kind": "DockerUniverseJob",
            "metadata": { "name": name, "namespace": "lab", "uid": name },
            "spec": { "image": "busybox", "executable": "sh" },
            "status": {
                "conditions": [is("Finished", finished), is("Complete", finished), is("Held", held > 0)],
                "counts": { "total": running + held + completed, "idle": 0, "running": running,
                    "held": held, "suspended": 0, "completed": completed, "removed": 0 },
                "because": { "reason": if running > 0 { "Running" } else { "Mystery" }, "message": "" },
            },
        }))
        .unwrap()
    }

    /// Jobs, procs, conditions and reasons that are not zero, in words.
    fn counted(census: &Census) -> String {
        let mut words = Vec::new();
        let mut add = |word: &str, number: i64| {
            if number != 0 {
                words.push(format!("{word} {number}"));
            }
        };
        for state in JobState::ALL.iter().copied() {
            add(state.as_str(), census.jobs.get_or_create(&OfJob { state }).get());
        }
        for state in ProcState::ALL.iter().copied() {
            let number = census.procs.get_or_create(&OfProc { state }).get();
            add(&format!("procs {}", state.as_str()), number);
        }
        for condition in CONDITIONS {
            add(condition, census.conditions.get_or_create(&Condition { condition }).get());
        }
        for reason in REASONS {
            add(reason, census.reasons.get_or_create(&Because { reason }).get());
        }
        words.join(", ")
    }

    #[test]
    fn jobs_are_counted_by_their_changes() {
        let census = Census::default();
        let mut new = job("new", 0, 0, 0);
        new.status = None;
        for (event, now) in vec![
            (Init, ""),
            (
                InitApply(job("a", 3, 1, 0)),
                "running 1, procs running 3, procs held 1, Held 1, Running 1",
            ),
            (InitDone, "running 1, procs running 3, procs held 1, Held 1, Running 1"),
            (Apply(job("a", 2, 0, 2)), "running 1, procs running 2, procs completed 2, Running 1"),
            (Apply(new), "new 1, running 1, procs running 2, procs completed 2, Running 1"),
            (
                Apply(job("new", 0, 1, 0)),
                "running 1, held 1, procs running 2, procs held 1, procs completed 2, Held 1, Running 1, other 1",
            ),
            (
                Delete(job("new", 0, 0, 0)),
                "running 1, procs running 2, procs completed 2, Running 1",
            ),
            (
                Delete(job("new", 0, 0, 0)),
                "running 1, procs running 2, procs completed 2, Running 1",
            ),
            (Apply(job("a", 0, 0, 4)), "complete 1, procs completed 4, Finished 1, Complete 1"),
        ] {
            census.event(&event);
            assert_eq!(counted(&census), now);
        }
        // What is gone when all are listed anew counts no more; what was half told when that list broke does not count twice.
        for listed in [&["b"][..], &["b", "c"]] {
            census.event(&Init);
            for name in listed {
                census.event(&InitApply(job(name, 1, 0, 0)));
            }
        }
        census.event(&InitDone);
        assert_eq!(counted(&census), "running 2, procs running 2, Running 2");
    }

    #[tokio::test(start_paused = true)]
    async fn only_what_came_while_we_watched_has_a_time() {
        let census = Census::default();
        for event in [Init, InitApply(job("old", 1, 0, 0)), InitDone, Apply(job("new", 1, 0, 0))] {
            census.event(&event);
        }
        tokio::time::advance(Duration::from_secs(3)).await;
        census.event(&Apply(job("new", 0, 0, 1)));
        assert_eq!(census.told("new"), Some(Duration::from_secs(3)));
        assert_eq!(census.told("old"), None);
    }
}
