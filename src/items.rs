//! The items of a job's `queue`, as the shell has them: read once, kept, and remembered.
//!
//! Invariant: what a `ConfigMap` of somebody else says is kept in one of the job's own before anything is made of it. Whoever
//! made that one first is right: it is created and never written again, and it is what is read, also by the one who made it.

use crate::{
    metrics::Verb,
    perform::{Error, call},
    run::Context,
    userlog_pages::owned,
};
use duj_api::{DockerUniverseJob, names, queue::ItemsKey};
use duj_core::queue::{self, Items};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, ResourceExt, api::PostParams};
use std::{collections::BTreeMap, sync::Arc};

/// Why there are no items.
enum Lack {
    /// Something is missing that somebody may yet bring: one line for the job's owner.
    Missing(String),
    /// The API server could not be asked.
    Unknown(Error),
}

impl From<Error> for Lack {
    fn from(error: Error) -> Self {
        Self::Unknown(error)
    }
}

/// The items of a job, or why they are not known: one line for its owner.
pub async fn of(
    context: &Context,
    job: &DockerUniverseJob,
) -> Result<Result<Arc<Items>, String>, Error> {
    if let Some(known) = remembered(context, job) {
        return Ok(known);
    }
    let ended = job.status.as_ref().is_some_and(|status| status.completion_time.is_some());
    if ended || job.metadata.deletion_timestamp.is_some() {
        return Ok(Err("the job has ended".into()));
    }
    match find(context, job).await {
        Ok(items) => Ok(Ok(remember(context, job, items))),
        Err(Lack::Missing(message)) => Ok(Err(message)),
        Err(Lack::Unknown(error)) => Err(error),
    }
}

/// Items that nobody remembers: those that were kept, else those that are kept now.
async fn find(context: &Context, job: &DockerUniverseJob) -> Result<Items, Lack> {
    if let Some(text) = kept(context, job).await? {
        return own(job, &text).map_err(Lack::Missing);
    }
    let text = read(context, job).await?;
    // What makes no procs is not kept: as long as there are none, it may be mended.
    let items = own(job, &text).map_err(Lack::Missing)?;
    context.metrics.wrote(Verb::KeepItems);
    let map = ConfigMap {
        data: Some(BTreeMap::from([(names::ITEMS_KEY.to_owned(), text)])),
        immutable: Some(true),
        ..owned(job, &names::items_name(&job.name_any()))
    };
    let made = maps(context, job);
    match call("keep the items of a job", made.create(&PostParams::default(), &map)).await {
        Ok(_) => Ok(items),
        Err(error) if error.is_already_exists() => {
            let first = kept(context, job).await?;
            let gone = || Lack::Missing("what was kept of its items is gone".into());
            own(job, &first.ok_or_else(gone)?).map_err(Lack::Missing)
        }
        Err(error) if error.is_of_ending_namespace() => {
            Err(Lack::Missing("its namespace is being deleted".into()))
        }
        Err(error) => Err(error.into()),
    }
}

/// What is known of them without asking the API server.
pub fn known(context: &Context, job: &DockerUniverseJob) -> Result<Arc<Items>, String> {
    remembered(context, job).unwrap_or_else(|| Err("its items have not been read yet".into()))
}

/// Items that were read before, or that stand in the job itself.
fn remembered(context: &Context, job: &DockerUniverseJob) -> Option<Result<Arc<Items>, String>> {
    let uid = job.uid().unwrap_or_default();
    if let Some(items) = context.memory.of(&uid, |memory| memory.items.clone()) {
        return Some(Ok(items));
    }
    let items = job.spec.queue.as_ref().and_then(|queue| queue.items.as_ref());
    let elsewhere = items.is_some_and(|items| items.config_map_key_ref.is_some());
    (!elsewhere).then(|| {
        Items::read(job.spec.queue.as_ref(), None).map(|items| remember(context, job, items))
    })
}

fn remember(context: &Context, job: &DockerUniverseJob, items: Items) -> Arc<Items> {
    let items = Arc::new(items);
    let uid = job.uid().unwrap_or_default();
    context.memory.of(&uid, |memory| memory.items = Some(items.clone()));
    items
}

/// The items in a text, if it is the one that the job's procs were made of.
fn own(job: &DockerUniverseJob, text: &str) -> Result<Items, String> {
    let noticed = job.status.as_ref().and_then(|status| status.noticed.as_ref());
    let digest = noticed.and_then(|noticed| noticed.items.as_deref());
    if digest.is_some_and(|digest| digest != queue::digest(text)) {
        let name = names::items_name(&job.name_any());
        return Err(format!(
            "the ConfigMap '{name}' with the job's items was deleted or replaced, and what can be read now is another list: delete the job and create it anew"
        ));
    }
    Items::read(job.spec.queue.as_ref(), Some(text))
}

/// The text of a key, from the `ConfigMap` that the job names.
async fn read(context: &Context, job: &DockerUniverseJob) -> Result<String, Lack> {
    let items = job.spec.queue.as_ref().and_then(|queue| queue.items.as_ref());
    let Some(ItemsKey { name, key }) = items.and_then(|items| items.config_map_key_ref.as_ref())
    else {
        return Err(Lack::Missing("it names no ConfigMap".into()));
    };
    let found = call("read the items of a job", maps(context, job).get_opt(name)).await?;
    let Some(map) = found else {
        return Err(Lack::Missing(format!("the ConfigMap '{name}' does not exist")));
    };
    if map.binary_data.as_ref().is_some_and(|data| data.contains_key(key)) {
        let message = format!("the key '{key}' of the ConfigMap '{name}' is not text (UTF-8)");
        return Err(Lack::Missing(message));
    }
    let text = map.data.and_then(|mut data| data.remove(key));
    text.ok_or_else(|| Lack::Missing(format!("the ConfigMap '{name}' has no key '{key}'")))
}

/// The text that was kept for this job.
async fn kept(context: &Context, job: &DockerUniverseJob) -> Result<Option<String>, Lack> {
    let name = names::items_name(&job.name_any());
    let found = call("read the kept items of a job", maps(context, job).get_opt(&name)).await?;
    let Some(map) = found else { return Ok(None) };
    let owner = map.owner_references().first().map(|owner| owner.uid.clone());
    if owner != job.uid() {
        return Err(Lack::Missing(format!(
            "the ConfigMap '{name}', where they are to be kept, is there and is not this job's: delete it or rename it"
        )));
    }
    Ok(map.data.and_then(|mut data| data.remove(names::ITEMS_KEY)))
}

fn maps(context: &Context, job: &DockerUniverseJob) -> Api<ConfigMap> {
    Api::namespaced(context.client.clone(), &job.namespace().unwrap_or_default())
}
