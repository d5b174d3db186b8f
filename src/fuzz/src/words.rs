//! Short texts: quantities, macros, sets of procs.

use crate::within_bounds;
use duj_api::Quantity;
use duj_core::{macros, procs, quantity::Amount};

/// Procs of the largest job here.
const PROCS: u32 = 10_000;

/// Each text has an answer as each of them.
pub(crate) fn reads(text: &str) {
    within_bounds("reading words", || {
        if let Ok(amount) = Amount::parse(&Quantity(text.to_owned())) {
            // Whole units are rounded up, never down.
            let units = Amount::parse(&Quantity(amount.units().to_string()));
            assert!(units.is_ok_and(|units| units >= amount), "{amount:?}");
            let _mebibytes = amount.in_units_of(1 << 20);
        }
        let expanded = macros::expand(text, i64::MIN, u32::MAX);
        assert!(expanded.len() <= text.len() * 2);
        if !text.contains("$(") {
            assert_eq!(expanded, text);
        }
        if let Some(found) = procs::parse_ranges(text, PROCS) {
            assert!(found.is_sorted_by(|a, b| a < b) && found.iter().all(|proc| *proc < PROCS));
            let written = procs::format_ranges(&found);
            assert_eq!(procs::parse_ranges(&written, PROCS), Some(found), "{written}");
        }
    });
}
