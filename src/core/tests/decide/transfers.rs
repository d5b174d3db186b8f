//! Files in and out: what is brought, what is sent, and what becomes of a job where that fails.

use crate::{
    play::Play,
    stage::{
        in_short,
        transfers::{failure, report},
    },
};
use duj_protocol::{
    Outcome,
    transfer::{Report, State},
};
use serde_json::{Value, json};

fn files() -> Value {
    json!({
        "transferInput": [{ "name": "a", "text": "b" }],
        "outputDestination": { "url": "s3://bucket/results/" },
    })
}

/// A job whose inputs are being brought.
pub(crate) fn preparing(fields: Value) -> Play {
    let mut play = Play::of(fields);
    play.scene("submitted");
    play.pod().bind();
    play.pod().prepares();
    play.scene("its files are being brought");
    play.wait(5);
    play
}

/// A job that runs, with its inputs there.
fn running(fields: Value) -> Play {
    let mut play = preparing(fields);
    let done = report(State::Done, play.now);
    play.pod().prepared(&done);
    play.pod().run();
    play.pod().transfers();
    play.scene("its container runs");
    play.wait(10);
    play
}

/// A job that has ended, and whose outputs are on their way.
fn sending(outcome: Outcome) -> Play {
    let mut play = running(files());
    play.pod().outcome_before_transfer(outcome);
    play.scene("its process ended");
    play.wait(5);
    play
}

fn hear(play: &mut Play, report: Report) {
    let name = play.pod().name;
    play.server.said.insert(name, report);
}

fn kept(play: &Play, round: u64) -> Report {
    let failure = failure(12, 13, "Transfer output files failure: bucket: 403 Forbidden");
    Report { failure: Some(failure), round, ..report(State::Kept, play.now) }
}

#[test]
fn files_in_and_out() {
    let mut play = sending(Outcome::Exited(0));
    play.is("Running", "TransferringOutput", "0 40 40 40 1");
    let done = report(State::Done, play.now).to_message();
    play.pod().transferred(0, &done);
    play.scene("its outputs are sent");
    play.is("Completed 0", "Completed", "0 40 40 40 1 40 40 40 6 5");
    play.is_remembered("files in and out");
}

#[test]
fn what_prepare_says_holds_the_job() {
    for (code, subcode, state) in [(13, 2, "Held 13/2"), (32, 0, "Held 32/0"), (6, 8, "Held 6/8")] {
        let mut play = preparing(files());
        let failed = Report {
            failure: Some(failure(code, subcode, "why")),
            ..report(State::Failed, play.now)
        };
        play.pod().prepared(&failed);
        play.scene("prepare failed");
        assert_eq!(in_short(&play.record()), state);
        assert_eq!(play.record().num_job_starts, 0, "it never ran");
        assert!(play.hold().reason.ends_with(": why"), "{}", play.hold().reason);
    }
}

#[test]
fn a_retried_input_is_seen() {
    let mut play = preparing(files());
    let retried = Report {
        failure: Some(failure(13, 0, "https://h/x: 503 Service Unavailable")),
        ..report(State::Retrying, play.now)
    };
    hear(&mut play, retried);
    play.scene("prepare tries again");
    play.is("Idle", "TransferringInput", "0");
    let because = play.status().because.unwrap().message;
    assert!(because.ends_with("is tried again: https://h/x: 503 Service Unavailable"), "{because}");
}

#[test]
fn outputs_that_are_kept_are_sent_again_without_another_run() {
    let mut play = sending(Outcome::Exited(3));
    let failed = kept(&play, 1);
    hear(&mut play, failed);
    play.scene("its outputs could not be sent, and are kept");
    play.is("Held 12/13", "Held", "0 40 40 40 1 40 40 21 4 12");
    let record = play.record();
    assert!(record.outputs_kept && record.exit_code == Some(3) && record.attempt == 0);
    assert!(play.server.pods.len() == 1, "its pod is kept");

    play.edit(json!({ "hold": true }));
    play.scene("held by its owner as well");
    play.edit(json!({ "hold": false }));
    let deeds = play.scene("released");
    assert!(deeds.contains(&"Resend 0-0 number 1".to_owned()), "{deeds:?}");
    assert!(!deeds.iter().any(|deed| deed.starts_with("CreatePod")), "{deeds:?}");
    assert_eq!(in_short(&play.record()), "Running");
    assert_eq!(
        play.scene("nothing new"),
        Vec::<String>::new(),
        "what was heard before does not count"
    );

    let done = Report { round: 2, ..report(State::Done, play.now) }.to_message();
    play.pod().transferred(0, &done);
    play.scene("its outputs are sent");
    let record = play.record();
    assert_eq!(in_short(&record), "Completed 3");
    assert_eq!((record.num_job_starts, record.attempt), (1, 0), "it ran once");
    play.is_remembered("outputs are kept and sent again");
}

