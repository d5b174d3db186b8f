//! Jobs of many procs, beside what an installation lets them have and keep.

use crate::world::{World, condition, image, script};
use duj_api::{DockerUniverseJobStatus, names, status::ProcStatus};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

/// The namespace for which `cargo xtask test` sets limits: one pod at a time, and three procs in a job.
const LIMITED: &str = "t-limited";

/// A job of so many procs, which are small enough for all of them to find room.
fn procs(count: u32, mut others: Value) -> Value {
    others["queue"] = json!({ "count": count });
    others["requestCpus"] = json!("1m");
    others["requestMemory"] = json!("8Mi");
    others
}

fn is_over(status: &DockerUniverseJobStatus) -> bool {
    condition(status, "Complete") == Some("True")
}

#[tokio::test]
async fn a_namespace_has_so_many_pods_at_a_time_and_no_larger_jobs() {
    let world = World::named(LIMITED).await;
    let stop = "trap 'exit 0' TERM; while :; do sleep 0.1; done";
    world.submit("first", script(stop, procs(1, json!({})))).await;
    world.wait_for("first", ProcStatus::Running).await;
    world.submit("second", script("exit 0", procs(2, json!({})))).await;
    let why = world.wait_because("second", "LimitReached").await;
    assert_eq!(
        why,
        "the job waits its turn: 1 pods of namespace 't-limited' may live at the same time (limits.namespaces)"
    );
    assert!(world.pods("second").await.is_empty());

    world.submit("large", script("exit 0", procs(4, json!({})))).await;
    let hold = world.wait_for("large", ProcStatus::Held).await.hold.unwrap();
    assert_eq!((hold.code, hold.subcode), (26, 0));
    assert_eq!(
        hold.reason,
        "the job has 4 procs, and in namespace 't-limited' a job may have 3: submit it in parts, or ask for a larger limits.maxProcsPerJob"
    );

    world.command("remove", "first").await;
    world.wait("second", "complete", is_over).await;
    world.end().await;
}

/// What ended long ago goes with one request, which selects by labels: what somebody runs with the same labels stays.
#[tokio::test]
async fn ended_pods_go_together_and_a_copy_that_runs_stays() {
    let world = World::new("history").await;
    world.submit("goes", script("exit 0", procs(3, json!({ "removePods": "OnEnd" })))).await;
    world.submit("stays", script("exit 0", procs(1, json!({})))).await;
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
