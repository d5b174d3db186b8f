//! One component as the supervisor sees it. Invariant: `pid` is a child that has not been reaped, so
//! a signal to it cannot reach anybody else.

use std::{
    fs::{self, File},
    net::TcpStream,
    os::unix::net::UnixStream,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, WaitStatus, kill_process};

use super::super::{
    control::{Change, ComponentReport, Condition},
    machine::SYSTEM_PATH,
    plan::{Component as Planned, Ready},
};

/// First wait before a component that ended is started again; doubled each time.
const FIRST_WAIT: Duration = Duration::from_millis(500);

/// Longest wait.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// A component that ran this long has earned the first wait again.
const STEADY: Duration = Duration::from_secs(30);

/// How long a component may take to end by itself.
const GRACE: Duration = Duration::from_secs(5);

/// Time between two tries whether it is ready.
const PROBE: Duration = Duration::from_millis(150);

/// A log that is longer is put aside when the component starts.
const LONGEST_LOG: u64 = 32 << 20;

/// A component and what became of it.
#[derive(Debug)]
pub(super) struct Component {
    pub(super) planned: Planned,
    phase: Phase,
    wanted: bool,
    restarts: u32,
    wait: Duration,
}

#[derive(Debug)]
enum Phase {
    /// Not started, and not before that time.
    Waiting(Instant),
    Running(Running),
    /// A task that ended successfully.
    Done,
}

#[derive(Debug)]
struct Running {
    pid: Pid,
    since: Instant,
    ready: bool,
    frozen: bool,
    /// Since when it has been told to end.
    told: Option<Instant>,
    probed: Instant,
    probe: Option<Pid>,
}

impl Component {
    pub(super) fn new(planned: Planned) -> Self {
        let phase = Phase::Waiting(Instant::now());
        Self { planned, phase, wanted: true, restarts: 0, wait: FIRST_WAIT }
    }

    /// Whether those that come after it may start.
    pub(super) fn good(&self) -> bool {
        self.condition().good()
    }

    /// Whether it wants to be started now, if those it needs are ready.
    pub(super) fn due(&self) -> bool {
        matches!(self.phase, Phase::Waiting(until) if self.wanted && Instant::now() >= until)
    }

    pub(super) fn running(&self) -> bool {
        matches!(self.phase, Phase::Running(_))
    }

    fn condition(&self) -> Condition {
        match &self.phase {
            Phase::Waiting(_) if self.wanted => Condition::Waiting,
            Phase::Waiting(_) => Condition::Stopped,
            Phase::Done => Condition::Done,
            Phase::Running(running) if running.told.is_some() => Condition::Stopping,
            Phase::Running(running) if running.frozen => Condition::Frozen,
            Phase::Running(running) if running.ready => Condition::Ready,
            Phase::Running(_) => Condition::Starting,
        }
    }

    pub(super) fn report(&self) -> ComponentReport {
        let pid = match &self.phase {
            Phase::Running(running) => Some(running.pid.as_raw_nonzero().get()),
            _ => None,
        };
        ComponentReport {
            name: self.planned.name.clone(),
            condition: self.condition(),
            pid,
            restarts: self.restarts,
        }
    }

    /// Starts it; whatever it writes goes to its log.
    pub(super) fn start(&mut self, state: &Path) -> anyhow::Result<()> {
        let begin = Instant::now();
        self.phase = Phase::Waiting(begin + self.wait);
        let logs = state.join("logs");
        let log = open_log(&logs, &self.planned.name)?;
        let pid = spawn(&self.planned.command, self.planned.variables.as_deref(), state, log)?;
        self.phase = Phase::Running(Running {
            pid,
            since: begin,
            ready: false,
            frozen: false,
            told: None,
            probed: begin,
            probe: None,
        });
        Ok(())
    }

    /// Takes notice of an ended process. `Some` says what happened if it was this component's.
    pub(super) fn ended(&mut self, pid: Pid, status: WaitStatus) -> Option<String> {
        let Phase::Running(running) = &mut self.phase else { return None };
        let success = status.exit_status() == Some(0);
        if running.probe == Some(pid) {
            running.probe = None;
            running.ready = success;
            return success.then(|| "is ready".to_owned());
        }
        if running.pid != pid {
            return None;
        }
        let how = describe(status);
        let (told, steady) = (running.told.is_some(), running.since.elapsed() >= STEADY);
        if success && self.planned.ready == Ready::Done {
            self.phase = Phase::Done;
            return Some("is done".to_owned());
        }
        if told || !self.wanted {
            self.phase = Phase::Waiting(Instant::now());
            return Some(format!("was stopped ({how})"));
        }
        if steady {
            self.wait = FIRST_WAIT;
        }
        self.restarts += 1;
        let wait = self.wait;
        self.phase = Phase::Waiting(Instant::now() + wait);
        self.wait = (wait * 2).min(LONGEST_WAIT);
        Some(format!("ended by itself ({how}), next try in {:.1} s", wait.as_secs_f64()))
    }

