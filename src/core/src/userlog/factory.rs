//! The events of a cluster whose procs materialize late (`HTCondor`'s job factory): 035 to 038.
//!
//! They are about the cluster as a whole, so their `ProcId` is -1. Invariant: as for all events, what is written is read
//! back as it was, by us and by `HTCondor`'s reader.

use super::{Line, Name, read::Rest, write::titled};
use crate::userlog::Malformed;
use std::fmt::{self, Formatter};

/// What happened to the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cluster {
    /// 035: the cluster was put in the queue; its procs follow, each with its own 000.
    Submitted {
        /// Who took it.
        host: Name,
        /// Notes, as in event 000; `HTCondor`'s reader keeps two.
        notes: Vec<Line>,
    },
    /// 036: the cluster left the queue, with the last of its procs.
    Removed {
        /// How many procs came into being (`JobMaterializeNextProcId`).
        procs: u32,
        /// How many items they were made of (`JobMaterializeNextRow`); 0 where it has none.
        items: u32,
        /// Whether these were all.
        completion: Completion,
        /// What else there is to say; empty for nothing.
        notes: Line,
    },
    /// 037: for the time being no more procs come.
    Paused {
        /// Why; empty for none.
        reason: Line,
        /// How it is paused: 1 by a hold; 0 is not written.
        pause_code: i32,
        /// `HoldReasonCode`; 0 is not written.
        hold_code: i32,
    },
    /// 038: they come again.
    Resumed {
        /// Why; empty for none.
        reason: Line,
    },
}

/// How far the materialization of a cluster came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Completion {
    /// All procs came.
    Complete,
    /// It was removed before.
    Incomplete,
    /// It was removed while it was paused.
    Paused,
    /// It failed; a negative number. `HTCondor`'s reader takes any other for -1.
    Error(i32),
}

impl fmt::Display for Completion {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Complete => f.write_str("Complete"),
            Self::Incomplete => f.write_str("Incomplete"),
            Self::Paused => f.write_str("Paused"),
            Self::Error(code) => write!(f, "Error {code}"),
        }
    }
}

impl Cluster {
    /// `HTCondor`'s event number.
    pub const fn number(&self) -> u16 {
        match self {
            Self::Submitted { .. } => 35,
            Self::Removed { .. } => 36,
            Self::Paused { .. } => 37,
            Self::Resumed { .. } => 38,
        }
    }

    /// `HTCondor`'s names for the event and for its ad.
    pub const fn names(&self) -> (&'static str, &'static str) {
        match self {
            Self::Submitted { .. } => ("ULOG_CLUSTER_SUBMIT", "ClusterSubmitEvent"),
            Self::Removed { .. } => ("ULOG_CLUSTER_REMOVE", "ClusterRemoveEvent"),
            Self::Paused { .. } => ("ULOG_FACTORY_PAUSED", "FactoryPausedEvent"),
            Self::Resumed { .. } => ("ULOG_FACTORY_RESUMED", "FactoryResumedEvent"),
        }
    }

    /// What follows the header.
    pub(super) fn write(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Submitted { host, notes } => {
                writeln!(f, "Cluster submitted from host: {host}")?;
                let mut notes = notes.iter().filter(|note| !note.is_empty());
                notes.try_for_each(|note| writeln!(f, "    {note}"))
            }
            Self::Removed { procs, items, completion, notes } => {
                f.write_str("Cluster removed\n")?;
                writeln!(f, "\tMaterialized {procs} jobs from {items} items.\t{completion}")?;
                if notes.is_empty() { Ok(()) } else { writeln!(f, "\t{notes}") }
            }
            Self::Paused { reason, pause_code, hold_code } => {
                f.write_str("Job Materialization Paused\n")?;
                // The reader takes the first line for the reason, whatever it says.
                if !reason.is_empty() || *pause_code != 0 || *hold_code != 0 {
                    writeln!(f, "\t{reason}")?;
                }
                coded(f, "PauseCode", *pause_code)?;
                coded(f, "HoldCode", *hold_code)
            }
            Self::Resumed { reason } => titled(f, "Job Materialization Resumed", reason),
        }
    }

    /// The event of this number, one of 035 to 038.
    pub(super) fn parse(rest: &mut Rest<'_>, title: &str) -> Result<Self, Malformed> {
        match rest.number {
            35 => {
                let host = Name::new(rest.after(title, "Cluster submitted from host: ")?);
                let lines = rest.lines.by_ref().map(str::trim).filter(|line| !line.is_empty());
                Ok(Self::Submitted { host, notes: lines.map(Line::new).collect() })
            }
            36 => Self::removed(rest, title),
            37 => {
                rest.after(title, "Job Materialization Paused")?;
                let reason = rest.reason();
                let (pause_code, hold_code) = (rest.code("PauseCode "), rest.code("HoldCode "));
                Ok(Self::Paused { reason, pause_code, hold_code })
            }
            _ => {
                rest.after(title, "Job Materialization Resumed")?;
                Ok(Self::Resumed { reason: rest.reason() })
            }
        }
    }

    fn removed(rest: &mut Rest<'_>, title: &str) -> Result<Self, Malformed> {
        let expected = "Materialized 0 jobs from 0 items.";
        rest.after(title, "Cluster removed")?;
        let numbers = |line: &str| {
            let (procs, line) =
                line.trim_start().strip_prefix("Materialized ")?.split_once(" jobs from ")?;
            let (items, completion) = line.split_once(" items.")?;
            let completion = match completion.trim() {
                "Complete" => Completion::Complete,
                "Incomplete" => Completion::Incomplete,
                "Paused" => Completion::Paused,
                other => Completion::Error(other.strip_prefix("Error ")?.parse().ok()?),
            };
            // Before any item was read HTCondor may say -1.
            let items = items.parse::<i64>().ok()?.max(0);
            Some((procs.parse().ok()?, u32::try_from(items).ok()?, completion))
        };
        let (procs, items, completion) =
            numbers(rest.next()).ok_or_else(|| rest.lacks(expected))?;
        Ok(Self::Removed { procs, items, completion, notes: rest.reason() })
    }
}

fn coded(f: &mut Formatter<'_>, label: &str, code: i32) -> fmt::Result {
    if code == 0 { Ok(()) } else { writeln!(f, "\t{label} {code}") }
}
