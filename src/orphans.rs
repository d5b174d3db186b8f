//! Pods whose job is gone: the garbage collector deletes them, and only our finalizer would keep them.
//!
//! Invariant: a finalizer is taken off only after the API server itself said that no job of that UID exists.

use crate::{index::JobKey, perform, run::Context};
use duj_api::DockerUniverseJob;
use kube::{Api, ResourceExt};
use std::{collections::HashMap, sync::Arc, time::Duration};
use tokio::sync::mpsc;

/// Looks again at all owners this often, for what a crash or a lost watch event left behind.
const SWEEP: Duration = Duration::from_mins(1);

/// A job that may be gone, with the UID that its pods name.
pub type Suspect = (String, JobKey);

/// Releases the pods of jobs that are gone: those that are named, and once a minute whoever is left. `known` tells
/// whether the cache has a job of that UID.
pub async fn release(
    context: Arc<Context>,
    mut suspects: mpsc::UnboundedReceiver<Suspect>,
    known: impl Fn(&JobKey) -> Option<String> + Send + 'static,
) {
    context.index.wait_until_ready().await;
    let mut sweep = tokio::time::interval(SWEEP);
    loop {
        if !context.claim.is_current() {
            // Who leads first looks at all owners; what is told until then need not be kept.
            tokio::select! {
                suspect = suspects.recv() => if suspect.is_none() { return },
                () = context.claim.wait() => sweep.reset_immediately(),
            }
            continue;
        }
        let round: HashMap<String, JobKey> = tokio::select! {
            suspect = suspects.recv() => match suspect {
                Some(suspect) => HashMap::from([suspect]),
                None => return,
            },
            _ = sweep.tick() => context.index.owners().into_iter().collect(),
        };
        for (uid, key) in round {
            if known(&key).is_none_or(|cached| cached != uid) {
                release_pods_of(&context, &uid, &key).await;
            }
        }
    }
}

async fn release_pods_of(context: &Context, uid: &str, key: &JobKey) {
    let pods: Vec<_> = context.index.pods(uid).into_iter().filter(|pod| pod.unaccounted).collect();
    if pods.is_empty() {
        return;
    }
    let jobs: Api<DockerUniverseJob> = Api::namespaced(context.client.clone(), &key.namespace);
    match perform::call("look for the job of a pod", jobs.get_metadata_opt(&key.name)).await {
        Ok(Some(job)) if job.uid().as_deref() == Some(uid) => return,
        Ok(_) => {}
        Err(error) => {
            tracing::warn!(job = format!("{}/{}", key.namespace, key.name), "{error}");
            return; // the sweep comes again
        }
    }
    for pod in pods {
        match perform::release_pod(context, &key.namespace, &pod.name, &pod.uid).await {
            // A pod without its label may be gone by that, and no watch would tell.
            Ok(()) => context.index.forget_pod(uid, &pod.name),
            Err(error) if error.is_not_leading() => return,
            Err(error) => {
                tracing::warn!(pod = format!("{}/{}", key.namespace, pod.name), "{error}");
            }
        }
    }
}
