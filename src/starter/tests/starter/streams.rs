//! The files of the command's streams, and how they reach the container's log.

use std::{
    fs,
    io::Read,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    process::{ChildStdout, Command},
};

use duj_protocol::{Outcome, flags};
use nix::sys::signal::Signal;

use crate::job::{Ended, Job, Place, can_be_init, everywhere, places, until};

/// A job whose scratch directory is there already, as where something was brought.
fn prepared(name: &str, place: Place) -> Job {
    let job = Job::new(&format!("{name}-{place:?}"));
    fs::create_dir_all(job.scratch()).unwrap();
    job
}

fn content(job: &Job, name: &str) -> String {
    fs::read_to_string(job.scratch().join(name)).unwrap()
}

/// The number of the error and the words of a command that was not started.
fn refusal(ended: &Ended) -> (i32, &str) {
    let Outcome::NotStarted { errno, message } = ended.outcome() else { panic!("{ended:?}") };
    (*errno, message)
}

#[test]
fn the_input_is_delivered_byte_for_byte() {
    let bytes: Vec<u8> =
        (0..300_000_u32).map(|number| number.wrapping_mul(number).to_le_bytes()[1]).collect();
    for place in places() {
        let job = prepared("input", place).flag(flags::INPUT, "./in/bytes");
        fs::create_dir(job.scratch().join("in")).unwrap();
        fs::write(job.scratch().join("in/bytes"), &bytes).unwrap();
        job.shell(place, "cat > copy; (echo no >&0) 2> /dev/null || : > refused");
        assert_eq!(fs::read(job.scratch().join("copy")).unwrap(), bytes);
        assert_eq!(fs::read(job.scratch().join("in/bytes")).unwrap(), bytes);
        assert!(job.scratch().join("refused").exists(), "the input could be written");
        let absolute = job.file("of-the-image", "absolute", 0o644);
        let job = prepared("absolute", place).flag(flags::INPUT, &absolute);
        assert_eq!(job.run(place, &["cat"]).stdout, "absolute");
        let job = prepared("no-input", place);
        let ended = job.shell(place, "readlink /proc/self/fd/0; wc -c");
        assert_eq!(ended.stdout, "/dev/null\n0\n");
    }
}

#[test]
fn a_file_that_cannot_be_opened_is_told() {
    for place in places() {
        for (name, flag, file, number, part) in [
            (
                "missing",
                flags::INPUT,
                "not\nthere",
                2,
                "'not there' as standard input: No such file",
            ),
            (
                "directory",
                flags::INPUT,
                "dir",
                21,
                "'dir' as standard input: Is a directory (errno 21)",
            ),
            ("up", flags::INPUT, "up", 18, "a link leads out of the scratch directory"),
            ("away", flags::INPUT, "away", 18, "a link leads out"),
            ("out", flags::OUTPUT, "away", 18, "'away' as standard output"),
            ("err", flags::ERROR, "parent/x", 18, "'parent/x' as standard error"),
            ("above", flags::OUTPUT, "parent/new/x", 18, "a link leads out"),
            ("dir", flags::OUTPUT, "dir", 21, "'dir' as standard output"),
            ("file", flags::OUTPUT, "plain/x", 20, "'plain/x' as standard output"),
            ("pipe", flags::OUTPUT, "pipe", 6, "it is not a regular file"),
            ("usage", flags::OUTPUT, "../x", 22, "without '..', not '../x'"),
        ] {
            let job = prepared(&format!("unopened-{name}"), place).flag(flag, file);
            let outside = job.file("outside", "precious", 0o644);
            fs::create_dir(job.scratch().join("dir")).unwrap();
            fs::write(job.scratch().join("plain"), "").unwrap();
            symlink("../../outside", job.scratch().join("up")).unwrap();
            symlink(&outside, job.scratch().join("away")).unwrap();
            symlink("..", job.scratch().join("parent")).unwrap();
            let pipe = job.scratch().join("pipe");
            assert!(Command::new("mkfifo").arg(pipe).status().unwrap().success());
            let ended = job.run(place, &["true"]);
            let (errno, message) = refusal(&ended);
            assert_eq!(errno, number, "{name}: {message}");
            assert!(message.contains(part), "{name}: {message}");
            assert_eq!(fs::read_to_string(outside).unwrap(), "precious");
            assert!(!job.volume.join("new").exists() && !job.volume.join("x").exists(), "{name}");
        }
    }
}

#[test]
fn a_pipe_as_input_keeps_nobody_waiting() {
    for place in places() {
        let job = prepared("pipe", place).flag(flags::INPUT, "pipe");
        let pipe = job.scratch().join("pipe");
        assert!(Command::new("mkfifo").arg(pipe).status().unwrap().success());
        assert_eq!(job.shell(place, "exit 4").outcome(), &Outcome::Exited(4));
    }
}

