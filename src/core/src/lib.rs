//! The operator's mind: from observed facts to decisions, without a clock, a client or I/O.
//!
//! [`decide::decide`] is the centre. It reads an [`observed::Observed`] and returns an [`observed::Decision`]; everything else
//! here serves it: [`facts`] and [`fate`] read what the kubelet says, `life` is the table of transitions, `journal` and
//! [`userlog`] write `HTCondor`'s log, [`pod`] builds pods, `summary` derives the status, [`patch`] writes it. Invariant: values in, values out
//! (this crate's `clippy.toml` keeps the world outside).

pub mod classad;
mod commands;
pub mod decide;
pub mod facts;
pub mod fate;
pub mod hold;
mod job_ad;
mod journal;
pub mod lease;
mod life;
pub mod macros;
mod more_memory;
pub mod observed;
pub mod patch;
pub mod pod;
pub mod policy;
pub mod procs;
pub mod quantity;
pub mod queue;
pub mod records;
pub mod settings;
pub mod shape;
pub mod spill;
mod summary;
pub mod transition;
pub mod userlog;
pub mod waiting;
