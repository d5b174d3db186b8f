//! Why a job does not run yet, what is said about it, and what is borne for how long.

use crate::{
    play::Play,
    stage::{self, End},
};
use duj_core::observed::RefusalKind;

/// A pod that has a node and whose container waits.
fn waiting(reason: &str, message: &str) -> Play {
    let mut play = Play::of_a_plain_job();
    play.scene("submitted");
    play.pod().bind();
    play.scene("bound");
    play.wait(40);
    play.pod().waiting(reason, message);
    play.scene(&format!("{reason}: {message}"));
    play
}

#[test]
fn images_that_can_never_be_had_hold_at_once() {
    for (reason, message) in [
        (
            "ErrImagePull",
            "failed to resolve reference \"docker.io/library/busybox:1.35\": docker.io/library/busybox:1.35: not found",
        ),
        (
            "ErrImagePull",
            "pull access denied, repository does not exist or may require authorization",
        ),
        (
            "ImagePullBackOff",
            "Back-off pulling image \"busybox:1.35\": ErrImagePull: manifest unknown",
        ),
        (
            "ErrImageNeverPull",
            "Container image \"busybox:1.35\" is not present with pull policy of Never",
        ),
        (
            "InvalidImageName",
            "Failed to apply default image tag \"busybox:1.35\": couldn't parse image name",
        ),
    ] {
        let mut play = waiting(reason, message);
        play.is("Held 35/0 stopping", "Stopping", "0");
        assert!(play.hold().reason.contains(message), "{}", play.hold().reason);
        play.pod().end_unstarted();
        play.scene("its pod is gone");
        play.is("Held 35/0", "Held", "0 1 21 4 12");
    }
}

#[test]
fn an_image_that_does_not_exist() {
    let mut play =
        waiting("ErrImagePull", "failed to resolve reference \"busybox:1.35\": not found");
    play.pod().end_unstarted();
    play.scene("its pod is gone");
    play.is_remembered("image not found");
}

#[test]
fn a_registry_in_trouble_is_borne_for_a_while() {
    let mut play = waiting("ErrImagePull", "dial tcp 10.0.0.1:443: connect: connection refused");
    play.is("Idle", "PullingImage", "0");
    play.wait(60);
    play.pod().waiting("ImagePullBackOff", "Back-off pulling image \"busybox:1.35\"");
    play.scene("a minute later");
    play.is("Idle", "PullingImage", "0");
    let due = play.decision().wake.expect("patience has an end");
    assert!(play.scene("nothing new").is_empty());
    play.now = due;
    play.scene("patience is over");
    play.is("Held 35/0 stopping", "Stopping", "0");
    play.is_remembered("image patience");
}

#[test]
fn a_registry_that_recovers_in_time_is_forgiven() {
    let mut play = waiting("ErrImagePull", "unexpected status: 503 Service Unavailable");
    play.wait(100);
    play.pod().run();
    play.scene("the image came");
    play.is("Running", "Running", "0 1");
    play.wait(1000);
    assert!(play.scene("much later").is_empty());
}

#[test]
fn a_number_in_an_images_name_is_no_answer_of_a_registry() {
    let mut play = Play::of(serde_json::json!({ "image": "registry:4290/tool@sha256:429" }));
    play.scene("submitted");
    play.pod().bind();
    play.pod().waiting(
        "ErrImagePull",
        "failed to resolve reference \"registry:4290/tool@sha256:429\": not found",
    );
    play.scene("not found");
    play.is("Held 35/0 stopping", "Stopping", "0");
}

#[test]
fn our_own_image_never_holds_a_job() {
    for (reason, message) in [
        (
            "ErrImagePull",
            "failed to pull and unpack image \"registry.example/docker-universe:0\": not found",
        ),
        ("ImagePullBackOff", "Back-off pulling image \"registry.example/docker-universe:0\""),
        ("ErrImagePull", "volume \"docker-universe-starter\": pull access denied"),
    ] {
        let mut play = waiting(reason, message);
        play.is("Idle", "StarterImageUnavailable", "0");
        play.wait(100_000);
        assert!(play.scene("a day later").is_empty());
        play.is("Idle", "StarterImageUnavailable", "0");
    }
}

