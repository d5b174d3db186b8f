//! The files through which `prepare`, the starter and `transfer` find each other.
//!
//! Invariant: a file appears whole or not at all.

use std::{fs, io, path::Path};

use duj_protocol::transfer::{Brought, handshake};

/// Writes the file `name` by a rename.
pub(crate) fn write(directory: &Path, name: &str, content: &str) -> io::Result<()> {
    let unfinished = directory.join(format!(".{name}.{}", std::process::id()));
    fs::write(&unfinished, content)
        .and_then(|()| fs::rename(&unfinished, directory.join(name)))
        .inspect_err(|_| drop(fs::remove_file(&unfinished)))
}

/// What `prepare` brought; nothing where it has not run.
pub(crate) fn brought(directory: &Path) -> Brought {
    let text = fs::read_to_string(directory.join(handshake::BROUGHT)).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_default()
}

/// The checkpoint that the starter asks for.
pub(crate) fn checkpoint_wanted(directory: &Path) -> Option<u64> {
    fs::read_to_string(directory.join(handshake::CHECKPOINT_WANTED)).ok()?.trim().parse().ok()
}
