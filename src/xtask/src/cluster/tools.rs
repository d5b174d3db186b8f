//! The programs a cluster consists of, built from Go modules. Invariant: a directory in the cache is
//! complete from the moment it has its name, and its name changes with everything that went into it.

mod families;

use families::FAMILIES;
use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use sha2::{Digest as _, Sha256};

use super::{
    progress::{Progress, spell},
    state::{hex, lock},
};

/// How the names of directories end that are being built.
const UNFINISHED: &str = "unfinished";

/// How often a long build says that it is still there.
const REPORT: Duration = Duration::from_secs(15);

/// Programs that come from one `go.mod`.
#[derive(Debug)]
pub(super) struct Family {
    /// Its directory below `tools/`.
    pub(super) name: &'static str,
    /// The version the programs are to report, as in `go.mod`.
    pub(super) version: &'static str,
    module: &'static str,
    sums: &'static str,
    /// Import paths; the last part is the program's name, except where `output` says otherwise.
    packages: &'static [&'static str],
    /// Name of the program where the import path does not end in it.
    output: Option<&'static str>,
    /// Go variables that hold the version, with a value in which `{version}` and the like are replaced.
    variables: &'static [(&'static str, &'static str)],
    /// What a cold build takes on two cores, in seconds, for people who wait for it.
    cold_seconds: u64,
    /// No cluster needs it: it is built when a command asks for it by name.
    on_demand: bool,
}

/// Those that a cluster needs.
pub(super) fn needed() -> impl Iterator<Item = &'static Family> {
    FAMILIES.iter().filter(|family| !family.on_demand)
}

impl Family {
    fn link_flags(&self) -> String {
        self.variables.iter().fold("-s -w".to_owned(), |flags, (variable, value)| {
            format!("{flags} -X {variable}={value}")
        })
    }

    /// Changes with everything that goes into the programs.
    fn key(&self, go: &str) -> String {
        let mut hash = Sha256::new();
        let flags = self.link_flags();
        for part in [self.module, self.sums, &flags, go, std::env::consts::ARCH] {
            hash.update(part.as_bytes());
            hash.update([0]);
        }
        hex(&hash.finalize())[..16].to_owned()
    }

    /// Names of its programs.
    pub(super) fn programs(&self) -> impl Iterator<Item = &'static str> {
        let output = self.output;
        self.packages
            .iter()
            .map(move |package| output.unwrap_or(package.rsplit('/').next().unwrap_or(package)))
    }

    /// Builds the programs into `target`, which must not exist.
    fn build(&self, target: &Path, progress: Progress) -> anyhow::Result<()> {
        // Its own, because the compiler of a killed build may go on for a while.
        let work = target.with_extension(format!("{}.{UNFINISHED}", std::process::id()));
        let (module, programs) = (work.join("module"), work.join("programs"));
        fs::create_dir_all(&module)?;
        fs::create_dir_all(&programs)?;
        fs::write(module.join("go.mod"), self.module)?;
        fs::write(module.join("go.sum"), self.sums)?;

        let output = self.output.map_or_else(|| programs.clone(), |name| programs.join(name));
        let mut command = Command::new("go");
        command
            .args(["build", "-v", "-mod=readonly", "-trimpath", "-buildvcs=false"])
            .args(["-ldflags", &self.link_flags()])
            .arg("-o")
            .arg(output)
            .args(self.packages)
            .current_dir(&module)
            .env("CGO_ENABLED", "0")
            // Settings for the user's own work must not change what the cache key stands for.
            .env_remove("GOFLAGS")
            .env("GOWORK", "off");
        self.watch(command, progress)?;
        fs::rename(&programs, target)?;
        fs::remove_dir_all(&work)?;
        Ok(())
    }

    /// Runs the build and reports from it.
    fn watch(&self, mut command: Command, progress: Progress) -> anyhow::Result<()> {
        progress.say(format!(
            "building {} {} (about {} when nothing is cached)",
            self.name,
            self.version,
            spell(Duration::from_secs(self.cold_seconds))
        ));
        let begin = Instant::now();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot run `go build`")?;
        let errors = child.stderr.take().context("no standard error")?;
        let packages = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&packages);
        let reader = thread::spawn(move || {
            let mut last = Vec::new();
            for line in BufReader::new(errors).lines().map_while(Result::ok) {
                counter.fetch_add(1, Ordering::Relaxed);
                last.push(line);
                if last.len() > 20 {
                    last.remove(0);
                }
            }
            last.join("\n")
        });
        let mut reported = begin;
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            if reported.elapsed() >= REPORT {
                reported = Instant::now();
                let what = match packages.load(Ordering::Relaxed) {
                    0 => "linking".to_owned(),
                    count => format!("{count} packages compiled"),
                };
                progress.say(format!("  {}: {what}, {}", self.name, spell(begin.elapsed())));
            }
            thread::sleep(Duration::from_millis(100));
        };
        let last = reader.join().unwrap_or_default();
        if !status.success() {
            bail!("building {} failed with {status}; its last words:\n{last}", self.name);
        }
        progress.say(format!("  {}: built in {}", self.name, spell(begin.elapsed())));
        Ok(())
    }
}

