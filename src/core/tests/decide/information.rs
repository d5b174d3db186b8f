//! Event 028: the job's attributes after each event (`jobAdInformationAttrs`).

use crate::play::Play;
use duj_core::userlog::{self, Expect};
use duj_protocol::Outcome;
use serde_json::json;

#[test]
fn every_event_is_followed_by_what_its_owner_wants_to_know() {
    let wanted = ["JobStatus", "NumJobStarts", "DockerImage", "ExitCode", "Nothing", "MemoryUsage"];
    let mut play = Play::of(json!({ "jobAdInformationAttrs": wanted }));
    play.scene("submitted");
    play.pod().bind();
    play.pod().run();
    play.scene("it runs");
    play.wait(10);
    play.pod().outcome(Outcome::Exited(3));
    play.scene("over");
    play.is("Completed 3", "ExitedNonZero", "0 28 1 28 6 28 5 28");
    assert!(userlog::check(&play.events(), Expect::Finished).is_empty());
    play.is_remembered("028 follows each event");
}

#[test]
fn nobody_asks_nobody_is_told() {
    let mut play = Play::running();
    play.pod().outcome(Outcome::Exited(0));
    play.scene("over");
    play.is("Completed 0", "Completed", "0 1 6 5");
}
