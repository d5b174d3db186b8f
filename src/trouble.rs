//! Why a pod's containers are not made: the kubelet tells of volumes that it cannot mount only in Events.
//!
//! Invariant: the API server has no index of Events and reads all of a namespace for one question, so that a question is
//! asked seldom, of few pods, and never more often for more jobs.

use crate::{memory::Memory, run::Context};
use duj_api::DockerUniverseJob;
use duj_core::{facts::PodFacts, observed::Observed};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Event;
use kube::{Api, ResourceExt, api::ListParams};
use std::sync::{Arc, Mutex, PoisonError};

/// A pod that is still being set up after this time is asked about; on a busy node nothing else takes so long.
const SETTING_UP: SignedDuration = SignedDuration::from_secs(20);
/// It is asked about again after this time.
const ASK_AGAIN: SignedDuration = SignedDuration::from_secs(30);
/// The time between two questions of all jobs together.
const SPACING: SignedDuration = SignedDuration::from_secs(1);
/// Who was not let through by the spacing comes again after this time.
const COME_AGAIN: SignedDuration = SignedDuration::from_secs(5);

/// What was last heard of a pod.
#[derive(Clone, Debug)]
pub struct Heard {
    next: Timestamp,
    message: Option<String>,
}

/// When the next question of all jobs together may be asked.
#[derive(Debug)]
pub struct Spacing {
    next: Mutex<Option<Timestamp>>,
    between: SignedDuration,
}

impl Default for Spacing {
    fn default() -> Self {
        Self::new(SPACING)
    }
}

impl Spacing {
    /// So much time between two questions.
    pub const fn new(between: SignedDuration) -> Self {
        Self { next: Mutex::new(None), between }
    }

    /// Whether one may be asked now; then the next has to wait.
    pub fn admits(&self, now: Timestamp) -> bool {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let admitted = next.is_none_or(|next| next <= now);
        if admitted {
            *next = now.checked_add(self.between).ok();
        }
        admitted
    }
}

/// Tells each pod that is long in being set up what troubles it.
pub async fn ask(
    context: &Context,
    job: &DockerUniverseJob,
    pods: &mut [Arc<PodFacts>],
    now: Timestamp,
) {
    let uid = job.uid().unwrap_or_default();
    for pod in pods.iter_mut().filter(|pod| due(pod).is_some_and(|due| due <= now)) {
        let heard = heard(&context.memory, &uid, pod);
        if heard.as_ref().is_some_and(|heard| heard.next > now) {
            Arc::make_mut(pod).trouble = heard.and_then(|heard| heard.message);
            continue;
        }
        let (wait, message) = if context.spacing.admits(now) {
            (ASK_AGAIN, last_warning(context, job, pod).await)
        } else {
            (COME_AGAIN, heard.and_then(|heard| heard.message))
        };
        Arc::make_mut(pod).trouble.clone_from(&message);
        let next = now.saturating_add(wait).unwrap_or(now);
        context.memory.of(&uid, |memory| {
            memory.troubles.insert(pod.uid.clone(), Heard { next, message });
        });
    }
    let is_there = |uid: &String| pods.iter().any(|pod| pod.uid == *uid);
    context.memory.of(&uid, |memory| memory.troubles.retain(|uid, _| is_there(uid)));
}

/// When to ask next about a job's pods: a volume that cannot be mounted changes no pod, so that nothing else would wake
/// anybody.
pub fn ask_again(memory: &Memory, observed: &Observed) -> Option<Timestamp> {
    let uid = observed.job.uid().unwrap_or_default();
    let next = |pod: &Arc<PodFacts>| {
        let due = due(pod)?;
        Some(heard(memory, &uid, pod).map_or(due, |heard| heard.next.max(due)))
    };
    observed.pods.iter().filter_map(next).min()
}

fn heard(memory: &Memory, job: &str, pod: &PodFacts) -> Option<Heard> {
    memory.of(job, |memory| memory.troubles.get(&pod.uid).cloned())
}

/// When a pod is asked about first: the kubelet has it and says nothing of its containers but that they are being made.
fn due(pod: &PodFacts) -> Option<Timestamp> {
    let (reason, _) = pod.job.waiting.as_ref()?;
    let silent = matches!(reason.as_str(), "ContainerCreating" | "PodInitializing");
    let prepares = pod.prepare.as_ref().is_some_and(|prepare| prepare.running.is_some());
    if !silent || prepares || pod.ended() || pod.deleting.is_some() {
        return None;
    }
    pod.scheduled?.checked_add(SETTING_UP).ok()
}

async fn last_warning(
    context: &Context,
    job: &DockerUniverseJob,
    pod: &PodFacts,
) -> Option<String> {
    let events: Api<Event> = Api::namespaced(context.client.clone(), &job.namespace()?);
    let selector = format!("involvedObject.uid={},type=Warning", pod.uid);
    let list = events.list(&ListParams::default().fields(&selector).limit(50)).await.ok()?;
    let mut warnings: Vec<Event> = list.items;
    warnings
        .retain(|event| event.reason.as_deref().is_some_and(|reason| reason.starts_with("Failed")));
    warnings.sort_by_key(|event| event.last_timestamp.clone());
    warnings.pop()?.message
}
