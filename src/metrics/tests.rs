use super::{
    census::{CONDITIONS, REASONS},
    labels::Method,
    labels::*,
    *,
};
use axum::http;
use duj_api::condition::Reason;
use duj_core::userlog::{JobId, Line, Name};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

fn event(body: Body) -> Event {
    Event { job: JobId { cluster: 1, proc: 0 }, time: Timestamp::UNIX_EPOCH, body }
}

fn held(code: i32) -> Event {
    event(Body::Held { reason: Line::new("'; drop table"), code, subcode: 0 })
}

/// Metrics that have counted all kinds of things, some of which nobody expects.
fn used() -> Metrics {
    let metrics = Metrics::default();
    let job: DockerUniverseJob = serde_json::from_value(json!({
        "apiVersion": "dockeruniverse.io/v1alpha1", "kind": "DockerUniverseJob",
        "metadata": { "name": "secret-name", "namespace": "secret-place", "uid": "secret-uid",
            "resourceVersion": "77" },
        "spec": { "image": "busybox", "executable": "sh" },
        "status": {
            "conditions": [{ "type": "Secret", "status": "True", "reason": "secret", "message": "",
                "lastTransitionTime": "2026-03-01T12:00:00Z" }],
            "counts": { "total": 1, "idle": 1, "running": 0, "held": 0, "suspended": 0, "completed": 0,
                "removed": 0 },
            "because": { "reason": "secret", "message": "secret" },
        },
    }))
    .unwrap();
    metrics.answered(Kind::Jobs, &job);
    metrics.job_told(&watcher::Event::Apply(job));
    metrics.committed(&[held(34), held(4711), event(Body::Unsuspended)]);
    metrics.committed(&[event(Body::Submit {
        host: Name::new("secret"),
        notes: Vec::new(),
        warning: Line::new(""),
    })]);
    for (method, uri, code) in [
        (http::Method::GET, "/api/v1/namespaces/secret/secrets/secret?secret=1", 403),
        (http::Method::PATCH, "/secret/secret", 200),
        (http::Method::from_bytes(b"SECRET").unwrap(), "/", 418),
        (http::Method::DELETE, "/apis/secret/v1/secrets", 999),
    ] {
        metrics.sent(&method, &uri.parse().unwrap()).answered(code);
    }
    metrics.wrote(Verb::MarkLease);
    metrics.pod_created("secret-uid", Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH);
    metrics.end_committed(Duration::from_millis(20));
    metrics.queue_depth(7, 3);
    metrics
}

/// The values of a label that are allowed.
fn allowed() -> BTreeMap<&'static str, BTreeSet<&'static str>> {
    fn of<T: Copy>(all: &[T], word: fn(T) -> &'static str) -> BTreeSet<&'static str> {
        all.iter().map(|one| word(*one)).collect()
    }
    let mut states = of(JobState::ALL, JobState::as_str);
    states.extend(of(ProcState::ALL, ProcState::as_str));
    BTreeMap::from([
        ("effect", of(Verb::ALL, Verb::as_str)),
        ("verb", of(Method::ALL, Method::as_str)),
        ("resource", of(Resource::ALL, Resource::as_str)),
        ("outcome", of(Outcome::ALL, Outcome::as_str)),
        ("cache", of(Kind::ALL, Kind::as_str)),
        ("state", states),
        ("condition", CONDITIONS.into()),
        ("reason", REASONS.into()),
        ("code", of(&HOLD_CODES, |(_, word)| word)),
        ("event", of(&EVENT_NUMBERS, |(_, word)| word)),
        ("version", BTreeSet::from([env!("CARGO_PKG_VERSION")])),
    ])
}

#[test]
fn no_label_has_a_value_out_of_its_set() {
    let text = used().text();
    let allowed = allowed();
    let mut seen = BTreeSet::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let Some((_, rest)) = line.split_once('{') else { continue };
        let (labels, _) = rest.split_once('}').expect("an end of the labels");
        for label in labels.split(',') {
            let (name, value) = label.split_once('=').expect("a label and its value");
            let value = value.trim_matches('"');
            if name == "le" {
                assert!(value == "+Inf" || value.parse::<f64>().is_ok(), "{line}");
                continue;
            }
            let set = allowed.get(name).unwrap_or_else(|| panic!("no set for '{name}': {line}"));
            assert!(set.contains(value), "{line}");
            seen.insert(name.to_owned());
        }
    }
    assert_eq!(seen.len(), allowed.len(), "a label that nobody has: {seen:?}");
    assert!(!text.to_lowercase().contains("secret"), "{text}");
}

/// The value of a line.
fn value(text: &str, series: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no '{series}' in {text}")).parse().unwrap()
}

