//! Bringing a cluster up. Invariant: every step looks at what is there before it acts, so that `up`
//! after a killed `up`, after a killed cluster, or on a running one ends in the same running cluster.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};

use super::{
    Cluster,
    address::Addresses,
    cgroup, configuration,
    control::{self, Change, Condition, Report, Request},
    down, machine, pause, pki,
    plan::Plan,
    process::{Process, kill_all},
    progress::Progress,
    s3,
    state::{Kind, Record, State, lock},
    supervisor::namespace::{INTERFACE, PRIVATE},
    tools::{self, Tools},
};

/// How long the components may take; a loaded machine with two cores needs far less.
const LIMIT: Duration = Duration::from_mins(3);

/// How often a wait says what it waits for.
const REPORT: Duration = Duration::from_secs(5);

const POLL: Duration = Duration::from_millis(100);

/// Brings the cluster with this name up, or repairs it, and returns when pods can be created.
pub(crate) fn up(name: &str) -> anyhow::Result<Cluster> {
    of_kind(name, Kind::Whole)
}

/// The same for a cluster of this kind; one that is there of another kind is an error.
pub(crate) fn of_kind(name: &str, kind: Kind) -> anyhow::Result<Cluster> {
    let progress = Progress::begin();
    let state = State::of(name)?;
    let cache = tools::cache()?;
    let tools = machine::check(&cache)?;
    if let Some(record) = state.record()? {
        ensure!(
            record.kind == kind,
            "cluster \"{name}\" is there and of another kind: take it down first, or choose another name"
        );
    }
    if let Some(cluster) = already(&state, &tools) {
        progress.say(format!("cluster \"{name}\" is up already"));
        return Ok(cluster);
    }
    machine::check_space(&state.dir, &cache, &tools)?;
    machine::install_packages(progress)?;
    tools.ensure(progress)?;

    let _lock = state.lock()?;
    let mut record = begin(&state, kind, progress)?;
    let cluster = Cluster::of(&state, record.index);
    let files = configuration::files(&state, record.index);
    let plan = Plan::new(&state, record.index, kind, &tools)?;
    let fingerprint = plan.fingerprint(&files)?;
    let child = if record.fingerprint == fingerprint && usable(&state) {
        progress.say(format!("cluster \"{name}\" runs: repairing what does not"));
        repair(&state, progress)?;
        None
    } else {
        clear(&state, progress)?;
        prepare(&state, &mut record, &plan, &files, &tools)?;
        let child = start(&state, &plan, progress)?;
        record.fingerprint = fingerprint;
        state.keep(&record)?;
        Some(child)
    };
    wait_for_components(&state, child, progress)?;
    wait_for_node(&cluster, kind, progress)?;
    if kind == Kind::Whole {
        fill(&state, &cluster)?;
    }
    progress.say(format!("cluster \"{name}\" is ready"));
    Ok(cluster)
}

/// What jobs find in every whole cluster.
fn fill(state: &State, cluster: &Cluster) -> anyhow::Result<()> {
    s3::ensure(state)?;
    if !has_busybox(&cluster.registry)? {
        crate::image::ensure_busybox(&cluster.registry).with_context(|| {
            format!("cannot put busybox into the registry {}", cluster.registry)
        })?;
    }
    Ok(())
}

/// The cluster, if there is nothing to do at all.
fn already(state: &State, tools: &Tools) -> Option<Cluster> {
    let record = state.record().ok()??;
    let files = configuration::files(state, record.index);
    let fingerprint =
        Plan::new(state, record.index, record.kind, tools).ok()?.fingerprint(&files).ok()?;
    let report = control::ask(&state.control(), &Request::Status).ok()?;
    let cluster = Cluster::of(state, record.index);
    let well = record.fingerprint == fingerprint
        && tools.missing().is_empty()
        && report.good()
        && cable_is_in(state)
        && (record.kind == Kind::ControlPlane || is_filled(state, &cluster));
    well.then_some(cluster)
}

fn is_filled(state: &State, cluster: &Cluster) -> bool {
    node_is_ready(cluster)
        && s3::has_bucket(state)
        && has_busybox(&cluster.registry).unwrap_or(false)
}

/// Whether the registry has the image; much quicker than making it and comparing.
fn has_busybox(registry: &str) -> anyhow::Result<bool> {
    let mut stream = TcpStream::connect_timeout(&registry.parse()?, Duration::from_secs(2))?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    write!(stream, "GET /v2/busybox/tags/list HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.contains("\"1.35\""))
}

