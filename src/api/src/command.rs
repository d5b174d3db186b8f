//! `DockerUniverseCommand`: what is not desired state, said once: hold, release, remove, and so on.
//!
//! Invariant: a command is immutable, is for the jobs that existed when it was made, and is answered once.

use crate::{policy::Expression, rules};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A command for a job of the same namespace, or for all jobs of it that match a constraint.
#[derive(
    CustomResource, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema,
)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "dockeruniverse.io",
    version = "v1alpha1",
    kind = "DockerUniverseCommand",
    plural = "dockeruniversecommands",
    shortname = "duc",
    namespaced,
    status = "DockerUniverseCommandStatus",
    derive = "PartialEq",
    doc = "A command for a docker universe job, as condor_hold, condor_release and condor_rm give it.",
    printcolumn(name = "Verb", type_ = "string", json_path = ".spec.verb"),
    printcolumn(name = "Job", type_ = "string", json_path = ".spec.job"),
    printcolumn(name = "Constraint", type_ = "string", json_path = ".spec.constraint"),
    printcolumn(name = "Accepted", type_ = "integer", json_path = ".status.accepted"),
    printcolumn(name = "Refused", type_ = "integer", json_path = ".status.refused"),
    printcolumn(name = "Answer", type_ = "string", json_path = ".status.message"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("self.spec == oldSelf.spec").message("a command cannot be changed: create another one"),
)]
#[x_kube(validation = Rule::new(rules::COMMAND_JOB).message(rules::COMMAND_JOB_MESSAGE))]
#[x_kube(validation = Rule::new(rules::COMMAND_PROCS).message(rules::COMMAND_PROCS_MESSAGE))]
#[x_kube(validation = Rule::new(rules::COMMAND_SUBCODE).message(rules::COMMAND_SUBCODE_MESSAGE))]
#[x_kube(validation = Rule::new(rules::COMMAND_PRIORITY).message(rules::COMMAND_PRIORITY_MESSAGE))]
pub struct DockerUniverseCommandSpec {
    /// What to do.
    pub verb: Verb,
    /// Name of the job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub job: Option<String>,
    /// In place of a job: a `ClassAd` expression; the command is for every proc in the namespace whose ad makes it true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub constraint: Option<Expression>,
    /// Which procs, as ranges (`0-3,5`); all where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 4096),
        regex(pattern = r"^[0-9]+(-[0-9]+)?(,[0-9]+(-[0-9]+)?)*$")
    )]
    pub procs: Option<String>,
    /// Reason in place of `HTCondor`'s own, for hold, release, remove and vacate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    #[x_kube(validation = Rule::new(rules::NO_CONTROL).message(rules::NO_CONTROL_MESSAGE))]
    pub reason: Option<String>,
    /// Subcode of a hold (`condor_hold -subcode`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subcode: Option<i32>,
    /// The priority that the verb `prio` sets (`condor_prio -p`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<i32>,
    /// What the verb `prio` adds to the priority (`condor_prio +n`, `-n`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority_change: Option<i32>,
    /// Who gives the command, for the log. Where the installation checks it, it must be the user's own name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    #[x_kube(validation = Rule::new(rules::NO_CONTROL).message(rules::NO_CONTROL_MESSAGE))]
    pub by: Option<String>,
}

/// What to do with the procs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Verb {
    /// `condor_hold`.
    #[default]
    Hold,
    /// `condor_release`.
    Release,
    /// `condor_rm`.
    Remove,
    /// `condor_rm -forcex`: forgets a proc that is being removed, whatever its pod does.
    RemoveForced,
    /// `condor_vacate_job`: stops a running proc and puts it back to Idle.
    Vacate,
    /// `condor_vacate_job -fast`: the same, without the job's vacate time.
    VacateFast,
    /// `condor_suspend`: stops a running proc where it stands.
    Suspend,
    /// `condor_continue`: lets it go on.
    Continue,
    /// `condor_prio`: changes `JobPrio`.
    Prio,
}

/// The answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DockerUniverseCommandStatus {
    /// Procs that accepted it.
    pub accepted: i64,
    /// Procs whose state refused it, or that do not exist.
    pub refused: i64,
    /// `HTCondor`'s words for it.
    pub message: String,
    /// When it was answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answered: Option<Time>,
    /// Of a constraint: the jobs for which it is being carried out now. They are taken in the order of their names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub selected: Vec<Selected>,
    /// Of a constraint: the job up to which all have been asked whether they match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked_up_to: Option<String>,
}

/// A job that matches a constraint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Selected {
    /// Its name.
    pub job: String,
    /// Its UID: a job of that name with another one is not meant.
    pub uid: String,
    /// Its procs that match, as ranges.
    pub procs: String,
}

impl DockerUniverseCommand {
    /// Whether it has its answer.
    pub fn is_answered(&self) -> bool {
        self.status.as_ref().is_some_and(|status| status.answered.is_some())
    }
}
