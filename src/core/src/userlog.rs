//! `HTCondor`'s plain-text user log: the events of a job as values, their text, and the way back.
//!
//! This is not where it is decided which events happen (that is the life cycle's part), and nothing
//! here reads a clock or a file. Two invariants hold for every [`Event`] that can be built at all:
//!
//! * `HTCondor`'s own reader returns it, whole and in its place, with the right job and time. The
//!   rules are those of `condor_event.cpp`; `tests/userlog_oracle.rs` asks that reader itself.
//! * No text in it can start, end or change another event: hosts, reasons and messages are of types
//!   ([`Line`], [`Name`], [`Attribute`]) whose only constructors make them single-line, free of
//!   controls, and bounded.
//!
//! Times are UTC and end in `Z`: without it, readers in another time zone are hours off.

mod check;
mod event;
mod factory;
mod page;
mod read;
mod table;
mod text;
mod write;

#[cfg(test)]
mod tests;

pub use check::{Expect, Fault, Violation, check};
pub use event::{
    Body, Bytes, CpuUsage, Event, Evicted, Eviction, Exit, JobId, Terminated, TransferStage,
};
pub use factory::{Cluster, Completion};
pub use page::overflow;
pub use read::{Malformed, ReadError, Reader, read};
pub use table::{Amount, Resource, ResourceTable};
pub use text::{Attribute, Line, Name};
