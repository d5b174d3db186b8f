//! When policies are evaluated, and of which procs.
//!
//! Invariant: a proc whose record changed is asked in the same decision, or the next one where the log has no room, and every
//! one of them once in [`PERIODIC`]. Of few procs all are asked at every look.

use super::{Work, is_at_its_end};
use crate::hold;
use duj_api::status::ProcRecord;
use jiff::SignedDuration;

/// The time between two evaluations of periodic policies while nothing changes (`PERIODIC_EXPR_INTERVAL`).
const PERIODIC: SignedDuration = SignedDuration::from_secs(60);
/// Policies of so many procs are evaluated at every look.
const FEW: u32 = 100;

impl Work<'_> {
    /// What is to happen by itself. Evaluated at every change, and once in [`PERIODIC`].
    #[allow(
        clippy::redundant_closure_for_method_calls,
        reason = "the path alone is not general enough in its lifetime"
    )]
    pub(super) fn obey_policies(&mut self) {
        if let Some(message) = &self.unreadable {
            let reason = hold::unreadable_policy(message.clone());
            let holdable = |record: &ProcRecord| !is_at_its_end(record) && record.hold.is_none();
            self.each(holdable, |proc| proc.hold(reason.clone()));
            return;
        }
        if let Some(message) = self.too_many_procs() {
            let reason = hold::hold(hold::SYSTEM_POLICY, 0, message);
            let holdable = |record: &ProcRecord| !is_at_its_end(record) && record.hold.is_none();
            self.each(holdable, |proc| proc.hold(reason.clone()));
            return;
        }
        // A policy that can be read again lets go of what the unreadable one held.
        let unreadable = |record: &ProcRecord| {
            let hold = record.hold.as_ref();
            hold.is_some_and(|hold| hold.code == hold::JOB_POLICY_UNDEFINED && !hold.stopping)
        };
        if !self.observed.job.spec.hold {
            self.each(unreadable, |proc| proc.release("the policy was mended"));
        }
        if self.policies.is_silent() {
            return;
        }
        let all = self.is_policy_time();
        let ids: Vec<u32> = if all {
            self.records.ids().collect()
        } else {
            // The others have not changed since they were last asked.
            std::mem::take(&mut self.changed)
        };
        let periodic = self.policies.is_periodic();
        for id in ids {
            if self.is_full() {
                // Who was not asked now is asked with the next status, and with them all.
                self.policies_due = Some(self.observed.now);
                return;
            }
            self.hear(id);
            if is_at_its_end(self.records.of(id)) {
                continue;
            }
            self.with(id, |proc| proc.obey_policies());
            if is_at_its_end(self.records.of(id)) {
                continue;
            }
            let now = self.observed.now;
            let due = self.with(id, |proc| proc.policies.due(proc.running(now))).flatten();
            let due = due.map(SignedDuration::from_secs).into_iter();
            let next = due.chain(periodic.then_some(PERIODIC)).min();
            self.wake_at(next.and_then(|wait| now.checked_add(wait).ok()).filter(|at| *at > now));
        }
        if all {
            self.policies_due = self.observed.now.saturating_add(PERIODIC).ok();
        } else {
            self.wake_at(self.observed.policies_due);
        }
    }

    /// What is said of a job that has more procs than the installation lets it have.
    pub(super) fn too_many_procs(&self) -> Option<String> {
        let namespace = self.observed.job.metadata.namespace.as_deref().unwrap_or_default();
        let limit =
            self.settings.limits.procs_in(namespace).filter(|limit| self.total() > *limit)?;
        Some(format!(
            "the job has {} procs, and in namespace '{namespace}' a job may have {limit}: submit it in parts, or ask for a larger limits.maxProcsPerJob",
            self.total()
        ))
    }

    /// Whether all procs are asked. Few are asked at every look; of many those that changed, and all once in [`PERIODIC`].
    fn is_policy_time(&self) -> bool {
        self.total() <= FEW || self.observed.policies_due.is_none_or(|due| due <= self.observed.now)
    }
}
