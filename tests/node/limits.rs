//! Jobs that outgrow their memory or their scratch: held with the numbers, mended by a larger request, never lost.

use crate::{
    inside,
    world::{World, condition, event_numbers, script},
};
use duj_api::status::{ProcRecord, ProcStatus};
use serde_json::{Value, json};
use std::path::Path;

/// Code, subcode and reason of the hold.
fn hold(record: &ProcRecord) -> (i32, i32, &str) {
    let hold = record.hold.as_ref().expect("the proc is held");
    (hold.code, hold.subcode, &hold.reason)
}

/// Where control groups are of version 2, the kubelet lets the kernel kill a container as a whole, its starter included.
fn dies_as_a_whole() -> bool {
    Path::new("/sys/fs/cgroup/cgroup.controllers").exists()
}

/// What the kubelet says of a container in which the kernel killed a process for lack of memory.
fn out_of_memory(exit_code: i32) -> Value {
    json!({
        "phase": if exit_code == 0 { "Succeeded" } else { "Failed" },
        "reason": null, "waiting": null, "disruption": null,
        "terminated": "OOMKilled", "exitCode": exit_code,
    })
}

/// Checks a hold for memory of a job that asked for 16 MiB, and what the log says of it.
async fn held_for_memory(world: &World, name: &str) {
    let record = world.wait_for(name, ProcStatus::Held).await;
    let (code, subcode, reason) = hold(&record);
    assert_eq!((code, subcode), (34, 102));
    let slot = format!("Error from {}@", world.pod(name).await.metadata.name.unwrap());
    assert!(reason.starts_with(&slot), "{reason}");
    // A starter that was killed too may not have seen the peak: the number is not promised then, the reason is.
    let peak = if dies_as_a_whole() { "" } else { " (peak 16 Mb). " };
    let words = format!("Docker job has gone over memory limit of 16 Mb{peak}");
    assert!(reason.contains(&words), "{reason}");
    assert!(reason.ends_with("Consider increasing requestMemory"), "{reason}");
    let status = world.job(name).await.status.unwrap();
    assert_eq!(event_numbers(&status), [0, 1, 21, 4, 12]);
    assert_eq!(condition(&status, "Held"), Some("True"));
    assert_eq!(condition(&status, "Stalled"), Some("True"));
    world
        .until("an Event mirrors the hold", || async {
            let is_it = |note: &str| note.contains("held (code 34 subcode 102): Error from");
            world.events(name).await.iter().any(|(reason, note)| reason == "Held" && is_it(note))
        })
        .await;
}

#[tokio::test]
async fn a_job_over_its_memory_is_held_and_a_larger_request_mends_it() {
    let world = World::new("memory").await;
    // One that wants 24 MiB and ends when it has them, and one whose own process wants all there is.
    let limit = json!({ "requestMemory": "16Mi" });
    world.submit("grows", script("head -c 24m /dev/zero | tail -c 24m >/dev/null", limit)).await;
    let own = json!({ "executable": "tail", "arguments": ["/dev/zero"], "requestMemory": "16Mi" });
    world.submit("own-process", own).await;

    held_for_memory(&world, "own-process").await;
    assert_eq!(world.pinned("own-process").await, out_of_memory(137));

    held_for_memory(&world, "grows").await;
    world.change("grows", json!({ "requestMemory": "48Mi" })).await;
    let record = world.wait_for("grows", ProcStatus::Completed).await;
    assert_eq!((record.exit_code, record.num_job_starts, record.num_holds), (Some(0), 2, 1));
    let status = world.job("grows").await.status.unwrap();
    assert_eq!(event_numbers(&status), [0, 1, 21, 4, 12, 13, 1, 6, 5]);
    let log = &status.user_log.unwrap().text;
    assert!(log.contains("the job was mended (generation 2)"), "{log}");
    world.end().await;
}

#[tokio::test]
async fn a_job_that_survives_a_child_killed_for_memory_is_held_too() {
    let world = World::new("memory-child").await;
    let limit = json!({ "requestMemory": "16Mi" });
    world.submit("child", script("tail /dev/zero; exit 0", limit)).await;
    held_for_memory(&world, "child").await;
    assert_eq!(world.pinned("child").await, out_of_memory(if dies_as_a_whole() { 137 } else { 0 }));
    world.end().await;
}

