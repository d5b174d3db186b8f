//! The log of a job that really ran, as `HTCondor`'s own reader sees it.

use crate::{
    oracle::{OracleEvent, read_with_htcondor},
    world::{World, event_numbers},
};
use duj_api::status::ProcStatus;
use duj_core::userlog;
use serde_json::json;

/// Chicago's rules, spelled out so that no time zone database is needed.
const CHICAGO: &str = "CST6CDT,M3.2.0,M11.1.0";

#[tokio::test]
async fn htcondor_reads_every_event_of_a_life_at_its_moment() {
    let world = World::new("judged").await;
    let spec = json!({ "executable": "tail", "arguments": ["/dev/zero"], "requestMemory": "32Mi", "hold": true });
    world.submit("life", spec).await;
    world.wait_for("life", ProcStatus::Held).await;
    world.change("life", json!({ "hold": false })).await;
    world
        .wait("life", "held for its memory", |status| {
            let hold = status.procs.first().and_then(|group| group.record.hold.as_ref());
            hold.is_some_and(|hold| hold.code == 34 && !hold.stopping)
        })
        .await;
    world.change("life", json!({ "executable": "true", "arguments": [] })).await;
    world.wait_for("life", ProcStatus::Completed).await;

    let status = world.job("life").await.status.unwrap();
    let numbers = [0, 12, 13, 1, 21, 4, 12, 13, 1, 6, 5];
    assert_eq!(event_numbers(&status), numbers);
    let log = status.user_log.unwrap().text;
    let ours: Vec<_> = userlog::read(&log).map(Result::unwrap).collect();
    for zone in ["UTC", CHICAGO] {
        let seen = read_with_htcondor(&log, zone);
        let facts = |event: &OracleEvent| (event.number, event.cluster, event.proc, event.epoch);
        let told: Vec<_> = seen.iter().map(facts).collect();
        let written = ours.iter().map(|event| {
            (event.body.number(), event.job.cluster, event.job.proc, event.time.as_second())
        });
        assert_eq!(told, written.collect::<Vec<_>>(), "under TZ={zone}");
    }
    // Rendered again by HTCondor, in UTC, it is our own text but for the `Z`; of an eviction it drops the usage table.
    for (event, ours) in read_with_htcondor(&log, "UTC").iter().zip(&ours) {
        let ours = ours.to_string().replacen("Z ", " ", 1).replace("\n...\n", "\n");
        let table = ours.find("\tPartitionable Resources").filter(|_| event.number == 4);
        let ours = &ours[..table.unwrap_or(ours.len())];
        assert_eq!(event.text.trim_end(), ours.trim_end(), "event {}", event.number);
    }
    world.end().await;
}
