//! A job's own pods, by proc and attempt.
//!
//! Invariant: they are sorted by proc and then by attempt. Of many procs most have no pod: to find that out costs one look
//! into a table.

use crate::facts::PodFacts;

#[derive(Default)]
pub(super) struct Pods<'a> {
    sorted: Vec<&'a PodFacts>,
    /// Which procs have one; procs beyond the end have none.
    is_there: Vec<bool>,
}

impl<'a> Pods<'a> {
    pub(super) fn of(mut pods: Vec<&'a PodFacts>) -> Self {
        pods.sort_unstable_by_key(|pod| (pod.proc, pod.attempt));
        let procs = pods.last().map_or(0, |last| last.proc as usize + 1);
        let mut is_there = vec![false; procs];
        for pod in &pods {
            if let Some(place) = is_there.get_mut(pod.proc as usize) {
                *place = true;
            }
        }
        Self { sorted: pods, is_there }
    }

    pub(super) fn get(&self, proc: u32, attempt: u32) -> Option<&'a PodFacts> {
        self.of_proc(proc).iter().find(|pod| pod.attempt == attempt).copied()
    }

    /// Those of one proc, the earliest attempt first.
    pub(super) fn of_proc(&self, proc: u32) -> &[&'a PodFacts] {
        if !self.is_there.get(proc as usize).copied().unwrap_or_default() {
            return &[];
        }
        let first = self.sorted.partition_point(|pod| pod.proc < proc);
        let from = self.sorted.get(first..).unwrap_or_default();
        let number = from.iter().take_while(|pod| pod.proc == proc).count();
        from.get(..number).unwrap_or_default()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &'a PodFacts> {
        self.sorted.iter().copied()
    }

    pub(super) fn len(&self) -> usize {
        self.sorted.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sorted.is_empty()
    }
}
