//! The stage before and after: a fresh namespace, and what must be so when all is done: nothing is written, nothing is left.

use super::{
    LOOK, NAMESPACE, STUCK,
    people::{get, pods},
    storm,
};
use crate::{counts::Writes, work::Controller};
use anyhow::Context as _;
use kube::{
    Client,
    core::{
        Request,
        params::{DeleteParams, ListParams, PostParams},
    },
};
use serde_json::json;
use std::time::{Duration, Instant};

/// How long nothing is to be written when nothing is left to do, and how often that is tried.
const QUIET: Duration = Duration::from_secs(8);
const QUIET_TRIES: usize = 8;

/// When nothing is left to do, nothing is written.
pub(super) async fn quiet(client: &Client) -> anyhow::Result<Option<String>> {
    let mut before = Writes::now(client).await?;
    for _ in 0..QUIET_TRIES {
        tokio::time::sleep(QUIET).await;
        let now = Writes::now(client).await?;
        let since = now.since(&before);
        let own = |name: &&String| name.contains("dockeruniverse") || name.contains(" pods");
        if !since.0.keys().any(|name| own(&name)) {
            return Ok(None);
        }
        before = now;
    }
    Ok(Some("they go on writing when nothing is left to do".to_owned()))
}

/// Deletes all jobs, and waits until nothing of them is left; what is.
pub(super) async fn clean(client: &Client) -> anyhow::Result<Option<String>> {
    let jobs = Request::new(Controller::DockerUniverse.path(NAMESPACE));
    let all = jobs.delete_collection(&DeleteParams::background(), &ListParams::default())?;
    client.request_text(all).await.context("cannot delete the jobs")?;
    let pages = format!(
        "/api/v1/namespaces/{NAMESPACE}/configmaps?labelSelector=app.kubernetes.io/managed-by=docker-universe"
    );
    let begun = Instant::now();
    loop {
        let pods = pods(client, NAMESPACE).await?;
        let pages = get(client, &pages).await?;
        let pages = pages["items"].as_array().map_or(0, Vec::len);
        if pods + pages == 0 {
            return Ok(None);
        }
        if begun.elapsed() > STUCK {
            return Ok(Some(format!("{pods} pods and {pages} pages")));
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// A new namespace, as the product's users are advised to have it.
pub(super) async fn fresh_namespace(client: &Client) -> anyhow::Result<()> {
    let namespace = json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": { "name": NAMESPACE, "labels": { "pod-security.kubernetes.io/enforce": "restricted" } },
    });
    let namespaces = Request::new("/api/v1/namespaces");
    let request = namespaces.create(&PostParams::default(), serde_json::to_vec(&namespace)?)?;
    client.request_text(request).await.context("the cluster is to be a fresh one")?;
    let account = format!("/api/v1/namespaces/{NAMESPACE}/serviceaccounts/default");
    while get(client, &account).await.is_err() {
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

/// The chart lets an operator write its own lease only.
pub(super) async fn allow_a_second_lease(client: &Client, namespace: &str) -> anyhow::Result<()> {
    let name = storm::SECOND_LEASE;
    let group = "rbac.authorization.k8s.io";
    let role = json!({
        "apiVersion": format!("{group}/v1"), "kind": "Role", "metadata": { "name": name },
        "rules": [{
            "apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "resourceNames": [name],
            "verbs": ["get", "update"],
        }],
    });
    let binding = json!({
        "apiVersion": format!("{group}/v1"), "kind": "RoleBinding", "metadata": { "name": name },
        "roleRef": { "apiGroup": group, "kind": "Role", "name": name },
        "subjects": [{
            "kind": "Group", "apiGroup": group, "name": format!("system:serviceaccounts:{namespace}"),
        }],
    });
    for (kind, object) in [("roles", role), ("rolebindings", binding)] {
        let path = format!("/apis/{group}/v1/namespaces/{namespace}/{kind}");
        let body = serde_json::to_vec(&object)?;
        let request = Request::new(path).create(&PostParams::default(), body)?;
        client.request_text(request).await.context("cannot give rights to a second lease")?;
    }
    Ok(())
}
