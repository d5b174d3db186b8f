//! A job whose items come from a `ConfigMap`: what it waits for until they are known, and what follows when they are.
//!
//! Invariants: no pod is made before the items are known and kept; what was noticed of them says which ones the job's procs
//! were made of, so that others are never taken for them. Until then proc 0 stands for all, waits as any proc does for its
//! configuration, and is held (6/0) where it does not come.

use super::Work;
use crate::{
    hold,
    queue::digest,
    waiting::{CONFIGURATION_PATIENCE, Waiting},
};
use duj_api::{condition::Reason, status::ProcStatus};
use jiff::SignedDuration;

/// Nobody watches other people's `ConfigMaps`: one that is waited for is looked for again after this time.
const LOOK_AGAIN: SignedDuration = SignedDuration::from_secs(2);
/// Once the job is held for it, not so often.
const LOOK_SELDOM: SignedDuration = SignedDuration::from_secs(60);

impl Work<'_> {
    /// Takes notice of items that are known now, and releases what was held because they were not.
    pub(super) fn notice_items(&mut self) {
        let Ok(items) = &self.observed.items else {
            if self.records.values().any(|record| record.status == ProcStatus::Held) {
                self.look_again(LOOK_SELDOM);
            }
            return;
        };
        if self.noticed.items.is_none() {
            self.noticed.items = items.kept_text().map(digest);
        }
        if self.observed.job.spec.hold {
            return; // it stays held by its own word, and is released by it
        }
        self.each(
            |record| record.hold.as_ref().is_some_and(hold::is_for_items),
            |proc| proc.release("the items of its queue are there"),
        );
    }

    /// What a proc without a pod waits for, where the items are not known.
    pub(super) fn waits_for_items(&mut self) -> Option<Waiting> {
        let message = self.observed.items.as_ref().err()?.clone();
        self.look_again(LOOK_AGAIN);
        Some(Waiting::Faulty {
            reason: Reason::WaitingForConfiguration,
            hold: hold::no_items(&message),
            message: format!("the items of its queue cannot be read: {message}"),
            patience: CONFIGURATION_PATIENCE,
        })
    }

    fn look_again(&mut self, after: SignedDuration) {
        self.wake_at(self.observed.now.checked_add(after).ok());
    }
}
