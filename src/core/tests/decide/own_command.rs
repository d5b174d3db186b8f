//! Jobs that run what their image says: who finds that out, and what becomes of it.

use crate::{
    play::Play,
    stage::{in_short, transfers::report},
    transfers::preparing,
};
use duj_protocol::transfer::{ImageCommand, Report, State};
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

fn image_job() -> Value {
    json!({ "executable": null })
}

fn found(play: &Play) -> Report {
    let image = ImageCommand {
        digest: "sha256:1".into(),
        manifest: "sha256:11".into(),
        too_long: false,
        entrypoint: vec!["/entry".into()],
        command: vec!["$(word)".into()],
    };
    Report { image: Some(image), ..report(State::Done, play.now) }
}

fn job_arguments(play: &mut Play) -> Vec<String> {
    let pod = play.pod().pod().unwrap().clone();
    pod.spec.unwrap().containers[0].args.clone().unwrap()
}

#[test]
fn an_images_command_is_found_out_once() {
    let mut play = preparing(image_job());
    let arguments = job_arguments(&mut play).join(" ");
    assert!(arguments.ends_with("--image-command --tell-left --"), "{arguments}");
    let found = found(&play);
    play.pod().prepared(&found);
    play.pod().run();
    play.scene("it runs");
    let image = play.status().image.unwrap();
    assert_eq!((image.name.as_str(), image.digest.as_str()), ("busybox:1.35", "sha256:1"));

    play.pod().disrupt("PreemptionByScheduler", "");
    play.pod().delete();
    play.pod().stop();
    play.scene("preempted");
    let pod = play.pod().pod().unwrap().clone().spec.unwrap();
    assert!(pod.init_containers.is_none());
    assert_eq!(pod.containers[0].image.as_deref(), Some("busybox@sha256:1"));
    let arguments = job_arguments(&mut play).join(" ");
    assert!(arguments.ends_with(" -- /entry $$(word)"), "{arguments}");
}

#[test]
fn the_runtimes_names_of_the_same_image_are_known() {
    for id in [
        "docker.io/library/busybox@sha256:1",
        "docker.io/library/busybox@sha256:11",
        "docker.io/library/another@sha256:2",
        "docker.io/library/notbusybox@sha256:2",
        "sha256:3",
        "",
    ] {
        let mut play = preparing(image_job());
        let found = found(&play);
        play.pod().prepared(&found);
        play.pod().run();
        play.pod().runs_image(id);
        play.scene("it runs");
        assert_eq!(in_short(&play.record()), "Running", "{id}");
    }
}

#[test]
fn an_image_that_changed_meanwhile_voids_the_attempt() {
    let mut play = preparing(image_job());
    let found = found(&play);
    play.pod().prepared(&found);
    play.pod().run();
    play.pod().runs_image("docker.io/library/busybox@sha256:2");
    let deeds = play.scene("another image runs");
    assert!(deeds.contains(&"DeletePod 0-0 within 1 s".to_owned()), "{deeds:?}");
    play.pod().stop();
    play.pod().runs_image("docker.io/library/busybox@sha256:2");
    play.scene("it is stopped");
    assert_eq!((in_short(&play.record()).as_str(), play.record().num_job_starts), ("Idle", 0));
    let pod = play.pod().pod().unwrap().clone().spec.unwrap();
    assert_eq!(pod.containers[0].image.as_deref(), Some("busybox@sha256:1"));
}

#[test]
fn without_its_registry_an_image_runs_by_itself() {
    let unknown = |play: &Play| Report {
        image_unknown: Some("connection refused".into()),
        ..report(State::Failed, play.now)
    };
    let mut play = preparing(json!({ "executable": null, "arguments": ["a", "$HOME"] }));
    let said = unknown(&play);
    play.pod().prepared(&said);
    play.scene("nobody answers");
    assert_eq!((in_short(&play.record()).as_str(), play.record().attempt), ("Idle", 1));
    assert_eq!(play.log(), "0", "nothing of that is the log's business");
    let pod = play.pod().pod().unwrap().clone().spec.unwrap();
    let job = &pod.containers[0];
    assert_eq!((&job.command, job.args.clone()), (&None, Some(vec!["a".into(), "$$HOME".into()])));

    let mut play = preparing(json!({ "executable": null, "output": "out.txt" }));
    let said = unknown(&play);
    play.pod().prepared(&said);
    play.scene("nobody answers");
    assert_eq!(in_short(&play.record()), "Held 6/0");
    assert!(play.hold().reason.contains("output needs it: name the executable"));
}

#[test]
fn one_proc_finds_out_for_all() {
    let mut play = Play::of(json!({ "executable": null, "queue": { "count": 3 } }));
    play.scene("submitted");
    assert_eq!(play.server.pods.len(), 1);
    play.pod().bind();
    let found = found(&play);
    play.pod().prepared(&found);
    play.pod().run();
    let decision = play.decision();
    assert!(decision.after.is_empty(), "not before the answer is committed: {:?}", decision.after);
    play.scene("the first one runs");
    assert_eq!(play.server.pods.len(), 3);
    let asked = |pod: &Pod| pod.spec.as_ref().is_some_and(|spec| spec.init_containers.is_some());
    assert_eq!(play.server.pods.values().filter(|pod| asked(pod)).count(), 1);
}

#[test]
fn procs_whose_images_command_is_too_long_to_tell_each_ask() {
    let mut play = Play::of(json!({ "executable": null, "queue": { "count": 3 } }));
    play.scene("submitted");
    play.pod().bind();
    let image =
        ImageCommand { digest: "sha256:1".into(), too_long: true, ..ImageCommand::default() };
    let found = Report { image: Some(image), ..report(State::Done, play.now) };
    play.pod().prepared(&found);
    play.pod().run();
    play.scene("the first one runs");
    assert_eq!((play.server.pods.len(), play.status().image), (3, None));
}
