//! From what happened to a proc to the events of its userlog, in `HTCondor`'s order (§3.5 of the semantics).
//!
//! Invariant: an event is made from facts alone, so that the same facts make the same text until it is committed.

mod cluster;
mod mirror;
mod transfers;

use crate::{
    facts::PodFacts,
    fate::End,
    hold,
    pod::Requests,
    userlog::{
        Amount, Attribute, Body, Bytes, CpuUsage, Event, Evicted, Eviction, Exit, JobId, Line,
        Name, Resource, ResourceTable, Terminated,
    },
};
use duj_api::{names, status::Hold};
use duj_protocol::Usage;
use jiff::Timestamp;
use std::collections::BTreeMap;

/// Bytes of log after which nothing further is heard in one decision: together with what a status keeps they stay within
/// the bound of its text.
const ENOUGH: usize = 40 * 1024;

/// Collects the events of one decision.
#[derive(Debug)]
pub(crate) struct Journal {
    cluster: u32,
    /// `<namespace>/<name>` of the job, for the submit host.
    alias: String,
    /// New events, in order.
    pub(crate) events: Vec<Event>,
    /// What else people are told: warnings that are no events of the log, each a word and a line.
    pub(crate) warnings: Vec<(&'static str, String)>,
    /// How many of them have had the job's attributes told after them, where somebody wants that.
    informed: usize,
    /// Bytes of their text.
    bytes: usize,
}

impl Journal {
    pub(crate) fn new(cluster_id: i64, alias: String) -> Self {
        Self {
            cluster: u32::try_from(cluster_id).unwrap_or(u32::MAX),
            alias,
            events: Vec::new(),
            warnings: Vec::new(),
            informed: 0,
            bytes: 0,
        }
    }

    /// Enough for one status.
    pub(crate) fn is_full(&self) -> bool {
        self.bytes >= ENOUGH
    }

    /// Half of that.
    pub(crate) fn is_half_full(&self) -> bool {
        self.bytes >= ENOUGH / 2
    }

    fn log(&mut self, proc: u32, time: Timestamp, body: Body) {
        let job = JobId { cluster: self.cluster, proc: i32::try_from(proc).unwrap_or(i32::MAX) };
        // Clocks differ between nodes; a log's times do not go backwards.
        let time = self.events.last().map_or(time, |last| last.time.max(time));
        let event = Event { job, time, body };
        self.bytes += event.to_string().len();
        self.events.push(event);
    }

    /// Whether there are events whose ad was not told.
    pub(crate) fn has_news(&self) -> bool {
        self.informed < self.events.len()
    }

    /// Puts an event 028 behind each event that has none.
    pub(crate) fn inform(&mut self, information: impl Fn(&Event) -> Body) {
        for event in self.events.split_off(self.informed) {
            let Event { job, time, .. } = event;
            let body = information(&event);
            let told = Event { job, time, body };
            self.bytes += told.to_string().len();
            self.events.extend([event, told]);
        }
        self.informed = self.events.len();
    }

    pub(crate) fn submitted(&mut self, proc: u32, time: Timestamp) {
        let host = self.submit_host();
        self.log(proc, time, Body::Submit { host, notes: Vec::new(), warning: Line::new("") });
    }

    pub(crate) fn executing(
        &mut self,
        proc: u32,
        time: Timestamp,
        pod: &PodFacts,
        requests: Option<&Requests>,
    ) {
        let mut properties = BTreeMap::new();
        let mut property = |name: &str, value: Line| properties.insert(Attribute::new(name), value);
        property("CondorScratchDir", Line::quoted(names::SCRATCH));
        if let Some(requests) = requests {
            property("Cpus", Line::new(&requests.cpu_cores.to_string()));
            property("Memory", Line::new(&requests.memory_mib().to_string()));
            property("GPUs", Line::new(&requests.gpus().to_string()));
            if let Some(kib) = requests.disk_kib() {
                property("Disk", Line::new(&kib.to_string()));
            }
        }
        let body = Body::Execute {
            host: Name::new(&pod.address()),
            slot: Name::new(&pod.slot()),
            properties,
        };
        self.log(proc, time, body);
    }

