//! The gate: every request that changes something goes through it, and only while this operator leads.
//!
//! Invariant: a request that is not a read is begun only under a current claim, is driven on only while the claim lasts, and
//! is given up when [`WRITE`] is over. The claim is asked immediately before each step of the sending, so a process
//! that was stopped on the way finds out before it goes on.

use super::{Claim, WRITE, claim::NotLeading};
use crate::metrics::Metrics;
use axum::http::{Method, Request, Response};
use kube::{Client, client::Body};
use std::{
    future::poll_fn,
    pin::pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use thiserror::Error;
use tower::{BoxError, Service};

/// A write was not answered in its time. It may have happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("no answer in time")]
pub struct GivenUp;

/// A client whose writes need a claim, and whose requests are counted.
pub fn gated(client: Client, claim: Claim, metrics: Arc<Metrics>) -> Client {
    let namespace = client.default_namespace().to_owned();
    Client::new(Gate { client, claim, metrics }, namespace)
}

#[derive(Clone)]
struct Gate {
    client: Client,
    claim: Claim,
    metrics: Arc<Metrics>,
}

/// Sends a request and counts what becomes of it.
async fn send(
    client: Client,
    metrics: Arc<Metrics>,
    request: Request<Body>,
) -> kube::Result<Response<Body>> {
    let mut sent = metrics.sent(request.method(), request.uri());
    let answer = client.send(request).await;
    match &answer {
        Ok(answer) => sent.answered(answer.status().as_u16()),
        Err(_) => sent.broke(),
    }
    answer
}

impl Service<Request<Body>> for Gate {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = futures::future::BoxFuture<'static, Result<Response<Body>, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let Self { client, claim, metrics } = self.clone();
        Box::pin(async move {
            if matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS) {
                return Ok(send(client, metrics, request).await?);
            }
            let _permit = claim.admit()?;
            let sent = under(&claim, send(client, metrics, request));
            Ok(tokio::time::timeout(WRITE, sent).await.map_err(|_| GivenUp)???)
        })
    }
}

/// Drives a write on while the claim lasts.
async fn under<T>(claim: &Claim, write: impl Future<Output = T>) -> Result<T, GivenUp> {
    let mut write = pin!(write);
    // One look at the claim before each step.
    let mut step = pin!(poll_fn(|context| match claim.left() {
        Some(_) => write.as_mut().poll(context).map(Ok),
        None => Poll::Ready(Err(GivenUp)),
    }));
    loop {
        let left = claim.left().unwrap_or(Duration::ZERO).min(WRITE);
        match tokio::time::timeout(left, step.as_mut()).await {
            Ok(ended) => return ended,
            // It was prolonged meanwhile, or it is over.
            Err(_) if claim.left().is_some() => {}
            Err(_) => return Err(GivenUp),
        }
    }
}

/// A write that was not sent, because this operator does not lead.
pub fn is_not_leading(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Service(error) if error.is::<NotLeading>())
}

/// A write that was sent, perhaps, and not waited for any longer.
pub fn is_given_up(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Service(error) if error.is::<GivenUp>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::{
        Api,
        api::{DeleteParams, Patch, PatchParams, PostParams},
    };
    use std::sync::atomic::{AtomicU32, Ordering};

    const SECOND: Duration = Duration::from_secs(1);

    /// A server that takes so long for each answer, and the number of requests that reached it.
    fn server(takes: Duration) -> (Client, Arc<AtomicU32>) {
        let asked = Arc::new(AtomicU32::new(0));
        let count = asked.clone();
        let server = tower::service_fn(move |_: Request<Body>| {
            let count = count.clone();
            async move {
                count.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(takes).await;
                let object = r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x"}}"#;
                Ok::<_, BoxError>(Response::new(Body::from(object.as_bytes().to_vec())))
            }
        });
        (Client::new(server, "default"), asked)
    }

    fn claim() -> Claim {
        Claim::none(Clock::of_runtime("2026-03-01T12:00:00Z".parse().unwrap()))
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_lead_reads_and_writes_nothing() {
        let (client, asked) = server(Duration::ZERO);
        let objects: Api<ConfigMap> =
            Api::default_namespaced(gated(client, claim(), Arc::default()));
        let object = ConfigMap::default();
        let parameters = PostParams::default();
        let patch = Patch::Merge(&object);
        for refused in [
            objects.create(&parameters, &object).await.err(),
            objects.replace("x", &parameters, &object).await.err(),
            objects.patch("x", &PatchParams::default(), &patch).await.err(),
            objects.delete("x", &DeleteParams::default()).await.err(),
        ] {
            assert!(refused.as_ref().is_some_and(is_not_leading), "{refused:?}");
        }
        assert_eq!(asked.load(Ordering::Relaxed), 0);
        objects.get("x").await.expect("a read");
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_ends_with_its_claim_or_goes_on_with_it() {
        for (prolonged, takes, answered) in [(false, 3, false), (true, 3, true), (true, 6, false)] {
            let (client, _) = server(takes * SECOND);
            let claim = claim();
            claim.grant("me", 1, claim.uptime() + 2 * SECOND);
            let objects: Api<ConfigMap> =
                Api::default_namespaced(gated(client, claim.clone(), Arc::default()));
            let prolong = async {
                tokio::time::sleep(SECOND).await;
                if prolonged {
                    claim.grant("me", 1, claim.uptime() + 8 * SECOND);
                }
            };
            let (parameters, object) = (PostParams::default(), ConfigMap::default());
            let (made, ()) = tokio::join!(objects.create(&parameters, &object), prolong);
            assert_eq!(made.is_ok(), answered, "{takes} s");
            assert!(made.err().as_ref().is_none_or(is_given_up), "{takes} s");
            claim.resign();
            claim.drained().await;
        }
    }

    /// A process that is stopped between the question and the sending.
    #[tokio::test(start_paused = true)]
    async fn what_was_not_sent_when_the_process_was_stopped_is_never_sent() {
        let (client, asked) = server(Duration::ZERO);
        let claim = claim();
        claim.grant("me", 1, claim.uptime() + 2 * SECOND);
        let objects: Api<ConfigMap> =
            Api::default_namespaced(gated(client, claim.clone(), Arc::default()));
        let (parameters, object) = (PostParams::default(), ConfigMap::default());
        let mut create = pin!(objects.create(&parameters, &object));
        // It is admitted, and waits for the connection's turn.
        assert!(futures::poll!(create.as_mut()).is_pending());
        tokio::time::advance(3 * SECOND).await;
        let made = create.await;
        assert!(made.is_err(), "{made:?}");
        assert_eq!(asked.load(Ordering::Relaxed), 0);
    }
}
