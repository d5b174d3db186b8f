//! Writes to the API server, as it counts them itself.
//!
//! Invariant: what is told of a controller are the writes that nobody else makes: the bench takes off its own and its
//! nodes', and the scheduler's go to subresources of their own. Events are left out.

use crate::work::Controller;
use anyhow::Context as _;
use kube::Client;
use std::collections::BTreeMap;

/// Writes by verb and resource, such as `PATCH pods/status`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Writes(pub BTreeMap<String, i64>);

impl Writes {
    /// What the API server has counted up to now.
    pub async fn now(client: &Client) -> anyhow::Result<Self> {
        let request = http::Request::get("/metrics").body(Vec::new())?;
        let text = client.request_text(request).await.context("the API server's metrics")?;
        Ok(Self::read(&text))
    }

    fn read(text: &str) -> Self {
        let mut writes = BTreeMap::new();
        for line in text.lines().filter(|line| line.starts_with("apiserver_request_total{")) {
            let label = |name: &str| {
                let rest = line.split_once(&format!("{name}=\""))?.1;
                rest.split_once('"').map(|(value, _)| value)
            };
            let verb = label("verb").unwrap_or_default();
            if !matches!(verb, "POST" | "PUT" | "PATCH" | "APPLY" | "DELETE" | "DELETECOLLECTION") {
                continue;
            }
            let resource = label(",resource").unwrap_or_default();
            let name = match label("subresource").filter(|part| !part.is_empty()) {
                Some(part) => format!("{verb} {resource}/{part}"),
                None => format!("{verb} {resource}"),
            };
            let count = line.rsplit(' ').next().and_then(|count| count.parse::<f64>().ok());
            #[expect(clippy::cast_possible_truncation, reason = "a count")]
            let count = count.unwrap_or_default() as i64;
            *writes.entry(name).or_default() += count;
        }
        Self(writes)
    }

    /// What came to it since.
    pub fn since(&self, before: &Self) -> Self {
        let grown = self.0.iter().map(|(name, count)| {
            (name.clone(), count - before.0.get(name).copied().unwrap_or_default())
        });
        Self(grown.filter(|(_, count)| *count != 0).collect())
    }

    /// Only what this controller writes; `jobs` were submitted and `pods` deleted by others meanwhile.
    pub fn of(&self, controller: Controller, jobs: i64, pods: i64) -> Self {
        let mut own: BTreeMap<String, i64> = self
            .0
            .iter()
            .filter(|(name, _)| is_written_by(controller, name))
            .map(|(name, count)| (name.clone(), *count))
            .collect();
        for (name, others) in
            [(format!("POST {}", controller.plural()), jobs), ("DELETE pods".to_owned(), pods)]
        {
            if let Some(count) = own.get_mut(&name) {
                *count -= others;
            }
        }
        own.retain(|_, count| *count != 0);
        Self(own)
    }

    /// All of them.
    pub fn total(&self) -> i64 {
        self.0.values().sum()
    }
}

fn is_written_by(controller: Controller, name: &str) -> bool {
    let (_, resource) = name.split_once(' ').unwrap_or_default();
    let plural = controller.plural();
    let jobs = resource == plural || resource.strip_prefix(plural) == Some("/status");
    let lists = controller == Controller::DockerUniverse && resource == "configmaps";
    resource == "pods" || jobs || lists
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = r#"# HELP apiserver_request_total x
apiserver_request_total{code="201",component="apiserver",dry_run="",group="",resource="pods",scope="resource",subresource="",verb="POST",version="v1"} 5
apiserver_request_total{code="200",component="apiserver",dry_run="",group="",resource="pods",scope="resource",subresource="status",verb="PATCH",version="v1"} 1
"#;
    const AFTER: &str = r#"
apiserver_request_total{code="201",component="apiserver",dry_run="",group="",resource="pods",scope="resource",subresource="",verb="POST",version="v1"} 7
apiserver_request_total{code="409",component="apiserver",dry_run="",group="",resource="pods",scope="resource",subresource="",verb="POST",version="v1"} 1
apiserver_request_total{code="200",component="apiserver",dry_run="",group="",resource="pods",scope="resource",subresource="",verb="DELETE",version="v1"} 4
apiserver_request_total{code="200",component="apiserver",dry_run="",group="",resource="pods",scope="resource",subresource="",verb="WATCH",version="v1"} 9
apiserver_request_total{code="200",component="apiserver",dry_run="",group="",resource="pods",scope="resource",subresource="status",verb="PATCH",version="v1"} 8
apiserver_request_total{code="201",component="apiserver",dry_run="",group="batch",resource="jobs",scope="resource",subresource="",verb="POST",version="v1"} 2
apiserver_request_total{code="200",component="apiserver",dry_run="",group="batch",resource="jobs",scope="resource",subresource="status",verb="PUT",version="v1"} 1.2e+01
apiserver_request_total{code="201",component="apiserver",dry_run="",group="events.k8s.io",resource="events",scope="resource",subresource="",verb="POST",version="v1"} 6
"#;

    #[test]
    fn a_controllers_writes_are_what_nobody_else_writes() {
        let grown = Writes::read(AFTER).since(&Writes::read(BEFORE));
        let own = grown.of(Controller::BatchJob, 2, 3);
        let expected = [("DELETE pods", 1), ("POST pods", 3), ("PUT jobs/status", 12)];
        assert_eq!(own.0, expected.map(|(name, count)| (name.to_owned(), count)).into());
        assert_eq!(own.total(), 16);
    }
}
