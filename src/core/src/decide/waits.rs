//! What procs that do not run wait for, and whether that is still bearable.
//!
//! Invariant: a wait ends in a hold only where the job's owner can mend its cause.

use super::Work;
use crate::{
    facts::PodFacts,
    fate::vacate,
    hold,
    observed::RefusalKind,
    waiting::{self, Verdict, Waiting},
};
use duj_api::{
    condition::Reason,
    status::{ProcRecord, ProcStatus},
};

impl Work<'_> {
    /// What procs that do not run yet wait for, and whether that is still bearable.
    pub(super) fn weigh_waits(&mut self) {
        let may_fail = self.observed.refusal.is_some() || self.observed.items.is_err();
        // What has no pod yet waits for the same, all of them, and no longer than it takes, unless something is wrong.
        let mut told = false;
        let waits = |(id, record): (u32, &ProcRecord)| {
            if record.status != ProcStatus::Idle {
                return None;
            }
            let has_pod = self.current_pod(id).is_some();
            let one_more = told && !has_pod && !may_fail;
            told |= !has_pod;
            (!one_more).then_some(id)
        };
        let ids: Vec<u32> = self.records.iter().filter_map(waits).collect();
        for id in ids {
            if self.is_full() {
                return;
            }
            self.weigh(id);
        }
    }

    fn weigh(&mut self, id: u32) {
        let pod = self.current_pod(id);
        if pod.is_some_and(PodFacts::ended) {
            return; // it waits to be heard
        }
        let missing = if pod.is_none() { self.waits_for_items() } else { None };
        let waiting = match pod {
            None if let Some(missing) = missing => missing,
            Some(pod) => waiting::of(pod, &self.observed.job.spec.image, self.settings),
            None => match self.wait_without_pod(id) {
                Some(waiting) => waiting,
                None => return,
            },
        };
        if let Waiting::StarterFailed(message) = &waiting
            && self.records.of(id).starter.is_none()
            && self.settings.delivery_may_change
        {
            // The pod, where there is one, is given up, and the next one gets its starter the other way.
            let given_up = self.with(id, |proc| {
                proc.starter_failed();
                proc.pod.is_some().then(|| proc.evict(vacate::STARTER_ERROR, message, None))
            });
            if given_up.flatten().is_some() {
                self.weigh(id); // now as the attempt that has no pod yet
            }
            return;
        }
        if let Waiting::StarterReplaced(message) = &waiting {
            self.with(id, |proc| proc.evict(vacate::STARTER_ERROR, message, None));
            self.weigh(id); // now as the attempt that has no pod yet
            return;
        }
        let known = self.observed.job.status.as_ref().and_then(|status| status.because.as_ref());
        match waiting::weigh(waiting, known, self.observed.now) {
            Verdict::Wait(because, again) => {
                self.wait.get_or_insert(because);
                self.wake_at(again);
            }
            Verdict::Hold(reason) => {
                self.with(id, |proc| {
                    if proc.pod.is_some() { proc.hold_waiting(reason) } else { proc.hold(reason) }
                });
            }
        }
    }

    fn wait_without_pod(&mut self, id: u32) -> Option<Waiting> {
        let wait = |reason, text: String| Some(Waiting::For(reason, text));
        if let Some(pod) = self.other_live_pod(id) {
            return wait(
                Reason::Stopping,
                format!("the pod '{}' of the last attempt has not ended", pod.name),
            );
        }
        if let Some(refusal) = &self.observed.refusal {
            let message = refusal.message.clone();
            // A server without image volumes drops the field, and then misses the volume's type.
            if message.contains("must specify a volume type")
                && self.records.of(id).starter.is_none()
            {
                return Some(Waiting::StarterFailed(message));
            }
            return match refusal.kind {
                RefusalKind::Permanent => Some(Waiting::Faulty {
                    reason: Reason::PodNotCreated,
                    message: message.clone(),
                    patience: 0,
                    hold: hold::refused(&message),
                }),
                RefusalKind::Quota => wait(Reason::QuotaExceeded, message),
                RefusalKind::NamespaceTerminating => wait(Reason::NamespaceTerminating, message),
                RefusalKind::Transient => wait(Reason::PodNotCreated, message),
            };
        }
        if self.observed.room.pods == 0 {
            return wait(
                Reason::LimitReached,
                format!("the job waits its turn: {}", self.observed.room.why),
            );
        }
        let record = self.records.of(id);
        if record.num_job_completions > 0 {
            let how = match (record.exit_code, record.exit_signal) {
                (Some(code), _) => format!("exited with code {code}"),
                (None, Some(signal)) => format!("died by signal {signal}"),
                (None, None) => "ended".into(),
            };
            let text =
                format!("the job {how} and runs again; attempt {} follows", record.attempt + 1);
            return wait(Reason::Submitted, text);
        }
        if record.num_vacates > 0 && record.attempt > 0 {
            let text = format!("the job was evicted; attempt {} follows", record.attempt + 1);
            return wait(Reason::Evicted, text);
        }
        wait(Reason::Submitted, "the job's pod is about to be made".into())
    }
}
