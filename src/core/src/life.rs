//! The life of one proc: every transition between `HTCondor`'s states, each with its events and its stamps.
//!
//! Invariant: a proc's record changes only here, together with the events that tell of it; `attempt` grows with each
//! attempt that is over, and never names one that may still be alive.

mod ends;
mod information;
mod policies;
mod transfers;

use crate::{
    facts::PodFacts,
    fate::{self, End, vacate},
    hold,
    journal::{Journal, Run},
    pod::Requests,
    policy::Policies,
    transition::{self, Cause},
    userlog::Line,
};
use duj_api::{
    DockerUniverseJob,
    status::{Hold, ProcRecord, ProcStatus, Remove, Starter, Vacating},
};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// One proc while a decision is made about it.
pub(crate) struct Proc<'a> {
    /// `ProcId`.
    pub(crate) id: u32,
    /// Its record, as it will be committed.
    pub(crate) record: &'a mut ProcRecord,
    /// The log it writes to.
    pub(crate) journal: &'a mut Journal,
    /// The pod of its current attempt, where there is one.
    pub(crate) pod: Option<&'a PodFacts>,
    /// What it asks for, where that could be read.
    pub(crate) requests: Option<&'a Requests>,
    /// Its job.
    pub(crate) job: &'a DockerUniverseJob,
    /// How many procs the job has.
    pub(crate) total: u32,
    /// `ClusterId`.
    pub(crate) cluster_id: i64,
    /// What is to happen by itself.
    pub(crate) policies: &'a Policies,
    /// Now.
    pub(crate) now: Timestamp,
}

/// Whether [`Proc::follow`] may change anything: of many procs few have news at a time.
pub(crate) fn may_have_news(record: &ProcRecord, pod: Option<&PodFacts>) -> bool {
    let stopping = record.hold.as_ref().is_some_and(|hold| hold.stopping)
        || record.remove.as_ref().is_some_and(|remove| remove.stopping);
    let Some(pod) = pod else {
        return match record.status {
            ProcStatus::Idle | ProcStatus::Completed => false,
            ProcStatus::Held | ProcStatus::Removed => stopping || record.outputs_kept,
            ProcStatus::Running | ProcStatus::Suspended => true,
        };
    };
    let is_calm = pod.prepare.is_none() && pod.transfer.is_none() && !pod.ended();
    match record.status {
        ProcStatus::Completed => false,
        ProcStatus::Held | ProcStatus::Removed => pod.ended(),
        ProcStatus::Idle => !is_calm || pod.started().is_some(),
        ProcStatus::Running | ProcStatus::Suspended => {
            !is_calm || record.disconnected || pod.unreachable.is_some()
        }
    }
}

