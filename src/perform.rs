//! From `duj_core`'s effects to API calls. Nothing else writes to jobs, commands and pods.
//!
//! Invariant: each call is idempotent and bound to a UID: what happened although its answer was lost happens once, and
//! an object of the same name that is not ours is never touched. Every call has a deadline; nothing is retried here.

use crate::{index::version, memory::Unsure, metrics::Verb, refusal, run::Context, userlog_pages};
use duj_api::{
    DockerUniverseCommand, DockerUniverseCommandStatus, DockerUniverseJob, DockerUniverseJobStatus,
    names,
};
use duj_core::{
    facts::PodFacts,
    observed::{Effect, Refusal, RefusalKind},
    patch,
};
use duj_protocol::control;
use jiff::SignedDuration;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions, PropagationPolicy},
    core::Status,
};
use serde_json::json;
use std::time::Duration;
use thiserror::Error;

/// The longest that one call may take.
const DEADLINE: Duration = Duration::from_secs(10);

/// A request that was not answered in its time may still be carried out within this time.
const UNSURE: SignedDuration = SignedDuration::from_secs(30);

/// A call that did not come to its end. Whether it happened is found out by the next observation.
#[derive(Debug, Error)]
pub enum Error {
    /// The API server answered with an error.
    #[error("cannot {attempt}: {message}", message = describe(source))]
    Api {
        /// What was tried.
        attempt: &'static str,
        /// Its answer.
        source: Box<kube::Error>,
    },
    /// The API server did not answer in time.
    #[error("cannot {0}: no answer from the API server in 10 s")]
    NoAnswer(&'static str),
    /// The job changed after the decision's facts were read.
    #[error("cannot create the job's pod: the job has changed meanwhile")]
    Outdated,
    /// The store of cluster ids holds something else.
    #[error("cannot read the next cluster id: {0}")]
    ClusterIds(String),
    /// Somebody else's object has the name of a page of the log.
    #[error(
        "cannot write the userlog: the ConfigMap '{0}' is not this job's; delete it or rename it"
    )]
    ForeignPage(String),
    /// A part of the log could not be compressed.
    #[error("cannot compress the userlog: {0}")]
    Gzip(std::io::Error),
}

fn describe(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}

impl Error {
    /// Somebody else wrote first: our facts were old.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Outdated) || self.status().is_some_and(Status::is_conflict)
    }

    /// The object is there already.
    pub fn is_already_exists(&self) -> bool {
        self.status().is_some_and(Status::is_already_exists)
    }

    fn status(&self) -> Option<&Status> {
        match self {
            Self::Api { source, .. } => match source.as_ref() {
                kube::Error::Api(status) => Some(status),
                _ => None,
            },
            Self::NoAnswer(_)
            | Self::Outdated
            | Self::ClusterIds(_)
            | Self::ForeignPage(_)
            | Self::Gzip(_) => None,
        }
    }

    /// The object has another UID than the patch, which would change it.
    fn is_of_another_uid(&self) -> bool {
        let about_uid =
            |status: &Status| status.code == 422 && status.message.contains("metadata.uid");
        self.status().is_some_and(about_uid)
    }

    fn is_not_found(&self) -> bool {
        self.status().is_some_and(Status::is_not_found)
    }
}

/// What became of an effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Made {
    /// It is so.
    Done,
    /// The API server refused the pod; the reason is remembered for the next decision.
    Refused,
}

/// Makes a call, with the deadline.
pub async fn call<T>(
    attempt: &'static str,
    request: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, Error> {
    match tokio::time::timeout(DEADLINE, request).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(source)) => Err(Error::Api { attempt, source: Box::new(source) }),
        Err(_) => Err(Error::NoAnswer(attempt)),
    }
}

/// Commits a job's status: one patch, guarded by the resource version that the decision was made from.
pub async fn write_status(
    context: &Context,
    job: &DockerUniverseJob,
    status: DockerUniverseJobStatus,
) -> Result<DockerUniverseJob, Error> {
    let jobs: Api<DockerUniverseJob> = Api::namespaced(context.client.clone(), &namespace(job));
    let patch = json!({
        "metadata": { "resourceVersion": job.resource_version(), "uid": job.uid() },
        "status": patch::of_status(job.status.as_ref(), &status),
    });
    context.metrics.wrote(Verb::PatchStatus);
    let parameters = PatchParams::default();
    call(
        "write the job's status",
        jobs.patch_status(&job.name_any(), &parameters, &Patch::Merge(patch)),
    )
    .await
}

