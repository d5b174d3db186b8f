//! Checkpoints: the command exits, its files are saved, and it is started again.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use duj_protocol::{Outcome, control, flags, lease::Mark, transfer::handshake};
use nix::sys::signal::Signal;

use crate::{
    handshake::shaking,
    job::{Job, Place, can_be_init, places, until},
};

/// The exit code that asks for a checkpoint.
const WANTED: &str = "85";

/// A job whose command makes checkpoints.
fn saving(name: &str, place: Place) -> (Job, PathBuf) {
    let (job, directory) = shaking(name, place);
    (job.flag(flags::CHECKPOINT_EXIT_CODE, WANTED), directory)
}

/// Waits until the starter asks for this checkpoint.
fn asked(directory: &Path, number: u64) {
    let file = directory.join(handshake::CHECKPOINT_WANTED);
    let number = number.to_string();
    until("the wish for a checkpoint", || {
        fs::read_to_string(&file).is_ok_and(|content| content == number)
    });
}

/// Answers as `transfer` does.
fn answer(directory: &Path, file: &str, content: &str) {
    let new = directory.join("answer");
    fs::write(&new, content).unwrap();
    fs::rename(new, directory.join(file)).unwrap();
}

/// A command that counts its runs, and wants a checkpoint after each of the first three.
const THREE: &str = "n=$(cat state 2> /dev/null || echo 0); n=$((n+1)); echo $n > state; \
                     read word; echo run $n $word $KEPT; echo error $n >&2; [ $n -gt 3 ] || exit 85";

#[test]
fn three_checkpoints_and_then_the_end() {
    for place in places() {
        let (job, directory) = saving("three", place);
        let job = job
            .variable("KEPT", "kept")
            .flag(flags::INPUT, "in")
            .flag(flags::OUTPUT, "out")
            .flag(flags::ERROR, "err");
        fs::write(job.scratch().join("in"), "word\n").unwrap();
        let running = job.start(place, &["sh", "-c", THREE]);
        for number in 1..=3 {
            asked(&directory, number);
            let state = fs::read_to_string(job.scratch().join("state")).unwrap();
            assert_eq!(state, format!("{number}\n"));
            let record = running.record_now().unwrap();
            assert_eq!((record.outcome, record.ended), (None, None));
            assert_eq!(record.checkpoints, number - 1);
            // Answers to other questions are none.
            answer(&directory, handshake::CHECKPOINT_SAVED, &(number - 1).to_string());
            answer(&directory, handshake::CHECKPOINT_FAILED, &format!("{} no", number - 1));
            thread::sleep(Duration::from_millis(300));
            asked(&directory, number);
            answer(&directory, handshake::CHECKPOINT_SAVED, &number.to_string());
        }
        let ended = running.end();
        assert_eq!((ended.outcome(), ended.code()), (&Outcome::Exited(0), 0));
        assert_eq!(ended.record.checkpoints, 3);
        let lines = "run 1 word kept\nrun 2 word kept\nrun 3 word kept\nrun 4 word kept\n";
        assert_eq!(ended.stdout, lines);
        assert_eq!(fs::read_to_string(job.scratch().join("out")).unwrap(), lines);
        assert_eq!(ended.stderr, "error 1\nerror 2\nerror 3\nerror 4\n");
    }
}

#[test]
fn without_files_the_streams_stay_the_starters() {
    for place in places() {
        let (job, directory) = saving("streams", place);
        let running = job.start(place, &["sh", "-c", THREE]);
        for number in 1..=3 {
            asked(&directory, number);
            answer(&directory, handshake::CHECKPOINT_SAVED, &format!("{number}\n"));
        }
        assert_eq!(running.end().stdout, "run 1\nrun 2\nrun 3\nrun 4\n");
    }
}

#[test]
fn a_replaced_output_is_appended_to_and_followed() {
    for place in places() {
        let (job, directory) = saving("replaced-between", place);
        let job = job.flag(flags::OUTPUT, "out");
        let script = "if [ -e again ]; then echo two; else : > again; echo one; echo mine > x; mv x out; exit 85; fi";
        let running = job.start(place, &["sh", "-c", script]);
        asked(&directory, 1);
        answer(&directory, handshake::CHECKPOINT_SAVED, "1");
        assert_eq!(running.end().stdout, "one\ntwo\n");
        assert_eq!(fs::read_to_string(job.scratch().join("out")).unwrap(), "mine\ntwo\n");
    }
}