/// Makes the record, or finds it. A directory without one is the remains of a killed beginning.
fn begin(state: &State, kind: Kind, progress: Progress) -> anyhow::Result<Record> {
    if let Some(record) = state.record()? {
        return Ok(record);
    }
    down::remove(state, false)?;
    // Numbers are given out one at a time.
    let _lock = lock(state.parent(), "the list of clusters")?;
    let others = state.others();
    let used = down::output("ip", &["-4", "-oneline", "address", "show"])?;
    let taken = |addresses: Addresses| {
        others.iter().any(|record| record.index == addresses)
            || used.contains(&format!(" {}/", addresses.host()))
    };
    let index = Addresses::free(taken)
        .context("there are too many clusters on this machine: take one down that is not needed")?;
    // What an earlier cluster made is handed on, for the last one to remove.
    let inherited = others.iter().flat_map(|record| record.made.iter().cloned());
    let missing = PRIVATE.map(PathBuf::from).into_iter().filter(|path| !path.exists());
    let made: BTreeSet<_> = inherited.chain(missing).collect();
    let made = made.into_iter().collect();
    let record = Record { name: state.name.clone(), index, kind, fingerprint: String::new(), made };
    state.keep(&record)?;
    progress.say(format!("cluster \"{}\" gets node address {}", state.name, index.node()));
    Ok(record)
}

/// Whether the supervisor runs, answers, and has its cable.
fn usable(state: &State) -> bool {
    control::ask(&state.control(), &Request::Status).is_ok_and(|report| report.connected)
        && cable_is_in(state)
}

fn cable_is_in(state: &State) -> bool {
    Path::new("/sys/class/net").join(state.veth()).exists()
}

/// Starts again what was stopped or frozen on purpose.
fn repair(state: &State, progress: Progress) -> anyhow::Result<()> {
    let report = control::ask(&state.control(), &Request::Status)?;
    for component in report.components {
        let change = match component.condition {
            Condition::Stopped | Condition::Stopping => Change::Start,
            Condition::Frozen => Change::Thaw,
            _ => continue,
        };
        progress.say(format!("component \"{}\" was {}", component.name, component.condition));
        control::ask(&state.control(), &Request::Change(change, component.name))?;
    }
    Ok(())
}

/// Ends what is left of an earlier life; its data stay.
fn clear(state: &State, progress: Progress) -> anyhow::Result<()> {
    if !Process::running(&state.supervisor()).is_empty() {
        progress
            .say("ending the cluster as it was: it does not work, or its programs have changed");
    }
    kill_all(&state.supervisor())?;
    down::remove_cable(state)?;
    cgroup::remove(&state.cgroup())
}

fn prepare(
    state: &State,
    record: &mut Record,
    plan: &Plan,
    files: &BTreeMap<PathBuf, String>,
    tools: &Tools,
) -> anyhow::Result<()> {
    // Until it has been started, nobody is to take it for a running one.
    record.fingerprint.clear();
    state.keep(record)?;
    pki::ensure(state, record.index)?;
    pause::ensure(state)?;
    s3::ensure(state)?;
    plan.keep(files)?;
    link_programs(state, tools)?;
    for directory in PRIVATE {
        fs::create_dir_all(directory)?;
    }
    cgroup::make(&state.cgroup())
}

/// A directory with all programs, for `PATH`.
fn link_programs(state: &State, tools: &Tools) -> anyhow::Result<()> {
    let bin = state.path("bin");
    if bin.exists() {
        fs::remove_dir_all(&bin)?;
    }
    fs::create_dir_all(&bin)?;
    for (name, path) in tools.programs() {
        symlink(path, bin.join(name))?;
    }
    Ok(())
}

