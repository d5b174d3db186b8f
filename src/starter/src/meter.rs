//! What the job used: everything that a [`Usage`] has, gathered from where it is told.
//!
//! Invariant: counters that ran before the command did (the node's, an init container's) do not count.

use duj_protocol::Usage;
use nix::sys::{
    resource::{UsageWho, getrusage},
    time::TimeVal,
};

use crate::{
    cgroup::{Cgroup, CpuTime},
    disk::DiskWatch,
    network::{Traffic, traffic},
};

/// Counters of the container and where they stood at the start.
#[derive(Debug)]
pub(crate) struct Meter {
    cgroup: Cgroup,
    oom_kills: u64,
    cpu: CpuTime,
    traffic: Traffic,
    /// The largest use seen, for kernels whose control groups keep no peak.
    sampled_memory: u64,
}

impl Meter {
    /// Notes where the counters stand now.
    pub(crate) fn start(cgroup: Cgroup) -> Self {
        Self {
            oom_kills: cgroup.oom_kills().unwrap_or(0),
            cpu: cgroup.cpu_time().unwrap_or_default(),
            traffic: traffic(),
            sampled_memory: 0,
            cgroup,
        }
    }

    /// Kills for lack of memory since the start.
    pub(crate) fn oom_kills(&self) -> u64 {
        self.cgroup.oom_kills().unwrap_or(0).saturating_sub(self.oom_kills)
    }

    /// What was used so far. Nothing is reaped yet while the command runs, so its CPU time is that of the
    /// control group.
    pub(crate) fn so_far(&mut self, disk: &DiskWatch) -> Usage {
        let mut usage = self.reaped(disk);
        if let Some(now) = self.cgroup.cpu_time() {
            usage.user_ms = usage.user_ms.max(now.user_ms.saturating_sub(self.cpu.user_ms));
            usage.system_ms = usage.system_ms.max(now.system_ms.saturating_sub(self.cpu.system_ms));
        }
        usage
    }

    /// What was used by all that were reaped, and by those that they had waited for.
    pub(crate) fn reaped(&mut self, disk: &DiskWatch) -> Usage {
        let mut usage = Usage::default();
        if let Ok(children) = getrusage(UsageWho::RUSAGE_CHILDREN) {
            usage.user_ms = milliseconds(children.user_time());
            usage.system_ms = milliseconds(children.system_time());
            usage.resident = u64::try_from(children.max_rss()).unwrap_or(0) * 1024; // KiB on Linux
        }
        usage.peak_memory = self.peak_memory().unwrap_or(usage.resident);
        let tally = disk.last();
        (usage.scratch, usage.files) = (tally.bytes, tally.files);
        let traffic = traffic().since(self.traffic);
        (usage.received, usage.sent) = (traffic.received, traffic.sent);
        usage
    }

    fn peak_memory(&mut self) -> Option<u64> {
        self.cgroup.peak_memory().or_else(|| {
            let now = self.cgroup.current_memory()?;
            self.sampled_memory = self.sampled_memory.max(now);
            Some(self.sampled_memory)
        })
    }
}

fn milliseconds(time: TimeVal) -> u64 {
    let seconds = u64::try_from(time.tv_sec()).unwrap_or(0);
    seconds * 1000 + u64::try_from(time.tv_usec()).unwrap_or(0) / 1000
}
