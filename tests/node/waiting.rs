//! What a job waits for, in the words of who keeps it waiting; and what waiting cannot mend.

use crate::world::{World, event_numbers, image};
use duj_api::{DockerUniverseJob, names, status::ProcStatus};
use duj_core::hold;
use k8s_openapi::api::core::v1::{LimitRange, Pod, ResourceQuota, ServiceAccount};
use kube::{
    ResourceExt,
    api::{DeleteParams, Patch, PatchParams},
};
use serde_json::json;

#[tokio::test]
async fn a_job_too_big_for_any_node_waits_with_the_schedulers_words() {
    let world = World::new("too-big").await;
    world.submit("job", json!({ "executable": "true", "requestCpus": 1000 })).await;
    let words = world.wait_because("job", "Unschedulable").await;
    assert!(
        words.starts_with("no node for the pod: ") && words.contains("Insufficient cpu"),
        "{words}"
    );
    let status = world.job("job").await.status.unwrap();
    assert_eq!(status.procs[0].record.status, ProcStatus::Idle);
    assert_eq!(event_numbers(&status), [0]);
    world.end().await;
}

#[tokio::test]
async fn a_used_up_quota_is_waited_for() {
    let world = World::new("quota").await;
    // Applied together: the quota counts only after a moment, and says so with a refusal of its own kind.
    let quota = json!({ "metadata": { "name": "none" }, "spec": { "hard": { "pods": "0" } } });
    world.create::<ResourceQuota>(quota).await;
    world.submit("job", json!({ "executable": "true" })).await;
    let words = world.wait_because("job", "QuotaExceeded").await;
    assert!(
        words.contains("exceeded quota: none, requested: pods=1, used: pods=0, limited: pods=0"),
        "{words}"
    );
    let status = world.job("job").await.status.unwrap();
    assert_eq!(event_numbers(&status), [0]);

    let more = Patch::Merge(json!({ "spec": { "hard": { "pods": "1" } } }));
    let quotas = world.api::<ResourceQuota>();
    quotas.patch("none", &PatchParams::default(), &more).await.expect("a quota can be raised");
    let record = world.wait_for("job", ProcStatus::Completed).await;
    assert_eq!((record.attempt, record.num_vacates), (0, 0));
    assert_eq!(event_numbers(&world.job("job").await.status.unwrap()), [0, 1, 6, 5]);
    world.end().await;
}

#[tokio::test]
async fn a_pod_over_the_namespaces_limits_is_held_with_the_servers_words() {
    let world = World::new("limits").await;
    let limit = json!({ "type": "Container", "max": { "memory": "32Mi" } });
    let range = json!({ "metadata": { "name": "small" }, "spec": { "limits": [limit] } });
    world.create::<LimitRange>(range).await;
    // The API server looks at limits as its cache knows them.
    world
        .submit("job", json!({ "executable": "true", "requestMemory": "64Mi", "hold": true }))
        .await;
    world.wait_for("job", ProcStatus::Held).await;
    world.change("job", json!({ "hold": false })).await;
    let held = world.wait("job", "held for a fault", |status| {
        status.procs[0].record.hold.as_ref().is_some_and(hold::is_fault)
    });
    let reason = held.await.procs[0].record.hold.clone().unwrap();
    assert_eq!((reason.code, reason.subcode), (hold::FAILED_TO_CREATE_PROCESS, 0));
    assert!(
        reason.reason.contains("maximum memory usage per Container is 32Mi, but limit is 64Mi"),
        "{reason:?}"
    );

    // What is released by hand is not released again when the server still says no.
    assert_eq!(world.command("release", "job").await.accepted, 1);
    let again =
        world.wait("job", "held again", |status| status.procs[0].record.num_holds == 3).await;
    assert_eq!(event_numbers(&again), [0, 12, 13, 12, 13, 12]);
    world.change("job", json!({ "requestMemory": "32Mi" })).await;
    world.wait_for("job", ProcStatus::Completed).await;
    assert_eq!(
        event_numbers(&world.job("job").await.status.unwrap()),
        [0, 12, 13, 12, 13, 12, 13, 1, 6, 5]
    );
    world.end().await;
}

