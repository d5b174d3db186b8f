//! What follows from the procs' records: the status, the pods to make and to end, and the job's own end.
//!
//! Invariant: what comes before the status is a pure function of the job; all else comes after it. A pod is made only where
//! no other one of its proc lives, and let go only when its end is in the status.

use super::{Work, with_memory};
use crate::{
    facts::PodFacts,
    hold,
    observed::{Decision, Effect},
    pod::{self, Attempt},
    settings::Delivery,
    summary::{self, Summary},
    userlog::Body,
};
use duj_api::{
    DockerUniverseJobStatus,
    condition::Reason,
    status::{ProcRecord, ProcStatus, Starter},
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use std::cmp::Reverse;

/// Changes of a job's status that may wait are written once in this time.
const COALESCE: SignedDuration = SignedDuration::from_secs(1);
/// The start of a run is told so long after it was seen: of a job that has ended by then one write tells it all.
const SHORT_RUN: SignedDuration = SignedDuration::from_secs(5);
/// At most so long, on a node that is slow to tell.
const SLOW_NODE: SignedDuration = SignedDuration::from_secs(20);
/// A pod's way to its start (made, bound, set up) is told once in this time: each step of it by itself is worth no write.
const PROGRESS: SignedDuration = SignedDuration::from_secs(30);
/// Pods that one decision makes at most; more follow at once.
const AT_ONCE: usize = 100;
/// Pods of one job that no node has yet, at most: the scheduler looks at one after the other, whosever they are, and they are
/// all alike.
const UNBOUND: usize = 1000;
/// Pods of one job that have something to say for which the log has no room yet, at most: with so many none is made, for each
/// look that makes pods tells of fewer ends, and would fall behind further and further.
const UNHEARD: usize = AT_ONCE;
/// The longest wait between attempts that do not begin.
const LONGEST_BACKOFF: i64 = 300;

impl Work<'_> {
    /// What follows: the status, and the effects that go with it.
    pub(super) fn conclude(mut self, answers: Vec<Effect>) -> Decision {
        let created = self.create_pods();
        let mut after = self.end_pods();
        let forgotten = self.forget_pods();
        after.extend(answers);
        let ttl = self.expire();
        let leases = self.mark_leases();
        self.close();
        let Summary { status, parts, written, dropped } = summary::status(&self);
        let committed = self.observed.job.status.as_ref();
        let changed = committed != Some(&status);
        // The first pod of a one-proc job may be made before its first status: it is a pure function of the job.
        let first = committed.is_none_or(|status| status.counts.is_none())
            && self.is_single()
            && self.records.values().all(|record| record.attempt == 0)
            && self.noticed.commands.is_empty()
            && self.observed.refusal.is_none();
        let (before, pods) = if first { (created, Vec::new()) } else { (Vec::new(), created) };
        after.extend(pods);
        after.extend(forgotten);
        after.extend(ttl);
        let urgent = !after.is_empty()
            || self.more_to_follow
            || summary::is_final(&status)
            || summary::is_full(&status)
            || answers_people(committed, &status);
        let since = self.observed.uncommitted_since.unwrap_or(self.observed.now);
        let window = match self.begins_to_run() {
            Some(began) if self.is_single() => short_run(since, began),
            Some(_) => SHORT_RUN, // among many there is always more to tell
            None => COALESCE,
        };
        let due = since.saturating_add(window).unwrap_or(self.observed.now);
        let because = status.because.clone();
        if changed
            && !urgent
            && let Some(due) = self.told_later(&status).filter(|due| *due > self.observed.now)
        {
            self.wake_at(Some(due));
            let (after, wake) = (leases, self.wake);
            let policies_due = self.policies_due;
            return Decision { before, after, wake, because, policies_due, ..Decision::default() };
        }
        if changed && !urgent && due > self.observed.now {
            self.wake_at(Some(due));
            return Decision {
                before,
                deferred: true,
                after: leases,
                wake: self.wake,
                because,
                policies_due: self.policies_due,
                ..Decision::default()
            };
        }
        if changed {
            after.extend(dropped.into_iter().map(Effect::DropRecords));
            after.extend(self.journal.mirrored());
        }
        after.extend(leases);
        let pages = (!parts.is_empty()).then_some(Effect::AppendPages(parts));
        let records = written.into_iter().map(Effect::MakeRecords);
        let before = pages.into_iter().chain(records).chain(before).collect();
        if self.more_to_follow {
            self.wake_at(Some(self.observed.now));
        }
        let status = changed.then_some(status);
        let policies_due = self.policies_due;
        let events = self.journal.events;
        Decision {
            before,
            status,
            events,
            after,
            wake: self.wake,
            because,
            policies_due,
            ..Decision::default()
        }
    }

    /// When the last run began whose start is among the news.
    fn begins_to_run(&self) -> Option<Timestamp> {
        let starts = self.journal.events.iter().rev();
        starts
            .filter(|event| matches!(event.body, Body::Execute { .. }))
            .map(|event| event.time)
            .next()
    }

    /// When a status that differs from the committed one only in how far the pod is on its way has to be told.
    fn told_later(&self, status: &DockerUniverseJobStatus) -> Option<Timestamp> {
        let committed = self.observed.job.status.as_ref()?;
        let on_its_way = |status: &DockerUniverseJobStatus| {
            let steps = [Reason::Submitted, Reason::WaitingForScheduler, Reason::Starting];
            let because = status.because.as_ref()?;
            steps
                .iter()
                .any(|step| step.as_str() == because.reason)
                .then(|| because.since.clone())?
        };
        let told = on_its_way(committed).filter(|_| on_its_way(status).is_some())?;
        let same = committed.procs == status.procs
            && committed.noticed == status.noticed
            && committed.observed_generation == status.observed_generation
            && self.journal.events.is_empty();
        if same { told.0.saturating_add(PROGRESS).ok() } else { None }
    }

    fn create_pods(&mut self) -> Vec<Effect> {
        if self.observed.items.is_err() {
            return Vec::new();
        }
        let idle = |(id, record): (u32, &ProcRecord)| {
            (record.status == ProcStatus::Idle).then_some((Reverse(record.job_prio), id))
        };
        let mut ids: Vec<_> = self.records.iter().filter_map(idle).collect();
        // `JobPrio`: the larger first, and of equals the earlier.
        ids.sort_unstable();
        // The first of them finds out what the image runs by itself; the others wait for that.
        let image = &self.observed.job.spec.image;
        let too_long = |pod: &PodFacts| pod.found(image).is_some_and(|found| found.too_long);
        let unbound = self.pods.iter().filter(|pod| pod.node.is_none() && !pod.ended()).count();
        let places = usize::try_from(self.observed.room.pods).unwrap_or(usize::MAX);
        let mut room = AT_ONCE
            .min(places)
            .min(UNBOUND.saturating_sub(unbound))
            .min(UNHEARD.saturating_sub(self.unheard));
        if self.asks_for_image() && !self.pods().any(too_long) {
            // What one has found is about to be committed.
            let asking = self.pods().any(|pod| !pod.ended() || pod.found(image).is_some());
            room = room.min(usize::from(!asking));
        }
        let mut created = Vec::new();
        for (_, id) in ids {
            if self.current_pod(id).is_some() || self.other_live_pod(id).is_some() {
                continue;
            }
            if created.len() == room {
                // The others come when these are there: meanwhile others of the job's pods have news.
                self.wake_at((room == AT_ONCE).then_some(self.observed.now));
                break;
            }
            created.extend(self.create_pod(id));
        }
        created
    }

    /// Whether nobody knows yet what the job's image runs by itself, and a pod is to find it out.
    fn asks_for_image(&self) -> bool {
        !self.is_single()
            && pod::asks_for_image(&self.observed.job, self.settings.delivery)
            && !self.records.values().any(|record| record.starter == Some(Starter::Absent))
    }

    fn create_pod(&mut self, id: u32) -> Option<Effect> {
        let record = self.records.of(id);
        let now = self.observed.now;
        if let Some(refusal) = self.observed.refusal.as_ref().filter(|refusal| refusal.retry > now)
        {
            self.wake_at(Some(refusal.retry));
            return None;
        }
        let entered = record.entered_status.as_ref().map_or(now, |time| time.0);
        let begin = entered.saturating_add(backoff(record.unstarted)).unwrap_or(now);
        if begin > now {
            self.wake_at(Some(begin));
            return None;
        }
        match self.pod_of(id) {
            Ok(pod) => Some(Effect::CreatePod(Box::new(pod))),
            Err(message) => {
                self.with(id, |proc| proc.hold(hold::refused(&message)));
                None
            }
        }
    }

    pub(super) fn pod_of(&self, id: u32) -> Result<Pod, String> {
        let record = self.records.of(id);
        let delivery = match record.starter {
            Some(Starter::Absent) => Delivery::None,
            Some(Starter::Copied) => Delivery::InitContainer,
            None => self.settings.delivery,
        };
        let attempt = Attempt {
            cluster_id: self.cluster_id,
            proc: id,
            number: record.attempt,
            starts: record.num_job_starts,
            delivery,
        };
        let items = self.observed.items.as_ref().map_err(Clone::clone)?;
        let job = with_memory(&self.observed.job, record);
        pod::pod_for(&job, items, self.settings, attempt)
    }

    /// Deletes the job when its time after the end is over.
    fn expire(&mut self) -> Option<Effect> {
        let ttl = self.observed.job.spec.ttl_seconds_after_finished?;
        let committed = self.observed.job.status.as_ref()?.completion_time.as_ref()?.0;
        let end = committed.saturating_add(SignedDuration::from_secs(ttl)).ok()?;
        if end > self.observed.now {
            self.wake_at(Some(end));
            return None;
        }
        Some(Effect::DeleteJob)
    }
}

/// The state of some proc changed by what a person wants, who is waiting to see it.
fn answers_people(
    committed: Option<&DockerUniverseJobStatus>,
    status: &DockerUniverseJobStatus,
) -> bool {
    committed.is_some_and(|committed| {
        committed.noticed != status.noticed
            || committed.counts.map(|counts| counts.held) != status.counts.map(|counts| counts.held)
    })
}

/// How long the start of a run that was first seen at `seen` waits to be told. A kubelet that was late to tell of the start
/// is busy, and will be as late with the end, once more for either write.
fn short_run(seen: Timestamp, began: Timestamp) -> SignedDuration {
    // The kubelet's times have whole seconds.
    let late = seen.duration_since(began) - SignedDuration::from_secs(1);
    (SHORT_RUN + late.max(SignedDuration::ZERO) * 2).min(SLOW_NODE)
}

/// The wait before another attempt, after so many that did not begin.
fn backoff(unstarted: u32) -> SignedDuration {
    let seconds = (1i64 << unstarted.saturating_sub(1).min(20)) - 1;
    SignedDuration::from_secs(seconds.min(LONGEST_BACKOFF))
}
