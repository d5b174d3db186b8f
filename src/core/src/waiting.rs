//! Why a pod that has not ended does not run its job yet, and whether waiting can help.
//!
//! Invariant: the user's own image, configuration and start errors can hold the job; the operator's own image never does.

use crate::{facts::PodFacts, fate::concerns_starter, hold, settings::Settings};
use duj_api::{
    condition::Reason,
    names,
    status::{Because, Hold},
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// Seconds that a missing `ConfigMap`, Secret or volume is waited for: what `kubectl apply` of a folder may bring next. A
/// kubelet tries a mount again after 0.5, 1, 2, 4, 8 and 16 s: what comes within 15 s is found before this is over.
pub const CONFIGURATION_PATIENCE: i64 = 30;

/// What a waiting pod means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// It goes on by itself, or once somebody helps: reason and one sentence.
    For(Reason, String),
    /// Hopeless, or borne for so many seconds: then the job is held.
    Faulty {
        /// While it is borne.
        reason: Reason,
        /// See `reason`.
        message: String,
        /// Seconds; 0 is at once.
        patience: i64,
        /// Then.
        hold: Hold,
    },
    /// The operator's own image volume does not work on that node; the other delivery may.
    StarterFailed(String),
    /// The pod was made with another image of the operator, which cannot be pulled; the one of today may.
    StarterReplaced(String),
}

/// Looks at a pod that is neither ended nor running its job.
pub fn of(pod: &PodFacts, image: &str, settings: &Settings) -> Waiting {
    if pod.node.is_none() {
        return match &pod.unschedulable {
            Some(words) => {
                Waiting::For(Reason::Unschedulable, format!("no node for the pod: {words}"))
            }
            None => Waiting::For(Reason::WaitingForScheduler, "waiting for the scheduler".into()),
        };
    }
    let node = pod.node.as_deref().unwrap_or_default();
    if pod.deleting.is_some() {
        // Its kubelet may be cut off, and start it yet.
        let unled = "; its job was not seen to begin, so its lease does not count and its end is waited for";
        let unled = if pod.lease.is_some() { unled } else { "" };
        return Waiting::For(
            Reason::Stopping,
            format!("the pod is being deleted on node '{node}'{unled}"),
        );
    }
    if let Some((reason, message)) = pod.prepare.as_ref().and_then(|c| c.waiting.as_ref())
        && is_image_trouble(reason)
    {
        return ours(pod, settings, reason, message);
    }
    let starting = || Waiting::For(Reason::Starting, format!("starting on node '{node}'"));
    if pod.prepare.as_ref().is_some_and(|prepare| prepare.running.is_some()) {
        return preparing(pod);
    }
    let Some((reason, message)) = pod.job.waiting.as_ref() else { return starting() };
    if is_image_trouble(reason) {
        // Neither name may be looked for within the other.
        let starter = pod.starter_image.as_deref().unwrap_or(&settings.image);
        let rest = message.replace(starter, "");
        let about_ours = message.contains(starter) && !rest.contains(image)
            || message.contains(names::VOLUME_STARTER);
        return if about_ours {
            ours(pod, settings, reason, message)
        } else {
            users_image(image, reason, message, settings)
        };
    }
    match reason.as_str() {
        "CreateContainerConfigError" => configuration(message),
        "CreateContainerError" | "RunContainerError" if concerns_starter(message) => {
            Waiting::StarterFailed(message.clone())
        }
        "CreateContainerError" | "RunContainerError" => Waiting::Faulty {
            // Not `Starting`: the time that the pod took to get here does not count.
            reason: Reason::WaitingForConfiguration,
            message: format!("the container cannot be made: {message}"),
            patience: settings.image_patience, // a busy runtime says this too
            hold: hold::start_error(message),
        },
        _ => match &pod.trouble {
            Some(trouble) if is_missing(trouble) && is_of_files(trouble) => missing_file(trouble),
            Some(trouble) if is_missing(trouble) => configuration(trouble),
            Some(trouble) => Waiting::For(Reason::WaitingForConfiguration, trouble.clone()),
            None => starting(),
        },
    }
}

/// `prepare` is at work.
fn preparing(pod: &PodFacts) -> Waiting {
    let retried = pod.heard.as_ref().and_then(|report| report.failure.as_ref());
    let message = retried.map_or_else(
        || "bringing the job's files".to_owned(),
        |failure| {
            format!("bringing the job's files failed and is tried again: {}", failure.message)
        },
    );
    Waiting::For(Reason::TransferringInput, message)
}

fn is_missing(trouble: &str) -> bool {
    trouble.contains("not found") || trouble.contains("non-existent")
}

/// Whether a volume that cannot be mounted has the job's files in it, or credentials for them.
fn is_of_files(trouble: &str) -> bool {
    trouble.contains(names::VOLUME_INPUT) || trouble.contains(names::VOLUME_SECRET)
}

