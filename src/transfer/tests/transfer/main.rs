//! The built program at work, with volumes, servers and a starter as the tests play them.

#![allow(clippy::unwrap_used, reason = "all of this is test code")]

mod checkpoints;
mod faults;
mod images;
mod prepare;
#[path = "../support/program.rs"]
mod program;
mod send;
#[path = "../support/server.rs"]
mod server;
