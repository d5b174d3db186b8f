//! The watches: jobs, their pods, commands. They fill the index and wake the reconciler.
//!
//! Invariant: of a pod only what a decision reads is kept; a watch that breaks is begun again, with growing pauses.

use crate::{
    index::{JobKey, Live},
    metrics::Kind,
    orphans::Suspect,
    run::Context,
    slim::{self, SlimPod},
    workqueue::Class,
};
use duj_api::{DockerUniverseCommand, DockerUniverseJob, names};
use futures::{StreamExt, future};
use kube::{
    Api, Client, ResourceExt,
    runtime::{
        WatchStreamExt,
        reflector::{ObjectRef, store::Writer},
        watcher::{self, watcher},
    },
};
use std::{collections::HashSet, sync::Arc};
use tokio::sync::mpsc::UnboundedSender;

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

/// The jobs of a list that is being told.
///
/// The cache has none of them before it has all: who looked earlier would find a job gone that is there.
#[derive(Debug, Default)]
struct Listing {
    uids: HashSet<String>,
    jobs: Vec<(JobKey, Class)>,
}

impl Listing {
    /// The jobs that may be looked at now.
    fn told(&mut self, event: &watcher::Event<DockerUniverseJob>) -> Vec<(JobKey, Class)> {
        let of = |job: &DockerUniverseJob| {
            (key(job), if job.status.is_none() { Class::New } else { Class::UnderWay })
        };
        match event {
            watcher::Event::Init => *self = Self::default(),
            watcher::Event::InitApply(job) => {
                self.uids.extend(job.uid());
                self.jobs.push(of(job));
            }
            watcher::Event::InitDone => return std::mem::take(&mut self.jobs),
            watcher::Event::Apply(job) => return vec![of(job)],
            watcher::Event::Delete(_) => {}
        }
        Vec::new()
    }
}

/// Keeps the cache of jobs and wakes those that were added or changed. Those that were deleted go to `deleted` instead.
pub fn jobs(
    context: &Arc<Context>,
    writer: Writer<DockerUniverseJob>,
    deleted: UnboundedSender<Suspect>,
) -> impl Future<Output = ()> + Send + use<> {
    let context = context.clone();
    let mut listing = Listing::default();
    let api: Api<DockerUniverseJob> = api(&context.client, context.namespace.as_deref());
    watcher(api, watcher::Config::default())
        .default_backoff()
        .modify(slim::job)
        .reflect(writer)
        .inspect(log_errors("jobs"))
        .inspect(move |event| {
            if let Ok(event) = event {
                context.metrics.job_told(event);
            }
            let Ok(event) = event else { return };
            for (key, class) in listing.told(event) {
                context.workqueue.add(key, class);
            }
            if matches!(event, watcher::Event::InitDone) {
                // Of those that went while the watch was broken nothing is told.
                context.memory.keep(&listing.uids);
                context.places.keep(&listing.uids);
                context.index.jobs_are_known();
                listing = Listing::default();
            }
            let (watcher::Event::Apply(job)
            | watcher::Event::InitApply(job)
            | watcher::Event::Delete(job)) = event
            else {
                return;
            };
            if let Some(id) = job.status.as_ref().and_then(|status| status.cluster_id) {
                context.cluster_ids.seen(id);
            }
            if let watcher::Event::Delete(job) = event {
                let uid = job.uid().unwrap_or_default();
                context.memory.forget(&uid);
                context.places.forget(&uid);
                // The receiver lives as long as the process.
                let _ = deleted.send((uid, key(job)));
            }
        })
        .for_each(|_| future::ready(()))
}

/// Wakes the jobs that pods speak of.
pub fn pods(context: &Arc<Context>) -> impl Future<Output = ()> + Send + use<> {
    let context = context.clone();
    let api: Api<SlimPod> = api(&context.client, context.namespace.as_deref());
    let selector = format!("{}={}", names::LABEL_MANAGED_BY, names::MANAGED_BY);
    watcher(api, watcher::Config::default().labels(&selector))
        .default_backoff()
        .inspect(log_errors("pods"))
        .filter_map(|event| future::ready(event.ok()))
        .for_each(move |event| {
            context.metrics.told(Kind::Pods, &event);
            for key in context.index.pod_event(event) {
                context.workqueue.add(key, Class::UnderWay);
            }
            context.metrics.pods_live(context.index.with_live(Live::all));
            context.places.freed();
            future::ready(())
        })
}

/// Wakes the jobs that commands are for; each place is also told to `places`, for commands without a job.
pub fn commands(
    context: &Arc<Context>,
    places: UnboundedSender<JobKey>,
) -> impl Future<Output = ()> + Send + use<> {
    let context = context.clone();
    let api: Api<DockerUniverseCommand> = api(&context.client, context.namespace.as_deref());
    watcher(api, watcher::Config::default())
        .default_backoff()
        .modify(|command| command.metadata.managed_fields = None)
        .inspect(log_errors("commands"))
        .filter_map(|event| future::ready(event.ok()))
        .for_each(move |event| {
            context.metrics.told(Kind::Commands, &event);
            for key in context.index.command_event(event) {
                context.workqueue.add(key.clone(), Class::UnderWay);
                // The receiver lives as long as the process.
                let _ = places.send(key);
            }
            future::ready(())
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

#[cfg(test)]
mod tests {
    use super::*;
    use duj_api::DockerUniverseJobSpec;

    fn job(name: &str, decided: bool) -> DockerUniverseJob {
        let mut job = DockerUniverseJob::new(name, DockerUniverseJobSpec::default());
        job.metadata.namespace = Some("physics".into());
        job.metadata.uid = Some(format!("{name}-1"));
        job.status = decided.then(Default::default);
        job
    }

    #[test]
    fn jobs_of_a_list_are_looked_at_once_the_cache_has_them() {
        let mut listing = Listing::default();
        let mut told = |event| {
            let jobs = listing.told(&event);
            jobs.into_iter().map(|(key, class)| (key.name, class)).collect::<Vec<_>>()
        };
        assert_eq!(told(watcher::Event::Init), []);
        assert_eq!(told(watcher::Event::InitApply(job("a", false))), []);
        assert_eq!(told(watcher::Event::InitApply(job("b", true))), []);
        let both = [("a".to_owned(), Class::New), ("b".to_owned(), Class::UnderWay)];
        assert_eq!(told(watcher::Event::InitDone), both);
        assert_eq!(told(watcher::Event::Apply(job("c", false))), [("c".to_owned(), Class::New)]);
        assert_eq!(told(watcher::Event::Delete(job("c", false))), []);
        // A list that broke off is told anew.
        assert_eq!(told(watcher::Event::Init), []);
        assert_eq!(told(watcher::Event::InitApply(job("a", true))), []);
        assert_eq!(told(watcher::Event::Init), []);
        assert_eq!(told(watcher::Event::InitDone), []);
    }
}
