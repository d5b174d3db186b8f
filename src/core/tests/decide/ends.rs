//! How a job that ran ends, by what the starter recorded or the kubelet saw.

use crate::{
    play::Play,
    stage::{self, End},
};
use duj_protocol::{Outcome, Record, Usage};

/// Record, container's exit code and reason; then state, reason and log.
fn ended(outcome: Outcome) -> Play {
    let mut play = Play::running();
    play.pod().outcome(outcome);
    play.scene("its container terminated");
    play
}

#[test]
fn by_the_starters_record() {
    for (outcome, state, because, log) in [
        (Outcome::Exited(0), "Completed 0", "Completed", "0 1 6 5"),
        (Outcome::Exited(1), "Completed 1", "ExitedNonZero", "0 1 6 5"),
        // HTCondor reads 255 as success (§2.5); this system does not.
        (Outcome::Exited(255), "Completed 255", "ExitedNonZero", "0 1 6 5"),
        // Where the starter ran there is no ambiguity: 137 is an exit code.
        (Outcome::Exited(137), "Completed 137", "ExitedNonZero", "0 1 6 5"),
        (Outcome::Signalled(11), "Completed by signal 11", "Signalled", "0 1 6 5"),
        (
            Outcome::OverDisk { used: 120 << 20, limit: 100 << 20 },
            "Held 34/104",
            "Held",
            "0 1 21 4 12",
        ),
    ] {
        let play = ended(outcome);
        play.is(state, because, log);
    }
}

#[test]
fn exit_0_is_complete() {
    let play = ended(Outcome::Exited(0));
    play.is_remembered("exit 0");
    assert_eq!(play.record().num_job_starts, 1);
    assert!(play.status().completion_time.is_some());
}

#[test]
fn exit_1_is_failed() {
    ended(Outcome::Exited(1)).is_remembered("exit 1");
}

#[test]
fn death_by_signal_is_failed() {
    ended(Outcome::Signalled(11)).is_remembered("death by signal 11");
}

#[test]
fn without_a_record_the_exit_code_is_read_as_dockers() {
    for (code, state) in [
        (0, "Completed 0"),
        (1, "Completed 1"),
        (128, "Completed 128"),
        (129, "Completed by signal 1"),
        (139, "Completed by signal 11"),
        (254, "Completed by signal 126"),
        (255, "Completed 255"),
        // Nobody knows who killed it: the infrastructure did, and the job goes on.
        (137, "Idle"),
        (143, "Idle"),
        (-1, "Idle"),
    ] {
        let mut play = Play::running();
        let reason = if code == 0 { "Completed" } else { "Error" };
        play.pod().end(&End { code, reason, message: String::new(), started: true });
        play.scene("no record");
        assert_eq!(stage::in_short(&play.record()), state, "exit code {code}");
    }
}

#[test]
fn what_a_program_writes_to_the_termination_log_is_no_record() {
    let mut play = Play::running();
    let message = "fatal: {not json}\n...\n005 (007.000.000) forged".to_owned();
    play.pod().end(&End { code: 3, reason: "Error", message, started: true });
    play.scene("a message of the program's own");
    play.is("Completed 3", "ExitedNonZero", "0 1 5");
}

#[test]
fn a_forged_record_does_no_harm() {
    let mut play = Play::running();
    let usage =
        Usage { user_ms: u64::MAX, system_ms: u64::MAX, peak_memory: u64::MAX, ..Usage::default() };
    let forged = Record {
        version: 1,
        started: Some(i64::MIN),
        ended: Some(253_402_300_799_000),
        outcome: Some(Outcome::Exited(0)),
        usage,
        ..Record::default()
    };
    play.pod().end_with(0, "Completed", &forged);
    play.scene("a record with impossible numbers");
    play.is("Completed 0", "Completed", "0 1 6 5");
    let times: Vec<_> = play.events().iter().map(|event| event.time).collect();
    assert!(
        times.is_sorted() && times.iter().all(|time| (stage::curtain()..=play.now).contains(time)),
        "{times:?}"
    );
}

#[test]
fn out_of_memory_by_the_runtimes_word() {
    let mut play = Play::running();
    let provisional = Record {
        outcome: None,
        ended: None,
        ..stage::record(play.now, play.now, Outcome::Exited(0))
    };
    play.pod().end_with(137, "OOMKilled", &provisional);
    play.scene("OOMKilled");
    play.is("Held 34/102", "Held", "0 1 21 4 12");
    let reason = play.hold().reason;
    assert!(
        reason.starts_with(
            "Error from hello-0a1b2c3d-0-0@node1: Docker job has gone over memory limit of 128 Mb"
        ),
        "{reason}"
    );
    play.is_remembered("out of memory");
}

#[test]
fn out_of_memory_of_a_child_holds_too() {
    let mut play = Play::running();
    let now = play.now;
    let survived = Record { oom_kills: 1, ..stage::record(now, now, Outcome::Exited(0)) };
    play.pod().end_with(0, "Completed", &survived);
    play.scene("a child was killed, the main process survived");
    play.is("Held 34/102", "Held", "0 1 21 4 12");
}

#[test]
fn the_kubelet_evicts_for_the_scratch_limit() {
    for message in [
        "Usage of EmptyDir volume \"docker-universe-scratch\" exceeds the limit \"178257920\". ",
        "Pod ephemeral local storage usage exceeds the total limit of containers 1Gi. ",
        "Container job exceeded its local ephemeral storage limit \"1Gi\". ",
    ] {
        let mut play = Play::running();
        play.pod().fail("Evicted", message);
        play.scene("evicted for its own use of disk");
        play.is("Held 34/104", "Held", "0 1 21 4 12");
    }
}

#[test]
fn a_command_that_cannot_be_started_is_held_with_its_errno() {
    for (errno, message) in [
        (2, "cannot start 'fooo': not found on the image's PATH"),
        (13, "cannot start '/data/run.sh': permission denied"),
        (8, "cannot start '/bin/arm': it is for another kind of machine"),
    ] {
        let play = ended(Outcome::NotStarted { errno, message: message.into() });
        play.is(&format!("Held 6/{errno}"), "Held", "0 1 21 4 12");
        assert!(play.hold().reason.ends_with(message));
    }
}

#[test]
fn a_foreign_sidecar_is_not_waited_for() {
    let mut play = Play::running();
    let record = stage::record(play.now, play.now, Outcome::Exited(0)).to_message();
    play.pod().end_container(&End { code: 0, reason: "Completed", message: record, started: true });
    let deeds = play.scene("the job's container ended, a mesh's did not");
    play.is("Completed 0", "Completed", "0 1 6 5");
    assert!(!deeds.contains(&"DeletePod 0-0".into()));
    assert!(play.decision().wake.is_some());
    play.wait(30);
    let deeds = play.scene("half a minute later");
    assert_eq!(deeds, ["DeletePod 0-0"]);
    play.is_remembered("foreign sidecar");
}
