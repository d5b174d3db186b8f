//! The cases: what a job does, and what people do with it and its pods. No side knows more than what is written here.

use serde_json::Value;

/// A case.
#[derive(Clone, Debug)]
pub struct Case {
    /// Its name, and its job's; the record is `pods/<name>.txt`.
    pub name: &'static str,
    /// What the first attempt does; the following ones exit with 0 after some seconds.
    pub fate: Fate,
    /// What people do, each step when it is time for it.
    pub steps: Vec<(Until, Step)>,
}

/// What an attempt does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Exits with this code after some seconds.
    Exits(i32),
    /// Exits with 0, but not before it was seen to run.
    ExitsLate,
    /// Dies by this signal after some seconds.
    DiesBy(i32),
    /// Its own process takes more memory than there is.
    OutOfMemory,
    /// Its child does; it exits with 0 (on control groups of version 1: see the test of the node).
    ChildOutOfMemory,
    /// Fills its scratch directory.
    OverDisk,
    /// Its executable is not in the image.
    Missing,
    /// Runs until it is told to end.
    Stays,
    /// Runs until it is killed.
    StaysDeaf,
    /// Runs until it is told to end, and then exits with this code.
    StaysAndExits(i32),
    /// No registry has its image.
    NoImage,
    /// The registry of its image does not answer.
    NoRegistry,
    /// A Secret of its environment is missing.
    NoConfiguration,
    /// A `ConfigMap` of its volumes is missing.
    NoVolume,
    /// The runtime cannot start its container.
    CannotStart,
    /// It asks for more processors than there are.
    TooBig,
    /// The same, and somebody binds it nevertheless.
    Misplaced,
}

