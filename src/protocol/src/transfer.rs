//! Files in, files out: what the operator tells the program that moves them, and what that program tells.
//!
//! `transfer prepare` runs in the init container `prepare` and follows a [`PreparePlan`]; `transfer send` runs beside the
//! job in the container `transfer` and follows a [`SendPlan`]. A plan is JSON, cut into pieces for environment variables
//! ([`to_variables`], [`from_variables`]). Each tells where it is in [`Report`]s: one line of JSON on its standard
//! output for each change, and the last one as the container's termination message.
//!
//! Invariant: neither a plan nor a report has credentials in it: a plan names directories in which they are mounted, and
//! a URL in a report has lost its user, password and query.

mod report;

pub use report::{Failure, Report, State};
use serde::{Deserialize, Serialize};

/// Each variable that carries a piece of a plan begins so; the number of the piece follows, from 0.
pub const PLAN: &str = "_DOCKER_UNIVERSE_PLAN_";
/// Longest piece in bytes: the kernel takes at most 128 KiB for one variable.
const PIECE: usize = 64 << 10;

/// Names of files in the handshake directory, through which `prepare`, the starter and `transfer` find each other.
pub mod handshake {
    /// The directory, in the volume of the scratch directory and beside it.
    pub const DIRECTORY: &str = ".transfer";
    /// The starter holds an exclusive `flock` on it from before [`STARTED`] is there until it ends, however it ends.
    pub const LOCK: &str = "lock";
    /// Is there once the lock is held.
    pub const STARTED: &str = "started";
    /// The starter's final [`Record`](crate::Record), written (by a rename) before the lock is dropped; absent where the
    /// starter was killed.
    pub const OUTCOME: &str = "outcome";
    /// JSON: [`Brought`](super::Brought), what `prepare` brought into the scratch directory.
    pub const BROUGHT: &str = "brought";
    /// JSON: [`ImageCommand`](super::ImageCommand).
    pub const IMAGE_COMMAND: &str = "image-command";
    /// Is there where `prepare` restored a checkpoint: the standard streams go on in the files that it brought.
    pub const RESTORED: &str = "restored";
    /// The starter asks for a checkpoint by writing its number (from 1, in this attempt) here, by a rename.
    pub const CHECKPOINT_WANTED: &str = "checkpoint-wanted";
    /// `transfer` answers by writing the same number here, by a rename, once the checkpoint is whole at its destination.
    pub const CHECKPOINT_SAVED: &str = "checkpoint-saved";
    /// `transfer` writes here, by a rename, the same number, a space and why, once it has given the checkpoint up.
    pub const CHECKPOINT_FAILED: &str = "checkpoint-failed";
}

/// File in the control directory: a number. Each change of it, while outputs are kept, has them sent again.
pub const RESEND: &str = "resend";

/// File in the control directory: why the job is about to be stopped, one of [`stop`]'s words and, after a space, when it was
/// written. Without it the job was evicted or vacated.
pub const STOP: &str = "stop";

/// The words of [`STOP`].
pub mod stop {
    /// It is held: its standard streams explain it.
    pub const HOLD: &str = "hold";
    /// It is removed: nobody wants anything of it.
    pub const REMOVE: &str = "remove";
}

/// What `transfer prepare` does, in this order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PreparePlan {
    /// Copy this file (the starter) to that one, for nodes without image volumes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub install: Option<(String, String)>,
    /// Absolute; made with mode 0700.
    pub scratch: String,
    /// Absolute; made with mode 0700.
    pub handshake: String,
    /// Find out the image's own command.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageQuestion>,
    /// Take the newest whole checkpoint from here first, if there is one: then inputs that are there already are left.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restore: Option<Place>,
    /// What to bring.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<Input>,
    /// Keep the directories of a source's relative path (`preserve_relative_paths`).
    pub preserve_relative_paths: bool,
    /// Bytes that all inputs may have; more is hold 32.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_input_bytes: Option<u64>,
    /// This file in the scratch directory is the job's program: it is made executable, and a script must begin with `#!`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub executable: Option<String>,
    /// This file in the scratch directory has to be there when all is brought: the job's standard input.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stdin: Option<String>,
    /// Bytes that the scratch volume may hold (`requestDisk`), to say it where it fills.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_limit: Option<u64>,
    /// Seconds for which transient faults are retried.
    pub patience: u64,
}

/// Which image's command is to be found out, and with what.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ImageQuestion {
    /// The reference as the user wrote it.
    pub image: String,
    /// Directories with a `.dockerconfigjson` (or an older `.dockercfg`) each, that may be missing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pull_secrets: Vec<String>,
    /// Registries that speak plain HTTP, `host:port`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub plain_http: Vec<String>,
    /// Registries in whose place others are asked first: (registry, mirror's `host:port`).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mirrors: Vec<(String, String)>,
}

/// What an image runs by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ImageCommand {
    /// Digest of the manifest that was asked for (of the index, where it is one), `sha256:…`.
    pub digest: String,
    /// Digest of the manifest for this machine; the same where there is no index.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub manifest: String,
    /// ENTRYPOINT.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub entrypoint: Vec<String>,
    /// CMD.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// The two are too long for a report and left out of it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub too_long: bool,
}

/// One thing to bring.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Input {
    /// Its relative path in the scratch directory; absent: the source's own name. For a directory's content it is the
    /// directory that it goes to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Where it comes from.
    pub source: Source,
}

