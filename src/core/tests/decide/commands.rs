//! Commands: accepted or refused in `HTCondor`'s words, carried out once, in their order.

#[path = "commands/constraints.rs"]
mod constraints;

use crate::{play::Play, stage::Fault};
use duj_api::{Verb, status::ProcStatus};
use duj_core::{classad::Expr, decide::select};
use duj_protocol::Outcome;
use serde_json::{Value, json};

/// Gives a command and returns its answer.
fn give(play: &mut Play, verb: &str, more: Value) -> String {
    let name = send(play, verb, more);
    play.scene(&format!("command {verb}"));
    answer(play, &name)
}

fn send(play: &mut Play, verb: &str, more: Value) -> String {
    play.wait(1);
    let mut spec = json!({ "verb": verb, "job": "hello" });
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let now = play.now;
    play.server.command(spec, now)
}

fn answer(play: &Play, name: &str) -> String {
    match &play.server.commands[name].status {
        Some(status) => format!("+{} -{} {}", status.accepted, status.refused, status.message),
        None => "no answer yet".into(),
    }
}

/// A job whose pod has a node, and whose command is started before the stop arrives, unseen by the operator.
fn stopped_unheard(verbs: &[&str], end: impl FnOnce(&mut Play)) -> Play {
    let mut play = Play::of_a_plain_job();
    play.scene("submitted");
    play.pod().bind();
    for verb in verbs {
        assert!(give(&mut play, verb, json!({})).starts_with("+1"), "{verb}");
    }
    play.wait(5);
    play.pod().run();
    play.wait(5);
    end(&mut play);
    play.scene("ended");
    play
}

#[test]
fn a_run_that_was_not_heard_of_before_it_was_to_be_stopped_is_told_all_the_same() {
    for (verbs, state, log) in [
        (&["hold"][..], "Held 1/0", "0 1 4 12"),
        (&["remove"], "Removed", "0 1 4 9"),
        (&["hold", "remove"], "Removed", "0 1 4 9"),
    ] {
        let play = stopped_unheard(verbs, |play| play.pod().stop());
        play.is(state, state.split(' ').next().unwrap(), log);
        assert_eq!(play.record().num_job_starts, 1, "{verbs:?}");
    }
    // Its own end came first.
    let play = stopped_unheard(&["hold"], |play| play.pod().outcome(Outcome::Exited(3)));
    play.is("Completed 3", "ExitedNonZero", "0 1 6 5");
    assert_eq!(play.record().num_job_starts, 1);
}

#[test]
fn a_hold_stands_where_the_end_that_came_first_is_not_the_last() {
    let mut play = Play::of(json!({ "maxRetries": 2 }));
    play.scene("submitted");
    play.pod().bind();
    play.wait(1);
    play.pod().run();
    play.scene("runs");
    assert!(give(&mut play, "hold", json!({})).starts_with("+1"));
    play.pod().outcome(Outcome::Exited(3));
    play.scene("ended by itself, to be tried again");
    play.is("Held 1/0", "Held", "0 1 4 12");
    assert_eq!((play.record().num_holds, play.record().attempt), (1, 1));
    assert!(give(&mut play, "release", json!({})).starts_with("+1"));
    play.pod().bind();
    play.wait(1);
    play.pod().run();
    play.scene("runs again");
    play.pod().outcome(Outcome::Exited(0));
    play.scene("ended");
    play.is("Completed 0", "Completed", "0 1 4 12 13 1 6 5");
}

