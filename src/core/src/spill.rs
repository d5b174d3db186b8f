//! The partition of a job's procs where it is too large for the status: pages of records in `ConfigMaps`.
//!
//! A page has the records of all procs of a range, and what the status itself says of a proc goes before its page; so a proc
//! that changes costs no page, and pages are written anew only when the status is full again. Invariants: what was written is
//! read as the same records; what the status says has at most [`BOUND`] bytes, whatever the records are; a page is named after
//! what it holds, so that nobody can put anything else in its place, and its name is never used again.

use crate::{procs, records::Records};
use duj_api::{
    DockerUniverseJobStatus,
    status::{ProcGroup, ProcRecord, ProcsPage},
};
use sha2::{Digest, Sha256};
use std::{fmt::Write as _, sync::Arc};

/// Bytes of the groups in the status, as JSON.
pub const BOUND: usize = 160 * 1024;
/// What is left of them in the status when pages are written.
const ENOUGH: usize = BOUND / 2;
/// Bytes of the groups in a page: well below what an object may have.
const PAGE: usize = 512 * 1024;
/// Procs in the range of a page; fewer where they do not fit.
const RANGE: u32 = 1000;
/// A range whose groups have fewer bytes than this needs no page.
const SMALL: usize = 256;

/// A page as it was read or written.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub groups: Vec<ProcGroup>,
    /// The same, by proc.
    records: Records,
}

impl Page {
    /// A page with these groups.
    pub fn new(name: String, groups: Vec<ProcGroup>) -> Self {
        let records = Records::read(&groups, u32::MAX);
        Self { name, groups, records }
    }
}

/// The partition as it is committed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Partition {
    /// In the status.
    pub(crate) groups: Vec<ProcGroup>,
    /// The pages that the status names.
    pub(crate) pages: Vec<ProcsPage>,
    /// Pages that have to be there before the status is.
    pub(crate) written: Vec<Arc<Page>>,
    /// Names of pages that nobody needs when the status is there.
    pub(crate) dropped: Vec<String>,
}

/// The records that a status and its pages say. `None` where a page is not at hand.
pub fn read(status: &DockerUniverseJobStatus, pages: &[Arc<Page>], total: u32) -> Option<Records> {
    let mut records = Records::default();
    for named in &status.procs_pages {
        let page = pages.iter().find(|page| page.name == named.name)?;
        for (proc, record) in page.records.iter_shared().filter(|(proc, _)| *proc < total) {
            records.put(proc, record.clone());
        }
    }
    records.put_groups(&status.procs, total);
    Some(records)
}

/// The procs of which a status and its pages say `such` a thing. `None` where a page is not at hand.
pub fn select(
    status: &DockerUniverseJobStatus,
    pages: &[Arc<Page>],
    total: u32,
    such: impl Fn(&ProcRecord) -> bool,
) -> Option<Vec<(u32, Arc<ProcRecord>)>> {
    let mut records = Records::default();
    if status.procs_pages.is_empty() {
        // Most groups are not wanted: the others of many procs need not be read.
        let wanted = status.procs.iter().filter(|group| such(&group.record));
        records.put_groups(wanted, total);
    } else {
        records = read(status, pages, total)?;
    }
    let selected = records.iter_shared().filter(|(_, record)| such(record));
    Some(selected.map(|(proc, record)| (proc, record.clone())).collect())
}

/// How the records are to be committed after this status. `prefix` is what the names of new pages begin with.
pub(crate) fn partition(
    records: &Records,
    status: &DockerUniverseJobStatus,
    pages: &[Arc<Page>],
    prefix: &str,
) -> Partition {
    let known: Vec<(&ProcsPage, &Arc<Page>)> = status
        .procs_pages
        .iter()
        .filter_map(|named| Some((named, pages.iter().find(|page| page.name == named.name)?)))
        .collect();
    let named = || known.iter().map(|(named, _)| (*named).clone()).collect();
    let groups = apart_from(records, &known);
    if size(&groups) <= BOUND {
        return Partition { groups, pages: named(), ..Partition::default() };
    }
    spill(records, &known, prefix, ENOUGH)
}

