//! `DockerUniverseJob`: one resource is one `HTCondor` *cluster* of procs.

use crate::{
    Quantity,
    files::Files,
    policy::Policy,
    queue::Queue,
    rules,
    scheduling::{Scheduling, SecurityContext},
    status::DockerUniverseJobStatus,
    volume::{Volume, VolumeMount},
};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a user asks for: `HTCondor`'s submit description in Kubernetes' notation.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "dockeruniverse.io",
    version = "v1alpha1",
    kind = "DockerUniverseJob",
    plural = "dockeruniversejobs",
    shortname = "duj",
    category = "all",
    namespaced,
    status = "DockerUniverseJobStatus",
    derive = "PartialEq",
    doc = "A job of HTCondor's docker universe: an image, an executable in it, and what it needs to run.",
    printcolumn(name = "ID", type_ = "integer", json_path = ".status.clusterId"),
    printcolumn(name = "Done", type_ = "integer", json_path = ".status.counts.completed"),
    printcolumn(name = "Run", type_ = "integer", json_path = ".status.counts.running"),
    printcolumn(name = "Idle", type_ = "integer", json_path = ".status.counts.idle"),
    printcolumn(name = "Hold", type_ = "integer", json_path = ".status.counts.held"),
    printcolumn(name = "Total", type_ = "integer", json_path = ".status.counts.total"),
    printcolumn(name = "Because", type_ = "string", json_path = ".status.because.reason"),
    printcolumn(name = "Suspended", type_ = "integer", json_path = ".status.counts.suspended", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Hold-Reason", type_ = "string", json_path = ".status.procs[?(@.status=='Held')].hold.reason", priority = 1),
    validation = Rule::new(rules::JOB_NAME).message(rules::JOB_NAME_MESSAGE),
    validation = Rule::new(rules::QUEUE).message(rules::QUEUE_MESSAGE),
    validation = Rule::new(rules::MENDING).message(rules::MENDING_MESSAGE),
)]
#[x_kube(validation = Rule::new(rules::MOUNT_NAMES).message(rules::MOUNT_NAMES_MESSAGE))]
#[x_kube(validation = Rule::new(rules::OVERRIDE_ENTRYPOINT).message(rules::OVERRIDE_ENTRYPOINT_MESSAGE))]
#[x_kube(validation = Rule::new(rules::EXECUTABLE_BROUGHT).message(rules::EXECUTABLE_BROUGHT_MESSAGE))]
#[x_kube(validation = Rule::new(rules::STDIN_BROUGHT).message(rules::STDIN_BROUGHT_MESSAGE))]
#[x_kube(validation = Rule::new(rules::OUTPUT_NOWHERE).message(rules::OUTPUT_NOWHERE_MESSAGE))]
#[x_kube(validation = Rule::new(rules::REMAP_NOWHERE).message(rules::REMAP_NOWHERE_MESSAGE))]
#[x_kube(validation = Rule::new(rules::WHEN_NOWHERE).message(rules::WHEN_NOWHERE_MESSAGE))]
#[x_kube(validation = Rule::new(rules::EVICT_NOWHERE).message(rules::EVICT_NOWHERE_MESSAGE))]
#[x_kube(validation = Rule::new(rules::CHECKPOINT_NOWHERE).message(rules::CHECKPOINT_NOWHERE_MESSAGE))]
#[x_kube(validation = Rule::new(rules::CHECKPOINT_NEVER).message(rules::CHECKPOINT_NEVER_MESSAGE))]
#[x_kube(validation = Rule::new(rules::REMAP_PATTERN).message(rules::REMAP_PATTERN_MESSAGE))]
#[x_kube(validation = Rule::new(rules::CHECKPOINT_HTTP).message(rules::CHECKPOINT_HTTP_MESSAGE))]
#[x_kube(validation = Rule::new(rules::S3_UNUSED).message(rules::S3_UNUSED_MESSAGE))]
#[x_kube(validation = Rule::new(rules::PRESERVE_UNUSED).message(rules::PRESERVE_UNUSED_MESSAGE))]
#[x_kube(validation = Rule::new(rules::FILES_UNUSED).message(rules::FILES_UNUSED_MESSAGE))]
#[x_kube(validation = Rule::new(rules::RETRY_MEMORY_ONE).message(rules::RETRY_MEMORY_ONE_MESSAGE))]
pub struct DockerUniverseJobSpec {
    /// The image that the job runs in (`docker_image`); without a tag, `latest`.
    #[schemars(length(min = 1, max = 1024))]
    #[x_kube(validation = Rule::new(rules::IMAGE_WHITESPACE).message(rules::IMAGE_WHITESPACE_MESSAGE))]
    #[x_kube(validation = Rule::new(rules::NO_CONTROL).message(rules::NO_CONTROL_MESSAGE))]
    pub image: String,
    /// When the image is pulled (`docker_pull_policy`); Kubernetes' default where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_pull_policy: Option<ImagePullPolicy>,
    /// Secrets of the job's namespace with credentials for the registry.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub image_pull_secrets: Vec<LocalReference>,
    /// The program to run: an absolute path in the image, a name that is found on the image's PATH, or `./name` of a file
    /// that `transferInput` brings. Absent: the image's own command runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    #[x_kube(validation = Rule::new(rules::EXECUTABLE).message(rules::EXECUTABLE_MESSAGE))]
    #[x_kube(validation = Rule::new(rules::NO_CONTROL).message(rules::NO_CONTROL_MESSAGE))]
    pub executable: Option<String>,
    /// The executable runs in place of the image's ENTRYPOINT; `true` where absent. With `false` the ENTRYPOINT runs, and
    /// the executable and its arguments are what it is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub override_entrypoint: Option<bool>,
    /// Arguments of the executable, each passed as it stands; no shell reads them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1024), inner(length(max = 65536), regex(pattern = rules::ARGUMENT_WITHOUT_NUL)))]
    #[x_kube(validation = Rule::new(rules::ARGUMENTS_SIZE).message(rules::ARGUMENTS_SIZE_MESSAGE))]
    pub arguments: Vec<String>,
    /// Environment of the job, beside `HTCondor`'s own variables.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 512))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    #[x_kube(validation = Rule::new(rules::ENVIRONMENT_SIZE).message(rules::ENVIRONMENT_SIZE_MESSAGE))]
    pub environment: Vec<EnvironmentVariable>,
    /// Cores to reserve (a weight, not a cap, as in `HTCondor`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new(rules::CPUS).message(rules::CPUS_MESSAGE))]
    pub request_cpus: Option<Quantity>,
    /// Memory to reserve, and the limit above which the job is held (34/102).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new(rules::MEMORY).message(rules::MEMORY_MESSAGE))]
    pub request_memory: Option<Quantity>,
    /// Scratch space to reserve, and the limit above which the job is held (34/104).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new(rules::DISK).message(rules::DISK_MESSAGE))]
    pub request_disk: Option<Quantity>,
    /// GPUs to reserve, of the resource that the installation names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1024))]
    pub request_gpus: Option<i64>,
    /// How many procs the job has; one where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<Queue>,
    /// Files in and out.
    #[serde(flatten)]
    pub files: Files,
    /// Retries, policies and limits on time.
    #[serde(flatten)]
    pub policy: Policy,
    /// `true` at creation: submitted on hold. Set later: held. The change from `true` to `false` releases.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hold: bool,
    /// Signal that asks the job to end (`kill_sig`); `SIGTERM` where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kill_sig: Option<Signal>,
    /// Seconds between that signal and SIGKILL (`job_max_vacate_time`); the chart's default where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 86_400))]
    pub max_vacate_time: Option<i64>,
    /// Seconds for which a job runs on while its node does not answer (`job_lease_duration`), 20 to 604800. Then it is
    /// ended there, and another attempt follows. Absent: no other attempt is begun until the end of this one is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new(rules::LEASE).message(rules::LEASE_MESSAGE))]
    pub lease_duration: Option<i64>,
    /// Who goes first among the jobs of a namespace that wait, the larger (`priority`); 0 where absent. A change holds for
    /// all procs of the job, as `condor_prio` does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<i32>,
    /// Name under which jobs are listed together (`batch_name`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    #[x_kube(validation = Rule::new(rules::NO_CONTROL).message(rules::NO_CONTROL_MESSAGE))]
    pub batch_name: Option<String>,
    /// Where the job may run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduling: Option<Scheduling>,
    /// Service account of the job's pods; its token is not mounted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub service_account_name: Option<String>,
    /// As whom the job runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security_context: Option<SecurityContext>,
    /// Volumes that the job mounts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub volumes: Vec<Volume>,
    /// Where they are mounted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["mountPath".into()]))]
    pub volume_mounts: Vec<VolumeMount>,
    /// When the pods of procs that are at their end go, two minutes later; what they came to stays in the status and the log.
    /// Absent: with the job, but for what is over the installation's bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remove_pods: Option<RemovePods>,
    /// Seconds after its end until the job is deleted with its pods; never where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 2_147_483_647i64))]
    pub ttl_seconds_after_finished: Option<i64>,
}

