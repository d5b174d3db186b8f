//! One run: a world, its people, one operator after the other, and a plan of what goes wrong.

use crate::{
    connection::Counters,
    faults::Plan,
    operator::Process,
    pair,
    people::Person,
    store::{Deletion, Kind},
    witness,
    world::{Site, World, dawn},
};
use docker_universe::clock::Clock;
use duj_api::names;
use duj_core::settings::Settings;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::{sync::watch, task::JoinSet};

/// After its death an operator is started again in this time.
const RESTART: Duration = Duration::from_secs(3);
/// The longest that people may have to wait for their next step.
const PATIENCE: Duration = Duration::from_hours(8);
/// Pods of earlier attempts are gone after this time.
const REST: Duration = Duration::from_mins(13);
/// Answered commands are gone after this time.
const LONG_REST: Duration = Duration::from_mins(64);

/// Operators crowd for so long, where they do.
const CROWDED: Duration = Duration::from_secs(100);

/// What came of a run.
pub(crate) struct Outcome {
    pub(crate) violations: Vec<String>,
    pub(crate) story: String,
    /// Writes until all was at rest.
    pub(crate) writes: u64,
    pub(crate) faults: u64,
    pub(crate) kills: u64,
    /// The end, without times and numbers that may differ.
    pub(crate) end: Value,
    /// What its owner cares for most: how each job ended.
    pub(crate) gist: Value,
}

/// How operators follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shift {
    /// One, and the next one when it is dead.
    One,
    /// Every so many seconds another one comes, and the old one stays a while longer.
    Overlapping { every: u64, stays: u64 },
    /// Two at a time, of which one is elected; by this seed they are killed, ended and stopped.
    Elected { seed: u64 },
}

/// Lets a world run to its end.
pub(crate) fn run(seed: u64, people: Vec<Person>, plan: &Plan, shift: Shift) -> Outcome {
    fastrand::seed(seed); // the jitter of kube's backoff
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(Run::new(seed, people, plan.clone()).until_rest(shift))
}