/// Starts the supervisor in namespaces of its own and plugs the cable in.
fn start(state: &State, plan: &Plan, progress: Progress) -> anyhow::Result<Child> {
    // A copy, so that this program can be built anew while the cluster runs.
    let copy = state.path("supervisor.new");
    fs::copy(env::current_exe()?, &copy).context("cannot copy this program")?;
    fs::rename(&copy, state.supervisor())?;
    fs::create_dir_all(state.path("logs"))?;
    let log = fs::File::options().create(true).append(true).open(supervisor_log(state))?;
    let mut child = Command::new("setsid")
        .args(["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"])
        .arg(state.supervisor())
        .args(["cluster", "supervise"])
        .arg(&state.dir)
        .env_clear()
        .env("PATH", machine::SYSTEM_PATH)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .context("cannot run `unshare`")?;
    let begin = Instant::now();
    while control::ask(&state.control(), &Request::Status).is_err() {
        check_alive(state, &mut child)?;
        ensure!(
            begin.elapsed() < LIMIT,
            "the supervisor does not answer: see {}",
            supervisor_log(state).display()
        );
        thread::sleep(Duration::from_millis(20));
    }
    let inside = Process::running(&state.supervisor());
    let inside = inside.first().context("the supervisor has vanished")?.pid.to_string();
    let (veth, host) = (state.veth(), format!("{}/30", plan.host));
    for arguments in [
        &["link", "add", &veth, "type", "veth", "peer", "name", INTERFACE, "netns", &inside][..],
        &["address", "add", &host, "dev", &veth],
        &["link", "set", &veth, "up"],
    ] {
        down::output("ip", arguments)?;
    }
    progress.say("starting the components");
    Ok(child)
}

fn supervisor_log(state: &State) -> PathBuf {
    state.path("logs/supervisor.log")
}

fn check_alive(state: &State, child: &mut Child) -> anyhow::Result<()> {
    if let Some(status) = child.try_wait()? {
        let log = fs::read_to_string(supervisor_log(state)).unwrap_or_default();
        let last: Vec<_> = log.lines().rev().take(3).collect();
        bail!(
            "the supervisor ended with {status}: {}",
            last.into_iter().rev().collect::<Vec<_>>().join("; ")
        );
    }
    Ok(())
}

fn wait_for_components(
    state: &State,
    mut child: Option<Child>,
    progress: Progress,
) -> anyhow::Result<()> {
    let begin = Instant::now();
    let mut reported = begin;
    loop {
        if let Some(child) = &mut child {
            check_alive(state, child)?;
        }
        let report = control::ask(&state.control(), &Request::Status)?;
        if report.good() {
            progress.say("all components are ready");
            return Ok(());
        }
        let missing = unready(&report);
        ensure!(
            begin.elapsed() < LIMIT,
            "not ready after {} s: {missing}; their logs are in {}",
            LIMIT.as_secs(),
            state.path("logs").display()
        );
        if reported.elapsed() >= REPORT {
            reported = Instant::now();
            progress.say(format!("  waiting for {missing}"));
        }
        thread::sleep(POLL);
    }
}

fn unready(report: &Report) -> String {
    let list: Vec<_> = report
        .components
        .iter()
        .filter(|component| !component.condition.good())
        .map(|component| match component.restarts {
            0 => format!("{} ({})", component.name, component.condition),
            times => format!("{} ({}, ended {times} times)", component.name, component.condition),
        })
        .collect();
    list.join(", ")
}

fn wait_for_node(cluster: &Cluster, kind: Kind, progress: Progress) -> anyhow::Result<()> {
    let begin = Instant::now();
    let mut reported = begin;
    let has_node = || kind == Kind::ControlPlane || node_is_ready(cluster);
    while !(has_node() && has_service_account(cluster)) {
        ensure!(
            begin.elapsed() < LIMIT,
            "node \"{}\" is not ready: see `kubectl describe node` and {}",
            cluster.node_name,
            cluster.state.join("logs/kubelet.log").display()
        );
        if reported.elapsed() >= REPORT {
            reported = Instant::now();
            progress.say(format!(
                "  waiting for node \"{}\" and its service account",
                cluster.node_name
            ));
        }
        thread::sleep(POLL);
    }
    Ok(())
}

/// Whether the node reports that it is ready.
pub(super) fn node_is_ready(cluster: &Cluster) -> bool {
    let path = r#"jsonpath={.status.conditions[?(@.type=="Ready")].status}"#;
    kubectl(cluster, &["get", "node", &cluster.node_name, "--output", path])
        .is_some_and(|status| status == "True")
}

fn has_service_account(cluster: &Cluster) -> bool {
    kubectl(cluster, &["get", "serviceaccount", "default", "--namespace=default"]).is_some()
}

fn kubectl(cluster: &Cluster, arguments: &[&str]) -> Option<String> {
    let output =
        cluster.command("kubectl").arg("--request-timeout=5s").args(arguments).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    output.status.success().then_some(text)
}
