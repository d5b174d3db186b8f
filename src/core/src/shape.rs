//! The digest of what shapes a job's pod. Its change is what *mends* a held job.
//!
//! Invariant: hold, policies, batch name, retention and limits of materialization do not count, and a field that is absent
//! adds nothing, so that an operator that knows more fields does not see a change where there is none.

use duj_api::{DockerUniverseJobSpec, files::Files, policy::Policy, queue::Queue};
use sha2::{Digest, Sha256};
use std::fmt::Write as _;

/// Ten hexadecimal digits.
pub fn of(spec: &DockerUniverseJobSpec) -> String {
    let shaping = DockerUniverseJobSpec {
        queue: spec.queue.as_ref().and_then(unchanging),
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

/// What of a queue cannot change. Items cannot, too, but may be many.
fn unchanging(queue: &Queue) -> Option<Queue> {
    let rest = Queue { count: queue.count, ..Queue::default() };
    // Limits that come to a job without a queue leave nothing of it.
    (!queue.is_late() || rest != Queue::default()).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_of_materialization_do_not_count() {
        let of_queue = |queue| of(&DockerUniverseJobSpec { queue, ..Default::default() });
        let late = |queue| Queue { max_materialize: Some(5), max_idle: Some(0), ..queue };
        assert_eq!(of_queue(None), of_queue(Some(late(Queue::default()))));
        assert_eq!(of_queue(Some(Queue::of(9))), of_queue(Some(late(Queue::of(9)))));
        assert_ne!(of_queue(Some(Queue::of(9))), of_queue(Some(Queue::of(8))));
    }
}
