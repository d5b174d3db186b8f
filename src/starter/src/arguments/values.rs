//! What the flags' values mean.
//!
//! Invariant: a value that cannot be acted upon is refused here, with one line that names the flag or the value.

use std::{
    ffi::{OsStr, OsString},
    path::{Component, Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use duj_protocol::flags;
use nix::sys::signal::Signal;

use super::ControlSettings;

/// The scratch directory's parent is measured, so it must not be the root.
pub(super) fn scratch_directory(value: OsString) -> Result<PathBuf, String> {
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
pub(super) fn control(
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

pub(super) fn number(flag: &str, value: &OsStr) -> Result<u64, String> {
    value.to_str().and_then(|text| text.parse().ok()).ok_or_else(|| {
        format!("flag '{flag}' takes a whole number, not '{}'", value.to_string_lossy())
    })
}

/// Accepts what HTCondor accepts for `kill_sig`: `SIGTERM`, `TERM` and `15`.
pub(super) fn signal(value: &OsStr) -> Result<Signal, String> {
    let text = value.to_string_lossy();
    let by_number = text.parse::<i32>().ok().and_then(|number| Signal::try_from(number).ok());
    by_number
        .or_else(|| Signal::from_str(&text).ok())
        .or_else(|| Signal::from_str(&format!("SIG{text}")).ok())
        .ok_or_else(|| {
            format!("unknown signal '{text}': write a name such as 'SIGTERM' or its number")
        })
}

/// A file of the command's streams. A relative one is the job's, in its scratch directory.
pub(super) fn stream(flag: &str, value: OsString) -> Result<PathBuf, String> {
    let path = PathBuf::from(value);
    let named = path.file_name().is_some();
    if named && (path.is_absolute() || !path.components().any(|part| part == Component::ParentDir))
    {
        return Ok(path);
    }
    Err(format!("flag '{flag}' takes a file without '..', not '{}'", path.display()))
}

/// A stream that the command writes is followed, and counts as scratch: it is nowhere else.
pub(super) fn written_stream(flag: &str, value: OsString) -> Result<PathBuf, String> {
    let path = stream(flag, value)?;
    if path.is_relative() {
        return Ok(path);
    }
    Err(format!(
        "flag '{flag}' takes a file relative to the scratch directory, not '{}'",
        path.display()
    ))
}

/// What leaves its answer in the handshake directory needs one.
pub(super) fn handshake(
    directory: Option<PathBuf>,
    needing: [(&str, bool); 2],
) -> Result<Option<PathBuf>, String> {
    match (directory, needing.iter().find(|(_, given)| *given)) {
        (None, Some((flag, _))) => Err(format!("flag '{flag}' needs flag '{}'", flags::HANDSHAKE)),
        (Some(directory), _) if !directory.is_absolute() => Err(format!(
            "the handshake directory '{}' must be an absolute path",
            directory.display()
        )),
        (directory, _) => Ok(directory),
    }
}

/// An exit code is a byte.
pub(super) fn exit_code(flag: &str, value: &OsStr) -> Result<i32, String> {
    let code = number(flag, value)?;
    u8::try_from(code)
        .map(i32::from)
        .map_err(|_| format!("flag '{flag}' takes an exit code up to 255, not '{code}'"))
}
