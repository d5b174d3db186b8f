//! What people want of a job: `spec.hold`, a mended specification, commands.
//!
//! Invariant: a wish is noted in the status that fulfils it. One that is for more procs than a status has room for in its
//! log is fulfilled in several, and noted in the last.

use super::{Work, is_at_its_end, is_stopping};
use crate::{commands, hold, observed::Effect, shape};
use duj_api::status::{ProcRecord, ProcStatus, Starter};

impl Work<'_> {
    /// Whether somebody wants something of the job.
    pub(super) fn is_wished_for(&self) -> bool {
        let spec = &self.observed.job.spec;
        !self.observed.commands.is_empty()
            || spec.hold != self.noticed.hold
            || spec.priority.unwrap_or_default() != self.noticed.priority
            || shape::of(spec) != self.noticed.shape
    }

    /// What people want: `spec.hold`, a mended specification, commands.
    pub(super) fn heed_people(&mut self) -> Vec<Effect> {
        self.heed_specification();
        let answers = commands::heed(self);
        // What it waited for may have been removed: nothing of that is left to the next decision.
        self.heed_specification();
        answers
    }

    fn heed_specification(&mut self) {
        let shape = shape::of(&self.observed.job.spec);
        if shape != self.noticed.shape && self.mend() {
            self.noticed.shape = shape;
        }
        self.heed_priority();
        self.heed_hold();
    }

    /// `condor_prio` of all procs.
    fn heed_priority(&mut self) {
        let wanted = self.observed.job.spec.priority.unwrap_or_default();
        let other = |record: &ProcRecord| !is_at_its_end(record) && record.job_prio != wanted;
        if wanted != self.noticed.priority && self.each(other, |proc| proc.prioritize(wanted)) {
            self.noticed.priority = wanted;
        }
    }

    /// Releases what was held for a fault, now that the specification is another. `false` where a pod is still stopping.
    fn mend(&mut self) -> bool {
        let faulty = |record: &ProcRecord| record.hold.as_ref().is_some_and(hold::is_fault);
        if self.records.values().any(|record| faulty(record) && is_stopping(record)) {
            return false;
        }
        if self.observed.job.spec.hold {
            return true; // it stays held by its own word, and runs as mended once that is taken back
        }
        let generation = self.observed.job.metadata.generation.unwrap_or_default();
        let reason = format!("the job was mended (generation {generation})");
        let all = self.each(
            |record| record.status == ProcStatus::Held && faulty(record),
            |proc| {
                proc.forget_outputs();
                proc.release(&reason);
            },
        );
        // Another request is taken as it is, and increased from there.
        self.records.change_all(|record| {
            if !is_at_its_end(record) {
                (record.memory_step, record.request_memory) = (0, None);
                record.starter = record.starter.filter(|starter| *starter != Starter::Absent);
            }
        });
        all
    }

    fn heed_hold(&mut self) {
        let wanted = self.observed.job.spec.hold;
        if wanted == self.noticed.hold {
            return;
        }
        if wanted {
            let reason = hold::hold(hold::USER_REQUEST, 0, "held by the user (spec.hold is true)");
            self.pause(&reason);
            // What a person holds already stays as it is ("already held"); a fault's hold becomes the user's.
            let holdable = |r: &ProcRecord| match r.status {
                ProcStatus::Completed | ProcStatus::Removed => false,
                _ => r.hold.as_ref().is_none_or(hold::is_fault),
            };
            if !self.each(holdable, |proc| proc.hold(reason.clone())) {
                return;
            }
        } else {
            if self.records.values().any(|r| r.status == ProcStatus::Held && is_stopping(r)) {
                return; // once the pod has ended
            }
            let held = |record: &ProcRecord| record.status == ProcStatus::Held;
            let words = "released by the user (spec.hold is false)";
            if !self.each(held, |proc| proc.release(words)) {
                return;
            }
            self.resume_materialization(words);
        }
        self.noticed.hold = wanted;
    }
}
