//! The two programs that are compared, each as it is meant to be called. Invariant: a run that fails is an error with the
//! program's own words, never a number.

use super::{Load, server::BUCKET, server::Server};
use crate::cluster::S3Keys;
use anyhow::{Context as _, bail, ensure};
use duj_protocol::{
    Outcome, Record,
    transfer::{
        Input, Place, PreparePlan, Report, S3, SendPlan, Source, State, handshake, to_variables,
    },
};
use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// How often the memory of a running program is looked at. The kernel keeps its peak, so that only the last moment is missed.
const LOOK: Duration = Duration::from_millis(5);

/// The longest that a run may take.
const LIMIT: Duration = Duration::from_mins(10);

/// Which of the two.
#[derive(Clone, Copy, Debug)]
pub(super) enum Program {
    Transfer,
    S5cmd,
}

/// What a run took.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spent {
    pub(super) seconds: f64,
    /// The largest resident set.
    pub(super) peak_mib: f64,
}

/// Both programs, and what they have to know of the server.
pub(super) struct Programs {
    transfer: PathBuf,
    s5cmd: PathBuf,
    directory: PathBuf,
    endpoint: String,
    keys: S3Keys,
}

impl Programs {
    /// With files of their own in this directory.
    pub(super) fn new(
        transfer: PathBuf,
        s5cmd: PathBuf,
        directory: &Path,
        server: &Server,
    ) -> anyhow::Result<Self> {
        let directory = directory.join("programs");
        let credentials = directory.join("credentials");
        fs::create_dir_all(&credentials)?;
        for (name, value) in server.keys.clone().client_variables() {
            fs::write(credentials.join(name), value)?;
        }
        let (endpoint, keys) = (server.endpoint.clone(), server.keys.clone());
        Ok(Self { transfer, s5cmd, directory, endpoint, keys })
    }

    /// Brings what is below the prefix into a directory.
    pub(super) fn bring(
        &self,
        program: Program,
        load: Load,
        prefix: &str,
        into: &Path,
    ) -> anyhow::Result<Spent> {
        let name = load.name();
        match (program, load) {
            (Program::S5cmd, Load::Large(_)) => {
                fs::create_dir_all(into)?;
                let from = format!("s3://{BUCKET}/{prefix}/{name}");
                self.s5cmd(&[&from, &text(&into.join(name))?])
            }
            (Program::S5cmd, Load::Many(_)) => {
                let target = into.join(name);
                fs::create_dir_all(&target)?;
                let from = format!("s3://{BUCKET}/{prefix}/{name}/*");
                self.s5cmd(&[&from, &format!("{}/", text(&target)?)])
            }
            (Program::Transfer, _) => {
                let slash = if matches!(load, Load::Many(_)) { "/" } else { "" };
                let source = Source::Place(self.place(&format!("{prefix}/{name}{slash}"))?);
                let plan = PreparePlan {
                    scratch: text(into)?,
                    handshake: text(&self.fresh("handshake")?)?,
                    inputs: vec![Input { name: Some(name.to_owned()), source }],
                    patience: 10,
                    ..PreparePlan::default()
                };
                self.transfer("prepare", &to_variables(&plan))
            }
        }
    }

    /// Sends what is in a directory below the prefix.
    pub(super) fn send(
        &self,
        program: Program,
        load: Load,
        from: &Path,
        prefix: &str,
    ) -> anyhow::Result<Spent> {
        let name = load.name();
        match (program, load) {
            (Program::S5cmd, Load::Large(_)) => {
                self.s5cmd(&[&text(&from.join(name))?, &format!("s3://{BUCKET}/{prefix}/{name}")])
            }
            (Program::S5cmd, Load::Many(_)) => {
                let from = format!("{}/", text(&from.join(name))?);
                self.s5cmd(&[&from, &format!("s3://{BUCKET}/{prefix}/{name}/")])
            }
            (Program::Transfer, _) => {
                let plan = SendPlan {
                    scratch: text(from)?,
                    handshake: text(&self.ended_job()?)?,
                    control: text(&self.fresh("control")?)?,
                    files: Some(vec![name.to_owned()]),
                    destination: Some(self.place(&format!("{prefix}/"))?),
                    patience: 10,
                    ..SendPlan::default()
                };
                self.transfer("send", &to_variables(&plan))
            }
        }
    }

    fn place(&self, key: &str) -> anyhow::Result<Place> {
        let s3 = S3 {
            endpoint: Some(self.endpoint.clone()),
            credentials: Some(text(&self.directory.join("credentials"))?),
            ..S3::default()
        };
        Ok(Place::Url { url: format!("s3://{BUCKET}/{key}"), headers: None, s3: Some(s3) })
    }

    fn fresh(&self, name: &str) -> anyhow::Result<PathBuf> {
        let directory = self.directory.join(name);
        super::empty(&directory)?;
        fs::create_dir_all(&directory)?;
        Ok(directory)
    }

    /// The handshake directory as a starter leaves it, whose job exited with 0.
    fn ended_job(&self) -> anyhow::Result<PathBuf> {
        let directory = self.fresh("handshake")?;
        let record = Record {
            version: Record::VERSION,
            started: Some(1),
            ended: Some(2),
            outcome: Some(Outcome::Exited(0)),
            ..Record::default()
        };
        fs::write(directory.join(handshake::OUTCOME), record.to_message())?;
        fs::write(directory.join(handshake::LOCK), "")?;
        fs::write(directory.join(handshake::STARTED), "")?;
        Ok(directory)
    }

    fn s5cmd(&self, places: &[&str; 2]) -> anyhow::Result<Spent> {
        let mut command = Command::new(&self.s5cmd);
        command
            .args(["--log", "error", "--endpoint-url", &self.endpoint, "cp"])
            .args(places)
            .envs(self.keys.clone().client_variables())
            .env("AWS_REGION", "us-east-1");
        self.run(command)
    }

    fn transfer(&self, verb: &str, plan: &[(String, String)]) -> anyhow::Result<Spent> {
        let record = self.directory.join("report");
        let mut command = Command::new(&self.transfer);
        command.arg(verb).arg("--record").arg(&record).envs(plan.iter().cloned());
        let spent = self.run(command)?;
        let words = fs::read_to_string(&record).context("transfer left no report")?;
        let report = Report::from_message(&words);
        ensure!(report.is_some_and(|report| report.state == State::Done), "transfer: {words}");
        Ok(spent)
    }

    fn run(&self, mut command: Command) -> anyhow::Result<Spent> {
        let log = self.directory.join("log");
        let words = File::create(&log)?;
        command.stdin(Stdio::null()).stdout(words.try_clone()?).stderr(words);
        let name = command.get_program().to_string_lossy().into_owned();
        let begun = Instant::now();
        let mut child = command.spawn().with_context(|| format!("cannot run {name}"))?;
        let mut peak = 0.0_f64;
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            peak = peak.max(peak_mib(child.id()).unwrap_or(0.0));
            if begun.elapsed() > LIMIT {
                child.kill()?;
                child.wait()?;
                bail!("{name} did not end: {}", fs::read_to_string(&log)?);
            }
            thread::sleep(LOOK);
        };
        let seconds = begun.elapsed().as_secs_f64();
        ensure!(status.success(), "{name} ended with {status}: {}", fs::read_to_string(&log)?);
        Ok(Spent { seconds, peak_mib: peak })
    }
}

/// The largest resident set of a process so far.
fn peak_mib(pid: u32) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kib: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib / 1024.0)
}

fn text(path: &Path) -> anyhow::Result<String> {
    Ok(path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))?.to_owned())
}
