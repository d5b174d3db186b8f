//! A pod that stays to be looked at after its deletion, by a finalizer of the test's own.
//!
//! It also shows that the operator does not wait for other people's finalizers: what has ended has ended.

use crate::world::{World, pinned};
use duj_protocol::Record;
use k8s_openapi::api::core::v1::{ContainerState, Pod};
use kube::{
    ResourceExt,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};

const FINALIZER: &str = "docker-universe.test/keep";

/// The pod of one attempt.
pub(crate) struct Kept {
    pub(crate) name: String,
}

impl Kept {
    /// Keeps the pod of the job's latest attempt.
    pub(crate) async fn of(world: &World, job: &str) -> Self {
        let name = world.pod(job).await.name_any();
        let patch = Patch::Strategic(json!({ "metadata": { "finalizers": [FINALIZER] } }));
        world
            .api::<Pod>()
            .patch(&name, &PatchParams::default(), &patch)
            .await
            .expect("the pod takes a finalizer");
        Self { name }
    }

    /// Waits for the pod's end, lets it go, and tells what the kubelet said.
    pub(crate) async fn end(self, world: &World) -> End {
        let pods = world.api::<Pod>();
        world
            .until(&format!("pod '{}' is at its end", self.name), || async {
                let status = pods
                    .get(&self.name)
                    .await
                    .expect("a kept pod stays")
                    .status
                    .unwrap_or_default();
                matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"))
            })
            .await;
        let pod = pods.get(&self.name).await.expect("a kept pod stays");
        let patch = json!({ "metadata": { "$deleteFromPrimitiveList/finalizers": [FINALIZER] } });
        let _ = pods.patch(&self.name, &PatchParams::default(), &Patch::Strategic(patch)).await;
        world
            .until(&format!("pod '{}' is gone", self.name), || async {
                pods.get_opt(&self.name).await.is_ok_and(|pod| pod.is_none())
            })
            .await;
        End { pinned: pinned(&pod), record: record(&pod) }
    }
}

/// How a pod ended.
pub(crate) struct End {
    /// See [`pinned`].
    pub(crate) pinned: Value,
    /// What its starter recorded.
    pub(crate) record: Option<Record>,
}

fn record(pod: &Pod) -> Option<Record> {
    let statuses = pod.status.as_ref()?.container_statuses.as_ref()?;
    let ContainerState { terminated: Some(end), .. } = statuses.first()?.state.as_ref()? else {
        return None;
    };
    Record::from_message(end.message.as_deref()?)
}
