//! Objects of which only the few fields are read that the bench needs: parsing whole pods would cost more than simulating them.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time};
use kube::{
    Resource,
    core::{ApiResource, DynamicResourceScope},
};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use std::borrow::Cow;

/// The metadata's fields that somebody reads here; managed fields, labels and annotations are skipped unparsed.
fn metadata<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ObjectMeta, D::Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Slim {
        name: Option<String>,
        namespace: Option<String>,
        uid: Option<String>,
        resource_version: Option<String>,
        deletion_timestamp: Option<Time>,
        deletion_grace_period_seconds: Option<i64>,
        owner_references: Option<Vec<OwnerReference>>,
    }
    let slim = Slim::deserialize(deserializer)?;
    Ok(ObjectMeta {
        name: slim.name,
        namespace: slim.namespace,
        uid: slim.uid,
        resource_version: slim.resource_version,
        deletion_timestamp: slim.deletion_timestamp,
        deletion_grace_period_seconds: slim.deletion_grace_period_seconds,
        owner_references: slim.owner_references,
        ..ObjectMeta::default()
    })
}

/// A pod as a simulated kubelet sees it.
#[derive(Clone, Debug, Deserialize)]
pub struct Pod {
    /// Its metadata, in part.
    #[serde(deserialize_with = "metadata")]
    pub metadata: ObjectMeta,
    /// What is to run.
    #[serde(default)]
    pub spec: PodSpec,
    /// What was told of it.
    #[serde(default)]
    pub status: PodStatus,
}

/// What is to run.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodSpec {
    /// Its node.
    pub node_name: String,
    /// Its init containers.
    pub init_containers: Vec<Container>,
    /// Its containers.
    pub containers: Vec<Container>,
}

/// A container that is to run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Container {
    /// Its name.
    pub name: String,
    /// Its image.
    pub image: String,
    /// Its command.
    pub command: Vec<String>,
    /// Its arguments.
    pub args: Vec<String>,
    /// What it asks for; a kubelet repeats it.
    pub resources: Value,
    /// Its mounts; a kubelet repeats them.
    pub volume_mounts: Vec<Value>,
}

/// What was told of a pod.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodStatus {
    /// Where it is in its life.
    pub phase: String,
}

impl Pod {
    /// Whether it has ended.
    pub fn is_over(&self) -> bool {
        matches!(self.status.phase.as_str(), "Succeeded" | "Failed")
    }

    /// Name of its controller.
    pub fn owner(&self) -> &str {
        let owners = self.metadata.owner_references.iter().flatten();
        owners.map(|owner| owner.name.as_str()).next().unwrap_or_default()
    }
}

/// A job of either kind.
#[derive(Clone, Debug, Deserialize)]
pub struct Job {
    /// Its metadata, in part.
    #[serde(deserialize_with = "metadata")]
    pub metadata: ObjectMeta,
    /// Its status.
    #[serde(default)]
    pub status: JobStatus,
}

/// The status of a job of either kind.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct JobStatus {
    /// `DockerUniverseJob`: its counts.
    pub counts: Counts,
    /// `DockerUniverseJob`: its log.
    pub user_log: UserLog,
    /// Both: when it was over.
    pub completion_time: Option<String>,
    /// `Job`: pods that succeeded.
    pub succeeded: u64,
    /// `Job`: pods that are ready.
    pub ready: u64,
}

/// The counts of a job's procs.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// Procs that run.
    pub running: u64,
    /// Procs that have completed.
    pub completed: u64,
}

/// What is known of a job's log.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct UserLog {
    /// Events that were written.
    pub events: u64,
}

impl JobStatus {
    /// Procs whose end is accounted.
    pub fn done(&self) -> u64 {
        self.counts.completed.max(self.succeeded)
    }

    /// Procs that run.
    pub fn running(&self) -> u64 {
        self.counts.running.max(self.ready)
    }
}

macro_rules! resource {
    ($type:ty) => {
        impl Resource for $type {
            type DynamicType = ApiResource;
            type Scope = DynamicResourceScope;

            fn kind(api: &ApiResource) -> Cow<'_, str> {
                Cow::Borrowed(&api.kind)
            }

            fn group(api: &ApiResource) -> Cow<'_, str> {
                Cow::Borrowed(&api.group)
            }

            fn version(api: &ApiResource) -> Cow<'_, str> {
                Cow::Borrowed(&api.version)
            }

            fn plural(api: &ApiResource) -> Cow<'_, str> {
                Cow::Borrowed(&api.plural)
            }

            fn meta(&self) -> &ObjectMeta {
                &self.metadata
            }

            fn meta_mut(&mut self) -> &mut ObjectMeta {
                &mut self.metadata
            }
        }
    };
}

resource!(Pod);
resource!(Job);

/// Pods, for the client.
pub fn pods() -> ApiResource {
    ApiResource::erase::<k8s_openapi::api::core::v1::Pod>(&())
}
