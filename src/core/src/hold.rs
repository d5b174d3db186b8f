//! `HTCondor`'s hold codes and the words that go with them (§3.1 of the semantics), in one place.
//!
//! Invariant: what the execution side holds for has the prefix `Error from <slot>@<host>: ` (§3.2); what the user or the
//! queue holds for has none. A reason is one line.

use duj_api::status::Hold;

/// Held by the user.
pub const USER_REQUEST: i32 = 1;
/// The job's process could not be made.
pub const FAILED_TO_CREATE_PROCESS: i32 = 6;
/// Submitted on hold.
pub const SUBMITTED_ON_HOLD: i32 = 15;
/// The job outgrew a limit: subcode [`MEMORY`] or [`DISK`].
pub const JOB_OUT_OF_RESOURCES: i32 = 34;
/// The image cannot be had.
pub const INVALID_DOCKER_IMAGE: i32 = 35;
/// A transfer of outputs failed.
pub const TRANSFER_OUTPUT: i32 = 12;
/// A transfer of inputs failed.
pub const TRANSFER_INPUT: i32 = 13;
/// The inputs are larger than allowed.
pub const INPUT_TOO_LARGE: i32 = 32;
/// The outputs are larger than allowed.
pub const OUTPUT_TOO_LARGE: i32 = 33;
/// A checkpoint could not be saved.
pub const CHECKPOINT_FAILED: i32 = 36;
/// Subcode: memory.
pub const MEMORY: i32 = 102;
/// Subcode: scratch.
pub const DISK: i32 = 104;

/// A policy of the job.
pub const JOB_POLICY: i32 = 3;
/// A policy of the job that says nothing: here one that cannot be read.
pub const JOB_POLICY_UNDEFINED: i32 = 5;
/// A policy of the installation.
pub const SYSTEM_POLICY: i32 = 26;
/// `allowedJobDuration`.
pub const JOB_DURATION_EXCEEDED: i32 = 46;
/// `allowedExecuteDuration`.
pub const JOB_EXECUTE_EXCEEDED: i32 = 47;

/// `allowed` is in seconds.
pub fn job_duration_exceeded(allowed: i64) -> Hold {
    let allowed = short_time(allowed);
    hold(JOB_DURATION_EXCEEDED, 0, format!("The job exceeded allowed job duration of {allowed}"))
}

/// `allowed` is in seconds.
pub fn execute_duration_exceeded(allowed: i64) -> Hold {
    let allowed = short_time(allowed);
    hold(JOB_EXECUTE_EXCEEDED, 0, format!("The job exceeded allowed execute duration of {allowed}"))
}

/// A policy cannot be read. This reason has several lines, the last with a caret under the place; the log has it in one.
pub fn unreadable_policy(message: String) -> Hold {
    Hold { code: JOB_POLICY_UNDEFINED, subcode: 0, reason: message, stopping: false }
}

/// `HTCondor`'s `format_time_short`: `D+HH:MM:SS` without what is zero in front, but never less than `MM:SS`.
fn short_time(seconds: i64) -> String {
    let (days, hours) = (seconds / 86_400, seconds / 3600 % 24);
    let (minutes, seconds) = (seconds / 60 % 60, seconds % 60);
    match (days, hours) {
        (0, 0) => format!("{minutes:02}:{seconds:02}"),
        (0, _) => format!("{hours}:{minutes:02}:{seconds:02}"),
        _ => format!("{days}+{hours:02}:{minutes:02}:{seconds:02}"),
    }
}

/// A hold that is in force.
pub fn hold(code: i32, subcode: i32, reason: impl Into<String>) -> Hold {
    let reason: String = reason.into();
    let reason = crate::userlog::Line::new(&reason).as_str().to_owned();
    Hold { code, subcode, reason, stopping: false }
}

/// Held by a person; `by` as they name themselves.
pub fn by_user(reason: Option<&str>, subcode: i32, by: Option<&str>) -> Hold {
    hold(USER_REQUEST, subcode, reason.map_or_else(|| via("condor_hold", by), str::to_owned))
}

/// `HTCondor`'s words for a command given by a person.
pub fn via(command: &str, by: Option<&str>) -> String {
    by.map_or_else(|| format!("via {command}"), |user| format!("via {command} (by user {user})"))
}

/// `hold: true` at creation.
pub fn submitted() -> Hold {
    hold(SUBMITTED_ON_HOLD, 0, "submitted on hold at user's request")
}

