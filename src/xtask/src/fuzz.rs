//! `cargo xtask fuzz`: hostile input, guided by coverage (libFuzzer, on stable Rust).
//!
//! Invariant: what is found stays: its text is left in the target directory, and the command says where and where it
//! belongs. The corpus of the checkout is only read; what grows out of it is kept in the target directory for the next run.

use crate::image;
use anyhow::{Context as _, bail, ensure};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Arguments of `cargo xtask fuzz`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// How long each target is fed
    #[arg(long, value_name = "NUMBER", default_value_t = 60)]
    seconds: u32,
    /// Only this one; all where absent
    #[arg(value_name = "TARGET")]
    target: Option<String>,
}

/// Expressions that are compared with `HTCondor`: one more corpus.
const EXPRESSIONS: &str = "tests/oracle/classad_expressions.txt";

/// Counters at each edge, what comparisons compare, and no sanitizer, which stable Rust does not have.
const COVERAGE: [&str; 7] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Ccodegen-units=1",
    "--cfg=fuzzing",
];

/// Bounds of one text: seconds, megabytes of the whole process, bytes.
const BOUNDS: [&str; 3] = ["-timeout=10", "-rss_limit_mb=1024", "-max_len=8192"];

/// Builds the fuzzer and feeds its targets one after the other.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let corpus = crate::repository().join("src/fuzz/corpus");
    let mut targets = Vec::new();
    for entry in fs::read_dir(&corpus).context("cannot read the corpus")? {
        targets.push(entry?.file_name().to_string_lossy().into_owned());
    }
    targets.sort();
    if let Some(wanted) = &arguments.target {
        ensure!(targets.contains(wanted), "there is no target '{wanted}': there are {targets:?}");
        targets.retain(|target| target == wanted);
    }
    let compiler = Command::new("c++").arg("--version").output();
    ensure!(
        std::env::var_os("CXX").is_some() || compiler.is_ok_and(|output| output.status.success()),
        "libFuzzer is built by a C++ compiler, and there is no `c++`: install it with `apt-get install g++`"
    );
    let program = build()?;
    for target in targets {
        feed(&program, &corpus.join(&target), &target, arguments.seconds)?;
    }
    Ok(())
}

/// What rustc builds for by itself. With it named, the flags are not those of build scripts and macros.
fn host() -> anyhow::Result<String> {
    let output = Command::new("rustc").arg("-vV").output().context("cannot run rustc")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc does not say what it builds for")?.to_owned())
}

fn build() -> anyhow::Result<PathBuf> {
    let host = host()?;
    let status = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--package", "duj-fuzz", "--features", "libfuzzer"])
        .args(["--profile", "fuzz", "--target", &host])
        .env("CARGO_ENCODED_RUSTFLAGS", COVERAGE.join("\x1f"))
        .current_dir(crate::repository())
        .status()
        .context("cannot start cargo")?;
    ensure!(status.success(), "the fuzzer does not build: {status}");
    Ok(image::target_directory().join(host).join("fuzz/duj-fuzz"))
}

fn feed(program: &Path, corpus: &Path, target: &str, seconds: u32) -> anyhow::Result<()> {
    let own = image::target_directory().join("fuzzing").join(target);
    let found = image::target_directory().join("fuzzing/found");
    for directory in [&own, &found] {
        fs::create_dir_all(directory)
            .with_context(|| format!("cannot make {}", directory.display()))?;
    }
    if target != "userlog" && target != "words" {
        seed_with_expressions(&own)?;
    }
    println!("==> {target}: {seconds} s");
    let status = Command::new(program)
        .args(BOUNDS)
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-artifact_prefix={}/{target}-", found.display()))
        .arg(format!("-dict={}", crate::repository().join("src/fuzz/words.dict").display()))
        .arg("-print_final_stats=1")
        .args([&own, corpus])
        .env("DOCKER_UNIVERSE_FUZZ_TARGET", target)
        .status()
        .with_context(|| format!("cannot run {}", program.display()))?;
    if !status.success() {
        bail!(
            "'{target}' does not stand a text in {}: put it into src/fuzz/corpus/{target} and mend what it shows",
            found.display()
        );
    }
    Ok(())
}

/// Each expression as a file of its own.
fn seed_with_expressions(directory: &Path) -> anyhow::Result<()> {
    let path = crate::repository().join(EXPRESSIONS);
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {EXPRESSIONS}"))?;
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    for (number, line) in lines.enumerate() {
        let line = line.strip_prefix("ad ").unwrap_or(line);
        fs::write(directory.join(format!("expression-{number}")), line)
            .context("cannot write a seed")?;
    }
    Ok(())
}
