//! What people do to jobs: hold, release, remove, delete, mend; by the job itself and by commands.

use crate::{
    kept::Kept,
    world::{World, condition, event_numbers, image, pinned, proc, script},
};
use duj_api::{
    DockerUniverseCommand, DockerUniverseCommandStatus, DockerUniverseJob,
    status::{DockerUniverseJobStatus, ProcStatus},
};
use duj_core::{
    hold,
    userlog::{self, Body},
};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    ResourceExt,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};
use std::time::Duration;

/// The first attempt runs until it is told to end; the next one ends by itself.
pub(crate) const FIRST_STAYS: &str =
    "grep -q 'NumJobStarts = 0' .job.ad && exec sleep 3600; exit 0";
/// Ends when somebody knocks.
pub(crate) const UNTIL_KNOCK: &str = "echo | nc -l -p 7777; exit 0";
/// The same, and does not listen to SIGTERM.
const DEAF_UNTIL_KNOCK: &str = "trap '' TERM; echo | nc -l -p 7777; exit 0";
/// Runs until it is killed: it does not listen to SIGTERM.
const STUBBORN: &str = "trap '' TERM; while true; do sleep 1; done";

fn is_stopping(status: &DockerUniverseJobStatus) -> bool {
    let record = proc(status);
    record.hold.as_ref().is_some_and(|hold| hold.stopping)
        || record.remove.as_ref().is_some_and(|remove| remove.stopping)
}

/// Knocks at the job's latest pod until it has heard.
pub(crate) async fn knock(world: &World, job: &str) {
    knock_at(world, &world.pod(job).await.name_any()).await;
}

/// Knocks at a pod until it has heard: its container has ended.
pub(crate) async fn knock_at(world: &World, pod: &str) {
    let pods = world.api::<Pod>();
    let door = format!("{pod}:7777");
    world
        .until(&format!("pod '{pod}' hears a knock"), || async {
            // What listens there does not speak HTTP, so that there is never a good answer, and perhaps none at all.
            let knock = pods.get_subresource("proxy/", &door);
            let _ = tokio::time::timeout(Duration::from_secs(1), knock).await;
            match pods.get_opt(pod).await {
                Ok(Some(pod)) => !pinned(&pod)["exitCode"].is_null(),
                Ok(None) => true,
                Err(_) => false,
            }
        })
        .await;
}

async fn status(world: &World, job: &str) -> DockerUniverseJobStatus {
    world.job(job).await.status.expect("the job has a status")
}

/// Gives any command, and waits for its answer.
pub(crate) async fn tell(world: &World, name: &str, spec: Value) -> DockerUniverseCommandStatus {
    let kind = json!({
        "apiVersion": "dockeruniverse.io/v1alpha1", "kind": "DockerUniverseCommand",
        "metadata": { "name": name }, "spec": spec,
    });
    world.create::<DockerUniverseCommand>(kind).await;
    let commands = world.api::<DockerUniverseCommand>();
    world
        .until(&format!("command '{name}' is answered"), || async {
            commands.get(name).await.is_ok_and(|command| command.is_answered())
        })
        .await;
    commands.get(name).await.unwrap().status.unwrap()
}

fn accepted(answer: &DockerUniverseCommandStatus) -> bool {
    assert_eq!(answer.accepted + answer.refused, 1, "{answer:?}");
    answer.accepted == 1
}

