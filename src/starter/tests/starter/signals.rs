//! Signals, orphans and zombies: what PID 1 owes to its container. "From outside" is a signal from this
//! test, which has no pid in the starter's namespace.

use std::{fs, os::unix::fs::PermissionsExt, process::Command};

use crate::job::{Job, Place, can_be_init, places, until};
use duj_protocol::{Outcome, flags};
use nix::sys::signal::Signal;

#[test]
fn the_job_answers_a_stop_in_its_own_way() {
    for place in places() {
        let job = Job::new(&format!("stop-{place:?}"));
        let script = "trap 'exit 17' TERM; : > ready; while :; do sleep 0.05; done";
        let running = job.start(place, &["sh", "-c", script]);
        job.wait_for("ready");
        running.signal(Signal::SIGTERM);
        let ended = running.end();
        assert_eq!(ended.outcome(), &Outcome::Exited(17));
        assert_eq!((ended.code(), ended.record.stopped_by), (17, Some(15)));
    }
}

#[test]
fn the_jobs_own_kill_signal_is_sent_whatever_the_image_names() {
    for place in places() {
        for asked in [Signal::SIGTERM, Signal::SIGQUIT, Signal::SIGINT, Signal::SIGWINCH] {
            let job = Job::new(&format!("kill-sig-{asked}-{place:?}"))
                .flag(flags::KILL_SIGNAL, "SIGUSR1");
            let script = "trap 'exit 18' USR1; : > ready; while :; do sleep 0.05; done";
            let running = job.start(place, &["sh", "-c", script]);
            job.wait_for("ready");
            running.signal(asked);
            let ended = running.end();
            assert_eq!(ended.outcome(), &Outcome::Exited(18));
            assert_eq!(ended.record.stopped_by, Some(asked as i32));
        }
    }
}

#[test]
fn a_job_that_ignores_the_stop_is_killed() {
    for place in places() {
        let job = Job::new(&format!("ignore-{place:?}")).flag(flags::MAX_VACATE_TIME, "1");
        let script = "trap '' TERM; : > ready; while :; do sleep 0.05; done";
        let running = job.start(place, &["sh", "-c", script]);
        job.wait_for("ready");
        running.signal(Signal::SIGTERM);
        let ended = running.end();
        assert_eq!(ended.outcome(), &Outcome::Signalled(9));
        assert_eq!((ended.code(), ended.record.stopped_by), (137, Some(15)));
    }
}

#[test]
fn a_stopped_job_is_continued_to_act_on_the_stop() {
    for place in places() {
        let job = Job::new(&format!("stopped-{place:?}"));
        let running = job.start(place, &["sh", "-c", ": > ready; kill -STOP $$; sleep 600"]);
        job.wait_for("ready");
        running.signal(Signal::SIGTERM);
        assert_eq!(running.end().outcome(), &Outcome::Signalled(15));
    }
}

#[test]
fn a_job_cannot_end_its_starter() {
    if !can_be_init() {
        return;
    }
    let job = Job::new("inside");
    let script =
        "for s in TERM INT HUP QUIT USR1 KILL ABRT SEGV; do kill -$s 1; done; sleep 0.2; exit 3";
    let ended = job.shell(Place::Init, script);
    assert_eq!(ended.outcome(), &Outcome::Exited(3));
    assert_eq!((ended.code(), ended.record.stopped_by), (3, None));
}

#[test]
fn a_stop_reaches_what_has_left_the_group() {
    if !can_be_init() {
        return;
    }
    let job = Job::new("setsid");
    let script = "setsid sh -c 'trap \"echo told > told; exit\" TERM; : > ready; while :; do sleep 0.05; done' &
                  trap '' TERM; while ! [ -e told ]; do sleep 0.05; done; exit 5";
    let running = job.start(Place::Init, &["sh", "-c", script]);
    job.wait_for("ready");
    running.signal(Signal::SIGTERM);
    assert_eq!(running.end().outcome(), &Outcome::Exited(5));
}

#[test]
fn orphans_are_reaped_while_the_command_runs() {
    if !can_be_init() {
        return;
    }
    let job = Job::new("zombies");
    // Twenty orphans become children of PID 1 and end; none may stay as a zombie.
    let script = "for i in $(seq 20); do sh -c 'sleep 0.1 & exit'; done; sleep 0.5
        for try in $(seq 100); do
            zombies=$(grep -l '^State:.Z' /proc/[0-9]*/status 2>/dev/null | wc -l)
            [ $zombies = 0 ] && exit 0
            sleep 0.1
        done; exit 1";
    assert_eq!(job.shell(Place::Init, script).outcome(), &Outcome::Exited(0));
}

#[test]
fn nothing_outlives_the_command() {
    if !can_be_init() {
        return;
    }
    let job = Job::new("daemons");
    let script =
        "setsid sh -c 'trap \"\" TERM HUP; (while :; do sleep 0.05; done) & : > ready; wait' &
                  while ! [ -e ready ]; do sleep 0.05; done; exit 8";
    let running = job.start(Place::Init, &["sh", "-c", script]);
    job.wait_for("ready");
    let ended = running.end();
    // The starter itself ended, so its streams are closed: no other process held them.
    assert_eq!(ended.outcome(), &Outcome::Exited(8));
}

#[test]
fn what_is_reaped_last_counts() {
    if !can_be_init() {
        return;
    }
    let job = Job::new("counted");
    let script =
        "setsid sh -c 'i=0; while [ $i -lt 400000 ]; do i=$((i+1)); done; : > ready; sleep 600' &
                  while ! [ -e ready ]; do sleep 0.05; done";
    let usage = job.shell(Place::Init, script).record.usage;
    assert!(usage.user_ms >= 50, "the loop of the orphan is missing: {usage:?}");
}

#[test]
fn the_provisional_record_survives_the_starter() {
    for place in places() {
        let job = Job::new(&format!("killed-{place:?}"));
        let running = job.start(place, &["sh", "-c", ": > ready; exec sleep 1"]);
        job.wait_for("ready");
        running.signal(Signal::SIGKILL);
        let record = running.end().record;
        assert!(record.started.is_some());
        assert_eq!(record.outcome, None);
    }
}

#[test]
fn the_starter_installs_itself() {
    let job = Job::new("install");
    let target = job.volume.join("starter");
    for _ in 0..2 {
        let starter = env!("CARGO_BIN_EXE_starter");
        let status = Command::new(starter).arg("install").arg(&target).status().unwrap();
        assert!(status.success());
        assert_eq!(fs::metadata(&target).unwrap().permissions().mode() & 0o7777, 0o555);
    }
    let names: Vec<_> =
        fs::read_dir(&job.volume).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["starter"], "nothing unfinished is left");
    until("the copy to run", || {
        Command::new(&target).arg("--version").output().is_ok_and(|output| output.status.success())
    });
    let missing = job.volume.join("no/such/starter");
    let output =
        Command::new(env!("CARGO_BIN_EXE_starter")).arg("install").arg(&missing).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("No such file"));
}
