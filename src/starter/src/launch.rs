//! Starts the user's command.
//!
//! Invariant: the command finds what it would find under Docker without a terminal: a session of its own,
//! every signal at its default and none blocked, the starter's own limits and umask, and its own streams where the user named
//! no files.

use std::{
    ffi::{CString, OsStr, OsString},
    io,
    mem::transmute,
    os::{
        fd::{AsRawFd, OwnedFd, RawFd},
        unix::ffi::{OsStrExt, OsStringExt},
    },
    path::Path,
};

use nix::{
    errno::Errno,
    libc::sigset_t,
    spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawn},
    sys::signal::SigSet,
    unistd::Pid,
};

/// Executes the file at `path` with these words (its own name first), variables and files, of which each becomes the
/// descriptors that stand with it. `posix_spawn` and not the standard library's `Command`: that one hands a
/// file without `#!` to `/bin/sh`, and its child needs unsafe code to get a session.
pub(crate) fn spawn(
    path: &Path,
    (name, arguments): (&OsStr, &[OsString]),
    environment: &[(OsString, OsString)],
    files: &[(OwnedFd, &'static [RawFd])],
) -> Result<Pid, Errno> {
    let mut words = vec![c_string(name.as_bytes())?];
    for argument in arguments {
        words.push(c_string(argument.as_bytes())?);
    }
    let mut variables = Vec::with_capacity(environment.len());
    for (name, value) in environment {
        let mut variable = name.clone().into_vec();
        variable.push(b'=');
        variable.extend(value.as_bytes());
        variables.push(c_string(variable)?);
    }
    posix_spawn(path, &actions(files)?, &attributes()?, &words, &variables)
}

/// The standard library sees to it that descriptors 0 to 2 are taken when a program begins, so no file has one of them.
fn actions(files: &[(OwnedFd, &'static [RawFd])]) -> Result<PosixSpawnFileActions, Errno> {
    let mut actions = PosixSpawnFileActions::init()?;
    for (file, becomes) in files {
        for descriptor in *becomes {
            actions.add_dup2(file.as_raw_fd(), *descriptor)?;
        }
    }
    Ok(actions)
}

fn attributes() -> Result<PosixSpawnAttr, Errno> {
    // nix knows the flag only as a constant of libc, in the C header's own type.
    let session = PosixSpawnFlags::from_bits_retain(nix::libc::POSIX_SPAWN_SETSID.into());
    let mut attributes = PosixSpawnAttr::init()?;
    attributes.set_flags(
        session | PosixSpawnFlags::POSIX_SPAWN_SETSIGDEF | PosixSpawnFlags::POSIX_SPAWN_SETSIGMASK,
    )?;
    attributes.set_sigdefault(&every_signal())?;
    attributes.set_sigmask(&SigSet::empty())?;
    Ok(attributes)
}

/// All 64 signals. `SigSet::all` leaves out the two that the C library keeps to itself, and what
/// `posix_spawn` is not told to set to its default it leaves ignored in the command.
#[allow(unsafe_code, reason = "neither nix nor the C library builds a set with those two")]
fn every_signal() -> SigSet {
    let bits = [u8::MAX; size_of::<sigset_t>()];
    // SAFETY: both types have this size, and a `sigset_t` is an array of bits that are all free to be set.
    // The set is only read bit by bit, by `posix_spawn`.
    unsafe {
        SigSet::from_sigset_t_unchecked(transmute::<[u8; size_of::<sigset_t>()], sigset_t>(bits))
    }
}

/// The kernel cannot have handed over a string with a zero in it, so this does not fail for its words.
fn c_string(bytes: impl Into<Vec<u8>>) -> Result<CString, Errno> {
    CString::new(bytes).map_err(|error| crate::executable::errno_of(&io::Error::from(error)))
}
