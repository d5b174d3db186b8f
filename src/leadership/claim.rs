//! The claim to lead: what the election came to, for whoever asks before it writes.
//!
//! Invariant: a claim ends by itself at its time, on a clock that counts what a process or a machine slept through; only
//! the election prolongs it. Once its holder is told to end, nothing new begins under it.

use crate::clock::Clock;
use jiff::Timestamp;
use std::{sync::Arc, time::Duration};
use thiserror::Error;
use tokio::sync::watch;

/// This operator does not lead: the write was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("this operator does not lead: nothing was sent")]
pub struct NotLeading;

/// Where its holder is in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Stands,
    /// It was told to end.
    Resigns,
    /// The lease is given back, or left to run out.
    Over,
}

#[derive(Clone, Debug, Default)]
struct State {
    stage: Stage,
    term: Option<i32>,
    /// When the term began.
    since: Timestamp,
    /// Uptime at which the claim ends.
    until: Duration,
    /// Who holds the lease, as last seen.
    holder: String,
    /// Uptime at which the API server last answered about the lease.
    heard: Duration,
}

/// A claim, shared by the election and all who write.
#[derive(Clone, Debug)]
pub struct Claim(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    clock: Clock,
    elected: bool,
    state: watch::Sender<State>,
    /// Writes that are on their way.
    writes: watch::Sender<usize>,
}

/// How an operator stands, for people and probes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// There is no election.
    Alone,
    /// It leads in this term.
    Leads(i32),
    /// It led, and could not renew its lease for so long. It writes nothing.
    Lapsed(Duration),
    /// It waits; this one leads, as far as it knows, and so long ago the API server told.
    StandsBy(String, Duration),
    /// It was told to end.
    Resigns,
}

/// A write on its way.
#[derive(Debug)]
pub(super) struct Permit(Claim);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.0.writes.send_modify(|writes| *writes = writes.saturating_sub(1));
    }
}

impl Claim {
    fn new(clock: Clock, elected: bool, state: State) -> Self {
        let (state, writes) = (watch::Sender::new(state), watch::Sender::new(0));
        Self(Arc::new(Shared { clock, elected, state, writes }))
    }

    /// The claim of one that has no rivals and asks nobody.
    pub fn undisputed(clock: Clock) -> Self {
        let (term, since, until) = (Some(0), clock.now(), Duration::MAX);
        Self::new(clock, false, State { term, since, until, ..State::default() })
    }

    /// The claim of a candidate, which has none yet.
    pub fn none(clock: Clock) -> Self {
        Self::new(clock, true, State { heard: clock.uptime(), ..State::default() })
    }

    /// Time since the machine started, sleep included.
    pub(super) fn uptime(&self) -> Duration {
        self.0.clock.uptime()
    }

    /// Whether this operator may begin a write now.
    pub fn is_current(&self) -> bool {
        let state = self.0.state.borrow();
        state.stage == Stage::Stands && self.uptime() < state.until
    }

    /// When this operator began to decide alone.
    pub fn since(&self) -> Timestamp {
        self.0.state.borrow().since
    }

    /// Waits until it may.
    pub async fn wait(&self) {
        let mut state = self.0.state.subscribe();
        // The sender lives as long as `self`.
        let _ = state
            .wait_for(|state| state.stage == Stage::Stands && self.uptime() < state.until)
            .await;
    }

    /// Lets a write begin.
    pub(super) fn admit(&self) -> Result<Permit, NotLeading> {
        // Counted first: whoever waits for the last write must not miss one that begins in the same moment.
        self.0.writes.send_modify(|writes| *writes += 1);
        let permit = Permit(self.clone());
        if self.is_current() { Ok(permit) } else { Err(NotLeading) }
    }

    /// What is left for writes that have begun; nothing once the claim has run out.
    pub(super) fn left(&self) -> Option<Duration> {
        let until = self.0.state.borrow().until;
        until.checked_sub(self.uptime()).filter(|left| !left.is_zero())
    }

