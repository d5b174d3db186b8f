//! What was seen of each job while it lived. Invariant (of the operator, judged here): a log only grows at its end, what has
//! ended stays as it ended, and counters never go back.

use duj_api::{
    DockerUniverseJob,
    status::{DockerUniverseJobStatus, UserLog},
};
use duj_core::records::Records;
use std::collections::BTreeMap;

/// What was seen so far, and what was wrong with it.
#[derive(Debug, Default)]
pub(super) struct History {
    last: BTreeMap<String, DockerUniverseJobStatus>,
    /// Breaches, by job.
    pub(super) problems: Vec<(String, String)>,
}

impl History {
    /// Compares a job with how it was when it was seen last.
    pub(super) fn see(&mut self, job: &DockerUniverseJob) {
        let (Some(uid), Some(status)) = (&job.metadata.uid, &job.status) else { return };
        let name = job.metadata.name.clone().unwrap_or_default();
        if let Some(before) = self.last.get(uid) {
            for problem in breaches(before, status, job.spec.steps()) {
                self.problems.push((name.clone(), problem));
            }
        }
        self.last.insert(uid.clone(), status.clone());
    }
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
    let empty = UserLog::default();
    let (old, new) =
        (before.user_log.as_ref().unwrap_or(&empty), now.user_log.as_ref().unwrap_or(&empty));
    if (new.parts, new.pages, new.events) < (old.parts, old.pages, old.events) {
        problems.push("the log lost pages or events".to_owned());
    }
    if old.parts == new.parts && !new.text.starts_with(&old.text) {
        problems.push(format!("the log was rewritten; it was:\n{}", old.text));
    }
    let (old, new) = (Records::read(&before.procs, procs), Records::read(&now.procs, procs));
    let lost = old.iter().filter(|(proc, _)| new.get(*proc).is_none());
    problems.extend(lost.map(|(proc, _)| format!("proc {proc} has lost its record")));
    problems.extend(old.went_back(&new));
    problems
}

#[cfg(test)]
mod tests {
    use super::*;
    use duj_api::status::{ProcGroup, ProcRecord, ProcStatus};

    fn status(text: &str, exit_code: Option<i32>, starts: u32) -> DockerUniverseJobStatus {
        let record = ProcRecord {
            status: if exit_code.is_some() { ProcStatus::Completed } else { ProcStatus::Running },
            exit_code,
            num_job_starts: starts,
            ..ProcRecord::default()
        };
        DockerUniverseJobStatus {
            procs: vec![ProcGroup { procs: "0".to_owned(), record }],
            user_log: Some(UserLog { text: text.to_owned(), ..UserLog::default() }),
            ..DockerUniverseJobStatus::default()
        }
    }

    #[test]
    fn what_only_grows_is_good() {
        assert_eq!(
            breaches(&status("a", None, 1), &status("ab", Some(3), 1), 1),
            Vec::<String>::new()
        );
    }

    #[test]
    fn what_goes_back_or_is_rewritten_is_seen() {
        for (before, now) in [
            (status("ab", None, 1), status("ac", None, 1)),
            (status("ab", None, 1), status("a", None, 1)),
            (status("a", Some(3), 1), status("a", Some(4), 1)),
            (status("a", Some(3), 1), status("a", None, 1)),
            (status("a", None, 2), status("a", None, 1)),
        ] {
            assert_eq!(breaches(&before, &now, 1).len(), 1, "{before:?} {now:?}");
        }
    }
}
