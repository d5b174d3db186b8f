//! What the operator says while the job runs, in files that the kubelet keeps up to date.
//!
//! The files are read again and again. `inotify` would tell at once, but a node grants each user 128 of its
//! instances, and all jobs of a node may run as one user; and not every runtime passes its events on.
//! Invariant: nothing that stands in the files is an error, and a lease that is over stays over.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use duj_protocol::{
    control,
    lease::{self, Mark},
};

use crate::arguments::ControlSettings;

/// Time between two looks. The kubelet itself takes about a second.
const INTERVAL: Duration = Duration::from_millis(500);

/// What is to become of the job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// It is to run.
    Running,
    /// It is to stand still.
    Suspended,
    /// Its lease is over: it is to end.
    Ended,
}

/// The operator's files and what was read in them last.
#[derive(Debug)]
pub(crate) struct Control {
    suspend: PathBuf,
    suspended: bool,
    lease: Option<Lease>,
    next: Instant,
}

/// A right to run that ends unless it is renewed. Times are since the node was started.
#[derive(Debug)]
struct Lease {
    file: PathBuf,
    token: Mark,
    duration: Duration,
    ends: Duration,
}

impl Control {
    /// The files of a job whose lease begins at `since_boot`.
    pub(crate) fn new(settings: &ControlSettings, now: Instant, since_boot: Duration) -> Self {
        let lease = settings.lease_duration.map(|duration| Lease {
            file: settings.directory.join(control::LEASE),
            token: Mark::FIRST,
            duration,
            ends: since_boot.saturating_add(duration),
        });
        let suspend = settings.directory.join(control::SUSPEND);
        Self { suspend, suspended: false, lease, next: now }
    }

    /// When [`Control::look`] is due.
    pub(crate) fn next(&self) -> Instant {
        self.next
    }

    /// Reads the files; `time` is the time of day in milliseconds since the epoch.
    pub(crate) fn look(&mut self, now: Instant, since_boot: Duration, time: i64) -> Wanted {
        self.next = now + INTERVAL;
        if self.lease.as_mut().is_some_and(|lease| lease.is_over(since_boot, time)) {
            return Wanted::Ended;
        }
        match read(&self.suspend) {
            Ok(content) => self.suspended = content == control::SUSPENDED.as_bytes(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.suspended = false,
            Err(_) => {} // it does not say that the job is to go on
        }
        if self.suspended { Wanted::Suspended } else { Wanted::Running }
    }
}

impl Lease {
    /// The time is looked at first: a token that is found late must not revive a job that the operator, which
    /// counts the same seconds, has given up. Nor may one that was long on its way: it is worth less by that, but takes
    /// nothing from what an earlier one has granted.
    fn is_over(&mut self, since_boot: Duration, time: i64) -> bool {
        if since_boot >= self.ends {
            return true;
        }
        if let Ok(content) = read(&self.file)
            && let Ok(text) = std::str::from_utf8(&content)
            && let Some(token @ Mark::Token(written)) = Mark::read(text)
            && token != self.token
        {
            self.token = token;
            let good = lease::good_for(written, time, self.duration);
            self.ends = self.ends.max(since_boot.saturating_add(good));
        }
        false
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut content = Vec::with_capacity(64);
    File::open(path)?.take(control::MAX_BYTES).read_to_end(&mut content)?;
    Ok(content)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A directory with the operator's files, and the seconds since the node was started.
    struct Stage {
        directory: PathBuf,
        control: Control,
        seconds: u64,
    }

    impl Stage {
        fn new(name: &str, lease: Option<u64>) -> Self {
            let name = format!("starter-control-{}-{name}", std::process::id());
            let directory = std::env::temp_dir().join(name);
            fs::create_dir_all(&directory).unwrap();
            let lease_duration = lease.map(Duration::from_secs);
            let settings = ControlSettings { directory: directory.clone(), lease_duration };
            let seconds = 1000;
            let control = Control::new(&settings, Instant::now(), Duration::from_secs(seconds));
            Self { directory, control, seconds }
        }

        fn write(&self, file: &str, content: impl AsRef<[u8]>) {
            fs::write(self.directory.join(file), content).unwrap();
        }

        /// What is wanted some seconds later.
        fn after(&mut self, seconds: u64) -> Wanted {
            self.seconds += seconds;
            let time = self.time();
            self.control.look(Instant::now(), Duration::from_secs(self.seconds), time)
        }

        /// The time of day.
        fn time(&self) -> i64 {
            1_771_000_000_000 + i64::try_from(self.seconds).unwrap() * 1000
        }

        /// The operator writes a token that is so many seconds old when it arrives.
        fn renew(&self, age: i64) {
            self.write(control::LEASE, Mark::Token(self.time() - age * 1000).to_string());
        }
    }

    impl Drop for Stage {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.directory);
        }
    }

