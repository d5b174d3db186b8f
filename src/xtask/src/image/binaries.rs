//! Builds the programs of the project's image. Invariant: all are static, and none holds a
//! path of this machine, so that the same sources give the same bytes wherever they are checked out.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, ensure};

use super::elf;

/// Named explicitly even where it is the host's own: otherwise build scripts and proc macros would be linked statically too.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// The programs, as they go into the image.
#[derive(Debug)]
pub(super) struct Binaries {
    /// The operator.
    pub(super) operator: Vec<u8>,
    /// The starter.
    pub(super) starter: Vec<u8>,
    /// What moves a job's files.
    pub(super) transfer: Vec<u8>,
}

/// Where cargo builds: `CARGO_TARGET_DIR`, else the checkout's `target`.
pub(crate) fn target_directory() -> PathBuf {
    let named = env::var_os("CARGO_TARGET_DIR").filter(|value| !value.is_empty());
    crate::repository().join(named.map_or_else(|| PathBuf::from("target"), PathBuf::from))
}

/// Where the starter is, once it is built.
pub(super) fn starter() -> PathBuf {
    target_directory().join(TARGET).join("starter/starter")
}

/// Where the operator is, once it is built.
pub(super) fn operator() -> PathBuf {
    target_directory().join(TARGET).join("release/docker-universe")
}

/// Where the program that moves files is, once it is built.
pub(super) fn transfer() -> PathBuf {
    target_directory().join(TARGET).join("release/transfer")
}

/// Where the program that measures on simulated nodes is, once it is built.
pub(super) fn scale() -> PathBuf {
    target_directory().join(TARGET).join("release/scale")
}

/// Builds the operator.
pub(super) fn build_operator() -> anyhow::Result<Vec<u8>> {
    program("docker-universe", "docker-universe", "release")
}

/// Builds the operator for profilers, beside the one of the image; its path.
pub(super) fn build_operator_with_symbols() -> anyhow::Result<PathBuf> {
    let target = target_directory().join("profiled");
    let status = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--locked", "--release", "--package", "docker-universe"])
        .args(["--bin", "docker-universe", "--target-dir"])
        .arg(&target)
        .env("CARGO_PROFILE_RELEASE_STRIP", "none")
        .env("RUSTFLAGS", "-Cforce-frame-pointers=yes")
        .current_dir(crate::repository())
        .status()
        .context("cannot start cargo: run this as `cargo xtask`")?;
    ensure!(status.success(), "cannot build the operator: cargo's own words stand above");
    Ok(target.join("release/docker-universe"))
}

/// Builds the program that measures on simulated nodes.
pub(super) fn build_scale() -> anyhow::Result<Vec<u8>> {
    program("duj-scale", "scale", "release")
}

/// Builds the program that moves files.
pub(super) fn build_transfer() -> anyhow::Result<Vec<u8>> {
    program("duj-transfer", "transfer", "release")
}

/// Builds all programs; cargo says on standard error what it does.
pub(super) fn build() -> anyhow::Result<Binaries> {
    Ok(Binaries {
        operator: build_operator()?,
        starter: program("duj-starter", "starter", "starter")?,
        transfer: build_transfer()?,
    })
}

fn program(package: &str, name: &str, profile: &str) -> anyhow::Result<Vec<u8>> {
    let (checkout, target) = (crate::repository(), target_directory());
    let remaps = remaps(&target)?;
    let status = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--locked", "--target", TARGET, "--profile", profile])
        .args(["--package", package, "--bin", name, "--target-dir"])
        .arg(&target)
        .env("CARGO_ENCODED_RUSTFLAGS", rust_flags(&remaps))
        .env(format!("CFLAGS_{}", TARGET.replace('-', "_")), c_flags(&remaps))
        .current_dir(&checkout)
        .status()
        .context("cannot start cargo: run this as `cargo xtask`")?;
    ensure!(status.success(), "cannot build \"{name}\": cargo's own words stand above");

    let path = target.join(TARGET).join(profile).join(name);
    let program = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    elf::check_static(name, &program)?;
    Ok(program)
}

/// Directories of this machine and what to write instead of them; of two that match, the later one counts.
///
/// Not the checkout: cargo names its files relative to it, and a flag that names it would make every other checkout
/// build all dependencies anew, even with a shared target directory.
fn remaps(target: &Path) -> anyhow::Result<Vec<(String, &'static str)>> {
    let cargo_home = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| env::home_dir().map(|home| home.join(".cargo")))
        .context("neither CARGO_HOME nor HOME is set")?;
    let sysroot = Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
        .args(["--print", "sysroot"])
        .output()
        .context("cannot start rustc")?;
    let sysroot = PathBuf::from(String::from_utf8(sysroot.stdout)?.trim());
    [(cargo_home.as_path(), "/cargo"), (&sysroot, "/rust"), (target, "/target")]
        .into_iter()
        .map(|(from, to)| {
            let from = from.to_str().with_context(|| {
                format!("{} is not UTF-8, so it cannot be remapped", from.display())
            })?;
            Ok((from.to_owned(), to))
        })
        .collect()
}

/// In cargo's encoded form, which knows paths with spaces.
fn rust_flags(remaps: &[(String, &str)]) -> String {
    let mut flags = vec!["-Ctarget-feature=+crt-static".to_owned()];
    flags.extend(remaps.iter().map(|(from, to)| format!("--remap-path-prefix={from}={to}")));
    flags.join("\x1f")
}

/// C code (the TLS library's) has `__FILE__` in its error messages. These flags are split at spaces and know no quotes.
fn c_flags(remaps: &[(String, &str)]) -> String {
    let remaps = remaps.iter().filter(|(from, _)| !from.contains(char::is_whitespace));
    let flags = remaps.map(|(from, to)| format!("-ffile-prefix-map={from}={to}"));
    env::var("CFLAGS").into_iter().chain(flags).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_directory_of_this_machine_is_remapped() {
        let remaps = remaps(Path::new("/home/a b/build")).unwrap();
        let flags = rust_flags(&remaps);
        let flags: Vec<_> = flags.split('\x1f').collect();
        assert_eq!(flags[0], "-Ctarget-feature=+crt-static");
        assert!(flags.contains(&"--remap-path-prefix=/home/a b/build=/target"));
        assert!(flags.iter().any(|flag| flag.ends_with("=/cargo")));
        let flags = c_flags(&remaps);
        assert!(flags.contains("=/cargo"));
        assert!(!flags.contains("a b"));
    }
}
