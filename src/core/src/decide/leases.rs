//! Leases: renewed while the job's node answers, revoked when it does not, and over in the end.
//!
//! Invariant: what is written is a function of the pod and the time. It needs no status and none needs it: an attempt ends
//! by its lease only when the end stands in its pod.

use super::{Work, over};
use crate::{facts::PodFacts, lease::Due, observed::Effect};
use jiff::{SignedDuration, Timestamp};

/// What was written is looked at after this time.
const LOOK_AGAIN: SignedDuration = SignedDuration::from_secs(2);

impl Work<'_> {
    /// What has to be written about the leases of pods that live, or may.
    pub(super) fn mark_leases(&mut self) -> Vec<Effect> {
        let mut effects = Vec::new();
        let pods: Vec<&PodFacts> = self.pods.iter().collect();
        for pod in pods {
            match self.lease_due(pod) {
                Due::Now(mark) => {
                    effects.push(Effect::MarkLease {
                        name: pod.name.clone(),
                        uid: pod.uid.clone(),
                        version: pod.version.clone(),
                        mark,
                    });
                    // The next renewal may not depend on a watch that tells of this one.
                    self.wake_at(self.observed.now.checked_add(LOOK_AGAIN).ok());
                }
                Due::At(time) => self.wake_at(Some(time)),
                Due::Never => {}
            }
        }
        effects
    }

    /// What comes of a proc whose node does not answer, as a part of a sentence.
    pub(crate) fn outlook(&self, id: u32) -> String {
        let pod = self.current_pod(id);
        let Some(lease) = pod.and_then(|pod| pod.lease.as_ref()) else {
            return "no other attempt is begun until its end is known".into();
        };
        // In whole seconds, none too early.
        let end = pod.and_then(PodFacts::lease_over_at);
        match end.and_then(|end| Timestamp::from_second(end.as_second() + 1).ok()) {
            Some(end) => format!(
                "unless the node answers before {end}, when its lease of {} seconds is over, it is given up",
                lease.duration
            ),
            None => format!("its lease of {} seconds is being revoked", lease.duration),
        }
    }

    fn lease_due(&self, pod: &PodFacts) -> Due {
        let now = self.observed.now;
        let (Some(lease), Some(started), false) = (&pod.lease, pod.started(), pod.ended()) else {
            return Due::Never;
        };
        if let Some(silent) = pod.unreachable {
            return lease.revocation(silent, now);
        }
        // What is being stopped needs no lease: should its kubelet not be able to stop it, its end does.
        let wanted = self.records.get(pod.proc).is_some_and(|record| {
            pod.attempt == record.attempt
                && !over(record)
                && record.hold.is_none()
                && record.remove.is_none()
                && record.vacating.is_none()
        });
        if wanted && pod.deleting.is_none() { lease.renewal(started, now) } else { Due::Never }
    }
}
