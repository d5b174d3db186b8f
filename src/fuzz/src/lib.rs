//! What must hold for any text that a stranger may write: nothing panics, and time and memory are bounded.
//!
//! Each target takes a text and checks; the fuzzer (`cargo xtask fuzz`) and a plain test (`tests/corpus.rs`) run the same
//! ones. Invariant: a check depends on nothing but its text, and measures work by what is allocated, not by a clock.

mod classad;
mod policies;
mod userlog;
mod words;

/// One kind of text.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name: also that of its directory in `corpus`.
    pub name: &'static str,
    /// Panics where something does not hold.
    pub check: fn(&str),
}

/// All of them.
pub const TARGETS: [Target; 5] = [
    Target { name: "classad", check: classad::reads_and_writes },
    Target { name: "evaluate", check: classad::evaluates },
    Target { name: "policies", check: policies::decides },
    Target { name: "userlog", check: userlog::reads },
    Target { name: "words", check: words::reads },
];

/// The most memory that one piece of work may hold at a time, in bytes.
const HELD: u64 = 48 << 20;
/// The most memory that it may ask for in all, in bytes: what is copied again and again is counted each time.
const ASKED_FOR: u64 = 512 << 20;

/// Does a piece of work and sees that it stays within bounds.
fn within_bounds<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let mut made = None;
    let used = allocation_counter::measure(|| made = Some(work()));
    assert!(used.bytes_max <= HELD, "{what} held {} bytes", used.bytes_max);
    assert!(used.bytes_total <= ASKED_FOR, "{what} asked for {} bytes", used.bytes_total);
    made.unwrap_or_else(|| unreachable!("it was done"))
}
