//! `cargo xtask test`: everything that must hold, in the order in which a fault is found soonest.
//!
//! Invariant: each step stands for itself and stops the run when it fails; nothing is skipped without being named. With
//! `--fast` there is no cluster; without it, the real node runs every scenario and every example. At the end stands what was
//! tried; tests that should tell it and do not fail their step.

mod programs;
mod tried;

use crate::{chaos, chart, cluster, crds, demo, deploy, image};
use anyhow::{Context as _, bail};
use std::{process::Command, time::Instant};
use tried::Tried;

/// Arguments of `cargo xtask test`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Only what needs no cluster
    #[arg(long)]
    fast: bool,
    /// Leave the test's cluster up afterwards
    #[arg(long)]
    keep: bool,
    /// The cluster to test on; brought up if it is not, and then taken down again
    #[arg(long, value_name = "NAME", default_value = "test")]
    cluster: String,
    /// Only the scenarios of the real node whose names contain this
    #[arg(long, value_name = "TEXT", conflicts_with = "fast")]
    scenario: Option<String>,
}

/// Values of the chart that make waiting short, and those that tests are about.
const QUICK: [&str; 12] = [
    "--set",
    "imagePatienceSeconds=20",
    "--set",
    "transfer.patienceSeconds=20",
    "--set",
    "transfer.caBundle.configMap=trust",
    "--set",
    "defaults.memory=64Mi",
    "--set",
    "limits.namespaces.t-limited.maxRunning=1",
    "--set",
    "limits.namespaces.t-limited.maxProcsPerJob=3",
];

/// Scenarios at the same time: they mostly wait for the node.
const SCENARIOS_AT_ONCE: &str = "--test-threads=8";

/// Runs the steps.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let mut steps = Steps::default();
    let tried = Tried::nothing_yet()?;
    if arguments.scenario.is_none() {
        without_cluster(&mut steps, &tried)?;
    }
    if !arguments.fast {
        let found = cluster::find(&arguments.cluster)?.is_some();
        let result = with_cluster(&mut steps, arguments);
        if !found && !arguments.keep && result.is_ok() {
            steps.run("take the cluster down", || cluster::down(&arguments.cluster))?;
        }
        result?;
    }
    let table = if arguments.scenario.is_none() { tried.table()? } else { String::new() };
    steps.report(&table);
    Ok(())
}

fn without_cluster(steps: &mut Steps, tried: &Tried) -> anyhow::Result<()> {
    steps.run("formatting", || cargo(&["fmt", "--all", "--check"]))?;
    steps.run("lints", || {
        let all = [
            "clippy",
            "--quiet",
            "--workspace",
            "--all-targets",
            "--features",
            "docker-universe/real-node,duj-transfer/real-s3",
        ];
        cargo(&[&all[..], &["--", "--deny", "warnings"]].concat())
    })?;
    steps.run("generated files", || crds::check(&crate::repository()))?;
    steps.run("unit tests, tables, properties, simulation, HTCondor's own readers", || {
        programs::run(tried.file())?;
        tried.table().map(|_| ())
    })?;
    steps.run("chart", || chart::check(&cluster::helm()?))
}

fn with_cluster(steps: &mut Steps, arguments: &Arguments) -> anyhow::Result<()> {
    let cluster = steps.run("a real cluster", || cluster::up(&arguments.cluster))?;
    let kubeconfig = cluster.kubeconfig.to_string_lossy().into_owned();
    let install = |more: &[&str]| {
        let place = ["--cluster", &cluster.name, "--kubeconfig", &kubeconfig];
        deploy::with(&[&place, &QUICK[..], more].concat())
    };
    steps.run("images and chart", || {
        image::push_workloads(&image::Registry::of_cluster(&cluster.registry)?)?;
        install(&[])
    })?;
    let only = arguments.scenario.as_deref();
    let scenarios = |feature: &str, test: &str, threads: &str| {
        let mut command = Command::new(env!("CARGO"));
        command
            .args(["test", "--quiet", "--workspace", "--features", feature, "--test", test, "--"])
            .args(only)
            .arg(threads)
            .current_dir(crate::repository())
            .envs(cluster.variables());
        finish(command)
    };
    if only.is_none() {
        steps.run("transfers and a real S3 server", || {
            let mut command = Command::new(env!("CARGO"));
            command
                .args(["test", "--quiet", "--package", "duj-transfer"])
                .args(["--features", "real-s3", "--test", "real_s3"])
                .current_dir(crate::repository())
                .env("VERSITYGW", cluster::tool("versitygw")?);
            finish(command)
        })?;
    }
    let real = "docker-universe/real-node";
    steps.run("scenarios on the real node", || scenarios(real, "node", SCENARIOS_AT_ONCE))?;
    if only.is_none() {
        steps.run("examples", || demo::Stage::on(&cluster)?.play())?;
        steps.run("chaos, the short form", || chaos::short(&cluster))?;
    }
    steps.run("two operators, updated, stopped and killed under load", || {
        install(&["--set", "replicas=2"])?;
        scenarios(real, "node_two_operators", "--test-threads=1")
    })?;
    steps.run("the starter copied by an init container", || {
        install(&["--set", "starter.delivery=InitContainer"])?;
        scenarios(real, "node_copied", SCENARIOS_AT_ONCE)
    })?;
    steps.run("an operator's image that nobody can pull", || {
        let nowhere = format!("starter.image={}/nowhere:1", cluster.registry);
        install(&["--set", &nowhere])?;
        scenarios(real, "node_unpullable", "--test-threads=1")
    })
}

fn cargo(words: &[&str]) -> anyhow::Result<()> {
    let mut command = Command::new(env!("CARGO"));
    command.args(words).current_dir(crate::repository());
    finish(command)
}

fn finish(mut command: Command) -> anyhow::Result<()> {
    // A test that fails on a colleague's machine is read in a log.
    command.env("CARGO_TERM_COLOR", "never");
    let status = command.status().context("cannot start cargo")?;
    if !status.success() {
        bail!("it ended with {status}");
    }
    Ok(())
}

/// What was done, and how long it took.
#[derive(Default)]
struct Steps(Vec<(String, f64)>);

impl Steps {
    fn run<T>(
        &mut self,
        name: &str,
        step: impl FnOnce() -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        eprintln!("==> {name}");
        let begun = Instant::now();
        match step() {
            Ok(value) => {
                let seconds = begun.elapsed().as_secs_f64();
                eprintln!("<== {name}: good, {seconds:.1} s");
                self.0.push((name.to_owned(), seconds));
                Ok(value)
            }
            Err(error) => {
                eprintln!("<== {name}: FAILED");
                println!("steps: {} passed, 1 failed", self.0.len());
                Err(error.context(format!("step '{name}' failed")))
            }
        }
    }

    fn report(&self, tried: &str) {
        for (name, seconds) in &self.0 {
            println!("{seconds:8.1} s  {name}");
        }
        print!("{tried}");
        println!("steps: {} passed, 0 failed", self.0.len());
    }
}
