//! How commands end, and what the record says of it. Everything is tried both as PID 1 and not.

use std::{fs, os::unix::fs::PermissionsExt};

use crate::job::{Job, places, until};
use duj_protocol::{Outcome, Record, environment, flags};

#[test]
fn exit_codes_are_told_as_they_are() {
    for place in places() {
        for code in [0, 1, 129, 255] {
            let job = Job::new(&format!("exit-{code}-{place:?}"));
            let ended = job.shell(place, &format!("exit {code}"));
            assert_eq!(ended.outcome(), &Outcome::Exited(code));
            assert_eq!(ended.code(), code);
            assert!(ended.record.started.unwrap() <= ended.record.ended.unwrap());
            assert_eq!((ended.record.stopped_by, ended.record.oom_kills), (None, 0));
        }
    }
}

#[test]
fn death_by_signal_is_told_from_exit() {
    for place in places() {
        for signal in [9, 11, 15, 40] {
            let job = Job::new(&format!("signal-{signal}-{place:?}"));
            let ended = job.shell(place, &format!("kill -{signal} $$"));
            assert_eq!(ended.outcome(), &Outcome::Signalled(signal));
            assert_eq!(ended.code(), 128 + signal);
            assert_eq!(ended.record.stopped_by, None);
        }
    }
}

/// The case that fails: its command line, the number of the error, the starter's exit code, and a part of
/// the message.
type Refusal<'a> = (&'a [&'a str], i32, i32, &'a str);

#[test]
fn what_cannot_be_started_is_told_with_its_reason() {
    for place in places() {
        let job = Job::new(&format!("refused-{place:?}"));
        let plain = job.file("plain", "#!/bin/sh\n", 0o644);
        let words = job.file("words", "echo hello\n", 0o755);
        let lost = job.file("lost", "#!/nowhere/python3 -u\n", 0o755);
        let dos = job.file("dos", "#!/bin/sh\r\n", 0o755);
        let mut foreign = fs::read("/proc/self/exe").unwrap();
        foreign[18..20].copy_from_slice(&[21, 0]);
        let foreign = job.file("foreign", foreign, 0o755);
        let cases: [Refusal<'_>; 9] = [
            (
                &["/nowhere/a", "b", "c"],
                2,
                127,
                "'/nowhere/a' with arguments b c: (errno=2: 'No such",
            ),
            (&["no-such-program"], 2, 127, "in no directory of PATH"),
            (&["./relative"], 2, 127, "'./relative'"),
            (&[&plain], 13, 126, "chmod +x"),
            (&["/tmp"], 21, 126, "'Is a directory'"),
            (&[&words], 8, 126, "neither a program nor a script"),
            (&[&lost], 2, 127, "interpreter of its line '#!/nowhere/python3' is missing"),
            (&[&dos], 2, 127, "carriage return"),
            (&[&foreign], 8, 126, "program for ppc64le"),
        ];
        for (command, number, code, part) in cases {
            let ended = job.run(place, command);
            let Outcome::NotStarted { errno, message } = ended.outcome() else {
                panic!("{ended:?}")
            };
            assert_eq!((*errno, ended.code()), (number, code), "{command:?}: {message}");
            assert!(message.starts_with("failed to execute '"), "{message}");
            assert!(message.contains(part), "{command:?}: {message}");
            assert!(ended.stderr.contains(part), "{command:?}: {}", ended.stderr);
            assert_eq!((ended.record.started, ended.record.ended), (None, None));
        }
    }
}

#[test]
fn long_arguments_leave_a_record() {
    for place in places() {
        let job = Job::new(&format!("long-{place:?}"));
        let long = "\"\n".repeat(9000);
        let ended = job.run(place, &["/nowhere", &long]);
        assert!(matches!(ended.outcome(), Outcome::NotStarted { errno: 2, .. }));
    }
}

#[test]
fn a_scratch_directory_that_cannot_be_made_is_told() {
    for place in places() {
        let job = Job::new(&format!("no-scratch-{place:?}"));
        fs::write(job.scratch(), "in the way").unwrap();
        let ended = job.run(place, &["true"]);
        let Outcome::NotStarted { errno: 20, message } = ended.outcome() else {
            panic!("{ended:?}")
        };
        assert!(message.contains("Not a directory") && message.contains("work'"), "{message}");
        assert_eq!(ended.code(), 125);
    }
}

#[test]
fn a_wrong_invocation_leaves_a_record_too() {
    for place in places() {
        let job = Job::new(&format!("usage-{place:?}")).flag("--colour", "red");
        let ended = job.run(place, &["true"]);
        let Outcome::NotStarted { errno: 22, message } = ended.outcome() else {
            panic!("{ended:?}")
        };
        assert!(message.contains("unknown flag '--colour'"), "{message}");
        assert_eq!(ended.code(), 2);
        assert!(ended.stderr.contains("usage:"), "{}", ended.stderr);
    }
}

#[test]
fn the_command_finds_its_directories_and_ads_and_no_more() {
    for place in places() {
        let job = Job::new(&format!("scratch-{place:?}"))
            .variable(environment::JOB_AD, "ClusterId = 7\nProcId = 0")
            .variable(environment::MACHINE_AD, "Cpus = 1\n")
            .variable("OTHER", "a=b");
        let ended = job.shell(
            place,
            "pwd; stat -c %a .; cat .job.ad .machine.ad; echo \"$OTHER\"; env | grep -c ^_DOCKER_UNIVERSE_ || true",
        );
        let scratch = job.scratch();
        let expected =
            format!("{}\n700\nClusterId = 7\nProcId = 0\nCpus = 1\na=b\n0\n", scratch.display());
        assert_eq!(ended.stdout, expected);
    }
}

