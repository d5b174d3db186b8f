//! What the operator and the starter say to each other, and nothing else.
//!
//! The operator speaks through the `job` container's command line ([`flags`], [`environment`]) and, while
//! the job runs, through files ([`control`]); the starter answers with one [`Record`] in the container's
//! termination message.
//!
//! Invariant: a record is at most [`Record::MAX_BYTES`] long, because the kubelet shares 4,096 bytes out
//! among the containers of a pod. A reader accepts records of a newer starter: unknown fields are ignored.

pub mod lease;
pub mod transfer;

use serde::{Deserialize, Serialize};

/// Names of the starter's subcommands and of `run`'s flags.
///
/// `starter run [flags] -- <executable> [arguments]` starts the user's command;
/// `starter install <file>` copies the starter itself there, for nodes without image volumes.
pub mod flags {
    /// Subcommand: start the user's command and account for it.
    pub const RUN: &str = "run";
    /// Subcommand: copy the starter's own binary to the path that follows.
    pub const INSTALL: &str = "install";
    /// The scratch directory, absolute; made with mode 0700 if it is not there; the command's cwd.
    pub const SCRATCH: &str = "--scratch";
    /// A directory whose content counts as scratch, beside the scratch directory's parent; may be given several times.
    pub const ALSO_COUNT: &str = "--also-count";
    /// Limit of all bytes in the scratch directory's parent and in what is counted with it, in bytes.
    pub const DISK_LIMIT: &str = "--disk-limit";
    /// The name of the soft-kill signal, e.g. `SIGTERM` (HTCondor's `kill_sig`).
    pub const KILL_SIGNAL: &str = "--kill-sig";
    /// Seconds between the soft-kill signal and SIGKILL (HTCondor's `job_max_vacate_time`).
    pub const MAX_VACATE_TIME: &str = "--max-vacate-time";
    /// Where the termination message goes; the kubelet's default is `/dev/termination-log`.
    pub const RECORD: &str = "--record";
    /// What the thread-count variables say ([`environment::THREAD_COUNTS`]); without it they are not set.
    pub const THREADS: &str = "--threads";
    /// Names of variables that the user gave, separated by commas, of those that are set only where the user did not
    /// ([`environment::THREAD_COUNTS`], [`environment::PLACES`]): the container's environment does not tell what is
    /// the user's and what the image's, which does not count.
    pub const GIVEN: &str = "--given";
    /// The directory of the [`control`](crate::control) files, absolute; without it there are none.
    pub const CONTROL: &str = "--control";
    /// Seconds for which a lease's token is good, at least 1, counted from when the starter first sees it if
    /// it is new then; without it there is no lease. Needs [`CONTROL`], and [`MAX_VACATE_TIME`]: where the lease ends a job,
    /// no kubelet may be there to kill it.
    pub const LEASE_DURATION: &str = "--lease-duration";
    /// The command's standard input: a file relative to the scratch directory, or an absolute path; `/dev/null` without.
    pub const INPUT: &str = "--input";
    /// The command's standard output: a file relative to the scratch directory, which the starter follows into its own;
    /// without, the command has the starter's. It may be the same file as [`ERROR`].
    pub const OUTPUT: &str = "--output";
    /// The command's standard error, likewise.
    pub const ERROR: &str = "--error";
    /// The directory of the [`handshake`](crate::transfer::handshake) files; without it nobody waits for the end.
    pub const HANDSHAKE: &str = "--handshake";
    /// The command is the image's own: read it from [`handshake`](crate::transfer::handshake), and put its ENTRYPOINT before
    /// what follows `--`; where nothing does, its CMD follows. Needs [`HANDSHAKE`].
    pub const IMAGE_COMMAND: &str = "--image-command";
    /// A command that exits with this code has its files saved, and is started again (`checkpoint_exit_code`). Needs
    /// [`HANDSHAKE`].
    pub const CHECKPOINT_EXIT_CODE: &str = "--checkpoint-exit-code";
    /// The record says what the job left in the scratch directory, for nobody fetches it.
    pub const TELL_LEFT: &str = "--tell-left";
}

/// What the operator says to a job that runs: files in the directory of [`flags::CONTROL`], which the
/// kubelet keeps up to date (a downward API volume of the pod's annotations).
///
/// From the moment the job is asked to end, whoever asks, the files are not heeded any more.
pub mod control {
    /// File: whether the job is suspended. It is while the content is [`SUSPENDED`], and is not when it is
    /// anything else or the file is missing.
    pub const SUSPEND: &str = "suspend";
    /// The whole content of [`SUSPEND`] for a job that is suspended.
    pub const SUSPENDED: &str = "true";
    /// File: the lease's [`Mark`](crate::lease::Mark). A token that differs from the one before renews the lease for as
    /// long as it is good ([`good_for`](crate::lease::good_for)); all else renews nothing. The first token is waited for
    /// as long as a new one is good.
    pub const LEASE: &str = "lease";
    /// What a file has beyond this many bytes is not looked at.
    pub const MAX_BYTES: u64 = 256;
}

