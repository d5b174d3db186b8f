//! What the operator counts, for `/metrics`. Labels come from closed sets only: never a name, never an error's text.

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue, text::encode},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};
use std::time::Duration;

/// Kinds of writes to the API server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
#[allow(missing_docs, reason = "each is an effect of the core")]
pub enum Verb {
    CreatePod,
    PatchStatus,
    ReleasePod,
    DeletePod,
    SuspendPod,
    Resend,
    AnnounceStop,
    MarkLease,
    AppendPage,
    MakeRecords,
    DropRecords,
    KeepItems,
    AnswerCommand,
    DeleteCommand,
    DeleteJob,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Write {
    verb: Verb,
}

/// The operator's metrics.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    writes: Family<Write, Counter>,
    reconciliations: Histogram,
    failures: Counter,
    dropped_events: Counter,
    leading: Gauge,
    leadership_changes: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("docker_universe");
        let writes = Family::default();
        registry.register("api_writes", "Writes to the API server, Events apart", writes.clone());
        let reconciliations = Histogram::new(exponential_buckets(0.0005, 2.0, 14));
        registry.register(
            "reconcile_seconds",
            "Time of one look at a job",
            reconciliations.clone(),
        );
        let failures = Counter::default();
        registry.register(
            "reconcile_failures",
            "Looks at a job that ended in an error",
            failures.clone(),
        );
        let dropped_events = Counter::default();
        registry.register(
            "events_dropped",
            "Kubernetes Events that did not fit into the queue",
            dropped_events.clone(),
        );
        let leading = Gauge::default();
        registry.register("leading", "1 while this operator leads, else 0", leading.clone());
        let leadership_changes = Counter::default();
        registry.register(
            "leadership_changes",
            "How often this operator began or ceased to lead",
            leadership_changes.clone(),
        );
        Self {
            registry,
            writes,
            reconciliations,
            failures,
            dropped_events,
            leading,
            leadership_changes,
        }
    }
}

impl Metrics {
    /// A write was tried.
    pub fn wrote(&self, verb: Verb) {
        self.writes.get_or_create(&Write { verb }).inc();
    }

    /// A job was looked at.
    pub fn reconciled(&self, time: Duration) {
        self.reconciliations.observe(time.as_secs_f64());
    }

    /// A look at a job ended in an error.
    pub fn failed(&self) {
        self.failures.inc();
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

    /// All of it in the text format of Prometheus.
    pub fn text(&self) -> String {
        let mut text = process();
        // Writing to a string cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

/// The one metric of the process itself that an operator of clusters asks for, under the name that all exporters use.
fn process() -> String {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 =
        pages.split_whitespace().nth(1).and_then(|pages| pages.parse().ok()).unwrap_or_default();
    let bytes = pages * PAGE;
    format!(
        "# HELP process_resident_memory_bytes Resident memory.\n# TYPE process_resident_memory_bytes gauge\nprocess_resident_memory_bytes {bytes}\n"
    )
}

/// Bytes of a page on the platforms that the image is built for.
const PAGE: u64 = 4096;
