//! The states of a proc and what leads from one to another (§5.1 of the semantics), in one place.
//!
//! Invariant: a proc's state changes only along [`next`]; the diagram in `docs/job-states.md` is made from it. What ends a
//! proc is absorbing: nothing leads out of Completed, and only oblivion out of Removed.

use duj_api::status::ProcStatus;
use std::fmt::Write as _;

/// What happens to a proc.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Its process began.
    Executed,
    /// Its process ended, and the policy lets it go.
    Ended,
    /// Its process ended, and the policy wants it again.
    Requeued,
    /// Its attempt was stopped, or lost: another one follows.
    Evicted,
    /// A person, a policy or a fault holds it.
    Held,
    /// It is released.
    Released,
    /// It is released, and its outputs, which its pod has kept, are sent again.
    Resent,
    /// It is removed.
    Removed,
    /// Its processes are stopped.
    Suspended,
    /// They go on.
    Continued,
}

impl Cause {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Executed,
        Self::Ended,
        Self::Requeued,
        Self::Evicted,
        Self::Held,
        Self::Released,
        Self::Resent,
        Self::Removed,
        Self::Suspended,
        Self::Continued,
    ];

    /// The words in the diagram.
    const fn words(self) -> &'static str {
        match self {
            Self::Executed => "job executes (001)",
            Self::Ended => "job terminated (005)",
            Self::Requeued => "terminated and requeued (004)",
            Self::Evicted => "evicted, vacated (004)",
            Self::Held => "hold (012)",
            Self::Released => "release (013)",
            Self::Resent => "release, outputs are sent again (013)",
            Self::Removed => "remove (009)",
            Self::Suspended => "suspend (010)",
            Self::Continued => "continue (011)",
        }
    }
}

const STATES: [ProcStatus; 6] = [
    ProcStatus::Idle,
    ProcStatus::Running,
    ProcStatus::Suspended,
    ProcStatus::Held,
    ProcStatus::Completed,
    ProcStatus::Removed,
];

/// The state that follows; none where that cannot happen in this state.
pub const fn next(from: ProcStatus, cause: Cause) -> Option<ProcStatus> {
    use ProcStatus::{Completed, Held, Idle, Removed, Running, Suspended};
    match (from, cause) {
        (Idle, Cause::Executed) | (Suspended, Cause::Continued) | (Held, Cause::Resent) => Some(Running),
        // Where nobody saw it begin it has ended all the same; and a hold that is stopping its pod loses to an end that
        // came first: no result is lost.
        (Idle | Running | Suspended | Held, Cause::Ended) => Some(Completed),
        (Idle | Running | Suspended | Held, Cause::Requeued)
        // An attempt may be lost before its job began.
        | (Idle | Running | Suspended, Cause::Evicted)
        | (Held, Cause::Released) => Some(Idle),
        (Idle | Running | Suspended | Held, Cause::Held) => Some(Held),
        (Idle | Running | Suspended | Held, Cause::Removed) => Some(Removed),
        (Running, Cause::Suspended) => Some(Suspended),
        (Idle, Cause::Released | Cause::Resent | Cause::Suspended | Cause::Continued)
        | (Running, Cause::Executed | Cause::Released | Cause::Resent | Cause::Continued)
        | (Suspended, Cause::Executed | Cause::Released | Cause::Resent | Cause::Suspended)
        | (Held, Cause::Executed | Cause::Evicted | Cause::Suspended | Cause::Continued)
        | (Completed | Removed, _) => None,
    }
}

/// The diagram, in Mermaid's notation.
pub fn diagram() -> String {
    let mut text = String::from("stateDiagram-v2\n    [*] --> Idle: submit (000)\n");
    for from in STATES {
        for cause in Cause::ALL {
            if let Some(to) = next(from, cause).filter(|to| *to != from) {
                // Writing to a string cannot fail.
                let _ = writeln!(text, "    {from:?} --> {to:?}: {}", cause.words());
            }
        }
    }
    text.push_str("    Completed --> [*]\n    Removed --> [*]\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_diagram_is_this_one() {
        let page = include_str!("../../../docs/job-states.md");
        let block = format!("```mermaid\n{}```\n", diagram());
        assert!(page.contains(&block), "docs/job-states.md has to contain:\n{block}");
    }

    #[test]
    fn an_end_is_an_end() {
        for cause in Cause::ALL {
            assert_eq!(next(ProcStatus::Completed, cause), None);
            assert_eq!(next(ProcStatus::Removed, cause), None);
        }
    }
}
