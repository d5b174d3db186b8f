//! Commands for many jobs by a constraint, `prio`, and what the log tells of a job's attributes.

use crate::{
    oracle::read_with_htcondor,
    people::{UNTIL_KNOCK, knock, tell},
    world::{World, event_numbers, proc, script},
};
use duj_api::status::ProcStatus;
use duj_core::userlog::{self, Body};
use serde_json::json;

#[tokio::test]
async fn a_constraint_reaches_the_jobs_that_match_and_no_others() {
    let world = World::new("constraint").await;
    for (job, batch) in [("first", "night"), ("second", "night"), ("third", "day")] {
        let spec = script(UNTIL_KNOCK, json!({ "batchName": batch }));
        world.submit(job, spec).await;
    }
    for job in ["first", "second", "third"] {
        world.wait_for(job, ProcStatus::Running).await;
    }
    let night = "JobBatchName == \"night\" && JobStatus == 2";
    let spec = json!({ "verb": "hold", "constraint": night, "reason": "the data is mended" });
    let answer = tell(&world, "hold-the-night", spec).await;
    let words = format!("All jobs matching constraint ({night}) have been held");
    assert_eq!((answer.accepted, answer.refused, answer.message), (2, 0, words));
    assert!(answer.selected.is_empty(), "{:?}", answer.selected);
    for job in ["first", "second"] {
        let record = world.wait_for(job, ProcStatus::Held).await;
        assert_eq!(record.hold.unwrap().reason, "the data is mended");
    }
    assert_eq!(proc(&world.job("third").await.status.unwrap()).status, ProcStatus::Running);

    let nobody = json!({ "verb": "release", "constraint": "HoldReasonCode == 35" });
    let answer = tell(&world, "release-others", nobody).await;
    let words = "Couldn't find/release all jobs matching constraint (HoldReasonCode == 35)";
    assert_eq!((answer.accepted, answer.refused, answer.message.as_str()), (0, 0, words));

    let slip = json!({ "verb": "release", "constraint": "HoldReasonCode == == 1" });
    let answer = tell(&world, "slip", slip).await;
    assert_eq!((answer.accepted, answer.refused), (0, 1));
    assert!(answer.message.starts_with("the constraint cannot be read: "), "{answer:?}");
    assert!(answer.message.ends_with('^'), "it shows the place: {answer:?}");

    let all = json!({ "verb": "remove", "constraint": "true" });
    let answer = tell(&world, "remove-all", all).await;
    assert_eq!((answer.accepted, answer.refused), (3, 0), "{answer:?}");
    assert_eq!(answer.message, "All jobs matching constraint (true) have been marked for removal");
    for job in ["first", "second", "third"] {
        world.wait_for(job, ProcStatus::Removed).await;
    }
    world.end().await;
}

#[tokio::test]
async fn the_log_tells_attributes_and_priorities_as_condor_reads_them() {
    let world = World::new("information").await;
    let wanted = json!(["JobStatus", "JobPrio", "ExitCode"]);
    let spec = script(UNTIL_KNOCK, json!({ "jobAdInformationAttrs": wanted }));
    world.submit("job", spec).await;
    world.wait_for("job", ProcStatus::Running).await;
    let spec = json!({ "verb": "prio", "job": "job", "priority": 7 });
    let answer = tell(&world, "prio", spec).await;
    assert!(answer.message.ends_with(".0 has priority 7"), "{answer:?}");
    knock(&world, "job").await;
    world.wait_for("job", ProcStatus::Completed).await;
    let status = world.job("job").await.status.unwrap();
    assert_eq!(event_numbers(&status), [0, 28, 1, 28, 33, 28, 6, 28, 5, 28]);
    let text = status.user_log.unwrap().text;
    let events: Vec<_> = userlog::read(&text).map(Result::unwrap).collect();
    let Body::JobAdInformation { attributes } = &events.last().unwrap().body else {
        panic!("028 is last: {text}");
    };
    let value = |name: &str| attributes.get(&name.into()).map(ToString::to_string);
    assert_eq!(
        ["JobStatus", "JobPrio", "ExitCode", "TriggerEventTypeNumber"].map(value),
        ["4", "7", "0", "5"].map(|text| Some(text.to_owned()))
    );
    let read = read_with_htcondor(&text, "UTC");
    assert_eq!(read.len(), events.len(), "HTCondor reads each of them");
    world.end().await;
}