#[test]
fn hold_release_remove() {
    let mut play = Play::running();
    assert_eq!(
        give(&mut play, "hold", json!({ "by": "alice", "subcode": 42 })),
        "+1 -0 Job 7.0 held"
    );
    play.is("Held 1/42 stopping", "Stopping", "0 1");
    assert_eq!(play.hold().reason, "via condor_hold (by user alice)");
    assert_eq!(give(&mut play, "hold", json!({})), "+0 -1 Job 7.0 already held");
    play.pod().stop();
    play.scene("stopped");
    play.is("Held 1/42", "Held", "0 1 4 12");
    assert_eq!(give(&mut play, "release", json!({ "by": "alice" })), "+1 -0 Job 7.0 released");
    play.is("Idle", "Submitted", "0 1 4 12 13");
    assert_eq!(give(&mut play, "release", json!({})), "+0 -1 Job 7.0 not held to be released");
    play.pod().bind();
    play.pod().run();
    play.scene("runs again");
    assert_eq!(
        give(&mut play, "remove", json!({ "reason": "no longer needed" })),
        "+1 -0 Job 7.0 marked for removal"
    );
    play.is("Removed stopping", "Stopping", "0 1 4 12 13 1");
    assert_eq!(give(&mut play, "remove", json!({})), "+0 -1 Job 7.0 already marked for removal");
    assert_eq!(give(&mut play, "hold", json!({})), "+0 -1 Job 7.0 already removed");
    play.pod().stop();
    play.scene("stopped");
    play.is("Removed", "Removed", "0 1 4 12 13 1 4 9");
    play.is_remembered("held, released and removed by commands");
}

#[test]
fn remove_of_a_job_that_does_not_run_is_009_alone() {
    let mut play = Play::of(json!({ "hold": true }));
    play.scene("submitted on hold");
    assert_eq!(give(&mut play, "remove", json!({})), "+1 -0 Job 7.0 marked for removal");
    play.is("Removed", "Removed", "0 12 9");
    let mut play = Play::of_a_plain_job();
    play.scene("submitted");
    give(&mut play, "remove", json!({}));
    play.is("Removed", "Removed", "0 9");
    assert!(play.server.pods.is_empty(), "its pod is gone");
}

#[test]
fn a_completed_job_takes_no_command() {
    let mut play = Play::running();
    play.pod().outcome(Outcome::Exited(0));
    play.scene("over");
    for (verb, words) in [
        ("hold", "already completed"),
        ("release", "already completed"),
        ("remove", "already completed: delete the job to forget it"),
    ] {
        assert_eq!(give(&mut play, verb, json!({})), format!("+0 -1 Job 7.0 {words}"));
    }
    play.is("Completed 0", "Completed", "0 1 6 5");
}

#[test]
fn procs_that_do_not_exist() {
    let mut play = Play::running();
    let answer = give(&mut play, "hold", json!({ "procs": "0-4" }));
    assert_eq!(answer, "+0 -1 procs '0-4' not found: the job has procs 0-0");
    play.is("Running", "Running", "0 1");
}

#[test]
fn what_spec_holds_only_spec_releases() {
    let mut play = Play::of(json!({ "hold": true }));
    play.scene("submitted on hold");
    let answer = give(&mut play, "release", json!({}));
    assert!(answer.starts_with("+0 -1 the job is held by its own spec.hold"), "{answer}");
    play.is("Held 15/0", "Held", "0 12");
}

#[test]
fn an_answer_that_is_lost_is_given_again_and_the_command_is_not() {
    let mut play = Play::running();
    let name = send(&mut play, "hold", json!({}));
    for lost in [Fault::Lost, Fault::Unanswered] {
        play.operator.restart(&play.server);
        // The status is written; what follows is not heard of.
        let mut writes = 0;
        let now = play.now;
        let _ = play.operator.reconcile(&mut play.server, now, &mut || {
            writes += 1;
            if writes > 1 { lost } else { Fault::None }
        });
    }
    play.operator.restart(&play.server);
    play.scene("after two crashes");
    assert_eq!(answer(&play, &name), "+1 -0 Job 7.0 held");
    play.pod().stop();
    play.scene("stopped");
    play.is("Held 1/0", "Held", "0 1 4 12");
    assert_eq!(play.record().num_holds, 1);
}

#[test]
fn a_fault_can_be_held_again_by_the_user_and_is_then_not_mended() {
    let mut play = Play::running();
    play.pod().outcome(Outcome::NotStarted { errno: 2, message: "cannot start 'fooo'".into() });
    play.scene("held by a fault");
    assert_eq!(give(&mut play, "hold", json!({})), "+1 -0 Job 7.0 held");
    play.is("Held 1/0", "Held", "0 1 21 4 12 12");
    play.edit(json!({ "executable": "foo" }));
    play.scene("mended");
    play.is("Held 1/0", "Held", "0 1 21 4 12 12");
}