#[test]
fn what_happened_is_told() {
    let text = used().text();
    for (series, wanted) in [
        ("docker_universe_jobs{state=\"idle\"}", 1.0),
        ("docker_universe_jobs_by_reason{reason=\"other\"}", 1.0),
        ("docker_universe_procs{state=\"idle\"}", 1.0),
        ("docker_universe_holds_total{code=\"34\"}", 1.0),
        ("docker_universe_holds_total{code=\"other\"}", 1.0),
        ("docker_universe_holds_total{code=\"35\"}", 0.0),
        ("docker_universe_userlog_events_total{event=\"012\"}", 2.0),
        ("docker_universe_userlog_events_total{event=\"011\"}", 1.0),
        ("docker_universe_effects_total{effect=\"MarkLease\"}", 1.0),
        (
            "docker_universe_api_requests_total{verb=\"get\",resource=\"other\",outcome=\"refused\"}",
            1.0,
        ),
        ("docker_universe_pod_creation_seconds_count", 1.0),
        ("docker_universe_end_to_status_seconds_count", 1.0),
        ("docker_universe_cache_lag_seconds_count{cache=\"jobs\"}", 1.0),
        ("docker_universe_cache_awaited_seconds{cache=\"jobs\"}", 0.0),
        ("docker_universe_queue_depth", 7.0),
        ("docker_universe_queue_running", 3.0),
    ] {
        assert!((value(&text, series) - wanted).abs() < 1e-9, "{series}");
    }
    assert!(value(&text, "process_resident_memory_bytes") > 1e6);
    assert!(value(&text, "docker_universe_memory_limit_bytes") > 1e6);
    assert!(text.ends_with("# EOF\n"));
    assert!(text.contains("# TYPE docker_universe_holds counter\n"), "{text}");
}

/// The time of a pod's creation begins with the later of what the record says and what the watch told.
#[tokio::test(start_paused = true)]
async fn a_creation_is_measured_from_what_is_known_best() {
    let job = |uid: &str| -> DockerUniverseJob {
        serde_json::from_value(json!({
            "apiVersion": "dockeruniverse.io/v1alpha1", "kind": "DockerUniverseJob",
            "metadata": { "name": uid, "uid": uid },
            "spec": { "image": "busybox", "executable": "sh" },
        }))
        .unwrap()
    };
    let now: Timestamp = "2026-03-01T12:00:09.5Z".parse().unwrap();
    for (event, since, seconds) in [
        (watcher::Event::Apply(job("x")), "2026-03-01T12:00:00Z", 0.25),
        (watcher::Event::Apply(job("y")), "2026-03-01T12:00:00Z", 9.5),
        (watcher::Event::Apply(job("x")), "2026-03-01T12:00:09.4Z", 0.1),
        (watcher::Event::Apply(job("x")), "2026-03-01T12:00:10Z", 0.0),
    ] {
        let metrics = Metrics::default();
        metrics.job_told(&event);
        tokio::time::advance(Duration::from_millis(250)).await;
        metrics.pod_created("x", since.parse().unwrap(), now);
        let sum = value(&metrics.text(), "docker_universe_pod_creation_seconds_sum");
        assert!((sum - seconds).abs() < 1e-6, "{since}: {sum}");
    }
}

/// Every code by which the core holds has its own value.
#[test]
fn the_codes_of_holds_are_the_cores() {
    use duj_core::hold::*;
    for code in [
        USER_REQUEST,
        FAILED_TO_CREATE_PROCESS,
        SUBMITTED_ON_HOLD,
        JOB_OUT_OF_RESOURCES,
        INVALID_DOCKER_IMAGE,
        TRANSFER_OUTPUT,
        TRANSFER_INPUT,
        INPUT_TOO_LARGE,
        OUTPUT_TOO_LARGE,
        CHECKPOINT_FAILED,
        JOB_POLICY,
        JOB_POLICY_UNDEFINED,
        SYSTEM_POLICY,
        JOB_DURATION_EXCEEDED,
        JOB_EXECUTE_EXCEEDED,
    ] {
        assert_eq!(word(&HOLD_CODES, &code), code.to_string());
    }
    assert_eq!(word(&HOLD_CODES, &0), OTHER);
    for (number, word) in EVENT_NUMBERS.iter().filter(|(_, word)| *word != OTHER) {
        assert_eq!(format!("{number:03}"), *word);
    }
    for ended in [Reason::Completed, Reason::ExitedNonZero, Reason::Signalled, Reason::Removed] {
        assert!(!REASONS.contains(&ended.as_str()), "a job that has ended waits for nothing");
    }
}
