//! Outputs that cannot be sent: the job is held, its pod keeps them, and a release sends them without another run.

use crate::{
    files_in::s3,
    objects::Objects,
    volumes::Volume,
    web::{Fault, Web},
    world::{World, script},
};
use duj_api::status::ProcStatus;
use serde_json::{Value, json};

fn job(destination: Value, more: Value) -> Value {
    let mut spec = script("echo result > result; date +%N > /dev/null; exit 3", more);
    spec["transferOutput"] = json!(["result"]);
    spec["outputDestination"] = destination;
    spec
}

#[tokio::test]
async fn a_release_sends_them_again_and_runs_nothing() {
    let world = World::new("kept").await;
    let web = Web::start().await;
    web.always("/out/result", Fault::Answer(403, "the quota is used up"));
    world.submit("kept", job(json!({ "url": web.url("/out/") }), json!({}))).await;
    let record = world.wait_for("kept", ProcStatus::Held).await;
    let hold = record.hold.clone().unwrap_or_default();
    assert_eq!((hold.code, hold.subcode), (12, 13), "{hold:?}");
    assert!(hold.reason.contains("the quota is used up"), "{hold:?}");
    assert!(record.outputs_kept && record.exit_code == Some(3), "{record:?}");
    // Once more in vain, then for good.
    world.command("release", "kept").await;
    world
        .wait("kept", "held for the second time", |status| {
            status.procs.iter().any(|group| group.record.num_holds == 2)
        })
        .await;
    web.mend("/out/result");
    world.command("release", "kept").await;
    let record = world.wait_for("kept", ProcStatus::Completed).await;
    assert_eq!((record.exit_code, record.num_job_starts, record.attempt), (Some(3), 1, 0));
    assert_eq!(web.get("/out/result").as_deref(), Some(&b"result\n"[..]));
    assert_eq!(world.pods("kept").await.len(), 1, "there was one pod");
    world.end().await;
}

#[tokio::test]
async fn after_the_retention_a_release_runs_the_job_again() {
    let world = World::new("kept-over").await;
    let web = Web::start().await;
    web.always("/out/result", Fault::Answer(403, "closed"));
    let retention = json!({ "transferRetention": 1 });
    world.submit("over", job(json!({ "url": web.url("/out") }), retention)).await;
    world
        .wait("over", "held, and its outputs are not kept any more", |status| {
            status
                .procs
                .iter()
                .any(|group| group.record.status == ProcStatus::Held && !group.record.outputs_kept)
        })
        .await;
    web.mend("/out/result");
    world.command("release", "over").await;
    let record = world.wait_for("over", ProcStatus::Completed).await;
    assert_eq!((record.num_job_starts, record.attempt), (2, 1), "{record:?}");
    world.end().await;
}

#[tokio::test]
async fn each_fault_has_its_words() {
    let world = World::new("kept-words").await;
    let web = Web::start().await;
    web.always("/stalled/result", Fault::Stall);
    let objects = Objects::of(&world);
    objects.wrong_secret(&world, "wrong").await;
    let closed = Volume::not_writable(&world, "closed").await;
    let claim = json!({ "persistentVolumeClaim": { "claimName": "closed" } });
    let cases = [
        ("wrong-keys", json!({ "url": objects.url("x/") }), json!({}), (12, 13), "result"),
        ("not-writable", claim, json!({}), (12, 13), "PersistentVolumeClaim 'closed'"),
        (
            "missing",
            json!({ "url": web.url("/x/") }),
            json!({ "transferOutput": ["absent"] }),
            (12, 2),
            "(errno 2) No such file or directory",
        ),
        (
            "too-big",
            json!({ "url": web.url("/x/") }),
            json!({ "maxTransferOutputMb": 0 }),
            (33, 0),
            "max",
        ),
    ];
    for (name, destination, more, ..) in &cases {
        let mut spec = job(destination.clone(), json!({ "transferRetention": 1 }));
        if destination["url"].as_str().is_some_and(|url| url.starts_with("s3:")) {
            spec["s3"] = s3("wrong");
        }
        for (key, value) in more.as_object().unwrap() {
            spec[key] = value.clone();
        }
        world.submit(name, spec).await;
    }
    for (name, _, _, (code, subcode), words) in &cases {
        let record = world.wait_for(name, ProcStatus::Held).await;
        let hold = record.hold.clone().unwrap_or_default();
        assert_eq!((hold.code, hold.subcode), (*code, *subcode), "{name}: {hold:?}");
        assert!(hold.reason.contains("Transfer output files failure at the execution point"));
        assert!(hold.reason.contains(words), "{name}: {hold:?}");
        assert_eq!(record.exit_code, Some(3), "{name}: what it came to is kept");
    }
    closed.end().await;
    world.end().await;
}

#[tokio::test]
async fn a_removal_ends_what_is_kept() {
    let world = World::new("kept-removed").await;
    let web = Web::start().await;
    web.always("/out/result", Fault::Answer(403, "closed"));
    world.submit("removed", job(json!({ "url": web.url("/out") }), json!({}))).await;
    world.wait_for("removed", ProcStatus::Held).await;
    world.command("remove", "removed").await;
    world.wait("removed", "removed", |status| status.completion_time.is_some()).await;
    world.end().await;
}
