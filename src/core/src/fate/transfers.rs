//! What the transfers of a job's files add to its fate.
//!
//! Invariant: a job whose outputs did not arrive has not completed; a job that was stopped, or is held, is so whatever became
//! of what its streams had to say.

use super::{Eviction, Exited, Fate, eviction, vacate};
use crate::{
    facts::{PodFacts, Terminated},
    hold,
};
use duj_api::status::Hold;
use duj_protocol::transfer::{Failure, Report, State};

/// The fate, where the outputs are part of it.
pub(super) fn weigh(pod: &PodFacts, fate: Fate) -> Fate {
    let exited = match fate {
        Fate::Exited(code) => Exited::Code(code),
        Fate::Signalled(signal) => Exited::Signal(signal),
        other => return other,
    };
    if let Some(changed) = another_image(pod) {
        return Fate::ImageChanged(changed);
    }
    let Some(transfer) = &pod.transfer else { return fate };
    match pod.sent.as_deref() {
        Some(report) if report.state == State::Done && report.complete => fate,
        // It saw another end, or no record of one: a job may have spoilt what the two speak by.
        Some(report) if report.state == State::Done => {
            let message = "Transfer output files failure at the execution point. Details: the end of the job was not recorded beside its outputs, which were not sent";
            Fate::Unsent(exited, hold::hold(hold::TRANSFER_OUTPUT, 0, message))
        }
        Some(Report { failure: Some(failure), .. }) => Fate::Unsent(exited, hold_for(failure)),
        // It was killed.
        _ => match eviction(pod, pod.job.terminated.as_ref()) {
            Some(Eviction { code, reason }) => {
                let reason = format!("{reason} (before the job's outputs were sent)");
                Fate::Evicted(Eviction { code, reason })
            }
            None => Fate::Unsent(exited, killed(transfer.terminated.as_ref())),
        },
    }
}

/// The outputs of a job that ended by itself and whose pod still has them.
pub(crate) fn kept(pod: &PodFacts, resends: u32) -> Option<Hold> {
    let report = pod.heard.as_ref().filter(|_| pod.is_sending())?;
    let current = report.state == State::Kept && report.round > u64::from(resends);
    report.failure.as_ref().filter(|_| current).map(hold_for)
}

/// `HTCondor`'s hold for a transfer that failed.
fn hold_for(failure: &Failure) -> Hold {
    hold::hold(failure.code, failure.subcode, &failure.message)
}

fn killed(end: Option<&Terminated>) -> Hold {
    let how = end.map_or_else(
        || "it never ran".to_owned(),
        |end| format!("it ended with {} ({})", end.exit_code, end.reason),
    );
    let message = format!(
        "Transfer output files failure at the execution point. Details: container 'transfer' did not finish: {how}"
    );
    hold::hold(hold::TRANSFER_OUTPUT, 0, message)
}

/// `prepare` ended, and not well; `None` where it only copies the starter.
pub(super) fn not_prepared(end: &Terminated) -> Option<Fate> {
    if let Some(report) = Report::from_message(&end.message) {
        if let Some(words) = report.image_unknown {
            return Some(Fate::ImageUnknown(words));
        }
        return report.failure.as_ref().map(|failure| Fate::Held(hold_for(failure)));
    }
    if end.reason == "OOMKilled" {
        let message = "Transfer input files failure at the execution point. Details: container 'prepare' ran out of memory";
        return Some(Fate::Held(hold::hold(hold::TRANSFER_INPUT, 12, message)));
    }
    None
}

/// The image that ran, where it is another than the one that `prepare` saw. A runtime tells the digest of the index or of
/// the manifest; and where the same image came from several repositories to the node, any of them, which says nothing here.
pub(crate) fn another_image(pod: &PodFacts) -> Option<String> {
    let seen = pod.prepared.as_ref()?.image.as_ref()?;
    let image = pod.image.as_deref().unwrap_or_default();
    let (repository, ran) = pod.job.image_id.split_once('@')?;
    let own = without_tag(image);
    let before = repository.strip_suffix(own);
    let same_place = before.is_some_and(|before| before.is_empty() || before.ends_with('/'));
    if seen.digest.is_empty() || !same_place || ran == seen.digest || ran == seen.manifest {
        return None;
    }
    let seen = &seen.digest;
    Some(format!("image '{image}' is '{ran}' on the node and '{seen}' in its registry"))
}

/// The reference without its tag and digest.
pub(crate) fn without_tag(image: &str) -> &str {
    let path = image.rfind('/').map_or(0, |slash| slash + 1);
    image[path..].find([':', '@']).map_or(image, |end| &image[..path + end])
}

/// The attempt of a job that ran another image is void.
pub(crate) fn void(changed: &str) -> Eviction {
    let reason = format!("{changed}: the job runs again with the latter");
    Eviction { code: vacate::JOB_NOT_STARTED, reason }
}
