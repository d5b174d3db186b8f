//! Starts the user's command.
//!
//! Invariant: the command finds what it would find under Docker without a terminal: a session of its own,
//! every signal at its default and none blocked, the starter's own streams, limits and umask.

use std::{
    ffi::{CString, OsStr, OsString},
    io,
    mem::transmute,
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::Path,
};

use nix::{
    errno::Errno,
    libc::sigset_t,
    spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawn},
    sys::signal::SigSet,
    unistd::Pid,
};

/// Executes the file at `path`. `posix_spawn` and not the standard library's `Command`: that one hands a
/// file without `#!` to `/bin/sh`, and its child needs unsafe code to get a session.
pub(crate) fn spawn(
    path: &Path,
    name: &OsStr,
    arguments: &[OsString],
    environment: Vec<(OsString, OsString)>,
) -> Result<Pid, Errno> {
    let mut words = vec![c_string(name.as_bytes())?];
    for argument in arguments {
        words.push(c_string(argument.as_bytes())?);
    }
    let mut variables = Vec::with_capacity(environment.len());
    for (name, value) in environment {
        let mut variable = name.into_vec();
        variable.push(b'=');
        variable.extend(value.into_vec());
        variables.push(c_string(variable)?);
    }
    posix_spawn(path, &PosixSpawnFileActions::init()?, &attributes()?, &words, &variables)
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