    pub(crate) fn terminated(&mut self, proc: u32, time: Timestamp, exit: Exit, run: &Run<'_>) {
        if let Some(body) = image_size(&run.usage) {
            self.log(proc, time, body);
        }
        let cpu = cpu(&run.usage);
        let body = Body::Terminated(Terminated {
            exit,
            run_remote: cpu,
            run_local: CpuUsage::default(),
            total_remote: cpu,
            total_local: CpuUsage::default(),
            run: run.moved,
            total: run.moved,
            resources: run.table(),
        });
        self.log(proc, time, body);
    }

    pub(crate) fn evicted(
        &mut self,
        proc: u32,
        time: Timestamp,
        code: i32,
        subcode: i32,
        reason: &str,
        run: &Run<'_>,
    ) {
        let body = Body::Evicted(Evicted {
            how: Eviction::Stopped,
            code,
            subcode,
            reason: Line::new(reason),
            run_remote: cpu(&run.usage),
            run: run.moved,
            resources: run.table(),
            ..Evicted::default()
        });
        self.log(proc, time, body);
    }

    /// 004 of a job that ended by itself and is to run again.
    pub(crate) fn requeued(
        &mut self,
        proc: u32,
        time: Timestamp,
        exit: Exit,
        reason: &str,
        run: &Run<'_>,
    ) {
        let body = Body::Evicted(Evicted {
            how: Eviction::Requeued(exit),
            reason: Line::new(reason),
            run_remote: cpu(&run.usage),
            run: run.moved,
            resources: run.table(),
            ..Evicted::default()
        });
        self.log(proc, time, body);
    }

    pub(crate) fn suspended(&mut self, proc: u32, time: Timestamp, processes: u32) {
        self.log(proc, time, Body::Suspended { processes });
    }

    pub(crate) fn unsuspended(&mut self, proc: u32, time: Timestamp) {
        self.log(proc, time, Body::Unsuspended);
    }

    /// 033: a person changed an attribute.
    pub(crate) fn updated(&mut self, proc: u32, time: Timestamp, name: &str, old: i32, new: i32) {
        let attribute = Attribute::new(name);
        let (old, new) = (Name::new(&old.to_string()), Name::new(&new.to_string()));
        self.log(proc, time, Body::AttributeUpdate { attribute, old, new });
    }

    pub(crate) fn held(&mut self, proc: u32, time: Timestamp, hold: &Hold) {
        let body =
            Body::Held { reason: Line::new(&hold.reason), code: hold.code, subcode: hold.subcode };
        self.log(proc, time, body);
    }

    pub(crate) fn released(&mut self, proc: u32, time: Timestamp, reason: &str) {
        self.log(proc, time, Body::Released { reason: Line::new(reason) });
    }

    pub(crate) fn aborted(&mut self, proc: u32, time: Timestamp, reason: &str) {
        self.log(proc, time, Body::Aborted { reason: Line::new(reason) });
    }

    pub(crate) fn starter_failed(&mut self, proc: u32, time: Timestamp, message: &str) {
        self.log(
            proc,
            time,
            Body::ShadowException { message: Line::new(message), run: Bytes::default() },
        );
    }

    /// 021: the starter's own words for a hold.
    pub(crate) fn remote_error(&mut self, proc: u32, time: Timestamp, slot: &str, hold: &Hold) {
        let body = Body::RemoteError {
            critical: true,
            daemon: Name::new("starter"),
            host: Name::new(slot),
            message: vec![Line::new(hold::without_prefix(slot, &hold.reason))],
            code: hold.code,
            subcode: hold.subcode,
        };
        self.log(proc, time, body);
    }

    pub(crate) fn disconnected(
        &mut self,
        proc: u32,
        time: Timestamp,
        pod: &PodFacts,
        reason: &str,
    ) {
        let body = Body::Disconnected {
            reason: Line::new(reason),
            startd: Name::new(&pod.slot()),
            startd_address: Name::new(&pod.address()),
        };
        self.log(proc, time, body);
    }

    pub(crate) fn reconnected(&mut self, proc: u32, time: Timestamp, pod: &PodFacts) {
        let body = Body::Reconnected {
            startd: Name::new(&pod.slot()),
            startd_address: Name::new(&pod.address()),
            starter_address: Name::new(&pod.address()),
        };
        self.log(proc, time, body);
    }

