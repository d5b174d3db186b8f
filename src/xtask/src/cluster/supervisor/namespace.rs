//! The inside of a cluster's namespaces. Invariant: what is mounted and configured here is visible
//! only here, and vanishes with the last process.

use std::{
    fs,
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, ensure};
use rustix::mount::{MountFlags, mount, mount_bind};

use super::super::{address::PODS, plan::Plan};

/// Name of the node's end of the cable.
pub(in super::super) const INTERFACE: &str = "node0";

/// Directories that programs insist on, replaced by empty ones of the cluster's own.
pub(in super::super) const PRIVATE: [&str; 3] = ["/run", "/var/log", "/var/lib/kubelet"];

/// What the kubelet would set for the whole machine (name, value it wants).
const KERNEL_SETTINGS: [(&str, &str); 6] = [
    ("vm/overcommit_memory", "1"),
    ("vm/panic_on_oom", "0"),
    ("kernel/panic", "10"),
    ("kernel/panic_on_oops", "1"),
    ("kernel/keys/root_maxkeys", "1000000"),
    ("kernel/keys/root_maxbytes", "25000000"),
];

/// Hides the host's directories.
pub(super) fn mounts(plan: &Plan) -> anyhow::Result<()> {
    for directory in PRIVATE {
        mount("tmpfs", directory, "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, c"mode=755")
            .with_context(|| format!("cannot mount over {directory}"))?;
    }
    for directory in ["/run/lock", "/run/netns"] {
        fs::create_dir_all(directory)?;
    }
    // As after a boot: shims, locks and pods' addresses of an earlier life mean nothing any more.
    for transient in ["run", "tmp"] {
        let path = plan.state.join(transient);
        if path.exists() {
            fs::remove_dir_all(&path)?;
        }
        fs::create_dir_all(&path)?;
    }
    shield_kernel_settings(&plan.state.join("run/kernel"))
}

/// The kubelet insists on these settings. It reads and writes files of ours instead of the machine's.
fn shield_kernel_settings(directory: &Path) -> anyhow::Result<()> {
    for (name, value) in KERNEL_SETTINGS {
        let (real, own) = (Path::new("/proc/sys").join(name), directory.join(name));
        if !real.exists() {
            continue;
        }
        fs::create_dir_all(own.parent().unwrap_or(directory))?;
        fs::write(&own, format!("{value}\n"))?;
        mount_bind(&own, &real).with_context(|| format!("cannot mount over {}", real.display()))?;
    }
    Ok(())
}

/// Whether the host has plugged the cable in.
pub(super) fn connected() -> bool {
    fs::read_to_string("/proc/self/net/dev").is_ok_and(|devices| {
        devices
            .lines()
            .any(|line| line.trim().split_once(':').is_some_and(|(name, _)| name == INTERFACE))
    })
}

/// Gives the node its address, its routes and its rules.
pub(super) fn network(plan: &Plan) -> anyhow::Result<()> {
    let (node, host) = (format!("{}/30", plan.node), plan.host.to_string());
    for arguments in [
        &["link", "set", "lo", "up"][..],
        &["address", "replace", &node, "dev", INTERFACE],
        &["link", "set", INTERFACE, "up"],
        &["route", "replace", "default", "via", &host],
    ] {
        run("ip", arguments, "")?;
    }
    fs::write("/proc/sys/net/ipv4/ip_forward", "1")?;
    let rules = fs::read_to_string(plan.state.join("config/nftables"))?;
    run("nft", &["--file", "-"], &rules)
        .with_context(|| format!("pods in {PODS} need masquerading"))
}

fn run(program: &str, arguments: &[&str], input: &str) -> anyhow::Result<()> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run `{program}`"))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes())?;
    }
    let output = child.wait_with_output()?;
    ensure!(
        output.status.success(),
        "`{program} {}` failed: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}
