//! Short texts: quantities, macros, sets of procs.

use crate::within_bounds;
use duj_api::{
    Quantity,
    queue::{ItemsKey, Queue, QueueItems},
};
use duj_core::{
    macros::{self, Scope},
    procs,
    quantity::Amount,
    queue::{Items, Place},
};

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
        // The text is its own variable too: what refers to itself comes to an end.
        let variables = vec![("x", text), ("list", "a,b c")];
        let place = Place { row: 1, step: 2, variables };
        let scope = Scope { cluster_id: i64::MIN, proc: u32::MAX, place, ..Scope::default() };
        let expanded = macros::expand(text, "arguments[0]", &scope);
        assert_eq!(expanded, macros::expand(text, "arguments[0]", &scope));
        if !text.contains('$') {
            assert_eq!(expanded.as_deref(), Ok(text));
        }
        items(text);
        if let Some(found) = procs::parse_ranges(text, PROCS) {
            assert!(found.is_sorted_by(|a, b| a < b) && found.iter().all(|proc| *proc < PROCS));
            let written = procs::format_ranges(&found);
            assert_eq!(procs::parse_ranges(&written, PROCS), Some(found), "{written}");
        }
    });
}

/// A list in which each line of a text is an item of two variables.
fn items(text: &str) {
    let items = QueueItems {
        config_map_key_ref: Some(ItemsKey::default()),
        variables: vec!["x".into(), "y".into()],
        slice: Some("[1::2]".into()),
        ..QueueItems::default()
    };
    let queue = Queue { count: Some(2), items: Some(items.into()), ..Queue::default() };
    if let Ok(items) = Items::read(Some(&queue), Some(text)) {
        for proc in 0..items.total_procs() {
            let place = items.place(proc);
            assert!(place.row % 2 == 1 && place.variables.len() == 2);
        }
    }
}
