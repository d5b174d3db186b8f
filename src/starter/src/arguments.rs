//! The starter's command line, read by hand: an argument parser would be larger than the starter.
//!
//! Invariant: what [`parse`] returns can be acted upon as it is; everything else is a [`UsageError`].

mod values;

#[cfg(test)]
mod tests;

use std::{ffi::OsString, path::PathBuf, time::Duration};

use duj_protocol::flags;
use nix::sys::signal::Signal;

use values::{
    control, exit_code, handshake, number, scratch_directory, signal, stream, written_stream,
};

/// What is printed for `--help` and after a wrong invocation.
pub(crate) const USAGE: &str = "\
usage: starter run --scratch <directory> [--also-count <directory>]... [--disk-limit <bytes>]
                   [--kill-sig <signal>] [--max-vacate-time <seconds>] [--record <file>]
                   [--control <directory> [--lease-duration <seconds>]]
                   [--threads <number>] [--given <name>[,<name>]...]
                   [--input <file>] [--output <file>] [--error <file>] [--tell-left]
                   [--handshake <directory> [--image-command] [--checkpoint-exit-code <number>]]
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
    /// The files of the command's streams.
    pub(crate) streams: StreamSettings,
    /// Where the program that transfers files waits for the end: absolute.
    pub(crate) handshake: Option<PathBuf>,
    /// Whether the command is the image's own. Then there is a [`Settings::handshake`].
    pub(crate) image_command: bool,
    /// The exit code of a command that is to be started again. With it there is a [`Settings::handshake`].
    pub(crate) checkpoint_exit_code: Option<i32>,
    /// Whether the record says what was left.
    pub(crate) tell_left: bool,
    /// The user's executable, by name or path, and its arguments; for the image's own command, which may have none,
    /// what takes its CMD's place.
    pub(crate) words: Vec<OsString>,
}

/// The files of the command's streams; what has none is the starter's own, and its input `/dev/null`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct StreamSettings {
    /// Absolute, or in the scratch directory.
    pub(crate) input: Option<PathBuf>,
    /// In the scratch directory.
    pub(crate) output: Option<PathBuf>,
    /// In the scratch directory; it may be the same file.
    pub(crate) error: Option<PathBuf>,
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
    let mut streams = StreamSettings::default();
    let (mut handshake_directory, mut checkpoint_exit_code) = (None, None);
    let (mut image_command, mut tell_left) = (false, false);
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
            flags::INPUT => streams.input = Some(stream(&name, value()?)?),
            flags::OUTPUT => streams.output = Some(written_stream(&name, value()?)?),
            flags::ERROR => streams.error = Some(written_stream(&name, value()?)?),
            flags::HANDSHAKE => handshake_directory = Some(PathBuf::from(value()?)),
            flags::IMAGE_COMMAND => image_command = true,
            flags::CHECKPOINT_EXIT_CODE => {
                checkpoint_exit_code = Some(exit_code(&name, &value()?)?);
            }
            flags::TELL_LEFT => tell_left = true,
            _ => return Err(format!("unknown flag '{name}' before '--'")),
        }
    }
    let words: Vec<_> = words.collect();
    if words.is_empty() && !image_command {
        return Err("the executable after '--' is missing".into());
    }
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
        streams,
        handshake: handshake(
            handshake_directory,
            [
                (flags::IMAGE_COMMAND, image_command),
                (flags::CHECKPOINT_EXIT_CODE, checkpoint_exit_code.is_some()),
            ],
        )?,
        image_command,
        checkpoint_exit_code,
        tell_left,
        words,
    })
}
