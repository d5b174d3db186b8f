//! Jobs that are deleted: their processes are told to end, and nothing of them is left.

use crate::{kept::Kept, world::World};
use duj_api::{DockerUniverseJob, status::ProcStatus};
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::{
    Api,
    api::{DeleteParams, ListParams},
};
use serde_json::json;

#[tokio::test]
async fn a_job_deleted_while_it_runs_is_told_to_end_and_leaves_nothing() {
    let world = World::new("deleted").await;
    let script = "trap 'exit 3' USR1; while true; do sleep 1; done";
    let spec = json!({ "executable": "sh", "arguments": ["-c", script], "killSig": "SIGUSR1" });
    world.submit("running", spec).await;
    world.wait_for("running", ProcStatus::Running).await;
    let pod = Kept::of(&world, "running").await;
    world
        .api::<DockerUniverseJob>()
        .delete("running", &DeleteParams::default())
        .await
        .expect("it can be deleted");
    let end = pod.end(&world).await; // which also sees that the pod goes, so nothing of ours is in its way
    assert_eq!(end.record.unwrap().outcome, Some(duj_protocol::Outcome::Exited(3)));
    world.end().await;
}

#[tokio::test]
async fn a_job_deleted_in_any_state_leaves_nothing() {
    let world = World::new("deleted").await;
    let nowhere = json!({ "nodeSelector": { "docker-universe.test/there": "no" } });
    world.submit("pending", json!({ "executable": "true", "scheduling": nowhere })).await;
    world.submit("held", json!({ "executable": "true", "hold": true })).await;
    world.submit("faulty", json!({ "executable": "/no/such/file" })).await;
    world.submit("completed", json!({ "executable": "true" })).await;
    world.wait_because("pending", "Unschedulable").await;
    world.wait_for("held", ProcStatus::Held).await;
    world.wait_for("faulty", ProcStatus::Held).await;
    world.wait_for("completed", ProcStatus::Completed).await;
    let jobs = world.api::<DockerUniverseJob>();
    for job in ["pending", "held", "faulty", "completed"] {
        jobs.delete(job, &DeleteParams::default()).await.expect("it can be deleted");
    }
    world
        .until("no pod is left", || async {
            world
                .api::<Pod>()
                .list(&ListParams::default())
                .await
                .is_ok_and(|list| list.items.is_empty())
        })
        .await;
    assert!(jobs.list(&ListParams::default()).await.unwrap().items.is_empty());
    world.end().await;
}

#[tokio::test]
async fn a_namespace_with_jobs_can_be_deleted() {
    let world = World::new("gone").await;
    world.submit_script("running", "sleep 3600").await;
    world.submit("held", json!({ "executable": "true", "hold": true })).await;
    world.submit("completed", json!({ "executable": "true" })).await;
    world.wait_for("running", ProcStatus::Running).await;
    world.wait_for("held", ProcStatus::Held).await;
    world.wait_for("completed", ProcStatus::Completed).await;
    let namespaces: Api<Namespace> = Api::all(world.client.clone());
    namespaces.delete(&world.namespace, &DeleteParams::default()).await.expect("it can be deleted");
    world
        .until("the namespace is gone", || async {
            namespaces.get_opt(&world.namespace).await.is_ok_and(|namespace| namespace.is_none())
        })
        .await;
    world.end().await;
}

#[tokio::test]
async fn a_finished_job_is_deleted_after_its_time() {
    let world = World::new("ttl").await;
    world.submit("job", json!({ "executable": "true", "ttlSecondsAfterFinished": 0 })).await;
    let jobs = world.api::<DockerUniverseJob>();
    world
        .until("the job is gone", || async {
            jobs.get_opt("job").await.is_ok_and(|job| job.is_none())
        })
        .await;
    world.until("its pod is gone", || async { world.pods("job").await.is_empty() }).await;
    world.end().await;
}
