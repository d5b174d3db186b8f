//! `kubectl` as a person would use it, for the commands that show and measure. Invariant: every call names its kubeconfig,
//! so that nobody's own current context is touched.

use anyhow::{Context as _, bail};
use serde_json::Value;
use std::{
    ffi::OsString,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

/// The longest wait for something to become so.
const PATIENCE: Duration = Duration::from_mins(4);
/// Looking costs the API server something, too.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// A cluster to talk to.
#[derive(Clone, Debug)]
pub(crate) struct Kubectl {
    program: PathBuf,
    kubeconfig: OsString,
}

impl Kubectl {
    /// `bin` is the folder of the cluster's own tools; without it, or without a kubectl in it, the one on the PATH is used.
    pub(crate) fn new(bin: Option<&Path>, kubeconfig: impl Into<OsString>) -> Self {
        let own = bin.map(|bin| bin.join("kubectl")).filter(|program| program.exists());
        Self { program: own.unwrap_or_else(|| "kubectl".into()), kubeconfig: kubeconfig.into() }
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(words).env("KUBECONFIG", &self.kubeconfig);
        command
    }

    /// Runs it; a failure is an error with its words.
    pub(crate) fn run(&self, words: &[&str]) -> anyhow::Result<String> {
        answer(
            words,
            &self.command(words).stdin(Stdio::null()).output().context("cannot start kubectl")?,
        )
    }

    /// Runs it with a manifest on standard input.
    pub(crate) fn feed(&self, words: &[&str], manifest: &str) -> anyhow::Result<String> {
        let mut child = self
            .command(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot start kubectl")?;
        let mut input = child.stdin.take().context("kubectl has no standard input")?;
        input.write_all(manifest.as_bytes()).context("kubectl does not read its manifest")?;
        drop(input);
        answer(words, &child.wait_with_output()?)
    }

    /// Runs it in the background; its lines come as it prints them.
    pub(crate) fn lines(&self, words: &[&str]) -> anyhow::Result<Lines> {
        let mut child = self
            .command(words)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start kubectl")?;
        let output = child.stdout.take().context("kubectl has no standard output")?;
        let (teller, told) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if teller.send(line).is_err() {
                    break;
                }
            }
        });
        Ok(Lines { child, told })
    }

    /// `kubectl get … -o json`.
    pub(crate) fn get(&self, words: &[&str]) -> anyhow::Result<Value> {
        let words = [&["get"], words, &["--output", "json"]].concat();
        serde_json::from_str(&self.run(&words)?).context("kubectl does not answer in JSON")
    }

    /// Waits until a look at something finds what is wanted.
    pub(crate) fn until<T>(
        &self,
        what: &str,
        look: impl Fn(&Self) -> anyhow::Result<Option<T>>,
    ) -> anyhow::Result<T> {
        let begun = Instant::now();
        loop {
            if let Some(found) = look(self)? {
                return Ok(found);
            }
            if begun.elapsed() > PATIENCE {
                bail!("{what}: not so after {} s", PATIENCE.as_secs());
            }
            thread::sleep(LOOK_AGAIN);
        }
    }
}

/// The lines of a kubectl in the background, which ends with this.
pub(crate) struct Lines {
    child: Child,
    told: mpsc::Receiver<String>,
}

impl Lines {
    /// The next line; none when it has ended, or nothing came for long.
    pub(crate) fn next(&self) -> Option<String> {
        self.told.recv_timeout(PATIENCE).ok()
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn answer(words: &[&str], output: &Output) -> anyhow::Result<String> {
    if !output.status.success() {
        bail!("kubectl {}: {}", words.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