/// Where an input comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Source {
    /// The text itself; the input has a name.
    Text(String),
    /// The bytes in base64; the input has a name.
    Base64(String),
    /// A place.
    Place(Place),
}

/// A place outside the pod, to read from or to write to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Place {
    /// Something in a mounted volume.
    Volume {
        /// Where the volume is mounted; nothing outside is read or written, whatever links say.
        root: String,
        /// Relative path in it. A directory is taken with its name; with a slash at its end, or empty, its content is.
        path: String,
        /// How a message names it, e.g. `ConfigMap 'x'`.
        what: String,
    },
    /// `http://`, `https://` or `s3://bucket/key`.
    Url {
        /// An S3 key that ends with a slash, or none, is a directory's content. As a destination it is the prefix under
        /// which the files' names go.
        url: String,
        /// For http: a directory with one file for each header, its name being the header's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        headers: Option<String>,
        /// For S3.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        s3: Option<S3>,
    },
}

/// An S3 service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct S3 {
    /// `https://…` or `http://…`; absent: Amazon's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Absent: `us-east-1`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// A directory with the files `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and perhaps `AWS_SESSION_TOKEN`; absent: the
    /// pod's own identity (web identity or container credentials, by the usual variables).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials: Option<String>,
}

/// What `prepare` brought into the scratch directory, so that it is not taken for an output.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Brought {
    /// Each entry at the top of the scratch directory as it was when all was brought.
    pub entries: Vec<Entry>,
}

/// An entry at the top of the scratch directory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Entry {
    /// Its name; bytes that are not UTF-8 are escaped as `\xNN`, and a backslash as `\\`.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// Last change, nanoseconds since the epoch.
    pub modified: i64,
}

/// What `transfer send` does when the job has ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SendPlan {
    /// Absolute.
    pub scratch: String,
    /// Absolute.
    pub handshake: String,
    /// Absolute: the directory of the [`RESEND`] file.
    pub control: String,
    /// Number of the attempt, from 0.
    pub attempt: u32,
    /// The file of the standard output, relative to scratch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
    /// The file of the standard error, relative to scratch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// `transferOutput`: paths relative to scratch, which may have `*`, `?` and `[…]`; absent: new and changed files at the
    /// top of scratch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files: Option<Vec<String>>,
    /// Where everything goes that has no place of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination: Option<Place>,
    /// `transferOutputRemaps`: a file's name, as it would be at the destination, and what becomes of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub remaps: Vec<(String, Remap)>,
    /// Keep the directories of a relative path (`preserve_relative_paths`); without, a file goes by its last part.
    pub preserve_relative_paths: bool,
    /// `whenToTransferOutput`.
    pub when: When,
    /// Exit code that is a success.
    pub success_exit_code: i32,
    /// Bytes that all outputs may have; more is hold 33.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_output_bytes: Option<u64>,
    /// Where checkpoints go, and the files of an attempt that is stopped; its end names job and proc already.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<Place>,
    /// `transferCheckpoint`: paths as in `files`; absent: as `files`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoint_files: Option<Vec<String>>,
    /// Seconds for which transient faults are retried.
    pub patience: u64,
    /// Seconds for which the outputs are kept where they could not be sent.
    pub retention: u64,
}

/// Another name, or another place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Remap {
    /// A relative path at the destination.
    Name(String),
    /// This very place, the file's name included.
    Place(Place),
}

/// `whenToTransferOutput`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum When {
    /// When the job ended by itself.
    #[default]
    OnExit,
    /// Also when it was stopped; then to the checkpoint's place.
    OnExitOrEvict,
    /// When it ended with the success code; else its standard streams only.
    OnSuccess,
}

/// Cuts a plan into pieces for environment variables: (name, value).
pub fn to_variables<T: Serialize>(plan: &T) -> Vec<(String, String)> {
    let text = serde_json::to_string(plan).unwrap_or_default();
    let mut rest = text.as_str();
    let mut variables = Vec::new();
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(rest.floor_char_boundary(PIECE));
        variables.push((format!("{PLAN}{}", variables.len()), piece.to_owned()));
        rest = after;
    }
    variables
}

/// Puts a plan together again.
///
/// # Errors
/// One line, where there is no plan or it cannot be read.
pub fn from_variables<T: for<'a> Deserialize<'a>>(
    variable: impl Fn(&str) -> Option<String>,
) -> Result<T, String> {
    let pieces: String = (0..).map_while(|number| variable(&format!("{PLAN}{number}"))).collect();
    if pieces.is_empty() {
        return Err(format!("the variable '{PLAN}0' with the plan is missing"));
    }
    serde_json::from_str(&pieces).map_err(|error| format!("the plan cannot be read: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_comes_back_from_its_pieces() {
        let text = "é\"\n$(x)".repeat(30_000);
        let plan = PreparePlan {
            scratch: "/scratch/work".into(),
            inputs: vec![Input { name: Some("a".into()), source: Source::Text(text) }],
            ..PreparePlan::default()
        };
        let variables = to_variables(&plan);
        assert!(variables.len() > 3 && variables.iter().all(|(_, piece)| piece.len() <= PIECE));
        let read = from_variables(|name| {
            variables.iter().find(|(known, _)| known == name).map(|(_, piece)| piece.clone())
        });
        assert_eq!(read, Ok(plan));
        assert!(from_variables::<PreparePlan>(|_| None).is_err());
    }
}
