//! Where a log that has grown past its bound is cut. Invariant: never within an event.

/// The end of an event, as it stands in a log that this crate wrote.
const END: &[u8] = b"\n...\n";

/// Where the oldest whole events end that should leave `text` for a page of their own, or `None` if
/// `text` is within `bound` bytes.
///
/// The page gets at most `page` bytes, but always at least one event, however long. A tail without
/// the terminating `...` line is never counted as an event.
pub fn overflow(text: &str, bound: usize, page: usize) -> Option<usize> {
    if text.len() <= bound {
        return None;
    }
    let bytes = text.as_bytes();
    let within = &bytes[..page.min(bytes.len())];
    let last = within.windows(END.len()).rposition(|window| window == END);
    let at = last.or_else(|| bytes.windows(END.len()).position(|window| window == END))?;
    Some(at + END.len())
}
