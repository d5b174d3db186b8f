//! `decide()`: from all facts about one job to what is written and done. Pure, total, deterministic.
//!
//! The order is: what the pods say, then what people want, then what follows. Invariants (the design's §4):
//! status is the commit point, and carries the new state together with its log events; an effect that depends on it comes
//! after it; one live pod a proc; nothing to do is no write at all.

mod effects;
mod leases;
mod selection;
mod waits;

pub use selection::select;

use crate::{
    commands,
    facts::PodFacts,
    hold,
    journal::Journal,
    life::Proc,
    observed::{Decision, Effect, Observed},
    pod::{self, Requests},
    policy::Policies,
    procs,
    settings::Settings,
    shape,
};
use duj_api::{
    DockerUniverseJob, Quantity,
    status::{Because, Noticed, ProcRecord, ProcStatus, Starter},
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use std::{
    borrow::Cow,
    collections::{BTreeMap, btree_map::Entry},
};

/// The time between two evaluations of periodic policies while nothing changes (`PERIODIC_EXPR_INTERVAL`).
const PERIODIC: SignedDuration = SignedDuration::from_secs(60);

/// One decision in the making.
pub(crate) struct Work<'a> {
    pub(crate) observed: &'a Observed,
    /// The job's own pods, by proc and attempt.
    pods: BTreeMap<(u32, u32), &'a PodFacts>,
    pub(crate) settings: &'a Settings,
    pub(crate) cluster_id: i64,
    pub(crate) records: BTreeMap<u32, ProcRecord>,
    pub(crate) noticed: Noticed,
    pub(crate) journal: Journal,
    /// What a proc asks for, by how many values of `retryRequestMemory` it has come to.
    pub(crate) requests: Vec<Result<Requests, String>>,
    /// What is to happen by itself; nothing, where it cannot be read.
    policies: Policies,
    /// Why it cannot be read.
    unreadable: Option<String>,
    /// What each proc that is not at its end waits for.
    pub(crate) waits: BTreeMap<u32, Because>,
    wake: Option<Timestamp>,
    /// Not all pods could be heard in this decision.
    more_to_follow: bool,
}

/// Decides what to do about a job.
pub fn decide(observed: &Observed, settings: &Settings) -> Decision {
    if observed.job.metadata.deletion_timestamp.is_some() {
        return release_all(observed);
    }
    let mut work = Work::resume(observed, settings);
    work.follow_pods();
    // What people and policies want is for procs as they are: it waits until every pod has been heard.
    let answers = if work.more_to_follow { Vec::new() } else { work.heed_people() };
    if !work.more_to_follow {
        work.obey_policies();
    }
    work.weigh_waits();
    work.conclude(answers)
}

/// The job is being deleted: its pods are the garbage collector's, and only our finalizer is in the way.
fn release_all(observed: &Observed) -> Decision {
    Decision {
        after: own_pods(observed).into_iter().filter_map(release).collect(),
        ..Decision::default()
    }
}

/// The pods that this very job controls, not those of one that had its name.
fn own_pods(observed: &Observed) -> Vec<&PodFacts> {
    let uid = observed.job.metadata.uid.as_deref().unwrap_or_default();
    observed.pods.iter().filter(|pod| pod.owner == uid).collect()
}

fn release(pod: &PodFacts) -> Option<Effect> {
    pod.unaccounted.then(|| Effect::ReleasePod { name: pod.name.clone(), uid: pod.uid.clone() })
}

