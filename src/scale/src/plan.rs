//! What is measured, and where: written by `cargo xtask bench scale`, which brings the stage.

use anyhow::Context as _;
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// A part of the bench that can be run alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Section {
    /// Many jobs of one proc.
    Jobs,
    /// One job of many procs.
    Procs,
    /// Memory with live procs, and a restart among them.
    Live,
    /// A job of very many procs, and one that is submitted behind it.
    Large,
    /// Cost per proc as jobs grow.
    Growth,
}

/// How the operator is started.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Its program.
    pub program: PathBuf,
    /// Its arguments, without `--listen`.
    pub arguments: Vec<String>,
    /// Its variables.
    pub variables: BTreeMap<String, String>,
    /// Its kubeconfig, with the rights that the chart gives.
    pub kubeconfig: PathBuf,
    /// The namespace of its own objects.
    pub namespace: String,
}

/// What is measured, and where.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// The administrator's kubeconfig.
    pub kubeconfig: PathBuf,
    /// The cluster's state directory: its processes are those that name it.
    pub cluster: PathBuf,
    /// How the operator is started.
    pub operator: Recipe,
    /// Where logs and the results as JSON go.
    pub results: PathBuf,
    /// Where the plots go; none are made without.
    pub plots: Option<PathBuf>,
    /// Jobs of one proc.
    pub jobs: usize,
    /// Procs of one job.
    pub procs: usize,
    /// Procs of a very large job; growth is measured to so many.
    pub large: usize,
    /// Procs of it that are live at the same time.
    pub live: usize,
    /// Runs of each kind where two are compared; they alternate.
    pub runs: usize,
    /// Simulated nodes; each has room for [`PODS`](crate::fleet::PODS) pods.
    pub nodes: usize,
    /// Take profiles; the operator's program has symbols and frame pointers.
    pub profile: bool,
    /// Only this section.
    pub only: Option<Section>,
}

impl Plan {
    /// Reads it.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text =
            std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_slice(&text).with_context(|| format!("{} is no plan", path.display()))
    }

    /// Whether this section is to run.
    pub fn wants(&self, section: Section) -> bool {
        self.only.is_none_or(|only| only == section)
    }
}