/// Lets a world with one undisturbed operator run until it is as described, and shows it.
pub(crate) fn run_until<T>(
    seed: u64,
    people: Vec<Person>,
    settings: Settings,
    is_so: impl Fn(&World) -> bool,
    show: impl FnOnce(&World) -> T,
) -> T {
    fastrand::seed(seed);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let run = Run { settings, ..Run::new(seed, people, Plan::Nothing) };
    runtime.block_on(async {
        let run = Arc::new(run);
        let mut tasks = JoinSet::new();
        tasks.spawn(run.site.clone().go_on());
        let (_relieved, relief) = watch::channel(0);
        tasks.spawn(run.clone().keep_operators(Shift::One, relief));
        let so = async {
            while !run.site.with(|world| is_so(world)) {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            tokio::time::sleep(Duration::from_secs(4)).await;
        };
        if tokio::time::timeout(PATIENCE, so).await.is_err() {
            run.site.with(|world| world.violate("it does not come to what is waited for".into()));
        }
        let shown = run.site.with(|world| show(world));
        tasks.shutdown().await;
        shown
    })
}

pub(crate) struct Run {
    pub(crate) site: Arc<Site>,
    pub(crate) plan: Plan,
    pub(crate) counters: Arc<Counters>,
    pub(crate) clock: Clock,
    pub(crate) settings: Settings,
}

impl Run {
    fn new(seed: u64, people: Vec<Person>, plan: Plan) -> Self {
        // The world's clock and the operators' clocks tell the same time.
        let (site, clock) = (Site::new(seed, people), Clock::of_runtime(dawn()));
        let settings = Settings { default_max_vacate_time: 60, ..Settings::default() };
        Self { site, plan, counters: Arc::default(), clock, settings }
    }

    async fn until_rest(self, shift: Shift) -> Outcome {
        let run = Arc::new(self);
        let mut tasks = JoinSet::new();
        tasks.spawn(run.site.clone().go_on());
        let (relieved, relief) = watch::channel(0);
        tasks.spawn(run.clone().keep_operators(shift, relief));
        let came_to_rest = run.rest().await;
        let commands = run.site.with(|world| world.store.list(Kind::Command, None).len());
        tokio::time::sleep(if commands == 0 { REST } else { LONG_REST }).await;
        let writes = run.writes();
        if came_to_rest {
            run.is_quiet(&relieved).await;
        }
        let (end, gist, wrong) =
            run.site.with(|world| (masked_end(world), gist(world), witness::at_rest(world)));
        run.judge(wrong);
        run.clear_away().await;
        let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        let outcome = run.site.with(|world| Outcome {
            violations: world.witness.violations.clone(),
            story: world.story().to_owned(),
            writes,
            faults: count(&run.counters.faults),
            kills: count(&run.counters.kills),
            end,
            gist,
        });
        tasks.shutdown().await;
        outcome
    }

    fn writes(&self) -> u64 {
        self.counters.writes.load(Ordering::Relaxed)
    }

    fn judge(&self, wrong: Vec<String>) {
        self.site.with(|world| wrong.into_iter().for_each(|what| world.violate(what)));
    }

    /// Waits until people have done all they wanted to, and nothing is left to do.
    async fn rest(&self) -> bool {
        let began = self.site.with(|world| world.elapsed());
        loop {
            tokio::time::sleep(Duration::from_secs(2)).await;
            let (done, broken, time) = self.site.with(|world| {
                (is_done(world), !world.witness.violations.is_empty(), world.elapsed())
            });
            if broken {
                return false;
            }
            if done {
                return true;
            }
            if time > began + PATIENCE {
                self.site.with(|world| {
                    let waits = world.people.iter().find_map(|person| {
                        person
                            .next()
                            .map(|(when, _)| format!("'{}' waits for {when:?}", person.job))
                    });
                    world.violate(format!("nothing goes on: {}", waits.unwrap_or_default()));
                });
                return false;
            }
        }
    }

    /// I2: when all is done nothing is written, whatever wakes the operator.
    async fn is_quiet(&self, relieved: &watch::Sender<u64>) {
        let before = self.writes();
        let version = self.site.with(|world| world.store.work_version);
        tokio::time::sleep(Duration::from_mins(3)).await;
        relieved.send_modify(|number| *number += 1);
        tokio::time::sleep(Duration::from_mins(3)).await;
        let after = self.site.with(|world| world.store.work_version);
        if self.writes() != before || version != after {
            let what = format!("I2: {} writes although all is done", self.writes() - before);
            self.site.with(|world| world.violate(what));
        }
    }

    /// I9: when the jobs are deleted, nothing of them stays.
    async fn clear_away(&self) {
        self.site.with(|world| {
            let jobs: Vec<_> =
                world.store.list(Kind::Job, None).into_iter().map(|(key, _)| key.clone()).collect();
            let now = world.now();
            for key in jobs {
                // A job that goes already is well.
                let _ =
                    world.write("person", |store| store.delete(&key, &Deletion::default(), now));
            }
        });
        tokio::time::sleep(Duration::from_mins(4)).await;
        self.site.with(|world| {
            let left: Vec<String> = world
                .store
                .list(Kind::Pod, None)
                .into_iter()
                .map(|(key, _)| key.to_string())
                .collect();
            if !left.is_empty() {
                world.violate(format!("I9: the jobs are gone, and there are {}", left.join(", ")));
            }
        });
    }

    /// Starts one operator after the other.
    async fn keep_operators(self: Arc<Self>, shift: Shift, mut relief: watch::Receiver<u64>) {
        if let Shift::Elected { seed } = shift {
            return pair::keep(self, seed, relief).await;
        }
        for number in 1.. {
            let (alive, _) = watch::channel(true);
            let (_tell, told) = watch::channel(false);
            let who = format!("operator {number}");
            let process =
                Process { who, alive: alive.clone(), pod: None, told, stop: Arc::default() };
            let operator = self.clone().be_operator(process);
            let crowded = self.site.with(|world| world.elapsed()) < CROWDED;
            match if crowded { shift } else { Shift::One } {
                Shift::One | Shift::Elected { .. } => tokio::select! {
                    biased;
                    () = operator => {}
                    _ = relief.changed() => drop(alive.send_replace(false)),
                },
                Shift::Overlapping { every, stays } => {
                    let mut operator = Box::pin(operator);
                    let ended =
                        tokio::time::timeout(Duration::from_secs(every), &mut operator).await;
                    if ended.is_err() {
                        tokio::spawn(async move {
                            // A while beside its successor.
                            drop(tokio::time::timeout(Duration::from_secs(stays), operator).await);
                            alive.send_replace(false);
                        });
                        continue;
                    }
                }
            }
            tokio::time::sleep(RESTART).await;
        }
    }
}

/// People have done all they wanted to, and jobs are at an end or held.
fn is_done(world: &World) -> bool {
    let at_end = |job: &Value| {
        job["status"]["procs"].as_array().is_some_and(|procs| {
            procs.iter().all(|proc| {
                let stopping =
                    proc["hold"]["stopping"] == true || proc["remove"]["stopping"] == true;
                matches!(proc["status"].as_str(), Some("Completed" | "Removed" | "Held"))
                    && !stopping
            })
        })
    };
    world.people.iter().all(Person::is_done)
        && world.store.list(Kind::Job, None).iter().all(|(_, job)| at_end(job))
        && world.store.list(Kind::Command, None).iter().all(|(_, c)| c["status"].is_object())
}

/// How each job ended.
fn gist(world: &World) -> Value {
    let end = |proc: &Value| {
        json!([proc["status"], proc["exitCode"], proc["exitSignal"], proc["hold"]["code"]])
    };
    let procs =
        |job: &Value| job["status"]["procs"].as_array().into_iter().flatten().map(end).collect();
    let jobs = world.store.list(Kind::Job, None).into_iter();
    jobs.map(|(key, job)| (key.to_string(), procs(job))).collect::<serde_json::Map<_, _>>().into()
}

/// What is there in the end, without what may differ from run to run.
fn masked_end(world: &World) -> Value {
    let mut end = BTreeMap::new();
    for kind in [Kind::Job, Kind::Pod, Kind::Command] {
        for (key, object) in world.store.list(kind, None) {
            let value = match kind {
                Kind::Pod => json!({
                    "phase": object["status"]["phase"], "finalizers": object["metadata"]["finalizers"],
                    "labels": object["metadata"]["labels"], "deleting": object["metadata"]["deletionTimestamp"],
                }),
                _ => json!({ "spec": object["spec"], "status": object["status"] }),
            };
            end.insert(key.to_string(), mask(value));
        }
    }
    json!({ "objects": end, "pods made": world.witness.made })
}

fn mask(value: Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .into_iter()
            .filter(|(name, _)| {
                // `noticed` is a note from one decision to the next.
                let differs = ["since", "clusterId", "noticed", names::LABEL_CLUSTER_ID];
                !differs.contains(&name.as_str()) && !name.to_lowercase().contains("time")
            })
            .map(|(name, value)| (name, mask(value)))
            .collect(),
        Value::Array(items) => items.into_iter().map(mask).collect(),
        Value::String(text) => json!(mask_text(&text)),
        other => other,
    }
}

/// Cluster ids and times become stars; the tables of what a job used, which depends on how long it ran, are left out.
fn mask_text(text: &str) -> String {
    let is_table = |line: &&str| line.starts_with("\t   ") && line.contains(" : ");
    let lines: Vec<&str> = text.lines().filter(|line| !is_table(line)).collect();
    let text = lines.join("\n");
    let day = dawn().to_string();
    let month = day.get(..8).unwrap_or_default();
    let text = starred(&text, month, |c| c.is_ascii_digit() || "-: TZ.".contains(c));
    let text = starred(&text, "(", |c| c.is_ascii_digit());
    starred(&text, "ob ", |c| c.is_ascii_digit())
}

/// Replaces what follows `mark`, as long as it is made of such characters, by a star.
fn starred(text: &str, mark: &str, is_part: impl Fn(char) -> bool) -> String {
    let mut parts = text.split(mark);
    let mut masked = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        masked.push_str(mark);
        let rest = part.trim_start_matches(&is_part);
        if rest.len() < part.len() {
            masked.push('*');
        }
        masked.push_str(rest);
    }
    masked
}
