//! A job's own pods, by proc and attempt.
//!
//! Invariant: they are sorted by proc and then by attempt, one of each. Of many procs most have no pod: to find that out costs one look
//! into a table.

use crate::facts::PodFacts;
use std::cmp::Reverse;

#[derive(Default)]
pub(super) struct Pods<'a> {
    sorted: Vec<&'a PodFacts>,
    /// Which procs have one; procs beyond the end have none.
    is_there: Vec<bool>,
}

impl<'a> Pods<'a> {
    pub(super) fn of(mut pods: Vec<&'a PodFacts>) -> Self {
        // Of two with the same name the younger one is there, and the other's end was not told yet.
        pods.sort_by_key(|pod| (pod.proc, pod.attempt, Reverse(pod.created)));
        pods.dedup_by_key(|pod| (pod.proc, pod.attempt));
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

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(proc: u32, attempt: u32, uid: &str, second: i64) -> PodFacts {
        let created = jiff::Timestamp::from_second(second).ok();
        PodFacts { proc, attempt, uid: uid.into(), created, ..PodFacts::default() }
    }

    #[test]
    fn pods_are_found_by_proc_and_attempt() {
        let all = [pod(7, 1, "b", 20), pod(2, 0, "a", 10), pod(7, 0, "c", 10)];
        let pods = Pods::of(all.iter().collect());
        let uid = |proc, attempt| pods.get(proc, attempt).map(|pod| pod.uid.as_str());
        assert_eq!((uid(7, 0), uid(7, 1), uid(2, 0)), (Some("c"), Some("b"), Some("a")));
        assert_eq!((uid(7, 2), uid(3, 0), uid(900, 0)), (None, None, None));
        assert_eq!(pods.of_proc(7).len(), 2);
    }

    #[test]
    fn of_two_with_one_name_the_younger_counts() {
        for all in [
            [pod(0, 0, "old", 10), pod(0, 0, "new", 20)],
            [pod(0, 0, "new", 20), pod(0, 0, "old", 10)],
        ] {
            let pods = Pods::of(all.iter().collect());
            assert_eq!(pods.len(), 1);
            assert_eq!(pods.get(0, 0).map(|pod| pod.uid.as_str()), Some("new"));
        }
    }
}
