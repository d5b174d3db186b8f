//! Jobs that cannot be started, each held with what is wrong and how to mend it, and how jobs are asked to end.

use crate::world::{World, event_numbers, image, pinned};
use duj_api::status::{Hold, ProcStatus};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use serde_json::{Value, json};

async fn held(world: &World, name: &str) -> Hold {
    world.wait_for(name, ProcStatus::Held).await.hold.expect("a held proc says why")
}

/// The kubelet's word for a container whose starter could not start the command.
fn not_started(exit_code: i32) -> Value {
    json!({
        "phase": "Failed", "reason": null, "waiting": null, "disruption": null,
        "terminated": "Error", "exitCode": exit_code,
    })
}

#[tokio::test]
async fn what_cannot_be_executed_is_held_with_the_reason() {
    let world = World::new("executables").await;
    // Name, executable, errno, the shell's exit code for it, what the job's owner reads.
    let cases = [
        ("missing", "/no/such/program", 2, 127, "(errno=2: 'No such file or directory')"),
        (
            "missing-in-path",
            "nosuchprogram",
            2,
            127,
            "it is in no directory of PATH '/usr/local/sbin:",
        ),
        (
            "not-executable",
            "/etc/motd",
            13,
            126,
            "'/etc/motd' is not executable: set its mode with 'chmod +x'",
        ),
        ("directory", "/bin", 21, 126, "(errno=21: 'Is a directory')"),
        (
            "wrong-processor",
            "wrong",
            8,
            126,
            "it is a program for aarch64, and this node is x86_64",
        ),
        (
            "no-first-line",
            "noshebang",
            8,
            126,
            "it is neither a program nor a script that begins with '#!'",
        ),
        (
            "no-interpreter",
            "nointerpreter",
            2,
            127,
            "the interpreter of its line '#!/no/such/interpreter' is missing in the image",
        ),
    ];
    for (name, executable, ..) in cases {
        let spec = json!({ "image": image("oddities:1"), "executable": executable, "arguments": ["a b", "c"] });
        world.submit(name, spec).await;
    }
    for (name, executable, errno, exit_code, words) in cases {
        let hold = held(&world, name).await;
        assert_eq!((hold.code, hold.subcode), (6, errno), "{hold:?}");
        let failed =
            format!("failed to execute '{executable}' with arguments a b c: (errno={errno}: ");
        assert!(
            hold.reason.starts_with("Error from ") && hold.reason.contains(&failed),
            "{hold:?}"
        );
        assert!(hold.reason.contains(words), "{hold:?}");
        assert_eq!(world.pinned(name).await, not_started(exit_code), "{name}");
        let status = world.job(name).await.status.unwrap();
        let numbers = event_numbers(&status);
        assert!(numbers.ends_with(&[21, 4, 12]), "{numbers:?}");
    }
    world.end().await;
}

#[tokio::test]
async fn a_mended_executable_runs() {
    let world = World::new("mended").await;
    world.submit("typo", json!({ "executable": "slep", "arguments": ["0"] })).await;
    held(&world, "typo").await;
    world.change("typo", json!({ "executable": "sleep" })).await;
    let record = world.wait_for("typo", ProcStatus::Completed).await;
    assert_eq!((record.exit_code, record.num_holds), (Some(0), 1));
    world.end().await;
}

fn environment_from(kind: &str, name: &str, optional: bool) -> Value {
    let source = json!({ (kind): { "name": name, "key": "word", "optional": optional } });
    json!([{ "name": "WORD", "valueFrom": source }])
}

/// Prints the variable that [`environment_from`] sets.
fn prints_word(environment: &Value) -> Value {
    json!({ "executable": "sh", "arguments": ["-c", "echo \"<$WORD>\""], "environment": environment })
}

async fn config_map(world: &World, name: &str) {
    let map = json!({ "metadata": { "name": name }, "data": { "word": "from a config map" } });
    world.create::<ConfigMap>(map).await;
}

