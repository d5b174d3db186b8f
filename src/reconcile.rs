//! The page to read first: one job, observed, decided, performed.
//!
//! Level-triggered: it runs whenever something about the job may have changed, and from any state, after a crash between any
//! two writes, it comes to the same end. Its order is the design's: what is a pure function of the job (its first pod) may
//! come first; then the status, which commits; then what depends on it.

use crate::{
    hearing,
    memory::JobMemory,
    metrics, observe,
    perform::{self, Error, Made},
    run::Context,
    trouble,
};
use duj_api::DockerUniverseJob;
use duj_core::{
    decide::decide,
    observed::{Decision, Effect, Observed, RefusalKind},
    userlog::Event,
};
use jiff::Timestamp;
use kube::ResourceExt;
use std::{sync::Arc, time::Duration};

/// How often a decision may change within one run, because the API server refused what it asked for.
const ROUNDS: usize = 3;
/// After so many errors in a row, some seconds, the job's owner is told: the status cannot say it.
const TOLD_ONCE: u32 = 4;
/// And then after each so many more, about an hour.
const TOLD_AGAIN: u32 = 60;

/// A job of more procs is looked at again only after [`REST`]: each look costs the more, the more procs there are, and always
/// some of their pods have news.
const MANY: u32 = 100;
/// The time between two such looks, where nothing is left to do.
const REST: Duration = Duration::from_millis(200);

/// Brings one job forward.
pub async fn reconcile(
    job: Arc<DockerUniverseJob>,
    context: &Context,
) -> Result<Option<Duration>, Error> {
    context.index.wait_until_ready().await;
    if !context.claim.is_current() {
        context.claim.wait().await;
        // What was read of the job before may be hours old.
        return Ok(Some(Duration::ZERO));
    }
    let uid = job.uid().unwrap_or_default();
    if let Some(rest) = context.memory.of(&uid, JobMemory::rest) {
        return Ok(Some(rest));
    }
    let started = tokio::time::Instant::now();
    let mut again = Some(Duration::from_secs(1));
    for _ in 0..ROUNDS {
        let newest = context.memory.newest(job.clone());
        // The places are kept until the pods are there.
        let grant = context.places.ask(&newest);
        let observed = observe::observe(context, newest, grant.room.clone()).await?;
        let decision = decide(&observed, &context.settings);
        let now = observed.now;
        let trouble = trouble::ask_again(&context.memory, &observed);
        let transfers = hearing::ask_again(&context.memory, &observed);
        let wake = decision.wake.into_iter().chain(trouble).chain(transfers).min();
        let many = observed.total_procs() > MANY;
        let goes_on = wake.is_some_and(|wake| wake <= now);
        let done = Box::pin(carry_out(context, observed, decision)).await? == Made::Done;
        drop(grant);
        if many && !goes_on {
            context.memory.of(&uid, |memory| memory.rest_for(REST));
        }
        if done {
            again = wake.map(|wake| until(wake, now));
            break;
        }
        // The server refused a pod: the next decision takes that into account.
    }
    context.memory.of(&uid, |memory| memory.errors = 0);
    context.metrics.reconciled(started.elapsed());
    Ok(again)
}

/// What to do about an error: log it, and try again later and later.
pub fn retry(job: &DockerUniverseJob, error: &Error, context: &Context) -> Duration {
    if error.is_not_leading() {
        // It waits there until this operator leads again.
        return Duration::from_millis(200);
    }
    context.metrics.failed();
    if error.is_conflict() {
        // Our cache was older than the server; the watch brings the newer job in a moment.
        return Duration::from_millis(200);
    }
    let uid = job.uid().unwrap_or_default();
    let errors = context.memory.of(&uid, |memory| {
        memory.errors = memory.errors.saturating_add(1);
        memory.errors
    });
    let namespace = job.namespace().unwrap_or_default();
    tracing::warn!(job = format!("{namespace}/{}", job.name_any()), "{error}");
    if error.is_lasting() && (errors == TOLD_ONCE || errors.is_multiple_of(TOLD_AGAIN)) {
        let note = format!("the operator cannot go on with this job, and tries again: {error}");
        context.recorder.tell(job, true, "CannotGoOn", note);
    }
    Duration::from_millis(500u64 << errors.min(7)).max(error.retry_after())
}

async fn carry_out(
    context: &Context,
    observed: Observed,
    decision: Decision,
) -> Result<Made, Error> {
    let uid = observed.job.uid().unwrap_or_default();
    let Decision { before, status, events, deferred, after, policies_due, .. } = decision;
    let idle_since = metrics::idle_since(&observed.job, observed.job.status.as_ref(), &before);
    context.memory.of(&uid, |memory| memory.idle_since = idle_since);
    if let Made::Refused = perform::all(context, &observed.job, before).await? {
        return Ok(Made::Refused);
    }
    let newest = status.as_ref().or(observed.job.status.as_ref());
    let idle_since = metrics::idle_since(&observed.job, newest, &after);
    context.memory.of(&uid, |memory| {
        let since = memory.uncommitted_since.unwrap_or(observed.now);
        memory.uncommitted_since = deferred.then_some(since);
        memory.policies_due = policies_due.or(memory.policies_due);
        memory.idle_since = idle_since;
    });
    if let Some(status) = status {
        let written = perform::write_status(context, &observed.job, status).await?;
        context.metrics.committed(&events);
        let ends = after.iter().filter_map(|effect| match effect {
            Effect::ReleasePod { uid: pod, .. } => context.index.ended_since(&uid, pod),
            _ => None,
        });
        ends.for_each(|since| context.metrics.end_committed(since.elapsed()));
        if context.settings.event_log {
            tell_events(&observed.job, &events);
        }
        context.memory.of(&uid, |memory| {
            memory.written = Some(Arc::new(written));
            // A final refusal is in the status now; what comes after a mended job is asked anew.
            memory.refusal =
                memory.refusal.take().filter(|refusal| refusal.kind != RefusalKind::Permanent);
        });
    }
    perform::all(context, &observed.job, after).await
}

/// `HTCondor`'s `EVENT_LOG`: what is committed is told once more here, where it outlives the job.
fn tell_events(job: &DockerUniverseJob, events: &[Event]) {
    let namespace = job.namespace().unwrap_or_default();
    let name = job.name_any();
    for event in events {
        tracing::info!(target: "event_log", job = format!("{namespace}/{name}"), event = %event);
    }
}

fn until(wake: Timestamp, now: Timestamp) -> Duration {
    let wait = wake.duration_since(now);
    // A little late rather than a little early, so that what is due then is due.
    Duration::try_from(wait).unwrap_or_default().min(Duration::from_hours(1))
        + Duration::from_millis(5)
}
