//! `HTCondor`'s own programs as judges of ours, through its Python bindings (`PyPI`: `htcondor`).
//!
//! For tests only; nothing that is shipped needs them. The first use on a machine installs the
//! pinned bindings (`requirements.txt`, some 30 MB) into the project's cache, outside the checkout;
//! it needs `python3` with `venv` and a package index. Invariant: an installation that exists is
//! complete, for it is made under another name and then renamed.

#![allow(dead_code, reason = "each test program uses its part of this module")]

use std::{
    collections::BTreeMap,
    env,
    fs::{self, File},
    hash::{DefaultHasher, Hash, Hasher},
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
};

use serde::Deserialize;

const REQUIREMENTS: &str = include_str!("requirements.txt");
/// The last series whose bindings make jobs of a submit file.
const REQUIREMENTS_SUBMIT: &str = include_str!("requirements-submit.txt");
const READ_USERLOG: &str = include_str!("read_userlog.py");

/// One event of a user log, as `HTCondor` sees it.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct OracleEvent {
    /// Its name without `ULOG_`, e.g. `JOB_HELD`.
    #[serde(rename = "type")]
    pub(crate) kind: String,
    /// Its number.
    pub(crate) number: u16,
    /// `ClusterId`.
    pub(crate) cluster: u32,
    /// `ProcId`.
    pub(crate) proc: i32,
    /// When, in seconds since 1970, UTC.
    pub(crate) epoch: i64,
    /// The event as `HTCondor` writes it: in local time, without `Z` and without the `...` line.
    pub(crate) text: String,
    /// What `HTCondor` understood; values that JSON does not know are `ClassAd` text.
    pub(crate) attributes: BTreeMap<String, serde_json::Value>,
}

/// The events that `HTCondor`'s own reader finds in `log` where the time zone is `tz`.
///
/// A reader that fails fails the test, with its words. One that stops early says nothing: compare
/// the count.
pub(crate) fn read_with_htcondor(log: &str, tz: &str) -> Vec<OracleEvent> {
    let output = run(READ_USERLOG, "-", log, tz);
    let parse = |line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e} in {line}"));
    output.lines().map(parse).collect()
}

/// Runs a program with the bindings and gives its output; its failure is the test's.
pub(crate) fn run(program: &str, argument: &str, input: &str, tz: &str) -> String {
    run_in(&python(REQUIREMENTS), program, argument, input, tz)
}

/// The same with the bindings that make jobs of a submit file.
pub(crate) fn run_submit(program: &str, input: &str) -> String {
    run_in(&python(REQUIREMENTS_SUBMIT), program, "-", input, "UTC")
}

fn run_in(python: &Path, program: &str, argument: &str, input: &str, tz: &str) -> String {
    let mut child = Command::new(python)
        .args(["-c", program, argument])
        .env("TZ", tz)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("python of the test environment starts");
    // From a thread of its own: a full pipe on one side must not stop the other.
    let mut stdin = child.stdin.take().expect("stdin is a pipe");
    let output = thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(input.as_bytes()));
        child.wait_with_output().expect("python of the test environment ends")
    });
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "the oracle ended with {}: {said}", output.status);
    String::from_utf8(output.stdout).expect("the oracle writes UTF-8")
}

/// A Python that has these bindings, which are installed if need be.
fn python(requirements: &str) -> PathBuf {
    let parent = cache().join("python");
    let version = Command::new("python3").arg("--version").output();
    let version = version.expect("the oracle needs python3: install it (Debian: python3-venv)");
    let mut hasher = DefaultHasher::new();
    (requirements, version.stdout).hash(&mut hasher);
    let home = parent.join(format!("{:016x}", hasher.finish()));

    fs::create_dir_all(&parent).unwrap_or_else(|e| panic!("cannot make {}: {e}", parent.display()));
    // Tests run at the same time, in this program and in others.
    let lock = File::create(parent.join("lock")).expect("the cache can be written");
    lock.lock().expect("the cache can be locked");
    if !home.exists() {
        install(&parent, &home, requirements);
    }
    home.join("bin/python")
}

fn install(parent: &Path, home: &Path, needed: &str) {
    eprintln!("installing HTCondor's Python bindings into {} (only once)", home.display());
    let unfinished = parent.join("unfinished");
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished).expect("what an aborted installation left can be removed");
    }
    step(Command::new("python3").args(["-m", "venv"]).arg(&unfinished));
    let requirements = unfinished.join("requirements.txt");
    fs::write(&requirements, needed).expect("the cache can be written");
    // Compiled files and scripts would hold the unfinished name.
    step(
        Command::new(unfinished.join("bin/python"))
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
            .args(["--no-compile", "--requirement"])
            .arg(&requirements),
    );
    fs::rename(&unfinished, home).expect("the finished installation can be renamed");
}

fn step(command: &mut Command) {
    let output = command.output().unwrap_or_else(|e| panic!("cannot run {command:?}: {e}"));
    let said = String::from_utf8_lossy(&output.stderr);
    let words = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{command:?} ended with {}: {said}{words}", output.status);
}

/// The folder that outlives checkouts; the same as that of `cargo xtask`.
fn cache() -> PathBuf {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("DOCKER_UNIVERSE_CACHE")
        .or_else(|| set("XDG_CACHE_HOME").map(|base| base.join("docker-universe")))
        .or_else(|| set("HOME").map(|home| home.join(".cache/docker-universe")))
        .expect("set DOCKER_UNIVERSE_CACHE or HOME: the oracle is installed there")
}
