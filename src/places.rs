//! Places for pods: how many may live at the same time, and who gets a place that is free.
//!
//! Invariant: never more pods are granted than the limits leave, whoever asks at the same time. A job that got fewer than it
//! wants is woken when a place is free and it is its turn: of a namespace the job of the highest priority, of those the one
//! with the fewest pods, and of the namespaces the one with the fewest.

use crate::{
    index::{Index, JobKey, Live},
    workqueue::{Class, Workqueue},
};
use duj_api::{DockerUniverseJob, status::ProcStatus};
use duj_core::{observed::Room, settings::Limits};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Pods that one job is granted at a time; its next look brings more.
const AT_ONCE: u32 = 100;

/// Who waits for a place.
#[derive(Clone, Debug)]
struct Waiter {
    key: JobKey,
    priority: i32,
    created: Option<Time>,
}

#[derive(Debug, Default)]
struct State {
    /// Places that were granted and may not be taken yet, by job UID.
    granted: HashMap<String, (String, u32)>,
    /// Jobs that want more than they got, by UID.
    waiting: HashMap<String, Waiter>,
}

/// The places of the installation.
#[derive(Debug)]
pub struct Places {
    limits: Limits,
    index: Arc<Index>,
    state: Mutex<State>,
    workqueue: Arc<Workqueue>,
}

/// Places that a job may take until this is dropped.
#[derive(Debug)]
pub struct Grant<'a> {
    places: &'a Places,
    uid: String,
    /// How many of its pods lived when it asked.
    lived: u32,
    /// How many, and why not more.
    pub room: Room,
}

impl Drop for Grant<'_> {
    fn drop(&mut self) {
        let mut state = self.places.state();
        let granted = state.granted.remove(&self.uid).map_or(0, |(_, pods)| pods);
        let taken =
            self.places.index.with_live(|live| live.of(&self.uid)).saturating_sub(self.lived);
        if taken < granted {
            // Whatever keeps it from taking them keeps nobody else from it: it asks again when it looks again.
            state.waiting.remove(&self.uid);
            drop(state);
            self.places.freed();
        }
    }
}

/// Who goes first has the smaller one.
type Rank<'a> = (Reverse<i32>, u32, Option<&'a Time>, &'a str);

impl Waiter {
    fn rank<'a>(&'a self, uid: &'a str, live: &Live) -> Rank<'a> {
        (Reverse(self.priority), live.of(uid), self.created.as_ref(), uid)
    }
}

impl Places {
    /// Places within limits. Who is to look again goes to the workqueue.
    pub fn new(limits: Limits, index: Arc<Index>, workqueue: Arc<Workqueue>) -> Self {
        Self { limits, index, state: Mutex::default(), workqueue }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code panics while it holds this lock in a half-made state.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for places for the procs of a job that have none.
    pub fn ask(&self, job: &DockerUniverseJob) -> Grant<'_> {
        let uid = job.uid().unwrap_or_default();
        let namespace = job.namespace().unwrap_or_default();
        let lived = self.index.with_live(|live| live.of(&uid));
        let wanted = wanted(job).saturating_sub(lived).min(AT_ONCE);
        if wanted == 0 || self.limits.running_in(&namespace) == (None, None) {
            self.state().waiting.remove(&uid);
            // What may end one attempt and begin the next in one look keeps its place.
            return Grant { places: self, uid, lived, room: Room::default() };
        }
        let me = Waiter {
            key: JobKey { namespace: namespace.clone(), name: job.name_any() },
            priority: priority(job),
            created: job.metadata.creation_timestamp.clone(),
        };
        let mut state = self.state();
        let (free, why) = self.index.with_live(|live| {
            let free = self.free(&state, live).min(self.free_in(&state, live, &namespace));
            let ahead = self.ahead(&state, live, &uid, &me);
            (free.saturating_sub(ahead), self.why(&state, live, &namespace))
        });
        let pods = wanted.min(free);
        if pods < wanted {
            state.waiting.insert(uid.clone(), me);
        } else {
            state.waiting.remove(&uid);
        }
        state.granted.insert(uid.clone(), (namespace, pods));
        drop(state);
        Grant { places: self, uid, lived, room: Room { pods, why } }
    }

