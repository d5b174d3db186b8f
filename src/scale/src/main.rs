//! `scale <plan.json>` and `scale chaos <plan.json>`: `cargo xtask bench scale` and `cargo xtask chaos --scale` set the stage,
//! write the plan and start this.

use anyhow::bail;
use duj_scale::{bench, chaos, plan::Plan};
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
    let words: Vec<_> = std::env::args_os().skip(1).collect();
    let (is_chaos, path) = match &words[..] {
        [path] => (false, path),
        [what, path] if what == "chaos" => (true, path),
        _ => bail!("say where the plan is"),
    };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let result = if is_chaos {
        runtime.block_on(chaos::run(chaos::Plan::read(path.as_ref())?))
    } else {
        runtime.block_on(bench::run(Plan::read(path.as_ref())?))
    };
    runtime.shutdown_background();
    result
}
