//! A node that stops answering, comes back, or never does. The node is a simulated one, so that no other test suffers;
//! the node controller, the taints and the pod garbage collector that judge it are the real ones.

use crate::{
    evictions::{bind, evictions},
    people::FIRST_STAYS,
    world::{World, event_numbers, proc, script},
};
use duj_api::{
    names,
    status::{DockerUniverseJobStatus, ProcStatus},
};
use duj_core::{fate::vacate, userlog};
use duj_protocol::{Outcome, Record, lease::Mark};
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

impl Ghost {
    /// Tells that a pod's job was ended because its lease was over, and confirms the pod's deletion.
    async fn end(&self, world: &World, pod: &Pod) {
        let record = Record {
            version: Record::VERSION,
            outcome: Some(Outcome::Signalled(15)),
            lease_expired: true,
            ..Record::default()
        };
        let end = json!({ "exitCode": 143, "reason": "Error", "message": record.to_message() });
        let status = json!({ "status": {
            "phase": "Failed",
            "containerStatuses": [{
                "name": "job", "ready": false, "started": false, "restartCount": 0, "image": "", "imageID": "",
                "state": { "running": null, "terminated": end },
            }],
        } });
        let (pods, name) = (world.api::<Pod>(), pod.name_any());
        pods.patch_status(&name, &PatchParams::default(), &Patch::Strategic(status))
            .await
            .expect("a pod's status");
        let parameters = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
        pods.delete(&name, &parameters).await.expect("a kubelet confirms a deletion");
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

/// No scheduler but the test, and pods that the node controller does not delete.
fn patient() -> Value {
    let toleration = json!({ "key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute" });
    json!({ "schedulerName": "nobody", "tolerations": [toleration] })
}

/// A job whose first attempt runs on a new ghost: it stays, and the next one ends.
async fn running_on_a_ghost(world: &World, others: Value) -> Ghost {
    let ghost = Ghost::rise(world).await;
    world.submit("job", script(FIRST_STAYS, others)).await;
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
    let ghost = running_on_a_ghost(&world, json!({ "scheduling": patient() })).await;
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
    let ghost =
        running_on_a_ghost(&world, json!({ "scheduling": { "schedulerName": "nobody" } })).await;
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

/// The lease of the job's first pod.
async fn lease(world: &World) -> Mark {
    let pod = world.pods("job").await.remove(0);
    let text = pod.annotations().get(names::ANNOTATION_LEASE).expect("a lease");
    Mark::read(text).expect("a mark")
}

#[tokio::test]
async fn a_node_that_stays_silent_for_longer_than_the_lease_is_given_up() {
    let world = World::new("lease").await;
    let spec = json!({ "leaseDuration": 20, "maxVacateTime": 1, "scheduling": patient() });
    let ghost = running_on_a_ghost(&world, spec).await;
    world
        .until("the lease is renewed", || async {
            matches!(lease(&world).await, Mark::Token(time) if time > 0)
        })
        .await;
    ghost.fall_silent();
    world.wait("job", "disconnected", disconnected).await;
    let because = world.wait_because("job", "NodeNotAnswering").await;
    assert!(because.contains("lease of 20 seconds"), "{because}");
    world
        .until("the lease is revoked", || async { matches!(lease(&world).await, Mark::Revoked(_)) })
        .await;
    let first = world.pod("job").await.name_any();
    completes_elsewhere(&world, &[0, 1, 22, 24, 4, 1, 6, 5]).await;
    let text = world.job("job").await.status.unwrap().user_log.unwrap().text;
    let words = "Job disconnected too long: JobLeaseDuration (20 seconds) expired";
    assert_eq!(text.matches(words).count(), 2, "{text}");
    assert!(userlog::read(&text).all(|event| event.is_ok()));

    // The first pod is there until its node comes back, and is not heard again.
    let old = world.api::<Pod>().get(&first).await.expect("only its kubelet ends it");
    assert!(old.metadata.deletion_timestamp.is_some() && old.finalizers().is_empty());
    ghost.answer_again().await;
    ghost.end(&world, &old).await;
    world
        .until("the first pod is gone", || async {
            world.api::<Pod>().get_opt(&first).await.is_ok_and(|pod| pod.is_none())
        })
        .await;
    let status = world.job("job").await.status.unwrap();
    assert_eq!(event_numbers(&status), [0, 1, 22, 24, 4, 1, 6, 5]);
    assert_eq!((proc(&status).attempt, proc(&status).num_vacates), (1, 1));
    ghost
        .nodes()
        .delete(&ghost.name, &DeleteParams::default())
        .await
        .expect("a node can be deleted");
    world.end().await;
}

#[tokio::test]
async fn a_lease_reaches_the_starter_and_is_renewed_there() {
    let world = World::new("renewed").await;
    world.submit("job", script("sleep 45; exit 6", json!({ "leaseDuration": 20 }))).await;
    let record = world.wait_for("job", ProcStatus::Completed).await;
    assert_eq!((record.exit_code, record.attempt), (Some(6), 0));
    assert!(record.wall_clock_time >= 45, "{record:?}");
    world.end().await;
}
