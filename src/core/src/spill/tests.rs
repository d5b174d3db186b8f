//! Patterns that no status holds, and the laws of the partition under changes.

use super::*;
use duj_api::status::{Hold, ProcStatus};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use proptest::prelude::*;

/// The partition as a job keeps it: its status and its pages.
#[derive(Default)]
struct Kept {
    status: DockerUniverseJobStatus,
    pages: Vec<Arc<Page>>,
    version: u32,
    written: usize,
}

impl Kept {
    fn commit(&mut self, records: &Records) {
        self.version += 1;
        let prefix = format!("hello-procs-{}", self.version);
        let made = partition(records, &self.status, &self.pages, &prefix);
        self.written += made.written.len();
        for page in &made.written {
            assert!(size(&page.groups) <= PAGE || page.records.len() == 1);
            assert!(!self.pages.iter().any(|known| known.name == page.name));
        }
        self.pages.extend(made.written);
        self.pages.retain(|page| !made.dropped.contains(&page.name));
        (self.status.procs, self.status.procs_pages) = (made.groups, made.pages);
        let named = self.status.procs_pages.iter();
        assert!(named.clone().all(|named| self.pages.iter().any(|page| page.name == named.name)));
        assert_eq!(named.count(), self.pages.len(), "what nobody names is gone");
        let bytes = size(&self.status.procs);
        assert!(bytes <= BOUND, "{bytes} bytes");
    }

    /// What is held is found without the others.
    fn selects_as_it_reads(&self, total: u32) {
        let such = |record: &ProcRecord| record.status == ProcStatus::Held;
        let selected = select(&self.status, &self.pages, total, such).unwrap();
        let records = self.read(total);
        let expected = records.iter().filter(|(_, record)| such(record));
        assert!(selected.iter().map(|(proc, record)| (*proc, record.as_ref())).eq(expected));
    }

    fn read(&self, total: u32) -> Records {
        // As another process reads it.
        let pages: Vec<_> = self
            .pages
            .iter()
            .map(|page| Arc::new(Page::new(page.name.clone(), page.groups.clone())))
            .collect();
        read(&self.status, &pages, total).expect("every page is there")
    }
}

fn records(total: u32, of: impl Fn(u32) -> ProcRecord) -> Records {
    let mut records = Records::default();
    for proc in 0..total {
        records.put(proc, Arc::new(of(proc)));
    }
    records
}

fn completed(code: u32) -> ProcRecord {
    ProcRecord {
        status: ProcStatus::Completed,
        exit_code: i32::try_from(code).ok(),
        num_job_starts: 1,
        ..ProcRecord::default()
    }
}

fn held(second: u32) -> ProcRecord {
    let entered = Timestamp::from_second(1_772_366_400 + i64::from(second)).unwrap();
    let hold = Hold { code: 34, subcode: 102, reason: format!("slot {second}"), stopping: false };
    ProcRecord {
        status: ProcStatus::Held,
        entered_status: Some(Time(entered)),
        hold: Some(hold),
        num_job_starts: 1,
        num_holds: 1,
        ..ProcRecord::default()
    }
}

/// Spread over all numbers without a pattern.
fn scattered(proc: u32) -> u32 {
    proc.wrapping_mul(2_654_435_761) >> 16
}

#[test]
fn no_pattern_of_many_procs_is_too_large_and_none_is_lost() {
    for total in [10_000, 100_000] {
        let patterns: [(&str, &dyn Fn(u32) -> ProcRecord); 5] = [
            ("checkerboard", &|proc| completed(proc % 2)),
            ("random codes", &|proc| completed(scattered(proc) % 256)),
            ("all distinct", &|proc| ProcRecord { wall_clock_time: proc, ..completed(0) }),
            ("held in different seconds", &held),
            ("mixed", &|proc| if proc % 3 == 0 { held(proc) } else { completed(proc % 7) }),
        ];
        for (name, pattern) in patterns {
            let mut kept = Kept::default();
            let records = records(total, pattern);
            kept.commit(&records);
            assert!(kept.read(total) == records, "{name} of {total}");
            kept.selects_as_it_reads(total);
            // Committed again, nothing is written.
            let written = kept.written;
            kept.commit(&kept.read(total));
            assert_eq!(kept.written, written, "{name} of {total}");
        }
    }
}

#[test]
fn a_policy_that_releases_all_finds_what_it_reads_and_the_pages_go() {
    let total = 20_000;
    let mut kept = Kept::default();
    kept.commit(&records(total, held));
    assert!(!kept.pages.is_empty());
    let mut records = kept.read(total);
    for proc in 0..total {
        let record = records.get_mut(proc).unwrap();
        assert_eq!(record, &held(proc));
        record.status = ProcStatus::Idle;
        record.last_hold = record.hold.take();
        if proc % 400 == 0 {
            kept.commit(&records);
            records = kept.read(total);
        }
    }
    kept.commit(&records);
    assert!(kept.read(total) == records);
    // They end alike: nothing needs a page any more.
    for proc in 0..total {
        *records.get_mut(proc).unwrap() = completed(0);
    }
    kept.commit(&records);
    assert!(kept.read(total) == records);
}

#[test]
fn a_change_of_few_procs_writes_no_page() {
    let total = 50_000;
    let mut kept = Kept::default();
    kept.commit(&records(total, held));
    let written = kept.written;
    let mut records = kept.read(total);
    for proc in (0..total).step_by(501) {
        *records.get_mut(proc).unwrap() = completed(3);
    }
    kept.commit(&records);
    assert_eq!(kept.written, written);
    assert!(kept.read(total) == records);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: duj_tally::cases(24), ..ProptestConfig::default() })]

    #[test]
    fn whatever_changes_is_read_as_it_was_written(
        total in 1u32..6000,
        kinds in prop::collection::vec(0u32..4, 1..8),
        changes in prop::collection::vec((0u32..6000, 1u32..3000, 0u32..4), 0..12),
    ) {
        let of = |kind: u32, proc: u32| match kind {
            0 => ProcRecord::default(),
            1 => completed(scattered(proc) % 200),
            2 => held(proc),
            _ => ProcRecord { attempt: proc, ..held(proc / 2) },
        };
        let mut kept = Kept::default();
        let mut now = records(total, |proc| of(kinds[proc as usize % kinds.len()], proc));
        kept.commit(&now);
        for (first, length, kind) in changes {
            for proc in (first..first.saturating_add(length)).filter(|proc| *proc < total) {
                *now.get_mut(proc).unwrap() = of(kind, proc);
            }
            kept.commit(&now);
            now = kept.read(total);
        }
        prop_assert!(kept.read(total) == now);
    }
}
