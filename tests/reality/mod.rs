//! Cases that are played twice: on the real node, and on the model of it that the simulation runs on. Both have to give
//! the pod statuses that are committed in `pods/`.
//!
//! The same people take the same steps ([`cases`]); a watcher writes down each version of each pod as the operator reads it
//! ([`look`]); what the real node gives is recorded, and what either gives is compared with the record ([`histories`]).
//! The node's test asserts that reality still is as recorded (and records with `DOCKER_UNIVERSE_RECORD=1`); the model's
//! test asserts that the model does nothing that reality does not, and all that reality does.

#![allow(dead_code, reason = "each side uses its part")]

pub mod cases;
pub mod histories;
pub mod look;
