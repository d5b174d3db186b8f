//! The cgroup below which the kubelet puts every pod of a cluster. Invariant: it exists in every
//! hierarchy of the machine or, after removal, in none; no other cgroup is touched, except that on a
//! unified hierarchy the root passes its controllers on.

use std::{
    fs, io,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};

const ROOT: &str = "/sys/fs/cgroup";

/// Controllers the kubelet needs on a unified hierarchy.
const CONTROLLERS: [&str; 6] = ["cpuset", "cpu", "io", "memory", "hugetlb", "pids"];

/// The mount points of all hierarchies: one on a unified machine, about ten on others.
pub(super) fn hierarchies() -> Vec<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    parse(&mounts)
}

fn parse(mounts: &str) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = mounts
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ').skip(1);
            let (target, kind) = (words.next()?, words.next()?);
            (matches!(kind, "cgroup" | "cgroup2") && Path::new(target).starts_with(ROOT))
                .then(|| PathBuf::from(target))
        })
        .collect();
    found.sort();
    found.dedup();
    found
}

/// Makes the cgroup in every hierarchy.
pub(super) fn make(name: &str) -> anyhow::Result<()> {
    for hierarchy in hierarchies() {
        let unified = hierarchy.join("cgroup.controllers").exists();
        if unified {
            pass_controllers_on(&hierarchy)?;
        }
        let cgroup = hierarchy.join(name);
        if let Err(error) = fs::create_dir(&cgroup)
            && error.kind() != io::ErrorKind::AlreadyExists
        {
            return Err(error).with_context(|| format!("cannot make cgroup {}", cgroup.display()));
        }
        if unified {
            pass_controllers_on(&cgroup)?;
            continue;
        }
        // In version 1 a new cpuset is empty, and nothing can run in it until it is filled.
        for file in ["cpuset.cpus", "cpuset.mems"] {
            if let Ok(value) = fs::read_to_string(hierarchy.join(file)) {
                fs::write(cgroup.join(file), value.trim())
                    .with_context(|| format!("cannot write {}", cgroup.join(file).display()))?;
            }
        }
    }
    Ok(())
}

/// Lets the children of a unified cgroup have the controllers the kubelet needs, as far as there are any.
fn pass_controllers_on(cgroup: &Path) -> anyhow::Result<()> {
    let read = |file: &str| {
        let path = cgroup.join(file);
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    };
    let (there, enabled) = (read("cgroup.controllers")?, read("cgroup.subtree_control")?);
    for controller in CONTROLLERS {
        let listed = |list: &str| list.split_whitespace().any(|word| word == controller);
        if listed(&there) && !listed(&enabled) {
            fs::write(cgroup.join("cgroup.subtree_control"), format!("+{controller}"))
                .with_context(|| {
                    format!("cannot pass controller \"{controller}\" on below {}", cgroup.display())
                })?;
        }
    }
    Ok(())
}

/// Removes the cgroup and all below it from every hierarchy; its processes must have been ended.
pub(super) fn remove(name: &str) -> anyhow::Result<()> {
    let begin = Instant::now();
    loop {
        let left: Vec<_> =
            existing(name).into_iter().filter_map(|path| remove_tree(&path).err()).collect();
        match left.first() {
            None => return Ok(()),
            // The kernel lets go of a cgroup a little after its last process has ended.
            Some(error) if begin.elapsed() > Duration::from_secs(15) => {
                bail!("cannot remove cgroup \"{name}\": {error}")
            }
            Some(_) => thread::sleep(Duration::from_millis(50)),
        }
    }
}

/// Where the cgroup exists.
pub(super) fn existing(name: &str) -> Vec<PathBuf> {
    hierarchies()
        .into_iter()
        .map(|hierarchy| hierarchy.join(name))
        .filter(|path| path.exists())
        .collect()
}

fn remove_tree(cgroup: &Path) -> io::Result<()> {
    for entry in fs::read_dir(cgroup)?.flatten() {
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?;
        }
    }
    fs::remove_dir(cgroup)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hierarchies_are_found_in_all_three_layouts() {
        let hybrid = "tmpfs /sys/fs/cgroup tmpfs rw 0 0\n\
            cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n\
            cgroup /sys/fs/cgroup/cpuacct cgroup rw,cpuacct 0 0\n\
            cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n\
            cgroup2 /somewhere/else cgroup2 rw 0 0\n";
        assert_eq!(parse(hybrid).len(), 3);
        let unified = "proc /proc proc rw 0 0\ncgroup2 /sys/fs/cgroup cgroup2 rw,nosuid 0 0\n";
        assert_eq!(parse(unified), [PathBuf::from("/sys/fs/cgroup")]);
        assert!(parse("proc /proc proc rw 0 0\n").is_empty());
    }
}