#[tokio::test]
async fn hold_stops_a_running_job_and_release_runs_it_again() {
    let world = World::new("hold").await;
    world.submit_script("job", FIRST_STAYS).await;
    world.wait_for("job", ProcStatus::Running).await;
    let pod = Kept::of(&world, "job").await;

    world.change("job", json!({ "hold": true })).await;
    let record = world.wait_for("job", ProcStatus::Held).await;
    let reason = record.hold.unwrap();
    assert_eq!((reason.code, reason.subcode), (hold::USER_REQUEST, 0));
    let end = pod.end(&world).await;
    assert_eq!(end.record.unwrap().stopped_by, Some(15));
    assert_eq!((&end.pinned["phase"], &end.pinned["exitCode"]), (&json!("Failed"), &json!(143)));
    let held = status(&world, "job").await;
    assert_eq!(event_numbers(&held), [0, 1, 4, 12]);
    assert_eq!(condition(&held, "Held"), Some("True"));
    assert_eq!(condition(&held, "Stalled"), Some("True"));

    world.change("job", json!({ "hold": false })).await;
    let record = world.wait_for("job", ProcStatus::Completed).await;
    assert_eq!(
        (record.exit_code, record.attempt, record.num_job_starts, record.num_holds),
        (Some(0), 1, 2, 1)
    );
    assert_eq!(event_numbers(&status(&world, "job").await), [0, 1, 4, 12, 13, 1, 6, 5]);
    world.end().await;
}

#[tokio::test]
async fn a_job_is_held_at_once_and_logged_when_its_pod_has_ended() {
    let world = World::new("stopping").await;
    world
        .submit(
            "job",
            json!({ "executable": "sh", "arguments": ["-c", DEAF_UNTIL_KNOCK], "maxVacateTime": 600 }),
        )
        .await;
    world.wait_for("job", ProcStatus::Running).await;
    world.change("job", json!({ "hold": true })).await;
    let held = world.wait("job", "held and stopping", is_stopping).await;
    assert_eq!(proc(&held).status, ProcStatus::Held);
    assert_eq!(held.because.as_ref().unwrap().reason, "Stopping");
    assert_eq!(condition(&held, "Stalled"), None);
    assert_eq!(event_numbers(&held), [0, 1]);
    // The pod has ten minutes. What is asked meanwhile waits for its end: then the job is released.
    world.change("job", json!({ "hold": false })).await;
    knock(&world, "job").await;
    world.wait("job", "released", |status| proc(status).status == ProcStatus::Running).await;
    assert_eq!(event_numbers(&status(&world, "job").await), [0, 1, 4, 12, 13, 1]);
    world.end().await;
}

#[tokio::test]
async fn a_job_that_ignores_its_signal_is_killed_after_its_vacate_time() {
    let world = World::new("stubborn").await;
    world
        .submit(
            "job",
            json!({ "executable": "sh", "arguments": ["-c", STUBBORN], "maxVacateTime": 1 }),
        )
        .await;
    world.wait_for("job", ProcStatus::Running).await;
    let pod = Kept::of(&world, "job").await;
    assert!(accepted(&world.command("hold", "job").await));
    world.wait_for("job", ProcStatus::Held).await;
    let end = pod.end(&world).await;
    assert_eq!(end.record.unwrap().outcome, Some(duj_protocol::Outcome::Signalled(9)));
    assert_eq!(event_numbers(&status(&world, "job").await), [0, 1, 4, 12]);
    world.end().await;
}

#[tokio::test]
async fn a_job_submitted_on_hold_waits_for_its_own_word() {
    let world = World::new("on-hold").await;
    world.submit("job", json!({ "executable": "true", "hold": true })).await;
    let record = world.wait_for("job", ProcStatus::Held).await;
    assert_eq!(record.hold.unwrap().code, hold::SUBMITTED_ON_HOLD);
    assert_eq!(event_numbers(&status(&world, "job").await), [0, 12]);
    assert!(world.pods("job").await.is_empty());

    let answer = world.command("release", "job").await;
    assert!(!accepted(&answer));
    assert_eq!(
        answer.message,
        "the job is held by its own spec.hold: set it to false to release it"
    );
    world.change("job", json!({ "hold": false })).await;
    world.wait_for("job", ProcStatus::Completed).await;
    assert_eq!(event_numbers(&status(&world, "job").await), [0, 12, 13, 1, 6, 5]);
    world.end().await;
}

