//! What other people and programs do to pods that are not theirs, and to the operator itself.

use crate::{
    evictions::evictions,
    people::{FIRST_STAYS, UNTIL_KNOCK, knock, knock_at},
    waiting::bystander,
    world::{World, event_numbers, image},
};
use duj_api::{DockerUniverseJob, names, status::ProcStatus};
use duj_core::fate::vacate;
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
use kube::{
    Api, ResourceExt,
    api::{
        ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams,
        PostParams, PropagationPolicy,
    },
};
use serde_json::{Value, json};

async fn patch_pod(world: &World, job: &str, patch: Value) {
    let pod = world.pod(job).await.name_any();
    let patch = Patch::Merge(patch);
    world
        .api::<Pod>()
        .patch(&pod, &PatchParams::default(), &patch)
        .await
        .expect("a pod's metadata can be changed");
}

#[tokio::test]
async fn labels_and_annotations_of_others_change_nothing() {
    let world = World::new("labels").await;
    world.submit("job", json!({ "executable": "sh", "arguments": ["-c", UNTIL_KNOCK] })).await;
    world.wait_for("job", ProcStatus::Running).await;
    patch_pod(
        &world,
        "job",
        json!({ "metadata": {
        "labels": {
            "sidecar.example/injected": "yes",
            names::LABEL_JOB_UID: "nobody", names::LABEL_PROC_ID: "99", names::LABEL_ATTEMPT: "4294967296",
            names::LABEL_CLUSTER_ID: "x",
        },
        "annotations": { names::ANNOTATION_GENERATION: "none", "sidecar.example/note": "\u{7}" },
    } }),
    )
    .await;
    knock(&world, "job").await;
    let record = world.wait_for("job", ProcStatus::Completed).await;
    assert_eq!((record.exit_code, record.attempt), (Some(0), 0));
    let status = world.job("job").await.status.unwrap();
    assert_eq!(event_numbers(&status), [0, 1, 6, 5]);
    world.end().await;
}

#[tokio::test]
async fn a_pod_that_lost_the_label_is_still_the_jobs() {
    let world = World::new("unlabelled").await;
    world.submit("job", json!({ "executable": "sh", "arguments": ["-c", UNTIL_KNOCK] })).await;
    world.wait_for("job", ProcStatus::Running).await;
    patch_pod(
        &world,
        "job",
        json!({ "metadata": { "labels": { names::LABEL_MANAGED_BY: null } } }),
    )
    .await;
    world
        .until("the label is there again", || async {
            world.pod("job").await.labels().contains_key(names::LABEL_MANAGED_BY)
        })
        .await;
    knock(&world, "job").await;
    let record = world.wait_for("job", ProcStatus::Completed).await;
    assert_eq!((record.attempt, record.num_vacates), (0, 0));
    assert_eq!(event_numbers(&world.job("job").await.status.unwrap()), [0, 1, 6, 5]);
    world.end().await;
}

#[tokio::test]
async fn pods_that_pretend_to_be_ours_are_not() {
    let world = World::new("pretenders").await;
    world.submit("job", json!({ "executable": "sh", "arguments": ["-c", UNTIL_KNOCK] })).await;
    world.wait_for("job", ProcStatus::Running).await;
    let uid = world.job("job").await.uid().unwrap();
    let pod = world.pod("job").await.name_any();
    let labels = |attempt: &str, proc: &str| {
        json!({
            names::LABEL_MANAGED_BY: names::MANAGED_BY, names::LABEL_JOB: "job", names::LABEL_JOB_UID: uid,
            names::LABEL_ATTEMPT: attempt, names::LABEL_PROC_ID: proc, names::LABEL_CLUSTER_ID: "9999999999999999999999",
        })
    };
    let owner = |kind: &str, controller: bool| {
        json!([{
            "apiVersion": "dockeruniverse.io/v1alpha1", "kind": kind, "name": "job", "uid": uid, "controller": controller,
        }])
    };
    let pretend = async |name: &str, labels: Value, owners: Value| {
        let mut pod = bystander(name);
        pod["metadata"]["labels"] = labels;
        pod["metadata"]["ownerReferences"] = owners;
        world.create::<Pod>(pod).await;
    };
    pretend("without-owner", labels("0", "0"), json!([])).await;
    pretend("garbage", labels("", "four"), json!([])).await;
    pretend("not-the-name", labels("7", "0"), owner("DockerUniverseJob", true)).await;
    pretend("not-the-controller", labels("8", "0"), owner("DockerUniverseJob", false)).await;
    pretend("a-0-0", labels("0", "0"), owner("DockerUniverseJob", true)).await;

    knock_at(&world, &pod).await;
    let record = world.wait_for("job", ProcStatus::Completed).await;
    assert_eq!((record.attempt, record.num_vacates), (0, 0));
    assert_eq!(event_numbers(&world.job("job").await.status.unwrap()), [0, 1, 6, 5]);
    for name in ["without-owner", "garbage", "not-the-name", "not-the-controller", "a-0-0"] {
        let pod = world.api::<Pod>().get(name).await.expect("it is still there");
        assert_eq!(pod.metadata.deletion_timestamp, None, "{name}");
    }
    world.end().await;
}