impl<'a> Work<'a> {
    /// Takes up the committed state, or begins the life of a new job.
    fn resume(observed: &'a Observed, settings: &'a Settings) -> Self {
        let job = &observed.job;
        let status = job.status.clone().unwrap_or_default();
        let pods: BTreeMap<_, _> =
            own_pods(observed).into_iter().map(|pod| ((pod.proc, pod.attempt), pod)).collect();
        let cluster_id = status
            .cluster_id
            .or_else(|| pods.values().find_map(|pod| pod.cluster_id))
            .unwrap_or(observed.fresh_cluster_id);
        let alias = format!(
            "{}/{}",
            job.metadata.namespace.as_deref().unwrap_or_default(),
            job.metadata.name.as_deref().unwrap_or_default()
        );
        let (policies, unreadable) = match Policies::read(&job.spec, &settings.policies) {
            Ok(policies) => (policies, None),
            Err(message) => (Policies::default(), Some(message)),
        };
        let mut work = Self {
            records: procs::ungroup(&status.procs, job.spec.total_procs()),
            noticed: status.noticed.unwrap_or_default(),
            journal: Journal::new(cluster_id, alias),
            requests: requests_of(job, settings),
            policies,
            unreadable,
            waits: BTreeMap::new(),
            wake: None,
            more_to_follow: false,
            pods,
            observed,
            settings,
            cluster_id,
        };
        let created = job.metadata.creation_timestamp.as_ref().map_or(observed.now, |time| time.0);
        // What has a pod was not submitted on hold: the first pod came before the first status, and the hold after it.
        let on_hold = job.spec.hold && work.pods.is_empty();
        if work.noticed.shape.is_empty() {
            work.noticed =
                Noticed { hold: on_hold, shape: shape::of(&job.spec), commands: Vec::new() };
        }
        for proc in 0..job.spec.total_procs() {
            if let Entry::Vacant(entry) = work.records.entry(proc) {
                entry.insert(ProcRecord::default());
                work.with(proc, |proc| proc.submit(on_hold, created));
            }
        }
        work.catch_up();
        work
    }

    /// A live pod of a later attempt than the committed one says that the status went back in time (it was restored or
    /// edited): the proc goes on with that pod, for an attempt's number is never used again.
    fn catch_up(&mut self) {
        for pod in self.pods.values().filter(|pod| !pod.ended()) {
            let Some(record) = self.records.get_mut(&pod.proc) else { continue };
            let committed = self.pods.get(&(pod.proc, record.attempt));
            let is_open = committed.is_some_and(|committed| committed.unaccounted);
            if !over(record) && pod.attempt > record.attempt && !is_open {
                record.attempt = pod.attempt;
            }
        }
    }

