//! Jobs that save their own checkpoints, and jobs whose files are saved when they are stopped.

use crate::{
    files_in::s3,
    objects::Objects,
    world::{World, event_numbers, script},
};
use duj_api::status::ProcStatus;
use serde_json::json;

#[tokio::test]
async fn a_job_goes_on_from_its_newest_checkpoint() {
    let world = World::new("checkpoint").await;
    let objects = Objects::of(&world);
    objects.secret(&world, "keys").await;
    let count = "n=$(cat state 2>/dev/null || echo 0); echo \"from $n\" >> history; echo begin $n; n=$((n + 1)); echo $n > state; [ $n -lt 3 ] && exit 85; [ -f go ] || [ $n -gt 3 ] || { sleep 300; }; echo end $n";
    let fields = json!({
        "checkpointExitCode": 85, "transferCheckpoint": ["state", "history"], "output": "out", "s3": s3("keys"),
        "checkpointDestination": { "url": objects.url("checkpoints") }, "killSig": "SIGKILL",
    });
    world.submit("counts", script(count, fields)).await;
    world.wait_for("counts", ProcStatus::Running).await;
    // Two checkpoints: the third run sleeps.
    world
        .until("two checkpoints were made", || async {
            world.output("counts").await.contains("begin 2")
        })
        .await;
    world.command("vacate", "counts").await;
    let record = world
        .wait("counts", "running again", |status| {
            status.procs.iter().any(|group| {
                group.record.num_job_starts == 2 && group.record.status == ProcStatus::Running
            })
        })
        .await;
    drop(record);
    world
        .until("it began with the checkpoint", || async {
            world.output("counts").await.contains("begin 2")
        })
        .await;
    let status = world.job("counts").await.status.unwrap_or_default();
    let events = event_numbers(&status);
    assert_eq!(events.iter().filter(|number| **number == 3).count(), 2, "{events:?}");
    let keys = objects.keys().await;
    assert!(keys.iter().all(|key| key.starts_with("checkpoints/")), "{keys:?}");
    assert!(keys.iter().any(|key| key.ends_with("/MANIFEST")), "{keys:?}");
    world.command("remove", "counts").await;
    world.wait("counts", "removed", |status| status.completion_time.is_some()).await;
    objects.end().await;
    world.end().await;
}

#[tokio::test]
async fn files_of_a_stopped_attempt_wait_for_the_next() {
    let world = World::new("on-evict").await;
    let objects = Objects::of(&world);
    objects.secret(&world, "keys").await;
    let text = "if [ -f state ]; then cat state; else trap 'exit 0' TERM; echo half > state; echo ready; sleep 300 & wait; fi";
    let fields = json!({
        "whenToTransferOutput": "ON_EXIT_OR_EVICT", "s3": s3("keys"),
        "checkpointDestination": { "url": objects.url("saved") },
        "outputDestination": { "url": objects.url("results/") },
    });
    world.submit("evicted", script(text, fields)).await;
    world.wait_for("evicted", ProcStatus::Running).await;
    world
        .until("it wrote its file", || async { world.output("evicted").await.contains("ready") })
        .await;
    world.command("vacate", "evicted").await;
    let record = world.wait_for("evicted", ProcStatus::Completed).await;
    assert_eq!((record.exit_code, record.num_job_starts), (Some(0), 2), "{record:?}");
    let keys = objects.keys().await;
    assert!(keys.iter().any(|key| key.starts_with("saved/")), "{keys:?}");
    assert!(
        keys.iter().all(|key| !key.starts_with("results/") || key == "results/state"),
        "{keys:?}"
    );
    objects.end().await;
    world.end().await;
}