#[test]
fn a_pod_with_an_image_of_ours_that_was_replaced_is_made_again() {
    let mut play =
        waiting("ErrImagePull", "image \"registry.example/docker-universe:0\": not found");
    play.is("Idle", "StarterImageUnavailable", "0");
    play.operator.settings.image = "registry.example/docker-universe:1".into();
    play.scene("the installation was mended");
    play.is("Idle", "Stopping", "0 4");
    play.pod().end_unstarted();
    play.scene("the old pod is gone");
    assert_eq!((play.record().attempt, play.record().num_holds), (1, 0));
}

#[test]
fn our_own_image_is_told_from_a_users_image_of_a_similar_name() {
    let mut play = Play::of(serde_json::json!({ "image": "registry.example/docker" }));
    play.scene("submitted");
    play.pod().bind();
    play.pod().waiting(
        "ErrImagePull",
        "failed to pull image \"registry.example/docker-universe:0\": not found",
    );
    play.scene("our image is not there");
    play.is("Idle", "StarterImageUnavailable", "0");
}

#[test]
fn configuration_that_is_missing_may_come_with_the_next_file() {
    let mut play = waiting("CreateContainerConfigError", "secret \"db-password\" not found");
    play.is("Idle", "WaitingForConfiguration", "0");
    play.now = play.decision().wake.expect("patience has an end");
    play.scene("it did not come");
    play.is("Held 6/0 stopping", "Stopping", "0");
    assert!(play.hold().reason.contains("secret \"db-password\" not found"));
    play.pod().end_unstarted();
    play.scene("its pod is gone");
    play.is("Held 6/0", "Held", "0 21 4 12");
    play.is_remembered("missing secret");
}

#[test]
fn configuration_that_comes_in_time() {
    let mut play = waiting("CreateContainerConfigError", "configmap \"settings\" not found");
    play.wait(5);
    play.pod().run();
    play.scene("somebody applied it");
    play.is("Running", "Running", "0 1");
}

#[test]
fn a_container_that_cannot_be_made_is_borne_from_then_on() {
    // The minutes before, in which the image was pulled, do not count.
    let mut play = Play::of_a_plain_job();
    play.scene("submitted");
    play.pod().bind();
    play.scene("bound");
    play.wait(600);
    play.pod().waiting("CreateContainerError", "context deadline exceeded");
    play.scene("a busy runtime");
    play.is("Idle", "WaitingForConfiguration", "0");
    play.wait(10);
    play.pod().run();
    play.scene("it runs");
    play.is("Running", "Running", "0 1");
}

#[test]
fn the_schedulers_words() {
    let mut play = Play::of_a_plain_job();
    play.scene("submitted");
    play.is("Idle", "WaitingForScheduler", "0");
    play.pod().unschedulable("0/3 nodes are available: 3 Insufficient cpu.");
    play.scene("no node fits");
    play.is("Idle", "Unschedulable", "0");
    assert!(play.status().because.unwrap().message.contains("3 Insufficient cpu"));
    play.wait(1_000_000);
    assert!(play.scene("it waits as long as it takes").is_empty());
}

#[test]
fn the_runtime_cannot_start_the_container_for_a_mount_of_the_user() {
    let mut play = waiting("ContainerCreating", "");
    let message = "failed to create containerd task: error mounting \"/pods/x\" to rootfs at \"/data/file\": not a directory".to_owned();
    play.pod().end(&End { code: 128, reason: "StartError", message, started: false });
    play.scene("StartError");
    play.is("Held 6/0", "Held", "0 1 21 4 12");
    assert!(
        play.hold().reason.contains("Error running docker job: failed to create containerd task")
    );
    play.is_remembered("start error");
}

#[test]
fn the_runtime_cannot_start_the_starter() {
    let mut play = waiting("ContainerCreating", "");
    let fail = |play: &mut Play| {
        let message = "exec: \"/.docker-universe/starter\": stat /.docker-universe/starter: no such file or directory".to_owned();
        play.pod().end(&End { code: 128, reason: "StartError", message, started: false });
    };
    fail(&mut play);
    let deeds = play.scene("StartError about the starter");
    assert!(deeds.contains(&"CreatePod 0-1 with init container".into()), "{deeds:?}");
    play.is("Idle", "WaitingForScheduler", "0 7 4");
    let record = play.record();
    assert_eq!(
        (record.num_job_starts, record.unstarted),
        (0, 1),
        "it did not begin, so the next one waits"
    );
    play.is_remembered("starter failed");
    play.pod().bind();
    fail(&mut play);
    play.scene("and again");
    assert_eq!(play.record().unstarted, 2);
    assert_eq!(stage::in_short(&play.record()), "Idle", "our own failing never holds");
}