/// Environment variables that carry text to the starter and are removed before the user's command starts, and those that
/// the starter sets for the command (`HTCondor`'s §2.3). A pod that named each of these would be half as large again,
/// and every write to it is paid by the whole cluster.
pub mod environment {
    /// Variables that tell libraries how many threads to start (`STARTER_NUM_THREADS_ENV_VARS`).
    pub const THREAD_COUNTS: [&str; 12] = [
        "OMP_NUM_THREADS",
        "CUBACORES",
        "GOMAXPROCS",
        "JULIA_NUM_THREADS",
        "MKL_NUM_THREADS",
        "NUMEXPR_NUM_THREADS",
        "OMP_THREAD_LIMIT",
        "OPENBLAS_NUM_THREADS",
        "PYTHON_CPU_COUNT",
        "ROOT_MAX_THREADS",
        "TF_LOOP_PARALLEL_ITERATIONS",
        "TF_NUM_THREADS",
    ];
    /// Variables that name the scratch directory where the user gave nothing else.
    pub const PLACES: [&str; 3] = ["HOME", "APPTAINER_CACHEDIR", "SINGULARITY_CACHEDIR"];
    /// Variables that always name it.
    pub const SCRATCH: [&str; 5] =
        ["_CONDOR_SCRATCH_DIR", "_CONDOR_JOB_IWD", "TMPDIR", "TEMP", "TMP"];
    /// Every variable whose name begins so is the operator's own, and is removed too.
    pub const PREFIX: &str = "_DOCKER_UNIVERSE_";
    /// Content of `.job.ad` in the scratch directory (a ClassAd in plain text).
    pub const JOB_AD: &str = "_DOCKER_UNIVERSE_JOB_AD";
    /// Content of `.machine.ad` in the scratch directory.
    pub const MACHINE_AD: &str = "_DOCKER_UNIVERSE_MACHINE_AD";
}

/// What became of the user's command, as the starter saw it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// Form of this record; [`Record::VERSION`].
    pub version: u32,
    /// When the user's command was started, milliseconds since the epoch; absent when it could not be started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<i64>,
    /// When the user's command ended, milliseconds since the epoch. Absent in a *provisional* record,
    /// which is written at the start and refreshed, so that it survives a SIGKILL of the starter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<i64>,
    /// How it ended; absent in a provisional record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// The kernel's out-of-memory killer ended processes of this container this often.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub oom_kills: u64,
    /// The starter was asked to end by a signal from outside the pod (its sender has no pid here):
    /// the node or the cluster stopped the job, whatever it exited with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped_by: Option<i32>,
    /// The starter asked the command to end because its lease was over. What became of it is the outcome.
    #[serde(default, skip_serializing_if = "is_false")]
    pub lease_expired: bool,
    /// How often the job was suspended.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub suspensions: u64,
    /// Milliseconds that the job was suspended in all, a suspension that goes on included.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub suspended_ms: u64,
    /// What it left at the top of its scratch directory that nobody fetches ([`flags::TELL_LEFT`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<Left>,
    /// Its command was started again so often after a checkpoint.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub checkpoints: u64,
    /// What it used so far.
    #[serde(default)]
    pub usage: Usage,
}

/// New and changed files at the top of a scratch directory that nobody fetches.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Left {
    /// How many.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The first five names in order, each at most 64 bytes and printable.
    pub names: Vec<String>,
}

/// How the user's command ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// It exited by itself with this code, 0..=255.
    Exited(i32),
    /// It died by this signal.
    Signalled(i32),
    /// It could not be started: the system's error number and one line of what was tried.
    NotStarted {
        /// `errno` of the attempt, e.g. 2 (ENOENT), 13 (EACCES), 8 (ENOEXEC).
        errno: i32,
        /// One line, lower-case, with the command quoted.
        message: String,
    },
    /// Its checkpoint could not be saved: one line why.
    CheckpointFailed(String),
    /// It was ended because its scratch directory outgrew its limit.
    OverDisk {
        /// Bytes found below the scratch directory.
        used: u64,
        /// The limit in bytes.
        limit: u64,
    },
}

/// What a job used. Zero where it could not be measured.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Usage {
    /// User CPU time of the command and its waited-for children, milliseconds.
    pub user_ms: u64,
    /// System CPU time, milliseconds.
    pub system_ms: u64,
    /// Peak memory of the container, bytes (cgroup v1 `memory.max_usage_in_bytes` or v2 `memory.peak`; the
    /// largest resident set of a child where neither can be read).
    pub peak_memory: u64,
    /// Largest resident set of a single process, bytes (`ru_maxrss`).
    pub resident: u64,
    /// Bytes in the scratch directory when last looked at.
    pub scratch: u64,
    /// Files in the scratch directory when last looked at.
    pub files: u64,
    /// Bytes received on the pod's network interfaces other than `lo`.
    pub received: u64,
    /// Bytes sent.
    pub sent: u64,
}

