//! The handshake with the program that transfers, and the image's own command.

use std::{
    fs::{self, File},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    thread,
};

use duj_protocol::{
    Outcome, Record, flags,
    transfer::{ImageCommand, handshake},
};
use nix::sys::signal::Signal;
use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};

use crate::job::{Ended, Job, Place, places, until};

/// A job with a handshake directory, which is not there yet.
pub(crate) fn shaking(name: &str, place: Place) -> (Job, PathBuf) {
    let job = Job::new(&format!("{name}-{place:?}"));
    fs::create_dir_all(job.scratch()).unwrap();
    let directory = job.volume.join(handshake::DIRECTORY);
    let job = job.flag(flags::HANDSHAKE, directory.to_str().unwrap());
    (job, directory)
}

/// The lock, where nobody has it.
fn lock(directory: &Path) -> Option<File> {
    let file = File::open(directory.join(handshake::LOCK)).unwrap();
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Some(file),
        Err(errno) => {
            assert_eq!(errno, Errno::WOULDBLOCK);
            None
        }
    }
}

fn outcome(directory: &Path) -> Option<Record> {
    Record::from_message(&fs::read_to_string(directory.join(handshake::OUTCOME)).ok()?)
}

#[test]
fn the_lock_is_held_while_the_job_runs_and_the_outcome_is_there_before_it_drops() {
    for place in places() {
        let (job, directory) = shaking("handshake", place);
        let script = "while ! [ -e go ]; do sleep 0.02; done; exit 9";
        let running = job.start(place, &["sh", "-c", script]);
        until("the mark of the start", || directory.join(handshake::STARTED).exists());
        assert!(lock(&directory).is_none(), "the lock is free");
        assert_eq!(outcome(&directory), None);
        assert_eq!(fs::metadata(&directory).unwrap().permissions().mode() & 0o777, 0o700);
        // As `transfer` does: whoever gets the lock finds the outcome.
        let waiting = {
            let directory = directory.clone();
            thread::spawn(move || {
                let file = File::open(directory.join(handshake::LOCK)).unwrap();
                flock(&file, FlockOperation::LockExclusive).unwrap();
                outcome(&directory)
            })
        };
        fs::write(job.scratch().join("go"), "").unwrap();
        let seen = waiting.join().unwrap();
        let ended = running.end();
        assert_eq!(ended.outcome(), &Outcome::Exited(9));
        assert_eq!(seen.as_ref(), Some(&ended.record));
    }
}

#[test]
fn the_lock_drops_with_the_starter_however_it_ends() {
    for place in places() {
        let (job, directory) = shaking("lock-killed", place);
        // In a namespace the command ends with the starter. Elsewhere it lives on, and the lock is not its own.
        let running = job.start(place, &["sh", "-c", ": > ready; exec sleep 2"]);
        job.wait_for("ready");
        assert!(lock(&directory).is_none());
        running.signal(Signal::SIGKILL);
        until("the lock", || lock(&directory).is_some());
        assert_eq!(outcome(&directory), None);
        assert!(directory.join(handshake::STARTED).exists());
        assert_eq!(running.end().record.outcome, None);
    }
}

#[test]
fn what_could_not_be_started_has_its_outcome_too() {
    for place in places() {
        let (job, directory) = shaking("not-started", place);
        let ended = job.run(place, &["no-such-program"]);
        assert!(matches!(ended.outcome(), Outcome::NotStarted { errno: 2, .. }));
        assert_eq!(outcome(&directory), Some(ended.record));
        let (job, directory) = shaking("no-input", place);
        let job = job.flag(flags::INPUT, "missing");
        let ended = job.run(place, &["true"]);
        assert!(matches!(ended.outcome(), Outcome::NotStarted { errno: 2, .. }));
        assert_eq!(outcome(&directory), Some(ended.record));
    }
}

