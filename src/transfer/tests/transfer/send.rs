//! `transfer send`: what goes out, when, and what happens where it cannot.

use std::{
    fs,
    os::unix::{
        ffi::OsStrExt as _,
        fs::{FileExt as _, MetadataExt as _, PermissionsExt as _},
    },
};

use duj_protocol::{
    Outcome, Record,
    transfer::{Place, Remap, SendPlan, State, When},
};
use rustix::process::Signal;

use crate::{
    program::{Job, Pod, ended, exited, from_text, signal, told, wait},
    server::{Server, answer},
};

/// A pod whose job has written some files.
fn pod() -> Pod {
    let pod = Pod::new();
    assert_eq!(pod.prepare(&pod.prepare_plan(vec![from_text("input", "i")])).code, 0);
    for file in ["out.txt", "err.txt", "result", "d/x", "d/e/y"] {
        pod.write(&format!("scratch/{file}"), file);
    }
    pod
}

fn plan(pod: &Pod) -> SendPlan {
    SendPlan {
        output: Some("out.txt".into()),
        error: Some("err.txt".into()),
        attempt: 3,
        ..pod.send_plan()
    }
}

#[test]
fn how_the_job_ended_says_what_is_sent() {
    let all = ["err.txt", "out.txt", "result"];
    let streams = ["err.txt", "out.txt"];
    let remains = ["err.txt.3", "out.txt.3"];
    let none: [&str; 0] = [];
    let killed = Record { oom_kills: 1, ..ended(Outcome::Signalled(9)) };
    let stopped = Record { stopped_by: Some(15), ..exited(0) };
    let cases: [(When, Option<Record>, &[&str]); 9] = [
        (When::OnExit, Some(exited(0)), &all),
        (When::OnExit, Some(exited(7)), &all),
        (When::OnExit, Some(ended(Outcome::Signalled(11))), &all),
        (When::OnSuccess, Some(exited(0)), &all),
        (When::OnSuccess, Some(exited(7)), &streams),
        (When::OnExit, Some(killed), &remains),
        (When::OnExit, Some(ended(Outcome::OverDisk { used: 2, limit: 1 })), &remains),
        (When::OnExit, None, &remains),
        (When::OnExitOrEvict, Some(stopped), &none),
    ];
    for (when, record, expected) in cases {
        let pod = pod();
        let told = pod.send(&SendPlan { when, ..plan(&pod) }, record.as_ref());
        assert_eq!(told.code, 0, "{told:?}");
        assert_eq!(pod.files("volume/out"), expected, "{when:?} {record:?}");
        assert_eq!((told.last.state, told.last.files), (State::Done, expected.len() as u64));
        assert_eq!(told.states()[0], State::Waiting);
    }
}

#[test]
fn inputs_that_changed_are_sent_and_others_are_not() {
    let pod = pod();
    pod.write("scratch/input", "changed");
    pod.write("scratch/.job.ad", "x");
    let told = pod.send(&plan(&pod), Some(&exited(0)));
    assert_eq!(pod.files("volume/out"), ["err.txt", "input", "out.txt", "result"]);
    assert_eq!((told.last.round, told.last.bytes), (1, 7 + 7 + 7 + 6));
}

#[test]
fn a_list_remaps_and_directories() {
    let pod = pod();
    let place = |path: &str| Remap::Place(pod.volume(path));
    let plan = SendPlan {
        files: Some(vec!["res*".into(), "d/".into(), "d/e".into(), "none*".into()]),
        remaps: vec![
            ("result".into(), Remap::Name("sub/new name".into())),
            ("x".into(), place("else/where.txt")),
            ("out.txt".into(), place("log")),
        ],
        ..plan(&pod)
    };
    let told = pod.send(&plan, Some(&exited(0)));
    assert_eq!(told.code, 0, "{told:?}");
    let expected = ["else/where.txt", "log", "out/e/y", "out/err.txt", "out/sub/new name"];
    assert_eq!(pod.files("volume"), expected);
    assert_eq!(pod.read("volume/out/sub/new name"), "result");
}

