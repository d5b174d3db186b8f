//! The starter's command line, read by hand: an argument parser would be larger than the starter.
//!
//! Invariant: what [`parse`] returns can be acted upon as it is; everything else is a [`UsageError`].

use std::{
    ffi::{OsStr, OsString},
    path::{Component, Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use duj_protocol::flags;
use nix::sys::signal::Signal;

/// What is printed for `--help` and after a wrong invocation.
pub(crate) const USAGE: &str = "\
usage: starter run --scratch <directory> [--also-count <directory>]... [--disk-limit <bytes>]
                   [--kill-sig <signal>] [--max-vacate-time <seconds>] [--record <file>]
                   [--control <directory> [--lease-duration <seconds>]]
                   [--threads <number>] [--given <name>[,<name>]...]
                   -- <executable> [arguments]
       starter install <file>";

/// What the starter is to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Invocation {
    /// Start a command.
    Run(Box<Settings>),
    /// Copy the starter's own binary to this file.
    Install(PathBuf),
    /// Print the usage.
    Help,
    /// Print the version.
    Version,
}

/// The flags of `run` and the command.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    /// Scratch directory: absolute, without `..`, below a directory that is not the root.
    pub(crate) scratch: PathBuf,
    /// What counts as scratch beside the scratch directory's parent.
    pub(crate) also_counted: Vec<PathBuf>,
    /// Bytes allowed in all of it.
    pub(crate) disk_limit: Option<u64>,
    /// The soft-kill signal.
    pub(crate) kill_signal: Signal,
    /// Time between the soft-kill signal and SIGKILL; without it nothing but the kubelet sends SIGKILL.
    pub(crate) max_vacate_time: Option<Duration>,
    /// The termination message; the kubelet's own default without.
    pub(crate) record: Option<PathBuf>,
    /// Where the operator speaks to the job while it runs.
    pub(crate) control: Option<ControlSettings>,
    /// What the thread-count variables say.
    pub(crate) threads: Option<u64>,
    /// Variables that the user gave, of those that are set only where the user did not.
    pub(crate) given: Vec<String>,
    /// Name or path of the user's executable.
    pub(crate) executable: OsString,
    /// Its arguments, without itself.
    pub(crate) arguments: Vec<OsString>,
}

/// Where the operator's files are, and what they are for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ControlSettings {
    /// Absolute.
    pub(crate) directory: PathBuf,
    /// For how long a token is good, not zero; without it there is no lease. With it there is a
    /// [`Settings::max_vacate_time`].
    pub(crate) lease_duration: Option<Duration>,
}

/// The invocation makes no sense.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct UsageError {
    /// One line.
    pub(crate) message: String,
    /// The value of `--record`, where it was read before the error was found.
    pub(crate) record: Option<PathBuf>,
}

/// Reads the arguments that follow the program's name.
pub(crate) fn parse(words: impl Iterator<Item = OsString>) -> Result<Invocation, UsageError> {
    let mut words = words;
    let mut record = None;
    parse_words(&mut words, &mut record).map_err(|message| {
        // The flag that tells where to complain may stand behind the one that is wrong.
        while let Some(word) = words.next().filter(|word| record.is_none() && word != "--") {
            if word == flags::RECORD {
                record = words.next().map(PathBuf::from);
            }
        }
        UsageError { message, record: record.take() }
    })
}

fn parse_words(
    words: &mut impl Iterator<Item = OsString>,
    record: &mut Option<PathBuf>,
) -> Result<Invocation, String> {
    let subcommand = words.next().ok_or("a subcommand is missing: write 'run' or 'install'")?;
    match subcommand.to_str() {
        Some(flags::RUN) => {
            parse_run(words, record).map(|settings| Invocation::Run(Box::new(settings)))
        }
        Some(flags::INSTALL) => match (words.next(), words.next()) {
            (Some(target), None) if !target.is_empty() => Ok(Invocation::Install(target.into())),
            _ => Err("'install' takes the file to write and nothing else".into()),
        },
        Some("--help" | "-h" | "help") => Ok(Invocation::Help),
        Some("--version" | "-V") => Ok(Invocation::Version),
        _ => Err(format!(
            "unknown subcommand '{}': write 'run' or 'install'",
            subcommand.to_string_lossy()
        )),
    }
}

