//! Late materialization: which procs are in the queue, and when others follow.

#[path = "materialization/commands.rs"]
mod commands;

use crate::play::Play;
use duj_api::status::Counts;
use duj_core::userlog::{self, Body, Cluster, Completion, Event, Expect};
use duj_protocol::Outcome;
use serde_json::{Value, json};

/// A job of ten procs with these limits, submitted.
fn ten(limits: Value) -> Play {
    let mut play = Play::of(json!({ "queue": queue(limits) }));
    play.scene("submitted");
    play
}

fn queue(limits: Value) -> Value {
    let mut queue = json!({ "count": 10 });
    queue.as_object_mut().unwrap().extend(limits.as_object().unwrap().clone());
    queue
}

/// The owner gives the job other limits.
fn limit(play: &mut Play, limits: Value) {
    play.wait(1);
    play.edit(json!({ "queue": queue(limits) }));
    play.scene("other limits");
}

fn run(play: &mut Play, procs: impl IntoIterator<Item = u32>) {
    for proc in procs {
        play.pod_of(proc).bind();
        play.pod_of(proc).run();
    }
    play.scene("they run");
    play.wait(10);
}

fn end(play: &mut Play, procs: impl IntoIterator<Item = u32>, code: i32) {
    for proc in procs {
        play.pod_of(proc).outcome(Outcome::Exited(code));
    }
    play.scene("they end");
}

fn command(play: &mut Play, spec: Value) -> String {
    play.wait(1);
    let mut command = json!({ "job": "hello" });
    command.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    let now = play.now;
    let name = play.server.command(command, now);
    play.scene("a command");
    let answer = play.server.commands[&name].status.clone().expect("an answer");
    format!("+{} -{} {}", answer.accepted, answer.refused, answer.message)
}

fn counts(play: &Play) -> Counts {
    play.status().counts.unwrap()
}

/// Idle, running, held, ended and not yet materialized.
fn are(play: &Play) -> [i64; 5] {
    let counts = counts(play);
    let ended = counts.completed + counts.removed;
    [counts.idle, counts.running, counts.held, ended, counts.unmaterialized]
}

fn because(play: &Play) -> (String, String) {
    let because = play.status().because.unwrap();
    (because.reason, because.message)
}

fn holds(play: &Play, condition: &str) -> bool {
    let conditions = play.status().conditions;
    conditions.iter().any(|known| known.type_ == condition && known.status == "True")
}

/// The cluster's own events, and whether the whole log is sound.
fn of_cluster(play: &Play, expect: Expect) -> Vec<Cluster> {
    let log: Vec<Event> = userlog::read(&play.server.log()).map(Result::unwrap).collect();
    assert_eq!(userlog::check(&log, expect), []);
    log.into_iter()
        .filter_map(|event| match event.body {
            Body::Cluster(told) => {
                assert_eq!(event.job.proc, -1);
                Some(told)
            }
            _ => None,
        })
        .collect()
}

fn removed(play: &Play) -> (u32, u32, Completion) {
    match of_cluster(play, Expect::Finished).last() {
        Some(Cluster::Removed { procs, items, completion, .. }) => (*procs, *items, *completion),
        other => panic!("{other:?}"),
    }
}

#[test]
fn so_many_are_in_the_queue_and_others_follow_as_they_leave_it() {
    let mut play = Play::of(json!({ "queue": { "count": 4, "maxMaterialize": 2 } }));
    let deeds = play.scene("submitted");
    assert_eq!(deeds, ["Status", "CreatePod 0-0", "CreatePod 1-0"]);
    assert_eq!(are(&play), [2, 0, 0, 0, 2]);
    assert_eq!(counts(&play).total, 4);
    run(&mut play, 0..2);
    assert_eq!(are(&play), [0, 2, 0, 0, 2], "one that runs is in the queue");
    play.pod_of(1).outcome(Outcome::Exited(0));
    let deeds = play.scene("one ends");
    assert!(deeds.contains(&"CreatePod 2-0".to_owned()), "{deeds:?}");
    assert_eq!(are(&play), [1, 1, 0, 1, 1]);
    run(&mut play, 2..3);
    end(&mut play, [0, 2], 0);
    assert_eq!(are(&play), [1, 0, 0, 3, 0]);
    run(&mut play, 3..4);
    assert!(play.status().completion_time.is_none());
    end(&mut play, 3..4, 0);
    assert!(holds(&play, "Complete"));
    assert_eq!(removed(&play), (4, 0, Completion::Complete));
    assert_eq!(play.scene("and nothing more"), [""; 0]);
    play.is_remembered("late materialization");
}