    /// Lets one proc live a little.
    pub(crate) fn with<T>(&mut self, id: u32, act: impl FnOnce(&mut Proc<'_>) -> T) -> Option<T> {
        let record = self.records.get_mut(&id)?;
        let requests = self.requests.get(memory_step(&self.observed.job, record));
        let requests = requests.and_then(|requests| requests.as_ref().ok());
        let increased = record.request_memory.zip(requests);
        let increased = increased.map(|(memory, requests)| requests.with_memory_mib(memory));
        let mut proc = Proc {
            job: &self.observed.job,
            cluster_id: self.cluster_id,
            policies: &self.policies,
            id,
            pod: self.pods.get(&(id, record.attempt)).copied(),
            record,
            journal: &mut self.journal,
            requests: increased.as_ref().or(requests),
            now: self.observed.now,
        };
        let done = act(&mut proc);
        proc.inform();
        Some(done)
    }

    #[allow(
        clippy::redundant_closure_for_method_calls,
        reason = "the path alone is not general enough in its lifetime"
    )]
    fn follow_pods(&mut self) {
        let ids: Vec<u32> = self.records.keys().copied().collect();
        for id in ids {
            if self.journal.is_full() {
                // What the other pods say comes with the next status: each has a bound.
                self.more_to_follow = true;
                break;
            }
            self.with(id, |proc| proc.follow());
        }
        // What one of them found out holds for all.
        let absent = Some(Starter::Absent);
        if self.records.values().any(|record| record.starter == absent) {
            self.records.values_mut().for_each(|record| record.starter = absent);
        }
    }

    /// What people want: `spec.hold`, a mended specification, commands.
    fn heed_people(&mut self) -> Vec<Effect> {
        self.heed_specification();
        let answers = commands::heed(self);
        // What it waited for may have been removed: nothing of that is left to the next decision.
        self.heed_specification();
        answers
    }

    fn heed_specification(&mut self) {
        let shape = shape::of(&self.observed.job.spec);
        if shape != self.noticed.shape && self.mend() {
            self.noticed.shape = shape;
        }
        self.heed_hold();
    }

    /// Releases what was held for a fault, now that the specification is another. `false` where a pod is still stopping.
    fn mend(&mut self) -> bool {
        let faulty = |record: &ProcRecord| record.hold.as_ref().is_some_and(hold::is_fault);
        if self.records.values().any(|record| faulty(record) && is_stopping(record)) {
            return false;
        }
        if self.observed.job.spec.hold {
            return true; // it stays held by its own word, and runs as mended once that is taken back
        }
        let generation = self.observed.job.metadata.generation.unwrap_or_default();
        let reason = format!("the job was mended (generation {generation})");
        self.each(
            |record| record.status == ProcStatus::Held && faulty(record),
            |proc| {
                proc.forget_outputs();
                proc.release(&reason);
            },
        );
        // Another request is taken as it is, and increased from there.
        for record in self.records.values_mut().filter(|record| !is_at_its_end(record)) {
            (record.memory_step, record.request_memory) = (0, None);
            record.starter = record.starter.filter(|starter| *starter != Starter::Absent);
        }
        true
    }

    fn heed_hold(&mut self) {
        let wanted = self.observed.job.spec.hold;
        if wanted == self.noticed.hold {
            return;
        }
        if wanted {
            let reason = hold::hold(hold::USER_REQUEST, 0, "held by the user (spec.hold is true)");
            // What a person holds already stays as it is ("already held"); a fault's hold becomes the user's.
            let holdable = |r: &ProcRecord| match r.status {
                ProcStatus::Completed | ProcStatus::Removed => false,
                _ => r.hold.as_ref().is_none_or(hold::is_fault),
            };
            self.each(holdable, |proc| proc.hold(reason.clone()));
        } else {
            if self.records.values().any(|r| r.status == ProcStatus::Held && is_stopping(r)) {
                return; // once the pod has ended
            }
            let held = |record: &ProcRecord| record.status == ProcStatus::Held;
            self.each(held, |proc| proc.release("released by the user (spec.hold is false)"));
        }
        self.noticed.hold = wanted;
    }

    /// What is to happen by itself. Evaluated at every change, and once in [`PERIODIC`].
    #[allow(
        clippy::redundant_closure_for_method_calls,
        reason = "the path alone is not general enough in its lifetime"
    )]
    fn obey_policies(&mut self) {
        if let Some(message) = &self.unreadable {
            let reason = hold::unreadable_policy(message.clone());
            let holdable = |record: &ProcRecord| !is_at_its_end(record) && record.hold.is_none();
            return self.each(holdable, |proc| proc.hold(reason.clone()));
        }
        // A policy that can be read again lets go of what the unreadable one held.
        let unreadable = |record: &ProcRecord| {
            let hold = record.hold.as_ref();
            hold.is_some_and(|hold| hold.code == hold::JOB_POLICY_UNDEFINED && !hold.stopping)
        };
        if !self.observed.job.spec.hold {
            self.each(unreadable, |proc| proc.release("the policy was mended"));
        }
        if self.policies.is_silent() {
            return;
        }
        let periodic = self.policies.is_periodic();
        self.each(|record| !is_at_its_end(record), |proc| proc.obey_policies());
        let ids: Vec<u32> = self.records.keys().copied().collect();
        for id in ids {
            if is_at_its_end(&self.records[&id]) {
                continue;
            }
            let now = self.observed.now;
            let due = self.with(id, |proc| proc.policies.due(proc.running(now))).flatten();
            let due = due.map(SignedDuration::from_secs).into_iter();
            let next = due.chain(periodic.then_some(PERIODIC)).min();
            self.wake_at(next.and_then(|wait| now.checked_add(wait).ok()).filter(|at| *at > now));
        }
    }

    fn each(&mut self, which: impl Fn(&ProcRecord) -> bool, mut act: impl FnMut(&mut Proc<'_>)) {
        let ids: Vec<u32> =
            self.records.iter().filter(|(_, record)| which(record)).map(|(id, _)| *id).collect();
        for id in ids {
            self.with(id, &mut act);
        }
    }

    pub(crate) fn current_pod(&self, id: u32) -> Option<&'a PodFacts> {
        self.pods.get(&(id, self.records[&id].attempt)).copied()
    }

    /// The job's own pods.
    pub(crate) fn pods(&self) -> impl Iterator<Item = &'a PodFacts> {
        self.pods.values().copied()
    }

    fn other_live_pod(&self, id: u32) -> Option<&'a PodFacts> {
        let attempt = self.records[&id].attempt;
        let of_proc = self.pods.range((id, 0)..=(id, u32::MAX)).map(|(_, pod)| *pod);
        of_proc.into_iter().find(|pod| pod.attempt != attempt && !pod.ended())
    }

    pub(crate) fn wake_at(&mut self, time: Option<Timestamp>) {
        if let Some(time) = time {
            self.wake = Some(self.wake.map_or(time, |wake| wake.min(time)));
        }
    }

    /// The time of the decision, for stamps.
    pub(crate) fn now(&self) -> Time {
        Time(self.observed.now)
    }
}

