//! Processor time and memory of processes, as the kernel counts them.

use anyhow::Context as _;
use std::{fs, path::Path, time::Duration};

/// What a process has used.
#[derive(Clone, Copy, Debug, Default)]
pub struct Use {
    /// Processor time, user and system.
    pub cpu: Duration,
    /// Resident now, in bytes.
    pub resident: u64,
    /// The most that was resident, in bytes.
    pub peak: u64,
}

impl Use {
    /// Of the process with this id.
    pub fn of(pid: u32) -> anyhow::Result<Self> {
        let read = |file: &str| {
            let path = format!("/proc/{pid}/{file}");
            fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))
        };
        let (stat, status) = (read("stat")?, read("status")?);
        // The second field is a name in parentheses, which may hold anything.
        let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        let ticks: Vec<u64> = fields
            .split_whitespace()
            .skip(11)
            .take(2)
            .filter_map(|tick| tick.parse().ok())
            .collect();
        let per_second = rustix::param::clock_ticks_per_second().max(1);
        let kib = |name: &str| -> u64 {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let number = line.and_then(|rest| {
                rest.trim_matches(&[':', '\t', ' ', 'k', 'B'][..]).parse::<u64>().ok()
            });
            number.unwrap_or_default() * 1024
        };
        Ok(Self {
            cpu: Duration::from_millis(ticks.iter().sum::<u64>() * 1000 / per_second),
            resident: kib("VmRSS"),
            peak: kib("VmHWM"),
        })
    }
}

/// The processes of a cluster's control plane.
#[derive(Clone, Debug)]
pub struct ControlPlane(Vec<(&'static str, u32)>);

impl ControlPlane {
    /// Those that name this state directory among their arguments.
    pub fn find(cluster: &Path) -> anyhow::Result<Self> {
        let names = ["kube-apiserver", "etcd", "kube-controller-manager", "kube-scheduler"];
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc")?.flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            let words = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let words = String::from_utf8_lossy(&words);
            let program = words.split('\0').next().and_then(|path| path.rsplit('/').next());
            let name = names.into_iter().find(|name| Some(*name) == program);
            if let Some(name) = name.filter(|_| words.contains(&*cluster.to_string_lossy())) {
                found.push((name, pid));
            }
        }
        Ok(Self(found))
    }

    /// What each has used.
    pub fn used(&self) -> Vec<(&'static str, Use)> {
        self.0.iter().filter_map(|(name, pid)| Some((*name, Use::of(*pid).ok()?))).collect()
    }
}
