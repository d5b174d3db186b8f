//! The inside of a job's container, reached from the machine that the test's node runs on: its processes are processes of
//! this machine. Invariant: a process is found by its pod's UID, so that no test touches another one's.

use crate::world::World;
use std::fs;

/// A process of this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Process(u32);

/// The starter, PID 1 in the container of the job's latest pod.
pub(crate) async fn starter_of(world: &World, job: &str) -> Process {
    let uid = world.pod(job).await.metadata.uid.expect("a pod has a UID");
    let group = format!("pod{uid}");
    let is_it = |pid: &u32| {
        let command = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        command.starts_with("/.docker-universe/starter\0") && groups.contains(&group)
    };
    let entries = fs::read_dir("/proc").expect("this machine has /proc").flatten();
    let mut pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    Process(
        pids.find(is_it).unwrap_or_else(|| panic!("no starter of '{job}' runs on this machine")),
    )
}

/// Makes a process the one that the kernel kills where memory is short, rather than the largest one.
pub(crate) fn first_to_be_killed_for_memory(process: Process) {
    fs::write(format!("/proc/{}/oom_score_adj", process.0), "1000").expect("root may raise it");
}

/// Writes a file into the container.
pub(crate) fn write(process: Process, path: &str, text: &str) {
    fs::write(format!("/proc/{}/root/{path}", process.0), text).expect("root may write there");
}

/// Reads a file of the container, where it is there.
pub(crate) fn read(process: Process, path: &str) -> Option<String> {
    fs::read_to_string(format!("/proc/{}/root/{path}", process.0)).ok()
}

/// Kills a process.
pub(crate) fn kill(process: Process) {
    let killed =
        std::process::Command::new("kill").args(["-KILL", &process.0.to_string()]).status();
    assert!(killed.expect("there is a kill").success());
}
