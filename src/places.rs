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
mod tests;
