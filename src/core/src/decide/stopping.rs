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
use duj_api::{
    files::WhenToTransferOutput,
    status::{ProcRecord, ProcStatus},
};
use duj_protocol::transfer::stop;
use jiff::{SignedDuration, Timestamp};

/// An ended pod that a later attempt has replaced stays this long, so that an operator that was paused finds its name taken.
const KEEP_ENDED: SignedDuration = SignedDuration::from_mins(10);
/// Other people's containers may keep an ended job's pod alive this long.
const FOREIGN_GRACE: SignedDuration = SignedDuration::from_secs(30);
/// An annotation has reached the files in its pod after this time: a kubelet takes about a second.
const HEARD: SignedDuration = SignedDuration::from_secs(3);

/// What ends pods, and when to look again.
#[derive(Default)]
struct Ends {
    effects: Vec<Effect>,
    wake: Option<Timestamp>,
}

impl Ends {
    fn look_at(&mut self, time: Timestamp) {
        self.wake = Some(self.wake.map_or(time, |wake| wake.min(time)));
    }

    fn delete(&mut self, pod: &PodFacts, grace: Option<u32>) {
        let (name, uid) = (pod.name.clone(), pod.uid.clone());
        self.effects.push(Effect::DeletePod { name, uid, grace });
    }
}

impl Work<'_> {
    /// Stops pods that nobody wants any more, and lets go of those that are accounted.
    pub(super) fn end_pods(&mut self) -> Vec<Effect> {
        let mut ends = Ends { effects: Vec::new(), wake: self.wake };
        for pod in self.pods.iter() {
            match self.records.get(pod.proc) {
                Some(record) => self.end_pod(pod, record, &mut ends),
                None => ends.effects.extend(release(pod).filter(|_| pod.ended())),
            }
        }
        self.wake = ends.wake;
        ends.effects
    }

    fn end_pod(&self, pod: &PodFacts, record: &ProcRecord, ends: &mut Ends) {
        let current = pod.attempt == record.attempt && !over(record);
        let accounted = pod.ended() && !current;
        if accounted {
            ends.effects.extend(release(pod));
        }
        if record.remove.as_ref().is_some_and(|remove| remove.forced) && !pod.ended() {
            ends.effects.extend(release(pod));
            if !pod.deleted_at_once {
                ends.delete(pod, Some(0));
            }
            return;
        }
        if pod.deleting.is_some() {
            return;
        }
        // What is over and yet has a container that waits for a job which never began.
        let idles = pod.job.terminated.is_some()
            && pod.transfer.as_ref().is_some_and(|transfer| transfer.terminated.is_none());
        // A lost one's kubelet ends what is left of it, when it comes back.
        if pod.is_lost() || (pod.ended() && idles && accounted) || self.sends_nothing(pod, ends) {
            ends.delete(pod, None);
        } else if pod.ended() {
            self.end_remains(pod, record, ends);
        } else {
            self.stop_or_tell(pod, record, ends);
        }
    }

    /// Whether its `transfer` has waited long enough for outputs of a job that could not begin: it may do so for ever.
    fn sends_nothing(&self, pod: &PodFacts, ends: &mut Ends) -> bool {
        let patience = SignedDuration::from_secs(2 * self.settings.transfer_patience + 60);
        let waited = pod.finished().and_then(|end| end.saturating_add(patience).ok());
        match waited.filter(|_| pod.is_sending() && pod.has_no_outputs()) {
            Some(end) if end <= self.observed.now => true,
            Some(end) => {
                ends.look_at(end);
                false
            }
            None => false,
        }
    }

    /// A pod that lives: it is stopped where it is not wanted, and told what is new where it is.
    fn stop_or_tell(&self, pod: &PodFacts, record: &ProcRecord, ends: &mut Ends) {
        let vacating = record.vacating.as_ref();
        let kept = record.outputs_kept && pod.attempt == record.attempt;
        let unwanted = (record.status == ProcStatus::Held && !kept)
            || matches!(record.status, ProcStatus::Removed | ProcStatus::Completed)
            || pod.attempt != record.attempt
            || vacating.is_some();
        let (name, uid) = (pod.name.clone(), pod.uid.clone());
        if unwanted {
            if let Some((announcement, heard)) = self.announce_stop(pod) {
                ends.effects.extend(announcement);
                ends.look_at(heard);
            } else {
                // Fast is not at once: the kubelet still has to say that the job has ended.
                let fast = vacating.is_some_and(|vacating| vacating.fast);
                ends.delete(pod, fast.then_some(1));
            }
        } else if pod.suspended != (record.status == ProcStatus::Suspended) {
            let suspended = record.status == ProcStatus::Suspended;
            ends.effects.push(Effect::SuspendPod { name, uid, suspended });
        } else if pod.resends != record.resends {
            ends.effects.push(Effect::Resend { name, uid, number: record.resends });
        }
    }

    /// A pod whose job has ended: it goes when nobody needs it any more.
    fn end_remains(&self, pod: &PodFacts, record: &ProcRecord, ends: &mut Ends) {
        let finished = pod.finished().or(pod.created).unwrap_or(self.observed.now);
        let term = if matches!(pod.phase, Phase::Running) {
            Some(FOREIGN_GRACE)
        } else if pod.attempt < record.attempt && record.status != ProcStatus::Held {
            Some(KEEP_ENDED)
        } else {
            None
        };
        match term.and_then(|term| finished.saturating_add(term).ok()) {
            Some(end) if end <= self.observed.now => ends.delete(pod, None),
            Some(end) => ends.look_at(end),
            None => {}
        }
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
