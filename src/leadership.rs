//! Which of several operators leads: the one that holds the Lease of the installation. Not to be mixed up with the leases of
//! jobs (`duj_core::lease`), which are between an operator and a starter.
//!
//! [`evaluate`] is the rule, [`election`] the loop that follows it, [`claim`] what it comes to, and [`gate`] the one place
//! through which whatever writes has to go.
//!
//! Invariant: the holder stops writing before anybody else may take the lease. It counts from when it *sent* its last renewal
//! that was answered, the others from when they first *saw* the lease as it is, both on clocks that go on while a process
//! is stopped or a machine suspended; nobody reads a time of day that another machine wrote. What this leaves to happen (a write that
//! is on its way while its sender is stopped) is harmless by the guard of each write, as `docs/adr/0008-two-operators.md` tells.

pub mod claim;
pub mod election;
pub mod evaluate;
pub mod gate;

pub use claim::Claim;
pub use election::Candidate;
pub use gate::gated;

use std::time::Duration;

/// A lease that nobody was seen to renew for so long may be taken.
pub const DURATION: Duration = Duration::from_secs(10);
/// Its holder writes for so long after it sent a renewal; the rest is for what is on its way.
pub const CLAIM: Duration = Duration::from_secs(8);
/// It is renewed this often.
pub const RENEW: Duration = Duration::from_secs(2);
/// Who does not hold it looks at it this often.
pub const LOOK: Duration = Duration::from_millis(500);
/// One request about it takes no longer, so that another try fits into a claim.
pub const TRY: Duration = Duration::from_secs(2);
/// The longest that a write of the operator may take: less than what is left of a claim that is being renewed.
pub const WRITE: Duration = Duration::from_secs(5);
/// Who is told to end waits so long for writes that are on their way.
pub const DRAIN: Duration = Duration::from_secs(1);
/// And so long for the lease to be given back.
pub const GIVE_BACK: Duration = Duration::from_millis(500);

// A claim that was renewed in time has this much left, whatever happens to the next renewal.
const _: () = assert!(CLAIM.as_millis() - RENEW.as_millis() > WRITE.as_millis());
const _: () = assert!(CLAIM.as_millis() < DURATION.as_millis());
