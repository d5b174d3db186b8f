//! `$F…()`: the parts of a path.
//!
//! Invariant: a path is text; nothing is looked up, and what is asked for and not there is empty.

use duj_api::names;

/// Whether letters behind an `F` say which parts are wanted.
pub(super) fn are_parts(letters: &str) -> bool {
    letters.chars().all(|letter| "fpduwnxbqa".contains(letter.to_ascii_lowercase()))
}

/// The parts of a path: `p` its directory, `d` (or `dd`, …) the last one (or two, …) of its directories, `n` the name, `x` the
/// extension with its dot. `f` makes it absolute, `u` and `w` turn the slashes of the other system, `b` leaves out the slash or
/// the dot at the end that faces another part, `q` puts it in double quotes, `qa` in single ones.
pub(super) fn parts(letters: &str, text: &str) -> String {
    let wants = |letter: char| letters.chars().any(|c| c.to_ascii_lowercase() == letter);
    let mut path = unquoted(text).to_owned();
    if wants('f') && !path.starts_with('/') {
        path = format!("{}/{path}", names::SCRATCH);
    }
    if wants('u') {
        path = path.replace('\\', "/");
    }
    if wants('w') {
        path = path.replace('/', "\\");
    }
    let directories = letters.chars().filter(|c| c.eq_ignore_ascii_case(&'d')).count();
    let all = !(wants('p') || wants('n') || wants('x') || directories > 0);
    let part = if all {
        &*path
    } else {
        let wanted = Wanted {
            directory: wants('p') || directories > 0,
            last: directories,
            name: wants('n'),
            extension: wants('x'),
            bare: wants('b'),
        };
        wanted.of(&path)
    };
    match (wants('q'), wants('a')) {
        (false, _) => part.to_owned(),
        (true, false) => format!("\"{part}\""),
        (true, true) => format!("'{part}'"),
    }
}

#[allow(clippy::struct_excessive_bools, reason = "one for each letter")]
struct Wanted {
    directory: bool,
    /// So many of its directories; all where 0.
    last: usize,
    name: bool,
    extension: bool,
    bare: bool,
}

impl Wanted {
    /// From the first part that is wanted and there to the last one.
    fn of<'a>(&self, path: &'a str) -> &'a str {
        let name = path.rfind('/').map_or(0, |slash| slash + 1);
        // A dot in front of everything begins a name, not an extension.
        let dot = path[name..].rfind('.').filter(|dot| *dot > 0);
        let extension = dot.map_or(path.len(), |dot| name + dot);
        let directory = self.directory && name > 0;
        let begin = if directory {
            self.directory_of(&path[..name])
        } else if self.name {
            name
        } else if self.extension {
            extension
        } else {
            return "";
        };
        let end = if self.extension {
            path.len()
        } else if self.name {
            extension
        } else {
            name
        };
        let part = &path[begin.min(end)..end];
        match self.bare {
            true if end == name => part.strip_suffix('/').unwrap_or(part),
            true if begin == extension => part.strip_prefix('.').unwrap_or(part),
            _ => part,
        }
    }

    /// Where the wanted directories begin.
    fn directory_of(&self, directory: &str) -> usize {
        if self.last == 0 {
            return 0;
        }
        let inner = directory.strip_suffix('/').unwrap_or(directory);
        let slash = inner.rmatch_indices('/').nth(self.last - 1);
        slash.map_or(0, |(at, _)| at + 1)
    }
}

fn unquoted(text: &str) -> &str {
    let inner = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    inner.unwrap_or(text)
}
