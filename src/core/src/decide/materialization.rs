//! Which procs are in the queue: at once as many as the log can tell of, or as `maxMaterialize` and `maxIdle` allow
//! (`HTCondor`'s late materialization).
//!
//! Invariants: procs come in the order of their numbers, each once; none comes over a limit, while the job is held as a whole
//! or after it was removed. What a limit that became smaller finds in the queue stays there. A cluster that materializes
//! late begins with event 035 and ends with 036, behind the ends of all its procs.

use super::Work;
use crate::userlog::Completion;
use duj_api::{
    queue::Queue,
    status::{Hold, Materialization, ProcRecord, ProcStatus},
};
use jiff::Timestamp;
use std::sync::Arc;

/// How many procs are in the queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Present {
    /// All that are; one that is being removed is until its pod has ended.
    all: i64,
    /// Those that do not run: idle or held.
    idle: i64,
}

impl Present {
    fn add(&mut self, record: &ProcRecord) {
        let (present, idle) = match record.status {
            ProcStatus::Idle | ProcStatus::Held => (true, true),
            ProcStatus::Running | ProcStatus::Suspended => (true, false),
            ProcStatus::Removed => {
                (record.remove.as_ref().is_some_and(|remove| remove.stopping), false)
            }
            ProcStatus::Completed => (false, false),
        };
        self.all += i64::from(present);
        self.idle += i64::from(idle);
    }
}

/// One of the job's limits.
struct Limit {
    /// Its field in `queue`.
    name: &'static str,
    most: i64,
    /// How many more procs it allows.
    left: i64,
}

