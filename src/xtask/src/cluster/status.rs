//! What a cluster looks like. Invariant: it changes nothing, and answers whatever state things are in.

use std::{
    collections::HashMap,
    fmt::{self, Write as _},
    fs,
    io::{self, Write as _},
    net::TcpStream,
    time::Duration,
};

use super::{
    Cluster, control,
    control::Request,
    process::{self, Process, field},
    state::{Kind, Record, State},
    tools::needed,
    up::node_is_ready,
};

/// Prints the components and what they make up.
pub(super) fn print(state: &State) -> anyhow::Result<()> {
    match io::stdout().write_all(describe(state)?.as_bytes()) {
        // Whoever reads this has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other?),
    }
}

fn describe(state: &State) -> anyhow::Result<String> {
    let name = &state.name;
    let Some(record) = state.record()? else {
        return Ok(format!("cluster \"{name}\" is not there\n"));
    };
    let supervisors = Process::running(&state.supervisor());
    let report = control::ask(&state.control(), &Request::Status);
    let (Some(supervisor), Ok(report)) = (supervisors.first(), report) else {
        return Ok(format!(
            "cluster \"{name}\" is down: `cargo xtask cluster up` brings it back, `cargo xtask cluster down` removes it\n"
        ));
    };
    let cluster = Cluster::of(state, record.index);
    let mut text = String::new();
    writeln!(
        text,
        "{:<24} {:<9} {:>8} {:>11} {:>9}",
        "COMPONENT", "STATE", "PID", "MEMORY", "RESTARTS"
    )?;
    let outer = parent(supervisor.pid);
    row(&mut text, "unshare", if outer.is_some() { "ready" } else { "ended" }, outer, 0)?;
    row(&mut text, "supervisor", "ready", Some(supervisor.pid), 0)?;
    let pids = children(supervisor.pid);
    for component in &report.components {
        let pid = component.pid.and_then(|inner| pids.get(&inner).copied());
        row(&mut text, &component.name, &component.condition.to_string(), pid, component.restarts)?;
    }
    text.push('\n');
    if record.kind == Kind::Whole {
        whole(&mut text, &cluster, &record)?;
    }
    writeln!(text, "logs      {}", state.path("logs").display())?;
    let versions: Vec<_> =
        needed().map(|family| format!("{} {}", family.name, family.version)).collect();
    writeln!(text, "versions  {}", versions.join(", "))?;
    Ok(text)
}

fn whole(text: &mut String, cluster: &Cluster, record: &Record) -> fmt::Result {
    let ready = if node_is_ready(cluster) { "Ready" } else { "not ready" };
    writeln!(text, "node      {} at {}: {ready}", cluster.node_name, cluster.node_address)?;
    writeln!(text, "registry  {}: {}", cluster.registry, answers(&cluster.registry))?;
    writeln!(text, "s3        {}: {}", cluster.s3, answers(&record.index.s3()))?;
    writeln!(text, "host      {} as pods see it", cluster.host_address)
}

fn answers(address: &str) -> &'static str {
    let address = address.parse();
    let connects = address
        .is_ok_and(|address| TcpStream::connect_timeout(&address, Duration::from_secs(2)).is_ok());
    if connects { "answers" } else { "does not answer" }
}

fn row(text: &mut String, name: &str, state: &str, pid: Option<i32>, restarts: u32) -> fmt::Result {
    let memory = pid.and_then(process::memory);
    let memory = memory.map_or_else(|| "-".to_owned(), |kib| format!("{} MiB", kib / 1024));
    let pid = pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string());
    writeln!(text, "{name:<24} {state:<9} {pid:>8} {memory:>11} {restarts:>9}")
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
