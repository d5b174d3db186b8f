//! Where a cluster keeps its files, and who may change them. Invariant: `cluster.json` is the first
//! file of a state directory, so a directory without it is the remains of a killed `up` and holds
//! nothing worth keeping; and only the holder of [`Lock`] changes a state directory.

use std::{
    env,
    fs::{self, File, TryLockError},
    io::Write as _,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail, ensure};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::address::Addresses;

/// Below this directory every cluster has one of its own; `DOCKER_UNIVERSE_STATE` overrides it.
const DEFAULT_PARENT: &str = "/var/lib/docker-universe";

/// Longest path of a state directory: the kubelet's sockets below it must fit into the kernel's 108 bytes.
const LONGEST_PATH: usize = 56;

/// What a cluster consists of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Kind {
    /// A control plane, a node and a registry, with the patience of tests.
    #[default]
    Whole,
    /// A control plane alone whose clients are not throttled, for simulated nodes.
    ControlPlane,
}

/// What is known of a cluster that was begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// The cluster's name.
    pub(super) name: String,
    /// Number of its addresses.
    pub(super) index: Addresses,
    /// What it consists of.
    #[serde(default)]
    pub(super) kind: Kind,
    /// SHA-256 of everything the running components were started with.
    #[serde(default)]
    pub(super) fingerprint: String,
    /// Directories outside the state directory that had to be made, to be removed again.
    #[serde(default)]
    pub(super) made: Vec<PathBuf>,
}

/// The files of one cluster.
#[derive(Clone, Debug)]
pub(super) struct State {
    /// The cluster's name.
    pub(super) name: String,
    /// The cluster's own directory.
    pub(super) dir: PathBuf,
}

impl State {
    /// The files of the cluster with this name, whether it exists or not.
    pub(super) fn of(name: &str) -> anyhow::Result<Self> {
        check_name(name)?;
        let parent = env::var_os("DOCKER_UNIVERSE_STATE")
            .filter(|value| !value.is_empty())
            .map_or_else(|| PathBuf::from(DEFAULT_PARENT), PathBuf::from);
        Self::below(&parent, name)
    }

    fn below(parent: &Path, name: &str) -> anyhow::Result<Self> {
        let dir = parent.join(name);
        let text = dir.to_str().context("the state directory's path is not UTF-8")?;
        ensure!(
            parent.is_absolute() && text.len() <= LONGEST_PATH,
            "state directory \"{text}\" must be absolute and at most {LONGEST_PATH} bytes long: set DOCKER_UNIVERSE_STATE to a shorter one"
        );
        ensure!(
            !["/run/", "/var/run/", "/var/log/", "/proc/", "/sys/", "/dev/"]
                .iter()
                .any(|hidden| text.starts_with(hidden)),
            "state directory \"{text}\" would be hidden inside the cluster: set DOCKER_UNIVERSE_STATE to one below /var/lib"
        );
        Ok(Self { name: name.to_owned(), dir })
    }

    /// The directory all clusters lie in.
    pub(super) fn parent(&self) -> &Path {
        self.dir.parent().unwrap_or(Path::new(DEFAULT_PARENT))
    }

    /// A path inside the state directory.
    pub(super) fn path(&self, relative: &str) -> PathBuf {
        self.dir.join(relative)
    }

    /// The same as text; the directory's path was checked to be UTF-8.
    pub(super) fn text(&self, relative: &str) -> String {
        self.path(relative).to_string_lossy().into_owned()
    }

    /// Distinguishes the kernel objects of this cluster from those of every other on the machine.
    pub(super) fn tag(&self) -> String {
        hex(&Sha256::digest(self.dir.as_os_str().as_encoded_bytes()))[..8].to_owned()
    }

    /// Name of the host's end of the cable (at most 15 bytes).
    pub(super) fn veth(&self) -> String {
        format!("du-{}", self.tag())
    }

    /// Name of the cgroup that holds all pods, in every hierarchy.
    pub(super) fn cgroup(&self) -> String {
        format!("docker-universe-{}-{}", self.name, self.tag())
    }

    /// Name of the cluster's only node.
    pub(super) fn node_name(&self) -> String {
        format!("{}-node", self.name)
    }

    /// The copy of this program that supervises the cluster. A process runs it if and only if it is this cluster's supervisor.
    pub(super) fn supervisor(&self) -> PathBuf {
        self.path("supervisor")
    }

    /// Socket at which the supervisor answers.
    pub(super) fn control(&self) -> PathBuf {
        self.path("control.sock")
    }