#[test]
fn without_the_lock_nothing_is_started() {
    for place in places() {
        let (job, directory) = shaking("taken", place);
        fs::create_dir(&directory).unwrap();
        File::create(directory.join(handshake::LOCK)).unwrap();
        let taken = lock(&directory).unwrap();
        let ended = job.shell(place, ": > ran");
        let Outcome::NotStarted { errno: 11, message } = ended.outcome() else {
            panic!("{ended:?}")
        };
        assert!(message.contains("could not take the lock") && message.contains(".transfer'"));
        assert!(!directory.join(handshake::STARTED).exists());
        assert_eq!(outcome(&directory), None, "the outcome is that of who has the lock");
        assert!(!job.scratch().join("ran").exists());
        drop(taken);
        let (job, directory) = shaking("in-the-way", place);
        fs::write(&directory, "").unwrap();
        let ended = job.run(place, &["true"]);
        assert!(matches!(ended.outcome(), Outcome::NotStarted { errno: 20, .. }), "{ended:?}");
    }
}

/// Starts the image's command: its ENTRYPOINT, its CMD, and what follows `--`.
fn of_image(place: Place, name: &str, image: [&[&str]; 2], words: &[&str]) -> Ended {
    let (job, directory) = shaking(name, place);
    fs::create_dir(&directory).unwrap();
    let list = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    let [entrypoint, command] = image.map(list);
    let image =
        ImageCommand { digest: "sha256:1".into(), entrypoint, command, ..ImageCommand::default() };
    let text = serde_json::to_string(&image).unwrap();
    fs::write(directory.join(handshake::IMAGE_COMMAND), text).unwrap();
    job.switch(flags::IMAGE_COMMAND).run(place, words)
}

#[test]
fn the_image_runs_what_it_would_run_under_docker() {
    let shell: &[&str] = &["sh", "-c", r#"echo "$0" "$@""#, "entry"];
    let echo: &[&str] = &["echo", "two  words", "'*'"];
    for place in places() {
        for (image, words, expected) in [
            ([shell, &[]], &[][..], "entry\n"),
            ([shell, &[]], &["a", "b c"], "entry a b c\n"),
            ([&[], echo], &[], "two  words '*'\n"),
            ([&[], echo], &["echo", "mine"], "mine\n"),
            ([shell, &["cmd", "$HOME"]], &[], "entry cmd $HOME\n"),
            ([shell, &["cmd", "$HOME"]], &["mine"], "entry mine\n"),
            ([&[], &[]], &["echo", "alone"], "alone\n"),
        ] {
            let ended = of_image(place, "image", image, words);
            assert_eq!(ended.stdout, expected, "{image:?} {words:?}: {}", ended.stderr);
            assert_eq!(ended.outcome(), &Outcome::Exited(0));
        }
    }
}

#[test]
fn an_image_that_runs_nothing_is_told() {
    for place in places() {
        let ended = of_image(place, "nothing", [&[], &[]], &[]);
        let message = "the image has neither ENTRYPOINT nor CMD: name an executable".to_owned();
        assert_eq!(ended.outcome(), &Outcome::NotStarted { errno: 2, message });
        let ended = of_image(place, "unknown", [&["no-such-entry"], &["x"]], &[]);
        let Outcome::NotStarted { errno: 2, message } = ended.outcome() else {
            panic!("{ended:?}")
        };
        assert!(message.starts_with("failed to execute 'no-such-entry' with arguments x: "));
        for (content, number) in [(None, 2), (Some("{"), 22)] {
            let (job, directory) = shaking("unreadable", place);
            fs::create_dir(&directory).unwrap();
            if let Some(content) = content {
                fs::write(directory.join(handshake::IMAGE_COMMAND), content).unwrap();
            }
            let ended = job.switch(flags::IMAGE_COMMAND).run(place, &["true"]);
            let Outcome::NotStarted { errno, message } = ended.outcome() else {
                panic!("{ended:?}")
            };
            assert_eq!(*errno, number, "{message}");
            assert!(message.starts_with("could not read the image's command '"), "{message}");
        }
    }
}
