//! Scheduler and kubelet: what really goes on in each pod, and what its status tells of it, a little later.
//!
//! The truth is in [`Body`]; a status is always the whole truth at the time it is written, so that what was short is never told.

use crate::{
    lease::{Lease, mark_of},
    life::{Ending, Life},
    store::{Change, Key, Kind, is_deleting},
    world::World,
};
use duj_protocol::Outcome;
use serde_json::Value;
use std::time::Duration;

/// Something that is to happen; the text is a UID.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    Bind(String),
    /// The node tries to start the container; see `starting.rs`.
    Try(String),
    Begin(String),
    /// The kubelet writes the pod's status.
    Tell(String),
    End(String),
    /// The kubelet hears that the pod is to be deleted.
    Stop(String),
    /// The process ends because it was told to, or by force.
    Stopped(String, Outcome),
    /// The container is killed as a whole.
    Kill(String),
    /// What was not begun will not begin.
    GiveUp(String),
    /// The pod has ended, a moment after its container.
    Close(String),
    Confirm(String),
    /// The starter reads this in the lease's file; its lease may be over; its cut-off kubelet hears a part of what it missed.
    Hand(String, String),
    LeaseEnds(String),
    Overhear(String),
    /// The node stops answering, and the node controller says so; then it taints; then the node answers again.
    Pause(String),
    Unreachable(String),
    Return(String),
    Taint(String),
    /// The node is gone for good.
    CollectGarbage(String),
    /// The garbage collector looks at the pods of a job.
    Orphans(String),
    People,
}

/// Where a pod's process is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum State {
    Unbound,
    Preparing,
    Running,
    Ended(End),
}

/// How a container ended.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct End {
    pub(crate) code: i32,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
    pub(crate) at: String,
    /// It ended of its own accord, with this outcome.
    pub(crate) own: Option<Outcome>,
}

/// What really goes on in a pod.
#[derive(Clone, Debug)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(crate) struct Body {
    pub(crate) key: Key,
    pub(crate) owner: String,
    pub(crate) proc: String,
    pub(crate) attempt: u32,
    pub(crate) life: Life,
    pub(crate) state: State,
    pub(crate) started: Option<jiff::Timestamp>,
    pub(crate) answers: bool,
    pub(crate) told_to_stop: bool,
    pub(crate) max_vacate_time: u64,
    pub(crate) lease: Option<Lease>,
    pub(crate) evicted: bool,
    /// How often the node has tried to start the container in vain.
    pub(crate) tries: u32,
    /// Its node did not take it.
    pub(crate) refused: bool,
    /// All of the pod has ended, as its phase tells.
    pub(crate) closed: bool,
}

impl Body {
    fn of(change: &Change) -> Option<Self> {
        let pod = change.after.as_ref()?;
        let label = |name: &str| Some(pod["metadata"]["labels"][name].as_str()?.to_owned());
        let container = &pod["spec"]["containers"][0];
        let words: Vec<String> = serde_json::from_value(container["args"].clone()).ok()?;
        let place = |flag: &str| words.iter().position(|word| word == flag);
        let command = words.get(place("--")? + 2..)?;
        let attempt = label(duj_api::names::LABEL_ATTEMPT)?.parse().ok()?;
        let life = Life::of(command, usize::try_from(attempt).ok()?);
        Some(Self {
            key: change.key.clone(),
            owner: pod["metadata"]["ownerReferences"][0]["uid"].as_str()?.to_owned(),
            proc: label(duj_api::names::LABEL_PROC_ID)?,
            attempt,
            max_vacate_time: words.get(place("--max-vacate-time")? + 1)?.parse().ok()?,
            lease: Lease::of(&words),
            life,
            state: State::Unbound,
            started: None,
            answers: true,
            told_to_stop: false,
            evicted: false,
            tries: 0,
            refused: false,
            closed: false,
        })
    }

    /// A process of it runs, or may yet.
    pub(crate) fn lives(&self) -> bool {
        !matches!(self.state, State::Ended(_))
    }
}

