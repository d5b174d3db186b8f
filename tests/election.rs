//! The election above a lease that a few lines keep as an API server does, in simulated time: who leads, when, and never two.
#![allow(clippy::unwrap_used, reason = "a test that fails shows where")]

use axum::{
    body::Body,
    http::{Method, Request, Response},
};
use docker_universe::{
    clock::Clock,
    leadership::{Candidate, Claim, claim::Standing, election, gated},
    metrics::Metrics,
};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client, api::PostParams};
use serde_json::{Value, json};
use std::{
    convert::Infallible,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::task::JoinHandle;

const SECOND: Duration = Duration::from_secs(1);

/// A server that keeps one lease.
#[derive(Clone, Default)]
struct Server(Arc<Mutex<(Option<Value>, u64)>>);

impl Server {
    fn answer(&self, method: &Method, body: Value) -> (u16, Value) {
        let mut state = self.0.lock().unwrap();
        let (lease, version) = &mut *state;
        let said = |object: &Value| object["metadata"]["resourceVersion"].clone();
        let refused = |code: u16, reason: &str| {
            let status = json!({
                "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                "message": reason, "reason": reason, "code": code,
            });
            (code, status)
        };
        match (method, lease.as_ref()) {
            (&Method::GET, Some(lease)) => return (200, lease.clone()),
            (&Method::GET | &Method::PUT, None) => return refused(404, "NotFound"),
            (&Method::POST, Some(_)) => return refused(409, "AlreadyExists"),
            (&Method::PUT, Some(there)) if said(there) != said(&body) => {
                return refused(409, "Conflict");
            }
            _ => {}
        }
        *version += 1;
        let mut body = body;
        body["metadata"]["resourceVersion"] = json!(version.to_string());
        *lease = Some(body.clone());
        (200, body)
    }

    fn delete(&self) {
        self.0.lock().unwrap().0 = None;
    }

    fn spec(&self) -> Value {
        self.0.lock().unwrap().0.as_ref().map(|lease| lease["spec"].clone()).unwrap_or_default()
    }
}

/// An operator that stands for election.
struct Operator {
    claim: Claim,
    /// Whether the server answers it.
    connected: Arc<AtomicBool>,
    client: Client,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Operator {
    fn stand(server: &Server, identity: &str, warm_after: Duration) -> Self {
        let connected = Arc::new(AtomicBool::new(true));
        let (there, server) = (connected.clone(), server.clone());
        let service = tower::service_fn(move |request: Request<kube::client::Body>| {
            let (there, server) = (there.clone(), server.clone());
            async move {
                tokio::time::sleep(Duration::from_millis(5)).await;
                if !there.load(Ordering::Relaxed) {
                    std::future::pending::<()>().await;
                }
                let (head, body) = request.into_parts();
                let body = body.collect_bytes().await.unwrap();
                let body = serde_json::from_slice(&body).unwrap_or_default();
                let (code, answer) = server.answer(&head.method, body);
                let answer = Response::builder().status(code).body(Body::from(answer.to_string()));
                Ok::<_, Infallible>(answer.unwrap())
            }
        });
        let client = Client::new(service, "default");
        let clock = Clock::of_runtime("2026-03-01T12:00:00Z".parse().unwrap());
        let claim = Claim::none(clock);
        let candidate = Candidate {
            client: client.clone(),
            namespace: "default".into(),
            lease: "lease".into(),
            identity: identity.into(),
        };
        let warm = tokio::time::sleep(warm_after);
        let metrics = Arc::new(Metrics::default());
        let task = tokio::spawn(election::stand(candidate, claim.clone(), clock, metrics, warm));
        Self { claim, connected, client, task }
    }

    fn connect(&self, connected: bool) {
        self.connected.store(connected, Ordering::Relaxed);
    }

    /// The time until it leads.
    async fn leads_after(&self) -> Duration {
        let begin = tokio::time::Instant::now();
        let waited = tokio::time::timeout(60 * SECOND, self.claim.wait()).await;
        waited.expect("it leads within a minute");
        begin.elapsed()
    }
}

/// One that leads, and one that stands by.
async fn pair(server: &Server) -> (Operator, Operator) {
    let first = Operator::stand(server, "first", Duration::ZERO);
    assert!(first.leads_after().await < SECOND);
    let second = Operator::stand(server, "second", Duration::ZERO);
    tokio::time::sleep(5 * SECOND).await;
    assert_eq!(first.claim.standing(), Standing::Leads(1));
    assert!(matches!(second.claim.standing(), Standing::StandsBy(holder, _) if holder == "first"));
    (first, second)
}

#[tokio::test(start_paused = true)]
async fn after_a_crash_the_other_one_leads_within_fifteen_seconds() {
    for moment in 0..8 {
        let server = Server::default();
        let (first, second) = pair(&server).await;
        tokio::time::sleep(Duration::from_millis(moment * 250)).await;
        first.task.abort();
        let after = second.leads_after().await;
        assert!(7 * SECOND < after && after < 15 * SECOND, "{after:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn after_an_ordered_end_the_other_one_leads_at_once() {
    let server = Server::default();
    let (first, second) = pair(&server).await;
    first.claim.resign();
    first.claim.ended().await;
    assert!(!first.claim.is_current());
    assert!(second.leads_after().await < SECOND);
    assert!(first.task.await.unwrap().is_ok());
    assert_eq!(server.spec()["leaseTransitions"], 2);
}

#[tokio::test(start_paused = true)]
async fn a_container_that_is_started_again_leads_at_once() {
    let server = Server::default();
    let (first, _second) = pair(&server).await;
    first.task.abort();
    let again = Operator::stand(&server, "first", Duration::ZERO);
    assert!(again.leads_after().await < SECOND);
    assert_eq!(again.claim.standing(), Standing::Leads(2));
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_is_away_ends_nobody_and_changes_no_leader() {
    let server = Server::default();
    let only = Operator::stand(&server, "only", Duration::ZERO);
    only.leads_after().await;
    only.connect(false);
    tokio::time::sleep(9 * SECOND).await;
    assert!(!only.claim.is_current());
    assert!(matches!(only.claim.standing(), Standing::Lapsed(_)));
    tokio::time::sleep(300 * SECOND).await;
    only.connect(true);
    assert!(only.leads_after().await < 3 * SECOND);
    assert_eq!(only.claim.standing(), Standing::Leads(1), "nobody else led meanwhile");
}

#[tokio::test(start_paused = true)]
async fn who_is_cut_off_stops_before_the_other_one_begins_and_ends_when_it_hears_of_it() {
    for moment in 0..8 {
        let server = Server::default();
        let (first, second) = pair(&server).await;
        tokio::time::sleep(Duration::from_millis(moment * 250)).await;
        first.connect(false);
        while !second.claim.is_current() {
            tokio::time::sleep(Duration::from_millis(1)).await;
            assert!(!(first.claim.is_current() && second.claim.is_current()), "two lead");
        }
        tokio::time::sleep(20 * SECOND).await;
        first.connect(true);
        let ended = tokio::time::timeout(5 * SECOND, first.task).await;
        let error = ended.expect("it ends").unwrap().expect_err("it lost the lease");
        assert!(error.to_string().starts_with("the lease went to 'second'"), "{error}");
        assert!(second.claim.is_current());
    }
}

#[tokio::test(start_paused = true)]
async fn who_could_not_renew_for_a_while_loses_to_nobody_who_only_watched() {
    let server = Server::default();
    let (first, second) = pair(&server).await;
    second.connect(false);
    tokio::time::sleep(60 * SECOND).await;
    assert!(first.claim.is_current());
    // What the other one saw last is a minute old, and the lease has been renewed since.
    second.connect(true);
    tokio::time::sleep(30 * SECOND).await;
    assert!(first.claim.is_current() && !second.claim.is_current());
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_somebody_deletes_is_made_again_by_whoever_leads() {
    let server = Server::default();
    let (first, second) = pair(&server).await;
    server.delete();
    tokio::time::sleep(30 * SECOND).await;
    assert!(first.claim.is_current() && !second.claim.is_current());
    assert_eq!(server.spec()["holderIdentity"], "first");
    // Nobody leads: it is not waited for longer than for a holder that is gone.
    first.task.abort();
    server.delete();
    assert!(second.leads_after().await < 15 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn nobody_leads_with_cold_caches() {
    let server = Server::default();
    let cold = Operator::stand(&server, "cold", 20 * SECOND);
    tokio::time::sleep(19 * SECOND).await;
    assert_eq!(server.spec(), Value::Null);
    assert!(cold.leads_after().await < 2 * SECOND);
}

/// A write that may still arrive keeps the lease from being given back.
#[tokio::test(start_paused = true)]
async fn who_is_told_to_end_gives_back_only_when_its_writes_have_ended() {
    let server = Server::default();
    let (first, second) = pair(&server).await;
    let objects: Api<ConfigMap> =
        Api::default_namespaced(gated(first.client.clone(), first.claim.clone(), Arc::default()));
    first.connect(false);
    let write = tokio::spawn(async move {
        drop(objects.create(&PostParams::default(), &ConfigMap::default()).await);
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    let told = tokio::time::Instant::now();
    first.claim.resign();
    first.claim.ended().await;
    assert!(told.elapsed() < 2 * SECOND, "{:?}", told.elapsed());
    assert_eq!(server.spec()["holderIdentity"], "first");
    assert!(second.leads_after().await > 5 * SECOND);
    write.await.unwrap();
}
