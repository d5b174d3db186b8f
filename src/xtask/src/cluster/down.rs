//! Taking a cluster down. Invariant: it works on any remains, even where the state directory is
//! damaged, because the names of everything follow from the directory's path; and it says "removed"
//! only after looking.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, ensure};

use super::{
    cgroup, process,
    process::{Process, kill_all},
    progress::Progress,
    state::State,
};

/// Removes the cluster with this name and everything it left, whether or not it was up.
pub(crate) fn down(name: &str) -> anyhow::Result<()> {
    let progress = Progress::begin();
    let state = State::of(name)?;
    ensure!(
        rustix::process::geteuid().is_root(),
        "removing a cluster needs root: run the command as root"
    );
    let before = remains(&state);
    if before.is_empty() {
        progress.say(format!("cluster \"{name}\" is not there, and nothing of it is left"));
        return Ok(());
    }
    let lock = state.lock()?;
    progress.say(format!("removing cluster \"{name}\""));
    let made = state.record().ok().flatten().map(|record| record.made).unwrap_or_default();
    remove(&state, true)?;
    drop(lock);
    if state.others().is_empty() {
        // Ours only if it was not there before, and only if it is still empty.
        for directory in made.iter().map(PathBuf::as_path).chain([state.parent()]) {
            let _in_use = fs::remove_dir(directory);
        }
    }
    let after = remains(&state);
    ensure!(after.is_empty(), "something of cluster \"{name}\" is left: {}", after.join("; "));
    progress.say(format!(
        "cluster \"{name}\" is removed: no process, network interface, cgroup, mount or file of it is left"
    ));
    Ok(())
}

/// Ends the processes and removes everything; the directory itself only if it is to go, too.
pub(super) fn remove(state: &State, directory: bool) -> anyhow::Result<()> {
    kill_all(&state.supervisor())?;
    remove_cable(state)?;
    cgroup::remove(&state.cgroup())?;
    for entry in fs::read_dir(&state.dir)?.flatten() {
        let path = entry.path();
        let removed = if entry.file_type()?.is_dir() {
            fs::remove_dir_all(&path)
        } else {
            fs::remove_file(&path)
        };
        removed.with_context(|| format!("cannot remove {}", path.display()))?;
    }
    if directory {
        fs::remove_dir(&state.dir)?;
    }
    Ok(())
}

/// Removes the host's end of the cable, if it is there; the kernel does so by itself a little after the other end's namespace ended.
pub(super) fn remove_cable(state: &State) -> anyhow::Result<()> {
    let veth = state.veth();
    let there = || Path::new("/sys/class/net").join(&veth).exists();
    if there() {
        let deleted = output("ip", &["link", "delete", &veth]);
        ensure!(!there(), "cannot remove interface {veth}: {deleted:?}");
    }
    Ok(())
}

/// Everything of the cluster that can be found on this machine, in words.
fn remains(state: &State) -> Vec<String> {
    let mut found = Vec::new();
    let dir = state.dir.to_string_lossy();
    for process in Process::running(&state.supervisor()) {
        found.push(format!("supervisor process {}", process.pid));
    }
    let cgroup = format!("/{}", state.cgroup());
    for pid in process::pids() {
        let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        let inside = |line: &str| {
            line.splitn(3, ':')
                .nth(2)
                .is_some_and(|path| path == cgroup || path.starts_with(&format!("{cgroup}/")))
        };
        if groups.lines().any(inside) {
            found.push(format!("process {pid} of a pod"));
        }
    }
    if Path::new("/sys/class/net").join(state.veth()).exists() {
        found.push(format!("network interface {}", state.veth()));
    }
    found.extend(
        cgroup::existing(&state.cgroup()).iter().map(|path| format!("cgroup {}", path.display())),
    );
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    found.extend(mounts.lines().filter_map(|line| {
        let target = line.split(' ').nth(4)?;
        Path::new(target).starts_with(&*dir).then(|| format!("mount {target}"))
    }));
    if state.dir.exists() {
        found.push(format!("directory {dir}"));
    }
    found
}

/// What a command prints, if it succeeds.
pub(super) fn output(program: &str, arguments: &[&str]) -> anyhow::Result<String> {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .with_context(|| format!("cannot run `{program}`"))?;
    ensure!(
        output.status.success(),
        "`{program} {}` failed: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