/// When pods go that are kept for their logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RemovePods {
    /// Those of procs that succeeded.
    OnSuccess,
    /// Those of all procs that are at their end, completed or removed.
    OnEnd,
}

/// When the image is pulled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[allow(missing_docs, reason = "Kubernetes' own words")]
pub enum ImagePullPolicy {
    Always,
    IfNotPresent,
    Never,
}

impl ImagePullPolicy {
    /// Kubernetes' word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Always => "Always",
            Self::IfNotPresent => "IfNotPresent",
            Self::Never => "Never",
        }
    }
}

/// A reference to an object in the job's own namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LocalReference {
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// One variable of the job's environment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(rules::ENVIRONMENT_VALUE).message(rules::ENVIRONMENT_VALUE_MESSAGE))]
pub struct EnvironmentVariable {
    /// Printable ASCII without `=`.
    #[schemars(length(min = 1, max = 256), regex(pattern = r"^[ -~]+$"))]
    #[x_kube(validation = Rule::new(rules::ENVIRONMENT_NAME).message(rules::ENVIRONMENT_NAME_MESSAGE))]
    #[x_kube(validation = Rule::new(rules::ENVIRONMENT_RESERVED).message(rules::ENVIRONMENT_RESERVED_MESSAGE))]
    pub name: String,
    /// The value, passed as it stands: `$(NAME)` is not expanded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32768))]
    #[x_kube(validation = Rule::new(rules::ENVIRONMENT_NUL).message(rules::ENVIRONMENT_NUL_MESSAGE))]
    pub value: Option<String>,
    /// Where the value comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_from: Option<ValueFrom>,
}

