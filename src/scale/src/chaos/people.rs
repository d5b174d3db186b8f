//! Who submits the jobs, gives commands, and takes pods and jobs away, past the operator and while it is under attack.
//!
//! Invariant: each command has a reason of its own, so that what came of it can be counted in the logs.

use super::{
    fates::{GREAT, Job},
    history::History,
};
use crate::{slim, witness::Witness, work::Controller};
use anyhow::Context as _;
use duj_api::{DockerUniverseCommandStatus, Verb};
use fastrand::Rng;
use kube::{
    Client,
    api::{DeleteParams, Patch, PatchParams},
    core::{Request, params::PostParams},
};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

const SUBMITTED: Controller = Controller::DockerUniverse;
/// A job is released this often, where it is held.
const RELEASE: Duration = Duration::from_secs(4);

/// A command that was given.
#[derive(Clone, Debug)]
pub(super) struct Given {
    /// Its name and its reason.
    pub(super) name: String,
    pub(super) verb: Verb,
    pub(super) job: String,
}

/// All of them.
pub(super) struct People {
    client: Client,
    namespace: String,
    chance: Rng,
    witness: Witness,
    /// The jobs, in the order of their submission.
    pub(super) jobs: Vec<Job>,
    /// How many of them are submitted.
    pub(super) submitted: usize,
    /// The commands.
    pub(super) given: Vec<Given>,
    released: BTreeMap<String, Instant>,
    /// Jobs that were deleted.
    pub(super) deleted: BTreeSet<String>,
    /// What was done, and how often.
    pub(super) deeds: BTreeMap<&'static str, u64>,
}

impl People {
    pub(super) fn new(
        client: Client,
        namespace: &str,
        witness: Witness,
        jobs: Vec<Job>,
        seed: u64,
    ) -> Self {
        Self {
            client,
            namespace: namespace.to_owned(),
            chance: Rng::with_seed(seed),
            witness,
            jobs,
            submitted: 0,
            given: Vec::new(),
            released: BTreeMap::new(),
            deleted: BTreeSet::new(),
            deeds: BTreeMap::new(),
        }
    }

    fn did(&mut self, what: &'static str) {
        *self.deeds.entry(what).or_default() += 1;
    }

    /// Submits what is due.
    pub(super) async fn submit(&mut self, due: usize) -> anyhow::Result<()> {
        let jobs = Request::new(SUBMITTED.path(&self.namespace));
        for job in self.jobs.iter().take(due).skip(self.submitted) {
            let body = serde_json::to_vec(&job.manifest())?;
            let request = jobs.create(&PostParams::default(), body)?;
            self.client.request_text(request).await.context("cannot submit a job")?;
        }
        self.submitted = self.submitted.max(due.min(self.jobs.len()));
        Ok(())
    }

    /// Does one thing to somebody.
    pub(super) async fn disturb(&mut self) -> anyhow::Result<()> {
        match self.chance.u8(..10) {
            0..4 => self.take_a_pod().await,
            4..7 => self.command(Verb::Hold, 20).await,
            7..9 => self.command(Verb::Vacate, 20).await,
            _ => self.command(Verb::Remove, 4).await,
        }
    }

    /// Deletes or evicts a pod whose container runs.
    async fn take_a_pod(&mut self) -> anyhow::Result<()> {
        let Some(running) = self.witness.running(self.chance.usize(..)) else { return Ok(()) };
        let path = format!("/api/v1/namespaces/{}/pods", running.namespace);
        let request = if self.chance.bool() {
            self.did("pods deleted");
            Request::new(path).delete(&running.pod, &DeleteParams::default())?
        } else {
            self.did("pods evicted");
            let eviction = json!({
                "apiVersion": "policy/v1", "kind": "Eviction",
                "metadata": { "name": running.pod, "namespace": running.namespace },
            });
            let path = format!("{path}/{}/eviction", running.pod);
            http::Request::post(path)
                .header(http::header::CONTENT_TYPE, "application/json")
                .body(serde_json::to_vec(&eviction)?)?
        };
        // It may be gone by itself.
        match self.client.request_text(request).await {
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
            answer => Ok(answer.map(|_| ())?),
        }
    }

    /// A command for a small job, or for so many procs of the great one.
    async fn command(&mut self, verb: Verb, procs: u32) -> anyhow::Result<()> {
        let Some(job) = self.jobs.get(self.chance.usize(..self.submitted.max(1))).cloned() else {
            return Ok(());
        };
        if self.deleted.contains(&job.name) {
            return Ok(());
        }
        // The great one is as often meant as the few small ones that are about.
        let great = self.jobs.first().filter(|_| self.chance.u8(..2) == 0).cloned();
        let job = great.unwrap_or(job);
        let first = self.chance.u32(..job.procs);
        let last = (first + procs).min(job.procs - 1);
        let range = (job.name == GREAT).then(|| format!("{first}-{last}"));
        self.give(verb, &job.name, range).await
    }

