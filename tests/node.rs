//! Real jobs on a real node: what the kubelet, the runtime, the registry and the scheduler really say, and what becomes of
//! the job. `cargo xtask test` brings the cluster up, installs the chart and runs this with `--features real-node`.
#![cfg(feature = "real-node")]
#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    reason = "a test that fails shows where, and nobody else reads its modules"
)]

#[path = "oracle/mod.rs"]
mod oracle;

#[path = "reality/mod.rs"]
mod reality;

#[path = "node/world.rs"]
mod world;

#[path = "node/web.rs"]
mod web;

#[path = "node/volumes.rs"]
mod volumes;

#[path = "node/objects.rs"]
mod objects;

#[path = "node/outside.rs"]
mod outside;

#[path = "node/judged.rs"]
mod judged;

#[path = "node/exits.rs"]
mod exits;

#[path = "node/inside.rs"]
mod inside;

#[path = "node/many.rs"]
mod many;

#[path = "node/limits.rs"]
mod limits;

#[path = "node/starting.rs"]
mod starting;

#[path = "node/stopping.rs"]
mod stopping;

#[path = "node/registries.rs"]
mod registries;

#[path = "node/images.rs"]
mod images;

#[path = "node/streams.rs"]
mod streams;

#[path = "node/own_command.rs"]
mod own_command;

#[path = "node/files_in.rs"]
mod files_in;

#[path = "node/files_out.rs"]
mod files_out;

#[path = "node/outputs_kept.rs"]
mod outputs_kept;

#[path = "node/checkpoints.rs"]
mod checkpoints;

#[path = "node/pod.rs"]
mod pod;

#[path = "node/kept.rs"]
mod kept;

#[path = "node/people.rs"]
mod people;

#[path = "node/deleted.rs"]
mod deleted;

#[path = "node/evictions.rs"]
mod evictions;

#[path = "node/nodes.rs"]
mod nodes;

#[path = "node/waiting.rs"]
mod waiting;

#[path = "node/strangers.rs"]
mod strangers;

#[path = "node/refused.rs"]
mod refused;

#[path = "node/constraints.rs"]
mod constraints;

#[path = "node/policies.rs"]
mod policies;

#[path = "node/recorded.rs"]
mod recorded;