#[tokio::test]
async fn a_container_that_outlives_the_job_does_not_keep_its_end_back() {
    let world = World::new("sidecar").await;
    let mesh = Mesh::install(&world).await;
    world
        .until("the mesh puts its container into pods", || async {
            let dry = PostParams { dry_run: true, ..PostParams::default() };
            let pod = serde_json::from_value(bystander("probe")).unwrap();
            let seen = world.api::<Pod>().create(&dry, &pod).await.expect("the server answers");
            seen.spec.is_some_and(|spec| spec.containers.len() == 2)
        })
        .await;
    let spec = json!({ "executable": "true", "maxVacateTime": 0 });
    world.submit("job", spec).await;
    let record = world.wait_for("job", ProcStatus::Completed).await;
    assert_eq!((record.exit_code, record.attempt), (Some(0), 0));
    assert_eq!(event_numbers(&world.job("job").await.status.unwrap()), [0, 1, 6, 5]);
    let pod = world.pod("job").await;
    assert_eq!(pod.spec.unwrap().containers.len(), 2);
    let phase = pod.status.and_then(|status| status.phase);
    assert_eq!(phase.as_deref(), Some("Running"), "the other container keeps it so");
    world.until("the pod is gone", || async { world.pods("job").await.is_empty() }).await;
    assert_eq!(event_numbers(&world.job("job").await.status.unwrap()), [0, 1, 6, 5]);
    mesh.remove().await;
    world.end().await;
}

/// What puts a container of its own into every pod of the test's namespace.
struct Mesh {
    policies: Api<DynamicObject>,
    bindings: Api<DynamicObject>,
    name: String,
}

impl Mesh {
    async fn install(world: &World) -> Self {
        let api = |kind: &str, plural: &str| {
            let kind = GroupVersionKind::gvk("admissionregistration.k8s.io", "v1", kind);
            Api::all_with(world.client.clone(), &ApiResource::from_gvk_with_plural(&kind, plural))
        };
        let mesh = Self {
            policies: api("MutatingAdmissionPolicy", "mutatingadmissionpolicies"),
            bindings: api("MutatingAdmissionPolicyBinding", "mutatingadmissionpolicybindings"),
            name: world.namespace.clone(),
        };
        let container = format!(
            "[JSONPatch{{op: 'add', path: '/spec/containers/-', value: Object.spec.containers{{name: 'mesh', \
             image: '{}', command: ['sleep', '3600'], \
             securityContext: Object.spec.containers.securityContext{{allowPrivilegeEscalation: false, \
             capabilities: Object.spec.containers.securityContext.capabilities{{drop: ['ALL']}}}}}}}}]",
            image("busybox:1.35")
        );
        let pods = json!({
            "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"],
        });
        let policy = json!({
            "metadata": { "name": mesh.name },
            "spec": {
                "matchConstraints": {
                    "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": world.namespace } },
                    "resourceRules": [pods],
                },
                "reinvocationPolicy": "Never", "failurePolicy": "Fail",
                "mutations": [{
                    "patchType": "JSONPatch", "jsonPatch": { "expression": container },
                }],
            },
        });
        let binding = json!({
            "metadata": { "name": mesh.name }, "spec": { "policyName": mesh.name },
        });
        for (api, object) in [(&mesh.policies, policy), (&mesh.bindings, binding)] {
            let object = serde_json::from_value(object).unwrap();
            api.create(&PostParams::default(), &object).await.expect("a policy of admission");
        }
        mesh
    }

    async fn remove(self) {
        for api in [&self.bindings, &self.policies] {
            api.delete(&self.name, &DeleteParams::default()).await.expect("it can be deleted");
        }
    }
}