#[test]
fn a_proc_that_is_being_removed_is_in_the_queue_until_its_pod_has_ended() {
    let mut play = ten(json!({ "maxMaterialize": 1 }));
    run(&mut play, 0..1);
    assert_eq!(
        command(&mut play, json!({ "verb": "remove", "procs": "0" })),
        "+1 -0 Job 7.0 marked for removal"
    );
    assert_eq!(counts(&play).unmaterialized, 9);
    play.pod_of(0).stop();
    play.scene("its pod has ended");
    assert_eq!(are(&play), [1, 0, 0, 1, 8]);
}

#[test]
fn so_many_wait_and_others_follow_as_they_start() {
    let mut play = ten(json!({ "maxIdle": 2 }));
    assert_eq!(are(&play), [2, 0, 0, 0, 8]);
    run(&mut play, 0..2);
    assert_eq!(are(&play), [2, 2, 0, 0, 6]);
    run(&mut play, 2..3);
    assert_eq!(are(&play), [2, 3, 0, 0, 5]);
    play.wait(1);
    // One that is evicted waits again, and is one of them.
    play.server.pods.remove("hello-0a1b2c3d-0-0");
    play.scene("a pod is gone");
    assert_eq!(are(&play), [3, 2, 0, 0, 5]);
    run(&mut play, 3..4);
    assert_eq!(are(&play), [2, 3, 0, 0, 5], "there are enough");
    assert_eq!(because(&play).0, "WaitingForScheduler");
}

#[test]
fn held_procs_count_as_idle_and_say_that_others_wait_for_them() {
    let mut play = Play::of(json!({
        "queue": { "count": 10, "maxIdle": 2 }, "onExitHold": "ExitCode == 7",
    }));
    play.scene("submitted");
    run(&mut play, 0..2);
    end(&mut play, 0..2, 7);
    assert_eq!(are(&play), [2, 0, 2, 0, 6]);
    run(&mut play, 2..4);
    assert_eq!(are(&play), [0, 2, 2, 0, 6]);
    end(&mut play, 2..3, 0);
    assert!(!because(&play).1.contains("wait for that"), "{}", because(&play).1);
    assert!(holds(&play, "Reconciling") && !holds(&play, "Stalled"), "one runs");
    end(&mut play, 3..4, 0);
    assert_eq!(are(&play), [0, 0, 2, 2, 6]);
    let (reason, message) = because(&play);
    assert_eq!(reason, "Held");
    assert!(message.ends_with("(6 more procs wait for that: queue.maxIdle is 2)"), "{message}");
    assert!(holds(&play, "Stalled"), "nothing goes on without a person");
    assert_eq!(
        command(&mut play, json!({ "verb": "release", "procs": "0" })),
        "+1 -0 Job 7.0 released"
    );
    assert!(holds(&play, "Reconciling"));
}

#[test]
fn both_limits_hold_at_the_same_time() {
    let mut play = ten(json!({ "maxMaterialize": 3, "maxIdle": 2 }));
    assert_eq!(are(&play), [2, 0, 0, 0, 8]);
    run(&mut play, 0..2);
    assert_eq!(are(&play), [1, 2, 0, 0, 7]);
    end(&mut play, 0..2, 0);
    assert_eq!(are(&play), [2, 0, 0, 2, 6]);
}

#[test]
fn limits_change_at_any_time() {
    let mut play = ten(json!({ "maxMaterialize": 4 }));
    limit(&mut play, json!({ "maxMaterialize": 6 }));
    assert_eq!(are(&play), [6, 0, 0, 0, 4]);
    limit(&mut play, json!({ "maxMaterialize": 2 }));
    assert_eq!(are(&play), [6, 0, 0, 0, 4], "what is in the queue stays there");
    run(&mut play, 0..6);
    end(&mut play, 0..4, 0);
    assert_eq!(are(&play), [0, 2, 0, 4, 4]);
    end(&mut play, 4..5, 0);
    assert_eq!(are(&play), [1, 1, 0, 5, 3]);
    limit(&mut play, json!({}));
    assert_eq!(are(&play), [4, 1, 0, 5, 0], "without limits all come");
    assert_eq!(of_cluster(&play, Expect::Running).len(), 1);
}

