//! The first seconds: what is written when, and what is not.

use crate::{play::Play, stage::Fault};
use duj_core::observed::Effect;
use duj_protocol::Outcome;
use serde_json::json;

#[test]
fn the_first_pod_comes_before_the_first_status() {
    let mut play = Play::of_a_plain_job();
    let decision = play.decision();
    assert!(matches!(decision.before[..], [Effect::CreatePod(_)]));
    assert!(decision.deferred && decision.status.is_none() && decision.after.is_empty());
    assert!(decision.wake.is_some());
    play.decide();
    let second = play.decision();
    assert!(second.before.is_empty() && second.deferred, "the pod is there and nothing is urgent");
    play.wait(1);
    let third = play.decision();
    assert!(!third.deferred && third.status.is_some());
    play.scene("submitted");
    play.is("Idle", "WaitingForScheduler", "0");
}

#[test]
fn a_job_on_hold_makes_no_pod() {
    let mut play = Play::of(json!({ "hold": true }));
    let decision = play.decision();
    assert!(decision.before.is_empty() && decision.deferred);
    play.scene("submitted on hold");
    play.is("Held 15/0", "Held", "0 12");
    assert!(play.server.pods.is_empty());
    play.edit(json!({ "hold": false }));
    play.scene("hold is false");
    play.is("Idle", "Submitted", "0 12 13");
    play.is_remembered("submitted on hold, released");
}

#[test]
fn a_hold_after_the_first_pod_is_the_users_hold() {
    // The pod was made and ran; the operator crashed before its first status; then the owner set spec.hold.
    let mut play = Play::of_a_plain_job();
    play.decide();
    play.pod().bind();
    play.pod().run();
    play.wait(3);
    play.edit(json!({ "hold": true }));
    play.operator.restart(&play.server);
    play.scene("held before the first status");
    play.is("Held 1/0 stopping", "Stopping", "0 1");
    play.pod().stop();
    play.scene("stopped");
    play.is("Held 1/0", "Held", "0 1 4 12");
}

#[test]
fn a_result_before_the_first_status_is_not_lost_to_a_hold() {
    let mut play = Play::of_a_plain_job();
    play.decide();
    play.pod().bind();
    play.pod().run();
    play.pod().outcome(duj_protocol::Outcome::Exited(0));
    play.edit(json!({ "hold": true }));
    play.operator.restart(&play.server);
    play.scene("over before the first status, and held after that");
    play.is("Completed 0", "Completed", "0 1 6 5");
}

#[test]
fn a_second_attempt_never_comes_before_a_status() {
    let mut play = Play::of_a_plain_job();
    play.decide();
    play.pod().delete();
    let decision = play.decision();
    assert!(decision.before.is_empty());
    assert!(decision.status.is_some());
    assert!(decision.after.iter().any(|effect| matches!(effect, Effect::CreatePod(_))));
}

#[test]
fn a_short_job_costs_three_writes() {
    let mut play = Play::of_a_plain_job();
    let mut deeds = Vec::new();
    play.decide();
    deeds.extend(play.operator.deeds.clone());
    play.pod().bind();
    play.decide();
    deeds.extend(play.operator.deeds.clone());
    play.pod().run();
    play.pod().outcome(duj_protocol::Outcome::Exited(0));
    play.decide();
    deeds.extend(play.operator.deeds.clone());
    let writes: Vec<&String> = deeds.iter().filter(|deed| !deed.starts_with("Event")).collect();
    assert_eq!(writes, ["CreatePod 0-0", "Status", "ReleasePod 0-0"]);
}

#[test]
fn the_start_of_a_run_waits_longer_on_a_node_that_is_slow_to_tell() {
    // Seconds between the start and the sight of it; seconds until it is told.
    for (late, told) in [(0, 5), (1, 5), (3, 9), (6, 15), (60, 20)] {
        let mut play = Play::of_a_plain_job();
        play.scene("submitted");
        play.pod().bind();
        play.scene("bound");
        play.pod().run();
        play.wait(late);
        let seen = play.now;
        let decision = play.decide().unwrap();
        assert!(decision.deferred, "{late} s late");
        assert_eq!(
            decision.wake.map(|wake| (wake - seen).get_seconds()),
            Some(told),
            "{late} s late"
        );
    }
}

#[test]
fn an_operator_that_lost_the_answer_finds_its_pod() {
    let mut play = Play::of_a_plain_job();
    play.operator.look(&play.server);
    let lost = play.operator.reconcile(&mut play.server, play.now, &mut || Fault::Unanswered);
    assert!(lost.is_err());
    play.operator.restart(&play.server);
    let deeds = play.scene("after the crash");
    assert!(!deeds.iter().any(|deed| deed.starts_with("CreatePod")), "{deeds:?}");
}

#[test]
fn a_job_that_cannot_be_built_is_held_and_mended() {
    let mut play = Play::of(json!({ "securityContext": { "runAsUser": 0 } }));
    play.scene("submitted as root");
    play.is("Held 6/0", "Held", "0 12");
    assert!(
        play.hold().reason.contains("securityContext.runAsUser '0' is refused"),
        "{}",
        play.hold().reason
    );
    play.edit(json!({ "securityContext": { "runAsUser": 1000 } }));
    play.scene("mended");
    play.is("Idle", "Submitted", "0 12 13");
}

#[test]
fn a_slow_start_costs_no_write_for_each_of_its_steps() {
    let mut play = Play::of_a_plain_job();
    let mut deeds = play.scene("submitted");
    play.wait(8);
    play.pod().bind();
    deeds.extend(play.scene("bound"));
    play.wait(8);
    play.pod().run();
    play.pod().outcome(Outcome::Exited(0));
    deeds.extend(play.scene("it has run"));
    let writes = deeds.iter().filter(|deed| !deed.starts_with("Event")).count();
    assert_eq!(writes, 4, "the pod, two statuses, the finalizer: {deeds:?}");
}

#[test]
fn a_start_that_takes_long_is_told() {
    let mut play = Play::of_a_plain_job();
    play.scene("submitted");
    play.pod().bind();
    play.scene("bound");
    play.is("Idle", "WaitingForScheduler", "0");
    play.now = play.decision().wake.expect("it is told later");
    play.scene("half a minute later");
    play.is("Idle", "Starting", "0");
}
