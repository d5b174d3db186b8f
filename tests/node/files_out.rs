//! Outputs, to every kind of place, and what is sent when.

use crate::{
    files_in::s3,
    objects::Objects,
    volumes::Volume,
    web::Web,
    world::{World, event_numbers, script},
};
use duj_api::status::ProcStatus;
use kube::ResourceExt;
use serde_json::json;

#[tokio::test]
async fn new_files_go_to_s3_and_named_ones_where_they_belong() {
    let world = World::new("files-out").await;
    let objects = Objects::of(&world);
    objects.secret(&world, "keys").await;
    let web = Web::start().await;
    let volume = Volume::writable(&world, "results").await;
    let writes = "echo changed >> input; echo plain > a.txt; : > empty; echo odd > 'größe 1'; mkdir d; echo deep > d/deep; ln -s /etc/passwd link; mkfifo pipe; echo done";
    let inputs = json!([{ "name": "input", "text": "x" }, { "name": "unchanged", "text": "y" }]);
    world
        .submit(
            "default",
            script(
                writes,
                json!({
                    "transferInput": inputs, "output": "out.txt", "s3": s3("keys"),
                    "outputDestination": { "url": objects.url("default/$(ProcId)/") },
                }),
            ),
        )
        .await;
    world
        .submit(
            "named",
            script(
                writes,
                json!({
                    "transferOutput": ["d", "*.txt", "empty", "größe 1"], "s3": s3("keys"),
                    "outputDestination": { "persistentVolumeClaim": { "claimName": "results", "path": "named" } },
                    "transferOutputRemaps": [
                        { "name": "a.txt", "to": "renamed/b.txt" },
                        { "name": "empty", "url": web.url("/put/empty") },
                        { "name": "größe 1", "url": objects.url("odd") },
                    ],
                }),
            ),
        )
        .await;
    let record = world.wait_for("default", ProcStatus::Completed).await;
    assert_eq!(record.exit_code, Some(0), "{record:?}");
    assert!(record.left.is_none());
    world.wait_for("named", ProcStatus::Completed).await;
    let keys = objects.keys().await;
    let expected = [
        "default/0/a.txt",
        "default/0/empty",
        "default/0/größe 1",
        "default/0/input",
        "default/0/out.txt",
        "odd",
    ];
    assert_eq!(keys, expected, "neither directories, links, pipes nor what did not change");
    assert_eq!(objects.text("default/0/input").await.as_deref(), Some("xchanged\n"));
    assert_eq!(objects.text("default/0/out.txt").await.as_deref(), Some("done\n"));
    assert_eq!(objects.text("odd").await.as_deref(), Some("odd\n"));
    assert_eq!(web.get("/put/empty").map(|content| content.len()), Some(0));
    assert_eq!(volume.files(), ["named/d/deep", "named/renamed/b.txt"]);
    assert_eq!(volume.text("named/renamed/b.txt").as_deref(), Some("plain\n"));
    let status = world.job("default").await.status.unwrap_or_default();
    assert_eq!(event_numbers(&status), [0, 40, 40, 40, 1, 40, 40, 40, 6, 5]);
    let pod = world.pod("default").await;
    let of_job = pod.spec.unwrap().containers.remove(0);
    let mounts: Vec<String> = of_job
        .volume_mounts
        .unwrap_or_default()
        .into_iter()
        .map(|mount| mount.mount_path)
        .collect();
    assert!(!mounts.iter().any(|path| path.starts_with("/volumes")), "{mounts:?}");
    objects.end().await;
    volume.end().await;
    world.end().await;
}

