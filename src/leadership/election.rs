//! The election: one loop that keeps the lease, or waits for it.
//!
//! Invariant: the lease is written only over what was read (its resource version), and the claim counts from before the
//! write was sent. A lease that anybody else has had ends the process: Kubernetes starts it again, without its memory.

use super::{
    CLAIM, Claim, DRAIN, DURATION, GIVE_BACK, LOOK, RENEW, TRY,
    evaluate::{Record, Sight, Step, evaluate},
};
use crate::{clock::Clock, metrics::Metrics};
use anyhow::bail;
use k8s_openapi::{api::coordination::v1::Lease, apimachinery::pkg::apis::meta::v1::MicroTime};
use kube::{
    Api, Client, ResourceExt,
    api::{ObjectMeta, PostParams},
};
use std::{pin::pin, sync::Arc, time::Duration};
use tokio::time::{error::Elapsed, timeout};

/// After a failure it is tried again so soon.
const AGAIN: Duration = Duration::from_millis(500);

/// Who stands for election, and where.
#[derive(Clone)]
pub struct Candidate {
    /// A client of its own, with its own connection, so that a renewal waits for no other request.
    pub client: Client,
    /// The namespace of the lease.
    pub namespace: String,
    /// Its name; operators with the same lease serve the same jobs.
    pub lease: String,
    /// A name that no two live processes have. Whoever has it after the other may take the lease at once.
    pub identity: String,
}

/// The lease is somebody else's; this one's.
struct Lost(String);

/// Why one round came to nothing.
enum Trouble {
    Failed(Box<kube::Error>),
    NoAnswer,
    Lost(String),
}

impl From<kube::Error> for Trouble {
    fn from(error: kube::Error) -> Self {
        Self::Failed(Box::new(error))
    }
}

impl From<Elapsed> for Trouble {
    fn from(_: Elapsed) -> Self {
        Self::NoAnswer
    }
}

/// What was last seen of the lease, since when, and whether it was ever there.
struct Seen {
    version: Option<String>,
    since: Duration,
    ever: bool,
}

struct Election {
    leases: Api<Lease>,
    name: String,
    me: String,
    claim: Claim,
    clock: Clock,
    metrics: Arc<Metrics>,
    term: Option<i32>,
    /// The lease as our last write returned it; the next one needs no reading.
    ours: Option<Lease>,
    seen: Option<Seen>,
    warm: bool,
    /// Rounds in a row that came to nothing.
    failures: u32,
}

