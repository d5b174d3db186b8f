//! What really ran on the simulated nodes: it is the nodes that say so, not what anybody wrote of it.
//!
//! Invariant: a run is in the book before its container begins, and is over in it before its end is told to anybody. So two
//! runs of a proc at the same time are seen, however short.

use crate::slim::Pod;
use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// A proc of a job: the job's UID and the proc's number.
pub type Proc = (String, u32);

/// A run that goes on.
#[derive(Clone, Debug)]
pub struct Running {
    /// The pod's name.
    pub pod: String,
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's job.
    pub job: String,
}

#[derive(Debug, Default)]
struct Book {
    runs: HashMap<Proc, u32>,
    /// By the pod's UID.
    running: BTreeMap<String, (Proc, Running)>,
    /// Names of pods that ran.
    names: HashMap<String, String>,
    breaches: Vec<String>,
}

/// Keeps the book.
#[derive(Clone, Debug, Default)]
pub struct Witness(Arc<Mutex<Book>>);

/// A run; it is over when this is dropped.
#[derive(Debug)]
pub struct Run {
    witness: Witness,
    uid: String,
}

impl Drop for Run {
    fn drop(&mut self) {
        self.witness.book().running.remove(&self.uid);
    }
}

impl Witness {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A pod's container begins.
    pub fn begin(&self, pod: &Pod) -> Run {
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        let name = pod.metadata.name.clone().unwrap_or_default();
        let namespace = pod.metadata.namespace.clone().unwrap_or_default();
        let owners = pod.metadata.owner_references.iter().flatten();
        let job = owners.map(|owner| owner.uid.clone()).next().unwrap_or_default();
        let (proc, _) = numbers(&name).unwrap_or_default();
        let key = (job, proc);
        let mut book = self.book();
        let other = book.running.values().find(|(other, _)| *other == key);
        if let Some((_, other)) = other {
            let breach = format!("pod '{name}' runs while pod '{}' of its proc runs", other.pod);
            book.breaches.push(breach);
        }
        let named = book.names.insert(format!("{namespace}/{name}"), uid.clone());
        if named.is_some_and(|other| other != uid) {
            book.breaches.push(format!("pod '{name}' runs, and another one of its name ran"));
        }
        *book.runs.entry(key.clone()).or_default() += 1;
        let running = Running { pod: name, namespace, job: pod.owner().to_owned() };
        book.running.insert(uid.clone(), (key, running));
        Run { witness: self.clone(), uid }
    }

    /// How often a proc of the job with this UID ran.
    pub fn runs(&self, job: &str, proc: u32) -> u32 {
        self.book().runs.get(&(job.to_owned(), proc)).copied().unwrap_or_default()
    }

    /// All runs so far.
    pub fn all(&self) -> u64 {
        self.book().runs.values().map(|runs| u64::from(*runs)).sum()
    }

    /// The run that stands at this place of those that go on.
    pub fn running(&self, place: usize) -> Option<Running> {
        let book = self.book();
        let place = place.checked_rem(book.running.len())?;
        book.running.values().nth(place).map(|(_, running)| running.clone())
    }

    /// What must not be.
    pub fn breaches(&self) -> Vec<String> {
        self.book().breaches.clone()
    }
}

/// The proc and the attempt that a pod's name ends with.
pub fn numbers(pod: &str) -> Option<(u32, u32)> {
    let mut parts = pod.rsplit('-');
    let attempt = parts.next()?.parse().ok()?;
    Some((parts.next()?.parse().ok()?, attempt))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(name: &str, uid: &str) -> Pod {
        let owner = json!([{ "apiVersion": "v1", "kind": "Job", "name": "job", "uid": "job-uid" }]);
        serde_json::from_value(json!({ "metadata": {
            "name": name, "namespace": "lab", "uid": uid, "ownerReferences": owner,
        } }))
        .unwrap()
    }

    #[test]
    fn one_run_after_the_other_is_as_it_should_be() {
        let witness = Witness::default();
        drop(witness.begin(&pod("job-0a1b2c3d-3-0", "a")));
        let second = witness.begin(&pod("job-0a1b2c3d-3-1", "b"));
        let other = witness.begin(&pod("job-0a1b2c3d-4-0", "c"));
        assert_eq!(witness.breaches(), Vec::<String>::new());
        assert_eq!((witness.runs("job-uid", 3), witness.runs("job-uid", 4)), (2, 1));
        assert_eq!(witness.running(2).unwrap().pod, "job-0a1b2c3d-3-1");
        drop((second, other));
        assert!(witness.running(0).is_none());
    }

    #[test]
    fn two_runs_of_a_proc_at_a_time_are_seen() {
        let witness = Witness::default();
        let first = witness.begin(&pod("job-0a1b2c3d-3-0", "a"));
        let second = witness.begin(&pod("job-0a1b2c3d-3-1", "b"));
        assert_eq!(witness.breaches().len(), 1);
        drop((first, second));
    }

    #[test]
    fn a_pod_that_runs_under_the_name_of_another_one_is_seen() {
        let witness = Witness::default();
        drop(witness.begin(&pod("job-0a1b2c3d-3-0", "a")));
        drop(witness.begin(&pod("job-0a1b2c3d-3-0", "b")));
        assert_eq!(witness.breaches().len(), 1);
    }
}
