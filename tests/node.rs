//! Real jobs on a real node: what the kubelet, the runtime, the registry and the scheduler really say, and what becomes of
//! the job. `cargo xtask test` brings the cluster up, installs the chart and runs this with `--features real-node`.
#![cfg(feature = "real-node")]

#[path = "node/world.rs"]
mod world;

#[path = "node/exits.rs"]
mod exits;