#[test]
fn no_idle_procs_is_a_way_to_wait() {
    let mut play = ten(json!({ "maxIdle": 0 }));
    assert_eq!(are(&play), [0, 0, 0, 0, 10]);
    assert_eq!(play.log(), "35");
    assert_eq!(because(&play), ("LimitReached".into(), "10 procs wait: queue.maxIdle is 0".into()));
    assert!(holds(&play, "Stalled") && !holds(&play, "Held"));
    play.wait(100);
    limit(&mut play, json!({ "maxIdle": 1 }));
    assert_eq!(are(&play), [1, 0, 0, 0, 9]);
    let submitted = play.events()[1].clone();
    assert_eq!(submitted.body.number(), 0);
    assert_eq!(submitted.time, play.now, "a proc is submitted when it materializes");
    limit(&mut play, json!({ "maxIdle": 0 }));
    run(&mut play, 0..1);
    assert_eq!(because(&play).0, "Running");
    end(&mut play, 0..1, 0);
    assert_eq!(are(&play), [0, 0, 0, 1, 9]);
    assert!(play.status().completion_time.is_none());
}

#[test]
fn items_are_counted_at_the_end() {
    let mut play = Play::of(json!({
        "queue": { "count": 2, "items": { "values": ["a", "b", "c"] }, "maxMaterialize": 3 },
    }));
    play.scene("submitted");
    command(&mut play, json!({ "verb": "remove" }));
    assert_eq!(removed(&play), (3, 2, Completion::Incomplete));
}

#[test]
fn a_crash_between_pods_and_status_brings_no_proc_twice() {
    let mut play = ten(json!({ "maxMaterialize": 2 }));
    run(&mut play, 0..2);
    play.pod_of(0).outcome(Outcome::Exited(0));
    play.pod_of(1).outcome(Outcome::Exited(0));
    for _ in 0..3 {
        // What it decides is lost each time.
        let decision = play.decision();
        assert_eq!(decision.status.unwrap().counts.unwrap().idle, 2);
        play.operator.restart(&play.server);
        play.wait(2);
    }
    play.decide();
    play.operator.restart(&play.server);
    play.scene("at last");
    assert_eq!(are(&play), [2, 0, 0, 2, 6]);
    let submitted = play.events().iter().filter(|event| event.body.number() == 0).count();
    assert_eq!(submitted, 4);
}

#[test]
fn more_follow_than_one_status_can_tell_of() {
    let mut play = Play::of(json!({ "queue": { "count": 2000, "maxMaterialize": 1 } }));
    play.operator.room.pods = 0;
    play.scene("submitted");
    assert_eq!(are(&play), [1, 0, 0, 0, 1999]);
    play.edit(json!({ "queue": { "count": 2000, "maxMaterialize": 1900 } }));
    play.scene("a larger limit");
    assert_eq!(are(&play), [1900, 0, 0, 0, 100]);
    assert_eq!(of_cluster(&play, Expect::Running).len(), 1);
}

#[test]
fn procs_that_a_policy_lets_go_at_once_make_room() {
    let mut play = Play::of(json!({
        "queue": { "count": 10, "maxMaterialize": 2 }, "periodicRemove": "ProcId < 6 && JobMaterializeLimit == 2",
    }));
    play.scene("submitted");
    assert_eq!(are(&play), [2, 0, 0, 6, 2]);
}

#[test]
fn information_is_told_of_procs_not_of_their_cluster() {
    let mut play = Play::of(json!({
        "queue": { "count": 2, "maxMaterialize": 1 }, "jobAdInformationAttrs": ["ProcId"],
    }));
    play.scene("submitted");
    play.edit(json!({ "hold": true }));
    play.scene("held");
    assert_eq!(play.log(), "35 0 28 37 12 28");
}
