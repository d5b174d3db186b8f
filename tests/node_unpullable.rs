//! An operator whose own image the nodes cannot pull for the jobs' pods: the jobs wait, say so, are never held, and go on
//! once the installation is mended. `cargo xtask test` installs the chart with such a `starter.image` for this.
#![cfg(feature = "real-node")]
#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    reason = "a test that fails shows where, and nobody else reads its modules"
)]

#[path = "node/world.rs"]
mod world;

use duj_api::status::ProcStatus;
use k8s_openapi::api::apps::v1::Deployment;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::json;
use world::{World, event_numbers, proc};

#[tokio::test]
async fn the_job_waits_says_so_and_goes_on_when_the_installation_is_mended() {
    let world = World::new("unpullable").await;
    world.submit_script("patient", "echo at last").await;
    let told = world.wait_because("patient", "StarterImageUnavailable").await;
    assert!(told.contains("nowhere:1") && told.contains("the job is not to blame"), "{told}");
    let status = world.job("patient").await.status.unwrap();
    assert_eq!((proc(&status).status, proc(&status).num_holds), (ProcStatus::Idle, 0));
    assert_eq!(event_numbers(&status), [0]);

    mend_the_installation(&world).await;
    let record = world.wait_for("patient", ProcStatus::Completed).await;
    assert_eq!((record.exit_code, record.num_holds), (Some(0), 0));
    assert_eq!(world.output("patient").await, "at last\n");
    world.end().await;
}

/// As `helm upgrade` would: the jobs' pods get the image that the operator itself runs from.
async fn mend_the_installation(world: &World) {
    let deployments: Api<Deployment> = Api::namespaced(world.client.clone(), "docker-universe");
    let deployment =
        deployments.get("docker-universe").await.expect("the operator is installed by its chart");
    let pod = deployment.spec.unwrap().template.spec.unwrap();
    let container = &pod.containers[0];
    let image = container.image.clone().unwrap();
    let mended = |argument: &String| {
        if argument.starts_with("--image=") { format!("--image={image}") } else { argument.clone() }
    };
    let arguments: Vec<String> = container.args.iter().flatten().map(mended).collect();
    let container = json!({ "name": container.name, "args": arguments });
    let patch = json!({ "spec": { "template": { "spec": { "containers": [container] } } } });
    deployments
        .patch("docker-universe", &PatchParams::default(), &Patch::Strategic(patch))
        .await
        .expect("the installation can be changed");
}
