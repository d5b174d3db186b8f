//! What the operator counts, for `/metrics`: the one place that knows the metrics' names, which are API (docs/operations.md).
//!
//! Invariant: labels come from closed sets only ([`labels`]): never a name, never an error's text. A scrape costs the same
//! however many jobs there are: what is counted is counted when it changes.

mod census;
mod labels;
mod lag;
mod process;
mod requests;
#[cfg(test)]
mod tests;
mod waits;

pub use labels::{Kind, Verb};
pub use requests::Sent;
pub use waits::idle_since;

use crate::index::version;
use axum::http::{Method, Uri};
use census::Census;
use duj_api::DockerUniverseJob;
use duj_core::userlog::{Body, Event};
use jiff::Timestamp;
use kube::{ResourceExt, runtime::watcher};
use labels::{Code, EVENT_NUMBERS, HOLD_CODES, Number, Purpose, Version, word};
use lag::Lag;
use prometheus_client::{
    encoding::text::encode,
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
        info::Info,
    },
    registry::{Registry, Unit},
};
use requests::Requests;
use std::{sync::Arc, time::Duration};

/// The operator's metrics.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    effects: Family<Purpose, Counter>,
    requests: Requests,
    reconciliations: Histogram,
    failures: Counter,
    waiting: Gauge,
    running: Gauge,
    dropped_events: Counter,
    leading: Gauge,
    leadership_changes: Counter,
    census: Census,
    live_pods: Gauge,
    holds: Family<Code, Counter>,
    events: Family<Number, Counter>,
    creations: Histogram,
    ends: Histogram,
    lag: Arc<Lag>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut metrics = Self {
            registry: Registry::default(),
            effects: Family::default(),
            requests: Requests::default(),
            // 0.5 ms to 4 s.
            reconciliations: Histogram::new(exponential_buckets(0.0005, 2.0, 14)),
            failures: Counter::default(),
            waiting: Gauge::default(),
            running: Gauge::default(),
            dropped_events: Counter::default(),
            leading: Gauge::default(),
            leadership_changes: Counter::default(),
            census: Census::default(),
            live_pods: Gauge::default(),
            holds: Family::default(),
            events: Family::default(),
            // 5 ms to 22 minutes: a proc may wait for its place.
            creations: Histogram::new(exponential_buckets(0.005, 2.0, 19)),
            // 1 ms to 2 minutes.
            ends: Histogram::new(exponential_buckets(0.001, 2.0, 18)),
            lag: Arc::default(),
        };
        metrics.begin_at_zero();
        metrics.register();
        metrics
    }
}

impl Metrics {
    /// A count that begins at one hides its first step from `rate()`.
    fn begin_at_zero(&self) {
        for effect in Verb::ALL.iter().copied() {
            drop(self.effects.get_or_create(&Purpose { effect }));
        }
        for (_, code) in HOLD_CODES {
            drop(self.holds.get_or_create(&Code { code }));
        }
        for (_, event) in EVENT_NUMBERS {
            drop(self.events.get_or_create(&Number { event }));
        }
    }

    fn register(&mut self) {
        self.registry.register_collector(Box::new(process::Process));
        let registry = self.registry.sub_registry_with_prefix("docker_universe");
        let version = Version { version: env!("CARGO_PKG_VERSION") };
        registry.register("build", "The operator's version", Info::new(version));
        registry.register("leading", "1 while this operator leads, else 0", self.leading.clone());
        registry.register(
            "leadership_changes",
            "How often this operator began or ceased to lead",
            self.leadership_changes.clone(),
        );

        let Census { jobs, procs, conditions, reasons, .. } = &self.census;
        registry.register("jobs", "Jobs by state; each is in one of them", jobs.clone());
        registry.register(
            "jobs_with_condition",
            "Jobs by the conditions that are true of them",
            conditions.clone(),
        );
        registry.register(
            "jobs_by_reason",
            "Jobs that have not ended, by the reason of their status",
            reasons.clone(),
        );
        registry.register("procs", "Procs by state", procs.clone());
        registry.register("live_pods", "Pods of jobs that have not ended", self.live_pods.clone());
        registry.register("holds", "Holds by HTCondor's HoldReasonCode", self.holds.clone());
        registry.register(
            "userlog_events",
            "Events of userlogs by HTCondor's number",
            self.events.clone(),
        );
        registry.register_with_unit(
            "pod_creation",
            "Time from a proc's becoming idle to its pod's creation",
            Unit::Seconds,
            self.creations.clone(),
        );
        registry.register_with_unit(
            "end_to_status",
            "Time from when the watch told of a pod's end until the job's status says so",
            Unit::Seconds,
            self.ends.clone(),
        );

        registry.register(
            "api_requests",
            "Requests to the API server by what it answered, those for the operator's own lease apart",
            self.requests.answers.clone(),
        );
        registry.register_with_unit(
            "api_request",
            "Time of a request to the API server, watches apart",
            Unit::Seconds,
            self.requests.times.clone(),
        );
        registry.register("effects", "What decisions had done, by purpose", self.effects.clone());
        registry.register(
            "events_dropped",
            "Kubernetes Events that did not fit into the queue",
            self.dropped_events.clone(),
        );

        registry.register_with_unit(
            "reconcile",
            "Time of one look at a job",
            Unit::Seconds,
            self.reconciliations.clone(),
        );
        registry.register(
            "reconcile_failures",
            "Looks at a job that ended in an error",
            self.failures.clone(),
        );
        registry.register("queue_depth", "Jobs that wait for a look", self.waiting.clone());
        registry.register("queue_running", "Jobs that are being looked at", self.running.clone());

        registry.register_with_unit(
            "cache_lag",
            "Time from the answer to a write of our own until the watch tells of it, sampled",
            Unit::Seconds,
            self.lag.times.clone(),
        );
        registry.register_with_unit(
            "cache_awaited",
            "Age of the oldest write of our own that the watch has not told of; 0 without one",
            Unit::Seconds,
            self.lag.awaited.clone(),
        );
        registry.register_with_unit(
            "cache_silence",
            "Time since the watch told of anything",
            Unit::Seconds,
            self.lag.silence.clone(),
        );
        registry.register(
            "cache_lists",
            "How often all objects were listed: once, and after each watch that broke for good",
            self.lag.lists.clone(),
        );
    }

