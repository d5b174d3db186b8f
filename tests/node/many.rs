//! Jobs of many procs, beside what an installation lets them have.

use crate::world::{World, condition, script};
use duj_api::{DockerUniverseJobStatus, status::ProcStatus};
use serde_json::{Value, json};

/// The namespace for which `cargo xtask test` sets limits: one pod at a time, and three procs in a job.
const LIMITED: &str = "t-limited";

/// A job of so many procs, which are small enough for all of them to find room.
fn procs(count: u32, mut others: Value) -> Value {
    others["queue"] = json!({ "count": count });
    others["requestCpus"] = json!("1m");
    others["requestMemory"] = json!("8Mi");
    others
}

fn is_over(status: &DockerUniverseJobStatus) -> bool {
    condition(status, "Complete") == Some("True")
}

#[tokio::test]
async fn a_namespace_has_so_many_pods_at_a_time_and_no_larger_jobs() {
    let world = World::named(LIMITED).await;
    let stop = "trap 'exit 0' TERM; while :; do sleep 0.1; done";
    world.submit("first", script(stop, procs(1, json!({})))).await;
    world.wait_for("first", ProcStatus::Running).await;
    world.submit("second", script("exit 0", procs(2, json!({})))).await;
    let why = world.wait_because("second", "LimitReached").await;
    assert_eq!(
        why,
        "the job waits its turn: 1 pods of namespace 't-limited' may live at the same time (limits.namespaces)"
    );
    assert!(world.pods("second").await.is_empty());

    world.submit("large", script("exit 0", procs(4, json!({})))).await;
    let hold = world.wait_for("large", ProcStatus::Held).await.hold.unwrap();
    assert_eq!((hold.code, hold.subcode), (26, 0));
    assert_eq!(
        hold.reason,
        "the job has 4 procs, and in namespace 't-limited' a job may have 3: submit it in parts, or ask for a larger limits.maxProcsPerJob"
    );

    world.command("remove", "first").await;
    world.wait("second", "complete", is_over).await;
    world.end().await;
}
