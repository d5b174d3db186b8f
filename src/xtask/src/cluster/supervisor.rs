//! The first process inside a cluster's namespaces: starts the components in order, starts them again
//! when they end, and answers commands. Invariant: one thread does everything, and a component that
//! was stopped on purpose is never started by itself.

mod component;
pub(super) mod namespace;

use std::{
    fs, io,
    os::unix::net::{UnixListener, UnixStream},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, bail};
use rustix::process::{WaitOptions, wait};

use self::component::Component;
use super::{
    control::{self, Answer, Change, Report, Request},
    plan::Plan,
};

/// How often it looks after things.
const TICK: Duration = Duration::from_millis(40);

/// How long the command that started it may take to plug the cable in; a killed one never does.
const CABLE: Duration = Duration::from_secs(30);

/// How long the components may take to end when all end.
const FAREWELL: Duration = Duration::from_secs(6);

struct Supervisor {
    plan: Plan,
    components: Vec<Component>,
    connected: bool,
}

/// Supervises the cluster in this state directory until SIGTERM.
pub(super) fn run(state: &Path) -> anyhow::Result<()> {
    if std::process::id() != 1 {
        bail!("this command is only for the inside of a cluster: use `cargo xtask cluster up`");
    }
    let end = Arc::new(AtomicBool::new(false));
    for number in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT] {
        signal_hook::flag::register(number, Arc::clone(&end))?;
    }
    let plan: Plan = serde_json::from_slice(&fs::read(state.join("plan.json"))?)?;
    namespace::mounts(&plan)?;
    let socket = state.join("control.sock");
    if socket.exists() {
        fs::remove_file(&socket)?;
    }
    let listener = UnixListener::bind(&socket).context("cannot make the control socket")?;
    listener.set_nonblocking(true)?;
    say("started");

    let components = plan.components.iter().cloned().map(Component::new).collect();
    let mut supervisor = Supervisor { plan, components, connected: false };
    let begin = Instant::now();
    while !end.load(Ordering::Relaxed) {
        supervisor.answer_all(&listener);
        supervisor.reap();
        if supervisor.connected {
            supervisor.attend();
        } else if namespace::connected() {
            namespace::network(&supervisor.plan)?;
            supervisor.connected = true;
            say("connected");
        } else if begin.elapsed() > CABLE {
            bail!("nobody plugged the cable in: the command that started this has ended");
        }
        thread::sleep(TICK);
    }
    supervisor.farewell();
    Ok(())
}

impl Supervisor {
    /// Reaps everything: components, probes, and the processes that lost their parents in here.
    fn reap(&mut self) {
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            for component in &mut self.components {
                if let Some(what) = component.ended(pid, status) {
                    say(&format!("{} {what}", component.planned.name));
                }
            }
        }
    }

    fn attend(&mut self) {
        for index in 0..self.components.len() {
            let component = &self.components[index];
            let startable = component.due() && self.needs_are_met(index);
            let component = &mut self.components[index];
            let name = component.planned.name.clone();
            if startable {
                match component.start(&self.plan.state) {
                    Ok(()) => say(&format!("{name} starts")),
                    Err(error) => say(&format!("{name} cannot be started: {error:#}")),
                }
            } else if let Some(what) = component.attend(&self.plan.state) {
                say(&format!("{name} {what}"));
            }
        }
    }

    fn needs_are_met(&self, index: usize) -> bool {
        self.components[index].planned.after.iter().all(|needed| {
            self.components.iter().any(|other| other.planned.name == *needed && other.good())
        })
    }

    fn answer_all(&mut self, listener: &UnixListener) {
        loop {
            match listener.accept() {
                Ok((stream, _)) => {
                    if let Err(error) = self.answer(&stream) {
                        say(&format!("a request failed: {error:#}"));
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => return say(&format!("cannot accept requests: {error}")),
            }
        }
    }

    fn answer(&mut self, stream: &UnixStream) -> anyhow::Result<()> {
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(control::PATIENCE))?;
        stream.set_write_timeout(Some(control::PATIENCE))?;
        let answer: Answer = match control::receive(stream)? {
            Request::Status => Ok(self.report()),
            Request::Change(change, name) => match self.change(change, &name) {
                Ok(()) => Ok(self.report()),
                Err(error) => Err(format!("{error:#}")),
            },
        };
        control::send(stream, &answer)
    }

    fn change(&mut self, change: Change, name: &str) -> anyhow::Result<()> {
        let names: Vec<_> =
            self.plan.components.iter().map(|planned| planned.name.as_str()).collect();
        let known = names.join(", ");
        let component = self
            .components
            .iter_mut()
            .find(|component| component.planned.name == name)
            .with_context(|| format!("there is no component \"{name}\": use one of {known}"))?;
        say(&format!("{name}: {change:?} was asked for"));
        component.change(change)
    }

    fn report(&self) -> Report {
        Report {
            connected: self.connected,
            components: self.components.iter().map(Component::report).collect(),
        }
    }

    /// Ends all components, the last first; what remains ends with this process.
    fn farewell(&mut self) {
        say("told to end");
        for component in self.components.iter_mut().rev() {
            // Stopping fails for no component.
            let _stopped = component.change(Change::Stop);
        }
        let begin = Instant::now();
        while self.components.iter().any(Component::running) && begin.elapsed() < FAREWELL {
            self.reap();
            self.attend();
            thread::sleep(TICK);
        }
        say("ended");
    }
}

/// One line in the supervisor's log, with the time of day in UTC as in the components' logs.
fn say(text: &str) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = now.as_secs() % 86_400;
    eprintln!(
        "{:02}:{:02}:{:02}.{:03} {text}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60,
        now.subsec_millis()
    );
}
