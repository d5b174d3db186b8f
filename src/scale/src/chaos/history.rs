//! Every version of every job's status, as a watch saw them.
//!
//! Invariant (of the operator, judged here): a log only grows at its end; what leaves the status at its beginning is what was
//! committed, so that all that was ever seen is the log. What has ended stays so, and counters do not go back.

use duj_api::{
    DockerUniverseJob,
    status::{DockerUniverseJobStatus, UserLog},
};
use duj_core::records::Records;
use std::collections::BTreeMap;

/// What was seen of one job.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Its UID.
    pub(super) uid: String,
    /// Its own wish to be held.
    pub(super) hold: bool,
    /// The last version.
    pub(super) status: DockerUniverseJobStatus,
    /// Text that has left the status for pages.
    pub(super) moved: String,
}

/// What was seen of all.
#[derive(Debug, Default)]
pub(super) struct History {
    /// By name.
    pub(super) jobs: BTreeMap<String, Seen>,
    /// Names of those that are gone.
    pub(super) gone: Vec<String>,
    /// Versions.
    pub(super) versions: u64,
    /// Breaches: of which job, and what.
    pub(super) problems: Vec<(String, String)>,
}

impl History {
    /// A version.
    pub(super) fn see(&mut self, job: DockerUniverseJob) {
        self.versions += 1;
        let name = job.metadata.name.clone().unwrap_or_default();
        let seen = self.jobs.entry(name.clone()).or_default();
        let before = std::mem::take(&mut seen.status);
        let now = job.status.unwrap_or_default();
        let mut problems = breaches(&before, &now, job.spec.steps());
        let empty = UserLog::default();
        let old = before.user_log.as_ref().unwrap_or(&empty);
        match moved(old, now.user_log.as_ref().unwrap_or(&empty)) {
            Ok(text) => seen.moved.push_str(text),
            Err(problem) => problems.push(problem),
        }
        self.problems.extend(problems.into_iter().map(|problem| (name.clone(), problem)));
        seen.uid = job.metadata.uid.unwrap_or_default();
        (seen.hold, seen.status) = (job.spec.hold, now);
    }

    /// It is gone.
    pub(super) fn lose(&mut self, job: &DockerUniverseJob) {
        let name = job.metadata.name.clone().unwrap_or_default();
        self.jobs.remove(&name);
        self.gone.push(name);
    }
}

/// What left the status's text between two versions.
fn moved<'a>(old: &'a UserLog, new: &UserLog) -> Result<&'a str, String> {
    if (new.parts, new.pages, new.events) < (old.parts, old.pages, old.events) {
        return Err(format!("the log lost pages or events: {} became {}", old.events, new.events));
    }
    let rewritten =
        || format!("the log was rewritten; it was:\n{}\nit is:\n{}", old.text, new.text);
    if new.parts == old.parts {
        return if new.text.starts_with(&old.text) { Ok("") } else { Err(rewritten()) };
    }
    let ends = old.text.match_indices("\n...\n").map(|(at, end)| at + end.len());
    let cut = ends
        .into_iter()
        .find(|cut| old.text.get(*cut..).is_some_and(|rest| new.text.starts_with(rest)));
    cut.and_then(|cut| old.text.get(..cut)).ok_or_else(rewritten)
}

fn breaches(
    before: &DockerUniverseJobStatus,
    now: &DockerUniverseJobStatus,
    procs: u32,
) -> Vec<String> {
    let mut problems = Vec::new();
    if before.cluster_id.is_some() && before.cluster_id != now.cluster_id {
        problems.push(format!("cluster id {:?} became {:?}", before.cluster_id, now.cluster_id));
    }
    let (old, new) = (Records::read(&before.procs, procs), Records::read(&now.procs, procs));
    if now.procs_pages.is_empty() {
        let lost = old.iter().filter(|(proc, _)| new.get(*proc).is_none());
        problems.extend(lost.map(|(proc, _)| format!("proc {proc} has lost its record")));
    }
    problems.extend(old.went_back(&new));
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(text: &str, parts: i64, events: i64) -> UserLog {
        UserLog { text: text.to_owned(), parts, events, ..UserLog::default() }
    }

    #[test]
    fn what_leaves_the_status_is_known() {
        let old = log("a\n...\nb\n...\n", 1, 2);
        assert_eq!(moved(&old, &log("a\n...\nb\n...\nc\n...\n", 1, 3)), Ok(""));
        assert_eq!(moved(&old, &log("b\n...\nc\n...\n", 2, 3)), Ok("a\n...\n"));
        assert_eq!(moved(&old, &log("c\n...\n", 3, 3)), Ok("a\n...\nb\n...\n"));
    }

    #[test]
    fn what_is_lost_or_rewritten_is_seen() {
        let old = log("a\n...\nb\n...\n", 1, 2);
        for new in [log("a\n...\n", 1, 2), log("b\n...\n", 1, 2), log("a\n...\nb\n...\n", 1, 1)] {
            assert!(moved(&old, &new).is_err(), "{new:?}");
        }
    }
}
