//! The jobs, and how they are to end. Invariant: how a proc that completes ends is a function of its number, whatever was done
//! to the operator, to the proc and to its pods meanwhile.

use crate::fleet::LABEL;
use serde_json::{Value, json};

const IMAGE: &str = "registry.example.org/busybox:1.35";
/// The job of many procs.
pub(super) const GREAT: &str = "great";
/// The exit code of a proc that fails.
const CODE: i32 = 7;

/// A job.
#[derive(Clone, Debug)]
pub(super) struct Job {
    /// Its name.
    pub(super) name: String,
    /// Its procs.
    pub(super) procs: u32,
    /// It is submitted on hold.
    pub(super) on_hold: bool,
    /// It is deleted while it runs.
    pub(super) deleted: bool,
    exit: i32,
    fails: u32,
    seconds: u32,
}

impl Job {
    /// The job of many procs: they run from 1 to 20 s, of ten one fails twice and stays failed, and one fails once.
    pub(super) fn great(procs: u32) -> Self {
        let name = GREAT.to_owned();
        Self { name, procs, on_hold: false, deleted: false, exit: 0, fails: 0, seconds: 0 }
    }

    /// The small job with this number.
    pub(super) fn small(number: u32) -> Self {
        let kind = number % 10;
        Self {
            name: format!("small-{number}"),
            procs: 1,
            on_hold: kind == 4,
            deleted: kind == 7 && number % 20 == 7,
            exit: if kind == 2 { CODE } else { 0 },
            fails: u32::from(kind == 3),
            seconds: number % 7,
        }
    }

    /// The exit code of a proc that completes.
    pub(super) fn exit(&self, proc: u32) -> i32 {
        if self.procs == 1 { self.exit } else { i32::from(proc % 10 == 3) * CODE }
    }

    /// What is submitted.
    pub(super) fn manifest(&self) -> Value {
        let words = if self.procs == 1 {
            [
                format!("run={}.3", self.seconds),
                format!("exit={}", self.exit),
                format!("fails={}", self.fails),
            ]
        } else {
            [
                "run=$INT($(ProcId) * 7 % 20 + 1)".to_owned(),
                format!("exit=$INT($(ProcId) % 10 == 3 ? {CODE} : 0)"),
                "fails=$INT($(ProcId) % 10 == 5 ? 1 : 0)".to_owned(),
            ]
        };
        let mut job = json!({
            "apiVersion": "dockeruniverse.io/v1alpha1", "kind": "DockerUniverseJob",
            "metadata": { "name": self.name },
            "spec": {
                "image": IMAGE, "executable": "play", "arguments": words, "maxRetries": 1,
                "requestCpus": "10m", "requestMemory": "16Mi",
                "scheduling": {
                    "nodeSelector": { LABEL: "true" },
                    "tolerations": [{ "key": LABEL, "operator": "Exists", "effect": "NoSchedule" }],
                },
            },
        });
        if self.procs > 1 {
            job["spec"]["queue"] = json!({ "count": self.procs });
        }
        if self.on_hold {
            job["spec"]["hold"] = json!(true);
        }
        job
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use duj_api::DockerUniverseJobSpec;
    use std::collections::BTreeSet;

    #[test]
    fn every_manifest_is_a_job_and_every_fate_comes_up() {
        let jobs: Vec<Job> = (0..40).map(Job::small).chain([Job::great(2000)]).collect();
        for job in &jobs {
            let spec: DockerUniverseJobSpec =
                serde_json::from_value(job.manifest()["spec"].clone()).unwrap();
            assert_eq!(spec.steps(), job.procs, "{}", job.name);
        }
        let fates: BTreeSet<_> =
            jobs.iter().map(|job| (job.on_hold, job.deleted, job.exit, job.fails)).collect();
        assert_eq!(fates.len(), 5);
    }
}
