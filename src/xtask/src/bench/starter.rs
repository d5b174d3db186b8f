//! The starter by itself: from its exec to its command's exec, and its resident memory.

use super::median;
use anyhow::{Context as _, bail};
use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

/// Runs of each kind; they alternate.
const RUNS: usize = 101;

/// What was measured.
pub(crate) struct Measured {
    /// Milliseconds from the starter's exec to its command's, less what a bare exec takes.
    pub(crate) overhead_ms: f64,
    /// KiB resident while its command runs.
    pub(crate) resident_kib: u64,
}

/// The clock that every process of this machine shares.
pub(crate) fn monotonic_nanoseconds() -> i128 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    i128::from(now.tv_sec) * 1_000_000_000 + i128::from(now.tv_nsec)
}

/// Measures the starter at this path.
pub(crate) fn measure(starter: &Path) -> anyhow::Result<Measured> {
    let directory =
        std::env::temp_dir().join(format!("docker-universe-bench-{}", std::process::id()));
    fs::create_dir_all(directory.join("scratch"))?; // the volume; the starter makes what is in it
    let result = measure_in(starter, &directory);
    fs::remove_dir_all(&directory)?;
    result
}

fn measure_in(starter: &Path, directory: &Path) -> anyhow::Result<Measured> {
    let own = std::env::current_exe()?;
    let reached_after = |with_starter: bool| -> anyhow::Result<f64> {
        let mut command = if with_starter { under(starter, directory) } else { Command::new(&own) };
        if with_starter {
            command.arg(&own);
        }
        command.args(["bench", "clock"]);
        let begun = monotonic_nanoseconds();
        let output = command.stdin(Stdio::null()).output().context("cannot start the starter")?;
        let told = String::from_utf8_lossy(&output.stdout);
        let Ok(reached) = told.trim().parse::<i128>() else {
            bail!(
                "the starter did not start its command: {}",
                String::from_utf8_lossy(&output.stderr)
            );
        };
        #[allow(clippy::cast_precision_loss, reason = "a few milliseconds in nanoseconds")]
        Ok((reached - begun) as f64 / 1e6)
    };
    let (mut with, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        with.push(reached_after(true)?);
        bare.push(reached_after(false)?);
    }
    Ok(Measured {
        overhead_ms: median(with) - median(bare),
        resident_kib: resident(starter, directory)?,
    })
}

fn under(starter: &Path, directory: &Path) -> Command {
    let mut command = Command::new(starter);
    command.args(["run", "--scratch"]).arg(directory.join("scratch/work"));
    command.arg("--record").arg(directory.join("record")).arg("--");
    command
}

fn resident(starter: &Path, directory: &Path) -> anyhow::Result<u64> {
    let mut child = under(starter, directory).args(["/bin/sleep", "60"]).spawn()?;
    std::thread::sleep(std::time::Duration::from_millis(1500));
    let status = fs::read_to_string(format!("/proc/{}/status", child.id()));
    let ended = Command::new("kill").arg(child.id().to_string()).status();
    child.wait()?;
    ended?;
    let status = status?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).context("no VmRSS")?;
    line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).context("VmRSS is not a number")
}
