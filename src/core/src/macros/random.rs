//! What is random for a proc, and yet the same at each of its attempts.
//!
//! Invariant: it follows from the job's UID, its cluster id, the proc and the macro's place by SHA-256 alone, which is the same
//! in every version of the operator; the sequence of a library's generator may change with the library.

use super::Scope;
use sha2::{Digest, Sha256};

/// 128 bits of chance.
#[derive(Clone, Copy, Debug)]
pub(super) struct Random(u128);

impl Random {
    /// `number` is the macro's in its field.
    pub(super) fn of(scope: &Scope<'_>, field: &str, number: u32) -> Self {
        // What has no fixed length stands between zero bytes, which neither has.
        let digest = Sha256::new()
            .chain_update(scope.uid)
            .chain_update([0])
            .chain_update(field)
            .chain_update([0])
            .chain_update(scope.cluster_id.to_be_bytes())
            .chain_update(scope.proc.to_be_bytes())
            .chain_update(number.to_be_bytes())
            .finalize();
        Self(digest.iter().take(16).fold(0, |bits, byte| (bits << 8) | u128::from(*byte)))
    }

    /// A number below `bound`, each as likely as the others but for one part in 2^63.
    fn below(self, bound: u128) -> u128 {
        self.0 % bound
    }

    /// Where the `random()` of an expression begins.
    #[allow(clippy::cast_possible_truncation, reason = "half of the bits are enough")]
    pub(super) fn seed(self) -> u64 {
        self.0 as u64
    }

    pub(super) fn one_of<T>(self, list: &[T]) -> Option<&T> {
        let at = self.below(u128::try_from(list.len().max(1)).ok()?);
        list.get(usize::try_from(at).ok()?)
    }

    /// One of `least`, `least + step`, … up to `largest`.
    pub(super) fn between(self, least: i64, largest: i64, step: i64) -> Option<i64> {
        if largest < least || step < 1 {
            return None;
        }
        let span = u128::from(largest.abs_diff(least));
        let step = u128::from(step.unsigned_abs());
        let distance = self.below(span / step + 1) * step;
        i64::try_from(i128::from(least) + i128::try_from(distance).ok()?).ok()
    }
}
