//! The records of a job's procs, and their partition into groups that share one.
//!
//! Most of many procs are in the same state, and a decision looks at all of them: so procs share records here as they do in
//! the status, and one that changes gets a record of its own. Invariant: `Records::read(group(records)) == records`; the
//! groups of a status are disjoint and sorted by their first proc.

use crate::procs;
use duj_api::status::{Counts, ProcGroup, ProcRecord, ProcStatus};
use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::{Arc, LazyLock},
};

static NOTHING: LazyLock<ProcRecord> = LazyLock::new(ProcRecord::default);

/// The record of each proc that has one, by `ProcId`.
#[derive(Clone, Debug, Default)]
pub struct Records(Vec<Option<Arc<ProcRecord>>>);

impl Records {
    /// The records of a status. A group that cannot be read (edited by hand) is left out, so its procs start anew.
    pub fn read(groups: &[ProcGroup], total: u32) -> Self {
        let mut records = Self::default();
        records.put_groups(groups, total);
        records
    }

    /// Puts groups in the place of what was known of their procs.
    pub(crate) fn put_groups<'a>(
        &mut self,
        groups: impl IntoIterator<Item = &'a ProcGroup>,
        total: u32,
    ) {
        for group in groups {
            let Some(ranges) = procs::ranges(&group.procs, total) else { continue };
            let record = Arc::new(group.record.clone());
            for (first, last) in ranges {
                self.put(last, record.clone());
                if let Some(places) = self.0.get_mut(first as usize..last as usize) {
                    places.fill(Some(record.clone()));
                }
            }
        }
    }

    /// Gives a proc a record that others may have too.
    pub fn put(&mut self, proc: u32, record: Arc<ProcRecord>) {
        let at = proc as usize;
        if at >= self.0.len() {
            self.0.resize(at + 1, None);
        }
        if let Some(place) = self.0.get_mut(at) {
            *place = Some(record);
        }
    }

    /// A proc's record.
    pub fn get(&self, proc: u32) -> Option<&ProcRecord> {
        self.shared(proc).map(Arc::as_ref)
    }

    /// What later records say that none may: an end is another one, a counter is lower. For those who judge an operator.
    pub fn went_back(&self, later: &Self) -> Vec<String> {
        let both = self.iter().filter_map(|(proc, old)| Some((proc, old, later.get(proc)?)));
        let outcome = |record: &ProcRecord| (record.status, record.exit_code, record.exit_signal);
        let mut problems = Vec::new();
        for (proc, old, new) in both {
            let ended = matches!(old.status, ProcStatus::Completed | ProcStatus::Removed);
            if ended && outcome(old) != outcome(new) {
                problems.push(format!("proc {proc} had ended: {old:?} became {new:?}"));
            }
            if counters(old).iter().zip(counters(new)).any(|(old, new)| *old > new) {
                problems
                    .push(format!("a counter of proc {proc} went back: {old:?} became {new:?}"));
            }
        }
        problems
    }

    /// A proc's record, or that of one of which nothing is known.
    pub fn of(&self, proc: u32) -> &ProcRecord {
        self.get(proc).unwrap_or(&NOTHING)
    }

    pub(crate) fn shared(&self, proc: u32) -> Option<&Arc<ProcRecord>> {
        self.0.get(proc as usize)?.as_ref()
    }

    /// A proc's record, for a change of this proc alone.
    pub fn get_mut(&mut self, proc: u32) -> Option<&mut ProcRecord> {
        self.0.get_mut(proc as usize)?.as_mut().map(Arc::make_mut)
    }

    /// Changes every record, and each that procs share once.
    pub fn change_all(&mut self, mut change: impl FnMut(&mut ProcRecord)) {
        let mut changed: HashMap<*const ProcRecord, (Arc<ProcRecord>, Arc<ProcRecord>)> =
            HashMap::new();
        for record in self.0.iter_mut().flatten() {
            let new = changed.entry(Arc::as_ptr(record)).or_insert_with(|| {
                let mut new = ProcRecord::clone(record);
                change(&mut new);
                // The old one is kept, so that no other comes to have its address meanwhile.
                (record.clone(), Arc::new(new))
            });
            *record = new.1.clone();
        }
    }

    /// All that have one, in their order.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &ProcRecord)> {
        (0u32..).zip(&self.0).filter_map(|(proc, record)| Some((proc, record.as_deref()?)))
    }

    /// All that have one, in their order, as they are shared.
    pub(crate) fn iter_shared(&self) -> impl Iterator<Item = (u32, &Arc<ProcRecord>)> {
        (0u32..).zip(&self.0).filter_map(|(proc, record)| Some((proc, record.as_ref()?)))
    }

    /// The procs that have one.
    pub fn ids(&self) -> impl Iterator<Item = u32> {
        self.iter().map(|(proc, _)| proc)
    }

    /// The records.
    pub fn values(&self) -> impl Iterator<Item = &ProcRecord> {
        self.0.iter().filter_map(Option::as_deref)
    }

    /// How many procs have one.
    pub fn len(&self) -> usize {
        self.0.iter().flatten().count()
    }

    /// Whether no proc has one.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(Option::is_none)
    }

    /// How many procs are in which state.
    pub fn count(&self) -> Counts {
        let mut counts = Counts::default();
        for record in self.values() {
            counts.total += 1;
            *match record.status {
                ProcStatus::Idle => &mut counts.idle,
                ProcStatus::Running => &mut counts.running,
                ProcStatus::Held => &mut counts.held,
                ProcStatus::Suspended => &mut counts.suspended,
                ProcStatus::Completed => &mut counts.completed,
                ProcStatus::Removed => &mut counts.removed,
            } += 1;
        }
        counts
    }

    /// Procs with equal records in one group each.
    pub fn group(&self) -> Vec<ProcGroup> {
        Self::group_of(self.iter())
    }

    /// The same, of some of them.
    pub(crate) fn group_of<'a>(
        records: impl Iterator<Item = (u32, &'a ProcRecord)>,
    ) -> Vec<ProcGroup> {
        let mut groups: Vec<(Vec<u32>, &ProcRecord)> = Vec::new();
        let mut known: HashMap<*const ProcRecord, usize> = HashMap::new();
        let mut alike: HashMap<u64, Vec<usize>> = HashMap::new();
        // Neighbours mostly share one.
        let mut last: (*const ProcRecord, usize) = (std::ptr::null(), 0);
        for (proc, record) in records {
            let address = std::ptr::from_ref(record);
            if last.0 != address {
                let found = *known.entry(address).or_insert_with(|| {
                    let candidates = alike.entry(sketch(record)).or_default();
                    let same = candidates.iter().find(|at| groups[**at].1 == record);
                    same.copied().unwrap_or_else(|| {
                        candidates.push(groups.len());
                        groups.push((Vec::new(), record));
                        groups.len() - 1
                    })
                });
                last = (address, found);
            }
            groups[last.1].0.push(proc);
        }
        let group = |(procs, record): (Vec<u32>, &ProcRecord)| ProcGroup {
            procs: procs::format_ranges(&procs),
            record: record.clone(),
        };
        groups.into_iter().map(group).collect()
    }
}

