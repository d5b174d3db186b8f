//! The programs that cargo makes of tests, side by side: some wait for other processes while others compute.
//!
//! Invariant: what `cargo test --workspace` would run is run, each program in its package's directory; the words of one that
//! failed are shown whole, and not among those of others.

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;
use std::{
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::{Mutex, PoisonError},
    thread,
    time::Instant,
};

/// Programs at the same time.
const AT_ONCE: usize = 3;
/// Programs most of whose time is waiting: for signals' grace, for silent servers.
const WAITING: [&str; 2] = ["transfer", "starter"];
/// Tests of one program at the same time: many wait for processes, few for the processor.
const THREADS: &str = "--test-threads=8";

/// A program with tests.
struct Program {
    path: PathBuf,
    /// What it is called in its package.
    target: String,
    /// The directory of its package.
    directory: PathBuf,
}

/// Builds the tests of all packages and runs them. Of some it is told in the file `tried` what they tried.
pub(super) fn run(tried: &Path) -> anyhow::Result<()> {
    let mut programs = build()?;
    ensure!(!programs.is_empty(), "cargo has built no tests");
    // Begun first, they wait while the others compute.
    programs.sort_by_key(|program| !WAITING.contains(&program.target.as_str()));
    let (queue, failed) = (Mutex::new(programs.iter()), Mutex::new(Vec::new()));
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
    let fail = |name: String| failed.lock().unwrap_or_else(PoisonError::into_inner).push(name);
    thread::scope(|scope| {
        scope.spawn(|| {
            if let Err(error) = super::cargo(&["test", "--quiet", "--workspace", "--doc"]) {
                fail(format!("examples of the documentation: {error:#}"));
            }
        });
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(program) = next() {
                    if let Err(error) = program.run(tried) {
                        fail(format!("{error:#}"));
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    ensure!(failed.is_empty(), "{}", failed.join("; "));
    Ok(())
}

impl Program {
    fn run(&self, tried: &Path) -> anyhow::Result<()> {
        let begun = Instant::now();
        let Output { status, stdout, stderr } = Command::new(&self.path)
            .args(["--quiet", THREADS])
            .current_dir(&self.directory)
            .env("CARGO_MANIFEST_DIR", &self.directory)
            .env(duj_tally::VARIABLE, tried)
            .output()
            .with_context(|| format!("cannot start {}", self.path.display()))?;
        let words = String::from_utf8_lossy(&stdout);
        let seconds = begun.elapsed().as_secs_f64();
        if status.success() {
            let result = words.lines().rfind(|line| line.starts_with("test result")).unwrap_or("");
            eprintln!(
                "{seconds:8.1} s  {}: {}",
                self.target,
                result.trim_start_matches("test result: ")
            );
            return Ok(());
        }
        eprintln!("{}:\n{words}{}", self.target, String::from_utf8_lossy(&stderr));
        bail!("tests of '{}' ended with {status}", self.target)
    }
}

/// Builds them; cargo's words about that go where they always go.
fn build() -> anyhow::Result<Vec<Program>> {
    let output = Command::new(env!("CARGO"))
        .args(["test", "--quiet", "--workspace", "--no-run"])
        .arg("--message-format=json-render-diagnostics")
        .current_dir(crate::repository())
        .stderr(Stdio::inherit())
        .output()
        .context("cannot start cargo")?;
    ensure!(output.status.success(), "the tests cannot be built: {}", output.status);
    let messages = String::from_utf8(output.stdout).context("cargo's messages are not UTF-8")?;
    let messages = messages.lines().filter(|line| line.starts_with('{'));
    let programs = messages.map(program).filter_map(Result::transpose);
    programs.collect::<anyhow::Result<_>>().context("cannot read what cargo built")
}

/// The program with tests that a message of cargo is about, where it is about one.
fn program(message: &str) -> anyhow::Result<Option<Program>> {
    let message: Value = serde_json::from_str(message)?;
    let tests = message["reason"] == "compiler-artifact" && message["profile"]["test"] == true;
    let Some(path) = message["executable"].as_str().filter(|_| tests) else { return Ok(None) };
    let manifest = message["manifest_path"].as_str().map(Path::new);
    let directory = manifest.and_then(Path::parent).context("a program of no package")?;
    let target = message["target"]["name"].as_str().context("a program without a name")?.to_owned();
    Ok(Some(Program { path: path.into(), target, directory: directory.to_owned() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_with_tests_is_told_from_others() {
        let message = |test, executable: &str| {
            format!(
                r#"{{"reason":"compiler-artifact","manifest_path":"/a/src/core/Cargo.toml",
                "target":{{"name":"decide"}},"profile":{{"test":{test}}},"executable":{executable}}}"#
            )
        };
        let found = program(&message(true, r#""/t/debug/deps/decide-1""#)).unwrap().unwrap();
        assert_eq!(
            (found.target.as_str(), found.directory.as_path()),
            ("decide", Path::new("/a/src/core"))
        );
        assert!(program(&message(false, r#""/t/debug/starter""#)).unwrap().is_none());
        assert!(program(&message(true, "null")).unwrap().is_none());
        assert!(program(r#"{"reason":"build-finished","success":true}"#).unwrap().is_none());
        assert!(program("{").is_err());
    }
}
