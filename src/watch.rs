//! The watches: jobs, their pods, commands. They fill the index and wake the reconciler.
//!
//! Invariant: of a pod only what a decision reads is kept; a watch that breaks is begun again, with growing pauses.

use crate::{index::JobKey, orphans::Suspect, run::Context};
use duj_api::{DockerUniverseCommand, DockerUniverseJob, names};
use futures::{Stream, StreamExt, future, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client, ResourceExt,
    runtime::{
        WatchStreamExt,
        reflector::{ObjectRef, store::Writer},
        watcher::{self, watcher},
    },
};
use std::sync::Arc;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};

/// All objects of a kind, or those of one namespace.
pub fn api<K>(client: &Client, namespace: Option<&str>) -> Api<K>
where
    K: kube::Resource<Scope = kube::core::NamespaceResourceScope>,
    K::DynamicType: Default,
{
    match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

/// Jobs that were added or changed. Those that were deleted go to `deleted` instead.
pub fn jobs(
    context: &Arc<Context>,
    writer: Writer<DockerUniverseJob>,
    deleted: UnboundedSender<Suspect>,
) -> impl Stream<Item = Result<DockerUniverseJob, watcher::Error>> + Send + use<> {
    let context = context.clone();
    let api: Api<DockerUniverseJob> = api(&context.client, context.namespace.as_deref());
    watcher(api, watcher::Config::default())
        .default_backoff()
        .modify(|job| job.managed_fields_mut().clear())
        .reflect(writer)
        .inspect(log_errors("jobs"))
        .inspect(move |event| {
            if matches!(event, Ok(watcher::Event::InitDone)) {
                context.index.jobs_are_known();
            }
            let (watcher::Event::Apply(job)
            | watcher::Event::InitApply(job)
            | watcher::Event::Delete(job)) = (match event {
                Ok(event) => event,
                Err(_) => return,
            })
            else {
                return;
            };
            if let Some(id) = job.status.as_ref().and_then(|status| status.cluster_id) {
                context.cluster_ids.seen(id);
            }
            if let Ok(watcher::Event::Delete(job)) = event {
                let uid = job.uid().unwrap_or_default();
                context.memory.forget(&uid);
                context.places.forget(&uid);
                // The receiver lives as long as the process.
                let _ = deleted.send((uid, key(job)));
            }
        })
        .applied_objects()
}

/// The jobs that pods speak of.
pub fn pods(
    context: &Arc<Context>,
) -> impl Stream<Item = ObjectRef<DockerUniverseJob>> + Send + use<> {
    let context = context.clone();
    let api: Api<Pod> = api(&context.client, context.namespace.as_deref());
    let selector = format!("{}={}", names::LABEL_MANAGED_BY, names::MANAGED_BY);
    watcher(api, watcher::Config::default().labels(&selector))
        .default_backoff()
        .inspect(log_errors("pods"))
        .filter_map(|event| future::ready(event.ok()))
        .flat_map(move |event| {
            let concerned = context.index.pod_event(event);
            context.places.freed();
            stream::iter(concerned)
        })
        .map(|key| reference(&key))
}

/// The jobs whose turn it is to have more pods.
pub fn woken(
    mut keys: UnboundedReceiver<JobKey>,
) -> impl Stream<Item = ObjectRef<DockerUniverseJob>> + Send {
    stream::poll_fn(move |context| keys.poll_recv(context)).map(|key| reference(&key))
}

/// The jobs that commands are for; each place is also told to `places`, for commands without a job.
pub fn commands(
    context: &Arc<Context>,
    places: UnboundedSender<JobKey>,
) -> impl Stream<Item = ObjectRef<DockerUniverseJob>> + Send + use<> {
    let context = context.clone();
    let api: Api<DockerUniverseCommand> = api(&context.client, context.namespace.as_deref());
    watcher(api, watcher::Config::default())
        .default_backoff()
        .modify(|command| command.managed_fields_mut().clear())
        .inspect(log_errors("commands"))
        .filter_map(|event| future::ready(event.ok()))
        .flat_map(move |event| stream::iter(context.index.command_event(event)))
        .map(move |key| {
            // The receiver lives as long as the process.
            let _ = places.send(key.clone());
            reference(&key)
        })
}

fn log_errors<K>(kind: &'static str) -> impl Fn(&Result<watcher::Event<K>, watcher::Error>) {
    move |event| {
        if let Err(error) = event {
            tracing::warn!("the watch of {kind} broke and is begun again: {error}");
        }
    }
}

/// Where a job is.
pub fn key(job: &DockerUniverseJob) -> JobKey {
    JobKey { namespace: job.namespace().unwrap_or_default(), name: job.name_any() }
}

/// A reference to the job in a place.
pub fn reference(key: &JobKey) -> ObjectRef<DockerUniverseJob> {
    ObjectRef::new(&key.name).within(&key.namespace)
}
