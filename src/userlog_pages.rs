//! The pages of a job's userlog: what has left the status, in `ConfigMaps` beside the job.
//!
//! Invariant: a part is in its page once. Each append is guarded by the page's resource version and by the number of parts
//! that it says to hold, so that a crash between page and status, or two of us, repeat nothing.

use crate::{
    metrics::Verb,
    perform::{Error, call},
    run::Context,
};
use duj_api::{DockerUniverseJob, GROUP, VERSION, names};
use duj_core::observed::LogPart;
use flate2::{Compression, write::GzEncoder};
use k8s_openapi::{
    ByteString, api::core::v1::ConfigMap, apimachinery::pkg::apis::meta::v1::OwnerReference,
};
use kube::{
    Api, ResourceExt,
    api::{ObjectMeta, PostParams},
};
use std::{collections::BTreeMap, io::Write as _};

/// The key of a page's content.
const LOG: &str = "log.gz";

/// Puts parts into their pages, those that are not there: one write a page.
pub async fn append(
    context: &Context,
    job: &DockerUniverseJob,
    parts: &[LogPart],
) -> Result<(), Error> {
    for of_page in parts.chunk_by(|one, next| one.page() == next.page()) {
        append_to_one(context, job, of_page).await?;
    }
    Ok(())
}

async fn append_to_one(
    context: &Context,
    job: &DockerUniverseJob,
    parts: &[LogPart],
) -> Result<(), Error> {
    let Some(first) = parts.first() else { return Ok(()) };
    let namespace = job.namespace().unwrap_or_default();
    let pages: Api<ConfigMap> = Api::namespaced(context.client.clone(), &namespace);
    let name = format!("{}-userlog-{}", job.name_any(), first.page());
    // A new page is created without a look; one that is there says so.
    let there = if first.place() == 0 {
        None
    } else {
        call("read a page of the userlog", pages.get_opt(&name)).await?
    };
    let page = if let Some(page) = there {
        page
    } else {
        if first.place() > 0 {
            tracing::warn!(
                page = format!("{namespace}/{name}"),
                "the page is gone with what it held"
            );
        }
        let page = parts.iter().try_fold(empty(job, &name), with)?;
        context.metrics.wrote(Verb::AppendPage);
        let parameters = PostParams::default();
        match call("create a page of the userlog", pages.create(&parameters, &page)).await {
            Err(error) if error.is_already_exists() => {
                call("read a page of the userlog", pages.get(&name)).await?
            }
            Err(error) if error.is_of_ending_namespace() => return Ok(()),
            made => return made.map(|_| ()),
        }
    };
    let owner = page.owner_references().first().map(|owner| owner.uid.clone());
    if owner != job.uid() {
        return Err(Error::ForeignPage(name));
    }
    // What is there already was put there for a status that was not written.
    let held = held(&page);
    let new: Vec<_> = parts.iter().filter(|part| part.place() >= held).collect();
    if new.is_empty() {
        return Ok(());
    }
    let page = new.into_iter().try_fold(page, with)?;
    context.metrics.wrote(Verb::AppendPage);
    // The page was read with its resource version: whoever came between makes this a conflict.
    call("write a page of the userlog", pages.replace(&name, &PostParams::default(), &page))
        .await?;
    Ok(())
}

/// How many parts a page says to hold.
fn held(page: &ConfigMap) -> i64 {
    let told = page.annotations().get(names::ANNOTATION_PARTS);
    told.and_then(|text| text.parse().ok()).unwrap_or(0)
}

fn with(mut page: ConfigMap, part: &LogPart) -> Result<ConfigMap, Error> {
    let content = page.binary_data.get_or_insert_default().entry(LOG.to_owned()).or_default();
    // Members of gzip one after the other are one gzip file.
    let mut member = GzEncoder::new(&mut content.0, Compression::default());
    member
        .write_all(part.text.as_bytes())
        .and_then(|()| member.try_finish())
        .map_err(Error::Gzip)?;
    drop(member);
    let held = (part.place() + 1).to_string();
    page.annotations_mut().insert(names::ANNOTATION_PARTS.to_owned(), held);
    Ok(page)
}

fn empty(job: &DockerUniverseJob, name: &str) -> ConfigMap {
    let content = BTreeMap::from([(LOG.to_owned(), ByteString::default())]);
    ConfigMap { binary_data: Some(content), ..owned(job, name) }
}

/// A `ConfigMap` of the job, which goes with it.
pub(crate) fn owned(job: &DockerUniverseJob, name: &str) -> ConfigMap {
    let labels = BTreeMap::from([
        (names::LABEL_MANAGED_BY.to_owned(), names::MANAGED_BY.to_owned()),
        (names::LABEL_JOB.to_owned(), job.name_any()),
    ]);
    ConfigMap {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: job.namespace(),
            labels: Some(labels),
            owner_references: Some(vec![OwnerReference {
                api_version: format!("{GROUP}/{VERSION}"),
                kind: "DockerUniverseJob".into(),
                name: job.name_any(),
                uid: job.uid().unwrap_or_default(),
                controller: Some(true),
                block_owner_deletion: Some(false),
            }]),
            ..ObjectMeta::default()
        },
        ..ConfigMap::default()
    }
}