    /// How many places others have a better claim to: those of the namespace that go first, and as many of other namespaces
    /// with fewer pods as their own limits leave.
    fn ahead(&self, state: &State, live: &Live, uid: &str, me: &Waiter) -> u32 {
        let (rank, share) = (me.rank(uid, live), live.within(&me.key.namespace));
        let mut elsewhere: HashMap<&str, u32> = HashMap::new();
        let mut ahead = 0;
        for (other, waiter) in state.waiting.iter().filter(|(other, _)| *other != uid) {
            let namespace = waiter.key.namespace.as_str();
            if namespace != me.key.namespace {
                *elsewhere.entry(namespace).or_default() += 1;
            } else if waiter.rank(other, live) < rank {
                ahead += 1;
            }
        }
        let fewer = elsewhere.into_iter().filter(|(namespace, _)| live.within(namespace) < share);
        fewer.fold(ahead, |ahead: u32, (namespace, waiting)| {
            ahead.saturating_add(waiting.min(self.free_in(state, live, namespace)))
        })
    }

    /// The job is gone.
    pub fn forget(&self, uid: &str) {
        let waited = self.state().waiting.remove(uid).is_some();
        if waited {
            self.freed();
        }
    }

    /// Only the jobs with these UIDs are there.
    pub fn keep(&self, uids: &HashSet<String>) {
        self.state().waiting.retain(|uid, _| uids.contains(uid));
        self.freed();
    }

    /// A place may be free: wakes those whose turn it is, one for each.
    pub fn freed(&self) {
        let state = self.state();
        if state.waiting.is_empty() {
            return;
        }
        self.index.with_live(|live| {
            let mut free = self.free(&state, live);
            if free == 0 {
                return; // as it is while nothing ends
            }
            // A heap, for of thousands that wait it is mostly one's turn.
            let waiting = state.waiting.iter();
            let mut waiting: BinaryHeap<_> = waiting
                .map(|(uid, waiter)| {
                    let share = live.within(&waiter.key.namespace);
                    Reverse((share, waiter.rank(uid, live), &waiter.key))
                })
                .collect();
            let mut left_in: HashMap<&str, u32> = HashMap::new();
            while free > 0
                && let Some(Reverse((_, _, key))) = waiting.pop()
            {
                let left = left_in
                    .entry(&key.namespace)
                    .or_insert_with(|| self.free_in(&state, live, &key.namespace));
                if *left > 0 {
                    (free, *left) = (free - 1, *left - 1);
                    self.workqueue.add(key.clone(), Class::UnderWay);
                }
            }
        });
    }

    /// How many places are free for pods of any namespace.
    fn free(&self, state: &State, live: &Live) -> u32 {
        let granted: u32 = state.granted.values().map(|(_, pods)| pods).sum();
        left(self.limits.running, live.all(), granted)
    }

    /// How many a namespace's own limit leaves free.
    fn free_in(&self, state: &State, live: &Live, namespace: &str) -> u32 {
        let of_it = state.granted.values().filter(|(of, _)| of == namespace);
        let granted: u32 = of_it.map(|(_, pods)| pods).sum();
        left(self.limits.running_in(namespace).1, live.within(namespace), granted)
    }

    /// Which limit keeps a namespace's jobs from having more.
    fn why(&self, state: &State, live: &Live, namespace: &str) -> String {
        match self.limits.running_in(namespace) {
            (total, Some(limit))
                if total.is_none()
                    || self.free_in(state, live, namespace) < self.free(state, live) =>
            {
                format!(
                    "{limit} pods of namespace '{namespace}' may live at the same time (limits.namespaces)"
                )
            }
            (total, _) => {
                let limit = total.unwrap_or_default();
                format!("{limit} pods of all jobs may live at the same time (limits.maxRunning)")
            }
        }
    }
}

/// What is left of a limit.
fn left(limit: Option<u32>, live: u32, granted: u32) -> u32 {
    limit.map_or(u32::MAX, |limit| limit.saturating_sub(live).saturating_sub(granted))
}

/// How many procs of a job have not come to their end.
fn wanted(job: &DockerUniverseJob) -> u32 {
    let counts = job.status.as_ref().and_then(|status| status.counts);
    counts.map_or_else(
        // The items of a queue are not counted yet.
        || {
            job.spec.queue.as_ref().map_or(1, |queue| match queue.items {
                Some(_) => AT_ONCE,
                None => queue.steps(),
            })
        },
        |counts| {
            let open = counts.total - counts.completed - counts.removed - counts.held;
            u32::try_from(open).unwrap_or_default()
        },
    )
}

/// The highest `JobPrio` of its procs that wait.
fn priority(job: &DockerUniverseJob) -> i32 {
    let groups = job.status.iter().flat_map(|status| &status.procs);
    let idle = groups.filter(|group| group.record.status == ProcStatus::Idle);
    idle.map(|group| group.record.job_prio).max().unwrap_or(job.spec.priority.unwrap_or_default())
}

#[cfg(test)]
mod tests {
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
}
