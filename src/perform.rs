//! From `duj_core`'s effects to API calls. Nothing else writes to jobs, commands and pods.
//!
//! Invariant: each call is idempotent and bound to a UID: what happened although its answer was lost happens once, and
//! an object of the same name that is not ours is never touched. Every call has a deadline; nothing is retried here.

mod creation;
mod error;
mod history;

pub use creation::{find_pod, find_pods};
pub use error::Error;

use crate::{
    leadership::gate,
    metrics::{Kind, Verb},
    records_pages,
    run::Context,
    slim::SlimPod,
    userlog_pages,
};
use duj_api::{
    DockerUniverseCommand, DockerUniverseCommandStatus, DockerUniverseJob, DockerUniverseJobStatus,
    names,
};
use duj_core::{observed::Effect, patch};
use duj_protocol::{control, lease::Mark};
use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, Preconditions, PropagationPolicy},
};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// The longest that one call may take; the gate gives writes less.
const DEADLINE: Duration = Duration::from_secs(10);

/// Pods of one job that are written at the same time; others of all jobs have their share of the client's bound.
const AT_ONCE: usize = 16;

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
        Ok(Err(source)) if gate::is_not_leading(&source) => Err(Error::NotLeading(attempt)),
        Ok(Err(source)) if gate::is_given_up(&source) => Err(Error::NoAnswer(attempt)),
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
    let written = call(
        "write the job's status",
        jobs.patch_status(&job.name_any(), &parameters, &Patch::Merge(patch)),
    )
    .await?;
    context.metrics.answered(Kind::Jobs, &written);
    Ok(written)
}

/// Carries out the effects of a decision: those on different pods at the same time, all others in their order.
pub async fn all(
    context: &Context,
    job: &DockerUniverseJob,
    effects: Vec<Effect>,
) -> Result<Made, Error> {
    let mut effects = effects.into_iter().peekable();
    while let Some(effect) = effects.next() {
        let Some(pod) = effect.pod().map(str::to_owned) else {
            perform(context, job, effect).await?;
            continue;
        };
        let mut by_pod = BTreeMap::from([(pod, vec![effect])]);
        while let Some(effect) = effects.next_if(|effect| effect.pod().is_some()) {
            let pod = effect.pod().unwrap_or_default().to_owned();
            by_pod.entry(pod).or_default().push(effect);
        }
        if at_once(context, job, by_pod).await? == Made::Refused {
            return Ok(Made::Refused);
        }
    }
    Ok(Made::Done)
}

/// Carries out what is to be done about several pods. After the first error, or a refusal, nothing more is begun: the next
/// decision begins with what is known then.
async fn at_once(
    context: &Context,
    job: &DockerUniverseJob,
    by_pod: BTreeMap<String, Vec<Effect>>,
) -> Result<Made, Error> {
    let stop = &AtomicBool::new(false);
    let results = stream::iter(by_pod.into_values()).map(|effects| async move {
        for effect in effects {
            if stop.load(Ordering::Relaxed) {
                return Ok(Made::Done);
            }
            // One pod's lease that cannot be written costs no other pod its own.
            let alone = matches!(effect, Effect::MarkLease { .. });
            let made = Box::pin(perform(context, job, effect)).await;
            if !matches!(made, Ok(Made::Done)) {
                stop.fetch_or(!alone, Ordering::Relaxed);
                return made;
            }
        }
        Ok(Made::Done)
    });
    let made: Vec<Result<Made, Error>> = results.buffer_unordered(AT_ONCE).collect().await;
    let mut all = Made::Done;
    for made in made {
        if made? == Made::Refused {
            all = Made::Refused;
        }
    }
    Ok(all)
}

