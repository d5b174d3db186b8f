//! Sets of procs, as text: `0-811,813`.
//!
//! Invariant: what was written is read as the same set, whatever it costs in ranges.

/// Reads `0-811,813` as sorted ranges that do not overlap. `None` where it is not such a list, or names a proc of `limit`
/// or above.
pub(crate) fn ranges(text: &str, limit: u32) -> Option<Vec<(u32, u32)>> {
    let mut ranges = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        if first > last || last >= limit {
            return None;
        }
        ranges.push((first, last));
    }
    ranges.sort_unstable();
    // Each proc once: ranges that repeat each other must not cost more than one of them.
    let mut next = 0;
    ranges.retain_mut(|(first, last)| {
        *first = next.max(*first);
        let is_news = *first <= *last;
        next = next.max(*last + 1);
        is_news
    });
    Some(ranges)
}

/// The procs that `0-811,813` names, in their order. `None` where it is not such a list, or names a proc of `limit` or above.
pub fn parse_ranges(text: &str, limit: u32) -> Option<Vec<u32>> {
    Some(ranges(text, limit)?.into_iter().flat_map(|(first, last)| first..=last).collect())
}

/// Writes `0-811,813`; the procs are sorted.
pub fn format_ranges(procs: &[u32]) -> String {
    let mut text = String::new();
    let mut rest = procs;
    while let Some((&first, _)) = rest.split_first() {
        let run =
            rest.iter().zip(first..).take_while(|(proc, expected)| **proc == *expected).count();
        if !text.is_empty() {
            text.push(',');
        }
        text.push_str(&format_range(first, rest[run - 1]));
        rest = &rest[run..];
    }
    text
}

/// Writes `0-811`, or `0` where that is all.
pub(crate) fn format_range(first: u32, last: u32) -> String {
    if last > first { format!("{first}-{last}") } else { first.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ranges_are_read_and_written() {
        assert_eq!(format_ranges(&[0, 1, 2, 5, 7, 8]), "0-2,5,7-8");
        assert_eq!(parse_ranges("0-2,5,7-8", 9), Some(vec![0, 1, 2, 5, 7, 8]));
        assert_eq!(parse_ranges("7-8,0-4,3,2-5,8", 9), Some(vec![0, 1, 2, 3, 4, 5, 7, 8]));
        for bad in ["", "-", "1-", "2-1", "9", "a", "1,,2", "99999999999"] {
            assert_eq!(parse_ranges(bad, 9), None, "{bad}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: duj_tally::cases(ProptestConfig::default().cases), ..ProptestConfig::default() })]

        #[test]
        fn a_set_is_read_as_it_was_written(procs in prop::collection::btree_set(0u32..500, 1..200)) {
            let procs: Vec<u32> = procs.into_iter().collect();
            prop_assert_eq!(parse_ranges(&format_ranges(&procs), 500), Some(procs));
        }
    }
}