impl World {
    /// Nature follows a change.
    pub(crate) fn follow(&mut self, change: &Change) {
        let uid = change.last["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
        match (change.key.kind, &change.before, &change.after) {
            (Kind::Pod, None, Some(_)) => {
                let Some(body) = Body::of(change) else {
                    return self
                        .violate(format!("{} is a pod that no kubelet understands", change.key));
                };
                let mut times = self.chance(&format!("schedule {}", change.key.name));
                self.plan(times.millis(50, 1500), Act::Bind(uid.clone()));
                let owner = body.owner.clone();
                self.bodies.insert(uid, body);
                self.plan(Duration::from_secs(20), Act::Orphans(owner));
            }
            (Kind::Pod, before, after) => {
                if let Some(mark) = mark_of(after.as_deref())
                    && mark_of(before.as_deref()) != Some(mark)
                {
                    self.pass_on(&uid, mark);
                }
                self.follow_deletion(change, &uid, after.as_deref());
            }
            (Kind::Job, _, after) if after.as_deref().is_none_or(is_deleting) => {
                let mut times = self.chance(&format!("collect {uid}"));
                let longest = *times.pick(&[10, 100, 2000]);
                self.plan(times.millis(1, longest), Act::Orphans(uid));
            }
            _ => {}
        }
    }

    fn follow_deletion(&mut self, change: &Change, uid: &str, after: Option<&Value>) {
        let Some(body) = self.bodies.get_mut(uid) else { return };
        let began = change.before.as_deref().is_some_and(|before| !is_deleting(before));
        match after {
            // No object, no process: the kubelet kills what is left.
            None => {
                if body.lives() {
                    body.state = State::Ended(End::default());
                }
            }
            Some(pod) if is_deleting(pod) && began => {
                if body.state == State::Unbound {
                    body.state = State::Ended(End::default());
                } else {
                    let mut times = self.chance(&format!("stop {}", change.key.name));
                    self.plan(times.millis(20, 800), Act::Stop(uid.to_owned()));
                }
            }
            Some(_) => {}
        }
    }

    pub(crate) fn act(&mut self, act: Act) {
        match act {
            Act::Bind(uid) => self.bind(&uid),
            Act::Try(uid) => self.try_to_start(&uid),
            Act::Begin(uid) => self.begin(&uid),
            Act::Tell(uid) => self.tell_status(&uid),
            Act::End(uid) => self.end(&uid),
            Act::Stop(uid) => self.stop(&uid),
            Act::Stopped(uid, outcome) => self.over(&uid, outcome, true),
            Act::Kill(uid) => self.killed(&uid, "Error"),
            Act::GiveUp(uid) => self.give_up(&uid),
            Act::Close(uid) => self.close(&uid),
            Act::Confirm(uid) => self.confirm(&uid),
            Act::Hand(uid, mark) => self.hand(&uid, &mark),
            Act::LeaseEnds(uid) => self.lease_ends(&uid),
            Act::Overhear(uid) => self.overhear(&uid),
            Act::Pause(uid) => self.pause(&uid),
            Act::Unreachable(uid) => self.unreachable(&uid),
            Act::Return(uid) => self.comes_back(&uid),
            Act::Taint(uid) => self.taint(&uid),
            Act::CollectGarbage(uid) => self.collect_garbage(&uid),
            Act::Orphans(uid) => self.collect_orphans(&uid),
            Act::People => self.look_around(),
        }
    }

    /// Plans something for a pod, after a time that belongs to the pod and to what it is.
    pub(crate) fn plan_for(&mut self, uid: &str, what: &str, from: u64, to: u64, act: Act) {
        let Some(body) = self.bodies.get(uid) else { return };
        let wait = self.chance(&format!("{what} {}", body.key.name)).millis(from, to);
        self.plan(wait, act);
    }

    fn begin(&mut self, uid: &str) {
        let (now, at) = (self.now(), self.stamp());
        let Some(body) = self.bodies.get_mut(uid).filter(|body| body.state == State::Preparing)
        else {
            return;
        };
        // A kubelet that is cut off starts what it was given.
        if body.told_to_stop {
            return;
        }
        body.life.trouble = None;
        body.state = State::Running;
        body.started = Some(now);
        let (life, name) = (body.life.clone(), body.key.name.clone());
        if life.start_error {
            body.started = None;
            let message = "failed to create containerd task: error mounting to rootfs at /data";
            body.state = State::Ended(End {
                code: 128,
                reason: "StartError",
                message: message.into(),
                at,
                own: None,
            });
        } else {
            self.tell("node1", &format!("starts the job of '{name}'"));
        }
        let slow = self.chance(&format!("slow {name}")).one_in(8);
        let longest = if slow { 6000 } else { 1200 };
        self.plan_for(uid, "tell begin", 20, longest, Act::Tell(uid.to_owned()));
        if life.start_error {
            return;
        }
        self.begin_lease(uid);
        if life.ending != Ending::Never {
            self.plan(life.after, Act::End(uid.to_owned()));
        }
        if let Some((after, length)) = life.pause {
            self.plan(after, Act::Pause(uid.to_owned()));
            self.plan(after + length, Act::Return(uid.to_owned()));
        }
        if let Some(violation) = self.runs_twice(uid) {
            self.violate(violation);
        }
    }

    /// Two processes of one proc at a time.
    fn runs_twice(&self, uid: &str) -> Option<String> {
        let body = &self.bodies[uid];
        let other = self.bodies.values().find(|other| {
            other.state == State::Running
                && (&other.owner, &other.proc) == (&body.owner, &body.proc)
                && other.key != body.key
        })?;
        Some(format!("I1: '{}' runs while '{}' runs", body.key.name, other.key.name))
    }

    fn end(&mut self, uid: &str) {
        let Some(body) = self.bodies.get_mut(uid).filter(|body| body.state == State::Running)
        else {
            return;
        };
        match body.life.ending {
            Ending::Exit(code) => self.over(uid, Outcome::Exited(code), false),
            Ending::Signal(signal) => self.over(uid, Outcome::Signalled(signal), false),
            Ending::OverDisk => {
                self.over(uid, Outcome::OverDisk { used: 2048, limit: 1024 }, false);
            }
            Ending::NotStarted => {
                let message = "cannot start 'sim': no such file or directory".to_owned();
                self.over(uid, Outcome::NotStarted { errno: 2, message }, false);
            }
            Ending::OutOfMemory => self.over_memory(uid, Outcome::Signalled(9)),
            Ending::ChildOutOfMemory => self.over_memory(uid, Outcome::Exited(0)),
            Ending::WholeOutOfMemory => self.killed(uid, "OOMKilled"),
            Ending::Killed => self.killed(uid, "Error"),
            Ending::Evicted => {
                body.evicted = true;
                self.killed(uid, "Error");
            }
            Ending::Never => {}
        }
    }
}