    /// The administrator's kubeconfig.
    pub(super) fn kubeconfig(&self) -> PathBuf {
        self.path("kubeconfig")
    }

    /// The record, if the cluster was begun.
    pub(super) fn record(&self) -> anyhow::Result<Option<Record>> {
        let path = self.path("cluster.json");
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).with_context(|| {
                format!(
                    "{} is damaged: `cargo xtask cluster down --name {}` removes the cluster",
                    path.display(),
                    self.name
                )
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| path.display().to_string()),
        }
    }

    /// Stores the record.
    pub(super) fn keep(&self, record: &Record) -> anyhow::Result<()> {
        write(&self.path("cluster.json"), &serde_json::to_vec_pretty(record)?)
    }

    /// The other clusters' records; damaged ones are left out.
    pub(super) fn others(&self) -> Vec<Record> {
        let Ok(entries) = fs::read_dir(self.parent()) else { return Vec::new() };
        entries
            .flatten()
            .filter(|entry| entry.path() != self.dir)
            .filter_map(|entry| {
                serde_json::from_slice(&fs::read(entry.path().join("cluster.json")).ok()?).ok()
            })
            .collect()
    }

    /// Waits until nobody else changes this cluster.
    pub(super) fn lock(&self) -> anyhow::Result<Lock> {
        loop {
            fs::create_dir_all(&self.dir)
                .with_context(|| format!("cannot make {}", self.dir.display()))?;
            let lock = lock(&self.dir, &format!("cluster \"{}\"", self.name))?;
            // `down` removes the directory while it holds the lock: then this one guards nothing.
            let (held, there) = (lock.0.metadata()?, fs::metadata(&self.dir));
            if there.is_ok_and(|there| there.ino() == held.ino()) {
                return Ok(lock);
            }
        }
    }
}

/// Excludes others until it is dropped, or the process ends in whatever way.
#[derive(Debug)]
pub(super) struct Lock(File);

/// Locks an existing file or directory; says so when it has to wait.
pub(super) fn lock(path: &Path, object: &str) -> anyhow::Result<Lock> {
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            eprintln!("waiting for another command that is changing {object}");
            file.lock()?;
        }
        Err(TryLockError::Error(error)) => return Err(error.into()),
    }
    Ok(Lock(file))
}

/// Replaces a file as a whole: a reader or a killed writer never leaves half of it.
pub(super) fn write(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    let new = path.with_extension("new");
    let run = || -> std::io::Result<()> {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        let mut file = File::create(&new)?;
        file.write_all(content)?;
        fs::rename(&new, path)
    };
    run().with_context(|| format!("cannot write {}", path.display()))
}

/// Lower-case hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}

fn check_name(name: &str) -> anyhow::Result<()> {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if name.is_empty()
        || name.len() > 20
        || !name.bytes().all(inner)
        || name.starts_with('-')
        || name.ends_with('-')
    {
        bail!(
            "cluster name \"{name}\" is not possible: use up to 20 lower-case letters, digits and inner dashes"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_a_node() {
        for good in ["dev", "a", "try-2"] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in ["", "Dev", "-a", "a-", "a/b", "..", "a.b", "abcdefghijklmnopqrstu"] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_state_directory_must_be_short_and_visible_inside() {
        assert!(
            State::below(Path::new("/var/lib/docker-universe"), "abcdefghijklmnopqrst").is_ok()
        );
        for parent in ["/run/x", "/var/log", "relative", &format!("/{}", "x".repeat(60))] {
            assert!(State::below(Path::new(parent), "dev").is_err(), "{parent}");
        }
    }

    #[test]
    fn kernel_objects_are_named_after_the_directory() {
        let here = State::below(Path::new("/a"), "dev").unwrap();
        let there = State::below(Path::new("/b"), "dev").unwrap();
        assert_ne!(here.veth(), there.veth());
        assert_ne!(here.cgroup(), there.cgroup());
        assert!(here.veth().len() <= 15);
    }

    #[test]
    fn a_record_of_an_older_version_is_understood() {
        let record: Record = serde_json::from_str(r#"{"name":"dev","index":3}"#).unwrap();
        assert_eq!(record.index, Addresses::new(3).unwrap());
        assert_eq!(record.fingerprint, "");
        assert_eq!(record.kind, Kind::Whole);
        let text = serde_json::to_string(&record).unwrap();
        assert_eq!(serde_json::from_str::<Record>(&text).unwrap(), record);
    }
}
