//! Suspending and continuing, and the lease: what the operator says to a job that runs.

use std::{
    fs,
    os::unix::fs::symlink,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use duj_protocol::{Outcome, control, flags, lease::Mark};
use nix::sys::signal::Signal;

use crate::job::{Job, Place, Running, can_be_init, everywhere, until};

/// A loop that counts in a variable and shows the number in a file. It has an end, so that no failure of a
/// test leaves it behind.
fn counting(file: &str) -> String {
    format!(
        "i=0; while [ $i -lt 6000 ]; do i=$((i+1)); echo $i > {file}.new; mv {file}.new {file}; sleep 0.01; done"
    )
}

/// What the loops of the job have come to.
fn counts(job: &Job, files: &[&str]) -> Vec<u32> {
    let count = |file: &&str| {
        let text = fs::read_to_string(job.scratch().join(file)).unwrap_or_default();
        text.trim().parse().unwrap_or(0)
    };
    files.iter().map(count).collect()
}

/// Waits until every loop has gone on.
fn go_on(job: &Job, files: &[&str]) {
    let before = counts(job, files);
    until("a step of each loop", || {
        counts(job, files).iter().zip(&before).all(|(now, before)| now > before)
    });
}

/// Waits until no loop has gone on for half a second.
fn stand_still(job: &Job, files: &[&str]) -> Vec<u32> {
    let mut last = counts(job, files);
    until("a standstill", || {
        thread::sleep(Duration::from_millis(500));
        let now = counts(job, files);
        std::mem::replace(&mut last, now.clone()) == now
    });
    last
}

/// A job with an empty control directory.
fn controlled(name: &str, place: Place) -> (Job, String) {
    let job = Job::new(&format!("{name}-{place:?}"));
    let directory = job.directory("control");
    let job = job.flag(flags::CONTROL, &directory);
    (job, directory)
}

fn write(directory: &str, file: &str, content: impl AsRef<[u8]>) {
    let path = Path::new(directory).join(file);
    let new = path.with_extension("new");
    fs::write(&new, content).unwrap();
    fs::rename(new, path).unwrap();
}

fn suspend(directory: &str, suspended: bool) {
    write(directory, control::SUSPEND, if suspended { control::SUSPENDED } else { "false" });
}

/// Waits until the starter's own record says that it has suspended the job so often.
fn suspended(running: &Running, times: u64) {
    until("the suspension", || {
        running.record_now().is_some_and(|record| record.suspensions == times)
    });
}

#[test]
fn a_suspended_job_stands_still_and_goes_on_where_it_was() {
    everywhere(|place| {
        let (job, directory) = controlled("suspend", place);
        // What has left the group is reached by PID 1 only.
        let daemon = if place == Place::Init {
            format!("setsid sh -c '{}' & ", counting("daemon"))
        } else {
            String::new()
        };
        let files: &[&str] = match place {
            Place::Init => &["main", "child", "daemon"],
            Place::Plain => &["main", "child"],
        };
        let script = format!(
            "{daemon}({}) & secret=$$-kept; trap 'echo $secret; exit 19' USR1; {}",
            counting("child"),
            counting("main")
        );
        let job = job.flag(flags::KILL_SIGNAL, "SIGUSR1");
        let running = job.start(place, &["sh", "-c", &script]);
        go_on(&job, files);
        for round in 1..=2 {
            suspend(&directory, true);
            suspended(&running, round);
            let stopped = stand_still(&job, files);
            thread::sleep(Duration::from_millis(300));
            assert_eq!(counts(&job, files), stopped, "{place:?}");
            assert_eq!(running.record_now().unwrap().outcome, None, "stopped is not ended");
            suspend(&directory, false);
            go_on(&job, files);
            let gone_on = counts(&job, files);
            assert!(gone_on.iter().zip(&stopped).all(|(now, then)| now > then), "begun anew");
        }
        running.signal(Signal::SIGTERM);
        let ended = running.end();
        assert_eq!(ended.outcome(), &Outcome::Exited(19));
        assert!(ended.stdout.ends_with("-kept\n"), "{}", ended.stdout);
        assert_eq!((ended.record.suspensions, ended.record.stopped_by), (2, Some(15)));
        let clock = ended.record.ended.unwrap() - ended.record.started.unwrap();
        let suspended_ms = i64::try_from(ended.record.suspended_ms).unwrap();
        assert!((1600..clock).contains(&suspended_ms), "{suspended_ms} of {clock} ms");
    });
}

#[test]
fn new_children_do_not_escape_a_suspension() {
    everywhere(|place| {
        let (job, directory) = controlled("forks", place);
        let forking = "while [ $(date +%s) -lt $end ]; do (: > $1); done";
        let script = format!(
            "end=$(($(date +%s)+60)); export end; for n in 1 2 3 4; do sh -c '{forking}' sh f$n & done; : > ready; wait"
        );
        let running = job.start(place, &["sh", "-c", &script]);
        job.wait_for("ready");
        for round in 1..=3 {
            until("all forks to go on", || {
                for n in 1..=4 {
                    let _ = fs::remove_file(job.scratch().join(format!("f{n}")));
                }
                thread::sleep(Duration::from_millis(200));
                (1..=4).all(|n| job.scratch().join(format!("f{n}")).exists())
            });
            suspend(&directory, true);
            suspended(&running, round);
            // On a busy machine a process may notice its signal late.
            let mut quiet = 0;
            until("quiet", || {
                let mut seen = false;
                for n in 1..=4 {
                    seen |= fs::remove_file(job.scratch().join(format!("f{n}"))).is_ok();
                }
                quiet = if seen { 0 } else { quiet + 1 };
                quiet == 50
            });
            suspend(&directory, false);
        }
        running.signal(Signal::SIGTERM);
        assert_eq!(running.end().outcome(), &Outcome::Signalled(15));
    });
}

#[test]
fn a_job_can_be_suspended_from_its_start() {
    everywhere(|place| {
        let (job, directory) = controlled("at-start", place);
        suspend(&directory, true);
        let running = job.start(place, &["sh", "-c", "sleep 0.7; exit 3"]);
        suspended(&running, 1);
        thread::sleep(Duration::from_millis(1500));
        assert_eq!(running.record_now().unwrap().ended, None);
        fs::remove_file(Path::new(&directory).join(control::SUSPEND)).unwrap();
        let ended = running.end();
        assert_eq!(ended.outcome(), &Outcome::Exited(3));
        assert!(ended.record.suspended_ms >= 1500, "{:?}", ended.record);
    });
}

#[test]
fn a_stop_gives_a_suspended_job_its_graceful_end() {
    everywhere(|place| {
        let (job, directory) = controlled("stop-suspended", place);
        let job = job.flag(flags::MAX_VACATE_TIME, "30");
        let script = format!("trap 'echo bye; sleep 1; exit 17' TERM; {}", counting("main"));
        let running = job.start(place, &["sh", "-c", &script]);
        go_on(&job, &["main"]);
        suspend(&directory, true);
        suspended(&running, 1);
        stand_still(&job, &["main"]);
        // The file still says that the job is suspended, for two looks more.
        running.signal(Signal::SIGTERM);
        let ended = running.end();
        assert_eq!(ended.outcome(), &Outcome::Exited(17));
        assert_eq!(ended.stdout, "bye\n");
        assert_eq!((ended.record.stopped_by, ended.record.suspensions), (Some(15), 1));
        assert!(!ended.record.lease_expired);
    });
}

#[test]
fn a_suspended_job_that_ignores_the_stop_is_killed() {
    everywhere(|place| {
        let (job, directory) = controlled("stubborn", place);
        let job = job.flag(flags::MAX_VACATE_TIME, "1");
        let running =
            job.start(place, &["sh", "-c", &format!("trap '' TERM; {}", counting("main"))]);
        go_on(&job, &["main"]);
        suspend(&directory, true);
        suspended(&running, 1);
        let stop = Instant::now();
        running.signal(Signal::SIGTERM);
        assert_eq!(running.end().outcome(), &Outcome::Signalled(9));
        assert!(stop.elapsed() >= Duration::from_secs(1), "the grace was cut short");
    });
}

#[test]
fn a_suspended_job_is_still_watched() {
    everywhere(|place| {
        let (job, directory) = controlled("watched", place);
        let job = job.flag(flags::DISK_LIMIT, "2000000");
        let running = job.start(place, &["sh", "-c", &counting("main")]);
        go_on(&job, &["main"]);
        suspend(&directory, true);
        suspended(&running, 1);
        let first = running.record_now().unwrap().suspended_ms;
        until("the suspension to count while it lasts", || {
            running.record_now().unwrap().suspended_ms >= first + 1000
        });
        fs::write(job.scratch().join("big"), vec![1; 5_000_000]).unwrap();
        let ended = running.end();
        assert!(matches!(ended.outcome(), Outcome::OverDisk { .. }), "{ended:?}");
        assert!(ended.record.suspended_ms > first + 1000);
        assert_eq!(ended.stderr, "", "all stood still, and the starter saw that");
    });
}

/// A token that is written now.
fn token() -> String {
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    Mark::Token(i64::try_from(now.as_millis()).unwrap()).to_string()
}

#[test]
fn a_lease_that_is_renewed_keeps_the_job_and_one_that_is_not_ends_it() {
    everywhere(|place| {
        let (job, directory) = controlled("lease", place);
        let job = job.flag(flags::LEASE_DURATION, "3").flag(flags::MAX_VACATE_TIME, "30");
        let script = format!("trap 'exit 21' TERM; {}", counting("main"));
        let running = job.start(place, &["sh", "-c", &script]);
        for _ in 0..7 {
            write(&directory, control::LEASE, token());
            thread::sleep(Duration::from_secs(1));
        }
        assert_eq!(running.record_now().unwrap().outcome, None, "{place:?}: ended too early");
        go_on(&job, &["main"]);
        let ended = running.end();
        assert_eq!(ended.outcome(), &Outcome::Exited(21));
        assert!(ended.record.lease_expired);
        assert_eq!((ended.record.stopped_by, ended.record.suspensions), (None, 0));
        let lived = ended.record.ended.unwrap() - ended.record.started.unwrap();
        assert!(lived >= 9000, "{lived} ms");
    });
}

#[test]
fn a_lapsed_lease_ends_suspended_and_stubborn_jobs_too() {
    everywhere(|place| {
        for (trap, outcome) in [("exit 22", Outcome::Exited(22)), ("", Outcome::Signalled(9))] {
            let (job, directory) = controlled("lapse", place);
            let job = job.flag(flags::LEASE_DURATION, "2").flag(flags::MAX_VACATE_TIME, "1");
            // Nothing that is no token renews the lease.
            write(&directory, control::LEASE, "");
            let script = format!("trap '{trap}' TERM; {}", counting("main"));
            let running = job.start(place, &["sh", "-c", &script]);
            go_on(&job, &["main"]);
            suspend(&directory, true);
            suspended(&running, 1);
            let ended = running.end();
            assert_eq!(ended.outcome(), &outcome);
            assert!(ended.record.lease_expired && ended.record.suspensions == 1);
        }
    });
}

#[test]
fn a_job_that_was_stopped_already_is_not_ended_by_its_lease() {
    everywhere(|place| {
        let (job, _) = controlled("stopped-first", place);
        let job = job.flag(flags::LEASE_DURATION, "2").flag(flags::MAX_VACATE_TIME, "30");
        let script = format!("trap 'sleep 3; exit 23' TERM; {}", counting("main"));
        let running = job.start(place, &["sh", "-c", &script]);
        go_on(&job, &["main"]);
        running.signal(Signal::SIGTERM);
        let ended = running.end();
        assert_eq!(ended.outcome(), &Outcome::Exited(23));
        assert_eq!((ended.record.stopped_by, ended.record.lease_expired), (Some(15), false));
    });
}

/// Writes a version of the volume as the kubelet does: the files are links into `..data`, which is a link to
/// a directory that is never changed.
fn publish(directory: &str, version: &str, suspended: &str, token: &str) {
    let directory = Path::new(directory);
    let data = directory.join(format!("..{version}"));
    fs::create_dir(&data).unwrap();
    for (file, content) in [(control::SUSPEND, suspended), (control::LEASE, token)] {
        fs::write(data.join(file), content).unwrap();
        let link = directory.join(file);
        if fs::symlink_metadata(&link).is_err() {
            symlink(format!("..data/{file}"), link).unwrap();
        }
    }
    let (new, current) = (directory.join("..data_tmp"), directory.join("..data"));
    let old = fs::read_link(&current).ok();
    symlink(format!("..{version}"), &new).unwrap();
    fs::rename(new, current).unwrap();
    if let Some(old) = old {
        fs::remove_dir_all(directory.join(old)).unwrap();
    }
}

#[test]
fn the_kubelets_way_of_replacing_files_is_seen() {
    everywhere(|place| {
        let (job, directory) = controlled("swap", place);
        let job = job.flag(flags::LEASE_DURATION, "4").flag(flags::MAX_VACATE_TIME, "30");
        publish(&directory, "1", "", &Mark::FIRST.to_string());
        let running = job.start(place, &["sh", "-c", &counting("main")]);
        go_on(&job, &["main"]);
        publish(&directory, "2", "true", &token());
        suspended(&running, 1);
        stand_still(&job, &["main"]);
        publish(&directory, "3", "", &token());
        go_on(&job, &["main"]);
        let ended = running.end();
        assert_eq!(ended.outcome(), &Outcome::Signalled(15));
        assert!(ended.record.lease_expired);
    });
}

#[test]
fn what_makes_no_sense_in_the_files_does_no_harm() {
    everywhere(|place| {
        let (job, directory) = controlled("malformed", place);
        let job = job.flag(flags::LEASE_DURATION, "20").flag(flags::MAX_VACATE_TIME, "30");
        let running = job.start(place, &["sh", "-c", "sleep 4; exit 5"]);
        for content in [vec![0xff; 3], vec![b't'; 3_000_000], b"TRUE".to_vec(), Vec::new()] {
            write(&directory, control::SUSPEND, &content);
            write(&directory, control::LEASE, &content);
            thread::sleep(Duration::from_millis(600));
        }
        fs::remove_dir_all(&directory).unwrap();
        let ended = running.end();
        assert_eq!(ended.outcome(), &Outcome::Exited(5));
        assert_eq!((ended.record.suspensions, ended.record.lease_expired), (0, false));
        assert_eq!(ended.stderr, "");
    });
}

#[test]
fn without_a_control_directory_nobody_is_heeded() {
    everywhere(|place| {
        let job = Job::new(&format!("uncontrolled-{place:?}"));
        let directory = job.directory("control");
        suspend(&directory, true);
        let ended = job.shell(place, "sleep 1; exit 6");
        assert_eq!(ended.outcome(), &Outcome::Exited(6));
        assert_eq!((ended.record.suspensions, ended.record.suspended_ms), (0, 0));
    });
}

#[test]
fn a_container_whose_every_process_is_stopped_ends_whole() {
    if !can_be_init() {
        return;
    }
    let (job, directory) = controlled("whole", Place::Init);
    let script = format!("setsid sh -c '{}' & {}", counting("daemon"), counting("main"));
    let running = job.start(Place::Init, &["sh", "-c", &script]);
    go_on(&job, &["main", "daemon"]);
    suspend(&directory, true);
    suspended(&running, 1);
    // The main process dies while it is suspended, as of a lack of memory.
    let main = fs::read_to_string(format!("/proc/{0}/task/{0}/children", running.pid())).unwrap();
    let main = main.split_whitespace().next().unwrap().parse().unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(main), Signal::SIGKILL).unwrap();
    let ended = running.end();
    assert_eq!(ended.outcome(), &Outcome::Signalled(9));
    // The suspension may have lasted less than a millisecond.
    assert_eq!((ended.record.suspensions, ended.record.stopped_by), (1, None));
}
