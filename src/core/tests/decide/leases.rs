//! Leases: renewed by thirds, revoked when the node falls silent, and over when the job cannot run any more.

use crate::{
    play::Play,
    stage::{self, Kubelet},
};
use duj_core::facts::PodFacts;
use duj_protocol::{Outcome, Record, lease::Mark};
use serde_json::json;

/// The first attempt's pod, whichever was made last.
fn first(play: &mut Play) -> Kubelet<'_> {
    play.pod_of(0)
}

fn facts(play: &Play) -> PodFacts {
    PodFacts::read(&play.server.pods["hello-0a1b2c3d-0-0"]).expect("a job's pod")
}

/// What stands in the first attempt's pod.
fn mark(play: &Play) -> Mark {
    facts(play).lease.and_then(|lease| lease.mark).expect("a mark")
}

/// A job with a lease of a minute and 10 s to end, which runs since ten seconds.
fn leased() -> Play {
    Play::running_with(json!({ "leaseDuration": 60, "maxVacateTime": 10 }))
}

/// The same, and its node does not answer.
fn silent() -> Play {
    let mut play = leased();
    play.pod().unreachable();
    let deeds = play.scene("the node does not answer");
    assert!(deeds.contains(&"RevokeLease 0-0".into()), "{deeds:?}");
    play
}

/// Seconds from a revocation to the end: the lease, the grace with its 5 s, and the margin.
const OVER: i64 = 60 + 15 + 30;

/// Goes to when the operator wants to be woken.
fn sleep(play: &mut Play) -> i64 {
    let wake = play.decision().wake.expect("it wakes");
    let wait = wake.duration_since(play.now);
    play.now = wake;
    wait.as_secs()
}

/// The record of a starter whose lease was over.
fn expired(play: &Play, outcome: Outcome) -> Record {
    Record { lease_expired: true, ..stage::record(play.now, play.now, outcome) }
}

#[test]
fn a_lease_is_renewed_by_thirds() {
    let mut play = leased();
    assert_eq!(mark(&play), Mark::FIRST, "the first token stands in the pod from its creation");
    assert!(play.scene("nothing is due").is_empty());
    for _ in 0..5 {
        sleep(&mut play);
        let deeds = play.scene("a third is over");
        assert_eq!(deeds, ["RenewLease 0-0"], "and no other write");
        assert_eq!(mark(&play), Mark::Token(play.now.as_millisecond()));
        assert_eq!(sleep(&mut play), 20);
        play.now -= jiff::SignedDuration::from_secs(1);
        assert!(play.scene("a moment before the next").is_empty());
    }
    play.is("Running", "Running", "0 1");
}

#[test]
fn a_restarted_operator_renews_where_the_last_one_stopped() {
    let mut play = leased();
    sleep(&mut play);
    play.scene("renewed");
    play.wait(19);
    play.operator.restart(&play.server);
    assert!(play.scene("restarted before it is due").is_empty());
    play.wait(1);
    assert_eq!(play.scene("due"), ["RenewLease 0-0"]);
}

#[test]
fn a_token_of_a_clock_that_was_set_back_is_not_waited_for() {
    let mut play = leased();
    play.wait(3600);
    play.scene("renewed");
    play.wait(-3500);
    assert_eq!(play.scene("the clock was set back"), ["RenewLease 0-0"]);
}

#[test]
fn what_is_written_counts_on_what_stood_there() {
    let mut play = leased();
    play.wait(20);
    let stale = play.decision();
    play.pod().unreachable();
    play.scene("another operator revokes");
    let revoked = mark(&play);
    let deciding = play.operator.observed(play.now).unwrap();
    assert!(deciding.pods[0].unreachable.is_some());
    for effect in stale.after {
        let duj_core::observed::Effect::MarkLease { name, uid, version, mark } = effect else {
            panic!("only the lease is due: {effect:?}")
        };
        assert!(play.server.mark_lease(&name, &uid, &version, mark).is_err());
    }
    assert_eq!(mark(&play), revoked, "a renewal that was decided before comes too late");
}

#[test]
fn without_a_lease_nothing_is_written() {
    let mut play = Play::running();
    assert_eq!(facts(&play).lease, None);
    assert!(!play.server.pods.values().any(|pod| {
        let annotations = pod.metadata.annotations.clone().unwrap_or_default();
        annotations.contains_key(duj_api::names::ANNOTATION_LEASE)
    }));
    assert_eq!(play.decision().wake, None);
}

