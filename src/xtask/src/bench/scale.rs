//! Thousands of jobs and procs on simulated nodes, beside batch/v1 Job on the same real control plane.
//!
//! This sets the stage: a control plane of its own, the chart's objects without its Deployment, and the operator's program with
//! the arguments and the rights that the chart gives it. The measuring is done by a program of its own, built as a release
//! (`src/scale`): nodes, submitter and watchers share the machine with what is measured.

use crate::{
    cluster::{self, Cluster},
    image,
};
use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};
use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Name of the cluster that this brings up.
const CLUSTER: &str = "scale";
/// The operator's namespace, and the name of its objects.
const OPERATOR: &str = "docker-universe";
/// Nobody pulls it: no kubelet is real.
const IMAGE: &str = "registry.example.org/docker-universe@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

/// Arguments of `cargo xtask bench scale`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Jobs of one proc
    #[arg(long, default_value_t = 10_000)]
    jobs: usize,
    /// Procs of one job
    #[arg(long, default_value_t = 10_000)]
    procs: usize,
    /// Procs of a very large job; growth is measured from a hundredth of it
    #[arg(long, default_value_t = 100_000)]
    large: usize,
    /// Procs of it that are live at the same time
    #[arg(long, default_value_t = 10_000)]
    live: usize,
    /// Runs of each controller where two are compared; they alternate
    #[arg(long, default_value_t = 2)]
    runs: usize,
    /// Simulated nodes, each with room for 1000 pods
    #[arg(long, default_value_t = 20)]
    nodes: usize,
    /// Only this section
    #[arg(long, value_enum)]
    only: Option<Section>,
    /// Write the plots here
    #[arg(long, value_name = "DIR")]
    plots: Option<PathBuf>,
    /// Take profiles of the operator (by `perf`) and of the API server during each run
    #[arg(long)]
    profile: bool,
    /// The small form, two minutes: whether everything still works, not what it costs
    #[arg(long, conflicts_with_all = ["jobs", "procs", "large", "live", "runs", "nodes"])]
    smoke: bool,
    /// A cluster of `cargo xtask cluster` that is up, without the operator (without: one is brought up and taken down again)
    #[arg(long, value_name = "NAME")]
    cluster: Option<String>,
    /// Leave the cluster up afterwards
    #[arg(long)]
    keep: bool,
}

/// A part that can be run alone.
#[derive(Clone, Copy, Debug, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
enum Section {
    /// Many jobs of one proc
    Jobs,
    /// One job of many procs
    Procs,
    /// Memory with live procs, and a restart among them
    Live,
    /// A job of very many procs, and one that is submitted behind it
    Large,
    /// Cost per proc as jobs grow
    Growth,
}

/// Measures and prints.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let operator =
        if arguments.profile { image::operator_with_symbols() } else { image::operator_alone() };
    let (operator, program) = (operator?, image::scale()?);
    let cluster = match &arguments.cluster {
        Some(name) => {
            cluster::find(name)?.with_context(|| format!("cluster \"{name}\" is not up"))?
        }
        None => cluster::of_kind(CLUSTER, cluster::Kind::ControlPlane)?,
    };
    let result = on(&cluster, arguments, &operator, &program);
    if arguments.cluster.is_none() && !arguments.keep {
        cluster::down(&cluster.name)?;
    }
    result
}

