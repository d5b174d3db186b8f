//! The job's attributes as a policy sees them: `HTCondor`'s job ad, derived from a proc's record and pod.
//!
//! Invariant: what is not known is not in it (`UNDEFINED`), rather than zero.

use crate::{classad::ClassAd, facts::PodFacts, pod::Requests};
use duj_api::{
    DockerUniverseJob,
    status::{Hold, ProcRecord, ProcStatus},
};
use duj_protocol::Usage;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// What an ad is made of.
pub(crate) struct Subject<'a> {
    pub(crate) job: &'a DockerUniverseJob,
    pub(crate) total: u32,
    pub(crate) cluster_id: i64,
    pub(crate) proc: u32,
    pub(crate) record: &'a ProcRecord,
    pub(crate) pod: Option<&'a PodFacts>,
    pub(crate) requests: Option<&'a Requests>,
    /// What the last attempt used, where it has ended.
    pub(crate) usage: Option<&'a Usage>,
    pub(crate) now: Timestamp,
}

/// `JobStatus` (§5.1 of the semantics).
pub(crate) const fn number(status: ProcStatus) -> i64 {
    match status {
        ProcStatus::Idle => 1,
        ProcStatus::Running => 2,
        ProcStatus::Removed => 3,
        ProcStatus::Completed => 4,
        ProcStatus::Held => 5,
        ProcStatus::Suspended => 7,
    }
}

impl Subject<'_> {
    /// The ad.
    pub(crate) fn ad(&self) -> ClassAd {
        let mut ad = ClassAd::new();
        self.describe(&mut ad);
        self.count(&mut ad);
        self.tell_run(&mut ad);
        self.tell_hold(&mut ad);
        self.tell_end(&mut ad);
        ad
    }

    fn describe(&self, ad: &mut ClassAd) {
        let spec = &self.job.spec;
        let metadata = &self.job.metadata;
        ad.insert("ClusterId", self.cluster_id);
        ad.insert("ProcId", i64::from(self.proc));
        ad.insert("JobUniverse", 5);
        ad.insert("WantDocker", true);
        ad.insert("DockerImage", spec.image.as_str());
        ad.insert("Cmd", spec.executable.as_deref().unwrap_or_default());
        ad.insert("TotalSubmitProcs", i64::from(self.total));
        if let Some(queue) = &spec.queue {
            let limits = [
                ("JobMaterializeLimit", queue.max_materialize),
                ("JobMaterializeMaxIdle", queue.max_idle),
            ];
            for (name, limit) in limits {
                if let Some(limit) = limit {
                    ad.insert(name, limit);
                }
            }
        }
        ad.insert("JobPrio", i64::from(self.record.job_prio));
        if let Some(name) = &spec.batch_name {
            ad.insert("JobBatchName", name.as_str());
        }
        if let Some(seconds) = spec.lease_duration {
            ad.insert("JobLeaseDuration", seconds);
        }
        if let Some(created) = &metadata.creation_timestamp {
            ad.insert("QDate", created.0.as_second());
        }
        let retries = spec.policy.success_exit_code.is_some() || spec.policy.retry_until.is_some();
        if let Some(retries) = spec.policy.max_retries.or(retries.then_some(2)) {
            ad.insert("JobMaxRetries", retries);
        }
        if let Some(code) = spec.policy.success_exit_code {
            ad.insert("JobSuccessExitCode", i64::from(code));
        }
        if let Some(requests) = self.requests {
            ad.insert("RequestCpus", requests.threads());
            ad.insert("RequestMemory", requests.memory_mib());
            if let Some(kib) = requests.disk_kib() {
                ad.insert("RequestDisk", kib);
            }
            if requests.gpus() > 0 {
                ad.insert("RequestGPUs", requests.gpus());
            }
        }
    }

    fn count(&self, ad: &mut ClassAd) {
        let record = self.record;
        ad.insert("JobStatus", number(record.status));
        if let Some(last) = record.last_status {
            ad.insert("LastJobStatus", number(last));
        }
        if let Some(entered) = &record.entered_status {
            ad.insert("EnteredCurrentStatus", entered.0.as_second());
        }
        let counts = [
            ("NumJobStarts", record.num_job_starts),
            ("NumShadowStarts", record.attempt.saturating_add(u32::from(self.pod.is_some()))),
            ("JobRunCount", record.num_job_starts),
            ("NumJobCompletions", record.num_job_completions),
            ("NumHolds", record.num_holds),
            ("NumVacates", record.num_vacates),
            ("TotalSuspensions", record.total_suspensions),
        ];
        for (name, count) in counts {
            ad.insert(name, i64::from(count));
        }
    }

    fn tell_run(&self, ad: &mut ClassAd) {
        let record = self.record;
        let mut wall_clock = f64::from(record.wall_clock_time);
        let mut suspended = i64::from(record.suspension_time);
        let runs = matches!(record.status, ProcStatus::Running | ProcStatus::Suspended);
        if let Some(pod) = self.pod.filter(|_| runs) {
            if let Some(started) = pod.started() {
                ad.insert("JobCurrentStartExecutingDate", started.as_second());
                wall_clock += self.now.duration_since(started).as_secs_f64().floor().max(0.0);
            }
            if let Some(bound) = pod.scheduled {
                ad.insert("JobCurrentStartDate", bound.as_second());
                ad.insert("ShadowBday", bound.as_second());
            }
            ad.insert("RemoteHost", pod.slot().as_str());
        }
        if record.status == ProcStatus::Suspended {
            suspended += self.since(record.entered_status.as_ref());
        }
        ad.insert("RemoteWallClockTime", wall_clock);
        ad.insert("CumulativeSuspensionTime", suspended);
    }

    fn since(&self, time: Option<&Time>) -> i64 {
        time.map_or(0, |time| self.now.duration_since(time.0).as_secs().max(0))
    }

    fn tell_hold(&self, ad: &mut ClassAd) {
        let mut tell = |prefix: &str, hold: &Hold| {
            ad.insert(&format!("{prefix}Reason"), hold.reason.as_str());
            ad.insert(&format!("{prefix}ReasonCode"), i64::from(hold.code));
            ad.insert(&format!("{prefix}ReasonSubCode"), i64::from(hold.subcode));
        };
        if let Some(hold) = &self.record.hold {
            tell("Hold", hold);
        }
        if let Some(hold) = &self.record.last_hold {
            tell("LastHold", hold);
        }
    }

    fn tell_end(&self, ad: &mut ClassAd) {
        let record = self.record;
        ad.insert("ExitBySignal", record.exit_signal.is_some());
        if let Some(signal) = record.exit_signal {
            ad.insert("ExitSignal", i64::from(signal));
        } else if let Some(code) = record.exit_code {
            ad.insert("ExitCode", i64::from(code));
        }
        let Some(usage) = self.usage else { return };
        let whole = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        if usage.peak_memory > 0 {
            ad.insert("MemoryUsage", whole(usage.peak_memory.div_ceil(1 << 20)));
            ad.insert("ImageSize", whole(usage.peak_memory.div_ceil(1024)));
            ad.insert("ResidentSetSize", whole(usage.resident.div_ceil(1024)));
        }
        ad.insert("DiskUsage", whole(usage.scratch.div_ceil(1024)));
        ad.insert("RemoteUserCpu", whole(usage.user_ms / 1000));
        ad.insert("RemoteSysCpu", whole(usage.system_ms / 1000));
    }
}
