//! A starter under test: its directories, its record and, as PID 1, its pid namespace.

use std::{
    fs,
    io::Read,
    os::unix::{fs::PermissionsExt, process::ExitStatusExt},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, ExitStatus, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

use duj_protocol::{Outcome, Record};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// A fresh directory that stands for the scratch volume, and the command line for a starter in it.
pub(crate) struct Job {
    /// Stands for the volume: `work` below it is the scratch directory.
    pub(crate) volume: PathBuf,
    flags: Vec<String>,
    environment: Vec<(String, String)>,
}

/// Where a starter runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Among the machine's processes.
    Plain,
    /// As PID 1 of a pid namespace, which ends with it.
    Init,
}

/// A starter that is running. It is killed with its job when a test lets go of it before its end.
pub(crate) struct Running {
    child: Child,
    place: Place,
    record: PathBuf,
    /// Absent where the test reads it itself.
    stdout: Option<Receiver<String>>,
    stderr: Receiver<String>,
}

/// Longer than anything takes here that does not hang.
const PATIENCE: Duration = Duration::from_mins(1);

/// What is left of a starter.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) record: Record,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Both places, or one where the test may not make namespaces.
pub(crate) fn places() -> Vec<Place> {
    let unshare = ["--pid", "--fork", "--mount-proc", "true"];
    let allowed =
        Command::new("unshare").args(unshare).status().is_ok_and(|status| status.success());
    if allowed { vec![Place::Plain, Place::Init] } else { vec![Place::Plain] }
}

/// Whether the tests that need PID 1 can run; says so when they cannot.
pub(crate) fn can_be_init() -> bool {
    let can = places().contains(&Place::Init);
    if !can {
        eprintln!("not tried: a starter as PID 1 needs root and unshare");
    }
    can
}

/// Tries something in all places at once: most of it is waiting.
pub(crate) fn everywhere(attempt: impl Fn(Place) + Sync) {
    let attempt = &attempt;
    thread::scope(|scope| {
        for place in places() {
            scope.spawn(move || attempt(place));
        }
    });
}

impl Job {
    /// A job whose directory has this name, which no other test uses.
    pub(crate) fn new(name: &str) -> Self {
        let base =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-{name}", std::process::id()));
        let volume = base.join("volume");
        let _ = fs::remove_dir_all(&base);
        fs::create_dir_all(&volume).unwrap();
        Self { volume, flags: Vec::new(), environment: Vec::new() }
    }

    /// With a flag of `run`.
    pub(crate) fn flag(mut self, name: &str, value: &str) -> Self {
        self.flags.extend([name.to_owned(), value.to_owned()]);
        self
    }

    /// With a variable in the starter's environment.
    pub(crate) fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The scratch directory.
    pub(crate) fn scratch(&self) -> PathBuf {
        self.volume.join("work")
    }

    /// Stands for the termination message.
    pub(crate) fn record(&self) -> PathBuf {
        self.volume.with_file_name("record")
    }