#[test]
fn a_node_that_does_not_come_back_before_the_lease_is_over() {
    let mut play = silent();
    assert_eq!(mark(&play), Mark::Revoked(play.now.as_millisecond() - 1000));
    play.is("Running", "NodeNotAnswering", "0 1 22");
    let because = play.status().because.unwrap().message;
    assert!(because.contains("when its lease of 60 seconds is over, it is given up"), "{because}");
    let waited = sleep(&mut play);
    assert!((OVER - 2..=OVER).contains(&waited), "{waited} s");
    play.now -= jiff::SignedDuration::from_secs(1);
    assert!(play.scene("a moment before").is_empty(), "nothing is renewed meanwhile");
    play.wait(1);
    let deeds = play.scene("the lease is over");
    play.is("Idle", "WaitingForScheduler", "0 1 22 24 4");
    let did = |what: &str| deeds.iter().position(|deed| deed == what);
    assert!(did("EndLease 0-0") < did("CreatePod 0-1"), "{deeds:?}");
    for deed in ["EndLease 0-0", "DeletePod 0-0", "ReleasePod 0-0", "CreatePod 0-1"] {
        assert!(did(deed).is_some(), "no {deed} in {deeds:?}");
    }
    let log = play.status().user_log.unwrap().text;
    let words = "Job disconnected too long: JobLeaseDuration (60 seconds) expired";
    assert_eq!(log.matches(words).count(), 2, "024 and 004: {log}");
    assert!(log.contains("Code 1008"), "{log}");
    assert!(facts(&play).deleting.is_some() && !facts(&play).unaccounted);
    play.is_remembered("lease over");
}

#[test]
fn an_attempt_that_was_given_up_is_not_heard_again() {
    let mut play = silent();
    sleep(&mut play);
    play.scene("the lease is over");
    play.operator.restart(&play.server);
    assert!(play.scene("a restart").is_empty());
    play.pod().bind();
    play.pod().run();
    play.scene("the next attempt runs");
    play.is("Running", "Running", "0 1 22 24 4 1");
    first(&mut play).answers_again();
    let deeds = play.scene("the node is back, and tells what it last knew");
    assert!(!deeds.iter().any(|deed| deed.contains("0-0")), "{deeds:?}");
    play.is("Running", "Running", "0 1 22 24 4 1");
    let record = expired(&play, Outcome::Signalled(15));
    first(&mut play).end_with(143, "Error", &record);
    play.scene("its kubelet tells the end");
    play.is("Running", "Running", "0 1 22 24 4 1");
    assert!(!play.server.pods.contains_key("hello-0a1b2c3d-0-0"), "it is gone");
    assert_eq!((play.record().attempt, play.record().num_vacates), (1, 1));
}

#[test]
fn a_node_that_comes_back_in_time() {
    let mut play = silent();
    play.wait(40);
    play.pod().answers_again();
    let deeds = play.scene("it answers");
    assert!(deeds.contains(&"RenewLease 0-0".into()), "{deeds:?}");
    play.is("Running", "Running", "0 1 22 23");
    assert_eq!(sleep(&mut play), 19, "and it is renewed as before");
    assert_eq!(play.scene("a third is over"), ["RenewLease 0-0"]);
    play.pod().outcome(Outcome::Exited(0));
    play.scene("it ends");
    play.is("Completed 0", "Completed", "0 1 22 23 6 5");
    play.is_remembered("node comes back within the lease");
}

#[test]
fn a_node_that_comes_back_after_the_starter_has_ended_the_job() {
    for outcome in [Outcome::Exited(0), Outcome::Signalled(15)] {
        let mut play = silent();
        play.wait(70);
        let record = expired(&play, outcome);
        play.pod().end_with(0, "Completed", &record);
        play.scene("it answers, with the end of a job whose lease was over");
        play.is("Idle", "WaitingForScheduler", "0 1 22 24 4");
    }
}

#[test]
fn an_end_of_its_own_before_the_lease_was_over_is_its_end() {
    let mut play = silent();
    play.wait(50);
    let end = play.now;
    play.wait(40);
    let record = stage::record(end, end, Outcome::Exited(3));
    play.pod().end_with(3, "Error", &record);
    play.scene("it answers: the job ended meanwhile, of its own accord");
    play.is("Completed 3", "ExitedNonZero", "0 1 22 23 6 5");
}

#[test]
fn an_operator_that_was_away_for_longer_than_the_lease() {
    let mut play = leased();
    play.wait(300);
    let record = expired(&play, Outcome::Exited(0));
    play.pod().end_with(0, "Completed", &record);
    play.operator.restart(&play.server);
    play.scene("the operator is back");
    play.is("Idle", "WaitingForScheduler", "0 1 22 24 4");
    let log = play.status().user_log.unwrap().text;
    assert!(log.contains("the job's lease was not renewed in time"), "{log}");
    assert!(log.contains("JobLeaseDuration (60 seconds) expired"), "{log}");
    play.is_remembered("lease not renewed");
}

#[test]
fn a_lease_that_was_over_before_the_node_died_too() {
    let mut play = silent();
    play.wait(70);
    let provisional =
        Record { outcome: None, ended: None, ..expired(&play, Outcome::Signalled(15)) };
    play.pod().end_with(137, "Error", &provisional);
    play.scene("it answers after a restart, with a record that was never finished");
    play.is("Idle", "WaitingForScheduler", "0 1 22 24 4");
    let log = play.status().user_log.unwrap().text;
    assert!(log.contains("JobLeaseDuration (60 seconds) expired"), "{log}");
}

