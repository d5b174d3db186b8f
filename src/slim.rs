//! Pods as the API server sends them, of which only what somebody reads is kept: managed fields, environments, mounts and
//! probes are skipped unparsed. Jobs are kept as they are, but for what nobody reads.
//!
//! Invariant: `duj_core::facts` reads the same of a slim pod as of the whole one.

use duj_api::DockerUniverseJob;
use k8s_openapi::{
    api::core::v1::{Container, ImageVolumeSource, Pod, PodSpec, PodStatus, Volume},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time},
};
use kube::Resource;
use serde::{Deserialize, Deserializer};
use std::{borrow::Cow, collections::BTreeMap};

/// `kubectl apply` keeps the whole manifest once more here.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Makes a job smaller that is kept for as long as it exists.
pub fn job(job: &mut DockerUniverseJob) {
    job.metadata.managed_fields = None;
    if let Some(annotations) = &mut job.metadata.annotations {
        annotations.remove(LAST_APPLIED);
    }
    // A list that was read has room for four.
    job.spec.arguments.shrink_to_fit();
    if let Some(scheduling) = &mut job.spec.scheduling {
        scheduling.tolerations.shrink_to_fit();
    }
    if let Some(status) = &mut job.status {
        status.procs.shrink_to_fit();
        status.conditions.shrink_to_fit();
    }
}

/// A pod, in part.
#[derive(Clone, Debug, Default)]
pub struct SlimPod(pub Pod);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct Parts {
    metadata: Metadata,
    spec: Spec,
    status: Option<PodStatus>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Metadata {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
    creation_timestamp: Option<Time>,
    deletion_timestamp: Option<Time>,
    deletion_grace_period_seconds: Option<i64>,
    labels: Option<BTreeMap<String, String>>,
    annotations: Option<BTreeMap<String, String>>,
    finalizers: Option<Vec<String>>,
    owner_references: Option<Vec<OwnerReference>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    node_name: Option<String>,
    termination_grace_period_seconds: Option<i64>,
    init_containers: Option<Vec<Named>>,
    containers: Vec<Named>,
    volumes: Option<Vec<NamedVolume>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Named {
    name: String,
    image: Option<String>,
    args: Option<Vec<String>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct NamedVolume {
    name: String,
    image: Option<ImageVolumeSource>,
}

impl From<Named> for Container {
    fn from(Named { name, image, args }: Named) -> Self {
        Self { name, image, args, ..Self::default() }
    }
}

impl From<NamedVolume> for Volume {
    fn from(NamedVolume { name, image }: NamedVolume) -> Self {
        Self { name, image, ..Self::default() }
    }
}

fn all<T: From<P>, P>(parts: Vec<P>) -> Vec<T> {
    parts.into_iter().map(T::from).collect()
}

impl<'de> Deserialize<'de> for SlimPod {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Parts { metadata, spec, status } = Parts::deserialize(deserializer)?;
        Ok(Self(Pod {
            metadata: ObjectMeta {
                name: metadata.name,
                namespace: metadata.namespace,
                uid: metadata.uid,
                resource_version: metadata.resource_version,
                creation_timestamp: metadata.creation_timestamp,
                deletion_timestamp: metadata.deletion_timestamp,
                deletion_grace_period_seconds: metadata.deletion_grace_period_seconds,
                labels: metadata.labels,
                annotations: metadata.annotations,
                finalizers: metadata.finalizers,
                owner_references: metadata.owner_references,
                ..ObjectMeta::default()
            },
            spec: Some(PodSpec {
                node_name: spec.node_name,
                termination_grace_period_seconds: spec.termination_grace_period_seconds,
                init_containers: spec.init_containers.map(all),
                containers: all(spec.containers),
                volumes: spec.volumes.map(all),
                ..PodSpec::default()
            }),
            status,
        }))
    }
}

impl Resource for SlimPod {
    type DynamicType = ();
    type Scope = <Pod as Resource>::Scope;

    fn kind((): &()) -> Cow<'_, str> {
        Pod::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        Pod::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        Pod::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        Pod::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        &self.0.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.0.metadata
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use duj_core::{
        facts::PodFacts,
        pod::{Attempt, pod_for},
        queue::Items,
        settings::{Delivery, Settings},
    };
    use serde_json::json;

    #[test]
    fn a_kept_job_has_no_second_manifest() {
        let mut kept: DockerUniverseJob = serde_json::from_value(json!({
            "metadata": { "name": "hello", "managedFields": [{ "manager": "kubectl" }],
                "annotations": { LAST_APPLIED: "{}", "lab": "7" } },
            "spec": { "image": "busybox" }, "status": { "noticed": { "shape": "" } },
        }))
        .unwrap();
        job(&mut kept);
        assert_eq!(kept.metadata.managed_fields, None);
        assert!(kept.metadata.annotations.unwrap().into_keys().eq(["lab"]));
    }

    #[test]
    fn what_is_read_of_a_slim_pod_is_what_is_read_of_the_whole_one() {
        let job: DockerUniverseJob = serde_json::from_value(json!({
            "apiVersion": "dockeruniverse.io/v1alpha1", "kind": "DockerUniverseJob",
            "metadata": { "name": "hello", "namespace": "physics", "uid": "0a1b2c3d-1" },
            "spec": { "image": "busybox", "leaseDuration": 60, "environment": [{ "name": "A", "value": "b" }],
                "outputDestination": { "url": "http://files.example/out" } },
        }))
        .unwrap();
        let items = Items::read(None, None).unwrap();
        for delivery in [Delivery::ImageVolume, Delivery::InitContainer, Delivery::None] {
            let attempt = Attempt { cluster_id: 7, proc: 0, number: 2, starts: 1, delivery };
            let pod = pod_for(&job, &items, &Settings::default(), attempt).unwrap();
            let mut whole = serde_json::to_value(&pod).unwrap();
            let metadata = whole["metadata"].as_object_mut().unwrap();
            metadata.extend([
                ("uid".to_owned(), json!("pod-1")),
                ("resourceVersion".to_owned(), json!("17")),
                ("creationTimestamp".to_owned(), json!("2026-03-01T12:00:00Z")),
                ("deletionTimestamp".to_owned(), json!("2026-03-01T12:00:09Z")),
                ("deletionGracePeriodSeconds".to_owned(), json!(0)),
                ("managedFields".to_owned(), json!([{ "manager": "kubelet" }])),
            ]);
            whole["spec"]["nodeName"] = json!("node1");
            let ended = json!({ "name": "job", "image": "", "imageID": "busybox@sha256:1", "ready": false,
                "restartCount": 0, "state": { "terminated": { "exitCode": 3, "message": "m",
                    "startedAt": "2026-03-01T12:00:01Z", "finishedAt": "2026-03-01T12:00:05Z" } } });
            whole["status"] = json!({
                "phase": "Failed", "reason": "Evicted", "message": "pressure", "hostIP": "10.0.0.1",
                "containerStatuses": [ended],
                "conditions": [{ "type": "PodScheduled", "status": "True",
                    "lastTransitionTime": "2026-03-01T12:00:00Z" }],
            });
            let slim: SlimPod = serde_json::from_value(whole.clone()).unwrap();
            let whole: Pod = serde_json::from_value(whole).unwrap();
            let facts = PodFacts::read(&whole).expect("a job's pod");
            assert_eq!(PodFacts::read(&slim.0), Some(facts), "{delivery:?}");
        }
    }
}
