//! The operator as a child process that is killed again and again. Invariant: it is started again at once, and an end that
//! was not ours is remembered as a failure.

use anyhow::Context as _;
use std::{
    collections::BTreeMap,
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

/// How often it is looked after.
const TICK: Duration = Duration::from_millis(10);

/// What is needed to start the operator.
#[derive(Clone, Debug)]
pub(super) struct Recipe {
    /// Its program.
    pub(super) program: PathBuf,
    /// Its arguments.
    pub(super) arguments: Vec<String>,
    /// The kubeconfig that leads to the proxy.
    pub(super) kubeconfig: PathBuf,
    /// The namespace of its own objects.
    pub(super) namespace: String,
    /// Where its log goes.
    pub(super) log: PathBuf,
}

#[derive(Default)]
struct State {
    running: Option<Running>,
    kills: BTreeMap<&'static str, u64>,
    own_ends: Vec<String>,
}

struct Running {
    child: Child,
    killed: bool,
}

/// Kills the operator, from anywhere.
#[derive(Clone, Default)]
pub(super) struct Killer(Arc<Mutex<State>>);

impl Killer {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Kills it, for this reason; it is being started again if it does not run.
    pub(super) fn kill(&self, reason: &'static str) {
        let mut state = self.state();
        let Some(running) = state.running.as_mut().filter(|running| !running.killed) else {
            return;
        };
        // It may have ended by itself in this moment, which is found out when it is reaped.
        running.killed = running.child.kill().is_ok();
        *state.kills.entry(reason).or_default() += 1;
    }

    /// How often it was killed, by reason.
    pub(super) fn kills(&self) -> BTreeMap<&'static str, u64> {
        self.state().kills.clone()
    }

    /// How it ended without being killed, each time.
    pub(super) fn own_ends(&self) -> Vec<String> {
        self.state().own_ends.clone()
    }

    /// Takes notice of an end; whether there was one.
    fn reap(&self) -> anyhow::Result<bool> {
        let mut state = self.state();
        let Some(running) = state.running.as_mut() else { return Ok(true) };
        let Some(status) = running.child.try_wait().context("cannot wait for the operator")? else {
            return Ok(false);
        };
        let by_us = running.killed && was_killed(status);
        state.running = None;
        if !by_us {
            state.own_ends.push(status.to_string());
        }
        Ok(true)
    }
}

fn was_killed(status: ExitStatus) -> bool {
    use std::os::unix::process::ExitStatusExt as _;
    status.signal() == Some(9)
}

/// Keeps the operator running until it is dropped.
pub(super) struct Keeper {
    end: Arc<AtomicBool>,
    killer: Killer,
    thread: Option<thread::JoinHandle<anyhow::Result<()>>>,
}

impl Keeper {
    /// Starts it.
    pub(super) fn start(recipe: Recipe, killer: Killer) -> Self {
        let end = Arc::new(AtomicBool::new(false));
        let (ends, kept) = (end.clone(), killer.clone());
        let thread = thread::spawn(move || keep(&recipe, &kept, &ends));
        Self { end, killer, thread: Some(thread) }
    }

    /// Ends it; an error if it could not be kept.
    pub(super) fn end(mut self) -> anyhow::Result<()> {
        self.finish()
    }

    fn finish(&mut self) -> anyhow::Result<()> {
        self.end.store(true, Ordering::Relaxed);
        let Some(thread) = self.thread.take() else { return Ok(()) };
        let kept = thread.join();
        if let Some(running) = self.killer.state().running.as_mut() {
            // Either it runs and is ours to end, or it has ended.
            let _ = running.child.kill();
            let _ = running.child.wait();
        }
        kept.map_err(|_| anyhow::anyhow!("the operator's keeper panicked"))?
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        let _ = self.finish();
    }
}

fn keep(recipe: &Recipe, killer: &Killer, end: &AtomicBool) -> anyhow::Result<()> {
    while !end.load(Ordering::Relaxed) {
        if killer.reap()? {
            let child = spawn(recipe)?;
            killer.state().running = Some(Running { child, killed: false });
        }
        thread::sleep(TICK);
    }
    Ok(())
}

fn spawn(recipe: &Recipe) -> anyhow::Result<Child> {
    let log = open(&recipe.log)?;
    // It must not outlive this program, however that ends.
    Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "--"])
        .arg(&recipe.program)
        .args(&recipe.arguments)
        .env("KUBECONFIG", &recipe.kubeconfig)
        .env("POD_NAMESPACE", &recipe.namespace)
        .env("POD_NAME", "docker-universe-chaos")
        .env("RUST_LOG", "info")
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .context("cannot start the operator (by setpriv, of util-linux)")
}

fn open(path: &Path) -> anyhow::Result<File> {
    let file = File::options().create(true).append(true).open(path);
    file.with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    fn sleeper(name: &str, script: &str) -> (Keeper, Killer) {
        let log = std::env::temp_dir().join(format!("chaos-{}-{name}.log", std::process::id()));
        let killer = Killer::default();
        let recipe = Recipe {
            program: "sh".into(),
            arguments: vec!["-c".into(), script.into()],
            kubeconfig: PathBuf::new(),
            namespace: String::new(),
            log,
        };
        (Keeper::start(recipe, killer.clone()), killer)
    }

    fn until(what: impl Fn() -> bool) {
        let begin = Instant::now();
        while !what() {
            assert!(begin.elapsed() < Duration::from_mins(1), "not so after a minute");
            thread::sleep(TICK);
        }
    }

    #[test]
    fn what_is_killed_is_started_again_and_its_end_is_ours() {
        let (keeper, killer) = sleeper("killed", "exec sleep 1000");
        until(|| {
            killer.kill("test");
            killer.kills().get("test") == Some(&3)
        });
        keeper.end().unwrap();
        assert_eq!(killer.own_ends(), Vec::<String>::new());
    }

    #[test]
    fn an_end_of_its_own_is_remembered() {
        let (keeper, killer) = sleeper("own", "exit 3");
        until(|| killer.own_ends().len() > 1);
        keeper.end().unwrap();
        assert_eq!(killer.own_ends()[0], "exit status: 3");
        assert!(killer.kills().is_empty());
    }
}
