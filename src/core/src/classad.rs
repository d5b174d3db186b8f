//! The `ClassAd` language: expressions over a job's attributes, as in `HTCondor`'s policies.
//!
//! [`Expr::parse`] reads the text of a submit file or a job ad, [`ClassAd`] holds the attributes,
//! [`Expr::evaluate`] gives a [`Value`], and what is written is what `HTCondor` writes. Source: the
//! behaviour of `HTCondor` 25.14.1, to which the tests compare it; where this differs is in
//! `docs/htcondor-differences.md`. Invariants: nothing here panics or recurses without bound
//! whatever the text; an evaluation takes bounded time and memory ([`limits`]) and depends on
//! nothing but the expression, the ad and the [`Context`].

mod ad;
mod error;
mod evaluate;
mod expr;
mod functions;
mod lexer;
mod numbers;
mod operators;
mod parser;
mod times;
mod unparse;
mod value;

#[cfg(test)]
mod tests;

pub use ad::ClassAd;
pub use error::ParseError;
pub use expr::Expr;
pub use unparse::NewForm;
pub use value::{List, NestedAd, Value};

use jiff::Timestamp;

/// The bounds of the language here. `HTCondor` has some of them too, at other numbers.
pub mod limits {
    /// The longest text of an expression, in bytes.
    pub const TEXT: usize = 8 * 1024;
    /// The deepest nesting of brackets in a text.
    pub const NESTING: usize = 64;
    /// The deepest evaluation: attributes that refer to attributes, functions within functions.
    pub const DEPTH: usize = 100;
    /// The longest string that an evaluation makes, in bytes.
    pub const STRING: usize = 64 * 1024;
    /// The most steps of one evaluation. A node is one; a function on a long string is more.
    pub const STEPS: u32 = 100_000;
}

/// What an evaluation may know besides the ad.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context {
    /// What `time()` and `CurrentTime` say. Local time is UTC.
    pub now: Timestamp,
    /// Where `random()` begins.
    pub seed: u64,
}
