//! Policies and retries, in `HTCondor`'s order (§6.2 of the semantics), with its words and its log.

use crate::play::Play;
use duj_protocol::Outcome;
use jiff::SignedDuration;
use serde_json::{Value, json};

/// A job with these fields, that runs since ten seconds.
fn running(fields: Value) -> Play {
    let mut play = Play::of(fields);
    play.scene("submitted");
    start(&mut play);
    play.wait(10);
    play.scene("ten seconds later");
    play
}

fn start(play: &mut Play) {
    play.pod().bind();
    play.wait(1);
    play.pod().run();
    play.scene("runs");
}

fn exits(play: &mut Play, code: i32) -> Vec<String> {
    play.pod().outcome(Outcome::Exited(code));
    play.scene(&format!("exits {code}"))
}

#[test]
fn a_bad_exit_is_held() {
    let mut play = running(json!({
        "onExitHold": "ExitCode == 7", "onExitHoldReason": "\"bad exit\"", "onExitHoldSubcode": "40 + 2",
    }));
    exits(&mut play, 7);
    // As HTCondor logs it: no 004 stands before.
    play.is("Held 3/42", "Held", "0 1 12");
    assert_eq!(play.hold().reason, "bad exit");
    assert_eq!(play.record().exit_code, Some(7));
    play.is_remembered("held on a bad exit");
}

#[test]
fn without_a_reason_of_its_own_a_policy_quotes_itself() {
    let mut play = running(json!({ "onExitHold": "ExitBySignal || ExitCode > 100" }));
    play.pod().outcome(Outcome::Signalled(11));
    play.scene("dies");
    assert_eq!(
        play.hold().reason,
        "The job attribute OnExitHold expression 'ExitBySignal || ExitCode > 100' evaluated to TRUE"
    );
}

#[test]
fn retries_end_with_success_or_with_the_last() {
    let mut play = running(json!({ "maxRetries": 2 }));
    let deeds = exits(&mut play, 3);
    assert!(deeds.contains(&"CreatePod 0-1".into()), "{deeds:?}");
    play.is("Idle", "Submitted", "0 1 4");
    start(&mut play);
    exits(&mut play, 3);
    start(&mut play);
    exits(&mut play, 3);
    play.is("Completed 3", "ExitedNonZero", "0 1 4 1 4 1 6 5");
    let record = play.record();
    assert_eq!((record.num_job_completions, record.num_job_starts, record.num_vacates), (3, 3, 0));
    play.is_remembered("three times in vain");

    let mut play = running(json!({ "maxRetries": 2 }));
    exits(&mut play, 3);
    start(&mut play);
    exits(&mut play, 0);
    play.is("Completed 0", "Completed", "0 1 4 1 6 5");
}

#[test]
fn what_ends_the_retries() {
    for (fields, ends, again) in [
        (json!({ "successExitCode": 7 }), Outcome::Exited(7), false),
        (json!({ "successExitCode": 7 }), Outcome::Exited(0), true),
        (json!({ "maxRetries": 3, "retryUntil": "5" }), Outcome::Exited(5), false),
        (json!({ "maxRetries": 3, "retryUntil": "ExitCode > 3" }), Outcome::Exited(4), false),
        (json!({ "maxRetries": 3, "retryUntil": "ExitCode > 3" }), Outcome::Exited(3), true),
        (json!({ "maxRetries": 3 }), Outcome::Signalled(9), true),
        // HTCondor's trap: ExitCode is undefined, so the whole is, and that completes the job.
        (json!({ "maxRetries": 3, "retryUntil": "ExitCode > 3" }), Outcome::Signalled(9), false),
        (json!({ "onExitRemove": "false" }), Outcome::Exited(0), true),
        (json!({ "onExitRemove": "0.0" }), Outcome::Exited(0), true),
        (json!({ "onExitRemove": "undefined" }), Outcome::Exited(1), false),
        (json!({ "onExitRemove": "\"false\"" }), Outcome::Exited(1), false),
        (json!({ "onExitRemove": "1/0" }), Outcome::Exited(1), false),
    ] {
        let mut play = running(fields.clone());
        play.pod().outcome(ends.clone());
        play.scene("ends");
        let status = play.record().status;
        let idle = status == duj_api::status::ProcStatus::Idle;
        assert_eq!(idle, again, "{fields} after {ends:?}: {status:?}");
    }
}

