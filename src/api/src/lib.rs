//! The resources that a user writes and reads, as Rust types: `DockerUniverseJob` and `DockerUniverseCommand`.
//!
//! No client, no decision: this crate is what the operator, the command line and the generated `crds/` agree on.
//! Invariant: a field is here only once it works; what the schema or a CEL rule can refuse, it refuses at
//! `kubectl apply`, with a message that says what to write instead.

#![allow(
    unreachable_pub,
    reason = "KubeSchema repeats each type, `pub` included, inside a function"
)]

pub mod command;
pub mod condition;
pub mod files;
pub mod job;
pub mod names;
pub mod policy;
pub mod quantity;
pub mod queue;
pub mod rules;
pub mod scheduling;
pub mod status;
pub mod volume;

pub use command::{
    DockerUniverseCommand, DockerUniverseCommandSpec, DockerUniverseCommandStatus, Verb,
};
pub use job::{DockerUniverseJob, DockerUniverseJobSpec};
pub use quantity::Quantity;
pub use status::DockerUniverseJobStatus;

/// API group of every resource here.
pub const GROUP: &str = "dockeruniverse.io";
/// The one version served so far.
pub const VERSION: &str = "v1alpha1";
