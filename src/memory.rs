//! What the operator remembers between two decisions about a job, beside what is committed.
//!
//! Invariant: all of it can be lost at any moment (a restart) without harm: it saves writes and waiting, never decides.

use crate::{hearing::Told, index::version, record::Allowance, trouble::Heard};
use duj_api::DockerUniverseJob;
use duj_core::{observed::Refusal, queue::Items, spill::Page};
use jiff::Timestamp;
use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// Memory of one job.
#[derive(Clone, Debug, Default)]
pub struct JobMemory {
    /// The pods that an operator before this one made are known.
    pub known: bool,
    /// The job as our last write returned it; the cache may be older.
    pub written: Option<Arc<DockerUniverseJob>>,
    /// The items of its queue: they never change.
    pub items: Option<Arc<Items>>,
    /// The cluster id that a job without one will get.
    pub cluster_id: Option<i64>,
    /// The API server's last refusal to create a pod.
    pub refusal: Option<Refusal>,
    /// Refusals in a row.
    pub refusals: u32,
    /// Pods whose creation was not answered, by their proc: they may be there, or come yet.
    pub unsure: HashMap<u32, Unsure>,
    /// Since when those procs are idle whose pods are being made.
    pub idle_since: HashMap<u32, Timestamp>,
    /// When the policies of all procs are to be evaluated again.
    pub policies_due: Option<Timestamp>,
    /// Pages of records that the job's status names.
    pub pages: HashMap<String, Arc<Page>>,
    /// Since when a change waits to be committed.
    pub uncommitted_since: Option<Timestamp>,
    /// What was heard of pods that are long in being set up, by UID.
    pub troubles: HashMap<String, Heard>,
    /// What was heard of transfers that take long, by their pod's UID.
    pub told: HashMap<String, Told>,
    /// Events that it may still tell.
    pub events: Allowance,
    /// Errors in a row.
    pub errors: u32,
    /// Until then the job is not looked at.
    resting: Option<Instant>,
}

impl JobMemory {
    /// Not to be looked at for this time.
    pub fn rest_for(&mut self, time: Duration) {
        self.resting = Instant::now().checked_add(time);
    }

    /// How long it still rests.
    pub fn rest(&mut self) -> Option<Duration> {
        let left = self.resting?.saturating_duration_since(Instant::now());
        self.resting = self.resting.filter(|_| !left.is_zero());
        (!left.is_zero()).then_some(left)
    }
}

/// A pod whose creation was not answered.
#[derive(Clone, Debug)]
pub struct Unsure {
    /// Its name.
    pub name: String,
    /// Until then it may come.
    pub until: Timestamp,
}

/// Memory of all jobs, by UID. In boxes: a table has more room than entries.
#[derive(Debug, Default)]
pub struct Memory(Mutex<HashMap<String, Box<JobMemory>>>);

impl Memory {
    /// Reads and changes what is remembered of a job.
    pub fn of<T>(&self, uid: &str, act: impl FnOnce(&mut JobMemory) -> T) -> T {
        let mut jobs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        act(jobs.entry(uid.to_owned()).or_default())
    }

    /// The job is gone.
    pub fn forget(&self, uid: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
    }

    /// Only the jobs with these UIDs are there.
    pub fn keep(&self, uids: &HashSet<String>) {
        let mut jobs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        jobs.retain(|uid, _| uids.contains(uid));
    }

    /// The newer of the cached job and what we wrote last.
    pub fn newest(&self, cached: Arc<DockerUniverseJob>) -> Arc<DockerUniverseJob> {
        let uid = cached.metadata.uid.clone().unwrap_or_default();
        self.of(&uid, |memory| match &memory.written {
            Some(written) if version(written.as_ref()) > version(cached.as_ref()) => {
                written.clone()
            }
            _ => {
                memory.written = None;
                cached
            }
        })
    }
}