#[tokio::test]
async fn what_is_sent_depends_on_how_it_ended() {
    let world = World::new("outputs-when").await;
    let objects = Objects::of(&world);
    objects.secret(&world, "keys").await;
    let cases = [
        ("exit", "exit 3", json!({}), ProcStatus::Completed, vec!["exit/file", "exit/out"]),
        (
            "signal",
            "kill -9 $$",
            json!({}),
            ProcStatus::Completed,
            vec!["signal/file", "signal/out"],
        ),
        (
            "failed",
            "exit 3",
            json!({ "whenToTransferOutput": "ON_SUCCESS" }),
            ProcStatus::Completed,
            vec!["failed/out"],
        ),
        (
            "good",
            "exit 3",
            json!({ "whenToTransferOutput": "ON_SUCCESS", "successExitCode": 3 }),
            ProcStatus::Completed,
            vec!["good/file", "good/out"],
        ),
        // What explains a hold travels, by the attempt's number.
        (
            "memory",
            "head -c 500000000 /dev/zero | tail -c 400000000 | wc -c",
            json!({ "requestMemory": "32Mi" }),
            ProcStatus::Held,
            vec!["memory/out.0"],
        ),
    ];
    for (name, end, more, ..) in &cases {
        let mut spec = script(&format!("echo said; echo x > file; {end}"), more.clone());
        spec["output"] = json!("out");
        spec["s3"] = s3("keys");
        spec["outputDestination"] = json!({ "url": objects.url(name) });
        world.submit(name, spec).await;
    }
    for (name, _, _, status, _) in &cases {
        let record = world.wait_for(name, *status).await;
        let hold = record.hold.unwrap_or_default();
        let code = if *status == ProcStatus::Held { 34 } else { 0 };
        assert_eq!(hold.code, code, "{name}: {hold:?}");
    }
    let mut expected: Vec<&str> = cases.iter().flat_map(|case| case.4.clone()).collect();
    expected.sort_unstable();
    assert_eq!(objects.keys().await, expected);
    // Of one that is held while it runs its streams travel; of one that is removed nothing.
    let runs = "echo said; echo x > file; sleep 300";
    for (name, verb, status) in
        [("held", "hold", ProcStatus::Held), ("removed", "remove", ProcStatus::Removed)]
    {
        let mut spec = script(runs, json!({ "killSig": "SIGKILL", "output": "out" }));
        spec["s3"] = s3("keys");
        spec["outputDestination"] = json!({ "url": objects.url(name) });
        spec["checkpointDestination"] = json!({ "url": objects.url("saved") });
        spec["whenToTransferOutput"] = json!("ON_EXIT_OR_EVICT");
        world.submit(name, spec).await;
        world.wait_for(name, ProcStatus::Running).await;
        world
            .until("it says something", || async { world.output(name).await.contains("said") })
            .await;
        world.command(verb, name).await;
        world
            .wait(name, "stopped", |found| {
                let record = &found.procs[0].record;
                let stopping = record.hold.as_ref().is_some_and(|hold| hold.stopping)
                    || record.remove.as_ref().is_some_and(|remove| remove.stopping);
                record.status == status && !stopping
            })
            .await;
    }
    let keys: Vec<String> = objects.keys().await;
    let (saved, sent): (Vec<String>, Vec<String>) =
        keys.into_iter().partition(|key| key.starts_with("saved/"));
    expected.push("held/out.0");
    expected.sort_unstable();
    assert_eq!(sent, expected);
    let held = world.job("held").await.uid().unwrap_or_default();
    assert!(!saved.is_empty() && saved.iter().all(|key| key.contains(&held)), "{saved:?}");
    objects.end().await;
    world.end().await;
}

#[tokio::test]
async fn a_job_cannot_have_credentials_sent() {
    let world = World::new("hostile").await;
    let objects = Objects::of(&world);
    objects.secret(&world, "keys").await;
    let text = "mv /scratch/work /scratch/x; ln -s /volumes/secret-0 /scratch/work";
    let mut spec = script(text, json!({ "transferRetention": 1, "s3": s3("keys") }));
    spec["outputDestination"] = json!({ "url": objects.url("stolen/") });
    world.submit("hostile", spec).await;
    let hold = world.wait_for("hostile", ProcStatus::Held).await.hold.unwrap_or_default();
    assert_eq!(hold.code, 12, "{hold:?}");
    assert!(objects.keys().await.is_empty(), "nothing was sent");
    world.end().await;
}
