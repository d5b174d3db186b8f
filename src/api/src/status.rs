//! What the operator tells about a job: the one place where a job's state is committed.
//!
//! Invariant: `procs` is a partition of `0..total`; `counts` are derived from it; `userLog.text` ends with a whole
//! event. One guarded patch changes all of it together.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// State of a job.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct DockerUniverseJobStatus {
    /// The generation of the job that this status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `HTCondor`'s `ClusterId`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_id: Option<i64>,
    /// `Finished`, `Complete`, `Failed`, `Held`, `Reconciling`, `Stalled`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// How many procs are in which state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counts: Option<Counts>,
    /// What the image runs by itself, where the job needs to know; found out once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<Image>,
    /// What the job waits for, or how it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub because: Option<Because>,
    /// Groups of procs that share one record.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub procs: Vec<ProcGroup>,
    /// Where the records of further procs are, when there are too many kinds of them for `procs`: what `procs` says of a proc
    /// goes before what its page says.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub procs_pages: Vec<ProcsPage>,
    /// `HTCondor`'s userlog of the job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_log: Option<UserLog>,
    /// What the operator has taken notice of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub noticed: Option<Noticed>,
    /// When the last proc ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion_time: Option<Time>,
}

/// How many procs are in which state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the states of ProcStatus")]
pub struct Counts {
    /// Procs of the job; of one that was removed before all of them materialized, those that did.
    pub total: i64,
    pub idle: i64,
    pub running: i64,
    pub held: i64,
    pub suspended: i64,
    pub completed: i64,
    pub removed: i64,
    /// Procs that are not in the queue yet: they follow as others leave it or start (`maxMaterialize`, `maxIdle`), or as the
    /// log has room.
    #[serde(default, skip_serializing_if = "is_default")]
    pub unmaterialized: i64,
}

/// An image as its registry tells of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Image {
    /// The reference that it was found by.
    pub name: String,
    /// Digest of its manifest, or of the index of its platforms: procs that begin later run this very image.
    pub digest: String,
    /// Its ENTRYPOINT.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub entrypoint: Vec<String>,
    /// Its CMD.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
}

/// One reason, for the condition, the Event, the log line and the metric alike.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Because {
    /// One word of a closed set, such as `Running`, `Held` or `Unschedulable`.
    pub reason: String,
    /// One sentence that a user can act on.
    pub message: String,
    /// Since when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
}

/// `HTCondor`'s word for the state of a proc (`JobStatus`).
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[allow(missing_docs, reason = "HTCondor's own words")]
pub enum ProcStatus {
    #[default]
    Idle,
    Running,
    Held,
    Suspended,
    Completed,
    Removed,
}

/// Procs that share one record.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProcGroup {
    /// Which ones, as ranges: `0-811,813`.
    pub procs: String,
    /// Their record.
    #[serde(flatten)]
    pub record: ProcRecord,
}

/// A page of records: a `ConfigMap` of the job whose key `procs` has groups as the status has them, as JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProcsPage {
    /// Which procs it has, a range.
    pub procs: String,
    /// Its name. What it holds does not change: another content has another name.
    pub name: String,
}

/// The record of a proc. Everything here is a fact that the next decision needs or that the user asks for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProcRecord {
    /// Its state.
    pub status: ProcStatus,
    /// Since when (`EnteredCurrentStatus`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entered_status: Option<Time>,
    /// Number of the attempt that runs or comes next, from 0. Each attempt has its own pod.
    #[serde(default, skip_serializing_if = "is_default")]
    pub attempt: u32,
    /// How often its job began to run (`NumJobStarts`).
    #[serde(default, skip_serializing_if = "is_default")]
    pub num_job_starts: u32,
    /// The state before this one (`LastJobStatus`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_status: Option<ProcStatus>,
    /// How often its process ended by itself (`NumJobCompletions`).
    #[serde(default, skip_serializing_if = "is_default")]
    pub num_job_completions: u32,
    /// Seconds that ended attempts took (`RemoteWallClockTime`).
    #[serde(default, skip_serializing_if = "is_default")]
    pub wall_clock_time: u32,
    /// Seconds that it was suspended, in suspensions that are over (`CumulativeSuspensionTime`).
    #[serde(default, skip_serializing_if = "is_default")]
    pub suspension_time: u32,
    /// How often it was suspended (`TotalSuspensions`).
    #[serde(default, skip_serializing_if = "is_default")]
    pub total_suspensions: u32,
    /// Its place among the procs of its namespace that wait, larger first (`JobPrio`).
    #[serde(default, skip_serializing_if = "is_default")]
    pub job_prio: i32,
    /// How often it has got more memory; of `retryRequestMemory`, how many values it has come to.
    #[serde(default, skip_serializing_if = "is_default")]
    pub memory_step: u32,
    /// MiB of its next attempt, where `retryRequestMemoryIncrease` or its maximum has come to them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_memory: Option<i64>,
    /// Why it was held before, once it is released (`LastHoldReason` and its codes).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_hold: Option<Hold>,
    /// Its pod is to be stopped, and another attempt follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vacating: Option<Vacating>,
    /// Attempts in a row that ended before the job began; each makes the next one wait longer.
    #[serde(default, skip_serializing_if = "is_default")]
    pub unstarted: u32,
    /// How often it was held (`NumHolds`).
    #[serde(default, skip_serializing_if = "is_default")]
    pub num_holds: u32,
    /// How often it was evicted (`NumVacates`).
    #[serde(default, skip_serializing_if = "is_default")]
    pub num_vacates: u32,
    /// Exit code of the last end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// Signal of the last end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_signal: Option<i32>,
    /// Why it is held, while it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<Hold>,
    /// Why it was removed, or is being removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remove: Option<Remove>,
    /// Its node stopped answering (event 022 is written, 023 or 024 is not).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disconnected: bool,
    /// Its outputs could not be sent, and its pod keeps them: released meanwhile, they are sent again and the job is not run
    /// again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub outputs_kept: bool,
    /// How often its pod was told to send the outputs again.
    #[serde(default, skip_serializing_if = "is_default")]
    pub resends: u32,
    /// Whole checkpoints of the current attempt that event 003 tells of.
    #[serde(default, skip_serializing_if = "is_default")]
    pub checkpoints: u32,
    /// Files that nobody fetched from its scratch directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<LeftFiles>,
    /// How the starter gets into its pods, where that is not as the installation says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starter: Option<Starter>,
}

