//! How an attempt ends: what its pod says, and what becomes of the proc.
//!
//! Invariant: the end of an attempt is accounted once: its events, its counts and its result change the record together.

use super::{Cause, Proc};
use crate::{
    facts::PodFacts,
    fate::{self, End, Fate, vacate},
    hold,
    journal::Run,
    lease::Lease,
    pod::Requests,
    policy::AtExit,
    userlog::{Exit, Line},
};
use duj_api::status::{Hold, ProcStatus, Remove};
use jiff::Timestamp;

impl Proc<'_> {
    /// The attempt is over by what its pod says.
    pub(super) fn conclude(&mut self, pod: &PodFacts) {
        let end = self.end_of(pod);
        let at = self.end_time(pod, &end);
        if let Some(started) = self.began(pod, &end) {
            self.execute(pod, started);
        } else if matches!(end.fate, Fate::Held(_)) {
            self.log_brought(pod);
        }
        self.log_checkpoints(end.sent.as_ref());
        if self.record.disconnected
            && !matches!(
                end.fate,
                Fate::Evicted(_) | Fate::LeaseExpired(_) | Fate::StarterFailed(_)
            )
        {
            // Its node answered again, with the job's end.
            self.journal.reconnected(self.id, at, pod);
            self.record.disconnected = false;
        }
        match &end.fate {
            Fate::Exited(code) => self.complete(Exit::Code(*code), pod, &end, at),
            Fate::Signalled(number) => {
                let exit = Exit::Signal { number: *number, core: Line::new("") };
                self.complete(exit, pod, &end, at);
            }
            Fate::Held(reason) if self.takes_more_memory(reason, &end) => {
                let reason = hold::from_slot(&pod.slot(), reason.clone()).reason;
                self.leave((hold::JOB_OUT_OF_RESOURCES, hold::MEMORY), &reason, Some(&end));
            }
            Fate::Unsent(exited, hold) => self.unsent(*exited, hold, pod, &end, at),
            Fate::ImageChanged(_) => self.void(pod),
            Fate::ImageUnknown(words) => self.image_unknown(pod, words, &end, at),
            Fate::Held(reason) => {
                self.log_sent(pod, end.sent.as_ref());
                self.account(at);
                self.record.hold = Some(hold::from_slot(&pod.slot(), reason.clone()));
                self.log_stop(Some(pod), Some(&end), at);
                self.enter(Cause::Held, at);
                self.next_attempt();
            }
            Fate::Evicted(eviction) => self.evict(eviction.code, &eviction.reason, Some(&end)),
            Fate::LeaseExpired(eviction) => {
                self.disconnect_for_good(pod, &eviction.reason, at);
                self.evict(eviction.code, &eviction.reason, Some(&end));
            }
            Fate::StarterFailed(message) => {
                self.journal.starter_failed(self.id, at, message);
                self.starter_failed();
                self.evict(vacate::STARTER_ERROR, message, Some(&end));
            }
        }
    }

    /// 022, unless it is in the log already, and 024.
    fn disconnect_for_good(&mut self, pod: &PodFacts, reason: &str, at: Timestamp) {
        if !self.record.disconnected {
            let reason = "the job's lease was not renewed in time";
            self.journal.disconnected(self.id, at, pod, reason);
        }
        self.journal.reconnect_failed(self.id, at, &pod.slot(), reason);
        self.record.disconnected = false;
    }

    fn complete(&mut self, exit: Exit, pod: &PodFacts, end: &End, at: Timestamp) {
        (self.record.exit_code, self.record.exit_signal) = match &exit {
            Exit::Code(code) => (Some(*code), None),
            Exit::Signal { number, .. } => (None, Some(*number)),
        };
        self.note_left(end);
        self.log_sent(pod, end.sent.as_ref());
        // HTCondor counts the completion before it asks whether it was the last one.
        self.record.num_job_completions += 1;
        let running = self.running(at);
        let ad = self.ad(Some(&end.usage()));
        self.account(at);
        self.record.vacating = None;
        let run = Run::of(Some(pod), Some(end), self.requests);
        match self.policies.at_exit(&ad, &self.context(), running) {
            AtExit::Leave => {
                self.journal.terminated(self.id, at, exit, &run);
                self.enter(Cause::Ended, at);
            }
            AtExit::Hold(hold) => self.hold_now(hold, at),
            AtExit::Requeue(reason) => {
                self.journal.requeued(self.id, at, exit, &reason, &run);
                self.enter(Cause::Requeued, at);
                self.next_attempt();
            }
        }
    }

    /// The pod of a proc that was to be stopped has ended, or is gone.
    ///
    /// A job that was to be held and ended of its own accord before the stop reached it has ended: no result is lost.
    /// One that was to be removed is removed, as its owner wants.
    pub(super) fn stopped(&mut self) {
        let pod = self.pod;
        let end = pod.map(|pod| self.end_of(pod));
        if let (Some(pod), Some(end)) = (pod, &end)
            && let Some(started) = self.began(pod, end)
        {
            self.execute(pod, started);
        }
        self.log_checkpoints(end.as_ref().and_then(|end| end.sent.as_ref()));
        if let (Some(pod), Some(end)) = (pod, &end)
            && self.record.hold.as_ref().is_some_and(|hold| hold.stopping)
            && matches!(end.fate, Fate::Exited(_) | Fate::Signalled(_))
        {
            let wish = self.record.hold.take();
            self.conclude(pod);
            // Where another attempt is to follow, the job has not ended: it is held, as was wanted.
            if let Some(wish) = wish.filter(|_| self.record.status == ProcStatus::Idle) {
                let held = Hold { stopping: false, ..wish };
                self.journal.held(self.id, self.now, &held);
                self.record.hold = Some(held);
                self.record.num_holds += 1;
                self.enter(Cause::Held, self.now);
            }
            return;
        }
        let at = pod.zip(end.as_ref()).map_or(self.now, |(pod, end)| self.end_time(pod, end));
        if self.record.status == ProcStatus::Removed {
            let Some(remove) = self.record.remove.clone().filter(|remove| remove.stopping) else {
                return;
            };
            if pod.is_some_and(|pod| pod.node.is_some()) {
                let run = Run::of(pod, end.as_ref(), self.requests);
                self.journal.evicted(self.id, at, vacate::JOB_REMOVED, 0, &remove.reason, &run);
            }
            self.journal.aborted(self.id, at, &remove.reason);
            self.record.remove = Some(Remove { stopping: false, ..remove });
            self.record.disconnected = false;
            return;
        }
        if self.record.outputs_kept {
            self.next_attempt(); // its pod has them no more
        }
        if self.record.hold.as_ref().is_some_and(|hold| hold.stopping) {
            self.account(at);
            self.log_stop(pod, end.as_ref(), at);
            self.record.disconnected = false;
            self.next_attempt();
        }
    }

    /// 021 (for what the execution side holds for), 004 (where the attempt had a node), 012.
    pub(super) fn log_stop(&mut self, pod: Option<&PodFacts>, end: Option<&End>, at: Timestamp) {
        let Some(held) = self.record.hold.clone() else { return };
        let held = Hold { stopping: false, ..held };
        if let Some(pod) = pod.filter(|pod| pod.node.is_some()) {
            if held.code == hold::INVALID_DOCKER_IMAGE {
                // It is found out when the job is about to execute: `HTCondor` has logged the execution by then.
                self.execute(pod, at);
            }
            if hold::is_of_execution(&held) {
                self.journal.remote_error(self.id, at, &pod.slot(), &held);
            }
            let run = Run::of(Some(pod), end, self.requests);
            self.journal.evicted(self.id, at, held.code, held.subcode, &held.reason, &run);
        }
        self.journal.held(self.id, at, &held);
        self.record.num_holds += 1;
        self.record.hold = Some(held);
    }

    pub(super) fn end_of(&self, pod: &PodFacts) -> End {
        let memory = self.requests.map_or(0, Requests::memory_mib);
        fate::of(pod, memory, self.requests.and_then(|requests| requests.disk_bytes))
    }

    pub(super) fn end_time(&self, pod: &PodFacts, end: &End) -> Timestamp {
        let recorded = end.record.as_ref().and_then(|record| record.ended);
        let lost = pod.lease.as_ref().filter(|_| pod.is_lost()).and_then(Lease::ended);
        let said = recorded.and_then(instant).or_else(|| pod.finished());
        let said = said.or(lost).or(pod.deleting);
        self.believable(said.unwrap_or(self.now), pod)
    }

    /// When the user's command was started (or `HTCondor` would say that it was), if it was.
    fn began(&self, pod: &PodFacts, end: &End) -> Option<Timestamp> {
        let recorded = end.record.as_ref().and_then(|record| record.started).and_then(instant);
        // A container that the runtime could not start was still "about to execute" (§2.1 step 3), but where our own part
        // was at fault the attempt counts as one that did not begin, so that the next ones wait.
        let tried = pod.job.terminated.as_ref().and_then(|end| end.finished);
        let tried = tried.filter(|_| matches!(end.fate, Fate::Held(_)));
        let said = recorded.or_else(|| pod.started()).or(tried)?;
        Some(self.believable(said, pod))
    }
}

fn instant(milliseconds: i64) -> Option<Timestamp> {
    Timestamp::from_millisecond(milliseconds).ok()
}
