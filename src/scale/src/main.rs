//! `scale <plan.json>`: `cargo xtask bench scale` sets the stage, writes the plan and starts this.

use anyhow::Context as _;
use duj_scale::{bench, plan::Plan};
use std::process::ExitCode;

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
    let path = std::env::args_os().nth(1).context("say where the plan is")?;
    let plan = Plan::read(path.as_ref())?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let result = runtime.block_on(bench::run(plan));
    runtime.shutdown_background();
    result
}
