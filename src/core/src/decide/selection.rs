//! Which procs of a job a command's constraint means.
//!
//! Invariant: it only looks: the job, its log and its procs stay as they are. As in `HTCondor` (`actOnJobs`), a verb that
//! needs a certain state asks only procs in that state.

use super::Work;
use crate::{
    classad::{Expr, Value},
    observed::Observed,
    settings::Settings,
};
use duj_api::{Verb, status::ProcStatus};

/// The procs of a job for which the constraint is true, in their order. Pods that have ended count as heard.
pub fn select(observed: &Observed, settings: &Settings, verb: Verb, constraint: &Expr) -> Vec<u32> {
    let mut work = Work::resume(observed, settings);
    work.follow_pods();
    let asked = work.records.iter().filter(|(_, record)| is_asked(verb, record.status));
    let mut ids: Vec<u32> = asked.map(|(id, _)| id).collect();
    ids.retain(|id| {
        let value = work.with(*id, |proc| constraint.evaluate(&proc.ad(None), &proc.context()));
        value.is_some_and(|value| is_true(&value))
    });
    ids
}

/// Whether a proc in this state can be meant at all.
const fn is_asked(verb: Verb, status: ProcStatus) -> bool {
    match verb {
        Verb::Hold | Verb::Remove | Verb::Prio => !matches!(status, ProcStatus::Completed),
        Verb::Release => matches!(status, ProcStatus::Held),
        Verb::RemoveForced => matches!(status, ProcStatus::Removed),
        Verb::Vacate | Verb::VacateFast | Verb::Suspend => matches!(status, ProcStatus::Running),
        Verb::Continue => matches!(status, ProcStatus::Suspended),
    }
}

/// What a constraint takes for true: `true`, or a number that is not zero.
fn is_true(value: &Value) -> bool {
    match value {
        Value::Boolean(value) => *value,
        Value::Integer(number) => *number != 0,
        Value::Real(number) => *number != 0.0,
        _ => false,
    }
}