#[tokio::test]
async fn configuration_that_is_missing_is_named_and_mended() {
    let world = World::new("configuration").await;
    for (name, kind) in [("config-map", "configMapKeyRef"), ("secret", "secretKeyRef")] {
        world.submit(name, prints_word(&environment_from(kind, "later", false))).await;
    }
    world.wait_because("config-map", "WaitingForConfiguration").await;
    assert_eq!(pinned(&world.pod("config-map").await)["waiting"], "CreateContainerConfigError");
    for (name, words) in
        [("config-map", "configmap \"later\" not found"), ("secret", "secret \"later\" not found")]
    {
        let hold = held(&world, name).await;
        assert_eq!((hold.code, hold.subcode), (6, 0));
        assert!(hold.reason.contains(words), "{hold:?}");
        // The job never began: no event 1.
        let status = world.job(name).await.status.unwrap();
        assert_eq!(event_numbers(&status), [0, 21, 4, 12]);
    }
    config_map(&world, "later").await;
    let secret =
        json!({ "metadata": { "name": "later" }, "stringData": { "word": "from a secret" } });
    world.create::<Secret>(secret).await;
    for (name, word) in [("config-map", "<from a config map>\n"), ("secret", "<from a secret>\n")] {
        let answer = world.command("release", name).await;
        assert_eq!((answer.accepted, answer.refused), (1, 0));
        let record = world.wait_for(name, ProcStatus::Completed).await;
        assert_eq!((record.exit_code, record.num_job_starts), (Some(0), 1));
        assert_eq!(world.output(name).await, word);
    }
    world.end().await;
}

#[tokio::test]
async fn configuration_that_comes_a_little_later_is_waited_for() {
    let world = World::new("late").await;
    world.submit("early", prints_word(&environment_from("configMapKeyRef", "later", false))).await;
    let mounts = json!({
        "executable": "cat", "arguments": ["/data/word"],
        "volumes": [{ "name": "data", "configMap": { "name": "later" } }],
        "volumeMounts": [{ "name": "data", "mountPath": "/data" }],
    });
    world.submit("mounts", mounts).await;
    let because = world.wait_because("early", "WaitingForConfiguration").await;
    assert!(because.contains("configmap \"later\" not found"), "{because}");
    config_map(&world, "later").await;
    for name in ["early", "mounts"] {
        let record = world.wait_for(name, ProcStatus::Completed).await;
        assert_eq!((record.exit_code, record.num_holds), (Some(0), 0), "{name}");
        assert!(world.output(name).await.contains("from a config map"), "{name}");
    }
    world.end().await;
}

#[tokio::test]
async fn optional_configuration_may_be_missing() {
    let world = World::new("optional").await;
    world
        .submit("config-map", prints_word(&environment_from("configMapKeyRef", "never", true)))
        .await;
    world.submit("secret", prints_word(&environment_from("secretKeyRef", "never", true))).await;
    for name in ["config-map", "secret"] {
        let record = world.wait_for(name, ProcStatus::Completed).await;
        assert_eq!((record.exit_code, record.num_holds), (Some(0), 0));
        assert_eq!(world.output(name).await, "<>\n");
    }
    world.end().await;
}

#[tokio::test]
async fn a_volume_of_a_missing_config_map_is_named() {
    let world = World::new("volume").await;
    let spec = json!({
        "executable": "cat", "arguments": ["/data/word"],
        "volumes": [{ "name": "data", "configMap": { "name": "later" } }],
        "volumeMounts": [{ "name": "data", "mountPath": "/data" }],
    });
    world.submit("mounts", spec).await;
    let because = world.wait_because("mounts", "WaitingForConfiguration").await;
    assert!(because.contains("configmap \"later\" not found"), "{because}");
    let hold = held(&world, "mounts").await;
    assert_eq!((hold.code, hold.subcode), (6, 0));
    assert!(hold.reason.contains("configmap \"later\" not found"), "{hold:?}");
    config_map(&world, "later").await;
    assert_eq!(world.command("release", "mounts").await.accepted, 1);
    world.wait_for("mounts", ProcStatus::Completed).await;
    assert_eq!(world.output("mounts").await, "from a config map");
    world.end().await;
}
