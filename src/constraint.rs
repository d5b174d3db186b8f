//! Commands by constraint (`condor_hold -constraint ...`): which jobs match, and what they answered.
//!
//! Invariant: the jobs that existed when the command was made are asked in the order of their names, each once. Those that
//! match are written into the command's status before any of them carries it out, and further ones are asked only when each
//! of these has noted its answer, or is gone. So no crash repeats anything or leaves anything out.

use crate::{
    index::JobKey,
    observe,
    perform::{self, Error},
    run::Context,
    watch::{self, api},
};
use duj_api::{
    DockerUniverseCommand, DockerUniverseCommandStatus, DockerUniverseJob, Verb, command::Selected,
};
use duj_core::{classad::Expr, decide, procs};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{Api, ResourceExt, api::ListParams, runtime::reflector::Store};
use std::{collections::HashMap, ops::ControlFlow, sync::Arc};

/// Jobs that carry out one command at the same time: its status names each.
const AT_ONCE: usize = 200;
/// Jobs in one page of a list.
const PAGE: u32 = 500;
/// After so many looks, some seconds, whoever gave the command is told which job it waits for.
const LOOKS: u32 = 10;

/// How far a command is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Nothing is left to do, or somebody else does it.
    Answered,
    /// It is to be looked at again soon.
    UnderWay,
}

/// Asks jobs whether they match.
pub struct RollCall {
    jobs: Store<DockerUniverseJob>,
    /// The jobs of a command's namespace that existed when it was made, by its UID. The API server is asked once for each
    /// command: a watch may be behind.
    candidates: HashMap<String, Arc<[Candidate]>>,
    /// How often it was seen, by a command's UID, that a selected job has noted nothing yet.
    looks: HashMap<String, u32>,
}

/// A job that is to be asked.
struct Candidate {
    name: String,
    uid: String,
}

impl RollCall {
    /// `jobs` is the cache of all jobs.
    pub fn new(jobs: Store<DockerUniverseJob>) -> Self {
        Self { jobs, candidates: HashMap::new(), looks: HashMap::new() }
    }

    /// No command is under way.
    pub fn rest(&mut self) {
        self.candidates.clear();
        self.looks.clear();
    }

    /// Brings a command forward that has no answer yet.
    pub async fn go_on(
        &mut self,
        context: &Context,
        command: &DockerUniverseCommand,
        constraint: &str,
    ) -> Result<Progress, Error> {
        let before = command.status.clone().unwrap_or_default();
        let expression = match Expr::parse(constraint) {
            Ok(expression) => expression,
            Err(error) => {
                let caret = error.caret(constraint);
                let message = format!("the constraint cannot be read: {error}\n{caret}");
                let status = DockerUniverseCommandStatus { refused: 1, message, ..before };
                return self.answer(context, command, status).await;
            }
        };
        let mut status = match self.sum_up(context, command, before) {
            Ok(status) => status,
            Err(job) => return self.wait_for(context, command, &job).await,
        };
        let ControlFlow::Continue(all_asked) =
            self.ask(context, command, &expression, &mut status).await?
        else {
            return Ok(Progress::UnderWay);
        };
        if all_asked && status.selected.is_empty() {
            status.message = conclusion(command.spec.verb, constraint, &status);
            return self.answer(context, command, status).await;
        }
        status.message = format!("jobs matching constraint ({constraint}) are being told");
        perform::answer(context, command, &status).await?;
        self.looks.remove(&command.uid().unwrap_or_default());
        Ok(Progress::UnderWay)
    }

    /// Says once which job has not carried out the command: those behind it wait.
    async fn wait_for(
        &mut self,
        context: &Context,
        command: &DockerUniverseCommand,
        job: &str,
    ) -> Result<Progress, Error> {
        let looks = self.looks.entry(command.uid().unwrap_or_default()).or_default();
        *looks += 1;
        if *looks == LOOKS {
            let message = format!("waiting for job '{job}' to carry it out");
            let before = command.status.clone().unwrap_or_default();
            let status = DockerUniverseCommandStatus { message, ..before };
            perform::answer(context, command, &status).await?;
        }
        Ok(Progress::UnderWay)
    }