    /// Tries whether it is ready, and ends it for good if it does not end by itself.
    pub(super) fn attend(&mut self, state: &Path) -> Option<&'static str> {
        let Phase::Running(running) = &mut self.phase else { return None };
        if let Some(told) = running.told {
            if told.elapsed() > GRACE {
                signal(running.pid, Signal::KILL);
            }
            return None;
        }
        if running.ready || running.frozen || running.probed.elapsed() < PROBE {
            return None;
        }
        running.probed = Instant::now();
        running.ready = match &self.planned.ready {
            Ready::Done => false,
            Ready::Tcp(address) => TcpStream::connect_timeout(address, PROBE).is_ok(),
            Ready::Unix(path) => UnixStream::connect(path).is_ok(),
            Ready::Command(command) => {
                if running.probe.is_none() {
                    let log = open_log(&state.join("logs"), "probes").ok()?;
                    running.probe = spawn(command, None, state, log).ok();
                }
                false
            }
        };
        running.ready.then_some("is ready")
    }

    /// Does what was asked; it may take effect later.
    pub(super) fn change(&mut self, change: Change) -> anyhow::Result<()> {
        let name = &self.planned.name;
        match (change, &mut self.phase) {
            (Change::Stop, phase) => {
                self.wanted = false;
                if let Phase::Running(running) = phase {
                    running.told.get_or_insert_with(Instant::now);
                    // A frozen process takes notice of nothing else.
                    let frozen = running.frozen;
                    signal(running.pid, if frozen { Signal::KILL } else { Signal::TERM });
                }
            }
            (Change::Start, phase) => {
                self.wanted = true;
                self.wait = FIRST_WAIT;
                if let Phase::Waiting(until) = phase {
                    *until = Instant::now();
                }
            }
            (Change::Freeze, Phase::Running(running)) => {
                running.frozen = true;
                signal(running.pid, Signal::STOP);
            }
            (Change::Thaw, Phase::Running(running)) => {
                running.frozen = false;
                signal(running.pid, Signal::CONT);
            }
            (Change::Kill, Phase::Running(running)) => {
                // It did nothing wrong, and need not wait long for its next try.
                self.wait = FIRST_WAIT;
                signal(running.pid, Signal::KILL);
            }
            (Change::Freeze | Change::Thaw | Change::Kill, _) => {
                bail!("component \"{name}\" does not run: start it first")
            }
        }
        Ok(())
    }
}

/// Signals a child that has not been reaped.
fn signal(pid: Pid, signal: Signal) {
    // It may be a zombie by now, which is as good.
    let _zombie = kill_process(pid, signal);
}

fn spawn(
    command: &[String],
    variables: Option<&Path>,
    state: &Path,
    log: File,
) -> anyhow::Result<Pid> {
    let (program, arguments) = command.split_first().context("an empty command")?;
    let variables = match variables {
        Some(path) => fs::read_to_string(path)
            .with_context(|| format!("cannot read its variables in {}", path.display()))?,
        None => String::new(),
    };
    let child = Command::new(program)
        .args(arguments)
        .env_clear()
        .env("PATH", format!("{}:{SYSTEM_PATH}", state.join("bin").display()))
        .env("HOME", state.join("run"))
        .env("TMPDIR", state.join("tmp"))
        // All of it is written in Go. Memory is what such a machine has, and processors what it lacks; yet ten thousand
        // jobs would let an API server grow to 20 GiB, most of it garbage.
        .env("GOGC", "400")
        .env("GOMEMLIMIT", "10GiB")
        .envs(variables.lines().filter_map(|line| line.split_once('=')))
        .current_dir(state)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .with_context(|| format!("cannot run {program}"))?;
    // The child is reaped with all others by `wait`, never through the handle dropped here.
    let pid = i32::try_from(child.id())?;
    Pid::from_raw(pid).context("a child without a pid")
}

fn open_log(directory: &Path, name: &str) -> anyhow::Result<File> {
    fs::create_dir_all(directory)?;
    let path = directory.join(format!("{name}.log"));
    if fs::metadata(&path).is_ok_and(|log| log.len() > LONGEST_LOG) {
        fs::rename(&path, directory.join(format!("{name}.log.old")))?;
    }
    Ok(File::options().create(true).append(true).open(path)?)
}

fn describe(status: WaitStatus) -> String {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (_, Some(signal)) => format!("signal {signal}"),
        _ => "unknown status".to_owned(),
    }
}
