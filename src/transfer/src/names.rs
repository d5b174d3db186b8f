//! Names of files as they stand in plans, in URLs and in messages.
//!
//! Invariant: a relative path that this module has passed stays in the directory that it is relative to.

use std::{
    ffi::OsStr,
    fmt::Write as _,
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::{Path, PathBuf},
};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};
use url::Url;

/// In a URL's path everything else is escaped.
const IN_A_PATH: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// The path, where it is relative and has neither `..` nor `.` nor empty parts.
pub(crate) fn relative(text: &str) -> Result<PathBuf, String> {
    let refused =
        |part: &str| part.is_empty() || part == "." || part == ".." || part.contains('\0');
    if text.split('/').any(refused) {
        return Err(format!("'{}' is not a relative path without '..'", one_line(text, 200)));
    }
    Ok(PathBuf::from(text))
}

/// One line of at most `max` bytes without control characters.
pub(crate) fn one_line(text: &str, max: usize) -> String {
    let mut line = String::new();
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|w| !w.is_empty())
    {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    if line.len() > max {
        line.truncate(line.floor_char_boundary(max.saturating_sub('…'.len_utf8())));
        line.push('…');
    }
    line
}

/// The URL without user, password, query and fragment.
pub(crate) fn public_url(text: &str) -> String {
    let Ok(mut url) = Url::parse(text) else {
        return one_line(text.split(['?', '#']).next().unwrap_or_default(), 200);
    };
    // Both are refused only where there is no host, and then there is nothing to hide.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.set_fragment(None);
    url.into()
}

/// A file's name for a message: one line, readable.
pub(crate) fn shown(path: &Path) -> String {
    one_line(&escaped(path.as_os_str()), 300)
}

/// Bytes that are not UTF-8 as `\xNN`, a backslash as `\\`.
pub(crate) fn escaped(name: &OsStr) -> String {
    let mut text = String::new();
    for chunk in name.as_bytes().utf8_chunks() {
        text.push_str(&chunk.valid().replace('\\', r"\\"));
        for byte in chunk.invalid() {
            let _ = write!(text, "\\x{byte:02X}"); // a String takes everything
        }
    }
    text
}

/// For the path of a URL.
pub(crate) fn encoded(path: &Path) -> String {
    percent_encode(path.as_os_str().as_bytes(), IN_A_PATH).to_string()
}

/// What comes last in a URL's path, decoded.
pub(crate) fn last_of_url(url: &Url) -> Option<PathBuf> {
    let last = url.path_segments()?.next_back().filter(|last| !last.is_empty())?;
    let bytes: Vec<u8> = percent_decode_str(last).collect();
    let name = PathBuf::from(std::ffi::OsString::from_vec(bytes));
    (name.components().count() == 1 && name.file_name() == Some(name.as_os_str())).then_some(name)
}

/// The path with `suffix` at its end.
pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Whether the part of a path has `*`, `?` or `[` in it.
pub(crate) fn is_pattern(part: &OsStr) -> bool {
    part.as_bytes().iter().any(|byte| b"*?[".contains(byte))
}