#[test]
fn outputs_that_fail_twice_are_kept_twice() {
    let mut play = sending(Outcome::Exited(0));
    for round in 1..4 {
        let failed = kept(&play, round);
        hear(&mut play, failed);
        play.scene("kept");
        assert_eq!(in_short(&play.record()), "Held 12/13", "round {round}");
        play.edit(json!({ "hold": true }));
        play.scene("held");
        play.edit(json!({ "hold": false }));
        play.scene("released");
        assert_eq!(in_short(&play.record()), "Running", "round {round}");
        play.wait(5);
    }
}

#[test]
fn after_the_retention_a_release_runs_the_job_again() {
    let mut play = sending(Outcome::Exited(0));
    let failed = kept(&play, 1);
    hear(&mut play, failed.clone());
    play.scene("kept");
    play.wait(600);
    let failed = Report { state: State::Failed, ..failed }.to_message();
    play.pod().transferred(1, &failed);
    play.scene("the retention is over");
    assert!(!play.record().outputs_kept && play.record().attempt == 1);
    play.edit(json!({ "hold": true }));
    play.scene("held");
    play.edit(json!({ "hold": false }));
    let deeds = play.scene("released");
    assert!(deeds.iter().any(|deed| deed.starts_with("CreatePod")), "{deeds:?}");
}

#[test]
fn what_was_not_heard_is_read_at_the_end() {
    let mut play = sending(Outcome::Exited(0));
    let failed = Report { state: State::Failed, ..kept(&play, 1) }.to_message();
    play.pod().transferred(1, &failed);
    play.scene("transfer gave up");
    play.is("Held 12/13", "Held", "0 40 40 40 1 40 40 21 4 12");
    assert_eq!((play.record().exit_code, play.record().attempt), (Some(0), 1));
}

#[test]
fn a_mended_job_runs_again() {
    let mut play = sending(Outcome::Exited(0));
    let failed = kept(&play, 1);
    hear(&mut play, failed);
    play.scene("kept");
    play.edit(json!({ "outputDestination": { "url": "s3://another/" } }));
    let deeds = play.scene("mended");
    assert!(deeds.contains(&"DeletePod 0-0".to_owned()), "{deeds:?}");
    assert_eq!((in_short(&play.record()).as_str(), play.record().attempt), ("Idle", 1));
}

#[test]
fn a_transfer_that_is_killed_loses_no_result_in_silence() {
    // Message, disruption; state.
    for (message, evicted, state) in
        [("", false, "Held 12/0"), ("OOM", false, "Held 12/0"), ("", true, "Idle")]
    {
        let mut play = sending(Outcome::Exited(0));
        if evicted {
            play.pod().disrupt("EvictionByEvictionAPI", "drained");
            play.pod().delete();
        }
        play.pod().transferred(137, message);
        play.scene("transfer was killed");
        assert_eq!(in_short(&play.record()), state, "'{message}' {evicted}");
    }
}

#[test]
fn a_job_whose_transfer_is_gone_is_run_again() {
    let mut play = running(files());
    play.pod().transfer_killed();
    let deeds = play.scene("transfer was killed while the job runs");
    assert!(deeds.contains(&"DeletePod 0-0".to_owned()), "{deeds:?}");
    play.pod().stop();
    play.scene("it is stopped");
    assert_eq!((in_short(&play.record()).as_str(), play.record().attempt), ("Idle", 1));
}

#[test]
fn what_only_explains_is_no_output() {
    let mut play = sending(Outcome::Exited(0));
    let remains = Report { complete: false, ..report(State::Done, play.now) };
    play.pod().transferred(0, &remains.to_message());
    play.scene("transfer found no record of the end");
    assert_eq!(in_short(&play.record()), "Held 12/0");
}

#[test]
fn a_job_that_could_not_begin_is_not_waited_for_without_end() {
    let mut play = running(files());
    let message = "unknown flag".to_owned();
    play.pod().outcome_before_transfer(Outcome::NotStarted { errno: 22, message });
    play.scene("the starter refused its flags");
    assert_eq!(in_short(&play.record()), "Running");
    play.wait(661);
    let deeds = play.scene("much later");
    assert!(deeds.contains(&"DeletePod 0-0".to_owned()), "{deeds:?}");
}

