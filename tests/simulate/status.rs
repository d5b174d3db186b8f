//! What the kubelet writes on a pod: the whole truth at the time of writing, so that what was short is never told.

use crate::{
    kubelet::{Act, Body, State},
    life::Trouble,
    store::{Part, is_deleting},
    world::World,
};
use serde_json::{Value, json};

impl World {
    pub(crate) fn tell_status(&mut self, uid: &str) {
        let Some(body) = self.bodies.get(uid).filter(|body| body.answers) else { return };
        let (key, over) = (body.key.clone(), !body.lives());
        let Some(pod) = self.store.get(&key).filter(|pod| pod["metadata"]["uid"] == uid) else {
            return;
        };
        let deleting = is_deleting(pod);
        // The phase follows the container after a moment, but where the kubelet has itself ended the pod, or is slow.
        let slow = self.chance(&format!("both {}", key.name)).one_in(4);
        let at_once = over && (deleting || body.evicted || slow);
        if let Some(body) = self.bodies.get_mut(uid).filter(|_| at_once) {
            body.closed = true;
        }
        let (Some(body), Some(pod)) = (self.bodies.get(uid), self.store.get(&key)) else { return };
        let told_all = body.closed;
        let status = self.status(body, &pod["status"]);
        // Gone already is well.
        let _ = self.write("kubelet", |store| {
            store.update(&key, Part::Status, |pod| pod["status"] = status)
        });
        if over && !told_all {
            self.plan_for(uid, "close", 30, 1500, Act::Close(uid.to_owned()));
        }
        if over && deleting {
            self.plan_for(uid, "confirm", 3, 300, Act::Confirm(uid.to_owned()));
        }
    }

    /// All of the pod has ended.
    pub(crate) fn close(&mut self, uid: &str) {
        let Some(body) = self.bodies.get_mut(uid).filter(|body| body.answers) else { return };
        if !std::mem::replace(&mut body.closed, true) {
            self.tell_status(uid);
        }
    }

    /// The pod's status, by the truth; conditions of others stay.
    fn status(&self, body: &Body, old: &Value) -> Value {
        if body.refused {
            return json!({ "phase": "Failed", "reason": "OutOfcpu", "message": "Node didn't have enough resource: cpu" });
        }
        let mut conditions: Vec<Value> = old["conditions"].as_array().cloned().unwrap_or_default();
        conditions.retain(|condition| condition["type"] == "DisruptionTarget");
        let mut say = |type_: &str, holds: bool, reason: &str| {
            let status = if holds { "True" } else { "False" };
            let known = old["conditions"].as_array().into_iter().flatten();
            let same =
                |condition: &&Value| condition["type"] == type_ && condition["status"] == status;
            let since = known.clone().find(same).map(|condition| &condition["lastTransitionTime"]);
            let since = since.cloned().unwrap_or_else(|| json!(self.stamp()));
            conditions.push(json!({
                "type": type_, "status": status, "reason": reason, "lastTransitionTime": since,
            }));
        };
        say("PodScheduled", true, "");
        let running = body.state == State::Running;
        say("Ready", running, if running { "" } else { "ContainersNotReady" });
        let (phase, state) = match &body.state {
            State::Unbound | State::Preparing => ("Pending", waiting(body)),
            State::Running => {
                ("Running", json!({ "running": { "startedAt": second(body.started) } }))
            }
            State::Ended(end) => (
                match (body.closed, end.code) {
                    (true, 0) => "Succeeded",
                    (true, _) => "Failed",
                    (false, _) => old["phase"].as_str().unwrap_or("Pending"),
                },
                json!({ "terminated": {
                    "exitCode": end.code, "reason": end.reason, "message": end.message,
                    "startedAt": second(body.started),
                    "finishedAt": if end.at.is_empty() { Value::Null } else { json!(end.at) },
                } }),
            ),
        };
        let evicted = body.evicted && !body.lives();
        if evicted {
            conditions.push(json!({
                "type": "DisruptionTarget", "status": "True", "reason": "TerminationByKubelet",
                "message": "The node was low on resource: memory.",
            }));
        }
        let mut status = json!({
            "phase": phase, "hostIP": "10.0.0.9", "conditions": conditions, "qosClass": "Burstable",
            "containerStatuses": [{
                "name": "job", "state": state, "ready": running, "image": "", "imageID": "", "restartCount": 0,
            }],
        });
        if evicted {
            status["reason"] = json!("Evicted");
            status["message"] = json!("The node was low on resource: memory.");
        }
        status
    }
}

fn waiting(body: &Body) -> Value {
    let trouble = body.life.trouble.map(|(trouble, _)| trouble).filter(|_| body.tries > 0);
    // Between two tries it says so, with the words of the last one.
    let pulling = if body.tries % 2 == 1 { "ErrImagePull" } else { "ImagePullBackOff" };
    let (reason, message) = match trouble {
        None
        | Some(
            Trouble::VolumeMissing | Trouble::VolumeLost | Trouble::TooBig | Trouble::Misplaced,
        ) => ("ContainerCreating", ""),
        Some(Trouble::ImageBusy) => {
            (pulling, "unexpected status from HEAD request: 503 Service Unavailable")
        }
        Some(Trouble::ImageMissing) => {
            (pulling, "failed to resolve reference: manifest unknown: not found")
        }
        Some(Trouble::ConfigMissing) => ("CreateContainerConfigError", "secret \"s\" not found"),
        Some(Trouble::StarterMissing) => {
            ("CreateContainerError", "failed to mount image volume docker-universe-starter")
        }
    };
    json!({ "waiting": { "reason": reason, "message": message } })
}

/// A time to the second; the epoch where there is none, as runtimes report it.
fn second(time: Option<jiff::Timestamp>) -> String {
    jiff::Timestamp::from_second(time.map_or(0, jiff::Timestamp::as_second)).unwrap().to_string()
}
