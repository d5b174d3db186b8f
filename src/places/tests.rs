//! Who gets a place, and who is woken for one.

use super::*;
use duj_api::names;
use futures::FutureExt;
use k8s_openapi::api::core::v1::Pod;
use serde_json::json;

fn job(namespace: &str, name: &str, procs: u32, priority: i32) -> DockerUniverseJob {
    serde_json::from_value(json!({
        "apiVersion": "dockeruniverse.io/v1alpha1", "kind": "DockerUniverseJob",
        "metadata": { "name": name, "namespace": namespace, "uid": uid(name),
            "creationTimestamp": "2026-03-01T12:00:00Z" },
        "spec": { "image": "busybox", "executable": "sh", "queue": { "count": procs },
            "priority": priority },
    }))
    .unwrap()
}

fn uid(name: &str) -> String {
    format!("{name}-0000")
}

fn pod(job: &DockerUniverseJob, proc: u32, phase: &str) -> Pod {
    let (name, uid) = (job.name_any(), job.uid().unwrap());
    serde_json::from_value(json!({
        "metadata": {
            "name": names::pod_name(&name, &uid, proc, 0), "namespace": job.namespace(),
            "uid": format!("{name}-{proc}"), "resourceVersion": if phase == "Pending" { "1" } else { "2" },
            "labels": { names::LABEL_MANAGED_BY: names::MANAGED_BY },
            "ownerReferences": [{ "apiVersion": "dockeruniverse.io/v1alpha1", "controller": true,
                "kind": "DockerUniverseJob", "name": name, "uid": uid }],
        },
        "status": { "phase": phase },
    }))
    .unwrap()
}

/// Places with these limits, and who is woken.
fn places(running: u32, of_lab: Option<u32>) -> (Places, Arc<Workqueue>) {
    let woken = Arc::<Workqueue>::default();
    let limits = Limits {
        running: Some(running),
        running_in: of_lab.map(|limit| ("lab".to_owned(), limit)).into_iter().collect(),
        ..Limits::default()
    };
    (Places::new(limits, Arc::default(), woken.clone()), woken)
}

/// Lets a job take so many of its places.
fn take(places: &Places, job: &DockerUniverseJob, procs: std::ops::Range<u32>) {
    for proc in procs {
        places.index.insert_pod(&pod(job, proc, "Pending"));
    }
}

fn names(woken: &Workqueue) -> Vec<String> {
    let next = || woken.next().now_or_never();
    std::iter::from_fn(next)
        .map(|key| {
            woken.done(key.clone(), None);
            key.name
        })
        .collect()
}

#[test]
fn no_more_is_granted_than_is_left_whoever_asks_at_the_same_time() {
    let (places, _woken) = places(10, None);
    let (a, b) = (job("physics", "a", 8, 0), job("physics", "b", 8, 0));
    let first = places.ask(&a);
    let second = places.ask(&b);
    assert_eq!((first.room.pods, second.room.pods), (8, 2));
    take(&places, &a, 0..8);
    drop(first);
    drop(second);
    assert_eq!(places.ask(&b).room.pods, 2);
    take(&places, &b, 0..2);
    let full = places.ask(&b);
    let why = "10 pods of all jobs may live at the same time (limits.maxRunning)";
    assert_eq!(full.room, Room { pods: 0, why: why.into() });
}

#[test]
fn a_small_job_behind_a_huge_one_gets_the_next_place() {
    let (places, woken) = places(10, None);
    let (huge, small) = (job("physics", "huge", 1000, 0), job("physics", "small", 1, 0));
    let grant = places.ask(&huge);
    assert_eq!(grant.room.pods, 10);
    take(&places, &huge, 0..10);
    drop(grant);
    assert_eq!(places.ask(&small).room.pods, 0);
    names(&woken);
    places.index.insert_pod(&pod(&huge, 3, "Succeeded"));
    assert_eq!(places.ask(&huge).room.pods, 0, "another one waits that has fewer");
    places.freed();
    assert_eq!(names(&woken).last().map(String::as_str), Some("small"));
    assert_eq!(places.ask(&small).room.pods, 1);
}

#[test]
fn priority_goes_before_fewer_pods_and_a_namespace_with_fewer_before_both() {
    let (places, woken) = places(4, None);
    let huge = job("physics", "huge", 100, 0);
    drop(places.ask(&huge));
    take(&places, &huge, 0..4);
    for (namespace, name, priority) in
        [("physics", "plain", 0), ("physics", "urgent", 5), ("lab", "other", -5)]
    {
        assert_eq!(places.ask(&job(namespace, name, 1, priority)).room.pods, 0);
    }
    let mut order = Vec::new();
    for proc in 0..3 {
        places.index.insert_pod(&pod(&huge, proc, "Succeeded"));
        names(&woken);
        places.freed();
        let next = names(&woken).remove(0);
        let job = job(if next == "other" { "lab" } else { "physics" }, &next, 1, 0);
        take(&places, &job, 0..1);
        places.forget(&uid(&next));
        order.push(next);
    }
    assert_eq!(order, ["other", "urgent", "plain"]);
}

#[test]
fn a_namespace_has_its_own_limit() {
    let (places, _woken) = places(100, Some(3));
    let grant = places.ask(&job("lab", "a", 50, 0));
    assert_eq!(grant.room.pods, 3);
    assert!(grant.room.why.contains("3 pods of namespace 'lab'"), "{}", grant.room.why);
    assert_eq!(places.ask(&job("physics", "b", 50, 0)).room.pods, 50);
}

#[test]
fn what_is_not_taken_is_free_again() {
    let (places, woken) = places(5, None);
    let grant = places.ask(&job("physics", "a", 5, 0));
    let waiting = job("physics", "b", 1, 0);
    assert_eq!(places.ask(&waiting).room.pods, 0);
    names(&woken);
    drop(grant);
    assert_eq!(names(&woken), ["b"]);
    assert_eq!(places.ask(&waiting).room.pods, 1);
}

#[test]
fn who_cannot_take_places_keeps_nobody_from_them_and_is_not_woken_for_them() {
    let (places, woken) = places(10, None);
    let stuck = job("physics", "stuck", 50, 9);
    let grant = places.ask(&stuck);
    assert_eq!(grant.room.pods, 10);
    names(&woken);
    drop(grant); // a quota refused its pods
    assert_eq!(names(&woken), [""; 0], "it would come back at once, for ever");
    assert_eq!(places.ask(&job("physics", "plain", 1, 0)).room.pods, 1);
}

#[test]
fn a_namespace_at_its_own_limit_holds_back_no_other() {
    let (places, woken) = places(100, Some(3));
    let of_lab = job("lab", "a", 3, 0);
    drop(places.ask(&of_lab));
    take(&places, &of_lab, 0..3);
    for number in 0..90 {
        assert_eq!(places.ask(&job("lab", &format!("b{number}"), 1, 0)).room.pods, 0);
    }
    let huge = job("physics", "huge", 500, 0);
    take(&places, &huge, 0..50);
    assert_eq!(places.ask(&huge).room.pods, 47);
    names(&woken);
    places.freed();
    assert_eq!(names(&woken), [""; 0], "nobody waits who could have a place");
}