#[test]
fn relative_paths_are_kept_where_that_is_asked_for() {
    let pod = pod();
    let files = Some(vec!["d/x".to_owned(), "d/e/".to_owned()]);
    let plan = SendPlan { files, preserve_relative_paths: true, ..pod.send_plan() };
    assert_eq!(pod.send(&plan, Some(&exited(0))).code, 0);
    assert_eq!(pod.files("volume/out"), ["d/e/y", "d/x"]);
}

#[test]
fn a_missing_output_is_named() {
    let pod = pod();
    let plan = SendPlan { files: Some(vec!["result".into(), "model.bin".into()]), ..plan(&pod) };
    let told = pod.send(&plan, Some(&exited(0)));
    let message = format!(
        "Transfer output files failure at the execution point while sending files. Details: reading from file {}: (errno 2) No such file or directory",
        pod.text("scratch/model.bin")
    );
    assert_eq!((told.code, told.failure()), (1, (12, 2, message.as_str())));
    assert_eq!(told.states(), [State::Waiting, State::Active, State::Kept, State::Failed]);
    assert_eq!(pod.files("volume/out"), ["err.txt", "out.txt", "result"], "what is there is sent");
}

#[test]
fn outputs_that_are_too_big_are_not_sent() {
    let pod = pod();
    pod.write("scratch/big", vec![0; 2 << 20]);
    let plan = SendPlan { max_output_bytes: Some(1 << 20), ..plan(&pod) };
    let told = pod.send(&plan, Some(&exited(0)));
    assert_eq!((told.failure().0, told.failure().1), (33, 0));
    assert!(
        told.failure()
            .2
            .contains("big: max total download bytes exceeded (max=1 MB, this file=2 MB)")
    );
    assert_eq!(pod.files("volume"), [""; 0]);
}

#[test]
fn odd_files_arrive_as_they_are() {
    let pod = Pod::new();
    let plan = pod.send_plan();
    pod.write("scratch/empty", "");
    pod.write("scratch/line\nbreak ü", "x");
    fs::write(pod.at("scratch").join(std::ffi::OsStr::from_bytes(b"\xff")), "y").unwrap();
    let sparse = fs::File::create(pod.at("scratch/sparse")).unwrap();
    sparse.set_len(64 << 20).unwrap();
    sparse.write_all_at(b"middle", 32 << 20).unwrap();
    let told = pod.send(&plan, Some(&exited(0)));
    assert_eq!((told.code, told.last.files), (0, 4), "{told:?}");
    let out = pod.at("volume/out");
    assert_eq!(fs::metadata(out.join("empty")).unwrap().len(), 0);
    assert_eq!(fs::read(out.join(std::ffi::OsStr::from_bytes(b"\xff"))).unwrap(), b"y");
    assert_eq!(pod.read("volume/out/line\nbreak ü"), "x");
    let copy = fs::metadata(out.join("sparse")).unwrap();
    assert!(copy.len() == 64 << 20 && copy.blocks() * 512 < 8 << 20, "holes stay holes");
    assert_eq!(fs::read(out.join("sparse")).unwrap()[32 << 20..][..6], *b"middle");
}

#[test]
fn files_go_by_http_with_their_length_and_names_that_fit() {
    let pod = pod();
    let server = Server::start(|_, _| answer(201, ""));
    let url = format!("{}?sig=1", server.url("base/"));
    let plan = SendPlan {
        files: Some(vec!["a b%ü".into(), "empty".into()]),
        destination: Some(Place::Url { url, headers: None, s3: None }),
        ..pod.send_plan()
    };
    pod.write("scratch/a b%ü", vec![7; 700_000]);
    pod.write("scratch/empty", "");
    let told = pod.send(&plan, Some(&exited(0)));
    assert_eq!((told.code, told.last.bytes), (0, 700_000), "{told:?}");
    let mut requests = server.requests();
    requests.sort_by_key(|request| request.body.len());
    let seen: Vec<_> = requests.iter().map(|r| (r.method.as_str(), r.path.as_str())).collect();
    assert_eq!(seen, [("PUT", "/base/empty?sig=1"), ("PUT", "/base/a%20b%25%C3%BC?sig=1")]);
    assert_eq!(requests[1].body, vec![7; 700_000]);
    assert_eq!(requests[0].header("content-length"), Some("0"));
}