#[tokio::test]
async fn a_pod_without_our_finalizer_may_vanish_and_the_job_goes_on() {
    let world = World::new("finalizer").await;
    world.submit_script("job", FIRST_STAYS).await;
    world.wait_for("job", ProcStatus::Running).await;
    patch_pod(&world, "job", json!({ "metadata": { "finalizers": null } })).await;
    let pod = world.pod("job").await.name_any();
    world
        .api::<Pod>()
        .delete(&pod, &DeleteParams::default().grace_period(0))
        .await
        .expect("it can be deleted");
    let record = world.wait_for("job", ProcStatus::Completed).await;
    assert_eq!((record.attempt, record.num_vacates), (1, 1));
    let status = world.job("job").await.status.unwrap();
    assert_eq!(event_numbers(&status), [0, 1, 4, 1, 6, 5]);
    let code = evictions(&status)[0].0;
    assert!([vacate::STARTER_ERROR, vacate::USER_VACATE_JOB].contains(&code), "{code}");
    world.end().await;
}

#[tokio::test]
async fn the_pod_of_a_job_that_was_orphaned_is_let_go() {
    let world = World::new("orphaned").await;
    world.submit_script("job", "exec sleep 3600").await;
    world.wait_for("job", ProcStatus::Running).await;
    let orphan = DeleteParams {
        propagation_policy: Some(PropagationPolicy::Orphan),
        ..DeleteParams::default()
    };
    world.api::<DockerUniverseJob>().delete("job", &orphan).await.expect("it can be deleted");
    world
        .until("the pod is nobody's", || async {
            let pod = world.pod("job").await;
            pod.owner_references().is_empty() && pod.finalizers().is_empty()
        })
        .await;
    let pod = world.pod("job").await;
    assert_eq!(pod.metadata.deletion_timestamp, None, "who orphans it wants it to run on");
    world
        .api::<Pod>()
        .delete(&pod.name_any(), &DeleteParams::default())
        .await
        .expect("it can be deleted");
    world.until("the pod is gone", || async { world.pods("job").await.is_empty() }).await;
    world.end().await;
}

/// Kills the operator in the middle of everything; every event of every job is there once.
#[tokio::test]
async fn an_operator_that_is_killed_again_and_again_loses_and_repeats_nothing() {
    let world = World::new("restarts").await;
    let deployments: Api<Deployment> = Api::namespaced(world.client.clone(), "docker-universe");
    let operators: Api<Pod> = Api::namespaced(world.client.clone(), "docker-universe");
    let deployment = deployments.get_opt("docker-universe").await.expect("the server answers");
    let deployment = deployment.expect("no Deployment 'docker-universe/docker-universe': install the chart first, as `cargo xtask test` does");
    let labels = deployment.spec.unwrap().selector.match_labels.unwrap();
    let selector =
        labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",");
    let names: Vec<String> = (0..12).map(|number| format!("job-{number}")).collect();
    for (number, name) in names.iter().enumerate() {
        let script = format!("sleep {}; exit {}", number % 4, number % 3);
        world.submit_script(name, &script).await;
        if number % 3 == 2 {
            // As soon as it has begun with these jobs.
            world.wait(name, "noticed", |status| status.cluster_id.is_some()).await;
            let all = ListParams::default().labels(&selector);
            for operator in operators.list(&all).await.expect("pods can be listed") {
                let now = DeleteParams::default().grace_period(0);
                let _ = operators.delete(&operator.name_any(), &now).await;
            }
        }
    }
    for (number, name) in names.iter().enumerate() {
        let record = world.wait_for(name, ProcStatus::Completed).await;
        let expected = i32::try_from(number % 3).unwrap();
        assert_eq!(
            (record.exit_code, record.attempt, record.num_job_starts),
            (Some(expected), 0, 1),
            "{name}"
        );
        assert_eq!(event_numbers(&world.job(name).await.status.unwrap()), [0, 1, 6, 5], "{name}");
    }
    world.end().await;
}