/// `limit` is in MiB, `peak` in bytes, 0 where unknown.
pub fn out_of_memory(limit: i64, peak: u64) -> Hold {
    let peak = peak.div_ceil(1 << 20);
    let measured = if peak > 0 { format!(" (peak {peak} Mb)") } else { String::new() };
    hold(
        JOB_OUT_OF_RESOURCES,
        MEMORY,
        format!(
            "Docker job has gone over memory limit of {limit} Mb{measured}. Consider increasing requestMemory"
        ),
    )
}

/// Both in bytes.
pub fn out_of_disk(used: u64, limit: u64) -> Hold {
    let kib = |bytes: u64| bytes.div_ceil(1024);
    hold(
        JOB_OUT_OF_RESOURCES,
        DISK,
        format!(
            "Job has exceeded allocated disk ({} KiB used of {} KiB in its scratch directory). Consider increasing the value of requestDisk.",
            kib(used.max(limit)),
            kib(limit)
        ),
    )
}

/// A limit on scratch that neither the job nor the installation gave (a `LimitRange`), in the kubelet's words.
pub fn over_foreign_disk_limit(message: &str) -> Hold {
    let text = format!(
        "Job has exceeded allocated disk: {message} Consider increasing the value of requestDisk."
    );
    hold(JOB_OUT_OF_RESOURCES, DISK, text)
}

/// The starter could not start the command.
pub fn not_started(errno: i32, message: &str) -> Hold {
    hold(FAILED_TO_CREATE_PROCESS, errno, message)
}

/// A checkpoint could not be saved (§2.8).
pub fn checkpoint_failed(message: &str) -> Hold {
    hold(CHECKPOINT_FAILED, -1, format!("Starter failed to upload checkpoint: {message}"))
}

/// The runtime could not start the container.
pub fn start_error(message: &str) -> Hold {
    hold(FAILED_TO_CREATE_PROCESS, 0, format!("Error running docker job: {message}"))
}

/// The image cannot be had, in the runtime's words.
pub fn image(image: &str, message: &str) -> Hold {
    hold(INVALID_DOCKER_IMAGE, 0, format!("Cannot pull image {image} {message}"))
}

/// How the reason of such a hold begins.
const NO_ITEMS: &str = "Error reading queue.items: ";

/// The items of the job's `queue` cannot be had, or make no procs.
pub fn no_items(message: &str) -> Hold {
    hold(FAILED_TO_CREATE_PROCESS, 0, format!("{NO_ITEMS}{message}"))
}

/// The API server does not take the pod, or the pod cannot be made from the job.
pub fn refused(message: &str) -> Hold {
    hold(FAILED_TO_CREATE_PROCESS, 0, format!("Error creating the job's pod: {message}"))
}

/// Whether the items that are missing were the fault.
pub fn is_for_items(hold: &Hold) -> bool {
    hold.code == FAILED_TO_CREATE_PROCESS && hold.reason.starts_with(NO_ITEMS)
}

/// Whether a mended job goes on by itself: any code but the user's own.
pub fn is_fault(hold: &Hold) -> bool {
    hold.code != USER_REQUEST && hold.code != SUBMITTED_ON_HOLD
}

/// Whether the execution side holds, not a person or a policy.
pub fn is_of_execution(hold: &Hold) -> bool {
    !matches!(
        hold.code,
        USER_REQUEST
            | SUBMITTED_ON_HOLD
            | JOB_POLICY
            | JOB_POLICY_UNDEFINED
            | SYSTEM_POLICY
            | JOB_DURATION_EXCEEDED
            | JOB_EXECUTE_EXCEEDED
    )
}

/// `Error from <slot>: <message>`, for what the execution side holds for.
pub fn from_slot(slot: &str, hold: Hold) -> Hold {
    let Hold { code, subcode, reason, stopping } = hold;
    let reason = crate::userlog::Line::new(&format!("Error from {slot}: {reason}"));
    Hold { code, subcode, reason: reason.as_str().to_owned(), stopping }
}

/// The message without its prefix, for event 021, which names the slot itself.
pub fn without_prefix<'a>(slot: &str, reason: &'a str) -> &'a str {
    reason
        .strip_prefix("Error from ")
        .and_then(|rest| rest.strip_prefix(slot))
        .and_then(|rest| rest.strip_prefix(": "))
        .unwrap_or(reason)
}
