//! What the machine must offer. Invariant: everything a cluster needs is checked, with its remedy,
//! before anything is changed; and only missing Debian packages are ever installed.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, bail, ensure};

use super::{progress::Progress, tools::Tools};

const GIB: u64 = 1 << 30;

/// Free space for building the tools: Go's build cache takes 4 GiB of it.
const COLD: u64 = 6 * GIB;

/// Free space for a cluster: images, logs and the database.
const WARM: u64 = 2 * GIB;

/// A program, by where Debian puts it or where it was found, and the package it comes with.
const PROGRAMS: [(&str, &str); 9] = [
    ("ip", "iproute2"),
    ("nft", "nftables"),
    ("runc", "runc"),
    ("docker-registry", "docker-registry"),
    ("busybox", "busybox-static"),
    ("unshare", "util-linux"),
    ("setsid", "util-linux"),
    ("mount", "mount"),
    ("/usr/lib/cni/bridge", "containernetworking-plugins"),
];

/// Where the CNI plugins are.
pub(super) const CNI_PLUGINS: &str = "/usr/lib/cni";

/// Search path of the components.
pub(super) const SYSTEM_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Checks what cannot be installed: the operating system, the rights, the compilers.
pub(super) fn check(cache: &Path) -> anyhow::Result<Tools> {
    ensure!(
        cfg!(target_os = "linux"),
        "a cluster needs Linux: use a virtual machine, or set KUBECONFIG to a cluster you have"
    );
    ensure!(
        rustix::process::geteuid().is_root(),
        "a cluster needs root, for its own network, mounts and cgroups: run the command as root, for example with `sudo -E env PATH=\"$PATH\" cargo xtask cluster up`"
    );
    if which("gcc").is_none() {
        bail!(
            "\"gcc\" was not found: install it with `apt-get install gcc libc6-dev`, or put it on PATH"
        );
    }
    check_cgroups()?;
    Ok(Tools::locate(cache, &go_version()?))
}

/// Checks the free disk space for what is about to be done.
pub(super) fn check_space(state: &Path, cache: &Path, tools: &Tools) -> anyhow::Result<()> {
    if !tools.missing().is_empty() {
        check_free(cache, COLD, "for building Kubernetes")?;
    }
    check_free(state, WARM, "for a cluster")
}

/// Installs the Debian packages whose programs are missing.
pub(super) fn install_packages(progress: Progress) -> anyhow::Result<()> {
    let packages = missing_packages();
    if packages.is_empty() {
        return Ok(());
    }
    let list = packages.join(" ");
    ensure!(
        which("apt-get").is_some(),
        "programs are missing, and this machine has no `apt-get`: install what Debian calls {list}"
    );
    progress.say(format!("installing Debian packages: {list}"));
    if apt_get(&["install"], &packages).is_err() {
        progress.say("the package lists may be old: updating them");
        apt_get(&["update"], &[])?;
        apt_get(&["install"], &packages)?;
    }
    let missing = missing_packages();
    ensure!(
        missing.is_empty(),
        "packages {} are installed, but their programs are not where Debian puts them",
        missing.join(" ")
    );
    Ok(())
}

/// The program's path, if it is on `PATH` or where the system keeps its own.
pub(super) fn which(program: &str) -> Option<PathBuf> {
    let path = env::var("PATH").unwrap_or_default();
    path.split(':')
        .chain(SYSTEM_PATH.split(':'))
        .filter(|directory| !directory.is_empty())
        .map(|directory| Path::new(directory).join(program))
        .find(|candidate| candidate.is_file())
}

fn missing_packages() -> Vec<&'static str> {
    let mut packages: Vec<_> = PROGRAMS
        .into_iter()
        .filter(|(program, _)| which(program).is_none())
        .map(|(_, package)| package)
        .collect();
    packages.dedup();
    packages
}

fn apt_get(verb: &[&str], packages: &[&str]) -> anyhow::Result<()> {
    let output = Command::new("apt-get")
        .args(verb)
        .args(["--yes", "--quiet", "--no-install-recommends"])
        .args(packages)
        .env("DEBIAN_FRONTEND", "noninteractive")
        // In this run level the packages' scripts start no service; the cluster runs the programs itself.
        .env("RUNLEVEL", "1")
        .stdin(Stdio::null())
        .output()
        .context("cannot run `apt-get`")?;
    ensure!(
        output.status.success(),
        "`apt-get {} {}` failed: {}",
        verb.join(" "),
        packages.join(" "),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}

fn go_version() -> anyhow::Result<String> {
    let remedy = "install Go 1.26 or newer and put its `go` on PATH: Kubernetes is built from its Go modules";
    let output = Command::new("go")
        .args(["env", "GOVERSION"])
        .current_dir("/")
        .output()
        .with_context(|| format!("\"go\" was not found: {remedy}"))?;
    let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    ensure!(output.status.success() && new_enough(&version), "Go is \"{version}\": {remedy}");
    Ok(version)
}

/// Whether a `go1.26.8` is at least 1.26.
fn new_enough(version: &str) -> bool {
    let mut numbers = version
        .trim_start_matches("go")
        .split(|character: char| !character.is_ascii_digit())
        .map_while(|number| number.parse::<u32>().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= (1, 26)
}

fn check_cgroups() -> anyhow::Result<()> {
    ensure!(
        !super::cgroup::hierarchies().is_empty(),
        "no cgroup hierarchy is mounted below /sys/fs/cgroup: mount one, for example with `mount -t cgroup2 none /sys/fs/cgroup`"
    );
    Ok(())
}

/// Checks the free space of the file system that will hold `path`, which need not exist yet.
fn check_free(path: &Path, need: u64, purpose: &str) -> anyhow::Result<()> {
    let existing = path.ancestors().find(|ancestor| ancestor.exists()).unwrap_or(Path::new("/"));
    let status = rustix::fs::statvfs(existing)?;
    let free = status.f_bavail * status.f_frsize;
    ensure!(
        free >= need,
        "{} has {:.1} GiB free and {:.0} GiB are needed {purpose}: make room, or set DOCKER_UNIVERSE_CACHE and DOCKER_UNIVERSE_STATE to a larger disk",
        existing.display(),
        as_gib(free),
        as_gib(need)
    );
    Ok(())
}

#[allow(clippy::cast_precision_loss, reason = "shown with one decimal")]
fn as_gib(bytes: u64) -> f64 {
    bytes as f64 / GIB as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_go_are_compared_as_numbers() {
        for good in ["go1.26", "go1.26.8", "go1.30rc1", "go2.0"] {
            assert!(new_enough(good), "{good}");
        }
        for bad in ["go1.9", "go1.25.11", "", "devel"] {
            assert!(!new_enough(bad), "{bad}");
        }
    }

    #[test]
    fn a_full_disk_is_refused_with_a_remedy() {
        let error = check_free(Path::new("/nowhere/at/all"), u64::MAX, "for a test").unwrap_err();
        assert!(error.to_string().contains("DOCKER_UNIVERSE_CACHE"), "{error}");
    }
}