#[test]
fn a_checkpoint_that_failed_ends_the_job_with_its_reason() {
    for place in places() {
        let (job, directory) = saving("failed", place);
        let running = job.start(place, &["sh", "-c", "exit 85"]);
        asked(&directory, 1);
        answer(&directory, handshake::CHECKPOINT_FAILED, "1 no such\nbucket 'b'");
        let ended = running.end();
        let why = "no such bucket 'b'".to_owned();
        assert_eq!(ended.outcome(), &Outcome::CheckpointFailed(why));
        assert_eq!((ended.code(), ended.record.checkpoints), (85, 0));
        assert!(ended.record.ended.is_some());
        let text = fs::read_to_string(directory.join(handshake::OUTCOME)).unwrap();
        assert!(text.contains("checkpointFailed"), "{text}");
    }
}

#[test]
fn a_command_that_cannot_be_started_again_is_told() {
    for place in places() {
        let (job, directory) = saving("gone", place);
        let script = job.scratch().join("self");
        fs::write(&script, "#!/bin/sh\nrm self\nexit 85\n").unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(&script, mode).unwrap();
        let running = job.start(place, &["./self"]);
        asked(&directory, 1);
        answer(&directory, handshake::CHECKPOINT_SAVED, "1");
        let ended = running.end();
        assert!(matches!(ended.outcome(), Outcome::NotStarted { errno: 2, .. }), "{ended:?}");
        assert!(ended.record.started.is_some() && ended.record.checkpoints == 0);
    }
}

#[test]
fn other_ends_ask_for_nothing() {
    for place in places() {
        for (script, outcome) in [
            ("exit 84", Outcome::Exited(84)),
            ("kill -9 $$", Outcome::Signalled(9)),
            ("exit 0", Outcome::Exited(0)),
        ] {
            let (job, directory) = saving("other", place);
            assert_eq!(job.shell(place, script).outcome(), &outcome);
            assert!(!directory.join(handshake::CHECKPOINT_WANTED).exists());
        }
        let (job, directory) = shaking("unwanted", place);
        assert_eq!(job.shell(place, "exit 85").outcome(), &Outcome::Exited(85));
        assert!(!directory.join(handshake::CHECKPOINT_WANTED).exists());
    }
}

#[test]
fn a_stop_while_the_command_runs_is_no_checkpoint() {
    for place in places() {
        let (job, directory) = saving("stop-running", place);
        let script = "trap 'exit 85' TERM; : > ready; while :; do sleep 0.05; done";
        let running = job.start(place, &["sh", "-c", script]);
        job.wait_for("ready");
        running.signal(Signal::SIGTERM);
        let ended = running.end();
        assert_eq!((ended.outcome(), ended.record.stopped_by), (&Outcome::Exited(85), Some(15)));
        assert!(!directory.join(handshake::CHECKPOINT_WANTED).exists());
    }
}

#[test]
fn a_stop_while_a_checkpoint_is_saved_waits_for_the_answer() {
    for place in places() {
        for (file, content) in
            [(handshake::CHECKPOINT_SAVED, "1"), (handshake::CHECKPOINT_FAILED, "1 why")]
        {
            let (job, directory) = saving("stop-saving", place);
            let job = job.flag(flags::MAX_VACATE_TIME, "600");
            let running = job.start(place, &["sh", "-c", "echo run >> runs; exit 85"]);
            asked(&directory, 1);
            running.signal(Signal::SIGTERM);
            thread::sleep(Duration::from_millis(500));
            assert_eq!(running.record_now().unwrap().outcome, None, "it did not wait");
            answer(&directory, file, content);
            let ended = running.end();
            assert_eq!(ended.outcome(), &Outcome::Exited(85));
            assert_eq!((ended.record.stopped_by, ended.record.checkpoints), (Some(15), 0));
            assert_eq!(fs::read_to_string(job.scratch().join("runs")).unwrap(), "run\n");
        }
    }
}

