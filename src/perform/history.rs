//! Pods that are not kept any longer: many with one request.
//!
//! Invariant: what is deleted has ended, and is of a proc of this very job that is at its end; a pod that says so and is still
//! running is somebody's copy, and is not touched.

use super::{Error, call, delete_pod, namespace};
use crate::{metrics::Verb, run::Context};
use axum::http::{HeaderValue, header::ACCEPT};
use duj_api::{DockerUniverseJob, names};
use duj_core::observed::EndedPod;
use futures::future::try_join_all;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Resource, ResourceExt,
    api::{DeleteParams, ListParams, Request},
};
use serde::Deserialize;
use std::collections::HashSet;

/// Pods that one request deletes: the API server does it one after the other, and has to answer in time.
const IN_A_REQUEST: usize = 50;
/// What was deleted is answered without specs and states.
const NAMES_ONLY: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";

/// What was deleted, as far as anybody reads it.
#[derive(Deserialize)]
struct Deleted {
    items: Vec<DeletedPod>,
}

#[derive(Deserialize)]
struct DeletedPod {
    metadata: Identity,
}

#[derive(Deserialize)]
struct Identity {
    uid: String,
}

/// Deletes these pods.
pub(super) async fn forget_pods(
    context: &Context,
    job: &DockerUniverseJob,
    pods: Vec<EndedPod>,
) -> Result<(), Error> {
    let requests = pods.chunks(IN_A_REQUEST).map(|pods| forget_some(context, job, pods));
    try_join_all(requests).await.map(drop)
}

async fn forget_some(
    context: &Context,
    job: &DockerUniverseJob,
    pods: &[EndedPod],
) -> Result<(), Error> {
    let deleted =
        if pods.len() > 1 { delete_ended(context, job, pods).await? } else { HashSet::new() };
    // The labels are what a request selects by; who changed them changes nothing but the number of requests.
    for pod in pods.iter().filter(|pod| !deleted.contains(&pod.uid)) {
        delete_pod(context, &namespace(job), &pod.name, &pod.uid, None).await?;
    }
    Ok(())
}

/// Deletes the ended pods of these procs; the UIDs of those that were there.
async fn delete_ended(
    context: &Context,
    job: &DockerUniverseJob,
    pods: &[EndedPod],
) -> Result<HashSet<String>, Error> {
    let job_uid = job.uid().unwrap_or_default();
    let pods = Request::new(Pod::url_path(&(), Some(&namespace(job))))
        .delete_collection(&DeleteParams::default(), &selection(&job_uid, pods));
    let deleted = call("delete pods that have ended", async {
        let mut request = pods.map_err(kube::Error::BuildRequest)?;
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static(NAMES_ONLY));
        context.metrics.wrote(Verb::ForgetPods);
        context.client.request::<Deleted>(request).await
    });
    let mut uids = HashSet::new();
    for pod in deleted.await?.items {
        // The watch tells of it soon; until then nobody should ask for it once more.
        context.index.drop_pod(&job_uid, &pod.metadata.uid);
        uids.insert(pod.metadata.uid);
    }
    Ok(uids)
}

/// Selects the pods that have ended of these procs of the job with this UID.
fn selection(job: &str, pods: &[EndedPod]) -> ListParams {
    let procs: Vec<String> = pods.iter().map(|pod| pod.proc.to_string()).collect();
    let (job_uid, proc_id) = (names::LABEL_JOB_UID, names::LABEL_PROC_ID);
    ListParams::default()
        .labels(&format!("{job_uid}={job},{proc_id} in ({})", procs.join(",")))
        .fields("status.phase!=Pending,status.phase!=Running")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ended_pods_of_these_procs_of_the_job_are_selected() {
        let pod = |proc| EndedPod { name: format!("a-{proc}-0"), uid: format!("u{proc}"), proc };
        let selection = selection("u", &[pod(3), pod(70_000)]);
        let labels = "dockeruniverse.io/job-uid=u,dockeruniverse.io/proc-id in (3,70000)";
        assert_eq!(selection.label_selector.as_deref(), Some(labels));
        let fields = "status.phase!=Pending,status.phase!=Running";
        assert_eq!(selection.field_selector.as_deref(), Some(fields));
    }
}