/// A hold whose pod has not ended yet.
pub(crate) fn is_stopping(record: &ProcRecord) -> bool {
    record.hold.as_ref().is_some_and(|hold| hold.stopping)
}

/// Nothing more is to happen to the proc by itself.
fn is_at_its_end(record: &ProcRecord) -> bool {
    matches!(record.status, ProcStatus::Completed | ProcStatus::Removed)
}

/// What a proc asks for at each step of `retryRequestMemory`.
fn requests_of(job: &DockerUniverseJob, settings: &Settings) -> Vec<Result<Requests, String>> {
    let listed = job.spec.policy.retry_request_memory.iter().map(Some);
    let steps = std::iter::once(None).chain(listed);
    steps.map(|memory| pod::requests(&asking(job, memory.cloned()).spec, settings)).collect()
}

/// Which step of `retryRequestMemory` a proc has come to: the last, where its owner has shortened the list.
pub(crate) fn memory_step(job: &DockerUniverseJob, record: &ProcRecord) -> usize {
    (record.memory_step as usize).min(job.spec.policy.retry_request_memory.len())
}

/// The job with the memory that a proc has come to.
pub(crate) fn with_memory<'a>(
    job: &'a DockerUniverseJob,
    record: &ProcRecord,
) -> Cow<'a, DockerUniverseJob> {
    let increased = record.request_memory.map(|mebibytes| Quantity(format!("{mebibytes}Mi")));
    let listed = || {
        let at = memory_step(job, record).checked_sub(1)?;
        job.spec.policy.retry_request_memory.get(at).cloned()
    };
    asking(job, increased.or_else(listed))
}

fn asking(job: &DockerUniverseJob, memory: Option<Quantity>) -> Cow<'_, DockerUniverseJob> {
    let Some(memory) = memory else { return Cow::Borrowed(job) };
    let mut job = job.clone();
    job.spec.request_memory = Some(memory);
    Cow::Owned(job)
}

/// The proc's end is committed with this record.
fn over(record: &ProcRecord) -> bool {
    match record.status {
        ProcStatus::Completed => true,
        ProcStatus::Removed => record.remove.as_ref().is_none_or(|remove| !remove.stopping),
        ProcStatus::Held => !is_stopping(record),
        ProcStatus::Idle | ProcStatus::Running | ProcStatus::Suspended => false,
    }
}