    #[test]
    fn one_word_suspends_and_all_else_does_not() {
        let mut stage = Stage::new("words", None);
        assert_eq!(stage.after(0), Wanted::Running, "no file");
        for (content, wanted) in [
            (&b"true"[..], Wanted::Suspended),
            (b"", Wanted::Running),
            (b"true\n", Wanted::Running),
            (b"True", Wanted::Running),
            (b"false", Wanted::Running),
            (b"\xff\0true", Wanted::Running),
            (&[b't'; 10_000], Wanted::Running),
            (b"true", Wanted::Suspended),
        ] {
            stage.write(control::SUSPEND, content);
            assert_eq!(stage.after(1), wanted, "{:?}", content.get(..8));
        }
        fs::remove_file(stage.directory.join(control::SUSPEND)).unwrap();
        assert_eq!(stage.after(1), Wanted::Running, "the file is gone");
    }

    #[test]
    fn what_cannot_be_read_changes_nothing() {
        let mut stage = Stage::new("unreadable", None);
        let file = stage.directory.join(control::SUSPEND);
        stage.write(control::SUSPEND, "true");
        assert_eq!(stage.after(1), Wanted::Suspended);
        fs::remove_file(&file).unwrap();
        fs::create_dir(&file).unwrap();
        assert_eq!(stage.after(1), Wanted::Suspended);
    }

    #[test]
    fn each_new_token_is_good_for_the_whole_duration() {
        let mut stage = Stage::new("renewal", Some(20));
        assert_eq!(stage.after(19), Wanted::Running, "the first token is waited for");
        for age in [0, 3, 10, -2, 0] {
            stage.renew(age);
            assert_eq!(stage.after(0), Wanted::Running, "{age}");
            assert_eq!(stage.after(19), Wanted::Running, "{age}");
        }
        assert_eq!(stage.after(1), Wanted::Ended);
    }

    #[test]
    fn the_same_token_and_what_is_none_renew_nothing() {
        let mut stage = Stage::new("lapse", Some(20));
        stage.renew(0);
        let token = fs::read_to_string(stage.directory.join(control::LEASE)).unwrap();
        assert_eq!(stage.after(0), Wanted::Running);
        let revoked = Mark::Revoked(stage.time() + 2000).to_string();
        for content in [token.as_str(), "", "soon", &revoked, &format!("{token}\n")] {
            stage.write(control::LEASE, content);
            assert_eq!(stage.after(3), Wanted::Running);
        }
        assert_eq!(stage.after(5), Wanted::Ended);
    }

    #[test]
    fn the_token_of_a_pods_creation_renews_nothing() {
        let mut stage = Stage::new("first", Some(20));
        stage.write(control::LEASE, Mark::FIRST.to_string());
        assert_eq!(stage.after(19), Wanted::Running);
        assert_eq!(stage.after(1), Wanted::Ended);
    }

    #[test]
    fn a_token_that_never_comes_is_not_waited_for_longer() {
        let mut stage = Stage::new("tokenless", Some(10));
        assert_eq!(stage.after(10), Wanted::Ended);
    }

    #[test]
    fn a_token_that_was_long_on_its_way_is_worth_less() {
        for (age, left) in [(11, 19), (15, 15), (29, 5), (30, 5), (5000, 5), (-15, 15)] {
            let mut stage = Stage::new(&format!("old{age}"), Some(20));
            assert_eq!(stage.after(15), Wanted::Running);
            stage.renew(age);
            assert_eq!(stage.after(0), Wanted::Running);
            assert_eq!(stage.after(left - 1), Wanted::Running, "{age} s old");
            assert_eq!(stage.after(1), Wanted::Ended, "{age} s old");
        }
    }

    #[test]
    fn tokens_that_are_told_again_revive_nothing() {
        // A kubelet whose connection was broken hears all that it missed, one after the other.
        let mut stage = Stage::new("again", Some(20));
        stage.renew(0);
        assert_eq!(stage.after(0), Wanted::Running);
        assert_eq!(stage.after(19), Wanted::Running);
        for age in [49, 42, 35, 28] {
            stage.renew(age);
            assert_eq!(stage.after(0), Wanted::Running, "{age}");
        }
        assert_eq!(stage.after(1), Wanted::Running, "a token of 28 s had 2 s left");
        assert_eq!(stage.after(1), Wanted::Ended);
    }

    #[test]
    fn a_token_that_comes_too_late_revives_nothing() {
        let mut stage = Stage::new("late", Some(10));
        stage.renew(0);
        assert_eq!(stage.after(10), Wanted::Ended);
        stage.renew(0);
        assert_eq!(stage.after(0), Wanted::Ended);
    }

    #[test]
    fn what_is_longer_than_a_token_is_none() {
        let mut stage = Stage::new("long", Some(10));
        stage.write(control::LEASE, "1".repeat(100_000));
        assert_eq!(stage.after(9), Wanted::Running);
        assert_eq!(stage.after(1), Wanted::Ended);
    }

    #[test]
    fn a_suspended_job_needs_its_lease_too() {
        let mut stage = Stage::new("both", Some(10));
        stage.write(control::SUSPEND, "true");
        for _ in 0..3 {
            stage.renew(0);
            assert_eq!(stage.after(9), Wanted::Suspended);
        }
        assert_eq!(stage.after(10), Wanted::Ended);
    }
}
