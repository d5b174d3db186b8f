//! What the container's control group tells: peak memory, kills by the kernel for lack of memory, CPU time.
//!
//! Both versions of control groups are read, as they appear inside a container: the container's own group is
//! mounted at the root path (version 2), or at one directory per controller below it (version 1).
//! Invariant: what cannot be read is `None`, never zero.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// Where runtimes mount a container's own control group.
pub(crate) const ROOT: &str = "/sys/fs/cgroup";

/// A control group as its container sees it.
#[derive(Debug)]
pub(crate) struct Cgroup {
    root: PathBuf,
}

/// CPU time in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CpuTime {
    pub(crate) user_ms: u64,
    pub(crate) system_ms: u64,
}

impl Cgroup {
    pub(crate) fn new(root: impl AsRef<Path>) -> Self {
        Self { root: root.as_ref().to_path_buf() }
    }

    /// Peak memory in bytes, page cache included. `memory.peak` came with Linux 5.19.
    pub(crate) fn peak_memory(&self) -> Option<u64> {
        number(
            &self
                .read("memory.peak")
                .or_else(|_| self.read("memory/memory.max_usage_in_bytes"))
                .ok()?,
        )
    }

    /// Memory in use now, in bytes: for kernels that do not keep the peak.
    pub(crate) fn current_memory(&self) -> Option<u64> {
        number(
            &self
                .read("memory.current")
                .or_else(|_| self.read("memory/memory.usage_in_bytes"))
                .ok()?,
        )
    }

    /// How many processes of this group the kernel killed for lack of memory. `memory.events` counts nested
    /// groups too, which `memory.events.local` does not: a job may make some.
    pub(crate) fn oom_kills(&self) -> Option<u64> {
        oom_kills(
            &self.read("memory.events").or_else(|_| self.read("memory/memory.oom_control")).ok()?,
        )
    }

    /// CPU time of all processes that were ever in this group, reaped or not.
    pub(crate) fn cpu_time(&self) -> Option<CpuTime> {
        if let Ok(text) = self.read("cpu.stat") {
            return cpu_stat(&text);
        }
        // The two controllers are usually, not always, mounted together; both names lead there.
        let user = self.read("cpuacct/cpuacct.usage_user").ok()?;
        let system = self.read("cpuacct/cpuacct.usage_sys").ok()?;
        Some(CpuTime {
            user_ms: number(&user)? / 1_000_000,
            system_ms: number(&system)? / 1_000_000,
        })
    }

    fn read(&self, file: &str) -> io::Result<String> {
        fs::read_to_string(self.root.join(file))
    }
}

/// A file with one number.
fn number(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

/// The value of a line `<name> <value>`; names that only begin alike (`oom_kill_disable`) are others.
fn value_of(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(' ')?;
        (key == name).then(|| number(value))?
    })
}

/// Of `memory.events` (version 2) and of `memory.oom_control` (version 1, since Linux 4.13) alike.
fn oom_kills(text: &str) -> Option<u64> {
    value_of(text, "oom_kill")
}

/// Of version 2's `cpu.stat`.
fn cpu_stat(text: &str) -> Option<CpuTime> {
    Some(CpuTime {
        user_ms: value_of(text, "user_usec")? / 1000,
        system_ms: value_of(text, "system_usec")? / 1000,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Version 2, in the form of the kernel's `cgroup-v2.rst` (since Linux 5.17; older ones end at `oom_kill`).
    const MEMORY_EVENTS: &str = "low 0\nhigh 0\nmax 1093\noom 3\noom_kill 2\noom_group_kill 1\n";
    /// Recorded on Linux 6.18, version 1.
    const OOM_CONTROL: &str = "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n";
    /// The same file before Linux 4.13.
    const OLD_OOM_CONTROL: &str = "oom_kill_disable 0\nunder_oom 0\n";
    const CPU_STAT: &str = "usage_usec 5123456\nuser_usec 4000999\nsystem_usec 1122457\n\
        core_sched.force_idle_usec 0\nnr_periods 0\nnr_throttled 0\nthrottled_usec 0\nnr_bursts 0\n";

    #[test]
    fn kills_are_counted_in_both_versions() {
        assert_eq!(oom_kills(MEMORY_EVENTS), Some(2));
        assert_eq!(oom_kills(OOM_CONTROL), Some(3));
        assert_eq!(oom_kills(OLD_OOM_CONTROL), None);
        assert_eq!(oom_kills(""), None);
        assert_eq!(oom_kills("oom_kill x\n"), None);
    }

    #[test]
    fn cpu_time_is_read_from_version_2() {
        assert_eq!(cpu_stat(CPU_STAT), Some(CpuTime { user_ms: 4000, system_ms: 1122 }));
        assert_eq!(cpu_stat("usage_usec 5\n"), None);
    }

    /// Lays out the files of a control group below a fresh directory.
    fn laid_out(name: &str, files: &[(&str, &str)]) -> Cgroup {
        let root =
            std::env::temp_dir().join(format!("starter-cgroup-{}-{name}", std::process::id()));
        for (file, text) in files {
            let path = root.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Cgroup::new(root)
    }

    #[test]
    fn both_layouts_are_read() {
        let second = laid_out(
            "second",
            &[
                ("memory.peak", "734003200\n"),
                ("memory.current", "5000\n"),
                ("memory.events", MEMORY_EVENTS),
                ("cpu.stat", CPU_STAT),
            ],
        );
        assert_eq!(second.peak_memory(), Some(734_003_200));
        assert_eq!(second.current_memory(), Some(5000));
        assert_eq!(second.oom_kills(), Some(2));
        assert_eq!(second.cpu_time().unwrap().user_ms, 4000);
        let first = laid_out(
            "first",
            &[
                ("memory/memory.max_usage_in_bytes", "5676560384\n"),
                ("memory/memory.usage_in_bytes", "4096\n"),
                ("memory/memory.oom_control", OOM_CONTROL),
                ("cpuacct/cpuacct.usage_user", "486595341603\n"),
                ("cpuacct/cpuacct.usage_sys", "1999999\n"),
            ],
        );
        assert_eq!(first.peak_memory(), Some(5_676_560_384));
        assert_eq!(first.current_memory(), Some(4096));
        assert_eq!(first.oom_kills(), Some(3));
        assert_eq!(first.cpu_time(), Some(CpuTime { user_ms: 486_595, system_ms: 1 }));
        for cgroup in [first, second] {
            fs::remove_dir_all(cgroup.root).unwrap();
        }
    }

    #[test]
    fn what_is_not_there_is_none() {
        let cgroup = Cgroup::new("/nowhere");
        assert_eq!(
            (cgroup.peak_memory(), cgroup.oom_kills(), cgroup.cpu_time()),
            (None, None, None)
        );
    }
}
