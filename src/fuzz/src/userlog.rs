//! Logs of other programs, and what was made of ours by hand.

use crate::within_bounds;
use duj_core::userlog::{self, Expect, overflow, read};

/// Whatever stands in a log, its events are read; what is read can be written, and what is written says the same.
pub(crate) fn reads(text: &str) {
    within_bounds("reading a log", || {
        let mut events = Vec::new();
        for event in read(text).in_year(2026).take(text.len() + 1).flatten() {
            let written = event.to_string();
            assert!(written.ends_with("\n...\n"), "{written}");
            let mut again = read(&written);
            match (again.next(), again.next()) {
                (Some(Ok(again)), None) => assert_eq!(again.to_string(), written),
                other => panic!("{written} is read as {other:?}"),
            }
            events.push(event);
        }
        assert!(events.len() <= text.len());
        let _violations = userlog::check(&events, Expect::Finished);
        let whole: String = events.iter().map(ToString::to_string).collect();
        if let Some(end) = overflow(&whole, 1_000, 4_000) {
            assert!(end > 0 && whole[..end].ends_with("\n...\n"), "{end} of {whole}");
        }
    });
}
