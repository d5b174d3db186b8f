//! What one decision costs as a job grows: `cargo bench -p duj-core`. A tenth of the procs have pods, some of which have ended.
//!
//! Invariant: it prints times and asserts nothing: machines differ.

#![allow(clippy::unwrap_used, reason = "a benchmark that is wrong about its own stage has to stop")]
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    reason = "it measures, and is not the core"
)]

use duj_api::{
    DockerUniverseJob, names,
    status::{ProcRecord, ProcStatus},
};
use duj_core::{
    decide::decide,
    facts::PodFacts,
    observed::{Observed, Room},
    patch,
    queue::Items,
    records::Records,
    settings::Settings,
};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::json;
use std::{hint::black_box, sync::Arc, time::Instant};

const UID: &str = "0a1b2c3d-1111-2222-3333-444455556666";
const ROUNDS: u32 = 10;

fn main() {
    for total in [1_000, 10_000, 100_000] {
        let mut observed = observed(total);
        // A job as it is after its first decisions: its records are those of a status.
        let decision = decide(&observed, &Settings::default());
        observed.job.status = decision.status.or(observed.job.status.take());
        let began = Instant::now();
        for _ in 0..ROUNDS {
            let decision = decide(black_box(&observed), &Settings::default());
            if let Some(status) = &decision.status {
                black_box(patch::of_status(observed.job.status.as_ref(), status));
            }
        }
        let each = began.elapsed() / ROUNDS;
        let bytes =
            serde_json::to_vec(&observed.job.status).map(|json| json.len()).unwrap_or_default();
        println!("{total:>7} procs: {each:>10.1?} a decision, status of {bytes} bytes");
    }
}

/// Three tenths have completed, a tenth runs, of which every fiftieth has just ended, the others are idle.
fn observed(total: u32) -> Observed {
    let job: DockerUniverseJob = serde_json::from_value(json!({
        "apiVersion": "dockeruniverse.io/v1alpha1", "kind": "DockerUniverseJob",
        "spec": { "image": "busybox:1.35", "executable": "sh", "queue": { "count": total } },
        "metadata": { "name": "hello", "namespace": "physics", "uid": UID, "generation": 1,
            "creationTimestamp": "2026-03-01T12:00:00Z" },
    }))
    .unwrap();
    let now: Timestamp = "2026-03-01T13:00:00Z".parse().unwrap();
    let mut records = Records::default();
    let mut pods = Vec::new();
    for proc in 0..total {
        let status = match proc * 10 / total {
            0..3 => ProcStatus::Completed,
            3 => ProcStatus::Running,
            _ => ProcStatus::Idle,
        };
        let entered = now.as_second() - i64::from(proc % 40);
        let running = status == ProcStatus::Running;
        let record = ProcRecord {
            status,
            entered_status: running.then(|| Time(Timestamp::from_second(entered).unwrap())),
            num_job_starts: u32::from(status != ProcStatus::Idle),
            exit_code: (status == ProcStatus::Completed).then_some(0),
            ..ProcRecord::default()
        };
        records.put(proc, Arc::new(record));
        if running {
            pods.push(Arc::new(pod(proc, proc % 50 == 0)));
        }
    }
    let mut job = job;
    job.status = decide(&blank(job.clone(), now), &Settings::default()).status;
    if let Some(status) = &mut job.status {
        status.procs = records.group();
        status.counts = Some(records.count());
    }
    Observed { pods, ..blank(job, now) }
}

fn blank(job: DockerUniverseJob, now: Timestamp) -> Observed {
    Observed {
        items: Items::read(job.spec.queue.as_ref(), None).map(Arc::new),
        job,
        pages: Vec::new(),
        pods: Vec::new(),
        commands: Vec::new(),
        fresh_cluster_id: 7,
        refusal: None,
        uncommitted_since: None,
        policies_due: None,
        leading_since: now,
        room: Room::default(),
        now,
    }
}

fn pod(proc: u32, ended: bool) -> PodFacts {
    let state = if ended {
        json!({ "terminated": { "exitCode": 0, "reason": "Completed",
            "startedAt": "2026-03-01T12:10:00Z", "finishedAt": "2026-03-01T12:20:00Z" } })
    } else {
        json!({ "running": { "startedAt": "2026-03-01T12:10:00Z" } })
    };
    let pod = json!({
        "metadata": {
            "name": names::pod_name("hello", UID, proc, 0), "namespace": "physics",
            "uid": format!("pod-{proc}"), "creationTimestamp": "2026-03-01T12:09:00Z",
            "finalizers": [names::FINALIZER_ACCOUNTED],
            "ownerReferences": [{ "apiVersion": "dockeruniverse.io/v1alpha1", "name": "hello",
                "kind": "DockerUniverseJob", "uid": UID, "controller": true }],
        },
        "spec": { "nodeName": "node1", "containers": [{ "name": "job" }] },
        "status": {
            "phase": if ended { "Succeeded" } else { "Running" }, "hostIP": "10.0.0.1",
            "containerStatuses": [{ "name": "job", "image": "", "imageID": "", "ready": !ended,
                "restartCount": 0, "state": state }],
        },
    });
    PodFacts::read(&serde_json::from_value(pod).unwrap()).unwrap()
}
