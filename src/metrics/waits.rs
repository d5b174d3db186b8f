//! Since when the procs wait whose pods are about to be made.
//!
//! Invariant: nothing is parsed where no pod is made, and then only the groups of procs that are idle.

use duj_api::{
    DockerUniverseJob, DockerUniverseJobStatus, names,
    status::{ProcGroup, ProcStatus},
};
use duj_core::observed::Effect;
use jiff::Timestamp;
use std::collections::HashMap;

/// The stamps of those procs, of whole seconds, by a job's newest status. A proc of which that status says nothing waits since
/// the job was created; one whose record is in a page is left out.
pub fn idle_since(
    job: &DockerUniverseJob,
    status: Option<&DockerUniverseJobStatus>,
    effects: &[Effect],
) -> HashMap<u32, Timestamp> {
    let proc_of = |effect: &Effect| match effect {
        Effect::CreatePod(pod) => {
            pod.metadata.labels.as_ref()?.get(names::LABEL_PROC_ID)?.parse().ok()
        }
        _ => None,
    };
    let mut wanted: Vec<u32> = effects.iter().filter_map(proc_of).collect();
    let Some(created) = job.metadata.creation_timestamp.as_ref().filter(|_| !wanted.is_empty())
    else {
        return HashMap::new();
    };
    wanted.sort_unstable();
    let groups = status.map_or(&[][..], |status| &status.procs);
    let paged = status.is_some_and(|status| !status.procs_pages.is_empty());
    let mut since: HashMap<u32, Timestamp> = match groups {
        [] if !paged => wanted.iter().map(|proc| (*proc, created.0)).collect(),
        _ => HashMap::new(),
    };
    let idle = |group: &&ProcGroup| group.record.status == ProcStatus::Idle;
    for group in groups.iter().filter(idle) {
        let entered = group.record.entered_status.as_ref().map_or(created.0, |time| time.0);
        since.extend(within(&group.procs, &wanted).map(|proc| (proc, entered)));
    }
    since
}

/// Those of some procs, sorted, that a text such as `0-811,813` names.
fn within(ranges: &str, procs: &[u32]) -> impl Iterator<Item = u32> {
    ranges.split(',').flat_map(move |range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let range = first.parse().ok().zip(last.parse().ok());
        let (first, last): (u32, u32) = range.unwrap_or((1, 0));
        let begin = procs.partition_point(|proc| *proc < first);
        let end = procs.partition_point(|proc| *proc <= last).max(begin);
        procs.get(begin..end).unwrap_or_default().iter().copied()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn job() -> DockerUniverseJob {
        serde_json::from_value(json!({
            "apiVersion": "dockeruniverse.io/v1alpha1", "kind": "DockerUniverseJob",
            "metadata": { "name": "x", "uid": "x", "creationTimestamp": "2026-03-01T12:00:00Z" },
            "spec": { "image": "busybox", "executable": "sh" },
        }))
        .unwrap()
    }

    fn create(proc: u32) -> Effect {
        let pod = json!({ "metadata": { "labels": { names::LABEL_PROC_ID: proc.to_string() } } });
        Effect::CreatePod(serde_json::from_value(pod).unwrap())
    }

    #[test]
    fn procs_wait_since_their_record_says_so() {
        let group = |procs: &str, status: &str, entered: &str| json!({ "procs": procs, "status": status, "enteredStatus": format!("2026-03-01T{entered}Z") });
        let groups = json!([
            group("0-9,40", "Idle", "12:00:01"),
            group("10-19", "Running", "12:00:02"),
            group("20-39", "Idle", "13:30:00"),
        ]);
        let page = json!([{ "procs": "0-99", "name": "page" }]);
        for (status, procs, wanted) in [
            (Value::Null, &[0][..], "0 12:00:00"),
            (json!({}), &[0, 3], "0 12:00:00, 3 12:00:00"),
            (json!({ "procs": groups }), &[40, 9, 20], "9 12:00:01, 20 13:30:00, 40 12:00:01"),
            (json!({ "procs": groups, "procsPages": page }), &[15, 50, 1], "1 12:00:01"),
            (json!({ "procsPages": page }), &[1], ""),
            (json!({ "procs": groups }), &[], ""),
        ] {
            let status: Option<DockerUniverseJobStatus> =
                serde_json::from_value(status.clone()).unwrap();
            let effects: Vec<_> = procs.iter().copied().map(create).collect();
            let mut since: Vec<_> =
                idle_since(&job(), status.as_ref(), &effects).into_iter().collect();
            since.sort_unstable();
            let words: Vec<_> = since
                .iter()
                .map(|(proc, time)| format!("{proc} {}", time.strftime("%H:%M:%S")))
                .collect();
            assert_eq!(words.join(", "), wanted, "{procs:?}");
        }
    }
}
