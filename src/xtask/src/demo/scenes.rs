//! The scenes of the demo: each example, and how its job ends.
//!
//! Invariant: every manifest in `examples/` is played.

/// One step of a scene: what is given to the cluster, and how the job is afterwards.
pub(super) struct Step {
    pub(super) file: &'static str,
    pub(super) job: &'static str,
    /// `status` of each of `status.procs` afterwards.
    pub(super) status: &'static str,
    /// The procs that are in another state, as ranges, and which.
    pub(super) but: Option<(&'static str, &'static str)>,
    /// What else their records hold, by JSON pointer.
    pub(super) facts: &'static [(&'static str, i64)],
}

impl Step {
    const fn but(mut self, procs: &'static str, status: &'static str) -> Self {
        self.but = Some((procs, status));
        self
    }
}

/// Each example with its end, in the order in which they are shown.
pub(super) const SCENES: &[(&str, &[Step])] = &[
    (
        "a job that runs to its end",
        &[step("hello.yaml", "hello", "Completed", &[("/exitCode", 0)])],
    ),
    (
        "configuration from a ConfigMap",
        &[step("config.yaml", "config", "Completed", &[("/exitCode", 0)])],
    ),
    (
        "a script, its parameters and its input",
        &[step("script.yaml", "script", "Completed", &[("/exitCode", 0)])],
    ),
    (
        "the image's own command",
        &[step("own-command.yaml", "own-command", "Completed", &[("/exitCode", 0)])],
    ),
    ("files from S3 and to S3", &[step("s3.yaml", "s3", "Completed", &[("/exitCode", 0)])]),
    (
        "checkpoints: evicted, and not begun anew",
        &[
            step("checkpoint.yaml", "checkpoint", "Running", &[]),
            step(
                "checkpoint-vacate.yaml",
                "checkpoint",
                "Completed",
                &[("/exitCode", 0), ("/numVacates", 1), ("/numJobStarts", 2)],
            ),
        ],
    ),
    (
        "an exit code of its own",
        &[step("exit-one.yaml", "exit-one", "Completed", &[("/exitCode", 1)])],
    ),
    (
        "a command that gets killed",
        &[step("killed.yaml", "killed", "Completed", &[("/exitSignal", 9)])],
    ),
    (
        "too little memory: held, mended, released",
        &[
            step(
                "memory-hog.yaml",
                "memory-hog",
                "Held",
                &[("/hold/code", 34), ("/hold/subcode", 102)],
            ),
            step(
                "memory-hog-mended.yaml",
                "memory-hog",
                "Completed",
                &[("/exitCode", 0), ("/attempt", 1)],
            ),
        ],
    ),
    (
        "too little scratch space: held",
        &[step("disk-hog.yaml", "disk-hog", "Held", &[("/hold/code", 34), ("/hold/subcode", 104)])],
    ),
    (
        "a typo in the image: held, mended, released",
        &[
            step("typo.yaml", "typo", "Held", &[("/hold/code", 35)]),
            step("typo-mended.yaml", "typo", "Completed", &[("/exitCode", 0)]),
        ],
    ),
    (
        "submitted on hold, then released",
        &[
            step("on-hold.yaml", "on-hold", "Held", &[("/hold/code", 15)]),
            step("on-hold-released.yaml", "on-hold", "Completed", &[("/exitCode", 0)]),
        ],
    ),
    (
        "commands: hold, release, remove",
        &[
            step("sleep.yaml", "sleep", "Running", &[]),
            step("sleep-hold.yaml", "sleep", "Held", &[("/hold/code", 1)]),
            step("sleep-release.yaml", "sleep", "Running", &[]),
            step("sleep-remove.yaml", "sleep", "Removed", &[]),
        ],
    ),
    (
        "retries: the third attempt succeeds",
        &[step(
            "retry.yaml",
            "retry",
            "Completed",
            &[("/exitCode", 0), ("/numJobStarts", 3), ("/numJobCompletions", 3)],
        )],
    ),
    (
        "too little memory: tried again with more",
        &[step(
            "retry-memory.yaml",
            "retry-memory",
            "Completed",
            &[("/exitCode", 0), ("/numJobStarts", 3), ("/numVacates", 2), ("/memoryStep", 2)],
        )],
    ),
    (
        "a bad exit: held by a policy",
        &[step(
            "hold-on-exit.yaml",
            "hold-on-exit",
            "Held",
            &[("/hold/code", 3), ("/hold/subcode", 42), ("/exitCode", 3)],
        )],
    ),
    (
        "a job that hangs: held by a policy, released by another",
        &[step(
            "release-again.yaml",
            "release-again",
            "Completed",
            &[("/exitCode", 0), ("/numJobStarts", 2), ("/numHolds", 1), ("/lastHold/code", 47)],
        )],
    ),
    ("a lease", &[step("lease.yaml", "lease", "Completed", &[("/exitCode", 0)])]),
    ("many procs", &[step("many-procs.yaml", "many-procs", "Completed", &[("/exitCode", 0)])]),
    (
        "two hundred procs, and how far they are",
        &[step("many.yaml", "many", "Completed", &[("/exitCode", 0)])],
    ),
    ("a sweep over rows", &[step("sweep.yaml", "sweep", "Completed", &[("/exitCode", 0)])]),
    ("lines of a ConfigMap", &[step("lines.yaml", "lines", "Completed", &[("/exitCode", 0)])]),
    ("late materialization", &[step("late.yaml", "late", "Completed", &[("/exitCode", 0)])]),
    (
        "commands: suspend and continue one proc, vacate both, hold by a constraint",
        &[
            step("pair.yaml", "pair", "Running", &[]),
            step("pair-suspend.yaml", "pair", "Running", &[]).but("1", "Suspended"),
            step("pair-continue.yaml", "pair", "Running", &[]),
            step(
                "pair-vacate.yaml",
                "pair",
                "Running",
                &[("/numVacates", 1), ("/numJobStarts", 2)],
            ),
            step("pair-prio.yaml", "pair", "Running", &[("/jobPrio", 5)]),
            step("hold-by-constraint.yaml", "pair", "Running", &[("/jobPrio", 5)]).but("1", "Held"),
            step("pair-remove.yaml", "pair", "Removed", &[]),
        ],
    ),
];

const fn step(
    file: &'static str,
    job: &'static str,
    status: &'static str,
    facts: &'static [(&'static str, i64)],
) -> Step {
    Step { file, job, status, but: None, facts }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_example_is_played() {
        let directory = std::fs::read_dir(crate::repository().join("examples")).unwrap();
        let names = directory.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let manifests: BTreeSet<_> = names.filter(|name| name != "README.md").collect();
        let steps = SCENES.iter().flat_map(|(_, steps)| steps.iter());
        let played: BTreeSet<_> = steps.map(|step| step.file.to_owned()).collect();
        assert_eq!(played, manifests);
    }
}
