//! `spec.hold`, its edges, and the mending of jobs that a fault holds.

use crate::{play::Play, stage::Fault};
use duj_protocol::Outcome;
use serde_json::json;

#[test]
fn a_running_job_is_held_at_once_and_logged_when_it_has_stopped() {
    let mut play = Play::running();
    play.edit(json!({ "hold": true }));
    let deeds = play.scene("spec.hold is set");
    play.is("Held 1/0 stopping", "Stopping", "0 1");
    assert_eq!(deeds, ["Status", "DeletePod 0-0"]);
    play.wait(3);
    play.pod().stop();
    let deeds = play.scene("the starter stopped the job");
    assert!(deeds.contains(&"ReleasePod 0-0".into()));
    play.is("Held 1/0", "Held", "0 1 4 12");
    play.edit(json!({ "hold": false }));
    let deeds = play.scene("released");
    assert!(deeds.contains(&"CreatePod 0-1".into()));
    play.is("Idle", "Submitted", "0 1 4 12 13");
    play.is_remembered("held while running, released");
    let record = play.record();
    assert_eq!((record.attempt, record.num_holds, record.num_job_starts), (1, 1, 1));
}

#[test]
fn a_release_waits_for_the_pod_to_stop() {
    let mut play = Play::running();
    play.edit(json!({ "hold": true }));
    play.scene("held");
    play.edit(json!({ "hold": false }));
    assert_eq!(
        play.scene("released while the pod is stopping"),
        ["Status"],
        "the generation is seen, and that is all"
    );
    play.is("Held 1/0 stopping", "Stopping", "0 1");
    play.pod().stop();
    play.scene("stopped");
    play.is("Idle", "Submitted", "0 1 4 12 13");
}

#[test]
fn a_release_that_is_taken_back_never_was() {
    let mut play = Play::running();
    play.edit(json!({ "hold": true }));
    play.scene("held");
    play.edit(json!({ "hold": false }));
    play.scene("released");
    play.edit(json!({ "hold": true }));
    play.scene("held again");
    play.pod().stop();
    play.scene("stopped");
    play.is("Held 1/0", "Held", "0 1 4 12");
}

#[test]
fn an_idle_job_with_an_unbound_pod() {
    let mut play = Play::of_a_plain_job();
    play.scene("submitted");
    play.edit(json!({ "hold": true }));
    play.scene("held");
    // Its pod has no node: it is over as soon as it is deleted, and was never an attempt that could be evicted.
    play.is("Held 1/0", "Held", "0 12");
    assert!(play.server.pods.is_empty());
}

#[test]
fn an_idle_job_with_a_bound_pod() {
    let mut play = Play::of_a_plain_job();
    play.scene("submitted");
    play.pod().bind();
    play.edit(json!({ "hold": true }));
    play.scene("held");
    play.is("Held 1/0 stopping", "Stopping", "0");
    play.pod().end_unstarted();
    play.scene("its kubelet gave it up");
    play.is("Held 1/0", "Held", "0 4 12");
}

#[test]
fn an_idle_job_whose_pods_creation_was_never_answered() {
    let mut play = Play::of_a_plain_job();
    play.scene("submitted");
    play.pod().delete(); // unbound: it is over, and attempt 1 follows
    play.decide();
    play.operator.look(&play.server);
    // The operator does not see the pod of attempt 1, which is there.
    let unseen: Vec<String> = play.server.pods.keys().cloned().collect();
    play.edit(json!({ "hold": true }));
    play.operator.look(&play.server);
    for name in &unseen {
        play.operator.pods.remove(name);
    }
    let now = play.now;
    play.operator.reconcile(&mut play.server, now, &mut || Fault::None).unwrap();
    let attempt = play.record().attempt;
    play.scene("now it sees the pod");
    assert!(play.server.pods.is_empty(), "a pod of a held job was left behind");
    play.edit(json!({ "hold": false }));
    let deeds = play.scene("released");
    assert!(deeds.contains(&format!("CreatePod 0-{attempt}")), "{deeds:?}");
}

#[test]
fn a_pod_whose_creation_was_never_answered_is_found_before_the_next_one_is_made() {
    let mut play = Play::of_a_plain_job();
    play.operator.look(&play.server);
    let now = play.now;
    let lost = play.operator.reconcile(&mut play.server, now, &mut || Fault::Unanswered);
    assert!(lost.is_err() && play.server.pods.len() == 1);
    // The watch of pods is late: held and released meanwhile.
    for hold in [true, false] {
        play.edit(json!({ "hold": hold }));
        play.operator.job.clone_from(&play.server.job);
        for _ in 0..3 {
            play.wait(1);
            let now = play.now;
            let _ = play.operator.reconcile(&mut play.server, now, &mut || Fault::None);
        }
    }
    assert_eq!(play.server.pods.len(), 1, "{:?}", play.server.pods.keys());
    play.scene("the watch has caught up");
    assert_eq!(play.server.pods.len(), 1);
    assert_eq!(play.record().attempt, 1);
}