#[tokio::test]
async fn what_pod_security_forbids_is_held_and_says_what_to_write() {
    let world = World::new("security").await;
    let root = json!({ "executable": "true", "securityContext": { "runAsUser": 0 } });
    world.submit("root", root).await;
    let volume = json!({ "name": "v", "nfs": { "server": "192.0.2.1", "path": "/" } });
    let mount = json!({ "name": "v", "mountPath": "/data" });
    world
        .submit(
            "nfs",
            json!({ "executable": "true", "volumes": [volume], "volumeMounts": [mount] }),
        )
        .await;
    for (job, words) in [
        ("root", "securityContext.runAsUser '0' is refused by this installation: name another id"),
        (
            "nfs",
            "violates PodSecurity \"restricted:latest\": restricted volume types (volume \"v\" uses restricted volume type \"nfs\")",
        ),
    ] {
        let reason = world.wait_for(job, ProcStatus::Held).await.hold.unwrap();
        assert_eq!((reason.code, reason.subcode), (hold::FAILED_TO_CREATE_PROCESS, 0));
        assert!(reason.reason.contains(words), "{reason:?}");
        assert_eq!(event_numbers(&world.job(job).await.status.unwrap()), [0, 12]);
        assert!(world.pods(job).await.is_empty());
    }
    world.change("root", json!({ "securityContext": { "runAsUser": 1234 } })).await;
    world.change("nfs", json!({ "volumes": null, "volumeMounts": null })).await;
    for job in ["root", "nfs"] {
        world.wait_for(job, ProcStatus::Completed).await;
        assert_eq!(event_numbers(&world.job(job).await.status.unwrap()), [0, 12, 13, 1, 6, 5]);
    }
    world.end().await;
}

#[tokio::test]
async fn a_service_account_that_is_not_there_yet_is_waited_for() {
    let world = World::new("account").await;
    world.submit("job", json!({ "executable": "true", "serviceAccountName": "robot" })).await;
    let words = world.wait_because("job", "PodNotCreated").await;
    assert!(words.contains("serviceaccount \"robot\" not found"), "{words}");
    world.create::<ServiceAccount>(json!({ "metadata": { "name": "robot" } })).await;
    world.wait_for("job", ProcStatus::Completed).await;
    assert_eq!(event_numbers(&world.job("job").await.status.unwrap()), [0, 1, 6, 5]);
    world.end().await;
}

#[tokio::test]
async fn a_pod_that_has_the_name_of_ours_is_not_touched() {
    let world = World::new("name-taken").await;
    world.submit("job", json!({ "executable": "true", "hold": true })).await;
    let attempt = world.wait_for("job", ProcStatus::Held).await.attempt;
    let uid = world.job("job").await.uid().unwrap();
    let taken = names::pod_name("job", &uid, 0, attempt);
    let stranger = bystander(&taken);
    let stranger: Pod = world.create(stranger).await;
    world.change("job", json!({ "hold": false })).await;
    let words = world.wait_because("job", "PodNotCreated").await;
    assert_eq!(
        words,
        format!("a pod '{taken}' exists that is not this job's: delete it or rename it")
    );
    let pods = world.api::<Pod>();
    let seen = pods.get(&taken).await.expect("it is still there");
    assert_eq!((seen.uid(), seen.metadata.deletion_timestamp), (stranger.uid(), None));
    pods.delete(&taken, &DeleteParams::default().grace_period(0)).await.expect("it can be deleted");
    world.wait_for("job", ProcStatus::Completed).await;
    assert_eq!(event_numbers(&world.job("job").await.status.unwrap()), [0, 12, 13, 1, 6, 5]);
    world.end().await;
}

#[tokio::test]
async fn a_job_in_a_namespace_that_goes_away_ends_quietly() {
    let world = World::new("terminating").await;
    // The namespace stays, half-deleted, for as long as this job does.
    let job = json!({
        "apiVersion": "dockeruniverse.io/v1alpha1", "kind": "DockerUniverseJob",
        "metadata": { "name": "job", "finalizers": ["docker-universe.test/keep"] },
        "spec": { "image": image("busybox:1.35"), "executable": "true", "hold": true },
    });
    world.create::<DockerUniverseJob>(job).await;
    world.wait_for("job", ProcStatus::Held).await;
    let namespaces: kube::Api<k8s_openapi::api::core::v1::Namespace> =
        kube::Api::all(world.client.clone());
    namespaces.delete(&world.namespace, &DeleteParams::default()).await.expect("it can be deleted");
    let jobs = world.api::<DockerUniverseJob>();
    world
        .until("the job is being deleted", || async {
            jobs.get("job").await.is_ok_and(|job| job.metadata.deletion_timestamp.is_some())
        })
        .await;
    world.change("job", json!({ "hold": false })).await;
    let free = Patch::Merge(json!({ "metadata": { "finalizers": null } }));
    jobs.patch("job", &PatchParams::default(), &free)
        .await
        .expect("its finalizer can be taken off");
    world
        .until("the namespace is gone", || async {
            namespaces.get_opt(&world.namespace).await.is_ok_and(|namespace| namespace.is_none())
        })
        .await;
    world.end().await;
}

/// A pod that is nobody's, and that no scheduler runs.
pub(crate) fn bystander(name: &str) -> serde_json::Value {
    json!({
        "metadata": { "name": name },
        "spec": {
            "schedulerName": "nobody",
            "securityContext": { "runAsNonRoot": true, "runAsUser": 1000, "seccompProfile": { "type": "RuntimeDefault" } },
            "containers": [{
                "name": "job", "image": image("busybox:1.35"),
                "securityContext": { "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] } },
            }],
        },
    })
}