#[test]
fn the_command_starts_as_under_docker() {
    for place in places() {
        let job = Job::new(&format!("state-{place:?}"));
        // Its own session and group; no signal blocked or ignored; no descriptor of the starter's.
        let ended = job.run(place, &["cat", "/proc/self/stat", "/proc/self/status"]);
        let stat: Vec<_> = ended.stdout.lines().next().unwrap().split(' ').collect();
        assert_eq!((stat[0], stat[0]), (stat[4], stat[5]), "pid, group and session");
        for line in
            ["SigBlk:\t0000000000000000", "SigIgn:\t0000000000000000", "SigCgt:\t0000000000000000"]
        {
            assert!(ended.stdout.contains(line), "no {line} in {}", ended.stdout);
        }
        let ended = job.run(place, &["ls", "-l", "/proc/self/fd"]);
        assert!(ended.stdout.contains(" 2 -> pipe:"), "{}", ended.stdout);
        assert!(!ended.stdout.contains("signalfd"), "{}", ended.stdout);
        assert!(!ended.stdout.contains("/record"), "{}", ended.stdout);
    }
}

#[test]
fn the_group_of_the_volume_is_handed_down() {
    for place in places() {
        let job = Job::new(&format!("group-{place:?}"));
        fs::set_permissions(&job.volume, fs::Permissions::from_mode(0o2777)).unwrap();
        assert_eq!(job.shell(place, "stat -c %a .").stdout, "2700\n");
    }
}

#[test]
fn what_was_there_is_left() {
    for place in places() {
        let job = Job::new(&format!("kept-{place:?}")).variable(environment::JOB_AD, "A = 1");
        fs::create_dir_all(job.scratch()).unwrap();
        fs::write(job.scratch().join("input"), "data").unwrap();
        let outside = job.file("outside", "precious", 0o644);
        std::os::unix::fs::symlink(&outside, job.scratch().join(".job.ad")).unwrap();
        let ended = job.shell(place, "cat input .job.ad");
        assert_eq!(ended.stdout, "dataA = 1\n");
        assert_eq!(fs::read_to_string(outside).unwrap(), "precious");
    }
}

#[test]
fn a_provisional_record_is_there_while_the_command_runs() {
    for place in places() {
        let job = Job::new(&format!("provisional-{place:?}"));
        fs::create_dir_all(job.scratch()).unwrap();
        let running =
            job.start(place, &["sh", "-c", "while ! [ -e go ]; do sleep 0.05; done; exit 4"]);
        until("the provisional record", || running.record_now().is_some());
        let record = running.record_now().unwrap();
        assert!(record.started.is_some());
        assert_eq!((record.version, record.ended, record.outcome), (Record::VERSION, None, None));
        let size = fs::metadata(job.record()).unwrap().len();
        assert_eq!(size, Record::MAX_BYTES as u64, "padded, so that nothing is ever cut");
        fs::write(job.scratch().join("go"), "").unwrap();
        assert_eq!(running.end().outcome(), &Outcome::Exited(4));
        let text = fs::read_to_string(job.record()).unwrap();
        assert!(text.ends_with('}'), "the padding is gone at the end: '{text}'");
    }
}

#[test]
fn usage_is_measured() {
    for place in places() {
        let job = Job::new(&format!("usage-of-{place:?}"));
        let script = "head -c 300000 /dev/zero > f; ln f g; truncate -s 1G hole; \
                      sh -c 'i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done'";
        let usage = job.shell(place, script).record.usage;
        assert!(usage.user_ms + usage.system_ms > 0, "{usage:?}");
        assert!(usage.resident > 100_000 && usage.peak_memory > 0, "{usage:?}");
        assert!((300_000..1_000_000).contains(&usage.scratch), "{usage:?}");
        assert_eq!(usage.files, 3);
    }
}

#[test]
fn a_job_that_outgrows_its_disk_is_ended() {
    for place in places() {
        let job = Job::new(&format!("disk-{place:?}")).flag(flags::DISK_LIMIT, "2000000");
        let elsewhere = job.directory("elsewhere");
        let job = job.flag(flags::ALSO_COUNT, &elsewhere);
        // The loop has an end, so that a job that nobody ends fails its test.
        let script = format!(
            "trap '' TERM; head -c 5000000 /dev/zero > {elsewhere}/big; for i in $(seq 60); do sleep 1; done"
        );
        let ended = job.shell(place, &script);
        let Outcome::OverDisk { used, limit: 2_000_000 } = ended.outcome() else {
            panic!("{ended:?}")
        };
        assert!(*used >= 5_000_000, "{used}");
        assert_eq!(ended.code(), 137);
    }
}

#[test]
fn a_job_that_ended_before_its_disk_was_looked_at_has_its_own_end() {
    for place in places() {
        let job = Job::new(&format!("disk-late-{place:?}")).flag(flags::DISK_LIMIT, "100000");
        let ended = job.shell(place, "head -c 300000 /dev/zero > big; exit 6");
        assert_eq!(ended.outcome(), &Outcome::Exited(6));
        assert!(ended.record.usage.scratch > 100_000);
    }
}