#[test]
fn what_holds_a_job_is_not_hidden_by_its_outputs() {
    let mut play = running(files());
    play.pod().outcome_before_transfer(Outcome::OverDisk { used: 200 << 20, limit: 100 << 20 });
    play.scene("it outgrew its scratch directory");
    let failed = Report { failure: Some(failure(12, 2, "x")), ..report(State::Failed, play.now) };
    play.pod().transferred(1, &failed.to_message());
    play.scene("its streams could not be sent");
    assert_eq!(in_short(&play.record()), "Held 34/104");
}

#[test]
fn a_job_that_never_began_does_not_wait_for_its_transfer() {
    let mut play = preparing(files());
    let done = report(State::Done, play.now);
    play.pod().prepared(&done);
    play.pod().transfers();
    play.pod().end_container(&crate::stage::End {
        code: 128,
        reason: "StartError",
        message: "exec: no such file".into(),
        started: false,
    });
    let deeds = play.scene("its container could not be started");
    assert_eq!(in_short(&play.record()), "Held 6/0");
    assert!(deeds.contains(&"DeletePod 0-0".to_owned()), "its transfer waits in vain: {deeds:?}");
}

#[test]
fn transfer_is_told_why_its_job_is_stopped() {
    let evict = json!({
        "whenToTransferOutput": "ON_EXIT_OR_EVICT", "checkpointDestination": { "url": "s3://bucket/c/" },
        "outputDestination": { "url": "s3://bucket/results/" },
    });
    let streams = json!({
        "output": "out", "outputDestination": { "url": "s3://bucket/results/" },
    });
    // What is said first, and when the pod is deleted.
    for (fields, verb, said) in [
        (&streams, "hold", Some("AnnounceStop 0-0 hold")),
        (&streams, "remove", None),
        (&streams, "vacate", None),
        (&evict, "hold", None),
        (&evict, "remove", Some("AnnounceStop 0-0 remove")),
        (&evict, "vacate", None),
    ] {
        let mut play = running(fields.clone());
        play.server.command(json!({ "job": "hello", "verb": verb }), play.now);
        let first = play.scene("stopped");
        let deletes = |deeds: &[String]| deeds.iter().any(|deed| deed == "DeletePod 0-0");
        let Some(said) = said else {
            assert!(deletes(&first), "{verb}: {first:?}");
            continue;
        };
        assert!(first.iter().any(|deed| deed == said) && !deletes(&first), "{verb}: {first:?}");
        play.wait(3);
        let then = play.scene("told");
        assert_eq!(then, ["DeletePod 0-0"], "{verb}");
    }
}

#[test]
fn what_others_write_about_a_stop_keeps_no_pod() {
    let files = json!({
        "output": "out", "outputDestination": { "url": "s3://bucket/results/" },
    });
    // What stands there; whether it is said again, properly.
    for (text, said) in [("hold 99999999999999", false), ("remove 1", true), ("hold soon", true)] {
        let mut play = running(files.clone());
        let (name, uid) = {
            let pod = play.pod().pod().unwrap().metadata.clone();
            (pod.name.unwrap(), pod.uid.unwrap())
        };
        play.server.annotate(&name, &uid, duj_api::names::ANNOTATION_STOP, text.to_owned());
        play.edit(json!({ "hold": true }));
        let mut deeds = play.scene("held");
        assert_eq!(deeds.iter().any(|deed| deed.starts_with("AnnounceStop")), said, "{text}");
        play.wait(3);
        deeds.extend(play.scene("told"));
        assert!(deeds.contains(&"DeletePod 0-0".to_owned()), "{text}: {deeds:?}");
    }
}

#[test]
fn checkpoints_are_told_once() {
    let mut play = running(json!({
        "checkpointExitCode": 85, "checkpointDestination": { "url": "s3://bucket/c/" },
    }));
    for (count, log) in [(1, "0 40 40 40 1 3"), (1, "0 40 40 40 1 3"), (3, "0 40 40 40 1 3 3 3")] {
        let checkpoints = vec![play.now.as_millisecond(); count];
        let checkpoint_count = count as u64;
        let heard = Report { checkpoints, checkpoint_count, ..report(State::Waiting, play.now) };
        hear(&mut play, heard);
        play.scene("checkpoints");
        play.is("Running", "Running", log);
        play.wait(30);
    }
    // What was not heard meanwhile is read at the end, whatever that is.
    play.pod().delete();
    let count =
        Report { checkpoint_count: 4, checkpoints: vec![0; 4], ..report(State::Done, play.now) };
    play.pod().stop();
    play.pod().transferred(0, &count.to_message());
    play.scene("evicted");
    assert!(play.log().starts_with("0 40 40 40 1 3 3 3 3 4"), "{}", play.log());
}
