//! A node that stops answering, comes back, or never does. The node is a simulated one, so that no other test suffers;
//! the node controller, the taints and the pod garbage collector that judge it are the real ones.

use crate::{
    evictions::{bind, evictions},
    people::FIRST_STAYS,
    world::{World, event_numbers},
};
use duj_api::status::{DockerUniverseJobStatus, ProcStatus};
use duj_core::fate::vacate;
use k8s_openapi::{
    api::{
        coordination::v1::Lease,
        core::v1::{Node, Pod},
    },
    apimachinery::pkg::apis::meta::v1::MicroTime,
    jiff::Timestamp,
};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};
use tokio::sync::watch;

/// A node whose kubelet is this test.
struct Ghost {
    client: Client,
    name: String,
    answers: Arc<watch::Sender<bool>>,
}

impl Ghost {
    /// A node that answers; after the real one in the alphabet, and closed to the scheduler.
    async fn rise(world: &World) -> Self {
        let name = format!("zz-{}", world.namespace);
        let nodes: Api<Node> = Api::all(world.client.clone());
        let node = json!({
            "metadata": {
                "name": name,
                // A zone of its own: the node controller counts the sick nodes of a zone.
                "labels": { "topology.kubernetes.io/zone": name, "kubernetes.io/hostname": name },
            },
            "spec": { "unschedulable": true },
        });
        let node = serde_json::from_value(node).unwrap();
        nodes.create(&PostParams::default(), &node).await.expect("a node");
        let ghost =
            Self { client: world.client.clone(), name, answers: Arc::new(watch::channel(true).0) };
        ghost.say_ready().await;
        let (client, name, mut answers) =
            (ghost.client.clone(), ghost.name.clone(), ghost.answers.subscribe());
        tokio::spawn(async move {
            while answers.wait_for(|answers| *answers).await.is_ok() {
                renew(&client, &name).await;
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
        ghost
    }

    fn nodes(&self) -> Api<Node> {
        Api::all(self.client.clone())
    }

    async fn say_ready(&self) {
        let now = Timestamp::now();
        let status = json!({ "status": {
            "capacity": { "pods": "0" }, "allocatable": { "pods": "0" },
            "addresses": [{ "type": "InternalIP", "address": "192.0.2.1" }],
            "conditions": [{
                "type": "Ready", "status": "True", "reason": "KubeletReady", "message": "ready",
                "lastHeartbeatTime": now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
                "lastTransitionTime": now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            }],
        } });
        let patch = Patch::Strategic(status);
        self.nodes()
            .patch_status(&self.name, &PatchParams::default(), &patch)
            .await
            .expect("a node's status");
    }

    fn fall_silent(&self) {
        self.answers.send_replace(false);
    }

    async fn answer_again(&self) {
        self.answers.send_replace(true);
        self.say_ready().await;
    }

    /// Runs the job's latest pod: says so, at least.
    async fn run(&self, world: &World, job: &str) {
        let pod = world.pod(job).await;
        if pod.spec.as_ref().unwrap().node_name.is_none() {
            bind(world, &pod.name_any(), &self.name).await;
        }
        let image = &pod.spec.unwrap().containers[0].image;
        let condition = |type_: &str| json!({ "type": type_, "status": "True", "reason": null });
        let status = json!({ "status": {
            "phase": "Running", "hostIP": "192.0.2.1",
            "conditions": [condition("Initialized"), condition("ContainersReady"), condition("Ready")],
            "containerStatuses": [{
                "name": "job", "ready": true, "started": true, "restartCount": 0, "image": image, "imageID": image,
                "state": { "running": { "startedAt": pod.metadata.creation_timestamp } },
            }],
        } });
        let pods = world.api::<Pod>();
        let name = pod.metadata.name.unwrap();
        pods.patch_status(&name, &PatchParams::default(), &Patch::Strategic(status))
            .await
            .expect("a pod's status");
    }
}

async fn renew(client: &Client, name: &str) {
    let leases: Api<Lease> = Api::namespaced(client.clone(), "kube-node-lease");
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": { "name": name },
        "spec": {
            "holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": MicroTime(Timestamp::now()),
        },
    });
    let parameters = PatchParams::apply("ghost").force();
    let _ = leases.patch(name, &parameters, &Patch::Apply(lease)).await;
}

async fn running_on_a_ghost(world: &World, scheduling: Value) -> Ghost {
    let ghost = Ghost::rise(world).await;
    let spec =
        json!({ "executable": "sh", "arguments": ["-c", FIRST_STAYS], "scheduling": scheduling });
    world.submit("job", spec).await;
    world.wait_because("job", "WaitingForScheduler").await;
    ghost.run(world, "job").await;
    world.wait_for("job", ProcStatus::Running).await;
    ghost
}

fn disconnected(status: &DockerUniverseJobStatus) -> bool {
    status.procs.first().is_some_and(|group| group.record.disconnected)
}

async fn completes_elsewhere(world: &World, numbers: &[u16]) {
    world
        .until("another attempt is made", || async {
            world.pods("job").await.iter().any(is_unbound)
        })
        .await;
    let pod = world.pods("job").await.into_iter().find(is_unbound).unwrap();
    bind(world, &pod.name_any(), &world.node().await.name_any()).await;
    let record = world.wait_for("job", ProcStatus::Completed).await;
    assert_eq!((record.attempt, record.num_vacates, record.exit_code), (1, 1, Some(0)));
    let status = world.job("job").await.status.unwrap();
    assert_eq!(event_numbers(&status), numbers);
    assert_eq!(evictions(&status)[0].0, vacate::RECONNECT_FAILED, "{:?}", evictions(&status));
}

fn is_unbound(pod: &Pod) -> bool {
    pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_none())
}

