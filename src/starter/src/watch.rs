//! From the command's start to its end: signals, the operator's wishes, zombies, limits and the record.
//!
//! Invariant: when [`Watch::until_the_end`] returns in PID 1, no process of the container is left, and the
//! record tells how the command itself ended, not how the starter did.

use std::time::{Duration, Instant};

use duj_protocol::{Outcome, Record};
use nix::sys::signal::Signal;

use crate::{
    arguments::Settings,
    checkpoint,
    clock::{now_ms, since_boot},
    control::{Control, Wanted},
    disk::DiskWatch,
    follow::Follow,
    job::{Again, Job},
    left::LeftBehind,
    meter::Meter,
    processes::{End, Reaping, reap},
    signals::{Answer, Signals},
    suspension::Suspension,
    termination::Termination,
};

/// Time between two provisional records.
const REFRESH: Duration = Duration::from_secs(5);
/// How long to wait for processes that were sent SIGKILL and do not end (the disk hangs).
const LAST_RITES: Duration = Duration::from_secs(5);
/// How long the walk at the end may take.
const LAST_WALK: Duration = Duration::from_secs(2);
/// Exit code of the starter for a job that was, or would have been, sent SIGKILL.
const KILLED: i32 = 128 + Signal::SIGKILL as i32;

/// The running command and all that is known of it.
#[derive(Debug)]
pub(crate) struct Watch {
    job: Job,
    kill_signal: Signal,
    max_vacate_time: Option<Duration>,
    disk_limit: Option<u64>,
    signals: Signals,
    meter: Meter,
    disk: DiskWatch,
    record: Record,
    refresh: Instant,
    /// What the operator says; not heeded any more once the job is to end.
    control: Option<Control>,
    suspension: Suspension,
    /// When SIGKILL follows the soft-kill signal.
    kill_at: Option<Instant>,
    /// The bytes that the job had when it was killed for them.
    over_disk: Option<u64>,
    /// Where to look for what the job has left, if anybody asks.
    left: Option<LeftBehind>,
}

/// All that is left of a job.
#[derive(Debug)]
pub(crate) struct Ended {
    /// The last record, to be written.
    pub(crate) record: Record,
    /// For the starter.
    pub(crate) exit_code: i32,
    /// What the log may not have yet.
    pub(crate) follow: Follow,
}

/// The end of a job and the exit code for the starter.
type Conclusion = (Outcome, i32);

impl Watch {
    /// Watches over a job that was just started with `settings`; `record` is its provisional record.
    pub(crate) fn new(
        job: Job,
        settings: &Settings,
        signals: Signals,
        meter: Meter,
        disk: DiskWatch,
        record: Record,
    ) -> Self {
        let now = Instant::now();
        Self {
            suspension: Suspension::new(job.reach),
            job,
            kill_signal: settings.kill_signal,
            max_vacate_time: settings.max_vacate_time,
            disk_limit: settings.disk_limit,
            signals,
            meter,
            disk,
            record,
            refresh: now + REFRESH,
            control: settings
                .control
                .as_ref()
                .map(|control| Control::new(control, now, since_boot())),
            kill_at: None,
            over_disk: None,
            left: settings.tell_left.then(|| LeftBehind::new(settings)),
        }
    }

