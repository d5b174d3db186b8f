//! The project's own commands. Each subcommand is a module; this file only names them.

use clap::{Parser, Subcommand};

mod cluster;
mod image;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "docker-universe's own commands")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// A real Kubernetes on this machine: up, down, env, status
    Cluster(cluster::Arguments),
    /// Build the project's image and the workload images, and put them into a registry
    Image(image::Arguments),
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::Cluster(arguments) => cluster::run(&arguments),
        Command::Image(arguments) => image::run(&arguments),
    }
}
