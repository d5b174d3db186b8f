//! What takes a pod from under a job: the job is not to blame, and makes another attempt.

use crate::{
    kept::Kept,
    people::FIRST_STAYS,
    world::{World, event_numbers, pinned},
};
use duj_api::status::{DockerUniverseJobStatus, ProcStatus};
use duj_core::{
    fate::vacate,
    userlog::{self, Body},
};
use k8s_openapi::api::{
    core::v1::{Node, Pod},
    scheduling::v1::PriorityClass,
};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, EvictParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

/// `HTCondor`'s codes of the log's evictions, with their reasons.
pub(crate) fn evictions(status: &DockerUniverseJobStatus) -> Vec<(i32, String)> {
    let text = &status.user_log.as_ref().expect("the job has a userlog").text;
    let bodies = userlog::read(text).map(|event| event.expect("every event can be read").body);
    bodies
        .filter_map(|body| match body {
            Body::Evicted(evicted) => Some((evicted.code, evicted.reason.as_str().to_owned())),
            _ => None,
        })
        .collect()
}

/// The first attempt was evicted with this code, the second one completed.
async fn completed_after(world: &World, job: &str, code: i32) {
    let record = world.wait_for(job, ProcStatus::Completed).await;
    assert_eq!(
        (record.exit_code, record.attempt, record.num_vacates, record.num_job_starts),
        (Some(0), 1, 1, 2)
    );
    let status = world.job(job).await.status.unwrap();
    assert_eq!(event_numbers(&status), [0, 1, 4, 1, 6, 5]);
    let codes: Vec<i32> = evictions(&status).into_iter().map(|(code, _)| code).collect();
    assert_eq!(codes, [code], "{:?}", evictions(&status));
}

/// The kubelet's status of a job that SIGTERM ended.
fn terminated_because(disruption: Option<&str>) -> Value {
    json!({
        "phase": "Failed", "reason": null, "waiting": null, "terminated": "Error", "exitCode": 143,
        "disruption": disruption,
    })
}

#[tokio::test]
async fn a_running_pod_deleted_behind_our_back_is_followed_by_another() {
    let world = World::new("pod-deleted").await;
    world.submit_script("job", FIRST_STAYS).await;
    world.wait_for("job", ProcStatus::Running).await;
    let pod = Kept::of(&world, "job").await;
    world
        .api::<Pod>()
        .delete(&pod.name, &DeleteParams::default())
        .await
        .expect("it can be deleted");
    completed_after(&world, "job", vacate::USER_VACATE_JOB).await;
    assert_eq!(pod.end(&world).await.pinned, terminated_because(None));
    world.end().await;
}

#[tokio::test]
async fn a_pod_deleted_without_grace_is_followed_by_another() {
    let world = World::new("pod-forced").await;
    world.submit_script("job", FIRST_STAYS).await;
    world.wait_for("job", ProcStatus::Running).await;
    let pod = world.pod("job").await.name_any();
    world
        .api::<Pod>()
        .delete(&pod, &DeleteParams::default().grace_period(0))
        .await
        .expect("it can be deleted");
    completed_after(&world, "job", vacate::USER_VACATE_JOB).await;
    world.end().await;
}

#[tokio::test]
async fn an_unscheduled_pod_that_is_deleted_is_made_again() {
    let world = World::new("unscheduled").await;
    let nowhere = json!({ "nodeSelector": { "docker-universe.test/there": "no" } });
    world.submit("job", json!({ "executable": "true", "scheduling": nowhere })).await;
    world.wait_because("job", "Unschedulable").await;
    let first = world.pod("job").await;
    world
        .api::<Pod>()
        .delete(&first.name_any(), &DeleteParams::default())
        .await
        .expect("it can be deleted");
    world
        .until("another pod is there", || async {
            let pods = world.pods("job").await;
            pods.len() == 1 && pods[0].uid() != first.uid()
        })
        .await;
    world.wait_because("job", "Unschedulable").await;
    let status = world.job("job").await.status.unwrap();
    assert_eq!(event_numbers(&status), [0, 4]);
    assert_eq!(evictions(&status)[0].0, vacate::USER_VACATE_JOB);
    world.end().await;
}

#[tokio::test]
async fn a_pod_evicted_through_the_api_is_followed_by_another() {
    let world = World::new("evicted").await;
    world.submit_script("job", FIRST_STAYS).await;
    world.wait_for("job", ProcStatus::Running).await;
    let pod = Kept::of(&world, "job").await;
    world.api::<Pod>().evict(&pod.name, &EvictParams::default()).await.expect("it can be evicted");
    completed_after(&world, "job", vacate::STARTD_DRAINING).await;
    assert_eq!(pod.end(&world).await.pinned, terminated_because(Some("EvictionByEvictionAPI")));
    world.end().await;
}

