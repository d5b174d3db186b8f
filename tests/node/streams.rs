//! Standard input, output and error as files, and what a job leaves in its scratch directory.

use crate::world::{World, event_numbers, image, proc, script};
use duj_api::status::ProcStatus;
use serde_json::json;

#[tokio::test]
async fn a_script_its_parameters_and_its_input_are_brought() {
    let world = World::new("script").await;
    let text =
        "#!/bin/sh\n. ./parameters\nwhile read -r x; do echo \"$title $x\"; done\necho bad >&2\n";
    world
        .create::<k8s_openapi::api::core::v1::ConfigMap>(json!({
            "metadata": { "name": "scripts" }, "data": { "run.sh": text },
        }))
        .await;
    world
        .submit(
            "script",
            json!({
                "executable": "./run.sh", "input": "data.txt", "output": "out.txt", "error": "err.txt",
                "transferInput": [
                    { "configMap": { "name": "scripts", "key": "run.sh" } },
                    { "name": "parameters", "text": "title='a $(date) $HOME'" },
                    { "name": "data.txt", "base64": "b25lCnR3bwo=" },
                ],
            }),
        )
        .await;
    let record = world.wait_for("script", ProcStatus::Completed).await;
    assert_eq!(record.exit_code, Some(0), "{record:?}");
    let output = world.output("script").await;
    assert!(output.contains("a $(date) $HOME one\na $(date) $HOME two\n"), "{output}");
    assert!(output.contains("bad\n"), "{output}");
    assert!(record.left.is_none(), "inputs and streams are not left: {record:?}");
    let status = world.job("script").await.status.unwrap_or_default();
    assert_eq!(event_numbers(&status), [0, 40, 40, 40, 1, 6, 5]);
    let pod = world.pod("script").await;
    assert_eq!(pod.spec.map(|spec| spec.containers.len()), Some(1), "nothing is sent");
    world.end().await;
}

#[tokio::test]
async fn what_a_job_leaves_is_told() {
    let world = World::new("left").await;
    let writes = "echo x > 'a b'; mkdir d; echo y > d/c; echo z > /tmp/t";
    world.submit_script("left", writes).await;
    let record = world.wait_for("left", ProcStatus::Completed).await;
    let left = record.left.expect("two files are left");
    assert_eq!((left.files, left.bytes), (2, 4));
    assert_eq!(left.names, ["/tmp/t", "a b"]);
    world
        .until("an Event tells it", || async {
            let events = world.events("left").await;
            events.iter().any(|(reason, note)| reason == "FilesLeft" && note.contains("'a b'"))
        })
        .await;
    // Who wants nothing to be sent knows it.
    world.submit("known", script(writes, json!({ "transferOutput": [] }))).await;
    assert!(world.wait_for("known", ProcStatus::Completed).await.left.is_none());
    world.end().await;
}

#[tokio::test]
async fn a_flood_of_output_stays_within_the_limits() {
    let world = World::new("flood").await;
    let flood = "yes 0123456789abcdef | head -c 200000000";
    world
        .submit("flood", script(flood, json!({ "output": "out.txt", "requestDisk": "500Mi" })))
        .await;
    let record = world.wait_for("flood", ProcStatus::Completed).await;
    assert_eq!(record.exit_code, Some(0), "{record:?}");
    world
        .submit("endless", script("yes", json!({ "output": "out.txt", "requestDisk": "50Mi" })))
        .await;
    let hold = world.wait_for("endless", ProcStatus::Held).await.hold.unwrap_or_default();
    assert_eq!((hold.code, hold.subcode), (34, 104), "{hold:?}");
    world.end().await;
}

#[tokio::test]
async fn an_input_that_is_not_there_holds_the_job() {
    let world = World::new("no-input").await;
    let cases = [
        ("no-map", json!({ "configMap": { "name": "absent" } }), (13, 2), "absent"),
        (
            "no-key",
            json!({ "configMap": { "name": "kube-root-ca.crt", "key": "absent" } }),
            (13, 2),
            "absent",
        ),
        ("no-secret", json!({ "secret": { "name": "absent" } }), (13, 2), "absent"),
    ];
    for (name, input, ..) in &cases {
        world.submit(name, script("ls", json!({ "transferInput": [input] }))).await;
    }
    for (name, _, (code, subcode), words) in &cases {
        let hold = world.wait_for(name, ProcStatus::Held).await.hold.unwrap_or_default();
        assert_eq!((hold.code, hold.subcode), (*code, *subcode), "{hold:?}");
        assert!(hold.reason.contains("Transfer input files failure at the execution point"));
        assert!(hold.reason.contains(words), "{hold:?}");
    }
    world
        .submit(
            "no-shebang",
            json!({
                "executable": "./run.sh", "transferInput": [{ "name": "run.sh", "text": "echo hi" }],
            }),
        )
        .await;
    let hold = world.wait_for("no-shebang", ProcStatus::Held).await.hold.unwrap_or_default();
    assert_eq!((hold.code, hold.subcode), (6, 8), "{hold:?}");
    assert!(hold.reason.contains("has no '#!' line"), "{hold:?}");
    world
        .submit(
            "no-stdin",
            json!({
                "image": image("busybox:1.35"), "executable": "cat", "input": "data.txt",
                "transferInput": [{ "name": "other", "text": "" }],
            }),
        )
        .await;
    let hold = world.wait_for("no-stdin", ProcStatus::Held).await.hold.unwrap_or_default();
    assert_eq!((hold.code, hold.subcode), (13, 2), "{hold:?}");
    let job = world.job("no-stdin").await;
    assert_eq!(proc(&job.status.unwrap_or_default()).num_job_starts, 0);
    world.end().await;
}
