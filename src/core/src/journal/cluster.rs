//! The events of a job whose procs materialize late: of the cluster, not of a proc.
//!
//! Invariant: no ad of a proc is told behind them (028).

use super::Journal;
use crate::userlog::{Body, Cluster, Completion, Event, JobId, Line, Name};
use duj_api::status::Hold;
use jiff::Timestamp;

/// `JobMaterializePaused` of a cluster that is held.
const PAUSED_BY_HOLD: i32 = 1;

impl Journal {
    /// 035.
    pub(crate) fn cluster_submitted(&mut self, time: Timestamp) {
        let host = self.submit_host();
        self.log_cluster(time, Cluster::Submitted { host, notes: Vec::new() });
    }

    /// 036.
    pub(crate) fn cluster_removed(
        &mut self,
        time: Timestamp,
        procs: u32,
        items: u32,
        completion: Completion,
    ) {
        let notes = Line::default();
        self.log_cluster(time, Cluster::Removed { procs, items, completion, notes });
    }

    /// 037.
    pub(crate) fn paused(&mut self, time: Timestamp, hold: &Hold) {
        let reason = Line::new(&hold.reason);
        let (pause_code, hold_code) = (PAUSED_BY_HOLD, hold.code);
        self.log_cluster(time, Cluster::Paused { reason, pause_code, hold_code });
    }

    /// 038.
    pub(crate) fn resumed(&mut self, time: Timestamp, reason: &str) {
        self.log_cluster(time, Cluster::Resumed { reason: Line::new(reason) });
    }

    /// Who took the job, as it stands in the log.
    pub(super) fn submit_host(&self) -> Name {
        Name::new(&format!("<docker-universe:0?alias={}>", self.alias))
    }

    fn log_cluster(&mut self, time: Timestamp, event: Cluster) {
        let time = self.events.last().map_or(time, |last| last.time.max(time));
        let job = JobId { cluster: self.cluster, proc: -1 };
        let event = Event { job, time, body: Body::Cluster(event) };
        self.bytes += event.to_string().len();
        self.events.push(event);
        self.informed = self.events.len();
    }
}
