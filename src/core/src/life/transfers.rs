//! Files on their way in and out, as a proc's record and log tell of them.
//!
//! Invariant: outputs that a pod keeps are asked of that pod, and the job is not run again while it has them.

use super::{Cause, Proc};
use crate::{
    facts::PodFacts,
    fate::{self, End, Exited},
    hold, pod,
    userlog::{Line, TransferStage},
};
use duj_api::{
    DockerUniverseJob,
    job::Signal,
    status::{Hold, LeftFiles, Starter},
};
use duj_protocol::transfer::Report;
use jiff::Timestamp;

impl Proc<'_> {
    /// Event 040 for the inputs, before 001.
    pub(super) fn log_brought(&mut self, pod: &PodFacts) {
        let Some(report) = pod.prepared.as_deref() else { return };
        let queued = pod.prepare.as_ref().and_then(|prepare| prepare.terminated.as_ref()?.started);
        let finished = report.failure.is_none();
        let stages =
            [TransferStage::InputQueued, TransferStage::InputStarted, TransferStage::InputFinished];
        self.journal.transferred(self.id, stages, queued, report, finished);
    }

    /// Event 040 for the outputs, before the event that ends the attempt; not the end of a transfer that failed.
    pub(super) fn log_sent(&mut self, pod: &PodFacts, report: Option<&Report>) {
        let Some(report) = report.filter(|_| pod.transfer.is_some()) else { return };
        let finished = report.failure.is_none();
        let stages = [
            TransferStage::OutputQueued,
            TransferStage::OutputStarted,
            TransferStage::OutputFinished,
        ];
        self.journal.transferred(self.id, stages, pod.finished(), report, finished);
    }

    /// Event 003 for each checkpoint that became whole since the last look.
    pub(super) fn log_checkpoints(&mut self, report: Option<&Report>) {
        let Some(report) = report else { return };
        let count = u32::try_from(report.checkpoint_count).unwrap_or(u32::MAX);
        let new = count.saturating_sub(self.record.checkpoints) as usize;
        // Of very many since the last look only the newest are known by their time.
        for time in report.checkpoints.iter().rev().take(new).rev() {
            let time = Timestamp::from_millisecond(*time).unwrap_or(self.now);
            self.journal.checkpointed(self.id, time.min(self.now));
        }
        self.record.checkpoints = self.record.checkpoints.max(count);
    }

    /// Its job runs, or has ended and its outputs are on their way, or cannot be sent.
    pub(super) fn follow_transfer(&mut self, pod: &PodFacts) {
        self.log_checkpoints(pod.heard.as_deref());
        let ended = pod.transfer.as_ref().and_then(|transfer| transfer.terminated.as_ref());
        if let Some(end) = ended.filter(|_| pod.job.running.is_some()) {
            // Its outputs could not be sent, and it may wait for a checkpoint that nobody saves.
            let reason = format!(
                "container 'transfer' ended before the job did, with {} ({})",
                end.exit_code, end.reason
            );
            if self.record.vacating.is_none() && pod.deleting.is_none() {
                self.vacate(fate::vacate::STARTER_ERROR, &reason, false);
            }
            return;
        }
        let Some(reason) = fate::kept(pod, self.record.resends) else { return };
        let end = self.end_of(pod);
        self.record_exit(pod);
        let at = self.believable(self.now, pod);
        self.hold_unsent(reason, pod, &end, at);
        self.record.outputs_kept = true;
    }

    /// Its job is another one now: outputs that its pod has kept are not sent any more.
    pub(crate) fn forget_outputs(&mut self) {
        if self.record.outputs_kept {
            self.next_attempt();
        }
    }

    /// What the job came to, though its outputs did not arrive.
    fn record_exit(&mut self, pod: &PodFacts) {
        let record = pod.job.terminated.as_ref();
        let record = record.and_then(|end| duj_protocol::Record::from_message(&end.message));
        let (code, signal) = match record.and_then(|record| record.outcome) {
            Some(duj_protocol::Outcome::Exited(code)) => (Some(code), None),
            Some(duj_protocol::Outcome::Signalled(signal)) => (None, Some(signal)),
            _ => (None, None),
        };
        (self.record.exit_code, self.record.exit_signal) = (code, signal);
    }

    /// The attempt is over, and its outputs did not arrive.
    pub(super) fn unsent(
        &mut self,
        exited: Exited,
        reason: &Hold,
        pod: &PodFacts,
        end: &End,
        at: Timestamp,
    ) {
        (self.record.exit_code, self.record.exit_signal) = match exited {
            Exited::Code(code) => (Some(code), None),
            Exited::Signal(signal) => (None, Some(signal)),
        };
        self.hold_unsent(reason.clone(), pod, end, at);
        self.next_attempt();
    }

    fn hold_unsent(&mut self, reason: Hold, pod: &PodFacts, end: &End, at: Timestamp) {
        self.log_sent(pod, end.sent.as_ref());
        self.account(at);
        self.record.vacating = None;
        self.record.hold = Some(hold::from_slot(&pod.slot(), reason));
        self.log_stop(Some(pod), Some(end), at);
        self.enter(Cause::Held, at);
    }

    /// Another image ran than the one whose command was found out: nothing of that counts.
    pub(super) fn void(&mut self, pod: &PodFacts) {
        let changed = fate::another_image(pod).unwrap_or_default();
        let eviction = fate::void(&changed);
        if pod.ended() {
            let end = self.end_of(pod);
            self.evict(eviction.code, &eviction.reason, Some(&end));
        } else if self.record.vacating.is_none() {
            self.vacate(eviction.code, &eviction.reason, true);
        }
    }

    /// What the image runs by itself cannot be found out: it runs without the starter, unless the job needs that.
    pub(super) fn image_unknown(&mut self, pod: &PodFacts, words: &str, end: &End, at: Timestamp) {
        if let Some(needs) = needs_starter(self.job) {
            let message = format!(
                "the command of image '{}' cannot be found out ({words}), and {needs} needs it: name the executable",
                self.job.spec.image
            );
            self.record.hold = Some(hold::from_slot(&pod.slot(), hold::start_error(&message)));
            self.log_stop(Some(pod), Some(end), at);
            self.enter(Cause::Held, at);
        } else {
            self.record.starter = Some(Starter::Absent);
        }
        self.next_attempt();
    }

    /// What the job left in its scratch directory, and nobody fetched.
    pub(super) fn note_left(&mut self, end: &End) {
        let left = end.record.as_ref().and_then(|record| record.left.as_ref());
        let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        if let Some(left) = left {
            let names = left.names.join("', '");
            let more = if left.files > left.names.len() as u64 { ", ..." } else { "" };
            let note = format!(
                "job {}.{} left {} files of {} bytes in its scratch directory, which had nowhere to go and are lost: '{names}'{more}; an outputDestination keeps them",
                self.cluster_id, self.id, left.files, left.bytes
            );
            self.journal.warnings.push(("FilesLeft", Line::new(&note).as_str().to_owned()));
        }
        self.record.left = left.map(|left| LeftFiles {
            files: number(left.files),
            bytes: number(left.bytes),
            names: left.names.iter().take(5).map(|name| Line::new(name).as_str().into()).collect(),
        });
    }
}

/// What of a job works only with the starter as the parent of its process.
fn needs_starter(job: &DockerUniverseJob) -> Option<&'static str> {
    let (spec, files) = (&job.spec, &job.spec.files);
    [
        (files.input.is_some(), "input"),
        (files.output.is_some(), "output"),
        (files.error.is_some(), "error"),
        (!files.transfer_input.is_empty(), "transferInput"),
        (pod::sends(files), "a destination of outputs"),
        (spec.lease_duration.is_some(), "leaseDuration"),
        (spec.kill_sig.is_some_and(|signal| signal != Signal::default()), "killSig"),
    ]
    .into_iter()
    .find_map(|(needs, what)| needs.then_some(what))
}
