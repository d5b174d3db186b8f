//! What the index holds, and how many of its pods live.
//!
//! Invariant: the numbers of live pods are those of the pods that are here and have not ended.

use super::JobKey;
use duj_api::DockerUniverseCommand;
use duj_core::facts::PodFacts;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};
use tokio::time::Instant;

#[derive(Debug, Default)]
pub(super) struct State {
    /// Pods by the UID of their job, then by their own UID. In boxes: a map of one, as most are, has room for eleven.
    pub(super) pods: HashMap<String, BTreeMap<String, Box<Known>>>,
    /// How many pods live: by the UID of their job, and by namespace.
    pub(super) live: Live,
    /// UIDs of pods that we let go and whose end was not told yet.
    pub(super) released: HashSet<String>,
    /// Commands by their job, then by their UID.
    pub(super) commands: HashMap<JobKey, BTreeMap<String, DockerUniverseCommand>>,
    /// Pods (job UID, pod UID) and commands (job, UID) seen since a list began.
    pub(super) relisted_pods: Option<HashSet<(String, String)>>,
    pub(super) relisted_commands: Option<HashSet<(JobKey, String)>>,
}

/// How many pods have not ended.
#[derive(Debug, Default)]
pub struct Live {
    all: u32,
    by_job: HashMap<String, u32>,
    by_namespace: HashMap<String, u32>,
}

impl Live {
    /// All of them.
    pub const fn all(&self) -> u32 {
        self.all
    }

    /// Those of the job with this UID.
    pub fn of(&self, job_uid: &str) -> u32 {
        self.by_job.get(job_uid).copied().unwrap_or_default()
    }

    /// Those of a namespace.
    pub fn within(&self, namespace: &str) -> u32 {
        self.by_namespace.get(namespace).copied().unwrap_or_default()
    }

    /// One more, or one less.
    fn count(&mut self, job: &str, namespace: &str, lives: bool) {
        let change = |number: &mut u32| {
            *number = if lives { *number + 1 } else { number.saturating_sub(1) };
            *number == 0
        };
        change(&mut self.all);
        if change(self.by_job.entry(job.to_owned()).or_default()) {
            self.by_job.remove(job);
        }
        if change(self.by_namespace.entry(namespace.to_owned()).or_default()) {
            self.by_namespace.remove(namespace);
        }
    }
}

impl State {
    /// Takes in what is known of a pod in place of what was known.
    pub(super) fn put(&mut self, mut known: Known) {
        let (owner, uid) = (known.facts.owner.clone(), known.facts.uid.clone());
        let before = self.drop_pod(&owner, &uid);
        if known.facts.ended() {
            known.ended = before.and_then(|before| before.ended).or_else(|| Some(Instant::now()));
        } else {
            self.live.count(&owner, &known.job.namespace, true);
        }
        self.pods.entry(owner).or_default().insert(uid, Box::new(known));
    }

    /// What is known of a pod.
    pub(super) fn known(&mut self, pod: &Pod) -> Option<&mut Known> {
        let owner = pod.owner_references().iter().find(|owner| owner.controller == Some(true))?;
        let pods = self.pods.get_mut(&owner.uid)?;
        pods.get_mut(pod.metadata.uid.as_ref()?).map(Box::as_mut)
    }

    /// Forgets a pod. What was known of it.
    pub(super) fn drop_pod(&mut self, owner: &str, uid: &str) -> Option<Box<Known>> {
        let pods = self.pods.get_mut(owner)?;
        let known = pods.remove(uid);
        if pods.is_empty() {
            self.pods.remove(owner);
        }
        if let Some(known) = &known
            && !known.facts.ended()
        {
            self.live.count(owner, &known.job.namespace, false);
        }
        known
    }
}

#[derive(Debug)]
pub(super) struct Known {
    pub(super) version: u64,
    pub(super) job: JobKey,
    pub(super) facts: Arc<PodFacts>,
    /// The watch tells of it no more, although our finalizer may still keep it: somebody took its label off, or it went
    /// while nobody watched. The API server has to be asked.
    pub(super) hidden: bool,
    /// When its end was told.
    pub(super) ended: Option<Instant>,
    /// It is as we made it, and the watch has not told of it.
    pub(super) made: bool,
}
