//! Where processor time goes during a run: the operator's by `perf`, the API server's by its own profiler.
//!
//! Files are named after the run. Profiling costs some processor time itself, so that numbers of a profiled run are not to
//! be compared with others.

use crate::{operator::Operator, plan::Plan, work::Controller};
use anyhow::Context as _;
use futures::AsyncReadExt as _;
use kube::Client;
use rustix::process::{Pid, Signal, kill_process};
use std::{
    fs::File,
    path::{Path, PathBuf},
    process::Stdio,
};
use tokio::{
    process::{Child, Command},
    task::JoinHandle,
};

/// So many samples a second; no multiple of what timers do.
const SAMPLES: &str = "199";
/// So long the API server is looked at.
const SECONDS: u32 = 15;

/// A profile that is being taken.
pub struct Profile {
    perf: Option<(Child, PathBuf)>,
    server: JoinHandle<anyhow::Result<()>>,
}

impl Profile {
    /// Begins, where the plan wants profiles.
    pub fn start(
        client: &Client,
        plan: &Plan,
        controller: Controller,
        operator: Option<&Operator>,
        run: usize,
    ) -> anyhow::Result<Option<Self>> {
        if !plan.profile {
            return Ok(None);
        }
        let file = |who: &str, kind: &str| plan.results.join(format!("{who}-{run}.{kind}"));
        let perf = operator
            .map(|operator| {
                let data = file("operator", "perf");
                Ok::<_, anyhow::Error>((record(operator.pid(), &data)?, data))
            })
            .transpose()?;
        let server = file(&format!("api-server-{}", controller.plural()), "pprof");
        let server = tokio::spawn(ask_server(client.clone(), server));
        Ok(Some(Self { perf, server }))
    }

    /// Ends it, and writes what `perf` found as text.
    pub async fn end(self) -> anyhow::Result<()> {
        self.server.await??;
        let Some((mut perf, data)) = self.perf else { return Ok(()) };
        let id = perf.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        kill_process(id.context("perf has ended early")?, Signal::INT)?;
        perf.wait().await?;
        let text = data.with_extension("txt");
        let words = [
            "report",
            "--stdio",
            "--no-children",
            "--call-graph",
            "caller,0.5,callee",
            "--percent-limit",
            "0.5",
            "--input",
        ];
        let written = File::create(&text)?;
        let mut report = Command::new("perf");
        report.args(words).arg(&data).stdin(Stdio::null()).stdout(written).stderr(Stdio::null());
        report.status().await.context("cannot start perf")?;
        eprintln!("    the operator's profile is in {}", text.display());
        Ok(())
    }
}

fn record(pid: u32, data: &Path) -> anyhow::Result<Child> {
    let mut perf = Command::new("perf");
    perf.args(["record", "--quiet", "--call-graph", "fp", "--freq", SAMPLES, "--pid"])
        .arg(pid.to_string())
        .arg("--output")
        .arg(data)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    perf.spawn().context("cannot start perf")
}

async fn ask_server(client: Client, path: PathBuf) -> anyhow::Result<()> {
    let request = format!("/debug/pprof/profile?seconds={SECONDS}");
    let request = http::Request::get(request).body(Vec::new())?;
    let mut profile = Vec::new();
    Box::pin(client.request_stream(request).await?).read_to_end(&mut profile).await?;
    std::fs::write(&path, profile).with_context(|| format!("cannot write {}", path.display()))
}