    /// Something was done for a decision, or tried.
    pub fn wrote(&self, verb: Verb) {
        self.effects.get_or_create(&Purpose { effect: verb }).inc();
    }

    /// A request is sent to the API server; it is counted when what is returned is dropped.
    pub fn sent(&self, method: &Method, uri: &Uri) -> Sent {
        self.requests.sent(method, uri)
    }

    /// A job was looked at.
    pub fn reconciled(&self, time: Duration) {
        self.reconciliations.observe(time.as_secs_f64());
    }

    /// A look at a job ended in an error.
    pub fn failed(&self) {
        self.failures.inc();
    }

    /// How many jobs wait for a look, and how many are being looked at.
    pub fn queue_depth(&self, waiting: usize, running: usize) {
        self.waiting.set(i64::try_from(waiting).unwrap_or(i64::MAX));
        self.running.set(i64::try_from(running).unwrap_or(i64::MAX));
    }

    /// A Kubernetes Event was not written.
    pub fn dropped_event(&self) {
        self.dropped_events.inc();
    }

    /// Whether this operator leads.
    pub fn leads(&self, leads: bool) {
        if self.leading.set(i64::from(leads)) != i64::from(leads) {
            self.leadership_changes.inc();
        }
    }

    /// The watch of jobs tells this.
    pub fn job_told(&self, event: &watcher::Event<DockerUniverseJob>) {
        self.told(Kind::Jobs, event);
        self.census.event(event);
    }

    /// A watch tells this.
    pub fn told<K: ResourceExt>(&self, kind: Kind, event: &watcher::Event<K>) {
        self.lag.told(kind, event);
    }

    /// A write of our own was answered with this object.
    pub fn answered<K: ResourceExt>(&self, kind: Kind, object: &K) {
        self.lag.wrote(kind, version(object));
    }

    /// So many pods of jobs have not ended.
    pub fn pods_live(&self, pods: u32) {
        self.live_pods.set(i64::from(pods));
    }

    /// These events were committed with a status.
    pub fn committed(&self, events: &[Event]) {
        for Event { body, .. } in events {
            let event = word(&EVENT_NUMBERS, &body.number());
            self.events.get_or_create(&Number { event }).inc();
            if let Body::Held { code, .. } = body {
                let code = word(&HOLD_CODES, code);
                self.holds.get_or_create(&Code { code }).inc();
            }
        }
    }

    /// The pod of a proc was created now. `since` is the stamp of the proc's becoming idle, whole seconds; of a job that came while
    /// we watched, it is at the earliest when the watch told of it.
    pub fn pod_created(&self, job_uid: &str, since: Timestamp, now: Timestamp) {
        let stamped = Duration::try_from(now.duration_since(since)).unwrap_or_default();
        let told = self.census.told(job_uid).unwrap_or(Duration::MAX);
        self.creations.observe(stamped.min(told).as_secs_f64());
    }

    /// A status that accounts for a pod's end was written, so long after the watch told of that end.
    pub fn end_committed(&self, after: Duration) {
        self.ends.observe(after.as_secs_f64());
    }

    /// All of it in the text format of `OpenMetrics`.
    pub fn text(&self) -> String {
        self.lag.refresh();
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}
