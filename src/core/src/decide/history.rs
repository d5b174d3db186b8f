//! Pods of procs that are at their end: kept for `kubectl logs`, and forgotten in time.
//!
//! Invariant: what a pod came to is in the status and in the log before the pod goes; pods of held procs stay. None goes while
//! a write of an operator that led before could still make it anew.

use super::{Work, is_at_its_end, over};
use crate::{
    facts::PodFacts,
    observed::{Effect, EndedPod},
};
use duj_api::{job::RemovePods, status::ProcRecord};
use jiff::{SignedDuration, Timestamp};

/// A pod stays so long after its end, and after this operator began to lead: longer than any request of another one lasts.
const SETTLED: SignedDuration = SignedDuration::from_mins(2);
/// A pod waits so much longer for others to go with it.
const TOGETHER: SignedDuration = SignedDuration::from_secs(10);
/// Pods that one decision forgets at most.
const AT_ONCE: usize = 100;

impl Work<'_> {
    /// The pods that are not kept any longer.
    pub(super) fn forget_pods(&mut self) -> Option<Effect> {
        let most = usize::try_from(self.settings.kept_pods).unwrap_or(usize::MAX);
        if self.observed.job.spec.remove_pods.is_none() && self.pods.len() <= most {
            return None;
        }
        let success = self.observed.job.spec.policy.success_exit_code.unwrap_or(0);
        let succeeded = |record: &ProcRecord| record.exit_code == Some(success);
        let mut kept: Vec<(bool, Timestamp, &PodFacts)> = self
            .pods()
            .filter(|pod| pod.ended() && !pod.unaccounted && pod.deleting.is_none())
            .filter_map(|pod| {
                let record = self.records.get(pod.proc)?;
                let end = pod.finished().or(pod.created)?;
                let failed = !succeeded(record);
                (over(record) && is_at_its_end(record)).then_some((failed, end, pod))
            })
            .collect();
        let surplus = kept.len().saturating_sub(most);
        let goes = |number: usize, failed: bool| match self.observed.job.spec.remove_pods {
            Some(RemovePods::OnEnd) => true,
            Some(RemovePods::OnSuccess) => !failed || number < surplus,
            None => number < surplus,
        };
        // Who failed is looked into rather than who succeeded, and the newest rather than the oldest.
        kept.sort_by_key(|(failed, end, pod)| (*failed, *end, pod.proc));
        let settled = |end: Timestamp| {
            let settled = end.max(self.observed.leading_since).saturating_add(SETTLED);
            settled.unwrap_or(self.observed.now)
        };
        let leaving = kept.into_iter().enumerate();
        let leaving = leaving.take_while(|(number, (failed, ..))| goes(*number, *failed));
        let mut leaving = leaving.map(|(_, (_, end, pod))| (settled(end), pod)).peekable();
        let together = |first: Timestamp| first.saturating_add(TOGETHER).unwrap_or(first);
        let first = together(leaving.peek()?.0);
        let mut gone = Vec::new();
        while let Some((_, pod)) = leaving.next_if(|(at, _)| *at <= self.observed.now) {
            gone.push(EndedPod { name: pod.name.clone(), uid: pod.uid.clone(), proc: pod.proc });
            if gone.len() == AT_ONCE {
                break;
            }
        }
        let go = gone.len() == AT_ONCE || (first <= self.observed.now && !gone.is_empty());
        let due = if go { leaving.peek().map(|(at, _)| together(*at)) } else { Some(first) };
        self.wake_at(due);
        go.then_some(Effect::ForgetPods(gone))
    }
}