#[test]
fn both_streams_have_files_of_their_own_and_go_into_the_log() {
    for place in places() {
        let job = prepared("both", place)
            .flag(flags::OUTPUT, "logs/deep/out")
            .flag(flags::ERROR, "./err");
        fs::write(job.scratch().join("err"), "of an earlier attempt\n").unwrap();
        let ended = job.shell(place, "echo one; echo two >&2; printf three");
        assert_eq!((ended.stdout.as_str(), ended.stderr.as_str()), ("one\nthree", "two\n"));
        assert_eq!(content(&job, "logs/deep/out"), "one\nthree");
        assert_eq!(content(&job, "err"), "two\n");
        let mode = fs::metadata(job.scratch().join("err")).unwrap().permissions().mode();
        assert_eq!(mode & 0o111, 0);
        // Only one of them: the other is the starter's own.
        let job = prepared("one", place).flag(flags::ERROR, "err");
        let ended = job.shell(place, "echo one; echo two >&2");
        assert_eq!((ended.stdout.as_str(), ended.stderr.as_str()), ("one\n", "two\n"));
        assert_eq!(content(&job, "err"), "two\n");
    }
}

#[test]
fn one_file_for_both_streams_keeps_their_order() {
    for place in places() {
        for (name, error) in [("same", "all"), ("dotted", "./all"), ("linked", "link")] {
            let job = prepared(name, place).flag(flags::OUTPUT, "all").flag(flags::ERROR, error);
            symlink("all", job.scratch().join("link")).unwrap();
            // Places in a file of its own each would be written over.
            let ended = job.shell(place, "for i in 1 2 3; do echo out $i; echo err $i >&2; done");
            let expected = "out 1\nerr 1\nout 2\nerr 2\nout 3\nerr 3\n";
            assert_eq!(content(&job, "all"), expected, "{name}");
            assert_eq!((ended.stdout.as_str(), ended.stderr.as_str()), (expected, ""), "{name}");
        }
    }
}

/// Reads until so much has come.
fn read(stream: &mut ChildStdout, bytes: usize) -> String {
    let mut buffer = vec![0; bytes];
    stream.read_exact(&mut buffer).unwrap();
    String::from_utf8(buffer).unwrap()
}

#[test]
fn the_log_follows_while_the_command_runs() {
    for place in places() {
        let job = prepared("live", place).flag(flags::OUTPUT, "out");
        // The command waits for a file that is made only when its words have been read.
        let script =
            "for i in 1 2 3; do echo step $i; while ! [ -e go$i ]; do sleep 0.02; done; done";
        let (running, mut stdout) = job.start_unread(place, &["sh", "-c", script]);
        for step in 1..=3 {
            assert_eq!(read(&mut stdout, 7), format!("step {step}\n"));
            fs::write(job.scratch().join(format!("go{step}")), "").unwrap();
        }
        assert_eq!(running.end().outcome(), &Outcome::Exited(0));
        assert_eq!(stdout.read(&mut [0]).unwrap(), 0, "nothing comes twice");
    }
}

#[test]
fn the_last_bytes_of_a_killed_command_are_kept() {
    for place in places() {
        let job = prepared("killed", place).flag(flags::OUTPUT, "out").flag(flags::ERROR, "err");
        let ended = job.shell(
            place,
            "head -c 3000000 /dev/zero | tr '\\0' x; echo bye >&2; printf end; kill -9 $$",
        );
        assert_eq!(ended.outcome(), &Outcome::Signalled(9));
        assert!(ended.stdout.ends_with("xxend") && ended.stdout.len() == 3_000_003);
        assert_eq!(ended.stderr, "bye\n");
    }
}

#[test]
fn what_the_job_does_with_the_file_does_not_confuse() {
    let wait = "while ! [ -e go$n ]; do sleep 0.02; done; n=2";
    for place in places() {
        for (name, action, in_log, in_file) in [
            ("cut", ": > out", "before\nafter\n", Some("after\n")),
            ("deleted", "rm out", "before\nafter\n", None),
            ("replaced", "echo new > x; mv x out", "before\nafter\n", Some("new\n")),
            ("linked", "rm out; ln -s /etc/passwd out", "before\nafter\n", None),
            ("directory", "rm out; mkdir out", "before\nafter\n", None),
        ] {
            let job = prepared(&format!("confusing-{name}"), place).flag(flags::OUTPUT, "out");
            let script = format!("n=1; echo before; {wait}; {action}; echo after");
            let (running, mut stdout) = job.start_unread(place, &["sh", "-c", &script]);
            assert_eq!(read(&mut stdout, 7), "before\n", "{name}");
            fs::write(job.scratch().join("go1"), "").unwrap();
            let ended = running.end();
            let mut rest = String::new();
            stdout.read_to_string(&mut rest).unwrap();
            assert_eq!(format!("before\n{rest}"), in_log, "{name}");
            assert_eq!(ended.outcome(), &Outcome::Exited(0), "{name}");
            if let Some(expected) = in_file {
                assert_eq!(content(&job, "out"), expected, "{name}");
            }
        }
    }
}

