//! Checkpoints: saved when the starter asks or the job is stopped, restored when they are whole.

use std::fs;

use duj_protocol::{
    Record,
    transfer::{Brought, Place, PreparePlan, SendPlan, State, When},
};

use crate::{
    program::{Job, Pod, exited, from_text, told},
    server::{Server, answer},
};

fn plan(pod: &Pod) -> SendPlan {
    SendPlan { checkpoint: Some(pod.volume("c/job.0")), ..pod.send_plan() }
}

fn stopped() -> Record {
    Record { stopped_by: Some(15), ..exited(143) }
}

#[test]
fn a_job_that_asks_has_its_files_saved_and_only_the_newest_stays() {
    let pod = Pod::new();
    let plan = SendPlan {
        checkpoint_files: Some(vec!["state".into(), "d".into()]),
        files: Some(vec!["result".into()]),
        ..plan(&pod)
    };
    pod.write("scratch/state", "1");
    pod.write("scratch/d/x", "x");
    pod.write("scratch/result", "r");
    // One that was cut off.
    pod.write("volume/c/job.0/4/files/state", "0");
    let job = Job::start(&pod);
    let child = pod.start("send", &plan);
    job.checkpoint(1).unwrap();
    assert_eq!(
        pod.files("volume"),
        ["c/job.0/5/MANIFEST", "c/job.0/5/files/d/x", "c/job.0/5/files/state"]
    );
    pod.write("scratch/state", "22");
    job.checkpoint(2).unwrap();
    assert_eq!(pod.read("volume/c/job.0/6/files/state"), "22");
    assert!(!pod.at("volume/c/job.0/5").exists());
    fs::remove_file(pod.at("scratch/state")).unwrap();
    let words = job.checkpoint(3).unwrap_err();
    assert!(words.contains("state: (errno 2) No such file or directory"), "{words}");
    assert!(pod.at("volume/c/job.0/6/MANIFEST").exists(), "the older one stays");
    job.end(Some(&exited(0)));
    let told = told(&pod, &child.wait_with_output().unwrap());
    assert_eq!((told.code, told.last.checkpoint_count, told.last.checkpoints.len()), (0, 2, 2));
    assert_eq!((told.last.files, told.last.failure), (1, None));
    assert_eq!(pod.files("volume/out"), ["result"]);
}

#[test]
fn a_job_that_is_stopped_goes_on_elsewhere() {
    let first = Pod::new();
    first.write("scratch/run", "#!/bin/sh\n");
    let prepare = |pod: &Pod| PreparePlan {
        restore: Some(first.volume("c/job.0")),
        executable: Some("run".into()),
        ..pod.prepare_plan(vec![from_text("run", "#!/bin/sh\n"), from_text("params", "a")])
    };
    fs::create_dir(first.at("volume")).unwrap();
    assert_eq!(first.prepare(&prepare(&first)).code, 0, "there is none yet");
    first.write("scratch/progress", "50 %");
    first.write("scratch/params", "changed by the job");
    let plan = SendPlan { when: When::OnExitOrEvict, ..plan(&first) };
    let told = first.send(&plan, Some(&stopped()));
    assert_eq!((told.code, told.last.state, told.last.checkpoint_count), (0, State::Done, 1));
    assert_eq!(first.files("volume/out"), [""; 0]);

    let second = Pod::new();
    let told = second.prepare(&prepare(&second));
    assert_eq!(told.code, 0, "{told:?}");
    assert_eq!(second.read("scratch/progress"), "50 %");
    assert_eq!(
        second.read("scratch/params"),
        "changed by the job",
        "an input that is there is left"
    );
    let brought: Brought = serde_json::from_str(&second.read("handshake/brought")).unwrap();
    let names: Vec<_> = brought.entries.iter().map(|entry| entry.name.as_str()).collect();
    assert_eq!(names, ["run"], "what was never sent is no input");
}

#[test]
fn only_a_whole_checkpoint_is_restored() {
    let pod = Pod::new();
    let at = |name: &str| format!("volume/c/{name}");
    let manifest = |size| format!(r#"[{{"path": "state", "size": {size}, "mode": 420}}]"#);
    pod.write(&at("1/files/state"), "old");
    pod.write(&at("1/MANIFEST"), manifest(3));
    pod.write(&at("2/files/state"), "older, whole");
    pod.write(&at("2/MANIFEST"), manifest(12));
    pod.write(&at("3/files/state"), "short");
    pod.write(&at("3/MANIFEST"), manifest(6));
    pod.write(&at("4/MANIFEST"), manifest(6));
    pod.write(&at("5/files/state"), "no manifest");
    pod.write(&at("6/MANIFEST"), "no JSON");
    pod.write(&at("7/MANIFEST"), r#"[{"path": "../state", "size": 1}]"#);
    pod.write(&at("7/state"), "x");
    pod.write(&at("x/MANIFEST"), manifest(6));
    let plan = PreparePlan { restore: Some(pod.volume("c")), ..pod.prepare_plan(vec![]) };
    assert_eq!(pod.prepare(&plan).code, 0);
    assert_eq!(pod.files("scratch"), ["state"]);
    assert_eq!(pod.read("scratch/state"), "older, whole");
}

#[test]
fn a_checkpoint_that_cannot_be_saved_is_a_hold_of_its_own() {
    let pod = Pod::new();
    let server = Server::start(|_, _| answer(200, ""));
    let place = Place::Url { url: server.url("c"), headers: None, s3: None };
    let plan = SendPlan {
        when: When::OnExitOrEvict,
        checkpoint: Some(place),
        retention: 600,
        ..pod.send_plan()
    };
    let told = pod.send(&plan, Some(&stopped()));
    assert_eq!((told.code, told.failure().0), (1, 36), "{told:?}");
    assert!(told.failure().2.starts_with("Starter failed to upload checkpoint: "));
    assert!(!told.states().contains(&State::Kept));
}
