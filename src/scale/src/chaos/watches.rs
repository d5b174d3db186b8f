//! The watches of jobs and commands, which see every version. Invariant: they are the administrator's own, and no operator's.

use super::{NAMESPACE, history::History, people::Answers};
use duj_api::{DockerUniverseCommand, DockerUniverseJob};
use futures::StreamExt as _;
use kube::{
    Api, Client, Resource,
    runtime::{
        WatchStreamExt as _,
        watcher::{self, Event, watcher},
    },
};
use serde::de::DeserializeOwned;
use std::{
    fmt::Debug,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::task::JoinSet;

/// What they see.
#[derive(Clone, Default)]
pub(super) struct Seen {
    /// The jobs.
    pub(super) history: Arc<Mutex<History>>,
    /// The commands' answers.
    pub(super) answers: Arc<Mutex<Answers>>,
}

/// Nobody panics while holding it.
pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Seen {
    /// Begins to watch; it ends with the tasks.
    pub(super) fn watch(&self, client: &Client, tasks: &mut JoinSet<()>) {
        let (history, answers) = (self.history.clone(), self.answers.clone());
        let jobs: Api<DockerUniverseJob> = Api::namespaced(client.clone(), NAMESPACE);
        tasks.spawn(each(jobs, move |event| {
            let mut history = locked(&history);
            match event {
                Event::Apply(job) | Event::InitApply(job) => history.see(job),
                Event::Delete(job) => history.lose(&job),
                Event::Init | Event::InitDone => {}
            }
        }));
        let commands: Api<DockerUniverseCommand> = Api::namespaced(client.clone(), NAMESPACE);
        tasks.spawn(each(commands, move |event| {
            if let Event::Apply(command) | Event::InitApply(command) = event
                && command.is_answered()
                && let Some(status) = command.status
            {
                let name = command.metadata.name.unwrap_or_default();
                locked(&answers).insert(name, status);
            }
        }));
    }
}

async fn each<T>(api: Api<T>, mut tell: impl FnMut(Event<T>))
where
    T: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let mut stream = std::pin::pin!(watcher(api, watcher::Config::default()).default_backoff());
    while let Some(event) = stream.next().await {
        match event {
            Ok(event) => tell(event),
            Err(error) => eprintln!("a watch broke and is begun again: {error}"),
        }
    }
}