    /// Returns when the command has ended for good and everything else with it. The kernel does not let PID 1 die of its own
    /// signal, so the exit code is the shells' 128 + signal.
    pub(crate) fn until_the_end(mut self, termination: &mut Termination) -> Ended {
        let (outcome, exit_code) = loop {
            if let Some(conclusion) = self.reap().and_then(|end| self.after(end)) {
                break conclusion;
            }
            while let Some(answer) = self.signals.next() {
                self.heed(answer);
            }
            if let Some(conclusion) = self.proceed(Instant::now(), termination) {
                break conclusion;
            }
            self.on_time(Instant::now(), termination);
            let time = self.next().saturating_duration_since(Instant::now());
            self.signals.wait(time, self.job.follow.full_logs());
        };
        self.record.ended = Some(now_ms());
        self.record.outcome = Some(outcome);
        // The outcome is safe before anything is done that may take time.
        self.measure(termination);
        self.end_the_rest(false);
        self.disk.conclude(LAST_WALK);
        self.record.usage = self.meter.reaped(&self.disk);
        self.record.oom_kills = self.meter.oom_kills();
        let by_itself = matches!(
            self.record.outcome,
            Some(Outcome::Exited(_) | Outcome::Signalled(_)) if !self.is_to_end()
        );
        if let Some(left) = self.left.as_ref().filter(|_| by_itself) {
            self.record.left = left.look(LAST_WALK);
        }
        Ended { record: self.record, exit_code, follow: self.job.follow }
    }

    /// Reaps all that have ended; tells if the command is among them.
    fn reap(&mut self) -> Option<End> {
        while let Reaping::One(reaped) = reap() {
            if self.job.is_main(reaped.pid) {
                return Some(reaped.end);
            }
        }
        None
    }

    /// What the command's end means: nothing yet where it wants a checkpoint.
    fn after(&mut self, end: End) -> Option<Conclusion> {
        self.job.has_ended();
        let wanted = self.job.again.as_ref().map(|again| End::Exited(again.checkpoints.code()));
        if Some(end) != wanted || self.is_to_end() {
            return Some(self.conclusion(end));
        }
        // What is saved must not change meanwhile.
        self.end_the_rest(true);
        let asked = self.job.again.as_mut().map(|again| again.checkpoints.ask(Instant::now()));
        let Some(Err(error)) = asked else { return None };
        let why = format!("could not ask for the checkpoint: {error}");
        Some((Outcome::CheckpointFailed(why), end.exit_code()))
    }

    /// Goes on after a checkpoint. A job that is to end waits for the answer no longer than its end may take.
    fn proceed(&mut self, now: Instant, termination: &mut Termination) -> Option<Conclusion> {
        let again = self.job.again.as_mut().filter(|again| again.checkpoints.is_asked())?;
        let code = again.checkpoints.code();
        if let Some((used, limit)) = self.over_disk.zip(self.disk_limit) {
            return Some((Outcome::OverDisk { used, limit }, KILLED));
        }
        let is_to_end = self.is_to_end();
        if is_to_end && self.kill_at.is_some_and(|kill_at| now >= kill_at) {
            return Some((Outcome::Exited(code), code));
        }
        // A suspended job has its answer when it goes on.
        let again = self.job.again.as_mut().filter(|_| !self.suspension.is_on())?;
        match again.checkpoints.look(now)? {
            _ if is_to_end => Some((Outcome::Exited(code), code)),
            checkpoint::Answer::Failed(why) => Some((Outcome::CheckpointFailed(why), code)),
            checkpoint::Answer::Saved => self.resume(termination),
        }
    }

    fn resume(&mut self, termination: &mut Termination) -> Option<Conclusion> {
        if let Err(fault) = self.job.start_again() {
            let exit_code = fault.exit_code;
            return Some((fault.into_outcome(), exit_code));
        }
        self.suspension.reach(self.job.reach);
        self.record.checkpoints += 1;
        self.measure(termination);
        None
    }

    /// Whether somebody or something asked the job to end.
    fn is_to_end(&self) -> bool {
        self.record.stopped_by.is_some() || self.record.lease_expired || self.over_disk.is_some()
    }

    fn heed(&mut self, answer: Answer) {
        match answer {
            Answer::Stop(signal) => {
                self.record.stopped_by.get_or_insert(signal);
                self.stop();
            }
            Answer::Forward(signal) => self.job.forward(signal),
            Answer::Nothing => {}
        }
    }

