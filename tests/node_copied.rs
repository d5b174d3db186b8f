//! Nodes without image volumes: an init container copies the starter, and everything else is the same.
//! `cargo xtask test` installs the chart with `starter.delivery=InitContainer` for this, and nobody disturbs the operator meanwhile.
#![cfg(feature = "real-node")]
#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    reason = "a test that fails shows where, and nobody else reads its modules"
)]

#[path = "node/world.rs"]
mod world;

#[path = "node/history.rs"]
mod history;

use duj_api::{names, status::ProcStatus};
use serde_json::json;
use world::{World, event_numbers};

#[tokio::test]
async fn the_starter_is_copied_and_the_job_ends_as_ever() {
    let world = World::new("copied").await;
    world.submit_script("seven", "pwd; exit 7").await;
    world.submit_script("nine", "kill -9 $$").await;
    world
        .submit(
            "hog",
            json!({ "executable": "tail", "arguments": ["/dev/zero"], "requestMemory": "32Mi" }),
        )
        .await;
    world.submit("missing", json!({ "executable": "nosuch" })).await;

    let record = world.wait_for("seven", ProcStatus::Completed).await;
    assert_eq!(record.exit_code, Some(7));
    assert_eq!(world.output("seven").await, "/scratch/work\n");
    let pod = world.pod("seven").await.spec.unwrap();
    assert_eq!(pod.init_containers.unwrap()[0].name, names::CONTAINER_PREPARE);
    assert!(pod.volumes.unwrap().iter().all(|volume| volume.image.is_none()));
    let status = world.job("seven").await.status.unwrap();
    assert_eq!(event_numbers(&status), [0, 1, 6, 5]);

    assert_eq!(world.wait_for("nine", ProcStatus::Completed).await.exit_signal, Some(9));
    let hold = world.wait_for("hog", ProcStatus::Held).await.hold.unwrap();
    assert_eq!((hold.code, hold.subcode), (34, 102));
    let hold = world.wait_for("missing", ProcStatus::Held).await.hold.unwrap();
    assert_eq!((hold.code, hold.subcode), (6, 2));
    world.end().await;
}

#[tokio::test]
async fn what_brings_files_brings_the_starter_too() {
    let world = World::new("copied-files").await;
    world
        .submit(
            "files",
            json!({
                "executable": "./run.sh", "output": "out.txt",
                "transferInput": [{ "name": "run.sh", "text": "#!/bin/sh\necho brought\n" }],
            }),
        )
        .await;
    let spec = json!({ "image": world::image("both:1"), "arguments": ["words"] });
    world.submit("own-command", spec).await;
    for (name, output) in [("files", "brought\n"), ("own-command", "from both: words\n")] {
        let record = world.wait_for(name, ProcStatus::Completed).await;
        assert_eq!(record.exit_code, Some(0), "{name}: {record:?}");
        assert_eq!(world.output(name).await, output);
        let pod = world.pod(name).await.spec.unwrap();
        assert_eq!(pod.init_containers.map(|all| all.len()), Some(1), "{name}");
        assert!(pod.volumes.unwrap().iter().all(|volume| volume.image.is_none()));
    }
    world.end().await;
}
