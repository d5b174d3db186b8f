//! How a job is asked to end, and that nothing of it outlives it.

use crate::{
    inside,
    world::{World, event_numbers, script},
};
use duj_api::status::ProcStatus;
use serde_json::json;

/// Waits until the job says that its traps are set, so that no signal comes too early.
async fn ready(world: &World, job: &str) {
    world.wait_for(job, ProcStatus::Running).await;
    world.until("the job is ready", || async { world.output(job).await.contains("ready") }).await;
}

#[tokio::test]
async fn a_job_that_ignores_its_signal_is_killed_after_its_vacate_time() {
    let world = World::new("ignores").await;
    let text = "trap 'echo ignored' TERM; echo ready; while :; do sleep 0.1; done";
    world.submit("stubborn", script(text, json!({ "maxVacateTime": 1 }))).await;
    ready(&world, "stubborn").await;
    assert_eq!(world.command("hold", "stubborn").await.accepted, 1);
    let record = world.wait_for("stubborn", ProcStatus::Held).await;
    let hold = record.hold.unwrap();
    assert_eq!((hold.code, hold.subcode), (1, 0));
    let status = world.job("stubborn").await.status.unwrap();
    assert_eq!(event_numbers(&status), [0, 1, 4, 12]);
    // Released, it begins anew.
    assert_eq!(world.command("release", "stubborn").await.accepted, 1);
    ready(&world, "stubborn").await;
    assert_eq!(world.command("remove", "stubborn").await.accepted, 1);
    let record = world.wait_for("stubborn", ProcStatus::Removed).await;
    assert_eq!(record.num_job_starts, 2);
    let status = world.job("stubborn").await.status.unwrap();
    assert_eq!(event_numbers(&status), [0, 1, 4, 12, 13, 1, 4, 9]);
    world.end().await;
}

#[tokio::test]
async fn the_jobs_own_kill_signal_reaches_it() {
    let world = World::new("kill-sig").await;
    // It ends only once it was seen which signal came, so that no other may follow.
    let wait = "until [ -e go ]; do sleep 0.1; done; exit 3";
    let text = format!(
        "trap 'echo USR1 >asked; {wait}' USR1; trap 'echo TERM >asked; {wait}' TERM
        echo ready; while :; do sleep 0.1; done"
    );
    let cases =
        [("chosen", json!({ "killSig": "SIGUSR1" }), "USR1\n"), ("default", json!({}), "TERM\n")];
    for (name, more, _) in &cases {
        world.submit(name, script(&text, more.clone())).await;
    }
    for (name, _, signal) in &cases {
        ready(&world, name).await;
        let starter = inside::starter_of(&world, name).await;
        assert_eq!(world.command("hold", name).await.accepted, 1);
        let asked = || async {
            inside::read(starter, "scratch/work/asked").is_some_and(|text| !text.is_empty())
        };
        world.until("the job is asked to end", asked).await;
        assert_eq!(inside::read(starter, "scratch/work/asked").as_deref(), Some(*signal));
        inside::write(starter, "scratch/work/go", "");
        world.wait_for(name, ProcStatus::Held).await;
        // Held and not completed, although it exited: it was asked to.
        let status = world.job(name).await.status.unwrap();
        assert_eq!(event_numbers(&status), [0, 1, 4, 12]);
    }
    world.end().await;
}

#[tokio::test]
async fn a_job_cannot_end_its_starter() {
    let world = World::new("kill-one").await;
    // PID 1 takes the signal for itself only where it comes from outside.
    let script = "kill 1; kill -TERM 1; kill -KILL 1; sleep 1; echo still here; exit 5";
    world.submit_script("kills-one", script).await;
    let record = world.wait_for("kills-one", ProcStatus::Completed).await;
    assert_eq!((record.exit_code, record.exit_signal), (Some(5), None));
    assert!(world.output("kills-one").await.contains("still here"));
    world.end().await;
}

#[tokio::test]
async fn a_process_left_behind_does_not_keep_the_job_running() {
    let world = World::new("left-behind").await;
    // A daemon: of another session and orphaned, so in no process group or tree of the job's.
    let script = "(setsid sleep 100000 &) ; trap '' TERM; exit 6";
    world.submit_script("daemon", script).await;
    let record = world.wait_for("daemon", ProcStatus::Completed).await;
    assert_eq!((record.exit_code, record.exit_signal), (Some(6), None));
    world.pinned("daemon").await;
    world.end().await;
}
