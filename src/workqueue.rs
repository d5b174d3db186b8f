//! The workqueue: which job is looked at next, and by how many at a time.
//!
//! What is under way goes before what is new: the end of a pod is told at once, however many jobs come in meanwhile; yet of
//! four turns one is for a new job, where there is one. Within each, first come, first served. Invariants: no job is looked at
//! twice at the same time; one that is named while it is looked at, or waits, is looked at once more, not once for each time.

use crate::index::JobKey;
use std::{
    collections::{BTreeSet, HashMap, HashSet, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{Notify, Semaphore},
    time::Instant,
};

/// Of so many turns one is for a new job.
const TURNS: u32 = 4;

/// Which jobs go first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Something is known of the job already.
    UnderWay,
    /// Nothing was decided about it yet.
    New,
}

#[derive(Debug, Default)]
struct State {
    under_way: VecDeque<JobKey>,
    new: VecDeque<JobKey>,
    /// What is in one of the two.
    waiting: HashSet<JobKey>,
    /// What is looked at now, and whether it was named again meanwhile.
    running: HashMap<JobKey, bool>,
    /// What is to be looked at later, by time; each job once, at its earliest time.
    later: BTreeSet<(Instant, JobKey)>,
    due: HashMap<JobKey, Instant>,
    turn: u32,
}

/// The queue; shared by the watches and those who look at jobs.
#[derive(Debug)]
pub struct Workqueue {
    state: Mutex<State>,
    /// One permit for each job that waits.
    ready: Semaphore,
    /// The earliest time has changed.
    sooner: Notify,
}

impl Default for Workqueue {
    fn default() -> Self {
        Self { state: Mutex::default(), ready: Semaphore::new(0), sooner: Notify::new() }
    }
}

impl Workqueue {
    fn state(&self) -> MutexGuard<'_, State> {
        // No code panics while it holds this lock in a half-made state.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something may have changed about a job.
    pub fn add(&self, key: JobKey, class: Class) {
        let mut state = self.state();
        self.put(&mut state, key, class);
    }

    fn put(&self, state: &mut State, key: JobKey, class: Class) {
        if let Some(again) = state.running.get_mut(&key) {
            *again = true;
            return;
        }
        if !state.waiting.insert(key.clone()) {
            return;
        }
        if let Some(due) = state.due.remove(&key) {
            state.later.remove(&(due, key.clone()));
        }
        match class {
            Class::UnderWay => state.under_way.push_back(key),
            Class::New => state.new.push_back(key),
        }
        self.ready.add_permits(1);
    }

    /// The next job; waits until there is one. It has to be given back by [`Workqueue::done`].
    pub async fn next(&self) -> JobKey {
        loop {
            // The semaphore is never closed.
            if let Ok(permit) = self.ready.acquire().await {
                permit.forget();
            }
            let mut state = self.state();
            state.turn = (state.turn + 1) % TURNS;
            let key = if state.turn == 0 {
                state.new.pop_front().or_else(|| state.under_way.pop_front())
            } else {
                state.under_way.pop_front().or_else(|| state.new.pop_front())
            };
            if let Some(key) = key {
                state.waiting.remove(&key);
                state.running.insert(key.clone(), false);
                return key;
            }
        }
    }

    /// A job was looked at, and is to be looked at again after this time, if nothing happens.
    pub fn done(&self, key: JobKey, again: Option<Duration>) {
        let mut state = self.state();
        if state.running.remove(&key) == Some(true) {
            return self.put(&mut state, key, Class::UnderWay);
        }
        let Some(due) = again.and_then(|wait| Instant::now().checked_add(wait)) else { return };
        if let Some(before) = state.due.insert(key.clone(), due) {
            state.later.remove(&(before, key.clone()));
        }
        let is_first = state.later.first().is_none_or(|(first, _)| due < *first);
        state.later.insert((due, key));
        if is_first {
            self.sooner.notify_one();
        }
    }

    /// How many jobs wait, and how many are looked at.
    pub fn depth(&self) -> (usize, usize) {
        let state = self.state();
        (state.waiting.len(), state.running.len())
    }

    /// Lets jobs wait again when their time has come. It never ends.
    pub async fn tell_time(&self) {
        loop {
            let first = self.state().later.first().map(|(due, _)| *due);
            let sooner = self.sooner.notified();
            let Some(due) = first else {
                sooner.await;
                continue;
            };
            tokio::select! {
                () = tokio::time::sleep_until(due) => {}
                () = sooner => continue,
            }
            let now = Instant::now();
            let mut state = self.state();
            while let Some((due, key)) = state.later.pop_first() {
                if due > now {
                    state.later.insert((due, key));
                    break;
                }
                state.due.remove(&key);
                self.put(&mut state, key, Class::UnderWay);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn key(name: &str) -> JobKey {
        JobKey { namespace: "physics".into(), name: name.into() }
    }

    /// Looks at what waits, in its order, without giving anything back.
    async fn drain(queue: &Workqueue) -> Vec<String> {
        let mut names = Vec::new();
        while queue.depth().0 > 0 {
            names.push(queue.next().await.name);
        }
        names
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_under_way_goes_first_and_what_is_new_has_its_turn() {
        let queue = Workqueue::default();
        for number in 0..4 {
            queue.add(key(&format!("new{number}")), Class::New);
        }
        for number in 0..4 {
            queue.add(key(&format!("old{number}")), Class::UnderWay);
        }
        assert_eq!(
            drain(&queue).await,
            ["old0", "old1", "old2", "new0", "old3", "new1", "new2", "new3"]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn no_job_is_looked_at_twice_at_the_same_time() {
        let queue = Workqueue::default();
        queue.add(key("a"), Class::New);
        queue.add(key("a"), Class::UnderWay);
        let taken = queue.next().await;
        queue.add(key("a"), Class::UnderWay);
        queue.add(key("a"), Class::UnderWay);
        assert_eq!(queue.depth(), (0, 1));
        queue.done(taken, None);
        assert_eq!(drain(&queue).await, ["a"], "once more, for both times it was named");
        queue.done(key("a"), None);
        assert_eq!(queue.depth(), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_to_be_looked_at_later_comes_in_its_time_or_when_it_is_named() {
        let queue = Arc::new(Workqueue::default());
        let time = tokio::spawn({
            let queue = queue.clone();
            async move { queue.tell_time().await }
        });
        for (name, seconds) in [("late", 60), ("soon", 5), ("named", 30)] {
            queue.add(key(name), Class::New);
            let taken = queue.next().await;
            queue.done(taken, Some(Duration::from_secs(seconds)));
        }
        let began = Instant::now();
        queue.add(key("named"), Class::UnderWay);
        let mut seen = Vec::new();
        for _ in 0..3 {
            let taken = queue.next().await;
            seen.push((taken.name.clone(), began.elapsed().as_secs()));
            queue.done(taken, None);
        }
        let expected = [("named", 0), ("soon", 5), ("late", 60)];
        assert_eq!(seen, expected.map(|(name, seconds)| (name.to_owned(), seconds)));
        tokio::time::sleep(Duration::from_secs(100)).await;
        assert_eq!(queue.depth(), (0, 0), "the time of what was named is over");
        time.abort();
    }
}
