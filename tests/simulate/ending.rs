//! How a body on the node ends: by itself, by the starter's record, by a kill, or because it is told to stop.

use crate::{
    kubelet::{Act, Body, End, State},
    life::Manners,
    starting::LEAST_GRACE,
    store::Deletion,
    world::World,
};
use duj_protocol::{Outcome, Record, Usage};

impl World {
    pub(crate) fn record(&self, body: &Body, outcome: Option<Outcome>) -> Record {
        let not_started = matches!(outcome, Some(Outcome::NotStarted { .. }));
        let started = body.started.map(jiff::Timestamp::as_millisecond);
        Record {
            version: Record::VERSION,
            started: started.filter(|_| !not_started),
            ended: outcome.as_ref().filter(|_| !not_started).map(|_| self.now().as_millisecond()),
            outcome,
            stopped_by: body.told_to_stop.then_some(15),
            lease_expired: body.lease_expired(),
            usage: Usage {
                user_ms: 2500,
                system_ms: 500,
                peak_memory: 50 << 20,
                resident: 40 << 20,
                ..Usage::default()
            },
            ..Record::default()
        }
    }

    /// The command ended, and the starter recorded it.
    pub(crate) fn over(&mut self, uid: &str, outcome: Outcome, stopped: bool) {
        let Some(body) = self.bodies.get(uid).filter(|body| body.state == State::Running) else {
            return;
        };
        let code = match outcome {
            Outcome::Exited(code) => code,
            Outcome::Signalled(signal) => 128 + signal,
            Outcome::NotStarted { .. } => 127,
            Outcome::OverDisk { .. } => 137,
            Outcome::CheckpointFailed(_) => 125,
        };
        let message = self.record(body, Some(outcome.clone())).to_message();
        let own = (!stopped && !body.told_to_stop && !body.lease_expired()).then_some(outcome);
        let reason = if code == 0 { "Completed" } else { "Error" };
        self.ended(uid, End { code, reason, message, at: self.stamp(), own });
    }

    /// The kernel killed a process of the job for its memory.
    pub(crate) fn over_memory(&mut self, uid: &str, outcome: Outcome) {
        let body = &self.bodies[uid];
        let record = Record { oom_kills: 1, ..self.record(body, Some(outcome.clone())) };
        let code = if outcome == Outcome::Exited(0) { 0 } else { 137 };
        let (message, at) = (record.to_message(), self.stamp());
        self.ended(uid, End { code, reason: "OOMKilled", message, at, own: Some(outcome) });
    }

    /// The container was killed as a whole: the provisional record is all there is.
    pub(crate) fn killed(&mut self, uid: &str, reason: &'static str) {
        let Some(body) = self.bodies.get(uid).filter(|body| body.state == State::Running) else {
            return;
        };
        let message = self.record(body, None).to_message();
        self.ended(uid, End { code: 137, reason, message, at: self.stamp(), own: None });
    }

    pub(crate) fn ended(&mut self, uid: &str, end: End) {
        let body = self.bodies.get_mut(uid).unwrap();
        let text = format!("the job of '{}' ends with {} {}", body.key.name, end.code, end.reason);
        body.state = State::Ended(end);
        self.tell("node1", &text);
        self.plan_for(uid, "tell end", 20, 1500, Act::Tell(uid.to_owned()));
    }

    pub(crate) fn stop(&mut self, uid: &str) {
        if self.starts_nevertheless(uid) {
            return;
        }
        let Some(body) = self.bodies.get_mut(uid).filter(|body| body.answers && !body.told_to_stop)
        else {
            return;
        };
        body.told_to_stop = true;
        let (outcome, wait) = body.life.when_asked(body.max_vacate_time);
        let (deaf, key) = (body.life.manners == Manners::Deaf, body.key.clone());
        let state = body.state.clone();
        let forced = self
            .store
            .get(&key)
            .is_some_and(|pod| pod["metadata"]["deletionGracePeriodSeconds"] == 0);
        match state {
            State::Running if forced && deaf => {
                self.plan(LEAST_GRACE, Act::Kill(uid.to_owned()));
            }
            State::Running => {
                self.plan(wait, Act::Stopped(uid.to_owned(), outcome));
            }
            State::Preparing | State::Unbound => self.stop_trying(uid),
            State::Ended(_) => self.plan_for(uid, "tell end", 20, 1500, Act::Tell(uid.to_owned())),
        }
    }

    /// The kubelet has seen the end of a pod that is to be deleted.
    pub(crate) fn confirm(&mut self, uid: &str) {
        let Some(body) = self.bodies.get(uid) else { return };
        let (key, now) = (body.key.clone(), self.now());
        let how = Deletion { uid: Some(uid.to_owned()), grace: Some(0), ..Deletion::default() };
        // Gone already is well.
        let _ = self.write("kubelet", |store| store.delete(&key, &how, now));
    }
}
