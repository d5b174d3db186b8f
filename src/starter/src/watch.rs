//! From the command's start to its end: signals, the operator's wishes, zombies, limits and the record.
//!
//! Invariant: when [`Watch::until_the_end`] returns in PID 1, no process of the container is left, and the
//! record tells how the command itself ended, not how the starter did.

use std::time::{Duration, Instant};

use duj_protocol::{Outcome, Record};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{
    arguments::Settings,
    clock::{now_ms, since_boot},
    control::{Control, Wanted},
    disk::DiskWatch,
    meter::Meter,
    processes::{End, Reach, Reaping, reap},
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

/// The running command and all that is known of it.
#[derive(Debug)]
pub(crate) struct Watch {
    main: Pid,
    reach: Reach,
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
}

impl Watch {
    /// Watches over `main`, which was just started with `settings`; `record` is its provisional record.
    pub(crate) fn new(
        main: Pid,
        settings: &Settings,
        signals: Signals,
        meter: Meter,
        disk: DiskWatch,
        record: Record,
    ) -> Self {
        let reach = Reach::of(main);
        let now = Instant::now();
        Self {
            main,
            reach,
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
            suspension: Suspension::new(reach),
            kill_at: None,
            over_disk: None,
        }
    }

    /// Returns when the command has ended and everything else with it: the exit code for the starter. The
    /// kernel does not let PID 1 die of its own signal, so that is the shells' 128 + signal.
    pub(crate) fn until_the_end(mut self, termination: &mut Termination) -> i32 {
        let end = loop {
            if let Some(end) = self.reap() {
                break end;
            }
            while let Some(answer) = self.signals.next() {
                self.heed(answer);
            }
            self.on_time(Instant::now(), termination);
            self.signals.wait(self.next().saturating_duration_since(Instant::now()));
        };
        self.record.ended = Some(now_ms());
        self.record.outcome = Some(self.outcome(end));
        // The outcome is safe before anything is done that may take time.
        self.measure(termination);
        self.end_the_rest();
        self.disk.conclude(LAST_WALK);
        self.record.usage = self.meter.reaped(&self.disk);
        self.record.oom_kills = self.meter.oom_kills();
        termination.conclude(&self.record);
        match end {
            End::Exited(code) => code,
            End::Signalled(signal) => 128 + signal,
        }
    }

    /// Reaps all that have ended; tells if the command is among them.
    fn reap(&mut self) -> Option<End> {
        while let Reaping::One(reaped) = reap() {
            if reaped.pid == self.main {
                return Some(reaped.end);
            }
        }
        None
    }

    fn heed(&mut self, answer: Answer) {
        match answer {
            Answer::Stop(signal) => {
                self.record.stopped_by.get_or_insert(signal);
                self.stop();
            }
            Answer::Forward(signal) => {
                // It is not reaped yet, so the number is still the command's.
                let _ = kill(self.main, signal);
            }
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
        self.reach.send(self.kill_signal);
        // A stopped process acts on a signal only when it is continued; it may have stopped itself.
        self.reach.send(Signal::SIGCONT);
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
        let others = [self.kill_at, control, self.suspension.next()];
        let next = self.refresh.min(self.disk.next());
        others.into_iter().flatten().fold(next, Instant::min)
    }

    fn on_time(&mut self, now: Instant, termination: &mut Termination) {
        if self.kill_at.is_some_and(|kill_at| now >= kill_at) {
            // Once is not enough where only a group is reached: a new process may join it.
            self.kill_at = Some(now + Duration::from_secs(1));
            self.reach.send(Signal::SIGKILL);
        }
        self.obey(now, termination);
        self.suspension.tick(now);
        if now >= self.disk.next()
            && let Some(used) = self.disk.tick(now)
        {
            self.over_disk.get_or_insert(used);
            self.reach.send(Signal::SIGKILL);
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
    fn outcome(&self, end: End) -> Outcome {
        match (end, self.over_disk, self.disk_limit) {
            (End::Signalled(signal), Some(used), Some(limit))
                if signal == Signal::SIGKILL as i32 =>
            {
                Outcome::OverDisk { used, limit }
            }
            (End::Exited(code), ..) => Outcome::Exited(code),
            (End::Signalled(signal), ..) => Outcome::Signalled(signal),
        }
    }

    /// Kills and reaps what the command has left behind.
    fn end_the_rest(&self) {
        self.reach.send(Signal::SIGKILL);
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
                    // SIGCHLD wakes this up; what else arrives is too late to matter.
                    self.signals.wait(deadline - now);
                    while self.signals.next().is_some() {}
                }
            }
        }
    }
}
