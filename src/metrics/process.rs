//! What every exporter tells of its own process, under the names that all use, and how much memory it may have.
//!
//! Invariant: read when it is asked for, and never more than some small files of `/proc` and `/sys`.

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::Unit,
};
use rustix::param;
use std::fs;

/// The process.
#[derive(Debug)]
pub(super) struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let stat = Stat::read();
        let seconds = Some(&Unit::Seconds);
        let bytes = Some(&Unit::Bytes);
        ConstCounter::new(stat.cpu_seconds).encode(encoder.encode_descriptor(
            "process_cpu",
            "Processor time, user and system.",
            seconds,
            MetricType::Counter,
        )?)?;
        for (name, help, unit, value) in [
            ("process_resident_memory", "Resident memory.", bytes, stat.resident_bytes),
            ("process_start_time", "Start of the process, since 1970.", seconds, stat.started),
            ("process_open_fds", "Open file descriptors.", None, open_files()),
            ("process_max_fds", "Most file descriptors.", None, most_files()),
            (
                "docker_universe_memory_limit",
                "Memory that the operator's container may have; infinite without a limit.",
                bytes,
                memory_limit(),
            ),
        ] {
            let descriptor = encoder.encode_descriptor(name, help, unit, MetricType::Gauge)?;
            ConstGauge::new(value).encode(descriptor)?;
        }
        Ok(())
    }
}

/// What `/proc/self/stat` says; zero where it cannot be read.
#[derive(Debug, Default, PartialEq)]
struct Stat {
    cpu_seconds: f64,
    resident_bytes: f64,
    /// Seconds since 1970.
    started: f64,
}

impl Stat {
    fn read() -> Self {
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let machine = fs::read_to_string("/proc/stat").unwrap_or_default();
        let booted = machine.lines().find_map(|line| line.strip_prefix("btime "));
        let booted = booted.and_then(|text| text.trim().parse().ok()).unwrap_or_default();
        Self::of(&stat, booted, count(param::clock_ticks_per_second()), count(param::page_size()))
    }

    /// Reads the line (proc(5)): the command, in parentheses, may hold anything.
    fn of(stat: &str, booted: f64, ticks: f64, page: f64) -> Self {
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
        let fields: Vec<&str> = fields.split_whitespace().collect();
        // The first one here is field 3.
        let field = |number: usize| -> f64 {
            fields.get(number - 3).and_then(|text| text.parse().ok()).unwrap_or_default()
        };
        Self {
            cpu_seconds: (field(14) + field(15)) / ticks,
            resident_bytes: field(24) * page,
            started: booted + field(22) / ticks,
        }
    }
}

fn open_files() -> f64 {
    fs::read_dir("/proc/self/fd").map_or(0.0, |files| count(files.count()))
}

fn most_files() -> f64 {
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().next());
    soft.and_then(|text| text.parse().ok()).unwrap_or(f64::INFINITY)
}

/// The container sees its own control group as the root of all, of version 2 or 1.
fn memory_limit() -> f64 {
    ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"]
        .into_iter()
        .find_map(|path| limit_of(&fs::read_to_string(path).ok()?))
        .unwrap_or(f64::INFINITY)
}

/// Version 1 writes no limit as the largest number of whole pages.
fn limit_of(text: &str) -> Option<f64> {
    let bytes: f64 = text.trim().parse().ok()?;
    (bytes < 2f64.powi(62)).then_some(bytes)
}

#[allow(clippy::cast_precision_loss, reason = "none of these numbers is near 2^53")]
fn count(number: impl TryInto<u64>) -> f64 {
    number.try_into().unwrap_or_default() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_read_whatever_it_is_called() {
        let stat = "42 (a (b) 7 c) S 1 42 42 0 -1 4194560 500 0 0 0 150 50 0 0 20 0 9 0 3000 99999 7 18446744073709551615 1";
        let wanted = Stat { cpu_seconds: 2.0, resident_bytes: 28672.0, started: 1030.0 };
        assert_eq!(Stat::of(stat, 1000.0, 100.0, 4096.0), wanted);
        assert_eq!(Stat::of("", 0.0, 100.0, 4096.0), Stat::default());
        let here = Stat::read();
        assert!(here.resident_bytes > 0.0 && here.started > 1e9, "{here:?}");
        assert!(open_files() >= 3.0);
    }

    #[test]
    fn a_limit_is_a_number_that_can_be_reached() {
        for (text, limit) in [
            ("268435456\n", Some(268_435_456.0)),
            ("max\n", None),
            ("9223372036854771712\n", None),
            ("", None),
        ] {
            assert_eq!(limit_of(text), limit, "{text:?}");
        }
    }
}
