//! What the watches have told: pods and commands by their job, so that one job's facts are found without a scan.
//!
//! Invariant: an object is replaced only by a newer one of the same UID (what our own writes returned may be newer than
//! what the watch has told so far). Only the facts that are read are kept, not whole pods.

mod state;

use crate::slim::SlimPod;
use duj_api::{DockerUniverseCommand, names};
use duj_core::facts::PodFacts;
use k8s_openapi::{api::core::v1::Pod, apimachinery::pkg::apis::meta::v1::Time};
use kube::{ResourceExt, runtime::watcher};
pub use state::Live;
use state::{Known, State};
use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::{sync::watch, time::Instant};

/// A job's place: namespace and name. Commands by constraint have their namespace for a place, with a name that no job has.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobKey {
    /// Its namespace.
    pub namespace: String,
    /// Its name; empty for the namespace itself.
    pub name: String,
}

impl JobKey {
    /// The place of the commands by constraint.
    pub const fn of_namespace(namespace: String) -> Self {
        Self { namespace, name: String::new() }
    }
}

/// The index; shared by the watches and the reconciler.
#[derive(Debug)]
pub struct Index {
    state: Mutex<State>,
    ready: watch::Sender<Ready>,
}

/// Which watches have told all there was when they began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Ready {
    jobs: bool,
    pods: bool,
    commands: bool,
}

impl Ready {
    const ALL: Self = Self { jobs: true, pods: true, commands: true };
}

impl Default for Index {
    fn default() -> Self {
        Self { state: Mutex::default(), ready: watch::Sender::new(Ready::default()) }
    }
}

impl Index {
    fn state(&self) -> MutexGuard<'_, State> {
        // No code panics while it holds this lock in a half-made state.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until all watches have told all there was when they began.
    pub async fn wait_until_ready(&self) {
        let mut ready = self.ready.subscribe();
        // The sender lives as long as `self`.
        let _ = ready.wait_for(|ready| *ready == Ready::ALL).await;
    }

    /// Whether all watches have told all there was when they began.
    pub fn is_ready(&self) -> bool {
        *self.ready.borrow() == Ready::ALL
    }

    /// The watch of jobs, which are kept elsewhere, has told all there was.
    pub fn jobs_are_known(&self) {
        self.ready.send_modify(|ready| ready.jobs = true);
    }

    /// A pod watch's event; the jobs that it concerns.
    pub fn pod_event(&self, event: watcher::Event<SlimPod>) -> Vec<JobKey> {
        match event {
            watcher::Event::Init => {
                self.state().relisted_pods = Some(HashSet::new());
                Vec::new()
            }
            watcher::Event::InitApply(pod) | watcher::Event::Apply(pod) => {
                self.told(&pod.0).into_iter().collect()
            }
            watcher::Event::Delete(pod) => self.lose_pod(&pod.0).into_iter().collect(),
            watcher::Event::InitDone => {
                let gone = self.forget_unlisted_pods();
                self.ready.send_modify(|ready| ready.pods = true);
                gone
            }
        }
    }

    /// Takes in a pod from a watch or from the answer to our own write. The job it concerns, where it is a job's.
    pub fn insert_pod(&self, pod: &Pod) -> Option<JobKey> {
        let label = pod.labels().get(names::LABEL_MANAGED_BY);
        self.take_in(pod, label.is_none_or(|value| value != names::MANAGED_BY))
    }

    /// A pod that the watch tells of. The job it concerns, unless it is what we made ourselves, in this very version.
    fn told(&self, pod: &Pod) -> Option<JobKey> {
        let made = self
            .state()
            .known(pod)
            .is_some_and(|known| std::mem::take(&mut known.made) && known.version == version(pod));
        self.insert_pod(pod).filter(|_| !made)
    }

    /// Takes in a pod that we have made.
    pub fn insert_made(&self, pod: &Pod) {
        self.insert_pod(pod);
        if let Some(known) = self.state().known(pod) {
            known.made = known.version == version(pod);
        }
    }