    pub(crate) fn reconnect_failed(
        &mut self,
        proc: u32,
        time: Timestamp,
        slot: &str,
        reason: &str,
    ) {
        let body = Body::ReconnectFailed { reason: Line::new(reason), startd: Name::new(slot) };
        self.log(proc, time, body);
    }
}

/// What an attempt used and had, for the usage table.
pub(crate) struct Run<'a> {
    pub(crate) requests: Option<&'a Requests>,
    pub(crate) usage: Usage,
    /// Seconds that the job ran, where it did.
    pub(crate) executed: Option<u64>,
    /// Seconds that it had its place on the node.
    pub(crate) busy: Option<u64>,
    /// Bytes of its files, out and in.
    pub(crate) moved: Bytes,
}

impl<'a> Run<'a> {
    pub(crate) fn of(
        pod: Option<&PodFacts>,
        end: Option<&End>,
        requests: Option<&'a Requests>,
    ) -> Self {
        let seconds = |from: Option<Timestamp>, to: Option<Timestamp>| {
            let (from, to) = (from?, to?);
            u64::try_from(to.as_second() - from.as_second()).ok()
        };
        let record = end.and_then(|end| end.record.as_ref());
        let finished = pod.and_then(PodFacts::finished);
        let millis = |ms: Option<i64>| ms.and_then(|ms| Timestamp::from_millisecond(ms).ok());
        let started = millis(record.and_then(|r| r.started)).or(pod.and_then(PodFacts::started));
        let ended = millis(record.and_then(|record| record.ended)).or(finished);
        Self {
            requests,
            usage: end.map(End::usage).unwrap_or_default(),
            executed: seconds(started, ended),
            busy: seconds(pod.and_then(|pod| pod.scheduled), finished.or(ended)),
            moved: Bytes {
                sent: end.and_then(|end| end.sent.as_ref()).map_or(0, |report| report.bytes),
                received: end.and_then(|end| end.brought.as_ref()).map_or(0, |report| report.bytes),
            },
        }
    }

    #[allow(clippy::cast_precision_loss, reason = "a ratio with two digits")]
    fn table(&self) -> ResourceTable {
        let Some(requests) = self.requests else { return ResourceTable::default() };
        let mut rows = BTreeMap::new();
        let whole = |number: i64| Some(Amount::whole(u64::try_from(number).unwrap_or_default()));
        let mut row = |name: &str, usage: Option<Amount>, request: Option<Amount>| {
            let allocated = request;
            let resource = Resource { usage, request, allocated, assigned: Line::new("") };
            rows.insert(Attribute::new(name), resource);
        };
        let cpu_seconds = self.usage.user_ms.saturating_add(self.usage.system_ms) as f64 / 1000.0;
        let busy = self.executed.filter(|seconds| *seconds > 0);
        let cpus = busy.map(|seconds| Amount::nearest(cpu_seconds / seconds as f64));
        let cpus = cpus.or(self.executed.map(|_| Amount::whole(0)));
        row("Cpus", cpus, Some(Amount::nearest(requests.cpu_cores)));
        let measured = self.usage != Usage::default();
        let memory = measured.then(|| Amount::whole(self.usage.peak_memory.div_ceil(1 << 20)));
        row("Memory", memory, whole(requests.memory_mib()));
        let disk = measured.then(|| Amount::whole(self.usage.scratch.div_ceil(1024)));
        row("Disk", disk, requests.disk_kib().and_then(whole));
        if requests.gpus() > 0 {
            row("GPUs", None, whole(requests.gpus()));
        }
        for (name, seconds) in [("TimeExecute", self.executed), ("TimeSlotBusy", self.busy)] {
            if let Some(seconds) = seconds {
                let usage = Some(Amount::whole(seconds));
                rows.insert(
                    Attribute::new(name),
                    Resource { usage, request: None, allocated: None, assigned: Line::new("") },
                );
            }
        }
        ResourceTable(rows)
    }
}

fn cpu(usage: &Usage) -> CpuUsage {
    CpuUsage { user: usage.user_ms / 1000, system: usage.system_ms / 1000 }
}

fn image_size(usage: &Usage) -> Option<Body> {
    (usage.peak_memory > 0).then(|| Body::ImageSize {
        image_size_kb: usage.peak_memory.div_ceil(1024),
        memory_usage_mb: Some(usage.peak_memory.div_ceil(1 << 20)),
        resident_set_size_kb: Some(usage.resident.div_ceil(1024)),
        proportional_set_size_kb: None,
    })
}