#[tokio::test]
async fn a_node_that_does_not_answer_is_waited_for_and_lost_only_when_it_is_gone() {
    let world = World::new("ghost").await;
    // The node controller does not delete what tolerates its taint.
    let patient = json!({ "key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute" });
    let ghost =
        running_on_a_ghost(&world, json!({ "schedulerName": "nobody", "tolerations": [patient] }))
            .await;
    ghost.fall_silent();
    let status = world.wait("job", "disconnected", disconnected).await;
    assert_eq!(event_numbers(&status), [0, 1, 22]);
    let because = world.wait_because("job", "NodeNotAnswering").await;
    assert!(because.contains("no other attempt is begun until its end is known"), "{because}");

    ghost.answer_again().await;
    ghost.run(&world, "job").await;
    let status = world.wait("job", "connected", |status| !disconnected(status)).await;
    assert_eq!(event_numbers(&status), [0, 1, 22, 23]);
    world.wait_because("job", "Running").await;

    ghost.fall_silent();
    world.wait("job", "disconnected", disconnected).await;
    assert_eq!(world.pods("job").await.len(), 1);
    ghost
        .nodes()
        .delete(&ghost.name, &DeleteParams::default())
        .await
        .expect("a node can be deleted");
    completes_elsewhere(&world, &[0, 1, 22, 23, 22, 24, 4, 1, 6, 5]).await;
    world.end().await;
}

#[tokio::test]
async fn a_node_declared_out_of_service_gives_its_job_back() {
    let world = World::new("outofservice").await;
    let ghost = running_on_a_ghost(&world, json!({ "schedulerName": "nobody" })).await;
    ghost.fall_silent();
    world.wait("job", "disconnected", disconnected).await;
    world
        .until("the pod is being deleted", || async {
            world.pod("job").await.metadata.deletion_timestamp.is_some()
        })
        .await;
    // Nobody knows whether it still runs: a deletion that no kubelet has confirmed is not an end.
    assert_eq!(world.pods("job").await.len(), 1);
    assert_eq!(event_numbers(&world.job("job").await.status.unwrap()), [0, 1, 22]);
    let taint = json!({ "key": "node.kubernetes.io/out-of-service", "value": "nodeshutdown", "effect": "NoExecute" });
    let patch = Patch::Strategic(json!({ "spec": { "taints": [taint] } }));
    ghost
        .nodes()
        .patch(&ghost.name, &PatchParams::default(), &patch)
        .await
        .expect("a node takes a taint");
    completes_elsewhere(&world, &[0, 1, 22, 24, 4, 1, 6, 5]).await;
    ghost
        .nodes()
        .delete(&ghost.name, &DeleteParams::default())
        .await
        .expect("a node can be deleted");
    world.end().await;
}
