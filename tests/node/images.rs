//! Images that cannot be had: at once or after patience the job is held with the registry's own words, and mended it runs.

use crate::{
    registries::{Front, PASSWORD, Private, Tokens, USER, address},
    world::{World, event_numbers, image},
};
use duj_api::status::{Hold, ProcStatus};
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::ResourceExt;
use serde_json::{Value, json};

/// A job of this image that says hello. What the node has already is asked for again, so that the test can be repeated.
fn greets(image: &str) -> Value {
    json!({ "image": image, "imagePullPolicy": "Always", "executable": "echo", "arguments": ["hello"] })
}

async fn held(world: &World, name: &str) -> Hold {
    let hold = world.wait_for(name, ProcStatus::Held).await.hold.expect("a held proc says why");
    assert_eq!((hold.code, hold.subcode), (35, 0), "{hold:?}");
    assert!(hold.reason.contains("Cannot pull image "), "{hold:?}");
    hold
}

/// What the kubelet says of an image in a pod that nobody but itself cares for: reason and message.
async fn kubelet_says(world: &World, image: &str, policy: &str) -> (String, String) {
    let pod: Pod = world
        .create(json!({
            "metadata": { "generateName": "plain-" },
            "spec": {
                "restartPolicy": "Never",
                "securityContext": { "runAsNonRoot": true, "runAsUser": 65534, "seccompProfile": { "type": "RuntimeDefault" } },
                "containers": [{
                    "name": "job", "image": image, "imagePullPolicy": policy,
                    "securityContext": { "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] } },
                }],
            },
        }))
        .await;
    let pods = world.api::<Pod>();
    let waiting = || async {
        let status = pods.get(&pod.name_any()).await.ok()?.status?;
        let waiting = status.container_statuses?.pop()?.state?.waiting?;
        waiting.reason.clone().filter(|reason| reason != "ContainerCreating")?;
        Some(waiting)
    };
    world
        .until("the kubelet says what is wrong with the image", || async {
            waiting().await.is_some()
        })
        .await;
    let waiting = waiting().await.expect("it said so a moment ago");
    (waiting.reason.unwrap_or_default(), waiting.message.unwrap_or_default())
}

#[tokio::test]
async fn images_that_nobody_will_ever_pull_hold_the_job_at_once() {
    let world = World::new("bad-images").await;
    let cases = [
        (
            "upper-case",
            "UPPER/Case:1".to_owned(),
            "Always",
            "InvalidImageName",
            "couldn't parse image",
        ),
        ("blank", "a b".to_owned(), "Always", "InvalidImageName", "couldn't parse image"),
        ("absent", image("absent:1"), "Always", "ErrImagePull", "not found"),
        ("no-such-tag", image("busybox:absent"), "IfNotPresent", "ErrImagePull", "not found"),
        (
            "never",
            image("absent:1"),
            "Never",
            "ErrImageNeverPull",
            "is not present with pull policy of Never",
        ),
    ];
    for (name, image, policy, ..) in &cases {
        let mut spec = greets(image);
        spec["imagePullPolicy"] = json!(policy);
        world.submit(name, spec).await;
    }
    for (name, image, policy, reason, words) in &cases {
        let hold = held(&world, name).await;
        assert!(hold.reason.contains(&format!("Cannot pull image {image} ")), "{hold:?}");
        assert!(hold.reason.contains(words), "{hold:?}");
        let status = world.job(name).await.status.unwrap();
        // As HTCondor: it was about to execute.
        assert_eq!(event_numbers(&status), [0, 1, 21, 4, 12]);
        // The name of a failed pull may already be that of the pause before the next one.
        let (said, message) = kubelet_says(&world, image, policy).await;
        assert!(
            said == *reason || (*reason == "ErrImagePull" && said == "ImagePullBackOff"),
            "{said}"
        );
        assert!(message.contains(words), "{message}");
    }
    world.change("absent", json!({ "image": image("busybox:1.35") })).await;
    let record = world.wait_for("absent", ProcStatus::Completed).await;
    assert_eq!((record.exit_code, record.num_job_starts), (Some(0), 2));
    world.end().await;
}

/// A Secret with which the kubelet logs in.
async fn login(world: &World, name: &str, registry: &str, password: &str) {
    let logins = json!({ "auths": { (registry): { "username": USER, "password": password } } });
    let secret = json!({
        "metadata": { "name": name }, "type": "kubernetes.io/dockerconfigjson",
        "stringData": { ".dockerconfigjson": logins.to_string() },
    });
    world.create::<Secret>(secret).await;
}

#[tokio::test]
async fn a_private_image_needs_the_right_login() {
    let world = World::new("private").await;
    let _registry = Private::start(5001).await;
    let image = format!("{}/busybox:1.35", address(5001));
    login(&world, "right", &address(5001), PASSWORD).await;
    login(&world, "wrong", &address(5001), "guessed").await;
    world.submit("without", greets(&image)).await;
    let with_secret = |name: &str| {
        let mut spec = greets(&image);
        spec["imagePullSecrets"] = json!([{ "name": name }]);
        spec
    };
    world.submit("mistaken", with_secret("wrong")).await;
    world.submit("authorized", with_secret("right")).await;

    let record = world.wait_for("authorized", ProcStatus::Completed).await;
    assert_eq!((record.exit_code, record.num_holds), (Some(0), 0));
    let hold = held(&world, "without").await;
    assert!(hold.reason.contains("no basic auth credentials"), "{hold:?}");
    let hold = held(&world, "mistaken").await;
    assert!(hold.reason.contains("401 Unauthorized"), "{hold:?}");

    for name in ["without", "mistaken"] {
        world.change(name, json!({ "imagePullSecrets": [{ "name": "right" }] })).await;
        let record = world.wait_for(name, ProcStatus::Completed).await;
        assert_eq!((record.exit_code, record.num_job_starts, record.num_holds), (Some(0), 2, 1));
        assert_eq!(world.output(name).await, "hello\n");
    }
    world.end().await;
}

#[tokio::test]
async fn a_registry_gives_a_token_to_whom_it_knows() {
    let world = World::new("tokens").await;
    let _registry = Tokens::start(5005).await;
    let image = format!("{}/busybox:1.35", address(5005));
    login(&world, "right", &address(5005), PASSWORD).await;
    let mut known = greets(&image);
    known["imagePullSecrets"] = json!([{ "name": "right" }]);
    world.submit("known", known).await;
    world.submit("unknown", greets(&image)).await;
    let record = world.wait_for("known", ProcStatus::Completed).await;
    assert_eq!((record.exit_code, record.num_holds), (Some(0), 0));
    let hold = held(&world, "unknown").await;
    assert!(hold.reason.contains("401 Unauthorized"), "{hold:?}");
    world.end().await;
}

#[tokio::test]
async fn a_registry_in_trouble_is_borne_for_a_while() {
    let world = World::new("registry-trouble").await;
    let cases = [
        ("busy", 5002, "429 Too Many Requests"),
        ("out-of-order", 5003, "503 Service Unavailable"),
    ];
    let mut fronts = Vec::new();
    for (name, port, status) in cases {
        fronts.push(Front::refusing(port, status).await);
        world.submit(name, greets(&format!("{}/busybox:1.35", address(port)))).await;
    }
    for (name, _, words) in cases {
        let because = world.wait_because(name, "PullingImage").await;
        assert!(because.contains(words), "{because}");
        let waiting = crate::world::pinned(&world.pod(name).await)["waiting"].clone();
        assert!(waiting == "ErrImagePull" || waiting == "ImagePullBackOff", "{waiting}");
    }
    for (name, _, words) in cases {
        let hold = held(&world, name).await;
        assert!(hold.reason.contains(words), "{hold:?}");
    }
    for (front, (name, ..)) in fronts.iter().zip(cases) {
        front.mend();
        assert_eq!(world.command("release", name).await.accepted, 1);
        let record = world.wait_for(name, ProcStatus::Completed).await;
        assert_eq!((record.exit_code, record.num_job_starts, record.num_holds), (Some(0), 2, 1));
        let status = world.job(name).await.status.unwrap();
        assert_eq!(event_numbers(&status), [0, 1, 21, 4, 12, 13, 1, 6, 5]);
    }
    world.end().await;
}

#[tokio::test]
async fn a_registry_that_comes_back_soon_is_waited_for() {
    let world = World::new("registry-down").await;
    world.submit("patient", greets(&format!("{}/busybox:1.35", address(5004)))).await;
    let because = world.wait_because("patient", "PullingImage").await;
    assert!(because.contains("connection refused"), "{because}");
    let _front = Front::open(5004).await;
    let record = world.wait_for("patient", ProcStatus::Completed).await;
    assert_eq!((record.exit_code, record.num_holds, record.num_vacates), (Some(0), 0, 0));
    let status = world.job("patient").await.status.unwrap();
    assert_eq!(event_numbers(&status), [0, 1, 6, 5]);
    world.end().await;
}
