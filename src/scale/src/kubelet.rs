//! What a kubelet writes on a pod's status, moment by moment. Pure: times come from the caller.
//!
//! Invariant: read as the operator reads it, every status written here is one that a real kubelet was seen to write, in an
//! order in which it was seen to write them (`tests/reality/pods`; the test of this crate compares).

use crate::slim::{Container, Pod};
use duj_protocol::{Outcome, Record, Usage};
use jiff::Timestamp;
use serde_json::{Value, json};

/// The simulated nodes' address.
pub const HOST: &str = "192.0.2.1";

/// Where a pod's container is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// The kubelet has the pod and sets it up.
    Creating,
    /// The container runs.
    Running,
    /// The container exited by itself with this code.
    Exited(i32),
    /// The container was stopped by SIGTERM, because the pod was deleted.
    Stopped,
}

/// A container's command is run by the starter, which leaves a record; or nothing does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    /// The kubelet got the pod.
    pub bound: Timestamp,
    /// The container began.
    pub began: Timestamp,
    /// It ended.
    pub ended: Timestamp,
    /// The command is run by our starter.
    pub starter: bool,
}

/// The patch of the pod's status that tells of this moment.
pub fn patch(pod: &Pod, life: &Life, moment: Moment) -> Value {
    let (phase, since) = match moment {
        Moment::Creating => ("Pending", life.bound),
        Moment::Running => ("Running", life.began),
        Moment::Exited(0) => ("Succeeded", life.ended),
        Moment::Exited(_) | Moment::Stopped => ("Failed", life.ended),
    };
    let runs = moment == Moment::Running;
    let host = HOST;
    let mut status = json!({
        "observedGeneration": 1,
        "phase": phase,
        "conditions": conditions(pod, life, moment, since),
        "containerStatuses": pod.spec.containers.iter()
            .map(|container| container_status(container, life, moment)).collect::<Vec<_>>(),
        "hostIP": host, "hostIPs": [{ "ip": host }],
        "startTime": second(life.bound),
    });
    if runs {
        let ip = address(pod);
        status["podIP"] = json!(ip);
        status["podIPs"] = json!([{ "ip": ip }]);
    }
    if !pod.spec.init_containers.is_empty() {
        let inits = pod.spec.init_containers.iter();
        let inits = inits.map(|container| init_status(container, life, moment));
        status["initContainerStatuses"] = inits.collect();
    }
    json!({ "metadata": { "uid": pod.metadata.uid }, "status": status })
}

fn conditions(pod: &Pod, life: &Life, moment: Moment, since: Timestamp) -> Value {
    let names: Vec<&str> = pod.spec.containers.iter().map(|c| c.name.as_str()).collect();
    let unready = match moment {
        Moment::Running => None,
        Moment::Creating => Some((
            "ContainersNotReady",
            format!("containers with unready status: [{}]", names.join(" ")),
        )),
        Moment::Exited(0) => Some(("PodCompleted", String::new())),
        Moment::Exited(_) | Moment::Stopped => Some(("PodFailed", String::new())),
    };
    let say = |type_: &str, holds: bool, since: Timestamp, why: Option<&(&str, String)>| {
        let mut condition = json!({
            "type": type_, "status": if holds { "True" } else { "False" }, "observedGeneration": 1,
            "lastProbeTime": null, "lastTransitionTime": second(since),
        });
        if let Some((reason, message)) = why {
            condition["reason"] = json!(reason);
            if !message.is_empty() {
                condition["message"] = json!(message);
            }
        }
        condition
    };
    let set_up = moment != Moment::Creating && pod.spec.init_containers.is_empty();
    let completed = (moment == Moment::Exited(0)).then_some(("PodCompleted", String::new()));
    let sandbox = matches!(moment, Moment::Running);
    json!([
        say("PodReadyToStartContainers", sandbox, since, None),
        say(
            "Initialized",
            set_up || pod.spec.init_containers.is_empty(),
            life.bound,
            completed.as_ref()
        ),
        say("Ready", unready.is_none(), since, unready.as_ref()),
        say("ContainersReady", unready.is_none(), since, unready.as_ref()),
    ])
}

