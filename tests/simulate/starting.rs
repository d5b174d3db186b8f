//! From a pod's creation to the start of its container: the scheduler's word, and what the node tries, in vain or not.

use crate::{
    kubelet::{Act, End, State},
    life::Trouble,
    store::{Part, is_deleting},
    world::World,
};
use serde_json::json;
use std::time::Duration;

impl World {
    /// The scheduler looks at a pod.
    pub(crate) fn bind(&mut self, uid: &str) {
        let Some(body) = self.bodies.get(uid).filter(|body| body.state == State::Unbound) else {
            return;
        };
        let (key, trouble) = (body.key.clone(), body.life.trouble);
        match trouble {
            Some((Trouble::TooBig, _)) => {
                self.condition("scheduler", &key, "PodScheduled", false, "Unschedulable");
            }
            Some((Trouble::Misplaced, _)) => {} // that of another scheduler
            _ => self.bind_to_node("scheduler", uid),
        }
    }

    /// Somebody binds a pod: its node is to run it.
    pub(crate) fn bind_to_node(&mut self, who: &str, uid: &str) {
        let Some(body) = self.bodies.get_mut(uid).filter(|body| body.state == State::Unbound)
        else {
            return;
        };
        body.state = State::Preparing;
        let (key, trouble) = (body.key.clone(), body.life.trouble);
        let scheduled = json!({
            "type": "PodScheduled", "status": "True", "lastTransitionTime": self.stamp(),
        });
        // The binding writes the node and the condition at once.
        let bound = self.write(who, |store| {
            store.update(&key, Part::Binding, |pod| {
                pod["spec"]["nodeName"] = json!("node1");
                pod["status"]["conditions"] = json!([scheduled]);
            })
        });
        if bound.is_err() {
            return;
        }
        self.plan_for(uid, "accept", 10, 500, Act::Tell(uid.to_owned()));
        match trouble {
            None => self.plan_for(uid, "begin", 600, 3000, Act::Begin(uid.to_owned())),
            Some((Trouble::Misplaced, _)) => self.refuse(uid),
            Some((_, heals)) => {
                self.plan_for(uid, "try", 600, 2000, Act::Try(uid.to_owned()));
                if let Some(heals) = heals {
                    self.plan(heals, Act::Begin(uid.to_owned()));
                }
            }
        }
        let words = match trouble {
            Some((Trouble::VolumeMissing, _)) => "the server is busy",
            Some((Trouble::VolumeLost, _)) => "configmap \"never\" not found",
            _ => return,
        };
        let message = format!("MountVolume.SetUp failed for volume \"v\": {words}");
        self.warnings.push((uid.to_owned(), message));
    }

    /// The node has no room for it: the kubelet tells so, and nothing else.
    fn refuse(&mut self, uid: &str) {
        let body = self.bodies.get_mut(uid).unwrap();
        (body.refused, body.closed) = (true, true);
        body.state = State::Ended(End::default());
    }

    /// The node tries to start the container, in vain.
    pub(crate) fn try_to_start(&mut self, uid: &str) {
        let Some(body) = self.bodies.get_mut(uid).filter(|body| body.state == State::Preparing)
        else {
            return;
        };
        let Some((trouble, _)) = body.life.trouble else { return };
        let pod = self.store.get(&body.key);
        if body.told_to_stop || !body.answers || pod.is_none_or(|pod| is_deleting(pod)) {
            return;
        }
        body.tries += 1;
        let tries = body.tries;
        self.tell_status(uid);
        if matches!(trouble, Trouble::ImageBusy | Trouble::ImageMissing) {
            self.plan_for(uid, &format!("try {tries}"), 2000, 14000, Act::Try(uid.to_owned()));
        }
    }

    /// A kubelet that is about to start a container starts it, and hears only then that the pod is to be deleted.
    pub(crate) fn starts_nevertheless(&mut self, uid: &str) -> bool {
        let Some(body) = self.bodies.get(uid).filter(|body| body.state == State::Preparing) else {
            return false;
        };
        let starts = body.life.trouble.is_none();
        if starts {
            self.plan(Duration::from_millis(3100), Act::Stop(uid.to_owned()));
        }
        starts
    }

    /// The kubelet hears that a pod is to be deleted whose container it has not begun.
    pub(crate) fn stop_trying(&mut self, uid: &str) {
        let Some(body) = self.bodies.get_mut(uid) else { return };
        body.tries = 0;
        let name = body.key.name.clone();
        if !self.chance(&format!("quick {name}")).one_in(3) {
            self.tell_status(uid);
        }
        self.plan_for(uid, "give up", 20, 800, Act::GiveUp(uid.to_owned()));
    }

    pub(crate) fn give_up(&mut self, uid: &str) {
        let there = self.bodies.get(uid).is_some_and(|body| body.state == State::Preparing);
        if !there {
            return;
        }
        let message = "The container could not be located when the pod was terminated";
        let end = End {
            code: 137,
            reason: "ContainerStatusUnknown",
            message: message.into(),
            ..End::default()
        };
        self.ended(uid, end);
    }
}

/// How long a kubelet waits, at least, before it kills what is deleted without grace.
pub(crate) const LEAST_GRACE: Duration = Duration::from_secs(2);
