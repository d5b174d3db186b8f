//! The life of one proc: every transition between `HTCondor`'s states, each with its events and its stamps.
//!
//! Invariant: a proc's record changes only here, together with the events that tell of it; `attempt` grows with each
//! attempt that is over, and never names one that may still be alive.

use crate::{
    classad::{ClassAd, Context},
    facts::PodFacts,
    fate::{self, End, Fate, vacate},
    hold,
    job_ad::Subject,
    journal::{Journal, Run},
    pod::Requests,
    policy::{Action, AtExit, Policies, Running},
    transition::{self, Cause},
    userlog::{Exit, Line},
};
use duj_api::{
    DockerUniverseJob,
    status::{Hold, ProcRecord, ProcStatus, Remove, Vacating},
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
    /// `ClusterId`.
    pub(crate) cluster_id: i64,
    /// What is to happen by itself.
    pub(crate) policies: &'a Policies,
    /// Now.
    pub(crate) now: Timestamp,
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
            ProcStatus::Idle | ProcStatus::Running | ProcStatus::Suspended => {
                if pod.ended() {
                    self.conclude(pod);
                } else if let Some(started) = pod.job.running {
                    self.execute(pod, self.believable(started, pod));
                    self.watch_connection(pod);
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
        if self.record.status == ProcStatus::Idle {
            self.journal.executing(self.id, at, pod, self.requests);
            self.record.num_job_starts += 1;
            self.record.unstarted = 0;
            self.enter(Cause::Executed, at);
        }
    }

    fn watch_connection(&mut self, pod: &PodFacts) {
        match (pod.unreachable, self.record.disconnected) {
            (Some(since), false) => {
                self.journal.disconnected(self.id, since, pod);
                self.record.disconnected = true;
            }
            (None, true) => {
                self.journal.reconnected(self.id, self.now, pod);
                self.record.disconnected = false;
            }
            _ => {}
        }
    }

    /// The attempt is over by what its pod says.
    fn conclude(&mut self, pod: &PodFacts) {
        let end = self.end_of(pod);
        let at = self.end_time(pod, &end);
        if let Some(started) = self.began(pod, &end) {
            self.execute(pod, started);
        }
        if self.record.disconnected
            && !matches!(end.fate, Fate::Evicted(_) | Fate::StarterFailed(_))
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
            Fate::Held(reason) if self.gets_more_memory(reason) => {
                self.record.memory_step += 1;
                let reason = hold::from_slot(&pod.slot(), reason.clone()).reason;
                self.leave((hold::JOB_OUT_OF_RESOURCES, hold::MEMORY), &reason, Some(&end));
            }
            Fate::Held(reason) => {
                self.account(at);
                self.record.hold = Some(hold::from_slot(&pod.slot(), reason.clone()));
                self.log_stop(Some(pod), Some(&end), at);
                self.enter(Cause::Held, at);
                self.next_attempt();
            }
            Fate::Evicted(eviction) => match self.record.vacating.take() {
                // It ended because it was stopped for this.
                Some(wanted) => {
                    self.leave((wanted.code, wanted.subcode), &wanted.reason, Some(&end));
                }
                None => self.evict(eviction.code, &eviction.reason, Some(&end)),
            },
            Fate::StarterFailed(message) => {
                self.journal.starter_failed(self.id, at, message);
                self.starter_failed();
                self.evict(vacate::STARTER_ERROR, message, Some(&end));
            }
        }
    }

    fn complete(&mut self, exit: Exit, pod: &PodFacts, end: &End, at: Timestamp) {
        (self.record.exit_code, self.record.exit_signal) = match &exit {
            Exit::Code(code) => (Some(*code), None),
            Exit::Signal { number, .. } => (None, Some(*number)),
        };
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

    /// Whether another attempt with more memory follows one that had too little (`retry_request_memory`).
    fn gets_more_memory(&self, reason: &Hold) -> bool {
        let steps = self.job.spec.policy.retry_request_memory.len();
        (reason.code, reason.subcode) == (hold::JOB_OUT_OF_RESOURCES, hold::MEMORY)
            && (self.record.memory_step as usize) < steps
    }

    /// Does what a periodic policy wants.
    pub(crate) fn obey_policies(&mut self) {
        if self.record.vacating.is_some()
            || (self.lives() && self.record.status == ProcStatus::Held)
        {
            return;
        }
        let ad = self.ad(None);
        let (record, running) = (&self.record, self.running(self.now));
        let hold = record.hold.as_ref();
        let action = self.policies.periodic(&ad, &self.context(), record.status, hold, running);
        match action {
            Some(Action::Hold(hold)) => self.hold(hold),
            Some(Action::Release(reason)) => self.release(&reason),
            Some(Action::Remove(reason)) => self.remove(&reason),
            Some(Action::Vacate(code, reason)) => self.vacate(code, &reason, false),
            None => {}
        }
    }

    /// What a policy sees.
    pub(crate) fn ad(&self, usage: Option<&duj_protocol::Usage>) -> ClassAd {
        let subject = Subject {
            job: self.job,
            cluster_id: self.cluster_id,
            proc: self.id,
            record: self.record,
            pod: self.pod,
            requests: self.requests,
            usage,
            now: self.now,
        };
        subject.ad()
    }

    fn context(&self) -> Context {
        // The same attempt gets the same random numbers, however often it is asked.
        let seed = (u64::from(self.id) << 32) | u64::from(self.record.attempt);
        Context { now: self.now, seed }
    }

    /// How long the current attempt has taken.
    pub(crate) fn running(&self, until: Timestamp) -> Running {
        let seconds = |from: Timestamp| until.duration_since(from).as_secs().max(0);
        let started = self.pod.and_then(PodFacts::started);
        let begun = self.pod.and_then(|pod| pod.scheduled).or(started);
        Running { attempt: begun.map(seconds), execution: started.map(seconds) }
    }

    /// Adds the attempt that is over, and a suspension that ends with it, to the sums.
    fn account(&mut self, at: Timestamp) {
        let seconds =
            |from: Timestamp| u32::try_from(at.duration_since(from).as_secs()).unwrap_or(0);
        if let Some(started) = self.pod.and_then(PodFacts::started) {
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

    /// Lets a suspended proc go on.
    pub(crate) fn go_on(&mut self) {
        self.end_suspension(self.now);
        self.journal.unsuspended(self.id, self.now);
        self.enter(Cause::Continued, self.now);
    }

    /// Stops a running proc; when its pod has ended it is Idle again.
    pub(crate) fn vacate(&mut self, code: i32, reason: &str, fast: bool) {
        let reason = Line::new(reason).as_str().to_owned();
        self.record.vacating = Some(Vacating { code, subcode: 0, reason, fast });
    }

    /// The next attempt gets the starter by copying it.
    pub(crate) fn starter_failed(&mut self) {
        self.record.starter_copied = true;
    }

    /// Back to Idle, for another attempt.
    pub(crate) fn evict(&mut self, code: i32, reason: &str, end: Option<&End>) {
        self.leave((code, 0), reason, end);
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
    }

    /// Holds a proc that is not at its end, in favour of any hold it has. Its pod, if it lives, is to be stopped.
    pub(crate) fn hold(&mut self, reason: Hold) {
        if self.lives() {
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
        self.record.exit_code = None;
        self.record.exit_signal = None;
        self.enter(Cause::Released, self.now);
    }

    /// Removes a proc that is not at its end.
    pub(crate) fn remove(&mut self, reason: &str) {
        let stopping = self.lives();
        let reason = Line::new(reason).as_str().to_owned();
        if !stopping {
            self.journal.aborted(self.id, self.now, &reason);
        }
        self.record.hold = None;
        self.record.vacating = None;
        self.end_suspension(self.now);
        self.record.remove = Some(Remove { reason, stopping, forced: false });
        self.enter(Cause::Removed, self.now);
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

    /// The pod of a proc that was to be stopped has ended, or is gone.
    ///
    /// A job that was to be held and ended of its own accord before the stop reached it has ended: no result is lost.
    /// One that was to be removed is removed, as its owner wants.
    fn stopped(&mut self) {
        let pod = self.pod;
        let end = pod.map(|pod| self.end_of(pod));
        if let (Some(pod), Some(end)) = (pod, &end)
            && self.record.hold.as_ref().is_some_and(|hold| hold.stopping)
            && matches!(end.fate, Fate::Exited(_) | Fate::Signalled(_))
        {
            self.record.hold = None;
            return self.conclude(pod);
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
        if self.record.hold.as_ref().is_some_and(|hold| hold.stopping) {
            self.account(at);
            self.log_stop(pod, end.as_ref(), at);
            self.record.disconnected = false;
            self.next_attempt();
        }
    }

    /// 021 (for what the execution side holds for), 004 (where the attempt had a node), 012.
    fn log_stop(&mut self, pod: Option<&PodFacts>, end: Option<&End>, at: Timestamp) {
        let Some(held) = self.record.hold.clone() else { return };
        let held = Hold { stopping: false, ..held };
        if let Some(pod) = pod.filter(|pod| pod.node.is_some()) {
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

    fn end_of(&self, pod: &PodFacts) -> End {
        let memory = self.requests.map_or(0, Requests::memory_mib);
        fate::of(pod, memory, self.requests.and_then(|requests| requests.disk_bytes))
    }

    fn end_time(&self, pod: &PodFacts, end: &End) -> Timestamp {
        let recorded = end.record.as_ref().and_then(|record| record.ended);
        let said = recorded.and_then(instant).or_else(|| pod.finished()).or(pod.deleting);
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

    /// A time that a pod tells, within what can be: clocks differ, and a job can write its own record.
    fn believable(&self, time: Timestamp, pod: &PodFacts) -> Timestamp {
        time.max(pod.created.unwrap_or(time)).min(self.now)
    }
}

fn instant(milliseconds: i64) -> Option<Timestamp> {
    Timestamp::from_millisecond(milliseconds).ok()
}