#[tokio::test]
async fn the_kernel_may_kill_the_starter_itself_for_memory() {
    let world = World::new("memory-starter").await;
    let limit = json!({ "requestMemory": "16Mi" });
    world
        .submit(
            "starter",
            script("touch up; until [ -e go ]; do sleep 0.1; done; tail /dev/zero", limit),
        )
        .await;
    world.wait_for("starter", ProcStatus::Running).await;
    let starter = inside::starter_of(&world, "starter").await;
    let is_up = || async { inside::read(starter, "scratch/work/up").is_some() };
    world.until("the job is up, so that it does not inherit what its starter gets", is_up).await;
    inside::first_to_be_killed_for_memory(starter);
    inside::write(starter, "scratch/work/go", "");

    let record = world.wait_for("starter", ProcStatus::Held).await;
    // Its provisional record may be from before the peak: the number is not promised, the reason is.
    let (code, subcode, reason) = hold(&record);
    assert_eq!((code, subcode), (34, 102));
    assert!(reason.contains("Docker job has gone over memory limit of 16 Mb"), "{reason}");
    assert_eq!(world.pinned("starter").await, out_of_memory(137));
    let status = world.job("starter").await.status.unwrap();
    assert_eq!(event_numbers(&status), [0, 1, 21, 4, 12]);
    world.end().await;
}

#[tokio::test]
async fn a_starter_killed_from_outside_is_nobodys_failure() {
    let world = World::new("starter-killed").await;
    // The first attempt waits for its end, the second one knows that it is the second.
    let wait = "grep -q 'NumJobStarts = 1' .job.ad || sleep 1000";
    world.submit("again", script(wait, json!({}))).await;
    world.wait_for("again", ProcStatus::Running).await;
    inside::kill(inside::starter_of(&world, "again").await);
    let record = world.wait_for("again", ProcStatus::Completed).await;
    assert_eq!((record.exit_code, record.num_job_starts, record.num_vacates), (Some(0), 2, 1));
    let status = world.job("again").await.status.unwrap();
    assert_eq!(event_numbers(&status), [0, 1, 4, 1, 6, 5]);
    world.end().await;
}

#[tokio::test]
async fn scratch_over_its_limit_is_held_wherever_in_it_the_files_are() {
    let world = World::new("disk").await;
    let places = [("work", "."), ("tmp", "/tmp"), ("var-tmp", "/var/tmp")];
    for (name, directory) in places {
        let fill = format!("dd if=/dev/zero of={directory}/big bs=1M count=30; sleep 1000");
        world.submit(name, script(&fill, json!({ "requestDisk": "10Mi" }))).await;
    }
    for (name, _) in places {
        let record = world.wait_for(name, ProcStatus::Held).await;
        let (code, subcode, reason) = hold(&record);
        assert_eq!((code, subcode), (34, 104));
        assert!(reason.contains("Job has exceeded allocated disk ("), "{reason}");
        assert!(reason.contains(" KiB used of 10240 KiB in its scratch directory)"), "{reason}");
        assert!(reason.ends_with("Consider increasing the value of requestDisk."), "{reason}");
        let status = world.job(name).await.status.unwrap();
        assert_eq!(event_numbers(&status), [0, 1, 21, 4, 12]);
        // The starter ended it, long before the kubelet would have: the pod is not evicted.
        let killed = json!({
            "phase": "Failed", "reason": null, "waiting": null, "disruption": null,
            "terminated": "Error", "exitCode": 137,
        });
        assert_eq!(world.pinned(name).await, killed);
    }
    world.end().await;
}

#[tokio::test]
async fn each_attempt_has_a_scratch_of_its_own() {
    let world = World::new("scratch").await;
    // The first attempt is ended for its 20 MiB, the second one is allowed them and ends.
    let fill = "ls -A . /tmp /var/tmp; dd if=/dev/zero of=big bs=1M count=20; touch /tmp/left /var/tmp/left
        grep -q 'NumJobStarts = 1' .job.ad || sleep 1000";
    world.submit("twice", script(fill, json!({ "requestDisk": "10Mi" }))).await;
    world.wait_for("twice", ProcStatus::Held).await;
    world.change("twice", json!({ "requestDisk": "40Mi" })).await;
    let record = world.wait_for("twice", ProcStatus::Completed).await;
    assert_eq!((record.exit_code, record.num_job_starts), (Some(0), 2));
    assert_eq!(world.pods("twice").await.len(), 2);
    let seen = world.output("twice").await;
    let listed: Vec<&str> = seen.lines().filter(|line| ["big", "left"].contains(line)).collect();
    assert!(listed.is_empty(), "{seen}");
    world.end().await;
}