impl Record {
    /// The form this crate writes.
    pub const VERSION: u32 = 1;
    /// Longest record in bytes.
    pub const MAX_BYTES: usize = 1024;

    /// The record as the starter writes it: one line of JSON within [`Record::MAX_BYTES`]. A message that
    /// would make it longer is cut at a character's border.
    pub fn to_message(&self) -> String {
        let mut shorter = self.clone();
        loop {
            let text = serde_json::to_string(&shorter).unwrap_or_default();
            let Some(excess) = text.len().checked_sub(Self::MAX_BYTES).filter(|excess| *excess > 0)
            else {
                return text;
            };
            let message = match &mut shorter.outcome {
                Some(Outcome::NotStarted { message, .. } | Outcome::CheckpointFailed(message)) => {
                    Some(message)
                }
                _ => None,
            };
            match message.filter(|message| !message.is_empty()) {
                // Escaping can only make a byte longer, so cutting the excess is enough once it is cut from the raw text.
                Some(message) => {
                    message.truncate(
                        message.floor_char_boundary(message.len().saturating_sub(excess)),
                    );
                }
                None => match shorter.left.as_mut().and_then(|left| left.names.pop()) {
                    Some(_) => {}
                    None => return text, // cannot be: all the rest are numbers
                },
            }
        }
    }

    /// Reads a termination message. `None` for anything that is not a record: the kubelet's own words, a
    /// record cut short, text that the user's program wrote to the termination log.
    pub fn from_message(message: &str) -> Option<Self> {
        let message = message.trim();
        if !message.starts_with('{') {
            return None; // serde would take a JSON array for a struct's fields in order
        }
        let record: Self = serde_json::from_str(message).ok()?;
        (record.version >= 1).then_some(record)
    }
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde's skip_serializing_if passes a reference"
)]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde's skip_serializing_if passes a reference"
)]
fn is_false(condition: &bool) -> bool {
    !condition
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_comes_back_as_it_was_written() {
        let record = Record {
            version: Record::VERSION,
            started: Some(1),
            ended: Some(2),
            outcome: Some(Outcome::Exited(255)),
            oom_kills: 3,
            stopped_by: Some(15),
            lease_expired: true,
            suspensions: 4,
            suspended_ms: 6,
            left: None,
            checkpoints: 0,
            usage: Usage { user_ms: 5, peak_memory: 7, ..Usage::default() },
        };
        assert_eq!(Record::from_message(&record.to_message()), Some(record));
    }

    #[test]
    fn the_largest_numbers_fit() {
        let most = u64::MAX;
        let record = Record {
            version: u32::MAX,
            started: Some(i64::MIN),
            ended: Some(i64::MIN),
            outcome: Some(Outcome::OverDisk { used: most, limit: most }),
            oom_kills: most,
            stopped_by: Some(i32::MIN),
            lease_expired: true,
            suspensions: most,
            suspended_ms: most,
            left: Some(Left { files: most, bytes: most, names: vec!["x".repeat(64); 5] }),
            checkpoints: 0,
            usage: Usage {
                user_ms: most,
                system_ms: most,
                peak_memory: most,
                resident: most,
                scratch: most,
                files: most,
                received: most,
                sent: most,
            },
        };
        let text = record.to_message();
        assert!(text.len() <= Record::MAX_BYTES, "{} bytes", text.len());
        assert_eq!(Record::from_message(&text), Some(record));
    }

    #[test]
    fn what_did_not_happen_is_not_written() {
        let text = Record { version: Record::VERSION, ..Record::default() }.to_message();
        for field in ["stoppedBy", "leaseExpired", "suspen", "oomKills"] {
            assert!(!text.contains(field), "{text}");
        }
        let happened =
            Record { lease_expired: true, suspensions: 1, suspended_ms: 2, ..Record::default() };
        let text = happened.to_message();
        for part in [r#""leaseExpired":true"#, r#""suspensions":1"#, r#""suspendedMs":2"#] {
            assert!(text.contains(part), "no {part} in {text}");
        }
    }

    #[test]
    fn a_long_message_is_cut_and_still_a_record() {
        let record = Record {
            version: Record::VERSION,
            outcome: Some(Outcome::NotStarted { errno: 2, message: "é\"".repeat(2000) }),
            ..Record::default()
        };
        let text = record.to_message();
        assert!(text.len() <= Record::MAX_BYTES, "{} bytes", text.len());
        let read = Record::from_message(&text).unwrap();
        assert!(matches!(read.outcome, Some(Outcome::NotStarted { errno: 2, .. })));
    }

    #[test]
    fn what_is_not_a_record_is_not_read_as_one() {
        for text in ["", "{}", "Error: boom", "{\"version\":1,\"star", "{\"version\":\"x\"}", "[1]"]
        {
            assert_eq!(Record::from_message(text), None, "{text}");
        }
    }
}
