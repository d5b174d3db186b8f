//! What became of an attempt whose pod has ended: the map from the kubelet's words to `HTCondor`'s.
//!
//! The starter's record is the truth about exit code and signal; the pod's status tells what the starter cannot know.
//! Invariant: total: every ended pod has exactly one fate, and what nobody can explain is the infrastructure's doing
//! (a requeue), never the job's failure.

mod transfers;

pub(crate) use transfers::{another_image, kept, void, without_tag};

use crate::facts::{PodFacts, Terminated};
use crate::hold;
use duj_api::{names, status::Hold};
use duj_protocol::{Outcome, Record, Usage, transfer::Report};
use transfers::not_prepared;

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The job's process ended itself with this code.
    Exited(i32),
    /// The job's process died by this signal.
    Signalled(i32),
    /// The attempt ended in a way that holds the job.
    Held(Hold),
    /// The attempt was ended by the cluster, or lost: `HTCondor`'s vacate code and one line why.
    Evicted(Eviction),
    /// The attempt's lease was over before its node, or the operator, was heard of again: it is lost.
    LeaseExpired(Eviction),
    /// The job ended by itself, and its outputs could not be sent.
    Unsent(Exited, Hold),
    /// What the image runs by itself cannot be found out: one line why.
    ImageUnknown(String),
    /// Another image ran than the one whose command was found out: the attempt is void.
    ImageChanged(String),
    /// The operator's own part of the pod did not work: the job is not to blame and makes another attempt.
    StarterFailed(String),
}

/// How a process ended itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exited {
    /// With this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

/// Why an attempt was given up (§3.4 of the semantics).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Eviction {
    /// `HTCondor`'s vacate code.
    pub code: i32,
    /// One line for the log.
    pub reason: String,
}

/// `HTCondor`'s vacate codes that this system produces.
pub mod vacate {
    /// `PeriodicVacate`.
    pub const JOB_POLICY: i32 = 1000;
    /// `SYSTEM_PERIODIC_VACATE`.
    pub const SYSTEM_POLICY: i32 = 1001;
    /// The attempt was ended before its job began.
    pub const JOB_NOT_STARTED: i32 = 1003;
    /// A person or a tool deleted the pod.
    pub const USER_VACATE_JOB: i32 = 1004;
    /// The starter died.
    pub const STARTER_ERROR: i32 = 1007;
    /// The node did not come back.
    pub const RECONNECT_FAILED: i32 = 1008;
    /// The node ran short of something.
    pub const STARTD_PREEMPT: i32 = 1011;
    /// The node shut down.
    pub const STARTD_SHUTDOWN: i32 = 1013;
    /// The node was drained, or tainted.
    pub const STARTD_DRAINING: i32 = 1014;
    /// A more important pod took its place.
    pub const PREEMPTED: i32 = 1018;
    /// The job was removed.
    pub const JOB_REMOVED: i32 = 1023;
}

/// An ended attempt: its fate and what it used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// How it ended.
    pub fate: Fate,
    /// What the starter recorded, where it could.
    pub record: Option<Record>,
    /// What `prepare` came to, where it brought files.
    pub brought: Option<Report>,
    /// What `transfer` came to, or last said, where it sent any.
    pub sent: Option<Report>,
}

impl End {
    /// What the attempt used; zero where nobody measured.
    pub fn usage(&self) -> Usage {
        self.record.as_ref().map(|record| record.usage.clone()).unwrap_or_default()
    }
}

/// The fate of a pod that has ended ([`PodFacts::ended`]). `memory_limit` is in MiB, `disk_limit` in bytes.
pub fn of(pod: &PodFacts, memory_limit: i64, disk_limit: Option<i64>) -> End {
    let terminated = pod.job.terminated.as_ref();
    let record = terminated.and_then(|end| Record::from_message(&end.message));
    let fate = fate(pod, terminated, record.as_ref(), memory_limit, disk_limit);
    let brought = pod.prepared.as_deref().cloned();
    let sent = pod.sent.as_deref().or(pod.heard.as_deref()).cloned();
    End { fate: transfers::weigh(pod, fate), record, brought, sent }
}

fn fate(
    pod: &PodFacts,
    terminated: Option<&Terminated>,
    record: Option<&Record>,
    memory_limit: i64,
    disk_limit: Option<i64>,
) -> Fate {
    if let Some(lease) = pod.lease.as_ref().filter(|_| pod.is_lost()) {
        return Fate::LeaseExpired(lease.expired());
    }
    // HTCondor asks for OOM first: a job that survives an OOM-killed child is held too (§2.5).
    let oom = terminated.is_some_and(|end| end.reason == "OOMKilled")
        || record.is_some_and(|record| record.oom_kills > 0);
    if oom {
        return Fate::Held(hold::out_of_memory(
            memory_limit,
            record.map_or(0, |r| r.usage.peak_memory),
        ));
    }
    // The node may have gone before the starter could finish its record.
    let expired = pod.lease.as_ref().filter(|_| record.is_some_and(|record| record.lease_expired));
    if let Some(outcome) = record.and_then(|record| record.outcome.as_ref()) {
        let stopped = record.is_some_and(|record| record.stopped_by.is_some());
        match outcome {
            Outcome::OverDisk { used, limit } => {
                return Fate::Held(hold::out_of_disk(*used, *limit));
            }
            Outcome::NotStarted { errno, message } => {
                return Fate::Held(hold::not_started(*errno, message));
            }
            Outcome::CheckpointFailed(message) => {
                return Fate::Held(hold::checkpoint_failed(message));
            }
            // Who was stopped from outside the pod did not end of its own accord, whatever it exited with.
            Outcome::Exited(_) | Outcome::Signalled(_) if stopped => {}
            Outcome::Exited(_) | Outcome::Signalled(_) if expired.is_some() => {}
            Outcome::Exited(code) => return Fate::Exited(*code),
            Outcome::Signalled(signal) => return Fate::Signalled(*signal),
        }
    }
    if let Some(lease) = expired {
        return Fate::LeaseExpired(lease.expired());
    }
    if pod.reason == "Evicted" && is_own_disk_limit(&pod.message) {
        return Fate::Held(match disk_limit {
            Some(limit) => hold::out_of_disk(limit.unsigned_abs(), limit.unsigned_abs()),
            None => hold::over_foreign_disk_limit(&pod.message),
        });
    }
    if let Some(eviction) = eviction(pod, terminated) {
        return Fate::Evicted(eviction);
    }
    match terminated {
        Some(end) => without_record(end, record),
        None => not_run(pod),
    }
}