/// Whether a name matches one part of a pattern, by the rules of `glob(3)` without its backslash: a name that begins
/// with a dot is matched by a dot only.
pub(crate) fn matches(pattern: &OsStr, name: &OsStr) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    if name.first() == Some(&b'.') && pattern.first() != Some(&b'.') {
        return false;
    }
    let (mut at, mut from) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while from < name.len() {
        if pattern.get(at) == Some(&b'*') {
            star = Some((at + 1, from));
            at += 1;
        } else if let Some(next) = one(pattern, at, name, from) {
            (at, from) = (next, from + width(&name[from..]));
        } else if let Some((after, tried)) = star {
            let tried = tried + 1;
            star = Some((after, tried));
            (at, from) = (after, tried);
        } else {
            return false;
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

/// Bytes of the first character; a byte that is not UTF-8 is a character.
fn width(name: &[u8]) -> usize {
    let valid = name.utf8_chunks().next().map_or("", |chunk| chunk.valid());
    valid.chars().next().map_or(1, char::len_utf8)
}

/// Where the pattern goes on if its part at `at` matches the name's character at `from`.
fn one(pattern: &[u8], at: usize, name: &[u8], from: usize) -> Option<usize> {
    let character = &name[from..from + width(&name[from..])];
    match pattern.get(at)? {
        b'?' => Some(at + 1),
        b'[' => {
            let Some((end, hit)) = class(&pattern[at + 1..], character) else {
                return (character == b"[").then_some(at + 1); // no ']': the bracket itself
            };
            hit.then_some(at + 1 + end)
        }
        _ => pattern[at..].starts_with(character).then_some(at + character.len()),
    }
}

/// The class after a `[`: how long it is with its `]`, and whether the character is in it.
fn class(pattern: &[u8], character: &[u8]) -> Option<(usize, bool)> {
    let inverted = matches!(pattern.first(), Some(b'!' | b'^'));
    let mut at = usize::from(inverted);
    let (first, mut hit) = (at, false);
    loop {
        let rest = pattern.get(at..).filter(|rest| !rest.is_empty())?;
        if rest[0] == b']' && at > first {
            return Some((at + 1, hit != inverted));
        }
        let low = &rest[..width(rest)];
        at += low.len();
        let ranged =
            pattern.get(at) == Some(&b'-') && pattern.get(at + 1).is_some_and(|c| *c != b']');
        let high = if ranged {
            let rest = &pattern[at + 1..];
            at += 1 + width(rest);
            &rest[..width(rest)]
        } else {
            low
        };
        // The bytes of UTF-8 are in the order of its characters.
        hit |= (low..=high).contains(&character);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_as_glob_3_does() {
        let cases = [
            ("*", "a", true),
            ("*", ".a", false),
            (".*", ".a", true),
            ("*.txt", "a.txt", true),
            ("*.txt", "a.txt.gz", false),
            ("a*b*c", "a__b__b__c", true),
            ("a*b*c", "a__c__b", false),
            ("?", "é", true),
            ("??", "é", false),
            ("[a-c]x", "bx", true),
            ("[!a-c]x", "bx", false),
            ("[^a-c]x", "dx", true),
            ("[]]", "]", true),
            ("[a-]", "-", true),
            ("[à-ü]", "é", true),
            ("[ab", "[ab", true),
            ("out_[0-9][0-9].dat", "out_07.dat", true),
            ("out_[0-9][0-9].dat", "out_7.dat", false),
            ("", "", true),
        ];
        for (pattern, name, expected) in cases {
            assert_eq!(
                matches(OsStr::new(pattern), OsStr::new(name)),
                expected,
                "{pattern} {name}"
            );
        }
        assert!(matches(OsStr::new("a?b"), OsStr::from_bytes(b"a\xffb")));
    }

    #[test]
    fn a_path_that_leads_out_is_refused() {
        for good in ["a", "a/b", ".a", "a b/ü", "..a", "a.."] {
            assert_eq!(relative(good), Ok(PathBuf::from(good)));
        }
        for bad in ["", "/a", "a/", "a//b", ".", "..", "a/../b", "./a", "a\0b"] {
            assert!(relative(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_url_loses_what_is_secret() {
        let cases = [
            ("https://me:pw@host:81/a%20b?X-Sig=1#f", "https://host:81/a%20b"),
            ("s3://bucket/key", "s3://bucket/key"),
            ("not a url?secret", "not a url"),
        ];
        for (url, expected) in cases {
            assert_eq!(public_url(url), expected);
        }
    }

    #[test]
    fn the_last_of_a_url_is_one_name() {
        let name = |url: &str| last_of_url(&Url::parse(url).unwrap());
        assert_eq!(name("http://h/a/b%20c?q"), Some(PathBuf::from("b c")));
        for none in ["http://h/", "http://h/a/", "http://h/a%2Fb", "http://h/%2e%2e%2f"] {
            assert_eq!(name(none), None, "{none}");
        }
    }

    #[test]
    fn names_are_escaped_so_that_they_come_back() {
        assert_eq!(escaped(OsStr::from_bytes(b"a\\\xffb\xc3\xa9")), r"a\\\xFFbé");
        assert_eq!(encoded(Path::new("a b/ü%\n")), "a%20b/%C3%BC%25%0A");
        assert_eq!(one_line("a \n\t b\u{1b}[0m", 40), "a b [0m");
    }
}
