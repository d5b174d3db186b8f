//! Pods that nobody wants any more, or that are accounted: how they are stopped and let go.
//!
//! Invariant: a pod is let go only when its end is in the status; one that lives is stopped by its own grace, and its
//! `transfer` is told before why, where that makes a difference.

use super::{Work, over, release};
use crate::{
    facts::{Phase, PodFacts},
    observed::Effect,
    pod,
};
use duj_api::{files::WhenToTransferOutput, status::ProcStatus};
use duj_protocol::transfer::stop;
use jiff::{SignedDuration, Timestamp};

/// An ended pod that a later attempt has replaced stays this long, so that an operator that was paused finds its name taken.
const KEEP_ENDED: SignedDuration = SignedDuration::from_mins(10);
/// Other people's containers may keep an ended job's pod alive this long.
const FOREIGN_GRACE: SignedDuration = SignedDuration::from_secs(30);
/// An annotation has reached the files in its pod after this time: a kubelet takes about a second.
const HEARD: SignedDuration = SignedDuration::from_secs(3);

impl Work<'_> {
    /// Stops pods that nobody wants any more, and lets go of those that are accounted.
    pub(super) fn end_pods(&mut self) -> Vec<Effect> {
        let mut effects = Vec::new();
        for &pod in self.pods.values() {
            let Some(record) = self.records.get(pod.proc) else {
                effects.extend(release(pod).filter(|_| pod.ended()));
                continue;
            };
            let current = pod.attempt == record.attempt && !over(record);
            let accounted = pod.ended() && !current;
            if accounted {
                effects.extend(release(pod));
            }
            let delete =
                |grace| Effect::DeletePod { name: pod.name.clone(), uid: pod.uid.clone(), grace };
            if record.remove.as_ref().is_some_and(|remove| remove.forced) && !pod.ended() {
                effects.extend(release(pod));
                if !pod.deleted_at_once {
                    effects.push(delete(Some(0)));
                }
                continue;
            }
            if pod.deleting.is_some() {
                continue;
            }
            // What is over and yet has a container that waits for a job which never began.
            let idles = pod.job.terminated.is_some()
                && pod.transfer.as_ref().is_some_and(|transfer| transfer.terminated.is_none());
            if pod.is_lost() || (pod.ended() && idles && accounted) {
                // Its kubelet ends what is left of it, when it comes back.
                effects.push(delete(None));
                continue;
            }
            let vacating = record.vacating.as_ref();
            // A job that could not begin has no outputs, and its `transfer` may wait for them for ever.
            let patience = SignedDuration::from_secs(2 * self.settings.transfer_patience + 60);
            let waited = pod.finished().and_then(|end| end.saturating_add(patience).ok());
            if let Some(end) = waited.filter(|_| pod.is_sending() && pod.has_no_outputs()) {
                if end <= self.observed.now {
                    effects.push(delete(None));
                    continue;
                }
                self.wake = Some(self.wake.map_or(end, |wake| wake.min(end)));
            }
            let kept = record.outputs_kept && pod.attempt == record.attempt;
            let unwanted = (matches!(record.status, ProcStatus::Held) && !kept)
                || record.status == ProcStatus::Removed
                || pod.attempt != record.attempt
                || record.status == ProcStatus::Completed
                || vacating.is_some();
            if !pod.ended() {
                let told = if unwanted { self.announce_stop(pod) } else { None };
                if let Some((announcement, heard)) = told {
                    effects.extend(announcement);
                    self.wake = Some(self.wake.map_or(heard, |wake| wake.min(heard)));
                } else if unwanted {
                    // Fast is not at once: the kubelet still has to say that the job has ended.
                    let fast = vacating.is_some_and(|vacating| vacating.fast);
                    effects.push(delete(fast.then_some(1)));
                } else if pod.suspended != (record.status == ProcStatus::Suspended) {
                    effects.push(Effect::SuspendPod {
                        name: pod.name.clone(),
                        uid: pod.uid.clone(),
                        suspended: record.status == ProcStatus::Suspended,
                    });
                } else if pod.resends != record.resends {
                    effects.push(Effect::Resend {
                        name: pod.name.clone(),
                        uid: pod.uid.clone(),
                        number: record.resends,
                    });
                }
                continue;
            }
            let finished = pod.finished().or(pod.created).unwrap_or(self.observed.now);
            let term = if matches!(pod.phase, Phase::Running) {
                Some(FOREIGN_GRACE)
            } else if pod.attempt < record.attempt && record.status != ProcStatus::Held {
                Some(KEEP_ENDED)
            } else {
                None
            };
            if let Some(end) = term.and_then(|term| finished.saturating_add(term).ok()) {
                if end <= self.observed.now {
                    effects.push(delete(None));
                } else {
                    self.wake = Some(self.wake.map_or(end, |wake| wake.min(end)));
                }
            }
        }
        effects
    }

    /// Where the pod's deletion has to wait until its `transfer` knows why: what tells it, and until when. Once a pod is being
    /// deleted, its node tells it nothing more, and there a hold and a removal look like an eviction.
    fn announce_stop(&self, pod: &PodFacts) -> Option<(Option<Effect>, Timestamp)> {
        let files = &self.observed.job.spec.files;
        let record = self.records.get(pod.proc)?;
        let streams = files.output.is_some() || files.error.is_some();
        let why = match record.status {
            ProcStatus::Held if streams && pod::has_destination(files) => stop::HOLD,
            ProcStatus::Removed
                if files.when_to_transfer_output == Some(WhenToTransferOutput::OnExitOrEvict) =>
            {
                stop::REMOVE
            }
            _ => return None,
        };
        if pod.transfer.is_none() || pod.job.running.is_none() || pod.attempt != record.attempt {
            return None;
        }
        let now = self.observed.now;
        let heard = |told: Timestamp| told.saturating_add(HEARD).unwrap_or(now);
        match &pod.stop_told {
            // A time to come is somebody else's, and is not waited for.
            Some((said, told)) if said == why => {
                (*told <= now && heard(*told) > now).then(|| (None, heard(*told)))
            }
            _ => {
                let (name, uid) = (pod.name.clone(), pod.uid.clone());
                Some((Some(Effect::AnnounceStop { name, uid, why, at: now }), heard(now)))
            }
        }
    }
}