#[test]
fn success_is_what_the_owner_calls_it() {
    let mut play = running(json!({ "successExitCode": 7 }));
    exits(&mut play, 7);
    play.is("Completed 7", "Completed", "0 1 6 5");
}

#[test]
fn more_memory_for_the_next_attempt() {
    let mut play = running(json!({
        "requestMemory": "128Mi", "retryRequestMemory": ["256Mi", "1Gi"],
    }));
    let memory = |play: &mut Play| {
        let pod = play.pod();
        let spec = pod.pod().unwrap().spec.as_ref().unwrap();
        spec.containers[0].resources.as_ref().unwrap().limits.as_ref().unwrap()["memory"].0.clone()
    };
    for expected in ["128Mi", "256Mi", "1Gi"] {
        assert_eq!(memory(&mut play), expected);
        let record = duj_protocol::Record {
            oom_kills: 1,
            ..crate::stage::record(play.now, play.now, Outcome::Signalled(9))
        };
        play.pod().end_with(137, "OOMKilled", &record);
        play.scene("out of memory");
        if play.record().hold.is_none() {
            start(&mut play);
        }
    }
    play.is("Held 34/102", "Held", "0 1 4 1 4 1 21 4 12");
    play.is_remembered("more and more memory");
}

#[test]
fn a_job_that_runs_too_long_is_held() {
    let mut play = running(json!({ "allowedExecuteDuration": 60 }));
    let since = play.pod().running_since().unwrap();
    play.now = since + SignedDuration::from_secs(60);
    assert!(play.scene("the last second").is_empty());
    play.wait(1);
    play.scene("one more");
    play.is("Held 47/0 stopping", "Stopping", "0 1");
    assert_eq!(play.hold().reason, "The job exceeded allowed execute duration of 01:00");
    play.pod().stop();
    play.scene("stopped");
    play.is("Held 47/0", "Held", "0 1 4 12");

    let mut play = running(json!({ "allowedJobDuration": 3600 }));
    play.wait(3590);
    play.scene("an hour");
    assert_eq!(play.hold().reason, "The job exceeded allowed job duration of 1:00:00");
}

/// As `HTCondor` counts: from the start of the execution, in Running and Suspended.
#[test]
fn the_time_of_a_suspension_counts() {
    let mut play = running(json!({ "allowedExecuteDuration": 60 }));
    let since = play.pod().running_since().unwrap();
    let now = play.now;
    play.server.command(json!({ "verb": "suspend", "job": "hello" }), now);
    play.scene("suspended");
    play.is("Suspended", "Suspended", "0 1 10");
    play.now = since + SignedDuration::from_secs(60);
    assert!(play.scene("the last second").is_empty());
    play.wait(1);
    play.scene("one more");
    play.is("Held 47/0 stopping", "Stopping", "0 1 10");
    let suspended = play.now.duration_since(now).as_secs();
    assert_eq!(i64::from(play.record().suspension_time), suspended);
}

#[test]
fn periodic_policies_act_at_their_time() {
    let mut play = running(json!({
        "periodicHold": "JobStatus == 2 && time() - EnteredCurrentStatus > 100",
        "periodicRelease": "HoldReasonCode == 3 && NumHolds < 2 && time() - EnteredCurrentStatus >= 60",
        "periodicReleaseReason": "strcat(\"again, after \", NumHolds, \" holds\")",
        "periodicRemove": "NumHolds >= 2",
    }));
    let decision = play.decide().unwrap();
    let wake = decision.wake.unwrap().duration_since(play.now).as_secs();
    assert_eq!(wake, 60, "it is looked at again without being asked");
    play.wait(120);
    play.scene("two minutes");
    play.is("Held 3/0 stopping", "Stopping", "0 1");
    play.pod().stop();
    play.scene("stopped");
    play.wait(61);
    play.scene("a minute later");
    play.is("Idle", "Submitted", "0 1 4 12 13");
    start(&mut play);
    play.wait(120);
    play.scene("once more");
    play.pod().stop();
    play.scene("stopped");
    play.is("Removed", "Removed", "0 1 4 12 13 1 4 12 9");
    play.is_remembered("held, released, held and removed by its policies");
}