#[test]
fn a_release_waits_and_the_commands_behind_it_wait_too() {
    let mut play = Play::running();
    send(&mut play, "hold", json!({}));
    play.scene("held");
    let release = send(&mut play, "release", json!({}));
    let hold = send(&mut play, "hold", json!({ "reason": "again" }));
    play.scene("released and held again while its pod is stopping");
    assert_eq!(
        (answer(&play, &release), answer(&play, &hold)),
        ("no answer yet".into(), "no answer yet".into())
    );
    play.pod().stop();
    play.scene("stopped");
    assert_eq!(answer(&play, &release), "+1 -0 Job 7.0 released");
    assert_eq!(answer(&play, &hold), "+1 -0 Job 7.0 held");
    // The last wish wins.
    play.is("Held 1/0", "Held", "0 1 4 12 13 12");
    assert_eq!(play.hold().reason, "again");
}

#[test]
fn a_storm_of_commands_is_answered_within_bounds() {
    let mut play = Play::running();
    let names: Vec<String> = (0..100).map(|_| send(&mut play, "hold", json!({}))).collect();
    play.decide();
    let noticed = play.status().noticed.unwrap();
    assert!(noticed.commands.len() <= 32, "{} answers in the status", noticed.commands.len());
    for _ in 0..10 {
        play.decide();
    }
    assert!(names.iter().all(|name| answer(&play, name) != "no answer yet"));
    play.pod().stop();
    play.scene("stopped");
    play.is("Held 1/0", "Held", "0 1 4 12");
}

#[test]
fn removal_overtakes_a_hold_that_is_stopping() {
    let mut play = Play::running();
    send(&mut play, "hold", json!({}));
    play.scene("held");
    give(&mut play, "remove", json!({}));
    play.is("Removed stopping", "Stopping", "0 1");
    play.pod().stop();
    play.scene("stopped");
    play.is("Removed", "Removed", "0 1 4 9");
}

#[test]
fn suspend_and_continue() {
    let mut play = Play::running();
    assert_eq!(give(&mut play, "continue", json!({})), "+0 -1 Job 7.0 already running");
    assert_eq!(give(&mut play, "suspend", json!({})), "+1 -0 Job 7.0 suspended");
    play.is("Suspended", "Suspended", "0 1 10");
    assert_eq!(give(&mut play, "suspend", json!({})), "+0 -1 Job 7.0 already suspended");
    play.wait(100);
    assert_eq!(give(&mut play, "continue", json!({})), "+1 -0 Job 7.0 continued");
    play.is("Running", "Running", "0 1 10 11");
    assert_eq!(play.record().suspension_time, 102);
    assert_eq!(play.record().total_suspensions, 1);
    play.is_remembered("suspended and continued");
    give(&mut play, "suspend", json!({}));
    give(&mut play, "hold", json!({}));
    play.is("Held 1/0 stopping", "Stopping", "0 1 10 11 10");
}

#[test]
fn vacate_puts_it_back() {
    for (verb, deed) in [("vacate", "DeletePod 0-0"), ("vacateFast", "DeletePod 0-0 within 1 s")] {
        let mut play = Play::running();
        play.wait(1);
        let name = send(&mut play, verb, json!({ "by": "alice" }));
        let deeds = play.scene(verb);
        assert!(deeds.contains(&deed.into()), "{deeds:?}");
        assert_eq!(answer(&play, &name), "+1 -0 Job 7.0 vacated");
        assert_eq!(give(&mut play, verb, json!({})), "+0 -1 Job 7.0 not running to be vacated");
        play.pod().stop();
        let deeds = play.scene("stopped");
        assert!(deeds.contains(&"CreatePod 0-1".into()), "{deeds:?}");
        play.is("Idle", "WaitingForScheduler", "0 1 4");
        assert_eq!(give(&mut play, verb, json!({})), "+0 -1 Job 7.0 not running to be vacated");
    }
}

#[test]
fn a_vacated_job_that_ends_first_has_ended() {
    let mut play = Play::running();
    give(&mut play, "vacate", json!({}));
    play.pod().outcome(Outcome::Exited(0));
    play.scene("its own end came first");
    play.is("Completed 0", "Completed", "0 1 6 5");
}