fn missing_file(message: &str) -> Waiting {
    let details =
        format!("Transfer input files failure at the execution point. Details: {message}");
    Waiting::Faulty {
        reason: Reason::WaitingForConfiguration,
        message: format!("what the job's files come from is not there: {message}"),
        patience: CONFIGURATION_PATIENCE,
        hold: hold::hold(hold::TRANSFER_INPUT, 2, details),
    }
}

fn configuration(message: &str) -> Waiting {
    Waiting::Faulty {
        reason: Reason::WaitingForConfiguration,
        message: format!("the job's configuration is not there: {message}"),
        patience: CONFIGURATION_PATIENCE,
        hold: hold::start_error(message),
    }
}

fn is_image_trouble(reason: &str) -> bool {
    matches!(
        reason,
        "ErrImagePull"
            | "ImagePullBackOff"
            | "InvalidImageName"
            | "ErrImageNeverPull"
            | "ImageInspectError"
            | "RegistryUnavailable"
            | "SignatureValidationFailed"
    )
}

fn ours(pod: &PodFacts, settings: &Settings, reason: &str, message: &str) -> Waiting {
    if pod.starter_image.as_ref().is_some_and(|image| *image != settings.image) {
        return Waiting::StarterReplaced(format!("the operator has another image now: {message}"));
    }
    Waiting::For(
        Reason::StarterImageUnavailable,
        format!(
            "the operator's own image cannot be pulled on the job's node ({reason}): {message}; the job is not to blame and waits"
        ),
    )
}

fn users_image(image: &str, reason: &str, message: &str, settings: &Settings) -> Waiting {
    let permanent =
        matches!(reason, "InvalidImageName" | "ErrImageNeverPull" | "SignatureValidationFailed")
            || is_permanent(&message.replace(image, ""));
    let words = if message.is_empty() { reason } else { message };
    Waiting::Faulty {
        reason: Reason::PullingImage,
        message: format!("pulling image '{image}' failed and is tried again: {words}"),
        patience: if permanent { 0 } else { settings.image_patience },
        hold: hold::image(image, words),
    }
}

/// Whether a registry's answer is one that trying again does not change: it does not know the image, or not this user.
/// Where a message says both (a busy registry behind a login), it is worth another try.
fn is_permanent(message: &str) -> bool {
    const TRANSIENT: [&str; 9] = [
        "429",
        "too many requests",
        "500 internal server error",
        "502 bad gateway",
        "503 service unavailable",
        "504 gateway timeout",
        "connection refused",
        "timeout",
        "connection reset",
    ];
    const PERMANENT: [&str; 13] = [
        "not found",
        "manifest unknown",
        "name unknown",
        "repository does not exist",
        "invalid reference",
        "couldn't parse image",
        "401 unauthorized",
        "403 forbidden",
        "unauthorized",
        "access denied",
        "authorization failed",
        "no basic auth credentials",
        "no match for platform",
    ];
    let message = message.to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| message.contains(word));
    !says(&TRANSIENT) && says(&PERMANENT)
}

/// What waiting comes to, now: still waiting (and until when to look again), or the hold.
pub enum Verdict {
    /// Wait; look again at that time if nothing happens.
    Wait(Because, Option<Timestamp>),
    /// Patience is over.
    Hold(Hold),
}

/// Weighs a wait against how long it has been borne: `known` is the committed reason with its start.
pub fn weigh(waiting: Waiting, known: Option<&Because>, now: Timestamp) -> Verdict {
    let since = |reason: Reason| {
        let known = known.filter(|because| because.reason == reason.as_str());
        known.and_then(|because| because.since.as_ref()).map_or(now, |time| time.0)
    };
    let because = |reason: Reason, message: String| Because {
        reason: reason.as_str().into(),
        message,
        since: Some(Time(since(reason))),
    };
    match waiting {
        Waiting::For(reason, message) => Verdict::Wait(because(reason, message), None),
        Waiting::StarterFailed(message) | Waiting::StarterReplaced(message) => {
            Verdict::Wait(because(Reason::StarterImageUnavailable, message), None)
        }
        Waiting::Faulty { reason, message, patience, hold } => {
            let end =
                since(reason).saturating_add(SignedDuration::from_secs(patience)).unwrap_or(now);
            if end <= now {
                Verdict::Hold(hold)
            } else {
                Verdict::Wait(because(reason, message), Some(end))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registries_answers_are_told_apart() {
        for (message, permanent) in [
            ("failed to resolve reference \"r/a:1\": r/a:1: not found", true),
            (
                "pull access denied, repository does not exist or may require authorization: server message: insufficient_scope: authorization failed",
                true,
            ),
            (
                "failed to authorize: failed to fetch anonymous token: unexpected status: 401 Unauthorized",
                true,
            ),
            (
                "unexpected status from HEAD request to http://r/v2/a/manifests/1: 429 Too Many Requests",
                false,
            ),
            ("unexpected status from HEAD request: 503 Service Unavailable", false),
            ("dial tcp 10.0.0.1:5000: connect: connection refused", false),
            ("dial tcp: lookup r on 10.0.0.1:53: i/o timeout", false),
            ("", false),
        ] {
            assert_eq!(is_permanent(message), permanent, "{message}");
        }
    }
}