#[test]
fn a_log_that_nobody_reads_keeps_no_end_back() {
    everywhere(|place| {
        let job = prepared("unread", place).flag(flags::OUTPUT, "out");
        let script = "head -c 200000000 /dev/zero; exit 3";
        let (running, stdout) = job.start_unread(place, &["sh", "-c", script]);
        until("the outcome", || {
            running.record_now().is_some_and(|record| record.outcome.is_some())
        });
        assert_eq!(running.end().outcome(), &Outcome::Exited(3));
        assert_eq!(fs::metadata(job.scratch().join("out")).unwrap().len(), 200_000_000);
        drop(stdout);
    });
}

#[test]
fn a_log_that_nobody_reads_keeps_no_stop_and_no_limit_back() {
    everywhere(|place| {
        let job = prepared("unread-stop", place).flag(flags::OUTPUT, "out");
        let script = "trap 'exit 17' TERM; head -c 500000 /dev/zero; : > ready; while :; do sleep 0.05; done";
        let (running, stdout) = job.start_unread(place, &["sh", "-c", script]);
        job.wait_for("ready");
        running.signal(Signal::SIGTERM);
        assert_eq!(running.end().outcome(), &Outcome::Exited(17));
        drop(stdout);
        let job = prepared("unread-disk", place)
            .flag(flags::OUTPUT, "out")
            .flag(flags::DISK_LIMIT, "2000000");
        let script = "head -c 5000000 /dev/zero; for i in $(seq 60); do sleep 1; done";
        let (running, stdout) = job.start_unread(place, &["sh", "-c", script]);
        assert!(matches!(running.end().outcome(), Outcome::OverDisk { .. }));
        drop(stdout);
    });
}

#[test]
fn a_log_that_is_closed_ends_nothing() {
    for place in places() {
        let job = prepared("closed", place).flag(flags::OUTPUT, "out");
        let script = "while ! [ -e go ]; do sleep 0.02; done; echo words; sleep 1; exit 5";
        let (running, stdout) = job.start_unread(place, &["sh", "-c", script]);
        drop(stdout);
        fs::write(job.scratch().join("go"), "").unwrap();
        let ended = running.end();
        assert_eq!((ended.outcome(), ended.record.stopped_by), (&Outcome::Exited(5), None));
        assert_eq!(content(&job, "out"), "words\n");
    }
}

#[test]
fn the_log_ends_where_it_would_become_too_long() {
    const MOST: usize = 64 << 20;
    everywhere(|place| {
        let job = prepared("long", place).flag(flags::OUTPUT, "dir/out");
        let ended = job.shell(place, "head -c 70000000 /dev/zero | tr '\\0' x; echo; echo last");
        let (followed, notice) = ended.stdout.split_at(MOST);
        assert!(followed.bytes().all(|byte| byte == b'x'));
        assert_eq!(notice, "\nstarter: the rest is in the file 'dir/out' only\n");
        assert_eq!(fs::metadata(job.scratch().join("dir/out")).unwrap().size(), 70_000_006);
    });
}

#[test]
fn a_streams_file_counts_as_scratch() {
    for place in places() {
        let job =
            prepared("limit", place).flag(flags::ERROR, "err").flag(flags::DISK_LIMIT, "2000000");
        let script = "head -c 5000000 /dev/zero >&2; for i in $(seq 60); do sleep 1; done";
        let ended = job.shell(place, script);
        assert!(matches!(ended.outcome(), Outcome::OverDisk { .. }), "{:?}", ended.record);
        assert_eq!(ended.stderr.len(), 5_000_000);
    }
}

#[test]
fn what_a_daemon_writes_up_to_its_end_is_followed() {
    if !can_be_init() {
        return;
    }
    let job = prepared("daemon", Place::Init).flag(flags::OUTPUT, "out");
    let script = "setsid sh -c 'echo daemon; : > ready; sleep 600' & while ! [ -e ready ]; do sleep 0.02; done; echo main";
    let ended = job.shell(Place::Init, script);
    assert_eq!(ended.stdout, "daemon\nmain\n");
}

#[test]
fn the_command_has_its_three_streams_and_no_other_file() {
    for place in places() {
        let handshake = prepared("descriptors", place).directory("handshake");
        let job = prepared("descriptors", place)
            .flag(flags::INPUT, "in")
            .flag(flags::OUTPUT, "out")
            .flag(flags::ERROR, "out")
            .flag(flags::HANDSHAKE, &handshake);
        fs::write(job.scratch().join("in"), "").unwrap();
        let ended = job
            .run(place, &["sh", "-c", "ls -l /proc/self/fd; grep flags: /proc/self/fdinfo/[01]"]);
        let of = |part: &str| ended.stdout.lines().filter(|line| line.contains(part)).count();
        let places =
            [" 0 -> ", "/work/in", " 1 -> ", " 2 -> ", "/work/out", "handshake", "/record"];
        assert_eq!(places.map(of), [1, 1, 1, 1, 2, 0, 0], "{}", ended.stdout);
        // O_LARGEFILE, and for the output O_APPEND and O_WRONLY too; O_NONBLOCK would be 04000.
        let flags = ["/0:flags:\t0100000", "/1:flags:\t0102001"];
        assert_eq!(flags.map(of), [1, 1], "{}", ended.stdout);
    }
}