#[test]
fn a_persons_hold_is_not_released() {
    let mut play = Play::of(json!({ "periodicRelease": "true" }));
    play.scene("submitted");
    play.edit(json!({ "hold": true }));
    play.pod().delete();
    play.scene("held");
    play.wait(100);
    assert!(play.scene("later").is_empty());
    play.is("Held 1/0", "Held", "0 4 12");
}

#[test]
fn what_is_no_condition_does_nothing() {
    for text in ["undefined", "error", "\"true\"", "NoSuchAttribute > 3", "{true}", "0", "false"] {
        let mut play =
            running(json!({ "periodicHold": text, "periodicRemove": text, "onExitHold": text }));
        play.wait(300);
        assert!(play.scene("later").is_empty(), "{text}");
        exits(&mut play, 0);
        play.is("Completed 0", "Completed", "0 1 6 5");
    }
}

#[test]
fn a_vacated_job_runs_again() {
    let mut play = running(
        json!({ "periodicVacate": "NumJobStarts == 1 && time() - EnteredCurrentStatus > 30" }),
    );
    play.wait(60);
    let deeds = play.scene("a minute");
    assert_eq!(deeds, ["Status", "DeletePod 0-0"]);
    play.is("Running", "Stopping", "0 1");
    play.pod().stop();
    play.scene("stopped");
    play.is("Idle", "WaitingForScheduler", "0 1 4");
    play.is_remembered("vacated by its policy");
}

#[test]
fn a_policy_that_cannot_be_read_holds_at_once() {
    let mut play = Play::of(json!({ "periodicHold": "NumJobStarts > > 3" }));
    let deeds = play.scene("submitted");
    assert!(!deeds.iter().any(|deed| deed.starts_with("CreatePod")), "{deeds:?}");
    play.is("Held 5/0", "Held", "0 12");
    let reason = play.hold().reason;
    let lines: Vec<&str> = reason.lines().collect();
    assert!(lines[0].starts_with("periodicHold cannot be read: "), "{reason}");
    assert_eq!(lines[1].trim_end(), "NumJobStarts > > 3");
    assert_eq!(lines[2], "               ^");
    play.is_remembered("an unreadable policy");
    play.edit(json!({ "periodicHold": "NumJobStarts > 3" }));
    play.scene("mended");
    play.is("Idle", "Submitted", "0 12 13");
}

#[test]
fn the_installations_policies_come_after_the_jobs() {
    let mut play = Play::of(json!({ "periodicHold": "NumJobStarts > 5" }));
    play.operator.settings.policies.hold = Some("JobStatus == 2".into());
    play.scene("submitted");
    start(&mut play);
    play.is("Held 26/0 stopping", "Stopping", "0 1");
    assert_eq!(
        play.hold().reason,
        "The system macro SYSTEM_PERIODIC_HOLD expression 'JobStatus == 2' evaluated to TRUE"
    );
}

#[test]
fn spec_hold_stands_against_a_release_and_not_against_a_removal() {
    let mut play = Play::of(json!({
        "hold": true, "periodicRelease": "true", "periodicRemove": "time() - QDate > 100",
    }));
    play.scene("submitted on hold");
    play.is("Held 15/0", "Held", "0 12");
    play.wait(200);
    play.scene("much later");
    play.is("Removed", "Removed", "0 12 9");
}

#[test]
fn a_shortened_list_of_memory_leaves_the_last_that_there_is() {
    let mut play = running(json!({
        "requestMemory": "128Mi", "retryRequestMemory": ["256Mi", "1Gi"], "maxRetries": 5,
    }));
    for _ in 0..2 {
        let record = duj_protocol::Record {
            oom_kills: 1,
            ..crate::stage::record(play.now, play.now, Outcome::Signalled(9))
        };
        play.pod().end_with(137, "OOMKilled", &record);
        play.scene("out of memory");
        start(&mut play);
    }
    play.edit(json!({ "retryRequestMemory": ["512Mi"] }));
    exits(&mut play, 1);
    let pod = play.pod();
    let spec = pod.pod().unwrap().spec.as_ref().unwrap();
    let limits = spec.containers[0].resources.as_ref().unwrap().limits.as_ref().unwrap();
    assert_eq!(limits["memory"].0, "512Mi");
}
