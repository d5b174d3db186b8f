//! Work for either controller: the same images, the same requests, the same scripts.

use crate::{
    fleet::LABEL,
    script::{Run, Script},
};
use anyhow::Context as _;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use kube::{
    Client,
    core::{ApiResource, GroupVersionKind, Request, params::PostParams},
};
use serde_json::{Value, json};
use std::time::Duration;

/// Submissions at the same time.
const AT_ONCE: usize = 32;
const IMAGE: &str = "registry.example.org/busybox:1.35";

/// Who turns work into pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Controller {
    /// Our operator.
    DockerUniverse,
    /// Kubernetes' own Job controller.
    BatchJob,
}

/// Both, in the order in which they take turns.
pub const BOTH: [Controller; 2] = [Controller::DockerUniverse, Controller::BatchJob];

impl Controller {
    /// Its resource.
    pub const fn plural(self) -> &'static str {
        match self {
            Self::DockerUniverse => "dockeruniversejobs",
            Self::BatchJob => "jobs",
        }
    }

    /// What people call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::DockerUniverse => "docker universe",
            Self::BatchJob => "batch/v1 Job",
        }
    }

    /// Its resource, for the client.
    pub fn resource(self) -> ApiResource {
        let (group, version, kind) = match self {
            Self::DockerUniverse => ("dockeruniverse.io", "v1alpha1", "DockerUniverseJob"),
            Self::BatchJob => ("batch", "v1", "Job"),
        };
        let kind = GroupVersionKind::gvk(group, version, kind);
        ApiResource::from_gvk_with_plural(&kind, self.plural())
    }

    /// Where its objects of this namespace are.
    pub fn path(self, namespace: &str) -> String {
        let resource = self.resource();
        format!("/apis/{}/namespaces/{namespace}/{}", resource.api_version, resource.plural)
    }
}

/// Jobs that are alike.
#[derive(Clone, Copy, Debug)]
pub struct Work {
    /// How many jobs.
    pub jobs: usize,
    /// Procs of each.
    pub procs: usize,
    /// Procs of each that are live at the same time, where that is to be bounded.
    pub live: Option<usize>,
    /// How long each runs.
    pub run: Run,
    /// Pause between two submissions; none where they come as fast as they can.
    pub pause: Duration,
}

impl Work {
    /// So many jobs of so many procs that end at once.
    pub const fn quick(jobs: usize, procs: usize) -> Self {
        Self { jobs, procs, live: None, run: Run::For(Duration::ZERO), pause: Duration::ZERO }
    }

    /// All procs.
    pub const fn all(&self) -> u64 {
        (self.jobs * self.procs) as u64
    }

    /// Submits it.
    pub async fn submit(
        &self,
        client: &Client,
        controller: Controller,
        namespace: &str,
    ) -> anyhow::Result<()> {
        self.submit_as(client, controller, namespace, "work").await
    }

    /// Submits it under this name and a number.
    pub async fn submit_as(
        &self,
        client: &Client,
        controller: Controller,
        namespace: &str,
        name: &str,
    ) -> anyhow::Result<()> {
        let requests = Request::new(controller.path(namespace));
        let at_once = if self.pause.is_zero() { AT_ONCE } else { 1 };
        stream::iter(0..self.jobs)
            .map(|number| {
                let requests = &requests;
                async move {
                    let job = self.job(controller, &format!("{name}-{number}"));
                    let request =
                        requests.create(&PostParams::default(), serde_json::to_vec(&job)?)?;
                    client.request_text(request).await.context("cannot submit a job")?;
                    tokio::time::sleep(self.pause).await;
                    anyhow::Ok(())
                }
            })
            .buffer_unordered(at_once)
            .try_collect::<()>()
            .await
    }

    fn job(&self, controller: Controller, name: &str) -> Value {
        match controller {
            Controller::DockerUniverse => self.docker_universe_job(name),
            Controller::BatchJob => self.batch_job(name),
        }
    }

    fn docker_universe_job(&self, name: &str) -> Value {
        let mut job = json!({
            "apiVersion": "dockeruniverse.io/v1alpha1", "kind": "DockerUniverseJob",
            "metadata": { "name": name },
            "spec": {
                "image": IMAGE, "executable": "play", "arguments": Script::words(self.run, 0),
                "requestCpus": "10m", "requestMemory": "16Mi",
                "scheduling": { "nodeSelector": { LABEL: "true" }, "tolerations": [toleration()] },
            },
        });
        if self.procs > 1 {
            job["spec"]["queue"] = json!({ "count": self.procs });
            if let Some(live) = self.live {
                job["spec"]["queue"]["maxMaterialize"] = json!(live);
            }
        }
        job
    }

    /// What people write who want the same of a Job: it does not try again, and its pods know their number.
    fn batch_job(&self, name: &str) -> Value {
        let live = self.live.unwrap_or(self.procs).min(self.procs);
        let mut job = json!({
            "apiVersion": "batch/v1", "kind": "Job",
            "metadata": { "name": name },
            "spec": {
                "backoffLimit": 0,
                "template": { "spec": {
                    "restartPolicy": "Never",
                    "nodeSelector": { LABEL: "true" }, "tolerations": [toleration()],
                    "securityContext": {
                        "runAsNonRoot": true, "runAsUser": 65534, "runAsGroup": 65534,
                        "seccompProfile": { "type": "RuntimeDefault" },
                    },
                    "containers": [{
                        "name": "job", "image": IMAGE, "command": ["play"], "args": Script::words(self.run, 0),
                        "securityContext": {
                            "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] },
                        },
                        "resources": {
                            "requests": { "cpu": "10m", "memory": "16Mi" }, "limits": { "memory": "16Mi" },
                        },
                    }],
                } },
            },
        });
        if self.procs > 1 {
            let spec = &mut job["spec"];
            spec["completions"] = json!(self.procs);
            spec["parallelism"] = json!(live);
            spec["completionMode"] = json!("Indexed");
        }
        job
    }
}

fn toleration() -> Value {
    json!({ "key": LABEL, "operator": "Exists", "effect": "NoSchedule" })
}