fn on(
    cluster: &Cluster,
    arguments: &Arguments,
    operator: &Path,
    program: &Path,
) -> anyhow::Result<()> {
    let results = image::target_directory().join("scale");
    fs::create_dir_all(&results)?;
    // A build that comes meanwhile must not change what runs.
    let copy = results.join("docker-universe");
    fs::copy(operator, &copy).with_context(|| format!("cannot copy {}", operator.display()))?;
    let objects = rendered()?;
    let (deployments, others): (Vec<Value>, Vec<Value>) =
        objects.into_iter().partition(|object| object["kind"] == "Deployment");
    install(cluster, &others)?;
    let mut plan = json!({
        "kubeconfig": cluster.kubeconfig, "cluster": cluster.state, "results": results,
        "operator": {
            "program": copy, "arguments": own_arguments(&deployments)?, "namespace": OPERATOR,
            "kubeconfig": kubeconfig(cluster, &results)?,
        },
        "plots": arguments.plots, "profile": arguments.profile, "only": arguments.only,
        "jobs": arguments.jobs, "procs": arguments.procs, "large": arguments.large,
        "live": arguments.live, "runs": arguments.runs, "nodes": arguments.nodes,
    });
    if arguments.smoke {
        for (key, value) in [
            ("jobs", 200),
            ("procs", 200),
            ("large", 200),
            ("live", 100),
            ("runs", 1),
            ("nodes", 2),
        ] {
            plan[key] = json!(value);
        }
    }
    let path = results.join("plan.json");
    fs::write(&path, serde_json::to_vec_pretty(&plan)?)?;
    let status = Command::new(program).arg(&path).status().context("cannot start the bench")?;
    ensure!(
        status.success(),
        "the bench ended with {status}; the operator's log is in {}",
        results.display()
    );
    eprintln!("all numbers are in {}", results.join("scale.json").display());
    Ok(())
}

/// What the chart renders with its own values.
fn rendered() -> anyhow::Result<Vec<Value>> {
    let chart = crate::repository().join("charts").join(OPERATOR);
    let output = Command::new(cluster::helm()?)
        .args(["template", OPERATOR])
        .arg(chart)
        .args(["--namespace", OPERATOR, "--set", &format!("image.reference={IMAGE}")])
        .output()
        .context("cannot start helm")?;
    let words = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "helm cannot render the chart: {}", words.trim());
    serde_saphyr::from_multiple(&String::from_utf8(output.stdout)?).context("helm renders no YAML")
}

fn install(cluster: &Cluster, objects: &[Value]) -> anyhow::Result<()> {
    let namespace =
        json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": OPERATOR } });
    let items: Vec<&Value> = [&namespace].into_iter().chain(objects).collect();
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": items }).to_string();
    let mut child = cluster
        .command("kubectl")
        .args(["apply", "--server-side", "--force-conflicts", "--filename", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .context("cannot start kubectl")?;
    let mut input = child.stdin.take().context("kubectl has no standard input")?;
    input.write_all(list.as_bytes()).context("kubectl does not read its manifest")?;
    drop(input);
    ensure!(child.wait()?.success(), "the chart's objects cannot be installed");
    let crd = "crd/dockeruniversejobs.dockeruniverse.io";
    let wait = ["wait", "--for=condition=Established", "--timeout=60s", crd];
    let served = cluster.command("kubectl").args(wait).stdout(Stdio::null()).status()?;
    ensure!(served.success(), "the API server does not serve the project's resources");
    Ok(())
}

/// The operator's arguments as the chart writes them, without its address.
fn own_arguments(deployments: &[Value]) -> anyhow::Result<Vec<String>> {
    let [deployment] = deployments else {
        bail!("the chart has {} Deployments", deployments.len())
    };
    let arguments = &deployment["spec"]["template"]["spec"]["containers"][0]["args"];
    let arguments: Vec<String> = serde_json::from_value(arguments.clone())?;
    Ok(arguments.into_iter().filter(|argument| !argument.starts_with("--listen=")).collect())
}

/// A kubeconfig with a token of the operator's own service account: its rights, and its place in the API server's queues.
fn kubeconfig(cluster: &Cluster, results: &Path) -> anyhow::Result<PathBuf> {
    let output = cluster
        .command("kubectl")
        .args(["--namespace", OPERATOR, "create", "token", OPERATOR, "--duration=12h"])
        .output()
        .context("cannot start kubectl")?;
    ensure!(output.status.success(), "the API server gives the operator no token");
    let token = String::from_utf8(output.stdout)?;
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "scale",
        "clusters": [{ "name": "scale", "cluster": {
            "server": format!("https://{}:6443", cluster.node_address),
            "certificate-authority": cluster.pki("ca.crt"),
        } }],
        "users": [{ "name": "operator", "user": { "token": token.trim() } }],
        "contexts": [{ "name": "scale", "context": { "cluster": "scale", "user": "operator" } }],
    });
    let path = results.join("kubeconfig");
    fs::write(&path, config.to_string())?;
    Ok(path)
}
