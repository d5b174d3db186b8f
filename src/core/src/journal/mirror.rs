//! The events of the log once more as Kubernetes Events, for `kubectl describe`.
//!
//! Invariant: best effort and bounded.

use super::Journal;
use crate::{
    observed::Effect,
    userlog::{Body, Cluster, Event, Exit},
};

/// Kubernetes Events of one decision, at most: they are for a person, and the log has them all.
const MOST_TOLD: usize = 10;

impl Journal {
    /// The Kubernetes Events that mirror these events. A run that is told only when it is over is one Event: each is a
    /// write of its own. So is one that never came about.
    pub(crate) fn mirrored(&self) -> Vec<Effect> {
        let ended = |from: usize| {
            let job = self.events[from].job;
            let later = &self.events[from + 1..];
            later.iter().any(|event| {
                event.job == job
                    && matches!(event.body, Body::Terminated(_) | Body::RemoteError { .. })
            })
        };
        let told = |&(place, event): &(usize, &Event)| {
            !matches!(event.body, Body::Execute { .. }) || !ended(place)
        };
        let events = self.events.iter().enumerate().filter(told);
        let warnings = self.warnings.iter().map(|(reason, note)| Effect::Event {
            warning: true,
            reason,
            note: note.clone(),
        });
        events
            .filter_map(|(_, event)| mirror(&event.body))
            .chain(warnings)
            .take(MOST_TOLD)
            .collect()
    }
}

fn mirror(body: &Body) -> Option<Effect> {
    let event = |warning, reason, note: String| Some(Effect::Event { warning, reason, note });
    match body {
        Body::Execute { slot, .. } => {
            event(false, "Executing", format!("job executing on {}", slot.as_str()))
        }
        Body::Evicted(evicted) => event(
            true,
            "Evicted",
            format!("job was evicted (code {}): {}", evicted.code, evicted.reason.as_str()),
        ),
        Body::Terminated(end) => match &end.exit {
            Exit::Code(0) => event(false, "Terminated", "job terminated with exit code 0".into()),
            Exit::Code(code) => {
                event(true, "Terminated", format!("job terminated with exit code {code}"))
            }
            Exit::Signal { number, .. } => {
                event(true, "Terminated", format!("job died by signal {number}"))
            }
        },
        Body::Aborted { reason } => {
            event(true, "Removed", format!("job was removed: {}", reason.as_str()))
        }
        Body::Held { reason, code, subcode } => event(
            true,
            "Held",
            format!("job was held (code {code} subcode {subcode}): {}", reason.as_str()),
        ),
        Body::Released { reason } => {
            event(false, "Released", format!("job was released: {}", reason.as_str()))
        }
        Body::Suspended { .. } => event(false, "Suspended", "job was suspended".into()),
        Body::Unsuspended => event(false, "Continued", "job was continued".into()),
        Body::ShadowException { message, .. } => {
            event(true, "StarterFailed", message.as_str().into())
        }
        Body::Disconnected { reason, .. } => event(true, "Disconnected", reason.as_str().into()),
        Body::Reconnected { startd, .. } => {
            event(false, "Reconnected", format!("reconnected to {}", startd.as_str()))
        }
        Body::ReconnectFailed { reason, .. } => {
            event(true, "ReconnectFailed", reason.as_str().into())
        }
        Body::Checkpointed { .. } => event(false, "Checkpointed", "job was checkpointed".into()),
        Body::Cluster(Cluster::Paused { reason, .. }) => {
            event(true, "MaterializationPaused", format!("no more procs come: {}", reason.as_str()))
        }
        Body::Cluster(Cluster::Resumed { reason }) => {
            event(false, "MaterializationResumed", format!("more procs come: {}", reason.as_str()))
        }
        // What is told by the events around them, or by the job's own age, or is not produced yet.
        Body::Submit { .. }
        | Body::Cluster(Cluster::Submitted { .. } | Cluster::Removed { .. })
        | Body::ImageSize { .. }
        | Body::RemoteError { .. }
        | Body::Generic { .. }
        | Body::JobAdInformation { .. }
        | Body::AttributeUpdate { .. }
        | Body::FileTransfer { .. } => None,
    }
}
