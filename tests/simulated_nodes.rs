//! The simulated nodes of `cargo xtask bench scale` write what real kubelets were seen to write: their pods' histories are
//! compared with the record of the real node, as the operator reads them.

#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    reason = "a test that fails shows where, and the record is read by several tests"
)]

#[path = "reality/mod.rs"]
mod reality;

use duj_api::{DockerUniverseJob, names};
use duj_core::{
    pod::{Attempt, pod_for},
    queue::Items,
    settings::{Delivery, Settings},
};
use duj_scale::{
    kubelet::{self, Life, Moment},
    script::Script,
    slim,
};
use jiff::Timestamp;
use reality::{
    histories::{Book, History},
    look,
};
use serde_json::{Value, json};

/// The pod of a job's proc, as the operator makes it and the API server keeps it.
fn pod(number: u32) -> Value {
    let job: DockerUniverseJob = serde_json::from_value(json!({
        "apiVersion": "dockeruniverse.io/v1alpha1", "kind": "DockerUniverseJob",
        "metadata": { "name": "job", "namespace": "lab", "uid": "0a1b2c3d-1111-2222-3333-444455556666", "generation": 1 },
        "spec": { "image": "busybox:1.35", "executable": "play", "arguments": ["run=5", "exit=3"] },
    }))
    .unwrap();
    let delivery = Delivery::ImageVolume;
    let attempt = Attempt { cluster_id: 7, proc: 0, number, starts: number, delivery };
    let settings =
        Settings { image: "registry.example.org/own@sha256:00".into(), ..Settings::default() };
    let mut pod = serde_json::to_value(
        pod_for(&job, &Items::read(None, None).unwrap(), &settings, attempt).unwrap(),
    )
    .unwrap();
    pod["metadata"]["uid"] = json!(format!("pod-{number}"));
    pod["metadata"]["creationTimestamp"] = json!("2026-11-22T12:00:00Z");
    pod["status"] = json!({ "phase": "Pending" });
    pod
}

/// What the API server makes of a strategic merge of a status.
fn merge(pod: &mut Value, patch: &Value) {
    for (key, value) in patch["status"].as_object().unwrap() {
        if key != "conditions" {
            pod["status"][key] = value.clone();
            continue;
        }
        let mut merged = pod["status"]["conditions"].as_array().cloned().unwrap_or_default();
        for condition in value.as_array().unwrap() {
            merged.retain(|known| known["type"] != condition["type"]);
            merged.push(condition.clone());
        }
        pod["status"]["conditions"] = json!(merged);
    }
}

/// A pod's life, as a watcher sees it.
struct Watched {
    pod: Value,
    history: History,
}

impl Watched {
    fn new(number: u32) -> Self {
        let mut watched = Self { pod: pod(number), history: History::new() };
        watched.look();
        watched.pod["spec"]["nodeName"] = json!("simulated-000");
        let bound = json!({ "status": { "conditions": [
            { "type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-11-22T12:00:00Z" },
        ] } });
        merge(&mut watched.pod, &bound);
        watched.look();
        watched
    }

    fn look(&mut self) {
        let line = look::of(&self.pod).unwrap();
        if self.history.last() != Some(&line) {
            self.history.push(line);
        }
    }

    fn moments(&mut self, moments: &[Moment]) {
        for moment in moments {
            let slim: slim::Pod = serde_json::from_value(self.pod.clone()).unwrap();
            let second = |second: i64| Timestamp::from_second(1_795_000_000 + second).unwrap();
            let starter = Script::of(&slim.spec.containers[0]).starter;
            let life = Life { bound: second(0), began: second(1), ended: second(4), starter };
            merge(&mut self.pod, &kubelet::patch(&slim, &life, *moment));
            self.look();
        }
    }

    fn delete(&mut self, grace: i64) {
        self.pod["metadata"]["deletionTimestamp"] = json!("2026-11-22T12:00:09Z");
        self.pod["metadata"]["deletionGracePeriodSeconds"] = json!(grace);
        self.look();
    }

    fn release(&mut self) {
        let finalizers = self.pod["metadata"]["finalizers"].as_array_mut().unwrap();
        finalizers.retain(|finalizer| finalizer != names::FINALIZER_ACCOUNTED);
        self.look();
    }
}

#[test]
fn simulated_pods_live_as_real_ones_were_seen_to() {
    use Moment::{Creating, Exited, Running, Stopped};
    let ends = |moments: &[Moment]| {
        let mut watched = Watched::new(0);
        watched.moments(moments);
        watched.release();
        vec![watched.history]
    };
    let mut deleted = Watched::new(0);
    deleted.moments(&[Creating, Running]);
    deleted.delete(30);
    deleted.moments(&[Stopped]);
    deleted.release();
    deleted.delete(0);
    deleted.history.push(look::GONE.to_owned());
    let mut again = Watched::new(1);
    again.moments(&[Creating, Running, Exited(0)]);
    again.release();
    let book = Book::read();
    for (case, run) in [
        ("exit-0", ends(&[Creating, Running, Exited(0)])),
        ("exit-0", ends(&[Creating, Exited(0)])),
        ("exit-3", ends(&[Creating, Running, Exited(3)])),
        ("exit-3", ends(&[Creating, Exited(3)])),
        ("pod-deleted", vec![deleted.history, again.history]),
    ] {
        let objections = book.objections(case, &run);
        assert!(objections.is_empty(), "{case}: {objections:#?}\nof {run:#?}");
    }
}

#[test]
fn a_life_that_no_kubelet_lives_is_objected_to() {
    use Moment::{Creating, Exited, Running, Stopped};
    let book = Book::read();
    for moments in
        [&[Running, Creating, Exited(0)][..], &[Creating, Exited(1)], &[Creating, Stopped]]
    {
        let mut watched = Watched::new(0);
        watched.moments(moments);
        watched.release();
        let run = vec![watched.history];
        assert!(!book.objections("exit-0", &run).is_empty(), "{run:#?}");
    }
}
