//! Which file the user's command is, and why it cannot be started if it cannot.
//!
//! Invariant: no shell is ever asked; the search is `execvp`'s, except that a file without `#!` is not
//! handed to `/bin/sh`.

use std::{
    ffi::{OsStr, OsString},
    fmt::Write as _,
    fs::{self, File},
    io::{self, Read},
    os::unix::{ffi::OsStrExt, fs::PermissionsExt},
    path::{Path, PathBuf},
};

use nix::errno::Errno;
use rustix::fs::{Access, access};

use crate::binary_format::{Format, HEAD, examine};

/// Docker's `PATH` for an image and a job that set none.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Longest command and longest list of arguments in a message, so that the reason behind them fits too.
const LONGEST_COMMAND: usize = 250;
const LONGEST_ARGUMENTS: usize = 200;

/// The command cannot be started.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) errno: Errno,
    /// What is wrong, beyond the system's word for the number.
    pub(crate) hint: Option<String>,
}

impl Fault {
    /// HTCondor's words for it, with the hint behind them.
    pub(crate) fn message(&self, executable: &OsStr, arguments: &[OsString]) -> String {
        let command = on_one_line(&executable.to_string_lossy(), LONGEST_COMMAND);
        let mut message = format!("failed to execute '{command}'");
        if !arguments.is_empty() {
            let joined = arguments.join(OsStr::new(" "));
            let joined = on_one_line(&joined.to_string_lossy(), LONGEST_ARGUMENTS);
            let _ = write!(message, " with arguments {joined}");
        }
        let _ = write!(message, ": (errno={}: '{}')", self.errno as i32, self.errno.desc());
        if let Some(hint) = &self.hint {
            message.push_str(": ");
            message.push_str(&on_one_line(hint, LONGEST_COMMAND + LONGEST_ARGUMENTS));
        }
        message
    }

    /// The exit code that shells give it.
    pub(crate) fn exit_code(&self) -> i32 {
        if self.errno == Errno::ENOENT { 127 } else { 126 }
    }
}

/// Finds the file to execute. A name with a slash is a path, from the current directory if it is relative.
/// Anything else is searched for in `path`.
pub(crate) fn locate(executable: &OsStr, path: Option<&OsStr>) -> Result<PathBuf, Fault> {
    if executable.is_empty() {
        return Err(Fault {
            errno: Errno::ENOENT,
            hint: Some("the executable's name is empty".into()),
        });
    }
    if executable.as_bytes().contains(&b'/') {
        let path = PathBuf::from(executable);
        return match check(&path) {
            Ok(()) => Ok(path),
            Err(errno) => Err(explain(&path, errno)),
        };
    }
    let directories = path.unwrap_or(OsStr::new(DEFAULT_PATH));
    let mut refused = None;
    for directory in directories.as_bytes().split(|byte| *byte == b':') {
        // An empty element is the current directory, as in every Unix.
        let directory = if directory.is_empty() { b"." } else { directory };
        let candidate = Path::new(OsStr::from_bytes(directory)).join(executable);
        match check(&candidate) {
            Ok(()) => return Ok(candidate),
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::EISDIR) => {}
            Err(errno) => refused = refused.or(Some(explain(&candidate, errno))),
        }
    }
    Err(refused.unwrap_or_else(|| not_in_path(executable, directories)))
}

fn not_in_path(executable: &OsStr, directories: &OsStr) -> Fault {
    let name = executable.to_string_lossy();
    let hint = if Path::new(executable).exists() {
        format!("it is in the scratch directory, which is not in PATH: write './{name}'")
    } else {
        format!("it is in no directory of PATH '{}'", directories.to_string_lossy())
    };
    Fault { errno: Errno::ENOENT, hint: Some(hint) }
}

/// Whether this is a file that may be executed; links are followed.
fn check(path: &Path) -> Result<(), Errno> {
    let metadata = fs::metadata(path).map_err(|error| errno_of(&error))?;
    if metadata.is_dir() {
        return Err(Errno::EISDIR);
    }
    access(path, Access::EXEC_OK).map_err(|error| Errno::from_raw(error.raw_os_error()))
}

/// Says what is wrong with a file that `execve` or [`check`] refused with `errno`.
pub(crate) fn explain(path: &Path, errno: Errno) -> Fault {
    let hint = match (errno, fs::metadata(path)) {
        (Errno::EACCES, Ok(metadata)) if metadata.permissions().mode() & 0o111 == 0 => {
            Some(format!("'{}' is not executable: set its mode with 'chmod +x'", path.display()))
        }
        (Errno::EACCES | Errno::ENOENT | Errno::ENOEXEC | Errno::ENOTDIR, Ok(metadata))
            if metadata.is_file() =>
        {
            head(path).ok().and_then(|head| explain_format(errno, &examine(&head)))
        }
        _ => None,
    };
    Fault { errno, hint }
}

