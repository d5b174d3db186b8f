//! What is left when all is over: pods, jobs, and what does not belong.

use crate::play::Play;
use duj_api::names;
use duj_protocol::Outcome;
use k8s_openapi::api::core::v1::Pod;
use serde_json::json;

#[test]
fn a_job_is_deleted_when_its_time_is_over() {
    let mut play = Play::of(json!({ "ttlSecondsAfterFinished": 60 }));
    play.scene("submitted");
    play.pod().bind();
    play.pod().run();
    play.scene("runs");
    play.pod().outcome(Outcome::Exited(0));
    let deeds = play.scene("over");
    assert!(!deeds.contains(&"DeleteJob".into()));
    play.wait(59);
    assert!(play.scene("not yet").is_empty());
    play.now = play.decision().wake.expect("it wakes to delete the job");
    play.scene("a minute later");
    assert!(play.server.job.is_none() && play.server.pods.is_empty());
}

#[test]
fn a_job_of_no_time_is_deleted_after_its_end_is_committed() {
    let mut play = Play::of(json!({ "ttlSecondsAfterFinished": 0 }));
    play.scene("submitted");
    play.pod().bind();
    play.pod().run();
    play.scene("runs");
    play.pod().outcome(Outcome::Exited(0));
    let first = play.decision();
    assert!(
        first.status.is_some()
            && !first.after.iter().any(|effect| format!("{effect:?}") == "DeleteJob")
    );
    play.scene("over");
    assert!(play.server.job.is_none());
}

#[test]
fn a_job_that_is_being_deleted_only_lets_go() {
    let mut play = Play::running();
    let now = play.now;
    play.server.edit(|job| {
        job.metadata.deletion_timestamp =
            Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(now));
    });
    let decision = play.decision();
    assert!(decision.status.is_none() && decision.before.is_empty());
    assert_eq!(decision.after.len(), 1);
    play.decide();
    assert_eq!(play.operator.deeds, ["ReleasePod 0-0"]);
    play.decide();
    assert!(play.operator.deeds.is_empty());
}

#[test]
fn an_ended_pod_that_a_later_one_replaced_stays_ten_minutes() {
    let mut play = Play::running();
    // Its end by the kubelet alone: nobody deletes it.
    play.pod().fail("Evicted", "The node was low on resource: memory.");
    play.scene("evicted");
    assert_eq!(play.server.pods.len(), 2);
    play.pod().bind();
    play.pod().run();
    play.scene("the next attempt runs");
    let due = play.decision().wake.expect("it wakes to delete the old pod");
    play.now = due;
    let deeds = play.scene("ten minutes later");
    assert_eq!(deeds, ["DeletePod 0-0"]);
    assert_eq!(play.server.pods.len(), 1);
}

#[test]
fn pods_of_completed_and_held_jobs_stay_for_their_logs() {
    for outcome in [Outcome::Exited(1), Outcome::OverDisk { used: 2, limit: 1 }] {
        let mut play = Play::running();
        play.pod().outcome(outcome);
        play.scene("over");
        play.wait(1_000_000);
        assert!(play.scene("days later").is_empty());
        assert_eq!(play.server.pods.len(), 1);
    }
}

#[test]
fn edited_labels_change_nothing() {
    let mut play = Play::running();
    let name = play.pod().name;
    play.server.change_pod(&name, |pod| {
        let labels = pod.metadata.labels.as_mut().unwrap();
        labels.insert(names::LABEL_PROC_ID.into(), "9".into());
        labels.insert(names::LABEL_ATTEMPT.into(), "not a number".into());
    });
    assert!(play.scene("somebody edited the pod's labels").is_empty());
    play.is("Running", "Running", "0 1");
}

#[test]
fn pods_that_are_not_this_jobs_are_not_touched() {
    let mut play = Play::running();
    let own = play.pod().pod().unwrap().clone();
    let foreign = |name: &str, change: &dyn Fn(&mut Pod)| {
        let mut pod = own.clone();
        pod.metadata.name = Some(name.into());
        pod.metadata.uid = Some(format!("pod-0{name}"));
        change(&mut pod);
        (name.to_owned(), pod)
    };
    play.server.pods.extend([
        // A copy with our labels and owner, under a name that this operator would not give.
        foreign("copy", &|_| {}),
        // The pod of a job that had this name before.
        foreign("hello-99999999-0-5", &|pod| {
            pod.metadata.owner_references.as_mut().unwrap()[0].uid = "99999999-1111".into();
        }),
        foreign("hello-0a1b2c3d-0-7", &|pod| pod.metadata.owner_references = None),
    ]);
    assert!(play.scene("foreign pods").is_empty());
    play.operator.look(&play.server);
    let now = play.now;
    let pods = play.operator.observed(now).unwrap().pods;
    assert_eq!(pods.len(), 2, "the copy and the ownerless one are not read as ours");
}

#[test]
fn a_long_message_does_not_make_a_long_status() {
    let mut play = Play::of_a_plain_job();
    play.scene("submitted");
    play.pod().unschedulable(&"many words ".repeat(20_000));
    play.scene("a talkative scheduler");
    let size = serde_json::to_vec(&play.status()).unwrap().len();
    assert!(size < 16 * 1024, "{size} bytes");
}