    /// It holds in this term until then.
    pub(super) fn grant(&self, me: &str, term: i32, until: Duration) {
        let now = self.0.clock.now();
        self.0.state.send_modify(|state| {
            if state.term != Some(term) {
                state.since = now;
            }
            (state.term, state.until) = (Some(term), until);
            me.clone_into(&mut state.holder);
        });
    }

    /// It is lost.
    pub(super) fn revoke(&self) {
        self.0.state.send_modify(|state| (state.term, state.until) = (None, Duration::ZERO));
    }

    /// The API server told who holds the lease.
    pub(super) fn heard(&self, holder: Option<&str>) {
        let now = self.uptime();
        self.0.state.send_modify(|state| {
            state.heard = now;
            holder.unwrap_or_default().clone_into(&mut state.holder);
        });
    }

    /// Begins the end: no write begins any more.
    pub fn resign(&self) {
        let stage = if self.0.elected { Stage::Resigns } else { Stage::Over };
        self.0.state.send_modify(|state| state.stage = stage);
    }

    /// Waits until it is to end.
    pub(super) async fn resigned(&self) {
        let _ = self.0.state.subscribe().wait_for(|state| state.stage != Stage::Stands).await;
    }

    /// Waits until no write is on its way.
    pub(super) async fn drained(&self) {
        let _ = self.0.writes.subscribe().wait_for(|writes| *writes == 0).await;
    }

    /// The lease is given back, or left to run out.
    pub(super) fn end(&self) {
        self.0.state.send_modify(|state| state.stage = Stage::Over);
    }

    /// Waits until that is so.
    pub async fn ended(&self) {
        let _ = self.0.state.subscribe().wait_for(|state| state.stage == Stage::Over).await;
    }

    /// How this operator stands.
    pub fn standing(&self) -> Standing {
        let (state, now) = (self.0.state.borrow(), self.uptime());
        match (state.stage, state.term) {
            (Stage::Resigns | Stage::Over, _) => Standing::Resigns,
            _ if !self.0.elected => Standing::Alone,
            (Stage::Stands, Some(term)) if now < state.until => Standing::Leads(term),
            (Stage::Stands, Some(_)) => {
                let sent = state.until.saturating_sub(super::CLAIM);
                Standing::Lapsed(now.saturating_sub(sent))
            }
            (Stage::Stands, None) => {
                Standing::StandsBy(state.holder.clone(), now.saturating_sub(state.heard))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn claim() -> Claim {
        Claim::none(Clock::of_runtime("2026-03-01T12:00:00Z".parse().unwrap()))
    }

    #[tokio::test(start_paused = true)]
    async fn a_claim_ends_although_nobody_looked_after_it() {
        let claim = claim();
        assert_eq!(claim.admit().err(), Some(NotLeading));
        claim.grant("me", 7, claim.uptime() + 8 * SECOND);
        assert!(claim.admit().is_ok());
        assert_eq!(claim.standing(), Standing::Leads(7));
        // As when the process was stopped: time goes on, and none of its tasks ran.
        tokio::time::advance(8 * SECOND).await;
        assert_eq!(claim.admit().err(), Some(NotLeading));
        assert_eq!(claim.left(), None);
        assert_eq!(claim.standing(), Standing::Lapsed(8 * SECOND));
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_told_to_end_begins_nothing_and_lets_end_what_has_begun() {
        let claim = claim();
        claim.grant("me", 1, claim.uptime() + 8 * SECOND);
        let write = claim.admit().unwrap();
        claim.resign();
        claim.resigned().await;
        assert_eq!(claim.admit().err(), Some(NotLeading));
        assert!(claim.left().is_some());
        assert!(tokio::time::timeout(SECOND, claim.drained()).await.is_err());
        drop(write);
        claim.drained().await;
        claim.end();
        claim.ended().await;
    }

    #[tokio::test(start_paused = true)]
    async fn without_rivals_one_always_leads() {
        let claim = Claim::undisputed(Clock::of_runtime("2026-03-01T12:00:00Z".parse().unwrap()));
        tokio::time::advance(1_000_000 * SECOND).await;
        assert!(claim.admit().is_ok());
        assert_eq!(claim.standing(), Standing::Alone);
        claim.resign();
        claim.ended().await;
    }
}