/// Carries out one effect for a job.
pub async fn perform(
    context: &Context,
    job: &DockerUniverseJob,
    effect: Effect,
) -> Result<Made, Error> {
    match effect {
        Effect::CreatePod(pod) => return Box::pin(create_pod(context, job, &pod)).await,
        Effect::DeletePod { name, uid, grace } => {
            delete_pod(context, &namespace(job), &name, &uid, grace).await?;
        }
        Effect::SuspendPod { name, uid, suspended } => {
            suspend_pod(context, &namespace(job), &name, &uid, suspended).await?;
        }
        Effect::ReleasePod { name, uid } => {
            release_pod(context, &namespace(job), &name, &uid).await?;
        }
        Effect::AppendPage(part) => userlog_pages::append(context, job, &part).await?,
        Effect::Answer { name, status } => answer(context, &namespace(job), &name, status).await?,
        Effect::DeleteJob => delete_job(context, job).await?,
        Effect::Event { warning, reason, note } => {
            context.recorder.tell(job, warning, reason, note);
        }
    }
    Ok(Made::Done)
}

fn namespace(job: &DockerUniverseJob) -> String {
    job.namespace().unwrap_or_default()
}

async fn create_pod(context: &Context, job: &DockerUniverseJob, pod: &Pod) -> Result<Made, Error> {
    let pods: Api<Pod> = Api::namespaced(context.client.clone(), &namespace(job));
    let uid = job.uid().unwrap_or_default();
    let name = pod.name_any();
    // One live pod a proc: a pod whose creation was not answered comes before any other is made.
    let unsure = context.memory.of(&uid, |memory| memory.unsure.clone());
    if let Some(unsure) = unsure.filter(|unsure| unsure.name != name) {
        let there = find_pod(context, job, &unsure.name).await?;
        if there.is_none() && context.clock.now() < unsure.until {
            refuse(context, &uid, may_come_yet(&unsure));
            return Ok(Made::Refused);
        }
        context.memory.of(&uid, |memory| memory.unsure = None);
        if there.is_some() {
            return Ok(Made::Refused);
        }
    }
    if owner_of(pod).is_some_and(|(_, _, attempt)| attempt > 0) {
        nobody_came_between(context, job).await?;
    }
    context.metrics.wrote(Verb::CreatePod);
    match call("create the job's pod", pods.create(&PostParams::default(), pod)).await {
        Ok(made) => {
            adopt(context, &uid, &made);
            Ok(Made::Done)
        }
        Err(error) => {
            let answer = error.status().cloned();
            if answer.as_ref().is_none_or(|status| status.code >= 500) {
                // It may have happened, or happen yet.
                let until = context.clock.now() + UNSURE;
                context.memory.of(&uid, |memory| memory.unsure = Some(Unsure { name, until }));
            }
            let Some(status) = answer else { return Err(error) };
            not_created(context, &pods, &uid, pod, &status).await
        }
    }
}

/// A later attempt follows from the last status, and its name may have been used before: another operator may have made
/// the attempt and ended it while our watch was silent.
async fn nobody_came_between(context: &Context, job: &DockerUniverseJob) -> Result<(), Error> {
    let uid = job.uid().unwrap_or_default();
    let written = context.memory.of(&uid, |memory| memory.written.as_deref().map(version));
    let known = version(job).max(written.unwrap_or_default());
    let jobs: Api<DockerUniverseJob> = Api::namespaced(context.client.clone(), &namespace(job));
    let there = call("read the job", jobs.get_metadata_opt(&job.name_any())).await?;
    let same = there.is_some_and(|there| there.uid() == job.uid() && version(&there) == known);
    if same { Ok(()) } else { Err(Error::Outdated) }
}

fn may_come_yet(unsure: &Unsure) -> Refusal {
    Refusal {
        kind: RefusalKind::Transient,
        message: format!("the creation of pod '{}' was not answered: it may come yet", unsure.name),
        retry: unsure.until,
    }
}

/// The server did not create the pod: it is there already, or it is refused.
async fn not_created(
    context: &Context,
    pods: &Api<Pod>,
    uid: &str,
    pod: &Pod,
    status: &Status,
) -> Result<Made, Error> {
    // A quota answers before the server looks whether the name exists, so both answers are worth a look.
    let before = context.memory.of(uid, |memory| memory.refusals);
    let refusal = refusal::read(status, before, context.clock.now());
    let name = pod.name_any();
    if status.is_already_exists() || refusal.kind == RefusalKind::Quota {
        let there = call("read the job's pod", pods.get_opt(&name)).await?;
        if let Some(there) = there {
            if is_ours(&there, pod) {
                let there = with_label(context, there).await?;
                adopt(context, uid, &there);
                return Ok(Made::Done);
            }
            let message =
                format!("a pod '{name}' exists that is not this job's: delete it or rename it");
            refuse(context, uid, Refusal { message, kind: RefusalKind::Transient, ..refusal });
            return Ok(Made::Refused);
        }
    }
    if !status.is_already_exists() {
        refuse(context, uid, refusal);
    } // else it was there and is gone: the next look at the world tells
    Ok(Made::Refused)
}

