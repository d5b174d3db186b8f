//! Brings a job's files in, and sends them out.
//!
//! `transfer prepare` runs before the job, `transfer send` beside it; what each does stands in its plan
//! ([`duj_protocol::transfer`]). It knows nothing of Kubernetes.
//!
//! Invariant: however a transfer ends, its last report is in the termination message before the program ends.

#![forbid(unsafe_code)]

mod checkpoint;
mod decide;
mod executable;
mod fault;
mod handshake;
mod image;
mod inputs;
mod names;
mod net;
mod place;
mod prepare;
mod pull_secrets;
mod report;
mod retry;
mod scratch;
mod select;
mod send;
mod signals;
mod tree;

use std::{
    env,
    ffi::OsString,
    os::unix::process::CommandExt as _,
    panic::{self, AssertUnwindSafe},
    path::PathBuf,
    process::Command,
    sync::Arc,
};

use duj_protocol::transfer::{State, from_variables};
use serde::de::DeserializeOwned;

use crate::{fault::Fault, report::Reporter};

const USAGE: &str = "usage: transfer prepare|send [--record <file>]
       transfer --help | --version

The plan stands in the variables _DOCKER_UNIVERSE_PLAN_0, _1, …";
/// Exit code for an invocation that makes no sense, as with most programs.
const EXIT_USAGE: i32 = 2;
/// The variable that names a bundle of certificates.
const BUNDLE: &str = "SSL_CERT_FILE";
/// Where the kubelet looks for a container's last words.
const RECORD: &str = "/dev/termination-log";

fn main() {
    let arguments: Vec<_> = env::args_os().skip(1).collect();
    let words: Vec<_> = arguments.iter().map(|word| word.to_str().unwrap_or_default()).collect();
    without_an_empty_bundle(&arguments);
    let code = match *words.as_slice() {
        ["--help"] => say(USAGE),
        ["--version"] => say(concat!("transfer ", env!("CARGO_PKG_VERSION"))),
        [command @ ("prepare" | "send")] => run(command, RECORD.into()),
        [command @ ("prepare" | "send"), "--record", _] => {
            run(command, PathBuf::from(&arguments[2]))
        }
        _ => {
            eprintln!("{USAGE}");
            EXIT_USAGE
        }
    };
    // Not by a return: a thread may wait for a lock that nobody drops.
    std::process::exit(code);
}

fn say(text: &str) -> i32 {
    println!("{text}");
    0
}

/// Without a bundle that can be read the image's own authorities count: an installation may name one that not every
/// namespace has. The library that speaks to registries panics where there is none at all.
fn without_an_empty_bundle(arguments: &[OsString]) {
    let Some(bundle) = env::var_os(BUNDLE) else { return };
    if rustls_native_certs::load_native_certs().certs.is_empty() {
        eprintln!("no certificate can be read from '{}', which is left out", bundle.display());
        // The environment of a program that runs cannot be changed safely.
        let error = Command::new("/proc/self/exe").args(arguments).env_remove(BUNDLE).exec();
        eprintln!("cannot begin anew: {error}");
    }
}

fn run(command: &str, record: PathBuf) -> i32 {
    let direction = if command == "send" { fault::OUTPUT } else { fault::INPUT };
    let reporter = Arc::new(Reporter::new(record, direction));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(16)
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return refuse(&reporter, &Fault::io(&error, "starting")),
    };
    let ended = panic::catch_unwind(AssertUnwindSafe(|| {
        if command == "send" {
            with_plan(&reporter, |plan| runtime.block_on(send::send(plan, &reporter)))
        } else {
            with_plan(&reporter, |plan| runtime.block_on(prepare::prepare(plan, &reporter)))
        }
    }));
    // A mistake of this program's own: it is told like any other failure, not only in a log.
    let failed = |_| refuse(&reporter, &Fault::permanent(0, "the program failed: see its log"));
    ended.unwrap_or_else(failed)
}

fn with_plan<T: DeserializeOwned>(reporter: &Reporter, run: impl FnOnce(T) -> i32) -> i32 {
    match from_variables(|name| env::var(name).ok()) {
        Ok(plan) => run(plan),
        Err(error) => refuse(reporter, &Fault::permanent(22, error)),
    }
}

fn refuse(reporter: &Reporter, fault: &Fault) -> i32 {
    reporter.conclude(State::Failed, Some(fault.failure(reporter.direction())));
    1
}