/// Carries out one effect for a job.
pub async fn perform(
    context: &Context,
    job: &DockerUniverseJob,
    effect: Effect,
) -> Result<Made, Error> {
    match effect {
        Effect::CreatePod(pod) => return Box::pin(creation::create_pod(context, job, &pod)).await,
        Effect::DeletePod { name, uid, grace } => {
            delete_pod(context, &namespace(job), &name, &uid, grace).await?;
        }
        Effect::SuspendPod { name, uid, suspended } => {
            let value = suspended.then(|| control::SUSPENDED.to_owned());
            let annotation = (names::ANNOTATION_SUSPEND, value);
            annotate(context, &namespace(job), (&name, &uid), Verb::SuspendPod, annotation).await?;
        }
        Effect::Resend { name, uid, number } => {
            let annotation = (names::ANNOTATION_RESEND, Some(number.to_string()));
            annotate(context, &namespace(job), (&name, &uid), Verb::Resend, annotation).await?;
        }
        Effect::AnnounceStop { name, uid, why, at } => {
            let value = format!("{why} {}", at.as_millisecond());
            let annotation = (names::ANNOTATION_STOP, Some(value));
            let pod = (&*name, &*uid);
            annotate(context, &namespace(job), pod, Verb::AnnounceStop, annotation).await?;
        }
        Effect::MarkLease { name, uid, version, mark } => {
            mark_lease(context, &namespace(job), &name, &uid, &version, mark).await?;
        }
        Effect::ReleasePod { name, uid } => {
            release_pod(context, &namespace(job), &name, &uid).await?;
        }
        Effect::ForgetPods(pods) => history::forget_pods(context, job, pods).await?,
        Effect::AppendPages(parts) => userlog_pages::append(context, job, &parts).await?,
        Effect::MakeRecords(page) => records_pages::make(context, job, &page).await?,
        Effect::DropRecords(name) => records_pages::drop_page(context, job, &name).await?,
        Effect::Answer { name, version, status } => {
            let status = patch::of_status(None, &status);
            write_command_status(context, &namespace(job), &name, &version, status).await?;
        }
        Effect::DeleteJob => delete_job(context, job).await?,
        Effect::Event { warning, reason, note } => {
            let (uid, now) = (job.uid().unwrap_or_default(), context.clock.now());
            if context.memory.of(&uid, |memory| memory.events.admits(now)) {
                context.recorder.tell(job, warning, reason, note);
            }
        }
    }
    Ok(Made::Done)
}

fn namespace(job: &DockerUniverseJob) -> String {
    job.namespace().unwrap_or_default()
}

/// Puts the answer to a write into the index, unless it was the last that was heard of the pod: the watch may have told
/// of its end already, and would not tell again.
fn heard(context: &Context, pod: &Pod) {
    let gone = pod.metadata.deletion_timestamp.is_some()
        && pod.finalizers().is_empty()
        && pod.metadata.deletion_grace_period_seconds == Some(0);
    if !gone {
        context.index.insert_pod(pod);
        context.metrics.answered(Kind::Pods, pod);
    }
}

/// The pods of a namespace, of which only what somebody reads is kept.
fn pods(context: &Context, namespace: &str) -> Api<SlimPod> {
    Api::namespaced(context.client.clone(), namespace)
}

async fn delete_pod(
    context: &Context,
    namespace: &str,
    name: &str,
    uid: &str,
    grace: Option<u32>,
) -> Result<(), Error> {
    let pods = pods(context, namespace);
    context.metrics.wrote(Verb::DeletePod);
    let parameters = DeleteParams { grace_period_seconds: grace, ..only(uid) };
    let deleted = call("delete a pod", pods.delete(name, &parameters)).await;
    gone(deleted.map(|answer| {
        if let either::Either::Left(pod) = answer {
            heard(context, &pod.0);
        }
    }))
}

/// Writes the annotation that the pod's starter reads.
async fn annotate(
    context: &Context,
    namespace: &str,
    (name, uid): (&str, &str),
    verb: Verb,
    (annotation, value): (&str, Option<String>),
) -> Result<(), Error> {
    let pods = pods(context, namespace);
    let patch = json!({ "metadata": { "uid": uid, "annotations": { annotation: value } } });
    context.metrics.wrote(verb);
    let (parameters, patch) = (PatchParams::default(), Patch::Merge(patch));
    let told = call("annotate a pod", pods.patch(name, &parameters, &patch)).await;
    changed(told.map(|pod| heard(context, &pod.0)))
}

