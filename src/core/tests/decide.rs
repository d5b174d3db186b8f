//! Tables of lives and moments: what is observed, and what is decided about it.
//!
//! Each test is a short play in the words of Kubernetes; its snapshot tells the whole of it: the proc's state, the reason,
//! the conditions, what was done to the cluster and the new events of the userlog. The asserts beside it are what matters.

#![allow(clippy::unwrap_used, reason = "a test that is wrong about its own stage has to stop")]
#![allow(clippy::needless_pass_by_value, reason = "`json!` values read better without a reference")]

#[allow(dead_code, reason = "each test plays on its own part of the stage")]
mod stage;

#[path = "decide/play.rs"]
mod play;

#[path = "decide/commands.rs"]
mod commands;
#[path = "decide/ends.rs"]
mod ends;
#[path = "decide/evictions.rs"]
mod evictions;
#[path = "decide/history.rs"]
mod history;
#[path = "decide/holds.rs"]
mod holds;
#[path = "decide/information.rs"]
mod information;
#[path = "decide/items.rs"]
mod items;
#[path = "decide/leases.rs"]
mod leases;
#[path = "decide/leftovers.rs"]
mod leftovers;
#[path = "decide/limits.rs"]
mod limits;
#[path = "decide/many.rs"]
mod many;
#[path = "decide/materialization.rs"]
mod materialization;
#[path = "decide/memory.rs"]
mod memory;
#[path = "decide/own_command.rs"]
mod own_command;
#[path = "decide/policies.rs"]
mod policies;
#[path = "decide/submission.rs"]
mod submission;
#[path = "decide/transfers.rs"]
mod transfers;
#[path = "decide/waits.rs"]
mod waits;
