//! Where a macro stands in a text, and what it is made of.
//!
//! Invariant: what does not have the form of a macro, to its closing parenthesis, is none.

use super::functions::Function;

/// What stands behind a `$`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call<'a> {
    /// `(name)` or `(name:default)`.
    Name { name: &'a str, default: Option<&'a str> },
    /// `NAME(body)`.
    Function { function: Function<'a>, body: &'a str },
}

/// Reads what stands behind a `$`, and how long it is.
pub(super) fn call(text: &str) -> Option<(Call<'_>, usize)> {
    let open = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_')?;
    let (head, body) = text.split_at(open);
    let body = body.strip_prefix('(')?;
    let body = &body[..closing(body)?];
    let call = if head.is_empty() {
        let end = body.find(|c: char| !is_of_name(c)).unwrap_or(body.len());
        let (name, behind) = body.split_at(end);
        let default = behind.strip_prefix(':');
        if name.is_empty() || (default.is_none() && !behind.is_empty()) {
            return None;
        }
        Call::Name { name, default }
    } else {
        Call::Function { function: Function::named(head)?, body }
    };
    Some((call, head.len() + body.len() + 2))
}

fn is_of_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '.')
}

/// Where the parenthesis closes that stands before this text.
fn closing(text: &str) -> Option<usize> {
    let mut open = 0u32;
    for (at, c) in text.bytes().enumerate() {
        match c {
            b'(' => open += 1,
            b')' if open == 0 => return Some(at),
            b')' => open -= 1,
            _ => {}
        }
    }
    None
}

/// The arguments in a body: commas stand between them, but not those within brackets.
pub(super) fn arguments(body: &str) -> Vec<&str> {
    let mut depth = 0i32;
    body.split(|c: char| {
        match c {
            '(' | '{' | '[' => depth += 1,
            ')' | '}' | ']' => depth -= 1,
            _ => {}
        }
        c == ',' && depth <= 0
    })
    .collect()
}
