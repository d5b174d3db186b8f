//! The built starter at work, both as PID 1 of a pid namespace and as a plain process.

#![allow(clippy::unwrap_used, reason = "all of this is test code")]

mod checkpoint;
mod control;
mod ends;
mod handshake;
mod job;
mod left;
mod signals;
mod streams;
