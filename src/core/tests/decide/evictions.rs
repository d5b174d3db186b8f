//! What the cluster does to pods: the job goes back to Idle, 004 is written, and the next attempt follows.

use crate::{play::Play, stage::Kubelet};
use duj_core::userlog::Body;
use duj_protocol::Outcome;

/// The code of the last 004.
fn vacate_code(play: &Play) -> i32 {
    let evicted = |body: &Body| match body {
        Body::Evicted(evicted) => Some(evicted.code),
        _ => None,
    };
    play.events().iter().rev().find_map(|event| evicted(&event.body)).expect("there is a 004")
}

#[test]
fn a_running_pod_that_is_deleted_is_an_eviction() {
    let mut play = Play::running();
    play.pod().delete();
    play.scene("kubectl delete pod");
    play.is("Running", "Running", "0 1");
    assert_eq!(play.server.pods.len(), 1, "a deletionTimestamp is not the end");
    play.wait(4);
    play.pod().stop();
    play.scene("the starter stopped the job");
    play.is("Idle", "WaitingForScheduler", "0 1 4");
    assert_eq!(vacate_code(&play), 1004);
    assert_eq!(play.record().num_vacates, 1);
    assert_eq!(play.record().unstarted, 0);
    play.is_remembered("pod deleted while running");
}

#[test]
fn a_job_that_exits_0_when_it_is_stopped_has_not_ended() {
    let mut play = Play::running();
    play.pod().delete();
    let now = play.now;
    let trapped = duj_protocol::Record {
        stopped_by: Some(15),
        ..crate::stage::record(now, now, Outcome::Exited(0))
    };
    play.pod().end_with(0, "Completed", &trapped);
    play.scene("it traps SIGTERM");
    play.is("Idle", "WaitingForScheduler", "0 1 4");
}

#[test]
fn a_job_that_ended_before_the_deletion_reached_it_has_ended() {
    let mut play = Play::running();
    play.pod().delete();
    play.pod().outcome(Outcome::Exited(0));
    play.scene("deleted in its last moment");
    play.is("Completed 0", "Completed", "0 1 6 5");
}

#[test]
fn an_unbound_pod_that_is_deleted_is_over_at_once() {
    let mut play = Play::of_a_plain_job();
    play.scene("submitted");
    play.pod().delete();
    let deeds = play.scene("deleted while pending");
    play.is("Idle", "WaitingForScheduler", "0 4");
    assert_eq!(vacate_code(&play), 1004);
    assert!(deeds.contains(&"CreatePod 0-1".into()));
}

#[test]
fn a_bound_pod_that_is_deleted_is_over_when_its_kubelet_says_so() {
    let mut play = Play::of_a_plain_job();
    play.scene("submitted");
    play.pod().bind();
    play.scene("bound");
    play.pod().delete();
    play.scene("deleted while its containers are made");
    play.is("Idle", "Stopping", "0");
    play.pod().end_unstarted();
    play.scene("its kubelet gave it up");
    play.is("Idle", "WaitingForScheduler", "0 4");
    assert_eq!((play.record().num_job_starts, play.record().unstarted), (0, 1));
}

#[test]
fn by_the_condition_disruption_target() {
    for (reason, code) in [
        ("PreemptionByScheduler", 1018),
        ("EvictionByEvictionAPI", 1014),
        ("DeletionByTaintManager", 1014),
        ("DeletionByPodGC", 1008),
        ("TerminationByKubelet", 1013),
    ] {
        let mut play = Play::running();
        play.pod().disrupt(reason, "words of the one who does it");
        play.pod().delete();
        play.pod().stop();
        play.scene(reason);
        play.is("Idle", "WaitingForScheduler", "0 1 4");
        assert_eq!(vacate_code(&play), code, "{reason}");
    }
}

#[test]
fn by_the_nodes_need() {
    let mut play = Play::running();
    play.pod().disrupt("TerminationByKubelet", "The node was low on resource: memory.");
    play.pod().fail("Evicted", "The node was low on resource: memory. ");
    play.scene("the node is short of memory");
    play.is("Idle", "WaitingForScheduler", "0 1 4");
    assert_eq!(vacate_code(&play), 1011);
}

#[test]
fn a_pod_that_its_kubelet_refuses_is_no_failure() {
    for reason in ["OutOfcpu", "OutOfmemory", "UnexpectedAdmissionError", "NodeAffinity"] {
        let mut play = Play::of_a_plain_job();
        play.scene("submitted");
        play.pod().bind();
        play.pod().fail(reason, "Pod was rejected");
        play.scene(reason);
        play.is("Idle", "WaitingForScheduler", "0 4");
        assert_eq!(vacate_code(&play), 1003, "{reason}");
    }
}