    async fn answer(
        &mut self,
        context: &Context,
        command: &DockerUniverseCommand,
        status: DockerUniverseCommandStatus,
    ) -> Result<Progress, Error> {
        let answered = Some(Time(context.clock.now()));
        let status = DockerUniverseCommandStatus { answered, ..status };
        perform::answer(context, command, &status).await?;
        let uid = command.uid().unwrap_or_default();
        self.candidates.remove(&uid);
        self.looks.remove(&uid);
        Ok(Progress::Answered)
    }

    /// Adds up what the selected jobs noted. The error is the name of one that has noted nothing yet; one that is being
    /// deleted, or is gone, will not.
    fn sum_up(
        &self,
        context: &Context,
        command: &DockerUniverseCommand,
        mut status: DockerUniverseCommandStatus,
    ) -> Result<DockerUniverseCommandStatus, String> {
        let uid = command.uid().unwrap_or_default();
        for selected in std::mem::take(&mut status.selected) {
            let job = self.job(command, &selected.job, &selected.uid);
            let job = job.map(|job| context.memory.newest(job));
            match said(job.as_deref(), &uid) {
                Some((accepted, refused)) => {
                    status.accepted += accepted;
                    status.refused += refused;
                }
                None => return Err(selected.job),
            }
        }
        Ok(status)
    }

    /// Asks further jobs, until enough match. Continues with whether there are no more; breaks where the cache has to catch up.
    async fn ask(
        &mut self,
        context: &Context,
        command: &DockerUniverseCommand,
        constraint: &Expr,
        status: &mut DockerUniverseCommandStatus,
    ) -> Result<ControlFlow<(), bool>, Error> {
        let candidates = self.candidates(context, command).await?;
        let asked = status.asked_up_to.clone().unwrap_or_default();
        for candidate in candidates.iter().filter(|candidate| candidate.name > asked) {
            if status.selected.len() >= AT_ONCE {
                return Ok(ControlFlow::Continue(false));
            }
            let Some(job) = self.job(command, &candidate.name, &candidate.uid) else {
                if is_there(context, command, candidate).await? {
                    return Ok(ControlFlow::Break(()));
                }
                continue;
            };
            status.asked_up_to = Some(candidate.name.clone());
            if job.metadata.deletion_timestamp.is_some() {
                continue;
            }
            let known = observe::known(context, job);
            let ids = decide::select(&known, &context.settings, command.spec.verb, constraint);
            if !ids.is_empty() {
                let (job, uid) = (candidate.name.clone(), candidate.uid.clone());
                let procs = procs::format_ranges(&ids);
                status.selected.push(Selected { job, uid, procs });
            }
        }
        Ok(ControlFlow::Continue(true))
    }

    /// The job as the cache has it.
    fn job(
        &self,
        command: &DockerUniverseCommand,
        name: &str,
        uid: &str,
    ) -> Option<Arc<DockerUniverseJob>> {
        let namespace = command.namespace().unwrap_or_default();
        let key = JobKey { namespace, name: name.to_owned() };
        self.jobs.get(&watch::reference(&key)).filter(|job| job.uid().as_deref() == Some(uid))
    }

    async fn candidates(
        &mut self,
        context: &Context,
        command: &DockerUniverseCommand,
    ) -> Result<Arc<[Candidate]>, Error> {
        let uid = command.uid().unwrap_or_default();
        if let Some(known) = self.candidates.get(&uid) {
            return Ok(known.clone());
        }
        let jobs: Api<DockerUniverseJob> = api(&context.client, command.namespace().as_deref());
        let mut candidates = Vec::new();
        let mut page = ListParams::default().limit(PAGE);
        loop {
            let list = perform::call("list the jobs", jobs.list_metadata(&page)).await?;
            let older = list.items.iter().filter(|job| {
                job.metadata.creation_timestamp <= command.metadata.creation_timestamp
            });
            candidates.extend(
                older.map(|job| Candidate {
                    name: job.name_any(),
                    uid: job.uid().unwrap_or_default(),
                }),
            );
            match list.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => page = page.continue_token(&token),
                None => break,
            }
        }
        candidates.sort_by(|a, b| a.name.cmp(&b.name));
        let candidates: Arc<[Candidate]> = candidates.into();
        self.candidates.insert(uid, candidates.clone());
        Ok(candidates)
    }
}

