//! The workqueue: which job is looked at next, and by how many at a time.
//!
//! What is under way goes before what is new: the end of a pod is told at once, however many jobs come in meanwhile; yet of
//! four turns one is for a new job, where there is one. Within each, first come, first served. Invariants: no job is looked at
//! twice at the same time; one that is named while it is looked at, or waits, is looked at once more, not once for each time;
//! never are more than [`NEW_AT_ONCE`] new jobs looked at.

use crate::index::JobKey;
use std::{
    collections::{BTreeSet, HashMap, HashSet, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{sync::Notify, time::Instant};

/// Of so many turns one is for a new job.
const TURNS: u32 = 4;

/// So many new jobs are looked at at the same time. More of them would not begin sooner, for the API server has so many
/// processors; but their pods would be in its way when it is told how those before them ended.
const NEW_AT_ONCE: usize = 6;

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
    /// What is looked at now.
    running: HashMap<JobKey, Look>,
    /// How many of them are new.
    new_running: usize,
    /// What is to be looked at later, by time; each job once, at its earliest time.
    later: BTreeSet<(Instant, JobKey)>,
    due: HashMap<JobKey, Instant>,
    turn: u32,
}

#[derive(Debug)]
struct Look {
    class: Class,
    /// It was named again meanwhile.
    again: bool,
}

impl State {
    /// The next job that may be looked at now.
    fn pop(&mut self) -> Option<JobKey> {
        let new_may = self.new_running < NEW_AT_ONCE && !self.new.is_empty();
        let turn = (self.turn + 1) % TURNS;
        let new_first = turn == 0 && new_may;
        let (class, key) = match self.under_way.front() {
            Some(_) if !new_first => (Class::UnderWay, self.under_way.pop_front()?),
            _ if new_may => (Class::New, self.new.pop_front()?),
            _ => return None,
        };
        self.turn = turn;
        self.new_running += usize::from(class == Class::New);
        self.waiting.remove(&key);
        self.running.insert(key.clone(), Look { class, again: false });
        Some(key)
    }
}

/// The queue; shared by the watches and those who look at jobs.
#[derive(Debug)]
pub struct Workqueue {
    state: Mutex<State>,
    /// There may be a job to look at.
    ready: Notify,
    /// The earliest time has changed.
    sooner: Notify,
}

impl Default for Workqueue {
    fn default() -> Self {
        Self { state: Mutex::default(), ready: Notify::new(), sooner: Notify::new() }
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
        if let Some(look) = state.running.get_mut(&key) {
            look.again = true;
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
        self.ready.notify_one();
    }

    /// The next job; waits until there is one. It has to be given back by [`Workqueue::done`].
    pub async fn next(&self) -> JobKey {
        loop {
            if let Some(key) = self.state().pop() {
                // Of two jobs that came while nobody slept one may have been told of.
                self.ready.notify_one();
                return key;
            }
            self.ready.notified().await;
        }
    }

    /// A job was looked at, and is to be looked at again after this time, if nothing happens.
    pub fn done(&self, key: JobKey, again: Option<Duration>) {
        let mut state = self.state();
        let look = state.running.remove(&key);
        if look.as_ref().is_some_and(|look| look.class == Class::New) {
            state.new_running -= 1;
            self.ready.notify_one();
        }
        if look.is_some_and(|look| look.again) {
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
    use futures::FutureExt as _;
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
    async fn so_many_new_jobs_at_a_time_and_others_pass_them() {
        let queue = Arc::new(Workqueue::default());
        for number in 0..NEW_AT_ONCE + 2 {
            queue.add(key(&format!("new{number}")), Class::New);
        }
        let mut taken = Vec::new();
        for _ in 0..NEW_AT_ONCE {
            taken.push(queue.next().await);
        }
        assert!(queue.next().now_or_never().is_none(), "the others have to wait");
        let waiting = tokio::spawn({
            let queue = queue.clone();
            async move { [queue.next().await.name, queue.next().await.name] }
        });
        queue.add(key("old"), Class::UnderWay);
        tokio::task::yield_now().await;
        queue.done(taken.remove(0), None);
        assert_eq!(waiting.await.unwrap(), ["old", &format!("new{NEW_AT_ONCE}")]);
    }

    #[tokio::test(start_paused = true)]
    async fn all_who_wait_are_told_of_all_that_comes() {
        let queue = Arc::new(Workqueue::default());
        let workers: Vec<_> = (0..3)
            .map(|_| {
                let queue = queue.clone();
                tokio::spawn(async move { queue.next().await.name })
            })
            .collect();
        tokio::task::yield_now().await;
        for name in ["a", "b", "c"] {
            queue.add(key(name), Class::UnderWay);
        }
        let mut names = Vec::new();
        for worker in workers {
            names.push(worker.await.unwrap());
        }
        names.sort();
        assert_eq!(names, ["a", "b", "c"]);
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