#[tokio::test]
async fn commands_hold_release_and_remove() {
    let world = World::new("commands").await;
    world.submit_script("job", FIRST_STAYS).await;
    world.wait_for("job", ProcStatus::Running).await;
    let answer = tell(
        &world,
        "h",
        json!({ "verb": "hold", "job": "job", "reason": "wait for Ann", "subcode": 7 }),
    )
    .await;
    assert!(accepted(&answer));
    let hold = world.wait_for("job", ProcStatus::Held).await.hold.unwrap();
    assert_eq!(
        (hold.code, hold.subcode, hold.reason.as_str()),
        (hold::USER_REQUEST, 7, "wait for Ann")
    );
    assert!(accepted(&world.command("release", "job").await));
    world.wait_for("job", ProcStatus::Completed).await;
    assert_eq!(event_numbers(&status(&world, "job").await), [0, 1, 4, 12, 13, 1, 6, 5]);

    world.submit_script("running", "sleep 3600").await;
    world.submit("held", json!({ "executable": "true", "hold": true })).await;
    let nowhere = json!({ "nodeSelector": { "docker-universe.test/there": "no" } });
    world.submit("idle", json!({ "executable": "true", "scheduling": nowhere })).await;
    world.wait_for("running", ProcStatus::Running).await;
    world.wait_for("held", ProcStatus::Held).await;
    world.wait_because("idle", "Unschedulable").await;
    for (job, numbers) in [("running", &[0, 1, 4, 9][..]), ("held", &[0, 12, 9]), ("idle", &[0, 9])]
    {
        let answer = world.command("remove", job).await;
        assert!(answer.message.ends_with(" marked for removal"), "{answer:?}");
        let record = world.wait_for(job, ProcStatus::Removed).await;
        assert_eq!(record.remove.unwrap().reason, "via condor_rm");
        let removed = world.wait(job, "finished", |status| status.completion_time.is_some()).await;
        assert_eq!(event_numbers(&removed), numbers, "{job}");
        assert_eq!(condition(&removed, "Failed"), Some("True"));
        world.until("its pods are gone", || async { world.pods(job).await.is_empty() }).await;
    }
    world.end().await;
}

#[tokio::test]
async fn removal_is_seen_at_once_and_logged_when_the_pod_has_ended() {
    let world = World::new("removing").await;
    world
        .submit(
            "job",
            json!({ "executable": "sh", "arguments": ["-c", DEAF_UNTIL_KNOCK], "maxVacateTime": 600 }),
        )
        .await;
    world.wait_for("job", ProcStatus::Running).await;
    assert!(accepted(&world.command("remove", "job").await));
    let removing = world.wait("job", "being removed", is_stopping).await;
    assert_eq!(proc(&removing).status, ProcStatus::Removed);
    assert_eq!(removing.completion_time, None);
    assert_eq!(event_numbers(&removing), [0, 1]);
    let answer = world.command("remove", "job").await;
    assert!(
        !accepted(&answer) && answer.message.ends_with(" already marked for removal"),
        "{answer:?}"
    );
    knock(&world, "job").await;
    let removed = world.wait("job", "removed", |status| status.completion_time.is_some()).await;
    assert_eq!(event_numbers(&removed), [0, 1, 4, 9]);
    world.end().await;
}

#[tokio::test]
async fn commands_are_refused_in_condors_words() {
    let world = World::new("refusals").await;
    world.submit_script("job", "sleep 3600").await;
    world.wait_for("job", ProcStatus::Running).await;
    let cluster = status(&world, "job").await.cluster_id.unwrap();
    let refused = async |verb: &str, words: &str| {
        let answer = world.command(verb, "job").await;
        assert_eq!(
            (accepted(&answer), answer.message),
            (false, format!("Job {cluster}.0 {words}"))
        );
    };
    refused("release", "not held to be released").await;
    assert!(accepted(&world.command("hold", "job").await));
    refused("hold", "already held").await;
    assert!(accepted(&world.command("remove", "job").await));
    refused("remove", "already marked for removal").await;
    refused("hold", "already removed").await;

    let answer = world.command("hold", "nobody").await;
    assert_eq!((accepted(&answer), answer.message.as_str()), (false, "job 'nobody' not found"));
    let answer =
        tell(&world, "beyond", json!({ "verb": "hold", "job": "job", "procs": "0-3" })).await;
    assert_eq!(
        (accepted(&answer), answer.message.as_str()),
        (false, "procs '0-3' not found: the job has procs 0-0")
    );

    let patch = Patch::Merge(json!({ "spec": { "verb": "remove" } }));
    let commands = world.api::<DockerUniverseCommand>();
    let error = commands
        .patch("beyond", &PatchParams::default(), &patch)
        .await
        .expect_err("a command stays as it is");
    assert!(
        error.to_string().contains("a command cannot be changed: create another one"),
        "{error}"
    );
    world.end().await;
}

