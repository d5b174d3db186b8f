//! Probes and metrics over HTTP: `/livez`, `/readyz`, `/metrics`.
//!
//! Invariant: ready means that every cache has told all there was, so a decision made now is made from facts.

use crate::run::Context;
use anyhow::Context as _;
use axum::{Router, extract::State, http::StatusCode, routing::get};
use std::{net::SocketAddr, sync::Arc};

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
            get(|State(context): State<Arc<Context>>| async move { context.metrics.text() }),
        )
        .with_state(context);
    axum::serve(listener, router).await.context("the server of probes and metrics ended")
}

async fn readyz(State(context): State<Arc<Context>>) -> (StatusCode, &'static str) {
    if context.index.is_ready() {
        (StatusCode::OK, "ok")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "waiting for the caches of jobs, pods and commands")
    }
}