#[test]
fn a_removal_can_be_forced() {
    let mut play = Play::running();
    assert_eq!(
        give(&mut play, "removeForced", json!({})),
        "+0 -1 Job 7.0 not in `X' state to be forcibly removed"
    );
    play.pod().unreachable();
    give(&mut play, "remove", json!({}));
    play.is("Removed stopping", "NodeNotAnswering", "0 1 22");
    assert_eq!(
        give(&mut play, "removeForced", json!({})),
        "+1 -0 Job 7.0 removed locally (remote state unknown)"
    );
    play.is("Removed", "Removed", "0 1 22 9");
    play.is_remembered("removed although its node does not answer");
}

#[test]
fn a_vacated_pod_that_vanishes_was_still_vacated() {
    let mut play = Play::running();
    give(&mut play, "vacate", json!({ "by": "alice" }));
    play.server.pods.clear();
    play.scene("somebody forced it away");
    let log = play.status().user_log.unwrap().text;
    assert!(log.contains("Job was evicted. Code 1004 Subcode 0\n"), "{log}");
    assert!(log.contains("\tReason: via condor_vacate_job (by user alice)\n"), "{log}");
}

#[test]
fn prio_changes_the_order_of_what_waits_and_is_logged() {
    let mut play = Play::of(json!({ "hold": true, "queue": { "count": 3 } }));
    play.scene("submitted on hold");
    let answer = give(&mut play, "prio", json!({ "procs": "2", "priority": 10 }));
    assert_eq!(answer, "+1 -0 Job 7.2 has priority 10");
    let answer = give(&mut play, "prio", json!({ "procs": "1-2", "priorityChange": -4 }));
    assert_eq!(answer, "+2 -0 Job 7.1 has priority -4; Job 7.2 has priority 6");
    let answer = give(&mut play, "prio", json!({ "procs": "2", "priority": 6 }));
    assert_eq!(answer, "+1 -0 Job 7.2 has priority 6");
    let told: Vec<String> = play.events().iter().map(ToString::to_string).collect();
    let changes: Vec<&str> = told
        .iter()
        .filter(|event| event.starts_with("033"))
        .map(|event| event.lines().next().unwrap().split_once("Z ").unwrap().1)
        .collect();
    assert_eq!(
        changes,
        [
            "Changing job attribute JobPrio from 0 to 10",
            "Changing job attribute JobPrio from 0 to -4",
            "Changing job attribute JobPrio from 10 to 6",
        ],
        "what stays as it was is no event"
    );
    play.edit(json!({ "hold": false }));
    let made: Vec<String> =
        play.scene("released").into_iter().filter(|deed| deed.starts_with("CreatePod")).collect();
    let order: Vec<char> =
        made.iter().map(|deed| deed.chars().nth_back(2).unwrap_or_default()).collect();
    assert_eq!(order, ['2', '0', '1'], "{made:?}");
}

#[test]
fn an_answer_is_for_the_command_that_was_read_and_no_other_of_its_name() {
    let mut play = Play::running();
    let name = send(&mut play, "suspend", json!({}));
    play.operator.look(&play.server);
    let (now, spec) = (play.now, json!({ "verb": "hold", "job": "hello" }));
    play.server.replace_command(&name, spec, now);
    let _ = play.operator.reconcile(&mut play.server, now, &mut || Fault::None);
    assert_eq!(play.record().status, ProcStatus::Suspended, "the first one was carried out");
    assert_eq!(answer(&play, &name), "no answer yet");
    play.scene("the other one is seen");
    assert_eq!(answer(&play, &name), "+1 -0 Job 7.0 held");
}

#[test]
fn a_removal_ends_the_wait_for_what_the_hold_stops() {
    let mut play = Play::running();
    play.edit(json!({ "hold": true }));
    play.scene("held");
    play.is("Held 1/0 stopping", "Stopping", "0 1");
    play.edit(json!({ "hold": false }));
    send(&mut play, "remove", json!({}));
    play.decide();
    assert_eq!(play.decide().unwrap().status, None, "one decision is enough");
    play.is("Removed stopping", "Stopping", "0 1");
}
