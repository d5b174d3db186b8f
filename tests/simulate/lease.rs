//! The lease of a job as its starter keeps it, and how the kubelet passes its tokens on: late, and when it was cut off, all
//! that it missed, or a part of it at a moment when nobody hears of it.
//!
//! Invariant: the rule by which a token renews is the protocol's own.

use crate::{
    kubelet::{Act, Body, State},
    world::World,
};
use duj_protocol::{
    flags,
    lease::{Mark, good_for},
};
use serde_json::Value;
use std::time::Duration;

/// A job's lease; it begins with its process.
#[derive(Clone, Debug)]
pub(crate) struct Lease {
    duration: Duration,
    token: Mark,
    ends: Option<Duration>,
    expired: bool,
    /// What the kubelet has not heard.
    missed: Vec<String>,
}

impl Lease {
    pub(crate) fn of(words: &[String]) -> Option<Self> {
        let flags = words.iter().take_while(|word| *word != "--");
        let place = flags.into_iter().position(|word| word == flags::LEASE_DURATION)?;
        let seconds = words.get(place + 1)?.parse().ok()?;
        Some(Self {
            duration: Duration::from_secs(seconds),
            token: Mark::FIRST,
            ends: None,
            expired: false,
            missed: Vec::new(),
        })
    }
}

/// What stands in a pod's annotation.
pub(crate) fn mark_of(pod: Option<&Value>) -> Option<&str> {
    pod?["metadata"]["annotations"][duj_api::names::ANNOTATION_LEASE].as_str()
}

impl Body {
    pub(crate) fn lease_expired(&self) -> bool {
        self.lease.as_ref().is_some_and(|lease| lease.expired)
    }
}

impl World {
    /// The kubelet learns what stands in the annotation now, or misses it.
    pub(crate) fn pass_on(&mut self, uid: &str, mark: &str) {
        let Some(body) = self.bodies.get_mut(uid) else { return };
        let Some(lease) = &mut body.lease else { return };
        if body.answers {
            let act = Act::Hand(uid.to_owned(), mark.to_owned());
            self.plan_for(uid, &format!("hand {mark}"), 20, 2500, act);
        } else {
            lease.missed.push(mark.to_owned());
        }
    }

    /// A connection that is made again tells all that happened meanwhile, one after the other.
    pub(crate) fn catch_up(&mut self, uid: &str) {
        let missed = self.bodies.get_mut(uid).and_then(|body| body.lease.as_mut());
        let missed = missed.map(|lease| std::mem::take(&mut lease.missed)).unwrap_or_default();
        for (number, mark) in (0..).zip(missed) {
            self.plan(Duration::from_millis(100 + 50 * number), Act::Hand(uid.to_owned(), mark));
        }
    }

    /// For a moment the kubelet hears, and breaks off before the end.
    pub(crate) fn overhear(&mut self, uid: &str) {
        let Some(body) = self.bodies.get_mut(uid).filter(|body| !body.answers) else { return };
        let Some(lease) = &mut body.lease else { return };
        let some = lease.missed.len() / 2;
        let heard: Vec<String> = lease.missed.drain(..some).collect();
        for mark in heard {
            self.tell("node1", &format!("overhears '{mark}'"));
            self.hand(uid, &mark);
        }
    }

    pub(crate) fn begin_lease(&mut self, uid: &str) {
        let now = self.elapsed();
        let Some(lease) = self.bodies.get_mut(uid).and_then(|body| body.lease.as_mut()) else {
            return;
        };
        let duration = lease.duration;
        lease.ends = Some(now + duration);
        self.plan(duration, Act::LeaseEnds(uid.to_owned()));
    }

    /// The starter reads its file.
    pub(crate) fn hand(&mut self, uid: &str, text: &str) {
        let now = self.elapsed();
        let Some(body) = self.bodies.get(uid).filter(|body| body.state == State::Running) else {
            return;
        };
        // Its node's clock is not the operator's.
        let skew = self.chance(&format!("clock {}", body.key.name)).millis(0, 16_000);
        let time = self.now().as_millisecond() - 8000 + i64::try_from(skew.as_millis()).unwrap();
        let Some(lease) = self.bodies.get_mut(uid).and_then(|body| body.lease.as_mut()) else {
            return;
        };
        let (Some(token @ Mark::Token(written)), Some(ends)) = (Mark::read(text), lease.ends)
        else {
            return;
        };
        if now >= ends || token == lease.token {
            return;
        }
        lease.token = token;
        let left = good_for(written, time, lease.duration).max(ends.saturating_sub(now));
        lease.ends = Some(now + left);
        self.plan(left, Act::LeaseEnds(uid.to_owned()));
    }

    /// The starter looks whether its lease is over, and then asks the job to end.
    pub(crate) fn lease_ends(&mut self, uid: &str) {
        let now = self.elapsed();
        let Some(body) = self.bodies.get_mut(uid).filter(|body| body.state == State::Running)
        else {
            return;
        };
        let (outcome, wait) = body.life.when_asked(body.max_vacate_time);
        let Some(lease) = &mut body.lease else { return };
        let over = lease.ends.is_some_and(|ends| ends <= now);
        if !over || lease.expired || body.told_to_stop {
            return;
        }
        lease.expired = true;
        let name = body.key.name.clone();
        self.tell("node1", &format!("ends '{name}', whose lease is over"));
        self.plan(Duration::from_millis(500) + wait, Act::Stopped(uid.to_owned(), outcome));
    }
}