fn refuse(context: &Context, uid: &str, refusal: Refusal) {
    context.memory.of(uid, |memory| {
        memory.refusals = memory.refusals.saturating_add(1);
        memory.refusal = Some(refusal);
    });
}

fn adopt(context: &Context, uid: &str, pod: &Pod) {
    context.index.insert_pod(pod);
    context.memory.of(uid, |memory| {
        memory.refusal = None;
        memory.refusals = 0;
        memory.unsure = None;
    });
}

/// Puts the answer to a write into the index, unless it was the last that was heard of the pod: the watch may have told
/// of its end already, and would not tell again.
fn heard(context: &Context, pod: &Pod) {
    let gone = pod.metadata.deletion_timestamp.is_some()
        && pod.finalizers().is_empty()
        && pod.metadata.deletion_grace_period_seconds == Some(0);
    if !gone {
        context.index.insert_pod(pod);
    }
}

/// Looks at the server for a pod of the job that no watch tells of, and makes the watch tell of it again.
pub async fn find_pod(
    context: &Context,
    job: &DockerUniverseJob,
    name: &str,
) -> Result<Option<PodFacts>, Error> {
    let pods: Api<Pod> = Api::namespaced(context.client.clone(), &namespace(job));
    let Some(pod) = call("look for the job's pod", pods.get_opt(name)).await? else {
        return Ok(None);
    };
    let uid = job.uid().unwrap_or_default();
    if PodFacts::read(&pod).is_none_or(|facts| facts.owner != uid) {
        return Ok(None);
    }
    let pod = with_label(context, pod).await?;
    context.index.insert_pod(&pod);
    Ok(PodFacts::read(&pod))
}

/// The pod with the label by which the watch selects; anybody may have taken it off.
async fn with_label(context: &Context, pod: Pod) -> Result<Pod, Error> {
    if pod.labels().get(names::LABEL_MANAGED_BY).is_some_and(|value| value == names::MANAGED_BY) {
        return Ok(pod);
    }
    let pods: Api<Pod> =
        Api::namespaced(context.client.clone(), &pod.namespace().unwrap_or_default());
    let patch = json!({
        "metadata": { "uid": pod.uid(), "labels": { names::LABEL_MANAGED_BY: names::MANAGED_BY } },
    });
    let parameters = PatchParams::default();
    call("label the job's pod", pods.patch(&pod.name_any(), &parameters, &Patch::Merge(patch)))
        .await
}

/// The same owner, proc and attempt.
fn is_ours(there: &Pod, wanted: &Pod) -> bool {
    let (Some(there), Some(wanted)) = (PodFacts::read(there), owner_of(wanted)) else {
        return false;
    };
    (there.owner.as_str(), there.proc, there.attempt) == (wanted.0.as_str(), wanted.1, wanted.2)
}

fn owner_of(pod: &Pod) -> Option<(String, u32, u32)> {
    let owner = pod.owner_references().first()?.uid.clone();
    let number = |label: &str| pod.labels().get(label)?.parse().ok();
    Some((owner, number(names::LABEL_PROC_ID)?, number(names::LABEL_ATTEMPT)?))
}

async fn delete_pod(
    context: &Context,
    namespace: &str,
    name: &str,
    uid: &str,
    grace: Option<u32>,
) -> Result<(), Error> {
    let pods: Api<Pod> = Api::namespaced(context.client.clone(), namespace);
    context.metrics.wrote(Verb::DeletePod);
    let parameters = DeleteParams { grace_period_seconds: grace, ..only(uid) };
    let deleted = call("delete a pod", pods.delete(name, &parameters)).await;
    gone(deleted.map(|answer| {
        if let either::Either::Left(pod) = answer {
            heard(context, &pod);
        }
    }))
}

/// Writes the annotation that the pod's starter reads.
async fn suspend_pod(
    context: &Context,
    namespace: &str,
    name: &str,
    uid: &str,
    suspended: bool,
) -> Result<(), Error> {
    let pods: Api<Pod> = Api::namespaced(context.client.clone(), namespace);
    let value = suspended.then_some(control::SUSPENDED);
    let patch = json!({
        "metadata": { "uid": uid, "annotations": { names::ANNOTATION_SUSPEND: value } },
    });
    context.metrics.wrote(Verb::SuspendPod);
    let (parameters, patch) = (PatchParams::default(), Patch::Merge(patch));
    let told = call("suspend or continue a pod", pods.patch(name, &parameters, &patch)).await;
    changed(told.map(|pod| heard(context, &pod)))
}

