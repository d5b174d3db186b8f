//! A small simulation: random lives on a model of the API server, seen late, by an operator that crashes between writes.
//!
//! Whatever happens, what must be true stays true after each step ([`witness`]); and once the world calms, every job that
//! can finish finishes, nothing is left behind, and nothing more is written.

#![allow(clippy::unwrap_used, reason = "a test that is wrong about its own stage has to stop")]
#![allow(clippy::needless_pass_by_value, reason = "`json!` values read better without a reference")]

#[allow(dead_code, reason = "each test plays on its own part of the stage")]
mod stage;

#[path = "life/facts.rs"]
mod facts;
#[path = "life/late.rs"]
mod late;
#[path = "life/peace.rs"]
mod peace;
#[path = "life/sending.rs"]
mod sending;
#[path = "life/steps.rs"]
mod steps;
#[path = "life/witness.rs"]
mod witness;

use duj_core::{decide::decide, observed::Effect};
use proptest::prelude::*;
use steps::{World, step};

proptest! {
    #![proptest_config(ProptestConfig { cases: duj_tally::cases(ProptestConfig::default().cases), max_shrink_iters: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn lives(on_hold: bool, leased: bool, files: bool, plan in prop::collection::vec(step(), 0..60)) {
        let mut world = World::new(on_hold, leased, files);
        for step in plan {
            world.take(step);
        }
        world.calm_down();
    }

    /// A decision is a function of its facts, and once its status is committed it decides the same effects and no status.
    #[test]
    fn decisions_are_deterministic_and_idempotent(on_hold: bool, leased: bool, files: bool, plan in prop::collection::vec(step(), 0..40)) {
        let mut world = World::new(on_hold, leased, files);
        for step in plan {
            world.take(step);
            let Some(observed) = world.operator.observed(world.now) else { continue };
            let settings = world.operator.settings.clone();
            let decision = decide(&observed, &settings);
            prop_assert_eq!(format!("{:?}", decision), format!("{:?}", decide(&observed, &settings)));
            let is_lease = |effect: &Effect| matches!(effect, Effect::MarkLease { .. });
            prop_assert!(!decision.deferred || decision.status.is_none() && decision.after.iter().all(is_lease));
            let Some(status) = decision.status else { continue };
            let mut committed = observed;
            committed.job.status = Some(status);
            committed.uncommitted_since = None;
            committed.refusal.take_if(|refusal| refusal.kind == duj_core::observed::RefusalKind::Permanent);
            let again = decide(&committed, &settings);
            prop_assert_eq!(again.status, None);
            prop_assert!(!again.deferred);
            let lasting = |effect: &&Effect| !matches!(effect, Effect::Event { .. });
            for effect in decision.after.iter().filter(lasting) {
                prop_assert!(again.after.contains(effect), "{:?} is not decided again", effect);
            }
        }
    }
}