fn container_status(container: &Container, life: &Life, moment: Moment) -> Value {
    let state = match moment {
        Moment::Creating => json!({ "waiting": { "reason": "ContainerCreating" } }),
        Moment::Running => json!({ "running": { "startedAt": second(life.began) } }),
        Moment::Exited(code) => terminated(container, life, code, None),
        Moment::Stopped => terminated(container, life, 128 + SIGTERM, Some(SIGTERM)),
    };
    let runs = moment == Moment::Running;
    let mut status = json!({
        "name": container.name, "state": state, "lastState": {}, "ready": runs, "started": runs,
        "restartCount": 0, "image": container.image, "imageID": "",
        "volumeMounts": container.volume_mounts,
    });
    if moment != Moment::Creating {
        status["imageID"] = json!(format!("{}@{DIGEST}", repository(&container.image)));
        status["containerID"] = json!(CONTAINER);
        status["resources"] = container.resources.clone();
        status["allocatedResources"] = container.resources["requests"].clone();
        status["user"] =
            json!({ "linux": { "uid": 65534, "gid": 65534, "supplementalGroups": [65534] } });
    }
    status
}

const SIGTERM: i32 = 15;
const DIGEST: &str = "sha256:5b3ef1f1a8d9c4c0b9e1f0c7e6e2f6f1a7b8c9d0e1f2a3b4c5d6e7f8a9b0c1d2";
const CONTAINER: &str =
    "containerd://9f2c4e6a8b0d1f3e5c7a9b1d3f5e7c9a1b3d5f7e9c1a3b5d7f9e1c3a5b7d9f1e";

fn terminated(container: &Container, life: &Life, code: i32, stopped_by: Option<i32>) -> Value {
    let mut end = json!({
        "exitCode": code, "reason": if code == 0 { "Completed" } else { "Error" },
        "startedAt": second(life.began), "finishedAt": second(life.ended), "containerID": CONTAINER,
    });
    if life.starter && container.name == JOB {
        end["message"] = json!(record(life, code, stopped_by).to_message());
    }
    json!({ "terminated": end })
}

/// The container that the starter runs in.
const JOB: &str = "job";

/// What the starter leaves.
fn record(life: &Life, code: i32, stopped_by: Option<i32>) -> Record {
    Record {
        version: Record::VERSION,
        started: Some(life.began.as_millisecond()),
        ended: Some(life.ended.as_millisecond()),
        outcome: Some(stopped_by.map_or(Outcome::Exited(code), Outcome::Signalled)),
        stopped_by,
        usage: Usage {
            user_ms: 3,
            system_ms: 2,
            peak_memory: 1_318_912,
            resident: 1_150_976,
            files: 2,
            scratch: 812,
            ..Usage::default()
        },
        ..Record::default()
    }
}

fn init_status(container: &Container, life: &Life, moment: Moment) -> Value {
    let waits = moment == Moment::Creating;
    let state = if waits {
        json!({ "waiting": { "reason": "PodInitializing" } })
    } else {
        json!({ "terminated": {
            "exitCode": 0, "reason": "Completed", "containerID": CONTAINER,
            "startedAt": second(life.bound), "finishedAt": second(life.began),
        } })
    };
    json!({
        "name": container.name, "state": state, "lastState": {}, "ready": !waits, "started": false,
        "restartCount": 0, "image": container.image, "imageID": "",
    })
}

/// An address that looks like one: nobody calls it.
fn address(pod: &Pod) -> String {
    let uid = pod.metadata.uid.as_deref().unwrap_or_default();
    let sum = uid.bytes().fold(0u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    let [_, b, c, d] = sum.to_be_bytes();
    format!("10.{b}.{c}.{d}")
}

fn repository(image: &str) -> &str {
    let tag = image.rfind(':').filter(|colon| !image[*colon..].contains('/'));
    tag.map_or(image, |colon| &image[..colon])
}

/// As Kubernetes writes times.
fn second(time: Timestamp) -> String {
    let whole = Timestamp::from_second(time.as_second()).unwrap_or(time);
    whole.to_string()
}