impl Work<'_> {
    /// A new job whose procs are to come one after the other says so.
    pub(super) fn open(&mut self, created: Timestamp) {
        if self.observed.job.spec.queue.as_ref().is_some_and(Queue::is_late) {
            self.noticed.factory = true;
            self.journal.cluster_submitted(created);
        }
    }

    /// Gives a record to procs of a new job, and to those of one that is still being submitted.
    pub(super) fn submit(&mut self, created: Timestamp) {
        let status = self.observed.job.status.as_ref();
        if !self.noticed.factory || status.is_none_or(|status| status.noticed.is_none()) {
            // The other half of the log is for what the pods say.
            self.bring(created, Self::is_half_full);
        }
    }

    /// Gives a record to the procs for which the pods and people have made room.
    pub(super) fn materialize(&mut self) {
        if self.noticed.factory {
            self.bring(self.observed.now, Self::is_full);
        }
    }

    fn is_half_full(&mut self) -> bool {
        self.more_to_follow |= self.journal.is_half_full();
        self.journal.is_half_full()
    }

    fn bring(&mut self, time: Timestamp, is_full: impl Fn(&mut Self) -> bool) {
        let (on_hold, priority) = (self.noticed.hold, self.noticed.priority);
        let places = self.places();
        let new: Vec<u32> = (0..self.total())
            .filter(|proc| self.records.get(*proc).is_none())
            .take(places)
            .collect();
        for proc in new {
            if is_full(self) {
                return;
            }
            let record = ProcRecord { job_prio: priority, ..ProcRecord::default() };
            self.records.put(proc, Arc::new(record));
            self.with(proc, |proc| proc.submit(on_hold, time));
        }
    }

    /// How many procs may come now.
    fn places(&self) -> usize {
        let missing = self.unmaterialized();
        if missing == 0 || self.noticed.materialization.is_some() {
            return 0;
        }
        if self.too_many_procs().is_some() {
            return usize::from(self.records.is_empty()); // the first one tells that it is so
        }
        usize::try_from(self.limits().fold(missing, |least, limit| least.min(limit.left)))
            .unwrap_or(0)
    }

    /// The job's limits, each with how many more procs it allows.
    fn limits(&self) -> impl Iterator<Item = Limit> {
        let queue = self.observed.job.spec.queue.as_ref();
        let (most, idle) =
            queue.map_or((None, None), |queue| (queue.max_materialize, queue.max_idle));
        let mut present = Present::default();
        if most.is_some() || idle.is_some() {
            self.records.values().for_each(|record| present.add(record));
        }
        let limit =
            |name, most: i64, present| Limit { name, most, left: most.saturating_sub(present) };
        let all = most.map(|most| limit("maxMaterialize", most, present.all));
        let idle = idle.map(|most| limit("maxIdle", most, present.idle));
        all.into_iter().chain(idle)
    }

    /// How many procs have not come yet, and may.
    pub(crate) fn unmaterialized(&self) -> i64 {
        if self.is_ended() {
            return 0;
        }
        i64::from(self.total()) - i64::try_from(self.records.len()).unwrap_or(i64::MAX)
    }

    /// Whether procs that have not come yet never do.
    pub(crate) fn is_ended(&self) -> bool {
        self.noticed.materialization == Some(Materialization::Ended)
    }

    /// Whether procs come as others leave or start.
    pub(super) fn are_more_to_come(&self) -> bool {
        self.noticed.factory && self.unmaterialized() > 0
    }

    /// Whether nothing but the room in the log keeps procs back.
    pub(crate) fn is_being_submitted(&self) -> bool {
        !self.noticed.factory && self.places() > 0
    }

    /// Why no procs come until somebody does something; nothing where none are left or some may come.
    pub(crate) fn kept_back(&self) -> Option<String> {
        if self.unmaterialized() == 0 || self.places() > 0 {
            return None;
        }
        if self.noticed.materialization.is_some() {
            return Some("materialization is paused until the job is released".into());
        }
        let limit = self.limits().find(|limit| limit.left <= 0)?;
        Some(format!("queue.{} is {}", limit.name, limit.most))
    }

    /// The job is held as a whole. Whether that is news.
    pub(crate) fn pause(&mut self, hold: &Hold) -> bool {
        if self.unmaterialized() == 0 || self.noticed.materialization.is_some() {
            return false;
        }
        self.noticed.materialization = Some(Materialization::Paused);
        if self.noticed.factory {
            self.journal.paused(self.observed.now, hold);
        }
        true
    }

    /// The job is released as a whole. Whether that is news.
    pub(crate) fn resume_materialization(&mut self, reason: &str) -> bool {
        if self.noticed.materialization != Some(Materialization::Paused) {
            return false;
        }
        self.noticed.materialization = None;
        if self.noticed.factory {
            self.journal.resumed(self.observed.now, reason);
        }
        true
    }

    /// The job is removed as a whole. Whether that is news.
    pub(crate) fn end_materialization(&mut self) -> bool {
        let may_be_more = self.unmaterialized() > 0 || self.observed.items.is_err();
        if !may_be_more || self.is_ended() {
            return false;
        }
        self.noticed.materialization = Some(Materialization::Ended);
        true
    }

    /// Whether nothing more happens to the job: no proc is left, and none comes.
    pub(crate) fn is_finished(&self) -> bool {
        let known = !self.records.is_empty() || self.is_ended();
        known && self.unmaterialized() == 0 && self.records.values().all(is_out)
    }

    /// Sees to it that procs follow for which there is room now, and ends the cluster with the last of them.
    pub(super) fn close(&mut self) {
        self.more_to_follow |= self.places() > 0;
        let status = self.observed.job.status.as_ref();
        let closed = status.is_some_and(|status| status.completion_time.is_some());
        if !self.noticed.factory || closed || !self.is_finished() {
            return;
        }
        let procs = u32::try_from(self.records.len()).unwrap_or(u32::MAX);
        let queue = self.observed.job.spec.queue.as_ref();
        let of_items = queue.filter(|queue| queue.items.is_some());
        let items = of_items.map_or(0, |queue| procs.div_ceil(queue.steps()));
        let ended = self.is_ended();
        let completion = if ended { Completion::Incomplete } else { Completion::Complete };
        self.journal.cluster_removed(self.observed.now, procs, items, completion);
    }
}

/// The proc has left the queue.
fn is_out(record: &ProcRecord) -> bool {
    match record.status {
        ProcStatus::Completed => true,
        ProcStatus::Removed => record.remove.as_ref().is_none_or(|remove| !remove.stopping),
        _ => false,
    }
}
