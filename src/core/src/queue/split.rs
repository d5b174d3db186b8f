//! How a text becomes items, and an item the values of several variables.
//!
//! Invariant: as in `HTCondor`, quotes mean nothing here, and each variable has a value, be it empty.

use std::ops::Range;

/// The lines that are not empty, without the white space around them. A line that begins with `#` is one like any other, as
/// in the files that `queue … from` reads.
pub(super) fn lines(text: &str) -> Vec<Range<usize>> {
    spans(text, text.split('\n').map(str::trim))
}

/// The words between commas and white space.
pub(super) fn words(text: &str) -> Vec<Range<usize>> {
    spans(text, text.split(|c: char| c == ',' || c.is_whitespace()))
}

/// Where the parts stand that are not empty.
fn spans<'a>(text: &'a str, parts: impl Iterator<Item = &'a str>) -> Vec<Range<usize>> {
    let begin = text.as_ptr().addr();
    let span = |part: &str| {
        let at = part.as_ptr().addr() - begin;
        at..at + part.len()
    };
    parts.filter(|part| !part.is_empty()).map(span).collect()
}

/// An item split over several variables: one comma or blank ends a value, blanks after it are skipped, and the last variable
/// takes the rest.
pub(super) fn over<'a>(names: &'a [String], item: &'a str) -> Vec<(&'a str, &'a str)> {
    let mut rest = item.trim();
    let last = names.len().saturating_sub(1);
    let mut values = Vec::with_capacity(names.len());
    for (number, name) in names.iter().enumerate() {
        if number == last {
            values.push((name.as_str(), rest));
            break;
        }
        let end = rest.find([',', ' ', '\t']).unwrap_or(rest.len());
        let (value, behind) = rest.split_at(end);
        values.push((name, value));
        let mut behind = behind.chars();
        behind.next();
        rest = behind.as_str().trim_start();
    }
    values
}