impl Proc<'_> {
    /// Goes along the table of transitions. What cannot happen in this state changes nothing.
    fn enter(&mut self, cause: Cause, at: Timestamp) {
        let Some(status) = transition::next(self.record.status, cause) else { return };
        if self.record.status != status {
            self.record.last_status = Some(self.record.status);
            self.record.status = status;
            self.record.entered_status = Some(Time(at));
        }
        self.inform();
    }

    /// A new proc: Idle, or submitted on hold.
    pub(crate) fn submit(&mut self, on_hold: bool, created: Timestamp) {
        self.journal.submitted(self.id, created);
        self.record.entered_status = Some(Time(created));
        if on_hold {
            self.hold_now(hold::submitted(), created);
        }
    }

    /// The pod of the current attempt says something new.
    pub(crate) fn follow(&mut self) {
        let Some(pod) = self.pod else { return self.without_pod() };
        match self.record.status {
            ProcStatus::Completed => {}
            ProcStatus::Held | ProcStatus::Removed => {
                if pod.ended() {
                    self.stopped();
                }
            }
            ProcStatus::Idle | ProcStatus::Running | ProcStatus::Suspended
                if fate::another_image(pod).is_some() =>
            {
                self.void(pod);
            }
            ProcStatus::Idle | ProcStatus::Running | ProcStatus::Suspended => {
                if pod.ended() {
                    self.conclude(pod);
                } else if let Some(started) = pod.started() {
                    self.execute(pod, self.believable(started, pod));
                    self.watch_connection(pod);
                    self.follow_transfer(pod);
                }
            }
        }
    }

    fn without_pod(&mut self) {
        match self.record.status {
            ProcStatus::Held | ProcStatus::Removed => self.stopped(),
            ProcStatus::Running | ProcStatus::Suspended => {
                self.evict(vacate::STARTER_ERROR, "the job's pod disappeared", None);
            }
            ProcStatus::Idle | ProcStatus::Completed => {}
        }
    }

    fn execute(&mut self, pod: &PodFacts, at: Timestamp) {
        let unheard = self.is_stopped_unheard();
        if self.record.status != ProcStatus::Idle && !unheard {
            return;
        }
        self.log_brought(pod);
        self.journal.executing(self.id, at, pod, self.requests);
        self.record.num_job_starts += 1;
        self.record.unstarted = 0;
        self.enter(Cause::Executed, at);
        if unheard {
            self.record.last_status = Some(ProcStatus::Running);
        }
    }

    /// Whether it was Idle when it was to be stopped for a hold or a removal: its pod was there, but of a run nothing had been
    /// heard. There may have been one all the same.
    fn is_stopped_unheard(&self) -> bool {
        self.is_stopping() && self.record.last_status == Some(ProcStatus::Idle)
    }

    fn is_stopping(&self) -> bool {
        self.record.hold.as_ref().is_some_and(|hold| hold.stopping)
            || self.record.remove.as_ref().is_some_and(|remove| remove.stopping)
    }

    fn watch_connection(&mut self, pod: &PodFacts) {
        match (pod.unreachable, self.record.disconnected) {
            (Some(since), false) => {
                let node = pod.node.as_deref().unwrap_or("unknown");
                let reason = format!("node '{node}' does not answer");
                self.journal.disconnected(self.id, since, pod, &reason);
                self.record.disconnected = true;
            }
            (None, true) => {
                self.journal.reconnected(self.id, self.now, pod);
                self.record.disconnected = false;
            }
            _ => {}
        }
    }

    /// Adds the attempt that is over, and a suspension that ends with it, to the sums.
    fn account(&mut self, at: Timestamp) {
        let seconds =
            |from: Timestamp| u32::try_from(at.duration_since(from).as_secs()).unwrap_or(0);
        // One whose outputs are sent again was accounted when they could not be sent.
        let started = self.pod.and_then(PodFacts::started).filter(|_| self.record.resends == 0);
        if let Some(started) = started {
            let sum = self.record.wall_clock_time.saturating_add(seconds(started));
            self.record.wall_clock_time = sum;
        }
        self.end_suspension(at);
    }

    fn end_suspension(&mut self, at: Timestamp) {
        let since = self.record.entered_status.as_ref().map_or(at, |time| time.0);
        if self.record.status == ProcStatus::Suspended {
            let suspended = u32::try_from(at.duration_since(since).as_secs()).unwrap_or(0);
            self.record.suspension_time = self.record.suspension_time.saturating_add(suspended);
        }
    }

    /// Stops a running proc where it stands.
    pub(crate) fn suspend(&mut self) {
        // How many processes there were only the starter knows; that there was one is certain.
        self.journal.suspended(self.id, self.now, 1);
        self.record.total_suspensions += 1;
        self.enter(Cause::Suspended, self.now);
    }

    /// `condor_prio`.
    pub(crate) fn prioritize(&mut self, prio: i32) {
        if prio == self.record.job_prio {
            return;
        }
        self.journal.updated(self.id, self.now, "JobPrio", self.record.job_prio, prio);
        self.record.job_prio = prio;
    }

    /// Lets a suspended proc go on.
    pub(crate) fn go_on(&mut self) {
        self.end_suspension(self.now);
        self.journal.unsuspended(self.id, self.now);
        self.enter(Cause::Continued, self.now);
    }

    /// Stops a running proc; when its pod has ended it is Idle again.
    pub(crate) fn vacate(&mut self, code: i32, reason: &str, fast: bool) {
        let reason = Line::new(reason).as_str().to_owned();
        self.record.vacating = Some(Vacating { code, reason, fast });
    }

    /// The next attempt gets the starter by copying it.
    pub(crate) fn starter_failed(&mut self) {
        self.record.starter.get_or_insert(Starter::Copied);
    }

    /// Back to Idle, for another attempt.
    pub(crate) fn evict(&mut self, code: i32, reason: &str, end: Option<&End>) {
        match self.record.vacating.take() {
            // It ended because it was stopped for this.
            Some(wanted) => self.leave((wanted.code, 0), &wanted.reason, end),
            None => self.leave((code, 0), reason, end),
        }
    }

    /// Back to Idle, for another attempt; with code and subcode.
    fn leave(&mut self, (code, subcode): (i32, i32), reason: &str, end: Option<&End>) {
        let at = match (self.pod, end) {
            (Some(pod), Some(end)) => self.end_time(pod, end),
            _ => self.now,
        };
        if self.record.disconnected {
            let slot = self.pod.map_or_else(String::new, PodFacts::slot);
            self.journal.reconnect_failed(self.id, at, &slot, reason);
            self.record.disconnected = false;
        }
        let run = Run::of(self.pod, end, self.requests);
        self.journal.evicted(self.id, at, code, subcode, reason, &run);
        self.account(at);
        self.record.vacating = None;
        if self.record.status == ProcStatus::Idle {
            self.record.unstarted += 1;
        }
        self.record.num_vacates += 1;
        self.enter(Cause::Evicted, at);
        self.record.entered_status = Some(Time(at)); // from Idle too: the next attempt's wait counts from here
        self.next_attempt();
    }

    fn next_attempt(&mut self) {
        self.record.attempt += 1;
        (self.record.outputs_kept, self.record.resends, self.record.checkpoints) = (false, 0, 0);
    }

    /// Holds a proc that is not at its end, in favour of any hold it has. Its pod, if it lives, is to be stopped.
    pub(crate) fn hold(&mut self, reason: Hold) {
        if self.record.outputs_kept && self.lives() {
            // Its job is over, and nothing is to be stopped.
            self.journal.held(self.id, self.now, &reason);
            self.record.hold = Some(reason);
            self.record.num_holds += 1;
        } else if self.lives() {
            self.end_suspension(self.now);
            self.record.vacating = None;
            self.record.hold = Some(Hold { stopping: true, ..reason });
            self.enter(Cause::Held, self.now);
        } else {
            self.hold_now(reason, self.now);
        }
    }

    /// Holds a proc for what its pod's waiting came to.
    pub(crate) fn hold_waiting(&mut self, reason: Hold) {
        let slot = self.pod.map_or_else(String::new, PodFacts::slot);
        self.hold(hold::from_slot(&slot, reason));
    }

    fn hold_now(&mut self, reason: Hold, at: Timestamp) {
        self.journal.held(self.id, at, &reason);
        self.record.hold = Some(reason);
        self.record.num_holds += 1;
        self.enter(Cause::Held, at);
        // A pod of this attempt may be on its way (its creation was never answered): it is not this proc's any more.
        self.next_attempt();
    }

    /// Releases a held proc whose pod has ended.
    pub(crate) fn release(&mut self, reason: &str) {
        self.journal.released(self.id, self.now, reason);
        self.record.last_hold = self.record.hold.take();
        self.record.unstarted = 0;
        if self.record.outputs_kept && self.lives() {
            // The job has run: what it came to stays.
            (self.record.outputs_kept, self.record.resends) = (false, self.record.resends + 1);
            return self.enter(Cause::Resent, self.now);
        }
        self.record.exit_code = None;
        self.record.exit_signal = None;
        self.enter(Cause::Released, self.now);
    }

    /// Removes a proc that is not at its end.
    pub(crate) fn remove(&mut self, reason: &str) {
        let stopping = self.lives();
        // A hold that did not come about is no state that the log tells of.
        let last = self.record.last_status.filter(|_| self.is_stopping());
        let reason = Line::new(reason).as_str().to_owned();
        if !stopping {
            self.journal.aborted(self.id, self.now, &reason);
        }
        self.record.hold = None;
        self.record.vacating = None;
        self.end_suspension(self.now);
        self.record.remove = Some(Remove { reason, stopping, forced: false });
        self.enter(Cause::Removed, self.now);
        self.record.last_status = last.or(self.record.last_status);
    }

    /// Forgets a proc that is being removed, whatever its pod does (`condor_rm -forcex`).
    pub(crate) fn forget(&mut self) {
        let Some(remove) = &mut self.record.remove else { return };
        if remove.stopping {
            self.journal.aborted(self.id, self.now, &remove.reason);
        }
        (remove.stopping, remove.forced) = (false, true);
        self.record.disconnected = false;
    }

    fn lives(&self) -> bool {
        self.pod.is_some_and(|pod| !pod.ended())
    }

    /// A time that a pod tells, within what can be: clocks differ, and a job can write its own record.
    fn believable(&self, time: Timestamp, pod: &PodFacts) -> Timestamp {
        time.max(pod.created.unwrap_or(time)).min(self.now)
    }
}