/// Writes the annotation that is a lease, over the pod as it was seen and no other.
async fn mark_lease(
    context: &Context,
    namespace: &str,
    name: &str,
    uid: &str,
    version: &str,
    mark: Mark,
) -> Result<(), Error> {
    let pods = pods(context, namespace);
    let patch = json!({
        "metadata": {
            "uid": uid, "resourceVersion": version,
            "annotations": { names::ANNOTATION_LEASE: mark.to_string() },
        },
    });
    context.metrics.wrote(Verb::MarkLease);
    let (parameters, patch) = (PatchParams::default(), Patch::Merge(patch));
    let written = call("write a pod's lease", pods.patch(name, &parameters, &patch)).await;
    changed(written.map(|pod| heard(context, &pod.0)))
}

/// Takes our finalizer off a pod, and no other.
pub async fn release_pod(
    context: &Context,
    namespace: &str,
    name: &str,
    uid: &str,
) -> Result<(), Error> {
    let pods = pods(context, namespace);
    // A strategic merge of `finalizers` can delete one entry; the UID guards against a pod of the same name.
    let patch = json!({
        "metadata": { "uid": uid, "$deleteFromPrimitiveList/finalizers": [names::FINALIZER_ACCOUNTED] },
    });
    context.metrics.wrote(Verb::ReleasePod);
    context.index.release_pod(uid);
    let (parameters, patch) = (PatchParams::default(), Patch::Strategic(patch));
    let released = call("release a pod", pods.patch(name, &parameters, &patch)).await;
    changed(released.map(|pod| heard(context, &pod.0)))
}

/// Writes the status of a command, unless somebody else wrote to it meanwhile, or made another one of its name: the API
/// server does not compare the UID where only the status is patched, and versions are never used again.
pub async fn write_command_status(
    context: &Context,
    namespace: &str,
    name: &str,
    version: &str,
    status: Value,
) -> Result<(), Error> {
    let commands: Api<DockerUniverseCommand> = Api::namespaced(context.client.clone(), namespace);
    context.metrics.wrote(Verb::AnswerCommand);
    let patch =
        Patch::Merge(json!({ "metadata": { "resourceVersion": version }, "status": status }));
    let parameters = PatchParams::default();
    match call("answer a command", commands.patch_status(name, &parameters, &patch)).await {
        Ok(command) => {
            context.metrics.answered(Kind::Commands, &command);
            context.index.insert_command(command);
            Ok(())
        }
        Err(error) if error.is_not_found() => Ok(()),
        Err(error) => Err(error),
    }
}

/// Writes the status of a command of which this is known.
pub async fn answer(
    context: &Context,
    command: &DockerUniverseCommand,
    status: &DockerUniverseCommandStatus,
) -> Result<(), Error> {
    let namespace = command.namespace().unwrap_or_default();
    let version = command.resource_version().unwrap_or_default();
    let status = patch::of_status(command.status.as_ref(), status);
    write_command_status(context, &namespace, &command.name_any(), &version, status).await
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

/// Deletes a job as it is known, and no other version: somebody may have given it more time meanwhile.
async fn delete_job(context: &Context, job: &DockerUniverseJob) -> Result<(), Error> {
    let jobs: Api<DockerUniverseJob> = Api::namespaced(context.client.clone(), &namespace(job));
    let uid = job.uid().unwrap_or_default();
    let known = context.memory.newest(Arc::new(job.clone()));
    let parameters = DeleteParams {
        propagation_policy: Some(PropagationPolicy::Background),
        preconditions: Some(Preconditions {
            uid: Some(uid),
            resource_version: known.resource_version(),
        }),
        ..DeleteParams::default()
    };
    context.metrics.wrote(Verb::DeleteJob);
    match call("delete the job", jobs.delete(&job.name_any(), &parameters)).await {
        Err(error) if error.is_not_found() => Ok(()),
        deleted => deleted.map(|_| ()),
    }
}

/// Gone, or another object of that name: what was wanted is so.
pub(crate) fn gone(made: Result<(), Error>) -> Result<(), Error> {
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
