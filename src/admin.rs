//! Probes and metrics over HTTP: `/livez`, `/readyz`, `/metrics`.
//!
//! Invariant: ready means that every cache has told all there was, so a decision made now is made from facts, and that the
//! API server answers. One that stands by is ready: it can take over at once, and a rolling update goes on.

use crate::{leadership::claim::Standing, run::Context};
use anyhow::Context as _;
use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    routing::get,
};
use std::{net::SocketAddr, sync::Arc, time::Duration};

/// Who waits and has not heard of the API server for longer does not know whether it has to take over.
const SILENCE: Duration = Duration::from_secs(10);

/// The format that the metrics are told in.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Serves until the process ends.
pub async fn serve(listen: SocketAddr, context: Arc<Context>) -> anyhow::Result<()> {
    let listener = tokio::net::TcpListener::bind(listen)
        .await
        .with_context(|| format!("cannot listen on {listen} for probes and metrics"))?;
    let router = Router::new()
        .route("/livez", get(|| async { "ok" }))
        .route("/readyz", get(readyz))
        .route(
            "/metrics",
            get(|State(context): State<Arc<Context>>| async move {
                ([(header::CONTENT_TYPE, OPEN_METRICS)], {
                    let (waiting, running) = context.workqueue.depth();
                    context.metrics.queue_depth(waiting, running);
                    context.metrics.text()
                })
            }),
        )
        .with_state(context);
    axum::serve(listener, router).await.context("the server of probes and metrics ended")
}

async fn readyz(State(context): State<Arc<Context>>) -> (StatusCode, String) {
    readiness(context.index.is_ready(), context.claim.standing())
}

/// Whether an operator is ready, in words.
fn readiness(is_warm: bool, standing: Standing) -> (StatusCode, String) {
    let ready = |text: String| (StatusCode::OK, text);
    let unready = |text: String| (StatusCode::SERVICE_UNAVAILABLE, text);
    if !is_warm {
        return unready("waiting for the caches of jobs, pods and commands".into());
    }
    match standing {
        Standing::Alone => ready("ok: without election".into()),
        Standing::Leads(term) => ready(format!("ok: leads, term {term}")),
        Standing::Lapsed(time) => unready(format!(
            "the lease could not be renewed for {} s: nothing is written until it is",
            time.as_secs()
        )),
        Standing::StandsBy(_, silence) if silence > SILENCE => unready(format!(
            "stands by, and has not heard of the API server for {} s",
            silence.as_secs()
        )),
        Standing::StandsBy(holder, _) if holder.is_empty() => {
            ready("ok: stands by, nobody leads".into())
        }
        Standing::StandsBy(holder, _) => ready(format!("ok: stands by, '{holder}' leads")),
        Standing::Resigns => unready("was told to end, and hands over".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readiness_tells_the_truth() {
        let seconds = Duration::from_secs;
        for (is_warm, standing, code, words) in [
            (false, Standing::Leads(3), 503, "waiting for the caches"),
            (true, Standing::Leads(3), 200, "leads, term 3"),
            (true, Standing::Lapsed(seconds(9)), 503, "not be renewed for 9 s"),
            (true, Standing::StandsBy("a".into(), seconds(1)), 200, "stands by, 'a' leads"),
            (true, Standing::StandsBy(String::new(), seconds(1)), 200, "nobody leads"),
            (true, Standing::StandsBy("a".into(), seconds(30)), 503, "not heard"),
            (true, Standing::Resigns, 503, "hands over"),
            (true, Standing::Alone, 200, "without election"),
        ] {
            let (status, text) = readiness(is_warm, standing.clone());
            assert_eq!(status.as_u16(), code, "{standing:?}");
            assert!(text.contains(words), "{text}");
        }
    }
}