    /// Asks the job to end in its own way, which a suspended one cannot: it is continued first.
    fn stop(&mut self) {
        self.control = None;
        self.suspension.end(since_boot());
        // The first request counts: a second one must not grant more time.
        if self.kill_at.is_none() {
            self.kill_at = self.max_vacate_time.and_then(|time| Instant::now().checked_add(time));
        }
        if !self.job.runs() {
            return; // a checkpoint is being saved
        }
        self.job.reach.send(self.kill_signal);
        // A stopped process acts on a signal only when it is continued; it may have stopped itself.
        self.job.reach.send(Signal::SIGCONT);
    }

    /// Does what the operator wants.
    fn obey(&mut self, now: Instant, termination: &mut Termination) {
        let Some(control) = self.control.as_mut().filter(|control| now >= control.next()) else {
            return;
        };
        match (control.look(now, since_boot(), now_ms()), self.suspension.is_on()) {
            (Wanted::Running, false) | (Wanted::Suspended, true) => return,
            (Wanted::Running, true) => self.suspension.end(since_boot()),
            (Wanted::Suspended, false) => self.suspension.begin(now, since_boot()),
            (Wanted::Ended, _) => {
                self.record.lease_expired = true;
                self.stop();
            }
        }
        self.measure(termination);
    }

    fn next(&self) -> Instant {
        let control = self.control.as_ref().map(Control::next);
        // While the job is suspended nobody looks for an answer.
        let again = self.job.again.as_ref().filter(|_| !self.suspension.is_on());
        let checkpoint = again.and_then(|Again { checkpoints, .. }| checkpoints.next());
        let others =
            [self.kill_at, control, self.suspension.next(), self.job.follow.next(), checkpoint];
        let next = self.refresh.min(self.disk.next());
        others.into_iter().flatten().fold(next, Instant::min)
    }

    fn on_time(&mut self, now: Instant, termination: &mut Termination) {
        if self.kill_at.is_some_and(|kill_at| now >= kill_at) {
            // Once is not enough where only a group is reached: a new process may join it.
            self.kill_at = Some(now + Duration::from_secs(1));
            self.job.reach.send(Signal::SIGKILL);
        }
        self.obey(now, termination);
        self.suspension.tick(now);
        self.job.follow.tick(now);
        if now >= self.disk.next()
            && let Some(used) = self.disk.tick(now)
        {
            self.over_disk.get_or_insert(used);
            self.job.reach.send(Signal::SIGKILL);
        }
        if now >= self.refresh {
            self.refresh = now + REFRESH;
            self.measure(termination);
        }
    }

    fn measure(&mut self, termination: &mut Termination) {
        self.record.usage = self.meter.so_far(&self.disk);
        self.record.oom_kills = self.meter.oom_kills();
        self.record.suspensions = self.suspension.count();
        self.record.suspended_ms = self.suspension.milliseconds(since_boot());
        termination.provisional(&self.record);
    }

    /// A command that ended otherwise in the moment it was found over its limit has its own end.
    fn conclusion(&self, end: End) -> Conclusion {
        let outcome = match (end, self.over_disk, self.disk_limit) {
            (End::Signalled(signal), Some(used), Some(limit))
                if signal == Signal::SIGKILL as i32 =>
            {
                Outcome::OverDisk { used, limit }
            }
            (End::Exited(code), ..) => Outcome::Exited(code),
            (End::Signalled(signal), ..) => Outcome::Signalled(signal),
        };
        (outcome, end.exit_code())
    }

    /// Kills and reaps what the command has left behind. Signals that arrive are heeded where the job may go on; at its end
    /// they are too late to matter.
    fn end_the_rest(&mut self, goes_on: bool) {
        self.job.reach.send(Signal::SIGKILL);
        let deadline = Instant::now() + LAST_RITES;
        loop {
            match reap() {
                Reaping::One(_) => {}
                Reaping::None => return,
                Reaping::Running => {
                    let now = Instant::now();
                    if now >= deadline {
                        return;
                    }
                    // SIGCHLD wakes this up.
                    self.signals.wait(deadline - now, std::iter::empty());
                    while let Some(answer) = self.signals.next() {
                        if goes_on {
                            self.heed(answer);
                        }
                    }
                }
            }
        }
    }
}