#[test]
fn a_killed_container_without_explanation_is_nobodys_failure() {
    let mut play = Play::running();
    let started = play.now;
    let provisional = duj_protocol::Record {
        outcome: None,
        ended: None,
        ..crate::stage::record(started, started, Outcome::Exited(0))
    };
    play.pod().end_with(137, "Error", &provisional);
    play.scene("killed, and nobody says why");
    play.is("Idle", "WaitingForScheduler", "0 1 4");
    assert_eq!(vacate_code(&play), 1007);
}

#[test]
fn a_node_that_does_not_answer_and_comes_back() {
    let mut play = Play::running();
    play.pod().unreachable();
    play.scene("the node does not answer");
    play.is("Running", "NodeNotAnswering", "0 1 22");
    play.wait(3600);
    assert!(play.scene("an hour later").is_empty());
    play.pod().answers_again();
    play.scene("it answers");
    play.is("Running", "Running", "0 1 22 23");
    play.is_remembered("node comes back");
}

#[test]
fn a_node_that_comes_back_with_the_jobs_end() {
    let mut play = Play::running();
    play.pod().unreachable();
    play.scene("the node does not answer");
    play.pod().outcome(Outcome::Exited(0));
    play.scene("it answers, and the job has ended meanwhile");
    play.is("Completed 0", "Completed", "0 1 22 23 6 5");
}

#[test]
fn a_node_that_does_not_come_back() {
    let mut play = Play::running();
    play.pod().unreachable();
    play.scene("the node does not answer");
    play.pod().disrupt("DeletionByTaintManager", "Taint manager: deleting due to NoExecute taint");
    play.pod().delete();
    play.scene("the taint manager deletes the pod");
    play.is("Running", "NodeNotAnswering", "0 1 22");
    play.pod().collect_garbage();
    play.scene("the node object is gone");
    play.is("Idle", "WaitingForScheduler", "0 1 22 24 4");
    assert_eq!(vacate_code(&play), 1008);
    play.is_remembered("node gone");
}

#[test]
fn a_pod_deleted_by_force_from_a_silent_node_is_over() {
    let mut play = Play::running();
    play.pod().unreachable();
    play.scene("the node does not answer");
    play.pod().delete();
    play.pod().confirm(); // --force --grace-period=0
    play.scene("deleted by force");
    play.is("Idle", "WaitingForScheduler", "0 1 22 24 4");
    assert_eq!(vacate_code(&play), 1008);
}

#[test]
fn a_foreign_container_that_is_not_ready_is_no_silent_node() {
    for reason in ["ContainersNotReady", "ReadinessGatesNotReady"] {
        let mut play = Play::running();
        play.pod().condition(
            "Ready",
            false,
            reason,
            "containers with unready status: [istio-proxy]",
        );
        assert!(play.scene("a mesh's proxy is not ready").is_empty());
        play.is("Running", "Running", "0 1");
    }
}

#[test]
fn attempts_that_do_not_begin_wait_longer_and_longer() {
    let mut play = Play::of_a_plain_job();
    play.scene("submitted");
    for (unstarted, wait) in [(1, 0), (2, 1), (3, 3), (4, 7), (5, 15)] {
        play.pod().bind();
        play.pod().fail("OutOfcpu", "Node didn't have enough resource: cpu");
        play.scene("refused by its kubelet");
        assert_eq!(play.record().unstarted, unstarted);
        if wait > 0 {
            assert_eq!(play.status().because.unwrap().reason, "Evicted", "it waits");
            let due = play.decision().wake.expect("it wakes for the next attempt");
            assert!(due <= play.now + jiff::SignedDuration::from_secs(wait));
            play.now = due;
            let deeds = play.scene("the wait is over");
            assert!(deeds.contains(&format!("CreatePod 0-{unstarted}")), "{deeds:?}");
        }
    }
    play.pod().bind();
    play.pod().run();
    play.scene("it runs at last");
    assert_eq!(play.record().unstarted, 0);
}

#[test]
fn a_running_job_whose_pod_is_gone_without_a_word() {
    let mut play = Play::running();
    play.server.pods.clear(); // somebody took the finalizer off
    play.scene("no pod");
    play.is("Idle", "WaitingForScheduler", "0 1 4");
    assert_eq!(vacate_code(&play), 1007);
}

#[test]
fn a_status_that_went_back_in_time_finds_its_later_pod() {
    let mut play = Play::running();
    let old = play.status();
    play.pod().delete();
    play.pod().stop();
    play.scene("evicted, and tried again");
    let now = play.now;
    let first: Vec<String> =
        play.server.pods.keys().filter(|name| name.ends_with("-0-0")).cloned().collect();
    for name in first {
        Kubelet { server: &mut play.server, name, now }.confirm();
    }
    play.server.edit(|job| job.status = Some(old)); // a backup was restored
    let deeds = play.scene("an older status");
    assert!(!deeds.iter().any(|deed| deed.starts_with("CreatePod")), "{deeds:?}");
    assert_eq!((play.record().attempt, play.server.pods.len()), (1, 1));
}
