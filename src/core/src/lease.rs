//! A job's lease: the right to run on while nobody hears of it, and when that is over for certain.
//!
//! Invariant: all of it stands in the pod, so that a restart forgets nothing: the duration in what cannot be changed (the
//! container's arguments), tokens, revocation and end in an annotation, each written only over what its writer has seen.
//! After a revocation there is no newer token until the node answers again; [`Lease::over_at`] is later than any time at
//! which the job can still run; and after the end there is no token at all.

use crate::fate::{Eviction, vacate};
use duj_api::names;
use duj_protocol::{flags, lease::Mark};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;

/// Beyond the lease and the job's vacate time: 10 s that a token may be on its way without loss (`TOLERANCE` of the
/// protocol), 10 s that the clocks of the operator's and the job's node may differ by, and 10 s for the starter's own look
/// at its files, the kernel's end of the processes, and a busy node.
const MARGIN: SignedDuration = SignedDuration::from_secs(30);

/// The time between two renewals, whatever somebody else's pod says: a third of the shortest lease that there is.
const SHORTEST: SignedDuration = SignedDuration::from_secs(6);

/// The lease of the job in one pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Seconds for which a new token is good.
    pub duration: i64,
    /// Seconds that the job has to end when it is asked to, a little more than its `maxVacateTime`.
    pub grace: i64,
    /// What stands in the annotation; `None` where somebody else wrote there.
    pub mark: Option<Mark>,
}

/// What is to be written now, and when to look again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// This.
    Now(Mark),
    /// Nothing before that time.
    At(Timestamp),
    /// Nothing any more.
    Never,
}

impl Lease {
    /// The lease of a pod's job, where it has one.
    pub fn read(pod: &Pod) -> Option<Self> {
        let spec = pod.spec.as_ref()?;
        let job = spec.containers.iter().find(|c| c.name == names::CONTAINER_JOB)?;
        let arguments = job.args.as_ref()?;
        // What comes after `--` is the user's.
        let flag = arguments.iter().take_while(|word| *word != "--");
        let place = flag.into_iter().position(|word| word == flags::LEASE_DURATION)?;
        let annotations = pod.metadata.annotations.as_ref();
        let text = annotations.and_then(|annotations| annotations.get(names::ANNOTATION_LEASE));
        Some(Self {
            duration: arguments.get(place + 1)?.parse().ok()?,
            grace: spec.termination_grace_period_seconds.unwrap_or_default(),
            mark: text.and_then(|text| Mark::read(text)),
        })
    }

    /// When it was found to be over.
    pub fn ended(&self) -> Option<Timestamp> {
        let Some(Mark::Over(time)) = self.mark else { return None };
        Timestamp::from_millisecond(time).ok()
    }

    /// The job cannot run after this time, whatever its node does, which does not answer since `silent`. None where the
    /// tokens are not revoked.
    pub fn over_at(&self, silent: Timestamp) -> Option<Timestamp> {
        let Some(Mark::Revoked(time)) = self.mark else { return None };
        let seconds = SignedDuration::from_secs(self.duration.saturating_add(self.grace));
        let revoked = Timestamp::from_millisecond(time).ok()?.max(silent);
        revoked.checked_add(seconds).ok()?.checked_add(MARGIN).ok()
    }

    /// What the lease of a job that began at `started` needs while its node answers.
    pub fn renewal(&self, started: Timestamp, now: Timestamp) -> Due {
        let written = match self.mark {
            Some(Mark::Token(time)) => Timestamp::from_millisecond(time).unwrap_or(started),
            Some(Mark::Revoked(_)) | None => return Due::Now(token(now)),
            Some(Mark::Over(_)) => return Due::Never,
        };
        let third = (SignedDuration::from_secs(self.duration) / 3).max(SHORTEST);
        let last = written.max(started);
        // A time to come was written by another clock: there is no waiting for it.
        if now.duration_since(last).abs() >= third {
            return Due::Now(token(now));
        }
        Due::At(last.saturating_add(third).unwrap_or(now))
    }

    /// What it needs while its node does not answer, since `silent`.
    pub fn revocation(&self, silent: Timestamp, now: Timestamp) -> Due {
        match (self.mark, self.over_at(silent)) {
            (Some(Mark::Over(_)), _) => Due::Never,
            (_, Some(end)) if end <= now => Due::Now(Mark::Over(now.as_millisecond())),
            (_, Some(end)) => Due::At(end),
            (_, None) => Due::Now(Mark::Revoked(now.as_millisecond())),
        }
    }

    /// The end of an attempt whose lease is over, in `HTCondor`'s words.
    pub fn expired(&self) -> Eviction {
        Eviction {
            code: vacate::RECONNECT_FAILED,
            reason: format!(
                "Job disconnected too long: JobLeaseDuration ({} seconds) expired",
                self.duration
            ),
        }
    }
}

fn token(now: Timestamp) -> Mark {
    Mark::Token(now.as_millisecond())
}