    /// An executable (or not) file beside the scratch volume.
    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>, mode: u32) -> String {
        let path = self.volume.with_file_name(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// A directory beside the scratch volume.
    pub(crate) fn directory(&self, name: &str) -> String {
        let path = self.volume.with_file_name(name);
        fs::create_dir_all(&path).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// With a flag of `run` that has no value.
    pub(crate) fn switch(mut self, name: &str) -> Self {
        self.flags.push(name.to_owned());
        self
    }

    /// Starts the starter with a command.
    pub(crate) fn start(&self, place: Place, command: &[&str]) -> Running {
        let (mut running, stdout) = self.start_unread(place, command);
        running.stdout = Some(collect(stdout));
        running
    }

    /// The same with a standard output that the caller reads, or does not.
    pub(crate) fn start_unread(&self, place: Place, command: &[&str]) -> (Running, ChildStdout) {
        let starter = env!("CARGO_BIN_EXE_starter");
        let mut process = match place {
            Place::Plain => Command::new(starter),
            Place::Init => {
                let mut process = Command::new("unshare");
                process.args(["--pid", "--fork", "--kill-child", "--mount-proc", "--", starter]);
                process
            }
        };
        process.arg("run").arg("--scratch").arg(self.scratch()).arg("--record").arg(self.record());
        process.args(&self.flags).arg("--").args(command);
        process.envs(self.environment.iter().map(|(name, value)| (name, value)));
        let streams = process.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = streams.spawn().unwrap();
        let stdout = child.stdout.take().unwrap();
        let stderr = collect(child.stderr.take().unwrap());
        (Running { child, place, record: self.record(), stdout: None, stderr }, stdout)
    }

    /// Starts the starter and waits for its end.
    pub(crate) fn run(&self, place: Place, command: &[&str]) -> Ended {
        self.start(place, command).end()
    }

    /// The same with a command for the shell.
    pub(crate) fn shell(&self, place: Place, script: &str) -> Ended {
        self.run(place, &["sh", "-c", script])
    }

    /// Waits until the job has made a file in its scratch directory.
    pub(crate) fn wait_for(&self, name: &str) {
        until(&format!("file '{name}' of the job"), || self.scratch().join(name).exists());
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        if !thread::panicking()
            && let Some(base) = self.volume.parent()
        {
            let _ = fs::remove_dir_all(base);
        }
    }
}

impl Running {
    /// The starter's pid as the machine sees it.
    pub(crate) fn pid(&self) -> Pid {
        let own = self.child.id();
        match self.place {
            Place::Plain => Pid::from_raw(i32::try_from(own).unwrap()),
            Place::Init => {
                let children = format!("/proc/{own}/task/{own}/children");
                let mut found = None;
                until("the child of unshare", || {
                    found = fs::read_to_string(&children)
                        .ok()
                        .and_then(|text| text.trim().parse().ok());
                    found.is_some()
                });
                Pid::from_raw(found.unwrap())
            }
        }
    }

    /// Sends a signal from outside of the starter's pid namespace.
    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    /// The record as it is now.
    pub(crate) fn record_now(&self) -> Option<Record> {
        Record::from_message(&fs::read_to_string(&self.record).ok()?)
    }

    /// Waits for the end.
    pub(crate) fn end(mut self) -> Ended {
        let mut status = None;
        until("the starter's end", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        let stdout = self.stdout.take().map(|stdout| stdout.recv_timeout(PATIENCE).unwrap());
        let stdout = stdout.unwrap_or_default();
        let stderr = self.stderr.recv_timeout(PATIENCE).unwrap();
        let text = fs::read_to_string(&self.record).unwrap_or_default();
        assert!(text.len() <= Record::MAX_BYTES, "{} bytes", text.len());
        let record = Record::from_message(&text)
            .unwrap_or_else(|| panic!("no record in '{text}', stderr: {stderr}"));
        Ended { status: status.unwrap(), record, stdout, stderr }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(None)) {
            return; // it is reaped, and its number may be somebody else's
        }
        // A plain starter's jobs lead a group each; a namespace ends with `unshare`.
        let own = self.child.id();
        let jobs = fs::read_to_string(format!("/proc/{own}/task/{own}/children"));
        if self.place == Place::Plain {
            for job in jobs.unwrap_or_default().split_whitespace() {
                let _ = kill(Pid::from_raw(-job.parse::<i32>().unwrap()), Signal::SIGKILL);
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ended {
    /// The starter's exit code; `unshare` dies of the signal that a code above 128 stands for only when its
    /// child died of one, which PID 1 does not.
    pub(crate) fn code(&self) -> i32 {
        self.status.code().unwrap_or_else(|| panic!("starter died of {:?}", self.status.signal()))
    }

    /// How the command ended.
    pub(crate) fn outcome(&self) -> &Outcome {
        self.record.outcome.as_ref().unwrap_or_else(|| panic!("no outcome: {self:?}"))
    }
}

/// Reads a stream to its end, which comes when nobody holds its other side.
fn collect(mut stream: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let mut text = Vec::new();
        let _ = stream.read_to_end(&mut text);
        let _ = sender.send(String::from_utf8_lossy(&text).into_owned());
    });
    receiver
}

/// Waits for something that is bound to happen.
pub(crate) fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "{what} did not come");
        thread::sleep(Duration::from_millis(10));
    }
}
