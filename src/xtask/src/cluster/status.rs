//! What a cluster looks like. Invariant: it changes nothing, and answers whatever state things are in.

use std::{collections::HashMap, fs, net::TcpStream, time::Duration};

use super::{
    Cluster, control,
    control::Request,
    process::{self, Process, field},
    state::State,
    tools::FAMILIES,
    up::node_is_ready,
};

/// Prints the components and what they make up.
pub(super) fn print(state: &State) -> anyhow::Result<()> {
    let name = &state.name;
    let Some(record) = state.record()? else {
        println!("cluster \"{name}\" is not there");
        return Ok(());
    };
    let supervisors = Process::running(&state.supervisor());
    let report = control::ask(&state.control(), &Request::Status);
    let (Some(supervisor), Ok(report)) = (supervisors.first(), report) else {
        println!(
            "cluster \"{name}\" is down: `cargo xtask cluster up` brings it back, `cargo xtask cluster down` removes it"
        );
        return Ok(());
    };
    let cluster = Cluster::of(state, record.index);
    println!("{:<24} {:<9} {:>8} {:>11} {:>9}", "COMPONENT", "STATE", "PID", "MEMORY", "RESTARTS");
    let outer = parent(supervisor.pid);
    row("unshare", if outer.is_some() { "ready" } else { "ended" }, outer, 0);
    row("supervisor", "ready", Some(supervisor.pid), 0);
    let pids = children(supervisor.pid);
    for component in &report.components {
        let pid = component.pid.and_then(|inner| pids.get(&inner).copied());
        row(&component.name, &component.condition.to_string(), pid, component.restarts);
    }
    println!();
    let ready = if node_is_ready(&cluster) { "Ready" } else { "not ready" };
    println!("node      {} at {}: {ready}", cluster.node_name, cluster.node_address);
    let answers = cluster
        .registry
        .parse()
        .is_ok_and(|address| TcpStream::connect_timeout(&address, Duration::from_secs(2)).is_ok());
    println!(
        "registry  {}: {}",
        cluster.registry,
        if answers { "answers" } else { "does not answer" }
    );
    println!("host      {} as pods see it", cluster.host_address);
    println!("logs      {}", state.path("logs").display());
    let versions: Vec<_> =
        FAMILIES.iter().map(|family| format!("{} {}", family.name, family.version)).collect();
    println!("versions  {}", versions.join(", "));
    Ok(())
}

fn row(name: &str, state: &str, pid: Option<i32>, restarts: u32) {
    let memory = pid.and_then(process::memory);
    let memory = memory.map_or_else(|| "-".to_owned(), |kib| format!("{} MiB", kib / 1024));
    let pid = pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string());
    println!("{name:<24} {state:<9} {pid:>8} {memory:>11} {restarts:>9}");
}

fn parent(pid: i32) -> Option<i32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    field(&status, "PPid")?.parse().ok().filter(|parent| *parent > 1)
}

/// Pids inside the cluster and what they are called outside, for the children of this process.
fn children(supervisor: i32) -> HashMap<i32, i32> {
    process::pids()
        .filter(|pid| parent(*pid) == Some(supervisor))
        .filter_map(|pid| {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
            let inner = field(&status, "NSpid")?.split_whitespace().last()?.parse().ok()?;
            Some((inner, pid))
        })
        .collect()
}