    fn take_in(&self, pod: &Pod, hidden: bool) -> Option<JobKey> {
        let facts = PodFacts::read(pod)?;
        let job = job_of(pod)?;
        let version = version(pod);
        let mut state = self.state();
        // Whose finalizer somebody else took off may not be accounted yet.
        let accounted = state.released.contains(&facts.uid);
        let facts = Arc::new(if accounted { facts.folded() } else { facts });
        if let Some(listed) = &mut state.relisted_pods {
            listed.insert((facts.owner.clone(), facts.uid.clone()));
        }
        let known = state.pods.get(&facts.owner).and_then(|pods| pods.get(&facts.uid));
        if known.is_none_or(|known| known.version <= version) {
            state.put(Known { version, job: job.clone(), facts, hidden, made: false, ended: None });
        }
        Some(job)
    }

    /// The watch tells of a pod for the last time: it is gone, or it only left the watch's selection. An event of either
    /// kind shows the pod as it was before; with our finalizer on it, it is gone only if we took that off.
    fn lose_pod(&self, pod: &Pod) -> Option<JobKey> {
        let released = self.state().released.remove(&pod.uid()?);
        let ours = pod.finalizers().iter().any(|name| name == names::FINALIZER_ACCOUNTED);
        if ours && !released { self.take_in(pod, true) } else { self.remove_pod(pod) }
    }

    /// We take our finalizer off the pod with this UID.
    pub fn release_pod(&self, uid: &str) {
        self.state().released.insert(uid.to_owned());
    }

    fn remove_pod(&self, pod: &Pod) -> Option<JobKey> {
        let facts = PodFacts::read(pod)?;
        self.state().drop_pod(&facts.owner, &facts.uid);
        job_of(pod)
    }

    fn forget_unlisted_pods(&self) -> Vec<JobKey> {
        let mut state = self.state();
        let Some(listed) = state.relisted_pods.take() else { return Vec::new() };
        let mut gone = Vec::new();
        let is_there: HashSet<&String> = listed.iter().map(|(_, uid)| uid).collect();
        state.released.retain(|uid| is_there.contains(uid));
        let mut lost = Vec::new();
        for (owner, pods) in &mut state.pods {
            for (uid, known) in pods {
                if !listed.contains(&(owner.clone(), uid.clone())) {
                    gone.push(known.job.clone());
                    known.hidden = known.facts.unaccounted;
                    if !known.hidden {
                        lost.push((owner.clone(), uid.clone()));
                    }
                }
            }
        }
        for (owner, uid) in lost {
            state.drop_pod(&owner, &uid);
        }
        gone
    }

    /// A command watch's event; the jobs that it concerns.
    pub fn command_event(&self, event: watcher::Event<DockerUniverseCommand>) -> Vec<JobKey> {
        match event {
            watcher::Event::Init => {
                self.state().relisted_commands = Some(HashSet::new());
                Vec::new()
            }
            watcher::Event::InitApply(command) | watcher::Event::Apply(command) => {
                let mut concerned = selected_by(&command);
                concerned.push(self.insert_command(command));
                concerned
            }
            watcher::Event::Delete(command) => {
                let key = key_of(&command);
                let mut state = self.state();
                if let Some(commands) = state.commands.get_mut(&key) {
                    commands.remove(&command.uid().unwrap_or_default());
                    if commands.is_empty() {
                        state.commands.remove(&key);
                    }
                }
                vec![key]
            }
            watcher::Event::InitDone => {
                let mut state = self.state();
                let listed = state.relisted_commands.take().unwrap_or_default();
                state.commands.retain(|key, commands| {
                    commands.retain(|uid, _| listed.contains(&(key.clone(), uid.clone())));
                    !commands.is_empty()
                });
                drop(state);
                self.ready.send_modify(|ready| ready.commands = true);
                Vec::new()
            }
        }
    }

    /// Takes in a command from the watch or from the answer to our own write.
    pub fn insert_command(&self, command: DockerUniverseCommand) -> JobKey {
        let key = key_of(&command);
        let uid = command.uid().unwrap_or_default();
        let mut state = self.state();
        if let Some(listed) = &mut state.relisted_commands {
            listed.insert((key.clone(), uid.clone()));
        }
        let commands = state.commands.entry(key.clone()).or_default();
        if commands.get(&uid).is_none_or(|known| version(known) <= version(&command)) {
            commands.insert(uid, command);
        }
        key
    }

    /// The pods of the job with this UID.
    pub fn pods(&self, job_uid: &str) -> Vec<Arc<PodFacts>> {
        let state = self.state();
        let pods = state.pods.get(job_uid).into_iter().flat_map(BTreeMap::values);
        pods.map(|known| known.facts.clone()).collect()
    }

