//! Finding and ending the processes of one cluster. Invariant: a process is only ever signalled
//! through a pidfd that was opened *before* it was recognised, so a recycled pid is never hit.

use std::{
    fs,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::bail;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// A live process, recognised by the program it runs.
#[derive(Debug)]
pub(super) struct Process {
    /// Its pid in the host's namespace.
    pub(super) pid: i32,
    handle: OwnedFd,
}

impl Process {
    /// The processes that run this very file, whether the file was deleted since or not.
    pub(super) fn running(program: &Path) -> Vec<Self> {
        let program = fs::canonicalize(program).unwrap_or_else(|_| program.to_owned());
        let deleted = PathBuf::from(format!("{} (deleted)", program.display()));
        let runs = |pid: i32| {
            fs::read_link(format!("/proc/{pid}/exe"))
                .is_ok_and(|exe| exe == program || exe == deleted)
        };
        pids()
            .filter(|pid| runs(*pid))
            .filter_map(|pid| {
                let handle = pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()?;
                runs(pid).then_some(Self { pid, handle })
            })
            .collect()
    }

    /// Ends it, and with it its whole pid namespace if it is that namespace's first process.
    pub(super) fn kill(&self) {
        // The only error left is that it has ended already.
        let _gone = pidfd_send_signal(&self.handle, Signal::KILL);
    }
}

/// Kills all processes that run this file and waits until they are gone.
pub(super) fn kill_all(program: &Path) -> anyhow::Result<()> {
    let begin = Instant::now();
    loop {
        let processes = Process::running(program);
        if processes.is_empty() {
            return Ok(());
        }
        for process in &processes {
            process.kill();
        }
        if begin.elapsed() > Duration::from_secs(30) {
            let pids: Vec<_> = processes.iter().map(|process| process.pid.to_string()).collect();
            bail!("processes {} do not end, 30 s after SIGKILL", pids.join(", "));
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// All pids in sight.
pub(super) fn pids() -> impl Iterator<Item = i32> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// A field of `/proc/<pid>/status`, without its name.
pub(super) fn field(status: &str, name: &str) -> Option<String> {
    status.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key == name).then(|| value.trim().to_owned())
    })
}

/// Resident memory of a process in KiB; `None` once it has ended.
pub(super) fn memory(pid: i32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    field(&status, "VmRSS")?.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let status = "Name:\tsh\nVmRSS:\t    1234 kB\nNSpid:\t77\t1\n";
        assert_eq!(field(status, "VmRSS").as_deref(), Some("1234 kB"));
        assert_eq!(field(status, "NSpid").as_deref(), Some("77\t1"));
        assert_eq!(field(status, "VmR"), None);
    }

    #[test]
    fn a_process_is_found_by_the_file_it_runs() {
        let own = std::env::current_exe().unwrap();
        let pid = i32::try_from(std::process::id()).unwrap();
        assert!(Process::running(&own).iter().any(|process| process.pid == pid));
        assert!(Process::running(Path::new("/nowhere/program")).is_empty());
    }
}
