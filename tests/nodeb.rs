#![cfg(feature = "real-node")]
#![allow(unreachable_pub)]
#[path = "node/evictions.rs"]
mod evictions;
#[path = "node/kept.rs"]
mod kept;
#[path = "node/nodes.rs"]
mod nodes;
#[path = "node/people.rs"]
mod people;
#[path = "node/refused.rs"]
mod refused;
#[path = "node/strangers.rs"]
mod strangers;
#[path = "node/waiting.rs"]
mod waiting;
#[path = "node/world.rs"]
mod world;
