//! Pods that are not kept any longer. They wait for two minutes after an operator began to lead: a test beside which operators
//! are killed would wait for ever.

use crate::world::{World, condition, image, script};
use duj_api::{DockerUniverseJobStatus, names};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, ResourceExt};
use serde_json::json;

fn is_over(status: &DockerUniverseJobStatus) -> bool {
    condition(status, "Complete") == Some("True")
}

/// What ended long ago goes with one request, which selects by labels: what somebody runs with the same labels stays.
#[tokio::test]
async fn ended_pods_go_together_and_a_copy_that_runs_stays() {
    let world = World::new("history").await;
    let goes = json!({ "queue": { "count": 3 }, "removePods": "OnEnd" });
    world.submit("goes", script("exit 0", goes)).await;
    world.submit("stays", script("exit 0", json!({}))).await;
    world.wait("goes", "complete", is_over).await;
    world.wait("stays", "complete", is_over).await;

    let pod = world.pod("goes").await;
    let mut labels = pod.labels().clone();
    labels.remove(names::LABEL_MANAGED_BY);
    let copy: Pod = world
        .create(json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "copy", "labels": labels },
            "spec": {
                "terminationGracePeriodSeconds": 0,
                "securityContext": { "runAsUser": 1000, "runAsNonRoot": true, "seccompProfile": { "type": "RuntimeDefault" } },
                "containers": [{
                    "name": "debug", "image": image("busybox:1.35"), "command": ["sleep", "600"],
                    "securityContext": { "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] } },
                }],
            },
        }))
        .await;
    let left = || async {
        let pods = world.pods("goes").await;
        pods.into_iter().filter(|pod| pod.uid() != copy.uid()).count()
    };
    world.until("the pods of 'goes' are gone", || async { left().await == 0 }).await;
    let pods: Api<Pod> = world.api();
    assert_eq!(pods.get("copy").await.unwrap().metadata.deletion_timestamp, None);
    assert_eq!(world.pods("stays").await.len(), 1);
    let status = world.job("goes").await.status.unwrap();
    assert!(is_over(&status));
    assert_eq!(status.counts.unwrap().completed, 3);
    world.end().await;
}
