//! The jobs and what is to become of them. Invariant: a fate says each event of each proc's log, in order, and what the
//! record holds at the end; nothing that the chaos does may change it.

use duj_api::{command::Verb, status::ProcStatus};
use serde_json::{Value, json};
use std::ops::RangeInclusive;

/// What happens to a job after its creation, one step after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Wait until each proc has run so often.
    Runs(usize),
    /// Wait until each proc is Held with this code, and its pod has ended.
    Held(i32),
    /// Wait until each proc is in this state, and its pod has ended if it is an end.
    Is(ProcStatus),
    /// Give a command; again, if it came before the operator knew of the run.
    Give(Verb),
    /// Give a command, whatever the answer.
    Try(Verb),
    /// Release it if it is held, until it has ended.
    ReleaseIfHeld,
    /// Apply the manifest without the mistake.
    Mend,
    /// Let its runs go on until they have ended.
    Go,
    /// Delete the pod of its first attempt.
    DeletePod,
    /// Delete the job.
    DeleteJob,
}

/// How a proc has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Completed with this exit code.
    Code(i32),
    /// Completed with its own number and this one as exit code.
    CodePlusProc(i32),
    /// Completed by this signal.
    Signal(i32),
    /// Held with this code and subcode.
    Held(i32, i32),
    /// Removed.
    Removed,
    /// There is no job any more.
    Deleted,
}

/// A job to be.
#[derive(Clone, Debug)]
pub(super) struct Job {
    /// Its name.
    pub(super) name: String,
    /// What it is about.
    pub(super) fate: &'static str,
    /// How many procs it has.
    pub(super) procs: u32,
    /// What is created.
    pub(super) manifest: Value,
    /// The same without its mistake.
    pub(super) mended: Option<Value>,
    /// What follows.
    pub(super) steps: Vec<Step>,
    /// How it ends.
    pub(super) end: End,
    /// The numbers of each proc's events; more than one where chance decides.
    pub(super) logs: &'static [&'static [u16]],
    /// Runs that the log tells of and that leave no mark: a stop may come before, or an image cannot be had.
    pub(super) unmarked: RangeInclusive<usize>,
}

/// What all jobs need.
#[derive(Clone, Debug)]
pub(super) struct Ground {
    /// The namespace.
    pub(super) namespace: String,
    /// The cluster's registry.
    pub(super) registry: String,
    /// What each script begins with.
    pub(super) preamble: String,
}

/// The fates, each as often as it is to come in a row of twenty.
const ROW: [&str; 20] = [
    "exits",
    "signals",
    "retries",
    "procs",
    "held-on-exit",
    "exits",
    "memory",
    "held",
    "removed",
    "suspended",
    "exits",
    "vacated",
    "deleted",
    "typo",
    "on-hold",
    "signals",
    "pod-deleted",
    "early",
    "retries",
    "exits",
];

/// A whole run that ends.
const PLAIN: &[u16] = &[0, 1, 6, 5];
const DELETED: &[&[u16]] = &[];