/// How the starter gets into a proc's pods, where the usual way failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Starter {
    /// An init container copies it: its image volume failed.
    Copied,
    /// Not at all: the image's own command runs by itself, for its registry could not be asked for it.
    Absent,
}

/// Files at the top of a scratch directory that had nowhere to go and are lost with it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LeftFiles {
    /// How many.
    pub files: i64,
    /// Their bytes.
    pub bytes: i64,
    /// The first five names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
}

/// Why a proc is held (`HoldReason`, `HoldReasonCode`, `HoldReasonSubCode`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Hold {
    /// `HTCondor`'s hold code.
    pub code: i32,
    /// Its subcode.
    pub subcode: i32,
    /// One line for a person.
    pub reason: String,
    /// Its pod has not ended yet; events 004 and 012 follow when it has.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stopping: bool,
}

/// Why an attempt is stopped for another one to follow (`VacateReason`, `VacateReasonCode`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Vacating {
    /// `HTCondor`'s vacate code.
    pub code: i32,
    /// One line for a person.
    pub reason: String,
    /// Without the job's vacate time.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fast: bool,
}

/// Why a proc is removed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Remove {
    /// One line for a person (`RemoveReason`).
    pub reason: String,
    /// Its pod has not ended yet; event 009 follows when it has (`HTCondor`'s state X).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stopping: bool,
    /// Its pod is forgotten, whatever it does (`condor_rm -forcex`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub forced: bool,
}

/// `HTCondor`'s userlog.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UserLog {
    /// The newest part, whole events, at most 64 KiB.
    pub text: String,
    /// How many older pages there are: `ConfigMaps` `<job>-userlog-1` and so on, to be read before `text`.
    #[serde(default)]
    pub pages: i64,
    /// How many parts of the text have gone to pages.
    #[serde(default, skip_serializing_if = "is_default")]
    pub parts: i64,
    /// How many events were written.
    pub events: i64,
}

/// What the operator has taken notice of, so that a change is seen as a change after any restart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Noticed {
    /// The value of `spec.hold` that was acted on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hold: bool,
    /// The value of `spec.priority` that was acted on.
    #[serde(default, skip_serializing_if = "is_default")]
    pub priority: i32,
    /// Digest of the fields that shape a pod; its change mends.
    pub shape: String,
    /// Digest of the items that the job's procs were made of, where they come from a `ConfigMap`; absent: not known yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub items: Option<String>,
    /// Its procs materialize late (`maxMaterialize`, `maxIdle`), and event 035 tells so.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub factory: bool,
    /// What keeps procs that are not in the queue yet out of it; absent: only the limits and the room in the log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub materialization: Option<Materialization>,
    /// Commands that were carried out and whose answer may not have been written yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub commands: Vec<Answer>,
}

/// Why no more procs come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Materialization {
    /// The job is held as a whole (037): they come once it is released (038).
    Paused,
    /// The job was removed as a whole: they never come.
    Ended,
}

/// What became of a command for this job.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// The command's UID.
    pub uid: String,
    /// Procs that accepted it.
    pub accepted: i64,
    /// Procs whose state refused it.
    pub refused: i64,
    /// `HTCondor`'s words for it.
    pub message: String,
    /// The first proc that has not been asked yet; absent where all have been. Of many procs some are asked at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<u32>,
}

/// Says nothing that its absence would not say.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
