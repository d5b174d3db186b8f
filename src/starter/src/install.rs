//! `starter install <file>`: puts the starter's own binary where another container can execute it.
//!
//! Invariant: the file appears whole or not at all, because the other container may start at any time.

use std::{
    ffi::OsString,
    fs::{self, File, Permissions},
    io,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::Path,
};

/// Everyone may execute it, nobody may change it.
const MODE: u32 = 0o555;

/// Copies this binary to `target`, whose directory exists; replaces what is there.
pub(crate) fn install(target: &Path) -> io::Result<()> {
    let mut name = OsString::from(".");
    name.push(target.file_name().ok_or(io::ErrorKind::InvalidInput)?);
    name.push(format!(".{}", std::process::id()));
    let unfinished = target.with_file_name(name);
    copy_to(&unfinished)
        .and_then(|()| fs::rename(&unfinished, target))
        .inspect_err(|_| drop(fs::remove_file(&unfinished)))
}

fn copy_to(unfinished: &Path) -> io::Result<()> {
    let mut source = File::open("/proc/self/exe")?;
    let mut copy =
        File::options().write(true).create(true).truncate(true).mode(0o755).open(unfinished)?;
    io::copy(&mut source, &mut copy)?;
    // The mode given at creation is subject to the umask.
    copy.set_permissions(Permissions::from_mode(MODE))
}