#[tokio::test]
async fn a_typo_in_the_image_is_mended() {
    let world = World::new("typo").await;
    world.submit("job", json!({ "image": image("busybox:1.35-typo"), "executable": "true" })).await;
    let held = world.wait_for("job", ProcStatus::Held).await.hold.unwrap();
    assert_eq!((held.code, held.subcode), (hold::INVALID_DOCKER_IMAGE, 0));
    assert!(
        held.reason.contains("busybox:1.35-typo") && held.reason.contains("not found"),
        "{}",
        held.reason
    );
    world.change("job", json!({ "image": image("busybox:1.35") })).await;
    world.wait_for("job", ProcStatus::Completed).await;
    let status = status(&world, "job").await;
    assert_eq!(event_numbers(&status), [0, 1, 21, 4, 12, 13, 1, 6, 5]);
    let events =
        userlog::read(&status.user_log.unwrap().text).map(Result::unwrap).collect::<Vec<_>>();
    let Body::Released { reason } = &events[5].body else { panic!("{:?}", events[5]) };
    assert_eq!(reason.as_str(), "the job was mended (generation 2)");
    world.end().await;
}

#[tokio::test]
async fn what_shapes_the_pod_does_not_change_under_a_job_that_is_not_held() {
    let world = World::new("shape").await;
    world.submit_script("running", "sleep 3600").await;
    world.submit("completed", json!({ "executable": "true" })).await;
    world.wait_for("running", ProcStatus::Running).await;
    world.wait_for("completed", ProcStatus::Completed).await;
    let jobs = world.api::<DockerUniverseJob>();
    for job in ["running", "completed"] {
        let patch = Patch::Merge(json!({ "spec": { "image": image("busybox:other") } }));
        let error =
            jobs.patch(job, &PatchParams::default(), &patch).await.expect_err("it stays as it is");
        let words = "what shapes the pod can change only while every proc that is left is held: set spec.hold to true first";
        assert!(error.to_string().contains(words), "{error}");
        world.change(job, json!({ "batchName": "night", "ttlSecondsAfterFinished": 3600 })).await;
    }
    world.end().await;
}

#[tokio::test]
async fn the_last_of_many_words_counts() {
    let world = World::new("storm").await;
    // A hold may stop a container in the very moment of its start, when the kernel keeps SIGTERM from PID 1; only the end
    // of the vacate time stops it then.
    world.submit("job", script("exec sleep 3600", json!({ "maxVacateTime": 5 }))).await;
    for round in 1..=30 {
        world.change("job", json!({ "hold": round % 2 == 1 })).await;
    }
    world.wait_for("job", ProcStatus::Running).await;
    world.change("job", json!({ "hold": true })).await;
    let record = world.wait_for("job", ProcStatus::Held).await;
    assert_eq!(record.hold.as_ref().unwrap().code, hold::USER_REQUEST);
    let held = status(&world, "job").await;
    let numbers = event_numbers(&held);
    let count = |number| numbers.iter().filter(|seen| **seen == number).count();
    assert_eq!(count(12), count(13) + 1, "{numbers:?}");
    assert!(count(12) <= 16, "{numbers:?}");
    // One pod an attempt, and the ended ones of stopped attempts go.
    world.until("no pod is left", || async { world.pods("job").await.is_empty() }).await;
    world.end().await;
}
