//! What scheduler, kubelet, node controller and pod garbage collector write on a pod, in their own words.

use super::Server;
use duj_protocol::{Outcome, Record, Usage};
use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{Pod, PodStatus},
    apimachinery::pkg::apis::meta::v1::Time,
};
use serde_json::{Value, json};

/// A node's hand on one pod, at one time.
pub(crate) struct Kubelet<'a> {
    pub(crate) server: &'a mut Server,
    pub(crate) name: String,
    pub(crate) now: Timestamp,
}

/// How a container ended.
pub(crate) struct End {
    pub(crate) code: i32,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
    pub(crate) started: bool,
}

/// The starter's final record of a command that ran from `started` on.
pub(crate) fn record(started: Timestamp, ended: Timestamp, outcome: Outcome) -> Record {
    Record {
        version: Record::VERSION,
        started: Some(started.as_millisecond()),
        ended: Some(ended.as_millisecond()),
        outcome: Some(outcome),
        usage: Usage {
            user_ms: 2500,
            system_ms: 500,
            peak_memory: 50 << 20,
            resident: 40 << 20,
            ..Usage::default()
        },
        ..Record::default()
    }
}

impl Kubelet<'_> {
    pub(crate) fn pod(&self) -> Option<&Pod> {
        self.server.pods.get(&self.name)
    }

    fn status(&self) -> Value {
        self.pod()
            .and_then(|pod| serde_json::to_value(&pod.status).ok())
            .filter(Value::is_object)
            .unwrap_or(json!({}))
    }

    /// Changes the pod's status as a merge patch would; conditions are given whole.
    pub(crate) fn patch(&mut self, patch: &Value) {
        let mut status = self.status();
        for (key, value) in patch.as_object().unwrap() {
            status[key] = value.clone();
        }
        let status: PodStatus = serde_json::from_value(status).unwrap();
        self.server.change_pod(&self.name, |pod| pod.status = Some(status));
    }

    /// Sets one condition and keeps the others.
    pub(crate) fn condition(&mut self, type_: &str, holds: bool, reason: &str, message: &str) {
        let mut conditions = self.status()["conditions"].as_array().cloned().unwrap_or_default();
        conditions.retain(|condition| condition["type"] != type_);
        conditions.push(json!({
            "type": type_, "status": if holds { "True" } else { "False" }, "reason": reason, "message": message,
            "lastTransitionTime": Time(self.now),
        }));
        self.patch(&json!({ "conditions": conditions }));
    }

    pub(crate) fn unschedulable(&mut self, words: &str) {
        self.condition("PodScheduled", false, "Unschedulable", words);
        self.patch(&json!({ "phase": "Pending" }));
    }

    pub(crate) fn bind(&mut self) {
        self.server.change_pod(&self.name, |pod| {
            pod.spec.as_mut().unwrap().node_name = Some("node1".into());
        });
        self.condition("PodScheduled", true, "", "");
        self.patch(&json!({ "phase": "Pending", "hostIP": "10.0.0.9" }));
        self.waiting("ContainerCreating", "");
    }

    pub(super) fn container(&mut self, name: &str, state: &Value, ready: bool) {
        let key = if name == "prepare" { "initContainerStatuses" } else { "containerStatuses" };
        let mut all = self.status()[key].as_array().cloned().unwrap_or_default();
        all.retain(|container| container["name"] != name);
        all.push(json!({
            "name": name, "state": state, "ready": ready, "image": "", "imageID": "", "restartCount": 0,
        }));
        self.patch(&json!({ key: all }));
    }

    pub(crate) fn waiting(&mut self, reason: &str, message: &str) {
        self.container(
            "job",
            &json!({ "waiting": { "reason": reason, "message": message } }),
            false,
        );
    }

    pub(crate) fn prepare_waiting(&mut self, reason: &str, message: &str) {
        self.container(
            "prepare",
            &json!({ "waiting": { "reason": reason, "message": message } }),
            false,
        );
    }

    pub(crate) fn prepare_fails(&mut self, code: i32, message: &str) {
        let end = json!({ "exitCode": code, "reason": "Error", "message": message });
        self.container("prepare", &json!({ "terminated": end }), false);
        self.patch(&json!({ "phase": "Failed" }));
        self.confirm();
    }

    pub(crate) fn run(&mut self) {
        self.container("job", &json!({ "running": { "startedAt": Time(self.now) } }), true);
        self.condition("Ready", true, "", "");
        self.patch(&json!({ "phase": "Running" }));
    }

    /// Since when the job's container runs.
    pub(crate) fn running_since(&self) -> Option<Timestamp> {
        let time = self.status()["containerStatuses"][0]["state"]["running"]["startedAt"].clone();
        serde_json::from_value::<Time>(time).ok().map(|time| time.0)
    }

    /// The container terminated; the kubelet writes the phase in the same patch, and confirms a deletion.
    pub(crate) fn end(&mut self, end: &End) {
        self.end_container(end);
        self.patch(&json!({ "phase": if end.code == 0 { "Succeeded" } else { "Failed" } }));
        self.confirm();
    }

    /// As [`Self::end`], but another container keeps the pod alive.
    pub(crate) fn end_container(&mut self, end: &End) {
        let started = self.running_since();
        let mut state = json!({ "exitCode": end.code, "reason": end.reason, "message": end.message, "finishedAt": Time(self.now) });
        // A runtime that never started the container reports the epoch.
        state["startedAt"] = match started.filter(|_| end.started) {
            Some(started) => json!(Time(started)),
            None => json!("1970-01-01T00:00:00Z"),
        };
        self.container("job", &json!({ "terminated": state }), false);
        self.condition("Ready", false, "PodCompleted", "");
    }

    /// The starter's record is the termination message.
    pub(crate) fn end_with(&mut self, code: i32, reason: &'static str, record: &Record) {
        self.end(&End { code, reason, message: record.to_message(), started: true });
    }

    /// The command ended like this, now.
    pub(crate) fn outcome(&mut self, outcome: Outcome) {
        let code = match outcome {
            Outcome::Exited(code) => code,
            Outcome::Signalled(signal) => 128 + signal,
            Outcome::NotStarted { .. }
            | Outcome::OverDisk { .. }
            | Outcome::CheckpointFailed(_) => 1,
        };
        let started = self.running_since().unwrap_or(self.now);
        let mut record = record(started, self.now, outcome);
        if matches!(record.outcome, Some(Outcome::NotStarted { .. })) {
            record.started = None;
        }
        let reason = if code == 0 { "Completed" } else { "Error" };
        self.end_with(code, reason, &record);
    }

    /// The pod was to be deleted: the starter got SIGTERM from outside, and stopped the command.
    pub(crate) fn stop(&mut self) {
        let started = self.running_since().unwrap_or(self.now);
        let record = duj_protocol::Record {
            stopped_by: Some(15),
            ..record(started, self.now, Outcome::Signalled(15))
        };
        self.end_with(143, "Error", &record);
    }

    /// A pod that is deleted before its containers could start: the kubelet makes it Failed.
    pub(crate) fn end_unstarted(&mut self) {
        let unknown = json!({ "exitCode": 137, "reason": "ContainerStatusUnknown", "message": "The container could not be located when the pod was terminated" });
        self.container("job", &json!({ "terminated": unknown }), false);
        self.patch(&json!({ "phase": "Failed" }));
        self.confirm();
    }

    /// The kubelet deletes what was to be deleted and is over.
    pub(crate) fn confirm(&mut self) {
        self.server.change_pod(&self.name, |pod| {
            if pod.metadata.deletion_timestamp.is_some() {
                pod.metadata.deletion_grace_period_seconds = Some(0);
            }
        });
    }

    /// The kubelet refuses or evicts the pod: phase Failed with a reason of the pod's own.
    pub(crate) fn fail(&mut self, reason: &str, message: &str) {
        self.patch(&json!({ "phase": "Failed", "reason": reason, "message": message }));
    }

    /// The node controller marks the pods of a node that does not answer. It changes the status alone.
    pub(crate) fn unreachable(&mut self) {
        self.condition("Ready", false, "", "");
    }

    pub(crate) fn answers_again(&mut self) {
        self.condition("Ready", true, "", "");
    }

    pub(crate) fn disrupt(&mut self, reason: &str, message: &str) {
        self.condition("DisruptionTarget", true, reason, message);
    }

    pub(crate) fn delete(&mut self) {
        let uid = self.pod().and_then(|pod| pod.metadata.uid.clone()).unwrap_or_default();
        self.server.delete_pod(&self.name.clone(), &uid, self.now);
    }

    /// The node is gone: the pod garbage collector fails the pod and deletes it by force.
    pub(crate) fn collect_garbage(&mut self) {
        self.disrupt("DeletionByPodGC", "PodGC: node no longer exists");
        self.patch(&json!({ "phase": "Failed" }));
        self.delete();
        self.confirm();
    }
}
