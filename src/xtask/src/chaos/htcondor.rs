//! `HTCondor`'s own reader on all logs at once. Invariant: it and ours see the same events of the same jobs at the same time.

#[path = "../../../../tests/oracle/mod.rs"]
mod oracle;

use super::checks::Problem;
use anyhow::anyhow;
use duj_core::userlog::read;
use std::{collections::BTreeMap, thread};

/// Number, cluster, proc and second of an event.
type Seen = (u16, u32, i32, i64);

/// What the two readers do not agree on.
pub(super) fn compare(logs: &BTreeMap<String, String>) -> anyhow::Result<Option<Problem>> {
    let whole: String = logs.values().map(String::as_str).collect();
    let ours: Vec<Seen> = read(&whole)
        .flatten()
        .map(|event| {
            (event.body.number(), event.job.cluster, event.job.proc, event.time.as_second())
        })
        .collect();
    // As a test's oracle it panics where it fails; here that is an error.
    let reader = thread::spawn(move || oracle::read_with_htcondor(&whole, "UTC0"));
    let theirs = reader.join().map_err(|_| anyhow!("HTCondor's reader failed: see above"))?;
    let theirs: Vec<Seen> =
        theirs.iter().map(|event| (event.number, event.cluster, event.proc, event.epoch)).collect();
    if ours == theirs {
        return Ok(None);
    }
    let differs = ours.iter().zip(&theirs).position(|(ours, theirs)| ours != theirs);
    let at = differs.unwrap_or(ours.len().min(theirs.len()));
    let what = format!(
        "it sees {} events where we see {}; the first that differs is number {at}: {:?}, {:?}",
        theirs.len(),
        ours.len(),
        theirs.get(at),
        ours.get(at)
    );
    Ok(Some(("HTCondor's reader".to_owned(), what)))
}