#[tokio::test]
async fn a_more_important_pod_preempts_a_job_which_runs_again_afterwards() {
    let world = World::new("preempted").await;
    let classes: Api<PriorityClass> = Api::all(world.client.clone());
    let class = json!({ "metadata": { "name": world.namespace }, "value": 1000 });
    let class = serde_json::from_value(class).unwrap();
    classes.create(&PostParams::default(), &class).await.expect("a priority class");
    world.submit_script("low", FIRST_STAYS).await;
    world.wait_for("low", ProcStatus::Running).await;
    let pod = Kept::of(&world, "low").await;
    // They cannot be on one node together, so that the one has to give way whatever else is on the node.
    let apart = json!({
        "priorityClassName": world.namespace,
        "affinity": { "podAntiAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": [{
            "topologyKey": "kubernetes.io/hostname",
            "labelSelector": { "matchLabels": { "dockeruniverse.io/job": "low" } },
        }] } },
    });
    world
        .submit("high", json!({ "executable": "sleep", "arguments": ["2"], "scheduling": apart }))
        .await;
    assert_eq!(pod.end(&world).await.pinned, terminated_because(Some("PreemptionByScheduler")));
    world.wait_for("high", ProcStatus::Completed).await;
    // Its next attempt may have come before the other pod was bound, and had to give way again.
    let record = world.wait_for("low", ProcStatus::Completed).await;
    assert_eq!((record.exit_code, record.num_vacates), (Some(0), record.attempt));
    let evictions = evictions(&world.job("low").await.status.unwrap());
    assert!(evictions.iter().all(|(code, _)| *code == vacate::PREEMPTED), "{evictions:?}");
    classes
        .delete(&world.namespace, &DeleteParams::default())
        .await
        .expect("the class can be deleted");
    world.end().await;
}

#[tokio::test]
async fn a_drained_node_gives_its_jobs_back() {
    let world = World::new("drained").await;
    world.submit_script("job", FIRST_STAYS).await;
    world.wait_for("job", ProcStatus::Running).await;
    let nodes: Api<Node> = Api::all(world.client.clone());
    let node = world.pod("job").await.spec.unwrap().node_name.unwrap();
    let cordon = async |unschedulable: bool| {
        let patch = Patch::Merge(json!({ "spec": { "unschedulable": unschedulable } }));
        nodes.patch(&node, &PatchParams::default(), &patch).await.expect("a node can be cordoned");
    };
    let pod = world.pod("job").await.name_any();
    cordon(true).await;
    // Other tests wait for this node: whatever happens, it is uncordoned.
    let evicted = world.api::<Pod>().evict(&pod, &EvictParams::default()).await;
    let waiting = tokio::time::timeout(
        std::time::Duration::from_secs(30),
        world.wait_because("job", "Unschedulable"),
    )
    .await;
    cordon(false).await;
    evicted.expect("the pod can be evicted");
    let words = waiting.expect("the job waits for a node");
    assert!(words.contains("unschedulable"), "{words}");
    completed_after(&world, "job", vacate::STARTD_DRAINING).await;
    world.end().await;
}

#[tokio::test]
async fn a_node_without_room_sends_the_pod_back_and_the_job_is_not_to_blame() {
    let world = World::new("outof").await;
    let nobody = json!({ "schedulerName": "nobody" });
    world
        .submit("job", json!({ "executable": "true", "requestCpus": 64, "scheduling": nobody }))
        .await;
    let reason = world.wait_because("job", "WaitingForScheduler").await;
    assert_eq!(reason, "waiting for the scheduler");
    bind(&world, &world.pod("job").await.name_any(), &world.node().await.name_any()).await;
    let evicted = world.wait("job", "sent back", |status| !evictions(status).is_empty()).await;
    assert_eq!(event_numbers(&evicted), [0, 4]);
    let (code, words) = evictions(&evicted).remove(0);
    assert_eq!(code, vacate::JOB_NOT_STARTED);
    assert!(words.starts_with("OutOfcpu: "), "{words}");
    let refused = json!({
        "phase": "Failed", "reason": "OutOfcpu", "waiting": null, "terminated": null, "exitCode": null,
        "disruption": null,
    });
    assert_eq!(pinned(&world.pods("job").await[0]), refused);
    world.until("another attempt is made", || async { world.pods("job").await.len() == 2 }).await;
    world.command("remove", "job").await;
    let removed = world.wait("job", "removed", |status| status.completion_time.is_some()).await;
    assert_eq!(event_numbers(&removed), [0, 4, 9]);
    world.end().await;
}

/// Binds a pod to a node as a scheduler does.
pub(crate) async fn bind(world: &World, pod: &str, node: &str) {
    let binding = json!({
        "apiVersion": "v1", "kind": "Binding", "metadata": { "name": pod },
        "target": { "apiVersion": "v1", "kind": "Node", "name": node },
    });
    let pods = world.api::<Pod>();
    let answer =
        pods.create_subresource::<_, Value>("binding", pod, &PostParams::default(), &binding).await;
    answer.expect("the pod can be bound");
}