#[test]
fn who_ends_of_their_own_accord_before_the_stop_has_ended() {
    let mut play = Play::running();
    play.edit(json!({ "hold": true }));
    play.scene("held");
    play.pod().outcome(Outcome::Exited(0)); // no signal from outside reached it
    play.scene("it had ended by itself");
    play.is("Completed 0", "Completed", "0 1 6 5");
    play.edit(json!({ "hold": false }));
    play.scene("the release finds nothing to release");
    play.is("Completed 0", "Completed", "0 1 6 5");
}

#[test]
fn a_finished_job_is_not_held() {
    let mut play = Play::running();
    play.pod().outcome(Outcome::Exited(0));
    play.scene("over");
    play.edit(json!({ "hold": true }));
    play.scene("held");
    play.is("Completed 0", "Completed", "0 1 6 5");
}

/// A job whose image does not exist.
fn held_for_its_image() -> Play {
    let mut play = Play::of_a_plain_job();
    play.scene("submitted");
    play.pod().bind();
    play.pod().waiting(
        "ErrImagePull",
        "failed to resolve reference \"docker.io/library/busybox:1.35\": not found",
    );
    play.scene("the registry does not know the image");
    play.pod().end_unstarted();
    play.scene("its pod is gone");
    play.is("Held 35/0", "Held", "0 1 21 4 12");
    play
}

#[test]
fn a_mended_job_goes_on_by_itself() {
    let mut play = held_for_its_image();
    play.edit(json!({ "image": "busybox:1.36" }));
    let deeds = play.scene("the image is mended");
    assert!(deeds.contains(&"CreatePod 0-1".into()), "{deeds:?}");
    play.is("Idle", "Submitted", "0 1 21 4 12 13");
    let pod = play.pod().pod().unwrap().clone();
    assert_eq!(pod.spec.unwrap().containers[0].image.as_deref(), Some("busybox:1.36"));
    play.is_remembered("mended image");
}

#[test]
fn a_release_alone_tries_the_same_again() {
    let mut play = held_for_its_image();
    let command = json!({ "verb": "release", "job": "hello" });
    let now = play.now;
    play.server.command(command, now);
    let deeds = play.scene("released");
    assert!(deeds.contains(&"CreatePod 0-1".into()), "{deeds:?}");
}

#[test]
fn a_mended_job_that_its_owner_holds_stays_held() {
    let mut play = held_for_its_image();
    play.edit(json!({ "hold": true }));
    play.scene("the owner holds it too");
    play.is("Held 1/0", "Held", "0 1 21 4 12 12");
    play.edit(json!({ "image": "busybox:1.36" }));
    play.scene("mended");
    play.is("Held 1/0", "Held", "0 1 21 4 12 12");
    play.edit(json!({ "hold": false }));
    play.scene("released");
    play.is("Idle", "Submitted", "0 1 21 4 12 12 13");
}

#[test]
fn mended_and_held_in_one_edit() {
    let mut play = held_for_its_image();
    play.edit(json!({ "image": "busybox:1.36", "hold": true }));
    play.scene("mended and held");
    play.is("Held 1/0", "Held", "0 1 21 4 12 12");
    play.edit(json!({ "hold": false }));
    play.scene("released");
    play.is("Idle", "Submitted", "0 1 21 4 12 12 13");
}

#[test]
fn what_the_user_holds_is_not_released_by_an_edit() {
    let mut play = Play::of(json!({ "hold": true }));
    play.scene("submitted on hold");
    play.edit(json!({ "image": "busybox:1.36" }));
    play.scene("another image");
    play.is("Held 15/0", "Held", "0 12");
}

#[test]
fn a_mended_job_waits_for_its_stopping_pod() {
    let mut play = Play::of_a_plain_job();
    play.scene("submitted");
    play.pod().bind();
    play.pod().waiting("InvalidImageName", "couldn't parse image name");
    play.scene("held, and its pod is stopping");
    play.is("Held 35/0 stopping", "Stopping", "0");
    play.edit(json!({ "image": "busybox:1.36" }));
    play.scene("mended already");
    play.is("Held 35/0 stopping", "Stopping", "0");
    play.pod().end_unstarted();
    play.scene("its pod is gone");
    play.is("Idle", "Submitted", "0 1 21 4 12 13");
}
