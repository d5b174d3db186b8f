//! The world around the operator: the store, what is to happen when, who watches, and the story so far.

use crate::{
    chance::Chance,
    kubelet::{Act, Body},
    people::Person,
    refused::Refused,
    store::{Change, Key, Kind, Store},
    witness::Witness,
};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};

/// The namespace of all jobs.
pub(crate) const NAMESPACE: &str = "jobs";
/// The operator's own namespace.
pub(crate) const OWN_NAMESPACE: &str = "docker-universe";

/// When the world begins.
pub(crate) fn dawn() -> Timestamp {
    "2026-03-01T12:00:00Z".parse().unwrap()
}

/// All that there is.
pub(crate) struct World {
    pub(crate) seed: u64,
    pub(crate) store: Store,
    /// What really goes on in each pod, by its UID.
    pub(crate) bodies: BTreeMap<String, Body>,
    pub(crate) people: Vec<Person>,
    /// Warnings that the kubelet told by Events: pod UID, message.
    pub(crate) warnings: Vec<(String, String)>,
    /// No pod is admitted.
    pub(crate) quota_is_full: bool,
    pub(crate) witness: Witness,
    agenda: BTreeMap<(Duration, u64), Act>,
    planned: u64,
    began: Instant,
    story: String,
}

impl World {
    pub(crate) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// The time of day.
    pub(crate) fn now(&self) -> Timestamp {
        dawn() + SignedDuration::try_from(self.elapsed()).unwrap()
    }

    /// The time of day as Kubernetes writes it: to the second.
    pub(crate) fn stamp(&self) -> String {
        Timestamp::from_second(self.now().as_second()).unwrap().to_string()
    }

    /// Chance that depends on nothing but the seed and the question.
    pub(crate) fn chance(&self, question: &str) -> Chance {
        Chance::of(self.seed, question)
    }

    pub(crate) fn tell(&mut self, who: &str, what: &str) {
        let time = self.elapsed();
        writeln!(self.story, "{:>9.3}  {who:<12} {what}", time.as_secs_f64()).unwrap();
    }

    /// Something is not as it must be.
    pub(crate) fn violate(&mut self, what: String) {
        self.tell("VIOLATION", &what);
        self.witness.violations.push(what);
    }

    pub(crate) fn story(&self) -> &str {
        &self.story
    }

    /// Something is to happen in a while.
    pub(crate) fn plan(&mut self, wait: Duration, act: Act) {
        self.planned += 1;
        self.agenda.insert((self.elapsed() + wait, self.planned), act);
    }

    fn due(&mut self) -> Option<Act> {
        let entry = self.agenda.first_entry()?;
        (entry.key().0 <= self.began.elapsed()).then(|| entry.remove())
    }

    /// A write to the store by anybody: nature and the witness learn of it, the story tells it.
    pub(crate) fn write(
        &mut self,
        who: &str,
        write: impl FnOnce(&mut Store) -> Result<Arc<Value>, Refused>,
    ) -> Result<Arc<Value>, Refused> {
        let before = self.store.history.len();
        let result = write(&mut self.store);
        let changes: Vec<Change> = self.store.history[before..].to_vec();
        for change in &changes {
            let text = describe(change);
            self.tell(who, &text);
            self.follow(change);
            for violation in Witness::look(self, change) {
                self.violate(violation);
            }
        }
        if !changes.is_empty() {
            self.plan(Duration::from_millis(150), Act::People);
        }
        result
    }

    /// Who holds the operators' lease.
    pub(crate) fn holder(&self) -> Option<&str> {
        let leases = self.store.list(Kind::Lease, Some(OWN_NAMESPACE));
        leases.first()?.1["spec"]["holderIdentity"].as_str()
    }

    pub(crate) fn object(&self, kind: Kind, name: &str) -> Option<&Value> {
        self.store.get(&Key::new(kind, NAMESPACE, name)).map(Arc::as_ref)
    }
}

