//! Slices of a list, as Python writes them, from the first item on.
//!
//! Invariant: what is kept is in the list, whatever the numbers.

/// The items that a slice keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    begin: usize,
    step: usize,
    /// How many.
    pub(super) len: usize,
}

impl Kept {
    /// Of a list of `all`.
    pub(super) fn of(slice: Option<&str>, all: usize) -> Result<Self, String> {
        let Some(text) = slice else { return Ok(Self { begin: 0, step: 1, len: all }) };
        let refused = || {
            format!(
                "the slice '{text}' must be '[begin:end]' or '[begin:end:step]' with a step above 0, such as '[:10]', '[-5:]' or '[::2]'"
            )
        };
        let inner = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
        let parts: Vec<&str> = inner.ok_or_else(refused)?.split(':').collect();
        let (begin, end, step) = match *parts {
            [begin, end] => (begin, end, ""),
            [begin, end, step] => (begin, end, step),
            _ => return Err(refused()),
        };
        let number = |text: &str| match text {
            "" => Ok(None),
            text => text.parse::<i64>().map(Some).map_err(|_| refused()),
        };
        // A negative number counts from the end.
        let place = |number: Option<i64>, otherwise: usize| match number {
            None => otherwise,
            Some(number) => {
                let from_end = usize::try_from(number.unsigned_abs()).unwrap_or(usize::MAX);
                if number < 0 { all.saturating_sub(from_end) } else { from_end.min(all) }
            }
        };
        let begin = place(number(begin)?, 0);
        let end = place(number(end)?, all);
        let step = match number(step)? {
            None => 1,
            Some(step) => {
                usize::try_from(step).ok().filter(|step| *step > 0).ok_or_else(refused)?
            }
        };
        Ok(Self { begin, step, len: end.saturating_sub(begin).div_ceil(step) })
    }

    /// The place in the whole list of an item that is kept.
    pub(super) fn row(&self, kept: usize) -> usize {
        self.begin.saturating_add(kept.saturating_mul(self.step))
    }
}