/// Stands for election once `warm` has ended, and leads until told to end. An error when the lease is lost.
pub async fn stand(
    candidate: Candidate,
    claim: Claim,
    clock: Clock,
    metrics: Arc<Metrics>,
    warm: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let Candidate { client, namespace, lease, identity } = candidate;
    let mut election = Election {
        leases: Api::namespaced(client, &namespace),
        name: lease,
        me: identity,
        claim: claim.clone(),
        clock,
        metrics,
        term: None,
        ours: None,
        seen: None,
        warm: false,
        failures: 0,
    };
    let mut warm = pin!(warm);
    loop {
        let round = tokio::select! {
            round = election.one_round() => round,
            () = claim.resigned() => break,
        };
        let pause = match round {
            Ok(pause) => pause,
            Err(Lost(holder)) => {
                claim.revoke();
                election.metrics.leads(false);
                bail!("the lease went to '{holder}': this process ends, and another one stands");
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = claim.resigned() => break,
            () = &mut warm, if !election.warm => election.warm = true,
        }
    }
    election.give_back().await;
    election.metrics.leads(false);
    claim.end();
    Ok(())
}

impl Election {
    /// Looks at the lease and does what is to be done, in bounded time. The pause until the next round.
    async fn one_round(&mut self) -> Result<Duration, Lost> {
        let failure = match self.round().await {
            Ok(pause) => {
                self.failures = 0;
                return Ok(pause);
            }
            Err(Trouble::Lost(holder)) => return Err(Lost(holder)),
            Err(Trouble::Failed(error)) => error.to_string(),
            Err(Trouble::NoAnswer) => format!("no answer in {} s", TRY.as_secs()),
        };
        // Whether a write was made is not known: the next round begins with reading.
        self.ours = None;
        self.failures += 1;
        let lapsed = self.term.is_some() && !self.claim.is_current();
        if lapsed {
            self.metrics.leads(false);
        }
        if self.failures == 1 {
            tracing::warn!(lease = self.name, "cannot look after the lease: {failure}");
        } else if lapsed && self.failures.is_multiple_of(20) {
            tracing::warn!(
                lease = self.name,
                "nothing is written until the lease is renewed: {failure}"
            );
        }
        Ok(AGAIN)
    }

    async fn round(&mut self) -> Result<Duration, Trouble> {
        let lease = match self.ours.take() {
            Some(lease) => Some(lease),
            None => self.read().await?,
        };
        let record = lease.as_ref().map(record);
        let unchanged = self.look(lease.as_ref());
        let step = evaluate(Sight {
            me: &self.me,
            term: self.term,
            current: self.claim.is_current(),
            record: record.as_ref(),
            unchanged,
            known: self.seen.as_ref().is_some_and(|seen| seen.ever),
        });
        match (step, lease) {
            (Step::Wait(left), _) => Ok(left.min(LOOK)),
            (Step::Lost, _) => Err(Trouble::Lost(record.unwrap_or_default().holder)),
            // Who leads decides from what it has seen: all of it.
            (Step::Create(_) | Step::Take(_), _) if self.term.is_none() && !self.warm => Ok(LOOK),
            (Step::Create(term), _) => self.write(Lease::default(), term).await,
            (Step::Take(term), Some(lease)) => self.write(lease, term).await,
            (Step::Renew, Some(lease)) => {
                let term = record.unwrap_or_default().term;
                self.write(lease, term).await
            }
            (Step::Take(_) | Step::Renew, None) => Ok(LOOK),
        }
    }

    async fn read(&self) -> Result<Option<Lease>, Trouble> {
        let lease = timeout(TRY, self.leases.get_opt(&self.name)).await??;
        self.claim.heard(lease.as_ref().map(record).map(|record| record.holder).as_deref());
        Ok(lease)
    }

    /// For how long the lease has been as it is, since we first saw it so.
    fn look(&mut self, lease: Option<&Lease>) -> Duration {
        let now = self.clock.uptime();
        let version = lease.and_then(ResourceExt::resource_version);
        match &mut self.seen {
            Some(seen) if seen.version == version => now.saturating_sub(seen.since),
            seen => {
                let ever = version.is_some() || seen.as_ref().is_some_and(|seen| seen.ever);
                *seen = Some(Seen { version, since: now, ever });
                Duration::ZERO
            }
        }
    }

    /// Makes the lease ours in this term, or keeps it so. Who comes between makes this a conflict, and the next round sees it.
    async fn write(&mut self, mut lease: Lease, term: i32) -> Result<Duration, Trouble> {
        let sent = self.clock.uptime();
        let now = MicroTime(self.clock.now());
        let is_new = lease.metadata.resource_version.is_none();
        let spec = lease.spec.get_or_insert_default();
        if self.term.is_none() {
            spec.acquire_time = Some(now.clone());
        }
        spec.holder_identity = Some(self.me.clone());
        spec.lease_transitions = Some(term);
        spec.lease_duration_seconds = Some(i32::try_from(DURATION.as_secs()).unwrap_or(i32::MAX));
        spec.renew_time = Some(now);
        let parameters = PostParams::default();
        let made = if is_new {
            lease.metadata = ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() };
            timeout(TRY, self.leases.create(&parameters, &lease)).await?
        } else {
            lease.managed_fields_mut().clear();
            timeout(TRY, self.leases.replace(&self.name, &parameters, &lease)).await?
        };
        match made {
            Ok(lease) => {
                self.leads(term, sent);
                self.look(Some(&lease));
                self.ours = Some(lease);
                Ok(RENEW)
            }
            Err(kube::Error::Api(status)) if status.is_conflict() || status.is_already_exists() => {
                Ok(Duration::from_millis(50))
            }
            Err(error) => Err(error.into()),
        }
    }

    fn leads(&mut self, term: i32, sent: Duration) {
        if !self.claim.is_current() {
            let again =
                if self.term == Some(term) { ", again: nobody else did meanwhile" } else { "" };
            tracing::info!(lease = self.name, term, "'{}' leads{again}", self.me);
        }
        self.term = Some(term);
        self.claim.grant(&self.me, term, sent + CLAIM);
        self.metrics.leads(true);
    }

    /// Lets the writes that are on their way end, and then whoever comes next begin at once.
    async fn give_back(&mut self) {
        let Some(term) = self.term else { return };
        if timeout(DRAIN, self.claim.drained()).await.is_err() {
            tracing::warn!("some writes are still on their way: the lease runs out by itself");
            return;
        }
        let given = async {
            let lease = match self.ours.take() {
                Some(lease) => Some(lease),
                None => self.read().await?,
            };
            let ours = |lease: &Lease| {
                let record = record(lease);
                record.holder == self.me && record.term == term
            };
            let Some(mut lease) = lease.filter(ours) else { return Ok(()) };
            let spec = lease.spec.get_or_insert_default();
            spec.holder_identity = Some(String::new());
            spec.renew_time = Some(MicroTime(self.clock.now()));
            lease.managed_fields_mut().clear();
            self.leases.replace(&self.name, &PostParams::default(), &lease).await?;
            Ok::<_, Trouble>(())
        };
        if let Ok(Ok(())) = timeout(GIVE_BACK, given).await {
            tracing::info!(lease = self.name, "the lease is given back");
        } else {
            tracing::warn!(lease = self.name, "the lease cannot be given back: it runs out");
        }
    }
}

fn record(lease: &Lease) -> Record {
    let spec = lease.spec.clone().unwrap_or_default();
    let seconds = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
    Record {
        holder: spec.holder_identity.unwrap_or_default(),
        term: spec.lease_transitions.unwrap_or_default(),
        duration: Duration::from_secs(seconds.unwrap_or_default()),
    }
}
