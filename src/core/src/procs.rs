//! Sets of procs and the partition of a job's procs into groups that share one record.
//!
//! Invariant: `ungroup(group(records)) == records`; the groups of a status are disjoint and sorted by their first proc.

use duj_api::status::{Counts, ProcGroup, ProcRecord, ProcStatus};
use std::collections::BTreeMap;

/// Reads `0-811,813`. `None` where it is not such a list, or names a proc of `limit` or above.
pub fn parse_ranges(text: &str, limit: u32) -> Option<Vec<u32>> {
    let mut ranges = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        if first > last || last >= limit {
            return None;
        }
        ranges.push((first, last));
    }
    ranges.sort_unstable();
    // Each proc once, also on the way: ranges that repeat each other must not cost more than one of them.
    let mut procs = Vec::new();
    let mut next = 0;
    for (first, last) in ranges {
        procs.extend(first.max(next)..=last);
        next = next.max(last + 1);
    }
    Some(procs)
}

/// Writes `0-811,813`; the procs are sorted.
pub fn format_ranges(procs: &[u32]) -> String {
    let mut text = String::new();
    let mut rest = procs;
    while let Some((&first, _)) = rest.split_first() {
        let run =
            rest.iter().zip(first..).take_while(|(proc, expected)| **proc == *expected).count();
        let last = rest[run - 1];
        if !text.is_empty() {
            text.push(',');
        }
        text.push_str(&first.to_string());
        if last > first {
            text.push('-');
            text.push_str(&last.to_string());
        }
        rest = &rest[run..];
    }
    text
}

/// The record of each proc. A group that cannot be read (edited by hand) is left out, so its procs start anew.
pub fn ungroup(groups: &[ProcGroup], total: u32) -> BTreeMap<u32, ProcRecord> {
    groups
        .iter()
        .filter_map(|group| parse_ranges(&group.procs, total).map(|procs| (procs, &group.record)))
        .flat_map(|(procs, record)| procs.into_iter().map(move |proc| (proc, record.clone())))
        .collect()
}

/// Procs with equal records in one group each.
pub fn group(records: &BTreeMap<u32, ProcRecord>) -> Vec<ProcGroup> {
    let mut groups: Vec<(Vec<u32>, &ProcRecord)> = Vec::new();
    for (proc, record) in records {
        match groups.iter_mut().find(|(_, known)| *known == record) {
            Some((procs, _)) => procs.push(*proc),
            None => groups.push((vec![*proc], record)),
        }
    }
    groups
        .into_iter()
        .map(|(procs, record)| ProcGroup { procs: format_ranges(&procs), record: record.clone() })
        .collect()
}

/// How many procs are in which state.
pub fn count(records: &BTreeMap<u32, ProcRecord>) -> Counts {
    let mut counts = Counts::default();
    for record in records.values() {
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ranges_are_read_and_written() {
        assert_eq!(format_ranges(&[0, 1, 2, 5, 7, 8]), "0-2,5,7-8");
        assert_eq!(parse_ranges("0-2,5,7-8", 9), Some(vec![0, 1, 2, 5, 7, 8]));
        assert_eq!(parse_ranges("7-8,0-4,3,2-5,8", 9), Some(vec![0, 1, 2, 3, 4, 5, 7, 8]));
        for bad in ["", "-", "1-", "2-1", "9", "a", "1,,2", "99999999999"] {
            assert_eq!(parse_ranges(bad, 9), None, "{bad}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: duj_tally::cases(ProptestConfig::default().cases), ..ProptestConfig::default() })]

        #[test]
        fn grouping_keeps_every_proc(codes in prop::collection::vec(0i32..3, 1..60)) {
            let records: BTreeMap<u32, ProcRecord> = codes.iter().zip(0u32..)
                .map(|(code, proc)| (proc, ProcRecord { exit_code: Some(*code), ..ProcRecord::default() })).collect();
            let groups = group(&records);
            prop_assert!(groups.len() <= 3);
            prop_assert_eq!(ungroup(&groups, u32::try_from(codes.len()).unwrap()), records);
        }
    }
}
