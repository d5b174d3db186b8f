//! `decide()`: from all facts about one job to what is written and done. Pure, total, deterministic.
//!
//! The order is: what the pods say, then what people want, then what follows. Invariants (the design's §4):
//! status is the commit point, and carries the new state together with its log events; an effect that depends on it comes
//! after it; one live pod a proc; nothing to do is no write at all.

mod effects;
mod history;
mod items;
mod leases;
mod materialization;
mod pods;
mod policies;
mod selection;
mod stopping;
mod waits;
mod wishes;

pub use selection::select;

use crate::{
    facts::PodFacts,
    journal::Journal,
    life::{self, Proc},
    observed::{Decision, Effect, Observed},
    pod::{self, Requests},
    policy::Policies,
    records::Records,
    settings::Settings,
    shape, spill,
};
use duj_api::{
    DockerUniverseJob, Quantity,
    status::{Because, Noticed, ProcRecord, ProcStatus, Starter},
};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use pods::Pods;
use std::{borrow::Cow, sync::Arc};

/// One decision in the making.
pub(crate) struct Work<'a> {
    pub(crate) observed: &'a Observed,
    /// The job's own pods, by proc and attempt.
    pods: Pods<'a>,
    pub(crate) settings: &'a Settings,
    pub(crate) cluster_id: i64,
    pub(crate) records: Records,
    /// The record that was last made, which the next one may share.
    newest: Arc<ProcRecord>,
    /// Procs whose record is another now.
    changed: Vec<u32>,
    /// When the last of the procs that came to their end now did so.
    pub(crate) last_end: Option<Time>,
    pub(crate) noticed: Noticed,
    pub(crate) journal: Journal,
    /// What a proc asks for, by how many values of `retryRequestMemory` it has come to.
    pub(crate) requests: Vec<Result<Requests, String>>,
    /// What is to happen by itself; nothing, where it cannot be read.
    policies: Policies,
    /// Why it cannot be read.
    unreadable: Option<String>,
    /// What the first of the procs that wait waits for.
    pub(crate) wait: Option<Because>,
    wake: Option<Timestamp>,
    /// When the policies of all procs are to be evaluated again, where that is another time now.
    policies_due: Option<Timestamp>,
    /// The log has room for no more in this status: what is left follows with the next one.
    more_to_follow: bool,
    /// How many pods had something to say for which it had no room.
    unheard: usize,
}

/// Decides what to do about a job.
pub fn decide(observed: &Observed, settings: &Settings) -> Decision {
    if observed.job.metadata.deletion_timestamp.is_some() {
        return release_all(observed);
    }
    let status = observed.job.status.as_ref();
    let named = status.into_iter().flat_map(|status| &status.procs_pages);
    let at_hand = |name: &str| observed.pages.iter().any(|page| page.name == name);
    if !named.clone().all(|page| at_hand(&page.name)) {
        return Decision::default(); // nothing is known of some procs
    }
    let mut work = Work::resume(observed, settings);
    work.notice_items();
    work.follow_pods();
    let answers = work.heed_people();
    work.materialize();
    work.obey_policies();
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
    observed.pods.iter().map(Arc::as_ref).filter(|pod| pod.owner == uid).collect()
}

fn release(pod: &PodFacts) -> Option<Effect> {
    pod.unaccounted.then(|| Effect::ReleasePod { name: pod.name.clone(), uid: pod.uid.clone() })
}

