//! The account of what a job left.

use std::{
    ffi::OsStr,
    fs,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::Path,
};

use duj_protocol::{
    Left, environment, flags,
    transfer::{Brought, Entry, handshake},
};
use nix::sys::signal::Signal;

use crate::{
    handshake::shaking,
    job::{Job, places},
};

#[test]
fn nobody_is_told_who_did_not_ask() {
    for place in places() {
        assert_eq!(Job::new("unasked").shell(place, "echo x > file").record.left, None);
    }
}

/// A script, and what is told: how many files, their bytes, and the names.
type Case<'a> = (&'a str, u64, u64, &'a [&'a str]);

#[test]
fn what_is_at_the_top_is_told() {
    let cases: [Case<'_>; 10] = [
        ("true", 0, 0, &[]),
        ("mkdir d; echo x > d/deep; ln -s /etc/passwd link; mkfifo pipe", 0, 0, &[]),
        ("echo 12345 > b; echo > a; : > .hidden", 3, 7, &[".hidden", "a", "b"]),
        (
            "for i in 1 2 3 4 5 6 7; do echo > f$i; done; exit 3",
            7,
            7,
            &["f1", "f2", "f3", "f4", "f5"],
        ),
        ("echo x > g; kill -9 $$", 1, 2, &["g"]),
        ("echo x > 'größe 日本'; echo x > 'a\\b'", 2, 4, &["a\\\\b", "größe 日本"]),
        ("touch \"$(printf 'a\\nb')\" \"$(printf '\\033[1m')\"", 2, 0, &["\\u{1b}[1m", "a\\u{a}b"]),
        ("touch \"$(printf 'x\\377y')\"", 1, 0, &["x\\xffy"]),
        ("echo x > .update.ad; echo x > .chirp.config; echo x > .docker_stdout", 0, 0, &[]),
        ("head -c 5000 /dev/zero; echo x >&2; echo y > mine", 1, 2, &["mine"]),
    ];
    for place in places() {
        for (script, files, bytes, names) in cases {
            let job = Job::new(&format!("left-{place:?}"))
                .variable(environment::JOB_AD, "A = 1")
                .variable(environment::MACHINE_AD, "B = 1")
                .flag(flags::OUTPUT, "./out")
                .flag(flags::ERROR, "err")
                .switch(flags::TELL_LEFT);
            let left = job.shell(place, script).record.left;
            let names = names.iter().map(|name| (*name).to_owned()).collect();
            let expected = (files > 0).then_some(Left { files, bytes, names });
            assert_eq!(left, expected, "{script}");
        }
    }
}

#[test]
fn long_names_are_cut() {
    for place in places() {
        let job = Job::new(&format!("left-long-{place:?}")).switch(flags::TELL_LEFT);
        let script = "for i in 1 2 3 4 5 6; do : > $i$(printf 'é%.0s' $(seq 100)); done";
        let left = job.shell(place, script).record.left.unwrap();
        assert_eq!(left.files, 6);
        let expected: Vec<_> = (1..=5).map(|i| format!("{i}{}", "é".repeat(31))).collect();
        assert_eq!(left.names, expected);
    }
}

/// As `prepare` writes it.
fn entry(scratch: &Path, name: &[u8], told: &str) -> Entry {
    let metadata = fs::metadata(scratch.join(OsStr::from_bytes(name))).unwrap();
    let modified = metadata.mtime() * 1_000_000_000 + metadata.mtime_nsec();
    Entry { name: told.into(), size: metadata.len(), modified }
}

#[test]
fn what_was_brought_counts_only_where_it_was_changed() {
    for place in places() {
        let (job, directory) = shaking("brought", place);
        let job = job.switch(flags::TELL_LEFT);
        fs::create_dir(&directory).unwrap();
        let names: [(&[u8], &str); 5] = [
            (b"kept", "kept"),
            (b"odd\xff\\", "odd\\xff\\\\"),
            (b"grown", "grown"),
            (b"touched", "touched"),
            (b"gone", "gone"),
        ];
        let entries = names.map(|(name, told)| {
            fs::write(job.scratch().join(OsStr::from_bytes(name)), "brought").unwrap();
            entry(&job.scratch(), name, told)
        });
        let brought = Brought { entries: entries.into() };
        let text = serde_json::to_string(&brought).unwrap();
        fs::write(directory.join(handshake::BROUGHT), text).unwrap();
        let script = "echo more >> grown; touch -d 2001-01-01 touched; rm gone; echo x > new; cat kept > /dev/null";
        let left = job.shell(place, script).record.left;
        let names = ["grown", "new", "touched"].map(str::to_owned).into();
        assert_eq!(left, Some(Left { files: 3, bytes: 12 + 2 + 7, names }));
    }
}

#[test]
fn what_is_elsewhere_counts_with_its_directory() {
    for place in places() {
        let job = Job::new(&format!("left-elsewhere-{place:?}")).switch(flags::TELL_LEFT);
        let elsewhere = job.directory("t");
        let job = job.flag(flags::ALSO_COUNT, &elsewhere);
        let script = format!("echo x > in; echo xy > {elsewhere}/lost; mkdir {elsewhere}/d");
        let left = job.shell(place, &script).record.left.unwrap();
        assert_eq!((left.files, left.bytes, left.names.len()), (2, 5, 2));
        let mut told = format!("{elsewhere}/lost");
        told.truncate(64);
        assert_eq!(left.names, [told, "in".to_owned()]);
    }
}

#[test]
fn a_job_that_was_stopped_has_left_nothing_for_good() {
    for place in places() {
        let job = Job::new(&format!("left-stopped-{place:?}")).switch(flags::TELL_LEFT);
        let script = "trap 'exit 0' TERM; echo x > ready; while :; do sleep 0.05; done";
        let running = job.start(place, &["sh", "-c", script]);
        job.wait_for("ready");
        running.signal(Signal::SIGTERM);
        assert_eq!(running.end().record.left, None);
    }
}