    async fn give(&mut self, verb: Verb, job: &str, procs: Option<String>) -> anyhow::Result<()> {
        let name = format!("chaos-{}", self.given.len());
        let mut spec = json!({ "verb": verb, "job": job, "reason": name });
        if let Some(procs) = procs {
            spec["procs"] = json!(procs);
        }
        let command = json!({
            "apiVersion": "dockeruniverse.io/v1alpha1", "kind": "DockerUniverseCommand",
            "metadata": { "name": name }, "spec": spec,
        });
        let path = format!(
            "/apis/dockeruniverse.io/v1alpha1/namespaces/{}/dockeruniversecommands",
            self.namespace
        );
        let body = serde_json::to_vec(&command)?;
        let request = Request::new(path).create(&PostParams::default(), body)?;
        self.client.request_text(request).await.context("cannot give a command")?;
        self.given.push(Given { name, verb, job: job.to_owned() });
        self.did(match verb {
            Verb::Hold => "commands to hold",
            Verb::Release => "commands to release",
            Verb::Vacate => "commands to vacate",
            _ => "commands to remove",
        });
        Ok(())
    }

    /// Releases what is held, and deletes what is to be deleted once it runs.
    pub(super) async fn tidy(&mut self, history: &Tidy) -> anyhow::Result<()> {
        for name in &history.held {
            let last = self.released.get(name);
            if last.is_some_and(|last| last.elapsed() < RELEASE) {
                continue;
            }
            self.released.insert(name.clone(), Instant::now());
            let on_hold = self.jobs.iter().any(|job| job.on_hold && job.name == *name);
            if on_hold && history.by_spec.contains(name) {
                let mend = Patch::Merge(json!({ "spec": { "hold": false } }));
                let jobs = Request::new(SUBMITTED.path(&self.namespace));
                let request = jobs.patch(name, &PatchParams::default(), &mend)?;
                self.client.request_text(request).await.context("cannot mend a job")?;
                self.did("jobs mended");
            } else {
                self.give(Verb::Release, name, None).await?;
            }
        }
        let running: Vec<String> = self
            .jobs
            .iter()
            .filter(|job| job.deleted && history.running.contains(&job.name))
            .map(|job| job.name.clone())
            .filter(|name| !self.deleted.contains(name))
            .collect();
        for name in running {
            let jobs = Request::new(SUBMITTED.path(&self.namespace));
            let request = jobs.delete(&name, &DeleteParams::default())?;
            self.client.request_text(request).await.context("cannot delete a job")?;
            self.deleted.insert(name);
            self.did("jobs deleted");
        }
        Ok(())
    }
}

/// What of the jobs' states people act upon.
#[derive(Debug, Default)]
pub(super) struct Tidy {
    held: Vec<String>,
    by_spec: BTreeSet<String>,
    running: BTreeSet<String>,
    /// Jobs that are finished.
    pub(super) finished: usize,
    /// Procs that are idle (or not made yet), running, held, at their end.
    pub(super) procs: [i64; 4],
}

impl Tidy {
    /// As the last versions have it.
    pub(super) fn of(history: &History) -> Self {
        let mut tidy = Self::default();
        for (name, seen) in &history.jobs {
            let status = &seen.status;
            let counts = status.counts.unwrap_or_default();
            if counts.held > 0 {
                tidy.held.push(name.clone());
            }
            if seen.hold {
                tidy.by_spec.insert(name.clone());
            }
            if counts.running + counts.completed > 0 {
                tidy.running.insert(name.clone());
            }
            tidy.finished += usize::from(status.completion_time.is_some());
            let [idle, running, held, ended] = &mut tidy.procs;
            *idle += counts.idle + counts.unmaterialized;
            *running += counts.running + counts.suspended;
            *held += counts.held;
            *ended += counts.completed + counts.removed;
        }
        tidy
    }
}

/// The answers, by the command's name.
pub(super) type Answers = BTreeMap<String, DockerUniverseCommandStatus>;

/// Reads an object or a list.
pub(super) async fn get(client: &Client, path: &str) -> anyhow::Result<Value> {
    Ok(client.request(http::Request::get(path).body(Vec::new())?).await?)
}

/// How many pods there are in a namespace.
pub(super) async fn pods(client: &Client, namespace: &str) -> anyhow::Result<usize> {
    let pods = kube::Api::<slim::Pod>::namespaced_with(client.clone(), namespace, &slim::pods());
    Ok(pods.list_metadata(&kube::api::ListParams::default()).await?.items.len())
}
