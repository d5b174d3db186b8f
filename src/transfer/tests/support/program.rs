//! The program as a process, its plan in variables and its reports read; and the starter as a test plays it.

#![allow(dead_code, reason = "not every test program uses all of it")]

use std::{
    fs::{self, File},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use duj_protocol::{
    Outcome, Record,
    transfer::{
        Input, Place, PreparePlan, Report, SendPlan, Source, State, handshake, to_variables,
    },
};
use rustix::{
    fs::{FlockOperation, flock},
    process::{Pid, Signal, kill_process},
};
use serde::Serialize;

/// No wait of a test lasts longer.
const PATIENCE: Duration = Duration::from_secs(90);

/// The directories of a pod.
pub(crate) struct Pod {
    directory: tempfile::TempDir,
    /// Of the program, beside its plan.
    pub(crate) environment: Vec<(&'static str, String)>,
}

/// What the program told.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) code: i32,
    pub(crate) reports: Vec<Report>,
    pub(crate) last: Report,
}

impl Told {
    pub(crate) fn states(&self) -> Vec<State> {
        self.reports.iter().map(|report| report.state).collect()
    }

    /// Hold code, subcode and words.
    pub(crate) fn failure(&self) -> (i32, i32, &str) {
        let failure = self.last.failure.as_ref().unwrap_or_else(|| panic!("no failure: {self:?}"));
        (failure.code, failure.subcode, &failure.message)
    }
}

impl Pod {
    pub(crate) fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap(), environment: Vec::new() }
    }

    pub(crate) fn at(&self, path: &str) -> PathBuf {
        self.directory.path().join(path)
    }

    pub(crate) fn text(&self, path: &str) -> String {
        self.at(path).to_str().unwrap().to_owned()
    }

    /// Writes a file and makes the directories above it.
    pub(crate) fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.at(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    pub(crate) fn read(&self, path: &str) -> String {
        String::from_utf8(fs::read(self.at(path)).unwrap()).unwrap()
    }

    pub(crate) fn mode(&self, path: &str) -> u32 {
        fs::metadata(self.at(path)).unwrap().permissions().mode() & 0o7777
    }

    /// All files below a directory, in order.
    pub(crate) fn files(&self, path: &str) -> Vec<String> {
        let mut files = Vec::new();
        below(&self.at(path), "", &mut files);
        files.sort();
        files
    }

    pub(crate) fn volume(&self, path: &str) -> Place {
        let what = "the volume 'v'".into();
        Place::Volume { root: self.text("volume"), path: path.into(), what }
    }

    pub(crate) fn prepare_plan(&self, inputs: Vec<Input>) -> PreparePlan {
        PreparePlan {
            scratch: self.text("scratch"),
            handshake: self.text("handshake"),
            inputs,
            ..PreparePlan::default()
        }
    }

    pub(crate) fn prepare(&self, plan: &PreparePlan) -> Told {
        told(self, &self.start("prepare", plan).wait_with_output().unwrap())
    }

    /// For files that go to the volume's directory `out`.
    pub(crate) fn send_plan(&self) -> SendPlan {
        for directory in ["scratch", "handshake", "control", "volume"] {
            fs::create_dir_all(self.at(directory)).unwrap();
        }
        SendPlan {
            scratch: self.text("scratch"),
            handshake: self.text("handshake"),
            control: self.text("control"),
            destination: Some(self.volume("out")),
            ..SendPlan::default()
        }
    }

    /// A job that has ended with this record, or without any.
    pub(crate) fn send(&self, plan: &SendPlan, record: Option<&Record>) -> Told {
        let job = Job::start(self);
        let child = self.start("send", plan);
        job.end(record);
        told(self, &child.wait_with_output().unwrap())
    }

    pub(crate) fn start(&self, command: &str, plan: &impl Serialize) -> Child {
        drop(fs::remove_file(self.at("record")));
        Command::new(env!("CARGO_BIN_EXE_transfer"))
            .args([command, "--record", &self.text("record")])
            .env_clear()
            .envs(to_variables(plan))
            .envs(self.environment.clone())
            .stdin(Stdio::null())
            .stdout(File::create(self.at("stdout")).unwrap())
            .spawn()
            .unwrap()
    }

    /// The reports so far.
    pub(crate) fn reports(&self) -> Vec<Report> {
        let text = fs::read_to_string(self.at("stdout")).unwrap();
        text.lines().filter_map(Report::from_message).collect()
    }

    /// Waits until a report has this state.
    pub(crate) fn wait_for(&self, state: State) {
        wait(&format!("{state:?}"), || self.reports().iter().any(|report| report.state == state));
    }
}

