//! The project's own commands. Each subcommand is a module; this file only names them.

use clap::{Parser, Subcommand};
use std::process::ExitCode;

mod bench;
mod chaos;
mod chart;
mod cluster;
mod crds;
mod demo;
mod deploy;
mod fuzz;
mod image;
mod kubectl;
mod simulated;
mod test;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "docker-universe's own commands")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Measure on the real node
    Bench(bench::Arguments),
    /// Kill the operator and the API server again and again under hundreds of jobs, and check that nothing is lost
    Chaos(chaos::Arguments),
    /// Check the Helm chart, without a cluster
    Chart(chart::Arguments),
    /// A real Kubernetes on this machine: up, down, env, status
    Cluster(cluster::Arguments),
    /// Write the custom resource definitions from the Rust types
    Crds(crds::Arguments),
    /// Watch real jobs run, fail, get held and be released on a real cluster
    Demo(demo::Arguments),
    /// Put the project's image and its chart into a cluster
    Deploy(deploy::Arguments),
    /// Feed hostile input to what reads users' texts, guided by coverage
    Fuzz(fuzz::Arguments),
    /// Build the project's image and the workload images, and put them into a registry
    Image(image::Arguments),
    /// Run every test; --fast for those that need no cluster
    Test(test::Arguments),
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Chaos(arguments) => chaos::run(&arguments),
        Command::Chart(arguments) => chart::run(&arguments),
        Command::Cluster(arguments) => cluster::run(&arguments),
        Command::Crds(arguments) => crds::run(&arguments),
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Deploy(arguments) => deploy::run(&arguments),
        Command::Fuzz(arguments) => fuzz::run(&arguments),
        Command::Image(arguments) => image::run(&arguments),
        Command::Test(arguments) => test::run(&arguments),
    }
}

/// The checkout that cargo runs this program in; compiled dependencies, and with them this program, may be shared by several.
fn repository() -> std::path::PathBuf {
    let package = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), std::path::PathBuf::from);
    package.ancestors().nth(2).map_or_else(|| ".".into(), std::path::Path::to_path_buf)
}