#[test]
fn an_upload_is_tried_again_and_follows_redirects() {
    let pod = pod();
    let server = Server::start(|request, before| match (before, request.path.as_str()) {
        (0, _) => answer(503, ""),
        (_, "/result") => answer(307, "").with("location", "/moved"),
        _ => answer(200, ""),
    });
    let url = server.url("");
    let plan = SendPlan {
        files: Some(vec!["result".into()]),
        destination: Some(Place::Url { url, headers: None, s3: None }),
        patience: 60,
        ..pod.send_plan()
    };
    let told = pod.send(&plan, Some(&exited(0)));
    assert_eq!(told.code, 0, "{told:?}");
    let last = server.requests().pop().unwrap();
    assert_eq!((last.path.as_str(), last.body.as_slice()), ("/moved", &b"result"[..]));
    assert!(told.states().contains(&State::Retrying));
}

#[test]
fn outputs_that_cannot_be_sent_are_kept_and_sent_when_asked() {
    let pod = pod();
    let plan = SendPlan { retention: 60, ..plan(&pod) };
    pod.write("control/resend", "1");
    fs::write(pod.at("volume/out"), "in the way").unwrap();
    let job = Job::start(&pod);
    let child = pod.start("send", &plan);
    job.end(Some(&exited(0)));
    pod.wait_for(State::Kept);
    let kept = pod.reports().pop().unwrap();
    assert_eq!((kept.state, kept.round), (State::Kept, 1));
    assert_eq!(kept.failure.unwrap().code, 12);
    assert!(!pod.at("record").exists());

    fs::remove_file(pod.at("volume/out")).unwrap();
    pod.write("control/resend", "2");
    let told = told(&pod, &child.wait_with_output().unwrap());
    assert_eq!((told.code, told.last.state, told.last.round), (0, State::Done, 2));
    assert_eq!((told.last.files, told.last.failure), (3, None));
    assert_eq!(pod.files("volume/out"), ["err.txt", "out.txt", "result"]);
}

#[test]
fn who_keeps_outputs_ends_when_asked() {
    let pod = pod();
    let plan = SendPlan { retention: 600, files: Some(vec!["none".into()]), ..plan(&pod) };
    let job = Job::start(&pod);
    let child = pod.start("send", &plan);
    job.end(Some(&exited(0)));
    pod.wait_for(State::Kept);
    signal(&child, Signal::TERM);
    let told = told(&pod, &child.wait_with_output().unwrap());
    assert_eq!((told.code, told.last.state, told.failure().1), (1, State::Failed, 2));
}

#[test]
fn being_asked_to_end_counts_only_before_the_job_has_started() {
    let pod = pod();
    let child = pod.start("send", &plan(&pod));
    pod.wait_for(State::Waiting);
    signal(&child, Signal::TERM);
    let early = told(&pod, &child.wait_with_output().unwrap());
    assert_eq!((early.code, early.last.state, early.last.files), (0, State::Done, 0));

    let job = Job::start(&pod);
    let plan = SendPlan { checkpoint: Some(pod.volume("c")), ..plan(&pod) };
    let child = pod.start("send", &plan);
    // An answer shows that it is past the start.
    job.checkpoint(1).unwrap();
    signal(&child, Signal::TERM);
    signal(&child, Signal::INT);
    job.checkpoint(2).unwrap();
    job.end(Some(&exited(0)));
    let told = told(&pod, &child.wait_with_output().unwrap());
    assert_eq!((told.code, told.last.files), (0, 3), "{told:?}");
}

#[test]
fn a_volume_that_may_not_be_written_to_says_so() {
    let pod = pod();
    let plan = plan(&pod);
    if rustix::process::geteuid().is_root() {
        // Nothing is forbidden to root but what the kernel has no file for.
        let place = Place::Volume { root: "/proc".into(), path: "x".into(), what: "v".into() };
        let told = pod.send(&SendPlan { destination: Some(place), ..plan }, Some(&exited(0)));
        assert_eq!((told.failure().0, told.failure().1), (12, 2));
    } else {
        fs::set_permissions(pod.at("volume"), fs::Permissions::from_mode(0o500)).unwrap();
        let told = pod.send(&plan, Some(&exited(0)));
        assert_eq!((told.failure().0, told.failure().1), (12, 13));
        wait("nothing", || true);
    }
}