/// What changed, in a line.
fn describe(change: &Change) -> String {
    let did = match (&change.before, &change.after) {
        (None, _) => "creates",
        (_, None) => "ends",
        _ => "changes",
    };
    let object = change.last.as_ref();
    let mut text = format!("{did} {} at {}: ", change.key, change.version);
    match change.key.kind {
        Kind::Pod => {
            let status = &object["status"];
            let state = &status["containerStatuses"][0]["state"];
            write!(text, "{} {}", status["phase"].as_str().unwrap_or(""), container(state))
                .unwrap();
            for field in ["deletionTimestamp", "deletionGracePeriodSeconds", "finalizers"] {
                if !object["metadata"][field].is_null() {
                    write!(text, " {field}={}", object["metadata"][field]).unwrap();
                }
            }
        }
        Kind::Job => {
            let procs = &object["status"]["procs"];
            let because = &object["status"]["because"]["reason"];
            let log = object["status"]["userLog"]["text"].as_str().unwrap_or_default();
            let events: Vec<&str> =
                log.split("\n...\n").filter_map(|event| event.get(..3)).collect();
            write!(
                text,
                "hold={} {because} {} log {}",
                object["spec"]["hold"],
                brief(procs),
                events.join(" ")
            )
            .unwrap();
        }
        Kind::Command => {
            write!(text, "{} {}", object["spec"]["verb"], object["status"]["message"]).unwrap();
        }
        Kind::ConfigMap => write!(text, "{}", object["data"]).unwrap(),
        Kind::Lease => write!(text, "{}", object["spec"]).unwrap(),
    }
    text
}

/// A container's state in short.
fn container(state: &Value) -> String {
    if state["running"].is_object() {
        return "runs".into();
    }
    let end = &state["terminated"];
    if end.is_object() {
        let record = end["message"].as_str().and_then(duj_protocol::Record::from_message);
        let outcome = record.and_then(|record| record.outcome);
        return format!("ended with {} {} {outcome:?}", end["exitCode"], end["reason"]);
    }
    state["waiting"]["reason"].as_str().unwrap_or_default().to_owned()
}

fn brief(value: &Value) -> String {
    let mut text = value.to_string();
    if text.len() > 420 {
        let end = (0..=420).rev().find(|end| text.is_char_boundary(*end)).unwrap();
        text.truncate(end);
        text.push('…');
    }
    text
}

/// The world, shared by all that live in it.
pub(crate) struct Site {
    world: Mutex<World>,
    /// The store's version, as far as anybody watches.
    pub(crate) version: watch::Sender<u64>,
    replanned: Notify,
}

impl Site {
    pub(crate) fn new(seed: u64, people: Vec<Person>) -> Arc<Self> {
        let mut world = World {
            seed,
            store: Store::default(),
            bodies: BTreeMap::new(),
            people,
            warnings: Vec::new(),
            quota_is_full: false,
            witness: Witness::default(),
            agenda: BTreeMap::new(),
            planned: 0,
            began: Instant::now(),
            story: String::new(),
        };
        world.plan(Duration::from_millis(500), Act::People);
        Arc::new(Self {
            version: watch::Sender::new(world.store.work_version),
            world: Mutex::new(world),
            replanned: Notify::new(),
        })
    }

    /// Does something to the world; then tells who waits for changes.
    pub(crate) fn with<T>(&self, act: impl FnOnce(&mut World) -> T) -> T {
        let mut world = self.lock();
        let planned = world.planned;
        let result = act(&mut world);
        let (version, replanned) = (world.store.work_version, world.planned != planned);
        drop(world);
        self.version.send_if_modified(|old| std::mem::replace(old, version) != version);
        if replanned {
            self.replanned.notify_one();
        }
        result
    }

    fn lock(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets happen what is to happen, when its time has come.
    pub(crate) async fn go_on(self: Arc<Self>) {
        loop {
            let next = self.with(|world| {
                while let Some(act) = world.due() {
                    world.act(act);
                }
                world.agenda.first_key_value().map(|((time, _), _)| world.began + *time)
            });
            let replanned = self.replanned.notified();
            match next {
                Some(next) => tokio::select! {
                    biased;
                    () = tokio::time::sleep_until(next) => {}
                    () = replanned => {}
                },
                None => replanned.await,
            }
        }
    }
}
