//! `cargo xtask chaos --scale`: thousands of procs on simulated nodes, and two operators that are killed, stopped and woken.
//!
//! This sets the stage; what is done and checked is in the program of the simulated nodes (`src/scale/src/chaos.rs`).

use crate::{
    cluster::{self, Cluster},
    image, simulated,
};
use anyhow::{Context as _, ensure};
use serde_json::json;
use std::{fs, path::Path, process::Command};

/// Name of the cluster that this brings up.
const CLUSTER: &str = "chaos";
/// Simulated nodes, each with room for 1000 pods.
const NODES: usize = 5;

/// How much of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Measure {
    /// Procs of the great job.
    pub(super) procs: usize,
    /// Small jobs.
    pub(super) jobs: usize,
    /// How long the operators are under attack.
    pub(super) seconds: f64,
    /// What chance is made of.
    pub(super) seed: u64,
}

impl Measure {
    /// What `cargo xtask test` runs: a minute.
    pub(super) const fn short(seed: u64) -> Self {
        Self { procs: 200, jobs: 50, seconds: 45.0, seed }
    }
}

/// On a control plane of its own, or on one that is up and fresh. One that failed stays as it is.
pub(super) fn run(measure: Measure, cluster: Option<&str>) -> anyhow::Result<()> {
    let (operator, program) = (image::operator_alone()?, image::scale()?);
    let own = cluster.is_none();
    if own {
        // One that failed was left.
        cluster::down(CLUSTER)?;
    }
    let cluster = cluster::of_kind(cluster.unwrap_or(CLUSTER), cluster::Kind::ControlPlane)?;
    on(&cluster, measure, &operator, &program)?;
    if own { cluster::down(&cluster.name) } else { Ok(()) }
}

fn on(cluster: &Cluster, measure: Measure, operator: &Path, program: &Path) -> anyhow::Result<()> {
    let results = image::target_directory().join("chaos-scale");
    if results.exists() {
        fs::remove_dir_all(&results)?;
    }
    let recipe = simulated::stage(cluster, operator, &results)?;
    let plan = json!({
        "kubeconfig": cluster.kubeconfig, "operator": recipe, "results": results, "nodes": NODES,
        "procs": measure.procs, "jobs": measure.jobs, "seconds": measure.seconds,
        "seed": measure.seed,
    });
    let path = results.join("plan.json");
    fs::write(&path, serde_json::to_vec_pretty(&plan)?)?;
    let copy = results.join("scale");
    fs::copy(program, &copy)?;
    let status = Command::new(copy).arg("chaos").arg(&path).status().context("cannot start it")?;
    ensure!(
        status.success(),
        "it ended with {status}, seed {}; cluster \"{}\" is left as it is",
        measure.seed,
        cluster.name
    );
    Ok(())
}