/// The job with this number.
pub(super) fn job(ground: &Ground, number: usize, many: bool, chance: &mut fastrand::Rng) -> Job {
    use Step::{DeleteJob, DeletePod, Give, Go, Held, Is, Mend, ReleaseIfHeld, Runs, Try};
    let fate = if many { "many" } else { ROW[number % ROW.len()] };
    let code = if chance.u8(..3) == 0 { 0 } else { chance.i32(1..=255) };
    let signal = [1, 6, 9, 11, 15][chance.usize(..5)];
    let exit = format!("exit {code}");
    let stays = format!("wait_for_word; {exit}");
    let first_stays = format!("[ $n -gt 1 ] || wait_for_word; {exit}");
    let plain = |script: &str, more: Value, steps: Vec<Step>, end: End, logs| {
        Job::new(ground, fate, number, (script, more), steps, end, logs)
    };
    let none = || json!({});
    let completed = || vec![Is(ProcStatus::Completed)];
    let by = End::Code(code);
    match fate {
        "signals" => plain(
            &format!("kill -{signal} $$; sleep 1"),
            none(),
            completed(),
            End::Signal(signal),
            &[PLAIN],
        ),
        "retries" => {
            let script = "[ $n -ge 3 ] || exit $n; exit 0";
            let retries = json!({ "maxRetries": 3 });
            plain(script, retries, completed(), End::Code(0), &[&[0, 1, 4, 1, 4, 1, 6, 5]])
        }
        "procs" | "many" => {
            let base = chance.i32(0..100);
            let count = if many { 60 } else { chance.u32(3..7) };
            let script = format!("exit $(($1 + {base}))");
            let more = json!({ "queue": { "count": count } });
            let mut job = plain(&script, more, completed(), End::CodePlusProc(base), &[PLAIN]);
            job.procs = count;
            job
        }
        "held-on-exit" => {
            let script = "[ $n -gt 1 ] || exit 3; exit 0";
            let hold = json!({ "onExitHold": "ExitCode =!= 0" });
            let steps = vec![Held(3), Give(Verb::Release), Is(ProcStatus::Completed)];
            plain(script, hold, steps, End::Code(0), &[&[0, 1, 12, 13, 1, 6, 5]])
        }
        "memory" => {
            let script = "dd if=/dev/zero of=/dev/null bs=256M count=4; exit $?";
            let more = json!({ "requestMemory": "32Mi" });
            plain(script, more, vec![Held(34)], End::Held(34, 102), &[&[0, 1, 21, 4, 12]])
        }
        "held" => {
            let steps = vec![Runs(1), Give(Verb::Hold), Held(1), Give(Verb::Release), Runs(2), Go];
            plain(&stays, none(), steps, by, &[&[0, 1, 4, 12, 13, 1, 6, 5]])
        }
        "removed" => {
            let steps = vec![Runs(1), Give(Verb::Remove), Is(ProcStatus::Removed)];
            plain(&stays, none(), steps, End::Removed, &[&[0, 1, 4, 9]])
        }
        "suspended" => {
            let steps = vec![
                Runs(1),
                Give(Verb::Suspend),
                Is(ProcStatus::Suspended),
                Give(Verb::Continue),
                Go,
            ];
            plain(&stays, none(), steps, by, &[&[0, 1, 10, 11, 6, 5]])
        }
        "vacated" => {
            let steps = vec![Runs(1), Give(Verb::Vacate), Runs(2), Go];
            plain(&first_stays, none(), steps, by, &[&[0, 1, 4, 1, 6, 5]])
        }
        "pod-deleted" => {
            let steps = vec![Runs(1), DeletePod, Runs(2), Go];
            plain(&first_stays, none(), steps, by, &[&[0, 1, 4, 1, 6, 5]])
        }
        "deleted" => plain(&stays, none(), vec![Runs(1), DeleteJob], End::Deleted, DELETED),
        "typo" => {
            let steps = vec![Held(35), Mend, Is(ProcStatus::Completed)];
            let mut job = plain(&exit, none(), steps, by, &[&[0, 1, 21, 4, 12, 13, 1, 6, 5]]);
            job.mended = Some(job.manifest.clone());
            job.manifest["spec"]["image"] = json!(format!("{}/busybos:1.35", ground.registry));
            job
        }
        "on-hold" => {
            let steps = vec![Held(15), Mend, Is(ProcStatus::Completed)];
            let mut job = plain(&exit, none(), steps, by, &[&[0, 12, 13, 1, 6, 5]]);
            job.mended = Some(job.manifest.clone());
            job.manifest["spec"]["hold"] = json!(true);
            job
        }
        "early" => {
            let logs: &[&[u16]] = &[
                PLAIN,
                &[0, 12, 13, 1, 6, 5],
                &[0, 4, 12, 13, 1, 6, 5],
                &[0, 1, 4, 12, 13, 1, 6, 5],
            ];
            plain(&exit, none(), vec![Try(Verb::Hold), ReleaseIfHeld], by, logs)
        }
        _ => plain(&exit, none(), completed(), by, &[PLAIN]),
    }
}

impl Job {
    fn new(
        ground: &Ground,
        fate: &'static str,
        number: usize,
        (script, more): (&str, Value),
        steps: Vec<Step>,
        end: End,
        logs: &'static [&'static [u16]],
    ) -> Self {
        let name = format!("{fate}-{number}");
        let mut spec = json!({
            "image": format!("{}/busybox:1.35", ground.registry),
            "executable": "sh",
            "arguments": ["-c", format!("{}{script}", ground.preamble), name, "$(ProcId)"],
            "requestCpus": "5m", "requestMemory": "16Mi",
            // When the API server was away, the node seems to have been: no job is to be evicted for that.
            "scheduling": { "tolerations": [
                { "key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute" },
                { "key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute" },
            ] },
            // A stop that the starter cannot hear yet must not take ten minutes.
            "maxVacateTime": 5,
        });
        if let (Some(spec), Some(more)) = (spec.as_object_mut(), more.as_object()) {
            spec.extend(more.clone());
        }
        let manifest = json!({
            "apiVersion": "dockeruniverse.io/v1alpha1", "kind": "DockerUniverseJob",
            "metadata": { "name": name, "namespace": ground.namespace }, "spec": spec,
        });
        let unmarked = match fate {
            "early" => 0..=1,
            "typo" => 1..=1,
            _ => 0..=0,
        };
        Self { name, fate, procs: 1, manifest, mended: None, steps, end, logs, unmarked }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use duj_api::DockerUniverseJobSpec;
    use std::collections::BTreeSet;

    #[test]
    fn every_row_has_every_fate_and_every_manifest_is_a_job() {
        let ground =
            Ground { namespace: "n".into(), registry: "r".into(), preamble: String::new() };
        let mut chance = fastrand::Rng::with_seed(1);
        let jobs: Vec<_> = (0..40).map(|number| job(&ground, number, false, &mut chance)).collect();
        let fates: BTreeSet<_> = jobs.iter().map(|job| job.fate).collect();
        assert_eq!(fates.len(), 15);
        for job in &jobs {
            let spec: DockerUniverseJobSpec =
                serde_json::from_value(job.manifest["spec"].clone()).unwrap();
            assert_eq!(spec.steps(), job.procs, "{}", job.name);
        }
        assert_eq!(jobs.iter().map(|job| &job.name).collect::<BTreeSet<_>>().len(), 40);
    }
}
