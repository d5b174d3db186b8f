//! The job's program among its inputs.
//!
//! Invariant: what is made executable can be executed by the kernel: it is an ELF file, or says by `#!` what runs it.

use std::{fs::Permissions, io::Read as _, os::unix::fs::PermissionsExt as _};

use crate::{
    fault::Fault,
    names,
    tree::{Kind, Tree},
};

/// Hold code of a program that cannot be started.
const NOT_STARTED: i32 = 6;
const ENOEXEC: i32 = 8;
const EISDIR: i32 = 21;

/// Makes the file executable for everyone.
pub(crate) fn make(tree: &Tree, name: &str) -> Result<(), Fault> {
    let path = names::relative(name).map_err(|words| Fault::permanent(22, words))?;
    let found = tree.look(&path)?;
    if found.kind == Kind::Directory {
        return Err(Fault::permanent(EISDIR, format!("the executable '{name}' is a directory")));
    }
    let mut file = tree.open_file(&found)?;
    let mut start = Vec::new();
    let read = file.by_ref().take(4).read_to_end(&mut start);
    read.map_err(|error| tree.fault(&error, &path))?;
    if !start.starts_with(b"#!") && start != *b"\x7fELF" {
        let detail = format!(
            "the script './{}' has no '#!' line: write for example '#!/bin/sh' as its first line",
            names::shown(&path)
        );
        return Err(Fault::permanent(ENOEXEC, detail).with_code(NOT_STARTED));
    }
    let changed = file.set_permissions(Permissions::from_mode(0o755));
    changed
        .map_err(|error| Fault::io(&error, &format!("making '{}' executable", names::shown(&path))))
}
