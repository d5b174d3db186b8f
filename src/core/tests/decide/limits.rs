//! Limits of the installation: what is over them waits its turn and says so, or is held.

use crate::play::Play;
use duj_core::{observed::Room, settings::Limits};
use duj_protocol::Outcome;
use serde_json::json;

#[test]
fn a_job_without_room_waits_and_says_for_what() {
    let mut play = Play::of(json!({ "queue": { "count": 5 } }));
    let why = "10 pods of all jobs may live at the same time (limits.maxRunning)";
    play.operator.room = Room { pods: 2, why: why.into() };
    play.scene("room for two");
    assert_eq!(play.server.pods.len(), 2);
    play.operator.room = Room { pods: 0, why: why.into() };
    play.scene("no more room");
    assert_eq!(play.server.pods.len(), 2);
    for proc in 0..2 {
        play.pod_of(proc).bind();
        play.pod_of(proc).run();
    }
    play.scene("two run");
    let because = play.status().because.unwrap();
    assert_eq!(
        (because.reason.as_str(), because.message),
        ("LimitReached", format!("the job waits its turn: {why}"))
    );
    play.wait(10);
    play.pod_of(0).outcome(Outcome::Exited(0));
    play.operator.room = Room { pods: 1, why: why.into() };
    play.scene("one ends, and room is for one");
    assert_eq!(play.server.pods.len(), 3);
    play.operator.room = Room::default();
    play.scene("room for all");
    assert_eq!(play.server.pods.len(), 5);
}

#[test]
fn pods_that_no_node_has_are_not_heaped_up() {
    let mut play = Play::of(json!({ "queue": { "count": 1200 } }));
    play.scene("submitted");
    assert_eq!(play.server.pods.len(), 1000);
    for proc in 0..300 {
        play.pod_of(proc).bind();
    }
    play.scene("some are bound");
    assert_eq!(play.server.pods.len(), 1200);
}

#[test]
fn a_job_with_more_procs_than_it_may_have_is_held_and_says_so() {
    let mut play = Play::of(json!({ "queue": { "count": 50 } }));
    play.operator.settings.limits = Limits { procs: Some(20), ..Limits::default() };
    play.scene("submitted");
    assert!(play.server.pods.is_empty());
    let counts = play.status().counts.unwrap();
    assert_eq!((counts.total, counts.held, counts.unmaterialized), (50, 1, 49));
    play.is("Held 26/0", "Held", "0 12");
    assert_eq!(
        play.hold().reason,
        "the job has 50 procs, and in namespace 'physics' a job may have 20: submit it in parts, or ask for a larger limits.maxProcsPerJob"
    );
    play.operator.settings.limits.procs_in.insert("physics".into(), 50);
    let now = play.now;
    play.server.command(json!({ "verb": "release", "job": "hello" }), now);
    play.scene("the namespace may have more, and the job is released");
    assert_eq!(play.server.pods.len(), 50);
}

#[test]
fn the_procs_of_a_higher_priority_go_first() {
    let mut play = Play::of(json!({ "queue": { "count": 4 }, "priority": 3 }));
    play.operator.room = Room { pods: 0, why: "full".into() };
    play.scene("submitted");
    assert!(play.status().procs.iter().all(|group| group.record.job_prio == 3));
    let now = play.now;
    play.server
        .command(json!({ "verb": "prio", "job": "hello", "procs": "2", "priority": 9 }), now);
    play.scene("one of them is more important");
    play.operator.room = Room { pods: 1, why: "full".into() };
    let deeds = play.scene("room for one");
    assert!(deeds.contains(&"CreatePod 2-0".to_owned()), "{deeds:?}");
    play.edit(json!({ "priority": -1 }));
    play.scene("the job is less important now");
    assert!(play.status().procs.iter().all(|group| group.record.job_prio == -1));
    let log = play.server.log();
    assert!(log.contains("Changing job attribute JobPrio from 9 to -1"), "{log}");
}
