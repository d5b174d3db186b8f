//! Files in and out of a job: its standard streams, what is brought into the scratch directory, and where outputs go.
//!
//! Invariant: a source or a destination names exactly one place, and credentials only by the name of a Secret in the
//! job's own namespace.

use crate::{job::LocalReference, rules};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `HTCondor`'s file commands (§1.3, §1.4 and §2.8 of the semantics).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Files {
    /// Standard input: a file in the scratch directory that one of `transferInput` brings, or an absolute path in the
    /// image; empty where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    #[x_kube(validation = Rule::new(rules::STDIN).message(rules::STDIN_MESSAGE))]
    #[x_kube(validation = Rule::new(rules::NO_CONTROL).message(rules::NO_CONTROL_MESSAGE))]
    pub input: Option<String>,
    /// File in the scratch directory for the standard output, sent like other outputs; `kubectl logs` shows it as well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    #[x_kube(validation = Rule::new(rules::SCRATCH_FILE).message(rules::SCRATCH_FILE_MESSAGE))]
    #[x_kube(validation = Rule::new(rules::NO_CONTROL).message(rules::NO_CONTROL_MESSAGE))]
    pub output: Option<String>,
    /// The same for the standard error; it may be the same file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    #[x_kube(validation = Rule::new(rules::SCRATCH_FILE).message(rules::SCRATCH_FILE_MESSAGE))]
    #[x_kube(validation = Rule::new(rules::NO_CONTROL).message(rules::NO_CONTROL_MESSAGE))]
    pub error: Option<String>,
    /// What is brought into the scratch directory before the job begins (`transfer_input_files`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(validation = Rule::new(rules::INLINE_SIZE).message(rules::INLINE_SIZE_MESSAGE))]
    pub transfer_input: Vec<TransferInput>,
    /// The most that all inputs may have, in MiB (`max_transfer_input_mb`); more holds the job (32).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000_000))]
    pub max_transfer_input_mb: Option<i64>,
    /// What is sent when the job has ended: files and directories in the scratch directory, with `*`, `?` and `[…]`
    /// (`transfer_output_files`). Absent: each new or changed file at its top. An empty list: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 1024)))]
    #[x_kube(validation = Rule::new(rules::SCRATCH_FILES).message(rules::SCRATCH_FILES_MESSAGE))]
    pub transfer_output: Option<Vec<String>>,
    /// Other names or places for single outputs (`transfer_output_remaps`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub transfer_output_remaps: Vec<OutputRemap>,
    /// `ON_EXIT` where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when_to_transfer_output: Option<WhenToTransferOutput>,
    /// Where outputs go (`output_destination`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_destination: Option<Box<Place>>,
    /// The most that all outputs may have, in MiB (`max_transfer_output_mb`); more holds the job (33).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000_000))]
    pub max_transfer_output_mb: Option<i64>,
    /// A path keeps its directories, both ways (`preserve_relative_paths`); otherwise a file goes by its last part.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub preserve_relative_paths: bool,
    /// Seconds for which the outputs of a job are kept where they cannot be sent; released within them, they are sent
    /// again without running the job again. The chart's default where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 604_800))]
    pub transfer_retention: Option<i64>,
    /// A job that exits with this code has its files saved and its command started again (`checkpoint_exit_code`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 255))]
    pub checkpoint_exit_code: Option<i32>,
    /// What is saved then (`transfer_checkpoint_files`); absent: what `transferOutput` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 1024)))]
    #[x_kube(validation = Rule::new(rules::SCRATCH_FILES).message(rules::SCRATCH_FILES_MESSAGE))]
    pub transfer_checkpoint: Option<Vec<String>>,
    /// Where checkpoints go (`checkpoint_destination`, or `HTCondor`'s SPOOL); job and proc are added.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint_destination: Option<Box<Place>>,
    /// The S3 service of all `s3://` URLs that name no other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub s3: Option<S3Service>,
}

/// One thing to bring.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(rules::INPUT_SOURCE).message(rules::INPUT_SOURCE_MESSAGE))]
#[x_kube(validation = Rule::new(rules::INLINE_NAME).message(rules::INLINE_NAME_MESSAGE))]
#[x_kube(validation = Rule::new(rules::URL_OPTIONS).message(rules::URL_OPTIONS_MESSAGE))]
pub struct TransferInput {
    /// Its path in the scratch directory; absent: the source's own name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    #[x_kube(validation = Rule::new(rules::SCRATCH_FILE).message(rules::SCRATCH_FILE_MESSAGE))]
    #[x_kube(validation = Rule::new(rules::NO_CONTROL).message(rules::NO_CONTROL_MESSAGE))]
    pub name: Option<String>,
    /// The text itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 65_536))]
    pub text: Option<String>,
    /// The bytes themselves, in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 65_536), regex(pattern = r"^[A-Za-z0-9+/\s]*=?=?\s*$"))]
    pub base64: Option<String>,
    /// A `ConfigMap` of the job's namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map: Option<KeyedReference>,
    /// A Secret of the job's namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<KeyedReference>,
    /// A path in a claim of the job's namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persistent_volume_claim: Option<ClaimPath>,
    /// `http://`, `https://` or `s3://bucket/key`; with a slash at its end an S3 key is a directory's content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048), regex(pattern = rules::URL))]
    #[x_kube(validation = Rule::new(rules::URL_USER).message(rules::URL_USER_MESSAGE))]
    #[x_kube(validation = Rule::new(rules::S3_KEY).message(rules::S3_KEY_MESSAGE))]
    pub url: Option<String>,
    /// A Secret of the job's namespace whose keys are HTTP headers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub headers_from: Option<LocalReference>,
    /// The S3 service of this URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub s3: Option<S3Service>,
}