fn parse_run(
    words: &mut impl Iterator<Item = OsString>,
    record: &mut Option<PathBuf>,
) -> Result<Settings, String> {
    let mut scratch = None;
    let mut also_counted = Vec::new();
    let mut disk_limit = None;
    let mut kill_signal = Signal::SIGTERM;
    let mut max_vacate_time = None;
    let mut directory = None;
    let mut lease_duration = None;
    let (mut threads, mut given) = (None, Vec::new());
    loop {
        let flag = words.next().ok_or("'--' and the executable are missing")?;
        if flag == "--" {
            break;
        }
        let name = flag.to_string_lossy();
        let mut value =
            || words.next().ok_or_else(|| format!("the value of flag '{name}' is missing"));
        match &*name {
            flags::SCRATCH => scratch = Some(scratch_directory(value()?)?),
            flags::ALSO_COUNT => also_counted.push(value()?.into()),
            flags::DISK_LIMIT => disk_limit = Some(number(&name, &value()?)?),
            flags::KILL_SIGNAL => kill_signal = signal(&value()?)?,
            flags::MAX_VACATE_TIME => {
                max_vacate_time = Some(Duration::from_secs(number(&name, &value()?)?));
            }
            flags::RECORD => *record = Some(value()?.into()),
            flags::CONTROL => directory = Some(PathBuf::from(value()?)),
            flags::LEASE_DURATION => {
                lease_duration = Some(Duration::from_secs(number(&name, &value()?)?));
            }
            flags::THREADS => threads = Some(number(&name, &value()?)?),
            flags::GIVEN => {
                given = value()?.to_string_lossy().split(',').map(str::to_owned).collect();
            }
            _ => return Err(format!("unknown flag '{name}' before '--'")),
        }
    }
    let executable = words.next().ok_or("the executable after '--' is missing")?;
    let scratch =
        scratch.ok_or_else(|| format!("flag '{}' with a directory is missing", flags::SCRATCH))?;
    Ok(Settings {
        scratch,
        also_counted,
        disk_limit,
        kill_signal,
        max_vacate_time,
        record: record.clone(),
        control: control(directory, lease_duration, max_vacate_time)?,
        threads,
        given,
        executable,
        arguments: words.collect(),
    })
}

/// The scratch directory's parent is measured, so it must not be the root.
fn scratch_directory(value: OsString) -> Result<PathBuf, String> {
    let path = PathBuf::from(value);
    let plain = path.components().skip(1).all(|part| matches!(part, Component::Normal(_)));
    let below = path.parent().is_some_and(|parent| parent != Path::new("/"));
    if path.is_absolute() && plain && below {
        return Ok(path);
    }
    Err(format!(
        "the scratch directory '{}' must be an absolute path without '..', at least two levels below '/'",
        path.display()
    ))
}

/// A lease that nobody can renew, or whose end a job could ignore, is a mistake and not a lease.
fn control(
    directory: Option<PathBuf>,
    lease_duration: Option<Duration>,
    max_vacate_time: Option<Duration>,
) -> Result<Option<ControlSettings>, String> {
    if lease_duration == Some(Duration::ZERO) {
        return Err(format!("flag '{}' takes at least 1 second", flags::LEASE_DURATION));
    }
    for (name, given) in
        [(flags::CONTROL, directory.is_some()), (flags::MAX_VACATE_TIME, max_vacate_time.is_some())]
    {
        if lease_duration.is_some() && !given {
            return Err(format!("flag '{}' needs flag '{name}'", flags::LEASE_DURATION));
        }
    }
    match directory {
        Some(directory) if !directory.is_absolute() => {
            Err(format!("the control directory '{}' must be an absolute path", directory.display()))
        }
        directory => Ok(directory.map(|directory| ControlSettings { directory, lease_duration })),
    }
}

fn number(flag: &str, value: &OsStr) -> Result<u64, String> {
    value.to_str().and_then(|text| text.parse().ok()).ok_or_else(|| {
        format!("flag '{flag}' takes a whole number, not '{}'", value.to_string_lossy())
    })
}