/// Takes our finalizer off a pod, and no other.
pub async fn release_pod(
    context: &Context,
    namespace: &str,
    name: &str,
    uid: &str,
) -> Result<(), Error> {
    let pods: Api<Pod> = Api::namespaced(context.client.clone(), namespace);
    // A strategic merge of `finalizers` can delete one entry; the UID guards against a pod of the same name.
    let patch = json!({
        "metadata": { "uid": uid, "$deleteFromPrimitiveList/finalizers": [names::FINALIZER_ACCOUNTED] },
    });
    context.metrics.wrote(Verb::ReleasePod);
    context.index.release_pod(uid);
    let (parameters, patch) = (PatchParams::default(), Patch::Strategic(patch));
    let released = call("release a pod", pods.patch(name, &parameters, &patch)).await;
    changed(released.map(|pod| heard(context, &pod)))
}

/// Writes the answer of a command, unless it has one.
pub async fn answer(
    context: &Context,
    namespace: &str,
    name: &str,
    status: DockerUniverseCommandStatus,
) -> Result<(), Error> {
    let commands: Api<DockerUniverseCommand> = Api::namespaced(context.client.clone(), namespace);
    context.metrics.wrote(Verb::AnswerCommand);
    let patch = Patch::Merge(json!({ "status": status }));
    match call("answer a command", commands.patch_status(name, &PatchParams::default(), &patch))
        .await
    {
        Ok(command) => {
            context.index.insert_command(command);
            Ok(())
        }
        Err(error) if error.is_not_found() => Ok(()),
        Err(error) => Err(error),
    }
}

/// Writes how far a command by constraint has come, unless somebody else wrote meanwhile.
pub async fn write_progress(
    context: &Context,
    command: &DockerUniverseCommand,
    status: &DockerUniverseCommandStatus,
) -> Result<(), Error> {
    let namespace = command.namespace().unwrap_or_default();
    let commands: Api<DockerUniverseCommand> = Api::namespaced(context.client.clone(), &namespace);
    context.metrics.wrote(Verb::AnswerCommand);
    let patch = Patch::Merge(json!({
        "metadata": { "resourceVersion": command.resource_version(), "uid": command.uid() },
        "status": patch::of_status(command.status.as_ref(), status),
    }));
    let name = command.name_any();
    let parameters = PatchParams::default();
    let written = commands.patch_status(&name, &parameters, &patch);
    changed(call("write how far a command has come", written).await.map(|command| {
        context.index.insert_command(command);
    }))
}

/// Deletes a command whose answer has been there long enough.
pub async fn forget(
    context: &Context,
    namespace: &str,
    name: &str,
    uid: &str,
) -> Result<(), Error> {
    let commands: Api<DockerUniverseCommand> = Api::namespaced(context.client.clone(), namespace);
    context.metrics.wrote(Verb::DeleteCommand);
    gone(call("delete a command", commands.delete(name, &only(uid))).await.map(|_| ()))
}

async fn delete_job(context: &Context, job: &DockerUniverseJob) -> Result<(), Error> {
    let jobs: Api<DockerUniverseJob> = Api::namespaced(context.client.clone(), &namespace(job));
    let parameters = DeleteParams {
        propagation_policy: Some(PropagationPolicy::Background),
        ..only(&job.uid().unwrap_or_default())
    };
    context.metrics.wrote(Verb::DeleteJob);
    gone(call("delete the job", jobs.delete(&job.name_any(), &parameters)).await.map(|_| ()))
}

/// Gone, or another object of that name: what was wanted is so.
fn gone(made: Result<(), Error>) -> Result<(), Error> {
    match made {
        Err(error) if error.is_not_found() || error.is_conflict() => Ok(()),
        made => made,
    }
}

/// A change of an object with a certain UID: it is made, or the object is gone, or another one has its name. A conflict is
/// none of these: the server gave up between writes of others.
fn changed(made: Result<(), Error>) -> Result<(), Error> {
    match made {
        Err(error) if error.is_not_found() || error.is_of_another_uid() => Ok(()),
        made => made,
    }
}

fn only(uid: &str) -> DeleteParams {
    DeleteParams {
        preconditions: Some(Preconditions { uid: Some(uid.to_owned()), resource_version: None }),
        ..DeleteParams::default()
    }
}
