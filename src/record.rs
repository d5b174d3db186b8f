//! Kubernetes Events that mirror the userlog, for `kubectl describe`. Best effort: the log is in the job's status.
//!
//! Invariant: telling never waits: what does not fit into the queue is counted and dropped. A job of thousands of procs tells
//! as much as a person reads, for each Event is a write.

use crate::{clock::Clock, metrics::Metrics};
use duj_api::DockerUniverseJob;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    api::{core::v1::ObjectReference, events::v1::Event},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{ObjectMeta, PostParams},
};
use std::{sync::Arc, time::Duration};
use tokio::sync::mpsc;

/// Events that wait to be written.
const QUEUE: usize = 1024;
/// Kubernetes' bound of a note, in bytes.
const LONGEST_NOTE: usize = 1000;
const DEADLINE: Duration = Duration::from_secs(10);
/// Events that a job may tell at once; as many as other recorders of Kubernetes let through.
const BURST: u32 = 25;
/// And then one more each time that so much has passed.
const ANOTHER: SignedDuration = SignedDuration::from_secs(10);

/// What a job may still tell.
#[derive(Clone, Copy, Debug, Default)]
pub struct Allowance {
    told: u32,
    /// When one more was allowed the last time.
    since: Option<Timestamp>,
}

impl Allowance {
    /// Whether one more Event may be told now; then it is.
    pub fn admits(&mut self, now: Timestamp) -> bool {
        let since = *self.since.get_or_insert(now);
        let more = now.duration_since(since).as_secs() / ANOTHER.as_secs();
        if more > 0 {
            self.told = self.told.saturating_sub(u32::try_from(more).unwrap_or(u32::MAX));
            self.since = Some(now);
        }
        let admitted = self.told < BURST;
        self.told += u32::from(admitted);
        admitted
    }
}

/// Takes Events from the reconciler.
#[derive(Clone, Debug)]
pub struct Recorder {
    queue: mpsc::Sender<Event>,
    instance: String,
    clock: Clock,
    metrics: Arc<Metrics>,
}

impl Recorder {
    /// A recorder and the task that writes what it takes. `instance` names this operator.
    pub fn new(
        client: Client,
        instance: String,
        clock: Clock,
        metrics: Arc<Metrics>,
    ) -> (Self, impl Future<Output = ()>) {
        let (queue, taken) = mpsc::channel(QUEUE);
        (Self { queue, instance, clock, metrics }, write(client, taken))
    }

    /// Tells of something that happened to a job.
    pub fn tell(&self, job: &DockerUniverseJob, warning: bool, reason: &str, note: String) {
        let event = self.event(job, warning, reason, note);
        if self.queue.try_send(event).is_err() {
            self.metrics.dropped_event();
        }
    }

    fn event(
        &self,
        job: &DockerUniverseJob,
        warning: bool,
        reason: &str,
        mut note: String,
    ) -> Event {
        if note.len() > LONGEST_NOTE {
            let mut end = LONGEST_NOTE;
            while !note.is_char_boundary(end) {
                end -= 1;
            }
            note.truncate(end);
        }
        Event {
            metadata: ObjectMeta {
                generate_name: Some(format!("{}-", job.name_any())),
                namespace: job.namespace(),
                ..ObjectMeta::default()
            },
            action: Some(reason.into()),
            reason: Some(reason.into()),
            note: Some(note),
            type_: Some(if warning { "Warning" } else { "Normal" }.into()),
            event_time: Some(MicroTime(self.clock.now())),
            reporting_controller: Some("dockeruniverse.io/operator".into()),
            reporting_instance: Some(self.instance.clone()),
            regarding: Some(ObjectReference { resource_version: None, ..job.object_ref(&()) }),
            ..Event::default()
        }
    }
}

async fn write(client: Client, mut taken: mpsc::Receiver<Event>) {
    while let Some(event) = taken.recv().await {
        let namespace = event.metadata.namespace.clone().unwrap_or_default();
        let events: Api<Event> = Api::namespaced(client.clone(), &namespace);
        match tokio::time::timeout(DEADLINE, events.create(&PostParams::default(), &event)).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::debug!("cannot write an Event: {error}"),
            Err(_) => tracing::debug!("cannot write an Event: no answer"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_tells_some_at_once_and_then_now_and_then() {
        let mut allowance = Allowance::default();
        let at = |seconds| Timestamp::from_second(seconds).unwrap();
        let mut told =
            |seconds, times| (0..times).filter(|_| allowance.admits(at(seconds))).count();
        assert_eq!([told(0, 40), told(9, 5), told(10, 5), told(40, 5)], [25, 0, 1, 3]);
        assert_eq!([told(100_000, 40), told(100_001, 1)], [25, 0], "never more than at first");
    }
}
