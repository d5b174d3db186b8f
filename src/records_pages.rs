//! Pages of records: what is known of procs where the job's status has no room for it, in `ConfigMaps` beside the job.
//!
//! Invariant: a page is made once and never changed; the status that names it is written after it is there, and it is deleted
//! after the first status that does not name it. Without a page that its status names a job is not decided about.

use crate::{
    metrics::Verb,
    perform::{self, Error, call},
    run::Context,
    userlog_pages::owned,
};
use duj_api::DockerUniverseJob;
use duj_core::spill::Page;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, PostParams},
};
use std::{collections::BTreeMap, sync::Arc};

/// The key of a page's content: groups as the status has them, as JSON.
const PROCS: &str = "procs";

/// The pages that the job's status names.
pub async fn of(context: &Context, job: &DockerUniverseJob) -> Result<Vec<Arc<Page>>, Error> {
    if job.metadata.deletion_timestamp.is_some() {
        return Ok(Vec::new()); // nothing is decided but to let its pods go, and its pages may go before it
    }
    let named = job.status.iter().flat_map(|status| &status.procs_pages);
    let uid = job.uid().unwrap_or_default();
    let mut pages = Vec::new();
    for named in named {
        let known = context.memory.of(&uid, |memory| memory.pages.get(&named.name).cloned());
        let page = match known {
            Some(page) => page,
            None => read(context, job, &named.name).await?,
        };
        pages.push(page);
    }
    if !pages.is_empty() || context.memory.of(&uid, |memory| !memory.pages.is_empty()) {
        let known = pages.iter().map(|page| (page.name.clone(), page.clone())).collect();
        context.memory.of(&uid, |memory| memory.pages = known);
    }
    Ok(pages)
}

/// The pages that the job's status names, as far as they are known.
pub fn known(context: &Context, job: &DockerUniverseJob) -> Vec<Arc<Page>> {
    let uid = job.uid().unwrap_or_default();
    context.memory.of(&uid, |memory| memory.pages.values().cloned().collect())
}

async fn read(context: &Context, job: &DockerUniverseJob, name: &str) -> Result<Arc<Page>, Error> {
    let page = call("read a page of records", api(context, job).get_opt(name)).await?;
    let page = page.filter(|page| {
        page.owner_references().first().is_some_and(|owner| Some(&owner.uid) == job.uid().as_ref())
    });
    let text = page.and_then(|page| page.data?.remove(PROCS));
    let groups = text.and_then(|text| serde_json::from_str(&text).ok());
    let groups = groups.ok_or_else(|| Error::NoRecords(name.to_owned()))?;
    Ok(Arc::new(Page::new(name.to_owned(), groups)))
}

/// Makes a page. One that is there has the same content: its name says so.
pub async fn make(
    context: &Context,
    job: &DockerUniverseJob,
    page: &Arc<Page>,
) -> Result<(), Error> {
    let text = serde_json::to_string(&page.groups).map_err(Error::Json)?;
    let made = ConfigMap {
        data: Some(BTreeMap::from([(PROCS.to_owned(), text)])),
        immutable: Some(true),
        ..owned(job, &page.name)
    };
    context.metrics.wrote(Verb::MakeRecords);
    let pages = api(context, job);
    match call("make a page of records", pages.create(&PostParams::default(), &made)).await {
        Err(error) if error.is_already_exists() || error.is_of_ending_namespace() => {}
        answer => drop(answer?),
    }
    let uid = job.uid().unwrap_or_default();
    context.memory.of(&uid, |memory| memory.pages.insert(page.name.clone(), page.clone()));
    Ok(())
}

/// Deletes a page that no status names any more.
pub async fn drop_page(
    context: &Context,
    job: &DockerUniverseJob,
    name: &str,
) -> Result<(), Error> {
    context.metrics.wrote(Verb::DropRecords);
    let pages = api(context, job);
    let parameters = DeleteParams::default();
    let deleted = call("delete a page of records", pages.delete(name, &parameters)).await;
    perform::gone(deleted.map(|_| ()))
}

fn api(context: &Context, job: &DockerUniverseJob) -> Api<ConfigMap> {
    Api::namespaced(context.client.clone(), &job.namespace().unwrap_or_default())
}
