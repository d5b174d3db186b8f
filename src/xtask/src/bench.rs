//! `cargo xtask bench`: what the product costs, beside what it is compared with, in the same run.
//!
//! Invariant: counts are exact, taken from the API server; times are ratios of runs that alternate on the same machine.

mod node;
mod scale;
mod starter;
mod transfer;

use clap::Subcommand;

/// Arguments of `cargo xtask bench`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Jobs of `true` against bare pods of `true` on the real node; API writes; the starter; the operator's memory
    Node(node::Arguments),
    /// Thousands of jobs and procs on simulated nodes, beside batch/v1 Job on the same real control plane
    Scale(scale::Arguments),
    /// Files in and out of S3, beside s5cmd: rate and memory
    Transfer(transfer::Arguments),
    /// Print the monotonic clock: what a started command does to say when it was started
    #[command(hide = true)]
    Clock,
}

/// Measures.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    match &arguments.what {
        What::Node(arguments) => node::run(arguments),
        What::Scale(arguments) => scale::run(arguments),
        What::Transfer(arguments) => transfer::run(arguments),
        What::Clock => {
            println!("{}", starter::monotonic_nanoseconds());
            Ok(())
        }
    }
}

/// The middle of some numbers.
fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied().unwrap_or(f64::NAN)
}