/// How many procs of a selected job, which may be gone, accepted and refused the command `uid`; nothing where it is not
/// through with it.
fn said(job: Option<&DockerUniverseJob>, uid: &str) -> Option<(i64, i64)> {
    let noticed = job.and_then(|job| job.status.as_ref()?.noticed.as_ref());
    let answer = noticed.and_then(|noticed| noticed.commands.iter().find(|it| it.uid == uid));
    // One that has told some of its procs is still at it.
    match answer.filter(|answer| answer.next.is_none()) {
        Some(answer) => Some((answer.accepted, answer.refused)),
        None if job.is_none_or(|job| job.metadata.deletion_timestamp.is_some()) => Some((0, 1)),
        None => None,
    }
}

/// Whether the API server knows the job.
async fn is_there(
    context: &Context,
    command: &DockerUniverseCommand,
    candidate: &Candidate,
) -> Result<bool, Error> {
    let jobs: Api<DockerUniverseJob> = api(&context.client, command.namespace().as_deref());
    let job = perform::call("read a job", jobs.get_metadata_opt(&candidate.name)).await?;
    Ok(job.is_some_and(|job| job.uid().as_deref() == Some(&*candidate.uid)))
}

/// `HTCondor`'s words (§5.2 of the semantics).
fn conclusion(verb: Verb, constraint: &str, status: &DockerUniverseCommandStatus) -> String {
    let (infinitive, done) = words(verb);
    if status.accepted == 0 {
        return format!("Couldn't find/{infinitive} all jobs matching constraint ({constraint})");
    }
    format!("All jobs matching constraint ({constraint}) have been {done}")
}

const fn words(verb: Verb) -> (&'static str, &'static str) {
    match verb {
        Verb::Hold => ("hold", "held"),
        Verb::Release => ("release", "released"),
        Verb::Remove => ("remove", "marked for removal"),
        Verb::RemoveForced => ("remove", "removed locally (remote state unknown)"),
        Verb::Vacate => ("vacate", "vacated"),
        Verb::VacateFast => ("fast-vacate", "fast-vacated"),
        Verb::Suspend => ("suspend", "suspended"),
        Verb::Continue => ("continue", "continued"),
        Verb::Prio => ("prioritize", "prioritized"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use duj_api::{DockerUniverseJobSpec, DockerUniverseJobStatus};
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use serde_json::json;

    /// A job that noted this answer to the command "c".
    fn job(answer: &serde_json::Value) -> DockerUniverseJob {
        let status = json!({ "noticed": { "shape": "", "commands": [answer] } });
        let status: DockerUniverseJobStatus = serde_json::from_value(status).expect("a status");
        let mut job = DockerUniverseJob::new("job", DockerUniverseJobSpec::default());
        job.status = Some(status);
        job
    }

    #[test]
    fn a_job_has_said_all_once_all_its_procs_were_told() {
        let told = json!({ "uid": "c", "accepted": 3, "refused": 1, "message": "m" });
        let partly = json!({ "uid": "c", "accepted": 3, "refused": 1, "message": "m", "next": 4 });
        let another = json!({ "uid": "d", "accepted": 3, "refused": 1, "message": "m" });
        assert_eq!(said(Some(&job(&told)), "c"), Some((3, 1)));
        assert_eq!(said(Some(&job(&partly)), "c"), None, "it goes on with proc 4");
        assert_eq!(said(Some(&job(&another)), "c"), None);
        assert_eq!(said(None, "c"), Some((0, 1)), "it is gone");
        let mut ending = job(&partly);
        ending.metadata.deletion_timestamp = Some(Time(jiff::Timestamp::UNIX_EPOCH));
        assert_eq!(said(Some(&ending), "c"), Some((0, 1)), "it will say no more");
    }
}