#[test]
fn an_answer_that_never_comes_is_not_waited_for_longer_than_a_stop_may_take() {
    for place in places() {
        let (job, directory) = saving("stop-unanswered", place);
        let job = job.flag(flags::MAX_VACATE_TIME, "1");
        let running = job.start(place, &["sh", "-c", "exit 85"]);
        asked(&directory, 1);
        running.signal(Signal::SIGTERM);
        let ended = running.end();
        assert_eq!((ended.outcome(), ended.record.stopped_by), (&Outcome::Exited(85), Some(15)));
    }
}

#[test]
fn the_lease_and_the_limit_hold_while_a_checkpoint_is_saved() {
    for place in places() {
        let (job, directory) = saving("lease-saving", place);
        let files = job.directory("control");
        fs::write(Path::new(&files).join(control::LEASE), Mark::FIRST.to_string()).unwrap();
        let job = job
            .flag(flags::CONTROL, &files)
            .flag(flags::LEASE_DURATION, "2")
            .flag(flags::MAX_VACATE_TIME, "1");
        let running = job.start(place, &["sh", "-c", "exit 85"]);
        asked(&directory, 1);
        let ended = running.end();
        assert_eq!(ended.outcome(), &Outcome::Exited(85));
        assert!(ended.record.lease_expired);

        let (job, _) = saving("disk-saving", place);
        let job = job.flag(flags::DISK_LIMIT, "2000000");
        let ended = job.shell(place, "head -c 5000000 /dev/zero > big; exit 85");
        assert!(matches!(ended.outcome(), Outcome::OverDisk { .. }), "{ended:?}");
    }
}

#[test]
fn pipes_among_the_answers_keep_nobody_waiting() {
    for place in places() {
        let (job, directory) = saving("pipes", place);
        let job = job.switch(flags::TELL_LEFT).flag(flags::MAX_VACATE_TIME, "600");
        let script = "cd ../.transfer; mkfifo checkpoint-saved checkpoint-wanted.new brought; \
                      [ -e ../work/second ] && exit 3; : > ../work/second; exit 85";
        let running = job.start(place, &["sh", "-c", script]);
        asked(&directory, 1);
        thread::sleep(Duration::from_millis(300));
        answer(&directory, handshake::CHECKPOINT_SAVED, "1");
        let ended = running.end();
        assert_eq!((ended.outcome(), ended.record.checkpoints), (&Outcome::Exited(3), 1));
        assert_eq!(ended.record.left.unwrap().names, ["second"]);
    }
}

#[test]
fn a_suspended_job_is_not_started_again() {
    for place in places() {
        let (job, directory) = saving("suspended", place);
        let files = job.directory("control");
        let job = job.flag(flags::CONTROL, &files);
        let running =
            job.start(place, &["sh", "-c", "[ -e second ] && exit 0; : > second; exit 85"]);
        asked(&directory, 1);
        fs::write(Path::new(&files).join(control::SUSPEND), control::SUSPENDED).unwrap();
        until("the suspension", || {
            running.record_now().is_some_and(|record| record.suspensions == 1)
        });
        answer(&directory, handshake::CHECKPOINT_SAVED, "1");
        thread::sleep(Duration::from_millis(500));
        assert_eq!(running.record_now().unwrap().checkpoints, 0);
        fs::remove_file(Path::new(&files).join(control::SUSPEND)).unwrap();
        let ended = running.end();
        assert_eq!((ended.outcome(), ended.record.checkpoints), (&Outcome::Exited(0), 1));
    }
}

#[test]
fn what_the_first_run_left_does_not_outlive_it() {
    if !can_be_init() {
        return;
    }
    let (job, directory) = saving("leftover", Place::Init);
    let script = "if [ -e second ]; then kill -0 $(cat daemon) 2> /dev/null && exit 1; exit 0; fi
                  setsid sh -c 'echo $$ > daemon; : > second; exec sleep 600' &
                  while ! [ -e second ]; do sleep 0.02; done; exit 85";
    let running = job.start(Place::Init, &["sh", "-c", script]);
    asked(&directory, 1);
    let own = running.pid();
    let children = fs::read_to_string(format!("/proc/{own}/task/{own}/children")).unwrap();
    assert_eq!(children, "", "it lives while its files are saved");
    answer(&directory, handshake::CHECKPOINT_SAVED, "1");
    assert_eq!(running.end().outcome(), &Outcome::Exited(0));
}
