//! Pods as anybody may have written them: reading them and deciding about them never panics.

use crate::stage;
use duj_api::names;
use duj_core::{
    decide::decide,
    facts::PodFacts,
    observed::{Observed, Room},
    settings::Settings,
};
use k8s_openapi::api::core::v1::Pod;
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// Text that a status may hold, some of it with meaning.
fn text() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!("OOMKilled")),
        Just(json!("StartError")),
        Just(json!("Evicted")),
        Just(json!("Failed")),
        Just(json!("Running")),
        Just(json!("True")),
        Just(json!("False")),
        Just(json!("Ready")),
        Just(json!("DisruptionTarget")),
        Just(json!("PodScheduled")),
        Just(json!("ErrImagePull")),
        Just(json!("job")),
        Just(json!("prepare")),
        Just(json!("")),
        Just(json!("-9999-01-01T00:00:00Z")),
        Just(json!("2026-03-01T12:00:00Z")),
        Just(json!("1970-01-01T00:00:00Z")),
        Just(json!("9999-12-31T23:59:59Z")),
        "\\PC{0,12}".prop_map(Value::from),
        record().prop_map(Value::from),
    ]
}

/// A termination message, as a starter or a program that plays one writes it.
fn record() -> impl Strategy<Value = String> {
    let outcome = prop_oneof![
        any::<i32>().prop_map(|code| json!({ "exited": code })),
        any::<i32>().prop_map(|signal| json!({ "signalled": signal })),
        (any::<u64>(), any::<u64>())
            .prop_map(|(used, limit)| json!({ "overDisk": { "used": used, "limit": limit } })),
        (any::<i32>(), "\\PC*").prop_map(
            |(errno, message)| json!({ "notStarted": { "errno": errno, "message": message } })
        ),
        Just(Value::Null),
    ];
    let number = prop_oneof![Just(u64::MAX), Just(0), any::<u64>()];
    (any::<Option<i64>>(), any::<Option<i64>>(), outcome, 0u64..2, any::<Option<i32>>(), number).prop_map(
        |(started, ended, outcome, oom_kills, stopped_by, number)| {
            json!({
                "version": 1, "started": started, "ended": ended, "outcome": outcome, "oomKills": oom_kills,
                "stoppedBy": stopped_by, "leaseExpired": oom_kills == 0 && number == 0,
                "usage": { "userMs": number, "systemMs": number, "peakMemory": number, "resident": number, "scratch": number },
            })
            .to_string()
        },
    )
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![4 => text(), 1 => any::<i32>().prop_map(Value::from), 1 => any::<bool>().prop_map(Value::from)];
    let key = prop::sample::select(vec![
        "name",
        "state",
        "running",
        "waiting",
        "terminated",
        "reason",
        "message",
        "exitCode",
        "startedAt",
        "finishedAt",
        "type",
        "status",
        "lastTransitionTime",
        "ready",
        "imageID",
        "image",
        "restartCount",
    ]);
    leaf.prop_recursive(4, 24, 4, move |inner| {
        prop_oneof![
            1 => prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            3 => prop::collection::vec((key.clone(), inner), 0..6)
                .prop_map(|pairs| pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect::<Map<_, _>>().into()),
        ]
    })
}

fn container(name: &'static str) -> impl Strategy<Value = Value> {
    let time = prop_oneof![
        Just("1970-01-01T00:00:00Z"),
        Just("2026-03-01T12:00:05Z"),
        Just("9999-12-31T23:59:59Z")
    ];
    let state = prop_oneof![
        time.clone().prop_map(|time| json!({ "running": { "startedAt": time } })),
        (text(), text()).prop_map(|(reason, message)| json!({ "waiting": { "reason": reason, "message": message } })),
        (any::<i32>(), text(), record(), time).prop_map(|(code, reason, message, time)| {
            json!({ "terminated": { "exitCode": code, "reason": reason, "message": message, "startedAt": time, "finishedAt": time } })
        }),
        Just(json!({})),
        any_json(),
    ];
    (state, any::<bool>()).prop_map(move |(state, ready)| {
        json!({ "name": name, "state": state, "ready": ready, "image": "", "imageID": "", "restartCount": 0 })
    })
}

fn condition() -> impl Strategy<Value = Value> {
    (text(), text(), text(), text()).prop_map(|(type_, status, reason, message)| {
        json!({ "type": type_, "status": status, "reason": reason, "message": message })
    })
}