/// Whether the kubelet evicted the pod for a limit of its own (the scratch volume's, or one that a `LimitRange` gave it)
/// rather than for its node's need: the next attempt would come to the same end.
fn is_own_disk_limit(message: &str) -> bool {
    message.contains(names::VOLUME_SCRATCH)
        || message.contains("ephemeral local storage usage exceeds the total limit")
        || message.contains("exceeded its local ephemeral storage limit")
}

/// Who ended the pod, where somebody says so.
fn eviction(pod: &PodFacts, terminated: Option<&Terminated>) -> Option<Eviction> {
    let evicted = |code, reason: String| Some(Eviction { code, reason });
    if let Some((reason, message)) = &pod.disruption {
        let message = if message.is_empty() { reason } else { message };
        let code = match reason.as_str() {
            "PreemptionByScheduler" => vacate::PREEMPTED,
            "DeletionByPodGC" => vacate::RECONNECT_FAILED,
            "TerminationByKubelet" if pod.reason == "Evicted" => vacate::STARTD_PREEMPT,
            "TerminationByKubelet" => vacate::STARTD_SHUTDOWN,
            // The taint of a node that did not answer until somebody else ended the pod.
            _ if pod.unreachable.is_some() => vacate::RECONNECT_FAILED,
            _ => vacate::STARTD_DRAINING,
        };
        return evicted(code, message.clone());
    }
    if !pod.reason.is_empty() && matches!(pod.phase, crate::facts::Phase::Failed) {
        let started = terminated.is_some_and(|end| end.started.is_some());
        let code = match pod.reason.as_str() {
            "Evicted" => vacate::STARTD_PREEMPT,
            "Terminated" | "NodeShutdown" | "Shutdown" => vacate::STARTD_SHUTDOWN,
            "NodeLost" => vacate::RECONNECT_FAILED,
            "Preempting" => vacate::PREEMPTED,
            _ if started => vacate::STARTER_ERROR,
            _ => vacate::JOB_NOT_STARTED,
        };
        return evicted(code, format!("{}: {}", pod.reason, pod.message));
    }
    if pod.unreachable.is_some() && pod.deleting.is_some() {
        return evicted(
            vacate::RECONNECT_FAILED,
            "the pod was deleted while its node did not answer".into(),
        );
    }
    pod.deleting?;
    evicted(vacate::USER_VACATE_JOB, format!("the pod '{}' was deleted", pod.name))
}

/// The container terminated, nobody says that it was stopped, and there is no final record.
fn without_record(end: &Terminated, record: Option<&Record>) -> Fate {
    match end.reason.as_str() {
        "StartError" | "ContainerCannotRun" | "RunContainerError" | "CreateContainerError" => {
            return if concerns_starter(&end.message) {
                Fate::StarterFailed(end.message.clone())
            } else {
                Fate::Held(hold::start_error(&end.message))
            };
        }
        _ => {}
    }
    let unexplained = |reason: &str| {
        Fate::Evicted(Eviction { code: vacate::STARTER_ERROR, reason: reason.to_owned() })
    };
    if let Some(signal) = record.and_then(|record| record.stopped_by) {
        return unexplained(&format!("the container was stopped from outside by signal {signal}"));
    }
    if record.is_some() || end.reason == "ContainerStatusUnknown" {
        // The starter began the job and could not finish its record: somebody killed the whole container.
        return unexplained("the container was killed from outside, and its end was not recorded");
    }
    match end.exit_code {
        137 | 143 => {
            unexplained("the container was killed from outside before its record was written")
        }
        // The starter's own exit status says it too (128 + signal, as a shell does).
        code @ 0..=128 => Fate::Exited(code),
        255 => Fate::Exited(255),
        code @ 129..=254 => Fate::Signalled(code - 128),
        code => unexplained(&format!("the container ended with the unexpected status '{code}'")),
    }
}

/// The pod ended, and its job container never did anything.
fn not_run(pod: &PodFacts) -> Fate {
    let prepared = pod.prepare.as_ref().and_then(|prepare| prepare.terminated.as_ref());
    if let Some(prepare) = prepared.filter(|end| end.exit_code != 0) {
        if let Some(fate) = not_prepared(prepare) {
            return fate;
        }
        return Fate::StarterFailed(format!(
            "init container 'prepare' ended with {}: {}",
            prepare.exit_code, prepare.message
        ));
    }
    Fate::Evicted(Eviction {
        code: vacate::JOB_NOT_STARTED,
        reason: format!("the pod '{}' ended before its job began", pod.name),
    })
}

/// Whether a runtime's message is about the operator's own part of the pod.
pub fn concerns_starter(message: &str) -> bool {
    message.contains(names::STARTER_MOUNT) || message.contains(names::VOLUME_STARTER)
}
