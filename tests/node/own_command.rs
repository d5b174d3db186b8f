//! Jobs that run what their image says.

use crate::{
    registries::{PASSWORD, Private, Tokens, USER, address},
    world::{World, image, proc, script},
};
use duj_api::status::{ProcStatus, Starter};
use k8s_openapi::api::core::v1::Secret;
use serde_json::json;

#[tokio::test]
async fn entrypoint_and_cmd_go_together_as_docker_has_it() {
    let world = World::new("own-command").await;
    let words = json!(["of the job"]);
    let cases = [
        ("entrypoint", "entrypoint:1", json!({}), "from entrypoint\n"),
        (
            "entrypoint-words",
            "entrypoint:1",
            json!({ "arguments": words }),
            "from entrypoint of the job\n",
        ),
        ("command", "command:1", json!({}), "from cmd\n"),
        ("both", "both:1", json!({}), "from both: default words\n"),
        ("both-words", "both:1", json!({ "arguments": words }), "from both: of the job\n"),
        (
            "both-executable",
            "both:1",
            json!({ "executable": "/bin/x", "arguments": words, "overrideEntrypoint": false }),
            "from both: /bin/x of the job\n",
        ),
        ("many", "many:1", json!({}), "from both: default words\n"),
        // The job's user and its scratch directory, whatever the image says.
        ("workdir", "workdir:1", json!({}), "/scratch/work\n"),
        ("user", "user:1", json!({}), "65534\n"),
    ];
    for (name, reference, fields, _) in &cases {
        let mut spec = fields.clone();
        spec["image"] = json!(image(reference));
        world.submit(name, spec).await;
    }
    for (name, _, _, expected) in &cases {
        let record = world.wait_for(name, ProcStatus::Completed).await;
        assert_eq!(record.exit_code, Some(0), "{name}: {record:?}");
        assert_eq!(world.output(name).await, *expected, "{name}");
        let found =
            world.job(name).await.status.unwrap_or_default().image.expect("it was looked up");
        assert!(found.digest.starts_with("sha256:"), "{name}: {found:?}");
    }
    world.submit("neither", json!({ "image": image("neither:1") })).await;
    let hold = world.wait_for("neither", ProcStatus::Held).await.hold.unwrap_or_default();
    assert_eq!((hold.code, hold.subcode), (6, 2), "{hold:?}");
    assert!(hold.reason.contains("neither ENTRYPOINT nor CMD"), "{hold:?}");
    world.end().await;
}

#[tokio::test]
async fn a_private_images_command_is_found_with_the_jobs_secret() {
    let world = World::new("own-private").await;
    // One registry wants user and password, the other a token for them.
    let (private, tokens) = (Private::start(5007).await, Tokens::start(5006).await);
    let credentials = json!({ "username": USER, "password": PASSWORD });
    let auths = json!({ "auths": { address(5007): credentials, address(5006): credentials } });
    world
        .create::<Secret>(json!({
            "metadata": { "name": "pull" }, "type": "kubernetes.io/dockerconfigjson",
            "stringData": { ".dockerconfigjson": auths.to_string() },
        }))
        .await;
    for (name, port) in [("basic", 5007), ("token", 5006)] {
        let image = format!("{}/both:1", address(port));
        let spec = json!({ "image": image, "imagePullSecrets": [{ "name": "pull" }] });
        world.submit(name, spec).await;
    }
    for name in ["basic", "token"] {
        let record = world.wait_for(name, ProcStatus::Completed).await;
        assert_eq!((record.exit_code, record.starter), (Some(0), None), "{name}: {record:?}");
        assert_eq!(world.output(name).await, "from both: default words\n");
    }
    drop((private, tokens));
    world.end().await;
}

#[tokio::test]
async fn one_proc_asks_for_all() {
    let world = World::new("own-many").await;
    let spec = json!({ "image": image("command:1"), "queue": { "count": 3 } });
    world.submit("three", spec).await;
    world
        .wait("three", "all three ended", |status| {
            status.counts.is_some_and(|counts| counts.completed == 3)
        })
        .await;
    let pods = world.pods("three").await;
    let asked = |pod: &k8s_openapi::api::core::v1::Pod| {
        pod.spec.as_ref().is_some_and(|spec| spec.init_containers.is_some())
    };
    assert_eq!((pods.len(), pods.iter().filter(|pod| asked(pod)).count()), (3, 1));
    world.end().await;
}

#[tokio::test]
async fn an_image_that_no_registry_has_runs_by_itself() {
    let world = World::new("own-unknown").await;
    // It gets to the node under this name by way of a registry that is gone when the job asks.
    let private = Private::start(5008).await;
    let host = address(5008);
    let auths = json!({ "auths": { &host: { "username": USER, "password": PASSWORD } } });
    world
        .create::<Secret>(json!({
            "metadata": { "name": "pull" }, "type": "kubernetes.io/dockerconfigjson",
            "stringData": { ".dockerconfigjson": auths.to_string() },
        }))
        .await;
    let reference = format!("{host}/both:1");
    let secret = json!([{ "name": "pull" }]);
    let mut first = script("true", json!({ "imagePullSecrets": secret }));
    first["image"] = json!(reference);
    world.submit("first", first).await;
    world.wait_for("first", ProcStatus::Completed).await;
    drop(private);
    let spec = json!({
        "image": reference, "imagePullPolicy": "IfNotPresent", "imagePullSecrets": secret,
        "arguments": ["by itself"],
    });
    world.submit("unknown", spec.clone()).await;
    let record = world.wait_for("unknown", ProcStatus::Completed).await;
    assert_eq!((record.exit_code, record.starter), (Some(0), Some(Starter::Absent)), "{record:?}");
    assert_eq!(record.num_job_starts, 1);
    assert_eq!(world.output("unknown").await, "from both: by itself\n");
    let mut needs = spec;
    needs["output"] = json!("out.txt");
    world.submit("needs", needs).await;
    let hold = world.wait_for("needs", ProcStatus::Held).await.hold.unwrap_or_default();
    assert_eq!((hold.code, hold.subcode), (6, 0), "{hold:?}");
    assert!(hold.reason.contains("name the executable"), "{hold:?}");
    let status = world.job("needs").await.status.unwrap_or_default();
    assert_eq!(proc(&status).num_job_starts, 0);
    world.end().await;
}