/// What is waited for, as the API server shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    Now,
    /// A pod is there; in what follows the oldest one is meant.
    Made,
    /// That pod is not the first attempt's.
    Again,
    Bound,
    Unschedulable,
    /// Its container waits with this reason.
    Waits(&'static str),
    Runs,
    /// Its container has ended, or never will begin.
    Over,
    /// It is being deleted, and has a terminal phase.
    OverAndDeleted,
    /// The job's proc has this status, with nothing of it stopping.
    Is(&'static str),
}

/// What somebody does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    DeletePod,
    DeletePodAtOnce,
    /// Through the eviction API.
    EvictPod,
    /// Puts a finalizer of their own on the pod.
    KeepPod,
    /// Takes it off.
    LetPodGo,
    /// Binds the pod to the node, as a scheduler does.
    BindPod,
    DeleteJob,
    /// Kills process 1 of its container from outside.
    KillStarter,
    /// Gives the job this command.
    Command(&'static str),
}

impl Until {
    /// Whether it is time, by the oldest pod that is there, and the job.
    pub fn is_met(self, pod: Option<&Value>, job: Option<&Value>) -> bool {
        let (nothing, pod_there) = (Value::Null, pod.is_some());
        let pod = pod.unwrap_or(&nothing);
        let status = &pod["status"];
        let state = &status["containerStatuses"][0]["state"];
        let over = matches!(status["phase"].as_str(), Some("Succeeded" | "Failed"));
        match self {
            Self::Now => true,
            Self::Made => pod_there,
            Self::Again => {
                let attempt = &pod["metadata"]["labels"][duj_api::names::LABEL_ATTEMPT];
                attempt.as_str().is_some_and(|attempt| attempt != "0")
            }
            Self::Bound => pod["spec"]["nodeName"].is_string(),
            Self::Unschedulable => {
                let mut conditions = status["conditions"].as_array().into_iter().flatten();
                conditions.any(|condition| condition["reason"] == "Unschedulable")
            }
            Self::Waits(reason) => state["waiting"]["reason"] == reason,
            Self::Runs => state["running"].is_object(),
            Self::Over => over,
            Self::OverAndDeleted => over && pod["metadata"]["deletionTimestamp"].is_string(),
            Self::Is(wanted) => job.is_some_and(|job| proc_status(job).as_deref() == Some(wanted)),
        }
    }
}

/// The status of the job's one proc, where nothing of it is stopping.
pub fn proc_status(job: &Value) -> Option<String> {
    let proc = &job["status"]["procs"][0];
    let stopping = proc["hold"]["stopping"] == true || proc["remove"]["stopping"] == true;
    (!stopping).then(|| proc["status"].as_str().map(str::to_owned))?
}

/// Nothing more comes of a case: its job is gone, or ended, or held, and so is each pod that it had (its latest version).
pub fn is_at_rest(job: Option<&Value>, pods: &[Option<Value>]) -> bool {
    let job_rests = job.is_none_or(|job| {
        let status = proc_status(job);
        matches!(status.as_deref(), Some("Completed" | "Removed" | "Held"))
    });
    let rests = |pod: &Option<Value>| {
        pod.as_ref().is_none_or(|pod| {
            let ours = |finalizer: &Value| finalizer == duj_api::names::FINALIZER_ACCOUNTED;
            let finalizers = pod["metadata"]["finalizers"].as_array();
            Until::Over.is_met(Some(pod), None)
                && pod["metadata"]["deletionTimestamp"].is_null()
                && !finalizers.is_some_and(|list| list.iter().any(ours))
        })
    };
    job_rests && !pods.is_empty() && pods.iter().all(rests)
}

/// All cases.
pub fn all() -> Vec<Case> {
    [ends(), starts(), deleted(), by_commands()].concat()
}

fn case(name: &'static str, fate: Fate, steps: &[(Until, Step)]) -> Case {
    Case { name, fate, steps: steps.to_vec() }
}

/// How jobs end by themselves.
pub fn ends() -> Vec<Case> {
    vec![
        case("exit-0", Fate::Exits(0), &[]),
        case("exit-3", Fate::Exits(3), &[]),
        case("exit-255", Fate::Exits(255), &[]),
        case("signal-11", Fate::DiesBy(11), &[]),
        case("out-of-memory", Fate::OutOfMemory, &[]),
        case("child-out-of-memory", Fate::ChildOutOfMemory, &[]),
        case("over-disk", Fate::OverDisk, &[]),
        case("starter-killed", Fate::Stays, &[(Until::Runs, Step::KillStarter)]),
    ]
}

/// What comes before the start, or in its way.
pub fn starts() -> Vec<Case> {
    vec![
        case("executable-missing", Fate::Missing, &[]),
        case("image-not-found", Fate::NoImage, &[]),
        case("registry-silent", Fate::NoRegistry, &[]),
        case("secret-missing", Fate::NoConfiguration, &[]),
        case("volume-missing", Fate::NoVolume, &[]),
        case("cannot-start", Fate::CannotStart, &[]),
        case("too-big", Fate::TooBig, &[(Until::Unschedulable, Step::DeleteJob)]),
        case(
            "misplaced",
            Fate::Misplaced,
            &[(Until::Made, Step::BindPod), (Until::Over, Step::Command("remove"))],
        ),
    ]
}

/// What is deleted, when, and how.
pub fn deleted() -> Vec<Case> {
    use Step::{DeleteJob, DeletePod, DeletePodAtOnce, EvictPod, KeepPod, LetPodGo};
    use Until::{Again, Bound, Is, Made, OverAndDeleted, Runs, Unschedulable, Waits};
    const CREATING: Until = Waits("ContainerCreating");
    vec![
        case(
            "pod-deleted-unscheduled",
            Fate::TooBig,
            &[(Unschedulable, DeletePod), (Again, DeleteJob)],
        ),
        case("pod-deleted-bound", Fate::Exits(0), &[(Bound, DeletePod)]),
        case(
            "pod-deleted-before-its-start",
            Fate::NoVolume,
            &[(CREATING, DeletePod), (Is("Idle"), DeleteJob)],
        ),
        case(
            "pod-deleted-pulling",
            Fate::NoRegistry,
            &[(Waits("ErrImagePull"), DeletePod), (Is("Idle"), DeleteJob)],
        ),
        case("pod-deleted", Fate::Stays, &[(Runs, DeletePod)]),
        case("pod-deleted-deaf", Fate::StaysDeaf, &[(Runs, DeletePod)]),
        case("pod-deleted-exits", Fate::StaysAndExits(0), &[(Runs, DeletePod)]),
        case("pod-deleted-at-once", Fate::Stays, &[(Runs, DeletePodAtOnce)]),
        case("pod-deleted-at-once-deaf", Fate::StaysDeaf, &[(Runs, DeletePodAtOnce)]),
        case(
            "pod-deleted-kept",
            Fate::Stays,
            &[(Runs, KeepPod), (Runs, DeletePod), (OverAndDeleted, LetPodGo)],
        ),
        case("pod-evicted", Fate::Stays, &[(Runs, EvictPod)]),
        case("job-deleted", Fate::Stays, &[(Runs, DeleteJob)]),
        case("job-deleted-at-once", Fate::Stays, &[(Made, DeleteJob)]),
        case("job-deleted-ended", Fate::Exits(0), &[(Is("Completed"), DeleteJob)]),
    ]
}

/// What commands do to pods.
pub fn by_commands() -> Vec<Case> {
    use Step::Command;
    use Until::{Is, Runs};
    vec![
        case("held", Fate::Stays, &[(Runs, Command("hold"))]),
        case("held-deaf", Fate::StaysDeaf, &[(Runs, Command("hold"))]),
        case("removed", Fate::Stays, &[(Runs, Command("remove"))]),
        case("vacated", Fate::Stays, &[(Is("Running"), Command("vacate"))]),
        case(
            "suspended",
            Fate::ExitsLate,
            &[(Is("Running"), Command("suspend")), (Is("Suspended"), Command("continue"))],
        ),
    ]
}