/// The file is there, and yet it cannot be executed.
fn explain_format(errno: Errno, format: &Format) -> Option<String> {
    let hint = match (errno, format) {
        (Errno::ENOENT, Format::Script(interpreter)) if interpreter.ends_with('\r') => format!(
            "the line '#!{}' ends with a carriage return: give the script the line ends of Unix",
            interpreter.trim_end()
        ),
        (Errno::ENOENT | Errno::ENOTDIR, Format::Script(interpreter)) => {
            format!("the interpreter of its line '#!{interpreter}' is missing in the image")
        }
        (Errno::EACCES, Format::Script(interpreter)) => {
            format!("the interpreter of its line '#!{interpreter}' may not be executed")
        }
        (Errno::ENOENT, Format::Elf { loader: Some(loader), .. }) => format!(
            "its dynamic loader '{loader}' is missing in the image: it was built for another C library"
        ),
        (Errno::ENOEXEC, Format::Elf { machine, .. }) if machine != std::env::consts::ARCH => {
            format!("it is a program for {machine}, and this node is {}", std::env::consts::ARCH)
        }
        (Errno::ENOEXEC, Format::Empty) => "it is an empty file".to_owned(),
        (Errno::ENOEXEC, Format::Script(_)) => "its line '#!' names no interpreter".to_owned(),
        (Errno::ENOEXEC, Format::Other) => {
            "it is neither a program nor a script that begins with '#!'".to_owned()
        }
        _ => return None,
    };
    Some(hint)
}

fn head(path: &Path) -> io::Result<Vec<u8>> {
    let mut head = Vec::with_capacity(HEAD);
    File::open(path)?.take(HEAD as u64).read_to_end(&mut head)?;
    Ok(head)
}

/// The system's number of an error; those that the standard library made up itself concern arguments.
pub(crate) fn errno_of(error: &io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EINVAL, Errno::from_raw)
}

/// Without control characters, and cut to `longest` bytes: this ends up in a log of one line per event.
fn on_one_line(text: &str, longest: usize) -> String {
    let mut line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if line.len() > longest {
        line.truncate((0..=longest).rev().find(|end| line.is_char_boundary(*end)).unwrap_or(0));
        line.push_str("...");
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_searched_for_and_a_path_is_not() {
        let path = Some(OsStr::new("/nowhere:/bin"));
        assert_eq!(locate(OsStr::new("sh"), path), Ok("/bin/sh".into()));
        assert_eq!(locate(OsStr::new("/bin/sh"), None), Ok("/bin/sh".into()));
        let fault = locate(OsStr::new("sh"), Some(OsStr::new("/nowhere"))).unwrap_err();
        assert_eq!((fault.errno, fault.exit_code()), (Errno::ENOENT, 127));
        assert_eq!(locate(OsStr::new(""), path).unwrap_err().errno, Errno::ENOENT);
    }

    #[test]
    fn the_default_path_finds_a_shell() {
        assert!(locate(OsStr::new("sh"), None).is_ok());
    }

    #[test]
    fn directories_are_told_from_files_that_may_not_be_executed() {
        let directory = locate(OsStr::new("/tmp"), None).unwrap_err();
        assert_eq!((directory.errno, directory.exit_code()), (Errno::EISDIR, 126));
        let file = locate(OsStr::new("/etc/passwd"), None).unwrap_err();
        assert_eq!(file.errno, Errno::EACCES);
        assert!(file.hint.unwrap().contains("chmod +x"));
        // In PATH a directory is passed over, and a file that may not be executed is what is told.
        let fault = locate(OsStr::new("passwd"), Some(OsStr::new("/etc"))).unwrap_err();
        assert_eq!(fault.errno, Errno::EACCES);
        let fault = locate(OsStr::new("bin"), Some(OsStr::new("/usr"))).unwrap_err();
        assert_eq!(fault.errno, Errno::ENOENT);
    }

    #[test]
    fn the_message_is_one_line_of_bounded_length() {
        let fault = Fault { errno: Errno::ENOENT, hint: Some("gone".into()) };
        assert_eq!(
            fault.message(OsStr::new("./a\nb"), &["1".into(), "two words".into()]),
            "failed to execute './a b' with arguments 1 two words: \
             (errno=2: 'No such file or directory'): gone"
        );
        assert_eq!(
            Fault { errno: Errno::EACCES, hint: None }.message(OsStr::new("x"), &[]),
            "failed to execute 'x': (errno=13: 'Permission denied')"
        );
        let long = fault.message(OsStr::new(&"é".repeat(900)), &["ä".repeat(9000).into()]);
        assert!(long.len() < 600, "{} bytes", long.len());
        assert!(long.ends_with("gone"), "{long}");
    }

    #[test]
    fn every_kind_of_file_has_its_hint() {
        let other = Format::Elf { machine: "vax".into(), loader: None };
        let musl = Format::Elf { machine: "x86_64".into(), loader: Some("/lib/ld-musl".into()) };
        for (errno, format, part) in [
            (Errno::ENOENT, Format::Script("/bin/zsh".into()), "'#!/bin/zsh' is missing"),
            (Errno::ENOENT, Format::Script("/bin/sh\r".into()), "carriage return"),
            (Errno::EACCES, Format::Script("/etc/passwd".into()), "may not be executed"),
            (Errno::ENOENT, musl, "'/lib/ld-musl' is missing"),
            (Errno::ENOEXEC, other, "program for vax"),
            (Errno::ENOEXEC, Format::Empty, "empty file"),
            (Errno::ENOEXEC, Format::Script(String::new()), "names no interpreter"),
            (Errno::ENOEXEC, Format::Other, "neither a program"),
        ] {
            let hint = explain_format(errno, &format).unwrap_or_default();
            assert!(hint.contains(part), "{errno} {format:?} gave '{hint}'");
        }
    }
}
