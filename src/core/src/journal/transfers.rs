//! Events of files on their way: 040 and 003.
//!
//! Invariant: the times are those that the transfer itself tells, as far as they can be.

use super::Journal;
use crate::userlog::{Body, CpuUsage, Name, TransferStage};
use duj_protocol::transfer::Report;
use jiff::Timestamp;

impl Journal {
    /// 040 for each stage of a transfer that came about: queued since `queued`, and `finished` or not.
    pub(crate) fn transferred(
        &mut self,
        proc: u32,
        [in_queue, begun, over]: [TransferStage; 3],
        queued: Option<Timestamp>,
        report: &Report,
        finished: bool,
    ) {
        let time = |milliseconds: Option<i64>| Timestamp::from_millisecond(milliseconds?).ok();
        let nothing = report.files == 0 && report.failure.is_none();
        let Some(started) = time(report.started).filter(|_| !nothing) else { return };
        let since = queued.unwrap_or(started).min(started);
        let waited = u64::try_from(started.duration_since(since).as_secs()).unwrap_or(0);
        self.stage(proc, since, in_queue, None);
        self.stage(proc, started, begun, Some(waited));
        if let Some(end) = time(report.finished).filter(|_| finished) {
            self.stage(proc, end, over, None);
        }
    }

    fn stage(&mut self, proc: u32, time: Timestamp, stage: TransferStage, queued: Option<u64>) {
        let body = Body::FileTransfer { stage, queued_seconds: queued, host: Name::new("") };
        self.log(proc, time, body);
    }

    /// 003: a checkpoint is whole.
    pub(crate) fn checkpointed(&mut self, proc: u32, time: Timestamp) {
        let none = CpuUsage::default();
        self.log(proc, time, Body::Checkpointed { run_remote: none, run_local: none, sent: 0 });
    }
}