    /// When the end of a pod was told.
    pub fn ended_since(&self, job_uid: &str, uid: &str) -> Option<Instant> {
        self.state().pods.get(job_uid)?.get(uid)?.ended
    }

    /// How many pods live.
    pub fn with_live<T>(&self, read: impl FnOnce(&Live) -> T) -> T {
        read(&self.state().live)
    }

    /// Names of the job's pods that the API server has to be asked about.
    pub fn hidden_pods(&self, job_uid: &str) -> Vec<String> {
        let state = self.state();
        let pods = state.pods.get(job_uid).into_iter().flat_map(BTreeMap::values);
        pods.filter(|known| known.hidden).map(|known| known.facts.name.clone()).collect()
    }

    /// The API server knows no pod of this name of the job.
    pub fn forget_pod(&self, job_uid: &str, name: &str) {
        let mut state = self.state();
        let pods = state.pods.get(job_uid).into_iter().flatten();
        let named = pods.filter(|(_, known)| known.facts.name == name);
        let uids: Vec<String> = named.map(|(uid, _)| uid.clone()).collect();
        for uid in uids {
            state.drop_pod(job_uid, &uid);
        }
    }

    /// This pod of the job was deleted.
    pub fn drop_pod(&self, job_uid: &str, uid: &str) {
        self.state().drop_pod(job_uid, uid);
    }

    /// Every job UID that has pods, with the job's place.
    pub fn owners(&self) -> Vec<(String, JobKey)> {
        let state = self.state();
        let owner = |(uid, pods): (&String, &BTreeMap<String, Box<Known>>)| {
            Some((uid.clone(), pods.values().next()?.job.clone()))
        };
        state.pods.iter().filter_map(owner).collect()
    }

    /// Every place that commands name.
    pub fn places_with_commands(&self) -> Vec<JobKey> {
        self.state().commands.keys().cloned().collect()
    }

    /// Commands that this very job is to carry out: its own, and those by a constraint that selected it.
    pub fn commands_for(&self, key: &JobKey, uid: &str) -> Vec<DockerUniverseCommand> {
        let mut commands = self.commands(key);
        let state = self.state();
        let place = JobKey::of_namespace(key.namespace.clone());
        for command in state.commands.get(&place).into_iter().flat_map(BTreeMap::values) {
            let mut selected = command.status.iter().flat_map(|status| &status.selected);
            if let Some(job) = selected.find(|job| job.uid == uid) {
                let (metadata, mut spec) = (command.metadata.clone(), command.spec.clone());
                (spec.job, spec.procs) = (Some(job.job.clone()), Some(job.procs.clone()));
                commands.push(DockerUniverseCommand { metadata, spec, status: None });
            }
        }
        drop(state);
        commands.sort_by_key(age);
        commands
    }

    /// Commands for this place, oldest first.
    pub fn commands(&self, key: &JobKey) -> Vec<DockerUniverseCommand> {
        let state = self.state();
        let commands = state.commands.get(key).into_iter().flat_map(BTreeMap::values);
        let mut commands: Vec<_> = commands.cloned().collect();
        commands.sort_by_key(age);
        commands
    }
}

fn age(command: &DockerUniverseCommand) -> (Option<Time>, String) {
    (command.metadata.creation_timestamp.clone(), command.name_any())
}

/// The jobs that a command by constraint is being carried out for.
fn selected_by(command: &DockerUniverseCommand) -> Vec<JobKey> {
    let namespace = command.namespace().unwrap_or_default();
    let selected = command.status.iter().flat_map(|status| &status.selected);
    let key = |name: &String| JobKey { namespace: namespace.clone(), name: name.clone() };
    selected.map(|selected| key(&selected.job)).collect()
}

fn key_of(command: &DockerUniverseCommand) -> JobKey {
    JobKey {
        namespace: command.namespace().unwrap_or_default(),
        name: command.spec.job.clone().unwrap_or_default(),
    }
}

fn job_of(pod: &Pod) -> Option<JobKey> {
    let owner = pod.owner_references().iter().find(|owner| owner.controller == Some(true))?;
    Some(JobKey { namespace: pod.namespace()?, name: owner.name.clone() })
}

/// Resource versions are ordered numbers (KEP-5504); what is none is older than all.
pub fn version<K: ResourceExt>(object: &K) -> u64 {
    object.resource_version().and_then(|text| text.parse().ok()).unwrap_or_default()
}
