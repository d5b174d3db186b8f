//! The operator's program: arguments in, exit status out.

use clap::Parser;
use docker_universe::{args::Arguments, run, telemetry};
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    telemetry::start(arguments.log_format());
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let result = runtime.map_err(anyhow::Error::from).and_then(|runtime| {
        let result = runtime.block_on(run::run(arguments));
        // A name that is being looked up is not waited for.
        runtime.shutdown_background();
        result
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