/// Where outputs go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(rules::PLACE).message(rules::PLACE_MESSAGE))]
#[x_kube(validation = Rule::new(rules::URL_OPTIONS).message(rules::URL_OPTIONS_MESSAGE))]
pub struct Place {
    /// A directory in a claim of the job's namespace; it is made where it is not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persistent_volume_claim: Option<ClaimPath>,
    /// `http://`, `https://` or `s3://bucket/prefix`, before which the files' names go. `$(ClusterId)` and `$(ProcId)` are
    /// replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048), regex(pattern = rules::URL))]
    #[x_kube(validation = Rule::new(rules::URL_USER).message(rules::URL_USER_MESSAGE))]
    #[x_kube(validation = Rule::new(rules::S3_KEY).message(rules::S3_KEY_MESSAGE))]
    pub url: Option<String>,
    /// A Secret of the job's namespace whose keys are HTTP headers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub headers_from: Option<LocalReference>,
    /// The S3 service of this URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub s3: Option<S3Service>,
}

/// Another name, or another place, for one output.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(rules::REMAP).message(rules::REMAP_MESSAGE))]
#[x_kube(validation = Rule::new(rules::REMAP_FILE).message(rules::REMAP_FILE_MESSAGE))]
#[x_kube(validation = Rule::new(rules::URL_OPTIONS).message(rules::URL_OPTIONS_MESSAGE))]
pub struct OutputRemap {
    /// The output's name.
    #[schemars(length(min = 1, max = 1024))]
    #[x_kube(validation = Rule::new(rules::SCRATCH_FILE).message(rules::SCRATCH_FILE_MESSAGE))]
    pub name: String,
    /// Its name at the destination.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    #[x_kube(validation = Rule::new(rules::SCRATCH_FILE).message(rules::SCRATCH_FILE_MESSAGE))]
    pub to: Option<String>,
    /// This very file in a claim of the job's namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persistent_volume_claim: Option<ClaimPath>,
    /// This very URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048), regex(pattern = rules::URL))]
    #[x_kube(validation = Rule::new(rules::URL_USER).message(rules::URL_USER_MESSAGE))]
    #[x_kube(validation = Rule::new(rules::S3_KEY).message(rules::S3_KEY_MESSAGE))]
    pub url: Option<String>,
    /// A Secret of the job's namespace whose keys are HTTP headers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub headers_from: Option<LocalReference>,
    /// The S3 service of this URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub s3: Option<S3Service>,
}

/// An object of the job's namespace, or one key of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeyedReference {
    /// The object's name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The key in it; absent: each key is a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    pub key: Option<String>,
}

/// A path in a claim.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClaimPath {
    /// The claim's name.
    #[schemars(length(min = 1, max = 253))]
    pub claim_name: String,
    /// Relative to the volume. Of a source, a directory with a slash at its end stands for its content; absent: everything.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 1024))]
    #[x_kube(validation = Rule::new(rules::CLAIM_PATH).message(rules::CLAIM_PATH_MESSAGE))]
    #[x_kube(validation = Rule::new(rules::NO_CONTROL).message(rules::NO_CONTROL_MESSAGE))]
    pub path: String,
}

/// An S3 service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct S3Service {
    /// Its address; Amazon's where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024), regex(pattern = r"^https?://[^/@?#\s]+/?$"))]
    pub endpoint: Option<String>,
    /// Its region; `us-east-1` where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[-a-z0-9]+$"))]
    pub region: Option<String>,
    /// A Secret of the job's namespace with the keys `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and, where there is one,
    /// `AWS_SESSION_TOKEN`; absent: the pod's own identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<LocalReference>,
}

/// When outputs are sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum WhenToTransferOutput {
    /// When the job ended by itself.
    #[default]
    OnExit,
    /// Also when it is stopped: then to `checkpointDestination`, and the next attempt begins with them.
    OnExitOrEvict,
    /// When it exited with `successExitCode`; otherwise `output` and `error` only.
    OnSuccess,
}
