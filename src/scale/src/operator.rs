//! The operator as a local process, beside the cluster: so its processor time and its memory are its own.

use crate::{plan::Recipe, processes::Use};
use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    collections::BTreeMap,
    fs::File,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::Path,
    process::{ExitStatus, Stdio},
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    process::{Child, Command},
};

const PATIENCE: Duration = Duration::from_mins(2);
const LOOK_AGAIN: Duration = Duration::from_millis(20);
const ANSWER: Duration = Duration::from_secs(5);

/// A running operator; it is killed when this is dropped.
pub struct Operator {
    child: Child,
    address: SocketAddr,
    pid: u32,
}

impl Operator {
    /// Starts it; it may not be ready.
    pub fn start(recipe: &Recipe, log: &Path) -> anyhow::Result<Self> {
        Self::start_as("docker-universe-scale", recipe, log)
    }

    /// Starts it under this name; it may not be ready.
    pub fn start_as(name: &str, recipe: &Recipe, log: &Path) -> anyhow::Result<Self> {
        let address = free_address()?;
        let log = File::options().create(true).append(true).open(log)?;
        let child = Command::new("setpriv")
            // It must not outlive this program, however that ends.
            .args(["--pdeathsig", "KILL", "--"])
            .arg(&recipe.program)
            .args(&recipe.arguments)
            .arg(format!("--listen={address}"))
            .envs(&recipe.variables)
            .env("KUBECONFIG", &recipe.kubeconfig)
            .env("POD_NAMESPACE", &recipe.namespace)
            .env("POD_NAME", name)
            .env("RUST_LOG", "warn")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .context("cannot start the operator (by setpriv, of util-linux)")?;
        let pid = child.id().context("the operator has ended at once")?;
        Ok(Self { child, address, pid })
    }

    /// Waits until its caches are filled.
    pub async fn until_ready(&mut self) -> anyhow::Result<()> {
        let begun = Instant::now();
        while !self.get("/readyz").await.is_ok_and(|answer| answer.starts_with("HTTP/1.1 200")) {
            if let Some(status) = self.child.try_wait()? {
                bail!("the operator ended with {status}: see its log");
            }
            if begun.elapsed() > PATIENCE {
                bail!("the operator is not ready after {} s", PATIENCE.as_secs());
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        Ok(())
    }

    /// Whether it says that it leads.
    pub async fn leads(&self) -> bool {
        self.get("/readyz").await.is_ok_and(|answer| answer.contains("ok: leads"))
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let pid = self.pid.try_into().ok().and_then(Pid::from_raw).context("no process id")?;
        Ok(kill_process(pid, signal)?)
    }

    /// Kills it, as a fault would.
    pub async fn kill(mut self) -> anyhow::Result<()> {
        Ok(self.child.kill().await?)
    }

    /// Its process.
    pub const fn pid(&self) -> u32 {
        self.pid
    }

    /// What it has used.
    pub fn used(&self) -> anyhow::Result<Use> {
        Use::of(self.pid)
    }

    /// How often it has looked at a job.
    pub async fn looks(&self) -> anyhow::Result<u64> {
        let metrics = self.metrics().await?;
        Ok(metrics.get("docker_universe_reconcile_seconds_count").map_or(0, |count| whole(*count)))
    }

    /// Its own metrics, by name and labels.
    pub async fn metrics(&self) -> anyhow::Result<BTreeMap<String, f64>> {
        let text = self.get("/metrics").await?;
        let line = |line: &str| {
            let (name, value) = line.rsplit_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        };
        Ok(text.lines().filter(|line| !line.starts_with('#')).filter_map(line).collect())
    }

    async fn get(&self, path: &str) -> anyhow::Result<String> {
        let ask = async {
            let mut stream = TcpStream::connect(self.address).await?;
            let question =
                format!("GET {path} HTTP/1.1\r\nHost: operator\r\nConnection: close\r\n\r\n");
            stream.write_all(question.as_bytes()).await?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await?;
            anyhow::Ok(answer)
        };
        tokio::time::timeout(ANSWER, ask).await.context("the operator does not answer")?
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
fn whole(count: f64) -> u64 {
    count as u64
}

fn free_address() -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?)
}