/// Accepts what HTCondor accepts for `kill_sig`: `SIGTERM`, `TERM` and `15`.
fn signal(value: &OsStr) -> Result<Signal, String> {
    let text = value.to_string_lossy();
    let by_number = text.parse::<i32>().ok().and_then(|number| Signal::try_from(number).ok());
    by_number
        .or_else(|| Signal::from_str(&text).ok())
        .or_else(|| Signal::from_str(&format!("SIG{text}")).ok())
        .ok_or_else(|| {
            format!("unknown signal '{text}': write a name such as 'SIGTERM' or its number")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Invocation, UsageError> {
        parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn a_full_command_line_is_understood() {
        let line = "run --scratch /scratch/work --also-count /tmp --also-count /var/tmp --disk-limit 5000 \
                    --kill-sig SIGUSR1 --max-vacate-time 600 --record /r --control /c \
                    --lease-duration 40 --threads 4 --given HOME,TF_NUM_THREADS -- sleep --scratch 3";
        let expected = Settings {
            scratch: "/scratch/work".into(),
            also_counted: vec!["/tmp".into(), "/var/tmp".into()],
            disk_limit: Some(5000),
            kill_signal: Signal::SIGUSR1,
            max_vacate_time: Some(Duration::from_mins(10)),
            record: Some("/r".into()),
            control: Some(ControlSettings {
                directory: "/c".into(),
                lease_duration: Some(Duration::from_secs(40)),
            }),
            threads: Some(4),
            given: vec!["HOME".into(), "TF_NUM_THREADS".into()],
            executable: "sleep".into(),
            arguments: vec!["--scratch".into(), "3".into()],
        };
        assert_eq!(parsed(line), Ok(Invocation::Run(Box::new(expected))));
    }

    #[test]
    fn the_rest_has_defaults() {
        let Ok(Invocation::Run(settings)) = parsed("run --scratch /s/w -- /bin/true") else {
            panic!("refused")
        };
        assert_eq!(settings.kill_signal, Signal::SIGTERM);
        assert_eq!(
            (settings.disk_limit, settings.max_vacate_time, settings.record),
            (None, None, None)
        );
        assert_eq!((settings.control, settings.threads), (None, None));
        assert!(settings.given.is_empty());
    }

    #[test]
    fn signals_go_by_name_and_number() {
        for name in ["SIGHUP", "HUP", "1"] {
            assert_eq!(signal(OsStr::new(name)), Ok(Signal::SIGHUP), "{name}");
        }
        for name in ["", "0", "-1", "99", "SIGNONE", "sigterm"] {
            assert!(signal(OsStr::new(name)).is_err(), "{name}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (line, part) in [
            ("", "subcommand is missing"),
            ("walk", "'walk'"),
            ("install", "'install' takes"),
            ("install a b", "'install' takes"),
            ("run", "are missing"),
            ("run --scratch", "value of flag '--scratch'"),
            ("run --scratch /s/w sleep", "unknown flag 'sleep'"),
            ("run --scratch /s/w --", "executable after '--'"),
            ("run -- sleep", "flag '--scratch'"),
            ("run --scratch s/w -- sleep", "absolute"),
            ("run --scratch /s -- sleep", "two levels"),
            ("run --scratch /s/../w -- sleep", "'..'"),
            ("run --scratch / -- sleep", "two levels"),
            ("run --disk-limit -5 -- sleep", "not '-5'"),
            ("run --max-vacate-time 1h -- sleep", "not '1h'"),
            ("run --kill-sig SIGX -- sleep", "'SIGX'"),
            ("run --scratch /s/w --control c -- sleep", "'c' must be an absolute path"),
            (
                "run --scratch /s/w --max-vacate-time 1 --lease-duration 5 -- sleep",
                "'--lease-duration' needs flag '--control'",
            ),
            (
                "run --scratch /s/w --control /c --lease-duration 5 -- sleep",
                "'--lease-duration' needs flag '--max-vacate-time'",
            ),
            (
                "run --scratch /s/w --max-vacate-time 1 --control /c --lease-duration 0 -- sleep",
                "at least 1 second",
            ),
            ("run --lease-duration -1 -- sleep", "not '-1'"),
            ("run --threads many -- sleep", "not 'many'"),
        ] {
            let error = parsed(line).unwrap_err();
            assert!(error.message.contains(part), "'{line}' gave '{}'", error.message);
        }
    }

    #[test]
    fn the_record_is_known_wherever_the_error_is() {
        for line in ["run --record /r --bad", "run --bad --record /r -- x", "run --record /r -- x"]
        {
            assert_eq!(parsed(line).unwrap_err().record, Some("/r".into()), "{line}");
        }
        assert_eq!(parsed("run --bad -- x --record /r").unwrap_err().record, None);
    }
}