pub(crate) fn told(pod: &Pod, output: &Output) -> Told {
    let last = Report::from_message(&fs::read_to_string(pod.at("record")).unwrap()).unwrap();
    let reports = pod.reports();
    assert_eq!(reports.last(), Some(&last), "the last report is the termination message");
    Told { code: output.status.code().unwrap(), reports, last }
}

pub(crate) fn wait(what: &str, done: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < end, "waited too long for {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

pub(crate) fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

fn below(directory: &Path, prefix: &str, files: &mut Vec<String>) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries {
        let entry = entry.unwrap();
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.file_type().unwrap().is_dir() {
            below(&entry.path(), &format!("{name}/"), files);
        } else {
            files.push(name);
        }
    }
}

/// The starter's side of the handshake.
pub(crate) struct Job {
    handshake: PathBuf,
    lock: File,
}

impl Job {
    /// Holds the lock, then says that it does.
    pub(crate) fn start(pod: &Pod) -> Self {
        let handshake = pod.at("handshake");
        fs::create_dir_all(&handshake).unwrap();
        let lock = File::create(handshake.join(handshake::LOCK)).unwrap();
        flock(&lock, FlockOperation::LockExclusive).unwrap();
        fs::write(handshake.join(handshake::STARTED), "").unwrap();
        Self { handshake, lock }
    }

    pub(crate) fn end(self, record: Option<&Record>) {
        if let Some(record) = record {
            let text = serde_json::to_string(record).unwrap();
            fs::write(self.handshake.join(handshake::OUTCOME), text).unwrap();
        }
        drop(self.lock);
    }

    /// Asks for a checkpoint and waits for the answer.
    pub(crate) fn checkpoint(&self, number: u64) -> Result<(), String> {
        let wanted = self.handshake.join(handshake::CHECKPOINT_WANTED);
        let unfinished = self.handshake.join("unfinished");
        fs::write(&unfinished, number.to_string()).unwrap();
        fs::rename(&unfinished, wanted).unwrap();
        let read = |name: &str| fs::read_to_string(self.handshake.join(name)).unwrap_or_default();
        let saved = || read(handshake::CHECKPOINT_SAVED) == number.to_string();
        let failed = || {
            let text = read(handshake::CHECKPOINT_FAILED);
            text.strip_prefix(&format!("{number} ")).map(ToOwned::to_owned)
        };
        wait("a checkpoint", || saved() || failed().is_some());
        failed().map_or(Ok(()), Err)
    }
}

pub(crate) fn ended(outcome: Outcome) -> Record {
    Record { version: Record::VERSION, ended: Some(1), outcome: Some(outcome), ..Record::default() }
}

pub(crate) fn exited(code: i32) -> Record {
    ended(Outcome::Exited(code))
}

pub(crate) fn from_place(place: Place) -> Input {
    Input { name: None, source: Source::Place(place) }
}

pub(crate) fn from_url(url: &str) -> Input {
    from_place(Place::Url { url: url.into(), headers: None, s3: None })
}

pub(crate) fn from_text(name: &str, text: &str) -> Input {
    Input { name: Some(name.into()), source: Source::Text(text.into()) }
}
