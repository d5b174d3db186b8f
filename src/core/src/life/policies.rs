//! What a proc's policies see, and what is done about what they want.
//!
//! Invariant: an ad is made of the record, the pod and the time of the decision, so that the same facts give the same answer.

use super::Proc;
use crate::{
    classad::{ClassAd, Context},
    facts::PodFacts,
    fate::End,
    hold,
    job_ad::Subject,
    more_memory,
    policy::{Action, Running},
};
use duj_api::status::{Hold, ProcStatus};
use jiff::Timestamp;

impl Proc<'_> {
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
            total: self.total,
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

    pub(crate) fn context(&self) -> Context {
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

    /// Whether another attempt with more memory follows one that had too little, which is noted then.
    pub(super) fn takes_more_memory(&mut self, reason: &Hold, end: &End) -> bool {
        if (reason.code, reason.subcode) != (hold::JOB_OUT_OF_RESOURCES, hold::MEMORY) {
            return false;
        }
        let policy = &self.job.spec.policy;
        let before = self.record.memory_step;
        if before as usize >= policy.retry_request_memory.len() {
            let Some(requests) = self.requests else { return false };
            let (ad, context) = (self.ad(Some(&end.usage())), self.context());
            let (had, increase) = (requests.memory_bytes, self.policies.memory_increase.as_ref());
            let next = more_memory::next(policy, increase, (had, before), &ad, &context);
            if next.is_none() {
                return false;
            }
            self.record.request_memory = next;
        }
        self.record.memory_step += 1;
        true
    }
}