/// Source of a variable's value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(rules::VALUE_FROM).message(rules::VALUE_FROM_MESSAGE))]
pub struct ValueFrom {
    /// A key of a `ConfigMap` in the job's namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_key_ref: Option<KeyReference>,
    /// A key of a Secret in the job's namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_key_ref: Option<KeyReference>,
}

/// A key of an object in the job's namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KeyReference {
    /// The object's name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The key in it.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
    /// `true`: the variable is left out where the object or the key does not exist.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
}

/// Signals that a job can be asked to end with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[allow(missing_docs, reason = "the names of signal(7)")]
#[serde(rename_all = "UPPERCASE")]
pub enum Signal {
    SigHup,
    SigInt,
    SigQuit,
    SigAbrt,
    SigKill,
    SigUsr1,
    SigUsr2,
    SigAlrm,
    #[default]
    SigTerm,
    SigXCpu,
}

impl Signal {
    /// The name as `signal(7)` and `HTCondor` write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SigHup => "SIGHUP",
            Self::SigInt => "SIGINT",
            Self::SigQuit => "SIGQUIT",
            Self::SigAbrt => "SIGABRT",
            Self::SigKill => "SIGKILL",
            Self::SigUsr1 => "SIGUSR1",
            Self::SigUsr2 => "SIGUSR2",
            Self::SigAlrm => "SIGALRM",
            Self::SigTerm => "SIGTERM",
            Self::SigXCpu => "SIGXCPU",
        }
    }
}

impl DockerUniverseJobSpec {
    /// How many procs the job has of each of its items; of a job without items, how many it has.
    pub fn steps(&self) -> u32 {
        self.queue.as_ref().map_or(1, Queue::steps)
    }
}
