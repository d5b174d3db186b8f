//! Who submits the jobs and does to them what their fates say, as people would: they look, act, and act again when the API
//! server did not answer.
//!
//! Invariant: an act is one that may be repeated, so that a lost answer changes nothing; a step is left only when the cluster
//! or the witness shows that it came about.

use super::{
    fates::{End, Job, Step},
    history::History,
    server::Administrator,
    witness::Witness,
};
use anyhow::Context as _;
use duj_api::{
    DockerUniverseCommand, DockerUniverseJob,
    command::Verb,
    names,
    status::{ProcRecord, ProcStatus},
};
use duj_core::records::Records;
use hyper::Method;
use serde_json::json;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

/// How often a command is given again because it came too early.
const TRIES: usize = 20;

/// One job and how far it is.
pub(super) struct Play {
    /// What it is.
    pub(super) job: Job,
    /// Whether it was created.
    pub(super) submitted: bool,
    /// The number of the step that it is at.
    pub(super) at: usize,
    tries: usize,
    /// How often a command was given again.
    repeats: u64,
    /// When something happened last.
    pub(super) moved: Instant,
}

/// What one look at the namespace shows.
pub(super) struct View {
    /// The jobs by name.
    pub(super) jobs: BTreeMap<String, DockerUniverseJob>,
    commands: BTreeMap<String, DockerUniverseCommand>,
}

/// All of them.
pub(super) struct People {
    administrator: Administrator,
    namespace: String,
    witness: Witness,
    /// The jobs.
    pub(super) plays: Vec<Play>,
    /// What was seen of each log so far.
    pub(super) history: History,
    /// Calls of theirs that failed, because the API server was down.
    pub(super) failed: u64,
}

impl View {
    /// The records of a job's procs.
    pub(super) fn records(&self, job: &Job) -> BTreeMap<u32, ProcRecord> {
        let status = self.jobs.get(&job.name).and_then(|job| job.status.as_ref());
        let records = status.map(|status| Records::read(&status.procs, job.procs));
        let records = records.unwrap_or_default();
        records.iter().map(|(proc, record)| (proc, record.clone())).collect()
    }
}

impl Play {
    /// Whether nothing is left to do.
    pub(super) fn settled(&self) -> bool {
        self.submitted && self.at >= self.job.steps.len()
    }
}

/// Whether the proc is done with stopping.
fn rests(record: &ProcRecord) -> bool {
    !record.hold.as_ref().is_some_and(|hold| hold.stopping)
        && !record.remove.as_ref().is_some_and(|remove| remove.stopping)
}

impl People {
    /// For these jobs.
    pub(super) fn new(
        administrator: Administrator,
        namespace: &str,
        witness: Witness,
        jobs: Vec<Job>,
    ) -> Self {
        let play = |job| Play {
            job,
            submitted: false,
            at: 0,
            tries: 0,
            repeats: 0,
            moved: Instant::now(),
        };
        Self {
            administrator,
            namespace: namespace.to_owned(),
            witness,
            plays: jobs.into_iter().map(play).collect(),
            history: History::default(),
            failed: 0,
        }
    }

    fn path(&self, kind: &str) -> String {
        format!("/apis/dockeruniverse.io/v1alpha1/namespaces/{}/{kind}", self.namespace)
    }

    /// How many are submitted, and how many of those are settled.
    pub(super) fn progress(&self) -> (usize, usize) {
        let submitted = self.plays.iter().filter(|play| play.submitted).count();
        (submitted, self.plays.iter().filter(|play| play.settled()).count())
    }

    /// Looks at the namespace.
    pub(super) async fn look(&mut self) -> anyhow::Result<View> {
        let jobs = self.administrator.get(&self.path("dockeruniversejobs")).await?;
        let commands = self.administrator.get(&self.path("dockeruniversecommands")).await?;
        let jobs: Vec<DockerUniverseJob> = items(jobs)?;
        let commands: Vec<DockerUniverseCommand> = items(commands)?;
        let view = View {
            jobs: jobs
                .into_iter()
                .map(|job| (job.metadata.name.clone().unwrap_or_default(), job))
                .collect(),
            commands: commands
                .into_iter()
                .map(|command| (command.metadata.name.clone().unwrap_or_default(), command))
                .collect(),
        };
        for job in view.jobs.values() {
            self.history.see(job);
        }
        Ok(view)
    }

    /// Submits up to so many jobs more.
    pub(super) async fn submit(&mut self, more: usize) {
        let path = self.path("dockeruniversejobs");
        let waiting = self.plays.iter_mut().filter(|play| !play.submitted).take(more);
        for play in waiting {
            let path = format!("{path}/{}", play.job.name);
            if self.administrator.apply(&path, &play.job.manifest).await.is_err() {
                self.failed += 1;
                return;
            }
            play.submitted = true;
            play.moved = Instant::now();
        }
    }

    /// Does for each job what its fate wants now.
    pub(super) async fn act(&mut self, view: &View) {
        let mut plays = std::mem::take(&mut self.plays);
        for play in plays.iter_mut().filter(|play| play.submitted && !play.settled()) {
            while let Some(step) = play.job.steps.get(play.at).copied() {
                match self.step(play, step, view).await {
                    Ok(true) => {
                        play.at += 1;
                        play.tries = 0;
                        play.moved = Instant::now();
                    }
                    Ok(false) => break,
                    Err(_) => {
                        self.failed += 1;
                        break;
                    }
                }
            }
        }
        self.plays = plays;
    }