impl<'a> Work<'a> {
    /// Takes up the committed state, or begins the life of a new job.
    fn resume(observed: &'a Observed, settings: &'a Settings) -> Self {
        let job = &observed.job;
        let status = job.status.clone().unwrap_or_default();
        let pods = Pods::of(own_pods(observed));
        let cluster_id = status
            .cluster_id
            .or_else(|| pods.iter().find_map(|pod| pod.cluster_id))
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
            records: spill::read(&status, &observed.pages, observed.total_procs())
                .unwrap_or_default(),
            newest: Arc::default(),
            changed: Vec::new(),
            last_end: None,
            noticed: status.noticed.unwrap_or_default(),
            journal: Journal::new(cluster_id, alias),
            requests: requests_of(job, settings),
            policies,
            unreadable,
            wait: None,
            wake: None,
            policies_due: None,
            more_to_follow: false,
            unheard: 0,
            pods,
            observed,
            settings,
            cluster_id,
        };
        let created = job.metadata.creation_timestamp.as_ref().map_or(observed.now, |time| time.0);
        // What has a pod was not submitted on hold: the first pod came before the first status, and the hold after it.
        let on_hold = job.spec.hold && work.pods.is_empty();
        if work.noticed.shape.is_empty() {
            work.noticed = Noticed {
                hold: on_hold,
                priority: job.spec.priority.unwrap_or_default(),
                shape: shape::of(&job.spec),
                ..Noticed::default()
            };
            work.open(created);
        }
        work.submit(created);
        work.catch_up();
        work
    }

    /// How many procs the job has, with those that are not submitted yet.
    pub(crate) fn total(&self) -> u32 {
        self.observed.total_procs()
    }

    /// Whether it is a job like most: of one proc.
    pub(crate) fn is_single(&self) -> bool {
        self.total() == 1
    }

    /// A live pod of a later attempt than the committed one says that the status went back in time (it was restored or
    /// edited): the proc goes on with that pod, for an attempt's number is never used again.
    fn catch_up(&mut self) {
        for pod in self.pods.iter().filter(|pod| !pod.ended()) {
            let Some(record) = self.records.get(pod.proc) else { continue };
            let committed = self.pods.get(pod.proc, record.attempt);
            let is_open = committed.is_some_and(|committed| committed.unaccounted);
            if !over(record)
                && pod.attempt > record.attempt
                && !is_open
                && let Some(record) = self.records.get_mut(pod.proc)
            {
                record.attempt = pod.attempt;
            }
        }
    }

    /// Lets one proc live a little.
    pub(crate) fn with<T>(&mut self, id: u32, act: impl FnOnce(&mut Proc<'_>) -> T) -> Option<T> {
        let before = self.records.shared(id)?.clone();
        let mut record = ProcRecord::clone(&before);
        let requests = self.requests.get(memory_step(&self.observed.job, &record));
        let requests = requests.and_then(|requests| requests.as_ref().ok());
        let increased = record.request_memory.zip(requests);
        let increased = increased.map(|(memory, requests)| requests.with_memory_mib(memory));
        let mut proc = Proc {
            job: &self.observed.job,
            total: self.observed.total_procs(),
            cluster_id: self.cluster_id,
            policies: &self.policies,
            id,
            pod: self.pods.get(id, record.attempt),
            record: &mut record,
            journal: &mut self.journal,
            requests: increased.as_ref().or(requests),
            now: self.observed.now,
        };
        let done = act(&mut proc);
        proc.inform();
        if record != *before {
            self.remember(id, record);
        }
        Some(done)
    }

    /// Of many procs those that are at their end keep what they came to and how often they began: with the seconds of each the
    /// groups would be as many as the procs.
    fn remember(&mut self, id: u32, mut record: ProcRecord) {
        if over(&record) && is_at_its_end(&record) && !self.is_single() {
            self.last_end = self.last_end.take().max(record.entered_status.take());
            record.last_status = None;
            record.left = None;
            (record.wall_clock_time, record.suspension_time) = (0, 0);
        }
        if *self.newest != record {
            self.newest = Arc::new(record);
        }
        self.records.put(id, self.newest.clone());
        self.changed.push(id);
    }

    #[allow(
        clippy::redundant_closure_for_method_calls,
        reason = "the path alone is not general enough in its lifetime"
    )]
    fn follow(&mut self, id: u32) {
        self.with(id, |proc| proc.follow());
    }

    fn follow_pods(&mut self) {
        let news = |(id, record): (u32, &ProcRecord)| {
            let pod = self.pods.get(id, record.attempt);
            life::may_have_news(record, pod).then_some(id)
        };
        let ids: Vec<u32> = self.records.iter().filter_map(news).collect();
        let shares = self.is_wished_for() || !self.policies.is_silent() || self.are_more_to_come();
        for (heard, id) in ids.iter().enumerate() {
            if self.journal.is_full() || (shares && self.journal.is_half_full()) {
                // What the other pods say comes with the next status: each has a bound.
                self.more_to_follow = true;
                self.unheard = ids.len() - heard;
                break;
            }
            self.follow(*id);
        }
        // What one of them found out holds for all.
        let absent = Some(Starter::Absent);
        if self.changed.iter().any(|id| self.records.of(*id).starter == absent) {
            self.records.change_all(|record| record.starter = absent);
        }
    }

    /// Lets those procs live a little, as long as the log has room. Whether all had their turn.
    fn each(
        &mut self,
        which: impl Fn(&ProcRecord) -> bool,
        mut act: impl FnMut(&mut Proc<'_>),
    ) -> bool {
        let ids: Vec<u32> =
            self.records.iter().filter(|(_, record)| which(record)).map(|(id, _)| id).collect();
        for id in ids {
            if self.is_full() {
                return false;
            }
            self.hear(id);
            if self.records.get(id).is_some_and(&which) {
                self.with(id, &mut act);
            }
        }
        true
    }

    /// What people and policies want is for a proc as it is: its pod is heard first, where there was no room for all of them.
    pub(crate) fn hear(&mut self, id: u32) {
        let news = self.records.get(id).is_some_and(|record| {
            let pod = self.pods.get(id, record.attempt);
            self.more_to_follow && life::may_have_news(record, pod)
        });
        if news {
            self.follow(id);
        }
    }

    pub(crate) fn current_pod(&self, id: u32) -> Option<&'a PodFacts> {
        self.pods.get(id, self.records.get(id)?.attempt)
    }

    /// The job's own pods.
    pub(crate) fn pods(&self) -> impl Iterator<Item = &'a PodFacts> {
        self.pods.iter()
    }

    fn other_live_pod(&self, id: u32) -> Option<&'a PodFacts> {
        let attempt = self.records.get(id)?.attempt;
        let mut of_proc = self.pods.of_proc(id).iter().copied();
        of_proc.find(|pod| pod.attempt != attempt && !pod.ended())
    }

    pub(crate) fn wake_at(&mut self, time: Option<Timestamp>) {
        if let Some(time) = time {
            self.wake = Some(self.wake.map_or(time, |wake| wake.min(time)));
        }
    }

    /// Whether the log has room for no more; what is left follows with the next status.
    pub(crate) fn is_full(&mut self) -> bool {
        self.more_to_follow |= self.journal.is_full();
        self.journal.is_full()
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