impl PartialEq for Records {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

/// Equal records have the same; different ones mostly have not.
fn sketch(record: &ProcRecord) -> u64 {
    let mut hasher = DefaultHasher::new();
    let entered = record.entered_status.as_ref().map(|time| time.0.as_nanosecond());
    let hold = record.hold.as_ref().map(|hold| (hold.code, hold.reason.as_str()));
    (record.status, entered, record.attempt, record.num_job_starts).hash(&mut hasher);
    (record.exit_code, record.exit_signal, record.wall_clock_time, hold).hash(&mut hasher);
    hasher.finish()
}

/// What only grows.
fn counters(record: &ProcRecord) -> [u32; 6] {
    [
        record.attempt,
        record.num_job_starts,
        record.num_job_completions,
        record.num_holds,
        record.num_vacates,
        record.total_suspensions,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of_codes(codes: &[i32]) -> Records {
        let mut records = Records::default();
        for (code, proc) in codes.iter().zip(0u32..) {
            let record = ProcRecord { exit_code: Some(*code), ..ProcRecord::default() };
            records.put(proc, Arc::new(record));
        }
        records
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: duj_tally::cases(ProptestConfig::default().cases), ..ProptestConfig::default() })]

        #[test]
        fn grouping_keeps_every_proc(codes in prop::collection::vec(0i32..3, 1..60)) {
            let records = of_codes(&codes);
            let groups = records.group();
            prop_assert!(groups.len() <= 3);
            prop_assert_eq!(Records::read(&groups, u32::try_from(codes.len()).unwrap()), records);
        }

        #[test]
        fn who_changes_leaves_its_group_and_comes_back_to_it(
            codes in prop::collection::vec(0i32..3, 1..60), proc in 0u32..60, code in 0i32..4,
        ) {
            let total = u32::try_from(codes.len()).unwrap();
            let proc = proc % total;
            let before = Records::read(&of_codes(&codes).group(), total);
            let mut records = before.clone();
            records.get_mut(proc).unwrap().exit_code = Some(code);
            for (id, record) in records.iter() {
                let expected = if id == proc { code } else { codes[id as usize] };
                prop_assert_eq!(record.exit_code, Some(expected));
            }
            let mut again = Records::read(&records.group(), total);
            again.get_mut(proc).unwrap().exit_code = Some(codes[proc as usize]);
            prop_assert_eq!(again.group(), before.group());
        }

        #[test]
        fn a_change_of_all_is_a_change_of_each(codes in prop::collection::vec(0i32..3, 1..60)) {
            let total = u32::try_from(codes.len()).unwrap();
            let mut records = Records::read(&of_codes(&codes).group(), total);
            records.change_all(|record| record.exit_code = record.exit_code.map(|code| code + 1));
            let expected: Vec<i32> = codes.iter().map(|code| code + 1).collect();
            prop_assert_eq!(records, of_codes(&expected));
        }
    }
}