#[test]
fn an_end_that_was_written_and_not_told_is_told_by_the_next_operator() {
    let mut play = silent();
    sleep(&mut play);
    play.decide(); // it dies before it sees what it wrote
    assert!(matches!(mark(&play), Mark::Over(_)));
    play.is("Running", "NodeNotAnswering", "0 1 22");
    play.operator.restart(&play.server);
    play.scene("the next one");
    play.is("Idle", "WaitingForScheduler", "0 1 22 24 4");
}

#[test]
fn a_job_that_was_not_seen_to_begin_waits_for_its_node() {
    let mut play = Play::of(json!({ "leaseDuration": 60 }));
    play.scene("submitted");
    play.pod().bind();
    play.scene("bound");
    play.pod().disrupt("DeletionByTaintManager", "Taint manager: deleting due to NoExecute taint");
    play.pod().delete();
    play.scene("its node fell silent, and the taint manager deletes its pod");
    play.wait(36_000);
    assert!(play.scene("ten hours later").is_empty());
    play.is("Idle", "Stopping", "0");
    let because = play.status().because.unwrap().message;
    assert!(because.contains("its job was not seen to begin"), "{because}");
    assert_eq!(mark(&play), Mark::FIRST);
}

#[test]
fn a_suspended_job_has_its_lease_too() {
    let mut play = leased();
    play.server.command(json!({ "verb": "suspend", "job": "hello" }), play.now);
    play.scene("suspended");
    play.wait(30);
    assert!(play.scene("a third is over").contains(&"RenewLease 0-0".into()));
    play.pod().unreachable();
    play.scene("the node does not answer");
    sleep(&mut play);
    play.scene("the lease is over");
    play.is("Idle", "WaitingForScheduler", "0 1 10 22 24 4");
}

#[test]
fn a_hold_and_a_removal_do_not_wait_longer_either() {
    for (verb, state, because, log) in [
        ("hold", "Held 1/0", "Held", "0 1 22 4 12"),
        ("remove", "Removed", "Removed", "0 1 22 4 9"),
    ] {
        let mut play = silent();
        play.server.command(json!({ "verb": verb, "job": "hello" }), play.now);
        let deeds = play.scene(verb);
        assert!(deeds.contains(&"DeletePod 0-0".into()), "{deeds:?}");
        let message = play.status().because.unwrap().message;
        assert!(message.contains("when its lease of 60 seconds is over"), "{message}");
        sleep(&mut play);
        let deeds = play.scene("the lease is over");
        assert!(deeds.contains(&"ReleasePod 0-0".into()), "{deeds:?}");
        play.is(state, because, log);
        assert!(!deeds.iter().any(|deed| deed.starts_with("CreatePod")), "{deeds:?}");
    }
}

#[test]
fn a_vacated_job_on_a_silent_node_leaves_for_that_reason() {
    let mut play = silent();
    play.server.command(json!({ "verb": "vacate", "job": "hello", "by": "alice" }), play.now);
    play.scene("vacated");
    sleep(&mut play);
    play.scene("the lease is over");
    play.is("Idle", "WaitingForScheduler", "0 1 22 24 4");
    let log = play.status().user_log.unwrap().text;
    assert!(log.contains("via condor_vacate_job (by user alice)"), "{log}");
}

#[test]
fn what_is_stopped_is_not_renewed() {
    let mut play = leased();
    play.pod().delete();
    play.wait(40);
    assert!(play.scene("its kubelet is busy").is_empty());
    let record = expired(&play, Outcome::Signalled(15));
    play.pod().end_with(143, "Error", &record);
    play.scene("the lease did what the kubelet did not");
    play.is("Idle", "WaitingForScheduler", "0 1 22 24 4");
}

#[test]
fn what_somebody_else_writes_there_is_written_over() {
    let mut play = leased();
    for text in ["", "forever", "revoked"] {
        let name = play.pod().name;
        play.server.change_pod(&name, |pod| {
            let annotations = pod.metadata.annotations.get_or_insert_default();
            annotations.insert(duj_api::names::ANNOTATION_LEASE.into(), text.into());
        });
        assert_eq!(play.scene("somebody was here"), ["RenewLease 0-0"], "{text}");
    }
    // A revocation that is older than the node's silence does not count from then.
    let name = play.pod().name;
    play.pod().unreachable();
    play.server.change_pod(&name, |pod| {
        let annotations = pod.metadata.annotations.get_or_insert_default();
        annotations.insert(duj_api::names::ANNOTATION_LEASE.into(), "revoked 5".into());
    });
    play.scene("and here");
    play.is("Running", "NodeNotAnswering", "0 1 22");
    assert!(sleep(&mut play) > OVER - 3);
}

#[test]
fn a_policy_reads_the_duration() {
    let mut play = Play::running_with(json!({
        "leaseDuration": 60, "periodicHold": "JobLeaseDuration == 60 && JobStatus == 2",
    }));
    play.scene("a policy");
    assert_eq!(play.record().hold.expect("it is held").code, 3);
}