/// The groups of what no page says.
fn apart_from(records: &Records, pages: &[(&ProcsPage, &Arc<Page>)]) -> Vec<ProcGroup> {
    if pages.is_empty() {
        return records.group();
    }
    let mut said = Records::default();
    for (_, page) in pages {
        for (proc, record) in page.records.iter_shared() {
            said.put(proc, record.clone());
        }
    }
    let news = records.iter_shared().filter(|(proc, record)| {
        !said.shared(*proc).is_some_and(|known| Arc::ptr_eq(known, record) || known == *record)
    });
    Records::group_of(news.map(|(proc, record)| (proc, record.as_ref())))
}

/// Writes pages for the ranges that are largest, until what is left of the others is small enough.
fn spill(
    records: &Records,
    known: &[(&ProcsPage, &Arc<Page>)],
    prefix: &str,
    enough: usize,
) -> Partition {
    let end = records.iter().last().map_or(0, |(proc, _)| proc + 1);
    let mut ranges: Vec<Range> = Vec::new();
    for first in (0..end).step_by(RANGE as usize) {
        cut(records, first, (first + RANGE).min(end), &mut ranges);
    }
    // The largest first; of equals the first.
    let mut order: Vec<usize> = (0..ranges.len()).collect();
    order.sort_by_key(|at| std::cmp::Reverse(ranges[*at].size));
    let mut left: usize = ranges.iter().map(|range| range.size).sum();
    let mut paged = vec![false; ranges.len()];
    for at in order {
        if left <= enough || ranges[at].size < SMALL {
            break;
        }
        left -= ranges[at].size;
        paged[at] = true;
    }
    let mut made = Partition::default();
    let mut outside = Records::default();
    for (range, paged) in ranges.into_iter().zip(paged) {
        if !paged {
            for (proc, record) in range.of(records) {
                outside.put(proc, record.clone());
            }
            continue;
        }
        let procs = procs::format_range(range.first, range.end - 1);
        let same =
            known.iter().find(|(named, page)| named.procs == procs && page.groups == range.groups);
        let name = if let Some((named, _)) = same {
            named.name.clone()
        } else {
            let name = format!("{prefix}-{}", digest(&procs, &range.groups));
            made.written.push(Arc::new(Page::new(name.clone(), range.groups)));
            name
        };
        made.pages.push(ProcsPage { procs, name });
    }
    let kept = |name: &str| made.pages.iter().any(|page| page.name == name);
    made.dropped =
        known.iter().map(|(named, _)| named.name.clone()).filter(|name| !kept(name)).collect();
    made.groups = outside.group();
    if size(&made.groups) > BOUND && enough > 0 {
        return spill(records, known, prefix, 0);
    }
    made
}

/// A range of procs and its groups.
struct Range {
    first: u32,
    end: u32,
    groups: Vec<ProcGroup>,
    size: usize,
}

impl Range {
    fn of<'a>(&self, records: &'a Records) -> impl Iterator<Item = (u32, &'a Arc<ProcRecord>)> {
        (self.first..self.end).filter_map(|proc| Some((proc, records.shared(proc)?)))
    }
}

/// Cuts a range into such as fit a page each.
fn cut(records: &Records, first: u32, end: u32, ranges: &mut Vec<Range>) {
    let mut range = Range { first, end, groups: Vec::new(), size: 0 };
    range.groups =
        Records::group_of(range.of(records).map(|(proc, record)| (proc, record.as_ref())));
    range.size = size(&range.groups);
    if range.size <= PAGE || end - first <= 1 {
        ranges.push(range);
        return;
    }
    let middle = first + (end - first) / 2;
    cut(records, first, middle, ranges);
    cut(records, middle, end, ranges);
}

/// Bytes of groups as JSON.
fn size(groups: &[ProcGroup]) -> usize {
    groups.iter().map(|group| serde_json::to_vec(group).map_or(0, |json| json.len() + 1)).sum()
}

/// Eight hexadecimal digits of what a page holds.
fn digest(procs: &str, groups: &[ProcGroup]) -> String {
    let json = serde_json::to_vec(&(procs, groups)).unwrap_or_default();
    Sha256::digest(&json).iter().take(4).fold(String::new(), |mut hex, byte| {
        // Writing to a string cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

#[cfg(test)]
mod tests;