fn pod() -> impl Strategy<Value = Value> {
    let job = prop_oneof![8 => container("job"), 1 => any_json()];
    let status = (
        text(),
        text(),
        text(),
        prop::collection::vec(job, 0..3),
        prop::collection::vec(condition(), 0..4),
    );
    let name = prop_oneof![
        4 => (0u32..2, 0u32..3).prop_map(|(proc, attempt)| names::pod_name("hello", stage::JOB_UID, proc, attempt)),
        1 => "[a-z0-9-]{0,20}",
    ];
    (name, any::<(bool, bool, bool)>(), any::<Option<i64>>(), status).prop_map(
        |(name, (bound, deleting, finalizer), grace, (phase, reason, message, containers, conditions))| {
            let time = |is: bool| is.then_some("2026-03-01T12:00:09Z");
            json!({
                "metadata": {
                    "name": name, "uid": format!("uid-{name}"), "deletionTimestamp": time(deleting),
                    "deletionGracePeriodSeconds": grace, "creationTimestamp": "2026-03-01T12:00:00Z",
                    "finalizers": finalizer.then_some([names::FINALIZER_ACCOUNTED]),
                    "labels": { names::LABEL_CLUSTER_ID: name },
                    "ownerReferences": [{ "apiVersion": "v1", "kind": "DockerUniverseJob", "name": "hello", "uid": stage::JOB_UID, "controller": true }],
                },
                "spec": { "containers": [], "nodeName": bound.then_some("node1") },
                "status": {
                    "phase": phase, "reason": reason, "message": message, "containerStatuses": containers,
                    "conditions": conditions,
                },
            })
        },
    )
}

/// A pod with a lease, as anybody may write it.
fn leased_pod() -> impl Strategy<Value = Value> {
    let time = prop_oneof![
        Just(0i64),
        Just(1_772_366_400_000),
        Just(1_772_366_990_000),
        any::<i64>(),
        Just(i64::MAX),
        Just(i64::MIN)
    ];
    let mark = (prop::sample::select(vec!["", "revoked ", "over ", "x"]), time)
        .prop_map(|(word, time)| format!("{word}{time}"));
    let seconds = prop_oneof![Just(20i64), Just(0), any::<i64>(), Just(i64::MAX), Just(i64::MIN)];
    (pod(), mark, seconds.clone(), seconds).prop_map(|(mut pod, mark, duration, grace)| {
        pod["metadata"]["annotations"] = json!({ names::ANNOTATION_LEASE: mark });
        pod["spec"]["containers"] = json!([{
            "name": "job", "args": ["run", "--lease-duration", duration.to_string(), "--", "sh"],
        }]);
        pod["spec"]["terminationGracePeriodSeconds"] = json!(grace);
        pod
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: duj_tally::cases(ProptestConfig::default().cases), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_pod_makes_a_decision_panic(pods in prop::collection::vec(prop_oneof![pod(), leased_pod()], 0..4), hold: bool) {
        let pods: Vec<Arc<PodFacts>> =
            pods.into_iter().filter_map(|pod| serde_json::from_value::<Pod>(pod).ok()).filter_map(|pod| PodFacts::read(&pod)).map(Arc::new).collect();
        let spec = json!({ "image": "busybox", "executable": "sh", "hold": hold, "requestDisk": "1Mi" });
        let mut observed = Observed {
            items: Ok(stage::no_items()),
            job: stage::job(spec),
            pages: Vec::new(),
            pods,
            commands: Vec::new(),
            fresh_cluster_id: stage::CLUSTER,
            refusal: None,
            uncommitted_since: Some(stage::curtain()),
            policies_due: None,
        leading_since: stage::curtain(),
            room: Room::default(),
            now: "2026-03-01T12:10:00Z".parse().unwrap(),
        };
        for _ in 0..3 {
            let Some(status) = decide(&observed, &Settings::default()).status else { break };
            stage::is_sound(&observed.job, &status);
            observed.job.status = Some(status);
        }
    }

    /// What is no pod at all is refused by its type, or read as nothing of ours.
    #[test]
    fn any_json_is_read_or_refused(value in any_json()) {
        if let Ok(pod) = serde_json::from_value::<Pod>(value) {
            prop_assert_eq!(PodFacts::read(&pod), None);
        }
    }
}
