//! The creation of a proc's pod, and the pods that were created without our knowing.
//!
//! Invariant: one live pod a proc. While an earlier creation may yet happen, or somebody else has written the job, none is
//! made; one that is there is adopted only if owner, proc and attempt are the wanted ones.

use super::{Error, Made, call, namespace};
use crate::{
    index::version,
    memory::Unsure,
    metrics::{Kind, Verb},
    refusal,
    run::Context,
    slim::SlimPod,
};
use duj_api::{DockerUniverseJob, names};
use duj_core::{
    facts::PodFacts,
    observed::{Refusal, RefusalKind},
};
use jiff::SignedDuration;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Resource, ResourceExt,
    api::{ListParams, Patch, PatchParams, PostParams},
    core::{Request, Status},
};
use serde_json::json;

/// A request that was not answered in its time may still be carried out within this time.
const UNSURE: SignedDuration = SignedDuration::from_secs(30);

/// Pods that are listed at once.
const PAGE: u32 = 500;

/// Creates a pod, or finds it created.
pub(super) async fn create_pod(
    context: &Context,
    job: &DockerUniverseJob,
    pod: &Pod,
) -> Result<Made, Error> {
    let pods: Api<Pod> = Api::namespaced(context.client.clone(), &namespace(job));
    let uid = job.uid().unwrap_or_default();
    let name = pod.name_any();
    let (proc, attempt) = owner_of(pod).map_or((0, 0), |(_, proc, attempt)| (proc, attempt));
    // One live pod a proc: a pod whose creation was not answered comes before any other of its proc is made.
    let unsure = context.memory.of(&uid, |memory| memory.unsure.get(&proc).cloned());
    if let Some(unsure) = unsure.filter(|unsure| unsure.name != name) {
        let there = find_pod(context, job, &unsure.name).await?;
        if there.is_none() && context.clock.now() < unsure.until {
            refuse(context, &uid, may_come_yet(&unsure));
            return Ok(Made::Refused);
        }
        context.memory.of(&uid, |memory| memory.unsure.remove(&proc));
        if there.is_some() {
            return Ok(Made::Refused);
        }
    }
    if attempt > 0 {
        nobody_came_between(context, job).await?;
    }
    context.metrics.wrote(Verb::CreatePod);
    match call("create the job's pod", create(context, job, pod)).await {
        Ok(made) => {
            let since = context.memory.of(&uid, |memory| memory.idle_since.remove(&proc));
            if let Some(since) = since {
                context.metrics.pod_created(&uid, since, context.clock.now());
            }
            context.metrics.answered(Kind::Pods, &made);
            adopt(context, &uid, &made.0);
            context.index.insert_made(&made.0);
            Ok(Made::Done)
        }
        Err(error) if error.is_not_leading() => Err(error),
        Err(error) => {
            let answer = error.status().cloned();
            if answer.as_ref().is_none_or(|status| status.code >= 500) {
                // It may have happened, or happen yet.
                let until = context.clock.now() + UNSURE;
                context
                    .memory
                    .of(&uid, |memory| memory.unsure.insert(proc, Unsure { name, until }));
            }
            let Some(status) = answer else { return Err(error) };
            not_created(context, &pods, &uid, pod, &status).await
        }
    }
}

/// Creates it; of the answer only what is read is parsed.
async fn create(
    context: &Context,
    job: &DockerUniverseJob,
    pod: &Pod,
) -> Result<SlimPod, kube::Error> {
    let url = Pod::url_path(&(), Some(&namespace(job)));
    let body = serde_json::to_vec(pod).map_err(kube::Error::SerdeError)?;
    let request = Request::new(url).create(&PostParams::default(), body);
    context.client.request(request.map_err(kube::Error::BuildRequest)?).await
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
        if let Some((_, proc, _)) = owner_of(pod) {
            memory.unsure.remove(&proc);
        }
    });
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

/// Looks at the server for all pods that say they are the job's, whether or not a watch tells of them.
pub async fn find_pods(context: &Context, job: &DockerUniverseJob) -> Result<Vec<PodFacts>, Error> {
    let pods: Api<SlimPod> = Api::namespaced(context.client.clone(), &namespace(job));
    let uid = job.uid().unwrap_or_default();
    let mut found = Vec::new();
    let mut page =
        ListParams::default().labels(&format!("{}={uid}", names::LABEL_JOB_UID)).limit(PAGE);
    loop {
        let list = call("look for the job's pods", pods.list(&page)).await?;
        for SlimPod(pod) in list.items {
            if PodFacts::read(&pod).is_none_or(|facts| facts.owner != uid) {
                continue;
            }
            let pod = with_label(context, pod).await?;
            context.index.insert_pod(&pod);
            found.extend(PodFacts::read(&pod));
        }
        match list.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => page = page.continue_token(&token),
            None => return Ok(found),
        }
    }
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
