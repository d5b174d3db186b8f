//! The digest of what shapes a job's pod. Its change is what *mends* a held job.
//!
//! Invariant: hold, policies, batch name and retention do not count, and a field that is absent adds nothing, so that an operator
//! that knows more fields does not see a change where there is none.

use duj_api::{DockerUniverseJobSpec, files::Files, policy::Policy, queue::Queue};
use sha2::{Digest, Sha256};
use std::fmt::Write as _;

/// Ten hexadecimal digits.
pub fn of(spec: &DockerUniverseJobSpec) -> String {
    let queue = spec.queue.as_ref().map(|queue| Queue { items: None, ..queue.clone() });
    let shaping = DockerUniverseJobSpec {
        // Items never change, and may be many.
        queue,
        hold: false,
        policy: Policy::default(),
        batch_name: None,
        priority: None,
        remove_pods: None,
        ttl_seconds_after_finished: None,
        files: Files { transfer_retention: None, ..spec.files.clone() },
        ..spec.clone()
    };
    let text = serde_json::to_vec(&shaping).unwrap_or_default();
    Sha256::digest(&text).iter().take(5).fold(String::new(), |mut hex, byte| {
        // Writing to a string cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}
