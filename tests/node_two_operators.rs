//! Two operators under load: one is updated, stopped and killed while jobs are submitted, and each job runs once, with each
//! event once in its log. `cargo xtask test` installs the chart with `replicas=2` for this.
#![cfg(feature = "real-node")]
#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    reason = "a test that fails shows where, and nobody else reads its modules"
)]

#[path = "node/load.rs"]
mod load;
#[path = "node/operators.rs"]
mod operators;
#[path = "node/world.rs"]
mod world;

use load::Load;
use operators::{Operators, Signal};
use world::World;

/// A rolling update: what is told to end hands over, and nobody waits for a lease to run out.
#[tokio::test]
async fn an_update_under_load_loses_and_repeats_nothing() {
    let world = World::new("update").await;
    let operators = Operators::find(&world).await;
    let before = operators.lease().await;
    let load = Load::begin(&world).await;
    load.jobs(8).await;
    operators.restart_all().await;
    load.jobs(8).await;
    let after = operators.lease().await;
    assert_ne!(after.holder, before.holder, "the pods are new ones");
    assert!(after.term > before.term, "{before:?}, {after:?}");
    operators.tell("update", &after);
    load.end(&world).await;
    world.end().await;
}

/// A leader that stands still loses its lease, and wakes: it ends, and its container is started again.
#[tokio::test]
async fn a_leader_that_was_stopped_and_wakes_stands_back() {
    let world = World::new("stopped").await;
    let operators = Operators::find(&world).await;
    let load = Load::begin(&world).await;
    load.jobs(4).await;
    let before = operators.lease().await;
    let restarts = operators.restarts(&before.holder).await;
    operators::signal(&before.holder, Signal::STOP);
    let after = operators.taken_from(&before).await;
    assert_ne!(after.holder, before.holder);
    load.jobs(4).await;
    operators::signal(&before.holder, Signal::CONT);
    world
        .until("the former leader ends and is started again", || async {
            operators.restarts(&before.holder).await > restarts
        })
        .await;
    operators.all_ready().await;
    load.jobs(4).await;
    let last = operators.lease().await;
    assert_eq!((&last.holder, last.term), (&after.holder, after.term), "it stands back");
    operators.tell("stop", &after);
    load.end(&world).await;
    world.end().await;
}

/// A leader that is killed: whoever is there first goes on, the other operator or its own container, started again.
#[tokio::test]
async fn a_leader_that_is_killed_is_replaced() {
    let world = World::new("killed").await;
    let operators = Operators::find(&world).await;
    let load = Load::begin(&world).await;
    for _ in 0..2 {
        load.jobs(4).await;
        let before = operators.lease().await;
        operators::signal(&before.holder, Signal::KILL);
        let after = operators.taken_from(&before).await;
        operators.tell("kill", &after);
        load.jobs(4).await;
        operators.all_ready().await;
    }
    load.end(&world).await;
    world.end().await;
}
