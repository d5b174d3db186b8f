//! How commands and the supervisor talk: one JSON line each way over a socket in the state directory.
//! Invariant: only the supervisor signals components, because only it knows that a pid is still its child's.

use std::{
    fmt,
    io::{BufRead as _, BufReader, Write as _},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, anyhow};
use serde::{Deserialize, Serialize};

/// How long either side waits for the other's line.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// What a command asks of the supervisor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Request {
    /// Only the report.
    Status,
    /// Do this with that component.
    Change(Change, String),
}

/// What can be done with a component.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
pub(crate) enum Change {
    /// End it, and do not start it again
    Stop,
    /// Start it again
    Start,
    /// Let it neither run nor end (SIGSTOP)
    Freeze,
    /// Let it go on (SIGCONT)
    Thaw,
    /// End it as a fault would (SIGKILL); it is started again
    Kill,
}

/// The supervisor's answer.
pub(super) type Answer = Result<Report, String>;

/// How the cluster is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Report {
    /// Whether the cable to the host has been plugged in and the components may start.
    pub(super) connected: bool,
    /// The components, in the order of the plan.
    pub(super) components: Vec<ComponentReport>,
}

/// How a component is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ComponentReport {
    /// Its name.
    pub(super) name: String,
    /// What it does.
    pub(super) condition: Condition,
    /// Its pid inside the cluster, while it runs.
    pub(super) pid: Option<i32>,
    /// How often it ended without being told to.
    pub(super) restarts: u32,
}

/// What a component does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Condition {
    /// It waits for others, or for its next try.
    Waiting,
    /// It runs, and is not ready yet.
    Starting,
    /// It runs and is ready.
    Ready,
    /// It is a task and has ended successfully.
    Done,
    /// It was frozen on purpose.
    Frozen,
    /// It was told to end, and has not yet.
    Stopping,
    /// It was stopped on purpose.
    Stopped,
}

impl Condition {
    /// Whether nothing is left to wish for.
    pub(super) fn good(self) -> bool {
        matches!(self, Self::Ready | Self::Done)
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Waiting => "waiting",
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Done => "done",
            Self::Frozen => "frozen",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
        })
    }
}

impl Report {
    /// Whether every component is as it should be.
    pub(super) fn good(&self) -> bool {
        self.connected && self.components.iter().all(|component| component.condition.good())
    }

    /// The component with this name.
    pub(super) fn component(&self, name: &str) -> Option<&ComponentReport> {
        self.components.iter().find(|component| component.name == name)
    }
}

/// Asks the supervisor at this socket.
pub(super) fn ask(socket: &Path, request: &Request) -> anyhow::Result<Report> {
    let stream = UnixStream::connect(socket).context("the supervisor cannot be reached")?;
    stream.set_read_timeout(Some(PATIENCE))?;
    send(&stream, request)?;
    let answer: Answer = receive(&stream)?;
    answer.map_err(|error| anyhow!(error))
}

/// Writes one line.
pub(super) fn send(mut stream: &UnixStream, message: &impl Serialize) -> anyhow::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    Ok(stream.write_all(&line)?)
}

/// Reads one line.
pub(super) fn receive<T: for<'any> Deserialize<'any>>(stream: &UnixStream) -> anyhow::Result<T> {
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).context("no answer from the supervisor")?;
    serde_json::from_str(&line)
        .context("the supervisor and this program do not understand each other")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_survive_the_socket() {
        let (here, there) = UnixStream::pair().unwrap();
        let request = Request::Change(Change::Freeze, "kubelet".to_owned());
        send(&here, &request).unwrap();
        assert_eq!(receive::<Request>(&there).unwrap(), request);
        drop(here);
        assert!(receive::<Request>(&there).is_err());
    }
}