/// Where each family's programs are, or will be.
#[derive(Debug)]
pub(super) struct Tools {
    cache: PathBuf,
    directories: Vec<(&'static Family, PathBuf)>,
}

impl Tools {
    /// The places in this cache for this version of Go.
    pub(super) fn locate(cache: &Path, go: &str) -> Self {
        let cache = cache.join("tools");
        let directories = FAMILIES
            .iter()
            .map(|family| (family, cache.join(format!("{}-{}", family.name, family.key(go)))))
            .collect();
        Self { cache, directories }
    }

    /// The families that a cluster needs and that have to be built.
    pub(super) fn missing(&self) -> Vec<&'static Family> {
        self.needed()
            .filter(|(_, directory)| !directory.is_dir())
            .map(|(family, _)| *family)
            .collect()
    }

    /// What a cluster needs.
    fn needed(&self) -> impl Iterator<Item = &(&'static Family, PathBuf)> {
        self.directories.iter().filter(|(family, _)| !family.on_demand)
    }

    /// Builds what is missing.
    pub(super) fn ensure(&self, progress: Progress) -> anyhow::Result<()> {
        if self.missing().is_empty() {
            return Ok(());
        }
        fs::create_dir_all(&self.cache)
            .with_context(|| format!("cannot make {}", self.cache.display()))?;
        let _lock = lock(&self.cache, "the tool cache")?;
        // Somebody else may have built them while this one waited.
        let missing = self.missing();
        let seconds = missing.iter().map(|family| family.cold_seconds).sum();
        if !missing.is_empty() {
            progress.say(format!(
                "{} of {} tool families are not in {}: building them takes up to {} on two cores, once",
                missing.len(),
                self.needed().count(),
                self.cache.display(),
                spell(Duration::from_secs(seconds))
            ));
        }
        self.remove_unfinished()?;
        for (family, directory) in self.needed() {
            if !directory.is_dir() {
                family.build(directory, progress)?;
            }
        }
        Ok(())
    }

    /// Builds one family if it is missing; its folder.
    pub(super) fn ensure_family(&self, name: &str, progress: Progress) -> anyhow::Result<&Path> {
        let found = self.directories.iter().find(|(family, _)| family.name == name);
        let (family, directory) =
            found.with_context(|| format!("there is no tool family \"{name}\""))?;
        if !directory.is_dir() {
            fs::create_dir_all(&self.cache)
                .with_context(|| format!("cannot make {}", self.cache.display()))?;
            let _lock = lock(&self.cache, "the tool cache")?;
            if !directory.is_dir() {
                family.build(directory, progress)?;
            }
        }
        Ok(directory)
    }

    /// Removes what killed builds left; nobody else builds while the lock is held.
    fn remove_unfinished(&self) -> anyhow::Result<()> {
        for entry in fs::read_dir(&self.cache)?.flatten() {
            if entry.path().extension().is_some_and(|end| end == UNFINISHED) {
                fs::remove_dir_all(entry.path())
                    .with_context(|| format!("cannot remove {}", entry.path().display()))?;
            }
        }
        Ok(())
    }

    /// Every program of a cluster with its path.
    pub(super) fn programs(&self) -> impl Iterator<Item = (&'static str, PathBuf)> {
        self.needed().flat_map(|(family, directory)| {
            family.programs().map(|program| (program, directory.join(program)))
        })
    }
}

/// The folder that outlives clusters and checkouts.
pub(super) fn cache() -> anyhow::Result<PathBuf> {
    let set =
        |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("DOCKER_UNIVERSE_CACHE")
        .or_else(|| set("XDG_CACHE_HOME").map(|base| base.join("docker-universe")))
        .or_else(|| set("HOME").map(|home| home.join(".cache/docker-universe")))
        .context("neither DOCKER_UNIVERSE_CACHE nor HOME is set: set one of them")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_those_of_the_modules() {
        for family in &FAMILIES {
            assert!(
                family.module.split_whitespace().any(|word| word == family.version),
                "{} {}",
                family.name,
                family.version
            );
        }
    }

    #[test]
    fn every_program_has_a_tool_line_and_a_name() {
        for family in &FAMILIES {
            for package in family.packages {
                assert!(family.module.contains(package), "{package}");
            }
        }
        let names: Vec<_> = FAMILIES.iter().flat_map(Family::programs).collect();
        for name in ["etcd", "versitygw", "s5cmd", "ctr", "kubelet", "kubectl", "helm"] {
            assert!(names.contains(&name), "{name}");
        }
    }

    #[test]
    fn what_no_cluster_needs_is_not_waited_for() {
        let tools = Tools::locate(Path::new("/nowhere"), "go1.26.8");
        let missing: Vec<_> = tools.missing().iter().map(|family| family.name).collect();
        assert_eq!(missing, ["etcd", "versitygw", "containerd", "kubernetes", "helm"]);
        assert!(tools.programs().all(|(program, _)| program != "s5cmd"));
    }

    #[test]
    fn the_key_changes_with_the_compiler() {
        let family = &FAMILIES[0];
        assert_eq!(family.key("go1.26.8"), family.key("go1.26.8"));
        assert_ne!(family.key("go1.26.8"), family.key("go1.27"));
        assert_ne!(family.key("go1.26.8"), FAMILIES[1].key("go1.26.8"));
    }
}
