//! What can be seen of jobs' progress in their status, as somebody with one watch sees it.

use crate::{slim::Job, work::Controller};
use anyhow::bail;
use futures::StreamExt as _;
use kube::{
    Api, Client,
    runtime::{
        WatchStreamExt as _,
        watcher::{self, Event, watcher},
    },
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tokio::task::JoinHandle;

const LOOK_AGAIN: Duration = Duration::from_millis(50);
const TELL: Duration = Duration::from_secs(10);
/// Work that has not moved for so long is stuck.
const STUCK: Duration = Duration::from_mins(2);

/// What is known of one job.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// Procs whose end is accounted.
    pub done: u64,
    /// Procs that run.
    pub running: u64,
    /// Events in its log.
    pub events: u64,
    /// When its first end was seen.
    pub first_end: Option<Instant>,
    /// Its last proc has ended, and its status says so.
    pub finished: bool,
}

/// All jobs of one namespace together.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// By name.
    pub jobs: HashMap<String, Progress>,
    /// Procs whose end is accounted.
    pub done: u64,
    /// Procs that run.
    pub running: u64,
    /// Jobs that are finished.
    pub finished: usize,
    /// Procs done, each time that there were more.
    pub times: Vec<(Instant, u64)>,
}

impl Seen {
    fn take(&mut self, job: Job) {
        let now = Instant::now();
        let known = self.jobs.entry(job.metadata.name.unwrap_or_default()).or_default();
        let (done, running) = (job.status.done(), job.status.running());
        let finished = job.status.completion_time.is_some();
        let more = done.saturating_sub(known.done);
        self.done += more;
        self.running = (self.running + running).saturating_sub(known.running);
        self.finished += usize::from(finished && !known.finished);
        if more > 0 {
            self.times.push((now, self.done));
            known.first_end.get_or_insert(now);
        }
        known.done += more;
        known.running = running;
        known.events = job.status.user_log.events;
        known.finished |= finished;
    }

    /// Events in all logs.
    pub fn events(&self) -> u64 {
        self.jobs.values().map(|job| job.events).sum()
    }
}

/// One watch of the jobs of one namespace; it ends when this is dropped.
pub struct Board {
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<()>,
}

impl Board {
    /// Begins to watch.
    pub fn watch(client: Client, controller: Controller, namespace: &str) -> Self {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let jobs: Api<Job> = Api::namespaced_with(client, namespace, &controller.resource());
        let notes = seen.clone();
        let task = tokio::spawn(async move {
            let mut stream =
                std::pin::pin!(watcher(jobs, watcher::Config::default()).default_backoff());
            while let Some(event) = stream.next().await {
                match event {
                    Ok(Event::Apply(job) | Event::InitApply(job)) => locked(&notes).take(job),
                    Ok(_) => {}
                    Err(error) => eprintln!("the watch of jobs broke and is begun again: {error}"),
                }
            }
        });
        Self { seen, task }
    }

    /// Reads what was seen.
    pub fn read<T>(&self, read: impl FnOnce(&Seen) -> T) -> T {
        read(&locked(&self.seen))
    }

    /// Waits until this is so, as long as anything moves.
    pub async fn until(&self, what: &str, so: impl Fn(&Seen) -> bool) -> anyhow::Result<()> {
        let (mut moved, mut told) = (Instant::now(), Instant::now());
        let mut last = (0, 0, 0);
        loop {
            let (is_so, now) =
                self.read(|seen| (so(seen), (seen.done, seen.running, seen.finished)));
            if is_so {
                return Ok(());
            }
            if now != last {
                (moved, last) = (Instant::now(), now);
            }
            if told.elapsed() > TELL {
                told = Instant::now();
                eprintln!("    {what}: {} done, {} running, {} jobs finished", now.0, now.1, now.2);
            }
            if moved.elapsed() > STUCK {
                bail!(
                    "{what}: nothing has moved for {} s ({} done, {} running)",
                    STUCK.as_secs(),
                    now.0,
                    now.1
                );
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
