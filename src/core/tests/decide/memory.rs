//! More memory for the attempt after one that had too little: by a size, by an expression, up to a maximum.

use crate::play::Play;
use duj_protocol::Outcome;
use serde_json::{Value, json};

/// Runs out of memory until it is held; the limits of its attempts.
fn limits(fields: Value) -> (Vec<String>, Play) {
    let mut play = Play::of(fields);
    play.scene("submitted");
    let mut limits = Vec::new();
    while limits.len() < 9 && play.record().hold.is_none() {
        play.wait(1);
        let pod = play.pod();
        let spec = pod.pod().unwrap().spec.as_ref().unwrap();
        let limit = &spec.containers[0].resources.as_ref().unwrap().limits.as_ref().unwrap();
        limits.push(limit["memory"].0.clone());
        play.pod().bind();
        play.pod().run();
        play.scene("runs");
        play.wait(10);
        let record = duj_protocol::Record {
            oom_kills: 1,
            ..crate::stage::record(play.now, play.now, Outcome::Signalled(9))
        };
        play.pod().end_with(137, "OOMKilled", &record);
        play.scene("out of memory");
    }
    (limits, play)
}

#[test]
fn memory_grows_as_condor_submit_has_it() {
    for (increase, most, expected) in [
        (None, None, &["128Mi"][..]),
        // A size or an expression alone: once.
        (Some("500Mi"), None, &["128Mi", "628Mi"]),
        (Some("RequestMemory * 2"), None, &["128Mi", "256Mi"]),
        // With a maximum: again and again.
        (Some("500Mi"), Some("1Gi"), &["128Mi", "628Mi", "1024Mi"]),
        (Some("RequestMemory * 2"), Some("600Mi"), &["128Mi", "256Mi", "512Mi", "600Mi"]),
        (Some("NumJobStarts * 300"), Some("1Gi"), &["128Mi", "300Mi", "600Mi", "900Mi", "1024Mi"]),
        // The maximum alone: at once.
        (None, Some("2Gi"), &["128Mi", "2048Mi"]),
        // What is no more than before is no help.
        (None, Some("64Mi"), &["128Mi"]),
        (Some("RequestMemory / 2"), None, &["128Mi"]),
        (Some("Nobody * 2"), Some("1Gi"), &["128Mi"]),
        (Some("\"much\""), None, &["128Mi"]),
    ] {
        let mut fields = json!({ "requestMemory": "128Mi" });
        for (name, value) in
            [("retryRequestMemoryIncrease", increase), ("retryRequestMemoryMax", most)]
        {
            if let Some(value) = value {
                fields[name] = json!(value);
            }
        }
        let (found, play) = limits(fields);
        assert_eq!(found, expected, "{increase:?} up to {most:?}");
        let hold = play.hold();
        assert_eq!((hold.code, hold.subcode), (34, 102), "{increase:?} up to {most:?}");
        assert_eq!(play.record().memory_step as usize, expected.len() - 1);
    }
}

#[test]
fn what_its_owner_then_gives_it_is_taken() {
    for more in [
        json!({ "retryRequestMemory": ["256Mi"] }),
        json!({ "retryRequestMemoryIncrease": "128Mi" }),
    ] {
        let mut fields = more.clone();
        fields["requestMemory"] = json!("128Mi");
        let (found, mut play) = limits(fields);
        assert_eq!(found, ["128Mi", "256Mi"]);
        play.edit(json!({ "requestMemory": "4Gi" }));
        play.scene("mended");
        let pod = play.pod();
        let spec = pod.pod().unwrap().spec.as_ref().unwrap();
        let limits = spec.containers[0].resources.as_ref().unwrap().limits.as_ref().unwrap();
        assert_eq!(limits["memory"].0, "4Gi", "{more}");
    }
}

#[test]
fn an_increase_that_cannot_be_read_holds_the_job_at_once() {
    let mut play = Play::of(json!({ "retryRequestMemoryIncrease": "RequestMemory * * 2" }));
    play.scene("submitted");
    let hold = play.hold();
    assert_eq!(hold.code, 5);
    assert!(hold.reason.starts_with("retryRequestMemoryIncrease cannot be read: "), "{hold:?}");
}
