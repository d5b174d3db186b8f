//! Thousands of jobs and procs on simulated nodes, beside batch/v1 Job on the same real control plane.
//!
//! This sets the stage: a control plane of its own, the chart's objects without its Deployment, and the operator's program with
//! the arguments and the rights that the chart gives it. The measuring is done by a program of its own, built as a release
//! (`src/scale`): nodes, submitter and watchers share the machine with what is measured.

use crate::{
    cluster::{self, Cluster},
    image, simulated,
};
use anyhow::{Context as _, ensure};
use serde_json::json;
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Name of the cluster that this brings up.
const CLUSTER: &str = "scale";

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
    let recipe = simulated::stage(cluster, operator, &results)?;
    let mut plan = json!({
        "kubeconfig": cluster.kubeconfig, "cluster": cluster.state, "results": results,
        "operator": recipe,
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
