//! Why a text is not an expression, and where.
//!
//! Invariant: what [`ParseError::caret`] gives can be printed: two lines without control characters, of bounded length, whatever the text.

use thiserror::Error;

/// How much of a text is shown around a fault, in characters.
const WINDOW: usize = 72;

/// Why a text is not an expression.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct ParseError {
    /// Where in the text, in bytes. At most the text's length.
    pub offset: usize,
    /// What is wrong there.
    pub message: String,
}

impl ParseError {
    pub(super) fn new(offset: usize, message: impl Into<String>) -> Self {
        Self { offset, message: message.into() }
    }

    /// The part of `text` around the fault, and a second line with `^` under the place.
    pub fn caret(&self, text: &str) -> String {
        let shown = |c: char| if c.is_control() { ' ' } else { c };
        let start = text.floor_char_boundary(self.offset);
        let before: Vec<char> = text[..start].chars().map(shown).collect();
        let after: Vec<char> = text[start..].chars().take(WINDOW).map(shown).collect();
        // Most of what explains a fault stands before it.
        let room = WINDOW - after.len().min(WINDOW / 3);
        let skipped = before.len().saturating_sub(room);
        let lead = if skipped > 0 { "…" } else { "" };
        let visible: String = before.iter().skip(skipped).collect();
        let width = visible.chars().count() + lead.chars().count();
        let tail: String = after.iter().take(WINDOW.saturating_sub(width)).collect();
        let rest = text[start..].chars().nth(tail.chars().count()).map_or("", |_| "…");
        format!("{lead}{visible}{tail}{rest}\n{:width$}^", "")
    }
}
