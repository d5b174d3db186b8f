//! One version of a pod in one line: what [`PodFacts`] reads of it, and nothing else, without times, names and free text.
//!
//! Invariant: two versions have the same line only if the operator's decisions cannot tell them apart, but for the
//! moments and for texts that are only passed on. Of texts that it does read there is what it understands.

use duj_core::{
    facts::{PodFacts, Terminated},
    settings::Settings,
    waiting::{self, Waiting},
};
use duj_protocol::{Outcome, Record};
use k8s_openapi::api::core::v1::Pod;
use serde_json::Value;
use std::fmt::Write as _;

/// The line of a pod that is not there any more.
pub const GONE: &str = "gone";

/// The word for the operator's finalizer.
pub const KEPT: &str = "kept";
/// How the words begin that tell a container's end.
pub const ENDED: &str = "ended";

/// The line of this version; `None` for an object that is no pod of ours.
pub fn of(pod: &Value) -> Option<String> {
    let pod: Pod = serde_json::from_value(pod.clone()).ok()?;
    let facts = PodFacts::read(&pod)?;
    let image = pod.spec.as_ref()?.containers.iter().find(|c| c.name == "job")?.image.clone()?;
    let mut line = format!("{:?}", facts.phase);
    let mut word = |holds: bool, word: &str| {
        if holds {
            write!(line, ", {word}").unwrap();
        }
    };
    word(facts.node.is_some(), "bound");
    word(facts.scheduled.is_some(), "scheduled");
    word(facts.unschedulable.is_some(), "unschedulable");
    word(facts.host_ip.is_some(), "with address");
    if let Some((reason, _)) = &facts.job.waiting {
        word(true, &format!("waits: {reason}{}", understood(&facts, &image)));
    }
    word(facts.job.running.is_some(), "runs");
    word(facts.job.ready, "ready");
    if let Some(end) = &facts.job.terminated {
        word(true, &ended(end));
    }
    word(!facts.reason.is_empty(), &format!("reason {}", facts.reason));
    if let Some((reason, _)) = &facts.disruption {
        word(true, &format!("disrupted: {reason}"));
    }
    word(facts.unreachable.is_some(), "does not answer");
    word(facts.prepare.is_some(), "prepares");
    word(facts.suspended, "told to suspend");
    word(facts.deleting.is_some() && !facts.deleted_at_once, "being deleted");
    word(facts.deleted_at_once, "deleted without grace");
    word(facts.unaccounted, KEPT);
    Some(line)
}

/// What the operator makes of a waiting container's message.
fn understood(facts: &PodFacts, image: &str) -> &'static str {
    let mut waiting = facts.clone();
    (waiting.deleting, waiting.node) = (None, Some("node".into()));
    let starter = facts.starter_image.clone();
    let settings = Settings { image: starter.unwrap_or_default(), ..Settings::default() };
    match waiting::of(&waiting, image, &settings) {
        Waiting::For(..) => "",
        Waiting::Faulty { patience: 0, .. } => " (hopeless)",
        Waiting::Faulty { .. } => " (borne for a while)",
        Waiting::StarterFailed(_) | Waiting::StarterReplaced(_) => " (not the job's fault)",
    }
}

fn ended(end: &Terminated) -> String {
    let message = match Record::from_message(&end.message) {
        Some(record) => recorded(&record),
        None if end.message.is_empty() => "no message".to_owned(),
        None => "the system's message".to_owned(),
    };
    let never = if end.started.is_none() { "never begun; " } else { "" };
    let no_time = if end.finished.is_none() { "at no time; " } else { "" };
    format!("{ENDED} with {} {} ({never}{no_time}{message})", end.exit_code, end.reason)
}

/// What the starter says.
fn recorded(record: &Record) -> String {
    let mut text = match &record.outcome {
        None => "recorded: begun".to_owned(),
        Some(Outcome::Exited(code)) => format!("recorded: exited {code}"),
        Some(Outcome::Signalled(signal)) => format!("recorded: signal {signal}"),
        Some(Outcome::NotStarted { errno, .. }) => {
            format!("recorded: not started with {errno}")
        }
        Some(Outcome::OverDisk { .. }) => "recorded: over disk".to_owned(),
        Some(Outcome::CheckpointFailed(_)) => "recorded: checkpoint failed".to_owned(),
    };
    for (holds, word) in [
        (record.started.is_none(), " never begun"),
        (record.outcome.is_some() && record.ended.is_none(), " at no time"),
        (record.oom_kills > 0, " after a kill for memory"),
        (record.lease_expired, " lease over"),
        (record.suspensions > 0, " after a suspension"),
    ] {
        text.push_str(if holds { word } else { "" });
    }
    if let Some(signal) = record.stopped_by {
        write!(text, " stopped by {signal}").unwrap();
    }
    text
}