    /// Whether the step has come about.
    async fn step(&self, play: &mut Play, step: Step, view: &View) -> anyhow::Result<bool> {
        let job = &play.job;
        let records = view.records(job);
        let all = |what: &dyn Fn(&ProcRecord) -> bool| {
            records.len() == job.procs as usize
                && records.values().all(|record| rests(record) && what(record))
        };
        let is = |status| all(&|record| record.status == status);
        match step {
            Step::Runs(runs) => {
                Ok((0..job.procs).all(|proc| self.witness.runs(&job.name, proc) >= runs))
            }
            Step::Held(code) => Ok(all(&|record| {
                record.status == ProcStatus::Held
                    && record.hold.as_ref().is_some_and(|hold| hold.code == code)
            })),
            Step::Is(status) => Ok(is(status)),
            Step::Go => {
                self.witness.say_the_word(&job.name, job.procs).await;
                Ok(is(ProcStatus::Completed))
            }
            Step::Give(verb) => self.give(play, verb, view, true).await,
            Step::Try(verb) => self.give(play, verb, view, false).await,
            Step::ReleaseIfHeld => {
                if is(ProcStatus::Held) {
                    return self.give(play, Verb::Release, view, true).await.map(|_| false);
                }
                Ok(is(ProcStatus::Completed))
            }
            Step::Mend => {
                let mended = job.mended.as_ref().context("a fate without a mended manifest")?;
                let path = format!("{}/{}", self.path("dockeruniversejobs"), job.name);
                self.administrator.apply(&path, mended).await.map(|_| true)
            }
            Step::DeletePod => self.delete_first_pod(job).await,
            Step::DeleteJob => {
                if !view.jobs.contains_key(&job.name) {
                    return Ok(true);
                }
                let path = format!("{}/{}", self.path("dockeruniversejobs"), job.name);
                self.administrator.delete(&path).await.map(|()| false)
            }
        }
    }

    /// Deletes the pod of the first attempt, and no other, however often it is said.
    async fn delete_first_pod(&self, job: &Job) -> anyhow::Result<bool> {
        let pods = format!("/api/v1/namespaces/{}/pods", self.namespace);
        let selector = format!("{}%3D{},{}%3D0", names::LABEL_JOB, job.name, names::LABEL_ATTEMPT);
        let list = self.administrator.get(&format!("{pods}?labelSelector={selector}")).await?;
        for pod in list["items"].as_array().into_iter().flatten() {
            let name = pod["metadata"]["name"].as_str().unwrap_or_default();
            self.administrator.delete(&format!("{pods}/{name}")).await?;
        }
        Ok(true)
    }

    /// Gives a command, and reads its answer; `insist`: it is given again when it is refused.
    async fn give(
        &self,
        play: &mut Play,
        verb: Verb,
        view: &View,
        insist: bool,
    ) -> anyhow::Result<bool> {
        let name = format!("{}-{}-{}", play.job.name, play.at, play.tries);
        let given = view.commands.get(&name);
        if let Some(answer) = given.and_then(|command| command.status.as_ref()) {
            if !insist || answer.accepted == i64::from(play.job.procs) {
                return Ok(true);
            }
            // Whoever gave it sees the answer, and tries again.
            if play.tries < TRIES {
                play.tries += 1;
                play.repeats += 1;
            }
            return Ok(false);
        }
        if given.is_none() {
            let command = json!({
                "apiVersion": "dockeruniverse.io/v1alpha1", "kind": "DockerUniverseCommand",
                "metadata": { "name": name, "namespace": self.namespace },
                "spec": { "verb": verb, "job": play.job.name },
            });
            let path = format!("{}/{name}", self.path("dockeruniversecommands"));
            self.administrator.apply(&path, &command).await?;
        }
        Ok(false)
    }

    /// How often a command had to be given again.
    pub(super) fn repeated(&self) -> u64 {
        self.plays.iter().map(|play| play.repeats).sum()
    }

    /// Deletes everything, and what is left when nothing has changed for so many looks.
    pub(super) async fn clean(&mut self, looks: usize) -> anyhow::Result<BTreeSet<String>> {
        for kind in ["dockeruniversejobs", "dockeruniversecommands"] {
            self.administrator
                .call(Method::DELETE, &self.path(kind), "application/json", None)
                .await?
                .good()?;
        }
        let (mut before, mut same) = (BTreeSet::new(), 0);
        loop {
            tokio::time::sleep(std::time::Duration::from_secs(2)).await;
            let left = self.left().await?;
            same = if left == before { same + 1 } else { 0 };
            if left.is_empty() || same >= looks {
                return Ok(left);
            }
            before = left;
        }
    }

    async fn left(&self) -> anyhow::Result<BTreeSet<String>> {
        let mut left = BTreeSet::new();
        let core = |kind: &str| format!("/api/v1/namespaces/{}/{kind}", self.namespace);
        let places = [
            ("pod", core("pods")),
            ("ConfigMap", core("configmaps")),
            ("job", self.path("dockeruniversejobs")),
            ("command", self.path("dockeruniversecommands")),
        ];
        for (kind, path) in places {
            let list = self.administrator.get(&path).await?;
            for item in list["items"].as_array().into_iter().flatten() {
                let name = item["metadata"]["name"].as_str().unwrap_or_default();
                // Every namespace has this one.
                if name != "kube-root-ca.crt" {
                    left.insert(format!("{kind} '{name}'"));
                }
            }
        }
        Ok(left)
    }

    /// Jobs that have a log to be judged: all but those that were deleted.
    pub(super) fn kept(&self) -> impl Iterator<Item = &Job> {
        self.plays.iter().map(|play| &play.job).filter(|job| job.end != End::Deleted)
    }
}

fn items<T: serde::de::DeserializeOwned>(mut list: serde_json::Value) -> anyhow::Result<Vec<T>> {
    serde_json::from_value(list["items"].take()).context("the API server's list is not understood")
}
