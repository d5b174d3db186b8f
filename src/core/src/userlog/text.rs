//! The texts that users and the cluster control, made fit to stand in a user log.
//!
//! Invariant: a value of these types holds no line break, no control and no character that reorders
//! what a person sees, is no longer than its bound, and does not change when it is made again from
//! its own text. The writer therefore checks nothing, and no reason can forge an event.

use std::{cmp::Ordering, fmt};

/// What ends a text that was cut at its bound.
const CUT: &str = "…";

/// One line of free text: a reason, a message, a note. Empty means "none", as in `HTCondor`.
///
/// A line break becomes `|`, as in `HTCondor` (`set_reason_member`); a carriage return or a tab
/// becomes a blank; other controls, line separators and bidirectional overrides are written as
/// escapes. Blanks around the text are dropped, for `HTCondor`'s reader drops them too.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Line(Box<str>);

impl Line {
    /// The bound, in bytes. `HTCondor`'s reader has 1,024 bytes for the first line of an event, and
    /// takes what does not fit for the next line; event 008 has its text there, behind the header.
    pub const MAX_BYTES: usize = 960;

    /// Makes `text` a line.
    pub fn new(text: &str) -> Self {
        Self(bounded(single_line(text), Self::MAX_BYTES).into())
    }

    /// Makes `text` a `ClassAd` string literal, as property values of event 001 want it.
    ///
    /// The log has the old `ClassAd` syntax, where only `\"` is an escape; so a backslash in front
    /// of the closing quote cannot be said, and becomes a slash.
    pub fn quoted(text: &str) -> Self {
        let inner = single_line(text).replace('"', "\\\"");
        let mut inner = bounded(inner, Self::MAX_BYTES - 2);
        if inner.ends_with('\\') {
            inner.pop();
            inner.push('/');
        }
        Self(format!("\"{inner}\"").into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether there is no text.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// One word that names a machine, a slot, a daemon or an address: `slot1_1@node1`,
/// `<10.0.0.9:9618>`.
///
/// Beyond a [`Line`]'s rules it has no blank, comma or double quote (each would be `_`), for
/// `HTCondor`'s reader ends some names there, and no leading dot: the reader takes a host that
/// begins with `...` for the end of the event.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(Box<str>);

impl Name {
    /// The bound, in bytes: two names and an attribute fit the first line of an event, see
    /// [`Line::MAX_BYTES`]. The longest name in Kubernetes has 253.
    pub const MAX_BYTES: usize = 400;

    /// Makes `text` a name.
    pub fn new(text: &str) -> Self {
        let line = single_line(text);
        let dots = line.len() - line.trim_start_matches('.').len();
        let word = line.char_indices().map(|(at, c)| {
            if at < dots || c.is_whitespace() || matches!(c, ',' | '"') { '_' } else { c }
        });
        Self(bounded(word.collect(), Self::MAX_BYTES).into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether there is no text.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The name of a `ClassAd` attribute or resource: letters, digits, `_` and, behind the first one, `.`; compared and sorted
/// without regard to case, as `HTCondor` does. (A line that begins with `...` ends an event.)
#[derive(Debug, Clone)]
pub struct Attribute(Box<str>);

impl Attribute {
    /// The bound, in bytes.
    pub const MAX_BYTES: usize = 128;

    /// Makes `text` an attribute name; any other character becomes `_`, and so does no text at all.
    pub fn new(text: &str) -> Self {
        let legal = |(at, c): (usize, char)| {
            if c.is_ascii_alphanumeric() || (c == '.' && at > 0) { c } else { '_' }
        };
        let characters = text.trim().chars().take(Self::MAX_BYTES);
        let name: String = characters.enumerate().map(legal).collect();
        Self(if name.is_empty() { "_".into() } else { name.into() })
    }

    /// The text, in the case it was made with.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Ord for Attribute {
    fn cmp(&self, other: &Self) -> Ordering {
        let lower = |byte: u8| byte.to_ascii_lowercase();
        self.0.bytes().map(lower).cmp(other.0.bytes().map(lower))
    }
}

impl PartialOrd for Attribute {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Attribute {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl Eq for Attribute {}

macro_rules! text_type {
    ($($type:ty),*) => {$(
        impl From<&str> for $type {
            fn from(text: &str) -> Self {
                Self::new(text)
            }
        }

        impl From<String> for $type {
            fn from(text: String) -> Self {
                Self::new(&text)
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    )*};
}

text_type!(Line, Name, Attribute);

/// The one function through which foreign text enters the log: makes it one line without controls.
fn single_line(text: &str) -> String {
    let text = text.trim();
    let mut line = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            '\r' if characters.peek() == Some(&'\n') => {}
            '\n' => line.push('|'),
            '\r' | '\t' => line.push(' '),
            c if misleads(c) => line.extend(c.escape_default()),
            c => line.push(c),
        }
    }
    line
}

/// Whether a character would break a line, end a C string, drive a terminal, or show text in
/// another order than it has.
fn misleads(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{2028}' | '\u{2029}'                         // line and paragraph separator
            | '\u{061c}' | '\u{200e}' | '\u{200f}'          // direction marks
            | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' // embeddings, overrides, isolates
            | '\u{feff}'                                    // byte order mark
        )
}

/// `text`, or as many of its first whole characters as fit `bound` bytes together with the mark.
fn bounded(mut text: String, bound: usize) -> String {
    if text.len() > bound {
        text.truncate(text.floor_char_boundary(bound - CUT.len()));
        text.truncate(text.trim_end().len());
        text.push_str(CUT);
    }
    text
}