#[test]
fn the_starter_cannot_be_mounted() {
    let mut play = waiting(
        "CreateContainerError",
        "mount docker-universe-starter: image volumes are not supported",
    );
    play.is("Idle", "Stopping", "0 4");
    play.pod().end_unstarted();
    let deeds = play.scene("its pod is gone");
    assert!(deeds.contains(&"CreatePod 0-1 with init container".into()), "{deeds:?}");
}

#[test]
fn the_init_container_fails_or_has_no_image() {
    let mut play = waiting("PodInitializing", "");
    play.pod().prepare_waiting(
        "ImagePullBackOff",
        "Back-off pulling image \"registry.example/docker-universe:0\"",
    );
    play.scene("no image for the init container");
    play.is("Idle", "StarterImageUnavailable", "0");
    play.pod().prepare_fails(1, "cannot write '/.docker-universe/starter': disk is full");
    play.scene("it failed");
    play.is("Idle", "WaitingForScheduler", "0 7 4");
}

/// A job whose pod the API server refuses.
fn refused(kind: RefusalKind, message: &str) -> Play {
    let mut play = Play::of_a_plain_job();
    play.server.refuses = Some((kind, message.into()));
    // A pass ends with the refusal; the next one knows of it.
    for _ in 0..2 {
        play.decide();
    }
    play
}

#[test]
fn a_quota_is_waited_for() {
    let mut play = refused(
        RefusalKind::Quota,
        "exceeded quota: team, requested: pods=1, used: pods=4, limited: pods=4",
    );
    play.scene("the quota is used up");
    play.is("Idle", "QuotaExceeded", "0");
    play.server.refuses = None;
    play.now = play.decision().wake.expect("it tries again");
    let deeds = play.scene("another job has ended");
    assert!(deeds.contains(&"CreatePod 0-0".into()), "{deeds:?}");
    play.is("Idle", "WaitingForScheduler", "0");
}

#[test]
fn pod_security_holds_until_job_or_namespace_change() {
    let mut play = refused(
        RefusalKind::Permanent,
        "violates PodSecurity \"restricted:latest\": restricted volume types",
    );
    play.scene("Pod Security refuses the pod");
    play.is("Held 6/0", "Held", "0 12");
    assert!(play.hold().reason.contains("violates PodSecurity"));
    play.server.refuses = None;
    play.edit(serde_json::json!({ "requestCpus": "2" }));
    let deeds = play.scene("mended");
    play.is("Idle", "Submitted", "0 12 13");
    assert!(deeds.contains(&"CreatePod 0-1".into()), "{deeds:?}");
    play.is_remembered("pod security");
}

#[test]
fn a_server_without_image_volumes_gets_an_init_container() {
    let mut play = Play::of_a_plain_job();
    play.server.refuses = Some((
        RefusalKind::Permanent,
        "spec.volumes[1]: Required value: must specify a volume type".into(),
    ));
    play.decide();
    play.server.refuses = None;
    let deeds = play.scene("it takes the other kind");
    assert!(deeds.iter().any(|deed| deed.ends_with("with init container")), "{deeds:?}");
    play.is("Idle", "Submitted", "0");
}

#[test]
fn a_namespace_that_is_terminating_ends_quietly() {
    let mut play =
        refused(RefusalKind::NamespaceTerminating, "namespace physics is being terminated");
    play.scene("the namespace is being deleted");
    play.is("Idle", "NamespaceTerminating", "0");
    let now = play.now;
    play.server.delete_job(now);
    play.scene("the job is deleted with it");
    assert!(play.server.pods.is_empty());
}

#[test]
fn a_server_that_is_busy_is_asked_again() {
    let mut play = refused(RefusalKind::Transient, "etcdserver: request timed out");
    play.scene("no answer");
    play.is("Idle", "PodNotCreated", "0");
    assert!(play.decision().wake.is_some());
}
