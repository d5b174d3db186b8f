//! Policies as the owner of a job may write them, one a line, and what is decided by them.

use crate::within_bounds;
use duj_api::{DockerUniverseJob, names};
use duj_core::{
    decide::decide,
    facts::PodFacts,
    observed::{Decision, Effect, Observed, Room},
    queue::Items,
    settings::Settings,
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// The fields, in the order of the lines.
const FIELDS: [&str; 13] = [
    "periodicHold",
    "periodicHoldReason",
    "periodicHoldSubcode",
    "periodicRelease",
    "periodicReleaseReason",
    "periodicRemove",
    "periodicRemoveReason",
    "periodicVacate",
    "periodicVacateReason",
    "onExitHold",
    "onExitHoldReason",
    "onExitHoldSubcode",
    "onExitRemove",
];

const UID: &str = "0a1b2c3d-1111-2222-3333-444455556666";

/// A job lives through waiting, running and its end; at each moment a decision is made, and no status is too large.
pub(crate) fn decides(text: &str) {
    let mut spec = Map::from_iter([
        ("image".to_owned(), json!("busybox")),
        ("executable".to_owned(), json!("true")),
    ]);
    for (field, line) in FIELDS.iter().zip(text.split('\n')) {
        // The API server takes no empty ones, and none that is longer.
        if !line.is_empty() && line.chars().count() <= 4096 {
            spec.insert((*field).to_owned(), json!(line));
        }
    }
    let Some(mut observed) = submitted(&spec.into()) else {
        unreachable!("a job with texts for policies is one")
    };
    let created = advance(&mut observed).and_then(|decision| {
        decision.before.into_iter().chain(decision.after).find_map(|effect| match effect {
            Effect::CreatePod(pod) => Some(*pod),
            _ => None,
        })
    });
    advance(&mut observed);
    let Some(pod) = created else { return };
    for (phase, state) in [
        ("Running", json!({ "running": { "startedAt": observed.now.to_string() } })),
        (
            "Failed",
            json!({ "terminated": {
                "exitCode": 3, "reason": "Error",
                "startedAt": observed.now.to_string(), "finishedAt": observed.now.to_string(),
            } }),
        ),
    ] {
        observed.pods = seen(&pod, phase, &state).into_iter().map(Arc::new).collect();
        advance(&mut observed);
        advance(&mut observed);
    }
}

fn submitted(spec: &Value) -> Option<Observed> {
    let now: Timestamp = "2026-03-01T12:00:00Z".parse().ok()?;
    let job: DockerUniverseJob = serde_json::from_value(json!({
        "apiVersion": "dockeruniverse.io/v1alpha1", "kind": "DockerUniverseJob", "spec": spec,
        "metadata": {
            "name": "hello", "namespace": "physics", "uid": UID, "generation": 1,
            "creationTimestamp": "2026-03-01T12:00:00Z",
        },
    }))
    .ok()?;
    Some(Observed {
        items: Items::read(job.spec.queue.as_ref(), None).map(Arc::new),
        job,
        pages: Vec::new(),
        pods: Vec::new(),
        commands: Vec::new(),
        fresh_cluster_id: 7,
        refusal: None,
        uncommitted_since: Some(now),
        policies_due: None,
        leading_since: now,
        room: Room::default(),
        now,
    })
}

/// Decides, commits the status, and lets two minutes pass. Nothing where the job has no more to do.
fn advance(observed: &mut Observed) -> Option<Decision> {
    let decision = within_bounds("deciding", || decide(observed, &Settings::default()));
    observed.now += SignedDuration::from_secs(120);
    observed.uncommitted_since = Some(observed.now);
    let status = decision.status.clone()?;
    let size = serde_json::to_vec(&status).map_or(usize::MAX, |json| json.len());
    assert!(size < 256 * 1024, "a status of {size} bytes");
    observed.job.status = Some(status);
    Some(decision)
}

/// The pod as its node tells of it.
fn seen(pod: &Pod, phase: &str, state: &Value) -> Option<PodFacts> {
    let mut json = serde_json::to_value(pod).ok()?;
    json["metadata"]["uid"] = json!("uid-of-the-pod");
    json["metadata"]["creationTimestamp"] = json!("2026-03-01T12:00:01Z");
    json["metadata"]["finalizers"] = json!([names::FINALIZER_ACCOUNTED]);
    json["spec"]["nodeName"] = json!("node1");
    let ready = phase == "Running";
    json["status"] = json!({
        "phase": phase,
        "containerStatuses": [{
            "name": "job", "state": state, "ready": ready, "image": "", "imageID": "", "restartCount": 0,
        }],
    });
    PodFacts::read(&serde_json::from_value(json).ok()?)
}
