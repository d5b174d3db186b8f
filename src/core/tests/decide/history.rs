//! Which pods are kept after the end, and for how long.

use crate::play::Play;
use duj_protocol::Outcome;
use serde_json::{Value, json};

/// A job of ten procs, of which 3 and 7 failed, with these fields; an operator that keeps so many pods.
fn ended(fields: Value, kept: u32) -> Play {
    let mut spec = json!({ "queue": { "count": 10 } });
    spec.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    let mut play = Play::of(spec);
    play.operator.settings.kept_pods = kept;
    play.operator.leading_since = play.now;
    play.scene("submitted");
    for proc in 0..10 {
        play.pod_of(proc).bind();
        play.pod_of(proc).run();
    }
    play.scene("all run");
    for proc in 0..10 {
        play.wait(5);
        let code = i32::from(proc == 3 || proc == 7);
        play.pod_of(proc).outcome(Outcome::Exited(code));
    }
    play.scene("all have ended");
    assert_eq!(play.server.pods.len(), 10, "for two minutes all of them stay");
    play.wait(200);
    play.scene("later");
    assert_eq!(play.status().counts.unwrap().completed, 10);
    play
}

/// The procs whose pods are there.
fn there(play: &Play) -> Vec<u32> {
    let proc = |name: &String| name.rsplit('-').nth(1).unwrap().parse().unwrap();
    let mut procs: Vec<u32> = play.server.pods.keys().map(proc).collect();
    procs.sort_unstable();
    procs
}

#[test]
fn pods_stay_for_their_logs_as_many_as_the_installation_keeps() {
    assert_eq!(there(&ended(json!({}), 500)).len(), 10);
    // The failed ones and the newest ones.
    assert_eq!(there(&ended(json!({}), 5)), [3, 6, 7, 8, 9]);
    assert_eq!(there(&ended(json!({}), 1)), [7]);
    assert_eq!(there(&ended(json!({}), 0)), Vec::<u32>::new());
}

#[test]
fn a_job_can_let_its_pods_go() {
    assert_eq!(there(&ended(json!({ "removePods": "OnSuccess" }), 500)), [3, 7]);
    assert_eq!(there(&ended(json!({ "removePods": "OnEnd" }), 500)), Vec::<u32>::new());
}

#[test]
fn a_new_leader_waits_until_nothing_of_the_former_one_can_come() {
    let mut play = ended(json!({}), 500);
    play.operator.settings.kept_pods = 0;
    play.operator.leading_since = play.now;
    play.scene("another operator leads");
    assert_eq!(there(&play).len(), 10);
    play.wait(131);
    play.scene("two minutes later");
    assert!(there(&play).is_empty());
}

#[test]
fn pods_wait_for_others_to_go_with_them() {
    let mut play = Play::of(json!({ "queue": { "count": 4 }, "removePods": "OnEnd" }));
    play.operator.leading_since = play.now;
    play.scene("submitted");
    for proc in 0..4 {
        play.pod_of(proc).bind();
        play.pod_of(proc).run();
    }
    play.scene("all run");
    for (proc, seconds) in [(0, 10), (1, 5), (2, 4), (3, 30)] {
        play.wait(seconds);
        play.pod_of(proc).outcome(Outcome::Exited(0));
        play.scene("one more has ended");
    }
    // Proc 0 ended 39 s ago, 1 and 2 within the ten seconds after it.
    play.wait(82);
    assert!(play.scene("the first one could go").is_empty());
    play.wait(9);
    assert_eq!(play.scene("three go at once"), ["ForgetPods [0, 1, 2]"]);
    assert_eq!(there(&play), [3]);
}

#[test]
fn pods_of_held_procs_stay() {
    let mut play = Play::of(json!({ "queue": { "count": 2 }, "removePods": "OnEnd",
        "onExitHold": "ExitCode == 1" }));
    play.operator.leading_since = play.now;
    play.scene("submitted");
    for proc in 0..2 {
        play.pod_of(proc).bind();
        play.pod_of(proc).run();
        play.scene("runs");
        play.wait(5);
        play.pod_of(proc).outcome(Outcome::Exited(i32::try_from(proc).unwrap()));
    }
    play.scene("one is held");
    play.wait(1000);
    play.scene("later");
    assert_eq!(there(&play), [1]);
}
