//! The stage on which jobs live in tests: a small API server, and an operator that performs what `decide` decides.
//!
//! Invariant: the server answers as the real one does where it matters here (versions, UIDs, finalizers, deletion of
//! bound and unbound pods), and the operator writes nothing but what the decision says, in its order.

mod kubelet;
mod operator;
mod server;
pub(crate) mod transfers;

pub(crate) use kubelet::*;
pub(crate) use operator::{Fault, Operator};
pub(crate) use server::Server;

use duj_api::{
    DockerUniverseJob, DockerUniverseJobStatus,
    status::{ProcRecord, ProcStatus},
};
use duj_core::{
    queue::Items,
    records::Records,
    userlog::{self, Body, Event, Expect, Fault as LogFault},
};
use jiff::Timestamp;
use std::sync::{Arc, LazyLock};

/// UID of the job on stage.
pub(crate) const JOB_UID: &str = "0a1b2c3d-1111-2222-3333-444455556666";
/// Its cluster id.
pub(crate) const CLUSTER: i64 = 7;

/// When plays begin.
pub(crate) fn curtain() -> Timestamp {
    "2026-03-01T12:00:00Z".parse().unwrap()
}

/// A job with this specification.
pub(crate) fn job(spec: serde_json::Value) -> DockerUniverseJob {
    let metadata = serde_json::json!({
        "name": "hello", "namespace": "physics", "uid": JOB_UID, "generation": 1,
        "creationTimestamp": "2026-03-01T12:00:00Z",
    });
    let object = serde_json::json!({
        "apiVersion": "dockeruniverse.io/v1alpha1", "kind": "DockerUniverseJob", "metadata": metadata, "spec": spec,
    });
    serde_json::from_value(object).unwrap()
}

/// The items of a job that has none.
pub(crate) fn no_items() -> Arc<Items> {
    Arc::new(Items::read(None, None).unwrap())
}

/// The record of proc 0; of none, where none has materialized.
pub(crate) fn proc_record(status: &DockerUniverseJobStatus) -> &ProcRecord {
    static NONE: LazyLock<ProcRecord> = LazyLock::new(ProcRecord::default);
    status.procs.first().map_or(&NONE, |group| &group.record)
}

/// A record in one line, e.g. `Held 35/0 stopping`.
pub(crate) fn in_short(record: &ProcRecord) -> String {
    let stopping = |stopping: bool| if stopping { " stopping" } else { "" };
    match record.status {
        ProcStatus::Held => {
            let hold = record.hold.clone().unwrap_or_default();
            format!("Held {}/{}{}", hold.code, hold.subcode, stopping(hold.stopping))
        }
        ProcStatus::Removed => {
            format!(
                "Removed{}",
                stopping(record.remove.as_ref().is_some_and(|remove| remove.stopping))
            )
        }
        ProcStatus::Completed => match (record.exit_code, record.exit_signal) {
            (Some(code), None) => format!("Completed {code}"),
            (None, Some(signal)) => format!("Completed by signal {signal}"),
            other => format!("Completed {other:?}"),
        },
        other => format!("{other:?}"),
    }
}

/// The events of a status' log. Each can be read.
pub(crate) fn events(status: &DockerUniverseJobStatus) -> Vec<Event> {
    let text = status.user_log.as_ref().map_or("", |log| log.text.as_str());
    userlog::read(text).map(|event| event.unwrap()).collect()
}

/// What must be true of every committed status.
pub(crate) fn is_sound(job: &DockerUniverseJob, status: &DockerUniverseJobStatus) {
    let counts = status.counts.unwrap();
    let parts = [
        counts.idle,
        counts.running,
        counts.held,
        counts.suspended,
        counts.completed,
        counts.removed,
        counts.unmaterialized,
    ];
    assert_eq!(parts.iter().sum::<i64>(), counts.total);
    assert!(status.observed_generation <= job.metadata.generation);
    has_sound_conditions(status);
    has_sound_log(status);
    assert!(serde_json::to_vec(status).unwrap().len() < 256 * 1024);
}

/// The conditions as kstatus reads them.
fn has_sound_conditions(status: &DockerUniverseJobStatus) {
    let condition = |name: &str| status.conditions.iter().find(|condition| condition.type_ == name);
    let holds = |name: &str| condition(name).is_some_and(|condition| condition.status == "True");
    // Abnormal-true: never there without being true, and never both.
    for name in ["Reconciling", "Stalled"] {
        assert!(condition(name).is_none_or(|condition| condition.status == "True"), "{name}");
    }
    assert!(!(holds("Reconciling") && holds("Stalled")));
    assert_eq!(holds("Finished"), holds("Complete") || holds("Failed"));
    assert!(!(holds("Complete") && holds("Failed")));
    assert!(!holds("Failed") || holds("Stalled"), "kstatus must say Failed of a failed job");
    assert!(
        !holds("Finished") || !holds("Reconciling"),
        "kstatus must not wait for a finished job"
    );
    assert!(
        holds("Finished") || holds("Reconciling") || holds("Stalled"),
        "kstatus would say Current"
    );
    assert_eq!(holds("Held"), status.counts.unwrap().held > 0);
    assert_eq!(holds("Finished"), status.completion_time.is_some());
}

fn has_sound_log(status: &DockerUniverseJobStatus) {
    if status.user_log.as_ref().is_some_and(|log| log.parts > 0) {
        return; // the test that lets it grow so long looks at the whole
    }
    let events = events(status);
    assert_eq!(status.user_log.as_ref().unwrap().events, i64::try_from(events.len()).unwrap());
    let count = |number: u16| {
        u32::try_from(events.iter().filter(|e| e.body.number() == number).count()).unwrap()
    };
    let total = u32::try_from(status.counts.unwrap().total).unwrap();
    let records = Records::read(&status.procs, total);
    let sum = |of: fn(&ProcRecord) -> u32| records.values().map(of).sum::<u32>();
    assert_eq!(count(1), sum(|record| record.num_job_starts), "each start is one 001");
    assert_eq!(count(12), sum(|record| record.num_holds), "each hold is one 012");
    assert!(count(4) >= sum(|record| record.num_vacates), "each eviction is one 004");
    let is_over = |record: &&ProcRecord| match record.status {
        ProcStatus::Completed => true,
        ProcStatus::Removed => record.remove.as_ref().is_none_or(|remove| !remove.stopping),
        _ => false,
    };
    let ended = records.values().filter(is_over).count();
    assert_eq!(ended, (count(5) + count(9)) as usize, "each end is one 005 or 009");
    let over = status.completion_time.is_some();
    let none_come = status.counts.unwrap().unmaterialized == 0;
    assert_eq!(over, ended == records.len() && none_come);
    let expect = if over { Expect::Finished } else { Expect::Running };
    for violation in userlog::check(&events, expect) {
        assert!(is_rehold(&events, violation), "{violation}");
    }
}

/// `condor_hold` of a job that something else holds writes 012 again, with code 1 (§5.2 of the semantics).
pub(crate) fn is_rehold(events: &[Event], violation: userlog::Violation) -> bool {
    let code = |event: &Event| match event.body {
        Body::Held { code, .. } => Some(code),
        _ => None,
    };
    let own = events[..violation.index].iter().filter(|event| event.job == violation.job);
    let before = own.rev().find_map(code);
    violation.fault == LogFault::HeldTwice
        && code(&events[violation.index]) == Some(1)
        && before.is_some_and(|code| code != 1)
}
