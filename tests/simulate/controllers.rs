//! Node controller, pod garbage collector and garbage collector of owned objects.

use crate::{
    kubelet::{Act, End, State},
    store::{Deletion, Key, Kind, Part, is_deleting},
    world::World,
};
use serde_json::{Value, json};
use std::time::Duration;

impl World {
    /// The node of a pod stops answering.
    pub(crate) fn pause(&mut self, uid: &str) {
        let Some(body) = self.bodies.get_mut(uid).filter(|body| body.lives()) else { return };
        body.answers = false;
        let name = body.key.name.clone();
        self.tell("node1", &format!("does not answer any more (of '{name}')"));
        self.plan(Duration::from_secs(40), Act::Unreachable(uid.to_owned()));
        self.plan(Duration::from_secs(340), Act::Taint(uid.to_owned()));
        for (from, to) in [(1000, 60_000), (75_000, 200_000)] {
            let act = Act::Overhear(uid.to_owned());
            self.plan_for(uid, &format!("overhear after {from}"), from, to, act);
        }
    }

    fn is_silent(&self, uid: &str) -> Option<Key> {
        let body = self.bodies.get(uid).filter(|body| !body.answers)?;
        let pod = self.store.get(&body.key)?;
        (pod["metadata"]["uid"] == uid).then(|| body.key.clone())
    }

    pub(crate) fn condition(
        &mut self,
        who: &str,
        key: &Key,
        type_: &str,
        holds: bool,
        reason: &str,
    ) {
        let condition = json!({
            "type": type_, "status": if holds { "True" } else { "False" }, "reason": reason,
            "message": reason, "lastTransitionTime": self.stamp(),
        });
        // Gone already is well.
        let _ = self.write(who, |store| {
            store.update(key, Part::Status, |pod| {
                let mut conditions: Vec<Value> =
                    pod["status"]["conditions"].as_array().cloned().unwrap_or_default();
                conditions.retain(|condition| condition["type"] != type_);
                conditions.push(condition);
                pod["status"]["conditions"] = json!(conditions);
            })
        });
    }

    pub(crate) fn unreachable(&mut self, uid: &str) {
        let Some(key) = self.is_silent(uid) else { return };
        self.condition("nodes", &key, "Ready", false, "");
    }

    pub(crate) fn taint(&mut self, uid: &str) {
        let Some(key) = self.is_silent(uid) else { return };
        self.condition("nodes", &key, "DisruptionTarget", true, "DeletionByTaintManager");
        self.delete_pod("nodes", &key, uid, None);
    }

    pub(crate) fn comes_back(&mut self, uid: &str) {
        let Some(body) = self.bodies.get_mut(uid).filter(|body| !body.answers) else { return };
        body.answers = true;
        let key = body.key.clone();
        self.tell("node1", &format!("answers again (of '{}')", key.name));
        self.plan(Duration::from_millis(300), Act::Tell(uid.to_owned()));
        self.catch_up(uid);
        if self.store.get(&key).is_some_and(|pod| is_deleting(pod)) {
            self.plan(Duration::from_millis(700), Act::Stop(uid.to_owned()));
        }
    }

    /// The node object is gone, and its machine with it.
    pub(crate) fn collect_garbage(&mut self, uid: &str) {
        let Some(key) = self.is_silent(uid) else { return };
        if let Some(body) = self.bodies.get_mut(uid).filter(|body| body.lives()) {
            body.state = State::Ended(End::default());
        }
        self.condition("podgc", &key, "DisruptionTarget", true, "DeletionByPodGC");
        // Gone already is well.
        let _ = self.write("podgc", |store| {
            store.update(&key, Part::Status, |pod| pod["status"]["phase"] = json!("Failed"))
        });
        self.delete_pod("podgc", &key, uid, Some(0));
    }

    pub(crate) fn delete_pod(&mut self, who: &str, key: &Key, uid: &str, grace: Option<i64>) {
        let now = self.now();
        let how = Deletion { uid: Some(uid.to_owned()), grace, ..Deletion::default() };
        // Gone already is well.
        let _ = self.write(who, |store| store.delete(key, &how, now));
    }

    /// Deletes the pods of a job that is gone or goes, as its propagation policy wants it.
    pub(crate) fn collect_orphans(&mut self, owner: &str) {
        let job = self
            .store
            .list(Kind::Job, None)
            .into_iter()
            .find(|(_, job)| job["metadata"]["uid"] == owner)
            .map(|(key, job)| (key.clone(), job.clone()));
        if job.as_ref().is_some_and(|(_, job)| !is_deleting(job)) {
            return;
        }
        let waits_for = |word: &str| {
            let finalizers =
                job.as_ref().and_then(|(_, job)| job["metadata"]["finalizers"].as_array());
            finalizers.is_some_and(|list| list.contains(&json!(word)))
        };
        let (orphan, foreground) = (waits_for("orphan"), waits_for("foregroundDeletion"));
        let is_its = |pod: &Value| pod["metadata"]["ownerReferences"][0]["uid"] == owner;
        let pods: Vec<(Key, String)> = self
            .store
            .list(Kind::Pod, None)
            .into_iter()
            .filter(|(_, pod)| is_its(pod))
            .map(|(key, pod)| (key.clone(), pod["metadata"]["uid"].as_str().unwrap().to_owned()))
            .collect();
        for (key, uid) in &pods {
            if orphan {
                // Gone already is well.
                let _ = self.write("collector", |store| {
                    store.update(key, Part::Main, |pod| {
                        pod["metadata"]["ownerReferences"] = json!([]);
                    })
                });
            } else {
                self.delete_pod("collector", key, uid, None);
            }
        }
        if let Some((key, _)) = job.filter(|_| orphan || (foreground && pods.is_empty())) {
            // Gone already is well.
            let _ = self.write("collector", |store| {
                store.update(&key, Part::Main, |job| job["metadata"]["finalizers"] = json!([]))
            });
        } else if foreground {
            self.plan(Duration::from_secs(1), Act::Orphans(owner.to_owned()));
        }
    }
}
